//! Typed records as bytes: a version byte, then JSON. Which version a kind of records has is the caller's to say.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StoreError;

/// Deepest nesting of objects and lists in a record: what is written can be read again, whose reader stops at 128.
const MAX_NESTING: usize = 120;

/// A record as bytes, marked as written in `version` of its kind.
///
/// # Errors
/// The value has no JSON form, or one that nests too deep to be read again.
pub fn encode<T: Serialize>(key: &str, version: u8, value: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![version];
    serde_json::to_writer(&mut bytes, value)
        .map_err(|error| StoreError::Record { key: key.to_owned(), reason: error.to_string() })?;
    if nesting(&bytes) > MAX_NESTING {
        let reason = format!("it nests deeper than {MAX_NESTING} and could not be read again");
        return Err(StoreError::Record { key: key.to_owned(), reason });
    }
    Ok(bytes)
}

/// Reads a record that must be of `version` of its kind.
///
/// # Errors
/// Written in another version, or not of this type.
pub fn decode<T: DeserializeOwned>(key: &str, version: u8, bytes: &[u8]) -> Result<T, StoreError> {
    let refuse = |reason: String| StoreError::Record { key: key.to_owned(), reason };
    match bytes.split_first() {
        Some((found, json)) if *found == version => {
            serde_json::from_slice(json).map_err(|error| refuse(error.to_string()))
        }
        Some((found, _)) => Err(refuse(format!("its version is {found}, this program knows {version}"))),
        None => Err(refuse("it is empty".to_owned())),
    }
}

/// How deep JSON nests.
fn nesting(json: &[u8]) -> usize {
    let (mut deepest, mut depth, mut in_text, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_again() {
        let nested = |depth: usize| {
            (0..depth).fold(serde_json::json!("]}\\\"{["), |inner, level| match level % 2 {
                0 => serde_json::json!([inner]),
                _ => serde_json::json!({"a": inner}),
            })
        };
        for depth in [0, 1, 64, MAX_NESTING] {
            let bytes = encode("k", 1, &nested(depth)).unwrap();
            assert_eq!(decode::<serde_json::Value>("k", 1, &bytes).unwrap(), nested(depth));
        }
        for depth in [MAX_NESTING + 1, 200] {
            let refused = encode("k", 1, &nested(depth)).unwrap_err().to_string();
            assert!(refused.contains("nests deeper"), "{refused}");
        }
    }
}
