//! Files that grow: each new line is an event.
//!
//! Files are read in the order of their names; once a later one has begun, an earlier one is not looked at again. The id
//! of an event is the file's name and where the line ends, so that a reader can go on exactly there: nothing is lost or
//! doubled while the file is there.

use std::collections::HashMap;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use futures_util::stream;
use notify::{RecursiveMode, Watcher as _};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::watch;

use super::folder::pattern_of;
use super::{Places, Source, Subscribing};
use crate::error::{SourceError, StreamError};
use crate::live::{Event, MAX_EVENT};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// The folders that are watched: once each, for all who follow them, since the operating system allows few watches.
#[derive(Debug, Clone, Default)]
pub struct Watches(Arc<Mutex<HashMap<PathBuf, Weak<Watched>>>>);

/// A folder that is watched as long as somebody follows it.
#[derive(Debug)]
struct Watched {
    changes: watch::Receiver<()>,
    _watcher: notify::RecommendedWatcher,
}

impl Watches {
    fn of(&self, folder: &Path) -> Result<Arc<Watched>, SourceError> {
        let failed =
            |error: notify::Error| SourceError::Failed(format!("the folder cannot be watched: {error}"));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, watched| watched.strong_count() > 0);
        if let Some(watched) = all.get(folder).and_then(Weak::upgrade) {
            return Ok(watched);
        }
        let (changed, changes) = watch::channel(());
        let mut watcher = notify::recommended_watcher(move |_| changed.send_replace(())).map_err(failed)?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(failed)?;
        let watched = Arc::new(Watched { changes, _watcher: watcher });
        all.insert(folder.to_owned(), Arc::downgrade(&watched));
        Ok(watched)
    }
}

/// Lines that are appended to files of a folder.
#[derive(Debug)]
pub struct TailSource {
    folder: PathBuf,
    pattern: glob::Pattern,
    from_start: bool,
    watches: Watches,
    places: Places,
}

impl TailSource {
    /// Files in `folder` that `pattern` names; who begins to follow gets what is there already if `from_start`.
    ///
    /// # Errors
    /// The pattern is none.
    pub fn new(
        folder: PathBuf,
        pattern: &str,
        from_start: bool,
        watches: Watches,
        places: Places,
    ) -> Result<Self, SourceError> {
        let pattern = pattern_of(pattern).map_err(SourceError::Address)?;
        Ok(Self { folder, pattern, from_start, watches, places })
    }
}

impl Source for TailSource {
    fn is_whole(&self) -> bool {
        false
    }

    fn is_live(&self) -> bool {
        true
    }

    fn subscribe(&self, after: Option<String>) -> Subscribing<'_> {
        Box::pin(async move {
            let (places, folder) = (self.places.clone(), self.folder.clone());
            let opened = tokio::task::spawn_blocking(move || places.open_folder(&folder)).await;
            let opened = opened.map_err(std::io::Error::other).and_then(std::convert::identity);
            let folder = opened.map_err(SourceError::Read)?.path;
            // Watching before looking: nothing that is written from here on is missed.
            let watched = self.watches.of(&folder)?;
            let mut tail = Tail {
                places: self.places.within(folder.clone()),
                folder,
                pattern: self.pattern.clone(),
                changes: watched.changes.clone(),
                _watched: watched,
                name: String::new(),
                file: None,
                end: 0,
                buffer: Vec::new(),
                scanned: 0,
            };
            match after.as_deref().and_then(|id| id.rsplit_once(':')) {
                Some((name, end)) => {
                    let end = end
                        .parse()
                        .map_err(|_| SourceError::Asked(format!("`{name}:{end}` is no id of an event")))?;
                    if !self.pattern.matches(name) || name.contains('/') {
                        return Err(SourceError::Asked(format!("`{name}:{end}` is no id of an event")));
                    }
                    tail.open(name, end).await.map_err(SourceError::Read)?;
                }
                None if self.from_start => {}
                None => {
                    if let Some(newest) = tail.names().await.map_err(SourceError::Read)?.pop() {
                        let length =
                            tokio::fs::metadata(tail.folder.join(&newest)).await.map_or(0, |meta| meta.len());
                        tail.open(&newest, length).await.map_err(SourceError::Read)?;
                    }
                }
            }
            let events = stream::unfold(Some(tail), |tail| async move {
                let mut tail = tail?;
                match tail.next().await {
                    Ok(event) => Some((Ok(event), Some(tail))),
                    Err(error) => Some((Err(StreamError::Source(Box::new(error))), None)),
                }
            });
            Ok(Box::pin(events) as crate::live::Events)
        })
    }
}

struct Tail {
    folder: PathBuf,
    places: Places,
    pattern: glob::Pattern,
    changes: watch::Receiver<()>,
    _watched: Arc<Watched>,
    name: String,
    file: Option<tokio::fs::File>,
    /// Where in the file the next event begins.
    end: u64,
    /// What was read from there on.
    buffer: Vec<u8>,
    /// How far into it no line ends.
    scanned: usize,
}

