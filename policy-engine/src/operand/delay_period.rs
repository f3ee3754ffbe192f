//! `delayPeriod`: how long ago the agreement was made; use waits for it. ODRL's `eq` means that the period has passed.

use super::{Operand, Since};
use crate::model::Operator;

pub(super) static OPERAND: Operand =
    Operand::lasting("delayPeriod", "the delay since the agreement", Operator::Gteq, |world| {
        world.since.map_or(Since::Unknown, Since::At)
    });
