//! The permission to read, as a value: there is no other way to a source.

use std::sync::Arc;

use jiff::Timestamp;
use policy_engine::{Decision, Hierarchy, Policy, Request, World, evaluate};

/// Who reads what for which purpose, as bound by the agreement.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The participant who reads.
    pub party: String,
    /// The dataset.
    pub dataset: String,
    /// The agreement's terms.
    pub policy: Arc<Policy>,
    /// Purposes the reader bound itself to.
    pub purposes: Vec<String>,
    /// Places the reader bound itself to.
    pub places: Vec<String>,
    /// How often the agreement was used, this time included.
    pub count: u64,
    /// What is known of terms.
    pub known: Arc<Hierarchy>,
}

impl Subject {
    /// What the policy says of reading, at `now`.
    pub fn ask(&self, now: Timestamp) -> Decision {
        let world = World {
            now,
            count: Some(self.count),
            purposes: self.purposes.clone(),
            places: self.places.clone(),
            fulfilled: Vec::new(),
            violated: Vec::new(),
            hierarchy: &self.known,
        };
        let request = Request { action: "use", party: &self.party, target: Some(&self.dataset) };
        evaluate(&self.policy, &request, &world)
    }
}

/// The policy does not permit it; the reason names the clause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

/// A decision that permitted, and what is needed to ask again.
#[derive(Debug, Clone)]
pub struct Grant {
    // INVARIANT: the policy permitted when this was made.
    subject: Subject,
    ask_again: Option<Timestamp>,
}

impl Grant {
    /// Asks the policy.
    ///
    /// # Errors
    /// It denies, with the reason.
    pub fn decide(subject: Subject, now: Timestamp) -> Result<Self, Denied> {
        let decision = subject.ask(now);
        if decision.is_permit() {
            Ok(Self { ask_again: decision.ask_again, subject })
        } else {
            Err(Denied(decision.reason()))
        }
    }

    /// The next instant at which time alone may change the answer.
    #[must_use]
    pub const fn ask_again(&self) -> Option<Timestamp> {
        self.ask_again
    }

    /// Asks again.
    ///
    /// # Errors
    /// The policy denies now.
    pub fn renew(self, now: Timestamp) -> Result<Self, Denied> {
        Self::decide(self.subject, now)
    }
}
