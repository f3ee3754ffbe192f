//! Managed resources, and the catalog made of them.

use std::sync::{Arc, PoisonError};

use catalog::{
    Asset, CatalogError, ContractDefinition, Description, Filter, HTTP_PULL, Offering, PolicyDefinition,
    Snapshot,
};
use protocol::wire::{Catalog, DataService, Dataset, Distribution};
use protocol::{Refusal, RefusalKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::Batch;

use super::{Engine, EngineError};
use crate::clock;
use crate::tables::{self, Event, prefix};

/// A resource that an operator manages.
pub trait Managed: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its `@type`.
    const TYPE: &'static str;
    /// Where it is kept.
    const PREFIX: &'static str;

    /// `@id`.
    fn id(&self) -> &str;
    /// `@id`, to be set where the caller gave none.
    fn id_mut(&mut self) -> &mut String;
    /// What its JSON shape does not say.
    ///
    /// # Errors
    /// Path and reason.
    fn check(&self) -> Result<(), CatalogError>;
}

macro_rules! managed {
    ($type:ident, $prefix:expr) => {
        impl Managed for $type {
            const TYPE: &'static str = stringify!($type);
            const PREFIX: &'static str = $prefix;

            fn id(&self) -> &str {
                &self.id
            }

            fn id_mut(&mut self) -> &mut String {
                &mut self.id
            }

            fn check(&self) -> Result<(), CatalogError> {
                Self::check(self)
            }
        }
    };
}

managed!(Asset, prefix::ASSET);
managed!(PolicyDefinition, prefix::POLICY_DEFINITION);
managed!(ContractDefinition, prefix::CONTRACT_DEFINITION);

/// Whether a write makes or replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Refused where the id exists.
    Create,
    /// Refused where it does not.
    Replace,
}

const ALL: usize = usize::MAX;
/// Datasets in one page of the catalog.
const PAGE: usize = 500;

/// Where a page of the catalog begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// After the dataset with this id.
    After(String),
    /// With the page that ends before the dataset with this id.
    Before(String),
    /// At the beginning.
    Start,
}

/// A page of the catalog, and where others begin.
#[derive(Debug, Clone)]
pub struct Page {
    /// The datasets of this page.
    pub catalog: Catalog,
    /// The page before it.
    pub previous: Option<Cursor>,
    /// The page behind it.
    pub next: Option<Cursor>,
}

impl Engine {
    /// Reads the resources anew.
    pub(super) fn reload_catalog(&self) -> Result<(), EngineError> {
        fn records<T: Managed>(engine: &Engine) -> Result<Vec<T>, EngineError> {
            let found = tables::list(&engine.store, T::PREFIX, None, ALL)?;
            Ok(found.into_iter().map(|(_, record)| record).collect())
        }
        let (snapshot, incomplete) = Snapshot::new(
            records::<Asset>(self)?,
            records::<PolicyDefinition>(self)?,
            records::<ContractDefinition>(self)?,
        );
        for definition in incomplete {
            tracing::warn!(
                definition,
                "a contract definition offers nothing, because a policy it names is missing"
            );
        }
        *self.offered.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        Ok(())
    }

    /// Writes a managed resource.
    ///
    /// # Errors
    /// It is malformed, exists already (create) or does not exist (replace).
    pub async fn put_resource<T: Managed>(&self, resource: T, write: Write) -> Result<(), EngineError> {
        let _lock = self.locks.lock("catalog").await;
        resource.check().map_err(|error| EngineError::refused(RefusalKind::Malformed, error.to_string()))?;
        let key = tables::key(T::PREFIX, resource.id());
        let version = self.store.get(&key)?.map(|found| found.version);
        match (write, version) {
            (Write::Create, Some(_)) => {
                let reason = format!("there is a {} `{}` already", T::TYPE, resource.id());
                return Err(EngineError::refused(RefusalKind::Disagreement, reason));
            }
            (Write::Replace, None) => return Err(not_found::<T>(resource.id())),
            _ => {}
        }
        let mut batch = Batch::new();
        batch.expect(key.clone(), version);
        tables::put(&mut batch, key, &resource)?;
        let text = format!(
            "{} `{}` was {}",
            T::TYPE,
            resource.id(),
            if version.is_none() { "made" } else { "changed" }
        );
        tables::append_event(&mut batch, &Event::new("catalog", clock::now(), text).about(resource.id()))?;
        self.commit(batch).await?;
        self.reload_catalog()?;
        self.reconsider_open(resource.id());
        Ok(())
    }

    /// One managed resource.
    ///
    /// # Errors
    /// Not there.
    pub fn resource<T: Managed>(&self, id: &str) -> Result<T, EngineError> {
        let found = tables::load(&self.store, &tables::key(T::PREFIX, id))?;
        found.map(|(record, _)| record).ok_or_else(|| not_found::<T>(id))
    }

