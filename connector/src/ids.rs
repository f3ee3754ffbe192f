//! The only place that makes identifiers and other random values.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// A fresh URN. It is ordered by time, so that a scan of keys yields the oldest first.
#[must_use]
pub fn urn() -> String {
    format!("urn:uuid:{}", Uuid::now_v7())
}

/// A random UUID (version 4), where a standard asks for one.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
#[must_use]
pub fn uuid() -> String {
    Uuid::new_v4().to_string()
}

/// `bytes` random bytes, base64url.
///
/// # Errors
/// The operating system has no randomness.
pub fn secret(bytes: usize) -> Result<String, getrandom::Error> {
    let mut raw = vec![0; bytes];
    getrandom::fill(&mut raw)?;
    Ok(URL_SAFE_NO_PAD.encode(raw))
}

/// A number in `0..1`, for jitter.
#[must_use]
pub fn fraction() -> f64 {
    let mut raw = [0; 2];
    // Without randomness there is no jitter, which only costs evenness.
    let _ = getrandom::fill(&mut raw);
    f64::from(u16::from_be_bytes(raw)) / 65536.0
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
