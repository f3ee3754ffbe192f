//! The gate in front of every byte: does the transfer run, is its agreement signed by both and in force, does the
//! policy permit it now?

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dataplane::{Grant, Judge, Metered, Obligations, OfPersons, PseudonymKey, Signal, Ticket, TooMuch};
use governance::levels::Measured;
use hmac::{Hmac, Mac as _};
use jiff::{SignedDuration, Timestamp};
use policy_engine::{
    Change, Decision, Facts, Hierarchy, Outcome, PUSH, Policy, Reason, Record, Request, World, advise,
    evaluate_promised, promised, transforms,
};
use protocol::Role;
use protocol::transfer::Transfer;
use serde_json::{Map, Value as Json};
use sha2::Sha256;
use store::{Batch, Store, StoreError};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use trust::{AgreementSignature, DidDocument, SignerRole};

use super::claims::{Claims, missing};
use super::meters::{Ended, Meters, Unwritten};
use super::transfers::is_over;
use super::{Engine, EngineError};
use crate::clock;
use crate::config::Signatures;
use crate::peer_rules::ACCEPT_PEER_TOKEN;
use crate::tables::{self, AgreementRecord, Event, Running, TransferRecord, Usage, prefix};

/// It is as if the read had not been counted.
fn take_back(usage: &mut Usage, agreement: &str, read: &Read, batch: &mut Batch) {
    let Some(id) = read.id.as_ref().filter(|_| read.noted) else { return };
    batch.delete(tables::read(agreement, id));
    usage.requests = usage.requests.saturating_sub(1);
    if usage.last == Some(read.at) {
        usage.last = read.before;
    }
    usage.first = usage.first.filter(|_| usage.requests > 0);
}

/// A read that is let through.
#[derive(Debug)]
pub struct Admission {
    /// The permission.
    pub grant: Grant,
    /// Where the data is.
    pub data_address: Map<String, Json>,
    /// What the data is, if its owner said so.
    pub media_type: Option<String>,
    /// Tells when to stop, and when to ask again.
    pub signal: watch::Receiver<Signal>,
    /// The agreement it counts under.
    pub agreement: String,
    /// The transfer.
    pub transfer: String,
    /// The read, for what is metered.
    pub read: Read,
    /// Its place among those who read.
    pub ticket: Ticket,
    /// This node's log entry of an access that an operator permitted.
    pub access: Option<String>,
}

/// A transfer, and what tells of its end.
struct Watched {
    record: Arc<TransferRecord>,
    signal: watch::Receiver<Signal>,
}

/// What a reader sends along.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// How the consumer names the read.
    pub named: Option<String>,
    /// A request ticket of a personal data operator.
    pub ticket: Option<String>,
    /// Whether what comes is to be followed.
    pub follows: bool,
}

/// One read that was let through.
#[derive(Debug, Clone)]
pub struct Read {
    /// Its name among the agreement's open reads; `None` for one that is not counted.
    pub(super) id: Option<String>,
    /// How the consumer names it.
    pub(super) named: Option<String>,
    /// When it was let through.
    pub(super) at: Timestamp,
    /// When the one before it was.
    pub(super) before: Option<Timestamp>,
    /// Whether it is written down already that it began: where the terms ask how often or for how long. Otherwise that is
    /// written together with what passed, so that a small read does not wait for the disk.
    pub(super) noted: bool,
}

/// Reads that end within this time are written together.
const TOGETHER: Duration = Duration::from_millis(100);

/// Left operands that ask how often, or for how long, something was used.
const OF_USE: [&str; 4] = ["count", "elapsedTime", "meteredTime", "timeInterval"];

/// A read that is not let through.
#[derive(Debug)]
pub enum Denial {
    /// The token is right, but data must not flow now: the reason is for the consumer.
    Denied(String),
    /// A fault of this node.
    Failed(EngineError),
    /// A personal data operator does not answer.
    Operator(String),
    /// A request ticket is missing, or does not hold.
    Ticket(String),
    /// A bound of the agreement or of the participant is reached.
    TooMuch(TooMuch),
    /// No such transfer, or not its token: the same answer for both.
    Unknown,
}

