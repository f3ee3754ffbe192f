//! The Dataspace Protocol's endpoints and callbacks (2025-1, HTTPS bindings).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use protocol::wire::{self, CatalogRequestMessage};
use protocol::{Refusal, RefusalKind, Role, negotiation, transfer};
use serde_json::Value as Json;

use super::authenticate::authenticate;
use super::problem::{Problem, Protocol, message_answer};
use super::{Faces, MAX_MESSAGE, read_body};

type Shared = State<Arc<Faces>>;

pub(super) fn routes() -> Router<Arc<Faces>> {
    Router::new()
        .route("/catalog/request", post(catalog))
        .route("/catalog/datasets/{id}", get(dataset))
        .route("/negotiations/request", post(request))
        .route("/negotiations/offers", post(offer))
        .route("/negotiations/{pid}", get(negotiation_state))
        .route("/negotiations/{pid}/{leaf}", post(negotiation_message))
        .route("/negotiations/{pid}/agreement/verification", post(verification))
        .route("/transfers/request", post(transfer_request))
        .route("/transfers/{pid}", get(transfer_state))
        .route("/transfers/{pid}/{leaf}", post(transfer_message))
}

/// One exchange: who calls, what they sent, what the answer must echo.
struct Exchange<'a> {
    faces: &'a Faces,
    protocol: Protocol,
    what: &'a str,
    pid: Option<&'a str>,
    caller: Option<String>,
    message: Json,
}

impl<'a> Exchange<'a> {
    const fn new(faces: &'a Faces, protocol: Protocol, what: &'a str, pid: Option<&'a str>) -> Self {
        Self { faces, protocol, what, pid, caller: None, message: Json::Null }
    }

    /// Authenticates, then reads the body.
    async fn open(&mut self, headers: &HeaderMap, body: Option<Body>) -> Result<String, Problem> {
        let caller = authenticate(self.faces, headers).await?;
        self.caller = Some(caller.clone());
        if let Some(body) = body {
            let bytes = read_body(body, MAX_MESSAGE).await?;
            let json = serde_json::from_slice(&bytes)
                .map_err(|error| Refusal::new(RefusalKind::Malformed, format!("not JSON: {error}")))?;
            self.message = wire::normalise_message(json);
        }
        Ok(caller)
    }

    fn read<T: wire::DspMessage>(&self) -> Result<wire::Received<T>, Problem> {
        Ok(wire::from_json(self.message.clone())?)
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

async fn catalog(State(faces): Shared, headers: HeaderMap, body: Body) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Catalog, "a catalog request", None);
    let result = async {
        let caller = exchange.open(&headers, Some(body)).await?;
        let request = exchange.read::<CatalogRequestMessage>()?.message;
        if request.filter.is_some_and(|filter| !filter.is_empty()) {
            let reason = "/filter: this node knows no filters; ask without";
            return Err(Refusal::new(RefusalKind::Malformed, reason).into());
        }
        Ok(message_answer(StatusCode::OK, &faces.engine.catalog_for(&caller)))
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
        let caller = exchange.open(&headers, Some(body)).await?;
        let answer = faces.engine.take_request(&caller, exchange.read()?).await?;
        Ok(message_answer(StatusCode::CREATED, &answer))
    };
    let result = result.await;
    exchange.close(result).await
}

async fn offer(State(faces): Shared, headers: HeaderMap, body: Body) -> Response {
    let mut exchange = Exchange::new(&faces, Protocol::Negotiation, "a contract offer", None);
    let result = async {
        let caller = exchange.open(&headers, Some(body)).await?;
        let answer = faces.engine.take_offer(&caller, exchange.read()?).await?;
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
        let caller = exchange.open(&headers, Some(body)).await?;
        let (role, received) = match leaf.as_str() {
            "agreement" => (Some(Role::Consumer), wrap(exchange.read()?, Message::Agreement)),
            "agreement/verification" => (Some(Role::Provider), wrap(exchange.read()?, Message::Verification)),
            "events" => (None, wrap(exchange.read()?, Message::Event)),
            "offers" => (Some(Role::Consumer), wrap(exchange.read()?, Message::Offer)),
            "request" => (Some(Role::Provider), wrap(exchange.read()?, Message::Request)),
            "termination" => (None, wrap(exchange.read()?, Message::Termination)),
            _ => return Err(no_such_path()),
        };
        faces.engine.take_negotiation_message(&caller, role, &pid, received).await?;
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

fn wrap<T, M>(received: wire::Received<T>, make: impl FnOnce(T) -> M) -> wire::Received<M> {
    wire::Received { id: received.id, message: make(received.message) }
}

fn no_such_path() -> Problem {
    Refusal::new(RefusalKind::NotFound, "the protocol has no such path").into()
}
