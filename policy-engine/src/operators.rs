//! The operators over facts, three-valued: `None` is not known.

use std::cmp::Ordering;

use jiff::civil::date;
use jiff::tz::TimeZone;

use crate::area::{common, encloses};
use crate::calendar::Day;
use crate::hierarchy::Hierarchy;
use crate::model::{Operator, Value};
use crate::operand;

/// Whether the facts satisfy the comparison. Several facts must each satisfy it, except `isAllOf`, which wants every
/// right operand among the facts; where the facts are a set (`is_set`: the roles of a party), one must satisfy it, and
/// none may be excluded.
pub(crate) fn holds(
    operator: Operator,
    facts: &[Value],
    right: &[Value],
    is_set: bool,
    known: &Hierarchy,
) -> Option<bool> {
    let compare = |fact: &Value, r: &Value, test: fn(Ordering) -> bool| order(fact, r).map(test);
    let over = |test: &dyn Fn(&Value) -> Option<bool>| {
        if is_set { any(facts.iter().map(test)) } else { every(facts.iter().map(test)) }
    };
    let in_order =
        |test: fn(Ordering) -> bool| over(&|fact| any(right.iter().map(|r| compare(fact, r, test))));
    match operator {
        Operator::Eq | Operator::IsAnyOf => over(&|fact| any(right.iter().map(|r| same(fact, r, known)))),
        Operator::Neq | Operator::IsNoneOf => every(
            facts.iter().flat_map(|fact| right.iter().map(move |r| same(fact, r, known).map(|same| !same))),
        ),
        Operator::IsAllOf => every(right.iter().map(|r| any(facts.iter().map(|fact| same(fact, r, known))))),
        Operator::IsA | Operator::IsPartOf => {
            over(&|fact| any(right.iter().map(|r| lies_within(fact, r, known))))
        }
        // A set has each part that one of its members has.
        Operator::HasPart if is_set => {
            every(right.iter().map(|r| any(facts.iter().map(|fact| lies_within(r, fact, known)))))
        }
        Operator::HasPart => over(&|fact| every(right.iter().map(|r| lies_within(r, fact, known)))),
        Operator::Gt => in_order(Ordering::is_gt),
        Operator::Gteq => in_order(Ordering::is_ge),
        Operator::Lt => in_order(Ordering::is_lt),
        Operator::Lteq => in_order(Ordering::is_le),
    }
}

