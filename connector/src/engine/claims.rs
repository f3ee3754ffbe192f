//! The verifier: which claims about a caller are proven, and by whom (DCP 1.0.1, section 5.4.3).
//!
//! A caller's token carries an access token; with it this node asks the caller's credential service once, checks what it
//! shows, and believes that until it runs out. The policy engine reads the claims as left operands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use protocol::RefusalKind;
use serde_json::Value as Json;
use store::Batch;
use trust::credential::Claimed;
use trust::dcp::{self, PresentationQueryMessage, PresentationResponseMessage, scope_of};
use trust::{Credential, StatusEntry, StatusList};

use super::credentials::sooner;
use super::{Engine, EngineError};
use crate::clock;
use crate::config::TrustedIssuer;
use crate::network::{bounded_body, describe};
use crate::tables::{self, Event, Trusted, prefix};

/// Longest time that claims are believed without asking again.
const BELIEVED: SignedDuration = SignedDuration::from_secs(300);
/// Most callers, lists and schemas that are remembered.
const MAX_KNOWN: usize = 4096;
/// Longest status list or schema that is fetched, in bytes.
const MAX_DOCUMENT: usize = 256 * 1024;
/// Longest wait for one of them.
const WAIT: Duration = Duration::from_secs(10);

/// What is proven about a participant.
#[derive(Debug, Clone)]
struct Proven {
    /// With which access token it was asked for.
    access: String,
    credentials: Arc<Vec<Json>>,
    until: Timestamp,
}

/// What is proven about participants, and what was fetched to prove it.
#[derive(Debug, Default)]
pub(super) struct Claims {
    proven: Mutex<HashMap<String, Proven>>,
    lists: Mutex<HashMap<String, (Arc<StatusList>, Timestamp)>>,
    schemas: Mutex<HashMap<String, (Arc<Json>, Timestamp)>>,
}

impl Claims {
    /// The credentials of `did` that are proven at `now`, and until when.
    pub(super) fn of(&self, did: &str, now: Timestamp) -> (Arc<Vec<Json>>, Option<Timestamp>) {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        match proven.get(did).filter(|one| one.until > now) {
            Some(one) => (Arc::clone(&one.credentials), Some(one.until)),
            None => (Arc::default(), None),
        }
    }
}

fn remember<T>(cache: &Mutex<HashMap<String, T>>, key: &str, value: T, is_old: impl Fn(&T) -> bool) {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= MAX_KNOWN {
        cache.retain(|_, one| !is_old(one));
        if cache.len() >= MAX_KNOWN
            && let Some(any) = cache.keys().next().cloned()
        {
            cache.remove(&any);
        }
    }
    cache.insert(key.to_owned(), value);
}

impl Engine {
    /// Learns what this node needs to know of a caller, with the access token that it gave along.
    ///
    /// # Errors
    /// Something is required of every caller, and it was not proven; the reason is for the operator.
    pub async fn learn(&self, did: &str, access: Option<&str>) -> Result<(), String> {
        let snapshot = self.snapshot();
        if self.required.is_empty() && snapshot.credential_kinds().is_none() {
            return Ok(());
        }
        let Some(access) = access else {
            if self.required.is_empty() {
                return Ok(());
            }
            return Err(format!(
                "its token carries no access token (`token`), so it cannot be asked for its {}",
                self.required.join(", ")
            ));
        };
        let _lock = self.locks.lock(&format!("claims/{did}")).await;
        let now = clock::now();
        let known = {
            let proven = self.claims.proven.lock().unwrap_or_else(PoisonError::into_inner);
            proven.get(did).is_some_and(|one| one.access == access && one.until > now)
        };
        if known {
            return Ok(());
        }
        let mut kinds = self.required.clone();
        kinds.extend(snapshot.credential_kinds().unwrap_or_default().iter().cloned());
        if snapshot.credential_kinds().is_some_and(<[String]>::is_empty) {
            kinds.extend(["MembershipCredential".to_owned(), "RoleCredential".to_owned()]);
        }
        kinds.sort();
        kinds.dedup();
        match self.prove(did, access, &kinds, now).await {
            Ok(shown) => {
                let missing =
                    self.required.iter().find(|kind| !shown.iter().any(|one| one.types().contains(kind)));
                let until = shown
                    .iter()
                    .fold(now.checked_add(BELIEVED).unwrap_or(now), |at, one| sooner(one.until(), at));
                let credentials = Arc::new(shown.iter().map(|one| one.json().clone()).collect());
                let proven = Proven { access: access.to_owned(), credentials, until };
                remember(&self.claims.proven, did, proven, |one| one.until <= now);
                match missing {
                    Some(kind) => Err(format!("it showed no `{kind}` that counts here")),
                    None => Ok(()),
                }
            }
            // Where nothing is required of everybody, a caller that proves nothing simply has no claims.
            Err(reason) if self.required.is_empty() => {
                let event =
                    Event::new("refusal", now, format!("its credentials do not count: {reason}")).with(did);
                self.record(event).await;
                Ok(())
            }
            Err(reason) => Err(reason),
        }
    }

