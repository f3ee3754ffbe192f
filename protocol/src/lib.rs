//! Dataspace Protocol 2025-1 (erratum 1): messages; negotiation and transfer as pure machines.
//!
//! No clock, no I/O, no randomness: time, ids and signatures come in as arguments, messages to send go out as
//! [`Effect`]s. Covered: sections Common, Contract Negotiation Protocol and Transfer Process Protocol with their
//! HTTPS bindings. The catalog's documents live in the crate `catalog`.
//!
//! The machines are [`negotiation`] and [`transfer`]; what both share (in-flight message, repeats, history) is
//! [`progress`]. `wire` holds every message as it travels.
#![warn(missing_docs)]

mod effect;
mod ids;
pub mod negotiation;
pub mod progress;
mod refusal;
mod role;
mod step;
pub mod transfer;
pub mod wire;

pub use effect::{Effect, Failure, Outgoing};
pub use ids::{AgreementId, ConsumerPid, DatasetId, MessageId, Names, OfferId, ParticipantId, ProviderPid};
pub use refusal::{Refusal, RefusalKind};
pub use role::Role;

/// The version this crate speaks, as listed at `/.well-known/dspace-version`.
pub const VERSION: &str = "2025-1";
/// The JSON-LD context every message carries.
pub const CONTEXT: &str = "https://w3id.org/dspace/2025/1/context.jsonld";
