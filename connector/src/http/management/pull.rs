//! The consumer's side of the data plane: data is read from the provider and handed to the local caller as it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use dataplane::Signal;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, StatusCode, header};
use protocol::Role;
use protocol::transfer::State as TransferState;
use tokio::sync::watch;

use super::{Management, Shared, error, respond};
use crate::engine::{Engine, EngineError};
use crate::http::data::Wanted;
use crate::network::{bounded_body, describe};

/// Handed to the provider.
const ASKED: [header::HeaderName; 5] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::ACCEPT_ENCODING,
];
/// Handed to the local caller.
const ANSWERED: [header::HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_ENCODING,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
    header::CACHE_CONTROL,
];
/// Longest time until the provider answers, or sends the next bytes.
const SILENCE: Duration = Duration::from_secs(60);
/// Largest error body of the provider.
const MAX_ERROR: usize = 64 * 1024;
/// How long a stream that broke off waits for the provider's reason.
const REASON: Duration = Duration::from_secs(3);

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new().route("/transferprocesses/{id}/data", get(read))
}

async fn read(
    State(management): Shared,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
    method: http::Method,
    headers: HeaderMap,
) -> Response {
    let engine = &management.faces.engine;
    let transfer = match engine.transfer(&id) {
        Ok(record) => record.transfer,
        Err(problem) => return respond(Err(problem)),
    };
    if transfer.role != Role::Consumer {
        return conflict("this node provides the data of that transfer; its consumer reads it");
    }
    let cut = engine.streams().watch(&id);
    if transfer.progress.state != Some(TransferState::Started) || !transfer.is_open() {
        let problem = transfer.progress.problem.unwrap_or_default();
        let state = transfer.progress.state.map_or_else(|| "INITIAL".to_owned(), |state| state.to_string());
        return conflict(format!("the transfer does not run now ({state}) {problem}").trim_end());
    }
    let Some((endpoint, token)) = transfer
        .data_address
        .as_ref()
        .and_then(|address| Some((address.endpoint.clone()?, address.property("authorization")?.to_owned())))
    else {
        return conflict("the provider's start message names no endpoint with a token");
    };
    let mut url = match engine.guard().check_url(&endpoint) {
        Ok(url) => url,
        Err(problem) => return conflict(&problem.to_string()),
    };
    if let Some(name) = &wanted.distribution {
        url.query_pairs_mut().append_pair("distribution", name);
    }
    let mut request = engine.client().request(method, url).bearer_auth(token);
    for name in ASKED {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value.clone());
        }
    }
    let answer = match tokio::time::timeout(SILENCE, request.send()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(problem)) => {
            return respond(Err(EngineError::Peer(format!("{endpoint}: {}", describe(&problem)))));
        }
        Err(_) => {
            return respond(Err(EngineError::Peer(format!(
                "{endpoint}: no answer within {} s",
                SILENCE.as_secs()
            ))));
        }
    };
    let status = answer.status();
    if !(status.is_success()
        || [StatusCode::NOT_MODIFIED, StatusCode::RANGE_NOT_SATISFIABLE].contains(&status))
    {
        let body = bounded_body(answer, MAX_ERROR).await.unwrap_or_default();
        let said = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
        let reason =
            said.pointer("/reason/0").and_then(serde_json::Value::as_str).unwrap_or("no reason given");
        return error(status, "ProviderRefused", &format!("the provider refused ({status}): {reason}"));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    for name in ANSWERED {
        if let Some(value) = answer.headers().get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    *response.body_mut() =
        Body::from_stream(guarded(Box::pin(answer.bytes_stream()), cut, Arc::clone(engine), id));
    response
}

fn conflict(message: &str) -> Response {
    error(StatusCode::CONFLICT, "ObjectConflict", message)
}

type Chunks = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// Ends with an error as soon as the transfer is cut; the reason is in the transfer by then.
fn guarded(
    chunks: Chunks,
    cut: watch::Receiver<Signal>,
    engine: Arc<Engine>,
    transfer: String,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let state = Some((chunks, cut, engine, transfer));
    stream::unfold(state, |state| async move {
        let (mut chunks, mut cut, engine, transfer) = state?;
        let next = tokio::select! {
            biased;
            reason = was_cut(&mut cut) => Err(reason),
            next = tokio::time::timeout(SILENCE, chunks.next()) => match next {
                Ok(None) => return None,
                Ok(Some(Ok(chunk))) => Ok(chunk),
                Ok(Some(Err(problem))) => {
                    // The provider's message with the reason is on its way, or the provider is gone.
                    let told = tokio::time::timeout(REASON, was_cut(&mut cut)).await;
                    Err(told.unwrap_or_else(|_| describe(&problem)))
                }
                Err(_) => Err(format!("the provider sent nothing for {} s", SILENCE.as_secs())),
            },
        };
        match next {
            Ok(chunk) => Some((Ok(chunk), Some((chunks, cut, engine, transfer)))),
            Err(reason) => {
                tracing::info!(transfer, reason, "a stream that this node reads was cut");
                Some((Err(std::io::Error::other(reason)), None))
            }
        }
    })
}

async fn was_cut(cut: &mut watch::Receiver<Signal>) -> String {
    loop {
        if let Signal::Cut(reason) = cut.borrow_and_update().clone() {
            return reason;
        }
        if cut.changed().await.is_err() {
            // A switch without a sender was replaced by a later one; what it guarded goes on.
            std::future::pending::<()>().await;
        }
    }
}
