//! The trust list: whose word counts for which types of credentials, by the configuration and by what the operator
//! added since.

use protocol::RefusalKind;
use store::Batch;
use trust::Credential;

use super::{Engine, EngineError};
use crate::clock;
use crate::config::TrustedIssuer;
use crate::tables::{self, Event, Trusted, prefix};

/// Most issuers that are added at run time.
const MAX_ISSUERS: usize = 1000;
/// Most types of one issuer.
const MAX_TYPES: usize = 64;

impl Engine {
    /// Whether the word of `issuer` counts for credentials of `kind`.
    pub(super) fn counts(&self, issuer: &str, kind: &str) -> Result<bool, EngineError> {
        let of_kind = |types: &[String]| types.iter().any(|one| one == kind);
        if self.issuers.iter().any(|one| one.did == issuer && of_kind(&one.types)) {
            return Ok(true);
        }
        let stored = tables::load::<Trusted>(&self.store, &key(issuer))?;
        Ok(stored.is_some_and(|(one, _)| of_kind(&one.types)))
    }

    /// Whether its issuer's word counts for everything that `credential` says that it is: one trusted for memberships must
    /// not bring along a role.
    pub(super) fn counts_as(&self, credential: &Credential) -> Result<bool, EngineError> {
        let kinds = credential.types().iter().filter(|kind| *kind != "VerifiableCredential");
        let mut any = false;
        for kind in kinds {
            if !self.counts(credential.issuer(), kind)? {
                return Ok(false);
            }
            any = true;
        }
        Ok(any)
    }

    /// Whether the word of `issuer` counts for anything.
    pub(super) fn is_trusted(&self, issuer: &str) -> Result<bool, EngineError> {
        Ok(self.issuers.iter().any(|one| one.did == issuer) || self.store.get(&key(issuer))?.is_some())
    }

    /// Every issuer whose word counts: those of the configuration, and those added since.
    ///
    /// # Errors
    /// The store failed.
    pub fn trusted(&self) -> Result<(Vec<TrustedIssuer>, Vec<Trusted>), EngineError> {
        let stored = tables::list::<Trusted>(&self.store, prefix::TRUSTED, None, MAX_ISSUERS)?;
        Ok((self.issuers.clone(), stored.into_iter().map(|(_, one)| one).collect()))
    }

    /// The types of credentials for which somebody's word counts.
    pub(super) fn trusted_types(&self) -> Result<Vec<String>, EngineError> {
        let (configured, added) = self.trusted()?;
        let added = added.into_iter().flat_map(|one| one.types);
        Ok(configured.into_iter().flat_map(|one| one.types).chain(added).collect())
    }

    /// Lets the word of `did` count for credentials of `types` from now on, beside what it counted for.
    ///
    /// # Errors
    /// The DID cannot be one, no type is named, or there are too many.
    pub async fn trust_issuer(&self, did: &str, types: &[String]) -> Result<Trusted, EngineError> {
        let refuse = |reason: String| EngineError::refused(RefusalKind::Malformed, reason);
        trust::did::document_url(did).map_err(|error| refuse(error.to_string()))?;
        if types.is_empty() || types.iter().any(|kind| kind.is_empty() || kind.len() > 256) {
            return Err(refuse("types: names of credential types, 1 to 256 bytes each".to_owned()));
        }
        let _lock = self.locks.lock(prefix::TRUSTED).await;
        let known = tables::load::<Trusted>(&self.store, &key(did))?;
        if known.is_none() && self.trusted()?.1.len() >= MAX_ISSUERS {
            return Err(EngineError::refused(
                RefusalKind::TooMuch,
                format!("{MAX_ISSUERS} issuers are trusted"),
            ));
        }
        let now = clock::now();
        let (mut record, since) = match known {
            Some((record, _)) => (record.types, record.since),
            None => (Vec::new(), now),
        };
        record.extend_from_slice(types);
        record.sort();
        record.dedup();
        if record.len() > MAX_TYPES {
            return Err(EngineError::refused(RefusalKind::TooMuch, format!("types: more than {MAX_TYPES}")));
        }
        let record = Trusted { did: did.to_owned(), types: record, since };
        let mut batch = Batch::new();
        tables::put(&mut batch, key(did), &record)?;
        let text = format!("its word counts for {}", record.types.join(", "));
        tables::append_event(&mut batch, &Event::new("trust", now, text).about(did))?;
        self.commit(batch).await?;
        self.claims.forget_answers();
        self.federation.members_changed();
        Ok(record)
    }

    /// Lets the word of `did` count no more, except for what the configuration says; streams that rest on it are cut.
    ///
    /// # Errors
    /// It was not added at run time.
    pub async fn distrust_issuer(&self, did: &str) -> Result<(), EngineError> {
        {
            let _lock = self.locks.lock(prefix::TRUSTED).await;
            if self.store.get(&key(did))?.is_none() {
                return Err(EngineError::NotFound {
                    kind: "trusted issuer (beside those of the configuration)",
                    id: did.to_owned(),
                });
            }
            let mut batch = Batch::new();
            batch.delete(key(did));
            let event = Event::new("trust", clock::now(), "its word counts no more").about(did);
            tables::append_event(&mut batch, &event)?;
            self.commit(batch).await?;
        }
        self.recheck_all().await;
        self.federation.members_changed();
        Ok(())
    }
}

fn key(did: &str) -> String {
    tables::key(prefix::TRUSTED, &trust::did::segment(did))
}
