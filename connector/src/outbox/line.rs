//! What waits for one participant at one origin, in the order in which it was written.
//!
//! Several messages are on their way at once, but of one process or agreement only one: it begins when the one before it is
//! over. While the origin is away (it cannot be reached, or says that it cannot answer now) one message at a time finds out
//! whether it is back, the oldest first; the others wait, and the time counts for all of them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::tables::OutboxEntry;

/// First pause before a repeat.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before a repeat.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The place of a message: when it was written, and how many were handed over before it.
pub(super) type Turn = (Timestamp, u64);

/// How an attempt failed that is worth another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It was refused for a reason that may pass.
    Refused,
    /// What came of it could not be written.
    Unwritten,
    /// With this message, which may have been taken all the same: others may get through.
    Message,
    /// The origin cannot be reached, or says that it cannot answer now.
    Away,
    /// There was no answer in time, which may be the origin's state or this message's doing.
    Silent,
}

/// The messages of a line.
#[derive(Debug, Default)]
pub(super) struct Line {
    queue: BTreeMap<Turn, Waiting>,
    away: Option<Away>,
}

#[derive(Debug)]
struct Waiting {
    entry: Arc<OutboxEntry>,
    /// Not before.
    due: Instant,
    pause: Pause,
    /// Since when this node tries to deliver it, or another one in its place.
    tried_since: Option<Instant>,
    attempts: u32,
    may_be_taken: bool,
    reason: Option<String>,
    on_its_way: bool,
}

/// The origin is away.
#[derive(Debug)]
struct Away {
    /// When it is tried next.
    until: Instant,
    pause: Pause,
    reason: String,
    /// The next to try is the one after it: the origin gave no answer to it, and may answer others.
    passed_over: Option<Turn>,
}

/// A pause that doubles.
#[derive(Debug, Clone, Copy)]
struct Pause(Duration);

impl Pause {
    /// The next pause, `fraction` (0 to 1) between half and one and a half of it.
    fn next(&mut self, fraction: f64) -> Duration {
        let this = self.0.mul_f64(0.5 + fraction);
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        this
    }
}

/// An attempt to be made.
#[derive(Debug)]
pub(super) struct Trip {
    pub(super) turn: Turn,
    pub(super) entry: Arc<OutboxEntry>,
    /// Since when it is tried; `None` if this is the first attempt.
    pub(super) tried_since: Option<Instant>,
    /// Whether an earlier attempt may have been taken.
    pub(super) may_be_taken: bool,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(super) struct Next {
    /// Attempts to be made.
    pub(super) trips: Vec<Trip>,
    /// Tried for too long, with why.
    pub(super) given_up: Vec<(Turn, Arc<OutboxEntry>, String)>,
    /// When to look again at the latest, if nothing happens before.
    pub(super) look_again: Option<Instant>,
}

/// What came of a message so far that waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Attempts that failed.
    pub failed: u32,
    /// Why the last one failed, or why it is not tried now.
    pub reason: Option<String>,
}

impl Line {
    /// Whether nothing waits and nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Why the origin is away, while it is.
    pub(super) fn trouble(&self) -> Option<String> {
        self.away.as_ref().map(|away| away.reason.clone())
    }

    /// Puts a message in its place.
    pub(super) fn add(&mut self, turn: Turn, entry: Arc<OutboxEntry>, now: Instant) {
        let waiting = Waiting {
            entry,
            due: now,
            pause: Pause(FIRST_PAUSE),
            tried_since: self.away.is_some().then_some(now),
            attempts: 0,
            may_be_taken: false,
            reason: None,
            on_its_way: false,
        };
        self.queue.insert(turn, waiting);
    }

    /// Takes a message out.
    pub(super) fn remove(&mut self, turn: Turn) {
        self.queue.remove(&turn);
    }

    /// How a message stands.
    pub(super) fn attempts(&self, turn: Turn) -> Option<Attempts> {
        let waiting = self.queue.get(&turn)?;
        let reason = waiting.reason.clone().or_else(|| self.away.as_ref().map(|away| away.reason.clone()));
        Some(Attempts { failed: waiting.attempts, reason })
    }

    /// Whether an attempt to deliver a message is under way.
    pub(super) fn is_on_its_way(&self, turn: Turn) -> bool {
        self.queue.get(&turn).is_some_and(|waiting| waiting.on_its_way)
    }

