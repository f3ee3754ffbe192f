//! How much this node reads under an agreement, as its consumer.

use std::sync::Arc;

use http::{Method, StatusCode};
use jiff::Timestamp;

use super::Wanted;
use crate::clock;
use crate::engine::Engine;
use crate::tasks::Held;

/// A read that is counted when it is dropped.
pub(super) struct Counting {
    engine: Arc<Engine>,
    agreement: String,
    at: Timestamp,
    bytes: u64,
    held: Held,
}

impl Counting {
    /// Counts a read that the provider answered with `status`; `None` for what it does not count either.
    pub(super) fn of(
        engine: &Arc<Engine>,
        agreement: &str,
        wanted: &Wanted,
        status: StatusCode,
    ) -> Option<Self> {
        // A checksum is made of all the data: for the provider it is a read.
        let digests = wanted.headers.contains_key(dataplane::WANT_REPR_DIGEST);
        let counts = !wanted.is_probe && (wanted.method != Method::HEAD || digests);
        (counts && !status.is_client_error()).then(|| Self {
            engine: Arc::clone(engine),
            agreement: agreement.to_owned(),
            at: clock::now(),
            bytes: 0,
            held: engine.tasks().hold(),
        })
    }

    /// Whether no byte came.
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// It is no read.
    pub(super) fn forget(mut self) {
        self.agreement.clear();
    }

    /// Bytes came.
    pub(super) fn came(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let (engine, agreement) = (Arc::clone(&self.engine), std::mem::take(&mut self.agreement));
        if agreement.is_empty() {
            return;
        }
        let (at, bytes) = (self.at, self.bytes);
        self.held.carry_through(async move { engine.count_own_read(&agreement, at, bytes).await });
    }
}
