//! Data is packed with gzip for who takes it so: rows and other text that is as large as that pays. Not parts of data, whose
//! place is that in the data itself; not heads, whose length is that of the data; not what flows as it happens.

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::response::Response;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate as _, SizeAbove};

/// Smaller answers are not packed, in bytes.
const SMALLEST: u16 = 1024;

/// The same routes, whose answers are packed where that helps.
pub(super) fn packed<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    let pays = SizeAbove::new(SMALLEST).and(is_text);
    routes
        .layer(middleware::map_response(packed_elsewhere))
        .layer(CompressionLayer::new().compress_when(pays))
        .layer(middleware::map_response(of_packed))
        .layer(middleware::map_request(as_it_is))
}

fn is_text(status: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let is_whole = status == StatusCode::OK && !headers.contains_key(dataplane::REPR_DIGEST);
    let is_live =
        headers.get(header::CACHE_CONTROL).is_some_and(|value| value.as_bytes().starts_with(b"no-store"));
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|media_type| media_type.split(';').next()).unwrap_or_default().trim();
    let is_text = essence.starts_with("text/") && essence != "text/event-stream"
        || ["json", "xml", "ndjson", "jsonl"].iter().any(|end| essence.ends_with(end));
    is_whole && !is_live && is_text
}

/// Data that its source packed has the entity tag of that.
#[derive(Debug, Clone, Copy)]
struct PackedElsewhere;

async fn packed_elsewhere(mut response: Response) -> Response {
    if response.headers().contains_key(header::CONTENT_ENCODING) {
        response.extensions_mut().insert(PackedElsewhere);
    }
    response
}

/// Heads and parts are those of the data as it is.
async fn as_it_is(mut request: Request) -> Request {
    if request.method() == Method::HEAD || request.headers().contains_key(header::RANGE) {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    request
}

/// What is packed is the same data in other bytes: its entity tag is a weak one, so that nobody puts parts of both together
/// (RFC 9110, section 8.8.1).
async fn of_packed(mut response: Response) -> Response {
    if response.extensions().get::<PackedElsewhere>().is_some() {
        return response;
    }
    let headers = response.headers_mut();
    if headers.contains_key(header::CONTENT_ENCODING)
        && let Some(tag) = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok())
        && !tag.starts_with("W/")
        && let Ok(weak) = HeaderValue::try_from(format!("W/{tag}"))
    {
        headers.insert(header::ETAG, weak);
        headers.remove(header::ACCEPT_RANGES);
    }
    response
}
