//! Consents: given and withdrawn by operators on behalf of persons; recipients are told what they must delete.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dataplane::delivered;
use governance::consent::{self, Consent, Extent, Given, Withdrawn};
use governance::identifier::{expect_dids, expect_iri};
use governance::notice::{self, Deletion, Withdrawal};
use jiff::{SignedDuration, Timestamp};
use policy_engine::transforms_of_each;
use protocol::{RefusalKind, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use store::Batch;
use trust::Statement;
use trust::statement::Claimed;

use super::{Person, asked, name, person_of};
use crate::clock;
use crate::engine::statements::Made;
use crate::engine::{Engine, EngineError, TokenUse};
use crate::http::PERSONAL_PATH;
use crate::tables::{
    self, AgreementRecord, ConsentRecord, Event, Page, PersonRecord, StatementRecord, Told, UntoldRecord,
    prefix,
};

/// Longest statement of an operator, in bytes.
const MAX_STATEMENT: usize = 1024 * 1024;
/// Most consents in one statement.
const MAX_AT_ONCE: usize = 1000;

/// What an operator states when it gives consents.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenStatement {
    consents: Vec<Json>,
}

/// What an operator states when it withdraws: one consent by its id, or all of a person that reach as far as is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Withdrawing {
    /// The consent.
    #[serde(default)]
    pub consent: Option<String>,
    /// The person, as the holder's data names them.
    #[serde(default)]
    pub subject: Option<String>,
    /// Only consents for these recipients.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// Only consents for these purposes.
    #[serde(default)]
    pub purposes: Vec<String>,
}

/// A recorded consent, with the signed receipt for it.
#[derive(Debug, Clone, Serialize)]
pub struct Receipt {
    /// Its id.
    pub consent: String,
    /// `given`, `withdrawn`, `expired` or `pending`.
    pub state: &'static str,
    /// The receipt (ISO/IEC TS 27560:2023), a compact JWS of this node.
    pub receipt: String,
}

/// What a recipient may not keep.
enum Lost {
    /// It got nothing, or all of it is permitted still.
    Nothing,
    /// Something that cannot be named to it: why.
    Unnamed(&'static str),
    /// This.
    Told(Withdrawal),
}

fn malformed(reason: impl Into<String>) -> EngineError {
    EngineError::refused(RefusalKind::Malformed, reason)
}

impl Engine {
    /// A statement of an operator that this node knows, of the kind `typ`: its signature holds, it is meant for this node,
    /// and it was made just now.
    ///
    /// # Errors
    /// An operator off the list, a signature that does not hold, or an old statement.
    pub(super) async fn operator_statement(
        &self,
        compact: &str,
        typ: &str,
    ) -> Result<Statement, EngineError> {
        let refuse = |reason: String| EngineError::refused(RefusalKind::Unauthenticated, reason);
        let claimed =
            Claimed::read(compact, typ, MAX_STATEMENT).map_err(|error| refuse(error.to_string()))?;
        // Nothing is fetched for somebody who is not on the list.
        if !self.operators.iter().any(|operator| operator == claimed.by()) {
            let reason = format!(
                "`{}` is no personal data operator that this node knows (personal.operators)",
                claimed.by()
            );
            return Err(refuse(reason));
        }
        let statement = self.hold(&claimed).await.map_err(refuse)?;
        statement.fresh(clock::now()).map_err(|error| refuse(error.to_string()))?;
        Ok(statement)
    }

    /// Notes the use of a statement, durably.
    ///
    /// # Errors
    /// It was used before.
    pub(super) async fn first_use_of_statement(&self, statement: &Statement) -> Result<(), EngineError> {
        let expires = statement.at.as_second().saturating_add(trust::token::MAX_LIFETIME);
        let expires = expires.saturating_add(trust::token::SKEW);
        match self.first_use_of_operator(&statement.by, &statement.id, expires).await? {
            TokenUse::First => Ok(()),
            TokenUse::Again => {
                let reason = format!("the statement `{}` of {} was used before", statement.id, statement.by);
                Err(EngineError::refused(RefusalKind::Unauthenticated, reason))
            }
            TokenUse::TooMany(seconds) => {
                let reason = format!("too many statements came from you; send more in {seconds} s");
                Err(EngineError::refused(RefusalKind::Busy, reason))
            }
        }
    }

