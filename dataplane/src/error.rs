//! Why data cannot be had, and why a stream ended early.

/// A source did not give what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The data address cannot be used as it is.
    #[error("the data address is wrong: {0}")]
    Address(String),
    /// Only GET and HEAD read data.
    #[error("data is read with GET or HEAD")]
    Method,
    /// The file cannot be read.
    #[error("the source cannot be read")]
    Read(#[source] std::io::Error),
    /// The upstream cannot be reached in time.
    #[error("the source cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The upstream answered with an error of its own.
    #[error("the source answered {0}")]
    Upstream(http::StatusCode),
}

/// A stream ended before its data did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// What permitted it does no more.
    #[error("the stream was cut: {0}")]
    Cut(String),
    /// The source failed on the way.
    #[error("the source failed while it was read")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
}
