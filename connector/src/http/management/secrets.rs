//! Secrets for upstreams, which data addresses name (`secretName`); sealed in the store.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::views;
use super::{Management, Shared, read, respond};
use crate::engine::{EngineError, Write};
use crate::http::problem::json_answer;
use crate::ids;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new().route("/secrets", post(create).put(replace)).route("/secrets/{id}", get(one).delete(remove))
}

#[derive(Deserialize, schemars::JsonSchema)]
pub(super) struct Secret {
    #[serde(rename = "@id", default)]
    id: Option<String>,
    value: String,
}

async fn create(State(management): Shared, body: Body) -> Response {
    let result = async {
        let secret: Secret = read(body).await?;
        let id = secret.id.unwrap_or_else(ids::urn);
        management.faces.engine.put_secret(&id, &secret.value, Write::Create).await?;
        Ok::<_, EngineError>(json_answer(StatusCode::OK, &views::id_response(&id)))
    };
    respond(result.await)
}

async fn replace(State(management): Shared, body: Body) -> Response {
    let result = async {
        let secret: Secret = read(body).await?;
        let id = secret.id.unwrap_or_default();
        management.faces.engine.put_secret(&id, &secret.value, Write::Replace).await
    };
    respond(result.await.map(|()| StatusCode::NO_CONTENT.into_response()))
}

async fn one(State(management): Shared, Path(id): Path<String>) -> Response {
    let found = management.faces.engine.secret(&id).await;
    respond(found.map(|(value, at)| {
        let shown = json!({
            "@context": [views::CONTEXT], "@type": "Secret", "@id": id, "value": value,
            "createdAt": at.as_millisecond(),
        });
        json_answer(StatusCode::OK, &shown)
    }))
}

async fn remove(State(management): Shared, Path(id): Path<String>) -> Response {
    let result = management.faces.engine.delete_secret(&id).await;
    respond(result.map(|()| StatusCode::NO_CONTENT.into_response()))
}
