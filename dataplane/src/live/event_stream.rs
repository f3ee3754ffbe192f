//! Server-sent events as they are read.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::Value as Json;

use super::{Event, MAX_EVENT};

/// Reads server-sent events (WHATWG HTML, section 9.2) as far as providers write them.
#[derive(Debug, Default)]
pub struct EventStream {
    line: Vec<u8>,
    id: Option<String>,
    kind: String,
    data: Vec<u8>,
    any: bool,
}

impl EventStream {
    /// Takes the next bytes, and adds the events that are whole by them.
    ///
    /// # Errors
    /// An event is too large to be one.
    pub fn push(&mut self, bytes: &[u8], events: &mut VecDeque<Event>) -> Result<(), String> {
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
                    let told: Json = serde_json::from_slice(&payload).unwrap_or_default();
                    Event::Lost { count: told.get("lost").and_then(Json::as_u64) }
                } else {
                    Event::Data { id: self.id.clone(), payload }
                });
            }
            self.data.clear();
            self.kind.clear();
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
            let (mut stream, mut events) = (EventStream::default(), VecDeque::new());
            for chunk in text.chunks(step) {
                stream.push(chunk, &mut events).unwrap();
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
        let (mut stream, mut events) = (EventStream::default(), VecDeque::new());
        assert!(stream.push(&vec![b'x'; 3 * MAX_EVENT], &mut events).is_err());
    }
}
