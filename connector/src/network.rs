//! The only way out: a client that refuses forbidden networks (SSRF guard) and follows no redirect.
//!
//! [`PeerClient`] is the only client for addresses that somebody else chose, and can do nothing but send what the guard has
//! looked at: the address as it was parsed, at the moment of dialling, whoever looked at its text before. An address in
//! place of a name is looked at there; of a name, the guard looks at the addresses that it resolves to at that moment, and
//! only these are connected to, so a name that changes its address between check and use (DNS rebinding) gains nothing.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dataplane::Requests;
pub use dataplane::Unsent;
use http::{Method, StatusCode};
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Longest address, in bytes.
const MAX_URL: usize = 2048;
/// Longest name resolution.
const RESOLVE: Duration = Duration::from_secs(5);
/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept for another request: shorter than other nodes keep it, so that none is used in the moment
/// in which it is closed.
pub const IDLE: Duration = Duration::from_secs(4);
/// How often a request is sent again whose connection was closed.
const AGAIN: u32 = 2;

/// An address or URL that this node does not talk to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Forbidden(String);

/// Which addresses may be reached.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Arc<[IpNet]>,
    plain: bool,
}

impl Guard {
    /// Public addresses, and `allow`.
    #[must_use]
    pub fn new(allow: &[IpNet]) -> Self {
        Self { allow: allow.into(), plain: false }
    }

    /// The same, also for addresses without TLS: for closed test networks.
    #[must_use]
    pub fn with_plain(self) -> Self {
        Self { plain: true, ..self }
    }

    /// Whether `address` may be reached.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.iter().any(|net| net.contains(&address)) || is_public(address)
    }

    /// Checks what the URL alone tells: scheme, credentials, an address in place of a name.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check_url(&self, text: &str) -> Result<Url, Forbidden> {
        let refuse = |reason: &str| Err(Forbidden(format!("`{text}` {reason}")));
        if text.len() > MAX_URL {
            return Err(Forbidden(format!("an address is longer than {MAX_URL} bytes")));
        }
        // The parser of addresses drops or changes these, and what is kept as text would be another than what is dialled.
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(Forbidden(format!("{text:?} has characters in it that no address has")));
        }
        let Ok(url) = Url::parse(text) else { return refuse("is not a URL") };
        self.check(&url)?;
        Ok(url)
    }

    /// Checks a URL that was parsed: scheme, credentials, an address in place of a name.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self, url: &Url) -> Result<(), Forbidden> {
        let refuse = |reason: &str| Err(Forbidden(format!("`{url}` {reason}")));
        if url.scheme() != "https" && !(self.plain && url.scheme() == "http") {
            return refuse("is not an https address");
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(Forbidden("an address must not carry credentials or a fragment".to_owned()));
        }
        let address = match url.host() {
            None => return refuse("names no host"),
            Some(Host::Domain(_)) => None,
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        };
        match address {
            Some(address) if !self.permits(address) => {
                refuse("is in a network that this node does not talk to (network.allow)")
            }
            _ => Ok(()),
        }
    }

    /// Checks a URL and every address its name has now.
    ///
    /// # Errors
    /// Says what is wrong.
    pub async fn check_reachable(&self, text: &str) -> Result<Url, Forbidden> {
        let url = self.check_url(text)?;
        if let Some(Host::Domain(name)) = url.host() {
            self.resolve(name).await.map_err(|reason| Forbidden(format!("`{text}`: {reason}")))?;
        }
        Ok(url)
    }

    async fn resolve(&self, name: &str) -> Result<Vec<SocketAddr>, String> {
        let looked_up = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((name, 0))).await;
        let addresses: Vec<_> = match looked_up {
            Err(_) => {
                return Err(format!("the name `{name}` was not resolved within {} s", RESOLVE.as_secs()));
            }
            Ok(Err(_)) => return Err(format!("the name `{name}` does not resolve")),
            Ok(Ok(addresses)) => addresses.collect(),
        };
        let permitted: Vec<_> = addresses.into_iter().filter(|address| self.permits(address.ip())).collect();
        if permitted.is_empty() {
            return Err(format!("`{name}` is in a network that this node does not talk to (network.allow)"));
        }
        Ok(permitted)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = Self::resolve(&guard, name.as_str()).await?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

