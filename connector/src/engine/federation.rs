//! Other participants' catalogs: read when they say that something changed, and every so often; kept in an index that can be
//! searched. Nobody waits for it, and one that cannot be reached holds up no other.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catalog::Asset;
use futures_util::StreamExt as _;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, ETAG, IF_NONE_MATCH};
use jiff::{SignedDuration, Timestamp};
use protocol::RefusalKind;
use protocol::wire::{Catalog, CatalogRequestMessage, Dataset};
use serde_json::Value as Json;
use store::Batch;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::links::next_page;
use super::peers::{ASK, one_more, problem};
use super::{Engine, EngineError};
use crate::clock::{self, SystemClock};
use crate::network::{bounded_body, describe};
use crate::search::{Found, Known, Question, SearchError, SearchIndex};
use crate::tables::{self, Crawl, Event, PageMark, Watcher, prefix};

/// Catalogs that are read at once.
const AT_ONCE: usize = 8;
/// Most datasets of one participant that are given at once.
const HITS: usize = crate::search::MAX_HITS;
/// Largest page, in bytes.
const MAX_PAGE: usize = 16 * 1024 * 1024;
/// Most datasets of one catalog that are kept.
const MAX_DATASETS: u64 = 500_000;
/// Deepest nesting of catalogs that is followed.
const MAX_DEPTH: usize = 3;
/// Of the participants that are told of changes, one in so many may be one that this node does not know otherwise.
const STRANGERS: usize = 4;
/// A participant that has not read for so long is told no more.
const WATCHES: SignedDuration = SignedDuration::from_hours(24 * 14);
/// A change is told after so long without another, so that a hundred changes are told once.
const QUIET: Duration = Duration::from_millis(250);
/// And so long after the first of many at the latest.
const AT_LATEST: Duration = Duration::from_secs(5);
/// The first wait after a failure; doubled with each.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// Longest telling.
const TELL: Duration = Duration::from_secs(10);
/// Own datasets that are indexed at once.
const BATCH: usize = 500;

/// Path below the catalog under which others say that theirs has changed. Ours, beside the protocol.
pub(crate) const CHANGED_PATH: &str = "changed";

/// What is to be read, and what has changed here.
#[derive(Debug)]
pub(super) struct Federation {
    /// Most participants that are told of changes.
    watchers: usize,
    /// Participants to be read now.
    urgent: Mutex<BTreeSet<String>>,
    /// Those being read.
    running: Mutex<BTreeSet<String>>,
    /// Who the members are may be different now.
    members: AtomicBool,
    wake: Notify,
    /// Own datasets that have changed and are not in the index yet.
    changed: Mutex<BTreeSet<String>>,
    changes: Notify,
    /// How often own datasets have changed, the beginning included; and how many of these changes the index has.
    wanted: AtomicU64,
    indexed: watch::Sender<u64>,
    /// Something that others may see has changed.
    news: Notify,
    /// Who took a notice of that last, and when.
    told: Mutex<Option<(String, Timestamp)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Federation {
    /// At most `watchers` are told of changes.
    pub(super) fn new(watchers: usize) -> Self {
        Self {
            watchers,
            urgent: Mutex::default(),
            running: Mutex::default(),
            members: AtomicBool::default(),
            wake: Notify::default(),
            changed: Mutex::default(),
            changes: Notify::default(),
            wanted: AtomicU64::new(1),
            indexed: watch::Sender::new(0),
            news: Notify::default(),
            told: Mutex::default(),
        }
    }
}

impl Federation {
    /// An own asset has changed.
    pub(super) fn changed(&self, id: &str) {
        locked(&self.changed).insert(id.to_owned());
        self.wanted.fetch_add(1, Ordering::AcqRel);
        self.changes.notify_one();
    }

    /// Who belongs to a data space may be different now.
    pub(super) fn members_changed(&self) {
        self.members.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Something that others may see has changed.
    pub(super) fn has_news(&self) {
        self.news.notify_one();
    }

    /// Who took a notice of a change last since the node started, and when.
    pub(super) fn told(&self) -> Option<(String, Timestamp)> {
        locked(&self.told).clone()
    }
}

/// A page, or that it is as it was.
enum Answer {
    Same,
    Page { catalog: Box<Catalog>, next: Option<String>, tag: Option<String> },
}

impl Engine {
    /// The search index.
    fn index(&self) -> Result<Arc<SearchIndex>, EngineError> {
        self.search.clone().ok_or_else(|| {
            let reason = "this node has no search index; its log says why";
            EngineError::refused(RefusalKind::Disagreement, reason)
        })
    }

