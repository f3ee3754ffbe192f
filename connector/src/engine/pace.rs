//! How fast participants begin and move on what this node keeps: each within a share of its own, so that what a partner leaves
//! in a day is bounded.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocol::RefusalKind;
use tokio::time::Instant;

use super::{Engine, EngineError};

const MINUTE: Duration = Duration::from_secs(60);
/// A participant that this node does not know has so small a part of what one has that it knows.
const STRANGER: u32 = 5;
/// Above this many, those are dropped of whom nothing counts any more.
const TIDY: usize = 4096;

/// Who has sent how much.
#[derive(Debug)]
pub(super) struct Pace {
    /// Most messages of one participant in a minute.
    most: u32,
    /// Until when each has used up what it may send, if it goes on; all strangers together under no name.
    until: Mutex<HashMap<String, Instant>>,
}

impl Pace {
    pub(super) fn new(most: u32) -> Self {
        Self { most, until: Mutex::default() }
    }

    /// Counts a message; the error is how long to wait.
    fn count(&self, did: &str, known: bool, now: Instant) -> Result<(), Duration> {
        let own = if known { self.most } else { (self.most / STRANGER).max(1) };
        let mut wanted = vec![(did, own)];
        if !known {
            wanted.push(("", self.most));
        }
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() > TIDY {
            until.retain(|_, until| *until > now);
        }
        let after = |until: &HashMap<String, Instant>, name: &str, most: u32| {
            until.get(name).map_or(now, |until| *until.max(&now)) + MINUTE / most
        };
        // All are asked before any counts; a minute's worth may come at once.
        for (name, most) in &wanted {
            let ahead = after(&until, name, *most).duration_since(now);
            if ahead > MINUTE {
                return Err(ahead.saturating_sub(MINUTE));
            }
        }
        for (name, most) in wanted {
            let after = after(&until, name, most);
            until.insert(name.to_owned(), after);
        }
        Ok(())
    }
}

impl Engine {
    /// Counts a message of `did` that begins something here or moves it on.
    ///
    /// # Errors
    /// It sends more than it may.
    pub fn keep_pace(&self, did: &str) -> Result<(), EngineError> {
        let counted = self.pace.count(did, self.is_known(did), Instant::now());
        counted.map_err(|wait| {
            let reason = format!(
                "participants like you may send {} messages a minute (limits.messages_per_minute of this node); send the next \
                 one in {} s",
                if self.is_known(did) { self.pace.most } else { (self.pace.most / STRANGER).max(1) },
                wait.as_secs().max(1)
            );
            EngineError::refused(RefusalKind::Busy, reason)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_share_and_strangers_have_one_together() {
        let (pace, now) = (Pace::new(50), Instant::now());
        let sent =
            |did: &str, known: bool, now| (0..1000).filter(|_| pace.count(did, known, now).is_ok()).count();
        assert_eq!(sent("member", true, now), 50);
        assert_eq!(sent("one", false, now), 10);
        assert_eq!((1..10).map(|name| sent(&name.to_string(), false, now)).sum::<usize>(), 40, "together");
        assert_eq!(sent("other member", true, now), 50, "strangers take nothing of theirs");
        let wait = pace.count("member", true, now).unwrap_err();
        assert!(wait <= MINUTE / 50, "{wait:?}");
        let later = now + MINUTE / 2;
        assert_eq!(sent("member", true, later), 25, "half a minute later");
        assert_eq!(sent("one", false, later), 5);
    }
}
