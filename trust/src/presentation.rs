//! Verifiable presentations as JWT: credentials that their holder shows to one verifier (DCP 1.0.1, section 5).

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::credential::{Profile, V1, V2};
use crate::did::{self, DidDocument, Relationship};
use crate::error::TrustError;
use crate::jose::{self, PrivateKey};
use crate::token::SKEW;

/// How long a presentation of ours is good, in seconds.
pub const LIFETIME: i64 = 300;
/// Most credentials in one presentation.
pub const MAX_CREDENTIALS: usize = 32;

/// Shows `credentials` (compact JWT) of `holder` to `verifier`, in the data model of `profile`: as the claim `vp` (1.1), or
/// as the payload itself with enveloped credentials (2.0, `vp+jwt`).
///
/// # Errors
/// The key could not sign.
pub fn make(
    key: &PrivateKey,
    kid: &str,
    to: &Audience<'_>,
    credentials: &[String],
    profile: Profile,
    now: Timestamp,
) -> Result<String, TrustError> {
    let at = now.as_second();
    let mut claims = json!({
        "iss": to.holder, "sub": to.holder, "aud": to.verifier, "jti": to.jti,
        "iat": at, "nbf": at, "exp": at.saturating_add(LIFETIME),
    });
    let envelope = |jwt: &String| {
        json!({
            "@context": V2, "type": "EnvelopedVerifiableCredential", "id": format!("data:application/vc+jwt,{jwt}"),
        })
    };
    let (context, shown) = match profile {
        Profile::V1 => (V1, json!(credentials)),
        Profile::V2 => (V2, credentials.iter().map(envelope).collect()),
    };
    let presentation = json!({
        "@context": [context], "type": ["VerifiablePresentation"], "holder": to.holder, "verifiableCredential": shown,
    });
    if let Json::Object(map) = &mut claims {
        match (profile, presentation) {
            (Profile::V2, Json::Object(presentation)) => map.extend(presentation),
            (_, presentation) => drop(map.insert("vp".to_owned(), presentation)),
        }
    }
    let typ = match profile {
        Profile::V1 => "JWT",
        Profile::V2 => "vp+jwt",
    };
    key.sign(kid, typ, claims.to_string().as_bytes())
}

/// Whose presentation it is, for whom, and which.
#[derive(Debug, Clone, Copy)]
pub struct Audience<'a> {
    /// The holder's DID.
    pub holder: &'a str,
    /// The verifier's DID.
    pub verifier: &'a str,
    /// The presentation's id.
    pub jti: &'a str,
}

/// The credentials in a presentation, once it is shown to hold: signed by `holder`, for `verifier`, now. It is a compact JWT, or
/// one around another as VC-JOSE-COSE envelopes it (`data:application/vp+jwt,...`).
///
/// An enveloped presentation may lack `iss`, `aud` and `exp`, as that of Eclipse EDC does: it counts only as the answer to a
/// query of ours, from the address that the holder's DID document names, and its credentials are the holder's own or nobody's.
///
/// # Errors
/// Any of that does not hold.
pub fn open(
    presentation: &Json,
    holder: &DidDocument,
    verifier: &str,
    now: Timestamp,
) -> Result<Vec<String>, TrustError> {
    let (claims, is_enveloped) = match presentation {
        Json::String(compact) => {
            let claims = verified(compact, holder)?;
            match enveloped(&claims) {
                None => (claims, false),
                Some(inner) => {
                    check_claims(&claims, holder, verifier, now, true)?;
                    (verified(inner, holder)?, true)
                }
            }
        }
        other => {
            let inner =
                enveloped(other).ok_or_else(|| refuse("it is neither a JWT nor one in an envelope"))?;
            (verified(inner, holder)?, true)
        }
    };
    check_claims(&claims, holder, verifier, now, is_enveloped)?;
    shown(&claims, holder)
}