    /// Searches all that this node knows of, its own datasets included.
    ///
    /// # Errors
    /// The question is out of bounds.
    pub async fn search(&self, question: Question) -> Result<Found, EngineError> {
        let index = self.index()?;
        // What was published here a moment ago is found.
        let wanted = self.federation.wanted.load(Ordering::Acquire);
        let mut indexed = self.federation.indexed.subscribe();
        let _ = tokio::time::timeout(TELL, indexed.wait_for(|done| *done >= wanted)).await;
        blocking(move || index.search(&question)).await.map_err(|error| match error {
            EngineError::Search(SearchError::InvalidArgument(reason)) => {
                EngineError::refused(RefusalKind::Malformed, reason)
            }
            error => error,
        })
    }

    /// What this node has read of the catalogs of others, by participant, and whether there is more than that.
    ///
    /// # Errors
    /// The store or the index failed.
    pub async fn known_catalogs(&self) -> Result<Vec<(String, Vec<Json>, bool)>, EngineError> {
        let mut catalogs = Vec::new();
        for crawl in
            self.crawls()?.into_iter().filter(|crawl| crawl.peer != self.did() && crawl.seen.is_some())
        {
            let (mut datasets, mut more) = (Vec::new(), true);
            // As far as the index pages.
            for offset in [0, HITS] {
                let question = Question {
                    participant: Some(crawl.peer.clone()),
                    offset,
                    limit: Some(HITS),
                    ..Question::default()
                };
                let hits = self.search(question).await?.hits;
                let is_last = hits.len() < HITS;
                datasets.extend(hits.into_iter().map(|known| known.dataset));
                if is_last {
                    more = false;
                    break;
                }
            }
            catalogs.push((crawl.peer, datasets, more));
        }
        Ok(catalogs)
    }

    /// How reading each catalog went.
    ///
    /// # Errors
    /// The store failed.
    pub fn crawls(&self) -> Result<Vec<Crawl>, EngineError> {
        Ok(tables::all(&self.store, prefix::CRAWL)?)
    }

    /// Whose catalogs are read: those of the configuration, and members where these are read.
    fn sources(&self) -> Result<BTreeSet<String>, EngineError> {
        let mut all: BTreeSet<String> = self.federating.peers.iter().cloned().collect();
        if self.federating.members {
            let participants = self.participants()?;
            all.extend(
                participants.into_iter().filter(|(_, one)| !one.memberships.is_empty()).map(|(did, _)| did),
            );
        }
        all.remove(self.did());
        Ok(all)
    }

    /// Takes the word of `peer` that its catalog has changed: it is read soon, if it is read at all.
    ///
    /// # Errors
    /// The store failed.
    pub fn take_catalog_notice(&self, peer: &str) -> Result<(), EngineError> {
        if self.sources()?.contains(peer) {
            locked(&self.federation.urgent).insert(peer.to_owned());
            self.federation.wake.notify_one();
        }
        Ok(())
    }

    /// Notes that `peer` wants to be told of changes.
    ///
    /// # Errors
    /// The store failed.
    pub async fn watch_for(&self, peer: &str) -> Result<(), EngineError> {
        let now = clock::now();
        let key = tables::key(prefix::WATCHER, &trust::did::segment(peer));
        let known = tables::load::<Watcher>(&self.store, &key)?;
        // Once a day is enough: what is remembered has to be written.
        if known.is_some_and(|(known, _)| now.duration_since(known.at) < SignedDuration::from_hours(24)) {
            return Ok(());
        }
        // One that says nowhere where it is cannot be told; its document was just read.
        let document = self.resolver.document(peer).await;
        if !document.is_ok_and(|document| document.service("DataService").is_some()) {
            return Ok(());
        }
        let most = self.federation.watchers;
        let watchers = tables::list::<Watcher>(&self.store, prefix::WATCHER, None, most)?;
        let strangers: Vec<_> = watchers.iter().filter(|(_, one)| !self.is_known(&one.peer)).collect();
        let is_known = self.is_known(peer);
        let mut batch = Batch::new();
        if watchers.len() >= most || !is_known && strangers.len() >= (most / STRANGERS).max(1) {
            // Those that this node knows find room before those that it does not.
            let others = (!is_known || strangers.is_empty()).then_some(SignedDuration::from_hours(24));
            let oldest = match strangers.is_empty() {
                true => watchers.iter().min_by_key(|(_, one)| one.at),
                false => strangers.into_iter().min_by_key(|(_, one)| one.at),
            };
            match oldest {
                Some((oldest, one)) if others.is_none_or(|least| now.duration_since(one.at) > least) => {
                    batch.delete(oldest.clone());
                }
                _ => return Ok(()),
            }
        }
        tables::put(&mut batch, key, &Watcher { peer: peer.to_owned(), at: now })?;
        self.commit(batch).await.map(|_| ())
    }