    /// Records the consents of an operator's statement; a repeated statement gets the same receipts and changes nothing.
    ///
    /// # Errors
    /// An operator off the list, a signature that does not hold, an old statement; or a consent that cannot be read: then none is recorded.
    pub async fn give_consents(&self, compact: &str) -> Result<Vec<Receipt>, EngineError> {
        let statement = self.operator_statement(compact, consent::GIVEN).await?;
        let stated: GivenStatement =
            serde_json::from_value(statement.stated.clone()).map_err(|error| malformed(error.to_string()))?;
        if stated.consents.is_empty() || stated.consents.len() > MAX_AT_ONCE {
            return Err(malformed(format!("/consents: must have 1 to {MAX_AT_ONCE} entries")));
        }
        let given: Vec<Given> = stated
            .consents
            .into_iter()
            .enumerate()
            .map(|(at, json)| Given::parse(json).map_err(|error| malformed(format!("/consents/{at}{error}"))))
            .collect::<Result<_, _>>()?;
        for (at, one) in given.iter().enumerate() {
            self.expect_datasets(&format!("/consents/{at}/datasets"), &one.datasets)?;
        }
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(compact));
        let _order = self.ledger.order.lock().await;
        let ids: Vec<_> = (0..given.len()).map(|at| format!("urn:concordat:consent:{digest}:{at}")).collect();
        let known = ids.iter().map(|id| self.consent(id)).collect::<Result<Vec<_>, _>>()?;
        if known.iter().all(Option::is_some) {
            return known.into_iter().flatten().map(|(record, _)| self.receipt(&record)).collect();
        }
        self.first_use_of_statement(&statement).await?;
        let now = clock::now();
        let mut batch = Batch::new();
        let subjects: Vec<_> =
            given.iter().map(|one| (self.ledger.person(&one.subject), one.subject.clone())).collect();
        self.make_persons(&subjects, &mut batch)?;
        let mut records = Vec::with_capacity(given.len());
        for ((one, id), (person, _)) in given.into_iter().zip(ids).zip(&subjects) {
            let consent = Consent {
                id: id.clone(),
                extent: one.extent(),
                from: one.from.unwrap_or(now),
                until: one.until,
                operator: statement.by.clone(),
                given_at: now,
                statement: digest.clone(),
                notice: one.notice,
                withdrawn: None,
            };
            let record = ConsentRecord { person: name(person), consent };
            tables::put(&mut batch, tables::key(prefix::CONSENT, &id), &record)?;
            records.push((*person, record));
        }
        let text = format!("{} consents were given through an operator", records.len());
        tables::append_event(&mut batch, &Event::new("consent", now, text).with(&statement.by))?;
        self.commit(batch).await?;
        records
            .into_iter()
            .map(|(person, record)| {
                self.ledger.enter(person, &record.consent);
                self.receipt(&record)
            })
            .collect()
    }

    /// Refuses what names no dataset: neither an IRI, under which one may be published later, nor the id of one that is here.
    fn expect_datasets(&self, path: &str, datasets: &[String]) -> Result<(), EngineError> {
        for (at, id) in datasets.iter().enumerate() {
            if expect_iri("", id, "").is_err() && self.asset(id)?.is_none() {
                return Err(malformed(format!(
                    "{path}/{at}: `{id}` is neither an IRI nor the id of a dataset of this node; give an id as its catalog has it, such as `urn:city.example:trips`"
                )));
            }
        }
        Ok(())
    }

