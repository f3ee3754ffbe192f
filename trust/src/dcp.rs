//! The messages of the Decentralized Claims Protocol 1.0.1 (schemas of v1.0), strict in what is sent.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::error::TrustError;

/// The context of every message.
pub const CONTEXT: &str = "https://w3id.org/dspace-dcp/v1.0/dcp.jsonld";
/// What begins the scope of a credential type (DCP, section 5.4.1.2); `:read` may end it.
const TYPE_SCOPE: &str = "org.eclipse.dspace.dcp.vc.type:";
/// The same in Eclipse EDC up to 0.15.
pub(crate) const EDC_TYPE_SCOPE: &str = "org.eclipse.edc.vc.type:";
/// What begins the scope of a credential's id.
const ID_SCOPE: &str = "org.eclipse.dspace.dcp.vc.id:";
/// Most entries in one list of a message.
pub const MAX_ENTRIES: usize = 64;

/// A message with a `type` of its own.
pub trait DcpMessage: Serialize + DeserializeOwned {
    /// The value of `type`.
    const TYPE: &'static str;

    /// What the schema and the prose demand beyond single properties.
    ///
    /// # Errors
    /// One sentence.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Reads a message, in any form of JSON-LD that needs no context to be fetched.
///
/// # Errors
/// Names what is wrong: no context of the protocol, another type, a property missing or mistyped.
pub fn parse<T: DcpMessage>(json: Json) -> Result<T, TrustError> {
    let refuse = |reason: String| TrustError::Message(reason);
    let json = crate::dcp_normal::normalise(json);
    let context = match json.get("@context") {
        Some(Json::Array(all)) => all.iter().any(|one| one.as_str() == Some(CONTEXT)),
        Some(one) => one.as_str() == Some(CONTEXT),
        None => false,
    };
    if !context {
        return Err(refuse(format!("/@context: does not name {CONTEXT}")));
    }
    if json.get("type").and_then(Json::as_str) != Some(T::TYPE) {
        return Err(refuse(format!("/type: must be `{}`", T::TYPE)));
    }
    let message: T = serde_path_to_error::deserialize(json).map_err(|error| {
        refuse(format!("/{}: {}", error.path().to_string().replace('.', "/"), error.inner()))
    })?;
    message.check().map_err(refuse)?;
    Ok(message)
}

/// Writes a message, with context and type.
#[must_use]
pub fn write<T: DcpMessage>(message: &T) -> Json {
    // Messages are structs of JSON values, so they always serialise to an object.
    let mut json = serde_json::to_value(message).unwrap_or_default();
    if let Some(map) = json.as_object_mut() {
        map.retain(|_, value| !value.is_null());
        map.insert("@context".to_owned(), json!([CONTEXT]));
        map.insert("type".to_owned(), json!(T::TYPE));
    }
    json
}

/// The scope that asks for credentials of `kind`.
#[must_use]
pub fn scope_of(kind: &str) -> String {
    format!("{TYPE_SCOPE}{kind}:read")
}

/// The same as Eclipse EDC up to 0.15 has it, which knows no other.
#[must_use]
pub fn edc_scope_of(kind: &str) -> String {
    format!("{EDC_TYPE_SCOPE}{kind}:read")
}

/// What a scope stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The credential with this id (section 5.4.1.2, `org.eclipse.dspace.dcp.vc.id`).
    Id(String),
    /// Credentials of this type (`org.eclipse.dspace.dcp.vc.type`; `org.eclipse.edc.vc.type` of EDC up to 0.15).
    Kind(String),
}

impl Selector {
    /// Reads a scope; `None` for one of another alias, or one that asks for more than to read.
    #[must_use]
    pub fn of_scope(scope: &str) -> Option<Self> {
        let of_type = scope.strip_prefix(TYPE_SCOPE).or_else(|| scope.strip_prefix(EDC_TYPE_SCOPE));
        let (alias, rest) = match (of_type, scope.strip_prefix(ID_SCOPE)) {
            (Some(rest), _) => (Self::Kind as fn(String) -> Self, rest),
            (None, Some(rest)) => (Self::Id as fn(String) -> Self, rest),
            (None, None) => return None,
        };
        let name = rest.strip_suffix(":read").unwrap_or(rest);
        let is_type = of_type.is_some();
        // What else follows a type would be another right; ids have colons of their own.
        let fine = !name.is_empty() && name.len() <= 256 && !(is_type && name.contains(':'));
        fine.then(|| alias(name.to_owned()))
    }

