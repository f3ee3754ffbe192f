//! Contract negotiations in both roles.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::catalog::Automation;
use jiff::Timestamp;
use policy_engine::{Containment, within};
use protocol::negotiation::{self, Act, Decision, Input, Message, Negotiation, Parties, State, Step};
use protocol::wire::{
    Agreement, ContractNegotiation, ContractOfferMessage, ContractRequestMessage, Offer, Received,
};
use protocol::{
    AgreementId, DatasetId, Effect, Failure, MessageId, OfferId, Outgoing, ParticipantId, ProviderPid,
    Refusal, RefusalKind, Role,
};
use serde_json::Value as Json;
use store::Batch;
use trust::{MessageEvidence, SignerRole};

use super::{Engine, EngineError, Heard, data_requests, message_id};
use crate::clock;
use crate::config::{PeerProfile, Signatures};
use crate::ids;
use crate::peer_rules::ACCEPT_PEER_TOKEN;
use crate::tables::{
    self, AgreementRecord, AnswerKind, Attached, Event, NegotiationRecord, OutboxEntry, ProcessKind, prefix,
};

const KIND: ProcessKind = ProcessKind::Negotiation;

impl Engine {
    /// Begins a negotiation as the consumer; the request is on its way when this returns.
    ///
    /// # Errors
    /// The offer has no target, or the peer's address cannot be used.
    pub async fn negotiate(
        self: &Arc<Self>,
        peer: &str,
        address: Option<&str>,
        offer: Offer,
        automation: Automation,
        attached: Attached,
    ) -> Result<NegotiationRecord, EngineError> {
        self.check_callbacks(&attached.callback_addresses)?;
        let dataset = offer
            .target()
            .ok_or_else(|| EngineError::refused(RefusalKind::Malformed, "/policy/target: is missing"))?;
        let peer_address = self.peer_address(peer, address).await?;
        let parties = self.negotiation_parties(peer, peer_address, dataset);
        let mut step = negotiation::begin(
            Role::Consumer,
            ids::urn(),
            parties,
            offer.clone(),
            message_id(),
            clock::now(),
        );
        if let Some(strange) = self.strange(offer.policy()) {
            step.next.progress.note(clock::now(), strange);
        }
        let record = NegotiationRecord {
            negotiation: step.next,
            automation,
            wanted: Some(offer),
            data_request: None,
            attached,
        };
        self.save_negotiation(record, Saving { effects: step.effects, ..Saving::default() }).await
    }

    /// Offers a dataset to a participant that did not ask, as the provider; or that asked for such data in `data_request`.
    ///
    /// # Errors
    /// No such offer for that participant, or its address cannot be used.
    pub async fn propose(
        self: &Arc<Self>,
        peer: &str,
        address: Option<&str>,
        offer: &str,
        data_request: Option<&str>,
    ) -> Result<NegotiationRecord, EngineError> {
        let offered = self.offer_for(peer, offer, clock::now());
        let offered = offered.ok_or_else(|| unknown_offer(&OfferId::new(offer)))?;
        let dataset = DatasetId::new(offered.asset);
        let terms = Offer::parse(offered.policy)
            .map_err(|reason| EngineError::refused(RefusalKind::Malformed, reason))?
            .with_target(&dataset);
        let peer_address = self.peer_address(peer, address).await?;
        let parties = self.negotiation_parties(peer, peer_address, dataset);
        let mut step =
            negotiation::begin(Role::Provider, ids::urn(), parties, terms, message_id(), clock::now());
        if let Some(request) = data_request {
            for effect in &mut step.effects {
                if let Effect::Send(Outgoing { body: Json::Object(body), .. }) = effect {
                    body.insert(data_requests::REQUEST.to_owned(), Json::String(request.to_owned()));
                }
            }
        }
        let record = NegotiationRecord {
            negotiation: step.next,
            automation: offered.automation,
            wanted: None,
            data_request: data_request.map(str::to_owned),
            attached: Attached::default(),
        };
        self.save_negotiation(record, Saving { effects: step.effects, ..Saving::default() }).await
    }