impl Tail {
    async fn names(&self) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        let mut entries = tokio::fs::read_dir(&self.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if self.pattern.matches(&name) && entry.file_type().await?.is_file() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    async fn open(&mut self, name: &str, at: u64) -> std::io::Result<()> {
        let (places, path) = (self.places.clone(), self.folder.join(Path::new(name)));
        let opened = tokio::task::spawn_blocking(move || places.open(&path)).await;
        let mut file = tokio::fs::File::from_std(opened.map_err(std::io::Error::other)??);
        file.seek(SeekFrom::Start(at)).await?;
        self.name = name.to_owned();
        self.file = Some(file);
        self.end = at;
        self.buffer.clear();
        self.scanned = 0;
        Ok(())
    }

    async fn next(&mut self) -> std::io::Result<Event> {
        loop {
            if let Some(event) = self.line() {
                return Ok(event);
            }
            // What changes from here on wakes the wait below.
            self.changes.mark_unchanged();
            if self.buffer.len() > MAX_EVENT {
                return Err(std::io::Error::other(format!("a line is longer than {MAX_EVENT} bytes")));
            }
            let mut read = 0;
            if let Some(file) = &mut self.file {
                let mut chunk = vec![0; CHUNK];
                read = file.read(&mut chunk).await?;
                self.buffer.extend_from_slice(chunk.get(..read).unwrap_or_default());
            }
            if read > 0 {
                continue;
            }
            if self.is_shorter().await {
                let name = self.name.clone();
                self.open(&name, 0).await?;
                return Ok(Event::Lost { count: None });
            }
            // A later file has begun: this one is over.
            let later = self.names().await?.into_iter().find(|name| *name > self.name);
            match later {
                Some(name) => self.open(&name, 0).await?,
                None => self.changes.changed().await.map_err(std::io::Error::other)?,
            }
        }
    }

    async fn is_shorter(&self) -> bool {
        let read = self.end.saturating_add(u64::try_from(self.buffer.len()).unwrap_or_default());
        match &self.file {
            Some(file) => file.metadata().await.is_ok_and(|meta| meta.len() < read),
            None => false,
        }
    }

    fn line(&mut self) -> Option<Event> {
        loop {
            let fresh = self.buffer.get(self.scanned..)?;
            let Some(at) = fresh.iter().position(|byte| *byte == b'\n') else {
                self.scanned = self.buffer.len();
                return None;
            };
            let length = self.scanned + at + 1;
            let line: Vec<u8> = self.buffer.drain(..length).collect();
            self.scanned = 0;
            self.end = self.end.saturating_add(u64::try_from(length).unwrap_or_default());
            let payload = line.trim_ascii();
            if !payload.is_empty() {
                let payload = Bytes::copy_from_slice(payload);
                return Some(Event::Data { id: Some(format!("{}:{}", self.name, self.end)), payload });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures_util::StreamExt as _;

    use super::*;

    fn append(path: &Path, text: &str) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn told(event: Event) -> (Option<String>, String) {
        match event {
            Event::Data { id, payload } => (id, String::from_utf8(payload.to_vec()).unwrap()),
            Event::Lost { count } => (None, format!("lost {count:?}")),
        }
    }

    #[tokio::test]
    async fn lines_come_as_they_are_written_and_go_on_after_an_id() {
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("2026-01.ndjson");
        append(&first, "1\n");
        let source = TailSource::new(
            folder.path().to_owned(),
            "*.ndjson",
            false,
            Watches::default(),
            Places::new(|_, _| true),
        )
        .unwrap();
        let mut events = source.subscribe(None).await.unwrap();
        append(&first, "2\n3");
        let (id, text) = told(events.next().await.unwrap().unwrap());
        assert_eq!((id.as_deref(), text.as_str()), (Some("2026-01.ndjson:4"), "2"), "only whole lines");
        append(&first, "3\n");
        assert_eq!(told(events.next().await.unwrap().unwrap()).1, "33");
        append(&folder.path().join("2026-02.ndjson"), "4\n");
        assert_eq!(
            told(events.next().await.unwrap().unwrap()),
            (Some("2026-02.ndjson:2".to_owned()), "4".to_owned())
        );
        let mut again = source.subscribe(id).await.unwrap();
        for expected in ["33", "4"] {
            assert_eq!(told(again.next().await.unwrap().unwrap()).1, expected);
        }
        std::fs::write(folder.path().join("2026-02.ndjson"), "").unwrap();
        assert_eq!(told(events.next().await.unwrap().unwrap()).1, "lost None");
        for wrong in ["../x.ndjson:1", "2026-01.ndjson:x", "other.txt:1"] {
            assert!(source.subscribe(Some(wrong.to_owned())).await.is_err(), "{wrong}");
        }
    }
}
