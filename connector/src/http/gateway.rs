//! The consumer's gateway: a stable address for each shared dataset that this node uses. Whoever reads it needs a key of
//! this node and knows nothing of data spaces.
//!
//! | address | what it gives |
//! |---|---|
//! | `/d` | what is used, as a list |
//! | `/d/NAME` | the data as its provider has it: GET, HEAD, Range, entity tags |
//! | `/d/NAME.csv` and so on | the data in another form: GET, HEAD, Range, entity tags |
//! | `/d/NAME/live` | live data: server-sent events, lines (`?live=lines`), or a web socket |
//! | `/d/NAME/PATH` | what is below it, for folders and upstreams |

mod caller;
mod page;
mod spool;
mod views;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, RawQuery, State};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use dataplane::live::{self, Framing};
use dataplane::rows::{Counted, View};
use dataplane::{DataResponse, Metered};
use futures_util::TryStreamExt as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::{Value, json};
use tokio::time::Instant;

pub(super) use self::page::Previews;
pub(super) use self::views::Views;
use super::common::formed;
use super::data::{self, Asked};
use super::management::{Management, refused, respond};
use super::packing::packed;
use super::{held, pages};
use crate::clock;
use crate::engine::{EngineError, Holder, InUse};
use crate::reading::{self, Unread, Wanted};
use crate::tasks::Held;

/// Parameters that are this node's, not the provider's.
const OWN: [&str; 5] = ["key", "limit", "ragged", "types", "view"];

/// Everything that programs and people on this machine read.
pub(super) fn routes(management: &Arc<Management>) -> Router<Arc<Management>> {
    let data = Router::new()
        .route("/d", get(list))
        .route("/d/{name}", any(whole))
        .route("/d/{name}/live", get(follow))
        .route("/d/{name}/{*path}", any(below));
    let data = packed(data)
        .layer(middleware::map_response(own_form))
        .layer(middleware::from_fn_with_state(Arc::clone(management), caller::admit))
        .layer(middleware::map_response(pages::handed_on_here));
    data.merge(page::routes(management))
}

/// What fits no handler, in the form of the data's errors.
async fn own_form(response: Response) -> Response {
    formed(response, |status, reason| data::error_answer(status, "request", &reason)).await
}

/// One dataset in use, as JSON.
pub(super) fn describe(one: &InUse) -> Value {
    let usage = &one.usage;
    json!({
        "name": one.used.name, "dataset": one.used.dataset, "provider": one.used.provider,
        "distribution": one.used.distribution, "agreement": one.used.agreement, "transfer": one.used.transfer,
        "since": one.used.since, "inForce": one.agreement.is_some(), "until": one.until(),
        "address": format!("/d/{}", one.used.name),
        "requests": usage.requests, "bytes": usage.bytes, "rows": usage.rows, "lastRead": usage.last,
        "meanFirstByteSeconds": mean_latency(usage),
    })
}

/// Seconds to the first byte, where there were any.
pub(super) fn mean_latency(usage: &crate::tables::Usage) -> Option<f64> {
    let count = i32::try_from(usage.answered).ok().filter(|count| *count > 0)?;
    Some((usage.latency / count).as_secs_f64())
}

async fn list(State(management): State<Arc<Management>>) -> Response {
    match management.faces.engine.all_in_use() {
        Ok(all) => Json(all.iter().map(describe).collect::<Vec<_>>()).into_response(),
        Err(error) => respond(Err(error)),
    }
}

/// What a reader of the gateway asks.
#[derive(Clone)]
struct Request {
    name: String,
    path: String,
    view: Option<View>,
    /// Every cell of a table is a text.
    as_text: bool,
    /// A table may have records that are shorter or longer than others.
    is_filled: bool,
    limit: Option<u64>,
    wanted: Wanted,
}

