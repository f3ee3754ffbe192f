//! The left operands this engine knows: one place to add one.

use jiff::Timestamp;

use crate::evaluate::{Request, World};
use crate::model::Value;

/// What type the right operand of a left operand has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperandKind {
    /// xsd:dateTime, or xsd:date meaning its first instant in UTC.
    Instant,
    /// xsd:integer or xsd:decimal.
    Number,
    /// A name, IRI or code.
    Term,
}

/// What is known of an operand when a constraint on it is decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// The values that hold; at least one.
    Known(Vec<Value>),
    /// The operand is understood, but the world does not say.
    Missing,
    /// This engine does not understand the operand.
    Unsupported,
}

/// The kind of a known left operand, `None` for one this engine does not understand.
#[must_use]
pub fn known(left: &str) -> Option<OperandKind> {
    match left {
        "dateTime" => Some(OperandKind::Instant),
        "count" => Some(OperandKind::Number),
        "purpose" | "spatial" | "assignee" | "participant" | "recipient" => Some(OperandKind::Term),
        _ => None,
    }
}

/// What the request and the world say of `left`.
pub(crate) fn fact(left: &str, request: &Request<'_>, world: &World<'_>) -> Fact {
    let terms = |values: &[String]| {
        if values.is_empty() {
            Fact::Missing
        } else {
            Fact::Known(values.iter().cloned().map(Value::Term).collect())
        }
    };
    match left {
        "dateTime" => Fact::Known(vec![Value::Instant(world.now)]),
        "count" => world.count.map_or(Fact::Missing, |n| Fact::Known(vec![number(n)])),
        "purpose" => terms(&world.purposes),
        "spatial" => terms(&world.places),
        "assignee" | "participant" | "recipient" => Fact::Known(vec![Value::Term(request.party.to_owned())]),
        _ => Fact::Unsupported,
    }
}

/// Counts beyond 2^53 are not told apart; no agreement counts that far.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "documented bound")]
fn number(n: u64) -> Value {
    Value::Number(n as f64)
}

/// Reads an xsd:dateTime, with or without seconds, or an xsd:date. A time without zone is taken as UTC.
pub(crate) fn parse_instant(text: &str) -> Option<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    let civil = text.parse::<jiff::civil::DateTime>().ok()?;
    if text.contains(['+', 'Z', 'z']) {
        return None;
    }
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}
