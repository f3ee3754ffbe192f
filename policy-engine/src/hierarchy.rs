//! What is known of terms: which purpose, place or language lies within which, and which share nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::error::PolicyError;

/// Longest chain of broader terms that is followed; a cycle ends there.
const MAX_DEPTH: usize = 32;
/// Most pairs that one file may add.
const MAX_PAIRS: usize = 100_000;

/// Pairs (narrower, broader) of terms. Places and purposes are told apart by their names.
#[derive(Debug, Clone, Default)]
pub struct Hierarchy {
    broader: BTreeMap<String, BTreeSet<String>>,
    /// Both directions.
    disjoint: BTreeMap<String, BTreeSet<String>>,
    nested: Vec<Nested>,
    areas: BTreeMap<String, [f64; 4]>,
}

/// Codes that begin with the code of what they lie within, as NUTS regions and language tags do.
#[derive(Debug, Clone)]
struct Nested {
    prefix: String,
    shortest: usize,
    separator: String,
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
    /// The set shipped with the engine (`policy-engine/data/terms.json`): European countries with NUTS regions, the
    /// purposes of W3C DPV that cities use and a few of this product's own, and language tags.
    #[must_use]
    pub fn shipped() -> Self {
        let mut known = Self::default();
        let shipped = serde_json::from_str(include_str!("../data/terms.json"));
        let loaded = shipped.map(|json: Json| known.load(&json));
        debug_assert!(matches!(loaded, Ok(Ok(()))), "the shipped terms can be read");
        known
    }

    /// Adds what a file knows; all members may be missing.
    ///
    /// - `broader`: pairs of terms, the first within the second.
    /// - `disjoint`: lists of terms, no two of which share anything.
    /// - `nested`: objects `prefix`, `shortest`, `separator`: terms with that prefix whose code begins with another's
    ///   code of at least `shortest` characters (followed by `separator`) lie within it.
    /// - `areas`: by term, the `[west, south, east, north]` that encloses it, in degrees (WGS 84).
    ///
    /// # Errors
    /// Names the place and the reason. What stands before it has been added.
    pub fn load(&mut self, json: &Json) -> Result<(), PolicyError> {
        let wrong = |path: String, reason: &str| PolicyError::new(path, reason);
        for (index, pair) in list(json, "broader")?.iter().enumerate() {
            match pair.as_array().map(Vec::as_slice) {
                Some([Json::String(part), Json::String(whole)]) => self.add(part, whole),
                _ => return Err(wrong(format!("/broader/{index}"), "must be a pair of strings")),
            }
        }
        for (index, set) in list(json, "disjoint")?.iter().enumerate() {
            let terms: Option<Vec<&str>> =
                set.as_array().and_then(|set| set.iter().map(Json::as_str).collect());
            let terms =
                terms.ok_or_else(|| wrong(format!("/disjoint/{index}"), "must be an array of strings"))?;
            if terms.len() > 1_000 {
                return Err(wrong(format!("/disjoint/{index}"), "has more than 1000 terms"));
            }
            for (place, one) in terms.iter().enumerate() {
                for other in terms.iter().skip(place + 1) {
                    self.add_disjoint(one, other);
                }
            }
        }
        for (index, one) in list(json, "nested")?.iter().enumerate() {
            let path = format!("/nested/{index}");
            let text = |key: &str| one.get(key).and_then(Json::as_str).map(str::to_owned);
            let shortest = one.get("shortest").and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok());
            let (Some(prefix), Some(separator), Some(shortest)) =
                (text("prefix"), text("separator"), shortest)
            else {
                return Err(wrong(path, "needs `prefix`, `separator` (strings) and `shortest` (a number)"));
            };
            self.nested.push(Nested { prefix, shortest, separator });
        }
        for (term, area) in json.get("areas").and_then(Json::as_object).into_iter().flatten() {
            let numbers: Option<Vec<f64>> =
                area.as_array().and_then(|area| area.iter().map(Json::as_f64).collect());
            let area = numbers.and_then(|numbers| <[f64; 4]>::try_from(numbers).ok());
            let area = area.ok_or_else(|| {
                wrong(format!("/areas/{term}"), "must be [west, south, east, north] in degrees")
            })?;
            self.areas.insert(term.clone(), area);
        }
        Ok(())
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

    /// What `term` lies directly within.
    pub(crate) fn broader_of(&self, term: &str) -> impl Iterator<Item = &str> {
        self.broader.get(term).into_iter().flatten().map(String::as_str)
    }

    /// Whether anything is known of `term`.
    #[must_use]
    pub fn knows(&self, term: &str) -> bool {
        self.broader.contains_key(term)
            || self.disjoint.contains_key(term)
            || self.nested.iter().any(|one| term.starts_with(&one.prefix))
            || self.broader.values().any(|up| up.contains(term))
    }

