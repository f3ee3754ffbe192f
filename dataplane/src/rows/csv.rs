//! RFC 4180, read and written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use csv_core::ReadRecordResult;
use encoding_rs::UTF_8;
use serde_json::Value as Json;

use super::dialect::{Declared, Dialect, HEAD, Transcoder, recognised, skipped};
use super::{Decoder, Encoder, HELD, LOOK_AHEAD, MAX_ROW, Row, RowError, text};

/// Most columns.
const MAX_COLUMNS: usize = 16_384;

/// How a table that is not quite one is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reading {
    /// Names stay as they are written, and a record may be shorter than they are.
    AsItComes,
    /// Every record has as many cells as there are names, which are told apart.
    #[default]
    Strict,
    /// As before, but what is missing is empty, and what is too much has columns of its own.
    Filled,
}

/// Names as they are written, and as they are told.
type Renamed = Vec<(String, Arc<str>)>;

/// The cells of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells<'a> {
    text: &'a str,
    ends: &'a [usize],
}

impl<'a> Cells<'a> {
    /// In their order; `None` for one that is cut inside a character.
    fn each(self) -> impl Iterator<Item = Option<&'a str>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let cell = self.text.get(start..*end);
            start = *end;
            cell
        })
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = &'a str> {
        // Each was looked at when the record was read.
        self.each().map(Option::unwrap_or_default)
    }

    pub(crate) const fn len(self) -> usize {
        self.ends.len()
    }
}

/// Takes records.
type Sink<'a> = dyn FnMut(Cells<'_>) -> Result<(), RowError> + 'a;

#[derive(Debug, Default)]
pub(crate) struct CsvReader {
    declared: Declared,
    reading: Reading,
    /// Made once the dialect is known.
    begun: Option<(Box<csv_core::Reader>, Option<Transcoder>, Dialect)>,
    /// What arrived before that.
    head: Vec<u8>,
    columns: Vec<Arc<str>>,
    /// Names that were changed: as they are written, and as they are told.
    renamed: Renamed,
    /// The record that is being read.
    cells: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    ended: usize,
    record: u64,
    /// So many records below the names are wanted at most.
    most: Option<u64>,
    /// Whether bytes came that are not in the encoding that was assumed.
    is_other: bool,
}

impl CsvReader {
    pub(crate) fn new(declared: Declared, reading: Reading) -> Self {
        Self { declared, reading, cells: vec![0; 4096], ends: vec![0; 64], ..Self::default() }
    }

    /// What comes behind so many records is not looked at.
    pub(crate) fn at_most(self, most: Option<u64>) -> Self {
        Self { most, ..self }
    }

    /// Whether its names and all records that are wanted were read.
    fn is_over(&self) -> bool {
        !self.columns.is_empty() && self.most.is_some_and(|most| self.record > most)
    }

