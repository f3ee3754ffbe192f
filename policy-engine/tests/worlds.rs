//! Comparisons held against brute force: every use in a small world is put to both policies, and what the comparisons
//! say must agree with what the gate would decide.
#![expect(clippy::unwrap_used, reason = "tests")]

use policy_engine::{
    Compatibility, Conflict, Containment, Facts, Hierarchy, Outcome, Policy, Request, Usage, World,
    compatible, contained, decide, propose, within,
};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value as Json, json};

/// b and c are kinds of a and share nothing; d is something else; `fresh` nobody names.
const PURPOSES: [&str; 5] = ["urn:p:a", "urn:p:b", "urn:p:c", "urn:p:d", "urn:p:fresh"];
const ACTIONS: [&str; 3] = ["use", "read", "print"];

fn known() -> Hierarchy {
    let mut known = Hierarchy::default();
    known.add("urn:p:b", "urn:p:a");
    known.add("urn:p:c", "urn:p:a");
    known.add_disjoint("urn:p:b", "urn:p:c");
    known.add_disjoint("urn:p:a", "urn:p:d");
    known
}

fn leaf() -> impl Strategy<Value = Json> {
    let ordered = || select(vec!["eq", "neq", "lt", "lteq", "gt", "gteq"]);
    let count = (ordered(), 1..4_u8).prop_map(
        |(operator, n)| json!({"leftOperand": "count", "operator": operator, "rightOperand": n.to_string()}),
    );
    let time = (ordered(), 2..4_u8).prop_map(|(operator, day)| {
        json!({"leftOperand": "dateTime", "operator": operator, "rightOperand": format!("2026-01-0{day}T00:00:00Z")})
    });
    let term = || select(PURPOSES[..4].to_vec());
    let single = (select(vec!["eq", "neq", "isA", "isPartOf", "hasPart"]), term()).prop_map(
        |(operator, term)| json!({"leftOperand": "purpose", "operator": operator, "rightOperand": term}),
    );
    let several = (select(vec!["isAnyOf", "isNoneOf", "isA"]), term(), term()).prop_map(
        |(operator, a, b)| json!({"leftOperand": "purpose", "operator": operator, "rightOperand": [a, b]}),
    );
    prop_oneof![count, time, single, several]
}

fn constraint() -> impl Strategy<Value = Json> {
    leaf().prop_recursive(2, 6, 2, |inner| {
        (select(vec!["and", "or", "xone"]), prop::collection::vec(inner, 1..3))
            .prop_map(|(logical, parts)| json!({logical: parts}))
    })
}

fn policy() -> impl Strategy<Value = Json> {
    let rule = || {
        (select(ACTIONS.to_vec()), prop::collection::vec(constraint(), 0..3))
            .prop_map(|(action, constraints)| json!({"action": action, "constraint": constraints}))
    };
    let conflict = select(vec!["invalid", "perm", "prohibit"]);
    (prop::collection::vec(rule(), 1..3), prop::collection::vec(rule(), 0..2), conflict).prop_map(
        |(permissions, prohibitions, conflict)| {
            json!({"@type": "Set", "conflict": conflict, "permission": permissions, "prohibition": prohibitions})
        },
    )
}

/// For every use of the small world whether each policy permits it; also where nothing is stated or counted.
fn outcomes(policies: &[&Policy]) -> Vec<Vec<bool>> {
    let known = known();
    let mut all = Vec::new();
    for purpose in PURPOSES.iter().map(Some).chain([None]) {
        let mut facts = Facts::default();
        purpose.iter().for_each(|purpose| facts.state("purpose", &json!(purpose)).unwrap());
        for count in (0..6).map(Some).chain([None]) {
            for half_days in 0..8_i64 {
                let start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
                let now = start + jiff::SignedDuration::from_hours(12 * half_days);
                let usage = Usage { count, ..Usage::default() };
                let world = World { stated: &facts, usage, ..World::at(now, &known) };
                for action in ACTIONS {
                    let request = Request { action, party: "urn:alice", target: None };
                    let permits =
                        |policy: &&Policy| decide(policy, &request, &world).outcome == Outcome::Permit;
                    all.push(policies.iter().map(permits).collect());
                }
            }
        }
    }
    all
}

/// Whether a permission and a prohibition of it may make the policy void.
fn may_be_void(policy: &Policy) -> bool {
    policy.conflict == Conflict::Invalid && policy.permissions.len() > 1 && !policy.prohibitions.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn comparisons_agree_with_every_use(a in policy(), b in policy()) {
        let (a, b) = (Policy::parse(&a).unwrap(), Policy::parse(&b).unwrap());
        let known = known();
        let proposal = propose(&a, &b, &known);
        let judged: Vec<&Policy> = [&a, &b].into_iter().chain(&proposal).collect();
        let uses = outcomes(&judged);
        let both = uses.iter().any(|one| one[0] && one[1]);
        match compatible(&a, &b, &known) {
            Compatibility::Compatible => {}
            Compatibility::Conflict(why) => prop_assert!(!both, "{why:?}"),
            Compatibility::Unknown(_) => {}
        }
        let escapes = uses.iter().any(|one| one[0] && !one[1]);
        if contained(&a, &b, &known) == Some(true) {
            prop_assert!(!escapes, "said to be contained");
        }
        if within(&a, &b, &known) == Containment::Within {
            prop_assert!(!escapes, "said to be within");
        }
        if proposal.is_some() {
            for one in &uses {
                prop_assert!(!one[2] || one[0] && one[1], "the proposal permits what one of them does not");
            }
        } else if !may_be_void(&a) && !may_be_void(&b) {
            prop_assert!(!both, "something is permitted by both, and nothing is proposed");
        }
    }

    /// Where conflicts are resolved for the prohibition, the proposal permits all that both permit.
    #[test]
    fn a_proposal_is_the_largest(a in policy(), b in policy()) {
        let plain = |mut json: Json| {
            json["conflict"] = json!("prohibit");
            Policy::parse(&json).unwrap()
        };
        let (a, b) = (plain(a), plain(b));
        if let Some(proposal) = propose(&a, &b, &known()) {
            for one in outcomes(&[&a, &b, &proposal]) {
                prop_assert_eq!(one[2], one[0] && one[1]);
            }
        }
    }

    /// What is said to be possible is so: with numbers and times alone there is a use, or an escape, in every interval.
    #[test]
    fn possible_is_possible(a in policy(), b in policy()) {
        let (a, b) = (Policy::parse(&a).unwrap(), Policy::parse(&b).unwrap());
        let uses = outcomes(&[&a, &b]);
        if compatible(&a, &b, &known()) == Compatibility::Compatible {
            prop_assert!(uses.iter().any(|one| one[0] && one[1]));
        }
        if contained(&a, &b, &known()) == Some(false) {
            prop_assert!(uses.iter().any(|one| one[0] && !one[1]));
        }
    }
}
