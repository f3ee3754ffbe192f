//! What is wrong with a document.

/// A document that cannot be taken: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Malformed {
    /// JSON pointer.
    pub path: String,
    /// One clause.
    pub reason: String,
}

impl Malformed {
    pub(crate) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }
}

/// Refuses a text that is empty or beyond its bound.
pub(crate) fn text(path: &str, text: &str, longest: usize) -> Result<(), Malformed> {
    if text.is_empty() || text.len() > longest {
        return Err(Malformed::new(path, format!("is empty or longer than {longest} bytes")));
    }
    Ok(())
}

/// Refuses lists and texts beyond their bounds.
pub(crate) fn bounded(path: &str, list: &[String], most: usize, longest: usize) -> Result<(), Malformed> {
    if list.len() > most {
        return Err(Malformed::new(path, format!("has more than {most} entries")));
    }
    list.iter().enumerate().try_for_each(|(at, one)| text(&format!("{path}/{at}"), one, longest))
}
