//! What an agreement demands of the data, done while it flows: rows left out, columns left out, values made coarse, hidden,
//! or brought together in groups. Memory stays constant, whatever the size.
//!
//! The order is always the same: what a person does not permit is left out; rows are chosen by what the source says; then values are rounded, shortened and
//! pseudonymised; then rows are brought together; then columns are left out.

mod aggregate;

use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use policy_engine::area::contains;
use policy_engine::{Decimal, Operator, Transform, Value};
use serde_json::Value as Json;
use sha2::Sha256;

use self::aggregate::Aggregate;
use crate::persons::{OfPersons, subject_text};
use crate::released::{Hashes, Releasing};
use crate::rows::exact::Exact;
use crate::rows::names::{Fate, Reach, change_value, is_alike, twice};
use crate::rows::{Form, Row, RowError, number};

/// Attributes that say what an entity of NGSI-LD is; they are kept unless they are dropped by name.
const IDENTITY: [&str; 3] = ["id", "type", "@context"];

/// What is demanded, with the key under which values are pseudonymised.
#[derive(Debug, Clone, Default)]
pub struct Obligations {
    transforms: Arc<[Transform]>,
    key: PseudonymKey,
    of_persons: Option<OfPersons>,
    only: Option<(String, String)>,
}

/// A key of one agreement.
#[derive(Clone, Default)]
pub struct PseudonymKey(Vec<u8>);

impl PseudonymKey {
    /// A key; 32 bytes.
    #[must_use]
    pub const fn new(key: Vec<u8>) -> Self {
        Self(key)
    }
}

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey")
    }
}

impl Obligations {
    /// What `transforms` demand.
    #[must_use]
    pub fn new(transforms: Vec<Transform>, key: PseudonymKey) -> Self {
        Self { transforms: transforms.into(), key, of_persons: None, only: None }
    }

    /// Only rows that name `subject` in `column`, exactly as it is written.
    #[must_use]
    pub fn about(column: String, subject: String) -> Self {
        Self { only: Some((column, subject)), ..Self::default() }
    }

    /// The same, for rows about persons.
    #[must_use]
    pub fn with_persons(self, of_persons: OfPersons) -> Self {
        Self { of_persons: Some(of_persons), ..self }
    }

    /// Whether data goes as it comes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.transforms.is_empty() && self.of_persons.is_none() && self.only.is_none()
    }

    /// Each in words.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let transforms = self.transforms.iter().map(ToString::to_string);
        let only = self.only.iter().map(|(column, _)| {
            format!("only rows about the person who asks are handed on (column {column})")
        });
        only.chain(self.of_persons.iter().map(OfPersons::words)).chain(transforms).collect()
    }

    /// What carries them out on rows of `form`.
    ///
    /// # Errors
    /// They cannot be carried out together.
    pub fn stage(&self, form: Form) -> Result<Stage, RowError> {
        let of_persons = self.of_persons.clone();
        let mut stage = Stage { form, key: self.key.clone(), of_persons, ..Stage::default() };
        if let Some((column, subject)) = &self.only {
            stage.filters.push(Filter::Subject { column: column.clone(), subject: subject.clone() });
        }
        // Persons are compared as they are written.
        let is_subject = |column: &str| self.of_persons.as_ref().is_some_and(|one| *one.subject == *column);
        let mut aggregate = aggregate::Plan::default();
        for transform in self.transforms.iter() {
            match transform {
                Transform::Keep(names) => {
                    // Named twice, both count: only what all of them name is kept.
                    let names = names.iter().map(|name| Arc::from(name.as_str()));
                    stage.keep = Some(match stage.keep.take() {
                        None => names.collect(),
                        Some(before) => names.filter(|name| before.contains(name)).collect(),
                    });
                }
                Transform::Drop(names) => {
                    stage.drop.extend(names.iter().map(|name| Arc::from(name.as_str())))
                }
                Transform::Where { column, operator, values } => stage.filters.push(Filter::Value {
                    column: column.clone(),
                    operator: *operator,
                    values: values.clone(),
                    as_text: is_subject(column),
                }),
                Transform::Place { columns, area } => {
                    stage.filters.push(Filter::Place { columns: columns.clone(), area: *area });
                }
                Transform::Round { column, step } => {
                    stage.changes.push((column.clone(), Coarse::round(*step)))
                }
                Transform::Truncate { column, step } => {
                    stage.changes.push((column.clone(), Coarse::Truncate(*step)));
                }
                Transform::Shorten { column, length } => {
                    stage.changes.push((column.clone(), Coarse::Shorten(*length)));
                }
                Transform::Pseudonymise(names) => {
                    stage.changes.extend(names.iter().map(|name| (name.clone(), Coarse::Pseudonym)));
                }
                Transform::Aggregate { time, interval } => aggregate.interval(time, *interval),
                Transform::Group(names) => aggregate.by.extend(names.iter().cloned()),
                Transform::Tell(summary, names) => {
                    aggregate.told.extend(names.iter().map(|name| (*summary, name.clone())));
                }
                Transform::MinimumGroup(rows) => aggregate.at_least(*rows),
            }
        }
        // A pseudonym is made of what is left, so that it tells no more than that.
        stage.changes.sort_by_key(|(_, change)| matches!(change, Coarse::Pseudonym));
        stage.aggregate = aggregate.build()?;
        stage.asks("");
        Ok(stage)
    }
}

