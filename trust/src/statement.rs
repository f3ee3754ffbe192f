//! Statements: what one party says to another, signed, for the record. Consents, withdrawals, acceptances of a rulebook,
//! measurements and confirmations are such; `typ` tells them apart, so that none is taken for another.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::did::{self, DidDocument, Relationship};
use crate::error::TrustError;
use crate::jose::{self, PrivateKey};
use crate::token::{MAX_LIFETIME, SKEW};

/// The claim that holds what is stated.
const STATED: &str = "urn:concordat:stated";

/// A statement whose signature held.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Who states it.
    pub by: String,
    /// For whom.
    pub to: String,
    /// Its id, chosen by who states it: a second one with it is a repeat.
    pub id: String,
    /// When, by the clock of who states it; whole seconds.
    pub at: Timestamp,
    /// What is stated.
    pub stated: Json,
}

impl Statement {
    /// Signs it as a compact JWS of the type `typ`.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn sign(&self, key: &PrivateKey, kid: &str, typ: &str) -> Result<String, TrustError> {
        let claims = json!({
            "iss": self.by, "aud": self.to, "jti": self.id, "iat": self.at.as_second(), STATED: self.stated,
        });
        key.sign(kid, typ, claims.to_string().as_bytes())
    }

    /// Refuses what was not made just now: for statements that take effect when they arrive.
    ///
    /// # Errors
    /// It is older than an hour, or from the future.
    pub fn fresh(&self, now: Timestamp) -> Result<(), TrustError> {
        let age = now.as_second().saturating_sub(self.at.as_second());
        if age > MAX_LIFETIME {
            return Err(refuse(&format!("it was made more than {MAX_LIFETIME} seconds ago")));
        }
        if age < -SKEW {
            return Err(refuse("it was made in the future; is a clock wrong?"));
        }
        Ok(())
    }
}

/// What a statement says of its author: not to be believed yet, only to fetch the right DID document.
#[derive(Debug, Clone)]
pub struct Claimed {
    compact: String,
    by: String,
    kid: String,
    limit: usize,
}

impl Claimed {
    /// Reads a compact JWS of the type `typ` and of up to `limit` bytes.
    ///
    /// # Errors
    /// Something else, too long, or under a key that is not its author's.
    pub fn read(compact: &str, typ: &str, limit: usize) -> Result<Self, TrustError> {
        let (header, payload) = jose::peek_within(compact, limit)?;
        if header.get("typ").and_then(Json::as_str) != Some(typ) {
            return Err(refuse(&format!("its `typ` is not `{typ}`")));
        }
        let claims: Json = serde_json::from_slice(&payload).map_err(|_| refuse("its payload is not JSON"))?;
        let by = text(&claims, "iss")?;
        let kid = header.get("kid").and_then(Json::as_str).filter(|kid| did::owns(&by, kid));
        let kid = kid.ok_or_else(|| refuse("its `kid` is not a key of its `iss`"))?.to_owned();
        Ok(Self { compact: compact.to_owned(), by, kid, limit })
    }

    /// Whose document is needed.
    #[must_use]
    pub fn by(&self) -> &str {
        &self.by
    }

    /// What is stated, unchecked: for a statement that was checked when it was recorded.
    ///
    /// # Errors
    /// It states nothing.
    pub fn stated(&self) -> Result<Json, TrustError> {
        let (_, payload) = jose::peek_within(&self.compact, self.limit)?;
        let mut claims: Json =
            serde_json::from_slice(&payload).map_err(|_| refuse("its payload is not JSON"))?;
        claims.get_mut(STATED).map(Json::take).ok_or_else(|| refuse("it states nothing"))
    }

    /// Checks the signature, and that it is meant for `to`.
    ///
    /// # Errors
    /// The signature does not hold, it is meant for another, or lacks a claim.
    pub fn verify(&self, document: &DidDocument, to: &str) -> Result<Statement, TrustError> {
        if document.id() != self.by {
            return Err(refuse("the document is of another DID"));
        }
        let key = document.key(Some(&self.kid), Relationship::AssertionMethod)?;
        let payload = key.verify_within(&self.compact, self.limit)?;
        let mut claims: Json =
            serde_json::from_slice(&payload).map_err(|_| refuse("its payload is not JSON"))?;
        if text(&claims, "aud")? != to {
            return Err(refuse(&format!("it is meant for another than `{to}`")));
        }
        let id = text(&claims, "jti")?;
        if id.is_empty() || id.len() > 256 {
            return Err(refuse("its `jti` is empty or longer than 256 bytes"));
        }
        let at = claims.get("iat").and_then(Json::as_i64).and_then(|at| Timestamp::from_second(at).ok());
        let at = at.ok_or_else(|| refuse("it does not say when it was made (`iat`)"))?;
        let stated = claims.get_mut(STATED).map(Json::take).ok_or_else(|| refuse("it states nothing"))?;
        Ok(Statement { by: self.by.clone(), to: to.to_owned(), id, at, stated })
    }
}

/// Who a statement of any kind says that it is of, unchecked: for the log of refusals.
#[must_use]
pub fn author(compact: &str) -> Option<String> {
    let (_, payload) = jose::peek(compact).ok()?;
    let claims: Json = serde_json::from_slice(&payload).ok()?;
    text(&claims, "iss").ok().filter(|by| by.len() <= 512)
}

fn refuse(reason: &str) -> TrustError {
    TrustError::Signature(reason.to_owned())
}

fn text(claims: &Json, name: &str) -> Result<String, TrustError> {
    let found = claims.get(name).and_then(Json::as_str);
    found.map(str::to_owned).ok_or_else(|| refuse(&format!("its `{name}` is missing or no string")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{Algorithm, MAX_JWS};

    #[test]
    fn a_statement_is_of_one_author_for_one_reader_and_of_one_kind() {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let document = |did: &str| DidDocument::of_node(did, &format!("{did}#k"), key.public_jwk(), &[]);
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let made = Statement {
            by: "did:web:a".to_owned(),
            to: "did:web:b".to_owned(),
            id: "urn:1".to_owned(),
            at,
            stated: json!({"yes": true}),
        };
        let compact = made.sign(&key, "did:web:a#k", "consent").unwrap();
        let claimed = Claimed::read(&compact, "consent", MAX_JWS).unwrap();
        assert_eq!(claimed.by(), "did:web:a");
        assert_eq!(claimed.verify(&document("did:web:a"), "did:web:b").unwrap(), made);
        assert!(claimed.verify(&document("did:web:a"), "did:web:c").is_err(), "another reader");
        assert!(claimed.verify(&document("did:web:x"), "did:web:b").is_err(), "another's document");
        assert!(Claimed::read(&compact, "withdrawal", MAX_JWS).is_err(), "another kind");
        assert!(Claimed::read(&compact, "consent", 100).is_err(), "too long");
        let foreign = made.sign(&key, "did:web:x#k", "consent").unwrap();
        assert!(Claimed::read(&foreign, "consent", MAX_JWS).is_err(), "a key of another");
        let other = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let forged = made.sign(&other, "did:web:a#k", "consent").unwrap();
        let forged = Claimed::read(&forged, "consent", MAX_JWS).unwrap();
        assert!(forged.verify(&document("did:web:a"), "did:web:b").is_err(), "forged");
        let later = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        assert!(made.fresh(later(3600)).is_ok() && made.fresh(later(-30)).is_ok());
        assert!(made.fresh(later(3601)).is_err() && made.fresh(later(-31)).is_err());
    }
}
