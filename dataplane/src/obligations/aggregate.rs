//! Rows brought together by interval of time and by columns; groups that are too small are not told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use policy_engine::{MINIMUM_GROUP, Summary};
use serde_json::{Value as Json, json};

use super::{instant, interval_of};
use crate::released::{Group as Now, Hashes, Part};
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
        let mut columns: Vec<String> = Vec::new();
        for (_, name) in &self.told {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        Ok(Some(Aggregate {
            time,
            interval,
            by: self.by,
            told: self.told,
            columns,
            minimum: self.minimum.unwrap_or(MINIMUM_GROUP),
            groups: BTreeMap::new(),
            newest: None,
            closed_before: None,
            kept: None,
            members: 0,
        }))
    }
}

#[derive(Debug)]
pub(super) struct Aggregate {
    time: String,
    interval: SignedDuration,
    by: Vec<String>,
    told: Vec<(Summary, String)>,
    /// The columns of which something is told, each once.
    columns: Vec<String>,
    minimum: u64,
    groups: Groups,
    newest: Option<Timestamp>,
    /// Intervals of a live stream that were told already: what comes late for them is not counted any more.
    closed_before: Option<Timestamp>,
    /// Where it is kept what was told: the hashes, what was asked, and most members of all groups.
    kept: Option<(Hashes, String, usize)>,
    /// Of all groups.
    members: usize,
}

type Groups = BTreeMap<(Timestamp, Vec<String>), Group>;

#[derive(Debug, Default)]
struct Group {
    rows: u64,
    /// Where rows are about persons: who is in it, with what they bring to the group and to each column.
    persons: Option<HashMap<[u8; 16], Brought>>,
    columns: Vec<Numbers>,
}

/// What a person brings: how often, and a sum of hashes of values, which is the same in whatever order they come.
#[derive(Debug, Default)]
struct Brought {
    rows: u64,
    columns: Box<[(u64, u64)]>,
}

/// What is told of groups.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Rows that are told at once.
    pub(super) rows: Vec<Row>,
    /// Groups of which it is to be asked what may be told, each with the beginning of its row.
    pub(super) asked: Vec<(Row, Now)>,
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

    /// What is told of groups is kept.
    pub(super) fn keep(&mut self, hashes: Hashes, asked: String, most: usize) {
        self.kept = Some((hashes, asked, most));
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
        let width = self.columns.len();
        let group = self.groups.entry(key).or_default();
        group.columns.resize(width, Numbers::default());
        group.rows += 1;
        let mut brought = None;
        if let Some(person) = person {
            let persons = group.persons.get_or_insert_default();
            if !persons.contains_key(&person) {
                self.members += 1;
                if let Some((_, _, most)) = &self.kept
                    && self.members > *most
                {
                    return Err(RowError(format!(
                        "its groups have more than {most} persons in all (the provider's `[personal] most_members`)"
                    )));
                }
            }
            let one = persons.entry(person).or_default();
            one.rows += 1;
            if one.columns.len() != width {
                one.columns = vec![(0, 0); width].into();
            }
            brought = Some(one);
        }
        for (at, (name, numbers)) in self.columns.iter().zip(&mut group.columns).enumerate() {
            let Some(number) = row.only(name)?.and_then(number) else { continue };
            numbers.take(number);
            if let Some((count, sum)) = brought.as_mut().and_then(|one| one.columns.get_mut(at)) {
                *count += 1;
                if let Some((hashes, ..)) = &self.kept {
                    *sum = sum.wrapping_add(hashes.of(&number.to_be_bytes()));
                }
            }
        }
        Ok(())
    }

    /// The groups of a live stream whose interval is over, since a row of a later one came.
    pub(super) fn closed(&mut self) -> Told {
        let Some(newest) = self.newest else { return Told::default() };
        self.closed_before = Some(newest);
        let open = self.groups.split_off(&(newest, Vec::new()));
        let over = std::mem::replace(&mut self.groups, open);
        self.tell(over)
    }

    pub(super) fn finish(&mut self) -> Told {
        let groups = std::mem::take(&mut self.groups);
        self.tell(groups)
    }

    fn tell(&mut self, groups: Groups) -> Told {
        let names = self.names();
        let mut told = Told::default();
        for ((begin, by), group) in groups {
            let persons = group.persons.as_ref().map(HashMap::len);
            self.members = self.members.saturating_sub(persons.unwrap_or_default());
            let head = std::iter::once(json!(begin.to_string())).chain(by.iter().cloned().map(Json::String));
            let head = Row(names.iter().cloned().zip(head).collect());
            if group.persons.is_some() && self.kept.is_some() {
                told.asked.extend(self.asked(begin, by, &group).map(|now| (head, now)));
                continue;
            }
            let rests_on = |of: &dyn Fn(&Brought) -> bool, rows: u64| match group.persons.as_ref() {
                None => rows,
                Some(persons) => {
                    u64::try_from(persons.values().filter(|one| of(one)).count()).unwrap_or(u64::MAX)
                }
            };
            if rests_on(&|_| true, group.rows) < self.minimum {
                continue;
            }
            let values = self.told.iter().map(|(summary, name)| {
                let at = self.columns.iter().position(|column| column == name)?;
                let numbers = group.columns.get(at)?;
                let brings = |one: &Brought| one.columns.get(at).is_some_and(|(count, _)| *count > 0);
                // A value of fewer is theirs: the group may be told, it may not.
                (rests_on(&brings, numbers.count) >= self.minimum).then(|| numbers.told(*summary))
            });
            let values: Vec<_> = values.map(Option::unwrap_or_default).collect();
            let tail = values.into_iter().chain(std::iter::once(json!(group.rows)));
            told.rows.push(with_tail(head, &names, tail));
        }
        told
    }

    /// What is asked about a group before it is told.
    fn asked(&self, begin: Timestamp, by: Vec<String>, group: &Group) -> Option<Now> {
        let (hashes, asked, _) = self.kept.as_ref()?;
        let persons = group.persons.as_ref()?;
        let part = |brings: &dyn Fn(&Brought) -> Option<u64>, told: Vec<Json>| {
            let members = persons.iter().filter_map(|(person, one)| Some((hashes.of(person), brings(one)?)));
            let mut members: Vec<_> = members.collect();
            members.sort_unstable();
            Part { members, told }
        };
        let mut parts = vec![part(&|one| Some(one.rows), vec![json!(group.rows)])];
        let mut part_of = vec![0; self.told.len()];
        for (at, (name, numbers)) in self.columns.iter().zip(&group.columns).enumerate() {
            let mut told = Vec::new();
            for (column, (summary, _)) in self.told.iter().enumerate().filter(|(_, (_, of))| of == name) {
                told.push(numbers.told(*summary));
                if let Some(part_of) = part_of.get_mut(column) {
                    *part_of = at + 1;
                }
            }
            let brings = |one: &Brought| {
                one.columns
                    .get(at)
                    .filter(|(count, _)| *count > 0)
                    .map(|(count, sum)| sum.wrapping_add(*count))
            };
            parts.push(part(&brings, told));
        }
        part_of.push(0);
        let name = (begin.as_second(), by);
        Some(Now { asked: asked.clone(), name, minimum: self.minimum, parts, part_of })
    }
}

/// A row of a group: its interval and what it is by, then what is told.
pub(super) fn with_tail(head: Row, names: &[Arc<str>], tail: impl Iterator<Item = Json>) -> Row {
    let begun = head.0.len();
    let mut row = head;
    row.0.extend(names.iter().skip(begun).cloned().zip(tail));
    row
}
