//! Messages to others: what waits to be delivered, what was given up, and sending that again.

use std::sync::Arc;

use protocol::progress::{Act, Progress};
use protocol::{Failure, MessageId, RefusalKind};
use store::Batch;

use super::{Engine, EngineError};
use crate::clock;
use crate::outbox::Attempts;
use crate::tables::{self, Event, OutboxEntry, ProcessKind, UndeliveredRecord, prefix};

/// Most messages to one participant that are kept after they were given up.
const MAX_KEPT: usize = 1000;
/// Records read from the store at once.
const PAGE: usize = 500;

/// A message to another participant that it does not have, as far as this node knows.
#[derive(Debug)]
pub enum Delivery {
    /// It is being delivered; how that stands.
    Waiting(OutboxEntry, Attempts),
    /// It was given up, or refused.
    Undelivered(UndeliveredRecord),
}

impl Delivery {
    /// The message.
    #[must_use]
    pub const fn entry(&self) -> &OutboxEntry {
        match self {
            Self::Waiting(entry, _) => entry,
            Self::Undelivered(record) => &record.entry,
        }
    }
}

impl Engine {
    /// Refuses what would add a message to too many that wait for `peer`. The end of a process can always be told.
    pub(super) fn has_room_for(&self, peer: &str, path: &str) -> Result<(), EngineError> {
        if is_end(path) || !self.outbox.is_full_for(peer) {
            return Ok(());
        }
        let reason = format!(
            "too many messages wait for {peer} already, which does not take them (limits.waiting_per_peer); see \
             `concordat deliveries`"
        );
        Err(EngineError::refused(RefusalKind::Busy, reason))
    }

    /// The first message of a process that the operator ended, where the peer took nothing (`peer_pid`) and no attempt to
    /// deliver it is under way, and why it is given up.
    pub(super) fn unheard<A: Act>(
        &self,
        progress: &Progress<A>,
        peer_pid: Option<&str>,
    ) -> Option<(MessageId, Failure)> {
        let pending = progress.pending.as_ref().filter(|_| peer_pid.is_none())?;
        let reason = progress.ending.as_ref()?;
        let waits = !self.outbox.is_on_its_way(&pending.message);
        let failure = Failure { reason: format!("you ended it: {reason}"), refused: false };
        waits.then(|| (pending.message.clone(), failure))
    }

    /// How the delivery of the message that a process waits for stands, where it failed so far.
    pub fn failing_delivery<A: Act>(&self, progress: &Progress<A>) -> Option<Attempts> {
        let pending = progress.pending.as_ref()?;
        self.outbox.attempts(&pending.message).filter(|attempts| attempts.reason.is_some())
    }

    /// An attempt to deliver a message failed, and another is worth it. The first of them is told to whoever waits; a process
    /// that its operator ended meanwhile is over.
    pub(crate) async fn not_answered(self: &Arc<Self>, entry: &OutboxEntry) {
        let process = matches!(entry.kind, ProcessKind::Negotiation | ProcessKind::Transfer);
        let attempts =
            self.outbox.attempts(&entry.message.id).filter(|attempts| process && attempts.failed == 1);
        if let Some(reason) = attempts.and_then(|attempts| attempts.reason) {
            let text = format!(
                "{} has not taken a message of this node, which sends it again: {reason}",
                entry.peer
            );
            self.record(Event::new("delivery", clock::now(), text).about(&entry.pid).with(&entry.peer)).await;
        }
        let ended = match entry.kind {
            ProcessKind::Negotiation => self.end_unheard_negotiation(&entry.pid).await,
            ProcessKind::Transfer => self.end_unheard_transfer(&entry.pid).await,
            ProcessKind::Acceptance
            | ProcessKind::Agreement
            | ProcessKind::Callback
            | ProcessKind::Issuance
            | ProcessKind::Notice
            | ProcessKind::Statement => Ok(()),
        };
        if let Err(error) = ended {
            tracing::warn!(%error, pid = entry.pid, "a process that its operator ended still waits for its first message");
        }
    }

    /// Keeps a message that was given up or refused, so that it can be sent again. What only moved a process is not kept, for
    /// the process has ended since, nor is what a stranger would not hear.
    pub(super) fn set_down(
        &self,
        entry: &OutboxEntry,
        failure: &Failure,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        let counts = match entry.kind {
            // An end that the peer refuses is one that it knows of.
            ProcessKind::Negotiation => {
                is_end(&entry.message.path) && !failure.refused && self.is_known(&entry.peer)
            }
            ProcessKind::Transfer => is_end(&entry.message.path) && !failure.refused,
            ProcessKind::Acceptance
            | ProcessKind::Agreement
            | ProcessKind::Callback
            | ProcessKind::Issuance
            | ProcessKind::Notice
            | ProcessKind::Statement => true,
        };
        if !counts {
            return Ok(());
        }
        let all = tables::within(prefix::UNDELIVERED, &entry.peer);
        if self.store.scan(&all, None, MAX_KEPT)?.len() == MAX_KEPT {
            tracing::warn!(
                peer = entry.peer,
                message = %entry.message.id,
                "a message was given up and is not kept: {MAX_KEPT} to this participant are"
            );
            return Ok(());
        }
        let record = UndeliveredRecord {
            entry: entry.clone(),
            reason: failure.reason.clone(),
            refused: failure.refused,
            given_up_at: clock::now(),
        };
        tables::put(batch, tables::undelivered(entry), &record)?;
        Ok(())
    }

