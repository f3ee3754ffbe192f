//! The journal: append-only segments of checksummed, hash-chained frames; checkpoints replace old segments.
//!
//! ```text
//! frame  = "CJ1\n" length:u32 crc32:u32 body          crc32 and length cover the body
//! body   = kind:u8 sequence:u64 previous:[32] payload  previous = SHA-256 of the body before
//! group  : kind 0, payload = batches that were made durable together; sequence is the first one's
//! chunk  : kind 1, payload = keys and values of a checkpoint
//! end    : kind 2, payload = chain of the journal at the checkpoint, then the signature
//! ```
//! One group is one frame and the next is written only after the last was synced. So an invalid frame with nothing
//! valid behind it is a torn write, never answered, and is cut off; an invalid frame with a valid one behind it is
//! damage, which is named and never repaired by guessing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use crate::committer::Signer;
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::fill::{Filler, Filling};
use crate::index::{Place, Write};

const MAGIC: &[u8; 4] = b"CJ1\n";
const HEADER: usize = 12;
const BODY_HEADER: usize = 41;
/// A segment is closed when it is larger.
pub(crate) const SEGMENT: u64 = 64 * 1024 * 1024;
/// So many closed segments are folded into a checkpoint.
pub(crate) const SEGMENTS_PER_CHECKPOINT: usize = 4;
/// Largest body: what its length can say. A checkpoint of an older release may have chunks that are as large.
const MAX_BODY: usize = u32::MAX as usize;
/// Bytes that must fit on the disk before the journal counts as one that can be written again.
const PROBE: usize = 64 * 1024;
/// Most keys and values in one chunk of a checkpoint.
const CHUNK: usize = 1024;
/// A chunk is closed when its keys and values have so many bytes.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

type Hash = [u8; 32];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Group,
    Chunk,
    End,
}

struct Frame<'a> {
    kind: Kind,
    sequence: u64,
    previous: Hash,
    payload: &'a [u8],
    hash: Hash,
    length: usize,
}

/// What happens while the journal is read at start.
pub(crate) trait Replay {
    /// The last commit the index has.
    fn applied(&self) -> u64;
    /// Begins anew: a checkpoint follows.
    fn reset(&mut self) -> Result<(), StoreError>;
    /// Raw pairs of a checkpoint at `sequence`.
    fn restore(&mut self, pairs: &[Write], sequence: u64) -> Result<(), StoreError>;
    /// One batch.
    fn apply(&mut self, sequence: u64, writes: Vec<Write>) -> Result<(), StoreError>;
    /// So many of all files were read; an error ends the reading.
    fn has_read(&mut self, _files: usize, _of: usize) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What the journal holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalReport {
    /// Last commit.
    pub sequence: u64,
    /// Groups read since the last checkpoint.
    pub groups: u64,
    /// SHA-256 of the last group, hex: the head of the chain.
    pub head: String,
    /// The commit the last checkpoint stands for, with its signature.
    pub checkpoint: Option<(u64, String)>,
    /// Bytes of a torn last write.
    pub torn: u64,
}

/// Reads a whole journal and checks checksums and chain, changing nothing.
///
/// # Errors
/// Damage, named by file and place.
pub fn inspect(disk: &dyn Disk) -> Result<JournalReport, StoreError> {
    inspect_telling(disk, &mut |_, _| {})
}

/// As [`inspect`]; `told` hears how many of how many files were read.
pub(crate) fn inspect_telling(
    disk: &dyn Disk,
    told: &mut dyn FnMut(usize, usize),
) -> Result<JournalReport, StoreError> {
    struct Nothing<'a>(&'a mut dyn FnMut(usize, usize));
    impl Replay for Nothing<'_> {
        fn applied(&self) -> u64 {
            0
        }
        fn reset(&mut self) -> Result<(), StoreError> {
            Ok(())
        }
        fn restore(&mut self, _: &[Write], _: u64) -> Result<(), StoreError> {
            Ok(())
        }
        fn apply(&mut self, _: u64, _: Vec<Write>) -> Result<(), StoreError> {
            Ok(())
        }
        fn has_read(&mut self, files: usize, of: usize) -> Result<(), StoreError> {
            (self.0)(files, of);
            Ok(())
        }
    }
    inspect_into(disk, &mut Nothing(told))
}

