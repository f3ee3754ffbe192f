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

/// Some datasets of others, by participant, and where the next begin.
pub(super) type Others = (Vec<Catalog>, Option<String>);

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

    /// The datasets of others that `asker` may see and that `filter` fits, behind the key `after`.
    pub(super) fn others_for(
        &self,
        asker: Asker<'_>,
        filter: &Filter,
        after: &str,
    ) -> Result<Others, EngineError> {
        let mut catalogs: BTreeMap<String, Catalog> = BTreeMap::new();
        let after = Some(after).filter(|after| after.starts_with(prefix::REMOTE));
        let page = tables::list::<Remote>(&self.store, prefix::REMOTE, after, LOOKED_AT)?;
        let is_full = page.len() == LOOKED_AT;
        let (mut shown, mut last) = (0, None);
        let fitting = (!filter.is_empty()).then(|| self.fitting(filter, &page));
        for (key, remote) in page {
            if shown == PAGE {
                return Ok((catalogs.into_values().collect(), last));
            }
            let Remote { participant, dataset, .. } = remote;
            if fitting.as_ref().is_none_or(|fitting| fitting.contains(&key))
                && participant != asker.did
                && let Some(dataset) = self.admitted(asker, dataset)
                && let Some(catalog) = self.catalog_of(&participant, &mut catalogs)?
            {
                catalog.dataset.push(dataset);
                shown += 1;
            }
            last = Some(key);
        }
        Ok((catalogs.into_values().collect(), last.filter(|_| is_full)))
    }

    /// Which of some datasets `filter` fits, by their keys.
    fn fitting(&self, filter: &Filter, page: &[(String, Remote)]) -> BTreeSet<String> {
        let everybody = PolicyDefinition {
            id: String::new(),
            policy: json!({"@type": "Set", "permission": [{"action": "use"}]}),
        };
        let mut some = Inventory::new(Arc::clone(&self.known));
        some.change_policy("access", Some(&everybody));
        for (key, remote) in page {
            // Each under its own first offer, whose purposes count.
            let terms = remote.dataset.pointer("/hasPolicy/0").cloned().unwrap_or_default();
            some.change_policy(key, Some(&PolicyDefinition { id: key.clone(), policy: terms }));
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
        found.ids.iter().map(ToString::to_string).collect()
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
            catalog.service.push(DataService::new(format!("{participant}#dsp"), address));
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

fn remote_key(peer: &str, id: &str) -> String {
    format!("{}{}", tables::within(prefix::REMOTE, peer), trust::did::segment(id))
}
