//! The permission to read, as a value: there is no other way to a source.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use policy_engine::Decision;

use crate::obligations::Obligations;

/// Whoever knows the agreement's terms and the state of the world. Asked before the first byte, and whenever time or an
/// event may have changed the answer.
pub trait Judge: Send + Sync + fmt::Debug {
    /// What the terms say of this read, at `now`.
    fn judge(&self, now: Timestamp) -> Decision;

    /// What a permission that was given demands of the data.
    fn obligations(&self, decision: &Decision) -> Obligations;
}

/// The policy does not permit it; the reason names the clause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

/// A decision that permitted, and what is needed to ask again.
#[derive(Debug, Clone)]
pub struct Grant {
    // INVARIANT: the judge permitted when this was made.
    judge: Arc<dyn Judge>,
    ask_again: Option<Timestamp>,
    obligations: Obligations,
}

impl Grant {
    /// Asks the policy.
    ///
    /// # Errors
    /// It denies, with the reason.
    pub fn decide(judge: Arc<dyn Judge>, now: Timestamp) -> Result<Self, Denied> {
        let decision = judge.judge(now);
        if decision.is_permit() {
            Ok(Self { ask_again: decision.ask_again, obligations: judge.obligations(&decision), judge })
        } else {
            Err(Denied(decision.reason()))
        }
    }

    /// The next instant at which time alone may change the answer.
    #[must_use]
    pub const fn ask_again(&self) -> Option<Timestamp> {
        self.ask_again
    }

    /// What must be done to the data on the way.
    #[must_use]
    pub const fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// Asks again.
    ///
    /// # Errors
    /// The policy denies now, or demands something else of the data than what is being done to it.
    pub fn renew(self, now: Timestamp) -> Result<Self, Denied> {
        let renewed = Self::decide(self.judge, now)?;
        if renewed.obligations.words() == self.obligations.words() {
            Ok(renewed)
        } else {
            Err(Denied(
                "the terms that apply now demand something else of the data; read it again".to_owned(),
            ))
        }
    }
}
