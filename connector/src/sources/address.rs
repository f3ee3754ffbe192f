//! What stands in `dataAddress`, by its `type`. A new kind of source is a variant here and a file in the data plane.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use dataplane::{ParameterKind, SqlForm};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json};

/// What EDC writes before the name of a header.
const HEADER: &str = "header:";

/// The types of data addresses.
pub(crate) const KINDS: [&str; 9] =
    ["File", "Folder", "HttpData", "Mqtt", "Nats", "NgsiLd", "ObjectStore", "PostgreSql", "Tail"];

/// Where data is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(super) enum Address {
    /// A file of this machine.
    File {
        #[serde(rename = "@type", default)]
        _kind: Option<String>,
        /// Absolute.
        path: PathBuf,
    },
    /// Files of a folder.
    Folder {
        #[serde(rename = "@type", default)]
        _kind: Option<String>,
        /// Absolute.
        path: PathBuf,
        /// Which of them, relative to the folder.
        #[serde(default = "all")]
        pattern: String,
    },
    /// Lines that are appended to files of a folder.
    Tail {
        #[serde(rename = "@type", default)]
        _kind: Option<String>,
        /// Absolute.
        path: PathBuf,
        /// Which files.
        #[serde(default = "all")]
        pattern: String,
        /// Where somebody begins who says nothing.
        #[serde(default)]
        from: Start,
    },
    /// An upstream, asked with its own credentials.
    HttpData {
        #[serde(rename = "@type", default)]
        _kind: Option<String>,
        base_url: url::Url,
        /// What the operator calls it; for people.
        #[serde(rename = "name", default)]
        _name: Option<String>,
        /// Name of the header that carries the credentials.
        #[serde(default)]
        auth_key: Option<String>,
        /// File whose content is the header's value, mode 0600.
        #[serde(default)]
        secret_file: Option<PathBuf>,
        /// Name of a secret of the management API that is the header's value.
        #[serde(default)]
        secret_name: Option<String>,
        /// The header's value itself; kept sealed.
        #[serde(default)]
        auth_code: Option<String>,
        /// Further headers (`header:NAME` of EDC).
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Below the address, for readers that name no path.
        #[serde(rename = "path", default)]
        fixed_path: Option<String>,
        /// Parameters that every request has, as in an address.
        #[serde(default)]
        query_params: Option<String>,
        /// How the upstream is asked, whatever the reader's method is.
        #[serde(default)]
        method: Option<String>,
        /// What it is sent.
        #[serde(default)]
        body: Option<String>,
        /// Of that.
        #[serde(default)]
        content_type: Option<String>,
        /// Whether readers may ask for every path below the address.
        #[serde(default, deserialize_with = "flag")]
        proxy_path: bool,
        /// Whether readers may add every parameter.
        #[serde(default, deserialize_with = "flag")]
        proxy_query_params: bool,
        /// Whether readers choose the method: GET, HEAD, POST or PUT.
        #[serde(default, deserialize_with = "flag")]
        proxy_method: bool,
        /// Whether the upstream is sent what readers send.
        #[serde(default, deserialize_with = "flag")]
        proxy_body: bool,
        /// Patterns of paths below the address that readers may ask for.
        #[serde(default)]
        paths: Vec<String>,
        /// Names of parameters that readers may add.
        #[serde(default)]
        query_parameters: Vec<String>,
        /// GET and HEAD where nothing is said.
        #[serde(default)]
        methods: Vec<String>,
    },
    /// Entities of a context broker.
    NgsiLd {
        #[serde(rename = "@type", default)]
        _kind: Option<String>,
        base_url: url::Url,
        entity_type: String,
        #[serde(default)]
        q: Option<String>,
        #[serde(default)]
        attributes: Vec<String>,
        /// Address of the JSON-LD context.
        #[serde(default)]
        context: Option<String>,
        #[serde(default)]
        tenant: Option<String>,
        /// Whether the history is read.
        #[serde(default)]
        temporal: bool,
        #[serde(default)]
        query_parameters: Vec<String>,
        /// Where the broker reaches this node; its public address where nothing is said.
        #[serde(default)]
        notify_at: Option<String>,
        #[serde(default)]
        auth_key: Option<String>,
        #[serde(default)]
        secret_file: Option<PathBuf>,
    },
    /// A query of a database.
    PostgreSql {
        #[serde(rename = "@type", default)]
        _kind: Option<String>,
        /// File with the connection, `postgres://…`, mode 0600.
        secret_file: PathBuf,
        query: String,
        #[serde(default)]
        parameters: Vec<SqlParameter>,
        #[serde(default)]
        form: Rows,
        #[serde(default = "a_minute")]
        timeout_seconds: u32,
    },
    /// An object, or those below a prefix.
    ObjectStore {
        #[serde(rename = "@type", default)]
        _kind: Option<String>,
        /// `s3://bucket/key`, `az://container/key`, `gs://bucket/key`; a key with `/` at its end is a prefix.
        url: url::Url,
        /// Of the store, such as `AWS_REGION` and `AWS_ENDPOINT`.
        #[serde(default)]
        options: Map<String, Json>,
        /// File with further options, `NAME=VALUE` a line, mode 0600.
        #[serde(default)]
        secret_file: Option<PathBuf>,
    },
    /// Topics of an MQTT broker.
    Mqtt {
        #[serde(rename = "@type", default)]
        _kind: Option<String>,
        /// `mqtt://host:port` or `mqtts://host:port`.
        url: url::Url,
        topic: String,
        /// Whether events tell their topic.
        #[serde(default)]
        with_topic: bool,
        /// File with `name:password`, mode 0600.
        #[serde(default)]
        secret_file: Option<PathBuf>,
    },
    /// A subject of NATS.
    Nats {
        #[serde(rename = "@type", default)]
        _kind: Option<String>,
        /// `nats://host:port` or `tls://host:port`.
        url: url::Url,
        subject: String,
        /// The JetStream that holds it.
        #[serde(default)]
        stream: Option<String>,
        #[serde(default)]
        from: Start,
        /// File with a token, or with `name:password`, mode 0600.
        #[serde(default)]
        secret_file: Option<PathBuf>,
    },
}