    /// How it is written, once that is known.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        self.begun.as_ref().map(|(.., dialect)| *dialect)
    }

    /// The names of its columns.
    pub(crate) fn names(&self) -> &[Arc<str>] {
        &self.columns
    }

    /// Names that were changed: as they are written, and as they are told.
    pub(crate) fn renamed(&self) -> &[(String, Arc<str>)] {
        &self.renamed
    }

    /// Whether it ended because its bytes are not in the encoding that was assumed.
    pub(crate) const fn is_other(&self) -> bool {
        self.is_other
    }

    /// Takes what arrived.
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), RowError> {
        if self.begun.is_some() {
            return self.take(bytes, false, sink);
        }
        // The same bytes tell the dialect, however they are cut.
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(head);
        if self.head.len() < HEAD {
            return Ok(());
        }
        self.begin(false, sink)?;
        self.take(rest, false, sink)
    }

    /// Nothing more arrives.
    pub(crate) fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), RowError> {
        if self.begun.is_none() {
            self.begin(true, sink)?;
        }
        self.take(&[], true, sink)
    }

    fn begin(&mut self, is_all: bool, sink: &mut Sink<'_>) -> Result<(), RowError> {
        let head = std::mem::take(&mut self.head);
        let (encoding, is_recognised) = Dialect::encoding_of(self.declared, &head, is_all)?;
        let (bytes, transcoder) = if encoding == UTF_8 {
            (head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&head).to_vec(), None)
        } else {
            let mut transcoder = Transcoder::new(encoding);
            let mut bytes = Vec::with_capacity(head.len());
            transcoder.push(&head, false, &mut bytes)?;
            (bytes, Some(transcoder))
        };
        let dialect = Dialect::of(self.declared, encoding, is_recognised, &bytes);
        let reader = csv_core::ReaderBuilder::new().delimiter(dialect.separator).build();
        self.begun = Some((Box::new(reader), transcoder, dialect));
        self.read(skipped(&bytes, dialect.comments), false, sink)
    }

    fn take(&mut self, bytes: &[u8], at_end: bool, sink: &mut Sink<'_>) -> Result<(), RowError> {
        match &mut self.begun {
            Some((_, Some(transcoder), _)) => {
                let mut text = Vec::with_capacity(bytes.len());
                transcoder.push(bytes, at_end, &mut text)?;
                self.read(&text, at_end, sink)
            }
            _ => self.read(bytes, at_end, sink),
        }
    }

    fn read(&mut self, mut bytes: &[u8], at_end: bool, sink: &mut Sink<'_>) -> Result<(), RowError> {
        if self.is_over() {
            return Ok(());
        }
        let Some((mut reader, transcoder, dialect)) = self.begun.take() else { return Ok(()) };
        let mut is_closing = false;
        let result = loop {
            if bytes.is_empty() && !at_end {
                break Ok(());
            }
            // An end of line ends whatever is no text in quotes.
            if bytes.is_empty() && !is_closing {
                is_closing = true;
                bytes = b"\n";
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
                    if is_closing && written > 0 {
                        break Err(RowError(format!(
                            "record {} has a quote that is never closed",
                            self.record + 1
                        )));
                    }
                }
                ReadRecordResult::OutputFull => {
                    if self.cells.len() >= MAX_ROW {
                        break Err(RowError(format!(
                            "record {} is larger than {MAX_ROW} bytes; a quote that is never closed may be why",
                            self.record + 1
                        )));
                    }
                    self.cells.resize(self.cells.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull => {
                    if self.ends.len() >= MAX_COLUMNS {
                        break Err(RowError(format!(
                            "record {} has more than {MAX_COLUMNS} columns",
                            self.record + 1
                        )));
                    }
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                ReadRecordResult::Record => {
                    let result = self.record(dialect, sink);
                    (self.filled, self.ended) = (0, 0);
                    if result.is_err() || self.is_over() {
                        break result;
                    }
                }
                ReadRecordResult::End => break Ok(()),
            }
        };
        self.begun = Some((reader, transcoder, dialect));
        result
    }

    fn record(&mut self, dialect: Dialect, sink: &mut Sink<'_>) -> Result<(), RowError> {
        self.record += 1;
        let ends = self.ends.get(..self.ended).unwrap_or_default();
        let bytes = self.cells.get(..self.filled).unwrap_or_default();
        let found = std::str::from_utf8(bytes).ok().map(|text| Cells { text, ends });
        let Some(cells) = found.filter(|cells| bytes.is_ascii() || cells.each().all(|cell| cell.is_some()))
        else {
            self.is_other = self.declared.encoding.is_none();
            let probably = recognised([bytes]).name();
            return Err(RowError(format!(
                "record {} is not {}; its provider can declare the encoding in the media type, for example `text/csv; \
                 charset={}`",
                self.record,
                dialect.encoding.name(),
                probably.to_ascii_lowercase()
            )));
        };
        if self.columns.is_empty() {
            let names = cells.iter().map(str::trim).collect::<Vec<_>>();
            if self.reading == Reading::AsItComes {
                self.columns = names.into_iter().map(Arc::from).collect();
            } else {
                self.columns = told_apart(&names);
                let changed = cells.iter().zip(&self.columns).filter(|(written, told)| **written != ***told);
                self.renamed =
                    changed.map(|(written, told)| (written.to_owned(), Arc::clone(told))).collect();
            }
            return Ok(());
        }
        let wanted = self.columns.len();
        match self.reading {
            Reading::AsItComes if cells.len() > wanted => {
                return Err(RowError(format!(
                    "record {} has {} cells, but there are {wanted} columns",
                    self.record,
                    cells.len()
                )));
            }
            Reading::Strict
                if cells.len() < wanted || cells.iter().skip(wanted).any(|cell| !cell.is_empty()) =>
            {
                return Err(RowError(format!(
                    "record {} has {} cells, but there are {wanted} columns; with `ragged=fill` what is missing is empty, \
                     and what is too much has columns of its own",
                    self.record,
                    cells.len()
                )));
            }
            Reading::Filled if cells.iter().skip(wanted).any(|cell| !cell.is_empty()) => {
                let all = self
                    .columns
                    .iter()
                    .map(|name| &**name)
                    .chain(std::iter::repeat_n("", cells.len() - wanted));
                self.columns = told_apart(&all.collect::<Vec<_>>());
            }
            Reading::AsItComes | Reading::Strict | Reading::Filled => {}
        }
        sink(cells)
    }
}

/// Names of which each stands once: a second `name` is `name_2`, the third column without a name `column_3`.
fn told_apart(names: &[&str]) -> Vec<Arc<str>> {
    let written: HashSet<&str> = names.iter().copied().collect();
    let mut taken: HashSet<String> = HashSet::new();
    let mut told = Vec::with_capacity(names.len());
    // The number of the next name of a kind: what was taken stays so.
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        let is_free = |wanted: &str| !written.contains(wanted) && !taken.contains(wanted);
        let own = if name.is_empty() {
            let wanted = format!("column_{}", at + 1);
            if is_free(&wanted) { wanted } else { another(&wanted, &mut numbers, is_free) }
        } else if taken.contains(*name) {
            another(name, &mut numbers, is_free)
        } else {
            (*name).to_owned()
        };
        told.push(Arc::from(own.as_str()));
        taken.insert(own);
    }
    told
}

