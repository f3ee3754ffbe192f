//! The port to an engine: ordered keys behind the journal.

use crate::error::StoreError;

/// A write as the index takes it: the value already carries its version.
pub(crate) type Write = (String, Option<Vec<u8>>);

/// Ordered keys that know up to which commit they are complete. It need not be durable: the journal is.
pub(crate) trait Index: Send + Sync + std::fmt::Debug {
    /// The value under `key`.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Up to `limit` pairs whose keys start with `prefix`, in order, after `after` (exclusive).
    fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError>;
    /// Applies `writes` and the mark `applied` atomically.
    fn apply(&self, writes: &[Write], applied: u64) -> Result<(), StoreError>;
    /// The last commit applied, 0 for none.
    fn applied(&self) -> Result<u64, StoreError>;
}

/// The smallest string after all that start with `prefix`; `None` where there is none.
pub(crate) fn after_prefix(prefix: &str) -> Option<String> {
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
