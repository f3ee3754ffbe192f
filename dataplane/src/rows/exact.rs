//! JSON read for rows under an agreement: a name that stands twice in an object is refused, and a number that identifies
//! somebody stays the text that it is written as.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Number, Value as Json};

use super::kind::is_same;
use super::{Row, RowError};

/// Which numbers are kept as they are written, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exact {
    /// Numbers here stand for somebody or something: `1.0` and `1` are two.
    pub(crate) texts: Vec<String>,
}

impl Exact {
    /// What a number becomes that is read as `number`.
    fn number(&self, number: Number, written: &str, path: &[String]) -> Json {
        // A whole number of 64 bits is written in one way.
        if !number.is_f64() {
            return Json::Number(number);
        }
        let read = number.to_string();
        if read == written {
            return Json::Number(number);
        }
        let here = path.join(".");
        let here = here.strip_prefix("properties.").unwrap_or(&here);
        let is_here = |name: &String| {
            let rest = here.strip_prefix(name.as_str());
            rest.is_some_and(|rest| ["", ".value", ".object"].contains(&rest))
        };
        // Digits that floating point does not keep are kept as text, except in coordinates, where they are less than an atom.
        let is_place = || path.iter().any(|name| name == "coordinates" || name == "bbox");
        let as_text = self.texts.iter().any(is_here) || !is_same(&read, written) && !is_place();
        if as_text { Json::String(written.to_owned()) } else { Json::Number(number) }
    }
}

/// One row, of one value.
pub(super) fn row(text: &[u8], exact: &Exact) -> Result<Row, RowError> {
    let value = Reader::new(text, exact).whole()?;
    Ok(of(value))
}

/// The rows of an event: of an array each of its elements.
pub(crate) fn rows(text: &[u8], exact: &Exact) -> Result<Vec<Row>, RowError> {
    Ok(match Reader::new(text, exact).whole()? {
        Read::Other(Json::Array(all)) => all.into_iter().map(Row::of).collect(),
        one => vec![of(one)],
    })
}

fn of(value: Read) -> Row {
    match value {
        Read::Other(json) => Row::of(json),
        Read::Members(members) => {
            let is_feature = members.iter().any(|(name, value)| name == "type" && value == "Feature");
            if is_feature {
                return Row::of(Json::Object(members.into_iter().collect()));
            }
            Row(members.into_iter().map(|(name, value)| (Arc::from(name), value)).collect())
        }
    }
}

/// What was read: an object's members stay in their order.
enum Read {
    Members(Vec<(String, Json)>),
    Other(Json),
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    exact: &'a Exact,
    /// The names that lead here.
    path: Vec<String>,
}

/// Deepest nesting.
const MAX_DEPTH: usize = 128;

impl<'a> Reader<'a> {
    const fn new(text: &'a [u8], exact: &'a Exact) -> Self {
        Self { text, at: 0, exact, path: Vec::new() }
    }

    fn whole(mut self) -> Result<Read, RowError> {
        let read = match self.peek() {
            Some(b'{') => Read::Members(self.object(0)?),
            _ => Read::Other(self.value(0)?),
        };
        match self.peek() {
            None => Ok(read),
            Some(_) => Err(self.wrong("something follows it")),
        }
    }

