//! Open data: read by everybody, without a token.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use dataplane::{DataRequest, Metered, Reading};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use super::data::{Asked, error_answer, failed, streamed, unreadable};
use super::listener::PeerAddress;
use super::packing::packed;
use super::{Faces, pages};
use crate::clock::SystemClock;
use crate::engine::OpenDenial;

pub(super) fn routes() -> Router<Arc<Faces>> {
    let data = Router::new()
        .route("/data/{id}", get(read_it))
        .route("/data/{id}/{*path}", get(read_below))
        .layer(map_response(pages::handed_on));
    packed(data)
}

async fn read_it(
    State(faces): State<Arc<Faces>>,
    Extension(from): Extension<PeerAddress>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let wanted = Wanted { id, path: String::new(), query, method, headers };
    read(faces, from, wanted).await
}

async fn read_below(
    State(faces): State<Arc<Faces>>,
    Extension(from): Extension<PeerAddress>,
    Path((id, _)): Path<(String, String)>,
    uri: Uri,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let wanted = Wanted { id, path: super::below(&uri, 2), query, method, headers };
    read(faces, from, wanted).await
}

/// What a reader wants.
struct Wanted {
    id: String,
    path: String,
    query: Option<String>,
    method: Method,
    headers: HeaderMap,
}

async fn read(faces: Arc<Faces>, from: PeerAddress, wanted: Wanted) -> Response {
    let Wanted { id, path, query, method, mut headers } = wanted;
    let asked = Asked::read(query.as_deref());
    let admission = match faces.engine.admit_open(from.0, &id, asked.distribution.as_deref()) {
        Ok(admission) => admission,
        Err(OpenDenial::Unknown) => {
            let reason =
                "there is no open dataset of this id here; its page says how to ask, if it is listed";
            return error_answer(StatusCode::NOT_FOUND, "not-found", reason);
        }
        Err(OpenDenial::Busy(busy)) => {
            let reason = format!("{}; try again in {} s", busy.bound.reason(), busy.seconds);
            let mut answer = error_answer(StatusCode::TOO_MANY_REQUESTS, "busy", &reason);
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(busy.seconds));
            return answer;
        }
    };
    // Whatever a reader sends to show who it is concerns nobody here, least of all an upstream.
    headers.remove(header::AUTHORIZATION);
    let source = match faces.sources.open(&admission.data_address, admission.media_type.as_deref()) {
        Ok(source) => source,
        Err(error) => return failed(&faces, &id, &format!("{error:#}")).await,
    };
    let counts =
        method == Method::GET || method == Method::HEAD && headers.contains_key(dataplane::WANT_REPR_DIGEST);
    let (engine, counted, place) = (Arc::clone(&faces.engine), id.clone(), admission.place);
    let held = engine.tasks().hold();
    let ended = move |metered: Metered| {
        drop(place);
        if counts {
            held.carry_through(async move { engine.count_open(&counted, metered.bytes).await });
        }
    };
    let only_live = source.is_live() && !source.is_whole();
    let follow = if method == Method::GET { asked.follow(&headers, only_live) } else { None };
    let request = DataRequest { method, path, query: asked.further, headers, ..DataRequest::default() };
    let reading = Reading { request, follow, ticket: None };
    let clock = Arc::new(SystemClock);
    match dataplane::serve(admission.grant, source.as_ref(), reading, admission.signal, clock, ended).await {
        Ok(response) => streamed(response),
        Err(error) => unreadable(&faces, &id, &error).await,
    }
}
