//! The store as callers see it, and the one thread that writes.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::batch::{Batch, Versioned};
use crate::chain::{Head, head_key};
use crate::disk::{Disk, Folder};
use crate::error::{CommitError, StoreError};
use crate::index::{Index, Write};
use crate::journal::{Journal, Replay};
use crate::memory::Memory;
use crate::redb::Redb;
use crate::sled::Sled;

/// Batches that wait for the committer; further callers wait for a place.
const QUEUE: usize = 1024;
/// Most batches in one durable write.
const GROUP: usize = 256;
/// A group is closed when it is larger.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Largest batch.
const MAX_BATCH: usize = 16 * 1024 * 1024;
/// Folders of indexes that were set aside and are kept for a look.
const KEPT_ASIDE: usize = 2;

/// Signs a checkpoint's statement.
pub type Signer = Arc<dyn Fn(&[u8]) -> String + Send + Sync>;

/// Which index stands behind the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Engine {
    /// redb.
    Redb,
    /// sled, the default.
    #[default]
    Sled,
}

impl Engine {
    /// The name in configuration and of its folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Sled => "sled",
        }
    }

    fn open(self, path: &Path) -> Result<Box<dyn Index>, StoreError> {
        Ok(match self {
            Self::Redb => Box::new(Redb::open(path)?),
            Self::Sled => Box::new(Sled::open(path)?),
        })
    }
}

/// How a store is opened.
#[derive(Clone, Default)]
pub struct Options {
    /// Which index.
    pub engine: Engine,
    /// Signs checkpoints; without it they carry no signature.
    pub signer: Option<Signer>,
    /// Sets the index aside and rebuilds it from the journal, also where the journal ends before the index.
    pub rebuild: bool,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("engine", &self.engine)
            .field("rebuild", &self.rebuild)
            .finish_non_exhaustive()
    }
}

/// What opening had to mend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The last commit.
    pub sequence: u64,
    /// Commits the index lacked and got from the journal.
    pub replayed: u64,
    /// Why the index was set aside and built anew.
    pub rebuilt: Option<String>,
    /// Bytes of a torn last write that were cut off; it was never answered.
    pub torn: u64,
}

struct Job {
    batch: Batch,
    answer: oneshot::Sender<Result<u64, CommitError>>,
}

enum Message {
    Commit(Job),
    Checkpoint(oneshot::Sender<Result<(), StoreError>>),
}

/// A handle to the store; clones share it. The last one closes it.
#[derive(Clone)]
pub struct Store {
    index: Arc<dyn Index>,
    inner: Arc<Inner>,
}

struct Inner {
    queue: Option<mpsc::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    _lock: Option<File>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Closing the queue lets the thread finish what it has; the lock goes after it.
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the committer was already seen by whoever waited for it.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `folder` (`journal/`, `sled/` or `redb/`, `lock`), creating it.
    ///
    /// # Errors
    /// Another process has it open, the journal is damaged, or a file operation failed.
    pub fn open(folder: &Path, options: &Options) -> Result<(Self, Recovery), StoreError> {
        let io = |operation, error| StoreError::io(operation, folder.display().to_string(), error);
        fs::create_dir_all(folder).map_err(|error| io("creating", error))?;
        let lock = File::create(folder.join("lock")).map_err(|error| io("locking", error))?;
        if lock.try_lock().is_err() {
            return Err(StoreError::Locked(folder.display().to_string()));
        }
        let disk =
            Folder::open(&folder.join("journal")).map_err(|error| io("creating the journal in", error))?;
        Self::with_disk(Box::new(disk), Some(folder), Some(lock), options)
    }

    /// A store whose journal is on `disk` and whose index is in memory: for tests of durability.
    ///
    /// # Errors
    /// The journal is damaged or a file operation failed.
    pub fn on_disk(disk: Box<dyn Disk>) -> Result<(Self, Recovery), StoreError> {
        Self::with_disk(disk, None, None, &Options::default())
    }

    /// A store in memory, without durability: for tests.
    #[must_use]
    pub fn memory() -> Self {
        Self::start(Arc::new(Memory::default()), None, None, None)
    }

