//! A key of its own for each person whose data this node hands on: what is sealed with it, or named by it, is gone for good
//! once the key is destroyed.
//!
//! The keys stand in slots of one file that is not in the store, since the journal forgets nothing. A slot is overwritten,
//! and the file synced, when its key is destroyed. What the disk itself keeps of overwritten blocks is beyond this program.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::vault::{Vault, VaultError};

/// Bytes of a key.
const KEY: usize = 32;
/// Most persons.
const MOST: u64 = 50_000_000;

/// The keys of persons.
#[derive(Debug)]
pub struct SubjectKeys {
    file: File,
    /// All slots, in memory.
    keys: Mutex<Vec<[u8; KEY]>>,
}

impl SubjectKeys {
    /// The keys in the file `path`, which is made where it is missing.
    ///
    /// # Errors
    /// It cannot be read or made, or others can read it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        let meta = file.metadata().with_context(|| format!("reading {}", path.display()))?;
        if meta.permissions().mode() & 0o077 != 0 {
            bail!("others can read the key file {0}; run `chmod 600 {0}`", path.display());
        }
        // A slot that was torn at the end was never told to anybody.
        let slots = usize::try_from(meta.len()).unwrap_or(usize::MAX) / KEY;
        let mut bytes = vec![0; slots.saturating_mul(KEY)];
        file.read_exact_at(&mut bytes, 0).with_context(|| format!("reading {}", path.display()))?;
        let keys = bytes.chunks_exact(KEY).filter_map(|key| key.try_into().ok()).collect();
        Ok(Self { file, keys: Mutex::new(keys) })
    }

    /// Makes `count` new keys, durably; the slot of the first.
    ///
    /// # Errors
    /// No randomness, no room, or the file cannot be written.
    pub fn make(&self, count: usize) -> anyhow::Result<u64> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let first = u64::try_from(keys.len())?;
        anyhow::ensure!(
            first.saturating_add(u64::try_from(count)?) <= MOST,
            "there are {MOST} persons already"
        );
        let mut bytes = vec![0; count.saturating_mul(KEY)];
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let at = first.saturating_mul(u64::try_from(KEY)?);
        self.file
            .write_all_at(&bytes, at)
            .and_then(|()| self.file.sync_data())
            .context("writing a person's key")?;
        keys.extend(bytes.chunks_exact(KEY).filter_map(|key| <[u8; KEY]>::try_from(key).ok()));
        Ok(first)
    }

    /// Destroys a key.
    ///
    /// # Errors
    /// The file cannot be written: then the key is still there.
    pub fn destroy(&self, slot: u64) -> anyhow::Result<()> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(key) = usize::try_from(slot).ok().and_then(|slot| keys.get_mut(slot)) else { return Ok(()) };
        let at = slot.saturating_mul(u64::try_from(KEY)?);
        let written = self.file.write_all_at(&[0; KEY], at).and_then(|()| self.file.sync_data());
        written.context("destroying a person's key")?;
        *key = [0; KEY];
        Ok(())
    }

    /// The key in a slot; `None` for one that was destroyed.
    fn key(&self, slot: u64) -> Option<[u8; KEY]> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(usize::try_from(slot).ok()?).copied().filter(|key| *key != [0; KEY])
    }

    /// How records about `agreement` name the person whose key is in `slot`; `None` where the key was destroyed.
    #[must_use]
    pub fn tag(&self, slot: u64, agreement: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key(slot)?).ok()?;
        mac.update(agreement.as_bytes());
        mac.finalize().into_bytes().get(..16).map(|tag| URL_SAFE_NO_PAD.encode(tag))
    }

    /// Seals `text` as the record `name` with the person's key.
    ///
    /// # Errors
    /// The key was destroyed, or no randomness.
    pub fn seal(&self, slot: u64, name: &str, text: &str) -> Result<String, VaultError> {
        self.vault(slot, name)?.seal(name, text)
    }

    /// Opens what was sealed as `name` with the person's key.
    ///
    /// # Errors
    /// The key was destroyed, or it was sealed otherwise.
    pub fn open_sealed(&self, slot: u64, name: &str, sealed: &str) -> Result<String, VaultError> {
        self.vault(slot, name)?.open_sealed(name, sealed)
    }

    fn vault(&self, slot: u64, name: &str) -> Result<Vault, VaultError> {
        self.key(slot)
            .and_then(|key| Vault::with_key(&key))
            .ok_or_else(|| VaultError::Destroyed(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destroyed_key_takes_everything_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("subjects.keys");
        let keys = SubjectKeys::open(&path).unwrap();
        assert_eq!((keys.make(1).unwrap(), keys.make(2).unwrap()), (0, 1));
        let sealed = keys.seal(1, "person/x", "anna").unwrap();
        let tag = keys.tag(1, "urn:a").unwrap();
        drop(keys);
        let keys = SubjectKeys::open(&path).unwrap();
        assert_eq!(keys.open_sealed(1, "person/x", &sealed).unwrap(), "anna", "it is still there");
        assert_eq!(keys.tag(1, "urn:a").unwrap(), tag);
        assert_ne!(keys.tag(1, "urn:b").unwrap(), tag, "agreements cannot be joined");
        assert!(keys.open_sealed(2, "person/x", &sealed).is_err(), "another's key");
        keys.destroy(1).unwrap();
        assert!(keys.open_sealed(1, "person/x", &sealed).is_err() && keys.tag(1, "urn:a").is_none());
        drop(keys);
        let keys = SubjectKeys::open(&path).unwrap();
        assert!(keys.open_sealed(1, "person/x", &sealed).is_err(), "and stays gone");
        assert!(keys.tag(0, "urn:a").is_some(), "others stay");
        assert!(!std::fs::read(&path).unwrap().iter().skip(32).take(32).any(|byte| *byte != 0));
    }
}
