//! Transfer processes in both roles.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use catalog::{Automation, HTTP_PULL, HTTP_PUSH};
use protocol::transfer::{self, Decision, Input, Message, Parties, State, Transfer};
use protocol::wire::{DataAddress, EndpointProperty, Received, TransferProcess, TransferRequestMessage};
use protocol::{
    AgreementId, ConsumerPid, Effect, Failure, MessageId, Outgoing, ParticipantId, ProviderPid, RefusalKind,
    Role,
};
use serde_json::json;
use store::Batch;
use tokio::sync::Notify;

use super::catalog::formats_of;
use super::{Engine, EngineError, message_id};
use crate::clock;
use crate::config::PeerProfile;
use crate::ids;
use crate::tables::{
    self, AgreementRecord, Attached, Event, NegotiationRecord, OutboxEntry, ProcessKind, TransferRecord,
    prefix,
};

const KIND: ProcessKind = ProcessKind::Transfer;
/// Type of the endpoint that data is pulled from.
const ENDPOINT_TYPE: &str = "https://w3id.org/idsa/v4.1/HTTP";

impl Engine {
    /// Asks the provider for data under an agreement; the request is on its way when this returns.
    ///
    /// # Errors
    /// No such agreement as the consumer, it was ended, or a format that is not supported.
    pub async fn request_transfer(
        self: &Arc<Self>,
        agreement: &str,
        format: &str,
        address: Option<&str>,
        destination: Option<DataAddress>,
        attached: Attached,
    ) -> Result<TransferRecord, EngineError> {
        self.check_callbacks(&attached.callback_addresses)?;
        let (record, agreed) = self.load_agreement(agreement)?;
        if record.role != Role::Consumer {
            let reason = format!(
                "this node is the provider of agreement `{agreement}`; only its consumer asks for data"
            );
            return Err(EngineError::refused(RefusalKind::Disagreement, reason));
        }
        in_force(&record)?;
        let malformed = |text: String| EngineError::refused(RefusalKind::Malformed, text);
        if ![HTTP_PULL, HTTP_PUSH].contains(&format) {
            return Err(malformed(format!("/transferType: `{HTTP_PULL}` and `{HTTP_PUSH}` are supported")));
        }
        if (format == HTTP_PUSH) != destination.is_some() {
            return Err(malformed(format!(
                "/dataDestination: it goes with `{HTTP_PUSH}`, and only with that"
            )));
        }
        let peer_address = match address {
            None => self.provider_address(&record).await?,
            Some(_) => self.peer_address(&record.peer, address).await?,
        };
        let parties = self.transfer_parties(&record, peer_address, format);
        let destination = destination.map(|destination| match self.rules.profile(&record.peer) {
            // It chooses what pushes by the type, and finds the address among the properties only.
            PeerProfile::Edc => destination.as_edc_pushes(),
            PeerProfile::Dsp => destination,
        });
        let step =
            transfer::begin(ConsumerPid::new(ids::urn()), parties, destination, message_id(), clock::now());
        self.save_under(agreement, agreed, (step.next, attached), None, step.effects).await
    }

    /// Where the provider of an agreement takes requests. What the provider began itself went to its callback address, which
    /// need not be its base (Transfer Process HTTPS binding, transfers/request).
    async fn provider_address(&self, record: &AgreementRecord) -> Result<String, EngineError> {
        // An agreement that was made elsewhere has none here.
        let negotiation = tables::load::<NegotiationRecord>(
            &self.store,
            &tables::key(prefix::NEGOTIATION, &record.negotiation),
        )?;
        let theirs = negotiation.and_then(|(one, _)| one.negotiation.peer_pid().map(str::to_owned));
        let began = theirs.map(|pid| tables::peer_process(ProcessKind::Negotiation, &record.peer, &pid));
        let began = began.map(|key| self.store.get(&key)).transpose()?.flatten();
        if began.is_some() {
            // A participant of a closed test network has no DID document that tells.
            match self.peer_address(&record.peer, None).await {
                Ok(base) => return Ok(base),
                Err(error) => {
                    tracing::info!(%error, peer = record.peer, "its callback address is taken for its base");
                }
            }
        }
        self.peer_address(&record.peer, Some(&record.peer_address)).await
    }

