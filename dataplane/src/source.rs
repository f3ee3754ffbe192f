//! The port to where data is; one file for each kind.

mod below;
mod file;
mod folder;
mod http;
mod mqtt;
mod nats;
mod ngsi;
mod object;
mod place;
mod postgres;
mod tail;

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

pub use self::below::extended;
pub use self::file::{FileSource, Wanted as WantedRange, media_type_of, wanted_range};
pub use self::folder::FolderSource;
pub use self::http::{HttpAllowed, HttpAsked, HttpSource};
pub use self::mqtt::{MqttBroker, MqttSource};
pub use self::nats::{NatsConnections, NatsServer, NatsSource};
pub use self::ngsi::{NgsiQuery, NgsiSource, Notifications};
pub use self::object::{ObjectClient, ObjectSource};
pub use self::place::Places;
pub use self::postgres::{Parameter, ParameterKind, PostgresPools, PostgresSource, SqlForm};
pub use self::tail::{TailSource, Watches};
use crate::error::{SourceError, StreamError};
use crate::live::Events;

/// A body in chunks, with back-pressure.
pub type Body = UnsyncBoxBody<Bytes, StreamError>;

/// What a reader asks: method, what below the source, and the headers that mean something to a source.
#[derive(Debug, Clone, Default)]
pub struct DataRequest {
    /// GET or HEAD; POST or PUT where the source allows it.
    pub method: ::http::Method,
    /// What below the source, without a leading slash, percent-encoded as it was sent; empty for the source itself.
    pub path: String,
    /// Names and values, decoded.
    pub query: Vec<(String, String)>,
    /// Only `Range`, `If-*`, `Accept`, `Accept-Encoding` and `Content-Type` are looked at.
    pub headers: ::http::HeaderMap,
    /// Of a POST or PUT.
    pub body: Bytes,
}

impl DataRequest {
    /// A source that is one thing has nothing below it and takes no parameters.
    pub(crate) fn expect_plain(&self) -> Result<(), SourceError> {
        if !self.path.is_empty() {
            return Err(SourceError::NotFound(self.path.clone()));
        }
        self.expect_query(&[])
    }

    /// Every parameter must be one of `known`.
    pub(crate) fn expect_query(&self, known: &[&str]) -> Result<(), SourceError> {
        match self.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(SourceError::Asked(format!("the parameter `{name}` is not offered"))),
        }
    }

    pub(crate) fn expect_read(&self) -> Result<(), SourceError> {
        if self.method == ::http::Method::GET || self.method == ::http::Method::HEAD {
            Ok(())
        } else {
            Err(SourceError::Method)
        }
    }
}

/// What a source answers.
pub struct DataResponse {
    /// 200, 206, 304 or 416.
    pub status: ::http::StatusCode,
    /// Headers about the data alone.
    pub headers: ::http::HeaderMap,
    /// The data.
    pub body: Body,
}

impl fmt::Debug for DataResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

/// A future of a [`Source`].
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<DataResponse, SourceError>> + Send + 'a>>;

/// A future of live data.
pub type Subscribing<'a> = Pin<Box<dyn Future<Output = Result<Events, SourceError>> + Send + 'a>>;

/// Where data is. It is asked only by [`crate::serve`], which holds a grant.
pub trait Source: Send + Sync + fmt::Debug {
    /// Opens what is asked for; of what can only be followed there is nothing to open.
    fn open(&self, request: DataRequest) -> Opening<'_> {
        drop(request);
        Box::pin(async { Err(SourceError::OnlyLive) })
    }

    /// Whether it is many things under one name, of which there is a list.
    fn is_folder(&self) -> bool {
        false
    }

    /// Whether it can be read as a whole.
    fn is_whole(&self) -> bool {
        true
    }

    /// Whether it has live data.
    fn is_live(&self) -> bool {
        false
    }

    /// Follows live data: what comes after the event `after`, where the source knows it; what comes from now on otherwise.
    fn subscribe(&self, after: Option<String>) -> Subscribing<'_> {
        drop(after);
        Box::pin(async { Err(SourceError::NotLive) })
    }
}

/// What the answer of an upstream means that is no data. Where the reader `asked` for something of its own, an answer that
/// says that this cannot be is about the reader, and not about whoever provides the data.
pub(crate) fn refused(
    status: ::http::StatusCode,
    headers: &::http::HeaderMap,
    asked: bool,
    what: String,
) -> SourceError {
    use ::http::StatusCode;
    let of_the_request = [
        StatusCode::BAD_REQUEST,
        StatusCode::NOT_ACCEPTABLE,
        StatusCode::LENGTH_REQUIRED,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::URI_TOO_LONG,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        StatusCode::EXPECTATION_FAILED,
        StatusCode::UNPROCESSABLE_ENTITY,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    ];
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            SourceError::Busy { status, retry_after: headers.get(::http::header::RETRY_AFTER).cloned() }
        }
        StatusCode::NOT_FOUND | StatusCode::GONE if asked => SourceError::NotFound(what),
        status if asked && of_the_request.contains(&status) => {
            SourceError::Asked(format!("the source does not take what was asked: it answered {status}"))
        }
        status => SourceError::Upstream(status),
    }
}

/// A name that nobody guesses.
#[expect(clippy::disallowed_methods, reason = "names of this crate's own connections are no ids of the node")]
pub(crate) fn fresh_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// An answer without data.
pub(crate) fn nothing() -> Body {
    http_body_util::Empty::new()
        .map_err(|impossible: std::convert::Infallible| match impossible {})
        .boxed_unsync()
}

/// A whole answer of `media_type`.
pub(crate) fn whole(media_type: &'static str, bytes: Bytes) -> DataResponse {
    let mut headers = ::http::HeaderMap::new();
    headers.insert(::http::header::CONTENT_TYPE, ::http::HeaderValue::from_static(media_type));
    headers.insert(::http::header::CONTENT_LENGTH, bytes.len().into());
    let body =
        http_body_util::Full::new(bytes).map_err(|impossible: std::convert::Infallible| match impossible {});
    DataResponse { status: ::http::StatusCode::OK, headers, body: body.boxed_unsync() }
}

/// A body of chunks as they come.
pub(crate) fn streamed(chunks: impl Stream<Item = Result<Bytes, StreamError>> + Send + 'static) -> Body {
    http_body_util::StreamBody::new(chunks.map_ok(http_body::Frame::data)).boxed_unsync()
}
