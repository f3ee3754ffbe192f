//! This node's identity: its DID, its key, its DID document.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::Context as _;
use jiff::Timestamp;
use trust::credential::Statement;
use trust::presentation::Audience;
use trust::{Algorithm, CompromisedKey, DidDocument, Dossier, Profile, SignerRole, TrustError};

use crate::config::{ClosedIdentity, Config};
use crate::keyring::{Keyring, Rotation, Signer};
use crate::{clock, ids};

/// Who this node is, and how it signs.
#[derive(Debug)]
pub struct Identity {
    did: String,
    keys: RwLock<Keyring>,
    /// Name, type and address of each service in the DID document.
    services: Vec<(&'static str, &'static str, String)>,
    /// In a closed test network: sent in place of tokens.
    fixed_header: Option<String>,
    /// For what others may ask, and the access tokens that say so.
    shown: Mutex<Shown>,
    /// Told when a key takes the place of others.
    rotated: tokio::sync::Notify,
}

/// Access tokens by audience, so that a peer that asked once need not ask again for every message.
#[derive(Debug, Default)]
struct Shown {
    scopes: Vec<String>,
    tokens: HashMap<String, (String, Timestamp)>,
}

/// How long an access token is handed out again, in seconds; it is good for longer.
const REUSE: i64 = trust::access::LIFETIME / 2;
/// Most access tokens kept.
const MAX_TOKENS: usize = 4096;

