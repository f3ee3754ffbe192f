//! Self-issued ID tokens (DCP 1.0.1, Base Concepts): made, and checked by every step of the validation list.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::did::{self, DidDocument, Relationship};
use crate::error::TrustError;
use crate::jose::{self, PrivateKey};

/// How long a token of ours is good, in seconds; one is made for each message.
pub const LIFETIME: i64 = 60;
/// The longest lifetime accepted from a peer, in seconds; it bounds how long a `jti` must be remembered.
pub const MAX_LIFETIME: i64 = 3600;
/// Clock skew allowed between nodes, in seconds.
pub const SKEW: i64 = 30;

/// Makes a token of `did` for `audience`; with `access`, the audience may ask for credentials (section 4.3.1).
///
/// # Errors
/// The key could not sign.
pub fn issue(
    key: &PrivateKey,
    kid: &str,
    did: &str,
    audience: &str,
    jti: &str,
    access: Option<&str>,
    now: Timestamp,
) -> Result<String, TrustError> {
    let at = now.as_second();
    let mut claims = json!({
        "iss": did, "sub": did, "aud": audience, "jti": jti,
        "iat": at, "nbf": at, "exp": at.saturating_add(LIFETIME),
    });
    if let (Some(access), Some(map)) = (access, claims.as_object_mut()) {
        map.insert("token".to_owned(), json!(access));
    }
    key.sign(kid, "JWT", claims.to_string().as_bytes())
}

/// Who a token says it is from: not to be believed yet, only to fetch the right DID document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    compact: String,
    did: String,
    kid: Option<String>,
}

/// A caller whose token held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    did: String,
    jti: String,
    expires: i64,
    access: Option<String>,
}

impl Caller {
    /// What the caller gave along so that it can be asked for credentials (`token`).
    #[must_use]
    pub fn access(&self) -> Option<&str> {
        self.access.as_deref()
    }

    /// The participant.
    #[must_use]
    pub fn did(&self) -> &str {
        &self.did
    }

    /// To be remembered until [`Caller::expires`]: a second token with it is a replay.
    #[must_use]
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// Seconds since 1970 after which the token is refused for its age, skew included.
    #[must_use]
    pub const fn expires(&self) -> i64 {
        self.expires
    }
}

impl Claimed {
    /// Reads a compact JWT without believing it.
    ///
    /// # Errors
    /// Not a JWT, too large, `iss` is not `sub`, or its `kid` belongs to another DID.
    pub fn read(compact: &str) -> Result<Self, TrustError> {
        let (header, payload) = jose::peek(compact)?;
        // What was signed for another end is no token, whatever its claims are (RFC 8725, section 3.11).
        match header.get("typ") {
            None => {}
            Some(Json::String(typ)) if jose::media_type(typ) == "jwt" => {}
            Some(typ) => return Err(refuse(&format!("its `typ` is {typ}, which is no ID token"))),
        }
        let claims: Json = serde_json::from_slice(&payload).map_err(|_| refuse("its payload is not JSON"))?;
        let did = text(&claims, "iss")?;
        if text(&claims, "sub")? != did {
            return Err(refuse("`iss` and `sub` differ"));
        }
        let kid = match header.get("kid") {
            None => None,
            Some(Json::String(kid)) if did::owns(&did, kid) => Some(kid.clone()),
            Some(_) => return Err(refuse("its `kid` is not a key of its `iss`")),
        };
        Ok(Self { compact: compact.to_owned(), did, kid })
    }

    /// Whose document is needed.
    #[must_use]
    pub fn did(&self) -> &str {
        &self.did
    }

    /// When it says that it was issued.
    ///
    /// # Errors
    /// It does not say.
    pub fn issued_at(&self) -> Result<Timestamp, TrustError> {
        let (_, payload) = jose::peek(&self.compact)?;
        let claims: Json = serde_json::from_slice(&payload).map_err(|_| refuse("its payload is not JSON"))?;
        Timestamp::from_second(seconds(&claims, "iat")?).map_err(|_| refuse("its `iat` is no time"))
    }