    fn consent(&self, id: &str) -> Result<Option<(ConsentRecord, u64)>, EngineError> {
        Ok(tables::load(&self.store, &tables::key(prefix::CONSENT, id))?)
    }

    fn receipt(&self, record: &ConsentRecord) -> Result<Receipt, EngineError> {
        let now = clock::now();
        let withdrawal = format!("{}{PERSONAL_PATH}/withdrawals", self.public_address);
        let receipt = record.consent.receipt(self.did(), &self.name, &record.person, &withdrawal);
        let statement = Statement {
            by: self.did().to_owned(),
            to: record.consent.operator.clone(),
            id: record.consent.id.clone(),
            at: now,
            stated: receipt,
        };
        Ok(Receipt {
            consent: record.consent.id.clone(),
            state: record.consent.state(now),
            receipt: self.identity.sign_statement(&statement, consent::RECEIPT)?,
        })
    }

    /// Every consent of a person, or all that there are.
    ///
    /// # Errors
    /// The store failed.
    pub fn consents(&self, person: Option<&str>) -> Result<Vec<ConsentRecord>, EngineError> {
        if let Some(person) = person {
            let persons = self.ledger.read();
            let held = person_of(person).and_then(|person| {
                persons
                    .get(&person)
                    .map(|held| held.consents.iter().map(|one| one.id.clone()).collect::<Vec<_>>())
            });
            drop(persons);
            let ids = held.unwrap_or_default();
            let found = ids.iter().map(|id| self.consent(id)).collect::<Result<Vec<_>, _>>()?;
            return Ok(found.into_iter().flatten().map(|(record, _)| record).collect());
        }
        Ok(tables::all(&self.store, prefix::CONSENT)?)
    }

    /// Every consent of a person, also withdrawn ones.
    pub(super) fn consents_ever(&self, person: &Person) -> Result<Vec<ConsentRecord>, EngineError> {
        let known = name(person);
        let mut all = self.consents(None)?;
        all.retain(|record| record.person == known);
        Ok(all)
    }

    /// Withdraws consents on an operator's word: they count no more from the next row on. A repeated statement changes
    /// nothing. Recipients are told what they must delete.
    ///
    /// # Errors
    /// An operator off the list, a signature that does not hold, an old statement; no such consent, or it is not for this operator to name by its id alone.
    pub async fn withdraw_consents(self: &Arc<Self>, compact: &str) -> Result<Vec<Receipt>, EngineError> {
        let statement = self.operator_statement(compact, consent::WITHDRAWN).await?;
        let stated: Withdrawing =
            serde_json::from_value(statement.stated.clone()).map_err(|error| malformed(error.to_string()))?;
        self.check_named(&stated)?;
        let persons = self.withdrawn_of(&statement.by, &stated)?;
        self.withdraw(&statement.by, persons, None).await
    }

    /// What a withdrawal names is what a consent could name, or what one does: older ones are taken back in their own words.
    fn check_named(&self, stated: &Withdrawing) -> Result<(), EngineError> {
        let named = |of: fn(&Extent) -> &Vec<String>| -> Result<BTreeSet<String>, EngineError> {
            Ok(self
                .consents(None)?
                .into_iter()
                .flat_map(|record| of(&record.consent.extent).clone())
                .collect())
        };
        if let Err(error) = consent::check_purposes(&stated.purposes) {
            let known = named(|extent| &extent.purposes)?;
            if !stated.purposes.iter().all(|one| known.contains(one)) {
                return Err(malformed(error.to_string()));
            }
        }
        if let Err(error) = expect_dids("/recipients", &stated.recipients) {
            let known = named(|extent| &extent.recipients)?;
            if !stated.recipients.iter().all(|one| known.contains(one)) {
                return Err(malformed(error.to_string()));
            }
        }
        Ok(())
    }

