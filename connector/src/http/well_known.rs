//! What anybody may ask: versions, the DID document, health.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use protocol::wire::{Auth, ProtocolVersion, VersionResponse};

use super::problem::Problem;
use super::{DSP_PATH, Faces};
use crate::engine::EngineError;

type Shared = State<Arc<Faces>>;

pub(super) fn routes() -> Router<Arc<Faces>> {
    Router::new()
        .route("/.well-known/dspace-version", get(versions))
        .route("/.well-known/did.json", get(did_document))
        .route("/.well-known/connector-config", get(connector))
        .route("/health", get(health))
}

/// `ok`, or 503 with the reason while nothing can be written down here.
async fn health(State(faces): Shared) -> Response {
    match faces.engine.store_failing() {
        None => "ok\n".into_response(),
        Some(why) => {
            let text = format!("the store cannot be written: {why}\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn versions(State(faces): Shared) -> Response {
    let did = faces.engine.did();
    let method = did.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
    let answer = VersionResponse {
        protocol_versions: vec![ProtocolVersion {
            version: protocol::VERSION.to_owned(),
            path: DSP_PATH.to_owned(),
            binding: "HTTPS".to_owned(),
            service_id: Some(format!("{did}#dsp")),
            identifier_type: Some(method),
            auth: Some(Auth { protocol: "DCP".to_owned(), version: "1.0".to_owned(), profile: Vec::new() }),
        }],
    };
    axum::Json(answer).into_response()
}

/// What this connector says of itself (MIM4 2021, 5.8).
async fn connector(State(faces): Shared) -> Response {
    match faces.engine.connector_metadata().await {
        Ok(metadata) => axum::Json(metadata).into_response(),
        Err(error) => Problem::from(error).plain(),
    }
}

/// The document of a did:web of this host; a did:key carries its own.
async fn did_document(State(faces): Shared) -> Response {
    if !faces.engine.did().starts_with("did:web:") {
        return (StatusCode::NOT_FOUND, "this node's DID is not a did:web\n").into_response();
    }
    let document = match faces.engine.identity().document() {
        Ok(document) => document,
        Err(error) => return Problem::from(EngineError::from(error)).plain(),
    };
    let body = document.json().to_string();
    let headers = [
        (header::CONTENT_TYPE, "application/did+json"),
        (header::CACHE_CONTROL, "max-age=60"),
        // Resolvers in browsers read it as well (did:web, section CORS).
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, body).into_response()
}
