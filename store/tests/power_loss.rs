//! A disk that forgets what was not synced, stopped at every operation, or full for a while: nothing acknowledged is lost,
//! and nothing refused comes back.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use store::disk::{Disk, DiskFile};
use store::{Batch, CommitError, Store};

/// What the operating system has, and what of it would survive losing power.
#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Content that was synced, and under which names the folder was synced.
    durable: BTreeMap<String, Vec<u8>>,
    folder: BTreeMap<String, String>,
    /// Each file's identity, which a rename keeps.
    identity: BTreeMap<String, String>,
    next: usize,
    /// Operations left before the power fails.
    left: Option<usize>,
    /// Bytes that can still be written before the disk is full.
    room: Option<usize>,
    /// Whether syncing a file fails.
    sync_fails: bool,
    /// Whether cutting a file fails.
    cut_fails: bool,
    /// Whether what is written of checkpoints arrives altered.
    alters_checkpoints: bool,
}

#[derive(Debug, Clone, Default)]
struct Forgetful(Arc<Mutex<State>>);

impl Forgetful {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        match &mut state.left {
            Some(0) => return Err(io::Error::other("the power failed")),
            Some(left) => *left -= 1,
            None => {}
        }
        act(&mut state)
    }

    /// The disk as found after the power came back; of what was appended but not synced, `torn` bytes are there.
    fn after_power_loss(&self, torn: usize) -> Self {
        let state = self.0.lock().unwrap();
        let mut next = State { next: state.next, ..State::default() };
        for (name, identity) in &state.folder {
            let mut content = state.durable.get(identity).cloned().unwrap_or_default();
            let written = state
                .identity
                .iter()
                .find(|(_, id)| *id == identity)
                .and_then(|(name, _)| state.files.get(name));
            if let Some(written) = written {
                let kept = written.len().min(content.len() + torn);
                content.extend_from_slice(written.get(content.len()..kept).unwrap_or_default());
            }
            next.durable.insert(identity.clone(), content.clone());
            next.files.insert(name.clone(), content);
            next.identity.insert(name.clone(), identity.clone());
            next.folder.insert(name.clone(), identity.clone());
        }
        Self(Arc::new(Mutex::new(next)))
    }
}

#[derive(Debug)]
struct Handle {
    disk: Forgetful,
    name: String,
}

