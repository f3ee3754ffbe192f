//! The signed agreement: signatures over its canonical form (RFC 8785).
//!
//! What is signed is a small statement. Its version 1 is that of release 0.1.0; signatures of every version hold for ever.
//!
//! | version | the statement |
//! | --- | --- |
//! | 1 | `agreement`, `sha-256`, `role`, `iat`; names no version; `parts` where something stands beside the agreement |
//! | 2 | further `version`, `signer`, and always `parts` |
//!
//! `parts` holds the digests of what stands beside the agreement in its message and is bound to it, by name. Releases that know
//! version 1 alone put nothing beside it, and pass over what they do not know in a statement: a consumer that runs one of them
//! binds the agreement alone, also where the provider has put something beside it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::did::{self, DidDocument, Relationship};
use crate::error::TrustError;
use crate::jose::{self, PrivateKey};

/// `typ` of a signature over an agreement.
const TYPE: &str = "concordat-agreement+jws";

/// The newest version of the statement.
pub const NEWEST: u32 = 2;

/// On which side of the agreement a signer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignerRole {
    /// Countersigns, in the verification message.
    Consumer,
    /// Signs first, in the agreement message.
    Provider,
}

impl SignerRole {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Provider => "provider",
        }
    }

    /// The message in which it signs.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Consumer => "ContractAgreementVerificationMessage",
            Self::Provider => "ContractAgreementMessage",
        }
    }

    /// The member of the agreement that names who stands there.
    pub(crate) const fn member(self) -> &'static str {
        match self {
            Self::Consumer => "assignee",
            Self::Provider => "assigner",
        }
    }
}

/// What a signature said, after it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgreementSignature {
    /// Who signed.
    pub signer: String,
    /// With which key.
    pub key_id: String,
    /// In which role.
    pub role: SignerRole,
    /// When, by the signer's clock.
    pub signed_at: Timestamp,
    /// The version of the statement.
    pub version: u32,
    /// What stands beside the agreement is not bound by it: a consumer's of version 1.
    pub agreement_alone: bool,
}

/// What is signed: an agreement as sent, with what stands beside it in its message.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    /// The agreement.
    pub agreement: &'a Json,
    /// What stands beside it, by name.
    pub parts: &'a BTreeMap<String, Json>,
    /// The DIDs of parties that the agreement names otherwise, by that name.
    pub names: &'a BTreeMap<String, String>,
}

/// The names of an agreement in which each party stands with its DID.
pub static NO_NAMES: BTreeMap<String, String> = BTreeMap::new();

impl<'a> Bound<'a> {
    /// The DID of who must sign in `role`, by the agreement itself. A DID always stands for itself.
    #[must_use]
    pub fn party(&self, role: SignerRole) -> Option<&'a str> {
        let name = self.agreement.get(role.member()).and_then(Json::as_str)?;
        let other = self.names.get(name).filter(|_| !name.starts_with("did:"));
        Some(other.map_or(name, String::as_str))
    }

    /// The digest of each part.
    fn digests(&self) -> Result<BTreeMap<&str, String>, TrustError> {
        self.parts.iter().map(|(name, part)| Ok((name.as_str(), digest(part)?))).collect()
    }
}

