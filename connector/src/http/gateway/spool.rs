//! Data that waits on disk to be looked at more than once, or in parts: in a file without a name, sealed under a key that is
//! nowhere else, gone with whoever holds it, and after a kill.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Bytes that are sealed together.
const CHUNK: usize = 256 * 1024;
/// Bytes that sealing adds.
const TAG: usize = 16;

/// Room on disk for all spools of a node.
pub(crate) struct Room {
    taken: AtomicU64,
    most: u64,
    /// Lets go of a spool that nobody uses; whether there was one.
    spare: Box<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("taken", &self.taken).field("most", &self.most).finish_non_exhaustive()
    }
}

impl Room {
    /// Room for so many megabytes. Where there is too little, `spare` lets go of something that nobody uses, and tells whether
    /// there was anything.
    pub(crate) fn new(megabytes: u32, spare: impl Fn() -> bool + Send + Sync + 'static) -> Arc<Self> {
        let most = u64::from(megabytes) * 1024 * 1024;
        Arc::new(Self { taken: AtomicU64::new(0), most, spare: Box::new(spare) })
    }
}

/// Room that was taken.
#[derive(Debug)]
struct Taken {
    room: Arc<Room>,
    bytes: u64,
}

impl Taken {
    fn more(&mut self, bytes: u64) -> io::Result<()> {
        let fits = |taken: u64| taken.checked_add(bytes).filter(|all| *all <= self.room.most);
        while self.room.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_err() {
            if !(self.room.spare)() {
                return Err(io::Error::new(
                    io::ErrorKind::QuotaExceeded,
                    "there is no room for more views (limits.views_megabytes)",
                ));
            }
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// What is being written.
pub(crate) struct Writer {
    file: File,
    cipher: LessSafeKey,
    taken: Taken,
    waiting: Vec<u8>,
    chunks: u64,
    length: u64,
}

impl Writer {
    /// An empty one in `folder`.
    ///
    /// # Errors
    /// There is no file to be had, or no randomness.
    pub(crate) fn new(room: &Arc<Room>, folder: &Path) -> io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| io::Error::other("no key was made"))?;
        let taken = Taken { room: Arc::clone(room), bytes: 0 };
        let file = tempfile::tempfile_in(folder)?;
        let cipher = LessSafeKey::new(key);
        Ok(Self { file, cipher, taken, waiting: Vec::with_capacity(CHUNK + TAG), chunks: 0, length: 0 })
    }

    /// Takes more. Blocks.
    ///
    /// # Errors
    /// There is no room.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            bytes = later;
            if self.waiting.len() == CHUNK {
                self.seal()?;
            }
        }
        Ok(())
    }

    fn seal(&mut self) -> io::Result<()> {
        let length = self.waiting.len();
        self.taken.more(u64::try_from(length + TAG).unwrap_or(u64::MAX))?;
        let sealed =
            self.cipher.seal_in_place_append_tag(nonce(self.chunks), Aad::empty(), &mut self.waiting);
        sealed.map_err(|_| io::Error::other("what is to be kept was not sealed"))?;
        while let Err(error) = self.file.write_all_at(&self.waiting, at(self.chunks)) {
            if error.kind() != io::ErrorKind::StorageFull || !(self.taken.room.spare)() {
                return Err(error);
            }
        }
        self.waiting.clear();
        self.chunks += 1;
        self.length += u64::try_from(length).unwrap_or(u64::MAX);
        Ok(())
    }

    /// All of it is there. Blocks.
    ///
    /// # Errors
    /// There is no room.
    pub(crate) fn finish(mut self) -> io::Result<Spool> {
        if !self.waiting.is_empty() {
            self.seal()?;
        }
        Ok(Spool { file: self.file, cipher: self.cipher, length: self.length, _taken: self.taken })
    }
}

/// Where a chunk stands.
fn at(chunk: u64) -> u64 {
    chunk.saturating_mul(u64::try_from(CHUNK + TAG).unwrap_or(u64::MAX))
}