/// As [`inspect`], filling `replay` with what the journal holds.
pub(crate) fn inspect_into(disk: &dyn Disk, replay: &mut dyn Replay) -> Result<JournalReport, StoreError> {
    let read = read(disk, None, replay)?;
    Ok(JournalReport {
        sequence: read.sequence,
        groups: read.groups,
        head: hex(&read.head),
        checkpoint: read.checkpoint,
        torn: read.torn.map_or(0, |torn| torn.bytes),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Torn {
    file: String,
    keep: u64,
    bytes: u64,
}

struct Read {
    sequence: u64,
    head: Hash,
    groups: u64,
    segments: Vec<String>,
    checkpoint: Option<(u64, String)>,
    obsolete: Vec<String>,
    last_length: u64,
    torn: Option<Torn>,
}

/// Reads checkpoint and segments into `replay`; with `until`, only the segments that were closed at that commit or before.
fn read(disk: &dyn Disk, until: Option<u64>, replay: &mut dyn Replay) -> Result<Read, StoreError> {
    let mut names = disk.list().map_err(|error| StoreError::io("listing", "the journal", error))?;
    names.sort();
    let number =
        |name: &str, suffix: &str| name.strip_suffix(suffix).and_then(|digits| digits.parse::<u64>().ok());
    let mut obsolete: Vec<String> = names.iter().filter(|name| name.ends_with(".tmp")).cloned().collect();
    let checkpoints: Vec<_> =
        names.iter().filter(|name| number(name, ".checkpoint").is_some()).cloned().collect();
    let mut out = Read {
        sequence: 0,
        head: [0; 32],
        groups: 0,
        segments: Vec::new(),
        checkpoint: None,
        obsolete: Vec::new(),
        last_length: 0,
        torn: None,
    };
    let segments = names
        .iter()
        .filter(|name| number(name, ".log").is_some_and(|begin| until.is_none_or(|until| begin < until)));
    let files = segments.clone().count() + usize::from(!checkpoints.is_empty());
    let mut done = 0;
    if let Some((latest, older)) = checkpoints.split_last() {
        done = 1;
        let (sequence, head, signature) = read_checkpoint(disk, latest, replay)?;
        (out.sequence, out.head, out.checkpoint) = (sequence, head, Some((sequence, signature)));
        obsolete.extend_from_slice(older);
        replay.has_read(done, files)?;
    }
    for name in segments {
        // A segment begins after the commit it is named for.
        if number(name, ".log").is_some_and(|begin| begin < out.checkpoint.as_ref().map_or(0, |(at, _)| *at))
        {
            obsolete.push(name.clone());
            done += 1;
        } else {
            out.segments.push(name.clone());
        }
    }
    out.obsolete = obsolete;
    let last = out.segments.len().saturating_sub(1);
    for (place, name) in out.segments.clone().into_iter().enumerate() {
        // One that is closed ends with a whole record.
        read_segment(disk, &name, until.is_none() && place == last, replay, &mut out)?;
        done += 1;
        replay.has_read(done, files)?;
    }
    Ok(out)
}

fn read_segment(
    disk: &dyn Disk,
    name: &str,
    is_last: bool,
    replay: &mut dyn Replay,
    out: &mut Read,
) -> Result<(), StoreError> {
    let bytes = disk.read(name).map_err(|error| StoreError::io("reading", name, error))?;
    let damaged = |offset: usize, reason: String| StoreError::Damaged {
        file: name.to_owned(),
        offset: offset.try_into().unwrap_or(u64::MAX),
        reason,
    };
    let mut offset = 0;
    while offset < bytes.len() {
        let rest = bytes.get(offset..).unwrap_or_default();
        let frame = match parse(rest) {
            Ok(frame) => frame,
            Err(reason) => {
                let follows = (1..rest.len()).any(|skip| {
                    rest.get(skip..).is_some_and(|tail| tail.starts_with(MAGIC) && parse(tail).is_ok())
                });
                if !is_last || follows {
                    return Err(damaged(offset, reason));
                }
                if replay.applied() > out.sequence {
                    return Err(damaged(
                        offset,
                        format!("{reason}, though commit {} was answered", replay.applied()),
                    ));
                }
                let length = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
                out.torn = Some(Torn {
                    file: name.to_owned(),
                    keep: length(offset),
                    bytes: length(bytes.len() - offset),
                });
                out.last_length = length(offset);
                return Ok(());
            }
        };
        if frame.kind != Kind::Group {
            return Err(damaged(offset, "it is not a group of commits".to_owned()));
        }
        if frame.previous != out.head {
            return Err(damaged(
                offset,
                "it does not follow from the record before: one was removed or altered".to_owned(),
            ));
        }
        if frame.sequence != out.sequence + 1 {
            return Err(damaged(
                offset,
                format!("commit {} follows commit {}", frame.sequence, out.sequence),
            ));
        }
        let batches = read_group(frame.payload)
            .ok_or_else(|| damaged(offset, "its commits cannot be read".to_owned()))?;
        for writes in batches {
            out.sequence += 1;
            if out.sequence > replay.applied() {
                replay.apply(out.sequence, writes)?;
            }
        }
        out.head = frame.hash;
        out.groups += 1;
        offset += frame.length;
    }
    out.last_length = offset.try_into().unwrap_or(u64::MAX);
    Ok(())
}

fn read_checkpoint(
    disk: &dyn Disk,
    name: &str,
    replay: &mut dyn Replay,
) -> Result<(u64, Hash, String), StoreError> {
    let bytes = disk.read(name).map_err(|error| StoreError::io("reading", name, error))?;
    let damaged = |offset: usize, reason: &str| StoreError::Damaged {
        file: name.to_owned(),
        offset: offset.try_into().unwrap_or(u64::MAX),
        reason: reason.to_owned(),
    };
    let mut restoring = None;
    let (mut offset, mut head) = (0, [0; 32]);
    loop {
        let frame =
            parse(bytes.get(offset..).unwrap_or_default()).map_err(|reason| damaged(offset, &reason))?;
        if frame.previous != head {
            return Err(damaged(offset, "it does not follow from the chunk before"));
        }
        let restore = match restoring {
            Some(restore) => restore,
            None => {
                let restore = replay.applied() < frame.sequence;
                if restore {
                    replay.reset()?;
                }
                *restoring.insert(restore)
            }
        };
        match frame.kind {
            Kind::Group => return Err(damaged(offset, "a checkpoint has no commits")),
            Kind::Chunk if restore => {
                let mut groups =
                    read_group(frame.payload).ok_or_else(|| damaged(offset, "it cannot be read"))?;
                replay.restore(&groups.pop().unwrap_or_default(), frame.sequence)?;
            }
            Kind::Chunk => {}
            Kind::End => {
                if restore {
                    replay.restore(&[], frame.sequence)?;
                }
                let (chain, signature) = frame
                    .payload
                    .split_first_chunk::<32>()
                    .ok_or_else(|| damaged(offset, "its end is too short"))?;
                return Ok((frame.sequence, *chain, String::from_utf8_lossy(signature).into_owned()));
            }
        }
        head = frame.hash;
        offset += frame.length;
    }
}

fn parse(bytes: &[u8]) -> Result<Frame<'_>, String> {
    let (header, rest) = bytes.split_at_checked(HEADER).ok_or("a record ends within its header")?;
    let (magic, numbers) = header.split_at_checked(4).ok_or("a record has no header")?;
    if magic != MAGIC {
        return Err("a record does not begin as one".to_owned());
    }
    let (length, crc) = numbers.split_at_checked(4).ok_or("a record has no header")?;
    let number = |bytes: &[u8]| bytes.try_into().map(u32::from_be_bytes).unwrap_or_default();
    let length = usize::try_from(number(length)).unwrap_or(usize::MAX);
    if !(BODY_HEADER..=MAX_BODY).contains(&length) {
        return Err(format!("a record says it has {length} bytes"));
    }
    let body = rest.get(..length).ok_or("a record ends before its length")?;
    if crc32fast::hash(body) != number(crc) {
        return Err("the checksum of a record does not fit".to_owned());
    }
    let (kind, rest) = body.split_first().ok_or("a record is empty")?;
    let kind = match kind {
        0 => Kind::Group,
        1 => Kind::Chunk,
        2 => Kind::End,
        other => return Err(format!("a record is of kind {other}")),
    };
    let (sequence, rest) = rest.split_first_chunk::<8>().ok_or("a record is too short")?;
    let (previous, payload) = rest.split_first_chunk::<32>().ok_or("a record is too short")?;
    Ok(Frame {
        kind,
        sequence: u64::from_be_bytes(*sequence),
        previous: *previous,
        payload,
        hash: Sha256::digest(body).into(),
        length: HEADER + length,
    })
}

/// Writes one frame and returns it with the hash of its body.
fn frame(kind: Kind, sequence: u64, previous: &Hash, payload: &[u8]) -> (Vec<u8>, Hash) {
    let mut body = Vec::with_capacity(BODY_HEADER + payload.len());
    body.push(match kind {
        Kind::Group => 0,
        Kind::Chunk => 1,
        Kind::End => 2,
    });
    body.extend_from_slice(&sequence.to_be_bytes());
    body.extend_from_slice(previous);
    body.extend_from_slice(payload);
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&length(body.len()));
    bytes.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
    bytes.extend_from_slice(&body);
    (bytes, Sha256::digest(&body).into())
}

/// Lengths are bounded far below 4 GiB by the committer.
fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}

