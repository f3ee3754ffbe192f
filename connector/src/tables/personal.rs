//! Records about persons and about what parties state to each other. None of them names a person: they are under the name
//! that the ledger has for them, and what tells more is sealed.

use governance::consent::Consent;
use governance::request::Kind;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Told;

/// A person that the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PersonRecord {
    /// Where the person's own key is; what is sealed with it is gone with it.
    pub slot: u64,
    /// How the data names the person, sealed with the person's key.
    pub sealed: String,
    /// Since when the person objects to what is done on another basis than consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objected: Option<Timestamp>,
}

/// A consent of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentRecord {
    /// The person, under the name in the ledger.
    pub person: String,
    /// What was permitted.
    pub consent: Consent,
}

/// Rows about persons that were handed on under an agreement, within a short time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HandedRecord {
    /// When it was written.
    pub at: Timestamp,
    /// [`Handed`], sealed by the vault under the record's key.
    pub sealed: String,
}

/// What was told of a group about persons.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleasedRecord {
    /// When it was written.
    pub at: Timestamp,
    /// `dataplane::released::Released`, sealed by the vault under the record's key.
    pub sealed: String,
}

/// Of how many groups it is known what was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedHead {
    /// How many.
    pub groups: u64,
    /// Groups of intervals that begin before are told no more, since it is forgotten what was told of them (seconds since 1970).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_from: Option<i64>,
}

/// Who was among the rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Handed {
    /// Since when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// For each person a tag under their own key, the number of rows, and the attributes that were left out.
    pub persons: Vec<(String, u64, Vec<String>)>,
}

/// A time in which a kill took what was counted: who was among the rows is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsureRecord {
    /// Since when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// What a person asked for, through an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// Its id.
    pub id: String,
    /// What.
    pub kind: Kind,
    /// The person, under the name in the ledger.
    pub person: String,
    /// Through which operator.
    pub operator: String,
    /// In the person's words, sealed with the person's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it came.
    pub received_at: Timestamp,
    /// By when it must be answered.
    pub due: Timestamp,
    /// Why that is later than usual, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prolonged: Option<String>,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answered>,
    /// When it was noticed that it is late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Timestamp>,
}

/// How a request was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// When.
    pub at: Timestamp,
    /// Whether what was asked was done.
    pub done: bool,
    /// In words; where it was not done, why.
    pub reason: String,
}

/// A signed statement of one party of an agreement to the other (`trust::statement`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatementRecord {
    /// Its id, the same at both.
    pub id: String,
    /// Its `typ`.
    pub kind: String,
    /// The agreement.
    pub agreement: String,
    /// Who states it.
    pub by: String,
    /// When, by the clock of who states it.
    pub at: Timestamp,
    /// When it was recorded here.
    pub recorded_at: Timestamp,
    /// Which statement it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
    /// By when it must be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// For one's own: whether the other party has it.
    pub told: Told,
    /// The compact JWS, sealed by the vault under the record's key.
    pub sealed: String,
}

/// An access to persons' data that an operator permitted, or did not (MIM4 2021, 4.2.1 and 5.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessRecord {
    /// Its id here.
    pub id: String,
    /// The operator's UUID.
    pub operator: String,
    /// The operator's base address then.
    pub operator_address: String,
    /// The organisation of the data-using service.
    pub service: String,
    /// Under which agreement.
    pub agreement: String,
    /// The transfer.
    pub transfer: String,
    /// When it was asked for.
    pub at: Timestamp,
    /// The operator's name of it.
    pub access_item: Option<String>,
    /// The introspection's answer, sealed by the vault under the record's key.
    pub introspection: String,
    /// How it ended.
    pub outcome: Option<AccessOutcome>,
    /// Whether the operator was told.
    pub told: Told,
}

/// How an access ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessOutcome {
    /// When.
    pub at: Timestamp,
    /// What the source did: `answered`, `failed`, `not asked`.
    pub source: String,
    /// What the service got: `complete`, `the reader left`, `cut: ...`, or why nothing.
    pub response: String,
    /// Bytes.
    pub bytes: u64,
    /// Rows, where they were counted.
    pub rows: u64,
}

/// What recipients are still to be told about a person: it outlives a stop of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntoldRecord {
    /// Consents that ended.
    pub consents: Vec<String>,
    /// Whether everything about the person must be deleted, whatever permitted it.
    pub everything: bool,
    /// Since when.
    pub at: Timestamp,
}
