//! What can be wrong with an identity, a key, a token or a signature.

/// The operation that failed, and why; never contains key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// A credential that does not hold.
    #[error("the credential does not hold: {0}")]
    Credential(String),
    /// A DID that cannot be read or resolved.
    #[error("the DID `{did}` cannot be used: {reason}")]
    Did {
        /// The DID as written.
        did: String,
        /// Why.
        reason: String,
    },
    /// A DID document that cannot be used.
    #[error("the DID document of `{did}` cannot be used: {reason}")]
    Document {
        /// Whose.
        did: String,
        /// Why.
        reason: String,
    },
    /// A DID document that says of no key what it is for: nothing is known to be signed by it.
    #[error("the DID document of `{0}` says of no key what it is for")]
    UndeclaredKeys(String),
    /// A dossier that cannot be read.
    #[error("the dossier cannot be read: {0}")]
    Dossier(String),
    /// A key that cannot be used.
    #[error("the key cannot be used: {0}")]
    Key(String),
    /// A message of the Decentralized Claims Protocol that cannot be read.
    #[error("{0}")]
    Message(String),
    /// A presentation that does not hold.
    #[error("the presentation does not hold: {0}")]
    Presentation(String),
    /// A signature that does not hold.
    #[error("the signature does not hold: {0}")]
    Signature(String),
    /// A status list that cannot be read.
    #[error("the status list cannot be used: {0}")]
    Status(String),
    /// A token that is refused; the reason is for the operator, strangers learn only that it was refused.
    #[error("the token is refused: {0}")]
    Token(String),
}
