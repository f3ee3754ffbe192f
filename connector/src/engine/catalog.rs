//! Managed resources, and the catalog made of them.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use catalog::{
    Asker, Asset, CatalogError, ContractDefinition, Cursor, DISTRIBUTION_NAME, Description, Filter,
    HTTP_PULL, HTTP_PUSH, ISSUED, Inventory, MODIFIED, Offer, PolicyDefinition, TITLE, View,
};
use governance::personal::{PROPERTY as PERSONAL, Personal};
use jiff::Timestamp;
use policy_engine::{Hierarchy, Policy};
use protocol::wire::{Catalog, DataService, Dataset, Distribution};
use protocol::{ParticipantId, Refusal, RefusalKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use store::Batch;
use tokio::sync::{OwnedMutexGuard, RwLockWriteGuard};

use super::broker::ACCESS;
use super::data_requests::REQUESTS;
use super::{Engine, EngineError};
use crate::clock;
use crate::tables::{self, Event, prefix};

/// A resource that an operator manages.
pub trait Managed: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its `@type`.
    const TYPE: &'static str;
    /// Where it is kept.
    const PREFIX: &'static str;
    /// Whether changes of several of them may be made at once: each touches what belongs to it alone.
    const INDEPENDENT: bool;

    /// `@id`.
    fn id(&self) -> &str;
    /// `@id`, to be set where the caller gave none.
    fn id_mut(&mut self) -> &mut String;
    /// What its JSON shape does not say.
    ///
    /// # Errors
    /// Path and reason.
    fn check(&self) -> Result<(), CatalogError>;
    /// What it says of persons.
    ///
    /// # Errors
    /// It cannot be read.
    fn check_persons(&self) -> Result<(), CatalogError> {
        Ok(())
    }
    /// Whether streams that run were let through under something else than what it says of persons now.
    fn concerns_persons(_before: Option<&Self>, _after: Option<&Self>) -> bool {
        false
    }
    /// The terms that it offers, where they are its own or those of a definition that it names.
    ///
    /// # Errors
    /// The store failed.
    fn offered_terms(&self, _engine: &Engine) -> Result<Option<Json>, EngineError> {
        Ok(None)
    }
    /// The terms that it is, if it is terms.
    fn terms(&self) -> Option<&Json> {
        None
    }
    /// What of it nobody can read, in sentences.
    fn unread(&self) -> Vec<String> {
        Vec::new()
    }
    /// When it was made, in milliseconds since 1970, if that is known.
    fn made(&self) -> Option<i64>;
    /// Notes what the node itself says of it, when it takes the place of `before`.
    fn note(&mut self, _before: Option<&Self>, _now: Timestamp) {}
    /// Lets the inventory know of a change; `among` are assets that it may be about.
    fn enter(
        inventory: &mut Inventory,
        id: &str,
        before: Option<&Self>,
        after: Option<&Self>,
        among: &[Asset],
    );
    /// Which assets a change may be about.
    fn about(&self) -> About {
        About::None
    }
}

/// Which assets a change of a resource may be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// All that there are.
    All,
    /// None, or all alike.
    None,
    /// Those with these ids.
    These(Vec<String>),
}

macro_rules! managed {
    ($type:ident, $prefix:expr, $independent:literal, $($rest:item)*) => {
        impl Managed for $type {
            const TYPE: &'static str = stringify!($type);
            const PREFIX: &'static str = $prefix;
            const INDEPENDENT: bool = $independent;

            fn id(&self) -> &str {
                &self.id
            }

            fn id_mut(&mut self) -> &mut String {
                &mut self.id
            }

            fn made(&self) -> Option<i64> {
                self.created_at
            }

            fn check(&self) -> Result<(), CatalogError> {
                Self::check(self)
            }

            $($rest)*
        }
    };
}