impl Request {
    /// # Errors
    /// A parameter cannot be used; says which.
    fn read(
        name: String,
        path: String,
        query: Option<&str>,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Self, EngineError> {
        let malformed = |text: String| {
            EngineError::Refused(protocol::Refusal::new(protocol::RefusalKind::Malformed, text))
        };
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        let own =
            |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let view = own("view").map(|ending| {
            let all = View::ALL.map(View::ending).join(", ");
            View::by_ending(ending).ok_or_else(|| malformed(format!("`view={ending}` is none of {all}")))
        });
        let limit = own("limit").map(|text| {
            text.parse().map_err(|_| malformed(format!("`limit={text}` is not a count of rows")))
        });
        let (view, limit) = (view.transpose()?, limit.transpose()?);
        let chosen = |name: &str, choice: &str| match own(name) {
            None => Ok(false),
            Some(chosen) if chosen == choice => Ok(true),
            Some(other) => {
                Err(malformed(format!("`{name}={other}` is not known; it may be `{name}={choice}`")))
            }
        };
        let (as_text, is_filled) = (chosen("types", "text")?, chosen("ragged", "fill")?);
        let query = pairs.into_iter().filter(|(name, _)| !OWN.contains(&name.as_str())).collect();
        let wanted = Wanted { method, path: path.clone(), query, headers, body, is_probe: false };
        Ok(Self { name, path, view, as_text, is_filled, limit, wanted })
    }
}

async fn whole(
    State(management): State<Arc<Management>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (plain, ending) = match name.rsplit_once('.') {
        Some((plain, ending)) => (plain.to_owned(), Some(ending.to_owned())),
        None => (name, None),
    };
    let ending = match ending.as_deref().map(|ending| (ending, View::by_ending(ending))) {
        None => None,
        Some((_, Some(view))) => Some(view),
        Some((ending, None)) => {
            let all = View::ALL.map(View::ending).join(", ");
            let reason = format!("data is shown as {all}, not as `{ending}`");
            return data::error_answer(StatusCode::NOT_FOUND, "view", &reason);
        }
    };
    let body = match super::read_body(body, 1024 * 1024).await {
        Ok(body) => body.into(),
        Err(error) => return data::error_answer(StatusCode::BAD_REQUEST, "body", &error.to_string()),
    };
    match Request::read(plain, String::new(), query.as_deref(), method, headers, body) {
        Ok(request) => answer(&management, Request { view: ending.or(request.view), ..request }).await,
        Err(error) => respond(Err(error)),
    }
}

async fn below(
    State(management): State<Arc<Management>>,
    Path((name, _)): Path<(String, String)>,
    uri: Uri,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = match super::read_body(body, 1024 * 1024).await {
        Ok(body) => body.into(),
        Err(error) => return data::error_answer(StatusCode::BAD_REQUEST, "body", &error.to_string()),
    };
    match Request::read(name, super::below(&uri, 2), query.as_deref(), method, headers, body) {
        Ok(request) => answer(&management, request).await,
        Err(error) => respond(Err(error)),
    }
}

async fn answer(management: &Arc<Management>, mut request: Request) -> Response {
    let result = match request.view.take() {
        Some(view) => views::read(management, request, view).await,
        None => raw(management, &request).await.map_err(Arc::new),
    };
    match result {
        Ok(response) => data::streamed(response),
        Err(why) => match &*why {
            Refused::Unread(unread) => refused(unread),
            other => data::error_answer(other.status(), "view", &other.to_string()),
        },
    }
}

/// Why the gateway gives nothing.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Unread(#[from] Unread),
    /// The data has no rows.
    #[error("{0}")]
    View(String),
    /// Its rows are not what they were said to be.
    #[error("{0}")]
    Rows(String),
    /// It ended before it was over.
    #[error("the data broke off: {0}")]
    Broke(String),
    /// This node could not keep it.
    #[error("this node cannot keep what the view is made of: {0}")]
    Storage(String),
}

