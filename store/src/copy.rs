//! A copy of a journal as it stands, on the same disk: the way back from a change of all records.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// Keeps the journal of the store in `folder` as `folder/name/journal`; nobody may write meanwhile. Files that are
/// closed are linked, since nobody changes them again; the one that grows is copied. A copy of that name that is there
/// already is replaced. It is there as a whole or not at all, also after a kill.
///
/// # Errors
/// A file operation failed, for example because the disk is full.
pub fn copy_journal(folder: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let journal = folder.join("journal");
    let target = folder.join(name);
    let unfinished = folder.join(format!("{name}.tmp"));
    for old in [&unfinished, &target] {
        if old.exists() {
            fs::remove_dir_all(old).map_err(|error| failed("removing", old, error))?;
        }
    }
    let inside = unfinished.join("journal");
    fs::create_dir_all(&inside).map_err(|error| failed("creating", &inside, error))?;
    let mut files = Vec::new();
    for entry in fs::read_dir(&journal).map_err(|error| failed("listing", &journal, error))? {
        files.push(entry.map_err(|error| failed("listing", &journal, error))?.file_name());
    }
    files.sort();
    let growing = files.iter().rfind(|file| Path::new(file).extension().is_some_and(|one| one == "log"));
    for file in &files {
        let (from, to) = (journal.join(file), inside.join(file));
        // A disk without links gets a copy.
        if Some(file) == growing || fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).map_err(|error| failed("copying", &from, error))?;
            sync(&to)?;
        }
    }
    sync(&inside)?;
    sync(&unfinished)?;
    fs::rename(&unfinished, &target).map_err(|error| failed("renaming", &unfinished, error))?;
    sync(folder)?;
    Ok(target)
}

fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| failed("syncing", path, error))
}

fn failed(operation: &'static str, path: &Path, error: std::io::Error) -> StoreError {
    StoreError::io(operation, path.display().to_string(), error)
}