    /// Takes a consumer's first request.
    ///
    /// # Errors
    /// No such offer for this participant, terms that are not within it, or an address that cannot be used.
    pub async fn take_request(
        self: &Arc<Self>,
        heard: &Heard,
        received: Received<ContractRequestMessage>,
    ) -> Result<ContractNegotiation, EngineError> {
        let caller = heard.from.as_str();
        let request = &received.message;
        let key = tables::peer_process(KIND, caller, request.consumer_pid.as_str());
        let _lock = self.locks.lock(&key).await;
        if let Some((pid, _)) = tables::load::<String>(&self.store, &key)? {
            let (record, _) = self.load_negotiation(&pid)?;
            record.negotiation.progress.check_repeat(received.id.as_ref())?;
            return acknowledgement(&record.negotiation);
        }
        check_pid("consumerPid", request.consumer_pid.as_str())?;
        let callback = self.check_callback(request.callback_address.as_deref()).await?;
        let pid = ids::urn();
        let place = self.place_for_negotiation(caller, &pid).await?;
        let now = clock::now();
        self.look_again_at(caller).await?;
        let (offer_id, asked) = (request.offer.id(), &request.offer);
        let offered = self.offer_for(caller, offer_id.as_str(), now);
        let offered = offered.ok_or_else(|| unknown_offer(&offer_id))?;
        let dataset = DatasetId::new(offered.asset.clone());
        if let Some(target) = asked.target()
            && target != dataset
        {
            let reason = format!("/offer/target: the offer `{offer_id}` is not about `{target}`");
            return Err(EngineError::refused(RefusalKind::Disagreement, reason));
        }
        let terms = Offer::parse(offered.policy)
            .map_err(|reason| EngineError::refused(RefusalKind::Malformed, reason))?;
        let outside = self.outside(asked, &terms);
        if let Some(reason) = &outside
            && offered.automation == Automation::Auto
        {
            return Err(EngineError::refused(RefusalKind::TermsNotOffered, reason.clone()));
        }
        if let Some(reason) = self.permits_nothing(asked.policy(), now) {
            return Err(EngineError::refused(RefusalKind::TermsNotOffered, reason));
        }
        if offered.automation != Automation::Manual
            && let Some(reason) = self.not_entitled(caller, asked.policy(), now)
        {
            return Err(EngineError::refused(RefusalKind::TermsNotOffered, reason));
        }
        let parties = self.negotiation_parties(caller, callback, dataset);
        let mut negotiation = negotiation::requested(ProviderPid::new(pid), parties, &received, now)?;
        if let Some(strange) = self.strange(negotiation.offer.policy()) {
            negotiation.progress.note(now, strange);
        }
        if offered.automation == Automation::Manual {
            negotiation.progress.note(now, "it waits for your approval");
        }
        if let Some(reason) = outside {
            negotiation.progress.note(now, format!("the terms asked for are not those offered: {reason}"));
        }
        let answer = acknowledgement(&negotiation)?;
        let record = NegotiationRecord {
            negotiation,
            automation: offered.automation,
            wanted: None,
            data_request: None,
            attached: Attached::default(),
        };
        let (record, effects) = self.decide_on(record, Vec::new(), now)?;
        let saving = Saving { effects, messages: vec![self.heard(heard)], ..Saving::default() };
        self.save_negotiation(record, saving).await?;
        place.keep();
        Ok(answer)
    }

    /// Takes a provider's first offer: it waits for a person to accept or reject it.
    ///
    /// # Errors
    /// The offer has no target, or an address that cannot be used.
    pub async fn take_offer(
        self: &Arc<Self>,
        heard: &Heard,
        received: Received<ContractOfferMessage>,
    ) -> Result<ContractNegotiation, EngineError> {
        let caller = heard.from.as_str();
        let message = &received.message;
        let key = tables::peer_process(KIND, caller, message.provider_pid.as_str());
        let _lock = self.locks.lock(&key).await;
        if let Some((pid, _)) = tables::load::<String>(&self.store, &key)? {
            let (record, _) = self.load_negotiation(&pid)?;
            record.negotiation.progress.check_repeat(received.id.as_ref())?;
            return acknowledgement(&record.negotiation);
        }
        check_pid("providerPid", message.provider_pid.as_str())?;
        let callback = self.check_callback(message.callback_address.as_deref()).await?;
        let pid = ids::urn();
        let place = self.place_for_negotiation(caller, &pid).await?;
        let dataset = message.offer.target().unwrap_or_else(|| DatasetId::new(""));
        let parties = self.negotiation_parties(caller, callback, dataset);
        let pid = protocol::ConsumerPid::new(pid);
        let mut negotiation = negotiation::offered(pid, parties, &received, clock::now())?;
        if let Some(strange) = self.strange(negotiation.offer.policy()) {
            negotiation.progress.note(clock::now(), strange);
        }
        negotiation.progress.note(clock::now(), "it waits for you to accept or reject it");
        let answer = acknowledgement(&negotiation)?;
        let data_request = heard.body.get(data_requests::REQUEST).and_then(Json::as_str).map(str::to_owned);
        let record = NegotiationRecord {
            negotiation,
            automation: Automation::Manual,
            wanted: None,
            data_request,
            attached: Attached::default(),
        };
        let saving = Saving { messages: vec![self.heard(heard)], ..Saving::default() };
        let record = self.save_negotiation(record, saving).await?;
        place.keep();
        if let Some(request) = &record.data_request {
            let (negotiation, dataset) =
                (record.negotiation.pid().to_owned(), record.negotiation.dataset.to_string());
            let kind = AnswerKind::Offered { negotiation, dataset };
            // The offer stands in any case.
            if let Err(error) = self.take_request_answer(caller, request, kind).await {
                tracing::info!(%error, request, "an offer answers a request that is not open");
            }
        }
        Ok(answer)
    }