    /// Takes a consumer's request and starts the transfer.
    ///
    /// # Errors
    /// No such agreement of this participant in force, a format that is not offered, or a callback address that
    /// cannot be used.
    pub async fn take_transfer_request(
        self: &Arc<Self>,
        caller: &str,
        received: Received<TransferRequestMessage>,
    ) -> Result<TransferProcess, EngineError> {
        let request = &received.message;
        let key = tables::peer_process(KIND, caller, request.consumer_pid.as_str());
        let _lock = self.locks.lock(&key).await;
        if let Some((pid, _)) = tables::load::<String>(&self.store, &key)? {
            let (record, _) = self.load_transfer(&pid)?;
            record.transfer.progress.check_repeat(received.id.as_ref())?;
            let answer = acknowledgement(&record.transfer);
            self.start_again(record).await?;
            return answer;
        }
        super::negotiations::check_pid("consumerPid", request.consumer_pid.as_str())?;
        let callback = self.check_callback(Some(&request.callback_address)).await?;
        let agreement = request.agreement_id.as_str();
        let (record, agreed) = match self.load_agreement(agreement) {
            Ok(found) if found.0.role == Role::Provider && found.0.peer == caller => found,
            Ok(_) | Err(EngineError::NotFound { .. }) => {
                let reason = format!(
                    "/agreementId: there is no agreement `{agreement}` between this participant and you"
                );
                return Err(EngineError::refused(RefusalKind::Disagreement, reason));
            }
            Err(error) => return Err(error),
        };
        in_force(&record)?;
        // What was unpublished may still be read under its agreement.
        let asset = self.asset(record.agreement.target().as_str())?;
        let formats =
            asset.map_or_else(|| vec![HTTP_PULL, HTTP_PUSH], |asset| formats_of(&asset.data_address));
        if !formats.contains(&request.format.as_str()) {
            let (format, dataset) = (&request.format, record.agreement.target());
            let reason =
                format!("/format: `{format}` is not offered of `{dataset}`; {} is", formats.join(" or "));
            return Err(EngineError::refused(RefusalKind::Disagreement, reason));
        }
        if request.format == HTTP_PUSH {
            crate::pushing::check(&self.guard, request.data_address.as_ref())
                .map_err(|reason| EngineError::refused(RefusalKind::Malformed, reason))?;
        }
        let now = clock::now();
        let parties = self.transfer_parties(&record, callback, &request.format);
        let pid = ids::urn();
        let place = self.place_for_transfer(caller, &pid)?;
        let requested = transfer::requested(ProviderPid::new(pid), parties, &received, now);
        let answer = acknowledgement(&requested)?;
        if record.automation == Automation::Manual {
            let mut waiting = requested;
            waiting.progress.note(now, "it waits for you to start it");
            self.save_under(agreement, agreed, (waiting, Attached::default()), None, Vec::new()).await?;
            place.keep();
            return Ok(answer);
        }
        let start = Decision::Start(self.data_address(&requested, requested.generation + 1)?);
        let step = transfer::step(requested, Input::Decided { decision: start, message: message_id() }, now)?;
        self.save_under(agreement, agreed, (step.next, Attached::default()), None, step.effects).await?;
        place.keep();
        Ok(answer)
    }

    /// A consumer that asks once more for a transfer that runs has lost its start: it gets the same message again
    /// (Transfer Process Protocol, Transfer Request Message). One that has it knows it by its id.
    async fn start_again(self: &Arc<Self>, record: TransferRecord) -> Result<(), EngineError> {
        let transfer = &record.transfer;
        let Some(start) = record.last_start.filter(|_| runs(transfer)) else { return Ok(()) };
        let (pid, peer) = (transfer.pid(), transfer.peer.as_str());
        let mut batch = Batch::new();
        let after =
            self.plan(KIND, pid, peer, &transfer.peer_address, vec![Effect::Send(start)], &mut batch)?;
        self.commit(batch).await?;
        self.follow(after);
        Ok(())
    }

