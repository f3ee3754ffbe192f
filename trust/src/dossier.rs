//! The file that proves an agreement years later, to somebody who has nothing but the file: the agreement with both
//! signatures, the offer, every message with its token, DID documents, credentials and status lists as they were.
//!
//! Whoever exports it seals it: a signature over the digest of every part, so that an altered part is found and named.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::agreement::{self, AgreementSignature, Bound, SignerRole};
use crate::credential;
use crate::did::{self, DidDocument, Relationship};
use crate::error::TrustError;
use crate::jose::{self, PrivateKey};
use crate::statement;
use crate::status::StatusList;
use crate::token;

/// `typ` of a seal.
const TYPE: &str = "concordat-dossier+jws";
/// The member of a message that carries the signature over the agreement.
const SIGNATURE: &str = "urn:concordat:signature";

/// A message of the negotiation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessageEvidence {
    /// When it was received, or made.
    pub at: Timestamp,
    /// Who sent it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// The self-issued ID token that came with it; `None` where identities were shown otherwise, or where it is not
    /// known which of several attempts was taken.
    pub token: Option<String>,
    /// The message.
    pub body: Json,
}

/// A credential that a party showed, with what its revocation was checked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CredentialEvidence {
    /// The credential, a compact JWT.
    pub credential: String,
    /// The status lists, compact JWTs, in the order of the credential's entries.
    pub status_lists: Vec<String>,
    /// When it was checked.
    pub checked_at: Timestamp,
}

/// An agreement with all that is needed to check it offline, as `concordat agreements export` writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dossier {
    /// Format of this file: `concordat-dossier/3`, or `concordat-dossier/2`, in which nothing stands beside the agreement.
    pub format: String,
    /// As sent by the provider.
    pub agreement: Json,
    /// What stood beside it in its message and is bound to it by the signatures, by name: the terms in words, service levels,
    /// rulebooks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, Json>,
    /// The DIDs of parties that the agreement names otherwise, by that name, as the exporter knows them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
    /// The provider's signature.
    pub provider_signature: Option<String>,
    /// The consumer's signature.
    pub consumer_signature: Option<String>,
    /// The offer that was agreed to; `None` for an agreement made elsewhere.
    pub offer: Option<Json>,
    /// The negotiation's messages, the oldest first.
    pub messages: Vec<MessageEvidence>,
    /// DID documents of the parties and of issuers as they were when the agreement was made, by DID.
    pub did_documents: BTreeMap<String, Json>,
    /// What the other party showed when the agreement was made, by DID.
    pub credentials: BTreeMap<String, Vec<CredentialEvidence>>,
    /// What the parties stated to each other about it, signed (compact JWS): measurements, what was attained, disputes,
    /// waivers, deletions. What names a person is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<String>,
    /// The periods of its service levels: what was attained and missed, what is owed, disputed, waived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub periods: Vec<Json>,
    /// The exporter's keys that are in wrong hands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compromised_keys: Vec<CompromisedKey>,
    /// Whether keys counted whose DID document declares no use of any key (drafts of DCP 1.0).
    pub undeclared_keys: bool,
    /// When the agreement came into force with the exporter.
    pub concluded_at: Timestamp,
    /// When this file was made.
    pub exported_at: Timestamp,
    /// The party that made it.
    pub exported_by: String,
    /// Its DID document then.
    pub exporter_document: Json,
    /// Its signature over the digests of all parts.
    pub seal: Option<String>,
}

/// A key of the exporter that is in wrong hands: what it signed counts only where something else shows that it was signed
/// before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CompromisedKey {
    /// Its id: the DID and a fragment.
    pub key_id: String,
    /// Since when.
    pub since: Timestamp,
    /// When that was said.
    pub declared_at: Timestamp,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The part of the file, as a path: `messages/2`.
    pub part: String,
    /// Whether it holds.
    pub holds: bool,
    /// It is not there, and something else in the file stands for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// What it says, or what is wrong.
    pub text: String,
}

impl Dossier {
    /// The value of `format`.
    pub const FORMAT: &'static str = "concordat-dossier/3";
    /// The one before it.
    const BEFORE: &'static str = "concordat-dossier/2";

