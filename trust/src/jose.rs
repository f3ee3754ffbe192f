//! Keys and compact JWS (RFC 7515), the only file that names josekit.
//!
//! Two algorithms sign, bound to the key and never chosen by the token: EdDSA with Ed25519, ES256 with P-256. ES384 with P-384, and
//! PS256 and RS256 with RSA of 2048 to 4096 bits, are verified besides, for issuers that have such keys. A public key is a
//! point that stands for nothing else: on the curve, in its one encoding, and not of small order, under which one signature
//! verifies for every message.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use josekit::jwk::alg::ed::{EdCurve, EdKeyPair};
use josekit::jws::{self, ES256, ES384, EdDSA, JwsHeader, JwsSigner, JwsVerifier, PS256, RS256};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::error::TrustError;

/// Longest compact JWS that is read, in bytes.
pub const MAX_JWS: usize = 16 * 1024;

/// Longest seal of a dossier, in bytes.
pub const MAX_SEAL: usize = 1024 * 1024;

/// The signature algorithms this product speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `EdDSA` with Ed25519 (RFC 8037).
    Ed25519,
    /// `ES256` with P-256 (RFC 7518).
    P256,
}

impl Algorithm {
    /// The value of the `alg` header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "EdDSA",
            Self::P256 => "ES256",
        }
    }
}

/// A private key that signs. Its `Debug` shows nothing of it.
pub struct PrivateKey {
    algorithm: Algorithm,
    private: Json,
    public: Json,
    signer: Box<dyn JwsSigner>,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateKey")
            .field("algorithm", &self.algorithm)
            .field("public", &self.public)
            .finish()
    }
}

impl PrivateKey {
    /// Makes a key; the randomness is OpenSSL's.
    ///
    /// # Errors
    /// OpenSSL could not make one.
    pub fn generate(algorithm: Algorithm) -> Result<Self, TrustError> {
        let jwk = match algorithm {
            Algorithm::Ed25519 => EdKeyPair::generate(EdCurve::Ed25519).map(|pair| pair.to_jwk_key_pair()),
            Algorithm::P256 => EcKeyPair::generate(EcCurve::P256).map(|pair| pair.to_jwk_key_pair()),
        }
        .map_err(key)?;
        Self::from_jwk(&Json::Object(jwk.as_ref().clone()))
    }

    /// Reads a private JWK (RFC 7517).
    ///
    /// # Errors
    /// Not an Ed25519 or P-256 private key.
    pub fn from_jwk(json: &Json) -> Result<Self, TrustError> {
        let algorithm = algorithm_of(json)?;
        if json.get("d").and_then(Json::as_str).is_none() {
            return Err(TrustError::Key("it has no private part `d`".to_owned()));
        }
        let jwk = bare(json, &["kty", "crv", "x", "y", "d"])?;
        let signer: Box<dyn JwsSigner> = match algorithm {
            Algorithm::Ed25519 => Box::new(EdDSA.signer_from_jwk(&jwk).map_err(key)?),
            Algorithm::P256 => Box::new(ES256.signer_from_jwk(&jwk).map_err(key)?),
        };
        let public = Json::Object(bare(json, &["kty", "crv", "x", "y"])?.as_ref().clone());
        // What it makes known of itself must be a key that others accept.
        PublicKey::from_jwk(&public)?;
        Ok(Self { algorithm, private: Json::Object(jwk.as_ref().clone()), public, signer })
    }

    /// The private JWK, for the key file only.
    #[must_use]
    pub const fn private_jwk(&self) -> &Json {
        &self.private
    }

    /// The public JWK.
    #[must_use]
    pub const fn public_jwk(&self) -> &Json {
        &self.public
    }

    /// Which algorithm it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs `payload` under the key id `kid`; `typ` says what it is.
    ///
    /// # Errors
    /// OpenSSL could not sign.
    pub fn sign(&self, kid: &str, typ: &str, payload: &[u8]) -> Result<String, TrustError> {
        let mut header = JwsHeader::new();
        header.set_token_type(typ);
        header.set_key_id(kid);
        jws::serialize_compact(payload, &header, self.signer.as_ref())
            .map_err(|error| TrustError::Key(format!("signing failed: {error}")))
    }
}

