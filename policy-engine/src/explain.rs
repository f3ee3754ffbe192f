//! Policies in words for a clerk: short, exact, one template per construct.

use std::fmt::Write as _;

use crate::evaluate::{atomic_truth, is_understood};
use crate::literal::LANGUAGE;
use crate::model::{
    ANY_ACTION, About, Atomic, Conflict, Constraint, Logical, Operator, Policy, Rule, Scope, Value,
};
use crate::operand::{self, OperandKind};
use crate::transform::Transform;
use crate::world::{Request, World};

/// Which templates these are: texts of the same version can be compared word by word.
pub const VERSION: &str = "concordat-en-1";

/// A whole policy, one sentence a line.
#[must_use]
pub fn policy(policy: &Policy) -> Vec<String> {
    let list = |prefix: &'static str, rules: &'_ [Rule]| {
        rules.iter().map(move |one| format!("{prefix} {}", rule(one))).collect::<Vec<_>>()
    };
    let mut lines = list("allowed:", &policy.permissions);
    lines.extend(list("forbidden:", &policy.prohibitions));
    lines.extend(list("required:", &policy.obligations));
    match policy.conflict {
        Conflict::Perm => lines.push("where both are said, what is allowed counts".to_owned()),
        Conflict::Prohibit => lines.push("where both are said, what is forbidden counts".to_owned()),
        Conflict::Invalid => {}
    }
    lines
}

/// One rule: its action, then its conditions.
#[must_use]
pub fn rule(rule: &Rule) -> String {
    let mut text = if rule.action == ANY_ACTION { "any action".to_owned() } else { label(&rule.action) };
    if !rule.refinements.is_empty() {
        let _ = write!(text, " in such a way that {}", joined(&rule.refinements));
    }
    if let Some(assignee) = &rule.assignee {
        let _ = write!(text, " by {}", scope(assignee, "anyone"));
    }
    if let Some(target) = &rule.target {
        let _ = write!(text, " on {}", scope(target, "anything"));
    }
    if !rule.constraints.is_empty() {
        let _ = write!(text, ", provided that {}", joined(&rule.constraints));
    }
    for (lead, duties) in [
        (", after having done: ", &rule.duties),
        ("; if that is not met in time, also: ", &rule.consequences),
        ("; an infringement is made good by: ", &rule.remedies),
    ] {
        if !duties.is_empty() {
            text.push_str(lead);
            text.push_str(&duties.iter().map(self::rule).collect::<Vec<_>>().join(" and "));
        }
    }
    text
}

fn joined(constraints: &[Constraint]) -> String {
    constraints.iter().map(constraint).collect::<Vec<_>>().join(" and ")
}

fn scope(scope: &Scope, anything: &str) -> String {
    let mut text = scope.id.as_ref().map_or_else(|| anything.to_owned(), |id| format!("`{id}`"));
    if !scope.refinements.is_empty() {
        let _ = write!(text, " of whom or which holds: {}", joined(&scope.refinements));
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
    if let Ok(Some(transform)) = Transform::of(atomic) {
        return transform.to_string();
    }
    let time = atomic.operand.is_some_and(|operand| operand.kind == OperandKind::Instant);
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
    let unit = atomic.unit.as_deref().map(|unit| format!(" {}", label(unit))).unwrap_or_default();
    let of = match atomic.about {
        About::Asset => " of the asset",
        About::Party => " of the party",
        About::Action | About::Duty | About::Use => "",
    };
    let noun = match (atomic.about, atomic.left.as_str()) {
        (About::Duty, "elapsedTime") => "the time since the agreement".to_owned(),
        (_, left) => operand(left),
    };
    format!("{noun}{of} {verb} {right}{unit}")
}

/// Why a constraint does not hold, or is not known to.
pub(crate) fn why(unmet: &Constraint, request: &Request<'_>, world: &World<'_>) -> String {
    match unmet {
        Constraint::Atomic(one) => why_atomic(one, request, world),
        Constraint::Logical { logical, parts } => {
            let said: Vec<_> =
                parts.iter().map(|part| crate::evaluate::truth(part, request, world)).collect();
            let held = said.iter().filter(|one| **one == crate::evaluate::Truth::True).count();
            if *logical == Logical::Xone && held > 1 {
                return format!("exactly one of {} alternatives must hold, {held} do", parts.len());
            }
            let open = parts.iter().zip(&said).filter(|(_, said)| **said != crate::evaluate::Truth::True);
            open.map(|(part, _)| why(part, request, world)).collect::<Vec<_>>().join(", and ")
        }
    }
}

fn why_atomic(atomic: &Atomic, request: &Request<'_>, world: &World<'_>) -> String {
    let clause = self::atomic(atomic);
    if !is_understood(atomic, request, world) {
        return format!("`{}` is not an operand this node understands ({clause})", atomic.left);
    }
    let fact = operand::fact(atomic, request, world);
    let Some(values) = fact.values() else {
        return format!("{clause}, but nothing is stated about {}", operand(&atomic.left));
    };
    let stated = values.iter().map(value).collect::<Vec<_>>().join(", ");
    match atomic_truth(atomic, request, world) {
        None => format!("{clause}, and how {stated} stands to that is not known"),
        Some(_) => format!("{clause}, but it is {stated}"),
    }
}

/// A left operand as a noun.
#[must_use]
pub fn operand(left: &str) -> String {
    match operand::find(left) {
        Some(known) if known.kind != OperandKind::Any => known.noun.to_owned(),
        Some(known) => format!("{} `{}`", known.noun, left.rsplit(':').next().unwrap_or(left)),
        None => format!("`{left}`"),
    }
}

/// A value as a person reads it; an IRI keeps only its last part.
#[must_use]
pub fn value(value: &Value) -> String {
    match value {
        Value::Area([west, south, east, north]) if (west, south) == (east, north) => {
            format!("the point {south}° N {west}° E")
        }
        Value::Area([west, south, east, north]) => {
            format!("the rectangle from {south}° N {west}° E to {north}° N {east}° E")
        }
        Value::Duration { months, nanoseconds } => duration(*months, *nanoseconds),
        Value::Instant(instant) => instant.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Term(term) if term.starts_with("did:") => term.clone(),
        Value::Term(term) => term.strip_prefix(LANGUAGE).map_or_else(|| label(term), str::to_owned),
        Value::TimeOfDay(time) => format!("{time} UTC"),
    }
}

/// `1 month 3 days`.
fn duration(months: i64, nanoseconds: i128) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let parts = [
        (i128::from(months / 12), "year"),
        (i128::from(months % 12), "month"),
        (seconds / 86_400, "day"),
        (seconds / 3_600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
        (nanoseconds % 1_000_000_000, "nanosecond"),
    ];
    let some: Vec<_> = parts
        .iter()
        .filter(|(amount, _)| *amount != 0)
        .map(|(amount, unit)| format!("{amount} {unit}{}", if *amount == 1 { "" } else { "s" }))
        .collect();
    if some.is_empty() { "no time".to_owned() } else { some.join(" ") }
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
