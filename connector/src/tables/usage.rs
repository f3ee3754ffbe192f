//! Records about reads: under agreements, of what is used here under a name, of open datasets.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What was read under an agreement.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Usage {
    /// Reads that were let through.
    pub requests: u64,
    /// Bytes of data handed on.
    pub bytes: u64,
    /// When it was first read.
    #[serde(default)]
    pub first: Option<Timestamp>,
    /// When a read was last let through.
    #[serde(default)]
    pub last: Option<Timestamp>,
    /// For how long it was streamed, reads that have ended.
    #[serde(default)]
    pub metered: SignedDuration,
    /// Rows or events handed on, where they were looked at.
    #[serde(default)]
    pub rows: u64,
    /// Rows that the agreement left out, or brought together in groups.
    #[serde(default)]
    pub left_out: u64,
    /// Reads whose first byte was handed on, and how long that took, in all and at most.
    #[serde(default)]
    pub answered: u64,
    /// In all.
    #[serde(default)]
    pub latency: SignedDuration,
    /// At most.
    #[serde(default)]
    pub worst_latency: SignedDuration,
}

impl Usage {
    /// Adds what passed in a read that has ended.
    pub fn count(&mut self, metered: &dataplane::Metered) {
        self.bytes = self.bytes.saturating_add(metered.bytes);
        self.rows = self.rows.saturating_add(metered.rows);
        self.left_out = self.left_out.saturating_add(metered.left_out);
        if let Some(latency) = metered.first_byte.and_then(|took| SignedDuration::try_from(took).ok()) {
            self.answered = self.answered.saturating_add(1);
            self.latency = self.latency.saturating_add(latency);
            self.worst_latency = self.worst_latency.max(latency);
        }
    }
}

/// A read that runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Running {
    /// Under which agreement.
    pub agreement: String,
    /// Since when.
    pub since: Timestamp,
}

/// A shared dataset that this node uses, under a name of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Used {
    /// Its name on this node.
    pub name: String,
    /// Who provides it.
    pub provider: String,
    /// What it is.
    pub dataset: String,
    /// Which form of it, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// Under which agreement it is read, until that is ended and another is in force.
    pub agreement: String,
    /// The transfer that runs under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<String>,
    /// Since when it is used.
    pub since: Timestamp,
}

/// How often an open dataset was read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OpenUse {
    /// Its id.
    pub dataset: String,
    /// How often.
    pub reads: u64,
    /// How much in all.
    pub bytes: u64,
    /// When last.
    pub last: Option<Timestamp>,
}
