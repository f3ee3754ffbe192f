//! What terms demand of the data itself: the refinements of a permitted action that the provider's node carries out while
//! the data flows.
//!
//! Each is a refinement of the action whose left operand begins with `urn:concordat:data:`:
//!
//! | left operand | operator | right operand | what is done |
//! |---|---|---|---|
//! | `…keep` | eq, isAllOf | names | only these columns or attributes are handed on |
//! | `…drop` | eq, isAllOf | names | these are not |
//! | `…where:COLUMN` | eq, neq, gt, gteq, lt, lteq, isAnyOf, isNoneOf | values | only rows that fit |
//! | `…place` or `…place:LATITUDE:LONGITUDE` | isPartOf, eq | a rectangle (geo:wktLiteral) | only rows that lie in it |
//! | `…round:COLUMN` | eq | a number, or a duration for times | rounded to the next multiple, times down |
//! | `…shorten:COLUMN` | eq | a count | only so many characters are left |
//! | `…pseudonymise` | eq, isAllOf | names | a keyed hash takes the value's place, with a key for each agreement |
//! | `…aggregate:TIME` | eq | a duration | rows are brought together by interval of the column TIME |
//! | `…group` | eq, isAllOf | names | … and by these columns |
//! | `…mean`, `…sum`, `…min`, `…max` | eq, isAllOf | names | what is told of the groups, beside their size |
//! | `…minimum-group` | eq, gteq | a count | groups of fewer rows are left out; 5 where nothing is said |

use std::fmt;

use jiff::SignedDuration;

use crate::evaluate::Decision;
use crate::explain::quoted;
use crate::model::{About, Atomic, Operator, Policy, Rule, Value};

/// What begins the left operand of every transformation.
pub const PREFIX: &str = "urn:concordat:data:";
/// Rows that a group must have where the terms do not say.
pub const MINIMUM_GROUP: u64 = 5;

/// One thing done to the data.
#[derive(Debug, Clone, PartialEq)]
pub enum Transform {
    /// Only these columns or attributes.
    Keep(Vec<String>),
    /// All but these.
    Drop(Vec<String>),
    /// Only rows whose value in a column compares like this.
    Where {
        /// The column.
        column: String,
        /// The comparison.
        operator: Operator,
        /// With what; for the list operators, with which of them.
        values: Vec<Value>,
    },
    /// Only rows in a rectangle.
    Place {
        /// Columns of latitude and longitude; `None` where rows have a geometry.
        columns: Option<(String, String)>,
        /// West, south, east, north in degrees (WGS 84).
        area: [f64; 4],
    },
    /// Numbers become the nearest multiple.
    Round {
        /// The column.
        column: String,
        /// More than zero.
        step: f64,
    },
    /// Times become the beginning of their interval, in UTC.
    Truncate {
        /// The column.
        column: String,
        /// More than zero.
        step: SignedDuration,
    },
    /// Texts keep only their first characters.
    Shorten {
        /// The column.
        column: String,
        /// Characters kept.
        length: usize,
    },
    /// Values become keyed hashes.
    Pseudonymise(Vec<String>),
    /// Rows become groups by interval.
    Aggregate {
        /// The column with the time.
        time: String,
        /// The length of an interval, more than zero.
        interval: SignedDuration,
    },
    /// Groups are also by these columns.
    Group(Vec<String>),
    /// What is told of groups.
    Tell(Summary, Vec<String>),
    /// Fewest rows of a group that is handed on.
    MinimumGroup(u64),
}

/// What is told of the values in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Summary {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

