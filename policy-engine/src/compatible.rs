//! Can two policies meet? Is there a state of the world that satisfies the constraints of both, is there none, or
//! does what is known not decide?
//!
//! The constraints become alternatives; in each, every operand is decided by itself ([`crate::satisfy`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::action::covers;
use crate::alternatives::{Alternative, Literal, MAX_ALTERNATIVES, all, meet, negated_all, product};
use crate::explain;
use crate::hierarchy::Hierarchy;
use crate::model::{About, Atomic, Conflict, Constraint, Operator, Policy, Rule, Value};
use crate::operand;
use crate::satisfy::{Possible, satisfiable};

/// Whether two policies can be satisfied at once.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compatibility {
    /// Some state of the world satisfies both.
    Compatible,
    /// None does; the clauses that clash, one sentence each.
    Conflict(Vec<String>),
    /// What is known does not decide; what is missing, one sentence each.
    Unknown(Vec<String>),
}

/// A rule as comparisons see it: everything that must hold for it to apply, its party and asset included.
pub(crate) struct Clause {
    pub action: String,
    pub conditions: Vec<Constraint>,
}

/// The permissions and the prohibitions of a policy that take something away from them.
pub(crate) fn clauses(policy: &Policy) -> (Vec<Clause>, Vec<Clause>) {
    let of = |rules: &[Rule]| rules.iter().map(|rule| clause(policy, rule)).collect::<Vec<_>>();
    let prohibitions = if policy.conflict == Conflict::Perm { Vec::new() } else { of(&policy.prohibitions) };
    (of(&policy.permissions), prohibitions)
}

pub(crate) fn clause(policy: &Policy, rule: &Rule) -> Clause {
    let named = |left: &str, operator, id: &str, path: String| {
        Constraint::Atomic(Atomic {
            path,
            about: About::Use,
            left: left.to_owned(),
            operand: operand::find(left),
            unit: None,
            operator,
            right: vec![Value::Term(id.to_owned())],
        })
    };
    let mut conditions: Vec<_> = rule.conditions().cloned().collect();
    for (left, whole, own) in
        [("assignee", &policy.assignee, &rule.assignee), ("target", &policy.target, &rule.target)]
    {
        let whole = whole.as_ref().map(|id| named(left, Operator::Eq, id, format!("/{left}")));
        let own = own.as_ref().and_then(|scope| scope.id.as_ref());
        let own = own.map(|id| named(left, Operator::IsPartOf, id, format!("{}/{left}", rule.path)));
        conditions.extend(whole.into_iter().chain(own));
    }
    Clause { action: rule.action.clone(), conditions }
}

/// Whether some use is permitted by both policies.
///
/// Permissions meet where their actions overlap; a prohibition of either that covers the action must not apply.
pub fn compatible(a: &Policy, b: &Policy, known: &Hierarchy) -> Compatibility {
    let ((a, not_a), (b, not_b)) = (clauses(a), clauses(b));
    let mut clashes = Vec::new();
    let mut missing = Vec::new();
    for one in &a {
        for other in &b {
            let action = if covers(&one.action, &other.action, known) {
                &other.action
            } else if covers(&other.action, &one.action, known) {
                &one.action
            } else {
                clashes.push(format!("`{}` and `{}` are different actions", one.action, other.action));
                continue;
            };
            let forbidden = not_a.iter().chain(&not_b).filter(|rule| covers(&rule.action, action, known));
            let Some(alternatives) =
                meet(&one.conditions, &other.conditions, forbidden.map(|rule| &rule.conditions[..]))
            else {
                missing.push(format!("more than {MAX_ALTERNATIVES} alternatives"));
                continue;
            };
            match decide(&alternatives, known) {
                (Possible::Yes, _) => return Compatibility::Compatible,
                (Possible::Maybe, why) => missing.extend(why),
                (Possible::No, why) => clashes.extend(why),
            }
        }
    }
    dedup(&mut clashes);
    dedup(&mut missing);
    if !missing.is_empty() {
        return Compatibility::Unknown(missing);
    }
    if clashes.is_empty() {
        clashes.push("one of the policies permits nothing".to_owned());
    }
    Compatibility::Conflict(clashes)
}

