//! ODRL 2.2: may this party do this, now, and why.
//!
//! A pure crate: no clock, no I/O, no randomness. A policy is parsed once ([`Policy::parse`]) into a bounded
//! model; [`evaluate`] answers a request in a given state of the world; [`within`] says whether the terms asked
//! for lie inside the terms offered. Every answer names the rules that decided and why. What is unknown never
//! permits.
#![warn(missing_docs)]

mod action;
mod advice;
mod alternatives;
pub mod area;
mod calendar;
mod compact;
mod compare;
mod compatible;
mod decimal;
mod difference;
mod document;
mod duty;
mod error;
mod evaluate;
pub mod explain;
mod glossary;
mod hierarchy;
pub mod identifier;
mod lint;
mod literal;
mod lowered;
pub mod media;
mod model;
mod odrl;
mod operand;
mod operators;
mod promise;
mod proposal;
mod question;
mod report;
mod satisfy;
mod serves;
mod spaces;
mod spelling;
mod transform;
mod treatment;
mod world;
mod write;

pub use action::{ACCESS, PUSH};
pub use advice::{Advice, Step, advise};
pub use alternatives::ways;
pub use calendar::{DailyTime, Day, no_such_day};
pub use compare::{Containment, Gap, same_terms, within};
pub use compatible::{Compatibility, compatible, contained};
pub use decimal::Decimal;
pub use difference::difference;
pub use document::{Document, SERVICE_LEVELS, compacted};
pub use duty::{DutyState, due, is_due_later, state as duty_state};
pub use error::PolicyError;
pub use evaluate::{Cause, Decision, DutyReport, Outcome, Reason, Verdict, decide, evaluate};
pub use glossary::{Entry, glossary};
pub use hierarchy::{Hierarchy, Relation};
pub use lint::{Doubt, Severity, lint, misnamed_columns, not_understood, permits_nothing};
pub use literal::{instant, length};
pub use model::{
    ANY_ACTION, About, Atomic, Conflict, Constraint, Kind, Logical, NOT_UNDERSTOOD, Operator, Policy, Rule,
    RuleKind, Scope, Value,
};
pub use odrl::unrestricted;
pub use operand::{Change, Operand, OperandKind, find as find_operand};
pub use promise::{evaluate_promised, promised};
pub use proposal::{Proposal, propose};
pub use question::Question;
pub use report::{Activation, Premise, PremiseKind, RuleReport, Satisfaction, report};
pub use serves::Purpose;
pub use spelling::{in_protocol_context, is_odrl_term, spelled, terms_of};
pub use transform::{
    MINIMUM_GROUP, PREFIX as DATA_PREFIX, Summary, Transform, transforms, transforms_of_each,
};
pub use world::{Facts, Performed, Record, Request, Usage, World};
