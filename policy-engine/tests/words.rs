//! Different policies never read the same: whatever differs in what a policy says, its words differ.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use policy_engine::{Policy, explain, same_terms};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value as Json, json};

/// Names that end alike, look alike, or try to read like words around them.
const NAMES: [&str; 14] = [
    "urn:concordat:purpose:environmental-monitoring",
    "https://evil.example/environmental-monitoring",
    "environmental-monitoring",
    "environmental monitoring",
    "https://w3id.org/dpv#Marketing",
    "dpv:Marketing",
    "Marketing",
    "DE-BY",
    "DE BY",
    "DE",
    "http://publications.europa.eu/resource/authority/country/DEU",
    "a` and the purpose must be `b",
    "did:web:a.example, did:web:b.example",
    "did:web:a.example",
];

fn name() -> impl Strategy<Value = Json> {
    select(NAMES.to_vec()).prop_map(Json::from)
}

/// `assignee` and `participant` are the recipient, in words too, so they are left out.
fn atomic() -> impl Strategy<Value = Json> {
    let c = |left: &str, operator: &str, right: Json| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
    let named = (
        select(vec![
            "purpose",
            "spatial",
            "recipient",
            "industry",
            "urn:concordat:role",
            "urn:concordat:membership",
            "urn:concordat:credential:A:$.x",
            "urn:concordat:credential:B:$.x",
            "moonPhase",
            "https://x.example/moonPhase",
        ]),
        select(vec!["eq", "neq", "isA", "isPartOf", "hasPart", "isAnyOf", "isNoneOf", "isAllOf"]),
        prop::collection::vec(name(), 1..3),
    )
        .prop_map(move |(left, operator, mut right)| {
            let single = !operator.starts_with("is") || right.len() == 1;
            c(left, operator, if single { right.remove(0) } else { Json::from(right) })
        });
    let times = (
        select(vec!["eq", "neq", "lt", "lteq", "gt", "gteq"]),
        select(vec![
            json!("2027-01-01T00:00:00Z"),
            json!("2027-01-01Z"),
            json!("2027-01-01+02:00"),
            json!({"@value": "08:00:00Z", "@type": "xsd:time"}),
            json!({"@value": "08:00:00+02:00", "@type": "xsd:time"}),
        ]),
    )
        .prop_map(move |(operator, right)| c("dateTime", operator, right));
    let lengths = (
        select(vec!["elapsedTime", "delayPeriod", "timeInterval", "meteredTime"]),
        select(vec!["eq", "lt", "lteq", "gteq"]),
        select(vec!["P1M", "P30D", "P31D", "P1Y", "PT0.5S", "PT1S", "-P3D", "PT0S", "P1DT1S"]),
    )
        .prop_map(move |(left, operator, right)| c(left, operator, json!(right)));
    let counts = (
        select(vec!["count", "percentage", "payAmount"]),
        select(vec!["lt", "lteq", "eq"]),
        0..3_u8,
        0..3_u8,
        0..3_u8,
    )
        .prop_map(move |(left, operator, n, status, unit)| {
            let mut one = c(left, operator, json!(n.to_string()));
            if status > 0 {
                one["status"] = json!(status.to_string());
            }
            if unit > 0 {
                one["unit"] = json!(["EUR", "urn:eur"][usize::from(unit - 1)]);
            }
            one
        });
    prop_oneof![named, times, lengths, counts]
}

fn constraint() -> impl Strategy<Value = Json> {
    atomic().prop_recursive(2, 6, 3, |inner| {
        (select(vec!["and", "or", "xone", "andSequence"]), prop::collection::vec(inner, 1..3))
            .prop_map(|(logical, parts)| json!({logical: parts}))
    })
}

