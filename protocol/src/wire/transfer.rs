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

/// The namespace under which Eclipse EDC names the properties of a data address.
const EDC: &str = "https://w3id.org/edc/v0.0.1/ns/";

impl DataAddress {
    /// The value of the endpoint property `name`, as the protocol names it or as EDC does.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        let value = |wanted: &dyn Fn(&str) -> bool| {
            self.endpoint_properties
                .iter()
                .find(|property| wanted(&property.name))
                .map(|property| property.value.as_str())
        };
        value(&|found| found == name).or_else(|| value(&|found| found.strip_prefix(EDC) == Some(name)))
    }

    /// Where the endpoint is: its address, or what EDC gives in its place, which is a property.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        let property = || self.property("endpoint").or_else(|| self.property("baseUrl"));
        self.endpoint.as_deref().or_else(property)
    }

    /// Where to push to, as EDC reads it.
    #[must_use]
    pub fn as_edc_pushes(mut self) -> Self {
        let base = self.endpoint.clone();
        let says_how = self.property("method").is_some();
        self = self.in_both_forms();
        let property = |name: &str, value| EndpointProperty { name: format!("{EDC}{name}"), value };
        self.endpoint_properties.extend(base.map(|base| property("baseUrl", base)));
        if !says_how {
            // EDC would post.
            self.endpoint_properties.push(property("method", "PUT".to_owned()));
        }
        self.endpoint_type = "HttpData".to_owned();
        self
    }

    /// The address with its parts under EDC's names too: it reads nothing else. What the protocol knows stays as it is.
    #[must_use]
    pub fn in_both_forms(mut self) -> Self {
        let named = |name: &str, value: &str| EndpointProperty {
            name: format!("{EDC}{name}"),
            value: value.to_owned(),
        };
        let mut further = vec![named("endpointType", &self.endpoint_type)];
        further.extend(self.endpoint.as_deref().map(|endpoint| named("endpoint", endpoint)));
        let short = self.endpoint_properties.iter().filter(|one| !one.name.contains(':'));
        further.extend(short.map(|one| named(&one.name, &one.value)));
        self.endpoint_properties.extend(further);
        self
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_data_address_is_read_and_written_in_both_forms() {
        let edcs = json!({"@type": "DataAddress", "endpointType": "https://w3id.org/idsa/v4.1/HTTP",
            "endpointProperties": [
                {"@type": "EndpointProperty", "name": "https://w3id.org/edc/v0.0.1/ns/endpoint", "value": "https://peer.example/public"},
                {"@type": "EndpointProperty", "name": "https://w3id.org/edc/v0.0.1/ns/authorization", "value": "TOKEN"}]});
        let edcs: DataAddress = serde_json::from_value(edcs).unwrap();
        assert_eq!(
            (edcs.address(), edcs.property("authorization")),
            (Some("https://peer.example/public"), Some("TOKEN"))
        );
        assert_eq!(
            edcs.property("https://w3id.org/edc/v0.0.1/ns/endpoint"),
            Some("https://peer.example/public")
        );

        let ours = DataAddress {
            endpoint_type: "https://w3id.org/idsa/v4.1/HTTP".to_owned(),
            endpoint: Some("https://node.example/data/1".to_owned()),
            endpoint_properties: vec![EndpointProperty {
                name: "authorization".to_owned(),
                value: "T".to_owned(),
            }],
        };
        let both = ours.clone().in_both_forms();
        for name in ["endpoint", "endpointType", "authorization"] {
            let named = format!("https://w3id.org/edc/v0.0.1/ns/{name}");
            assert!(both.endpoint_properties.iter().any(|one| one.name == named), "{name}");
        }
        assert_eq!((both.address(), both.property("authorization")), (ours.address(), Some("T")));
        assert_eq!(ours.as_edc_pushes().property("baseUrl"), Some("https://node.example/data/1"));
    }
}
