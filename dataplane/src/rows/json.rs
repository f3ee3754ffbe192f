//! JSON, cut into the values that are its rows, and written.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::exact::{self, Exact};
use super::{Decoder, Encoder, MAX_ROW, Row, RowError, geometry, typed, write_json};

/// Deepest nesting.
const MAX_DEPTH: u32 = 64;
/// Members of an object that are its rows.
const LISTS: [&str; 6] = ["features", "data", "records", "results", "items", "@graph"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nothing has come but space.
    Start,
    /// Between values: of an array, or of lines.
    Between,
    /// Inside a value.
    Value,
    /// In an object that may have rows, before a member's name.
    Name,
    /// In a member's name.
    InName,
    /// Before a member's value.
    Member,
    /// In a member's value.
    InMember,
    /// The rows are over.
    Done,
}

/// Finds rows without reading more than one of them at once.
pub(super) struct JsonDecoder {
    lines: bool,
    /// Under an agreement: which numbers are to stay as they are written.
    exact: Option<Exact>,
    at: At,
    /// The value, or the name.
    value: Vec<u8>,
    /// The whole object, as long as it may be a row itself; `None` once it is not.
    whole: Option<Vec<u8>>,
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl JsonDecoder {
    pub(super) const fn new(lines: bool, exact: Option<Exact>) -> Self {
        Self {
            lines,
            exact,
            at: if lines { At::Between } else { At::Start },
            value: Vec::new(),
            whole: None,
            depth: 0,
            in_string: false,
            escaped: false,
        }
    }

    /// One byte of a value whose nesting is followed; whether it ends with it.
    fn follow(&mut self, byte: u8) -> Result<bool, RowError> {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => {
                    self.in_string = false;
                    return Ok(self.depth == 0);
                }
                _ => {}
            }
            return Ok(false);
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(RowError(format!("its JSON is nested deeper than {MAX_DEPTH}")));
                }
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return Ok(self.depth == 0);
            }
            _ => {}
        }
        Ok(false)
    }

    fn emit(&mut self, rows: &mut Vec<Row>) -> Result<(), RowError> {
        let value = std::mem::take(&mut self.value);
        rows.push(self.parse(&value)?);
        self.value = value;
        self.value.clear();
        self.at = At::Between;
        Ok(())
    }

    fn parse(&self, value: &[u8]) -> Result<Row, RowError> {
        match &self.exact {
            None => parse(value),
            Some(exact) => exact::row(value, exact),
        }
    }

    fn keep(&mut self, byte: u8) -> Result<(), RowError> {
        if self.value.len() >= MAX_ROW {
            return Err(RowError(format!("a row is larger than {MAX_ROW} bytes")));
        }
        self.value.push(byte);
        Ok(())
    }

    fn byte(&mut self, byte: u8, rows: &mut Vec<Row>) -> Result<(), RowError> {
        if let Some(whole) = &mut self.whole {
            if whole.len() < MAX_ROW {
                whole.push(byte);
            } else {
                self.whole = None;
            }
        }
        let is_space = byte.is_ascii_whitespace() || byte == 0x1E;
        match self.at {
            At::Start => match byte {
                _ if is_space || [0xEF, 0xBB, 0xBF].contains(&byte) => {}
                b'[' => self.at = At::Between,
                b'{' => {
                    self.whole = Some(vec![byte]);
                    self.at = At::Name;
                }
                _ => return Err(RowError("it is not a JSON array or object".to_owned())),
            },
            At::Between => match byte {
                b',' if !self.lines => {}
                _ if is_space => {}
                b']' if !self.lines => self.at = At::Done,
                _ => {
                    self.at = At::Value;
                    self.depth = 0;
                    self.keep(byte)?;
                    self.follow(byte)?;
                }
            },
            At::Value => {
                let scalar = self.depth == 0 && !self.in_string;
                if scalar && (is_space || byte == b',' || byte == b']') {
                    self.emit(rows)?;
                    if byte == b']' {
                        self.at = At::Done;
                    }
                    return Ok(());
                }
                self.keep(byte)?;
                if self.follow(byte)? {
                    self.emit(rows)?;
                }
            }
            At::Name => match byte {
                b'"' => {
                    self.value.clear();
                    self.in_string = true;
                    self.at = At::InName;
                }
                b'}' => {
                    self.at = At::Done;
                    let Some(whole) = self.whole.take() else {
                        return Err(RowError(format!(
                            "it is one JSON object larger than {MAX_ROW} bytes without a list of rows"
                        )));
                    };
                    rows.push(self.parse(&whole)?);
                }
                _ => {}
            },
            At::InName => {
                if self.follow(byte)? {
                    self.at = At::Member;
                } else {
                    self.keep(byte)?;
                }
            }
            At::Member => match byte {
                _ if is_space || byte == b':' => {}
                b'[' if LISTS.iter().any(|list| list.as_bytes() == self.value) => {
                    self.whole = None;
                    self.value.clear();
                    self.at = At::Between;
                }
                _ => {
                    self.at = At::InMember;
                    self.depth = 0;
                    self.follow(byte)?;
                }
            },
            At::InMember => {
                let scalar = self.depth == 0 && !self.in_string;
                if scalar && (byte == b',' || byte == b'}') {
                    self.at = At::Name;
                    if byte == b'}' {
                        // The object's own end; it is in the whole already.
                        if let Some(whole) = &mut self.whole {
                            whole.pop();
                        }
                        return self.byte(byte, rows);
                    }
                } else if self.follow(byte)? {
                    self.at = At::Name;
                }
            }
            At::Done => {}
        }
        Ok(())
    }
}