    /// Takes a later message of the peer. `role` is ours, as the path of the message tells; `None` where both fit.
    ///
    /// # Errors
    /// No such process for this participant, not allowed now, or a signature that does not hold.
    pub async fn take_negotiation_message(
        self: &Arc<Self>,
        heard: &Heard,
        role: Option<Role>,
        pid: &str,
        received: Received<Message>,
    ) -> Result<(), EngineError> {
        let _lock = self.locks.lock(pid).await;
        let (record, version) = self.own_negotiation(&heard.from, role, pid)?;
        let now = clock::now();
        let act = received.message.act();
        let on_table = record.negotiation.offer.id();
        let Step { next, effects, repeat } =
            negotiation::step(record.negotiation, Input::Received(received), now)?;
        if repeat {
            return Ok(());
        }
        if matches!(act, Act::Request | Act::Accept) {
            self.look_again_at(next.peer.as_str()).await?;
        }
        if act == Act::Request && next.offer.id() != on_table {
            self.check_counter_offer(&next, now)?;
        }
        let documents = match act {
            Act::Agree | Act::Verify => self.parties_documents(&next).await?,
            _ => BTreeMap::new(),
        };
        if let (Act::Agree, Some(agreement)) = (act, &next.agreement) {
            self.check_unused(agreement)?;
        }
        match act {
            Act::Agree => self.check_signature(&next, SignerRole::Provider, &documents)?,
            Act::Verify => self.check_signature(&next, SignerRole::Consumer, &documents)?,
            _ => {}
        }
        // What the peer answers has arrived, whether or not its acknowledgement has come by now.
        let mut messages = self.overtaken(&effects)?;
        messages.push(self.heard(heard));
        let record = NegotiationRecord { negotiation: next, ..record };
        let (record, effects) = self.decide_on(record, effects, now)?;
        let concludes = effects.contains(&Effect::Conclude);
        let documents = if concludes && documents.is_empty() {
            self.parties_documents(&record.negotiation).await?
        } else {
            documents
        };
        let saving = Saving { version: Some(version), effects, documents, messages, ..Saving::default() };
        self.save_negotiation(record, saving).await?;
        Ok(())
    }

    /// A counter-offer has a name that its consumer gave it, or that of an offer of this node for the same dataset
    /// (ContractRequestMessage, `offer.@id`).
    fn check_counter_offer(&self, negotiation: &Negotiation, now: Timestamp) -> Result<(), EngineError> {
        let id = negotiation.offer.id();
        match self.offer_for(negotiation.peer.as_str(), id.as_str(), now) {
            Some(offer) if offer.asset != negotiation.dataset.as_str() => {
                let reason = format!("/offer/@id: the offer `{id}` is not about `{}`", negotiation.dataset);
                Err(EngineError::refused(RefusalKind::Disagreement, reason))
            }
            None if catalog::is_offer_id(id.as_str()) => Err(unknown_offer(&id).into()),
            _ => Ok(()),
        }
    }

    /// An agreement's id stands for one agreement.
    fn check_unused(&self, agreement: &Agreement) -> Result<(), EngineError> {
        let id = agreement.id();
        if self.store.get(&tables::key(prefix::AGREEMENT, id.as_str()))?.is_none() {
            return Ok(());
        }
        let reason =
            format!("/agreement/@id: `{id}` is that of another agreement; make one with an id of its own");
        Err(EngineError::refused(RefusalKind::Disagreement, reason))
    }

