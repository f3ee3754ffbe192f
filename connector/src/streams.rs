//! The streams that run now, and the word that cuts them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// One switch for each transfer that is read.
#[derive(Debug, Default)]
pub struct Streams {
    switches: Mutex<HashMap<String, watch::Sender<Option<String>>>>,
}

impl Streams {
    /// To be watched while `transfer` is read; it carries the reason once the reader must stop.
    #[must_use]
    pub fn watch(&self, transfer: &str) -> watch::Receiver<Option<String>> {
        let mut switches = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
        switches.retain(|_, switch| switch.receiver_count() > 0);
        switches.entry(transfer.to_owned()).or_insert_with(|| watch::channel(None).0).subscribe()
    }

    /// Cuts every running read of `transfer`; later reads are the gate's to judge.
    pub fn cut(&self, transfer: &str, reason: &str) {
        let switch = self.switches.lock().unwrap_or_else(PoisonError::into_inner).remove(transfer);
        if let Some(switch) = switch {
            switch.send_replace(Some(reason.to_owned()));
        }
    }

    /// How many transfers are being read.
    #[must_use]
    pub fn running(&self) -> usize {
        let mut switches = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
        switches.retain(|_, switch| switch.receiver_count() > 0);
        switches.len()
    }
}
