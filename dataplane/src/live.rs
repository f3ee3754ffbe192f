//! Live data: events as they happen, framed for whoever follows them.
//!
//! What is promised depends on the source. Events with an id can be taken up again after it: nothing is lost or doubled as
//! long as the source still has them. Events without an id come at most once. Where some were lost, the follower is told,
//! and how many where that is known. A reader that is too slow loses events of its own and slows nobody else.

mod event_stream;
mod ring;

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio_util::task::AbortOnDropHandle;

pub use self::event_stream::EventStream;
pub use self::ring::{Ring, WAITING};
use crate::error::StreamError;
use crate::obligations::{Stage, Told};
use crate::rows::{Counted, RowError, exact};
use crate::source::Body;

/// Largest event, in bytes.
pub const MAX_EVENT: usize = 256 * 1024;
/// After so much silence a sign of life is sent.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a live source gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something happened.
    Data {
        /// Under which it can be taken up again; it has no line break.
        id: Option<String>,
        /// What.
        payload: Bytes,
    },
    /// Something happened that is not known any more.
    Lost {
        /// How many events, where that is known.
        count: Option<u64>,
    },
}

/// Events in their order.
pub type Events = Pin<Box<dyn Stream<Item = Result<Event, StreamError>> + Send>>;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    EventStream,
    /// A line for each event; ids are not told.
    Lines,
    /// Each frame of the body is one event, for a web socket.
    Messages,
}

impl Framing {
    /// What it is on the wire.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::EventStream => "text/event-stream",
            Self::Lines | Self::Messages => "application/x-ndjson",
        }
    }

    /// An event as it stands on the wire.
    #[must_use]
    pub fn write(self, event: &Event) -> Bytes {
        let mut out = Vec::new();
        match (self, event) {
            (Self::EventStream, Event::Data { id, payload }) => {
                if let Some(id) = id {
                    out.extend_from_slice(format!("id: {id}\n").as_bytes());
                }
                for line in payload.split(|byte| *byte == b'\n') {
                    out.extend_from_slice(b"data: ");
                    out.extend(line.iter().filter(|byte| **byte != b'\r'));
                    out.push(b'\n');
                }
                out.push(b'\n');
            }
            (Self::EventStream, Event::Lost { count }) => {
                let told = serde_json::json!({"lost": count});
                out.extend_from_slice(format!("event: lost\ndata: {told}\n\n").as_bytes());
            }
            // Whoever reads lines alone cannot tell data from remarks.
            (Self::Lines | Self::Messages, Event::Lost { .. }) => {}
            (Self::Lines, Event::Data { payload, .. }) => {
                out.extend(
                    payload.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }),
                );
                out.push(b'\n');
            }
            (Self::Messages, Event::Data { payload, .. }) => return payload.clone(),
        }
        out.into()
    }

    const fn sign_of_life(self) -> &'static [u8] {
        match self {
            Self::EventStream => b": still here\n\n",
            Self::Lines => b"\n",
            Self::Messages => b"",
        }
    }
}

/// Events as a body; `stage` is what the agreement demands of each.
#[must_use]
pub fn body(events: Events, framing: Framing, stage: Option<Stage>, counted: Arc<Counted>) -> Body {
    Live {
        events,
        framing,
        stage,
        counted,
        heartbeat: Box::pin(tokio::time::sleep_until(tokio::time::Instant::now() + HEARTBEAT)),
        begun: false,
        waiting: VecDeque::new(),
    }
    .boxed_unsync()
}

struct Live {
    events: Events,
    framing: Framing,
    stage: Option<Stage>,
    counted: Arc<Counted>,
    heartbeat: Pin<Box<tokio::time::Sleep>>,
    begun: bool,
    /// What rows of the events that came became, with the events' ids, until it is told.
    waiting: VecDeque<(Option<String>, Told)>,
}

impl Live {
    fn take(&mut self, event: Event) -> Result<Vec<Event>, RowError> {
        let Event::Data { id, payload } = event else { return Ok(vec![event]) };
        let Some(stage) = &mut self.stage else {
            self.counted.count(1, 1);
            return Ok(vec![Event::Data { id, payload }]);
        };
        let rows = exact::rows(&payload, &stage.exact())
            .map_err(|error| RowError(format!("an event cannot be read as its agreement asks: {error}")))?;
        self.counted.count(rows.len(), 0);
        for row in rows {
            self.waiting.push_back((id.clone(), stage.apply_live(row)?));
        }
        Ok(Vec::new())
    }