fn write_group(batches: &[Vec<Write>]) -> Vec<u8> {
    let mut out = length(batches.len()).to_vec();
    for writes in batches {
        out.extend_from_slice(&length(writes.len()));
        for (key, value) in writes {
            out.extend_from_slice(&length(key.len()));
            out.extend_from_slice(key.as_bytes());
            match value {
                None => out.push(0),
                Some(value) => {
                    out.push(1);
                    out.extend_from_slice(&length(value.len()));
                    out.extend_from_slice(value);
                }
            }
        }
    }
    out
}

fn read_group(bytes: &[u8]) -> Option<Vec<Vec<Write>>> {
    struct Cursor<'a>(&'a [u8]);
    impl<'a> Cursor<'a> {
        fn take(&mut self, n: usize) -> Option<&'a [u8]> {
            let (taken, rest) = self.0.split_at_checked(n)?;
            self.0 = rest;
            Some(taken)
        }
        fn number(&mut self) -> Option<usize> {
            let bytes = self.take(4)?;
            usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
        }
    }
    let mut cursor = Cursor(bytes);
    let batches = cursor.number()?;
    let mut out = Vec::new();
    for _ in 0..batches {
        let count = cursor.number()?;
        let mut writes = Vec::new();
        for _ in 0..count {
            let key_length = cursor.number()?;
            let key = std::str::from_utf8(cursor.take(key_length)?).ok()?.to_owned();
            let value = match cursor.take(1)? {
                [0] => None,
                [1] => {
                    let value_length = cursor.number()?;
                    Some(cursor.take(value_length)?.to_vec())
                }
                _ => return None,
            };
            writes.push((key, value));
        }
        out.push(writes);
    }
    cursor.0.is_empty().then_some(out)
}

