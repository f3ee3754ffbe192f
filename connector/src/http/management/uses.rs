//! Shared datasets that this node uses, under names of its own.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use http::StatusCode;
use serde::Deserialize;

use super::{Management, Shared, answer, read, respond};
use crate::http::gateway::describe;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new().route("/uses", get(list)).route("/uses/{name}", put(begin).get(show).delete(end))
}

/// What is taken into use.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    /// An agreement in force, as its consumer.
    agreement: String,
    /// Which form of the data, where it has several.
    #[serde(default)]
    distribution: Option<String>,
}

async fn list(State(management): Shared) -> Response {
    let all = management.faces.engine.all_in_use();
    answer(all.map(|all| all.iter().map(describe).collect::<Vec<_>>()))
}

async fn show(State(management): Shared, Path(name): Path<String>) -> Response {
    answer(management.faces.engine.in_use(&name).map(|one| describe(&one)))
}

async fn begin(State(management): Shared, Path(name): Path<String>, body: Body) -> Response {
    let asked: Begin = match read(body).await {
        Ok(asked) => asked,
        Err(error) => return respond(Err(error)),
    };
    let begun = management.faces.engine.use_as(&name, &asked.agreement, asked.distribution).await;
    answer(begun.map(|one| describe(&one)))
}

async fn end(State(management): Shared, Path(name): Path<String>) -> Response {
    let ended = management.faces.engine.use_no_more(&name).await;
    respond(ended.map(|()| StatusCode::NO_CONTENT.into_response()))
}
