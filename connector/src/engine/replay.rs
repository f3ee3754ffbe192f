//! Which tokens were used: a second use is refused until the token is too old anyway (DCP 1.0.1, Validating
//! Self-Issued ID Tokens).
//!
//! The store decides: a use is written under the token's digest, and only one writer can be the first. So the memory
//! outlives restarts and holds for everybody who shares the store. What is here beside it says at once what is known,
//! and what can be forgotten.
//!
//! A clock may go back, and what was too old is not too old then. So uses are kept beyond their time while there is
//! room, the oldest are forgotten first, and it is remembered up to which time: what had expired by then may have been
//! used and is refused, whatever the clock says.

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
/// Uses that are kept although they are too old by the clock: only beyond these it is forgotten.
const KEEP: usize = 16_384;
/// Most old ones that one new one takes with it.
const SWEEP: usize = 1024;

/// The tokens that were used and are not too old yet.
#[derive(Debug, Default)]
pub struct UsedTokens {
    seen: Mutex<Seen>,
    /// Held by the one that forgets until that is written, so that what is remembered of it never goes back.
    sweeping: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Seen {
    used: HashSet<String>,
    order: BTreeSet<(i64, String)>,
    /// Nothing that expired later was forgotten.
    forgotten: Option<i64>,
}

/// A first use.
#[derive(Debug, PartialEq, Eq)]
struct Noted {
    /// What can be forgotten with it.
    old: Vec<String>,
    /// Up to which time it was forgotten then.
    forgotten: Option<i64>,
}

impl UsedTokens {
    /// What the store remembers.
    ///
    /// # Errors
    /// The store failed.
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        let forgotten = tables::load::<i64>(store, tables::REPLAY_FORGOTTEN)?.map(|(until, _)| until);
        let mut seen = Seen { forgotten, ..Seen::default() };
        let mut after: Option<String> = None;
        loop {
            let page = store.scan(prefix::REPLAY, after.as_deref(), 1000)?;
            let Some((last, _)) = page.last() else {
                return Ok(Self { seen: Mutex::new(seen), ..Self::default() });
            };
            after = Some(last.clone());
            for (key, found) in page.into_iter().filter(|(key, _)| key != tables::form::FENCE) {
                // One whose end cannot be read stays used.
                let expires = tables::decode::<i64>(&key, &found.value).unwrap_or(i64::MAX);
                seen.used.insert(key.clone());
                seen.order.insert((expires, key));
            }
        }
    }

    /// Takes note of a use at `now` (seconds), and names what can be forgotten, where that `may` be; `None` for a second
    /// use, and for what may be one.
    fn note(&self, key: &str, expires: i64, now: i64, may: bool) -> Option<Noted> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.forgotten.is_some_and(|until| expires <= until) {
            tracing::error!(
                "a token was refused that had expired before others that this node has forgotten: its clock has gone back; \
                 set the clock right"
            );
            return None;
        }
        let mut old = Vec::new();
        let crowded = seen.used.len() >= KEEP + SWEEP;
        while may
            && crowded
            && old.len() < SWEEP
            && seen.order.first().is_some_and(|(expires, _)| *expires < now)
        {
            let Some((expired, key)) = seen.order.pop_first() else { break };
            seen.forgotten = seen.forgotten.max(Some(expired));
            seen.used.remove(&key);
            old.push(key);
        }
        if seen.used.len() >= MAX || !seen.used.insert(key.to_owned()) {
            return None;
        }
        seen.order.insert((expires, key.to_owned()));
        Some(Noted { old, forgotten: seen.forgotten })
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
        let sweeping = self.sweeping.try_lock().ok();
        let Some(noted) = self.note(&key, expires, clock::now().as_second(), sweeping.is_some()) else {
            return Ok(false);
        };
        let mut batch = Batch::new();
        batch.expect(key.clone(), None);
        tables::put(&mut batch, key, &expires)?;
        if !noted.old.is_empty() {
            tables::put(
                &mut batch,
                tables::REPLAY_FORGOTTEN.to_owned(),
                &noted.forgotten.unwrap_or(i64::MIN),
            )?;
        }
        noted.old.into_iter().for_each(|key| batch.delete(key));
        let committed = store.commit(batch).await;
        drop(sweeping);
        match committed {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: i64 = 17_408;

    fn named(n: i64) -> String {
        tables::key(prefix::REPLAY, &format!("{n:08}"))
    }

    #[tokio::test]
    async fn a_clock_that_jumps_there_and_back_makes_no_used_token_good_again() {
        let store = Store::memory();
        let replays = UsedTokens::default();
        let future = clock::now().as_second() + 100_000;
        assert!(replays.first_use_of(&store, "a", "j", 100).await.unwrap(), "it expired long ago");
        for one in 0..40 {
            assert!(replays.note(&named(one), future + one, future, true).unwrap().old.is_empty());
        }
        assert!(!replays.first_use_of(&store, "a", "j", 100).await.unwrap(), "the clock is back");
        let again = UsedTokens::load(&store).unwrap();
        assert!(!again.first_use_of(&store, "a", "j", 100).await.unwrap(), "after a restart too");
        assert!(again.first_use_of(&store, "a", "k", 100).await.unwrap());
    }

    #[tokio::test]
    async fn what_was_forgotten_is_refused_for_ever_and_also_after_a_restart() {
        let store = Store::memory();
        let mut batch = Batch::new();
        for one in 0..MANY {
            tables::put(&mut batch, named(one), &(1000 + one)).unwrap();
        }
        store.commit(batch).await.unwrap();
        let replays = UsedTokens::load(&store).unwrap();
        assert_eq!(replays.note(&named(5), 1005, 1000, true), None, "it was used");
        let later = clock::now().as_second() + 60;
        assert!(replays.first_use_of(&store, "a", "later", later).await.unwrap());
        assert!(store.get(&named(1023)).unwrap().is_none(), "forgotten");
        assert!(store.get(&named(1024)).unwrap().is_some(), "kept, although it is too old");
        let again = UsedTokens::load(&store).unwrap();
        for memory in [&replays, &again] {
            for n in [0, 1023] {
                assert_eq!(memory.note(&named(n), 1000 + n, 1000, true), None, "the clock went back");
            }
            assert_eq!(memory.note(&named(1024), 2024, 1000, true), None);
            let fresh = memory.note("fresh", later, 3000, true).unwrap();
            assert!(fresh.old.is_empty() && fresh.forgotten == Some(2023));
        }
    }
}
