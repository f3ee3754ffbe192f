//! Nodes as separate processes on this machine, for the demo and the benchmark.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::api::Api;
use super::target::TargetNode;
use super::{authority, init};
use crate::config::{self, Config};
use crate::ids;
use crate::network;
use crate::sources::{Named, Purpose};

/// Longest start of a node.
const START: Duration = Duration::from_secs(20);
/// Longest stop of a node.
const STOP: Duration = Duration::from_secs(10);

/// A folder with an authority and nodes; removed when dropped, unless kept.
#[derive(Debug)]
pub(super) struct Testbed {
    folder: PathBuf,
    keep: bool,
}

/// A measurement begins more in a minute than a participant usually may.
fn as_fast_as_it_can(dir: &Path) -> anyhow::Result<()> {
    let file = dir.join(config::FILE);
    let usual = format!("messages_per_minute = {}", config::Bounds::default().messages_per_minute);
    let text = std::fs::read_to_string(&file)?;
    anyhow::ensure!(text.contains(&usual), "{} does not say `{usual}`", file.display());
    Ok(std::fs::write(&file, text.replacen(&usual, "messages_per_minute = 4000000000", 1))?)
}

impl Testbed {
    /// A fresh folder below the system's temporary one.
    pub(super) fn new(purpose: &str, keep: bool) -> anyhow::Result<Self> {
        let name = format!("concordat-{purpose}-{}", ids::secret(6)?);
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Self { folder, keep })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes and starts a node called `name`.
    pub(super) async fn node(&self, name: &str) -> anyhow::Result<TestNode> {
        self.made(name, |_| Ok(())).await
    }

    /// Makes and starts the authority of the data space `space`.
    pub(super) async fn authority(&self, name: &str, space: &str) -> anyhow::Result<TestNode> {
        let wanted = authority::Init::of(space);
        self.made(name, |dir| authority::init(dir, &wanted).map(|_| ())).await
    }

    /// Makes and starts a node called `name` whose page a key in the address opens, so that one line leads there.
    pub(super) async fn viewer(&self, name: &str) -> anyhow::Result<TestNode> {
        self.made(name, |dir| {
            let mut config = Config::load(dir)?;
            config.gateway.key_in_address = true;
            let text = toml::to_string(&config).context("writing a configuration")?;
            std::fs::write(dir.join(config::FILE), text).context("writing a configuration")
        })
        .await
    }

    /// Makes and starts a node called `name` that reads the catalog of `peer`.
    pub(super) async fn reader(&self, name: &str, peer: &TestNode) -> anyhow::Result<TestNode> {
        self.made(name, |dir| {
            let mut config = Config::load(dir)?;
            config.federation.peers.push(peer.did.clone());
            let text = toml::to_string(&config).context("writing a configuration")?;
            std::fs::write(dir.join(config::FILE), text).context("writing a configuration")
        })
        .await
    }

    /// Makes and starts a node called `name`, for which the word of the personal data operator `operator` counts.
    pub(super) async fn holder(&self, name: &str, operator: &str) -> anyhow::Result<TestNode> {
        self.made(name, |dir| {
            let mut config = Config::load(dir)?;
            config.personal.operators.push(operator.to_owned());
            let text = toml::to_string(&config).context("writing a configuration")?;
            std::fs::write(dir.join(config::FILE), text).context("writing a configuration")
        })
        .await
    }

    /// Makes a node, lets `prepare` change its folder, and starts it.
    async fn made(
        &self,
        name: &str,
        prepare: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<TestNode> {
        let dir = self.folder.join(name.to_lowercase());
        let (public, management) = (free_port()?, free_port()?);
        let loopback: [IpNet; 2] = ["127.0.0.0/8".parse()?, "::1/128".parse()?];
        let config = init::create(
            &dir,
            &init::Arguments {
                name: name.to_owned(),
                address: format!("https://localhost:{}", public.port()),
                listen: public,
                management,
                key_type: init::KeyType::Ed25519,
                certificate: None,
                certificate_key: None,
                authority: Some(self.folder.join("authority")),
                trust: Vec::new(),
                allow_network: loopback.to_vec(),
                store: init::Engine::Sled,
                trial: false,
            },
        )?;
        // Benchmarks and demos share files of the testbed's own folder; what of it is a node's own stays closed.
        let named = Named { path: self.folder.clone(), purpose: Purpose::Data };
        crate::sources::write_allowed(&config, &[named], "Files of this testbed")?;
        as_fast_as_it_can(&dir)?;
        prepare(&dir)?;
        let child = spawn(&dir).await?;
        let api = Api::open(&TargetNode::here(&dir))?;
        Ok(TestNode {
            name: name.to_owned(),
            dir,
            did: config.participant.did,
            address: config.public.address,
            api,
            child,
        })
    }

    /// A client that trusts the testbed's authority, as any stranger on this machine could be.
    pub(super) fn stranger(&self) -> anyhow::Result<reqwest::Client> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in crate::tls::certificates(&self.folder.join("authority/authority.pem"))? {
            roots.add(certificate)?;
        }
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(network::upstream_client(tls)?)
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is left to the system's own cleaning.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A node that runs.
#[derive(Debug)]
pub(super) struct TestNode {
    pub name: String,
    pub dir: PathBuf,
    pub did: String,
    pub address: String,
    pub api: Api,
    child: Child,
}

impl TestNode {
    /// A file of this node that it may share.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub(super) fn data(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.dir.join("data");
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(folder.join(name))
    }

    pub(super) fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it as an operator would: its standard input closes, it finishes what runs.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status = tokio::time::timeout(STOP, self.child.wait()).await;
        match status {
            Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(()),
            Ok(status) => bail!("the node {} ended with {status:?}", self.name),
            Err(_) => {
                self.child.kill().await.context("ending a node")?;
                bail!("the node {} did not stop within {} s", self.name, STOP.as_secs())
            }
        }
    }
}

/// Starts the node in `dir` and waits until it says that it is ready.
pub(super) async fn spawn(dir: &Path) -> anyhow::Result<Child> {
    let log = std::fs::File::create(dir.join("node.log")).context("creating a log file")?;
    let mut child = Command::new(std::env::current_exe().context("finding this program")?)
        .arg("--dir")
        .arg(dir)
        .args(["--json", "serve", "--until-stdin-closes"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("starting a node")?;
    let stdout = child.stdout.take().context("a node without output")?;
    let mut lines = BufReader::new(stdout).lines();
    let first = tokio::time::timeout(START, lines.next_line()).await;
    match first {
        Ok(Ok(Some(_))) => Ok(child),
        _ => {
            let log = std::fs::read_to_string(dir.join("node.log")).unwrap_or_default();
            bail!("the node in {} did not start: {}", dir.display(), log.trim())
        }
    }
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    listener.local_addr().context("looking for a free port")
}
