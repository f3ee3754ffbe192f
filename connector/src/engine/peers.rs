//! Where peers are: from their DID document and version metadata, or as the operator says.

use std::collections::HashSet;
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION};
use protocol::wire::{
    Catalog, CatalogRequestMessage, Dataset, DspMessage, UNREADABLE, VersionResponse, read_catalog,
};
use protocol::{Refusal, RefusalKind};
use serde_json::{Map, Value as Json};
use store::Batch;

use super::links::next_page;
use super::{Engine, EngineError};
use crate::clock;
use crate::config::PeerProfile;
use crate::network::{PeerRequest, answer_text, bounded_body, describe};
use crate::peer_rules::profile_of_message;
use crate::tables::{self, Peer, prefix};

/// Longest answer of a peer that is asked directly.
pub(super) const ASK: Duration = Duration::from_secs(30);
/// Largest version metadata, in bytes.
const MAX_VERSIONS: usize = 64 * 1024;
/// Most peers looked through for an address.
const MAX_PEERS: usize = 10_000;
/// Most pages of one catalog.
const MAX_PAGES: usize = 10_000;
/// Largest catalog, in bytes.
const MAX_CATALOG: usize = 64 * 1024 * 1024;

/// Refuses an id that is no DID, and none that the configuration knows.
///
/// # Errors
/// It is such an id.
pub(super) fn expect_did(id: &str) -> Result<(), EngineError> {
    if id.starts_with("did:web:") || id.starts_with("did:key:") {
        return Ok(());
    }
    Err(not_asked(&format!(
        "`{id}` is neither a did:web or did:key nor an id that [peers] of concordat.toml knows"
    )))
}

/// Nobody is asked, for what the request names cannot be asked.
fn not_asked(reason: &str) -> EngineError {
    EngineError::refused(RefusalKind::Malformed, reason)
}

/// What a participant tells of its versions.
enum Versions {
    /// The list, and the address that its paths are below.
    Told(String, VersionResponse),
    /// No list, but a base address.
    Base(String),
}

impl Engine {
    /// The DID of the participant that stands under `id` in catalogs and agreements, as the configuration says.
    #[must_use]
    pub fn did_of<'a>(&'a self, id: &'a str) -> &'a str {
        self.rules.did_of(id)
    }

    /// The base address of `peer`'s endpoints: as given, or found by its DID.
    ///
    /// # Errors
    /// It cannot be used, or cannot be found; says what was tried.
    pub async fn peer_address(&self, peer: &str, given: Option<&str>) -> Result<String, EngineError> {
        if let Some(address) = given {
            let checked = self.guard.check_url(address).map_err(|error| not_asked(&error.to_string()))?;
            return Ok(checked.as_str().trim_end_matches('/').to_owned());
        }
        let (root, versions) = match self.ask_versions(peer).await? {
            Versions::Told(root, versions) => (root, versions),
            Versions::Base(base) => return Ok(base),
        };
        let version = versions.choose().map_err(EngineError::Peer)?;
        let address = format!("{root}{}", version.path.trim_end_matches('/'));
        self.remember(peer, &address).await?;
        Ok(address)
    }

