//! Messages that others do not have: what waits, what was given up, and sending that again.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{Management, Shared, answer, read, respond};
use crate::engine::Delivery;
use crate::tables::ProcessKind;

/// Messages of a page, where the request does not say how many.
const PAGE: usize = 100;
/// Most messages of a page.
const MAX_PAGE: usize = 1000;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/deliveries", get(list))
        .route("/deliveries/again", post(all_again))
        .route("/deliveries/{id}", delete(forget))
        .route("/deliveries/{id}/again", post(again))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    peer: Option<String>,
    /// The last one of the page before.
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

async fn list(State(management): Shared, Query(which): Query<Which>) -> Response {
    let limit = which.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let found = management.faces.engine.undelivered(which.peer.as_deref(), which.after.as_deref(), limit);
    answer(found.map(|found| found.iter().map(shown).collect::<Vec<_>>()))
}

fn shown(delivery: &Delivery) -> Json {
    let entry = delivery.entry();
    // Events go to the address itself; what stands behind the addresses of participants is here which event it is.
    let (address, event) = match entry.kind {
        ProcessKind::Callback => (entry.address.clone(), Some(&entry.message.path)),
        _ => (format!("{}/{}", entry.address, entry.message.path), None),
    };
    let mut shown = json!({
        "@id": entry.message.id, "kind": entry.kind.name(), "about": entry.pid, "peer": entry.peer,
        "address": address, "since": entry.since,
    });
    if let (Some(event), Some(map)) = (event, shown.as_object_mut()) {
        map.insert("event".to_owned(), json!(event));
    }
    let more = match delivery {
        Delivery::Waiting(_, attempts) => {
            json!({"state": "WAITING", "attempts": attempts.failed, "reason": attempts.reason})
        }
        Delivery::Undelivered(record) => {
            let state = if record.refused { "REFUSED" } else { "GIVEN_UP" };
            json!({"state": state, "reason": record.reason, "givenUpAt": record.given_up_at})
        }
    };
    if let (Some(shown), Json::Object(more)) = (shown.as_object_mut(), more) {
        shown.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
    }
    shown
}

async fn again(State(management): Shared, Path(id): Path<String>) -> Response {
    let sent = management.faces.engine.send_again(&id).await;
    respond(sent.map(|()| StatusCode::NO_CONTENT.into_response()))
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Peer {
    peer: String,
}

async fn all_again(State(management): Shared, body: Body) -> Response {
    let sent = async {
        let asked: Peer = read(body).await?;
        management.faces.engine.send_all_again(&asked.peer).await
    };
    answer(sent.await.map(|messages| json!({"messages": messages})))
}

async fn forget(State(management): Shared, Path(id): Path<String>) -> Response {
    let forgotten = management.faces.engine.forget_undelivered(&id).await;
    respond(forgotten.map(|()| StatusCode::NO_CONTENT.into_response()))
}
