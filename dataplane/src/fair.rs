//! Bounds that keep one reader from taking what others need: streams at once, requests a minute, bytes a second, for each
//! agreement and for each participant.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Bytes and requests may run ahead by as much as this time allows.
const BURST: Duration = Duration::from_secs(1);
/// For how long nothing must have happened before a name is forgotten.
const FORGET: Duration = Duration::from_secs(120);
/// Names that are remembered before those are looked for which can be forgotten.
const MANY: usize = 4096;

/// Requests a minute under an agreement that is slowed down.
pub const THROTTLED: u32 = 6;

/// Bounds of one agreement, or of one participant; none where nothing is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most streams at once.
    pub streams: Option<u32>,
    /// Most requests a minute.
    pub requests_per_minute: Option<u32>,
    /// Most bytes a second, over all streams together.
    pub bytes_per_second: Option<u64>,
}

/// A bound is reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; try again in {} s", .retry_after.as_secs().max(1))]
pub struct TooMuch {
    what: String,
    /// When there may be room again.
    pub retry_after: Duration,
}

#[derive(Debug)]
struct Share {
    streams: u32,
    /// Until when requests and bytes have used up what they may.
    requests: Instant,
    bytes: Instant,
    used: Instant,
}

type Shares = Mutex<HashMap<String, Share>>;

/// Who reads how much now.
#[derive(Debug)]
pub struct Fairness {
    agreement: Limits,
    participant: Limits,
    shares: Arc<Shares>,
    /// Agreements that are slowed down.
    throttled: Mutex<HashSet<String>>,
}

impl Fairness {
    /// Bounds for each agreement and each participant.
    #[must_use]
    pub fn new(agreement: Limits, participant: Limits) -> Self {
        Self { agreement, participant, shares: Arc::default(), throttled: Mutex::default() }
    }

    /// Slows down an agreement: one stream at once, [`THROTTLED`] requests a minute, 64 KiB a second.
    pub fn throttle(&self, agreement: &str) {
        self.throttled.lock().unwrap_or_else(PoisonError::into_inner).insert(agreement.to_owned());
    }

    /// Slows it down no more.
    pub fn unthrottle(&self, agreement: &str) {
        self.throttled.lock().unwrap_or_else(PoisonError::into_inner).remove(agreement);
    }

    fn limits_of(&self, agreement: &str) -> Limits {
        let throttled = self.throttled.lock().unwrap_or_else(PoisonError::into_inner).contains(agreement);
        if !throttled {
            return self.agreement;
        }
        let least = |set: Option<u32>, most: u32| Some(set.map_or(most, |set| set.min(most)));
        Limits {
            streams: least(self.agreement.streams, 1),
            requests_per_minute: least(self.agreement.requests_per_minute, THROTTLED),
            bytes_per_second: Some(
                self.agreement.bytes_per_second.map_or(64 * 1024, |set| set.min(64 * 1024)),
            ),
        }
    }

    /// Lets a request in, and its stream until the ticket is dropped.
    ///
    /// # Errors
    /// A bound is reached; says which.
    pub fn enter(&self, agreement: &str, participant: &str) -> Result<Ticket, TooMuch> {
        let now = Instant::now();
        let names = [
            (format!("agreement {agreement}"), self.limits_of(agreement)),
            (format!("participant {participant}"), self.participant),
        ];
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.len() > MANY {
            shares.retain(|_, share| share.streams > 0 || now.duration_since(share.used) < FORGET);
        }
        // Both are asked before either counts.
        for (name, limits) in &names {
            let Some(share) = shares.get(name) else { continue };
            if limits.streams.is_some_and(|most| share.streams >= most) {
                let what = format!("{} streams of the {name} run at once, which is the most", share.streams);
                return Err(TooMuch { what, retry_after: Duration::from_secs(1) });
            }
            if let Some(most) = limits.requests_per_minute {
                // A minute's worth may come at once.
                let ahead = share.requests.saturating_duration_since(now);
                let each = Duration::from_secs(60) / most.max(1);
                if ahead + each > Duration::from_secs(60) {
                    let what = format!("the {name} may ask {most} times a minute");
                    return Err(TooMuch {
                        what,
                        retry_after: (ahead + each).saturating_sub(Duration::from_secs(60)),
                    });
                }
            }
        }
        for (name, limits) in &names {
            let share = shares.entry(name.clone()).or_insert(Share {
                streams: 0,
                requests: now,
                bytes: now,
                used: now,
            });
            share.streams += 1;
            share.used = now;
            if let Some(most) = limits.requests_per_minute {
                share.requests = share.requests.max(now) + Duration::from_secs(60) / most.max(1);
            }
        }
        drop(shares);
        Ok(Ticket { names, shares: Arc::clone(&self.shares) })
    }
}

/// A stream that runs.
#[derive(Debug)]
pub struct Ticket {
    names: [(String, Limits); 2],
    shares: Arc<Shares>,
}

impl Ticket {
    /// Counts bytes; when the next may follow, if not at once.
    pub(crate) fn spend(&self, bytes: usize) -> Option<Instant> {
        if self.names.iter().all(|(_, limits)| limits.bytes_per_second.is_none()) {
            return None;
        }
        let now = Instant::now();
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = now;
        for (name, limits) in &self.names {
            let (Some(rate), Some(share)) = (limits.bytes_per_second, shares.get_mut(name)) else { continue };
            #[expect(
                clippy::as_conversions,
                clippy::cast_precision_loss,
                reason = "a rate needs no more precision"
            )]
            let takes = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            share.bytes = share.bytes.max(now) + takes;
            share.used = now;
            next = next.max(share.bytes.checked_sub(BURST).unwrap_or(now));
        }
        (next > now).then_some(next)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, _) in &self.names {
            if let Some(share) = shares.get_mut(name) {
                share.streams = share.streams.saturating_sub(1);
                share.used = Instant::now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn streams_requests_and_bytes_are_bounded_and_each_for_itself() {
        let agreement = Limits { streams: Some(2), ..Limits::default() };
        let participant =
            Limits { requests_per_minute: Some(3), bytes_per_second: Some(1000), ..Limits::default() };
        let fairness = Fairness::new(agreement, participant);
        let first = fairness.enter("a", "p").unwrap();
        let _second = fairness.enter("a", "p").unwrap();
        let refused = fairness.enter("a", "p").unwrap_err();
        assert!(refused.to_string().contains("2 streams of the agreement a"), "{refused}");
        let third = fairness.enter("b", "p").unwrap();
        let refused = fairness.enter("c", "p").unwrap_err();
        assert!(refused.to_string().contains("3 times a minute"), "{refused}");
        assert!(fairness.enter("c", "q").is_ok(), "another participant has a share of its own");
        tokio::time::advance(refused.retry_after).await;
        assert!(fairness.enter("c", "p").is_ok());
        assert_eq!(first.spend(1000), None, "a second's worth goes at once");
        let next = third.spend(2000).expect("the participant's streams share its bytes");
        assert!(
            (Duration::from_millis(1900)..Duration::from_millis(2100)).contains(&(next - Instant::now()))
        );
        drop(first);
        assert!(fairness.enter("a", "q").is_ok(), "a stream that ends makes room");
    }
}