/// SHA-256 of the canonical form, base64url without padding.
///
/// # Errors
/// The document has no canonical form (a number that is not finite).
pub fn digest(agreement: &Json) -> Result<String, TrustError> {
    let canonical = serde_json_canonicalizer::to_vec(agreement)
        .map_err(|error| TrustError::Signature(format!("the agreement has no canonical form: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)))
}

/// Signs what is `bound`, with a statement of `version`.
///
/// # Errors
/// There is no such version, or the key could not sign.
pub fn sign(
    key: &PrivateKey,
    kid: &str,
    role: SignerRole,
    bound: Bound<'_>,
    version: u32,
    now: Timestamp,
) -> Result<String, TrustError> {
    let (agreement, parts) = (bound.agreement, bound.digests()?);
    let mut statement = json!({
        "agreement": agreement.get("@id"),
        "sha-256": digest(agreement)?,
        "role": role.name(),
        "iat": now.as_second(),
    });
    match (version, &mut statement) {
        (1, _) if parts.is_empty() => {}
        (1, Json::Object(members)) => drop(members.insert("parts".to_owned(), json!(parts))),
        (NEWEST, Json::Object(members)) => {
            members.insert("version".to_owned(), json!(NEWEST));
            members.insert("signer".to_owned(), json!(bound.party(role)));
            members.insert("parts".to_owned(), json!(parts));
        }
        _ => return Err(TrustError::Signature(format!("there is no version {version} of it"))),
    }
    key.sign(kid, TYPE, statement.to_string().as_bytes())
}

/// The version of the statement under a signature that was not checked: in which version its receiver may answer.
#[must_use]
pub fn version_of(compact: &str) -> u32 {
    let payload = compact.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let statement = payload.and_then(|payload| serde_json::from_slice::<Json>(&payload).ok());
    statement.and_then(|statement| version(&statement)).unwrap_or(1)
}

/// `None` where it names one that cannot be.
fn version(statement: &Json) -> Option<u32> {
    match statement.get("version") {
        None => Some(1),
        Some(version) => version.as_u64().and_then(|version| u32::try_from(version).ok()),
    }
}

/// Checks that `compact` is the signature of the party in `role` over exactly this agreement and what stands beside it.
///
/// # Errors
/// Another signer, another agreement, another part, another role, or a signature that does not hold.
pub fn verify(
    compact: &str,
    role: SignerRole,
    bound: Bound<'_>,
    document: &DidDocument,
) -> Result<AgreementSignature, TrustError> {
    let agreement = bound.agreement;
    let refuse = |reason: String| TrustError::Signature(reason);
    let party = bound.party(role).ok_or_else(|| refuse(format!("the agreement names no {}", role.name())))?;
    if document.id() != party {
        return Err(refuse(format!(
            "the {} is `{party}`, the DID document is of `{}`",
            role.name(),
            document.id()
        )));
    }
    let (header, _) = jose::peek(compact)?;
    if header.get("typ").and_then(Json::as_str) != Some(TYPE) {
        return Err(refuse(format!("its `typ` is not `{TYPE}`")));
    }
    let kid = header
        .get("kid")
        .and_then(Json::as_str)
        .ok_or_else(|| refuse("it names no key (`kid`)".to_owned()))?;
    if !did::owns(party, kid) {
        return Err(refuse(format!("its key `{kid}` is not one of `{party}`")));
    }
    let payload = document.key(Some(kid), Relationship::AssertionMethod)?.verify(compact)?;
    let said: Json =
        serde_json::from_slice(&payload).map_err(|_| refuse("its payload is not JSON".to_owned()))?;
    let version = version(&said).filter(|version| (1..=NEWEST).contains(version)).ok_or_else(|| {
        let named = said.get("version").cloned().unwrap_or_default();
        refuse(format!("its statement is of version {named}; this program knows versions up to {NEWEST}"))
    })?;
    if version >= 2 {
        if said.get("signer").and_then(Json::as_str) != Some(party) {
            return Err(refuse(format!("its statement is not that of `{party}`")));
        }
        if !said.get("parts").is_some_and(Json::is_object) {
            return Err(refuse(
                "its statement does not say what it binds beside the agreement (`parts`)".to_owned(),
            ));
        }
    }
    if said.get("agreement") != agreement.get("@id") {
        return Err(refuse("it is over another agreement".to_owned()));
    }
    if said.get("sha-256").and_then(Json::as_str) != Some(digest(agreement)?.as_str()) {
        return Err(refuse("the agreement was altered after it was signed".to_owned()));
    }
    let agreement_alone =
        said.get("parts").is_none() && !bound.parts.is_empty() && role == SignerRole::Consumer;
    if !agreement_alone {
        check_parts(&said, &bound.digests()?).map_err(refuse)?;
    }
    if said.get("role").and_then(Json::as_str) != Some(role.name()) {
        return Err(refuse(format!("it was made in another role than {}", role.name())));
    }
    let signed_at = said
        .get("iat")
        .and_then(Json::as_i64)
        .and_then(|at| Timestamp::from_second(at).ok())
        .ok_or_else(|| refuse("it does not say when it was made (`iat`)".to_owned()))?;
    let (signer, key_id) = (party.to_owned(), kid.to_owned());
    Ok(AgreementSignature { signer, key_id, role, signed_at, version, agreement_alone })
}

/// Whether a statement binds exactly what stands beside the agreement.
fn check_parts(said: &Json, parts: &BTreeMap<&str, String>) -> Result<(), String> {
    let none = Map::new();
    let bound = said.get("parts").and_then(Json::as_object).unwrap_or(&none);
    for (name, digest) in parts {
        match bound.get(*name) {
            Some(Json::String(stated)) if stated == digest => {}
            Some(_) => return Err(format!("`{name}` beside the agreement was altered after it was signed")),
            None => return Err(format!("it does not bind `{name}`, which stands beside the agreement")),
        }
    }
    match bound.keys().find(|name| !parts.contains_key(name.as_str())) {
        Some(name) => Err(format!("it binds `{name}`, which does not stand beside the agreement")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;

    #[test]
    fn key_order_does_not_matter_and_any_change_does() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let (did, kid) = ("did:web:p.example", "did:web:p.example#k");
        let document = DidDocument::of_node(did, kid, key.public_jwk(), &[]);
        let agreement =
            json!({"@id": "urn:a", "assigner": did, "assignee": did, "permission": [{"action": "use"}]});
        let beside = BTreeMap::from([("urn:concordat:words".to_owned(), json!(["allowed: use"]))]);
        for (version, parts) in
            (1..=NEWEST).flat_map(|version| [(version, BTreeMap::new()), (version, beside.clone())])
        {
            let bound = Bound { agreement: &agreement, parts: &parts, names: &NO_NAMES };
            let signature = sign(&key, kid, SignerRole::Provider, bound, version, now).unwrap();
            assert_eq!(version_of(&signature), version);
            check_changes(bound, &document, &signature, (kid, version, now));
        }
        let bound = Bound { agreement: &agreement, parts: &beside, names: &NO_NAMES };
        assert!(sign(&key, kid, SignerRole::Provider, bound, NEWEST + 1, now).is_err());
        assert_eq!((version_of("x"), version_of("a.b.c")), (1, 1));
    }

    fn check_changes(
        bound: Bound<'_>,
        document: &DidDocument,
        signature: &str,
        (kid, version, now): (&str, u32, Timestamp),
    ) {
        let agreement = bound.agreement;
        let check = |agreement: &Json, role| verify(signature, role, Bound { agreement, ..bound }, document);
        let held = check(agreement, SignerRole::Provider).unwrap();
        assert_eq!((held.key_id.as_str(), held.signed_at, held.version), (kid, now, version));
        let reordered: Json = serde_json::from_str(&agreement.to_string()).unwrap();
        assert_eq!(digest(&reordered).unwrap(), digest(agreement).unwrap());
        assert!(check(agreement, SignerRole::Consumer).unwrap_err().to_string().contains("in another role"));
        let mut other = agreement.clone();
        other["permission"] = json!([{"action": "sell"}]);
        assert!(
            check(&other, SignerRole::Provider)
                .unwrap_err()
                .to_string()
                .contains("altered after it was signed")
        );
        other["@id"] = json!("urn:b");
        assert!(
            check(&other, SignerRole::Provider).unwrap_err().to_string().contains("over another agreement")
        );
        other["assigner"] = json!("did:web:q.example");
        assert!(check(&other, SignerRole::Provider).is_err());
        let beside = |parts: &BTreeMap<String, Json>| {
            verify(signature, SignerRole::Provider, Bound { parts, ..bound }, document)
                .unwrap_err()
                .to_string()
        };
        let mut parts = bound.parts.clone();
        parts.insert("urn:concordat:rulebook".to_owned(), json!([]));
        assert!(beside(&parts).contains("does not bind `urn:concordat:rulebook`"));
        if let Some(name) = bound.parts.keys().next() {
            parts = BTreeMap::from([(name.clone(), json!(["allowed: everything"]))]);
            assert!(beside(&parts).contains("was altered after it was signed"));
            assert!(
                beside(&BTreeMap::new()).contains("it binds `urn:concordat:words`, which does not stand")
            );
        }
    }

    /// A consumer of release 0.1.0 signs the agreement and knows nothing of what stands beside it; a provider binds all it sends.
    #[test]
    fn a_consumer_of_version_1_binds_the_agreement_alone() {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let (did, kid) = ("did:web:p.example", "did:web:p.example#k");
        let document = DidDocument::of_node(did, kid, key.public_jwk(), &[]);
        let agreement = json!({"@id": "urn:a", "assigner": did, "assignee": did});
        let (none, parts) =
            (BTreeMap::new(), BTreeMap::from([("urn:concordat:words".to_owned(), json!([]))]));
        for (version, role, holds) in [
            (1, SignerRole::Consumer, true),
            (1, SignerRole::Provider, false),
            (2, SignerRole::Consumer, false),
        ] {
            let alone = Bound { agreement: &agreement, parts: &none, names: &NO_NAMES };
            let signature = sign(&key, kid, role, alone, version, Timestamp::UNIX_EPOCH).unwrap();
            assert!(!verify(&signature, role, alone, &document).unwrap().agreement_alone);
            let held = verify(&signature, role, Bound { parts: &parts, ..alone }, &document);
            assert_eq!(held.is_ok_and(|held| held.agreement_alone), holds, "{version} {role:?}");
        }
    }

    #[test]
    fn a_statement_of_an_unknown_version_or_with_other_parts_is_refused_by_name() {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let (did, kid) = ("did:web:p.example", "did:web:p.example#k");
        let document = DidDocument::of_node(did, kid, key.public_jwk(), &[]);
        let agreement = json!({"@id": "urn:a", "assigner": did, "assignee": "did:web:c.example"});
        for (change, reason) in [
            (json!({"version": 3}), "is of version 3; this program knows versions up to 2"),
            (json!({"version": "2"}), "is of version \"2\""),
            (json!({"version": 0}), "is of version 0"),
            (json!({"version": 2, "signer": "did:web:q.example", "parts": {}}), "is not that of"),
            (json!({"version": 2, "signer": did}), "does not say what it binds"),
            (
                json!({"version": 2, "signer": did, "parts": {"words": "x"}}),
                "binds `words`, which does not stand",
            ),
        ] {
            let mut statement = json!({"agreement": "urn:a", "sha-256": digest(&agreement).unwrap(),
                "role": "provider", "iat": 1_800_000_000});
            statement.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let signature = key.sign(kid, TYPE, statement.to_string().as_bytes()).unwrap();
            let bound = Bound { agreement: &agreement, parts: &BTreeMap::new(), names: &NO_NAMES };
            let error = verify(&signature, SignerRole::Provider, bound, &document).unwrap_err();
            assert!(error.to_string().contains(reason), "{change}: {error}");
        }
    }
}
