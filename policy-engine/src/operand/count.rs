//! `count`: how often the permission is exercised, this time included.

use super::{Change, Fact, Operand, OperandKind};
use crate::decimal::Decimal;
use crate::model::Value;

pub(super) static OPERAND: Operand = Operand {
    nonnegative: true,
    whole: true,
    changes: Change::Use,
    fact: |_, _, world| {
        world.usage.count.map_or(Fact::Missing, |count| Fact::One(Value::Number(Decimal::from(count))))
    },
    ..Operand::stated("count", OperandKind::Number, "the number of uses")
};
