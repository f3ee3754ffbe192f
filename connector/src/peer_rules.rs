//! What each peer speaks, and which checks are loosened for it: by the configuration, and by what it is recognised as.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

use protocol::Names;
use serde_json::Value as Json;
use trust::DidDocument;

use crate::config::{Config, Loosen, PeerProfile, PeerSettings, ScopeAlias, Signatures};

/// Every message of Eclipse EDC has this among its contexts.
const EDC_CONTEXT: &str = "https://w3id.org/edc/dspace/v0.0.1";
/// Credential services of EDC's IdentityHub lie below this.
const EDC_CREDENTIALS: &str = "/v1/participants/";
/// The line that lets agreements be binding without the peer's signature.
pub const ACCEPT_PEER_TOKEN: &str = "signatures = \"accept-peer-token\"";
/// The line that lets keys count of which a DID document does not say what they are for.
pub const UNDECLARED_KEYS: &str = "undeclared_keys = true";
/// Most participants whose profile is remembered; then it begins anew with what they say next.
const MOST: usize = 10_000;

/// The rules for single peers.
#[derive(Debug)]
pub struct PeerRules {
    loosen: Loosen,
    signatures: Signatures,
    /// Under which id this node stands towards participants that have one.
    own_id: Option<String>,
    listed: BTreeMap<String, PeerSettings>,
    recognised: RwLock<HashMap<String, PeerProfile>>,
    /// Origins that take the token of a data address without a scheme.
    bare: RwLock<HashSet<String>>,
}

impl PeerRules {
    /// The rules of `config`.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            loosen: config.interoperability.loosen,
            signatures: config.agreements.signatures,
            own_id: config.participant.id.clone(),
            listed: config.peers.clone(),
            recognised: RwLock::default(),
            bare: RwLock::default(),
        }
    }

    /// Whether the endpoints at `origin` took the token of a data address only without a scheme.
    #[must_use]
    pub fn wants_bare_tokens(&self, origin: &str) -> bool {
        self.bare.read().unwrap_or_else(PoisonError::into_inner).contains(origin)
    }

    /// Takes note of which form was taken.
    pub fn note_tokens(&self, origin: String, are_bare: bool) {
        let mut bare = self.bare.write().unwrap_or_else(PoisonError::into_inner);
        if bare.len() >= MOST {
            bare.clear();
        }
        if are_bare {
            bare.insert(origin);
        } else {
            bare.remove(&origin);
        }
    }

    /// In which words `did` is asked for credentials, where the configuration says so.
    #[must_use]
    pub fn scopes(&self, did: &str) -> Option<ScopeAlias> {
        self.listed.get(did)?.scopes
    }

    /// Under which ids `own` and `peer`, two DIDs, stand in what they agree, where these are not their DIDs.
    #[must_use]
    pub fn names(&self, own: &str, peer: &str) -> Names {
        let mut names = Names::default();
        if let Some(id) = self.listed.get(peer).and_then(|settings| settings.id.as_deref()) {
            names.insert(id, peer);
            if let Some(own_id) = &self.own_id {
                names.insert(own_id, own);
            }
        }
        names
    }

    /// The ids of `own`, this node's DID, and of all whose id the configuration tells.
    #[must_use]
    pub fn all_names(&self, own: &str) -> Names {
        let mut names = Names::default();
        if let Some(id) = &self.own_id {
            names.insert(id, own);
        }
        for (did, settings) in &self.listed {
            if let Some(id) = &settings.id {
                names.insert(id, did);
            }
        }
        names
    }

    /// The id under which `did` stands, as the configuration says; its DID where it says nothing.
    #[must_use]
    pub fn id_of<'a>(&'a self, did: &'a str) -> &'a str {
        self.listed.get(did).and_then(|settings| settings.id.as_deref()).unwrap_or(did)
    }

    /// The DID of the participant that stands under `id`; an id of which the configuration says nothing is its own.
    #[must_use]
    pub fn did_of<'a>(&'a self, id: &'a str) -> &'a str {
        let listed = self.listed.iter().find(|(_, settings)| settings.id.as_deref() == Some(id));
        listed.map_or(id, |(did, _)| did)
    }

    /// What `did` was recognised as.
    #[must_use]
    pub fn recognised(&self, did: &str) -> Option<PeerProfile> {
        self.recognised.read().unwrap_or_else(PoisonError::into_inner).get(did).copied()
    }

    /// What `did` speaks: as the configuration says, else as it was recognised.
    #[must_use]
    pub fn profile(&self, did: &str) -> PeerProfile {
        self.listed
            .get(did)
            .and_then(|listed| listed.profile)
            .or_else(|| self.recognised(did))
            .unwrap_or(PeerProfile::Dsp)
    }

    /// Whether the configuration says anything of `did`.
    #[must_use]
    pub fn is_listed(&self, did: &str) -> bool {
        self.listed.contains_key(did)
    }

    /// Whether the configuration says what `did` speaks.
    #[must_use]
    pub fn is_pinned(&self, did: &str) -> bool {
        self.listed.get(did).is_some_and(|listed| listed.profile.is_some())
    }

    /// What makes an agreement with `did` binding.
    #[must_use]
    pub fn signatures(&self, did: &str) -> Signatures {
        match (self.loosen, self.signatures) {
            (_, Signatures::None) => Signatures::None,
            (Loosen::Never, usual) => usual,
            (loosen, usual) => {
                self.listed.get(did).and_then(|listed| listed.signatures).unwrap_or_else(|| {
                    let is_edc = loosen == Loosen::Recognised && self.profile(did) == PeerProfile::Edc;
                    if is_edc { Signatures::AcceptPeerToken } else { usual }
                })
            }
        }
    }

    /// Whether keys of `did` count although its document says of none what it is for.
    #[must_use]
    pub fn undeclared_keys(&self, did: &str) -> bool {
        let listed = self.listed.get(did).is_some_and(|listed| listed.undeclared_keys);
        match self.loosen {
            Loosen::Never => false,
            Loosen::Listed => listed,
            Loosen::Recognised => listed || self.profile(did) == PeerProfile::Edc,
        }
    }

    /// The line of the configuration that loosens a check for `did`, in words that go on after the reason.
    #[must_use]
    pub fn line_for(&self, did: &str, line: &str) -> String {
        match self.loosen {
            Loosen::Never => "; interoperability.loosen = \"never\" forbids any exception".to_owned(),
            _ => format!("; the line `{line}` under [peers.\"{did}\"] in concordat.toml would allow it"),
        }
    }

    /// `did` is recognised as `profile`; whether that is news.
    pub fn recognise(&self, did: &str, profile: PeerProfile) -> bool {
        if self.recognised(did) == Some(profile) {
            return false;
        }
        let mut recognised = self.recognised.write().unwrap_or_else(PoisonError::into_inner);
        if recognised.len() >= MOST {
            recognised.clear();
        }
        recognised.insert(did.to_owned(), profile);
        true
    }
}

