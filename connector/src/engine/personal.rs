//! Data about persons: who permits what, in memory for the gate, and who was among the rows that were handed on.

mod consents;
mod handed;
mod released;
mod requests;
mod unsure;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dataplane::{Hidden, OfPersons, Permitted, Persons};
use governance::consent::{Asked, Extent};
use governance::personal::{Personal, purposes_of};
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use policy_engine::Hierarchy;
use serde_json::json;
use sha2::Sha256;
use tokio::sync::Notify;

pub use self::consents::{Receipt, Withdrawing};
pub use self::handed::{Recipient, Share};
pub(super) use self::released::Releasing;
pub use self::requests::{Answer, Insight};
use super::{Engine, EngineError};
use crate::clock;
use crate::subject_keys::SubjectKeys;
use crate::tables::{self, AgreementRecord, ConsentRecord, PersonRecord, prefix};

/// A person, under the name that the ledger has for them: a keyed hash of how the data names them.
type Person = [u8; 16];

/// Persons whose rows a stream counts before it hands the counts on.
const COUNTED: usize = 4096;

/// What is known of persons, in memory; the store has all of it.
#[derive(Debug)]
pub(super) struct Ledger {
    mac: Hmac<Sha256>,
    keys: SubjectKeys,
    persons: RwLock<HashMap<Person, Held>>,
    extents: RwLock<Extents>,
    /// What streams that run have counted, by agreement.
    views: Mutex<Vec<(String, Arc<Mutex<handed::Counts>>)>>,
    /// What was handed on and is not written yet, by agreement.
    handed: Mutex<HashMap<String, handed::Counts>>,
    /// Tags of everybody of whom something was handed on under an agreement, once they were asked for.
    reached: Mutex<HashMap<String, handed::Reached>>,
    /// Markers of reads that have ended and handed their counts on: they go once those are written.
    done: Mutex<Vec<String>>,
    changed: Notify,
    /// Held while what was handed on is written: whoever comes meanwhile waits until it is.
    writing: tokio::sync::Mutex<()>,
    /// Held while a person is made or forgotten.
    order: tokio::sync::Mutex<()>,
}

/// Extents, each once: most persons permit the same.
#[derive(Debug, Default)]
struct Extents {
    all: Vec<Arc<Extent>>,
    known: HashMap<Extent, usize>,
}

/// What is known of one person.
#[derive(Debug, Default)]
struct Held {
    consents: Vec<HeldConsent>,
    objects: bool,
}

#[derive(Debug)]
struct HeldConsent {
    id: String,
    extent: usize,
    from: Timestamp,
    until: Timestamp,
}

impl Ledger {
    /// An empty ledger whose names are made with `key`.
    pub(super) fn new(key: &[u8], keys: SubjectKeys) -> anyhow::Result<Self> {
        Ok(Self {
            mac: Hmac::new_from_slice(key)?,
            keys,
            persons: RwLock::default(),
            extents: RwLock::default(),
            views: Mutex::default(),
            handed: Mutex::default(),
            reached: Mutex::default(),
            done: Mutex::default(),
            changed: Notify::new(),
            writing: tokio::sync::Mutex::default(),
            order: tokio::sync::Mutex::default(),
        })
    }

