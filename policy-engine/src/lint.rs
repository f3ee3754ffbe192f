//! What a policy can be read as, but hardly means.

use jiff::Timestamp;

use crate::action::is_odrl;
use crate::alternatives::{all, meet};
use crate::compare::same_rule;
use crate::compatible::{clause, clauses, decide};
use crate::duty;
use crate::explain;
use crate::hierarchy::Hierarchy;
use crate::model::{ANY_ACTION, About, Atomic, Constraint, Operator, Policy, Rule, Value};
use crate::operand::{self, OperandKind};
use crate::satisfy::Possible;

/// Something that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// JSON pointer of the rule or constraint.
    pub path: String,
    /// One sentence.
    pub text: String,
}

/// Looks for permissions that nothing satisfies, that a prohibition always takes back or that are over at `now`;
/// prohibitions that never apply; duties that are late already or have no deadline; operands, actions and terms that
/// are not known; and rules that stand twice.
#[must_use]
pub fn lint(policy: &Policy, now: Timestamp, known: &Hierarchy) -> Vec<Doubt> {
    let mut doubts = strangeness(policy, known);
    for rule in policy.permissions.iter().chain(&policy.prohibitions) {
        doubts.extend(
            unsatisfiable(policy, rule, now, known).map(|text| Doubt { path: rule.path.clone(), text }),
        );
    }
    for duty in policy.duties() {
        let due = duty::due(duty, now);
        let text = match due {
            Some(due) if due < now => format!("its deadline {due} is past, so it is violated from the start"),
            Some(_) => continue,
            None if policy.obligations.contains(duty) && !known_deadline(duty, known) => {
                "it has no deadline, so nobody can say that it was not met".to_owned()
            }
            None => continue,
        };
        doubts.push(Doubt { path: duty.path.clone(), text });
    }
    for rules in [&policy.permissions, &policy.prohibitions, &policy.obligations] {
        for (place, rule) in rules.iter().enumerate() {
            if let Some(twin) = rules.iter().take(place).find(|other| same_rule(other, rule)) {
                doubts.push(Doubt {
                    path: rule.path.clone(),
                    text: format!("says the same as `{}`", twin.path),
                });
            }
        }
    }
    for rule in policy.rules().chain(policy.duties()) {
        if rule.action == ANY_ACTION {
            let text = "names no action; ODRL demands one, so a permission permits nothing, and a prohibition forbids everything";
            doubts.push(Doubt { path: rule.path.clone(), text: text.to_owned() });
        }
        if rule.action != ANY_ACTION && !is_odrl(&rule.action) && !known.knows(&rule.action) {
            let text = format!(
                "`{}` is not an action that this node knows, so only exactly that is meant",
                rule.action
            );
            doubts.push(Doubt { path: format!("{}/action", rule.path), text });
        }
        doubts.extend(rule.conditions().flat_map(Constraint::atoms).flat_map(|atom| unknown(atom, known)));
    }
    let mut seen = Vec::new();
    doubts.retain(|doubt| {
        let new = !seen.contains(doubt);
        seen.push(doubt.clone());
        new
    });
    doubts
}

/// Why nothing is ever permitted under a policy from `now` on, although it has permissions: each of them names no action, cannot be
/// satisfied, is over, or is always taken back by a prohibition. What is not known for certain is no reason.
#[must_use]
pub fn permits_nothing(policy: &Policy, now: Timestamp, known: &Hierarchy) -> Option<Doubt> {
    let mut first = None;
    for rule in &policy.permissions {
        let text = if rule.action == ANY_ACTION {
            "it names no action, and a permission permits only what it names".to_owned()
        } else {
            unsatisfiable(policy, rule, now, known)?
        };
        first.get_or_insert_with(|| Doubt { path: rule.path.clone(), text });
    }
    first
}

