//! Whether the node is well, at EDC's addresses for orchestrators. Without a key: they tell nothing else.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use serde_json::json;

use super::{Management, Shared};
use crate::http::problem::json_answer;

pub(super) fn routes() -> Router<Arc<Management>> {
    let mut routes = Router::new();
    for what in ["health", "liveness", "readiness", "startup"] {
        routes = routes
            .route(&format!("/check/{what}"), get(check))
            .route(&format!("/api/check/{what}"), get(check));
    }
    routes
}

async fn check(State(management): Shared) -> Response {
    let failing = management.faces.engine.store_failing();
    let store = json!({"component": "store", "isHealthy": failing.is_none(), "failure": {"messages": failing.as_slice()}});
    let status = if failing.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_answer(status, &json!({"isSystemHealthy": failing.is_none(), "componentResults": [store]}))
}
