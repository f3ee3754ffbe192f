//! `urn:concordat:hour-of-day`: the hour of the day in UTC, 0 to 23.

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::{Change, Fact, Operand, OperandKind};
use crate::decimal::Decimal;
use crate::model::Value;

pub(super) static OPERAND: Operand = Operand {
    nonnegative: true,
    whole: true,
    changes: Change::Time,
    fact: |_, _, world| {
        let hour = TimeZone::UTC.to_datetime(world.now).hour();
        Fact::One(Value::Number(Decimal::whole(i64::from(hour))))
    },
    next: |_, world| {
        let second = world.now.as_second();
        let next = second.checked_sub(second.rem_euclid(3600))?;
        let hour = jiff::Timestamp::from_second(next).ok()?;
        hour.checked_add(SignedDuration::from_hours(1)).ok()
    },
    ..Operand::stated("urn:concordat:hour-of-day", OperandKind::Number, "the hour of the day (UTC)")
};
