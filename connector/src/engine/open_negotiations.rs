//! Negotiations that are open, so many with each participant at most: whoever begins them faster than they end loses its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::negotiation::Negotiation;
use protocol::{Failure, MessageId, RefusalKind};

use super::{Engine, EngineError};
use crate::tables::{self, NegotiationRecord, prefix};

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

impl OpenNegotiations {
    /// Notes how a negotiation stands; `ending` where it is over or its end is on the way.
    pub(super) fn note(&self, negotiation: &Negotiation, ending: bool) {
        let (peer, pid) = (negotiation.peer.as_str(), negotiation.pid());
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = &mut *open;
        if ending || negotiation.progress.is_terminal() {
            if let Some(of_peer) = open.peers.get_mut(peer) {
                of_peer.remove(pid);
                if of_peer.is_empty() {
                    open.peers.remove(peer);
                }
            }
            return;
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

    /// Takes the oldest negotiation with `peer` whose message it has not taken off the list, if there are `most` or more; each
    /// caller gets another. `Err` with how many there are, if it has taken all.
    fn make_room(&self, peer: &str, most: usize) -> Result<Option<(String, MessageId)>, usize> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of_peer) = open.peers.get_mut(peer).filter(|of_peer| of_peer.len() >= most) else {
            return Ok(None);
        };
        let count = of_peer.len();
        let untaken = of_peer.iter().filter(|(_, since)| since.untaken.is_some());
        let oldest = untaken.min_by_key(|(_, since)| since.number).map(|(pid, _)| pid.clone());
        let ended = oldest.and_then(|pid| of_peer.remove(&pid).and_then(|since| Some((pid, since.untaken?))));
        ended.map(Some).ok_or(count)
    }
}

impl Engine {
    /// Makes sure that one more negotiation with `peer` may be open: where there are as many as may be, the oldest whose
    /// message it does not take is ended, as after a delivery that was given up.
    ///
    /// # Errors
    /// There are too many, and it has taken what this node sent it in all of them.
    pub(super) async fn room_for_negotiation(self: &Arc<Self>, peer: &str) -> Result<(), EngineError> {
        let most = usize::try_from(self.max_open_negotiations).unwrap_or(usize::MAX);
        let (pid, message) = match self.open_negotiations.make_room(peer, most) {
            Ok(None) => return Ok(()),
            Ok(Some(oldest)) => oldest,
            Err(open) => {
                let reason =
                    format!("{open} negotiations with you are open, which is the most; end some of them");
                return Err(EngineError::refused(RefusalKind::TooMuch, reason));
            }
        };
        let reason = format!("given up: {most} negotiations with this participant were open");
        let failure = Failure { reason, refused: false };
        let mut untaken = Some(message);
        // The termination that follows would not be taken either; what it is, the participant sees when it asks.
        while let Some(message) = untaken {
            self.outbox.withdraw(&message);
            self.negotiation_given_up(&pid, message, failure.clone(), store::Batch::new()).await?;
            untaken = self.negotiation(&pid)?.negotiation.progress.pending.map(|pending| pending.message);
        }
        Ok(())
    }

    /// Counts the negotiations that are open.
    pub(super) fn load_open_negotiations(&self) -> Result<(), EngineError> {
        let mut after: Option<String> = None;
        loop {
            let page =
                tables::list::<NegotiationRecord>(&self.store, prefix::NEGOTIATION, after.as_deref(), 500)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (_, record) in page {
                let ending = super::negotiations::is_ending(&record.negotiation);
                self.open_negotiations.note(&record.negotiation, ending);
            }
        }
    }
}
