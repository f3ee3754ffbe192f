//! Paths below a source, as readers send them: percent-encoded, so that an encoded slash is no other than it was.
//!
//! What is compared with a list of what is offered must be what is used. Whatever one program reads as one path and the next
//! as another is refused here, once for all sources.

use percent_encoding::percent_decode_str;

use crate::error::SourceError;

/// The names of a path, decoded one by one: for sources that look for exactly these names.
///
/// # Errors
/// A name is empty, no name (`.`, `..`), not UTF-8, or has a slash, a backslash or a control character in it.
pub(super) fn names(path: &str) -> Result<Vec<String>, SourceError> {
    let missing = || SourceError::NotFound(path.to_owned());
    let mut names = Vec::new();
    for part in path.split('/') {
        let name = percent_decode_str(part).decode_utf8().map_err(|_| missing())?;
        if name.is_empty() || name.contains(['/', '\\']) || !is_plain(&name) {
            return Err(missing());
        }
        names.push(name.into_owned());
    }
    Ok(names)
}

/// What an upstream may make of a path that it is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Readings {
    /// Name by name; a slash within a name stays `%2F`.
    pub(super) by_names: String,
    /// Decoded as a whole: then a slash within a name parts it.
    pub(super) decoded: String,
}

impl Readings {
    /// # Errors
    /// A part is empty (but for one at the end), not UTF-8, has a control character in it, or is a step within the path
    /// (`.`, `..`), however often it is decoded.
    pub(super) fn of(path: &str) -> Result<Self, SourceError> {
        let missing = || SourceError::NotFound(path.to_owned());
        let mut by_names = Vec::new();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            if part.is_empty() && parts.peek().is_some() {
                return Err(missing());
            }
            let name = percent_decode_str(part).decode_utf8().map_err(|_| missing())?;
            if !is_plain(&name) {
                return Err(missing());
            }
            by_names.push(name.replace('/', "%2F"));
        }
        let decoded = percent_decode_str(path).decode_utf8().map_err(|_| missing())?.into_owned();
        Ok(Self { by_names: by_names.join("/"), decoded })
    }
}

/// An address with a path below it, encoded as it was sent.
///
/// # Errors
/// The path could be read as another, the parser of addresses makes another of it, or the address has no path to go on from.
pub fn extended(address: &url::Url, path: &str) -> Result<url::Url, SourceError> {
    if address.cannot_be_a_base() {
        return Err(SourceError::Address("it has no path to go on from".to_owned()));
    }
    Readings::of(path)?;
    let mut url = address.clone();
    url.set_path(&format!("{}{path}", base(address)));
    below(address, &url).map(|_| ()).ok_or_else(|| SourceError::NotFound(path.to_owned()))?;
    Ok(url)
}

/// What of the path of `url` lies below `address`.
pub(super) fn below<'a>(address: &url::Url, url: &'a url::Url) -> Option<&'a str> {
    url.path().strip_prefix(&base(address))
}

fn base(address: &url::Url) -> String {
    format!("{}/", address.path().trim_end_matches('/'))
}

/// Whether a name stays what it is however often it is decoded: a program behind the source may do that once more.
fn is_plain(name: &str) -> bool {
    let mut name = name.to_owned();
    loop {
        if is_ambiguous(&name) {
            return false;
        }
        match percent_decode_str(&name).decode_utf8() {
            Err(_) => return false,
            Ok(again) if again == name => return true,
            Ok(again) => name = again.into_owned(),
        }
    }
}

/// Whether a name has control characters, or a step within a path, with or without parameters (`..;x`).
fn is_ambiguous(name: &str) -> bool {
    let is_step = |part: &str| matches!(part.split(';').next().unwrap_or_default().trim(), "." | "..");
    name.chars().any(char::is_control) || name.split(['/', '\\']).any(is_step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_be_read_as_another_is_refused() {
        for path in [
            "a/.%0a.",
            "a/.%09./b",
            "a/%0d",
            "a/%00",
            "a/%C2%85",
            "a/%7F",
            "..",
            "a/../b",
            "a/./b",
            "a/%2e%2E/b",
            "a/.%2e",
            "a/..%2Fb",
            "a/..%5Cb",
            "a/..\\b",
            "a/%252e%252e/b",
            "a/%25252e%25252e",
            "a//b",
            "/a",
            "a/..;/b",
            "a/%2e%2e%3Bx/b",
            "a/%ff",
            "a/..%20",
        ] {
            assert!(Readings::of(path).is_err(), "{path}");
            assert!(names(path).is_err(), "{path}");
        }
        for path in ["a%2Fb", "a%5Cb", "a/", ""] {
            assert!(names(path).is_err(), "{path}");
        }
        assert_eq!(names("2026/m%C3%A4rz%20.csv").unwrap(), ["2026", "märz .csv"]);
        let read = Readings::of("stations/a%2Fb%20c/..x").unwrap();
        assert_eq!(
            (read.by_names.as_str(), read.decoded.as_str()),
            ("stations/a%2Fb c/..x", "stations/a/b c/..x")
        );
    }
}
