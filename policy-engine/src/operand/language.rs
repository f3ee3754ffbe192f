//! `language`: the language in which the data is used, a tag after BCP 47; `de-AT` lies within `de`.

use super::{Operand, OperandKind};

pub(super) static OPERAND: Operand = Operand::stated("language", OperandKind::Language, "the language");
