//! Policies torn and patched at random: whatever comes of it is read or refused, never a panic, and the answers about
//! it agree with each other. `CONCORDAT_FUZZ_SECONDS` says how long (1 without it).
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::cell::Cell;
use std::time::{Duration, Instant};

use policy_engine::{
    Activation, Compatibility, Conflict, Hierarchy, Policy, Question, RuleKind, compatible, contained,
    difference, explain, lint, propose, same_terms,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use serde_json::{Value as Json, json};

/// Words of ODRL, so that a patch often means something.
const WORDS: [&str; 51] = [
    "@id",
    "@list",
    "@type",
    "@value",
    "Agreement",
    "Offer",
    "Set",
    "action",
    "and",
    "andSequence",
    "assignee",
    "assigner",
    "conflict",
    "consequence",
    "constraint",
    "count",
    "dateTime",
    "duty",
    "elapsedTime",
    "eq",
    "gt",
    "gteq",
    "inheritFrom",
    "isA",
    "isAllOf",
    "isAnyOf",
    "isNoneOf",
    "leftOperand",
    "lt",
    "neq",
    "obligation",
    "operator",
    "or",
    "perm",
    "permission",
    "prohibition",
    "purpose",
    "rdf:value",
    "read",
    "refinement",
    "remedy",
    "rightOperand",
    "spatial",
    "target",
    "unit",
    "urn:a",
    "use",
    "xone",
    "xsd:dateTime",
    "xsd:duration",
    "xsd:time",
];

fn seeds() -> Vec<Json> {
    let constraint = |left: &str, operator: &str, right: Json| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
    vec![
        json!({"@id": "urn:a", "@type": "Offer", "permission": [{"action": "use", "constraint": [
            constraint("purpose", "isAnyOf", json!(["urn:p", "urn:q"])),
            constraint("dateTime", "lt", json!({"@value": "2027-01-01T00:00:00Z", "@type": "xsd:dateTime"})),
            constraint("count", "lteq", json!("5"))]}]}),
        json!({"@id": "urn:b", "@type": "Agreement", "target": "urn:x", "assigner": "urn:bob", "assignee": "urn:alice",
            "permission": [{"action": "read", "constraint": [{"or": [
                constraint("spatial", "isPartOf", json!("urn:c")),
                {"xone": [constraint("count", "gt", json!("1")), constraint("count", "lt", json!("9"))]}]}],
                "duty": [{"action": "inform"}]}],
            "prohibition": [{"action": "distribute"}], "obligation": [{"action": "delete"}]}),
        json!({"@type": "Set", "permission": [{"assignee": "urn:alice", "target": {"@id": "urn:x"}}]}),
        json!({"@type": "Set", "conflict": "perm", "permission": [{
            "action": [{"rdf:value": "use", "refinement": [constraint("percentage", "lteq", json!("50"))]}, "sell"],
            "assignee": {"@id": "urn:alice", "refinement": [constraint("urn:concordat:role", "eq", json!("x"))]},
            "constraint": [constraint("elapsedTime", "lteq", json!("P1M")),
                constraint("dateTime", "gteq", json!({"@value": "08:00:00Z", "@type": "xsd:time"}))]}],
            "prohibition": [{"action": "read", "remedy": [{"action": "delete"}]}],
            "obligation": [{"action": "inform", "constraint": [constraint("elapsedTime", "lteq", json!("P1M"))],
                "consequence": [{"action": "compensate"}]}]}),
    ]
}

fn scrap() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        select(&WORDS[..]).prop_map(Json::from),
        ".{0,12}".prop_map(Json::from),
        "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:00:00(Z|[+]14:00)?".prop_map(Json::from),
        "-?[0-9]{1,3}([.][0-9]{1,20})?(e[0-9]{1,3})?".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec((select(&WORDS[..]), inner), 0..4).prop_map(|members| members
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

/// A seed with one to six places replaced, removed or copied elsewhere.
fn torn() -> impl Strategy<Value = Json> {
    let patch = (any::<Index>(), any::<Index>(), 0..4_u8, scrap(), select(&WORDS[..]));
    (select(seeds()), prop::collection::vec(patch, 1..6)).prop_map(|(mut policy, patches)| {
        for (place, other, how, scrap, key) in patches {
            let mut paths = vec![String::new()];
            pointers(&policy, "", &mut paths);
            let copied = policy.pointer(other.get::<String>(&paths)).cloned().unwrap_or_default();
            let Some(spot) = policy.pointer_mut(place.get::<String>(&paths)) else { continue };
            match (how, spot) {
                (0, spot) => *spot = scrap,
                (1, spot) => *spot = copied,
                (2, Json::Object(map)) => drop(map.insert(key.to_owned(), scrap)),
                (2, Json::Array(list)) => list.push(copied),
                (_, Json::Object(map)) => drop(map.remove(key)),
                (_, spot) => *spot = Json::from(key),
            }
        }
        policy
    })
}

fn pointers(json: &Json, path: &str, found: &mut Vec<String>) {
    let mut visit = |key: &str, value: &Json| {
        let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
        found.push(path.clone());
        pointers(value, &path, found);
    };
    match json {
        Json::Object(map) => map.iter().for_each(|(key, value)| visit(key, value)),
        Json::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| visit(&index.to_string(), value))
        }
        _ => {}
    }
}

