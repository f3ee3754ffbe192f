//! `elapsedTime`: how long ago the first use was. ODRL's `eq` means that so much time is granted.

use super::{Operand, Since};
use crate::model::Operator;

pub(super) static OPERAND: Operand =
    Operand::lasting("elapsedTime", "the time since the first use", Operator::Lteq, |world| {
        // Where uses are counted and there was none before, this is the first.
        match (world.usage.first, world.usage.count) {
            (Some(first), _) => Since::At(first),
            (None, Some(_)) => Since::At(world.now),
            (None, None) => Since::Unknown,
        }
    });