#[cfg(test)]
impl PrivateKey {
    /// As [`Self::sign`], without `kid`.
    pub(crate) fn sign_without_key_id(&self, typ: &str, payload: &[u8]) -> Result<String, TrustError> {
        let mut header = JwsHeader::new();
        header.set_token_type(typ);
        jws::serialize_compact(payload, &header, self.signer.as_ref()).map_err(key)
    }

    /// As [`Self::sign`], with a member of the header that must be understood (RFC 7515, section 4.1.11).
    pub(crate) fn sign_critically(&self, kid: &str, payload: &[u8]) -> Result<String, TrustError> {
        let mut header = JwsHeader::new();
        header.set_token_type("JWT");
        header.set_key_id(kid);
        header.set_critical(&vec!["urn:x"]);
        header.set_claim("urn:x", Some(json!(1))).map_err(key)?;
        jws::serialize_compact(payload, &header, self.signer.as_ref()).map_err(key)
    }
}

/// A public key that verifies.
#[derive(Debug)]
pub struct PublicKey {
    verifier: Box<dyn JwsVerifier>,
    /// The same key under the other algorithm that it may be used with: RSA.
    other: Option<Box<dyn JwsVerifier>>,
    /// Asked beside the verifier, which does not refuse all that it should.
    strict: Option<VerifyingKey>,
}

impl PublicKey {
    /// Reads a public JWK.
    ///
    /// # Errors
    /// Not an Ed25519, P-256, P-384 or RSA key, or one under which signatures prove nothing.
    pub fn from_jwk(json: &Json) -> Result<Self, TrustError> {
        let text = |name: &str| json.get(name).and_then(Json::as_str).unwrap_or_default();
        match (text("kty"), text("crv")) {
            ("RSA", _) => return Self::from_rsa_jwk(json),
            ("EC", "P-384") => {
                coordinate::<48>(json, "x").and_then(|_| coordinate::<48>(json, "y"))?;
                let jwk = bare(json, &["kty", "crv", "x", "y"])?;
                let verifier = Box::new(ES384.verifier_from_jwk(&jwk).map_err(key)?);
                return Ok(Self { verifier, other: None, strict: None });
            }
            _ => {}
        }
        let jwk = bare(json, &["kty", "crv", "x", "y"])?;
        match algorithm_of(json)? {
            Algorithm::Ed25519 => {
                let strict = ed25519_point(&coordinate(json, "x")?)?;
                let verifier = Box::new(EdDSA.verifier_from_jwk(&jwk).map_err(key)?);
                Ok(Self { verifier, other: None, strict: Some(strict) })
            }
            Algorithm::P256 => {
                // OpenSSL refuses what is not on the curve; these are the lengths that RFC 7518 demands.
                coordinate::<32>(json, "x").and_then(|_| coordinate::<32>(json, "y"))?;
                let verifier = Box::new(ES256.verifier_from_jwk(&jwk).map_err(key)?);
                Ok(Self { verifier, other: None, strict: None })
            }
        }
    }

    /// An RSA key of a size that proves something and is verified in bounded time. Both of its algorithms are bound to it: which one
    /// of them a token names makes no signature hold that its owner did not make.
    fn from_rsa_jwk(json: &Json) -> Result<Self, TrustError> {
        let refuse = |reason: &str| TrustError::Key(reason.to_owned());
        let number = |name: &str| {
            let text = json.get(name).and_then(Json::as_str).unwrap_or_default();
            URL_SAFE_NO_PAD.decode(text).map_err(|_| refuse(&format!("its `{name}` is not base64url")))
        };
        let (modulus, exponent) = (number("n")?, number("e")?);
        let leading = modulus.first().map_or(0, |first| usize::try_from(first.leading_zeros()).unwrap_or(8));
        let bits = (modulus.len() * 8).saturating_sub(leading);
        if !(2048..=4096).contains(&bits) {
            return Err(refuse(&format!("it is an RSA key of {bits} bits; those of 2048 to 4096 are taken")));
        }
        // Odd, more than one, and small, as every RSA key in use has it.
        let odd = exponent.last().is_some_and(|last| last & 1 == 1);
        if !odd || exponent.len() > 4 || exponent == [1] || modulus.last().is_none_or(|last| last & 1 == 0) {
            return Err(refuse("it is no RSA key that proves anything"));
        }
        let jwk = bare(json, &["kty", "n", "e"])?;
        let verifier = Box::new(PS256.verifier_from_jwk(&jwk).map_err(key)?);
        let other: Box<dyn JwsVerifier> = Box::new(RS256.verifier_from_jwk(&jwk).map_err(key)?);
        Ok(Self { verifier, other: Some(other), strict: None })
    }

