//! What is kept sealed in the store: credentials, under a key that is not in it.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::Config;
use crate::secrets;

/// The environment variable that takes the place of the key file.
const VARIABLE: &str = "CONCORDAT_VAULT_KEY";
/// Bytes of a key, and of a nonce.
const KEY: usize = 32;
const NONCE: usize = 12;

/// What was not sealed or opened; never holds what is secret.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The operating system has none.
    #[error("no randomness: {0}")]
    Randomness(String),
    /// It cannot be sealed.
    #[error("`{0}` cannot be sealed")]
    Seal(String),
    /// The person asked for it.
    #[error("the key of `{0}` was destroyed, at the wish of the person it is about")]
    Destroyed(String),
    /// Sealed with another key, as another record, or altered.
    #[error(
        "`{0}` was sealed with another key, or was altered; is the key in {VARIABLE} or in the file of \
         credentials.vault_key the one it was sealed with?"
    )]
    Open(String),
}

/// Seals and opens (AES-256-GCM, a random nonce for each seal).
pub struct Vault {
    cipher: Aes256Gcm,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    /// The vault of a node: its key from the environment, else from `credentials.vault_key`, which is made where it is
    /// missing.
    ///
    /// # Errors
    /// The key is not 32 bytes in base64, or the file cannot be read or made.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let path = config.path(&config.credentials.vault_key);
        let text = match std::env::var(VARIABLE) {
            Ok(text) => text,
            Err(_) => secrets::read_or_make(&path)?,
        };
        let key = STANDARD.decode(text.trim()).context("the vault's key is not base64")?;
        if key.len() != KEY {
            bail!("the vault's key has {} bytes, not {KEY}", key.len());
        }
        Ok(Self { cipher: Aes256Gcm::new_from_slice(&key).context("the vault's key")? })
    }

    /// A vault with a key of its own; `None` for one of another length than 32 bytes.
    pub(crate) fn with_key(key: &[u8]) -> Option<Self> {
        Some(Self { cipher: Aes256Gcm::new_from_slice(key).ok()? })
    }

    /// Seals `text` as the record `name`: it opens under that name only.
    ///
    /// # Errors
    /// No randomness.
    pub fn seal(&self, name: &str, text: &str) -> Result<String, VaultError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|error| VaultError::Randomness(error.to_string()))?;
        let payload = Payload { msg: text.as_bytes(), aad: name.as_bytes() };
        let sealed = self.cipher.encrypt(Nonce::from_slice(&nonce), payload);
        let sealed = sealed.map_err(|_| VaultError::Seal(name.to_owned()))?;
        Ok(STANDARD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// Opens what was sealed as `name`.
    ///
    /// # Errors
    /// Sealed with another key, as another record, or altered.
    pub fn open_sealed(&self, name: &str, sealed: &str) -> Result<String, VaultError> {
        let open = || {
            let bytes = STANDARD.decode(sealed).ok()?;
            let (nonce, rest) = bytes.split_at_checked(NONCE)?;
            let payload = Payload { msg: rest, aad: name.as_bytes() };
            String::from_utf8(self.cipher.decrypt(Nonce::from_slice(nonce), payload).ok()?).ok()
        };
        open().ok_or_else(|| VaultError::Open(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(byte: u8) -> Vault {
        Vault { cipher: Aes256Gcm::new_from_slice(&[byte; KEY]).unwrap() }
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_and_name_only() {
        let sealed = vault(1).seal("a", "secret").unwrap();
        assert!(!sealed.contains("secret"));
        assert_eq!(vault(1).open_sealed("a", &sealed).unwrap(), "secret");
        assert!(vault(1).open_sealed("b", &sealed).is_err());
        assert!(vault(2).open_sealed("a", &sealed).is_err());
        let mut altered = sealed.into_bytes();
        altered[20] ^= 1;
        assert!(vault(1).open_sealed("a", &String::from_utf8(altered).unwrap()).is_err());
        assert!(vault(1).open_sealed("a", "").is_err());
    }
}
