//! DID documents of peers: fetched through the guard, cached with bounds, one fetch for many who wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use trust::DidDocument;

use crate::config::{Dialect, PeerProfile};
use crate::identity::Identity;
use crate::network::{self, PeerClient};
use crate::peer_rules::{PeerRules, is_edcs_document};

/// How long a document is used before it is fetched again.
const FRESH: Duration = Duration::from_secs(300);
/// A document is not fetched again sooner than this, whatever happens.
const HOLD: Duration = Duration::from_secs(5);
/// Most documents kept.
const MAX_CACHED: usize = 4096;

type Fetched = Result<Arc<DidDocument>, String>;

#[derive(Debug, Clone)]
struct Entry {
    since: Instant,
    document: Arc<OnceCell<Fetched>>,
}

/// Resolves did:web and did:key.
#[derive(Debug)]
pub struct Resolver {
    client: PeerClient,
    identity: Arc<Identity>,
    /// In a closed test network documents come by plain HTTP.
    plain: bool,
    dialect: Dialect,
    rules: Arc<PeerRules>,
    /// Longest fetch.
    longest: Duration,
    cache: Mutex<HashMap<String, Entry>>,
}

impl Resolver {
    /// A resolver that knows this node's own document; a fetch takes `longest` at most.
    #[must_use]
    pub fn new(
        client: PeerClient,
        identity: Arc<Identity>,
        plain: bool,
        dialect: Dialect,
        rules: Arc<PeerRules>,
        longest: Duration,
    ) -> Self {
        Self { client, identity, plain, dialect, rules, longest, cache: Mutex::default() }
    }

    /// The document of `did`. Failures are kept for a few seconds, so that a stranger cannot make this node fetch
    /// without end.
    ///
    /// # Errors
    /// Says what was tried.
    pub async fn document(&self, did: &str) -> Fetched {
        self.get(did, FRESH).await
    }

    /// The document of `did`, fetched anew unless that was done a moment ago: keys rotate.
    ///
    /// # Errors
    /// Says what was tried.
    pub async fn refreshed(&self, did: &str) -> Fetched {
        self.get(did, HOLD).await
    }

    /// Forgets that the document of `did` could not be had: what this node asked for by itself must not make it deaf to who
    /// comes up a moment later.
    pub fn forget_failure(&self, did: &str) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.get(did).and_then(|entry| entry.document.get()).is_some_and(Result::is_err) {
            cache.remove(did);
        }
    }

    async fn get(&self, did: &str, fresh: Duration) -> Fetched {
        if did == self.identity.did() {
            return self.identity.document().map(Arc::new).map_err(|error| error.to_string());
        }
        let Some(url) = trust::did::document_url(did).map_err(|error| error.to_string())? else {
            return trust::did::key_document(did).map(Arc::new).map_err(|error| error.to_string());
        };
        let url = if self.plain { url.replacen("https://", "http://", 1) } else { url };
        let cell = self.entry(did, fresh);
        cell.get_or_init(|| self.fetch(did, &url)).await.clone()
    }

    fn entry(&self, did: &str, fresh: Duration) -> Arc<OnceCell<Fetched>> {
        let now = Instant::now();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = cache.get(did) {
            let failed = entry.document.get().is_some_and(Result::is_err);
            if now.duration_since(entry.since) < if failed { HOLD } else { fresh } {
                return Arc::clone(&entry.document);
            }
        }
        if cache.len() >= MAX_CACHED {
            cache.retain(|_, entry| now.duration_since(entry.since) < FRESH);
            if cache.len() >= MAX_CACHED
                && let Some(oldest) =
                    cache.iter().min_by_key(|(_, entry)| entry.since).map(|(did, _)| did.clone())
            {
                cache.remove(&oldest);
            }
        }
        let document = Arc::new(OnceCell::new());
        cache.insert(did.to_owned(), Entry { since: now, document: Arc::clone(&document) });
        document
    }

    async fn fetch(&self, did: &str, url: &str) -> Fetched {
        let failed =
            |reason: String| Err(format!("the DID document of `{did}` cannot be had from {url}: {reason}"));
        let request = self.client.get(url).timeout(self.longest).send().await;
        let response = match request {
            Ok(response) if response.status().is_success() => response,
            Ok(response) => return failed(format!("the answer is {}", response.status())),
            Err(error) => return failed(network::describe(&error)),
        };
        let body = match network::bounded_body(response, trust::did::MAX_DOCUMENT).await {
            Ok(body) => body,
            Err(reason) => return failed(reason),
        };
        match protocol::wire::json(&body) {
            Ok(json) => {
                let document = DidDocument::parse(json, did).map_err(|error| error.to_string())?;
                if is_edcs_document(&document) {
                    self.rules.recognise(did, PeerProfile::Edc);
                }
                let loosened = self.dialect == Dialect::Draft || self.rules.undeclared_keys(did);
                Ok(Arc::new(if loosened { document.with_undeclared_keys() } else { document }))
            }
            Err(refusal) => failed(refusal.reason),
        }
    }
}
