//! What persons ask through their operators: insight, portability and objection are answered at once, correction and
//! erasure by a person; each has a deadline that is watched.

use std::sync::Arc;

use governance::personal::Personal;
use governance::request::{self, Kind, due};
use jiff::Timestamp;
use protocol::RefusalKind;
use serde::{Deserialize, Serialize};
use store::Batch;
use trust::Statement;

use super::{Person, Recipient, name, person_of};
use crate::engine::duties::Due;
use crate::engine::{Engine, EngineError};
use crate::tables::{self, Answered, ConsentRecord, Event, PersonRecord, RequestRecord, prefix};
use crate::{clock, ids};

/// What an operator states when it asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    kind: Kind,
    subject: String,
    #[serde(default)]
    note: Option<String>,
}

/// What this node knows of a person, for the person.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Insight {
    /// Consents, also withdrawn ones.
    pub consents: Vec<ConsentRecord>,
    /// Who received what, when, why.
    pub recipients: Vec<Recipient>,
    /// Datasets in which rows about the person may stand, with the column that tells.
    #[serde(skip)]
    pub datasets: Vec<(::catalog::Asset, String)>,
    /// How the data names the person.
    #[serde(skip)]
    pub subject: String,
}

/// What is answered to a request.
#[derive(Debug)]
pub struct Answer {
    /// The request as recorded.
    pub record: RequestRecord,
    /// What was asked for, where it is answered at once.
    pub insight: Option<Insight>,
}

impl Engine {
    /// Takes a person's request; a repeated statement is refused.
    ///
    /// # Errors
    /// An operator off the list, a signature that does not hold, an old statement; or something that cannot be read.
    pub async fn take_subject_request(self: &Arc<Self>, compact: &str) -> Result<Answer, EngineError> {
        let statement = self.operator_statement(compact, request::ASKED).await?;
        let malformed = |reason: String| EngineError::refused(RefusalKind::Malformed, reason);
        let asked: Asked =
            serde_json::from_value(statement.stated.clone()).map_err(|error| malformed(error.to_string()))?;
        if asked.subject.is_empty() || asked.subject.len() > governance::consent::MAX_SUBJECT {
            return Err(malformed(format!(
                "/subject: must have 1 to {} bytes",
                governance::consent::MAX_SUBJECT
            )));
        }
        if asked.note.as_ref().is_some_and(|note| note.len() > request::MAX_NOTE) {
            return Err(malformed(format!("/note: longer than {} bytes", request::MAX_NOTE)));
        }
        self.first_use_of_statement(&statement).await?;
        // What runs now is among what was handed on.
        self.settle_handed().await?;
        let person = self.ledger.person(&asked.subject);
        let insight = match asked.kind {
            Kind::Insight | Kind::Portability => Some(self.insight(&person, &asked.subject)?),
            _ => None,
        };
        let record = self.record_request(&statement, &person, &asked).await?;
        if asked.kind == Kind::Erasure {
            // What needs no person is done at once: no row goes out any more, and whoever has some is told.
            let consents = self.consents(Some(&name(&person)))?;
            self.withdraw(&statement.by, consents, Some(&person)).await?;
        }
        Ok(Answer { record, insight })
    }

