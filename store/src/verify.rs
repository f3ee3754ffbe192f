//! Whether the journal has everything that others know it once had.

use std::fs::File;
use std::path::Path;

use crate::committer::{Engine, lock, read_head};
use crate::disk::Folder;
use crate::error::StoreError;
use crate::fill::{Filler, Filling};
use crate::index::{Index, Place};
use crate::journal::{JournalReport, inspect_into};

/// Keys that are read at once.
const PAGE: usize = 1000;

/// Reads the whole journal of the store in `folder`, checks checksums and chain, and compares its end with the mark of the
/// index and with the seals: keys below `seals` that end in the number of entries of the chain `chained` that they cover.
/// No record is changed. What the store holds has to fit into memory meanwhile. `told` hears how many of how many files were
/// read.
///
/// # Errors
/// [`StoreError::Damaged`], named by file and place; [`StoreError::Behind`] and [`StoreError::Sealed`] for a journal that lost
/// its end; [`StoreError::Locked`] while another process has the store open.
pub fn verify(
    folder: &Path,
    engine: Engine,
    chained: &str,
    seals: &str,
    told: &mut dyn FnMut(usize, usize),
) -> Result<JournalReport, StoreError> {
    let journal = folder.join("journal");
    let _lock: File = lock(folder)?;
    let disk = Folder::open(&journal)
        .map_err(|error| StoreError::io("opening", journal.display().to_string(), error))?;
    let mut after_file = |read, files| {
        told(read, files);
        Ok(())
    };
    let mut filling = Filling { filler: Filler::in_memory(), told: &mut after_file };
    let report = inspect_into(&disk, &mut filling)?;
    let mut truth = filling.filler;
    truth.flush()?;
    let entries = read_head(truth.index.as_ref(), chained)?.count;
    let mut sealed = last_number(truth.index.as_ref(), seals)?;
    let path = folder.join(engine.name());
    // One that cannot be opened knows nothing, and is built anew at the next start.
    if path.exists()
        && let Ok(index) = engine.open(&path)
    {
        let known = index.applied()?;
        if known > report.sequence {
            return Err(StoreError::Behind { journal: report.sequence, index: known });
        }
        sealed = sealed.max(last_number(index.as_ref(), seals)?);
    }
    if sealed > entries { Err(StoreError::Sealed { entries, sealed }) } else { Ok(report) }
}

/// The number at the end of the last key below `prefix`.
fn last_number(index: &dyn Index, prefix: &str) -> Result<u64, StoreError> {
    let mut last: Option<String> = None;
    loop {
        let page = index.scan(prefix, Place::After(last.as_deref()), PAGE)?;
        match page.into_iter().next_back() {
            Some((key, _)) => last = Some(key),
            None => break,
        }
    }
    let number = last.and_then(|key| key.strip_prefix(prefix)?.parse().ok());
    Ok(number.unwrap_or_default())
}
