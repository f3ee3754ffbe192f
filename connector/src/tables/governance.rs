//! Records of what a data space demands, and of what was promised and attained.

use governance::levels::{Attainment, Measured, Remedy, Side};
use governance::rulebook::Rulebook;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Told;

/// A version of a rulebook.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RulebookRecord {
    /// Whose it is.
    pub authority: String,
    /// What it says.
    pub book: Rulebook,
    /// As its authority signed it (compact JWS).
    pub compact: String,
    /// When it came.
    pub received_at: Timestamp,
    /// When this node accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
}

/// An acceptance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// By whom.
    pub member: String,
    /// Which version.
    pub version: u32,
    /// When.
    pub at: Timestamp,
    /// As the member signed it (compact JWS).
    pub compact: String,
    /// At the member: whether the authority has it.
    pub told: Told,
}

/// What this node measured under an agreement, in a short time of one period.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MeasuredRecord {
    /// In the order in which it came.
    pub measured: Vec<Measured>,
}

/// Where a period of an agreement's service levels stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeriodRecord {
    /// The agreement.
    pub agreement: String,
    /// Number of the period.
    pub period: u64,
    /// Where it stands.
    pub state: PeriodState,
    /// What was attained, from the measurements of both, or of this party alone where the other has sent none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attainment: Option<Attainment>,
    /// Its digest, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What the other party computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theirs: Option<String>,
    /// Who disputes it, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disputes: Vec<Remark>,
    /// Levels that were missed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaches: Vec<Breach>,
}

/// Where a period stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeriodState {
    /// This node has stated what it measured; the other party has not.
    Waiting,
    /// Computed here; the other party has not said what it computed.
    Computed,
    /// Both computed the same.
    Agreed,
    /// A party does not agree, or computed something else.
    Disputed,
    /// The other party did not state anything in time: computed from what this node measured.
    OneSided,
}

impl PeriodState {
    /// As in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Computed => "computed",
            Self::Agreed => "agreed",
            Self::Disputed => "disputed",
            Self::OneSided => "one-sided",
        }
    }
}

/// Who says why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// A level that was missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Breach {
    /// The level.
    pub level: String,
    /// Who missed it.
    pub owed_by: Side,
    /// Which one it is of this level, counted from 1.
    pub count: usize,
    /// What follows.
    pub remedy: Remedy,
    /// What is owed, in hundredths of the currency.
    pub cents: u64,
    /// Who waived it, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<Remark>,
}

/// A key of the management API that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// What it was called then.
    pub name: String,
}

/// That somebody answers in a role for a requirement that the node itself cannot examine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// Edition, mechanism and id.
    pub id: String,
    /// Who answers: a role of the organisation.
    pub role: String,
    /// In words.
    pub statement: String,
    /// When.
    pub at: Timestamp,
    /// Whose key it was made with; `None` of what was attested before that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
}