    /// What became of rows, once it is known what may be told of groups.
    fn waited(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Event>, RowError>> {
        let mut events = Vec::new();
        while let Some((id, told)) = self.waiting.front_mut() {
            let id = id.clone();
            let allowed = match told {
                Told::Now(_) => None,
                Told::Later(pending) => match pending.releasing.as_mut().poll(cx) {
                    // What is known already goes out first.
                    Poll::Pending if !events.is_empty() => return Poll::Ready(Ok(events)),
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(RowError(error))),
                    Poll::Ready(Ok(allowed)) => Some(allowed),
                },
            };
            let rows = match (self.waiting.pop_front(), allowed, &self.stage) {
                (Some((_, Told::Now(rows))), ..) => rows,
                (Some((_, Told::Later(pending))), Some(allowed), Some(stage)) => {
                    stage.released(pending, allowed)
                }
                _ => Vec::new(),
            };
            self.counted.count(0, rows.len());
            events.extend(rows.into_iter().map(|row| {
                let payload = serde_json::to_vec(&row.into_json()).unwrap_or_default();
                Event::Data { id: id.clone(), payload: payload.into() }
            }));
        }
        Poll::Ready(Ok(events))
    }

    /// Events as one frame; empty where they are none.
    fn written(&self, events: &[Event]) -> Bytes {
        let mut frames = events.iter().map(|event| self.framing.write(event));
        let first = frames.next().unwrap_or_default();
        match frames.next() {
            None => first,
            Some(second) => {
                let rest = std::iter::once(second).chain(frames);
                let mut all = first.to_vec();
                for one in rest {
                    if self.framing == Framing::Messages {
                        all.push(b'\n');
                    }
                    all.extend_from_slice(&one);
                }
                all.into()
            }
        }
    }
}

impl http_body::Body for Live {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = &mut *self;
        if !this.begun {
            // The head of the answer goes out at once, although nothing may happen for long.
            this.begun = true;
            let life = this.framing.sign_of_life();
            if !life.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(life)))));
            }
        }
        loop {
            if !this.waiting.is_empty() {
                match this.waited(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Some(Err(StreamError::Source(Box::new(error)))));
                    }
                    Poll::Ready(Ok(events)) => {
                        let bytes = this.written(&events);
                        if !bytes.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(bytes))));
                        }
                    }
                }
            }
            match this.events.poll_next_unpin(cx) {
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(event))) => {
                    this.heartbeat.as_mut().reset(tokio::time::Instant::now() + HEARTBEAT);
                    match this.take(event) {
                        Err(error) => return Poll::Ready(Some(Err(StreamError::Source(Box::new(error))))),
                        Ok(events) => {
                            let bytes = this.written(&events);
                            if !bytes.is_empty() {
                                return Poll::Ready(Some(Ok(Frame::data(bytes))));
                            }
                        }
                    }
                }
                Poll::Pending => {
                    if this.heartbeat.poll_unpin(cx).is_pending() {
                        return Poll::Pending;
                    }
                    this.heartbeat.as_mut().reset(tokio::time::Instant::now() + HEARTBEAT);
                    let life = this.framing.sign_of_life();
                    if !life.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(life)))));
                    }
                }
            }
        }
    }
}

/// One connection to a live source for all who follow it.
#[derive(Debug)]
struct Hub {
    events: Ring,
    /// The connection ends with its last follower.
    _connection: AbortOnDropHandle<()>,
}

/// The connections that are followed now, by what they are connected to.
#[derive(Debug, Default, Clone)]
pub struct Hubs(Arc<Mutex<HashMap<String, Weak<Hub>>>>);

impl Hubs {
    /// Follows what `key` names; `connect` is run where nobody does yet. It sends events until it is dropped.
    #[must_use]
    pub fn follow<F>(&self, key: &str, connect: impl FnOnce(Ring) -> F) -> Events
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut hubs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hubs.retain(|_, hub| hub.strong_count() > 0);
        let hub = hubs.get(key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let events = Ring::default();
            let connection = AbortOnDropHandle::new(tokio::spawn(connect(events.clone())));
            let hub = Arc::new(Hub { events, _connection: connection });
            hubs.insert(key.to_owned(), Arc::downgrade(&hub));
            hub
        });
        drop(hubs);
        let follower = hub.events.follow();
        Box::pin(stream::unfold((follower, hub), |(mut follower, hub)| async move {
            let event = follower.next().await;
            Some((Ok(event), (follower, hub)))
        }))
    }
}