/// What a message or answer shows of its sender.
#[must_use]
pub fn profile_of_message(message: &Json) -> PeerProfile {
    let is_edcs = |context: &Json| context.as_str() == Some(EDC_CONTEXT);
    let found = match message.get("@context") {
        Some(Json::Array(all)) => all.iter().any(is_edcs),
        Some(one) => is_edcs(one),
        None => false,
    };
    if found { PeerProfile::Edc } else { PeerProfile::Dsp }
}

/// Whether a DID document is such as EDC's IdentityHub writes, which says of no key what it is for.
#[must_use]
pub fn is_edcs_document(document: &DidDocument) -> bool {
    let service = document.service("CredentialService");
    !document.declares_uses() && service.is_some_and(|endpoint| endpoint.contains(EDC_CREDENTIALS))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(text: &str) -> PeerRules {
        let rules = PeerRules {
            loosen: Loosen::Listed,
            signatures: Signatures::Required,
            own_id: None,
            listed: BTreeMap::new(),
            recognised: RwLock::default(),
            bare: RwLock::default(),
        };
        #[derive(serde::Deserialize)]
        struct Part {
            #[serde(default)]
            interoperability: crate::config::Interoperability,
            #[serde(default)]
            peers: BTreeMap<String, PeerSettings>,
        }
        let part: Part = toml::from_str(text).unwrap();
        PeerRules { loosen: part.interoperability.loosen, listed: part.peers, ..rules }
    }

    const LINES: &str = "[peers.\"did:web:a\"]\nprofile = \"edc\"\nsignatures = \"accept-peer-token\"\nundeclared_keys = true\n";

    #[test]
    fn nothing_is_loosened_but_where_it_is_said() {
        let listed = rules(LINES);
        assert_eq!(listed.profile("did:web:a"), PeerProfile::Edc);
        assert_eq!(listed.signatures("did:web:a"), Signatures::AcceptPeerToken);
        assert!(listed.undeclared_keys("did:web:a"));
        assert!(listed.recognise("did:web:b", PeerProfile::Edc));
        assert!(!listed.recognise("did:web:b", PeerProfile::Edc), "no news");
        assert_eq!(listed.profile("did:web:b"), PeerProfile::Edc);
        assert_eq!(listed.signatures("did:web:b"), Signatures::Required);
        assert!(!listed.undeclared_keys("did:web:b"));
        assert!(listed.line_for("did:web:b", "undeclared_keys = true").contains("[peers.\"did:web:b\"]"));

        let recognised = rules("[interoperability]\nloosen = \"recognised\"\n");
        recognised.recognise("did:web:b", PeerProfile::Edc);
        assert_eq!(recognised.signatures("did:web:b"), Signatures::AcceptPeerToken);
        assert!(recognised.undeclared_keys("did:web:b") && !recognised.undeclared_keys("did:web:c"));
        assert_eq!(recognised.signatures("did:web:c"), Signatures::Required);

        let never = rules(&format!("[interoperability]\nloosen = \"never\"\n{LINES}"));
        assert_eq!(never.signatures("did:web:a"), Signatures::Required);
        assert!(!never.undeclared_keys("did:web:a"));
        assert_eq!(never.profile("did:web:a"), PeerProfile::Edc, "how it speaks loosens nothing");
    }

    #[test]
    fn edc_is_known_by_its_context() {
        for context in [json!([protocol::CONTEXT, EDC_CONTEXT]), json!(EDC_CONTEXT)] {
            assert_eq!(profile_of_message(&json!({"@context": context})), PeerProfile::Edc);
        }
        for message in [json!({"@context": [protocol::CONTEXT]}), json!([EDC_CONTEXT]), json!({})] {
            assert_eq!(profile_of_message(&message), PeerProfile::Dsp);
        }
    }
}