    /// Reads a P-256 key from its compressed point (SEC 1, 33 bytes), as did:key carries it.
    ///
    /// # Errors
    /// Not a point of the curve.
    pub fn from_p256_point(point: &[u8]) -> Result<Self, TrustError> {
        // SubjectPublicKeyInfo { ecPublicKey, prime256v1 } with a compressed point.
        const PREFIX: [u8; 26] = [
            0x30, 0x39, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x22, 0x00,
        ];
        if point.len() != 33 {
            return Err(TrustError::Key(format!(
                "a compressed P-256 point has 33 bytes, not {}",
                point.len()
            )));
        }
        let spki = [PREFIX.as_slice(), point].concat();
        let verifier = Box::new(ES256.verifier_from_der(spki).map_err(key)?);
        Ok(Self { verifier, other: None, strict: None })
    }

    /// Verifies a compact JWS and returns its payload. The algorithm is the key's, whatever the header says.
    ///
    /// # Errors
    /// The signature does not hold, or the header names another algorithm.
    pub fn verify(&self, compact: &str) -> Result<Vec<u8>, TrustError> {
        self.verify_within(compact, MAX_JWS)
    }

    /// As [`Self::verify`], for one of up to `limit` bytes.
    ///
    /// # Errors
    /// As there.
    pub fn verify_within(&self, compact: &str, limit: usize) -> Result<Vec<u8>, TrustError> {
        if compact.len() > limit {
            return Err(TrustError::Signature(format!("it is longer than {limit} bytes")));
        }
        // One signature has one text: what follows its last bit must be zero.
        let signature = compact.rsplit('.').next().unwrap_or_default();
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| TrustError::Signature("its signature is not base64url".to_owned()))?;
        if let Some(strict) = &self.strict {
            let signed = compact.rsplit_once('.').map_or("", |(signed, _)| signed);
            Signature::from_slice(&signature)
                .and_then(|signature| strict.verify_strict(signed.as_bytes(), &signature))
                .map_err(|_| TrustError::Signature("the signature does not hold".to_owned()))?;
        }
        let verify = |verifier: &dyn JwsVerifier| {
            let read = jws::deserialize_compact(compact, verifier).map(|(payload, _)| payload);
            read.map_err(|error| TrustError::Signature(error.to_string()))
        };
        match (&self.other, verify(self.verifier.as_ref())) {
            (Some(other), Err(_)) => verify(other.as_ref()),
            (_, verified) => verified,
        }
    }
}

/// The `typ` of a JWS as a media type, without what may be left out (RFC 7515, section 4.1.9).
pub(crate) fn media_type(typ: &str) -> String {
    let lower = typ.to_ascii_lowercase();
    lower.strip_prefix("application/").unwrap_or(&lower).to_owned()
}

/// Header and payload of a compact JWS, not verified: good only to find out whose key is needed.
///
/// # Errors
/// Not three base64url parts with a JSON header, or too long.
pub fn peek(compact: &str) -> Result<(Map<String, Json>, Vec<u8>), TrustError> {
    peek_within(compact, MAX_JWS)
}

/// As [`peek`], for one of up to `limit` bytes.
///
/// # Errors
/// As there.
pub fn peek_within(compact: &str, limit: usize) -> Result<(Map<String, Json>, Vec<u8>), TrustError> {
    let malformed = |reason: &str| TrustError::Signature(reason.to_owned());
    if compact.len() > limit {
        return Err(malformed(&format!("it is longer than {limit} bytes")));
    }
    let mut parts = compact.split('.');
    let (Some(header), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed("a compact JWS has three parts"));
    };
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed("its header is not base64url"))?;
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| malformed("its payload is not base64url"))?;
    match serde_json::from_slice(&header) {
        Ok(Json::Object(header)) => Ok((header, payload)),
        _ => Err(malformed("its header is not a JSON object")),
    }
}

