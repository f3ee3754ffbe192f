//! Managed resources: assets, policy definitions, contract definitions (EDC Management API v4).

use std::collections::BTreeMap;

use jiff::Timestamp;
use policy_engine::{Policy, unrestricted};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::criterion::{Criterion, EDC, Path, ids};
use crate::error::CatalogError;
use crate::{VISIBILITY, vocabulary as iri};

/// Properties of this program that others are told.
const TOLD: [&str; 3] = [VISIBILITY, iri::FORMAT, iri::DISTRIBUTION_TITLE];

/// A dataset as its owner manages it: what it says of itself, and where its data is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Asset {
    /// `@id`, also of the dataset in the catalog.
    #[serde(rename = "@id")]
    pub id: String,
    /// Public; absolute IRIs go into the catalog as they are.
    #[serde(default)]
    pub properties: Map<String, Json>,
    /// Never leave the node.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub private_properties: Map<String, Json>,
    /// Where the data is; never leaves the node.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data_address: Map<String, Json>,
    /// Where the data is in further forms, by the names of the distributions.
    #[serde(rename = "urn:concordat:distributions", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub distributions: BTreeMap<String, Map<String, Json>>,
    /// When it was first published here.
    #[serde(rename = "urn:concordat:issued", default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<Timestamp>,
    /// When what is said of it last changed.
    #[serde(rename = "urn:concordat:modified", default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// When it was made, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
    /// Labels for data planes, as EDC has them; kept.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub dataplane_metadata: Map<String, Json>,
}

impl Asset {
    /// Checks what the JSON shape alone does not.
    ///
    /// # Errors
    /// An empty or overlong id.
    pub fn check(&self) -> Result<(), CatalogError> {
        check_id(&self.id)
    }

    /// What comparisons are about: its id, its properties, and what only its owner sees.
    #[must_use]
    pub fn as_asked(&self) -> Json {
        json!({
            "@id": self.id, "properties": self.properties, "privateProperties": self.private_properties,
            "dataAddress": {"type": self.data_address.get("type")}, "createdAt": self.created_at,
        })
    }

    /// What others are told of it: properties under names that mean the same everywhere. What EDC's clients write without an
    /// address stands under DCAT's names, or in EDC's namespace.
    #[must_use]
    pub fn told(&self) -> Map<String, Json> {
        let mut told = Map::new();
        for (name, value) in &self.properties {
            let bare = name.strip_prefix(EDC).unwrap_or(name);
            let dcat = match bare {
                "name" => Some(iri::TITLE),
                "description" => Some(iri::DESCRIPTION),
                "contenttype" => Some(iri::MEDIA_TYPE),
                "version" => Some(iri::VERSION),
                _ => None,
            };
            if let Some(iri) = dcat {
                if !self.properties.contains_key(iri) {
                    told.insert(iri.to_owned(), value.clone());
                }
            } else if name.contains("://") || TOLD.contains(&name.as_str()) {
                told.insert(name.clone(), value.clone());
            } else if !name.contains([':', '@']) && !name.is_empty() {
                told.insert(format!("{EDC}{name}"), value.clone());
            }
        }
        told
    }

    /// What others' comparisons are about: nothing but what they are told, by the names of both sides.
    #[must_use]
    pub fn as_told(&self) -> Json {
        let own = self.properties.iter().filter(|(name, _)| !name.contains(':'));
        let mut properties: Map<_, _> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        properties.extend(self.told());
        json!({"@id": self.id, "properties": properties})
    }

    /// Whether it is a series of datasets (DCAT 3) and has no data of its own.
    #[must_use]
    pub fn is_series(&self) -> bool {
        self.properties.get(iri::TYPE).and_then(Json::as_str) == Some(iri::DATASET_SERIES)
    }

    /// Where its data is: in the form `distribution`, or in the one that it is usually had in.
    #[must_use]
    pub fn address_of(&self, distribution: Option<&str>) -> Option<&Map<String, Json>> {
        match distribution {
            None => Some(&self.data_address),
            Some(name) => self.distributions.get(name),
        }
    }
}

