//! Paths below a source, as readers send them: percent-encoded, so that an encoded slash is no other than it was.
//!
//! What is compared with a list of what is offered must be what is used. Whatever one program reads as one path and the next
//! as another is refused here, once for all sources.

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization as _;

use crate::error::SourceError;
use crate::rows::names::is_seen;

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
    /// A name is empty or ambiguous to an upstream, in whatever way it is decoded, once or more often.
    pub(super) fn of(path: &str) -> Result<Self, SourceError> {
        let missing = || SourceError::NotFound(path.to_owned());
        let mut by_names = Vec::new();
        for part in path.split('/') {
            let name = percent_decode_str(part).decode_utf8().map_err(|_| missing())?;
            if !is_one_to_all(&name) {
                return Err(missing());
            }
            by_names.push(name.replace('/', "%2F"));
        }
        let decoded = percent_decode_str(path).decode_utf8().map_err(|_| missing())?.into_owned();
        Ok(Self { by_names: by_names.join("/"), decoded })
    }
}

/// Whether every part of a path leads to no other place in whatever way it is decoded.
///
/// # Errors
/// A part is empty (but for one at the end), not UTF-8, has a control character in it, or is a step within the path
/// (`.`, `..`), however often it is decoded.
fn expect_plain(path: &str) -> Result<(), SourceError> {
    let missing = || SourceError::NotFound(path.to_owned());
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() && parts.peek().is_some() {
            return Err(missing());
        }
        let name = percent_decode_str(part).decode_utf8().map_err(|_| missing())?;
        if !is_plain(&name) {
            return Err(missing());
        }
    }
    Ok(())
}

/// An address with a path below it, encoded as it was sent.
///
/// # Errors
/// The path could be read as another, the parser of addresses makes another of it, or the address has no path to go on from.
pub fn extended(address: &url::Url, path: &str) -> Result<url::Url, SourceError> {
    if address.cannot_be_a_base() {
        return Err(SourceError::Address("it has no path to go on from".to_owned()));
    }
    expect_plain(path)?;
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

/// Whether programs that decode a name differently, or more than once, all read the same name: an upstream's own, and what
/// stands before it. A slash within it parts it for some of them, and what it parts are names again.
fn is_one_to_all(name: &str) -> bool {
    // What has a meaning within an address.
    let speaks = |one: &char| matches!(one, '.' | '/' | '\\' | '?' | '#' | '%' | ';' | '&' | '=' | ':' | '@');
    let spoken = |text: &str| text.chars().filter(speaks).collect::<String>();
    let folded: String = name.nfkc().collect();
    is_plain(name)
        && !name.contains(['\\', '?', '#'])
        && !name.split('/').any(str::is_empty)
        // It is no other when it is decoded again.
        && percent_decode_str(name).eq(name.bytes())
        && name.chars().all(|one| (one == ' ' || is_seen(one)) && !LOOK_ALIKES.contains(&one))
        // Nor when its letters are folded to what they look like (`．`, `‥`, `／`).
        && spoken(&folded) == spoken(name)
}

/// Slashes, backslashes and dots to the eye, and to tables of best fit, that folding leaves as they are.
const LOOK_ALIKES: [char; 8] =
    ['\u{2044}', '\u{2215}', '\u{2216}', '\u{29f5}', '\u{29f8}', '\u{29f9}', '\u{3002}', '\u{ff61}'];

#[cfg(test)]
mod tests {
    use super::*;

    /// Some program reads another path.
    const AMBIGUOUS: &[&str] = &[
        "",
        "stations/",
        "all/",
        "%2f%2f",
        "//",
        "a/%2F",
        "a/%2Fb",
        "a/b%2F",
        "a%2F%2Fb",
        "stations/7%252fadmin",
        "stations/7%25252fadmin",
        "stations/7%5cadmin",
        "stations/7\\admin",
        "stations/7%255cadmin",
        "stations/7%25255cadmin",
        "stations/%ef%bc%8e%ef%bc%8e/admin",
        "stations/\u{ff0e}\u{ff0e}/admin",
        "stations/7%ef%bc%8fadmin",
        "stations/7\u{ff0f}admin",
        "stations/7%ef%bc%bcadmin",
        "stations/%e2%80%a5/admin",
        "stations/%e2%80%a6/admin",
        "stations/7%e2%88%95admin",
        "stations/7%e2%81%84admin",
        "stations/7%e2%84%80admin",
        "stations/.%c2%ad.",
        "stations/7%c2%ad",
        "stations/.%e2%80%8b.",
        "stations/7%ef%bb%bf",
        "stations/7%3fall=1",
        "stations/7?all=1",
        "stations/7%23x",
        "stations/7%253fall=1",
        "stations/7%ef%bc%9fall=1",
        "stations/7%ef%bc%852f",
        "stations/%2520.",
        "stations/7%2520",
        "stations/7%2500",
        "stations/7%25250a",
        "stations/7%252509",
        "stations/7%25ff",
    ];

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
        for path in AMBIGUOUS {
            assert!(Readings::of(path).is_err(), "{path}");
        }
        for path in
            ["Z%C3%BCrich/%E6%9D%B1%E4%BA%AC", "100%25", "a%2Fb/c", "urn:x:7;v=1/a.b", "%C2%B5g%20m-3"]
        {
            assert!(Readings::of(path).is_ok(), "{path}");
        }
        assert_eq!(names("2026/m%C3%A4rz%20.csv").unwrap(), ["2026", "märz .csv"]);
        let read = Readings::of("stations/a%2Fb%20c/..x").unwrap();
        assert_eq!(
            (read.by_names.as_str(), read.decoded.as_str()),
            ("stations/a%2Fb c/..x", "stations/a/b c/..x")
        );
    }
}
