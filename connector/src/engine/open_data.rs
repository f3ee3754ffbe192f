//! Open data: what everybody may read without an agreement, within bounds, and counted.

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
use crate::tables::{self, OpenUse, prefix};

/// Most reads at once.
const AT_ONCE: usize = 64;
/// Most reads begun in a minute.
const A_MINUTE: u32 = 600;

/// What is being read, and how much was begun.
#[derive(Debug)]
pub(super) struct OpenReads {
    permits: Arc<Semaphore>,
    /// The minute, and how many reads began in it.
    begun: Mutex<(i64, u32)>,
}

impl Default for OpenReads {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)), begun: Mutex::default() }
    }
}

impl OpenReads {
    fn begin(&self, now: Timestamp) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let minute = now.as_second() / 60;
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.0 != minute {
            *begun = (minute, 0);
        }
        begun.1 += 1;
        (begun.1 <= A_MINUTE).then_some(permit)
    }
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
    pub permit: OwnedSemaphorePermit,
}

/// A read that is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenDenial {
    /// Too many read, or have begun to.
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
    /// Lets a read of open data through, in the form `distribution` where one is named.
    ///
    /// # Errors
    /// See [`OpenDenial`].
    pub fn admit_open(&self, id: &str, distribution: Option<&str>) -> Result<OpenAdmission, OpenDenial> {
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
        let permit = self.open_reads.begin(now).ok_or(OpenDenial::Busy)?;
        let judge = StillOpen { offered: Arc::clone(&self.offered), id: id.to_owned() };
        let grant = Grant::decide(Arc::new(judge), now).map_err(|_| OpenDenial::Unknown)?;
        Ok(OpenAdmission {
            grant,
            data_address,
            media_type: catalog::Description::from_properties(&asset.properties).media_type_of(distribution),
            signal,
            permit,
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
    fn reads_have_bounds_at_once_and_in_a_minute() {
        let reads = OpenReads::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let held: Vec<_> = (0..AT_ONCE).map(|_| reads.begin(at(60)).unwrap()).collect();
        assert!(reads.begin(at(60)).is_none(), "so many at once");
        drop(held);
        let begun = (0..A_MINUTE).filter(|_| reads.begin(at(61)).is_some()).count();
        assert_eq!(begun, usize::try_from(A_MINUTE).unwrap() - AT_ONCE);
        assert!(reads.begin(at(119)).is_none() && reads.begin(at(120)).is_some(), "a new minute");
    }
}
