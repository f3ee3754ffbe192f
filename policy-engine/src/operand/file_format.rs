//! `fileFormat`: the format in which the data is used, a media type or an IRI.

use super::{Operand, OperandKind};

pub(super) static OPERAND: Operand = Operand::stated("fileFormat", OperandKind::Term, "the file format");