/// Waits before a source is tried again: longer each time, half a minute at most.
pub(crate) async fn back_off(attempt: u32) {
    let pause = Duration::from_millis(200).saturating_mul(1 << attempt.min(8)).min(Duration::from_secs(30));
    tokio::time::sleep_until(tokio::time::Instant::now() + pause).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_loses_its_own_and_slows_nobody() {
        let hubs = Hubs::default();
        let (go, mut wait) = tokio::sync::watch::channel(false);
        let connect = |events: Ring| async move {
            let _ = wait.wait_for(|go| *go).await;
            for n in 0..WAITING + 10 {
                let payload = Bytes::from(n.to_string());
                events.send(Event::Data { id: None, payload });
                tokio::task::yield_now().await;
            }
            std::future::pending::<()>().await;
        };
        let mut quick = hubs.follow("topic", connect);
        let mut slow = hubs.follow("topic", |_| async { panic!("there is one connection for both") });
        go.send_replace(true);
        for n in 0..WAITING + 10 {
            let expected = Event::Data { id: None, payload: Bytes::from(n.to_string()) };
            assert_eq!(quick.next().await.unwrap().unwrap(), expected);
        }
        assert_eq!(slow.next().await.unwrap().unwrap(), Event::Lost { count: Some(10) });
        let expected = Event::Data { id: None, payload: Bytes::from("10") };
        assert_eq!(slow.next().await.unwrap().unwrap(), expected, "the rest it has");
        drop((quick, slow));
        let mut again = hubs.follow("topic", |events| async move {
            events.send(Event::Lost { count: None });
            std::future::pending::<()>().await;
        });
        assert_eq!(
            again.next().await.unwrap().unwrap(),
            Event::Lost { count: None },
            "a new connection was made"
        );
    }

    /// Permits everything, and keeps in memory what was told.
    #[derive(Debug, Default)]
    struct Everybody(Arc<Mutex<Known>>);

    type Known = HashMap<(i64, Vec<String>), crate::released::Released>;

    impl crate::Persons for Everybody {
        fn permits(&self, subject: &str) -> Option<crate::Permitted> {
            Some(crate::Permitted { person: [*subject.as_bytes().first()?; 16], hidden: Arc::from([]) })
        }

        fn permitted_elsewhere(&self, subject: &str) -> Option<crate::Permitted> {
            self.permits(subject)
        }

        fn handed_on(&self, _: &crate::Permitted) {}
    }

    impl crate::released::Releases for Everybody {
        fn salt(&self) -> [u8; 32] {
            [7; 32]
        }

        fn most_members(&self) -> usize {
            10
        }

        fn release(&self, groups: Vec<crate::released::Group>) -> crate::released::Releasing {
            let known = Arc::clone(&self.0);
            Box::pin(async move {
                tokio::task::yield_now().await;
                let mut known = known.lock().unwrap();
                Ok(groups
                    .iter()
                    .map(|group| known.entry(group.name.clone()).or_default().tell(group, 0, 16).0)
                    .collect())
            })
        }
    }

    /// What a follower of these events gets to see under terms of groups of two.
    async fn followed(everybody: &Arc<Everybody>, events: &[&str]) -> String {
        let of_persons = crate::OfPersons {
            subject: Arc::from("who"),
            attributes: Arc::from([]),
            persons: Arc::<Everybody>::clone(everybody),
            releases: Some(Arc::<Everybody>::clone(everybody)),
        };
        let transforms = vec![
            policy_engine::Transform::Aggregate {
                time: "at".into(),
                interval: jiff::SignedDuration::from_hours(1),
            },
            policy_engine::Transform::MinimumGroup(2),
        ];
        let obligations = crate::Obligations::new(transforms, crate::PseudonymKey::default());
        let stage = obligations.with_persons(of_persons).stage(crate::rows::Form::Json).unwrap();
        let events: Vec<_> = events
            .iter()
            .map(|event| Ok(Event::Data { id: None, payload: Bytes::from((*event).to_owned()) }))
            .collect();
        let body = body(stream::iter(events).boxed(), Framing::Messages, Some(stage), Arc::default());
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn groups_of_live_data_do_not_tell_who_came_either() {
        let everybody = Arc::new(Everybody::default());
        let event = |who: &str, hour: u8| format!(r#"{{"who":"{who}","at":"2026-01-01T0{hour}:00:00Z"}}"#);
        let (a, b, c, next) = (event("a", 0), event("b", 0), event("c", 0), event("a", 1));
        let first = followed(&everybody, &[&a, &b, &next]).await;
        assert!(first.contains("2026-01-01T00:00:00Z") && first.contains(r#""rows":2"#), "{first}");
        assert_eq!(followed(&everybody, &[&a, &b, &c, &next]).await, first, "whoever came");
        assert_eq!(followed(&everybody, &[&a, &c, &next]).await, "", "whoever went");
    }
}