    /// The process as `caller`, its other party, may see it.
    ///
    /// # Errors
    /// No such process for this participant.
    pub fn negotiation_for(&self, caller: &str, pid: &str) -> Result<ContractNegotiation, EngineError> {
        acknowledgement(&self.own_negotiation(caller, None, pid)?.0.negotiation)
    }

    /// A negotiation, for the operator.
    ///
    /// # Errors
    /// Not there.
    pub fn negotiation(&self, pid: &str) -> Result<NegotiationRecord, EngineError> {
        Ok(self.load_negotiation(pid)?.0)
    }

    /// The operator says yes to what waits, and to what follows from it: the node carries the rest through.
    ///
    /// # Errors
    /// There is nothing to say yes to now.
    pub async fn approve(self: &Arc<Self>, pid: &str) -> Result<NegotiationRecord, EngineError> {
        let _lock = self.locks.lock(pid).await;
        let (record, version) = self.load_negotiation(pid)?;
        let now = clock::now();
        let decision = match (record.negotiation.role, record.negotiation.progress.state) {
            (Role::Consumer, Some(State::Agreed)) => self.verify(&record.negotiation, now)?,
            (Role::Consumer, _) => Decision::Accept,
            (Role::Provider, Some(State::Verified)) => Decision::Finalize,
            (Role::Provider, _) => self.agree_now(&record.negotiation).await?,
        };
        let record = NegotiationRecord { automation: Automation::Auto, ..record };
        self.operate(record, version, decision).await
    }

    /// The operator, or a program of theirs, makes exactly one move.
    ///
    /// # Errors
    /// The move is not allowed now, or its terms cannot be used.
    pub async fn make_move(
        self: &Arc<Self>,
        pid: &str,
        wanted: Move,
    ) -> Result<NegotiationRecord, EngineError> {
        let _lock = self.locks.lock(pid).await;
        let (record, version) = self.load_negotiation(pid)?;
        let (ours, now) = (&record.negotiation, clock::now());
        let mut asked = record.wanted.clone();
        let decision = match wanted {
            Move::Accept => Decision::Accept,
            Move::Agree => self.agree_now(ours).await?,
            Move::Finalize => Decision::Finalize,
            Move::Offer(offer) => Decision::Offer(match offer {
                Some(offer) if !offer.id().as_str().contains(':') => {
                    let reason = format!("/policy/@id: `{}` is not a URI; name the offer by one", offer.id());
                    return Err(EngineError::refused(RefusalKind::Malformed, reason));
                }
                Some(offer) => offer,
                None => self.published(ours, now)?,
            }),
            Move::Request(offer) => {
                let offer = offer.unwrap_or_else(|| ours.offer.clone());
                asked = Some(offer.clone());
                Decision::Request(offer)
            }
            Move::Meet => {
                let offer = self.meeting(&record, now)?;
                match ours.role {
                    Role::Consumer => {
                        asked = Some(offer.clone());
                        Decision::Request(offer)
                    }
                    Role::Provider => Decision::Offer(offer),
                }
            }
            Move::Verify => self.verify(ours, now)?,
        };
        self.operate(NegotiationRecord { wanted: asked, ..record }, version, decision).await
    }

    /// The operator ends a negotiation.
    ///
    /// # Errors
    /// It is over already.
    pub async fn terminate_negotiation(
        self: &Arc<Self>,
        pid: &str,
        reason: &str,
    ) -> Result<NegotiationRecord, EngineError> {
        {
            let _lock = self.locks.lock(pid).await;
            let (record, version) = self.load_negotiation(pid)?;
            self.operate(record, version, Decision::Terminate(reason.to_owned())).await?;
        }
        self.end_unheard_negotiation(pid).await?;
        self.negotiation(pid)
    }

    /// Ends a negotiation that the operator ended, and of which the other side took nothing: its first message need not be
    /// waited for unless it is on its way now. Whatever the other side says later finds an end.
    pub(super) async fn end_unheard_negotiation(self: &Arc<Self>, pid: &str) -> Result<(), EngineError> {
        let negotiation = self.load_negotiation(pid)?.0.negotiation;
        match self.unheard(&negotiation.progress, negotiation.peer_pid()) {
            Some((message, failure)) => self.negotiation_given_up(pid, message, failure, Batch::new()).await,
            None => Ok(()),
        }
    }

