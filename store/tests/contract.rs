//! One suite for every engine: what [`store`] promises.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use store::{Batch, CommitError, Engine, Options, Store, StoreError, chain, decode, encode, inspect_journal};

fn options(engine: Engine) -> Options {
    Options { engine, ..Options::default() }
}

fn open(folder: &Path, engine: Engine) -> Store {
    Store::open(folder, &options(engine)).unwrap().0
}

fn put(pairs: &[(&str, &str)]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in pairs {
        batch.put(*key, value.as_bytes().to_vec());
    }
    batch
}

fn text(store: &Store, key: &str) -> Option<String> {
    store.get(key).unwrap().map(|found| String::from_utf8(found.value).unwrap())
}

/// Runs `test` on a store in memory and on one of each engine.
async fn on_all<F: AsyncFn(Store)>(test: F) {
    test(Store::memory()).await;
    for engine in [Engine::Sled, Engine::Redb] {
        let folder = tempfile::tempdir().unwrap();
        test(open(folder.path(), engine)).await;
    }
}

#[tokio::test]
async fn a_batch_is_whole_and_versions_are_commits() {
    on_all(async |store| {
        let first = store.commit(put(&[("a", "1"), ("b", "1")])).await.unwrap();
        let second = store.commit(put(&[("b", "2")])).await.unwrap();
        assert!(second > first);
        assert_eq!(store.get("a").unwrap().unwrap().version, first);
        assert_eq!(store.get("b").unwrap().unwrap().version, second);
        let mut batch = put(&[("c", "3")]);
        batch.delete("a");
        store.commit(batch).await.unwrap();
        assert_eq!((text(&store, "a"), text(&store, "c")), (None, Some("3".to_owned())));
    })
    .await;
}

#[tokio::test]
async fn an_expectation_that_fails_writes_nothing() {
    on_all(async |store| {
        let version = store.commit(put(&[("a", "1")])).await.unwrap();
        let mut stale = put(&[("a", "2"), ("b", "2")]);
        stale.expect("a", Some(version + 7));
        assert!(matches!(store.commit(stale).await, Err(CommitError::Conflict { key }) if key == "a"));
        let mut create = put(&[("a", "3")]);
        create.expect("a", None);
        assert!(store.commit(create).await.is_err());
        assert_eq!((text(&store, "a").unwrap().as_str(), text(&store, "b")), ("1", None));
        let mut fresh = put(&[("a", "4")]);
        fresh.expect("a", Some(version));
        store.commit(fresh).await.unwrap();
        assert_eq!(text(&store, "a").unwrap(), "4");
    })
    .await;
}

#[tokio::test]
async fn of_two_at_once_with_the_same_expectation_one_wins() {
    on_all(async |store| {
        let version = store.commit(put(&[("n", "0")])).await.unwrap();
        let tries: Vec<_> = (0..32)
            .map(|n| {
                let store = store.clone();
                let mut batch = put(&[("n", &n.to_string())]);
                batch.expect("n", Some(version));
                tokio::spawn(async move { store.commit(batch).await })
            })
            .collect();
        let mut won = 0;
        for one in tries {
            won += usize::from(one.await.unwrap().is_ok());
        }
        assert_eq!(won, 1);
    })
    .await;
}

#[tokio::test]
async fn a_scan_is_ordered_bounded_and_resumable() {
    on_all(async |store| {
        store
            .commit(put(&[("p/1", "a"), ("p/2", "b"), ("p/3", "c"), ("q/1", "d"), ("o/9", "e")]))
            .await
            .unwrap();
        let keys = |pairs: Vec<(String, store::Versioned)>| {
            pairs.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(store.scan("p/", None, 2).unwrap()), ["p/1", "p/2"]);
        assert_eq!(keys(store.scan("p/", Some("p/2"), 9).unwrap()), ["p/3"]);
        assert_eq!(keys(store.scan("", None, 9).unwrap()).len(), 5, "no inner keys are shown");
        assert_eq!(keys(store.scan_back("p/", None, 2).unwrap()), ["p/3", "p/2"]);
        assert_eq!(keys(store.scan_back("p/", Some("p/2"), 9).unwrap()), ["p/1"]);
        assert_eq!(keys(store.scan_back("p/", Some("p/1"), 9).unwrap()), [""; 0]);
        assert_eq!(keys(store.scan_back("", None, 9).unwrap()).len(), 5);
        assert_eq!(keys(store.scan("p/", Some("q"), 9).unwrap()), [""; 0], "behind all");
    })
    .await;
}

