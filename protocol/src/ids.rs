//! One type for each kind of identifier.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What stands for itself in no segment of a path (RFC 3986, section 3.3).
const NO_SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A process id as one segment of a path.
pub(crate) fn segment(pid: &str) -> String {
    utf8_percent_encode(pid, NO_SEGMENT).to_string()
}

/// Ids under which participants stand in catalogs and agreements where these are not their DIDs, with the DID of each (Dataspace
/// Protocol, ContractAgreementMessage: ids of parties "MAY be the same as the ids of the agents").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// `did` stands under `name`.
    pub fn insert(&mut self, name: &str, did: &str) {
        self.0.insert(name.to_owned(), did.to_owned());
    }

    /// The id under which `did` stands.
    #[must_use]
    pub fn of(&self, did: &ParticipantId) -> ParticipantId {
        let named = self.0.iter().find(|(_, one)| *one == did.as_str());
        named.map_or_else(|| did.clone(), |(name, _)| ParticipantId::new(name.clone()))
    }

    /// Whether there is none, so that every participant stands with its DID.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The DIDs by name.
    #[must_use]
    pub const fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the identifier as it is written on the wire.
            #[must_use]
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// As written on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// `@id` of an agreement.
    AgreementId,
    /// The consumer's id of a negotiation or transfer process.
    ConsumerPid,
    /// `@id` of a dataset, the `target` of offers and agreements.
    DatasetId,
    /// Root `@id` of a message: the same on every retry.
    MessageId,
    /// `@id` of an offer.
    OfferId,
    /// A participant, which is a DID (DCP 1.0.1, Identities).
    ParticipantId,
    /// The provider's id of a negotiation or transfer process.
    ProviderPid,
}

/// What begins the id of a message that came without one.
const OF_CONTENT: &str = "urn:concordat:content:sha-256:";

impl MessageId {
    /// An id for a message that came without one, made of what it says: a repetition says the same.
    #[must_use]
    pub fn of_content(message: &serde_json::Value) -> Option<Self> {
        let text = serde_json_canonicalizer::to_vec(message).ok()?;
        let digest: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self(format!("{OF_CONTENT}{digest}")))
    }

    /// Whether it was made of what the message says. Two messages of one process may say the same.
    #[must_use]
    pub fn is_of_content(&self) -> bool {
        self.0.starts_with(OF_CONTENT)
    }
}
