//! The Dataspace Protocol's endpoints and callbacks (2025-1, HTTPS bindings).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::{Cursor, Filter};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use protocol::wire::{self, CatalogRequestMessage};
use protocol::{Refusal, RefusalKind, Role, negotiation, transfer};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tower_http::compression::CompressionLayer;

use super::authenticate::{admit, authenticate};
use super::problem::{Problem, Protocol, json_answer, message_answer};
use super::{Faces, MAX_MESSAGE, read_body, validators};
use crate::engine::{CHANGED_PATH, Heard};
use crate::tables::AnswerKind;

type Shared = State<Arc<Faces>>;

pub(super) fn routes() -> Router<Arc<Faces>> {
    Router::new()
        .merge(catalogs())
        .route("/negotiations/request", post(request))
        .route("/negotiations/offers", post(offer))
        .route("/negotiations/{pid}", get(negotiation_state))
        .route("/negotiations/{pid}/{leaf}", post(negotiation_message))
        .route("/negotiations/{pid}/agreement/verification", post(verification))
        .route("/transfers/request", post(transfer_request))
        .route("/transfers/{pid}", get(transfer_state))
        .route("/transfers/{pid}/{leaf}", post(transfer_message))
        .route("/agreements/{id}/duties", post(duty_report))
        .route("/agreements/{id}/statements", post(statement))
        .route("/agreements/{id}/compliance", get(compliance))
        .route("/agreements/{id}/log", get(agreement_log))
        .route(&format!("/catalog/{CHANGED_PATH}"), post(catalog_changed))
        .route("/catalog/data-requests/{id}/refusal", post(request_refused))
}

/// Catalogs are large and compress well (specification: gzip where the client accepts it).
fn catalogs() -> Router<Arc<Faces>> {
    Router::new()
        .route("/catalog/request", post(catalog).get(catalog))
        .route("/catalog/datasets/{id}", get(dataset))
        .layer(CompressionLayer::new())
}

/// `continuationToken` of a page's `Link`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Continuation {
    continuation_token: Option<String>,
}

impl Continuation {
    /// Where the page begins, and the filter of the request that it continues.
    fn read(self) -> Result<(Cursor, Vec<Json>), Refusal> {
        let Some(token) = self.continuation_token else { return Ok((Cursor::Start, Vec::new())) };
        let malformed =
            || Refusal::new(RefusalKind::Malformed, "the continuationToken is not one of this node");
        let decoded = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or_else(malformed)?;
        let (place, filter) = decoded.split_once('\n').ok_or_else(malformed)?;
        let filter = serde_json::from_str(filter).map_err(|_| malformed())?;
        match place.split_at_checked(1) {
            Some((">", id)) => Ok((Cursor::After(id.to_owned()), filter)),
            Some(("<", id)) => Ok((Cursor::Before(id.to_owned()), filter)),
            _ => Err(malformed()),
        }
    }
}

/// One `Link` of a page (RFC 8288); it carries the filter, for followers come without the message.
fn link(address: &str, cursor: &Cursor, filter: &[Json]) -> Option<HeaderValue> {
    let (relation, token) = match cursor {
        Cursor::After(id) => ("next", format!(">{id}")),
        Cursor::Before(id) => ("previous", format!("<{id}")),
        Cursor::Skip(_) | Cursor::Start => return None,
    };
    let token = URL_SAFE_NO_PAD.encode(format!("{token}\n{}", json!(filter)));
    HeaderValue::try_from(format!(
        "<{address}/catalog/request?continuationToken={token}>; rel=\"{relation}\""
    ))
    .ok()
}

/// One exchange: who calls, what they sent, what the answer must echo.
struct Exchange<'a> {
    faces: &'a Faces,
    protocol: Protocol,
    what: &'a str,
    pid: Option<&'a str>,
    caller: Option<String>,
    token: Option<String>,
    message: Json,
}

impl<'a> Exchange<'a> {
    const fn new(faces: &'a Faces, protocol: Protocol, what: &'a str, pid: Option<&'a str>) -> Self {
        Self { faces, protocol, what, pid, caller: None, token: None, message: Json::Null }
    }

    /// Authenticates, then reads the body.
    async fn open(&mut self, headers: &HeaderMap, body: Option<Body>) -> Result<String, Problem> {
        let visitor = admit(self.faces, headers).await?;
        let caller = self.caller.insert(visitor.did).clone();
        self.token = visitor.token;
        // A catalog request leaves nothing behind.
        if body.is_some() && self.protocol != Protocol::Catalog {
            self.faces.engine.keep_pace(&caller)?;
        }
        if let Some(body) = body {
            let bytes = read_body(body, MAX_MESSAGE).await?;
            let message = wire::json(&bytes)?;
            self.faces.engine.recognise(&caller, &message).await?;
            self.message = wire::normalise_message(message);
        }
        Ok(caller)
    }

    fn read<T: wire::DspMessage>(&self) -> Result<wire::Received<T>, Problem> {
        Ok(wire::from_json(self.message.clone())?)
    }

