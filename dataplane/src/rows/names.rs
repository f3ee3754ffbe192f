//! Where the names of an agreement lead in a row: to every place that has the name, not to the first. What only looks like
//! one, or cannot be reached, ends the stream: nothing that is to be hidden may get by under another spelling.

use std::sync::Arc;

use serde_json::Value as Json;
use unicode_normalization::UnicodeNormalization as _;

use super::{Row, RowError, leaf};

/// Members in which an attribute of NGSI-LD carries its value, now and before.
const VALUES: [&str; 14] = [
    "value",
    "object",
    "languageMap",
    "vocab",
    "json",
    "valueList",
    "objectList",
    "previousValue",
    "previousObject",
    "previousLanguageMap",
    "previousVocab",
    "previousJson",
    "previousValueList",
    "previousObjectList",
];
/// Members in which a relationship carries the entities that it leads to.
const LINKED: [&str; 2] = ["entity", "entityList"];
/// Types of attributes of NGSI-LD.
const ATTRIBUTES: [&str; 8] = [
    "Property",
    "GeoProperty",
    "Relationship",
    "LanguageProperty",
    "VocabProperty",
    "JsonProperty",
    "ListProperty",
    "ListRelationship",
];

type Members = serde_json::Map<String, Json>;

/// Whether a value is an attribute of NGSI-LD.
fn is_attribute(map: &Members) -> bool {
    let kind = map.get("type").and_then(Json::as_str);
    kind.is_some_and(|kind| ATTRIBUTES.contains(&kind)) && VALUES.iter().any(|name| map.contains_key(*name))
}

/// What a member's key is to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step<'n> {
    /// It is the name.
    There,
    /// It begins the name; this is left.
    On(&'n str),
    /// It differs from the name, or from its beginning, only in how it is written.
    Alike,
    Other,
}

fn step<'n>(name: &'n str, key: &str, reach: Reach) -> Step<'n> {
    match name.strip_prefix(key) {
        Some("") => Step::There,
        _ if reach.takes(name, key) => Step::There,
        Some(rest) if rest.starts_with('.') => Step::On(rest.get(1..).unwrap_or_default()),
        _ if is_alike(name, key) => Step::Alike,
        _ => Step::Other,
    }
}

/// How far a name reaches where what was nested is written in one level, as `riders.name` beside `riders`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// What has the name itself.
    Itself,
    /// What lies below as well, but for what an attribute of NGSI-LD says of its value.
    Values,
    /// What lies below as well.
    All,
}

impl Reach {
    /// Whether `key` is `name`, or what it reaches below it.
    pub(crate) fn takes(self, name: &str, key: &str) -> bool {
        match key.strip_prefix(name).map(|rest| (rest, rest.strip_prefix('.'))) {
            Some(("", _)) => true,
            Some((_, Some(below))) => match self {
                Self::Itself => false,
                Self::Values => !["observedAt", "unitCode", "datasetId"].contains(&below),
                Self::All => true,
            },
            _ => false,
        }
    }
}

/// Whether `key` is `name`, or begins it, but for case, spaces, and characters that nobody sees or tells apart.
pub(crate) fn is_alike(name: &str, key: &str) -> bool {
    if name.is_ascii() && key.is_ascii() {
        let seen = |text: &'_ str| {
            let bytes = text.bytes().filter(u8::is_ascii_graphic);
            bytes.map(|byte| byte.to_ascii_lowercase()).collect::<Vec<_>>()
        };
        // Most differ in their first letter.
        let first =
            |text: &str| text.bytes().find(u8::is_ascii_graphic).map(|byte| byte.to_ascii_lowercase());
        return first(name) == first(key) && begins(&seen(name), &seen(key), b'.');
    }
    let seen =
        |text: &str| text.nfkc().filter(|one| is_seen(*one)).flat_map(char::to_lowercase).collect::<Vec<_>>();
    begins(&seen(name), &seen(key), '.')
}

fn begins<T: PartialEq>(name: &[T], key: &[T], dot: T) -> bool {
    !key.is_empty() && name.strip_prefix(key).is_some_and(|rest| rest.first().is_none_or(|next| *next == dot))
}

