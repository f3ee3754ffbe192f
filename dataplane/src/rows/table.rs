//! Views of whole tables: looked at once from end to end, then written in another form, so that each column has one type
//! and no value is lost or changed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use encoding_rs::UTF_8;
use jiff::civil::Date;
use serde_json::Value as Json;

use super::cell::{Cell, Members, flat, members, write_raw};
use super::columns::{Column as Written, ColumnWriter, Container};
use super::crs::{self, ToWgs84};
use super::csv::{Cells, CsvReader, Reading, write_line};
use super::dialect::{Declared, Transcoder};
use super::json::{JsonCutter, to_wgs84};
use super::kind::{self, Facts, Kind, Mark};
use super::{Form, PLACED, PLACES, RowError, View, write_json};

/// Most columns of a table that is made of nested values, and most bytes of their names.
const MAX_COLUMNS: usize = 16_384;
const MAX_NAMES: usize = 16 * 1024 * 1024;

/// The form in which data comes, and how it is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    form: Form,
    declared: Declared,
    reading: Reading,
    as_text: bool,
}

impl Shape {
    /// What a media type says; `None` for one that has no rows.
    ///
    /// # Errors
    /// It names an encoding or a separator that is none.
    pub fn of(media_type: &str) -> Option<Result<Self, RowError>> {
        let form = Form::of(media_type)?;
        let shape = |declared| Self { declared, ..Self::plain(form) };
        Some(Declared::of(media_type).map(shape))
    }

    /// Of data of which only the form is known.
    #[must_use]
    pub fn plain(form: Form) -> Self {
        Self { form, declared: Declared::default(), reading: Reading::Strict, as_text: false }
    }

    /// The form.
    #[must_use]
    pub const fn form(self) -> Form {
        self.form
    }

    /// Missing cells of a table are empty, and cells that are too much have columns of their own.
    #[must_use]
    pub const fn filled(self) -> Self {
        Self { reading: Reading::Filled, ..self }
    }

    /// Every cell of a table stays the text that it is written as.
    #[must_use]
    pub const fn as_text(self) -> Self {
        Self { as_text: true, ..self }
    }

    /// In the encoding that was recognised (see [`super::recognised`]).
    #[must_use]
    pub fn encoded(mut self, encoding: &'static encoding_rs::Encoding) -> Self {
        self.declared.encoding = Some(encoding);
        self
    }

    pub(super) const fn declared(self) -> Declared {
        self.declared
    }

    const fn is_table(self) -> bool {
        matches!(self.form, Form::Csv)
    }
}

/// Cuts bytes into rows.
#[derive(Debug)]
enum Reader {
    Csv(Box<CsvReader>),
    Json(Box<JsonCutter>, Option<Transcoder>),
}

/// A row as it is written.
enum Line<'a> {
    Record(Cells<'a>),
    Json(&'a str),
}

type Sink<'a> = dyn FnMut(Line<'_>) -> Result<(), RowError> + 'a;

impl Reader {
    fn new(shape: Shape) -> Self {
        match shape.form {
            Form::Csv => Self::Csv(Box::new(CsvReader::new(shape.declared, shape.reading))),
            form => {
                let other = shape.declared.encoding.filter(|encoding| *encoding != UTF_8);
                let cutter = JsonCutter::new(form == Form::JsonLines);
                Self::Json(Box::new(cutter), other.map(Transcoder::new))
            }
        }
    }