/// How a value of `column` looks to whoever receives data to which `transforms` are done; `None` where it does not come
/// through, or only in groups.
#[must_use]
pub fn delivered(transforms: &[Transform], column: &str, value: &str, key: &PseudonymKey) -> Option<String> {
    let on_rows = |one: &&Transform| !matches!(one, Transform::Where { .. } | Transform::Place { .. });
    let done = Obligations::new(transforms.iter().filter(on_rows).cloned().collect(), key.clone());
    let mut stage = done.stage(Form::Csv).ok()?;
    let row = stage.apply(Row(vec![(Arc::from(column), Json::String(value.to_owned()))])).ok()??;
    row.get(column)?.as_str().map(str::to_owned)
}

/// Rows that are handed on.
pub(crate) enum Told {
    Now(Vec<Row>),
    /// Once it is known what may be told of groups.
    Later(Pending),
}

/// Groups of which it is asked what may be told.
pub(crate) struct Pending {
    rows: Vec<Row>,
    heads: Vec<Row>,
    names: Vec<Arc<str>>,
    pub(crate) releasing: Releasing,
}

/// Carries obligations out, row by row.
#[derive(Debug)]
pub struct Stage {
    form: Form,
    keep: Option<Vec<Arc<str>>>,
    drop: Vec<Arc<str>>,
    filters: Vec<Filter>,
    changes: Vec<(String, Coarse)>,
    aggregate: Option<Aggregate>,
    key: PseudonymKey,
    of_persons: Option<OfPersons>,
    checked: bool,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            form: Form::Json,
            keep: None,
            drop: Vec::new(),
            filters: Vec::new(),
            changes: Vec::new(),
            aggregate: None,
            key: PseudonymKey::default(),
            of_persons: None,
            checked: false,
        }
    }
}

impl Stage {
    /// In a table with a line of names, every column that the agreement names must be there: one that was renamed must not
    /// slip through.
    pub(crate) fn check(&mut self, columns: &[Arc<str>]) -> Result<(), RowError> {
        if self.checked {
            return Ok(());
        }
        let count = |name: &str| columns.iter().filter(|column| &***column == name).count();
        let filters = self.filters.iter().flat_map(Filter::columns);
        let changes = self.changes.iter().map(|(name, _)| name.as_str());
        let grouped = self.aggregate.iter().flat_map(Aggregate::columns);
        let dropped = self.drop.iter().map(|name| &**name).filter(|_| self.aggregate.is_none());
        let kept = self.keep.iter().flatten().map(|name| &**name).filter(|_| self.aggregate.is_none());
        let of_persons = self.of_persons.iter().flat_map(OfPersons::columns);
        for name in of_persons.chain(filters).chain(changes).chain(grouped).chain(dropped).chain(kept) {
            if count(name) == 0 {
                return Err(RowError(format!(
                    "the agreement names a column `{name}`, which the data does not have; its provider must say what became of it"
                )));
            }
        }
        if let Some(name) = self.read_names().find(|name| count(name) > 1) {
            return Err(twice(name));
        }
        // What is handed on may not look like what is left out or changed.
        let handed_on = |column: &&Arc<str>| self.aggregate.is_none() && self.stays(column, false);
        for column in columns.iter().filter(handed_on) {
            if let Some(name) = self.treated().find(|name| **name != **column && is_alike(name, column)) {
                return Err(RowError(format!(
                    "the data has a column `{}`, and the agreement says `{name}`: whether both are the same is not known, so that the agreement cannot be kept; the data's provider must write one as the other",
                    column.escape_debug()
                )));
            }
        }
        self.checked = true;
        Ok(())
    }

    /// Names of values on which it depends what is done; each must stand once.
    fn read_names(&self) -> impl Iterator<Item = &str> {
        let subject = self.of_persons.iter().map(|of_persons| &*of_persons.subject);
        let filters = self.filters.iter().flat_map(Filter::columns);
        subject.chain(filters).chain(self.aggregate.iter().flat_map(Aggregate::columns))
    }

    /// Names of values that are left out or changed.
    fn treated(&self) -> impl Iterator<Item = &str> {
        let attributes = self.of_persons.iter().flat_map(|of_persons| of_persons.attributes.iter());
        let changes = self.changes.iter().map(|(name, _)| name.as_str());
        attributes.chain(&self.drop).map(|name| &**name).chain(changes)
    }

    /// Which numbers are to stay as they are written, whatever they are worth: those that tell somebody apart.
    pub(crate) fn exact(&self) -> Exact {
        let subject = self.of_persons.iter().map(|of_persons| &*of_persons.subject);
        let hidden = self.changes.iter().filter(|(_, change)| matches!(change, Coarse::Pseudonym));
        let asked = self.filters.iter().filter_map(Filter::subject);
        let grouped = self.aggregate.iter().flat_map(Aggregate::grouped_by);
        let texts = subject.chain(hidden.map(|(name, _)| name.as_str())).chain(asked).chain(grouped);
        Exact { texts: texts.map(str::to_owned).collect() }
    }

    /// What becomes of a row; `None` where it is left out, or waits in a group.
    ///
    /// # Errors
    /// The row is no object: what has no names cannot be left out by name.
    pub(crate) fn apply(&mut self, mut row: Row) -> Result<Option<Row>, RowError> {
        if self.form != Form::Csv && row.is_bare() {
            return Err(RowError(
                "its rows are no objects with names, so that the agreement cannot be kept".to_owned(),
            ));
        }
        // What a person does not permit is gone before anything else is done, so that nothing else tells of it.
        let permitted = match &self.of_persons {
            None => None,
            Some(of_persons) => match of_persons.leave(&mut row, self.form)? {
                None => return Ok(None),
                permitted => permitted,
            },
        };
        for filter in &self.filters {
            if !filter.lets_through(&row)? {
                return Ok(None);
            }
        }
        if let (Some(of_persons), Some(permitted)) = (&self.of_persons, &permitted) {
            of_persons.persons.handed_on(permitted);
        }
        for (column, change) in &self.changes {
            let key = &self.key;
            let reach = match change {
                Coarse::Pseudonym => Reach::Values,
                Coarse::Round { .. } | Coarse::Shorten(_) | Coarse::Truncate(_) => Reach::Itself,
            };
            row.change(column, self.form, reach, &mut |value| {
                change_value(value, &mut |value| change.make(value, key)).map(|()| Fate::Stays)
            })?;
        }
        if let Some(aggregate) = &mut self.aggregate {
            aggregate.take(&row, permitted.map(|permitted| permitted.person))?;
            return Ok(None);
        }
        self.leave_out(row).map(Some)
    }

