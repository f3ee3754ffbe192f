//! The index in memory, without durability: for tests.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use crate::error::StoreError;
use crate::index::{Index, Write};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    state: RwLock<(BTreeMap<String, Vec<u8>>, u64)>,
}

impl Index for Memory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state.read().unwrap_or_else(PoisonError::into_inner).0.get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = state.0.range::<str, _>((from, Bound::Unbounded));
        Ok(range
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
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
