//! How requests leave: a source's own client goes where its operator said; what others chose goes through a client that
//! looks at the address first, which the node brings along.

use std::fmt::Debug;

use async_trait::async_trait;

/// Sends requests.
#[async_trait]
pub trait Requests: Debug + Send + Sync {
    /// Sends `request` and gives the head of the answer.
    ///
    /// # Errors
    /// See [`Unsent`].
    async fn send(&self, request: reqwest::Request) -> Result<reqwest::Response, Unsent>;
}

/// A request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unsent {
    /// This node does not talk to that address; nothing was sent.
    #[error("{0}")]
    Forbidden(String),
    /// It could not be made, or nobody answered.
    #[error("the request failed")]
    Failed(#[source] reqwest::Error),
}

impl Unsent {
    /// Whether nobody could be reached.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_connect())
    }

    /// Whether there was no answer in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_timeout())
    }

    /// The same without the address, which may carry secrets.
    #[must_use]
    pub fn without_url(self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(error.without_url()),
            other @ Self::Forbidden(_) => other,
        }
    }
}

impl From<reqwest::Error> for Unsent {
    fn from(error: reqwest::Error) -> Self {
        Self::Failed(error)
    }
}

/// For addresses that the operator chose.
#[async_trait]
impl Requests for reqwest::Client {
    async fn send(&self, request: reqwest::Request) -> Result<reqwest::Response, Unsent> {
        Ok(self.execute(request).await?)
    }
}
