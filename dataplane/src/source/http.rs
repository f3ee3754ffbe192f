//! An upstream over HTTP with its own credentials, which never leave the node.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, AGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;

use super::folder::pattern_of;
use super::{DataRequest, DataResponse, Opening, Source, refused};
use crate::error::{SourceError, StreamError};

/// Handed to the upstream; nothing else of the reader's request is.
const ASKED: [HeaderName; 9] = [
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    ACCEPT,
    ACCEPT_ENCODING,
    CONTENT_TYPE,
];
/// Handed to the reader; nothing else of the upstream's answer is.
const ANSWERED: [HeaderName; 12] = [
    CONTENT_TYPE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    ACCEPT_RANGES,
    ETAG,
    LAST_MODIFIED,
    EXPIRES,
    AGE,
    VARY,
    http::header::CACHE_CONTROL,
];

/// What readers may ask of an upstream beyond its address; nothing unless it is named.
#[derive(Debug, Clone, Default)]
pub struct HttpAllowed {
    paths: Vec<glob::Pattern>,
    parameters: Vec<String>,
    methods: Vec<Method>,
}

impl HttpAllowed {
    /// Patterns of paths below the address, names of parameters, and methods beside GET and HEAD.
    ///
    /// # Errors
    /// A pattern or a method is none, or the method is not GET, HEAD or POST.
    pub fn new(paths: &[String], parameters: Vec<String>, methods: &[String]) -> Result<Self, SourceError> {
        let paths = paths.iter().map(|path| pattern_of(path)).collect::<Result<_, _>>();
        let methods = methods.iter().map(|name| match name.as_str() {
            "GET" => Ok(Method::GET),
            "HEAD" => Ok(Method::HEAD),
            "POST" => Ok(Method::POST),
            other => Err(SourceError::Address(format!("data is not read with `{other}`: GET, HEAD or POST"))),
        });
        Ok(Self {
            paths: paths.map_err(SourceError::Address)?,
            parameters,
            methods: methods.collect::<Result<_, _>>()?,
        })
    }

    fn check(&self, request: &DataRequest) -> Result<(), SourceError> {
        let reads = [Method::GET, Method::HEAD];
        let methods: &[Method] = if self.methods.is_empty() { &reads } else { &self.methods };
        if !methods.contains(&request.method) {
            return Err(SourceError::Method);
        }
        let steps_out = request.path.split(['/', '\\']).any(|part| part == ".." || part == ".");
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        let allowed = |path: &str| self.paths.iter().any(|pattern| pattern.matches_with(path, options));
        if !request.path.is_empty() && (steps_out || !allowed(&request.path)) {
            return Err(SourceError::NotFound(request.path.clone()));
        }
        let known: Vec<_> = self.parameters.iter().map(String::as_str).collect();
        request.expect_query(&known)
    }
}

/// An address that the operator chose, behind the operator's credentials.
#[derive(Debug)]
pub struct HttpSource {
    client: reqwest::Client,
    url: url::Url,
    credentials: Option<(HeaderName, HeaderValue)>,
    allowed: HttpAllowed,
}

impl HttpSource {
    /// The upstream at `url`. `credentials` is a header of its own, marked sensitive here.
    #[must_use]
    pub fn new(
        client: reqwest::Client,
        url: url::Url,
        credentials: Option<(HeaderName, HeaderValue)>,
        allowed: HttpAllowed,
    ) -> Self {
        let credentials = credentials.map(|(name, mut value)| {
            value.set_sensitive(true);
            (name, value)
        });
        Self { client, url, credentials, allowed }
    }

    /// The address that is asked: each part of the path is encoded anew, so that none becomes another.
    fn address(&self, request: &DataRequest) -> Result<url::Url, SourceError> {
        let mut url = self.url.clone();
        if !request.path.is_empty() {
            let mut parts = url
                .path_segments_mut()
                .map_err(|()| SourceError::Address("it has no path to go on from".to_owned()))?;
            parts.pop_if_empty().extend(request.path.split('/'));
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        Ok(url)
    }
}

impl Source for HttpSource {
    fn open(&self, request: DataRequest) -> Opening<'_> {
        Box::pin(async move {
            self.allowed.check(&request)?;
            let url = self.address(&request)?;
            let mut headers = HeaderMap::new();
            for name in ASKED {
                if let Some(value) = request.headers.get(&name) {
                    headers.insert(name, value.clone());
                }
            }
            if let Some((name, value)) = &self.credentials {
                headers.insert(name, value.clone());
            }
            // What the reader says beyond the address that the operator chose.
            let said = ASKED.iter().any(|name| request.headers.contains_key(name));
            let below = !request.path.is_empty() || !request.query.is_empty();
            let asked = said || below || !request.body.is_empty() || request.method == Method::POST;
            let what = match request.query.is_empty() {
                true => request.path.clone(),
                false => {
                    let names: Vec<_> =
                        request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    format!("{}?{}", request.path, names.join("&"))
                }
            };
            let sent =
                self.client.request(request.method, url).headers(headers).body(request.body).send().await;
            let answer = sent.map_err(|error| SourceError::Unreachable(error.without_url()))?;
            let status = answer.status();
            let fine = status.is_success()
                || [
                    StatusCode::NOT_MODIFIED,
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    StatusCode::PRECONDITION_FAILED,
                ]
                .contains(&status);
            if !fine {
                // That nothing is there is about the reader only where the reader chose where.
                let asked = asked && (below || !matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE));
                return Err(refused(status, answer.headers(), asked, what));
            }
            let mut headers = HeaderMap::new();
            for name in ANSWERED {
                if let Some(value) = answer.headers().get(&name) {
                    headers.insert(name, value.clone());
                }
            }
            let body = Streamed { inner: Box::pin(answer.bytes_stream()) }.boxed_unsync();
            Ok(DataResponse { status, headers, body })
        })
    }
}

struct Streamed {
    inner: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        self.inner.as_mut().poll_next(cx).map(|item| {
            item.map(|chunk| match chunk {
                Ok(bytes) => Ok(Frame::data(bytes)),
                Err(error) => Err(StreamError::Source(Box::new(error.without_url()))),
            })
        })
    }
}
