//! What is kept of each participant, so that none can store without bound: so many agreements, and of the processes that are
//! over and that nothing rests on so many, the newest. Those of participants that this node does not know count together. What
//! came of the others is in the audit log.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use protocol::negotiation::Negotiation;
use protocol::{Refusal, RefusalKind};
use store::{Batch, StoreError};

use super::{Engine, EngineError};
use crate::clock;
use crate::config::Bounds;
use crate::tables::{self, Event, NegotiationRecord, ProcessKind, TransferRecord, prefix};

/// Most that go with one that ends, so that a lower bound is reached in steps.
const AT_ONCE: usize = 64;

type Process = (ProcessKind, String);

/// What is kept, and how much of it may be.
#[derive(Debug)]
pub(super) struct Retention {
    /// What is over, by participant, the oldest first; under no name what strangers began.
    over: Mutex<HashMap<String, VecDeque<Process>>>,
    most_over: usize,
    /// How many agreements there are with each.
    agreements: Mutex<HashMap<String, u32>>,
    most_agreements: u32,
}

impl Retention {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            over: Mutex::default(),
            most_over: usize::try_from(bounds.ended_per_peer).unwrap_or(usize::MAX),
            agreements: Mutex::default(),
            most_agreements: bounds.agreements_per_peer,
        }
    }

    /// Another process is over; those that go for it, if there are more than `most`.
    fn add(&self, whose: &str, process: Process, most: usize) -> Vec<Process> {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = over.entry(whose.to_owned()).or_default();
        of_peer.push_back(process);
        let surplus = of_peer.len().saturating_sub(most).min(AT_ONCE);
        of_peer.drain(..surplus).collect()
    }

    /// There is another agreement with `peer`.
    pub(super) fn agreed(&self, peer: &str) {
        let mut agreements = self.agreements.lock().unwrap_or_else(PoisonError::into_inner);
        *agreements.entry(peer.to_owned()).or_default() += 1;
    }

    /// Whether `peer` may ask for another agreement.
    ///
    /// # Errors
    /// So many are kept already.
    pub(super) fn has_room(&self, peer: &str) -> Result<(), Refusal> {
        let agreements = self.agreements.lock().unwrap_or_else(PoisonError::into_inner);
        let most = self.most_agreements;
        if agreements.get(peer).is_none_or(|count| *count < most) {
            return Ok(());
        }
        let reason = format!(
            "{most} agreements with you are kept here, which is the most (limits.agreements_per_peer of this node); use one \
             of them, or ask its operator for more"
        );
        Err(Refusal::new(RefusalKind::TooMuch, reason))
    }
}

impl Engine {
    /// Whether nothing rests on a negotiation any more.
    pub(super) fn rests_on_nothing(&self, negotiation: &Negotiation) -> Result<bool, StoreError> {
        if !negotiation.progress.is_terminal() || negotiation.progress.pending.is_some() {
            return Ok(false);
        }
        let Some(agreement) = &negotiation.agreement else { return Ok(true) };
        Ok(self.store.get(&tables::key(prefix::AGREEMENT, agreement.id().as_str()))?.is_none())
    }

    fn whose(&self, peer: &str) -> String {
        if self.is_known(peer) { peer.to_owned() } else { String::new() }
    }

    /// A process with `peer` is over once `batch` is written: what goes for it is written with it.
    pub(super) fn another_ended(
        &self,
        kind: ProcessKind,
        pid: &str,
        peer: &str,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let most = self.retention.most_over;
        for (kind, pid) in self.retention.add(&self.whose(peer), (kind, pid.to_owned()), most) {
            match kind {
                ProcessKind::Transfer => self.drop_transfer(&pid, batch)?,
                _ => self.drop_negotiation(&pid, batch)?,
            }
        }
        Ok(())
    }

    /// Removes a negotiation that ended without an agreement, for the operator.
    ///
    /// # Errors
    /// There is none, it goes on, or an agreement rests on it.
    pub async fn remove_negotiation(&self, pid: &str) -> Result<(), EngineError> {
        let negotiation = self.negotiation(pid)?.negotiation;
        if !self.rests_on_nothing(&negotiation)? {
            let reason = match negotiation.progress.is_terminal() && negotiation.progress.pending.is_none() {
                false => format!("the negotiation `{pid}` goes on; terminate it first"),
                true => format!("an agreement rests on the negotiation `{pid}`, which proves it"),
            };
            return Err(EngineError::refused(RefusalKind::Disagreement, reason));
        }
        let mut batch = Batch::new();
        self.drop_negotiation(pid, &mut batch)?;
        let event = Event::new("negotiation", clock::now(), "it was removed by the operator").about(pid);
        tables::append_event(&mut batch, &event.with(negotiation.peer.as_str()))?;
        self.commit(batch).await.map(|_| ())
    }