/// The journal open for writing.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    length: u64,
    head: Hash,
    sequence: u64,
    segments: Vec<String>,
    /// Whether the last segment may hold more than its `length`, left by a write that failed.
    is_dirty: bool,
    /// A segment that was made and not begun.
    stray: Option<String>,
}

impl Journal {
    /// Reads what is there into `replay`, cuts off a torn last write, and opens for appending. The second value is
    /// the number of bytes cut off.
    pub(crate) fn open(disk: Box<dyn Disk>, replay: &mut dyn Replay) -> Result<(Self, u64), StoreError> {
        let disk: Arc<dyn Disk> = disk.into();
        let mut read = read(disk.as_ref(), None, replay)?;
        let torn = read.torn.as_ref().map_or(0, |torn| torn.bytes);
        if let Some(torn) = &read.torn {
            disk.truncate(&torn.file, torn.keep)
                .map_err(|error| StoreError::io("cutting", &torn.file, error))?;
        }
        for name in &read.obsolete {
            disk.remove(name).map_err(|error| StoreError::io("removing", name, error))?;
        }
        let (name, length) = match read.segments.last() {
            Some(last) => (last.clone(), read.last_length),
            None => (segment_name(read.sequence), 0),
        };
        let file = disk.append_to(&name).map_err(|error| StoreError::io("opening", &name, error))?;
        disk.sync_folder().map_err(|error| StoreError::io("syncing", "the journal folder", error))?;
        if read.segments.is_empty() {
            read.segments.push(name);
        }
        let journal = Self {
            disk,
            file,
            length,
            head: read.head,
            sequence: read.sequence,
            segments: read.segments,
            is_dirty: false,
            stray: None,
        };
        Ok((journal, torn))
    }

