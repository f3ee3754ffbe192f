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
    /// A seal covers more entries of a log than the journal has.
    #[error(
        "the journal has {entries} entries of the audit log, but a seal covers {sealed}: the end of the journal was lost. \
         Nothing was changed. Restore the journal from a backup"
    )]
    Sealed {
        /// Entries in the journal.
        entries: u64,
        /// Entries that the last seal covers.
        sealed: u64,
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
    /// A write failed, and what is left of it in the journal could not be removed: a restart may find it there or not.
    #[error(
        "a write failed and could not be taken back, so that it is not known whether it is there after a restart; \
         taking it back failed too ({taking_back})"
    )]
    Unknown {
        /// Why the write failed.
        #[source]
        source: Arc<Self>,
        /// Why what was written could not be removed.
        taking_back: String,
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

    /// Of what kind the fault of a file operation is, where one is behind it.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            Self::Unknown { source, .. } => source.io_kind(),
            _ => None,
        }
    }

    /// The message, with why a file operation failed.
    #[must_use]
    pub fn with_cause(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("{self}: {source}"),
            Self::Unknown { source, .. } => format!("{self}: {}", source.with_cause()),
            _ => self.to_string(),
        }
    }
}

/// A batch was not committed, or, in [`Self::Unknown`] only, nobody can say.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A key was changed by another since it was read; nothing was written.
    #[error("`{key}` was changed by another since it was read")]
    Conflict {
        /// Which key.
        key: String,
    },
    /// The store failed; the batch is not there, and a restart does not find it either.
    #[error("the batch was not committed")]
    Store(#[source] StoreError),
    /// The store failed or was closed, so that whether the batch is there shows only after a restart. After a write that
    /// failed it is not there while this process runs, and once the store can be written again no restart finds it either.
    #[error("it is not known whether the batch was committed")]
    Unknown(#[source] StoreError),
    /// The batch is larger than a commit may be.
    #[error("the batch has {0} bytes, more than a commit may have")]
    TooLarge(usize),
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unknown { .. } | StoreError::Closed => Self::Unknown(error),
            error => Self::Store(error),
        }
    }
}
