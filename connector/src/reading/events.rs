//! Live data of a provider. A connection that breaks off is made again, after the last event that came whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use dataplane::live::{Event, EventStream, Events};
use dataplane::{Signal, StreamError};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, header};
use tokio::sync::watch;

use super::{Answer, Chunks, Unread, Wanted, read, was_cut};
use crate::engine::{Engine, EngineError};

/// How often the provider is tried again without an event in between.
const ATTEMPTS: u32 = 60;
/// Longest wait before it is tried again.
const LONGEST: Duration = Duration::from_secs(5);

/// Follows the live data of a started transfer, after the event `after`.
///
/// # Errors
/// The provider does not let this node read it now.
pub async fn follow(
    engine: &Arc<Engine>,
    transfer: &str,
    query: Vec<(String, String)>,
    after: Option<String>,
) -> Result<(HeaderMap, Events), Unread> {
    let cut = engine.streams().watch(transfer);
    let mut follower = Follower {
        engine: Arc::clone(engine),
        transfer: transfer.to_owned(),
        query,
        last: after,
        chunks: None,
        parser: EventStream::default(),
        ready: VecDeque::new(),
        cut,
    };
    let headers = follower.connect().await?.headers;
    let events = stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        match follower.next().await {
            Ok(event) => Some((Ok(event), Some(follower))),
            Err(reason) => Some((Err(StreamError::Cut(reason)), None)),
        }
    });
    Ok((headers, Box::pin(events)))
}

struct Follower {
    engine: Arc<Engine>,
    transfer: String,
    query: Vec<(String, String)>,
    /// The last event that came whole.
    last: Option<String>,
    chunks: Option<Chunks>,
    parser: EventStream,
    ready: VecDeque<Event>,
    cut: watch::Receiver<Signal>,
}

impl Follower {
    async fn connect(&mut self) -> Result<Answer, Unread> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(Ok(last)) = self.last.as_ref().map(HeaderValue::try_from) {
            headers.insert("last-event-id", last);
        }
        let wanted = Wanted { query: self.query.clone(), headers, ..Wanted::default() };
        let mut answer = read(&self.engine, &self.transfer, wanted).await?;
        self.parser = EventStream::default();
        self.chunks = Some(std::mem::replace(&mut answer.body, Box::pin(stream::empty())));
        Ok(answer)
    }

    async fn next(&mut self) -> Result<Event, String> {
        let mut attempt: u32 = 0;
        loop {
            if let Some(event) = self.ready.pop_front() {
                if let Event::Data { id: Some(id), .. } = &event {
                    self.last = Some(id.clone());
                }
                return Ok(event);
            }
            let Some(chunks) = &mut self.chunks else {
                // While the provider restarts, this node waits; what ends the transfer is heard meanwhile.
                let pause = Duration::from_millis(100).saturating_mul(1 << attempt.min(6)).min(LONGEST);
                if let Ok(reason) = tokio::time::timeout(pause, was_cut(&mut self.cut)).await {
                    return Err(reason);
                }
                attempt += 1;
                match self.connect().await {
                    Ok(_) if self.last.is_some() => {}
                    // Nobody knows what came meanwhile.
                    Ok(_) => return Ok(Event::Lost { count: None }),
                    Err(error) if attempt >= ATTEMPTS => return Err(error.to_string()),
                    Err(Unread::Engine(EngineError::Peer(_))) => {}
                    Err(Unread::Refused { status, .. }) if status.is_server_error() => {}
                    Err(error) => return Err(error.to_string()),
                }
                continue;
            };
            match chunks.next().await {
                Some(Ok(chunk)) => {
                    attempt = 0;
                    self.parser.push(&chunk, &mut self.ready)?;
                }
                Some(Err(_)) | None => {
                    if let Signal::Cut(reason) = self.cut.borrow().clone() {
                        return Err(reason);
                    }
                    self.chunks = None;
                }
            }
        }
    }
}
