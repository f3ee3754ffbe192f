//! What a data space and its citizens agreed beside the policy of an agreement.
//!
//! A pure crate: no clock, no I/O, no randomness. [`personal`] says what a dataset tells of the persons it is about,
//! [`consent`] what a person permits, [`request`] what a person may ask and by when it must be answered, [`levels`] what
//! was promised, measured and attained, [`notice`] what parties state to each other, [`rulebook`] what the data space demands,
//! [`ticket`] the connector interface of MIM4 (2021), [`mims`] what cities demand of all that; [`identifier`]
//! holds what these name to the syntax of IRIs and DIDs.
#![warn(missing_docs)]

pub mod consent;
mod error;
pub mod identifier;
pub mod levels;
pub mod mims;
pub mod notice;
pub mod personal;
pub mod request;
pub mod rulebook;
pub mod ticket;

pub use error::Malformed;
