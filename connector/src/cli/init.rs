//! `concordat init`: a folder that `concordat serve` can run.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use serde_json::json;
use trust::{Algorithm, PrivateKey};

use super::output::{Output, fields};
use super::{Exit, certificates, trial};
use crate::certificate::Certificate;
use crate::config::{
    Agreements, Config, Delivery, FILE, Federation, Log, Management, Network, Participant, Public, Store,
    StoreEngine, Tls,
};
use crate::{clock, config, ids, secrets, tls};

/// What a node is called that was given no name.
const NAME: &str = "Trial node";

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// A node for trials on this machine: on free ports, with a certificate that this user's other trial nodes trust, and
    /// able to meet them.
    #[arg(
        long,
        conflicts_with_all = ["address", "listen", "management", "certificate", "authority", "trust", "allow_network"]
    )]
    pub trial: bool,
    /// The organisation, for people.
    #[arg(long, default_value = NAME)]
    pub name: String,
    /// Under which address others reach this node: `https://host` or `https://host:port`.
    #[arg(long, default_value = "https://localhost:8443", value_name = "URL")]
    pub address: String,
    /// Where to listen for others.
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Where to listen for this command line; loopback only.
    #[arg(long, default_value = "127.0.0.1:8444", value_name = "ADDRESS:PORT")]
    pub management: SocketAddr,
    /// Kind of the participant's key.
    #[arg(long, value_enum, default_value = "ed25519")]
    pub key_type: KeyType,
    /// Certificate of the address (PEM chain), with --certificate-key. Without it a trial certificate is made.
    #[arg(long, requires = "certificate_key", value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, requires = "certificate", value_name = "FILE")]
    pub certificate_key: Option<PathBuf>,
    /// Folder of a trial authority that issues the certificate; made where it is missing.
    #[arg(long, conflicts_with = "certificate", value_name = "FOLDER")]
    pub authority: Option<PathBuf>,
    /// A further authority to trust (PEM); may be repeated.
    #[arg(long, value_name = "FILE")]
    pub trust: Vec<PathBuf>,
    /// A network that peers may be in although it is not public, such as 127.0.0.0/8; may be repeated.
    #[arg(long, value_name = "NETWORK")]
    pub allow_network: Vec<IpNet>,
    /// The index behind the journal.
    #[arg(long, value_enum, default_value = "sled")]
    pub store: Engine,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum KeyType {
    Ed25519,
    P256,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Engine {
    Sled,
    Redb,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            trial: false,
            name: NAME.to_owned(),
            address: "https://localhost:8443".to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8443)),
            management: SocketAddr::from((Ipv4Addr::LOCALHOST, 8444)),
            key_type: KeyType::Ed25519,
            certificate: None,
            certificate_key: None,
            authority: None,
            trust: Vec::new(),
            allow_network: Vec::new(),
            store: Engine::Sled,
        }
    }
}

pub(super) fn run(dir: &Path, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let config = if arguments.trial {
        let name = Some(arguments.name.as_str()).filter(|name| *name != NAME);
        trial::create(dir, name, arguments)?
    } else {
        create(dir, arguments)?
    };
    let shown = json!({
        "folder": dir, "did": config.participant.did, "address": config.public.address, "trial": config.participant.trial,
        "management": config.management_address(),
    });
    output.result(&shown, || {
        let lines = fields(&[
            ("node", config.participant.name.clone()),
            ("folder", dir.display().to_string()),
            ("DID", config.participant.did.clone()),
            ("address", config.public.address.clone()),
            ("management", config.management_address()),
        ]);
        let certificate = dir.join(&config.tls.certificate);
        let trial = if config.participant.trial {
            "\nThis is a trial node: for this machine only, trusted by your other trial nodes and by nobody else.".to_owned()
        } else if arguments.certificate.is_none() && arguments.authority.is_none() {
            format!(
                "\nThe certificate is a trial one that vouches for itself: peers need {} under `tls.roots`. To try several \
                 nodes on this machine, make each with `concordat init --trial`.",
                certificate.display()
            )
        } else {
            String::new()
        };
        format!("{lines}{trial}\nnext: concordat --dir {} serve", dir.display())
    });
    Ok(Exit::Success)
}

