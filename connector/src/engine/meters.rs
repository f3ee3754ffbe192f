//! What runs and what has ended under each agreement: how much was used follows from it at once, and the store follows.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use dataplane::Metered;
use governance::levels::{Measured, Side};
use jiff::{SignedDuration, Timestamp};

use super::gate::Read;
use crate::tables::Event;

/// A read that has ended and is not written yet.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) transfer: String,
    pub(super) read: Read,
    pub(super) metered: Metered,
    pub(super) at: Timestamp,
    /// Nothing of it was handed on: it is as if it had not begun.
    pub(super) given_back: bool,
}

impl Ended {
    pub(super) fn lasted(&self) -> SignedDuration {
        self.at.duration_since(self.read.at).max(SignedDuration::ZERO)
    }

    /// What it says of the provider's service levels; `None` for one that was cut, or that is not counted.
    pub(super) fn measured(&self) -> Option<Measured> {
        let id = self.read.id.as_ref()?;
        if self.metered.cut.is_some() || self.given_back && self.metered.failed.is_none() {
            return None;
        }
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Some(Measured::Read {
            id: self.read.named.as_ref().unwrap_or(id).clone(),
            by: Side::Provider,
            at: self.read.at.as_millisecond(),
            ok: self.metered.failed.is_none(),
            first_byte: self.metered.first_byte.map(millis),
            took: u64::try_from(self.lasted().as_millis()).unwrap_or_default(),
            bytes: self.metered.bytes,
            rows: (self.metered.rows > 0).then_some(self.metered.rows),
            age: None,
            probe: false,
        })
    }

    /// What is told of it alone; `None` for a read that went to its end.
    pub(super) fn event(&self) -> Option<Event> {
        let bytes = self.metered.bytes;
        let text = match (&self.metered.failed, &self.metered.cut, self.metered.complete) {
            (Some(why), ..) => format!("{bytes} bytes were read, then it broke off: {why}"),
            (None, Some(reason), _) => format!("{bytes} bytes were read, then it was cut: {reason}"),
            (None, None, true) => return None,
            (None, None, false) => format!("{bytes} bytes were read, then the reader left"),
        };
        Some(Event::new("stream", self.at, text).about(&self.transfer))
    }
}

/// The reads that run now, by agreement, and for how long data was streamed in all. While an agreement is read this is
/// the truth about its metered time; the store follows.
#[derive(Debug, Default)]
pub(super) struct Meters {
    agreements: Mutex<HashMap<String, Meter>>,
}

/// What is to be written about an agreement.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    pub(super) ended: Vec<Ended>,
    pub(super) measured: Vec<Measured>,
    /// Reads of this node as the consumer: when, and how many bytes.
    pub(super) own: Vec<(Timestamp, u64)>,
}

impl Unwritten {
    const fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.measured.is_empty() && self.own.is_empty()
    }
}

#[derive(Debug, Default)]
struct Meter {
    running: usize,
    /// Nanoseconds since the epoch, summed over the running reads: how long they have run follows from it at once.
    starts: i128,
    /// For how long the reads that have ended had run.
    settled: SignedDuration,
    /// Not yet taken to be written.
    unwritten: Unwritten,
    /// How many are writing.
    writing: usize,
    /// Whether somebody waits to write what is not written.
    is_awaited: bool,
}

impl Meter {
    /// Nothing here is ahead of the store.
    const fn is_settled(&self) -> bool {
        self.running == 0 && self.writing == 0 && self.unwritten.ended.is_empty()
    }

    const fn is_idle(&self) -> bool {
        self.is_settled() && self.unwritten.is_empty()
    }

    fn leave(&mut self, at: Timestamp) {
        self.running = self.running.saturating_sub(1);
        self.starts -= at.as_nanosecond();
    }
}

impl Meters {
    fn with<T>(&self, agreement: &str, change: impl FnOnce(&mut Meter) -> T) -> T {
        let mut agreements = self.agreements.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = agreements.entry(agreement.to_owned()).or_default();
        let answer = change(meter);
        if meter.is_idle() {
            agreements.remove(agreement);
        }
        answer
    }

