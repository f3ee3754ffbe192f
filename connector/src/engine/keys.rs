//! Keys of the management API, as kept.

use std::net::IpAddr;

use store::Batch;
use subtle::ConstantTimeEq as _;

use super::{Engine, EngineError};
use crate::acting::Actor;
use crate::http::management::{Scope, digest};
use crate::tables::{self, ApiKey, Event, prefix};
use crate::{clock, ids};

/// Most keys.
const MAX_KEYS: usize = 1000;

/// Whose key it was that opened something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// The node's own, out of its folder.
    Node,
    /// One that was made.
    Key {
        /// Its id.
        id: String,
        /// The name that it was given.
        name: String,
    },
}

impl Holder {
    /// The holder, asking from `address`, as the audit log names it.
    #[must_use]
    pub fn acting(&self, address: Option<IpAddr>) -> Actor {
        match self {
            Self::Node => Actor { key: None, name: "the node's own key".to_owned(), address },
            Self::Key { id, name } => Actor { key: Some(id.clone()), name: name.clone(), address },
        }
    }
}

impl Engine {
    /// All keys.
    ///
    /// # Errors
    /// The store failed.
    pub fn api_keys(&self) -> Result<Vec<ApiKey>, EngineError> {
        let found = tables::list(&self.store, prefix::API_KEY, None, MAX_KEYS)?;
        Ok(found.into_iter().map(|(_, key)| key).collect())
    }

    /// Makes a key; returns its id and the key, which is not kept.
    ///
    /// # Errors
    /// There are too many, or the operating system has no randomness.
    pub async fn make_api_key(&self, name: &str, scope: Scope) -> Result<(String, String), EngineError> {
        if self.api_keys()?.len() >= MAX_KEYS {
            let reason = format!("there are {MAX_KEYS} keys already; revoke some");
            return Err(EngineError::refused(protocol::RefusalKind::TooMuch, reason));
        }
        let random =
            |bytes| ids::secret(bytes).map_err(|error| EngineError::Peer(format!("no randomness: {error}")));
        // Base64url has the underscore that separates the parts; the id must not.
        let id = random(9)?.replace(['_', '-'], "0");
        let key = format!("ck_{id}_{}", random(32)?);
        let record = ApiKey {
            id: id.clone(),
            name: name.to_owned(),
            scope,
            digest: digest(&key),
            created_at: clock::now(),
        };
        let mut batch = Batch::new();
        let place = tables::key(prefix::API_KEY, &id);
        batch.expect(place.clone(), None);
        tables::put(&mut batch, place, &record)?;
        let text = format!("the key `{name}` was made");
        tables::append_event(&mut batch, &Event::new("key", clock::now(), text).about(&id))?;
        self.commit(batch).await?;
        Ok((id, key))
    }

    /// Removes a key.
    ///
    /// # Errors
    /// Not there.
    pub async fn revoke_api_key(&self, id: &str) -> Result<(), EngineError> {
        let place = tables::key(prefix::API_KEY, id);
        if self.store.get(&place)?.is_none() {
            return Err(EngineError::NotFound { kind: "key", id: id.to_owned() });
        }
        let mut batch = Batch::new();
        batch.delete(place);
        tables::append_event(&mut batch, &Event::new("key", clock::now(), "the key was revoked").about(id))?;
        self.commit(batch).await?;
        // What it opened and still runs looks again.
        self.revoked_keys.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// Whose a key is, and what it allows; `None` for one that is not known.
    #[must_use]
    pub fn holder_of(&self, key: &str) -> Option<(Holder, Scope)> {
        let id = key.strip_prefix("ck_")?.split('_').next()?;
        let (record, _) = tables::load::<ApiKey>(&self.store, &tables::key(prefix::API_KEY, id)).ok()??;
        let same = bool::from(record.digest.as_bytes().ct_eq(digest(key).as_bytes()));
        same.then_some((Holder::Key { id: record.id, name: record.name }, record.scope))
    }

    /// What the key of a holder allows now; `None` once it is revoked.
    #[must_use]
    pub fn scope_now(&self, holder: &Holder) -> Option<Scope> {
        match holder {
            Holder::Node => Some(Scope::Admin),
            Holder::Key { id, .. } => {
                let key = tables::key(prefix::API_KEY, id);
                tables::load::<ApiKey>(&self.store, &key).ok()?.map(|(record, _)| record.scope)
            }
        }
    }

    /// Ends when the key `id` is revoked.
    pub async fn until_revoked(&self, id: &str) {
        let mut revoked = self.revoked_keys.subscribe();
        let place = tables::key(prefix::API_KEY, id);
        while matches!(self.store.get(&place), Ok(Some(_))) {
            if revoked.changed().await.is_err() {
                return;
            }
        }
    }
}
