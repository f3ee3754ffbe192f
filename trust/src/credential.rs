//! Verifiable credentials as JWT: the W3C data model 1.1 (claim `vc`) and 2.0 (the payload itself, `vc+jwt`).
//!
//! Verification goes in steps, as everywhere in this crate: [`Claimed::read`] says whose document is needed,
//! [`Claimed::verify`] decides about signature and validity, and what is left to ask (revocation, schema, whether the
//! issuer counts) is named by [`Credential::status`], [`Credential::schemas`] and [`Credential::issuer`].

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use crate::did::{self, DidDocument, Relationship};
use crate::error::TrustError;
use crate::jose::{self, PrivateKey};
use crate::token::SKEW;

/// First context of the data model 1.1.
pub(crate) const V1: &str = "https://www.w3.org/2018/credentials/v1";
/// First context of the data model 2.0.
pub(crate) const V2: &str = "https://www.w3.org/ns/credentials/v2";
/// Claims of a JWT around a credential of the data model 2.0.
const ENVELOPE: [&str; 7] = ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"];
/// Most types of one credential.
const MAX_TYPES: usize = 32;
/// Longest name of a type, in bytes.
const MAX_TYPE: usize = 256;
/// Most entries of `credentialStatus` of one credential.
const MAX_STATUS: usize = 16;
/// Most JSON Schemas of one credential.
const MAX_SCHEMAS: usize = 4;
/// Types of `credentialSchema` that are JSON Schemas at an address (VC JSON Schema 1.0, and its drafts).
const JSON_SCHEMAS: [&str; 3] = ["JsonSchema", "JsonSchemaValidator2018", "FullJsonSchemaValidator2021"];
/// Longest credential that is read, in bytes.
pub const MAX_CREDENTIAL: usize = 64 * 1024;

/// Which data model a credential is written in, with the status list that goes with it (DCP 1.0.1, appendix).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// `vc11-sl2021/jwt`.
    V1,
    /// `vc20-bssl/jwt`.
    V2,
}

impl Profile {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// The profile's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "vc11-sl2021/jwt",
            Self::V2 => "vc20-bssl/jwt",
        }
    }
}

/// Where it stands whether a credential was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEntry {
    /// Address of the status list credential.
    pub list: String,
    /// Place in it.
    pub index: usize,
    /// `revocation` or `suspension`.
    pub purpose: String,
    /// Bits of a place (`statusSize`).
    pub size: usize,
    /// Of which of the two standards entry and list are: StatusList2021 (`V1`) or Bitstring Status List (`V2`).
    pub profile: Profile,
}

impl StatusEntry {
    /// A place of one bit.
    #[must_use]
    pub fn new(list: String, index: usize, purpose: &str, profile: Profile) -> Self {
        Self { list, index, purpose: purpose.to_owned(), size: 1, profile }
    }
}

/// What an issuer says of a holder.
#[derive(Debug, Clone)]
pub struct Statement<'a> {
    /// The credential's id, a URI.
    pub id: &'a str,
    /// Beside `VerifiableCredential`.
    pub kind: &'a str,
    /// The holder's DID.
    pub subject: &'a str,
    /// Further claims about it.
    pub claims: &'a Map<String, Json>,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Where its revocation will stand.
    pub status: Option<&'a StatusEntry>,
    /// Address of the context that says what its type and claims are; `None` where the data model's own says it.
    pub context: Option<&'a str>,
}

