//! Events of negotiations and transfers for programs of the operator (EDC's callback addresses): each is written with the step
//! that it tells of, and goes out until it is taken. And what such programs ask for in one call: the transfer that begins with
//! an agreement.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use protocol::progress::{Act, Progress};
use protocol::{Failure, Outgoing, RefusalKind, Role, transfer};
use serde_json::{Value as Json, json};
use store::Batch;

use super::{Engine, EngineError};
use crate::clock;
use crate::network::Unsent;
use crate::sources::{Secrets as _, header_name};
use crate::tables::{
    self, Attached, CallbackAddress, Event, NegotiationRecord, OutboxEntry, ProcessKind, TransferRecord,
    prefix,
};

/// Most callback addresses of a process.
const MAX_ADDRESSES: usize = 16;
/// Longest address, in bytes.
const MAX_URI: usize = 2048;
/// Longest name of a header or a secret, in bytes.
const MAX_NAME: usize = 512;
/// Most events that one of them names.
const MAX_EVENTS: usize = 64;

/// What an outbox entry of an event holds.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Call {
    event: Json,
    auth_key: Option<String>,
    auth_code_id: Option<String>,
}

impl Engine {
    /// Checks where a program wants to be called, and as whom this node calls it.
    ///
    /// # Errors
    /// Too many, no address, or one that this node does not reach; says which line would allow it.
    pub(super) fn check_callbacks(&self, all: &[CallbackAddress]) -> Result<(), EngineError> {
        let malformed = |reason: String| EngineError::refused(RefusalKind::Malformed, reason);
        if all.len() > MAX_ADDRESSES {
            return Err(malformed(format!("callbackAddresses: has more than {MAX_ADDRESSES} entries")));
        }
        if !all.is_empty() && self.outbox.is_full_for(self.did()) {
            let reason = "too many events wait for programs that do not take them (limits.waiting_per_peer); see \
                          `concordat deliveries`";
            return Err(EngineError::refused(RefusalKind::Busy, reason));
        }
        for (index, one) in all.iter().enumerate() {
            let wrong = |member: &str, reason: &str| {
                Err(malformed(format!("callbackAddresses/{index}/{member}: {reason}")))
            };
            if one.events.len() > MAX_EVENTS || one.events.iter().any(|event| event.len() > 200) {
                return wrong("events", "names too many events, or one that is too long");
            }
            if one.uri.len() > MAX_URI {
                return wrong("uri", &format!("is longer than {MAX_URI} bytes"));
            }
            if [&one.auth_key, &one.auth_code_id].into_iter().flatten().any(|name| name.len() > MAX_NAME) {
                return wrong("authKey", &format!("or authCodeId is longer than {MAX_NAME} bytes"));
            }
            if let Some(error) = one.auth_key.as_ref().and_then(|key| header_name(key).err()) {
                return wrong("authKey", &error.to_string());
            }
            if one.auth_key.is_some() != one.auth_code_id.is_some() {
                return wrong("authKey", "goes together with authCodeId, the name of a secret");
            }
            let Ok(address) = url::Url::parse(&one.uri) else { return wrong("uri", "is not a URL") };
            if !address.username().is_empty() || address.password().is_some() || address.fragment().is_some()
            {
                return wrong("uri", "must not carry credentials or a fragment");
            }
            if !self.callback_client.reaches(&address)
                && let Err(error) = self.guard.check_url(&one.uri)
            {
                let line = "a line in management.callbacks of concordat.toml allows an address of the operator's own";
                return wrong("uri", &format!("{error}; {line}"));
            }
        }
        Ok(())
    }

    /// Puts what is told of a negotiation into `batch`: each state that it has reached since `before`.
    pub(super) fn negotiation_events(
        &self,
        record: &NegotiationRecord,
        before: Option<&NegotiationRecord>,
        batch: &mut Batch,
    ) -> Result<Vec<OutboxEntry>, EngineError> {
        let negotiation = &record.negotiation;
        if record.attached.callback_addresses.is_empty() {
            return Ok(Vec::new());
        }
        let before = before.map(|before| &before.negotiation.progress);
        let states = states_since(before, &negotiation.progress, negotiation.role);
        let mut entries = Vec::new();
        for state in states {
            entries.extend(self.negotiation_event(record, &state, batch)?);
        }
        Ok(entries)
    }

    fn negotiation_event(
        &self,
        record: &NegotiationRecord,
        state: &str,
        batch: &mut Batch,
    ) -> Result<Vec<OutboxEntry>, EngineError> {
        let negotiation = &record.negotiation;
        let agreement = negotiation.agreement.as_ref().filter(|_| state == "FINALIZED");
        let agreement = agreement.map(|agreement| {
            json!({
                "id": agreement.id(), "providerId": agreement.assigner(), "consumerId": agreement.assignee(),
                "contractSigningDate": clock::now().as_second(), "assetId": agreement.target(), "policy": agreement,
            })
        });
        let payload = json!({
            "contractNegotiationId": negotiation.pid(),
            "counterPartyAddress": negotiation.peer_address,
            "counterPartyId": negotiation.peer,
            "protocol": "dataspace-protocol-http:2025-1",
            "contractOffers": [{
                "id": negotiation.offer.id(), "assetId": negotiation.dataset, "policy": negotiation.offer,
            }],
            "contractAgreement": agreement,
        });
        let family = ("contract.negotiation", "ContractNegotiation");
        self.put_events(
            (ProcessKind::Negotiation, family),
            negotiation.pid(),
            state,
            &record.attached,
            &payload,
            batch,
        )
    }

