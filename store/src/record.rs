//! Typed records as bytes: a version byte, then JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StoreError;

/// The version written today. A reader of a newer version converts older ones here.
const VERSION: u8 = 1;

/// A record as bytes.
///
/// # Errors
/// The value has no JSON form.
pub fn encode<T: Serialize>(key: &str, value: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, value)
        .map_err(|error| StoreError::Record { key: key.to_owned(), reason: error.to_string() })?;
    Ok(bytes)
}

/// Reads a record.
///
/// # Errors
/// Written by a newer version of this program, or not of this type.
pub fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, StoreError> {
    let refuse = |reason: String| StoreError::Record { key: key.to_owned(), reason };
    match bytes.split_first() {
        Some((&VERSION, json)) => serde_json::from_slice(json).map_err(|error| refuse(error.to_string())),
        Some((version, _)) => Err(refuse(format!("its version is {version}, this program knows {VERSION}"))),
        None => Err(refuse("it is empty".to_owned())),
    }
}
