//! Is what is asked within what is offered, and if not, which clause stands in the way.
//!
//! Sound, not complete: `Within` is only said when every world the asked terms allow is one the offered terms
//! allow; where that cannot be shown, the answer is a gap that names the clause.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::action::covers;
use crate::compatible::clause;
use crate::duty::is_due_later;
use crate::evaluate::conflicts;
use crate::explain;
use crate::hierarchy::Hierarchy;
use crate::lowered::lowered;
use crate::model::{Atomic, Conflict, Constraint, Logical, Operator, Policy, Rule, Scope, Value};
use crate::operand::{is_issuer, is_set};
use crate::operators::{always, holds};
use crate::treatment::{Treatment, is_transform};

/// Whether asked terms lie inside offered ones.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Containment {
    /// Every use asked for is one that is offered, and every restriction offered is kept.
    Within,
    /// The clauses that are missing or wider than offered; never empty.
    Outside(Vec<Gap>),
}

impl Containment {
    /// All gaps as one line, `None` when within.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Within => None,
            Self::Outside(gaps) => {
                Some(gaps.iter().map(|gap| gap.text.as_str()).collect::<Vec<_>>().join("; "))
            }
        }
    }
}

/// One clause that is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// JSON pointer of the clause, in the offer, or in the request when the offer has nothing of the kind.
    pub clause: String,
    /// One sentence that says what is offered and what is asked.
    pub text: String,
}

/// Whether `asked` lies within `offered`.
///
/// - Each permission asked for needs a permission offered that covers its action, whose every constraint follows
///   from the constraints asked, whose duties are kept, and under which no less is done to the data.
/// - Each prohibition and obligation offered must be kept, at least as wide.
pub fn within(asked: &Policy, offered: &Policy, known: &Hierarchy) -> Containment {
    let (asked, offered) = alike(asked, offered);
    let (asked, offered) = (asked.as_ref(), offered.as_ref());
    let mut gaps = strangers(asked, offered, known);
    if asked.conflict == Conflict::Perm
        && offered.conflict != Conflict::Perm
        && !offered.prohibitions.is_empty()
    {
        gaps.push(Gap {
            clause: "/conflict".to_owned(),
            text: "the request lets permissions hold against the offer's prohibitions".to_owned(),
        });
    }
    for wish in &asked.permissions {
        let mut candidates =
            offered.permissions.iter().filter(|rule| covers(&rule.action, &wish.action, known)).peekable();
        if candidates.peek().is_none() {
            gaps.push(Gap {
                clause: wish.path.clone(),
                text: format!(
                    "the action {} (`{}` of the request) is not offered",
                    explain::quoted(&wish.action),
                    wish.path
                ),
            });
            continue;
        }
        let mut best: Option<Vec<Gap>> = None;
        for rule in candidates {
            let missing = permission_gaps((asked, wish), (offered, rule), known);
            if best.as_ref().is_none_or(|found| missing.len() < found.len()) {
                best = Some(missing);
            }
        }
        gaps.extend(best.unwrap_or_default());
    }
    for (word, kept, rules) in [
        ("prohibition", &asked.prohibitions, &offered.prohibitions),
        ("obligation", &asked.obligations, &offered.obligations),
    ] {
        for rule in rules {
            let keeps = |own: &Rule| {
                if word == "prohibition" {
                    forbids((asked, own), (offered, rule), known)
                } else {
                    keeps_duty(own, rule, known)
                }
            };
            if !kept.iter().any(keeps) {
                gaps.push(Gap {
                    clause: rule.path.clone(),
                    text: format!("the offer's {word} `{}` is not kept: {}", rule.path, explain::rule(rule)),
                });
            }
        }
    }
    // Where a permission and a prohibition of the offer clash, all of it is void: so it must be for the request.
    if offered.conflict == Conflict::Invalid {
        for (permission, prohibition) in conflicts(offered, known) {
            let kept = asked.conflict == Conflict::Invalid
                && asked.permissions.iter().any(|own| same_rule(own, permission))
                && asked.prohibitions.iter().any(|own| same_rule(own, prohibition));
            if !kept && offered.permissions.len() > 1 {
                gaps.push(Gap {
                    clause: prohibition.path.clone(),
                    text: format!(
                        "the offer is void where its `{}` and `{}` both apply, and the request does not keep both",
                        permission.path, prohibition.path
                    ),
                });
            }
        }
    }
    if asked.permissions.is_empty() && gaps.is_empty() {
        gaps.push(Gap {
            clause: "/permission".to_owned(),
            text: "the request asks for no permission".to_owned(),
        });
    }
    if gaps.is_empty() { Containment::Within } else { Containment::Outside(gaps) }
}

