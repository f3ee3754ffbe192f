//! The engine: load, step, commit. The only caller of `step`, and the only writer of processes.
//!
//! Every input (a peer's message, an operator's decision, an acknowledgement, a failed delivery) takes the same way:
//! the process is locked and loaded, the pure machine makes a step, the node's own rules add what they decide at
//! once, and one commit writes the new state, the audit events and the messages to send. Only then effects follow.

mod agreements;
mod aside;
mod assessment;
mod audit;
mod broker;
mod callbacks;
mod catalog;
mod claims;
mod compliance;
mod contacts;
mod credential_check;
mod credentials;
mod data_requests;
mod deliveries;
mod directory;
mod duties;
mod evidence;
mod federation;
mod feed;
mod gate;
mod issuer;
mod keys;
mod levels;
mod links;
mod meters;
mod negotiations;
mod open_data;
mod open_negotiations;
mod open_transfers;
mod own_credentials;
mod pace;
mod peers;
mod personal;
mod place;
mod refusals;
mod replay;
mod retention;
mod revocation;
mod rotation;
mod rulebook;
mod secrets;
mod statements;
mod terms;
mod tickets;
mod transfers;
mod trust_list;
mod uses;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use dataplane::Fairness;
use policy_engine::Hierarchy;
use protocol::{Effect, MessageId, Refusal, RefusalKind};
use store::{Batch, CommitError, Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trust::TrustError;
use trust::token::Caller;

pub use self::agreements::{Import, Standing};
pub(crate) use self::broker::Remote;
use self::catalog::Offered;
pub use self::catalog::{Managed, Write};
use self::claims::Claims;
pub use self::contacts::Contact;
use self::contacts::Contacts;
use self::credential_check::Fetched;
pub use self::credentials::Held;
pub use self::data_requests::Wish;
pub use self::deliveries::Delivery;
pub(crate) use self::directory::MEMBERS_PATH;
pub use self::directory::Participant;
use self::duties::Deadlines;
pub use self::duties::{Duty, DutyReport, Statement};
pub use self::evidence::Heard;
pub(crate) use self::federation::CHANGED_PATH;
use self::federation::Federation;
pub use self::feed::{Index, Listed, Wanted};
use self::gate::Verified;
pub use self::gate::{Admission, Denial, Read, Sent};
pub use self::keys::Holder;
use self::levels::Promised;
pub use self::links::next_page;
use self::meters::Meters;
pub use self::negotiations::Move;
pub use self::open_data::OpenDenial;
use self::open_data::OpenReads;
use self::open_negotiations::OpenNegotiations;
use self::open_transfers::OpenTransfers;
pub use self::own_credentials::CredentialStanding;
use self::own_credentials::OwnCredentials;
use self::pace::Pace;
pub(crate) use self::personal::sample_persons;
pub use self::personal::{Answer, Insight, Receipt, Recipient, Share, Withdrawing};
use self::personal::{Ledger, Releasing};
use self::refusals::Refusals;
pub(crate) use self::replay::UsedToken;
pub use self::replay::{TokenUse, UsedTokens};
use self::retention::Retention;
pub(crate) use self::revocation::NOTICE_PATH;
use self::revocation::Published;
use self::rulebook::InForce;
pub use self::rulebook::RulebookStanding;
pub(crate) use self::rulebook::{RULEBOOK_NOTICE, RULEBOOK_PATH};
pub(crate) use self::statements::Stated;
pub use self::statements::StatementMessage;
use self::tickets::Operators;
use self::transfers::Pushes;
pub use self::uses::InUse;
use crate::config::{Authority, Config, Dialect, Federation as FederationSettings, Mim4, TrustedIssuer};
use crate::identity::Identity;
use crate::kept::Kept;
use crate::locks::Locks;
use crate::network::{CallbackClient, Guard, PeerClient};
use crate::outbox::Outbox;
use crate::peer_rules::PeerRules;
use crate::resolver::Resolver;
use crate::search::{SearchError, SearchIndex};
use crate::streams::Streams;
use crate::subject_keys::SubjectKeys;
use crate::tables::{self, Event, OutboxEntry, ProcessKind, TransferRecord};
use crate::tasks::Tasks;
use crate::vault::{Vault, VaultError};

/// A store that cannot be written is tried again after so long.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// An input that was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Nothing is there under this id.
    #[error("there is no {kind} `{id}`")]
    NotFound {
        /// Of what kind.
        kind: &'static str,
        /// The id asked for.
        id: String,
    },
    /// The catalog lacks something, so that it is not shown at all.
    #[error("the catalog is incomplete, so it is not shown: {0}")]
    Incomplete(String),
    /// The peer cannot be reached or does not answer as it should.
    #[error("{0}")]
    Peer(String),
    /// Not allowed now, or it does not fit.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A fault of this node.
    #[error("the store failed: {}", crate::telemetry::chain(.0))]
    Store(CommitError),
    /// A fault of this node.
    #[error("signing failed: {}", crate::telemetry::chain(.0))]
    Trust(TrustError),
    /// A fault of this node.
    #[error("the search index failed: {}", crate::telemetry::chain(.0))]
    Search(SearchError),
    /// A fault of this node.
    #[error("the vault: {0}")]
    Vault(String),
}

