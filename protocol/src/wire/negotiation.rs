//! Messages of the contract negotiation protocol.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Agreement, DspMessage, Offer};
use crate::ids::{ConsumerPid, ProviderPid};
use crate::negotiation::State;

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
    /// The provider's signature over the canonical agreement (compact JWS); an extension, may be absent.
    #[serde(rename = "urn:concordat:signature", default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
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
    /// The consumer's signature over the canonical agreement (compact JWS); an extension, may be absent.
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