/// Two policies that name parties and assets in the same way: where a rule of either names its own, every rule of both does.
pub(crate) fn alike<'p>(a: &'p Policy, b: &'p Policy) -> (Cow<'p, Policy>, Cow<'p, Policy>) {
    let own = |policy: &Policy| {
        policy.rules().any(|rule| rule.assigner.is_some() || rule.assignee.is_some() || rule.target.is_some())
    };
    if own(a) || own(b) {
        (Cow::Owned(spread(a)), Cow::Owned(spread(b)))
    } else {
        (Cow::Borrowed(a), Cow::Borrowed(b))
    }
}

/// The policy with what it names for all its rules at each of them.
fn spread(policy: &Policy) -> Policy {
    let named = |id: &Option<String>| id.clone().map(|id| Scope { id: Some(id), refinements: Vec::new() });
    let (assigner, assignee, target) =
        (named(&policy.assigner), named(&policy.assignee), named(&policy.target));
    let mut spread = Policy { assigner: None, assignee: None, target: None, ..policy.clone() };
    let rules = spread.permissions.iter_mut().chain(&mut spread.prohibitions).chain(&mut spread.obligations);
    for rule in rules {
        rule.assigner = rule.assigner.take().or_else(|| assigner.clone());
        rule.assignee = rule.assignee.take().or_else(|| assignee.clone());
        rule.target = rule.target.take().or_else(|| target.clone());
    }
    spread
}

/// Policies that nothing is decided under: of another class, or of a profile that is not known.
fn strangers(asked: &Policy, offered: &Policy, known: &Hierarchy) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for (policy, word) in [(asked, "request"), (offered, "offer")] {
        if !policy.kind.is_decided() {
            let text = format!(
                "the {word} is of the class `{}`, which is neither offered nor agreed to",
                policy.kind.term()
            );
            gaps.push(Gap { clause: "/@type".to_owned(), text });
        }
        for profile in policy.profiles.iter().filter(|one| !known.knows_profile(one)) {
            let text = format!(
                "the {word} uses the profile {}, which this node does not know",
                explain::quoted(profile)
            );
            gaps.push(Gap { clause: "/profile".to_owned(), text });
        }
    }
    gaps
}

/// Whether two policies have the same permissions, prohibitions and obligations, order aside.
#[must_use]
pub fn same_terms(a: &Policy, b: &Policy) -> bool {
    a.conflict == b.conflict
        && a.profiles == b.profiles
        && same_rules(&a.permissions, &b.permissions)
        && same_rules(&a.prohibitions, &b.prohibitions)
        && same_rules(&a.obligations, &b.obligations)
}

fn same_rules(a: &[Rule], b: &[Rule]) -> bool {
    let count = |rules: &[Rule], wanted: &Rule| rules.iter().filter(|rule| same_rule(rule, wanted)).count();
    a.len() == b.len() && a.iter().all(|rule| count(a, rule) == count(b, rule))
}

/// Whether two rules say the same, wherever they stand.
pub(crate) fn same_rule(a: &Rule, b: &Rule) -> bool {
    let treatments = (Treatment::of(a), Treatment::of(b));
    let summed = treatments.0.is_some() && treatments.1.is_some();
    let plain = |one: &&Constraint| !(summed && is_transform(one));
    let (of_a, of_b): (Vec<_>, Vec<_>) =
        (a.conditions().filter(plain).collect(), b.conditions().filter(plain).collect());
    let among = |one: &Constraint, all: &[&Constraint]| all.iter().any(|other| same_constraint(one, other));
    same_head(a, b)
        && (!summed || treatments.0 == treatments.1)
        && of_a.len() == of_b.len()
        && of_a.iter().all(|one| among(one, &of_b))
        && of_b.iter().all(|one| among(one, &of_a))
        && same_rules(&a.duties, &b.duties)
        && same_rules(&a.consequences, &b.consequences)
        && same_rules(&a.remedies, &b.remedies)
}

