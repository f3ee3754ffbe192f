//! `urn:concordat:day-of-week`: the day of the week in UTC, Monday 0 to Sunday 6 (as FIWARE counts).

use jiff::tz::TimeZone;

use super::{Change, Fact, Operand, OperandKind};
use crate::calendar::DailyTime;
use crate::decimal::Decimal;
use crate::model::Value;

pub(super) static OPERAND: Operand = Operand {
    nonnegative: true,
    whole: true,
    changes: Change::Time,
    fact: |_, _, world| {
        let day = TimeZone::UTC.to_datetime(world.now).date().weekday().to_monday_zero_offset();
        Fact::One(Value::Number(Decimal::whole(i64::from(day))))
    },
    next: |_, world| DailyTime::MIDNIGHT.next(world.now),
    ..Operand::stated("urn:concordat:day-of-week", OperandKind::Number, "the day of the week (Monday is 0)")
};