    /// Reads catalogs that are due, until `stop`.
    pub async fn watch_catalogs(self: Arc<Self>, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let tasks = TaskTracker::new();
        let mut members_at: Option<Timestamp> = None;
        loop {
            let now = clock::now();
            let interval = SignedDuration::from_mins(i64::from(self.federating.interval_minutes));
            let changed = self.federation.members.swap(false, Ordering::AcqRel);
            let members_due = changed || members_at.is_none_or(|at| now.duration_since(at) >= interval);
            if self.federating.members && members_due {
                self.refresh_members().await;
                members_at = Some(now);
            }
            if let Err(error) = self.forget_others().await {
                tracing::error!(%error, "what is known of those whose catalogs are not read any more stays");
            }
            let due = match self.due(now, interval) {
                Ok(due) => due,
                Err(error) => {
                    tracing::error!(%error, "it is not known whose catalogs are due");
                    BTreeMap::new()
                }
            };
            let mut nearest = members_at.map(|at| at + interval);
            for (peer, at) in due {
                if at > now {
                    nearest = Some(nearest.map_or(at, |nearest| nearest.min(at)));
                    continue;
                }
                if !locked(&self.federation.running).insert(peer.clone()) {
                    continue;
                }
                locked(&self.federation.urgent).remove(&peer);
                let (engine, permits) = (Arc::clone(&self), Arc::clone(&permits));
                tasks.spawn(async move {
                    let _permit = permits.acquire_owned().await;
                    if let Err(error) = engine.read_catalog(&peer).await {
                        tracing::info!(%error, peer, "its catalog was not read");
                    }
                    locked(&engine.federation.running).remove(&peer);
                    engine.federation.wake.notify_one();
                });
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.federation.wake.notified() => {}
                () = dataplane::guard::reached(nearest, &SystemClock) => {}
            }
        }
        // What is being read is read again at the next start.
    }

    /// Forgets what is known of those whose catalogs are not read any more: they may have left the data space.
    async fn forget_others(&self) -> Result<(), EngineError> {
        let sources = self.sources()?;
        let gone = |crawl: &Crawl| crawl.peer != self.did() && !sources.contains(&crawl.peer);
        for crawl in self.crawls()?.into_iter().filter(gone) {
            let _lock = self.locks.lock(&crawl_key(&crawl.peer)).await;
            let (index, source) = (self.index()?, crawl.peer.clone());
            // No reading has this number, so nothing of it stays.
            blocking(move || index.finish(&source, 0)).await?;
            self.forget_remote(&crawl.peer, 0).await?;
            let mut batch = Batch::new();
            batch.delete(crawl_key(&crawl.peer));
            let event = Event::new("federation", clock::now(), "its catalog is not read any more");
            tables::append_event(&mut batch, &event.with(&crawl.peer))?;
            self.commit(batch).await?;
        }
        Ok(())
    }

    /// When the catalog of each participant is to be read.
    fn due(
        &self,
        now: Timestamp,
        interval: SignedDuration,
    ) -> Result<BTreeMap<String, Timestamp>, EngineError> {
        let urgent = locked(&self.federation.urgent).clone();
        let running = locked(&self.federation.running).clone();
        let mut due = BTreeMap::new();
        for peer in self.sources()?.into_iter().filter(|peer| !running.contains(peer)) {
            let crawl = self.crawl_of(&peer)?;
            let at = match (&crawl, urgent.contains(&peer)) {
                (_, true) | (None, _) => now,
                (Some(crawl), false) if crawl.failures == 0 => crawl.tried + interval,
                (Some(crawl), false) => {
                    let wait = AGAIN.as_secs() << crawl.failures.min(12);
                    crawl.tried + SignedDuration::from_secs(wait).min(interval)
                }
            };
            due.insert(peer, at);
        }
        // Who is not read anyhow must not stay in the list for ever.
        locked(&self.federation.urgent).retain(|peer| due.contains_key(peer) || running.contains(peer));
        Ok(due)
    }