impl Engine {
    /// The bearer token of the `generation`-th start of a transfer: bound to transfer, agreement and asker.
    pub(super) fn stream_token(&self, transfer: &Transfer, generation: u32) -> Result<String, EngineError> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.stream_key)
            .map_err(|error| EngineError::Peer(format!("the stream key cannot be used: {error}")))?;
        for part in
            [transfer.pid(), transfer.agreement.as_str(), transfer.peer.as_str(), &generation.to_string()]
        {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part.as_bytes());
        }
        Ok(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// The key under which values are pseudonymised for one agreement: the same for all its reads, and for no other.
    pub(super) fn pseudonym_key(&self, agreement: &str) -> Result<PseudonymKey, EngineError> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.stream_key)
            .map_err(|error| EngineError::Peer(format!("the stream key cannot be used: {error}")))?;
        mac.update(b"pseudonyms of ");
        mac.update(agreement.as_bytes());
        Ok(PseudonymKey::new(mac.finalize().into_bytes().to_vec()))
    }

    /// Lets a read through, counted and durable, or says why not. It is about the form `distribution` of the data, where one
    /// is named.
    ///
    /// # Errors
    /// See [`Denial`].
    pub async fn admit(
        self: &Arc<Self>,
        pid: &str,
        token: &str,
        distribution: Option<&str>,
        reads: bool,
        sent: Sent,
    ) -> Result<Admission, Denial> {
        let watched = self.provided(pid)?;
        let transfer = &watched.record.transfer;
        let expected = self.stream_token(transfer, transfer.generation).map_err(Denial::Failed)?;
        if !bool::from(expected.as_bytes().ct_eq(token.as_bytes())) {
            return Err(Denial::Unknown);
        }
        self.admit_to(pid, watched, distribution, reads, sent, None).await
    }

    /// A transfer of which this node is the provider, as it stands once it is watched: what changes it from here on, a new
    /// start among it, is not missed.
    fn provided(&self, pid: &str) -> Result<Watched, Denial> {
        let signal = self.streams.watch(pid);
        let found = self.kept_transfers.load(&self.store, &tables::key(prefix::TRANSFER, pid));
        let found = found.map_err(|error| Denial::Failed(error.into()))?;
        let record = found.filter(|record| record.transfer.role == Role::Provider).ok_or(Denial::Unknown)?;
        Ok(Watched { record, signal })
    }

    /// As [`Engine::admit`], for data that this node pushes.
    ///
    /// # Errors
    /// See [`Denial`].
    pub async fn admit_push(self: &Arc<Self>, pid: &str) -> Result<Admission, Denial> {
        let watched = self.provided(pid)?;
        self.admit_to(pid, watched, None, true, Sent::default(), Some(PUSH)).await
    }

    async fn admit_to(
        self: &Arc<Self>,
        pid: &str,
        Watched { record: current, signal }: Watched,
        distribution: Option<&str>,
        reads: bool,
        sent: Sent,
        done: Option<&'static str>,
    ) -> Result<Admission, Denial> {
        let transfer = &current.transfer;
        let ticket = self
            .fairness
            .enter(transfer.agreement.as_str(), transfer.peer.as_str())
            .map_err(Denial::TooMuch)?;
        let agreement = transfer.agreement.to_string();
        let denied = |reason: String| Err(Denial::Denied(reason));
        let (record, signed) = self.agreement_to_read(&agreement).map_err(Denial::Failed)?;
        let noted = reads && OF_USE.iter().any(|left| record.agreement.policy().mentions(left));
        if let Some(ended) = record.end() {
            return denied(format!("the agreement {agreement} was ended on {}: {}", ended.at, ended.reason));
        }
        if !transfer.is_open() {
            let why = transfer.progress.problem.clone().unwrap_or_default();
            let over = if is_over(transfer) { "is over" } else { "does not run now" };
            return denied(
                format!("the transfer {over} ({}) {why}", transfer.progress.state_name())
                    .trim_end()
                    .to_owned(),
            );
        }
        if let Err(reason) = signed {
            return denied(reason);
        }
        // After a restart, what the party has shown is read from the store.
        self.refresh_claims(&record.peer).await.map_err(Denial::Failed)?;
        let dataset = transfer.dataset.as_str();
        let asset_key = tables::key(prefix::ASSET, dataset);
        // Before it is read: a change between the two is noticed.
        let asset_version = self.store.get(&asset_key).map_err(|error| Denial::Failed(error.into()))?;
        let asset_version = asset_version.map(|found| found.version);
        let asset = self.kept_assets.load(&self.store, &asset_key);
        let Some(asset) = asset.map_err(|error| Denial::Failed(error.into()))? else {
            return denied(format!("the provider does not have `{dataset}` any more"));
        };
        let Some(data_address) = asset.address_of(distribution).cloned() else {
            return denied(format!("`{dataset}` has no distribution `{}`", distribution.unwrap_or_default()));
        };
        let id = reads.then(crate::ids::urn);
        let mut of_persons = match self.of_persons(&record, &asset, id.as_deref()) {
            Ok(of_persons) => of_persons,
            Err(reason) => return denied(reason),
        };
        if reads && (noted || of_persons.is_some() || self.promised.of(&agreement).is_some()) {
            self.can_write_down().await.map_err(Denial::Failed)?;
        }
        let mut access = None;
        if let Some((of_persons, identifier_type)) =
            of_persons.as_mut().and_then(|one| Some((&mut one.guard, one.identifier_type.take()?)))
        {
            let ticketed = self.ticketed(sent.ticket.as_deref(), &record, pid, &identifier_type).await?;
            of_persons.persons = ticketed.only(Arc::clone(&of_persons.persons));
            access = Some(ticketed.access);
        }
        let (of_persons, marker) = of_persons.map(|one| (one.guard, one.marker)).unzip();
        let marker = marker.flatten();
        // Uses that count are let through one after the other; others need not wait for what is being written.
        let key = tables::key(prefix::USAGE, &agreement);
        let _lock = if noted { Some(self.locks.lock(&key).await) } else { None };
        let (usage, usage_version) = self.usage(&key).map_err(|error| Denial::Failed(error.into()))?;
        let now = clock::now();
        let policy = record.agreement.policy();
        // What is done is asked for, and what covers it permits it.
        let follows = sent.follows || is_only_followed(&data_address);
        let action = done.unwrap_or(if follows { "stream" } else { "read" });
        let judge = Arc::new(AgreementJudge {
            store: self.store.clone(),
            meters: Arc::clone(&self.meters),
            claims: Arc::clone(&self.claims),
            required: Arc::clone(&self.required),
            known: Arc::clone(&self.known),
            promised: promised(policy, action, &self.known),
            action,
            record: Arc::clone(&record),
            dataset: dataset.to_owned(),
            agreement: agreement.clone(),
            since: record.concluded_at,
            pseudonyms: self.pseudonym_key(&agreement).map_err(Denial::Failed)?,
            asset_version,
            personal: super::catalog::of_persons(&asset).cloned(),
            of_persons,
            count: if reads { usage.requests + 1 } else { usage.requests.max(1) },
            before: usage.last,
        });
        let read = Read { id, named: sent.named, at: now, before: usage.last, noted };
        // It counts among the running reads before it is judged: reads that share a metered time use it up faster.
        let running = if reads { self.meters.open(&agreement, now, usage.metered) } else { 0 };
        let asked: Arc<dyn Judge> = Arc::<AgreementJudge>::clone(&judge);
        let admitted = match Grant::decide(asked, now) {
            Ok(grant) => self
                .begin(&agreement, &read, marker, usage, usage_version)
                .await
                .map(|()| grant)
                .map_err(Denial::Failed),
            Err(reason) => {
                let reason = match judge.advice(now) {
                    Some(advice) => format!("{reason} ({advice})"),
                    None => reason.to_string(),
                };
                let text = format!("a read of {dataset} was denied: {reason}");
                let event = Event::new("stream", now, text).about(pid).with(&record.peer);
                self.record_refusal(&format!("a read of {dataset} was denied"), event).await;
                Err(Denial::Denied(reason))
            }
        };
        let grant = match admitted {
            Ok(grant) => grant,
            Err(denial) => {
                if reads {
                    self.meters.close(&agreement, now);
                }
                if let Some(access) = &access {
                    self.access_ended(access, Err("the agreement does not permit it now")).await;
                }
                return Err(denial);
            }
        };
        if running > 1 && policy.mentions("meteredTime") {
            self.reconsider(&agreement).map_err(Denial::Failed)?;
        }
        let media_type = catalog::Description::from_properties(&asset.properties).media_type_of(distribution);
        let transfer = pid.to_owned();
        Ok(Admission { grant, data_address, media_type, signal, agreement, transfer, read, ticket, access })
    }

    /// What must be counted does not flow while nothing can be counted.
    async fn can_write_down(&self) -> Result<(), EngineError> {
        let is_failing = self.store.failing().borrow().is_some();
        if is_failing { Ok(self.store.try_again().await?) } else { Ok(()) }
    }

    /// Writes down that a read begins, where it is counted or hands on rows about persons.
    async fn begin(
        &self,
        agreement: &str,
        read: &Read,
        marker: Option<String>,
        usage: Usage,
        version: Option<u64>,
    ) -> Result<(), EngineError> {
        let mut batch = Batch::new();
        let running = Running { agreement: agreement.to_owned(), since: read.at };
        if let Some(marker) = marker {
            tables::put(&mut batch, marker, &running)?;
        }
        if let Some(id) = read.id.as_ref().filter(|_| read.noted) {
            let mut usage = Usage { requests: usage.requests + 1, last: Some(read.at), ..usage };
            usage.first.get_or_insert(read.at);
            let key = tables::key(prefix::USAGE, agreement);
            batch.expect(key.clone(), version);
            tables::put(&mut batch, key, &usage)?;
            tables::put(&mut batch, tables::read(agreement, id), &running)?;
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.commit(batch).await.map(|_| ())
    }

    /// Lets every running read under an agreement ask its policy again.
    pub(super) fn reconsider(&self, agreement: &str) -> Result<(), EngineError> {
        for pid in self.transfers_of(agreement)? {
            self.streams.reconsider(&pid);
        }
        Ok(())
    }

    /// A source did not give its data: the read is not counted, but measured.
    pub async fn source_failed(&self, agreement: &str, read: &Read) {
        let failed = Metered { failed: Some(String::new()), ..Metered::default() };
        self.take_back(agreement, read, failed).await;
    }

    /// Takes back the count of a read of which no byte was handed on, since its source could not be opened.
    pub async fn give_back(&self, agreement: &str, read: &Read) {
        self.take_back(agreement, read, Metered::default()).await;
    }

    async fn take_back(&self, agreement: &str, read: &Read, metered: Metered) {
        if read.id.is_none() {
            return;
        }
        let (transfer, read, at) = (String::new(), read.clone(), clock::now());
        self.meters.ended(agreement, Ended { transfer, read, metered, at, given_back: true });
        self.write_meters(agreement).await;
    }

    /// Counts what passed under an agreement in a read that ended `at`. Reads that end together are written together: at once where the terms ask how
    /// much was used, within a tenth of a second otherwise.
    pub async fn meter(&self, agreement: &str, transfer: &str, read: &Read, metered: Metered, at: Timestamp) {
        if let Some(why) = metered.failed.as_ref().filter(|_| metered.bytes == 0) {
            // Nothing was handed on: it is as if the source had not been opened.
            let text = format!("the source failed before its first byte, and the read is not counted: {why}");
            self.record(Event::new("stream", clock::now(), text).about(transfer)).await;
            self.source_failed(agreement, read).await;
            return;
        }
        let (transfer, read) = (transfer.to_owned(), read.clone());
        let noted = read.noted;
        let ended = Ended { transfer, read, metered, at, given_back: false };
        let is_first = self.meters.ended(agreement, ended);
        if !noted {
            if !is_first {
                // Whoever waits already writes this too.
                return;
            }
            tokio::time::sleep_until(tokio::time::Instant::now() + TOGETHER).await;
        }
        self.write_meters(agreement).await;
    }

    /// Counts a read of this node as the consumer. Reads that end together are written together.
    pub(crate) async fn count_own_read(&self, agreement: &str, at: Timestamp, bytes: u64) {
        if self.meters.read_here(agreement, at, bytes) {
            tokio::time::sleep_until(tokio::time::Instant::now() + TOGETHER).await;
            self.write_meters(agreement).await;
        }
    }

    /// Writes what has ended and is not written yet, before the node stops.
    pub async fn write_all_meters(&self) {
        for agreement in self.meters.unwritten() {
            self.write_meters(&agreement).await;
        }
    }

    /// Records a measurement of its own.
    pub(crate) async fn measure(&self, agreement: &str, measured: Measured) {
        self.meters.measured(agreement, measured);
        self.write_meters(agreement).await;
    }

    pub(super) async fn write_meters(&self, agreement: &str) {
        let mut taken = None;
        let changed = self.change_usage(agreement, |usage, batch| {
            let mut whole: HashMap<String, (u64, u64, Timestamp)> = HashMap::new();
            let Unwritten { ended, measured, own } = &*taken.insert(self.meters.take(agreement));
            let measured = measured.iter().cloned().chain(ended.iter().filter_map(Ended::measured));
            self.put_measured(agreement, measured.collect(), batch)?;
            for (at, bytes) in own {
                usage.requests += 1;
                usage.bytes = usage.bytes.saturating_add(*bytes);
                usage.first = Some(usage.first.map_or(*at, |first| first.min(*at)));
                usage.last = usage.last.max(Some(*at));
            }
            for one in ended {
                if one.given_back {
                    take_back(usage, agreement, &one.read, batch);
                    continue;
                }
                usage.count(&one.metered);
                if one.read.id.is_some() && !one.read.noted {
                    usage.requests += 1;
                    usage.first = Some(usage.first.map_or(one.read.at, |first| first.min(one.read.at)));
                    usage.last = usage.last.max(Some(one.read.at));
                }
                if let Some(id) = &one.read.id {
                    if one.read.noted {
                        batch.delete(tables::read(agreement, id));
                    }
                    usage.metered = usage.metered.saturating_add(one.lasted());
                }
                match one.event() {
                    Some(event) => tables::append_event(batch, &event)?,
                    None => {
                        let (reads, bytes, at) = whole.entry(one.transfer.clone()).or_insert((0, 0, one.at));
                        *reads += 1;
                        *bytes = bytes.saturating_add(one.metered.bytes);
                        *at = one.at;
                    }
                }
            }
            for (transfer, (reads, bytes, at)) in whole {
                let text = match reads {
                    1 => format!("{bytes} bytes were read to the end"),
                    reads => format!("{bytes} bytes were read to the end, in {reads} reads"),
                };
                tables::append_event(batch, &Event::new("stream", at, text).about(transfer))?;
            }
            Ok(())
        });
        let changed = changed.await;
        let Some(taken) = taken else {
            if let Err(error) = changed {
                tracing::error!(%error, agreement, "reads are not metered yet");
            }
            return;
        };
        if let Err(error) = changed {
            tracing::error!(%error, agreement, "reads are not metered yet");
            // A store that fails takes back what it wrote before it writes again, so that nothing is counted twice.
            self.meters.put_back(agreement, taken);
        }
        self.meters.written(agreement);
    }

    /// Settles the reads that ran when the node was killed: they count up to the last thing it recorded.
    pub(super) async fn settle_reads(&self) -> Result<(), EngineError> {
        let mut last_seen = None;
        loop {
            let page = tables::list::<Running>(&self.store, prefix::READ, None, 500)?;
            if page.is_empty() {
                return Ok(());
            }
            let until = match last_seen {
                Some(at) => at,
                None => *last_seen.insert(self.last_recorded()?),
            };
            for (key, running) in page {
                self.change_usage(&running.agreement, |usage, batch| {
                    let lasted = until.duration_since(running.since).max(SignedDuration::ZERO);
                    usage.metered = usage.metered.saturating_add(lasted);
                    batch.delete(key);
                    Ok(())
                })
                .await?;
            }
        }
    }

    /// When the newest audit event was written.
    fn last_recorded(&self) -> Result<Timestamp, EngineError> {
        let mut newest = Timestamp::UNIX_EPOCH;
        let mut after: Option<String> = None;
        loop {
            let page = tables::events(&self.store, after.as_deref(), 1000)?;
            let Some(last) = page.last() else { return Ok(newest) };
            newest = newest.max(last.event.at);
            after = Some(last.key.clone());
        }
    }

    async fn change_usage(
        &self,
        agreement: &str,
        change: impl FnOnce(&mut Usage, &mut Batch) -> Result<(), StoreError>,
    ) -> Result<(), EngineError> {
        let key = tables::key(prefix::USAGE, agreement);
        let _lock = self.locks.lock(&key).await;
        let (mut usage, version) = self.usage(&key)?;
        let (mut batch, before) = (Batch::new(), usage);
        change(&mut usage, &mut batch)?;
        if batch.is_empty() && usage == before {
            return Ok(());
        }
        batch.expect(key.clone(), version);
        tables::put(&mut batch, key, &usage)?;
        self.commit(batch).await.map(|_| ())
    }

    /// What was read so far, with the record's version if there is one.
    fn usage(&self, key: &str) -> Result<(Usage, Option<u64>), StoreError> {
        Ok(match tables::load(&self.store, key)? {
            Some((usage, version)) => (usage, Some(version)),
            None => (Usage::default(), None),
        })
    }

    /// The agreement, and whether its signatures hold.
    fn agreement_to_read(
        &self,
        agreement: &str,
    ) -> Result<(Arc<AgreementRecord>, Result<(), String>), EngineError> {
        let found = self.store.get(&tables::key(prefix::AGREEMENT, agreement))?;
        if let Some(record) = found.and_then(|found| self.verified.get(agreement, found.version)) {
            return Ok((record, Ok(())));
        }
        let (record, version) = self.load_agreement(agreement)?;
        let (signed, record) = (self.is_signed(&record), Arc::new(record));
        if signed.is_ok() {
            self.verified.note(agreement, version, &record);
        }
        Ok((record, signed))
    }

    /// Both signatures hold over the agreement as kept, or the configuration accepts less.
    pub(super) fn is_signed(&self, record: &AgreementRecord) -> Result<(), String> {
        for (role, signature) in [
            (SignerRole::Provider, &record.provider_signature),
            (SignerRole::Consumer, &record.consumer_signature),
        ] {
            let Some(signature) = signature else {
                match self.rules.signatures(&record.peer) {
                    Signatures::AcceptPeerToken | Signatures::None => continue,
                    Signatures::Required => {
                        let line = self.rules.line_for(&record.peer, ACCEPT_PEER_TOKEN);
                        return Err(format!("the agreement is not signed by both{line}"));
                    }
                }
            };
            let bound = record.bound();
            let party = record.party(role);
            let document = record.did_documents.get(party).cloned().unwrap_or_default();
            DidDocument::parse(document, party)
                .and_then(|document| trust::agreement::verify(signature, role, bound, &document))
                .map_err(|error| format!("a signature under the agreement does not hold: {error}"))
                .and_then(|held| self.not_compromised(record, &held))?;
        }
        Ok(())
    }
}

