//! Policies in words for a clerk: short, exact, one template per construct.

use std::fmt::Write as _;

use crate::model::{ANY_ACTION, Atomic, Constraint, Logical, Operator, Policy, Rule, Value};

/// A whole policy, one sentence a line.
#[must_use]
pub fn policy(policy: &Policy) -> Vec<String> {
    let list = |prefix: &'static str, rules: &'_ [Rule]| {
        rules.iter().map(move |one| format!("{prefix} {}", rule(one))).collect::<Vec<_>>()
    };
    let mut lines = list("allowed:", &policy.permissions);
    lines.extend(list("forbidden:", &policy.prohibitions));
    lines.extend(list("required:", &policy.obligations));
    lines
}

/// One rule: its action, then its conditions.
#[must_use]
pub fn rule(rule: &Rule) -> String {
    let mut text = if rule.action == ANY_ACTION { "any action".to_owned() } else { label(&rule.action) };
    if let Some(assignee) = &rule.assignee {
        let _ = write!(text, " by `{assignee}`");
    }
    if let Some(target) = &rule.target {
        let _ = write!(text, " on `{target}`");
    }
    if !rule.constraints.is_empty() {
        text.push_str(", provided that ");
        text.push_str(&rule.constraints.iter().map(constraint).collect::<Vec<_>>().join(" and "));
    }
    if !rule.duties.is_empty() {
        text.push_str(", after having done: ");
        text.push_str(&rule.duties.iter().map(self::rule).collect::<Vec<_>>().join(" and "));
    }
    text
}

/// One constraint.
#[must_use]
pub fn constraint(constraint: &Constraint) -> String {
    match constraint {
        Constraint::Atomic(one) => atomic(one),
        Constraint::Logical { logical, parts } => {
            let (lead, joint) = match logical {
                Logical::And => ("", " and "),
                Logical::AndSequence => ("in this order: ", ", then "),
                Logical::Or => ("", " or "),
                Logical::Xone => ("exactly one of: ", " or "),
            };
            format!("({lead}{})", parts.iter().map(self::constraint).collect::<Vec<_>>().join(joint))
        }
    }
}

/// One comparison, for example `the purpose must be environmental monitoring`.
#[must_use]
pub fn atomic(atomic: &Atomic) -> String {
    let time = atomic.left == "dateTime";
    let verb = match atomic.operator {
        Operator::Eq => "must be",
        Operator::Neq => "must not be",
        Operator::Gt if time => "must be after",
        Operator::Gt => "must be more than",
        Operator::Gteq if time => "must not be before",
        Operator::Gteq => "must be at least",
        Operator::Lt if time => "must be before",
        Operator::Lt => "must be less than",
        Operator::Lteq if time => "must not be after",
        Operator::Lteq => "must be at most",
        Operator::IsA => "must be a kind of",
        Operator::IsPartOf => "must lie within",
        Operator::HasPart => "must include",
        Operator::IsAllOf => "must be all of",
        Operator::IsAnyOf => "must be one of",
        Operator::IsNoneOf => "must be none of",
    };
    let right = atomic.right.iter().map(value).collect::<Vec<_>>().join(", ");
    format!("{} {verb} {right}", operand(&atomic.left))
}

/// A left operand as a noun.
#[must_use]
pub fn operand(left: &str) -> String {
    match left {
        "dateTime" => "the time".to_owned(),
        "purpose" => "the purpose".to_owned(),
        "spatial" => "the place of use".to_owned(),
        "assignee" | "participant" | "recipient" => "the recipient".to_owned(),
        "count" => "the number of uses".to_owned(),
        other => format!("`{other}`"),
    }
}

/// A value as a person reads it; an IRI keeps only its last part.
#[must_use]
pub fn value(value: &Value) -> String {
    match value {
        Value::Instant(instant) => instant.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Term(term) if term.starts_with("did:") => term.clone(),
        Value::Term(term) => label(term),
    }
}

pub(crate) fn label(term: &str) -> String {
    let is_iri = term.contains("://") || term.starts_with("urn:");
    let last = if is_iri { term.rsplit(['/', '#', ':']).next().unwrap_or(term) } else { term };
    if last.is_empty() { term.to_owned() } else { last.replace('-', " ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_in_words() {
        let parsed = Policy::parse(&json!({
            "@id": "urn:o", "@type": "Offer",
            "permission": [{"action": "use", "constraint": [
                {"leftOperand": "purpose", "operator": "eq", "rightOperand": "urn:concordat:purpose:environmental-monitoring"},
                {"leftOperand": "dateTime", "operator": "lteq", "rightOperand": "2030-01-01T00:00:00Z"},
                {"or": [{"leftOperand": "spatial", "operator": "isPartOf", "rightOperand": "EU"},
                        {"leftOperand": "recipient", "operator": "eq", "rightOperand": "did:web:london.example"}]}]}],
            "prohibition": [{"action": "distribute"}],
            "obligation": [{"action": "attribute"}]
        }))
        .unwrap();
        assert_eq!(
            policy(&parsed),
            [
                "allowed: use, provided that the purpose must be environmental monitoring and the time must not be \
                 after 2030-01-01T00:00:00Z and (the place of use must lie within EU or the recipient must be \
                 did:web:london.example)",
                "forbidden: distribute",
                "required: attribute",
            ]
        );
    }
}
