//! Tables on the way: data in chunks becomes rows, rows become data again, in constant memory.
//!
//! A decoder cuts bytes into rows, an encoder writes rows in another form; between them
//! [`Obligations`](crate::Obligations) do what an agreement demands. [`pipe`] joins them to a body.

mod cell;
mod columns;
mod crs;
mod csv;
mod dialect;
pub(crate) mod exact;
mod json;
mod kind;
pub(crate) mod names;
mod table;
mod wkb;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use policy_engine::media;
use serde_json::Value as Json;

pub use self::dialect::recognised;
use self::exact::Exact;
pub use self::json::in_degrees;
use self::names::{Fate, Reach};
pub use self::table::{Column, Shape, Survey, Surveyor, Viewer};
use crate::error::StreamError;
use crate::obligations::{Pending, Stage, Told};
use crate::source::Body;

/// Largest row, in bytes.
pub const MAX_ROW: usize = 4 * 1024 * 1024;
/// Rows that are looked at before the columns of a table are fixed.
const LOOK_AHEAD: usize = 1000;
/// So many bytes of rows are held at most, whatever for: looked at ahead, or written together.
const HELD: usize = 8 * 1024 * 1024;

/// The column of values that have no names.
const BARE: &str = "value";

/// One row: columns and their values, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row(pub Vec<(Arc<str>, Json)>);