    /// Which versions of the protocol a participant speaks, and below which address.
    async fn ask_versions(&self, peer: &str) -> Result<Versions, EngineError> {
        expect_did(peer)?;
        let document = self.resolver.document(peer).await.map_err(EngineError::Peer)?;
        // Who names its catalog alone (Dataspace Protocol, DID service entries) has the other endpoints beside it.
        if document.service("DataService").is_none()
            && let Some(catalog) = document.service("CatalogService")
        {
            return self.base_of_catalog(peer, catalog).await.map(Versions::Base);
        }
        // What demonstrations of Eclipse EDC name is the base itself, which has the metadata below it.
        let endpoint = || {
            let base = document.service("ProtocolEndpoint")?.trim_end_matches('/');
            Some(format!("{base}/.well-known/dspace-version"))
        };
        let versions_url = document.service("DataService").map(str::to_owned).or_else(endpoint);
        let versions_url = versions_url.ok_or_else(|| {
            EngineError::Peer(format!(
                "the DID document of `{peer}` names no DataService, CatalogService or ProtocolEndpoint; give its address"
            ))
        })?;
        let versions_url = versions_url.as_str();
        let root = versions_url.strip_suffix("/.well-known/dspace-version").ok_or_else(|| {
            EngineError::Peer(format!(
                "the DataService of `{peer}` is `{versions_url}`, which is no dspace-version address"
            ))
        })?;
        self.guard.check_url(versions_url).map_err(|error| EngineError::Peer(error.to_string()))?;
        let body = self.get(versions_url, None, MAX_VERSIONS).await?;
        let versions: VersionResponse = serde_json::from_slice(&body)
            .map_err(|error| EngineError::Peer(format!("{versions_url} cannot be read: {error}")))?;
        Ok(Versions::Told(root.to_owned(), versions))
    }

    /// The versions that a participant says it speaks.
    ///
    /// # Errors
    /// It cannot be found, does not answer, or names no list.
    pub async fn versions_of(&self, peer: &str) -> Result<VersionResponse, EngineError> {
        Ok(match self.ask_versions(peer).await? {
            Versions::Told(_, versions) => versions,
            Versions::Base(_) => {
                let reason =
                    format!("the DID document of `{peer}` names its catalog alone, and no list of versions");
                return Err(EngineError::Peer(reason));
            }
        })
    }

    /// Where a participant's catalog says that one negotiates (`endpointURL` of a DataService), if that can be used from here: behind
    /// some proxies a connector names a host that only its own network knows.
    pub async fn service_address(&self, endpoint_url: &str) -> Option<String> {
        match self.guard.check_reachable(endpoint_url).await {
            Ok(url) => Some(url.as_str().trim_end_matches('/').to_owned()),
            Err(error) => {
                tracing::info!(%error, "the endpoint that a catalog names cannot be used; its participant's base is taken");
                None
            }
        }
    }

    /// The base address of a participant whose DID document names only its catalog.
    async fn base_of_catalog(&self, peer: &str, catalog: &str) -> Result<String, EngineError> {
        let checked = self.guard.check_url(catalog).map_err(|error| EngineError::Peer(error.to_string()))?;
        let base = checked.as_str().trim_end_matches('/').strip_suffix("/catalog").ok_or_else(|| {
            EngineError::Peer(format!(
                "the CatalogService of `{peer}` is `{catalog}`, which does not end in /catalog"
            ))
        })?;
        self.remember(peer, base).await?;
        Ok(base.to_owned())
    }

