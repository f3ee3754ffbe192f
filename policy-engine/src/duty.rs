//! The state of duties: what must be done, by when, and what makes good what was not (ODRL 2.2, sections 2.6.3 to 2.6.6).

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::action::follows_use;
use crate::evaluate::{Truth, atomic_truth, is_time, truth};
use crate::model::{Atomic, Constraint, Logical, Operator, Rule, Scope, Value};
use crate::odrl::term;
use crate::operand::{self, Since};
use crate::operators::order;
use crate::world::{Request, Usage, World};

/// The state of a duty (ODRL Formal Semantics: deontic state).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DutyState {
    /// Done in time, or made good.
    Fulfilled,
    /// Still to do.
    Pending,
    /// Not yet, or not by this party: its time has not come.
    Unset,
    /// Its deadline passed without it, and that was not made good.
    Violated,
}

/// Where `duty` stands. It is made good by being done late together with all its consequences. What was done counts
/// whoever did it; a duty of another party that was not done is not this party's to do.
#[must_use]
pub fn state(duty: &Rule, request: &Request<'_>, world: &World<'_>) -> DutyState {
    let mut performed = world.record.performed.iter().filter(|one| one.rule == duty.path).peekable();
    let done = performed.peek().is_some();
    let in_time = performed.any(|one| one.at.is_none_or(|at| fits(duty, at, request, world)));
    if in_time {
        return DutyState::Fulfilled;
    }
    if is_of_another(duty, request, world) {
        return DutyState::Unset;
    }
    let here = world_of(world);
    if world.record.violated.contains(&duty.path)
        || duty.constraints.iter().any(|one| deadline_passed(one, request, &here))
    {
        let made_good = done
            && !duty.consequences.is_empty()
            && duty.consequences.iter().all(|one| state(one, request, world) == DutyState::Fulfilled);
        return if made_good { DutyState::Fulfilled } else { DutyState::Violated };
    }
    let timed = duty.constraints.iter().filter(|one| one.atoms().iter().all(|atom| is_time(atom.operand)));
    let waits = timed.into_iter().any(|one| matches!(truth(one, request, &here), Truth::False(_)));
    if waits { DutyState::Unset } else { DutyState::Pending }
}

fn is_of_another(duty: &Rule, request: &Request<'_>, world: &World<'_>) -> bool {
    let of_others =
        |scope: &Scope| scope.id.as_ref().is_some_and(|one| !world.hierarchy.is_within(request.party, one));
    duty.assignee.as_ref().is_some_and(of_others)
}

/// Whether a duty of a permission stands in the way of the use: it was violated, or it must be done before the use and is
/// not done. What is due later, because it follows the use or has time until a deadline, does not stand in the way.
pub(crate) fn blocks(duty: &Rule, request: &Request<'_>, world: &World<'_>) -> bool {
    match state(duty, request, world) {
        DutyState::Fulfilled => false,
        DutyState::Violated => true,
        DutyState::Unset => is_of_another(duty, request, world) && !is_due_later(duty),
        DutyState::Pending => !is_due_later(duty),
    }
}

/// Whether a duty may be done after the use: by its action, by `event gt odrl:policyUsage`, or since it has a deadline.
#[must_use]
pub fn is_due_later(duty: &Rule) -> bool {
    let after_use = |atomic: &Atomic| {
        atomic.left == "event"
            && matches!(atomic.operator, Operator::Gt | Operator::Gteq)
            && atomic
                .right
                .iter()
                .all(|one| matches!(one, Value::Term(event) if term(event) == "policyUsage"))
    };
    let atoms = || duty.constraints.iter().flat_map(Constraint::atoms);
    follows_use(&duty.action) || atoms().any(after_use) || atoms().any(is_upper)
}

/// Whether a prohibition is recorded as infringed and not all its remedies are done.
pub(crate) fn is_infringed(rule: &Rule, request: &Request<'_>, world: &World<'_>) -> bool {
    world.record.violated.contains(&rule.path)
        && (rule.remedies.is_empty()
            || rule.remedies.iter().any(|one| state(one, request, world) != DutyState::Fulfilled))
}

/// By when `duty` must be done, where its constraints say so; periods run from `since`.
#[must_use]
pub fn due(duty: &Rule, since: Timestamp) -> Option<Timestamp> {
    duty.constraints.iter().filter_map(|one| upper(one, since)).min()
}

fn upper(constraint: &Constraint, since: Timestamp) -> Option<Timestamp> {
    match constraint {
        Constraint::Atomic(atomic) if is_upper(atomic) => match atomic.right.first()? {
            Value::Day(day) if atomic.operator == Operator::Lt => Some(day.start()),
            Value::Day(day) => Some(day.end()),
            Value::Instant(instant) => Some(*instant),
            duration => operand::end(since, duration),
        },
        Constraint::Atomic(_) => None,
        Constraint::Logical { logical: Logical::And | Logical::AndSequence, parts } => {
            parts.iter().filter_map(|part| upper(part, since)).min()
        }
        Constraint::Logical { logical: Logical::Or | Logical::Xone, parts } => {
            parts.iter().map(|part| upper(part, since)).collect::<Option<Vec<_>>>()?.into_iter().max()
        }
    }
}

