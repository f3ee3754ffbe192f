//! The port to an engine: ordered keys behind the journal.

use std::ops::Bound;

use crate::error::StoreError;

/// A write as the index takes it: the value already carries its version.
pub(crate) type Write = (String, Option<Vec<u8>>);

/// Ordered keys that know up to which commit they are complete. It need not be durable: the journal is.
pub(crate) trait Index: Send + Sync + std::fmt::Debug {
    /// The value under `key`.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Up to `limit` pairs whose keys start with `prefix`, from a place on.
    fn scan(&self, prefix: &str, place: Place<'_>, limit: usize) -> Result<Pairs, StoreError>;
    /// Applies `writes` and the mark `applied` atomically.
    fn apply(&self, writes: &[Write], applied: u64) -> Result<(), StoreError>;
    /// The last commit applied, 0 for none.
    fn applied(&self) -> Result<u64, StoreError>;
}

/// Keys with their values.
pub(crate) type Pairs = Vec<(String, Vec<u8>)>;

/// Where a scan begins, and which way it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// Behind this key, else at the beginning; in order.
    After(Option<&'a str>),
    /// Before this key, else at the end; the last key first.
    Before(Option<&'a str>),
}

impl Place<'_> {
    /// The keys that start with `prefix` and lie on this side of it.
    pub(crate) fn range(self, prefix: &str) -> (Bound<String>, Bound<String>) {
        let begin = Bound::Included(prefix.to_owned());
        let end = after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        match self {
            Self::After(Some(after)) if after >= prefix => (Bound::Excluded(after.to_owned()), end),
            Self::Before(Some(before)) if before.starts_with(prefix) => {
                (begin, Bound::Excluded(before.to_owned()))
            }
            Self::After(_) | Self::Before(_) => (begin, end),
        }
    }

    pub(crate) const fn is_backward(self) -> bool {
        matches!(self, Self::Before(_))
    }
}

/// Whether nothing can lie in a range, which ordered maps do not take.
pub(crate) fn is_empty(range: &(Bound<String>, Bound<String>)) -> bool {
    match range {
        (Bound::Included(begin), Bound::Excluded(end)) => begin >= end,
        (Bound::Excluded(begin), Bound::Excluded(end)) => begin >= end,
        _ => false,
    }
}

/// The smallest string after all that start with `prefix`; `None` where there is none.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// Key of the mark `applied`; no key of a caller starts with a NUL.
pub(crate) const APPLIED: &str = "\0applied";

pub(crate) fn mark(bytes: &[u8]) -> Result<u64, StoreError> {
    bytes
        .try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| StoreError::Index("its mark of the last commit cannot be read".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::after_prefix;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(after_prefix("a/"), Some("a0".to_owned()));
        assert_eq!(after_prefix(""), None);
        assert!(after_prefix("a\u{d7ff}").unwrap().as_str() > "a\u{d7ff}zzz");
    }
}
