//! The data officer's view of what is known of persons: consents, requests with their deadlines, deletions.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use super::paging::{Paging, paged};
use super::{Management, Shared, answer, read, respond};
use crate::clock;
use crate::tables::{ConsentRecord, Page, StatementRecord};

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/personal/consents", get(consents))
        .route("/personal/requests", get(requests))
        .route("/personal/requests/{id}", get(request))
        .route("/personal/requests/{id}/answer", post(answer_request))
        .route("/personal/requests/{id}/prolong", post(prolong))
        .route("/personal/accesses", get(accesses))
        .route("/personal/deletions", get(deletions))
        .route("/contractagreements/{id}/contract-token", get(contract_token))
        .route("/contractagreements/{id}/statements", get(statements))
        .route("/contractagreements/{id}/deletions", post(confirm))
}

fn shown(record: &ConsentRecord) -> Value {
    json!({"person": record.person, "state": record.consent.state(clock::now()), "consent": record.consent})
}

async fn consents(State(management): Shared) -> Response {
    answer(management.faces.engine.consents(None).map(|all| all.iter().map(shown).collect::<Vec<_>>()))
}

async fn requests(State(management): Shared) -> Response {
    answer(management.faces.engine.subject_requests())
}

async fn request(State(management): Shared, Path(id): Path<String>) -> Response {
    let found = management.faces.engine.subject_request(&id);
    answer(found.map(|(record, note, subject)| json!({"request": record, "note": note, "subject": subject})))
}

/// How a request is answered.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HowAnswered {
    done: bool,
    reason: String,
}

async fn answer_request(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    let HowAnswered { done, reason } = match read(body).await {
        Ok(asked) => asked,
        Err(error) => return respond(Err(error)),
    };
    answer(management.faces.engine.answer_subject_request(&id, done, &reason).await)
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    reason: String,
}

async fn prolong(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    let Why { reason } = match read(body).await {
        Ok(asked) => asked,
        Err(error) => return respond(Err(error)),
    };
    answer(management.faces.engine.prolong_subject_request(&id, &reason).await)
}

/// Which accesses are wanted.
#[derive(Debug, Deserialize)]
struct Which {
    #[serde(default)]
    operator: Option<String>,
    #[serde(default)]
    service: Option<String>,
}

async fn accesses(
    State(management): Shared,
    uri: Uri,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Response {
    let (operator, service) = (which.operator.as_deref(), which.service.as_deref());
    let found = management.faces.engine.accesses(operator, service, paging.after(), paging.limit());
    paged(&uri, found)
}

async fn contract_token(State(management): Shared, Path(id): Path<String>) -> Response {
    answer(management.faces.engine.contract_token(&id).map(|token| json!({"contract_token": token})))
}

async fn deletions(State(management): Shared, uri: Uri, Query(paging): Query<Paging>) -> Response {
    paged(&uri, management.faces.engine.deletions(None, paging.after(), paging.limit()))
}

async fn statements(
    State(management): Shared,
    uri: Uri,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
) -> Response {
    let found = management.faces.engine.statements(&id, paging.after(), paging.limit());
    let shown = |(record, text): &(StatementRecord, String)| json!({"record": record, "statement": text});
    paged(&uri, found.map(|page| Page { items: page.items.iter().map(shown).collect(), next: page.next }))
}

/// That something was deleted.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmation {
    notice: String,
    statement: String,
}

async fn confirm(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    let Confirmation { notice, statement } = match read(body).await {
        Ok(asked) => asked,
        Err(error) => return respond(Err(error)),
    };
    let done = management.faces.engine.confirm_deletion(&id, &notice, &statement).await;
    respond(done.map(|()| StatusCode::NO_CONTENT.into_response()))
}
