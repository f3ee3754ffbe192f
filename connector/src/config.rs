//! The configuration: one TOML file, typed; unknown keys are refused with the nearest known one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The name of the file in a node's folder.
pub const FILE: &str = "concordat.toml";

/// Everything an operator sets. Paths are relative to the file's folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this node is.
    pub participant: Participant,
    /// What other participants reach.
    pub public: Public,
    /// Certificates.
    pub tls: Tls,
    /// What the command line and the operator's programs reach.
    pub management: Management,
    /// Where the node remembers.
    #[serde(default)]
    pub store: Store,
    /// Which networks peers may be in.
    #[serde(default)]
    pub network: Network,
    /// What makes an agreement binding.
    #[serde(default)]
    pub agreements: Agreements,
    /// How far this node meets peers that bend the standards.
    #[serde(default)]
    pub interoperability: Interoperability,
    /// What is special about single participants, by DID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peers: BTreeMap<String, PeerSettings>,
    /// What policies are read with.
    #[serde(default)]
    pub policy: Policy,
    /// This node's credentials, and those it asks of others.
    #[serde(default)]
    pub credentials: Credentials,
    /// Set where this node issues credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Authority>,
    /// Data about persons.
    #[serde(default)]
    pub personal: PersonalData,
    /// The connector interface of MIM4 (2021).
    #[serde(default)]
    pub mim4: Mim4,
    /// Whose catalogs this node reads.
    #[serde(default)]
    pub federation: Federation,
    /// How much one reader, peer or address may take.
    #[serde(default)]
    pub limits: Bounds,
    /// Where programs on this machine read the data that this node uses.
    #[serde(default)]
    pub gateway: Gateway,
    /// How messages are delivered.
    #[serde(default)]
    pub delivery: Delivery,
    /// Which files of this machine may be shared.
    #[serde(default)]
    pub sources: SourceSettings,
    /// What is written to standard error.
    #[serde(default)]
    pub log: Log,
    /// Only for tests among machines that nobody else reaches: plain HTTP and fixed headers in place of tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_test_network: Option<ClosedTestNetwork>,
    /// The folder of the file.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Longest id of a participant that is no DID, in bytes.
const MAX_PARTICIPANT_ID: usize = 256;

/// `[participant]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    /// For people.
    pub name: String,
    /// did:web of `public.address`, or a did:key for trials.
    pub did: String,
    /// The private key, a JWK; mode 0600.
    pub key: PathBuf,
    /// Under which id this node stands in catalogs and agreements with participants that stand under another than their DID
    /// (`[peers."DID"]`, `id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether this node is a trial, for this machine only; `concordat init --trial` makes one.
    #[serde(default, skip_serializing_if = "is_no")]
    pub trial: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_no(value: &bool) -> bool {
    !*value
}

/// `[public]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Public {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// `https://host[:port]` under which others reach it; no trailing slash.
    pub address: String,
    /// PEM files of authorities: callers must show a certificate of one of them (mutual TLS); nothing is asked where there
    /// is none.
    #[serde(default)]
    pub client_roots: Vec<PathBuf>,
    /// Networks of proxies before this node: for requests from there, `X-Forwarded-For` tells who asks.
    #[serde(default)]
    pub proxies: Vec<IpNet>,
}

/// `[tls]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM chain of this node.
    pub certificate: PathBuf,
    /// Its private key, PEM; mode 0600.
    pub key: PathBuf,
    /// PEM files of further authorities whose certificates are trusted.
    #[serde(default)]
    pub roots: Vec<PathBuf>,
    /// Whether the machine's own authorities are trusted.
    #[serde(default = "yes")]
    pub system_roots: bool,
}

/// `[management]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Management {
    /// Address and port to listen on; loopback, unless callers must show a certificate.
    pub listen: SocketAddr,
    /// The key that callers send, mode 0600.
    pub key: PathBuf,
    /// Set where it speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ManagementTls>,
    /// Beginnings of addresses where programs may ask to be called (`callbackAddresses`), beside those that this node reaches
    /// anyway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callbacks: Vec<url::Url>,
}

