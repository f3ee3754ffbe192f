//! What can be wrong with a managed resource.

/// A resource that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct CatalogError {
    path: String,
    reason: String,
}

impl CatalogError {
    /// At a place in the document, in one clause.
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }

    /// JSON pointer of what is wrong.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Why, one sentence.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
