//! A counter-offer: the largest terms that lie within two policies.

use crate::action::covers;
use crate::alternatives::all;
use crate::compare::{alike, entails, permission_gaps, same_rule};
use crate::compatible::{Compatibility, clause, compatible, contained, decide};
use crate::evaluate::conflicts;
use crate::hierarchy::Hierarchy;
use crate::lowered::lowered;
use crate::model::{ANY_ACTION, Conflict, Constraint, Kind, Policy, Rule, Scope};
use crate::satisfy::Possible;
use crate::treatment::{Treatment, is_transform};

/// What two policies have in common.
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub enum Proposal {
    /// Nothing: no use is permitted by both.
    Nothing,
    /// The largest terms within both; some use is permitted under them.
    Terms(Box<Policy>),
    /// What is known does not tell whether there are such terms, or cannot write them down.
    Unknown,
}

impl Proposal {
    /// The terms, where they are known.
    #[must_use]
    pub fn terms(self) -> Option<Policy> {
        match self {
            Self::Terms(policy) => Some(*policy),
            Self::Nothing | Self::Unknown => None,
        }
    }
}

/// The terms that permit exactly what both `a` and `b` permit, as far as what is known tells: each pair of permissions
/// whose actions overlap gives one with the conditions and duties of both; every prohibition and obligation of either
/// is kept. Terms that nothing satisfies are no proposal, and terms of which that is not known are none either.
pub fn propose(a: &Policy, b: &Policy, known: &Hierarchy) -> Proposal {
    match compatible(a, b, known) {
        Compatibility::Compatible => {}
        Compatibility::Conflict(_) => return Proposal::Nothing,
        Compatibility::Unknown(_) => return Proposal::Unknown,
    }
    let (a, b) = alike(a, b);
    match common_terms(&a, &b, known) {
        // Prohibitions that one of them lets its permissions hold against may take all back in their sum.
        Some(policy) if compatible(&policy, &policy, known) == Compatibility::Compatible => {
            Proposal::Terms(Box::new(policy))
        }
        _ => Proposal::Unknown,
    }
}

/// The terms within both of two policies; `None` where they cannot be written down.
fn common_terms(a: &Policy, b: &Policy, known: &Hierarchy) -> Option<Policy> {
    let mut policy = Policy {
        id: String::new(),
        kind: Kind::Offer,
        conflict: stricter(a.conflict, b.conflict),
        profiles: a.profiles.union(&b.profiles).cloned().collect(),
        target: same(&a.target, &b.target)?,
        assigner: same(&a.assigner, &b.assigner)?,
        assignee: same(&a.assignee, &b.assignee)?,
        permissions: Vec::new(),
        prohibitions: union(&a.prohibitions, &b.prohibitions),
        obligations: union(&a.obligations, &b.obligations),
    };
    let pairs = a.permissions.iter().flat_map(|one| b.permissions.iter().map(move |other| (one, other)));
    let mut permissions: Vec<Rule> = pairs.filter_map(|(one, other)| both(one, other, known)).collect();
    permissions.retain(|rule| {
        let alternatives = all(&clause(&policy, rule, known).conditions).map(|found| decide(&found, known).0);
        alternatives != Some(Possible::No)
    });
    // What lies within another permission says nothing new.
    let mut kept: Vec<Rule> = Vec::new();
    for rule in permissions {
        let within = |one: &Rule, whole: &Rule| {
            covers(&whole.action, &one.action, known)
                && permission_gaps((&policy, one), (&policy, whole), known).is_empty()
        };
        if kept.iter().any(|other| within(&rule, other)) {
            continue;
        }
        kept.retain(|other| !within(other, &rule));
        kept.push(rule);
    }
    policy.permissions = kept;
    if policy.permissions.is_empty() {
        return None;
    }
    let may_be_void = |one: &Policy| {
        one.conflict == Conflict::Invalid
            && one.permissions.len() > 1
            && conflicts(one, known).next().is_some()
    };
    if may_be_void(a) || may_be_void(b) {
        // Where one of them is void, the proposal must be so too.
        let within = |whole: &Policy| contained(&policy, whole, known) == Some(true);
        if !(within(a) && within(b)) {
            return None;
        }
    } else if may_be_void(&policy) {
        // Neither is ever void, so their sum must not be.
        policy.conflict = Conflict::Prohibit;
    }
    renumber(&mut policy);
    Some(policy)
}

/// What both or one of them name; the outer `None` where they name different ones.
#[expect(clippy::option_option, reason = "that neither names one is an answer")]
fn same(a: &Option<String>, b: &Option<String>) -> Option<Option<String>> {
    (a.is_none() || b.is_none() || a == b).then(|| a.clone().or_else(|| b.clone()))
}

/// A conflict that both resolve for the permission stays so; anything else keeps the prohibitions.
const fn stricter(a: Conflict, b: Conflict) -> Conflict {
    match (a, b) {
        (Conflict::Perm, Conflict::Perm) => Conflict::Perm,
        (Conflict::Prohibit, _) | (_, Conflict::Prohibit) => Conflict::Prohibit,
        _ => Conflict::Invalid,
    }
}

