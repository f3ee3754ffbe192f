//! Agreements that are ended, as Tractus-X's clients call it: retired.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, post};
use http::StatusCode;
use protocol::RefusalKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::processes::MAX_REASON;
use super::views::{self, Query};
use super::{Management, Shared, malformed, read, respond};
use crate::engine::EngineError;
use crate::http::problem::json_answer;
use crate::tables::{AgreementRecord, prefix};

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/contractagreements/retirements", post(retire))
        .route("/contractagreements/retirements/request", post(retired))
        .route("/contractagreements/retirements/{id}", delete(reactivate))
}

/// Which agreement, and why.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct Retirement {
    #[serde(rename = "agreementId", alias = "edc:agreementId", alias = "tx:agreementId")]
    agreement: String,
    #[serde(default, alias = "tx:reason", alias = "https://w3id.org/tractusx/v0.0.1/ns/reason")]
    reason: Option<String>,
}

async fn retire(State(management): Shared, body: Body) -> Response {
    let result = async {
        let request: Retirement = read(body).await?;
        let reason = request.reason.unwrap_or_else(|| "by the operator".to_owned());
        if reason.len() > MAX_REASON {
            return Err(malformed(format!("reason: longer than {MAX_REASON} bytes")));
        }
        management.faces.engine.end_agreement(&request.agreement, &reason).await
    };
    respond(result.await.map(|_| StatusCode::NO_CONTENT.into_response()))
}

async fn retired(State(management): Shared, body: Body) -> Response {
    let result = async {
        let query: Query = read(body).await?;
        let show = |record: &AgreementRecord| {
            let ended = record.ended.as_ref()?;
            Some(json!({
                "@context": [views::CONTEXT], "@type": "AgreementsRetirementEntry", "@id": record.agreement.id(),
                "agreementId": record.agreement.id(), "reason": ended.reason,
                "agreementRetirementDate": ended.at.as_millisecond(),
            }))
        };
        let found = query.run(&management.faces.engine, prefix::AGREEMENT, show)?;
        Ok::<_, EngineError>(json_answer(StatusCode::OK, &Value::Array(found)))
    };
    respond(result.await)
}

/// What both sides know to be over does not begin again; a new negotiation does.
async fn reactivate(State(management): Shared, Path(id): Path<String>) -> Response {
    let found = management.faces.engine.agreement(&id).and_then(|standing| match standing.record.ended {
        None => Err(EngineError::NotFound { kind: "retired agreement", id: id.clone() }),
        Some(_) => {
            let reason = format!("the agreement `{id}` is over for both sides; negotiate a new one");
            Err(EngineError::refused(RefusalKind::Disagreement, reason))
        }
    });
    respond(found)
}
