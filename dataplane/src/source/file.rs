//! A local file: Range, HEAD, validators (RFC 9110, sections 13 and 14), read in constant memory.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use policy_engine::media;
use tokio::task::JoinHandle;

use super::{DataRequest, DataResponse, Opening, Places, Source};
use crate::error::{SourceError, StreamError};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// A file on this machine.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    media_type: String,
    places: Places,
}

impl FileSource {
    /// The file at `path`, said to be of `media_type`, if it lies where files may lie.
    #[must_use]
    pub const fn new(path: PathBuf, media_type: String, places: Places) -> Self {
        Self { path, media_type, places }
    }
}

impl Source for FileSource {
    fn open(&self, request: DataRequest) -> Opening<'_> {
        Box::pin(async move {
            request.expect_read()?;
            request.expect_plain()?;
            let (path, places) = (self.path.clone(), self.places.clone());
            let opened = tokio::task::spawn_blocking(move || {
                let file = places.open(&path)?;
                let meta = file.metadata()?;
                Ok((file, meta.len(), meta.modified()?))
            });
            let joined = opened.await.map_err(std::io::Error::other).and_then(std::convert::identity);
            let (file, length, modified) = joined.map_err(SourceError::Read)?;
            Ok(answer(file, length, modified, &self.media_type, &request))
        })
    }
}

/// What a file is, by the ending of its name.
#[must_use]
pub fn media_type_of(path: &std::path::Path) -> &'static str {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    media::by_ending(ending).map_or(media::UNKNOWN, media::Media::name)
}

fn answer(
    file: File,
    length: u64,
    modified: SystemTime,
    media_type: &str,
    request: &DataRequest,
) -> DataResponse {
    let age = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let etag = format!("\"{:x}-{:x}\"", age.as_nanos(), length);
    let mut headers = HeaderMap::new();
    let mut set = |name, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(ACCEPT_RANGES, "bytes".to_owned());
    set(ETAG, etag.clone());
    set(LAST_MODIFIED, httpdate::fmt_http_date(modified));
    set(CACHE_CONTROL, "private, no-cache".to_owned());
    set(CONTENT_TYPE, media_type.to_owned());
    let nothing = |status, headers| DataResponse { status, headers, body: super::nothing() };

    if is_fresh(&request.headers, &etag, modified) {
        return nothing(StatusCode::NOT_MODIFIED, headers);
    }
    let range = match wanted_range(&request.method, &request.headers, &etag, Some(modified), length) {
        Wanted::Whole => None,
        Wanted::Part(from, to) => Some((from, to)),
        Wanted::Unsatisfiable => {
            if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
                headers.insert(CONTENT_RANGE, value);
            }
            return nothing(StatusCode::RANGE_NOT_SATISFIABLE, headers);
        }
    };
    let (status, start, count) = match range {
        None => (StatusCode::OK, 0, length),
        Some((from, to)) => {
            if let Ok(value) = HeaderValue::try_from(format!("bytes {from}-{to}/{length}")) {
                headers.insert(CONTENT_RANGE, value);
            }
            (StatusCode::PARTIAL_CONTENT, from, to - from + 1)
        }
    };
    headers.insert(CONTENT_LENGTH, count.into());
    let body = if request.method == Method::HEAD {
        super::nothing()
    } else {
        FileBody::new(file, start, count).boxed_unsync()
    };
    DataResponse { status, headers, body }
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Seconds, as HTTP dates have them.
fn not_after(modified: SystemTime, date: &str) -> bool {
    let seconds =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    httpdate::parse_http_date(date).is_ok_and(|date| seconds(modified) <= seconds(date))
}

fn is_fresh(headers: &HeaderMap, etag: &str, modified: SystemTime) -> bool {
    if let Some(known) = text(headers, IF_NONE_MATCH) {
        return known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == etag);
    }
    text(headers, IF_MODIFIED_SINCE).is_some_and(|date| not_after(modified, date))
}

/// Which part of data is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// From the first to the last byte, both included.
    Part(u64, u64),
    /// None that there is.
    Unsatisfiable,
}

/// One range of a GET is honoured; several, what is not understood, and what other methods ask get the whole (RFC 9110,
/// section 14.2). `modified` is `None` where there is no time that a condition could name.
pub fn wanted_range(
    method: &Method,
    headers: &HeaderMap,
    etag: &str,
    modified: Option<SystemTime>,
    length: u64,
) -> Wanted {
    if method != Method::GET {
        return Wanted::Whole;
    }
    let Some(ranges) = text(headers, RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    if let Some(condition) = text(headers, IF_RANGE)
        && (condition != etag || etag.starts_with("W/"))
        && !modified.is_some_and(|modified| not_after(modified, condition))
    {
        return Wanted::Whole;
    }
    let Some((from, to)) = ranges.trim().split_once('-') else { return Wanted::Whole };
    if ranges.contains(',') {
        return Wanted::Whole;
    }
    match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to && from < length => Wanted::Part(from, to.min(length - 1)),
        (Ok(from), Ok(to)) if from > to => Wanted::Whole,
        (Ok(from), Err(_)) if to.is_empty() && from < length => Wanted::Part(from, length - 1),
        (Err(_), Ok(last)) if from.is_empty() && last > 0 && length > 0 => {
            Wanted::Part(length.saturating_sub(last), length - 1)
        }
        (Ok(_), _) | (Err(_), Ok(_)) if from.is_empty() || to.is_empty() || to.parse::<u64>().is_ok() => {
            Wanted::Unsatisfiable
        }
        _ => Wanted::Whole,
    }
}

