//! Signed statements about an agreement, from one party to the other: kept at both, under the same ids, as evidence.

use std::sync::Arc;

use governance::notice;
use jiff::Timestamp;
use protocol::{Failure, Outgoing, RefusalKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use store::Batch;
use trust::Statement;
use trust::statement::Claimed;

use super::{Engine, EngineError};
use crate::tables::{
    self, AgreementRecord, Event, OutboxEntry, Page, ProcessKind, StatementRecord, Told, prefix,
};
use crate::{clock, ids};

/// Longest statement, in bytes.
const MAX_STATEMENT: usize = 512 * 1024;

/// A statement as it is sent: `POST {base}/agreements/{id}/statements`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatementMessage {
    /// The compact JWS.
    pub statement: String,
}

/// What a statement is about, before it is made.
#[derive(Debug)]
pub(super) struct Made {
    /// Its `typ`.
    pub kind: &'static str,
    /// What is stated.
    pub stated: Json,
    /// Which statement it answers.
    pub answers: Option<String>,
    /// By when it must be answered.
    pub due: Option<Timestamp>,
    /// For the audit log; names nobody.
    pub text: String,
}

/// How much is stated about an agreement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Stated {
    /// How many statements there are; as older releases wrote it.
    Count(u64),
    /// The same with the size of those that were written since.
    Sums {
        /// How many there are.
        count: u64,
        /// The bytes of their records.
        bytes: u64,
    },
}

impl Stated {
    const fn sums(self) -> (u64, u64) {
        match self {
            Self::Count(count) => (count, 0),
            Self::Sums { count, bytes } => (count, bytes),
        }
    }
}

/// The room for further statements about an agreement; its lock is held.
struct Room {
    key: String,
    version: Option<u64>,
    count: u64,
    bytes: u64,
}

impl Room {
    /// What was added counts once `batch` is written.
    fn take(self, batch: &mut Batch) -> Result<(), EngineError> {
        batch.expect(self.key.clone(), self.version);
        let stated = Stated::Sums { count: self.count, bytes: self.bytes };
        Ok(tables::put(batch, self.key, &stated)?)
    }
}

impl Engine {
    fn room_for_statements(&self, agreement: &str) -> Result<Room, EngineError> {
        let key = tables::key(prefix::STATEMENTS, agreement);
        let found = tables::load::<Stated>(&self.store, &key)?;
        let (stated, version) =
            found.map_or((Stated::Count(0), None), |(stated, version)| (stated, Some(version)));
        let (count, bytes) = stated.sums();
        Ok(Room { key, version, count, bytes })
    }

    /// Signs a statement of this node for the other party of an agreement, records it with what else is in `batch`, and
    /// sends it.
    ///
    /// # Errors
    /// The key could not sign, or the store failed.
    pub(super) async fn state(
        self: &Arc<Self>,
        record: &AgreementRecord,
        made: Made,
        batch: Batch,
    ) -> Result<(), EngineError> {
        self.state_all(record, vec![made], batch).await
    }

