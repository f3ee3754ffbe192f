//! ODRL 2.2: may this party do this, now, and why.
//!
//! A pure crate: no clock, no I/O, no randomness. A policy is parsed once ([`Policy::parse`]) into a bounded
//! model; [`evaluate`] answers a request in a given state of the world; [`within`] says whether the terms asked
//! for lie inside the terms offered. Every answer names the rules that decided and why. What is unknown never
//! permits.
#![warn(missing_docs)]

mod compare;
mod compatible;
mod document;
mod error;
mod evaluate;
pub mod explain;
mod hierarchy;
mod model;
mod odrl;
mod operand;
mod question;
mod report;

pub use compare::{Containment, Gap, same_terms, within};
pub use compatible::{Compatibility, compatible, contained};
pub use document::Document;
pub use error::PolicyError;
pub use evaluate::{Decision, DutyReport, DutyState, Outcome, Reason, Request, World, evaluate};
pub use hierarchy::{Hierarchy, Relation};
pub use model::{ANY_ACTION, Atomic, Constraint, Kind, Logical, Operator, Policy, Rule, RuleKind, Value};
pub use operand::{Fact, OperandKind, known as known_operand};
pub use question::Question;
pub use report::{Activation, Premise, PremiseKind, RuleReport, Satisfaction, report};
