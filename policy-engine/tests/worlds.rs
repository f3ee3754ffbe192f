//! Comparisons held against brute force: every use in a small world is put to both policies, and what the comparisons
//! say must agree with what the gate would decide. `CONCORDAT_WORLDS_CASES` says how many pairs are tried (15 without it).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use policy_engine::{
    Compatibility, Conflict, Containment, Facts, Hierarchy, Outcome, Performed, Policy, Proposal, Record,
    Request, Usage, World, compatible, contained, decide, propose, within,
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
    known.add("urn:alice", "urn:everybody");
    known.add("urn:s:town", "urn:s:country");
    known.add_disjoint("urn:s:country", "urn:s:abroad");
    known.load(&json!({"areas": {"urn:s:country": [2.5, 49.5, 6.5, 51.5]}})).unwrap();
    known
}

/// One of everybody, and one of whom nothing is known.
const PARTIES: [&str; 2] = ["urn:alice", "urn:bob"];
/// What is known of places: a town in a country that lies in a rectangle.
const PLACES: [&str; 4] = ["urn:s:town", "urn:s:country", "urn:s:abroad", "urn:s:unheard"];

fn leaf() -> impl Strategy<Value = Json> {
    let ordered = || select(vec!["eq", "neq", "lt", "lteq", "gt", "gteq"]);
    let count = (ordered(), 1..4_u8).prop_map(
        |(operator, n)| json!({"leftOperand": "count", "operator": operator, "rightOperand": n.to_string()}),
    );
    let time = (ordered(), 2..4_u8, any::<bool>()).prop_map(|(operator, day, whole)| {
        let right = if whole { format!("2026-01-0{day}Z") } else { format!("2026-01-0{day}T00:00:00Z") };
        json!({"leftOperand": "dateTime", "operator": operator, "rightOperand": right})
    });
    let hours = (select(vec!["lt", "gteq"]), select(vec!["06:00:00Z", "18:00:00+02:00", "00:00:00+02:00"])).prop_map(
        |(operator, time)| json!({"leftOperand": "dateTime", "operator": operator, "rightOperand": {"@value": time, "@type": "xsd:time"}}),
    );
    let term = || select(PURPOSES[..4].to_vec());
    let single = (select(vec!["eq", "neq", "isA", "isPartOf", "hasPart"]), term()).prop_map(
        |(operator, term)| json!({"leftOperand": "purpose", "operator": operator, "rightOperand": term}),
    );
    let several = (select(vec!["isAnyOf", "isNoneOf", "isA"]), term(), term()).prop_map(
        |(operator, a, b)| json!({"leftOperand": "purpose", "operator": operator, "rightOperand": [a, b]}),
    );
    let place = (select(vec!["eq", "isPartOf"]), select(PLACES[..3].to_vec())).prop_map(
        |(operator, place)| json!({"leftOperand": "spatial", "operator": operator, "rightOperand": place}),
    );
    // Two of them lie over the antimeridian, one within the other.
    let area = select(vec![
        "ENVELOPE(2, 7, 52, 49)",
        "ENVELOPE(0, 10, 55, 45)",
        "ENVELOPE(20, 30, 55, 45)",
        "ENVELOPE(177, -178, 52, 49)",
        "ENVELOPE(160, 8, 55, 45)",
    ])
    .prop_map(
        |area| json!({"leftOperand": "spatial", "operator": "isPartOf", "rightOperand": {"@value": area, "@type": "geo:wktLiteral"}}),
    );
    let unheard = select(vec!["eq", "neq"]).prop_map(
        |operator| json!({"leftOperand": "moonPhase", "operator": operator, "rightOperand": "full"}),
    );
    let status = (0..3_u8).prop_map(
        |n| json!({"leftOperand": "count", "operator": "lteq", "rightOperand": "4", "status": n.to_string()}),
    );
    prop_oneof![4 => count, 4 => time, 1 => hours, 4 => single, 3 => several, 2 => place, 1 => area, 1 => unheard, 1 => status]
}

fn constraint() -> impl Strategy<Value = Json> {
    leaf().prop_recursive(2, 6, 2, |inner| {
        (select(vec!["and", "or", "xone"]), prop::collection::vec(inner, 1..3))
            .prop_map(|(logical, parts)| json!({logical: parts}))
    })
}

