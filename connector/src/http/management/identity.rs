//! Who this node is, its keys and certificates.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use trust::Algorithm;

use super::{Management, Shared, answer, read, respond};
use crate::engine::{Engine, EngineError};
use crate::keyring::Rotation;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/identity", get(identity))
        .route("/identity/rotate", post(rotate))
        .route("/certificates/reload", post(reload))
}

fn shown(engine: &Engine) -> Result<Value, EngineError> {
    Ok(json!({
        "did": engine.did(),
        "keyId": engine.identity().key_id()?,
        "document": engine.identity().document()?.json(),
        "runningStreams": engine.streams().running(),
    }))
}

async fn identity(State(management): Shared) -> Response {
    answer(shown(&management.faces.engine))
}

async fn reload(State(management): Shared) -> Response {
    let reloaded = management.faces.engine.reload_certificates(&management.certificates).await;
    respond(reloaded.map(|()| StatusCode::NO_CONTENT.into_response()))
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct Wish {
    #[serde(rename = "keyType", default)]
    key_type: KeyType,
    #[serde(flatten)]
    rotation: Rotation,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum KeyType {
    #[default]
    Ed25519,
    P256,
}

async fn rotate(State(management): Shared, body: Body) -> Response {
    let result = async {
        let wish: Wish = read(body).await?;
        let algorithm = match wish.key_type {
            KeyType::Ed25519 => Algorithm::Ed25519,
            KeyType::P256 => Algorithm::P256,
        };
        management.faces.engine.rotate_key(algorithm, wish.rotation).await?;
        shown(&management.faces.engine)
    };
    answer(result.await)
}
