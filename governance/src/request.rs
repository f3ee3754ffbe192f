//! What a person may ask of who holds data about them (GDPR, articles 15 to 21), and by when it must be answered.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// `typ` of the statement with which an operator asks on behalf of a person.
pub const ASKED: &str = "concordat-subject-request+jwt";
/// `typ` of the statement with which an operator asks for its page.
pub const SESSION: &str = "concordat-operator-session+jwt";
/// Longest note, in bytes.
pub const MAX_NOTE: usize = 2000;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What is held, who received what, when, why (article 15).
    Insight,
    /// That something wrong be put right (article 16).
    Correction,
    /// That it be erased, here and where it was handed on (articles 17 and 19).
    Erasure,
    /// The person's own data in an open format (article 20).
    Portability,
    /// That it be no longer handed on on another basis than consent (article 21).
    Objection,
}

impl Kind {
    /// As in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insight => "insight",
            Self::Correction => "correction",
            Self::Erasure => "erasure",
            Self::Portability => "portability",
            Self::Objection => "objection",
        }
    }

    /// Whether the node answers it by itself; the others take a person.
    #[must_use]
    pub const fn is_answered_at_once(self) -> bool {
        matches!(self, Self::Insight | Self::Portability | Self::Objection)
    }
}

/// By when a request that came at `received` must be answered: a month later (article 12(3)), or three where it was
/// prolonged. A month from the last day of a longer one ends on the last day of the shorter one.
#[must_use]
pub fn due(received: Timestamp, prolonged: bool) -> Timestamp {
    let months = if prolonged { 3 } else { 1 };
    let zoned = received.to_zoned(TimeZone::UTC);
    zoned.checked_add(Span::new().months(months)).map_or(Timestamp::MAX, |due| due.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_a_month_of_the_calendar() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(due(at("2027-01-31T12:00:00Z"), false), at("2027-02-28T12:00:00Z"));
        assert_eq!(due(at("2026-12-15T08:00:00Z"), false), at("2027-01-15T08:00:00Z"));
        assert_eq!(due(at("2026-12-15T08:00:00Z"), true), at("2027-03-15T08:00:00Z"));
        assert_eq!(due(Timestamp::MAX, true), Timestamp::MAX);
    }
}
