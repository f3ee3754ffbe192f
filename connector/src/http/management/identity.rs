//! Who this node is, and its keys.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use trust::Algorithm;

use super::{Management, Shared, answer, read};
use crate::engine::{Engine, EngineError};
use crate::keyring::Rotation;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new().route("/identity", get(identity)).route("/identity/rotate", post(rotate))
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

#[derive(Debug, Deserialize)]
struct Wish {
    #[serde(rename = "keyType", default)]
    key_type: KeyType,
    #[serde(flatten)]
    rotation: Rotation,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeyType {
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
