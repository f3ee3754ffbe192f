//! What is written at once.

use std::collections::{BTreeSet, HashMap};

use crate::chain::{Head, head_key};

/// Writes that are applied together, if all expectations hold.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(crate) expectations: Vec<(String, Option<u64>)>,
    pub(crate) writes: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) appends: Vec<(String, Vec<u8>)>,
    pub(crate) chained: Vec<(String, Vec<u8>)>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Commits only if `key` still has this version (`None`: does not exist).
    pub fn expect(&mut self, key: impl Into<String>, version: Option<u64>) {
        self.expectations.push((key.into(), version));
    }

    /// Writes `value` under `key`.
    pub fn put(&mut self, key: impl Into<String>, value: Vec<u8>) {
        self.writes.push((key.into(), Some(value)));
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: impl Into<String>) {
        self.writes.push((key.into(), None));
    }

    /// Writes `value` under `prefix` and the commit's place in the order of all commits, so that a scan of `prefix`
    /// yields appended values in commit order.
    pub fn append(&mut self, prefix: impl Into<String>, value: Vec<u8>) {
        self.appends.push((prefix.into(), value));
    }

    /// As [`Self::append`]; the entries of `prefix` form a chain ([`crate::chain`]).
    pub fn chain(&mut self, prefix: impl Into<String>, value: Vec<u8>) {
        self.chained.push((prefix.into(), value));
    }

    /// Whether nothing would be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.appends.is_empty() && self.chained.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        let writes: usize =
            self.writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len) + 16).sum();
        let appends: usize = self.appends.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
        let chained: usize = self.chained.iter().map(|(key, value)| key.len() + value.len() + 160).sum();
        writes + appends + chained
    }

    /// All writes, with the keys of appended values fixed by `sequence`, and the links of chained ones by `heads`.
    pub(crate) fn into_writes(
        self,
        sequence: u64,
        heads: &mut HashMap<String, Head>,
    ) -> Vec<(String, Option<Vec<u8>>)> {
        let mut writes = self.writes;
        let key = |prefix: &str, place: usize| format!("{prefix}{sequence:020}-{place:04}");
        let first = self.appends.len();
        for (place, (prefix, value)) in self.appends.into_iter().enumerate() {
            writes.push((key(&prefix, place), Some(value)));
        }
        let mut moved = BTreeSet::new();
        for (place, (prefix, value)) in self.chained.into_iter().enumerate() {
            let key = key(&prefix, first + place);
            let head = heads.entry(prefix.clone()).or_default();
            *head = head.next(&key, &value);
            writes.push((key, Some([head.link.as_slice(), &value].concat())));
            moved.insert(prefix);
        }
        for prefix in moved {
            let head = heads.get(&prefix).copied().unwrap_or_default();
            writes.push((head_key(&prefix), Some(head.to_bytes())));
        }
        writes
    }
}

/// A value and the sequence number of the commit that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// For [`Batch::expect`].
    pub version: u64,
    /// As written.
    pub value: Vec<u8>,
}