    /// Whether it stands for a credential of `types` with the id `id`.
    #[must_use]
    pub fn admits(&self, types: &[String], id: Option<&str>) -> bool {
        match self {
            Self::Id(wanted) => id == Some(wanted),
            Self::Kind(wanted) => types.contains(wanted),
        }
    }
}

/// A verifier asks a holder for credentials (section 5.4.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresentationQueryMessage {
    /// Scopes.
    #[serde(default)]
    pub scope: Option<Vec<String>>,
    /// DIF Presentation Exchange.
    #[serde(default)]
    pub presentation_definition: Option<Json>,
}

impl DcpMessage for PresentationQueryMessage {
    const TYPE: &'static str = "PresentationQueryMessage";

    fn check(&self) -> Result<(), String> {
        match (&self.scope, &self.presentation_definition) {
            (Some(_), Some(_)) => Err("scope and presentationDefinition do not go together".to_owned()),
            (None, None) => Err("scope or presentationDefinition is missing".to_owned()),
            (Some(scopes), None) if scopes.is_empty() || scopes.len() > MAX_ENTRIES => {
                Err(format!("/scope: must have 1 to {MAX_ENTRIES} entries"))
            }
            (None, Some(definition)) => descriptors_of(definition).map(|_| ()),
            _ => Ok(()),
        }
    }
}

