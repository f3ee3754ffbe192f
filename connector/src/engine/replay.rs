//! Which tokens were used: a second use is refused until the token is too old anyway (DCP 1.0.1, Validating
//! Self-Issued ID Tokens).
//!
//! The store decides: a use is written under the token's digest, and only one writer can be the first. So the memory
//! outlives restarts and holds for everybody who shares the store. What is here beside it says at once what is known,
//! and what can be forgotten.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use store::{Batch, CommitError, Store, StoreError};
use trust::token::Caller;

use crate::clock;
use crate::ids::hex;
use crate::tables::{self, prefix};

/// Most tokens remembered. Beyond it new ones are refused, rather than old ones forgotten too early.
const MAX: usize = 1_000_000;
/// Most old ones that one new one takes with it.
const SWEEP: usize = 16;

/// The tokens that were used and are not too old yet.
#[derive(Debug, Default)]
pub struct UsedTokens {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    used: HashSet<String>,
    order: BTreeSet<(i64, String)>,
}

impl UsedTokens {
    /// What the store remembers.
    ///
    /// # Errors
    /// The store failed.
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        let mut seen = Seen::default();
        let mut after: Option<String> = None;
        loop {
            let page = tables::list::<i64>(store, prefix::REPLAY, after.as_deref(), 1000)?;
            let Some((last, _)) = page.last() else { return Ok(Self { seen: Mutex::new(seen) }) };
            after = Some(last.clone());
            for (key, expires) in page {
                seen.used.insert(key.clone());
                seen.order.insert((expires, key));
            }
        }
    }

    /// Takes note of a use at `now` (seconds), and names what can be forgotten; `None` for a second use.
    fn note(&self, key: &str, expires: i64, now: i64) -> Option<Vec<String>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut old = Vec::new();
        while old.len() < SWEEP && seen.order.first().is_some_and(|(expires, _)| *expires < now) {
            let Some((_, key)) = seen.order.pop_first() else { break };
            seen.used.remove(&key);
            old.push(key);
        }
        if seen.used.len() >= MAX || !seen.used.insert(key.to_owned()) {
            return None;
        }
        seen.order.insert((expires, key.to_owned()));
        Some(old)
    }

    /// Notes the use of a caller's token, durably; false for a second use.
    ///
    /// # Errors
    /// The store failed.
    pub async fn first_use(&self, store: &Store, caller: &Caller) -> Result<bool, CommitError> {
        self.first_use_of(store, caller.did(), caller.jti(), caller.expires()).await
    }

    /// As [`Self::first_use`], for anything that `sender` gave the id `jti`, which is refused for its age from `expires` on
    /// (seconds since 1970).
    ///
    /// # Errors
    /// The store failed.
    pub async fn first_use_of(
        &self,
        store: &Store,
        sender: &str,
        jti: &str,
        expires: i64,
    ) -> Result<bool, CommitError> {
        let mut hash = Sha256::new();
        hash.update(sender.as_bytes());
        // No DID has it.
        hash.update([0]);
        hash.update(jti.as_bytes());
        let key = tables::key(prefix::REPLAY, &hex(&hash.finalize()));
        let Some(old) = self.note(&key, expires, clock::now().as_second()) else {
            return Ok(false);
        };
        let mut batch = Batch::new();
        batch.expect(key.clone(), None);
        tables::put(&mut batch, key, &expires)?;
        old.into_iter().for_each(|key| batch.delete(key));
        match store.commit(batch).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_old_is_forgotten_and_what_is_not_is_loaded_again() {
        let replays = UsedTokens::default();
        assert_eq!(replays.note("a", 100, 50), Some(Vec::new()));
        assert_eq!(replays.note("a", 100, 50), None);
        assert_eq!(replays.note("b", 300, 101), Some(vec!["a".to_owned()]));
        assert_eq!(
            replays.note("a", 400, 101),
            Some(Vec::new()),
            "forgotten, since it is refused for its age"
        );
        let store = Store::memory();
        let mut batch = Batch::new();
        tables::put(&mut batch, tables::key(prefix::REPLAY, "x"), &500_i64).unwrap();
        store.commit(batch).await.unwrap();
        let loaded = UsedTokens::load(&store).unwrap();
        assert_eq!(loaded.note(&tables::key(prefix::REPLAY, "x"), 500, 1), None);
    }
}
