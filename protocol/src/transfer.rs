//! The transfer process as a pure machine.
//!
//! | sender \ state | none | REQUESTED | STARTED | SUSPENDED |
//! |---|---|---|---|---|
//! | consumer: request | REQUESTED | | | |
//! | provider: start | | STARTED | | STARTED |
//! | consumer: start | | | | STARTED |
//! | either: suspend | | | SUSPENDED | |
//! | either: complete | | | COMPLETED | |
//! | either: terminate | | TERMINATED | TERMINATED | TERMINATED |
//!
//! COMPLETED and TERMINATED are terminal. Either side lets go on what either suspended: what shall stop for good is
//! terminated.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::effect::{Effect, Failure, Outgoing};
use crate::ids::{AgreementId, ConsumerPid, DatasetId, MessageId, ParticipantId, ProviderPid, segment};
use crate::progress::{self, Progress, Receipt};
use crate::refusal::{Refusal, RefusalKind};
use crate::role::Role;
use crate::wire::{
    DataAddress, Received, TransferCompletionMessage, TransferProcess, TransferRequestMessage,
    TransferStartMessage, TransferSuspensionMessage, TransferTerminationMessage, reason_text, reasons,
    to_json,
};

/// The states of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// The consumer asked.
    Requested,
    /// Data may flow.
    Started,
    /// Data stops for now.
    Suspended,
    /// All data was transferred.
    Completed,
    /// Ended unfinished.
    Terminated,
}

impl State {
    /// All, in the order of the specification.
    pub const ALL: [Self; 5] =
        [Self::Requested, Self::Started, Self::Suspended, Self::Completed, Self::Terminated];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "REQUESTED",
            Self::Started => "STARTED",
            Self::Suspended => "SUSPENDED",
            Self::Completed => "COMPLETED",
            Self::Terminated => "TERMINATED",
        })
    }
}

/// The moves of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Act {
    /// TransferCompletionMessage.
    Complete,
    /// TransferRequestMessage.
    Request,
    /// TransferStartMessage.
    Start,
    /// TransferSuspensionMessage.
    Suspend,
    /// TransferTerminationMessage.
    Terminate,
}

impl Act {
    /// All moves.
    pub const ALL: [Self; 5] = [Self::Complete, Self::Request, Self::Start, Self::Suspend, Self::Terminate];
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "a completion",
            Self::Request => "a transfer request",
            Self::Start => "a start",
            Self::Suspend => "a suspension",
            Self::Terminate => "a termination",
        })
    }
}

impl progress::Act for Act {
    type State = State;
    const TERMINATE: Self = Self::Terminate;

    fn transition(self, from: Option<State>, by: Role) -> Option<State> {
        use Role::{Consumer, Provider};
        use State::{Completed, Requested, Started, Suspended, Terminated};
        match (self, by, from) {
            (Self::Request, Consumer, None) => Some(Requested),
            (Self::Start, Provider, Some(Requested | Suspended))
            | (Self::Start, Consumer, Some(Suspended)) => Some(Started),
            (Self::Suspend, _, Some(Started)) => Some(Suspended),
            (Self::Complete, _, Some(Started)) => Some(Completed),
            (Self::Terminate, _, Some(Requested | Started | Suspended)) => Some(Terminated),
            (Self::Request | Self::Start | Self::Suspend | Self::Complete | Self::Terminate, _, _) => None,
        }
    }

    fn is_terminal(state: State) -> bool {
        matches!(state, State::Completed | State::Terminated)
    }

    fn rank(self) -> u8 {
        match self {
            Self::Terminate => 2,
            Self::Complete => 1,
            Self::Request | Self::Start | Self::Suspend => 0,
        }
    }
}

/// A transfer process as one side knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Which side we are on.
    pub role: Role,
    /// The consumer's id.
    pub consumer_pid: ConsumerPid,
    /// The provider's id; unknown to the consumer until the provider answers.
    pub provider_pid: Option<ProviderPid>,
    /// This node.
    pub own: ParticipantId,
    /// Whom we talk to.
    pub peer: ParticipantId,
    /// Where we take the peer's messages.
    pub own_address: String,
    /// Base address of the peer.
    pub peer_address: String,
    /// The agreement that permits it.
    pub agreement: AgreementId,
    /// The agreement's target.
    pub dataset: DatasetId,
    /// The format asked for.
    pub format: String,
    /// Pull: where the data is (from the start message). Push: where it shall go.
    pub data_address: Option<DataAddress>,
    /// Consumer: it was resumed by us, and the provider has sent no start since. The data may be elsewhere then, or be read
    /// with another token, which only a start can say.
    #[serde(default)]
    pub awaits_start: bool,
    /// How often it was started; tokens of earlier starts are void.
    pub generation: u32,
    /// Where it stands.
    pub progress: Progress<Act>,
}

