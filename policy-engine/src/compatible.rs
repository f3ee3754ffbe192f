//! Can two policies meet? Is there a state of the world that satisfies the constraints of both, is there none, or
//! does what is known not decide?
//!
//! The constraints become alternatives (disjunctive normal form); in each, the operands are independent of one
//! another. Numbers and instants are decided exactly, by trying a point in every interval that the bounds cut out.
//! Terms are decided in an open world: two that are neither ordered nor declared disjoint may or may not overlap.

use std::collections::{BTreeMap, BTreeSet};

use crate::evaluate::covers;
use crate::explain;
use crate::hierarchy::{Hierarchy, Relation};
use crate::model::{Atomic, Constraint, Logical, Operator, Policy, Rule, Value};

/// Most alternatives that are looked at; beyond them the answer is `Unknown`.
const MAX_ALTERNATIVES: usize = 4096;

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

/// Three-valued: whether something can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Possible {
    No,
    Maybe,
    Yes,
}

/// An atomic constraint, wanted true or false.
#[derive(Debug, Clone, Copy)]
struct Literal<'a> {
    atomic: &'a Atomic,
    wanted: bool,
}

type Alternative<'a> = Vec<Literal<'a>>;

/// Whether some use is permitted by both policies.
///
/// Permissions meet where their actions overlap; a prohibition of either that covers the action must not apply.
pub fn compatible(a: &Policy, b: &Policy, known: &Hierarchy) -> Compatibility {
    if let Some(rule) = a.scoped_rule().or_else(|| b.scoped_rule()) {
        return Compatibility::Unknown(vec![scoped(rule)]);
    }
    let mut clashes = Vec::new();
    let mut missing = Vec::new();
    for one in &a.permissions {
        for other in &b.permissions {
            let action = if covers(&one.action, &other.action) {
                &other.action
            } else if covers(&other.action, &one.action) {
                &one.action
            } else {
                clashes.push(format!("`{}` and `{}` are different actions", one.action, other.action));
                continue;
            };
            let forbidden =
                a.prohibitions.iter().chain(&b.prohibitions).filter(|rule| covers(&rule.action, action));
            let Some(alternatives) =
                meet(&one.constraints, &other.constraints, forbidden.map(|rule| &rule.constraints[..]))
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
/// not decided by what is known.
#[must_use]
pub fn contained(a: &Policy, b: &Policy, known: &Hierarchy) -> Option<bool> {
    if a.scoped_rule().or_else(|| b.scoped_rule()).is_some() {
        return None;
    }
    let mut decided = true;
    for wish in &a.permissions {
        let offers: Vec<_> = b.permissions.iter().filter(|rule| covers(&rule.action, &wish.action)).collect();
        // Outside of b: no offer covers it, or a prohibition of b applies.
        let mut outside: Option<Vec<Alternative<'_>>> = Some(vec![Vec::new()]);
        for offer in &offers {
            outside =
                outside.and_then(|so_far| product(&so_far, negated_all(&offer.constraints)?.as_slice()));
        }
        for rule in b.prohibitions.iter().filter(|rule| covers(&rule.action, &wish.action)) {
            outside = outside.and_then(|mut so_far| {
                so_far.extend(all(&rule.constraints)?);
                (so_far.len() <= MAX_ALTERNATIVES).then_some(so_far)
            });
        }
        let mut inside = all(&wish.constraints);
        for rule in a.prohibitions.iter().filter(|rule| covers(&rule.action, &wish.action)) {
            inside = inside.and_then(|so_far| product(&so_far, negated_all(&rule.constraints)?.as_slice()));
        }
        let both = inside.zip(outside).and_then(|(inside, outside)| product(&inside, &outside));
        match both.map(|both| decide(&both, known).0) {
            Some(Possible::Yes) => return Some(false),
            Some(Possible::No) => {}
            Some(Possible::Maybe) | None => decided = false,
        }
    }
    decided.then_some(true)
}

/// Why policies with such a rule are not compared.
pub(crate) fn scoped(rule: &Rule) -> String {
    format!("`{}` has a party or an asset of its own, which is not compared", rule.path)
}

fn dedup(list: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    list.retain(|one| seen.insert(one.clone()));
}

/// The alternatives in which both lists hold and no prohibition does; `None` where there are too many.
fn meet<'a>(
    a: &'a [Constraint],
    b: &'a [Constraint],
    forbidden: impl Iterator<Item = &'a [Constraint]>,
) -> Option<Vec<Alternative<'a>>> {
    let mut found = product(&all(a)?, &all(b)?)?;
    for rule in forbidden {
        found = product(&found, &negated_all(rule)?)?;
    }
    Some(found)
}

fn all(constraints: &[Constraint]) -> Option<Vec<Alternative<'_>>> {
    constraints.iter().try_fold(vec![Vec::new()], |so_far, one| product(&so_far, &alternatives(one, true)?))
}

