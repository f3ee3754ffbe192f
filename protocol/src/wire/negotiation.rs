//! Messages of the contract negotiation protocol.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

use super::{Agreement, DspMessage, Offer, Parts};
use crate::ids::{ConsumerPid, ProviderPid};
use crate::negotiation::State;

/// Versions of the signature under an agreement. Version 1 is the one of release 0.1.0, which shows none; whoever shows none is
/// sent that one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SignatureVersions(Vec<u32>);

impl SignatureVersions {
    /// Those that this program makes and checks, the newest last.
    pub const KNOWN: [u32; 2] = [1, 2];
    /// Most that are read of a peer.
    const MOST: usize = 16;

    /// Those that this program knows.
    #[must_use]
    pub fn known() -> Self {
        Self(Self::KNOWN.to_vec())
    }

    /// Whether nothing was said.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The newest that both sides know, if the other one said anything.
    #[must_use]
    pub fn newest_common(&self) -> Option<u32> {
        if self.is_none() {
            return None;
        }
        Some(Self::KNOWN.into_iter().rev().find(|version| self.0.contains(version)).unwrap_or(1))
    }
}

/// What is not understood counts as nothing said: the peer then gets the version that every one knows.
impl<'de> Deserialize<'de> for SignatureVersions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let versions = match Json::deserialize(deserializer)? {
            Json::Array(all) => all,
            one => vec![one],
        };
        let number = |one: &Json| one.as_u64().and_then(|one| u32::try_from(one).ok());
        Ok(Self(versions.iter().take(Self::MOST).filter_map(number).collect()))
    }
}

/// The consumer asks for an offer, first (`callbackAddress`) or as a counter-offer (`providerPid`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContractRequestMessage {
    /// The consumer's id of the negotiation.
    pub consumer_pid: ConsumerPid,
    /// The provider's, in a counter-offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_pid: Option<ProviderPid>,
    /// The terms asked for.
    pub offer: Offer,
    /// Where the consumer takes messages, in a first request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_address: Option<String>,
    /// The versions of the agreement's signature that the consumer can check; an extension, may be absent.
    #[serde(
        rename = "urn:concordat:signatureVersions",
        default,
        skip_serializing_if = "SignatureVersions::is_none"
    )]
    pub signature_versions: SignatureVersions,
}

impl DspMessage for ContractRequestMessage {
    const TYPE: &'static str = "ContractRequestMessage";

    fn check(&self) -> Result<(), String> {
        exactly_one(
            "callbackAddress",
            self.callback_address.is_some(),
            "providerPid",
            self.provider_pid.is_some(),
        )
    }
}

/// The provider makes an offer, first (`callbackAddress`) or in answer to a request (`consumerPid`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContractOfferMessage {
    /// The provider's id of the negotiation.
    pub provider_pid: ProviderPid,
    /// The consumer's, in an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_pid: Option<ConsumerPid>,
    /// The terms offered; has a `target`.
    pub offer: Offer,
    /// Where the provider takes messages, in a first offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_address: Option<String>,
}

impl DspMessage for ContractOfferMessage {
    const TYPE: &'static str = "ContractOfferMessage";

    fn check(&self) -> Result<(), String> {
        if self.offer.target().is_none() {
            return Err("/offer/target: is missing".to_owned());
        }
        exactly_one(
            "callbackAddress",
            self.callback_address.is_some(),
            "consumerPid",
            self.consumer_pid.is_some(),
        )
    }
}

/// The provider agrees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContractAgreementMessage {
    /// The provider's id of the negotiation.
    pub provider_pid: ProviderPid,
    /// The consumer's.
    pub consumer_pid: ConsumerPid,
    /// What is agreed.
    pub agreement: Agreement,
    /// The provider's signature over the canonical agreement and the parts (compact JWS); an extension, may be absent.
    #[serde(rename = "urn:concordat:signature", default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// What stands beside the agreement and is agreed with it; an extension.
    #[serde(flatten)]
    pub parts: Parts,
}

impl DspMessage for ContractAgreementMessage {
    const TYPE: &'static str = "ContractAgreementMessage";
}

/// The consumer confirms the agreement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContractAgreementVerificationMessage {
    /// The provider's id of the negotiation.
    pub provider_pid: ProviderPid,
    /// The consumer's.
    pub consumer_pid: ConsumerPid,
    /// The consumer's signature over the same (compact JWS); an extension, may be absent.
    #[serde(rename = "urn:concordat:signature", default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl DspMessage for ContractAgreementVerificationMessage {
    const TYPE: &'static str = "ContractAgreementVerificationMessage";
}

/// `eventType` of [`ContractNegotiationEventMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventType {
    /// The consumer accepts the provider's offer.
    Accepted,
    /// The provider finalises the agreement.
    Finalized,
}

/// The consumer accepted, or the provider finalised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContractNegotiationEventMessage {
    /// The provider's id of the negotiation.
    pub provider_pid: ProviderPid,
    /// The consumer's.
    pub consumer_pid: ConsumerPid,
    /// Which of the two.
    pub event_type: EventType,
    /// As in [`ContractRequestMessage`], from a consumer that accepts.
    #[serde(
        rename = "urn:concordat:signatureVersions",
        default,
        skip_serializing_if = "SignatureVersions::is_none"
    )]
    pub signature_versions: SignatureVersions,
}

impl DspMessage for ContractNegotiationEventMessage {
    const TYPE: &'static str = "ContractNegotiationEventMessage";
}

/// Either side ends the negotiation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContractNegotiationTerminationMessage {
    /// The provider's id of the negotiation.
    pub provider_pid: ProviderPid,
    /// The consumer's.
    pub consumer_pid: ConsumerPid,
    /// Machine-readable reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Reasons for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reason: Vec<Json>,
}

impl DspMessage for ContractNegotiationTerminationMessage {
    const TYPE: &'static str = "ContractNegotiationTerminationMessage";
}

/// The acknowledgement: both pids and the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContractNegotiation {
    /// The provider's id of the negotiation.
    pub provider_pid: ProviderPid,
    /// The consumer's.
    pub consumer_pid: ConsumerPid,
    /// Where it stands at the side that answers.
    pub state: State,
}

impl DspMessage for ContractNegotiation {
    const TYPE: &'static str = "ContractNegotiation";
}

/// A refused message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContractNegotiationError {
    /// The provider's id of the negotiation, as far as known.
    pub provider_pid: ProviderPid,
    /// The consumer's, as far as known.
    pub consumer_pid: ConsumerPid,
    /// Machine-readable reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Reasons for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reason: Vec<Json>,
}

impl DspMessage for ContractNegotiationError {
    const TYPE: &'static str = "ContractNegotiationError";
}

/// The schema's `oneOf`.
fn exactly_one(a: &str, has_a: bool, b: &str, has_b: bool) -> Result<(), String> {
    match (has_a, has_b) {
        (true, true) => {
            Err(format!("/{b}: must not stand beside `{a}`; a message has exactly one of the two"))
        }
        (false, false) => Err(format!("/{a}: is missing; a message has exactly one of `{a}` and `{b}`")),
        _ => Ok(()),
    }
}