/// The claims of a JWT that `holder` signed.
fn verified(compact: &str, holder: &DidDocument) -> Result<Json, TrustError> {
    let (header, _) = jose::peek(compact)?;
    let kid = match header.get("kid") {
        None => None,
        Some(Json::String(kid)) if did::owns(holder.id(), kid) => Some(kid.as_str()),
        Some(_) => return Err(refuse("its `kid` is not a key of the holder")),
    };
    let payload = holder.key(kid, Relationship::Authentication)?.verify(compact)?;
    serde_json::from_slice(&payload).map_err(|_| refuse("its payload is not JSON"))
}

/// The JWT in an enveloped presentation.
fn enveloped(presentation: &Json) -> Option<&str> {
    let presentation = presentation.get("vp").unwrap_or(presentation);
    let is_envelope = |kind: &Json| kind.as_str() == Some("EnvelopedVerifiablePresentation");
    let found = match presentation.get("type").or_else(|| presentation.get("@type"))? {
        Json::Array(all) => all.iter().any(is_envelope),
        one => is_envelope(one),
    };
    let address = presentation.get("id").filter(|_| found)?.as_str()?;
    let (kind, jwt) = address.strip_prefix("data:")?.split_once(',')?;
    (kind == "application/vp+jwt").then_some(jwt)
}

fn check_claims(
    claims: &Json,
    holder: &DidDocument,
    verifier: &str,
    now: Timestamp,
    is_enveloped: bool,
) -> Result<(), TrustError> {
    let text = |name: &str| claims.get(name).and_then(Json::as_str);
    let lacks = |name: &str| is_enveloped && claims.get(name).is_none();
    if !lacks("iss") && text("iss") != Some(holder.id()) || text("sub").is_some_and(|sub| sub != holder.id())
    {
        return Err(refuse("it is not the holder's own"));
    }
    let for_us = match claims.get("aud") {
        Some(Json::String(aud)) => aud == verifier,
        Some(Json::Array(all)) => matches!(all.as_slice(), [only] if only.as_str() == Some(verifier)),
        _ => lacks("aud"),
    };
    if !for_us {
        return Err(refuse("its `aud` is not this participant"));
    }
    let seconds = |name: &str| claims.get(name).and_then(Json::as_i64);
    let at = now.as_second();
    if !lacks("exp") && seconds("exp").is_none_or(|exp| at >= exp.saturating_add(SKEW)) {
        return Err(refuse("it has expired, or does not say when it will"));
    }
    if ["nbf", "iat"].into_iter().filter_map(seconds).any(|begin| begin > at.saturating_add(SKEW)) {
        return Err(refuse("it is not valid yet"));
    }
    Ok(())
}

