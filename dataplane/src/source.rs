//! The port to where data is; one file for each kind.

mod file;
mod http;

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

pub use self::file::FileSource;
pub use self::http::HttpSource;
use crate::error::{SourceError, StreamError};

/// A body in chunks, with back-pressure.
pub type Body = UnsyncBoxBody<Bytes, StreamError>;

/// What a reader asks: method and the headers that mean something to a source.
#[derive(Debug, Clone, Default)]
pub struct DataRequest {
    /// GET or HEAD.
    pub method: ::http::Method,
    /// Only `Range`, `If-*`, `Accept` and `Accept-Encoding` are looked at.
    pub headers: ::http::HeaderMap,
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

/// Where data is. It is asked only by [`crate::serve`], which holds a grant.
pub trait Source: Send + Sync + fmt::Debug {
    /// Opens what is asked for.
    fn open(&self, request: DataRequest) -> Opening<'_>;
}
