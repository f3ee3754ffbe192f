//! What an authority decides: who gets credentials, which are taken back (DCP 1.0.1, issuer service).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Management, Shared, answer, malformed, read};
use crate::engine::EngineError;
use crate::tables::Issuance;

/// Longest reason, in bytes.
const MAX_REASON: usize = 1000;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/authority/requests", get(requests))
        .route("/authority/requests/{id}/approve", post(approve))
        .route("/authority/requests/{id}/reject", post(reject))
        .route("/authority/invitations", get(invitations).post(invite))
        .route("/authority/issued", get(issued))
        .route("/authority/issued/{id}/revoke", post(revoke))
}

async fn requests(State(management): Shared) -> Response {
    answer(management.faces.engine.issuances().map(|all| all.into_iter().map(shown).collect::<Vec<_>>()))
}

/// A request without what its holder gave for its answer.
fn shown(issuance: Issuance) -> Issuance {
    Issuance { access: None, ..issuance }
}

async fn invitations(State(management): Shared) -> Response {
    answer(management.faces.engine.invitations())
}

async fn issued(State(management): Shared) -> Response {
    answer(management.faces.engine.issued())
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct Claims {
    #[serde(default)]
    claims: Map<String, Value>,
}

async fn approve(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    let result = async {
        let Claims { claims } = read(body).await?;
        management.faces.engine.grant_issuance(&id, &claims).await.map(shown)
    };
    answer(result.await)
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct Why {
    reason: String,
}

/// A reason that is there and not a book.
async fn reason(body: Body) -> Result<String, EngineError> {
    let Why { reason } = read(body).await?;
    if reason.is_empty() || reason.len() > MAX_REASON {
        return Err(malformed(format!("reason: must be 1 to {MAX_REASON} bytes")));
    }
    Ok(reason)
}

async fn reject(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    let result =
        async { management.faces.engine.reject_issuance(&id, &reason(body).await?).await.map(shown) };
    answer(result.await)
}

async fn revoke(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    let result = async { management.faces.engine.revoke_credential(&id, &reason(body).await?).await };
    answer(result.await)
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct Invited {
    holder: String,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    claims: Map<String, Value>,
}

async fn invite(State(management): Shared, body: Body) -> Response {
    let result = async {
        let Invited { holder, types, claims } = read(body).await?;
        management.faces.engine.invite(&holder, &types, claims).await
    };
    answer(result.await)
}
