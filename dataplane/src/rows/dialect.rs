//! How a table of texts is written: its encoding, its separator, and what stands before its names.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8};

use super::RowError;

/// So many bytes tell the dialect.
pub(super) const HEAD: usize = 256 * 1024;
/// Records that are looked at.
const LOOKED_AT: usize = 64;
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// What a media type says of a table's dialect (RFC 4180, section 3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) encoding: Option<&'static Encoding>,
    pub(crate) separator: Option<u8>,
}

impl Declared {
    /// # Errors
    /// It names an encoding or a separator that is none.
    pub(crate) fn of(media_type: &str) -> Result<Self, RowError> {
        let mut parts = media_type.split(';');
        let mut declared = Self::default();
        if parts
            .next()
            .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/tab-separated-values"))
        {
            declared.separator = Some(b'\t');
        }
        // A separator in quotes may be the semicolon that parts parameters.
        let rest = media_type.split_once(';').map_or("", |(_, rest)| rest).replace("\";\"", "semicolon");
        for parameter in rest.split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "charset" => {
                    let found = Encoding::for_label(value.as_bytes());
                    declared.encoding = Some(found.ok_or_else(|| {
                        RowError(format!("its media type names the encoding `{value}`, which is unknown"))
                    })?);
                }
                "delimiter" => declared.separator = Some(separator(value)?),
                _ => {}
            }
        }
        Ok(declared)
    }
}

fn separator(value: &str) -> Result<u8, RowError> {
    Ok(match value {
        "tab" | "\\t" | "%09" | "\t" => b'\t',
        "semicolon" | "%3B" | "%3b" => b';',
        "comma" | "%2C" | "%2c" => b',',
        "pipe" | "%7C" | "%7c" => b'|',
        other => match other.as_bytes() {
            [one]
                if one.is_ascii() && !one.is_ascii_alphanumeric() && !matches!(one, b'"' | b'\n' | b'\r') =>
            {
                *one
            }
            _ => {
                return Err(RowError(format!(
                    "its media type names the delimiter `{value}`; it is one character, or `tab`, `semicolon`, `comma`, `pipe`"
                )));
            }
        },
    })
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) encoding: &'static Encoding,
    /// Whether the encoding was recognised, and nobody declared it.
    pub(crate) is_recognised: bool,
    pub(crate) separator: u8,
    /// Lines before the names.
    pub(crate) comments: usize,
}

impl Dialect {
    /// Finds out by the first bytes, in UTF-8 or as they came; `is_all` says that no more come. Tells whether it was
    /// recognised.
    ///
    /// # Errors
    /// They are no text in any encoding that is known.
    pub(super) fn encoding_of(
        declared: Declared,
        head: &[u8],
        is_all: bool,
    ) -> Result<(&'static Encoding, bool), RowError> {
        if head.starts_with(b"\xFF\xFE\0\0") || head.starts_with(b"\0\0\xFE\xFF") {
            return Err(no_text());
        }
        if let Some((encoding, _)) = Encoding::for_bom(head) {
            return Ok((encoding, false));
        }
        if let Some(encoding) = declared.encoding {
            return Ok((encoding, false));
        }
        if head.contains(&0) {
            return sixteen_bits(head).map(|encoding| (encoding, true)).ok_or_else(no_text);
        }
        let is_utf8 = match std::str::from_utf8(head) {
            Ok(_) => true,
            Err(error) => error.error_len().is_none() && !is_all,
        };
        Ok(if is_utf8 { (UTF_8, false) } else { (recognised([head]), true) })
    }

