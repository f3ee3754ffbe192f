//! Verifiable presentations as JWT: credentials that their holder shows to one verifier (DCP 1.0.1, section 5).

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use crate::credential::{Profile, V1, V2, instant, is_vc};
use crate::did::{self, DidDocument, Relationship};
use crate::error::TrustError;
use crate::jose::{self, PrivateKey};
use crate::token::{self, SKEW};

/// How long a presentation of ours is good, in seconds.
pub const LIFETIME: i64 = 300;
/// Most credentials in one presentation.
pub const MAX_CREDENTIALS: usize = 32;
/// Longest presentation that is read, in bytes.
pub const MAX_PRESENTATION: usize = 256 * 1024;

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
        "iat": at, "exp": at.saturating_add(LIFETIME),
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
    let mut presentation = Map::new();
    presentation.insert("@context".to_owned(), json!([context]));
    presentation.insert("type".to_owned(), json!(["VerifiablePresentation"]));
    presentation.insert("holder".to_owned(), json!(to.holder));
    // Where it is there, it has one at least (VC 1.1, section 4.10; VC 2.0, section 4.13).
    if !credentials.is_empty() {
        presentation.insert("verifiableCredential".to_owned(), shown);
    }
    if let Json::Object(map) = &mut claims {
        match profile {
            // Its own time is that of its envelope; `nbf` is not recommended there (VC-JOSE-COSE, section 3.2.3).
            Profile::V2 => map.extend(presentation),
            Profile::V1 => {
                // `jti` is its id (VC 1.1, section 6.3.1), which is a URI.
                if to.jti.contains(':') {
                    presentation.insert("id".to_owned(), json!(to.jti));
                }
                map.insert("nbf".to_owned(), json!(at));
                map.insert("vp".to_owned(), Json::Object(presentation));
            }
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
/// A presentation of the data model 2.0 may lack `iss`, `aud` and `exp`, as that of Eclipse EDC does, where its `kid` is a DID URL of
/// the holder or it is in an envelope (VC-JOSE-COSE, section 4.1.2): it counts only as the answer to a query of ours over TLS, from the
/// address that the holder's DID document names, and its credentials are the holder's own or nobody's.
///
/// # Errors
/// Any of that does not hold.
pub fn open(
    presentation: &Json,
    holder: &DidDocument,
    verifier: &str,
    now: Timestamp,
) -> Result<Vec<String>, TrustError> {
    let jwt = match presentation {
        Json::String(compact) => {
            let outer = verified(compact, holder)?;
            let Some(inner) = enveloped(&outer.claims) else {
                check_claims(&outer, holder, verifier, now)?;
                return shown(&outer.claims, holder, now);
            };
            check_claims(&Verified { may_lack: true, ..outer.clone() }, holder, verifier, now)?;
            verified(inner, holder)?
        }
        other => {
            let inner =
                enveloped(other).ok_or_else(|| refuse("it is neither a JWT nor one in an envelope"))?;
            verified(inner, holder)?
        }
    };
    let inner = Verified { may_lack: true, ..jwt };
    check_claims(&inner, holder, verifier, now)?;
    shown(&inner.claims, holder, now)
}

/// The claims of a JWT that its holder signed.
#[derive(Debug, Clone)]
struct Verified {
    claims: Json,
    /// Who it is of, for whom and until when may be left to the answer that it stands in.
    may_lack: bool,
}

fn verified(compact: &str, holder: &DidDocument) -> Result<Verified, TrustError> {
    let (header, _) = jose::peek_within(compact, MAX_PRESENTATION)?;
    let kid = match header.get("kid") {
        None => None,
        Some(Json::String(kid)) if did::owns(holder.id(), kid) => Some(kid.as_str()),
        Some(_) => return Err(refuse("its `kid` is not a key of the holder")),
    };
    let key = holder.key(kid, Relationship::Authentication)?;
    let payload = key.verify_within(compact, MAX_PRESENTATION)?;
    let claims: Json = serde_json::from_slice(&payload).map_err(|_| refuse("its payload is not JSON"))?;
    let is_claim = claims.get("vp").is_some();
    match header.get("typ").map(|typ| typ.as_str().map(jose::media_type)) {
        None => {}
        Some(Some(typ)) if typ == "jwt" => {}
        Some(Some(typ)) if is_vp(&typ) && !is_claim => {}
        Some(Some(typ)) if is_vp(&typ) => {
            return Err(refuse(
                "its `typ` says that its payload is the presentation, and it has a claim `vp`",
            ));
        }
        Some(typ) => {
            let typ = typ.unwrap_or_default();
            return Err(refuse(&format!("its `typ` is `{typ}`, which is no presentation")));
        }
    }
    let names_holder = kid.is_some_and(|kid| !kid.starts_with('#'));
    Ok(Verified { may_lack: names_holder && !is_claim, claims })
}

/// Whether a media type is that of a presentation in a JWT; the name in drafts is `vp+ld+jwt`.
fn is_vp(kind: &str) -> bool {
    ["vp+jwt", "vp+ld+jwt", "vp-ld+jwt", "vp+ld+json+jwt"].contains(&kind)
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
    is_vp(&jose::media_type(kind)).then_some(jwt)
}

fn check_claims(
    Verified { claims, may_lack }: &Verified,
    holder: &DidDocument,
    verifier: &str,
    now: Timestamp,
) -> Result<(), TrustError> {
    let text = |name: &str| claims.get(name).and_then(Json::as_str);
    let lacks = |name: &str| *may_lack && claims.get(name).is_none();
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
    let seconds = |name: &str| claims.get(name).map(|_| token::seconds(claims, name)).transpose();
    let at = now.as_second();
    if !lacks("exp") && seconds("exp")?.is_none_or(|exp| at >= exp.saturating_add(SKEW)) {
        return Err(refuse("it has expired, or does not say when it will"));
    }
    for begin in [seconds("nbf")?, seconds("iat")?].into_iter().flatten() {
        if begin > at.saturating_add(SKEW) {
            return Err(refuse("it is not valid yet"));
        }
    }
    Ok(())
}

/// What the data model demands of a presentation: its context and type, its holder, and that it has not ended. Where it is a claim of
/// its own (1.1), that claim says what it is, whatever else does.
fn check_model(
    presentation: &Json,
    is_claim: bool,
    holder: &DidDocument,
    now: Timestamp,
) -> Result<(), TrustError> {
    let has = |name: &str, wanted: &[&str]| match presentation.get(name) {
        Some(Json::Array(all)) => all.iter().any(|one| one.as_str().is_some_and(|one| wanted.contains(&one))),
        Some(one) => one.as_str().is_some_and(|one| wanted.contains(&one)),
        None => false,
    };
    if !is_claim && !has("@context", &[V1, V2]) {
        return Err(refuse("its `@context` names neither data model of the W3C"));
    }
    if !is_claim && !has("type", &["VerifiablePresentation"]) {
        return Err(refuse("its `type` does not name a `VerifiablePresentation`"));
    }
    // A DID, or an object that has it as `id` (VC 2.0, section 4.13).
    let named = presentation.get("holder").map(|named| named.as_str().or_else(|| named.get("id")?.as_str()));
    if named.is_some_and(|named| named != Some(holder.id())) {
        return Err(refuse("its `holder` is another than who signed it"));
    }
    for name in ["validUntil", "expirationDate"] {
        let Some(end) = presentation.get(name) else { continue };
        if end.as_str().and_then(instant).is_none_or(|end| end <= now) {
            return Err(refuse(&format!("its `{name}` is past, or no date with time")));
        }
    }
    Ok(())
}

/// The JWT of a credential in a presentation: as text (VC 1.1), or enveloped as a data URL (VC 2.0). What is neither cannot be
/// checked, and spoils nothing beside it.
fn jwt_of(credential: &Json) -> Option<&str> {
    if let Some(compact) = credential.as_str() {
        return Some(compact);
    }
    let is_envelope = |kind: &Json| kind.as_str() == Some("EnvelopedVerifiableCredential");
    let named = match credential.get("type")? {
        Json::Array(all) => all.iter().any(is_envelope),
        one => is_envelope(one),
    };
    let data = credential.get("id").filter(|_| named)?.as_str()?.strip_prefix("data:")?;
    // Drafts of VC-JOSE-COSE have a semicolon there.
    let (kind, jwt) = data.split_once(',').or_else(|| data.split_once(';'))?;
    is_vc(&jose::media_type(kind)).then_some(jwt)
}

/// The credentials that the claims of a presentation show.
fn shown(claims: &Json, holder: &DidDocument, now: Timestamp) -> Result<Vec<String>, TrustError> {
    // A payload is the presentation itself (VC 2.0), or has it as `vp`, or several as a list.
    let presentations = match claims.get("vp") {
        None => std::slice::from_ref(claims),
        Some(Json::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let mut found = Vec::new();
    for presentation in presentations {
        check_model(presentation, claims.get("vp").is_some(), holder, now)?;
        let credentials = match presentation.get("verifiableCredential") {
            None => &[],
            Some(Json::Array(all)) => all.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        found.extend(credentials.iter().filter_map(jwt_of).map(str::to_owned));
        if found.len() > MAX_CREDENTIALS {
            return Err(refuse(&format!("it has more than {MAX_CREDENTIALS} credentials")));
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

    /// What each data model demands of what is sent (VC-JOSE-COSE, sections 3.2.2 and 3.2.3; VC 1.1, section 6.3.1).
    #[test]
    fn a_presentation_is_written_as_its_data_model_has_it() {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let (holder, kid) = ("did:web:h.example", "did:web:h.example#k");
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let to = Audience { holder, verifier: "did:web:v", jti: "urn:j" };
        let made = |credentials: &[String], profile| {
            let compact = make(&key, kid, &to, credentials, profile, now).unwrap();
            let (header, payload) = jose::peek(&compact).unwrap();
            (header, serde_json::from_slice::<Json>(&payload).unwrap())
        };
        let some = ["a.b.c".to_owned()];
        let (header, of_v2) = made(&some, Profile::V2);
        assert_eq!((&header["typ"], &header["kid"]), (&json!("vp+jwt"), &json!(kid)));
        assert_eq!((&of_v2["@context"], &of_v2["type"]), (&json!([V2]), &json!(["VerifiablePresentation"])));
        assert!(of_v2.get("vp").is_none() && of_v2.get("nbf").is_none(), "{of_v2}");
        assert_eq!(
            of_v2["verifiableCredential"],
            json!([{"@context": V2, "type": "EnvelopedVerifiableCredential", "id": "data:application/vc+jwt,a.b.c"}])
        );
        let (header, of_v1) = made(&some, Profile::V1);
        assert_eq!((&header["typ"], &of_v1["vp"]["@context"]), (&json!("JWT"), &json!([V1])));
        assert_eq!((&of_v1["jti"], &of_v1["vp"]["id"]), (&json!("urn:j"), &json!("urn:j")));
        assert_eq!(of_v1["vp"]["verifiableCredential"], json!(some));
        for profile in Profile::ALL {
            let (_, none) = made(&[], profile);
            assert!(
                none.get("verifiableCredential").is_none()
                    && none.pointer("/vp/verifiableCredential").is_none()
            );
        }
    }

    #[test]
    fn a_presentation_of_many_credentials_is_read() {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let (holder, kid) = ("did:web:h.example", "did:web:h.example#k");
        let document = DidDocument::of_node(holder, kid, key.public_jwk(), &[]);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let to = Audience { holder, verifier: "did:web:v", jti: "j" };
        let credential = "x".repeat(4000);
        for profile in Profile::ALL {
            let show = |count: usize| {
                let made = make(&key, kid, &to, &vec![credential.clone(); count], profile, now).unwrap();
                open(&json!(made), &document, "did:web:v", now)
            };
            assert_eq!(show(MAX_CREDENTIALS).unwrap().len(), MAX_CREDENTIALS);
            assert!(show(MAX_CREDENTIALS + 1).unwrap_err().to_string().contains("more than 32"));
            assert!(show(100).is_err(), "longer than any is read");
        }
    }

    /// Keys for another use, retired ones, and none that is named.
    #[test]
    fn a_presentation_is_signed_by_a_key_that_authenticates() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let (holder, kid) = ("did:web:h.example", "did:web:h.example#k");
        let mut json = DidDocument::of_node(holder, kid, key.public_jwk(), &[]).json().clone();
        json["authentication"] = json!([]);
        let retired = DidDocument::parse(json, holder).unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let to = Audience { holder, verifier: "did:web:v", jti: "j" };
        let made = make(&key, kid, &to, &[], Profile::V2, now).unwrap();
        let error = open(&json!(made), &retired, "did:web:v", now).unwrap_err().to_string();
        assert!(error.contains("not under `authentication`"), "{error}");

        let document = DidDocument::of_node(holder, kid, key.public_jwk(), &[]);
        let (_, payload) = jose::peek(&made).unwrap();
        let refused = |document: &DidDocument, compact: String| {
            open(&json!(compact), document, "did:web:v", now).unwrap_err().to_string()
        };
        assert!(open(&json!(made), &document, "did:web:v", now).is_ok());
        refused(&document, key.sign_critically(kid, &payload).unwrap());
        let without = key.sign_without_key_id("vp+jwt", &payload).unwrap();
        assert!(open(&json!(without), &document, "did:web:v", now).is_ok(), "the only key there is");
        let said = refused(&document.with_another_key(), without);
        assert!(said.contains("2 keys and the token names none"), "{said}");
    }

    /// As EDC writes presentations of the data model 2.0: an envelope, without `iss`, `aud` and `exp`.
    #[test]
    fn an_enveloped_presentation_is_the_holders_own() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let (holder, kid, verifier) = ("did:web:h.example", "did:web:h.example#k", "did:web:v");
        let document = DidDocument::of_node(holder, kid, key.public_jwk(), &[]);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let sign_as = |key: &PrivateKey, typ: &str, claims: &Json| {
            key.sign(kid, typ, claims.to_string().as_bytes()).unwrap()
        };
        let sign = |key: &PrivateKey, claims: Json| sign_as(key, "vp+jwt", &claims);
        let envelope = |jwt: &str| json!({"@context": [V2], "type": "EnvelopedVerifiablePresentation", "id": format!("data:application/vp+jwt,{jwt}")});
        let presentation = json!({"@context": [V2], "type": ["VerifiablePresentation"], "verifiableCredential": [
            {"id": "data:application/vc+jwt,a.b.c", "type": "EnvelopedVerifiableCredential"}, {"a": "document with a proof"}]});
        let inner = sign(&key, presentation.clone());
        for form in [envelope(&inner), json!(sign(&key, envelope(&inner)))] {
            assert_eq!(open(&form, &document, verifier, now).unwrap(), ["a.b.c"]);
        }
        // Alone it names its holder by a DID URL; with a bare fragment it names nobody.
        assert_eq!(open(&json!(inner), &document, verifier, now).unwrap(), ["a.b.c"]);
        let bare = key.sign("#k", "vp+jwt", presentation.to_string().as_bytes()).unwrap();
        assert!(open(&json!(bare), &document, verifier, now).unwrap_err().to_string().contains("own"));
        let older = json!({"vp": presentation});
        assert!(
            open(&json!(sign_as(&key, "JWT", &older)), &document, verifier, now).is_err(),
            "1.1 leaves nothing out"
        );
        let with = |name: &str, value: Json| {
            let mut claims = presentation.clone();
            claims[name] = value;
            open(&envelope(&sign(&key, claims)), &document, verifier, now)
        };
        assert!(with("aud", json!(verifier)).is_ok());
        assert_eq!(with("holder", json!({"id": holder, "name": "H"})).unwrap(), ["a.b.c"]);
        for (what, credential) in [
            (
                "another media type",
                json!({"id": "data:text/plain,a.b.c", "type": "EnvelopedVerifiableCredential"}),
            ),
            ("another type", json!({"id": "data:application/vc+jwt,a.b.c", "type": "Other"})),
            ("no data", json!({"id": "https://x.example/a,a.b.c", "type": "EnvelopedVerifiableCredential"})),
        ] {
            assert!(with("verifiableCredential", json!([credential])).unwrap().is_empty(), "{what}");
        }
        for (name, value) in [
            ("aud", json!("did:web:other")),
            ("iss", json!("did:web:other")),
            ("exp", json!(1)),
            ("exp", json!("tomorrow")),
            ("iat", json!(1_800_000_900)),
            ("iat", json!(1_800_000_900.5)),
            ("holder", json!("did:web:other")),
            ("holder", json!({"id": "did:web:other"})),
            ("holder", json!(["did:web:h.example"])),
            ("type", json!(["VerifiableCredential"])),
            ("@context", json!(["https://space.example"])),
            ("validUntil", json!("2026-01-01T00:00:00Z")),
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
