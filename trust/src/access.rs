//! The access token inside a self-issued ID token (DCP 1.0.1, sections 4.3.1 and 5.1): a holder's own word to itself
//! that one verifier may ask for some credentials, for a short time.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::dcp::{EDC_TYPE_SCOPE, Selector};
use crate::did::{self, DidDocument, Relationship};
use crate::error::TrustError;
use crate::jose::{self, PrivateKey};
use crate::token::SKEW;

/// How long an access token is good, in seconds.
pub const LIFETIME: i64 = 300;
/// `typ`: no other token of the holder can be taken for one.
const TYPE: &str = "concordat-access+jwt";

/// Lets `verifier` ask `holder` for what `scopes` name.
///
/// # Errors
/// The key could not sign.
pub fn issue(
    key: &PrivateKey,
    kid: &str,
    holder: &str,
    verifier: &str,
    scopes: &[String],
    now: Timestamp,
) -> Result<String, TrustError> {
    let at = now.as_second();
    let claims = json!({
        "iss": holder, "aud": holder, "sub": verifier, "scope": scopes.join(" "), "iat": at,
        "exp": at.saturating_add(LIFETIME),
    });
    key.sign(kid, TYPE, claims.to_string().as_bytes())
}

/// What `verifier` may ask for by an access token of `holder`, whose own document is given.
///
/// # Errors
/// Not a token of ours, for another verifier, or expired.
pub fn check(
    compact: &str,
    holder: &DidDocument,
    verifier: &str,
    now: Timestamp,
) -> Result<Vec<Selector>, TrustError> {
    let refuse = |reason: &str| TrustError::Token(format!("the access token: {reason}"));
    let (header, _) = jose::peek(compact)?;
    if header.get("typ").and_then(Json::as_str) != Some(TYPE) {
        return Err(refuse("is not one of this node"));
    }
    let kid = header.get("kid").and_then(Json::as_str).filter(|kid| did::owns(holder.id(), kid));
    let payload = holder.key(kid, Relationship::AssertionMethod)?.verify(compact)?;
    let claims: Json = serde_json::from_slice(&payload).map_err(|_| refuse("is not JSON"))?;
    let text = |name: &str| claims.get(name).and_then(Json::as_str);
    if text("iss") != Some(holder.id()) || text("aud") != Some(holder.id()) {
        return Err(refuse("is not one of this node"));
    }
    if text("sub") != Some(verifier) {
        return Err(refuse("was given to another verifier"));
    }
    if claims.get("exp").and_then(Json::as_i64).is_none_or(|exp| now.as_second() >= exp.saturating_add(SKEW))
    {
        return Err(refuse("has expired"));
    }
    Ok(text("scope").unwrap_or_default().split(' ').filter_map(Selector::of_scope).collect())
}

/// Whether another holder's access token is in the scopes of Eclipse EDC up to 0.15. It is for the holder alone to check; what it
/// says only tells in which words its holder is asked.
#[must_use]
pub fn is_in_edc_scopes(compact: &str) -> bool {
    let payload = jose::peek(compact).map(|(_, payload)| payload).unwrap_or_default();
    let claims: Json = serde_json::from_slice(&payload).unwrap_or_default();
    let scopes = claims.get("scope").and_then(Json::as_str).unwrap_or_default();
    scopes.split(' ').any(|scope| scope.starts_with(EDC_TYPE_SCOPE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dcp::scope_of;
    use crate::jose::Algorithm;

    #[test]
    fn an_access_token_is_for_one_verifier_and_its_scopes() {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let (holder, kid) = ("did:web:h.example", "did:web:h.example#k");
        let document = DidDocument::of_node(holder, kid, key.public_jwk(), &[]);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let scopes = [scope_of("MembershipCredential"), "something else".to_owned()];
        let token = issue(&key, kid, holder, "did:web:v", &scopes, now).unwrap();
        let allowed = check(&token, &document, "did:web:v", now).unwrap();
        assert_eq!(allowed, [Selector::Kind("MembershipCredential".to_owned())]);
        assert!(
            check(&token, &document, "did:web:w", now).unwrap_err().to_string().contains("another verifier")
        );
        assert!(!is_in_edc_scopes(&token) && !is_in_edc_scopes("opaque"));
        let edcs = issue(&key, kid, holder, "did:web:v", &[crate::dcp::edc_scope_of("X")], now).unwrap();
        assert!(is_in_edc_scopes(&edcs));
        let later = Timestamp::from_second(1_800_000_000 + LIFETIME + SKEW).unwrap();
        assert!(check(&token, &document, "did:web:v", later).unwrap_err().to_string().contains("expired"));
        let id_token = crate::token::issue(&key, kid, holder, "did:web:v", "j", None, now).unwrap();
        assert!(check(&id_token, &document, "did:web:v", now).is_err(), "an ID token is no access token");
    }
}