    /// Asks who the members are and reads their catalogs now, or that of `peer` alone.
    ///
    /// # Errors
    /// The store failed; what goes wrong with a participant stands in its record.
    pub async fn refresh(&self, peer: Option<&str>) -> Result<Vec<Crawl>, EngineError> {
        let wanted = match peer {
            Some(peer) if self.sources()?.contains(peer) => BTreeSet::from([peer.to_owned()]),
            Some(peer) => {
                return Err(EngineError::NotFound {
                    kind: "participant whose catalog is read",
                    id: peer.to_owned(),
                });
            }
            None => {
                self.refresh_members().await;
                self.forget_others().await?;
                self.sources()?
            }
        };
        let each = futures_util::stream::iter(wanted);
        let read = each.map(async |peer| {
            // A failure is written down with the participant.
            let _ = self.read_catalog(&peer).await;
            self.crawl_of(&peer)
        });
        let crawls: Vec<_> = read.buffered(AT_ONCE).collect().await;
        crawls.into_iter().filter_map(Result::transpose).collect()
    }

    pub(super) fn crawl_of(&self, peer: &str) -> Result<Option<Crawl>, EngineError> {
        Ok(tables::load(&self.store, &crawl_key(peer))?.map(|(crawl, _)| crawl))
    }

    /// Reads the catalog of `peer` now, unless it is as it was.
    ///
    /// # Errors
    /// It cannot be read; also written down with the participant.
    pub async fn read_catalog(&self, peer: &str) -> Result<Crawl, EngineError> {
        let _lock = self.locks.lock(&crawl_key(peer)).await;
        let before = self.crawl_of(peer)?.unwrap_or_else(|| Crawl::of(peer));
        let now = clock::now();
        let (changed_before, failures_before) = (before.changed, before.failures);
        let result = self.crawl(&before).await;
        if result.is_err() {
            self.resolver.forget_failure(peer);
        }
        let after = match &result {
            Ok(after) => Crawl { tried: now, seen: Some(now), failures: 0, failure: None, ..after.clone() },
            Err(error) => Crawl {
                tried: now,
                failures: before.failures.saturating_add(1),
                failure: Some(error.to_string()),
                ..before
            },
        };
        let mut batch = Batch::new();
        tables::put(&mut batch, crawl_key(peer), &after)?;
        let text = match &after.failure {
            Some(failure) if after.failures == 1 => Some(format!("its catalog cannot be read: {failure}")),
            None if after.changed != changed_before || failures_before > 0 => {
                Some(format!("its catalog was read: {} datasets", after.datasets))
            }
            _ => None,
        };
        if let Some(text) = text {
            tables::append_event(&mut batch, &Event::new("federation", now, text).with(peer))?;
        }
        self.commit(batch).await?;
        result.map(|_| after)
    }

    async fn crawl(&self, before: &Crawl) -> Result<Crawl, EngineError> {
        let index = self.index()?;
        let base = self.peer_address(&before.peer, None).await?;
        let begin = format!("{base}/catalog/request");
        let is_same_place = before.pages.first().is_some_and(|page| page.url == begin);
        if is_same_place && self.is_same(before).await? {
            return Ok(before.clone());
        }
        let mut direct = self.sources()?;
        direct.insert(self.did().to_owned());
        let reading = before.reading.saturating_add(1);
        let mut after = Crawl {
            reading,
            datasets: 0,
            pages: Vec::new(),
            changed: Some(clock::now()),
            address: Some(base.clone()),
            ..Crawl::of(&before.peer)
        };
        let mut next = Some(begin);
        let mut pages = HashSet::new();
        while let Some(url) = next.take() {
            one_more(&url, &mut pages)?;
            if after.datasets > MAX_DATASETS {
                return Err(EngineError::Peer(format!("the catalog has more than {MAX_DATASETS} datasets")));
            }
            let Answer::Page { catalog, next: following, tag } = self.page(&url, &before.peer, None).await?
            else {
                return Err(EngineError::Peer(format!(
                    "{url} says that it has not changed, which nobody asked"
                )));
            };
            if after.pages.is_empty() {
                after.name = catalog.properties.get(catalog::TITLE).and_then(Json::as_str).map(str::to_owned);
                after.requests = super::data_requests::told(&catalog);
            }
            let mut known = Vec::new();
            collect(&before.peer, &before.peer, *catalog, MAX_DEPTH, &mut known);
            // Who is asked itself knows better than one who tells of it.
            known.retain(|one| one.participant == before.peer || !direct.contains(&one.participant));
            after.datasets = after.datasets.saturating_add(u64::try_from(known.len()).unwrap_or(u64::MAX));
            self.keep_remote(&before.peer, &known, reading).await?;
            let index = Arc::clone(&index);
            blocking(move || index.take(&known, reading)).await?;
            after.pages.push(PageMark { url, tag });
            next = following;
        }
        let source = before.peer.clone();
        blocking(move || index.finish(&source, reading)).await?;
        if self.federating.broker {
            self.forget_remote(&before.peer, reading).await?;
            // What others see here has changed as well.
            self.federation.has_news();
        }
        Ok(after)
    }

