//! Endpoint data references, as EDC's clients keep them: the transfers that this node reads, where, and with which token.
//! Asking for one negotiates and transfers in one call (Tractus-X).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use http::StatusCode;
use protocol::Role;
use protocol::wire::DataAddress;
use serde_json::{Value, json};

use super::operations::Scope;
use super::processes::ContractRequest;
use super::views::{self, Query};
use super::{Management, Shared, read, respond};
use crate::engine::{Engine, EngineError};
use crate::http::problem::json_answer;
use crate::tables::{TransferRecord, prefix};

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/edrs", post(ask))
        .route("/edrs/request", post(references))
        .route("/edrs/{id}", delete(forget))
        .route("/edrs/{id}/dataaddress", get(data_address))
        .route("/edrs/{id}/refresh", post(refresh))
}

/// Begins a negotiation; when its agreement is in force, the transfer begins by itself.
async fn ask(State(management): Shared, Extension(scope): Extension<Scope>, body: Body) -> Response {
    let result = async {
        let request: ContractRequest = read(body).await?;
        let record = request.begin(&management.faces.engine, scope, Some(catalog::HTTP_PULL)).await?;
        Ok::<_, EngineError>(json_answer(StatusCode::OK, &views::id_response(record.negotiation.pid())))
    };
    respond(result.await)
}

/// What of a transfer is read now.
fn started(record: TransferRecord, id: &str) -> Result<DataAddress, EngineError> {
    let transfer = record.transfer;
    let reads = transfer.role == Role::Consumer && transfer.is_open() && !record.attached.forgotten;
    let missing = || EngineError::NotFound { kind: "started transfer process", id: id.to_owned() };
    transfer.data_address.filter(|_| reads).ok_or_else(missing)
}

/// Where the provider said that data is, for clients that read it themselves.
async fn data_address(State(management): Shared, Path(id): Path<String>) -> Response {
    let found = management.faces.engine.transfer(&id).and_then(|record| started(record, &id));
    respond(found.map(|address| json_answer(StatusCode::OK, &shown(&address))))
}

/// The token that counts now: a provider that gave another one has told this node so already.
async fn refresh(State(management): Shared, Path(id): Path<String>) -> Response {
    data_address(State(management), Path(id)).await
}

/// An address as EDC's clients read it: properties under their bare names.
pub(super) fn shown(address: &DataAddress) -> Value {
    let mut shown = json!({
        "@context": [views::CONTEXT], "@type": "DataAddress", "type": address.endpoint_type,
        "endpointType": address.endpoint_type, "endpoint": address.endpoint,
    });
    if let Some(map) = shown.as_object_mut() {
        let properties = address.endpoint_properties.iter();
        let bare = |name: &str| name.strip_prefix(catalog::EDC).unwrap_or(name).to_owned();
        map.extend(properties.map(|one| (bare(&one.name), json!(one.value))));
    }
    shown
}

/// The transfers that this node reads now.
async fn references(State(management): Shared, body: Body) -> Response {
    let result = async {
        let query: Query = read(body).await?;
        let engine = &management.faces.engine;
        let entry = |record: &TransferRecord| entry(engine, record);
        Ok(json_answer(StatusCode::OK, &Value::Array(query.run(engine, prefix::TRANSFER, entry)?)))
    };
    respond(result.await)
}

fn entry(engine: &Engine, record: &TransferRecord) -> Option<Value> {
    let transfer = &record.transfer;
    if transfer.role != Role::Consumer
        || !transfer.is_open()
        || transfer.data_address.is_none()
        || record.attached.forgotten
    {
        return None;
    }
    let agreement = engine.agreement(transfer.agreement.as_str()).ok();
    Some(json!({
        "@context": [views::CONTEXT], "@type": "EndpointDataReferenceEntry", "@id": transfer.pid(),
        "transferProcessId": transfer.pid(), "agreementId": transfer.agreement, "assetId": transfer.dataset,
        "contractNegotiationId": agreement.map(|one| one.record.negotiation),
        "providerId": transfer.peer, "createdAt": transfer.progress.created.as_millisecond(),
    }))
}

/// Forgets where to read: the transfer itself goes on until somebody ends it.
async fn forget(State(management): Shared, Path(id): Path<String>) -> Response {
    let result = management.faces.engine.forget_reference(&id).await;
    respond(result.map(|()| StatusCode::NO_CONTENT.into_response()))
}