    fn push(&mut self, bytes: &[u8], is_last: bool, sink: &mut Sink<'_>) -> Result<(), RowError> {
        match self {
            Self::Csv(reader) => {
                let mut take = |cells: Cells<'_>| sink(Line::Record(cells));
                if is_last { reader.finish(&mut take) } else { reader.push(bytes, &mut take) }
            }
            Self::Json(cutter, transcoder) => {
                let mut take = |row: &[u8]| match std::str::from_utf8(row) {
                    Ok(text) => sink(Line::Json(text)),
                    Err(_) => Err(RowError(
                        "it is not UTF-8; its provider can declare the encoding in the media type".to_owned(),
                    )),
                };
                let mut text = Vec::new();
                let bytes = match transcoder {
                    None => bytes,
                    Some(transcoder) => {
                        transcoder.push(bytes, is_last, &mut text)?;
                        &text
                    }
                };
                cutter.push(bytes, &mut take)?;
                if is_last { cutter.finish(&mut take) } else { Ok(()) }
            }
        }
    }
}

/// Looks at a whole table.
#[derive(Debug)]
pub struct Surveyor {
    shape: Shape,
    reader: Reader,
    seen: Seen,
    limit: Option<u64>,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    columns: Vec<(Arc<str>, Facts)>,
    /// Where the columns of nested values are, by the names that lead there.
    index: HashMap<Arc<str>, usize>,
    /// Which row had a value of a column last.
    last: Vec<u64>,
    /// Bytes of names.
    named: usize,
    rows: u64,
    has_too_many: bool,
}

/// The column that a name leads to, or the name of a new one; where a row has `name` already, the next is `name_2`.
fn found<'a, K: std::borrow::Borrow<str> + std::hash::Hash + Eq>(
    index: &HashMap<K, usize>,
    name: &'a str,
    is_taken: impl Fn(usize) -> bool,
) -> Result<usize, Cow<'a, str>> {
    let mut wanted = Cow::Borrowed(name);
    let mut number = 2_usize;
    loop {
        match index.get(&*wanted) {
            Some(at) if is_taken(*at) => wanted = format!("{name}_{number}").into(),
            Some(at) => return Ok(*at),
            None => return Err(wanted),
        }
        number += 1;
    }
}

impl Seen {
    fn json(&mut self, text: &str) -> Result<(), RowError> {
        self.rows += 1;
        let row = self.rows;
        flat(&members(text)?, &mut |name, cell| {
            let found = found(&self.index, name, |at| self.last.get(at) == Some(&row));
            let at = match found {
                Ok(at) => at,
                Err(name) if self.columns.len() >= MAX_COLUMNS || self.named + name.len() > MAX_NAMES => {
                    self.has_too_many = true;
                    return Ok(());
                }
                Err(name) => {
                    let at = self.columns.len();
                    self.named += name.len();
                    let name: Arc<str> = name.into();
                    let told =
                        if name.is_empty() { format!("column_{}", at + 1).into() } else { Arc::clone(&name) };
                    self.index.insert(name, at);
                    self.columns.push((told, Facts::new(false)));
                    self.last.push(0);
                    at
                }
            };
            if let (Some((_, facts)), Some(last)) = (self.columns.get_mut(at), self.last.get_mut(at)) {
                facts.take(&cell, false);
                *last = row;
            }
            Ok(())
        })
    }

    fn record(&mut self, cells: Cells<'_>, allow_commas: bool) {
        self.rows += 1;
        while self.columns.len() < cells.len() {
            self.columns.push((Arc::from(""), Facts::new(allow_commas)));
        }
        for (cell, (_, facts)) in cells.iter().zip(&mut self.columns) {
            facts.take(&Cell::Text(cell.into()), true);
        }
    }
}

impl Surveyor {
    /// Of a table that is read as `shape` says; at most `limit` rows of it.
    #[must_use]
    pub fn new(shape: Shape, limit: Option<u64>) -> Self {
        Self { shape, reader: Reader::new(shape), seen: Seen::default(), limit }
    }

    fn take(&mut self, bytes: &[u8], is_last: bool) -> Result<(), RowError> {
        let (seen, limit) = (&mut self.seen, self.limit);
        // With another separator than the comma, a comma may be a decimal mark. Before the first record that is not known,
        // and a comma in quotes is no number where the separator is one: each is looked at as if it could.
        self.reader.push(bytes, is_last, &mut |row| {
            if limit.is_some_and(|limit| seen.rows >= limit) {
                return Ok(());
            }
            match row {
                Line::Record(cells) => {
                    seen.record(cells, true);
                    Ok(())
                }
                Line::Json(text) => seen.json(text),
            }
        })
    }

