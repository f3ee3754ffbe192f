//! The store as callers see it, and the one thread that writes.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

use crate::batch::{Batch, Versioned};
use crate::chain::{Head, head_key};
use crate::disk::{Disk, Folder};
use crate::error::{CommitError, StoreError};
use crate::fill::{Filler, stamp};
use crate::index::{Index, Pairs, Place, Write};
use crate::journal::{CheckpointProgress, Draft, Journal};
use crate::memory::Memory;
use crate::redb::Redb;
use crate::replaced::Replaced;
use crate::sled::Sled;

/// Batches that wait for the committer; further callers wait for a place.
const QUEUE: usize = 1024;
/// Most batches in one durable write.
const GROUP: usize = 256;
/// A group is closed when it is larger.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Largest batch.
const MAX_BATCH: usize = 16 * 1024 * 1024;

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

    pub(crate) fn open(self, path: &Path) -> Result<Box<dyn Index>, StoreError> {
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
    Checkpoint(oneshot::Sender<Result<u64, StoreError>>),
    /// A draft was written, or was not.
    Drafted(Result<(), StoreError>),
    TryAgain(oneshot::Sender<Result<(), StoreError>>),
}

/// A handle to the store; clones share it. The last one closes it.
#[derive(Clone)]
pub struct Store {
    index: Arc<Replaced>,
    failing: watch::Receiver<Option<StoreError>>,
    checkpointing: watch::Receiver<Option<CheckpointProgress>>,
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
        let lock = lock(folder)?;
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
        Self::start(Box::new(Memory::default()), None, None, None, Options::default())
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
        let store =
            Self::start(filler.index, Some(journal), lock, folder.map(Path::to_owned), options.clone());
        Ok((store, recovery))
    }

    fn start(
        index: Box<dyn Index>,
        journal: Option<Journal>,
        lock: Option<File>,
        folder: Option<PathBuf>,
        options: Options,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let sequence = journal.as_ref().map_or(0, Journal::sequence);
        let index = Arc::new(Replaced::new(index));
        let (failed, failing) = watch::channel(None);
        let (progress, checkpointing) = watch::channel(None);
        let mut committer = Committer {
            queue: queue.downgrade(),
            drafting: None,
            progress: Arc::new(progress),
            index: Arc::clone(&index),
            journal,
            sequence,
            // Asked for once, at the start.
            options: Options { rebuild: false, ..options },
            folder,
            failed,
            heads: HashMap::new(),
        };
        let thread =
            std::thread::Builder::new().name("committer".to_owned()).spawn(move || committer.run(jobs));
        // Without its thread the queue's other end is gone, and every commit answers that the store is closed.
        Self {
            index,
            failing,
            checkpointing,
            inner: Arc::new(Inner { queue: Some(queue), thread: thread.ok(), _lock: lock }),
        }
    }

    /// Why the last write failed, as long as none has succeeded since, as it changes. Meanwhile every commit tries again.
    #[must_use]
    pub fn failing(&self) -> watch::Receiver<Option<StoreError>> {
        self.failing.clone()
    }

    /// Finds out whether the store can be written, after a write that failed, without writing anything of its own.
    ///
    /// # Errors
    /// It cannot be written still: [`Self::failing`] says so too.
    pub async fn try_again(&self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::TryAgain(answer)).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Commits `batch`; answers with its sequence number once it is durable. An empty batch only checks.
    ///
    /// # Errors
    /// An expectation did not hold, the batch is too large, or the store failed: nothing was written, and a restart finds
    /// nothing of it, but for [`CommitError::Unknown`]. The next commit tries again.
    pub async fn commit(&self, batch: Batch) -> Result<u64, CommitError> {
        let bytes = batch.bytes();
        if bytes > MAX_BATCH {
            return Err(CommitError::TooLarge(bytes));
        }
        let (answer, answered) = oneshot::channel();
        self.send(Message::Commit(Job { batch, answer })).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Folds the journal into a signed checkpoint, made from the journal alone, and answers with the commit that it stands
    /// for; all of it has to fit into memory. Commits go on meanwhile. While one is being made, whoever asks waits for that.
    ///
    /// # Errors
    /// A file operation failed, or the journal is damaged; the journal stays as it was.
    pub async fn checkpoint(&self) -> Result<u64, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Checkpoint(answer)).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// How far the checkpoint is that is being made; `None` while there is none.
    #[must_use]
    pub fn checkpointing(&self) -> Option<CheckpointProgress> {
        *self.checkpointing.borrow()
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
        versions(self.index.scan(prefix, Place::After(after), limit)?)
    }

    /// Up to `limit` pairs whose keys start with `prefix`, before the key `before` or from the end, the last key first.
    ///
    /// # Errors
    /// The index failed.
    pub fn scan_back(
        &self,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Versioned)>, StoreError> {
        versions(self.index.scan(prefix, Place::Before(before), limit)?)
    }
}

