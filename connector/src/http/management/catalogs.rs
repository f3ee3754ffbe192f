//! The catalogs that this node has read of others, as EDC's federated catalog gives them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;
use serde_json::{Value, json};

use super::views::{self, Query};
use super::{Management, Shared, read, respond};
use crate::engine::EngineError;
use crate::http::problem::json_answer;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new().route("/catalogs/request", post(query)).route("/catalog/query", post(query))
}

/// One catalog for each participant; of criteria, those about participants choose catalogs, all others datasets.
async fn query(State(management): Shared, body: Body) -> Response {
    let result = async {
        let query: Query = read(body).await?;
        let mut catalogs = Vec::new();
        for (participant, datasets, more) in management.faces.engine.known_catalogs().await? {
            catalogs.push(json!({
                "@context": [views::CONTEXT], "@id": format!("{participant}#catalog"), "@type": "Catalog",
                "participantId": participant, "dataset": datasets, "urn:concordat:more": more,
            }));
        }
        let shown = query.among_catalogs(catalogs)?;
        Ok::<_, EngineError>(json_answer(StatusCode::OK, &Value::Array(shown)))
    };
    respond(result.await)
}
