//! Records of what a data space demands, and of what was promised and attained.

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
