//! What an operator gives the node for its upstreams: secrets under names, and credentials of data addresses, both sealed.

use jiff::Timestamp;
use protocol::RefusalKind;
use store::Batch;

use super::{Engine, EngineError, Write};
use crate::clock;
use crate::sources::Secrets;
use crate::tables::{self, Event, SecretRecord, prefix};

/// Longest name, in bytes.
const MAX_NAME: usize = 512;
/// Longest secret, in bytes.
const MAX_SECRET: usize = 64 * 1024;
/// Most secrets of a node.
const MAX_SECRETS: usize = 10_000;
/// As what the vault seals credentials of data addresses.
const CREDENTIAL: &str = "data-address/auth-code";
/// What a sealed credential begins with.
const SEALED: &str = "sealed:";

impl Engine {
    /// Keeps a secret under a name.
    ///
    /// # Errors
    /// It is there already or not yet, its name or value is empty or too long, or there are too many.
    pub async fn put_secret(&self, name: &str, value: &str, write: Write) -> Result<(), EngineError> {
        let malformed = |reason: String| Err(EngineError::refused(RefusalKind::Malformed, reason));
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return malformed(format!(
                "@id: must be a text of 1 to {MAX_NAME} bytes without control characters"
            ));
        }
        if value.is_empty() || value.len() > MAX_SECRET {
            return malformed(format!("value: must be a text of 1 to {MAX_SECRET} bytes"));
        }
        let key = secret_key(name);
        // One at a time, so that the bound holds.
        let _lock = self.locks.lock(prefix::SECRET).await;
        let before = tables::load::<SecretRecord>(&self.store, &key)?;
        match (write, &before) {
            (Write::Create, Some(_)) => {
                let reason = format!("there is a secret `{name}` already");
                return Err(EngineError::refused(RefusalKind::Disagreement, reason));
            }
            (Write::Replace, None) => return Err(no_secret(name)),
            (Write::Create, None)
                if self.store.scan(prefix::SECRET, None, MAX_SECRETS)?.len() == MAX_SECRETS =>
            {
                let reason = format!("there are {MAX_SECRETS} secrets; remove some first");
                return Err(EngineError::refused(RefusalKind::TooMuch, reason));
            }
            _ => {}
        }
        let now = clock::now();
        let record = SecretRecord { sealed: self.vault.seal(&key, value)?, at: now };
        let mut batch = Batch::new();
        tables::put(&mut batch, key, &record)?;
        let verb = if before.is_none() { "kept" } else { "changed" };
        tables::append_event(
            &mut batch,
            &Event::new("secret", now, format!("a secret was {verb}")).about(name),
        )?;
        self.commit(batch).await.map(|_| ())
    }

    /// A secret and when it was last written; that it was looked at is in the audit log.
    ///
    /// # Errors
    /// There is none of this name, or it cannot be opened.
    pub async fn secret(&self, name: &str) -> Result<(String, Timestamp), EngineError> {
        let found = self.open_secret(name)?;
        self.record(Event::new("secret", clock::now(), "a secret was shown").about(name)).await;
        Ok(found)
    }

    fn open_secret(&self, name: &str) -> Result<(String, Timestamp), EngineError> {
        let key = secret_key(name);
        let (record, _) = tables::load::<SecretRecord>(&self.store, &key)?.ok_or_else(|| no_secret(name))?;
        Ok((self.vault.open_sealed(&key, &record.sealed)?, record.at))
    }

    /// Forgets a secret; sources that name it cannot be read until there is one again.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn delete_secret(&self, name: &str) -> Result<(), EngineError> {
        let key = secret_key(name);
        let _lock = self.locks.lock(prefix::SECRET).await;
        if self.store.get(&key)?.is_none() {
            return Err(no_secret(name));
        }
        let mut batch = Batch::new();
        batch.delete(key);
        let event = Event::new("secret", clock::now(), "a secret was removed").about(name);
        tables::append_event(&mut batch, &event)?;
        self.commit(batch).await.map(|_| ())
    }

    /// A credential as it may stand in a data address: sealed, unless it already is.
    ///
    /// # Errors
    /// It says that it is sealed, and was not by this node.
    pub fn seal_credential(&self, text: &str) -> Result<String, EngineError> {
        match text.strip_prefix(SEALED) {
            Some(sealed) => self.vault.open_sealed(CREDENTIAL, sealed).map(|_| text.to_owned()).map_err(|_| {
                let reason = "dataAddress: a credential in it is not one that this node sealed; write the credential itself";
                EngineError::refused(RefusalKind::Malformed, reason)
            }),
            None => Ok(format!("{SEALED}{}", self.vault.seal(CREDENTIAL, text)?)),
        }
    }
}

impl Secrets for Engine {
    fn named(&self, name: &str) -> anyhow::Result<String> {
        match self.open_secret(name) {
            Ok((value, _)) => Ok(value),
            Err(EngineError::NotFound { .. }) => {
                anyhow::bail!("dataAddress.secretName: there is no secret `{name}` (`/v4/secrets`)")
            }
            Err(error) => Err(error.into()),
        }
    }

    fn opened(&self, text: &str) -> anyhow::Result<String> {
        let Some(sealed) = text.strip_prefix(SEALED) else { return Ok(text.to_owned()) };
        self.vault.open_sealed(CREDENTIAL, sealed).map_err(|_| {
            anyhow::anyhow!("a credential in the dataAddress was not sealed by this node; write it again")
        })
    }
}

fn secret_key(name: &str) -> String {
    tables::key(prefix::SECRET, &trust::did::segment(name))
}

fn no_secret(name: &str) -> EngineError {
    EngineError::NotFound { kind: "secret", id: name.to_owned() }
}