    async fn operate(
        self: &Arc<Self>,
        record: NegotiationRecord,
        version: u64,
        decision: Decision,
    ) -> Result<NegotiationRecord, EngineError> {
        let input = Input::Decided { decision, message: message_id() };
        let step = negotiation::step(record.negotiation, input, clock::now())?;
        let record = NegotiationRecord { negotiation: step.next, ..record };
        self.save_negotiation(
            record,
            Saving { version: Some(version), effects: step.effects, ..Saving::default() },
        )
        .await
    }

    /// A message of ours was taken by the peer.
    pub(crate) async fn negotiation_acknowledged(
        self: &Arc<Self>,
        pid: &str,
        message: MessageId,
        reply: Option<ContractNegotiation>,
        said: MessageEvidence,
    ) -> Result<(), EngineError> {
        let input = |id| Input::Acknowledged { message: id, reply };
        let saving = Saving { messages: vec![said], ..Saving::default() };
        self.negotiation_outcome(pid, &message, saving, input).await
    }

    /// A message of ours cannot be delivered.
    pub(crate) async fn negotiation_failed(
        self: &Arc<Self>,
        entry: &OutboxEntry,
        failure: Failure,
    ) -> Result<(), EngineError> {
        let mut batch = Batch::new();
        self.set_down(entry, &failure, &mut batch)?;
        self.negotiation_given_up(&entry.pid, entry.message.id.clone(), failure, batch).await
    }

    /// As [`Self::negotiation_failed`], for a message whose delivery need not have been tried; `batch` is written with it.
    pub(super) async fn negotiation_given_up(
        self: &Arc<Self>,
        pid: &str,
        message: MessageId,
        failure: Failure,
        batch: Batch,
    ) -> Result<(), EngineError> {
        let make = |failed| Input::Failed { failed, failure, message: message_id() };
        let saving = Saving { batch, ..Saving::default() };
        self.negotiation_outcome(pid, &message, saving, make).await
    }

    async fn negotiation_outcome(
        self: &Arc<Self>,
        pid: &str,
        message: &MessageId,
        mut saving: Saving,
        input: impl FnOnce(MessageId) -> Input,
    ) -> Result<(), EngineError> {
        let _lock = self.locks.lock(pid).await;
        let (record, version) = self.load_negotiation(pid)?;
        let now = clock::now();
        let step = negotiation::step(record.negotiation, input(message.clone()), now)?;
        if step.repeat {
            return self.forget(message, saving.batch).await;
        }
        let record = NegotiationRecord { negotiation: step.next, ..record };
        let mut effects = vec![Effect::Withdraw(message.clone())];
        effects.extend(step.effects);
        let (record, effects) = self.decide_on(record, effects, now)?;
        (saving.version, saving.effects) = (Some(version), effects);
        self.save_negotiation(record, saving).await?;
        Ok(())
    }

    /// What this node decides by itself, as configured: one decision at most, since it waits for its acknowledgement.
    fn decide_on(
        &self,
        record: NegotiationRecord,
        mut effects: Vec<Effect>,
        now: Timestamp,
    ) -> Result<(NegotiationRecord, Vec<Effect>), EngineError> {
        let negotiation = &record.negotiation;
        if negotiation.progress.pending.is_some() {
            return Ok((record, effects));
        }
        let decision = match (negotiation.role, negotiation.progress.state) {
            _ if record.automation == Automation::Manual => None,
            // EDC has no way to accept an offer that answers its request, and would stay OFFERED for ever.
            (Role::Provider, Some(State::Requested))
                if record.automation == Automation::OfferFirst
                    && negotiation.progress.seen.len() <= 1
                    && self.rules.profile(negotiation.peer.as_str()) != PeerProfile::Edc =>
            {
                Some(Decision::Offer(self.published(negotiation, now)?))
            }
            (Role::Provider, Some(State::Requested | State::Accepted)) => {
                let (peer, terms) = (negotiation.peer.as_str(), negotiation.offer.policy());
                // What this node offered itself was within its terms when it did.
                let asked = negotiation.progress.state == Some(State::Requested);
                let refused = asked.then(|| self.terms_refused(negotiation, now)).flatten();
                match refused.or_else(|| self.not_entitled(peer, terms, now)) {
                    None => Some(self.agree(negotiation, now)?),
                    Some(reason) => Some(Decision::Terminate(reason)),
                }
            }
            (Role::Provider, Some(State::Verified)) => Some(Decision::Finalize),
            (Role::Consumer, Some(State::Offered)) => record.wanted.as_ref().and_then(|wanted| {
                let acceptable = within(wanted.policy(), negotiation.offer.policy(), &self.known);
                let same_levels = wanted.service_levels() == negotiation.offer.service_levels();
                (same_levels && acceptable == Containment::Within).then_some(Decision::Accept)
            }),
            (Role::Consumer, Some(State::Agreed)) => Some(match self.verify(negotiation, now) {
                Err(EngineError::Refused(refusal)) => Decision::Terminate(refusal.reason),
                verified => verified?,
            }),
            _ => None,
        };
        let Some(decision) = decision else { return Ok((record, effects)) };
        let input = Input::Decided { decision, message: message_id() };
        let step = negotiation::step(record.negotiation, input, now)?;
        effects.extend(step.effects);
        Ok((NegotiationRecord { negotiation: step.next, ..record }, effects))
    }

