//! The contract negotiation as a pure machine.
//!
//! | sender \ state | none | REQUESTED | OFFERED | ACCEPTED | AGREED | VERIFIED |
//! |---|---|---|---|---|---|---|
//! | consumer: request | REQUESTED | | REQUESTED | | | |
//! | consumer: accept | | | ACCEPTED | | | |
//! | consumer: verify | | | | | VERIFIED | |
//! | provider: offer | OFFERED | OFFERED | | | | |
//! | provider: agree | | AGREED | | AGREED | | |
//! | provider: finalize | | | | | | FINALIZED |
//! | either: terminate | | TERMINATED | TERMINATED | TERMINATED | TERMINATED | TERMINATED |
//!
//! FINALIZED and TERMINATED are terminal. The diagram of the specification shows fewer arrows for termination than
//! its prose ("at any state"); this machine follows the prose, in both directions.

use std::fmt;

use jiff::Timestamp;
use policy_engine::same_terms;
use serde::{Deserialize, Serialize};

use crate::effect::{Effect, Failure, Outgoing};
use crate::ids::{ConsumerPid, DatasetId, MessageId, Names, ParticipantId, ProviderPid, segment};
use crate::progress::{self, Progress, Receipt};
use crate::refusal::{Refusal, RefusalKind};
use crate::role::Role;
use crate::wire::{
    Agreement, ContractAgreementMessage, ContractAgreementVerificationMessage, ContractNegotiation,
    ContractNegotiationEventMessage, ContractNegotiationTerminationMessage, ContractOfferMessage,
    ContractRequestMessage, EventType, Offer, Parts, Received, SignatureVersions, reason_text, reasons,
    to_json,
};

/// The states of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// The consumer asked.
    Requested,
    /// The provider offered.
    Offered,
    /// The consumer accepted the provider's offer.
    Accepted,
    /// The provider agreed.
    Agreed,
    /// The consumer verified the agreement.
    Verified,
    /// The agreement may be used.
    Finalized,
    /// Ended by either side.
    Terminated,
}

impl State {
    /// All, in the order of the specification.
    pub const ALL: [Self; 7] = [
        Self::Requested,
        Self::Offered,
        Self::Accepted,
        Self::Agreed,
        Self::Verified,
        Self::Finalized,
        Self::Terminated,
    ];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "REQUESTED",
            Self::Offered => "OFFERED",
            Self::Accepted => "ACCEPTED",
            Self::Agreed => "AGREED",
            Self::Verified => "VERIFIED",
            Self::Finalized => "FINALIZED",
            Self::Terminated => "TERMINATED",
        })
    }
}

/// The moves of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Act {
    /// ContractNegotiationEventMessage ACCEPTED.
    Accept,
    /// ContractAgreementMessage.
    Agree,
    /// ContractNegotiationEventMessage FINALIZED.
    Finalize,
    /// ContractOfferMessage.
    Offer,
    /// ContractRequestMessage.
    Request,
    /// ContractNegotiationTerminationMessage.
    Terminate,
    /// ContractAgreementVerificationMessage.
    Verify,
}

impl Act {
    /// All moves.
    pub const ALL: [Self; 7] = [
        Self::Accept,
        Self::Agree,
        Self::Finalize,
        Self::Offer,
        Self::Request,
        Self::Terminate,
        Self::Verify,
    ];
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "an acceptance",
            Self::Agree => "an agreement",
            Self::Finalize => "a finalization",
            Self::Offer => "an offer",
            Self::Request => "a request",
            Self::Terminate => "a termination",
            Self::Verify => "a verification",
        })
    }
}

impl progress::Act for Act {
    type State = State;
    const TERMINATE: Self = Self::Terminate;

