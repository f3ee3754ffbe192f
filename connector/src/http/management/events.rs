//! Every audit event as it happens: server-sent events, resumable by `Last-Event-ID`; and the log with its chain.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::sse::{Event as Sse, KeepAlive, Sse as SseResponse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::{Management, Shared, answer, malformed, respond};
use crate::engine::{Engine, EngineError};
use crate::ids::hex;
use crate::tables::{self, Entry, Event, prefix};

/// Events read from the store at once.
const PAGE: usize = 200;
/// Most entries of one answer.
const MAX_PAGE: usize = 1000;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/events", get(follow))
        .route("/events/log", get(log))
        .route("/audit/entries", get(chain))
        .route("/audit/seals", get(seals))
}

#[derive(Debug, Deserialize)]
struct After {
    /// Id of the last event that was seen; without it, only what comes.
    #[serde(default)]
    after: Option<String>,
    /// For the log: most events returned.
    #[serde(default)]
    limit: Option<usize>,
}

struct Cursor {
    engine: Arc<Engine>,
    commits: watch::Receiver<u64>,
    last: String,
    ready: std::vec::IntoIter<Entry>,
}

async fn follow(State(management): Shared, Query(query): Query<After>, headers: HeaderMap) -> Response {
    let engine = Arc::clone(&management.faces.engine);
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let commits = engine.commits();
    let last = match header.or(query.after) {
        Some(last) if is_id(&last) => last,
        Some(_) => return respond(Err(malformed("the event id is not one of this node"))),
        // Commits are numbered; everything up to the newest is in the past.
        None => match newest(&engine, &commits) {
            Ok(last) => last,
            Err(error) => return respond(Err(error)),
        },
    };
    let cursor = Cursor { engine, commits, last, ready: Vec::new().into_iter() };
    let events = stream::unfold(cursor, |mut cursor| async move {
        let (id, event) = cursor.next().await?;
        let data = serde_json::to_string(&event).unwrap_or_default();
        Some((Ok::<_, Infallible>(Sse::default().id(id).event(event.kind).data(data)), cursor))
    });
    SseResponse::new(events).keep_alive(KeepAlive::default()).into_response()
}

impl Cursor {
    /// The next event; `None` when the store failed or the node stops.
    async fn next(&mut self) -> Option<(String, Event)> {
        loop {
            if let Some(entry) = self.ready.next() {
                let id = entry.key.strip_prefix(prefix::EVENT)?.to_owned();
                self.last.clone_from(&id);
                return Some((id, entry.event));
            }
            // Marking before reading: a commit in between wakes the wait below at once.
            self.commits.borrow_and_update();
            let after = tables::key(prefix::EVENT, &self.last);
            match tables::events(self.engine.store(), Some(&after), PAGE) {
                Ok(page) if page.is_empty() => self.commits.changed().await.ok()?,
                Ok(page) => self.ready = page.into_iter(),
                Err(error) => {
                    tracing::error!(%error, "the event stream ends: the store failed");
                    return None;
                }
            }
        }
    }
}

/// The id after which everything is new.
fn newest(engine: &Engine, commits: &watch::Receiver<u64>) -> Result<String, EngineError> {
    let latest = *commits.borrow();
    let after = format!("{}{latest:020}-9999", prefix::EVENT);
    // Before the first commit of this run the counter does not know the past; then the store does.
    let mut last = after.clone();
    if latest == 0 {
        let mut cursor = tables::key(prefix::EVENT, "");
        loop {
            let page = engine.store().scan(prefix::EVENT, Some(&cursor), 1000)?;
            let Some((key, _)) = page.last() else { break };
            cursor.clone_from(key);
        }
        last = cursor;
    }
    Ok(last.strip_prefix(prefix::EVENT).unwrap_or_default().to_owned())
}

fn is_id(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|c| c.is_ascii_digit() || c == '-')
}

/// A page of the log.
fn page(management: &Management, query: After) -> Result<Vec<Entry>, EngineError> {
    let after = query.after.unwrap_or_default();
    if !is_id(&after) {
        return Err(malformed("the event id is not one of this node"));
    }
    let limit = query.limit.unwrap_or(PAGE).min(MAX_PAGE);
    let key = tables::key(prefix::EVENT, &after);
    Ok(tables::events(management.faces.engine.store(), Some(&key), limit)?)
}

fn id(entry: &Entry) -> &str {
    entry.key.strip_prefix(prefix::EVENT).unwrap_or_default()
}

async fn log(State(management): Shared, Query(query): Query<After>) -> Response {
    let shown = |entry: &Entry| {
        let mut shown = serde_json::to_value(&entry.event).unwrap_or_default();
        if let Some(map) = shown.as_object_mut() {
            map.insert("id".to_owned(), json!(id(entry)));
        }
        shown
    };
    answer(page(&management, query).map(|page| page.iter().map(shown).collect::<Vec<_>>()))
}

async fn chain(State(management): Shared, Query(query): Query<After>) -> Response {
    let shown = |entry: &Entry| json!({"id": id(entry), "link": hex(&entry.link), "event": entry.event});
    answer(page(&management, query).map(|page| page.iter().map(shown).collect::<Vec<_>>()))
}

#[derive(Debug, Deserialize)]
struct Seals {
    /// The number of entries of the last seal that was seen.
    #[serde(default)]
    after: u64,
    #[serde(default)]
    limit: Option<usize>,
}

async fn seals(State(management): Shared, Query(query): Query<Seals>) -> Response {
    let limit = query.limit.unwrap_or(PAGE).min(MAX_PAGE);
    answer(management.faces.engine.audit_seals(query.after, limit))
}