/// Whether a character shows; no space and no character that nobody sees does.
pub(crate) fn is_seen(one: char) -> bool {
    !one.is_whitespace()
        && !one.is_control()
        && !matches!(one, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// What becomes of a value once it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stays,
    Goes,
}

/// Goes to every place of one name.
struct Walk<'a> {
    name: &'a str,
    reach: Reach,
    make: &'a mut dyn FnMut(&mut Json) -> Result<Fate, RowError>,
    found: bool,
}

impl Walk<'_> {
    fn alike(&self, key: &str) -> RowError {
        RowError(format!(
            "the data has `{}`, and the agreement says `{}`: whether both are the same is not known, so that the agreement cannot be kept; the data's provider must write one as the other",
            key.escape_debug(),
            self.name
        ))
    }

    /// One member of an object, or one cell of the row.
    fn member(&mut self, left: &str, key: &str, value: &mut Json) -> Result<Fate, RowError> {
        match step(left, key, self.reach) {
            Step::There => {
                self.found = true;
                (self.make)(value)
            }
            Step::On(rest) => self.within(value, rest, key).map(|()| Fate::Stays),
            Step::Alike => Err(self.alike(key)),
            Step::Other => Ok(Fate::Stays),
        }
    }

    fn members(&mut self, map: &mut Members, left: &str) -> Result<(), RowError> {
        let mut gone = Vec::new();
        for (key, value) in map.iter_mut() {
            if self.member(left, key, value)? == Fate::Goes {
                gone.push(key.clone());
            }
        }
        for key in gone {
            map.remove(&key);
        }
        Ok(())
    }

    /// Every element of an array, and what is in an attribute's value as well as beside it.
    fn within(&mut self, value: &mut Json, left: &str, key: &str) -> Result<(), RowError> {
        match value {
            Json::Null => Ok(()),
            Json::Array(all) => all.iter_mut().try_for_each(|one| self.within(one, left, key)),
            Json::Object(map) => {
                self.members(map, left)?;
                if is_attribute(map) {
                    for name in VALUES.iter().chain(&LINKED) {
                        if let Some(inner) =
                            map.get_mut(*name).filter(|inner| inner.is_object() || inner.is_array())
                        {
                            self.within_value(inner, left, key)?;
                        }
                    }
                }
                Ok(())
            }
            Json::Bool(_) | Json::Number(_) | Json::String(_) => Err(RowError(format!(
                "the agreement names `{}`, but `{}` is no object in a row, so that the agreement cannot be kept; the data's provider must say what became of it",
                self.name,
                key.escape_debug()
            ))),
        }
    }

    /// What an attribute has as its value: a list may also be one of plain values there, such as coordinates.
    fn within_value(&mut self, value: &mut Json, left: &str, key: &str) -> Result<(), RowError> {
        match value {
            Json::Array(all) => all
                .iter_mut()
                .filter(|one| one.is_object() || one.is_array())
                .try_for_each(|one| self.within_value(one, left, key)),
            value => self.within(value, left, key),
        }
    }
}

/// Whether a member like `name` stands anywhere inside.
fn has_inside(value: &Json, name: &str) -> bool {
    match value {
        Json::Array(all) => all.iter().any(|one| has_inside(one, name)),
        Json::Object(map) => map.iter().any(|(key, value)| {
            matches!(step(name, key, Reach::Itself), Step::There | Step::Alike) || has_inside(value, name)
        }),
        _ => false,
    }
}

/// Does `change` to a value, wherever an attribute of NGSI-LD carries it; what it leads to is not handed on.
pub(crate) fn change_value(
    value: &mut Json,
    change: &mut dyn FnMut(&mut Json) -> Result<(), RowError>,
) -> Result<(), RowError> {
    let Json::Object(map) = value else { return change(value) };
    if !is_attribute(map) {
        return change(value);
    }
    for name in LINKED {
        map.remove(name);
    }
    for name in VALUES {
        if let Some(value) = map.get_mut(name) {
            change(value)?;
        }
    }
    Ok(())
}

