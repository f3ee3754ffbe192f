//! The guard of a running body: cuts it when what permitted it does no more, and counts what passes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::{SourceError, StreamError};
use crate::fair::Ticket;
use crate::grant::Grant;
use crate::live::{self, Framing};
use crate::rows::{Counted, Form, Pipe, Shape, pipe};
use crate::source::{Body, DataRequest, DataResponse, Source, nothing};

/// Longest wait before the time is looked at again.
const LONGEST_NAP: Duration = Duration::from_secs(600);

/// Tells the time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// What a running read is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// It must stop, with the reason for its reader.
    Cut(String),
    /// It runs; sent again, that something changed which the policy must be asked about.
    Run,
}

/// What passed, when a body ends for whatever reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metered {
    /// Bytes of the body handed on.
    pub bytes: u64,
    /// Rows or events handed on, where they were looked at or are lines.
    pub rows: u64,
    /// Rows or events that the agreement left out, or brought together in groups.
    pub left_out: u64,
    /// From the request to the first byte.
    pub first_byte: Option<Duration>,
    /// Why it was cut, if it was.
    pub cut: Option<String>,
    /// Why the source failed on the way, if it did.
    pub failed: Option<String>,
    /// Whether the source was read to its end.
    pub complete: bool,
}

/// Live data instead of what is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// How events are written.
    pub framing: Framing,
    /// Only what came after the event with this id.
    pub after: Option<String>,
}

/// What a reader wants.
#[derive(Debug)]
pub struct Reading {
    /// What is asked for.
    pub request: DataRequest,
    /// Set where it is followed live.
    pub follow: Option<Follow>,
    /// Its place among those who read.
    pub ticket: Option<Ticket>,
}

impl From<DataRequest> for Reading {
    fn from(request: DataRequest) -> Self {
        Self { request, follow: None, ticket: None }
    }
}

/// Header that says what was done to the data under the agreement.
pub const APPLIED: HeaderName = HeaderName::from_static("concordat-applied");

/// Header that carries the checksum of the whole data (RFC 9530).
pub const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// Header that asks for it, with a HEAD; answering it reads all the data, and is a read like any other.
pub const WANT_REPR_DIGEST: HeaderName = HeaderName::from_static("want-repr-digest");

/// Reads from `source` under `grant`, with what the agreement demands done to the data. `signal` says when to stop and when
/// to ask again; `ended` is called once, when the body is done, cut, or dropped.
///
/// # Errors
/// The source cannot give it, or not in such a way that the agreement is kept.
pub async fn serve(
    grant: Grant,
    source: &dyn Source,
    reading: impl Into<Reading>,
    signal: watch::Receiver<Signal>,
    clock: Arc<dyn Clock>,
    ended: impl FnOnce(Metered) + Send + 'static,
) -> Result<DataResponse, SourceError> {
    let began = Instant::now();
    let reading = reading.into();
    let counted = Arc::new(Counted::default());
    let as_it_is = reading.follow.is_none() && grant.obligations().is_empty();
    let whole = if as_it_is { whole_for_digest(&reading.request) } else { None };
    let mut response = match reading.follow {
        None => opened(&grant, source, reading.request, &counted).await?,
        Some(follow) => followed(&grant, source, follow, &counted).await?,
    };
    if !grant.obligations().is_empty() {
        let words = grant.obligations().words().join("; ");
        let told = words.chars().flat_map(|one| {
            let plain = (' '..='~').contains(&one);
            let escaped = (!plain).then(|| one.escape_unicode()).into_iter().flatten();
            plain.then_some(one).into_iter().chain(escaped)
        });
        if let Ok(value) = HeaderValue::try_from(told.collect::<String>()) {
            response.headers.insert(APPLIED, value);
        }
    }
    // A checksum is made of all the data: as a read of it, judged, paced and counted to its end.
    let digested = match whole.filter(|_| response.status == StatusCode::OK) {
        None => None,
        Some(whole) => Some(std::mem::replace(&mut response.body, source.open(whole).await?.body)),
    };
    let guarded = Guarded {
        lines: as_it_is.then(|| Lines::of(&response)).flatten(),
        inner: response.body,
        stop: Box::pin(until_stopped(grant, signal, clock)),
        metered: Metered::default(),
        counted,
        began,
        ticket: reading.ticket,
        pause: None,
        ended: Some(Box::new(ended)),
    }
    .boxed_unsync();
    match digested {
        None => response.body = guarded,
        Some(nothing) => {
            response.body = nothing;
            // Where it breaks off there is none; what was read until then counts.
            if let Ok(digest) = digest(guarded).await {
                response.headers.insert(REPR_DIGEST, digest);
            }
        }
    }
    Ok(response)
}