/// `[management.tls]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagementTls {
    /// PEM chain of the listener.
    pub certificate: PathBuf,
    /// Its private key, PEM; mode 0600.
    pub key: PathBuf,
    /// The name in the certificate.
    #[serde(default = "localhost")]
    pub name: String,
    /// PEM files of authorities: callers must show a certificate of one of them.
    #[serde(default)]
    pub client_roots: Vec<PathBuf>,
    /// The certificate that this command line shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<PathBuf>,
    /// Its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
}

fn localhost() -> String {
    "localhost".to_owned()
}

/// `[store]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `sled` or `redb`.
    pub engine: StoreEngine,
    /// Journal and index.
    pub folder: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Self { engine: StoreEngine::Sled, folder: "store".into() }
    }
}

/// Which index stands behind the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreEngine {
    /// redb.
    Redb,
    /// sled.
    Sled,
}

impl From<StoreEngine> for store::Engine {
    fn from(engine: StoreEngine) -> Self {
        match engine {
            StoreEngine::Redb => Self::Redb,
            StoreEngine::Sled => Self::Sled,
        }
    }
}

/// `[network]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Loopback, private and other special networks that peers may nevertheless be in, for example `10.20.0.0/16`.
    pub allow: Vec<IpNet>,
}

/// `[agreements]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Agreements {
    /// Whether both signatures are demanded.
    pub signatures: Signatures,
}

/// What makes an agreement binding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// The peer's authenticated message is evidence enough, for peers that do not sign.
    AcceptPeerToken,
    /// Nothing is demanded; only in a closed test network.
    None,
    /// Both signatures.
    #[default]
    Required,
}

/// `[interoperability]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Interoperability {
    /// For whom checks may be loosened.
    pub loosen: Loosen,
}

/// For whom a check may be loosened that a peer does not pass as it is: keys without a declared use, agreements without its
/// signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loosen {
    /// For participants under `[peers]` whose lines say so.
    #[default]
    Listed,
    /// For nobody, whatever stands under `[peers]`.
    Never,
    /// Also for whoever is recognised as Eclipse EDC.
    Recognised,
}

/// `[peers."DID"]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerSettings {
    /// Under which id it stands in catalogs and agreements, where that is not its DID: a business partner number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it speaks, whatever it is recognised as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<PeerProfile>,
    /// What makes an agreement with it binding, in place of `agreements.signatures`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signatures: Option<Signatures>,
    /// Whether a key counts of which its DID document does not say what it is for, where it says so of no key.
    pub undeclared_keys: bool,
    /// In which words it is asked for credentials, whatever its access tokens say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<ScopeAlias>,
}

/// The words for credentials of a type, in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeAlias {
    /// `org.eclipse.dspace.dcp.vc.type` (DCP 1.0.1, section 5.4.1.2).
    Dcp,
    /// `org.eclipse.edc.vc.type`, all that Eclipse EDC up to 0.15 knows.
    Edc,
}

/// What a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerProfile {
    /// The Dataspace Protocol as it is written.
    Dsp,
    /// The same as Eclipse EDC speaks it.
    Edc,
}

impl PeerProfile {
    /// As in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dsp => "dsp",
            Self::Edc => "edc",
        }
    }
}

/// `[policy]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// JSON files with purposes, places and other terms beside those shipped: which lies within which.
    pub terms: Vec<PathBuf>,
    /// The data spaces whose operands are understood; all that are shipped where it is not given.
    pub spaces: Option<Vec<String>>,
}

/// `[credentials]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Credentials {
    /// The file with the key of the vault, mode 0600; made where it is missing. `CONCORDAT_VAULT_KEY` takes its place.
    pub vault_key: PathBuf,
    /// Types that a participant must show before this node answers it at all.
    pub required: Vec<String>,
    /// Types that this node shows to others; all that it has where nothing is said.
    pub shown: Option<Vec<String>>,
    /// Whether credentials are asked for anew before they end.
    pub renew: bool,
    /// Which version of the Decentralized Claims Protocol the others speak.
    pub dialect: Dialect,
    /// Whose word counts, beside what `concordat trust` adds.
    pub issuers: Vec<TrustedIssuer>,
}

/// Which version of the Decentralized Claims Protocol the others speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// Release candidates of 1.0, as deployed before it: keys of DID documents that declare no use of any key may be
    /// used for everything; credentials are delivered under the names of formats, not profiles; a query for more than
    /// the access token allows is refused as a whole.
    #[serde(rename = "draft")]
    Draft,
    /// 1.0.1.
    #[default]
    #[serde(rename = "1.0")]
    One,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            vault_key: "keys/vault.key".into(),
            required: Vec::new(),
            shown: None,
            renew: true,
            dialect: Dialect::default(),
            issuers: Vec::new(),
        }
    }
}

