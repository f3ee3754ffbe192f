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
    /// Most reads that an address begins in a minute.
    a_minute: u32,
    /// The minute, and how many reads each address began in it.
    begun: Mutex<(i64, HashMap<IpAddr, u32>)>,
}

impl OpenReads {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            all: places(bounds.open_reads),
            addresses: Shares::new(bounds.open_reads_per_address),
            a_minute: bounds.open_reads_per_minute,
            begun: Mutex::default(),
        }
    }

    fn begin(&self, from: IpAddr, now: Timestamp) -> Option<OpenRead> {
        let from = whose(from);
        let own = self.addresses.of(from).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let minute = now.as_second() / 60;
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.0 != minute {
            *begun = (minute, HashMap::new());
        }
        let count = begun.1.entry(from).or_default();
        *count = count.saturating_add(1);
        (*count <= self.a_minute).then_some(OpenRead { _places: (own, all) })
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
    /// Too many read, or too many of that address, or it has begun too often.
    Busy,
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
        let place = self.open_reads.begin(from, now).ok_or(OpenDenial::Busy)?;
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
            ..Bounds::default()
        };
        let reads = OpenReads::new(&bounds);
        let begin = |address: &str, second| {
            reads.begin(address.parse().unwrap(), Timestamp::from_second(second).unwrap())
        };
        let held = [begin("192.0.2.1", 60).unwrap(), begin("192.0.2.1", 60).unwrap()];
        assert!(begin("192.0.2.1", 60).is_none(), "so many of one address");
        let other = begin("192.0.2.2", 60).unwrap();
        assert!(begin("192.0.2.3", 60).is_none(), "so many at once");
        drop((held, other));
        let begun = (0..9).filter(|_| begin("192.0.2.1", 61).is_some()).count();
        assert_eq!(begun, 3, "five in the minute with the two before");
        assert!(begin("192.0.2.2", 61).is_some(), "each address for itself");
        assert!(begin("192.0.2.1", 119).is_none() && begin("192.0.2.1", 120).is_some(), "a new minute");
    }
}
