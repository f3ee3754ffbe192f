//! A policy together with the JSON it came from: what is signed and sent on is what was read.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use crate::error::PolicyError;
use crate::model::Policy;

/// Beside the rules: the service levels of an offer or an agreement, which this engine does not read.
pub const SERVICE_LEVELS: &str = "urn:concordat:serviceLevels";

/// What of a policy's JSON is its terms, and goes from a definition into the offer and from there into the agreement.
pub(crate) const TERMS: [&str; 6] =
    ["profile", "conflict", "permission", "prohibition", "obligation", SERVICE_LEVELS];

/// A policy in the compact form that the Dataspace Protocol has, with prefixes that its own context declares written out
/// and without that context, so that it says the same where it is sent.
///
/// # Errors
/// It is nested too deeply, or names a term twice.
pub fn compacted(json: &Json) -> Result<Json, PolicyError> {
    let mut policy = crate::compact::compact(json)?.policy;
    if let Json::Object(map) = &mut policy {
        map.remove("@context");
    }
    Ok(policy)
}

/// A policy as received, with every property it had, and as parsed. Deserialised it is one of this node's records: see
/// [`Policy::parse_record`]; what a peer sends is parsed.
#[derive(Debug, Clone)]
pub struct Document {
    // INVARIANT: `policy` is `Policy::parse(&json)`, or `Policy::parse_record(&json)` where that is an error.
    json: Json,
    policy: Policy,
}

impl Document {
    /// Parses `json`, keeping it as it is.
    ///
    /// # Errors
    /// See [`Policy::parse`].
    pub fn parse(json: Json) -> Result<Self, PolicyError> {
        let policy = Policy::parse(&json)?;
        Ok(Self { json, policy })
    }

    /// The JSON as read.
    #[must_use]
    pub const fn json(&self) -> &Json {
        &self.json
    }

    /// The policy as parsed.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let policy = Policy::parse_record(&json).map_err(D::Error::custom)?;
        Ok(Self { json, policy })
    }
}