    /// Checks the token against its issuer's document; one that is good for more than `longest` seconds, at most
    /// [`MAX_LIFETIME`], is refused. Whether `jti` was used before is for the caller to ask.
    ///
    /// # Errors
    /// Any step of the validation list fails; the reason is for the operator.
    pub fn verify(
        &self,
        document: &DidDocument,
        audience: &str,
        now: Timestamp,
        longest: i64,
    ) -> Result<Caller, TrustError> {
        if document.id() != self.did {
            return Err(refuse("the document is of another DID"));
        }
        let key = document.key(self.kid.as_deref(), Relationship::CapabilityInvocation)?;
        let payload = key.verify(&self.compact)?;
        let claims: Json = serde_json::from_slice(&payload).map_err(|_| refuse("its payload is not JSON"))?;
        let for_us = match claims.get("aud") {
            Some(Json::String(aud)) => aud == audience,
            Some(Json::Array(list)) => matches!(list.as_slice(), [only] if only.as_str() == Some(audience)),
            _ => false,
        };
        if !for_us {
            return Err(refuse("its `aud` is not this participant"));
        }
        let at = now.as_second();
        let (issued, expires) = (seconds(&claims, "iat")?, seconds(&claims, "exp")?);
        if at >= expires.saturating_add(SKEW) {
            return Err(refuse("it has expired"));
        }
        if issued > at.saturating_add(SKEW) {
            return Err(refuse("it was issued in the future; is a clock wrong?"));
        }
        let longest = longest.min(MAX_LIFETIME);
        if expires.saturating_sub(issued) > longest {
            return Err(refuse(&format!("it is good for longer than {longest} seconds")));
        }
        if claims.get("nbf").is_some() && seconds(&claims, "nbf")? > at.saturating_add(SKEW) {
            return Err(refuse("it is not valid yet; is a clock wrong?"));
        }
        let jti = text(&claims, "jti")?;
        if jti.is_empty() || jti.len() > 256 {
            return Err(refuse("its `jti` is empty or longer than 256 bytes"));
        }
        let access = claims.get("token").and_then(Json::as_str).map(str::to_owned);
        Ok(Caller { did: self.did.clone(), jti, expires: expires.saturating_add(SKEW), access })
    }
}

fn refuse(reason: &str) -> TrustError {
    TrustError::Token(reason.to_owned())
}

fn text(claims: &Json, name: &str) -> Result<String, TrustError> {
    match claims.get(name) {
        Some(Json::String(text)) => Ok(text.clone()),
        Some(_) => Err(refuse(&format!("its `{name}` is not a string"))),
        None => Err(refuse(&format!("it has no `{name}`"))),
    }
}

