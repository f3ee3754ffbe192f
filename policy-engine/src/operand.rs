//! The left operands this engine knows. A new one is a file in `operand/` and its line in [`ALL`].

mod absolute_size;
mod count;
mod credential;
mod date_time;
mod day_of_week;
mod delay_period;
mod elapsed_time;
mod file_format;
mod hour_of_day;
mod industry;
mod language;
mod metered_time;
mod party;
mod pay_amount;
mod percentage;
mod purpose;
mod since;
mod spatial;
mod system_device;
mod target;
mod time_interval;
mod transform;

use std::borrow::Cow;

use jiff::Timestamp;

use crate::model::{About, Atomic, Operator, Value};
use crate::world::{Facts, Request, World};

pub(crate) use since::end;

/// Every operand, one file each.
static ALL: [&Operand; 25] = [
    &absolute_size::OPERAND,
    &count::OPERAND,
    &credential::BUSINESS_PARTNER,
    &credential::CLAIM,
    &credential::ISSUER,
    &credential::MEMBERSHIP,
    &credential::ROLE,
    &date_time::OPERAND,
    &day_of_week::OPERAND,
    &delay_period::OPERAND,
    &elapsed_time::OPERAND,
    &file_format::OPERAND,
    &hour_of_day::OPERAND,
    &industry::OPERAND,
    &language::OPERAND,
    &metered_time::OPERAND,
    &party::OPERAND,
    &pay_amount::OPERAND,
    &percentage::OPERAND,
    &purpose::OPERAND,
    &spatial::OPERAND,
    &system_device::OPERAND,
    &target::OPERAND,
    &time_interval::OPERAND,
    &transform::OPERAND,
];

/// What type the right operand of a left operand has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperandKind {
    /// As the literal says: a claim may hold anything.
    Any,
    /// xsd:duration.
    Duration,
    /// An IRI that names one thing: two different ones are two things.
    Identifier,
    /// xsd:dateTime, xsd:date for a whole day, or xsd:time for a time of every day.
    Instant,
    /// A language tag (BCP 47).
    Language,
    /// xsd:integer or xsd:decimal.
    Number,
    /// A place: a code or IRI, or a rectangle (geo:wktLiteral).
    Place,
    /// A name, IRI or code.
    Term,
}

/// What may change the answer to a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A credential of the party who asks is issued, revoked, or runs out.
    Credential,
    /// A duty is done or its deadline passes.
    Duty,
    /// Nothing, for this request: who asks, and for what.
    Request,
    /// What the user, or somebody about the asset, has stated.
    Statement,
    /// Time alone.
    Time,
    /// Another use.
    Use,
}

/// One left operand.
#[derive(Debug)]
pub struct Operand {
    /// ODRL's term, or an IRI.
    pub name: &'static str,
    /// Whether further names of the same fact, or names with something behind, are read as this operand.
    pub(crate) reads: fn(&str) -> bool,
    /// The type of its right operand.
    pub kind: OperandKind,
    /// As a noun, for example `the purpose`.
    pub noun: &'static str,
    /// Whether no number below zero is possible.
    pub(crate) nonnegative: bool,
    /// Whether only whole numbers are possible.
    pub(crate) whole: bool,
    /// Whether several facts are a set, of which one must fit (roles); otherwise each must fit (purposes).
    pub(crate) is_set: bool,
    /// What ODRL means by `eq` here: for how long something has lasted, "at least" or "at most".
    pub(crate) equal: Operator,
    /// What may change the answer.
    pub changes: Change,
    /// What is known of it.
    pub(crate) fact: for<'w> fn(&Atomic, &Request<'_>, &'w World<'_>) -> Fact<'w>,
    /// Where the fact is a length of time: since when.
    pub(crate) since: Option<fn(&World<'_>) -> Since>,
    /// When time alone may next change the answer.
    pub(crate) next: fn(&Atomic, &World<'_>) -> Option<Timestamp>,
}

impl PartialEq for Operand {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Since when a length of time runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// From then on.
    At(Timestamp),
    /// It has not begun, and nothing waits for it: any length has passed.
    Never,
    /// Nobody recorded it.
    Unknown,
}

/// What is known of an operand when a constraint on it is decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fact<'w> {
    /// This node sees to it itself.
    Applied,
    /// The values that hold; at least one.
    Known(Cow<'w, [Value]>),
    /// The operand is understood, but the world does not say.
    Missing,
    /// One value.
    One(Value),
    /// This engine does not understand the operand.
    Unsupported,
}

impl Fact<'_> {
    /// The values, `None` where there are none.
    pub(crate) fn values(&self) -> Option<&[Value]> {
        match self {
            Self::Known(values) => Some(values),
            Self::One(value) => Some(std::slice::from_ref(value)),
            Self::Applied | Self::Missing | Self::Unsupported => None,
        }
    }
}

