//! What is asked, and what is true when it is asked.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

use crate::error::PolicyError;
use crate::hierarchy::Hierarchy;
use crate::literal;
use crate::model::Value;
use crate::operand;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The ODRL action, for example `read`.
    pub action: &'a str,
    /// Who asks, as an authenticated participant id.
    pub party: &'a str,
    /// On which asset; `None` when the policy is already known to be about it.
    pub target: Option<&'a str>,
}

/// What was used so far; `None` where nobody counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How often the permission will have been exercised, this time included, so that `count lteq 5` serves five.
    pub count: Option<u64>,
    /// When it was first exercised.
    pub first: Option<Timestamp>,
    /// When it was last exercised, before this time.
    pub last: Option<Timestamp>,
    /// For how long in all.
    pub metered: Option<SignedDuration>,
    /// How many uses go on at once, which use up the metered time together; 0 is taken for 1.
    pub at_once: u32,
}

/// A duty that was done, with the evidence's time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Performed {
    /// [`crate::Rule::path`].
    pub rule: String,
    /// When it was done; `None` for in time, by whoever reports it.
    pub at: Option<Timestamp>,
}

/// What is recorded of duties and prohibitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Duties that were done.
    pub performed: Vec<Performed>,
    /// Paths of the duties recorded as violated, and of the prohibitions recorded as infringed.
    pub violated: Vec<String>,
}

/// Typed facts by left operand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts(BTreeMap<String, Vec<Value>>);

impl Facts {
    /// States a value of `left`, read as a right operand would be.
    ///
    /// # Errors
    /// It is not of the operand's type.
    pub fn state(&mut self, left: &str, value: &Json) -> Result<(), PolicyError> {
        let kind = operand::find(left).map(|operand| operand.kind);
        let read = literal::read(value, kind, true, &format!("/{left}"))?;
        self.put(left, read.value);
        Ok(())
    }

    /// States a value of `left`.
    pub fn put(&mut self, left: &str, value: Value) {
        self.0.entry(left.to_owned()).or_default().push(value);
    }

    /// Whether anything is stated about `left`.
    #[must_use]
    pub fn has(&self, left: &str) -> bool {
        self.0.contains_key(left)
    }

    /// What is stated of `left` in `unit`; a fact in a unit stands under the operand, a space and the unit.
    #[must_use]
    pub fn of(&self, left: &str, unit: Option<&str>) -> Option<&[Value]> {
        let found = match unit {
            None => self.0.get(left),
            Some(unit) => self.0.get(&format!("{left} {unit}")),
        };
        found.map(Vec::as_slice)
    }

    /// The uses that these facts are together: one value of each operand in each. `None` where there are more than `most`.
    pub(crate) fn apart(&self, most: usize) -> Option<Vec<Self>> {
        let mut uses = vec![Self::default()];
        for (left, values) in &self.0 {
            if uses.len().checked_mul(values.len().max(1))? > most {
                return None;
            }
            uses = uses
                .iter()
                .flat_map(|one| {
                    values.iter().map(move |value| {
                        let mut next = one.clone();
                        next.put(left, value.clone());
                        next
                    })
                })
                .collect();
        }
        Some(uses)
    }

    /// Whether any operand has several values.
    pub(crate) fn are_several(&self) -> bool {
        self.0.values().any(|values| values.len() > 1)
    }

    /// States `value` of `left` instead of whatever is stated.
    pub(crate) fn restate(&mut self, left: &str, unit: Option<&str>, value: Value) {
        let key = unit.map_or_else(|| left.to_owned(), |unit| format!("{left} {unit}"));
        self.0.insert(key, vec![value]);
    }
}

static NO_FACTS: Facts = Facts(BTreeMap::new());
static NO_RECORD: Record = Record { performed: Vec::new(), violated: Vec::new() };

/// What is true when the question is asked.
#[derive(Debug, Clone)]
pub struct World<'a> {
    /// The time of the question.
    pub now: Timestamp,
    /// What was used so far.
    pub usage: Usage,
    /// When the agreement was made.
    pub since: Option<Timestamp>,
    /// Of the use: as declared or as bound by signature. A use for several purposes or in several places is as many uses,
    /// each of which must be allowed.
    pub stated: &'a Facts,
    /// All that is stated, where `stated` is one of several uses; `isAllOf` looks at it.
    pub together: Option<&'a Facts>,
    /// Of the asset, for its refinements.
    pub asset: &'a Facts,
    /// Of the party, for its refinements.
    pub party: &'a Facts,
    /// Verified credentials of the party (W3C Verifiable Credentials).
    pub credentials: &'a [Json],
    /// Duties done, duties violated.
    pub record: &'a Record,
    /// What is known of terms.
    pub hierarchy: &'a Hierarchy,
}

impl<'a> World<'a> {
    /// A world in which only the time is known.
    #[must_use]
    pub const fn at(now: Timestamp, hierarchy: &'a Hierarchy) -> Self {
        Self {
            now,
            usage: Usage { count: None, first: None, last: None, metered: None, at_once: 0 },
            since: None,
            stated: &NO_FACTS,
            together: None,
            asset: &NO_FACTS,
            party: &NO_FACTS,
            credentials: &[],
            record: &NO_RECORD,
            hierarchy,
        }
    }
}
