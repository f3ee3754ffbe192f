//! What the consumer's node measures of a read, where the agreement promises service levels.

use std::sync::Arc;
use std::time::Instant;

use governance::levels::{Measured, Side};
use http::{HeaderMap, HeaderName, StatusCode, header};
use jiff::Timestamp;

use super::{Unread, Wanted};
use crate::engine::{Engine, EngineError};
use crate::tasks::Held;
use crate::{clock, ids};

/// Header that names a read, so that both parties know which one they talk of.
pub const READ: HeaderName = HeaderName::from_static("concordat-read");

/// A read that is measured; what came out is recorded when it is dropped.
pub(super) struct Measuring {
    engine: Arc<Engine>,
    agreement: String,
    /// Its name.
    pub(super) id: String,
    at: Timestamp,
    began: Instant,
    first_byte: Option<u64>,
    bytes: u64,
    age: Option<u64>,
    is_probe: bool,
    /// `None` where it says nothing about the provider.
    ok: Option<bool>,
    held: Held,
}

impl Measuring {
    /// Measures a read under `agreement`, where reads under it are measured.
    pub(super) fn of(engine: &Arc<Engine>, agreement: &str, wanted: &Wanted) -> Option<Self> {
        // A checksum is made of all the data: for the provider it is a read.
        let digests = wanted.headers.contains_key(dataplane::WANT_REPR_DIGEST);
        let counts = wanted.is_probe || wanted.method != http::Method::HEAD || digests;
        (counts && engine.is_measured(agreement)).then(|| Self {
            engine: Arc::clone(engine),
            agreement: agreement.to_owned(),
            id: ids::urn(),
            at: clock::now(),
            began: Instant::now(),
            first_byte: None,
            bytes: 0,
            age: None,
            is_probe: wanted.is_probe,
            ok: None,
            held: engine.tasks().hold(),
        })
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The provider did not give it: its failure where it could not be reached, or has a fault.
    pub(super) fn failed(&mut self, unread: &Unread) {
        self.ok = match unread {
            Unread::Engine(EngineError::Peer(_)) => Some(false),
            Unread::Refused { status, .. } if status.is_server_error() => Some(false),
            // What the terms or the bounds do not allow is nobody's failure.
            Unread::Refused { .. } | Unread::Conflict(_) | Unread::Engine(_) => None,
        };
    }

    /// The provider answered.
    pub(super) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        // What cannot be had like that is not the provider's failure, nor is it a read.
        self.ok = (!status.is_client_error()).then_some(true);
        if self.is_probe || status == StatusCode::NOT_MODIFIED || headers.contains_key(dataplane::REPR_DIGEST)
        {
            self.first_byte = Some(self.elapsed());
        }
        let modified = headers.get(header::LAST_MODIFIED).and_then(|value| value.to_str().ok());
        let modified = modified.and_then(|text| httpdate::parse_http_date(text).ok());
        let modified = modified.and_then(|at| Timestamp::try_from(at).ok());
        self.age = modified.and_then(|at| u64::try_from(self.at.duration_since(at).as_secs().max(0)).ok());
    }

    /// Bytes came.
    pub(super) fn came(&mut self, bytes: usize) {
        if self.first_byte.is_none() {
            self.first_byte = Some(self.elapsed());
        }
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// It broke off on the provider's side, or on the way.
    pub(super) const fn broke(&mut self) {
        self.ok = Some(false);
    }

    /// It was ended by a party, as the terms allow.
    pub(super) const fn was_ended(&mut self) {
        self.ok = None;
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        let Some(ok) = self.ok else { return };
        let measured = Measured::Read {
            id: std::mem::take(&mut self.id),
            by: Side::Consumer,
            at: self.at.as_millisecond(),
            ok,
            first_byte: self.first_byte,
            took: self.elapsed(),
            bytes: self.bytes,
            rows: None,
            age: self.age,
            probe: self.is_probe,
        };
        let (engine, agreement) = (Arc::clone(&self.engine), std::mem::take(&mut self.agreement));
        self.held.carry_through(async move { engine.measure(&agreement, measured).await });
    }
}
