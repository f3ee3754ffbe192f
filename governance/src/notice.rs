//! What the parties of an agreement state to each other, signed, beside the protocol.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `typ` of the notice that a person permits no more what was handed on, or wants it erased: the recipient must delete it
/// and say so.
pub const WITHDRAWAL: &str = "concordat-withdrawal+jwt";
/// `typ` of the confirmation that it was deleted.
pub const DELETION: &str = "concordat-deletion+jwt";
/// Every kind of statement.
pub const KINDS: &[&str] = &[WITHDRAWAL, DELETION];

/// Days within which a recipient must delete and say so, where the agreement does not say less.
pub const DAYS_TO_DELETE: i64 = 30;
/// Longest statement in words, in bytes.
pub const MAX_WORDS: usize = 2000;

/// What must be deleted: the stated part of [`WITHDRAWAL`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Withdrawal {
    /// The dataset.
    pub dataset: String,
    /// The column that tells the rows.
    pub column: String,
    /// Its values in those rows, as the recipient got them.
    pub values: Vec<String>,
    /// Since when it is not permitted any more.
    pub withdrawn_at: Timestamp,
    /// By when it must be deleted and confirmed.
    pub due: Timestamp,
}

/// That it was deleted: the stated part of [`DELETION`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deletion {
    /// Id of the notice.
    pub notice: String,
    /// In words: what was deleted, where.
    pub statement: String,
}