impl Row {
    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + 2 * size_of::<Json>() + weight(value)).sum()
    }

    /// The value of a column; a name with dots leads into what is nested.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&Json> {
        if let Some((_, value)) = self.0.iter().find(|(name, _)| &**name == column) {
            return Some(leaf(value));
        }
        let (head, rest) = column.split_once('.')?;
        let (_, value) = self.0.iter().find(|(name, _)| &**name == head)?;
        rest.split('.').try_fold(value, |value, key| value.get(key)).map(leaf)
    }

    /// Leaves a value out, wherever it stands: a table keeps its column.
    pub(crate) fn hide(&mut self, column: &str, form: Form) -> Result<(), RowError> {
        let keeps = matches!(form, Form::Csv | Form::GeoJson);
        self.change(column, form, Reach::All, &mut |value| {
            if keeps {
                *value = Json::Null;
            }
            Ok(if keeps { Fate::Stays } else { Fate::Goes })
        })
    }

    /// Does something at every place that a column's name leads to.
    pub(crate) fn change(
        &mut self,
        column: &str,
        form: Form,
        reach: Reach,
        make: &mut dyn FnMut(&mut Json) -> Result<Fate, RowError>,
    ) -> Result<(), RowError> {
        if form != Form::Csv {
            return self.at_each(column, reach, make);
        }
        // A table's names were looked at once, and its cells have nothing inside.
        for (name, value) in &mut self.0 {
            if reach.takes(column, name) {
                make(value)?;
            }
        }
        Ok(())
    }

    /// Whether it may be a value without a name, which is told under one of ours.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        matches!(self.0.as_slice(), [(name, _)] if &**name == BARE)
    }

    /// Whether it is an entity of NGSI-LD: it has an id, a type, and attributes.
    #[must_use]
    pub fn is_entity(&self) -> bool {
        let is_text =
            |name: &str| self.0.iter().any(|(column, value)| &**column == name && value.is_string());
        is_text("id") && is_text("type") && self.0.iter().any(|(_, value)| inner(value).is_some())
    }

    /// A JSON object's members. A GeoJSON feature gives its properties, and its geometry as `geometry`.
    #[must_use]
    pub fn of(json: Json) -> Self {
        let Json::Object(mut map) = json else { return Self(vec![(Arc::from(BARE), json)]) };
        if map.get("type").and_then(Json::as_str) == Some("Feature") && map.contains_key("properties") {
            let mut cells = Vec::new();
            let id = map.remove("id");
            let has_id = id.is_some();
            cells.extend(id.map(|id| (Arc::from("id"), id)));
            if let Some(Json::Object(properties)) = map.remove("properties") {
                // A property is not taken for what the feature says of itself.
                cells.extend(properties.into_iter().map(|(name, value)| {
                    let is_taken = name == "geometry" || name == "id" && has_id;
                    (
                        if is_taken { Arc::from(format!("{OF_PROPERTIES}{name}")) } else { Arc::from(name) },
                        value,
                    )
                }));
            }
            cells.push((Arc::from("geometry"), map.remove("geometry").unwrap_or_default()));
            return Self(of_feature(cells, has_id));
        }
        Self(map.into_iter().map(|(name, value)| (Arc::from(name), value)).collect())
    }

    /// One level: attributes of NGSI-LD give their values, other nested objects dotted names.
    #[must_use]
    pub fn flat(self) -> Self {
        let mut cells = Vec::with_capacity(self.0.len());
        for (name, value) in self.0 {
            flatten(name, value, &mut cells);
        }
        Self(cells)
    }

    pub(crate) fn into_json(self) -> Json {
        Json::Object(self.0.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    /// Writes the row as a JSON object, its columns in their order.
    fn write_json(&self, out: &mut Vec<u8>) -> Result<(), RowError> {
        out.push(b'{');
        for (at, (name, value)) in self.0.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_json(&**name, out)?;
            out.push(b':');
            write_json(value, out)?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// The cells of a feature: the first is `id` only where that is the feature's own.
fn of_feature<N: AsRef<str>, V>(mut cells: Vec<(N, V)>, has_id: bool) -> Vec<(N, V)> {
    if !has_id && cells.first().is_some_and(|(name, _)| name.as_ref() == "id") {
        // Its geometry goes before it.
        cells.rotate_right(1);
    }
    cells
}

fn write_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), RowError> {
    serde_json::to_writer(out, value).map_err(|error| RowError(error.to_string()))
}

/// Before the name of a property that a feature's own member has too.
const OF_PROPERTIES: &str = "properties.";
/// Attributes of NGSI-LD carry their value inside,
const ATTRIBUTES: [&str; 4] = ["Property", "GeoProperty", "Relationship", "LanguageProperty"];
/// in one of these.
const INSIDE: [&str; 3] = ["value", "object", "languageMap"];

fn inner(value: &Json) -> Option<&'static str> {
    let kind = value.get("type")?.as_str()?;
    if !ATTRIBUTES.contains(&kind) {
        return None;
    }
    INSIDE.into_iter().find(|key| value.get(key).is_some())
}

fn leaf(value: &Json) -> &Json {
    inner(value).and_then(|key| value.get(key)).unwrap_or(value)
}

fn flatten(name: Arc<str>, value: Json, cells: &mut Vec<(Arc<str>, Json)>) {
    match inner(&value) {
        Some(key) => {
            let Json::Object(mut map) = value else { return };
            let observed = map.remove("observedAt");
            if let Some(found) = map.remove(key) {
                cells.push((Arc::clone(&name), found));
            }
            if let Some(observed) = observed {
                cells.push((Arc::from(format!("{name}.observedAt")), observed));
            }
        }
        None => match value {
            Json::Object(map) if !map.is_empty() && !is_geometry(&map) => {
                for (key, value) in map {
                    flatten(Arc::from(format!("{name}.{key}")), value, cells);
                }
            }
            value => cells.push((name, value)),
        },
    }
}

fn is_geometry(map: &serde_json::Map<String, Json>) -> bool {
    let has = |name: &str| map.get(name).is_some_and(|value| !value.is_null());
    let kind = map.get("type").and_then(Json::as_str);
    kind.is_some_and(|kind| kind::is_shape(kind, has("coordinates"), has("geometries")))
}

/// A form that data has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// RFC 4180, with a first line of names; comma, semicolon or tab.
    Csv,
    /// An array of objects, or an object with one; NGSI-LD's entities among them.
    Json,
    /// One JSON value a line.
    JsonLines,
    /// A collection of features (RFC 7946).
    GeoJson,
}

impl Form {
    /// The form that a media type names; `None` for one that has no rows.
    #[must_use]
    pub fn of(media_type: &str) -> Option<Self> {
        Some(match media::by_name(media_type)?.name() {
            media::CSV | media::TSV => Self::Csv,
            media::JSON_LINES => Self::JsonLines,
            media::GEO_JSON => Self::GeoJson,
            media::JSON | media::JSON_LD => Self::Json,
            _ => return None,
        })
    }

