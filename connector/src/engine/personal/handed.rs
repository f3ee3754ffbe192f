//! Who was among the rows that were handed on: counted for each person, written sealed, found again with the person's key.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use dataplane::Hidden;
use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Ledger, Person, name};
use crate::clock;
use crate::engine::agreements::is_in_force;
use crate::engine::{Engine, EngineError};
use crate::ids;
use crate::tables::{self, AgreementRecord, ConsentRecord, Handed, HandedRecord, PersonRecord, prefix};

/// Persons in one record.
const IN_ONE: usize = 4096;

/// Rows by person, with the attributes that were left out.
pub(in crate::engine) type Counts = HashMap<Person, (u64, Hidden)>;

/// By tag, the attributes that were left out of all rows.
pub(super) type Reached = HashMap<String, Vec<String>>;

/// What is left out of all rows is left out of these as well.
fn reach(known: &mut Reached, tag: String, hidden: Vec<String>) {
    match known.entry(tag) {
        Entry::Vacant(vacant) => {
            vacant.insert(hidden);
        }
        Entry::Occupied(mut all) => all.get_mut().retain(|name| hidden.contains(name)),
    }
}

/// What was left out of rows that came before and is left out of these as well.
pub(super) fn both(before: &Hidden, hidden: &Hidden) -> Hidden {
    if Arc::ptr_eq(before, hidden) {
        return Arc::clone(before);
    }
    before.iter().filter(|name| hidden.contains(name)).cloned().collect()
}

/// To whom something about a person was handed on.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipient {
    /// Under which agreement.
    pub agreement: String,
    /// Who.
    pub recipient: String,
    /// Of which dataset.
    pub dataset: String,
    /// For what, as agreed.
    pub purposes: Vec<String>,
    /// How many rows, as far as they were counted.
    pub rows: u64,
    /// Whether a kill took some counts: rows about the person may have been among those that were handed on then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unsure: bool,
    /// When first.
    pub first: Timestamp,
    /// When last.
    pub last: Timestamp,
    /// Attributes that were left out, at some time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// What is shared under an agreement about persons' data.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The agreement.
    pub agreement: String,
    /// With whom.
    pub recipient: String,
    /// Which dataset.
    pub dataset: String,
    /// For what, as agreed.
    pub purposes: Vec<String>,
    /// Rows that were handed on.
    pub rows: u64,
    /// Rows that were left out.
    pub left_out: u64,
    /// When it was last read.
    pub last: Option<Timestamp>,
    /// Whether the agreement is in force.
    pub in_force: bool,
}

impl Ledger {
    /// Takes over what a stream has counted so far; nobody looks between.
    pub(super) fn settle(&self, agreement: &str, counted: &Mutex<Counts>) {
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        self.note(agreement, std::mem::take(&mut *counted));
    }

    /// A read has ended, and its counts are taken over.
    pub(super) fn done(&self, marker: String) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(marker);
        self.changed.notify_one();
    }

    fn note(&self, agreement: &str, counted: Counts) {
        if !counted.is_empty() {
            self.take_over(agreement, counted);
            self.changed.notify_one();
        }
    }

    /// Adds counts to what is not written yet.
    fn take_over(&self, agreement: &str, counted: impl IntoIterator<Item = (Person, (u64, Hidden))>) {
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = handed.entry(agreement.to_owned()).or_default();
        for (person, (rows, hidden)) in counted {
            let entry = counts.entry(person).or_insert_with(|| (0, Arc::clone(&hidden)));
            *entry = (entry.0.saturating_add(rows), both(&entry.1, &hidden));
        }
    }
}