/// Whether every use that `a` permits is one that `b` permits: `Some(true)` and `Some(false)` are proven, `None` is
/// not decided by what is known. A use has one purpose, one place and so on here; [`crate::within`] is stricter.
#[must_use]
pub fn contained(a: &Policy, b: &Policy, known: &Hierarchy) -> Option<bool> {
    let ((a, not_a), (b, not_b)) = (clauses(a), clauses(b));
    let mut decided = true;
    for wish in &a {
        // The action itself, and each narrower one that a rule speaks of.
        let narrower = b.iter().chain(&not_a).chain(&not_b).map(|rule| rule.action.as_str());
        let narrower = narrower.filter(|action| covers(&wish.action, action, known));
        let actions: BTreeSet<&str> = narrower.chain([wish.action.as_str()]).collect();
        for action in actions {
            match escapes(action, wish, (&not_a, &b, &not_b), known) {
                Possible::Yes => return Some(false),
                Possible::No => {}
                Possible::Maybe => decided = false,
            }
        }
    }
    decided.then_some(true)
}

/// Whether some use `action` that `wish` permits, and no prohibition beside it takes back, is not permitted by the rules
/// of the other policy.
fn escapes(
    action: &str,
    wish: &Clause,
    (not_a, b, not_b): (&[Clause], &[Clause], &[Clause]),
    known: &Hierarchy,
) -> Possible {
    let speaks = |rule: &&Clause| covers(&rule.action, action, known);
    let mut outside: Option<Vec<Alternative<'_>>> = Some(vec![Vec::new()]);
    for offer in b.iter().filter(speaks) {
        outside = outside.and_then(|so_far| product(&so_far, negated_all(&offer.conditions)?.as_slice()));
    }
    for rule in not_b.iter().filter(speaks) {
        outside = outside.and_then(|mut so_far| {
            so_far.extend(all(&rule.conditions)?);
            (so_far.len() <= MAX_ALTERNATIVES).then_some(so_far)
        });
    }
    let mut inside = all(&wish.conditions);
    for rule in not_a.iter().filter(speaks) {
        inside = inside.and_then(|so_far| product(&so_far, negated_all(&rule.conditions)?.as_slice()));
    }
    let both = inside.zip(outside).and_then(|(inside, outside)| product(&inside, &outside));
    both.map_or(Possible::Maybe, |both| decide(&both, known).0)
}

fn dedup(list: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    list.retain(|one| seen.insert(one.clone()));
}

/// One fact: what it is about, its name, its unit.
pub(crate) type FactName<'a> = (About, &'a str, Option<&'a str>);

/// The literals of an alternative by the fact that they are about; `participant` and `recipient` are the assignee, and
/// the action's fact is the use's.
pub(crate) fn by_fact<'a>(alternative: &[Literal<'a>]) -> BTreeMap<FactName<'a>, Vec<Literal<'a>>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for literal in alternative {
        let atomic = literal.atomic;
        let about = if atomic.about == About::Action { About::Use } else { atomic.about };
        let left = match atomic.operand {
            Some(operand) if operand.name == "assignee" => operand.name,
            _ => atomic.left.as_str(),
        };
        groups.entry((about, left, atomic.unit.as_deref())).or_default().push(*literal);
    }
    groups
}

