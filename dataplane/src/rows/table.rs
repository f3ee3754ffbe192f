//! Views of whole tables: looked at once from end to end, then written in another form, so that each column has one type
//! and no value is lost or changed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use encoding_rs::UTF_8;
use jiff::civil::Date;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::cell::{Cell, Members, flat, members, write_raw};
use super::columns::{Column as Written, ColumnWriter, Container};
use super::crs::{self, ToWgs84};
use super::csv::{Cells, CsvReader, Reading, write_line};
use super::dialect::{Declared, Transcoder};
use super::json::{JsonCutter, to_wgs84};
use super::kind::{self, Facts, Kind, Mark, Marks};
use super::{Form, PLACED, PLACES, RowError, View, write_json};

/// Most columns of a table that is made of nested values, and most bytes of their names.
const MAX_COLUMNS: usize = 16_384;
const MAX_NAMES: usize = 16 * 1024 * 1024;
/// So many bytes are written before they are handed on.
const HANDED_ON: usize = 1024 * 1024;

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

/// Cuts bytes into rows; at most so many.
#[derive(Debug)]
struct Reader {
    cutter: Cutter,
    most: Option<u64>,
    rows: u64,
}

#[derive(Debug)]
enum Cutter {
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
    fn new(shape: Shape, most: Option<u64>) -> Self {
        let cutter = match shape.form {
            Form::Csv => Cutter::Csv(Box::new(CsvReader::new(shape.declared, shape.reading).at_most(most))),
            form => {
                let other = shape.declared.encoding.filter(|encoding| *encoding != UTF_8);
                let cutter = JsonCutter::new(form == Form::JsonLines);
                Cutter::Json(Box::new(cutter), other.map(Transcoder::new))
            }
        };
        Self { cutter, most, rows: 0 }
    }

    /// Whether all rows that are wanted were read, and the names of a table.
    fn is_over(&self) -> bool {
        let is_begun = match &self.cutter {
            Cutter::Csv(reader) => !reader.names().is_empty(),
            Cutter::Json(..) => true,
        };
        is_begun && self.most.is_some_and(|most| self.rows >= most)
    }

