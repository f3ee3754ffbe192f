//! What both machines share: the state, the one message in flight, repeats, history.
//!
//! A state is entered when its message is acknowledged: the receiver enters it before it answers, the sender on
//! the 2xx. Between, the sender keeps the message as *pending*. A message from the peer that is legal only after
//! the pending one proves that the pending one arrived; it then counts as acknowledged.

use std::fmt;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ids::MessageId;
use crate::refusal::{Refusal, RefusalKind};
use crate::role::Role;

/// Most messages one process takes from its peer; counter-offers cannot go on for ever.
pub const MAX_MESSAGES: usize = 128;

/// The moves of one machine and its transition table.
pub trait Act: Copy + Eq + fmt::Debug + fmt::Display + Serialize + DeserializeOwned + 'static {
    /// The states of the machine as the specification names them.
    type State: Copy + Eq + fmt::Debug + fmt::Display + Serialize + DeserializeOwned;
    /// The move that ends the process from either side.
    const TERMINATE: Self;

    /// The specification's table: the state reached when `by` makes this move in `from` (`None`: no process yet),
    /// `None` where the table has no arrow.
    fn transition(self, from: Option<Self::State>, by: Role) -> Option<Self::State>;

    /// Whether nothing can follow.
    fn is_terminal(state: Self::State) -> bool;

    /// Which of two crossing messages counts: the higher rank; among equals below the top the provider's.
    fn rank(self) -> u8;
}

/// A message of ours that the peer has not acknowledged yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Pending<A: Act> {
    /// Its root `@id`.
    pub message: MessageId,
    /// What it says.
    pub act: A,
}

/// A line of the process's history, in plain words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub text: String,
}

/// Where a process stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Progress<A: Act> {
    /// `None` until the first message is acknowledged.
    pub state: Option<A::State>,
    /// Our message in flight.
    pub pending: Option<Pending<A>>,
    /// Why we want to end as soon as the peer's pid is known.
    pub ending: Option<String>,
    /// Messages taken from the peer, by root `@id`.
    pub seen: Vec<MessageId>,
    /// What happened, oldest first.
    pub history: Vec<Entry>,
    /// Why it ended or what stands in the way.
    pub problem: Option<String>,
    /// First entry.
    pub created: Timestamp,
    /// Last change.
    pub updated: Timestamp,
}

/// What receiving a message came to.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// Seen before: answer as then, change nothing.
    Repeat,
    /// The process moved; the message in flight, if any, is overtaken or proven to have arrived.
    Moved(Option<MessageId>),
}

