//! Status lists: one bit for each credential, compressed (W3C Bitstring Status List 1.0, and StatusList2021 before it).

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::credential::{Credential, Profile, StatusEntry};
use crate::error::TrustError;

/// Fewest places in a list, so that an index says little about its holder (Bitstring Status List, section 5.2).
pub const MIN_BITS: usize = 131_072;
/// Largest list that is unpacked, in bytes: eight million credentials.
const MAX_BYTES: u64 = 1024 * 1024;
/// Longest status list credential that is read, in bytes: a list of that many, and its envelope.
pub const MAX_CREDENTIAL: usize = 2 * 1024 * 1024;

/// A list of bits, and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusList {
    bits: Vec<u8>,
    /// Of which of the two standards it is.
    profile: Profile,
    /// What it is about (`statusPurpose`): `revocation`, `suspension`.
    purposes: Vec<String>,
    /// Bits of one place, where it says so.
    size: Option<usize>,
}

impl Default for StatusList {
    fn default() -> Self {
        let purposes = vec!["revocation".to_owned()];
        Self { bits: vec![0; MIN_BITS / 8], profile: Profile::V2, purposes, size: None }
    }
}

impl StatusList {
    /// Reads the list in a status list credential whose signature holds (Bitstring Status List 1.0, section 3.2; StatusList2021,
    /// section 5).
    ///
    /// # Errors
    /// Not a status list, one that does not say what it is about, a shorter one than the standards allow, or one that unpacks to
    /// more than a mebibyte.
    pub fn of_credential(credential: &Credential) -> Result<Self, TrustError> {
        let is = |name: &str| credential.types().iter().any(|kind| kind == name);
        let (profile, expected) = match (is("BitstringStatusListCredential"), is("StatusList2021Credential"))
        {
            (true, false) => (Profile::V2, "BitstringStatusList"),
            (false, true) => (Profile::V1, "StatusList2021"),
            _ => return Err(refuse("it is another kind of credential")),
        };
        let subject = credential.json().get("credentialSubject").unwrap_or(&Json::Null);
        let named = match subject.get("type") {
            Some(Json::Array(all)) => all.iter().any(|kind| kind.as_str() == Some(expected)),
            Some(one) => one.as_str() == Some(expected),
            None => false,
        };
        if !named {
            return Err(refuse(&format!("its `credentialSubject.type` is not `{expected}`")));
        }
        Self::of_subject(subject, profile)
    }

    fn of_subject(subject: &Json, profile: Profile) -> Result<Self, TrustError> {
        let purposes = match subject.get("statusPurpose") {
            Some(Json::String(one)) => vec![one.clone()],
            Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        if purposes.is_empty() {
            return Err(refuse("it does not say what it is about (`statusPurpose`)"));
        }
        let size = subject.get("statusSize").map(size_of).transpose()?;
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
        let list = Self { bits, profile, purposes, size };
        list.check_length(1)?;
        Ok(list)
    }

    /// Whether there are as many places of `size` bits as a list must have.
    fn check_length(&self, size: usize) -> Result<(), TrustError> {
        let places = self.bits.len() * 8 / size;
        if places < MIN_BITS {
            return Err(refuse(&format!(
                "it has {places} places; a list has {MIN_BITS} at least, so that none tells who stands there"
            )));
        }
        Ok(())
    }

    /// Whether what `entry` is about is so by this list: its place has a bit that is set.
    ///
    /// # Errors
    /// The list is of the other standard, about something else, has places of another size, or is shorter: then nobody knows.
    pub fn says(&self, entry: &StatusEntry) -> Result<bool, TrustError> {
        if self.profile != entry.profile {
            return Err(refuse("it is of another standard than the entry that leads to it"));
        }
        if !self.purposes.contains(&entry.purpose) {
            return Err(refuse(&format!("it is not about `{}`", entry.purpose)));
        }
        if self.size.is_some_and(|size| size != entry.size) {
            return Err(refuse("its places have another size than the entry says (`statusSize`)"));
        }
        self.check_length(entry.size)?;
        let first = entry.index.checked_mul(entry.size).ok_or_else(|| refuse("its index is too large"))?;
        let mut set = false;
        for bit in first..first.saturating_add(entry.size) {
            set |= self.is_set(bit)?;
        }
        Ok(set)
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

/// Bits of one place (`statusSize`).
///
/// # Errors
/// Not a number from 1 to 64.
pub(crate) fn size_of(value: &Json) -> Result<usize, TrustError> {
    let size =
        value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| (1..=64).contains(size));
    size.ok_or_else(|| refuse(&format!("`statusSize` must be a number from 1 to 64, not {value}")))
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
            let subject = list.subject("https://x/1", profile, SignedDuration::from_secs(60)).unwrap();
            let read = StatusList::of_subject(&subject, profile).unwrap();
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
        let subject = json!({"encodedList": list, "statusPurpose": "revocation"});
        let read = StatusList::of_subject(&subject, Profile::V2).unwrap();
        assert_eq!(read.is_set(94_567), Ok(false));
    }

    /// The first place is the leftmost bit (section 2.2), by bytes made by hand: a list that is read and written wrongly alike would
    /// pass a round trip.
    #[test]
    fn the_first_place_is_the_leftmost_bit() {
        let mut bits = vec![0_u8; MIN_BITS / 8];
        (bits[0], bits[1]) = (0b1000_0001, 0b0000_0010);
        let read = StatusList::of_subject(&subject_of(&bits), Profile::V2).unwrap();
        let set: Vec<_> = (0..24).filter(|place| read.is_set(*place).unwrap()).collect();
        assert_eq!(set, [0, 7, 14]);
    }

    fn subject_of(bits: &[u8]) -> Json {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bits).unwrap();
        let encoded = format!("u{}", URL_SAFE_NO_PAD.encode(packer.finish().unwrap()));
        json!({"type": "BitstringStatusList", "statusPurpose": "revocation", "encodedList": encoded})
    }

