//! The gate in front of every byte: does the transfer run, is its agreement signed by both and in force, does the
//! policy permit it now?

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dataplane::{Grant, Judge, Metered, Signal};
use hmac::{Hmac, Mac as _};
use jiff::{SignedDuration, Timestamp};
use policy_engine::{
    Decision, Facts, Hierarchy, Outcome, Policy, Reason, Record, Request, World, advise, evaluate, promised,
};
use protocol::Role;
use protocol::transfer::Transfer;
use serde_json::{Map, Value as Json};
use sha2::Sha256;
use store::{Batch, Store, StoreError};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use trust::{DidDocument, SignerRole};

use super::transfers::is_over;
use super::{Engine, EngineError};
use crate::clock;
use crate::config::Signatures;
use crate::tables::{self, AgreementRecord, Event, Usage, prefix};

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
}

/// One read that was let through.
#[derive(Debug, Clone)]
pub struct Read {
    /// Its name among the agreement's open reads; `None` for one that is not counted.
    id: Option<String>,
    /// When it was let through.
    at: Timestamp,
    /// When the one before it was.
    before: Option<Timestamp>,
}

/// A read that is not let through.
#[derive(Debug)]
pub enum Denial {
    /// The token is right, but data must not flow now: the reason is for the consumer.
    Denied(String),
    /// A fault of this node.
    Failed(EngineError),
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

    /// Lets a read through, counted and durable, or says why not.
    ///
    /// # Errors
    /// See [`Denial`].
    pub async fn admit(&self, pid: &str, token: &str, reads: bool) -> Result<Admission, Denial> {
        let transfer = match self.transfer(pid) {
            Ok(record) if record.transfer.role == Role::Provider => record.transfer,
            Ok(_) | Err(EngineError::NotFound { .. }) => return Err(Denial::Unknown),
            Err(error) => return Err(Denial::Failed(error)),
        };
        let expected = self.stream_token(&transfer, transfer.generation).map_err(Denial::Failed)?;
        if !bool::from(expected.as_bytes().ct_eq(token.as_bytes())) {
            return Err(Denial::Unknown);
        }
        // Watching before asking: what ends the transfer from here on is not missed.
        let signal = self.streams.watch(pid);
        let transfer = self.transfer(pid).map_err(Denial::Failed)?.transfer;
        let agreement = transfer.agreement.to_string();
        let _lock = self.locks.lock(&format!("{}{agreement}", prefix::USAGE)).await;
        let denied = |reason: String| Err(Denial::Denied(reason));
        let record = match self.load_agreement(&agreement) {
            Ok((record, _)) => record,
            Err(error) => return Err(Denial::Failed(error)),
        };
        if let Some(ended) = &record.ended {
            return denied(format!("the agreement {agreement} was ended on {}: {}", ended.at, ended.reason));
        }
        if !transfer.is_open() {
            let why = transfer.progress.problem.clone().unwrap_or_default();
            let over = if is_over(&transfer) { "is over" } else { "does not run now" };
            return denied(
                format!("the transfer {over} ({}) {why}", transfer.progress.state_name())
                    .trim_end()
                    .to_owned(),
            );
        }
        if let Err(reason) = self.is_signed(&record) {
            return denied(reason);
        }
        let snapshot = self.snapshot();
        let dataset = transfer.dataset.as_str();
        let Some(asset) = snapshot.asset(dataset) else {
            return denied(format!("the provider does not have `{dataset}` any more"));
        };
        let key = tables::key(prefix::USAGE, &agreement);
        let (usage, version) = self.usage(&key).map_err(|error| Denial::Failed(error.into()))?;
        let now = clock::now();
        let policy = record.agreement.policy();
        let judge = Arc::new(AgreementJudge {
            store: self.store.clone(),
            known: Arc::clone(&self.known),
            promised: promised(policy, &self.known),
            policy: policy.clone(),
            party: record.peer.clone(),
            dataset: dataset.to_owned(),
            agreement: agreement.clone(),
            since: record.concluded_at,
            count: if reads { usage.requests + 1 } else { usage.requests.max(1) },
            before: usage.last,
        });
        let asked: Arc<dyn Judge> = Arc::<AgreementJudge>::clone(&judge);
        let grant = match Grant::decide(asked, now) {
            Ok(grant) => grant,
            Err(reason) => {
                let reason = match judge.advice(now) {
                    Some(advice) => format!("{reason} ({advice})"),
                    None => reason.to_string(),
                };
                let text = format!("a read of {dataset} was denied: {reason}");
                self.record(Event::new("stream", now, text).about(pid).with(&record.peer)).await;
                return denied(reason);
            }
        };
        let read = Read { id: reads.then(crate::ids::urn), at: now, before: usage.last };
        if let Some(id) = &read.id {
            let shared = !usage.open.is_empty();
            let mut usage = Usage { requests: usage.requests + 1, last: Some(now), ..usage };
            usage.first.get_or_insert(now);
            usage.open.insert(id.clone(), now);
            let mut batch = Batch::new();
            batch.expect(key.clone(), version);
            tables::put(&mut batch, key, &usage).map_err(|error| Denial::Failed(error.into()))?;
            self.commit(batch).await.map_err(Denial::Failed)?;
            if shared {
                // Reads that share a metered time use it up faster than each had reckoned.
                self.reconsider(&agreement).map_err(Denial::Failed)?;
            }
        }
        let media_type = catalog::Description::from_properties(&asset.properties).media_type;
        Ok(Admission {
            grant,
            data_address: asset.data_address.clone(),
            media_type,
            signal,
            agreement,
            transfer: pid.to_owned(),
            read,
        })
    }

