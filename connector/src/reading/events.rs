//! Live data of a provider. A connection that breaks off is made again, after the last event that came whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataplane::live::{Event, Events, MAX_EVENT};
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
        parser: Parser::default(),
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
    parser: Parser,
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
        self.parser = Parser::default();
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

/// Reads server-sent events (WHATWG HTML, section 9.2) as far as providers write them.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    id: Option<String>,
    kind: String,
    data: Vec<u8>,
    any: bool,
}

impl Parser {
    fn push(&mut self, bytes: &[u8], events: &mut VecDeque<Event>) -> Result<(), String> {
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    self.line(&line, events);
                }
                b'\r' => {}
                byte => self.line.push(*byte),
            }
            if self.line.len() + self.data.len() > 2 * MAX_EVENT {
                return Err(format!("an event is larger than {} bytes", 2 * MAX_EVENT));
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], events: &mut VecDeque<Event>) {
        if line.is_empty() {
            if std::mem::take(&mut self.any) {
                let payload = Bytes::from(std::mem::take(&mut self.data));
                events.push_back(if std::mem::take(&mut self.kind) == "lost" {
                    let told: serde_json::Value = serde_json::from_slice(&payload).unwrap_or_default();
                    Event::Lost { count: told.get("lost").and_then(serde_json::Value::as_u64) }
                } else {
                    Event::Data { id: self.id.clone(), payload }
                });
            }
            self.data.clear();
            return;
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            None => (line, &[][..]),
            Some(at) => {
                let (field, value) = line.split_at(at);
                let value = value.get(1..).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
        };
        match field {
            b"data" => {
                if self.any {
                    self.data.push(b'\n');
                }
                self.any = true;
                self.data.extend_from_slice(value);
            }
            b"event" => self.kind = String::from_utf8_lossy(value).into_owned(),
            b"id" => self.id = Some(String::from_utf8_lossy(value).into_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_in_whatever_pieces_they_come() {
        let text = b": still here\n\nid: a:1\ndata: {\"x\":1}\n\nevent: lost\ndata: {\"lost\":3}\n\nid: a:2\ndata: one\ndata: two\n\ndata: half";
        for step in [1, 3, text.len()] {
            let (mut parser, mut events) = (Parser::default(), VecDeque::new());
            for chunk in text.chunks(step) {
                parser.push(chunk, &mut events).unwrap();
            }
            let data = |id: &str, payload: &'static str| Event::Data {
                id: Some(id.to_owned()),
                payload: Bytes::from_static(payload.as_bytes()),
            };
            let expected =
                [data("a:1", "{\"x\":1}"), Event::Lost { count: Some(3) }, data("a:2", "one\ntwo")];
            assert_eq!(Vec::from(events), expected);
        }
    }

    #[test]
    fn an_event_without_end_is_not_kept() {
        let (mut parser, mut events) = (Parser::default(), VecDeque::new());
        assert!(parser.push(&vec![b'x'; 3 * MAX_EVENT], &mut events).is_err());
    }
}