impl Row {
    /// The value that a name leads to, where there is one only.
    ///
    /// # Errors
    /// There are several: which of them is meant is not known.
    pub(crate) fn only(&self, name: &str) -> Result<Option<&Json>, RowError> {
        fn below<'r>(value: &'r Json, left: &str, found: &mut Vec<&'r Json>) {
            let Json::Object(map) = value else { return };
            for (key, value) in map {
                if key == left {
                    found.push(value);
                } else if let Step::On(rest) = beginning(left, key) {
                    below(value, rest, found);
                }
            }
        }
        let mut found = Vec::new();
        for (key, value) in &self.0 {
            if **key == *name {
                found.push(value);
            } else if let Step::On(rest) = beginning(name, key) {
                below(value, rest, &mut found);
            }
        }
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(leaf(one))),
            _ => Err(twice(name)),
        }
    }

    /// Does something at every place that a name leads to.
    ///
    /// # Errors
    /// There may be another place, which cannot be reached or only looks like one; or what is done fails.
    pub(crate) fn at_each(
        &mut self,
        name: &str,
        reach: Reach,
        make: &mut dyn FnMut(&mut Json) -> Result<Fate, RowError>,
    ) -> Result<(), RowError> {
        let mut walk = Walk { name, reach, make, found: false };
        let mut gone = false;
        for (key, value) in &mut self.0 {
            // Removed below: a row's cells keep their places meanwhile.
            gone |= walk.member(name, key, value)? == Fate::Goes;
        }
        if gone {
            self.0.retain(|(key, _)| !reach.takes(name, key));
        }
        if walk.found {
            return Ok(());
        }
        let has = |name: &str| self.0.iter().any(|(key, _)| &**key == name);
        if name.starts_with("properties.") && has("geometry") && !has("properties") {
            return Err(RowError(format!(
                "the agreement names `{name}`, but what is in a feature's properties is named without `properties.`, so that the agreement cannot be kept; its terms must name it so"
            )));
        }
        if !name.contains('.') && self.0.iter().any(|(_, value)| has_inside(value, name)) {
            return Err(RowError(format!(
                "the agreement names `{name}`, which a row has only inside another member, so that the agreement cannot be kept; its terms must name the way to it, such as `member.{name}`"
            )));
        }
        Ok(())
    }

    /// Keeps what is named, and the way to it.
    pub(crate) fn keep_only(&mut self, names: &[Arc<str>], stays: impl Fn(&str) -> bool) {
        let all = std::mem::take(&mut self.0);
        self.0 = all
            .into_iter()
            .filter_map(|(key, value)| {
                if stays(&key) || names.iter().any(|name| **name == *key) {
                    return Some((key, value));
                }
                let left = onwards(names.iter().map(|name| &**name), &key);
                kept(value, &left).map(|value| (key, value))
            })
            .collect();
    }
}

/// Names that appear more than once where one is read.
pub(crate) fn twice(name: &str) -> RowError {
    RowError(format!(
        "the data has `{name}` more than once, and the agreement depends on it: which one counts is not known, so that the agreement cannot be kept; the data's provider must name it once"
    ))
}

/// As [`step`], where nothing is asked about what looks alike.
fn beginning<'n>(name: &'n str, key: &str) -> Step<'n> {
    match name.strip_prefix(key).and_then(|rest| rest.strip_prefix('.')) {
        Some(rest) => Step::On(rest),
        None => Step::Other,
    }
}

/// What is left of the names that `key` begins.
fn onwards<'n>(names: impl Iterator<Item = &'n str>, key: &str) -> Vec<&'n str> {
    let left = names.filter_map(|name| match beginning(name, key) {
        Step::On(rest) => Some(rest),
        _ => None,
    });
    left.collect()
}

/// What of a value is named; `None` where nothing is.
fn kept(value: Json, names: &[&str]) -> Option<Json> {
    if names.is_empty() {
        return None;
    }
    match value {
        Json::Array(all) => Some(Json::Array(all.into_iter().filter_map(|one| kept(one, names)).collect())),
        Json::Object(map) => {
            let is_attribute = is_attribute(&map);
            let mut found = Members::new();
            let mut kind = None;
            for (key, value) in map {
                if names.contains(&key.as_str()) {
                    found.insert(key, value);
                    continue;
                }
                if is_attribute && key == "type" {
                    kind = Some(value);
                    continue;
                }
                let left = onwards(names.iter().copied(), &key);
                let inner = match VALUES.contains(&key.as_str()) && is_attribute && left.is_empty() {
                    true => kept(value, names),
                    false => kept(value, &left),
                };
                if let Some(inner) = inner {
                    found.insert(key, inner);
                }
            }
            if found.is_empty() {
                return None;
            }
            if let Some(kind) = kind {
                found.insert("type".to_owned(), kind);
            }
            Some(Json::Object(found))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
    }
}