    /// The consents that are meant: of the person, or the one with the id, which only the operator that gave it may name.
    fn withdrawn_of(&self, operator: &str, stated: &Withdrawing) -> Result<Vec<ConsentRecord>, EngineError> {
        let not_found = |id: &str| EngineError::NotFound { kind: "consent", id: id.to_owned() };
        match (&stated.consent, &stated.subject) {
            (Some(id), None) => {
                let found = self.consent(id)?.map(|(record, _)| record);
                let found = found.filter(|record| record.consent.operator == operator);
                Ok(vec![found.ok_or_else(|| not_found(id))?])
            }
            (None, Some(subject)) => {
                let person = name(&self.ledger.person(subject));
                let reaches = |list: &[String], wanted: &[String]| {
                    wanted.is_empty() || wanted.iter().any(|one| list.contains(one))
                };
                let mut all = self.consents(Some(&person))?;
                all.retain(|record| {
                    let extent = &record.consent.extent;
                    reaches(&extent.recipients, &stated.recipients)
                        && reaches(&extent.purposes, &stated.purposes)
                });
                Ok(all)
            }
            _ => Err(malformed("names either `consent` or `subject`")),
        }
    }

    /// Takes consents back, and tells their recipients; of a person who is to be `erased`, everybody who has something.
    pub(super) async fn withdraw(
        self: &Arc<Self>,
        operator: &str,
        records: Vec<ConsentRecord>,
        erased: Option<&Person>,
    ) -> Result<Vec<Receipt>, EngineError> {
        let now = clock::now();
        let mut batch = Batch::new();
        let mut ended = Vec::new();
        let mut all = Vec::new();
        let mut persons = Vec::new();
        {
            let _order = self.ledger.order.lock().await;
            for record in records {
                let key = tables::key(prefix::CONSENT, &record.consent.id);
                let Some((mut record, version)) = tables::load::<ConsentRecord>(&self.store, &key)? else {
                    continue;
                };
                if record.consent.withdrawn.is_none() {
                    record.consent.withdrawn = Some(Withdrawn { at: now, operator: operator.to_owned() });
                    batch.expect(key.clone(), Some(version));
                    tables::put(&mut batch, key, &record)?;
                    ended.push(record.clone());
                }
                all.push(record);
            }
            // In the same commit: a stop of the node forgets nobody who must be told.
            let mut untold: HashMap<Person, Vec<String>> = HashMap::new();
            for record in &ended {
                if let Some(person) = person_of(&record.person) {
                    untold.entry(person).or_default().push(record.consent.id.clone());
                }
            }
            if let Some(person) = erased {
                untold.entry(*person).or_default();
            }
            for (person, consents) in untold {
                let key = tables::key(prefix::UNTOLD, &name(&person));
                let before = tables::load::<UntoldRecord>(&self.store, &key)?.map(|(before, _)| before);
                let everything =
                    erased == Some(&person) || before.as_ref().is_some_and(|before| before.everything);
                let consents =
                    before.into_iter().flat_map(|before| before.consents).chain(consents).collect();
                tables::put(&mut batch, key, &UntoldRecord { consents, everything, at: now })?;
                persons.push(person);
            }
            if !persons.is_empty() {
                // Before it is written: what is acknowledged counts at once, and what is not written was not acknowledged.
                self.let_go(&ended);
                let text = format!("{} consents were withdrawn through an operator", ended.len());
                tables::append_event(&mut batch, &Event::new("consent", now, text).with(operator))?;
                self.commit(batch).await?;
            }
        }
        for person in persons {
            self.tell_of(&person).await?;
        }
        all.iter().map(|record| self.receipt(record)).collect()
    }

    /// Tells whoever must be told about a person, and notes that it was done.
    async fn tell_of(self: &Arc<Self>, person: &Person) -> Result<(), EngineError> {
        let key = tables::key(prefix::UNTOLD, &name(person));
        let _lock = self.locks.lock(&key).await;
        let Some((untold, _)) = tables::load::<UntoldRecord>(&self.store, &key)? else { return Ok(()) };
        let consents = match untold.everything {
            true => self.consents_ever(person)?,
            false => {
                let found: Result<Vec<_>, _> = untold.consents.iter().map(|id| self.consent(id)).collect();
                found?.into_iter().flatten().map(|(record, _)| record).collect()
            }
        };
        self.tell_recipients(person, &consents, &untold).await?;
        let mut batch = Batch::new();
        batch.delete(key);
        self.commit(batch).await.map(|_| ())
    }

