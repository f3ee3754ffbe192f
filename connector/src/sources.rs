//! From an asset's data address to a source of the data plane.

mod address;
mod allowed;
mod options;
mod upstream;

use std::path::{Path, PathBuf};
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

pub(crate) use self::address::KINDS;
use self::address::{Address, Start};
pub(crate) use self::allowed::{
    Allowed, Named, Purpose, allow, allow_existing, disallow, line, named, write as write_allowed,
};
pub(crate) use self::upstream::header_name;
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
    secrets: Arc<dyn Secrets>,
}

/// What the node keeps sealed for sources.
pub trait Secrets: Send + Sync + std::fmt::Debug {
    /// The secret of this name.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    fn named(&self, name: &str) -> anyhow::Result<String>;

    /// What stands in a data address, opened where it is sealed.
    ///
    /// # Errors
    /// It says that it is sealed, and was not by this node.
    fn opened(&self, text: &str) -> anyhow::Result<String>;
}

/// Where the value of the header with the credentials is.
enum Credential {
    File(PathBuf),
    Named(String),
    Sealed(String),
}

impl Credential {
    fn of(
        file: Option<PathBuf>,
        name: Option<String>,
        sealed: Option<String>,
    ) -> anyhow::Result<Option<Self>> {
        let all = [file.map(Self::File), name.map(Self::Named), sealed.map(Self::Sealed)];
        let mut given = all.into_iter().flatten();
        match (given.next(), given.next()) {
            (one, None) => Ok(one),
            _ => bail!("dataAddress.secretName, secretFile and authCode: use one of them"),
        }
    }
}

impl Sources {
    /// Sources of the node of `config` that are reached with `upstream` and `tls`, with what is kept in `secrets`.
    #[must_use]
    pub fn new(
        upstream: reqwest::Client,
        tls: rustls::ClientConfig,
        config: &Config,
        secrets: Arc<dyn Secrets>,
    ) -> Self {
        Self {
            upstream,
            tls,
            secrets,
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
        self.open_with(address, media_type, &|name| self.secrets.named(name))
    }

    /// As [`Sources::open`], with the secrets that `named` tells.
    fn open_with(
        &self,
        address: &Map<String, Json>,
        media_type: Option<&str>,
        named: &dyn Fn(&str) -> anyhow::Result<String>,
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
                mut base_url,
                auth_key,
                secret_file,
                secret_name,
                auth_code,
                headers,
                fixed_path,
                query_params,
                method,
                body,
                content_type,
                proxy_path,
                proxy_query_params,
                proxy_method,
                proxy_body,
                paths,
                query_parameters,
                mut methods,
                ..
            } => {
                let secret = Credential::of(secret_file, secret_name, auth_code)?;
                let credentials = self.credentials(auth_key, secret, named)?;
                let headers =
                    headers.into_iter().map(|(name, value)| Ok((name, self.secrets.opened(&value)?)));
                let headers = headers.collect::<anyhow::Result<_>>()?;
                let mut asked = upstream::asked(headers, method, body, content_type)?;
                asked.headers.extend(credentials);
                asked.without_body = proxy_method && !proxy_body && methods.is_empty();
                asked.path = fixed_path.filter(|path| !path.is_empty());
                upstream::check(&asked, proxy_method, proxy_body)?;
                if let Some(parameters) = query_params.filter(|text| !text.is_empty()) {
                    let fixed = url::form_urlencoded::parse(parameters.trim_start_matches('?').as_bytes());
                    base_url.query_pairs_mut().extend_pairs(fixed);
                }
                methods.extend(upstream::methods(&methods, proxy_method, proxy_body));
                let mut allowed = HttpAllowed::new(&paths, query_parameters, &methods).map_err(wrong)?;
                if proxy_path {
                    allowed = allowed.with_any_path();
                }
                if proxy_query_params {
                    allowed = allowed.with_any_parameter();
                }
                if proxy_method {
                    allowed = allowed.with_own_method();
                }
                let client = self.upstream.clone();
                Box::new(HttpSource::new(client, base_url, asked, allowed).map_err(wrong)?)
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
                let credentials =
                    self.credentials(auth_key, Credential::of(secret_file, None, None)?, named)?;
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
        // A secret may be given after the asset that names it; it must be there when somebody reads.
        self.open_with(address, None, &|_| Ok(String::new())).map(|_| ())
    }

    /// The header that carries credentials, and its value from wherever it is kept.
    fn credentials(
        &self,
        name: Option<String>,
        secret: Option<Credential>,
        named: &dyn Fn(&str) -> anyhow::Result<String>,
    ) -> anyhow::Result<Option<(HeaderName, HeaderValue)>> {
        match (name, secret) {
            (None, None) => Ok(None),
            (Some(name), Some(secret)) => {
                let name = header_name(&name).context("dataAddress.authKey")?;
                let (value, whence) = match secret {
                    Credential::File(file) => (self.allowed.secret(&file)?, format!("in {}", file.display())),
                    Credential::Named(name) => (named(&name)?, format!("`{name}`")),
                    Credential::Sealed(text) => {
                        (self.secrets.opened(&text)?, "in dataAddress.authCode".to_owned())
                    }
                };
                let value = HeaderValue::try_from(value.trim())
                    .map_err(|_| anyhow::anyhow!("the secret {whence} cannot be a header"))?;
                Ok(Some((name, value)))
            }
            _ => bail!(
                "dataAddress.authKey goes together with one of dataAddress.secretName, secretFile and authCode"
            ),
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