/// Issues a credential.
///
/// # Errors
/// The key could not sign.
pub fn issue(
    key: &PrivateKey,
    kid: &str,
    issuer: &str,
    statement: &Statement<'_>,
    profile: Profile,
) -> Result<String, TrustError> {
    let mut subject = statement.claims.clone();
    subject.insert("id".to_owned(), json!(statement.subject));
    let status = statement.status.map(|status| {
        let kind = match status.profile {
            Profile::V1 => "StatusList2021Entry",
            Profile::V2 => "BitstringStatusListEntry",
        };
        json!({
            "id": format!("{}#{}", status.list, status.index), "type": kind, "statusPurpose": status.purpose,
            "statusListIndex": status.index.to_string(), "statusListCredential": status.list,
        })
    });
    let mut credential = json!({
        "id": statement.id, "type": ["VerifiableCredential", statement.kind], "issuer": issuer,
        "credentialSubject": subject,
    });
    let (from, until) = match profile {
        Profile::V1 => ("issuanceDate", "expirationDate"),
        Profile::V2 => ("validFrom", "validUntil"),
    };
    let context = match profile {
        Profile::V1 => V1,
        Profile::V2 => V2,
    };
    if let Some(map) = credential.as_object_mut() {
        let contexts: Vec<_> = std::iter::once(context).chain(statement.context).collect();
        map.insert("@context".to_owned(), json!(contexts));
        map.insert(from.to_owned(), json!(statement.from.to_string()));
        map.insert(until.to_owned(), json!(statement.until.to_string()));
        map.extend(status.map(|status| ("credentialStatus".to_owned(), status)));
    }
    let envelope = json!({
        "iss": issuer, "sub": statement.subject, "jti": statement.id, "iat": statement.from.as_second(),
        "exp": statement.until.as_second(),
    });
    match profile {
        Profile::V1 => {
            let mut claims = envelope;
            if let Some(map) = claims.as_object_mut() {
                map.insert("nbf".to_owned(), json!(statement.from.as_second()));
                map.insert("vc".to_owned(), credential);
            }
            key.sign(kid, "JWT", claims.to_string().as_bytes())
        }
        Profile::V2 => {
            let mut claims = credential;
            if let (Some(map), Json::Object(more)) = (claims.as_object_mut(), envelope) {
                map.extend(more);
            }
            key.sign(kid, "vc+jwt", claims.to_string().as_bytes())
        }
    }
}

/// A credential as it comes: not to be believed yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    compact: String,
    issuer: String,
    kid: Option<String>,
    /// Longest that it may be, in bytes.
    limit: usize,
    /// It is read as a status list.
    is_list: bool,
}

/// A credential whose signature and validity hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Credential {
    compact: String,
    json: Json,
    issuer: String,
    subject: String,
    types: Vec<String>,
    until: Option<Timestamp>,
}

impl Claimed {
    /// Reads a compact JWT without believing it.
    ///
    /// # Errors
    /// Not a JWT, too large, no issuer, or its `kid` belongs to another DID.
    pub fn read(compact: &str) -> Result<Self, TrustError> {
        Self::read_within(compact, MAX_CREDENTIAL)
    }

    /// As [`Self::read`], for a status list credential, which may be larger.
    ///
    /// # Errors
    /// As there.
    pub fn read_list(compact: &str) -> Result<Self, TrustError> {
        let read = Self::read_within(compact, crate::status::MAX_CREDENTIAL)?;
        Ok(Self { is_list: true, ..read })
    }

    fn read_within(compact: &str, limit: usize) -> Result<Self, TrustError> {
        let (header, payload) = jose::peek_within(compact, limit)?;
        let claims: Json = serde_json::from_slice(&payload).map_err(|_| refuse("its payload is not JSON"))?;
        let issuer = claims
            .get("iss")
            .and_then(Json::as_str)
            .or_else(|| issuer_of(&claims))
            .ok_or_else(|| refuse("it has no issuer"))?
            .to_owned();
        let kid = match header.get("kid") {
            None => None,
            Some(Json::String(kid)) if did::owns(&issuer, kid) => Some(kid.clone()),
            Some(_) => return Err(refuse("its `kid` is not a key of its issuer")),
        };
        Ok(Self { compact: compact.to_owned(), issuer, kid, limit, is_list: false })
    }

    /// Whose document is needed.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The data model it is written in, and its id: what a holder may know of its own credentials.
    #[must_use]
    pub fn described(&self) -> (Profile, Option<String>) {
        let claims = self.claims();
        let id = decoded(&claims).get("id").and_then(Json::as_str).map(str::to_owned);
        (if claims.get("vc").is_some() { Profile::V1 } else { Profile::V2 }, id)
    }

    /// Its types: what a holder may know of its own credentials.
    #[must_use]
    pub fn types(&self) -> Vec<String> {
        types_of(&decoded(&self.claims())).unwrap_or_default()
    }