/// The credentials that the claims of a presentation show.
fn shown(claims: &Json, holder: &DidDocument) -> Result<Vec<String>, TrustError> {
    // A payload is the presentation itself (VC 2.0), or has it as `vp`, or several as a list.
    let presentations = match claims.get("vp") {
        None => std::slice::from_ref(claims),
        Some(Json::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let mut found = Vec::new();
    for presentation in presentations {
        if presentation.get("holder").is_some_and(|named| named.as_str() != Some(holder.id())) {
            return Err(refuse("its `holder` is another than who signed it"));
        }
        let credentials = match presentation.get("verifiableCredential") {
            None => &[],
            Some(Json::Array(all)) => all.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        for credential in credentials {
            // An enveloped credential (VC 2.0) is a data URL with the JWT.
            let jwt = credential
                .as_str()
                .or_else(|| credential.get("id")?.as_str()?.split_once(',').map(|(_, jwt)| jwt));
            // What is not a JWT cannot be checked, and spoils nothing beside it.
            found.extend(jwt.map(str::to_owned));
            if found.len() > MAX_CREDENTIALS {
                return Err(refuse(&format!("it has more than {MAX_CREDENTIALS} credentials")));
            }
        }
    }
    Ok(found)
}

fn refuse(reason: &str) -> TrustError {
    TrustError::Presentation(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;

    #[test]
    fn a_presentation_is_for_one_verifier_and_a_short_time() {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let (holder, kid) = ("did:web:h.example", "did:web:h.example#k");
        let document = DidDocument::of_node(holder, kid, key.public_jwk(), &[]);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let later = |seconds| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let to = Audience { holder, verifier: "did:web:v", jti: "j" };
        let to_v = |profile| make(&key, kid, &to, &["a.b.c".to_owned()], profile, now).unwrap();
        let shown = to_v(Profile::V1);
        for profile in Profile::ALL {
            assert_eq!(open(&json!(to_v(profile)), &document, "did:web:v", now).unwrap(), ["a.b.c"]);
        }
        let refused =
            |verifier: &str, at| open(&json!(shown), &document, verifier, at).unwrap_err().to_string();
        assert!(refused("did:web:other", now).contains("`aud`"));
        assert!(refused("did:web:v", later(LIFETIME + SKEW)).contains("expired"));
        assert!(refused("did:web:v", later(-31)).contains("not valid yet"));
        let other = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let forged = make(&other, kid, &to, &[], Profile::V2, now).unwrap();
        assert!(open(&json!(forged), &document, "did:web:v", now).is_err());
        let stolen = make(&key, kid, &Audience { holder: "did:web:x", ..to }, &[], Profile::V1, now).unwrap();
        assert!(
            open(&json!(stolen), &document, "did:web:v", now)
                .unwrap_err()
                .to_string()
                .contains("not the holder's own")
        );
    }

    /// As EDC writes presentations of the data model 2.0: an envelope, without `iss`, `aud` and `exp`.
    #[test]
    fn an_enveloped_presentation_is_the_holders_own() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let (holder, kid, verifier) = ("did:web:h.example", "did:web:h.example#k", "did:web:v");
        let document = DidDocument::of_node(holder, kid, key.public_jwk(), &[]);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let sign =
            |key: &PrivateKey, claims: Json| key.sign(kid, "vp+jwt", claims.to_string().as_bytes()).unwrap();
        let envelope = |jwt: &str| json!({"@context": [V2], "type": "EnvelopedVerifiablePresentation", "id": format!("data:application/vp+jwt,{jwt}")});
        let presentation = json!({"@context": [V2], "type": ["VerifiablePresentation"], "verifiableCredential": [
            {"id": "data:application/vc+jwt,a.b.c", "type": "EnvelopedVerifiableCredential"}, {"a": "document with a proof"}]});
        let inner = sign(&key, presentation.clone());
        for form in [envelope(&inner), json!(sign(&key, envelope(&inner)))] {
            assert_eq!(open(&form, &document, verifier, now).unwrap(), ["a.b.c"]);
        }
        // Outside an envelope the claims are demanded, and what is there must fit everywhere.
        assert!(open(&json!(inner), &document, verifier, now).is_err());
        let with = |name: &str, value: Json| {
            let mut claims = presentation.clone();
            claims[name] = value;
            open(&envelope(&sign(&key, claims)), &document, verifier, now)
        };
        assert!(with("aud", json!(verifier)).is_ok());
        for (name, value) in [
            ("aud", json!("did:web:other")),
            ("iss", json!("did:web:other")),
            ("exp", json!(1)),
            ("iat", json!(1_800_000_900)),
            ("holder", json!("did:web:other")),
        ] {
            assert!(with(name, value).is_err(), "{name}");
        }
        let other = PrivateKey::generate(Algorithm::P256).unwrap();
        assert!(
            open(&envelope(&sign(&other, presentation)), &document, verifier, now).is_err(),
            "another's key"
        );
        assert!(
            open(&json!(sign(&other, envelope(&inner))), &document, verifier, now).is_err(),
            "another's envelope"
        );
    }
}
