//! Keys of this API: hashed at rest, shown once, each with a scope.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::operations::Scope;
use super::{Management, Shared, malformed, read, respond};
use crate::http::problem::json_answer;

/// Longest name of a key, in bytes.
const MAX_NAME: usize = 200;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new().route("/apikeys", get(list).post(create)).route("/apikeys/{id}", delete(revoke))
}

async fn list(State(management): Shared) -> Response {
    respond(management.faces.engine.api_keys().map(|keys| {
        let shown = keys
            .into_iter()
            .map(|key| json!({"@id": key.id, "name": key.name, "scope": key.scope, "createdAt": key.created_at}))
            .collect();
        json_answer(StatusCode::OK, &Value::Array(shown))
    }))
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct Wish {
    name: String,
    scope: Scope,
}

async fn create(State(management): Shared, body: Body) -> Response {
    let result = async {
        let wish: Wish = read(body).await?;
        if wish.name.is_empty() || wish.name.len() > MAX_NAME {
            return Err(malformed(format!("name: must be 1 to {MAX_NAME} bytes")));
        }
        let (id, key) = management.faces.engine.make_api_key(&wish.name, wish.scope).await?;
        Ok(json_answer(
            StatusCode::OK,
            &json!({"@id": id, "name": wish.name, "scope": wish.scope, "key": key}),
        ))
    };
    respond(result.await)
}

async fn revoke(State(management): Shared, Path(id): Path<String>) -> Response {
    let revoked = management.faces.engine.revoke_api_key(&id).await;
    respond(revoked.map(|()| StatusCode::NO_CONTENT.into_response()))
}

/// What is kept of a key. It has 256 random bits, so a plain digest cannot be searched.
pub(crate) fn digest(key: &str) -> String {
    crate::ids::hex(&Sha256::digest(key))
}
