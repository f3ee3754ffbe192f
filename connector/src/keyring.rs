//! The node's keys over time: which one signs, which ones others may still meet, which ones only verify what was signed
//! long ago. Private keys are files; what is known about them stands in `keyring.json` beside the first one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use trust::did::KeyUse;
use trust::{Algorithm, PrivateKey};

use crate::secrets;

/// Name of the file.
const FILE: &str = "keyring.json";
/// Most keys that a DID document shows, for others read no more than a few. The oldest are left out: what they signed is
/// checked against the documents that were kept with it.
const MAX_SHOWN: usize = 60;

/// A key, and when it is good for what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    /// The fragment of its id.
    name: String,
    /// The file with the private key, below the keyring's folder.
    file: PathBuf,
    /// The public JWK.
    public: Json,
    /// From when on it signs, until a later one does.
    signs_from: Timestamp,
    /// From when on tokens signed with it are not to be believed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retired_at: Option<Timestamp>,
    /// Somebody else may have it: what it signed counts only where something else shows that it was signed before.
    #[serde(default)]
    compromised: bool,
    /// Since when somebody else may have it, as the operator says; since it was said where this is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compromised_since: Option<Timestamp>,
}

impl Entry {
    fn is_over(&self, now: Timestamp) -> bool {
        self.compromised || self.retired_at.is_some_and(|at| at <= now)
    }
}

/// How a key takes the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// Seconds that the new key is published before it signs, so that nobody meets a signature without having had the
    /// time to see the key.
    #[serde(default = "ten_minutes")]
    pub lead_seconds: u32,
    /// Seconds that the old keys are still believed after that.
    #[serde(default = "a_day")]
    pub overlap_seconds: u32,
    /// The old keys are in wrong hands: neither lead nor overlap, and what they signed since then does not count.
    #[serde(default)]
    pub compromised: bool,
    /// Since when they are in wrong hands; since now where this is not said.
    #[serde(default)]
    pub since: Option<Timestamp>,
}

const fn ten_minutes() -> u32 {
    600
}

const fn a_day() -> u32 {
    86_400
}

/// A key that signs, with its name.
#[derive(Debug)]
pub struct Signer {
    /// The fragment of its id.
    pub name: String,
    /// The key.
    pub key: PrivateKey,
}

/// All keys of a node.
#[derive(Debug)]
pub struct Keyring {
    folder: PathBuf,
    entries: Vec<Entry>,
    /// The private keys that may have to sign, by place.
    signers: Vec<Option<Arc<Signer>>>,
}

