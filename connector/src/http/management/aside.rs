//! Records that cannot be read: shown, and removed.

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
    Router::new().route("/store/aside", get(list)).route("/store/aside/remove", post(remove))
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
