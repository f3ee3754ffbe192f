//! `/.well-known/dspace-version` (section Common, Exposure of Versions): plain JSON, no context.

use serde::{Deserialize, Serialize};

/// What a connector speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionResponse {
    /// At least one.
    pub protocol_versions: Vec<ProtocolVersion>,
}

/// One version at one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProtocolVersion {
    /// For example `2025-1`.
    pub version: String,
    /// Appended to whatever precedes `/.well-known/dspace-version`.
    pub path: String,
    /// Always `HTTPS`.
    pub binding: String,
    /// Groups the endpoints of one data service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<String>,
    /// Kind of participant id, for example `did:web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier_type: Option<String>,
    /// How callers authenticate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
}

/// How callers authenticate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    /// For example `DCP`.
    pub protocol: String,
    /// For example `1.0`.
    pub version: String,
    /// Profiles understood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<String>,
}

impl VersionResponse {
    /// The entry to use for 2025-1 over HTTPS: of several the first that asks for no authentication but the one that this program
    /// speaks.
    ///
    /// # Errors
    /// Says which versions the peer speaks.
    pub fn choose(&self) -> Result<&ProtocolVersion, String> {
        let fits = |entry: &&ProtocolVersion| {
            entry.version == crate::VERSION && entry.binding.eq_ignore_ascii_case("https")
        };
        let asks_for_another = |entry: &&ProtocolVersion| {
            entry.auth.as_ref().is_some_and(|auth| !auth.protocol.eq_ignore_ascii_case("DCP"))
        };
        // The first among equals.
        self.protocol_versions.iter().filter(fits).min_by_key(asks_for_another).ok_or_else(|| {
            let theirs: Vec<_> = self.protocol_versions.iter().map(|entry| entry.version.as_str()).collect();
            format!("the peer speaks {}, this node speaks {}", theirs.join(", "), crate::VERSION)
        })
    }
}
