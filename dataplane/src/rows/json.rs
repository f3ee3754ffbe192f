//! JSON, cut into the values that are its rows, and written.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::cell::members;
use super::crs::{Crs, ToWgs84, misplaced};
use super::exact::{self, Exact};
use super::{Decoder, Encoder, MAX_ROW, OF_PROPERTIES, Row, RowError, geometry, is_geometry, write_json};

/// Deepest nesting.
const MAX_DEPTH: u32 = 64;
/// Members of an object that are its rows.
const LISTS: [&str; 6] = ["features", "data", "records", "results", "items", "@graph"];
/// Largest member `crs`, in bytes.
const MAX_CRS: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    /// Nothing has come but space.
    #[default]
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
    /// Everything is over.
    Done,
}

/// Takes the bytes of one row.
type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), RowError> + 'a;

/// Finds rows without reading more than one of them at once.
#[derive(Debug, Default)]
pub(crate) struct JsonCutter {
    lines: bool,
    at: At,
    /// The value, or the name.
    value: Vec<u8>,
    /// The whole object, as long as it may be a row itself; `None` once it is not.
    whole: Option<Vec<u8>>,
    /// Whether the rows stand in a member of an object.
    is_member: bool,
    /// Whether the rows were found.
    is_listed: bool,
    /// Which reference system the collection names, as JSON; behind the rows as well as before them.
    crs: Option<Vec<u8>>,
    in_crs: bool,
    depth: u32,
    in_string: bool,
    escaped: bool,
    rows: u64,
}

impl JsonCutter {
    pub(crate) fn new(lines: bool) -> Self {
        Self { lines, at: if lines { At::Between } else { At::Start }, ..Self::default() }
    }

    /// Which reference system the collection names, as JSON (GeoJSON of 2008, section 3).
    pub(crate) fn crs(&self) -> Option<&[u8]> {
        self.crs.as_deref()
    }

