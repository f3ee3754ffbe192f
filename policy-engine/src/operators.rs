//! The operators over facts, three-valued: `None` is not known.

use std::cmp::Ordering;

use jiff::civil::date;
use jiff::tz::TimeZone;

use crate::hierarchy::Hierarchy;
use crate::model::{Operator, Value};
use crate::operand;

/// Whether the facts satisfy the comparison. Several facts must each satisfy it (so a use for two purposes needs both
/// allowed), except `isAllOf`, which wants every right operand among the facts; where the facts are a set (`is_set`:
/// the roles of a party), one must satisfy it, and none may be excluded.
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
        Operator::Eq | Operator::IsAnyOf => over(&|fact| any(right.iter().map(|r| same(fact, r)))),
        Operator::Neq | Operator::IsNoneOf => {
            every(facts.iter().flat_map(|fact| right.iter().map(move |r| same(fact, r).map(|same| !same))))
        }
        Operator::IsAllOf => every(right.iter().map(|r| any(facts.iter().map(|fact| same(fact, r))))),
        Operator::IsA | Operator::IsPartOf => {
            over(&|fact| any(right.iter().map(|r| lies_within(fact, r, known))))
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

fn lies_within(part: &Value, whole: &Value, known: &Hierarchy) -> Option<bool> {
    match (part, whole) {
        (Value::Term(part), Value::Term(whole)) => Some(known.is_within(part, whole)),
        (Value::Area(part), Value::Area(whole)) => Some(encloses(whole, part)),
        (Value::Term(place), Value::Area(whole)) => {
            // What is known of a place encloses it, so it may be smaller.
            let around = known.area(place)?;
            if encloses(whole, &around) {
                Some(true)
            } else {
                common(&[*whole, around]).is_none().then_some(false)
            }
        }
        (Value::Area(part), Value::Term(place)) => {
            let around = known.area(place)?;
            (!encloses(&around, part)).then_some(false)
        }
        _ => same(part, whole),
    }
}

/// Whether two values are one; `None` where they are of two types, since `"3"` may well mean 3.
fn same(a: &Value, b: &Value) -> Option<bool> {
    (std::mem::discriminant(a) == std::mem::discriminant(b)).then(|| a == b)
}

fn encloses(whole: &[f64; 4], part: &[f64; 4]) -> bool {
    let ([west, south, east, north], [w, s, e, n]) = (whole, part);
    west <= w && south <= s && e <= east && n <= north
}

/// What all areas share, `None` where that is nothing.
pub(crate) fn common(areas: &[[f64; 4]]) -> Option<[f64; 4]> {
    let mut found = [-180.0, -90.0, 180.0, 90.0];
    for [west, south, east, north] in areas {
        let [w, s, e, n] = found;
        found = [west.max(w), south.max(s), east.min(e), north.min(n)];
    }
    let [west, south, east, north] = found;
    (west <= east && south <= north).then_some(found)
}

/// How two values of one ordered type stand; `None` where they have no order.
pub(crate) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Instant(a), Value::Instant(b)) => Some(a.cmp(b)),
        (Value::TimeOfDay(a), Value::TimeOfDay(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => Some(a.cmp(b)),
        (Value::Duration { months: 0, nanoseconds: a }, Value::Duration { months: 0, nanoseconds: b }) => {
            Some(a.cmp(b))
        }
        (Value::Duration { .. }, Value::Duration { .. }) => durations(a, b),
        _ => None,
    }
}

/// Durations with months are ordered where they are so from each of four dates (XML Schema 1.1, section 3.3.6.2).
fn durations(a: &Value, b: &Value) -> Option<Ordering> {
    let from = [date(1696, 9, 1), date(1697, 2, 1), date(1903, 3, 1), date(1903, 7, 1)];
    let mut found = None;
    for start in from {
        let start = start.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let here = operand::end(start, a)?.cmp(&operand::end(start, b)?);
        if *found.get_or_insert(here) != here {
            return None;
        }
    }
    found
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