    /// Tells what was to be told when the node stopped; who was told already is told again.
    pub(in crate::engine) async fn tell_untold(self: &Arc<Self>) -> Result<(), EngineError> {
        let untold = tables::list::<UntoldRecord>(&self.store, prefix::UNTOLD, None, usize::MAX)?;
        for (key, _) in untold {
            if let Some(person) = key.strip_prefix(prefix::UNTOLD).and_then(person_of)
                && let Err(error) = self.tell_of(&person).await
            {
                tracing::error!(%error, "what a person withdrew was not told to all who must know");
            }
        }
        Ok(())
    }

    /// They count no more.
    fn let_go(&self, ended: &[ConsentRecord]) {
        let mut persons = self.ledger.write();
        for record in ended {
            if let Some(held) = person_of(&record.person).and_then(|person| persons.get_mut(&person)) {
                held.consents.retain(|one| one.id != record.consent.id);
            }
        }
    }

    /// Tells everybody who received rows about a person what of them is not permitted any more now that `consents` ended,
    /// or, where everything must be deleted, that.
    async fn tell_recipients(
        self: &Arc<Self>,
        person: &Person,
        consents: &[ConsentRecord],
        untold: &UntoldRecord,
    ) -> Result<(), EngineError> {
        // What runs now is among what was handed on.
        self.settle_handed().await?;
        let Some((known, _)) = self.load_person(person)? else { return Ok(()) };
        let mut agreements = Vec::new();
        self.each_agreement(|record| {
            if record.role == Role::Provider {
                agreements.push(record.clone());
            }
            Ok(())
        })?;
        for record in agreements {
            match self.lost(person, &known, &record, consents, untold)? {
                Lost::Nothing => {}
                Lost::Told(withdrawal) => {
                    let made = Made {
                        kind: notice::WITHDRAWAL,
                        due: Some(withdrawal.due),
                        text: format!(
                            "a person permits no more what was handed on; it must be deleted by {}",
                            withdrawal.due
                        ),
                        stated: json!(withdrawal),
                        answers: None,
                    };
                    self.state(&record, made, Batch::new()).await?;
                }
                Lost::Unnamed(text) => {
                    let event = Event::new("consent", untold.at, text)
                        .about(record.agreement.id().as_str())
                        .with(&record.peer);
                    self.record(event).await;
                }
            }
        }
        Ok(())
    }