fn unsatisfiable(policy: &Policy, rule: &Rule, now: Timestamp, known: &Hierarchy) -> Option<String> {
    let own = clause(policy, rule, known);
    let never = |conditions: &[Constraint]| match all(conditions).map(|found| decide(&found, known)) {
        Some((Possible::No, why)) => Some(why.join("; ")),
        _ => None,
    };
    if let Some(why) = never(&own.conditions) {
        return Some(format!("nothing satisfies it: {why}"));
    }
    let mut later = own.conditions.clone();
    later.push(Constraint::Atomic(Atomic {
        path: "now".to_owned(),
        about: About::Use,
        left: "dateTime".to_owned(),
        operand: operand::find("dateTime"),
        unit: None,
        status: None,
        assumed_utc: false,
        operator: Operator::Gteq,
        right: vec![Value::Instant(now)],
    }));
    if never(&later).is_some() {
        return Some("its time is past".to_owned());
    }
    if policy.prohibitions.contains(rule) {
        return None;
    }
    let (_, prohibitions) = clauses(policy, known);
    let forbidding: Vec<_> = prohibitions
        .iter()
        .filter(|other| crate::action::covers(other.action, own.action, known))
        .map(|other| other.conditions.as_slice())
        .collect();
    if forbidding.is_empty() {
        return None;
    }
    let free = meet(&own.conditions, &[], forbidding.into_iter())?;
    (decide(&free, known).0 == Possible::No)
        .then(|| "a prohibition of the policy always takes it back".to_owned())
}

/// What of a policy never permits and always may forbid, since this engine does not know it: left operands, the profile, the
/// class.
#[must_use]
pub fn not_understood(policy: &Policy, known: &Hierarchy) -> Vec<Doubt> {
    let mut doubts = strangeness(policy, known);
    let rules = policy.rules().chain(policy.duties());
    for atom in rules.flat_map(Rule::conditions).flat_map(Constraint::atoms) {
        let strange = atom.operand.is_none() && known.meaning(atom).is_none() && atom.about == About::Use;
        let doubt = strange.then(|| never_permits(atom));
        doubts.extend(doubt.filter(|doubt| !doubts.contains(doubt)));
    }
    doubts
}

fn never_permits(atomic: &Atomic) -> Doubt {
    let text = format!("`{}` is not an operand this node understands, so it never permits", atomic.left);
    Doubt { path: atomic.path.clone(), text }
}

/// What keeps anything from being decided under a policy.
fn strangeness(policy: &Policy, known: &Hierarchy) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    if !policy.kind.is_decided() {
        let text =
            format!("a {} can be explained, but is neither offered nor decided under", policy.kind.term());
        doubts.push(Doubt { path: "/@type".to_owned(), text });
    }
    for profile in policy.profiles.iter().filter(|one| !known.knows_profile(one)) {
        let text =
            format!("the profile `{profile}` is not known here, so nothing is decided under the policy");
        doubts.push(Doubt { path: "/profile".to_owned(), text });
    }
    doubts
}

/// Whether an operand of a data space says by when a duty must be done.
fn known_deadline(duty: &Rule, known: &Hierarchy) -> bool {
    let meanings = duty.constraints.iter().flat_map(Constraint::atoms).filter_map(|atom| known.meaning(atom));
    meanings
        .into_iter()
        .any(|meaning| meaning.atoms().iter().any(|atom| crate::evaluate::is_time(atom.operand)))
}