    /// Whether every page is as it was, as far as the provider tells. All are at the origin of the first.
    async fn is_same(&self, before: &Crawl) -> Result<bool, EngineError> {
        for page in &before.pages {
            let Some(tag) = &page.tag else { return Ok(false) };
            match self.page(&page.url, &before.peer, Some(tag)).await? {
                Answer::Same => {}
                Answer::Page { .. } => return Ok(false),
            }
        }
        Ok(true)
    }

    /// A page of `peer`'s catalog, unless it still has the entity tag `tag`.
    async fn page(&self, url: &str, peer: &str, tag: Option<&str>) -> Result<Answer, EngineError> {
        let message = CatalogRequestMessage { notify: true, ..CatalogRequestMessage::default() };
        let message = protocol::wire::to_json(&message, None);
        let authorization = self.identity.authorization(peer, clock::now())?;
        let mut request =
            self.client.post(url).header(AUTHORIZATION, authorization).json(&message).timeout(ASK);
        request = request.header(ACCEPT_ENCODING, "gzip");
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let response = request.send().await;
        let response = response.map_err(|error| EngineError::Peer(format!("{url}: {}", describe(&error))))?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED {
            return Ok(Answer::Same);
        }
        let next = next_page(response.headers(), url).map_err(EngineError::Peer);
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let body = bounded_body(response, MAX_PAGE).await;
        let body = body.map_err(|reason| EngineError::Peer(format!("{url}: {reason}")))?;
        if !status.is_success() {
            return Err(problem(url, status, &body));
        }
        let catalog = super::peers::catalog_of(url, &body)?;
        match &catalog.participant_id {
            Some(id) if self.rules.did_of(id) == peer => {
                Ok(Answer::Page { catalog: Box::new(catalog), next: next?, tag })
            }
            other => {
                let other = other.as_deref().unwrap_or("nobody");
                Err(EngineError::Peer(format!(
                    "{url} answered with the catalog of `{other}`, not of `{peer}`"
                )))
            }
        }
    }

    /// Keeps this node's own datasets in the index, until `stop`.
    pub async fn watch_own_catalog(self: Arc<Self>, stop: CancellationToken) {
        if let Err(error) = self.index_own().await {
            tracing::error!(%error, "this node's own datasets are not in its search index");
        }
        self.federation.indexed.send_replace(1);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.federation.changes.notified() => {}
            }
            // Counted before they are taken: what comes in between is indexed twice rather than not waited for.
            let wanted = self.federation.wanted.load(Ordering::Acquire);
            let changed = std::mem::take(&mut *locked(&self.federation.changed));
            if let Err(error) = self.index_changed(changed).await {
                tracing::error!(%error, "changed datasets are not in the search index");
            }
            self.federation.indexed.send_replace(wanted);
        }
    }

    /// All own datasets, unless the index has them as they are.
    async fn index_own(&self) -> Result<(), EngineError> {
        let index = self.index()?;
        let own = self.did().to_owned();
        let before = self.crawl_of(&own)?.unwrap_or_else(|| Crawl::of(&own));
        let changed = self.catalog_changed()?;
        if before.seen.is_some() && before.changed == changed {
            return Ok(());
        }
        let reading = before.reading.saturating_add(1);
        let mut after: Option<String> = None;
        let mut datasets = 0;
        loop {
            let page = tables::list::<Asset>(&self.store, prefix::ASSET, after.as_deref(), BATCH)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            datasets += u64::try_from(page.len()).unwrap_or_default();
            let known: Vec<_> = page.into_iter().map(|(_, asset)| self.own_known(asset)).collect();
            let index = Arc::clone(&index);
            blocking(move || index.take(&known, reading)).await?;
        }
        let source = own.clone();
        blocking(move || index.finish(&source, reading)).await?;
        self.note_own(Crawl { reading, datasets, ..before }, changed).await
    }

