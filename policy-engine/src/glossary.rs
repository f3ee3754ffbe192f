//! What the short words of a policy stand for: each with the term in full, and the vocabulary that has it.

use crate::action::is_odrl;
use crate::explain::{self, CURRENCY};
use crate::literal::LANGUAGE;
use crate::model::{ANY_ACTION, Constraint, Policy, Rule, Scope, Value};
use crate::operand;

/// Vocabularies by what begins their terms.
const VOCABULARIES: [(&str, &str); 4] = [
    ("https://w3id.org/dpv#", "Data Privacy Vocabulary (W3C)"),
    (CURRENCY, "currencies (ISO 4217)"),
    (LANGUAGE, "languages (BCP 47)"),
    ("urn:concordat:", "terms of Concordat"),
];
const ODRL: &str = "ODRL 2.2";
const PLACES: &str = "places shipped with Concordat (countries by ISO 3166-1)";

/// A short word of the plain words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// As it stands in the words.
    pub word: String,
    /// The term that it stands for, as the policy has it.
    pub term: String,
    /// The vocabulary that has the term.
    pub vocabulary: &'static str,
}

/// Every short word that [`explain::policy`] uses for what `policy` says, in the order of the alphabet. Anything that is not
/// here stands in the words in full.
#[must_use]
pub fn glossary(policy: &Policy) -> Vec<Entry> {
    let mut found = Glossary::default();
    for id in [&policy.target, &policy.assigner, &policy.assignee].into_iter().flatten() {
        found.name(id);
    }
    for rule in policy.rules().chain(policy.duties()) {
        found.rule(rule);
    }
    found.entries.sort();
    found.entries.dedup();
    found.entries
}

#[derive(Default)]
struct Glossary {
    entries: Vec<Entry>,
}

impl Glossary {
    fn rule(&mut self, rule: &Rule) {
        if rule.action != ANY_ACTION && is_odrl(&rule.action) && !rule.action.contains(':') {
            self.entry(rule.action.clone(), &rule.action, ODRL);
        } else {
            self.name(&rule.action);
        }
        let scopes = [&rule.assigner, &rule.assignee, &rule.target].into_iter().flatten();
        for scope in scopes.chain(rule.functions.iter().map(|(_, party)| party)) {
            self.scope(scope);
        }
        rule.constraints.iter().chain(&rule.refinements).for_each(|one| self.constraint(one));
    }

    fn scope(&mut self, scope: &Scope) {
        if let Some(id) = &scope.id {
            self.name(id);
        }
        scope.refinements.iter().for_each(|one| self.constraint(one));
    }

    fn constraint(&mut self, constraint: &Constraint) {
        for atomic in constraint.atoms() {
            // The words of what is done to the data, and of a claim, show their names in full.
            if let Some(operand) = operand::find(&atomic.left).filter(|one| one.name == atomic.left) {
                let vocabulary = if operand.name.contains(':') { of(operand.name) } else { ODRL };
                self.entry(explain::operand(&atomic.left), &atomic.left, vocabulary);
            }
            if let Some(unit) = &atomic.unit {
                self.name(unit);
            }
            for value in &atomic.right {
                if let Value::Term(term) = value {
                    match term.strip_prefix(LANGUAGE) {
                        Some(_) => self.entry(explain::value(value), term, of(term)),
                        None => self.name(term),
                    }
                }
            }
        }
    }

    fn name(&mut self, term: &str) {
        if let Some(word) = explain::short(term) {
            self.entry(word.to_owned(), term, of(term));
        }
    }

    fn entry(&mut self, word: String, term: &str, vocabulary: &'static str) {
        self.entries.push(Entry { word, term: term.to_owned(), vocabulary });
    }
}

fn of(term: &str) -> &'static str {
    VOCABULARIES
        .iter()
        .find(|(prefix, _)| term.starts_with(prefix))
        .map_or(PLACES, |(_, vocabulary)| vocabulary)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_short_word_is_told_with_its_term_and_vocabulary_and_nothing_else_is() {
        let c =
            |left: &str, right: &str| json!({"leftOperand": left, "operator": "eq", "rightOperand": right});
        let policy = Policy::parse(&json!({"permission": [{"action": "use", "constraint": [
            c("purpose", "urn:concordat:purpose:environmental-monitoring"), c("spatial", "BE"), c("language", "de"),
            c("purpose", "https://evil.example/environmental-monitoring"), c("moonPhase", "full")],
            "duty": [{"action": "compensate", "constraint": [{"leftOperand": "payAmount", "operator": "eq",
                "rightOperand": "5", "unit": "urn:iso:std:iso:4217:EUR"}]}]}]}))
        .unwrap();
        let words = explain::policy(&policy).join("\n");
        let told = glossary(&policy);
        for entry in &told {
            assert!(words.contains(&entry.word), "{entry:?} in {words}");
        }
        let told: Vec<_> = told.iter().map(|one| (one.word.as_str(), one.term.as_str())).collect();
        assert_eq!(
            told,
            [
                ("BE", "BE"),
                ("EUR", "urn:iso:std:iso:4217:EUR"),
                ("compensate", "compensate"),
                ("environmental monitoring", "urn:concordat:purpose:environmental-monitoring"),
                ("the amount paid", "payAmount"),
                ("the language", "language"),
                ("the language de", "https://tools.ietf.org/html/bcp47#de"),
                ("the place of use", "spatial"),
                ("the purpose", "purpose"),
                ("use", "use"),
            ]
        );
        assert_eq!(of("https://w3id.org/dpv#Marketing"), "Data Privacy Vocabulary (W3C)");
        assert_eq!(of("BE"), PLACES);
    }
}