/// The request for all the data that a checksum is asked of.
fn whole_for_digest(request: &DataRequest) -> Option<DataRequest> {
    let asked = request.method == http::Method::HEAD && request.headers.contains_key(WANT_REPR_DIGEST);
    asked.then(|| DataRequest { method: http::Method::GET, headers: HeaderMap::new(), ..request.clone() })
}

/// Headers that mean something only for data as the source has it.
const OF_THE_SOURCE: [HeaderName; 7] =
    [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, ACCEPT_ENCODING];
/// Those of an answer.
const OF_THE_ANSWER: [HeaderName; 5] = [CONTENT_LENGTH, CONTENT_RANGE, ACCEPT_RANGES, ETAG, LAST_MODIFIED];

async fn opened(
    grant: &Grant,
    source: &dyn Source,
    mut request: DataRequest,
    counted: &Arc<Counted>,
) -> Result<DataResponse, SourceError> {
    let obligations = grant.obligations();
    if obligations.is_empty() {
        return source.open(request).await;
    }
    for name in OF_THE_SOURCE {
        request.headers.remove(name);
    }
    let is_list = request.path.is_empty() && source.is_folder();
    let asked = asked(&request);
    let mut response = source.open(request).await?;
    if is_list || !response.status.is_success() {
        return Ok(response);
    }
    if response.headers.contains_key(CONTENT_ENCODING) {
        return Err(SourceError::Obligation(
            "the source packs its data although it was not asked to".to_owned(),
        ));
    }
    let media_type =
        response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(shape) = Shape::of(media_type) else {
        return Err(SourceError::Obligation(format!(
            "`{media_type}` has no rows and columns that are understood (CSV, JSON, JSON lines, GeoJSON, NGSI-LD)"
        )));
    };
    let shape = shape.map_err(|error| SourceError::Obligation(error.to_string()))?;
    let form = shape.form();
    let mut stage = obligations.stage(form).map_err(|error| SourceError::Obligation(error.to_string()))?;
    stage.asks(&asked);
    for name in OF_THE_ANSWER {
        response.headers.remove(name);
    }
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    let laid = Pipe { from: shape, to: form, stage: Some(stage) };
    // Nothing is piped where there is nothing: a HEAD has no rows.
    if !response.body.is_end_stream() {
        response.body = pipe(response.body, laid, Arc::clone(counted));
    }
    Ok(response)
}

/// What a request asks for, one way whatever the order of its parameters.
fn asked(request: &DataRequest) -> String {
    let mut query = request.query.clone();
    query.sort();
    format!("{:?} {query:?} {:?}", request.path, request.body)
}

/// SHA-256 of a whole body, as RFC 9530 writes it.
async fn digest(mut body: Body) -> Result<HeaderValue, SourceError> {
    let mut digest = Sha256::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| SourceError::Failed(error.to_string()))?;
        if let Some(bytes) = frame.data_ref() {
            digest.update(bytes);
        }
    }
    let text = format!("sha-256=:{}:", STANDARD.encode(digest.finalize()));
    HeaderValue::try_from(text).map_err(|error| SourceError::Failed(error.to_string()))
}

async fn followed(
    grant: &Grant,
    source: &dyn Source,
    follow: Follow,
    counted: &Arc<Counted>,
) -> Result<DataResponse, SourceError> {
    let obligations = grant.obligations();
    let stage = match obligations.is_empty() {
        true => None,
        false => {
            let stage = obligations.stage(Form::Json);
            Some(stage.map_err(|error| SourceError::Obligation(error.to_string()))?)
        }
    };
    let events = source.subscribe(follow.after).await?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(follow.framing.media_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let body = live::body(events, follow.framing, stage, Arc::clone(counted));
    Ok(DataResponse { status: StatusCode::OK, headers, body })
}

/// Ends with the reason as soon as the grant holds no more.
async fn until_stopped(
    mut grant: Grant,
    mut signal: watch::Receiver<Signal>,
    clock: Arc<dyn Clock>,
) -> String {
    // Something may have been sent since the receiver was made, which was before the grant.
    let mut told_again = signal.has_changed().unwrap_or_default();
    loop {
        let told = signal.borrow_and_update().clone();
        match told {
            Signal::Cut(reason) => return reason,
            Signal::Run if told_again => match grant.renew(clock.now()) {
                Ok(renewed) => grant = renewed,
                Err(denied) => return denied.to_string(),
            },
            Signal::Run => {}
        }
        told_again = false;
        tokio::select! {
            changed = signal.changed() => match changed {
                Ok(()) => told_again = true,
                Err(_) => return "the node is stopping".to_owned(),
            },
            () = reached(grant.ask_again(), clock.as_ref()) => match grant.renew(clock.now()) {
                Ok(renewed) => grant = renewed,
                Err(denied) => return denied.to_string(),
            },
        }
    }
}

/// Ends when it is `at`, or ten minutes later at most, so that a clock that was set is noticed; never where there is
/// nothing to wait for.
pub async fn reached(at: Option<Timestamp>, clock: &dyn Clock) {
    let Some(at) = at else { return std::future::pending().await };
    let left = at.as_nanosecond().saturating_sub(clock.now().as_nanosecond()).max(0);
    let nap = Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)).min(LONGEST_NAP);
    tokio::time::sleep_until(Instant::now() + nap).await;
}