    fn person(&self, subject: &str) -> Person {
        let mut mac = self.mac.clone();
        mac.update(subject.as_bytes());
        let mut person = [0; 16];
        person.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        person
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Person, Held>> {
        self.persons.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Person, Held>> {
        self.persons.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of an extent.
    fn number(&self, extent: &Extent) -> usize {
        let mut extents = self.extents.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = extents.known.get(extent) {
            return *number;
        }
        let number = extents.all.len();
        extents.all.push(Arc::new(extent.clone()));
        extents.known.insert(extent.clone(), number);
        number
    }

    fn extent(&self, number: usize) -> Option<Arc<Extent>> {
        self.extents.read().unwrap_or_else(PoisonError::into_inner).all.get(number).cloned()
    }

    /// A consent counts from now on, if it was not withdrawn.
    fn enter(&self, person: Person, consent: &governance::consent::Consent) {
        let extent = self.number(&consent.extent);
        if consent.withdrawn.is_some() {
            return;
        }
        let mut persons = self.write();
        let held = persons.entry(person).or_default();
        held.consents.retain(|one| one.id != consent.id);
        let until = consent.until.unwrap_or(Timestamp::MAX);
        held.consents.push(HeldConsent { id: consent.id.clone(), extent, from: consent.from, until });
    }
}

/// What stands before rows about persons.
pub(super) struct Guarded {
    /// Asked for every row.
    pub(super) guard: OfPersons,
    /// As which type an operator's ticket tells the persons; such data is read with a ticket only.
    pub(super) identifier_type: Option<String>,
    /// Under which key the store must have that the read runs before its first row is handed on.
    pub(super) marker: Option<String>,
}

/// A person's name in keys and documents.
fn name(person: &Person) -> String {
    crate::ids::hex(person)
}

/// The person of a name.
fn person_of(name: &str) -> Option<Person> {
    let mut person = [0; 16];
    for (at, byte) in person.iter_mut().enumerate() {
        *byte = u8::from_str_radix(name.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    (name.len() == 32).then_some(person)
}

/// What persons permit of one read under one agreement.
#[derive(Debug)]
struct View {
    ledger: Arc<Ledger>,
    agreement: String,
    asked: Asked,
    known: Arc<Hierarchy>,
    personal: Personal,
    /// What is left out where rows go without the person's permission, unless the person objects.
    open: Option<Hidden>,
    /// Attributes that this agreement's purposes do not reach, whoever permits it.
    barred: Hidden,
    /// By the number of the extent: what is left out under it; `None` where it does not reach that far.
    verdicts: RwLock<HashMap<usize, Option<Hidden>>>,
    counted: Arc<Mutex<handed::Counts>>,
    /// Under which key the store has that this read runs.
    marker: Option<String>,
}

impl View {
    fn new(
        ledger: Arc<Ledger>,
        agreement: String,
        asked: Asked,
        known: Arc<Hierarchy>,
        personal: Personal,
    ) -> Self {
        let left_out = |permitted| -> Hidden {
            let names = personal.left_out(&asked.purposes, &known, |_| permitted);
            names.into_iter().map(Arc::from).collect()
        };
        let open = personal.permits_without_consent(&asked.purposes, &known).then(|| left_out(false));
        let barred = left_out(true);
        let (verdicts, counted) = (RwLock::default(), Arc::default());
        Self { ledger, agreement, asked, known, personal, open, barred, verdicts, counted, marker: None }
    }

    /// What is left out under an extent; `None` where it does not reach as far as the agreement.
    fn left_out(&self, extent: &Extent) -> Option<Vec<&str>> {
        let covers = extent.covers(&self.asked, &self.known);
        covers.then(|| self.personal.left_out(&self.asked.purposes, &self.known, |name| extent.names(name)))
    }

    /// As [`View::left_out`], by the extent's number; each is looked at once.
    fn verdict(&self, number: usize) -> Option<Hidden> {
        if let Some(known) = self.verdicts.read().unwrap_or_else(PoisonError::into_inner).get(&number) {
            return known.clone();
        }
        let extent = self.ledger.extent(number);
        let left_out = extent.as_ref().and_then(|extent| self.left_out(extent));
        let verdict = left_out.map(|names| names.into_iter().map(Arc::from).collect::<Hidden>());
        self.verdicts.write().unwrap_or_else(PoisonError::into_inner).insert(number, verdict.clone());
        verdict
    }

    /// What is left out of the rows about a person now; `None` where nothing of them may be handed on.
    fn hidden(&self, person: &Person) -> Option<Hidden> {
        let now = clock::now();
        let persons = self.ledger.read();
        let held = persons.get(person);
        let consents = held.into_iter().flat_map(|held| &held.consents);
        let mut hidden: Option<Hidden> = None;
        for one in consents.filter(|one| one.from <= now && now < one.until) {
            let Some(left_out) = self.verdict(one.extent) else { continue };
            hidden = Some(match hidden {
                None => left_out,
                // What one of them permits is permitted.
                Some(before) => handed::both(&before, &left_out),
            });
        }
        let objects = held.is_some_and(|held| held.objects);
        hidden.or_else(|| self.open.clone().filter(|_| !objects))
    }

    /// Hands on what was counted.
    fn settle(&self) {
        self.ledger.settle(&self.agreement, &self.counted);
    }
}

impl Persons for View {
    fn permits(&self, subject: &str) -> Option<Permitted> {
        let person = self.ledger.person(subject);
        Some(Permitted { person, hidden: self.hidden(&person)? })
    }

    fn permitted_elsewhere(&self, subject: &str) -> Option<Permitted> {
        let person = self.ledger.person(subject);
        let objects = self.ledger.read().get(&person).is_some_and(|held| held.objects);
        (!objects).then(|| Permitted { person, hidden: Arc::clone(&self.barred) })
    }

    fn handed_on(&self, permitted: &Permitted) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = counted.entry(permitted.person).or_insert_with(|| (0, Arc::clone(&permitted.hidden)));
        *entry = (entry.0 + 1, handed::both(&entry.1, &permitted.hidden));
        let is_full = counted.len() >= COUNTED;
        drop(counted);
        if is_full {
            self.settle();
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.settle();
        if let Some(marker) = self.marker.take() {
            self.ledger.done(marker);
        }
    }
}

/// Persons for a measurement: `p0`, `p1` and so on, of whom every second permits everything; their keys are in `folder`.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn sample_persons(folder: &std::path::Path, count: usize) -> anyhow::Result<OfPersons> {
    let keys = SubjectKeys::open(&folder.join("subjects.keys"))?;
    let ledger = Arc::new(Ledger::new(b"a key for measurements", keys)?);
    let list = |one: &str| vec![one.to_owned()];
    let (purposes, recipients) = (list(governance::personal::ANY_PURPOSE), list("did:web:sample"));
    let extent =
        Extent { purposes: purposes.clone(), recipients, datasets: Vec::new(), attributes: Vec::new() };
    for number in (0..count).step_by(2) {
        let consent = governance::consent::Consent {
            id: format!("c{number}"),
            extent: extent.clone(),
            from: Timestamp::UNIX_EPOCH,
            until: None,
            operator: String::new(),
            given_at: Timestamp::UNIX_EPOCH,
            statement: String::new(),
            notice: None,
            withdrawn: None,
        };
        ledger.enter(ledger.person(&format!("p{number}")), &consent);
    }
    let json = json!({"subject": "rider", "attributes": {"start": {"category": "https://w3id.org/dpv/pd#Location"}}});
    let asked = Asked { recipient: "did:web:sample".to_owned(), purposes, dataset: "urn:sample".to_owned() };
    let view = View::new(ledger, "urn:sample".to_owned(), asked, Arc::default(), Personal::parse(json)?);
    Ok(OfPersons {
        subject: Arc::from("rider"),
        attributes: Arc::from([Arc::from("start")]),
        persons: Arc::new(view),
        releases: None,
    })
}

impl Engine {
    /// What is asked of persons for a read under an agreement, which has an id where it hands on rows; `None` where the dataset is about nobody.
    ///
    /// # Errors
    /// What the dataset says of persons cannot be read: nothing of it may be handed on.
    pub(super) fn of_persons(
        self: &Arc<Self>,
        record: &AgreementRecord,
        asset: &::catalog::Asset,
        read: Option<&str>,
    ) -> Result<Option<Guarded>, String> {
        let Some(mut view) = self.view(record, asset)? else { return Ok(None) };
        view.marker = read.map(|read| tables::handing(&view.agreement, read));
        let subject = Arc::from(view.personal.subject.as_str());
        let attributes = view.personal.attributes.keys().map(|name| Arc::from(name.as_str())).collect();
        let (identifier_type, marker) = (view.personal.identifier_type.clone(), view.marker.clone());
        let mut views = self.ledger.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.retain(|(_, counted)| Arc::strong_count(counted) > 1);
        views.push((view.agreement.clone(), Arc::clone(&view.counted)));
        let releases = Some(self.keeper(record, &asset.id));
        let guard = OfPersons { subject, attributes, persons: Arc::new(view), releases };
        Ok(Some(Guarded { guard, identifier_type, marker }))
    }

    /// What persons permit under an agreement; `None` where the dataset is about nobody.
    fn view(&self, record: &AgreementRecord, asset: &::catalog::Asset) -> Result<Option<View>, String> {
        let personal = Personal::of(&asset.properties).map_err(|error| {
            format!("what `{}` says of the persons it is about cannot be read: {error}", asset.id)
        })?;
        let Some(personal) = personal else { return Ok(None) };
        let (ledger, known) = (Arc::clone(&self.ledger), Arc::clone(&self.known));
        let agreement = record.agreement.id().to_string();
        Ok(Some(View::new(ledger, agreement, asked(record, &asset.id), known, personal)))
    }

    /// Reads what the store knows of persons.
    pub(super) fn load_ledger(&self) -> Result<(), EngineError> {
        for record in tables::all::<ConsentRecord>(&self.store, prefix::CONSENT)? {
            if let Some(person) = person_of(&record.person) {
                self.ledger.enter(person, &record.consent);
            }
        }
        let mut after: Option<String> = None;
        loop {
            let page = tables::list::<PersonRecord>(&self.store, prefix::PERSON, after.as_deref(), 1000)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut persons = self.ledger.write();
            for (key, record) in page {
                let person = key.strip_prefix(prefix::PERSON).and_then(person_of);
                if let Some(person) = person.filter(|_| record.objected.is_some()) {
                    persons.entry(person).or_default().objects = true;
                }
            }
        }
    }

    fn load_person(&self, person: &Person) -> Result<Option<(PersonRecord, u64)>, EngineError> {
        Ok(tables::load(&self.store, &tables::key(prefix::PERSON, &name(person)))?)
    }

    /// How the data names a person.
    fn subject_of(&self, person: &Person, record: &PersonRecord) -> Result<String, EngineError> {
        let key = tables::key(prefix::PERSON, &name(person));
        Ok(self.ledger.keys.open_sealed(record.slot, &key, &record.sealed)?)
    }

    /// Records for persons whom the ledger does not know yet; each gets a key of its own. The caller holds
    /// [`Ledger::order`] until its batch is committed.
    fn make_persons(
        &self,
        subjects: &[(Person, String)],
        batch: &mut store::Batch,
    ) -> Result<HashMap<Person, PersonRecord>, EngineError> {
        let mut all = HashMap::new();
        let mut fresh = Vec::new();
        let mut seen = HashSet::new();
        for (person, subject) in subjects.iter().filter(|(person, _)| seen.insert(*person)) {
            match self.load_person(person)? {
                Some((mut record, _)) => {
                    // Known so far by what was handed on only.
                    if !subject.is_empty() && self.subject_of(person, &record)?.is_empty() {
                        let key = tables::key(prefix::PERSON, &name(person));
                        record.sealed = self.ledger.keys.seal(record.slot, &key, subject)?;
                        tables::put(batch, key, &record)?;
                    }
                    all.insert(*person, record);
                }
                None => fresh.push((person, subject)),
            }
        }
        if fresh.is_empty() {
            return Ok(all);
        }
        let first =
            self.ledger.keys.make(fresh.len()).map_err(|error| EngineError::Vault(format!("{error:#}")))?;
        for (slot, (person, subject)) in (first..).zip(fresh) {
            let key = tables::key(prefix::PERSON, &name(person));
            let sealed = self.ledger.keys.seal(slot, &key, subject)?;
            let record = PersonRecord { slot, sealed, objected: None };
            tables::put(batch, key, &record)?;
            all.insert(*person, record);
        }
        Ok(all)
    }
}

/// What an agreement wants of persons' data.
fn asked(record: &AgreementRecord, dataset: &str) -> Asked {
    Asked {
        recipient: record.consumer().to_owned(),
        purposes: purposes_of(record.agreement.policy()),
        dataset: dataset.to_owned(),
    }
}
