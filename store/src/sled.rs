//! sled as the index. It never calls fsync, so it is not trusted with durability: the journal stands before it.

use std::path::Path;

use crate::error::StoreError;
use crate::index::{APPLIED, Index, Pairs, Place, Write, is_empty, mark};

/// Pages kept in memory, in bytes.
const CACHE: u64 = 256 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Sled {
    db: ::sled::Db,
}

impl Sled {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let db = ::sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(Some(500)).open();
        db.map(|db| Self { db }).map_err(failed)
    }
}

fn failed(error: ::sled::Error) -> StoreError {
    StoreError::Index(error.to_string())
}

impl Index for Sled {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &str, place: Place<'_>, limit: usize) -> Result<Pairs, StoreError> {
        let range = place.range(prefix);
        if is_empty(&range) {
            return Ok(Vec::new());
        }
        let mut pairs = self.db.range::<String, _>(range);
        let mut found = Vec::new();
        while found.len() < limit {
            let Some(pair) = (if place.is_backward() { pairs.next_back() } else { pairs.next() }) else {
                break;
            };
            let (key, value) = pair.map_err(failed)?;
            if let Ok(key) = std::str::from_utf8(&key)
                && key != APPLIED
            {
                found.push((key.to_owned(), value.to_vec()));
            }
        }
        Ok(found)
    }

    fn apply(&self, writes: &[Write], applied: u64) -> Result<(), StoreError> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key.as_str(), value.as_slice()),
                None => batch.remove(key.as_str()),
            }
        }
        batch.insert(APPLIED, &applied.to_be_bytes());
        self.db.apply_batch(batch).map_err(failed)
    }

    fn applied(&self) -> Result<u64, StoreError> {
        self.db.get(APPLIED).map_err(failed)?.map_or(Ok(0), |bytes| mark(&bytes))
    }
}
