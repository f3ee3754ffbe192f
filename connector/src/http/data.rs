//! The data plane's endpoint: a bearer token of one transfer, then the gate, then bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, RawQuery, State};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use dataplane::live::Framing;
use dataplane::{DataRequest, DataResponse, Follow, Metered, Reading, SourceError};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use serde_json::json;

use super::packing::packed;
use super::problem::json_answer;
use super::{Faces, pages};
use crate::clock::{self, SystemClock};
use crate::engine::{Denial, EngineError, Sent};
use crate::reading::READ;
use crate::tables::Event;

/// Largest body that readers may send to an upstream, in bytes.
const MAX_ASKED: usize = 1024 * 1024;

/// Header that carries a request ticket (MIM4 2021, 5.3).
const TICKET: HeaderName = HeaderName::from_static("request-ticket");

pub(super) fn routes() -> Router<Arc<Faces>> {
    let data = Router::new()
        .route("/{pid}", any(read_it))
        // Programs that put what they want behind the address end it with a slash where they want all.
        .route("/{pid}/", any(read_it))
        .route("/{pid}/{*path}", any(read_below))
        .layer(map_response(pages::handed_on));
    packed(data)
}

/// What the address says beside the path. The names of our own are kept from the source.
#[derive(Debug, Default)]
pub(in crate::http) struct Asked {
    /// Which form of the data is wanted, where it has several.
    pub(in crate::http) distribution: Option<String>,
    /// `events` or `lines`, for who cannot set headers.
    pub(in crate::http) live: Option<String>,
    /// As `Last-Event-ID`.
    pub(in crate::http) after: Option<String>,
    /// Everything else.
    pub(in crate::http) further: Vec<(String, String)>,
}

impl Asked {
    pub(in crate::http) fn read(query: Option<&str>) -> Self {
        let mut asked = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "distribution" => asked.distribution = Some(value.into_owned()),
                "live" => asked.live = Some(value.into_owned()),
                "after" => asked.after = Some(value.into_owned()),
                _ => asked.further.push((name.into_owned(), value.into_owned())),
            }
        }
        asked
    }

    /// How live data is wanted, if it is: by the address, by the header, or as the only way there is.
    pub(in crate::http) fn follow(&self, headers: &HeaderMap, only_live: bool) -> Option<Follow> {
        let accepts = |media_type: &str| {
            let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
            accepted.flat_map(|value| value.split(',')).any(|one| one.trim().starts_with(media_type))
        };
        let framing = match self.live.as_deref() {
            Some("lines") => Framing::Lines,
            Some(_) => Framing::EventStream,
            None if accepts("text/event-stream") => Framing::EventStream,
            None if only_live && accepts("application/x-ndjson") => Framing::Lines,
            None if only_live => Framing::EventStream,
            None => return None,
        };
        let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
        Some(Follow { framing, after: last.map(str::to_owned).or_else(|| self.after.clone()) })
    }
}

/// A request, with what of it a source sees.
struct Incoming {
    pid: String,
    path: String,
    query: Option<String>,
    method: Method,
    headers: HeaderMap,
    body: Body,
    upgrade: Option<WebSocketUpgrade>,
}

async fn read_it(
    State(faces): State<Arc<Faces>>,
    Path(pid): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    body: Body,
) -> Response {
    let upgrade = upgrade.ok();
    read(faces, Incoming { pid, path: String::new(), query, method, headers, body, upgrade }).await
}

async fn read_below(
    State(faces): State<Arc<Faces>>,
    Path((pid, _)): Path<(String, String)>,
    uri: Uri,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let path = super::below(&uri, 1);
    read(faces, Incoming { pid, path, query, method, headers, body, upgrade: None }).await
}

