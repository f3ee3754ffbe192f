//! The guard of a running body: cuts it when what permitted it does no more, and counts what passes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::error::{SourceError, StreamError};
use crate::grant::Grant;
use crate::source::{Body, DataRequest, DataResponse, Source};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metered {
    /// Bytes of the body handed on.
    pub bytes: u64,
    /// Why it was cut, if it was.
    pub cut: Option<String>,
    /// Whether the source was read to its end.
    pub complete: bool,
}

/// Reads `request` from `source` under `grant`. `signal` says when to stop and when to ask again; `ended` is called once,
/// when the body is done, cut, or dropped.
///
/// # Errors
/// The source cannot give it.
pub async fn serve(
    grant: Grant,
    source: &dyn Source,
    request: DataRequest,
    signal: watch::Receiver<Signal>,
    clock: Arc<dyn Clock>,
    ended: impl FnOnce(Metered) + Send + 'static,
) -> Result<DataResponse, SourceError> {
    let mut response = source.open(request).await?;
    response.body = Guarded {
        inner: response.body,
        stop: Box::pin(until_stopped(grant, signal, clock)),
        bytes: 0,
        complete: false,
        cut: None,
        ended: Some(Box::new(ended)),
    }
    .boxed_unsync();
    Ok(response)
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
    tokio::time::sleep_until(tokio::time::Instant::now() + nap).await;
}

struct Guarded {
    inner: Body,
    stop: Pin<Box<dyn Future<Output = String> + Send>>,
    bytes: u64,
    complete: bool,
    cut: Option<String>,
    ended: Option<Box<dyn FnOnce(Metered) + Send>>,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if self.cut.is_some() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(reason) = self.stop.as_mut().poll(cx) {
            self.cut = Some(reason.clone());
            return Poll::Ready(Some(Err(StreamError::Cut(reason))));
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.bytes = self.bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
                self.complete = self.inner.is_end_stream();
            }
            Poll::Ready(None) => self.complete = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
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
            let complete = self.complete || self.inner.is_end_stream();
            ended(Metered { bytes: self.bytes, cut: self.cut.take(), complete });
        }
    }
}
