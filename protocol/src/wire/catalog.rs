//! Messages and documents of the catalog protocol (catalog-schema.json, dataset-schema.json).
//!
//! What a peer describes beyond the schema (titles, licences, periods) travels in `properties`, under absolute IRIs.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{DspMessage, normalise_message};
use crate::refusal::Refusal;

/// Asks for the catalog.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CatalogRequestMessage {
    /// Implementation-specific; a provider that does not understand it answers 400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Vec<Json>>,
    /// Ours: the asker wants to be told when the catalog changes.
    #[serde(rename = "urn:concordat:notify", default, skip_serializing_if = "std::ops::Not::not")]
    pub notify: bool,
}

impl DspMessage for CatalogRequestMessage {
    const TYPE: &'static str = "CatalogRequestMessage";
}

/// Asks for one dataset; the HTTPS binding carries it as a GET.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetRequestMessage {
    /// `@id` of the dataset.
    pub dataset: String,
}

impl DspMessage for DatasetRequestMessage {
    const TYPE: &'static str = "DatasetRequestMessage";
}

/// A refused catalog request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CatalogError {
    /// Machine-readable reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Reasons for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reason: Vec<Json>,
}

impl DspMessage for CatalogError {
    const TYPE: &'static str = "CatalogError";
}

macro_rules! typed {
    ($name:ident, $default:ident, $term:literal) => {
        fn $default() -> String {
            $term.to_owned()
        }
        impl DspMessage for $name {
            const TYPE: &'static str = $term;
        }
    };
}

/// What a participant offers to whoever asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Catalog {
    #[serde(rename = "@context", default, skip_serializing)]
    context: IgnoredContext,
    /// `@id`.
    #[serde(rename = "@id")]
    pub id: String,
    #[serde(rename = "@type", default = "catalog_type")]
    kind: String,
    /// Whose catalog it is; on the outermost only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant_id: Option<String>,
    /// Where negotiations and transfers go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service: Vec<DataService>,
    /// What is offered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dataset: Vec<Dataset>,
    /// Catalogs within it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub catalog: Vec<Self>,
    /// Distributions of a catalog that stands elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distribution: Vec<Distribution>,
    /// Everything else.
    #[serde(flatten)]
    pub properties: Map<String, Json>,
}

typed!(Catalog, catalog_type, "Catalog");

impl Catalog {
    /// A catalog with nothing in it yet.
    #[must_use]
    pub fn new(id: String, participant_id: String) -> Self {
        Self {
            context: IgnoredContext,
            id,
            kind: catalog_type(),
            participant_id: Some(participant_id),
            service: Vec::new(),
            dataset: Vec::new(),
            catalog: Vec::new(),
            distribution: Vec::new(),
            properties: Map::new(),
        }
    }
}

/// In a catalog that was read: what of it could not be, and why.
pub const UNREADABLE: &str = "urn:concordat:unreadable";
/// Most datasets that are named there.
const MAX_UNREADABLE: usize = 100;
/// Deepest catalogs within catalogs that are looked through.
const MAX_CATALOGS: usize = 8;

/// Reads a catalog of a peer. A dataset that lacks what the schema demands does not spoil the others: it is left out and named
/// under [`UNREADABLE`].
///
/// # Errors
/// As [`super::parse`], for what is around the datasets.
pub fn read_catalog(body: &[u8]) -> Result<Catalog, Refusal> {
    let mut json = normalise_message(super::json(body)?);
    let mut unreadable = Vec::new();
    leave_out(&mut json, "", 0, &mut unreadable);
    let mut catalog = super::from_json::<Catalog>(json)?.message;
    if !unreadable.is_empty() {
        catalog.properties.insert(UNREADABLE.to_owned(), Json::Array(unreadable));
    }
    Ok(catalog)
}

