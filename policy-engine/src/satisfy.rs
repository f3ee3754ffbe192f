//! Whether one fact can satisfy several comparisons at once.
//!
//! Numbers, instants, durations and times of day are decided exactly, by trying a point in every interval that the
//! bounds cut out. Terms are decided in an open world: two that are neither ordered nor declared disjoint may or may
//! not overlap, unless they name things (identifiers), of which two different ones are two.

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::alternatives::Literal;
use crate::area::{common, encloses};
use crate::calendar::DailyTime;
use crate::compare::atomic_entails;
use crate::decimal::Decimal;
use crate::hierarchy::{Hierarchy, Relation};
use crate::model::{About, Atomic, Operator, Value};
use crate::operand::{Change, OperandKind, is_set};
use crate::operators::order;

/// What begins the fact that a duty is done.
pub(crate) const DONE: &str = "done: ";
/// ODRL's own operands that cannot be below zero, besides those the engine knows (Vocabulary 2.2, section 3.9).
const NONNEGATIVE: [&str; 8] = [
    "absoluteSize",
    "absoluteSizeHeight",
    "absoluteSizeWidth",
    "absoluteTemporalPosition",
    "relativeSize",
    "relativeSizeHeight",
    "relativeSizeWidth",
    "resolution",
];

/// Three-valued: whether something can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Possible {
    No,
    Maybe,
    Yes,
}

/// Whether one value of the operand can satisfy all literals, which are about one fact; or nothing being known of it,
/// where that will do for each of them.
pub(crate) fn satisfiable(literals: &[Literal<'_>], known: &Hierarchy) -> Possible {
    if literals.iter().all(|literal| literal.or_unknown && may_be_missing(literal.atomic)) {
        return Possible::Yes;
    }
    if literals.iter().any(|given| !given.or_unknown && rules_out(given, literals, known)) {
        return Possible::No;
    }
    if literals.iter().any(|literal| is_set(literal.atomic)) {
        return of_a_set(literals, known);
    }
    of_one(literals, known).0
}

/// Whether there is a state of the world in which nothing is known of the fact. The time is always known, and who asks.
fn may_be_missing(atomic: &Atomic) -> bool {
    match atomic.operand {
        Some(operand) if atomic.about != About::Asset && atomic.about != About::Party => {
            match operand.changes {
                Change::Request => false,
                Change::Time => operand.since.is_some(),
                Change::Credential | Change::Duty | Change::Statement | Change::Use => true,
            }
        }
        _ => true,
    }
}

/// Whether what one literal says for certain rules another one out.
fn rules_out(given: &Literal<'_>, all: &[Literal<'_>], known: &Hierarchy) -> bool {
    let stated;
    let given = if given.wanted {
        given.atomic
    } else if let Some(opposite) = opposite(given.atomic) {
        stated = opposite;
        &stated
    } else {
        return false;
    };
    all.iter().any(|other| {
        if !other.wanted {
            return atomic_entails(given, other.atomic, known);
        }
        // Two names may stand for things that overlap, whatever they are called.
        let of_names = other.atomic.right.iter().any(|right| matches!(right, Value::Term(_)));
        !of_names && opposite(other.atomic).is_some_and(|opposite| atomic_entails(given, &opposite, known))
    })
}

/// What holds of one known value where the comparison does not.
fn opposite(atomic: &Atomic) -> Option<Atomic> {
    if is_set(atomic) || atomic.right.len() > 1 && atomic.operator.is_ordering() {
        return None;
    }
    let operator = match atomic.operator {
        Operator::Eq => Operator::Neq,
        Operator::Neq => Operator::Eq,
        Operator::IsAnyOf => Operator::IsNoneOf,
        Operator::IsNoneOf => Operator::IsAnyOf,
        Operator::Gt => Operator::Lteq,
        Operator::Gteq => Operator::Lt,
        Operator::Lt => Operator::Gteq,
        Operator::Lteq => Operator::Gt,
        Operator::HasPart | Operator::IsA | Operator::IsAllOf | Operator::IsPartOf => return None,
    };
    Some(Atomic { operator, ..atomic.clone() })
}

