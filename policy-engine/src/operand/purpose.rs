//! `purpose`: for what the data is used; every purpose must be allowed.

use super::{Operand, OperandKind};

pub(super) static OPERAND: Operand = Operand::stated("purpose", OperandKind::Term, "the purpose");
