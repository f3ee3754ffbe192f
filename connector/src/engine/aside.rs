//! Records that cannot be read, for the operator.

use store::Batch;

use super::{Engine, EngineError};
use crate::clock;
use crate::tables::aside::{self, Aside};
use crate::tables::{self, Event};

impl Engine {
    /// The records that are set aside: nothing happens on their account.
    ///
    /// # Errors
    /// The store failed.
    pub fn set_aside(&self) -> Result<Vec<Aside>, EngineError> {
        Ok(aside::all(&self.store)?)
    }

    /// Folds the journal into a signed checkpoint, and tells up to which commit; everything else goes on meanwhile.
    ///
    /// # Errors
    /// The store failed; the journal is as it was.
    pub async fn checkpoint(&self) -> Result<u64, EngineError> {
        let commit = self.store.checkpoint().await?;
        let text = format!("the journal up to commit {commit} was folded into a checkpoint");
        self.record(Event::new("store", clock::now(), text)).await;
        Ok(commit)
    }

    /// How far the checkpoint is that is being made; `None` while there is none.
    #[must_use]
    pub fn checkpointing(&self) -> Option<store::CheckpointProgress> {
        self.store.checkpointing()
    }

    /// Removes a record that is set aside.
    ///
    /// # Errors
    /// It is not there, or can be read.
    pub async fn remove_aside(&self, key: &str) -> Result<(), EngineError> {
        let none = || EngineError::NotFound { kind: "record that is set aside under", id: key.to_owned() };
        let (found, version) = aside::one(&self.store, key)?.ok_or_else(none)?;
        let mut batch = Batch::new();
        batch.expect(key.to_owned(), Some(version));
        batch.delete(key.to_owned());
        let text = format!("the record {key} was removed, which could not be read: {}", found.reason);
        tables::append_event(&mut batch, &Event::new("store", clock::now(), text))?;
        self.commit(batch).await?;
        // What was closed because of it may be open now.
        self.load_rulebooks()?;
        self.mend_catalog().await
    }
}