    fn wrong(&self, what: &str) -> RowError {
        RowError(format!("a row is not JSON: {what} at byte {}", self.at))
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn take(&mut self, wanted: u8) -> Result<(), RowError> {
        if self.peek() != Some(wanted) {
            return Err(self.wrong(&format!("`{}` is missing", char::from(wanted))));
        }
        self.at += 1;
        Ok(())
    }

    /// Whether another element follows, after a comma, or the end.
    fn goes_on(&mut self, is_first: bool, end: u8) -> Result<bool, RowError> {
        if self.peek() == Some(end) && is_first {
            self.at += 1;
            return Ok(false);
        }
        if is_first {
            return Ok(true);
        }
        match self.peek() {
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            _ => self.take(b',').map(|()| true),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Vec<(String, Json)>, RowError> {
        self.take(b'{')?;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut seen = HashSet::new();
        while self.goes_on(members.is_empty(), b'}')? {
            let name = self.string()?;
            self.take(b':')?;
            self.path.push(name);
            let value = self.value(depth + 1)?;
            let name = self.path.pop().unwrap_or_default();
            // A few are looked through, many are remembered.
            let is_new = match members.len() {
                0..16 => members.iter().all(|(known, _)| *known != name),
                16 => {
                    seen.extend(members.iter().map(|(known, _)| known.clone()));
                    seen.insert(name.clone())
                }
                _ => seen.insert(name.clone()),
            };
            if !is_new {
                return Err(RowError(format!(
                    "a row names `{}` twice, and which one counts is not known, so that the agreement cannot be kept; the data's provider must name it once",
                    name.escape_debug()
                )));
            }
            members.push((name, value));
        }
        Ok(members)
    }

    fn value(&mut self, depth: usize) -> Result<Json, RowError> {
        if depth > MAX_DEPTH {
            return Err(self.wrong(&format!("it is nested deeper than {MAX_DEPTH}")));
        }
        match self.peek() {
            Some(b'{') => {
                let members = self.object(depth)?;
                Ok(Json::Object(members.into_iter().collect::<Map<_, _>>()))
            }
            Some(b'[') => {
                self.at += 1;
                let mut all = Vec::new();
                while self.goes_on(all.is_empty(), b']')? {
                    all.push(self.value(depth + 1)?);
                }
                Ok(Json::Array(all))
            }
            Some(b'"') => self.string().map(Json::String),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.wrong("a value is missing")),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, RowError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.wrong("a value is missing"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Json, RowError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
        let token = rest.get(..length).unwrap_or_default();
        let written = std::str::from_utf8(token).map_err(|_| self.wrong("a number is missing"))?;
        let number: Number =
            serde_json::from_str(written).map_err(|_| self.wrong("there is no number that can be read"))?;
        self.at += length;
        Ok(self.exact.number(number, written, &self.path))
    }

    fn string(&mut self) -> Result<String, RowError> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("a text is missing"));
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut escaped = false;
        let end = rest.iter().skip(1).position(|byte| match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' => {
                escaped = true;
                false
            }
            byte => *byte == b'"',
        });
        let token = end.and_then(|end| rest.get(..end + 2)).ok_or_else(|| self.wrong("a text has no end"))?;
        let text = serde_json::from_slice(token).map_err(|_| self.wrong("a text cannot be read"))?;
        self.at += token.len();
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers whose digits are kept as text, as anybody reads them.
    fn read_by_others(json: Json) -> Json {
        match json {
            Json::String(text) => match serde_json::from_str::<Number>(&text) {
                Ok(number) if number.is_f64() => Json::Number(number),
                _ => Json::String(text),
            },
            Json::Array(all) => Json::Array(all.into_iter().map(read_by_others).collect()),
            Json::Object(map) => {
                Json::Object(map.into_iter().map(|(name, value)| (name, read_by_others(value))).collect())
            }
            other => other,
        }
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            any::<String>().prop_map(Json::String),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let members = prop::collection::btree_map(any::<String>(), inner.clone(), 0..20);
            prop_oneof![
                prop::collection::vec(inner, 0..6).prop_map(Json::Array),
                members.prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever has no name twice is read as anybody reads it, and what is torn by nobody.
        #[test]
        fn it_reads_what_others_read(value in json(), cut in any::<prop::sample::Index>(), noise in any::<u8>()) {
            let text = serde_json::to_vec_pretty(&value).unwrap();
            let nothing = Exact::default();
            let others: Json = serde_json::from_slice(&text).unwrap();
            prop_assert_eq!(row(&text, &nothing).unwrap().into_json(), Row::of(others).into_json());
            let mut torn = text;
            let at = cut.index(torn.len());
            torn[at] = noise;
            let others = serde_json::from_slice::<Json>(&torn);
            match row(&torn, &nothing) {
                Ok(read) => prop_assert_eq!(
                    read_by_others(read.into_json()),
                    read_by_others(Row::of(others.unwrap()).into_json())
                ),
                Err(error) => prop_assert!(others.is_err() || error.0.contains("twice"), "{}", error),
            }
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_however_it_is_written() {
        let nothing = Exact::default();
        for text in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":[{"a":1,"a":1}]}"#] {
            assert!(row(text.as_bytes(), &nothing).unwrap_err().0.contains("`a` twice"), "{text}");
        }
        let many: Vec<_> = (0..40).chain([3]).map(|one| format!("\"m{one}\":1")).collect();
        let error = row(format!("{{{}}}", many.join(",")).as_bytes(), &nothing).unwrap_err();
        assert!(error.0.contains("`m3` twice"), "{error}");
    }

    #[test]
    fn numbers_that_name_somebody_stay_as_they_are_written() {
        let exact = Exact { texts: vec!["who".into(), "a.id".into()] };
        let read = |text: &str| row(text.as_bytes(), &exact).unwrap().into_json().to_string();
        assert_eq!(read(r#"{"who":1.10}"#), r#"{"who":"1.10"}"#);
        assert_eq!(read(r#"{"who":1.5}"#), r#"{"who":1.5}"#, "written as it is read");
        assert_eq!(read(r#"{"who":123}"#), r#"{"who":123}"#);
        let long = "123456789012345678901234567890";
        assert_eq!(read(&format!(r#"{{"a":[{{"id":{long}}}]}}"#)), format!(r#"{{"a":[{{"id":"{long}"}}]}}"#));
        assert_eq!(read(r#"{"km":1.10,"no2":1.10}"#), r#"{"km":1.1,"no2":1.1}"#, "nothing is lost");
        assert_eq!(read(&format!(r#"{{"km":{long}}}"#)), format!(r#"{{"km":"{long}"}}"#));
    }
}
