//! The requirements of the cities' Minimal Interoperability Mechanisms as far as a node touches them, with the mechanism that
//! meets each and the check that finds out whether it does here. Editions change the numbers: an id is never told without its
//! edition. Nothing here certifies.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

/// A requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// Of which edition.
    pub edition: String,
    /// Of which mechanism.
    pub mim: String,
    /// Its id in that edition.
    pub id: String,
    /// How strongly it is meant: `must`, `should`, `may`, ...
    pub keyword: String,
    /// In our own words.
    pub requirement: String,
    /// What of this product meets it.
    pub mechanism: String,
    /// The check.
    pub check: String,
    /// How to close it where it is not met.
    pub gap: String,
    /// Whether what the node finds is not enough: somebody must answer for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub organisational: bool,
    /// Whether the mechanism meets it in another way than its words say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub equivalent: bool,
}

/// How a requirement is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Met {
    /// It is met.
    #[serde(rename = "M")]
    Meets,
    /// It is met in another way.
    #[serde(rename = "E")]
    Equivalent,
    /// It is not met.
    #[serde(rename = "N")]
    Not,
    /// Nobody has answered for it.
    #[serde(rename = "not assessed")]
    NotAssessed,
}

impl Met {
    /// As reports write it.
    #[must_use]
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Meets => "M",
            Self::Equivalent => "E",
            Self::Not => "N",
            Self::NotAssessed => "-",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// How it is met.
    pub met: Met,
    /// What was found on this node.
    pub evidence: Json,
}

impl Finding {
    /// Met where `holds`, with what was found.
    #[must_use]
    pub fn of(holds: bool, evidence: Json) -> Self {
        Self { met: if holds { Met::Meets } else { Met::Not }, evidence }
    }

    /// SHA-256 of the evidence's canonical form, hex.
    #[must_use]
    pub fn digest(&self) -> String {
        let canonical = serde_json_canonicalizer::to_vec(&self.evidence).unwrap_or_default();
        Sha256::digest(canonical).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// All requirements, in the order of reports.
#[must_use]
pub fn requirements() -> Vec<Requirement> {
    let read = serde_json::from_str(include_str!("../data/mims.json"));
    debug_assert!(read.is_ok(), "the shipped requirements can be read");
    read.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_of_the_editions_is_there_once() {
        let all = requirements();
        let count = |edition: &str, mim: &str| {
            all.iter().filter(|one| one.edition == edition && one.mim == mim).count()
        };
        assert_eq!(count("MIMs Plus 9.0", "MIM3"), 23);
        assert_eq!(count("MIM4 capabilities 2022/23", "MIM4"), 13);
        let rules = all.iter().filter(|one| one.id.starts_with("A.")).count();
        assert_eq!(rules, 7);
        for mim in ["MIM0", "MIM1", "MIM2", "MIM6", "MIM7", "MIM8"] {
            assert!(count("MIMs Plus 9.0", mim) > 0, "{mim}");
        }
        let mut ids: Vec<_> = all.iter().map(|one| (&one.edition, &one.mim, &one.id)).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all.len());
        assert!(all.iter().all(|one| !one.check.is_empty() && !one.mechanism.is_empty()));
    }
}
