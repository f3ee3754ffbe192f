//! The requirements of the cities' Minimal Interoperability Mechanisms as far as a node touches them, with the mechanism that
//! meets each and the check that finds out whether it does here. Editions change the numbers: an id is never told without its
//! edition. Nothing is met because it could be: somebody used it here, or the check tried it. Nothing here certifies.

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

/// How a requirement is met on a node. Only [`Met::Meets`] and [`Met::Equivalent`] say that it is: something worked here, and
/// that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Met {
    /// The mechanism worked on this node, and the evidence shows it.
    #[serde(rename = "M")]
    Meets,
    /// The same, and it meets the requirement in another way than its words say.
    #[serde(rename = "E")]
    Equivalent,
    /// The mechanism is there, and nothing on this node shows that it ever worked.
    #[serde(rename = "able, not exercised")]
    Able,
    /// An account of this node answers for it in a role.
    #[serde(rename = "attested")]
    Attested,
    /// What is needed is not set up here, or what was looked at fails.
    #[serde(rename = "N")]
    Not,
    /// Nobody has answered for it, or it could not be looked at.
    #[serde(rename = "not assessed")]
    NotAssessed,
    /// What had to be asked did not answer, which says nothing for or against.
    #[serde(rename = "unreachable")]
    Unreachable,
}

/// How far a requirement, or a mechanism of several, is met, as European calls ask. The words are theirs, where they begin is
/// ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Nothing of it is seen.
    Initial,
    /// It could be, or somebody says that it is; of a mechanism: some of its requirements are met.
    Partial,
    /// It is met; of a mechanism: everything in it that is more than a "may".
    Full,
}

impl Met {
    /// Every value, in the order of reports.
    pub const ALL: [Self; 7] = [
        Self::Meets,
        Self::Equivalent,
        Self::Able,
        Self::Attested,
        Self::Not,
        Self::NotAssessed,
        Self::Unreachable,
    ];

    /// As reports and JSON write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meets => "M",
            Self::Equivalent => "E",
            Self::Able => "able, not exercised",
            Self::Attested => "attested",
            Self::Not => "N",
            Self::NotAssessed => "not assessed",
            Self::Unreachable => "unreachable",
        }
    }

    /// The value of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether it says that the requirement is met.
    #[must_use]
    pub const fn is_met(self) -> bool {
        matches!(self, Self::Meets | Self::Equivalent)
    }

    /// The level of one requirement.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::Meets | Self::Equivalent => Level::Full,
            Self::Able | Self::Attested => Level::Partial,
            Self::Not | Self::NotAssessed | Self::Unreachable => Level::Initial,
        }
    }
}

impl Level {
    /// As reports write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initial => "Initial",
            Self::Partial => "Partial",
            Self::Full => "Full",
        }
    }

    /// The level of a mechanism whose requirements are met like this. What only may be does not hold it back.
    #[must_use]
    pub fn of_all<'a>(all: impl IntoIterator<Item = (&'a Requirement, Met)>) -> Self {
        let (mut demanded, mut met, mut some) = (0_usize, 0_usize, false);
        for (requirement, one) in all {
            some |= one.level() > Self::Initial;
            if !requirement.is_optional() {
                demanded += 1;
                met += usize::from(one.is_met());
            }
        }
        match some {
            _ if demanded > 0 && met == demanded => Self::Full,
            true => Self::Partial,
            false => Self::Initial,
        }
    }
}

impl Requirement {
    /// As attestations name it: edition, mechanism and id.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {} {}", self.edition, self.mim, self.id)
    }

    /// Whether it only may be met.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        matches!(self.keyword.as_str(), "may" | "are free to")
    }

    /// How it is met, by what was found and whether an account of the node answers for it. Nobody's word takes the place of
    /// something that failed, is not there, or could not be asked.
    #[must_use]
    pub const fn met(&self, found: Met, attested: bool) -> Met {
        match found {
            Met::Unreachable => found,
            _ if self.organisational && !attested => Met::NotAssessed,
            Met::Not => found,
            _ if self.organisational => Met::Attested,
            Met::Meets if self.equivalent => Met::Equivalent,
            found => found,
        }
    }
}

/// Where it was seen that a mechanism worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Ground {
    /// The check tried it just now.
    #[serde(rename = "a probe by this check")]
    Probe,
    /// Something happened with it before, and the node has a record of that.
    #[serde(rename = "records of this node")]
    Records,
}