    /// What it is on the wire.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => View::Csv.media_type(),
            Self::Json => View::Json.media_type(),
            Self::JsonLines => View::JsonLines.media_type(),
            Self::GeoJson => View::GeoJson.media_type(),
        }
    }

    /// What writes it, out of rows that came as `from`.
    fn encoder(self, from: Self) -> Box<dyn Encoder> {
        match self {
            Self::Csv => Box::new(csv::CsvEncoder::new(from == Self::Csv)),
            Self::Json => Box::new(json::ArrayEncoder::default()),
            Self::JsonLines => Box::new(json::LinesEncoder),
            Self::GeoJson => Box::new(json::FeaturesEncoder::default()),
        }
    }
}

impl Shape {
    /// What cuts it into rows for what an agreement demands: which numbers are to stay as they are written.
    fn decoder(self, exact: Option<Exact>) -> Box<dyn Decoder> {
        match self.form() {
            Form::Csv => Box::new(csv::CsvDecoder::new(self.declared())),
            form => Box::new(json::JsonDecoder::new(form == Form::JsonLines, exact)),
        }
    }
}

/// A form that rows are shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// Arrow's file format.
    Arrow,
    /// Arrow's streaming format.
    ArrowStream,
    /// RFC 4180 with a line of names.
    Csv,
    /// A collection of features (RFC 7946).
    GeoJson,
    /// An array of objects.
    Json,
    /// One object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

impl View {
    /// Every view.
    pub const ALL: [Self; 7] = [
        Self::Csv,
        Self::Json,
        Self::JsonLines,
        Self::GeoJson,
        Self::Parquet,
        Self::Arrow,
        Self::ArrowStream,
    ];

    /// By the ending of a name.
    #[must_use]
    pub fn by_ending(ending: &str) -> Option<Self> {
        let name = media::by_ending(ending)?.name();
        Self::ALL.into_iter().find(|view| view.media_type().split(';').next() == Some(name))
    }

    /// The ending of names.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Arrow => "arrow",
            Self::ArrowStream => "arrows",
            Self::Csv => "csv",
            Self::GeoJson => "geojson",
            Self::Json => "json",
            Self::JsonLines => "ndjson",
            Self::Parquet => "parquet",
        }
    }

    /// What it is on the wire.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Arrow => media::ARROW_FILE,
            Self::ArrowStream => media::ARROW_STREAM,
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::GeoJson => media::GEO_JSON,
            Self::Json => media::JSON,
            Self::JsonLines => media::JSON_LINES,
            Self::Parquet => media::PARQUET,
        }
    }
}

/// Data that is not what it was said to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RowError(pub String);

/// About how many bytes a value holds beside itself.
fn weight(value: &Json) -> usize {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
        Json::String(text) => text.len(),
        Json::Array(list) => list.iter().map(|one| size_of::<Json>() + weight(one)).sum(),
        Json::Object(map) => {
            map.iter().map(|(name, one)| name.len() + 2 * size_of::<Json>() + weight(one)).sum()
        }
    }
}

/// Cuts bytes into rows.
trait Decoder: Send {
    /// Takes what arrived.
    fn push(&mut self, bytes: &[u8], rows: &mut Vec<Row>) -> Result<(), RowError>;
    /// Nothing more arrives.
    fn finish(&mut self, rows: &mut Vec<Row>) -> Result<(), RowError>;
    /// The names of the columns, where every row has the same.
    fn columns(&self) -> Option<&[Arc<str>]> {
        None
    }
}

/// Writes rows.
trait Encoder: Send {
    /// Writes one, now or later.
    fn push(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), RowError>;
    /// No more rows come; `columns` are those of a table without rows.
    fn finish(&mut self, columns: Option<&[Arc<str>]>, out: &mut Vec<u8>) -> Result<(), RowError>;
}

/// What went through a pipe.
#[derive(Debug, Default)]
pub struct Counted {
    read: AtomicU64,
    handed_on: AtomicU64,
}

