//! Refusals in the audit log: the first ones of a kind in a minute are written one by one, further ones as their number when
//! the minute ends. Whoever is refused a million times writes no million entries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Engine;
use crate::clock;
use crate::tables::Event;

/// How long refusals are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// So many of a kind are written one by one.
const OF_A_KIND: u32 = 50;
/// So many are written one by one of all participants that this node knows, and as many of all others.
const IN_ALL: u32 = 150;
/// Most kinds that are told apart of either; what is of another then is counted as that of others.
const MAX_KINDS: usize = 32;
/// Most characters of an entry about a refusal: strangers choose some of them.
const MAX_TEXT: usize = 500;

/// What is the same about refusals that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    event: String,
    what: String,
    participant: Option<String>,
    subject: Option<String>,
}

/// How many there were.
#[derive(Debug, Clone, Copy)]
struct Count {
    written: u32,
    more: u64,
    last: Timestamp,
}

/// The refusals of the minute that runs. However many strangers are refused, those of participants are told apart.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    known: Minute,
    strangers: Minute,
}

impl Refusals {
    const fn of(&self, known: bool) -> &Minute {
        if known { &self.known } else { &self.strangers }
    }
}

#[derive(Debug, Default)]
struct Minute(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    since: Option<Timestamp>,
    written: u32,
    kinds: BTreeMap<Kind, Count>,
    others: u64,
}

/// What becomes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Noted {
    /// It is written now, not only counted.
    is_written: bool,
    /// It is the first of its minute.
    begins: bool,
}

impl Minute {
    fn note(&self, kind: Kind, now: Timestamp) -> Noted {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = window.since.is_none();
        window.since.get_or_insert(now);
        let has_room = window.written < IN_ALL;
        let is_known = window.kinds.contains_key(&kind);
        if !is_known && window.kinds.len() >= MAX_KINDS {
            window.others += u64::from(!has_room);
            window.written += u32::from(has_room);
            return Noted { is_written: has_room, begins };
        }
        let count = window.kinds.entry(kind).or_insert(Count { written: 0, more: 0, last: now });
        count.last = now;
        let is_written = has_room && count.written < OF_A_KIND;
        if is_written {
            count.written += 1
        } else {
            count.more += 1
        }
        window.written += u32::from(is_written);
        Noted { is_written, begins }
    }

    /// What was only counted since the minute began, as events; the next one begins.
    fn close(&self, now: Timestamp) -> Vec<Event> {
        let window = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(since) = window.since else { return Vec::new() };
        let told = |(kind, count): (Kind, Count)| {
            let text =
                format!("{} more times since {since}, until {}: {}", count.more, count.last, kind.what);
            let mut event = Event::new(&kind.event, now, text);
            (event.participant, event.subject) = (kind.participant, kind.subject);
            event
        };
        let counted = window.kinds.into_iter().filter(|(_, count)| count.more > 0);
        let mut events: Vec<_> = counted.map(told).collect();
        if window.others > 0 {
            let text =
                format!("{} more refusals of other kinds since {since} were only counted", window.others);
            events.push(Event::new("refusal", now, text));
        }
        events
    }
}

impl Engine {
    /// Writes an audit event about a refusal, or counts it where there were enough of its kind: `what` says what is the same
    /// about them. What was counted is written within a minute, and when the node stops; a kill loses that number.
    pub async fn record_refusal(self: &Arc<Self>, what: &str, mut event: Event) {
        let kind = Kind {
            event: event.kind.clone(),
            what: shortened(what),
            participant: event.participant.clone(),
            subject: event.subject.clone(),
        };
        let known = kind.participant.as_deref().is_some_and(|did| self.is_known(did));
        let noted = self.refusals.of(known).note(kind, clock::now());
        if noted.begins {
            let engine = Arc::clone(self);
            self.tasks.until_stop(async move {
                tokio::time::sleep_until(tokio::time::Instant::now() + WINDOW).await;
                engine.write_counted(known).await;
            });
        }
        if noted.is_written {
            event.text = shortened(&event.text);
            tracing::info!(participant = event.participant, subject = event.subject, "{}", event.text);
            self.record(event).await;
        }
    }

    /// Writes down how many refusals were only counted so far.
    pub async fn write_counted_refusals(&self) {
        for known in [true, false] {
            self.write_counted(known).await;
        }
    }

    async fn write_counted(&self, known: bool) {
        for event in self.refusals.of(known).close(clock::now()) {
            tracing::info!(participant = event.participant, "{}", event.text);
            self.record(event).await;
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(participant: &str) -> Kind {
        let participant = Some(participant.to_owned());
        Kind { event: "refusal".to_owned(), what: "a read was denied".to_owned(), participant, subject: None }
    }

    #[test]
    fn the_first_are_written_the_rest_is_counted_and_memory_is_bounded() {
        let now = Timestamp::UNIX_EPOCH;
        let refusals = Minute::default();
        assert_eq!(refusals.note(kind("a"), now), Noted { is_written: true, begins: true });
        let written = (1..1000).filter(|_| refusals.note(kind("a"), now).is_written).count();
        assert_eq!(written + 1, 50);
        assert_eq!(refusals.note(kind("b"), now), Noted { is_written: true, begins: false }, "another's");
        let of_many = (0..10_000).filter(|one| refusals.note(kind(&one.to_string()), now).is_written).count();
        assert_eq!(of_many, 150 - 51, "in all");
        let events = refusals.close(now);
        assert!(events.len() <= MAX_KINDS + 1);
        let of_a = events.iter().find(|one| one.participant.as_deref() == Some("a")).unwrap();
        assert_eq!(
            of_a.text,
            "950 more times since 1970-01-01T00:00:00Z, until 1970-01-01T00:00:00Z: a read was denied"
        );
        let counted: u64 =
            events.iter().map(|one| one.text.split(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(counted, 950 + 10_000 - 99, "none is lost");
        assert!(refusals.close(now).is_empty());
        assert!(refusals.note(kind("a"), now).begins, "a new minute");
    }
}