impl Summary {
    /// The word in names of columns and operands.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

impl Transform {
    /// What a comparison demands of the data; `None` where it is about something else.
    ///
    /// # Errors
    /// It begins like a transformation and is none; says why.
    pub fn of(atomic: &Atomic) -> Result<Option<Self>, String> {
        let Some(rest) = atomic.left.strip_prefix(PREFIX) else { return Ok(None) };
        if atomic.about != About::Action {
            return Err("what is done to the data is a refinement of the action".to_owned());
        }
        let (what, of) = rest.split_once(':').map_or((rest, None), |(what, of)| (what, Some(of)));
        let column = || {
            of.filter(|column| !column.is_empty())
                .map(str::to_owned)
                .ok_or_else(|| format!("`{}` names no column", atomic.left))
        };
        let is_list = matches!(atomic.operator, Operator::Eq | Operator::IsAllOf);
        let must = |fits: bool| {
            if fits {
                Ok(())
            } else {
                Err(format!("the operator `{}` means nothing for `{}`", atomic.operator.term(), atomic.left))
            }
        };
        let names = || {
            must(is_list && of.is_none())?;
            names(&atomic.right)
        };
        let one = || match atomic.right.as_slice() {
            [one] => Ok(one),
            _ => Err(format!("`{}` takes one value", atomic.left)),
        };
        let wrong = |wanted: &str| Err(format!("`{}` takes {wanted}", atomic.left));
        Ok(Some(match what {
            "keep" => Self::Keep(names()?),
            "drop" => Self::Drop(names()?),
            "pseudonymise" => Self::Pseudonymise(names()?),
            "group" => Self::Group(names()?),
            "mean" => Self::Tell(Summary::Mean, names()?),
            "sum" => Self::Tell(Summary::Sum, names()?),
            "min" => Self::Tell(Summary::Min, names()?),
            "max" => Self::Tell(Summary::Max, names()?),
            "where" => {
                must(!matches!(
                    atomic.operator,
                    Operator::HasPart | Operator::IsA | Operator::IsAllOf | Operator::IsPartOf
                ))?;
                let values = atomic.right.clone();
                Self::Where { column: column()?, operator: atomic.operator, values }
            }
            "place" => {
                must(matches!(atomic.operator, Operator::Eq | Operator::IsPartOf))?;
                let Value::Area(area) = one()? else { return wrong("a rectangle (geo:wktLiteral)") };
                let columns = match of.map(|of| of.split_once(':')) {
                    None => None,
                    Some(Some((latitude, longitude))) => Some((latitude.to_owned(), longitude.to_owned())),
                    Some(None) => return wrong("two columns, `place:LATITUDE:LONGITUDE`"),
                };
                Self::Place { columns, area: *area }
            }
            "round" => {
                must(atomic.operator == Operator::Eq)?;
                match number(one()?) {
                    Some(step) if step > 0.0 => Self::Round { column: column()?, step },
                    Some(_) => return wrong("a number above zero"),
                    None => match duration(one()?) {
                        Some(step) => Self::Truncate { column: column()?, step },
                        None => return wrong("a number or a duration, above zero"),
                    },
                }
            }
            "shorten" => {
                must(atomic.operator == Operator::Eq)?;
                match number(one()?).and_then(count) {
                    Some(length) => Self::Shorten {
                        column: column()?,
                        length: usize::try_from(length).unwrap_or_default(),
                    },
                    None => return wrong("a count of characters"),
                }
            }
            "aggregate" => {
                must(atomic.operator == Operator::Eq)?;
                match duration(one()?) {
                    Some(interval) => Self::Aggregate { time: column()?, interval },
                    None => return wrong("a duration of days, hours, minutes or seconds, above zero"),
                }
            }
            "minimum-group" => {
                must(matches!(atomic.operator, Operator::Eq | Operator::Gteq) && of.is_none())?;
                match number(one()?).and_then(count) {
                    Some(rows) => Self::MinimumGroup(rows),
                    None => return wrong("a count of rows"),
                }
            }
            _ => return Err(format!("`{}` is nothing that this node can do to data", atomic.left)),
        }))
    }
}

/// The columns of the data that terms name, each with the place of the comparison that names it. What is told of groups
/// under names of its own (`rows`, `no2.mean`) is no column of the data.
pub(crate) fn columns(policy: &Policy) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    for rule in &policy.permissions {
        let told = |name: &String| {
            let summary = [Summary::Mean, Summary::Sum, Summary::Min, Summary::Max];
            name == "rows" || summary.iter().any(|one| name.ends_with(&format!(".{}", one.word())))
        };
        let groups = of_rule(rule).any(|one| matches!(one, Transform::Aggregate { .. }));
        for atomic in rule.refinements.iter().flat_map(|one| one.atoms()) {
            let named = match Transform::of(atomic) {
                Ok(Some(Transform::Keep(names) | Transform::Drop(names))) => {
                    names.into_iter().filter(|name| !(groups && told(name))).collect()
                }
                Ok(Some(
                    Transform::Pseudonymise(names) | Transform::Group(names) | Transform::Tell(_, names),
                )) => names,
                Ok(Some(
                    Transform::Where { column, .. }
                    | Transform::Round { column, .. }
                    | Transform::Truncate { column, .. }
                    | Transform::Shorten { column, .. }
                    | Transform::Aggregate { time: column, .. },
                )) => vec![column],
                Ok(Some(Transform::Place { columns: Some((latitude, longitude)), .. })) => {
                    vec![latitude, longitude]
                }
                _ => Vec::new(),
            };
            found.extend(named.into_iter().map(|name| (atomic.path.as_str(), name)));
        }
    }
    found
}

