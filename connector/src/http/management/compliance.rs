//! Whether agreements are kept.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;

use super::{Management, Shared, answer};

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/compliance", get(all))
        .route("/contractagreements/{id}/compliance", get(one))
        .route("/contractagreements/{id}/compliance/peer", get(of_peer))
        .route("/contractagreements/{id}/match", get(matched))
}

async fn all(State(management): Shared) -> Response {
    answer(management.faces.engine.all_compliance())
}

async fn one(State(management): Shared, Path(id): Path<String>) -> Response {
    answer(management.faces.engine.compliance(&id))
}

async fn of_peer(State(management): Shared, Path(id): Path<String>) -> Response {
    answer(management.faces.engine.peer_compliance(&id).await)
}

async fn matched(State(management): Shared, Path(id): Path<String>) -> Response {
    answer(management.faces.engine.match_logs(&id).await)
}