    /// What encloses the place `term`, if that is known: its own area, or that of a place it lies within.
    #[must_use]
    pub fn area(&self, term: &str) -> Option<[f64; 4]> {
        self.areas
            .get(term)
            .or_else(|| self.ancestors(term).into_iter().find_map(|up| self.areas.get(&up)))
            .copied()
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
            self.disjoint.get(one).is_some_and(|others| of_b.iter().any(|other| others.contains(other)))
        });
        if apart { Relation::Disjoint } else { Relation::Unrelated }
    }

    /// `term` and everything it lies within.
    fn ancestors(&self, term: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::from([term.to_owned()]);
        let mut next = vec![term.to_owned()];
        while let Some(one) = next.pop() {
            let up = self.broader.get(&one).into_iter().flatten().cloned().chain(self.shorter(&one));
            for up in up.collect::<Vec<_>>() {
                if found.insert(up.clone()) {
                    next.push(up);
                }
            }
        }
        found
    }

    /// Whether `term` is `whole` or lies within it.
    #[must_use]
    pub fn is_within(&self, term: &str, whole: &str) -> bool {
        term == whole || self.reaches(term, whole, MAX_DEPTH)
    }

    fn reaches(&self, term: &str, whole: &str, depth: usize) -> bool {
        term == whole
            || depth > 0
                && (self
                    .broader
                    .get(term)
                    .is_some_and(|up| up.iter().any(|next| self.reaches(next, whole, depth - 1)))
                    || self.shorter(term).is_some_and(|next| self.reaches(&next, whole, depth - 1)))
    }

    /// The next shorter code of the same family.
    fn shorter(&self, term: &str) -> Option<String> {
        self.nested.iter().find_map(|family| {
            let code = term.strip_prefix(family.prefix.as_str())?;
            let cut = if family.separator.is_empty() {
                code.char_indices().last()?.0
            } else {
                code.rfind(family.separator.as_str())?
            };
            let shorter = code.get(..cut).filter(|shorter| shorter.len() >= family.shortest)?;
            Some(format!("{}{shorter}", family.prefix))
        })
    }
}

fn list<'a>(json: &'a Json, key: &str) -> Result<&'a [Json], PolicyError> {
    match json.get(key) {
        None => Ok(&[]),
        Some(Json::Array(list)) if list.len() <= MAX_PAIRS => Ok(list),
        Some(Json::Array(_)) => Err(PolicyError::new(format!("/{key}"), "has more than 100000 members")),
        Some(_) => Err(PolicyError::new(format!("/{key}"), "must be an array")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Hierarchy, Relation};

    #[test]
    fn a_narrower_term_lies_within_every_broader_one() {
        let known = Hierarchy::shipped();
        assert!(known.is_within("BE", "BE"));
        assert!(known.is_within("BE", "Europe"));
        assert!(!known.is_within("Europe", "BE"));
        assert!(!known.is_within("unheard-of", "Europe"));
    }

    #[test]
    fn a_cycle_ends() {
        let mut known = Hierarchy::default();
        known.add("a", "b");
        known.add("b", "a");
        assert!(known.is_within("a", "b"));
        assert!(!known.is_within("a", "c"));
    }

    #[test]
    fn codes_lie_within_the_codes_they_begin_with() {
        let known = Hierarchy::shipped();
        let nuts = |code: &str| format!("http://data.europa.eu/nuts/code/{code}");
        assert!(known.is_within(&nuts("BE100"), &nuts("BE1")));
        assert!(known.is_within(&nuts("BE100"), "EU"), "a region lies within its country's union");
        assert!(!known.is_within(&nuts("BE1"), &nuts("BE100")));
        let tag = |tag: &str| format!("https://tools.ietf.org/html/bcp47#{tag}");
        assert!(known.is_within(&tag("de-at"), &tag("de")));
        assert!(!known.is_within(&tag("den"), &tag("de")), "a tag is cut at its hyphens only");
        assert_eq!(known.relation("BE", "FR"), Relation::Disjoint);
        assert_eq!(known.relation(&nuts("BE1"), "FR"), Relation::Disjoint);
    }

    #[test]
    fn more_terms_are_loaded_and_bad_ones_named() {
        let mut known = Hierarchy::default();
        known
            .load(&json!({"broader": [["Ghent", "BE"]], "disjoint": [["Ghent", "Liège"]], "areas": {"BE": [2, 49, 7, 52]}}))
            .unwrap();
        assert!(known.is_within("Ghent", "BE") && known.knows("Liège") && !known.knows("Rome"));
        assert_eq!(known.area("Ghent"), Some([2.0, 49.0, 7.0, 52.0]));
        let refused = |json| known.clone().load(&json).unwrap_err().to_string();
        assert_eq!(refused(json!({"broader": [["a"]]})), "/broader/0: must be a pair of strings");
        assert_eq!(
            refused(json!({"areas": {"x": [1]}})),
            "/areas/x: must be [west, south, east, north] in degrees"
        );
        assert!(refused(json!({"nested": [{}]})).starts_with("/nested/0"));
    }
}
