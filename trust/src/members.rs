//! The members of a data space, as its authority states them: who belongs to it, since when, in which roles.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::did::{self, DidDocument, Relationship};
use crate::error::TrustError;
use crate::jose::{self, PrivateKey};

/// `typ` of a list.
const TYPE: &str = "concordat-members+jwt";
/// Longest list, in bytes.
pub const MAX_LIST: usize = 4 * 1024 * 1024;
/// Oldest list that is believed.
const MAX_AGE: SignedDuration = SignedDuration::from_secs(300);

/// A list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberList {
    /// The data space, an IRI.
    pub space: String,
    /// When it was made, by the authority's clock.
    pub at: Timestamp,
    /// In the order of their DIDs.
    pub members: Vec<Member>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its DID.
    pub did: String,
    /// Since when it has the oldest of its credentials that are valid.
    pub since: Timestamp,
    /// Their types.
    pub credentials: Vec<String>,
    /// The roles that they state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// Signs a list.
///
/// # Errors
/// The key could not sign.
pub fn sign(key: &PrivateKey, kid: &str, list: &MemberList) -> Result<String, TrustError> {
    key.sign(kid, TYPE, json!(list).to_string().as_bytes())
}

/// The list of the authority with `document`.
///
/// # Errors
/// It is another's, does not hold, or is older than five minutes.
pub fn open(compact: &str, document: &DidDocument, now: Timestamp) -> Result<MemberList, TrustError> {
    let refuse = |reason: &str| TrustError::Signature(reason.to_owned());
    let (header, _) = jose::peek_within(compact, MAX_LIST)?;
    if header.get("typ").and_then(Json::as_str) != Some(TYPE) {
        return Err(refuse("it is no list of members"));
    }
    let kid = header.get("kid").and_then(Json::as_str).filter(|kid| did::owns(document.id(), kid));
    let kid = kid.ok_or_else(|| refuse("it names no key of the authority"))?;
    let payload = document.key(Some(kid), Relationship::AssertionMethod)?.verify_within(compact, MAX_LIST)?;
    let list: MemberList =
        serde_json::from_slice(&payload).map_err(|_| refuse("it does not say who the members are"))?;
    if now.duration_since(list.at).abs() > MAX_AGE {
        return Err(refuse("it was made more than five minutes ago, or by a clock that is wrong"));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;

    #[test]
    fn a_list_is_of_one_authority_and_of_now() {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let document = |did: &str| DidDocument::of_node(did, &format!("{did}#k"), key.public_jwk(), &[]);
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let member = Member {
            did: "did:web:m".to_owned(),
            since: now,
            credentials: vec!["MembershipCredential".to_owned()],
            roles: vec!["agency".to_owned()],
        };
        let list = MemberList { space: "https://s.example".to_owned(), at: now, members: vec![member] };
        let compact = sign(&key, "did:web:a#k", &list).unwrap();
        assert_eq!(open(&compact, &document("did:web:a"), now).unwrap(), list);
        assert!(open(&compact, &document("did:web:b"), now).is_err(), "another's");
        let later = now + SignedDuration::from_secs(301);
        assert!(open(&compact, &document("did:web:a"), later).is_err(), "old");
        let other = key.sign("did:web:a#k", "JWT", json!(list).to_string().as_bytes()).unwrap();
        assert!(open(&other, &document("did:web:a"), now).is_err(), "another kind of statement");
        let mut torn = compact.into_bytes();
        torn[200] ^= 1;
        assert!(open(&String::from_utf8(torn).unwrap(), &document("did:web:a"), now).is_err());
    }
}
