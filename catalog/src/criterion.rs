//! Comparisons as Eclipse EDC has them, in the selectors of contract definitions and in its QuerySpec.

use std::cmp::Ordering;

use policy_engine::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// EDC's own namespace, in which its names stand where nothing else is said.
pub const EDC: &str = "https://w3id.org/edc/v0.0.1/ns/";
/// Longest left operand, in bytes.
const MAX_PATH: usize = 512;
/// Most values of a list on the right.
const MAX_VALUES: usize = 1000;
/// Longest pattern of `like`, in characters.
const MAX_PATTERN: usize = 128;
/// Longest text that is like a pattern, in bytes: what takes longer is nothing that anybody looks for so.
const MAX_TEXT: usize = 4096;

/// One comparison of a selector or query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Criterion {
    #[serde(rename = "@type", default = "criterion_type")]
    kind: String,
    /// A property; `id` is the id of the whole. Dots lead to members of members, quotes hold a name with dots together.
    pub operand_left: String,
    /// `=`, `!=`, `in`, `not in`, `like`, `ilike`, `contains`, `<`, `<=`, `>` or `>=`.
    pub operator: String,
    /// One value, or several for `in` and `not in`.
    #[serde(default)]
    pub operand_right: Json,
}

fn criterion_type() -> String {
    "Criterion".to_owned()
}

/// What a comparison does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    In,
    NotIn,
    Like,
    LikeInAnyCase,
    Contains,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

impl Operator {
    fn of(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "=" => Self::Equal,
            "!=" => Self::NotEqual,
            "in" => Self::In,
            "not in" | "notin" => Self::NotIn,
            "like" => Self::Like,
            "ilike" => Self::LikeInAnyCase,
            "contains" => Self::Contains,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::More,
            ">=" => Self::MoreOrEqual,
            _ => return None,
        })
    }
}

impl Criterion {
    /// Selects the asset with this id.
    #[must_use]
    pub fn by_id(id: &str) -> Self {
        Self {
            kind: criterion_type(),
            operand_left: "id".to_owned(),
            operator: "=".to_owned(),
            operand_right: Json::String(id.to_owned()),
        }
    }

