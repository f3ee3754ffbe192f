//! What is done to the data on the way, as a whole, and its order: which terms hand on no more than others.
//!
//! `a` lies within `b` where all that leaves under `a` follows from what leaves under `b`, whatever the data: an addition
//! that tells more is never within. docs/policies.md has the order of each transformation.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::compare::atomic_entails;
use crate::decimal::Decimal;
use crate::explain::quoted;
use crate::hierarchy::Hierarchy;
use crate::model::{About, Atomic, Constraint, Operator, Rule, Value};
use crate::transform::{MINIMUM_GROUP, PREFIX, Summary, Transform};

/// Members in which rows may say where they are, where no columns are named.
const GEOMETRIES: [&str; 3] = ["geom", "geometry", "location"];

/// All that a permission demands of the data.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Treatment {
    keep: Option<BTreeSet<String>>,
    drop: BTreeSet<String>,
    rows: Vec<Atomic>,
    changes: BTreeMap<String, Vec<Coarse>>,
    pseudonyms: BTreeSet<String>,
    groups: Option<Groups>,
}

/// How a value is made coarser, in the order in which that is done.
#[derive(Debug, Clone, PartialEq)]
enum Coarse {
    Round(Decimal),
    Shorten(usize),
    Truncate(SignedDuration),
}

/// Rows brought together.
#[derive(Debug, Clone, PartialEq)]
struct Groups {
    time: String,
    interval: SignedDuration,
    by: BTreeSet<String>,
    told: BTreeSet<(Summary, String)>,
    minimum: u64,
}

/// Whether a constraint is about what is done to the data.
pub(crate) fn is_transform(constraint: &Constraint) -> bool {
    constraint.atoms().iter().any(|atom| atom.left.starts_with(PREFIX))
}

impl Treatment {
    /// What the refinements of a rule demand; `None` where that is no sum of its parts: one of them stands in a choice, or
    /// cannot be carried out.
    pub(crate) fn of(rule: &Rule) -> Option<Self> {
        let mut whole = Self::default();
        let (mut time, mut minimum) = (None::<(String, SignedDuration)>, None::<u64>);
        let (mut by, mut told) = (BTreeSet::new(), BTreeSet::new());
        for constraint in rule.refinements.iter().filter(|one| is_transform(one)) {
            let Constraint::Atomic(atomic) = constraint else { return None };
            match Transform::of(atomic).ok()?? {
                Transform::Keep(names) => {
                    let names: BTreeSet<String> = names.into_iter().collect();
                    whole.keep = Some(match whole.keep.take() {
                        None => names,
                        Some(before) => before.intersection(&names).cloned().collect(),
                    });
                }
                Transform::Drop(names) => whole.drop.extend(names),
                Transform::Where { .. } | Transform::Place { .. } => whole.rows.push(atomic.clone()),
                Transform::Round { column, step } => whole.change(column, Coarse::Round(Decimal::of(step)?)),
                Transform::Truncate { column, step } => whole.change(column, Coarse::Truncate(step)),
                Transform::Shorten { column, length } => whole.change(column, Coarse::Shorten(length)),
                Transform::Pseudonymise(names) => whole.pseudonyms.extend(names),
                Transform::Aggregate { time: column, interval } => {
                    // As the data plane has it: the last column, the longest interval.
                    let longest = time.as_ref().map_or(interval, |(_, before)| interval.max(*before));
                    time = Some((column, longest));
                }
                Transform::Group(names) => by.extend(names),
                Transform::Tell(summary, names) => told.extend(names.into_iter().map(|name| (summary, name))),
                Transform::MinimumGroup(rows) => minimum = Some(minimum.map_or(rows, |one| one.max(rows))),
            }
        }
        whole.groups = match time {
            Some((time, interval)) => {
                Some(Groups { time, interval, by, told, minimum: minimum.unwrap_or(MINIMUM_GROUP) })
            }
            None if by.is_empty() && told.is_empty() && minimum.is_none() => None,
            None => return None,
        };
        Some(whole)
    }

