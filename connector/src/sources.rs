//! From an asset's data address to a source of the data plane.

mod address;
mod allowed;
mod options;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use dataplane::live::Hubs;
use dataplane::{
    FileSource, FolderSource, HttpAllowed, HttpSource, MqttBroker, MqttSource, NatsConnections, NatsServer,
    NatsSource, NgsiQuery, NgsiSource, Notifications, ObjectClient, ObjectSource, Parameter, PostgresPools,
    PostgresSource, Source, SourceError, TailSource, Watches, media_type_of,
};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use self::address::{Address, Start};
pub(crate) use self::allowed::{
    Allowed, Named, Purpose, allow, allow_existing, disallow, line, named, write as write_allowed,
};
use crate::config::Config;
use crate::ids;

/// Path below the public address where a context broker notifies this node.
pub const NOTIFY_PATH: &str = "/ngsi-ld/notify";

/// Everything that sources share: clients, connections, what is awaited.
#[derive(Debug)]
pub struct Sources {
    upstream: reqwest::Client,
    tls: rustls::ClientConfig,
    hubs: Hubs,
    nats: NatsConnections,
    notifications: Notifications,
    watches: Watches,
    /// Connections of each database, by a digest of how it is reached.
    databases: PostgresPools,
    /// Where others reach this node; no trailing slash.
    public_address: String,
    allowed: Allowed,
}

impl Sources {
    /// Sources of the node of `config` that are reached with `upstream` and `tls`.
    #[must_use]
    pub fn new(upstream: reqwest::Client, tls: rustls::ClientConfig, config: &Config) -> Self {
        Self {
            upstream,
            tls,
            hubs: Hubs::default(),
            nats: NatsConnections::default(),
            notifications: Notifications::default(),
            watches: Watches::default(),
            databases: PostgresPools::new(
                usize::try_from(config.limits.database_connections).unwrap_or(usize::MAX),
            ),
            public_address: config.reached_at().to_owned(),
            allowed: Allowed::new(config),
        }
    }

    /// What context brokers tell.
    #[must_use]
    pub const fn notifications(&self) -> &Notifications {
        &self.notifications
    }

    /// Opens a data address.
    ///
    /// # Errors
    /// It cannot be used; says which part.
    pub fn open(
        &self,
        address: &Map<String, Json>,
        media_type: Option<&str>,
    ) -> anyhow::Result<Box<dyn Source>> {
        let wrong = |error: SourceError| anyhow::anyhow!("{error}");
        Ok(match Address::parse(address)? {
            Address::File { path, .. } => {
                let media_type = media_type.unwrap_or_else(|| media_type_of(&path)).to_owned();
                Box::new(FileSource::new(path, media_type, self.allowed.places()))
            }
            Address::Folder { path, pattern, .. } => {
                Box::new(FolderSource::new(path, &pattern, self.allowed.places()).map_err(wrong)?)
            }
            Address::Tail { path, pattern, from, .. } => {
                let from_start = from == Start::Beginning;
                let (watches, places) = (self.watches.clone(), self.allowed.places());
                Box::new(TailSource::new(path, &pattern, from_start, watches, places).map_err(wrong)?)
            }
            Address::HttpData {
                base_url, auth_key, secret_file, paths, query_parameters, methods, ..
            } => {
                let credentials = self.credentials(auth_key, secret_file.as_deref())?;
                let allowed = HttpAllowed::new(&paths, query_parameters, &methods).map_err(wrong)?;
                Box::new(HttpSource::new(self.upstream.clone(), base_url, credentials, allowed))
            }
            Address::NgsiLd {
                base_url,
                entity_type,
                q,
                attributes,
                context,
                tenant,
                temporal,
                query_parameters,
                notify_at,
                auth_key,
                secret_file,
                ..
            } => {
                let notify_at = notify_at.unwrap_or_else(|| self.public_address.clone());
                let query = NgsiQuery {
                    broker: base_url,
                    entity_type,
                    q,
                    attributes,
                    context,
                    tenant,
                    temporal,
                    parameters: query_parameters,
                    notify_at: format!("{}{NOTIFY_PATH}", notify_at.trim_end_matches('/')),
                };
                let credentials = self.credentials(auth_key, secret_file.as_deref())?;
                let (hubs, notifications) = (self.hubs.clone(), self.notifications.clone());
                Box::new(NgsiSource::new(self.upstream.clone(), query, credentials, hubs, notifications))
            }
            Address::PostgreSql { secret_file, query, parameters, form, timeout_seconds, .. } => {
                let connection = self.allowed.secret(&secret_file)?;
                let parameters = parameters.into_iter().map(|one| Parameter {
                    name: one.name,
                    kind: one.kind.into(),
                    default: one.default,
                });
                let longest = Duration::from_secs(timeout_seconds.into());
                let tls = self.tls.clone();
                Box::new(
                    PostgresSource::new(
                        &connection,
                        tls,
                        query,
                        parameters.collect(),
                        form.into(),
                        longest,
                        self.databases.of(&ids::hex(&Sha256::digest(connection.as_bytes()))),
                    )
                    .map_err(wrong)?,
                )
            }
            Address::ObjectStore { url, options, secret_file, .. } => {
                let client = ObjectClient::new(Arc::new(self.upstream.clone()));
                let secret = secret_file.map(|file| self.store_options(&file)).transpose()?;
                let options = options::combined(&url, options, secret.unwrap_or_default())?;
                let media_type = media_type.map(str::to_owned);
                Box::new(ObjectSource::new(&url, options, client, media_type).map_err(wrong)?)
            }
            Address::Mqtt { url, topic, with_topic, secret_file, .. } => {
                let is_tls = url.scheme() == "mqtts";
                let broker = MqttBroker {
                    address: (
                        url.host_str().unwrap_or_default().to_owned(),
                        url.port().unwrap_or(if is_tls { 8883 } else { 1883 }),
                    ),
                    tls: is_tls.then(|| self.tls.clone().into()),
                    login: self
                        .login(secret_file.as_deref())?
                        .map(|text| {
                            let parts = text.split_once(':').context("the secret is not `name:password`")?;
                            anyhow::Ok((parts.0.to_owned(), parts.1.to_owned()))
                        })
                        .transpose()?,
                };
                Box::new(MqttSource::new(broker, &topic, with_topic, self.hubs.clone()).map_err(wrong)?)
            }
            Address::Nats { url, subject, stream, from, secret_file, .. } => {
                let login = self.login(secret_file.as_deref())?;
                let server = NatsServer { url: url.to_string(), tls: self.tls.clone(), login };
                let from_start = from == Start::Beginning;
                let (connections, hubs) = (self.nats.clone(), self.hubs.clone());
                Box::new(
                    NatsSource::new(server, subject, stream, from_start, connections, hubs).map_err(wrong)?,
                )
            }
        })
    }

