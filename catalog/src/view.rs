//! The catalog as one participant may see it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use policy_engine::{Hierarchy, Outcome, Policy, Request, World, decide};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use crate::filter::{Filter, Searchable};
use crate::model::{Asset, Automation, ContractDefinition, PolicyDefinition};
use crate::{LISTED, OPEN, VISIBILITY};

/// All that is offered, resolved once when it changes and then only read.
#[derive(Debug, Default)]
pub struct Snapshot {
    assets: BTreeMap<String, Asset>,
    definitions: Vec<Resolved>,
    /// Offer id to (asset id, place in `definitions`).
    offers: BTreeMap<String, (String, usize)>,
    credential_kinds: BTreeSet<String>,
    /// What filters ask about, by asset.
    searchable: BTreeMap<String, Searchable>,
    /// Ids of the assets that the public catalogue shows, in order.
    listed: Vec<String>,
}

#[derive(Debug)]
struct Resolved {
    definition: ContractDefinition,
    access: Policy,
    terms: Map<String, Json>,
    digest: String,
}

/// Who looks at the catalog.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The authenticated participant.
    pub did: &'a str,
    /// Its verified credentials.
    pub credentials: &'a [Json],
}

/// A dataset with the offers that a participant may see.
#[derive(Debug, Clone)]
pub struct Offering<'a> {
    /// The dataset.
    pub asset: &'a Asset,
    /// At least one.
    pub offers: Vec<Offer>,
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
}

impl Snapshot {
    /// Resolves the resources. A definition whose policies are missing offers nothing; its id is returned so that
    /// somebody is told.
    #[must_use]
    pub fn new(
        assets: impl IntoIterator<Item = Asset>,
        policies: impl IntoIterator<Item = PolicyDefinition>,
        definitions: impl IntoIterator<Item = ContractDefinition>,
    ) -> (Self, Vec<String>) {
        let assets: BTreeMap<_, _> = assets.into_iter().map(|asset| (asset.id.clone(), asset)).collect();
        let policies: BTreeMap<_, _> = policies.into_iter().map(|one| (one.id, one.policy)).collect();
        let listed = assets.values().filter(|asset| is_listed(asset)).map(|asset| asset.id.clone()).collect();
        let searchable = assets.values().map(|asset| (asset.id.clone(), Searchable::of(asset))).collect();
        let mut snapshot = Self { assets, searchable, listed, ..Self::default() };
        let mut incomplete = Vec::new();
        for definition in definitions {
            let access = policies.get(&definition.access_policy_id).and_then(|json| Policy::parse(json).ok());
            let terms = policies.get(&definition.contract_policy_id).and_then(Json::as_object);
            let (Some(access), Some(terms)) = (access, terms) else {
                incomplete.push(definition.id);
                continue;
            };
            let terms: Map<String, Json> = ["profile", "conflict", "permission", "prohibition", "obligation"]
                .into_iter()
                .filter_map(|key| terms.get_key_value(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let contract = Policy::parse(&Json::Object(terms.clone())).ok();
            for policy in [Some(&access), contract.as_ref()].into_iter().flatten() {
                snapshot.credential_kinds.extend(policy.credential_kinds().into_iter().map(str::to_owned));
            }
            // serde_json sorts the keys of a map, so the same terms always have the same text.
            let digest = Sha256::digest(Json::Object(terms.clone()).to_string());
            let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            let place = snapshot.definitions.len();
            for asset in snapshot.assets.values().filter(|asset| definition.selects(asset)) {
                let id = offer_id(&definition.id, &asset.id, &digest);
                snapshot.offers.insert(id, (asset.id.clone(), place));
            }
            snapshot.definitions.push(Resolved { definition, access, terms, digest });
        }
        (snapshot, incomplete)
    }

    /// The types of the credentials that policies ask of participants; an empty name stands for any type.
    #[must_use]
    pub const fn credential_kinds(&self) -> &BTreeSet<String> {
        &self.credential_kinds
    }

    /// Number of managed datasets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.assets.len()
    }

    /// The ids of the datasets that the public catalogue shows, in order.
    #[must_use]
    pub fn listed(&self) -> &[String] {
        &self.listed
    }

    /// The asset `id`, if the public catalogue shows it.
    #[must_use]
    pub fn listed_asset(&self, id: &str) -> Option<&Asset> {
        self.assets.get(id).filter(|asset| is_listed(asset))
    }

    /// The asset `id`, if everybody may read it.
    #[must_use]
    pub fn open_asset(&self, id: &str) -> Option<&Asset> {
        self.assets.get(id).filter(|asset| visibility(asset) == Some(OPEN))
    }

    /// Whether nothing is managed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.assets.is_empty()
    }