    /// What the recipient under an agreement may not keep.
    fn lost(
        &self,
        person: &Person,
        known: &PersonRecord,
        record: &AgreementRecord,
        consents: &[ConsentRecord],
        untold: &UntoldRecord,
    ) -> Result<Lost, EngineError> {
        let (agreement, dataset) = (record.agreement.id().to_string(), record.agreement.target().to_string());
        let wanted = asked(record, &dataset);
        let reaches = consents.iter().any(|one| one.consent.extent.covers(&wanted, &self.known));
        if !reaches && !untold.everything {
            return Ok(Lost::Nothing);
        }
        let left_out = match self.left_out_of_all(&agreement, known)? {
            Some(left_out) => left_out,
            None => match self.perhaps(record, known, consents, untold.everything)? {
                Some(perhaps) => perhaps.left_out,
                None => return Ok(Lost::Nothing),
            },
        };
        let asset = self.asset(&dataset)?;
        let Some(view) = asset.and_then(|asset| self.view(record, &asset).ok().flatten()) else {
            return Ok(Lost::Unnamed(
                "a person's permission ended; the dataset does not say any more which column names persons, so that nothing can be asked back",
            ));
        };
        let mut attributes = Vec::new();
        // Something else may permit it still, or a part of it.
        if let Some(hidden) = view.hidden(person).filter(|_| !untold.everything) {
            let got = view.personal.attributes.keys().filter(|name| !left_out.contains(name));
            attributes = got.filter(|name| hidden.iter().any(|one| **one == ***name)).cloned().collect();
            if attributes.is_empty() {
                return Ok(Lost::Nothing);
            }
        }
        // A recipient that never got the name is not told it now.
        let values = match left_out.contains(&view.personal.subject) {
            true => Vec::new(),
            false => self.names_at(person, known, record, &view.personal.subject)?,
        };
        if values.is_empty() {
            return Ok(Lost::Unnamed(
                "a person's permission ended; what was handed on does not tell who it is about, so that nothing can be asked back",
            ));
        }
        let due = untold.at.checked_add(SignedDuration::from_hours(24 * notice::DAYS_TO_DELETE));
        let due = due.unwrap_or(Timestamp::MAX);
        let column = view.personal.subject.clone();
        Ok(Lost::Told(Withdrawal { dataset, column, values, attributes, withdrawn_at: untold.at, due }))
    }

    /// How the recipient under an agreement knows a person.
    fn names_at(
        &self,
        person: &Person,
        known: &PersonRecord,
        record: &AgreementRecord,
        column: &str,
    ) -> Result<Vec<String>, EngineError> {
        let subject = self.subject_of(person, known)?;
        let key = self.pseudonym_key(record.agreement.id().as_str())?;
        let mut values: Vec<_> = transforms_of_each(record.agreement.policy())
            .iter()
            .filter_map(|transforms| delivered(transforms, column, &subject, &key))
            .filter(|value| !value.is_empty())
            .collect();
        values.dedup();
        Ok(values)
    }

    /// Records what the provider says must be deleted.
    pub(in crate::engine) fn understand_withdrawal(
        &self,
        record: &AgreementRecord,
        kept: StatementRecord,
        statement: &Statement,
    ) -> Result<(StatementRecord, String), EngineError> {
        let withdrawal: Withdrawal = serde_json::from_value(statement.stated.clone())
            .map_err(|error| malformed(format!("/statement: {error}")))?;
        if record.role != Role::Consumer {
            return Err(malformed("/statement: that something be deleted is for the provider to say"));
        }
        if withdrawal.dataset != record.agreement.target().as_str() {
            return Err(malformed("/statement: is about another dataset than the agreement"));
        }
        let text =
            format!("a person permits no more what was handed on; it must be deleted by {}", withdrawal.due);
        Ok((StatementRecord { due: Some(withdrawal.due), ..kept }, text))
    }

    /// Records that the consumer says it has deleted something.
    pub(in crate::engine) fn understand_deletion(
        &self,
        record: &AgreementRecord,
        kept: StatementRecord,
        statement: &Statement,
    ) -> Result<(StatementRecord, String), EngineError> {
        let deletion: Deletion = serde_json::from_value(statement.stated.clone())
            .map_err(|error| malformed(format!("/statement: {error}")))?;
        let key = tables::statement(record.agreement.id().as_str(), &deletion.notice);
        let asked = tables::load::<StatementRecord>(&self.store, &key)?.map(|(asked, _)| asked);
        if !asked.is_some_and(|asked| asked.kind == notice::WITHDRAWAL && asked.by == self.did()) {
            return Err(malformed(format!(
                "/statement: there is no notice `{}` of this node",
                deletion.notice
            )));
        }
        if deletion.statement.len() > notice::MAX_WORDS {
            return Err(malformed(format!("/statement: longer than {} bytes", notice::MAX_WORDS)));
        }
        let text = format!("states that what the notice {} is about was deleted", deletion.notice);
        Ok((StatementRecord { answers: Some(deletion.notice), ..kept }, text))
    }

