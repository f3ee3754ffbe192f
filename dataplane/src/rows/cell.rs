//! Cells of tables as they are written, borrowed from the bytes that arrived.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::kind::is_geometry;
use super::{ATTRIBUTES, BARE, INSIDE, OF_PROPERTIES, RowError, of_feature};

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Cell<'a> {
    /// There is none.
    #[default]
    Null,
    Bool(bool),
    /// As JSON writes it, every digit.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    /// Nested JSON.
    Json(Cow<'a, str>),
}

impl Cell<'_> {
    /// As it stands in a table of texts.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Number(text) | Self::Text(text) | Self::Json(text) => text,
        }
    }

    /// Writes it as JSON.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) -> Result<(), RowError> {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Text(text) => super::write_json(&**text, out)?,
            other => write_raw(other.text(), out),
        }
        Ok(())
    }
}

/// Writes JSON as it is, on one line: a line end in it can only be space.
pub(crate) fn write_raw(json: &str, out: &mut Vec<u8>) {
    if json.contains(['\n', '\r']) {
        out.extend(json.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    } else {
        out.extend_from_slice(json.as_bytes());
    }
}

/// Members of a JSON object, in the order in which they are written.
pub(crate) struct Members<'a>(pub(crate) Vec<(Cow<'a, str>, &'a str)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> serde::de::Visitor<'de> for Visitor<'a> {
            type Value = Members<'a>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
                let mut all = Vec::new();
                while let Some((Borrowed(name), value)) = map.next_entry::<Borrowed<'de>, &'de RawValue>()? {
                    all.push((name, value.get()));
                }
                Ok(Members(all))
            }
        }
        deserializer.deserialize_map(Visitor(std::marker::PhantomData))
    }
}

/// A string that is borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Members<'a> {
    /// # Errors
    /// It is no JSON object.
    pub(crate) fn read(json: &'a str) -> Result<Self, RowError> {
        serde_json::from_str(json).map_err(|error| RowError(format!("it is not JSON: {error}")))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// The value that an attribute of NGSI-LD carries inside.
    fn inner(&self) -> Option<&'a str> {
        let kind = self.get("type")?.strip_prefix('"')?.strip_suffix('"')?;
        if !ATTRIBUTES.contains(&kind) {
            return None;
        }
        INSIDE.into_iter().find_map(|name| self.get(name))
    }
}

/// A value that is not taken apart.
pub(crate) fn plain(json: &str) -> Result<Cell<'_>, RowError> {
    Ok(match json.as_bytes().first() {
        Some(b'"') => {
            let Borrowed(text) =
                serde_json::from_str(json).map_err(|error| RowError(format!("it is not JSON: {error}")))?;
            Cell::Text(text)
        }
        Some(b't') => Cell::Bool(true),
        Some(b'f') => Cell::Bool(false),
        Some(b'n') | None => Cell::Null,
        Some(b'{' | b'[') => Cell::Json(json.into()),
        Some(_) => Cell::Number(json.into()),
    })
}

/// The members of a row: those of an object; of a geometry itself; of a feature its id, its properties and its geometry. A property that would
/// be taken for the feature's own `geometry` or `id` is told as `properties.geometry`.
pub(crate) fn members(json: &str) -> Result<Members<'_>, RowError> {
    if !json.starts_with('{') {
        serde_json::from_str::<&RawValue>(json)
            .map_err(|error| RowError(format!("it is not JSON: {error}")))?;
        return Ok(Members(vec![(BARE.into(), json)]));
    }
    // It is a place without properties.
    if is_geometry(json) {
        return Ok(Members(vec![("geometry".into(), json)]));
    }
    let row = Members::read(json)?;
    let Some(properties) = row.get("properties").filter(|_| row.get("type") == Some("\"Feature\"")) else {
        return Ok(row);
    };
    let mut cells = Vec::new();
    let id = row.get("id");
    cells.extend(id.map(|id| ("id".into(), id)));
    if properties.starts_with('{') {
        for (name, value) in Members::read(properties)?.0 {
            let is_taken = name == "geometry" || name == "id" && id.is_some();
            cells.push((if is_taken { format!("{OF_PROPERTIES}{name}").into() } else { name }, value));
        }
    }
    cells.push(("geometry".into(), row.get("geometry").unwrap_or("null")));
    Ok(Members(of_feature(cells, id.is_some())))
}

/// One level: attributes of NGSI-LD give their values, other nested objects dotted names.
pub(crate) fn flat<'a>(
    row: &Members<'a>,
    take: &mut dyn FnMut(&str, Cell<'a>) -> Result<(), RowError>,
) -> Result<(), RowError> {
    let mut path = String::new();
    for (name, value) in &row.0 {
        path.clear();
        path.push_str(name);
        flatten(&mut path, value, take)?;
    }
    Ok(())
}

fn flatten<'a>(
    path: &mut String,
    json: &'a str,
    take: &mut dyn FnMut(&str, Cell<'a>) -> Result<(), RowError>,
) -> Result<(), RowError> {
    if !json.starts_with('{') || is_geometry(json) {
        return take(path, plain(json)?);
    }
    let members = Members::read(json)?;
    let length = path.len();
    if let Some(found) = members.inner() {
        take(path, plain(found)?)?;
        if let Some(observed) = members.get("observedAt") {
            path.push_str(".observedAt");
            take(path, plain(observed)?)?;
            path.truncate(length);
        }
        return Ok(());
    }
    if members.0.is_empty() {
        return take(path, Cell::Json(json.into()));
    }
    for (name, value) in &members.0 {
        path.push('.');
        path.push_str(name);
        flatten(path, value, take)?;
        path.truncate(length);
    }
    Ok(())
}
