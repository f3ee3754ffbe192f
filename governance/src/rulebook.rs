//! The rulebook of a data space: what its authority demands of members and of what they agree on, in words and as data.

use std::collections::BTreeMap;

use jiff::Timestamp;
use policy_engine::{Containment, Hierarchy, Policy, difference, explain, within};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use crate::error::{Malformed, bounded, text};
use crate::levels::{Level, Remedy, ServiceLevels};
use crate::personal::{ANY_PURPOSE, purposes_of};

/// `typ` of a rulebook.
pub const RULEBOOK: &str = "concordat-rulebook+jwt";
/// `typ` of an acceptance.
pub const ACCEPTANCE: &str = "concordat-rulebook-acceptance+jwt";
/// The property of an offer and an agreement that names the rulebooks it was made under.
pub const PROPERTY: &str = "urn:concordat:rulebook";
/// Longest rulebook as it is signed, in bytes.
pub const MAX_RULEBOOK: usize = 512 * 1024;
/// Most clauses.
const MAX_CLAUSES: usize = 500;
/// Longest clause, in bytes.
const MAX_CLAUSE: usize = 20_000;

/// A version of a rulebook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rulebook {
    /// The data space, an IRI: the same in all versions.
    pub space: String,
    /// Counted from 1.
    pub version: u32,
    /// What it is called.
    pub title: String,
    /// From when it is in force, for who has accepted it.
    pub in_force: Timestamp,
    /// By when members must have accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_by: Option<Timestamp>,
    /// What it says.
    pub clauses: Vec<Clause>,
    /// Terms to choose from, by name: ODRL Sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub templates: BTreeMap<String, Template>,
}

/// A clause: words, and where nodes can check it, what they check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Clause {
    /// Its number, such as `3.2`.
    pub id: String,
    /// In words.
    pub text: String,
    /// What is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<ClauseRule>,
}

/// What a node checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ClauseRule {
    /// Types of credentials that a party of an agreement must have shown.
    Credentials(Vec<String>),
    /// Purposes for which data may be offered; what permits any purpose permits others as well.
    Purposes(Vec<String>),
    /// Actions that every agreement must forbid, such as `sell`.
    Forbidden(Vec<String>),
    /// Duties that every permission must have, such as `attribute`.
    Duties(Vec<String>),
    /// Terms (an ODRL Set) within which every agreement must be.
    Terms(Json),
    /// Levels that every agreement must promise at least.
    ServiceLevels(Vec<Level>),
    /// What follows on breaches, in this order.
    Sanctions(Vec<Remedy>),
}

/// Terms to choose from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// What it is for, in words.
    pub title: String,
    /// An ODRL Set; with service levels, where they are part of it.
    pub policy: Json,
}

/// Which version an agreement was made under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// The data space.
    pub space: String,
    /// The version.
    pub version: u32,
    /// SHA-256 of its canonical form, hex.
    pub sha256: String,
}

/// That a member accepts a version: the stated part of [`ACCEPTANCE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Acceptance {
    /// Which.
    pub rulebook: Reference,
}

/// Terms that a clause does not let pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// The data space.
    pub space: String,
    /// The version.
    pub version: u32,
    /// The clause's number.
    pub clause: String,
    /// What it says.
    pub text: String,
    /// What is wrong.
    pub reason: String,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { space, version, clause, reason, text } = self;
        write!(f, "clause {clause} of the rulebook of {space} (version {version}): {reason} (\"{text}\")")
    }
}

