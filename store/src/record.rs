//! Typed records as bytes: a version byte, then JSON. Which version a kind of records has is the caller's to say.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StoreError;

/// A record as bytes, marked as written in `version` of its kind.
///
/// # Errors
/// The value has no JSON form.
pub fn encode<T: Serialize>(key: &str, version: u8, value: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![version];
    serde_json::to_writer(&mut bytes, value)
        .map_err(|error| StoreError::Record { key: key.to_owned(), reason: error.to_string() })?;
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