impl Refused {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Unread(_) | Self::Broke(_) => StatusCode::BAD_GATEWAY,
            Self::View(_) => StatusCode::NOT_ACCEPTABLE,
            Self::Rows(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Storage(_) => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

/// What the provider gives.
struct Fetched {
    status: StatusCode,
    headers: HeaderMap,
    body: dataplane::Body,
    /// Rows that are counted as read.
    counted: Arc<Counted>,
}

impl Fetched {
    fn tag(&self) -> Option<String> {
        self.headers.get(header::ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }
}

/// Reads what is used as a name, as its provider has it.
async fn raw(management: &Arc<Management>, request: &Request) -> Result<DataResponse, Refused> {
    let fetched = fetch(management, request, request.wanted.method.clone()).await?;
    Ok(DataResponse { status: fetched.status, headers: fetched.headers, body: fetched.body })
}

async fn fetch(management: &Arc<Management>, request: &Request, method: Method) -> Result<Fetched, Refused> {
    let began = Instant::now();
    let engine = &management.faces.engine;
    let (used, transfer) = engine.transfer_for_use(&request.name).await.map_err(Unread::from)?;
    let head = method == Method::HEAD;
    let mut wanted = Wanted { method, ..request.wanted.clone() };
    wanted.query.extend(used.distribution.map(|one| ("distribution".to_owned(), one)));
    let digests = wanted.headers.contains_key(dataplane::WANT_REPR_DIGEST);
    let answer = match reading::read(engine, &transfer, wanted.clone()).await {
        // The token was made anew; the transfer tells the newest by now.
        Err(Unread::Refused { status: StatusCode::UNAUTHORIZED, .. }) => {
            let (_, transfer) = engine.transfer_for_use(&request.name).await.map_err(Unread::from)?;
            reading::read(engine, &transfer, wanted).await?
        }
        answer => answer?,
    };
    let counted = Arc::new(Counted::default());
    let body = StreamBody::new(
        answer
            .body
            .map_ok(http_body::Frame::data)
            .map_err(|error| dataplane::StreamError::Cut(error.to_string())),
    );
    let metering = Metering {
        inner: body.boxed_unsync(),
        began,
        metered: Metered::default(),
        counted: Arc::clone(&counted),
        // Asking for the head alone is no use of the data; for its checksum, it is.
        ended: (!head || digests).then(|| (Arc::clone(management), request.name.clone(), clock::now())),
        held: management.faces.engine.tasks().hold(),
    };
    Ok(Fetched { status: answer.status, headers: answer.headers, body: metering.boxed_unsync(), counted })
}

async fn follow(
    State(management): State<Arc<Management>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    Extension(holder): Extension<Holder>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let asked = Asked::read(query.as_deref());
    let began = Instant::now();
    let engine = &management.faces.engine;
    let (used, transfer) = match engine.transfer_for_use(&name).await {
        Ok(found) => found,
        Err(error) => return respond(Err(error)),
    };
    let upgrade = upgrade.ok();
    let wanted = asked.follow(&headers, true);
    let framing = match &upgrade {
        Some(_) => Framing::Messages,
        None => wanted.as_ref().map_or(Framing::EventStream, |follow| follow.framing),
    };
    let after = wanted.and_then(|follow| follow.after);
    let mut further: Vec<_> =
        asked.further.into_iter().filter(|(name, _)| !OWN.contains(&name.as_str())).collect();
    further.extend(used.distribution.map(|one| ("distribution".to_owned(), one)));
    let (told, events) = match reading::follow(engine, &transfer, further, after).await {
        Ok(found) => found,
        Err(unread) => return refused(&unread),
    };
    let counted = Arc::new(Counted::default());
    let body = live::body(events, framing, None, Arc::clone(&counted));
    let metering = Metering {
        inner: body,
        began,
        metered: Metered::default(),
        counted,
        ended: Some((Arc::clone(&management), name, clock::now())),
        held: management.faces.engine.tasks().hold(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(framing.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(applied) = told.get(dataplane::APPLIED) {
        headers.insert(dataplane::APPLIED, applied.clone());
    }
    let response = DataResponse { status: StatusCode::OK, headers, body: metering.boxed_unsync() };
    match upgrade {
        Some(upgrade) => {
            let response = DataResponse { body: held::data(engine, &holder, response.body), ..response };
            upgrade.on_upgrade(|socket| data::messages(socket, response))
        }
        None => data::streamed(response),
    }
}

/// Counts what passes, on this side.
struct Metering {
    inner: dataplane::Body,
    began: Instant,
    metered: Metered,
    counted: Arc<Counted>,
    ended: Option<(Arc<Management>, String, jiff::Timestamp)>,
    held: Held,
}

impl http_body::Body for Metering {
    type Data = Bytes;
    type Error = dataplane::StreamError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let polled = std::pin::Pin::new(&mut this.inner).poll_frame(cx);
        if let std::task::Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Bytes::len);
            this.metered.first_byte.get_or_insert_with(|| this.began.elapsed());
            this.metered.bytes = this.metered.bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Metering {
    fn drop(&mut self) {
        let Some((management, name, at)) = self.ended.take() else { return };
        let mut metered = std::mem::take(&mut self.metered);
        metered.rows = self.counted.handed_on();
        self.held.carry_through(async move { management.faces.engine.count_use(&name, at, metered).await });
    }
}
