//! Different policies never read the same: whatever differs in what a policy says, its words differ.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use policy_engine::{Policy, explain};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use serde_json::{Value as Json, json};

/// Names that end alike, look alike, or try to read like words around them.
const NAMES: [&str; 35] = [
    "urn:concordat:purpose:environmental-monitoring",
    "https://evil.example/environmental-monitoring",
    "environmental-monitoring",
    "environmental monitoring",
    "https://w3id.org/dpv#Marketing",
    "dpv:Marketing",
    "Marketing",
    "marketing",
    "https://w3id.org/dpv#Advertising",
    "urn:concordat:purpose:advertising",
    "https://city.example/space",
    "https://other.example/space",
    "https://\u{441}ity.example/space",
    "space",
    "DE-BY",
    "DE BY",
    "DE",
    "http://publications.europa.eu/resource/authority/country/DEU",
    "de",
    "https://tools.ietf.org/html/bcp47#de",
    "the language de",
    "a` and the purpose must be `b",
    "a\\` and the purpose must be \\`b",
    "a\nallowed: use",
    "a\\u{a}allowed: use",
    "abc\u{202e}def",
    "abc\u{200b}def",
    "abcdef",
    "a\u{a0}b",
    "did:web:a.example, did:web:b.example",
    "did:web:a.example",
    "anyone",
    "anything",
    "1 day",
    "EUR",
];

fn name() -> impl Strategy<Value = Json> {
    select(NAMES.to_vec()).prop_map(Json::from)
}

fn c(left: &str, operator: &str, right: Json) -> Json {
    json!({"leftOperand": left, "operator": operator, "rightOperand": right})
}

/// Comparisons of names: every operand that this engine knows of that kind, some that it does not, and their look-alikes.
fn named() -> impl Strategy<Value = Json> {
    (
        select(vec![
            "purpose",
            "spatial",
            "recipient",
            "assignee",
            "participant",
            "target",
            "industry",
            "fileFormat",
            "systemDevice",
            "language",
            "urn:concordat:role",
            "urn:concordat:membership",
            "urn:concordat:credential-issuer",
            "urn:concordat:business-partner",
            "urn:concordat:credential:A:$.x",
            "urn:concordat:credential:B:$.x",
            "urn:concordat:credential:*:$.x",
            "event",
            "deliveryChannel",
            "moonPhase",
            "https://x.example/moonPhase",
            "https://x.example/purpose",
            "the purpose",
        ]),
        select(vec!["eq", "neq", "isA", "isPartOf", "hasPart", "isAnyOf", "isNoneOf", "isAllOf"]),
        prop::collection::vec(name(), 1..3),
    )
        .prop_map(move |(left, operator, mut right)| {
            let single = !operator.starts_with("is") || right.len() == 1;
            c(left, operator, if single { right.remove(0) } else { Json::from(right) })
        })
}

fn typed(value: &str, datatype: &str) -> Json {
    json!({"@value": value, "@type": format!("xsd:{datatype}")})
}

/// Comparisons of what has an order, and of places on the map.
fn ordered() -> impl Strategy<Value = Json> {
    let orders = || select(vec!["eq", "neq", "lt", "lteq", "gt", "gteq"]);
    let times = (
        orders(),
        select(vec![
            json!("2027-01-01T00:00:00Z"),
            json!("2027-01-01T00:00:00.001Z"),
            json!("2027-01-01Z"),
            json!("2027-01-01+02:00"),
            typed("08:00:00Z", "time"),
            typed("08:00:00+02:00", "time"),
        ]),
    )
        .prop_map(|(operator, right)| c("dateTime", operator, right));
    let lengths = (
        select(vec!["elapsedTime", "delayPeriod", "timeInterval", "meteredTime"]),
        select(vec!["eq", "lt", "lteq", "gteq"]),
        select(vec!["P1M", "P30D", "P31D", "P1Y", "P12M", "PT0.5S", "PT1S", "-P3D", "PT0S", "P1DT1S"]),
    )
        .prop_map(|(left, operator, right)| c(left, operator, json!(right)));
    let counts = (
        select(vec![
            "count",
            "percentage",
            "payAmount",
            "absoluteSize",
            "urn:concordat:day-of-week",
            "urn:concordat:hour-of-day",
            "resolution",
        ]),
        orders(),
        select(vec!["0", "1", "10", "1.5", "1.50", "-1"]),
        prop::option::weighted(0.2, select(vec!["1", "2"])),
        prop::option::weighted(
            0.3,
            select(vec!["EUR", "urn:eur", "urn:iso:std:iso:4217:EUR", "urn:iso:std:iso:4217:USD"]),
        ),
    )
        .prop_map(|(left, operator, n, status, unit)| {
            let mut one = c(left, operator, typed(n, "decimal"));
            if let Some(status) = status {
                one["status"] = typed(status, "decimal");
            }
            if let Some(unit) = unit {
                one["unit"] = json!(unit);
            }
            one
        });
    // A claim may be of any type: a text that looks like a number is none.
    let any = select(vec![
        json!("3"),
        typed("3", "decimal"),
        json!("P3D"),
        typed("P3D", "duration"),
        typed("2027-01-01Z", "date"),
        json!("2027-01-01Z"),
        json!("2027-01-01 (UTC)"),
        json!("3 days"),
    ])
    .prop_map(|right| c("urn:concordat:credential:A:$.x", "eq", right));
    let places = (
        select(vec!["eq", "isPartOf"]),
        select(vec![
            "ENVELOPE(2.5, 6.4, 51.5, 49.5)",
            "ENVELOPE(6.4, 2.5, 51.5, 49.5)",
            "ENVELOPE(2.5, 6.4, 49.5, 49.5)",
            "POINT(2.5 49.5)",
            "POINT(49.5 2.5)",
        ]),
    )
        .prop_map(|(operator, wkt)| {
            c("spatial", operator, json!({"@value": wkt, "@type": "geo:wktLiteral"}))
        });
    prop_oneof![times, lengths, counts, any, places]
}

