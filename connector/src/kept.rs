//! Records that are asked for again and again, read once for each version of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use store::{Store, StoreError};

use crate::tables;

/// Most records that are kept; then it begins anew.
const MOST: usize = 1024;

/// Records of one kind, by their keys.
#[derive(Debug)]
pub struct Kept<T>(Mutex<HashMap<String, (u64, Arc<T>)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: DeserializeOwned> Kept<T> {
    /// The record under `key`, as the store has it now.
    ///
    /// # Errors
    /// The store failed, or the record cannot be read.
    pub fn load(&self, store: &Store, key: &str) -> Result<Option<Arc<T>>, StoreError> {
        let Some(found) = store.get(key)? else { return Ok(None) };
        let known = {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get(key).filter(|(version, _)| *version == found.version).map(|(_, one)| Arc::clone(one))
        };
        if known.is_some() {
            return Ok(known);
        }
        let Some((record, version)) = tables::load::<T>(store, key)? else { return Ok(None) };
        let record = Arc::new(record);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(key.to_owned(), (version, Arc::clone(&record)));
        Ok(Some(record))
    }
}