/// What the permission that decided demands of the data, in the order of the policy.
#[must_use]
pub fn transforms(policy: &Policy, decision: &Decision) -> Vec<Transform> {
    let decided = |path: &str| decision.reasons.iter().any(|reason| reason.rule == path);
    policy.permissions.iter().filter(|rule| decided(&rule.path)).flat_map(of_rule).collect()
}

/// What each permission of a policy demands of the data, whichever may decide.
#[must_use]
pub fn transforms_of_each(policy: &Policy) -> Vec<Vec<Transform>> {
    policy.permissions.iter().map(|rule| of_rule(rule).collect()).collect()
}

fn of_rule(rule: &Rule) -> impl Iterator<Item = Transform> {
    // Of alternatives, all are carried out: whichever was meant, it is done.
    let atoms = rule.refinements.iter().flat_map(|one| one.atoms());
    atoms.filter_map(|atomic| Transform::of(atomic).ok().flatten())
}

fn names(values: &[Value]) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for value in values {
        let Value::Term(text) = value else { return Err("columns are named by texts".to_owned()) };
        names.extend(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
    }
    if names.is_empty() { Err("no column is named".to_owned()) } else { Ok(names) }
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.near(),
        Value::Term(text) => text.parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be whole and small"
)]
fn count(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (1.0..1e9).contains(&number)).then_some(number as u64)
}

