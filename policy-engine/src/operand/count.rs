//! `count`: how often the permission is exercised, this time included.

use super::{Change, Fact, Operand, OperandKind};
use crate::model::Value;

pub(super) static OPERAND: Operand = Operand {
    nonnegative: true,
    whole: true,
    changes: Change::Use,
    fact: |_, _, world| world.usage.count.map_or(Fact::Missing, |count| Fact::One(number(count))),
    ..Operand::stated("count", OperandKind::Number, "the number of uses")
};

/// Counts beyond 2^53 are not told apart; no agreement counts that far.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "documented bound")]
const fn number(count: u64) -> Value {
    Value::Number(count as f64)
}