    fn claims(&self) -> Json {
        let payload = jose::peek_within(&self.compact, self.limit).map(|(_, payload)| payload);
        payload.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// The credential without its signature, and the data model it is written in.
    #[must_use]
    pub fn document(&self) -> (Profile, Json) {
        let mut claims = self.claims();
        match claims.get_mut("vc") {
            Some(credential) => (Profile::V1, credential.take()),
            None => {
                // What belongs to the envelope alone.
                if let Json::Object(map) = &mut claims {
                    map.retain(|name, _| !ENVELOPE.contains(&name.as_str()));
                }
                (Profile::V2, claims)
            }
        }
    }

    /// Checks signature, form and validity at `now`.
    ///
    /// # Errors
    /// Which of them does not hold.
    pub fn verify(&self, document: &DidDocument, now: Timestamp) -> Result<Credential, TrustError> {
        if document.id() != self.issuer {
            return Err(refuse("the document is of another DID"));
        }
        let key = document.key(self.kid.as_deref(), Relationship::AssertionMethod)?;
        let payload = key.verify_within(&self.compact, self.limit)?;
        let claims: Json = serde_json::from_slice(&payload).map_err(|_| refuse("its payload is not JSON"))?;
        let json = decoded(&claims);
        check_model(&jose::peek_within(&self.compact, self.limit)?.0, &claims, &json)?;
        if issuer_of(&json) != Some(self.issuer.as_str()) {
            return Err(refuse("its `issuer` is not who signed it"));
        }
        if json.get("credentialSubject").is_some_and(Json::is_array) {
            return Err(refuse(
                "it is about none or several (`credentialSubject`); one of each holder is taken",
            ));
        }
        let subject = match json.pointer("/credentialSubject/id").and_then(Json::as_str) {
            Some(subject) => subject.to_owned(),
            // A status list is about what it lists (Bitstring Status List 1.0, section 2.2).
            None if self.is_list => String::new(),
            None => return Err(refuse("it has no `credentialSubject.id`, so it is nobody's")),
        };
        // Some issuers put the credential's own id there; whom it is about is for `credentialSubject.id` to say.
        let named = [Some(subject.as_str()), json.get("id").and_then(Json::as_str)];
        if !self.is_list && claims.get("sub").is_some_and(|sub| !named.contains(&sub.as_str())) {
            return Err(refuse("its `sub` is not its `credentialSubject.id`"));
        }
        let types = types_of(&json).ok_or_else(|| refuse("it has no `type`"))?;
        let until = validity(&json, &claims, now)?;
        Ok(Credential {
            compact: self.compact.clone(),
            json,
            issuer: self.issuer.clone(),
            subject,
            types,
            until,
        })
    }
}

impl Credential {
    /// As it came.
    #[must_use]
    pub fn compact(&self) -> &str {
        &self.compact
    }

    /// The credential itself, in its data model.
    #[must_use]
    pub const fn json(&self) -> &Json {
        &self.json
    }

    /// Who says so.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Of whom.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its types, `VerifiableCredential` among them.
    #[must_use]
    pub fn types(&self) -> &[String] {
        &self.types
    }

    /// The type that says what it is.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.types
            .iter()
            .find(|kind| *kind != "VerifiableCredential")
            .map_or("VerifiableCredential", String::as_str)
    }