/// A message of the peer, already authenticated.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Either: done.
    Completion(TransferCompletionMessage),
    /// Provider: data flows; consumer: resume.
    Start(TransferStartMessage),
    /// Either: stop for now.
    Suspension(TransferSuspensionMessage),
    /// Either: end.
    Termination(TransferTerminationMessage),
}

impl Message {
    /// The move this message makes.
    #[must_use]
    pub const fn act(&self) -> Act {
        match self {
            Self::Completion(_) => Act::Complete,
            Self::Start(_) => Act::Start,
            Self::Suspension(_) => Act::Suspend,
            Self::Termination(_) => Act::Terminate,
        }
    }

    const fn pids(&self) -> (&ConsumerPid, &ProviderPid) {
        match self {
            Self::Completion(m) => (&m.consumer_pid, &m.provider_pid),
            Self::Start(m) => (&m.consumer_pid, &m.provider_pid),
            Self::Suspension(m) => (&m.consumer_pid, &m.provider_pid),
            Self::Termination(m) => (&m.consumer_pid, &m.provider_pid),
        }
    }
}

/// What a person or a rule on our side decides.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Either: all data was transferred.
    Complete,
    /// Provider: let data flow, with the address for pull formats; consumer: resume.
    Start(Option<DataAddress>),
    /// Either: stop for now.
    Suspend(String),
    /// Either: end it.
    Terminate(String),
}

/// Everything that can happen to a transfer.
pub type Input = crate::step::Input<Decision, Message, TransferProcess>;

/// The answer of [`step`].
pub type Step = crate::step::Step<Transfer>;

/// Who transfers what under which agreement.
#[derive(Debug, Clone)]
pub struct Parties {
    /// This node.
    pub own: ParticipantId,
    /// Where it takes messages; no trailing slash.
    pub own_address: String,
    /// The peer.
    pub peer: ParticipantId,
    /// Its base address.
    pub peer_address: String,
    /// The agreement.
    pub agreement: AgreementId,
    /// Its target.
    pub dataset: DatasetId,
    /// The format asked for.
    pub format: String,
}

/// Begins a transfer as the consumer; `destination` is where the data is to be pushed to, for push formats.
pub fn begin(
    pid: ConsumerPid,
    parties: Parties,
    destination: Option<DataAddress>,
    message: MessageId,
    now: Timestamp,
) -> Step {
    let mut next = create(Role::Consumer, pid, parties, now);
    next.data_address = destination;
    let body = TransferRequestMessage {
        consumer_pid: next.consumer_pid.clone(),
        agreement_id: next.agreement.clone(),
        format: next.format.clone(),
        data_address: next.data_address.clone(),
        callback_address: next.own_address.clone(),
    };
    next.progress.note(now, format!("you asked {} to transfer {}", next.peer, next.dataset));
    next.progress.pending = Some(progress::Pending { message: message.clone(), act: Act::Request });
    let body = to_json(&body, Some(&message));
    let send = Effect::Send(Outgoing { id: message, path: "transfers/request".to_owned(), body });
    Step { next, effects: vec![send], repeat: false }
}

/// Takes a consumer's request as the provider, under our id `pid`.
#[must_use]
pub fn requested(
    pid: ProviderPid,
    parties: Parties,
    received: &Received<TransferRequestMessage>,
    now: Timestamp,
) -> Transfer {
    let mut next = create(Role::Provider, received.message.consumer_pid.clone(), parties, now);
    next.provider_pid = Some(pid);
    next.data_address.clone_from(&received.message.data_address);
    next.progress.state = Some(State::Requested);
    next.progress.seen.extend(received.id.clone());
    next.progress.note(now, format!("{} asked to transfer {}", next.peer, next.dataset));
    next
}

fn create(role: Role, consumer_pid: ConsumerPid, parties: Parties, now: Timestamp) -> Transfer {
    Transfer {
        role,
        consumer_pid,
        provider_pid: None,
        own: parties.own,
        peer: parties.peer,
        own_address: parties.own_address,
        peer_address: parties.peer_address,
        agreement: parties.agreement,
        dataset: parties.dataset,
        format: parties.format,
        data_address: None,
        awaits_start: false,
        generation: 0,
        progress: Progress::new(now),
    }
}

