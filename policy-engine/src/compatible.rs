//! Can two policies meet? Is there a state of the world that satisfies the constraints of both, is there none, or
//! does what is known not decide?
//!
//! The constraints become alternatives; in each, every operand is decided by itself ([`crate::satisfy`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::action::covers;
use crate::alternatives::{
    Alternative, Literal, MAX_ALTERNATIVES, Wanted, all, every, meet, negated_all, product, some,
};
use crate::compare::{alike, keeps_duty, treatment_gaps};
use crate::duty::is_due_later;
use crate::evaluate::conflicts;
use crate::explain;
use crate::hierarchy::Hierarchy;
use crate::lowered::lowered;
use crate::model::{ANY_ACTION, About, Atomic, Conflict, Constraint, Logical, Operator, Policy, Rule, Value};
use crate::operand::{self, is_issuer};
use crate::satisfy::{DONE, Possible, satisfiable};
use crate::treatment::is_transform;

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

/// A rule as comparisons see it: everything that must hold for it to apply, its party and asset included. What is done to
/// the data holds wherever it can be done at all, and is compared by itself.
pub(crate) struct Clause<'p> {
    pub rule: &'p Rule,
    pub action: &'p str,
    /// In the forms of [`lowered`].
    pub conditions: Vec<Constraint>,
    /// The same in the same order, as the policy has them.
    pub written: Vec<Constraint>,
}

/// The permissions and the prohibitions of a policy that take something away from them.
pub(crate) fn clauses<'p>(policy: &'p Policy, known: &Hierarchy) -> (Vec<Clause<'p>>, Vec<Clause<'p>>) {
    let of = |rules: &'p [Rule]| rules.iter().map(|rule| clause(policy, rule, known)).collect::<Vec<_>>();
    let prohibitions = if policy.conflict == Conflict::Perm { Vec::new() } else { of(&policy.prohibitions) };
    (of(&policy.permissions), prohibitions)
}

pub(crate) fn clause<'p>(policy: &Policy, rule: &'p Rule, known: &Hierarchy) -> Clause<'p> {
    let named = |left: &str, operator, id: &str, path: String| {
        Constraint::Atomic(Atomic {
            path,
            about: About::Use,
            left: left.to_owned(),
            operand: operand::find(left),
            unit: None,
            status: None,
            assumed_utc: false,
            operator,
            right: vec![Value::Term(id.to_owned())],
        })
    };
    let mut written: Vec<_> = rule.conditions().filter(|one| !is_transform(one)).cloned().collect();
    let stands_for_all = |left: &str, id: &str| {
        if left == "assignee" { known.is_everyone(id) } else { known.is_everything(id) }
    };
    for (left, whole, own) in
        [("assignee", &policy.assignee, &rule.assignee), ("target", &policy.target, &rule.target)]
    {
        // One that has parts is a collection, and its members are meant.
        let whole = whole.as_ref().filter(|id| !stands_for_all(left, id)).map(|id| {
            let operator = if known.has_parts(id) { Operator::IsPartOf } else { Operator::Eq };
            named(left, operator, id, format!("/{left}"))
        });
        let own = own.as_ref().and_then(|scope| scope.id.as_ref()).filter(|id| !stands_for_all(left, id));
        let own = own.map(|id| named(left, Operator::IsPartOf, id, format!("{}/{left}", rule.path)));
        written.extend(whole.into_iter().chain(own));
    }
    let conditions = written.iter().map(|one| lowered(one, known)).collect();
    Clause { rule, action: &rule.action, conditions, written }
}

