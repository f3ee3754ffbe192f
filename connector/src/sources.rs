//! From an asset's data address to a source of the data plane.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use dataplane::{FileSource, HttpSource, Source};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::secrets;

/// What stands in `dataAddress`, by its `type`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Address {
    /// A file of this machine.
    File {
        #[serde(rename = "@type", default)]
        _kind: Option<String>,
        /// Absolute.
        path: PathBuf,
    },
    /// An upstream, asked with its own credentials.
    #[serde(rename_all = "camelCase")]
    HttpData {
        #[serde(rename = "@type", default)]
        _kind: Option<String>,
        base_url: url::Url,
        /// Name of the header that carries the credentials.
        #[serde(default)]
        auth_key: Option<String>,
        /// File whose content is the header's value, mode 0600.
        #[serde(default)]
        secret_file: Option<PathBuf>,
    },
}

/// Opens a data address.
///
/// # Errors
/// It cannot be used; says which part.
pub fn open(
    address: &Map<String, Json>,
    media_type: Option<&str>,
    upstream: &reqwest::Client,
) -> anyhow::Result<Box<dyn Source>> {
    match parse(address)? {
        Address::File { path, .. } => {
            let media_type = media_type.map_or_else(|| guess_media_type(&path), str::to_owned);
            Ok(Box::new(FileSource::new(path, media_type)))
        }
        Address::HttpData { base_url, auth_key, secret_file, .. } => {
            let credentials = match (auth_key, secret_file) {
                (None, None) => None,
                (Some(name), Some(file)) => {
                    let name = HeaderName::try_from(name)
                        .context("dataAddress.authKey is not the name of a header")?;
                    let value = HeaderValue::try_from(secrets::read(&file)?.trim()).map_err(|_| {
                        anyhow::anyhow!("the secret in {} cannot be a header", file.display())
                    })?;
                    Some((name, value))
                }
                _ => bail!("dataAddress.authKey and dataAddress.secretFile go together"),
            };
            Ok(Box::new(HttpSource::new(upstream.clone(), base_url, credentials)))
        }
    }
}

/// Checks a data address when an asset is made, so that a mistake shows at once and not at the first read.
///
/// # Errors
/// As [`open`]; a file that is not there or not absolute.
pub fn check(address: &Map<String, Json>, upstream: &reqwest::Client) -> anyhow::Result<()> {
    if address.is_empty() {
        return Ok(());
    }
    if let Address::File { path, .. } = parse(address)? {
        if !path.is_absolute() {
            bail!("dataAddress.path `{}` is not absolute", path.display());
        }
        let meta = path.metadata().with_context(|| format!("dataAddress.path `{}`", path.display()))?;
        if meta.is_dir() {
            bail!("dataAddress.path `{}` is a folder", path.display());
        }
    }
    open(address, None, upstream).map(|_| ())
}

fn parse(address: &Map<String, Json>) -> anyhow::Result<Address> {
    if address.is_empty() {
        bail!("the asset has no dataAddress, so there is nothing to read");
    }
    let address: Address = serde_json::from_value(Json::Object(address.clone())).context("dataAddress")?;
    if let Address::HttpData { base_url, .. } = &address
        && !["http", "https"].contains(&base_url.scheme())
    {
        bail!("dataAddress.baseUrl must be an http or https address");
    }
    Ok(address)
}

/// By the ending of the name.
#[must_use]
pub fn guess_media_type(path: &Path) -> String {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "csv" => "text/csv",
        "geojson" => "application/geo+json",
        "json" => "application/json",
        "jsonl" | "ndjson" => "application/x-ndjson",
        "jsonld" => "application/ld+json",
        "parquet" => "application/vnd.apache.parquet",
        "txt" => "text/plain",
        "xml" => "application/xml",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
    .to_owned()
}