/// The best that any alternative can be, and why it is no better.
pub(crate) fn decide(alternatives: &[Alternative<'_>], known: &Hierarchy) -> (Possible, Vec<String>) {
    let mut best = Possible::No;
    let mut clashes = Vec::new();
    let mut missing = Vec::new();
    for alternative in alternatives {
        let mut here = Possible::Yes;
        let mut open = Vec::new();
        for literals in by_fact(alternative).values() {
            let possible = satisfiable(literals, known);
            if possible == Possible::No {
                clashes.push(literals.iter().map(in_words).collect::<Vec<_>>().join(", but "));
            } else if possible == Possible::Maybe {
                open.push(format!(
                    "it is not known whether {} go together",
                    literals.iter().map(in_words).collect::<Vec<_>>().join(" and ")
                ));
            }
            here = here.min(possible);
        }
        match here {
            Possible::Yes => return (Possible::Yes, Vec::new()),
            Possible::Maybe => missing.extend(open),
            Possible::No => {}
        }
        best = best.max(here);
    }
    (best, if best == Possible::Maybe { missing } else { clashes })
}

fn in_words(literal: &Literal<'_>) -> String {
    let text = format!("{} (`{}`)", explain::atomic(literal.atomic), literal.atomic.path);
    if literal.wanted { text } else { format!("not: {text}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;

    fn policy(constraints: Json) -> Policy {
        Policy::parse(&json!({"@type": "Set", "permission": [{"action": "use", "constraint": constraints}]}))
            .unwrap()
    }

    fn constraint() -> impl Strategy<Value = Json> {
        let leaf = (
            prop::sample::select(vec!["percentage", "absoluteSize"]),
            prop::sample::select(vec!["eq", "neq", "lt", "lteq", "gt", "gteq", "isAnyOf", "isNoneOf"]),
            0..4u8,
            0..4u8,
        )
            .prop_map(|(left, operator, a, b)| {
                let number = |n: u8| json!({"@value": n.to_string(), "@type": "xsd:decimal"});
                let right =
                    if operator.starts_with("is") { json!([number(a), number(b)]) } else { number(a) };
                json!({"leftOperand": left, "operator": operator, "rightOperand": right})
            });
        leaf.prop_recursive(2, 8, 3, |inner| {
            (
                prop::sample::select(vec!["and", "or", "xone", "andSequence"]),
                prop::collection::vec(inner, 1..3),
            )
                .prop_map(|(logical, parts)| json!({logical: parts}))
        })
    }

    /// The truth of a constraint at a point, without any of the code above.
    fn truth(constraint: &Json, point: &dyn Fn(&str) -> f64) -> bool {
        for logical in ["and", "andSequence", "or", "xone"] {
            if let Some(parts) = constraint[logical].as_array() {
                let held = parts.iter().filter(|part| truth(part, point)).count();
                return match logical {
                    "or" => held > 0,
                    "xone" => held == 1,
                    _ => held == parts.len(),
                };
            }
        }
        let value = point(constraint["leftOperand"].as_str().unwrap());
        let number = |json: &Json| json["@value"].as_str().unwrap().parse::<f64>().unwrap();
        let right = &constraint["rightOperand"];
        let among = || right.as_array().unwrap().iter().any(|one| number(one) == value);
        match constraint["operator"].as_str().unwrap() {
            "eq" => value == number(right),
            "neq" => value != number(right),
            "lt" => value < number(right),
            "lteq" => value <= number(right),
            "gt" => value > number(right),
            "gteq" => value >= number(right),
            "isAnyOf" => among(),
            _ => !among(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Held against brute force over a grid that reaches into every interval.
        #[test]
        fn verdicts_are_sound_and_decided(a in prop::collection::vec(constraint(), 0..3), b in prop::collection::vec(constraint(), 0..3)) {
            let (pa, pb) = (policy(json!(a)), policy(json!(b)));
            let grid: Vec<f64> = (0..10).map(|n| f64::from(n) / 2.0).collect();
            let at = |list: &[Json], x: f64, y: f64| {
                list.iter().all(|one| truth(one, &|left| if left == "percentage" { x } else { y }))
            };
            let points = || grid.iter().flat_map(|x| grid.iter().map(move |y| (*x, *y)));
            let meets = points().any(|(x, y)| at(&a, x, y) && at(&b, x, y));
            let verdict = compatible(&pa, &pb, &Hierarchy::default());
            prop_assert_eq!(matches!(verdict, Compatibility::Compatible), meets, "{:?}", verdict);
            let within = points().all(|(x, y)| !at(&a, x, y) || at(&b, x, y));
            prop_assert_eq!(contained(&pa, &pb, &Hierarchy::default()), Some(within));
        }
    }

    #[test]
    fn a_conflict_names_the_clauses_that_clash() {
        let size = |operator: &str, n: &str| json!([{"leftOperand": "count", "operator": operator, "rightOperand": n}]);
        let Compatibility::Conflict(why) =
            compatible(&policy(size("lt", "5")), &policy(size("gteq", "5")), &Hierarchy::default())
        else {
            panic!("a conflict")
        };
        assert_eq!(
            why,
            [
                "the number of uses must be less than 5 (`/permission/0/constraint/0`), but the number of uses must be at \
              least 5 (`/permission/0/constraint/0`)"
            ]
        );
        let other = Policy::parse(&json!({"@type": "Set", "permission": [{"action": "sell"}]})).unwrap();
        assert!(matches!(
            compatible(&policy(json!([])), &other, &Hierarchy::default()),
            Compatibility::Conflict(_)
        ));
    }

    #[test]
    fn prohibitions_take_away() {
        let before = |kind: &str, time: &str| {
            json!({"action": "use", "constraint": [
            {"leftOperand": "dateTime", "operator": if kind == "permission" { "lt" } else { "gteq" }, "rightOperand": time}]})
        };
        let one = Policy::parse(
            &json!({"@type": "Set", "permission": [before("permission", "2030-01-01T00:00:00Z")],
            "prohibition": [before("prohibition", "2029-01-01T00:00:00Z")]}),
        )
        .unwrap();
        let after = |time: &str| {
            policy(json!([{"leftOperand": "dateTime", "operator": "gteq", "rightOperand": time}]))
        };
        let known = Hierarchy::default();
        assert_eq!(compatible(&one, &after("2028-06-01T00:00:00Z"), &known), Compatibility::Compatible);
        assert!(matches!(
            compatible(&one, &after("2029-06-01T00:00:00Z"), &known),
            Compatibility::Conflict(_)
        ));
    }
}
