//! `meteredTime`: how long the data was streamed so far, over all uses. ODRL's `eq` means that so much is granted.

use jiff::SignedDuration;

use super::{Operand, Since};
use crate::model::Operator;
use crate::world::World;

pub(super) static OPERAND: Operand =
    Operand::lasting("meteredTime", "the time of use", Operator::Lteq, |world: &World<'_>| {
        // As if the whole metered time had been one stretch that ends now.
        let began = world.usage.metered.map(|metered: SignedDuration| world.now.checked_sub(metered));
        began.and_then(Result::ok).map_or(Since::Unknown, Since::At)
    });