/// Whether some use is permitted by both policies.
///
/// Permissions meet where their actions overlap; a prohibition of either that covers the action must not apply.
pub fn compatible(a: &Policy, b: &Policy, known: &Hierarchy) -> Compatibility {
    if let Some(why) = [a, b].into_iter().find_map(|policy| undecided(policy, known)) {
        return Compatibility::Unknown(vec![why]);
    }
    let voids = [void(a, known), void(b, known)].concat();
    let ((a, not_a), (b, not_b)) = (clauses(a, known), clauses(b, known));
    let mut clashes = Vec::new();
    let mut missing = Vec::new();
    for one in &a {
        for other in &b {
            let action = if covers(one.action, other.action, known) {
                other.action
            } else if covers(other.action, one.action, known) {
                one.action
            } else {
                clashes.push(format!(
                    "{} and {} are different actions",
                    explain::quoted(one.action),
                    explain::quoted(other.action)
                ));
                continue;
            };
            let forbidden = not_a.iter().chain(&not_b).filter(|rule| covers(rule.action, action, known));
            let forbidden =
                forbidden.map(|rule| rule.conditions.as_slice()).chain(voids.iter().map(Vec::as_slice));
            let Some(alternatives) = meet(&one.conditions, &other.conditions, forbidden) else {
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

/// Why nothing can be said of a policy at all.
fn undecided(policy: &Policy, known: &Hierarchy) -> Option<String> {
    if !policy.kind.is_decided() {
        return Some(format!("nothing is decided under a policy of the class `{}`", policy.kind.term()));
    }
    let profile = policy.profiles.iter().find(|one| !known.knows_profile(one));
    profile.map(|profile| format!("the profile {} is not known", explain::quoted(profile)))
}

/// What makes a policy void: the conditions of a permission and a prohibition that clash.
fn void(policy: &Policy, known: &Hierarchy) -> Vec<Vec<Constraint>> {
    if policy.conflict != Conflict::Invalid || policy.permissions.len() < 2 {
        return Vec::new();
    }
    let pairs = conflicts(policy, known);
    let conditions = |rule: &Rule| clause(policy, rule, known).conditions;
    pairs
        .map(|(permission, prohibition)| [conditions(permission), conditions(prohibition)].concat())
        .collect()
}

/// Whether every use that `a` permits is one that `b` permits: `Some(true)` and `Some(false)` are proven, `None` is
/// not decided by what is known. A use has one purpose, one place and so on; one for several is as many uses. What must be
/// done (duties, obligations) is a condition like any other: where `b` demands what `a` does not, somebody who does not do
/// it may use under `a`. Facts may be missing, and what is done to the data must leave no more.
#[must_use]
pub fn contained(a: &Policy, b: &Policy, known: &Hierarchy) -> Option<bool> {
    if [a, b].into_iter().any(|policy| undecided(policy, known).is_some() || issuer_in_choice(policy)) {
        return None;
    }
    let (a, b) = alike(a, b);
    let (a, b) = (a.as_ref(), b.as_ref());
    let must = Duties::of(a, b, known);
    let (mut of_a, not_a) = clauses(a, known);
    let (mut of_b, not_b) = clauses(b, known);
    for (policy, clauses) in [(a, &mut of_a), (b, &mut of_b)] {
        for clause in clauses.iter_mut() {
            let duties = policy.obligations.iter().chain(&clause.rule.duties);
            clause.conditions.extend(duties.flat_map(|duty| must.conditions(duty)));
        }
    }
    let voids = (void(a, known), void(b, known));
    let mut decided = true;
    for wish in &of_a {
        // The action itself, and each narrower one that a rule speaks of.
        let narrower = of_b.iter().chain(&not_a).chain(&not_b).map(|rule| rule.action);
        let narrower = narrower.filter(|action| covers(wish.action, action, known));
        let actions: BTreeSet<&str> = narrower.chain([wish.action]).collect();
        let takes = |offer: &&Clause<'_>| {
            (offer.action != ANY_ACTION || wish.action == ANY_ACTION)
                && treatment_gaps(wish.rule, offer.rule, known).is_empty()
        };
        let offers: Vec<&Clause<'_>> = of_b.iter().filter(takes).collect();
        for action in actions {
            match escapes(action, wish, (&not_a, &offers, &not_b), (&voids.0, &voids.1), known) {
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
    wish: &Clause<'_>,
    (not_a, b, not_b): (&[Clause<'_>], &[&Clause<'_>], &[Clause<'_>]),
    (void_a, void_b): (&[Vec<Constraint>], &[Vec<Constraint>]),
    known: &Hierarchy,
) -> Possible {
    let speaks = |rule: &&Clause<'_>| covers(rule.action, action, known);
    // Not permitted: no permission is known to hold, or a prohibition may.
    let mut outside: Option<Vec<Alternative<'_>>> = Some(vec![Vec::new()]);
    for offer in b.iter().copied().filter(speaks) {
        outside =
            outside.and_then(|so_far| product(&so_far, some(&offer.conditions, Wanted::NotTrue)?.as_slice()));
    }
    let forbidding = not_b.iter().filter(speaks).map(|rule| &rule.conditions).chain(void_b);
    for conditions in forbidding {
        outside = outside.and_then(|mut so_far| {
            so_far.extend(every(conditions, Wanted::NotFalse)?);
            (so_far.len() <= MAX_ALTERNATIVES).then_some(so_far)
        });
    }
    let mut inside = all(&wish.conditions);
    let taken_back = not_a.iter().filter(speaks).map(|rule| &rule.conditions).chain(void_a);
    for conditions in taken_back {
        inside = inside.and_then(|so_far| product(&so_far, negated_all(conditions)?.as_slice()));
    }
    let both = inside.zip(outside).and_then(|(inside, outside)| product(&inside, &outside));
    both.map_or(Possible::Maybe, |both| decide(&both, known).0)
}

/// The duties of two policies, and which is kept where another one is kept.
struct Duties<'p> {
    all: Vec<(&'p Rule, Vec<usize>)>,
}

impl<'p> Duties<'p> {
    fn of(a: &'p Policy, b: &'p Policy, known: &Hierarchy) -> Self {
        // An obligation never stands before the use; a permission's duty may.
        let own = |policy: &'p Policy| {
            let duties = policy.permissions.iter().flat_map(|rule| &rule.duties);
            let obliged = policy.obligations.iter().map(|duty| (duty, true));
            obliged.chain(duties.map(|duty| (duty, is_due_later(duty))))
        };
        let all: Vec<(&Rule, bool)> = own(a).chain(own(b)).collect();
        let kept_with = |(duty, later): &(&'p Rule, bool)| {
            let kept = all.iter().enumerate().filter(|(_, (other, other_later))| {
                std::ptr::eq(*duty, *other) || (*other_later || !*later) && keeps_duty(duty, other, known)
            });
            kept.map(|(place, _)| place).collect()
        };
        Self { all: all.iter().map(|duty| (duty.0, kept_with(duty))).collect() }
    }

    /// That `duty` does not stand in the way, and none of those that are kept with it: each a fact of its own.
    fn conditions(&self, duty: &Rule) -> Vec<Constraint> {
        let found = self.all.iter().find(|(own, _)| std::ptr::eq(*own, duty));
        let places = found.map(|(_, places)| places.as_slice()).unwrap_or_default();
        let condition = |place: &usize| {
            Constraint::Atomic(Atomic {
                path: duty.path.clone(),
                about: About::Duty,
                left: format!("{DONE}{place}"),
                operand: None,
                unit: None,
                status: None,
                assumed_utc: false,
                operator: Operator::Eq,
                right: vec![Value::Term("done".to_owned())],
            })
        };
        places.iter().map(condition).collect()
    }
}

/// Whether a choice asks who issued a credential: that is the credential of the claims beside it there, which comparisons
/// of alternatives do not see.
fn issuer_in_choice(policy: &Policy) -> bool {
    fn asks(constraint: &Constraint, in_choice: bool) -> bool {
        match constraint {
            Constraint::Atomic(atomic) => in_choice && is_issuer(atomic.operand),
            Constraint::Logical { logical, parts } => {
                let here = in_choice || matches!(logical, Logical::Or | Logical::Xone);
                parts.iter().any(|part| asks(part, here))
            }
        }
    }
    policy.rules().flat_map(Rule::conditions).any(|one| asks(one, false))
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

    /// The truth of a constraint at a point, without any of the code above; `None` where it is not known.
    fn truth(constraint: &Json, point: &dyn Fn(&str) -> Option<f64>) -> Option<bool> {
        for logical in ["and", "andSequence", "or", "xone"] {
            if let Some(parts) = constraint[logical].as_array() {
                let said: Vec<_> = parts.iter().map(|part| truth(part, point)).collect();
                let count = |what| said.iter().filter(|one| **one == what).count();
                let (held, open) = (count(Some(true)), count(None));
                return match logical {
                    "or" if held > 0 => Some(true),
                    "xone" if held > 1 => Some(false),
                    "or" | "xone" if open > 0 => None,
                    "or" => Some(false),
                    "xone" => Some(held == 1),
                    _ if count(Some(false)) > 0 => Some(false),
                    _ => (open == 0).then_some(true),
                };
            }
        }
        let value = point(constraint["leftOperand"].as_str().unwrap())?;
        let number = |json: &Json| json["@value"].as_str().unwrap().parse::<f64>().unwrap();
        let right = &constraint["rightOperand"];
        let among = || right.as_array().unwrap().iter().any(|one| number(one) == value);
        Some(match constraint["operator"].as_str().unwrap() {
            "eq" => value == number(right),
            "neq" => value != number(right),
            "lt" => value < number(right),
            "lteq" => value <= number(right),
            "gt" => value > number(right),
            "gteq" => value >= number(right),
            "isAnyOf" => among(),
            _ => !among(),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Held against brute force over a grid that reaches into every interval, and where nothing is stated.
        #[test]
        fn verdicts_are_sound_and_decided(a in prop::collection::vec(constraint(), 0..3), b in prop::collection::vec(constraint(), 0..3)) {
            let (pa, pb) = (policy(json!(a)), policy(json!(b)));
            let grid: Vec<Option<f64>> = (0..10).map(|n| Some(f64::from(n) / 2.0)).chain([None]).collect();
            let at = |list: &[Json], x: Option<f64>, y: Option<f64>| {
                list.iter().all(|one| truth(one, &|left| if left == "percentage" { x } else { y }) == Some(true))
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