    /// Looks at what arrived.
    ///
    /// # Errors
    /// It is not what it was said to be; names the record or row.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), RowError> {
        self.take(bytes, false)
    }

    /// Whether all rows that are wanted were seen.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.seen.rows >= limit)
    }

    /// Whether it ended because its bytes are in another encoding than was assumed, and nobody declared one: then
    /// [`super::recognised`] tells which, and [`Shape::encoded`] reads it.
    #[must_use]
    pub fn is_other(&self) -> bool {
        matches!(&self.reader, Reader::Csv(reader) if reader.is_other())
    }

    /// Nothing more arrives; call it once.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self) -> Result<Survey, RowError> {
        if !self.is_full() {
            self.take(&[], true)?;
        }
        let Seen { mut columns, index, rows, has_too_many, .. } = std::mem::take(&mut self.seen);
        let mut notes = Vec::new();
        let mut may_have_commas = false;
        if let Reader::Csv(reader) = &mut self.reader {
            // What is limited may not have begun.
            if reader.dialect().is_none() {
                reader.finish(&mut |_| Ok(()))?;
            }
            let names = reader.names();
            columns.resize_with(names.len().max(columns.len()), || (Arc::from(""), Facts::new(true)));
            columns.truncate(names.len());
            for ((name, _), known) in columns.iter_mut().zip(names) {
                *name = Arc::clone(known);
            }
            if let Some(dialect) = reader.dialect() {
                may_have_commas = dialect.separator != b',';
                if dialect.encoding != UTF_8 {
                    notes.push(format!("charset={}", dialect.encoding.name().to_ascii_lowercase()));
                }
                if dialect.separator != b',' {
                    notes.push(match dialect.separator {
                        b'\t' => "delimiter=tab".to_owned(),
                        one => format!("delimiter=\"{}\"", char::from(one)),
                    });
                }
                if dialect.comments > 0 {
                    notes.push(format!("comment-lines={}", dialect.comments));
                }
            }
            notes.extend(
                reader
                    .renamed()
                    .iter()
                    .map(|(written, told)| format!("renamed=\"{}:{}\"", percent(written), percent(told))),
            );
        }
        let reference = match &self.reader {
            Reader::Json(cutter, _) => cutter.crs(),
            Reader::Csv(_) => None,
        };
        let to_wgs84 = reference.map(to_wgs84).transpose()?.flatten();
        notes.extend(to_wgs84.as_ref().map(|to_wgs84| format!("crs=\"{}\"", to_wgs84.crs())));
        let columns = columns.into_iter().map(|(name, facts)| {
            let (kind, mark) = match facts.kind(may_have_commas) {
                _ if self.shape.as_text && self.shape.is_table() => (Kind::Text, Mark::Point),
                found => found,
            };
            Column { name, kind, mark, days: facts.days.filter(|_| facts.tells_days), filled: facts.filled }
        });
        let columns = columns.collect();
        Ok(Survey { shape: self.shape, columns, index, rows, has_too_many, to_wgs84, notes })
    }
}

/// A name inside quotes in a header.
fn percent(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    name: Arc<str>,
    kind: Kind,
    mark: Mark,
    days: Option<(Date, Date)>,
    filled: u64,
}

impl Column {
    /// Its name: each stands once in a table.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its cells are, in a word.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        self.kind.name()
    }

    /// First and last day, where each of its cells tells one.
    #[must_use]
    pub const fn days(&self) -> Option<(Date, Date)> {
        self.days
    }

    /// How many of its cells are not empty.
    #[must_use]
    pub const fn filled(&self) -> u64 {
        self.filled
    }
}