fn both(one: &Rule, other: &Rule, known: &Hierarchy) -> Option<Rule> {
    if one.action == ANY_ACTION || other.action == ANY_ACTION {
        // Without an action nothing is permitted.
        return None;
    }
    let action = if covers(&one.action, &other.action, known) {
        &other.action
    } else if covers(&other.action, &one.action, known) {
        &one.action
    } else {
        return None;
    };
    Some(Rule {
        action: action.clone(),
        refinements: refinements(one, other, known)?,
        assigner: common(one.assigner.as_ref(), other.assigner.as_ref(), known)?,
        assignee: common(one.assignee.as_ref(), other.assignee.as_ref(), known)?,
        target: common(one.target.as_ref(), other.target.as_ref(), known)?,
        constraints: simplified(&one.constraints, &other.constraints, known),
        duties: union(&one.duties, &other.duties),
        ..one.clone()
    })
}

/// How both want the action to be done; `None` where nothing is known that leaves no more of the data than either.
fn refinements(one: &Rule, other: &Rule, known: &Hierarchy) -> Option<Vec<Constraint>> {
    let own =
        |rule: &Rule| rule.refinements.iter().filter(|one| !is_transform(one)).cloned().collect::<Vec<_>>();
    let data = match (Treatment::of(one), Treatment::of(other)) {
        (Some(a), Some(b)) => a.both(&b, known)?.refinements(),
        _ if same_rule(one, other) => {
            one.refinements.iter().filter(|one| is_transform(one)).cloned().collect()
        }
        _ => return None,
    };
    Some(data.into_iter().chain(simplified(&own(one), &own(other), known)).collect())
}

/// The narrower of two scopes; the outer `None` where they have nothing in common that could be named.
#[expect(clippy::option_option, reason = "no scope at all is an answer, and differs from no common one")]
fn common(a: Option<&Scope>, b: Option<&Scope>, known: &Hierarchy) -> Option<Option<Scope>> {
    let (Some(a), Some(b)) = (a, b) else { return Some(a.or(b).cloned()) };
    let id = match (&a.id, &b.id) {
        (Some(a), Some(b)) if known.is_within(a, b) => Some(a.clone()),
        (Some(a), Some(b)) if known.is_within(b, a) => Some(b.clone()),
        (Some(_), Some(_)) => return None,
        (a, b) => a.clone().or_else(|| b.clone()),
    };
    Some(Some(Scope { id, refinements: simplified(&a.refinements, &b.refinements, known) }))
}

/// All constraints of both, without those that follow from the others.
fn simplified(a: &[Constraint], b: &[Constraint], known: &Hierarchy) -> Vec<Constraint> {
    let mut kept: Vec<Constraint> = a.iter().chain(b).cloned().collect();
    let mut place = 0;
    while let Some(one) = kept.get(place).cloned() {
        kept.remove(place);
        let given: Vec<_> = kept.iter().map(|other| lowered(other, known)).collect();
        if !entails(&given, &lowered(&one, known), known) {
            kept.insert(place, one);
            place += 1;
        }
    }
    kept
}

fn union(a: &[Rule], b: &[Rule]) -> Vec<Rule> {
    let mut all = a.to_vec();
    for rule in b {
        if !all.iter().any(|own| same_rule(own, rule)) {
            all.push(rule.clone());
        }
    }
    all
}

