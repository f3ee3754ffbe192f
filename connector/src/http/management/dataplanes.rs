//! The data planes that EDC's clients list: this node has one, its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{delete, get};
use http::StatusCode;
use protocol::RefusalKind;
use serde_json::{Value, json};

use super::{Management, Shared, respond};
use crate::engine::EngineError;
use crate::http::problem::json_answer;

/// The id of the node's own.
const OWN: &str = "urn:concordat:data-plane";

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new().route("/dataplanes", get(list).post(register)).route("/dataplanes/{id}", delete(remove))
}

async fn list(State(management): Shared) -> Response {
    let own = json!({
        // Typed clients want an object here, and only here.
        "@context": {"@vocab": catalog::EDC}, "@type": "DataPlaneInstance", "@id": OWN,
        "url": format!("{}/data", management.faces.engine.public_address()),
        "state": "REGISTERED",
        "allowedSourceTypes": crate::sources::KINDS,
        "allowedDestTypes": ["HttpData", "HttpProxy"],
        "allowedTransferTypes": [catalog::HTTP_PULL, catalog::HTTP_PUSH],
        "destinationProvisionTypes": [],
        "properties": {},
    });
    json_answer(StatusCode::OK, &Value::Array(vec![own]))
}

async fn register() -> Response {
    let reason = "this node reads data itself, from the source; no other data plane can be registered";
    respond(Err(EngineError::refused(RefusalKind::Disagreement, reason)))
}

async fn remove(Path(id): Path<String>) -> Response {
    if id != OWN {
        return respond(Err(EngineError::NotFound { kind: "data plane", id }));
    }
    let reason = "it is this node's own, and goes with the node";
    respond(Err(EngineError::refused(RefusalKind::Disagreement, reason)))
}