fn constraint() -> impl Strategy<Value = Json> {
    prop_oneof![named(), ordered()].prop_recursive(2, 6, 3, |inner| {
        (select(vec!["and", "or", "xone", "andSequence"]), prop::collection::vec(inner, 1..3))
            .prop_map(|(logical, parts)| json!({logical: parts}))
    })
}

/// What is done to the data: each transformation.
fn data() -> impl Strategy<Value = Json> {
    let column = || select(vec!["a", "b", "a` are left out"]);
    let of =
        |name: &str, operator: &str, right: Json| c(&format!("urn:concordat:data:{name}"), operator, right);
    let lists = (
        select(vec!["keep", "drop", "pseudonymise", "group", "mean", "sum", "min", "max"]),
        prop::collection::vec(column(), 1..3),
    )
        .prop_map(move |(name, mut names)| match names.len() {
            1 => of(name, "eq", json!(names.remove(0))),
            _ => of(name, "isAllOf", json!(names)),
        });
    let values =
        (select(vec!["round", "shorten", "where"]), column(), select(vec!["lt", "gt", "eq", "neq"]), 1..4_u8)
            .prop_map(move |(name, column, operator, n)| {
                let operator = if name == "where" { operator } else { "eq" };
                of(&format!("{name}:{column}"), operator, typed(&n.to_string(), "decimal"))
            });
    let steps = (select(vec!["round", "aggregate"]), column(), select(vec!["PT1H", "PT2H", "P1D"]))
        .prop_map(move |(name, column, step)| of(&format!("{name}:{column}"), "eq", typed(step, "duration")));
    let groups = (1..4_u8).prop_map(move |n| of("minimum-group", "gteq", typed(&n.to_string(), "decimal")));
    let places = (select(vec!["place", "place:lat:lon", "place:lon:lat"]), select(vec!["1", "2"])).prop_map(
        move |(name, west)| {
            let wkt = format!("ENVELOPE({west}, 6.4, 51.5, 49.5)");
            of(name, "isPartOf", json!({"@value": wkt, "@type": "geo:wktLiteral"}))
        },
    );
    (prop_oneof![lists, values, steps, groups, places], prop::option::weighted(0.1, name())).prop_map(
        |(mut one, unit)| {
            if let Some(unit) = unit {
                one["unit"] = unit;
            }
            one
        },
    )
}

/// A party or an asset: by name, or a collection with what its members are like.
fn scope() -> impl Strategy<Value = Json> {
    let collection = (prop::option::of(name()), constraint()).prop_map(|(source, refinement)| {
        let mut collection = json!({"refinement": [refinement]});
        if let Some(source) = source {
            collection["source"] = source;
        }
        collection
    });
    prop_oneof![3 => name(), 1 => collection]
}