impl From<TrustError> for EngineError {
    fn from(error: TrustError) -> Self {
        Self::Trust(error)
    }
}

impl From<VaultError> for EngineError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error.to_string())
    }
}

impl From<SearchError> for EngineError {
    fn from(error: SearchError) -> Self {
        Self::Search(error)
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl From<CommitError> for EngineError {
    fn from(error: CommitError) -> Self {
        Self::Store(error)
    }
}

impl EngineError {
    pub(crate) fn refused(kind: RefusalKind, reason: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(kind, reason))
    }
}

/// What the engine works with.
pub struct Engine {
    store: Store,
    identity: Arc<Identity>,
    resolver: Arc<Resolver>,
    client: PeerClient,
    guard: Guard,
    outbox: Outbox,
    tasks: Tasks,
    refusals: Refusals,
    token_seconds: i64,
    /// Longest wait for a credential service, an issuer or a status list.
    credentials_within: Duration,
    /// Who is or was party to an agreement with this node.
    partners: RwLock<HashSet<String>>,
    streams: Arc<Streams>,
    used_tokens: UsedTokens,
    /// Most statements about duties that are kept of each party of an agreement.
    max_duty_statements: u32,
    locks: Locks,
    /// What makes an agreement binding here.
    rules: Arc<PeerRules>,
    own_address: String,
    public_address: String,
    /// Address of the public catalogue.
    open_address: String,
    /// The organisation, for people.
    name: String,
    stream_key: Vec<u8>,
    known: Arc<Hierarchy>,
    vault: Vault,
    /// Where programs of the operator may be called.
    callback_client: CallbackClient,
    claims: Arc<Claims>,
    fetched: Fetched,
    own_credentials: OwnCredentials,
    contacts: Contacts,
    renews_credentials: bool,
    published: Published,
    /// Types of credentials that every caller must show.
    required: Arc<[String]>,
    /// Types that this node shows; all where nothing is said.
    shown: Option<Vec<String>>,
    dialect: Dialect,
    /// Whose word counts, by the configuration.
    issuers: Vec<TrustedIssuer>,
    authority: Option<Authority>,
    deadlines: Deadlines,
    meters: Arc<Meters>,
    offered: Arc<Offered>,
    open_reads: OpenReads,
    open_negotiations: OpenNegotiations,
    /// Most that may be open with one participant.
    max_open_negotiations: u32,
    open_transfers: OpenTransfers,
    max_open_transfers: u32,
    /// How fast participants send.
    pace: Pace,
    /// What is kept of each participant.
    retention: Retention,
    /// Most of statements about one agreement.
    statements_megabytes: u32,
    /// The rulebooks that were accepted.
    in_force: InForce,
    /// The agreements with service levels.
    promised: Promised,
    /// Tells that there may be more to probe.
    probes: tokio::sync::Notify,
    /// Who permits what.
    ledger: Arc<Ledger>,
    /// Personal data operators whose word counts.
    operators: Vec<String>,
    /// How it is kept what was told of groups about persons.
    releasing: Releasing,
    /// The connector interface of MIM4.
    mim4: Mim4,
    known_operators: Operators,
    fairness: Fairness,
    pushes: Pushes,
    verified: Verified,
    kept_transfers: Kept<TransferRecord>,
    kept_assets: Kept<::catalog::Asset>,
    search: Option<Arc<SearchIndex>>,
    federating: FederationSettings,
    federation: Federation,
    committed: watch::Sender<u64>,
    /// Counts keys of the API that were revoked.
    revoked_keys: watch::Sender<u64>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("did", &self.identity.did()).finish_non_exhaustive()
    }
}

