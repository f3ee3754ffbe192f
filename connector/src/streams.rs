//! The streams that run now, and the words that cut them or make them ask again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dataplane::Signal;
use tokio::sync::watch;

/// One switch for each transfer that is read.
#[derive(Debug, Default)]
pub struct Streams {
    switches: Mutex<HashMap<String, watch::Sender<Signal>>>,
}

impl Streams {
    /// To be watched while `transfer` is read.
    #[must_use]
    pub fn watch(&self, transfer: &str) -> watch::Receiver<Signal> {
        let mut switches = self.switches();
        switches.entry(transfer.to_owned()).or_insert_with(|| watch::channel(Signal::Run).0).subscribe()
    }

    /// Cuts every running read of `transfer`; later reads are the gate's to judge.
    pub fn cut(&self, transfer: &str, reason: &str) {
        let switch = self.switches().remove(transfer);
        if let Some(switch) = switch {
            switch.send_replace(Signal::Cut(reason.to_owned()));
        }
    }

    /// Cuts every running read.
    pub fn cut_all(&self, reason: &str) {
        for (_, switch) in self.switches().drain() {
            switch.send_replace(Signal::Cut(reason.to_owned()));
        }
    }

    /// Lets every running read of `transfer` ask the policy again.
    pub fn reconsider(&self, transfer: &str) {
        if let Some(switch) = self.switches().get(transfer) {
            // A switch that cut is not in the map any more.
            switch.send_replace(Signal::Run);
        }
    }

    /// Lets every running read ask its policy again.
    pub fn reconsider_all(&self) {
        for switch in self.switches().values() {
            switch.send_replace(Signal::Run);
        }
    }

    /// How many transfers are being read.
    #[must_use]
    pub fn running(&self) -> usize {
        self.switches().len()
    }

    /// The switches that somebody watches.
    fn switches(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Signal>>> {
        let mut switches = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
        switches.retain(|_, switch| switch.receiver_count() > 0);
        switches
    }
}
