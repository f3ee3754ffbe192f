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

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::{Batch, CommitError, Store, StoreError};

use crate::clock;
use crate::ids::hex;
use crate::tables::{self, prefix};

/// So many of all the tokens remembered may be of participants that this node does not know, of whom there are as many as
/// somebody makes keys: two in so many.
const OF_STRANGERS: usize = 5;
/// One in so many may be of one participant that this node knows.
const OF_ONE: usize = 10;
/// One in so many may be of one that it does not know.
const OF_STRANGER: usize = 50;
/// Uses that are kept although they are too old by the clock: only beyond these it is forgotten.
const KEEP: usize = 16_384;
/// Most old ones that one new one takes with it.
const SWEEP: usize = 1024;

/// The tokens that were used and are not too old yet.
#[derive(Debug)]
pub struct UsedTokens {
    seen: Mutex<Seen>,
    /// Held by the one that forgets until that is written, so that what is remembered of it never goes back.
    sweeping: tokio::sync::Mutex<()>,
}

/// A used token, as the store has it under the token's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum UsedToken {
    /// When it is too old anyway, in seconds since 1970; as older releases wrote it.
    Until(i64),
    /// The same with its sender.
    Of {
        /// When it is too old anyway, in seconds since 1970.
        until: i64,
        /// The beginning of the digest of the sender's id.
        by: u64,
        /// Whether this node did not know the sender then.
        stranger: bool,
    },
}

impl UsedToken {
    const fn until(self) -> i64 {
        match self {
            Self::Until(until) | Self::Of { until, .. } => until,
        }
    }

    const fn sender(self) -> (u64, bool) {
        match self {
            Self::Until(_) => (0, false),
            Self::Of { by, stranger, .. } => (by, stranger),
        }
    }
}

/// How many of a sender's tokens are too old at each time.
type Share = BTreeMap<i64, usize>;

/// How many of them are not too old at `now`.
fn left(share: &Share, now: i64) -> usize {
    share.range(now..).map(|(_, count)| count).sum()
}

#[derive(Debug)]
struct Seen {
    /// Most that are remembered. Beyond it new ones are refused, rather than old ones forgotten too early.
    most: usize,
    used: HashMap<String, UsedToken>,
    order: BTreeSet<(i64, String)>,
    of: HashMap<u64, Share>,
    strangers: usize,
    /// Nothing that expired later was forgotten.
    forgotten: Option<i64>,
}

impl Seen {
    fn new(most: usize) -> Self {
        Self {
            most,
            used: HashMap::new(),
            order: BTreeSet::new(),
            of: HashMap::new(),
            strangers: 0,
            forgotten: None,
        }
    }

    fn insert(&mut self, key: String, used: UsedToken) {
        let (by, stranger) = used.sender();
        self.order.insert((used.until(), key.clone()));
        if self.used.insert(key, used).is_none() {
            *self.of.entry(by).or_default().entry(used.until()).or_default() += 1;
            self.strangers += usize::from(stranger);
        }
    }

    /// Forgets the oldest ones that are too old at `now`.
    fn sweep(&mut self, now: i64) -> Vec<String> {
        let mut old = Vec::new();
        while old.len() < SWEEP && self.order.first().is_some_and(|(until, _)| *until < now) {
            let Some((until, key)) = self.order.pop_first() else { break };
            self.forgotten = self.forgotten.max(Some(until));
            if let Some(used) = self.used.remove(&key) {
                let (by, stranger) = used.sender();
                if let Some(share) = self.of.get_mut(&by) {
                    if let Some(count) = share.get_mut(&until) {
                        *count -= 1;
                        if *count == 0 {
                            share.remove(&until);
                        }
                    }
                    if share.is_empty() {
                        self.of.remove(&by);
                    }
                }
                self.strangers -= usize::from(stranger);
            }
            old.push(key);
        }
        old
    }

    /// When there is room again for another token of a sender, if there is none at `now`.
    fn full_until(&self, (by, stranger): (u64, bool), now: i64) -> Option<i64> {
        let most = (self.most / if stranger { OF_STRANGER } else { OF_ONE }).max(1);
        let share = self.of.get(&by).filter(|share| left(share, now) >= most);
        if let Some((first, _)) = share.and_then(|share| share.range(now..).next()) {
            return Some(*first);
        }
        let is_full =
            self.used.len() >= self.most || stranger && self.strangers >= 2 * self.most / OF_STRANGERS;
        is_full.then(|| self.order.range((now, String::new())..).next().map_or(now, |(first, _)| *first))
    }
}

/// What a use was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenUse {
    /// The first.
    First,
    /// Another one, or what may be one.
    Again,
    /// One that cannot be remembered: there are too many of its sender, or of all whom this node does not know. There is room
    /// again in so many seconds at the earliest.
    TooMany(i64),
}

