//! The accept loop: TLS where configured, HTTP/1.1 and HTTP/2, bounds on connections, headers and time.

mod connection;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::map_response;
use http::HeaderMap;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use self::connection::{Bytewise, Open, Patience};
use super::sessions::over_tls;
use crate::config::Bounds;
use crate::shares::{Shares, places, whose};
use crate::tls::Serving;

/// Largest request head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// Most answers at once on a connection of HTTP/2.
const MAX_STREAMS: u32 = 256;
/// How long running requests may go on after a stop.
const GRACE: Duration = Duration::from_secs(5);
/// First pause where no connection can be accepted; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// From whom a request comes, among its extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerAddress(pub IpAddr);

impl PeerAddress {
    /// From whom `request` comes; `None` where no listener took it.
    pub(super) fn of(request: &Request) -> Option<IpAddr> {
        request.extensions().get::<Self>().map(|one| one.0)
    }
}

/// Longest first name of a path that is logged.
const LONGEST_NAME: usize = 32;

/// What proxies write down for whom they ask, the nearest last.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The proxies before a listener: networks whose word counts for whom they ask.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Arc<[IpNet]>);

impl Proxies {
    /// Proxies in `networks`.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Who asks over a connection from `from`: that address, or where it is a proxy, the nearest that it names which is none.
    fn client(&self, from: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = from;
        if self.0.is_empty() {
            return client;
        }
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let named = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        for name in named {
            if !self.has(client) {
                break;
            }
            let name = name.trim();
            let address = name.parse().or_else(|_| name.parse::<SocketAddr>().map(|address| address.ip()));
            // What cannot be read is the word of nobody: the proxy stands for it.
            let Ok(address) = address else { break };
            client = address;
        }
        client
    }
}

/// Serves `router` on `listener` until `stop`, as [`serve_behind`] without proxies.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Serving>,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) {
    serve_behind(Proxies::default(), listener, tls, router, bounds, stop).await;
}