    fn transition(self, from: Option<State>, by: Role) -> Option<State> {
        use Role::{Consumer, Provider};
        use State::{Accepted, Agreed, Finalized, Offered, Requested, Terminated, Verified};
        match (self, by, from) {
            (Self::Request, Consumer, None | Some(Offered)) => Some(Requested),
            (Self::Offer, Provider, None | Some(Requested)) => Some(Offered),
            (Self::Accept, Consumer, Some(Offered)) => Some(Accepted),
            (Self::Agree, Provider, Some(Requested | Accepted)) => Some(Agreed),
            (Self::Verify, Consumer, Some(Agreed)) => Some(Verified),
            (Self::Finalize, Provider, Some(Verified)) => Some(Finalized),
            (Self::Terminate, _, Some(Requested | Offered | Accepted | Agreed | Verified)) => {
                Some(Terminated)
            }
            (
                Self::Request
                | Self::Offer
                | Self::Accept
                | Self::Agree
                | Self::Verify
                | Self::Finalize
                | Self::Terminate,
                _,
                _,
            ) => None,
        }
    }

    fn is_terminal(state: State) -> bool {
        matches!(state, State::Finalized | State::Terminated)
    }

    fn rank(self) -> u8 {
        u8::from(self == Self::Terminate)
    }
}

/// A negotiation as one side knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Negotiation {
    /// Which side we are on.
    pub role: Role,
    /// Ours when we are the consumer; the peer's otherwise, unknown until the peer answers our first offer.
    pub consumer_pid: Option<ConsumerPid>,
    /// Ours when we are the provider; the peer's otherwise, unknown until the peer answers our first request.
    pub provider_pid: Option<ProviderPid>,
    /// This node.
    pub own: ParticipantId,
    /// Whom we talk to.
    pub peer: ParticipantId,
    /// Under which ids the two stand in the agreement, where these are not their DIDs.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub names: Names,
    /// Where we take the peer's messages.
    pub own_address: String,
    /// Base address of the peer.
    pub peer_address: String,
    /// What it is about.
    pub dataset: DatasetId,
    /// The terms on the table.
    pub offer: Offer,
    /// Who put them there.
    pub offer_by: Role,
    /// What the provider agreed to.
    pub agreement: Option<Agreement>,
    /// What stands beside the agreement.
    #[serde(default, skip_serializing_if = "Parts::is_empty")]
    pub parts: Parts,
    /// Provider: the newest version of the agreement's signature that the consumer has shown to know.
    #[serde(default = "first_version")]
    pub signature_version: u32,
    /// The provider's signature over the agreement.
    pub provider_signature: Option<String>,
    /// The consumer's.
    pub consumer_signature: Option<String>,
    /// Where it stands.
    pub progress: Progress<Act>,
}

const fn first_version() -> u32 {
    1
}

/// A message of the peer, already authenticated.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Provider: agrees.
    Agreement(ContractAgreementMessage),
    /// Consumer: accepts; provider: finalises.
    Event(ContractNegotiationEventMessage),
    /// Provider: offers.
    Offer(ContractOfferMessage),
    /// Consumer: asks.
    Request(ContractRequestMessage),
    /// Either: ends.
    Termination(ContractNegotiationTerminationMessage),
    /// Consumer: verifies.
    Verification(ContractAgreementVerificationMessage),
}

impl Message {
    /// The move this message makes.
    #[must_use]
    pub const fn act(&self) -> Act {
        match self {
            Self::Agreement(_) => Act::Agree,
            Self::Event(event) => match event.event_type {
                EventType::Accepted => Act::Accept,
                EventType::Finalized => Act::Finalize,
            },
            Self::Offer(_) => Act::Offer,
            Self::Request(_) => Act::Request,
            Self::Termination(_) => Act::Terminate,
            Self::Verification(_) => Act::Verify,
        }
    }

    fn pids(&self) -> (Option<&ConsumerPid>, Option<&ProviderPid>) {
        match self {
            Self::Agreement(m) => (Some(&m.consumer_pid), Some(&m.provider_pid)),
            Self::Event(m) => (Some(&m.consumer_pid), Some(&m.provider_pid)),
            Self::Offer(m) => (m.consumer_pid.as_ref(), Some(&m.provider_pid)),
            Self::Request(m) => (Some(&m.consumer_pid), m.provider_pid.as_ref()),
            Self::Termination(m) => (Some(&m.consumer_pid), Some(&m.provider_pid)),
            Self::Verification(m) => (Some(&m.consumer_pid), Some(&m.provider_pid)),
        }
    }
}