    /// Lets every running read under an agreement ask its policy again.
    pub(super) fn reconsider(&self, agreement: &str) -> Result<(), EngineError> {
        for pid in self.transfers_of(agreement)? {
            self.streams.reconsider(&pid);
        }
        Ok(())
    }

    /// Takes back the count of a read of which no byte was handed on, since its source could not be opened.
    pub async fn give_back(&self, agreement: &str, read: &Read) {
        let Some(id) = &read.id else { return };
        let changed = self.change_usage(agreement, None, |usage| {
            if usage.open.remove(id).is_some() {
                usage.requests = usage.requests.saturating_sub(1);
                if usage.last == Some(read.at) {
                    usage.last = read.before;
                }
                usage.first = usage.first.filter(|_| usage.requests > 0);
            }
        });
        if let Err(error) = changed.await {
            tracing::error!(%error, agreement, "the count of a read that failed was not given back");
        }
    }

    /// Counts what passed under an agreement.
    pub async fn meter(&self, agreement: &str, transfer: &str, read: &Read, metered: Metered) {
        let text = match (&metered.cut, metered.complete) {
            (Some(reason), _) => format!("{} bytes were read, then it was cut: {reason}", metered.bytes),
            (None, true) => format!("{} bytes were read to the end", metered.bytes),
            (None, false) => {
                format!("{} bytes were read, then the reader left or the source failed", metered.bytes)
            }
        };
        let now = clock::now();
        let event = Event::new("stream", now, text).about(transfer);
        let changed = self.change_usage(agreement, Some(event), |usage| {
            usage.bytes = usage.bytes.saturating_add(metered.bytes);
            if let Some(since) = read.id.as_ref().and_then(|id| usage.open.remove(id)) {
                let lasted = now.duration_since(since).max(SignedDuration::ZERO);
                usage.metered = usage.metered.saturating_add(lasted);
            }
        });
        if let Err(error) = changed.await {
            tracing::error!(%error, agreement, bytes = metered.bytes, "a read was not metered");
        }
    }

