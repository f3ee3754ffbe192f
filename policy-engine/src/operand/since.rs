//! Lengths of time: what they share.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use super::{Fact, Since};
use crate::model::{Atomic, Value};
use crate::world::World;

/// The length so far.
pub(super) fn fact<'w>(atomic: &Atomic, world: &World<'_>) -> Fact<'w> {
    match atomic.operand.and_then(|operand| operand.since).map(|since| since(world)) {
        Some(Since::At(at)) => {
            let nanoseconds = world.now.as_nanosecond().saturating_sub(at.as_nanosecond()).max(0);
            Fact::One(Value::Duration { months: 0, nanoseconds })
        }
        _ => Fact::Missing,
    }
}

/// When the next of the lengths that the constraint names is reached.
pub(super) fn next(atomic: &Atomic, world: &World<'_>) -> Option<Timestamp> {
    let Some(Since::At(at)) = atomic.operand.and_then(|operand| operand.since).map(|since| since(world))
    else {
        return None;
    };
    let ends = atomic.right.iter().filter_map(|value| end(at, value));
    let instants = ends.flat_map(|end| [Some(end), end.checked_add(SignedDuration::from_nanos(1)).ok()]);
    instants.flatten().filter(|instant| *instant > world.now).min()
}

/// `since` plus a duration, by the calendar.
pub(crate) fn end(since: Timestamp, duration: &Value) -> Option<Timestamp> {
    let Value::Duration { months, nanoseconds } = duration else { return None };
    let months = Span::new().try_months(*months).ok()?;
    let zoned = since.to_zoned(TimeZone::UTC).checked_add(months).ok()?;
    let nanoseconds = i64::try_from(*nanoseconds).ok()?;
    zoned.timestamp().checked_add(SignedDuration::from_nanos(nanoseconds)).ok()
}