    /// By the beginning of the text.
    pub(super) fn of(
        declared: Declared,
        encoding: &'static Encoding,
        is_recognised: bool,
        text: &[u8],
    ) -> Self {
        let mut dialect =
            Self { encoding, is_recognised, separator: declared.separator.unwrap_or(b','), comments: 0 };
        let lines = || {
            let mut rest = Some(text);
            std::iter::from_fn(move || {
                let (line, behind) = cut(rest?);
                rest = behind;
                Some(line)
            })
        };
        // Spreadsheets say so of their separator.
        if let Some([b's', b'e', b'p', b'=', one]) = lines().next().map(<[u8]>::trim_ascii_end)
            && SEPARATORS.contains(one)
        {
            (dialect.separator, dialect.comments) = (*one, 1);
            return dialect;
        }
        let is_blank = |line: &[u8]| line.trim_ascii().is_empty();
        let is_comment = |line: &[u8]| line.starts_with(b"#");
        let is_commented = lines().next().is_some_and(is_comment);
        let comments = lines().take_while(|line| is_comment(line) || is_commented && is_blank(line)).count();
        let candidates: Vec<u8> = declared.separator.map_or_else(|| SEPARATORS.to_vec(), |one| vec![one]);
        if let Some(next) = lines().nth(comments).filter(|_| comments > 0) {
            let last = lines().take(comments).enumerate().filter(|(_, line)| is_comment(line)).last();
            let (at, last) = last.unwrap_or_default();
            let cells = |line: &[u8], separator: u8| line.iter().filter(|byte| **byte == separator).count();
            // Names may begin like a comment: then they are as many as the cells below, and no space is before them.
            let are_names = last.get(1).is_some_and(|byte| !byte.is_ascii_whitespace())
                && candidates
                    .iter()
                    .any(|one| cells(last, *one) > 0 && cells(last, *one) == cells(next, *one));
            dialect.comments = if are_names { at } else { comments };
        }
        if declared.separator.is_none() {
            let table = skipped(text, dialect.comments);
            let best = candidates.into_iter().filter_map(|one| Some((score(table, one)?, one)));
            // Of equals the first.
            if let Some((_, best)) = best.rev().max_by_key(|(score, _)| *score) {
                dialect.separator = best;
            }
        }
        dialect
    }
}

/// What comes after so many lines.
pub(super) fn skipped(text: &[u8], lines: usize) -> &[u8] {
    (0..lines).fold(text, |rest, _| cut(rest).1.unwrap_or_default())
}

/// The first line, and what comes behind its end, if it has one.
fn cut(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(end) = memchr::memchr2(b'\n', b'\r', text) else { return (text, None) };
    let (line, rest) = text.split_at(end);
    let rest = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..));
    (line, rest)
}

/// UTF-16 without a mark of its order: of letters that ASCII has too, every second byte is zero.
fn sixteen_bits(head: &[u8]) -> Option<&'static Encoding> {
    let zeros = |first: usize| head.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let is_enough = |most: usize, least: usize| most > head.len() / 4 && least < most / 8 + 1;
    if is_enough(odd, even) {
        return Some(encoding_rs::UTF_16LE);
    }
    is_enough(even, odd).then_some(encoding_rs::UTF_16BE)
}

fn no_text() -> RowError {
    RowError(
        "it holds bytes that are zero, so that it is no text in UTF-8 or another known encoding; its provider can declare the \
         encoding in the media type, for example `text/csv; charset=utf-16le`"
            .to_owned(),
    )
}

/// How well a separator makes a table: whether nearly all records have as many cells as the first, and how many these are.
fn score(table: &[u8], separator: u8) -> Option<(bool, usize)> {
    let mut reader = csv_core::ReaderBuilder::new().delimiter(separator).build();
    let (mut cells, mut ends) = (vec![0; 64 * 1024], vec![0; 4096]);
    let (mut counts, mut count, mut rest) = (Vec::new(), 0, table);
    while counts.len() < LOOKED_AT {
        let (state, read, _, ended) = reader.read_record(rest, &mut cells, &mut ends);
        rest = rest.get(read..).unwrap_or_default();
        count += ended;
        match state {
            csv_core::ReadRecordResult::Record => counts.push(std::mem::take(&mut count)),
            csv_core::ReadRecordResult::InputEmpty | csv_core::ReadRecordResult::End => break,
            csv_core::ReadRecordResult::OutputFull | csv_core::ReadRecordResult::OutputEndsFull => {}
        }
    }
    if counts.is_empty() {
        counts.push(count + 1);
    }
    let first = *counts.first().filter(|first| **first > 1)?;
    let alike = counts.iter().filter(|count| **count == first).count();
    Some((alike * 10 >= counts.len() * 9, first))
}

