//! Tables in columns: Arrow's file and streaming formats, and Parquet.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
    StringBuilder, TimestampMicrosecondBuilder, TimestampMillisecondBuilder, TimestampNanosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use jiff::civil::Date;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::{Value as Json, json};

use super::cell::Cell;
use super::kind::{self, Facts, Kind, Mark, Unit};
use super::{Encoder, HELD, LOOK_AHEAD, Row, RowError, wkb};

/// Rows of a batch.
const BATCH: usize = 8192;
/// Rows of a Parquet row group: what is kept in memory at once.
const GROUP: usize = 65_536;
/// A group of rows is closed when it is larger, in bytes.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// All names, in the order of their first appearance.
pub(super) fn names(rows: &[Row]) -> Vec<Arc<str>> {
    let mut seen = HashSet::new();
    let all = rows.iter().flat_map(|row| row.0.iter().map(|(name, _)| name));
    all.filter(|name| seen.insert(Arc::clone(name))).cloned().collect()
}

/// The columns of rows that are written as they come are fixed once the first are.
pub(super) fn expect_known(row: &Row, columns: &[Arc<str>]) -> Result<(), RowError> {
    match row.0.iter().find(|(name, value)| !value.is_null() && !columns.contains(name)) {
        None => Ok(()),
        Some((name, _)) => Err(RowError(format!(
            "a late row has a value for `{name}`, which none of the first {LOOK_AHEAD} rows had; read it as JSON lines"
        ))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    /// Arrow's file format.
    File,
    Parquet,
    /// Arrow's streaming format.
    Stream,
}

/// A column that is written.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
    pub(super) mark: Mark,
}

impl Column {
    fn field(&self) -> Field {
        let field = Field::new(self.name.to_string(), data_type(self.kind), true);
        if self.kind != Kind::Geometry {
            return field;
        }
        // <https://geoarrow.org/extension-types>
        let said = [
            ("ARROW:extension:name", "geoarrow.wkb"),
            ("ARROW:extension:metadata", r#"{"crs":"OGC:CRS84","crs_type":"authority_code"}"#),
        ];
        let said = said.map(|(name, value)| (name.to_owned(), value.to_owned()));
        field.with_metadata(said.into_iter().collect::<HashMap<_, _>>())
    }
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Boolean => DataType::Boolean,
        Kind::Date => DataType::Date32,
        Kind::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
        Kind::Float => DataType::Float64,
        Kind::Geometry => DataType::Binary,
        Kind::Instant(unit) => {
            let unit = match unit {
                Unit::Milliseconds => TimeUnit::Millisecond,
                Unit::Microseconds => TimeUnit::Microsecond,
                Unit::Nanoseconds => TimeUnit::Nanosecond,
            };
            DataType::Timestamp(unit, Some("UTC".into()))
        }
        Kind::Integer => DataType::Int64,
        Kind::Text => DataType::Utf8,
    }
}

/// Cells of a column that wait to be written.
enum Builder {
    Boolean(BooleanBuilder),
    Date(Date32Builder),
    Decimal(Decimal128Builder, usize),
    Float(Float64Builder),
    Geometry(BinaryBuilder),
    Integer(Int64Builder),
    Microseconds(TimestampMicrosecondBuilder),
    Milliseconds(TimestampMillisecondBuilder),
    Nanoseconds(TimestampNanosecondBuilder),
    Text(StringBuilder),
}

impl Builder {
    fn new(kind: Kind) -> Result<Self, RowError> {
        Ok(match kind {
            Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Decimal { precision, scale } => {
                let builder = Decimal128Builder::new().with_precision_and_scale(precision, scale);
                Self::Decimal(builder.map_err(wrong)?, usize::try_from(scale).unwrap_or_default())
            }
            Kind::Float => Self::Float(Float64Builder::new()),
            Kind::Geometry => Self::Geometry(BinaryBuilder::new()),
            Kind::Instant(Unit::Microseconds) => {
                Self::Microseconds(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            Kind::Instant(Unit::Milliseconds) => {
                Self::Milliseconds(TimestampMillisecondBuilder::new().with_timezone("UTC"))
            }
            Kind::Instant(Unit::Nanoseconds) => {
                Self::Nanoseconds(TimestampNanosecondBuilder::new().with_timezone("UTC"))
            }
            Kind::Integer => Self::Integer(Int64Builder::new()),
            Kind::Text => Self::Text(StringBuilder::new()),
        })
    }

    fn empty(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Decimal(builder, _) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Geometry(builder) => builder.append_null(),
            Self::Integer(builder) => builder.append_null(),
            Self::Microseconds(builder) => builder.append_null(),
            Self::Milliseconds(builder) => builder.append_null(),
            Self::Nanoseconds(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
        }
    }

    /// Takes a cell; `None` where it does not fit.
    fn take(&mut self, cell: &Cell<'_>, mark: Mark) -> Option<()> {
        let number = || match cell {
            Cell::Number(json) => Some(std::borrow::Cow::Borrowed(&**json)),
            Cell::Text(text) => kind::number(text, mark),
            _ => None,
        };
        let instant = || match cell {
            Cell::Text(text) => kind::instant(text).map(|(at, _)| at),
            _ => None,
        };
        match self {
            Self::Boolean(builder) => builder.append_value(match cell {
                Cell::Bool(value) => *value,
                Cell::Text(text) => kind::boolean(text)?,
                _ => return None,
            }),
            Self::Date(builder) => builder.append_value(match cell {
                Cell::Text(text) => kind::date(text).and_then(days)?,
                _ => return None,
            }),
            Self::Decimal(builder, scale) => builder.append_value(kind::scaled(&number()?, *scale)?),
            Self::Float(builder) => builder.append_value(number()?.parse().ok()?),
            Self::Geometry(_) => return None,
            Self::Integer(builder) => builder.append_value(number()?.parse().ok()?),
            Self::Microseconds(builder) => builder.append_value(instant()?.as_microsecond()),
            Self::Milliseconds(builder) => builder.append_value(instant()?.as_millisecond()),
            Self::Nanoseconds(builder) => {
                builder.append_value(i64::try_from(instant()?.as_nanosecond()).ok()?);
            }
            Self::Text(builder) => builder.append_value(cell.text()),
        }
        Some(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder, _) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Geometry(builder) => Arc::new(builder.finish()),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Microseconds(builder) => Arc::new(builder.finish()),
            Self::Milliseconds(builder) => Arc::new(builder.finish()),
            Self::Nanoseconds(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
        }
    }
}

/// Days since 1970.
fn days(date: Date) -> Option<i32> {
    const EPOCH: Date = Date::constant(1970, 1, 1);
    EPOCH.until(date).ok().map(|span| span.get_days())
}

/// Written by the writer, taken by the encoder.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

enum Writer {
    File(Box<arrow_ipc::writer::FileWriter<Shared>>),
    Parquet(Box<ArrowWriter<Shared>>),
    Stream(Box<arrow_ipc::writer::StreamWriter<Shared>>),
}

/// Writes rows whose columns are known.
pub(super) struct ColumnWriter {
    columns: Vec<Column>,
    builders: Vec<Builder>,
    /// What the geometries of a column cover.
    extents: Vec<wkb::Extent>,
    schema: Arc<Schema>,
    writer: Writer,
    shared: Shared,
    rows: usize,
    /// Bytes of the rows that are held.
    held: usize,
    in_group: usize,
    well_known: Vec<u8>,
}

impl ColumnWriter {
    pub(super) fn new(container: Container, columns: Vec<Column>) -> Result<Self, RowError> {
        let fields = columns.iter().map(Column::field).collect::<Vec<_>>();
        let (schema, shared) = (Arc::new(Schema::new(fields)), Shared::default());
        let writer = match container {
            Container::File => Writer::File(Box::new(
                arrow_ipc::writer::FileWriter::try_new(shared.clone(), &schema).map_err(wrong)?,
            )),
            Container::Parquet => {
                let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
                let writer = ArrowWriter::try_new(shared.clone(), Arc::clone(&schema), Some(properties));
                Writer::Parquet(Box::new(writer.map_err(wrong)?))
            }
            Container::Stream => Writer::Stream(Box::new(
                arrow_ipc::writer::StreamWriter::try_new(shared.clone(), &schema).map_err(wrong)?,
            )),
        };
        Ok(Self {
            builders: columns.iter().map(|column| Builder::new(column.kind)).collect::<Result<_, _>>()?,
            extents: columns.iter().map(|_| wkb::Extent::default()).collect(),
            columns,
            schema,
            writer,
            shared,
            rows: 0,
            held: 0,
            in_group: 0,
            well_known: Vec::new(),
        })
    }

    /// Takes a row: a cell for each column. `geometry` gives the geometry of a cell in WGS 84. An empty text of a table is
    /// no cell.
    pub(super) fn row(
        &mut self,
        cells: &[Cell<'_>],
        geometry: &dyn Fn(&str) -> Result<Json, RowError>,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        let all = self.columns.iter().zip(&mut self.builders).zip(&mut self.extents).zip(cells);
        for (((column, builder), extent), cell) in all {
            self.held += cell.text().len() + 8;
            match (cell, &mut *builder) {
                (Cell::Null, builder) => builder.empty(),
                (Cell::Json(json), Builder::Geometry(shapes)) => {
                    self.well_known.clear();
                    let found = geometry(json)?;
                    let kinds = wkb::write(&found, &mut self.well_known).map_err(|reason| {
                        RowError(format!("a geometry in the column `{}`: {reason}", column.name))
                    })?;
                    extent.add(&kinds);
                    shapes.append_value(&self.well_known);
                }
                (cell, builder) => builder.take(cell, column.mark).ok_or_else(|| misfit(column, cell))?,
            }
        }
        self.rows += 1;
        if self.rows >= BATCH || self.held >= HELD {
            self.write()?;
            out.append(&mut self.shared.take());
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), RowError> {
        let rows = std::mem::take(&mut self.rows);
        self.held = 0;
        if rows == 0 {
            return Ok(());
        }
        let arrays = self.builders.iter_mut().map(Builder::finish).collect();
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
        let batch =
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map_err(wrong)?;
        match &mut self.writer {
            Writer::File(writer) => writer.write(&batch).map_err(wrong)?,
            Writer::Stream(writer) => writer.write(&batch).map_err(wrong)?,
            Writer::Parquet(writer) => {
                writer.write(&batch).map_err(wrong)?;
                self.in_group += rows;
                if self.in_group >= GROUP || writer.in_progress_size() >= GROUP_BYTES {
                    writer.flush().map_err(wrong)?;
                    self.in_group = 0;
                }
            }
        }
        Ok(())
    }

    /// Writes the end.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> Result<(), RowError> {
        self.write()?;
        let geo = self.geo();
        match self.writer {
            Writer::File(mut writer) => writer.finish().map_err(wrong)?,
            Writer::Stream(mut writer) => writer.finish().map_err(wrong)?,
            Writer::Parquet(mut writer) => {
                if let Some(geo) = geo {
                    writer.append_key_value_metadata(KeyValue::new("geo".to_owned(), geo.to_string()));
                }
                writer.close().map_err(wrong)?;
            }
        }
        out.append(&mut self.shared.take());
        Ok(())
    }

    /// The file metadata of GeoParquet 1.1; without a reference system it is CRS84.
    fn geo(&self) -> Option<Json> {
        let shapes =
            self.columns.iter().zip(&self.extents).filter(|(column, _)| column.kind == Kind::Geometry);
        let mut described = serde_json::Map::new();
        for (column, extent) in shapes {
            let mut said =
                json!({"encoding": "WKB", "geometry_types": extent.geometry_types().collect::<Vec<_>>()});
            let bbox = extent.bbox().map(|[west, south, east, north]| match extent.heights() {
                Some([low, high]) => vec![west, south, low, east, north, high],
                None => vec![west, south, east, north],
            });
            if let (Some(bbox), Some(said)) = (bbox, said.as_object_mut()) {
                said.insert("bbox".to_owned(), json!(bbox));
            }
            described.insert(column.name.to_string(), said);
        }
        let named = |name: &str| described.contains_key(name).then(|| name.to_owned());
        let first = || {
            self.columns.iter().find(|column| column.kind == Kind::Geometry).map(|one| one.name.to_string())
        };
        let primary = named("geometry").or_else(first)?;
        Some(json!({"version": "1.1.0", "primary_column": primary, "columns": described}))
    }
}

fn wrong(error: impl std::fmt::Display) -> RowError {
    RowError(format!("the table cannot be written: {error}"))
}

fn misfit(column: &Column, cell: &Cell<'_>) -> RowError {
    RowError(format!(
        "`{}` in the column `{}` does not fit the type {} that the rows before it have",
        cell.text(),
        column.name,
        column.kind.name()
    ))
}

/// Writes rows whose columns follow from the first of them, as Arrow's streaming format.
#[derive(Default)]
pub(super) struct ColumnEncoder {
    writer: Option<ColumnWriter>,
    names: Vec<Arc<str>>,
    rows: Vec<Row>,
    /// Bytes of the rows that are held.
    held: usize,
}

impl ColumnEncoder {
    fn fix(&mut self, columns: Option<&[Arc<str>]>, out: &mut Vec<u8>) -> Result<(), RowError> {
        self.names = names(&self.rows);
        if self.names.is_empty() {
            self.names = columns.unwrap_or_default().to_vec();
        }
        let mut facts = vec![Facts::new(false); self.names.len()];
        for (name, facts) in self.names.iter().zip(&mut facts) {
            for row in &self.rows {
                let found = row.0.iter().find(|(column, _)| column == name);
                facts.take(&found.map_or(Cell::Null, |(_, value)| cell(value)), false);
            }
        }
        let columns = self.names.iter().zip(&facts).map(|(name, facts)| {
            let (kind, mark) = facts.kind(None);
            Column { name: Arc::clone(name), kind, mark }
        });
        self.writer = Some(ColumnWriter::new(Container::Stream, columns.collect())?);
        for row in std::mem::take(&mut self.rows) {
            self.write(&row, out)?;
        }
        Ok(())
    }

    fn write(&mut self, row: &Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        expect_known(row, &self.names)?;
        let cells = self.names.iter().map(|name| {
            let found = row.0.iter().find(|(column, _)| column == name);
            found.map_or(Cell::Null, |(_, value)| cell(value))
        });
        let read = |text: &str| serde_json::from_str(text).map_err(wrong);
        writer.row(&cells.collect::<Vec<_>>(), &read, out)
    }
}

fn cell(value: &Json) -> Cell<'_> {
    match value {
        Json::Null => Cell::Null,
        Json::Bool(value) => Cell::Bool(*value),
        Json::Number(number) => Cell::Number(number.to_string().into()),
        Json::String(text) => Cell::Text(text.into()),
        Json::Array(_) | Json::Object(_) => Cell::Json(value.to_string().into()),
    }
}

impl Encoder for ColumnEncoder {
    fn push(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        let row = row.flat();
        if self.writer.is_some() {
            return self.write(&row, out);
        }
        self.held += row.weight();
        self.rows.push(row);
        if self.held >= HELD || self.rows.len() >= LOOK_AHEAD { self.fix(None, out) } else { Ok(()) }
    }

    fn finish(&mut self, columns: Option<&[Arc<str>]>, out: &mut Vec<u8>) -> Result<(), RowError> {
        if self.writer.is_none() {
            self.fix(columns, out)?;
        }
        self.writer.take().map_or(Ok(()), |writer| writer.finish(out))
    }
}
