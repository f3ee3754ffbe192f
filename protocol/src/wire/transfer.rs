//! Messages of the transfer process protocol.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::DspMessage;
use crate::ids::{AgreementId, ConsumerPid, ProviderPid};
use crate::transfer::State;

/// The consumer asks for data under an agreement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransferRequestMessage {
    /// The consumer's id of the transfer.
    pub consumer_pid: ConsumerPid,
    /// The agreement that permits it.
    pub agreement_id: AgreementId,
    /// One of the formats of the dataset's distributions.
    pub format: String,
    /// Where to push to; only for push formats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_address: Option<DataAddress>,
    /// Where the consumer takes messages.
    pub callback_address: String,
}

impl DspMessage for TransferRequestMessage {
    const TYPE: &'static str = "TransferRequestMessage";
}

/// Where data is, or shall go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "@type", rename = "DataAddress", rename_all = "camelCase")]
pub struct DataAddress {
    /// Kind of endpoint, an IRI.
    pub endpoint_type: String,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What else is needed, such as `authorization` and `authType`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoint_properties: Vec<EndpointProperty>,
}

impl DataAddress {
    /// The value of the endpoint property `name`.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.endpoint_properties
            .iter()
            .find(|property| property.name == name)
            .map(|property| property.value.as_str())
    }
}

/// A named string of a [`DataAddress`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "@type", rename = "EndpointProperty")]
pub struct EndpointProperty {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Data flows from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransferStartMessage {
    /// The provider's id of the transfer.
    pub provider_pid: ProviderPid,
    /// The consumer's.
    pub consumer_pid: ConsumerPid,
    /// Where to pull from; for pull formats, from the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_address: Option<DataAddress>,
}

impl DspMessage for TransferStartMessage {
    const TYPE: &'static str = "TransferStartMessage";
}

/// All data was transferred.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransferCompletionMessage {
    /// The provider's id of the transfer.
    pub provider_pid: ProviderPid,
    /// The consumer's.
    pub consumer_pid: ConsumerPid,
}

impl DspMessage for TransferCompletionMessage {
    const TYPE: &'static str = "TransferCompletionMessage";
}

macro_rules! with_reason {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The provider's id of the transfer.
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

        impl DspMessage for $name {
            const TYPE: &'static str = stringify!($name);
        }
    )*};
}

with_reason! {
    /// A refused message.
    TransferError,
    /// Data stops for now.
    TransferSuspensionMessage,
    /// The transfer is over, unfinished.
    TransferTerminationMessage,
}

/// The acknowledgement: both pids and the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransferProcess {
    /// The provider's id of the transfer.
    pub provider_pid: ProviderPid,
    /// The consumer's.
    pub consumer_pid: ConsumerPid,
    /// Where it stands at the side that answers.
    pub state: State,
}

impl DspMessage for TransferProcess {
    const TYPE: &'static str = "TransferProcess";
}