/// An issuer and the types of credentials for which its word counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// Its DID.
    pub did: String,
    /// Credential types.
    pub types: Vec<String>,
}

/// `[authority]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// Types of the credentials that it issues.
    pub types: Vec<String>,
    /// The data space: `memberOf` in every credential, an IRI.
    pub space: String,
    /// Whether every participant gets what it asks for, without a person; for trials.
    #[serde(default)]
    pub automatic: bool,
    /// Days that a credential is valid.
    #[serde(default = "a_year")]
    pub valid_days: u16,
    /// Seconds for which verifiers may believe a status list of the credentials without asking again.
    #[serde(default = "a_minute")]
    pub status_list_seconds: u32,
}

const fn a_minute() -> u32 {
    60
}

const fn a_year() -> u16 {
    365
}

/// `[personal]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PersonalData {
    /// Personal data operators whose word on consents and requests of persons counts, by their DIDs.
    pub operators: Vec<String>,
    /// The file with the key under which persons have names in the ledger, mode 0600; made where it is missing.
    pub key: PathBuf,
    /// The file with the keys of persons, mode 0600; made where it is missing.
    pub subject_keys: PathBuf,
    /// For how long the same is told of a group about persons.
    pub release_window_minutes: u32,
    /// Of how many groups it is kept what was told, for each recipient of a dataset; the oldest are told no more then.
    pub most_groups: u64,
    /// How many persons the groups of one answer may have in all.
    pub most_members: usize,
    /// How many answers are kept of one group.
    pub most_answers: usize,
    /// Largest record of what was told of one group, in kilobytes of 1,024 bytes.
    pub largest_group_kilobytes: usize,
}

impl Default for PersonalData {
    fn default() -> Self {
        Self {
            operators: Vec::new(),
            key: "keys/personal.key".into(),
            subject_keys: "keys/subjects.keys".into(),
            release_window_minutes: 1440,
            most_groups: 100_000,
            most_members: 4_000_000,
            most_answers: 16,
            largest_group_kilobytes: 8192,
        }
    }
}

/// `[mim4]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mim4 {
    /// This connector's UUID (version 4); one is made and kept where nothing is said.
    pub connector_uuid: Option<String>,
    /// What the connector is for.
    pub description: String,
    /// Where it is documented how sources are reached through it; the public catalogue where nothing is said.
    pub api_guide: Option<String>,
    /// Base addresses of operators that are contracted directly.
    pub operators: Vec<String>,
    /// Registries of trust groups.
    pub trust_groups: Vec<TrustGroupSettings>,
}

impl Mim4 {
    fn check(&self) -> anyhow::Result<()> {
        if let Some(uuid) = &self.connector_uuid
            && uuid::Uuid::parse_str(uuid).map_or(0, |uuid| uuid.get_version_num()) != 4
        {
            bail!("mim4.connector_uuid: `{uuid}` is no UUID of version 4");
        }
        let groups = self.trust_groups.iter().map(|group| &group.address);
        for address in self.operators.iter().chain(groups) {
            if !url::Url::parse(address).is_ok_and(|url| url.scheme() == "https") {
                bail!("mim4: `{address}` must be an address that begins with https://");
            }
        }
        for group in &self.trust_groups {
            trust::PublicKey::from_jwk(&group.key)
                .with_context(|| format!("mim4.trust_groups: the key of {}", group.address))?;
        }
        Ok(())
    }
}

/// A trust group whose operators count.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustGroupSettings {
    /// Base address of its registry.
    pub address: String,
    /// The registry's public key, a JWK (Ed25519 or P-256).
    pub key: serde_json::Value,
}

/// `[federation]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Federation {
    /// Participants whose catalogs are read, by their DIDs.
    pub peers: Vec<String>,
    /// Whether those of all members of the data spaces that this node is in are read as well.
    pub members: bool,
    /// Minutes after which a catalog is read again although nobody said that it changed.
    pub interval_minutes: u32,
    /// Where the search index is.
    pub folder: PathBuf,
    /// Whether this node's catalog also shows what others offer, as far as they let it.
    pub broker: bool,
    /// Participants that may show others what this node offers, to whom its access policies admit; they see all of it.
    pub brokers: Vec<String>,
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            members: true,
            interval_minutes: 60,
            folder: "search".into(),
            broker: false,
            brokers: Vec::new(),
        }
    }
}

