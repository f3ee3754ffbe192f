//! Five questions, each asked in ODRL and in Cedar, and policies of many rules.

pub mod cedar;
pub mod odrl;

/// Purposes, two of them narrower than the first.
pub const PURPOSES: [&str; 3] = ["urn:purpose:monitoring", "urn:purpose:air", "urn:purpose:noise"];
/// The instant of every question, in seconds since 1970.
pub const NOW: i64 = 1_780_000_000;
/// Until when the terms hold.
pub const UNTIL: i64 = 1_900_000_000;

/// A question in words, and whether it is permitted.
pub const QUESTIONS: [(&str, bool); 5] = [
    ("three constraints hold", true),
    ("the purpose is not allowed", false),
    ("too often", false),
    ("another party", false),
    ("a prohibition applies", false),
];
