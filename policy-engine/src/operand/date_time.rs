//! `dateTime`: now. With an xsd:time, the time of day in UTC.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::{Change, Fact, Operand, OperandKind};
use crate::model::{Atomic, Value};
use crate::world::World;

pub(super) static OPERAND: Operand = Operand {
    changes: Change::Time,
    fact: |atomic, _, world| match atomic.right.first() {
        Some(Value::TimeOfDay(_)) => Fact::One(Value::TimeOfDay(time_of_day(world.now))),
        _ => Fact::One(Value::Instant(world.now)),
    },
    next,
    ..Operand::stated("dateTime", OperandKind::Instant, "the time")
};

fn time_of_day(now: Timestamp) -> Time {
    TimeZone::UTC.to_datetime(now).time()
}

/// The earliest instant after now that the constraint names, or one nanosecond later, where the bound itself still
/// belongs to the interval.
fn next(atomic: &Atomic, world: &World<'_>) -> Option<Timestamp> {
    let bounds = atomic.right.iter().filter_map(|value| match value {
        Value::Instant(bound) => Some(*bound),
        Value::TimeOfDay(time) => next_at(*time, world.now),
        _ => None,
    });
    let instants =
        bounds.flat_map(|bound| [Some(bound), bound.checked_add(SignedDuration::from_nanos(1)).ok()]);
    instants.flatten().filter(|instant| *instant > world.now).min()
}

/// When it is `time` next, or was within this nanosecond.
fn next_at(time: Time, now: Timestamp) -> Option<Timestamp> {
    let today = TimeZone::UTC.to_datetime(now).date();
    let on = |date: jiff::civil::Date| TimeZone::UTC.to_timestamp(date.to_datetime(time)).ok();
    let before = now.checked_sub(SignedDuration::from_nanos(1)).ok()?;
    on(today).filter(|at| *at > before).or_else(|| on(today.checked_add(1.day()).ok()?))
}