/// The encoding that bytes are probably in which are no UTF-8.
#[must_use]
pub fn recognised(chunks: impl IntoIterator<Item: AsRef<[u8]>>) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    for chunk in chunks {
        detector.feed(chunk.as_ref(), false);
    }
    detector.feed(&[], true);
    detector.guess(None, Utf8Detection::Deny)
}

/// Makes UTF-8 of bytes in another encoding, piece by piece.
pub(super) struct Transcoder {
    decoder: encoding_rs::Decoder,
    name: &'static str,
}

impl std::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Transcoder").field(&self.name).finish()
    }
}

impl Transcoder {
    pub(super) fn new(encoding: &'static Encoding) -> Self {
        Self { decoder: encoding.new_decoder_with_bom_removal(), name: encoding.name() }
    }

    /// # Errors
    /// The bytes are not in that encoding.
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        is_last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        loop {
            let needed = self.decoder.max_utf8_buffer_length_without_replacement(bytes.len().min(64 * 1024));
            let start = out.len();
            out.resize(start + needed.unwrap_or(256 * 1024).max(16), 0);
            let room = out.get_mut(start..).unwrap_or_default();
            let (state, read, written) =
                self.decoder.decode_to_utf8_without_replacement(bytes, room, is_last);
            out.truncate(start + written);
            bytes = bytes.get(read..).unwrap_or_default();
            match state {
                encoding_rs::DecoderResult::InputEmpty => return Ok(()),
                encoding_rs::DecoderResult::OutputFull => {}
                encoding_rs::DecoderResult::Malformed(..) => {
                    return Err(RowError(format!("it holds bytes that are not {}", self.name)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn separator_of(text: &str) -> (char, usize) {
        let dialect = Dialect::of(Declared::default(), UTF_8, false, text.as_bytes());
        (char::from(dialect.separator), dialect.comments)
    }

    #[test]
    fn separators_and_comments_are_found() {
        for (text, found) in [
            ("a,b\n1,2\n", (',', 0)),
            ("a;b\n1,5;2,5\n", (';', 0)),
            ("a\tb\n1\t2\n", ('\t', 0)),
            ("a|b|c\n1|2|3\n", ('|', 0)),
            ("a\n1\n", (',', 0)),
            ("# by the city\n# v1\na,b\n1,2\n", (',', 2)),
            ("#id,name\n1,x\n", (',', 0)),
            ("# by; the city\n#id;name\n1;x\n", (';', 1)),
            ("sep=;\na;b\n", (';', 1)),
            ("# Source: city, 2024\n\nid,name\n1,x\n", (',', 2)),
            ("# produced by city, 2024\na,b\n1,2\n", (',', 1)),
            ("# by the city\r\r# v1\ra;b\r1;2\r", (';', 3)),
            ("# by the city\r\na;b\r\n1;2\r\n", (';', 1)),
            ("# v1\n#id,name\n\n1,x\n", (',', 1)),
            ("name;\"x,y,z\"\n1;2\n", (';', 0)),
            ("only;names", (';', 0)),
        ] {
            assert_eq!(separator_of(text), found, "{text:?}");
        }
    }

    #[test]
    fn media_types_declare() {
        let declared = Declared::of("text/csv; charset=ISO-8859-1; delimiter=\";\"; header=present").unwrap();
        assert_eq!(declared.encoding.unwrap().name(), "windows-1252");
        assert_eq!(declared.separator, Some(b';'));
        assert_eq!(Declared::of("text/csv;delimiter=tab").unwrap().separator, Some(b'\t'));
        assert_eq!(Declared::of("text/tab-separated-values").unwrap().separator, Some(b'\t'));
        assert!(Declared::of("text/csv; charset=klingon").unwrap_err().0.contains("klingon"));
        assert!(Declared::of("text/csv; delimiter=ab").is_err());
    }
}
