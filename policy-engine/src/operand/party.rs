//! `assignee`, `participant`, `recipient`: the authenticated participant who gets the data.

use super::{Change, Fact, Operand, OperandKind};
use crate::model::Value;

pub(super) static OPERAND: Operand = Operand {
    reads: |left| left == "participant" || left == "recipient",
    changes: Change::Request,
    fact: |_, request, _| Fact::One(Value::Term(request.party.to_owned())),
    ..Operand::stated("assignee", OperandKind::Identifier, "the party that asks")
};
