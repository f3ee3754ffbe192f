//! DIDs and their documents (W3C DID Core 1.0): did:web and did:key, without fetching.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value as Json, json};

use crate::error::TrustError;
use crate::jose::{self, PublicKey, ed25519_jwk};

/// Largest DID document that is read, in bytes.
pub const MAX_DOCUMENT: usize = 64 * 1024;
/// Most verification methods in one document.
const MAX_METHODS: usize = 64;

/// Multicodec prefixes of public keys.
const ED25519_PUB: [u8; 2] = [0xed, 0x01];
const P256_PUB: [u8; 2] = [0x80, 0x24];

/// What a key may be used for (DID Core, section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relationship {
    /// Signs statements, such as agreements and credentials.
    AssertionMethod,
    /// Signs presentations (DCP 1.0.1, Presentation Validation).
    Authentication,
    /// Signs self-issued ID tokens (DCP 1.0.1, Validating Self-Issued ID Tokens).
    CapabilityInvocation,
}

impl Relationship {
    const ALL: [Self; 3] = [Self::AssertionMethod, Self::Authentication, Self::CapabilityInvocation];

    const fn name(self) -> &'static str {
        match self {
            Self::AssertionMethod => "assertionMethod",
            Self::Authentication => "authentication",
            Self::CapabilityInvocation => "capabilityInvocation",
        }
    }
}

/// Where the document of a did:web lives, `None` for a did:key, which carries its own.
///
/// # Errors
/// Another method, an IP address instead of a host name, or a malformed identifier.
pub fn document_url(did: &str) -> Result<Option<String>, TrustError> {
    let refuse =
        |reason: &str| TrustError::Did { did: did.chars().take(200).collect(), reason: reason.to_owned() };
    if did.len() > 2048 {
        return Err(refuse("it is longer than 2048 bytes"));
    }
    if did.starts_with("did:key:") {
        return Ok(None);
    }
    let Some(rest) = did.strip_prefix("did:web:") else {
        return Err(refuse("only did:web and did:key are understood"));
    };
    let mut parts = Vec::new();
    for part in rest.split(':') {
        let decoded = percent_decode_str(part).decode_utf8().map_err(|_| refuse("it is not UTF-8"))?;
        let fine = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let is_host = parts.is_empty();
        if decoded.is_empty()
            || decoded.starts_with('.')
            || !decoded.chars().all(|c| fine(c) || is_host && c == ':')
        {
            return Err(refuse("a part of it is empty or has characters that a did:web cannot have"));
        }
        parts.push(decoded.into_owned());
    }
    let mut parts = parts.into_iter();
    let host = parts.next().unwrap_or_default();
    let (name, port) = host.split_once(':').unwrap_or((host.as_str(), "443"));
    if ends_in_a_number(name) {
        return Err(refuse("a did:web names a host, not an IP address"));
    }
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err() {
        return Err(refuse("its port is none"));
    }
    let path = parts.collect::<Vec<_>>().join("/");
    Ok(Some(if path.is_empty() {
        format!("https://{host}/.well-known/did.json")
    } else {
        format!("https://{host}/{path}/did.json")
    }))
}

/// Whether whoever reads addresses takes `host` for an IPv4 address (URL Standard, "ends in a number checker"): its last
/// label is a number, decimal, octal or hexadecimal.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_hexadecimal =
        hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_hexadecimal || !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
}

/// The did:web of `authority` (host, or host and port).
#[must_use]
pub fn web(authority: &str) -> String {
    format!("did:web:{}", authority.replace(':', "%3A"))
}

