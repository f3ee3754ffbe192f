//! Who may read the gateway: whoever has a key of this node, in whatever way their program can send one; and which web
//! pages may do it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::engine::Holder;
use crate::http::data::error_answer;
use crate::http::held;
use crate::http::listener::PeerAddress;
use crate::http::management::{Management, Scope};

/// Lets a request in that carries a key, and answers what browsers ask first.
pub(super) async fn admit(
    State(management): State<Arc<Management>>,
    mut request: Request,
    next: Next,
) -> Response {
    let origin = allowed_origin(&management, request.headers());
    let mut response = if request.method() == Method::OPTIONS && origin.is_some() {
        preflight()
    } else if let Some(holder) = holder(&management, request.headers(), request.uri().query()) {
        request.extensions_mut().insert(holder.clone());
        let actor = holder.acting(PeerAddress::of(&request));
        held::answer(&management.faces.engine, &holder, actor.act(next.run(request)).await)
    } else {
        let reason = "send a key of this node: as X-Api-Key, as Bearer token, or as the password of Basic \
                      authentication (concordat keys create NAME --scope consume)";
        let mut answer = error_answer(StatusCode::UNAUTHORIZED, "unauthenticated", reason);
        let challenge = HeaderValue::from_static("Basic realm=\"concordat\", Bearer");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        answer
    };
    if !management.gateway.origins.is_empty() {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let told = "ETag, Content-Range, Accept-Ranges, Content-Length, Concordat-Applied";
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(told));
    }
    response
}

/// The origin of the page, where the operator named it.
fn allowed_origin(management: &Management, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let text = origin.to_str().ok()?;
    management.gateway.origins.iter().any(|one| one.trim_end_matches('/') == text).then(|| origin.clone())
}

fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let methods = "GET, HEAD, POST";
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    let asked = "Authorization, X-Api-Key, Range, If-None-Match, If-Range, Last-Event-ID, Content-Type";
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(asked));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

fn holder(management: &Management, headers: &HeaderMap, query: Option<&str>) -> Option<Holder> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let in_header = headers.get("x-api-key").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let authorization = || {
        let (scheme, rest) = text(header::AUTHORIZATION)?.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(rest.trim().to_owned());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        decoded.split_once(':').map(|(_, password)| password.to_owned())
    };
    let in_address = || {
        let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let found = pairs.find(|(name, _)| name == "key").map(|(_, value)| value.into_owned());
        found.filter(|_| management.gateway.key_in_address)
    };
    let key = in_header.or_else(authorization).or_else(in_address);
    management.holder_of(&key?, Scope::Consume)
}
