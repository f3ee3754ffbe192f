//! Key files: mode 0600, read by reference from the configuration, never logged.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Writes a new key file that only its owner can read.
///
/// # Errors
/// It exists already, or cannot be written.
pub fn create(path: &Path, content: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("creating the key file {}", path.display()))?;
    file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).context("writing a key file")
}

/// Writes a file that only its owner can read, in the place of one that may be there: all of it, or nothing.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, content: &str) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    if fresh.exists() {
        fs::remove_file(&fresh).with_context(|| format!("removing {}", fresh.display()))?;
    }
    create(&fresh, content)?;
    fs::rename(&fresh, path).with_context(|| format!("replacing {}", path.display()))?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("syncing {}", folder.display()))
}

/// Destroys a key file: what it held is overwritten, then it is removed. One that is not there is none.
///
/// # Errors
/// It cannot be overwritten or removed.
pub fn destroy(path: &Path) -> anyhow::Result<()> {
    let destroying = || format!("destroying the key file {}", path.display());
    let length = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => meta.len(),
        Ok(_) => 0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(destroying),
    };
    if length > 0 {
        let mut file = OpenOptions::new().write(true).open(path).with_context(destroying)?;
        let blank = vec![b' '; usize::try_from(length).unwrap_or_default()];
        file.write_all(&blank).and_then(|()| file.sync_all()).with_context(destroying)?;
    }
    fs::remove_file(path).with_context(destroying)
}

/// Reads a key file.
///
/// # Errors
/// It is missing, or others can read it.
pub fn read(path: &Path) -> anyhow::Result<String> {
    let mut file =
        fs::File::open(path).with_context(|| format!("reading the key file {}", path.display()))?;
    read_open(&mut file, path)
}

/// As [`read`], of a file that is open already; `path` is for what is said.
///
/// # Errors
/// As [`read`].
pub fn read_open(file: &mut fs::File, path: &Path) -> anyhow::Result<String> {
    let meta = file.metadata().with_context(|| format!("reading the key file {}", path.display()))?;
    if meta.permissions().mode() & 0o077 != 0 {
        bail!("others can read the key file {0}; run `chmod 600 {0}`", path.display());
    }
    let mut text = String::new();
    file.read_to_string(&mut text).with_context(|| format!("reading the key file {}", path.display()))?;
    Ok(text)
}

/// Reads a key file; where it is missing, a new key (32 random bytes, base64) is written to it.
///
/// # Errors
/// It cannot be read or made, or others can read it.
pub fn read_or_make(path: &Path) -> anyhow::Result<String> {
    if path.exists() {
        return read(path);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let text = STANDARD.encode(key);
    create(path, &text)?;
    Ok(text)
}

/// Whether `error` says that a file is missing.
#[must_use]
pub fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}
