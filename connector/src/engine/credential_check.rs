//! What another's credential is worth: signature, holder, validity, revocation, schema. What was fetched for it is kept
//! for as long as it says, with bounds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;
use trust::credential::Claimed;
use trust::{Credential, StatusEntry, StatusList};

use super::Engine;
use crate::clock;
use crate::network::{bounded_body, describe};

/// Longest time that a status list is believed without asking again.
pub(super) const BELIEVED: SignedDuration = SignedDuration::from_secs(300);
/// Shortest, whatever its `ttl` says: the issuer is not to be asked for every message.
const AT_LEAST: SignedDuration = SignedDuration::from_secs(30);
/// How long an address that did not answer is left alone.
const HELD_OFF: SignedDuration = SignedDuration::from_secs(10);
/// How old a status list may be where this node agrees to something: many who negotiate at once share it.
pub(super) const RECENT: SignedDuration = SignedDuration::from_millis(100);
/// How long a schema is kept.
const SCHEMA: SignedDuration = SignedDuration::from_hours(1);
/// Most lists and schemas that are kept.
const MAX_KEPT: usize = 4096;
/// Longest status list or schema that is fetched, in bytes.
const MAX_DOCUMENT: usize = trust::status::MAX_CREDENTIAL;

/// What was fetched.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    lists: Mutex<HashMap<String, Kept>>,
    schemas: Mutex<HashMap<String, (Arc<Json>, Timestamp)>>,
}

/// What is known of an address where a status list should be.
#[derive(Debug, Clone)]
enum Kept {
    /// With when this node last tried to fetch it.
    List(Arc<List>, Timestamp),
    /// It could not be had; until then nobody tries again, so that one dead issuer does not hold up the others.
    Unreachable(String, Timestamp),
}

/// A status list, as its issuer signed it.
#[derive(Debug)]
pub(super) struct List {
    bits: StatusList,
    issuer: String,
    until: Timestamp,
    /// The compact JWT, for the evidence.
    pub compact: String,
}

impl Fetched {
    /// Lets go of the lists of `issuer`: it says that one has changed.
    pub(super) fn forget_lists(&self, issuer: &str) {
        let keep = |kept: &Kept| matches!(kept, Kept::List(list, _) if list.issuer != issuer);
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, kept| keep(kept));
    }
}

/// A credential that holds, and what its revocation was checked with.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// The credential.
    pub credential: Credential,
    /// The status lists that it is not revoked by.
    pub lists: Vec<Arc<List>>,
    /// Until when the answer can be believed.
    pub until: Timestamp,
}

/// Why a credential is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Doubt {
    /// What it takes to know cannot be had now; later it may.
    #[error("{0}")]
    Passing(String),
    /// It does not hold.
    #[error("{0}")]
    Wrong(String),
}

impl From<trust::TrustError> for Doubt {
    fn from(error: trust::TrustError) -> Self {
        Self::Wrong(error.to_string())
    }
}

impl Engine {
    /// Checks what `holder` shows, at `now`. Lists are believed only if they are good until `beyond`, and if this node has tried
    /// to fetch them since `since`.
    pub(super) async fn check_credential(
        &self,
        holder: &str,
        compact: &str,
        now: Timestamp,
        (beyond, since): (Timestamp, Timestamp),
    ) -> Result<Checked, Doubt> {
        let wrong = |reason: String| Err(Doubt::Wrong(reason));
        let claimed = Claimed::read(compact)?;
        let issuer = self.resolver.document(claimed.issuer()).await.map_err(Doubt::Passing)?;
        let credential = claimed.verify(&issuer, now)?;
        let kind = credential.kind().to_owned();
        if credential.subject() != holder {
            return wrong(format!("the `{kind}` that it shows is of `{}`", credential.subject()));
        }
        let mut lists = Vec::new();
        let mut until = sooner(credential.until(), now.checked_add(BELIEVED).unwrap_or(now));
        for entry in credential.status()? {
            let list = self.status_list_of(&entry, credential.issuer(), now, (beyond, since)).await?;
            let set = list.bits.says(&entry).map_err(|error| {
                Doubt::Wrong(format!("the status list {} cannot be used: {error}", entry.list))
            })?;
            // Other purposes, such as `message`, take nothing from it.
            if set && ["revocation", "suspension"].contains(&entry.purpose.as_str()) {
                return wrong(format!(
                    "its `{kind}` is under {} at {} ({})",
                    entry.purpose, entry.list, entry.index
                ));
            }
            until = until.min(list.until);
            lists.push(list);
        }
        for address in credential.schemas()? {
            let schema = self.schema_at(address, now).await?;
            let validator = jsonschema::validator_for(&schema).map_err(|error| {
                Doubt::Wrong(format!("the schema {address} of its `{kind}` cannot be used: {error}"))
            })?;
            if let Err(error) = validator.validate(credential.json()) {
                return wrong(format!("its `{kind}` does not follow its schema {address}: {error}"));
            }
        }
        Ok(Checked { credential, lists, until })
    }