/// What [`Engine::new`] needs beyond the configuration.
#[derive(Debug)]
pub struct Parts {
    /// Where it remembers.
    pub store: Store,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Who others are.
    pub resolver: Arc<Resolver>,
    /// What single peers speak, and what is loosened for them.
    pub rules: Arc<PeerRules>,
    /// The way to peers.
    pub client: PeerClient,
    /// What it refuses to reach.
    pub guard: Guard,
    /// The way to programs that the operator itself names.
    pub callback_client: CallbackClient,
    /// What delivers.
    pub outbox: Outbox,
    /// What goes on beside.
    pub tasks: Tasks,
    /// Key of the bearer tokens of streams.
    pub stream_key: Vec<u8>,
    /// What is known of purposes and places.
    pub known: Hierarchy,
    /// What seals credentials.
    pub vault: Vault,
    /// Key of the names that the ledger has for persons.
    pub personal_key: Vec<u8>,
    /// The keys of persons.
    pub subject_keys: SubjectKeys,
    /// What is known of datasets; `None` where it cannot be kept.
    pub search: Option<SearchIndex>,
}

impl Engine {
    /// Assembles the engine.
    ///
    /// # Errors
    /// The catalog cannot be read from the store.
    pub fn new(config: &Config, parts: Parts) -> Result<Self, EngineError> {
        let used_tokens = UsedTokens::load(&parts.store, size(config.limits.used_tokens))?;
        let known = Arc::new(parts.known);
        let ledger = Ledger::new(&parts.personal_key, parts.subject_keys)
            .map_err(|error| EngineError::Vault(format!("{error:#}")))?;
        let engine = Self {
            store: parts.store,
            identity: parts.identity,
            resolver: parts.resolver,
            rules: parts.rules,
            client: parts.client,
            guard: parts.guard,
            outbox: parts.outbox,
            tasks: parts.tasks,
            refusals: Refusals::default(),
            token_seconds: config.limits.token_seconds.into(),
            credentials_within: Duration::from_secs(config.limits.credentials_seconds.into()),
            partners: RwLock::default(),
            streams: Arc::default(),
            used_tokens,
            locks: Locks::default(),
            own_address: config.dsp_address(),
            public_address: config.reached_at().to_owned(),
            open_address: format!("{}{}", config.reached_at(), crate::http::OPEN_PATH),
            name: config.participant.name.clone(),
            stream_key: parts.stream_key,
            known: Arc::clone(&known),
            vault: parts.vault,
            callback_client: parts.callback_client,
            claims: Arc::default(),
            fetched: Fetched::default(),
            own_credentials: OwnCredentials::default(),
            contacts: Contacts::default(),
            renews_credentials: config.credentials.renew,
            published: Published::default(),
            required: config.credentials.required.clone().into(),
            shown: config.credentials.shown.clone(),
            dialect: config.credentials.dialect,
            issuers: config.credentials.issuers.clone(),
            authority: config.authority.clone(),
            deadlines: Deadlines::default(),
            meters: Arc::default(),
            offered: Arc::new(Offered::new(known)),
            open_reads: OpenReads::new(&config.limits),
            open_negotiations: OpenNegotiations::default(),
            max_open_negotiations: config.limits.open_negotiations,
            open_transfers: OpenTransfers::default(),
            max_open_transfers: config.limits.open_transfers,
            pace: Pace::new(config.limits.messages_per_minute),
            retention: Retention::new(&config.limits),
            statements_megabytes: config.limits.statements_megabytes,
            in_force: InForce::default(),
            promised: Promised::default(),
            probes: tokio::sync::Notify::new(),
            ledger: Arc::new(ledger),
            operators: config.personal.operators.clone(),
            releasing: Releasing::of(&config.personal),
            mim4: config.mim4.clone(),
            known_operators: Operators::default(),
            pushes: Pushes::default(),
            verified: Verified::default(),
            kept_transfers: Kept::default(),
            kept_assets: Kept::default(),
            max_duty_statements: config.limits.duty_statements,
            fairness: Fairness::new(config.limits.agreement, config.limits.participant),
            search: parts.search.map(Arc::new),
            federating: config.federation.clone(),
            federation: Federation::new(size(config.limits.watchers)),
            committed: watch::channel(0).0,
            revoked_keys: watch::channel(0).0,
        };
        engine.load_catalog()?;
        engine.count_processes()?;
        engine.load_profiles()?;
        engine.load_ledger()?;
        engine.load_rulebooks()?;
        engine.refresh_scopes()?;
        Ok(engine)
    }

