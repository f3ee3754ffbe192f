//! `urn:concordat:data:…` in the refinement of an action: what the provider's node does to the data on the way. It sees to
//! that itself, so such a refinement holds wherever it can be carried out at all, and nowhere else.

use super::{Change, Fact, Operand, OperandKind};
use crate::transform::{PREFIX, Transform};

pub(super) static OPERAND: Operand = Operand {
    reads: |left| left.starts_with(PREFIX),
    changes: Change::Request,
    fact: |atomic, _, _| match Transform::of(atomic) {
        Ok(Some(_)) => Fact::Applied,
        _ => Fact::Unsupported,
    },
    ..Operand::stated(PREFIX, OperandKind::Any, "what is done to the data")
};