    fn drop_negotiation(&self, pid: &str, batch: &mut Batch) -> Result<(), StoreError> {
        let key = tables::key(prefix::NEGOTIATION, pid);
        let Some((record, version)) = tables::load::<NegotiationRecord>(&self.store, &key)? else {
            return Ok(());
        };
        let negotiation = record.negotiation;
        batch.expect(key.clone(), Some(version));
        batch.delete(key);
        if let Some(theirs) = negotiation.peer_pid() {
            batch.delete(tables::peer_process(ProcessKind::Negotiation, negotiation.peer.as_str(), theirs));
        }
        for (key, _) in self.store.scan(&tables::within(prefix::MESSAGE, pid), None, usize::MAX)? {
            batch.delete(key);
        }
        Ok(())
    }

    fn drop_transfer(&self, pid: &str, batch: &mut Batch) -> Result<(), StoreError> {
        let key = tables::key(prefix::TRANSFER, pid);
        let Some((record, version)) = tables::load::<TransferRecord>(&self.store, &key)? else {
            return Ok(());
        };
        let transfer = record.transfer;
        batch.expect(key.clone(), Some(version));
        batch.delete(key);
        if let Some(theirs) = transfer.peer_pid() {
            batch.delete(tables::peer_process(ProcessKind::Transfer, transfer.peer.as_str(), theirs));
        }
        let agreement = transfer.agreement.as_str();
        batch.delete(format!("{}{pid}", tables::transfers_of(agreement)));
        tables::put(batch, tables::key(prefix::TRANSFERS_DROPPED, agreement), &())
    }

    /// Counts what there is: open processes, those that are over, and agreements.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn count_processes(&self) -> Result<(), EngineError> {
        self.each_agreement(|record| {
            self.retention.agreed(&record.peer);
            if record.end().is_none() {
                self.is_partner(&record.peer);
            }
            Ok(())
        })?;
        let mut over: Vec<(Timestamp, String, Process)> = Vec::new();
        tables::each(&self.store, prefix::NEGOTIATION, |_, record: NegotiationRecord| {
            let negotiation = &record.negotiation;
            self.open_negotiations.note(negotiation, super::negotiations::is_ending(negotiation));
            if self.rests_on_nothing(negotiation)? {
                let process = (ProcessKind::Negotiation, negotiation.pid().to_owned());
                over.push((negotiation.progress.updated, self.whose(negotiation.peer.as_str()), process));
            }
            Ok::<_, EngineError>(())
        })?;
        tables::each(&self.store, prefix::TRANSFER, |_, record: TransferRecord| {
            let transfer = &record.transfer;
            self.open_transfers.note(transfer);
            if super::transfers::is_over(transfer) {
                let process = (ProcessKind::Transfer, transfer.pid().to_owned());
                over.push((transfer.progress.updated, self.whose(transfer.peer.as_str()), process));
            }
            Ok::<_, EngineError>(())
        })?;
        over.sort_by_key(|(at, ..)| *at);
        for (_, whose, process) in over {
            self.retention.add(&whose, process, usize::MAX);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_a_participant_go_first() {
        let ended = Retention::new(&Bounds { agreements_per_peer: 2, ..Bounds::default() });
        let one = |pid: usize| (ProcessKind::Transfer, pid.to_string());
        for pid in 0..10 {
            assert!(ended.add("a", one(pid), 10).is_empty());
        }
        assert_eq!(ended.add("a", one(10), 10), [one(0)]);
        assert!(ended.add("b", one(11), 10).is_empty());
        assert_eq!(ended.add("a", one(12), 5), (1..7).map(one).collect::<Vec<_>>());
    }

    #[test]
    fn there_are_so_many_agreements() {
        let kept = Retention::new(&Bounds { agreements_per_peer: 2, ..Bounds::default() });
        kept.agreed("a");
        kept.agreed("b");
        assert!(kept.has_room("a").is_ok());
        kept.agreed("a");
        assert_eq!(kept.has_room("a").unwrap_err().kind, RefusalKind::TooMuch);
        assert!(kept.has_room("b").is_ok() && kept.has_room("c").is_ok());
    }
}