impl Engine {
    /// Writes who was among the rows, whenever a stream has counted some, until `stop`.
    pub async fn watch_handed(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.ledger.changed.notified() => {}
            }
            if let Err(error) = self.write_handed().await {
                tracing::error!(%error, "who was among the rows was not written");
            }
        }
    }

    /// Writes what running streams have counted so far.
    ///
    /// # Errors
    /// The store failed.
    pub async fn settle_handed(&self) -> Result<(), EngineError> {
        let views = self.ledger.views.lock().unwrap_or_else(PoisonError::into_inner).clone();
        views.iter().for_each(|(agreement, counted)| self.ledger.settle(agreement, counted));
        drop(views);
        self.write_handed().await
    }

    async fn write_handed(&self) -> Result<(), EngineError> {
        // Who finds nothing to write finds what others took written.
        let _writing = self.ledger.writing.lock().await;
        // Before the counts: whoever is done has handed on theirs.
        let done = std::mem::take(&mut *self.ledger.done.lock().unwrap_or_else(PoisonError::into_inner));
        let written = self.write_counts().await;
        if written.is_err() {
            self.ledger.done.lock().unwrap_or_else(PoisonError::into_inner).extend(done);
            return written;
        }
        let mut batch = store::Batch::new();
        done.into_iter().for_each(|marker| batch.delete(marker));
        if batch.is_empty() {
            return Ok(());
        }
        self.commit(batch).await.map(|_| ())
    }

    async fn write_counts(&self) -> Result<(), EngineError> {
        let handed = std::mem::take(&mut *self.ledger.handed.lock().unwrap_or_else(PoisonError::into_inner));
        let now = clock::now();
        let mut outcome = Ok(());
        for (agreement, counts) in handed {
            let counts: Vec<_> = counts.into_iter().collect();
            for part in counts.chunks(IN_ONE) {
                if outcome.is_ok() {
                    outcome = self.write_part(&agreement, part, now).await;
                }
                if outcome.is_err() {
                    // It is written the next time.
                    self.ledger.take_over(&agreement, part.iter().cloned());
                }
            }
        }
        outcome
    }

    async fn write_part(
        &self,
        agreement: &str,
        part: &[(Person, (u64, Hidden))],
        now: Timestamp,
    ) -> Result<(), EngineError> {
        // Part by part: a withdrawal need not wait for all of them.
        let _order = self.ledger.order.lock().await;
        let mut batch = store::Batch::new();
        // Persons whom no operator has named have a record as well, so that they can ask. How the data names them is not
        // known here: the operator that asks says it.
        let persons: Vec<_> = part.iter().map(|(person, _)| (*person, String::new())).collect();
        let records = self.make_persons(&persons, &mut batch)?;
        let mut handed = Handed { from: now, until: now, persons: Vec::with_capacity(part.len()) };
        for (person, (rows, hidden)) in part {
            let tag = records.get(person).and_then(|record| self.ledger.keys.tag(record.slot, agreement));
            // A key that was destroyed meanwhile leaves nothing to be found.
            let Some(tag) = tag else { continue };
            handed.persons.push((tag, *rows, hidden.iter().map(ToString::to_string).collect()));
        }
        let key = format!("{}{}", tables::within(prefix::HANDED, agreement), ids::urn());
        let text = serde_json::to_string(&handed).map_err(|error| EngineError::Vault(error.to_string()))?;
        let sealed = self.vault.seal(&key, &text)?;
        tables::put(&mut batch, key, &HandedRecord { at: now, sealed })?;
        self.commit(batch).await?;
        let mut reached = self.ledger.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = reached.get_mut(agreement) {
            handed.persons.into_iter().for_each(|(tag, _, hidden)| reach(known, tag, hidden));
        }
        Ok(())
    }

    /// What was handed on under an agreement, in the order in which it was written.
    fn each_handed(&self, agreement: &str, mut visit: impl FnMut(Handed)) -> Result<(), EngineError> {
        let prefix = tables::within(prefix::HANDED, agreement);
        let mut after: Option<String> = None;
        loop {
            let page = tables::list::<HandedRecord>(&self.store, &prefix, after.as_deref(), 100)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, record) in page {
                let text = self.vault.open_sealed(&key, &record.sealed)?;
                match serde_json::from_str(&text) {
                    Ok(handed) => visit(handed),
                    Err(error) => {
                        tracing::error!(%error, key, "a record of who was among the rows cannot be read")
                    }
                }
            }
        }
    }

    /// Attributes that were left out of all rows about a person that were handed on under an agreement; `None` where no row was.
    pub(super) fn left_out_of_all(
        &self,
        agreement: &str,
        record: &PersonRecord,
    ) -> Result<Option<Vec<String>>, EngineError> {
        let Some(tag) = self.ledger.keys.tag(record.slot, agreement) else { return Ok(None) };
        {
            let reached = self.ledger.reached.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = reached.get(agreement) {
                return Ok(known.get(&tag).cloned());
            }
        }
        let mut known = Reached::new();
        self.each_handed(agreement, |handed| {
            handed.persons.into_iter().for_each(|(tag, _, hidden)| reach(&mut known, tag, hidden));
        })?;
        let found = known.get(&tag).cloned();
        self.ledger
            .reached
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(agreement.to_owned(), known);
        Ok(found)
    }

    /// What is shared with whom, of the datasets about persons.
    ///
    /// # Errors
    /// The store failed.
    pub fn shares(&self) -> Result<Vec<Share>, EngineError> {
        let mut provided = Vec::new();
        self.each_agreement(|record| {
            if record.role == protocol::Role::Provider {
                provided.push(record.clone());
            }
            Ok(())
        })?;
        let mut all = Vec::new();
        for record in provided {
            let dataset = record.agreement.target().to_string();
            let personal = self
                .asset(&dataset)?
                .is_some_and(|asset| asset.properties.contains_key(governance::personal::PROPERTY));
            if !personal {
                continue;
            }
            let agreement = record.agreement.id().to_string();
            let usage = self.agreement(&agreement)?.usage;
            all.push(Share {
                purposes: super::asked(&record, &dataset).purposes,
                recipient: record.peer.clone(),
                rows: usage.rows,
                left_out: usage.left_out,
                last: usage.last,
                in_force: is_in_force(&record, clock::now()),
                agreement,
                dataset,
            });
        }
        Ok(all)
    }

    /// To whom something about a person, who gave these consents, was handed on.
    pub(super) fn recipients(
        &self,
        person: &Person,
        consents: &[ConsentRecord],
    ) -> Result<Vec<Recipient>, EngineError> {
        let Some((record, _)) = self.load_person(person)? else { return Ok(Vec::new()) };
        let mut agreements = Vec::new();
        self.each_agreement(|agreement| {
            agreements.push(agreement.clone());
            Ok(())
        })?;
        let mut all = Vec::new();
        for agreement in agreements {
            all.extend(self.received(&agreement, &record, consents)?);
        }
        tracing::debug!(person = name(person), recipients = all.len(), "an insight was given");
        Ok(all)
    }

    fn received(
        &self,
        agreement: &AgreementRecord,
        person: &PersonRecord,
        consents: &[ConsentRecord],
    ) -> Result<Option<Recipient>, EngineError> {
        let id = agreement.agreement.id().to_string();
        let Some(tag) = self.ledger.keys.tag(person.slot, &id) else { return Ok(None) };
        let mut found: Option<Recipient> = None;
        let mut note = |from: Timestamp, until: Timestamp, rows: Option<u64>, hidden: Vec<String>| {
            let dataset = agreement.agreement.target().to_string();
            let one = found.get_or_insert_with(|| Recipient {
                agreement: id.clone(),
                recipient: agreement.peer.clone(),
                purposes: super::asked(agreement, &dataset).purposes,
                dataset,
                rows: 0,
                unsure: false,
                first: from,
                last: until,
                left_out: Vec::new(),
            });
            one.rows = one.rows.saturating_add(rows.unwrap_or_default());
            one.unsure |= rows.is_none();
            one.first = one.first.min(from);
            one.last = one.last.max(until);
            one.left_out.extend(hidden);
            one.left_out.sort();
            one.left_out.dedup();
        };
        self.each_handed(&id, |handed| {
            for (_, rows, hidden) in handed.persons.into_iter().filter(|(one, ..)| *one == tag) {
                note(handed.from, handed.until, Some(rows), hidden);
            }
        })?;
        if let Some(perhaps) = self.perhaps(agreement, person, consents, true)? {
            note(perhaps.from, perhaps.until, None, perhaps.left_out);
        }
        Ok(found)
    }
}
