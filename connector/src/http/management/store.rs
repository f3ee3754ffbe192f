//! The store: its checkpoints, and records that cannot be read.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{Management, Shared, read, respond};
use crate::engine::EngineError;
use crate::http::problem::json_answer;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/store/aside", get(list))
        .route("/store/aside/remove", post(remove))
        .route("/store/checkpoint", get(progress).post(checkpoint))
}

/// Folds the journal; the answer comes when that is done.
async fn checkpoint(State(management): Shared) -> Response {
    let made = management.faces.engine.checkpoint().await;
    respond(made.map(|commit| json_answer(StatusCode::OK, &json!({"commit": commit}))))
}

/// How far the checkpoint is that is being made.
async fn progress(State(management): Shared) -> Response {
    let now = management.faces.engine.checkpointing();
    let is_running = now.is_some();
    let now = now.unwrap_or_default();
    let told = json!({"running": is_running, "read": now.read, "files": now.files, "written": now.written});
    json_answer(StatusCode::OK, &told)
}

async fn list(State(management): Shared) -> Response {
    let engine = Arc::clone(&management.faces.engine);
    // It reads the whole store.
    let found = tokio::task::spawn_blocking(move || engine.set_aside()).await;
    let found = found.unwrap_or_else(|error| Err(EngineError::Vault(error.to_string())));
    respond(found.map(|found| json_answer(StatusCode::OK, &json!(found))))
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct Wish {
    key: String,
}

async fn remove(State(management): Shared, body: Body) -> Response {
    let result = async {
        let wish: Wish = read(body).await?;
        management.faces.engine.remove_aside(&wish.key).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    respond(result.await)
}
