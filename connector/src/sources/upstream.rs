//! How an HTTP upstream is asked, as EDC's data addresses of the type `HttpData` say it.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use dataplane::HttpAsked;
use http::{HeaderName, HeaderValue, Method, header};

/// Headers that belong to the connection, or that the reader's request decides.
const NOT_FIXED: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::RANGE,
];
/// Most headers of an address.
const MAX_HEADERS: usize = 32;

/// What is fixed for every request.
///
/// # Errors
/// A part cannot be used; names it.
pub(super) fn asked(
    headers: BTreeMap<String, String>,
    method: Option<String>,
    body: Option<String>,
    content_type: Option<String>,
) -> anyhow::Result<HttpAsked> {
    if headers.len() > MAX_HEADERS {
        bail!("dataAddress has {} headers; {MAX_HEADERS} are the most", headers.len());
    }
    let mut fixed = Vec::new();
    for (name, value) in headers {
        let place = || format!("dataAddress.header:{name}");
        let header = header_name(&name).with_context(place)?;
        fixed.push((header, HeaderValue::try_from(value).with_context(place)?));
    }
    let method = match method.as_deref().map(str::to_ascii_uppercase).as_deref() {
        None => None,
        Some("GET") => Some(Method::GET),
        Some("POST") => Some(Method::POST),
        Some(other) => bail!("dataAddress.method: an upstream is not read with `{other}`; GET or POST"),
    };
    let content_type = content_type
        .map(HeaderValue::try_from)
        .transpose()
        .context("dataAddress.contentType is not the name of a media type")?;
    let body = body.map(bytes::Bytes::from);
    Ok(HttpAsked {
        headers: fixed,
        path: None,
        without_body: false,
        method,
        content_type: content_type.filter(|_| body.is_some()),
        body,
    })
}

/// The name of a header that an address may fix.
///
/// # Errors
/// It is none, or is not the address's to fix.
pub(crate) fn header_name(name: &str) -> anyhow::Result<HeaderName> {
    let header = HeaderName::try_from(name).context("it is not the name of a header")?;
    if NOT_FIXED.contains(&header) {
        bail!("the header `{name}` is set by the request itself");
    }
    Ok(header)
}

/// Refuses what contradicts itself.
pub(super) fn check(asked: &HttpAsked, proxy_method: bool, proxy_body: bool) -> anyhow::Result<()> {
    if proxy_method && asked.method.is_some() && asked.body.is_some() {
        bail!(
            "dataAddress.proxyMethod: the reader chooses the method, so dataAddress.body cannot always be sent"
        );
    }
    if proxy_body && asked.body.is_some() {
        bail!("dataAddress.proxyBody: the reader gives what is sent, so dataAddress.body has no place");
    }
    if asked.body.is_some() && asked.method != Some(Method::POST) {
        bail!("dataAddress.body is sent with dataAddress.method POST only");
    }
    Ok(())
}

/// The methods that readers may use, beside those `named`.
pub(super) fn methods(named: &[String], proxy_method: bool, proxy_body: bool) -> Vec<String> {
    if !proxy_method && !proxy_body || !named.is_empty() {
        return Vec::new();
    }
    let every = ["GET", "HEAD", "POST", "PUT"].map(str::to_owned);
    // Who may send but not choose how, sends as EDC's programs do.
    let most = if proxy_method { every.len() } else { every.len() - 1 };
    every.into_iter().take(most).collect()
}