    /// Removes a managed resource; agreements made before stay as they are.
    ///
    /// # Errors
    /// Not there, or still used by another resource.
    pub async fn delete_resource<T: Managed>(&self, id: &str) -> Result<(), EngineError> {
        let _lock = self.locks.lock("catalog").await;
        let key = tables::key(T::PREFIX, id);
        let version = self.store.get(&key)?.ok_or_else(|| not_found::<T>(id))?.version;
        let users: Vec<ContractDefinition> =
            tables::list(&self.store, prefix::CONTRACT_DEFINITION, None, ALL)?
                .into_iter()
                .map(|(_, definition)| definition)
                .filter(|one: &ContractDefinition| one.access_policy_id == id || one.contract_policy_id == id)
                .collect();
        if let (PolicyDefinition::TYPE, Some(user)) = (T::TYPE, users.first()) {
            let reason = format!("contract definition `{}` uses it; remove that first", user.id);
            return Err(EngineError::refused(RefusalKind::Disagreement, reason));
        }
        let mut batch = Batch::new();
        batch.expect(key.clone(), Some(version));
        batch.delete(key);
        let text = format!("{} `{id}` was removed", T::TYPE);
        tables::append_event(&mut batch, &Event::new("catalog", clock::now(), text).about(id))?;
        self.commit(batch).await?;
        self.reload_catalog()?;
        self.reconsider_open(id);
        Ok(())
    }

    /// A page of the catalog as `asker` may see it. Pages are cut by dataset ids, so what is published or withdrawn
    /// meanwhile shifts nothing.
    #[must_use]
    pub fn catalog_for(&self, asker: &str, filter: &Filter, cursor: &Cursor) -> Page {
        let snapshot = self.snapshot();
        let mut catalog = Catalog::new(format!("{}/catalog", self.own_address), self.did().to_owned());
        catalog.service.push(DataService::new(self.service_id(), self.own_address.clone()));
        let credentials = self.credentials_of(asker);
        let asker = ::catalog::Asker { did: asker, credentials: &credentials };
        let offered = snapshot.offered_to(asker, filter, clock::now(), &self.known);
        let id = |place: usize| offered.get(place).map(|offering| offering.asset.id.as_str());
        // The places of the first dataset that is shown and of the first that is not any more.
        let from = |begin: usize| (begin, offered.len().min(begin + PAGE));
        let (begin, end) = match cursor {
            Cursor::Start => from(0),
            Cursor::After(last) => {
                from(offered.partition_point(|one| one.asset.id.as_str() <= last.as_str()))
            }
            Cursor::Before(first) => {
                let end = offered.partition_point(|one| one.asset.id.as_str() < first.as_str());
                (end.saturating_sub(PAGE), end)
            }
        };
        let previous = (begin > 0).then(|| id(begin)).flatten().map(|first| Cursor::Before(first.to_owned()));
        let last = (end < offered.len()).then(|| id(end.saturating_sub(1))).flatten();
        let next = last.map(|last| Cursor::After(last.to_owned()));
        let shown = offered.get(begin..end).unwrap_or_default();
        catalog.dataset = shown.iter().map(|offering| self.document(offering)).collect();
        Page { catalog, previous, next }
    }

    /// One dataset as `asker` may see it.
    ///
    /// # Errors
    /// Not offered to them, or not there: they cannot tell which.
    pub fn dataset_for(&self, asker: &str, id: &str) -> Result<Dataset, EngineError> {
        let snapshot = self.snapshot();
        let credentials = self.credentials_of(asker);
        let asker = ::catalog::Asker { did: asker, credentials: &credentials };
        let offering = snapshot.dataset(id, asker, clock::now(), &self.known);
        let offering =
            offering.ok_or_else(|| Refusal::new(RefusalKind::NotFound, format!("no dataset `{id}` here")))?;
        Ok(self.document(&offering))
    }

    fn service_id(&self) -> String {
        format!("{}#dsp", self.did())
    }

    fn document(&self, offering: &Offering<'_>) -> Dataset {
        // Only names that mean the same everywhere leave the node.
        let public = offering.asset.properties.iter().filter(|(name, _)| name.contains("://"));
        let properties = public.map(|(name, value)| (name.clone(), value.clone())).collect();
        let (properties, of_distribution) = Description::split_distribution(properties);
        let policies = offering.offers.iter().map(|offer| offer.policy.clone()).collect();
        let distribution = Distribution::new(HTTP_PULL.to_owned(), self.service_id(), of_distribution);
        Dataset::new(offering.asset.id.clone(), policies, vec![distribution], properties)
    }
}

fn not_found<T: Managed>(id: &str) -> EngineError {
    EngineError::NotFound { kind: T::TYPE, id: id.to_owned() }
}
