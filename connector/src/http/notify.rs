//! Where context brokers tell of changes (NGSI-LD notifications), for the live data of this node.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::StatusCode;

use super::{Faces, data, read_body};

/// Largest notification, in bytes.
const MAX_NOTIFICATION: usize = 4 * 1024 * 1024;

pub(super) fn routes() -> Router<Arc<Faces>> {
    Router::new().route("/{secret}", post(take))
}

async fn take(State(faces): State<Arc<Faces>>, Path(secret): Path<String>, body: Body) -> Response {
    let notifications = faces.sources.notifications();
    // Who does not know a secret that is awaited sends nothing that is read.
    if !notifications.awaits(&secret) {
        return data::error_answer(StatusCode::NOT_FOUND, "not-found", "nobody awaits this notification");
    }
    let taken = match read_body(body, MAX_NOTIFICATION).await {
        Ok(body) => notifications.take(&secret, &body).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match taken {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => StatusCode::GONE.into_response(),
        Err(reason) => data::error_answer(StatusCode::BAD_REQUEST, "notification", &reason),
    }
}
