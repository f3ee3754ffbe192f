//! The questions in Cedar. Purposes are entities in a hierarchy, as they are terms in a hierarchy in ODRL.

use std::fmt::Write as _;
use std::str::FromStr as _;

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};
use serde_json::json;

use crate::{NOW, PURPOSES, UNTIL};

/// Policies, a request and the entities.
#[derive(Debug)]
pub struct Question {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    request: Request,
}

impl Question {
    /// Whether it is permitted.
    #[must_use]
    pub fn ask(&self) -> bool {
        self.authorizer.is_authorized(&self.request, &self.policies, &self.entities).decision()
            == Decision::Allow
    }
}

fn typical(party: &str) -> String {
    format!(
        "permit(principal == Party::\"{party}\", action in Action::\"use\", resource == Dataset::\"0\") when {{ \
         context.purpose in Purpose::\"{}\" && context.count <= 100 && context.now < {UNTIL} }};\n",
        PURPOSES[0]
    )
}

fn entities() -> Entities {
    let entity = |kind: &str, id: &str, parents: serde_json::Value| json!({"uid": {"type": kind, "id": id}, "attrs": {}, "parents": parents});
    let within = |kind: &str, id: &str| json!([{"type": kind, "id": id}]);
    let all = json!([
        entity("Purpose", PURPOSES[0], json!([])),
        entity("Purpose", PURPOSES[1], within("Purpose", PURPOSES[0])),
        entity("Purpose", PURPOSES[2], within("Purpose", PURPOSES[0])),
        entity("Purpose", "urn:purpose:advertising", json!([])),
        entity("Action", "use", json!([])),
        entity("Action", "read", within("Action", "use")),
        entity("Action", "distribute", within("Action", "use")),
        entity("Party", "did:web:paris", json!([])),
        entity("Party", "did:web:london", json!([])),
        entity("Dataset", "0", json!([])),
    ]);
    Entities::from_json_value(all, None).expect("entities")
}

fn question(policies: &str, action: &str, party: &str, purpose: &str, count: i64) -> Question {
    let id = |text: &str| EntityUid::from_str(text).expect("an entity");
    let context =
        json!({"purpose": {"__entity": {"type": "Purpose", "id": purpose}}, "count": count, "now": NOW});
    let context = Context::from_json_value(context, None).expect("a context");
    let request = Request::new(
        id(&format!("Party::\"{party}\"")),
        id(&format!("Action::\"{action}\"")),
        id("Dataset::\"0\""),
        context,
        None,
    );
    Question {
        authorizer: Authorizer::new(),
        policies: PolicySet::from_str(policies).expect("policies"),
        entities: entities(),
        request: request.expect("a request"),
    }
}

/// The five questions, in the order of [`crate::QUESTIONS`].
#[must_use]
pub fn questions() -> Vec<Question> {
    let forbid = "forbid(principal, action in Action::\"distribute\", resource);";
    let policies = format!("{}{forbid}", typical("did:web:paris"));
    vec![
        question(&policies, "read", "did:web:paris", PURPOSES[1], 5),
        question(&policies, "read", "did:web:paris", "urn:purpose:advertising", 5),
        question(&policies, "read", "did:web:paris", PURPOSES[1], 101),
        question(&policies, "read", "did:web:london", PURPOSES[1], 5),
        question(&policies, "distribute", "did:web:paris", PURPOSES[1], 5),
    ]
}

/// One policy of `rules` is for the party who asks, the last.
#[must_use]
pub fn many(rules: usize) -> Question {
    let mut policies = String::new();
    for n in 1..rules {
        let _ = writeln!(policies, "{}", typical(&format!("did:web:city-{n}")));
    }
    policies.push_str(&typical("did:web:paris"));
    question(&policies, "read", "did:web:paris", PURPOSES[1], 5)
}
