//! `systemDevice`: on which device or system the data is used.

use super::{Operand, OperandKind};

pub(super) static OPERAND: Operand = Operand::stated("systemDevice", OperandKind::Identifier, "the device");