/// What a table is, seen from end to end.
#[derive(Debug)]
pub struct Survey {
    shape: Shape,
    columns: Vec<Column>,
    /// Where the columns of nested values are, by the names that lead there.
    index: HashMap<Arc<str>, usize>,
    rows: u64,
    has_too_many: bool,
    /// How its coordinates become degrees, where they are none.
    to_wgs84: Option<ToWgs84>,
    notes: Vec<String>,
}

impl Survey {
    /// Its columns.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// How many rows it has.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// How it was read where that does not go without saying: encoding, separator, comment lines, names that were told apart,
    /// and the reference system that its coordinates came from. ASCII.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A geometry in WGS 84.
    fn geometry(&self, json: &str) -> Result<Json, RowError> {
        let mut geometry: Json =
            serde_json::from_str(json).map_err(|error| RowError(format!("a geometry: {error}")))?;
        match &self.to_wgs84 {
            // Where it is nobody needs to know from here.
            Some(to_wgs84) => to_wgs84.geometry(&mut geometry).map_err(|_| {
                RowError(format!("a geometry cannot be placed from {} into WGS 84", to_wgs84.crs()))
            })?,
            None => {
                if crs::misplaced(&geometry).is_some() {
                    return Err(RowError(
                        "a geometry is not in degrees of WGS 84, and no other reference system is named; its provider can name \
                         it in a member `crs`"
                            .to_owned(),
                    ));
                }
            }
        }
        Ok(geometry)
    }

    /// Which columns are latitude and longitude.
    fn places(&self) -> Option<(usize, usize)> {
        let numeric = |wanted: &str| {
            self.columns.iter().position(|column| {
                column.name.eq_ignore_ascii_case(wanted)
                    && matches!(column.kind, Kind::Integer | Kind::Float | Kind::Decimal { .. })
            })
        };
        PLACES.iter().find_map(|(latitude, longitude)| Some((numeric(latitude)?, numeric(longitude)?)))
    }
}

/// Writes a table in a form.
pub struct Viewer<'a> {
    survey: &'a Survey,
    reader: Reader,
    writing: Writing<'a>,
    limit: Option<u64>,
}

impl std::fmt::Debug for Viewer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer").field("survey", self.survey).finish_non_exhaustive()
    }
}

struct Writing<'a> {
    survey: &'a Survey,
    view: View,
    index: HashMap<&'a str, usize>,
    /// Names of columns as JSON writes them.
    names: Vec<Vec<u8>>,
    places: Option<(usize, usize)>,
    columns: Option<ColumnWriter>,
    rows: u64,
}

impl<'a> Viewer<'a> {
    /// Writes what was surveyed as `view`; at most `limit` rows.
    ///
    /// # Errors
    /// It cannot be shown so.
    pub fn new(survey: &'a Survey, view: View, limit: Option<u64>) -> Result<Self, RowError> {
        let is_flat = matches!(view, View::Csv | View::Arrow | View::ArrowStream | View::Parquet);
        if is_flat && survey.has_too_many {
            return Err(RowError(format!(
                "its rows have more than {MAX_COLUMNS} columns, or their names are too long; read it as .ndjson"
            )));
        }
        let places = survey.places();
        let is_placed = survey.shape.form == Form::GeoJson
            || places.is_some()
            || survey.columns.iter().any(|column| column.kind == Kind::Geometry);
        if view == View::GeoJson && !is_placed && survey.rows > 0 {
            return Err(RowError(
                "its rows say nothing of places: no geometry, and no columns of latitude and longitude"
                    .to_owned(),
            ));
        }
        let container = match view {
            View::Arrow => Some(Container::File),
            View::ArrowStream => Some(Container::Stream),
            View::Parquet => Some(Container::Parquet),
            View::Csv | View::GeoJson | View::Json | View::JsonLines => None,
        };
        let written = || {
            let columns = survey.columns.iter();
            columns
                .map(|one| Written { name: Arc::clone(&one.name), kind: one.kind, mark: one.mark })
                .collect()
        };
        let columns = container.map(|container| ColumnWriter::new(container, written())).transpose()?;
        let mut names = Vec::new();
        for column in &survey.columns {
            let mut name = Vec::new();
            write_json(&*column.name, &mut name)?;
            name.push(b':');
            names.push(name);
        }
        let index = survey.columns.iter().enumerate().map(|(at, column)| (&*column.name, at)).collect();
        let writing = Writing { survey, view, index, names, places, columns, rows: 0 };
        Ok(Self { survey, reader: Reader::new(survey.shape), writing, limit })
    }

