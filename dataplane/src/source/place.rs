//! Where files may lie. What counts is where a file is once it is open, links followed, not what was asked for.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether what really lies at a path, and is what the second argument says, may be opened.
type Permits = Arc<dyn Fn(&Path, &Metadata) -> bool + Send + Sync>;

/// Where files may lie.
#[derive(Clone)]
pub struct Places(Permits);

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Places").finish_non_exhaustive()
    }
}

impl Places {
    /// `permits` is asked with where an opened file or folder really is (absolute, without links), and with what it is: by
    /// another name (a hard link, a mount) the same file lies elsewhere.
    #[must_use]
    pub fn new(permits: impl Fn(&Path, &Metadata) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(permits))
    }

    /// Only what lies below `folder`, of what these permit.
    #[must_use]
    pub fn within(&self, folder: PathBuf) -> Self {
        let permits = Arc::clone(&self.0);
        Self::new(move |path, meta| path.starts_with(&folder) && permits(path, meta))
    }

    /// Opens the file at `path`.
    ///
    /// # Errors
    /// There is none, or it is no plain file, or it may not be opened.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        let (file, _) = self.opened(path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !kind.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
        }
        Ok(file)
    }

    /// Opens the folder at `path`; with it, where it really is.
    ///
    /// # Errors
    /// There is none, or it may not be opened.
    pub(super) fn open_folder(&self, path: &Path) -> io::Result<Folder> {
        let (file, real) = self.opened(path)?;
        if !file.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Folder { file, path: real })
    }

    fn opened(&self, path: &Path) -> io::Result<(File, PathBuf)> {
        // A pipe that nobody writes to must not hold a thread.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let real = where_it_is(&file, path)?;
        if (self.0)(&real, &file.metadata()?) {
            Ok((file, real))
        } else {
            Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it lies where this node shares nothing from (sources.folders)",
            ))
        }
    }
}

/// A folder that is open.
#[derive(Debug)]
pub(super) struct Folder {
    file: File,
    /// Where it really is.
    pub(super) path: PathBuf,
}

impl Folder {
    /// What is in it, and in no other that takes its place meanwhile.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn entries(&self) -> io::Result<std::fs::ReadDir> {
        let open = of_descriptor(&self.file);
        std::fs::read_dir(if open.exists() { &open } else { &self.path })
    }
}

fn of_descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// The path of an opened file, links followed.
fn where_it_is(file: &File, path: &Path) -> io::Result<PathBuf> {
    let meta = file.metadata()?;
    if let Ok(real) = std::fs::read_link(of_descriptor(file)) {
        // One that was replaced since it was opened is still the file that it was.
        let name =
            real.to_str().and_then(|text| text.strip_suffix(" (deleted)")).filter(|_| meta.nlink() == 0);
        return Ok(name.map_or_else(|| real.clone(), PathBuf::from));
    }
    // Where the system does not tell: the path as it is now, if the opened file is what lies there.
    let real = path.canonicalize()?;
    let there = std::fs::symlink_metadata(&real)?;
    if (there.dev(), there.ino()) == (meta.dev(), meta.ino()) {
        Ok(real)
    } else {
        Err(io::Error::other("it was replaced while it was opened"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_opened_lies_where_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (shared, keys) = (root.join("shared"), root.join("keys"));
        for one in [&shared, &keys] {
            std::fs::create_dir(one).unwrap();
            std::fs::write(one.join("file"), "x").unwrap();
        }
        symlink(keys.join("file"), shared.join("link")).unwrap();
        symlink(&keys, shared.join("folder")).unwrap();
        symlink(shared.join("file"), keys.join("back")).unwrap();
        let places = Places::new(|_, _| true).within(shared.clone());
        for fine in [shared.join("file"), keys.join("back"), shared.join("folder/../shared/file")] {
            assert!(places.open(&fine).is_ok(), "{fine:?}");
        }
        for wrong in ["link", "folder/file", "../keys/file", "folder", ".", "none"] {
            assert!(places.open(&shared.join(wrong)).is_err(), "{wrong}");
        }
        assert!(
            places.open(Path::new("/dev/zero")).is_err()
                && Places::new(|_, _| true).open(Path::new("/dev/zero")).is_err()
        );
        assert!(places.open_folder(&shared.join("folder")).is_err());
        assert_eq!(places.open_folder(&shared).unwrap().entries().unwrap().count(), 3);
    }

    #[test]
    fn a_link_that_changes_between_check_and_use_gains_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let shared = root.join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::write(shared.join("open"), "open").unwrap();
        std::fs::write(root.join("secret"), "secret").unwrap();
        let places = Places::new(|_, _| true).within(shared.clone());
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (swapping, link) = (Arc::clone(&stop), shared.join("link"));
        let targets = [shared.join("open"), root.join("secret")];
        let swapper = std::thread::spawn(move || {
            let fresh = link.with_extension("new");
            for target in targets.iter().cycle() {
                if swapping.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                symlink(target, &fresh).unwrap();
                std::fs::rename(&fresh, &link).unwrap();
            }
        });
        for _ in 0..5_000 {
            if let Ok(file) = places.open(&shared.join("link")) {
                assert_eq!(io::read_to_string(file).unwrap(), "open");
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        swapper.join().unwrap();
    }
}