/// `[limits]`
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Most connections at once of each listener.
    pub connections: u32,
    /// Most connections at once of one address (IPv6: of one /64) at each listener.
    pub connections_per_address: u32,
    /// Seconds from the accept of a connection to its first complete request head, the TLS handshake included; for HTTP/1
    /// also those until each further head.
    pub first_request_seconds: u32,
    /// Seconds after which a connection without a running request is closed; pings are no requests.
    pub idle_seconds: u32,
    /// Seconds after which a reader, or an endpoint that is pushed to, is cut if it takes nothing of what waits for it.
    pub stalled_seconds: u32,
    /// Most reads of open data at once.
    pub open_reads: u32,
    /// Most reads of open data at once by one address (IPv6: by one /64).
    pub open_reads_per_address: u32,
    /// Most reads of open data that one address (IPv6: one /64) begins in a minute.
    pub open_reads_per_minute: u32,
    /// Most reads of open data that begin in a minute, of all addresses together.
    pub all_open_reads_per_minute: u32,
    /// Most messages on their way to others at once; a quarter is kept for messages under agreements and
    /// memberships, and to participants whose credentials count.
    pub deliveries: u32,
    /// Most messages on their way at once to one participant, and to one origin (scheme, host and port).
    pub deliveries_per_peer: u32,
    /// Most messages that wait for one participant: beyond, no process with it is begun or moved on, but for its end.
    pub waiting_per_peer: u32,
    /// Most pushes at once.
    pub pushes: u32,
    /// Most pushes at once for one participant.
    pub pushes_per_peer: u32,
    /// Most negotiations with one participant that are open when it begins another; beyond, the oldest whose message it
    /// does not take is ended.
    pub open_negotiations: u32,
    /// Most transfers that one participant asked for and that are open; beyond, it gets 429.
    pub open_transfers: u32,
    /// Most messages of one participant in a minute that begin something or move it on: beyond, it gets 429. One that this
    /// node does not know has a fifth, and all of these together have as many as one that it knows.
    pub messages_per_minute: u32,
    /// Most negotiations without an agreement and transfers that are over and kept of one participant, and of all that this
    /// node does not know: the oldest go.
    pub ended_per_peer: u32,
    /// Most agreements with one participant; beyond, no negotiation that it begins is taken.
    pub agreements_per_peer: u32,
    /// Most megabytes of statements about one agreement; beyond, no more are taken.
    pub statements_megabytes: u32,
    /// Most megabytes on disk of views at the gateway, and of the data that they are made from; beyond, a reader gets 507.
    pub views_megabytes: u32,
    /// Most connections to one database at once; further reads wait a little, and then get 503.
    pub database_connections: u32,
    /// Seconds after which the fetch of a DID document is given up.
    pub resolver_seconds: u32,
    /// Seconds after which a credential service, an issuer or a status list is given up that does not answer.
    pub credentials_seconds: u32,
    /// Most used tokens that are remembered: of one participant a tenth, of one that this node does not know a fiftieth, of all
    /// of these two fifths.
    pub used_tokens: u32,
    /// Most participants that are told of changes of the catalog; a quarter of them may be such as this node does not know.
    pub watchers: u32,
    /// Longest time that a participant's self-issued token may be good for, in seconds; each is remembered for so long.
    pub token_seconds: u32,
    /// Most statements about duties that are kept of each party of an agreement.
    pub duty_statements: u32,
    /// Of each agreement.
    pub agreement: dataplane::Limits,
    /// Of each participant, over all its agreements.
    pub participant: dataplane::Limits,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 8192,
            connections_per_address: 2048,
            first_request_seconds: 10,
            idle_seconds: 60,
            stalled_seconds: 60,
            open_reads: 256,
            open_reads_per_address: 32,
            open_reads_per_minute: 600,
            all_open_reads_per_minute: 12_000,
            deliveries: 256,
            deliveries_per_peer: 16,
            waiting_per_peer: 4096,
            pushes: 64,
            pushes_per_peer: 8,
            open_negotiations: 1000,
            open_transfers: 1000,
            messages_per_minute: 1200,
            ended_per_peer: 10_000,
            agreements_per_peer: 100_000,
            statements_megabytes: 1024,
            views_megabytes: 4096,
            database_connections: 8,
            resolver_seconds: 10,
            credentials_seconds: 10,
            used_tokens: 1_000_000,
            watchers: 1000,
            token_seconds: 600,
            duty_statements: 1000,
            agreement: dataplane::Limits::default(),
            participant: dataplane::Limits::default(),
        }
    }
}

