//! Service levels: what was promised and attained, period by period; disputes and waivers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;

use super::{Management, Shared, answer, malformed, read, respond};
use crate::engine::EngineError;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/contractagreements/{id}/levels", get(show))
        .route("/contractagreements/{id}/levels/{period}/dispute", post(dispute))
        .route("/contractagreements/{id}/levels/{period}/waive", post(waive))
}

fn number(period: &str) -> Result<u64, EngineError> {
    period.parse().map_err(|_| malformed(format!("`{period}` is not the number of a period")))
}

async fn show(State(management): Shared, Path(id): Path<String>) -> Response {
    answer(management.faces.engine.levels_of(&id))
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Dispute {
    reason: String,
}

async fn dispute(
    State(management): Shared,
    Path((id, period)): Path<(String, String)>,
    body: Body,
) -> Response {
    match read::<Dispute>(body).await {
        Ok(asked) => match number(&period) {
            Ok(period) => {
                answer(management.faces.engine.speak_of_period(&id, period, None, &asked.reason).await)
            }
            Err(error) => respond(Err(error)),
        },
        Err(error) => respond(Err(error)),
    }
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiver {
    level: String,
    reason: String,
}

async fn waive(
    State(management): Shared,
    Path((id, period)): Path<(String, String)>,
    body: Body,
) -> Response {
    match read::<Waiver>(body).await {
        Ok(asked) => match number(&period) {
            Ok(period) => {
                let engine = &management.faces.engine;
                answer(engine.speak_of_period(&id, period, Some(&asked.level), &asked.reason).await)
            }
            Err(error) => respond(Err(error)),
        },
        Err(error) => respond(Err(error)),
    }
}
