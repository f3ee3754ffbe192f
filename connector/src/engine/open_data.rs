//! Open data: what everybody may read without an agreement, within bounds, and counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use dataplane::{Grant, Judge, Obligations, Signal};
use jiff::Timestamp;
use policy_engine::{Decision, Outcome, Reason};
use serde_json::{Map, Value as Json};
use store::Batch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::catalog::Offered;
use super::{Engine, EngineError};
use crate::clock;
use crate::config::Bounds;
use crate::shares::{Shares, places, whose};
use crate::tables::{self, OpenUse, prefix};

/// What is being read, and how much was begun.
#[derive(Debug)]
pub(super) struct OpenReads {
    all: Arc<Semaphore>,
    addresses: Shares<IpAddr>,
    bounds: Bounds,
    begun: Mutex<Begun>,
}

/// The reads that were begun in a minute.
#[derive(Debug, Default)]
struct Begun {
    minute: i64,
    all: u32,
    /// By the address that began them.
    each: HashMap<IpAddr, u32>,
}

/// Which bound is used up, and when to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// What cannot be had.
    pub bound: Bound,
    /// After so many seconds.
    pub seconds: u32,
}

/// A bound of open data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// `limits.open_reads`
    AtOnce,
    /// `limits.open_reads_per_address`
    AtOnceByAddress,
    /// `limits.all_open_reads_per_minute`
    InMinute,
    /// `limits.open_reads_per_minute`
    InMinuteByAddress,
}

impl Bound {
    /// Why a read has to wait, for whoever wanted it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::AtOnce => "too many read open data here at this moment",
            Self::AtOnceByAddress => {
                "your address reads as much open data at once as one address may; end a read before the next one"
            }
            Self::InMinute => "more reads of open data began in this minute than this node takes",
            Self::InMinuteByAddress => {
                "your address began as many reads of open data in this minute as one address may"
            }
        }
    }
}

/// Seconds after which a place may be free again.
const PLACE_SOON: u32 = 5;

impl OpenReads {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            all: places(bounds.open_reads),
            addresses: Shares::new(bounds.open_reads_per_address),
            bounds: *bounds,
            begun: Mutex::default(),
        }
    }

    fn begin(&self, from: IpAddr, now: Timestamp) -> Result<OpenRead, Busy> {
        let from = whose(from);
        let soon = |bound: Bound| move |_| Busy { bound, seconds: PLACE_SOON };
        let own = self.addresses.of(from).try_acquire_owned().map_err(soon(Bound::AtOnceByAddress))?;
        let all = Arc::clone(&self.all).try_acquire_owned().map_err(soon(Bound::AtOnce))?;
        let minute = now.as_second().div_euclid(60);
        let left = u32::try_from(60 - now.as_second().rem_euclid(60)).unwrap_or(60);
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.minute != minute {
            *begun = Begun { minute, ..Begun::default() };
        }
        // Before anything is remembered of an address: so many are never more than all together may be.
        if begun.all >= self.bounds.all_open_reads_per_minute {
            return Err(Busy { bound: Bound::InMinute, seconds: left });
        }
        let count = begun.each.entry(from).or_default();
        if *count >= self.bounds.open_reads_per_minute {
            return Err(Busy { bound: Bound::InMinuteByAddress, seconds: left });
        }
        *count += 1;
        begun.all += 1;
        Ok(OpenRead { _places: (own, all) })
    }
}

/// The places of a read, until it is dropped.
#[derive(Debug)]
pub struct OpenRead {
    _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// A read that is let through.
#[derive(Debug)]
pub struct OpenAdmission {
    /// The permission.
    pub grant: Grant,
    /// Where the data is.
    pub data_address: Map<String, Json>,
    /// What the data is, if its owner said so.
    pub media_type: Option<String>,
    /// Tells when to ask again.
    pub signal: watch::Receiver<Signal>,
    /// Held while it is read.
    pub place: OpenRead,
}

/// A read that is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenDenial {
    /// Too many read, or too often.
    Busy(Busy),
    /// No such dataset, or not an open one: the same answer for both.
    Unknown,
}

/// Permits as long as the dataset is open.
#[derive(Debug)]
struct StillOpen {
    offered: Arc<Offered>,
    id: String,
}

impl Judge for StillOpen {
    fn obligations(&self, _decision: &Decision) -> Obligations {
        Obligations::default()
    }

    fn judge(&self, _: Timestamp) -> Decision {
        let open = self.offered.read().is_open(&self.id);
        let (outcome, text) = match open {
            true => (Outcome::Permit, "everybody may read it"),
            false => (Outcome::Deny, "the dataset is not open any more"),
        };
        let reasons = vec![Reason { rule: String::new(), text: text.to_owned() }];
        Decision { outcome, reasons, duties: Vec::new(), ask_again: None, depends_on: Vec::new() }
    }
}