/// What a check found. It is made by [`Finding::probed`] and [`Finding::recorded`], of which neither makes something met of
/// nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// How it is met.
    pub met: Met,
    /// Where it was seen to work; `None` where it was not.
    pub ground: Option<Ground>,
    /// What was found on this node.
    pub evidence: Json,
}

impl Finding {
    /// The check tried it just now: met where that went well.
    #[must_use]
    pub fn probed(worked: bool, evidence: Json) -> Self {
        match worked {
            true => Self { met: Met::Meets, ground: Some(Ground::Probe), evidence },
            false => Self::not(evidence),
        }
    }

    /// It worked `times`, by the node's records: met where that is once at least.
    #[must_use]
    pub fn recorded(times: usize, evidence: Json) -> Self {
        match times {
            0 => Self::able(evidence),
            _ => Self { met: Met::Meets, ground: Some(Ground::Records), evidence },
        }
    }

    /// It is there, and nothing shows that it worked.
    #[must_use]
    pub const fn able(evidence: Json) -> Self {
        Self { met: Met::Able, ground: None, evidence }
    }

    /// It is not set up, or fails.
    #[must_use]
    pub const fn not(evidence: Json) -> Self {
        Self { met: Met::Not, ground: None, evidence }
    }

    /// The check itself could not be made.
    #[must_use]
    pub const fn not_assessed(evidence: Json) -> Self {
        Self { met: Met::NotAssessed, ground: None, evidence }
    }

    /// What had to be asked did not answer.
    #[must_use]
    pub const fn unreachable(evidence: Json) -> Self {
        Self { met: Met::Unreachable, ground: None, evidence }
    }

    /// Whether it was seen to work.
    #[must_use]
    pub const fn is_met(&self) -> bool {
        self.met.is_met()
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
        let told =
            |one: &Requirement| [&one.check, &one.mechanism, &one.gap].iter().all(|text| !text.is_empty());
        assert!(all.iter().all(told), "each says how it is met and how to close a gap");
    }

    #[test]
    fn nothing_makes_nothing_met() {
        assert_eq!(Finding::recorded(0, Json::Null).met, Met::Able, "a count of zero");
        assert_eq!(Finding::recorded(1, Json::Null).ground, Some(Ground::Records));
        assert_eq!(Finding::probed(false, Json::Null).met, Met::Not);
        assert_eq!(Finding::probed(true, Json::Null).ground, Some(Ground::Probe));
        for met in Met::ALL {
            assert_eq!(Met::named(met.name()), Some(met));
            assert_eq!(serde_json::to_value(met).unwrap(), met.name());
        }
    }

    #[test]
    fn a_word_takes_the_place_of_nothing_that_was_found() {
        let all = requirements();
        let organisational = all.iter().find(|one| one.organisational).unwrap();
        let examined = all.iter().find(|one| !one.organisational && !one.equivalent).unwrap();
        let equivalent = all.iter().find(|one| one.equivalent).unwrap();
        for found in [Met::Not, Met::Unreachable] {
            assert_eq!(organisational.met(found, true), found);
        }
        assert_eq!(organisational.met(Met::Able, true), Met::Attested);
        for found in [Met::Meets, Met::Able, Met::Not] {
            assert_eq!(organisational.met(found, false), Met::NotAssessed);
        }
        for found in [Met::Able, Met::Not, Met::NotAssessed, Met::Unreachable] {
            assert_eq!(examined.met(found, true), found, "what the node examines takes no word");
        }
        assert_eq!(equivalent.met(Met::Meets, false), Met::Equivalent);
        assert_eq!(equivalent.met(Met::Able, false), Met::Able);
    }

    #[test]
    fn a_mechanism_is_full_when_all_that_is_demanded_is_met() {
        let all = requirements();
        let of = |met: fn(&Requirement) -> Met| {
            Level::of_all(all.iter().filter(|one| one.mim == "MIM3").map(|one| (one, met(one))))
        };
        assert_eq!(of(|_| Met::Meets), Level::Full);
        assert_eq!(of(|one| if one.is_optional() { Met::Not } else { Met::Meets }), Level::Full);
        assert_eq!(of(|one| if one.id == "RC3.1" { Met::Able } else { Met::Meets }), Level::Partial);
        assert_eq!(of(|_| Met::Able), Level::Partial);
        assert_eq!(of(|_| Met::NotAssessed), Level::Initial);
        assert_eq!(of(|_| Met::Unreachable), Level::Initial);
        assert_eq!(Level::of_all([]), Level::Initial);
    }
}