    fn entry(index: usize, size: usize) -> StatusEntry {
        StatusEntry { size, ..StatusEntry::new("https://x/1".to_owned(), index, "revocation", Profile::V2) }
    }

    /// Lists whose places are wider: one that reads single bits would look at the place of somebody else.
    #[test]
    fn a_place_has_as_many_bits_as_its_entry_says() {
        let mut bits = vec![0_u8; MIN_BITS / 4];
        // Place 7 of two bits each are the bits 14 and 15.
        bits[1] = 0b0000_0001;
        let list = StatusList::of_subject(&subject_of(&bits), Profile::V2).unwrap();
        assert_eq!(list.says(&entry(7, 2)), Ok(true));
        assert_eq!(list.says(&entry(6, 2)), Ok(false));
        assert_eq!(list.says(&entry(7, 1)), Ok(false), "bit 7 is not set");
        assert!(
            list.says(&entry(7, 4)).unwrap_err().to_string().contains("65536 places"),
            "too few of that size"
        );
        assert!(list.says(&entry(usize::MAX, 2)).is_err());
        assert!(list.says(&entry(MIN_BITS * 2, 1)).is_err(), "behind its end");
    }

    #[test]
    fn what_a_list_does_not_say_is_not_known() {
        let good = subject_of(&[0; MIN_BITS / 8]);
        let read = |name: &str, value: Json| {
            let mut subject = good.clone();
            subject[name] = value;
            StatusList::of_subject(&subject, Profile::V2).and_then(|list| list.says(&entry(1, 1)))
        };
        assert_eq!(read("id", json!("urn:x")), Ok(false));
        for (name, value, said) in [
            ("statusPurpose", json!(null), "does not say what it is about"),
            ("statusPurpose", json!([]), "does not say what it is about"),
            ("statusPurpose", json!("suspension"), "is not about `revocation`"),
            ("statusSize", json!(2), "another size"),
            ("statusSize", json!(0), "`statusSize` must be"),
            ("statusSize", json!("1"), "`statusSize` must be"),
            (
                "encodedList",
                subject_of(&[0; MIN_BITS / 8 - 1])["encodedList"].clone(),
                "a list has 131072 at least",
            ),
        ] {
            let error = read(name, value.clone()).unwrap_err().to_string();
            assert!(error.contains(said), "{name} {value}: {error}");
        }
        let list = StatusList::of_subject(&good, Profile::V2).unwrap();
        let older = StatusEntry { profile: Profile::V1, ..entry(1, 1) };
        assert!(list.says(&older).unwrap_err().to_string().contains("another standard"));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        (0..64).for_each(|_| packer.write_all(&[0; 1 << 20]).unwrap());
        let bomb = format!("u{}", URL_SAFE_NO_PAD.encode(packer.finish().unwrap()));
        let read = |encoded: &str| {
            StatusList::of_subject(
                &json!({"encodedList": encoded, "statusPurpose": "revocation"}),
                Profile::V2,
            )
        };
        let error = read(&bomb).unwrap_err();
        assert!(error.to_string().contains("more than a mebibyte"));
        for bad in ["u", "!!!", "uAAAA"] {
            assert!(read(bad).is_err());
        }
    }
}
