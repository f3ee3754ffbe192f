//! What this product puts beside an agreement in its message: the agreement itself is then the offer's rules and nothing else, as
//! peers compare it, and the signatures bind what stands beside it by its digests.

use std::collections::BTreeMap;

use policy_engine::SERVICE_LEVELS;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value as Json};

use super::Agreement;

/// Prefix of the members of a message that are this product's own.
const OWN: &str = "urn:concordat:";
/// Those of them that are no part of what is agreed.
const OF_MESSAGE: [&str; 2] = ["urn:concordat:signature", "urn:concordat:signatureVersions"];

/// What stands beside an agreement and is agreed with it, by name: the terms in words with their digest, service levels,
/// rulebooks. Release 0.1.0 puts all of it inside the agreement, and what was agreed to with it is read there.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Parts(BTreeMap<String, Json>);

impl Parts {
    /// These.
    #[must_use]
    pub fn of(parts: Map<String, Json>) -> Self {
        Self(parts.into_iter().filter(|(name, _)| is_part(name)).collect())
    }

    /// Whether nothing stands beside the agreement.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By name.
    #[must_use]
    pub const fn as_map(&self) -> &BTreeMap<String, Json> {
        &self.0
    }

    /// A part of `agreement`, wherever it stands.
    #[must_use]
    pub fn find<'a>(&'a self, agreement: &'a Agreement, name: &str) -> Option<&'a Json> {
        self.0.get(name).or_else(|| agreement.json().get(name))
    }

    /// The agreement with all that stands beside it, as one document for those who read its terms.
    #[must_use]
    pub fn with(&self, agreement: &Agreement) -> Json {
        let mut whole = agreement.json().clone();
        if let Json::Object(map) = &mut whole {
            map.extend(self.0.clone());
        }
        whole
    }

    /// Whether the words are those of the rules, the levels those of the offer, and nothing stands in two places.
    ///
    /// # Errors
    /// One sentence with the place.
    pub fn check(&self, agreement: &Agreement, levels: Option<&Json>) -> Result<(), String> {
        if let Some(twice) = self.0.keys().find(|name| agreement.json().get(name).is_some()) {
            return Err(format!("/{twice}: stands inside the agreement and beside it"));
        }
        if self.find(agreement, SERVICE_LEVELS) != levels {
            return Err(format!("/{SERVICE_LEVELS}: are not those of the offer"));
        }
        self.check_words(agreement)
    }

    /// Whether the plain words are those of the rules.
    ///
    /// # Errors
    /// One sentence: the words were altered, or say something else.
    pub fn check_words(&self, agreement: &Agreement) -> Result<(), String> {
        super::words::check(self, agreement)
    }
}

fn is_part(name: &str) -> bool {
    name.starts_with(OWN) && !OF_MESSAGE.contains(&name)
}

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(Map::deserialize(deserializer)?))
    }
}