#[tokio::test]
async fn appended_values_come_back_in_commit_order() {
    on_all(async |store| {
        for n in 0..20 {
            let mut batch = Batch::new();
            batch.append("event/", format!("{n}a").into_bytes());
            batch.append("event/", format!("{n}b").into_bytes());
            store.commit(batch).await.unwrap();
        }
        let found = store.scan("event/", None, 100).unwrap();
        let values: Vec<_> =
            found.into_iter().map(|(_, found)| String::from_utf8(found.value).unwrap()).collect();
        let expected: Vec<_> = (0..20).flat_map(|n| [format!("{n}a"), format!("{n}b")]).collect();
        assert_eq!(values, expected);
    })
    .await;
}

#[tokio::test]
async fn chained_values_follow_from_each_other_also_after_reopening() {
    let check = |store: &Store| {
        let mut head = chain::Head::default();
        for (key, found) in store.scan("log/", None, 100).unwrap() {
            let (link, value) = chain::unchain(&found.value).unwrap();
            head = head.next(&key, value);
            assert_eq!(&head.link, link, "{key}");
        }
        assert_eq!(store.head("log/").unwrap(), head);
        head.count
    };
    for engine in [Engine::Sled, Engine::Redb] {
        let folder = tempfile::tempdir().unwrap();
        for round in 1..=3_u64 {
            let store = open(folder.path(), engine);
            // At once, so that they share a durable write.
            let mut commits = tokio::task::JoinSet::new();
            for number in 0..5_u8 {
                let mut batch = put(&[("other", "x")]);
                batch.append("beside/", vec![number]);
                batch.chain("log/", vec![number]);
                batch.chain("log/", vec![number, number]);
                let store = store.clone();
                commits.spawn(async move { store.commit(batch).await });
            }
            assert!(commits.join_all().await.iter().all(Result::is_ok));
            assert_eq!(check(&store), round * 10);
            // A commit that is refused leaves the chain as it was.
            let mut refused = Batch::new();
            refused.expect("other", None);
            refused.chain("log/", b"no".to_vec());
            assert!(store.commit(refused).await.is_err());
            assert_eq!(check(&store), round * 10);
        }
    }
}

#[tokio::test]
async fn records_carry_their_version() {
    let bytes = encode("k", 3, &vec![1, 2]).unwrap();
    assert_eq!(decode::<Vec<u8>>("k", 3, &bytes).unwrap(), [1, 2]);
    let error = decode::<Vec<u8>>("k", 3, &[9, b'[', b']']).unwrap_err().to_string();
    assert_eq!(error, "the record `k` cannot be read: its version is 9, this program knows 3");
    assert!(decode::<Vec<u8>>("k", 4, &bytes).is_err(), "an older one is not read as if it were today's");
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    for engine in [Engine::Sled, Engine::Redb] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine);
        let version = store.commit(put(&[("a", "1")])).await.unwrap();
        assert!(matches!(Store::open(folder.path(), &options(engine)), Err(StoreError::Locked(_))));
        drop(store);
        let store = open(folder.path(), engine);
        assert_eq!(store.get("a").unwrap().unwrap().version, version);
        assert_eq!(store.commit(put(&[("b", "1")])).await.unwrap(), version + 1);
    }
}