managed! { Asset, prefix::ASSET, true,
    fn check_persons(&self) -> Result<(), CatalogError> {
        let said = Personal::of(&self.properties);
        let fine = said.and_then(|said| said.map_or(Ok(()), |said| said.check_terms()));
        fine.map_err(|error| CatalogError::new(format!("/properties/{PERSONAL}{}", error.path), error.reason))
    }

    fn unread(&self) -> Vec<String> {
        Description::unread(&self.properties)
    }

    fn concerns_persons(before: Option<&Self>, after: Option<&Self>) -> bool {
        before.is_some() && before.and_then(of_persons) != after.and_then(of_persons)
    }

    fn note(&mut self, before: Option<&Self>, now: Timestamp) {
        self.created_at = created(before.map(|before| before.created_at), now);
        self.issued = before.map_or(Some(now), |before| before.issued);
        let same = before.filter(|before| before.properties == self.properties);
        self.modified = same.map_or(Some(now), |before| before.modified);
    }

    fn enter(inventory: &mut Inventory, _: &str, before: Option<&Self>, after: Option<&Self>, _: &[Asset]) {
        inventory.change_asset(before, after);
    }
}
managed! { PolicyDefinition, prefix::POLICY_DEFINITION, false,
    fn note(&mut self, before: Option<&Self>, now: Timestamp) {
        self.created_at = created(before.map(|before| before.created_at), now);
    }

    fn terms(&self) -> Option<&Json> {
        Some(&self.policy)
    }

    fn offered_terms(&self, engine: &Engine) -> Result<Option<Json>, EngineError> {
        let all = tables::all::<ContractDefinition>(&engine.store, prefix::CONTRACT_DEFINITION)?;
        Ok(all.iter().any(|one| one.contract_policy_id == self.id).then(|| self.policy.clone()))
    }

    fn enter(inventory: &mut Inventory, id: &str, _: Option<&Self>, after: Option<&Self>, _: &[Asset]) {
        inventory.change_policy(id, after);
    }
}
managed! { ContractDefinition, prefix::CONTRACT_DEFINITION, false,
    fn note(&mut self, before: Option<&Self>, now: Timestamp) {
        self.created_at = created(before.map(|before| before.created_at), now);
    }

    fn offered_terms(&self, engine: &Engine) -> Result<Option<Json>, EngineError> {
        let key = tables::key(prefix::POLICY_DEFINITION, &self.contract_policy_id);
        Ok(tables::load::<PolicyDefinition>(&engine.store, &key)?.map(|(definition, _)| definition.policy))
    }

    fn enter(inventory: &mut Inventory, id: &str, _: Option<&Self>, after: Option<&Self>, among: &[Asset]) {
        inventory.change_definition(id, after.cloned(), among);
    }

    fn about(&self) -> About {
        match self.selected_ids() {
            _ if self.assets_selector.is_empty() => About::None,
            Some(ids) => About::These(ids.into_iter().map(str::to_owned).collect()),
            None => About::All,
        }
    }
}

/// What an asset says of persons, as it stands.
pub(super) fn of_persons(asset: &Asset) -> Option<&Json> {
    asset.properties.get(PERSONAL)
}

/// Whether a write makes or replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Refused where the id exists.
    Create,
    /// Refused where it does not.
    Replace,
}

/// Datasets in one page of the catalog.
const PAGE: usize = 100;
/// Most datasets of a page whose size the asker chooses.
const MAX_WINDOW: usize = 1000;
/// Most datasets whose descriptions are read to compare them with a QuerySpec.
const MAX_COMPARED: usize = 10_000;
/// Longest time that this may take: others wait for their catalogs meanwhile.
const COMPARED_WITHIN: Duration = Duration::from_millis(500);
/// Before the keys of others' datasets in a cursor; ids have no control characters.
const OTHERS: &str = "\u{1}";
/// Behind every id.
const LAST: &str = "\u{10ffff}";
/// Datasets of which so many are read from the store at once.
const BATCH: usize = 1000;

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