    /// The asset `id`, whoever asks: for the owner and the gate.
    #[must_use]
    pub fn asset(&self, id: &str) -> Option<&Asset> {
        self.assets.get(id)
    }

    /// Every dataset with an offer whose access policy admits `asker` and that `filter` fits, in the order of ids.
    #[must_use]
    pub fn offered_to(
        &self,
        asker: Asker<'_>,
        filter: &Filter,
        now: Timestamp,
        known: &Hierarchy,
    ) -> Vec<Offering<'_>> {
        let admitted = self.admitted(asker, now, known);
        let fits = |asset: &&Asset| {
            filter.is_empty() || self.searchable.get(&asset.id).is_some_and(|one| filter.fits(one, known))
        };
        self.assets.values().filter(fits).filter_map(|asset| self.offering(asset, &admitted)).collect()
    }

    /// One dataset as `asker` may see it.
    #[must_use]
    pub fn dataset(
        &self,
        id: &str,
        asker: Asker<'_>,
        now: Timestamp,
        known: &Hierarchy,
    ) -> Option<Offering<'_>> {
        self.offering(self.assets.get(id)?, &self.admitted(asker, now, known))
    }

    /// What the offer `id` stands for, if `asker` may see it.
    #[must_use]
    pub fn offer(&self, id: &str, asker: Asker<'_>, now: Timestamp, known: &Hierarchy) -> Option<Offer> {
        let (asset, place) = self.offers.get(id)?;
        let resolved = self.definitions.get(*place)?;
        admits(resolved, asker, now, known).then(|| resolved.offer(asset))
    }

    fn admitted(&self, asker: Asker<'_>, now: Timestamp, known: &Hierarchy) -> Vec<&Resolved> {
        self.definitions.iter().filter(|resolved| admits(resolved, asker, now, known)).collect()
    }

    fn offering<'a>(&self, asset: &'a Asset, admitted: &[&Resolved]) -> Option<Offering<'a>> {
        let offers: Vec<_> = admitted
            .iter()
            .filter(|resolved| resolved.definition.selects(asset))
            .map(|resolved| resolved.offer(&asset.id))
            .collect();
        (!offers.is_empty()).then_some(Offering { asset, offers })
    }
}

impl Resolved {
    fn offer(&self, asset: &str) -> Offer {
        let id = offer_id(&self.definition.id, asset, &self.digest);
        let mut policy = self.terms.clone();
        policy.insert("@id".to_owned(), Json::String(id.clone()));
        policy.insert("@type".to_owned(), Json::String("Offer".to_owned()));
        Offer {
            id,
            asset: asset.to_owned(),
            policy: Json::Object(policy),
            automation: self.definition.automation,
        }
    }
}

/// Only what its owner listed: anything else is nobody's business.
fn is_listed(asset: &Asset) -> bool {
    matches!(visibility(asset), Some(LISTED | OPEN))
}

fn visibility(asset: &Asset) -> Option<&str> {
    asset.properties.get(VISIBILITY).and_then(Json::as_str)
}

fn admits(resolved: &Resolved, asker: Asker<'_>, now: Timestamp, known: &Hierarchy) -> bool {
    let request = Request { action: "use", party: asker.did, target: None };
    let world = World { credentials: asker.credentials, ..World::at(now, known) };
    decide(&resolved.access, &request, &world).outcome == Outcome::Permit
}

