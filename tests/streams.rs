//! Streams that do not end by themselves, and who reads them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::support::{Node, answer};

/// An upstream that sends one chunk and then nothing, for ever; it counts its readers.
pub async fn endless(readers: Arc<AtomicUsize>) -> (String, CancellationToken) {
    async fn first_chunk(State(readers): State<Arc<AtomicUsize>>) -> Response {
        readers.fetch_add(1, Ordering::SeqCst);
        let chunks = stream::unfold(0, |n| async move {
            if n > 0 {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, std::io::Error>("row\n"), n + 1))
        });
        ([("content-type", "text/csv")], Body::from_stream(chunks)).into_response()
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rows", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(first_chunk).with_state(readers);
    let stop = CancellationToken::new();
    tokio::spawn(connector::http::listener::serve(
        listener,
        None,
        router,
        connector::config::Bounds::default(),
        stop.clone(),
    ));
    (url, stop)
}

/// Where and with what the data of a new transfer is read.
pub async fn door(consumer: &Node, agreement: &str) -> (String, String) {
    let started = consumer.json(&["transfers", "start", agreement]);
    let transfer = started["@id"].as_str().unwrap();
    let address = consumer.get(&format!("/v4/edrs/{}/dataaddress", trust::did::segment(transfer))).await;
    let text = |name: &str| address[name].as_str().unwrap().to_owned();
    (text("endpoint"), text("authorization"))
}

/// Opens a read and takes its first chunk.
pub async fn open(client: &reqwest::Client, (endpoint, token): &(String, String)) -> reqwest::Response {
    let mut response = client.get(endpoint).bearer_auth(token).send().await.unwrap();
    if response.status() != 200 {
        panic!("{:?}", answer(response).await);
    }
    assert_eq!(response.chunk().await.unwrap().unwrap(), "row\n");
    response
}

/// When the read broke off.
#[expect(clippy::disallowed_methods, reason = "the test's own clock")]
pub async fn broke_off(mut response: reqwest::Response) -> Timestamp {
    let end = tokio::time::timeout(std::time::Duration::from_secs(120), response.chunk()).await;
    assert!(end.unwrap().is_err(), "cut, not complete");
    Timestamp::now()
}