impl Identity {
    /// Reads the key that the configuration names.
    ///
    /// # Errors
    /// The key file is missing, readable by others, or no key; or the DID is a did:key of another key.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let keys = Keyring::load(&config.path(&config.participant.key), clock::now())?;
        let did = config.participant.did.clone();
        if did.starts_with("did:key:") {
            let signer = keys.signer(clock::now()).context("a did:key without its key")?;
            let own = trust::did::key_of(signer.key.public_jwk())?;
            anyhow::ensure!(own == did, "participant.did is `{did}`, but the key is that of `{own}`");
        }
        let versions = format!("{}/.well-known/dspace-version", config.reached_at());
        let catalog = format!("{}/catalog", config.dsp_address());
        let holder = format!("{}{}", config.reached_at(), crate::http::HOLDER_PATH);
        let issuer = format!("{}{}", config.reached_at(), crate::http::ISSUER_PATH);
        let mut services = vec![
            ("dsp", "DataService", versions),
            ("catalog", "CatalogService", catalog),
            ("credentials", "CredentialService", holder),
        ];
        if config.authority.is_some() {
            services.push(("issuer", "IssuerService", issuer));
        }
        let closed =
            config.closed_test_network.as_ref().filter(|closed| closed.identity == ClosedIdentity::Fixed);
        let fixed_header = closed.map(|closed| closed.authorization.clone());
        Ok(Self {
            did,
            keys: RwLock::new(keys),
            services,
            fixed_header,
            shown: Mutex::default(),
            rotated: tokio::sync::Notify::new(),
        })
    }

    /// The participant id.
    #[must_use]
    pub fn did(&self) -> &str {
        &self.did
    }

    /// The id of the key that signs now.
    ///
    /// # Errors
    /// None signs.
    pub fn key_id(&self) -> Result<String, TrustError> {
        let signer = self.signer()?;
        Ok(self.kid(&signer))
    }

    fn kid(&self, signer: &Signer) -> String {
        match self.did.strip_prefix("did:key:") {
            Some(multibase) => format!("{}#{multibase}", self.did),
            None => format!("{}#{}", self.did, signer.name),
        }
    }

    fn signer(&self) -> Result<Arc<Signer>, TrustError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let signer = keys.signer(clock::now()).cloned();
        signer.ok_or_else(|| TrustError::Key("no key of this node signs now".to_owned()))
    }

    /// What others resolve the DID to now.
    ///
    /// # Errors
    /// A did:key that is none.
    pub fn document(&self) -> Result<DidDocument, TrustError> {
        if self.did.starts_with("did:key:") {
            return trust::did::key_document(&self.did);
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        Ok(DidDocument::with_keys(&self.did, &keys.shown(&self.did, clock::now()), &self.services))
    }

    /// Makes a new key that takes the place of the others as `rotation` says; its id.
    ///
    /// # Errors
    /// A did:key has one key for ever; or a file cannot be written.
    pub fn rotate(&self, algorithm: Algorithm, rotation: Rotation) -> anyhow::Result<String> {
        anyhow::ensure!(!self.did.starts_with("did:key:"), "a did:key is its key and cannot get another");
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *keys = keys.rotated(algorithm, rotation, clock::now())?;
        let newest = keys.shown(&self.did, clock::now()).pop().map(|key| key.id);
        if let Err(error) = keys.destroy_retired(clock::now()) {
            tracing::error!(
                "a private key that is not to sign any more is still there: {error:#}; remove its file"
            );
        }
        drop(keys);
        self.rotated.notify_one();
        // What the old keys promised is promised anew.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).tokens.clear();
        newest.context("the new key is not shown")
    }

    /// Destroys the private keys of this node when they will not sign any more, until `stop`.
    pub async fn watch_retired_keys(&self, stop: tokio_util::sync::CancellationToken) {
        loop {
            let destroyed = {
                let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
                keys.destroy_retired(clock::now())
            };
            let next = destroyed.unwrap_or_else(|error| {
                tracing::error!(
                    "a private key that is not to sign any more is still there: {error:#}; remove its file"
                );
                None
            });
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.rotated.notified() => {}
                () = dataplane::guard::reached(next, &clock::SystemClock) => {}
            }
        }
    }

    /// The keys of this node that are in wrong hands.
    #[must_use]
    pub fn compromised_keys(&self) -> Vec<CompromisedKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let known = keys.compromised().into_iter().map(|(name, since, declared_at)| CompromisedKey {
            key_id: format!("{}#{name}", self.did),
            since,
            declared_at,
        });
        known.collect()
    }

    /// Lets others ask for `scopes` from now on.
    pub fn show(&self, scopes: Vec<String>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = Shown { scopes, tokens: HashMap::new() };
    }

    /// An access token for `audience`, where this node has something to show.
    fn access(&self, audience: &str, now: Timestamp) -> Result<Option<String>, TrustError> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.scopes.is_empty() {
            return Ok(None);
        }
        let is_fresh = |made: Timestamp| now.as_second().saturating_sub(made.as_second()) < REUSE;
        if let Some((token, made)) = shown.tokens.get(audience)
            && is_fresh(*made)
        {
            return Ok(Some(token.clone()));
        }
        if shown.tokens.len() >= MAX_TOKENS {
            shown.tokens.retain(|_, (_, made)| is_fresh(*made));
            if shown.tokens.len() >= MAX_TOKENS {
                shown.tokens.clear();
            }
        }
        let token = self.access_for(audience, &shown.scopes, now)?;
        shown.tokens.insert(audience.to_owned(), (token.clone(), now));
        Ok(Some(token))
    }

    /// An access token with which `audience` may ask for `scopes`.
    fn access_for(&self, audience: &str, scopes: &[String], now: Timestamp) -> Result<String, TrustError> {
        let signer = self.signer()?;
        trust::access::issue(&signer.key, &self.kid(&signer), &self.did, audience, scopes, now)
    }

    /// The `Authorization` header of one request to `audience`: a fresh self-issued ID token, with an access token where
    /// this node has credentials to show.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn authorization(&self, audience: &str, now: Timestamp) -> Result<String, TrustError> {
        let access = self.access(audience, now)?;
        self.authorization_with(audience, access.as_deref(), now)
    }

    /// As [`Self::authorization`], with the access token `access`: a verifier hands back the holder's own.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn authorization_with(
        &self,
        audience: &str,
        access: Option<&str>,
        now: Timestamp,
    ) -> Result<String, TrustError> {
        if let Some(fixed) = &self.fixed_header {
            return Ok(fixed.clone());
        }
        let signer = self.signer()?;
        let token = trust::token::issue(
            &signer.key,
            &self.kid(&signer),
            &self.did,
            audience,
            &ids::urn(),
            access,
            now,
        )?;
        Ok(format!("Bearer {token}"))
    }

    /// A self-issued ID token for `audience`, with which it may ask for `scopes`.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn token_for(&self, audience: &str, scopes: &[String], now: Timestamp) -> Result<String, TrustError> {
        let access = self.access_for(audience, scopes, now)?;
        let signer = self.signer()?;
        trust::token::issue(
            &signer.key,
            &self.kid(&signer),
            &self.did,
            audience,
            &ids::urn(),
            Some(&access),
            now,
        )
    }

    /// Shows `credentials` to `verifier`.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn present(
        &self,
        verifier: &str,
        credentials: &[String],
        profile: Profile,
        now: Timestamp,
    ) -> Result<String, TrustError> {
        let signer = self.signer()?;
        let to = Audience { holder: &self.did, verifier, jti: &ids::urn() };
        trust::presentation::make(&signer.key, &self.kid(&signer), &to, credentials, profile, now)
    }

    /// Issues a credential.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn issue(&self, statement: &Statement<'_>, profile: Profile) -> Result<String, TrustError> {
        let signer = self.signer()?;
        trust::credential::issue(&signer.key, &self.kid(&signer), &self.did, statement, profile)
    }

    /// Signs an agreement with what stands beside it in `role`, with a statement of `version`.
    ///
    /// # Errors
    /// There is no such version, or the key could not sign.
    pub fn sign_agreement(
        &self,
        role: SignerRole,
        bound: trust::Bound<'_>,
        version: u32,
        now: Timestamp,
    ) -> Result<String, TrustError> {
        let signer = self.signer()?;
        trust::agreement::sign(&signer.key, &self.kid(&signer), role, bound, version, now)
    }

    /// Seals a dossier.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn seal(&self, dossier: Dossier) -> Result<Dossier, TrustError> {
        let signer = self.signer()?;
        dossier.sealed(&signer.key, &self.kid(&signer))
    }

    /// Seals the audit log.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn seal_audit(&self, sealed: &trust::audit::Sealed) -> Result<String, TrustError> {
        let signer = self.signer()?;
        trust::audit::seal(&signer.key, &self.kid(&signer), sealed)
    }

    /// Signs a list of members.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn sign_members(&self, list: &trust::members::MemberList) -> Result<String, TrustError> {
        let signer = self.signer()?;
        trust::members::sign(&signer.key, &self.kid(&signer), list)
    }

    /// Whether it shows a fixed header in place of tokens, as in closed test networks.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        self.fixed_header.is_some()
    }

    /// Signs a statement of the kind `typ`.
    ///
    /// # Errors
    /// No key signs.
    pub fn sign_statement(&self, statement: &trust::Statement, typ: &str) -> Result<String, TrustError> {
        let signer = self.signer()?;
        statement.sign(&signer.key, &self.kid(&signer), typ)
    }

    /// Signs the statement of a journal checkpoint; empty where the key could not sign.
    #[must_use]
    pub fn sign_checkpoint(&self, statement: &[u8]) -> String {
        let signed = self
            .signer()
            .and_then(|signer| signer.key.sign(&self.kid(&signer), "concordat-checkpoint+jws", statement));
        signed.unwrap_or_default()
    }
}