    async fn record_request(
        &self,
        statement: &Statement,
        person: &Person,
        asked: &Asked,
    ) -> Result<RequestRecord, EngineError> {
        let _order = self.ledger.order.lock().await;
        let now = clock::now();
        let mut batch = Batch::new();
        let known = self.make_persons(&[(*person, asked.subject.clone())], &mut batch)?;
        let mut known: PersonRecord = known
            .get(person)
            .cloned()
            .ok_or_else(|| EngineError::Vault("a person has no record".to_owned()))?;
        let id = ids::urn();
        let key = tables::key(prefix::SUBJECT_REQUEST, &id);
        let note =
            asked.note.as_ref().map(|note| self.ledger.keys.seal(known.slot, &key, note)).transpose()?;
        let answer = match asked.kind {
            Kind::Insight => Some("answered with what is held and who received it"),
            Kind::Portability => Some("answered with the rows about the person"),
            Kind::Objection => Some("rows are handed on with the person's consent only, from now on"),
            Kind::Correction | Kind::Erasure => None,
        };
        let record = RequestRecord {
            id: id.clone(),
            kind: asked.kind,
            person: name(person),
            operator: statement.by.clone(),
            note,
            received_at: now,
            due: due(now, false),
            prolonged: None,
            answer: answer.map(|reason| Answered { at: now, done: true, reason: reason.to_owned() }),
            late: None,
        };
        tables::put(&mut batch, key, &record)?;
        if matches!(asked.kind, Kind::Objection | Kind::Erasure) {
            known.objected.get_or_insert(now);
            tables::put(&mut batch, tables::key(prefix::PERSON, &name(person)), &known)?;
            self.ledger.write().entry(*person).or_default().objects = true;
        }
        let text = format!("a person asks for {}; it must be answered by {}", record.kind.name(), record.due);
        tables::append_event(&mut batch, &Event::new("request", now, text).about(&id).with(&statement.by))?;
        self.commit(batch).await?;
        if record.answer.is_none() {
            self.deadlines.expect(record.due, Due::Request(id));
        }
        Ok(record)
    }

    /// What this node knows of a person.
    fn insight(&self, person: &Person, subject: &str) -> Result<Insight, EngineError> {
        let consents = self.consents_ever(person)?;
        let mut datasets = Vec::new();
        for asset in tables::whole::<::catalog::Asset>(&self.store, prefix::ASSET)? {
            if let Ok(Some(personal)) = Personal::of(&asset.properties) {
                datasets.push((asset, personal.subject));
            }
        }
        let recipients = self.recipients(person, &consents)?;
        Ok(Insight { consents, recipients, datasets, subject: subject.to_owned() })
    }

    /// An operator that asks for its page: who it is, by a statement of its own.
    ///
    /// # Errors
    /// An operator off the list, a signature that does not hold, an old or a repeated statement.
    pub async fn operator_at_its_page(&self, compact: &str) -> Result<String, EngineError> {
        let statement = self.operator_statement(compact, request::SESSION).await?;
        self.first_use_of_statement(&statement).await?;
        Ok(statement.by)
    }