    /// As [`Self::state`], for several: all of them are recorded in one commit, or none.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn state_all(
        self: &Arc<Self>,
        record: &AgreementRecord,
        all: Vec<Made>,
        mut batch: Batch,
    ) -> Result<(), EngineError> {
        let agreement = record.agreement.id().to_string();
        let _lock = self.locks.lock(&tables::key(prefix::STATEMENTS, &agreement)).await;
        let now = clock::now();
        let mut entries = Vec::new();
        let mut room = self.room_for_statements(&agreement)?;
        for made in all {
            let statement = Statement {
                by: self.did().to_owned(),
                to: record.peer.clone(),
                id: ids::urn(),
                // As it is signed, so that both keep the same.
                at: Timestamp::from_second(now.as_second()).unwrap_or(now),
                stated: made.stated,
            };
            let compact = self.identity.sign_statement(&statement, made.kind)?;
            let kept = StatementRecord {
                id: statement.id.clone(),
                kind: made.kind.to_owned(),
                agreement: agreement.clone(),
                by: statement.by,
                at: statement.at,
                recorded_at: now,
                answers: made.answers,
                due: made.due,
                told: Told::Pending,
                sealed: String::new(),
            };
            self.keep_statement(kept, &compact, &made.text, &record.peer, &mut room, &mut batch)?;
            let entry = OutboxEntry {
                kind: ProcessKind::Statement,
                pid: agreement.clone(),
                peer: record.peer.clone(),
                address: record.peer_address.clone(),
                message: Outgoing {
                    id: protocol::MessageId::new(statement.id),
                    path: format!("agreements/{}/statements", trust::did::segment(&agreement)),
                    body: json!(StatementMessage { statement: compact }),
                },
                since: now,
            };
            tables::put(&mut batch, tables::outbox(entry.message.id.as_str()), &entry)?;
            entries.push(entry);
        }
        room.take(&mut batch)?;
        self.commit(batch).await?;
        for entry in entries {
            self.outbox.deliver(self, entry);
        }
        Ok(())
    }

    /// Puts a statement into a batch; its text is sealed, for it may be about a person.
    fn keep_statement(
        &self,
        record: StatementRecord,
        compact: &str,
        text: &str,
        peer: &str,
        room: &mut Room,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        let key = tables::statement(&record.agreement, &record.id);
        let record = StatementRecord { sealed: self.vault.seal(&key, compact)?, ..record };
        let bytes = tables::encode(&key, &record)?;
        room.count += 1;
        room.bytes += u64::try_from(bytes.len() + key.len()).unwrap_or(u64::MAX);
        let megabytes = self.statements_megabytes;
        if room.bytes > u64::from(megabytes) << 20 {
            let reason = format!(
                "{megabytes} megabytes of statements about `{}` are kept here, which is the most \
                 (limits.statements_megabytes of this node); no more are taken",
                record.agreement
            );
            return Err(EngineError::refused(RefusalKind::TooMuch, reason));
        }
        let event = Event::new("statement", record.recorded_at, format!("{}: {text}", record.by));
        tables::append_event(batch, &event.about(&record.agreement).with(peer))?;
        batch.expect(key.clone(), None);
        batch.put(key, bytes);
        Ok(())
    }

    /// Takes a statement of the other party of an agreement.
    ///
    /// # Errors
    /// No such agreement with this caller, a signature that does not hold, or something that it may not state.
    pub async fn take_statement(
        self: &Arc<Self>,
        caller: &str,
        agreement: &str,
        message: &StatementMessage,
    ) -> Result<(), EngineError> {
        let malformed =
            |reason: String| EngineError::refused(RefusalKind::Malformed, format!("/statement: {reason}"));
        let record = match self.load_agreement(agreement) {
            // A stranger and an unknown agreement get the same answer.
            Ok((record, _)) if record.peer == caller => record,
            Ok(_) => return Err(EngineError::NotFound { kind: "agreement", id: agreement.to_owned() }),
            Err(error) => return Err(error),
        };
        let kind =
            notice::KINDS.iter().find(|kind| Claimed::read(&message.statement, kind, MAX_STATEMENT).is_ok());
        let kind =
            kind.ok_or_else(|| malformed("is of no kind that this node knows, or too long".to_owned()))?;
        let claimed = Claimed::read(&message.statement, kind, MAX_STATEMENT)
            .map_err(|error| malformed(error.to_string()))?;
        if claimed.by() != caller {
            return Err(malformed(format!("is of `{}`, not of its sender", claimed.by())));
        }
        let statement = self.hold(&claimed).await.map_err(malformed)?;
        // In the order in which this node ends agreements.
        let _ending = if *kind == notice::ENDED { Some(self.locks.lock(agreement).await) } else { None };
        let lock = self.locks.lock(&tables::key(prefix::STATEMENTS, agreement)).await;
        if self.store.get(&tables::statement(agreement, &statement.id))?.is_some() {
            return Ok(());
        }
        let now = clock::now();
        if statement.at.duration_since(now).as_secs() > trust::token::SKEW {
            return Err(malformed("was made in the future; is a clock wrong?".to_owned()));
        }
        let kept = StatementRecord {
            id: statement.id.clone(),
            kind: (*kind).to_owned(),
            agreement: agreement.to_owned(),
            by: caller.to_owned(),
            at: statement.at,
            recorded_at: now,
            answers: None,
            due: None,
            told: Told::Yes,
            sealed: String::new(),
        };
        let mut batch = Batch::new();
        let (kept, text) = self.understand(&record, kept, &statement, &mut batch)?;
        let mut room = self.room_for_statements(agreement)?;
        self.keep_statement(kept, &message.statement, &text, caller, &mut room, &mut batch)?;
        room.take(&mut batch)?;
        self.commit(batch).await?;
        drop(lock);
        self.follow_statement(&record, &statement, kind).await
    }

    /// What a statement of the other party means here: what is recorded beside it, and a text for the audit log. What else is
    /// written with it is added to `batch`.
    fn understand(
        &self,
        record: &AgreementRecord,
        kept: StatementRecord,
        statement: &Statement,
        batch: &mut Batch,
    ) -> Result<(StatementRecord, String), EngineError> {
        match kept.kind.as_str() {
            notice::ENDED => self.understand_end(kept, statement, batch),
            notice::WITHDRAWAL => self.understand_withdrawal(record, kept, statement),
            notice::DELETION => self.understand_deletion(record, kept, statement),
            _ => self.understand_period(record, kept, statement),
        }
    }

    /// What this node does once a statement is recorded.
    async fn follow_statement(
        self: &Arc<Self>,
        record: &AgreementRecord,
        statement: &Statement,
        kind: &str,
    ) -> Result<(), EngineError> {
        self.follow_period(record, statement, kind).await
    }

    /// A statement whose signature holds and that is meant for this node; the reason otherwise.
    pub(super) async fn hold(&self, claimed: &Claimed) -> Result<Statement, String> {
        let document = self.resolver.document(claimed.by()).await?;
        match claimed.verify(&document, self.did()) {
            Ok(statement) => Ok(statement),
            Err(first) => {
                // The key may have been rotated since the document was fetched.
                let fresh = self.resolver.refreshed(claimed.by()).await?;
                if fresh == document {
                    return Err(first.to_string());
                }
                claimed.verify(&fresh, self.did()).map_err(|error| error.to_string())
            }
        }
    }

    /// A statement of ours was taken by the other party, or could not be told.
    pub(crate) async fn statement_told(
        &self,
        entry: &OutboxEntry,
        outcome: Result<(), Failure>,
    ) -> Result<(), EngineError> {
        let key = tables::statement(&entry.pid, entry.message.id.as_str());
        let _lock = self.locks.lock(&tables::key(prefix::STATEMENTS, &entry.pid)).await;
        let mut batch = Batch::new();
        batch.delete(tables::outbox(entry.message.id.as_str()));
        if let Err(failure) = &outcome {
            self.set_down(entry, failure, &mut batch)?;
        }
        if let Some((mut record, version)) = tables::load::<StatementRecord>(&self.store, &key)? {
            record.told = match outcome {
                Ok(()) => Told::Yes,
                Err(failure) => {
                    let text = format!("a statement could not be told to {}: {}", entry.peer, failure.reason);
                    let event =
                        Event::new("statement", clock::now(), text).about(&entry.pid).with(&entry.peer);
                    tables::append_event(&mut batch, &event)?;
                    Told::Not(failure.reason)
                }
            };
            batch.expect(key.clone(), Some(version));
            tables::put(&mut batch, key, &record)?;
        }
        self.commit(batch).await.map(|_| ())
    }

    /// Shows `see` the statements about an agreement, of both parties, in the order of their ids; a few in memory at a time.
    ///
    /// # Errors
    /// The store failed, or `see` did.
    pub(super) fn each_statement(
        &self,
        agreement: &str,
        mut see: impl FnMut(StatementRecord) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let prefix = tables::within(prefix::STATEMENT, agreement);
        tables::each_of_whole(&self.store, &prefix, |_, record| see(record))
    }

    /// Up to `limit` statements about an agreement with their signed texts, in the order of their ids.
    ///
    /// # Errors
    /// The store failed, or one was sealed with another key.
    pub fn statements(
        &self,
        agreement: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<(StatementRecord, String)>, EngineError> {
        let prefix = tables::within(prefix::STATEMENT, agreement);
        Page::of(&self.store, (prefix::STATEMENT, &prefix), after, limit, |record: StatementRecord| {
            let text = self.statement_text(&record)?;
            Ok(Some((record, text)))
        })
    }

    /// The signed text of a statement.
    ///
    /// # Errors
    /// It was sealed with another key.
    pub fn statement_text(&self, record: &StatementRecord) -> Result<String, EngineError> {
        Ok(self.vault.open_sealed(&tables::statement(&record.agreement, &record.id), &record.sealed)?)
    }

    /// What a recorded statement states.
    pub(super) fn stated(&self, record: &StatementRecord) -> Result<Json, EngineError> {
        let compact = self.statement_text(record)?;
        let claimed = Claimed::read(&compact, &record.kind, MAX_STATEMENT)?;
        Ok(claimed.stated()?)
    }
}