/// What a person or a rule on our side decides.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Consumer: take the provider's offer.
    Accept,
    /// Provider: agree to the terms on the table.
    Agree {
        /// Built from the offer on the table.
        agreement: Agreement,
        /// What stands beside it.
        parts: Parts,
        /// Ours, over both.
        signature: Option<String>,
    },
    /// Provider: make the agreement usable.
    Finalize,
    /// Provider: answer with other terms.
    Offer(Offer),
    /// Consumer: answer with other terms.
    Request(Offer),
    /// Either: end it.
    Terminate(String),
    /// Consumer: confirm the agreement.
    Verify {
        /// Ours, over the agreement and what stands beside it.
        signature: Option<String>,
    },
}

/// Everything that can happen to a negotiation.
pub type Input = crate::step::Input<Decision, Message, ContractNegotiation>;

/// The answer of [`step`].
pub type Step = crate::step::Step<Negotiation>;

/// Who talks to whom about what; the beginning of a negotiation.
#[derive(Debug, Clone)]
pub struct Parties {
    /// This node.
    pub own: ParticipantId,
    /// Where it takes messages; no trailing slash.
    pub own_address: String,
    /// The peer, as authenticated or as addressed.
    pub peer: ParticipantId,
    /// Its base address.
    pub peer_address: String,
    /// Under which ids the two stand in the agreement, where these are not their DIDs.
    pub names: Names,
    /// What it is about.
    pub dataset: DatasetId,
}

/// Begins a negotiation by asking (`Role::Consumer`) or by offering (`Role::Provider`).
pub fn begin(
    role: Role,
    pid: String,
    parties: Parties,
    offer: Offer,
    message: MessageId,
    now: Timestamp,
) -> Step {
    let mut next = create(role, parties, offer.spelled(), role, now);
    let body = match role {
        Role::Consumer => {
            next.consumer_pid = Some(ConsumerPid::new(pid));
            next.progress.note(now, format!("you asked {} for {}", next.peer, next.dataset));
            to_json(
                &ContractRequestMessage {
                    consumer_pid: next.consumer(),
                    provider_pid: None,
                    offer: next.offer.clone(),
                    callback_address: Some(next.own_address.clone()),
                    signature_versions: SignatureVersions::known(),
                },
                Some(&message),
            )
        }
        Role::Provider => {
            next.provider_pid = Some(ProviderPid::new(pid));
            next.progress.note(now, format!("you offered {} to {}", next.dataset, next.peer));
            to_json(
                &ContractOfferMessage {
                    provider_pid: next.provider(),
                    consumer_pid: None,
                    offer: next.offer.clone(),
                    callback_address: Some(next.own_address.clone()),
                },
                Some(&message),
            )
        }
    };
    let (act, path) = match role {
        Role::Consumer => (Act::Request, "negotiations/request"),
        Role::Provider => (Act::Offer, "negotiations/offers"),
    };
    next.progress.pending = Some(progress::Pending { message: message.clone(), act });
    let send = Effect::Send(Outgoing { id: message, path: path.to_owned(), body });
    Step { next, effects: vec![send], repeat: false }
}

/// Takes a consumer's first request as the provider, under our id `pid`.
///
/// # Errors
/// The message is a counter-offer of a negotiation that does not exist.
pub fn requested(
    pid: ProviderPid,
    parties: Parties,
    received: &Received<ContractRequestMessage>,
    now: Timestamp,
) -> Result<Negotiation, Refusal> {
    if received.message.provider_pid.is_some() {
        return Err(Refusal::new(
            RefusalKind::Malformed,
            "/providerPid: a first request has a callbackAddress and no providerPid",
        ));
    }
    let offer = received.message.offer.with_target(&parties.dataset);
    let mut next = create(Role::Provider, parties, offer, Role::Consumer, now);
    next.heed(&received.message.signature_versions);
    next.provider_pid = Some(pid);
    next.consumer_pid = Some(received.message.consumer_pid.clone());
    next.progress.state = Some(State::Requested);
    next.progress.seen.extend(received.id.clone());
    next.progress.note(now, format!("{} asked for {}", next.peer, next.dataset));
    Ok(next)
}