/// A value that satisfies all literals, if one is known.
pub(crate) fn witness(literals: &[Literal<'_>], known: &Hierarchy) -> Option<Value> {
    of_one(literals, known).1
}

/// A set (the roles of a party) has a member for each literal that wants one, and none that is excluded.
fn of_a_set(literals: &[Literal<'_>], known: &Hierarchy) -> Possible {
    let excludes = |literal: &&Literal<'_>| {
        let excluding = matches!(literal.atomic.operator, Operator::Neq | Operator::IsNoneOf);
        excluding == literal.wanted
    };
    let (excluded, wanted): (Vec<Literal<'_>>, Vec<Literal<'_>>) =
        literals.iter().copied().partition(|literal| excludes(&literal));
    let mut worst = Possible::Yes;
    for literal in wanted {
        // `isAllOf` wants several members; each must be free.
        let alone = if literal.atomic.operator == Operator::IsAllOf {
            let clash = |value: &Value| excluded.iter().any(|other| other.atomic.right.contains(value));
            if literal.atomic.right.iter().any(clash) { Possible::No } else { Possible::Maybe }
        } else {
            let mut together = excluded.clone();
            together.push(literal);
            of_one(&together, known).0
        };
        let free = excluded.is_empty() && literal.wanted;
        worst = worst.min(if free && alone == Possible::Maybe { Possible::Yes } else { alone });
    }
    worst
}

fn of_one(literals: &[Literal<'_>], known: &Hierarchy) -> (Possible, Option<Value>) {
    let values = || literals.iter().flat_map(|literal| &literal.atomic.right);
    if values().all(|value| matches!(value, Value::Term(_))) {
        return terms(literals, known);
    }
    if values().all(|value| matches!(value, Value::Area(_))) {
        return areas(literals);
    }
    if apart_on_the_map(literals, known) {
        return (Possible::No, None);
    }
    if !literals.iter().all(|literal| is_ordered(literal.atomic.operator)) {
        return (Possible::Maybe, None);
    }
    let Some(points) = points(literals) else { return (Possible::Maybe, None) };
    let fits =
        |point: &Value| literals.iter().all(|literal| holds_ordered(literal, point) == Some(literal.wanted));
    match points.into_iter().find(fits) {
        Some(found) => (Possible::Yes, Some(found)),
        None => (Possible::No, None),
    }
}

/// Points in every interval that the bounds cut out of what the operand can be; `None` where the values are not of one
/// ordered type.
fn points(literals: &[Literal<'_>]) -> Option<Vec<Value>> {
    let values: Vec<&Value> = literals.iter().flat_map(|literal| &literal.atomic.right).collect();
    let all = |is: fn(&Value) -> bool| values.iter().all(|value| is(value));
    let nonnegative = literals.iter().any(|literal| {
        literal.atomic.operand.map_or_else(
            || NONNEGATIVE.contains(&literal.atomic.left.as_str()),
            |operand| operand.nonnegative,
        )
    });
    if all(|value| matches!(value, Value::Number(_))) {
        let bounds = values.iter().filter_map(|value| match value {
            Value::Number(number) => Some(number.clone()),
            _ => None,
        });
        let whole =
            literals.iter().any(|literal| literal.atomic.operand.is_some_and(|operand| operand.whole));
        let points = if whole { whole_numbers(bounds)? } else { numbers(bounds.collect())? };
        let points = points.into_iter().chain([Decimal::ZERO]);
        let points = points.filter(|point| !nonnegative || !point.is_negative());
        return Some(points.map(Value::Number).collect());
    }
    // The others are whole steps, so the neighbours of each bound reach into every interval.
    let around = |bound: i128| [bound - 1, bound, bound + 1];
    if all(|value| matches!(value, Value::Instant(_))) {
        let bounds = values.iter().filter_map(|value| match value {
            Value::Instant(instant) => Some(instant.as_nanosecond()),
            _ => None,
        });
        let instants = bounds.flat_map(around).filter_map(|at| Timestamp::from_nanosecond(at).ok());
        return Some(instants.map(Value::Instant).collect());
    }
    if all(|value| matches!(value, Value::TimeOfDay(_))) {
        let neighbours = values.iter().filter_map(|value| match value {
            Value::TimeOfDay(time) => Some(*time),
            _ => None,
        });
        let step = jiff::SignedDuration::from_nanos(1);
        let times = neighbours.flat_map(|one| {
            let at = |time| DailyTime { time, ..one };
            let around = [one.time.checked_sub(step).ok(), one.time.checked_add(step).ok()];
            around.into_iter().flatten().map(at).chain([one, one.midnight()]).collect::<Vec<_>>()
        });
        return Some(times.map(Value::TimeOfDay).collect());
    }
    let parts: Option<Vec<(i64, i128)>> = values
        .iter()
        .map(|value| match value {
            Value::Duration { months, nanoseconds } => Some((*months, *nanoseconds)),
            _ => None,
        })
        .collect();
    let parts = parts?;
    if parts.iter().all(|(months, _)| *months == 0) {
        let lengths = parts.iter().flat_map(|(_, length)| around(*length)).chain([0]);
        let lengths = lengths.filter(|length| !nonnegative || *length >= 0);
        return Some(lengths.map(|nanoseconds| Value::Duration { months: 0, nanoseconds }).collect());
    }
    if parts.iter().all(|(_, rest)| *rest == 0) {
        // A day more or less reaches between any two numbers of months.
        let day = 86_400_000_000_000;
        let lengths = parts
            .iter()
            .flat_map(|(months, _)| [(*months, 0), (*months, day), (months.saturating_sub(1), day)]);
        let lengths = lengths.chain([(0, 0)]).filter(|(months, _)| !nonnegative || *months >= 0);
        return Some(lengths.map(|(months, nanoseconds)| Value::Duration { months, nanoseconds }).collect());
    }
    None
}

/// Every bound, a point between each two, and one beyond each end; `None` where they are too long to be computed with.
fn numbers(mut bounds: Vec<Decimal>) -> Option<Vec<Decimal>> {
    bounds.sort();
    bounds.dedup();
    let mut points = Vec::new();
    for pair in bounds.windows(2) {
        if let [low, high] = pair {
            points.push(low.plus(high)?.half()?);
        }
    }
    if let (Some(low), Some(high)) = (bounds.first(), bounds.last()) {
        points.extend([low.plus(&Decimal::whole(-1))?, low.half()?, high.plus(&Decimal::ONE)?]);
    }
    points.extend(bounds);
    Some(points)
}

/// The whole numbers at and around every bound: the least in each interval is among them. `None` as for [`numbers`].
fn whole_numbers(bounds: impl Iterator<Item = Decimal>) -> Option<Vec<Decimal>> {
    let mut points = Vec::new();
    for bound in bounds {
        let floor = bound.floor()?;
        points.extend([floor.plus(&Decimal::whole(-1))?, floor.plus(&Decimal::ONE)?, floor]);
    }
    Some(points)
}

const fn is_ordered(operator: Operator) -> bool {
    operator.is_ordering()
        || matches!(operator, Operator::Eq | Operator::Neq | Operator::IsAnyOf | Operator::IsNoneOf)
}

/// What an operator says of a single ordered value.
fn holds_ordered(literal: &Literal<'_>, value: &Value) -> Option<bool> {
    let orders: Option<Vec<_>> = literal.atomic.right.iter().map(|right| order(value, right)).collect();
    let orders = orders?;
    let any = |test: fn(Ordering) -> bool| orders.iter().any(|order| test(*order));
    Some(match literal.atomic.operator {
        Operator::Eq | Operator::IsAnyOf => any(Ordering::is_eq),
        Operator::Neq | Operator::IsNoneOf => !any(Ordering::is_eq),
        Operator::Gt => any(Ordering::is_gt),
        Operator::Gteq => any(Ordering::is_ge),
        Operator::Lt => any(Ordering::is_lt),
        Operator::Lteq => any(Ordering::is_le),
        Operator::HasPart | Operator::IsA | Operator::IsAllOf | Operator::IsPartOf => return None,
    })
}

/// Rectangles: what lies within several lies in what they share.
fn areas(literals: &[Literal<'_>]) -> (Possible, Option<Value>) {
    let mut within = Vec::new();
    for literal in literals {
        match (literal.atomic.operator, literal.wanted, literal.atomic.right.as_slice()) {
            (Operator::IsPartOf | Operator::IsA | Operator::Eq, true, [Value::Area(area)]) => {
                within.push(*area)
            }
            _ => return (Possible::Maybe, None),
        }
    }
    let Some(shared) = common(&within) else { return (Possible::No, None) };
    let exact = literals.iter().find(|literal| literal.atomic.operator == Operator::Eq);
    match exact.and_then(|literal| literal.atomic.right.first()) {
        // Exactly one rectangle is wanted: it must be what is shared.
        Some(Value::Area(exactly)) => match within.iter().all(|area| encloses(*area, *exactly)) {
            true => (Possible::Yes, Some(Value::Area(*exactly))),
            false => (Possible::No, None),
        },
        _ => (Possible::Yes, Some(Value::Area(shared))),
    }
}

fn terms(literals: &[Literal<'_>], known: &Hierarchy) -> (Possible, Option<Value>) {
    let named = |literal: &Literal<'_>| -> Vec<String> {
        let terms = literal.atomic.right.iter().filter_map(|value| match value {
            Value::Term(term) => Some(term.clone()),
            _ => None,
        });
        terms.collect()
    };
    let fits = |candidate: &str| {
        literals.iter().map(|literal| term_holds(candidate, literal, known)).min().unwrap_or(Possible::Yes)
    };
    let best = |candidates: &mut dyn Iterator<Item = String>| {
        let mut best = (Possible::No, None);
        for candidate in candidates {
            let here = fits(&candidate);
            if here == Possible::Yes {
                return (here, Some(Value::Term(candidate)));
            }
            best.0 = best.0.max(here);
        }
        best
    };
    // A literal that names the value exactly leaves only its own terms to try.
    let pin = literals.iter().find(|literal| {
        literal.wanted && matches!(literal.atomic.operator, Operator::Eq | Operator::IsAnyOf)
    });
    if let Some(pin) = pin {
        return best(&mut named(pin).into_iter());
    }
    // A named value that is known to fit is a witness; the policy's own terms first.
    let own = literals.iter().flat_map(named);
    if let found @ (Possible::Yes, _) = best(&mut own.chain(known.terms().map(str::to_owned))) {
        return found;
    }
    // There is always another name: what only excludes some can be met. What lies within what is only known of
    // identifiers, which are one thing each.
    let is_identifier = |literal: &Literal<'_>| {
        literal.atomic.operand.is_some_and(|operand| operand.kind == OperandKind::Identifier)
    };
    let excludes = |literal: &Literal<'_>| match literal.atomic.operator {
        Operator::Neq | Operator::IsNoneOf => literal.wanted,
        Operator::Eq | Operator::IsAnyOf => !literal.wanted,
        Operator::IsA | Operator::IsPartOf => !literal.wanted && is_identifier(literal),
        _ => false,
    };
    if literals.iter().all(excludes) {
        return (Possible::Yes, None);
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
    let apart = apart || apart_on_the_map(literals, known);
    (if apart { Possible::No } else { Possible::Maybe }, None)
}

/// Whether it would have to lie within areas that share nothing: rectangles, and what is known to enclose places.
fn apart_on_the_map(literals: &[Literal<'_>], known: &Hierarchy) -> bool {
    let mut areas = Vec::new();
    for literal in literals.iter().filter(|literal| literal.wanted) {
        match (literal.atomic.operator, literal.atomic.right.as_slice()) {
            (Operator::Eq | Operator::IsA | Operator::IsPartOf, [Value::Area(area)]) => areas.push(*area),
            (Operator::Eq | Operator::IsA | Operator::IsPartOf, [Value::Term(place)]) => {
                areas.extend(known.areas(place));
            }
            _ => {}
        }
    }
    areas.len() > 1 && common(&areas).is_none()
}

/// Whether the value `candidate` satisfies a literal.
fn term_holds(candidate: &str, literal: &Literal<'_>, known: &Hierarchy) -> Possible {
    let unique = literal.atomic.operand.is_some_and(|operand| operand.kind == OperandKind::Identifier);
    let each = |test: &dyn Fn(Relation) -> Possible| {
        let answers = literal.atomic.right.iter().map(|value| match value {
            Value::Term(term) => test(known.relation(candidate, term)),
            _ => Possible::Maybe,
        });
        answers.collect::<Vec<_>>()
    };
    let same = |relation| match relation {
        Relation::Same => Possible::Yes,
        Relation::Unrelated if !unique => Possible::Maybe,
        Relation::Broader | Relation::Disjoint | Relation::Narrower | Relation::Unrelated => Possible::No,
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
    let any = |answers: Vec<Possible>| answers.into_iter().max().unwrap_or(Possible::No);
    let every = |answers: Vec<Possible>| answers.into_iter().min().unwrap_or(Possible::Yes);
    let truth = match literal.atomic.operator {
        Operator::Eq | Operator::IsAnyOf => any(each(&same)),
        Operator::Neq | Operator::IsNoneOf => not(any(each(&same))),
        // Another use beside this one may have the others.
        Operator::IsAllOf if literal.atomic.right.len() > 1 => Possible::Maybe,
        Operator::IsAllOf => every(each(&same)),
        Operator::IsA | Operator::IsPartOf => any(each(&below)),
        Operator::HasPart => every(each(&above)),
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
