//! What is written at once.

/// Writes that are applied together, if all expectations hold.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(crate) expectations: Vec<(String, Option<u64>)>,
    pub(crate) writes: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) appends: Vec<(String, Vec<u8>)>,
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

    /// Whether nothing would be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.appends.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        let writes: usize =
            self.writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len) + 16).sum();
        let appends: usize = self.appends.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
        writes + appends
    }

    /// All writes, with the keys of appended values fixed by `sequence`.
    pub(crate) fn into_writes(self, sequence: u64) -> Vec<(String, Option<Vec<u8>>)> {
        let mut writes = self.writes;
        for (place, (prefix, value)) in self.appends.into_iter().enumerate() {
            writes.push((format!("{prefix}{sequence:020}-{place:04}"), Some(value)));
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
