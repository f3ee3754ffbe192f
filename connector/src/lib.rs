//! The node: command line, HTTP faces, engine, outbox, wiring.
//!
//! This crate touches the world; what is decided is decided in the pure crates. `ARCHITECTURE.md` has the map.

pub mod acting;
mod certificate;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod http;
pub mod identity;
pub mod ids;
mod kept;
mod keyring;
mod locks;
pub mod network;
pub mod node;
pub mod outbox;
pub mod peer_rules;
mod ports;
mod probing;
mod pushing;
mod reading;
pub mod resolver;
pub mod search;
pub mod secrets;
mod shares;
pub mod shown;
mod sources;
mod streams;
mod subject_keys;
pub mod tables;
pub mod tasks;
pub mod telemetry;
pub mod tls;
mod vault;