/// Where somebody begins to follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Start {
    /// With what is there already.
    Beginning,
    /// With what comes next.
    #[default]
    Now,
}

/// A parameter of a query.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlParameter {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    #[serde(default)]
    pub(super) default: Option<String>,
}

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    Boolean,
    Date,
    DateTime,
    Integer,
    Number,
    Text,
}

impl From<Kind> for ParameterKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Boolean => Self::Boolean,
            Kind::Date => Self::Date,
            Kind::DateTime => Self::DateTime,
            Kind::Integer => Self::Integer,
            Kind::Number => Self::Number,
            Kind::Text => Self::Text,
        }
    }
}

/// In which form rows are handed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Rows {
    Arrow,
    #[default]
    Csv,
    JsonLines,
}

impl From<Rows> for SqlForm {
    fn from(rows: Rows) -> Self {
        match rows {
            Rows::Arrow => Self::Arrow,
            Rows::Csv => Self::Csv,
            Rows::JsonLines => Self::JsonLines,
        }
    }
}

/// A yes or no, which EDC's clients write as text.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Json::deserialize(deserializer)? {
        Json::Bool(flag) => Ok(flag),
        Json::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Json::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        other => Err(D::Error::custom(format!("expected `true` or `false`, got {other}"))),
    }
}

/// Brings `header:NAME`, which EDC writes beside the other members, into one member.
fn gather_headers(address: &mut Map<String, Json>) -> anyhow::Result<()> {
    if address.get("type").and_then(Json::as_str) != Some("HttpData") {
        return Ok(());
    }
    let (named, rest): (Map<_, _>, Map<_, _>) =
        std::mem::take(address).into_iter().partition(|(name, _)| name.starts_with(HEADER));
    *address = rest;
    if named.is_empty() {
        return Ok(());
    }
    let headers = address.entry("headers").or_insert_with(|| Json::Object(Map::new()));
    let headers = headers.as_object_mut().context("dataAddress.headers must be an object")?;
    headers
        .extend(named.into_iter().map(|(name, value)| (name.trim_start_matches(HEADER).to_owned(), value)));
    Ok(())
}

fn all() -> String {
    "*".to_owned()
}

const fn a_minute() -> u32 {
    60
}

impl Address {
    /// Reads a data address.
    ///
    /// # Errors
    /// It cannot be used; says which part.
    pub(super) fn parse(address: &Map<String, Json>) -> anyhow::Result<Self> {
        if address.is_empty() {
            bail!("the asset has no dataAddress, so there is nothing to read");
        }
        let mut address = address.clone();
        gather_headers(&mut address)?;
        if let Some(name) = address.keys().find(|name| name.starts_with("oauth2:")) {
            bail!(
                "dataAddress.{name}: this node gets no tokens for its upstreams; use authKey with secretName"
            );
        }
        let address: Self = serde_json::from_value(Json::Object(address)).context("dataAddress")?;
        let (name, url, schemes): (_, _, &[&str]) = match &address {
            Self::HttpData { base_url, .. } | Self::NgsiLd { base_url, .. } => {
                ("baseUrl", base_url, &["http", "https"])
            }
            Self::Mqtt { url, .. } => ("url", url, &["mqtt", "mqtts"]),
            Self::Nats { url, .. } => ("url", url, &["nats", "tls"]),
            Self::ObjectStore { url, .. } => ("url", url, &["s3", "az", "gs"]),
            Self::File { .. } | Self::Folder { .. } | Self::Tail { .. } | Self::PostgreSql { .. } => {
                return Ok(address);
            }
        };
        if !schemes.contains(&url.scheme()) {
            bail!("dataAddress.{name} must be an address of one of the kinds {}", schemes.join(", "));
        }
        if !url.username().is_empty() || url.password().is_some() {
            bail!("dataAddress.{name} must not carry credentials; they belong into dataAddress.secretFile");
        }
        Ok(address)
    }
}