    fn change(&mut self, column: String, change: Coarse) {
        let list = self.changes.entry(column).or_default();
        match (list.last_mut(), change) {
            (Some(Coarse::Shorten(before)), Coarse::Shorten(length)) => *before = length.min(*before),
            (_, change) => list.push(change),
        }
    }

    /// What stands in the way of all that leaves under `self` following from what leaves under `other`; empty where
    /// nothing does.
    pub(crate) fn gaps(&self, other: &Self, known: &Hierarchy) -> Vec<String> {
        let mut gaps = self.rows_gaps(other, known);
        match (&self.groups, &other.groups) {
            (None, None) => gaps.extend(self.column_gaps(other)),
            (Some(groups), None) => {
                for column in groups.columns() {
                    if !other.hands_on(column) {
                        gaps.push(format!(
                            "{} is brought into groups, and is not handed on otherwise",
                            quoted(column)
                        ));
                    }
                    gaps.extend(self.value_gap(other, column));
                }
            }
            (None, Some(_)) => gaps.push("single rows are handed on, not groups".to_owned()),
            (Some(own), Some(theirs)) => gaps.extend(self.group_gaps(own, other, theirs)),
        }
        gaps
    }

    fn column_gaps(&self, other: &Self) -> Vec<String> {
        let mut gaps = Vec::new();
        match (&self.keep, &other.keep) {
            (None, Some(_)) => gaps.push("all columns are handed on, not some".to_owned()),
            (Some(own), Some(_)) => {
                let more = own.iter().filter(|name| !other.keeps(name) && self.hands_on(name));
                gaps.extend(more.map(|name| format!("{} is handed on besides", quoted(name))));
            }
            (_, None) => {}
        }
        let left_in = other.drop.iter().filter(|name| !self.hides(name));
        gaps.extend(left_in.map(|name| format!("{} is not left out", quoted(name))));
        let treated: BTreeSet<&String> = other.changes.keys().chain(&other.pseudonyms).collect();
        let shown = treated.into_iter().filter(|column| !self.hides(column));
        gaps.extend(shown.filter_map(|column| self.value_gap(other, column)));
        gaps
    }

    /// Whether rows are a part of the other's, chosen by what the other shows.
    fn rows_gaps(&self, other: &Self, known: &Hierarchy) -> Vec<String> {
        let mut gaps = Vec::new();
        for wanted in &other.rows {
            if !self.rows.iter().any(|own| chooses_within(own, wanted, known)) {
                gaps.push(format!(
                    "rows are not chosen as they are there: {}",
                    crate::explain::atomic(wanted)
                ));
            }
        }
        for own in self.rows.iter().filter(|own| !other.rows.iter().any(|one| same_choice(own, one))) {
            let columns = columns_of(own);
            let shown = |name: &str| {
                other.hands_on(name) && !other.changes.contains_key(name) && !other.pseudonyms.contains(name)
            };
            // Of groups, another choice of rows makes others, which do not follow from them.
            if other.groups.is_some() || !columns.iter().all(|name| shown(name)) {
                gaps.push(format!(
                    "rows are chosen by what is not shown otherwise: {}",
                    crate::explain::atomic(own)
                ));
            }
        }
        gaps
    }

    fn group_gaps(&self, own: &Groups, other: &Self, theirs: &Groups) -> Vec<String> {
        let mut gaps = Vec::new();
        if own.time != theirs.time || own.interval != theirs.interval {
            gaps.push("groups are by other intervals".to_owned());
        }
        if own.by != theirs.by {
            gaps.push("groups are by other columns".to_owned());
        }
        if own.minimum < theirs.minimum {
            gaps.push(format!("groups of {} rows are told, not of {} at least", own.minimum, theirs.minimum));
        }
        for (summary, name) in own.told.difference(&theirs.told) {
            gaps.push(format!("the {} of {} is told besides", summary.word(), quoted(name)));
        }
        // What groups are made of must be the same.
        for column in own.columns() {
            let same = self.changes.get(column) == other.changes.get(column)
                && self.pseudonyms.contains(column) == other.pseudonyms.contains(column);
            if !same {
                gaps.push(format!(
                    "{} is made coarse otherwise before it is brought into groups",
                    quoted(column)
                ));
            }
        }
        for name in own.names() {
            let told =
                !self.drop.contains(&name) && self.keep.as_ref().is_none_or(|keep| keep.contains(&name));
            let there =
                !other.drop.contains(&name) && other.keep.as_ref().is_none_or(|keep| keep.contains(&name));
            if told && !there {
                gaps.push(format!("{} is told besides", quoted(&name)));
            }
        }
        gaps
    }