    /// What is to be done at `now`, with `room` for so many more attempts; a message is given up that was tried for
    /// `at_most`.
    pub(super) fn next(&mut self, now: Instant, room: usize, at_most: Duration) -> Next {
        let mut next = Next::default();
        if let Some(away) = &self.away {
            let reason = away.reason.clone();
            let too_long = |waiting: &Waiting| {
                !waiting.on_its_way && waiting.tried_since.is_some_and(|since| now - since >= at_most)
            };
            for (turn, waiting) in self.queue.iter_mut().filter(|(_, waiting)| too_long(waiting)) {
                waiting.on_its_way = true;
                next.given_up.push((*turn, Arc::clone(&waiting.entry), reason.clone()));
            }
            if self.queue.values().any(|waiting| waiting.on_its_way) {
                return next;
            }
            if now < away.until {
                next.look_again = Some(away.until);
                return next;
            }
            let mut ready = self.first_of_each().map(|(turn, _)| turn);
            let first = ready.next();
            let after = away
                .passed_over
                .and_then(|passed| first.into_iter().chain(ready).find(|turn| *turn > passed));
            if let Some(turn) = after.or(first) {
                next.trips.extend(self.begin(turn));
            }
            return next;
        }
        let mut begun = Vec::new();
        for (turn, waiting) in self.first_of_each() {
            if begun.len() == room {
                break;
            }
            if waiting.on_its_way {
                continue;
            }
            if waiting.due > now {
                let earliest = next.look_again.map_or(waiting.due, |at| at.min(waiting.due));
                next.look_again = Some(earliest);
            } else {
                begun.push(turn);
            }
        }
        next.trips.extend(begun.into_iter().filter_map(|turn| self.begin(turn)));
        next
    }

    /// The oldest message of each process.
    fn first_of_each(&self) -> impl Iterator<Item = (Turn, &Waiting)> {
        let mut processes = HashSet::new();
        self.queue
            .iter()
            .filter(move |(_, waiting)| processes.insert((waiting.entry.kind, waiting.entry.pid.as_str())))
            .map(|(turn, waiting)| (*turn, waiting))
    }

    fn begin(&mut self, turn: Turn) -> Option<Trip> {
        let waiting = self.queue.get_mut(&turn)?;
        waiting.on_its_way = true;
        Some(Trip {
            turn,
            entry: Arc::clone(&waiting.entry),
            tried_since: waiting.tried_since,
            may_be_taken: waiting.may_be_taken,
        })
    }

    /// A message is over: it was taken, refused or given up. `answered` says whether the origin said something to it.
    pub(super) fn over(&mut self, turn: Turn, answered: bool) {
        self.queue.remove(&turn);
        if answered {
            self.away = None;
        }
    }

    /// An attempt failed at `now`, which is worth another; it has been tried since `since`. `fraction` (0 to 1) spreads the
    /// pause. Gives the message, unless it was taken out.
    pub(super) fn again(
        &mut self,
        turn: Turn,
        since: Instant,
        now: Instant,
        (trouble, reason): (Trouble, String),
        fraction: f64,
    ) -> Option<Arc<OutboxEntry>> {
        let entry = self.queue.get(&turn).map(|waiting| Arc::clone(&waiting.entry));
        if let Some(waiting) = self.queue.get_mut(&turn) {
            waiting.on_its_way = false;
            waiting.tried_since = Some(since);
            waiting.attempts = waiting.attempts.saturating_add(1);
            waiting.may_be_taken |= trouble != Trouble::Refused;
            if trouble == Trouble::Unwritten {
                waiting.pause = Pause(LONGEST_PAUSE);
            }
            waiting.due = now + waiting.pause.next(fraction);
            waiting.reason = Some(reason.clone());
        }
        if matches!(trouble, Trouble::Message | Trouble::Refused | Trouble::Unwritten) {
            self.away = None;
            return entry;
        }
        for waiting in self.queue.values_mut() {
            waiting.tried_since.get_or_insert(now);
        }
        let passed_over = (trouble == Trouble::Silent).then_some(turn);
        match &mut self.away {
            // Others were on their way when it was found out.
            Some(away) if now < away.until => {}
            Some(away) => {
                away.until = now + away.pause.next(fraction);
                (away.reason, away.passed_over) = (reason, passed_over);
            }
            None => {
                let mut pause = Pause(FIRST_PAUSE);
                self.away = Some(Away { until: now + pause.next(fraction), pause, reason, passed_over });
            }
        }
        entry
    }
}

#[cfg(test)]
mod tests;