impl Rulebook {
    /// Reads a rulebook and checks what its shape does not say.
    ///
    /// # Errors
    /// Names the place and the reason.
    pub fn parse(json: Json) -> Result<Self, Malformed> {
        let book: Self =
            serde_json::from_value(json).map_err(|error| Malformed::new("", error.to_string()))?;
        text("/space", &book.space, 500)?;
        text("/title", &book.title, 500)?;
        if book.version == 0 {
            return Err(Malformed::new("/version", "is counted from 1"));
        }
        if book.clauses.is_empty() || book.clauses.len() > MAX_CLAUSES || book.templates.len() > 200 {
            return Err(Malformed::new(
                "/clauses",
                format!("must have 1 to {MAX_CLAUSES} entries, and 200 templates at most"),
            ));
        }
        let mut ids = std::collections::BTreeSet::new();
        for (at, clause) in book.clauses.iter().enumerate() {
            let path = format!("/clauses/{at}");
            text(&format!("{path}/id"), &clause.id, 50)?;
            text(&format!("{path}/text"), &clause.text, MAX_CLAUSE)?;
            if !ids.insert(clause.id.as_str()) {
                return Err(Malformed::new(format!("{path}/id"), "stands twice"));
            }
            let list = match &clause.rule {
                Some(
                    ClauseRule::Credentials(list)
                    | ClauseRule::Purposes(list)
                    | ClauseRule::Forbidden(list)
                    | ClauseRule::Duties(list),
                ) => list.as_slice(),
                Some(ClauseRule::Terms(terms)) => {
                    read_policy(&format!("{path}/rule/terms"), terms)?;
                    continue;
                }
                _ => continue,
            };
            bounded(&format!("{path}/rule"), list, 200, 500)?;
        }
        for (name, template) in &book.templates {
            let path = format!("/templates/{name}/policy");
            read_policy(&path, &template.policy)?;
            ServiceLevels::of(&template.policy)
                .map_err(|error| Malformed::new(format!("{path}{}", error.path), error.reason))?;
        }
        Ok(book)
    }

    /// What of its own templates its clauses do not let pass, by the name of the template: terms that members would take and
    /// could never agree on.
    #[must_use]
    pub fn broken_templates(&self, known: &Hierarchy) -> Vec<(&str, Conflict)> {
        self.templates
            .iter()
            .flat_map(|(name, template)| {
                let conflicts = self.conflicts(&template.policy, known).into_iter();
                conflicts.map(move |conflict| (name.as_str(), conflict))
            })
            .collect()
    }