fn another(name: &str, numbers: &mut HashMap<String, usize>, is_free: impl Fn(&str) -> bool) -> String {
    let number = numbers.entry(name.to_owned()).or_insert(2);
    loop {
        let wanted = format!("{name}_{number}");
        *number += 1;
        if is_free(&wanted) {
            return wanted;
        }
    }
}

/// Gives rows for what an agreement demands, as they come.
pub(super) struct CsvDecoder(CsvReader);

impl CsvDecoder {
    pub(super) fn new(declared: Declared) -> Self {
        Self(CsvReader::new(declared, Reading::AsItComes))
    }

    fn with(
        &mut self,
        rows: &mut Vec<Row>,
        read: impl FnOnce(&mut CsvReader, &mut Sink<'_>) -> Result<(), RowError>,
    ) -> Result<(), RowError> {
        let mut records: Vec<Vec<Json>> = Vec::new();
        let result = read(&mut self.0, &mut |cells| {
            records.push(cells.iter().map(|cell| Json::String(cell.to_owned())).collect());
            Ok(())
        });
        let names = self.0.names();
        rows.extend(records.into_iter().map(|cells| {
            let cells = cells.into_iter().chain(std::iter::repeat(Json::Null));
            Row(names.iter().cloned().zip(cells).collect())
        }));
        result
    }
}

impl Decoder for CsvDecoder {
    fn push(&mut self, bytes: &[u8], rows: &mut Vec<Row>) -> Result<(), RowError> {
        self.with(rows, |reader, sink| reader.push(bytes, sink))
    }