impl Operand {
    /// An operand whose facts are stated: by the user of the use, by somebody about the asset.
    const fn stated(name: &'static str, kind: OperandKind, noun: &'static str) -> Self {
        Self {
            name,
            reads: |_| false,
            kind,
            noun,
            nonnegative: false,
            whole: false,
            is_set: false,
            equal: Operator::Eq,
            changes: Change::Statement,
            fact: |atomic, _, world| stated(atomic, world.stated),
            since: None,
            next: |_, _| None,
        }
    }

    /// A length of time since an event; `equal` says what ODRL means by `eq`.
    const fn lasting(
        name: &'static str,
        noun: &'static str,
        equal: Operator,
        since: fn(&World<'_>) -> Since,
    ) -> Self {
        Self {
            equal,
            nonnegative: true,
            changes: Change::Time,
            fact: |atomic, _, world| since::fact(atomic, world),
            since: Some(since),
            next: since::next,
            ..Self::stated(name, OperandKind::Duration, noun)
        }
    }
}

/// The operand that `left` names, `None` for one this engine does not understand.
#[must_use]
pub fn find(left: &str) -> Option<&'static Operand> {
    ALL.iter().find(|operand| operand.name == left || (operand.reads)(left)).copied()
}

pub(crate) use credential::{CLAIM_PREFIX, is_issuer, kind as credential_kind, split as claim};

/// Whether the operand's values are participants, each by its DID.
pub(crate) fn is_party(operand: &Operand) -> bool {
    [party::OPERAND.name, credential::ISSUER.name].contains(&operand.name)
}

/// Whether the operand's values are data spaces.
pub(crate) fn is_membership(operand: &Operand) -> bool {
    operand.name == credential::MEMBERSHIP.name
}

/// Whether several facts of it are a set, of which one must fit: the claims of a party, the properties of a party or an
/// asset. Several facts of a use are several uses.
pub(crate) fn is_set(atomic: &Atomic) -> bool {
    matches!(atomic.about, About::Asset | About::Party)
        || atomic.operand.is_some_and(|operand| operand.is_set)
}

/// What is known of `atomic`'s left operand. In a refinement of party or asset it is a property of these.
pub(crate) fn fact<'w>(atomic: &Atomic, request: &Request<'_>, world: &'w World<'_>) -> Fact<'w> {
    match (atomic.operand, atomic.about) {
        (Some(operand), About::Action | About::Duty | About::Use) => (operand.fact)(atomic, request, world),
        (Some(operand), About::Party) if operand.changes == Change::Credential => {
            (operand.fact)(atomic, request, world)
        }
        (_, About::Asset) => stated(atomic, world.asset),
        (_, About::Party) => stated(atomic, world.party),
        (None, About::Action) if world.stated.has(&atomic.left) => stated(atomic, world.stated),
        (None, _) => Fact::Unsupported,
    }
}

fn stated<'w>(atomic: &Atomic, facts: &'w Facts) -> Fact<'w> {
    match facts.of(&atomic.left, atomic.unit.as_deref()) {
        Some(values) if !values.is_empty() => Fact::Known(Cow::Borrowed(values)),
        _ => Fact::Missing,
    }
}
