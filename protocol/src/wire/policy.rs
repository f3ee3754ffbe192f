//! Offers and agreements as messages carry them (contract-schema.json).

use jiff::Timestamp;
use policy_engine::{Document, Kind, Policy, SERVICE_LEVELS, spelled, terms_of};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value as Json};

use super::Parts;
use crate::ids::{AgreementId, DatasetId, OfferId, ParticipantId};

/// An offer in a message: has `@id` and `@type`, and a `target` unless the offer id alone tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Offer(Document);

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// Names the path and what is wrong: no `@id`, `@type` not `Offer`, or a malformed policy.
    pub fn parse(json: Json) -> Result<Self, String> {
        if json.get("@type").and_then(Json::as_str) != Some("Offer") {
            return Err("/@type: must be `Offer`".to_owned());
        }
        let document = Document::parse(json).map_err(|error| error.to_string())?;
        if document.policy().id.is_empty() {
            return Err("/@id: is missing".to_owned());
        }
        Ok(Self(document))
    }

    /// `@id`.
    #[must_use]
    pub fn id(&self) -> OfferId {
        OfferId::new(self.0.policy().id.clone())
    }

    /// `target`.
    #[must_use]
    pub fn target(&self) -> Option<DatasetId> {
        self.0.policy().target.clone().map(DatasetId::new)
    }

    /// The terms.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        self.0.policy()
    }

    /// As sent.
    #[must_use]
    pub const fn json(&self) -> &Json {
        self.0.json()
    }

    /// The service levels that stand beside the rules, as sent.
    #[must_use]
    pub fn service_levels(&self) -> Option<&Json> {
        self.0.json().get(SERVICE_LEVELS)
    }

    /// The same offer about `dataset`.
    #[must_use]
    pub fn with_target(&self, dataset: &DatasetId) -> Self {
        let mut json = self.0.json().clone();
        if let Json::Object(map) = &mut json {
            map.insert("target".to_owned(), Json::String(dataset.to_string()));
        }
        // A target is a string, so the policy stays valid.
        Document::parse(json).map_or_else(|_| self.clone(), Self)
    }

    /// The same offer with the terms of ODRL as the protocol's context has them.
    #[must_use]
    pub fn spelled(&self) -> Self {
        // It says the same, so the policy stays valid.
        Document::parse(spelled(self.0.json())).map_or_else(|_| self.clone(), Self)
    }

    /// The agreement that binds both to these terms (contract negotiation protocol, ContractAgreementMessage), and what stands
    /// beside it: what is given, the service levels of the offer, and the terms in words. For a consumer that knows only
    /// `version` 1 of the signature the levels stay where the offer has them, since it looks for them there.
    ///
    /// # Errors
    /// The terms and the parties do not make a valid agreement.
    pub fn agreement(
        &self,
        id: &AgreementId,
        target: &DatasetId,
        (assigner, assignee): (&ParticipantId, &ParticipantId),
        timestamp: Timestamp,
        mut beside: Map<String, Json>,
        version: u32,
    ) -> Result<(Agreement, Parts), String> {
        // The rules are written as the offer has them: the other side compares.
        let mut map = terms_of(self.0.json());
        if version > 1
            && let Some(levels) = map.remove(SERVICE_LEVELS)
        {
            beside.insert(SERVICE_LEVELS.to_owned(), levels);
        }
        for (key, value) in [
            ("@id", id.to_string()),
            ("@type", "Agreement".to_owned()),
            ("target", target.to_string()),
            ("assigner", assigner.to_string()),
            ("assignee", assignee.to_string()),
            ("timestamp", timestamp.to_string()),
        ] {
            map.insert(key.to_owned(), Json::String(value));
        }
        let agreement = Agreement::parse(Json::Object(map))?;
        // The words are those of the agreement, which names parties and dataset.
        beside.extend(super::words::of(&agreement));
        Ok((agreement, Parts::of(beside)))
    }
}

impl<'de> Deserialize<'de> for Offer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Json::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// An agreement: `@id`, `target`, `assigner`, `assignee` and `timestamp` are there.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Agreement(Document);

impl Agreement {
    /// Reads an agreement.
    ///
    /// # Errors
    /// Names the path and what is wrong. `timestamp` is demanded, as the prose of the specification does.
    pub fn parse(json: Json) -> Result<Self, String> {
        let document = Document::parse(json).map_err(|error| error.to_string())?;
        if document.policy().kind != Kind::Agreement {
            return Err("/@type: must be `Agreement`".to_owned());
        }
        if document.policy().id.is_empty() {
            return Err("/@id: is missing".to_owned());
        }
        match document.json().get("timestamp").and_then(Json::as_str) {
            None => Err("/timestamp: is missing".to_owned()),
            Some(text) if !text.contains('T') || policy_engine::instant(text).is_none() => {
                Err(format!("/timestamp: `{text}` is not an xsd:dateTime"))
            }
            Some(_) => Ok(Self(document)),
        }
    }

    /// `@id`.
    #[must_use]
    pub fn id(&self) -> AgreementId {
        AgreementId::new(self.0.policy().id.clone())
    }

    /// `target`.
    #[must_use]
    pub fn target(&self) -> DatasetId {
        DatasetId::new(self.0.policy().target.clone().unwrap_or_default())
    }

    /// `assigner`: the provider.
    #[must_use]
    pub fn assigner(&self) -> ParticipantId {
        ParticipantId::new(self.0.policy().assigner.clone().unwrap_or_default())
    }

    /// `assignee`: the consumer.
    #[must_use]
    pub fn assignee(&self) -> ParticipantId {
        ParticipantId::new(self.0.policy().assignee.clone().unwrap_or_default())
    }

    /// The terms.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        self.0.policy()
    }

    /// As sent: what is signed, with the [`Parts`] beside it.
    #[must_use]
    pub const fn json(&self) -> &Json {
        self.0.json()
    }
}

impl<'de> Deserialize<'de> for Agreement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Json::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