    /// Reads a dossier file.
    ///
    /// # Errors
    /// Not JSON of this shape.
    pub fn parse(text: &[u8]) -> Result<Self, TrustError> {
        let dossier: Self =
            serde_json::from_slice(text).map_err(|error| TrustError::Dossier(error.to_string()))?;
        if ![Self::FORMAT, Self::BEFORE].contains(&dossier.format.as_str()) {
            return Err(TrustError::Dossier(format!(
                "its format is `{}`, expected `{}`",
                dossier.format,
                Self::FORMAT
            )));
        }
        Ok(dossier)
    }

    /// The file's text.
    #[must_use]
    pub fn write(&self) -> String {
        format!("{:#}\n", self.json())
    }

    fn json(&self) -> Json {
        // A struct of JSON values, so it always has a JSON form.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Seals it with a key of the exporter.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn sealed(self, key: &PrivateKey, kid: &str) -> Result<Self, TrustError> {
        let payload = json!({"format": self.format, "parts": self.digests()?});
        let seal = key.sign(kid, TYPE, payload.to_string().as_bytes())?;
        Ok(Self { seal: Some(seal), ..self })
    }

    /// The digest of each part, by its path.
    fn digests(&self) -> Result<BTreeMap<String, String>, TrustError> {
        fn visit(path: &str, json: &Json, found: &mut BTreeMap<String, String>) -> Result<(), TrustError> {
            match json {
                Json::Array(all) if path == "messages" || path.starts_with("credentials/") => {
                    found.insert(path.to_owned(), all.len().to_string());
                    all.iter()
                        .enumerate()
                        .try_for_each(|(index, one)| visit(&format!("{path}/{index}"), one, found))
                }
                Json::Object(map) if ["", "didDocuments", "credentials"].contains(&path) => map
                    .iter()
                    .filter(|(name, _)| !path.is_empty() || *name != "seal")
                    .try_for_each(|(name, one)| {
                        let name = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                        visit(&name, one, found)
                    }),
                one => {
                    found.insert(path.to_owned(), digest(one)?);
                    Ok(())
                }
            }
        }
        let mut found = BTreeMap::new();
        visit("", &self.json(), &mut found)?;
        Ok(found)
    }

    /// Checks everything in a file, as far as that can be done with nothing but the file.
    #[must_use = "the file proves nothing unless all of it holds"]
    pub fn check(&self, file: &[u8]) -> Vec<Finding> {
        let mut findings = Findings::default();
        findings.add("file", self.check_form(file));
        self.check_seal(&mut findings);
        for role in [SignerRole::Provider, SignerRole::Consumer] {
            let (part, found) = (format!("{}Signature", role.name()), self.check_signature(role));
            findings.add(&part, found);
            if self.signature(role).is_none()
                && let Some(finding) = findings.0.last_mut()
            {
                finding.absent = true;
            }
        }
        for (name, did) in &self.names {
            findings.add(&format!("names/{name}"), self.check_name(name, did));
        }
        for (index, message) in self.messages.iter().enumerate() {
            findings.add(&format!("messages/{index}"), self.check_message(message));
        }
        for did in self.did_documents.keys() {
            let text = self.document(did).and_then(|document| document.thumbprints());
            findings.add(
                &format!("didDocuments/{did}"),
                text.map(|keys| format!("keys as they were then, by thumbprint: {}", keys.join(", "))),
            );
        }
        for (did, shown) in &self.credentials {
            for (index, one) in shown.iter().enumerate() {
                findings.add(&format!("credentials/{did}/{index}"), self.check_credential(did, one));
            }
        }
        for (index, statement) in self.statements.iter().enumerate() {
            findings.add(&format!("statements/{index}"), self.check_statement(statement));
        }
        findings.0
    }

