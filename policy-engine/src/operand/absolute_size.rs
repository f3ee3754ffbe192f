//! `absoluteSize`: the size of what is used, in the constraint's unit; without one, in bytes.

use super::{Operand, OperandKind};

pub(super) static OPERAND: Operand =
    Operand { nonnegative: true, ..Operand::stated("absoluteSize", OperandKind::Number, "the size") };