    fn take(&mut self, bytes: &[u8], is_last: bool, out: &mut Vec<u8>) -> Result<(), RowError> {
        let (writing, limit) = (&mut self.writing, self.limit);
        self.reader.push(bytes, is_last, &mut |row| {
            if limit.is_some_and(|limit| writing.rows >= limit) {
                return Ok(());
            }
            if writing.rows == 0 {
                writing.begin(out);
            }
            let result = match row {
                Line::Record(cells) => writing.record(cells, out),
                Line::Json(text) => writing.json(text, out),
            };
            writing.rows += 1;
            result
        })
    }

    /// Takes what arrived, and writes what can be written.
    ///
    /// # Errors
    /// It cannot be shown so; names the row.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
        self.take(bytes, false, out)
    }

    /// Whether all rows that are wanted were written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.writing.rows >= limit)
    }

    /// Nothing more arrives; gives how many rows were written.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<u64, RowError> {
        if !self.is_full() {
            self.take(&[], true, out)?;
        }
        if self.writing.rows == 0 {
            self.writing.begin(out);
        }
        match self.writing.view {
            View::Csv | View::JsonLines => {}
            View::Json => out.push(b']'),
            View::GeoJson => out.extend_from_slice(b"]}"),
            View::Arrow | View::ArrowStream | View::Parquet => {
                if let Some(columns) = self.writing.columns.take() {
                    columns.finish(out)?;
                }
            }
        }
        Ok(self.writing.rows)
    }
}