    /// Takes up whatever was open when the node stopped: undelivered messages and ends not carried out.
    ///
    /// # Errors
    /// The store failed.
    pub async fn resume(self: &Arc<Self>) -> Result<usize, EngineError> {
        let mut waiting: Vec<OutboxEntry> = tables::all(&self.store, tables::prefix::OUTBOX)?;
        waiting.sort_by_key(|entry| entry.since);
        let resumed = waiting.len();
        for entry in waiting {
            self.outbox.deliver(self, entry);
        }
        self.finish_ending().await?;
        self.settle_reads().await?;
        self.take_up_handing().await?;
        self.take_up_pushes()?;
        self.take_up_wanted()?;
        self.expect_all_duties()?;
        self.expect_requests()?;
        self.expect_all_levels()?;
        self.take_up_accesses().await?;
        self.tell_untold().await?;
        self.expect_agreed_claims()?;
        self.expect_remote_claims()?;
        Ok(resumed)
    }

    /// This node's participant id.
    #[must_use]
    pub fn did(&self) -> &str {
        self.identity.did()
    }

    /// The organisation, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Base address of this node's endpoints.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.own_address
    }

    /// What single peers speak, and what is loosened for them.
    #[must_use]
    pub fn rules(&self) -> &PeerRules {
        &self.rules
    }

    /// This node's identity.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The store, for reading.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Why the store cannot be written now, in a form for everybody; `None` while it can.
    #[must_use]
    pub fn store_failing(&self) -> Option<&'static str> {
        let failing = self.store.failing();
        let error = failing.borrow();
        error.as_ref().map(|error| match error.io_kind() {
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) => {
                "there is no room left for it"
            }
            Some(_) => "the disk fails",
            None => "it has a fault; the log says more",
        })
    }

    /// Tries to write again while the store cannot be written, and then writes down what was kept meanwhile, until `stop`.
    pub async fn watch_store(self: Arc<Self>, stop: CancellationToken) {
        let mut failing = self.store.failing();
        let watched = async {
            while failing.changed().await.is_ok() {
                while failing.borrow_and_update().is_some() {
                    tokio::time::sleep_until(tokio::time::Instant::now() + TRY_AGAIN).await;
                    // How it went is what is watched.
                    let _ = self.store.try_again().await;
                }
                self.write_all_meters().await;
                if let Err(error) = self.settle_handed().await {
                    tracing::error!(%error, "who was among the rows was not written");
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watched => {}
        }
    }

    /// What goes on beside.
    #[must_use]
    pub const fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The running streams.
    #[must_use]
    pub const fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// Resolves DIDs.
    #[must_use]
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// The guarded client.
    #[must_use]
    pub const fn client(&self) -> &PeerClient {
        &self.client
    }

    /// The SSRF guard.
    #[must_use]
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Longest time that a participant's token may be good for, in seconds.
    #[must_use]
    pub const fn token_seconds(&self) -> i64 {
        self.token_seconds
    }

    /// Whether a caller's token was used before, as far as this node remembers without asking anybody.
    #[must_use]
    pub fn was_used(&self, caller: &Caller) -> bool {
        self.used_tokens.knows(caller.did(), caller.jti())
    }

    /// Notes the use of a caller's token, durably.
    ///
    /// # Errors
    /// The store failed.
    pub async fn first_use(&self, caller: &Caller) -> Result<TokenUse, EngineError> {
        let sender = (caller.did(), self.is_known(caller.did()));
        Ok(self.used_tokens.first_use(&self.store, sender, caller.jti(), caller.expires()).await?)
    }

    /// As [`Self::first_use`], for what an operator of personal data whom this node trusts gave the id `id`.
    async fn first_use_of_operator(
        &self,
        operator: &str,
        id: &str,
        expires: i64,
    ) -> Result<TokenUse, EngineError> {
        Ok(self.used_tokens.first_use(&self.store, (operator, true), id, expires).await?)
    }

    /// Whether this node knows a participant: by an agreement, or by credentials that count. For these room is kept.
    pub(crate) fn is_known(&self, did: &str) -> bool {
        self.partners.read().unwrap_or_else(PoisonError::into_inner).contains(did) || self.has_proven(did)
    }

    /// There is an agreement with `did` in force.
    fn is_partner(&self, did: &str) {
        self.partners.write().unwrap_or_else(PoisonError::into_inner).insert(did.to_owned());
    }

    /// Tells of every commit; what changed is read from the store.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    /// Writes an audit event that belongs to no change of state.
    pub async fn record(&self, event: Event) {
        let mut batch = Batch::new();
        let written = match tables::append_event(&mut batch, &event) {
            Ok(()) => self.commit(batch).await.map(|_| ()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            tracing::error!(%error, event = event.text, "an audit event was not written");
        }
    }

    async fn commit(&self, batch: Batch) -> Result<u64, EngineError> {
        let sequence = self.store.commit(batch).await?;
        self.committed.send_if_modified(|latest| {
            let later = sequence > *latest;
            *latest = sequence.max(*latest);
            later
        });
        Ok(sequence)
    }

    /// Takes a message that was overtaken out of the outbox.
    async fn forget(&self, message: &MessageId, mut batch: Batch) -> Result<(), EngineError> {
        batch.delete(tables::outbox(message.as_str()));
        self.commit(batch).await.map(|_| ())
    }

    /// Puts the effects of a step that concern the store into its batch; what is left is done after the commit.
    fn plan(
        &self,
        kind: ProcessKind,
        pid: &str,
        peer: &str,
        address: &str,
        effects: Vec<Effect>,
        batch: &mut Batch,
    ) -> Result<AfterCommit, EngineError> {
        let mut after = AfterCommit { pid: pid.to_owned(), ..AfterCommit::default() };
        for effect in effects {
            match effect {
                Effect::Send(message) => {
                    self.has_room_for(peer, &message.path)?;
                    let entry = OutboxEntry {
                        kind,
                        pid: pid.to_owned(),
                        peer: peer.to_owned(),
                        address: address.to_owned(),
                        message,
                        since: crate::clock::now(),
                    };
                    tables::put(batch, tables::outbox(entry.message.id.as_str()), &entry)?;
                    after.send.push(entry);
                }
                Effect::Withdraw(message) => {
                    batch.delete(tables::outbox(message.as_str()));
                    after.withdraw.push(message);
                }
                Effect::CutStream(reason) => after.cut = Some(reason),
                // A conclusion writes the agreement, and an open stream needs nothing before it is read.
                Effect::Conclude | Effect::OpenStream => {}
            }
        }
        Ok(after)
    }

    fn follow(self: &Arc<Self>, after: AfterCommit) {
        for message in &after.withdraw {
            self.outbox.withdraw(message);
        }
        if let Some(reason) = &after.cut {
            self.streams.cut(&after.pid, reason);
        }
        for entry in after.send {
            self.outbox.deliver(self, entry);
        }
    }
}

fn size(bound: u32) -> usize {
    usize::try_from(bound).unwrap_or(usize::MAX)
}

#[derive(Debug, Default)]
struct AfterCommit {
    pid: String,
    send: Vec<OutboxEntry>,
    withdraw: Vec<MessageId>,
    cut: Option<String>,
}

fn message_id() -> MessageId {
    MessageId::new(crate::ids::urn())
}