fn rule(depth: u32) -> BoxedStrategy<Json> {
    let rules = move |most: usize| {
        if depth == 0 {
            Just(Vec::new()).boxed()
        } else {
            prop::collection::vec(rule(depth - 1), 0..most).boxed()
        }
    };
    let scope = || prop::option::weighted(0.15, scope());
    (
        select(vec![
            "use",
            "read",
            "inform",
            "delete",
            "compensate",
            "urn:x:use",
            "cc:Sharing",
            "https://w3id.org/dpv#Marketing",
        ]),
        prop::collection::vec(constraint(), 0..3),
        prop::collection::vec(prop_oneof![3 => data().boxed(), 1 => constraint().boxed()], 0..3),
        (scope(), scope(), scope(), scope(), scope()),
        (rules(3), rules(2)),
    )
        .prop_map(
            move |(action, constraints, refinements, (assigner, assignee, target, informed, paid), owed)| {
                let mut rule =
                    json!({"action": action, "constraint": constraints, "refinement": refinements});
                let scopes = [
                    ("assigner", assigner),
                    ("assignee", assignee),
                    ("target", target),
                    ("informedParty", informed),
                    ("compensatedParty", paid),
                ];
                for (key, scope) in scopes {
                    if let Some(scope) = scope {
                        rule[key] = scope;
                    }
                }
                for (key, duties) in [("duty", owed.0), ("consequence", owed.1)] {
                    if !duties.is_empty() {
                        rule[key] = Json::from(duties);
                    }
                }
                rule
            },
        )
        .boxed()
}

/// A rule with the lists of rules that its kind has: the first is what it may owe, the second is what follows.
fn kind(mut rule: Json, owed: Option<&str>, follows: Option<&str>) -> Json {
    let map = rule.as_object_mut().unwrap();
    for (from, to) in [("duty", owed), ("consequence", follows)] {
        let Some(list) = map.remove(from) else { continue };
        let list: Json =
            list.as_array().unwrap().iter().map(|one| kind(one.clone(), None, Some("consequence"))).collect();
        if let Some(to) = to {
            map.insert(to.to_owned(), list);
        }
    }
    rule
}

fn policy() -> impl Strategy<Value = Json> {
    let scope = || prop::option::weighted(0.3, name());
    (
        prop::collection::vec(rule(2).prop_map(|rule| kind(rule, Some("duty"), None)), 1..3),
        prop::collection::vec(rule(1).prop_map(|rule| kind(rule, None, Some("remedy"))), 0..2),
        prop::collection::vec(rule(1).prop_map(|rule| kind(rule, None, Some("consequence"))), 0..2),
        select(vec!["perm", "prohibit", "invalid"]),
        (scope(), scope(), scope()),
        prop::option::weighted(0.3, select(vec!["http://www.w3.org/ns/odrl/2/core", "https://x.example/p"])),
        select(vec!["Set", "Offer", "Request", "Ticket", "Privacy", "Assertion"]),
    )
        .prop_map(
            |(
                permissions,
                prohibitions,
                obligations,
                conflict,
                (target, assigner, assignee),
                profile,
                kind,
            )| {
                let mut policy = json!({"@type": kind, "permission": permissions, "prohibition": prohibitions,
                    "obligation": obligations, "conflict": conflict});
                let scopes = [("target", target), ("assigner", assigner), ("assignee", assignee)];
                for (key, scope) in scopes {
                    if let Some(scope) = scope {
                        policy[key] = scope;
                    }
                }
                if let Some(profile) = profile {
                    policy["profile"] = json!(profile);
                }
                policy
            },
        )
}

/// Keys that take each other's place: what stands under one of them reads otherwise under another.
const EXCHANGED: [&[&str]; 6] = [
    &["and", "or", "xone", "andSequence"],
    &["constraint", "refinement"],
    &["permission", "prohibition", "obligation"],
    &["duty", "consequence", "remedy"],
    &["assigner", "assignee", "target", "informedParty", "compensatedParty"],
    &["status", "unit"],
];

/// A policy, and the same with little changed: what differs by little is what reads alike.
fn altered() -> impl Strategy<Value = (Json, Json)> {
    (policy(), policy(), 0..4_u8, any::<Index>(), any::<Index>()).prop_map(|(one, other, how, at, from)| {
        let mut altered = one.clone();
        let (mut own, mut others) = (Vec::new(), Vec::new());
        places(&one, "", &mut own);
        places(&other, "", &mut others);
        let path = &own[at.index(own.len())];
        let (parent, key) = path.rsplit_once('/').unwrap();
        match how {
            // Another value, or a whole part, of another policy.
            0 | 1 => {
                let is_leaf = |json: &Json, path: &str| json.pointer(path).unwrap().is_string();
                let alike: Vec<&String> = others
                    .iter()
                    .filter(|path| path.ends_with(&format!("/{key}")) && (how == 1 || is_leaf(&other, path)))
                    .collect();
                if let Some(from) = (!alike.is_empty()).then(|| alike[from.index(alike.len())]) {
                    *altered.pointer_mut(path).unwrap() = other.pointer(from).unwrap().clone();
                }
            }
            // A part is gone.
            2 => match altered.pointer_mut(parent).unwrap() {
                Json::Array(list) => drop(list.remove(key.parse().unwrap())),
                Json::Object(map) => drop(map.remove(key)),
                _ => {}
            },
            // A part stands under another key.
            _ => {
                let alike = EXCHANGED.iter().find(|keys| keys.contains(&key));
                if let (Some(keys), Some(map)) = (alike, altered.pointer_mut(parent).unwrap().as_object_mut())
                {
                    let to = keys[from.index(keys.len())];
                    let part = map.remove(key).unwrap();
                    map.insert(to.to_owned(), part);
                }
            }
        }
        (one, altered)
    })
}

