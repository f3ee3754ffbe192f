//! A running node: everything assembled, in the order one can read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use policy_engine::Hierarchy;
use store::Recovery;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{ClosedIdentity, Config};
use crate::engine::{Engine, Parts};
use crate::http::management::Management;
use crate::http::{self, Authentication, Faces};
use crate::identity::Identity;
use crate::network::{self, Guard};
use crate::outbox::Outbox;
use crate::peer_rules::PeerRules;
use crate::resolver::Resolver;
use crate::search::SearchIndex;
use crate::sources::Sources;
use crate::subject_keys::SubjectKeys;
use crate::tasks::Tasks;
use crate::vault::Vault;
use crate::{ports, secrets, sources, tls};

/// Name of the file with the key of stream tokens.
const STREAM_KEY: &str = "keys/stream.key";

/// A node that serves.
#[derive(Debug)]
pub struct Node {
    engine: Arc<Engine>,
    outbox: Outbox,
    stop: CancellationToken,
    listeners: TaskTracker,
    recovery: Recovery,
    resumed: usize,
    certificates: Arc<tls::Live>,
}

impl Node {
    /// Opens the store, takes up what was open, and listens.
    ///
    /// # Errors
    /// A file is missing or wrong, a port is taken, or the store cannot be opened.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        tls::install_provider();
        let identity = Arc::new(Identity::load(config)?);
        let certificates = Arc::new(tls::Live::load(config)?);
        let management_key = secrets::read(&config.path(&config.management.key))?;
        let stream_key = secrets::read(&config.path(Path::new(STREAM_KEY)))?.into_bytes();
        // Listening first: a taken port must not open the store.
        let public = ports::listen(config.public.listen, "public.listen").await?;
        let management = ports::listen(config.management.listen, "management.listen").await?;
        let plain = match &config.closed_test_network {
            None => None,
            Some(closed) => Some(ports::listen(closed.listen, "closed_test_network.listen").await?),
        };
        let gateway = match config.gateway.listen {
            None => None,
            Some(listen) => Some(ports::listen(listen, "gateway.listen").await?),
        };
        let (store, recovery) = open_store(config, &identity, false).await?;
        sources::allow_existing(config, &store).await?;
        let guard = Guard::new(&config.network.allow);
        let guard = if config.closed_test_network.is_some() { guard.with_plain() } else { guard };
        let client = network::PeerClient::new(&guard, certificates.client())?;
        let upstream = network::upstream_client(certificates.client())?;
        let rules = Arc::new(PeerRules::new(config));
        let resolver = Arc::new(Resolver::new(
            client.clone(),
            Arc::clone(&identity),
            config.closed_test_network.is_some(),
            config.credentials.dialect,
            Arc::clone(&rules),
            Duration::from_secs(config.limits.resolver_seconds.into()),
        ));
        let stop = CancellationToken::new();
        let outbox = Outbox::new(config.delivery.clone(), config.limits, stop.clone());
        let tasks = Tasks::new(stop.clone());
        let known = known_terms(config)?;
        let vault = Vault::open(config)?;
        let personal_key = secrets::read_or_make(&config.path(&config.personal.key))?.into_bytes();
        let subject_keys = SubjectKeys::open(&config.path(&config.personal.subject_keys))?;
        let search = open_search(config, &store).await;
        let parts = Parts {
            store,
            identity,
            resolver,
            rules,
            client,
            guard,
            callback_client: network::CallbackClient::new(&config.management.callbacks, &upstream),
            outbox: outbox.clone(),
            tasks,
            stream_key,
            known,
            vault,
            personal_key,
            subject_keys,
            search,
        };
        let engine = Arc::new(Engine::new(config, parts)?);