fn offer_id(definition: &str, asset: &str, digest: &str) -> String {
    let encode = |text: &str| {
        text.chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "-._~".contains(c) {
                    c.to_string()
                } else {
                    let mut buffer = [0; 4];
                    c.encode_utf8(&mut buffer).bytes().map(|byte| format!("%{byte:02X}")).collect()
                }
            })
            .collect::<String>()
    };
    format!("urn:concordat:offer:{}:{}:{digest}", encode(definition), encode(asset))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asset(id: &str) -> Asset {
        serde_json::from_value(json!({"@id": id, "properties": {"city": "Paris"}})).unwrap()
    }

    fn policy(id: &str, policy: Json) -> PolicyDefinition {
        PolicyDefinition { id: id.to_owned(), policy }
    }

    fn definition(id: &str, access: &str, contract: &str, selector: Json) -> ContractDefinition {
        serde_json::from_value(json!({"@id": id, "accessPolicyId": access, "contractPolicyId": contract,
            "assetsSelector": selector}))
        .unwrap()
    }

    fn by(did: &str) -> Asker<'_> {
        Asker { did, credentials: &[] }
    }

    #[test]
    fn credentials_open_what_an_access_policy_asks_for() {
        let members = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [
            {"leftOperand": "urn:concordat:membership", "operator": "eq", "rightOperand": "urn:space"}]}]});
        let open = json!({"@type": "Set", "permission": [{"action": "use"}]});
        let (made, _) = Snapshot::new(
            [asset("x")],
            [policy("members", members), policy("open", open)],
            [definition("d", "members", "open", json!([]))],
        );
        assert!(made.credential_kinds().iter().eq(["MembershipCredential"]));
        let shown = [
            json!({"type": ["VerifiableCredential", "MembershipCredential"], "credentialSubject": {"memberOf": "urn:space"}}),
        ];
        let (now, known) = (Timestamp::UNIX_EPOCH, Hierarchy::default());
        assert!(made.offered_to(by("did:web:a"), &Filter::default(), now, &known).is_empty());
        assert_eq!(
            made.offered_to(Asker { did: "did:web:a", credentials: &shown }, &Filter::default(), now, &known)
                .len(),
            1
        );
    }

    fn snapshot() -> Snapshot {
        let open = json!({"@type": "Set", "permission": [{"action": "use"}]});
        let only_b = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [
            {"leftOperand": "assignee", "operator": "eq", "rightOperand": "did:web:b"}]}]});
        let by_id = |id: &str| json!([{"operandLeft": "id", "operator": "=", "operandRight": id}]);
        let (made, incomplete) = Snapshot::new(
            [asset("x"), asset("y"), asset("hidden")],
            [policy("open", open), policy("only-b", only_b)],
            [
                definition("d1", "open", "open", by_id("x")),
                definition("d2", "only-b", "open", by_id("y")),
                definition("d3", "open", "missing", json!([])),
            ],
        );
        assert_eq!(incomplete, ["d3"]);
        made
    }

    #[test]
    fn each_sees_what_its_access_policy_admits_and_nothing_else() {
        let (made, known, now) = (snapshot(), Hierarchy::default(), Timestamp::UNIX_EPOCH);
        let ids = |asker: &str| {
            made.offered_to(by(asker), &Filter::default(), now, &known)
                .into_iter()
                .map(|one| one.asset.id.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids("did:web:a"), ["x"]);
        assert_eq!(ids("did:web:b"), ["x", "y"]);
        assert!(made.dataset("y", by("did:web:a"), now, &known).is_none());
        let offer = made.dataset("y", by("did:web:b"), now, &known).unwrap().offers.pop().unwrap();
        assert_eq!(made.offer(&offer.id, by("did:web:b"), now, &known), Some(offer.clone()));
        assert_eq!(
            made.offer(&offer.id, by("did:web:a"), now, &known),
            None,
            "an offer id tells a stranger nothing"
        );
        assert!(offer.policy.get("target").is_none());
    }

    #[test]
    fn an_offer_id_is_a_uri_of_its_dataset_and_terms() {
        assert_eq!(offer_id("d", "a b", "00"), "urn:concordat:offer:d:a%20b:00");
        let made = snapshot();
        let ids: Vec<_> = made.offers.keys().collect();
        assert_eq!(ids.len(), 2);
    }

    #[test]
    fn selectors_compare_id_and_properties() {
        let by = |selector: Json| definition("d", "o", "o", selector).selects(&asset("x"));
        assert!(by(json!([])));
        assert!(by(
            json!([{"operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "in", "operandRight": ["x", "z"]}])
        ));
        assert!(by(json!([{"operandLeft": "city", "operator": "=", "operandRight": "Paris"}])));
        assert!(!by(json!([{"operandLeft": "city", "operator": "=", "operandRight": "London"}])));
        assert!(!by(json!([{"operandLeft": "none", "operator": "=", "operandRight": "x"}])));
        assert!(
            definition(
                "d",
                "o",
                "o",
                json!([{"operandLeft": "id", "operator": "like", "operandRight": "x"}])
            )
            .check()
            .is_err()
        );
    }
}
