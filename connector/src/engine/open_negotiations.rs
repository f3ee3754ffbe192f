//! Negotiations that are open, so many with each participant at most: whoever begins them faster than they end loses its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::negotiation::Negotiation;
use protocol::{Failure, MessageId, RefusalKind};

use super::place::Place;
use super::{Engine, EngineError};

/// The open negotiations, by participant and our pid.
#[derive(Debug, Default)]
pub(super) struct OpenNegotiations(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    peers: HashMap<String, HashMap<String, Since>>,
    next: u64,
}

#[derive(Debug)]
struct Since {
    /// Counts up in the order in which they began.
    number: u64,
    /// A message of ours that the participant has not taken.
    untaken: Option<MessageId>,
}

impl Open {
    fn remove(&mut self, peer: &str, pid: &str) {
        if let Some(of_peer) = self.peers.get_mut(peer) {
            of_peer.remove(pid);
            if of_peer.is_empty() {
                self.peers.remove(peer);
            }
        }
    }
}

impl OpenNegotiations {
    /// Notes how a negotiation stands; `ending` where it is over or its end is on the way.
    pub(super) fn note(&self, negotiation: &Negotiation, ending: bool) {
        let (peer, pid) = (negotiation.peer.as_str(), negotiation.pid());
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = &mut *open;
        if ending || negotiation.progress.is_terminal() {
            return open.remove(peer, pid);
        }
        let untaken = negotiation.progress.pending.as_ref().map(|pending| pending.message.clone());
        let of_peer = open.peers.entry(peer.to_owned()).or_default();
        match of_peer.get_mut(pid) {
            Some(known) => known.untaken = untaken,
            None => {
                of_peer.insert(pid.to_owned(), Since { number: open.next, untaken });
                open.next += 1;
            }
        }
    }

    /// Puts another negotiation with `peer`, under our `pid`, on the list. If there are `most` already, the oldest whose message
    /// `peer` has not taken goes off the list for it, and is told. `Err` with how many there are, if it has taken all.
    fn begin(&self, peer: &str, pid: &str, most: usize) -> Result<Option<(String, MessageId)>, usize> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = &mut *open;
        let of_peer = open.peers.entry(peer.to_owned()).or_default();
        let mut gone = None;
        if of_peer.len() >= most {
            let untaken = of_peer.iter().filter(|(_, since)| since.untaken.is_some());
            let oldest = untaken.min_by_key(|(_, since)| since.number).map(|(pid, _)| pid.clone());
            gone = oldest.and_then(|pid| of_peer.remove(&pid).and_then(|since| Some((pid, since.untaken?))));
            if gone.is_none() {
                return Err(of_peer.len());
            }
        }
        of_peer.insert(pid.to_owned(), Since { number: open.next, untaken: None });
        open.next += 1;
        Ok(gone)
    }

    fn remove(&self, peer: &str, pid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(peer, pid);
    }
}

impl Engine {
    /// A place for one more negotiation with `peer`, under our `pid`: where there are as many as may be, those in flight among
    /// them, the oldest whose message it does not take is ended, as after a delivery that was given up.
    ///
    /// # Errors
    /// There are as many agreements with it as may be, or too many of those are open, and it has taken what this node sent it in all of them.
    pub(super) async fn place_for_negotiation(
        self: &Arc<Self>,
        peer: &str,
        new: &str,
    ) -> Result<Place<'_>, EngineError> {
        self.retention.has_room(peer)?;
        let most = usize::try_from(self.max_open_negotiations).unwrap_or(usize::MAX);
        let begun = self.open_negotiations.begin(peer, new, most);
        let oldest = begun.map_err(|open| {
            let reason =
                format!("{open} negotiations with you are open, which is the most; end some of them");
            EngineError::refused(RefusalKind::Busy, reason)
        })?;
        let (of, new) = (peer.to_owned(), new.to_owned());
        let place = Place::new(move || self.open_negotiations.remove(&of, &new));
        let Some((pid, message)) = oldest else { return Ok(place) };
        let reason = format!("given up: {most} negotiations with this participant were open");
        let failure = Failure { reason, refused: false };
        let mut untaken = Some(message);
        // The termination that follows would not be taken either; what it is, the participant sees when it asks.
        while let Some(message) = untaken {
            self.outbox.withdraw(&message);
            self.negotiation_given_up(&pid, message, failure.clone(), store::Batch::new()).await?;
            untaken = self.negotiation(&pid)?.negotiation.progress.pending.map(|pending| pending.message);
        }
        Ok(place)
    }
}
