//! Copies of a journal: as it stands, on the same disk, the way back from a change of all records; and elsewhere, as a backup.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::disk::Folder;
use crate::error::StoreError;
use crate::journal::{JournalReport, inspect_telling};

/// How often a backup begins anew because a checkpoint replaced what was being copied.
const ATTEMPTS: usize = 5;

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

/// Copies the journal of the store in `folder` to `target/journal`, also while the store is open, and reads the copy from end
/// to end. `told` hears how many of how many files were copied, and then how many were read. `target` must not be there, or
/// be empty.
///
/// # Errors
/// A file operation failed, something is in the way, or the journal is damaged.
pub fn back_up(
    folder: &Path,
    target: &Path,
    told: &mut dyn FnMut(usize, usize),
) -> Result<JournalReport, StoreError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let inside = target.join("journal");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(target)
        .map_err(|error| failed("creating", target, error))?;
    let mut entries = fs::read_dir(target).map_err(|error| failed("listing", target, error))?;
    if entries.next().is_some() {
        return Err(failed("backing up to", target, std::io::ErrorKind::DirectoryNotEmpty.into()));
    }
    let mut attempt = 1;
    loop {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&inside)
            .map_err(|error| failed("creating", &inside, error))?;
        let copied = copy_to(&folder.join("journal"), &inside, told).and_then(|()| {
            let disk = Folder::open(&inside).map_err(|error| failed("opening", &inside, error))?;
            inspect_telling(&disk, told)
        });
        // A checkpoint takes files away, and what was copied of them does not make a whole.
        let may_be_caught = match &copied {
            Err(StoreError::Damaged { .. }) => true,
            Err(error) => error.io_kind() == Some(std::io::ErrorKind::NotFound),
            Ok(_) => false,
        };
        if !may_be_caught || attempt == ATTEMPTS {
            return copied;
        }
        attempt += 1;
        fs::remove_dir_all(&inside).map_err(|error| failed("removing", &inside, error))?;
    }
}

/// Copies all files of a journal, durably, in the order in which they follow.
fn copy_to(journal: &Path, target: &Path, told: &mut dyn FnMut(usize, usize)) -> Result<(), StoreError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(journal).map_err(|error| failed("listing", journal, error))? {
        files.push(entry.map_err(|error| failed("listing", journal, error))?.file_name());
    }
    files.retain(|file| Path::new(file).extension().is_none_or(|one| one != "tmp"));
    files.sort();
    for (place, file) in files.iter().enumerate() {
        let (from, to) = (journal.join(file), target.join(file));
        fs::copy(&from, &to).map_err(|error| failed("copying", &from, error))?;
        sync(&to)?;
        told(place + 1, files.len());
    }
    sync(target)
}

fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| failed("syncing", path, error))
}

fn failed(operation: &'static str, path: &Path, error: std::io::Error) -> StoreError {
    StoreError::io(operation, path.display().to_string(), error)
}
