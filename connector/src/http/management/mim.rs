//! The node's self-assessment by the cities' Minimal Interoperability Mechanisms.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, put};
use axum::{Extension, Router};
use serde::Deserialize;

use super::{Management, Shared, answer, read, respond};
use crate::engine::Holder;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new().route("/mim", get(assess)).route("/mim/attestations", put(attest))
}

async fn assess(State(management): Shared) -> Response {
    answer(management.faces.engine.assess().await)
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Attesting {
    id: String,
    role: String,
    statement: String,
}

async fn attest(State(management): Shared, Extension(holder): Extension<Holder>, body: Body) -> Response {
    match read::<Attesting>(body).await {
        Ok(one) => answer(management.faces.engine.attest(&holder, &one.id, &one.role, &one.statement).await),
        Err(error) => respond(Err(error)),
    }
}