    fn push(&mut self, bytes: &[u8], is_last: bool, sink: &mut Sink<'_>) -> Result<(), RowError> {
        let (rows, most) = (&mut self.rows, self.most);
        match &mut self.cutter {
            Cutter::Csv(reader) => {
                let mut take = |cells: Cells<'_>| {
                    *rows += 1;
                    sink(Line::Record(cells))
                };
                if is_last { reader.finish(&mut take) } else { reader.push(bytes, &mut take) }
            }
            Cutter::Json(cutter, transcoder) => {
                let mut take = |row: &[u8]| {
                    if most.is_some_and(|most| *rows >= most) {
                        return Ok(());
                    }
                    *rows += 1;
                    let text = std::str::from_utf8(row).map_err(|_| {
                        RowError(
                            "it is not UTF-8; its provider can declare the encoding in the media type"
                                .to_owned(),
                        )
                    })?;
                    sink(Line::Json(text))
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
    /// Whether a row may hold a geometry.
    is_placed: bool,
}

/// Names that a row has more than once, and how often so far.
type Numbers = HashMap<String, usize>;

/// The column that a name leads to, or the name of a new one; where a row has `name` already, the next is `name_2`.
fn found<'a, K: std::borrow::Borrow<str> + std::hash::Hash + Eq>(
    index: &HashMap<K, usize>,
    name: &'a str,
    numbers: &mut Numbers,
    is_taken: impl Fn(usize) -> bool,
) -> Result<usize, Cow<'a, str>> {
    match index.get(name) {
        Some(at) if is_taken(*at) => {}
        Some(at) => return Ok(*at),
        None => return Err(name.into()),
    }
    let number = numbers.entry(name.to_owned()).or_insert(1);
    loop {
        let wanted = format!("{name}_{}", *number + 1);
        match index.get(&*wanted) {
            Some(at) if is_taken(*at) => *number += 1,
            Some(at) => return Ok(*at),
            None => return Err(wanted.into()),
        }
    }
}

impl Seen {
    fn json(&mut self, text: &str) -> Result<(), RowError> {
        self.rows += 1;
        let row = self.rows;
        self.is_placed |= may_be_placed(text);
        let mut numbers = Numbers::new();
        flat(&members(text)?, &mut |name, cell| {
            let found = found(&self.index, name, &mut numbers, |at| self.last.get(at) == Some(&row));
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
                    self.index.insert(Arc::clone(&name), at);
                    self.columns.push((name, Facts::new(false)));
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
        Self { shape, reader: Reader::new(shape, limit), seen: Seen::default() }
    }

    fn take(&mut self, bytes: &[u8], is_last: bool) -> Result<(), RowError> {
        let seen = &mut self.seen;
        // With another separator than the comma, a comma may be a decimal mark. Before the first record that is not known,
        // and a comma in quotes is no number where the separator is one: each is looked at as if it could.
        self.reader.push(bytes, is_last, &mut |row| match row {
            Line::Record(cells) => {
                seen.record(cells, true);
                Ok(())
            }
            Line::Json(text) => seen.json(text),
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
    pub fn has_rows(&self) -> bool {
        self.reader.is_over()
    }

    /// Whether nothing that comes is of use: beside the rows, where a collection may name the reference system of their
    /// coordinates behind them.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let may_be_moved = match &self.reader.cutter {
            Cutter::Json(cutter, _) => self.seen.is_placed && cutter.may_name_crs(),
            Cutter::Csv(_) => false,
        };
        self.has_rows() && !may_be_moved
    }

    /// Whether it ended because its bytes are in another encoding than was assumed, and nobody declared one: then
    /// [`super::recognised`] tells which, and [`Shape::encoded`] reads it.
    #[must_use]
    pub fn is_other(&self) -> bool {
        matches!(&self.reader.cutter, Cutter::Csv(reader) if reader.is_other())
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
        if let Cutter::Csv(reader) = &self.reader.cutter {
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
        let reference = match &self.reader.cutter {
            Cutter::Json(cutter, _) => cutter.crs(),
            Cutter::Csv(_) => None,
        };
        if let Some(at) = columns.iter().position(|(name, _)| name.is_empty()) {
            let told = told(at, |name| columns.iter().any(|(known, _)| **known == *name));
            if let Some((name, _)) = columns.get_mut(at) {
                *name = told;
            }
        }
        let to_wgs84 = reference.map(to_wgs84).transpose()?.flatten();
        notes.extend(to_wgs84.as_ref().map(|to_wgs84| format!("crs=\"{}\"", to_wgs84.crs())));
        let marks = may_have_commas.then(|| Marks::of(columns.iter().map(|(_, facts)| facts)));
        let is_text = self.shape.as_text && self.shape.is_table();
        let columns = columns.into_iter().map(|(name, facts)| {
            let (kind, mark) = if is_text { (Kind::Text, Mark::Point) } else { facts.kind(marks) };
            Column { name, kind, mark, days: facts.days.filter(|_| facts.tells_days), filled: facts.filled }
        });
        let columns = columns.collect();
        Ok(Survey { shape: self.shape, columns, index, rows, has_too_many, to_wgs84, notes })
    }
}

/// The name of a column that has none.
fn told(at: usize, is_known: impl Fn(&str) -> bool) -> Arc<str> {
    let name = format!("column_{}", at + 1);
    let mut further = (2_usize..).map(|number| format!("{name}_{number}"));
    let free = if is_known(&name) { further.find(|one| !is_known(one)) } else { None };
    free.unwrap_or(name).into()
}

/// Whether JSON may hold a geometry.
fn may_be_placed(json: &str) -> bool {
    ["coordinates", "geometries", "\\u"].iter().any(|name| json.contains(name))
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

    /// A geometry of a cell, in WGS 84.
    fn placed(&self, json: &str) -> Result<Json, RowError> {
        if self.to_wgs84.is_none() {
            return self.geometry(json);
        }
        // It was moved with its row.
        serde_json::from_str(json).map_err(|error| RowError(format!("a geometry: {error}")))
    }

    /// Writes JSON as it is, each geometry in it in WGS 84.
    fn moved(&self, json: &str, out: &mut Vec<u8>) -> Result<(), RowError> {
        if self.to_wgs84.is_none() || !may_be_placed(json) {
            write_raw(json, out);
        } else if kind::is_geometry(json) {
            write_json(&self.geometry(json)?, out)?;
        } else if json.starts_with('{') {
            out.push(b'{');
            for (at, (name, value)) in Members::read(json)?.0.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_json(&**name, out)?;
                out.push(b':');
                self.moved(value, out)?;
            }
            out.push(b'}');
        } else if json.starts_with('[') {
            let all: Vec<&RawValue> =
                serde_json::from_str(json).map_err(|error| RowError(format!("it is not JSON: {error}")))?;
            out.push(b'[');
            for (at, value) in all.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                self.moved(value.get(), out)?;
            }
            out.push(b']');
        } else {
            write_raw(json, out);
        }
        Ok(())
    }

    /// A cell, each geometry in it in WGS 84.
    fn moved_cell<'b>(&self, cell: Cell<'b>) -> Result<Cell<'b>, RowError> {
        match cell {
            Cell::Json(json) if self.to_wgs84.is_some() && may_be_placed(&json) => {
                let mut moved = Vec::new();
                self.moved(&json, &mut moved)?;
                let moved = String::from_utf8(moved).map_err(|error| RowError(error.to_string()))?;
                Ok(Cell::Json(moved.into()))
            }
            cell => Ok(cell),
        }
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

/// Takes what was written so far, and leaves nothing of it.
type Drain<'a> = dyn FnMut(&mut Vec<u8>) -> Result<(), RowError> + 'a;

/// Writes a table in a form.
pub struct Viewer<'a> {
    survey: &'a Survey,
    reader: Reader,
    writing: Writing<'a>,
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
        Ok(Self { survey, reader: Reader::new(survey.shape, limit), writing })
    }