    fn with_disk(
        disk: Box<dyn Disk>,
        folder: Option<&Path>,
        lock: Option<File>,
        options: &Options,
    ) -> Result<(Self, Recovery), StoreError> {
        let mut recovery = Recovery::default();
        let mut filler = Filler::open(folder, options, &mut recovery)?;
        let (journal, torn) = Journal::open(disk, &mut filler)?;
        filler.flush()?;
        let known = filler.index.applied()?;
        if known > journal.sequence() {
            return Err(StoreError::Behind { journal: journal.sequence(), index: known });
        }
        recovery.torn = torn;
        recovery.sequence = journal.sequence();
        recovery.replayed = filler.replayed;
        recovery.rebuilt = recovery.rebuilt.or(filler.rebuilt);
        Ok((Self::start(filler.index.into(), Some(journal), lock, options.signer.clone()), recovery))
    }

    fn start(
        index: Arc<dyn Index>,
        journal: Option<Journal>,
        lock: Option<File>,
        signer: Option<Signer>,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let sequence = journal.as_ref().map_or(0, Journal::sequence);
        let heads = HashMap::new();
        let mut committer =
            Committer { index: Arc::clone(&index), journal, sequence, signer, failed: None, heads };
        let thread =
            std::thread::Builder::new().name("committer".to_owned()).spawn(move || committer.run(jobs));
        // Without its thread the queue's other end is gone, and every commit answers that the store is closed.
        Self { index, inner: Arc::new(Inner { queue: Some(queue), thread: thread.ok(), _lock: lock }) }
    }

    /// Commits `batch`; answers with its sequence number once it is durable. An empty batch only checks.
    ///
    /// # Errors
    /// An expectation did not hold (nothing was written), the batch is too large, or the store failed.
    pub async fn commit(&self, batch: Batch) -> Result<u64, CommitError> {
        let bytes = batch.bytes();
        if bytes > MAX_BATCH {
            return Err(CommitError::TooLarge(bytes));
        }
        let (answer, answered) = oneshot::channel();
        self.send(Message::Commit(Job { batch, answer })).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Folds the journal into a signed checkpoint.
    ///
    /// # Errors
    /// A file operation failed.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Checkpoint(answer)).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    async fn send(&self, message: Message) -> Result<(), StoreError> {
        let queue = self.inner.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(message).await.map_err(|_| StoreError::Closed)
    }

    /// The value under `key`, with its version.
    ///
    /// # Errors
    /// The index failed.
    pub fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        self.index.get(key)?.map(|bytes| versioned(key, &bytes)).transpose()
    }

    /// The head of the chain under `prefix`.
    ///
    /// # Errors
    /// The index failed.
    pub fn head(&self, prefix: &str) -> Result<Head, StoreError> {
        read_head(self.index.as_ref(), prefix)
    }

    /// Up to `limit` pairs whose keys start with `prefix`, in order, after the key `after`.
    ///
    /// # Errors
    /// The index failed.
    pub fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Versioned)>, StoreError> {
        let pairs = self.index.scan(prefix, after, limit)?;
        pairs.into_iter().map(|(key, bytes)| versioned(&key, &bytes).map(|value| (key, value))).collect()
    }
}

fn read_head(index: &dyn Index, prefix: &str) -> Result<Head, StoreError> {
    let key = head_key(prefix);
    let Some(bytes) = index.get(&key)? else { return Ok(Head::default()) };
    let found = versioned(&key, &bytes)?;
    Head::from_bytes(&found.value)
        .ok_or_else(|| StoreError::Record { key, reason: "it is no head of a chain".to_owned() })
}

fn versioned(key: &str, bytes: &[u8]) -> Result<Versioned, StoreError> {
    match bytes.split_first_chunk::<8>() {
        Some((version, value)) => {
            Ok(Versioned { version: u64::from_be_bytes(*version), value: value.to_vec() })
        }
        None => Err(StoreError::Record { key: key.to_owned(), reason: "it has no version".to_owned() }),
    }
}

/// Puts the version before each value.
fn stamp(writes: Vec<Write>, sequence: u64) -> Vec<Write> {
    writes
        .into_iter()
        .map(|(key, value)| (key, value.map(|value| [sequence.to_be_bytes().as_slice(), &value].concat())))
        .collect()
}

/// Brings the index up to the journal.
struct Filler {
    index: Box<dyn Index>,
    folder: Option<PathBuf>,
    engine: Engine,
    /// Up to here the index itself has everything.
    flushed: u64,
    replayed: u64,
    rebuilt: Option<String>,
    pending: Vec<Write>,
    /// Up to here the index or `pending` has everything.
    applied: u64,
}

/// Replayed writes are applied in groups of this many.
const FILL: usize = 4096;