/// An error with its causes, in one line.
fn told(error: &StreamError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        text.push_str(": ");
        text.push_str(&one.to_string());
        cause = one.source();
    }
    text
}

/// Rows of data that passes as it is, where a row is a line.
#[derive(Debug, Clone, Copy)]
struct Lines {
    ended: u64,
    /// Of names.
    header: bool,
    /// Whether the last line has no end.
    open: bool,
}

impl Lines {
    fn of(response: &DataResponse) -> Option<Self> {
        let text = |name: HeaderName| response.headers.get(name).and_then(|value| value.to_str().ok());
        let form = Form::of(text(CONTENT_TYPE)?)?;
        let is_plain = text(CONTENT_ENCODING).is_none();
        let is_whole = response.status == StatusCode::OK;
        let is_lines = matches!(form, Form::Csv | Form::JsonLines);
        (is_plain && is_lines).then_some(Self {
            ended: 0,
            header: form == Form::Csv && is_whole,
            open: false,
        })
    }

    fn take(&mut self, bytes: &[u8]) {
        let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
        self.ended = self.ended.saturating_add(u64::try_from(ends).unwrap_or(u64::MAX));
        if let Some(last) = bytes.last() {
            self.open = *last != b'\n';
        }
    }

    fn rows(self) -> u64 {
        (self.ended + u64::from(self.open)).saturating_sub(u64::from(self.header))
    }
}

/// Closes a source of which nothing more is wanted once whoever was ready before has had a turn: where many are cut at the same
/// time, all readers are told before connections to sources are closed.
fn close_later(source: Body) {
    tokio::spawn(async move {
        tokio::task::yield_now().await;
        drop(source);
    });
}

struct Guarded {
    lines: Option<Lines>,
    inner: Body,
    stop: Pin<Box<dyn Future<Output = String> + Send>>,
    metered: Metered,
    counted: Arc<Counted>,
    began: Instant,
    ticket: Option<Ticket>,
    /// Until its share allows more.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    ended: Option<Box<dyn FnOnce(Metered) + Send>>,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = &mut *self;
        if this.metered.cut.is_some() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(reason) = this.stop.as_mut().poll(cx) {
            this.metered.cut = Some(reason.clone());
            close_later(std::mem::replace(&mut this.inner, nothing()));
            return Poll::Ready(Some(Err(StreamError::Cut(reason))));
        }
        if let Some(pause) = &mut this.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                if let (Some(lines), Some(bytes)) = (&mut this.lines, frame.data_ref()) {
                    lines.take(bytes);
                }
                this.metered.first_byte.get_or_insert_with(|| this.began.elapsed());
                this.metered.bytes =
                    this.metered.bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
                this.metered.complete = this.inner.is_end_stream();
                let next = this.ticket.as_ref().and_then(|ticket| ticket.spend(length));
                this.pause = next.map(|at| Box::pin(tokio::time::sleep_until(at)));
            }
            Poll::Ready(None) => this.metered.complete = true,
            Poll::Ready(Some(Err(error))) => this.metered.failed = Some(told(error)),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            let mut metered = std::mem::take(&mut self.metered);
            metered.complete |= metered.cut.is_none() && self.inner.is_end_stream();
            metered.rows = self.lines.map_or_else(|| self.counted.handed_on(), Lines::rows);
            metered.left_out = self.counted.read().saturating_sub(self.counted.handed_on());
            ended(metered);
        }
    }
}
