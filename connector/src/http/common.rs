//! What every answer of every face has: headers for browsers that get to see it, and, where a request does not even fit the
//! handler that it came to, the face's own form of errors. Both lie over whole faces, so that no handler can forget them.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use protocol::RefusalKind;

use super::problem::{Problem, Protocol};
use super::{DATA_PATH, DSP_PATH, NOTIFY_PATH, OPEN_PATH, PERSONAL_PATH, data, read_body};

/// Longest text that is taken over from a refusal without form, in bytes.
const MAX_SAID: usize = 4096;

/// No answer is taken for what it does not say that it is, and none is a page that runs or shows anything, unless its face says
/// more.
pub(super) async fn guarded(mut response: Response) -> Response {
    let policy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(policy));
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    response
}

/// A refusal that no handler of ours wrote (a path or parameter that cannot be read, a method or path that is not there), in the
/// form that `form` gives it; every other answer as it is.
pub(super) async fn formed(
    response: Response,
    form: impl FnOnce(StatusCode, String) -> Response,
) -> Response {
    let status = response.status();
    let is_rejection = matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY
    );
    let is_bare = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !is_rejection || !is_bare {
        return response;
    }
    let (parts, body) = response.into_parts();
    let said = match parts.headers.contains_key(header::CONTENT_ENCODING) {
        true => Vec::new(),
        false => read_body(body, MAX_SAID).await.unwrap_or_default(),
    };
    let said = String::from_utf8_lossy(&said);
    let reason = match said.trim() {
        "" if status == StatusCode::NOT_FOUND => "there is nothing at this address",
        "" => status.canonical_reason().unwrap_or("the request cannot be read"),
        said => said,
    };
    let mut answer = form(status, reason.to_owned());
    // What else is told, such as which methods there are, stays.
    for (name, value) in &parts.headers {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING].contains(name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

/// [`formed`] for what other participants reach: each path has the form of its protocol.
pub(super) async fn public_form(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let below = |face: &str| path.strip_prefix(face).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    // Pages are for people.
    if below(PERSONAL_PATH).is_some_and(|rest| rest == "/page") {
        return response;
    }
    formed(response, |status, reason| {
        let of_data = [DATA_PATH, NOTIFY_PATH].into_iter().any(|face| below(face).is_some())
            || below(OPEN_PATH).is_some_and(|rest| rest.starts_with("/data/"));
        if of_data {
            return data::error_answer(status, "request", &reason);
        }
        let kind =
            if status == StatusCode::NOT_FOUND { RefusalKind::NotFound } else { RefusalKind::Malformed };
        let problem = Problem { status, code: kind.code(), reason, detail: None };
        let protocol = match below(DSP_PATH).map(|rest| rest.split('/').nth(1)) {
            None => return problem.plain(),
            Some(Some("negotiations" | "agreements")) => Protocol::Negotiation,
            Some(Some("transfers")) => Protocol::Transfer,
            Some(_) => Protocol::Catalog,
        };
        problem.answer(protocol, &serde_json::Value::Null, None)
    })
    .await
}