    async fn index_changed(&self, changed: BTreeSet<String>) -> Result<(), EngineError> {
        let index = self.index()?;
        let own = self.did().to_owned();
        let before = self.crawl_of(&own)?.unwrap_or_else(|| Crawl::of(&own));
        let at = self.catalog_changed()?;
        let mut known = Vec::new();
        for id in changed {
            match self.asset(&id)? {
                Some(asset) => known.push(self.own_known(asset)),
                None => index.forget(&own, &own, &id),
            }
        }
        let reading = before.reading;
        blocking(move || {
            index.take(&known, reading)?;
            index.publish()
        })
        .await?;
        let datasets = u64::try_from(self.offered.read().len()).unwrap_or_default();
        self.note_own(Crawl { datasets, ..before }, at).await
    }

    async fn note_own(&self, crawl: Crawl, changed: Option<Timestamp>) -> Result<(), EngineError> {
        let now = clock::now();
        let crawl = Crawl { tried: now, seen: Some(now), changed, ..crawl };
        let mut batch = Batch::new();
        tables::put(&mut batch, crawl_key(self.did()), &crawl)?;
        self.commit(batch).await.map(|_| ())
    }

    fn own_known(&self, asset: Asset) -> Known {
        let own = self.did().to_owned();
        let dataset = self.document(asset, Vec::new());
        Known { source: own.clone(), participant: own, dataset: protocol::wire::to_json(&dataset, None) }
    }

    /// Tells those who read this node's catalog that it has changed, until `stop`.
    pub async fn tell_of_changes(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.federation.news.notified() => {}
            }
            // As long as changes follow each other, there is time, but not for ever.
            let quiet =
                async { while tokio::time::timeout(QUIET, self.federation.news.notified()).await.is_ok() {} };
            let _ = tokio::time::timeout(AT_LATEST, quiet).await;
            let watchers = match tables::all::<Watcher>(&self.store, prefix::WATCHER) {
                Ok(watchers) => watchers,
                Err(error) => {
                    tracing::error!(%error, "nobody is told that the catalog has changed");
                    continue;
                }
            };
            let now = clock::now();
            let permits = Arc::new(Semaphore::new(AT_ONCE));
            for watcher in watchers.into_iter().filter(|one| now.duration_since(one.at) < WATCHES) {
                let (engine, permits) = (Arc::clone(&self), Arc::clone(&permits));
                self.tasks.until_stop(async move {
                    let _permit = permits.acquire_owned().await;
                    if let Err(error) = engine.tell(&watcher.peer).await {
                        // It reads again by itself.
                        tracing::debug!(%error, peer = watcher.peer, "it was not told that the catalog has changed");
                    }
                });
            }
        }
    }

    async fn tell(&self, peer: &str) -> Result<(), EngineError> {
        let base = self.peer_address(peer, None).await?;
        let url = format!("{base}/catalog/{CHANGED_PATH}");
        let authorization = self.identity.authorization(peer, clock::now())?;
        let request = self.client.post(&url).header(AUTHORIZATION, authorization).timeout(TELL);
        match request.send().await {
            Ok(answer) if answer.status().is_success() => {
                *locked(&self.federation.told) = Some((peer.to_owned(), clock::now()));
                Ok(())
            }
            Ok(answer) => Err(EngineError::Peer(format!("{url} answered {}", answer.status()))),
            Err(error) => Err(EngineError::Peer(format!("{url}: {}", describe(&error)))),
        }
    }
}

/// The datasets of a catalog and of those within it, with who offers them: a catalog within another names its participant,
/// or belongs to that of the one around it.
fn collect(source: &str, participant: &str, catalog: Catalog, depth: usize, known: &mut Vec<Known>) {
    let of = |dataset: Dataset| Known {
        source: source.to_owned(),
        participant: participant.to_owned(),
        dataset: protocol::wire::to_json(&dataset, None),
    };
    known.extend(catalog.dataset.into_iter().map(of));
    if depth == 0 {
        return;
    }
    for inner in catalog.catalog {
        let participant = inner.participant_id.clone().unwrap_or_else(|| participant.to_owned());
        collect(source, &participant, inner, depth - 1, known);
    }
}

fn crawl_key(peer: &str) -> String {
    tables::key(prefix::CRAWL, &trust::did::segment(peer))
}

/// The index works with files.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(SearchError::SystemError(error.to_string()).into()),
    }
}