/// Neither loopback nor private nor otherwise special (IANA special-purpose address registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    !(v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99))
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let [a, b, ..] = v6.segments();
    // Global unicast is 2000::/3; within it, addresses that carry an IPv4 address or lead nowhere are left out.
    (0x2000..0x4000).contains(&a)
        && a != 0x2002
        && !(a == 0x2001 && (b < 0x0200 || b == 0x0db8))
        && !(a == 0x3fff && b < 0x1000)
}

/// The client towards peers and whatever else others name. Its requests leave through one function, which looks at the
/// address.
#[derive(Debug, Clone)]
pub struct PeerClient {
    client: reqwest::Client,
    guard: Guard,
}

impl PeerClient {
    /// A client that goes where `guard` permits.
    ///
    /// # Errors
    /// The TLS configuration cannot be used.
    pub fn new(guard: &Guard, tls: rustls::ClientConfig) -> reqwest::Result<Self> {
        let client = base(tls).https_only(!guard.plain).dns_resolver(guard.clone()).build()?;
        Ok(Self { client, guard: guard.clone() })
    }

    /// A request that is about to be made.
    pub fn request(&self, method: Method, url: impl reqwest::IntoUrl) -> PeerRequest {
        PeerRequest { guard: self.guard.clone(), inner: self.client.request(method, url) }
    }

    /// As [`PeerClient::request`].
    pub fn get(&self, url: impl reqwest::IntoUrl) -> PeerRequest {
        self.request(Method::GET, url)
    }

    /// As [`PeerClient::request`].
    pub fn post(&self, url: impl reqwest::IntoUrl) -> PeerRequest {
        self.request(Method::POST, url)
    }

    /// As [`PeerClient::request`].
    pub fn put(&self, url: impl reqwest::IntoUrl) -> PeerRequest {
        self.request(Method::PUT, url)
    }
}

#[async_trait::async_trait]
impl Requests for PeerClient {
    async fn send(&self, request: reqwest::Request) -> Result<reqwest::Response, Unsent> {
        dial(&self.client, &self.guard, request).await
    }
}

/// A request to an address that somebody else chose.
#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct PeerRequest {
    guard: Guard,
    inner: reqwest::RequestBuilder,
}

impl PeerRequest {
    /// Adds a header.
    pub fn header<K, V>(self, name: K, value: V) -> Self
    where
        http::HeaderName: TryFrom<K>,
        <http::HeaderName as TryFrom<K>>::Error: Into<http::Error>,
        http::HeaderValue: TryFrom<V>,
        <http::HeaderValue as TryFrom<V>>::Error: Into<http::Error>,
    {
        self.with(|inner| inner.header(name, value))
    }

    /// Adds a token.
    pub fn bearer_auth(self, token: impl std::fmt::Display) -> Self {
        self.with(|inner| inner.bearer_auth(token))
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        self.with(|inner| inner.body(body))
    }

    /// Sets a body of JSON.
    pub fn json(self, body: &impl serde::Serialize) -> Self {
        self.with(|inner| inner.json(body))
    }

    /// Longest time until the whole answer is there.
    pub fn timeout(self, longest: Duration) -> Self {
        self.with(|inner| inner.timeout(longest))
    }

    fn with(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self { inner: change(self.inner), ..self }
    }

    /// Sends it.
    ///
    /// # Errors
    /// Its address is one that this node does not talk to, or nobody answers.
    pub async fn send(self) -> Result<reqwest::Response, Unsent> {
        let (client, request) = self.inner.build_split();
        dial(&client, &self.guard, request?).await
    }
}

