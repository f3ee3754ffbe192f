//! What can go wrong with a store.

use std::io;
use std::sync::Arc;

/// The store cannot be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The committer stopped, because of an earlier error or because the node shuts down.
    #[error("the store is closed")]
    Closed,
    /// The journal is damaged before its end.
    #[error(
        "the journal is damaged: {file} at byte {offset}: {reason}. Nothing was changed. Restore this file from a \
         backup, then start again; the index is rebuilt by itself"
    )]
    Damaged {
        /// Which file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The index knows later commits than the journal has.
    #[error(
        "the journal ends at commit {journal}, but the index knows commit {index}: the end of the journal was lost. \
         Nothing was changed. Restore the journal from a backup, or run `concordat store rebuild` to go on with what \
         the journal has"
    )]
    Behind {
        /// Last commit in the journal.
        journal: u64,
        /// Last commit in the index.
        index: u64,
    },
    /// The index engine failed.
    #[error("the index failed: {0}")]
    Index(String),
    /// Reading or writing a file failed.
    #[error("{operation} {file} failed")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        file: String,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process has the store open.
    #[error("another process has {0} open; is the node running already?")]
    Locked(String),
    /// A record that this version cannot read.
    #[error("the record `{key}` cannot be read: {reason}")]
    Record {
        /// Its key.
        key: String,
        /// Why.
        reason: String,
    },
}

impl StoreError {
    pub(crate) fn io(operation: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        Self::Io { operation, file: file.into(), source: Arc::new(source) }
    }
}

/// A batch was not committed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A key was changed by another since it was read; nothing was written.
    #[error("`{key}` was changed by another since it was read")]
    Conflict {
        /// Which key.
        key: String,
    },
    /// The store failed; whether the batch is there shows after the next open.
    #[error("the batch was not committed")]
    Store(#[from] StoreError),
    /// The batch is larger than a commit may be.
    #[error("the batch has {0} bytes, more than a commit may have")]
    TooLarge(usize),
}
