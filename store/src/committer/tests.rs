use super::*;

/// An index on a disk that takes nothing.
#[derive(Debug)]
struct Broken;

impl Index for Broken {
    fn get(&self, _: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn scan(&self, _: &str, _: Place<'_>, _: usize) -> Result<Pairs, StoreError> {
        Ok(Vec::new())
    }

    fn apply(&self, _: &[Write], _: u64) -> Result<(), StoreError> {
        Err(StoreError::Index("the disk is gone".to_owned()))
    }

    fn applied(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
}

fn put(key: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, b"1".to_vec());
    batch
}

#[tokio::test]
async fn an_index_that_fails_is_opened_anew_and_knows_what_the_journal_knows() {
    for engine in [Engine::Sled, Engine::Redb] {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { engine, ..Options::default() };
        let (store, _) = Store::open(folder.path(), &options).unwrap();
        store.commit(put("before")).await.unwrap();
        drop(store);
        let held = lock(folder.path()).unwrap();
        let disk = Folder::open(&folder.path().join("journal")).unwrap();
        let mut filler = Filler::open(Some(folder.path()), &options, &mut Recovery::default()).unwrap();
        let (journal, _) = Journal::open(Box::new(disk), &mut filler).unwrap();
        filler.flush().unwrap();
        drop(filler);
        let path = Some(folder.path().to_owned());
        let store = Store::start(Box::new(Broken), Some(journal), Some(held), path, options.clone());
        assert_eq!(store.get("before").unwrap(), None, "it is not there yet");
        let version = store.commit(put("after")).await.unwrap();
        assert!(store.get("before").unwrap().is_some(), "{engine:?}");
        assert_eq!(store.get("after").unwrap().unwrap().version, version, "{engine:?}");
        assert!(store.failing().borrow().is_none());
        store.commit(put("later")).await.unwrap();
        drop(store);
        let (store, recovery) = Store::open(folder.path(), &options).unwrap();
        assert!(recovery.rebuilt.is_none(), "{recovery:?}");
        assert!(["before", "after", "later"].iter().all(|key| store.get(key).unwrap().is_some()));
    }
}