/// Paths say where things stand in the new policy: it is written and read once more.
fn renumber(policy: &mut Policy) {
    let written = policy.write();
    let read = Policy::parse(&written).or_else(|_| Policy::parse_odrl(&written));
    debug_assert!(read.is_ok(), "what is written can be read: {read:?}");
    if let Ok(read) = read {
        *policy = read;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{Containment, contained, explain, within};

    fn offer(constraints: Json) -> Json {
        json!({"@type": "Offer", "permission": [{"action": "use", "constraint": constraints}]})
    }

    fn c(left: &str, operator: &str, right: impl Into<Json>) -> Json {
        json!({"leftOperand": left, "operator": operator, "rightOperand": right.into()})
    }

    #[test]
    fn the_largest_terms_within_both() {
        let mut a = offer(json!([c("spatial", "isPartOf", "Europe"), c("count", "lteq", "10")]));
        a["obligation"] = json!([{"action": "attribute"}]);
        let mut b = offer(json!([
            c("spatial", "isPartOf", "EU"),
            c("dateTime", "lt", "2030-01-01T00:00:00Z"),
            c("count", "lteq", "20")
        ]));
        b["prohibition"] = json!([{"action": "distribute"}]);
        let (a, b) = (Policy::parse(&a).unwrap(), Policy::parse(&b).unwrap());
        let known = Hierarchy::shipped();
        let proposal = propose(&a, &b, &known).terms().unwrap();
        assert_eq!(
            explain::policy(&proposal),
            [
                "allowed: use, provided that the number of uses must be at most 10 and the place of use must lie within \
                 EU and the time must be before 2030-01-01T00:00:00Z",
                "forbidden: distribute",
                "required: attribute",
                "where the same action is both allowed and forbidden, nothing in these terms is allowed",
            ]
        );
        for whole in [&a, &b] {
            assert_eq!(within(&proposal, whole, &known), Containment::Within);
        }
    }

    #[test]
    fn nothing_in_common_is_no_proposal() {
        let known = Hierarchy::shipped();
        let a = Policy::parse(&offer(json!([c("count", "lt", "5")]))).unwrap();
        let b = Policy::parse(&offer(json!([c("count", "gteq", "5")]))).unwrap();
        assert_eq!(propose(&a, &b, &known), Proposal::Nothing);
        let sale = Policy::parse(&json!({"permission": [{"action": "sell"}]})).unwrap();
        assert_eq!(propose(&a, &sale, &known), Proposal::Nothing);
    }

    #[test]
    fn nothing_is_proposed_but_where_something_is_known_to_fit() {
        let mut known = Hierarchy::shipped();
        known
            .load(&json!({"areas": {"urn:ghent": [3.6, 51.0, 3.8, 51.1], "urn:oslo": [10.4, 59.8, 11.0, 60.0]}}))
            .unwrap();
        let of = |left: &str, one: (&str, Json), other: (&str, Json)| {
            let policy =
                |(operator, right): (&str, Json)| Policy::parse(&offer(json!([c(left, operator, right)])));
            propose(&policy(one).unwrap(), &policy(other).unwrap(), &known)
        };
        let monitoring = || ("isA", json!("urn:concordat:purpose:environmental-monitoring"));
        let time = |time: &str| json!({"@value": time, "@type": "xsd:time"});
        let area = |wkt: &str| json!({"@value": wkt, "@type": "geo:wktLiteral"});
        for (left, one, other) in [
            ("purpose", monitoring(), ("eq", json!("urn:concordat:purpose:advertising"))),
            ("purpose", monitoring(), ("eq", json!("https://w3id.org/dpv#Marketing"))),
            ("spatial", ("isPartOf", json!("BE")), ("eq", json!("http://data.europa.eu/nuts/code/FR1"))),
            ("spatial", ("isPartOf", json!("urn:ghent")), ("isPartOf", json!("urn:oslo"))),
            ("spatial", ("isPartOf", json!("urn:oslo")), ("isPartOf", area("ENVELOPE(2, 7, 52, 49)"))),
            ("spatial", ("isPartOf", area("POINT(4 50)")), ("isPartOf", area("ENVELOPE(5, 7, 52, 49)"))),
            ("dateTime", ("lteq", json!("2026-01-01Z")), ("gteq", json!("2026-01-02T00:00:00Z"))),
            ("dateTime", ("lt", time("06:00:00Z")), ("gteq", time("18:00:00Z"))),
            ("elapsedTime", ("lt", json!("P1D")), ("gt", json!("P2D"))),
            ("count", ("gt", json!("1")), ("lt", json!("2"))),
            ("assignee", ("isAnyOf", json!(["did:web:a", "did:web:b"])), ("eq", json!("did:web:c"))),
        ] {
            assert_eq!(of(left, one, other), Proposal::Nothing, "{left}");
        }
        for (left, one, other) in [
            ("purpose", monitoring(), ("eq", json!("urn:x:unheard-of"))),
            ("spatial", ("isPartOf", json!("urn:x:here")), ("isPartOf", json!("urn:x:there"))),
            ("industry", ("eq", json!("urn:x:a")), ("isA", json!("urn:x:b"))),
        ] {
            assert_eq!(of(left, one, other), Proposal::Unknown, "{left}");
        }
        for (left, one, other) in [
            ("purpose", monitoring(), ("eq", json!("urn:concordat:purpose:noise-monitoring"))),
            ("spatial", ("isPartOf", json!("EU")), ("isAnyOf", json!(["BE", "GB"]))),
            // A set may have both.
            ("urn:concordat:role", ("eq", json!("auditor")), ("eq", json!("agency"))),
        ] {
            assert!(of(left, one, other).terms().is_some(), "{left}");
        }
    }

    #[test]
    fn what_a_prohibition_would_take_back_is_no_proposal() {
        let holding = json!({"conflict": "perm", "permission": [{"action": "use"}], "prohibition": [{"action": "use"}]});
        let plain = json!({"permission": [{"action": "use"}], "prohibition": [{"action": "sell"}]});
        let (holding, plain) = (Policy::parse(&holding).unwrap(), Policy::parse(&plain).unwrap());
        assert_eq!(propose(&holding, &plain, &Hierarchy::shipped()), Proposal::Unknown);
    }

    #[test]
    fn an_equal_policy_is_its_own_proposal() {
        let known = Hierarchy::shipped();
        let policy = Policy::parse(&offer(
            json!([c("count", "lt", "5"), {"or": [c("spatial", "eq", "BE"), c("spatial", "eq", "FR")]}]),
        ))
        .unwrap();
        let proposal = propose(&policy, &policy, &known).terms().unwrap();
        assert!(crate::same_terms(&proposal, &policy));
        assert_eq!(contained(&policy, &proposal, &known), Some(true));
    }
}
