//! Lists in pages: the answer names the next one in its `Link` (RFC 8288).

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, Uri, header};
use serde::Deserialize;
use serde_json::json;
use url::form_urlencoded::{self, Serializer};

use super::respond;
use crate::engine::EngineError;
use crate::http::problem::json_answer;
use crate::tables::Page;

/// Items of a page, where the request does not say how many.
const PAGE: usize = 100;
/// Most items of a page.
const MAX_PAGE: usize = 1000;

/// Which page of a list is asked for.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Paging {
    /// As the page before named it.
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

impl Paging {
    pub(super) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE)
    }
}

/// A page of what was asked for at `uri`, or the error in EDC's form.
pub(super) fn paged<T: serde::Serialize>(uri: &Uri, found: Result<Page<T>, EngineError>) -> Response {
    respond(found.map(|page| {
        let mut answer = json_answer(StatusCode::OK, &json!(page.items)).into_response();
        let next = page.next.and_then(|next| {
            let asked = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
            let query = Serializer::new(String::new())
                .extend_pairs(asked.filter(|(name, _)| name != "after"))
                .append_pair("after", &next)
                .finish();
            HeaderValue::try_from(format!("<{}?{query}>; rel=\"next\"", uri.path())).ok()
        });
        if let Some(next) = next {
            answer.headers_mut().append(header::LINK, next);
        }
        answer
    }))
}