fn every(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut unknown = false;
    for answer in answers {
        match answer {
            Some(false) => return Some(false),
            Some(true) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(true)
}

fn any(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    every(answers.map(|answer| answer.map(|yes| !yes))).map(|none| !none)
}

/// Whether one term or area lies within another. A term of which nothing is known may lie anywhere.
fn lies_within(part: &Value, whole: &Value, known: &Hierarchy) -> Option<bool> {
    match (part, whole) {
        (Value::Term(part), Value::Term(whole)) if known.is_within(part, whole) => Some(true),
        (Value::Term(part), Value::Term(whole)) => (known.knows(part) && known.knows(whole)).then_some(false),
        (Value::Area(part), Value::Area(whole)) => Some(encloses(*whole, *part)),
        // What is known of a place encloses it, so it may be smaller.
        (Value::Term(place), Value::Area(whole)) => {
            if known.areas(place).any(|around| encloses(*whole, around)) {
                Some(true)
            } else {
                known.areas(place).any(|around| common(&[*whole, around]).is_none()).then_some(false)
            }
        }
        (Value::Area(part), Value::Term(place)) => {
            known.areas(place).any(|around| !encloses(around, *part)).then_some(false)
        }
        _ => same(part, whole, known),
    }
}

/// Whether two values are one; `None` where that is not known: they are of two types, since `"3"` may well mean 3, or one
/// has a prefix that nobody declared, which may stand for the namespace of the other.
fn same(a: &Value, b: &Value, known: &Hierarchy) -> Option<bool> {
    match (a, b) {
        (Value::Term(a), Value::Term(b)) => {
            let equal = known.canonical(a) == known.canonical(b);
            if !equal && (may_abbreviate(a, b) || may_abbreviate(b, a)) { None } else { Some(equal) }
        }
        (Value::Day(_), Value::Instant(_)) | (Value::Instant(_), Value::Day(_)) => {
            order(a, b).map(Ordering::is_eq)
        }
        _ => (std::mem::discriminant(a) == std::mem::discriminant(b)).then(|| a == b),
    }
}

/// Whether `short` may be `full` with a prefix in place of its namespace: `dpv:Marketing` for
/// `https://w3id.org/dpv#Marketing`.
fn may_abbreviate(short: &str, full: &str) -> bool {
    let Some((prefix, local)) = short.split_once(':') else { return false };
    let is_prefix = !prefix.is_empty() && !["did", "http", "https", "urn"].contains(&prefix);
    is_prefix
        && !local.is_empty()
        && full.contains("://")
        && full.strip_suffix(local).is_some_and(|namespace| namespace.ends_with(['/', '#', ':']))
}

/// How two values of one ordered type stand; `None` where they have no order.
pub(crate) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Instant(a), Value::Instant(b)) => Some(a.cmp(b)),
        (Value::Instant(at), Value::Day(day)) => Some(within_day(*at, day)),
        (Value::Day(day), Value::Instant(at)) => Some(within_day(*at, day).reverse()),
        (Value::Day(a), Value::Day(b)) => days(a, b),
        (Value::TimeOfDay(a), Value::TimeOfDay(b)) => (a.offset == b.offset).then(|| a.time.cmp(&b.time)),
        (Value::Number(a), Value::Number(b)) => Some(a.cmp(b)),
        (Value::Duration { months: 0, nanoseconds: a }, Value::Duration { months: 0, nanoseconds: b }) => {
            Some(a.cmp(b))
        }
        (Value::Duration { .. }, Value::Duration { .. }) => durations(a, b),
        _ => None,
    }
}

/// How an instant stands to a day.
fn within_day(at: jiff::Timestamp, day: &Day) -> Ordering {
    if at < day.start() {
        Ordering::Less
    } else if at < day.end() {
        Ordering::Equal
    } else {
        Ordering::Greater
    }
}

/// How two days stand: days of two zones that share hours have no order.
fn days(a: &Day, b: &Day) -> Option<Ordering> {
    if a == b || a.start() == b.start() {
        Some(Ordering::Equal)
    } else if a.end() <= b.start() {
        Some(Ordering::Less)
    } else {
        (b.end() <= a.start()).then_some(Ordering::Greater)
    }
}

/// Whether two values of one ordered type always stand as `test` wants: durations with months as long as they are in every
/// calendar.
pub(crate) fn always(a: &Value, b: &Value, test: fn(Ordering) -> bool) -> bool {
    match (a, b) {
        (Value::Duration { months: 0, .. }, Value::Duration { months: 0, .. }) => {
            order(a, b).is_some_and(test)
        }
        (Value::Duration { .. }, Value::Duration { .. }) => {
            calendars(a, b).is_some_and(|orders| orders.into_iter().all(test))
        }
        _ => order(a, b).is_some_and(test),
    }
}

/// Durations with months are ordered where they are so from each of four dates (XML Schema 1.1, section 3.3.6.2).
fn durations(a: &Value, b: &Value) -> Option<Ordering> {
    let [first, others @ ..] = calendars(a, b)?;
    others.iter().all(|other| *other == first).then_some(first)
}