/// Where all requests to addresses that somebody else chose leave. The client below asks the guard for the addresses of a
/// name, but not for an address in place of one, whatever it looked like before it was parsed.
async fn dial(
    client: &reqwest::Client,
    guard: &Guard,
    request: reqwest::Request,
) -> Result<reqwest::Response, Unsent> {
    guard.check(request.url()).map_err(|forbidden| Unsent::Forbidden(forbidden.to_string()))?;
    Ok(client.execute(request).await?)
}

/// The client towards upstreams that the operator chose, where private addresses are usual.
///
/// # Errors
/// The TLS configuration cannot be used.
pub fn upstream_client(tls: rustls::ClientConfig) -> reqwest::Result<reqwest::Client> {
    base(tls).build()
}

fn base(tls: rustls::ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .pool_max_idle_per_host(64)
        .pool_idle_timeout(IDLE)
        .user_agent(concat!("concordat/", env!("CARGO_PKG_VERSION")))
}

/// The client towards programs of the operator, at addresses that the configuration lists (`management.callbacks`): they may be
/// in its own networks, and speak plain HTTP.
#[derive(Debug, Clone)]
pub struct CallbackClient {
    /// Beginnings of addresses.
    listed: Vec<Url>,
    client: reqwest::Client,
}

impl CallbackClient {
    /// A client that goes where `listed` says, by way of `client`.
    #[must_use]
    pub fn new(listed: &[Url], client: &reqwest::Client) -> Self {
        Self { listed: listed.to_vec(), client: client.clone() }
    }