impl Engine {
    /// A signature of this node's own counts if its key was in nobody else's hands when the agreement was recorded here: a
    /// record of this node, whose log is sealed by later keys, and not the key's own word, places it in time.
    fn not_compromised(&self, record: &AgreementRecord, held: &AgreementSignature) -> Result<(), String> {
        if held.signer != self.did() {
            return Ok(());
        }
        let fragment = |id: &str| id.rsplit('#').next().map(str::to_owned);
        let known = self.identity.compromised_keys();
        match known.into_iter().find(|key| fragment(&key.key_id) == fragment(&held.key_id)) {
            Some(key) if record.concluded_at >= key.since => Err(format!(
                "the agreement was concluded on {}, and the key {} that signed it here is in wrong hands since {}: it does \
                 not count; negotiate it anew",
                record.concluded_at, key.key_id, key.since
            )),
            _ => Ok(()),
        }
    }
}

/// Agreements whose signatures were checked, by the version of their record: what was read and checked is not read and
/// checked again until it changes.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<HashMap<String, (u64, Arc<AgreementRecord>)>>);

impl Verified {
    /// Most that are remembered; then it begins anew.
    const MOST: usize = 1024;

    /// What counted may count no more.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn get(&self, agreement: &str, version: u64) -> Option<Arc<AgreementRecord>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(agreement).filter(|(known, _)| *known == version).map(|(_, record)| Arc::clone(record))
    }

    fn note(&self, agreement: &str, version: u64, record: &Arc<AgreementRecord>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert(agreement.to_owned(), (version, Arc::clone(record)));
    }
}

