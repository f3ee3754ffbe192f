//! The accept loop: TLS where configured, HTTP/1.1 and HTTP/2, bounds on connections, headers and time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::map_response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::sessions::over_tls;
use crate::tls::Serving;

/// Most connections at once; more wait in the operating system's queue.
const CONNECTIONS: usize = 4096;
/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest time for a request's head to arrive.
const HEAD: Duration = Duration::from_secs(10);
// A connection is closed when no further request comes within that time: this node's own client gives it up earlier.
const _: () = assert!(crate::network::IDLE.as_millis() < HEAD.as_millis());
/// Largest request head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// How long running requests may go on after a stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serves `router` on `listener` until `stop`.
pub async fn serve(listener: TcpListener, tls: Option<Serving>, router: Router, stop: CancellationToken) {
    let router = if tls.is_some() { router.layer(map_response(over_tls)) } else { router };
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_concurrent_streams(256);
    let builder = Arc::new(builder);
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the peer is gone already: the permit bounds how many can be open.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        // The newest certificate counts for each connection.
        let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.borrow())));
        let (builder, watcher) = (Arc::clone(&builder), graceful.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            // Small messages back and forth: waiting to fill packets only costs time.
            let _ = stream.set_nodelay(true);
            match acceptor {
                None => {
                    let connection =
                        builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
                    report(watcher.watch(connection).await, from);
                }
                Some(acceptor) => {
                    let Some(stream) = handshake(&acceptor, stream, from).await else { return };
                    let connection =
                        builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
                    report(watcher.watch(connection).await, from);
                }
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::info!("requests that still ran after {} s were cut", GRACE.as_secs());
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    from: SocketAddr,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
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

fn report(result: Result<(), Box<dyn std::error::Error + Send + Sync>>, from: SocketAddr) {
    if let Err(error) = result {
        tracing::debug!(%from, error = crate::telemetry::chain(error.as_ref()), "a connection ended with an error");
    }
}