    fn finish(&mut self, rows: &mut Vec<Row>) -> Result<(), RowError> {
        self.with(rows, CsvReader::finish)
    }

    fn columns(&self) -> Option<&[Arc<str>]> {
        Some(self.0.names()).filter(|names| !names.is_empty())
    }
}

/// Writes rows as they come.
pub(super) struct CsvEncoder {
    /// Whether every row has the columns of the first.
    is_uniform: bool,
    columns: Option<Vec<Arc<str>>>,
    waiting: Vec<Row>,
    /// Bytes of the rows that wait.
    held: usize,
}

impl CsvEncoder {
    pub(super) const fn new(is_uniform: bool) -> Self {
        Self { is_uniform, columns: None, waiting: Vec::new(), held: 0 }
    }

    fn fix(&mut self, out: &mut Vec<u8>) -> Result<(), RowError> {
        let columns = super::columns::names(&self.waiting);
        write_line(columns.iter(), out);
        self.columns = Some(columns);
        for row in std::mem::take(&mut self.waiting) {
            self.write(&row, out)?;
        }
        Ok(())
    }

    fn write(&self, row: &Row, out: &mut Vec<u8>) -> Result<(), RowError> {
        let columns = self.columns.as_deref().unwrap_or_default();
        let is_same = row.0.len() == columns.len() && row.0.iter().zip(columns).all(|((a, _), b)| a == b);
        if is_same {
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
        let row = if self.is_uniform { row } else { row.flat() };
        if self.columns.is_some() {
            return self.write(&row, out);
        }
        self.held += row.weight();
        self.waiting.push(row);
        let is_enough = self.is_uniform || self.waiting.len() >= LOOK_AHEAD || self.held >= HELD;
        if is_enough { self.fix(out) } else { Ok(()) }
    }

    fn finish(&mut self, columns: Option<&[Arc<str>]>, out: &mut Vec<u8>) -> Result<(), RowError> {
        if self.columns.is_some() {
            return Ok(());
        }
        if self.waiting.is_empty() {
            if let Some(columns) = columns {
                write_line(columns.iter(), out);
            }
            return Ok(());
        }
        self.fix(out)
    }
}

/// Writes a record.
pub(super) fn write_line<T: AsRef<str>>(cells: impl Iterator<Item = T>, out: &mut Vec<u8>) {
    let start = out.len();
    let mut count = 0_usize;
    for cell in cells {
        if count > 0 {
            out.push(b',');
        }
        count += 1;
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
    // A line with nothing on it would be none.
    if count == 1 && out.len() == start {
        out.extend_from_slice(b"\"\"");
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], reading: Reading, step: usize) -> Result<Vec<Vec<String>>, RowError> {
        let mut reader = CsvReader::new(Declared::default(), reading);
        let mut records = Vec::new();
        let mut sink = |cells: Cells<'_>| {
            records.push(cells.iter().map(str::to_owned).collect());
            Ok(())
        };
        for chunk in bytes.chunks(step) {
            reader.push(chunk, &mut sink)?;
        }
        reader.finish(&mut sink)?;
        records.insert(0, reader.names().iter().map(|name| name.to_string()).collect::<Vec<_>>());
        Ok(records)
    }

    #[test]
    fn no_column_is_lost() {
        let read = |text: &str| read(text.as_bytes(), Reading::Strict, 3).unwrap().remove(0);
        assert_eq!(read("id,name,name,value\n"), ["id", "name", "name_2", "value"]);
        assert_eq!(read("a,,a,a_2,\n"), ["a", "column_2", "a_3", "a_2", "column_5"]);
        assert_eq!(read("column_2,,\n"), ["column_2", "column_2_2", "column_3"]);
    }

