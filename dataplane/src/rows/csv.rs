//! RFC 4180, read and written.

use std::sync::Arc;

use csv_core::ReadRecordResult;
use serde_json::Value as Json;

use super::{Decoder, Encoder, HELD, LOOK_AHEAD, MAX_ROW, Row, RowError, text};

/// Most columns.
const MAX_COLUMNS: usize = 4096;

pub(super) struct CsvDecoder {
    /// Made once the separator is known.
    reader: Option<csv_core::Reader>,
    /// What arrived before that.
    head: Vec<u8>,
    columns: Vec<Arc<str>>,
    /// The record that is being read.
    cells: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    ended: usize,
    line: u64,
}

impl Default for CsvDecoder {
    fn default() -> Self {
        Self {
            reader: None,
            head: Vec::new(),
            columns: Vec::new(),
            cells: vec![0; 4096],
            filled: 0,
            ends: vec![0; 64],
            ended: 0,
            line: 0,
        }
    }
}

impl CsvDecoder {
    /// The separator that the first line has most of.
    fn begin(&mut self) -> Vec<u8> {
        let mut head = std::mem::take(&mut self.head);
        if head.starts_with(&[0xEF, 0xBB, 0xBF]) {
            head.drain(..3);
        }
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let count = |separator: u8| line.iter().filter(|byte| **byte == separator).count();
        let separator = [b',', b';', b'\t'].into_iter().rev().max_by_key(|one| count(*one)).unwrap_or(b',');
        self.reader = Some(csv_core::ReaderBuilder::new().delimiter(separator).build());
        head
    }

    fn read(&mut self, mut bytes: &[u8], at_end: bool, rows: &mut Vec<Row>) -> Result<(), RowError> {
        let Some(mut reader) = self.reader.take() else { return Ok(()) };
        let result = loop {
            if bytes.is_empty() && !at_end {
                break Ok(());
            }
            let cells = self.cells.get_mut(self.filled..).unwrap_or_default();
            let ends = self.ends.get_mut(self.ended..).unwrap_or_default();
            let (state, read, written, ended) = reader.read_record(bytes, cells, ends);
            bytes = bytes.get(read..).unwrap_or_default();
            self.filled += written;
            self.ended += ended;
            match state {
                ReadRecordResult::InputEmpty => {
                    if !at_end {
                        break Ok(());
                    }
                }
                ReadRecordResult::OutputFull => {
                    if self.cells.len() >= MAX_ROW {
                        break Err(RowError(format!("a row is larger than {MAX_ROW} bytes")));
                    }
                    self.cells.resize(self.cells.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull => {
                    if self.ends.len() >= MAX_COLUMNS {
                        break Err(RowError(format!("a row has more than {MAX_COLUMNS} columns")));
                    }
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                ReadRecordResult::Record => {
                    if let Err(error) = self.record(rows) {
                        break Err(error);
                    }
                }
                ReadRecordResult::End => break Ok(()),
            }
        };
        self.reader = Some(reader);
        result
    }

    fn record(&mut self, rows: &mut Vec<Row>) -> Result<(), RowError> {
        self.line += 1;
        let mut start = 0;
        let cells = self.ends.get(..self.ended).unwrap_or_default().iter().map(|end| {
            let cell = self.cells.get(start..*end).unwrap_or_default();
            start = *end;
            String::from_utf8_lossy(cell)
        });
        if self.columns.is_empty() {
            self.columns = cells.map(|name| Arc::from(name.trim())).collect();
        } else {
            if self.ended > self.columns.len() {
                return Err(RowError(format!(
                    "record {} has {} cells, but there are {} columns",
                    self.line,
                    self.ended,
                    self.columns.len()
                )));
            }
            let mut cells = cells;
            let row = self.columns.iter().map(|name| {
                (Arc::clone(name), cells.next().map_or(Json::Null, |cell| Json::String(cell.into_owned())))
            });
            rows.push(Row(row.collect()));
        }
        self.filled = 0;
        self.ended = 0;
        Ok(())
    }
}

impl Decoder for CsvDecoder {
    fn push(&mut self, bytes: &[u8], rows: &mut Vec<Row>) -> Result<(), RowError> {
        if self.reader.is_some() {
            return self.read(bytes, false, rows);
        }
        self.head.extend_from_slice(bytes);
        if self.head.contains(&b'\n') {
            let head = self.begin();
            return self.read(&head, false, rows);
        }
        if self.head.len() > MAX_ROW {
            return Err(RowError(format!("its first line is larger than {MAX_ROW} bytes")));
        }
        Ok(())
    }

    fn finish(&mut self, rows: &mut Vec<Row>) -> Result<(), RowError> {
        if self.reader.is_none() {
            let head = self.begin();
            self.read(&head, false, rows)?;
        }
        self.read(&[], true, rows)
    }

    fn columns(&self) -> Option<&[Arc<str>]> {
        (!self.columns.is_empty()).then_some(&self.columns)
    }
}

pub(super) struct CsvEncoder {
    /// Whether every row has the columns of the first.
    uniform: bool,
    columns: Option<Vec<Arc<str>>>,
    waiting: Vec<Row>,
    /// Bytes of the rows that wait.
    held: usize,
}

impl CsvEncoder {
    pub(super) const fn new(uniform: bool) -> Self {
        Self { uniform, columns: None, waiting: Vec::new(), held: 0 }
    }

    fn fix(&mut self, out: &mut Vec<u8>) -> Result<(), RowError> {
        let columns = super::columns::names(&self.waiting);
        write_line(columns.iter().map(|name| &**name), out);
        self.columns = Some(columns);
        for row in std::mem::take(&mut self.waiting) {
            self.write(&row, out)?;
        }
        Ok(())
    }

    fn write(&self, row: &Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        let columns = self.columns.as_deref().unwrap_or_default();
        let same = row.0.len() == columns.len() && row.0.iter().zip(columns).all(|((a, _), b)| a == b);
        if same {
            write_line(row.0.iter().map(|(_, value)| text(value)), out);
            return Ok(());
        }
        super::columns::expect_known(row, columns)?;
        let cell =
            |name: &Arc<str>| row.0.iter().find(|(column, _)| column == name).map(|(_, value)| text(value));
        write_line(columns.iter().map(|name| cell(name).unwrap_or_default()), out);
        Ok(())
    }
}

impl Encoder for CsvEncoder {
    fn push(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        let row = row.flat();
        if self.columns.is_some() {
            return self.write(&row, out);
        }
        self.held += row.weight();
        self.waiting.push(row);
        let is_enough = self.uniform || self.waiting.len() >= LOOK_AHEAD || self.held >= HELD;
        if is_enough { self.fix(out) } else { Ok(()) }
    }

    fn finish(&mut self, columns: Option<&[Arc<str>]>, out: &mut Vec<u8>) -> Result<(), RowError> {
        if self.columns.is_some() {
            return Ok(());
        }
        if self.waiting.is_empty() {
            if let Some(columns) = columns {
                write_line(columns.iter().map(|name| &**name), out);
            }
            return Ok(());
        }
        self.fix(out)
    }
}

fn write_line<T: AsRef<str>>(cells: impl Iterator<Item = T>, out: &mut Vec<u8>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let cell = cell.as_ref().as_bytes();
        if cell.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
            out.push(b'"');
            for byte in cell {
                if *byte == b'"' {
                    out.push(b'"');
                }
                out.push(*byte);
            }
            out.push(b'"');
        } else {
            out.extend_from_slice(cell);
        }
    }
    out.push(b'\n');
}