    /// What is asked of the source, which groups depend on.
    pub(crate) fn asks(&mut self, asked: &str) {
        let releases = self.of_persons.as_ref().and_then(|of_persons| of_persons.releases.as_ref());
        if let (Some(aggregate), Some(releases)) = (&mut self.aggregate, releases) {
            let hashes = Hashes::new(releases.salt());
            let asked = format!("{:016x}", hashes.of(asked.as_bytes()));
            aggregate.keep(hashes, asked, releases.most_members());
        }
    }

    /// One row of a live stream: what is to be handed on now.
    pub(crate) fn apply_live(&mut self, row: Row) -> Result<Told, RowError> {
        if let Some(row) = self.apply(row)? {
            return Ok(Told::Now(vec![row]));
        }
        let closed = self.aggregate.as_mut().map(Aggregate::closed).unwrap_or_default();
        Ok(self.tell(closed))
    }

    /// What is left once all rows came: the groups.
    pub(crate) fn finish(&mut self) -> Told {
        let groups = self.aggregate.as_mut().map(Aggregate::finish).unwrap_or_default();
        self.tell(groups)
    }

    fn tell(&self, told: aggregate::Told) -> Told {
        let rows: Vec<_> = told.rows.into_iter().map(|row| self.of_group(row)).collect();
        let releases = self.of_persons.as_ref().and_then(|of_persons| of_persons.releases.as_ref());
        let (Some(releases), Some(aggregate), false) = (releases, &self.aggregate, told.asked.is_empty())
        else {
            return Told::Now(rows);
        };
        let (heads, groups): (Vec<_>, Vec<_>) = told.asked.into_iter().unzip();
        Told::Later(Pending { rows, heads, names: aggregate.names(), releasing: releases.release(groups) })
    }

    /// What may be told of groups, once that is known.
    pub(crate) fn released(&self, pending: Pending, allowed: Vec<Option<Vec<Json>>>) -> Vec<Row> {
        let Pending { rows, heads, names, .. } = pending;
        let told = heads.into_iter().zip(allowed).filter_map(|(head, told)| {
            Some(self.of_group(aggregate::with_tail(head, &names, told?.into_iter())))
        });
        rows.into_iter().chain(told.collect::<Vec<_>>()).collect()
    }

    /// The columns that `columns` become.
    pub(crate) fn columns(&self, columns: &[Arc<str>]) -> Vec<Arc<str>> {
        let columns = match &self.aggregate {
            None => columns.to_vec(),
            Some(aggregate) => aggregate.names(),
        };
        columns.into_iter().filter(|name| self.stays(name, false)).collect()
    }

    fn stays(&self, name: &Arc<str>, of_entity: bool) -> bool {
        let named = |names: &[Arc<str>]| names.contains(name);
        let is_identity = of_entity && IDENTITY.contains(&&**name);
        !named(&self.drop) && self.keep.as_deref().is_none_or(|keep| named(keep) || is_identity)
    }

    fn leave_out(&self, mut row: Row) -> Result<Row, RowError> {
        if self.form == Form::Csv {
            row.0.retain(|(name, _)| self.stays(name, false));
            return Ok(row);
        }
        let is_entity = self.form == Form::Json && row.is_entity();
        for name in &self.drop {
            row.at_each(name, Reach::All, &mut |_| Ok(Fate::Goes))?;
        }
        if let Some(keep) = &self.keep {
            row.keep_only(keep, |name| is_entity && IDENTITY.contains(&name));
        }
        Ok(row)
    }

    /// What is told of a group has names of its own.
    fn of_group(&self, mut row: Row) -> Row {
        row.0.retain(|(name, _)| self.stays(name, false));
        row
    }
}

#[derive(Debug)]
enum Filter {
    Place {
        columns: Option<(String, String)>,
        area: [f64; 4],
    },
    /// Whom a row is about, compared as it is written.
    Subject {
        column: String,
        subject: String,
    },
    Value {
        column: String,
        operator: Operator,
        values: Vec<Value>,
        as_text: bool,
    },
}

impl Filter {
    fn columns(&self) -> Vec<&str> {
        match self {
            Self::Place { columns: None, .. } => Vec::new(),
            Self::Place { columns: Some((latitude, longitude)), .. } => vec![latitude, longitude],
            Self::Subject { column, .. } | Self::Value { column, .. } => vec![column],
        }
    }