impl<A: Act> Progress<A> {
    /// A process that has not begun.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self {
            state: None,
            pending: None,
            ending: None,
            seen: Vec::new(),
            history: Vec::new(),
            problem: None,
            created: now,
            updated: now,
        }
    }

    /// Whether the process is over.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.state.is_some_and(A::is_terminal)
    }

    /// The state, or `INITIAL` before the first acknowledgement.
    #[must_use]
    pub fn state_name(&self) -> String {
        self.state.map_or_else(|| "INITIAL".to_owned(), |state| state.to_string())
    }

    /// The state between `before` and now that this side reached in `role` with its message in flight, where the peer's answer came
    /// before the acknowledgement of that message; `None` where there was none.
    #[must_use]
    pub fn passed(&self, before: &Self, role: Role) -> Option<A::State> {
        let pending = before.pending.as_ref()?;
        if self.pending.as_ref().is_some_and(|now| now.message == pending.message) {
            return None;
        }
        let reached = pending.act.transition(before.state, role)?;
        // A process that was terminated may have been so because the message did not arrive.
        let others = [before.state, Some(reached), A::TERMINATE.transition(Some(reached), role)];
        (!others.contains(&self.state)).then_some(reached)
    }

    /// Adds a line to the history.
    pub fn note(&mut self, now: Timestamp, text: impl Into<String>) {
        // The messages taken are bounded; lines about refused decisions and failed deliveries are not, so cap them.
        if self.history.len() < 4 * MAX_MESSAGES {
            self.history.push(Entry { at: now, text: text.into() });
        }
        self.updated = now;
    }

    /// Checks a first message for a process that is there already: a repeat, unless the process is over and did not begin with
    /// it. Without an id it cannot be told from a repeat.
    ///
    /// # Errors
    /// It would use the id of a process that has ended again.
    pub fn check_repeat(&self, id: Option<&MessageId>) -> Result<(), Refusal> {
        if self.is_terminal() && id.is_some_and(|id| !self.seen.contains(id)) {
            let reason = format!(
                "a process with this id is over ({}); begin a new one under a new id",
                self.state_name()
            );
            return Err(Refusal::new(RefusalKind::IllegalTransition, reason));
        }
        Ok(())
    }

    /// Takes the peer's move `act`, sent by `peer` in message `id`.
    ///
    /// # Errors
    /// The move is not allowed now, or the process took too many messages.
    pub fn receive(&mut self, peer: Role, act: A, id: Option<&MessageId>) -> Result<Receipt, Refusal> {
        let next = self.after(peer, act);
        // What came without an id says the same as before: it is a repetition where it is no new move.
        let is_repeat = |id: &MessageId| self.seen.contains(id) && (!id.is_of_content() || next.is_err());
        if id.is_some_and(is_repeat) {
            return Ok(Receipt::Repeat);
        }
        let next = next?;
        if self.seen.len() >= MAX_MESSAGES && act != A::TERMINATE {
            return Err(Refusal::new(
                RefusalKind::TooMuch,
                format!(
                    "this process took {MAX_MESSAGES} messages already; terminate it and begin a new one"
                ),
            ));
        }
        self.state = Some(next);
        self.seen.extend(id.filter(|id| !self.seen.contains(id)).cloned());
        Ok(Receipt::Moved(self.pending.take().map(|pending| pending.message)))
    }

    /// The state after the peer's move, or why it is not allowed.
    fn after(&self, peer: Role, act: A) -> Result<A::State, Refusal> {
        let illegal = |detail: &str| {
            Refusal::new(
                RefusalKind::IllegalTransition,
                format!("{act} by the {peer} is not allowed in state {}{detail}", self.state_name()),
            )
        };
        let Some(pending) = &self.pending else {
            return act.transition(self.state, peer).ok_or_else(|| illegal(""));
        };
        if self.state.is_some()
            && let Some(next) = act.transition(self.state, peer)
        {
            // Both sides moved at once. Each applies the same rule, so both keep the same one of the two.
            let (ours, theirs) = (pending.act.rank(), act.rank());
            if ours > theirs || ours == theirs && theirs == 0 && peer == Role::Consumer {
                return Err(illegal(&format!(": {} of ours crossed it and counts", pending.act)));
            }
            return Ok(next);
        }
        if pending.act == A::TERMINATE {
            return Err(illegal(", which is being terminated"));
        }
        let arrived = pending.act.transition(self.state, peer.other());
        arrived.and_then(|state| act.transition(Some(state), peer)).ok_or_else(|| illegal(""))
    }

    /// Puts our own move in flight.
    ///
    /// # Errors
    /// The move is not allowed now, or another message is in flight.
    pub fn send(&mut self, own: Role, act: A, id: MessageId) -> Result<Option<MessageId>, Refusal> {
        if act.transition(self.state, own).is_none() {
            return Err(Refusal::new(
                RefusalKind::IllegalTransition,
                format!("{act} by the {own} is not allowed in state {}", self.state_name()),
            ));
        }
        // A termination overtakes what is on its way, unless that may already have ended the process at the peer.
        if let Some(pending) = &self.pending
            && (act != A::TERMINATE || pending.act.transition(self.state, own).is_some_and(A::is_terminal))
        {
            return Err(Refusal::new(
                RefusalKind::IllegalTransition,
                format!("{} is on its way to the peer and not acknowledged yet", pending.act),
            ));
        }
        Ok(self.pending.replace(Pending { message: id, act }).map(|overtaken| overtaken.message))
    }

    /// The peer acknowledged `id`. Returns the move that is thereby complete, `None` if it was already.
    pub fn acknowledge(&mut self, own: Role, id: &MessageId) -> Option<A> {
        let pending = self.pending.take_if(|pending| pending.message == *id)?;
        if let Some(next) = pending.act.transition(self.state, own) {
            self.state = Some(next);
        }
        Some(pending.act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::negotiation::{Act, State};

    #[test]
    fn a_state_that_an_early_answer_skips_was_passed() {
        let at = |state: Option<State>, pending: Option<(&str, Act)>| {
            let pending = pending.map(|(id, act)| Pending { message: MessageId::new(id), act });
            Progress { state, pending, ..Progress::new(Timestamp::UNIX_EPOCH) }
        };
        let verifying = at(Some(State::Agreed), Some(("urn:1", Act::Verify)));
        let passed = |now: &Progress<Act>| now.passed(&verifying, Role::Consumer);
        assert_eq!(passed(&at(Some(State::Finalized), None)), Some(State::Verified));
        assert_eq!(passed(&at(Some(State::Verified), None)), None, "it was acknowledged");
        assert_eq!(passed(&at(Some(State::Terminated), None)), None, "it may not have arrived");
        assert_eq!(passed(&verifying), None);
        let requesting = at(None, Some(("urn:1", Act::Request)));
        let agreed = at(Some(State::Agreed), Some(("urn:2", Act::Verify)));
        assert_eq!(agreed.passed(&requesting, Role::Consumer), Some(State::Requested));
        assert_eq!(agreed.passed(&at(None, None), Role::Consumer), None);
    }
}