    /// SHA-256 of the canonical form, hex.
    #[must_use]
    pub fn digest(&self) -> String {
        let canonical = serde_json_canonicalizer::to_vec(self).unwrap_or_default();
        Sha256::digest(canonical).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What an agreement names.
    #[must_use]
    pub fn reference(&self) -> Reference {
        Reference { space: self.space.clone(), version: self.version, sha256: self.digest() }
    }

    /// Types of credentials that a party must have shown, with the clause.
    pub fn credentials(&self) -> impl Iterator<Item = (&Clause, &str)> {
        self.clauses.iter().flat_map(|clause| match &clause.rule {
            Some(ClauseRule::Credentials(list)) => list.iter().map(|one| (clause, one.as_str())).collect(),
            _ => Vec::new(),
        })
    }

    /// Why `terms` (an ODRL policy with what stands beside it) do not fit, clause by clause; empty where they do.
    #[must_use]
    pub fn conflicts(&self, terms: &Json, known: &Hierarchy) -> Vec<Conflict> {
        let policy = match Policy::parse(terms) {
            Ok(policy) => policy,
            Err(error) => return vec![self.conflict(None, format!("the terms cannot be read: {error}"))],
        };
        let levels = match ServiceLevels::of(terms) {
            Ok(levels) => levels,
            Err(error) => {
                return vec![self.conflict(None, format!("the service levels cannot be read: {error}"))];
            }
        };
        let mut all = Vec::new();
        for clause in &self.clauses {
            let reasons = clause.rule.as_ref().map(|rule| rule.reasons(&policy, levels.as_ref(), known));
            all.extend(reasons.into_iter().flatten().map(|reason| self.conflict(Some(clause), reason)));
        }
        all
    }

    /// A conflict with a clause.
    #[must_use]
    pub fn conflict(&self, clause: Option<&Clause>, reason: String) -> Conflict {
        Conflict {
            space: self.space.clone(),
            version: self.version,
            clause: clause.map_or_else(String::new, |clause| clause.id.clone()),
            text: clause.map_or_else(String::new, |clause| clause.text.chars().take(300).collect()),
            reason,
        }
    }

    /// What changed from `self` to `new`, one sentence a change.
    #[must_use]
    pub fn difference(&self, new: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.title != new.title {
            lines.push(format!("it is called `{}` now", new.title));
        }
        for clause in &new.clauses {
            let Some(before) = self.clauses.iter().find(|one| one.id == clause.id) else {
                lines.push(format!("new clause {}: {}", clause.id, clause.text));
                continue;
            };
            if before.text != clause.text {
                lines.push(format!(
                    "clause {} now says: {} (before: {})",
                    clause.id, clause.text, before.text
                ));
            }
            if before.rule != clause.rule {
                lines.push(format!(
                    "clause {}: {}",
                    clause.id,
                    rule_change(before.rule.as_ref(), clause.rule.as_ref())
                ));
            }
        }
        let gone = self.clauses.iter().filter(|one| !new.clauses.iter().any(|clause| clause.id == one.id));
        lines.extend(gone.map(|one| format!("clause {} is gone: {}", one.id, one.text)));
        for (name, template) in &new.templates {
            match self.templates.get(name) {
                None => lines.push(format!("new template `{name}`: {}", template.title)),
                Some(before) if before.policy != template.policy => {
                    let (old, new) = (Policy::parse(&before.policy), Policy::parse(&template.policy));
                    let changes = match (old, new) {
                        (Ok(old), Ok(new)) => difference(&old, &new).join("; "),
                        _ => "its terms changed".to_owned(),
                    };
                    let changes =
                        if changes.is_empty() { "its service levels changed".to_owned() } else { changes };
                    lines.push(format!("template `{name}`: {changes}"));
                }
                Some(_) => {}
            }
        }
        let gone = self.templates.keys().filter(|name| !new.templates.contains_key(*name));
        lines.extend(gone.map(|name| format!("the template `{name}` is gone")));
        lines
    }
}

fn read_policy(path: &str, json: &Json) -> Result<Policy, Malformed> {
    Policy::parse(json).map_err(|error| Malformed::new(format!("{path}{}", error.path()), error.reason()))
}

impl ClauseRule {
    /// What is checked, in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Credentials(list) => format!("parties have shown {}", list.join(", ")),
            Self::Purposes(list) => format!("purposes are within {}", list.join(", ")),
            Self::Forbidden(list) => format!("agreements forbid {}", list.join(", ")),
            Self::Duties(list) => format!("permissions come with the duties {}", list.join(", ")),
            Self::Terms(terms) => {
                let words = Policy::parse(terms).map(|policy| explain::policy(&policy).join("; "));
                format!("agreements are within: {}", words.unwrap_or_default())
            }
            Self::ServiceLevels(levels) => {
                let levels: Vec<_> =
                    levels.iter().map(|level| level.measure.words(level.target, level.share)).collect();
                format!("agreements promise at least: {}", levels.join("; "))
            }
            Self::Sanctions(ladder) => {
                format!(
                    "breaches are followed by {}",
                    ladder.iter().map(|one| one.name()).collect::<Vec<_>>().join(", then ")
                )
            }
        }
    }

    /// Why terms do not fit.
    fn reasons(&self, policy: &Policy, levels: Option<&ServiceLevels>, known: &Hierarchy) -> Vec<String> {
        match self {
            // Who has shown what is for the node to say.
            Self::Credentials(_) => Vec::new(),
            Self::Purposes(allowed) => purposes_of(policy)
                .into_iter()
                .filter(|purpose| !allowed.iter().any(|whole| known.is_within(purpose, whole)))
                .map(|purpose| match purpose.as_str() {
                    ANY_PURPOSE => "a permission names no purpose, so that it permits any".to_owned(),
                    purpose => format!("the purpose `{purpose}` is not allowed"),
                })
                .collect(),
            Self::Forbidden(actions) => actions
                .iter()
                .filter(|action| {
                    let forbids = |rule: &policy_engine::Rule| {
                        rule.action == **action && rule.conditions().next().is_none()
                    };
                    !policy.prohibitions.iter().any(forbids)
                })
                .map(|action| format!("the terms do not forbid `{action}`"))
                .collect(),
            Self::Duties(actions) => {
                let lacks = |rule: &policy_engine::Rule, action: &String| {
                    !rule.duties.iter().chain(&policy.obligations).any(|duty| duty.action == *action)
                };
                let missing = |rule: &policy_engine::Rule| {
                    let missing: Vec<_> =
                        actions.iter().filter(|action| lacks(rule, action)).cloned().collect();
                    (!missing.is_empty()).then(|| {
                        format!(
                            "the permission `{}` comes without the duty {}",
                            rule.path,
                            missing.join(", ")
                        )
                    })
                };
                policy.permissions.iter().filter_map(missing).collect()
            }
            Self::Terms(terms) => match Policy::parse(terms).map(|widest| within(policy, &widest, known)) {
                Ok(Containment::Within) => Vec::new(),
                Ok(Containment::Outside(gaps)) => gaps.into_iter().map(|gap| gap.text).collect(),
                Err(error) => vec![format!("the clause cannot be read: {error}")],
            },
            Self::ServiceLevels(least) => {
                let promised = levels.map(|levels| levels.levels.as_slice()).unwrap_or_default();
                let kept = |wanted: &Level| {
                    promised.iter().any(|level| {
                        let better = if wanted.measure.is_floor() {
                            level.target >= wanted.target
                        } else {
                            level.target <= wanted.target
                        };
                        level.measure == wanted.measure && better && level.share >= wanted.share
                    })
                };
                least
                    .iter()
                    .filter(|wanted| !kept(wanted))
                    .map(|wanted| {
                        format!(
                            "the terms do not promise: {}",
                            wanted.measure.words(wanted.target, wanted.share)
                        )
                    })
                    .collect()
            }
            Self::Sanctions(ladder) => match levels {
                Some(levels) if levels.remedies != *ladder => {
                    vec!["the remedies of the service levels are not those of the rulebook".to_owned()]
                }
                _ => Vec::new(),
            },
        }
    }
}

