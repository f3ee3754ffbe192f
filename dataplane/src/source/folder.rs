//! A folder: its list, and the files in it, by Range like any file.

use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use super::file::{FileSource, media_type_of};
use super::{DataRequest, Opening, Places, Source, below, whole};
use crate::error::SourceError;

/// Most files in a list.
const MAX_LISTED: usize = 10_000;
/// Folders within folders that are listed.
const MAX_DEPTH: usize = 8;

/// A folder on this machine.
#[derive(Debug)]
pub struct FolderSource {
    path: PathBuf,
    /// What of it is shared, relative to the folder.
    pattern: glob::Pattern,
    places: Places,
}

const MATCHING: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

impl FolderSource {
    /// The files below `path` that `pattern` names, for example `*.csv` or `**/*.parquet`, if they lie where files may lie.
    ///
    /// # Errors
    /// The pattern is none.
    pub fn new(path: PathBuf, pattern: &str, places: Places) -> Result<Self, SourceError> {
        let pattern = pattern_of(pattern).map_err(SourceError::Address)?;
        Ok(Self { path, pattern, places })
    }

    /// The file at the path `relative`, if it is shared and lies within the folder, links followed.
    fn file(&self, relative: &Path) -> Result<PathBuf, SourceError> {
        let missing = || SourceError::NotFound(relative.display().to_string());
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || !self.pattern.matches_path_with(relative, MATCHING) {
            return Err(missing());
        }
        let root = self.path.canonicalize().map_err(SourceError::Read)?;
        let found = root.join(relative).canonicalize().map_err(|_| missing())?;
        if found.starts_with(&root) && found.is_file() { Ok(found) } else { Err(missing()) }
    }

    fn list(&self, wanted: &glob::Pattern) -> Result<Bytes, SourceError> {
        let root = self.places.open_folder(&self.path).map_err(SourceError::Read)?;
        let within = self.places.within(root.path.clone());
        let mut files = Vec::new();
        let mut folders = vec![(PathBuf::new(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let opened = within.open_folder(&root.path.join(&folder)).map_err(SourceError::Read)?;
            for entry in opened.entries().map_err(SourceError::Read)? {
                let entry = entry.map_err(SourceError::Read)?;
                let relative = folder.join(entry.file_name());
                let kind = entry.file_type().map_err(SourceError::Read)?;
                if kind.is_dir() && depth < MAX_DEPTH {
                    folders.push((relative, depth + 1));
                    continue;
                }
                let Some(name) = relative.to_str() else { continue };
                let fits = self.pattern.matches_path_with(&relative, MATCHING)
                    && wanted.matches_path_with(&relative, MATCHING);
                if !fits || self.file(&relative).is_err() {
                    continue;
                }
                // What would not be handed on is not named.
                let Ok(opened) = within.open(&root.path.join(&relative)) else { continue };
                let meta = opened.metadata().map_err(SourceError::Read)?;
                let modified = meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
                files.push(json!({
                    "path": name, "bytes": meta.len(), "modified": modified,
                    "mediaType": media_type_of(&relative),
                }));
                if files.len() > MAX_LISTED {
                    return Err(SourceError::Asked(format!(
                        "there are more than {MAX_LISTED} files; ask for fewer with `glob`"
                    )));
                }
            }
        }
        files.sort_by_key(|file| file.get("path").and_then(|path| path.as_str()).map(str::to_owned));
        Ok(serde_json::to_vec(&files).unwrap_or_default().into())
    }
}

/// A pattern of names below something.
pub(super) fn pattern_of(pattern: &str) -> Result<glob::Pattern, String> {
    glob::Pattern::new(pattern).map_err(|error| format!("`{pattern}` is no pattern of names: {error}"))
}

impl Source for FolderSource {
    fn is_folder(&self) -> bool {
        true
    }

    fn open(&self, request: DataRequest) -> Opening<'_> {
        Box::pin(async move {
            request.expect_read()?;
            if !request.path.is_empty() {
                request.expect_query(&[])?;
                let path = self.file(&below::names(&request.path)?.iter().collect::<PathBuf>())?;
                let media_type = media_type_of(&path).to_owned();
                let request = DataRequest { path: String::new(), ..request };
                let root = self.path.canonicalize().map_err(SourceError::Read)?;
                return FileSource::new(path, media_type, self.places.within(root)).open(request).await;
            }
            request.expect_query(&["glob"])?;
            let wanted =
                request.query.iter().find(|(name, _)| name == "glob").map_or("**", |(_, value)| value);
            let wanted = pattern_of(wanted).map_err(SourceError::Asked)?;
            let this =
                Self { path: self.path.clone(), pattern: self.pattern.clone(), places: self.places.clone() };
            let listed = tokio::task::spawn_blocking(move || this.list(&wanted)).await;
            Ok(whole("application/json", listed.map_err(|error| SourceError::Failed(error.to_string()))??))
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn read(source: &FolderSource, path: &str, glob: Option<&str>) -> Result<String, SourceError> {
        let query = glob.map(|glob| ("glob".to_owned(), glob.to_owned())).into_iter().collect();
        let request = DataRequest { path: path.to_owned(), query, ..DataRequest::default() };
        let body = source.open(request).await?.body.collect().await.unwrap().to_bytes();
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn only_what_the_pattern_names_below_the_folder_is_shared() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("shared");
        std::fs::create_dir_all(root.join("2026")).unwrap();
        for (path, text) in [("a.csv", "a"), ("2026/b.csv", "b"), ("secret.key", "s"), (".hidden.csv", "h")] {
            std::fs::write(root.join(path), text).unwrap();
        }
        std::fs::write(folder.path().join("outside.csv"), "o").unwrap();
        std::os::unix::fs::symlink(folder.path().join("outside.csv"), root.join("link.csv")).unwrap();
        let source = FolderSource::new(root, "**/*.csv", Places::new(|_, _| true)).unwrap();
        for same in ["2026/b.csv", "2026/%62.csv"] {
            assert_eq!(read(&source, same, None).await.unwrap(), "b");
        }
        for wrong in [
            "../outside.csv",
            "secret.key",
            "link.csv",
            ".hidden.csv",
            "2026",
            "/etc/passwd",
            "none.csv",
            "2026%2Fb.csv",
            "2026//b.csv",
            "2026/./b.csv",
            "./a.csv",
            "a.csv/",
            "a.csv%00",
            "a.csv%0a",
            "2026/%2e%2e/a.csv",
        ] {
            assert!(matches!(read(&source, wrong, None).await, Err(SourceError::NotFound(_))), "{wrong}");
        }
        let all = read(&source, "", None).await.unwrap();
        assert!(
            all.contains("a.csv")
                && all.contains("2026/b.csv")
                && !all.contains("link")
                && !all.contains("hidden")
        );
        assert!(!read(&source, "", Some("*.csv")).await.unwrap().contains("b.csv"));
    }
}
