//! The signed agreement: signatures over its canonical form (RFC 8785), and the file that proves it offline.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::did::{self, DidDocument, Relationship};
use crate::error::TrustError;
use crate::jose::{self, PrivateKey};

/// `typ` of a signature over an agreement.
const TYPE: &str = "concordat-agreement+jws";

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
    const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Provider => "provider",
        }
    }

    /// Who must sign in this role, by the agreement itself.
    fn party(self, agreement: &Json) -> Option<&str> {
        let property = match self {
            Self::Consumer => "assignee",
            Self::Provider => "assigner",
        };
        agreement.get(property).and_then(Json::as_str)
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

/// Signs an agreement as sent.
///
/// # Errors
/// The key could not sign.
pub fn sign(
    key: &PrivateKey,
    kid: &str,
    role: SignerRole,
    agreement: &Json,
    now: Timestamp,
) -> Result<String, TrustError> {
    let payload = json!({
        "agreement": agreement.get("@id"),
        "sha-256": digest(agreement)?,
        "role": role.name(),
        "iat": now.as_second(),
    });
    key.sign(kid, TYPE, payload.to_string().as_bytes())
}

/// Checks that `compact` is the signature of the party in `role` over exactly this agreement.
///
/// # Errors
/// Another signer, another agreement, another role, or a signature that does not hold.
pub fn verify(
    compact: &str,
    role: SignerRole,
    agreement: &Json,
    document: &DidDocument,
) -> Result<AgreementSignature, TrustError> {
    let refuse = |reason: String| TrustError::Signature(reason);
    let party =
        role.party(agreement).ok_or_else(|| refuse(format!("the agreement names no {}", role.name())))?;
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
    if said.get("agreement") != agreement.get("@id") {
        return Err(refuse("it is over another agreement".to_owned()));
    }
    if said.get("sha-256").and_then(Json::as_str) != Some(digest(agreement)?.as_str()) {
        return Err(refuse("the agreement was altered after it was signed".to_owned()));
    }
    if said.get("role").and_then(Json::as_str) != Some(role.name()) {
        return Err(refuse(format!("it was made in another role than {}", role.name())));
    }
    let signed_at = said
        .get("iat")
        .and_then(Json::as_i64)
        .and_then(|at| Timestamp::from_second(at).ok())
        .ok_or_else(|| refuse("it does not say when it was made (`iat`)".to_owned()))?;
    Ok(AgreementSignature { signer: party.to_owned(), key_id: kid.to_owned(), role, signed_at })
}

/// A credential that a party showed, with what its revocation was checked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CredentialEvidence {
    /// The credential, a compact JWT.
    pub credential: String,
    /// The status lists, compact JWTs, in the order of the credential's entries.
    pub status_lists: Vec<String>,
    /// When it was checked.
    pub checked_at: Timestamp,
}

/// An agreement with all that is needed to check it offline, as `concordat agreements export` writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dossier {
    /// Format of this file: `concordat-dossier/1`.
    pub format: String,
    /// As sent by the provider.
    pub agreement: Json,
    /// The provider's signature.
    pub provider_signature: Option<String>,
    /// The consumer's signature.
    pub consumer_signature: Option<String>,
    /// The parties' DID documents as they were when the agreement was made, by DID.
    pub did_documents: BTreeMap<String, Json>,
    /// When it was exported.
    pub exported_at: Timestamp,
}

impl Dossier {
    /// The value of `format`.
    pub const FORMAT: &'static str = "concordat-dossier/1";

    /// Reads a dossier file.
    ///
    /// # Errors
    /// Not JSON of this shape.
    pub fn parse(text: &[u8]) -> Result<Self, TrustError> {
        let dossier: Self =
            serde_json::from_slice(text).map_err(|error| TrustError::Dossier(error.to_string()))?;
        if dossier.format != Self::FORMAT {
            return Err(TrustError::Dossier(format!(
                "its format is `{}`, expected `{}`",
                dossier.format,
                Self::FORMAT
            )));
        }
        Ok(dossier)
    }

