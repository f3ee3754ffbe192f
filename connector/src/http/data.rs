//! The data plane's endpoint: a bearer token of one transfer, then the gate, then bytes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dataplane::{DataRequest, DataResponse, SourceError};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::Faces;
use super::problem::json_answer;
use crate::clock::{self, SystemClock};
use crate::engine::Denial;
use crate::sources;
use crate::tables::Event;

pub(super) fn routes() -> Router<Arc<Faces>> {
    Router::new().route("/{pid}", get(read))
}

/// Which form of the data is wanted, where it has several.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct Wanted {
    pub(in crate::http) distribution: Option<String>,
}

async fn read(
    State(faces): State<Arc<Faces>>,
    Path(pid): Path<String>,
    Query(wanted): Query<Wanted>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = match token.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => token,
    };
    let admission =
        match faces.engine.admit(&pid, token, wanted.distribution.as_deref(), method == Method::GET).await {
            Ok(admission) => admission,
            Err(denial) => return denied(&faces, &pid, denial).await,
        };
    let engine = Arc::clone(&faces.engine);
    let (agreement, transfer, read) = (admission.agreement, admission.transfer, admission.read);
    let source =
        match sources::open(&admission.data_address, admission.media_type.as_deref(), &faces.upstream) {
            Ok(source) => source,
            Err(error) => {
                engine.give_back(&agreement, &read).await;
                return failed(&faces, &pid, &format!("{error:#}")).await;
            }
        };
    let counted = (agreement.clone(), read.clone());
    let ended = move |metered| {
        tokio::spawn(async move { engine.meter(&agreement, &transfer, &read, metered).await });
    };
    let request = DataRequest { method, headers };
    let served = dataplane::serve(
        admission.grant,
        source.as_ref(),
        request,
        admission.signal,
        Arc::new(SystemClock),
        ended,
    )
    .await;
    match served {
        Ok(response) => streamed(response),
        Err(error) => {
            faces.engine.give_back(&counted.0, &counted.1).await;
            unreadable(&faces, &pid, &error).await
        }
    }
}

/// What a source hands on.
pub(super) fn streamed(response: DataResponse) -> Response {
    let mut answer = Response::new(Body::new(response.body));
    *answer.status_mut() = response.status;
    *answer.headers_mut() = response.headers;
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

pub(super) async fn unreadable(faces: &Faces, pid: &str, error: &SourceError) -> Response {
    match error {
        SourceError::Method => error_answer(StatusCode::METHOD_NOT_ALLOWED, "method", &error.to_string()),
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
        Denial::Failed(error) => failed(faces, pid, &crate::telemetry::chain(&error)).await,
    }
}

/// The source's own words stay here: they may name what is behind this node.
pub(super) async fn failed(faces: &Faces, pid: &str, detail: &str) -> Response {
    tracing::error!(pid, detail, "a source failed");
    let text = format!("the data of {pid} could not be read: {detail}");
    faces.engine.record(Event::new("stream", clock::now(), text).about(pid)).await;
    error_answer(
        StatusCode::BAD_GATEWAY,
        "source",
        "the provider's source cannot be read now; try again later",
    )
}

pub(super) fn error_answer(status: StatusCode, code: &str, reason: &str) -> Response {
    json_answer(status, &json!({"code": code, "reason": [reason]})).into_response()
}
