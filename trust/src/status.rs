//! Status lists: one bit for each credential, compressed (W3C Bitstring Status List 1.0, and StatusList2021 before it).

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::credential::{Credential, Profile};
use crate::error::TrustError;

/// Fewest places in a list, so that an index says little about its holder (Bitstring Status List, section 5.2).
pub const MIN_BITS: usize = 131_072;
/// Largest list that is unpacked, in bytes: eight million credentials.
const MAX_BYTES: u64 = 1024 * 1024;
/// Longest status list credential that is read, in bytes: a list of that many, and its envelope.
pub const MAX_CREDENTIAL: usize = 2 * 1024 * 1024;

/// A list of bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusList {
    bits: Vec<u8>,
}

impl Default for StatusList {
    fn default() -> Self {
        Self { bits: vec![0; MIN_BITS / 8] }
    }
}

impl StatusList {
    /// Reads the list in a status list credential whose signature holds.
    ///
    /// # Errors
    /// Not a status list, or one that unpacks to more than a mebibyte.
    pub fn of_credential(credential: &Credential) -> Result<Self, TrustError> {
        let is_list = ["BitstringStatusListCredential", "StatusList2021Credential"];
        if !credential.types().iter().any(|kind| is_list.contains(&kind.as_str())) {
            return Err(refuse("it is another kind of credential"));
        }
        Self::of_subject(credential.json().get("credentialSubject").unwrap_or(&Json::Null))
    }

    fn of_subject(subject: &Json) -> Result<Self, TrustError> {
        let encoded = subject
            .get("encodedList")
            .and_then(Json::as_str)
            .ok_or_else(|| refuse("it has no `encodedList`"))?;
        // Multibase base64url in the newer standard, plain base64 or base64url in the older; gzip never begins with `u`.
        let plain = encoded.strip_prefix('u').unwrap_or(encoded);
        let plain = plain.trim_end_matches('=');
        let packed = URL_SAFE_NO_PAD
            .decode(plain)
            .or_else(|_| STANDARD.decode(format!("{plain}{}", "=".repeat((4 - plain.len() % 4) % 4))))
            .map_err(|_| refuse("its `encodedList` is not base64"))?;
        let mut bits = Vec::new();
        GzDecoder::new(packed.as_slice())
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bits)
            .map_err(|_| refuse("its `encodedList` is not gzip"))?;
        if u64::try_from(bits.len()).unwrap_or(u64::MAX) > MAX_BYTES {
            return Err(refuse("it unpacks to more than a mebibyte"));
        }
        Ok(Self { bits })
    }

    /// Whether the bit at `index` is set.
    ///
    /// # Errors
    /// The list is shorter: then nobody knows.
    pub fn is_set(&self, index: usize) -> Result<bool, TrustError> {
        let byte = self.bits.get(index / 8).ok_or_else(|| refuse(&format!("it has no place {index}")))?;
        // The first bit is the leftmost.
        Ok(byte >> (7 - index % 8) & 1 == 1)
    }

    /// Sets or clears the bit at `index`, and makes the list longer where it must.
    pub fn set(&mut self, index: usize, value: bool) {
        if index / 8 >= self.bits.len() {
            self.bits.resize(index / 8 + 1, 0);
        }
        if let Some(byte) = self.bits.get_mut(index / 8) {
            let bit = 1 << (7 - index % 8);
            if value {
                *byte |= bit;
            } else {
                *byte &= !bit;
            }
        }
    }

    /// The `credentialSubject` of a status list credential at `address` that may be kept for `ttl`.
    ///
    /// # Errors
    /// It could not be packed.
    pub fn subject(&self, address: &str, profile: Profile, ttl: SignedDuration) -> Result<Json, TrustError> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        let packed = packer.write_all(&self.bits).and_then(|()| packer.finish());
        let packed = packed.map_err(|error| refuse(&format!("it cannot be packed: {error}")))?;
        Ok(match profile {
            Profile::V1 => json!({
                "id": format!("{address}#list"), "type": "StatusList2021", "statusPurpose": "revocation",
                // The older standard says no more than base64; EDC takes the plain alphabet only.
                "encodedList": STANDARD.encode(&packed),
            }),
            Profile::V2 => json!({
                "id": format!("{address}#list"), "type": "BitstringStatusList", "statusPurpose": "revocation",
                "encodedList": format!("u{}", URL_SAFE_NO_PAD.encode(&packed)), "ttl": ttl.as_millis(),
            }),
        })
    }
}

/// How long a list says that it may be kept (`ttl`, in milliseconds).
#[must_use]
pub fn ttl(list: &Credential) -> Option<SignedDuration> {
    list.json().pointer("/credentialSubject/ttl").and_then(Json::as_i64).map(SignedDuration::from_millis)
}

/// What a list is about (`statusPurpose`): `revocation`, `suspension`.
#[must_use]
pub fn purposes(list: &Credential) -> Vec<String> {
    match list.json().pointer("/credentialSubject/statusPurpose") {
        Some(Json::String(one)) => vec![one.clone()],
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn refuse(reason: &str) -> TrustError {
    TrustError::Status(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_kept_through_both_forms() {
        let mut list = StatusList::default();
        for index in [0, 7, 8, 94_567] {
            list.set(index, true);
        }
        for profile in Profile::ALL {
            let read = StatusList::of_subject(
                &list.subject("https://x/1", profile, SignedDuration::from_secs(60)).unwrap(),
            )
            .unwrap();
            for index in [0, 7, 8, 94_567] {
                assert_eq!(read.is_set(index), Ok(true));
            }
            assert_eq!(read.is_set(1), Ok(false));
            assert!(read.is_set(MIN_BITS).is_err(), "beyond its end nobody knows");
        }
        let older = list.subject("https://x/1", Profile::V1, SignedDuration::from_secs(60)).unwrap();
        let older = older["encodedList"].as_str().unwrap();
        assert!(STANDARD.decode(older).is_ok() && older.len().is_multiple_of(4), "plain base64, padded");
        list.set(7, false);
        assert_eq!(list.is_set(7), Ok(false));
    }

    #[test]
    fn the_list_of_the_standard_is_read() {
        // W3C Bitstring Status List 1.0, example 2: nothing is set.
        let list = "uH4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA";
        let read = StatusList::of_subject(&json!({"encodedList": list})).unwrap();
        assert_eq!(read.is_set(94_567), Ok(false));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        (0..64).for_each(|_| packer.write_all(&[0; 1 << 20]).unwrap());
        let bomb = format!("u{}", URL_SAFE_NO_PAD.encode(packer.finish().unwrap()));
        let error = StatusList::of_subject(&json!({"encodedList": bomb})).unwrap_err();
        assert!(error.to_string().contains("more than a mebibyte"));
        for bad in ["u", "!!!", "uAAAA"] {
            assert!(StatusList::of_subject(&json!({"encodedList": bad})).is_err());
        }
    }
}
