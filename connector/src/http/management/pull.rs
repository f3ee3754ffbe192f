//! The data of a transfer, for a local caller, as the provider has it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode, Uri, header};

use super::{Management, Shared, error};
use crate::http::pages::handed_on_here;
use crate::reading::{self, Unread, Wanted};

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/transferprocesses/{id}/data", get(read))
        .route("/transferprocesses/{id}/data/{*path}", get(read_below))
        .layer(map_response(handed_on_here))
}

async fn read(
    State(management): Shared,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response {
    hand_on(&management, &id, String::new(), query, method, headers).await
}

async fn read_below(
    State(management): Shared,
    Path((id, _)): Path<(String, String)>,
    uri: Uri,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response {
    hand_on(&management, &id, crate::http::below(&uri, 3), query, method, headers).await
}

async fn hand_on(
    management: &Management,
    id: &str,
    path: String,
    query: Option<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let pairs = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let query = pairs.into_owned().collect();
    let wanted = Wanted { method, path, query, headers, ..Wanted::default() };
    match reading::read(&management.faces.engine, id, wanted).await {
        Ok(answer) => {
            let mut response = Response::new(Body::from_stream(answer.body));
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            response
        }
        Err(unread) => refused(&unread),
    }
}

/// Why nothing is read, in EDC's form.
pub(in crate::http) fn refused(unread: &Unread) -> Response {
    let text = unread.to_string();
    match unread {
        Unread::Engine(problem) => super::refusing(problem),
        Unread::Conflict(_) => error(StatusCode::CONFLICT, "ObjectConflict", &text),
        Unread::Refused { status, retry_after, .. } => {
            let mut response = error(*status, "ProviderRefused", &text);
            if let Some(retry_after) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, retry_after.clone());
            }
            response
        }
    }
}