/// A coordinate of a public JWK, as long as its curve has it.
fn coordinate<const LENGTH: usize>(jwk: &Json, name: &str) -> Result<[u8; LENGTH], TrustError> {
    let text = jwk.get(name).and_then(Json::as_str).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| <[u8; LENGTH]>::try_from(bytes).ok());
    bytes.ok_or_else(|| TrustError::Key(format!("its `{name}` is not {LENGTH} bytes in base64url")))
}

/// The point of an Ed25519 key (RFC 8032), in its one encoding and not of small order.
fn ed25519_point(raw: &[u8; 32]) -> Result<VerifyingKey, TrustError> {
    let refuse = |reason: &str| TrustError::Key(reason.to_owned());
    let point = VerifyingKey::from_bytes(raw).map_err(|_| refuse("it is not a point of Ed25519"))?;
    if point.is_weak() {
        return Err(refuse("it is of small order: one signature would hold for every message"));
    }
    // The point encoded anew: `VerifyingKey` gives back the bytes it was read from.
    if point.to_edwards().compress().to_bytes() != *raw {
        return Err(refuse("it is not the canonical encoding of its point"));
    }
    Ok(point)
}

fn algorithm_of(jwk: &Json) -> Result<Algorithm, TrustError> {
    let text = |name: &str| jwk.get(name).and_then(Json::as_str).unwrap_or_default();
    match (text("kty"), text("crv")) {
        ("OKP", "Ed25519") => Ok(Algorithm::Ed25519),
        ("EC", "P-256") => Ok(Algorithm::P256),
        (kty, crv) => {
            Err(TrustError::Key(format!("key type `{kty}` with curve `{crv}` is not Ed25519 or P-256")))
        }
    }
}

/// Only the members that make the key, so that `kid`, `use` or `alg` of a stranger's JWK decide nothing.
fn bare(json: &Json, members: &[&str]) -> Result<Jwk, TrustError> {
    let mut map = Map::new();
    for name in members {
        if let Some(value) = json.get(*name) {
            map.insert((*name).to_owned(), value.clone());
        }
    }
    Jwk::from_map(map).map_err(key)
}

fn key(error: josekit::JoseError) -> TrustError {
    TrustError::Key(error.to_string())
}

/// The thumbprint of a public JWK (RFC 7638), base64url.
///
/// # Errors
/// Not an Ed25519 or P-256 key.
pub fn thumbprint(jwk: &Json) -> Result<String, TrustError> {
    let members: &[&str] = match jwk.get("kty").and_then(Json::as_str) {
        Some("OKP") => &["crv", "kty", "x"],
        Some("EC") => &["crv", "kty", "x", "y"],
        Some("RSA") => &["e", "kty", "n"],
        _ => return Err(TrustError::Key("it has no `kty` that is known".to_owned())),
    };
    let bare: Map<String, Json> = members
        .iter()
        .filter_map(|name| jwk.get(*name).map(|value| ((*name).to_owned(), value.clone())))
        .collect();
    // serde_json sorts the members, as the thumbprint demands.
    Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(Json::Object(bare).to_string())))
}

