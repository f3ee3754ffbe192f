//! What is known of terms: which purpose, place or language lies within which, and which share nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::error::PolicyError;
use crate::model::{Atomic, Constraint};
use crate::spaces::Spaces;

/// Longest chain of broader terms that is followed; a cycle ends there.
const MAX_DEPTH: usize = 32;
/// Most pairs that one file may add.
const MAX_PAIRS: usize = 100_000;

/// What data spaces write, by the name that switches it on (`policy.spaces` in the configuration).
const SPACES: [(&str, &str); 5] = [
    ("catena-x", include_str!("../data/spaces/catena-x.json")),
    ("dpv", include_str!("../data/spaces/dpv.json")),
    ("edc", include_str!("../data/spaces/edc.json")),
    ("fiware", include_str!("../data/spaces/fiware.json")),
    ("mobility-data-space", include_str!("../data/spaces/mobility-data-space.json")),
];
/// Profiles whose terms the engine itself has: ODRL's core and the Dataspace Protocol's.
const CORE_PROFILES: [&str; 4] = [
    "http://www.w3.org/ns/odrl/2/",
    "http://www.w3.org/ns/odrl/2/core",
    "https://w3id.org/dspace/2025/1/odrl-profile",
    "https://w3id.org/dspace/2025/1/odrl-profile.jsonld",
];

/// Pairs (narrower, broader) of terms. Places and purposes are told apart by their names.
#[derive(Debug, Clone, Default)]
pub struct Hierarchy {
    broader: BTreeMap<String, BTreeSet<String>>,
    /// Every term of which something is known, other names aside.
    terms: BTreeSet<String>,
    /// Both directions.
    disjoint: BTreeMap<String, BTreeSet<String>>,
    nested: Vec<Nested>,
    areas: BTreeMap<String, [f64; 4]>,
    /// Other names of one thing, by name, with the name that stands for all of them.
    same: BTreeMap<String, String>,
    spaces: Spaces,
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
    /// The set shipped with the engine (`policy-engine/data/terms.json`): European countries with NUTS regions and their
    /// other names, the purposes of W3C DPV that cities use and a few of this product's own, language tags; and the
    /// operands of every data space that [`Self::spaces`] names.
    #[must_use]
    pub fn shipped() -> Self {
        Self::shipped_with(|_| true)
    }

    /// As [`Self::shipped`], with the operands of those data spaces whose name `wanted` takes.
    #[must_use]
    pub fn shipped_with(wanted: impl Fn(&str) -> bool) -> Self {
        let mut known = Self::default();
        let spaces = SPACES.iter().filter(|(name, _)| wanted(name)).map(|(_, text)| *text);
        for text in std::iter::once(include_str!("../data/terms.json")).chain(spaces) {
            let loaded = serde_json::from_str(text).map(|json: Json| known.load(&json));
            debug_assert!(matches!(loaded, Ok(Ok(()))), "the shipped terms can be read: {loaded:?}");
        }
        known
    }