fn holds_together(json: &Json, other: &Json) -> TestCaseResult {
    let wide = match Policy::parse_odrl(json) {
        Ok(policy) => policy,
        Err(error) => {
            prop_assert!(error.path().starts_with('/') && !error.reason().is_empty());
            // A peer may say more of an offer as a whole than a file.
            let says_more = json.as_object().is_some_and(|map| map.keys().any(|key| key.contains(':')));
            // Lists of nothing restrict nothing among connectors, and permit nothing in ODRL.
            let is_empty = policy_engine::compacted(json)
                .is_ok_and(|compact| policy_engine::unrestricted(compact.clone()) != compact);
            prop_assert!(
                says_more || is_empty || Policy::parse(json).is_err(),
                "the profile reads what ODRL refuses"
            );
            return Ok(());
        }
    };
    if let Ok(narrow) = Policy::parse(json) {
        prop_assert_eq!(&narrow, &wide);
    }
    prop_assert!(same_terms(&wide, &wide));
    prop_assert!(explain::policy(&wide).len() >= wide.rules().count());
    let again = Policy::parse_odrl(&wide.write());
    prop_assert!(
        again.as_ref().is_ok_and(|again| same_terms(again, &wide)),
        "written: {} {again:?}",
        wide.write()
    );
    prop_assert!(difference(&wide, &wide).is_empty());
    let known = Hierarchy::shipped();
    prop_assert_ne!(contained(&wide, &wide, &known), Some(false));
    if let Ok(other) = Policy::parse_odrl(other) {
        let verdict = |a, b| std::mem::discriminant::<Compatibility>(&compatible(a, b, &known));
        prop_assert_eq!(verdict(&wide, &other), verdict(&other, &wide));
        if let Some(proposal) = propose(&wide, &other, &known).terms() {
            for whole in [&wide, &other] {
                let within = contained(&proposal, whole, &known);
                prop_assert_ne!(within, Some(false), "{} is not within {}", proposal.write(), whole.write());
            }
        }
        let _ = difference(&wide, &other);
    }

    let request = json!({"permission": [{"assignee": "urn:alice", "action": "read", "target": "urn:x"}]});
    let world = json!({"count": 3, "purposes": ["urn:p"], "places": ["urn:c"]});
    let now = "2026-06-01T12:00:00Z".parse().unwrap();
    let _ = lint(&wide, now, &known);
    let question = Question::parse(json, &[], &request, &world, now, known).unwrap();
    let (decision, report) = (question.decide(), question.report());
    prop_assert!(!decision.reason().is_empty());
    prop_assert_eq!(decision.is_permit(), question.advice().is_none());
    if decision.is_permit() {
        let active = |kind| report.iter().any(|one| one.kind == kind && one.activation == Activation::Active);
        prop_assert!(active(RuleKind::Permission), "permitted by no permission: {report:?}");
        let wins = wide.conflict == Conflict::Perm;
        prop_assert!(
            wins || !active(RuleKind::Prohibition),
            "permitted in spite of a prohibition: {report:?}"
        );
    }
    Ok(())
}

#[test]
fn torn_policies_are_read_or_refused_and_answers_agree() {
    let seconds = std::env::var("CONCORDAT_FUZZ_SECONDS").map_or(1, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let (tried, readable) = (Cell::new(0_u64), Cell::new(0_u64));
    while tried.get() == 0 || Instant::now() < end {
        let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
        let result = TestRunner::new(config).run(&(torn(), torn()), |(json, other)| {
            tried.set(tried.get() + 1);
            readable.set(readable.get() + u64::from(Policy::parse_odrl(&json).is_ok()));
            holds_together(&json, &other)
        });
        if let Err(failure) = result {
            panic!("{failure}");
        }
    }
    let (tried, readable) = (tried.get(), readable.get());
    eprintln!("{tried} torn policies, {readable} of them still readable, in {seconds} s or a little more");
    assert!(readable > tried / 20, "too few are readable to say anything: {readable} of {tried}");
}