    /// The column, where it tells persons apart.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::Subject { column, .. } | Self::Value { column, as_text: true, .. } => Some(column),
            Self::Place { .. } | Self::Value { as_text: false, .. } => None,
        }
    }

    /// What is not said, or cannot be compared, does not pass.
    ///
    /// # Errors
    /// It is said twice.
    fn lets_through(&self, row: &Row) -> Result<bool, RowError> {
        Ok(match self {
            Self::Place { columns: Some((latitude, longitude)), area } => {
                let at = |column: &str| Ok::<_, RowError>(row.only(column)?.and_then(number));
                matches!((at(longitude)?, at(latitude)?), (Some(x), Some(y)) if contains(*area, x, y))
            }
            Self::Place { columns: None, area } => {
                for name in PLACES {
                    row.only(name)?;
                }
                crate::rows::geometry(row).is_some_and(|geometry| {
                    let mut any = false;
                    let all = positions(geometry.get("coordinates").unwrap_or(&Json::Null), &mut |x, y| {
                        any = true;
                        contains(*area, x, y)
                    });
                    any && all
                })
            }
            Self::Subject { column, subject } => {
                row.only(column)?.and_then(subject_text).is_some_and(|found| *found == **subject)
            }
            Self::Value { column, operator, values, as_text } => {
                let Some(found) = row.only(column)?.filter(|value| !value.is_null()) else {
                    return Ok(false);
                };
                let one = |wanted: &Value| match wanted {
                    Value::Term(wanted) if *as_text && !operator.is_ordering() => {
                        subject_text(found).map(|found| (*found).cmp(wanted))
                    }
                    wanted => compare(found, *operator, wanted),
                };
                let any = |fits: fn(std::cmp::Ordering) -> bool| values.iter().filter_map(one).any(fits);
                match operator {
                    Operator::Eq | Operator::IsAnyOf => any(std::cmp::Ordering::is_eq),
                    Operator::Neq | Operator::IsNoneOf => {
                        let all: Vec<_> = values.iter().map(one).collect();
                        all.iter().all(|order| order.is_some_and(std::cmp::Ordering::is_ne))
                    }
                    Operator::Gt => any(std::cmp::Ordering::is_gt),
                    Operator::Gteq => any(std::cmp::Ordering::is_ge),
                    Operator::Lt => any(std::cmp::Ordering::is_lt),
                    Operator::Lteq => any(std::cmp::Ordering::is_le),
                    _ => false,
                }
            }
        })
    }
}

/// Members in which a row may say where it is.
const PLACES: [&str; 3] = ["geometry", "location", "geom"];

/// Every position of nested coordinates.
fn positions(coordinates: &Json, fits: &mut impl FnMut(f64, f64) -> bool) -> bool {
    let Json::Array(all) = coordinates else { return true };
    match (all.first().and_then(Json::as_f64), all.get(1).and_then(Json::as_f64)) {
        (Some(x), Some(y)) => fits(x, y),
        _ => all.iter().all(|one| positions(one, fits)),
    }
}

/// How what was found stands to what is wanted; `None` where they cannot be compared. Two texts that both are numbers are
/// compared as numbers, digit by digit; `0123` is no number.
fn compare(found: &Json, operator: Operator, wanted: &Value) -> Option<std::cmp::Ordering> {
    match wanted {
        Value::Number(wanted) => Some(decimal(found)?.cmp(wanted)),
        Value::Instant(wanted) => Some(instant(found.as_str()?)?.cmp(wanted)),
        // A date is its whole day.
        Value::Day(wanted) => {
            let found = instant(found.as_str()?)?;
            Some(if found < wanted.start() {
                std::cmp::Ordering::Less
            } else if found < wanted.end() {
                std::cmp::Ordering::Equal
            } else {
                std::cmp::Ordering::Greater
            })
        }
        Value::Term(wanted) => match found {
            Json::String(found) => match (plain(found), plain(wanted)) {
                (Some(found), Some(wanted)) => Some(found.cmp(&wanted)),
                // One is a number, the other is none: they differ, and neither is above the other.
                (Some(_), None) | (None, Some(_)) if operator.is_ordering() => None,
                _ => Some(found.cmp(wanted)),
            },
            Json::Bool(found) => Some(found.to_string().as_str().cmp(wanted)),
            other => Some(decimal(other)?.cmp(&plain(wanted)?)),
        },
        _ => None,
    }
}

/// A number, also one that is written as text; exactly.
fn decimal(value: &Json) -> Option<Decimal> {
    match value {
        Json::Number(number) => Decimal::parse(&number.to_string()),
        Json::String(text) => Decimal::parse(text.trim()),
        _ => None,
    }
}

/// A text that JSON would take for a number.
fn plain(text: &str) -> Option<Decimal> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    match digits {
        [b'0', b'0'..=b'9', ..] => None,
        [b'0'..=b'9', ..] if !text.ends_with('.') => Decimal::parse(text),
        _ => None,
    }
}

/// A point in time as data has it; one without a zone is taken as UTC.
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let civil = text
        .parse::<DateTime>()
        .ok()
        .or_else(|| text.parse::<Date>().ok().map(|date| date.to_datetime(jiff::civil::Time::midnight())))?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

/// The beginning of the interval that `at` lies in, counted from 1970 in UTC.
pub(crate) fn interval_of(at: Timestamp, length: SignedDuration) -> Option<Timestamp> {
    let length = length.as_nanos();
    let begin = at.as_nanosecond().div_euclid(length).checked_mul(length)?;
    Timestamp::from_nanosecond(begin).ok()
}

#[derive(Debug)]
enum Coarse {
    Pseudonym,
    Round { step: f64, decimals: usize },
    Shorten(usize),
    Truncate(SignedDuration),
}

impl Coarse {
    fn round(step: f64) -> Self {
        let text = step.to_string();
        Self::Round { step, decimals: text.split_once('.').map_or(0, |(_, rest)| rest.len()) }
    }

