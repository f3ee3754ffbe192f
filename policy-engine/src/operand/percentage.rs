//! `percentage`: how much of the asset is used, 0 to 100.

use super::{Operand, OperandKind};

pub(super) static OPERAND: Operand =
    Operand { nonnegative: true, ..Operand::stated("percentage", OperandKind::Number, "the share used (%)") };