impl Engine {
    /// Lets a read of open data by the address `from` through, in the form `distribution` where one is named.
    ///
    /// # Errors
    /// See [`OpenDenial`].
    pub fn admit_open(
        &self,
        from: IpAddr,
        id: &str,
        distribution: Option<&str>,
    ) -> Result<OpenAdmission, OpenDenial> {
        let now = clock::now();
        // Watching before asking: a withdrawal from here on is not missed.
        let signal = self.streams.watch(&stream(id));
        let is_open = self.offered.read().is_open(id);
        let asset = self.asset(id).ok().flatten().filter(|_| is_open).ok_or(OpenDenial::Unknown)?;
        // Data about persons is never for everybody.
        if asset.properties.contains_key(governance::personal::PROPERTY) {
            return Err(OpenDenial::Unknown);
        }
        let data_address = asset.address_of(distribution).ok_or(OpenDenial::Unknown)?.clone();
        let place = self.open_reads.begin(from, now).map_err(OpenDenial::Busy)?;
        let judge = StillOpen { offered: Arc::clone(&self.offered), id: id.to_owned() };
        let grant = Grant::decide(Arc::new(judge), now).map_err(|_| OpenDenial::Unknown)?;
        Ok(OpenAdmission {
            grant,
            data_address,
            media_type: catalog::Description::from_properties(&asset.properties).media_type_of(distribution),
            signal,
            place,
        })
    }

    /// Lets running reads of the open dataset `id` ask whether it still is one.
    pub(super) fn reconsider_open(&self, id: &str) {
        self.streams.reconsider(&stream(id));
    }

    /// Counts a read of open data.
    pub async fn count_open(&self, id: &str, bytes: u64) {
        let counted = async {
            let key = tables::key(prefix::OPEN_USE, &trust::did::segment(id));
            let _lock = self.locks.lock(&key).await;
            let found = tables::load::<OpenUse>(&self.store, &key)?;
            let version = found.as_ref().map(|(_, version)| *version);
            let before = found
                .map_or_else(|| OpenUse { dataset: id.to_owned(), ..OpenUse::default() }, |(one, _)| one);
            let usage = OpenUse {
                reads: before.reads.saturating_add(1),
                bytes: before.bytes.saturating_add(bytes),
                last: Some(clock::now()),
                ..before
            };
            let mut batch = Batch::new();
            batch.expect(key.clone(), version);
            tables::put(&mut batch, key.clone(), &usage)?;
            self.commit(batch).await.map(|_| ())
        };
        if let Err(error) = counted.await {
            tracing::error!(%error, id, "a read of open data was not counted");
        }
    }

    /// How often open datasets were read.
    ///
    /// # Errors
    /// The store failed.
    pub fn open_uses(&self) -> Result<Vec<OpenUse>, EngineError> {
        Ok(tables::all(&self.store, prefix::OPEN_USE)?)
    }
}

/// The name of an open dataset's reads among the streams; no transfer has it.
fn stream(id: &str) -> String {
    format!("open/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_have_bounds_at_once_in_total_and_for_each_address_and_in_a_minute() {
        let bounds = Bounds {
            open_reads: 3,
            open_reads_per_address: 2,
            open_reads_per_minute: 5,
            all_open_reads_per_minute: 8,
            ..Bounds::default()
        };
        let reads = OpenReads::new(&bounds);
        let begin = |address: &str, second| {
            reads.begin(address.parse().unwrap(), Timestamp::from_second(second).unwrap())
        };
        let why = |read: Result<OpenRead, Busy>| read.err().map(|busy| (busy.bound, busy.seconds));
        let held = [begin("192.0.2.1", 60).unwrap(), begin("192.0.2.1", 60).unwrap()];
        assert_eq!(why(begin("192.0.2.1", 60)), Some((Bound::AtOnceByAddress, PLACE_SOON)));
        let other = begin("192.0.2.2", 60).unwrap();
        assert_eq!(why(begin("192.0.2.3", 60)), Some((Bound::AtOnce, PLACE_SOON)));
        drop((held, other));
        let begun = (0..9).filter(|_| begin("192.0.2.1", 61).is_ok()).count();
        assert_eq!(begun, 3, "five in the minute with the two before");
        assert_eq!(why(begin("192.0.2.1", 61)), Some((Bound::InMinuteByAddress, 59)));
        assert!(begin("192.0.2.2", 61).is_ok() && begin("192.0.2.4", 61).is_ok(), "each address for itself");
        assert_eq!(why(begin("192.0.2.5", 90)), Some((Bound::InMinute, 30)), "eight of all together");
        assert!(begin("192.0.2.1", 119).is_err() && begin("192.0.2.1", 120).is_ok(), "a new minute");
    }
}