fn negated_all(constraints: &[Constraint]) -> Option<Vec<Alternative<'_>>> {
    let mut found = Vec::new();
    for one in constraints {
        found.extend(alternatives(one, false)?);
    }
    (found.len() <= MAX_ALTERNATIVES).then_some(found)
}

fn alternatives(constraint: &Constraint, wanted: bool) -> Option<Vec<Alternative<'_>>> {
    let (logical, parts) = match constraint {
        Constraint::Atomic(atomic) => return Some(vec![vec![Literal { atomic, wanted }]]),
        Constraint::Logical { logical, parts } => (*logical, parts.as_slice()),
    };
    match (logical, wanted) {
        (Logical::And | Logical::AndSequence, true) => all(parts),
        (Logical::And | Logical::AndSequence, false) => negated_all(parts),
        (Logical::Or, true) => union(parts, true),
        (Logical::Or, false) => conjunction(parts, None),
        (Logical::Xone, true) => {
            let mut found = Vec::new();
            for holds in 0..parts.len() {
                found.extend(conjunction(parts, Some(holds))?);
            }
            (found.len() <= MAX_ALTERNATIVES).then_some(found)
        }
        (Logical::Xone, false) => {
            // None holds, or two do.
            let mut found = conjunction(parts, None)?;
            for (place, first) in parts.iter().enumerate() {
                for second in parts.iter().skip(place + 1) {
                    found.extend(product(&alternatives(first, true)?, &alternatives(second, true)?)?);
                }
            }
            (found.len() <= MAX_ALTERNATIVES).then_some(found)
        }
    }
}

fn union(parts: &[Constraint], wanted: bool) -> Option<Vec<Alternative<'_>>> {
    let mut found = Vec::new();
    for part in parts {
        found.extend(alternatives(part, wanted)?);
    }
    (found.len() <= MAX_ALTERNATIVES).then_some(found)
}

/// All parts false, but for the one in place `holds`.
fn conjunction(parts: &[Constraint], holds: Option<usize>) -> Option<Vec<Alternative<'_>>> {
    parts.iter().enumerate().try_fold(vec![Vec::new()], |so_far, (place, part)| {
        product(&so_far, &alternatives(part, holds == Some(place))?)
    })
}