impl Writing<'_> {
    fn begin(&self, out: &mut Vec<u8>) {
        match self.view {
            View::Csv if !self.survey.columns.is_empty() => {
                write_line(self.survey.columns.iter().map(|column| &*column.name), out);
            }
            View::Json => out.push(b'['),
            View::GeoJson => out.extend_from_slice(b"{\"type\":\"FeatureCollection\",\"features\":["),
            View::Csv | View::JsonLines | View::Arrow | View::ArrowStream | View::Parquet => {}
        }
    }

    fn separate(&self, out: &mut Vec<u8>) {
        if self.rows > 0 {
            out.push(b',');
        }
    }

    fn record(&mut self, cells: Cells<'_>, out: &mut Vec<u8>) -> Result<(), RowError> {
        let count = self.survey.columns.len();
        let cells =
            cells.iter().map(|cell| if cell.is_empty() { Cell::Null } else { Cell::Text(cell.into()) });
        let cells: Vec<Cell<'_>> = cells.chain(std::iter::repeat(Cell::Null)).take(count).collect();
        match self.view {
            View::Csv => write_line(cells.iter().map(Cell::text), out),
            View::Json => {
                self.separate(out);
                self.object(&cells, None, out)?;
            }
            View::JsonLines => {
                self.object(&cells, None, out)?;
                out.push(b'\n');
            }
            View::GeoJson => {
                self.separate(out);
                self.feature(&cells, out)?;
            }
            View::Arrow | View::ArrowStream | View::Parquet => self.in_columns(&cells, out)?,
        }
        Ok(())
    }

    fn json(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), RowError> {
        match self.view {
            View::Json | View::JsonLines => {
                if self.view == View::Json {
                    self.separate(out);
                }
                let is_object = text.starts_with('{');
                let row = members(text)?;
                if is_object && self.survey.to_wgs84.is_none() && !is_feature(text)? {
                    write_raw(text, out);
                } else {
                    self.row(&row, out)?;
                }
                if self.view == View::JsonLines {
                    out.push(b'\n');
                }
            }
            View::GeoJson => {
                self.separate(out);
                if is_feature(text)? {
                    self.moved(text, out)?;
                } else {
                    self.feature(&self.cells(&members(text)?)?, out)?;
                }
            }
            View::Csv => {
                let cells = self.cells(&members(text)?)?;
                let texts = cells.iter().map(|cell| match (cell, &self.survey.to_wgs84) {
                    (Cell::Json(json), Some(_)) if kind::is_geometry(json) => {
                        self.survey.geometry(json).map(|moved| Cow::Owned(moved.to_string()))
                    }
                    (Cell::Json(json), _) => Ok(Cow::Owned(json.replace(['\n', '\r'], " "))),
                    _ => Ok(Cow::Borrowed(cell.text())),
                });
                write_line(texts.collect::<Result<Vec<_>, _>>()?.iter(), out);
            }
            View::Arrow | View::ArrowStream | View::Parquet => {
                let cells = self.cells(&members(text)?)?;
                self.in_columns(&cells, out)?;
            }
        }
        Ok(())
    }

    /// A cell for each column.
    fn cells<'b>(&self, row: &Members<'b>) -> Result<Vec<Cell<'b>>, RowError> {
        let mut cells = vec![None; self.survey.columns.len()];
        flat(row, &mut |name, cell| {
            let is_taken = |at: usize| cells.get(at).is_some_and(Option::is_some);
            if let Ok(at) = found(&self.survey.index, name, is_taken)
                && let Some(place) = cells.get_mut(at)
            {
                *place = Some(cell);
            }
            Ok(())
        })?;
        Ok(cells.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn in_columns(&mut self, cells: &[Cell<'_>], out: &mut Vec<u8>) -> Result<(), RowError> {
        let survey = self.survey;
        let Some(columns) = &mut self.columns else { return Ok(()) };
        columns.row(cells, &|json| survey.geometry(json), out)
    }

    /// Writes a row's members as a JSON object; those of a feature one level up.
    fn row(&self, row: &Members<'_>, out: &mut Vec<u8>) -> Result<(), RowError> {
        out.push(b'{');
        for (at, (name, value)) in row.0.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_json(&**name, out)?;
            out.push(b':');
            if self.survey.to_wgs84.is_some() && kind::is_geometry(value) {
                write_json(&self.survey.geometry(value)?, out)?;
            } else {
                write_raw(value, out);
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// Writes a feature as it is, its geometry in WGS 84.
    fn moved(&self, text: &str, out: &mut Vec<u8>) -> Result<(), RowError> {
        let feature = Members::read(text)?;
        let geometry = feature.get("geometry").filter(|geometry| *geometry != "null");
        let moved = geometry.map(|geometry| self.survey.geometry(geometry)).transpose()?;
        if self.survey.to_wgs84.is_none() {
            write_raw(text, out);
            return Ok(());
        }
        out.push(b'{');
        // A box around it would be one in the other reference system.
        let members = feature.0.iter().filter(|(name, _)| !matches!(&**name, "bbox" | "crs"));
        for (at, (name, value)) in members.enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_json(&**name, out)?;
            out.push(b':');
            match &moved {
                Some(moved) if name == "geometry" => write_json(moved, out)?,
                _ => write_raw(value, out),
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// Writes cells as a JSON object, without one of them.
    fn object(
        &self,
        cells: &[Cell<'_>],
        without: Option<&[usize]>,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        let start = out.len();
        out.push(b'{');
        let all = self.names.iter().zip(&self.survey.columns).zip(cells).enumerate();
        for (at, ((name, column), cell)) in all {
            if without.is_some_and(|without| without.contains(&at)) {
                continue;
            }
            if out.len() > start + 1 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            self.value(column, cell, out)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn value(&self, column: &Column, cell: &Cell<'_>, out: &mut Vec<u8>) -> Result<(), RowError> {
        let Cell::Text(text) = cell else { return cell.write_json(out) };
        if self.survey.shape.is_table() {
            match column.kind {
                Kind::Boolean => {
                    if let Some(value) = kind::boolean(text) {
                        return Cell::Bool(value).write_json(out);
                    }
                }
                Kind::Integer | Kind::Float | Kind::Decimal { .. } => {
                    if let Some(json) = kind::number(text, column.mark) {
                        out.extend_from_slice(json.as_bytes());
                        return Ok(());
                    }
                }
                Kind::Date | Kind::Geometry | Kind::Instant(_) | Kind::Text => {}
            }
        }
        cell.write_json(out)
    }

    /// Writes cells as a feature.
    fn feature(&self, cells: &[Cell<'_>], out: &mut Vec<u8>) -> Result<(), RowError> {
        let of = |name: &str| self.index.get(name).copied();
        let id = of("id").filter(|at| {
            cells.get(*at).is_some_and(|cell| !matches!(cell, Cell::Null | Cell::Json(_) | Cell::Bool(_)))
        });
        let shape = PLACED.into_iter().find_map(|name| {
            let at = of(name)?;
            match cells.get(at)? {
                Cell::Json(json) if kind::is_geometry(json) => Some((at, json)),
                _ => None,
            }
        });
        out.extend_from_slice(b"{\"type\":\"Feature\",");
        if let Some((at, column, cell)) =
            id.and_then(|at| Some((at, self.survey.columns.get(at)?, cells.get(at)?)))
        {
            let _ = at;
            out.extend_from_slice(b"\"id\":");
            self.value(column, cell, out)?;
            out.push(b',');
        }
        out.extend_from_slice(b"\"properties\":");
        let without: Vec<usize> =
            id.into_iter().chain(shape.map(|(at, _)| at)).chain(of("geometry")).collect();
        self.object(cells, Some(&without), out)?;
        out.extend_from_slice(b",\"geometry\":");
        match shape {
            Some((_, json)) => write_json(&self.survey.geometry(json)?, out)?,
            None => self.point(cells, out)?,
        }
        out.push(b'}');
        Ok(())
    }

    /// Writes the point that columns of latitude and longitude tell.
    fn point(&self, cells: &[Cell<'_>], out: &mut Vec<u8>) -> Result<(), RowError> {
        let number = |at: usize| {
            let column = self.survey.columns.get(at)?;
            let json = match cells.get(at)? {
                Cell::Number(json) => Cow::Borrowed(&**json),
                Cell::Text(text) => kind::number(text, column.mark)?,
                _ => return None,
            };
            Some((column, json))
        };
        let found =
            self.places.and_then(|(latitude, longitude)| Some((number(latitude)?, number(longitude)?)));
        let Some(((lat, latitude), (lon, longitude))) = found else {
            out.extend_from_slice(b"null");
            return Ok(());
        };
        let within = |text: &str, most: f64| text.parse::<f64>().is_ok_and(|value| value.abs() <= most);
        if !within(&latitude, 90.0) || !within(&longitude, 180.0) {
            return Err(RowError(format!(
                "row {}: `{}` and `{}` are no latitude and longitude in degrees",
                self.rows + 1,
                lat.name,
                lon.name
            )));
        }
        out.extend_from_slice(b"{\"type\":\"Point\",\"coordinates\":[");
        out.extend_from_slice(longitude.as_bytes());
        out.push(b',');
        out.extend_from_slice(latitude.as_bytes());
        out.extend_from_slice(b"]}");
        Ok(())
    }
}

fn is_feature(text: &str) -> Result<bool, RowError> {
    if !text.starts_with('{') {
        return Ok(false);
    }
    let members = Members::read(text)?;
    Ok(members.get("type") == Some("\"Feature\"") && members.get("properties").is_some())
}