    /// What cannot be made coarse is not handed on as it is: it becomes nothing.
    fn make(&self, value: &mut Json, key: &PseudonymKey) -> Result<(), RowError> {
        let is_text = value.is_string();
        match self {
            _ if value.is_null() => {}
            Self::Round { step, decimals } => {
                let rounded =
                    number(value).map(|number| format!("{:.decimals$}", (number / step).round() * step));
                *value = match rounded {
                    None => Json::Null,
                    Some(text) if is_text => Json::String(text),
                    Some(text) => text.parse().map(Json::Number).unwrap_or_default(),
                };
            }
            Self::Truncate(step) => {
                let begin = value.as_str().and_then(instant).and_then(|at| interval_of(at, *step));
                *value = begin.map_or(Json::Null, |begin| Json::String(begin.to_string()));
            }
            Self::Shorten(length) => {
                let text = match &*value {
                    Json::String(text) => text.clone(),
                    other => other.to_string(),
                };
                *value = Json::String(text.chars().take(*length).collect());
            }
            Self::Pseudonym => {
                let text = match &*value {
                    Json::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let mut mac = Hmac::<Sha256>::new_from_slice(&key.0)
                    .map_err(|error| RowError(format!("there is no key for pseudonyms: {error}")))?;
                mac.update(text.as_bytes());
                let hash = mac.finalize().into_bytes();
                *value = Json::String(hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use policy_engine::Summary;

    use super::*;
    use crate::rows::read_all;

    fn done(transforms: Vec<Transform>, form: Form, text: &str) -> Result<Vec<Row>, RowError> {
        let mut stage = Obligations::new(transforms, PseudonymKey::new(vec![7; 32])).stage(form)?;
        let (mut all, mut rows) = (Vec::new(), Vec::new());
        if let Some(columns) = crate::rows::read_strictly(form, text.as_bytes(), &stage, &mut rows)? {
            stage.check(&columns)?;
        }
        for row in rows {
            all.extend(stage.apply(row)?);
        }
        all.extend(now(stage.finish()));
        Ok(all)
    }

    fn now(told: Told) -> Vec<Row> {
        match told {
            Told::Now(rows) => rows,
            Told::Later(_) => panic!("nobody keeps what was told"),
        }
    }

    fn lines(rows: Vec<Row>) -> Vec<String> {
        let cells = |row: Row| {
            let cells =
                row.0.iter().map(|(name, value)| format!("{name}={}", sorted(value).replace('"', "")));
            cells.collect::<Vec<_>>().join(" ")
        };
        rows.into_iter().map(cells).collect()
    }

    /// As JSON, its members by name: in which order they stand depends on what else is built.
    fn sorted(value: &Json) -> String {
        match value {
            Json::Object(map) => {
                let mut members: Vec<_> =
                    map.iter().map(|(name, value)| format!("{name}:{}", sorted(value))).collect();
                members.sort();
                format!("{{{}}}", members.join(","))
            }
            other => other.to_string(),
        }
    }

    const TABLE: &str = "station,at,no2,lat,lon,postcode\n\
        A,2026-01-01T00:10:00Z,12.4,48.1,11.5,80331\n\
        B,2026-01-01T00:50:00Z,17.6,48.2,11.6,80805\n\
        C,2026-01-01T01:10:00Z,40,52.5,13.4,10115\n";

    #[test]
    fn columns_rows_and_values_are_what_the_agreement_says() {
        let rows = done(
            vec![
                Transform::Keep(vec!["station".into(), "at".into(), "no2".into(), "postcode".into()]),
                Transform::Place {
                    columns: Some(("lat".into(), "lon".into())),
                    area: [11.0, 48.0, 12.0, 49.0],
                },
                Transform::Round { column: "no2".into(), step: 5.0 },
                Transform::Truncate { column: "at".into(), step: SignedDuration::from_hours(1) },
                Transform::Shorten { column: "postcode".into(), length: 2 },
            ],
            Form::Csv,
            TABLE,
        );
        assert_eq!(
            lines(rows.unwrap()),
            [
                "station=A at=2026-01-01T00:00:00Z no2=10 postcode=80",
                "station=B at=2026-01-01T00:00:00Z no2=20 postcode=80"
            ]
        );
        let late = Transform::Where {
            column: "at".into(),
            operator: Operator::Gteq,
            values: vec![Value::Instant("2026-01-01T01:00:00Z".parse().unwrap())],
        };
        let rows = done(vec![late, Transform::Drop(vec!["lat".into(), "lon".into()])], Form::Csv, TABLE);
        assert_eq!(lines(rows.unwrap()), ["station=C at=2026-01-01T01:10:00Z no2=40 postcode=10115"]);
    }

    #[test]
    fn a_pseudonym_is_the_same_under_one_key_only() {
        let hidden = |key: u8| {
            let obligations = Obligations::new(
                vec![Transform::Pseudonymise(vec!["station".into()])],
                PseudonymKey::new(vec![key; 32]),
            );
            let mut stage = obligations.stage(Form::Csv).unwrap();
            let rows = read_all(Form::Csv, b"station\nA\nA\nB\n", 9).unwrap();
            lines(rows.into_iter().filter_map(|row| stage.apply(row).unwrap()).collect())
        };
        let (one, other) = (hidden(1), hidden(2));
        assert_eq!(one.first(), one.get(1));
        assert_ne!(one.first(), one.get(2));
        assert_ne!(one, other);
        assert!(one.iter().all(|line| line.len() == "station=".len() + 32));
    }

    /// Permits `anna` everything but `place`, and `ben` nothing.
    #[derive(Debug, Default)]
    struct Two(std::sync::atomic::AtomicU64);

    impl crate::Persons for Two {
        fn permits(&self, subject: &str) -> Option<crate::Permitted> {
            (subject == "anna")
                .then(|| crate::Permitted { person: [1; 16], hidden: Arc::from([Arc::from("place")]) })
        }

        fn permitted_elsewhere(&self, subject: &str) -> Option<crate::Permitted> {
            self.permits(subject)
        }

        fn handed_on(&self, _: &crate::Permitted) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn persons_are_asked_row_by_row() {
        let persons = Arc::new(Two::default());
        let of_persons = OfPersons {
            subject: "who".into(),
            attributes: Arc::from([Arc::from("place")]),
            persons: Arc::<Two>::clone(&persons),
            releases: None,
        };
        let more = Transform::Where {
            column: "km".into(),
            operator: Operator::Gt,
            values: vec![Value::Number(Decimal::whole(3))],
        };
        let done = |form, text: &str| {
            let obligations = Obligations::new(vec![more.clone()], PseudonymKey::default())
                .with_persons(of_persons.clone());
            assert!(!obligations.is_empty() && obligations.words().len() == 2);
            let mut stage = obligations.stage(form).unwrap();
            let rows = read_all(form, text.as_bytes(), 9).unwrap();
            lines(rows.into_iter().filter_map(|row| stage.apply(row).unwrap()).collect())
        };
        let table = "who,place,km\nanna,home,5\nben,home,9\nanna,work,1\n,home,7\n";
        assert_eq!(done(Form::Csv, table), ["who=anna place=null km=5"]);
        let objects =
            r#"[{"who":"anna","place":"home","km":5},{"who":"ben","km":9},{"km":7},{"who":["anna"],"km":8}]"#;
        assert_eq!(done(Form::Json, objects), ["who=anna km=5"]);
        assert_eq!(persons.0.load(std::sync::atomic::Ordering::Relaxed), 2, "what was left out is not noted");
        let mut stage = Obligations::default().with_persons(of_persons.clone()).stage(Form::Csv).unwrap();
        let renamed = [Arc::from("who"), Arc::from("position")];
        assert!(stage.check(&renamed).unwrap_err().0.contains("`place`"), "an attribute that was renamed");
    }

    /// Permits everything, and tells persons by their first letter.
    #[derive(Debug)]
    struct Anybody;

    impl crate::Persons for Anybody {
        fn permits(&self, subject: &str) -> Option<crate::Permitted> {
            Some(crate::Permitted { person: [*subject.as_bytes().first()?; 16], hidden: Arc::from([]) })
        }

        fn permitted_elsewhere(&self, subject: &str) -> Option<crate::Permitted> {
            self.permits(subject)
        }

        fn handed_on(&self, _: &crate::Permitted) {}
    }

    #[test]
    fn a_group_is_large_by_the_persons_in_it_not_by_their_rows() {
        let of_persons = OfPersons {
            subject: "who".into(),
            attributes: Arc::from([]),
            persons: Arc::new(Anybody),
            releases: None,
        };
        let transforms = vec![
            Transform::Aggregate { time: "at".into(), interval: SignedDuration::from_hours(1) },
            Transform::MinimumGroup(3),
        ];
        let mut stage = Obligations::new(transforms, PseudonymKey::default())
            .with_persons(of_persons)
            .stage(Form::Csv)
            .unwrap();
        let mut table = "who,at\n".to_owned();
        for (hour, who) in [(0, "aaaaaaa"), (1, "abc")] {
            table.extend(who.chars().map(|one| format!("{one},2026-01-01T0{hour}:00:00Z\n")));
        }
        for row in read_all(Form::Csv, table.as_bytes(), 99).unwrap() {
            stage.apply(row).unwrap();
        }
        let told = lines(now(stage.finish()));
        assert_eq!(told, ["at=2026-01-01T01:00:00Z rows=3"], "seven rows of one person are one person");
    }

    #[test]
    fn a_value_rests_on_enough_persons_who_have_it() {
        let transforms = || {
            vec![
                Transform::Aggregate { time: "at".into(), interval: SignedDuration::from_hours(1) },
                Transform::Tell(Summary::Mean, vec!["pay".into(), "km".into()]),
                Transform::Tell(Summary::Max, vec!["pay".into()]),
                Transform::MinimumGroup(3),
            ]
        };
        let table = "who,at,pay,km\na,2026-01-01T00:00:00Z,1000,1\nb,2026-01-01T00:10:00Z,,2\n\
            c,2026-01-01T00:20:00Z,n/a,3\na,2026-01-01T00:30:00Z,1000,4\na,2026-01-01T00:40:00Z,1000,5\n";
        let told = "at=2026-01-01T00:00:00Z pay.mean=null km.mean=3.0 pay.max=null rows=5";
        let of_persons = OfPersons {
            subject: "who".into(),
            attributes: Arc::from([]),
            persons: Arc::new(Anybody),
            releases: None,
        };
        let about = Obligations::new(transforms(), PseudonymKey::default()).with_persons(of_persons);
        let mut stage = about.stage(Form::Csv).unwrap();
        for row in read_all(Form::Csv, table.as_bytes(), 99).unwrap() {
            stage.apply(row).unwrap();
        }
        assert_eq!(lines(now(stage.finish())), [told], "three rows of one person");
        let rows = "at,pay,km\n2026-01-01T00:00:00Z,1000,1\n2026-01-01T00:10:00Z,,2\n2026-01-01T00:20:00Z,,3\n\
            2026-01-01T00:30:00Z,,4\n2026-01-01T00:40:00Z,,5\n";
        assert_eq!(lines(done(transforms(), Form::Csv, rows).unwrap()), [told], "one row has it");
    }

    #[test]
    fn a_value_is_known_as_its_receiver_got_it() {
        let key = PseudonymKey::new(vec![7; 32]);
        let delivered = |transforms: &[Transform]| delivered(transforms, "who", "anna", &key);
        assert_eq!(
            delivered(&[Transform::Round { column: "km".into(), step: 1.0 }]).as_deref(),
            Some("anna")
        );
        assert_eq!(delivered(&[Transform::Drop(vec!["who".into()])]), None);
        let hidden = delivered(&[Transform::Pseudonymise(vec!["who".into()])]).unwrap();
        assert_eq!(hidden.len(), 32);
        let grouped = Transform::Aggregate { time: "at".into(), interval: SignedDuration::from_hours(1) };
        assert_eq!(delivered(&[grouped]), None);
    }

    #[test]
    fn rows_without_names_do_not_slip_through() {
        for form in [Form::Json, Form::JsonLines] {
            for text in ["[\"anna\", 5]", "[[\"anna\", 5]]", "[[[\"anna\"]]]"] {
                let all = done(vec![Transform::Drop(vec!["name".into()])], form, text);
                assert!(all.is_err(), "{form:?} {text}: {all:?}");
            }
        }
    }

    fn ended(transforms: Vec<Transform>, form: Form, text: &str) -> String {
        match done(transforms, form, text) {
            Err(error) => error.0,
            Ok(rows) => panic!("{form:?} {text}: {rows:?}"),
        }
    }

    #[test]
    fn a_column_that_stands_twice_is_treated_everywhere_or_ends_the_stream() {
        let name = || vec!["name".to_owned()];
        let table = "name,no2,name\nAnna,5,Berg\n";
        assert_eq!(lines(done(vec![Transform::Drop(name())], Form::Csv, table).unwrap()), ["no2=5"]);
        let hidden = lines(done(vec![Transform::Pseudonymise(name())], Form::Csv, table).unwrap());
        assert!(!hidden[0].contains("Anna") && !hidden[0].contains("Berg"), "{hidden:?}");
        let only_anna = Transform::Where {
            column: "name".into(),
            operator: Operator::Eq,
            values: vec![Value::Term("Anna".into())],
        };
        assert!(ended(vec![only_anna], Form::Csv, table).contains("`name` more than once"));
        for form in [Form::Json, Form::JsonLines] {
            for text in [r#"{"name":"Anna","name":"Berg"}"#, r#"{"name":"Anna","n\u0061me":"Berg"}"#] {
                let why = ended(vec![Transform::Drop(name())], form, text);
                assert!(why.contains("`name` twice"), "{why}");
            }
        }
    }

    #[test]
    fn a_name_reaches_into_lists_and_to_every_place_that_has_it() {
        let name = || vec!["riders.name".to_owned()];
        let rows = r#"[{"riders":[{"name":"Anna","km":1},[{"name":"Ben","km":2}]],"riders.name":"Cleo"}]"#;
        assert_eq!(
            lines(done(vec![Transform::Drop(name())], Form::Json, rows).unwrap()),
            ["riders=[{\"km\":1},[{\"km\":2}]]".replace('"', "")]
        );
        let hidden = lines(done(vec![Transform::Pseudonymise(name())], Form::Json, rows).unwrap());
        assert!(["Anna", "Ben", "Cleo"].iter().all(|name| !hidden[0].contains(name)), "{hidden:?}");
        let kept = done(vec![Transform::Keep(vec!["riders.km".into()])], Form::Json, rows).unwrap();
        assert_eq!(lines(kept), ["riders=[{\"km\":1},[{\"km\":2}]]".replace('"', "")]);
        let deep = r#"[{"a":{"b":{"c":1,"d":2},"type":"x"}}]"#;
        let kept = done(vec![Transform::Keep(vec!["a.b.c".into()])], Form::Json, deep).unwrap();
        assert_eq!(lines(kept), ["a={b:{c:1}}"], "no deeper member beside it, and nothing called type");
    }

    #[test]
    fn what_cannot_be_found_for_certain_ends_the_stream() {
        let drop = |name: &str| vec![Transform::Drop(vec![name.to_owned()])];
        for (form, name, text, why) in [
            (Form::Csv, "name", "name,Name\nAnna,Anna\n", "`Name`"),
            (Form::Csv, "name", "name,na\u{200b}me\nAnna,Anna\n", "the agreement says `name`"),
            (Form::Csv, "größe", "größe,GRO\u{308}ßE\n1,2\n", "the agreement says `größe`"),
            (Form::Json, "name", r#"[{" name":"Anna"}]"#, "the agreement says `name`"),
            (Form::Json, "riders.name", r#"[{"riders":[{"name":"Anna"},{"NAME":"Ben"}]}]"#, "`NAME`"),
            (Form::Json, "riders.name", r#"[{"riders":"Anna, Ben"}]"#, "`riders` is no object"),
            (Form::Json, "riders.name", r#"[{"riders":[{"name":"Anna"},"Ben"]}]"#, "`riders` is no object"),
            (Form::Json, "name", r#"[{"stations":[{"name":"Anna"}]}]"#, "only inside another member"),
            (
                Form::GeoJson,
                "properties.name",
                r#"{"features":[{"type":"Feature","properties":{"name":"Anna"},"geometry":null}]}"#,
                "without `properties.`",
            ),
        ] {
            let found = ended(drop(name), form, text);
            assert!(found.contains(why), "{text}: {found}");
        }
        let sparse = r#"[{"no2":1},{"no2":2,"name":"Anna"},{"name":null,"no2":3}]"#;
        assert_eq!(
            lines(done(drop("name"), Form::Json, sparse).unwrap()),
            ["no2=1", "no2=2", "no2=3"],
            "a member may be missing"
        );
        assert!(done(vec![Transform::Keep(vec!["no2".into()])], Form::Csv, "no2,NO2\n1,2\n").is_ok());
    }

    #[test]
    fn an_entity_hides_what_was_and_what_it_leads_to() {
        let entities = r#"[{"id":"urn:x","type":"Bike","rider":{"type":"Relationship","object":"urn:anna",
            "previousObject":"urn:ben","entity":{"id":"urn:anna","type":"Person","name":"Anna"}},
            "address":{"type":"Property","value":{"city":"Ghent","street":"Kouter"}}}]"#;
        let transforms = vec![
            Transform::Pseudonymise(vec!["rider".into()]),
            Transform::Drop(vec!["address.street".into()]),
        ];
        let told = lines(done(transforms, Form::Json, entities).unwrap()).join("");
        for hidden in ["anna", "ben", "Anna", "Kouter"] {
            assert!(!told.contains(hidden), "{hidden}: {told}");
        }
        assert!(told.contains("city:Ghent"), "{told}");
    }

    #[test]
    fn persons_are_compared_as_they_are_written() {
        let about = |subject: &str, form, text: &str| {
            let mut stage = Obligations::about("who".into(), subject.into()).stage(form).unwrap();
            let mut decoder_rows = Vec::new();
            crate::rows::read_strictly(form, text.as_bytes(), &stage, &mut decoder_rows).unwrap();
            let rows = decoder_rows.into_iter().filter_map(|row| stage.apply(row).unwrap());
            lines(rows.collect()).len()
        };
        let table = "who\n0123\n123\n123.0\n9007199254740992\n9007199254740993\n";
        let numbers = "{\"who\":\"0123\"}\n{\"who\":123}\n{\"who\":123.0}\n{\"who\":9007199254740992}\n{\"who\":9007199254740993}\n";
        for (form, text) in [(Form::Csv, table), (Form::JsonLines, numbers)] {
            for subject in ["0123", "123", "123.0", "9007199254740992", "9007199254740993"] {
                assert_eq!(about(subject, form, text), 1, "{form:?} {subject}");
            }
            assert_eq!(about("1230", form, text), 0);
        }
        let long = "{\"who\":123456789012345678901234567890}\n{\"who\":123456789012345678901234567891}\n";
        assert_eq!(about("123456789012345678901234567891", Form::JsonLines, long), 1);
        assert_eq!(about("1.10", Form::Json, r#"[{"who":1.10},{"who":1.1}]"#), 1);
    }

    #[test]
    fn rows_are_chosen_by_exact_numbers() {
        let of = |operator, wanted: Value, text: &str| {
            let only = Transform::Where { column: "n".into(), operator, values: vec![wanted] };
            lines(done(vec![only], Form::Csv, &format!("n\n{text}\n")).unwrap()).len()
        };
        let term = |text: &str| Value::Term(text.into());
        assert_eq!(of(Operator::Eq, term("9007199254740993"), "9007199254740992"), 0);
        assert_eq!(of(Operator::Eq, term("0123"), "123"), 0, "one with a leading zero is a code");
        assert_eq!(of(Operator::Eq, term("5"), "5.0"), 1);
        assert_eq!(of(Operator::Gt, term("5"), "n/a"), 0, "it is no number");
        assert_eq!(of(Operator::Neq, term("5"), "n/a"), 1);
        let exact = Value::Number(Decimal::parse("0.1").unwrap());
        assert_eq!(of(Operator::Lteq, exact, "0.1000000000000000000001"), 0);
    }

    #[test]
    fn a_column_that_was_renamed_does_not_slip_through() {
        let error =
            done(vec![Transform::Drop(vec!["name".into()])], Form::Csv, "full_name\nAnna\n").unwrap_err();
        assert!(error.0.contains("`name`"), "{error}");
    }

    #[test]
    fn groups_are_told_only_when_they_are_large_enough() {
        let mut table = "at,who,no2\n".to_owned();
        for (hour, rows) in [(0, 6), (1, 4), (2, 5)] {
            for row in 0..rows {
                table.push_str(&format!("2026-01-01T0{hour}:{row:02}:00Z,p{row},{row}\n"));
            }
        }
        let transforms = vec![
            Transform::Aggregate { time: "at".into(), interval: SignedDuration::from_hours(1) },
            Transform::Tell(Summary::Mean, vec!["no2".into()]),
            Transform::Tell(Summary::Max, vec!["no2".into()]),
        ];
        assert_eq!(
            lines(done(transforms, Form::Csv, &table).unwrap()),
            [
                "at=2026-01-01T00:00:00Z no2.mean=2.5 no2.max=5.0 rows=6",
                "at=2026-01-01T02:00:00Z no2.mean=2.0 no2.max=4.0 rows=5"
            ],
            "five rows make a group where nothing else is said"
        );
    }

    #[test]
    fn entities_keep_who_they_are_and_lose_the_rest() {
        let entities = r#"[{"id":"urn:x","type":"AirQualityObserved","no2":{"type":"Property","value":12.4,"observedAt":"2026-01-01T00:10:00Z"},
            "owner":{"type":"Relationship","object":"urn:anna"},"location":{"type":"GeoProperty","value":{"type":"Point","coordinates":[11.5,48.1]}}}]"#;
        let rows = done(
            vec![
                Transform::Keep(vec!["no2".into()]),
                Transform::Round { column: "no2".into(), step: 5.0 },
                Transform::Place { columns: None, area: [11.0, 48.0, 12.0, 49.0] },
            ],
            Form::Json,
            entities,
        );
        assert_eq!(
            lines(rows.unwrap()),
            ["id=urn:x type=AirQualityObserved no2={observedAt:2026-01-01T00:10:00Z,type:Property,value:10}"]
        );
        let away = Transform::Place { columns: None, area: [0.0, 0.0, 1.0, 1.0] };
        assert!(done(vec![away], Form::Json, entities).unwrap().is_empty());
        // Over the antimeridian: from 177 degrees east to 178 degrees west.
        let columns = Some(("lat".to_owned(), "lon".to_owned()));
        let fiji = Transform::Place { columns, area: [177.0, -20.0, -178.0, -16.0] };
        let rows = done(vec![fiji], Form::Csv, "lat,lon\n-18,178.5\n-18,-179\n-18,0\n-18,-177\n");
        assert_eq!(lines(rows.unwrap()), ["lat=-18 lon=178.5", "lat=-18 lon=-179"]);
    }
}