    /// Every request, the oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub fn subject_requests(&self) -> Result<Vec<RequestRecord>, EngineError> {
        Ok(tables::all(&self.store, prefix::SUBJECT_REQUEST)?)
    }

    /// A request with the person's note, and how the data names the person: for who must answer it.
    ///
    /// # Errors
    /// Not there.
    pub fn subject_request(
        &self,
        id: &str,
    ) -> Result<(RequestRecord, Option<String>, Option<String>), EngineError> {
        let key = tables::key(prefix::SUBJECT_REQUEST, id);
        let found = tables::load::<RequestRecord>(&self.store, &key)?;
        let (record, _) =
            found.ok_or_else(|| EngineError::NotFound { kind: "request", id: id.to_owned() })?;
        let Some(person) = person_of(&record.person) else { return Ok((record, None, None)) };
        let Some((known, _)) = self.load_person(&person)? else { return Ok((record, None, None)) };
        let note =
            record.note.as_ref().and_then(|note| self.ledger.keys.open_sealed(known.slot, &key, note).ok());
        let subject = self.subject_of(&person, &known).ok();
        Ok((record, note, subject))
    }

    /// Answers a request: done, or refused with a reason. An erasure that is done takes the person's key with it.
    ///
    /// # Errors
    /// Not there, or answered before; no reason; or the key cannot be destroyed.
    pub async fn answer_subject_request(
        &self,
        id: &str,
        done: bool,
        reason: &str,
    ) -> Result<RequestRecord, EngineError> {
        let record = self
            .change_request(id, |record, now| {
                if reason.is_empty() || reason.len() > request::MAX_NOTE {
                    let text = format!("reason: must have 1 to {} bytes", request::MAX_NOTE);
                    return Err(EngineError::refused(RefusalKind::Malformed, text));
                }
                record.answer = Some(Answered { at: now, done, reason: reason.to_owned() });
                let how = if done { "done" } else { "refused" };
                Ok(format!("a person's request for {} was answered: {how}", record.kind.name()))
            })
            .await?;
        if done && record.kind == Kind::Erasure {
            self.forget_person(&record.person).await?;
        }
        Ok(record)
    }

    /// Takes three months instead of one for a request (GDPR, article 12(3)).
    ///
    /// # Errors
    /// Not there, answered or prolonged before; or no reason.
    pub async fn prolong_subject_request(
        &self,
        id: &str,
        reason: &str,
    ) -> Result<RequestRecord, EngineError> {
        let record = self
            .change_request(id, |record, _| {
                if reason.is_empty() || reason.len() > request::MAX_NOTE || record.prolonged.is_some() {
                    let text =
                        "a request is prolonged once, with a reason that the person is told".to_owned();
                    return Err(EngineError::refused(RefusalKind::IllegalTransition, text));
                }
                record.due = due(record.received_at, true);
                record.prolonged = Some(reason.to_owned());
                record.late = None;
                Ok(format!(
                    "a person's request for {} is answered by {} only",
                    record.kind.name(),
                    record.due
                ))
            })
            .await?;
        self.deadlines.expect(record.due, Due::Request(record.id.clone()));
        Ok(record)
    }

    async fn change_request(
        &self,
        id: &str,
        change: impl FnOnce(&mut RequestRecord, Timestamp) -> Result<String, EngineError>,
    ) -> Result<RequestRecord, EngineError> {
        let key = tables::key(prefix::SUBJECT_REQUEST, id);
        let _lock = self.locks.lock(&key).await;
        let found = tables::load::<RequestRecord>(&self.store, &key)?;
        let (mut record, version) =
            found.ok_or_else(|| EngineError::NotFound { kind: "request", id: id.to_owned() })?;
        if let Some(answer) = &record.answer {
            let reason = format!("the request was answered on {} already", answer.at);
            return Err(EngineError::refused(RefusalKind::IllegalTransition, reason));
        }
        let now = clock::now();
        let text = change(&mut record, now)?;
        let mut batch = Batch::new();
        batch.expect(key.clone(), Some(version));
        tables::put(&mut batch, key, &record)?;
        tables::append_event(&mut batch, &Event::new("request", now, text).about(id).with(&record.operator))?;
        self.commit(batch).await?;
        Ok(record)
    }

    /// A request's deadline has come.
    pub(in crate::engine) async fn request_is_due(&self, id: &str) -> Result<(), EngineError> {
        let late = self.change_request(id, |record, now| {
            if record.due > now || record.late.is_some() {
                // It was prolonged meanwhile.
                return Err(EngineError::refused(RefusalKind::IllegalTransition, "it is not due"));
            }
            record.late = Some(now);
            Ok(format!(
                "a person's request for {} is late: it had to be answered by {}",
                record.kind.name(),
                record.due
            ))
        });
        match late.await {
            Ok(_) | Err(EngineError::Refused(_) | EngineError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits for the deadlines of requests that are not answered.
    pub(in crate::engine) fn expect_requests(&self) -> Result<(), EngineError> {
        for record in self.subject_requests()? {
            if record.answer.is_none() && record.late.is_none() {
                self.deadlines.expect(record.due, Due::Request(record.id));
            }
        }
        Ok(())
    }

    /// Destroys a person's key, and with it whatever this node recorded of them; their consents are removed.
    async fn forget_person(&self, known: &str) -> Result<(), EngineError> {
        let Some(person) = person_of(known) else { return Ok(()) };
        let _order = self.ledger.order.lock().await;
        let Some((record, _)) = self.load_person(&person)? else { return Ok(()) };
        let mut batch = Batch::new();
        for consent in self.consents_ever(&person)? {
            batch.delete(tables::key(prefix::CONSENT, &consent.consent.id));
        }
        batch.delete(tables::key(prefix::PERSON, known));
        let event = Event::new(
            "consent",
            clock::now(),
            "a person's key was destroyed, and with it what was recorded of them",
        );
        tables::append_event(&mut batch, &event)?;
        // The key first: were the store to fail then, what it still has can be read by nobody.
        self.ledger.keys.destroy(record.slot).map_err(|error| EngineError::Vault(format!("{error:#}")))?;
        self.commit(batch).await?;
        let mut persons = self.ledger.write();
        // Without a record there is no objection either; rows that are gone at the source cannot be handed on.
        persons.remove(&person);
        Ok(())
    }
}