/// An Ed25519 public JWK of 32 raw bytes, as did:key carries it.
#[must_use]
pub fn ed25519_jwk(raw: &[u8]) -> Json {
    json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(raw)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_sign_and_verify() {
        for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
            let private = PrivateKey::generate(algorithm).unwrap();
            let jws = private.sign("did:x#1", "JWT", b"hello").unwrap();
            let public = PublicKey::from_jwk(private.public_jwk()).unwrap();
            assert_eq!(public.verify(&jws).unwrap(), b"hello");
            let other = PrivateKey::generate(algorithm).unwrap();
            assert!(PublicKey::from_jwk(other.public_jwk()).unwrap().verify(&jws).is_err());
            assert!(!format!("{private:?}").contains(private.private_jwk()["d"].as_str().unwrap()));
            let again = PrivateKey::from_jwk(private.private_jwk()).unwrap();
            assert_eq!(again.public_jwk(), private.public_jwk());
        }
    }

    #[test]
    fn the_header_does_not_choose_the_algorithm() {
        let private = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let public = PublicKey::from_jwk(private.public_jwk()).unwrap();
        for alg in ["none", "HS256", "ES256"] {
            let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","kid":"x"}}"#));
            for signature in ["", "AAAA"] {
                assert!(public.verify(&format!("{header}.e30.{signature}")).is_err(), "{alg}");
            }
        }
    }

    /// What issuers have besides: verified, and never this program's own.
    #[test]
    fn rsa_and_p_384_are_verified() {
        use josekit::jwk::alg::rsa::RsaKeyPair;
        let sign = |signer: &dyn JwsSigner| {
            let mut header = JwsHeader::new();
            header.set_key_id("x");
            jws::serialize_compact(b"p", &header, signer).unwrap()
        };
        let pair = RsaKeyPair::generate(2048).unwrap();
        let (public, private) = (pair.to_jwk_public_key(), pair.to_jwk_private_key());
        let public = Json::Object(public.as_ref().clone());
        let key = PublicKey::from_jwk(&public).unwrap();
        let ps = sign(&PS256.signer_from_jwk(&private).unwrap());
        let rs = sign(&RS256.signer_from_jwk(&private).unwrap());
        for jws in [&ps, &rs] {
            assert_eq!(key.verify(jws).unwrap(), b"p");
            let (signed, _) = jws.rsplit_once('.').unwrap();
            assert!(
                key.verify(&format!("{signed}.{}", ps.rsplit('.').next().unwrap())).is_err() || jws == &ps
            );
        }
        // Other algorithms of the same key are none that is bound to it.
        assert!(key.verify(&sign(&jws::RS512.signer_from_jwk(&private).unwrap())).is_err());
        let other = RsaKeyPair::generate(2048).unwrap().to_jwk_private_key();
        assert!(key.verify(&sign(&PS256.signer_from_jwk(&other).unwrap())).is_err());
        assert!(PrivateKey::from_jwk(&Json::Object(private.as_ref().clone())).is_err());
        assert!(thumbprint(&public).is_ok());
        let with = |name: &str, value: &str| {
            let mut odd = public.clone();
            odd[name] = json!(value);
            PublicKey::from_jwk(&odd)
        };
        assert!(with("e", "AQ").is_err() && with("e", "Ag").is_err() && with("e", "AQAAAAAB").is_err());
        let short = RsaKeyPair::generate(1024).unwrap().to_jwk_public_key();
        let refused = PublicKey::from_jwk(&Json::Object(short.as_ref().clone())).unwrap_err().to_string();
        assert!(refused.contains("1024 bits"), "{refused}");
        let long = URL_SAFE_NO_PAD.encode([0xff; 1024]);
        assert!(with("n", &long).unwrap_err().to_string().contains("8192 bits"));

        let pair = EcKeyPair::generate(EcCurve::P384).unwrap();
        let (public, private) = (pair.to_jwk_public_key(), pair.to_jwk_private_key());
        let public = Json::Object(public.as_ref().clone());
        let key = PublicKey::from_jwk(&public).unwrap();
        assert_eq!(key.verify(&sign(&ES384.signer_from_jwk(&private).unwrap())).unwrap(), b"p");
        assert!(PrivateKey::from_jwk(&Json::Object(private.as_ref().clone())).is_err());
        let mut off = public;
        off["y"] = off["x"].clone();
        assert!(PublicKey::from_jwk(&off).is_err(), "not on the curve");
    }

    #[test]
    fn other_key_types_are_refused() {
        for jwk in
            [json!({"kty": "oct", "k": "AAAA"}), json!({"kty": "RSA"}), json!({"kty": "EC", "crv": "P-521"})]
        {
            assert!(PublicKey::from_jwk(&jwk).is_err());
        }
    }

    /// Every encoding of a point of small order: the eight points, and what else decodes to one of them.
    const SMALL_ORDER: [&str; 14] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];

    fn unhex(text: &str) -> Vec<u8> {
        let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        text.as_bytes().chunks(2).map(digits).collect()
    }

    #[test]
    fn keys_of_small_order_are_refused_wherever_a_key_is_read() {
        for text in SMALL_ORDER {
            let raw = unhex(text);
            assert!(PublicKey::from_jwk(&ed25519_jwk(&raw)).is_err(), "{text}");
            let multibase =
                format!("z{}", bs58::encode([&[0xed, 0x01], raw.as_slice()].concat()).into_string());
            assert!(crate::did::key_document(&format!("did:key:{multibase}")).is_err(), "{text}");
            let did = "did:web:a.example";
            for key in [json!({"publicKeyJwk": ed25519_jwk(&raw)}), json!({"publicKeyMultibase": multibase})]
            {
                let mut method = key;
                method["id"] = json!("#k");
                let document = json!({"id": did, "verificationMethod": [method], "assertionMethod": ["#k"]});
                let document = crate::did::DidDocument::parse(document, did).unwrap();
                assert!(document.key(None, crate::did::Relationship::AssertionMethod).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn a_signature_that_would_hold_for_every_message_holds_for_none() {
        // R the neutral element and s zero: under a key of small order OpenSSL takes that for many messages or for all.
        let mut signature = unhex(SMALL_ORDER[0]);
        signature.extend([0; 32]);
        for text in SMALL_ORDER {
            let jwk = ed25519_jwk(&unhex(text));
            for message in 0..16 {
                let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"x"}"#);
                let payload = URL_SAFE_NO_PAD.encode(message.to_string());
                let jws = format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(&signature));
                assert!(PublicKey::from_jwk(&jwk).and_then(|key| key.verify(&jws)).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn a_key_has_one_encoding_and_a_signature_one_number() {
        // y = p + 3 and p + 4 are points of large order, once their first byte is taken modulo p.
        for first in 0xed_u8..=0xff {
            for last in [0x7f_u8, 0xff] {
                let mut raw = [0xff_u8; 32];
                (raw[0], raw[31]) = (first, last);
                assert!(PublicKey::from_jwk(&ed25519_jwk(&raw)).is_err(), "{first:x} {last:x}");
            }
        }
        let private = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let jws = private.sign("x", "JWT", b"p").unwrap();
        let (signed, signature) = jws.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        // The order of the base point, little-endian.
        let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut carry = 0;
        for (byte, add) in bytes[32..].iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(add);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        let key = PublicKey::from_jwk(private.public_jwk()).unwrap();
        assert!(key.verify(&jws).is_ok());
        assert!(key.verify(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&bytes))).is_err());
        bytes[..32].copy_from_slice(&unhex(SMALL_ORDER[0]));
        assert!(key.verify(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&bytes))).is_err());
    }

    #[test]
    fn p_256_keys_are_points_of_the_curve_and_signatures_are_not_zero() {
        let private = PrivateKey::generate(Algorithm::P256).unwrap();
        let part = |name: &str| URL_SAFE_NO_PAD.decode(private.public_jwk()[name].as_str().unwrap()).unwrap();
        let (x, y) = (part("x"), part("y"));
        let jwk = |x: &[u8], y: &[u8]| {
            let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
        };
        assert!(PublicKey::from_jwk(&jwk(&x, &y)).is_ok());
        let mut other = y.clone();
        other[31] ^= 1;
        for (x, y) in [
            (&x[..], &other[..]),
            (&x[..], &[0_u8; 32][..]),
            (&[0; 32], &[0; 32]),
            (&[0xff; 32], &y),
            (&x[..31], &y),
            (&x, &[&y[..], &[0]].concat()),
        ] {
            assert!(PublicKey::from_jwk(&jwk(x, y)).is_err());
        }
        for point in [[0_u8; 33].as_slice(), &[[2].as_slice(), &[0xff; 32]].concat(), &[0], &[4; 65]] {
            assert!(PublicKey::from_p256_point(point).is_err());
        }
        let jws = private.sign("x", "JWT", b"p").unwrap();
        let (signed, signature) = jws.rsplit_once('.').unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = PublicKey::from_jwk(private.public_jwk()).unwrap();
        let zero = [0_u8; 32];
        for forged in [[zero, zero].concat(), [&bytes[..32], &zero].concat(), [&zero, &bytes[32..]].concat()]
        {
            assert!(key.verify(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(forged))).is_err());
        }
    }
}