    /// As [`Self::agree`], because the operator says so: nobody agrees to what could not be read.
    async fn agree_now(&self, negotiation: &Negotiation) -> Result<Decision, EngineError> {
        let peer = negotiation.peer.as_str();
        self.look_again_at(peer).await?;
        let now = clock::now();
        if self.not_entitled(peer, negotiation.offer.policy(), now).is_some() {
            let reason = format!(
                "{peer} has shown no credential that these terms demand and that counts here now, so it could read nothing; \
                 reject the negotiation, or offer other terms"
            );
            return Err(EngineError::refused(RefusalKind::Disagreement, reason));
        }
        self.agree(negotiation, now)
    }

    fn agree(&self, negotiation: &Negotiation, now: Timestamp) -> Result<Decision, EngineError> {
        self.fits_rulebook(negotiation.offer.json(), Some(negotiation.peer.as_str()), now)?;
        let id = AgreementId::new(ids::urn());
        let name = |party: &ParticipantId| negotiation.names.of(party);
        let (assigner, assignee) = (name(negotiation.assigner()), name(negotiation.assignee()));
        let beside = self.named_rulebooks(now);
        let version = negotiation.signature_version;
        let (agreement, parts) = negotiation
            .offer
            .agreement(&id, &negotiation.dataset, (&assigner, &assignee), now, beside, version)
            .map_err(|reason| EngineError::refused(RefusalKind::Malformed, reason))?;
        let names = negotiation.names.as_map();
        let bound = trust::Bound { agreement: agreement.json(), parts: parts.as_map(), names };
        let signature = self.identity.sign_agreement(SignerRole::Provider, bound, version, now)?;
        Ok(Decision::Agree { agreement, parts, signature: Some(signature) })
    }

    fn verify(&self, negotiation: &Negotiation, now: Timestamp) -> Result<Decision, EngineError> {
        let none = || EngineError::refused(RefusalKind::Disagreement, "no agreement yet");
        let agreement = negotiation.agreement.as_ref().ok_or_else(none)?;
        let whole = negotiation.parts.with(agreement);
        self.fits_rulebook(&whole, Some(negotiation.peer.as_str()), now)?;
        // What the provider has made itself it can check.
        let version = negotiation.provider_signature.as_deref().map_or(1, trust::agreement::version_of);
        let (parts, names) = (negotiation.parts.as_map(), negotiation.names.as_map());
        let bound = trust::Bound { agreement: agreement.json(), parts, names };
        let signature = self.identity.sign_agreement(SignerRole::Consumer, bound, version, now)?;
        Ok(Decision::Verify { signature: Some(signature) })
    }

    async fn parties_documents(
        &self,
        negotiation: &Negotiation,
    ) -> Result<BTreeMap<String, serde_json::Value>, EngineError> {
        let mut documents = BTreeMap::new();
        for did in [negotiation.assigner(), negotiation.assignee()] {
            match self.resolver.document(did.as_str()).await {
                Ok(document) => {
                    documents.insert(did.to_string(), document.json().clone());
                }
                // Without a document a signature cannot hold; where none is demanded, none is needed.
                Err(reason) if self.rules.signatures(negotiation.peer.as_str()) == Signatures::Required => {
                    return Err(EngineError::Peer(reason));
                }
                Err(_) => {}
            }
        }
        Ok(documents)
    }