impl Filler {
    fn open(folder: Option<&Path>, options: &Options, recovery: &mut Recovery) -> Result<Self, StoreError> {
        let Some(folder) = folder else {
            return Ok(Self::new(Box::new(Memory::default()), None, options.engine, 0));
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

    fn flush(&mut self) -> Result<(), StoreError> {
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

struct Committer {
    index: Arc<dyn Index>,
    journal: Option<Journal>,
    sequence: u64,
    signer: Option<Signer>,
    failed: Option<StoreError>,
    heads: HashMap<String, Head>,
}

impl Committer {
    fn run(&mut self, mut queue: mpsc::Receiver<Message>) {
        while let Some(first) = queue.blocking_recv() {
            let mut jobs = Vec::new();
            let mut bytes = 0;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Checkpoint(answer) => {
                        self.commit(std::mem::take(&mut jobs));
                        // Whoever asked may be gone.
                        let _ = answer.send(self.checkpoint());
                    }
                    Message::Commit(job) => {
                        bytes += job.batch.bytes();
                        jobs.push(job);
                    }
                }
                next = if jobs.len() < GROUP && bytes < GROUP_BYTES { queue.try_recv().ok() } else { None };
            }
            self.commit(jobs);
        }
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        match (&self.failed, &mut self.journal) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(journal)) => journal.checkpoint(self.index.as_ref(), self.signer.as_ref()),
            (None, None) => Ok(()),
        }
    }

    /// Checks, journals, applies and answers one group.
    fn commit(&mut self, jobs: Vec<Job>) {
        let mut versions: HashMap<String, Option<u64>> = HashMap::new();
        let mut batches = Vec::new();
        let mut accepted = Vec::new();
        let mut sequence = self.sequence;
        for job in jobs {
            if let Some(error) = &self.failed {
                let _ = job.answer.send(Err(error.clone().into()));
                continue;
            }
            if let Err(error) = self.check(&job.batch, &versions) {
                let _ = job.answer.send(Err(error));
                continue;
            }
            if job.batch.is_empty() {
                let _ = job.answer.send(Ok(sequence));
                continue;
            }
            if let Err(error) = self.load_heads(&job.batch) {
                let _ = job.answer.send(Err(error.into()));
                continue;
            }
            sequence += 1;
            let writes = job.batch.into_writes(sequence, &mut self.heads);
            for (key, value) in &writes {
                versions.insert(key.clone(), value.as_ref().map(|_| sequence));
            }
            batches.push(writes);
            accepted.push((job.answer, sequence));
        }
        if batches.is_empty() {
            return;
        }
        let result = self.write(batches);
        if let Err(error) = &result {
            tracing::error!(%error, "the store failed and takes no more commits");
            self.failed = Some(error.clone());
        }
        for (answer, sequence) in accepted {
            let _ = answer.send(result.clone().map(|()| sequence).map_err(CommitError::from));
        }
        if let Some(journal) = &mut self.journal
            && self.failed.is_none()
            && let Err(error) = journal.tidy(self.index.as_ref(), self.signer.as_ref())
        {
            tracing::error!(%error, "the journal cannot be tidied; the store takes no more commits");
            self.failed = Some(error);
        }
    }

    /// Reads the heads of the chains that `batch` makes longer.
    fn load_heads(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for (prefix, _) in &batch.chained {
            if !self.heads.contains_key(prefix) {
                self.heads.insert(prefix.clone(), read_head(self.index.as_ref(), prefix)?);
            }
        }
        Ok(())
    }

    fn write(&mut self, batches: Vec<Vec<Write>>) -> Result<(), StoreError> {
        if let Some(journal) = &mut self.journal {
            journal.append(&batches)?;
        }
        let mut writes = Vec::new();
        for batch in batches {
            self.sequence += 1;
            writes.extend(stamp(batch, self.sequence));
        }
        self.index.apply(&writes, self.sequence)
    }

    fn check(&self, batch: &Batch, versions: &HashMap<String, Option<u64>>) -> Result<(), CommitError> {
        for (key, expected) in &batch.expectations {
            let actual = match versions.get(key) {
                Some(version) => *version,
                None => self
                    .index
                    .get(key)?
                    .map(|bytes| versioned(key, &bytes))
                    .transpose()?
                    .map(|found| found.version),
            };
            if actual != *expected {
                return Err(CommitError::Conflict { key: key.clone() });
            }
        }
        Ok(())
    }
}