    /// Whether its collection may name one behind what came.
    pub(crate) fn may_name_crs(&self) -> bool {
        let is_named = self.crs.is_some() && !(self.in_crs && self.at == At::InMember);
        self.is_member && self.at != At::Done && !is_named
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
                    return Err(RowError(format!(
                        "row {}: its JSON is nested deeper than {MAX_DEPTH}",
                        self.rows + 1
                    )));
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

    fn emit(&mut self, sink: &mut Sink<'_>) -> Result<(), RowError> {
        self.rows += 1;
        sink(&self.value).map_err(|RowError(reason)| RowError(format!("row {}: {reason}", self.rows)))?;
        self.value.clear();
        self.at = At::Between;
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), RowError> {
        if self.value.len() + bytes.len() > MAX_ROW {
            return Err(RowError(format!("row {} is larger than {MAX_ROW} bytes", self.rows + 1)));
        }
        self.value.extend_from_slice(bytes);
        Ok(())
    }

    /// The end of the list of rows.
    fn end_list(&mut self) {
        self.value.clear();
        self.at = if self.is_member { At::Name } else { At::Done };
    }

    fn byte(&mut self, byte: u8, sink: &mut Sink<'_>) -> Result<(), RowError> {
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
                _ if is_space || self.lines && self.rows == 0 && [0xEF, 0xBB, 0xBF].contains(&byte) => {}
                b']' if !self.lines => self.end_list(),
                _ => {
                    self.at = At::Value;
                    self.depth = 0;
                    self.keep(&[byte])?;
                    self.follow(byte)?;
                }
            },
            At::Value => {
                let scalar = self.depth == 0 && !self.in_string;
                if scalar && (is_space || byte == b',' || byte == b']') {
                    self.emit(sink)?;
                    if byte == b']' {
                        self.end_list();
                    }
                    return Ok(());
                }
                self.keep(&[byte])?;
                if self.follow(byte)? {
                    self.emit(sink)?;
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
                    if self.is_listed {
                        return Ok(());
                    }
                    let Some(whole) = self.whole.take() else {
                        return Err(RowError(format!(
                            "it is one JSON object larger than {MAX_ROW} bytes without a list of rows"
                        )));
                    };
                    self.value = whole;
                    self.emit(sink)?;
                    self.at = At::Done;
                }
                _ => {}
            },
            At::InName => {
                if self.follow(byte)? {
                    self.at = At::Member;
                } else {
                    self.keep(&[byte])?;
                }
            }
            At::Member => match byte {
                _ if is_space || byte == b':' => {}
                b'[' if !self.is_listed && LISTS.iter().any(|list| list.as_bytes() == self.value) => {
                    self.whole = None;
                    (self.is_member, self.is_listed) = (true, true);
                    self.value.clear();
                    self.at = At::Between;
                }
                _ => {
                    self.in_crs = self.value == b"crs" && self.crs.is_none();
                    self.at = At::InMember;
                    self.depth = 0;
                    self.follow(byte)?;
                    self.note(byte)?;
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
                        return self.byte(byte, sink);
                    }
                } else {
                    self.note(byte)?;
                    if self.follow(byte)? {
                        self.at = At::Name;
                    }
                }
            }
            At::Done => {
                if !is_space && byte != 0 {
                    return Err(RowError("something follows the end of its JSON".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// A byte of the member `crs`.
    fn note(&mut self, byte: u8) -> Result<(), RowError> {
        if self.in_crs {
            let crs = self.crs.get_or_insert_default();
            if crs.len() >= MAX_CRS {
                return Err(RowError(format!("its member `crs` is larger than {MAX_CRS} bytes")));
            }
            crs.push(byte);
        }
        Ok(())
    }

    /// Takes what arrived.
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), RowError> {
        let mut rest = bytes;
        while let Some((byte, behind)) = rest.split_first() {
            // Long texts are taken as they are, up to where something may change.
            if self.at == At::Value && self.in_string && !self.escaped {
                let run = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                let (run, further) = rest.split_at(run);
                if !run.is_empty() {
                    self.keep(run)?;
                    rest = further;
                    continue;
                }
            }
            self.byte(*byte, sink)?;
            rest = behind;
        }
        Ok(())
    }

    /// Nothing more arrives.
    pub(crate) fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), RowError> {
        if self.lines && self.at == At::Value && self.depth == 0 && !self.in_string {
            return self.emit(sink);
        }
        match self.at {
            At::Done => Ok(()),
            At::Between if self.lines => Ok(()),
            _ => Err(RowError("the JSON breaks off".to_owned())),
        }
    }
}

/// Gives rows, their geometries in WGS 84.
pub(super) struct JsonDecoder {
    cutter: JsonCutter,
    /// Under an agreement: which numbers are to stay as they are written.
    exact: Option<Exact>,
    /// How coordinates become degrees; read with the first row.
    to_wgs84: Option<Option<ToWgs84>>,
}

impl JsonDecoder {
    pub(super) fn new(lines: bool, exact: Option<Exact>) -> Self {
        Self { cutter: JsonCutter::new(lines), exact, to_wgs84: None }
    }

    fn with(
        &mut self,
        rows: &mut Vec<Row>,
        read: impl FnOnce(&mut JsonCutter, &mut Sink<'_>) -> Result<(), RowError>,
    ) -> Result<(), RowError> {
        let (exact, before) = (&self.exact, rows.len());
        read(&mut self.cutter, &mut |value| {
            rows.push(match exact {
                Some(exact) => exact::row(value, exact)?,
                None => parse(value)?,
            });
            Ok(())
        })?;
        let fresh = rows.get_mut(before..).unwrap_or_default();
        let is_late = self.to_wgs84.is_some();
        if self.to_wgs84.is_none() && !fresh.is_empty() {
            self.to_wgs84 = Some(self.cutter.crs().map(to_wgs84).transpose()?.flatten());
        } else if is_late && matches!(self.to_wgs84, Some(None)) {
            // Rows went before it without.
            if self.cutter.crs().map(to_wgs84).transpose()?.flatten().is_some() {
                return Err(RowError(
                    "its member `crs` stands behind its features, so that these were told as what they are not; its provider \
                     must put it before them"
                        .to_owned(),
                ));
            }
        }
        if let Some(Some(to_wgs84)) = &self.to_wgs84 {
            for row in fresh {
                for (_, value) in &mut row.0 {
                    move_all(value, to_wgs84)?;
                }
            }
        }
        Ok(())
    }
}

/// How coordinates of the reference system become degrees that a collection's member `crs` names; `None` where they are.
pub(super) fn to_wgs84(crs: &[u8]) -> Result<Option<ToWgs84>, RowError> {
    let member: Json =
        serde_json::from_slice(crs).map_err(|error| RowError(format!("its member `crs`: {error}")))?;
    let crs = Crs::of_member(&member).map_err(RowError)?;
    Ok((!crs.is_wgs84()).then(|| ToWgs84::new(crs)))
}

/// Moves each geometry in a value.
fn move_all(value: &mut Json, to_wgs84: &ToWgs84) -> Result<(), RowError> {
    match value {
        Json::Object(map) if is_geometry(map) => to_wgs84.geometry(value).map_err(RowError),
        Json::Object(map) => map.values_mut().try_for_each(|one| move_all(one, to_wgs84)),
        Json::Array(all) => all.iter_mut().try_for_each(|one| move_all(one, to_wgs84)),
        _ => Ok(()),
    }
}

/// Makes the coordinates of a whole GeoJSON document degrees of WGS 84, as its member `crs` says.
///
/// # Errors
/// The reference system is unknown, or a geometry is not where it could be.
pub fn in_degrees(document: &mut Json) -> Result<(), RowError> {
    let to_wgs84 = match document.get("crs") {
        Some(crs) => to_wgs84(crs.to_string().as_bytes())?,
        None => None,
    };
    let mut left = vec![document];
    while let Some(one) = left.pop() {
        match one {
            Json::Object(map) if is_geometry(map) || map.contains_key("geometries") => match &to_wgs84 {
                Some(to_wgs84) => to_wgs84.geometry(one).map_err(RowError)?,
                None => misplaced(one).map_or(Ok(()), |reason| Err(RowError(reason)))?,
            },
            Json::Object(map) => {
                let inside =
                    map.iter_mut().filter(|(name, _)| matches!(name.as_str(), "features" | "geometry"));
                left.extend(inside.map(|(_, value)| value));
            }
            Json::Array(all) => left.extend(all),
            _ => {}
        }
    }
    Ok(())
}

fn parse(value: &[u8]) -> Result<Row, RowError> {
    let text = std::str::from_utf8(value).map_err(|_| RowError("it is not UTF-8".to_owned()))?;
    let cells = members(text)?.0.into_iter().map(|(name, json)| {
        let value =
            serde_json::from_str(json).map_err(|error| RowError(format!("it is not JSON: {error}")))?;
        Ok((Arc::from(&*name), value))
    });
    cells.collect::<Result<_, _>>().map(Row)
}

impl Decoder for JsonDecoder {
    fn push(&mut self, bytes: &[u8], rows: &mut Vec<Row>) -> Result<(), RowError> {
        self.with(rows, |cutter, sink| cutter.push(bytes, sink))
    }

    fn finish(&mut self, rows: &mut Vec<Row>) -> Result<(), RowError> {
        self.with(rows, JsonCutter::finish)
    }
}

#[derive(Default)]
pub(super) struct ArrayEncoder {
    begun: bool,
}

impl Encoder for ArrayEncoder {
    fn push(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        out.push(if self.begun { b',' } else { b'[' });
        self.begun = true;
        row.write_json(out)
    }

    fn finish(&mut self, _columns: Option<&[Arc<str>]>, out: &mut Vec<u8>) -> Result<(), RowError> {
        out.extend_from_slice(if self.begun { b"]" } else { b"[]" });
        Ok(())
    }
}

pub(super) struct LinesEncoder;

impl Encoder for LinesEncoder {
    fn push(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        row.write_json(out)?;
        out.push(b'\n');
        Ok(())
    }

    fn finish(&mut self, _columns: Option<&[Arc<str>]>, _out: &mut Vec<u8>) -> Result<(), RowError> {
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct FeaturesEncoder {
    begun: bool,
}

impl FeaturesEncoder {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let lead: &[u8] = if self.begun { b"," } else { b"{\"type\":\"FeatureCollection\",\"features\":[" };
        out.extend_from_slice(lead);
        self.begun = true;
    }
}

impl Encoder for FeaturesEncoder {
    fn push(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        // A feature is where it says itself, or nowhere.
        let own = row.0.iter().find(|(name, _)| &**name == "geometry");
        let place = match own {
            Some((_, value)) => Some(value.clone()).filter(Json::is_object),
            None => geometry(&row),
        };
        if place.is_none() && !self.begun && own.is_none() {
            return Err(RowError(
                "its rows say nothing of places: no geometry, and no columns of latitude and longitude"
                    .to_owned(),
            ));
        }
        self.begin(out);
        let mut cells = row.0;
        let has_id = cells.first().is_some_and(|(name, value)| &**name == "id" && !value.is_null());
        let id = has_id.then(|| cells.remove(0));
        cells.retain(|(name, _)| &**name != "geometry");
        out.extend_from_slice(b"{\"type\":\"Feature\",");
        if let Some((_, id)) = id {
            out.extend_from_slice(b"\"id\":");
            write_json(&id, out)?;
            out.push(b',');
        }
        out.extend_from_slice(b"\"properties\":");
        for (name, _) in &mut cells {
            if let Some(own) = name.strip_prefix(OF_PROPERTIES).filter(|own| ["geometry", "id"].contains(own))
            {
                *name = Arc::from(own);
            }
        }
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