    /// Checks what its JSON shape does not say.
    ///
    /// # Errors
    /// The member that cannot be used, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        Path::parse(&self.operand_left).map_err(|reason| ("operandLeft", reason))?;
        let Some(operator) = Operator::of(&self.operator) else {
            let known = "=, !=, in, not in, like, ilike, contains, <, <=, > and >= are";
            return Err(("operator", format!("`{}` is not understood; {known}", self.operator)));
        };
        let right = |reason: &str| Err(("operandRight", reason.to_owned()));
        match (operator, &self.operand_right) {
            (Operator::In | Operator::NotIn, Json::Array(list)) if list.len() <= MAX_VALUES => Ok(()),
            (Operator::In | Operator::NotIn, _) => right("must be a list of at most 1000 values"),
            (Operator::Like | Operator::LikeInAnyCase, Json::String(pattern))
                if pattern.chars().count() <= MAX_PATTERN =>
            {
                Ok(())
            }
            (Operator::Like | Operator::LikeInAnyCase, _) => right(
                "must be a text of at most 128 characters, in which % stands for any text and _ for any character",
            ),
            (_, Json::Object(_)) => right("must be a value"),
            _ => Ok(()),
        }
    }

    /// Where its left operand is looked for.
    ///
    /// # Errors
    /// It is no path.
    pub fn path(&self) -> Result<Path, String> {
        Path::parse(&self.operand_left)
    }

    /// The values one of which it asks for, where it asks for one of several.
    pub(crate) fn wanted(&self) -> Option<Vec<&Json>> {
        match (Operator::of(&self.operator)?, &self.operand_right) {
            (Operator::Equal, wanted) => Some(vec![wanted]),
            (Operator::In, Json::Array(list)) => Some(list.iter().collect()),
            _ => None,
        }
    }

    /// Whether `document` satisfies the comparison. Where the path leads to several values, one of them is enough, but for
    /// what must not be.
    #[must_use]
    pub fn holds(&self, document: &Json) -> bool {
        let (Some(operator), Ok(path)) = (Operator::of(&self.operator), Path::parse(&self.operand_left))
        else {
            return false;
        };
        let found = path.find(document);
        let right = &self.operand_right;
        let listed =
            |value: &&Json| right.as_array().is_some_and(|list| list.iter().any(|one| same(value, one)));
        match operator {
            // A list may be meant as a whole, or by what is in it.
            Operator::Equal => {
                found.iter().any(|value| same(value, right) || each(value).any(|one| same(one, right)))
            }
            Operator::NotEqual => {
                !found.iter().any(|value| same(value, right) || each(value).any(|one| same(one, right)))
            }
            Operator::In => found.iter().copied().flat_map(each).any(|one| listed(&one)),
            Operator::NotIn => !found.iter().copied().flat_map(each).any(|one| listed(&one)),
            Operator::Contains => found.iter().any(|value| match (value, right) {
                (Json::String(text), Json::String(part)) => text.contains(part.as_str()),
                (value, right) => each(value).any(|one| same(one, right)),
            }),
            Operator::Like | Operator::LikeInAnyCase => {
                let pattern = right.as_str().unwrap_or_default();
                let any_case = operator == Operator::LikeInAnyCase;
                found.iter().copied().flat_map(each).any(|one| is_like(&text_of(one), pattern, any_case))
            }
            Operator::Less => ordered(&found, right, Ordering::is_lt),
            Operator::LessOrEqual => ordered(&found, right, Ordering::is_le),
            Operator::More => ordered(&found, right, Ordering::is_gt),
            Operator::MoreOrEqual => ordered(&found, right, Ordering::is_ge),
        }
    }
}

/// The ids of the only documents that can satisfy all of `criteria`; `None` where they say nothing of ids.
pub(crate) fn ids(criteria: &[Criterion]) -> Option<Vec<&str>> {
    let mut by_id = criteria.iter().filter(|one| one.path().is_ok_and(|path| path.is_id()));
    let wanted = by_id.find_map(Criterion::wanted)?;
    Some(wanted.into_iter().filter_map(Json::as_str).collect())
}

/// A left operand, or a field to sort by: names from the outside in.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// As a whole, for names that have dots in them.
    whole: String,
    names: Vec<String>,
}

impl Path {
    /// Reads `a.b`, `'https://example.org/ns/a'.b` and `https://example.org/ns/a` alike.
    ///
    /// # Errors
    /// A quote is not closed, or a name is empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_PATH {
            return Err(format!("must be a text of 1 to {MAX_PATH} bytes"));
        }
        let mut names = Vec::new();
        let (mut name, mut quoted) = (String::new(), false);
        for one in text.chars() {
            match one {
                '\'' => quoted = !quoted,
                '.' if !quoted => names.push(std::mem::take(&mut name)),
                other => name.push(other),
            }
        }
        names.push(name);
        if quoted {
            return Err(format!("`{text}`: a quote is not closed"));
        }
        // An address without quotes has dots of its own, and is one name.
        let whole = match text.contains('\'') {
            true => names.join("."),
            false => text.to_owned(),
        };
        if whole.contains("://") && !text.contains('\'') {
            names = vec![whole.clone()];
        }
        if names.iter().any(String::is_empty) {
            return Err(format!("`{text}`: a name is empty"));
        }
        let names = names.iter().map(|name| bare(name).to_owned()).collect();
        Ok(Self { whole: bare(&whole).to_owned(), names })
    }

    /// Whether it leads to the id of the whole.
    pub(crate) fn is_id(&self) -> bool {
        ["id", "@id"].contains(&self.whole.as_str())
    }

    /// The outermost name.
    #[must_use]
    pub fn first(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Every value of `document` that it leads to. What is no member is looked for among the `properties`.
    #[must_use]
    pub fn find<'a>(&self, document: &'a Json) -> Vec<&'a Json> {
        if self.is_id()
            && let Some(id) = document.get("@id")
        {
            return vec![id];
        }
        let properties = document.get("properties");
        let private = || document.get("privateProperties").and_then(|map| member(map, &self.whole));
        let whole = properties
            .and_then(|map| member(map, &self.whole))
            .or_else(|| member(document, &self.whole))
            .or_else(private);
        if let Some(found) = whole {
            return vec![found];
        }
        let from = |document: &'a Json| {
            let mut found = vec![document];
            for name in &self.names {
                found = found.into_iter().flat_map(each).filter_map(|one| member(one, name)).collect();
            }
            found
        };
        // In the order of EDC: what is private comes last.
        let private = document.get("privateProperties");
        [Some(document), properties, private]
            .into_iter()
            .flatten()
            .map(from)
            .find(|found| !found.is_empty())
            .unwrap_or_default()
    }
}

