//! The Dataspace Protocol 2025-1, section by section, against a running node: what it must and should do.

mod catalog;
mod common;
mod negotiation;
mod peer;
mod processes;
mod transfer;