    /// The participant behind an address: one that this node talked to, else the did:web of the address.
    ///
    /// # Errors
    /// Not an address.
    pub fn participant_at(&self, address: &str) -> Result<String, EngineError> {
        let address = address.trim_end_matches('/');
        let known = tables::list::<Peer>(&self.store, prefix::PEER, None, MAX_PEERS)?;
        if let Some((_, peer)) = known.into_iter().find(|(_, peer)| peer.address == address) {
            return Ok(peer.did);
        }
        let url = self.guard.check_url(address).map_err(|error| not_asked(&error.to_string()))?;
        let host = url.host_str().unwrap_or_default();
        Ok(trust::did::web(&url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))))
    }

    /// A callback address of a peer: https, and not in a forbidden network now.
    pub(super) async fn check_callback(&self, address: Option<&str>) -> Result<String, EngineError> {
        let malformed = |reason: String| {
            EngineError::refused(RefusalKind::Malformed, format!("/callbackAddress: {reason}"))
        };
        let address = address.ok_or_else(|| malformed("is missing".to_owned()))?;
        let url = self.guard.check_reachable(address).await.map_err(|error| malformed(error.to_string()))?;
        if url.query().is_some() {
            return Err(malformed("must not have a query".to_owned()));
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }

    /// Notes where a participant is; written only when it changed.
    pub(super) async fn remember(&self, did: &str, address: &str) -> Result<(), EngineError> {
        let key = tables::key(prefix::PEER, did);
        if tables::load::<Peer>(&self.store, &key)?.is_some_and(|(known, _)| known.address == address) {
            return Ok(());
        }
        let peer = Peer { did: did.to_owned(), address: address.to_owned(), last_seen: clock::now() };
        let mut batch = Batch::new();
        tables::put(&mut batch, key, &peer)?;
        self.commit(batch).await?;
        Ok(())
    }

    /// Takes note of what a message or an answer shows of its sender. It is written down for participants that this node
    /// knows.
    ///
    /// # Errors
    /// The store failed.
    pub async fn recognise(&self, did: &str, message: &Json) -> Result<(), EngineError> {
        let profile = profile_of_message(message);
        // What says nothing special says nothing of one that spoke otherwise before.
        if profile == PeerProfile::Dsp {
            return Ok(());
        }
        self.rules.recognise(did, profile);
        let key = tables::key(prefix::PEER_PROFILE, did);
        if !self.is_known(did) || self.store.get(&key)?.is_some() {
            return Ok(());
        }
        let mut batch = Batch::new();
        tables::put(&mut batch, key, &profile)?;
        self.commit(batch).await.map(|_| ())
    }

    /// What participants were recognised as before this start.
    pub(super) fn load_profiles(&self) -> Result<(), EngineError> {
        tables::each(&self.store, prefix::PEER_PROFILE, |key, profile: PeerProfile| {
            let did = key.strip_prefix(prefix::PEER_PROFILE).unwrap_or_default();
            self.rules.recognise(did, profile);
            Ok::<_, EngineError>(())
        })
    }

    /// Everything `peer` offers to this node, or as much of it as `filter` asks for: no page is asked for beyond `most` datasets.
    ///
    /// # Errors
    /// Not reachable, refused, or not a catalog of this participant.
    pub async fn ask_catalog(
        &self,
        peer: &str,
        address: Option<&str>,
        filter: Option<Vec<Json>>,
        most: Option<usize>,
    ) -> Result<Catalog, EngineError> {
        let base = self.peer_address(peer, address).await?;
        let message = protocol::wire::to_json(&CatalogRequestMessage { filter, notify: false }, None);
        let url = format!("{base}/catalog/request");
        let mut catalog: Option<Catalog> = None;
        let mut next = Some(url.clone());
        let mut size = 0;
        let mut pages = HashSet::new();
        while let Some(url) = next.take() {
            one_more(&url, &mut pages)?;
            let authorization = self.identity.authorization(peer, clock::now())?;
            let request =
                self.client.post(&url).header(AUTHORIZATION, authorization).json(&message).timeout(ASK);
            // Catalogs are large, and the same words come again and again in them.
            let request = request.header(ACCEPT_ENCODING, "gzip");
            let (body, following) = answer(&url, request, MAX_CATALOG.saturating_sub(size)).await?;
            size += body.len();
            if let Ok(answer) = protocol::wire::json(&body) {
                self.recognise(peer, &answer).await?;
            }
            let page = catalog_of(&url, &body)?;
            match &mut catalog {
                None => catalog = Some(page),
                Some(whole) => {
                    whole.dataset.extend(page.dataset);
                    add_unreadable(whole, page.properties);
                    whole.catalog.extend(page.catalog);
                }
            }
            let count = catalog.as_ref().map_or(0, |catalog| catalog.dataset.len());
            next = following.filter(|_| most.is_none_or(|most| count < most));
        }
        let catalog = catalog.ok_or_else(|| EngineError::Peer(format!("{url} gave no catalog")))?;
        match &catalog.participant_id {
            Some(id) if self.rules.did_of(id) == peer => Ok(catalog),
            other => {
                let other = other.as_deref().unwrap_or("nobody");
                Err(EngineError::Peer(format!(
                    "{url} answered with the catalog of `{other}`, not of `{peer}`"
                )))
            }
        }
    }

    /// One dataset of `peer`.
    ///
    /// # Errors
    /// Not reachable, or not offered to this node.
    pub async fn ask_dataset(
        &self,
        peer: &str,
        address: Option<&str>,
        id: &str,
    ) -> Result<Dataset, EngineError> {
        let base = self.peer_address(peer, address).await?;
        let url = format!("{base}/catalog/datasets/{}", trust::did::segment(id));
        let body = self.get(&url, Some(peer), MAX_CATALOG).await?;
        read(&url, &body)
    }

    pub(super) async fn get(
        &self,
        url: &str,
        peer: Option<&str>,
        limit: usize,
    ) -> Result<Vec<u8>, EngineError> {
        let mut request = self.client.get(url).timeout(ASK);
        if let Some(peer) = peer {
            request = request.header(AUTHORIZATION, self.identity.authorization(peer, clock::now())?);
        }
        answer(url, request, limit).await.map(|(body, _)| body)
    }
}

