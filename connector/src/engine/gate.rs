//! The gate in front of every byte: does the transfer run, is its agreement signed by both and in force, does the
//! policy permit it now?

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dataplane::{Grant, Metered, Subject};
use hmac::{Hmac, Mac as _};
use policy_engine::{Atomic, Constraint, Operator, Policy, Value};
use protocol::Role;
use protocol::transfer::Transfer;
use serde_json::{Map, Value as Json};
use sha2::Sha256;
use store::{Batch, StoreError};
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
    /// Tells when to stop.
    pub cut: watch::Receiver<Option<String>>,
    /// The agreement it counts under.
    pub agreement: String,
    /// The transfer.
    pub transfer: String,
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
        let cut = self.streams.watch(pid);
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
        let usage = if reads { Usage { requests: usage.requests + 1, ..usage } } else { usage };
        let policy = record.agreement.policy().clone();
        let subject = Subject {
            party: record.peer.clone(),
            dataset: dataset.to_owned(),
            purposes: bound(&policy, "purpose"),
            places: bound(&policy, "spatial"),
            policy: Arc::new(policy),
            count: usage.requests.max(1),
            known: Arc::clone(&self.known),
        };
        let grant = match Grant::decide(subject, clock::now()) {
            Ok(grant) => grant,
            Err(reason) => {
                let text = format!("a read of {dataset} was denied: {reason}");
                self.record(Event::new("stream", clock::now(), text).about(pid).with(&record.peer)).await;
                return denied(reason.to_string());
            }
        };
        if reads {
            let mut batch = Batch::new();
            batch.expect(key.clone(), version);
            tables::put(&mut batch, key, &usage).map_err(|error| Denial::Failed(error.into()))?;
            self.commit(batch).await.map_err(Denial::Failed)?;
        }
        let media_type = catalog::Description::from_properties(&asset.properties).media_type;
        Ok(Admission {
            grant,
            data_address: asset.data_address.clone(),
            media_type,
            cut,
            agreement,
            transfer: pid.to_owned(),
        })
    }

    /// Counts what passed under an agreement.
    pub async fn meter(&self, agreement: &str, transfer: &str, metered: Metered) {
        let _lock = self.locks.lock(&format!("{}{agreement}", prefix::USAGE)).await;
        let key = tables::key(prefix::USAGE, agreement);
        let written = async {
            let (usage, version) = self.usage(&key)?;
            let mut batch = Batch::new();
            batch.expect(key.clone(), version);
            let usage = Usage { bytes: usage.bytes.saturating_add(metered.bytes), ..usage };
            tables::put(&mut batch, key.clone(), &usage)?;
            let text = match (&metered.cut, metered.complete) {
                (Some(reason), _) => format!("{} bytes were read, then it was cut: {reason}", metered.bytes),
                (None, true) => format!("{} bytes were read to the end", metered.bytes),
                (None, false) => {
                    format!("{} bytes were read, then the reader left or the source failed", metered.bytes)
                }
            };
            tables::append_event(&mut batch, &Event::new("stream", clock::now(), text).about(transfer))?;
            self.commit(batch).await
        };
        if let Err(error) = written.await {
            tracing::error!(%error, agreement, bytes = metered.bytes, "a read was not metered");
        }
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

/// What the consumer bound itself to by signing: the values that the agreement's permissions allow for `operand`. A
/// use within the terms has one of them, so the first stands for it.
fn bound(policy: &Policy, operand: &str) -> Vec<String> {
    fn visit(constraint: &Constraint, operand: &str, found: &mut Vec<String>) {
        match constraint {
            Constraint::Atomic(Atomic { left, operator, right, .. })
                if left == operand
                    && matches!(
                        operator,
                        Operator::Eq | Operator::IsA | Operator::IsPartOf | Operator::IsAnyOf
                    ) =>
            {
                found.extend(right.iter().take(1).filter_map(|value| match value {
                    Value::Term(term) => Some(term.clone()),
                    Value::Instant(_) | Value::Number(_) => None,
                }));
            }
            Constraint::Atomic(_) => {}
            Constraint::Logical { parts, .. } => {
                parts.iter().take(1).for_each(|part| visit(part, operand, found))
            }
        }
    }
    let mut found = Vec::new();
    for rule in policy.permissions.iter().take(1) {
        for constraint in &rule.constraints {
            visit(constraint, operand, &mut found);
        }
    }
    found
}