    /// Settles the reads that ran when the node was killed: they count up to the last thing it recorded.
    pub(super) async fn settle_reads(&self) -> Result<(), EngineError> {
        let mut after: Option<String> = None;
        let mut last_seen = None;
        loop {
            let page = tables::list::<Usage>(&self.store, prefix::USAGE, after.as_deref(), 500)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, _) in page.iter().filter(|(_, usage)| !usage.open.is_empty()) {
                let last_seen = match last_seen {
                    Some(at) => at,
                    None => *last_seen.insert(self.last_recorded()?),
                };
                let agreement = key.strip_prefix(prefix::USAGE).unwrap_or(key);
                self.change_usage(agreement, None, |usage| {
                    usage.metered = usage.metered_until(last_seen.max(usage.last.unwrap_or(last_seen)));
                    usage.open.clear();
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
            let page = tables::list::<Event>(&self.store, prefix::EVENT, after.as_deref(), 1000)?;
            let Some((last, event)) = page.last() else { return Ok(newest) };
            newest = newest.max(event.at);
            after = Some(last.clone());
        }
    }

    async fn change_usage(
        &self,
        agreement: &str,
        event: Option<Event>,
        change: impl FnOnce(&mut Usage),
    ) -> Result<(), EngineError> {
        let key = tables::key(prefix::USAGE, agreement);
        let _lock = self.locks.lock(&key).await;
        let (mut usage, version) = self.usage(&key)?;
        change(&mut usage);
        let mut batch = Batch::new();
        batch.expect(key.clone(), version);
        tables::put(&mut batch, key, &usage)?;
        if let Some(event) = event {
            tables::append_event(&mut batch, &event)?;
        }
        self.commit(batch).await.map(|_| ())
    }

    /// What was read so far, with the record's version if there is one.
    fn usage(&self, key: &str) -> Result<(Usage, Option<u64>), StoreError> {
        Ok(match tables::load(&self.store, key)? {
            Some((usage, version)) => (usage, Some(version)),
            None => (Usage::default(), None),
        })
    }

    /// Both signatures hold over the agreement as kept, or the configuration accepts less.
    fn is_signed(&self, record: &AgreementRecord) -> Result<(), String> {
        for (role, signature) in [
            (SignerRole::Provider, &record.provider_signature),
            (SignerRole::Consumer, &record.consumer_signature),
        ] {
            let Some(signature) = signature else {
                match self.signatures {
                    Signatures::AcceptPeerToken | Signatures::None => continue,
                    Signatures::Required => return Err("the agreement is not signed by both".to_owned()),
                }
            };
            let agreement = record.agreement.json();
            let party = match role {
                SignerRole::Consumer => record.agreement.assignee(),
                SignerRole::Provider => record.agreement.assigner(),
            };
            let document = record.did_documents.get(party.as_str()).cloned().unwrap_or_default();
            DidDocument::parse(document, party.as_str())
                .and_then(|document| trust::dossier::verify(signature, role, agreement, &document))
                .map_err(|error| format!("a signature under the agreement does not hold: {error}"))?;
        }
        Ok(())
    }
}

/// The terms of an agreement and everything they may ask about.
#[derive(Debug)]
struct AgreementJudge {
    store: Store,
    known: Arc<Hierarchy>,
    policy: Policy,
    /// What the consumer bound itself to by signing.
    promised: Facts,
    party: String,
    dataset: String,
    agreement: String,
    since: Timestamp,
    /// Which use under the agreement this is.
    count: u64,
    /// When the use before it was.
    before: Option<Timestamp>,
}

impl AgreementJudge {
    fn in_world<T>(
        &self,
        now: Timestamp,
        ask: impl FnOnce(&Request<'_>, &World<'_>) -> T,
    ) -> Result<(T, usize), StoreError> {
        let found = tables::load::<Usage>(&self.store, &tables::key(prefix::USAGE, &self.agreement))?;
        let usage = found.map_or_else(Usage::default, |(usage, _)| usage);
        let record: Record = super::duties::record(&self.store, &self.agreement)?;
        let request = Request { action: "use", party: &self.party, target: Some(&self.dataset) };
        let world = World {
            usage: policy_engine::Usage {
                count: Some(self.count),
                first: usage.first,
                last: self.before,
                metered: Some(usage.metered_until(now)),
            },
            since: Some(self.since),
            stated: &self.promised,
            record: &record,
            ..World::at(now, &self.known)
        };
        Ok((ask(&request, &world), usage.open.len()))
    }

    /// What would permit it.
    fn advice(&self, now: Timestamp) -> Option<String> {
        let advice = self.in_world(now, |request, world| advise(&self.policy, request, world));
        advice.ok()?.0.map(|advice| advice.to_string())
    }
}

impl Judge for AgreementJudge {
    fn judge(&self, now: Timestamp) -> Decision {
        match self.in_world(now, |request, world| evaluate(&self.policy, request, world)) {
            Ok((decision, reads)) => {
                // Several reads at once use up a metered time together.
                let share = i32::try_from(reads.max(1)).unwrap_or(i32::MAX);
                let ask_again = decision.ask_again.map(|at| {
                    let left = at.duration_since(now) / share;
                    now.checked_add(left.max(SignedDuration::from_millis(1)))
                        .map_or(at, |sooner| at.min(sooner))
                });
                Decision { ask_again, ..decision }
            }
            Err(error) => {
                tracing::error!(%error, agreement = self.agreement, "the gate cannot read the store");
                let text = "the provider cannot look up what was used under the agreement".to_owned();
                Decision {
                    outcome: Outcome::Deny,
                    reasons: vec![Reason { rule: String::new(), text }],
                    duties: Vec::new(),
                    ask_again: None,
                    depends_on: Vec::new(),
                }
            }
        }
    }
}
