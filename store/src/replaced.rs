//! An index that can be opened anew while others read: an engine that has failed once may take nothing more until then.

use std::sync::{PoisonError, RwLock};

use crate::error::StoreError;
use crate::index::{Index, Pairs, Place, Write};

/// The index in use; none while it could not be opened anew, and then reading fails.
#[derive(Debug)]
pub(crate) struct Replaced(RwLock<Option<Box<dyn Index>>>);

impl Replaced {
    pub(crate) fn new(index: Box<dyn Index>) -> Self {
        Self(RwLock::new(Some(index)))
    }

    /// Whether there is no index.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Closes the index, then opens another; who reads waits for it.
    pub(crate) fn replace(
        &self,
        open: impl FnOnce() -> Result<Box<dyn Index>, StoreError>,
    ) -> Result<(), StoreError> {
        let mut index = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // The engine must let go of its files before they are opened again.
        *index = None;
        *index = Some(open()?);
        Ok(())
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&(dyn Index + 'static)) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.0.read().unwrap_or_else(PoisonError::into_inner).as_deref() {
            Some(index) => act(index),
            None => Err(StoreError::Index("it failed and could not be opened again".to_owned())),
        }
    }
}

impl Index for Replaced {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|index| index.get(key))
    }

    fn scan(&self, prefix: &str, place: Place<'_>, limit: usize) -> Result<Pairs, StoreError> {
        self.with(|index| index.scan(prefix, place, limit))
    }

    fn apply(&self, writes: &[Write], applied: u64) -> Result<(), StoreError> {
        self.with(|index| index.apply(writes, applied))
    }

    fn applied(&self) -> Result<u64, StoreError> {
        self.with(Index::applied)
    }
}