    /// As [`Self::negotiation_events`].
    pub(super) fn transfer_events(
        &self,
        record: &TransferRecord,
        before: Option<&Progress<transfer::Act>>,
        batch: &mut Batch,
    ) -> Result<Vec<OutboxEntry>, EngineError> {
        let transfer = &record.transfer;
        if record.attached.callback_addresses.is_empty() {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        for state in states_since(before, &transfer.progress, transfer.role) {
            entries.extend(self.transfer_event(record, &state, batch)?);
        }
        Ok(entries)
    }

    fn transfer_event(
        &self,
        record: &TransferRecord,
        state: &str,
        batch: &mut Batch,
    ) -> Result<Vec<OutboxEntry>, EngineError> {
        let transfer = &record.transfer;
        let address = transfer.data_address.as_ref().filter(|_| state == "STARTED");
        let address = address.map(|address| {
            let mut properties: serde_json::Map<String, Json> =
                address.endpoint_properties.iter().map(|one| (in_edc(&one.name), json!(one.value))).collect();
            properties.insert(in_edc("endpoint"), json!(address.endpoint));
            properties.insert(in_edc("type"), json!(address.endpoint_type));
            json!({"properties": properties})
        });
        let payload = json!({
            "transferProcessId": transfer.pid(),
            "assetId": transfer.dataset,
            "type": "CONSUMER",
            "contractId": transfer.agreement,
            "reason": transfer.progress.problem,
            "dataAddress": address,
        });
        let family = ("transfer.process", "TransferProcess");
        self.put_events(
            (ProcessKind::Transfer, family),
            transfer.pid(),
            state,
            &record.attached,
            &payload,
            batch,
        )
    }

    fn put_events(
        &self,
        (_, (dotted, type_name)): (ProcessKind, (&str, &str)),
        pid: &str,
        state: &str,
        attached: &Attached,
        payload: &Json,
        batch: &mut Batch,
    ) -> Result<Vec<OutboxEntry>, EngineError> {
        let past = if state == "INITIAL" { "INITIATED" } else { state };
        let lower = past.to_lowercase();
        let name = format!("{dotted}.{lower}");
        let mut capital = lower;
        capital.get_mut(..1).map(str::make_ascii_uppercase);
        let now = clock::now();
        let mut entries = Vec::new();
        for callback in &attached.callback_addresses {
            if !callback.events.iter().any(|event| is_about(event, &name)) {
                continue;
            }
            let mut payload = payload.clone();
            if let Some(map) = payload.as_object_mut() {
                map.insert("callbackAddresses".to_owned(), json!([callback]));
            }
            let event = json!({
                "id": crate::ids::urn(), "at": now.as_millisecond(), "type": format!("{type_name}{capital}"),
                "payload": payload,
            });
            let call = Call {
                event,
                auth_key: callback.auth_key.clone(),
                auth_code_id: callback.auth_code_id.clone(),
            };
            let entry = OutboxEntry {
                kind: ProcessKind::Callback,
                pid: pid.to_owned(),
                peer: self.did().to_owned(),
                address: callback.uri.clone(),
                message: Outgoing { id: super::message_id(), path: name.clone(), body: json!(call) },
                since: now,
            };
            tables::put(batch, tables::outbox(entry.message.id.as_str()), &entry)?;
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Hands over what the store has.
    pub(super) fn deliver_all(self: &Arc<Self>, entries: Vec<OutboxEntry>) {
        for entry in entries {
            self.outbox.deliver(self, entry);
        }
    }

    /// The request of an event: with the header of whoever wants it, to where it is wanted.
    ///
    /// # Errors
    /// Its secret is gone, or the record is none of an event.
    pub(crate) async fn call_back(
        &self,
        entry: &OutboxEntry,
        within: std::time::Duration,
    ) -> Result<Result<reqwest::Response, Unsent>, String> {
        let call: Call =
            serde_json::from_value(entry.message.body.clone()).map_err(|error| error.to_string())?;
        let header = match (call.auth_key, call.auth_code_id) {
            (Some(key), Some(secret)) => {
                let name = HeaderName::try_from(key).map_err(|error| error.to_string())?;
                let value = self.named(&secret).map_err(|error| error.to_string())?;
                let mut value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
                value.set_sensitive(true);
                Some((name, value))
            }
            _ => None,
        };
        let address = url::Url::parse(&entry.address).map_err(|error| error.to_string())?;
        if self.callback_client.reaches(&address) {
            return Ok(self.callback_client.post(address, header, &call.event, within).await);
        }
        let mut request = self.client.post(address).json(&call.event).timeout(within);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        Ok(request.send().await)
    }

    /// An event was taken, or given up.
    pub(crate) async fn callback_told(
        &self,
        entry: &OutboxEntry,
        outcome: Result<(), Failure>,
    ) -> Result<(), EngineError> {
        let mut batch = Batch::new();
        batch.delete(tables::outbox(entry.message.id.as_str()));
        if let Err(failure) = outcome {
            self.set_down(entry, &failure, &mut batch)?;
            let host = url::Url::parse(&entry.address).ok();
            let host = host.as_ref().and_then(url::Url::host_str).unwrap_or_default();
            let text =
                format!("the program at {host} did not take `{}`: {}", entry.message.path, failure.reason);
            tables::append_event(&mut batch, &Event::new("callback", clock::now(), text).about(&entry.pid))?;
        }
        self.commit(batch).await.map(|_| ())
    }

    /// Begins the transfer that was asked for together with a contract, now that there is one.
    pub(super) fn begin_wanted(self: &Arc<Self>, negotiation: String) {
        let engine = Arc::clone(self);
        self.tasks.until_stop(async move {
            if let Err(error) = engine.try_wanted(&negotiation).await {
                let text = format!(
                    "the transfer that was asked for together with the contract did not begin: {error}"
                );
                engine.record(Event::new("transfer", clock::now(), text).about(&negotiation)).await;
            }
            let mut batch = Batch::new();
            batch.delete(tables::key(prefix::TRANSFER_WANTED, &negotiation));
            if let Err(error) = engine.commit(batch).await {
                tracing::error!(%error, negotiation, "that a transfer has begun was not written");
            }
        });
    }

    async fn try_wanted(self: &Arc<Self>, negotiation: &str) -> Result<(), EngineError> {
        let record = self.negotiation(negotiation)?;
        let (Some(agreement), Some(format)) = (&record.negotiation.agreement, &record.attached.transfer_type)
        else {
            return Ok(());
        };
        let id = agreement.id();
        // After a kill it may have begun already.
        if !self.transfers_of(id.as_str())?.is_empty() {
            return Ok(());
        }
        let attached = Attached { transfer_type: None, ..record.attached.clone() };
        self.request_transfer(id.as_str(), format, None, None, attached).await.map(|_| ())
    }

    /// Takes up the transfers that were wanted when the node stopped.
    pub(super) fn take_up_wanted(self: &Arc<Self>) -> Result<(), EngineError> {
        for (key, _) in self.store.scan(prefix::TRANSFER_WANTED, None, usize::MAX)? {
            if let Some(pid) = key.strip_prefix(prefix::TRANSFER_WANTED) {
                self.begin_wanted(pid.to_owned());
            }
        }
        Ok(())
    }

    /// Removes the reference to the data of a transfer; the transfer goes on.
    ///
    /// # Errors
    /// There is none that this node reads.
    pub async fn forget_reference(&self, pid: &str) -> Result<(), EngineError> {
        let key = tables::key(prefix::TRANSFER, pid);
        let missing = || EngineError::NotFound { kind: "endpoint data reference", id: pid.to_owned() };
        let (mut record, version) = tables::load::<TransferRecord>(&self.store, &key)?.ok_or_else(missing)?;
        if record.transfer.data_address.is_none() || record.attached.forgotten {
            return Err(missing());
        }
        record.attached.forgotten = true;
        let mut batch = Batch::new();
        batch.expect(key.clone(), Some(version));
        tables::put(&mut batch, key, &record)?;
        let text = "its endpoint data reference was removed";
        tables::append_event(&mut batch, &Event::new("transfer", clock::now(), text).about(pid))?;
        self.commit(batch).await.map(|_| ())
    }
}

/// Whether an event is one of those that `wanted` names or begins.
fn is_about(wanted: &str, name: &str) -> bool {
    let wanted = wanted.trim_end_matches(['*', '.']);
    name.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || wanted.is_empty())
}

/// A property under EDC's name.
fn in_edc(name: &str) -> String {
    if name.contains("://") { name.to_owned() } else { format!("{}{name}", catalog::EDC) }
}

/// The states that a process has reached since `before`, the oldest first, as EDC names them; also the one that it left again before
/// the message that led to it was acknowledged.
fn states_since<A: Act>(before: Option<&Progress<A>>, now: &Progress<A>, role: Role) -> Vec<String> {
    if before.is_some_and(|before| before.state == now.state) {
        return Vec::new();
    }
    let passed = before.and_then(|before| now.passed(before, role)).map(|state| state.to_string());
    passed.into_iter().chain([now.state_name()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_named_whole_or_by_what_they_begin_with() {
        let name = "contract.negotiation.finalized";
        for wanted in [
            "contract.negotiation.finalized",
            "contract.negotiation",
            "contract",
            "contract.negotiation.*",
            "*",
        ] {
            assert!(is_about(wanted, name), "{wanted}");
        }
        for wanted in ["contract.neg", "transfer.process", "contract.negotiation.final"] {
            assert!(!is_about(wanted, name), "{wanted}");
        }
    }
}