/// The terms of an agreement and everything they may ask about.
#[derive(Debug)]
struct AgreementJudge {
    store: Store,
    meters: Arc<Meters>,
    claims: Arc<Claims>,
    /// Types of credentials that every participant must show.
    required: Arc<[String]>,
    known: Arc<Hierarchy>,
    record: Arc<AgreementRecord>,
    /// What is done: `read`, `stream`, or [`PUSH`].
    action: &'static str,
    /// Uses that the consumer bound itself to by signing, by permission and by the ways to keep it.
    promised: Vec<Facts>,
    dataset: String,
    agreement: String,
    since: Timestamp,
    /// For the pseudonyms of this agreement.
    pseudonyms: PseudonymKey,
    /// The dataset's record when the read was let through.
    asset_version: Option<u64>,
    /// What the dataset said of persons when it was let through.
    personal: Option<Json>,
    /// Where the data is about persons.
    of_persons: Option<OfPersons>,
    /// Which use under the agreement this is.
    count: u64,
    /// When the use before it was.
    before: Option<Timestamp>,
}

/// Whether there is nothing to read at an address, only something to follow.
fn is_only_followed(address: &Map<String, Json>) -> bool {
    let kind = address.get("type").and_then(Json::as_str);
    kind.is_some_and(|kind| ["Mqtt", "Nats", "Tail"].contains(&kind))
}