fn product<'a>(a: &[Alternative<'a>], b: &[Alternative<'a>]) -> Option<Vec<Alternative<'a>>> {
    if a.len().checked_mul(b.len())? > MAX_ALTERNATIVES {
        return None;
    }
    Some(
        a.iter()
            .flat_map(|one| b.iter().map(move |other| [one.as_slice(), other.as_slice()].concat()))
            .collect(),
    )
}

/// The best that any alternative can be, and why it is no better.
fn decide(alternatives: &[Alternative<'_>], known: &Hierarchy) -> (Possible, Vec<String>) {
    let mut best = Possible::No;
    let mut clashes = Vec::new();
    let mut missing = Vec::new();
    for alternative in alternatives {
        let mut by_operand: BTreeMap<&str, Vec<Literal<'_>>> = BTreeMap::new();
        for literal in alternative {
            by_operand.entry(fact_name(&literal.atomic.left)).or_default().push(*literal);
        }
        let mut here = Possible::Yes;
        let mut open = Vec::new();
        for literals in by_operand.values() {
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

/// `assignee`, `participant` and `recipient` are one fact.
fn fact_name(left: &str) -> &str {
    if ["participant", "recipient"].contains(&left) { "assignee" } else { left }
}

fn in_words(literal: &Literal<'_>) -> String {
    let text = format!("{} (`{}`)", explain::atomic(literal.atomic), literal.atomic.path);
    if literal.wanted { text } else { format!("not: {text}") }
}

/// Whether one value of the operand can satisfy all literals about it.
fn satisfiable(literals: &[Literal<'_>], known: &Hierarchy) -> Possible {
    let values: Vec<&Value> = literals.iter().flat_map(|literal| &literal.atomic.right).collect();
    let numbers: Option<Vec<f64>> = values
        .iter()
        .map(|value| match value {
            Value::Number(number) => Some(*number),
            _ => None,
        })
        .collect();
    if let Some(numbers) = numbers {
        return numeric(literals, numbers);
    }
    let instants: Option<Vec<i128>> = values
        .iter()
        .map(|value| match value {
            Value::Instant(instant) => Some(instant.as_nanosecond()),
            _ => None,
        })
        .collect();
    if let Some(instants) = instants {
        return temporal(literals, instants);
    }
    if values.iter().all(|value| matches!(value, Value::Term(_))) {
        terms(literals, known)
    } else {
        Possible::Maybe
    }
}

/// Tries every bound, a point between each two, and one beyond each end.
fn numeric(literals: &[Literal<'_>], mut bounds: Vec<f64>) -> Possible {
    let left = literals.first().map_or("", |literal| literal.atomic.left.as_str());
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    let mut points = Vec::new();
    for pair in bounds.windows(2) {
        if let [low, high] = pair {
            points.push(low + (high - low) / 2.0);
        }
    }
    points.extend(bounds.first().map(|low| low - 1.0));
    points.extend(bounds.first().map(|low| low / 2.0));
    points.extend(bounds.last().map(|high| high + 1.0));
    points.extend(&bounds);
    let nonnegative = is_nonnegative(left);
    if nonnegative {
        points.push(0.0);
    }
    points.retain(|point| !nonnegative || *point >= 0.0);
    let fits = |point: &f64| {
        literals.iter().all(|literal| {
            holds_ordered(literal.atomic, |right| match right {
                Value::Number(number) => point.partial_cmp(number),
                _ => None,
            }) == Some(literal.wanted)
        })
    };
    if literals.iter().any(|literal| !is_ordered(literal.atomic.operator)) {
        return Possible::Maybe;
    }
    if points.iter().any(fits) { Possible::Yes } else { Possible::No }
}

fn temporal(literals: &[Literal<'_>], mut bounds: Vec<i128>) -> Possible {
    if literals.iter().any(|literal| !is_ordered(literal.atomic.operator)) {
        return Possible::Maybe;
    }
    bounds.sort_unstable();
    // Instants are whole nanoseconds, so the neighbours of each bound reach into every interval.
    let points: Vec<i128> = bounds.iter().flat_map(|bound| [bound - 1, *bound, bound + 1]).collect();
    let fits = |point: &i128| {
        literals.iter().all(|literal| {
            holds_ordered(literal.atomic, |right| match right {
                Value::Instant(instant) => Some(point.cmp(&instant.as_nanosecond())),
                _ => None,
            }) == Some(literal.wanted)
        })
    };
    if points.iter().any(fits) { Possible::Yes } else { Possible::No }
}

const fn is_ordered(operator: Operator) -> bool {
    operator.is_ordering()
        || matches!(operator, Operator::Eq | Operator::Neq | Operator::IsAnyOf | Operator::IsNoneOf)
}

/// What an operator says of a single ordered value.
fn holds_ordered(atomic: &Atomic, compare: impl Fn(&Value) -> Option<std::cmp::Ordering>) -> Option<bool> {
    let orders: Option<Vec<_>> = atomic.right.iter().map(compare).collect();
    let orders = orders?;
    let any = |test: fn(std::cmp::Ordering) -> bool| orders.iter().any(|order| test(*order));
    Some(match atomic.operator {
        Operator::Eq | Operator::IsAnyOf => any(std::cmp::Ordering::is_eq),
        Operator::Neq | Operator::IsNoneOf => !any(std::cmp::Ordering::is_eq),
        Operator::Gt => any(std::cmp::Ordering::is_gt),
        Operator::Gteq => any(std::cmp::Ordering::is_ge),
        Operator::Lt => any(std::cmp::Ordering::is_lt),
        Operator::Lteq => any(std::cmp::Ordering::is_le),
        Operator::HasPart | Operator::IsA | Operator::IsAllOf | Operator::IsPartOf => return None,
    })
}

/// Sizes, counts and amounts cannot be below zero; places and temperatures can.
fn is_nonnegative(left: &str) -> bool {
    let local = left.rsplit(['#', '/', ':']).next().unwrap_or(left);
    ["absoluteSize", "count", "percentage", "payAmount", "resolution"]
        .iter()
        .any(|prefix| local.starts_with(prefix))
}

fn terms(literals: &[Literal<'_>], known: &Hierarchy) -> Possible {
    let named = |literal: &Literal<'_>| -> Vec<String> {
        let terms = literal.atomic.right.iter().filter_map(|value| match value {
            Value::Term(term) => Some(term.clone()),
            Value::Instant(_) | Value::Number(_) => None,
        });
        terms.collect()
    };
    let fits = |candidate: &str| {
        literals.iter().map(|literal| term_holds(candidate, literal, known)).min().unwrap_or(Possible::Yes)
    };
    // A literal that names the value exactly leaves only its own terms to try.
    let pin = literals.iter().find(|literal| {
        literal.wanted && matches!(literal.atomic.operator, Operator::Eq | Operator::IsAnyOf)
    });
    if let Some(pin) = pin {
        return named(pin).iter().map(|candidate| fits(candidate)).max().unwrap_or(Possible::No);
    }
    // A named value that is known to fit is a witness.
    let candidates = known.terms().map(str::to_owned).chain(literals.iter().flat_map(named));
    if candidates.into_iter().any(|candidate| fits(&candidate) == Possible::Yes) {
        return Possible::Yes;
    }
    // One that nobody has named yet may fit, unless it would have to lie within two terms that share nothing.
    let within: Vec<&str> = literals
        .iter()
        .filter(|literal| {
            literal.wanted && matches!(literal.atomic.operator, Operator::IsA | Operator::IsPartOf)
        })
        .filter_map(|literal| match literal.atomic.right.as_slice() {
            [Value::Term(term)] => Some(term.as_str()),
            _ => None,
        })
        .collect();
    let apart = within.iter().enumerate().any(|(place, one)| {
        within.iter().skip(place + 1).any(|other| known.relation(one, other) == Relation::Disjoint)
    });
    if apart { Possible::No } else { Possible::Maybe }
}

/// Whether the value `candidate` satisfies a literal.
fn term_holds(candidate: &str, literal: &Literal<'_>, known: &Hierarchy) -> Possible {
    let each = |test: fn(Relation) -> Possible| {
        literal.atomic.right.iter().map(move |value| match value {
            Value::Term(term) => test(known.relation(candidate, term)),
            _ => Possible::Maybe,
        })
    };
    let same = |relation| match relation {
        Relation::Same => Possible::Yes,
        Relation::Unrelated => Possible::Maybe,
        Relation::Broader | Relation::Disjoint | Relation::Narrower => Possible::No,
    };
    let below = |relation| match relation {
        Relation::Same | Relation::Narrower => Possible::Yes,
        Relation::Unrelated => Possible::Maybe,
        Relation::Broader | Relation::Disjoint => Possible::No,
    };
    let above = |relation| match relation {
        Relation::Same | Relation::Broader => Possible::Yes,
        Relation::Unrelated => Possible::Maybe,
        Relation::Narrower | Relation::Disjoint => Possible::No,
    };
    let any = |found: Option<Possible>| found.unwrap_or(Possible::No);
    let truth = match literal.atomic.operator {
        Operator::Eq | Operator::IsAnyOf => any(each(same).max()),
        Operator::Neq | Operator::IsNoneOf => not(any(each(same).max())),
        Operator::IsAllOf => each(same).min().unwrap_or(Possible::Yes),
        Operator::IsA | Operator::IsPartOf => any(each(below).max()),
        Operator::HasPart => each(above).min().unwrap_or(Possible::Yes),
        Operator::Gt | Operator::Gteq | Operator::Lt | Operator::Lteq => Possible::Maybe,
    };
    if literal.wanted { truth } else { not(truth) }
}

const fn not(possible: Possible) -> Possible {
    match possible {
        Possible::No => Possible::Yes,
        Possible::Maybe => Possible::Maybe,
        Possible::Yes => Possible::No,
    }
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
            prop::sample::select(vec!["count", "absoluteSize"]),
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
                list.iter().all(|one| truth(one, &|left| if left == "count" { x } else { y }))
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