/// The document that a did:key stands for.
///
/// # Errors
/// Not a did:key of an Ed25519 or P-256 key.
pub fn key_document(did: &str) -> Result<DidDocument, TrustError> {
    let refuse =
        |reason: &str| TrustError::Did { did: did.chars().take(200).collect(), reason: reason.to_owned() };
    let rest = did.strip_prefix("did:key:").ok_or_else(|| refuse("it is not a did:key"))?;
    // The version may be named (did:key, section 3.1); it is the only one.
    let multibase = rest.strip_prefix("1:").or_else(|| rest.strip_prefix("1.1:")).unwrap_or(rest);
    multibase_key(multibase).map_err(|error| refuse(&error.to_string()))?;
    let id = format!("{did}#{multibase}");
    DidDocument::parse(
        json!({
            "@context": ["https://www.w3.org/ns/did/v1"],
            "id": did,
            "verificationMethod": [{"id": id, "type": "Multikey", "controller": did, "publicKeyMultibase": multibase}],
            "assertionMethod": [id],
            "authentication": [id],
            "capabilityInvocation": [id],
            "capabilityDelegation": [id],
        }),
        did,
    )
}

/// The did:key of a public JWK.
///
/// # Errors
/// Not an Ed25519 or P-256 key.
pub fn key_of(public_jwk: &Json) -> Result<String, TrustError> {
    let member = |name: &str| {
        let text = public_jwk.get(name).and_then(Json::as_str).unwrap_or_default();
        URL_SAFE_NO_PAD.decode(text).map_err(|_| TrustError::Key(format!("`{name}` is not base64url")))
    };
    // Reading it first makes sure that the members fit the type.
    PublicKey::from_jwk(public_jwk)?;
    let bytes = if public_jwk.get("kty").and_then(Json::as_str) == Some("OKP") {
        [ED25519_PUB.as_slice(), &member("x")?].concat()
    } else {
        let odd = member("y")?.last().is_some_and(|last| last & 1 == 1);
        [P256_PUB.as_slice(), &[if odd { 3 } else { 2 }], &member("x")?].concat()
    };
    Ok(format!("did:key:z{}", bs58::encode(bytes).into_string()))
}

fn multibase_key(text: &str) -> Result<PublicKey, TrustError> {
    let encoded =
        text.strip_prefix('z').ok_or_else(|| TrustError::Key("it is not base58btc (`z...`)".to_owned()))?;
    if encoded.len() > 128 {
        return Err(TrustError::Key("it is too long".to_owned()));
    }
    let bytes =
        bs58::decode(encoded).into_vec().map_err(|_| TrustError::Key("it is not base58btc".to_owned()))?;
    match bytes.split_at_checked(2) {
        Some((prefix, raw)) if prefix == ED25519_PUB && raw.len() == 32 => {
            PublicKey::from_jwk(&ed25519_jwk(raw))
        }
        Some((prefix, point)) if prefix == P256_PUB => PublicKey::from_p256_point(point),
        _ => Err(TrustError::Key("it is not an Ed25519 or P-256 key".to_owned())),
    }
}

/// A key of a node's own document.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyUse {
    /// Its id: the DID and a fragment.
    pub id: String,
    /// The public JWK.
    pub jwk: Json,
    /// Whether tokens and presentations signed with it are to be believed; statements are in any case.
    pub authenticates: bool,
}

/// A DID document whose `id` is the DID it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct DidDocument {
    id: String,
    json: Json,
    /// A key may be used for everything where the document declares no use of any key.
    undeclared: bool,
}

impl DidDocument {
    /// Takes a document fetched for `did`.
    ///
    /// # Errors
    /// Its `id` is another, or it has too many keys.
    pub fn parse(json: Json, did: &str) -> Result<Self, TrustError> {
        let refuse = |reason: String| TrustError::Document { did: did.to_owned(), reason };
        match json.get("id").and_then(Json::as_str) {
            Some(id) if id == did => {}
            Some(id) => return Err(refuse(format!("its `id` is `{id}`"))),
            None => return Err(refuse("it has no `id`".to_owned())),
        }
        let methods = json.get("verificationMethod").and_then(Json::as_array).map_or(0, Vec::len);
        if methods > MAX_METHODS {
            return Err(refuse(format!("it has {methods} verification methods, more than {MAX_METHODS}")));
        }
        Ok(Self { id: did.to_owned(), json, undeclared: false })
    }