    fn take(
        &mut self,
        bytes: &[u8],
        is_last: bool,
        out: &mut Vec<u8>,
        drain: &mut Drain<'_>,
    ) -> Result<(), RowError> {
        let writing = &mut self.writing;
        self.reader.push(bytes, is_last, &mut |row| {
            if writing.rows == 0 {
                writing.begin(out);
            }
            let result = match row {
                Line::Record(cells) => writing.record(cells, out),
                Line::Json(text) => writing.json(text, out),
            };
            writing.rows += 1;
            // A few bytes may make many rows.
            if result.is_ok() && out.len() >= HANDED_ON {
                return drain(out);
            }
            result
        })
    }

    /// Takes what arrived, and writes what can be written; `drain` takes it whenever it is much.
    ///
    /// # Errors
    /// It cannot be shown so, and names the row; or it was not taken.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>, drain: &mut Drain<'_>) -> Result<(), RowError> {
        self.take(bytes, false, out, drain)
    }

    /// Whether all rows that are wanted were written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.reader.is_over()
    }

    /// Nothing more arrives; gives how many rows were written.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(mut self, out: &mut Vec<u8>, drain: &mut Drain<'_>) -> Result<u64, RowError> {
        if !self.is_full() {
            self.take(&[], true, out, drain)?;
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
                    self.as_feature(text, out)?;
                } else {
                    self.feature(&self.cells(&members(text)?)?, out)?;
                }
            }
            View::Csv => {
                let cells = self.cells(&members(text)?)?;
                let texts = cells.iter().map(|cell| match cell {
                    Cell::Json(json) => Cow::Owned(json.replace(['\n', '\r'], " ")),
                    cell => Cow::Borrowed(cell.text()),
                });
                write_line(texts, out);
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
        let mut numbers = Numbers::new();
        flat(row, &mut |name, cell| {
            let is_taken = |at: usize| cells.get(at).is_some_and(Option::is_some);
            if let Ok(at) = found(&self.survey.index, name, &mut numbers, is_taken)
                && let Some(place) = cells.get_mut(at)
            {
                *place = Some(self.survey.moved_cell(cell)?);
            }
            Ok(())
        })?;
        Ok(cells.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn in_columns(&mut self, cells: &[Cell<'_>], out: &mut Vec<u8>) -> Result<(), RowError> {
        let survey = self.survey;
        let Some(columns) = &mut self.columns else { return Ok(()) };
        columns.row(cells, &|json| survey.placed(json), out)
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
            self.survey.moved(value, out)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Writes a feature as it is, its geometry in WGS 84.
    fn as_feature(&self, text: &str, out: &mut Vec<u8>) -> Result<(), RowError> {
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
                _ => self.survey.moved(value, out)?,
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
        let none = of("geometry").filter(|at| matches!(cells.get(*at), Some(Cell::Null)));
        let without: Vec<usize> = id.into_iter().chain(shape.map(|(at, _)| at)).chain(none).collect();
        self.object(cells, Some(&without), out)?;
        out.extend_from_slice(b",\"geometry\":");
        match shape {
            Some((_, json)) => write_json(&self.survey.placed(json)?, out)?,
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