impl Disk for Forgetful {
    fn list(&self) -> io::Result<Vec<String>> {
        self.with(|state| Ok(state.files.keys().cloned().collect()))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.with(|state| state.files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into()))
    }

    fn append_to(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.with(|state| {
            if !state.files.contains_key(name) {
                state.next += 1;
                let identity = format!("inode{}", state.next);
                state.files.insert(name.to_owned(), Vec::new());
                state.identity.insert(name.to_owned(), identity);
            }
            Ok(())
        })?;
        Ok(Box::new(Handle { disk: self.clone(), name: name.to_owned() }))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        self.with(|state| {
            if state.cut_fails {
                return Err(io::Error::other("the file cannot be cut"));
            }
            let content = state.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
            content.truncate(usize::try_from(length).unwrap());
            let content = content.clone();
            state.durable.insert(state.identity[name].clone(), content);
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|state| {
            let content = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
            let identity = state.identity.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.files.insert(to.to_owned(), content);
            state.identity.insert(to.to_owned(), identity);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|state| {
            state.files.remove(name);
            state.identity.remove(name);
            Ok(())
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.with(|state| {
            state.folder = state.identity.clone();
            Ok(())
        })
    }
}

impl DiskFile for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.with(|state| {
            let fitting = state.room.map_or(bytes.len(), |room| room.min(bytes.len()));
            if let Some(room) = &mut state.room {
                *room -= fitting;
            }
            let content = state.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
            content.extend_from_slice(&bytes[..fitting]);
            if state.alters_checkpoints && self.name.contains(".checkpoint") {
                *content.last_mut().unwrap() ^= 1;
            }
            if fitting == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.with(|state| {
            if state.sync_fails {
                return Err(io::Error::other("the file cannot be synced"));
            }
            let content = state.files[&self.name].clone();
            state.durable.insert(state.identity[&self.name].clone(), content);
            Ok(())
        })
    }
}

/// Commits, with a checkpoint on the way, until the power fails; returns what was acknowledged.
async fn work(disk: Forgetful) -> Vec<u32> {
    let Ok((store, _)) = Store::on_disk(Box::new(disk)) else { return Vec::new() };
    let mut acknowledged = Vec::new();
    for n in 0..12 {
        let mut batch = Batch::new();
        batch.put(format!("n{n:03}"), vec![7; 50]);
        batch.put("last", n.to_string().into_bytes());
        if store.commit(batch).await.is_err() {
            break;
        }
        acknowledged.push(n);
        if n % 5 == 4 && store.checkpoint().await.is_err() {
            break;
        }
    }
    acknowledged
}

fn check(disk: &Forgetful, torn: usize, acknowledged: &[u32], context: &str) {
    let (store, _) =
        Store::on_disk(Box::new(disk.after_power_loss(torn))).unwrap_or_else(|e| panic!("{context}: {e}"));
    for n in acknowledged {
        assert!(
            store.get(&format!("n{n:03}")).unwrap().is_some(),
            "{context}: commit {n} was acknowledged and is lost"
        );
    }
    let rows = u32::try_from(store.scan("n", None, 999).unwrap().len()).unwrap();
    let last = store
        .get("last")
        .unwrap()
        .map(|found| String::from_utf8(found.value).unwrap().parse::<u32>().unwrap());
    assert_eq!(last.map_or(0, |last| last + 1), rows, "{context}: a batch is whole or not there");
    assert!(
        rows <= u32::try_from(acknowledged.len()).unwrap() + 1,
        "{context}: only the last may be there unanswered"
    );
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_at_any_write_boundary() {
    let whole = Forgetful::default();
    assert_eq!(work(whole.clone()).await.len(), 12);
    let mut boundary = 0;
    loop {
        let disk = Forgetful::default();
        disk.0.lock().unwrap().left = Some(boundary);
        let acknowledged = work(disk.clone()).await;
        for torn in [0, 1, 11, 12, 40, 100, usize::MAX / 2] {
            check(
                &disk,
                torn,
                &acknowledged,
                &format!("power lost before operation {boundary}, {torn} bytes torn"),
            );
        }
        if acknowledged.len() == 12 && disk.0.lock().unwrap().left != Some(0) {
            break;
        }
        boundary += 1;
    }
    assert!(boundary > 50, "the run had {boundary} boundaries");
}

fn one(key: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, vec![7; 50]);
    batch.chain("log/", key.as_bytes().to_vec());
    batch
}

/// The keys that a store has which is opened on what is left of `disk`, with all that was written, synced or not.
fn found_again(disk: &Forgetful) -> Vec<String> {
    let (store, _) = Store::on_disk(Box::new(disk.after_power_loss(usize::MAX / 2))).unwrap();
    let keys: Vec<_> = store.scan("key", None, 99).unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(store.head("log/").unwrap().count, u64::try_from(keys.len()).unwrap());
    keys
}

#[tokio::test]
async fn what_a_full_disk_refused_does_not_come_back_and_with_room_the_next_write_succeeds() {
    for room in [0, 1, 11, 12, 40, 100] {
        let disk = Forgetful::default();
        let (store, _) = Store::on_disk(Box::new(disk.clone())).unwrap();
        store.commit(one("key1")).await.unwrap();
        disk.0.lock().unwrap().room = Some(room);
        assert!(
            matches!(store.commit(one("key2")).await, Err(CommitError::Store(_))),
            "{room} bytes of room"
        );
        assert!(store.failing().borrow().is_some(), "it says so");
        assert!(store.try_again().await.is_err());
        assert_eq!(found_again(&disk), ["key1"], "{room} bytes of room");
        disk.0.lock().unwrap().room = None;
        store.commit(one("key3")).await.unwrap();
        assert!(store.failing().borrow().is_none());
        assert_eq!(found_again(&disk), ["key1", "key3"]);
    }
}

#[tokio::test]
async fn a_write_that_could_not_be_synced_is_not_there_after_a_restart() {
    let disk = Forgetful::default();
    let (store, _) = Store::on_disk(Box::new(disk.clone())).unwrap();
    store.commit(one("key1")).await.unwrap();
    disk.0.lock().unwrap().sync_fails = true;
    assert!(matches!(store.commit(one("key2")).await, Err(CommitError::Store(_))));
    assert_eq!(found_again(&disk), ["key1"]);
    disk.0.lock().unwrap().sync_fails = false;
    store.try_again().await.unwrap();
    assert!(store.failing().borrow().is_none(), "looking is enough");
    assert_eq!(found_again(&disk), ["key1"], "and leaves nothing behind");
}

#[tokio::test]
async fn a_write_that_cannot_be_taken_back_is_answered_as_unknown_until_it_is() {
    let disk = Forgetful::default();
    let (store, _) = Store::on_disk(Box::new(disk.clone())).unwrap();
    store.commit(one("key1")).await.unwrap();
    {
        let mut state = disk.0.lock().unwrap();
        (state.sync_fails, state.cut_fails) = (true, true);
    }
    assert!(matches!(store.commit(one("key2")).await, Err(CommitError::Unknown(_))));
    assert_eq!(found_again(&disk), ["key1", "key2"], "which is why nobody may say that it is not there");
    assert!(store.get("key2").unwrap().is_none());
    disk.0.lock().unwrap().sync_fails = false;
    let refused = store.commit(one("key3")).await;
    assert!(matches!(refused, Err(CommitError::Store(_))), "nothing is written behind it: {refused:?}");
    disk.0.lock().unwrap().cut_fails = false;
    store.commit(one("key4")).await.unwrap();
    assert_eq!(found_again(&disk), ["key1", "key4"]);
}

#[tokio::test]
async fn segments_stay_until_their_checkpoint_was_read_back() {
    let disk = Forgetful::default();
    let (store, _) = Store::on_disk(Box::new(disk.clone())).unwrap();
    store.commit(one("key1")).await.unwrap();
    disk.0.lock().unwrap().alters_checkpoints = true;
    let error = store.checkpoint().await.unwrap_err().to_string();
    assert!(error.contains("what was read back is not what was written"), "{error}");
    store.commit(one("key2")).await.unwrap();
    assert_eq!(found_again(&disk), ["key1", "key2"]);
    disk.0.lock().unwrap().alters_checkpoints = false;
    store.checkpoint().await.unwrap();
    assert_eq!(found_again(&disk), ["key1", "key2"]);
    let names: Vec<_> = disk.0.lock().unwrap().files.keys().cloned().collect();
    assert_eq!(names, ["00000000000000000002.checkpoint", "00000000000000000002.log"]);
}