/// One step: the whole behaviour of a transfer.
///
/// # Errors
/// The input is not allowed now or does not fit what was said before; nothing changes.
pub fn step(transfer: Transfer, input: Input, now: Timestamp) -> Result<Step, Refusal> {
    match input {
        Input::Acknowledged { message, reply } => Ok(transfer.acknowledged(&message, reply, now)),
        Input::Decided { decision, message } => transfer.decided(decision, message, now),
        Input::Failed { failed, failure, message } => Ok(transfer.failed(&failed, &failure, message, now)),
        Input::Received(received) => transfer.received(received, now),
    }
}

impl Transfer {
    /// Our own id of it.
    #[must_use]
    pub fn pid(&self) -> &str {
        match self.role {
            Role::Consumer => self.consumer_pid.as_str(),
            Role::Provider => self.provider_pid.as_ref().map_or("", ProviderPid::as_str),
        }
    }

    /// The peer's id of it, if known.
    #[must_use]
    pub fn peer_pid(&self) -> Option<&str> {
        match self.role {
            Role::Consumer => self.provider_pid.as_ref().map(ProviderPid::as_str),
            Role::Provider => Some(self.consumer_pid.as_str()),
        }
    }

    /// The answer to GET and to the request; `None` before the first acknowledgement.
    #[must_use]
    pub fn acknowledgement(&self) -> Option<TransferProcess> {
        Some(TransferProcess {
            provider_pid: self.provider_pid.clone()?,
            consumer_pid: self.consumer_pid.clone(),
            state: self.progress.state?,
        })
    }