#[tokio::test]
async fn a_missing_damaged_or_lagging_index_is_rebuilt_from_the_journal() {
    for engine in [Engine::Sled, Engine::Redb] {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join(engine.name());
        let store = open(folder.path(), engine);
        let lagging = folder.path().join("lagging");
        store.commit(put(&[("a", "1"), ("gone", "1")])).await.unwrap();
        drop(store);
        copy(&index, &lagging);
        let store = open(folder.path(), engine);
        let mut batch = put(&[("b", "2")]);
        batch.delete("gone");
        let version = store.commit(batch).await.unwrap();
        drop(store);

        let check = |expect_rebuilt: bool| {
            let (store, recovery) = Store::open(folder.path(), &options(engine)).unwrap();
            assert_eq!(recovery.rebuilt.is_some(), expect_rebuilt, "{recovery:?}");
            assert_eq!(text(&store, "a").unwrap(), "1");
            assert_eq!(store.get("b").unwrap().unwrap().version, version);
            assert_eq!(text(&store, "gone"), None);
        };
        // Missing.
        std::fs::remove_dir_all(&index).unwrap();
        check(false);
        // Lagging.
        std::fs::remove_dir_all(&index).unwrap();
        copy(&lagging, &index);
        check(false);
        // Damaged beyond opening: a folder that is no folder of this engine.
        std::fs::remove_dir_all(&index).unwrap();
        std::fs::create_dir(&index).unwrap();
        for name in ["conf", "db", "index.redb"] {
            std::fs::write(index.join(name), vec![0xab; 8192]).unwrap();
        }
        check(true);
        assert!(folder.path().join(format!("{}.aside-1", engine.name())).exists(), "kept for a look");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn only_segment(folder: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    files.pop().unwrap()
}

async fn three_commits(folder: &Path) {
    let store = open(folder, Engine::Sled);
    for n in 1..=3 {
        store.commit(put(&[(&format!("k{n}"), "v")])).await.unwrap();
    }
    drop(store);
    std::fs::remove_dir_all(folder.join("sled")).unwrap();
}

#[tokio::test]
async fn a_torn_last_record_is_cut_off_at_every_length() {
    let folder = tempfile::tempdir().unwrap();
    three_commits(folder.path()).await;
    let file = only_segment(folder.path());
    let whole = std::fs::read(&file).unwrap();
    let frame = whole.len() / 3;
    for cut in 1..frame {
        std::fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        let (store, recovery) = Store::open(folder.path(), &options(Engine::Sled)).unwrap();
        assert_eq!((recovery.sequence, recovery.torn), (2, u64::try_from(frame - cut).unwrap()));
        assert_eq!((text(&store, "k2"), text(&store, "k3")), (Some("v".to_owned()), None));
        drop(store);
        std::fs::remove_dir_all(folder.path().join("sled")).unwrap();
    }
    // Old blocks behind the end, as a power loss may leave them.
    std::fs::write(&file, [&whole[..frame * 2], &[0; 5000]].concat()).unwrap();
    assert_eq!(Store::open(folder.path(), &options(Engine::Sled)).unwrap().1.torn, 5000);
}

#[tokio::test]
async fn damage_in_the_middle_is_named_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    three_commits(folder.path()).await;
    let file = only_segment(folder.path());
    let whole = std::fs::read(&file).unwrap();
    let frame = whole.len() / 3;
    for place in 0..frame * 2 {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        std::fs::write(&file, &damaged).unwrap();
        let error = Store::open(folder.path(), &options(Engine::Sled)).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { .. }), "byte {place}: {error}");
        assert!(
            error.to_string().contains(".log at byte") && error.to_string().contains("backup"),
            "{error}"
        );
        assert_eq!(std::fs::read(&file).unwrap(), damaged, "nothing was changed");
    }
    // A whole record taken out breaks the chain.
    std::fs::write(&file, [&whole[..frame], &whole[frame * 2..]].concat()).unwrap();
    let error = Store::open(folder.path(), &options(Engine::Sled)).unwrap_err();
    assert!(error.to_string().contains("one was removed or altered"), "{error}");
}

#[tokio::test]
async fn a_journal_that_ends_before_the_index_stops_until_asked_to_rebuild() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Engine::Sled);
    for n in 1..=3 {
        store.commit(put(&[(&format!("k{n}"), "v")])).await.unwrap();
    }
    drop(store);
    let file = only_segment(folder.path());
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 3 * 2]).unwrap();
    for error in [
        Store::open(folder.path(), &options(Engine::Sled)).unwrap_err(),
        store::verify(folder.path(), Engine::Sled, "log/", "seal/", &mut |_, _| {}).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Behind { journal: 2, index: 3 }), "{error}");
    }
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let error = Store::open(folder.path(), &options(Engine::Sled)).unwrap_err();
    assert!(
        error.to_string().contains("commit 3 was answered"),
        "a torn record that was answered is damage: {error}"
    );
    let rebuild = Options { rebuild: true, ..options(Engine::Sled) };
    let (store, recovery) = Store::open(folder.path(), &rebuild).unwrap();
    assert_eq!((recovery.sequence, recovery.rebuilt.as_deref()), (2, Some("as asked")));
    assert_eq!(text(&store, "k3"), None);
}

