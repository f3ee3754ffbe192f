//! `target`: the asset asked for, as comparisons of rules with an asset of their own see it.

use super::{Change, Fact, Operand, OperandKind};
use crate::model::Value;

pub(super) static OPERAND: Operand = Operand {
    changes: Change::Request,
    fact: |_, request, _| request.target.map_or(Fact::Missing, |one| Fact::One(Value::Term(one.to_owned()))),
    ..Operand::stated("target", OperandKind::Identifier, "the asset")
};