    /// What of a column's values does not follow from what the other shows of them.
    fn value_gap(&self, other: &Self, column: &str) -> Option<String> {
        let nothing = Vec::new();
        let own = self.changes.get(column).unwrap_or(&nothing);
        let theirs = other.changes.get(column).unwrap_or(&nothing);
        if other.pseudonyms.contains(column) {
            let same = self.pseudonyms.contains(column) && own == theirs;
            return (!same).then(|| format!("{} is not hidden behind the same pseudonym", quoted(column)));
        }
        let follows = own.starts_with(theirs)
            || match (own.as_slice(), theirs.as_slice()) {
                ([one], [other]) => one.follows_from(other),
                _ => false,
            };
        (!follows).then(|| format!("{} is not made as coarse", quoted(column)))
    }

    fn keeps(&self, name: &str) -> bool {
        self.keep.as_ref().is_none_or(|keep| keep.iter().any(|one| is_part(name, one)))
    }

    /// Whether all of a column is handed on, in rows.
    fn hands_on(&self, name: &str) -> bool {
        let touched = |one: &String| is_part(name, one) || is_part(one, name);
        self.keeps(name) && !self.drop.iter().any(touched)
    }

    /// Whether nothing of a column is handed on.
    fn hides(&self, name: &str) -> bool {
        let kept = |one: &String| is_part(name, one) || is_part(one, name);
        self.drop.iter().any(|one| is_part(name, one))
            || self.keep.as_ref().is_some_and(|keep| !keep.iter().any(kept))
    }

    /// The largest treatment within both; `None` where none is known.
    pub(crate) fn both(&self, other: &Self, known: &Hierarchy) -> Option<Self> {
        let keep = match (&self.keep, &other.keep) {
            (None, one) | (one, None) => one.clone(),
            (Some(a), Some(b)) => {
                let inside = |some: &BTreeSet<String>, all: &BTreeSet<String>| {
                    let part = |name: &&String| all.iter().any(|one| is_part(name, one));
                    some.iter().filter(part).cloned().collect::<BTreeSet<_>>()
                };
                let shared: BTreeSet<String> = inside(a, b).union(&inside(b, a)).cloned().collect();
                Some(shared).filter(|names| !names.is_empty())
            }
        };
        if keep.is_none() && (self.keep.is_some() || other.keep.is_some()) {
            return None;
        }
        let mut rows = self.rows.clone();
        rows.extend(
            other.rows.iter().filter(|one| !self.rows.iter().any(|own| same_choice(own, one))).cloned(),
        );
        let mut changes = self.changes.clone();
        for (column, theirs) in &other.changes {
            let coarser = match changes.get(column) {
                None => theirs,
                Some(own) if self.value_gap(other, column).is_none() => own,
                Some(_) if other.value_gap(self, column).is_none() => theirs,
                Some(_) => return None,
            };
            let coarser = coarser.clone();
            changes.insert(column.clone(), coarser);
        }
        let groups = match (&self.groups, &other.groups) {
            (None, one) | (one, None) => one.clone(),
            (Some(a), Some(b)) if a.time == b.time && a.interval == b.interval && a.by == b.by => {
                Some(Groups {
                    told: a.told.intersection(&b.told).cloned().collect(),
                    minimum: a.minimum.max(b.minimum),
                    ..a.clone()
                })
            }
            (Some(_), Some(_)) => return None,
        };
        let both = Self {
            keep,
            drop: self.drop.union(&other.drop).cloned().collect(),
            rows,
            changes,
            pseudonyms: self.pseudonyms.union(&other.pseudonyms).cloned().collect(),
            groups,
        };
        (both.gaps(self, known).is_empty() && both.gaps(other, known).is_empty()).then_some(both)
    }