    /// Takes a later message of the peer.
    ///
    /// # Errors
    /// No such process for this participant, or not allowed now.
    pub async fn take_transfer_message(
        self: &Arc<Self>,
        caller: &str,
        pid: &str,
        received: Received<Message>,
    ) -> Result<(), EngineError> {
        let _lock = self.locks.lock(pid).await;
        let (record, version) = self.own_transfer(caller, pid)?;
        let last_start = record.last_start;
        let resumes = matches!(received.message, Message::Start(_)) && record.transfer.role == Role::Provider;
        let step = transfer::step(record.transfer, Input::Received(received), clock::now())?;
        if step.repeat {
            return Ok(());
        }
        if resumes {
            let id = step.next.agreement.to_string();
            let (agreement, agreed) = self.load_agreement(&id)?;
            in_force(&agreement)?;
            let mut effects = step.effects;
            if self.rules.profile(caller) == PeerProfile::Edc {
                effects.extend(answering_start(&step.next, last_start));
            }
            self.save_under(&id, agreed, (step.next, Attached::default()), Some(version), effects).await?;
        } else {
            self.save_transfer(step.next, Some(version), step.effects).await?;
        }
        Ok(())
    }

    /// The process as `caller`, its other party, may see it.
    ///
    /// # Errors
    /// No such process for this participant.
    pub fn transfer_for(&self, caller: &str, pid: &str) -> Result<TransferProcess, EngineError> {
        acknowledgement(&self.own_transfer(caller, pid)?.0.transfer)
    }

    /// A transfer, for the operator and the gate.
    ///
    /// # Errors
    /// Not there.
    pub fn transfer(&self, pid: &str) -> Result<TransferRecord, EngineError> {
        Ok(self.load_transfer(pid)?.0)
    }

    /// The operator ends a transfer.
    ///
    /// # Errors
    /// It is over already.
    pub async fn terminate_transfer(
        self: &Arc<Self>,
        pid: &str,
        reason: &str,
    ) -> Result<TransferRecord, EngineError> {
        self.operate_transfer(pid, |_, _| Ok(Decision::Terminate(reason.to_owned()))).await?;
        self.end_unheard_transfer(pid).await?;
        self.transfer(pid)
    }

    /// As [`Self::end_unheard_negotiation`], for a transfer.
    pub(super) async fn end_unheard_transfer(self: &Arc<Self>, pid: &str) -> Result<(), EngineError> {
        let transfer = self.load_transfer(pid)?.0.transfer;
        match self.unheard(&transfer.progress, transfer.peer_pid()) {
            Some((message, failure)) => self.transfer_given_up(pid, message, failure, Batch::new()).await,
            None => Ok(()),
        }
    }

    /// The operator pauses a transfer.
    ///
    /// # Errors
    /// It does not run.
    pub async fn suspend_transfer(
        self: &Arc<Self>,
        pid: &str,
        reason: &str,
    ) -> Result<TransferRecord, EngineError> {
        self.operate_transfer(pid, |_, _| Ok(Decision::Suspend(reason.to_owned()))).await
    }

    /// The operator lets a transfer run: one that waits for its start (provider), or one that is suspended.
    ///
    /// # Errors
    /// It does not wait, the other side suspended it, or the agreement was ended.
    pub async fn resume_transfer(self: &Arc<Self>, pid: &str) -> Result<TransferRecord, EngineError> {
        self.operate_transfer(pid, |engine, transfer| {
            let (agreement, _) = engine.load_agreement(transfer.agreement.as_str())?;
            in_force(&agreement)?;
            Ok(Decision::Start(match transfer.role {
                Role::Consumer => None,
                Role::Provider => engine.data_address(transfer, transfer.generation + 1)?,
            }))
        })
        .await
    }

    /// All data was transferred.
    ///
    /// # Errors
    /// It does not run.
    pub async fn complete_transfer(self: &Arc<Self>, pid: &str) -> Result<TransferRecord, EngineError> {
        self.operate_transfer(pid, |_, _| Ok(Decision::Complete)).await
    }