    /// The document of a node with one key for everything, and where its services are (Dataspace Protocol, section
    /// DID services).
    #[must_use]
    pub fn of_node(did: &str, key_id: &str, public_jwk: &Json, services: &[(&str, &str, String)]) -> Self {
        let key = KeyUse { id: key_id.to_owned(), jwk: public_jwk.clone(), authenticates: true };
        Self::with_keys(did, &[key], services)
    }

    /// The document of a node with several keys.
    #[must_use]
    pub fn with_keys(did: &str, keys: &[KeyUse], services: &[(&str, &str, String)]) -> Self {
        let services: Vec<_> = services
            .iter()
            .map(|(name, kind, endpoint)| {
                json!({"id": format!("{did}#{name}"), "type": kind, "serviceEndpoint": endpoint})
            })
            .collect();
        let methods: Vec<_> = keys
            .iter()
            .map(|key| json!({"id": key.id, "type": "JsonWebKey2020", "controller": did, "publicKeyJwk": key.jwk}))
            .collect();
        let all: Vec<_> = keys.iter().map(|key| &key.id).collect();
        let authenticating: Vec<_> = keys.iter().filter(|key| key.authenticates).map(|key| &key.id).collect();
        let json = json!({
            "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1"],
            "id": did,
            "verificationMethod": methods,
            "authentication": authenticating,
            "assertionMethod": all,
            "capabilityInvocation": authenticating,
            "service": services,
        });
        Self { id: did.to_owned(), json, undeclared: false }
    }

    /// Lets every key be used for everything, where the document declares no use of any key: before DCP 1.0, documents
    /// did not have to.
    #[must_use]
    pub const fn with_undeclared_keys(mut self) -> Self {
        self.undeclared = true;
        self
    }

    /// Whether it says of any key what it is for.
    #[must_use]
    pub fn declares_uses(&self) -> bool {
        Relationship::ALL.into_iter().any(|one| !self.uses(one).is_empty())
    }

    fn uses(&self, relationship: Relationship) -> &[Json] {
        self.json.get(relationship.name()).and_then(Json::as_array).map_or(&[][..], Vec::as_slice)
    }

    /// Whose it is.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// As fetched.
    #[must_use]
    pub const fn json(&self) -> &Json {
        &self.json
    }

    /// The endpoint of the first service of `kind`, such as `DataService`.
    #[must_use]
    pub fn service(&self, kind: &str) -> Option<&str> {
        // Types and endpoints are one or several (DID Core, section 5.4).
        let services = match self.json.get("service")? {
            Json::Array(all) => all.as_slice(),
            one => std::slice::from_ref(one),
        };
        let is_kind = |service: &&Json| match service.get("type") {
            Some(Json::Array(all)) => all.iter().any(|one| one.as_str() == Some(kind)),
            Some(one) => one.as_str() == Some(kind),
            None => false,
        };
        match services.iter().find(is_kind)?.get("serviceEndpoint")? {
            Json::Array(all) => all.iter().find_map(Json::as_str),
            one => one.as_str(),
        }
    }

    /// The key `kid` if the document gives it `relationship`. Without `kid`, the only key there is.
    ///
    /// # Errors
    /// No such key, not for this use, or unusable.
    pub fn key(&self, kid: Option<&str>, relationship: Relationship) -> Result<PublicKey, TrustError> {
        let refuse = |reason: String| TrustError::Document { did: self.id.clone(), reason };
        let methods =
            self.json.get("verificationMethod").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        let id_of = |method: &Json| method.get("id").and_then(Json::as_str).map(|id| self.absolute(id));
        let method = match kid {
            Some(kid) => {
                let wanted = self.absolute(kid);
                methods
                    .iter()
                    .find(|method| id_of(method).is_some_and(|id| id == wanted))
                    .ok_or_else(|| refuse(format!("it has no key `{kid}`")))?
            }
            None => match methods {
                [only] => only,
                _ => return Err(refuse(format!("it has {} keys and the token names none", methods.len()))),
            },
        };
        let id = id_of(method).ok_or_else(|| refuse("a key of it has no `id`".to_owned()))?;
        let is_it = |one: &Json| {
            let named = one.as_str().or_else(|| one.get("id").and_then(Json::as_str));
            named.is_some_and(|named| self.absolute(named) == id)
        };
        let related = self.uses(relationship).iter().any(is_it) || self.undeclared && !self.declares_uses();
        if !related && !self.declares_uses() {
            return Err(TrustError::UndeclaredKeys(self.id.clone()));
        }
        if !related {
            return Err(refuse(format!("its key `{id}` is not under `{}`", relationship.name())));
        }
        if let Some(jwk) = method.get("publicKeyJwk") {
            return PublicKey::from_jwk(jwk);
        }
        match method.get("publicKeyMultibase").and_then(Json::as_str) {
            Some(text) => multibase_key(text),
            None => Err(refuse(format!("its key `{id}` has neither publicKeyJwk nor publicKeyMultibase"))),
        }
    }

    /// The thumbprints of its keys (RFC 7638), or their multibase text where that is what it has.
    ///
    /// # Errors
    /// A key that cannot be read.
    pub fn thumbprints(&self) -> Result<Vec<String>, TrustError> {
        let methods = self.json.get("verificationMethod").and_then(Json::as_array).into_iter().flatten();
        methods
            .map(|method| match (method.get("publicKeyJwk"), method.get("publicKeyMultibase")) {
                (Some(jwk), _) => jose::thumbprint(jwk),
                (None, Some(Json::String(text))) => Ok(text.clone()),
                _ => Err(TrustError::Document {
                    did: self.id.clone(),
                    reason: "a key has neither publicKeyJwk nor publicKeyMultibase".to_owned(),
                }),
            })
            .collect()
    }

    fn absolute(&self, id: &str) -> String {
        if id.starts_with('#') { format!("{}{id}", self.id) } else { id.to_owned() }
    }
}