impl PresentationQueryMessage {
    /// What is asked for, in the order of scopes or input descriptors.
    ///
    /// # Errors
    /// A presentation definition that asks for more than is answered here, by its name (section 5.4.1.1).
    pub fn selectors(&self) -> Result<Vec<Selector>, String> {
        match (&self.scope, &self.presentation_definition) {
            (Some(scopes), _) => Ok(scopes.iter().filter_map(|scope| Selector::of_scope(scope)).collect()),
            (None, Some(definition)) => {
                Ok(definition_types(definition)?.into_iter().map(Selector::Kind).collect())
            }
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// The input descriptors of a presentation definition (DIF Presentation Exchange 2, section 5).
///
/// # Errors
/// It is none: it has no id or no descriptors, or one of these has no id or no constraints.
fn descriptors_of(definition: &Json) -> Result<&[Json], String> {
    let place = "/presentationDefinition";
    let has_id = |one: &Json| one.get("id").and_then(Json::as_str).is_some_and(|id| !id.is_empty());
    if !has_id(definition) {
        return Err(format!("{place}/id: is missing"));
    }
    let descriptors = definition.get("input_descriptors").and_then(Json::as_array);
    let descriptors = descriptors
        .filter(|all| !all.is_empty() && all.len() <= MAX_ENTRIES)
        .ok_or_else(|| format!("{place}/input_descriptors: must have 1 to {MAX_ENTRIES} entries"))?;
    let wrong = |one: &Json| !has_id(one) || !one.get("constraints").is_some_and(Json::is_object);
    match descriptors.iter().position(wrong) {
        Some(index) => Err(format!("{place}/input_descriptors/{index}: must have `id` and `constraints`")),
        None => Ok(descriptors),
    }
}

/// The credential types that a presentation definition asks for: each input descriptor filters `$.type` or `$.vc.type`
/// by a constant or a plain pattern.
///
/// # Errors
/// It asks otherwise, or for more: names what, for what it means is not decided here.
fn definition_types(definition: &Json) -> Result<Vec<String>, String> {
    let place = "/presentationDefinition";
    let jwt = |format: &Json| {
        format
            .as_object()
            .is_none_or(|all| all.keys().any(|name| name.starts_with("jwt") || name.ends_with("+jwt")))
    };
    for name in ["submission_requirements", "frame"] {
        if definition.get(name).is_some() {
            return Err(format!("{place}/{name}: is not answered here"));
        }
    }
    if !definition.get("format").is_none_or(jwt) {
        return Err(format!("{place}/format: credentials and presentations are JWTs here"));
    }
    let mut kinds = Vec::new();
    for (index, descriptor) in descriptors_of(definition)?.iter().enumerate() {
        let place = format!("{place}/input_descriptors/{index}");
        if !descriptor.get("format").is_none_or(jwt) {
            return Err(format!("{place}/format: credentials are JWTs here"));
        }
        let constraints = descriptor.get("constraints").unwrap_or(&Json::Null);
        // A JWT is shown whole.
        for name in ["limit_disclosure", "subject_is_issuer", "is_holder", "same_subject", "statuses"] {
            match constraints.get(name) {
                None => {}
                Some(wanted) if wanted.as_str() == Some("preferred") => {}
                Some(_) => return Err(format!("{place}/constraints/{name}: is not answered here")),
            }
        }
        let fields = match constraints.get("fields") {
            Some(Json::Array(all)) => all.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        let mut named = None;
        for (number, field) in fields.iter().enumerate() {
            let place = format!("{place}/constraints/fields/{number}");
            let paths = field.get("path").and_then(Json::as_array).into_iter().flatten();
            let is_type = paths.filter_map(Json::as_str).any(|path| path == "$.type" || path == "$.vc.type");
            if !is_type && field.get("optional") == Some(&Json::Bool(true)) {
                continue;
            }
            if !is_type || named.is_some() {
                return Err(format!("{place}: only one filter of `$.type`, by name, is answered here"));
            }
            let filter = field.get("filter").map(|filter| filter.get("contains").unwrap_or(filter));
            let text = |name: &str| filter?.get(name)?.as_str();
            let pattern = text("const")
                .or_else(|| text("pattern").map(|one| one.trim_start_matches('^').trim_end_matches('$')));
            let plain = pattern.filter(|one| {
                !one.is_empty() && one.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
            });
            let plain =
                plain.ok_or_else(|| format!("{place}/filter: only a type by its name is answered here"))?;
            named = Some(plain.to_owned());
        }
        kinds.push(named.ok_or_else(|| {
            format!("{place}/constraints: only a filter of `$.type`, by name, is answered here")
        })?);
    }
    Ok(kinds)
}

/// A holder shows credentials (section 5.4.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresentationResponseMessage {
    /// Compact JWT each.
    pub presentation: Vec<Json>,
    /// Where what was asked for stands, for a presentation definition.
    #[serde(default)]
    pub presentation_submission: Option<Json>,
}

impl DcpMessage for PresentationResponseMessage {
    const TYPE: &'static str = "PresentationResponseMessage";
}

/// A credential on its way from issuer to holder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialContainer {
    /// Its type.
    pub credential_type: String,
    /// Compact JWT.
    pub payload: String,
    /// A profile's name or `jwt`.
    pub format: String,
}

/// Whether a request was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// Granted: the credentials are in the message.
    Issued,
    /// Not granted.
    Rejected,
}

/// An issuer delivers, or refuses (section 6.5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialMessage {
    /// The issuer's id of the request.
    pub issuer_pid: String,
    /// The holder's id of the request; some issuers leave it out.
    #[serde(default)]
    pub holder_pid: Option<String>,
    /// Whether it was granted.
    pub status: Outcome,
    /// Why not.
    #[serde(default)]
    pub rejection_reason: Option<String>,
    /// The credentials.
    #[serde(default)]
    pub credentials: Vec<CredentialContainer>,
}

impl DcpMessage for CredentialMessage {
    const TYPE: &'static str = "CredentialMessage";

    fn check(&self) -> Result<(), String> {
        if self.credentials.len() > MAX_ENTRIES {
            return Err(format!("/credentials: more than {MAX_ENTRIES}"));
        }
        if self.status == Outcome::Issued && self.credentials.is_empty() {
            return Err("/credentials: nothing was issued".to_owned());
        }
        Ok(())
    }
}

