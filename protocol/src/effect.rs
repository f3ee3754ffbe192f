//! What the shell is asked to do after a step.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::ids::MessageId;

/// A message to deliver, at least once, in order within its process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Root `@id`, the same on every attempt.
    pub id: MessageId,
    /// Below the peer's base address, without leading slash, for example `negotiations/urn:x/agreement`.
    pub path: String,
    /// The body, schema-valid and compact.
    pub body: Json,
}

/// A consequence of a step, to be committed together with the new state.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The agreement binds both sides from now on.
    Conclude,
    /// Open the data plane for this transfer (provider), or note that data may be pulled (consumer).
    OpenStream,
    /// Close the data plane for this transfer, with the reason for whoever reads.
    CutStream(String),
    /// Deliver a message.
    Send(Outgoing),
    /// Stop trying to deliver this message; it is overtaken.
    Withdraw(MessageId),
}

/// Why a message could not be delivered for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One sentence: the peer's own reasons, or what was tried and for how long.
    pub reason: String,
    /// The peer answered and refused; otherwise it could not be reached in time.
    pub refused: bool,
}