    /// A page of the messages that others do not have: first those that are being delivered, then those that were given up;
    /// beginning after the message `after` (an id as [`OutboxEntry::message`] has it), at most `limit`, to `peer` if that is
    /// given.
    ///
    /// # Errors
    /// The store failed, or there is no message `after`.
    pub fn undelivered(
        &self,
        peer: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Delivery>, EngineError> {
        let is_to = |entry: &OutboxEntry| peer.is_none_or(|peer| entry.peer == peer);
        let mut found = Vec::new();
        let given_up_after = match after {
            None => None,
            Some(id) if self.store.get(&tables::outbox(id))?.is_some() => None,
            Some(id) => Some(self.given_up(id)?.0),
        };
        if given_up_after.is_none() {
            let mut cursor = after.map(tables::outbox);
            while found.len() < limit {
                let page = tables::list::<OutboxEntry>(&self.store, prefix::OUTBOX, cursor.as_deref(), PAGE)?;
                let Some((last, _)) = page.last() else { break };
                cursor = Some(last.clone());
                for (_, entry) in page.into_iter().filter(|(_, entry)| is_to(entry)) {
                    let attempts = self.outbox.attempts(&entry.message.id).unwrap_or_default();
                    found.push(Delivery::Waiting(entry, attempts));
                }
            }
        }
        let within = peer
            .map_or_else(|| prefix::UNDELIVERED.to_owned(), |peer| tables::within(prefix::UNDELIVERED, peer));
        let mut cursor = given_up_after;
        while found.len() < limit {
            let page = tables::list::<UndeliveredRecord>(&self.store, &within, cursor.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            cursor = Some(last.clone());
            for (_, record) in page {
                // What was given up between the two looks does not wait.
                found.retain(|one| one.entry().message.id != record.entry.message.id);
                found.push(Delivery::Undelivered(record));
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Sends a message again that was given up.
    ///
    /// # Errors
    /// There is none with this id.
    pub async fn send_again(self: &Arc<Self>, id: &str) -> Result<(), EngineError> {
        let (key, record) = self.given_up(id)?;
        self.send_again_from(key, record).await
    }

    /// Sends everything again that was given up for `peer`; returns how many messages that is.
    ///
    /// # Errors
    /// The store failed.
    pub async fn send_all_again(self: &Arc<Self>, peer: &str) -> Result<usize, EngineError> {
        let within = tables::within(prefix::UNDELIVERED, peer);
        let mut all: Vec<(String, UndeliveredRecord)> = tables::list(&self.store, &within, None, MAX_KEPT)?;
        all.sort_by_key(|(_, record)| record.entry.since);
        let count = all.len();
        for (key, record) in all {
            self.send_again_from(key, record).await?;
        }
        Ok(count)
    }

    async fn send_again_from(
        self: &Arc<Self>,
        key: String,
        record: UndeliveredRecord,
    ) -> Result<(), EngineError> {
        let entry = record.entry;
        let mut batch = Batch::new();
        // Asked for twice at once, it is sent once.
        let version = self.store.get(&key)?.map(|found| found.version);
        batch.expect(key.clone(), Some(version.ok_or_else(|| unknown(entry.message.id.as_str()))?));
        batch.delete(key);
        tables::put(&mut batch, tables::outbox(entry.message.id.as_str()), &entry)?;
        let text = format!("a message to `{}` is sent again that was given up", entry.message.path);
        let event = Event::new(entry.kind.name(), clock::now(), text).about(&entry.pid).with(&entry.peer);
        tables::append_event(&mut batch, &event)?;
        self.commit(batch).await?;
        self.outbox.deliver(self, entry);
        Ok(())
    }

    /// Forgets a message that was given up.
    ///
    /// # Errors
    /// There is none with this id.
    pub async fn forget_undelivered(&self, id: &str) -> Result<(), EngineError> {
        let (key, record) = self.given_up(id)?;
        let entry = record.entry;
        let mut batch = Batch::new();
        batch.delete(key);
        let text = format!("a message to `{}` that was given up is not kept any more", entry.message.path);
        let event = Event::new(entry.kind.name(), clock::now(), text).about(&entry.pid).with(&entry.peer);
        tables::append_event(&mut batch, &event)?;
        self.commit(batch).await.map(|_| ())
    }

    /// The message that was given up with this id, with its key.
    fn given_up(&self, id: &str) -> Result<(String, UndeliveredRecord), EngineError> {
        let mut after: Option<String> = None;
        loop {
            let page =
                tables::list::<UndeliveredRecord>(&self.store, prefix::UNDELIVERED, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Err(unknown(id)) };
            after = Some(last.clone());
            if let Some(found) = page.into_iter().find(|(_, record)| record.entry.message.id.as_str() == id) {
                return Ok(found);
            }
        }
    }
}

fn unknown(id: &str) -> EngineError {
    EngineError::NotFound { kind: "message that was given up", id: id.to_owned() }
}

/// Whether a message ends a process.
fn is_end(path: &str) -> bool {
    path.ends_with("/termination")
}
