//! Remember, durably: ordered keys, atomic batches, compare-and-set, behind one journal.
//!
//! Contract, the same for every engine and held by `tests/contract.rs`:
//! - A [`Batch`] is applied whole or not at all; every key carries the sequence number of the batch that wrote it.
//! - [`Store::commit`] answers only after the batch is in the journal and the journal was fdatasynced. What was
//!   answered survives kill -9 and power loss; what failed is not there after a restart either, unless the answer is
//!   [`CommitError::Unknown`]; what was not answered may or may not be there, but never in part.
//! - A write that fails, on a full disk for example, fails alone: the next one tries again ([`Store::failing`]).
//! - All writes go through one committer thread, which groups what waits into one durable write.
//! - Checkpoints are written beside the commits, from segments that are closed, and take their place at once.
//! - The journal is the truth and the audit log: append-only, checksummed, hash-chained. The engine behind it (sled,
//!   redb) is an index: when it is missing, lags, or fails, it is brought up from the journal. Checkpoints are made from
//!   the journal, never from it.
//!
//! This crate stores bytes and knows nothing of data spaces.
#![warn(missing_docs)]

mod batch;
pub mod chain;
mod committer;
mod copy;
pub mod disk;
mod error;
mod fill;
mod index;
mod journal;
mod memory;
mod record;
mod redb;
mod replaced;
mod sled;
mod verify;

pub use batch::{Batch, Versioned};
pub use committer::{Engine, Options, Recovery, Signer, Store};
pub use copy::{back_up, copy_journal};
pub use error::{CommitError, StoreError};
pub use journal::{CheckpointProgress, JournalReport, inspect as inspect_journal};
pub use record::{decode, encode};
pub use verify::verify;