    #[test]
    fn ragged_records_are_named_or_filled() {
        let text = b"a,b,c\n1,2,3\n4,5\n6,7,8,9\n";
        let error = read(text, Reading::Strict, 5).unwrap_err().0;
        assert!(
            error.starts_with("record 3 has 2 cells, but there are 3 columns")
                && error.contains("ragged=fill")
        );
        let filled = read(text, Reading::Filled, 5).unwrap();
        assert_eq!(filled[0], ["a", "b", "c", "column_4"]);
        assert_eq!(filled[3], ["6", "7", "8", "9"]);
        assert!(read(b"a,b\n1,2,,\n", Reading::Strict, 9).is_ok(), "nothing is too much");
    }

    #[test]
    fn a_quote_that_is_never_closed_is_an_error() {
        for step in [1, 5, 99] {
            let error = read(b"id,name\n1,\"Foo\n2,Bar\n3,Baz\n", Reading::Strict, step).unwrap_err().0;
            assert_eq!(error, "record 2 has a quote that is never closed");
            assert!(read(b"id,name\n1,\"Foo", Reading::AsItComes, step).is_err());
            for text in ["id,name\n1,\"a\nb\"", "id,name\n1,\"a\nb\"\n", "id,name\r1,\"a\nb\"\r\n\n"] {
                assert_eq!(
                    read(text.as_bytes(), Reading::Strict, step).unwrap()[1],
                    ["1", "a\nb"],
                    "{text:?}"
                );
            }
            assert_eq!(read(b"id,name\n1,x", Reading::Strict, step).unwrap()[1], ["1", "x"]);
        }
    }

    #[test]
    fn names_that_are_all_the_same_cost_no_more() {
        let names = "a,".repeat(16_000);
        let begun = std::time::Instant::now();
        let read = read(format!("{names}a\n").as_bytes(), Reading::Strict, usize::MAX).unwrap();
        assert_eq!(read[0][16_000], "a_16001");
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    #[test]
    fn the_dialect_does_not_hang_on_how_bytes_are_cut() {
        let mut text = b"a,b\n".to_vec();
        text.resize(HEAD - 8, b'x');
        text.extend(b",1\ny,2\nM\xfcller,3\n");
        let error = |step: usize| read(&text, Reading::Strict, step).unwrap_err().0;
        assert_eq!(error(usize::MAX), error(1000));
        assert!(error(300_000).starts_with("record 4 is not UTF-8"));
    }

    #[test]
    fn encodings_are_recognised_or_named() {
        let latin = b"Stra\xdfe;L\xe4nge\nM\xfcllerstra\xdfe 5;1,5\n";
        for step in [1, 7, 99] {
            assert_eq!(read(latin, Reading::Strict, step).unwrap()[1], ["Müllerstraße 5", "1,5"]);
        }
        let utf16: Vec<u8> =
            [0xFF, 0xFE].into_iter().chain("a;b\nü;2\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        assert_eq!(read(&utf16, Reading::Strict, 3).unwrap()[1], ["ü", "2"]);
        let big: Vec<u8> = utf16.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
        for bare in [&utf16[2..], &big[2..]] {
            assert_eq!(read(bare, Reading::Strict, 3).unwrap()[1], ["ü", "2"], "no mark tells its order");
        }
        let utf32: Vec<u8> =
            "\u{feff}a;b\nü;2\n".chars().flat_map(|one| u32::from(one).to_le_bytes()).collect();
        let big: Vec<u8> = utf32.chunks(4).flat_map(|one| one.iter().rev().copied()).collect();
        for refused in [&utf32[..], &utf32[4..], &big[..], &big[4..], b"a,b\n1,\0\n"] {
            let error = read(refused, Reading::Strict, 99).unwrap_err().0;
            assert!(error.contains("charset=utf-16le"), "{error}");
        }
        let mut late = b"a,b\n".to_vec();
        late.extend(b"x,1\n".repeat(100_000));
        late.extend(b"M\xfcller,2\n");
        let error = read(&late, Reading::Strict, 70_000).unwrap_err().0;
        assert!(
            error.contains("record 100002 is not UTF-8") && error.contains("charset=windows-1252"),
            "{error}"
        );
    }
}
