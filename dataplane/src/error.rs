//! Why data cannot be had, and why a stream ended early.

/// A source did not give what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The data address cannot be used as it is.
    #[error("the data address is wrong: {0}")]
    Address(String),
    /// Only GET and HEAD read data.
    #[error("this data is not read with that method")]
    Method,
    /// The reader asks for something that is not offered.
    #[error("{0}")]
    Asked(String),
    /// Nothing is there.
    #[error("there is nothing at `{0}`")]
    NotFound(String),
    /// It has no live data.
    #[error("this data is not live: read it as a whole")]
    NotLive,
    /// It has live data only.
    #[error("this data is live: follow it, with `Accept: text/event-stream`")]
    OnlyLive,
    /// What the agreement demands cannot be done to such data.
    #[error("what the agreement demands of the data cannot be done: {0}")]
    Obligation(String),
    /// The database, broker or store says no.
    #[error("the source failed: {0}")]
    Failed(String),
    /// The file cannot be read.
    #[error("the source cannot be read")]
    Read(#[source] std::io::Error),
    /// The upstream cannot be reached in time.
    #[error("the source cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The upstream answered with an error of its own.
    #[error("the source answered {0}")]
    Upstream(http::StatusCode),
    /// The upstream is asked too much, or cannot answer for a while: 429 or 503.
    #[error("the source answered {status}; try again later")]
    Busy {
        /// Which of the two.
        status: http::StatusCode,
        /// When it may be asked again, as the upstream says.
        retry_after: Option<http::HeaderValue>,
    },
}

impl SourceError {
    /// Whether it is a failure of whoever provides the data: not so where the reader asks for what is not there or cannot
    /// be, asks too often, or where the agreement cannot be kept.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Method
            | Self::Asked(_)
            | Self::NotFound(_)
            | Self::NotLive
            | Self::OnlyLive
            | Self::Obligation(_) => false,
            Self::Busy { status, .. } => *status != http::StatusCode::TOO_MANY_REQUESTS,
            Self::Address(_) | Self::Failed(_) | Self::Read(_) | Self::Unreachable(_) | Self::Upstream(_) => {
                true
            }
        }
    }
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
