//! Rows about persons: each is handed on only as far as the person it is about permits, or the law does, when it passes.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::released::Releases;
use crate::rows::{Form, Row, RowError};

/// Names of attributes that are left out.
pub type Hidden = Arc<[Arc<str>]>;

/// Whoever knows what persons permit. Asked for every row, so that a withdrawal counts from the next one on.
pub trait Persons: Send + Sync + fmt::Debug {
    /// What of a row about `subject` may be handed on now; `None` where nothing may.
    fn permits(&self, subject: &str) -> Option<Permitted>;

    /// What of a row may be handed on where the person permits it in another way; `None` where the person objects.
    fn permitted_elsewhere(&self, subject: &str) -> Option<Permitted>;

    /// A row about a person was handed on, or went into a group.
    fn handed_on(&self, permitted: &Permitted);
}

/// What of a row may be handed on.
#[derive(Debug, Clone)]
pub struct Permitted {
    /// The person, under the name that the ledger has for them.
    pub person: [u8; 16],
    /// Attributes that are left out.
    pub hidden: Hidden,
}

/// What an agreement about persons' data adds to its obligations.
#[derive(Debug, Clone)]
pub struct OfPersons {
    /// The column that says whom a row is about.
    pub subject: Arc<str>,
    /// Every attribute that may have to be left out.
    pub attributes: Arc<[Arc<str>]>,
    /// Who knows what they permit.
    pub persons: Arc<dyn Persons>,
    /// Who keeps what was told of groups; without anybody, groups are told as they are.
    pub releases: Option<Arc<dyn Releases>>,
}

impl OfPersons {
    /// In words, for the consumer.
    pub(crate) fn words(&self) -> String {
        format!(
            "of each person (column {}) only what the person, or the law, permits for this recipient and purpose at that moment",
            self.subject
        )
    }

    /// What remains of a row, with what is to be noted once it is handed on.
    ///
    /// # Errors
    /// Whom it is about is said twice, or something that is to be left out cannot be found for certain.
    pub(crate) fn leave(&self, row: &mut Row, form: Form) -> Result<Option<Permitted>, RowError> {
        let subject = row.only(&self.subject)?.and_then(subject_text);
        let Some(permitted) = subject.and_then(|subject| self.persons.permits(&subject)) else {
            return Ok(None);
        };
        for hidden in permitted.hidden.iter() {
            row.hide(hidden, form)?;
        }
        Ok(Some(permitted))
    }

    /// What a table must have: whom a row is about, and every attribute by its name, for one that was renamed must not slip
    /// through.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.subject).chain(self.attributes.iter()).map(|name| &**name)
    }
}

/// How a row names a person: the text, exactly as it is written. The digits of a number are the same text, so that `123` in
/// JSON and in a table are one person, and `1.0` and `1` are two.
pub(crate) fn subject_text(value: &Json) -> Option<Cow<'_, str>> {
    match value {
        Json::String(text) => Some(text.into()),
        Json::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}