impl AgreementJudge {
    fn policy(&self) -> &Policy {
        self.record.agreement.policy()
    }

    fn in_world<T>(
        &self,
        now: Timestamp,
        ask: impl FnOnce(&Request<'_>, &World<'_>) -> T,
    ) -> Result<T, StoreError> {
        let found = tables::load::<Usage>(&self.store, &tables::key(prefix::USAGE, &self.agreement))?;
        let usage = found.map_or_else(Usage::default, |(usage, _)| usage);
        let (running, metered) = self.meters.until(&self.agreement, now, usage.metered);
        let record: Record = super::duties::record(&self.store, &self.agreement, &self.record)?;
        let (credentials, _) = self.claims.of(&self.record.peer, now);
        let request = Request { action: self.action, party: &self.record.peer, target: Some(&self.dataset) };
        let world = World {
            usage: policy_engine::Usage {
                count: Some(self.count),
                first: usage.first,
                last: self.before,
                metered: Some(metered),
                at_once: u32::try_from(running).unwrap_or(u32::MAX),
            },
            since: Some(self.since),
            credentials: &credentials,
            record: &record,
            ..World::at(now, &self.known)
        };
        Ok(ask(&request, &world))
    }

    /// Whether the dataset says of persons what it said when the read was let through.
    fn same_persons(&self) -> bool {
        let key = tables::key(prefix::ASSET, &self.dataset);
        let Ok(Some(found)) = self.store.get(&key) else { return self.personal.is_none() };
        if Some(found.version) == self.asset_version {
            return true;
        }
        let asset = tables::decode::<catalog::Asset>(&key, &found.value);
        asset.is_ok_and(|asset| super::catalog::of_persons(&asset) == self.personal.as_ref())
    }