    /// Asks `did` for credentials of `kinds` and checks every one that it shows.
    async fn prove(
        &self,
        did: &str,
        access: &str,
        kinds: &[String],
        now: Timestamp,
    ) -> Result<Vec<Credential>, String> {
        let document = self.resolver.document(did).await?;
        let service = document
            .service("CredentialService")
            .ok_or_else(|| format!("the DID document of `{did}` names no CredentialService"))?;
        let url = format!("{}/presentations/query", service.trim_end_matches('/'));
        let query = PresentationQueryMessage {
            scope: Some(kinds.iter().map(|kind| scope_of(kind)).collect()),
            presentation_definition: None,
        };
        let answer = self.ask_peer(did, &url, Some(dcp::write(&query)), Some(access)).await;
        let answer = answer.map_err(|error| error.to_string())?.0;
        let answer: PresentationResponseMessage =
            dcp::parse(answer).map_err(|error| format!("its presentation: {error}"))?;
        let mut shown = Vec::new();
        for presentation in answer.presentation.iter().take(8) {
            let compact = presentation.as_str().ok_or("its presentation is not a JWT")?;
            let credentials = trust::presentation::open(compact, &document, self.did(), now);
            for compact in credentials.map_err(|error| error.to_string())? {
                shown.push(self.check_credential(did, &compact, now).await?);
            }
        }
        // What counts for nothing here is left out; what is wrong was refused above.
        let mut counted = Vec::new();
        for credential in shown {
            if self.counts(credential.issuer(), credential.kind()).map_err(|error| error.to_string())? {
                counted.push(credential);
            }
        }
        Ok(counted)
    }

    /// Signature, holder, validity, revocation, schema.
    async fn check_credential(
        &self,
        holder: &str,
        compact: &str,
        now: Timestamp,
    ) -> Result<Credential, String> {
        let claimed = Claimed::read(compact).map_err(|error| error.to_string())?;
        let issuer = self.resolver.document(claimed.issuer()).await?;
        let credential = claimed.verify(&issuer, now).map_err(|error| error.to_string())?;
        let kind = credential.kind().to_owned();
        if credential.subject() != holder {
            return Err(format!("its `{kind}` is of `{}`", credential.subject()));
        }
        for entry in credential.status().map_err(|error| error.to_string())? {
            let list = self.status_list_of(&entry, credential.issuer(), now).await?;
            if list.is_set(entry.index).map_err(|error| error.to_string())? {
                return Err(format!("its `{kind}` is revoked or suspended ({} {})", entry.list, entry.index));
            }
        }
        if let Some(address) = credential.schema() {
            let schema = self.schema_at(address, now).await?;
            let validator = jsonschema::validator_for(&schema)
                .map_err(|error| format!("the schema {address} of its `{kind}` cannot be used: {error}"))?;
            if let Err(error) = validator.validate(credential.json()) {
                return Err(format!("its `{kind}` does not follow its schema {address}: {error}"));
            }
        }
        Ok(credential)
    }

    async fn status_list_of(
        &self,
        entry: &StatusEntry,
        issuer: &str,
        now: Timestamp,
    ) -> Result<Arc<StatusList>, String> {
        let address = entry.list.split('#').next().unwrap_or_default();
        {
            let lists = self.claims.lists.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((list, until)) = lists.get(address)
                && *until > now
            {
                return Ok(Arc::clone(list));
            }
        }
        let failed = |reason: String| format!("the status list {address} cannot be had: {reason}");
        let body = self.fetch_document(address).await.map_err(failed)?;
        let text = String::from_utf8(body).map_err(|_| failed("it is not text".to_owned()))?;
        // A JWT, or a JSON string with one.
        let claimed =
            Claimed::read(text.trim().trim_matches('"')).map_err(|error| failed(error.to_string()))?;
        if claimed.issuer() != issuer {
            return Err(failed(format!("it is of `{}`, not of the credential's issuer", claimed.issuer())));
        }
        let document = self.resolver.document(issuer).await?;
        let credential = claimed.verify(&document, now).map_err(|error| failed(error.to_string()))?;
        let is_list = ["BitstringStatusListCredential", "StatusList2021Credential"];
        if !credential.types().iter().any(|kind| is_list.contains(&kind.as_str())) {
            return Err(failed("it is another kind of credential".to_owned()));
        }
        let list = Arc::new(
            StatusList::of_credential(credential.json()).map_err(|error| failed(error.to_string()))?,
        );
        let until = sooner(credential.until(), now.checked_add(BELIEVED).unwrap_or(now));
        remember(&self.claims.lists, address, (Arc::clone(&list), until), |(_, until)| *until <= now);
        Ok(list)
    }