    async fn operate_transfer(
        self: &Arc<Self>,
        pid: &str,
        decide: impl FnOnce(&Self, &Transfer) -> Result<Decision, EngineError>,
    ) -> Result<TransferRecord, EngineError> {
        let _lock = self.locks.lock(pid).await;
        let (record, version) = self.load_transfer(pid)?;
        let agreement = record.transfer.agreement.to_string();
        // Before it is decided: what ends the agreement between here and the commit is noticed by it.
        let agreed = self.load_agreement(&agreement).map(|(_, version)| version);
        let decision = decide(self, &record.transfer)?;
        let starts = matches!(decision, Decision::Start(_));
        let input = Input::Decided { decision, message: message_id() };
        let step = transfer::step(record.transfer, input, clock::now())?;
        if starts {
            return self
                .save_under(
                    &agreement,
                    agreed?,
                    (step.next, Attached::default()),
                    Some(version),
                    step.effects,
                )
                .await;
        }
        self.save_transfer(step.next, Some(version), step.effects).await
    }

    /// A message of ours was taken by the peer.
    pub(crate) async fn transfer_acknowledged(
        self: &Arc<Self>,
        pid: &str,
        message: MessageId,
        reply: Option<TransferProcess>,
    ) -> Result<(), EngineError> {
        self.transfer_outcome(pid, &message, Batch::new(), |id| Input::Acknowledged { message: id, reply })
            .await
    }

    /// A message of ours cannot be delivered.
    pub(crate) async fn transfer_failed(
        self: &Arc<Self>,
        entry: &OutboxEntry,
        failure: Failure,
    ) -> Result<(), EngineError> {
        let mut batch = Batch::new();
        self.set_down(entry, &failure, &mut batch)?;
        self.transfer_given_up(&entry.pid, entry.message.id.clone(), failure, batch).await
    }

    /// As [`Self::transfer_failed`], for a message whose delivery need not have been tried; `batch` is written with it.
    async fn transfer_given_up(
        self: &Arc<Self>,
        pid: &str,
        message: MessageId,
        failure: Failure,
        batch: Batch,
    ) -> Result<(), EngineError> {
        let make = |failed| Input::Failed { failed, failure, message: message_id() };
        self.transfer_outcome(pid, &message, batch, make).await
    }

    async fn transfer_outcome(
        self: &Arc<Self>,
        pid: &str,
        message: &MessageId,
        batch: Batch,
        input: impl FnOnce(MessageId) -> Input,
    ) -> Result<(), EngineError> {
        let _lock = self.locks.lock(pid).await;
        let (record, version) = self.load_transfer(pid)?;
        let step = transfer::step(record.transfer, input(message.clone()), clock::now())?;
        if step.repeat {
            return self.forget(message, batch).await;
        }
        let mut effects = vec![Effect::Withdraw(message.clone())];
        effects.extend(step.effects);
        self.save_transfer_with(step.next, Attached::default(), Some(version), effects, batch).await?;
        Ok(())
    }

    /// The next transfer whose data is to be pushed.
    pub async fn next_push(&self) -> String {
        self.pushes.next().await
    }

    /// Takes up the pushes that ran when the node stopped.
    pub(super) fn take_up_pushes(&self) -> Result<(), EngineError> {
        let mut after: Option<String> = None;
        loop {
            let page = tables::list::<TransferRecord>(&self.store, prefix::TRANSFER, after.as_deref(), 500)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (_, record) in page {
                if is_pushed(&record.transfer) {
                    self.pushes.add(record.transfer.pid());
                }
            }
        }
    }

    /// Our pids of all transfers under an agreement.
    pub(super) fn transfers_of(&self, agreement: &str) -> Result<Vec<String>, EngineError> {
        let prefix = tables::transfers_of(agreement);
        let keys = self.store.scan(&prefix, None, usize::MAX)?;
        Ok(keys.into_iter().filter_map(|(key, _)| key.strip_prefix(&prefix).map(str::to_owned)).collect())
    }