impl Bounds {
    fn check(&self) -> anyhow::Result<()> {
        let at_least_one = [
            self.connections,
            self.connections_per_address,
            self.stalled_seconds,
            self.open_reads,
            self.open_reads_per_address,
            self.open_reads_per_minute,
            self.all_open_reads_per_minute,
            self.deliveries,
            self.deliveries_per_peer,
            self.waiting_per_peer,
            self.pushes,
            self.pushes_per_peer,
            self.open_negotiations,
            self.open_transfers,
            self.messages_per_minute,
            self.ended_per_peer,
            self.agreements_per_peer,
            self.statements_megabytes,
            self.views_megabytes,
            self.database_connections,
            self.resolver_seconds,
            self.credentials_seconds,
            self.used_tokens,
            self.watchers,
        ];
        if at_least_one.contains(&0) {
            bail!("[limits]: each bound must be at least 1");
        }
        if !(60..=3600).contains(&self.token_seconds) {
            bail!("limits.token_seconds must be 60 to 3600");
        }
        // This node's own client gives up an unused connection earlier than another node closes it.
        let ours = crate::network::IDLE.as_secs();
        if u64::from(self.first_request_seconds.min(self.idle_seconds)) <= ours {
            bail!("limits.first_request_seconds and limits.idle_seconds must be more than {ours}");
        }
        Ok(())
    }
}

/// `[gateway]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Address and port of a listener of its own beside the management API's; with TLS unless it is a loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Origins of web pages that may read it, such as `https://dashboard.city`.
    pub origins: Vec<String>,
    /// Whether the key may stand in the address (`?key=…`), for programs that know nothing but an address. It then also
    /// stands in their logs.
    pub key_in_address: bool,
}

/// `[sources]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceSettings {
    /// Folders whose files may be shared.
    pub folders: Vec<PathBuf>,
    /// Folders with the secrets that sources show their upstreams.
    pub secrets: Vec<PathBuf>,
    /// Single files and folders beside these; `concordat publish` adds what it publishes from elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Allowance>,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self { folders: vec!["data".into()], secrets: vec!["secrets".into()], allowed: Vec::new() }
    }
}

/// `[[sources.allowed]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Allowance {
    /// A file or folder of data.
    Path(PathBuf),
    /// A secret file.
    Secret(PathBuf),
}

/// `[delivery]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// Seconds after which an undeliverable message fails for good.
    pub give_up_after_seconds: u32,
    /// Seconds that one attempt may take.
    pub attempt_seconds: u32,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { give_up_after_seconds: 600, attempt_seconds: 10 }
    }
}

/// `[log]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// A filter such as `info` or `connector=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// `[closed_test_network]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedTestNetwork {
    /// Loopback address and port of a listener without TLS.
    pub listen: SocketAddr,
    /// `http://host:port` under which the others reach it; no trailing slash.
    pub address: String,
    /// How identities are shown.
    #[serde(default)]
    pub identity: ClosedIdentity,
    /// The `Authorization` header that this node sends.
    #[serde(default)]
    pub authorization: String,
    /// Who the others are, by the header they send.
    #[serde(default)]
    pub participants: Vec<FixedParticipant>,
}

/// How identities are shown in a closed test network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClosedIdentity {
    /// By tokens, as everywhere; DID documents are fetched by plain HTTP.
    Dcp,
    /// By fixed headers.
    #[default]
    Fixed,
}

/// A participant that is known by a header alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedParticipant {
    /// Its participant id; any text.
    pub id: String,
    /// The whole value of its `Authorization` header.
    pub authorization: String,
}

const fn yes() -> bool {
    true
}