    /// The peer's signature must hold, and must be there unless its token is evidence enough.
    fn check_signature(
        &self,
        negotiation: &Negotiation,
        role: SignerRole,
        documents: &BTreeMap<String, serde_json::Value>,
    ) -> Result<(), EngineError> {
        let refuse = |reason: String| EngineError::refused(RefusalKind::Disagreement, reason);
        let (signature, signer) = match role {
            SignerRole::Consumer => (&negotiation.consumer_signature, negotiation.assignee()),
            SignerRole::Provider => (&negotiation.provider_signature, negotiation.assigner()),
        };
        let Some(signature) = signature else {
            let peer = negotiation.peer.as_str();
            return match self.rules.signatures(peer) {
                Signatures::AcceptPeerToken | Signatures::None => Ok(()),
                Signatures::Required => Err(refuse(format!(
                    "/urn:concordat:signature: is missing; this node makes agreements only with both signatures{}",
                    self.rules.line_for(peer, ACCEPT_PEER_TOKEN)
                ))),
            };
        };
        let agreement = negotiation.agreement.as_ref().map(Agreement::json);
        let agreement = agreement.ok_or_else(|| refuse("there is no agreement to sign".to_owned()))?;
        let (parts, names) = (negotiation.parts.as_map(), negotiation.names.as_map());
        let bound = trust::Bound { agreement, parts, names };
        let document = documents.get(signer.as_str()).cloned().unwrap_or_default();
        trust::DidDocument::parse(document, signer.as_str())
            .and_then(|document| trust::agreement::verify(signature, role, bound, &document))
            .map_err(|error| refuse(format!("/urn:concordat:signature: {error}")))?;
        Ok(())
    }

    fn negotiation_parties(&self, peer: &str, peer_address: String, dataset: DatasetId) -> Parties {
        Parties {
            own: ParticipantId::new(self.did()),
            own_address: self.own_address.clone(),
            peer: ParticipantId::new(peer),
            names: self.rules.names(self.did(), peer),
            peer_address,
            dataset,
        }
    }

    fn load_negotiation(&self, pid: &str) -> Result<(NegotiationRecord, u64), EngineError> {
        let found = tables::load(&self.store, &tables::key(prefix::NEGOTIATION, pid))?;
        found.ok_or_else(|| EngineError::NotFound { kind: "negotiation", id: pid.to_owned() })
    }

    /// A stranger and an unknown pid get the same answer.
    fn own_negotiation(
        &self,
        caller: &str,
        role: Option<Role>,
        pid: &str,
    ) -> Result<(NegotiationRecord, u64), EngineError> {
        let found = self.load_negotiation(pid)?;
        let ours = &found.0.negotiation;
        if ours.peer.as_str() != caller || role.is_some_and(|role| role != ours.role) {
            return Err(EngineError::NotFound { kind: "negotiation", id: pid.to_owned() });
        }
        Ok(found)
    }

    async fn save_negotiation(
        self: &Arc<Self>,
        record: NegotiationRecord,
        saving: Saving,
    ) -> Result<NegotiationRecord, EngineError> {
        let Saving { version, effects, documents, messages, mut batch } = saving;
        let negotiation = &record.negotiation;
        let (pid, peer) = (negotiation.pid().to_owned(), negotiation.peer.to_string());
        let key = tables::key(prefix::NEGOTIATION, &pid);
        batch.expect(key.clone(), version);
        if version.is_none()
            && let Some(theirs) = negotiation.peer_pid()
        {
            let index = tables::peer_process(KIND, &peer, theirs);
            batch.expect(index.clone(), None);
            tables::put(&mut batch, index, &pid)?;
        }
        let state = negotiation.progress.state_name();
        let last = negotiation.progress.history.last().map_or("", |entry| entry.text.as_str());
        let event = Event::new(KIND.name(), clock::now(), last).about(&pid).with(&peer).reached(&state);
        tables::append_event(&mut batch, &event)?;
        for message in &messages {
            self.keep_message(&pid, message, &mut batch)?;
        }
        let mut concluded = None;
        if effects.contains(&Effect::Conclude)
            && let Some(agreement) = &negotiation.agreement
        {
            let mut documents =
                if documents.is_empty() { self.parties_documents(negotiation).await? } else { documents };
            let shown = self.shown_by(negotiation, agreement.id().as_str(), &mut documents).await?;
            let conclusion = AgreementRecord {
                agreement: agreement.clone(),
                parts: negotiation.parts.clone(),
                names: named_in(agreement, negotiation.names.as_map()),
                role: negotiation.role,
                peer: peer.clone(),
                peer_address: negotiation.peer_address.clone(),
                negotiation: pid.clone(),
                provider_signature: negotiation.provider_signature.clone(),
                consumer_signature: negotiation.consumer_signature.clone(),
                did_documents: documents,
                shown,
                automation: record.automation,
                imported: false,
                concluded_at: clock::now(),
                ended: None,
                ended_there: None,
            };
            self.check_unused(agreement)?;
            let agreement_key = tables::key(prefix::AGREEMENT, agreement.id().as_str());
            batch.expect(agreement_key.clone(), None);
            tables::put(&mut batch, agreement_key, &conclusion)?;
            let text = format!("the agreement about {} is in force", negotiation.dataset);
            let event =
                Event::new("agreement", clock::now(), text).about(agreement.id().as_str()).with(&peer);
            tables::append_event(&mut batch, &event)?;
            concluded = Some(conclusion);
        }
        let overtaken =
            if is_ending(negotiation) { self.end_concluded(negotiation, &mut batch)? } else { None };
        let after = self.plan(KIND, &pid, &peer, &negotiation.peer_address, effects, &mut batch)?;
        let wanted = concluded.is_some() && record.attached.transfer_type.is_some();
        if wanted {
            tables::put(&mut batch, tables::key(prefix::TRANSFER_WANTED, &pid), &())?;
        }
        let before = version.map(|_| self.negotiation(&pid)).transpose()?;
        let events = self.negotiation_events(&record, before.as_ref(), &mut batch)?;
        tables::put(&mut batch, key, &record)?;
        if self.rests_on_nothing(negotiation)? {
            self.another_ended(KIND, &pid, &peer, &mut batch)?;
        }
        self.commit(batch).await?;
        self.open_negotiations.note(negotiation, is_ending(negotiation));
        if let Some(record) = &concluded {
            self.claims.expect(record.agreement.policy(), &self.known);
            self.expect_duties(record);
            self.retention.agreed(&record.peer);
        }
        self.follow(after);
        self.deliver_all(events);
        if wanted {
            self.begin_wanted(pid);
        }
        if let Some(agreement) = overtaken {
            self.end_transfers(&agreement).await?;
        }
        Ok(record)
    }
}