    /// Whether an address is listed, or lies below one that is.
    #[must_use]
    pub fn reaches(&self, address: &Url) -> bool {
        // What a program could read as another path lies nowhere.
        let is_plain = |rest: &str| {
            !rest.contains(['%', ';', '\\']) && rest.split('/').all(|part| !["", ".", ".."].contains(&part))
        };
        self.listed.iter().any(|one| {
            let below = format!("{}/", one.path().trim_end_matches('/'));
            one.origin() == address.origin()
                && (address.path() == one.path() || address.path().strip_prefix(&below).is_some_and(is_plain))
        })
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// The address is not listed, or nobody answers `within` that time.
    pub async fn post(
        &self,
        address: Url,
        header: Option<(http::HeaderName, http::HeaderValue)>,
        body: &serde_json::Value,
        within: Duration,
    ) -> Result<reqwest::Response, Unsent> {
        if !self.reaches(&address) {
            return Err(Unsent::Forbidden(format!("`{address}` is not listed (management.callbacks)")));
        }
        let mut request = self.client.post(address).json(body).timeout(within);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        Ok(request.send().await?)
    }
}

/// Sends what `request` makes. A connection that was kept from an earlier request may be closed by the other side in the
/// moment in which it is used again, before anything is answered: then it is sent once more, over another. Only for what
/// may be asked twice.
///
/// # Errors
/// There is no answer.
pub async fn send_again(request: impl Fn() -> PeerRequest) -> Result<reqwest::Response, Unsent> {
    let mut left = AGAIN;
    loop {
        match request().send().await {
            Err(Unsent::Failed(error)) if left > 0 && was_closed(&error) => left -= 1,
            sent => return sent,
        }
    }
}

/// Whether a connection ended before anything was answered.
fn was_closed(error: &reqwest::Error) -> bool {
    if error.is_connect() || error.is_timeout() {
        return false;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<hyper::Error>()
            && (error.is_incomplete_message() || error.is_closed() || error.is_canceled())
        {
            return true;
        }
        if let Some(error) = cause.downcast_ref::<std::io::Error>()
            && matches!(error.kind(), std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset)
        {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Longest compressed body that is unpacked where it was received; a longer one is unpacked beside it.
const UNPACKED_HERE: usize = 16 * 1024;

/// A body of at most `limit` bytes, as it came and unpacked.
///
/// # Errors
/// It is larger, the connection failed, or it is packed in another way than with gzip.
pub async fn bounded_body(response: reqwest::Response, limit: usize) -> Result<Vec<u8>, String> {
    let packed = response
        .headers()
        .get(http::header::CONTENT_ENCODING)
        .map(|value| value.to_str().unwrap_or_default().trim().to_ascii_lowercase());
    let body = whole_body(response, limit).await?;
    match packed.as_deref() {
        Some("gzip" | "x-gzip") if body.len() <= UNPACKED_HERE => unpacked(&body, limit),
        Some("gzip" | "x-gzip") => {
            let done = tokio::task::spawn_blocking(move || unpacked(&body, limit)).await;
            done.map_err(|error| format!("the answer was not unpacked: {error}"))?
        }
        Some(packer @ ("br" | "compress" | "deflate" | "x-compress" | "zstd")) => {
            Err(format!("the answer is packed with `{packer}`, which nobody asked for"))
        }
        // What packs nothing, such as the character set that some servers name there.
        _ => Ok(body),
    }
}

fn unpacked(body: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::MultiGzDecoder::new(body)
        .take(most)
        .read_to_end(&mut out)
        .map_err(|error| format!("the answer is not the gzip that it says: {error}"))?;
    if out.len() > limit {
        return Err(format!("the answer unpacks to more than {limit} bytes"));
    }
    Ok(out)
}

async fn whole_body(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() <= limit => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(format!("the answer is larger than {limit} bytes")),
            Err(error) => return Err(describe(&error)),
        }
    }
}

/// Why a request has no answer, or not all of it.
#[derive(Debug, Clone, Copy)]
pub enum Problem<'a> {
    /// Nothing was sent.
    Forbidden(&'a str),
    /// As the client tells.
    Failed(&'a reqwest::Error),
}

impl<'a> From<&'a reqwest::Error> for Problem<'a> {
    fn from(error: &'a reqwest::Error) -> Self {
        Self::Failed(error)
    }
}

impl<'a> From<&'a Unsent> for Problem<'a> {
    fn from(unsent: &'a Unsent) -> Self {
        match unsent {
            Unsent::Failed(error) => Self::Failed(error),
            Unsent::Forbidden(reason) => Self::Forbidden(reason),
            _ => Self::Forbidden("the request was not sent"),
        }
    }
}

/// What stands in the answer of a peer's address that is no success, as one line; empty where nothing can be read. What
/// stands before a connector and does not reach it answers in words of its own.
#[must_use]
pub fn answer_text(status: StatusCode, body: &[u8]) -> String {
    let said = protocol::wire::refusal_text(body);
    let by_proxy = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    if !by_proxy.contains(&status) || is_json() {
        return said;
    }
    let quoted = if said.is_empty() { said } else { format!(": \"{said}\"") };
    format!("this is the answer of a proxy in front of the connector, which does not reach it{quoted}")
}

/// A client error in words, with its causes and without the address.
#[must_use]
pub fn describe<'a>(problem: impl Into<Problem<'a>>) -> String {
    let error = match problem.into() {
        Problem::Forbidden(reason) => return reason.to_owned(),
        Problem::Failed(error) => error,
    };
    let mut text = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        "cannot connect".to_owned()
    } else {
        "the request failed".to_owned()
    };
    let mut source = std::error::Error::source(error);
    let mut last = String::new();
    while let Some(cause) = source {
        last = cause.to_string();
        source = cause.source();
    }
    if !last.is_empty() {
        text.push_str(": ");
        text.push_str(&last);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_networks_are_forbidden_unless_allowed() {
        let guard = Guard::default();
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:0:7f00::",
            "2001:db8::1",
            "ff02::1",
            "::7f00:1",
        ] {
            assert!(!guard.permits(address.parse().unwrap()), "{address}");
        }
        for address in ["1.1.1.1", "193.190.0.1", "2a02:1800::1", "2001:4860:4860::8888"] {
            assert!(guard.permits(address.parse().unwrap()), "{address}");
        }
        let local = Guard::new(&["127.0.0.0/8".parse().unwrap()]);
        assert!(
            local.permits("127.0.0.1".parse().unwrap()) && local.permits("::ffff:127.0.0.1".parse().unwrap())
        );
        assert!(!local.permits("10.0.0.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn addresses_are_checked_by_url_and_by_resolution() {
        let guard = Guard::default();
        for url in [
            "http://city.example",
            "ftp://x",
            "city",
            "https://user:pw@city.example",
            "https://127.0.0.1/x",
            "https://[::1]/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://city.example/#x",
            "https://",
            "https://0x7f000002/",
            "https://0x7f.2/",
            "https://127.0.0.0x2/",
            "https://127.0.0.1./",
            "https://0177.1/",
            "https://%31%32%37.0.0.1/",
            "https://１２７.0.0.1/",
            "https://127。0。0。1/",
            "https://city.example\n/x",
            "https://ci\tty.example/x",
            "https://city.example\\@10.0.0.1/",
            " https://city.example/",
            "https://city.example/\u{7f}",
        ] {
            assert!(guard.check_url(url).is_err(), "{url}");
        }
        assert!(guard.check_url("https://city.example:8443/dsp").is_ok());
        let error = guard.check_reachable("https://localhost:1/x").await.unwrap_err().to_string();
        assert!(error.contains("network.allow"), "{error}");
        let local = Guard::new(&["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert!(local.check_reachable("https://localhost:1/x").await.is_ok());
    }

    /// What closes a connection that it kept in the moment in which it is used again is asked once more: a first read after a
    /// pause was answered 502 otherwise.
    #[tokio::test]
    async fn a_kept_connection_that_is_closed_when_it_is_used_again_is_no_failure() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        crate::tls::install_provider();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let mut heard = 0;
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                // One answer on each connection; the next request on it is read, and then it is closed.
                assert!(stream.read(&mut head).await.unwrap() > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                heard += 1 + usize::from(stream.read(&mut head).await.unwrap_or_default() > 0);
            }
            heard
        });
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let guard = Guard::new(&["127.0.0.0/8".parse().unwrap()]).with_plain();
        let client = PeerClient::new(&guard, tls).unwrap();
        let url: Url = url.parse().unwrap();
        for _ in 0..2 {
            let answer = send_again(|| client.get(url.clone())).await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "ok");
        }
        drop(client);
        assert_eq!(served.await.unwrap(), 3, "the second request was sent twice");
    }

    #[tokio::test]
    async fn the_address_that_is_dialled_is_the_one_that_is_checked() {
        crate::tls::install_provider();
        let tls = || {
            rustls::ClientConfig::builder()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth()
        };
        // A listener that must not hear of anybody.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for guard in [Guard::default(), Guard::default().with_plain()] {
            let client = PeerClient::new(&guard, tls()).unwrap();
            for host in [
                "127.0.0.1",
                "0x7f000001",
                "0x7f.1",
                "127.0.0.0x1",
                "2130706433",
                "127.1",
                "0177.0.0.1",
                "%31%32%37.0.0.1",
                "127.0.0.1.",
                "[::1]",
                "[::ffff:127.0.0.1]",
                "localhost",
                "10.0.0.1",
                "169.254.169.254",
            ] {
                let url: Url = format!("https://{host}:{port}/did.json").parse().unwrap();
                let said = match client.get(url.clone()).send().await {
                    Ok(answer) => panic!("{host} answered {}", answer.status()),
                    Err(unsent) => describe(&unsent),
                };
                assert!(said.contains("network.allow"), "{host}: {said}");
                let sent = Requests::send(&client, reqwest::Request::new(Method::PUT, url)).await;
                assert!(sent.is_err(), "{host}");
            }
        }
        let heard = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(heard.is_err(), "somebody was dialled");
    }
}