fn versions(pairs: Pairs) -> Result<Vec<(String, Versioned)>, StoreError> {
    pairs.into_iter().map(|(key, bytes)| versioned(&key, &bytes).map(|value| (key, value))).collect()
}

/// Keeps other processes out of the store in `folder`, as long as the file is open.
pub(crate) fn lock(folder: &Path) -> Result<File, StoreError> {
    let name = folder.display().to_string();
    let lock = File::create(folder.join("lock")).map_err(|error| StoreError::io("locking", &name, error))?;
    if lock.try_lock().is_err() {
        return Err(StoreError::Locked(name));
    }
    Ok(lock)
}

pub(crate) fn read_head(index: &dyn Index, prefix: &str) -> Result<Head, StoreError> {
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

struct Committer {
    index: Arc<Replaced>,
    journal: Option<Journal>,
    sequence: u64,
    options: Options,
    folder: Option<PathBuf>,
    failed: watch::Sender<Option<StoreError>>,
    heads: HashMap<String, Head>,
    /// Where whoever writes a draft tells of it. It keeps nobody's store open.
    queue: mpsc::WeakSender<Message>,
    drafting: Option<Drafting>,
    progress: Arc<watch::Sender<Option<CheckpointProgress>>>,
}

/// A checkpoint that is being made, beside the commits.
struct Drafting {
    draft: Arc<Draft>,
    thread: JoinHandle<()>,
    /// Who waits for it.
    asked: Vec<oneshot::Sender<Result<u64, StoreError>>>,
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
                        self.checkpoint(Some(answer));
                    }
                    Message::Drafted(written) => {
                        self.commit(std::mem::take(&mut jobs));
                        self.adopt(written);
                    }
                    Message::TryAgain(answer) => {
                        self.commit(std::mem::take(&mut jobs));
                        let tried = self.try_again();
                        self.note(&tried);
                        let _ = answer.send(tried);
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
        // Nobody may write to the folder once the store is closed.
        if let Some(drafting) = self.drafting.take() {
            drafting.draft.give_up();
            let _ = drafting.thread.join();
        }
    }

    /// Begins a checkpoint, unless one is being made. Whoever asked may be gone when it is done.
    fn checkpoint(&mut self, asked: Option<oneshot::Sender<Result<u64, StoreError>>>) {
        if let Some(drafting) = &mut self.drafting {
            drafting.asked.extend(asked);
            return;
        }
        match self.begin_checkpoint() {
            Ok(Some(mut drafting)) => {
                drafting.asked.extend(asked);
                self.drafting = Some(drafting);
            }
            Ok(None) => asked.into_iter().for_each(|asked| {
                let _ = asked.send(Ok(self.sequence));
            }),
            Err(error) => Self::tell_of_checkpoint(asked, &Err(error)),
        }
    }

    fn begin_checkpoint(&mut self) -> Result<Option<Drafting>, StoreError> {
        let Some(journal) = &mut self.journal else { return Ok(None) };
        let draft = Arc::new(journal.draft(self.options.signer.clone())?);
        let (work, queue, progress) = (Arc::clone(&draft), self.queue.clone(), Arc::clone(&self.progress));
        progress.send_replace(Some(CheckpointProgress::default()));
        let write = move || {
            let told = |now| {
                progress.send_replace(Some(now));
            };
            let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.write(&told)));
            let written = written.unwrap_or(Err(StoreError::Closed));
            if let Some(queue) = queue.upgrade() {
                // With the committer gone there is nobody to tell.
                let _ = queue.blocking_send(Message::Drafted(written));
            }
        };
        let thread = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(write);
        let thread = thread.map_err(|error| StoreError::io("starting a thread for", "a checkpoint", error));
        if thread.is_err() {
            self.progress.send_replace(None);
        }
        Ok(Some(Drafting { draft, thread: thread?, asked: Vec::new() }))
    }

    fn adopt(&mut self, written: Result<(), StoreError>) {
        let Some(Drafting { draft, thread, asked }) = self.drafting.take() else { return };
        let _ = thread.join();
        let adopted = written.and_then(|()| match &mut self.journal {
            Some(journal) => journal.adopt(&draft),
            None => Ok(()),
        });
        self.progress.send_replace(None);
        Self::tell_of_checkpoint(asked, &adopted.map(|()| draft.sequence));
    }

    fn tell_of_checkpoint(
        asked: impl IntoIterator<Item = oneshot::Sender<Result<u64, StoreError>>>,
        made: &Result<u64, StoreError>,
    ) {
        if let Err(error) = made {
            tracing::warn!(error = error.with_cause(), "the journal was not folded; it grows meanwhile");
        }
        for answer in asked {
            let _ = answer.send(made.clone());
        }
    }

    /// Whether there is room again, and an index that knows what the journal has.
    fn try_again(&mut self) -> Result<(), StoreError> {
        if let Some(journal) = &mut self.journal {
            journal.probe()?;
        }
        if self.index.is_gone() { self.reopen_index() } else { Ok(()) }
    }

    /// Tells of a write that failed, or of the first that succeeds after it.
    fn note(&self, result: &Result<(), StoreError>) {
        let error = result.as_ref().err();
        self.failed.send_if_modified(|failed| {
            match (failed.as_ref(), error) {
                (None, Some(error)) => {
                    tracing::error!(error = error.with_cause(), "the store cannot be written");
                }
                (Some(_), None) => tracing::info!("the store can be written again"),
                (None, None) => return false,
                (Some(_), Some(_)) => {}
            }
            *failed = error.cloned();
            true
        });
    }

    /// Opens the index anew and brings it up to the journal. Until that succeeds, reading fails.
    fn reopen_index(&self) -> Result<(), StoreError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        self.index.replace(|| {
            let mut recovery = Recovery::default();
            let mut filler = Filler::open(self.folder.as_deref(), &self.options, &mut recovery)?;
            journal.replay(&mut filler)?;
            filler.flush()?;
            Ok(filler.index)
        })
    }

    /// Checks, journals, applies and answers one group.
    fn commit(&mut self, jobs: Vec<Job>) {
        let mut versions: HashMap<String, Option<u64>> = HashMap::new();
        let mut batches = Vec::new();
        let mut accepted = Vec::new();
        let mut sequence = self.sequence;
        if !jobs.is_empty()
            && self.index.is_gone()
            && let Err(error) = self.reopen_index()
        {
            for job in jobs {
                let _ = job.answer.send(Err(error.clone().into()));
            }
            return self.note(&Err(error));
        }
        for job in jobs {
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
        if result.is_err() {
            // They were moved by what was not written.
            self.heads.clear();
        }
        // What is committed may still lack an index that shows it.
        self.note(&result.clone().and_then(|()| self.index.applied().map(|_| ())));
        for (answer, sequence) in accepted {
            let _ = answer.send(result.clone().map(|()| sequence).map_err(CommitError::from));
        }
        if result.is_err() {
            return;
        }
        match self.journal.as_mut().map(Journal::tidy) {
            None | Some(Ok(false)) => {}
            Some(Ok(true)) => self.checkpoint(None),
            Some(Err(error)) => {
                tracing::warn!(error = error.with_cause(), "the journal was not tidied; it grows meanwhile");
            }
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

    /// Writes a group to the journal and applies it. Once the journal has it, it is committed: an index that does not take
    /// it is opened anew, and until that succeeds nobody reads what lacks it.
    fn write(&mut self, batches: Vec<Vec<Write>>) -> Result<(), StoreError> {
        if let Some(journal) = &mut self.journal {
            journal.append(&batches)?;
        }
        let mut writes = Vec::new();
        for batch in batches {
            self.sequence += 1;
            writes.extend(stamp(batch, self.sequence));
        }
        let Err(error) = self.index.apply(&writes, self.sequence) else { return Ok(()) };
        if self.journal.is_none() {
            return Err(error);
        }
        tracing::warn!(%error, "the index does not take what was committed; it is opened anew");
        if let Err(error) = self.reopen_index() {
            tracing::error!(
                error = error.with_cause(),
                "the index cannot be opened; the next write tries again"
            );
        }
        Ok(())
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

#[cfg(test)]
mod tests;