    /// Whether the gate may open: the process is STARTED, or the start is on its way to a consumer that may pull
    /// before its 2xx reaches us.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let starting = self.progress.pending.as_ref().is_some_and(|pending| pending.act == Act::Start);
        let ending = self
            .progress
            .pending
            .as_ref()
            .is_some_and(|pending| matches!(pending.act, Act::Terminate | Act::Suspend | Act::Complete));
        !self.progress.is_terminal()
            && !ending
            && (self.progress.state == Some(State::Started) || starting && self.role == Role::Provider)
    }

    fn received(mut self, received: Received<Message>, now: Timestamp) -> Result<Step, Refusal> {
        let Received { id, message } = received;
        let (consumer, provider) = message.pids();
        let differ = |name: &str, ours: &str, theirs: &str| {
            Err(Refusal::new(
                RefusalKind::Disagreement,
                format!("/{name}: this transfer has `{ours}`, the message says `{theirs}`"),
            ))
        };
        if self.consumer_pid != *consumer {
            return differ("consumerPid", self.consumer_pid.as_str(), consumer.as_str());
        }
        if let Some(ours) = &self.provider_pid
            && ours != provider
        {
            return differ("providerPid", ours.as_str(), provider.as_str());
        }
        let provider = provider.clone();
        let by = self.role.other();
        if let Message::Start(start) = &message
            && by == Role::Provider
            && self.awaits_start
            && self.progress.state == Some(State::Started)
            && self.progress.pending.is_none()
            && !id.as_ref().is_some_and(|id| self.progress.seen.contains(id))
        {
            self.awaits_start = false;
            self.provider_pid.get_or_insert(provider);
            self.data_address = start.data_address.clone().or(self.data_address);
            self.generation += 1;
            self.progress.seen.extend(id);
            self.progress.note(now, format!("{} answered the resumption with a start", self.peer));
            return Ok(Step { next: self, effects: vec![Effect::OpenStream], repeat: false });
        }
        let overtaken = match self.progress.receive(by, message.act(), id.as_ref())? {
            Receipt::Repeat => return Ok(Step { next: self, effects: Vec::new(), repeat: true }),
            Receipt::Moved(overtaken) => overtaken,
        };
        let mut effects: Vec<_> = overtaken.into_iter().map(Effect::Withdraw).collect();
        self.provider_pid.get_or_insert(provider);
        match message {
            Message::Start(start) => {
                self.awaits_start = false;
                if by == Role::Provider {
                    self.data_address = start.data_address.or(self.data_address);
                    self.generation += 1;
                }
                self.progress.note(now, format!("{} started the transfer", self.peer));
                effects.push(Effect::OpenStream);
            }
            Message::Suspension(suspension) => {
                let reason = reason_text(suspension.code.as_deref(), &suspension.reason);
                self.progress.note(now, format!("{} suspended it: {reason}", self.peer));
                effects.push(Effect::CutStream(format!("suspended by {}: {reason}", self.peer)));
            }
            Message::Completion(_) => {
                self.progress.note(now, format!("{} completed it", self.peer));
                effects.push(Effect::CutStream(format!("completed by {}", self.peer)));
            }
            Message::Termination(termination) => {
                let reason = reason_text(termination.code.as_deref(), &termination.reason);
                self.progress.note(now, format!("{} ended it: {reason}", self.peer));
                self.progress.problem = Some(format!("{} ended it: {reason}", self.peer));
                effects.push(Effect::CutStream(format!("ended by {}: {reason}", self.peer)));
            }
        }
        Ok(Step { next: self, effects, repeat: false })
    }

    fn decided(mut self, decision: Decision, message: MessageId, now: Timestamp) -> Result<Step, Refusal> {
        let act = match &decision {
            Decision::Complete => Act::Complete,
            Decision::Start(_) => Act::Start,
            Decision::Suspend(_) => Act::Suspend,
            Decision::Terminate(_) => Act::Terminate,
        };
        if let Decision::Terminate(reason) = &decision
            && self.peer_pid().is_none()
            && !self.progress.is_terminal()
        {
            self.progress.note(now, format!("you want to end it: {reason}"));
            self.progress.ending = Some(reason.clone());
            return Ok(Step { next: self, effects: Vec::new(), repeat: false });
        }
        let mut effects: Vec<_> =
            self.progress.send(self.role, act, message.clone())?.into_iter().map(Effect::Withdraw).collect();
        let consumer_pid = self.consumer_pid.clone();
        let provider_pid = self.provider_pid.clone().unwrap_or_else(|| ProviderPid::new(""));
        let (leaf, body) = match decision {
            Decision::Start(data_address) => {
                if self.role == Role::Provider {
                    self.generation += 1;
                }
                self.progress.note(now, "you started the transfer");
                effects.push(Effect::OpenStream);
                let body = TransferStartMessage { provider_pid, consumer_pid, data_address };
                ("start", to_json(&body, Some(&message)))
            }
            Decision::Suspend(reason) => {
                self.progress.note(now, format!("you suspended it: {reason}"));
                effects.push(Effect::CutStream(format!("suspended: {reason}")));
                let body = TransferSuspensionMessage {
                    provider_pid,
                    consumer_pid,
                    code: None,
                    reason: reasons(&[reason]),
                };
                ("suspension", to_json(&body, Some(&message)))
            }
            Decision::Complete => {
                self.progress.note(now, "you completed it");
                effects.push(Effect::CutStream("completed".to_owned()));
                (
                    "completion",
                    to_json(&TransferCompletionMessage { provider_pid, consumer_pid }, Some(&message)),
                )
            }
            Decision::Terminate(reason) => {
                self.progress.note(now, format!("you ended it: {reason}"));
                self.progress.problem = Some(format!("you ended it: {reason}"));
                effects.push(Effect::CutStream(format!("ended: {reason}")));
                let body = TransferTerminationMessage {
                    provider_pid,
                    consumer_pid,
                    code: None,
                    reason: reasons(&[reason]),
                };
                ("termination", to_json(&body, Some(&message)))
            }
        };
        let path = format!("transfers/{}/{leaf}", segment(self.peer_pid().unwrap_or_default()));
        effects.push(Effect::Send(Outgoing { id: message, path, body }));
        Ok(Step { next: self, effects, repeat: false })
    }

    fn acknowledged(mut self, message: &MessageId, reply: Option<TransferProcess>, now: Timestamp) -> Step {
        if let Some(reply) = reply {
            self.provider_pid.get_or_insert(reply.provider_pid);
        }
        let Some(act) = self.progress.acknowledge(self.role, message) else {
            return Step { next: self, effects: Vec::new(), repeat: true };
        };
        if act == Act::Start {
            self.awaits_start = self.role == Role::Consumer;
        }
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
        let cut = Effect::CutStream(format!("{} was not taken: {}", pending.act, failure.reason));
        if self.role == Role::Consumer
            && failure.refused
            && pending.act != Act::Terminate
            && self.peer_pid().is_some()
        {
            // The provider sees it otherwise, or its own message crossed ours; the transfer stands as it was. A
            // provider's will is not up to its peer, so there the transfer ends.
            return Step { next: self, effects: Vec::new(), repeat: false };
        }
        if pending.act == Act::Terminate || self.peer_pid().is_none() {
            self.progress.state = Some(State::Terminated);
            self.progress.problem.get_or_insert_with(|| failure.reason.clone());
            return Step { next: self, effects: vec![cut], repeat: false };
        }
        let reason = format!("{} was not taken: {}", pending.act, failure.reason);
        self.progress.problem = Some(failure.reason.clone());
        match self.clone().decided(Decision::Terminate(reason), message, now) {
            Ok(step) => step,
            // A provider whose request was never answered cannot reach REQUESTED twice: nothing left to tell.
            Err(_) => Step { next: self, effects: vec![cut], repeat: false },
        }
    }
}

#[cfg(test)]
mod tests;