/// A name without EDC's prefix, in either form.
fn bare(name: &str) -> &str {
    name.strip_prefix(EDC)
        .or_else(|| name.strip_prefix("edc:"))
        .filter(|rest| !rest.is_empty())
        .unwrap_or(name)
}

/// A member by its name, with or without EDC's prefix on either side.
fn member<'a>(document: &'a Json, name: &str) -> Option<&'a Json> {
    let map = document.as_object()?;
    map.get(name)
        .or_else(|| map.get(format!("{EDC}{name}").as_str()))
        .or_else(|| map.get(&format!("@{name}")).filter(|_| matches!(name, "id" | "type")))
}

/// The values of a list, or the one value.
fn each(value: &Json) -> std::slice::Iter<'_, Json> {
    value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice).iter()
}

/// Whether two values are the same: numbers by what they are worth, a node by its id, and a number that one side writes as text.
fn same(a: &Json, b: &Json) -> bool {
    a == b
        || match (a, b) {
            (Json::Number(a), Json::Number(b)) => decimal(&a.to_string()) == decimal(&b.to_string()),
            (Json::Object(_), _) | (_, Json::Object(_)) => named(a).is_some_and(|id| Some(id) == named(b)),
            (Json::String(_), Json::Number(_) | Json::Bool(_))
            | (Json::Number(_) | Json::Bool(_), Json::String(_)) => text_of(a) == text_of(b),
            _ => false,
        }
}

/// Under what a value is looked up: what is the [`same`] has a key in common.
pub(crate) fn keys(value: &Json) -> impl Iterator<Item = String> {
    let key = |one: &Json| {
        let text = text_of(one);
        decimal(&text).map_or(text, |number| format!("{number:?}"))
    };
    let whole = value.is_array().then(|| value.to_string());
    whole.into_iter().chain(each(value).map(key))
}

/// The id or value that an object stands for, or a text.
fn named(value: &Json) -> Option<&str> {
    let inner = |map: &'_ serde_json::Map<String, Json>| {
        ["@id", "@value"].into_iter().any(|name| map.contains_key(name))
    };
    match value {
        Json::Object(map) if inner(map) => map.get("@id").or_else(|| map.get("@value"))?.as_str(),
        other => other.as_str(),
    }
}

fn decimal(text: &str) -> Option<Decimal> {
    Decimal::parse(text)
}

fn text_of(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => named(other).map_or_else(|| other.to_string(), str::to_owned),
    }
}

fn ordered(found: &[&Json], right: &Json, fits: fn(Ordering) -> bool) -> bool {
    found.iter().copied().flat_map(each).any(|one| compare(one, right).is_some_and(fits))
}

/// In which order two values are sorted: what is missing first, then numbers, texts and the rest, each among their own.
#[must_use]
pub fn order(a: Option<&Json>, b: Option<&Json>) -> Ordering {
    let kind = |value: Option<&Json>| match value {
        None | Some(Json::Null) => 0,
        Some(Json::Number(_)) => 1,
        Some(Json::String(_)) => 2,
        Some(_) => 3,
    };
    kind(a).cmp(&kind(b)).then_with(|| match (a, b) {
        (Some(a), Some(b)) => compare(a, b).unwrap_or_else(|| a.to_string().cmp(&b.to_string())),
        _ => Ordering::Equal,
    })
}