async fn read(faces: Arc<Faces>, incoming: Incoming) -> Response {
    let Incoming { pid, path, query, method, mut headers, body, upgrade } = incoming;
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = match token.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => token,
    };
    let asked = Asked::read(query.as_deref());
    // The checksum of the data is made of all of it: asking for it is a read.
    let digests = method == Method::HEAD && headers.contains_key(dataplane::WANT_REPR_DIGEST);
    let named = headers.get(READ).and_then(|name| name.to_str().ok());
    let named = named.filter(|name| !name.is_empty() && name.len() <= 64).map(str::to_owned);
    let ticket = headers.get(TICKET).and_then(|ticket| ticket.to_str().ok()).map(str::to_owned);
    let follows = upgrade.is_some() || method == Method::GET && asked.follow(&headers, false).is_some();
    let sent = Sent { named, ticket, follows };
    let admit = |reads, sent| faces.engine.admit(&pid, token, asked.distribution.as_deref(), reads, sent);
    let admitted = match digests {
        // Of data that is changed on the way there is none, so that nothing is read for it.
        true if sent.ticket.is_none() => match admit(false, sent.clone()).await {
            Ok(admission) if !admission.grant.obligations().is_empty() => Ok(admission),
            Ok(_) => admit(true, sent).await,
            denied => denied,
        },
        _ => admit(digests || method != Method::HEAD, sent).await,
    };
    let admission = match admitted {
        Ok(admission) => admission,
        Err(denial) => return denied(&faces, &pid, denial).await,
    };
    headers.remove(header::AUTHORIZATION);
    headers.remove(READ);
    headers.remove(TICKET);
    let access = admission.access;
    let engine = Arc::clone(&faces.engine);
    let (agreement, transfer, read) = (admission.agreement, admission.transfer, admission.read);
    let source = match faces.sources.open(&admission.data_address, admission.media_type.as_deref()) {
        Ok(source) => source,
        Err(error) => {
            engine.source_failed(&agreement, &read).await;
            if let Some(access) = &access {
                engine.access_ended(access, Err("the source cannot be read")).await;
            }
            return failed(&faces, &pid, &format!("{error:#}")).await;
        }
    };
    let body = if matches!(method, Method::POST | Method::PUT) {
        match super::read_body(body, MAX_ASKED).await {
            Ok(body) => body.into(),
            Err(error) => {
                engine.give_back(&agreement, &read).await;
                if let Some(access) = &access {
                    engine.access_ended(access, Err("the body of the request did not arrive")).await;
                }
                return error_answer(StatusCode::BAD_REQUEST, "body", &error.to_string());
            }
        }
    } else {
        Bytes::new()
    };
    let counted = (agreement.clone(), read.clone());
    let unopened = access.clone();
    // Set where what was asked cannot be: then nothing was used.
    let unused = Arc::new(AtomicBool::new(false));
    let was_unused = Arc::clone(&unused);
    let held = engine.tasks().hold();
    let ended = move |metered: Metered| {
        let at = clock::now();
        held.carry_through(async move {
            if let Some(access) = &access {
                engine.access_ended(access, Ok(&metered)).await;
            }
            if was_unused.load(Ordering::SeqCst) {
                engine.give_back(&agreement, &read).await;
            } else {
                engine.meter(&agreement, &transfer, &read, metered, at).await;
            }
        });
    };
    let follow = match &upgrade {
        Some(_) => Some(Follow { framing: Framing::Messages, after: asked.after.clone() }),
        None if method == Method::GET => asked.follow(&headers, source.is_live() && !source.is_whole()),
        None => None,
    };
    let request = DataRequest { method, path, query: asked.further, headers, body };
    let reading = Reading { request, follow, ticket: Some(admission.ticket) };
    let clock = Arc::new(SystemClock);
    let served =
        dataplane::serve(admission.grant, source.as_ref(), reading, admission.signal, clock, ended).await;
    if let Ok(response) = &served {
        unused.store(response.status.is_client_error(), Ordering::SeqCst);
    }
    match (served, upgrade) {
        (Ok(response), Some(upgrade)) => upgrade.on_upgrade(|socket| messages(socket, response)),
        (Ok(response), None) => streamed(response),
        (Err(error), _) => {
            match error.is_failure() {
                true => faces.engine.source_failed(&counted.0, &counted.1).await,
                false => faces.engine.give_back(&counted.0, &counted.1).await,
            }
            if let Some(access) = &unopened {
                faces.engine.access_ended(access, Err("the source cannot be read like that")).await;
            }
            unreadable(&faces, &pid, &error).await
        }
    }
}