fn unknown(atomic: &Atomic, known: &Hierarchy) -> Vec<Doubt> {
    let doubt = |text: String| Doubt { path: atomic.path.clone(), text };
    if let Some(meaning) = known.meaning(atomic) {
        return meaning.atoms().iter().flat_map(|one| unknown(one, known)).collect();
    }
    if atomic.assumed_utc {
        let text =
            "a date or time without zone is read as UTC; write its zone, such as Z or +02:00".to_owned();
        return vec![doubt(text)];
    }
    let exact =
        matches!(atomic.operator, Operator::Eq | Operator::Neq | Operator::IsAnyOf | Operator::IsNoneOf);
    let broad = |value: &Value| matches!(value, Value::Term(term) if known.has_parts(term));
    if exact && atomic.operand.is_some() && atomic.right.iter().any(broad) {
        let text = format!(
            "`{}` is about exactly this term: what lies within it is another; `isA` or `isPartOf` would be about all of it",
            atomic.operator.term()
        );
        return vec![doubt(text)];
    }
    let Some(operand) = atomic.operand else {
        let is_event = atomic.left == "event" && atomic.about == About::Duty;
        if is_event || !matches!(atomic.about, About::Duty | About::Use) {
            return Vec::new();
        }
        return vec![never_permits(atomic)];
    };
    if !matches!(operand.kind, OperandKind::Place) && operand.name != "purpose" {
        return Vec::new();
    }
    let terms = atomic.right.iter().filter_map(|value| match value {
        Value::Term(term) if !known.knows(term) => Some(term),
        _ => None,
    });
    terms
        .map(|term| {
            doubt(format!(
                "`{term}` ({}) is not a term this node knows, so nothing narrower is known to lie within it",
                explain::operand(&atomic.left)
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn doubts(policy: Json) -> Vec<String> {
        let policy = Policy::parse_odrl(&policy).unwrap();
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        lint(&policy, now, &Hierarchy::shipped())
            .into_iter()
            .map(|one| format!("{}: {}", one.path, one.text))
            .collect()
    }

    #[test]
    fn what_permits_nothing_is_told_from_what_permits_a_little() {
        let past = json!({"action": "use", "constraint": [{"leftOperand": "dateTime", "operator": "lt", "rightOperand": "2026-01-01Z"}]});
        let open = json!({"action": "use"});
        let never = |permissions: Json, prohibitions: Json| {
            let policy = json!({"permission": permissions, "prohibition": prohibitions});
            let now = "2026-06-01T00:00:00Z".parse().unwrap();
            permits_nothing(&Policy::parse_odrl(&policy).unwrap(), now, &Hierarchy::shipped())
                .map(|one| one.path)
        };
        assert_eq!(never(json!([past]), json!([])).as_deref(), Some("/permission/0"));
        assert_eq!(
            never(json!([{"target": "urn:d"}]), json!([])).as_deref(),
            Some("/permission/0"),
            "no action"
        );
        assert_eq!(never(json!([open]), json!([{"action": "use"}])).as_deref(), Some("/permission/0"));
        assert_eq!(never(json!([past, open]), json!([])), None);
        assert_eq!(never(json!([open]), json!([{"action": "distribute"}])), None);
        assert_eq!(never(json!([]), json!([{"action": "distribute"}])), None, "nothing was to be permitted");
    }

    #[test]
    fn what_is_hardly_meant_is_doubted() {
        let c = |left: &str, operator: &str, right: &str| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
        let with = |constraints: Json| json!({"permission": [{"action": "use", "constraint": constraints}]});
        assert!(
            doubts(with(json!([
                c("dateTime", "lt", "2027-01-01Z"),
                c("purpose", "isA", "https://w3id.org/dpv#Marketing")
            ])))
            .is_empty()
        );
        assert_eq!(
            doubts(with(json!([c("dateTime", "lt", "2026-01-01Z")]))),
            ["/permission/0: its time is past"]
        );
        assert!(
            doubts(with(json!([c("count", "lt", "2"), c("count", "gt", "2")])))[0]
                .starts_with("/permission/0: nothing satisfies it")
        );
        assert_eq!(doubts(with(json!([c("moonPhase", "eq", "full")]))).len(), 1);
        assert_eq!(doubts(with(json!([c("purpose", "eq", "urn:x:unheard-of")]))).len(), 1);
        let mut taken = with(json!([c("count", "lt", "5")]));
        taken["prohibition"] = json!([{"action": "use"}, {"action": "use"}]);
        assert_eq!(
            doubts(taken),
            [
                "/permission/0: a prohibition of the policy always takes it back",
                "/prohibition/1: says the same as `/prohibition/0`"
            ]
        );
        let mut owed = with(json!([]));
        owed["obligation"] = json!([{"action": "attribute"}, {"action": "delete", "constraint": [c("dateTime", "lt", "2026-01-01Z")]},
            {"action": "urn:x:dance", "constraint": [c("dateTime", "lt", "2027-01-01Z")]}]);
        assert_eq!(
            doubts(owed),
            [
                "/obligation/0: it has no deadline, so nobody can say that it was not met",
                "/obligation/1: its deadline 2026-01-01T00:00:00Z is past, so it is violated from the start",
                "/obligation/2/action: `urn:x:dance` is not an action that this node knows, so only exactly that is meant",
            ]
        );
    }
}
