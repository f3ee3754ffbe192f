//! A message or decision that is not accepted: whose fault, in the specification's error form.

/// Why a message is refused. The kind becomes `code` of the error body and, in the shell, the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// A bound is reached for now: the same may be asked again later.
    Busy,
    /// What the parties say of each other or of the terms does not fit together.
    Disagreement,
    /// The message is not allowed in the current state.
    IllegalTransition,
    /// The message cannot be read.
    Malformed,
    /// No such process for this participant.
    NotFound,
    /// It is understood, and this node does not do it.
    NotSupported,
    /// The terms asked for are not offered.
    TermsNotOffered,
    /// A bound was exceeded for good.
    TooMuch,
    /// The sender is not who they must be.
    Unauthenticated,
}

impl RefusalKind {
    /// `code` in the error body.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Disagreement => "disagreement",
            Self::IllegalTransition => "illegal-transition",
            Self::Malformed => "malformed",
            Self::NotFound => "not-found",
            Self::NotSupported => "not-supported",
            Self::TermsNotOffered => "terms-not-offered",
            Self::TooMuch => "too-much",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

/// A refusal with its reason. It changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Whose fault, and what kind.
    pub kind: RefusalKind,
    /// One sentence for the person at the peer.
    pub reason: String,
}

impl Refusal {
    /// A refusal of `kind` with its reason.
    #[must_use]
    pub fn new(kind: RefusalKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}