/// The world as duties see it: periods run from the agreement, not from the first use.
pub(crate) fn world_of<'w>(world: &World<'w>) -> World<'w> {
    World { usage: Usage { first: world.since, ..world.usage }, ..world.clone() }
}

/// Whether something done at `at` meets the duty's conditions on time; others are attested by whoever reports it.
fn fits(duty: &Rule, at: Timestamp, request: &Request<'_>, world: &World<'_>) -> bool {
    let then = World { now: at, ..world_of(world) };
    duty.constraints.iter().all(|one| !deadline_passed(one, request, &then))
}

/// No later moment can fulfil what has an upper bound on time that has passed.
fn deadline_passed(constraint: &Constraint, request: &Request<'_>, world: &World<'_>) -> bool {
    match constraint {
        Constraint::Atomic(atomic) => {
            is_upper(atomic)
                && atomic
                    .operand
                    .and_then(|one| one.since)
                    .is_none_or(|since| matches!(since(world), Since::At(_)))
                && match atomic.operator {
                    // A moment that has passed cannot come again; one that has not come is waited for.
                    Operator::Eq => atomic
                        .right
                        .iter()
                        .all(|right| order(&Value::Instant(world.now), right) == Some(Ordering::Greater)),
                    _ => atomic_truth(atomic, request, world) == Some(false),
                }
        }
        Constraint::Logical { logical: Logical::And | Logical::AndSequence, parts } => {
            parts.iter().any(|part| deadline_passed(part, request, world))
        }
        Constraint::Logical { logical: Logical::Or | Logical::Xone, parts } => {
            parts.iter().all(|part| deadline_passed(part, request, world))
        }
    }
}

/// Whether it says until when: at most, before, or at a moment.
fn is_upper(atomic: &Atomic) -> bool {
    let moment = matches!(atomic.right.first(), Some(Value::Day(_) | Value::Instant(_)));
    is_time(atomic.operand)
        && (matches!(atomic.operator, Operator::Lt | Operator::Lteq)
            || atomic.operator == Operator::Eq && moment)
        && (moment || matches!(atomic.right.first(), Some(Value::Duration { .. })))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use crate::{Hierarchy, Question};

    fn permitted(policy: Json, world: Json) -> bool {
        let request = json!({"permission": [{"assignee": "urn:p", "action": "use", "target": "urn:t"}]});
        let now = "2026-11-26T00:00:00Z".parse().unwrap();
        Question::parse(&policy, &[], &request, &world, now, Hierarchy::shipped())
            .unwrap()
            .decide()
            .is_permit()
    }

    #[test]
    fn what_is_due_after_the_use_does_not_stand_before_it() {
        let with = |duty: Json| json!({"permission": [{"action": "use", "duty": [duty]}]});
        let c = |left: &str, operator: &str, right: Json| json!([{"leftOperand": left, "operator": operator, "rightOperand": right}]);
        let since = json!({"since": "2026-11-01T00:00:00Z"});
        for (duty, expected) in [
            (json!({"action": "compensate"}), false),
            (json!({"action": "inform"}), false),
            (json!({"action": "attribute"}), true),
            (json!({"action": "delete"}), true),
            (
                json!({"action": "inform", "constraint": c("event", "gt", json!({"@id": "odrl:policyUsage"}))}),
                true,
            ),
            (
                json!({"action": "inform", "constraint": c("event", "lt", json!({"@id": "odrl:policyUsage"}))}),
                false,
            ),
            (
                json!({"action": "delete", "constraint": c("dateTime", "eq", json!("2027-01-01T00:00:00Z"))}),
                true,
            ),
            (json!({"action": "compensate", "constraint": c("elapsedTime", "lteq", json!("P30D"))}), true),
            (json!({"action": "compensate", "constraint": c("elapsedTime", "lteq", json!("P20D"))}), false),
            (json!({"action": "inform", "assignee": "urn:other"}), false),
        ] {
            assert_eq!(permitted(with(duty.clone()), since.clone()), expected, "{duty}");
            let done = json!({"since": "2026-11-01T00:00:00Z", "duties": [{"rule": "/permission/0/duty/0", "deontic": "Fulfilled"}]});
            assert!(permitted(with(duty), done), "done by whoever had to");
        }
    }

    #[test]
    fn a_moment_that_has_passed_is_missed() {
        let at = |when: &str| {
            json!({"permission": [{"action": "use"}], "obligation": [{"action": "delete", "constraint": [
                {"leftOperand": "dateTime", "operator": "eq", "rightOperand": when}]}]})
        };
        assert!(
            !permitted(at("2026-11-25T00:00:00Z"), json!({}))
                && permitted(at("2026-11-27T00:00:00Z"), json!({}))
        );
        assert!(permitted(at("2026-11-26"), json!({})), "the whole day is left");
        assert!(!permitted(at("2026-11-25"), json!({})));
    }
}