    /// What came, for the evidence.
    fn heard(&self) -> Heard {
        Heard {
            from: self.caller.clone().unwrap_or_default(),
            token: self.token.clone(),
            body: self.message.clone(),
        }
    }

    async fn close(self, result: Result<Response, Problem>) -> Response {
        match result {
            Ok(response) => response,
            Err(problem) => {
                self.faces.audit(&problem, self.what, self.caller.as_deref(), self.pid).await;
                problem.answer(self.protocol, &self.message, self.pid)
            }
        }
    }
}

async fn catalog(
    State(faces): Shared,
    Query(continuation): Query<Continuation>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Catalog, "a catalog request", None);
    let result = async {
        // Followers of a link may come without the message.
        let caller = exchange.open(&headers, (method == Method::POST).then_some(body)).await?;
        let request = match method {
            Method::POST => exchange.read::<CatalogRequestMessage>()?.message,
            _ => CatalogRequestMessage::default(),
        };
        if request.notify {
            faces.engine.watch_for(&caller).await?;
        }
        let (cursor, continued) = continuation.read()?;
        let asked = request.filter.unwrap_or(continued);
        let filter = Filter::parse(&asked).map_err(|reason| Refusal::new(RefusalKind::Malformed, reason))?;
        let page = faces.engine.catalog_for(&caller, &filter, &cursor)?;
        let body = wire::to_text(&page.catalog);
        // What one may see changes with one's credentials and with time: only the document itself tells.
        let mut answer = validators::answer(&headers, None, "application/json", body);
        for cursor in [page.previous, page.next].into_iter().flatten() {
            if let Some(value) = link(faces.engine.address(), &cursor, &asked) {
                answer.headers_mut().append(header::LINK, value);
            }
        }
        Ok(answer)
    };
    let result = result.await;
    exchange.close(result).await
}

async fn dataset(State(faces): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Catalog, "a dataset request", None);
    let result = async {
        let caller = exchange.open(&headers, None).await?;
        Ok(message_answer(StatusCode::OK, &faces.engine.dataset_for(&caller, &id)?))
    };
    let result = result.await;
    exchange.close(result).await
}

async fn request(State(faces): Shared, headers: HeaderMap, body: Body) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Negotiation, "a contract request", None);
    let result = async {
        exchange.open(&headers, Some(body)).await?;
        let answer = faces.engine.take_request(&exchange.heard(), exchange.read()?).await?;
        Ok(message_answer(StatusCode::CREATED, &answer))
    };
    let result = result.await;
    exchange.close(result).await
}

async fn offer(State(faces): Shared, headers: HeaderMap, body: Body) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Negotiation, "a contract offer", None);
    let result = async {
        exchange.open(&headers, Some(body)).await?;
        let answer = faces.engine.take_offer(&exchange.heard(), exchange.read()?).await?;
        Ok(message_answer(StatusCode::CREATED, &answer))
    };
    let result = result.await;
    exchange.close(result).await
}

async fn negotiation_state(State(faces): Shared, Path(pid): Path<String>, headers: HeaderMap) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Negotiation, "a look at a negotiation", Some(&pid));
    let result = async {
        let caller = exchange.open(&headers, None).await?;
        Ok(message_answer(StatusCode::OK, &faces.engine.negotiation_for(&caller, &pid)?))
    };
    let result = result.await;
    exchange.close(result).await
}

async fn verification(state: Shared, Path(pid): Path<String>, headers: HeaderMap, body: Body) -> Response {
    negotiation_message(state, Path((pid, "agreement/verification".to_owned())), headers, body).await
}

async fn negotiation_message(
    State(faces): Shared,
    Path((pid, leaf)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    use negotiation::Message;
    let what = format!("a message to negotiations/{{pid}}/{leaf}");
    let mut exchange = Exchange::new(&faces, Protocol::Negotiation, &what, Some(&pid));
    let result = async {
        exchange.open(&headers, Some(body)).await?;
        let (role, received) = match leaf.as_str() {
            "agreement" => (Some(Role::Consumer), wrap(exchange.read()?, Message::Agreement)),
            "agreement/verification" => (Some(Role::Provider), wrap(exchange.read()?, Message::Verification)),
            "events" => (None, wrap(exchange.read()?, Message::Event)),
            "offers" => (Some(Role::Consumer), wrap(exchange.read()?, Message::Offer)),
            "request" => (Some(Role::Provider), wrap(exchange.read()?, Message::Request)),
            "termination" => (None, wrap(exchange.read()?, Message::Termination)),
            _ => return Err(no_such_path()),
        };
        faces.engine.take_negotiation_message(&exchange.heard(), role, &pid, received).await?;
        Ok(StatusCode::OK.into_response())
    };
    let result = result.await;
    exchange.close(result).await
}

async fn transfer_request(State(faces): Shared, headers: HeaderMap, body: Body) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Transfer, "a transfer request", None);
    let result = async {
        let caller = exchange.open(&headers, Some(body)).await?;
        let answer = faces.engine.take_transfer_request(&caller, exchange.read()?).await?;
        Ok(message_answer(StatusCode::CREATED, &answer))
    };
    let result = result.await;
    exchange.close(result).await
}