/// Makes the folder.
pub(super) fn create(dir: &Path, arguments: &Arguments) -> anyhow::Result<Config> {
    if dir.join(FILE).exists() {
        bail!("there is a node in {} already", dir.display());
    }
    let address = arguments.address.trim_end_matches('/').to_owned();
    let authority = address.strip_prefix("https://").unwrap_or_default().to_owned();
    let host = config::host_of(&address).context("--address")?;
    let mut roots = arguments.trust.clone();
    let (certificate, key) = match (&arguments.certificate, &arguments.certificate_key, &arguments.authority)
    {
        (Some(certificate), Some(key), _) => given(certificate, key, &host)?,
        (_, _, Some(folder)) => {
            // That of trial nodes is there already, and is for this machine only.
            roots.push(certificates::ensure(folder, certificates::Hosts::All)?);
            certificates::issue(folder, &host)?
        }
        _ => certificates::self_signed(&host)?,
    };
    let roots = roots
        .iter()
        .map(|path| path.canonicalize().with_context(|| format!("finding {}", path.display())))
        .collect::<Result<Vec<_>, _>>()?;
    let config = Config {
        participant: Participant {
            id: None,
            name: arguments.name.clone(),
            did: trust::did::web(&authority),
            key: "keys/participant.jwk".into(),
            trial: arguments.trial,
        },
        public: Public { listen: arguments.listen, address, client_roots: Vec::new(), proxies: Vec::new() },
        tls: Tls {
            certificate: "tls/certificate.pem".into(),
            key: "tls/key.pem".into(),
            roots,
            system_roots: true,
        },
        management: Management {
            listen: arguments.management,
            key: "keys/management.key".into(),
            tls: None,
            callbacks: Vec::new(),
        },
        store: Store {
            engine: match arguments.store {
                Engine::Sled => StoreEngine::Sled,
                Engine::Redb => StoreEngine::Redb,
            },
            ..Store::default()
        },
        network: Network { allow: arguments.allow_network.clone() },
        agreements: Agreements::default(),
        policy: config::Policy::default(),
        credentials: config::Credentials::default(),
        authority: None,
        personal: config::PersonalData::default(),
        mim4: config::Mim4::default(),
        federation: Federation::default(),
        limits: config::Bounds::default(),
        interoperability: config::Interoperability::default(),
        peers: std::collections::BTreeMap::new(),
        gateway: config::Gateway::default(),
        delivery: Delivery::default(),
        sources: config::SourceSettings::default(),
        log: Log::default(),
        closed_test_network: None,
        folder: dir.to_owned(),
    };
    let text = toml::to_string_pretty(&config).context("writing the configuration")?;
    // What would not load is not written.
    Config::parse(&text)?;
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    restrict(dir)?;
    let participant = PrivateKey::generate(match arguments.key_type {
        KeyType::Ed25519 => Algorithm::Ed25519,
        KeyType::P256 => Algorithm::P256,
    })?;
    for folder in config.sources.folders.iter().chain(&config.sources.secrets) {
        let folder = dir.join(folder);
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    secrets::create(&dir.join(&config.participant.key), &participant.private_jwk().to_string())?;
    secrets::create(&dir.join(&config.management.key), &ids::secret(32)?)?;
    secrets::create(&dir.join("keys/stream.key"), &ids::secret(32)?)?;
    secrets::create(&dir.join(&config.tls.key), &key)?;
    std::fs::write(dir.join(&config.tls.certificate), certificate).context("writing the certificate")?;
    std::fs::write(dir.join(FILE), format!("# Every key is explained in docs/configuration.md.\n{text}"))
        .context("writing the configuration")?;
    Ok(config)
}

/// A certificate and its key as they were given: such as a client takes that dials `host`.
fn given(certificate: &Path, key: &Path, host: &str) -> anyhow::Result<(String, String)> {
    let read =
        |path: &Path| std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    let advice = "give a certificate of the host of --address that is good now, or leave out --certificate for a trial one";
    let parsed = Certificate::read(certificate)?;
    parsed
        .check(host, clock::now())
        .with_context(|| format!("{} cannot serve ({advice})", certificate.display()))?;
    tls::check_pair(certificate, key)?;
    Ok((read(certificate)?, read(key)?))
}

/// Only the owner looks into a node's folder: agreements and stream tokens are in its store.
fn restrict(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("restricting {}", dir.display()))
}
