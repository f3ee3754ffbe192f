//! `timeInterval`: how long ago the last use was. ODRL's `eq` means that so much time must pass between two uses.

use super::{Operand, Since};
use crate::model::Operator;

pub(super) static OPERAND: Operand =
    Operand::lasting("timeInterval", "the time since the last use", Operator::Gteq, |world| {
        match (world.usage.last, world.usage.count) {
            (Some(last), _) => Since::At(last),
            (None, Some(_)) => Since::Never,
            (None, None) => Since::Unknown,
        }
    });