    /// The last commit.
    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Appends one group and makes it durable. After an error nothing of it is in the journal, also after a restart, but
    /// for [`StoreError::Unknown`]: then what is left of it is removed before anything else is appended.
    pub(crate) fn append(&mut self, batches: &[Vec<Write>]) -> Result<(), StoreError> {
        self.mend()?;
        let (bytes, hash) = frame(Kind::Group, self.sequence + 1, &self.head, &write_group(batches));
        self.add(&bytes)?;
        self.head = hash;
        self.sequence += u64::try_from(batches.len()).unwrap_or(u64::MAX);
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Finds out whether the journal can be written: appends some bytes that are no commit, durably, and takes them back.
    pub(crate) fn probe(&mut self) -> Result<(), StoreError> {
        self.mend()?;
        self.add(&vec![0; PROBE])?;
        self.is_dirty = true;
        self.mend()
    }

    /// Brings the journal up to an index, from the beginning or from where the index is.
    pub(crate) fn replay(&self, replay: &mut dyn Replay) -> Result<(), StoreError> {
        let read = read(self.disk.as_ref(), None, replay)?;
        if read.torn.is_none() && read.sequence == self.sequence && read.head == self.head {
            return Ok(());
        }
        Err(StoreError::Damaged {
            file: self.segment(),
            offset: read.last_length,
            reason: format!(
                "it ends at commit {}, though commit {} was answered",
                read.sequence, self.sequence
            ),
        })
    }

    fn segment(&self) -> String {
        self.segments.last().cloned().unwrap_or_default()
    }

    /// Appends durably, or takes back what was appended.
    fn add(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let name = self.segment();
        let added = match self.file.append(bytes) {
            Ok(()) => self.file.sync().map_err(|error| StoreError::io("syncing", name, error)),
            Err(error) => Err(StoreError::io("writing", name, error)),
        };
        let Err(error) = added else { return Ok(()) };
        self.is_dirty = true;
        match self.mend() {
            Ok(()) => Err(error),
            Err(mending) => {
                Err(StoreError::Unknown { source: Arc::new(error), taking_back: mending.with_cause() })
            }
        }
    }

    /// Removes what a failed write left behind.
    fn mend(&mut self) -> Result<(), StoreError> {
        if let Some(stray) = self.stray.take()
            && let Err(error) = self.disk.remove(&stray).and_then(|()| self.disk.sync_folder())
            && error.kind() != std::io::ErrorKind::NotFound
        {
            let failed = StoreError::io("removing", &stray, error);
            self.stray = Some(stray);
            return Err(failed);
        }
        if self.is_dirty {
            let name = self.segment();
            self.disk
                .truncate(&name, self.length)
                .map_err(|error| StoreError::io("cutting", &name, error))?;
            self.file =
                self.disk.append_to(&name).map_err(|error| StoreError::io("opening", &name, error))?;
            self.is_dirty = false;
        }
        Ok(())
    }

    /// Closes a full segment, and tells whether there are so many closed ones that a checkpoint is due. After an error the
    /// journal is as good as before.
    pub(crate) fn tidy(&mut self) -> Result<bool, StoreError> {
        if self.length < SEGMENT {
            return Ok(false);
        }
        self.begin_segment()?;
        Ok(self.segments.len() > SEGMENTS_PER_CHECKPOINT)
    }

    fn begin_segment(&mut self) -> Result<(), StoreError> {
        self.mend()?;
        if self.length == 0 {
            return Ok(());
        }
        let name = segment_name(self.sequence);
        self.stray = Some(name.clone());
        let file = self.disk.append_to(&name).map_err(|error| StoreError::io("opening", &name, error))?;
        self.disk.sync_folder().map_err(|error| StoreError::io("syncing", "the journal folder", error))?;
        self.stray = None;
        self.file = file;
        self.length = 0;
        self.segments.push(name);
        Ok(())
    }

    /// Begins a checkpoint of everything up to now: whatever is committed from here on stands in a segment that it does not
    /// replace, so that it is written while the journal goes on.
    pub(crate) fn draft(&mut self, sign: Option<Signer>) -> Result<Draft, StoreError> {
        self.begin_segment()?;
        Ok(Draft {
            disk: Arc::clone(&self.disk),
            sequence: self.sequence,
            head: self.head,
            sign,
            is_given_up: AtomicBool::new(false),
        })
    }

    /// Puts a checkpoint that was written whole in the place of what it was made from.
    pub(crate) fn adopt(&mut self, draft: &Draft) -> Result<(), StoreError> {
        let (name, temporary) = (draft.name(), draft.temporary());
        let io = |operation, error| StoreError::io(operation, &name, error);
        self.disk.rename(&temporary, &name).map_err(|error| io("renaming", error))?;
        self.disk.sync_folder().map_err(|error| io("syncing", error))?;
        let begins = segment_name(draft.sequence);
        let replaced: Vec<_> = self.segments.iter().filter(|segment| **segment < begins).cloned().collect();
        self.segments.retain(|segment| *segment >= begins);
        let names = self.disk.list().map_err(|error| io("listing", error))?;
        let old_checkpoints =
            names.into_iter().filter(|other| other.ends_with(".checkpoint") && *other < name);
        for old in replaced.into_iter().chain(old_checkpoints) {
            self.disk.remove(&old).map_err(|error| StoreError::io("removing", old, error))?;
        }
        Ok(())
    }
}

/// A checkpoint that is being made: one signed file of everything that the checkpoint before and the closed segments hold.
/// The index has no part in it. What the store holds has to fit into memory meanwhile.
pub(crate) struct Draft {
    disk: Arc<dyn Disk>,
    /// The commit that it stands for.
    pub(crate) sequence: u64,
    head: Hash,
    sign: Option<Signer>,
    is_given_up: AtomicBool,
}

/// How far a checkpoint is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckpointProgress {
    /// Files of the journal that were read.
    pub read: usize,
    /// How many there are to be read.
    pub files: usize,
    /// Bytes of the checkpoint that were written.
    pub written: u64,
}