/// Those of `names` that the agreement uses.
pub(super) fn named_in(agreement: &Agreement, names: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let (assigner, assignee) = (agreement.assigner(), agreement.assignee());
    let is_used = |name: &str| [assigner.as_str(), assignee.as_str()].contains(&name);
    names.iter().filter(|(name, _)| is_used(name)).map(|(name, did)| (name.clone(), did.clone())).collect()
}

/// A peer's id for a new process. It becomes part of the addresses of messages to it, in which `.` and `..` mean something
/// else however they are written.
pub(super) fn check_pid(name: &str, pid: &str) -> Result<(), EngineError> {
    if [".", "..", ""].contains(&pid) {
        let reason = format!("/{name}: `{pid}` can be part of no address; use another id");
        return Err(EngineError::refused(RefusalKind::Malformed, reason));
    }
    Ok(())
}

/// What is saved with a negotiation.
#[derive(Debug, Default)]
struct Saving {
    /// The version that it replaces; `None` for a new one.
    version: Option<u64>,
    effects: Vec<Effect>,
    /// The parties' DID documents, where they are at hand.
    documents: BTreeMap<String, serde_json::Value>,
    /// The messages that led to it, as they were sent.
    messages: Vec<MessageEvidence>,
    /// What else is written with it.
    batch: Batch,
}

/// One move of a negotiation.
#[derive(Debug, Clone, PartialEq)]
pub enum Move {
    /// Consumer: take the provider's offer.
    Accept,
    /// Provider: agree to the terms on the table.
    Agree,
    /// Provider: make the agreement usable.
    Finalize,
    /// Answer with the largest terms within both what this side wants and what is on the table.
    Meet,
    /// Provider: answer with other terms, by default those published.
    Offer(Option<Offer>),
    /// Consumer: answer with other terms, by default those on the table.
    Request(Option<Offer>),
    /// Consumer: confirm the agreement.
    Verify,
}

/// Whether the negotiation is terminated, or a termination of ours is on its way.
pub(super) fn is_ending(negotiation: &Negotiation) -> bool {
    negotiation.progress.state == Some(State::Terminated)
        || negotiation.progress.pending.as_ref().is_some_and(|pending| pending.act == Act::Terminate)
}

fn acknowledgement(negotiation: &Negotiation) -> Result<ContractNegotiation, EngineError> {
    let missing = || EngineError::NotFound { kind: "negotiation", id: negotiation.pid().to_owned() };
    negotiation.acknowledgement().ok_or_else(missing)
}

fn unknown_offer(id: &OfferId) -> Refusal {
    Refusal::new(
        RefusalKind::TermsNotOffered,
        format!("/offer/@id: `{id}` is not an offer of this participant to you"),
    )
}
