//! Transfers that are open, so many at most for each participant that asks for them.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::transfer::Transfer;
use protocol::{RefusalKind, Role};

use super::place::Place;
use super::{Engine, EngineError};

/// The open transfers that participants asked for, by participant and our pid.
#[derive(Debug, Default)]
pub(super) struct OpenTransfers(Mutex<HashMap<String, HashSet<String>>>);

impl OpenTransfers {
    /// Notes how a transfer stands.
    pub(super) fn note(&self, transfer: &Transfer) {
        if transfer.role != Role::Provider {
            return;
        }
        let (peer, pid) = (transfer.peer.as_str(), transfer.pid());
        if super::transfers::is_over(transfer) {
            remove(&mut self.open(), peer, pid);
        } else {
            self.open().entry(peer.to_owned()).or_default().insert(pid.to_owned());
        }
    }

    /// A place for another of `peer`, under our `pid`; it is given back unless it is kept. `None` where `most` are open.
    pub(super) fn place(&self, peer: &str, pid: &str, most: usize) -> Option<Place<'_>> {
        let mut open = self.open();
        let of_peer = open.entry(peer.to_owned()).or_default();
        if of_peer.len() >= most {
            return None;
        }
        of_peer.insert(pid.to_owned());
        let (peer, pid) = (peer.to_owned(), pid.to_owned());
        Some(Place::new(move || remove(&mut self.open(), &peer, &pid)))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, HashSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(open: &mut HashMap<String, HashSet<String>>, peer: &str, pid: &str) {
    if let Some(of_peer) = open.get_mut(peer) {
        of_peer.remove(pid);
        if of_peer.is_empty() {
            open.remove(peer);
        }
    }
}

impl Engine {
    /// A place for a transfer that `peer` asks for.
    ///
    /// # Errors
    /// It has as many open as it may.
    pub(super) fn place_for_transfer(&self, peer: &str, pid: &str) -> Result<Place<'_>, EngineError> {
        let most = usize::try_from(self.max_open_transfers).unwrap_or(usize::MAX);
        self.open_transfers.place(peer, pid, most).ok_or_else(|| {
            let reason = format!(
                "{most} transfers that you asked for are open, which is the most (limits.open_transfers); complete or \
                 terminate some of them, or read again under one that runs"
            );
            EngineError::refused(RefusalKind::Busy, reason)
        })
    }
}
