//! The rulebooks of the data spaces that this node is in.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::Value;

use super::{Management, Shared, answer, read};

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/rulebooks", get(list).post(publish))
        .route("/rulebooks/fetch", post(fetch))
        .route("/rulebooks/accept", post(accept))
        .route("/rulebooks/check", get(check))
        .route("/rulebooks/acceptances", get(acceptances))
}

async fn list(State(management): Shared) -> Response {
    answer(management.faces.engine.rulebooks())
}

async fn publish(State(management): Shared, body: Body) -> Response {
    let published = async {
        let document: Value = read(body).await?;
        management.faces.engine.publish_rulebook(document).await
    };
    answer(published.await)
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    authority: String,
}

async fn fetch(State(management): Shared, body: Body) -> Response {
    let fetched = async {
        let Of { authority } = read(body).await?;
        management.faces.engine.fetch_rulebook(&authority).await
    };
    answer(fetched.await)
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    space: String,
    version: u32,
}

async fn accept(State(management): Shared, body: Body) -> Response {
    let accepted = async {
        let Which { space, version } = read(body).await?;
        management.faces.engine.accept_rulebook(&space, version).await
    };
    answer(accepted.await)
}

async fn check(State(management): Shared) -> Response {
    answer(management.faces.engine.check_rulebook())
}

async fn acceptances(State(management): Shared) -> Response {
    answer(management.faces.engine.acceptances())
}
