//! Managed resources: assets, policy definitions, contract definitions (EDC Management API v4).

use std::collections::BTreeMap;

use jiff::Timestamp;
use policy_engine::Policy;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::error::CatalogError;
use crate::vocabulary as iri;

/// A dataset as its owner manages it: what it says of itself, and where its data is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
}

impl Asset {
    /// Checks what the JSON shape alone does not.
    ///
    /// # Errors
    /// An empty or overlong id.
    pub fn check(&self) -> Result<(), CatalogError> {
        check_id(&self.id)
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyDefinition {
    /// `@id`.
    #[serde(rename = "@id")]
    pub id: String,
    /// ODRL, of type Set (Offer and Agreement are made from it).
    pub policy: Json,
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
        match Policy::parse_odrl(&self.policy).and_then(|_| Policy::parse(&self.policy)) {
            Ok(_) => Ok(()),
            Err(error) => Err(CatalogError::new(
                format!("/policy{}", error.path().trim_end_matches('/')),
                error.reason(),
            )),
        }
    }
}

/// Who moves a process of a contract definition on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
}

impl ContractDefinition {
    /// Checks id and selector.
    ///
    /// # Errors
    /// An operator that is not understood.
    pub fn check(&self) -> Result<(), CatalogError> {
        check_id(&self.id)?;
        for (index, criterion) in self.assets_selector.iter().enumerate() {
            if !["=", "in"].contains(&criterion.operator.as_str()) {
                return Err(CatalogError::new(
                    format!("/assetsSelector/{index}/operator"),
                    format!("`{}` is not understood; use `=` or `in`", criterion.operator),
                ));
            }
        }
        Ok(())
    }

    /// The property and the values that the first comparison of the selector asks for; `None` where there is none.
    pub(crate) fn first_values(&self) -> Option<(&str, Vec<&Json>)> {
        let first = self.assets_selector.first()?;
        Some((first.operand(), first.wanted()))
    }

    /// The ids of the assets that it may offer; `None` where its selector is about other properties.
    #[must_use]
    pub fn selected_ids(&self) -> Option<Vec<&str>> {
        let by_id = self.assets_selector.iter().find(|criterion| criterion.operand() == "id")?;
        Some(by_id.wanted().into_iter().filter_map(Json::as_str).collect())
    }

    /// Whether this definition offers `asset`.
    #[must_use]
    pub fn selects(&self, asset: &Asset) -> bool {
        self.assets_selector.iter().all(|criterion| {
            let id = Json::String(asset.id.clone());
            criterion.holds(|operand| {
                if operand == "id" { Some(id.clone()) } else { asset.properties.get(operand).cloned() }
            })
        })
    }
}

/// One comparison of a selector or query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Criterion {
    #[serde(rename = "@type", default = "criterion_type")]
    kind: String,
    /// A property; `id` is the asset's id.
    pub operand_left: String,
    /// `=` or `in`.
    pub operator: String,
    /// One value, or several for `in`.
    pub operand_right: Json,
}

fn criterion_type() -> String {
    "Criterion".to_owned()
}

impl Criterion {
    /// Selects the asset with this id.
    #[must_use]
    pub fn by_id(id: &str) -> Self {
        Self {
            kind: criterion_type(),
            operand_left: "id".to_owned(),
            operator: "=".to_owned(),
            operand_right: Json::String(id.to_owned()),
        }
    }

    /// The left operand without EDC's prefix.
    fn operand(&self) -> &str {
        let operand =
            self.operand_left.strip_prefix("https://w3id.org/edc/v0.0.1/ns/").unwrap_or(&self.operand_left);
        if operand == "@id" { "id" } else { operand }
    }

    /// The values one of which it asks for.
    fn wanted(&self) -> Vec<&Json> {
        match (self.operator.as_str(), &self.operand_right) {
            ("=", wanted) => vec![wanted],
            ("in", Json::Array(list)) => list.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the value that `look_up` finds for the left operand satisfies the comparison.
    pub fn holds(&self, look_up: impl Fn(&str) -> Option<Json>) -> bool {
        look_up(self.operand()).is_some_and(|actual| self.wanted().contains(&&actual))
    }
}

fn check_id(id: &str) -> Result<(), CatalogError> {
    if id.is_empty() || id.len() > 512 || id.chars().any(char::is_control) {
        return Err(CatalogError::new("/@id", "must be a text of 1 to 512 bytes without control characters"));
    }
    Ok(())
}