    /// The names of the data spaces whose operands are shipped.
    pub fn spaces() -> impl Iterator<Item = &'static str> {
        SPACES.iter().map(|(name, _)| *name)
    }

    /// Adds what a file knows; all members may be missing.
    ///
    /// - `broader`: pairs of terms, the first within the second.
    /// - `disjoint`: lists of terms, no two of which share anything.
    /// - `nested`: objects `prefix`, `shortest`, `separator`: terms with that prefix whose code begins with another's
    ///   code of at least `shortest` characters (followed by `separator`) lie within it.
    /// - `areas`: by term, the `[west, south, east, north]` that encloses it, in degrees (WGS 84).
    /// - `same`: lists of names of one thing; the first is the one that the other members use.
    /// - `spaces`: objects with what data spaces write, see docs/policies.md: `prefixes`, `operands`, `profiles`, `everyone`,
    ///   `everything`.
    ///
    /// # Errors
    /// Names the place and the reason. What stands before it has been added.
    pub fn load(&mut self, json: &Json) -> Result<(), PolicyError> {
        let wrong = |path: String, reason: &str| PolicyError::new(path, reason);
        for (index, names) in list(json, "same")?.iter().enumerate() {
            let names: Option<Vec<&str>> =
                names.as_array().and_then(|names| names.iter().map(Json::as_str).collect());
            match names.as_deref() {
                Some([first, others @ ..]) if !others.is_empty() => {
                    others.iter().for_each(|other| self.add_same(first, other));
                }
                _ => return Err(wrong(format!("/same/{index}"), "must be an array of two or more strings")),
            }
        }
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
        for (index, space) in list(json, "spaces")?.iter().enumerate() {
            self.spaces
                .load(space)
                .map_err(|error| wrong(format!("/spaces/{index}{}", error.path()), error.reason()))?;
        }
        Ok(())
    }

    /// The name that stands for all names of what `term` names.
    #[must_use]
    pub fn canonical<'a>(&'a self, term: &'a str) -> &'a str {
        self.same.get(term).map_or(term, String::as_str)
    }

    /// What a comparison of a data space means in the operands of this engine; `None` where it is one of them, or where
    /// nothing is known of it.
    #[must_use]
    pub fn meaning(&self, atomic: &Atomic) -> Option<Constraint> {
        self.spaces.meaning(atomic)
    }

    /// Whether a name stands for every party that asks.
    pub(crate) fn is_everyone(&self, name: &str) -> bool {
        self.spaces.everyone.contains(name)
    }

    /// Whether a name stands for every asset.
    pub(crate) fn is_everything(&self, name: &str) -> bool {
        self.spaces.everything.contains(name)
    }

    /// Whether the terms of a profile are understood.
    #[must_use]
    pub fn knows_profile(&self, profile: &str) -> bool {
        CORE_PROFILES.contains(&profile) || self.spaces.profiles.contains(profile)
    }

    /// Adds that `other` names the same as `name`, which stands for both.
    pub fn add_same(&mut self, name: &str, other: &str) {
        let name = self.canonical(name).to_owned();
        if other != name {
            self.same.insert(other.to_owned(), name);
        }
    }

    /// Adds that `narrower` lies within `broader`.
    pub fn add(&mut self, narrower: &str, broader: &str) {
        let (narrower, broader) = (self.canonical(narrower).to_owned(), self.canonical(broader).to_owned());
        self.terms.extend([narrower.clone(), broader.clone()]);
        self.broader.entry(narrower).or_default().insert(broader);
    }

    /// Adds that `a` and `b`, and all that lies within them, share nothing.
    pub fn add_disjoint(&mut self, a: &str, b: &str) {
        let (a, b) = (self.canonical(a).to_owned(), self.canonical(b).to_owned());
        self.terms.extend([a.clone(), b.clone()]);
        self.disjoint.entry(a.clone()).or_default().insert(b.clone());
        self.disjoint.entry(b).or_default().insert(a);
    }

    /// Every term that something is known of.
    pub fn terms(&self) -> impl Iterator<Item = &str> {
        self.vocabulary().chain(self.same.keys().map(String::as_str))
    }

    /// The terms of the vocabularies themselves, other names of the same things aside.
    pub(crate) fn vocabulary(&self) -> impl Iterator<Item = &str> {
        let ordered = self.broader.iter().flat_map(|(term, up)| std::iter::once(term).chain(up));
        ordered.chain(self.disjoint.keys()).map(String::as_str)
    }

    /// Whether something lies directly within `term`.
    pub(crate) fn has_parts(&self, term: &str) -> bool {
        let term = self.canonical(term);
        self.broader.values().any(|up| up.contains(term))
    }

    /// What `term` lies directly within.
    pub(crate) fn broader_of(&self, term: &str) -> impl Iterator<Item = &str> {
        self.broader.get(term).into_iter().flatten().map(String::as_str)
    }

    /// Whether anything is known of `term`.
    #[must_use]
    pub fn knows(&self, term: &str) -> bool {
        let term = self.canonical(term);
        self.terms.contains(term) || self.nested.iter().any(|one| term.starts_with(&one.prefix))
    }

    /// What encloses the place `term`, as far as that is known: its own area, and those of the places it lies within.
    pub fn areas(&self, term: &str) -> impl Iterator<Item = [f64; 4]> {
        let ancestors = if self.areas.is_empty() { BTreeSet::new() } else { self.ancestors(term) };
        ancestors.into_iter().filter_map(|one| self.areas.get(&one).copied())
    }

    /// How `a` stands to `b`.
    #[must_use]
    pub fn relation(&self, a: &str, b: &str) -> Relation {
        let (a, b) = (self.canonical(a), self.canonical(b));
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
        let term = self.canonical(term);
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
        let (term, whole) = (self.canonical(term), self.canonical(whole));
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
        assert!(known.areas("Ghent").eq([[2.0, 49.0, 7.0, 52.0]]));
        let refused = |json| known.clone().load(&json).unwrap_err().to_string();
        assert_eq!(refused(json!({"broader": [["a"]]})), "/broader/0: must be a pair of strings");
        assert_eq!(
            refused(json!({"areas": {"x": [1]}})),
            "/areas/x: must be [west, south, east, north] in degrees"
        );
        assert!(refused(json!({"nested": [{}]})).starts_with("/nested/0"));
        assert!(refused(json!({"same": [["a"]]})).starts_with("/same/0"));
        assert!(
            refused(json!({"spaces": [{"operands": {"a": {"is": "moon"}}}]}))
                .starts_with("/spaces/0/operands/a")
        );
    }

    #[test]
    fn one_place_has_many_names() {
        let known = Hierarchy::shipped();
        let germany = [
            "DE",
            "http://publications.europa.eu/resource/authority/country/DEU",
            "http://www.wikidata.org/entity/Q183",
        ];
        for one in germany {
            assert!(known.is_within(one, "EU") && known.knows(one));
            assert!(germany.iter().all(|other| known.relation(one, other) == Relation::Same));
            assert!(known.is_within("http://data.europa.eu/nuts/code/DE1", one));
        }
        assert_eq!(known.relation("http://www.wikidata.org/entity/Q142", germany[1]), Relation::Disjoint);
    }
}
