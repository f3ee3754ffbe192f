//! This node's identity: its DID, its key, its DID document.

use anyhow::Context as _;
use jiff::Timestamp;
use trust::{DidDocument, PrivateKey, SignerRole, TrustError};

use crate::config::Config;
use crate::{ids, secrets};

/// Who this node is, and how it signs.
#[derive(Debug)]
pub struct Identity {
    did: String,
    key_id: String,
    key: PrivateKey,
    document: DidDocument,
    /// In a closed test network: sent in place of tokens.
    fixed_header: Option<String>,
}

impl Identity {
    /// Reads the key that the configuration names.
    ///
    /// # Errors
    /// The key file is missing, readable by others, or no key; or the DID is a did:key of another key.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let path = config.path(&config.participant.key);
        let jwk = serde_json::from_str(&secrets::read(&path)?)
            .with_context(|| format!("the key file {} is not JSON", path.display()))?;
        let key = PrivateKey::from_jwk(&jwk).with_context(|| format!("in {}", path.display()))?;
        let did = config.participant.did.clone();
        let (key_id, document) = if did.starts_with("did:key:") {
            let own = trust::did::key_of(key.public_jwk())?;
            anyhow::ensure!(own == did, "participant.did is `{did}`, but the key is that of `{own}`");
            (format!("{did}#{}", did.trim_start_matches("did:key:")), trust::did::key_document(&did)?)
        } else {
            let key_id = format!("{did}#key-1");
            let versions = format!("{}/.well-known/dspace-version", config.reached_at());
            let catalog = format!("{}/catalog", config.dsp_address());
            let services = [("dsp", "DataService", versions), ("catalog", "CatalogService", catalog)];
            let document = DidDocument::of_node(&did, &key_id, key.public_jwk(), &services);
            (key_id, document)
        };
        let fixed_header = config.closed_test_network.as_ref().map(|closed| closed.authorization.clone());
        Ok(Self { did, key_id, key, document, fixed_header })
    }

    /// The participant id.
    #[must_use]
    pub fn did(&self) -> &str {
        &self.did
    }

    /// The id of the key that signs.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// What others resolve the DID to.
    #[must_use]
    pub const fn document(&self) -> &DidDocument {
        &self.document
    }

    /// The `Authorization` header of one request to `audience`: a fresh self-issued ID token.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn authorization(&self, audience: &str, now: Timestamp) -> Result<String, TrustError> {
        if let Some(fixed) = &self.fixed_header {
            return Ok(fixed.clone());
        }
        let token =
            trust::token::issue(&self.key, &self.key_id, &self.did, audience, &ids::urn(), None, now)?;
        Ok(format!("Bearer {token}"))
    }

    /// Signs an agreement in `role`.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn sign_agreement(
        &self,
        role: SignerRole,
        agreement: &serde_json::Value,
        now: Timestamp,
    ) -> Result<String, TrustError> {
        trust::dossier::sign(&self.key, &self.key_id, role, agreement, now)
    }

    /// Signs the statement of a journal checkpoint; empty where the key could not sign.
    #[must_use]
    pub fn sign_checkpoint(&self, statement: &[u8]) -> String {
        self.key.sign(&self.key_id, "concordat-checkpoint+jws", statement).unwrap_or_default()
    }
}