/// Takes a provider's first offer as the consumer, under our id `pid`.
///
/// # Errors
/// The message answers a negotiation that does not exist.
pub fn offered(
    pid: ConsumerPid,
    parties: Parties,
    received: &Received<ContractOfferMessage>,
    now: Timestamp,
) -> Result<Negotiation, Refusal> {
    if received.message.consumer_pid.is_some() {
        return Err(Refusal::new(
            RefusalKind::Malformed,
            "/consumerPid: a first offer has a callbackAddress and no consumerPid",
        ));
    }
    let offer = received.message.offer.clone();
    let mut next = create(Role::Consumer, parties, offer, Role::Provider, now);
    next.consumer_pid = Some(pid);
    next.provider_pid = Some(received.message.provider_pid.clone());
    next.progress.state = Some(State::Offered);
    next.progress.seen.extend(received.id.clone());
    next.progress.note(now, format!("{} offered {}", next.peer, next.dataset));
    Ok(next)
}

fn create(role: Role, parties: Parties, offer: Offer, offer_by: Role, now: Timestamp) -> Negotiation {
    Negotiation {
        role,
        consumer_pid: None,
        provider_pid: None,
        own: parties.own,
        peer: parties.peer,
        names: parties.names,
        own_address: parties.own_address,
        peer_address: parties.peer_address,
        dataset: parties.dataset,
        offer,
        offer_by,
        agreement: None,
        parts: Parts::default(),
        signature_version: first_version(),
        provider_signature: None,
        consumer_signature: None,
        progress: Progress::new(now),
    }
}

/// One step: the whole behaviour of a negotiation.
///
/// # Errors
/// The input is not allowed now or does not fit what was said before; nothing changes.
pub fn step(negotiation: Negotiation, input: Input, now: Timestamp) -> Result<Step, Refusal> {
    match input {
        Input::Acknowledged { message, reply } => Ok(negotiation.acknowledged(&message, reply, now)),
        Input::Decided { decision, message } => negotiation.decided(decision, message, now),
        Input::Failed { failed, failure, message } => Ok(negotiation.failed(&failed, &failure, message, now)),
        Input::Received(received) => negotiation.received(received, now),
    }
}

impl Negotiation {
    /// Our own id of it.
    #[must_use]
    pub fn pid(&self) -> &str {
        match self.role {
            Role::Consumer => self.consumer_pid.as_ref().map_or("", ConsumerPid::as_str),
            Role::Provider => self.provider_pid.as_ref().map_or("", ProviderPid::as_str),
        }
    }

    /// The peer's id of it, if known.
    #[must_use]
    pub fn peer_pid(&self) -> Option<&str> {
        match self.role {
            Role::Consumer => self.provider_pid.as_ref().map(ProviderPid::as_str),
            Role::Provider => self.consumer_pid.as_ref().map(ConsumerPid::as_str),
        }
    }

    /// The answer to GET and to first messages; `None` before the first acknowledgement.
    #[must_use]
    pub fn acknowledgement(&self) -> Option<ContractNegotiation> {
        Some(ContractNegotiation {
            provider_pid: self.provider_pid.clone()?,
            consumer_pid: self.consumer_pid.clone()?,
            state: self.progress.state?,
        })
    }

    /// Who grants.
    #[must_use]
    pub const fn assigner(&self) -> &ParticipantId {
        match self.role {
            Role::Consumer => &self.peer,
            Role::Provider => &self.own,
        }
    }

    /// Who is granted.
    #[must_use]
    pub const fn assignee(&self) -> &ParticipantId {
        match self.role {
            Role::Consumer => &self.own,
            Role::Provider => &self.peer,
        }
    }

    /// Takes note of what the consumer knows; saying nothing takes nothing back.
    fn heed(&mut self, shown: &SignatureVersions) {
        self.signature_version = shown.newest_common().unwrap_or(self.signature_version);
    }