fn calendars(a: &Value, b: &Value) -> Option<[Ordering; 4]> {
    let from = |year, month| {
        let start = date(year, month, 1).to_zoned(TimeZone::UTC).ok()?.timestamp();
        Some(operand::end(start, a)?.cmp(&operand::end(start, b)?))
    };
    Some([from(1696, 9)?, from(1697, 2)?, from(1903, 3)?, from(1903, 7)?])
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    #[test]
    fn durations_with_months_have_an_order_only_where_every_calendar_agrees() {
        let months = |months| Value::Duration { months, nanoseconds: 0 };
        let days = |days: i128| Value::Duration { months: 0, nanoseconds: days * 86_400_000_000_000 };
        assert_eq!(order(&months(1), &days(27)), Some(Ordering::Greater));
        assert_eq!(order(&months(1), &days(30)), None);
        assert_eq!(order(&months(12), &days(367)), Some(Ordering::Less));
        assert_eq!(order(&months(12), &months(12)), Some(Ordering::Equal));
    }

    #[test]
    fn values_of_two_types_are_neither_equal_nor_different() {
        let known = Hierarchy::default();
        let (text, number) = (Value::Term("3".into()), Value::Number(crate::Decimal::whole(3)));
        for operator in [
            Operator::Eq,
            Operator::Neq,
            Operator::IsAnyOf,
            Operator::IsNoneOf,
            Operator::IsAllOf,
            Operator::IsPartOf,
        ] {
            for is_set in [false, true] {
                let found = holds(operator, from_ref(&text), from_ref(&number), is_set, &known);
                assert_eq!(found, None, "{operator:?}");
            }
        }
        let both = [text.clone(), number.clone()];
        assert_eq!(
            holds(Operator::Eq, &both, from_ref(&number), true, &known),
            Some(true),
            "one of them is 3"
        );
        assert_eq!(holds(Operator::Neq, &both, &[number], true, &known), Some(false));
        assert_eq!(holds(Operator::Neq, &both, &[Value::Term("4".into())], true, &known), None);
    }

    #[test]
    fn what_nothing_is_known_of_is_not_known_to_lie_elsewhere() {
        let known = Hierarchy::shipped();
        let term = |text: &str| Value::Term(text.into());
        let part =
            |fact: &str, whole: &str| holds(Operator::IsPartOf, &[term(fact)], &[term(whole)], false, &known);
        assert_eq!(
            (part("BE", "EU"), part("GB", "EU"), part("US", "EU")),
            (Some(true), Some(false), Some(false))
        );
        assert_eq!((part("London", "GB"), part("BE", "urn:my-region")), (None, None));
        let none =
            |fact: &str, other: &str| holds(Operator::Neq, &[term(fact)], &[term(other)], false, &known);
        assert_eq!(none("https://w3id.org/dpv#Marketing", "dpv:Marketing"), None);
        assert_eq!(none("https://w3id.org/dpv#Marketing", "dpv:Advertising"), Some(true));
        assert_eq!(none("urn:a", "urn:b"), Some(true), "two names are two");
        let russia = "http://publications.europa.eu/resource/authority/country/RUS";
        assert_eq!(none(russia, "RU"), Some(false));
    }

    #[test]
    fn places_and_rectangles() {
        let mut known = Hierarchy::default();
        known.load(&serde_json::json!({"areas": {"BE": [2.5, 49.5, 6.4, 51.5]}})).unwrap();
        let within = |part: &Value, whole: &Value| lies_within(part, whole, &known);
        let (be, wide) = (Value::Term("BE".into()), Value::Area([0.0, 45.0, 10.0, 55.0]));
        assert_eq!(within(&be, &wide), Some(true));
        assert_eq!(within(&be, &Value::Area([20.0, 45.0, 30.0, 55.0])), Some(false));
        assert_eq!(within(&be, &Value::Area([0.0, 45.0, 5.0, 55.0])), None, "the east of it may stand out");
        assert_eq!(within(&Value::Term("FR".into()), &wide), None);
        assert_eq!(within(&Value::Area([9.0, 50.0, 9.0, 50.0]), &be), Some(false));
        assert_eq!(
            within(&Value::Area([4.0, 50.0, 4.0, 50.0]), &be),
            None,
            "the rectangle is not the country"
        );
    }
}
