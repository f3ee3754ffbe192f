//! The node that a command is for: one in a folder of this machine, or one whose management API is reached at an address.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use policy_engine::Hierarchy;
use reqwest::redirect::Policy;
use url::Url;

use super::{Exit, Failed};
use crate::config::Config;
use crate::node::known_terms;
use crate::secrets;

/// Which node a command is for, as the options that stand before or behind every command say it.
#[derive(Debug, Clone, Args)]
pub(super) struct TargetNode {
    /// The node's folder.
    #[arg(
        id = "dir",
        long,
        short = 'd',
        global = true,
        env = "CONCORDAT_DIR",
        default_value = ".",
        value_name = "FOLDER"
    )]
    folder: PathBuf,
    /// The address of a node's management API, in place of its folder: `https://...`, or `http://` on this machine. Needs --key.
    #[arg(id = "node", long, global = true, env = "CONCORDAT_NODE", value_name = "URL")]
    address: Option<String>,
    /// A file (mode 0600) with a key of the management API, in place of the node's own: one of `concordat keys create`.
    #[arg(id = "node_key", long = "key", global = true, env = "CONCORDAT_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// A file with the certificate authority of a node reached with --node, beside those that this machine trusts.
    #[arg(long, global = true, requires = "node", env = "CONCORDAT_NODE_CA", value_name = "FILE")]
    node_ca: Option<PathBuf>,
}

/// How the management API is reached.
pub(super) struct Access {
    /// The client, with what it trusts.
    pub client: reqwest::Client,
    /// The address, without a slash at its end.
    pub base: String,
    /// The key that is shown.
    pub key: String,
    /// The file that it stands in.
    pub key_file: PathBuf,
}

impl TargetNode {
    /// The node in `folder`.
    pub(super) fn here(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), address: None, key: None, node_ca: None }
    }

    /// Whether the node is one in a folder of this machine.
    pub(super) const fn is_here(&self) -> bool {
        self.address.is_none()
    }

    /// The node's folder, for commands that work with its files.
    ///
    /// # Errors
    /// The node is elsewhere.
    pub(super) fn folder(&self) -> anyhow::Result<&Path> {
        match &self.address {
            None => Ok(&self.folder),
            Some(address) => {
                let text = format!(
                    "this needs the files of the node, which is reached at {address}: run it on the machine of the node, \
                     with --dir FOLDER and without --node (CONCORDAT_NODE)"
                );
                bail!(Failed::new(Exit::Usage, text))
            }
        }
    }

    /// The node's configuration; `None` where the node is elsewhere.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn config(&self) -> anyhow::Result<Option<Config>> {
        if self.is_here() { Config::load(&self.folder).map(Some) } else { Ok(None) }
    }

    /// The terms that the node knows; those that every node is shipped with, where the node is elsewhere.
    ///
    /// # Errors
    /// Its configuration, or a file of terms, cannot be read.
    pub(super) fn known(&self) -> anyhow::Result<Hierarchy> {
        self.config()?.map_or_else(|| Ok(Hierarchy::shipped()), |config| known_terms(&config))
    }

    /// How its management API is reached.
    ///
    /// # Errors
    /// There is no node in the folder, no key, or the address cannot be used.
    pub(super) fn access(&self) -> anyhow::Result<Access> {
        match &self.address {
            None => self.access_here(),
            Some(address) => self.access_at(address),
        }
    }

    fn access_here(&self) -> anyhow::Result<Access> {
        let config = Config::load(&self.folder)?;
        let key = self.key.clone().unwrap_or_else(|| config.path(&config.management.key));
        let mut client = reqwest::Client::builder().redirect(Policy::none()).no_proxy().tcp_nodelay(true);
        if let (Some(tls), Some(named)) = (crate::tls::operator(&config)?, &config.management.tls) {
            let listen = config.management.listen;
            let here = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
            client = client.tls_backend_preconfigured(tls);
            client = client.resolve(&named.name, SocketAddr::new(here, listen.port()));
        }
        let (client, base) = (client.build()?, config.management_address());
        Ok(Access { client, base, key: read_key(&key)?, key_file: key })
    }

    fn access_at(&self, address: &str) -> anyhow::Result<Access> {
        let unusable = |reason: &str| {
            Failed::new(Exit::Usage, format!("--node (CONCORDAT_NODE): `{address}` cannot be used: {reason}"))
        };
        let url = Url::parse(address).map_err(|error| unusable(&error.to_string()))?;
        let is_here = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        match url.scheme() {
            "https" => {}
            "http" if is_here => {}
            "http" => bail!(unusable(
                "the key would go over the network in clear text; use https ([management.tls]), or a tunnel to this machine"
            )),
            _ => bail!(unusable("it begins with neither https:// nor http://")),
        }
        let has_more = url.query().is_some() || url.fragment().is_some();
        let names_somebody = !url.username().is_empty() || url.password().is_some();
        if names_somebody {
            // What stands there may be a secret.
            bail!(Failed::new(
                Exit::Usage,
                "--node (CONCORDAT_NODE): give no name or password in it; --key FILE has the key"
            ));
        }
        if url.path() != "/" || has_more {
            bail!(unusable("give scheme, name and port alone, such as https://node.example:8444"));
        }
        let Some(key) = &self.key else {
            let text = format!(
                "a key is needed for {address}: --key FILE (CONCORDAT_KEY), with a key that `concordat keys create NAME` \
                 printed at the node"
            );
            bail!(Failed::new(Exit::Usage, text));
        };
        let tls =
            crate::tls::looking(None, self.node_ca.as_deref()).context("--node-ca (CONCORDAT_NODE_CA)")?;
        // The key goes to that address and to no other.
        let client = reqwest::Client::builder().redirect(Policy::none()).tcp_nodelay(true);
        let client = if is_here { client.no_proxy() } else { client };
        let client = client.tls_backend_preconfigured(tls).build()?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Access { client, base, key: read_key(key)?, key_file: key.clone() })
    }
}

fn read_key(file: &Path) -> anyhow::Result<String> {
    Ok(secrets::read(file)?.trim().to_owned())
}