    /// What would permit it.
    fn advice(&self, now: Timestamp) -> Option<String> {
        let advice = self.in_world(now, |request, world| {
            let stated = self.promised.first();
            let world = stated.map_or_else(|| world.clone(), |stated| World { stated, ..world.clone() });
            advise(self.policy(), request, &world)
        });
        advice.ok()?.map(|advice| advice.to_string())
    }
}

impl Judge for AgreementJudge {
    fn obligations(&self, decision: &Decision) -> Obligations {
        let demanded = Obligations::new(transforms(self.policy(), decision), self.pseudonyms.clone());
        match &self.of_persons {
            None => demanded,
            Some(of_persons) => demanded.with_persons(of_persons.clone()),
        }
    }

    fn judge(&self, now: Timestamp) -> Decision {
        if !self.same_persons() {
            return deny(
                "what the dataset says of persons has changed; read it again".to_owned(),
                Vec::new(),
            );
        }
        let (credentials, proven_until) = self.claims.of(&self.record.peer, now);
        if let Some(text) = missing(&self.required, &credentials) {
            return deny(text, vec![Change::Credential]);
        }
        match self
            .in_world(now, |request, world| evaluate_promised(self.policy(), request, world, &self.promised))
        {
            Ok(decision) => {
                // Claims run out too.
                let on_claims =
                    !self.required.is_empty() || decision.depends_on.contains(&Change::Credential);
                let proven = proven_until.filter(|_| on_claims);
                Decision { ask_again: [decision.ask_again, proven].into_iter().flatten().min(), ..decision }
            }
            Err(error) => {
                tracing::error!(%error, agreement = self.agreement, "the gate cannot read the store");
                deny("the provider cannot look up what was used under the agreement".to_owned(), Vec::new())
            }
        }
    }
}

fn deny(text: String, depends_on: Vec<Change>) -> Decision {
    let reasons = vec![Reason { rule: String::new(), text }];
    Decision { outcome: Outcome::Deny, reasons, duties: Vec::new(), ask_again: None, depends_on }
}
