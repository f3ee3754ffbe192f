//! What is known of terms: which purpose or place lies within which.

use std::collections::{BTreeMap, BTreeSet};

/// Longest chain of broader terms that is followed; a cycle ends there.
const MAX_DEPTH: usize = 32;

/// Pairs (narrower, broader) of terms. Places and purposes are told apart by their names.
#[derive(Debug, Clone, Default)]
pub struct Hierarchy {
    broader: BTreeMap<String, BTreeSet<String>>,
    /// Both directions.
    disjoint: BTreeMap<String, BTreeSet<String>>,
}

/// How one term stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The other lies within it.
    Broader,
    /// They share nothing.
    Disjoint,
    /// It lies within the other.
    Narrower,
    /// They are one.
    Same,
    /// Nothing is known: they may or may not overlap.
    Unrelated,
}

impl Hierarchy {
    /// The small set shipped with the engine: the countries of the examples within the European continent and
    /// the European Union, and a few purposes of public administration.
    #[must_use]
    pub fn shipped() -> Self {
        let mut known = Self::default();
        for (narrower, broader) in SHIPPED {
            known.add(narrower, broader);
        }
        known
    }

    /// Adds that `narrower` lies within `broader`.
    pub fn add(&mut self, narrower: &str, broader: &str) {
        self.broader.entry(narrower.to_owned()).or_default().insert(broader.to_owned());
    }

    /// Adds that `a` and `b`, and all that lies within them, share nothing.
    pub fn add_disjoint(&mut self, a: &str, b: &str) {
        self.disjoint.entry(a.to_owned()).or_default().insert(b.to_owned());
        self.disjoint.entry(b.to_owned()).or_default().insert(a.to_owned());
    }

    /// Every term that something is known of.
    pub fn terms(&self) -> impl Iterator<Item = &str> {
        let ordered = self.broader.iter().flat_map(|(term, up)| std::iter::once(term).chain(up));
        ordered.chain(self.disjoint.keys()).map(String::as_str)
    }

    /// How `a` stands to `b`.
    #[must_use]
    pub fn relation(&self, a: &str, b: &str) -> Relation {
        if a == b {
            return Relation::Same;
        }
        if self.is_within(a, b) {
            return Relation::Narrower;
        }
        if self.is_within(b, a) {
            return Relation::Broader;
        }
        let (of_a, of_b) = (self.ancestors(a), self.ancestors(b));
        let apart = of_a.iter().any(|one| {
            self.disjoint.get(*one).is_some_and(|others| of_b.iter().any(|other| others.contains(*other)))
        });
        if apart { Relation::Disjoint } else { Relation::Unrelated }
    }

    /// `term` and everything it lies within.
    fn ancestors<'a>(&'a self, term: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::from([term]);
        let mut next = vec![term];
        while let Some(one) = next.pop() {
            for up in self.broader.get(one).into_iter().flatten() {
                if found.insert(up) {
                    next.push(up);
                }
            }
        }
        found
    }

    /// Whether `term` is `whole` or lies within it.
    #[must_use]
    pub fn is_within(&self, term: &str, whole: &str) -> bool {
        self.reaches(term, whole, MAX_DEPTH)
    }

    fn reaches(&self, term: &str, whole: &str, depth: usize) -> bool {
        term == whole
            || depth > 0
                && self
                    .broader
                    .get(term)
                    .is_some_and(|up| up.iter().any(|next| self.reaches(next, whole, depth - 1)))
    }
}

/// ISO 3166 codes and `EU`, and purposes under this product's own namespace.
const SHIPPED: [(&str, &str); 10] = [
    ("BE", "EU"),
    ("FR", "EU"),
    ("NL", "EU"),
    ("DE", "EU"),
    ("EU", "Europe"),
    ("GB", "Europe"),
    ("urn:concordat:purpose:air-quality-forecast", "urn:concordat:purpose:environmental-monitoring"),
    ("urn:concordat:purpose:noise-monitoring", "urn:concordat:purpose:environmental-monitoring"),
    ("urn:concordat:purpose:environmental-monitoring", "urn:concordat:purpose:public-interest"),
    ("urn:concordat:purpose:public-health-research", "urn:concordat:purpose:public-interest"),
];

#[cfg(test)]
mod tests {
    use super::Hierarchy;

    #[test]
    fn a_narrower_term_lies_within_every_broader_one() {
        let known = Hierarchy::shipped();
        assert!(known.is_within("BE", "BE"));
        assert!(known.is_within("BE", "Europe"));
        assert!(!known.is_within("Europe", "BE"));
        assert!(!known.is_within("GB", "EU"));
    }

    #[test]
    fn a_cycle_ends() {
        let mut known = Hierarchy::default();
        known.add("a", "b");
        known.add("b", "a");
        assert!(known.is_within("a", "b"));
        assert!(!known.is_within("a", "c"));
    }
}