#[tokio::test]
async fn a_checkpoint_replaces_segments_and_is_signed() {
    for engine in [Engine::Sled, Engine::Redb] {
        let folder = tempfile::tempdir().unwrap();
        let signer: store::Signer =
            std::sync::Arc::new(|statement| format!("signed:{}", String::from_utf8_lossy(statement)));
        let with_signer = Options { engine, signer: Some(signer), ..Options::default() };
        let (store, _) = Store::open(folder.path(), &with_signer).unwrap();
        for n in 0..2500 {
            store.commit(put(&[(&format!("k{n:05}"), "v")])).await.unwrap();
        }
        store.checkpoint().await.unwrap();
        let version = store.commit(put(&[("after", "v")])).await.unwrap();
        drop(store);
        std::fs::remove_dir_all(folder.path().join(engine.name())).unwrap();
        let disk = store::disk::Folder::open(&folder.path().join("journal")).unwrap();
        let report = inspect_journal(&disk).unwrap();
        assert_eq!((report.sequence, report.groups), (2501, 1));
        let (at, signature) = report.checkpoint.unwrap();
        assert!(at == 2500 && signature.starts_with("signed:concordat checkpoint 2500 "), "{signature}");
        let (store, _) = Store::open(folder.path(), &with_signer).unwrap();
        assert_eq!(store.get("after").unwrap().unwrap().version, version);
        assert_eq!(store.get("k00007").unwrap().unwrap().version, 8, "versions survive a checkpoint");
        assert_eq!(store.scan("k", None, 9999).unwrap().len(), 2500);
    }
}

#[tokio::test]
async fn chunks_of_a_checkpoint_are_cut_by_bytes_so_that_the_next_start_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), &Options::default()).unwrap();
    let large = "v".repeat(1024 * 1024);
    for n in 0..12 {
        store.commit(put(&[(&format!("k{n:05}"), large.as_str())])).await.unwrap();
    }
    store.checkpoint().await.unwrap();
    drop(store);
    let journal = std::fs::read_dir(folder.path().join("journal")).unwrap();
    let file = journal
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|one| one == "checkpoint"));
    let bytes = std::fs::read(file.unwrap()).unwrap();
    let (mut offset, mut chunks) = (0, 0);
    while offset < bytes.len() {
        let length = u32::from_be_bytes(bytes[offset + 4..offset + 8].try_into().unwrap());
        assert!(length < 6 * 1024 * 1024, "a chunk of {length} bytes");
        offset += 12 + usize::try_from(length).unwrap();
        chunks += 1;
    }
    assert!(chunks > 3, "{chunks}");
    let (store, _) = Store::open(folder.path(), &Options::default()).unwrap();
    assert_eq!(store.scan("k", None, 99).unwrap().len(), 12);
}

#[tokio::test]
async fn a_checkpoint_holds_what_the_journal_has_whatever_the_index_lost() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Engine::Sled);
    store.commit(put(&[("kept", "1"), ("lost", "1"), ("altered", "1")])).await.unwrap();
    drop(store);
    let index = folder.path().join("sled");
    let spoilt = sled::open(&index).unwrap();
    spoilt.remove("lost").unwrap();
    spoilt.insert("altered", b"\0\0\0\0\0\0\0\x012").unwrap();
    drop(spoilt);
    let store = open(folder.path(), Engine::Sled);
    assert_eq!(text(&store, "lost"), None, "the index is spoilt");
    store.checkpoint().await.unwrap();
    drop(store);
    std::fs::remove_dir_all(&index).unwrap();
    let store = open(folder.path(), Engine::Sled);
    for key in ["kept", "lost", "altered"] {
        assert_eq!(text(&store, key).as_deref(), Some("1"), "{key}");
    }
}

#[tokio::test]
async fn a_seal_that_covers_more_than_the_journal_has_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let verify = || store::verify(folder.path(), Engine::Sled, "log/", "seal/", &mut |_, _| {});
    let store = open(folder.path(), Engine::Sled);
    let mut batch = Batch::new();
    batch.chain("log/", b"1".to_vec());
    store.commit(batch).await.unwrap();
    store.commit(put(&[("seal/00000000000000000001", "s")])).await.unwrap();
    assert!(matches!(verify(), Err(StoreError::Locked(_))));
    drop(store);
    assert_eq!(verify().unwrap().sequence, 2);
    let index = sled::open(folder.path().join("sled")).unwrap();
    index.insert("seal/00000000000000000002", b"\0\0\0\0\0\0\0\x03s").unwrap();
    drop(index);
    assert!(matches!(verify(), Err(StoreError::Sealed { entries: 1, sealed: 2 })));
}