    fn check_statement(&self, compact: &str) -> Result<String, TrustError> {
        let (header, _) = jose::peek_within(compact, jose::MAX_SEAL)?;
        let kind = header.get("typ").and_then(Json::as_str).unwrap_or_default().to_owned();
        let claimed = statement::Claimed::read(compact, &kind, jose::MAX_SEAL)?;
        let parties = [SignerRole::Provider, SignerRole::Consumer].map(|role| self.bound().party(role));
        let other = parties.into_iter().flatten().find(|party| *party != claimed.by());
        let to = other.filter(|_| parties.contains(&Some(claimed.by())));
        let to = to.ok_or_else(|| refuse("who stated it is no party of the agreement"))?;
        let held = claimed.verify(&self.document(claimed.by())?, to);
        // What the exporter stated later, it may have signed with a later key.
        let held = match held {
            Err(_) if claimed.by() == self.exported_by => {
                let later = DidDocument::parse(self.exporter_document.clone(), &self.exported_by)?;
                claimed.verify(&later, to)?
            }
            held => held?,
        };
        Ok(format!("{kind} of {} on {}", held.by, held.at))
    }

    fn check_form(&self, file: &[u8]) -> Result<String, TrustError> {
        let written = self.write();
        match differs(&written, file) {
            None => Ok("every byte is as it was exported".to_owned()),
            Some(at) => {
                Err(TrustError::Dossier(format!("the text was changed after the export, first at byte {at}")))
            }
        }
    }

    fn check_seal(&self, findings: &mut Findings) {
        let Some(seal) = &self.seal else {
            return findings.add("seal", Err(refuse("it has no seal")));
        };
        let altered = match self.altered(seal) {
            Ok(altered) => altered,
            Err(error) => return findings.add("seal", Err(error)),
        };
        let count = altered.len();
        for (part, what) in altered {
            findings.add(&part, Err(refuse(&format!("this part was {what} after the export"))));
        }
        let sealed = self.check_sealer(seal).and_then(|kid| match count {
            0 => Ok(format!("sealed by {kid} on {}, every part as it was", self.exported_at)),
            _ => Err(refuse(&format!("{count} parts are not as {kid} sealed them"))),
        });
        findings.add("seal", sealed);
    }

    /// The parts that are not as the seal says, and what was done to them.
    fn altered(&self, seal: &str) -> Result<Vec<(String, &'static str)>, TrustError> {
        let (_, payload) = jose::peek_within(seal, jose::MAX_SEAL)?;
        let said: Json = serde_json::from_slice(&payload).map_err(|_| refuse("its seal is not JSON"))?;
        let sealed: BTreeMap<String, String> = said
            .get("parts")
            .and_then(|parts| serde_json::from_value(parts.clone()).ok())
            .ok_or_else(|| refuse("its seal names no parts"))?;
        let found = self.digests()?;
        let names: BTreeSet<_> = sealed.keys().chain(found.keys()).collect();
        let what = |name: &String| match (sealed.get(name), found.get(name)) {
            (Some(then), Some(now)) if then == now => None,
            (Some(_), Some(_)) => Some("altered"),
            (Some(_), None) => Some("removed"),
            (None, _) => Some("added"),
        };
        Ok(names.into_iter().filter_map(|name| Some((name.clone(), what(name)?))).collect())
    }

    /// Whether the seal is the exporter's, who is a party; the id of its key.
    fn check_sealer(&self, seal: &str) -> Result<String, TrustError> {
        let parties = [SignerRole::Provider, SignerRole::Consumer].map(|role| self.bound().party(role));
        if !parties.contains(&Some(self.exported_by.as_str())) {
            return Err(refuse("who exported it is no party of the agreement"));
        }
        let document = DidDocument::parse(self.exporter_document.clone(), &self.exported_by)?;
        let (header, _) = jose::peek_within(seal, jose::MAX_SEAL)?;
        let kid = header.get("kid").and_then(Json::as_str).filter(|kid| did::owns(&self.exported_by, kid));
        let kid = kid.ok_or_else(|| refuse("its seal names no key of the exporter"))?;
        if header.get("typ").and_then(Json::as_str) != Some(TYPE) {
            return Err(refuse("its seal is another kind of signature"));
        }
        document.key(Some(kid), Relationship::AssertionMethod)?.verify_within(seal, jose::MAX_SEAL)?;
        Ok(kid.to_owned())
    }