/// Events over a web socket, each a text message; the reason of an end is in the close frame.
pub(in crate::http) async fn messages(mut socket: WebSocket, response: DataResponse) {
    let mut body = response.body;
    let mut waiting = VecDeque::new();
    let (code, reason) = loop {
        if let Some(text) = waiting.pop_front() {
            if socket.send(Message::Text(text)).await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            frame = body.frame() => match frame {
                None => break (close_code::NORMAL, "the data is over".to_owned()),
                Some(Err(error)) => break (close_code::POLICY, error.to_string()),
                Some(Ok(frame)) => {
                    let bytes = frame.into_data().unwrap_or_default();
                    waiting.extend(bytes.split(|byte| *byte == b'\n').map(|line| {
                        String::from_utf8_lossy(line).into_owned().into()
                    }));
                }
            },
            heard = socket.recv() => match heard {
                // Pings are answered below; nothing else is expected.
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    };
    // A close frame holds 123 bytes of reason.
    let reason: String = reason
        .chars()
        .scan(0, |length, one| {
            *length += one.len_utf8();
            (*length <= 123).then_some(one)
        })
        .collect();
    // Who is gone needs no farewell.
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
}

/// What a source hands on.
pub(super) fn streamed(response: DataResponse) -> Response {
    let mut answer = Response::new(Body::new(response.body));
    *answer.status_mut() = response.status;
    *answer.headers_mut() = response.headers;
    answer
}

pub(super) async fn unreadable(faces: &Faces, pid: &str, error: &SourceError) -> Response {
    let text = error.to_string();
    match error {
        SourceError::Method => error_answer(StatusCode::METHOD_NOT_ALLOWED, "method", &text),
        SourceError::Asked(_) => error_answer(StatusCode::BAD_REQUEST, "asked", &text),
        SourceError::NotFound(_) => error_answer(StatusCode::NOT_FOUND, "not-found", &text),
        SourceError::Busy { status, retry_after } => {
            tracing::warn!(pid, %status, "a source is asked too much, or not ready");
            let mut answer = error_answer(*status, "busy", &text);
            let wait = retry_after.clone().unwrap_or_else(|| HeaderValue::from_static("60"));
            answer.headers_mut().insert(header::RETRY_AFTER, wait);
            answer
        }
        SourceError::NotLive | SourceError::OnlyLive => {
            error_answer(StatusCode::NOT_ACCEPTABLE, "live", &text)
        }
        SourceError::Obligation(_) => {
            tracing::error!(pid, error = text, "what an agreement demands of the data cannot be done");
            error_answer(StatusCode::FORBIDDEN, "obligation", &text)
        }
        SourceError::Upstream(status @ (StatusCode::NOT_FOUND | StatusCode::GONE)) => {
            // A failure all the same: it is not the reader who chose the address.
            failed(faces, pid, &text).await;
            error_answer(
                *status,
                "not-found",
                "the source has nothing where the provider reads this data from",
            )
        }
        error => failed(faces, pid, &crate::telemetry::chain(error)).await,
    }
}

async fn denied(faces: &Faces, pid: &str, denial: Denial) -> Response {
    match denial {
        Denial::Unknown => {
            let problem = super::problem::Problem::unauthenticated(
                "its token is not that of a running transfer".to_owned(),
            );
            faces.audit(&problem, "a read of data", None, Some(pid)).await;
            let mut answer = error_answer(
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "data is read with the token of a transfer under an agreement; negotiate one and start a transfer",
            );
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            answer
        }
        Denial::Denied(reason) => error_answer(StatusCode::FORBIDDEN, "denied", &reason),
        Denial::Operator(reason) => error_answer(StatusCode::BAD_GATEWAY, "operator", &reason),
        Denial::Ticket(reason) => {
            let problem = super::problem::Problem::unauthenticated(reason.clone());
            faces.audit(&problem, "a request ticket", None, Some(pid)).await;
            error_answer(StatusCode::UNAUTHORIZED, "ticket", &reason)
        }
        Denial::TooMuch(bound) => {
            let mut answer = error_answer(StatusCode::TOO_MANY_REQUESTS, "too-much", &bound.to_string());
            answer.headers_mut().insert(header::RETRY_AFTER, bound.retry_after.as_secs().max(1).into());
            answer
        }
        Denial::Failed(EngineError::Store(error)) => {
            tracing::error!(
                pid,
                error = crate::telemetry::chain(&error),
                "a read that must be counted is refused"
            );
            let why = faces.engine.store_failing().unwrap_or("its store failed");
            let text =
                format!("the provider cannot write down now what must be counted: {why}; try again later");
            let mut answer = error_answer(StatusCode::SERVICE_UNAVAILABLE, "store", &text);
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
            answer
        }
        Denial::Failed(error) => failed(faces, pid, &crate::telemetry::chain(&error)).await,
    }
}

/// The source's own words stay here: they may name what is behind this node.
pub(super) async fn failed(faces: &Faces, pid: &str, detail: &str) -> Response {
    tracing::error!(pid, detail, "a source failed");
    let text = format!("the data of {pid} could not be read: {detail}");
    let event = Event::new("stream", clock::now(), text).about(pid);
    faces.engine.record_refusal("the data could not be read", event).await;
    error_answer(
        StatusCode::BAD_GATEWAY,
        "source",
        "the provider's source cannot be read now; try again later",
    )
}

pub(super) fn error_answer(status: StatusCode, code: &str, reason: &str) -> Response {
    json_answer(status, &json!({"code": code, "reason": [reason]})).into_response()
}
