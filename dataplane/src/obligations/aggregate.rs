//! Rows brought together by interval of time and by columns; groups that are too small are not told.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use policy_engine::{MINIMUM_GROUP, Summary};
use serde_json::{Value as Json, json};

use super::{instant, interval_of};
use crate::rows::{Row, RowError, number};

/// Most groups at once.
const MAX_GROUPS: usize = 100_000;

/// What is demanded, gathered from several clauses.
#[derive(Debug, Default)]
pub(super) struct Plan {
    time: Option<(String, SignedDuration)>,
    pub(super) by: Vec<String>,
    pub(super) told: Vec<(Summary, String)>,
    minimum: Option<u64>,
}

impl Plan {
    /// Of several demands for the same column, the longest interval holds.
    pub(super) fn interval(&mut self, time: &str, interval: SignedDuration) {
        let longest = self.time.take().map_or(interval, |(_, before)| before.max(interval));
        self.time = Some((time.to_owned(), longest));
    }

    pub(super) fn at_least(&mut self, rows: u64) {
        self.minimum = Some(self.minimum.map_or(rows, |before| before.max(rows)));
    }

    pub(super) fn build(self) -> Result<Option<Aggregate>, RowError> {
        let Some((time, interval)) = self.time else {
            if self.by.is_empty() && self.told.is_empty() && self.minimum.is_none() {
                return Ok(None);
            }
            return Err(RowError(
                "the agreement speaks of groups, but of no interval (urn:concordat:data:aggregate:TIME)"
                    .to_owned(),
            ));
        };
        Ok(Some(Aggregate {
            time,
            interval,
            by: self.by,
            told: self.told,
            minimum: self.minimum.unwrap_or(MINIMUM_GROUP),
            groups: BTreeMap::new(),
            newest: None,
            closed_before: None,
        }))
    }
}

#[derive(Debug)]
pub(super) struct Aggregate {
    time: String,
    interval: SignedDuration,
    by: Vec<String>,
    told: Vec<(Summary, String)>,
    minimum: u64,
    groups: BTreeMap<(Timestamp, Vec<String>), Group>,
    newest: Option<Timestamp>,
    /// Intervals of a live stream that were told already: what comes late for them is not counted any more.
    closed_before: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Group {
    rows: u64,
    /// Where rows are about persons: who is in it, until there are enough.
    persons: Option<HashSet<[u8; 16]>>,
    columns: Vec<Numbers>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Numbers {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Numbers {
    fn take(&mut self, number: f64) {
        (self.min, self.max) = match self.count {
            0 => (number, number),
            _ => (self.min.min(number), self.max.max(number)),
        };
        self.count += 1;
        self.sum += number;
    }

    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "counts of rows are far below 2^53"
    )]
    fn told(&self, summary: Summary) -> Json {
        if self.count == 0 {
            return Json::Null;
        }
        json!(match summary {
            Summary::Mean => self.sum / self.count as f64,
            Summary::Sum => self.sum,
            Summary::Min => self.min,
            Summary::Max => self.max,
        })
    }
}

impl Aggregate {
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        let told = self.told.iter().map(|(_, name)| name.as_str());
        std::iter::once(self.time.as_str()).chain(self.by.iter().map(String::as_str)).chain(told)
    }

    pub(super) fn grouped_by(&self) -> impl Iterator<Item = &str> {
        self.by.iter().map(String::as_str)
    }

    /// The columns of what is told.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let told = self.told.iter().map(|(summary, name)| format!("{name}.{}", summary.word()));
        let all = std::iter::once(self.time.clone()).chain(self.by.iter().cloned()).chain(told);
        all.chain(std::iter::once("rows".to_owned())).map(Arc::from).collect()
    }

    /// Takes a row; one about a `person` counts once for each person.
    pub(super) fn take(&mut self, row: &Row, person: Option<[u8; 16]>) -> Result<(), RowError> {
        let at = row.only(&self.time)?.and_then(Json::as_str).and_then(instant);
        let Some(begin) = at.and_then(|at| interval_of(at, self.interval)) else { return Ok(()) };
        if self.closed_before.is_some_and(|closed| begin < closed) {
            return Ok(());
        }
        self.newest = self.newest.max(Some(begin));
        let value = |name: &String| {
            Ok::<_, RowError>(match row.only(name)? {
                Some(Json::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => String::new(),
            })
        };
        let key = (begin, self.by.iter().map(value).collect::<Result<Vec<_>, _>>()?);
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
            return Err(RowError(format!("the data falls into more than {MAX_GROUPS} groups")));
        }
        let group = self.groups.entry(key).or_default();
        group.columns.resize(self.told.len(), Numbers::default());
        group.rows += 1;
        if let Some(person) = person {
            let persons = group.persons.get_or_insert_default();
            if u64::try_from(persons.len()).is_ok_and(|count| count < self.minimum) {
                persons.insert(person);
            }
        }
        for ((_, name), numbers) in self.told.iter().zip(&mut group.columns) {
            if let Some(number) = row.only(name)?.and_then(number) {
                numbers.take(number);
            }
        }
        Ok(())
    }

    /// The groups of a live stream whose interval is over, since a row of a later one came.
    pub(super) fn closed(&mut self) -> Vec<Row> {
        let Some(newest) = self.newest else { return Vec::new() };
        self.closed_before = Some(newest);
        let open = self.groups.split_off(&(newest, Vec::new()));
        let over = std::mem::replace(&mut self.groups, open);
        self.tell(over)
    }

    pub(super) fn finish(&mut self) -> Vec<Row> {
        let groups = std::mem::take(&mut self.groups);
        self.tell(groups)
    }

    fn tell(&self, groups: BTreeMap<(Timestamp, Vec<String>), Group>) -> Vec<Row> {
        let names = self.names();
        let large = groups.into_iter().filter(|(_, group)| {
            let persons =
                group.persons.as_ref().map(|persons| u64::try_from(persons.len()).unwrap_or(u64::MAX));
            persons.unwrap_or(group.rows) >= self.minimum
        });
        large
            .map(|((begin, by), group)| {
                let told = self
                    .told
                    .iter()
                    .zip(&group.columns)
                    .map(|((summary, _), numbers)| numbers.told(*summary));
                let cells = std::iter::once(json!(begin.to_string())).chain(by.into_iter().map(Json::String));
                Row(names
                    .iter()
                    .cloned()
                    .zip(cells.chain(told).chain(std::iter::once(json!(group.rows))))
                    .collect())
            })
            .collect()
    }
}