    fn consumer(&self) -> ConsumerPid {
        self.consumer_pid.clone().unwrap_or_else(|| ConsumerPid::new(""))
    }

    fn provider(&self) -> ProviderPid {
        self.provider_pid.clone().unwrap_or_else(|| ProviderPid::new(""))
    }

    fn received(mut self, received: Received<Message>, now: Timestamp) -> Result<Step, Refusal> {
        let Received { id, message } = received;
        self.check_pids(&message)?;
        let act = message.act();
        let by = self.role.other();
        let overtaken = match self.progress.receive(by, act, id.as_ref())? {
            Receipt::Repeat => return Ok(Step { next: self, effects: Vec::new(), repeat: true }),
            Receipt::Moved(overtaken) => overtaken,
        };
        let mut effects: Vec<_> = overtaken.into_iter().map(Effect::Withdraw).collect();
        match message {
            Message::Request(request) => {
                self.check_target(&request.offer)?;
                self.heed(&request.signature_versions);
                self.offer = request.offer.with_target(&self.dataset);
                self.offer_by = Role::Consumer;
                self.progress.note(now, format!("{} made a counter-offer", self.peer));
            }
            Message::Offer(offer) => {
                self.check_target(&offer.offer)?;
                self.provider_pid = Some(offer.provider_pid);
                self.offer = offer.offer;
                self.offer_by = Role::Provider;
                self.progress.note(now, format!("{} answered with an offer of its own", self.peer));
            }
            Message::Agreement(agreed) => {
                self.check_agreement(&agreed.agreement, &agreed.parts)?;
                self.provider_pid = Some(agreed.provider_pid);
                self.progress.note(now, format!("{} agreed: {}", self.peer, agreed.agreement.id()));
                (self.agreement, self.parts) = (Some(agreed.agreement), agreed.parts);
                self.provider_signature = agreed.signature;
            }
            Message::Verification(verification) => {
                self.consumer_signature = verification.signature;
                self.progress.note(now, format!("{} verified the agreement", self.peer));
            }
            Message::Event(event) => match act {
                Act::Finalize => {
                    self.progress.note(now, format!("{} finalized the agreement", self.peer));
                    effects.push(Effect::Conclude);
                }
                _ => {
                    self.heed(&event.signature_versions);
                    self.progress.note(now, format!("{} accepted the offer", self.peer));
                }
            },
            Message::Termination(termination) => {
                let reason = reason_text(termination.code.as_deref(), &termination.reason);
                self.provider_pid.get_or_insert(termination.provider_pid);
                self.consumer_pid.get_or_insert(termination.consumer_pid);
                self.progress.note(now, format!("{} ended it: {reason}", self.peer));
                self.progress.problem = Some(format!("{} ended it: {reason}", self.peer));
            }
        }
        Ok(Step { next: self, effects, repeat: false })
    }