    /// The refinements that demand it.
    pub(crate) fn refinements(&self) -> Vec<Constraint> {
        let atomic = |name: &str, operator: Operator, right: Vec<Value>| {
            let left = format!("{PREFIX}{name}");
            Constraint::Atomic(Atomic {
                path: String::new(),
                about: About::Action,
                operand: crate::operand::find(&left),
                left,
                unit: None,
                status: None,
                assumed_utc: false,
                operator,
                right,
            })
        };
        let names = |name: &str, all: Vec<&String>| {
            let right = all.into_iter().cloned().map(Value::Term).collect();
            atomic(name, Operator::IsAllOf, right)
        };
        let number = |count: u64| vec![Value::Number(Decimal::from(count))];
        let length = |of: SignedDuration| vec![Value::Duration { months: 0, nanoseconds: of.as_nanos() }];
        let mut found = Vec::new();
        found.extend(self.keep.as_ref().map(|keep| names("keep", keep.iter().collect())));
        if !self.drop.is_empty() {
            found.push(names("drop", self.drop.iter().collect()));
        }
        found.extend(self.rows.iter().cloned().map(Constraint::Atomic));
        for (column, changes) in &self.changes {
            found.extend(changes.iter().map(|change| match change {
                Coarse::Round(step) => {
                    atomic(&format!("round:{column}"), Operator::Eq, vec![Value::Number(step.clone())])
                }
                Coarse::Shorten(to) => atomic(
                    &format!("shorten:{column}"),
                    Operator::Eq,
                    number(u64::try_from(*to).unwrap_or(u64::MAX)),
                ),
                Coarse::Truncate(step) => atomic(&format!("round:{column}"), Operator::Eq, length(*step)),
            }));
        }
        if !self.pseudonyms.is_empty() {
            found.push(names("pseudonymise", self.pseudonyms.iter().collect()));
        }
        if let Some(groups) = &self.groups {
            found.push(atomic(&format!("aggregate:{}", groups.time), Operator::Eq, length(groups.interval)));
            if !groups.by.is_empty() {
                found.push(names("group", groups.by.iter().collect()));
            }
            for summary in [Summary::Mean, Summary::Sum, Summary::Min, Summary::Max] {
                let told: Vec<&String> =
                    groups.told.iter().filter(|(one, _)| *one == summary).map(|(_, name)| name).collect();
                if !told.is_empty() {
                    found.push(names(summary.word(), told));
                }
            }
            found.push(atomic("minimum-group", Operator::Eq, number(groups.minimum)));
        }
        found
    }
}

impl Groups {
    /// The columns of the data that they are made of.
    fn columns(&self) -> impl Iterator<Item = &str> {
        let told = self.told.iter().map(|(_, name)| name.as_str());
        std::iter::once(self.time.as_str()).chain(self.by.iter().map(String::as_str)).chain(told)
    }

    /// The columns of what is told.
    fn names(&self) -> impl Iterator<Item = String> {
        let told = self.told.iter().map(|(summary, name)| format!("{name}.{}", summary.word()));
        let named = std::iter::once(self.time.clone()).chain(self.by.iter().cloned()).chain(told);
        named.chain(std::iter::once("rows".to_owned()))
    }
}

impl Coarse {
    /// Whether a value made coarse like this follows from the value made coarse like `other`.
    fn follows_from(&self, other: &Self) -> bool {
        match (self, other) {
            // Numbers become the nearest multiple. Only the boundaries of an odd multiple are boundaries of the finer steps:
            // rounded to tens, 9 and 11 are one; rounded to twenties they are not.
            (Self::Round(step), Self::Round(finer)) => step.is_odd_multiple_of(finer),
            (Self::Shorten(length), Self::Shorten(longer)) => length <= longer,
            // Times become the beginning of their interval.
            (Self::Truncate(step), Self::Truncate(finer)) => {
                finer.as_nanos() > 0 && step.as_nanos() % finer.as_nanos() == 0
            }
            _ => false,
        }
    }
}

/// Whether `name` is `whole`, or lies inside it.
fn is_part(name: &str, whole: &str) -> bool {
    name == whole || name.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.'))
}

