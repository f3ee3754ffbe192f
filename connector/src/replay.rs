//! Which tokens were used: a second use is refused until the token is too old anyway.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use trust::token::Caller;

/// Most tokens remembered. Beyond it new ones are refused, rather than old ones forgotten too early.
const MAX: usize = 1_000_000;

/// The memory of used tokens, by participant and `jti`.
#[derive(Debug, Default)]
pub struct Replays {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    expires: HashMap<(String, String), i64>,
    order: BTreeSet<(i64, String, String)>,
}

impl Replays {
    /// Notes the use of a token at `now` (seconds). Returns false for a second use.
    #[must_use]
    pub fn first_use(&self, caller: &Caller, now: i64) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while seen.order.first().is_some_and(|(expires, _, _)| *expires < now) {
            if let Some((_, did, jti)) = seen.order.pop_first() {
                seen.expires.remove(&(did, jti));
            }
        }
        let key = (caller.did().to_owned(), caller.jti().to_owned());
        if seen.expires.len() >= MAX || seen.expires.contains_key(&key) {
            return false;
        }
        seen.order.insert((caller.expires(), key.0.clone(), key.1.clone()));
        seen.expires.insert(key, caller.expires());
        true
    }
}