/// A NumericDate; fractions are cut off.
pub(crate) fn seconds(claims: &Json, name: &str) -> Result<i64, TrustError> {
    let value = claims.get(name).ok_or_else(|| refuse(&format!("it has no `{name}`")))?;
    match (value.as_i64(), value.as_f64()) {
        (Some(whole), _) => Ok(whole),
        #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "range checked")]
        (None, Some(fraction)) if fraction.abs() < 1e15 => Ok(fraction as i64),
        _ => Err(refuse(&format!("its `{name}` is not a number of seconds"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;

    const DID: &str = "did:web:a.example";
    const KID: &str = "did:web:a.example#k";
    const AUD: &str = "did:web:b.example";

    fn setup() -> (PrivateKey, DidDocument, Timestamp) {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let document = DidDocument::of_node(DID, KID, key.public_jwk(), &[]);
        (key, document, Timestamp::from_second(1_800_000_000).unwrap())
    }

    fn check(
        key: &PrivateKey,
        document: &DidDocument,
        kid: &str,
        claims: &Json,
        now: Timestamp,
    ) -> Result<Caller, String> {
        let compact = key.sign(kid, "JWT", claims.to_string().as_bytes()).unwrap();
        Claimed::read(&compact)
            .and_then(|claimed| claimed.verify(document, AUD, now, MAX_LIFETIME))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_of_ours_holds() {
        let (key, document, now) = setup();
        let compact = issue(&key, KID, DID, AUD, "j1", None, now).unwrap();
        let caller = Claimed::read(&compact).unwrap().verify(&document, AUD, now, MAX_LIFETIME).unwrap();
        assert_eq!((caller.did(), caller.jti()), (DID, "j1"));
        assert_eq!(caller.expires(), now.as_second() + LIFETIME + SKEW);
    }

    #[test]
    fn every_refusal_of_the_validation_list() {
        let (key, document, now) = setup();
        let at = now.as_second();
        let good =
            json!({"iss": DID, "sub": DID, "aud": AUD, "jti": "j", "iat": at, "nbf": at, "exp": at + 60});
        assert!(check(&key, &document, KID, &good, now).is_ok());
        let cases = [
            ("sub", json!("did:web:c.example"), "`iss` and `sub` differ"),
            ("aud", json!("did:web:c.example"), "`aud` is not this participant"),
            ("aud", json!([AUD, "did:web:c.example"]), "`aud` is not this participant"),
            ("exp", json!(at - 31), "has expired"),
            ("exp", json!(at + 4000), "longer than 3600 seconds"),
            ("iat", json!(at + 31), "issued in the future"),
            ("nbf", json!(at + 31), "not valid yet"),
            ("jti", json!(""), "`jti` is empty"),
            ("jti", json!(null), "`jti` is not a string"),
            ("iat", json!("today"), "`iat` is not a number"),
            ("exp", json!(null), "`exp` is not a number"),
        ];
        for (name, value, expected) in cases {
            let mut claims = good.clone();
            claims[name] = value;
            let error = check(&key, &document, KID, &claims, now).unwrap_err();
            assert!(error.contains(expected), "{name}: {error}");
        }
        for name in ["iss", "sub", "aud", "jti", "iat", "exp"] {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(name);
            assert!(check(&key, &document, KID, &claims, now).is_err(), "without {name}");
        }
        let error = check(&key, &document, "did:web:c.example#k", &good, now).unwrap_err();
        assert!(error.contains("`kid` is not a key of its `iss`"), "{error}");
        let (other, _, _) = setup();
        assert!(check(&other, &document, KID, &good, now).unwrap_err().contains("signature does not hold"));
    }

    /// Exchanging the uses of keys must fail: a key that signs statements alone says nothing of who calls.
    #[test]
    fn a_token_is_signed_by_a_key_for_tokens_and_is_what_its_header_says() {
        let (key, document, now) = setup();
        let at = now.as_second();
        let good = json!({"iss": DID, "sub": DID, "aud": AUD, "jti": "j", "iat": at, "exp": at + 60});
        let with = |relationship: &str| {
            let mut json = document.json().clone();
            json[relationship] = json!([]);
            DidDocument::parse(json, DID).unwrap()
        };
        let error = check(&key, &with("capabilityInvocation"), KID, &good, now).unwrap_err();
        assert!(error.contains("not under `capabilityInvocation`"), "{error}");
        for other in ["authentication", "assertionMethod"] {
            assert!(check(&key, &with(other), KID, &good, now).is_ok(), "{other} is for others");
        }
        for typ in ["vp+jwt", "vc+jwt", "concordat-agreement+jws"] {
            let compact = key.sign(KID, typ, good.to_string().as_bytes()).unwrap();
            assert!(
                Claimed::read(&compact).unwrap_err().to_string().contains("which is no ID token"),
                "{typ}"
            );
        }
        let critical = key.sign_critically(KID, good.to_string().as_bytes()).unwrap();
        let read = Claimed::read(&critical).and_then(|one| one.verify(&document, AUD, now, MAX_LIFETIME));
        assert!(read.is_err(), "what must be understood is not");
        // Without `kid` the only key counts; of several none does.
        let without = key.sign_without_key_id("JWT", good.to_string().as_bytes()).unwrap();
        let read = |document: &DidDocument| {
            Claimed::read(&without).unwrap().verify(document, AUD, now, MAX_LIFETIME)
        };
        assert!(read(&document).is_ok());
        assert!(
            read(&document.with_another_key())
                .unwrap_err()
                .to_string()
                .contains("2 keys and the token names none")
        );
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        for text in ["", "a.b", "a.b.c", "....", "e30.e30.e30", &"x".repeat(20_000)] {
            assert!(Claimed::read(text).is_err());
        }
    }
}