impl Counted {
    /// Rows that came from the source.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Rows that were handed on.
    #[must_use]
    pub fn handed_on(&self) -> u64 {
        self.handed_on.load(Ordering::Relaxed)
    }

    /// Counts rows that were read and are handed on.
    pub fn count_rows(&self, rows: u64) {
        self.read.fetch_add(rows, Ordering::Relaxed);
        self.handed_on.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, read: usize, handed_on: usize) {
        self.read.fetch_add(u64::try_from(read).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.handed_on.fetch_add(u64::try_from(handed_on).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// How a pipe is laid.
#[derive(Debug)]
pub struct Pipe {
    /// The form in which data comes.
    pub from: Shape,
    /// The form in which it goes.
    pub to: Form,
    /// What is done between.
    pub stage: Option<Stage>,
}

/// Reads `body` as rows and gives them in another form, as they come.
#[must_use]
pub fn pipe(body: Body, pipe: Pipe, counted: Arc<Counted>) -> Body {
    let decoder = pipe.from.decoder(pipe.stage.as_ref().map(Stage::exact));
    piped(body, (decoder, pipe.to.encoder(pipe.from.form())), pipe.stage, counted)
}

/// Gives lines of JSON that have the same members as Arrow's streaming format, as they come. Types follow from the first
/// of them.
pub(crate) fn in_columns(body: Body) -> Body {
    let coders =
        (Shape::plain(Form::JsonLines).decoder(None), Box::new(columns::ColumnEncoder::default()) as _);
    piped(body, coders, None, Arc::default())
}

fn piped(
    body: Body,
    (decoder, encoder): (Box<dyn Decoder>, Box<dyn Encoder>),
    stage: Option<Stage>,
    counted: Arc<Counted>,
) -> Body {
    Piped { inner: Some(body), decoder, encoder, stage, counted, rows: Vec::new(), pending: None }
        .boxed_unsync()
}

struct Piped {
    /// `None` once everything was read.
    inner: Option<Body>,
    decoder: Box<dyn Decoder>,
    encoder: Box<dyn Encoder>,
    stage: Option<Stage>,
    counted: Arc<Counted>,
    rows: Vec<Row>,
    /// Groups of which it is being asked what may be told.
    pending: Option<Pending>,
}

impl fmt::Debug for Piped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piped").finish_non_exhaustive()
    }
}

impl Piped {
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
        self.decoder.push(bytes, &mut self.rows)?;
        self.hand_on(out)
    }

    fn hand_on(&mut self, out: &mut Vec<u8>) -> Result<(), RowError> {
        for row in std::mem::take(&mut self.rows) {
            let row = match &mut self.stage {
                None => Some(row),
                Some(stage) => {
                    if let Some(columns) = self.decoder.columns() {
                        stage.check(columns)?;
                    }
                    stage.apply(row)?
                }
            };
            self.counted.count(1, 0);
            if let Some(row) = row {
                self.write(row, out)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        self.counted.count(0, 1);
        self.encoder.push(row, out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), RowError> {
        self.decoder.finish(&mut self.rows)?;
        self.hand_on(out)?;
        if let Some(stage) = &mut self.stage {
            if let Some(columns) = self.decoder.columns() {
                stage.check(columns)?;
            }
            match stage.finish() {
                Told::Now(rows) => return self.end(rows, out),
                Told::Later(pending) => self.pending = Some(pending),
            }
            return Ok(());
        }
        self.end(Vec::new(), out)
    }

    /// Writes the last rows, and the end.
    fn end(&mut self, rows: Vec<Row>, out: &mut Vec<u8>) -> Result<(), RowError> {
        for row in rows {
            self.write(row, out)?;
        }
        let columns = self.decoder.columns().map(|columns| match &self.stage {
            Some(stage) => stage.columns(columns),
            None => columns.to_vec(),
        });
        self.encoder.finish(columns.as_deref(), out)
    }
}

impl http_body::Body for Piped {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = &mut *self;
        if let Some(pending) = &mut this.pending {
            let allowed = std::task::ready!(pending.releasing.as_mut().poll(cx));
            let mut out = Vec::new();
            let ended = allowed.map_err(RowError).and_then(|allowed| {
                let rows = match (this.pending.take(), &this.stage) {
                    (Some(pending), Some(stage)) => stage.released(pending, allowed),
                    _ => Vec::new(),
                };
                this.end(rows, &mut out)
            });
            this.pending = None;
            return Poll::Ready(match ended {
                Err(error) => Some(Err(StreamError::Source(Box::new(error)))),
                Ok(()) => (!out.is_empty()).then(|| Ok(Frame::data(out.into()))),
            });
        }
        loop {
            let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
            let mut out = Vec::new();
            let done = match std::task::ready!(Pin::new(inner).poll_frame(cx)) {
                Some(Err(error)) => {
                    this.inner = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(frame)) => {
                    frame.data_ref().map_or(Ok(()), |bytes| this.take(bytes, &mut out)).map(|()| false)
                }
                None => this.finish(&mut out).map(|()| true),
            };
            match done {
                Err(error) => {
                    this.inner = None;
                    return Poll::Ready(Some(Err(StreamError::Source(Box::new(error)))));
                }
                Ok(true) => this.inner = None,
                Ok(false) => {}
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
            if this.pending.is_some() {
                return Pin::new(this).poll_frame(cx);
            }
        }
    }
}

/// A cell as it stands in a table.
fn text(value: &Json) -> std::borrow::Cow<'_, str> {
    match value {
        Json::Null => "".into(),
        Json::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

/// Names under which rows keep a geometry.
const PLACED: [&str; 3] = ["geometry", "location", "geom"];
/// Names under which tables keep latitude and longitude.
const PLACES: [(&str, &str); 7] = [
    ("latitude", "longitude"),
    ("lat", "lon"),
    ("lat", "lng"),
    ("lat", "long"),
    ("stop_lat", "stop_lon"),
    ("y", "x"),
    ("geo_lat", "geo_lon"),
];

/// Where a row is: its geometry, or a point out of its columns of latitude and longitude (which are then told with it).
#[must_use]
pub fn geometry(row: &Row) -> Option<Json> {
    for name in PLACED {
        if let Some(Json::Object(map)) = row.get(name)
            && is_geometry(map)
        {
            return Some(Json::Object(map.clone()));
        }
    }
    let cell = |name: &str| {
        let found = row.0.iter().find(|(column, _)| column.eq_ignore_ascii_case(name))?;
        number(leaf(&found.1))
    };
    let (latitude, longitude) =
        PLACES.iter().find_map(|(latitude, longitude)| Some((cell(latitude)?, cell(longitude)?)))?;
    let fits = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
    fits.then(|| serde_json::json!({"type": "Point", "coordinates": [longitude, latitude]}))
}

/// A number, also one that is written as text.
#[must_use]
pub fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

/// Reads the first rows of a whole text, for previews and charts.
///
/// # Errors
/// It is not of that form.
pub fn read_all(form: Form, bytes: &[u8], at_most: usize) -> Result<Vec<Row>, RowError> {
    let mut decoder = Shape::plain(form).decoder(None);
    let mut rows = Vec::new();
    for chunk in bytes.chunks(64 * 1024) {
        decoder.push(chunk, &mut rows)?;
        if rows.len() >= at_most {
            rows.truncate(at_most);
            return Ok(rows);
        }
    }
    decoder.finish(&mut rows)?;
    rows.truncate(at_most);
    Ok(rows)
}

/// As [`read_all`], as a pipe with this stage reads it.
#[cfg(test)]
pub(crate) fn read_strictly(
    form: Form,
    bytes: &[u8],
    stage: &Stage,
    rows: &mut Vec<Row>,
) -> Result<Option<Vec<Arc<str>>>, RowError> {
    let mut decoder = Shape::plain(form).decoder(Some(stage.exact()));
    decoder.push(bytes, rows)?;
    decoder.finish(rows)?;
    Ok(decoder.columns().map(<[_]>::to_vec))
}

#[cfg(test)]
mod tests;