/// The columns by which rows are chosen.
fn columns_of(choice: &Atomic) -> Vec<String> {
    match Transform::of(choice) {
        Ok(Some(Transform::Where { column, .. })) => vec![column],
        Ok(Some(Transform::Place { columns: Some((latitude, longitude)), .. })) => vec![latitude, longitude],
        _ => GEOMETRIES.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn same_choice(a: &Atomic, b: &Atomic) -> bool {
    a.left == b.left && a.operator == b.operator && a.right == b.right
}

/// Whether every row that `own` chooses is one that `wanted` chooses.
fn chooses_within(own: &Atomic, wanted: &Atomic, known: &Hierarchy) -> bool {
    if own.left != wanted.left {
        return false;
    }
    if same_choice(own, wanted) {
        return true;
    }
    // Texts are compared by rules of their own (`5` is `5.0`): only lists of the same texts are compared here.
    let text = |atomic: &Atomic| atomic.right.iter().any(|value| matches!(value, Value::Term(_)));
    if text(own) || text(wanted) {
        let all_in = |some: &Atomic, all: &Atomic| some.right.iter().all(|one| all.right.contains(one));
        return match (own.operator, wanted.operator) {
            (Operator::Eq | Operator::IsAnyOf, Operator::Eq | Operator::IsAnyOf) => all_in(own, wanted),
            (Operator::Neq | Operator::IsNoneOf, Operator::Neq | Operator::IsNoneOf) => all_in(wanted, own),
            _ => false,
        };
    }
    let placed = |atomic: &Atomic| Atomic { operator: Operator::IsPartOf, ..atomic.clone() };
    match own.right.first() {
        Some(Value::Area(_)) => atomic_entails(&placed(own), &placed(wanted), known),
        _ => crate::compare::entails(
            &[Constraint::Atomic(own.clone())],
            &Constraint::Atomic(wanted.clone()),
            known,
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::model::Policy;

    fn treatment(refinements: Json) -> Treatment {
        let policy =
            Policy::parse_odrl(&json!({"permission": [{"action": "use", "refinement": refinements}]}))
                .unwrap();
        Treatment::of(&policy.permissions[0]).unwrap()
    }

    fn c(left: &str, operator: &str, right: Json) -> Json {
        json!({"leftOperand": format!("{PREFIX}{left}"), "operator": operator, "rightOperand": right})
    }

    fn is_within(a: Json, b: Json) -> bool {
        let (a, b) = (treatment(a), treatment(b));
        let known = Hierarchy::default();
        assert!(a.gaps(&a, &known).is_empty() && b.gaps(&b, &known).is_empty(), "each lies within itself");
        let within = a.gaps(&b, &known).is_empty();
        if within {
            assert_eq!(a.both(&b, &known).map(|both| both.gaps(&a, &known)), Some(Vec::new()));
        }
        within
    }

    #[test]
    fn each_transformation_has_its_order() {
        let names = |name: &str, all: &[&str]| json!([c(name, "isAllOf", json!(all))]);
        let one = |name: &str, value: Json| json!([c(name, "eq", value)]);
        let both = |a: Json, b: Json| {
            Json::from([a.as_array().unwrap().clone(), b.as_array().unwrap().clone()].concat())
        };
        // (narrower, wider): the first lies within the second, and not the other way round.
        for (narrow, wide) in [
            (names("keep", &["a"]), names("keep", &["a", "b"])),
            (names("keep", &["a"]), json!([])),
            (names("drop", &["a", "b"]), names("drop", &["a"])),
            (names("keep", &["a"]), names("drop", &["b"])),
            (names("keep", &["a.x"]), names("keep", &["a"])),
            (names("drop", &["a"]), names("drop", &["a.x"])),
            (one("round:x", json!("30")), one("round:x", json!("10"))),
            (one("round:t", json!("PT2H")), one("round:t", json!("PT1H"))),
            (one("shorten:x", json!("2")), one("shorten:x", json!("3"))),
            (names("pseudonymise", &["a"]), json!([])),
            (one("where:x", json!("1")), json!([c("where:x", "isAnyOf", json!(["1", "2"]))])),
            (
                json!([c("where:x", "lt", json!({"@value": 3}))]),
                json!([c("where:x", "lt", json!({"@value": 5}))]),
            ),
            (one("where:x", json!("1")), json!([])),
            (both(names("keep", &["x"]), one("round:x", json!("5"))), names("keep", &["x"])),
        ] {
            assert!(is_within(narrow.clone(), wide.clone()), "{narrow} within {wide}");
            assert!(!is_within(wide.clone(), narrow.clone()), "{wide} not within {narrow}");
        }
        // Neither lies within the other.
        for (a, b) in [
            (one("round:x", json!("20")), one("round:x", json!("10"))),
            (one("round:t", json!("PT90M")), one("round:t", json!("PT1H"))),
            (names("keep", &["a"]), names("keep", &["b"])),
            (
                both(names("pseudonymise", &["x"]), one("shorten:x", json!("2"))),
                names("pseudonymise", &["x"]),
            ),
            (one("where:x", json!("5.0")), json!([c("where:x", "neq", json!("5"))])),
            // Rows chosen by what is not shown.
            (both(names("drop", &["x"]), one("where:x", json!("1"))), names("drop", &["x"])),
        ] {
            assert!(!is_within(a.clone(), b.clone()), "{a} not within {b}");
        }
    }

    #[test]
    fn groups_tell_no_more() {
        let groups = |more: Json| {
            let base = json!([c("aggregate:t", "eq", json!("PT1H")), c("mean", "eq", json!("x"))]);
            Json::from([base.as_array().unwrap().clone(), more.as_array().unwrap().clone()].concat())
        };
        let rows = |least: &str| json!([c("minimum-group", "eq", json!(least))]);
        assert!(is_within(groups(rows("10")), groups(json!([]))));
        assert!(!is_within(groups(rows("1")), groups(json!([]))), "5 where nothing is said");
        assert!(is_within(groups(rows("5")), groups(json!([]))));
        assert!(!is_within(groups(json!([c("group", "eq", json!("person"))])), groups(json!([]))));
        assert!(!is_within(groups(json!([c("max", "eq", json!("x"))])), groups(json!([]))));
        assert!(!is_within(groups(json!([c("where:x", "eq", json!("1"))])), groups(json!([]))));
        assert!(is_within(groups(json!([])), json!([])) && !is_within(json!([]), groups(json!([]))));
        let hidden = json!([c("drop", "eq", json!("x"))]);
        let told = Json::from(
            [groups(json!([])).as_array().unwrap().clone(), hidden.as_array().unwrap().clone()].concat(),
        );
        assert!(!is_within(told, hidden), "what is left out comes back as its mean");
        assert!(!is_within(groups(json!([])), json!([c("round:x", "eq", json!("5"))])), "of what is rounded");
    }

    #[test]
    fn a_choice_has_no_order() {
        let policy = json!({"permission": [{"action": "use", "refinement": [{"or": [c("keep", "eq", json!("a")), c("keep", "eq", json!("b"))]}]}]});
        assert_eq!(Treatment::of(&Policy::parse_odrl(&policy).unwrap().permissions[0]), None);
    }

    #[test]
    fn what_is_written_says_the_same() {
        let whole = treatment(json!([
            c("keep", "isAllOf", json!(["t", "x"])),
            c("drop", "eq", json!("y,z")),
            c("where:k", "eq", json!("1")),
            c("round:x", "eq", json!("5")),
            c("round:t", "eq", json!("PT1H")),
            c("shorten:x", "eq", json!("2")),
            c("pseudonymise", "eq", json!("p")),
            c("aggregate:t", "eq", json!("PT1H")),
            c("group", "eq", json!("g")),
            c("sum", "eq", json!("x")),
            c("minimum-group", "gteq", json!("7"))
        ]));
        let rule = Rule {
            refinements: whole.refinements(),
            ..Policy::parse_odrl(&json!({"permission": [{"action": "use"}]})).unwrap().permissions.remove(0)
        };
        assert_eq!(Treatment::of(&rule), Some(whole));
    }
}
