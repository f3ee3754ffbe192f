//! Constraints as comparisons see them: operands of data spaces as those of this engine, dates as the instants where they
//! begin and end, times of day in UTC, what was there before the policy taken off the right operand. Says the same, in
//! fewer forms.

use jiff::SignedDuration;
use jiff::civil::Time;
use jiff::tz::Offset;

use crate::calendar::DailyTime;
use crate::hierarchy::Hierarchy;
use crate::model::{Atomic, Constraint, Logical, Operator, Value};

/// The constraint in these forms.
pub(crate) fn lowered(constraint: &Constraint, known: &Hierarchy) -> Constraint {
    match constraint {
        Constraint::Logical { logical, parts } => Constraint::Logical {
            logical: *logical,
            parts: parts.iter().map(|part| lowered(part, known)).collect(),
        },
        Constraint::Atomic(atomic) => match known.meaning(atomic) {
            Some(meaning) => lowered(&meaning, known),
            None => lowered_atomic(atomic),
        },
    }
}

fn lowered_atomic(atomic: &Atomic) -> Constraint {
    if let Some(status) = &atomic.status {
        let less = atomic.right.iter().map(|right| match right {
            Value::Number(number) => number.minus(status).map(Value::Number),
            _ => None,
        });
        return Constraint::Atomic(match less.collect::<Option<Vec<_>>>() {
            Some(right) => Atomic { status: None, right, ..atomic.clone() },
            None => atomic.clone(),
        });
    }
    if !atomic.right.iter().any(|right| matches!(right, Value::Day(_) | Value::TimeOfDay(_))) {
        return Constraint::Atomic(atomic.clone());
    }
    let each = |operator: Operator| atomic.right.iter().map(|right| one(atomic, operator, right)).collect();
    match atomic.operator {
        Operator::IsAnyOf => Constraint::Logical { logical: Logical::Or, parts: each(Operator::Eq) },
        Operator::IsNoneOf => Constraint::Logical { logical: Logical::And, parts: each(Operator::Neq) },
        operator => match atomic.right.as_slice() {
            [right] => one(atomic, operator, right),
            _ => Constraint::Atomic(atomic.clone()),
        },
    }
}

fn one(atomic: &Atomic, operator: Operator, right: &Value) -> Constraint {
    let compare = |operator: Operator, right: Value| {
        Constraint::Atomic(Atomic { operator, right: vec![right], ..atomic.clone() })
    };
    let all = |parts: Vec<Constraint>| Constraint::Logical { logical: Logical::And, parts };
    let any = |parts: Vec<Constraint>| Constraint::Logical { logical: Logical::Or, parts };
    match right {
        Value::Day(day) => {
            let (start, end) = (Value::Instant(day.start()), Value::Instant(day.end()));
            match operator {
                Operator::Lt => compare(Operator::Lt, start),
                Operator::Lteq => compare(Operator::Lt, end),
                Operator::Gt => compare(Operator::Gteq, end),
                Operator::Gteq => compare(Operator::Gteq, start),
                Operator::Eq => all(vec![compare(Operator::Gteq, start), compare(Operator::Lt, end)]),
                Operator::Neq => any(vec![compare(Operator::Lt, start), compare(Operator::Gteq, end)]),
                other => compare(other, right.clone()),
            }
        }
        Value::TimeOfDay(local) => {
            let east = SignedDuration::from_secs(i64::from(local.offset.seconds()));
            let utc = |time: Time| time.wrapping_sub(east);
            // The day of the zone begins at `dawn` in UTC.
            let (at, dawn) = (utc(local.time), utc(Time::midnight()));
            let value = |time: Time| Value::TimeOfDay(DailyTime { time, offset: Offset::UTC });
            // From one time to another, over midnight where the second is not later.
            let arc = |from: Option<(Operator, Time)>, to: Option<(Operator, Time)>, over_midnight: bool| {
                let bounds = [from, to].into_iter().flatten();
                let bounds: Vec<_> = bounds.map(|(operator, time)| compare(operator, value(time))).collect();
                if over_midnight { any(bounds) } else { all(bounds) }
            };
            let ends = (dawn != Time::midnight()).then_some((Operator::Lt, dawn));
            let begins = (dawn != Time::midnight()).then_some((Operator::Gteq, dawn));
            let late = ends.is_some() && at > dawn;
            match operator {
                Operator::Eq | Operator::Neq => compare(operator, value(at)),
                Operator::Gteq if at == dawn => all(Vec::new()),
                Operator::Lt if at == dawn => any(Vec::new()),
                Operator::Gt if at == dawn => compare(Operator::Neq, value(at)),
                Operator::Lteq if at == dawn => compare(Operator::Eq, value(at)),
                Operator::Gteq | Operator::Gt => arc(Some((operator, at)), ends, late),
                Operator::Lt | Operator::Lteq => {
                    arc(begins, Some((operator, at)), begins.is_some() && at < dawn)
                }
                other => compare(other, right.clone()),
            }
        }
        _ => compare(operator, right.clone()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::evaluate::{Truth, truth};
    use crate::model::Policy;
    use crate::world::{Request, World};

    proptest! {
        /// What is lowered holds whenever the constraint itself does, and only then.
        #[test]
        fn says_the_same(
            operator in prop::sample::select(vec!["eq", "neq", "lt", "lteq", "gt", "gteq", "isAnyOf", "isNoneOf"]),
            date in prop::bool::ANY,
            hours in prop::sample::select(vec![0, 1, 9, 22, 23]),
            zone in prop::sample::select(vec!["", "Z", "+02:00", "-11:30", "+14:00"]),
            minutes in 0..(4 * 24 * 60_i64),
        ) {
            let right = if date {
                json!({"@value": format!("2026-01-03{zone}"), "@type": "xsd:date"})
            } else {
                json!({"@value": format!("{hours:02}:00:00{zone}"), "@type": "xsd:time"})
            };
            let right = if operator.starts_with("is") { json!([right]) } else { right };
            let policy = Policy::parse(&json!({"permission": [{"action": "use", "constraint": [
                {"leftOperand": "dateTime", "operator": operator, "rightOperand": right}]}]})).unwrap();
            let known = Hierarchy::default();
            let start: jiff::Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
            let request = Request { action: "use", party: "urn:p", target: None };
            let own = &policy.permissions[0].constraints[0];
            let low = lowered(own, &known);
            for nanoseconds in [-1, 0, 1] {
                let now = start + SignedDuration::from_mins(minutes - minutes % 30) + SignedDuration::from_nanos(nanoseconds);
                let world = World::at(now, &known);
                let holds = |one: &Constraint| truth(one, &request, &world) == Truth::True;
                prop_assert_eq!(holds(own), holds(&low), "{}: {:?}", now, low);
            }
        }
    }
}
