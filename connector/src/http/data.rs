//! The data plane's endpoint: a bearer token of one transfer, then the gate, then bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dataplane::{DataRequest, Metered, SourceError};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;

use super::Faces;
use super::problem::json_answer;
use crate::clock::{self, SystemClock};
use crate::engine::{Denial, Engine, Read};
use crate::sources;
use crate::tables::Event;

pub(super) fn routes() -> Router<Arc<Faces>> {
    Router::new().route("/{pid}", get(read))
}

async fn read(
    State(faces): State<Arc<Faces>>,
    Path(pid): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = match token.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => token,
    };
    let admission = match faces.engine.admit(&pid, token, method == Method::GET).await {
        Ok(admission) => admission,
        Err(denial) => return denied(&faces, &pid, denial).await,
    };
    let counted = Arc::new(Counted {
        engine: Arc::clone(&faces.engine),
        agreement: admission.agreement,
        transfer: admission.transfer,
        read: admission.read,
        settled: AtomicBool::new(false),
    });
    let source =
        match sources::open(&admission.data_address, admission.media_type.as_deref(), &faces.upstream) {
            Ok(source) => source,
            Err(error) => {
                counted.give_back().await;
                return failed(&faces, &pid, &format!("{error:#}")).await;
            }
        };
    let handed_on = Arc::clone(&counted);
    let ended = move |metered| handed_on.meter(metered);
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
        Ok(response) => {
            let mut answer = Response::new(Body::new(response.body));
            *answer.status_mut() = response.status;
            *answer.headers_mut() = response.headers;
            answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            answer
        }
        Err(error) => {
            counted.give_back().await;
            unreadable(&faces, &pid, &error).await
        }
    }
}

/// A read that counts: metered when its body ends, given back when there never was one.
struct Counted {
    engine: Arc<Engine>,
    agreement: String,
    transfer: String,
    read: Read,
    settled: AtomicBool,
}

impl Counted {
    async fn give_back(&self) {
        if !self.settled.swap(true, Ordering::SeqCst) {
            self.engine.give_back(&self.agreement, &self.read).await;
        }
    }

    fn meter(&self, metered: Metered) {
        if self.settled.swap(true, Ordering::SeqCst) {
            return;
        }
        let (engine, agreement) = (Arc::clone(&self.engine), self.agreement.clone());
        let (transfer, read) = (self.transfer.clone(), self.read.clone());
        tokio::spawn(async move { engine.meter(&agreement, &transfer, &read, metered).await });
    }
}

impl Drop for Counted {
    /// The caller left before the source answered.
    fn drop(&mut self) {
        if !self.settled.swap(true, Ordering::SeqCst) {
            let (engine, agreement, read) =
                (Arc::clone(&self.engine), self.agreement.clone(), self.read.clone());
            tokio::spawn(async move { engine.give_back(&agreement, &read).await });
        }
    }
}

async fn unreadable(faces: &Faces, pid: &str, error: &SourceError) -> Response {
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
async fn failed(faces: &Faces, pid: &str, detail: &str) -> Response {
    tracing::error!(pid, detail, "a source failed");
    let text = format!("the data of {pid} could not be read: {detail}");
    faces.engine.record(Event::new("stream", clock::now(), text).about(pid)).await;
    error_answer(
        StatusCode::BAD_GATEWAY,
        "source",
        "the provider's source cannot be read now; try again later",
    )
}

fn error_answer(status: StatusCode, code: &str, reason: &str) -> Response {
    json_answer(status, &json!({"code": code, "reason": [reason]})).into_response()
}
