//! From an asset's data address to a source of the data plane.

mod address;
mod allowed;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use dataplane::live::Hubs;
use dataplane::{
    FileSource, FolderSource, HttpAllowed, HttpSource, MqttBroker, MqttSource, NatsConnections, NatsServer,
    NatsSource, NgsiQuery, NgsiSource, Notifications, ObjectClient, ObjectSource, Parameter, PostgresSource,
    Source, SourceError, TailSource, Watches, media_type_of,
};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value as Json};

use self::address::{Address, Start};
pub(crate) use self::allowed::{
    Allowed, Named, Purpose, allow, allow_existing, disallow, line, named, write as write_allowed,
};
use crate::config::Config;

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
                    PostgresSource::new(&connection, tls, query, parameters.collect(), form.into(), longest)
                        .map_err(wrong)?,
                )
            }
            Address::ObjectStore { url, options, secret_file, .. } => {
                let client = ObjectClient::new(Arc::new(self.upstream.clone()));
                let options = self.store_options(url.as_str(), options, secret_file.as_deref())?;
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

    /// What is open, and what is secret: lines such as `AWS_SECRET_ACCESS_KEY=…`.
    fn store_options(
        &self,
        url: &str,
        open: Map<String, Json>,
        file: Option<&Path>,
    ) -> anyhow::Result<Vec<(String, String)>> {
        // The client of the store would read files, ask the machine's cloud for its identity or start programs, and send what
        // comes of it to wherever the other options say.
        if let Some(name) = open.keys().find(|name| !is_open_option(name)) {
            bail!(
                "dataAddress.options: `{name}` may not stand in an address; say it in the file of dataAddress.secretFile, \
                 which is the operator's"
            );
        }
        let anonymous = file.is_none() && !open.keys().any(|name| is_credential(name));
        let text = |value: Json| match value {
            Json::String(text) => text,
            other => other.to_string(),
        };
        let mut options: Vec<_> = open.into_iter().map(|(name, value)| (name, text(value))).collect();
        if let Some(file) = file {
            for line in self.allowed.secret(file)?.lines().map(str::trim).filter(|line| !line.is_empty()) {
                let (name, value) = line
                    .split_once('=')
                    .with_context(|| format!("a line of {} is not NAME=VALUE", file.display()))?;
                options.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        if anonymous {
            // Who says nothing of credentials is nobody, not whoever this machine is to its cloud.
            let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
            let option = match scheme {
                "az" => "azure_skip_signature",
                "gs" => "google_skip_signature",
                _ => "aws_skip_signature",
            };
            options.push((option.to_owned(), "true".to_owned()));
        }
        Ok(options)
    }
}

/// Options of object stores that may stand in an address: where the data is, and credentials of its own.
const OPEN_OPTIONS: [&str; 12] = [
    "account_name",
    "allow_http",
    "base_url",
    "default_region",
    "endpoint",
    "endpoint_url",
    "region",
    "request_payer",
    "skip_signature",
    "storage_account_name",
    "storage_endpoint",
    "virtual_hosted_style_request",
];
/// Those of them that are credentials.
const CREDENTIALS: [&str; 11] = [
    "access_key",
    "access_key_id",
    "account_key",
    "bearer_token",
    "master_key",
    "sas_key",
    "sas_token",
    "secret_access_key",
    "session_token",
    "storage_account_key",
    "storage_sas_token",
];

/// An option without the name of its cloud.
fn bare(option: &str) -> String {
    let name = option.to_ascii_lowercase();
    let bare = ["aws_", "azure_", "google_"].iter().find_map(|cloud| name.strip_prefix(cloud));
    bare.unwrap_or(&name).to_owned()
}

fn is_credential(option: &str) -> bool {
    CREDENTIALS.contains(&bare(option).as_str())
}

fn is_open_option(option: &str) -> bool {
    is_credential(option) || OPEN_OPTIONS.contains(&bare(option).as_str())
}

fn meta(path: &Path) -> anyhow::Result<std::fs::Metadata> {
    path.metadata().with_context(|| format!("dataAddress.path `{}`", path.display()))
}
