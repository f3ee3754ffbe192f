//! Tables in columns: Arrow's streaming format and Parquet. Types follow from the first rows.

use std::collections::HashSet;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMillisecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use jiff::Timestamp;
use parquet::arrow::ArrowWriter;
use serde_json::Value as Json;

use super::{Encoder, HELD, LOOK_AHEAD, Row, RowError, text, typed};

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

/// A table's columns are fixed once its first rows are written.
pub(super) fn expect_known(row: &Row, columns: &[Arc<str>]) -> Result<(), RowError> {
    match row.0.iter().find(|(name, value)| !value.is_null() && !columns.contains(name)) {
        None => Ok(()),
        Some((name, _)) => Err(RowError(format!(
            "a late row has a value for `{name}`, which none of the first {LOOK_AHEAD} rows had; read it as .ndjson"
        ))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Arrow,
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Float,
    Instant,
    Integer,
    /// Whole, and too long for the digits that floating point keeps.
    Long,
    Text,
}

/// Up to which whole number floating point keeps every one.
const FLOAT_KEEPS: u64 = 1 << f64::MANTISSA_DIGITS;

impl Kind {
    fn of(value: &Json) -> Option<Self> {
        Some(match value {
            Json::Null => return None,
            Json::Bool(_) => Self::Boolean,
            Json::Number(number) => match number.as_i64() {
                Some(whole) if whole.unsigned_abs() > FLOAT_KEEPS => Self::Long,
                Some(_) => Self::Integer,
                // Above the largest number of its type.
                None if number.is_u64() => Self::Text,
                None => Self::Float,
            },
            Json::String(text) if instant(text).is_some() => Self::Instant,
            _ => Self::Text,
        })
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Integer, Self::Float) | (Self::Float, Self::Integer) => Self::Float,
            (Self::Integer, Self::Long) | (Self::Long, Self::Integer) => Self::Long,
            _ => Self::Text,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Float => DataType::Float64,
            Self::Instant => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            Self::Integer | Self::Long => DataType::Int64,
            Self::Text => DataType::Utf8,
        }
    }
}

/// Only what has a zone is a point in time.
fn instant(text: &str) -> Option<Timestamp> {
    if text.len() < 17 { None } else { text.parse().ok() }
}

pub(super) struct ColumnEncoder {
    container: Container,
    /// Whether cells are texts that may look like something else.
    typed: bool,
    columns: Vec<(Arc<str>, Kind)>,
    writer: Option<Writer>,
    rows: Vec<Row>,
    shared: Shared,
    in_group: usize,
    /// Bytes of the rows that are held.
    held: usize,
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
    Arrow(Box<arrow_ipc::writer::StreamWriter<Shared>>),
    Parquet(Box<ArrowWriter<Shared>>),
}

impl ColumnEncoder {
    pub(super) fn new(container: Container, typed: bool) -> Self {
        Self {
            container,
            typed,
            columns: Vec::new(),
            writer: None,
            rows: Vec::new(),
            shared: Shared::default(),
            in_group: 0,
            held: 0,
        }
    }

    fn fix(&mut self, columns: Option<&[Arc<str>]>) -> Result<(), RowError> {
        let mut names = names(&self.rows);
        if names.is_empty() {
            names = columns.unwrap_or_default().to_vec();
        }
        let kind = |name: &Arc<str>| {
            let values = self.rows.iter().filter_map(|row| row.0.iter().find(|(column, _)| column == name));
            values.filter_map(|(_, value)| Kind::of(value)).reduce(Kind::and).unwrap_or(Kind::Text)
        };
        self.columns = names.iter().map(|name| (Arc::clone(name), kind(name))).collect();
        let schema = self.schema();
        self.writer = Some(match self.container {
            Container::Arrow => Writer::Arrow(Box::new(
                arrow_ipc::writer::StreamWriter::try_new(self.shared.clone(), &schema).map_err(wrong)?,
            )),
            Container::Parquet => Writer::Parquet(Box::new(
                ArrowWriter::try_new(self.shared.clone(), schema, None).map_err(wrong)?,
            )),
        });
        Ok(())
    }