/// What is offered, in memory; the store has all of it.
#[derive(Debug)]
pub(super) struct Offered {
    inventory: RwLock<Inventory>,
    /// Assets change beside each other, everything else alone.
    order: tokio::sync::RwLock<()>,
    /// Why the inventory lacks something.
    gap: RwLock<Option<String>>,
}

impl Offered {
    /// Nothing yet; places and purposes are read with `known`.
    pub(super) fn new(known: Arc<Hierarchy>) -> Self {
        Self {
            inventory: RwLock::new(Inventory::new(known)),
            order: tokio::sync::RwLock::default(),
            gap: RwLock::default(),
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Inventory> {
        self.inventory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lacks(&self, reason: String) {
        tracing::error!(
            reason,
            "the catalog is incomplete and is not shown; see `concordat store aside`, or start the node again"
        );
        *self.gap.write().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

impl Engine {
    /// Reads all resources from the store. What cannot be read makes the catalog incomplete: then it is not shown, since
    /// those who harvest it take what is missing for withdrawn.
    pub(super) fn load_catalog(&self) -> Result<(), EngineError> {
        self.load_resources::<PolicyDefinition>()?;
        self.load_resources::<ContractDefinition>()?;
        // The assets come last, so that each finds what selects it.
        self.load_resources::<Asset>()?;
        for definition in self.offered.read().incomplete() {
            tracing::warn!(
                definition,
                "a contract definition offers nothing, because a policy it names is missing"
            );
        }
        Ok(())
    }

    /// Reads all resources again, if the catalog lacks something: what could not be read may be gone.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn mend_catalog(&self) -> Result<(), EngineError> {
        let _alone = self.offered.order.write().await;
        if self.complete().is_ok() {
            return Ok(());
        }
        *self.offered.gap.write().unwrap_or_else(PoisonError::into_inner) = None;
        *self.offered.inventory.write().unwrap_or_else(PoisonError::into_inner) =
            Inventory::new(Arc::clone(&self.known));
        self.load_catalog()
    }

    fn load_resources<T: Managed>(&self) -> Result<(), EngineError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.store.scan(T::PREFIX, after.as_deref(), BATCH)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut inventory = self.offered.inventory.write().unwrap_or_else(PoisonError::into_inner);
            for (key, found) in page {
                match tables::decode::<T>(&key, &found.value) {
                    Ok(resource) => T::enter(&mut inventory, resource.id(), None, Some(&resource), &[]),
                    Err(error) => self.offered.lacks(format!("{key} cannot be read: {error}")),
                }
            }
        }
    }

    /// Why the catalog cannot be shown as a whole.
    ///
    /// # Errors
    /// It lacks something.
    pub(super) fn complete(&self) -> Result<(), EngineError> {
        match &*self.offered.gap.read().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(reason) => Err(EngineError::Incomplete(reason.clone())),
        }
    }

    /// The asset `id`, whoever asks: for the owner and the gate.
    pub(super) fn asset(&self, id: &str) -> Result<Option<Asset>, EngineError> {
        Ok(tables::load(&self.store, &tables::key(prefix::ASSET, id))?.map(|(asset, _)| asset))
    }

    /// The assets with `ids`; those that are there no more are left out.
    pub(super) fn assets<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Asset>, EngineError> {
        ids.into_iter().filter_map(|id| self.asset(id).transpose()).collect()
    }

    /// The assets that a change may be about.
    fn among(&self, about: About) -> Result<Vec<Asset>, EngineError> {
        match about {
            About::None => Ok(Vec::new()),
            About::These(ids) => self.assets(ids.iter().map(String::as_str)),
            About::All => Ok(tables::all(&self.store, prefix::ASSET)?),
        }
    }

    /// Writes a managed resource.
    ///
    /// # Errors
    /// It is malformed, exists already (create) or does not exist (replace).
    pub async fn put_resource<T: Managed>(
        &self,
        mut resource: T,
        write: Write,
    ) -> Result<Option<i64>, EngineError> {
        resource.check().map_err(|error| EngineError::refused(RefusalKind::Malformed, error.to_string()))?;
        resource
            .check_persons()
            .map_err(|error| EngineError::refused(RefusalKind::Malformed, error.to_string()))?;
        let id = resource.id().to_owned();
        let key = tables::key(T::PREFIX, &id);
        let _order = self.order::<T>(&key).await;
        let (before, version) = tables::load::<T>(&self.store, &key)?.unzip();
        match (write, version) {
            (Write::Create, Some(_)) => {
                let reason = format!("there is a {} `{id}` already", T::TYPE);
                return Err(EngineError::refused(RefusalKind::Disagreement, reason));
            }
            (Write::Replace, None) => return Err(not_found::<T>(&id)),
            _ => {}
        }
        let now = clock::now();
        if let Some(terms) = resource.offered_terms(self)? {
            if let Some(reason) =
                Policy::parse(&terms).ok().and_then(|policy| self.permits_nothing(&policy, now))
            {
                return Err(EngineError::refused(RefusalKind::Malformed, reason));
            }
            self.fits_rulebook(&terms, None, now)?;
            governance::levels::ServiceLevels::of(&terms)
                .map_err(|error| EngineError::refused(RefusalKind::Malformed, error.to_string()))?;
        }
        resource.note(before.as_ref(), now);
        let mut batch = Batch::new();
        batch.expect(key.clone(), version);
        tables::put(&mut batch, key, &resource)?;
        let verb = if version.is_none() { "made" } else { "changed" };
        self.commit_change(batch, (&id, verb), before.as_ref(), Some(&resource), now).await?;
        Ok(resource.made())
    }

    /// Whoever holds what it gives may change a resource: assets beside each other, everything else alone.
    async fn order<T: Managed>(&self, key: &str) -> (Order<'_>, OwnedMutexGuard<()>) {
        let order = match T::INDEPENDENT {
            true => Order::Shared { _guard: self.offered.order.read().await },
            false => Order::Alone { _guard: self.offered.order.write().await },
        };
        (order, self.locks.lock(key).await)
    }

    /// Commits a change of the resource `id` and lets everybody know who has to.
    async fn commit_change<T: Managed>(
        &self,
        mut batch: Batch,
        (id, verb): (&str, &str),
        before: Option<&T>,
        after: Option<&T>,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let mut text = format!("{} `{id}` was {verb}", T::TYPE);
        let terms = after.and_then(T::terms).and_then(|terms| Policy::parse_odrl(terms).ok());
        if let Some(strange) = terms.and_then(|terms| self.strange(&terms)) {
            tracing::warn!(id, "{strange}");
            text = format!("{text}; {strange}");
        }
        for unread in after.map(T::unread).unwrap_or_default() {
            tracing::warn!(id, "{unread}; it is left out");
            text = format!("{text}; {unread}, so it is left out");
        }
        tables::append_event(&mut batch, &Event::new("catalog", now, text).about(id))?;
        tables::put(&mut batch, prefix::CATALOG_CHANGED, &now)?;
        let among = after.map_or(Ok(Vec::new()), |after| self.among(after.about()))?;
        self.commit(batch).await?;
        {
            let mut inventory = self.offered.inventory.write().unwrap_or_else(PoisonError::into_inner);
            T::enter(&mut inventory, id, before, after, &among);
        }
        self.reconsider_open(id);
        if T::concerns_persons(before, after) {
            self.streams.reconsider_all();
        }
        if T::PREFIX == prefix::ASSET {
            self.federation.changed(id);
        }
        self.federation.has_news();
        Ok(())
    }

    /// When what is managed last changed; `None` where nothing ever was.
    ///
    /// # Errors
    /// The store failed.
    pub fn catalog_changed(&self) -> Result<Option<Timestamp>, EngineError> {
        Ok(tables::load(&self.store, prefix::CATALOG_CHANGED)?.map(|(at, _)| at))
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
        let key = tables::key(T::PREFIX, id);
        let _order = self.order::<T>(&key).await;
        let (before, version) = tables::load::<T>(&self.store, &key)?.ok_or_else(|| not_found::<T>(id))?;
        let user = self.offered.read().user_of_policy(id).map(str::to_owned);
        if let (PolicyDefinition::TYPE, Some(user)) = (T::TYPE, user) {
            let reason = format!("contract definition `{user}` uses it; remove that first");
            return Err(EngineError::refused(RefusalKind::Disagreement, reason));
        }
        let mut batch = Batch::new();
        batch.expect(key.clone(), Some(version));
        batch.delete(key);
        self.commit_change(batch, (id, "removed"), Some(&before), None, clock::now()).await
    }

    /// A page of the catalog as `asker` may see it.
    ///
    /// # Errors
    /// The catalog is incomplete, or the store failed.
    pub fn catalog_for(&self, asker: &str, filter: &Filter, cursor: &Cursor) -> Result<Page, EngineError> {
        self.complete()?;
        let credentials = self.credentials_of(asker);
        let asker = Asker { did: asker, credentials: &credentials };
        let own = self.rules.names(self.did(), asker.did).of(&ParticipantId::new(self.did()));
        let mut catalog = Catalog::new(format!("{}/catalog", self.own_address), own.to_string());
        catalog.service.push(DataService::new(self.service_id(), self.own_address.clone()));
        catalog.properties.insert(TITLE.to_owned(), Json::String(self.name.clone()));
        if *cursor == Cursor::Start
            && let Some(requests) = self.requests_for(asker)?
        {
            catalog.properties.insert(REQUESTS.to_owned(), requests);
        }
        // Behind one's own datasets those of others; no id begins as their keys do in the cursors that this node gives.
        if self.federating.broker
            && let Some(within) = self.among_others(cursor)?
        {
            let others = self.others_for(asker, filter, &within)?;
            catalog.catalog = others.catalogs;
            let previous = others.previous.map(|place| self.of_others(place)).transpose()?;
            let next = others.next.map(|place| self.of_others(place)).transpose()?;
            let own = || Cursor::Before(LAST.to_owned());
            return Ok(Page { catalog, previous: Some(previous.unwrap_or_else(own)), next });
        }
        let inventory = self.offered.read();
        let is_broker = self.federating.brokers.iter().any(|broker| broker == asker.did);
        let view = inventory.view(asker, clock::now());
        let mut view = if is_broker { view.of_all() } else { view };
        let (from, most) = match filter.window() {
            Some(window) if *cursor == Cursor::Start => {
                (Cursor::Skip(window.offset), window.limit.min(MAX_WINDOW))
            }
            Some(window) => (cursor.clone(), window.limit.min(MAX_WINDOW)),
            None => (cursor.clone(), PAGE),
        };
        let page = match filter.criteria().is_empty() && filter.order().is_none() {
            true => view.page(filter, &from, most),
            false => self.compared(&mut view, filter, &from, most)?,
        };
        for asset in self.assets(page.ids.iter().map(AsRef::as_ref))? {
            let mut offers = view.offers(&asset);
            for offer in offers.iter_mut().filter(|_| is_broker) {
                if let Some(policy) = offer.policy.as_object_mut() {
                    policy.insert(ACCESS.to_owned(), offer.access.take());
                }
            }
            if !offers.is_empty() {
                catalog.dataset.push(self.document(asset, offers));
            }
        }
        let others = self.federating.broker.then(|| Cursor::After(OTHERS.to_owned()));
        Ok(Page { catalog, previous: page.previous, next: page.next.or(others) })
    }

    /// A page of the datasets that satisfy a QuerySpec, by what is told of them. Descriptions are read for it, so there is a
    /// bound on how many; ids that it names are all that are read.
    fn compared(
        &self,
        view: &mut View<'_>,
        filter: &Filter,
        from: &Cursor,
        most: usize,
    ) -> Result<catalog::Page, EngineError> {
        let mut visible = view.page(filter, &Cursor::Start, usize::MAX - 1).ids;
        if let Some(only) = filter.ids() {
            visible.retain(|id| only.contains(&id.as_ref()));
        }
        if visible.len() > MAX_COMPARED {
            let reason = format!(
                "/filter: a QuerySpec is compared with at most {MAX_COMPARED} datasets, and {} are offered; narrow it by ids, or \
                 by terms of this node such as {{\"text\": \"noise\"}}",
                visible.len()
            );
            return Err(EngineError::refused(RefusalKind::TooMuch, reason));
        }
        let mut found: Vec<(Option<Json>, Arc<str>)> = Vec::new();
        let began = Instant::now();
        for ids in visible.chunks(PAGE) {
            for asset in self.assets(ids.iter().map(AsRef::as_ref))? {
                if began.elapsed() > COMPARED_WITHIN {
                    let reason = "/filter: to compare all datasets with this QuerySpec takes too long; narrow it by ids, or \
                                  ask for less";
                    return Err(EngineError::refused(RefusalKind::TooMuch, reason));
                }
                let told = asset.as_told();
                if filter.criteria().iter().all(|one| one.holds(&told)) {
                    let key =
                        filter.order().and_then(|order| order.field.find(&told).first().copied().cloned());
                    found.push((key, asset.id.into()));
                }
            }
        }
        if let Some(order) = filter.order() {
            found.sort_by(|(a, _), (b, _)| catalog::order(a.as_ref(), b.as_ref()));
            if order.descending {
                found.reverse();
            }
        }
        let total = u64::try_from(found.len()).unwrap_or(u64::MAX);
        let mut ids: Vec<Arc<str>> = found.into_iter().map(|(_, id)| id).collect();
        let mut next = None;
        match from {
            Cursor::After(last) if filter.order().is_none() => ids.retain(|id| id.as_ref() > last.as_str()),
            Cursor::Skip(passed) => drop(ids.drain(..(*passed).min(ids.len()))),
            _ => {}
        }
        if ids.len() > most {
            ids.truncate(most);
            // Whoever sorts counts on.
            next = ids.last().map(|id| Cursor::After(id.to_string())).filter(|_| filter.order().is_none());
        }
        Ok(catalog::Page { ids, total, previous: None, next })
    }

    /// The place among the datasets of others that a cursor of this node stands for, if it is one.
    fn among_others(&self, cursor: &Cursor) -> Result<Option<Cursor>, EngineError> {
        let (sealed, make) = match cursor {
            Cursor::After(key) => (key.strip_prefix(OTHERS), Cursor::After as fn(String) -> Cursor),
            Cursor::Before(key) => (key.strip_prefix(OTHERS), Cursor::Before as fn(String) -> Cursor),
            Cursor::Skip(_) | Cursor::Start => return Ok(None),
        };
        match sealed {
            None => Ok(None),
            Some("") => Ok(Some(make(String::new()))),
            Some(sealed) => {
                let key = self.vault.open_sealed(OTHERS, sealed).map_err(|_| {
                    let reason = "the continuationToken is not one of this node";
                    EngineError::refused(RefusalKind::Malformed, reason)
                })?;
                Ok(Some(make(key)))
            }
        }
    }

    /// The cursor that stands for a place among the datasets of others. It is sealed: the dataset there may be hidden from who
    /// follows it.
    fn of_others(&self, place: Cursor) -> Result<Cursor, EngineError> {
        let seal = |key: String| match key.as_str() {
            "" => Ok(OTHERS.to_owned()),
            key => self.vault.seal(OTHERS, key).map(|sealed| format!("{OTHERS}{sealed}")),
        };
        Ok(match place {
            Cursor::After(key) => Cursor::After(seal(key)?),
            Cursor::Before(key) => Cursor::Before(seal(key)?),
            Cursor::Skip(_) | Cursor::Start => Cursor::After(OTHERS.to_owned()),
        })
    }

    /// One dataset as `asker` may see it.
    ///
    /// # Errors
    /// Not offered to them, or not there: they cannot tell which.
    pub fn dataset_for(&self, asker: &str, id: &str) -> Result<Dataset, EngineError> {
        let no_dataset = || Refusal::new(RefusalKind::NotFound, format!("no dataset `{id}` here"));
        let Some(asset) = self.asset(id)? else {
            let credentials = self.credentials_of(asker);
            let other = self.other_dataset(Asker { did: asker, credentials: &credentials }, id)?;
            return other.ok_or_else(|| no_dataset().into());
        };
        let offers = self.offers_of(&asset, asker, clock::now());
        if offers.is_empty() {
            return Err(no_dataset().into());
        }
        let mut dataset = self.document(asset, offers);
        dataset.served_by(&DataService::new(self.service_id(), self.own_address.clone()));
        Ok(dataset)
    }

    /// The offers for `asset` that `asker` may see.
    pub(super) fn offers_of(&self, asset: &Asset, asker: &str, now: Timestamp) -> Vec<Offer> {
        let credentials = self.credentials_of(asker);
        self.offered.read().view(Asker { did: asker, credentials: &credentials }, now).offers(asset)
    }

    /// The offers for the dataset `id` as `participant` sees them, for the operator.
    ///
    /// # Errors
    /// There is no such dataset.
    pub fn offers_seen_by(&self, participant: &str, id: &str) -> Result<Vec<Json>, EngineError> {
        let asset = self.asset(id)?.ok_or_else(|| not_found::<Asset>(id))?;
        let offers = self.offers_of(&asset, participant, clock::now());
        Ok(offers.into_iter().map(|offer| offer.policy).collect())
    }

    /// What the offer `id` stands for, if `asker` may see it.
    pub(super) fn offer_for(&self, asker: &str, id: &str, now: Timestamp) -> Option<Offer> {
        let credentials = self.credentials_of(asker);
        self.offered.read().view(Asker { did: asker, credentials: &credentials }, now).offer(id)
    }

    fn service_id(&self) -> String {
        format!("{}#dsp", self.did())
    }

    pub(super) fn document(&self, asset: Asset, offers: Vec<Offer>) -> Dataset {
        let split = Description::split(asset.told());
        let policies = offers.into_iter().map(|offer| offer.policy).collect();
        let distribution =
            |properties| Distribution::new(HTTP_PULL.to_owned(), self.service_id(), properties);
        let mut distributions = vec![distribution(split.form)];
        for (name, mut properties) in split.further {
            properties.insert(DISTRIBUTION_NAME.to_owned(), Json::String(name));
            distributions.push(distribution(properties));
        }
        for format in formats_of(&asset.data_address).into_iter().filter(|format| *format != HTTP_PULL) {
            let properties = serde_json::Map::new();
            distributions.push(Distribution::new(format.to_owned(), self.service_id(), properties));
        }
        let mut properties = split.dataset;
        for (name, at) in [(ISSUED, asset.issued), (MODIFIED, asset.modified)] {
            if let Some(at) = at {
                properties.insert(name.to_owned(), Json::String(at.to_string()));
            }
        }
        Dataset::new(asset.id, policies, distributions, properties)
    }
}

/// See [`Engine::order`].
enum Order<'a> {
    Alone { _guard: RwLockWriteGuard<'a, ()> },
    Shared { _guard: tokio::sync::RwLockReadGuard<'a, ()> },
}

/// In which formats a dataset can be had whose data is at `address`: what has none is only followed or asked for.
pub(super) fn formats_of(address: &serde_json::Map<String, Json>) -> Vec<&'static str> {
    if address.is_empty() { vec![HTTP_PULL] } else { vec![HTTP_PULL, HTTP_PUSH] }
}

/// When a resource was made, in milliseconds, if it takes the place of one that was made `before`.
fn created(before: Option<Option<i64>>, now: Timestamp) -> Option<i64> {
    before.unwrap_or_else(|| Some(now.as_millisecond()))
}

fn not_found<T: Managed>(id: &str) -> EngineError {
    EngineError::NotFound { kind: T::TYPE, id: id.to_owned() }
}