/// Whether two rules are about the same action, asset and parties.
fn same_head(a: &Rule, b: &Rule) -> bool {
    let scopes = |rule: &Rule| {
        let id = |scope: &Option<Scope>| scope.as_ref().and_then(|scope| scope.id.clone());
        [&rule.assigner, &rule.assignee, &rule.target].map(id)
    };
    let functions = |rule: &Rule| {
        let mut named: Vec<_> =
            rule.functions.iter().map(|(function, party)| (function.clone(), party.id.clone())).collect();
        named.sort();
        named
    };
    a.action == b.action && scopes(a) == scopes(b) && functions(a) == functions(b)
}

/// Whether doing the duty `own` is doing `wanted`, and in time wherever that is: its conditions follow.
pub(crate) fn keeps_duty(own: &Rule, wanted: &Rule, known: &Hierarchy) -> bool {
    let conditions = |rule: &Rule| rule.conditions().map(|one| lowered(one, known)).collect::<Vec<_>>();
    let given = conditions(own);
    same_rule(own, wanted)
        || same_head(own, wanted)
            && conditions(wanted).iter().all(|one| entails(&given, one, known))
            // What waits until a time is not the same as what is done before it.
            && own.conditions().all(|one| one.atoms().iter().all(|atom| {
                matches!(atom.operator, Operator::Lt | Operator::Lteq)
                    || wanted.conditions().any(|other| same_constraint(one, other))
            }))
            && same_rules(&own.consequences, &wanted.consequences)
}

pub(crate) fn same_constraint(a: &Constraint, b: &Constraint) -> bool {
    match (a, b) {
        (Constraint::Atomic(a), Constraint::Atomic(b)) => {
            a.left == b.left
                && a.about == b.about
                && a.unit == b.unit
                && a.status == b.status
                && a.operator == b.operator
                && a.right == b.right
        }
        (Constraint::Logical { logical: x, parts: a }, Constraint::Logical { logical: y, parts: b }) => {
            x == y && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_constraint(a, b))
        }
        _ => false,
    }
}

/// What stands between a permission asked for and one offered.
pub(crate) fn permission_gaps(
    (asked, wish): (&Policy, &Rule),
    (offered, rule): (&Policy, &Rule),
    known: &Hierarchy,
) -> Vec<Gap> {
    let mut gaps = treatment_gaps(wish, rule, known);
    let own = clause(asked, wish, known).conditions;
    let said_of = |left: &[&str]| {
        let about = |one: &&Constraint| operands(one).iter().any(|name| left.contains(name));
        let said: Vec<_> = wish.conditions().filter(about).map(explain::constraint).collect();
        if said.is_empty() { "nothing about it".to_owned() } else { said.join(" and ") }
    };
    let offered_clause = clause(offered, rule, known);
    for (one, written) in offered_clause.conditions.iter().zip(&offered_clause.written) {
        // An offer is about what it is negotiated for; a request need not repeat it.
        let of_policy = matches!(one, Constraint::Atomic(atomic) if atomic.path == "/target");
        if of_policy && asked.target.is_none() || entails(&own, one, known) {
            continue;
        }
        let index = rule.constraints.iter().position(|own| own == written);
        let path = match index {
            Some(index) => format!("{}/constraint/{index}", rule.path),
            None => written.atoms().first().map_or_else(|| rule.path.clone(), |atom| atom.path.clone()),
        };
        gaps.push(Gap {
            text: format!(
                "clause `{path}` of the offer says {}, the request says {}",
                explain::constraint(written),
                said_of(&operands(written))
            ),
            clause: path,
        });
    }
    for duty in &rule.duties {
        // What has time until later does not stand before the use, as what must be done before it does.
        let stands = |own: &Rule| is_due_later(duty) || !is_due_later(own);
        if !wish.duties.iter().any(|own| stands(own) && keeps_duty(own, duty, known)) {
            gaps.push(Gap {
                clause: duty.path.clone(),
                text: format!("the offer's duty `{}` is not kept: {}", duty.path, explain::rule(duty)),
            });
        }
    }
    gaps
}

/// What leaves under the permission asked for that does not follow from what leaves under the one offered.
pub(crate) fn treatment_gaps(wish: &Rule, rule: &Rule, known: &Hierarchy) -> Vec<Gap> {
    let said =
        |rule: &Rule| rule.refinements.iter().filter(|one| is_transform(one)).cloned().collect::<Vec<_>>();
    let gap = |text: String| Gap { clause: format!("{}/refinement", rule.path), text };
    match (Treatment::of(wish), Treatment::of(rule)) {
        (Some(own), Some(theirs)) => {
            let missing = own.gaps(&theirs, known);
            missing
                .into_iter()
                .map(|one| gap(format!("what is handed on would be more than offered: {one}")))
                .collect()
        }
        _ => {
            let (own, theirs) = (said(wish), said(rule));
            let same = own.len() == theirs.len()
                && own.iter().zip(&theirs).all(|(one, other)| same_constraint(one, other));
            if same {
                return Vec::new();
            }
            vec![gap("what is done to the data stands in a choice, or cannot be carried out, so it cannot be compared".to_owned())]
        }
    }
}