fn rule_change(before: Option<&ClauseRule>, after: Option<&ClauseRule>) -> String {
    match (before, after) {
        (Some(before), Some(after)) => format!("checked now: {} (before: {})", after.words(), before.words()),
        (None, Some(after)) => format!("checked from now on: {}", after.words()),
        (Some(before), None) => format!("checked no more: {}", before.words()),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn book() -> Rulebook {
        Rulebook::parse(json!({
            "space": "https://space.example", "version": 1, "title": "City data", "inForce": "2027-01-01T00:00:00Z",
            "clauses": [
                {"id": "1", "text": "We share to serve the public."},
                {"id": "2", "text": "Only for the public benefit.", "rule": {"purposes": ["https://w3id.org/dpv#PublicBenefit"]}},
                {"id": "3", "text": "Nobody sells it.", "rule": {"forbidden": ["sell"]}},
                {"id": "4", "text": "Say whose it is.", "rule": {"duties": ["attribute"]}},
                {"id": "5", "text": "Be there.", "rule": {"serviceLevels": [{"id": "up", "measure": "availability", "target": 99}]}},
                {"id": "6", "text": "First a word, then money.", "rule": {"sanctions": ["notice", "credit"]}},
                {"id": "7", "text": "In Europe.", "rule": {"terms": {"@type": "Set", "permission": [{"action": "use", "constraint": [
                    {"leftOperand": "spatial", "operator": "isPartOf", "rightOperand": "EU"}]}]}}},
            ],
            "templates": {"open": {"title": "Open", "policy": {"@type": "Set", "permission": [{"action": "use"}]}}},
        }))
        .unwrap()
    }

    fn fitting() -> Json {
        json!({"@type": "Set",
            "permission": [{"action": "use", "duty": [{"action": "attribute"}], "constraint": [
                {"leftOperand": "purpose", "operator": "eq", "rightOperand": "https://w3id.org/dpv#ImprovePublicServices"},
                {"leftOperand": "spatial", "operator": "isPartOf", "rightOperand": "FR"}]}],
            "prohibition": [{"action": "sell"}],
            "urn:concordat:serviceLevels": {"period": "PT24H", "remedies": ["notice", "credit"],
                "levels": [{"id": "up", "measure": "availability", "target": 99.5}]}})
    }

    #[test]
    fn terms_are_held_against_every_clause() {
        let known = Hierarchy::shipped();
        assert_eq!(book().conflicts(&fitting(), &known), []);
        let clauses = |change: fn(&mut Json)| {
            let mut terms = fitting();
            change(&mut terms);
            book().conflicts(&terms, &known).into_iter().map(|one| one.clause).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            clauses(|terms| terms["permission"][0]["constraint"][0]["rightOperand"] = json!("urn:ads")),
            "2"
        );
        assert_eq!(clauses(|terms| terms["prohibition"] = json!([])), "3");
        assert_eq!(clauses(|terms| terms["permission"][0]["duty"] = json!([])), "4");
        assert_eq!(
            clauses(|terms| terms["urn:concordat:serviceLevels"]["levels"][0]["target"] = json!(98)),
            "5"
        );
        assert_eq!(
            clauses(|terms| terms["urn:concordat:serviceLevels"]["remedies"] = json!(["terminate"])),
            "6"
        );
        assert_eq!(
            clauses(|terms| terms["permission"][0]["constraint"][1]["rightOperand"] = json!("US")),
            "7"
        );
        assert_eq!(
            clauses(|terms| terms["permission"][0]["constraint"] = json!([])),
            "2 7",
            "any purpose, anywhere"
        );
    }

    #[test]
    fn changes_are_told_in_words() {
        let mut new = book();
        new.version = 2;
        assert_eq!(book().difference(&new), Vec::<String>::new());
        new.clauses[2].text = "Nobody sells or rents it.".to_owned();
        new.clauses[2].rule = Some(ClauseRule::Forbidden(vec!["sell".to_owned(), "lease".to_owned()]));
        new.clauses.remove(6);
        new.clauses.push(Clause { id: "8".to_owned(), text: "Be kind.".to_owned(), rule: None });
        new.templates.clear();
        let told = book().difference(&new).join("\n");
        for part in [
            "clause 3 now says",
            "agreements forbid sell, lease",
            "new clause 8",
            "clause 7 is gone",
            "`open` is gone",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_ne!(book().digest(), new.digest());
    }

    #[test]
    fn templates_that_break_a_clause_are_named_with_it() {
        let known = Hierarchy::shipped();
        let mut book = book();
        let broken: Vec<_> = book
            .broken_templates(&known)
            .into_iter()
            .map(|(name, conflict)| format!("{name} {}", conflict.clause))
            .collect();
        assert_eq!(broken, ["open 2", "open 3", "open 4", "open 5", "open 7"]);
        book.templates.get_mut("open").unwrap().policy = fitting();
        assert_eq!(book.broken_templates(&known), []);
    }

    #[test]
    fn a_rulebook_that_cannot_be_checked_is_refused() {
        let refused = |change: fn(&mut Json)| {
            let mut json = json!(book());
            change(&mut json);
            Rulebook::parse(json).unwrap_err().path
        };
        assert_eq!(refused(|book| book["version"] = json!(0)), "/version");
        assert_eq!(refused(|book| book["clauses"][1]["id"] = json!("1")), "/clauses/1/id");
        assert_eq!(
            refused(|book| book["clauses"][6]["rule"]["terms"]["permission"] = json!(5)),
            "/clauses/6/rule/terms/permission"
        );
        assert_eq!(refused(|book| book["clauses"] = json!([])), "/clauses");
    }
}
