//! `spatial`: where the data is used, a place or a rectangle; every place must be allowed.

use super::{Operand, OperandKind};

pub(super) static OPERAND: Operand = Operand::stated("spatial", OperandKind::Place, "the place of use");