    /// Checks both signatures against the documents in the file: which key signed what and when, or what is wrong.
    #[must_use = "the file proves nothing unless both hold"]
    pub fn check(&self) -> [(SignerRole, Result<AgreementSignature, TrustError>); 2] {
        [SignerRole::Provider, SignerRole::Consumer].map(|role| (role, self.check_one(role)))
    }

    fn check_one(&self, role: SignerRole) -> Result<AgreementSignature, TrustError> {
        let compact = match role {
            SignerRole::Consumer => &self.consumer_signature,
            SignerRole::Provider => &self.provider_signature,
        };
        let compact = compact
            .as_deref()
            .ok_or_else(|| TrustError::Signature(format!("the {} did not sign", role.name())))?;
        let party = role
            .party(&self.agreement)
            .ok_or_else(|| TrustError::Dossier(format!("the agreement names no {}", role.name())))?;
        let json = self.did_documents.get(party).ok_or_else(|| {
            TrustError::Dossier(format!("the DID document of `{party}` is not in the file"))
        })?;
        verify(compact, role, &self.agreement, &DidDocument::parse(json.clone(), party)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;

    fn party(name: &str) -> (PrivateKey, String, DidDocument) {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let did = format!("did:web:{name}.example");
        let kid = format!("{did}#k");
        let document = DidDocument::of_node(&did, &kid, key.public_jwk(), &[]);
        (key, kid, document)
    }

    fn dossier() -> Dossier {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let (provider, provider_kid, provider_document) = party("provider");
        let (consumer, consumer_kid, consumer_document) = party("consumer");
        let agreement = json!({"@id": "urn:a", "@type": "Agreement", "target": "urn:d", "assigner": provider_document.id(),
            "assignee": consumer_document.id(), "timestamp": "2026-01-01T00:00:00Z", "permission": [{"action": "use"}]});
        Dossier {
            format: Dossier::FORMAT.to_owned(),
            provider_signature: Some(
                sign(&provider, &provider_kid, SignerRole::Provider, &agreement, now).unwrap(),
            ),
            consumer_signature: Some(
                sign(&consumer, &consumer_kid, SignerRole::Consumer, &agreement, now).unwrap(),
            ),
            did_documents: [provider_document, consumer_document]
                .into_iter()
                .map(|document| (document.id().to_owned(), document.json().clone()))
                .collect(),
            agreement,
            exported_at: now,
        }
    }

    #[test]
    fn a_dossier_says_who_signed_with_which_key_and_when() {
        let text = serde_json::to_vec(&dossier()).unwrap();
        let [(_, provider), (_, consumer)] = Dossier::parse(&text).unwrap().check();
        let (provider, consumer) = (provider.unwrap(), consumer.unwrap());
        assert_eq!(provider.key_id, "did:web:provider.example#k");
        assert_eq!(consumer.signer, "did:web:consumer.example");
        assert_eq!(provider.signed_at.as_second(), 1_800_000_000);
    }

    #[test]
    fn key_order_does_not_matter_and_any_change_does() {
        let good = dossier();
        let reordered: Json = serde_json::from_str(&good.agreement.to_string()).unwrap();
        assert_eq!(digest(&reordered).unwrap(), digest(&good.agreement).unwrap());
        let wrong = |change: &dyn Fn(&mut Dossier)| {
            let mut changed = good.clone();
            change(&mut changed);
            let [(_, provider), (_, consumer)] = changed.check();
            assert!(provider.is_err() || consumer.is_err());
        };
        wrong(&|d| d.agreement["permission"] = json!([{"action": "sell"}]));
        wrong(&|d| d.agreement["@id"] = json!("urn:b"));
        wrong(&|d| std::mem::swap(&mut d.provider_signature, &mut d.consumer_signature));
        wrong(&|d| d.consumer_signature = None);
        wrong(&|d| d.did_documents = BTreeMap::new());
        wrong(&|d| {
            let (_, _, stranger) = party("provider");
            d.did_documents.insert(stranger.id().to_owned(), stranger.json().clone());
        });
    }
}