    /// Until when it is valid, if its issuer set an end.
    #[must_use]
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Where its revocation stands.
    ///
    /// # Errors
    /// An entry that cannot be read, or too many of them: then nobody knows.
    pub fn status(&self) -> Result<Vec<StatusEntry>, TrustError> {
        let entries = match self.json.get("credentialStatus") {
            None | Some(Json::Null) => return Ok(Vec::new()),
            Some(Json::Array(all)) => all.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        if entries.len() > MAX_STATUS {
            return Err(refuse(&format!("it has more than {MAX_STATUS} entries of `credentialStatus`")));
        }
        entries.iter().map(status_entry).collect()
    }

    /// Addresses of the JSON Schemas that it promises to follow; schemas of other types are passed over (VC data model 2.0,
    /// section 4.11; VC-JOSE-COSE, section 6).
    ///
    /// # Errors
    /// A JSON Schema without an address, or too many of them.
    pub fn schemas(&self) -> Result<Vec<&str>, TrustError> {
        let schemas = match self.json.get("credentialSchema") {
            None | Some(Json::Null) => return Ok(Vec::new()),
            Some(Json::Array(all)) => all.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        let is_json_schema = |one: &&Json| {
            one.get("type").and_then(Json::as_str).is_some_and(|kind| JSON_SCHEMAS.contains(&kind))
        };
        let ids: Option<Vec<_>> =
            schemas.iter().filter(is_json_schema).map(|one| one.get("id").and_then(Json::as_str)).collect();
        let ids = ids.ok_or_else(|| refuse("a `credentialSchema` of it has no `id`"))?;
        if ids.len() > MAX_SCHEMAS {
            return Err(refuse(&format!("it has more than {MAX_SCHEMAS} schemas")));
        }
        Ok(ids)
    }
}

fn status_entry(entry: &Json) -> Result<StatusEntry, TrustError> {
    let text = |name: &str| entry.get(name).and_then(Json::as_str);
    let profile = match text("type") {
        Some("BitstringStatusListEntry") => Profile::V2,
        Some("StatusList2021Entry") => Profile::V1,
        other => {
            return Err(refuse(&format!("its status is of an unknown type `{}`", other.unwrap_or_default())));
        }
    };
    // A string by the standards; a number with some issuers, Eclipse EDC's among them.
    let index = match entry.get("statusListIndex") {
        Some(Json::String(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Some(number) => number.as_u64().and_then(|number| usize::try_from(number).ok()),
        None => None,
    };
    let list = text("statusListCredential");
    let (Some(index), Some(list)) = (index, list) else {
        return Err(refuse("its status has no `statusListIndex` or no `statusListCredential`"));
    };
    let purpose = text("statusPurpose")
        .ok_or_else(|| refuse("its status does not say what it is about (`statusPurpose`)"))?;
    let size = entry.get("statusSize").map_or(Ok(1), crate::status::size_of)?;
    Ok(StatusEntry { size, ..StatusEntry::new(list.to_owned(), index, purpose, profile) })
}

/// The credential in a JWT's claims: what stands only around it is put where the data model has it (VC 1.1, section 6.3.1), and
/// a subject that is a list of one is that one (sections 4.4 and 4.8).
fn decoded(claims: &Json) -> Json {
    let mut json = claims.get("vc").unwrap_or(claims).clone();
    let Json::Object(map) = &mut json else { return json };
    if let Some(Json::Array(all)) = map.get_mut("credentialSubject")
        && all.len() == 1
        && let Some(only) = all.pop()
    {
        map.insert("credentialSubject".to_owned(), only);
    }
    let claim = |name: &str| claims.get(name).filter(|one| one.is_string());
    if let Some(issuer) = claim("iss") {
        map.entry("issuer").or_insert_with(|| issuer.clone());
    }
    if let (Some(subject), Some(Json::Object(about))) = (claim("sub"), map.get_mut("credentialSubject")) {
        about.entry("id").or_insert_with(|| subject.clone());
    }
    if let Some(id) = claim("jti") {
        map.entry("id").or_insert_with(|| id.clone());
    }
    json
}

fn types_of(credential: &Json) -> Option<Vec<String>> {
    let types: Vec<String> = match credential.get("type") {
        Some(Json::String(one)) => vec![one.clone()],
        Some(Json::Array(all)) if all.len() <= MAX_TYPES => {
            all.iter().filter_map(Json::as_str).map(str::to_owned).collect()
        }
        _ => return None,
    };
    types.iter().all(|kind| kind.len() <= MAX_TYPE).then_some(types)
}

/// Whether a media type is that of a credential in a JWT; drafts had other names for it.
pub(crate) fn is_vc(kind: &str) -> bool {
    ["vc+jwt", "vc+ld+jwt", "vc-ld+jwt", "vc+ld+json+jwt"].contains(&kind)
}

/// Whether a JWT is what its header says, and its credential has what the data model of it demands: the context, the type and the
/// beginning (VC-JOSE-COSE, section 6; VC 2.0, sections 4.3 and 4.5; VC 1.1, sections 4.1, 4.3 and 4.6).
fn check_model(header: &Map<String, Json>, claims: &Json, credential: &Json) -> Result<(), TrustError> {
    let is_claim = claims.get("vc").is_some();
    let typ = match header.get("typ") {
        None => None,
        Some(Json::String(typ)) => Some(jose::media_type(typ)),
        Some(_) => return Err(refuse("its `typ` is not a string")),
    };
    match typ.as_deref() {
        None | Some("jwt") => {}
        Some(typ) if is_vc(typ) && !is_claim => {}
        Some(typ) if is_vc(typ) => {
            return Err(refuse("its `typ` says that its payload is the credential, and it has a claim `vc`"));
        }
        Some(other) => return Err(refuse(&format!("its `typ` is `{other}`, which is no credential"))),
    }
    let names = |context: &str| match credential.get("@context") {
        Some(Json::Array(all)) => all.iter().any(|one| one.as_str() == Some(context)),
        Some(one) => one.as_str() == Some(context),
        None => false,
    };
    let (is_v1, is_v2) = (names(V1), names(V2));
    if is_claim {
        // The claim says that it is a credential of the data model 1.1. Issuers in the field, the official suite of DCP among them, put
        // something else into context and type; what names the other data model alone is that one.
        if is_v2 && !is_v1 {
            return Err(refuse("it is of the data model 2.0, which has no claim `vc`"));
        }
    } else {
        // Nothing else tells such a payload from anything that the issuer may have signed.
        if !is_v1 && !is_v2 {
            return Err(refuse("its `@context` names neither data model of the W3C"));
        }
        if !types_of(credential).is_some_and(|types| types.iter().any(|kind| kind == "VerifiableCredential"))
        {
            return Err(refuse("its `type` does not name a `VerifiableCredential`"));
        }
    }
    if !is_v2 && credential.get("issuanceDate").is_none() && claims.get("nbf").is_none() {
        return Err(refuse("it does not say when it was issued (`issuanceDate`)"));
    }
    Ok(())
}

fn issuer_of(credential: &Json) -> Option<&str> {
    let credential = credential.get("vc").unwrap_or(credential);
    let issuer = credential.get("issuer")?;
    issuer.as_str().or_else(|| issuer.get("id")?.as_str())
}

/// A date with time; UTC where it names no zone.
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    let without_zone = || text.parse::<jiff::civil::DateTime>().ok().filter(|_| text.contains('T'));
    let in_utc = || without_zone()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    text.parse().ok().or_else(|| in_utc().map(|zoned| zoned.timestamp()))
}

/// Checks every date that stands in the credential or around it; returns the earliest end.
fn validity(credential: &Json, claims: &Json, now: Timestamp) -> Result<Option<Timestamp>, TrustError> {
    let date = |name: &str| -> Result<Option<Timestamp>, TrustError> {
        match credential.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => value
                .as_str()
                .and_then(instant)
                .map(Some)
                .ok_or_else(|| refuse(&format!("its `{name}` is not a date with time"))),
        }
    };
    let claim = |name: &str| {
        let seconds = claims.get(name).and_then(Json::as_f64)?;
        #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "range checked by jiff")]
        Timestamp::from_second(seconds as i64).ok()
    };
    let skew = jiff::SignedDuration::from_secs(SKEW);
    let begins = [date("issuanceDate")?, date("validFrom")?, claim("nbf")];
    if begins.into_iter().flatten().any(|begin| begin.duration_since(now) > skew) {
        return Err(refuse("it is not valid yet"));
    }
    let end = [date("expirationDate")?, date("validUntil")?, claim("exp")].into_iter().flatten().min();
    if end.is_some_and(|end| end <= now) {
        return Err(refuse("it has expired"));
    }
    Ok(end)
}

fn refuse(reason: &str) -> TrustError {
    TrustError::Credential(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;

    const ISSUER: &str = "did:web:city.example";
    const KID: &str = "did:web:city.example#k";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn setup() -> (PrivateKey, DidDocument) {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let document = DidDocument::of_node(ISSUER, KID, key.public_jwk(), &[]);
        (key, document)
    }

    fn issued(key: &PrivateKey, profile: Profile) -> String {
        let status = StatusEntry::new("https://city.example/status/1".into(), 7, "revocation", profile);
        let claims = json!({"memberOf": "urn:space"});
        let statement = Statement {
            id: "urn:c:1",
            kind: "MembershipCredential",
            subject: "did:web:agency.example",
            claims: claims.as_object().unwrap(),
            from: at(0),
            until: at(1000),
            status: Some(&status),
            context: Some("https://city.example/context"),
        };
        issue(key, KID, ISSUER, &statement, profile).unwrap()
    }

    #[test]
    fn both_data_models_are_issued_and_verified() {
        let (key, document) = setup();
        for profile in Profile::ALL {
            let claimed = Claimed::read(&issued(&key, profile)).unwrap();
            assert_eq!(claimed.issuer(), ISSUER);
            let credential = claimed.verify(&document, at(10)).unwrap();
            assert_eq!(
                (credential.subject(), credential.kind()),
                ("did:web:agency.example", "MembershipCredential")
            );
            assert_eq!(credential.until(), Some(at(1000)));
            let status = credential.status().unwrap();
            assert_eq!((status[0].index, status[0].list.as_str()), (7, "https://city.example/status/1"));
            assert_eq!(credential.json()["credentialSubject"]["memberOf"], "urn:space");
            assert!(claimed.verify(&document, at(1000)).unwrap_err().to_string().contains("expired"));
            assert!(claimed.verify(&document, at(-60)).unwrap_err().to_string().contains("not valid yet"));
        }
    }

    /// What each data model demands of what is sent (VC 1.1, sections 4 and 6.3.1; VC 2.0, section 4; VC-JOSE-COSE, section 3.2).
    #[test]
    fn a_credential_is_written_as_its_data_model_has_it() {
        let (key, _) = setup();
        let made = |profile| {
            let (header, payload) = jose::peek(&issued(&key, profile)).unwrap();
            (header, serde_json::from_slice::<Json>(&payload).unwrap())
        };
        let (header, of_v1) = made(Profile::V1);
        assert_eq!((&header["typ"], &header["kid"]), (&json!("JWT"), &json!(KID)));
        let vc = &of_v1["vc"];
        assert_eq!(vc["@context"], json!([V1, "https://city.example/context"]));
        assert_eq!(
            (&vc["issuanceDate"], &vc["expirationDate"]),
            (&json!(at(0).to_string()), &json!(at(1000).to_string()))
        );
        assert_eq!((&of_v1["nbf"], &of_v1["exp"]), (&json!(at(0).as_second()), &json!(at(1000).as_second())));
        assert_eq!(
            (&of_v1["jti"], &of_v1["iss"], &of_v1["sub"]),
            (&vc["id"], &vc["issuer"], &vc["credentialSubject"]["id"])
        );
        let (header, of_v2) = made(Profile::V2);
        assert_eq!(header["typ"], "vc+jwt");
        assert_eq!(of_v2["@context"], json!([V2, "https://city.example/context"]));
        assert!(of_v2.get("vc").is_none() && of_v2.get("nbf").is_none(), "{of_v2}");
        for (credential, kind) in [(vc, "StatusList2021Entry"), (&of_v2, "BitstringStatusListEntry")] {
            assert_eq!(credential["type"], json!(["VerifiableCredential", "MembershipCredential"]));
            let status = &credential["credentialStatus"];
            assert_eq!((&status["type"], &status["statusListIndex"]), (&json!(kind), &json!("7")));
            assert!(status["id"].is_string() && status["id"] != status["statusListCredential"], "{status}");
        }
    }

    /// Keys for another use, and documents of others.
    #[test]
    fn a_credential_is_signed_by_a_key_that_asserts() {
        let (key, document) = setup();
        let mut json = document.json().clone();
        json["assertionMethod"] = json!([]);
        let other = DidDocument::parse(json, ISSUER).unwrap();
        for profile in Profile::ALL {
            let claimed = Claimed::read(&issued(&key, profile)).unwrap();
            let error = claimed.verify(&other, at(10)).unwrap_err().to_string();
            assert!(error.contains("not under `assertionMethod`"), "{error}");
            let compact = issued(&key, profile);
            let (_, payload) = jose::peek(&compact).unwrap();
            let read = |document: &DidDocument, compact: &str| {
                Claimed::read(compact).unwrap().verify(document, at(10)).map_err(|error| error.to_string())
            };
            assert!(read(&document, &compact).is_ok());
            assert!(read(&document, &key.sign_critically(KID, &payload).unwrap()).is_err());
            let without = key.sign_without_key_id("JWT", &payload).unwrap();
            assert!(read(&document, &without).is_ok(), "the only key there is");
            let said = read(&document.with_another_key(), &without).unwrap_err();
            assert!(said.contains("2 keys and the token names none"), "{said}");
        }
    }

    /// A status list needs no id of its subject, and nothing else may do without (Bitstring Status List 1.0, section 2.2).
    #[test]
    fn only_a_list_is_about_nobody() {
        let (key, document) = setup();
        let list = json!({"@context": [V2], "type": ["VerifiableCredential", "BitstringStatusListCredential"], "issuer": ISSUER,
            "credentialSubject": {"type": "BitstringStatusList"}});
        let compact = key.sign(KID, "vc+jwt", list.to_string().as_bytes()).unwrap();
        assert!(Claimed::read_list(&compact).unwrap().verify(&document, at(0)).is_ok());
        assert!(Claimed::read(&compact).unwrap().verify(&document, at(0)).is_err());
    }

    /// `cases/interop/vc2-subject-list.json`, and what stands only around a credential.
    #[test]
    fn a_credential_is_read_as_its_issuer_may_write_it() {
        let (key, document) = setup();
        let check = |claims: Json| {
            let compact = key.sign(KID, "JWT", claims.to_string().as_bytes()).unwrap();
            let credential = Claimed::read(&compact)?.verify(&document, at(0))?;
            Ok::<_, TrustError>((
                credential.issuer().to_owned(),
                credential.subject().to_owned(),
                credential.until(),
            ))
        };
        let holder = "did:web:holder.example";
        let types = json!(["VerifiableCredential", "X"]);
        let read = (ISSUER.to_owned(), holder.to_owned(), None);
        let listed = json!({"@context": [V2], "id": "urn:c", "type": types, "issuer": ISSUER, "validFrom": "2026-01-01T00:00:00",
            "credentialSubject": [{"id": holder, "memberOf": "https://space.example"}], "iss": ISSUER, "sub": holder});
        assert_eq!(check(listed.clone()).unwrap(), read);
        let around = json!({"iss": ISSUER, "sub": holder, "jti": "urn:c", "nbf": 1_700_000_000, "vc": {"@context": [V1], "type": types,
            "credentialSubject": {"memberOf": "x"}}});
        assert_eq!(check(around.clone()).unwrap(), read);
        let mut several = listed;
        several["credentialSubject"] = json!([{"id": holder}, {"id": "did:web:other"}]);
        assert!(check(several).unwrap_err().to_string().contains("none or several"));
        let mut nobody = around;
        nobody.as_object_mut().unwrap().remove("sub");
        assert!(check(nobody).unwrap_err().to_string().contains("nobody's"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (key, document) = setup();
        let sign = |claims: Json| key.sign(KID, "JWT", claims.to_string().as_bytes()).unwrap();
        let good = json!({"iss": ISSUER, "sub": "did:web:a", "vc": {"@context": [V1], "type": ["VerifiableCredential", "X"],
            "issuer": ISSUER, "issuanceDate": "2026-01-01T00:00:00Z", "credentialSubject": {"id": "did:web:a"}}});
        let check = |claims: &Json| {
            Claimed::read(&sign(claims.clone()))
                .and_then(|claimed| claimed.verify(&document, at(0)))
                .map_err(|error| error.to_string())
        };
        assert!(check(&good).is_ok());
        for (pointer, value, expected) in [
            ("/vc/issuer", json!("did:web:other"), "is not who signed it"),
            ("/vc/credentialSubject/id", json!(null), "it is nobody's"),
            ("/vc/credentialSubject/id", json!("did:web:b"), "`sub` is not"),
            ("/vc/type", json!(null), "no `type`"),
            ("/vc/@context", json!([V2]), "has no claim `vc`"),
        ] {
            let mut claims = good.clone();
            *claims.pointer_mut(pointer).unwrap() = value;
            let error = check(&claims).unwrap_err();
            assert!(error.contains(expected), "{pointer}: {error}");
        }
        let mut dated = good.clone();
        dated["vc"]["expirationDate"] = json!("tomorrow");
        assert!(check(&dated).unwrap_err().contains("not a date"));
        let (other, _) = setup();
        let forged = other.sign(KID, "JWT", good.to_string().as_bytes()).unwrap();
        assert!(Claimed::read(&forged).unwrap().verify(&document, at(0)).is_err());
        let foreign = key.sign("did:web:evil#k", "JWT", good.to_string().as_bytes()).unwrap();
        assert!(Claimed::read(&foreign).is_err());
        let mut undated = good.clone();
        undated["vc"].as_object_mut().unwrap().remove("issuanceDate");
        assert!(check(&undated).unwrap_err().contains("when it was issued"));
        // EDC's own form: other contexts before, no `typ`, an id beside `jti`.
        let mut of_edc = good.clone();
        of_edc["vc"]["@context"] = json!(["https://w3id.org/tractusx-trust/v0.8", V1]);
        of_edc["jti"] = json!("urn:other");
        assert!(check(&of_edc).is_ok());
        // The official suite's: no context of the W3C, and its own type alone. The claim tells what it is.
        (of_edc["vc"]["@context"], of_edc["vc"]["type"]) =
            (json!("731ffdd4"), json!(["MembershipCredential"]));
        assert!(check(&of_edc).is_ok());
        // Without the claim nothing does.
        let bare = json!({"@context": [V2], "type": ["VerifiableCredential", "X"], "issuer": ISSUER, "credentialSubject": {"id": "did:web:a"}});
        assert!(check(&bare).is_ok());
        for (name, value, said) in [
            ("@context", json!(["https://space.example/terms"]), "names neither data model"),
            ("@context", json!(null), "names neither data model"),
            ("type", json!(["X"]), "does not name a `VerifiableCredential`"),
            ("type", json!(null), "does not name a `VerifiableCredential`"),
        ] {
            let mut odd = bare.clone();
            odd[name] = value;
            assert!(check(&odd).unwrap_err().contains(said), "{name}");
        }
    }

    /// The header says what a JWT is: what is signed as something else is no credential.
    #[test]
    fn a_credential_is_what_its_header_says() {
        let (key, document) = setup();
        let of_v1 = json!({"iss": ISSUER, "sub": "did:web:a", "nbf": 1_700_000_000, "vc": {"@context": [V1], "type": ["VerifiableCredential"],
            "credentialSubject": {"id": "did:web:a"}}});
        let of_v2 = json!({"@context": [V2], "type": ["VerifiableCredential"], "issuer": ISSUER, "credentialSubject": {"id": "did:web:a"}});
        let check = |typ: &str, claims: &Json| {
            let compact = key.sign(KID, typ, claims.to_string().as_bytes()).unwrap();
            Claimed::read(&compact).unwrap().verify(&document, at(0))
        };
        for (typ, claims) in [
            ("JWT", &of_v1),
            ("jwt", &of_v2),
            ("vc+jwt", &of_v2),
            ("application/vc+jwt", &of_v2),
            ("vc+ld+jwt", &of_v2),
        ] {
            assert!(check(typ, claims).is_ok(), "{typ}");
        }
        for (typ, claims) in [
            ("vc+jwt", &of_v1),
            ("vp+jwt", &of_v2),
            ("concordat-agreement+jws", &of_v1),
            ("dpop+jwt", &of_v1),
        ] {
            assert!(check(typ, claims).unwrap_err().to_string().contains("`typ`"), "{typ}");
        }
    }

    #[test]
    fn every_entry_of_its_status_is_read_or_it_is_not_known() {
        let (key, document) = setup();
        let with = |name: &str, value: Json| {
            let mut claims = json!({"@context": [V2], "type": ["VerifiableCredential"], "issuer": ISSUER, "credentialSubject": {"id": "did:web:a"}});
            claims[name] = value;
            let compact = key.sign(KID, "vc+jwt", claims.to_string().as_bytes()).unwrap();
            Claimed::read(&compact).unwrap().verify(&document, at(0)).unwrap()
        };
        let entry = json!({"type": "BitstringStatusListEntry", "statusPurpose": "revocation", "statusListIndex": "7",
            "statusListCredential": "https://city.example/s"});
        let read = |entries: Json| with("credentialStatus", entries).status();
        assert_eq!(read(json!(vec![entry.clone(); 16])).unwrap().len(), 16, "the ninth and all others");
        assert!(read(json!(vec![entry.clone(); 17])).unwrap_err().to_string().contains("more than 16"));
        assert_eq!(read(entry.clone()).unwrap()[0].size, 1);
        for (name, value) in [
            ("type", json!("Oracle")),
            ("statusPurpose", json!(null)),
            ("statusListIndex", json!("+7")),
            ("statusListIndex", json!("")),
            ("statusListIndex", json!(-7)),
            ("statusListIndex", json!("99999999999999999999999")),
            ("statusListCredential", json!(7)),
            ("statusSize", json!(0)),
            ("statusSize", json!("2")),
        ] {
            let mut odd = entry.clone();
            odd[name] = value.clone();
            assert!(
                read(json!([entry, odd])).is_err(),
                "{name} {value}: what is not understood is not `not revoked`"
            );
        }
        let mut wide = entry.clone();
        (wide["statusSize"], wide["statusListIndex"]) = (json!(2), json!(7));
        let wide = &read(wide).unwrap()[0];
        assert_eq!((wide.size, wide.index), (2, 7), "a number, as EDC writes it");

        let schemas = |value: Json| with("credentialSchema", value).schemas().map(|all| all.join(" "));
        let one = |kind: &str, id: &str| json!({"type": kind, "id": id});
        assert_eq!(
            schemas(json!([
                one("JsonSchema", "https://a"),
                one("Shacl", "https://b"),
                one("JsonSchema", "https://c")
            ]))
            .unwrap(),
            "https://a https://c"
        );
        assert_eq!(schemas(one("JsonSchemaCredential", "https://a")).unwrap(), "");
        assert!(schemas(json!({"type": "JsonSchema"})).is_err());
        assert!(schemas(json!(vec![one("JsonSchema", "https://a"); 5])).is_err());
    }
}