    /// What is to be deleted, here and at others, under one agreement or all: each notice with what it is about, and whether it
    /// was confirmed.
    ///
    /// # Errors
    /// The store failed.
    pub fn deletions(
        &self,
        agreement: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Json>, EngineError> {
        let under = agreement
            .map_or_else(|| prefix::STATEMENT.to_owned(), |one| tables::within(prefix::STATEMENT, one));
        let notice = |one: StatementRecord| {
            let is_notice = one.kind == notice::WITHDRAWAL;
            // The text is read again where it is shown.
            Ok::<_, EngineError>(is_notice.then_some(StatementRecord { sealed: String::new(), ..one }))
        };
        let found = Page::of(&self.store, (prefix::STATEMENT, &under), after, limit, notice)?;
        let mut confirmed = HashMap::new();
        for agreement in found.items.iter().map(|one| one.agreement.as_str()).collect::<BTreeSet<_>>() {
            let here: HashSet<_> = found
                .items
                .iter()
                .filter(|one| one.agreement == agreement)
                .map(|one| one.id.as_str())
                .collect();
            self.each_statement(agreement, |one| {
                if let Some(notice) = one.answers.filter(|notice| here.contains(notice.as_str())) {
                    confirmed.insert(notice, (one.recorded_at, one.told));
                }
                Ok(())
            })?;
        }
        let shown = |one: &StatementRecord| {
            let ours = one.by != self.did();
            let confirmed = confirmed.get(&one.id);
            // Whose rows they are is shown to who must delete them, until that is done.
            let about = if ours && confirmed.is_none() {
                let key = tables::statement(&one.agreement, &one.id);
                let whole = tables::load::<StatementRecord>(&self.store, &key)?;
                whole.map_or(Ok(Json::Null), |(whole, _)| self.stated(&whole))?
            } else {
                Json::Null
            };
            Ok(json!({
                "notice": one.id, "agreement": one.agreement, "by": one.by, "at": one.recorded_at, "due": one.due,
                "ours": ours, "told": one.told, "confirmed": confirmed.map(|(at, _)| at),
                "confirmationTold": confirmed.map(|(_, told)| told), "about": about,
            }))
        };
        let items = found.items.iter().map(shown).collect::<Result<_, EngineError>>()?;
        Ok(Page { items, next: found.next })
    }

    /// Confirms that what a notice asked for was deleted; the provider is told.
    ///
    /// # Errors
    /// No such notice, or it was confirmed already.
    pub async fn confirm_deletion(
        self: &Arc<Self>,
        agreement: &str,
        id: &str,
        words: &str,
    ) -> Result<(), EngineError> {
        let (record, _) = self.load_agreement(agreement)?;
        let key = tables::statement(agreement, id);
        let asked = tables::load::<StatementRecord>(&self.store, &key)?.map(|(asked, _)| asked);
        if !asked.is_some_and(|asked| asked.kind == notice::WITHDRAWAL && asked.by == record.peer) {
            return Err(EngineError::NotFound { kind: "notice", id: id.to_owned() });
        }
        let mut sent = None;
        self.each_statement(agreement, |one| {
            if one.answers.as_deref() == Some(id) && !matches!(one.told, Told::Not(_)) {
                sent = Some(one.at);
            }
            Ok(())
        })?;
        if let Some(at) = sent {
            let reason = format!("the deletion was confirmed on {at} already");
            return Err(EngineError::refused(RefusalKind::IllegalTransition, reason));
        }
        if words.is_empty() || words.len() > notice::MAX_WORDS {
            return Err(malformed(format!("statement: must have 1 to {} bytes", notice::MAX_WORDS)));
        }
        let made = Made {
            kind: notice::DELETION,
            stated: json!(Deletion { notice: id.to_owned(), statement: words.to_owned() }),
            answers: Some(id.to_owned()),
            due: None,
            text: format!("states that what the notice {id} is about was deleted"),
        };
        self.state(&record, made, Batch::new()).await
    }
}
