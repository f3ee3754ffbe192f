//! What the parties of an agreement state to each other, signed, beside the protocol.

use jiff::Timestamp;

use serde::{Deserialize, Serialize};

use crate::levels::Measured;

/// `typ` of the notice that a person permits no more what was handed on, or wants it erased: the recipient must delete it
/// and say so.
pub const WITHDRAWAL: &str = "concordat-withdrawal+jwt";
/// `typ` of the confirmation that it was deleted.
pub const DELETION: &str = "concordat-deletion+jwt";
/// `typ` of what a party measured in a period.
pub const MEASURED: &str = "concordat-measured+jwt";
/// `typ` of what a party computed from the measurements of both.
pub const ATTAINED: &str = "concordat-attained+jwt";
/// `typ` of the statement that a party does not agree with what came out.
pub const DISPUTED: &str = "concordat-disputed+jwt";
/// `typ` of the statement that a party waives what it is owed.
pub const WAIVED: &str = "concordat-waived+jwt";
/// `typ` of the statement that a party ended the agreement.
pub const ENDED: &str = "concordat-ended+jwt";
/// Every kind of statement.
pub const KINDS: &[&str] = &[WITHDRAWAL, DELETION, MEASURED, ATTAINED, DISPUTED, WAIVED, ENDED];

/// Most measurements in one part.
pub const IN_ONE_PART: usize = 1500;
/// Most parts.
pub const MAX_PARTS: u32 = 100;

/// Days within which a recipient must delete and say so, where the agreement does not say less.
pub const DAYS_TO_DELETE: i64 = 30;
/// Longest statement in words, in bytes.
pub const MAX_WORDS: usize = 2000;

/// That a party ended the agreement: the stated part of [`ENDED`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgreementEnd {
    /// When.
    pub at: Timestamp,
    /// Why, in at most [`MAX_WORDS`] bytes.
    pub reason: String,
}

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
    /// The attributes that must go from those rows; the rows themselves where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
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

/// What one party measured in a period, in parts: the stated part of [`MEASURED`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeasuredPart {
    /// Number of the period.
    pub period: u64,
    /// Number of this part, from 0 on.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// The measurements.
    pub measured: Vec<Measured>,
}

/// What one party computed from the measurements of both: the stated part of [`ATTAINED`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttainedStatement {
    /// Number of the period.
    pub period: u64,
    /// SHA-256 of the canonical form of the attainment, hex.
    pub sha256: String,
}

/// That a party does not agree with what came out, or waives what it is owed: the stated part of [`DISPUTED`] and [`WAIVED`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AboutPeriod {
    /// Number of the period.
    pub period: u64,
    /// The level that is waived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Why.
    pub reason: String,
}