/// What an issuer can issue (section 6.6.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialObject {
    /// Its id at the issuer.
    pub id: String,
    /// `CredentialObject`.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// The credential's type.
    #[serde(default)]
    pub credential_type: Option<String>,
    /// Address of its schema.
    #[serde(default)]
    pub credential_schema: Option<String>,
    /// Why it is offered.
    #[serde(default)]
    pub offer_reason: Option<String>,
    /// DID methods of holders.
    #[serde(default)]
    pub binding_methods: Option<Vec<String>>,
    /// A profile's name.
    #[serde(default)]
    pub profile: Option<String>,
    /// What is to be shown for it (DIF Presentation Exchange).
    #[serde(default)]
    pub issuance_policy: Option<Json>,
}

/// An issuer says that something can be requested (section 6.6).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialOfferMessage {
    /// The issuer's DID.
    pub issuer: String,
    /// What it offers.
    pub credentials: Vec<CredentialObject>,
}

impl DcpMessage for CredentialOfferMessage {
    const TYPE: &'static str = "CredentialOfferMessage";

    fn check(&self) -> Result<(), String> {
        if self.credentials.is_empty() || self.credentials.len() > MAX_ENTRIES {
            return Err(format!("/credentials: must have 1 to {MAX_ENTRIES} entries"));
        }
        Ok(())
    }
}

/// A reference to a [`CredentialObject`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Its id.
    pub id: String,
}

/// A holder asks an issuer (section 6.4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRequestMessage {
    /// The holder's id of the request.
    pub holder_pid: String,
    /// What it wants, by id.
    pub credentials: Vec<Reference>,
}

impl DcpMessage for CredentialRequestMessage {
    const TYPE: &'static str = "CredentialRequestMessage";

    fn check(&self) -> Result<(), String> {
        if self.holder_pid.is_empty() || self.holder_pid.len() > 256 {
            return Err("/holderPid: must have 1 to 256 bytes".to_owned());
        }
        if self.credentials.is_empty() || self.credentials.len() > MAX_ENTRIES {
            return Err(format!("/credentials: must have 1 to {MAX_ENTRIES} entries"));
        }
        Ok(())
    }
}

/// Where a request stands (section 6.8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStatus {
    /// The issuer's id of the request.
    pub issuer_pid: String,
    /// The holder's id of the request.
    pub holder_pid: String,
    /// `RECEIVED`, `ISSUED` or `REJECTED`.
    pub status: String,
}

impl DcpMessage for CredentialStatus {
    const TYPE: &'static str = "CredentialStatus";
}

/// What an issuer can issue at all (section 6.7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerMetadata {
    /// The issuer's DID.
    pub issuer: String,
    /// What it issues.
    pub credentials_supported: Vec<CredentialObject>,
}

