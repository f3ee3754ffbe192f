//! Places for what takes this node's time or memory, so many for each name: whoever takes all of its own leaves those of
//! others.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Above this many, names that hold nothing are dropped.
const TIDY: usize = 4096;

/// Places of names.
#[derive(Debug)]
pub struct Shares<K> {
    each: usize,
    names: Mutex<Names<K>>,
}

#[derive(Debug)]
struct Names<K> {
    places: HashMap<K, Arc<Semaphore>>,
    /// How many there must be before those are looked for that hold nothing.
    tidy: usize,
}

impl<K: Eq + Hash> Shares<K> {
    /// `each` places for every name.
    #[must_use]
    pub fn new(each: u32) -> Self {
        let each = usize::try_from(each).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { each, names: Mutex::new(Names { places: HashMap::new(), tidy: TIDY }) }
    }

    /// The places of `name`.
    pub fn of(&self, name: K) -> Arc<Semaphore> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.places.len() >= names.tidy {
            // A permit, and whoever waits for one, holds the semaphore.
            names.places.retain(|_, places| Arc::strong_count(places) > 1);
            names.tidy = TIDY.max(names.places.len().saturating_mul(2));
        }
        Arc::clone(names.places.entry(name).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
    }
}

/// A semaphore of so many places.
#[must_use]
pub fn places(most: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)))
}

/// Waits for a place of each of `semaphores`, one after the other: first those that fewer others want, so that nobody holds a
/// place of all while it waits for its own. None of them may ever be closed.
pub async fn one_of_each(semaphores: impl IntoIterator<Item = Arc<Semaphore>>) -> Vec<OwnedSemaphorePermit> {
    let mut held = Vec::new();
    for semaphore in semaphores {
        held.extend(semaphore.acquire_owned().await);
    }
    held
}

/// Whom an address stands for: itself, or the /64 that it is in, since whoever has one IPv6 address has all of these.
#[must_use]
pub fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        plain @ IpAddr::V4(_) => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_places_of_its_own_and_addresses_of_a_network_share_theirs() {
        let shares = Shares::new(1);
        let at = |address: &str| shares.of(whose(address.parse().unwrap())).try_acquire_owned();
        let first = at("2001:db8::1").unwrap();
        assert!(at("2001:db8::2").is_err(), "of the same /64");
        assert!(at("2001:db8:0:1::1").is_ok() && at("192.0.2.1").is_ok());
        let mapped = at("::ffff:192.0.2.2").unwrap();
        assert!(at("192.0.2.2").is_err(), "the same address, written otherwise");
        drop((first, mapped));
        assert!(at("2001:db8::2").is_ok());
        for number in 0..2 * u32::try_from(TIDY).unwrap() {
            drop(at(&std::net::Ipv4Addr::from_bits(number).to_string()).unwrap());
        }
        assert!(shares.names.lock().unwrap().places.len() <= TIDY, "names that hold nothing are forgotten");
    }
}