#[cfg(test)]
impl DidDocument {
    /// The same with one more key, under which nothing was signed.
    pub(crate) fn with_another_key(&self) -> Self {
        let mut json = self.json.clone();
        if let Some(methods) = json.get_mut("verificationMethod").and_then(Json::as_array_mut) {
            let mut second = methods.first().cloned().unwrap_or_default();
            second["id"] = json!(format!("{}#second", self.id));
            methods.push(second);
        }
        Self { json, ..self.clone() }
    }
}

/// Whether `kid` belongs to `did`: a key id of another participant is never accepted.
#[must_use]
pub fn owns(did: &str, kid: &str) -> bool {
    kid.starts_with('#') || kid.strip_prefix(did).is_some_and(|rest| rest.starts_with('#'))
}

/// A string as one segment of a path.
#[must_use]
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{Algorithm, PrivateKey};

    #[test]
    fn did_web_maps_to_its_url() {
        let url = |did: &str| document_url(did).unwrap().unwrap();
        assert_eq!(url("did:web:city.example"), "https://city.example/.well-known/did.json");
        assert_eq!(url("did:web:localhost%3A8443"), "https://localhost:8443/.well-known/did.json");
        assert_eq!(url("did:web:city.example:agencies:air"), "https://city.example/agencies/air/did.json");
        assert_eq!(web("localhost:8443"), "did:web:localhost%3A8443");
        for bad in [
            "did:web:",
            "did:web:10.0.0.1",
            "did:web:a.example:..:b",
            "did:web:a@b",
            "did:web:a%2Fb",
            "did:example:x",
            "https://a.example",
            "did:web:a.example:x%3Ay",
            "did:web:a.example%3A",
            "did:web:a.example%3A8443%3A1",
            "did:web:a.example%3A99999",
            "did:web:a.example%0A",
            "did:web:a.example:%252e%252e",
        ] {
            assert!(document_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_in_disguise_is_no_host_name() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f000002",
            "0X7F000002",
            "0x7f.2",
            "0x7f.0x2",
            "127.0.0.0x2",
            "127.0.0.1.",
            "0177.2",
            "a.example.0x",
            "a.example.7",
            "%31%32%37.0.0.1",
            "0%787f000002",
            "127.0.0.0x2%3A8443",
            "%5B%3A%3A1%5D",
        ] {
            assert!(document_url(&format!("did:web:{host}")).is_err(), "{host}");
        }
        for host in ["0x7f.example", "7.example", "localhost", "a.0xfg", "x0x7f"] {
            assert!(document_url(&format!("did:web:{host}")).is_ok(), "{host}");
        }
    }

    #[test]
    fn did_key_of_the_published_vectors() {
        // From the did:key method specification, section Test Vectors.
        for did in [
            "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
            "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169",
        ] {
            let document = key_document(did).unwrap();
            assert!(document.key(None, Relationship::CapabilityInvocation).is_ok());
        }
        assert!(key_document("did:key:z6MkInvalid").is_err());
        let versioned = "did:key:1:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
        let document = key_document(versioned).unwrap();
        assert_eq!(document.id(), versioned);
        let kid = format!("{versioned}#z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp");
        assert!(document.key(Some(&kid), Relationship::Authentication).is_ok());
        assert!(key_document("did:key:2:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp").is_err());
    }

    /// DID Core, section 5.4: types and endpoints as one or several.
    #[test]
    fn services_are_found_however_they_are_written() {
        let found = |service: Json| {
            let document =
                DidDocument::parse(json!({"id": "did:web:a", "service": service}), "did:web:a").unwrap();
            document.service("CredentialService").map(str::to_owned)
        };
        let one = json!({"id": "did:web:a#c", "type": "CredentialService", "serviceEndpoint": "https://a/c"});
        let mut listed = one.clone();
        (listed["type"], listed["serviceEndpoint"]) =
            (json!(["Other", "CredentialService"]), json!([{"x": 1}, "https://a/c"]));
        for service in [one.clone(), json!([one]), json!([{"type": "Other"}, listed])] {
            assert_eq!(found(service.clone()).as_deref(), Some("https://a/c"), "{service}");
        }
        for service in
            [json!([]), json!("CredentialService"), json!([{"type": "CredentialService"}]), json!(7)]
        {
            assert_eq!(found(service.clone()), None, "{service}");
        }
    }

    #[test]
    fn a_did_key_verifies_what_its_key_signed() {
        for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
            let private = PrivateKey::generate(algorithm).unwrap();
            let did = key_of(private.public_jwk()).unwrap();
            let jws = private.sign("x", "JWT", b"p").unwrap();
            let key = key_document(&did).unwrap().key(None, Relationship::AssertionMethod).unwrap();
            assert_eq!(key.verify(&jws).unwrap(), b"p");
        }
    }

    #[test]
    fn a_key_needs_the_relationship_and_the_owner() {
        let private = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let did = "did:web:a.example";
        let document = DidDocument::of_node(
            did,
            "did:web:a.example#k",
            private.public_jwk(),
            &[("dsp", "DataService", "https://a/v".to_owned())],
        );
        assert!(document.key(Some("#k"), Relationship::CapabilityInvocation).is_ok());
        assert!(document.key(Some("did:web:b.example#k"), Relationship::CapabilityInvocation).is_err());
        let mut json = document.json().clone();
        json["capabilityInvocation"] = json!([]);
        let weaker = DidDocument::parse(json.clone(), did).unwrap();
        assert!(weaker.key(Some("#k"), Relationship::CapabilityInvocation).is_err());
        assert!(weaker.with_undeclared_keys().key(Some("#k"), Relationship::CapabilityInvocation).is_err());
        assert!(DidDocument::parse(json.clone(), "did:web:b.example").is_err());
        json["assertionMethod"] = json!([]);
        json["authentication"] = json!([]);
        let silent = DidDocument::parse(json, did).unwrap();
        assert!(silent.key(Some("#k"), Relationship::CapabilityInvocation).is_err());
        assert!(silent.with_undeclared_keys().key(Some("#k"), Relationship::CapabilityInvocation).is_ok());
        assert_eq!(document.service("DataService"), Some("https://a/v"));
        assert!(owns(did, "did:web:a.example#k") && owns(did, "#k"));
        assert!(!owns(did, "did:web:a.example.evil#k") && !owns(did, "did:web:b.example#k"));
    }
}