    async fn status_list_of(
        &self,
        entry: &StatusEntry,
        issuer: &str,
        now: Timestamp,
        (beyond, since): (Timestamp, Timestamp),
    ) -> Result<Arc<List>, Doubt> {
        let address = entry.list.split('#').next().unwrap_or_default();
        // One fetch for many who wait.
        let _lock = self.locks.lock(&format!("status-list/{address}")).await;
        let kept = self.fetched.lists.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned();
        let list = match kept {
            Some(Kept::List(list, tried)) if list.until > beyond && tried >= since => list,
            Some(Kept::Unreachable(reason, until)) if until > now => return Err(Doubt::Passing(reason)),
            before => {
                let mut fetched = self.fetch_list(address, now).await;
                let mut tried = now;
                // An outage takes nothing from what is good still, and is not waited out by everybody.
                if let (Err(Doubt::Passing(_)), Some(Kept::List(list, _))) = (&fetched, before)
                    && list.until > beyond
                {
                    tried = held_off();
                    fetched = Ok(list);
                }
                let kept = match &fetched {
                    Ok(list) => Some(Kept::List(Arc::clone(list), tried)),
                    Err(Doubt::Passing(reason)) => Some(Kept::Unreachable(reason.clone(), held_off())),
                    Err(Doubt::Wrong(_)) => None,
                };
                if let Some(kept) = kept {
                    let is_old = |kept: &Kept| match kept {
                        Kept::List(list, _) => list.until <= now,
                        Kept::Unreachable(_, until) => *until <= now,
                    };
                    keep(&self.fetched.lists, address, kept, is_old);
                }
                fetched?
            }
        };
        if list.issuer != issuer {
            let reason = format!("it is of `{}`, not of the credential's issuer", list.issuer);
            return Err(Doubt::Wrong(format!("the status list {address} cannot be used: {reason}")));
        }
        Ok(list)
    }

    async fn fetch_list(&self, address: &str, now: Timestamp) -> Result<Arc<List>, Doubt> {
        let unusable =
            |reason: String| Doubt::Wrong(format!("the status list {address} cannot be used: {reason}"));
        let failed = |error: trust::TrustError| unusable(error.to_string());
        let body = self.fetch_document("status list", address).await?;
        let text = String::from_utf8(body).map_err(|_| unusable("it is not text".to_owned()))?;
        // A JWT, or a JSON string with one.
        let compact = text.trim().trim_matches('"');
        let claimed = Claimed::read_list(compact).map_err(failed)?;
        let document = self.resolver.document(claimed.issuer()).await.map_err(Doubt::Passing)?;
        let credential = claimed.verify(&document, now).map_err(failed)?;
        let bits = StatusList::of_credential(&credential).map_err(failed)?;
        let believed = trust::status::ttl(&credential).map_or(BELIEVED, |ttl| ttl.clamp(AT_LEAST, BELIEVED));
        let until = sooner(credential.until(), now.checked_add(believed).unwrap_or(now));
        Ok(Arc::new(List {
            bits,
            issuer: credential.issuer().to_owned(),
            until,
            compact: compact.to_owned(),
        }))
    }

    async fn schema_at(&self, address: &str, now: Timestamp) -> Result<Arc<Json>, Doubt> {
        {
            let schemas = self.fetched.schemas.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((schema, until)) = schemas.get(address)
                && *until > now
            {
                return Ok(Arc::clone(schema));
            }
        }
        let body = self.fetch_document("schema", address).await?;
        let schema = serde_json::from_slice(&body)
            .map_err(|error| Doubt::Wrong(format!("the schema {address} is not JSON: {error}")))?;
        let schema: Arc<Json> = Arc::new(schema);
        let until = now.checked_add(SCHEMA).unwrap_or(now);
        keep(&self.fetched.schemas, address, (Arc::clone(&schema), until), |(_, until)| *until <= now);
        Ok(schema)
    }

    /// An address that a credential names, through the guard.
    async fn fetch_document(&self, what: &str, url: &str) -> Result<Vec<u8>, Doubt> {
        let failed = |reason: String| format!("the {what} {url} cannot be had: {reason}");
        self.guard.check_url(url).map_err(|error| Doubt::Wrong(failed(error.to_string())))?;
        let passing = |reason: String| Doubt::Passing(failed(reason));
        let response = self
            .client
            .get(url)
            .timeout(self.credentials_within)
            .send()
            .await
            .map_err(|error| passing(describe(&error)))?;
        if !response.status().is_success() {
            return Err(passing(format!("the answer is {}", response.status())));
        }
        bounded_body(response, MAX_DOCUMENT).await.map_err(passing)
    }
}

/// Until when an address that has just not answered is left alone: the wait for it does not count.
fn held_off() -> Timestamp {
    let now = clock::now();
    now.checked_add(HELD_OFF).unwrap_or(now)
}

/// The end of what holds until `until`, but no later than `at`.
fn sooner(until: Option<Timestamp>, at: Timestamp) -> Timestamp {
    until.map_or(at, |until| until.min(at))
}

/// Keeps `value`, and no more than so many.
fn keep<T>(cache: &Mutex<HashMap<String, T>>, key: &str, value: T, is_old: impl Fn(&T) -> bool) {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= MAX_KEPT {
        cache.retain(|_, one| !is_old(one));
        if cache.len() >= MAX_KEPT
            && let Some(any) = cache.keys().next().cloned()
        {
            cache.remove(&any);
        }
    }
    cache.insert(key.to_owned(), value);
}
