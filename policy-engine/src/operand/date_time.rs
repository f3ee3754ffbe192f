//! `dateTime`: now. With an xsd:time, the time of day in the zone of that time.

use jiff::{SignedDuration, Timestamp};

use super::{Change, Fact, Operand, OperandKind};
use crate::model::{Atomic, Value};
use crate::world::World;

pub(super) static OPERAND: Operand = Operand {
    changes: Change::Time,
    fact: |atomic, _, world| match atomic.right.first() {
        Some(Value::TimeOfDay(time)) => Fact::One(Value::TimeOfDay(time.at(world.now))),
        _ => Fact::One(Value::Instant(world.now)),
    },
    next,
    ..Operand::stated("dateTime", OperandKind::Instant, "the time")
};

/// The earliest instant after now that the constraint names, or one nanosecond later, where the bound itself still
/// belongs to the interval.
fn next(atomic: &Atomic, world: &World<'_>) -> Option<Timestamp> {
    let bounds = atomic.right.iter().flat_map(|value| match value {
        Value::Day(day) => vec![day.start(), day.end()],
        Value::Instant(bound) => vec![*bound],
        // A new day begins at midnight, where no other bound need stand.
        Value::TimeOfDay(time) => {
            [time.next(world.now), time.midnight().next(world.now)].into_iter().flatten().collect()
        }
        _ => Vec::new(),
    });
    let instants =
        bounds.flat_map(|bound| [Some(bound), bound.checked_add(SignedDuration::from_nanos(1)).ok()]);
    instants.flatten().filter(|instant| *instant > world.now).min()
}