impl DcpMessage for IssuerMetadata {
    const TYPE: &'static str = "IssuerMetadata";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(more: Json) -> Result<PresentationQueryMessage, String> {
        let mut json = json!({"@context": [CONTEXT], "type": "PresentationQueryMessage"});
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        parse(json).map_err(|error| error.to_string())
    }

    #[test]
    fn queries_ask_by_scope_or_by_definition() {
        let scope = scope_of("MembershipCredential");
        assert_eq!(scope, "org.eclipse.dspace.dcp.vc.type:MembershipCredential:read");
        let kind = |name: &str| Selector::Kind(name.to_owned());
        assert_eq!(
            query(json!({"scope": [scope]})).unwrap().selectors().unwrap(),
            [kind("MembershipCredential")]
        );
        let definition = |filter: Json| {
            json!({"presentationDefinition": {"id": "x", "input_descriptors": [
                {"id": "c", "constraints": {"fields": [{"path": ["$.type"], "filter": filter}]}}]}})
        };
        let by_name = query(definition(json!({"type": "string", "pattern": "^Role$"}))).unwrap();
        assert_eq!(by_name.selectors().unwrap(), [kind("Role")]);
        // What it cannot answer it names, and does not answer otherwise.
        let mut plain = definition(json!({"type": "string", "const": "Role"}));
        let whole = plain.clone();
        assert!(query(whole.clone()).unwrap().selectors().is_ok());
        let descriptor = "/presentationDefinition/input_descriptors/0";
        for (place, name, value) in [
            ("/presentationDefinition".to_owned(), "submission_requirements", json!([{"rule": "all"}])),
            ("/presentationDefinition".to_owned(), "format", json!({"ldp_vp": {}})),
            (descriptor.to_owned(), "format", json!({"ldp_vc": {}})),
            (format!("{descriptor}/constraints"), "limit_disclosure", json!("required")),
            (format!("{descriptor}/constraints"), "statuses", json!({"active": {"directive": "required"}})),
            (
                format!("{descriptor}/constraints"),
                "fields",
                json!([{"path": ["$.type"], "filter": {"const": "Role"}},
                {"path": ["$.credentialSubject.role"], "filter": {"const": "auditor"}}]),
            ),
            (
                format!("{descriptor}/constraints"),
                "fields",
                json!([{"path": ["$.issuer"], "filter": {"const": "did:web:a"}}]),
            ),
            (
                format!("{descriptor}/constraints"),
                "fields",
                json!([{"path": ["$.type"], "filter": {"pattern": ".*"}}]),
            ),
            (format!("{descriptor}/constraints"), "fields", json!([])),
        ] {
            plain = whole.clone();
            plain.pointer_mut(&place).unwrap()[name] = value.clone();
            let refused = query(plain).unwrap().selectors().unwrap_err();
            assert!(refused.starts_with(&place), "{name} {value}: {refused}");
        }
        for (name, value) in [
            ("limit_disclosure", json!("preferred")),
            (
                "fields",
                json!([{"path": ["$.type"], "filter": {"const": "Role"}}, {"path": ["$.issuer"], "optional": true}]),
            ),
        ] {
            let mut fine = whole.clone();
            fine.pointer_mut(&format!("{descriptor}/constraints")).unwrap()[name] = value;
            assert_eq!(query(fine).unwrap().selectors().unwrap(), [kind("Role")]);
        }
        for bad in [
            json!({}),
            json!({"scope": []}),
            json!({"presentationDefinition": {}}),
            json!({"scope": [scope_of("X")], "presentationDefinition": {"input_descriptors": []}}),
            json!({"presentationDefinition": {"id": "x", "input_descriptors": [{"constraints": {}}]}}),
            json!({"presentationDefinition": {"id": "x", "input_descriptors": [{"id": "c"}]}}),
            json!({"presentationDefinition": {"input_descriptors": [{"id": "c", "constraints": {}}]}}),
        ] {
            assert!(query(bad.clone()).is_err(), "{bad}");
        }
        let of = |text: &str| Selector::of_scope(text);
        assert_eq!(of("org.eclipse.dspace.dcp.vc.type:Member"), Some(kind("Member")));
        assert_eq!(of(&edc_scope_of("Member")), Some(kind("Member")));
        assert_eq!(of("org.eclipse.dspace.dcp.vc.type:Member:write"), None);
        let by_id = of("org.eclipse.dspace.dcp.vc.id:urn:uuid:1").unwrap();
        let member = ["VerifiableCredential".to_owned(), "Member".to_owned(), "Auditor".to_owned()];
        assert!(by_id.admits(&member, Some("urn:uuid:1")) && !by_id.admits(&member, Some("urn:uuid:2")));
        let by_type = |name: &str| Selector::of_scope(&scope_of(name)).unwrap().admits(&member, None);
        assert!(by_type("Member") && by_type("Auditor") && !by_type("Memb"));
        assert_eq!(of("openid"), None);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let message = CredentialRequestMessage {
            holder_pid: "h".to_owned(),
            credentials: vec![Reference { id: "c".to_owned() }],
        };
        assert_eq!(parse::<CredentialRequestMessage>(write(&message)).unwrap(), message);
        let mut other = write(&message);
        other["type"] = json!("CredentialStatus");
        assert!(parse::<CredentialRequestMessage>(other).unwrap_err().to_string().contains("/type"));
        let mut other = write(&message);
        other.as_object_mut().unwrap().remove("holderPid");
        assert!(parse::<CredentialRequestMessage>(other).unwrap_err().to_string().contains("holderPid"));
    }
}