/// Whether a prohibition of the request is at least as wide as one of the offer, and made good no more easily.
fn forbids((asked, own): (&Policy, &Rule), (offered, rule): (&Policy, &Rule), known: &Hierarchy) -> bool {
    let given = clause(offered, rule, known).conditions;
    // An offer is about what it is negotiated for and made to whoever asks: naming both narrows nothing.
    let of_whole = |one: &Constraint| {
        matches!(one, Constraint::Atomic(atomic) if
            atomic.path == "/target" && offered.target.is_none()
                || atomic.path == "/assignee" && offered.assignee.is_none())
    };
    let mut own_conditions = clause(asked, own, known).conditions;
    own_conditions.retain(|one| !of_whole(one));
    covers(&own.action, &rule.action, known)
        && own_conditions.iter().all(|one| entails(&given, one, known))
        && same_rules(&own.remedies, &rule.remedies)
}

fn operands(constraint: &Constraint) -> Vec<&str> {
    constraint.atoms().into_iter().map(|atomic| atomic.left.as_str()).collect()
}

/// Whether `clause` holds in every world where all of `given` hold; where it says so, that is certain.
pub(crate) fn entails(given: &[Constraint], clause: &Constraint, known: &Hierarchy) -> bool {
    if let Constraint::Logical { logical, parts } = clause {
        let by_parts = match logical {
            Logical::And => parts.iter().all(|part| entails(given, part, known)),
            Logical::Or => parts.iter().any(|part| entails(given, part, known)),
            Logical::AndSequence | Logical::Xone => false,
        };
        if by_parts {
            return true;
        }
    }
    given.iter().any(|one| entails_one(one, clause, known))
}

fn entails_one(given: &Constraint, clause: &Constraint, known: &Hierarchy) -> bool {
    if same_constraint(given, clause) {
        return true;
    }
    match (given, clause) {
        (Constraint::Atomic(given), Constraint::Atomic(clause)) => {
            same_fact(given, clause) && atomic_entails(given, clause, known)
        }
        // In a choice, the issuer is that of the claims beside it there.
        (Constraint::Logical { logical: Logical::Or | Logical::Xone, .. }, Constraint::Atomic(clause))
            if is_issuer(clause.operand) =>
        {
            false
        }
        (Constraint::Logical { logical: Logical::And | Logical::AndSequence, parts }, _) => {
            entails(parts, clause, known)
        }
        (Constraint::Logical { logical: Logical::Or | Logical::Xone, parts }, _) => {
            parts.iter().all(|part| {
                entails_one(part, clause, known) || entails(std::slice::from_ref(part), clause, known)
            })
        }
        (Constraint::Atomic(_), Constraint::Logical { .. }) => false,
    }
}

/// `participant`, `recipient` and `assignee` are one fact: who gets the data.
pub(crate) fn same_fact(a: &Atomic, b: &Atomic) -> bool {
    let party = |atomic: &Atomic| atomic.operand.is_some_and(|operand| operand.name == "assignee");
    a.about == b.about
        && a.unit == b.unit
        && a.status == b.status
        && (a.left == b.left || party(a) && party(b))
}