/// The order of two values of one kind: numbers by what they are worth, texts letter by letter.
fn compare(a: &Json, b: &Json) -> Option<Ordering> {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => Some(decimal(&a.to_string())?.cmp(&decimal(&b.to_string())?)),
        (Json::String(a), Json::String(b)) => Some(a.cmp(b)),
        (Json::Bool(a), Json::Bool(b)) => Some(a.cmp(b)),
        (Json::Number(a), Json::String(b)) => Some(decimal(&a.to_string())?.cmp(&decimal(b)?)),
        (Json::String(a), Json::Number(b)) => Some(decimal(a)?.cmp(&decimal(&b.to_string())?)),
        _ => None,
    }
}

/// Whether `text` is like `pattern` (SQL): `%` stands for any text, `_` for any character, `\` takes the meaning from both.
fn is_like(text: &str, pattern: &str, any_case: bool) -> bool {
    if text.len() > MAX_TEXT {
        return false;
    }
    let fold = |text: &str| if any_case { text.to_lowercase() } else { text.to_owned() };
    let text: Vec<char> = fold(text).chars().collect();
    let mut parts = Vec::new();
    let pattern = fold(pattern);
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        let part = match letter {
            '%' => Part::Any,
            '_' => Part::One,
            '\\' => Part::This(letters.next().unwrap_or('\\')),
            other => Part::This(other),
        };
        // Any text twice is any text.
        if !(matches!(part, Part::Any) && matches!(parts.last(), Some(Part::Any))) {
            parts.push(part);
        }
    }
    // Where the last `%` stands, and where what it took ends: only that one is ever tried again.
    let (mut at, mut part, mut again) = (0, 0, None);
    while let Some(letter) = text.get(at) {
        let fits = match parts.get(part) {
            Some(Part::Any) => {
                again = Some((part, at));
                part += 1;
                continue;
            }
            Some(Part::One) => true,
            Some(Part::This(wanted)) => wanted == letter,
            None => false,
        };
        if fits {
            at += 1;
            part += 1;
        } else if let Some((any, taken)) = again {
            (at, part, again) = (taken + 1, any + 1, Some((any, taken + 1)));
        } else {
            return false;
        }
    }
    parts.iter().skip(part).all(|rest| matches!(rest, Part::Any))
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Any,
    One,
    This(char),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(document: &Json, left: &str, operator: &str, right: Json) -> bool {
        let criterion: Criterion =
            serde_json::from_value(json!({"operandLeft": left, "operator": operator, "operandRight": right}))
                .unwrap();
        criterion.check().unwrap();
        criterion.holds(document)
    }

    #[test]
    fn every_operator_compares() {
        let document = json!({"@id": "a", "createdAt": 17, "properties": {
            "name": "Air 100%", "version": "1.0", "tags": ["air", "no2"], "rank": 2.50, "none": null}});
        for (left, operator, right) in [
            ("id", "=", json!("a")),
            ("@id", "in", json!(["b", "a"])),
            ("name", "!=", json!("Air")),
            ("missing", "!=", json!("x")),
            ("missing", "not in", json!(["x"])),
            ("tags", "=", json!(["air", "no2"])),
            ("tags", "=", json!("no2")),
            ("tags", "contains", json!("air")),
            ("name", "contains", json!("100")),
            ("name", "like", json!("Air%")),
            ("name", "like", json!("_ir 100\\%")),
            ("name", "ilike", json!("air 1__\\%")),
            ("tags", "LIKE", json!("n%")),
            ("name", "like", json!("%%r%_00%%")),
            ("name", "like", json!("%")),
            ("createdAt", "<", json!(18)),
            ("createdAt", "<=", json!(17)),
            ("createdAt", ">", json!("16.5")),
            ("createdAt", ">=", json!(17.0)),
            ("version", ">", json!("0.9")),
            ("rank", "=", json!(2.5)),
            ("rank", "=", json!("2.5")),
            ("tags", "notIn", json!(["noise"])),
        ] {
            assert!(holds(&document, left, operator, right.clone()), "{left} {operator} {right}");
        }
        for (left, operator, right) in [
            ("id", "=", json!("b")),
            ("id", "!=", json!("a")),
            ("tags", "not in", json!(["air"])),
            ("tags", "contains", json!("ai")),
            ("name", "like", json!("air%")),
            ("name", "like", json!("Air")),
            ("missing", "=", json!("x")),
            ("missing", "<", json!(5)),
            ("missing", "like", json!("%")),
            ("name", "<", json!(5)),
            ("createdAt", ">", json!(17)),
        ] {
            assert!(!holds(&document, left, operator, right.clone()), "{left} {operator} {right}");
        }
    }

    #[test]
    fn paths_have_dots_and_quotes_and_prefixes() {
        let document = json!({"@id": "a", "assetsSelector": [{"operandLeft": "id"}, {"operandLeft": "kind"}],
            "privateProperties": {"owner": {"team": "roads"}, "https://example.org/ns/a.b": "x"},
            "properties": {"https://w3id.org/edc/v0.0.1/ns/colour": "red", "https://example.org/ns/city": {"@id": "urn:gent"},
                "dotted.name": 1, "format": "csv"}});
        for (left, right) in [
            ("https://w3id.org/edc/v0.0.1/ns/id", json!("a")),
            ("'https://w3id.org/edc/v0.0.1/ns/id'", json!("a")),
            ("privateProperties.owner.team", json!("roads")),
            ("privateProperties.'https://example.org/ns/a.b'", json!("x")),
            ("'https://w3id.org/edc/v0.0.1/ns/privateProperties'.'owner'.'team'", json!("roads")),
            ("colour", json!("red")),
            ("edc:colour", json!("red")),
            ("properties.colour", json!("red")),
            ("https://w3id.org/edc/v0.0.1/ns/colour", json!("red")),
            ("https://example.org/ns/city", json!("urn:gent")),
            ("'https://example.org/ns/city'.@id", json!("urn:gent")),
            ("properties.'https://example.org/ns/city'.'@id'", json!("urn:gent")),
            ("dotted.name", json!(1)),
            ("'dotted.name'", json!(1)),
            ("format", json!("csv")),
            ("owner.team", json!("roads")),
            ("https://example.org/ns/a.b", json!("x")),
            ("assetsSelector.operandLeft", json!("kind")),
        ] {
            assert!(holds(&document, left, "=", right), "{left}");
        }
        for wrong in ["", "a..b", ".a", "a.", "'a", "a'.b"] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let refused = |left: &str, operator: &str, right: Json| {
            let criterion: Criterion = serde_json::from_value(
                json!({"operandLeft": left, "operator": operator, "operandRight": right}),
            )
            .unwrap();
            criterion.check().unwrap_err()
        };
        assert_eq!(refused("a", "near", json!(1)).0, "operator");
        assert_eq!(refused("a", "in", json!("x")).0, "operandRight");
        assert_eq!(refused("a", "like", json!(1)).0, "operandRight");
        assert_eq!(refused("a", "like", json!("x".repeat(129))).0, "operandRight");
        assert_eq!(refused("a.'b", "=", json!(1)).0, "operandLeft");
        assert_eq!(refused("a", "=", json!({"b": 1})).0, "operandRight");
    }

    #[test]
    fn a_pattern_takes_no_longer_than_its_length_times_the_texts() {
        let text = "a".repeat(4096);
        assert!(!is_like(&text, &format!("{}b", "%a".repeat(60)), false));
        assert!(is_like(&text, "a%", false) && !is_like(&format!("{text}a"), "a%", false));
    }
}
