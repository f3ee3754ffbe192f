//! Chained values: each entry of a prefix carries a link, the SHA-256 over the link before, its key and its value. One
//! that is altered, removed or put in between breaks every link after it.

use sha2::{Digest as _, Sha256};

/// A link.
pub type Link = [u8; 32];

/// The last entry of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// How many entries there are.
    pub count: u64,
    /// The link of the last; zeros before the first.
    pub link: Link,
}

impl Head {
    /// The head after one more entry.
    #[must_use]
    pub fn next(&self, key: &str, value: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.link);
        hash.update(key.as_bytes());
        // No key has it.
        hash.update([0]);
        hash.update(value);
        Self { count: self.count + 1, link: hash.finalize().into() }
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [self.count.to_be_bytes().as_slice(), &self.link].concat()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (count, link) = bytes.split_first_chunk::<8>()?;
        Some(Self { count: u64::from_be_bytes(*count), link: link.try_into().ok()? })
    }
}

/// Where the head of the chain under `prefix` stands.
pub(crate) fn head_key(prefix: &str) -> String {
    format!("chain:{prefix}")
}

/// The link and the value of a chained entry, as [`crate::Store::scan`] gives it.
#[must_use]
pub fn unchain(entry: &[u8]) -> Option<(&Link, &[u8])> {
    entry.split_first_chunk::<32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_entry_is_in_its_link() {
        let first = Head::default().next("a/1", b"x");
        assert_eq!(first.count, 1);
        assert_eq!(Head::from_bytes(&first.to_bytes()), Some(first));
        for (key, value) in [("a/2", "x"), ("a/1", "y"), ("a/1x", "")] {
            assert_ne!(Head::default().next(key, value.as_bytes()).link, first.link);
        }
        assert_ne!(first.next("a/1", b"x").link, first.link);
    }
}