    /// Where the consumer pulls, with the token of the `generation`-th start; nothing where data is pushed.
    fn data_address(&self, transfer: &Transfer, generation: u32) -> Result<Option<DataAddress>, EngineError> {
        if transfer.format == HTTP_PUSH {
            return Ok(None);
        }
        let pid = transfer.pid();
        let property = |name: &str, value: String| EndpointProperty { name: name.to_owned(), value };
        let token = self.stream_token(transfer, generation)?;
        let address = DataAddress {
            endpoint_type: ENDPOINT_TYPE.to_owned(),
            endpoint: Some(format!("{}{}/{pid}", self.public_address, crate::http::DATA_PATH)),
            endpoint_properties: vec![
                property("authorization", token),
                property("authType", "bearer".to_owned()),
            ],
        };
        Ok(Some(match self.rules.profile(transfer.peer.as_str()) {
            PeerProfile::Edc => address.in_both_forms(),
            PeerProfile::Dsp => address,
        }))
    }

    fn transfer_parties(&self, agreement: &AgreementRecord, peer_address: String, format: &str) -> Parties {
        Parties {
            own: ParticipantId::new(self.did()),
            own_address: self.own_address.clone(),
            peer: ParticipantId::new(agreement.peer.clone()),
            peer_address,
            agreement: AgreementId::new(agreement.agreement.id().as_str()),
            dataset: agreement.agreement.target(),
            format: format.to_owned(),
        }
    }

    fn load_transfer(&self, pid: &str) -> Result<(TransferRecord, u64), EngineError> {
        let found = tables::load(&self.store, &tables::key(prefix::TRANSFER, pid))?;
        found.ok_or_else(|| EngineError::NotFound { kind: "transfer process", id: pid.to_owned() })
    }

    fn own_transfer(&self, caller: &str, pid: &str) -> Result<(TransferRecord, u64), EngineError> {
        let found = self.load_transfer(pid)?;
        if found.0.transfer.peer.as_str() != caller {
            return Err(EngineError::NotFound { kind: "transfer process", id: pid.to_owned() });
        }
        Ok(found)
    }

    /// As [`Self::save_transfer`], for what needs the agreement to be in force as it was read, in its version `agreed`: one
    /// that ends meanwhile gets no transfer that would outlive it.
    async fn save_under(
        self: &Arc<Self>,
        agreement: &str,
        agreed: u64,
        (transfer, attached): (Transfer, Attached),
        version: Option<u64>,
        effects: Vec<Effect>,
    ) -> Result<TransferRecord, EngineError> {
        let mut batch = Batch::new();
        batch.expect(tables::key(prefix::AGREEMENT, agreement), Some(agreed));
        let saved = self.save_transfer_with(transfer, attached, version, effects, batch).await;
        if saved.is_err() {
            // Where that is why, it is said.
            in_force(&self.load_agreement(agreement)?.0)?;
        }
        saved
    }

    async fn save_transfer(
        self: &Arc<Self>,
        transfer: Transfer,
        version: Option<u64>,
        effects: Vec<Effect>,
    ) -> Result<TransferRecord, EngineError> {
        self.save_transfer_with(transfer, Attached::default(), version, effects, Batch::new()).await
    }

