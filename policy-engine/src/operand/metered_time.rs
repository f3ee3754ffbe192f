//! `meteredTime`: how long the data was streamed so far, over all uses. ODRL's `eq` means that so much is granted.

use jiff::{SignedDuration, Timestamp};

use super::{Operand, Since, since};
use crate::model::{Atomic, Operator};
use crate::world::World;

pub(super) static OPERAND: Operand = Operand {
    next,
    ..Operand::lasting("meteredTime", "the time of use", Operator::Lteq, |world: &World<'_>| {
        // As if the whole metered time had been one stretch that ends now.
        let began = world.usage.metered.map(|metered: SignedDuration| world.now.checked_sub(metered));
        began.and_then(Result::ok).map_or(Since::Unknown, Since::At)
    })
};

/// As for one use; what several use up together is used up sooner, by so many times.
fn next(atomic: &Atomic, world: &World<'_>) -> Option<Timestamp> {
    let alone = since::next(atomic, world)?;
    let share = i32::try_from(world.usage.at_once.max(1)).unwrap_or(i32::MAX);
    let left = alone.duration_since(world.now) / share;
    let sooner = world.now.checked_add(left.max(SignedDuration::from_millis(1)));
    Some(sooner.map_or(alone, |sooner| sooner.min(alone)))
}