impl Keyring {
    /// Reads the keys; `first` is the file that the configuration names.
    ///
    /// # Errors
    /// A file is missing, readable by others, or not what it should be.
    pub fn load(first: &Path, now: Timestamp) -> anyhow::Result<Self> {
        let folder = first.parent().unwrap_or_else(|| Path::new("")).to_owned();
        let path = folder.join(FILE);
        let entries: Vec<Entry> = if path.exists() {
            let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))?
        } else {
            let key = read_key(first)?;
            vec![Entry {
                name: "key-1".to_owned(),
                file: first.file_name().map(PathBuf::from).unwrap_or_default(),
                public: key.public_jwk().clone(),
                signs_from: Timestamp::UNIX_EPOCH,
                retired_at: None,
                compromised: false,
                compromised_since: None,
            }]
        };
        let mut signers = Vec::new();
        for entry in &entries {
            // What will not sign any more need not be there.
            signers.push(if entry.is_over(now) {
                None
            } else {
                let file = folder.join(&entry.file);
                let key = read_key(&file)?;
                if key.public_jwk() != &entry.public {
                    bail!("{} is not the key that {} says", file.display(), path.display());
                }
                Some(Arc::new(Signer { name: entry.name.clone(), key }))
            });
        }
        let ring = Self { folder, entries, signers };
        ring.signer(now).with_context(|| format!("no key of {} signs now", path.display()))?;
        Ok(ring)
    }

    /// The key that signs at `now`.
    #[must_use]
    pub fn signer(&self, now: Timestamp) -> Option<&Arc<Signer>> {
        let signing = self.entries.iter().zip(&self.signers).rev();
        signing.filter(|(entry, _)| entry.signs_from <= now).find_map(|(_, signer)| signer.as_ref())
    }

    /// The keys that a DID document of `did` shows at `now`.
    #[must_use]
    pub fn shown(&self, did: &str, now: Timestamp) -> Vec<KeyUse> {
        let signing = self.signer(now).map(|signer| signer.name.as_str());
        let believed = || self.entries.iter().filter(|entry| !entry.compromised);
        let mut left_out = believed().count().saturating_sub(MAX_SHOWN);
        let shown = believed().filter(|entry| {
            let is_old = left_out > 0 && signing != Some(entry.name.as_str());
            left_out -= usize::from(is_old);
            !is_old
        });
        let shown = shown.map(|entry| KeyUse {
            id: format!("{did}#{}", entry.name),
            jwk: entry.public.clone(),
            authenticates: entry.retired_at.is_none_or(|at| at > now),
        });
        shown.collect()
    }

    /// The keys that are in wrong hands: name, since when, and when that was said.
    #[must_use]
    pub fn compromised(&self) -> Vec<(&str, Timestamp, Timestamp)> {
        let compromised = self.entries.iter().filter(|entry| entry.compromised);
        let compromised = compromised.map(|entry| {
            let said = entry.retired_at.unwrap_or(entry.signs_from);
            (entry.name.as_str(), entry.compromised_since.unwrap_or(said), said)
        });
        compromised.collect()
    }

    /// Destroys the private keys that will not sign any more; when the next one of those will not.
    ///
    /// # Errors
    /// A file cannot be destroyed; the others are.
    pub fn destroy_retired(&mut self, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
        let mut failed = Ok(());
        for (entry, signer) in self.entries.iter().zip(&mut self.signers) {
            if entry.is_over(now) {
                *signer = None;
                let destroyed = secrets::destroy(&self.folder.join(&entry.file));
                failed = failed.and(destroyed);
            }
        }
        failed?;
        let left = self.entries.iter().filter(|entry| !entry.is_over(now));
        Ok(left.filter_map(|entry| entry.retired_at).min())
    }

    /// The keyring with a new key, written; the old one goes on until this one is used.
    ///
    /// # Errors
    /// A file cannot be written, or the keys are said to be in wrong hands since a time to come.
    pub fn rotated(&self, algorithm: Algorithm, rotation: Rotation, now: Timestamp) -> anyhow::Result<Self> {
        if rotation.since.is_some() && !rotation.compromised {
            bail!("`since` goes with `compromised`: it says since when the old keys are in wrong hands");
        }
        if rotation.since.is_some_and(|since| since > now) {
            bail!("the old keys cannot be in wrong hands since a time to come");
        }
        let lead = if rotation.compromised { 0 } else { rotation.lead_seconds };
        let overlap = if rotation.compromised { 0 } else { rotation.overlap_seconds };
        let signs_from = now.checked_add(SignedDuration::from_secs(lead.into()))?;
        let retired_at = signs_from.checked_add(SignedDuration::from_secs(overlap.into()))?;
        let key = PrivateKey::generate(algorithm)?;
        let number =
            |entry: &Entry| entry.name.rsplit('-').next().and_then(|text| text.parse::<usize>().ok());
        let last = self.entries.iter().filter_map(number).max().unwrap_or_default();
        let name = format!("key-{}", last.max(self.entries.len()) + 1);
        let file = PathBuf::from(format!("{name}.jwk"));
        // One that a rotation which did not come to its end left behind is nobody's key.
        secrets::replace(&self.folder.join(&file), &key.private_jwk().to_string())?;
        let mut entries = self.entries.clone();
        for old in &mut entries {
            // A key that retired long ago is not in wrong hands since its end, but since this is said.
            let since = rotation.since.unwrap_or(now);
            if rotation.compromised {
                let before = if old.compromised { old.compromised_since.or(old.retired_at) } else { None };
                old.compromised_since = Some(before.map_or(since, |before| before.min(since)));
                old.compromised = true;
            }
            old.retired_at = Some(old.retired_at.map_or(retired_at, |at| at.min(retired_at)));
        }
        let public = key.public_jwk().clone();
        entries.push(Entry {
            name: name.clone(),
            file,
            public,
            signs_from,
            retired_at: None,
            compromised: false,
            compromised_since: None,
        });
        let mut signers = self.signers.clone();
        if rotation.compromised {
            signers.fill(None);
        }
        signers.push(Some(Arc::new(Signer { name, key })));
        let ring = Self { folder: self.folder.clone(), entries, signers };
        let text = serde_json::to_string_pretty(&ring.entries).context("writing the keyring")?;
        secrets::replace(&self.folder.join(FILE), &text)?;
        Ok(ring)
    }
}

