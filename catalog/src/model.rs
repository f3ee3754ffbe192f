//! Managed resources: assets, policy definitions, contract definitions (EDC Management API v4).

use policy_engine::Policy;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::error::CatalogError;

/// A dataset as its owner manages it: what it says of itself, and where its data is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
}

impl Asset {
    /// Checks what the JSON shape alone does not.
    ///
    /// # Errors
    /// An empty or overlong id.
    pub fn check(&self) -> Result<(), CatalogError> {
        check_id(&self.id)
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
        match Policy::parse(&self.policy) {
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

    /// Whether the value that `look_up` finds for the left operand satisfies the comparison.
    pub fn holds(&self, look_up: impl Fn(&str) -> Option<Json>) -> bool {
        let operand =
            self.operand_left.strip_prefix("https://w3id.org/edc/v0.0.1/ns/").unwrap_or(&self.operand_left);
        let operand = if operand == "@id" { "id" } else { operand };
        let Some(actual) = look_up(operand) else { return false };
        match (self.operator.as_str(), &self.operand_right) {
            ("=", wanted) => actual == *wanted,
            ("in", Json::Array(list)) => list.contains(&actual),
            _ => false,
        }
    }
}

fn check_id(id: &str) -> Result<(), CatalogError> {
    if id.is_empty() || id.len() > 512 || id.chars().any(char::is_control) {
        return Err(CatalogError::new("/@id", "must be a text of 1 to 512 bytes without control characters"));
    }
    Ok(())
}
