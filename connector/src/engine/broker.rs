//! A broker's catalog: this node's own, and within it those of the participants that it reads, as far as they let it. What a
//! provider lists publicly is shown to everybody; of what else it offers, a provider that named this node as its broker tells
//! the access policies, and these decide here as they would there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalog::{
    Asker, Asset, ContractDefinition, Cursor, Filter, Inventory, LISTED, OPEN, PolicyDefinition, VISIBILITY,
};
use policy_engine::{Outcome, Policy, Request, World, decide};
use protocol::wire::{Catalog, DataService, Dataset};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use store::Batch;

use super::{Engine, EngineError};
use crate::clock;
use crate::search::{Known, describe};
use crate::tables::{self, prefix};

/// The property of an offer with the access policy that it is under; told to the provider's brokers alone.
pub(super) const ACCESS: &str = "urn:concordat:access";
/// Datasets of others on a page.
const PAGE: usize = 100;
/// Datasets of others that are looked through for a page: of which few are for the asker, it may be a short one.
const LOOKED_AT: usize = 1000;

/// A dataset of another participant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Remote {
    participant: String,
    /// By which reading of its catalog it was found.
    reading: u64,
    dataset: Json,
}

/// A page of the datasets of others.
pub(super) struct Others {
    /// By participant.
    pub(super) catalogs: Vec<Catalog>,
    /// Where the page before it ends, if there is one among these.
    pub(super) previous: Option<Cursor>,
    /// Where the next begins.
    pub(super) next: Option<Cursor>,
}

impl Engine {
    /// Keeps what was read of the catalog of `peer`, if this node is a broker: its own datasets only, not those that it tells of.
    pub(super) async fn keep_remote(
        &self,
        peer: &str,
        known: &[Known],
        reading: u64,
    ) -> Result<(), EngineError> {
        if !self.federating.broker {
            return Ok(());
        }
        let mut batch = Batch::new();
        for one in known.iter().filter(|one| one.participant == peer) {
            let id = one.dataset.get("@id").and_then(Json::as_str).unwrap_or_default();
            self.expect_access(&one.dataset);
            let remote = Remote { participant: peer.to_owned(), reading, dataset: one.dataset.clone() };
            tables::put(&mut batch, remote_key(peer, id), &remote)?;
        }
        self.commit(batch).await.map(|_| ())
    }

    /// Whoever asks this node is asked for what shows that it may see the offers of `dataset`.
    fn expect_access(&self, dataset: &Json) {
        for offer in dataset.get("hasPolicy").and_then(Json::as_array).into_iter().flatten() {
            if let Some(Ok(access)) = offer.get(ACCESS).map(Policy::parse) {
                self.claims.expect(&access, &self.known);
            }
        }
    }

    /// At the start: what those who ask must show for what others offer.
    pub(super) fn expect_remote_claims(&self) -> Result<(), EngineError> {
        let mut after: Option<String> = None;
        loop {
            let page = tables::list::<Remote>(&self.store, prefix::REMOTE, after.as_deref(), LOOKED_AT)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            page.iter().for_each(|(_, remote)| self.expect_access(&remote.dataset));
        }
    }

    /// Forgets what the `reading`th reading of the catalog of `peer` did not find.
    pub(super) async fn forget_remote(&self, peer: &str, reading: u64) -> Result<(), EngineError> {
        let within = remote_key(peer, "");
        let mut after: Option<String> = None;
        loop {
            let page = tables::list::<Remote>(&self.store, &within, after.as_deref(), LOOKED_AT)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut batch = Batch::new();
            for (key, _) in page.into_iter().filter(|(_, one)| one.reading != reading) {
                batch.delete(key);
            }
            self.commit(batch).await?;
        }
    }

    /// A page of the datasets of others that `asker` may see and that `filter` fits: behind or before a key, as `cursor` says.
    pub(super) fn others_for(
        &self,
        asker: Asker<'_>,
        filter: &Filter,
        cursor: &Cursor,
    ) -> Result<Others, EngineError> {
        let key = |key: &String| Some(key.clone()).filter(|key| key.starts_with(prefix::REMOTE));
        let (page, back): (Vec<(String, Remote)>, _) = match cursor {
            Cursor::Before(before) => {
                (tables::list_back(&self.store, prefix::REMOTE, key(before).as_deref(), LOOKED_AT)?, true)
            }
            Cursor::After(after) => {
                (tables::list(&self.store, prefix::REMOTE, key(after).as_deref(), LOOKED_AT)?, false)
            }
            Cursor::Start | Cursor::Skip(_) => {
                (tables::list(&self.store, prefix::REMOTE, None, LOOKED_AT)?, false)
            }
        };
        let mut more = page.len() == LOOKED_AT;
        let fitting = (!filter.is_empty()).then(|| self.fitting(filter, &page));
        let (first, mut last, mut shown) = (page.first().map(|(key, _)| key.clone()), None, Vec::new());
        for (key, remote) in page {
            if shown.len() == PAGE {
                more = true;
                break;
            }
            let Remote { participant, dataset, .. } = remote;
            if fitting.as_ref().is_none_or(|fitting| fitting.contains(&key))
                && participant != asker.did
                && let Some(dataset) = self.admitted(asker, dataset)
            {
                shown.push((participant, dataset));
            }
            last = Some(key);
        }
        if back {
            shown.reverse();
        }
        let mut catalogs = BTreeMap::new();
        for (participant, dataset) in shown {
            if let Some(catalog) = self.catalog_of(&participant, &mut catalogs)? {
                catalog.dataset.push(dataset);
            }
        }
        let catalogs = catalogs.into_values().collect();
        // Where there is nothing to show, one goes back to the end of the pages before it.
        let first = first.map(|first| if back { Cursor::After(first) } else { Cursor::Before(first) });
        let last = last.filter(|_| more);
        Ok(if back {
            Others {
                catalogs,
                previous: last.map(Cursor::Before),
                next: first.or(Some(Cursor::After(String::new()))),
            }
        } else {
            Others { catalogs, previous: first, next: last.map(Cursor::After) }
        })
    }