/// Each chunk has its own under its spool's own key.
fn nonce(chunk: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    for (place, byte) in nonce.iter_mut().zip(chunk.to_be_bytes()) {
        *place = byte;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// What was written, to be read as often as one likes.
pub(crate) struct Spool {
    file: File,
    cipher: LessSafeKey,
    length: u64,
    _taken: Taken,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Spool {
    /// In bytes.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// The beginning of what stands at `wanted`, some of it; nothing where it ends. Blocks.
    ///
    /// # Errors
    /// The disk does not give back what it took.
    pub(crate) fn read(&self, wanted: &Range<u64>) -> io::Result<Vec<u8>> {
        let size = u64::try_from(CHUNK).unwrap_or(u64::MAX);
        let end = wanted.end.min(self.length);
        if wanted.start >= end {
            return Ok(Vec::new());
        }
        let chunk = wanted.start / size;
        let first = chunk * size;
        let held = size.min(self.length - first);
        let mut bytes = vec![0; usize::try_from(held).map_err(io::Error::other)? + TAG];
        self.file.read_exact_at(&mut bytes, at(chunk))?;
        let opened = self.cipher.open_in_place(nonce(chunk), Aad::empty(), &mut bytes);
        opened.map_err(|_| io::Error::other("what was written to disk is not what comes back"))?;
        bytes.truncate(bytes.len() - TAG);
        let place = |at: u64| usize::try_from(at - first).unwrap_or(usize::MAX).min(bytes.len());
        let (from, to) = (place(wanted.start), place(end));
        bytes.truncate(to);
        bytes.drain(..from);
        Ok(bytes)
    }

    /// Everything, piece by piece. Blocks.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = io::Result<Vec<u8>>> {
        let size = u64::try_from(CHUNK).unwrap_or(u64::MAX);
        (0..self.length.div_ceil(size)).map(move |chunk| self.read(&(chunk * size..(chunk + 1) * size)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn what_is_spooled_is_sealed_and_comes_back_in_any_part() {
        let idle = Arc::new(Mutex::new(None));
        let let_go = Arc::clone(&idle);
        let room = Room::new(1, move || let_go.lock().unwrap().take().is_some());
        let folder = tempfile::tempdir().unwrap();
        let data: Vec<u8> = (0..700_000_u32).map(|one| u8::try_from(one % 251).unwrap()).collect();
        let mut writer = Writer::new(&room, folder.path()).unwrap();
        for part in data.chunks(100_001) {
            writer.push(part).unwrap();
        }
        let spool = writer.finish().unwrap();
        assert_eq!(spool.length(), 700_000);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "its file has no name");
        let mut raw = vec![0; 1000];
        spool.file.read_exact_at(&mut raw, 0).unwrap();
        assert_ne!(raw[..], data[..1000]);
        let all: Vec<u8> = spool.chunks().flat_map(Result::unwrap).collect();
        assert_eq!(all, data);
        for (from, to) in [(0, 1), (262_143, 262_145), (699_999, 700_000), (700_000, 700_001), (5, 600_000)] {
            let mut read = Vec::new();
            let mut range = from..to;
            loop {
                let part = spool.read(&range).unwrap();
                if part.is_empty() {
                    break;
                }
                range.start += u64::try_from(part.len()).unwrap();
                read.extend(part);
            }
            let place = |at: u64| usize::try_from(at).unwrap().min(data.len());
            assert_eq!(read, data[place(from)..place(to)]);
        }
        spool.file.write_all_at(&[0], 100).unwrap();
        assert!(spool.read(&(0..9)).is_err(), "what was altered is no data");
        // There is room for one megabyte, which comes back.
        let mut more = Writer::new(&room, folder.path()).unwrap();
        let refused = more.push(&data).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
        drop(more);
        // What nobody uses makes room.
        *idle.lock().unwrap() = Some(spool);
        let mut more = Writer::new(&room, folder.path()).unwrap();
        more.push(&data).unwrap();
        assert!(idle.lock().unwrap().is_none());
    }
}