impl Draft {
    fn name(&self) -> String {
        format!("{:020}.checkpoint", self.sequence)
    }

    fn temporary(&self) -> String {
        format!("{}.tmp", self.name())
    }

    /// Lets whoever writes it stop soon.
    pub(crate) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    fn go_on(&self) -> Result<(), StoreError> {
        if self.is_given_up.load(Ordering::Relaxed) { Err(StoreError::Closed) } else { Ok(()) }
    }

    /// Writes it, durably, and reads it back; `told` hears how far it is.
    pub(crate) fn write(&self, told: &dyn Fn(CheckpointProgress)) -> Result<(), StoreError> {
        let written = self.write_to(&self.temporary(), told);
        if written.is_err() {
            // One that is left is removed by the next checkpoint, or at the next start.
            let _ = self.disk.remove(&self.temporary());
        }
        written
    }

    fn truth(&self, told: &dyn Fn(CheckpointProgress)) -> Result<(Filler, usize), StoreError> {
        let mut after_file = |read, files| {
            told(CheckpointProgress { read, files, written: 0 });
            self.go_on()
        };
        let mut filling = Filling { filler: Filler::in_memory(), told: &mut after_file };
        let read = read(self.disk.as_ref(), Some(self.sequence), &mut filling)?;
        let mut truth = filling.filler;
        if read.sequence != self.sequence || read.head != self.head {
            return Err(StoreError::Damaged {
                file: read.segments.last().cloned().unwrap_or_else(|| self.name()),
                offset: read.last_length,
                reason: format!(
                    "what is closed ends at commit {}, though commit {} was answered",
                    read.sequence, self.sequence
                ),
            });
        }
        truth.flush()?;
        Ok((truth, read.segments.len() + usize::from(read.checkpoint.is_some())))
    }

