//! What is offered here: terms, descriptions, identifiers and forms of datasets.

use std::collections::BTreeSet;

use ::catalog::lint::{Weight, lint};
use ::catalog::{Asset, ContractDefinition, Description, OPEN, PolicyDefinition, VISIBILITY};
use governance::identifier::expect_iri;
use governance::mims::Finding;
use governance::personal::purposes_of;
use policy_engine::{Policy, explain, media};
use serde_json::{Value as Json, json};

use super::{Assessment, Ids};
use crate::engine::EngineError;
use crate::search::{FACETS, Question};
use crate::tables::{self, prefix};

/// Most datasets that are looked up in the index of the search.
const LOOKED_UP: usize = 200;

/// Met where there are some and none of them fails; nothing is set up where there are none.
fn every(kind: &str, all: usize, failing: &Ids) -> Finding {
    let evidence = json!({kind: all, "failing": failing.json()});
    match all {
        0 => Finding::not(json!(format!("no {kind} here"))),
        _ => Finding::probed(failing.is_empty(), evidence),
    }
}

impl Assessment<'_> {
    pub(super) async fn check_offers(&self, name: &str) -> Result<Option<Finding>, EngineError> {
        Ok(Some(match name {
            "offers-have-terms" | "offers-in-words" | "offers-are-odrl" => self.check_terms(name)?,
            "descriptions-complete" => self.each_dataset(|one| {
                let description = Description::from_properties(&one.properties);
                !lint(&description).iter().any(|remark| remark.weight == Weight::Mandatory)
            }),
            "models-named" => {
                self.each_dataset(|one| !Description::from_properties(&one.properties).conforms_to.is_empty())
            }
            "provenance" => {
                self.each_dataset(|one| Description::from_properties(&one.properties).provenance.is_some())
            }
            "ids-persistent" => self.each_dataset(|one| self.is_persistent(one)),
            "ids-unique" => self.check_unique().await?,
            "lookup" => self.each_dataset(|one| {
                self.engine.asset(&one.id).is_ok_and(|found| found.is_some_and(|found| found.id == one.id))
            }),
            "formats-machine-readable" => self.check_formats(),
            "geo-encodings" => self.check_geo(),
            "geo-ids" => {
                let spatial: Vec<_> = self.assets.iter().filter(|one| is_geo(one)).collect();
                let failing =
                    spatial.iter().filter(|one| !self.is_persistent(one)).map(|one| one.id.as_str());
                every("GeoJSON datasets", spatial.len(), &failing.collect())
            }
            "open-data" => self.check_open(),
            "attributes-queried" => self.check_queries().await?,
            "terms" => self.check_known_terms()?,
            _ => return Ok(None),
        }))
    }

    fn each_dataset(&self, fine: impl Fn(&Asset) -> bool) -> Finding {
        let failing = self.assets.iter().filter(|one| !fine(one)).map(|one| one.id.as_str()).collect();
        every("datasets", self.assets.len(), &failing)
    }

    fn policies(&self) -> Result<Vec<(String, Option<Json>)>, EngineError> {
        let store = &self.engine.store;
        let definitions = tables::all::<ContractDefinition>(store, prefix::CONTRACT_DEFINITION)?;
        let policy = |definition: ContractDefinition| {
            let key = tables::key(prefix::POLICY_DEFINITION, &definition.contract_policy_id);
            let found = tables::load::<PolicyDefinition>(store, &key)?;
            Ok((definition.id, found.map(|(policy, _)| policy.policy)))
        };
        definitions.into_iter().map(policy).collect()
    }

    fn check_terms(&self, name: &str) -> Result<Finding, EngineError> {
        let policies = self.policies()?;
        let fine = |policy: &Option<Json>| match policy.as_ref().map(Policy::parse) {
            Some(Ok(policy)) => name != "offers-in-words" || !explain::policy(&policy).is_empty(),
            _ => false,
        };
        let failing =
            policies.iter().filter(|(_, policy)| !fine(policy)).map(|(id, _)| id.as_str()).collect();
        Ok(every("offers", policies.len(), &failing))
    }

    /// An IRI without the host name of today.
    fn is_persistent(&self, asset: &Asset) -> bool {
        let host = self.engine.public_address.split("://").nth(1).unwrap_or_default();
        expect_iri("", &asset.id, "").is_ok() && !asset.id.contains(host)
    }

    /// IRIs, under none of which another participant offers something.
    async fn check_unique(&self) -> Result<Finding, EngineError> {
        let own = self.engine.did();
        let mut failing = Ids::default();
        for asset in &self.assets {
            if expect_iri("", &asset.id, "").is_err() {
                failing.note(format!("{}: is not an IRI", asset.id));
            }
        }
        for asset in self.assets.iter().take(LOOKED_UP) {
            let question = Question { dataset: Some(asset.id.clone()), ..Question::default() };
            let hits = self.engine.search(question).await?.hits;
            if let Some(other) = hits.iter().find(|known| known.participant != own) {
                failing.note(format!("{}: {} offers one under this id as well", asset.id, other.participant));
            }
        }
        Ok(every("datasets", self.assets.len(), &failing))
    }

    /// Declared forms, of what somebody has read.
    fn check_formats(&self) -> Finding {
        let unknown: Ids = self
            .assets
            .iter()
            .filter(|one| matches!(media_type(one).as_str(), "" | media::UNKNOWN))
            .map(|one| one.id.as_str())
            .collect();
        self.read_in_form("datasets", self.assets.iter().collect(), &unknown)
    }

    fn check_geo(&self) -> Finding {
        let spatial: Vec<_> = self.assets.iter().filter(|one| is_geo(one)).collect();
        self.read_in_form("GeoJSON datasets", spatial, &Ids::default())
    }

    fn read_in_form(&self, kind: &str, all: Vec<&Asset>, unknown: &Ids) -> Finding {
        let read: Ids = all.iter().filter(|one| self.was_read(&one.id)).map(|one| one.id.as_str()).collect();
        let evidence =
            json!({kind: all.len(), "without a media type": unknown.json(), "read here": read.json()});
        match (all.len(), unknown.is_empty()) {
            (0, _) => Finding::not(json!(format!("no {kind} here"))),
            (_, false) => Finding::not(evidence),
            (_, true) => Finding::recorded(read.count, evidence),
        }
    }

    fn check_open(&self) -> Finding {
        let open: Vec<_> =
            self.assets.iter().filter(|one| one.properties.get(VISIBILITY) == Some(&json!(OPEN))).collect();
        let read: Ids = open
            .iter()
            .filter(|one| self.open_reads.get(&one.id).is_some_and(|reads| *reads > 0))
            .map(|one| one.id.as_str())
            .collect();
        match open.len() {
            0 => Finding::not(json!("no open data is published here")),
            _ => Finding::recorded(
                read.count,
                json!({"open datasets": open.len(), "read without identity": read.json()}),
            ),
        }
    }

    /// Asks the search for what it knows by each attribute that something has, and counts what it finds.
    async fn check_queries(&self) -> Result<Finding, EngineError> {
        let all = self.engine.search(Question::default()).await?;
        let (mut asked, mut wrong) = (Vec::new(), Ids::default());
        for facet in FACETS {
            let first = all.facets.get(facet).and_then(|values| values.get(0));
            let Some(value) = first.and_then(|one| one.get("value")).and_then(Json::as_str) else { continue };
            let expected = first.and_then(|one| one.get("count")).and_then(Json::as_u64);
            let mut question = Question::default();
            let place = match facet {
                "participant" => &mut question.participant,
                "theme" => &mut question.theme,
                "keyword" => &mut question.keyword,
                "publisher" => &mut question.publisher,
                "format" => &mut question.format,
                "license" => &mut question.license,
                _ => continue,
            };
            *place = Some(value.to_owned());
            let found = self.engine.search(question).await?.total;
            if u64::try_from(found).ok() != expected {
                wrong.note(facet);
            }
            asked.push(json!({"attribute": facet, "value": value, "datasets found": found}));
        }
        let evidence =
            json!({"datasets known": all.total, "asked for": asked, "wrongly answered": wrong.json()});
        Ok(match asked.is_empty() {
            true => Finding::able(evidence),
            false => Finding::probed(wrong.is_empty(), evidence),
        })
    }

    /// Purposes of this node's own offers that the vocabulary places.
    fn check_known_terms(&self) -> Result<Finding, EngineError> {
        let known = &self.engine.known;
        let policies = self.policies()?;
        let parsed = policies.iter().filter_map(|(_, policy)| Policy::parse(policy.as_ref()?).ok());
        let named: BTreeSet<String> = parsed.flat_map(|policy| purposes_of(&policy)).collect();
        let mapped: Ids = named.iter().filter(|term| known.knows(term)).map(String::as_str).collect();
        let evidence = json!({"purposes of offers": named.len(), "which the vocabulary maps": mapped.json()});
        Ok(Finding::recorded(mapped.count, evidence))
    }
}

fn media_type(asset: &Asset) -> String {
    Description::from_properties(&asset.properties).media_type_of(None).unwrap_or_default()
}

fn is_geo(asset: &Asset) -> bool {
    media::canonical(&media_type(asset)) == media::GEO_JSON
}