    /// A dataset of another participant as `asker` may see it, with the endpoint where one negotiates.
    pub(super) fn other_dataset(&self, asker: Asker<'_>, id: &str) -> Result<Option<Dataset>, EngineError> {
        if !self.federating.broker {
            return Ok(None);
        }
        for crawl in self.crawls()? {
            let Some(address) = crawl.address else { continue };
            let found = tables::load::<Remote>(&self.store, &remote_key(&crawl.peer, id))?;
            let Some((remote, _)) = found.filter(|_| crawl.peer != asker.did) else { continue };
            if let Some(mut dataset) = self.admitted(asker, remote.dataset) {
                dataset.served_by(&service_of(&crawl.peer, address));
                return Ok(Some(dataset));
            }
        }
        Ok(None)
    }

    /// Which of some datasets `filter` fits, by their keys.
    fn fitting(&self, filter: &Filter, page: &[(String, Remote)]) -> BTreeSet<String> {
        let everybody = PolicyDefinition {
            id: String::new(),
            policy: json!({"@type": "Set", "permission": [{"action": "use"}]}),
            ..PolicyDefinition::default()
        };
        let mut some = Inventory::new(Arc::clone(&self.known));
        some.change_policy("access", Some(&everybody));
        for (key, remote) in page {
            // Each under its own first offer, whose purposes count.
            let terms = remote.dataset.pointer("/hasPolicy/0").cloned().unwrap_or_default();
            some.change_policy(
                key,
                Some(&PolicyDefinition { id: key.clone(), policy: terms, ..PolicyDefinition::default() }),
            );
            let definition = json!({"@id": key, "accessPolicyId": "access", "contractPolicyId": key, "assetsSelector": [
                {"@type": "Criterion", "operandLeft": "id", "operator": "=", "operandRight": key}]});
            if let Ok(definition) = serde_json::from_value::<ContractDefinition>(definition) {
                some.change_definition(key, Some(definition), []);
            }
            let properties = describe(&remote.dataset).to_properties();
            let asset = Asset { id: key.clone(), properties, ..Asset::default() };
            some.change_asset(None, Some(&asset));
        }
        let nobody = Asker { did: "", credentials: &[] };
        let found = some.view(nobody, clock::now()).page(filter, &Cursor::Start, LOOKED_AT);
        let satisfies = |key: &str| {
            let Some((_, remote)) = page.iter().find(|(one, _)| one == key) else { return false };
            let mut told = remote.dataset.clone();
            if let Some(map) = told.as_object_mut() {
                map.insert("properties".to_owned(), json!(describe(&remote.dataset).to_properties()));
            }
            filter.criteria().iter().all(|one| one.holds(&told))
        };
        found.ids.iter().filter(|key| satisfies(key)).map(ToString::to_string).collect()
    }

    /// The dataset with the offers that are for `asker`.
    fn admitted(&self, asker: Asker<'_>, dataset: Json) -> Option<Dataset> {
        let mut dataset: Dataset = serde_json::from_value(dataset).ok()?;
        let visibility = dataset.properties.get(VISIBILITY).and_then(Json::as_str);
        let is_public = matches!(visibility, Some(LISTED | OPEN));
        let now = clock::now();
        dataset.has_policy.retain_mut(|offer| {
            let Some(access) = offer.as_object_mut().and_then(|offer| offer.remove(ACCESS)) else {
                return is_public;
            };
            let request = Request { action: policy_engine::ACCESS, party: asker.did, target: None };
            let world = World { credentials: asker.credentials, ..World::at(now, &self.known) };
            Policy::parse(&access)
                .is_ok_and(|access| decide(&access, &request, &world).outcome == Outcome::Permit)
        });
        (!dataset.has_policy.is_empty()).then_some(dataset)
    }

    /// The catalog of `participant` within this node's, with the endpoint where one negotiates; `None` where it is not known.
    fn catalog_of<'a>(
        &self,
        participant: &str,
        catalogs: &'a mut BTreeMap<String, Catalog>,
    ) -> Result<Option<&'a mut Catalog>, EngineError> {
        if !catalogs.contains_key(participant) {
            let Some(crawl) = self.crawl_of(participant)? else { return Ok(None) };
            let Some(address) = crawl.address else { return Ok(None) };
            let mut catalog = Catalog::new(format!("{address}/catalog"), participant.to_owned());
            catalog.service.push(service_of(participant, address));
            if let Some(name) = crawl.name {
                catalog.properties.insert(catalog::TITLE.to_owned(), Json::String(name));
            }
            if let Some(seen) = crawl.seen {
                catalog.properties.insert(catalog::MODIFIED.to_owned(), Json::String(seen.to_string()));
            }
            catalogs.insert(participant.to_owned(), catalog);
        }
        Ok(catalogs.get_mut(participant))
    }
}

fn service_of(participant: &str, address: String) -> DataService {
    DataService::new(format!("{participant}#dsp"), address)
}

fn remote_key(peer: &str, id: &str) -> String {
    format!("{}{}", tables::within(prefix::REMOTE, peer), trust::did::segment(id))
}