fn duration(value: &Value) -> Option<SignedDuration> {
    let length = match value {
        Value::Duration { months: 0, nanoseconds } => {
            SignedDuration::from_nanos(i64::try_from(*nanoseconds).ok()?)
        }
        Value::Term(text) => crate::literal::length(text).ok().or_else(|| text.parse().ok())?,
        _ => return None,
    };
    length.is_positive().then_some(length)
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        match self {
            Self::Keep(names) => write!(f, "only {} are handed on", list(names)),
            Self::Drop(names) => write!(f, "{} are left out", list(names)),
            Self::Where { column, operator, values } => {
                let verb = match operator {
                    Operator::Neq => "is not",
                    Operator::Gt => "is above",
                    Operator::Gteq => "is at least",
                    Operator::Lt => "is below",
                    Operator::Lteq => "is at most",
                    Operator::IsAnyOf => "is one of",
                    Operator::IsNoneOf => "is none of",
                    _ => "is",
                };
                let values = values.iter().map(crate::explain::value).collect::<Vec<_>>().join(", ");
                write!(f, "only rows are handed on whose {} {verb} {values}", quoted(column))
            }
            Self::Place { columns, area: [west, south, east, north] } => {
                write!(f, "only rows are handed on that lie within {south}°–{north}° N, {west}°–{east}° E")?;
                match columns {
                    None => Ok(()),
                    Some((latitude, longitude)) => {
                        write!(f, " (by {} and {})", quoted(latitude), quoted(longitude))
                    }
                }
            }
            Self::Round { column, step } => write!(f, "{} is rounded to multiples of {step}", quoted(column)),
            Self::Truncate { column, step } => {
                write!(f, "the time {} is cut to steps of {step:#}", quoted(column))
            }
            Self::Shorten { column, length } => {
                write!(f, "of {} only the first {length} characters are handed on", quoted(column))
            }
            Self::Pseudonymise(names) => {
                write!(f, "a hash with a key of this agreement takes the place of {}", list(names))
            }
            Self::Aggregate { time, interval } => {
                write!(f, "rows are brought together by intervals of {interval:#} of {}", quoted(time))
            }
            Self::Group(names) => write!(f, "groups are by {}", list(names)),
            Self::Tell(summary, names) => write!(f, "the {} of {} is told", summary.word(), list(names)),
            Self::MinimumGroup(rows) => write!(f, "groups of fewer than {rows} rows are left out"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{Hierarchy, Outcome, Request, World, evaluate};

    fn policy(refinements: Json) -> Policy {
        let key = "http://www.w3.org/ns/odrl/2/refinement";
        Policy::parse(&json!({"@type": "Set", "permission": [{"action": "use", key: refinements}]})).unwrap()
    }

    fn c(left: &str, operator: &str, right: Json) -> Json {
        json!({"leftOperand": format!("{PREFIX}{left}"), "operator": operator, "rightOperand": right})
    }

    fn decided(policy: &Policy) -> Decision {
        let known = Hierarchy::shipped();
        let request = Request { action: "use", party: "urn:a", target: None };
        evaluate(policy, &request, &World::at(jiff::Timestamp::UNIX_EPOCH, &known))
    }

    #[test]
    fn what_can_be_carried_out_permits_and_is_told_in_words() {
        let area = json!({"@value": "POLYGON((2 49, 7 49, 7 52, 2 52, 2 49))", "@type": "geo:wktLiteral"});
        let policy = policy(json!([
            c("keep", "eq", json!("station, at,no2")),
            c("where:at", "gteq", json!({"@value": "2026-01-01T00:00:00Z", "@type": "xsd:dateTime"})),
            c("place:lat:lon", "isPartOf", area),
            c("round:no2", "eq", json!("5")),
            c("round:at", "eq", json!("PT1H")),
            c("shorten:postcode", "eq", json!("3")),
            c("pseudonymise", "isAllOf", json!(["station", "device"])),
        ]));
        let decision = decided(&policy);
        assert_eq!(decision.outcome, Outcome::Permit, "{}", decision.reason());
        let all = transforms(&policy, &decision);
        assert_eq!(all.len(), 7);
        assert_eq!(all.first(), Some(&Transform::Keep(vec!["station".into(), "at".into(), "no2".into()])));
        assert_eq!(all.get(3), Some(&Transform::Round { column: "no2".into(), step: 5.0 }));
        let reason = decision.reason();
        for words in
            ["only `station`, `at`, `no2` are handed on", "`no2` is rounded to multiples of 5", "49°–52° N"]
        {
            assert!(reason.contains(words), "{words}: {reason}");
        }
    }

    #[test]
    fn what_cannot_be_carried_out_permits_nothing() {
        for wrong in [
            c("keep", "gt", json!("a")),
            c("round:no2", "eq", json!("0")),
            c("round", "eq", json!("5")),
            c("encrypt:no2", "eq", json!("1")),
            c("place:lat", "isPartOf", json!({"@value": "POINT(1 1)", "@type": "geo:wktLiteral"})),
            c("aggregate:at", "eq", json!("often")),
        ] {
            let decision = decided(&policy(json!([wrong.clone()])));
            assert_eq!(decision.outcome, Outcome::Deny, "{wrong}");
        }
        let as_condition = json!({"@type": "Set", "permission": [
            {"action": "use", "constraint": [c("keep", "eq", json!("a"))]}]});
        assert_eq!(decided(&Policy::parse(&as_condition).unwrap()).outcome, Outcome::Deny);
    }

    #[test]
    fn only_the_permission_that_applies_is_carried_out() {
        let key = "http://www.w3.org/ns/odrl/2/refinement";
        let both = Policy::parse(&json!({"@type": "Set", "permission": [
            {"action": "use", "constraint": [{"leftOperand": "assignee", "operator": "eq", "rightOperand": "urn:b"}]},
            {"action": "use", key: [c("drop", "eq", json!("name"))]}]}))
        .unwrap();
        assert_eq!(transforms(&both, &decided(&both)), [Transform::Drop(vec!["name".into()])]);
    }

    #[test]
    fn terms_without_the_refinement_are_other_terms() {
        let strict = policy(json!([c("drop", "eq", json!("name"))]));
        let free = policy(json!([]));
        let known = Hierarchy::shipped();
        assert_ne!(crate::within(&free, &strict, &known), crate::Containment::Within);
    }
}