/// The host that an address names: a name or an IP address, without port and brackets.
///
/// # Errors
/// It is no address, or names none.
pub fn host_of(address: &str) -> anyhow::Result<String> {
    let url = url::Url::parse(address).with_context(|| format!("`{address}` is not a URL"))?;
    Ok(match url.host().with_context(|| format!("`{address}` names no host"))? {
        url::Host::Domain(name) => name.to_owned(),
        url::Host::Ipv4(address) => address.to_string(),
        url::Host::Ipv6(address) => address.to_string(),
    })
}

impl Config {
    /// Reads the configuration in `folder`.
    ///
    /// # Errors
    /// Missing, not TOML, an unknown key, or values that do not go together.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|error| unread(&path, folder, &error))?;
        let mut config = Self::parse(&text).with_context(|| format!("in {}", path.display()))?;
        config.folder = folder.canonicalize().with_context(|| format!("finding {}", folder.display()))?;
        Ok(config)
    }

    /// Reads the text of a configuration.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self =
            toml::from_str(text).map_err(|error| anyhow::anyhow!(with_nearest(&error.to_string())))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        let address = &self.public.address;
        let url =
            url::Url::parse(address).with_context(|| format!("public.address `{address}` is not a URL"))?;
        if url.scheme() != "https" || url.path() != "/" || address.ends_with('/') || url.query().is_some() {
            bail!(
                "public.address must be `https://host` or `https://host:port`, without path or trailing slash"
            );
        }
        let authority = address.trim_start_matches("https://");
        let did = &self.participant.did;
        // In a closed test network with tokens, the DID is that of the plain address.
        let plain = self.closed_test_network.as_ref().filter(|closed| closed.identity == ClosedIdentity::Dcp);
        let authority = plain.map_or(authority, |closed| closed.address.trim_start_matches("http://"));
        let expected = trust::did::web(authority);
        if *did != expected && !did.starts_with("did:key:") {
            bail!("participant.did is `{did}`, but the DID of {address} is `{expected}`");
        }
        let mutual = self.management.tls.as_ref().is_some_and(|tls| !tls.client_roots.is_empty());
        if !self.management.listen.ip().is_loopback() && !mutual {
            bail!(
                "management.listen must be a loopback address unless management.tls.client_roots makes callers show a \
                 certificate: whoever reaches it and has the key acts for you"
            );
        }
        if self.participant.trial {
            self.check_trial()?;
        }
        let mut ids = BTreeSet::new();
        let of_peers = self.peers.iter().map(|(did, peer)| (format!("peers.\"{did}\".id"), &peer.id));
        for (key, id) in of_peers.chain([("participant.id".to_owned(), &self.participant.id)]) {
            let Some(id) = id else { continue };
            let is_plain =
                !id.is_empty() && id.len() <= MAX_PARTICIPANT_ID && id.chars().all(|c| c.is_ascii_graphic());
            if !is_plain || id.starts_with("did:") {
                bail!(
                    "{key}: `{id}` is no id of a participant: up to {MAX_PARTICIPANT_ID} printable ASCII characters, and no DID, \
                     which needs no such line"
                );
            }
            if !ids.insert(id) {
                bail!("{key}: `{id}` is the id of another participant too");
            }
        }
        for (did, peer) in &self.peers {
            if trust::did::document_url(did).is_err() {
                bail!("[peers]: `{did}` is no DID that this node can find");
            }
            if peer.signatures == Some(Signatures::None) {
                bail!("peers.\"{did}\".signatures must be \"required\" or \"accept-peer-token\"");
            }
        }
        match &self.closed_test_network {
            None if self.agreements.signatures == Signatures::None => {
                bail!("agreements.signatures = \"none\" goes only with [closed_test_network]");
            }
            Some(closed) if !closed.listen.ip().is_loopback() || !self.public.listen.ip().is_loopback() => {
                bail!(
                    "[closed_test_network] replaces tokens by fixed headers, so closed_test_network.listen and \
                 public.listen must both be loopback addresses"
                )
            }
            Some(closed) if !closed.address.starts_with("http://") || closed.address.ends_with('/') => {
                bail!("closed_test_network.address must be `http://host:port`, without trailing slash");
            }
            _ => {}
        }
        if self
            .authority
            .as_ref()
            .is_some_and(|authority| authority.types.is_empty() || authority.valid_days == 0)
        {
            bail!("[authority] needs at least one type, and valid_days of at least 1");
        }
        if self.authority.as_ref().is_some_and(|one| !(30..=300).contains(&one.status_list_seconds)) {
            bail!("authority.status_list_seconds must be 30 to 300");
        }
        if self.federation.interval_minutes == 0 {
            bail!("federation.interval_minutes must be at least 1");
        }
        if let Some(wrong) = self.federation.peers.iter().find(|did| trust::did::document_url(did).is_err()) {
            bail!("federation.peers: `{wrong}` is no DID that this node can find");
        }
        if self.delivery.attempt_seconds == 0 || self.delivery.give_up_after_seconds == 0 {
            bail!("delivery.attempt_seconds and delivery.give_up_after_seconds must be at least 1");
        }
        if let Some(wrong) = self.personal.operators.iter().find(|did| trust::did::document_url(did).is_err())
        {
            bail!("personal.operators: `{wrong}` is no DID that this node can find");
        }
        self.limits.check()?;
        let personal = &self.personal;
        if personal.release_window_minutes == 0 || personal.most_groups == 0 || personal.most_members == 0 {
            bail!("personal.release_window_minutes, most_groups and most_members must be at least 1");
        }
        if !(2..=1000).contains(&personal.most_answers)
            || !(64..=65_536).contains(&personal.largest_group_kilobytes)
        {
            bail!("personal.most_answers must be 2 to 1000, personal.largest_group_kilobytes 64 to 65536");
        }
        self.mim4.check()
    }

    /// A trial's certificate and networks are for one machine: nothing of it may face others.
    fn check_trial(&self) -> anyhow::Result<()> {
        let listens = [Some(self.public.listen), Some(self.management.listen), self.gateway.listen];
        let is_here = listens.iter().flatten().all(|listen| listen.ip().is_loopback());
        if !is_here || host_of(&self.public.address)? != "localhost" {
            bail!(
                "participant.trial: a trial node is for this machine only, so that it listens on loopback addresses and \
                 public.address begins with `https://localhost`; for others make a node with `concordat init --address https://...`"
            );
        }
        Ok(())
    }

    /// A path of the configuration, made absolute.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// The base address of the Dataspace Protocol's endpoints.
    #[must_use]
    pub fn dsp_address(&self) -> String {
        format!("{}{}", self.reached_at(), crate::http::DSP_PATH)
    }

    /// Address of the management API, for the command line.
    #[must_use]
    pub fn management_address(&self) -> String {
        match &self.management.tls {
            None => format!("http://{}", self.management.listen),
            Some(tls) => format!("https://{}:{}", tls.name, self.management.listen.port()),
        }
    }

    /// Under which address this node tells others to reach it.
    #[must_use]
    pub fn reached_at(&self) -> &str {
        self.closed_test_network.as_ref().map_or(&self.public.address, |closed| &closed.address)
    }
}

