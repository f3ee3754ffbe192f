//! Seals of an audit log: the node's word that its log had so many entries at a moment, the last of them with this link.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::did::{self, DidDocument, Relationship};
use crate::error::TrustError;
use crate::jose::{self, PrivateKey};

/// `typ` of a seal.
const TYPE: &str = "concordat-audit+jws";

/// What a seal says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// How many entries the log had.
    pub count: u64,
    /// The link of the last, hex.
    pub link: String,
    /// When, by the node's clock.
    pub at: Timestamp,
}

/// Seals a log.
///
/// # Errors
/// The key could not sign.
pub fn seal(key: &PrivateKey, kid: &str, sealed: &Sealed) -> Result<String, TrustError> {
    key.sign(kid, TYPE, json!(sealed).to_string().as_bytes())
}

/// What a seal of `document`'s node says.
///
/// # Errors
/// It is of another, or does not hold.
pub fn open(compact: &str, document: &DidDocument) -> Result<Sealed, TrustError> {
    let refuse = |reason: &str| TrustError::Signature(reason.to_owned());
    let (header, _) = jose::peek(compact)?;
    if header.get("typ").and_then(Json::as_str) != Some(TYPE) {
        return Err(refuse("it is no seal of an audit log"));
    }
    let kid = header.get("kid").and_then(Json::as_str).filter(|kid| did::owns(document.id(), kid));
    let kid = kid.ok_or_else(|| refuse("it names no key of the node"))?;
    let payload = document.key(Some(kid), Relationship::AssertionMethod)?.verify(compact)?;
    serde_json::from_slice(&payload).map_err(|_| refuse("it says nothing of an audit log"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;

    #[test]
    fn a_seal_is_of_one_node_and_one_log() {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let document = |did: &str| DidDocument::of_node(did, &format!("{did}#k"), key.public_jwk(), &[]);
        let sealed = Sealed { count: 3, link: "00".to_owned(), at: Timestamp::UNIX_EPOCH };
        let compact = seal(&key, "did:web:a#k", &sealed).unwrap();
        assert_eq!(open(&compact, &document("did:web:a")).unwrap(), sealed);
        assert!(open(&compact, &document("did:web:b")).is_err());
        let other = key.sign("did:web:a#k", "JWT", json!(sealed).to_string().as_bytes()).unwrap();
        assert!(open(&other, &document("did:web:a")).is_err());
    }
}