    fn write_to(&self, name: &str, told: &dyn Fn(CheckpointProgress)) -> Result<(), StoreError> {
        let io = |operation, error| StoreError::io(operation, name, error);
        let (truth, files) = self.truth(told)?;
        if self.disk.list().map_err(|error| io("listing", error))?.iter().any(|other| other == name) {
            self.disk.remove(name).map_err(|error| io("removing", error))?;
        }
        let mut file = self.disk.append_to(name).map_err(|error| io("opening", error))?;
        let (mut digest, mut length) = (Sha256::new(), 0_u64);
        let mut append = |bytes: &[u8]| {
            self.go_on()?;
            digest.update(bytes);
            file.append(bytes).map_err(|error| io("writing", error))?;
            length = length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            told(CheckpointProgress { read: files, files, written: length });
            Ok::<_, StoreError>(())
        };
        let (mut head, mut after) = ([0; 32], None::<String>);
        loop {
            let pairs = truth.index.scan("", Place::After(after.as_deref()), CHUNK)?;
            let Some((last, _)) = pairs.last() else { break };
            after = Some(last.clone());
            let mut pairs = pairs.into_iter().peekable();
            while pairs.peek().is_some() {
                let (mut writes, mut size): (Vec<Write>, usize) = (Vec::new(), 0);
                while size < CHUNK_BYTES
                    && let Some((key, value)) = pairs.next()
                {
                    size = size.saturating_add(key.len()).saturating_add(value.len());
                    writes.push((key, Some(value)));
                }
                let (bytes, hash) = frame(Kind::Chunk, self.sequence, &head, &write_group(&[writes]));
                append(&bytes)?;
                head = hash;
            }
        }
        let sealed = Sha256::new().chain_update(head).chain_update(self.head).finalize();
        let statement = format!("concordat checkpoint {} {}", self.sequence, hex(&sealed));
        let signature = self.sign.as_ref().map(|sign| sign(statement.as_bytes())).unwrap_or_default();
        let payload = [self.head.as_slice(), signature.as_bytes()].concat();
        let (bytes, _) = frame(Kind::End, self.sequence, &head, &payload);
        append(&bytes)?;
        file.sync().map_err(|error| io("syncing", error))?;
        let found = self.disk.read(name).map_err(|error| io("reading back", error))?;
        if Sha256::digest(&found) != digest.finalize() {
            return Err(StoreError::Damaged {
                file: name.to_owned(),
                offset: 0,
                reason: "what was read back is not what was written".to_owned(),
            });
        }
        // What it replaces is dropped only if the next start can read all of it.
        let mut offset = 0;
        while let Some(rest) = found.get(offset..).filter(|rest| !rest.is_empty()) {
            let frame = parse(rest).map_err(|reason| StoreError::Damaged {
                file: name.to_owned(),
                offset: offset.try_into().unwrap_or(u64::MAX),
                reason,
            })?;
            offset += frame.length;
        }
        Ok(())
    }
}

/// A segment is named for the commit it begins after.
fn segment_name(sequence: u64) -> String {
    format!("{sequence:020}.log")
}