#[tokio::test]
async fn commits_go_on_while_a_checkpoint_is_made_and_a_restart_finds_both() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), &Options::default()).unwrap();
    let put = |key: String, size: usize| {
        let mut batch = Batch::new();
        batch.put(key, vec![7; size]);
        batch
    };
    for n in 0..40 {
        store.commit(put(format!("before{n:03}"), 1024 * 1024)).await.unwrap();
    }
    let making = tokio::spawn({
        let store = store.clone();
        async move { store.checkpoint().await }
    });
    // The commits that were answered while it was being made.
    let mut meanwhile = 0;
    while !making.is_finished() {
        store.commit(put(format!("meanwhile{meanwhile:06}"), 10)).await.unwrap();
        meanwhile += usize::from(store.checkpointing().is_some());
        tokio::task::yield_now().await;
    }
    let at = making.await.unwrap().unwrap();
    assert!(at >= 40 && meanwhile > 1, "{meanwhile} commits while a checkpoint of 40 MiB was made");
    assert!(store.checkpointing().is_none());
    let last = store.commit(put("after".to_owned(), 10)).await.unwrap();
    drop(store);
    std::fs::remove_dir_all(folder.path().join("sled")).unwrap();
    let (store, recovery) = Store::open(folder.path(), &Options::default()).unwrap();
    assert_eq!(recovery.sequence, last);
    assert!(store.get("before039").unwrap().is_some() && store.get("after").unwrap().is_some());
    assert!(store.scan("meanwhile", None, 1_000_000).unwrap().len() >= meanwhile);
    assert!(
        store::verify(folder.path(), Engine::Sled, "log/", "seal/", &mut |_, _| {}).is_err(),
        "it is open"
    );
}

#[tokio::test]
async fn closing_gives_up_a_checkpoint_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), &Options::default()).unwrap();
    for n in 0..20 {
        let mut batch = Batch::new();
        batch.put(format!("k{n:03}"), vec![7; 1024 * 1024]);
        store.commit(batch).await.unwrap();
    }
    let asked = store.clone();
    let making = tokio::spawn(async move { asked.checkpoint().await });
    while store.checkpointing().is_none() && !making.is_finished() {
        tokio::task::yield_now().await;
    }
    making.abort();
    let _ = making.await;
    drop(store);
    let (store, recovery) = Store::open(folder.path(), &Options::default()).unwrap();
    assert_eq!(recovery.sequence, 20);
    assert_eq!(store.scan("k", None, 100).unwrap().len(), 20);
    let names = std::fs::read_dir(folder.path().join("journal")).unwrap();
    assert!(!names.flatten().any(|one| one.file_name().to_string_lossy().ends_with(".tmp")));
}

#[tokio::test]
async fn a_backup_of_an_open_store_is_whole_whatever_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("store"), &Options::default()).unwrap();
    let write = |n: usize| {
        let mut batch = Batch::new();
        batch.put(format!("k{n:06}"), vec![7; 10_000]);
        store.commit(batch)
    };
    for n in 0..200 {
        write(n).await.unwrap();
    }
    for round in 0..5 {
        let (from, to) = (folder.path().join("store"), folder.path().join(format!("copy{round}")));
        let target = to.clone();
        let copying = tokio::task::spawn_blocking(move || store::back_up(&from, &target, &mut |_, _| {}));
        let mut n = 1000 * (round + 1);
        while !copying.is_finished() {
            write(n).await.unwrap();
            store.checkpoint().await.unwrap();
            n += 1;
        }
        let report = copying.await.unwrap().unwrap();
        assert!(report.sequence >= 200);
        let (copy, recovery) = Store::open(&to, &Options::default()).unwrap();
        assert_eq!(recovery.sequence, report.sequence);
        assert!(copy.scan("k", None, 10_000).unwrap().len() >= 200);
    }
    let again = store::back_up(&folder.path().join("store"), &folder.path().join("copy0"), &mut |_, _| {});
    assert!(again.is_err(), "what is there already stays");
}