/// A policy under a name, used by contract definitions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyDefinition {
    /// `@id`.
    #[serde(rename = "@id")]
    pub id: String,
    /// ODRL, of type Set (Offer and Agreement are made from it).
    #[schemars(with = "Map<String, Json>")]
    pub policy: Json,
    /// Never leave the node.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub private_properties: Map<String, Json>,
    /// When it was made, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
}

impl PolicyDefinition {
    /// Checks id and policy.
    ///
    /// # Errors
    /// The policy cannot be read, or has a target of its own.
    pub fn check(&self) -> Result<(), CatalogError> {
        check_id(&self.id)?;
        if self.policy.get("target").is_some() {
            return Err(CatalogError::new(
                "/policy/target",
                "a policy definition has no target; the dataset gives it",
            ));
        }
        if self.policy.get("assignee").is_some() {
            return Err(CatalogError::new(
                "/policy/assignee",
                "a policy definition names no party; the negotiation gives it: say for whom it is by a constraint on `assignee`",
            ));
        }
        // All of it must be understood, and have a place in the protocol.
        let policy = unrestricted(self.policy.clone());
        match Policy::parse_odrl(&policy).and_then(|_| Policy::parse(&policy)) {
            Ok(_) => Ok(()),
            Err(error) => Err(CatalogError::new(
                format!("/policy{}", error.path().trim_end_matches('/')),
                error.reason(),
            )),
        }
    }
}

/// Who moves a process of a contract definition on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Automation {
    /// The node, when the terms asked for are within the offer.
    #[default]
    Auto,
    /// A person, or a program of the operator, at every move.
    Manual,
    /// The node, which answers the first request with the offer as published and goes on when that is accepted.
    OfferFirst,
}

/// Which assets are offered to whom under which terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContractDefinition {
    /// `@id`.
    #[serde(rename = "@id")]
    pub id: String,
    /// Who may see the offer.
    pub access_policy_id: String,
    /// The terms.
    pub contract_policy_id: String,
    /// Which assets; empty means all.
    #[serde(default)]
    pub assets_selector: Vec<Criterion>,
    /// Who answers.
    #[serde(rename = "urn:concordat:automation", default)]
    pub automation: Automation,
    /// Never leave the node.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub private_properties: Map<String, Json>,
    /// When it was made, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
}

impl ContractDefinition {
    /// Checks id and selector.
    ///
    /// # Errors
    /// An operator that is not understood.
    pub fn check(&self) -> Result<(), CatalogError> {
        check_id(&self.id)?;
        for (index, criterion) in self.assets_selector.iter().enumerate() {
            criterion.check().map_err(|(member, reason)| {
                CatalogError::new(format!("/assetsSelector/{index}/{member}"), reason)
            })?;
        }
        Ok(())
    }

    /// A property and the values one of which it must have; `None` where the selector asks for no such thing.
    pub(crate) fn first_values(&self) -> Option<(Path, Vec<&Json>)> {
        self.assets_selector.iter().find_map(|one| Some((one.path().ok()?, one.wanted()?)))
    }

    /// The ids of the assets that it may offer; `None` where its selector is about other properties.
    #[must_use]
    pub fn selected_ids(&self) -> Option<Vec<&str>> {
        ids(&self.assets_selector)
    }

    /// Whether this definition offers `asset`.
    #[must_use]
    pub fn selects(&self, asset: &Asset) -> bool {
        if self.assets_selector.is_empty() {
            return true;
        }
        let shown = asset.as_asked();
        self.assets_selector.iter().all(|criterion| criterion.holds(&shown))
    }
}

fn check_id(id: &str) -> Result<(), CatalogError> {
    if id.is_empty() || id.len() > 512 || id.chars().any(char::is_control) {
        return Err(CatalogError::new("/@id", "must be a text of 1 to 512 bytes without control characters"));
    }
    Ok(())
}