    /// `attached` is what was said with a transfer that begins; what was said before stands.
    async fn save_transfer_with(
        self: &Arc<Self>,
        transfer: Transfer,
        attached: Attached,
        version: Option<u64>,
        effects: Vec<Effect>,
        mut batch: Batch,
    ) -> Result<TransferRecord, EngineError> {
        let (pid, peer) = (transfer.pid().to_owned(), transfer.peer.to_string());
        let key = tables::key(prefix::TRANSFER, &pid);
        batch.expect(key.clone(), version);
        if version.is_none() {
            let index = format!("{}{pid}", tables::transfers_of(transfer.agreement.as_str()));
            tables::put(&mut batch, index, &())?;
            if let Some(theirs) = transfer.peer_pid() {
                let index = tables::peer_process(KIND, &peer, theirs);
                batch.expect(index.clone(), None);
                tables::put(&mut batch, index, &pid)?;
            }
        }
        let last = transfer.progress.history.last().map_or("", |entry| entry.text.as_str());
        let state = transfer.progress.state_name();
        let event = Event::new(KIND.name(), clock::now(), last).about(&pid).with(&peer).reached(state);
        tables::append_event(&mut batch, &event)?;
        let started = effects.iter().find_map(|effect| match effect {
            Effect::Send(message) if transfer.role == Role::Provider && message.path.ends_with("/start") => {
                Some(message.clone())
            }
            _ => None,
        });
        let before = version.map(|_| self.load_transfer(&pid)).transpose()?.map(|(before, _)| before);
        let progress_before = before.as_ref().map(|before| before.transfer.progress.clone());
        let (last_start, attached) = match before {
            Some(before) => (started.or(before.last_start), before.attached),
            None => (started, attached),
        };
        let after = self.plan(KIND, &pid, &peer, &transfer.peer_address, effects, &mut batch)?;
        let record = TransferRecord { transfer, last_start, attached };
        let events = self.transfer_events(&record, progress_before.as_ref(), &mut batch)?;
        tables::put(&mut batch, key, &record)?;
        if is_over(&record.transfer) && record.transfer.progress.pending.is_none() {
            self.another_ended(KIND, &pid, &peer, &mut batch)?;
        }
        self.commit(batch).await?;
        self.open_transfers.note(&record.transfer);
        self.follow(after);
        self.deliver_all(events);
        if is_pushed(&record.transfer) {
            self.pushes.add(record.transfer.pid());
        }
        Ok(record)
    }
}

/// Whether it runs and nothing of ours is on its way.
fn runs(transfer: &Transfer) -> bool {
    transfer.progress.state == Some(State::Started) && transfer.progress.pending.is_none()
}

/// A consumer that runs Eclipse EDC has resumed, and stays so until it gets a start of the provider's own: the last one again, as a
/// message of its own.
fn answering_start(transfer: &Transfer, last: Option<Outgoing>) -> Option<Effect> {
    let start = last.filter(|_| runs(transfer))?;
    let id = message_id();
    let mut body = start.body;
    if let Some(body) = body.as_object_mut() {
        body.insert("@id".to_owned(), json!(id));
    }
    Some(Effect::Send(Outgoing { id, body, ..start }))
}

fn acknowledgement(transfer: &Transfer) -> Result<TransferProcess, EngineError> {
    let missing = || EngineError::NotFound { kind: "transfer process", id: transfer.pid().to_owned() };
    transfer.acknowledgement().ok_or_else(missing)
}

/// Whether data may move under the agreement at all; the policy is asked at each read.
fn in_force(record: &AgreementRecord) -> Result<(), EngineError> {
    match record.end() {
        None => Ok(()),
        Some(ended) => {
            let text = format!(
                "the agreement `{}` was ended on {}: {}",
                record.agreement.id(),
                ended.at,
                ended.reason
            );
            Err(EngineError::refused(RefusalKind::Disagreement, text))
        }
    }
}

/// Transfers that wait for being pushed; each once.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    waiting: Mutex<BTreeSet<String>>,
    added: Notify,
}

impl Pushes {
    fn add(&self, pid: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(pid.to_owned());
        self.added.notify_one();
    }

    async fn next(&self) -> String {
        loop {
            let first = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            match first {
                Some(pid) => return pid,
                None => self.added.notified().await,
            }
        }
    }
}

/// Whether this node pushes its data now.
fn is_pushed(transfer: &Transfer) -> bool {
    transfer.role == Role::Provider
        && transfer.format == HTTP_PUSH
        && transfer.progress.state == Some(State::Started)
        && transfer.progress.pending.is_none()
        && transfer.is_open()
}

/// Whether a transfer can still become readable.
#[must_use]
pub(super) fn is_over(transfer: &Transfer) -> bool {
    matches!(transfer.progress.state, Some(State::Completed | State::Terminated))
}