    /// What the parties signed.
    #[must_use]
    pub const fn bound(&self) -> Bound<'_> {
        Bound { agreement: &self.agreement, parts: &self.parts, names: &self.names }
    }

    const fn signature(&self, role: SignerRole) -> Option<&String> {
        match role {
            SignerRole::Consumer => self.consumer_signature.as_ref(),
            SignerRole::Provider => self.provider_signature.as_ref(),
        }
    }

    /// What stands for a signature that was never made: the message by which its party agreed, with its token.
    fn check_unsigned(&self, role: SignerRole) -> Result<String, TrustError> {
        let kind = role.message();
        let of_kind = |one: &&MessageEvidence| {
            one.body.get("@type").and_then(Json::as_str) == Some(kind)
                && Some(one.from.as_str()) == self.bound().party(role)
        };
        let message = self.messages.iter().find(of_kind).filter(|one| one.token.is_some());
        let absent = || {
            let text =
                format!("the {} did not sign, and no {kind} of it with a token is in the file", role.name());
            TrustError::Signature(text)
        };
        let said = self.check_message(message.ok_or_else(absent)?)?;
        Ok(format!("absent; what stands for it: {said}"))
    }

    fn check_signature(&self, role: SignerRole) -> Result<String, TrustError> {
        let Some(compact) = self.signature(role) else { return self.check_unsigned(role) };
        let bound = self.bound();
        let party = bound
            .party(role)
            .ok_or_else(|| TrustError::Dossier(format!("the agreement names no {}", role.name())))?;
        let signature = agreement::verify(compact, role, bound, &self.document(party)?)?;
        let alone =
            if signature.agreement_alone { ", the agreement without what stands beside it" } else { "" };
        let said = format!("signed by {} on {}{alone}", signature.key_id, signature.signed_at);
        let Some(key) = self.compromised(&signature) else { return Ok(said) };
        // The record is under the seal of a key that counts; what the signature says of its time is the key's own word.
        if self.concluded_at < key.since {
            return Ok(format!(
                "{said}; that key is in wrong hands since {}, and the record of the exporter shows that it was signed before, on {}",
                key.since, self.concluded_at
            ));
        }
        Err(TrustError::Signature(format!(
            "{said}, it says; that key is in wrong hands since {} (said on {}), and nothing but its own word shows that it \
             was signed before",
            key.since, key.declared_at
        )))
    }

    fn compromised(&self, signature: &AgreementSignature) -> Option<&CompromisedKey> {
        let fragment = |id: &str| id.rsplit('#').next().map(str::to_owned);
        let mut known = self.compromised_keys.iter().filter(|_| signature.signer == self.exported_by);
        known.find(|key| fragment(&key.key_id) == fragment(&signature.key_id))
    }

    /// Whether a name is that of a party of the agreement and no DID, which stands for itself.
    fn check_name(&self, name: &str, did: &str) -> Result<String, TrustError> {
        let named = [SignerRole::Provider, SignerRole::Consumer].map(|role| role.member());
        let named = named.map(|member| self.agreement.get(member).and_then(Json::as_str));
        if name.starts_with("did:") || !named.contains(&Some(name)) {
            return Err(refuse(&format!("the agreement names no party `{name}` that would not be a DID")));
        }
        Ok(format!("stands for {did}, by the word of who exported this file"))
    }

    fn check_message(&self, message: &MessageEvidence) -> Result<String, TrustError> {
        let kind = message.body.get("@type").and_then(Json::as_str).unwrap_or("a message without a type");
        if let Some(sent) = message.body.get("agreement")
            && digest(sent)? != digest(&self.agreement)?
        {
            return Err(refuse(&format!("this {kind} carries another agreement")));
        }
        if message.body.get("agreement").is_some()
            && let Some((name, _)) =
                self.parts.iter().find(|(name, part)| message.body.get(*name) != Some(*part))
        {
            return Err(refuse(&format!("this {kind} carries another `{name}` beside the agreement")));
        }
        let mut roles = [SignerRole::Provider, SignerRole::Consumer].into_iter();
        if let Some(role) = roles.find(|role| role.message() == kind)
            && message.body.get(SIGNATURE).and_then(Json::as_str) != self.signature(role).map(String::as_str)
        {
            return Err(refuse(&format!("this {kind} carries another signature")));
        }
        let said = format!("{kind} of {} on {}", message.from, message.at);
        let Some(compact) = &message.token else { return Ok(format!("{said}, without a token")) };
        let claimed = token::Claimed::read(compact)?;
        if claimed.did() != message.from {
            return Err(refuse(&format!("the token of this {kind} is of `{}`", claimed.did())));
        }
        let issued = claimed.issued_at()?;
        let held = claimed.verify(&self.document(&message.from)?, &message.to, issued, token::MAX_LIFETIME);
        // What the exporter said after the agreement was made, it may have said with a later key.
        if held.is_err() && message.from == self.exported_by {
            let later = DidDocument::parse(self.exporter_document.clone(), &self.exported_by)?;
            claimed.verify(&later, &message.to, issued, token::MAX_LIFETIME)?;
        } else {
            held?;
        }
        Ok(format!("{said}, with its token"))
    }

    fn check_credential(&self, did: &str, evidence: &CredentialEvidence) -> Result<String, TrustError> {
        let at = evidence.checked_at;
        let claimed = credential::Claimed::read(&evidence.credential)?;
        let issuer = self.document(claimed.issuer())?;
        let credential = claimed.verify(&issuer, at)?;
        let (kind, refuse) = (credential.kind(), |reason: String| TrustError::Credential(reason));
        if credential.subject() != did {
            return Err(refuse(format!("this `{kind}` is of `{}`", credential.subject())));
        }
        let entries = credential.status()?;
        if entries.len() != evidence.status_lists.len() {
            return Err(refuse(format!("a status list of this `{kind}` is not in the file")));
        }
        for (entry, list) in entries.iter().zip(&evidence.status_lists) {
            let claimed = credential::Claimed::read_list(list)?;
            if claimed.issuer() != credential.issuer() {
                return Err(refuse(format!("a status list of this `{kind}` is of another issuer")));
            }
            let list = claimed.verify(&issuer, at)?;
            if StatusList::of_credential(&list)?.says(entry)? {
                return Err(refuse(format!("this `{kind}` was under {} then", entry.purpose)));
            }
        }
        let checked = if entries.is_empty() { "it cannot be revoked" } else { "not revoked" };
        Ok(format!("{kind} by {}; {checked} on {at}", credential.issuer()))
    }

    fn document(&self, did: &str) -> Result<DidDocument, TrustError> {
        if did.starts_with("did:key:") && !self.did_documents.contains_key(did) {
            return did::key_document(did);
        }
        let json = self
            .did_documents
            .get(did)
            .ok_or_else(|| TrustError::Dossier(format!("the DID document of `{did}` is not in the file")))?;
        let document = DidDocument::parse(json.clone(), did)?;
        Ok(if self.undeclared_keys { document.with_undeclared_keys() } else { document })
    }
}

