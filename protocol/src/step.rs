//! What both state machines take in and give out.

use crate::effect::{Effect, Failure};
use crate::ids::MessageId;
use crate::wire::Received;

/// Everything that can happen to a process: `D` are our side's decisions, `M` the peer's messages, `A` is what the peer
/// answers to a message of ours.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<D, M, A> {
    /// The peer answered 2xx to our message; for a first message the answer names the peer's pid.
    Acknowledged {
        /// Which message.
        message: MessageId,
        /// The answer, where it had a readable body.
        reply: Option<A>,
    },
    /// Our side decided; `message` is the id for whatever is sent.
    Decided {
        /// What.
        decision: D,
        /// A fresh id.
        message: MessageId,
    },
    /// Our message cannot be delivered; `message` is the id of a termination, should one be needed.
    Failed {
        /// Which message.
        failed: MessageId,
        /// Why.
        failure: Failure,
        /// A fresh id.
        message: MessageId,
    },
    /// The peer sent a message.
    Received(Received<M>),
}

/// The answer of a state machine; `P` is the process.
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Step<P> {
    /// The process afterwards.
    pub next: P,
    /// What follows; empty for a repeat.
    pub effects: Vec<Effect>,
    /// The input was seen before and changed nothing.
    pub repeat: bool,
}
