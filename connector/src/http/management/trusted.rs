//! The trust list: whose word counts for which credentials.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Management, Shared, answer, read, respond};

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new().route("/trustedissuers", get(list).post(add)).route("/trustedissuers/{did}", delete(remove))
}

async fn list(State(management): Shared) -> Response {
    answer(management.faces.engine.trusted().map(|(configured, added)| {
        let configured = configured
            .into_iter()
            .map(|one| json!({"did": one.did, "types": one.types, "origin": "configuration"}));
        let added = added
            .into_iter()
            .map(|one| json!({"did": one.did, "types": one.types, "origin": "added", "since": one.since}));
        Value::Array(configured.chain(added).collect())
    }))
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct Wish {
    did: String,
    types: Vec<String>,
}

async fn add(State(management): Shared, body: Body) -> Response {
    let result = async {
        let wish: Wish = read(body).await?;
        let one = management.faces.engine.trust_issuer(&wish.did, &wish.types).await?;
        Ok(json!({"did": one.did, "types": one.types, "origin": "added", "since": one.since}))
    };
    answer(result.await)
}

async fn remove(State(management): Shared, Path(did): Path<String>) -> Response {
    let removed = management.faces.engine.distrust_issuer(&did).await;
    respond(removed.map(|()| StatusCode::NO_CONTENT.into_response()))
}