/// As [`entails`], for two comparisons of one fact.
pub(crate) fn atomic_entails(given: &Atomic, clause: &Atomic, known: &Hierarchy) -> bool {
    use Operator::{Eq, Gt, Gteq, HasPart, IsA, IsAllOf, IsAnyOf, IsNoneOf, IsPartOf, Lt, Lteq, Neq};
    let Some(first) = given.right.first() else { return false };
    let is_set = is_set(given);
    let point = |fact: &Value| {
        holds(clause.operator, std::slice::from_ref(fact), &clause.right, is_set, known) == Some(true)
    };
    let bound = |test: fn(Ordering) -> bool| clause.right.iter().any(|right| always(first, right, test));
    match (given.operator, clause.operator) {
        // A set that has one member may have others.
        (Eq | Gt | Gteq | IsA | IsAllOf | IsAnyOf | IsPartOf | HasPart | Lt | Lteq, Neq | IsNoneOf)
            if is_set =>
        {
            false
        }
        // Every fact is among the values given, and each of these satisfies the clause on its own.
        (Eq | IsAnyOf, IsAllOf) => given.right.len() == 1 && clause.right.iter().all(|right| right == first),
        (Eq | IsAnyOf, _) => given.right.iter().all(point),
        // Upper bounds.
        (Lt, Lt | Lteq | Neq) | (Lteq, Lteq) => bound(Ordering::is_le),
        (Lteq, Lt | Neq) => bound(Ordering::is_lt),
        // Lower bounds.
        (Gt, Gt | Gteq | Neq) | (Gteq, Gteq) => bound(Ordering::is_ge),
        (Gteq, Gt | Neq) => bound(Ordering::is_gt),
        // Below a term is below everything broader.
        (IsA | IsPartOf, IsA | IsPartOf) => given.right.iter().all(point),
        // What has a part has the parts of that part.
        (HasPart, HasPart) => clause.right.iter().all(|right| {
            let part = |whole: &Value| {
                holds(IsPartOf, std::slice::from_ref(right), std::slice::from_ref(whole), false, known)
                    == Some(true)
            };
            given.right.iter().any(part)
        }),
        // Exclusions.
        (Neq | IsNoneOf, Neq | IsNoneOf) => clause.right.iter().all(|right| given.right.contains(right)),
        (IsAllOf, IsAllOf) => clause.right.iter().all(|right| given.right.contains(right)),
        // A set has each of these members.
        (IsAllOf, Eq | IsAnyOf | IsA | IsPartOf) if is_set => given.right.iter().any(point),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::evaluate::{Truth, all};
    use crate::world::{Facts, Request, Usage, World};

    fn offer(constraints: Json) -> Policy {
        Policy::parse(&json!({
            "@id": "urn:o", "@type": "Offer", "permission": [{"action": "use", "constraint": constraints}],
            "prohibition": [{"action": "distribute"}]
        }))
        .unwrap()
    }

    fn c(left: &str, operator: &str, right: impl Into<Json>) -> Json {
        json!({"leftOperand": left, "operator": operator, "rightOperand": right.into()})
    }

    fn outside(asked: &Policy, offered: &Policy) -> String {
        within(asked, offered, &Hierarchy::shipped()).reason().expect("outside")
    }

    #[test]
    fn a_purpose_not_offered_names_the_clause() {
        let offered = offer(json!([
            c("purpose", "eq", "urn:concordat:purpose:environmental-monitoring"),
            c("dateTime", "lteq", "2030-01-01T00:00:00Z")
        ]));
        let asked = offer(json!([
            c("purpose", "eq", "urn:concordat:purpose:advertising"),
            c("dateTime", "lteq", "2030-01-01T00:00:00Z")
        ]));
        assert_eq!(within(&offered, &offered, &Hierarchy::default()), Containment::Within);
        assert_eq!(
            outside(&asked, &offered),
            "clause `/permission/0/constraint/0` of the offer says the purpose must be environmental monitoring, \
             the request says the purpose must be `urn:concordat:purpose:advertising`"
        );
    }

    #[test]
    fn narrower_is_within_and_wider_is_not() {
        let offered =
            offer(json!([c("spatial", "isPartOf", "EU"), c("dateTime", "lt", "2030-01-01T00:00:00Z")]));
        let narrower =
            offer(json!([c("spatial", "eq", "BE"), c("dateTime", "lteq", "2029-12-31T00:00:00Z")]));
        let wider =
            offer(json!([c("spatial", "isPartOf", "Europe"), c("dateTime", "lteq", "2030-01-01T00:00:00Z")]));
        assert_eq!(within(&narrower, &offered, &Hierarchy::shipped()), Containment::Within);
        let Containment::Outside(gaps) = within(&wider, &offered, &Hierarchy::shipped()) else {
            panic!("wider")
        };
        assert_eq!(gaps.len(), 2);
    }

    #[test]
    fn restrictions_cannot_be_dropped() {
        let offered = offer(json!([]));
        let without =
            Policy::parse(&json!({"@id": "x", "@type": "Offer", "permission": [{"action": "use"}]})).unwrap();
        assert_eq!(
            outside(&without, &offered),
            "the offer's prohibition `/prohibition/0` is not kept: distribute"
        );
        let more = Policy::parse(&json!({"@id": "x", "@type": "Offer",
            "permission": [{"action": "use"}, {"action": "sell"}], "prohibition": [{"action": "use"}]}))
        .unwrap();
        assert_eq!(
            outside(&more, &offered),
            "the action `sell` (`/permission/1` of the request) is not offered"
        );
    }

    #[test]
    fn a_request_that_names_itself_and_the_dataset_is_within() {
        let offered = offer(json!([c("count", "lt", "5")]));
        let mut json = offered.write();
        json["target"] = json!("urn:dataset");
        json["assignee"] = json!("did:web:me");
        let asked = Policy::parse(&json).unwrap();
        assert_eq!(within(&asked, &offered, &Hierarchy::default()), Containment::Within);
    }

    #[test]
    fn same_terms_ignores_order_only() {
        let a = offer(json!([c("count", "lt", "5"), c("spatial", "eq", "BE")]));
        let b = offer(json!([c("spatial", "eq", "BE"), c("count", "lt", "5")]));
        let other = offer(json!([c("spatial", "eq", "BE"), c("count", "lt", "6")]));
        assert!(same_terms(&a, &b));
        assert!(!same_terms(&a, &other));
    }

    fn small_constraint() -> impl Strategy<Value = Json> {
        let number = (0..4u8).prop_map(|n| json!(n.to_string()));
        let term = prop::sample::select(vec!["BE", "FR", "GB", "EU", "Europe"]).prop_map(|t| json!(t));
        let numeric = (
            prop::sample::select(vec!["eq", "neq", "lt", "lteq", "gt", "gteq", "isAnyOf", "isNoneOf"]),
            number.clone(),
            number,
        )
            .prop_map(|(op, a, b)| match op {
                "isAnyOf" | "isNoneOf" => {
                    json!({"leftOperand": "count", "operator": op, "rightOperand": [a, b]})
                }
                _ => json!({"leftOperand": "count", "operator": op, "rightOperand": a}),
            });
        let spatial = (
            prop::sample::select(vec![
                "eq", "neq", "isPartOf", "isA", "hasPart", "isAnyOf", "isAllOf", "isNoneOf",
            ]),
            term.clone(),
            term,
        )
            .prop_map(|(op, a, b)| match op {
                "eq" | "neq" => json!({"leftOperand": "spatial", "operator": op, "rightOperand": a}),
                _ => json!({"leftOperand": "spatial", "operator": op, "rightOperand": [a, b]}),
            });
        let leaf = prop_oneof![numeric, spatial];
        leaf.prop_recursive(2, 8, 3, |inner| {
            (
                prop::sample::select(vec!["and", "or", "xone", "andSequence"]),
                prop::collection::vec(inner, 1..3),
            )
                .prop_map(|(op, parts)| json!({op: parts}))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Held against brute force over every small world: whatever the asked terms allow, the offered ones allow.
        #[test]
        fn within_is_sound(asked in prop::collection::vec(small_constraint(), 0..3), offered in prop::collection::vec(small_constraint(), 0..3)) {
            let (asked, offered) = (offer(json!(asked)), offer(json!(offered)));
            let known = Hierarchy::shipped();
            if within(&asked, &offered, &known) == Containment::Within {
                let request = Request { action: "read", party: "p", target: None };
                let places = ["BE", "FR", "GB", "EU", "Europe", "US"];
                for count in 0..5 {
                    for mask in 1..(1u32 << places.len()) {
                        let mut facts = Facts::default();
                        for (_, place) in places.iter().enumerate().filter(|(i, _)| mask & (1 << i) != 0) {
                            facts.state("spatial", &json!(place)).unwrap();
                        }
                        let usage = Usage { count: Some(count), ..Usage::default() };
                        let world = World { stated: &facts, usage, ..World::at(jiff::Timestamp::UNIX_EPOCH, &known) };
                        let holds = |policy: &Policy| all(policy.permissions[0].constraints.iter(), &request, &world) == Truth::True;
                        prop_assert!(!holds(&asked) || holds(&offered), "count {count}, places {:?}", facts);
                    }
                }
            }
        }

        /// Terms always contain themselves, whatever they are.
        #[test]
        fn within_is_reflexive(terms in prop::collection::vec(small_constraint(), 0..4)) {
            let policy = offer(json!(terms));
            prop_assert_eq!(within(&policy, &policy, &Hierarchy::shipped()), Containment::Within);
            prop_assert!(same_terms(&policy, &policy));
        }
    }
}