/// Something that must be done, by when or at all.
fn duty() -> impl Strategy<Value = Json> {
    (select(vec!["compensate", "inform"]), prop::option::of(select(vec!["P1D", "P3D"]))).prop_map(
        |(action, by)| {
            let by =
                by.map(|by| json!({"leftOperand": "elapsedTime", "operator": "lteq", "rightOperand": by}));
            json!({"action": action, "constraint": by.into_iter().collect::<Vec<_>>()})
        },
    )
}

fn policy() -> impl Strategy<Value = Json> {
    let party = || prop::option::weighted(0.2, select(vec!["urn:alice", "urn:everybody", "urn:bob"]));
    let rule = move || {
        (select(ACTIONS.to_vec()), prop::collection::vec(constraint(), 0..3), party()).prop_map(
            |(action, constraints, party)| {
                let mut rule = json!({"action": action, "constraint": constraints});
                if let Some(party) = party {
                    rule["assignee"] = json!(party);
                }
                rule
            },
        )
    };
    let permission = (rule(), prop::collection::vec(duty(), 0..2)).prop_map(|(mut rule, duties)| {
        rule["duty"] = json!(duties);
        rule
    });
    let conflict = select(vec!["invalid", "perm", "prohibit"]);
    let obligations = prop::collection::vec(duty(), 0..2);
    (prop::collection::vec(permission, 1..3), prop::collection::vec(rule(), 0..2), obligations, conflict).prop_map(
        |(permissions, prohibitions, obligations, conflict)| {
            json!({"@type": "Set", "conflict": conflict, "permission": permissions, "prohibition": prohibitions,
                "obligation": obligations})
        },
    )
}

/// The policy as a child that inherits its prohibitions and obligations from a parent: it says the same.
fn inherited(json: &Json) -> Policy {
    let mut child = json.clone();
    let mut parent = json!({"@id": "urn:parent", "conflict": json["conflict"]});
    for part in ["prohibition", "obligation"] {
        parent[part] = child.as_object_mut().unwrap().remove(part).unwrap();
    }
    child["inheritFrom"] = json!("urn:parent");
    Policy::parse_inheriting(&child, &[parent]).unwrap()
}