    fn schema(&self) -> Arc<Schema> {
        let fields =
            self.columns.iter().map(|(name, kind)| Field::new(name.to_string(), kind.data_type(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn write(&mut self) -> Result<(), RowError> {
        let rows = std::mem::take(&mut self.rows);
        self.held = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.columns.iter().map(|(name, _)| Arc::clone(name)).collect();
        for row in &rows {
            expect_known(row, &names)?;
        }
        let arrays = self.columns.iter().map(|(name, kind)| array(name, *kind, &rows));
        let batch = RecordBatch::try_new(self.schema(), arrays.collect::<Result<_, _>>()?).map_err(wrong)?;
        match &mut self.writer {
            None => {}
            Some(Writer::Arrow(writer)) => writer.write(&batch).map_err(wrong)?,
            Some(Writer::Parquet(writer)) => {
                writer.write(&batch).map_err(wrong)?;
                self.in_group += rows.len();
                if self.in_group >= GROUP || writer.in_progress_size() >= GROUP_BYTES {
                    writer.flush().map_err(wrong)?;
                    self.in_group = 0;
                }
            }
        }
        Ok(())
    }
}

fn wrong(error: impl std::fmt::Display) -> RowError {
    RowError(format!("the table cannot be written: {error}"))
}

fn array(name: &Arc<str>, kind: Kind, rows: &[Row]) -> Result<ArrayRef, RowError> {
    let cells = rows.iter().map(|row| {
        let found = row.0.iter().find(|(column, _)| column == name).map(|(_, value)| value);
        found.filter(|value| !value.is_null())
    });
    let misfit = |value: &Json| {
        let kind = kind.data_type();
        RowError(format!(
            "`{}` in the column `{name}` does not fit the type {kind} that its first rows have; read it with `types=text`",
            text(value)
        ))
    };
    macro_rules! build {
        ($builder:expr, $read:expr) => {{
            let mut builder = $builder;
            for cell in cells {
                match cell {
                    None => builder.append_null(),
                    Some(value) => builder.append_value($read(value).ok_or_else(|| misfit(value))?),
                }
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    Ok(match kind {
        Kind::Boolean => build!(BooleanBuilder::new(), Json::as_bool),
        Kind::Float => build!(Float64Builder::new(), |value: &Json| match Kind::of(value) {
            Some(Kind::Float | Kind::Integer) => value.as_f64(),
            _ => None,
        }),
        Kind::Integer | Kind::Long => build!(Int64Builder::new(), Json::as_i64),
        Kind::Text => build!(StringBuilder::new(), |value| Some(text(value))),
        Kind::Instant => build!(TimestampMillisecondBuilder::new().with_timezone("UTC"), |value: &Json| {
            value.as_str().and_then(instant).map(Timestamp::as_millisecond)
        }),
    })
}

impl Encoder for ColumnEncoder {
    fn push(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        let mut row = row.flat();
        if self.typed {
            for (_, value) in &mut row.0 {
                *value = typed(std::mem::take(value));
            }
        }
        self.held += row.weight();
        self.rows.push(row);
        let is_much = self.held >= HELD;
        if self.writer.is_none() && (is_much || self.rows.len() >= LOOK_AHEAD) {
            self.fix(None)?;
        }
        if is_much || self.rows.len() >= BATCH {
            self.write()?;
            out.append(&mut self.shared.take());
        }
        Ok(())
    }

    fn finish(&mut self, columns: Option<&[Arc<str>]>, out: &mut Vec<u8>) -> Result<(), RowError> {
        if self.writer.is_none() {
            self.fix(columns)?;
        }
        self.write()?;
        match self.writer.take() {
            None => {}
            Some(Writer::Arrow(mut writer)) => writer.finish().map_err(wrong)?,
            Some(Writer::Parquet(writer)) => {
                writer.close().map_err(wrong)?;
            }
        }
        out.append(&mut self.shared.take());
        Ok(())
    }
}
