//! Offers: what the policies of a contract definition come to, and the ids that stand for them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use policy_engine::{Policy, spelled, terms_of};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::model::{Automation, ContractDefinition};

/// What may stand in an offer's id as it is: RFC 3986's unreserved characters.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the two policies of a contract definition come to.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) access: Policy,
    pub(crate) access_text: Json,
    pub(crate) access_digest: String,
    /// Spelled for the Dataspace Protocol.
    pub(crate) terms: Json,
    pub(crate) contract: Option<Policy>,
    pub(crate) digest: String,
}

/// Terms on offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// `@id`: changes when the terms change, so that an altered offer is never mistaken for the old one.
    pub id: String,
    /// The dataset.
    pub asset: String,
    /// ODRL Offer without target.
    pub policy: Json,
    /// Who answers a request.
    pub automation: Automation,
    /// Who may see it: an ODRL Set.
    pub access: Json,
}

impl Terms {
    pub(crate) fn offer(&self, definition: &ContractDefinition, asset: &str) -> Offer {
        let id = offer_id(&definition.id, asset, &self.digest);
        let mut policy = self.terms.clone();
        if let Json::Object(policy) = &mut policy {
            policy.insert("@id".to_owned(), Json::String(id.clone()));
            policy.insert("@type".to_owned(), Json::String("Offer".to_owned()));
        }
        Offer {
            id,
            asset: asset.to_owned(),
            policy,
            access: self.access_text.clone(),
            automation: definition.automation,
        }
    }
}

pub(crate) fn resolve(policies: &BTreeMap<String, Json>, definition: &ContractDefinition) -> Option<Terms> {
    let access_text = policies.get(&definition.access_policy_id)?.clone();
    let access_digest = digest(&access_text.to_string());
    let access = Policy::parse(&access_text).ok()?;
    let terms = policies.get(&definition.contract_policy_id)?;
    let terms = Json::Object(terms_of(terms));
    let contract = Policy::parse(&terms).ok();
    // serde_json sorts the keys of a map, so the same terms always have the same text.
    let digest = digest(&terms.to_string());
    Some(Terms { access, access_text, access_digest, terms: spelled(&terms), contract, digest })
}

pub(crate) fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn offer_id(definition: &str, asset: &str, digest: &str) -> String {
    let encode = |text| utf8_percent_encode(text, KEPT);
    format!("urn:concordat:offer:{}:{}:{digest}", encode(definition), encode(asset))
}

/// Definition, asset and digest of an offer's id.
pub(crate) fn parts(id: &str) -> Option<(Cow<'_, str>, Cow<'_, str>, &str)> {
    let mut parts = id.strip_prefix("urn:concordat:offer:")?.split(':');
    let mut decoded = || percent_decode_str(parts.next()?).decode_utf8().ok();
    let (definition, asset) = (decoded()?, decoded()?);
    let digest = parts.next()?;
    parts.next().is_none().then_some((definition, asset, digest))
}

/// Whether `id` is one that a node of this program gives to its offers, whether or not it is offered.
#[must_use]
pub fn is_offer_id(id: &str) -> bool {
    parts(id).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_id_is_a_uri_of_its_dataset_and_terms() {
        let id = offer_id("d", "a b:%", "00");
        assert_eq!(id, "urn:concordat:offer:d:a%20b%3A%25:00");
        assert_eq!(parts(&id), Some(("d".into(), "a b:%".into(), "00")));
        assert!(is_offer_id(&id) && !is_offer_id("urn:test:mine"));
    }
}
