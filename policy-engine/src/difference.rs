//! Two versions of a policy compared in words.

use crate::compare::{same_constraint, same_rule};
use crate::explain;
use crate::model::{Constraint, Policy, Rule};

/// What changed from `old` to `new`, one sentence a change; empty where the terms are the same.
#[must_use]
pub fn difference(old: &Policy, new: &Policy) -> Vec<String> {
    let mut lines = Vec::new();
    for (before, after, gone, come, word) in [
        (&old.permissions, &new.permissions, "no longer allowed", "newly allowed", "allowed"),
        (&old.prohibitions, &new.prohibitions, "no longer forbidden", "newly forbidden", "forbidden"),
        (&old.obligations, &new.obligations, "no longer required", "newly required", "required"),
    ] {
        let (mut left, mut right) = (unmatched(before, after), unmatched(after, before));
        // A rule that kept its action, party and asset was changed, not replaced.
        left.retain(|one| {
            let same = |other: &Rule| {
                one.action == other.action
                    && one.assignee.as_ref().map(|scope| &scope.id)
                        == other.assignee.as_ref().map(|scope| &scope.id)
                    && one.target.as_ref().map(|scope| &scope.id)
                        == other.target.as_ref().map(|scope| &scope.id)
            };
            let Some(place) = right.iter().position(|other| same(other)) else { return true };
            let other = right.remove(place);
            lines.extend(
                changes(one, other)
                    .into_iter()
                    .map(|change| format!("{word}: {}, {change}", explain::label(&one.action))),
            );
            false
        });
        lines.extend(left.into_iter().map(|rule| format!("{gone}: {}", explain::rule(rule))));
        lines.extend(right.into_iter().map(|rule| format!("{come}: {}", explain::rule(rule))));
    }
    if old.conflict != new.conflict {
        lines.push("which rule counts where an allowance and a prohibition clash was changed".to_owned());
    }
    lines
}

fn unmatched<'a>(rules: &'a [Rule], others: &[Rule]) -> Vec<&'a Rule> {
    rules.iter().filter(|rule| !others.iter().any(|other| same_rule(rule, other))).collect()
}

fn changes(old: &Rule, new: &Rule) -> Vec<String> {
    let only = |a: &Rule, b: &Rule| -> Vec<Constraint> {
        a.conditions()
            .filter(|one| !b.conditions().any(|other| same_constraint(one, other)))
            .cloned()
            .collect()
    };
    let (gone, mut come) = (only(old, new), only(new, old));
    let mut lines = Vec::new();
    for one in gone {
        let left = |constraint: &Constraint| -> Vec<String> {
            constraint.atoms().iter().map(|atom| atom.left.clone()).collect()
        };
        let was = explain::constraint(&one);
        match come.iter().position(|other| left(other) == left(&one)) {
            Some(place) => lines.push(format!("{}; before: {was}", explain::constraint(&come.remove(place)))),
            None => lines.push(format!("no longer only if {was}")),
        }
    }
    lines.extend(come.iter().map(|one| format!("now only if {}", explain::constraint(one))));
    for (before, after, what) in [
        (&old.duties, &new.duties, "duty"),
        (&old.consequences, &new.consequences, "consequence"),
        (&old.remedies, &new.remedies, "remedy"),
    ] {
        lines.extend(
            unmatched(before, after)
                .into_iter()
                .map(|one| format!("without the {what} {}", explain::rule(one))),
        );
        lines.extend(
            unmatched(after, before).into_iter().map(|one| format!("with the {what} {}", explain::rule(one))),
        );
    }
    if lines.is_empty() {
        // Parties with a function, or who grants.
        lines.push(format!("now: {}; before: {}", explain::rule(new), explain::rule(old)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn two_versions_in_words() {
        let until = |time: &str| json!({"leftOperand": "dateTime", "operator": "lteq", "rightOperand": time});
        let place = json!({"leftOperand": "spatial", "operator": "isPartOf", "rightOperand": "EU"});
        let old = json!({"permission": [{"action": "use", "constraint": [until("2029-01-01T00:00:00Z"), place]}],
            "prohibition": [{"action": "distribute"}]});
        let new = json!({"permission": [{"action": "use", "constraint": [until("2030-01-01T00:00:00Z")],
            "duty": [{"action": "compensate"}]}], "obligation": [{"action": "attribute"}]});
        let (old, new) = (Policy::parse(&old).unwrap(), Policy::parse(&new).unwrap());
        assert_eq!(
            difference(&old, &new),
            [
                "allowed: use, the time must not be after 2030-01-01T00:00:00Z; before: the time must not be after \
                 2029-01-01T00:00:00Z",
                "allowed: use, no longer only if the place of use must lie within EU",
                "allowed: use, with the duty compensate",
                "no longer forbidden: distribute",
                "newly required: attribute",
            ]
        );
        assert!(difference(&old, &old).is_empty());
        let paid = |to: &str| {
            Policy::parse(&json!({"obligation": [{"action": "compensate", "compensatedParty": to}], "permission": [{"action": "use"}]}))
                .unwrap()
        };
        assert_eq!(
            difference(&paid("urn:a"), &paid("urn:b")),
            [
                "required: compensate, now: compensate (compensated party: `urn:b`); before: compensate (compensated party: \
                 `urn:a`)"
            ]
        );
    }
}