/// What a use was, and what is to be forgotten with it.
#[derive(Debug, PartialEq, Eq)]
struct Noted {
    is: TokenUse,
    old: Vec<String>,
    /// Up to which time it was forgotten then.
    forgotten: Option<i64>,
}

impl Noted {
    const AGAIN: Self = Self { is: TokenUse::Again, old: Vec::new(), forgotten: None };
}

impl UsedTokens {
    /// Nothing is remembered yet, and at most `most` tokens will be.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { seen: Mutex::new(Seen::new(most)), sweeping: tokio::sync::Mutex::default() }
    }

    /// What the store remembers; at most `most` tokens, but for those that it has.
    ///
    /// # Errors
    /// The store failed.
    pub fn load(store: &Store, most: usize) -> Result<Self, StoreError> {
        let forgotten = tables::load::<i64>(store, tables::REPLAY_FORGOTTEN)?.map(|(until, _)| until);
        let mut seen = Seen { forgotten, ..Seen::new(most) };
        let mut after: Option<String> = None;
        loop {
            let page = store.scan(prefix::REPLAY, after.as_deref(), 1000)?;
            let Some((last, _)) = page.last() else {
                return Ok(Self { seen: Mutex::new(seen), sweeping: tokio::sync::Mutex::default() });
            };
            after = Some(last.clone());
            for (key, found) in page.into_iter().filter(|(key, _)| key != tables::form::FENCE) {
                // One whose end cannot be read stays used.
                let used = tables::decode(&key, &found.value).unwrap_or(UsedToken::Until(i64::MAX));
                seen.insert(key, used);
            }
        }
    }

    /// Whether a token was used before, as far as it is remembered.
    #[must_use]
    pub fn knows(&self, sender: &str, jti: &str) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.used.contains_key(&key_of(sender, jti))
    }

    /// Takes note of a use at `now` (seconds), and names what can be forgotten, where that `may` be.
    fn note(&self, key: &str, used: UsedToken, now: i64, may: bool) -> Noted {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.forgotten.is_some_and(|until| used.until() <= until) {
            tracing::error!(
                "a token was refused that had expired before others that this node has forgotten: its clock has gone back; \
                 set the clock right"
            );
            return Noted::AGAIN;
        }
        if seen.used.contains_key(key) {
            return Noted::AGAIN;
        }
        let is_full = |seen: &Seen| seen.full_until(used.sender(), now);
        let crowded = seen.used.len() >= KEEP + SWEEP || is_full(&seen).is_some();
        let old = if may && crowded { seen.sweep(now) } else { Vec::new() };
        // What was forgotten may have been others'.
        let is = match is_full(&seen) {
            Some(until) => TokenUse::TooMany(until.saturating_sub(now).max(1)),
            None => {
                seen.insert(key.to_owned(), used);
                TokenUse::First
            }
        };
        Noted { is, old, forgotten: seen.forgotten }
    }

    /// Notes the use of what `sender` gave the id `jti`, durably; it is refused for its age from `expires` on (seconds since
    /// 1970). There is less room for a sender that is not `known`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn first_use(
        &self,
        store: &Store,
        (sender, known): (&str, bool),
        jti: &str,
        expires: i64,
    ) -> Result<TokenUse, CommitError> {
        let by = digest(sender, None);
        let by = by.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        let used = UsedToken::Of { until: expires, by, stranger: !known };
        let key = key_of(sender, jti);
        let sweeping = self.sweeping.try_lock().ok();
        let Noted { is, old, forgotten } =
            self.note(&key, used, clock::now().as_second(), sweeping.is_some());
        let mut batch = Batch::new();
        if is == TokenUse::First {
            batch.expect(key.clone(), None);
            tables::put(&mut batch, key, &used)?;
        }
        if !old.is_empty() {
            tables::put(&mut batch, tables::REPLAY_FORGOTTEN.to_owned(), &forgotten.unwrap_or(i64::MIN))?;
        }
        old.into_iter().for_each(|key| batch.delete(key));
        if batch.is_empty() {
            return Ok(is);
        }
        let committed = store.commit(batch).await;
        drop(sweeping);
        match committed {
            Ok(_) => Ok(is),
            Err(CommitError::Conflict { .. }) => Ok(TokenUse::Again),
            Err(error) => Err(error),
        }
    }
}

fn digest(sender: &str, jti: Option<&str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(sender.as_bytes());
    if let Some(jti) = jti {
        // No DID has it.
        hash.update([0]);
        hash.update(jti.as_bytes());
    }
    hash.finalize().into()
}