    /// Checks a data address when an asset is made, so that a mistake shows at once and not at the first read.
    ///
    /// # Errors
    /// As [`Sources::open`]; a file that is not there or not absolute.
    pub fn check(&self, address: &Map<String, Json>) -> anyhow::Result<()> {
        if address.is_empty() {
            return Ok(());
        }
        for one in &named(address)? {
            self.allowed.check(one)?;
        }
        match Address::parse(address)? {
            Address::File { path, .. } if meta(&path)?.is_dir() => bail!(
                "dataAddress.path `{}` is a folder; share its files with the type `Folder`",
                path.display()
            ),
            Address::Folder { path, .. } | Address::Tail { path, .. } if !meta(&path)?.is_dir() => {
                bail!("dataAddress.path `{}` is no folder", path.display())
            }
            _ => {}
        }
        self.open(address, None).map(|_| ())
    }

    /// The header that carries credentials, and its value out of a file.
    fn credentials(
        &self,
        name: Option<String>,
        file: Option<&Path>,
    ) -> anyhow::Result<Option<(HeaderName, HeaderValue)>> {
        match (name, file) {
            (None, None) => Ok(None),
            (Some(name), Some(file)) => {
                let name =
                    HeaderName::try_from(name).context("dataAddress.authKey is not the name of a header")?;
                let value = HeaderValue::try_from(self.allowed.secret(file)?.trim())
                    .map_err(|_| anyhow::anyhow!("the secret in {} cannot be a header", file.display()))?;
                Ok(Some((name, value)))
            }
            _ => bail!("dataAddress.authKey and dataAddress.secretFile go together"),
        }
    }

    fn login(&self, file: Option<&Path>) -> anyhow::Result<Option<String>> {
        file.map(|file| Ok(self.allowed.secret(file)?.trim().to_owned())).transpose()
    }

    /// Lines such as `AWS_SECRET_ACCESS_KEY=…`.
    fn store_options(&self, file: &Path) -> anyhow::Result<Vec<(String, String)>> {
        let text = self.allowed.secret(file)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let options = lines.map(|line| {
            let (name, value) = line
                .split_once('=')
                .with_context(|| format!("a line of {} is not NAME=VALUE", file.display()))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        options.collect()
    }
}

fn meta(path: &Path) -> anyhow::Result<std::fs::Metadata> {
    path.metadata().with_context(|| format!("dataAddress.path `{}`", path.display()))
}