/// Why there is no configuration to be had, and what to do.
fn unread(path: &Path, folder: &Path, error: &std::io::Error) -> anyhow::Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => anyhow::anyhow!(
            "there is no node in {}: name its folder with --dir or CONCORDAT_DIR, or make one with `concordat init`",
            folder.display()
        ),
        std::io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "{} may not be read by this user: run the command as the user of the node, or ask the node with --node URL and \
             --key FILE",
            path.display()
        ),
        _ => anyhow::anyhow!("reading {}: {error}", path.display()),
    }
}

/// Adds the nearest known key to serde's message about an unknown one.
fn with_nearest(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if let Some(unknown) = message.contains("unknown field").then(|| quoted.next()).flatten() {
        let known = message.rsplit("expected").next().unwrap_or_default().split('`').skip(1).step_by(2);
        let nearest = known.map(|known| (strsim::damerau_levenshtein(unknown, known), known)).min();
        if let Some((distance, nearest)) = nearest
            && distance <= 4
        {
            return format!("{}\ndid you mean `{nearest}`?", message.trim_end());
        }
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [participant]
        name = "Antwerp"
        did = "did:web:localhost%3A8443"
        key = "k"
        [public]
        listen = "127.0.0.1:8443"
        address = "https://localhost:8443"
        [tls]
        certificate = "c"
        key = "k"
        [management]
        listen = "127.0.0.1:8444"
        key = "k"
    "#;

    fn refused(change: &str, to: &str) -> String {
        format!("{:#}", Config::parse(&GOOD.replace(change, to)).unwrap_err())
    }

    #[test]
    fn defaults_are_the_safe_ones() {
        let config = Config::parse(GOOD).unwrap();
        assert_eq!(config.agreements.signatures, Signatures::Required);
        assert!(config.network.allow.is_empty());
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_known_one() {
        let error = refused("listen = \"127.0.0.1:8443\"", "lisen = \"127.0.0.1:8443\"");
        assert!(
            error.contains("unknown field `lisen`") && error.contains("did you mean `listen`?"),
            "{error}"
        );
        let error = refused("[tls]", "[agreement]\nsignatures = \"required\"\n[tls]");
        assert!(error.contains("did you mean `agreements`?"), "{error}");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        assert!(
            refused("https://localhost:8443", "http://localhost:8443").contains("must be `https://host`")
        );
        assert!(
            refused("localhost%3A8443", "elsewhere.example").contains("the DID of https://localhost:8443 is")
        );
        let trial = "key = \"k\"\n        trial = true\n        [public]";
        let trial = GOOD.replacen("key = \"k\"\n        [public]", trial, 1);
        assert!(Config::parse(&trial).unwrap().participant.trial);
        for (from, to) in [("127.0.0.1:8443", "0.0.0.0:8443"), ("localhost", "data.city.example")] {
            let error = format!("{:#}", Config::parse(&trial.replace(from, to)).unwrap_err());
            assert!(error.contains("a trial node is for this machine only"), "{error}");
        }
        assert!(
            refused("127.0.0.1:8444", "0.0.0.0:8444")
                .contains("management.listen must be a loopback address")
        );
        let closed = "[closed_test_network]\nlisten = \"127.0.0.1:1\"\naddress = \"http://localhost:1\"\n\
                      authorization = \"a\"\nparticipants = []\n[tls]";
        assert!(Config::parse(&GOOD.replace("[tls]", closed)).is_ok());
        let public =
            GOOD.replace("[tls]", closed).replace("listen = \"127.0.0.1:8443\"", "listen = \"0.0.0.0:8443\"");
        let error = format!("{:#}", Config::parse(&public).unwrap_err());
        assert!(error.contains("must both be loopback addresses"), "{error}");
        let error = refused("[tls]", "[agreements]\nsignatures = \"none\"\n[tls]");
        assert!(error.contains("only with [closed_test_network]"), "{error}");
    }

    #[test]
    fn operators_that_could_never_count_are_refused() {
        for (set, said) in [
            ("[personal]\noperators = [\"the city's\"]", "is no DID that this node can find"),
            ("[personal]\nrelease_window_minutes = 0", "must be at least 1"),
            ("[personal]\nmost_answers = 1", "must be 2 to 1000"),
            ("[personal]\nlargest_group_kilobytes = 1", "64 to 65536"),
            ("[limits]\nconnections = 0", "must be at least 1"),
            ("[limits]\nidle_seconds = 4", "must be more than 4"),
            ("[mim4]\nconnector_uuid = \"7\"", "is no UUID of version 4"),
            ("[mim4]\nconnector_uuid = \"018f4c2e-0000-7000-8000-000000000000\"", "is no UUID of version 4"),
            (
                "[mim4]\noperators = [\"http://operator.example\"]",
                "must be an address that begins with https://",
            ),
            (
                "[mim4]\ntrust_groups = [{ address = \"group.example\", key = {} }]",
                "must be an address that begins",
            ),
            (
                "[mim4]\ntrust_groups = [{ address = \"https://group.example\", key = { kty = \"RSA\" } }]",
                "the key of https",
            ),
        ] {
            let error = refused("[tls]", &format!("{set}\n[tls]"));
            assert!(error.contains(said), "{set}: {error}");
        }
        let key = "{ kty = \"OKP\", crv = \"Ed25519\", x = \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\" }";
        let good = format!(
            "[personal]\noperators = [\"did:web:operator.example\"]\n[mim4]\n\
             connector_uuid = \"9f1c1b6a-7f0e-4c57-9c55-0a7b0c6b2b11\"\noperators = [\"https://operator.example\"]\n\
             trust_groups = [{{ address = \"https://group.example\", key = {key} }}]\n[tls]"
        );
        Config::parse(&GOOD.replace("[tls]", &good)).unwrap();
    }
}