    /// A read begins, where the store knows of `stored`; how many run now.
    pub(super) fn open(&self, agreement: &str, at: Timestamp, stored: SignedDuration) -> usize {
        self.with(agreement, |meter| {
            if meter.is_settled() {
                meter.settled = stored;
            }
            meter.running += 1;
            meter.starts += at.as_nanosecond();
            meter.running
        })
    }

    /// A read that was opened never took place.
    pub(super) fn close(&self, agreement: &str, at: Timestamp) {
        self.with(agreement, |meter| meter.leave(at));
    }

    /// This node measured something as a reader.
    pub(super) fn measured(&self, agreement: &str, measured: Measured) {
        self.with(agreement, |meter| meter.unwritten.measured.push(measured));
    }

    /// This node has read as the consumer; whether nobody waits to write it yet.
    pub(super) fn read_here(&self, agreement: &str, at: Timestamp, bytes: u64) -> bool {
        self.with(agreement, |meter| {
            meter.unwritten.own.push((at, bytes));
            !std::mem::replace(&mut meter.is_awaited, true)
        })
    }

    /// A read has ended; whether nobody waits to write it yet.
    pub(super) fn ended(&self, agreement: &str, ended: Ended) -> bool {
        self.with(agreement, |meter| {
            let is_first = !std::mem::replace(&mut meter.is_awaited, true);
            if ended.read.id.is_some() {
                meter.leave(ended.read.at);
                if !ended.given_back {
                    meter.settled = meter.settled.saturating_add(ended.lasted());
                }
            }
            meter.unwritten.ended.push(ended);
            is_first
        })
    }

    /// Agreements under which something has ended or was measured that is not written yet.
    pub(super) fn unwritten(&self) -> Vec<String> {
        let agreements = self.agreements.lock().unwrap_or_else(PoisonError::into_inner);
        let all = agreements.iter().filter(|(_, meter)| !meter.unwritten.is_empty());
        all.map(|(agreement, _)| agreement.clone()).collect()
    }

    /// What is to be written; [`Self::written`] follows.
    pub(super) fn take(&self, agreement: &str) -> Unwritten {
        self.with(agreement, |meter| {
            meter.writing += 1;
            meter.is_awaited = false;
            std::mem::take(&mut meter.unwritten)
        })
    }

    /// What was taken could not be written: it is to be written still.
    pub(super) fn put_back(&self, agreement: &str, mut taken: Unwritten) {
        self.with(agreement, |meter| {
            taken.ended.append(&mut meter.unwritten.ended);
            taken.measured.append(&mut meter.unwritten.measured);
            taken.own.append(&mut meter.unwritten.own);
            meter.unwritten = taken;
        });
    }

    pub(super) fn written(&self, agreement: &str) {
        self.with(agreement, |meter| meter.writing = meter.writing.saturating_sub(1));
    }

    /// How many reads run, or have ended and are not written yet.
    pub(super) fn unsettled(&self, agreement: &str) -> usize {
        self.with(agreement, |meter| meter.running + meter.unwritten.ended.len() + meter.writing)
    }

    /// How many reads run, and for how long data was streamed until `now`, where the store knows of `stored`.
    pub(super) fn until(
        &self,
        agreement: &str,
        now: Timestamp,
        stored: SignedDuration,
    ) -> (usize, SignedDuration) {
        self.with(agreement, |meter| {
            if meter.is_settled() {
                return (0, stored);
            }
            let reads = i128::try_from(meter.running).unwrap_or_default();
            let total = (now.as_nanosecond() * reads - meter.starts).max(0);
            let running = SignedDuration::from_nanos(i64::try_from(total).unwrap_or(i64::MAX));
            (meter.running, meter.settled.saturating_add(running))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_written_is_written_with_the_next_read() {
        let (meters, at) = (Meters::default(), Timestamp::UNIX_EPOCH);
        assert!(meters.read_here("a", at, 1), "the first waits to write it");
        assert!(!meters.read_here("a", at, 2), "the second is written with it");
        let taken = meters.take("a");
        meters.put_back("a", taken);
        meters.written("a");
        assert!(meters.read_here("a", at, 3), "somebody waits again");
        assert_eq!(meters.take("a").own.len(), 3);
    }
}