    fn check_pids(&self, message: &Message) -> Result<(), Refusal> {
        let (consumer, provider) = message.pids();
        let differ = |name: &str, ours: &str, theirs: &str| {
            Err(Refusal::new(
                RefusalKind::Disagreement,
                format!("/{name}: this negotiation has `{ours}`, the message says `{theirs}`"),
            ))
        };
        match (&self.consumer_pid, consumer) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                return differ("consumerPid", ours.as_str(), theirs.as_str());
            }
            (_, None) => return Err(Refusal::new(RefusalKind::Malformed, "/consumerPid: is missing")),
            _ => {}
        }
        match (&self.provider_pid, provider) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                differ("providerPid", ours.as_str(), theirs.as_str())
            }
            (_, None) => Err(Refusal::new(RefusalKind::Malformed, "/providerPid: is missing")),
            _ => Ok(()),
        }
    }

    fn check_target(&self, offer: &Offer) -> Result<(), Refusal> {
        match offer.target() {
            Some(target) if target != self.dataset => Err(Refusal::new(
                RefusalKind::Disagreement,
                format!("/offer/target: this negotiation is about `{}`, not `{target}`", self.dataset),
            )),
            _ => Ok(()),
        }
    }

    /// The consumer's checks of an agreement before it is taken (ContractAgreementMessage).
    fn check_agreement(&self, agreement: &Agreement, parts: &Parts) -> Result<(), Refusal> {
        let refuse = |path: &str, expected: &str, got: &str| {
            Err(Refusal::new(
                RefusalKind::Disagreement,
                format!("/agreement/{path}: expected `{expected}`, got `{got}`"),
            ))
        };
        if agreement.target() != self.dataset {
            return refuse("target", self.dataset.as_str(), agreement.target().as_str());
        }
        for (member, party, named) in [
            ("assigner", self.assigner(), agreement.assigner()),
            ("assignee", self.assignee(), agreement.assignee()),
        ] {
            let name = self.names.of(party);
            if named != name && named != *party {
                return refuse(member, name.as_str(), named.as_str());
            }
        }
        if !same_terms(agreement.policy(), self.offer.policy()) {
            return Err(Refusal::new(
                RefusalKind::Disagreement,
                format!(
                    "/agreement: its rules are not those of the offer `{}` on the table",
                    self.offer.id()
                ),
            ));
        }
        let place = if parts.is_empty() { "/agreement" } else { "" };
        parts
            .check(agreement, self.offer.service_levels())
            .map_err(|reason| Refusal::new(RefusalKind::Disagreement, format!("{place}{reason}")))
    }

    fn decided(mut self, decision: Decision, message: MessageId, now: Timestamp) -> Result<Step, Refusal> {
        let act = match &decision {
            Decision::Accept => Act::Accept,
            Decision::Agree { .. } => Act::Agree,
            Decision::Finalize => Act::Finalize,
            Decision::Offer(_) => Act::Offer,
            Decision::Request(_) => Act::Request,
            Decision::Terminate(_) => Act::Terminate,
            Decision::Verify { .. } => Act::Verify,
        };
        if let Decision::Terminate(reason) = &decision
            && self.peer_pid().is_none()
            && !self.progress.is_terminal()
        {
            // The peer may or may not have our first message; end it once we know its pid.
            self.progress.note(now, format!("you want to end it: {reason}"));
            self.progress.ending = Some(reason.clone());
            return Ok(Step { next: self, effects: Vec::new(), repeat: false });
        }
        let mut effects: Vec<_> =
            self.progress.send(self.role, act, message.clone())?.into_iter().map(Effect::Withdraw).collect();
        let (peer_pid, consumer_pid, provider_pid) =
            (self.peer_pid().unwrap_or_default().to_owned(), self.consumer(), self.provider());
        let (leaf, body) = match decision {
            Decision::Request(offer) => {
                self.check_target(&offer)?;
                self.offer = offer.with_target(&self.dataset).spelled();
                self.offer_by = Role::Consumer;
                self.progress.note(now, "you made a counter-offer");
                let body = ContractRequestMessage {
                    consumer_pid,
                    provider_pid: Some(provider_pid),
                    offer: self.offer.clone(),
                    callback_address: None,
                    signature_versions: SignatureVersions::known(),
                };
                ("request", to_json(&body, Some(&message)))
            }
            Decision::Offer(offer) => {
                self.check_target(&offer)?;
                self.offer = offer.with_target(&self.dataset).spelled();
                self.offer_by = Role::Provider;
                self.progress.note(now, "you answered with an offer of your own");
                let body = ContractOfferMessage {
                    provider_pid,
                    consumer_pid: Some(consumer_pid),
                    offer: self.offer.clone(),
                    callback_address: None,
                };
                ("offers", to_json(&body, Some(&message)))
            }
            Decision::Accept => {
                self.progress.note(now, "you accepted the offer");
                let body = ContractNegotiationEventMessage {
                    provider_pid,
                    consumer_pid,
                    event_type: EventType::Accepted,
                    signature_versions: SignatureVersions::known(),
                };
                ("events", to_json(&body, Some(&message)))
            }
            Decision::Agree { agreement, parts, signature } => {
                self.check_agreement(&agreement, &parts)?;
                self.progress.note(now, format!("you agreed: {}", agreement.id()));
                (self.agreement, self.parts) = (Some(agreement.clone()), parts.clone());
                self.provider_signature.clone_from(&signature);
                let body =
                    ContractAgreementMessage { provider_pid, consumer_pid, agreement, signature, parts };
                ("agreement", to_json(&body, Some(&message)))
            }
            Decision::Verify { signature } => {
                self.consumer_signature.clone_from(&signature);
                self.progress.note(now, "you verified the agreement");
                let body = ContractAgreementVerificationMessage { provider_pid, consumer_pid, signature };
                ("agreement/verification", to_json(&body, Some(&message)))
            }
            Decision::Finalize => {
                self.progress.note(now, "you finalized the agreement");
                effects.push(Effect::Conclude);
                let body = ContractNegotiationEventMessage {
                    provider_pid,
                    consumer_pid,
                    event_type: EventType::Finalized,
                    signature_versions: SignatureVersions::default(),
                };
                ("events", to_json(&body, Some(&message)))
            }
            Decision::Terminate(reason) => {
                self.progress.note(now, format!("you ended it: {reason}"));
                self.progress.problem = Some(format!("you ended it: {reason}"));
                ("termination", self.termination(&reason, &message))
            }
        };
        let path = format!("negotiations/{}/{leaf}", segment(&peer_pid));
        effects.push(Effect::Send(Outgoing { id: message, path, body }));
        Ok(Step { next: self, effects, repeat: false })
    }

    fn termination(&self, reason: &str, message: &MessageId) -> serde_json::Value {
        let body = ContractNegotiationTerminationMessage {
            provider_pid: self.provider(),
            consumer_pid: self.consumer(),
            code: None,
            reason: reasons(&[reason.to_owned()]),
        };
        to_json(&body, Some(message))
    }

    fn acknowledged(
        mut self,
        message: &MessageId,
        reply: Option<ContractNegotiation>,
        now: Timestamp,
    ) -> Step {
        if let Some(reply) = reply {
            match self.role {
                Role::Consumer => {
                    self.provider_pid.get_or_insert(reply.provider_pid);
                }
                Role::Provider => {
                    self.consumer_pid.get_or_insert(reply.consumer_pid);
                }
            }
        }
        let Some(act) = self.progress.acknowledge(self.role, message) else {
            return Step { next: self, effects: Vec::new(), repeat: true };
        };
        self.progress.note(now, format!("{} received {act}", self.peer));
        if let Some(reason) = self.progress.ending.take()
            && !self.progress.is_terminal()
        {
            let id = MessageId::new(format!("{message}-end"));
            match self.clone().decided(Decision::Terminate(reason), id, now) {
                Ok(step) => return step,
                Err(refusal) => self.progress.note(now, refusal.reason),
            }
        }
        Step { next: self, effects: Vec::new(), repeat: false }
    }

    fn failed(mut self, failed: &MessageId, failure: &Failure, message: MessageId, now: Timestamp) -> Step {
        let Some(pending) = self.progress.pending.take_if(|pending| pending.message == *failed) else {
            return Step { next: self, effects: Vec::new(), repeat: true };
        };
        self.progress.note(now, format!("{} did not take {}: {}", self.peer, pending.act, failure.reason));
        if pending.act == Act::Terminate || self.peer_pid().is_none() {
            self.progress.state = Some(State::Terminated);
            self.progress.problem.get_or_insert_with(|| failure.reason.clone());
            return Step { next: self, effects: Vec::new(), repeat: false };
        }
        // Both sides disagree, so the negotiation must be terminated (section Contract Negotiation Protocol).
        let reason = format!("{} was not taken: {}", pending.act, failure.reason);
        self.progress.problem = Some(failure.reason.clone());
        match self.clone().decided(Decision::Terminate(reason), message, now) {
            Ok(step) => step,
            Err(_) => Step { next: self, effects: Vec::new(), repeat: false },
        }
    }
}

#[cfg(test)]
mod tests;
