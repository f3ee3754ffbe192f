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

use super::{DataRequest, DataResponse, Opening, Source};
use crate::error::{SourceError, StreamError};

/// Handed to the upstream; nothing else of the reader's request is.
const ASKED: [HeaderName; 8] = [
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    ACCEPT,
    ACCEPT_ENCODING,
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

/// An address that the operator chose, behind the operator's credentials.
#[derive(Debug)]
pub struct HttpSource {
    client: reqwest::Client,
    url: url::Url,
    credentials: Option<(HeaderName, HeaderValue)>,
}

impl HttpSource {
    /// The upstream at `url`. `credentials` is a header of its own, marked sensitive here.
    #[must_use]
    pub fn new(
        client: reqwest::Client,
        url: url::Url,
        credentials: Option<(HeaderName, HeaderValue)>,
    ) -> Self {
        let credentials = credentials.map(|(name, mut value)| {
            value.set_sensitive(true);
            (name, value)
        });
        Self { client, url, credentials }
    }
}

impl Source for HttpSource {
    fn open(&self, request: DataRequest) -> Opening<'_> {
        Box::pin(async move {
            if request.method != Method::GET && request.method != Method::HEAD {
                return Err(SourceError::Method);
            }
            let mut headers = HeaderMap::new();
            for name in ASKED {
                if let Some(value) = request.headers.get(&name) {
                    headers.insert(name, value.clone());
                }
            }
            if let Some((name, value)) = &self.credentials {
                headers.insert(name, value.clone());
            }
            let sent = self.client.request(request.method, self.url.clone()).headers(headers).send().await;
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
                return Err(SourceError::Upstream(status));
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
