//! Brings an index up to the journal, at the start, after a fault of the index, and for a checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use crate::committer::{Engine, Options, Recovery};
use crate::error::StoreError;
use crate::index::{Index, Write};
use crate::journal::Replay;
use crate::memory::Memory;

/// Folders of indexes that were set aside and are kept for a look.
const KEPT_ASIDE: usize = 2;

/// Puts the version before each value.
pub(crate) fn stamp(writes: Vec<Write>, sequence: u64) -> Vec<Write> {
    writes
        .into_iter()
        .map(|(key, value)| (key, value.map(|value| [sequence.to_be_bytes().as_slice(), &value].concat())))
        .collect()
}

/// Brings the index up to the journal.
pub(crate) struct Filler {
    pub(crate) index: Box<dyn Index>,
    folder: Option<PathBuf>,
    engine: Engine,
    /// Up to here the index itself has everything.
    flushed: u64,
    pub(crate) replayed: u64,
    pub(crate) rebuilt: Option<String>,
    pending: Vec<Write>,
    /// Up to here the index or `pending` has everything.
    applied: u64,
}

/// Replayed writes are applied in groups of this many.
const FILL: usize = 4096;

impl Filler {
    pub(crate) fn open(
        folder: Option<&Path>,
        options: &Options,
        recovery: &mut Recovery,
    ) -> Result<Self, StoreError> {
        let Some(folder) = folder else {
            return Ok(Self::in_memory());
        };
        let path = folder.join(options.engine.name());
        if options.rebuild && path.exists() {
            recovery.rebuilt = Some("as asked".to_owned());
            set_aside(&path)?;
        }
        let opened =
            options.engine.open(&path).and_then(|index| index.applied().map(|applied| (index, applied)));
        let (index, applied) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                recovery.rebuilt = Some(error.to_string());
                set_aside(&path)?;
                (options.engine.open(&path)?, 0)
            }
        };
        Ok(Self::new(index, Some(path), options.engine, applied))
    }

    /// Fills an index in memory from the beginning.
    pub(crate) fn in_memory() -> Self {
        Self::new(Box::new(Memory::default()), None, Engine::default(), 0)
    }

    fn new(index: Box<dyn Index>, folder: Option<PathBuf>, engine: Engine, applied: u64) -> Self {
        Self {
            index,
            folder,
            engine,
            flushed: applied,
            replayed: 0,
            rebuilt: None,
            pending: Vec::new(),
            applied,
        }
    }

    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        if self.applied > self.flushed {
            self.index.apply(&self.pending, self.applied)?;
            self.flushed = self.applied;
        }
        self.pending.clear();
        Ok(())
    }
}

impl Replay for Filler {
    fn applied(&self) -> u64 {
        self.applied
    }

    fn reset(&mut self) -> Result<(), StoreError> {
        if self.flushed == 0 {
            return Ok(());
        }
        self.rebuilt = Some("it is older than the journal's checkpoint".to_owned());
        // The engine must let go of its files before they move.
        self.index = Box::new(Memory::default());
        if let Some(path) = &self.folder {
            set_aside(path)?;
            self.index = self.engine.open(path)?;
        }
        (self.flushed, self.applied) = (0, 0);
        Ok(())
    }

    fn restore(&mut self, pairs: &[Write], sequence: u64) -> Result<(), StoreError> {
        // The mark moves only with the last part, so that an interrupted restore begins anew.
        let last = pairs.is_empty();
        self.index.apply(pairs, if last { sequence } else { 0 })?;
        if last {
            (self.flushed, self.applied) = (sequence, sequence);
        }
        Ok(())
    }

    fn apply(&mut self, sequence: u64, writes: Vec<Write>) -> Result<(), StoreError> {
        self.pending.extend(stamp(writes, sequence));
        self.applied = sequence;
        self.replayed += 1;
        if self.pending.len() >= FILL { self.flush() } else { Ok(()) }
    }
}

/// Fills an index, and tells after each file of the journal how many of how many were read; an error ends it.
pub(crate) struct Filling<'a> {
    pub(crate) filler: Filler,
    pub(crate) told: &'a mut dyn FnMut(usize, usize) -> Result<(), StoreError>,
}

impl Replay for Filling<'_> {
    fn applied(&self) -> u64 {
        self.filler.applied()
    }

    fn reset(&mut self) -> Result<(), StoreError> {
        self.filler.reset()
    }

    fn restore(&mut self, pairs: &[Write], sequence: u64) -> Result<(), StoreError> {
        self.filler.restore(pairs, sequence)
    }

    fn apply(&mut self, sequence: u64, writes: Vec<Write>) -> Result<(), StoreError> {
        self.filler.apply(sequence, writes)
    }

    fn has_read(&mut self, files: usize, of: usize) -> Result<(), StoreError> {
        (self.told)(files, of)
    }
}

/// Renames an index that cannot be used to `<name>.aside-N`; the oldest ones go.
fn set_aside(path: &Path) -> Result<(), StoreError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    let io = |operation, error| StoreError::io(operation, path.display().to_string(), error);
    let prefix = format!("{name}.aside-");
    let mut aside: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(parent).map_err(|error| io("listing", error))? {
        let entry = entry.map_err(|error| io("listing", error))?;
        if let Some(number) =
            entry.file_name().to_str().and_then(|name| name.strip_prefix(&prefix)?.parse().ok())
        {
            aside.push((number, entry.path()));
        }
    }
    aside.sort();
    let next = aside.last().map_or(1, |(number, _)| number + 1);
    if path.exists() {
        fs::rename(path, parent.join(format!("{prefix}{next}")))
            .map_err(|error| io("setting aside", error))?;
    }
    let surplus = (aside.len() + 1).saturating_sub(KEPT_ASIDE);
    for (_, old) in aside.into_iter().take(surplus) {
        fs::remove_dir_all(&old).map_err(|error| io("removing an older copy of", error))?;
    }
    Ok(())
}
