//! `payAmount`: what was paid, in the constraint's unit (a currency). Known once somebody states it.

use super::{Operand, OperandKind};

pub(super) static OPERAND: Operand =
    Operand { nonnegative: true, ..Operand::stated("payAmount", OperandKind::Number, "the amount paid") };