/// Every place in a document.
fn places(json: &Json, path: &str, found: &mut Vec<String>) {
    if !path.is_empty() {
        found.push(path.to_owned());
    }
    match json {
        Json::Object(map) => map.iter().for_each(|(key, one)| places(one, &format!("{path}/{key}"), found)),
        Json::Array(list) => {
            list.iter().enumerate().for_each(|(index, one)| places(one, &format!("{path}/{index}"), found))
        }
        _ => {}
    }
}

/// All that a policy says: but for its name, the class where it is one that is decided, the order of duties, and in which of
/// several ways it is written what is done to the data.
fn said(policy: &Policy) -> Json {
    fn in_order(json: &mut Json) {
        match json {
            Json::Object(map) => {
                map.values_mut().for_each(in_order);
                let left = map.get("leftOperand").and_then(Json::as_str).unwrap_or_default();
                if left.starts_with("urn:concordat:data:") && !left.starts_with("urn:concordat:data:where:") {
                    map.remove("operator");
                    let right = map.get_mut("rightOperand").unwrap();
                    if let Some(value) = right.get("@value") {
                        *right = value.clone();
                    }
                }
                if let Some(Json::Array(duties)) = map.get_mut("duty") {
                    duties.sort_by_key(ToString::to_string);
                }
            }
            Json::Array(list) => list.iter_mut().for_each(in_order),
            _ => {}
        }
    }
    let mut said = policy.write();
    let map = said.as_object_mut().unwrap();
    map.remove("@id");
    if policy.kind.is_decided() {
        map.remove("@type");
    }
    in_order(&mut said);
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn policies_that_differ_do_not_read_the_same((one, other) in altered()) {
        let (Ok(one), Ok(other)) = (Policy::parse_odrl(&one), Policy::parse_odrl(&other)) else { return Ok(()) };
        let words = explain::policy(&one);
        if words == explain::policy(&other) {
            prop_assert_eq!(said(&one), said(&other), "{:#?}", words);
        }
        let unseen = |letter: char| letter.is_control() || "\u{a0}\u{200b}\u{202e}\u{441}".contains(letter);
        prop_assert!(!words.iter().any(|line| line.contains(unseen)), "{:#?}", words);
    }
}

#[test]
fn most_of_what_is_tried_can_be_read() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let pairs = (0..300).map(|_| altered().new_tree(&mut runner).unwrap().current());
    let (mut read, mut differ) = (0, 0);
    for (one, other) in pairs {
        if let (Ok(one), Ok(other)) = (Policy::parse_odrl(&one), Policy::parse_odrl(&other)) {
            read += 1;
            differ += usize::from(said(&one) != said(&other));
        }
    }
    assert!(read > 150 && differ > 100, "{read} of 300 pairs are read, {differ} of them differ");
}

#[test]
fn names_that_end_alike_are_told_apart() {
    let words = |left: &str, right: &str| {
        let policy = json!({"permission": [{"action": "use", "constraint": [c(left, "eq", json!(right))]}]});
        explain::policy(&Policy::parse(&policy).unwrap()).remove(0)
    };
    for (left, right, wanted) in [
        (
            "purpose",
            "urn:concordat:purpose:environmental-monitoring",
            "the purpose must be environmental monitoring",
        ),
        (
            "purpose",
            "https://evil.example/environmental-monitoring",
            "the purpose must be `https://evil.example/environmental-monitoring`",
        ),
        (
            "urn:concordat:membership",
            "https://city.example/space",
            "a membership must be `https://city.example/space`",
        ),
        ("recipient", "did:web:a.example", "the recipient must be did:web:a.example"),
        ("assignee", "did:web:a.example", "the party that asks must be did:web:a.example"),
    ] {
        assert_eq!(words(left, right), format!("allowed: use, provided that {wanted}"));
    }
}