        let authentication = match &config.closed_test_network {
            None => Authentication::Dcp,
            Some(closed) if closed.identity == ClosedIdentity::Dcp => {
                tracing::warn!(listen = %closed.listen, "CLOSED TEST NETWORK: this node speaks plain HTTP");
                Authentication::Dcp
            }
            Some(closed) => {
                tracing::warn!(
                    listen = %closed.listen,
                    "CLOSED TEST NETWORK: this node takes fixed headers for identities and speaks plain HTTP; never use \
                     it with data that matters"
                );
                Authentication::Fixed(closed.participants.clone())
            }
        };
        let sources = Sources::new(upstream, certificates.client(), config, Arc::clone(&engine) as _);
        let faces = Faces::new(Arc::clone(&engine), sources, authentication);
        let operator =
            Management::new(Arc::clone(&faces), Arc::clone(&certificates), config, &management_key);
        let listeners = TaskTracker::new();
        listeners.spawn(http::listener::serve_behind(
            http::listener::Proxies::new(&config.public.proxies),
            public,
            Some(certificates.public()),
            http::public(&faces),
            config.limits,
            stop.clone(),
        ));
        if let Some(plain) = plain {
            listeners.spawn(http::listener::serve(
                plain,
                None,
                http::public(&faces),
                config.limits,
                stop.clone(),
            ));
        }
        if let Some(gateway) = gateway {
            // In clear only where nobody else listens.
            let is_local = config.gateway.listen.is_some_and(|listen| listen.ip().is_loopback());
            let tls = (!is_local).then(|| certificates.public());
            let routes = http::management::gateway_routes(&operator);
            listeners.spawn(http::listener::serve(gateway, tls, routes, config.limits, stop.clone()));
        }
        let routes = http::management::routes(&operator);
        listeners.spawn(http::listener::serve(
            management,
            certificates.management(),
            routes,
            config.limits,
            stop.clone(),
        ));
        let resumed = engine.resume().await?;
        listeners.spawn(crate::pushing::run(Arc::clone(&faces), config.limits, stop.clone()));
        listeners.spawn(crate::probing::run(Arc::clone(&engine), stop.clone()));
        listeners.spawn(Arc::clone(&certificates).watch(stop.clone()));
        listeners.spawn(Arc::clone(&engine).watch_store(stop.clone()));
        listeners.spawn(Arc::clone(&engine).watch_deadlines(stop.clone()));
        listeners.spawn(Arc::clone(&engine).watch_handed(stop.clone()));
        listeners.spawn(Arc::clone(&engine).watch_claims(stop.clone()));
        listeners.spawn(Arc::clone(&engine).watch_own_credentials(stop.clone()));
        listeners.spawn(Arc::clone(&engine).watch_audit_log(stop.clone()));
        listeners.spawn(Arc::clone(&engine).watch_retired_keys(stop.clone()));
        listeners.spawn(Arc::clone(&engine).watch_own_catalog(stop.clone()));
        listeners.spawn(Arc::clone(&engine).watch_catalogs(stop.clone()));
        listeners.spawn(Arc::clone(&engine).tell_of_changes(stop.clone()));
        Ok(Self { engine, outbox, stop, listeners, recovery, resumed, certificates })
    }

    /// What opening the store had to mend.
    #[must_use]
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// How many messages were taken up from before.
    #[must_use]
    pub const fn resumed(&self) -> usize {
        self.resumed
    }

    /// Reads certificates and authorities anew; where anything is wrong with them, the old ones stay.
    pub async fn reload_certificates(&self) {
        // What went wrong is in the log and in the audit log.
        let _ = self.engine.reload_certificates(&self.certificates).await;
    }

    /// Stops: no new connections, running requests end or are cut after a few seconds, what is undelivered stays.
    pub async fn stop(self) {
        self.stop.cancel();
        self.listeners.close();
        self.listeners.wait().await;
        // What is not carried by a listener any more, such as a web socket.
        self.engine.streams().cut_all("the node is stopping");
        self.outbox.drained().await;
        self.engine.tasks().ended().await;
        self.engine.write_all_meters().await;
        self.engine.write_counted_refusals().await;
        if let Err(error) = self.engine.settle_handed().await {
            tracing::error!(%error, "who was among the rows was not written");
        }
        drop(self.engine);
    }
}

/// The search index; a new one knows nothing, so that every catalog is read anew. A node without one shares all the same.
async fn open_search(config: &Config, store: &store::Store) -> Option<SearchIndex> {
    let folder = config.path(&config.federation.folder);
    match SearchIndex::open(&folder) {
        Ok((search, false)) => Some(search),
        Ok((search, true)) => match crate::tables::forget_crawls(store).await {
            Ok(()) => Some(search),
            Err(error) => {
                tracing::error!(%error, "the search index cannot be filled");
                None
            }
        },
        Err(error) => {
            tracing::error!(%error, folder = %folder.display(), "there is no search index");
            None
        }
    }
}

/// What is known of purposes, places and names of participants: the shipped terms, the configured files and ids.
///
/// # Errors
/// A file cannot be read, or a data space is not one of those that are shipped.
pub fn known_terms(config: &Config) -> anyhow::Result<Hierarchy> {
    let mut known = match &config.policy.spaces {
        None => Hierarchy::shipped(),
        Some(wanted) => {
            if let Some(unknown) =
                wanted.iter().find(|name| !Hierarchy::spaces().any(|one| one == name.as_str()))
            {
                let shipped: Vec<_> = Hierarchy::spaces().collect();
                anyhow::bail!(
                    "policy.spaces: `{unknown}` is none of the shipped ones: {}",
                    shipped.join(", ")
                );
            }
            Hierarchy::shipped_with(|name| wanted.iter().any(|one| one == name))
        }
    };
    for file in &config.policy.terms {
        load_terms(&mut known, &config.path(file)).context("reading policy.terms")?;
    }
    // Terms may name a participant either way.
    let of_peers = config.peers.iter().map(|(did, peer)| (did, &peer.id));
    for (did, id) in of_peers.chain([(&config.participant.did, &config.participant.id)]) {
        if let Some(id) = id {
            known.add_same(did, id);
        }
    }
    Ok(known)
}

/// Adds the terms of a file.
///
/// # Errors
/// It cannot be read; names the place.
pub fn load_terms(known: &mut Hierarchy, file: &Path) -> anyhow::Result<()> {
    let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let json = serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))?;
    known.load(&json).with_context(|| format!("in {}", file.display()))
}

/// Opens the store of a configuration and brings it to today's form; `rebuild` makes its index anew.
///
/// # Errors
/// In use, damaged, of a newer form than this program knows, or a file operation failed.
pub async fn open_store(
    config: &Config,
    identity: &Arc<Identity>,
    rebuild: bool,
) -> anyhow::Result<(store::Store, Recovery)> {
    let signing = Arc::clone(identity);
    let options = store::Options {
        engine: config.store.engine.into(),
        signer: Some(Arc::new(move |statement| signing.sign_checkpoint(statement))),
        rebuild,
    };
    let folder = config.path(&config.store.folder);
    let opened = store::Store::open(&folder, &options)
        .with_context(|| format!("opening the store {}", folder.display()))?;
    if let Some(copy) = crate::tables::form::bring_up(&opened.0, &folder).await? {
        tracing::info!(copy = %copy.display(), "the store was brought to this release's form; its journal as it was is kept");
    }
    Ok(opened)
}