fn parse(value: &[u8]) -> Result<Row, RowError> {
    // Members in the order in which they are written.
    struct Ordered(Vec<(Arc<str>, Json)>);
    impl<'de> serde::Deserialize<'de> for Ordered {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Members;
            impl<'de> serde::de::Visitor<'de> for Members {
                type Value = Ordered;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                    let mut all = Vec::new();
                    while let Some((name, value)) = map.next_entry::<String, Json>()? {
                        all.push((Arc::from(name), value));
                    }
                    Ok(Ordered(all))
                }
            }
            deserializer.deserialize_map(Members)
        }
    }
    let wrong = |error: serde_json::Error| RowError(format!("a row is not JSON: {error}"));
    if value.first() != Some(&b'{') {
        return serde_json::from_slice(value).map(Row::of).map_err(wrong);
    }
    let row = Row(serde_json::from_slice::<Ordered>(value).map_err(wrong)?.0);
    let is_feature = row.0.iter().any(|(name, value)| &**name == "type" && value == "Feature");
    Ok(if is_feature { Row::of(row.into_json()) } else { row })
}

impl Decoder for JsonDecoder {
    fn push(&mut self, bytes: &[u8], rows: &mut Vec<Row>) -> Result<(), RowError> {
        bytes.iter().try_for_each(|byte| self.byte(*byte, rows))
    }

    fn finish(&mut self, rows: &mut Vec<Row>) -> Result<(), RowError> {
        if self.lines && self.at == At::Value && self.depth == 0 && !self.in_string {
            return self.emit(rows);
        }
        match self.at {
            At::Done => Ok(()),
            At::Between if self.lines => Ok(()),
            _ => Err(RowError("the JSON breaks off".to_owned())),
        }
    }
}

fn with_types(row: Row, is_text: bool) -> Row {
    if !is_text {
        return row;
    }
    Row(row.0.into_iter().map(|(name, value)| (name, typed(value))).collect())
}

pub(super) struct ArrayEncoder {
    typed: bool,
    begun: bool,
}

impl ArrayEncoder {
    pub(super) const fn new(typed: bool) -> Self {
        Self { typed, begun: false }
    }
}

impl Encoder for ArrayEncoder {
    fn push(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        out.push(if self.begun { b',' } else { b'[' });
        self.begun = true;
        with_types(row, self.typed).write_json(out)
    }

    fn finish(&mut self, _columns: Option<&[Arc<str>]>, out: &mut Vec<u8>) -> Result<(), RowError> {
        out.extend_from_slice(if self.begun { b"]" } else { b"[]" });
        Ok(())
    }
}

pub(super) struct LinesEncoder {
    pub(super) typed: bool,
}

impl Encoder for LinesEncoder {
    fn push(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        with_types(row, self.typed).write_json(out)?;
        out.push(b'\n');
        Ok(())
    }

    fn finish(&mut self, _columns: Option<&[Arc<str>]>, _out: &mut Vec<u8>) -> Result<(), RowError> {
        Ok(())
    }
}

pub(super) struct FeaturesEncoder {
    typed: bool,
    begun: bool,
}

impl FeaturesEncoder {
    pub(super) const fn new(typed: bool) -> Self {
        Self { typed, begun: false }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        let lead: &[u8] = if self.begun { b"," } else { b"{\"type\":\"FeatureCollection\",\"features\":[" };
        out.extend_from_slice(lead);
        self.begun = true;
    }
}

impl Encoder for FeaturesEncoder {
    fn push(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        let place = geometry(&row);
        let known = |name: &str| row.0.iter().any(|(column, _)| &**column == name);
        if place.is_none() && !self.begun && !known("geometry") {
            return Err(RowError(
                "its rows say nothing of places: no geometry, and no columns of latitude and longitude"
                    .to_owned(),
            ));
        }
        self.begin(out);
        let mut cells = with_types(row, self.typed).flat().0;
        cells.retain(|(name, _)| &**name != "geometry");
        let id = cells.iter().position(|(name, value)| &**name == "id" && !value.is_null());
        out.extend_from_slice(b"{\"type\":\"Feature\",");
        if let Some(at) = id {
            let (_, id) = cells.remove(at);
            out.extend_from_slice(b"\"id\":");
            write_json(&id, out)?;
            out.push(b',');
        }
        out.extend_from_slice(b"\"properties\":");
        Row(cells).write_json(out)?;
        out.extend_from_slice(b",\"geometry\":");
        write_json(&place.unwrap_or(json!(null)), out)?;
        out.push(b'}');
        Ok(())
    }

    fn finish(&mut self, _columns: Option<&[Arc<str>]>, out: &mut Vec<u8>) -> Result<(), RowError> {
        if !self.begun {
            self.begin(out);
        }
        out.extend_from_slice(b"]}");
        Ok(())
    }
}