fn leave_out(catalog: &mut Json, path: &str, depth: usize, unreadable: &mut Vec<Json>) {
    if let Some(Json::Array(datasets)) = catalog.get_mut("dataset") {
        let mut number = 0;
        datasets.retain(|one| {
            let read = serde_json::from_value::<Dataset>(one.clone());
            if let Err(error) = &read
                && unreadable.len() < MAX_UNREADABLE
            {
                let id = one.get("@id").and_then(Json::as_str);
                let name = id.map_or_else(|| format!("{path}/dataset/{number}"), str::to_owned);
                unreadable.push(Json::String(format!("{name}: {error}")));
            }
            number += 1;
            read.is_ok()
        });
    }
    if let Some(Json::Array(within)) = catalog.get_mut("catalog").filter(|_| depth < MAX_CATALOGS) {
        for (number, one) in within.iter_mut().enumerate() {
            leave_out(one, &format!("{path}/catalog/{number}"), depth + 1, unreadable);
        }
    }
}

/// One dataset with its offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dataset {
    #[serde(rename = "@context", default, skip_serializing)]
    context: IgnoredContext,
    /// `@id`.
    #[serde(rename = "@id")]
    pub id: String,
    #[serde(rename = "@type", default = "dataset_type")]
    kind: String,
    /// Offers, without target; kept as received, since one malformed offer does not spoil the others.
    pub has_policy: Vec<Json>,
    /// In which formats it can be had.
    pub distribution: Vec<Distribution>,
    /// Everything else.
    #[serde(flatten)]
    pub properties: Map<String, Json>,
}

typed!(Dataset, dataset_type, "Dataset");

impl Dataset {
    /// A dataset as offered.
    #[must_use]
    pub fn new(
        id: String,
        has_policy: Vec<Json>,
        distribution: Vec<Distribution>,
        properties: Map<String, Json>,
    ) -> Self {
        Self { context: IgnoredContext, id, kind: dataset_type(), has_policy, distribution, properties }
    }

    /// Names `service` in full at each distribution: there is no catalog around a dataset alone that would define it (Dataspace
    /// Protocol, Dataset).
    pub fn served_by(&mut self, service: &DataService) {
        for distribution in &mut self.distribution {
            distribution.access_service = AccessService::Full(Box::new(service.clone()));
        }
    }
}

/// One form in which a dataset can be had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Distribution {
    #[serde(rename = "@type", default = "distribution_type")]
    kind: String,
    /// The format a transfer request names, for example `HttpData-PULL`.
    pub format: String,
    /// Where to ask for it.
    pub access_service: AccessService,
    /// Offers for this form alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub has_policy: Vec<Json>,
    /// Everything else.
    #[serde(flatten)]
    pub properties: Map<String, Json>,
}

fn distribution_type() -> String {
    "Distribution".to_owned()
}

impl Distribution {
    /// A distribution served by the service `service`.
    #[must_use]
    pub fn new(format: String, service: String, properties: Map<String, Json>) -> Self {
        Self {
            kind: distribution_type(),
            format,
            access_service: AccessService::Id(service),
            has_policy: Vec::new(),
            properties,
        }
    }
}

/// A service by its id, or in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AccessService {
    /// `@id` of a service of the catalog.
    Id(String),
    /// The service itself.
    Full(Box<DataService>),
}

/// Where negotiation and transfer paths begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataService {
    /// `@id`.
    #[serde(rename = "@id")]
    pub id: String,
    #[serde(rename = "@type", default = "service_type")]
    kind: String,
    /// Base address, of the same protocol version as the catalog.
    #[serde(rename = "endpointURL")]
    pub endpoint_url: String,
    /// Everything else.
    #[serde(flatten)]
    pub properties: Map<String, Json>,
}

fn service_type() -> String {
    "DataService".to_owned()
}

impl DataService {
    /// A connector's endpoint.
    #[must_use]
    pub fn new(id: String, endpoint_url: String) -> Self {
        let description = Json::String("dspace:connector".to_owned());
        let properties = Map::from_iter([("endpointDescription".to_owned(), description)]);
        Self { id, kind: service_type(), endpoint_url, properties }
    }
}

/// `@context` of a root document: checked where the message is read, not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct IgnoredContext;

impl<'de> Deserialize<'de> for IgnoredContext {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl Serialize for IgnoredContext {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}