/// Serves `router` on `listener` until `stop`. More connections than `bounds` allows in total wait in the operating system's
/// queue; those of one address beyond its own are closed at once, unless it is one of `proxies`.
pub async fn serve_behind(
    proxies: Proxies,
    listener: TcpListener,
    tls: Option<Serving>,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let router = if tls.is_some() { router.layer(map_response(over_tls)) } else { router };
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let patience = Patience {
        first_request: seconds(bounds.first_request_seconds),
        idle: seconds(bounds.idle_seconds),
        stalled: seconds(bounds.stalled_seconds),
    };
    let all = places(bounds.connections);
    let addresses = Shares::new(bounds.connections_per_address);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.first_request)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS);
    let builder = Arc::new(builder);
    let connections = TaskTracker::new();
    let mut lack = None;
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&all).acquire_owned() => place,
        };
        // The semaphore is never closed.
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            // That peer is gone already; the next one may be there.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) =>
            {
                continue;
            }
            Err(error) => {
                // Out of file descriptors or memory: told once, and tried again until there are some.
                if lack.is_none() {
                    tracing::error!(%error, "connections cannot be accepted");
                }
                let pause = lack.map_or(FIRST_PAUSE, |lack: Lack| (lack.pause * 2).min(LONGEST_PAUSE));
                let until = Instant::now() + pause;
                lack = Some(Lack { pause, until });
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep_until(until) => continue,
                }
            }
        };
        // Where descriptors come and go one by one, there is a lack of them still.
        if lack.is_some_and(|lack| lack.until.elapsed() + lack.pause >= LONGEST_PAUSE) {
            tracing::info!("connections are accepted again");
            lack = None;
        }
        // A proxy has the connections of many.
        let own = if proxies.has(from.ip()) {
            None
        } else {
            let Ok(own) = addresses.of(whose(from.ip())).try_acquire_owned() else {
                tracing::debug!(%from, "a connection was closed: its address has as many as it may");
                continue;
            };
            Some(own)
        };
        // Small messages back and forth: waiting to fill packets only costs time.
        let _ = stream.set_nodelay(true);
        let since = Instant::now();
        let stream = Bytewise::new(stream, patience.stalled, (own, place));
        // The newest certificate counts for each connection.
        let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.borrow())));
        let serving = Serve {
            builder: Arc::clone(&builder),
            router: router.clone(),
            open: Open::new(patience, since),
            from,
            proxies: proxies.clone(),
            patience,
            stop: stop.clone(),
        };
        connections.spawn(async move {
            match acceptor {
                None => serving.run(stream).await,
                Some(acceptor) => {
                    let until = since + patience.first_request;
                    let stream = tokio::select! {
                        () = serving.stop.cancelled() => return,
                        stream = handshake(&acceptor, stream, from, until) => stream,
                    };
                    if let Some(stream) = stream {
                        serving.run(stream).await;
                    }
                }
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        tracing::info!("requests that still ran after {} s were cut", GRACE.as_secs());
    }
}

/// That there is nothing to accept a connection with.
#[derive(Clone, Copy)]
struct Lack {
    /// How long it was waited last.
    pause: Duration,
    /// Until when.
    until: Instant,
}

/// What one connection is served with.
struct Serve {
    builder: Arc<Builder<TokioExecutor>>,
    router: Router,
    open: Arc<Open>,
    from: SocketAddr,
    proxies: Proxies,
    patience: Patience,
    stop: CancellationToken,
}

impl Serve {
    async fn run(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { builder, router, open, from, proxies, patience, stop } = self;
        let (watching, router) = (Arc::clone(&open), TowerToHyperService::new(router));
        let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            let running = watching.begin();
            let client = proxies.client(from.ip(), request.headers());
            request.extensions_mut().insert(PeerAddress(client));
            // Whose request a line of the log is about. Of the path only its first name: further on stand secrets.
            let face = request.uri().path().split('/').nth(1).filter(|name| name.len() <= LONGEST_NAME);
            let face = face.unwrap_or("(long)");
            let span = tracing::error_span!("request", from = %client, method = %request.method(), face);
            let answering = span.in_scope(|| router.call(request));
            let answered = async move {
                let answer = answering.await?;
                tracing::debug!(status = answer.status().as_u16(), "answered");
                Ok::<_, Infallible>(answer.map(|body| running.hand_on(body)))
            };
            answered.instrument(span)
        });
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        tokio::pin!(connection);
        let asked = tokio::select! {
            ended = connection.as_mut() => return report(ended, from),
            asked = open.given_up() => asked,
            () = stop.cancelled() => {
                // What runs may end.
                connection.as_mut().graceful_shutdown();
                return report(connection.as_mut().await, from);
            }
        };
        tracing::debug!(%from, "a connection was closed: nothing was asked for over it for too long");
        if asked {
            connection.as_mut().graceful_shutdown();
            // What the server still holds of answers may be taken.
            if let Ok(ended) = tokio::time::timeout(patience.stalled, connection).await {
                report(ended, from);
            }
        }
    }
}

fn report(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>, from: SocketAddr) {
    if let Err(error) = ended {
        tracing::debug!(%from, error = crate::telemetry::chain(error.as_ref()), "a connection ended with an error");
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: Bytewise<TcpStream>,
    from: SocketAddr,
    until: Instant,
) -> Option<tokio_rustls::server::TlsStream<Bytewise<TcpStream>>> {
    match tokio::time::timeout_at(until, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%from, %error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%from, "a TLS handshake took too long");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_say_who_asks_and_nobody_else_does() {
        let proxies = Proxies::new(&["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
        let client = |from: &str, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, line.parse().unwrap());
            }
            proxies.client(from.parse().unwrap(), &headers).to_string()
        };
        for (from, lines, expected) in [
            ("10.0.0.1", vec!["192.0.2.7"], "192.0.2.7"),
            ("::ffff:10.0.0.1", vec!["192.0.2.7"], "192.0.2.7"),
            // What a client wrote itself stands before what the proxy saw.
            ("10.0.0.1", vec!["203.0.113.1, 192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", vec!["203.0.113.1", "192.0.2.7, 10.1.1.1"], "192.0.2.7"),
            ("2001:db8::1", vec!["2001:db9::7"], "2001:db9::7"),
            ("10.0.0.1", vec!["192.0.2.7:4711"], "192.0.2.7"),
            ("10.0.0.1", vec!["192.0.2.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("192.0.2.1", vec!["192.0.2.7"], "192.0.2.1"),
        ] {
            assert_eq!(client(from, &lines), expected, "{from} {lines:?}");
        }
        let none = Proxies::default();
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, "192.0.2.7".parse().unwrap());
        assert_eq!(none.client("10.0.0.1".parse().unwrap(), &headers).to_string(), "10.0.0.1");
    }
}