fn data() -> impl Strategy<Value = Json> {
    let c = |left: &str, operator: &str, right: Json| json!({"leftOperand": format!("urn:concordat:data:{left}"), "operator": operator, "rightOperand": right});
    prop_oneof![
        select(vec!["a", "b"]).prop_map(move |name| c("keep", "eq", json!(name))),
        select(vec!["a", "b"]).prop_map(move |name| c("drop", "eq", json!(name))),
        (select(vec!["a", "b"]), 1..4_u8).prop_map(move |(name, step)| c(
            &format!("round:{name}"),
            "eq",
            json!(step.to_string())
        )),
        (select(vec!["lt", "gt", "eq"]), 1..4_u8).prop_map(move |(operator, n)| c(
            "where:a",
            operator,
            json!(n.to_string())
        )),
    ]
}

fn rule(depth: u32) -> BoxedStrategy<Json> {
    let duty = if depth == 0 {
        Just(Vec::new()).boxed()
    } else {
        prop::collection::vec(rule(depth - 1), 0..3).boxed()
    };
    let party = || prop::option::weighted(0.2, name());
    (
        select(vec!["use", "read", "inform", "delete", "urn:x:use", "cc:Sharing"]),
        prop::collection::vec(constraint(), 0..3),
        prop::collection::vec(data(), 0..2),
        (party(), party(), party(), party()),
        duty,
    )
        .prop_map(move |(action, constraints, data, (assignee, target, informed, paid), duties)| {
            let mut rule = json!({"action": action, "constraint": constraints, "refinement": data});
            let parties = [
                ("assignee", assignee),
                ("target", target),
                ("informedParty", informed),
                ("compensatedParty", paid),
            ];
            for (key, party) in parties {
                if let Some(party) = party {
                    rule[key] = party;
                }
            }
            if depth > 0 {
                rule["duty"] = Json::from(duties);
            }
            rule
        })
        .boxed()
}

fn policy() -> impl Strategy<Value = Json> {
    (
        prop::collection::vec(rule(1), 1..3),
        prop::collection::vec(rule(0), 0..2),
        prop::collection::vec(rule(0), 0..2),
        select(vec!["perm", "prohibit", "invalid"]),
        prop::option::of(name()),
    )
        .prop_map(|(permissions, prohibitions, obligations, conflict, target)| {
            let mut policy = json!({"@type": "Set", "permission": permissions, "prohibition": prohibitions,
                "obligation": obligations, "conflict": conflict});
            if let Some(target) = target {
                policy["target"] = target;
            }
            policy
        })
}

/// The policy with one leaf of another's in place of its own: what differs by little is what reads alike.
fn altered() -> impl Strategy<Value = (Json, Json)> {
    (policy(), policy(), any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(
        |(one, other, at, from)| {
            let (mut paths, mut others) = (Vec::new(), Vec::new());
            leaves(&one, "", &mut paths);
            leaves(&other, "", &mut others);
            let mut altered = one.clone();
            let path = paths[at.index(paths.len())].clone();
            let key = path.rsplit('/').next().unwrap_or_default().to_owned();
            let alike: Vec<&String> =
                others.iter().filter(|path| path.ends_with(&format!("/{key}"))).collect();
            if let Some(from) = (!alike.is_empty()).then(|| alike[from.index(alike.len())]) {
                *altered.pointer_mut(&path).unwrap() = other.pointer(from).unwrap().clone();
            }
            (one, altered)
        },
    )
}

fn leaves(json: &Json, path: &str, found: &mut Vec<String>) {
    match json {
        Json::Object(map) => map.iter().for_each(|(key, one)| leaves(one, &format!("{path}/{key}"), found)),
        Json::Array(list) => {
            list.iter().enumerate().for_each(|(index, one)| leaves(one, &format!("{path}/{index}"), found))
        }
        _ => found.push(path.to_owned()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn policies_that_differ_do_not_read_the_same((one, other) in altered()) {
        let (Ok(one), Ok(other)) = (Policy::parse_odrl(&one), Policy::parse_odrl(&other)) else { return Ok(()) };
        if explain::policy(&one) == explain::policy(&other) {
            prop_assert!(same_terms(&one, &other) && one.target == other.target, "{}\n{}\n{:#?}", one.write(), other.write(), explain::policy(&one));
        }
    }
}