/// Where a file is not as the JSON text `written`. What no terminal is shown, the file may have as JSON escapes it.
fn differs(written: &str, file: &[u8]) -> Option<usize> {
    let mut rest = file;
    for c in written.chars() {
        let after = rest
            .strip_prefix(c.encode_utf8(&mut [0; 4]).as_bytes())
            .or_else(|| rest.strip_prefix(json_escape(c).as_bytes()).filter(|_| c > '~'));
        match after {
            Some(after) => rest = after,
            None => return Some(file.len() - rest.len()),
        }
    }
    (!rest.is_empty()).then(|| file.len() - rest.len())
}

/// A character as JSON escapes it: `\u202e`, two of them beyond U+FFFF.
#[must_use]
pub fn json_escape(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, part: &str, result: Result<String, TrustError>) {
        let (holds, text) = match result {
            Ok(text) => (true, text),
            Err(error) => (false, error.to_string()),
        };
        self.0.push(Finding { part: part.to_owned(), holds, absent: false, text });
    }
}

fn refuse(reason: &str) -> TrustError {
    TrustError::Dossier(reason.to_owned())
}

/// SHA-256 of the canonical form (RFC 8785), base64url without padding.
fn digest(json: &Json) -> Result<String, TrustError> {
    let canonical = serde_json_canonicalizer::to_vec(json)
        .map_err(|error| TrustError::Dossier(format!("a part has no canonical form: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)))
}