/// Takes note of a page of a catalog before it is asked for.
///
/// # Errors
/// It was read already, or there are too many: the peer's links lead nowhere.
pub(super) fn one_more(url: &str, pages: &mut HashSet<String>) -> Result<(), EngineError> {
    if !pages.insert(url.to_owned()) {
        return Err(EngineError::Peer(format!("the pages of the catalog go in a circle: {url} comes again")));
    }
    if pages.len() > MAX_PAGES {
        return Err(EngineError::Peer(format!("the catalog has more than {MAX_PAGES} pages")));
    }
    Ok(())
}

fn read<T: DspMessage>(url: &str, body: &[u8]) -> Result<T, EngineError> {
    let received = protocol::wire::parse::<T>(body);
    received.map(|received| received.message).map_err(|Refusal { reason, .. }| {
        EngineError::Peer(format!("the answer of {url} is not a {}: {reason}", T::TYPE))
    })
}

/// A page of a peer's catalog.
///
/// # Errors
/// It is none.
pub(super) fn catalog_of(url: &str, body: &[u8]) -> Result<Catalog, EngineError> {
    let catalog = read_catalog(body).map_err(|Refusal { reason, .. }| {
        EngineError::Peer(format!("the answer of {url} is not a {}: {reason}", Catalog::TYPE))
    })?;
    for one in catalog.properties.get(UNREADABLE).and_then(Json::as_array).into_iter().flatten() {
        tracing::warn!(url, dataset = one.as_str(), "a dataset of a catalog cannot be read and is left out");
    }
    Ok(catalog)
}

/// Names what of a further page could not be read together with what of those before.
fn add_unreadable(whole: &mut Catalog, mut page: Map<String, Json>) {
    let Some(Json::Array(more)) = page.remove(UNREADABLE) else { return };
    match whole.properties.entry(UNREADABLE).or_insert_with(|| Json::Array(Vec::new())) {
        Json::Array(named) => named.extend(more),
        other => *other = Json::Array(more),
    }
}

/// The body of an answer, and the address of the next page.
async fn answer(
    url: &str,
    request: PeerRequest,
    limit: usize,
) -> Result<(Vec<u8>, Option<String>), EngineError> {
    let sent = request.send().await;
    let response = sent.map_err(|error| EngineError::Peer(format!("{url}: {}", describe(&error))))?;
    let status = response.status();
    let next = next_page(response.headers(), url).map_err(EngineError::Peer);
    let body = bounded_body(response, limit)
        .await
        .map_err(|reason| EngineError::Peer(format!("{url}: {reason}")))?;
    if status.is_success() {
        return Ok((body, next?));
    }
    Err(problem(url, status, &body))
}

/// What a peer said instead of what it was asked for.
pub(super) fn problem(url: &str, status: StatusCode, body: &[u8]) -> EngineError {
    let said = answer_text(status, body);
    EngineError::Peer(format!("{url} answered {status} {said}").trim_end().to_owned())
}