fn key_of(sender: &str, jti: &str) -> String {
    tables::key(prefix::REPLAY, &hex(&digest(sender, Some(jti))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: i64 = 17_408;
    const MOST: usize = 1_000_000;
    const MOST_OF_STRANGER: usize = MOST / OF_STRANGER;

    const fn first(old: Vec<String>, forgotten: Option<i64>) -> Noted {
        Noted { is: TokenUse::First, old, forgotten }
    }

    const fn until(until: i64) -> UsedToken {
        UsedToken::Of { until, by: 1, stranger: false }
    }

    fn named(n: i64) -> String {
        tables::key(prefix::REPLAY, &format!("{n:08}"))
    }

    #[tokio::test]
    async fn a_clock_that_jumps_there_and_back_makes_no_used_token_good_again() {
        let store = Store::memory();
        let replays = UsedTokens::new(MOST);
        let future = clock::now().as_second() + 100_000;
        let a = ("a", true);
        assert_eq!(
            replays.first_use(&store, a, "j", 100).await.unwrap(),
            TokenUse::First,
            "expired long ago"
        );
        for one in 0..40 {
            let noted = replays.note(&named(one), until(future + one), future, true);
            assert_eq!(noted, first(Vec::new(), None));
        }
        assert_eq!(
            replays.first_use(&store, a, "j", 100).await.unwrap(),
            TokenUse::Again,
            "the clock is back"
        );
        let again = UsedTokens::load(&store, MOST).unwrap();
        assert_eq!(
            again.first_use(&store, a, "j", 100).await.unwrap(),
            TokenUse::Again,
            "after a restart too"
        );
        assert!(again.knows("a", "j") && !again.knows("a", "k"));
        assert_eq!(again.first_use(&store, a, "k", 100).await.unwrap(), TokenUse::First);
    }

    #[tokio::test]
    async fn what_was_forgotten_is_refused_for_ever_and_also_after_a_restart() {
        let store = Store::memory();
        let mut batch = Batch::new();
        for one in 0..MANY {
            // As an older release wrote it.
            tables::put(&mut batch, named(one), &(1000 + one)).unwrap();
        }
        store.commit(batch).await.unwrap();
        let replays = UsedTokens::load(&store, MOST).unwrap();
        assert_eq!(replays.note(&named(5), until(1005), 1000, true), Noted::AGAIN, "it was used");
        let later = clock::now().as_second() + 60;
        let used = replays.first_use(&store, ("a", true), "later", later).await.unwrap();
        assert_eq!(used, TokenUse::First);
        assert!(store.get(&named(1023)).unwrap().is_none(), "forgotten");
        assert!(store.get(&named(1024)).unwrap().is_some(), "kept, although it is too old");
        let again = UsedTokens::load(&store, MOST).unwrap();
        for memory in [&replays, &again] {
            for n in [0, 1023] {
                let noted = memory.note(&named(n), until(1000 + n), 1000, true);
                assert_eq!(noted, Noted::AGAIN, "the clock went back");
            }
            assert_eq!(memory.note(&named(1024), until(2024), 1000, true), Noted::AGAIN);
            let fresh = memory.note("fresh", until(later), 3000, true);
            assert_eq!(fresh, first(Vec::new(), Some(2023)));
        }
    }

    #[test]
    fn who_fills_its_share_leaves_that_of_others() {
        let memory = UsedTokens::new(MOST);
        let of = |by: u64, stranger: bool| UsedToken::Of { until: 2000, by, stranger };
        let note = |number: usize, used: UsedToken| {
            memory.note(&named(i64::try_from(number).unwrap()), used, 1000, true)
        };
        let is_first = |noted: Noted| noted.is == TokenUse::First;
        assert!((0..MOST_OF_STRANGER).all(|number| is_first(note(number, of(1, true)))));
        let next = MOST_OF_STRANGER;
        assert_eq!(note(next, of(1, true)).is, TokenUse::TooMany(1000));
        // What is forgotten of others makes no room for it, and its own is too old later than theirs.
        let of_another = memory.note("old", UsedToken::Of { until: 900, by: 7, stranger: true }, 800, true);
        assert!(is_first(of_another));
        let refused = note(next, of(1, true));
        assert_eq!(
            (refused.is, refused.old, refused.forgotten),
            (TokenUse::TooMany(1000), vec!["old".to_owned()], Some(900))
        );
        assert!(is_first(note(next, of(2, true))), "another stranger");
        assert!(is_first(note(next + 1, of(3, false))), "one that is known");
        // Strangers in all, as many as somebody makes keys.
        let mut number = next + 2;
        for by in 4.. {
            let full = (0..MOST_OF_STRANGER - 1).any(|_| {
                number += 1;
                !is_first(note(number, of(by, true)))
            });
            if full {
                break;
            }
        }
        assert_eq!(memory.seen.lock().unwrap().strangers, 2 * MOST / OF_STRANGERS);
        assert_eq!(note(number + 1, of(99, true)).is, TokenUse::TooMany(1000));
        assert!(is_first(note(number + 1, of(3, false))), "room is kept for those that are known");
        // Once what is remembered is too old, there is room again.
        let later = memory.note("later", UsedToken::Of { until: 9000, by: 1, stranger: true }, 3000, true);
        assert_eq!((later.is, later.old.len(), later.forgotten), (TokenUse::First, SWEEP, Some(2000)));
    }
}