    async fn schema_at(&self, address: &str, now: Timestamp) -> Result<Arc<Json>, String> {
        {
            let schemas = self.claims.schemas.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((schema, until)) = schemas.get(address)
                && *until > now
            {
                return Ok(Arc::clone(schema));
            }
        }
        let failed = |reason: String| format!("the schema {address} cannot be had: {reason}");
        let body = self.fetch_document(address).await.map_err(failed)?;
        let schema =
            serde_json::from_slice(&body).map_err(|error| failed(format!("it is not JSON: {error}")))?;
        let schema: Arc<Json> = Arc::new(schema);
        let until = now.checked_add(SignedDuration::from_hours(1)).unwrap_or(now);
        remember(&self.claims.schemas, address, (Arc::clone(&schema), until), |(_, until)| *until <= now);
        Ok(schema)
    }

    /// An address that a credential names, through the guard.
    async fn fetch_document(&self, url: &str) -> Result<Vec<u8>, String> {
        self.guard.check_url(url).map_err(|error| error.to_string())?;
        let response = self.client.get(url).timeout(WAIT).send().await.map_err(|error| describe(&error))?;
        if !response.status().is_success() {
            return Err(format!("the answer is {}", response.status()));
        }
        bounded_body(response, MAX_DOCUMENT).await
    }

    /// The proven credentials of `did`.
    pub(super) fn credentials_of(&self, did: &str) -> Arc<Vec<Json>> {
        self.claims.of(did, clock::now()).0
    }

    /// Whether the word of `issuer` counts for credentials of `kind`.
    pub(super) fn counts(&self, issuer: &str, kind: &str) -> Result<bool, EngineError> {
        let of_kind = |types: &[String]| types.iter().any(|one| one == kind);
        if self.issuers.iter().any(|one| one.did == issuer && of_kind(&one.types)) {
            return Ok(true);
        }
        let stored = tables::load::<Trusted>(&self.store, &trusted_key(issuer))?;
        Ok(stored.is_some_and(|(one, _)| of_kind(&one.types)))
    }

    /// Every issuer whose word counts: those of the configuration, and those added since.
    ///
    /// # Errors
    /// The store failed.
    pub fn trusted(&self) -> Result<(Vec<TrustedIssuer>, Vec<Trusted>), EngineError> {
        let stored = tables::list::<Trusted>(&self.store, prefix::TRUSTED, None, MAX_KNOWN)?;
        Ok((self.issuers.clone(), stored.into_iter().map(|(_, one)| one).collect()))
    }

    /// Lets the word of `did` count for credentials of `types` from now on.
    ///
    /// # Errors
    /// The DID cannot be one.
    pub async fn trust_issuer(&self, did: &str, types: Vec<String>) -> Result<Trusted, EngineError> {
        trust::did::document_url(did)
            .map_err(|error| EngineError::refused(RefusalKind::Malformed, error.to_string()))?;
        let now = clock::now();
        let record = Trusted { did: did.to_owned(), types, since: now };
        let mut batch = Batch::new();
        tables::put(&mut batch, trusted_key(did), &record)?;
        let text = format!("its word counts for {}", record.types.join(", "));
        tables::append_event(&mut batch, &Event::new("trust", now, text).with(did))?;
        self.commit(batch).await?;
        self.forget_claims();
        Ok(record)
    }

    /// Lets the word of `did` count no more; what was proven by it is asked for again.
    ///
    /// # Errors
    /// It does not count, or it is in the configuration.
    pub async fn distrust_issuer(&self, did: &str) -> Result<(), EngineError> {
        let key = trusted_key(did);
        if self.store.get(&key)?.is_none() {
            return Err(EngineError::NotFound {
                kind: "trusted issuer (beside the configuration)",
                id: did.to_owned(),
            });
        }
        let mut batch = Batch::new();
        batch.delete(key);
        tables::append_event(
            &mut batch,
            &Event::new("trust", clock::now(), "its word counts no more").with(did),
        )?;
        self.commit(batch).await?;
        self.forget_claims();
        self.streams.reconsider_all();
        Ok(())
    }

    fn forget_claims(&self) {
        self.claims.proven.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn trusted_key(did: &str) -> String {
    tables::key(prefix::TRUSTED, &trust::did::segment(did))
}