/// For every use of the small world whether each policy permits it; also where nothing is stated or counted, or nothing was
/// done.
fn outcomes(policies: &[&Policy]) -> Vec<Vec<bool>> {
    let known = known();
    let start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut all = Vec::new();
    // What is done is told by the action of the duty, wherever it stands: in time, or on the third day; or it was recorded
    // that it was not done.
    let record = |policy: &Policy, (done, late, missed): (&[&str], &[&str], &[&str])| {
        let (mut performed, mut violated) = (Vec::new(), Vec::new());
        for duty in policy.duties() {
            let of = |actions: &[&str]| actions.contains(&duty.action.as_str());
            let at = of(late).then(|| start + jiff::SignedDuration::from_hours(48));
            if of(done) || of(late) {
                performed.push(Performed { rule: duty.path.clone(), at });
            }
            if of(missed) {
                violated.push(duty.path.clone());
            }
        }
        Record { performed, violated }
    };
    let done: [(&[&str], &[&str], &[&str]); 8] = [
        (&[], &[], &[]),
        (&["compensate"], &[], &[]),
        (&["inform"], &[], &[]),
        (&["compensate", "inform"], &[], &[]),
        (&["inform"], &["compensate"], &[]),
        (&["compensate"], &["inform"], &[]),
        (&["inform"], &[], &["compensate"]),
        (&["compensate"], &[], &["inform"]),
    ];
    let point = |at: &str| json!({"@value": format!("POINT({at})"), "@type": "geo:wktLiteral"});
    // What no policy asks for is not varied.
    let any = |asks: &dyn Fn(&Policy) -> bool| policies.iter().any(|policy| asks(policy));
    let named = |left: &str| any(&|policy| policy.mentions(left));
    let places = PLACES
        .iter()
        .map(|place| json!(place))
        .chain(["4 50", "25 50", "1 46", "178 50", "-179 50", "165 46"].map(point));
    let (spatial, dues) = (named("spatial"), any(&|policy| !policy.duties().is_empty()));
    let places: Vec<_> = [None].into_iter().chain(places.map(Some).filter(|_| spatial)).collect();
    let purposes: Vec<_> =
        [None].into_iter().chain(PURPOSES.iter().map(Some).filter(|_| named("purpose"))).collect();
    let counts = [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(5)];
    let counts = if named("count") { &counts[..] } else { &counts[..1] };
    let times = [0, 1, 2, 3, 4, 5, 6, 7_i64];
    let times = if dues || named("dateTime") { &times[..] } else { &times[..1] };
    let done = if dues { &done[..] } else { &done[..1] };
    let scoped = any(&|policy| policy.rules().any(|rule| rule.assignee.is_some()));
    let parties = if scoped { &PARTIES[..] } else { &PARTIES[..1] };
    for (purpose, place) in
        purposes.iter().flat_map(|purpose| places.iter().map(move |place| (*purpose, place)))
    {
        let mut facts = Facts::default();
        purpose.iter().for_each(|purpose| facts.state("purpose", &json!(purpose)).unwrap());
        place.iter().for_each(|place| facts.state("spatial", place).unwrap());
        for count in counts.iter().copied() {
            for half_days in times.iter().copied() {
                let now = start + jiff::SignedDuration::from_hours(12 * half_days);
                let usage = Usage { count, ..Usage::default() };
                for done in done.iter().copied() {
                    let records: Vec<Record> = policies.iter().map(|policy| record(policy, done)).collect();
                    for (action, party) in
                        ACTIONS.iter().flat_map(|action| parties.iter().map(move |party| (*action, *party)))
                    {
                        let request = Request { action, party, target: None };
                        let permits = |(policy, record): (&&Policy, &Record)| {
                            let base = World::at(now, &known);
                            let world = World { stated: &facts, usage, record, since: Some(start), ..base };
                            decide(policy, &request, &world).outcome == Outcome::Permit
                        };
                        all.push(policies.iter().zip(&records).map(permits).collect());
                    }
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

/// How many pairs of policies each property is tried with.
fn cases() -> u32 {
    std::env::var("CONCORDAT_WORLDS_CASES").map_or(15, |text| text.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    fn comparisons_agree_with_every_use(a in policy(), b in policy()) {
        let (a, b) = (Policy::parse_odrl(&a).unwrap(), Policy::parse_odrl(&b).unwrap());
        let known = known();
        let proposed = propose(&a, &b, &known);
        let proposal = proposed.clone().terms();
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
        } else if proposed == Proposal::Nothing {
            prop_assert!(!both, "something is permitted by both, and nothing is said to be");
        }
    }

    /// A policy that inherits its rules says what it says with them.
    #[test]
    fn what_is_inherited_counts_as_ones_own(a in policy()) {
        let (own, heir) = (Policy::parse_odrl(&a).unwrap(), inherited(&a));
        for one in outcomes(&[&own, &heir]) {
            prop_assert_eq!(one[0], one[1]);
        }
    }

    /// Where conflicts are resolved for the prohibition, the proposal permits all that both permit.
    #[test]
    fn a_proposal_is_the_largest(a in policy(), b in policy()) {
        let plain = |mut json: Json| {
            json["conflict"] = json!("prohibit");
            Policy::parse_odrl(&json).unwrap()
        };
        let (a, b) = (plain(a), plain(b));
        if let Some(proposal) = propose(&a, &b, &known()).terms() {
            for one in outcomes(&[&a, &b, &proposal]) {
                prop_assert_eq!(one[2], one[0] && one[1]);
            }
        }
    }

    /// What is said to be possible is so: there is a use, or an escape, in every interval. Not tried where the small world has
    /// no such hour, delay of a duty, place or party, or where somebody else understands what this engine does not.
    #[test]
    fn possible_is_possible(a in policy(), b in policy()) {
        let text = format!("{a}{b}");
        let missing = ["xsd:time", "moonPhase", "elapsedTime", "spatial", "assignee"];
        prop_assume!(!missing.iter().any(|one| text.contains(one)));
        let (a, b) = (Policy::parse_odrl(&a).unwrap(), Policy::parse_odrl(&b).unwrap());
        let proposal = propose(&a, &b, &known()).terms();
        let judged: Vec<&Policy> = [&a, &b].into_iter().chain(&proposal).collect();
        let uses = outcomes(&judged);
        if proposal.is_some() && !may_be_void(&a) && !may_be_void(&b) {
            prop_assert!(uses.iter().any(|one| one[2]), "terms that nothing satisfies are proposed");
        }
        if compatible(&a, &b, &known()) == Compatibility::Compatible {
            prop_assert!(uses.iter().any(|one| one[0] && one[1]));
        }
        if contained(&a, &b, &known()) == Some(false) {
            prop_assert!(uses.iter().any(|one| one[0] && !one[1]));
        }
    }
}
