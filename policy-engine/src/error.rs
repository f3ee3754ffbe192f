//! What can be wrong with the text of a policy.

/// A policy that cannot be read: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct PolicyError {
    path: String,
    reason: String,
}

impl PolicyError {
    pub(crate) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        let path = path.into();
        Self { path: if path.is_empty() { "/".to_owned() } else { path }, reason: reason.into() }
    }

    /// JSON pointer (RFC 6901) of the offending value, `/` for the whole policy.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there, one sentence.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