/// A part of a file, read chunk by chunk: the next one while the reader takes the one before. No thread waits for the reader.
struct FileBody {
    /// The file between two reads.
    file: Option<File>,
    /// The read that is going on.
    reading: Option<JoinHandle<std::io::Result<(File, Bytes)>>>,
    /// Where the next read begins.
    at: u64,
    /// Bytes that no read was begun for.
    unread: u64,
    /// Bytes that the reader has not got.
    left: u64,
}

impl FileBody {
    const fn new(file: File, start: u64, count: u64) -> Self {
        Self { file: Some(file), reading: None, at: start, unread: count, left: count }
    }

    /// Begins to read the next chunk, if there is one and nothing is being read.
    fn read_on(&mut self) {
        if self.unread == 0 {
            return;
        }
        let Some(mut file) = self.file.take() else { return };
        let (at, want) = (self.at, usize::try_from(self.unread).unwrap_or(usize::MAX).min(CHUNK));
        self.reading = Some(tokio::task::spawn_blocking(move || {
            file.seek(SeekFrom::Start(at))?;
            let mut chunk = BytesMut::zeroed(want);
            file.read_exact(&mut chunk).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => {
                    std::io::Error::new(error.kind(), "the file became shorter while it was read")
                }
                _ => error,
            })?;
            Ok((file, chunk.freeze()))
        }));
        let want = u64::try_from(want).unwrap_or(self.unread);
        self.at = self.at.saturating_add(want);
        self.unread -= want;
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = &mut *self;
        if this.reading.is_none() {
            this.read_on();
        }
        let Some(reading) = &mut this.reading else { return Poll::Ready(None) };
        let joined = std::task::ready!(Pin::new(reading).poll(cx));
        this.reading = None;
        match joined.map_err(std::io::Error::other).and_then(std::convert::identity) {
            Ok((file, bytes)) => {
                this.file = Some(file);
                this.left = this.left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                this.read_on();
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Err(error) => Poll::Ready(Some(Err(StreamError::Source(Box::new(error))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_part_is_one_of_what_the_reader_has() {
        let wanted = |etag: &str, modified: Option<SystemTime>, condition: &str| {
            let pairs = [(RANGE, "bytes=0-1"), (IF_RANGE, condition)];
            let headers =
                pairs.into_iter().map(|(name, value)| (name, HeaderValue::try_from(value).unwrap()));
            wanted_range(&Method::GET, &headers.collect(), etag, modified, 10)
        };
        let (part, date) = (Wanted::Part(0, 1), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wanted("\"a\"", None, "\"a\""), part);
        assert_eq!(wanted("\"a\"", None, "\"b\""), Wanted::Whole);
        assert_eq!(wanted("\"a\"", None, date), Wanted::Whole, "no time is known");
        assert_eq!(wanted("\"a\"", httpdate::parse_http_date(date).ok(), date), part);
        assert_eq!(wanted("W/\"a\"", None, "W/\"a\""), Wanted::Whole, "a weak tag is none of bytes");
    }

    #[test]
    fn readers_that_stall_hold_no_thread() {
        // Of the pool for what blocks there is one thread.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let rows: Vec<u8> = (0..3 * CHUNK + 7).map(|at| u8::try_from(at % 251).unwrap()).collect();
        file.write_all(&rows).unwrap();
        let whole = || {
            let opened = File::open(file.path()).unwrap();
            FileBody::new(opened, 0, u64::try_from(rows.len()).unwrap())
        };
        runtime.block_on(async {
            let mut stalled = Vec::new();
            for _ in 0..8 {
                let mut one = whole();
                one.frame().await.unwrap().unwrap();
                stalled.push(one);
            }
            assert_eq!(whole().collect().await.unwrap().to_bytes(), rows);
            for one in stalled {
                assert_eq!(one.collect().await.unwrap().to_bytes(), rows.get(CHUNK..).unwrap());
            }
            let mut shorter = FileBody::new(File::open(file.path()).unwrap(), 0, u64::MAX);
            for _ in 0..3 {
                shorter.frame().await.unwrap().unwrap();
            }
            let error = shorter.frame().await.unwrap().unwrap_err();
            assert!(matches!(error, StreamError::Source(_)), "it became shorter while it was read");
        });
    }
}
