//! redb as the index: `store.engine = "redb"`.

use std::fmt;
use std::path::Path;

use ::redb::{Database, ReadableDatabase, TableDefinition};

use crate::error::StoreError;
use crate::index::{APPLIED, Index, Pairs, Place, Write, is_empty, mark};

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("store");

pub(crate) struct Redb {
    db: Database,
}

impl fmt::Debug for Redb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redb")
    }
}

impl Redb {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(path)
            .map_err(|error| StoreError::io("creating", path.display().to_string(), error))?;
        let db = Database::create(path.join("index.redb")).map_err(failed)?;
        let write = db.begin_write().map_err(failed)?;
        write.open_table(TABLE).map_err(failed)?;
        write.commit().map_err(failed)?;
        Ok(Self { db })
    }
}

fn failed(error: impl fmt::Display) -> StoreError {
    StoreError::Index(error.to_string())
}

impl Index for Redb {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.db.begin_read().map_err(failed)?;
        let table = read.open_table(TABLE).map_err(failed)?;
        Ok(table.get(key).map_err(failed)?.map(|value| value.value().to_vec()))
    }

    fn scan(&self, prefix: &str, place: Place<'_>, limit: usize) -> Result<Pairs, StoreError> {
        let range = place.range(prefix);
        if is_empty(&range) {
            return Ok(Vec::new());
        }
        let read = self.db.begin_read().map_err(failed)?;
        let table = read.open_table(TABLE).map_err(failed)?;
        let bound = (range.0.as_ref().map(String::as_str), range.1.as_ref().map(String::as_str));
        let mut pairs = table.range::<&str>(bound).map_err(failed)?;
        let mut found = Vec::new();
        while found.len() < limit {
            let Some(pair) = (if place.is_backward() { pairs.next_back() } else { pairs.next() }) else {
                break;
            };
            let (key, value) = pair.map_err(failed)?;
            if key.value() != APPLIED {
                found.push((key.value().to_owned(), value.value().to_vec()));
            }
        }
        Ok(found)
    }

    fn apply(&self, writes: &[Write], applied: u64) -> Result<(), StoreError> {
        let write = self.db.begin_write().map_err(failed)?;
        {
            let mut table = write.open_table(TABLE).map_err(failed)?;
            for (key, value) in writes {
                match value {
                    Some(value) => table.insert(key.as_str(), value.as_slice()).map_err(failed)?,
                    None => table.remove(key.as_str()).map_err(failed)?,
                };
            }
            table.insert(APPLIED, applied.to_be_bytes().as_slice()).map_err(failed)?;
        }
        write.commit().map_err(failed)
    }

    fn applied(&self) -> Result<u64, StoreError> {
        self.get(APPLIED)?.map_or(Ok(0), |bytes| mark(&bytes))
    }
}
