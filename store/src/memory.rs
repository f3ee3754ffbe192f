//! The index in memory, without durability: for tests.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::error::StoreError;
use crate::index::{Index, Pairs, Place, Write, is_empty};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    state: RwLock<(BTreeMap<String, Vec<u8>>, u64)>,
}

impl Index for Memory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state.read().unwrap_or_else(PoisonError::into_inner).0.get(key).cloned())
    }

    fn scan(&self, prefix: &str, place: Place<'_>, limit: usize) -> Result<Pairs, StoreError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let range = place.range(prefix);
        if is_empty(&range) {
            return Ok(Vec::new());
        }
        let pairs = state.0.range(range).map(|(key, value)| (key.clone(), value.clone()));
        Ok(if place.is_backward() { pairs.rev().take(limit).collect() } else { pairs.take(limit).collect() })
    }

    fn apply(&self, writes: &[Write], applied: u64) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in writes {
            match value {
                Some(value) => state.0.insert(key.clone(), value.clone()),
                None => state.0.remove(key),
            };
        }
        state.1 = applied;
        Ok(())
    }

    fn applied(&self) -> Result<u64, StoreError> {
        Ok(self.state.read().unwrap_or_else(PoisonError::into_inner).1)
    }
}