/// Whether a file in the folder of the keys is one that rotation writes.
#[must_use]
pub fn is_file_of(name: &str) -> bool {
    let stem = name.strip_suffix(".jwk").or_else(|| name.strip_suffix(".new"));
    let is_key = |stem: &str| {
        stem.strip_prefix("key-").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    name == FILE || stem.is_some_and(|stem| is_key(stem) || FILE.strip_suffix(".json") == Some(stem))
}

fn read_key(path: &Path) -> anyhow::Result<PrivateKey> {
    let jwk = serde_json::from_str(&secrets::read(path)?)
        .with_context(|| format!("the key file {} is not JSON", path.display()))?;
    PrivateKey::from_jwk(&jwk).with_context(|| format!("in {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DID: &str = "did:web:a.example";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn first(folder: &Path) -> PathBuf {
        let path = folder.join("participant.jwk");
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        secrets::create(&path, &key.private_jwk().to_string()).unwrap();
        path
    }

    fn names(ring: &Keyring, now: Timestamp) -> (String, Vec<(String, bool)>) {
        let shown = ring.shown(DID, now).into_iter();
        let shown = shown.map(|one| (one.id.rsplit('#').next().unwrap().to_owned(), one.authenticates));
        (ring.signer(now).unwrap().name.clone(), shown.collect())
    }

    #[test]
    fn a_new_key_is_shown_first_signs_then_and_the_old_one_stays_to_verify() {
        let folder = tempfile::tempdir().unwrap();
        let path = first(folder.path());
        let ring = Keyring::load(&path, at(0)).unwrap();
        let rotation = Rotation { lead_seconds: 60, overlap_seconds: 600, compromised: false, since: None };
        let ring = ring.rotated(Algorithm::P256, rotation, at(0)).unwrap();
        let both = |old: bool| vec![("key-1".to_owned(), old), ("key-2".to_owned(), true)];
        let again = Keyring::load(&path, at(0)).unwrap();
        for ring in [&ring, &again] {
            assert_eq!(names(ring, at(59)), ("key-1".to_owned(), both(true)));
            assert_eq!(names(ring, at(60)), ("key-2".to_owned(), both(true)));
            assert_eq!(names(ring, at(660)), ("key-2".to_owned(), both(false)));
        }
        // A file that an interrupted rotation left behind is in nobody's way.
        std::fs::write(folder.path().join("key-3.jwk"), "{").unwrap();
        let third = again.rotated(Algorithm::P256, rotation, at(0)).unwrap();
        assert_eq!(third.signer(at(60)).unwrap().name, "key-3");
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        Keyring::load(&path, at(0)).unwrap().rotated(Algorithm::P256, rotation, at(0)).unwrap();
        // Once it has retired, its private part is not needed any more.
        std::fs::remove_file(&path).unwrap();
        assert!(Keyring::load(&path, at(0)).is_err());
        assert_eq!(names(&Keyring::load(&path, at(661)).unwrap(), at(661)).0, "key-2");
    }

    #[test]
    fn a_compromised_key_counts_for_nothing_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = first(folder.path());
        let rotation = Rotation { lead_seconds: 60, overlap_seconds: 600, compromised: true, since: None };
        let ring = Keyring::load(&path, at(0)).unwrap().rotated(Algorithm::Ed25519, rotation, at(0)).unwrap();
        assert_eq!(names(&ring, at(0)), ("key-2".to_owned(), vec![("key-2".to_owned(), true)]));
        std::fs::write(folder.path().join(FILE), "[]").unwrap();
        assert!(Keyring::load(&path, at(0)).unwrap_err().to_string().contains("no key of"));
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(Keyring::load(&path, at(0)).is_err());
    }

    #[test]
    fn a_key_in_wrong_hands_is_replaced_however_many_there_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = first(folder.path());
        let mut ring = Keyring::load(&path, at(0)).unwrap();
        let often = Rotation { lead_seconds: 0, overlap_seconds: 5, compromised: false, since: None };
        for round in 0..70 {
            ring = ring.rotated(Algorithm::Ed25519, often, at(10 * round)).unwrap();
        }
        let shown = names(&ring, at(1000)).1;
        assert_eq!(shown.len(), MAX_SHOWN, "a document that others read");
        assert_eq!(shown.last(), Some(&("key-71".to_owned(), true)));
        // Many that are yet to sign do not push out the one that does.
        let later = Rotation { lead_seconds: 600, ..often };
        for _ in 0..70 {
            ring = ring.rotated(Algorithm::Ed25519, later, at(1000)).unwrap();
        }
        let (signing, shown) = names(&ring, at(1000));
        assert!(shown.len() == MAX_SHOWN && shown.iter().any(|(name, _)| *name == signing), "{signing}");
        let compromised = Rotation { compromised: true, ..often };
        let ring = ring.rotated(Algorithm::Ed25519, compromised, at(1001)).unwrap();
        assert_eq!(names(&ring, at(1001)), ("key-142".to_owned(), vec![("key-142".to_owned(), true)]));
        assert_eq!(names(&Keyring::load(&path, at(1001)).unwrap(), at(1001)).0, "key-142");
    }

    #[test]
    fn private_keys_that_will_not_sign_any_more_are_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let path = first(folder.path());
        let rotation = Rotation { lead_seconds: 60, overlap_seconds: 600, compromised: false, since: None };
        let ring = Keyring::load(&path, at(0)).unwrap();
        let mut ring = ring.rotated(Algorithm::Ed25519, rotation, at(0)).unwrap();
        assert_eq!(ring.destroy_retired(at(659)).unwrap(), Some(at(660)));
        assert!(path.exists());
        assert_eq!(ring.destroy_retired(at(660)).unwrap(), None);
        assert!(!path.exists() && folder.path().join("key-2.jwk").exists());
        let since = Rotation { compromised: true, since: Some(at(300)), ..rotation };
        assert!(
            ring.rotated(Algorithm::P256, Rotation { since: Some(at(2000)), ..since }, at(1000)).is_err()
        );
        assert!(ring.rotated(Algorithm::P256, Rotation { compromised: false, ..since }, at(1000)).is_err());
        let mut ring = ring.rotated(Algorithm::P256, since, at(1000)).unwrap();
        assert_eq!(ring.destroy_retired(at(1000)).unwrap(), None);
        assert!(!folder.path().join("key-2.jwk").exists() && folder.path().join("key-3.jwk").exists());
        let again = Keyring::load(&path, at(1000)).unwrap();
        let known = [("key-1", at(300), at(660)), ("key-2", at(300), at(1000))];
        assert_eq!((ring.compromised(), again.compromised()), (known.to_vec(), known.to_vec()));
    }
}
