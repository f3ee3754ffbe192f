//! The questions in ODRL.

use policy_engine::{Facts, Hierarchy, Outcome, Policy, Request, Usage, World, decide};
use serde_json::{Value, json};

use crate::{NOW, PURPOSES, UNTIL};

/// A policy, a request and its world.
#[derive(Debug)]
pub struct Question {
    policy: Policy,
    action: &'static str,
    party: &'static str,
    facts: Facts,
    usage: Usage,
    known: Hierarchy,
}

impl Question {
    /// Whether it is permitted: the whole way from request to decision.
    #[must_use]
    pub fn ask(&self) -> bool {
        let now = jiff::Timestamp::from_second(NOW).expect("in range");
        let world = World { stated: &self.facts, usage: self.usage, ..World::at(now, &self.known) };
        let request = Request { action: self.action, party: self.party, target: Some("urn:dataset:0") };
        decide(&self.policy, &request, &world).outcome == Outcome::Permit
    }
}

fn until() -> String {
    jiff::Timestamp::from_second(UNTIL).expect("in range").to_string()
}

fn typical(party: &str) -> Value {
    let c = |left: &str, operator: &str, right: &str| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
    json!({"action": "use", "assignee": party, "constraint": [
        c("purpose", "isA", PURPOSES[0]), c("count", "lteq", "100"), c("dateTime", "lt", &until())]})
}

fn question(policy: Value, action: &'static str, party: &'static str, purpose: &str, count: u64) -> Question {
    let mut facts = Facts::default();
    facts.state("purpose", &json!(purpose)).expect("a term");
    let mut known = Hierarchy::default();
    PURPOSES[1..].iter().for_each(|narrower| known.add(narrower, PURPOSES[0]));
    let usage = Usage { count: Some(count), ..Usage::default() };
    Question { policy: Policy::parse_odrl(&policy).expect("a policy"), action, party, facts, usage, known }
}

/// The five questions, in the order of [`crate::QUESTIONS`].
#[must_use]
pub fn questions() -> Vec<Question> {
    let policy = || json!({"@type": "Set", "permission": [typical("did:web:paris")], "prohibition": [{"action": "distribute"}]});
    vec![
        question(policy(), "read", "did:web:paris", PURPOSES[1], 5),
        question(policy(), "read", "did:web:paris", "urn:purpose:advertising", 5),
        question(policy(), "read", "did:web:paris", PURPOSES[1], 101),
        question(policy(), "read", "did:web:london", PURPOSES[1], 5),
        question(policy(), "distribute", "did:web:paris", PURPOSES[1], 5),
    ]
}

/// One permission of `rules` is for the party who asks, the last.
#[must_use]
pub fn many(rules: usize) -> Question {
    let mut permissions: Vec<_> = (1..rules).map(|n| typical(&format!("did:web:city-{n}"))).collect();
    permissions.push(typical("did:web:paris"));
    question(json!({"@type": "Set", "permission": permissions}), "read", "did:web:paris", PURPOSES[1], 5)
}
