//! `industry`: the branch in which the data is used, for example a NACE code as IRI.

use super::{Operand, OperandKind};

pub(super) static OPERAND: Operand = Operand::stated("industry", OperandKind::Term, "the industry");
