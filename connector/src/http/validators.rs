//! Validators of documents (RFC 9110, section 8.8), and the answer to those who have them already.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::clock;
use crate::ids::hex;

/// A document, or that the asker has it: its entity tag is one of those that the asker named, or it named none and nothing
/// was changed since the time that it named.
pub(super) fn answer(
    asked: &HeaderMap,
    changed: Option<Timestamp>,
    media_type: &'static str,
    body: Vec<u8>,
) -> Response {
    let tag = format!("\"{}\"", hex(&Sha256::digest(&body)));
    // What changed within this second may change once more within it.
    let changed = changed.filter(|at| at.as_second() < clock::now().as_second());
    let same = match asked.get(header::IF_NONE_MATCH) {
        Some(known) => {
            let known = known.to_str().unwrap_or_default();
            known
                .split(',')
                .map(|one| one.trim().trim_start_matches("W/"))
                .any(|one| one == tag || one == "*")
        }
        None => is_old(asked, changed),
    };
    let mut answer = match same {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))], body).into_response(),
    };
    let tag = HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""));
    answer.headers_mut().insert(header::ETAG, tag);
    if let Some(at) = changed
        && let Ok(at) = HeaderValue::try_from(httpdate::fmt_http_date(at.into()))
    {
        answer.headers_mut().insert(header::LAST_MODIFIED, at);
    }
    answer
}

fn is_old(asked: &HeaderMap, changed: Option<Timestamp>) -> bool {
    let since = asked.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    let since = since.and_then(|text| httpdate::parse_http_date(text).ok());
    let since = since.and_then(|at| Timestamp::try_from(at).ok());
    since.zip(changed).is_some_and(|(since, changed)| changed.as_second() <= since.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_it_is_told_so() {
        let changed: Timestamp = "2026-05-01T10:00:00.5Z".parse().unwrap();
        let ask = |name: header::HeaderName, value: &str| {
            let mut asked = HeaderMap::new();
            asked.insert(name, HeaderValue::from_str(value).unwrap());
            answer(&asked, Some(changed), "text/plain", b"x".to_vec()).status()
        };
        let first = answer(&HeaderMap::new(), Some(changed), "text/plain", b"x".to_vec());
        assert_eq!(first.headers()[header::LAST_MODIFIED], "Fri, 01 May 2026 10:00:00 GMT");
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(ask(header::IF_NONE_MATCH, &tag), 304);
        assert_eq!(ask(header::IF_NONE_MATCH, &format!("\"a\", W/{tag}")), 304);
        assert_eq!(ask(header::IF_NONE_MATCH, "\"a\""), 200);
        assert_eq!(ask(header::IF_MODIFIED_SINCE, "Fri, 01 May 2026 10:00:00 GMT"), 304);
        assert_eq!(ask(header::IF_MODIFIED_SINCE, "Fri, 01 May 2026 09:59:59 GMT"), 200);
        assert_eq!(ask(header::IF_MODIFIED_SINCE, "yesterday"), 200);
        let now = answer(&HeaderMap::new(), Some(clock::now()), "text/plain", Vec::new());
        assert!(!now.headers().contains_key(header::LAST_MODIFIED), "it may change within this second");
    }
}
