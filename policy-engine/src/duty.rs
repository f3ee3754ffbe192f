//! The state of duties: what must be done, by when, and what makes good what was not (ODRL 2.2, sections 2.6.3 to 2.6.6).

use jiff::Timestamp;

use crate::evaluate::{Truth, atomic_truth, is_time, truth};
use crate::model::{Atomic, Constraint, Logical, Operator, Rule, Scope, Value};
use crate::operand::{self, Since};
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

/// Where `duty` stands. It is made good by being done late together with all its consequences.
#[must_use]
pub fn state(duty: &Rule, request: &Request<'_>, world: &World<'_>) -> DutyState {
    let of_others =
        |scope: &Scope| scope.id.as_ref().is_some_and(|one| !world.hierarchy.is_within(request.party, one));
    if duty.assignee.as_ref().is_some_and(of_others) {
        return DutyState::Unset;
    }
    let mut performed = world.record.performed.iter().filter(|one| one.rule == duty.path).peekable();
    let done = performed.peek().is_some();
    let in_time = performed.any(|one| one.at.is_none_or(|at| fits(duty, at, request, world)));
    if in_time {
        return DutyState::Fulfilled;
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
                && atomic_truth(atomic, request, world) == Some(false)
        }
        Constraint::Logical { logical: Logical::And | Logical::AndSequence, parts } => {
            parts.iter().any(|part| deadline_passed(part, request, world))
        }
        Constraint::Logical { logical: Logical::Or | Logical::Xone, parts } => {
            parts.iter().all(|part| deadline_passed(part, request, world))
        }
    }
}

fn is_upper(atomic: &Atomic) -> bool {
    is_time(atomic.operand)
        && matches!(atomic.operator, Operator::Lt | Operator::Lteq)
        && !matches!(atomic.right.first(), Some(Value::TimeOfDay(_)))
}
