//! This node's own credentials (DCP 1.0.1, credential service), and tokens for programs that speak for it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use trust::credential::Claimed;

use super::{Management, Shared, answer, malformed, read, respond};
use crate::engine::{Engine, EngineError, Held};
use crate::tables::{CredentialOffer, CredentialRequest};

/// Most scopes of one token.
const MAX_SCOPES: usize = 64;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/credentials", get(list))
        .route("/credentials/{issuer}/{type}", get(one).delete(remove))
        .route("/credentialoffers", get(offers))
        .route("/credentialrequests", get(requests).post(request))
        .route("/credentialrequests/{id}", get(one_request))
        .route("/tokens", post(token))
}

fn shown(engine: &Engine, held: &Held) -> Value {
    let forms = [Some(&held.compact), held.compact_v1.as_ref()].into_iter().flatten();
    let profiles =
        forms.filter_map(|compact| Claimed::read(compact).ok()).map(|one| one.described().0.name());
    json!({
        "issuer": held.record.issuer, "type": held.record.kind, "validUntil": held.record.until,
        "receivedAt": held.record.received_at, "profiles": profiles.collect::<Vec<_>>(),
        "standing": engine.credential_standing(held),
    })
}

async fn list(State(management): Shared) -> Response {
    let engine = &management.faces.engine;
    let looked = engine.look_at_own_credentials().await.and_then(|()| engine.held());
    answer(looked.map(|all| all.iter().map(|one| shown(engine, one)).collect::<Vec<_>>()))
}

async fn one(State(management): Shared, Path((issuer, kind)): Path<(String, String)>) -> Response {
    let engine = &management.faces.engine;
    let found = engine.look_at_own_credentials().await.and_then(|()| engine.held()).and_then(|all| {
        let is_it = |one: &&Held| one.record.issuer == issuer && one.record.kind == kind;
        // Of several the one that ends last.
        let held = all
            .iter()
            .filter(is_it)
            .max_by_key(|one| (one.record.until, one.record.received_at))
            .ok_or_else(|| EngineError::NotFound { kind: "credential", id: format!("{kind} of {issuer}") })?;
        let mut document = shown(engine, held);
        let (_, payload) = trust::jose::peek(&held.compact)?;
        let payload: Value = serde_json::from_slice(&payload).unwrap_or_default();
        if let Some(map) = document.as_object_mut() {
            map.insert("credential".to_owned(), payload.get("vc").cloned().unwrap_or(payload));
            map.insert("compact".to_owned(), json!(held.compact));
        }
        Ok(document)
    });
    answer(found)
}

async fn remove(State(management): Shared, Path((issuer, kind)): Path<(String, String)>) -> Response {
    let removed = management.faces.engine.remove_credential(&issuer, &kind).await;
    respond(removed.map(|()| StatusCode::NO_CONTENT.into_response()))
}

fn offer(one: CredentialOffer) -> Value {
    json!({"issuer": one.issuer, "types": one.credentials, "receivedAt": one.received_at})
}

async fn offers(State(management): Shared) -> Response {
    let found = management.faces.engine.credential_offers();
    answer(found.map(|all| all.into_iter().map(offer).collect::<Vec<_>>()))
}

fn requested(one: &CredentialRequest) -> Value {
    json!({
        "@id": one.id, "issuer": one.issuer, "types": one.types, "status": one.status, "location": one.location,
        "reason": one.reason, "at": one.at,
    })
}

async fn requests(State(management): Shared) -> Response {
    let found = management.faces.engine.credential_requests();
    answer(found.map(|all| all.iter().map(requested).collect::<Vec<_>>()))
}

async fn one_request(State(management): Shared, Path(id): Path<String>) -> Response {
    let found = management.faces.engine.credential_request(&id);
    answer(found.map(|one| requested(&one)))
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct Wish {
    issuer: String,
    #[serde(default)]
    types: Vec<String>,
}

async fn request(State(management): Shared, body: Body) -> Response {
    let result = async {
        let wish: Wish = read(body).await?;
        let made = management.faces.engine.request_credentials(&wish.issuer, &wish.types).await?;
        Ok(requested(&made))
    };
    answer(result.await)
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct TokenWish {
    audience: String,
    /// Credential types that the audience may ask for.
    #[serde(default)]
    types: Vec<String>,
}

async fn token(State(management): Shared, body: Body) -> Response {
    let result = async {
        let wish: TokenWish = read(body).await?;
        if wish.types.len() > MAX_SCOPES {
            return Err(malformed(format!("types: more than {MAX_SCOPES}")));
        }
        let token = management.faces.engine.self_issued_token(&wish.audience, &wish.types)?;
        let lifetime = trust::token::LIFETIME;
        Ok(json!({"access_token": token, "token_type": "Bearer", "expires_in": lifetime}))
    };
    answer(result.await)
}