async fn transfer_state(State(faces): Shared, Path(pid): Path<String>, headers: HeaderMap) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Transfer, "a look at a transfer", Some(&pid));
    let result = async {
        let caller = exchange.open(&headers, None).await?;
        Ok(message_answer(StatusCode::OK, &faces.engine.transfer_for(&caller, &pid)?))
    };
    let result = result.await;
    exchange.close(result).await
}

async fn transfer_message(
    State(faces): Shared,
    Path((pid, leaf)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    use transfer::Message;
    let what = format!("a message to transfers/{{pid}}/{leaf}");
    let mut exchange = Exchange::new(&faces, Protocol::Transfer, &what, Some(&pid));
    let result = async {
        let caller = exchange.open(&headers, Some(body)).await?;
        let received = match leaf.as_str() {
            "completion" => wrap(exchange.read()?, Message::Completion),
            "start" => wrap(exchange.read()?, Message::Start),
            "suspension" => wrap(exchange.read()?, Message::Suspension),
            "termination" => wrap(exchange.read()?, Message::Termination),
            _ => return Err(no_such_path()),
        };
        faces.engine.take_transfer_message(&caller, &pid, received).await?;
        Ok(StatusCode::OK.into_response())
    };
    let result = result.await;
    exchange.close(result).await
}

/// Ours, beside the protocol: a party of an agreement states that a duty was done.
async fn duty_report(
    State(faces): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Negotiation, "a report on a duty", Some(&id));
    let result = async {
        let caller = exchange.open(&headers, Some(body)).await?;
        let report = serde_path_to_error::deserialize(&exchange.message).map_err(|error| {
            Refusal::new(RefusalKind::Malformed, format!("{}: {}", error.path(), error.inner()))
        })?;
        faces.engine.take_duty_report(&caller, &id, report).await?;
        Ok(StatusCode::OK.into_response())
    };
    let result = result.await;
    exchange.close(result).await
}

/// Ours, beside the protocol: a signed statement of a party of an agreement.
async fn statement(State(faces): Shared, Path(id): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let mut exchange =
        Exchange::new(&faces, Protocol::Negotiation, "a statement about an agreement", Some(&id));
    let result = async {
        let caller = exchange.open(&headers, Some(body)).await?;
        let message = serde_path_to_error::deserialize(&exchange.message).map_err(|error| {
            Refusal::new(RefusalKind::Malformed, format!("{}: {}", error.path(), error.inner()))
        })?;
        faces.engine.take_statement(&caller, &id, &message).await?;
        Ok(StatusCode::OK.into_response())
    };
    let result = result.await;
    exchange.close(result).await
}

/// Ours, beside the protocol: a party of an agreement looks at what this node says of how it is kept.
async fn compliance(State(faces): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Negotiation, "a look at compliance", Some(&id));
    let result = async {
        let caller = exchange.open(&headers, None).await?;
        Ok(json_answer(StatusCode::OK, &faces.engine.compliance_for(&caller, &id)?))
    };
    let result = result.await;
    exchange.close(result).await
}

/// Ours, beside the protocol: a party of an agreement compares its log with this node's.
async fn agreement_log(State(faces): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut exchange =
        Exchange::new(&faces, Protocol::Negotiation, "a look at an agreement's log", Some(&id));
    let result = async {
        let caller = exchange.open(&headers, None).await?;
        Ok(json_answer(StatusCode::OK, &faces.engine.log_for(&caller, &id)?))
    };
    let result = result.await;
    exchange.close(result).await
}

/// Ours, beside the protocol: the caller's catalog has changed.
async fn catalog_changed(State(faces): Shared, headers: HeaderMap) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Catalog, "a notice of a changed catalog", None);
    let result = async {
        let caller = exchange.open(&headers, None).await?;
        faces.engine.take_catalog_notice(&caller)?;
        Ok(StatusCode::OK.into_response())
    };
    let result = result.await;
    exchange.close(result).await
}

#[derive(Debug, Deserialize)]
struct Refused {
    reason: String,
}

/// Ours, beside the protocol: the caller will not offer what this node asked for.
async fn request_refused(
    State(faces): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Catalog, "the refusal of a data request", None);
    let result = async {
        let caller = authenticate(&faces, &headers).await?.did;
        exchange.caller = Some(caller.clone());
        let bytes = read_body(body, MAX_MESSAGE).await?;
        let Refused { reason } = serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::new(RefusalKind::Malformed, format!("/reason: {error}")))?;
        faces.engine.take_request_answer(&caller, &id, AnswerKind::Refused { reason }).await?;
        Ok(StatusCode::OK.into_response())
    };
    let result = result.await;
    exchange.close(result).await
}

fn wrap<T, M>(received: wire::Received<T>, make: impl FnOnce(T) -> M) -> wire::Received<M> {
    wire::Received { id: received.id, message: make(received.message) }
}

fn no_such_path() -> Problem {
    Refusal::new(RefusalKind::NotFound, "the protocol has no such path").into()
}
