//! An HTTP source with credentials of its own, which never leave the node.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};

use crate::support::{PURPOSE, World};

type Seen = Arc<Mutex<Vec<HeaderMap>>>;

async fn answer(State(seen): State<Seen>, headers: HeaderMap) -> Response {
    seen.lock().unwrap().push(headers.clone());
    if headers.get("x-upstream-key").is_none_or(|key| key != "s3cret") {
        return (StatusCode::FORBIDDEN, "who are you? s3cret is needed").into_response();
    }
    if headers.get("range").is_some() {
        return (StatusCode::PARTIAL_CONTENT, [("content-range", "bytes 0-1/5")], "ab").into_response();
    }
    let about = [
        ("content-type", "text/csv"),
        ("content-encoding", "br"),
        ("set-cookie", "s=1"),
        ("x-internal", "host7"),
        ("etag", "\"v1\""),
    ];
    (StatusCode::OK, about, "abcde").into_response()
}

#[tokio::test]
async fn an_upstream_is_read_with_the_nodes_credentials_and_shows_none_of_them() {
    let seen = Seen::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rows", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&seen));
    let stop = tokio_util::sync::CancellationToken::new();
    tokio::spawn(connector::http::listener::serve(listener, None, router, stop));

    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let secret = world.folder.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let publish = [
        "publish",
        &url,
        "--id",
        "urn:up",
        "--title",
        "Upstream",
        "--purpose",
        PURPOSE,
        "--auth-header",
        "X-Upstream-Key",
        "--secret-file",
        secret.to_str().unwrap(),
    ];
    let refused = provider.run(&publish);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("chmod 600"), "{refused:?}");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    provider.json(&publish);
    assert!(provider.json(&["offers"]).as_array().unwrap().len() == 1, "the failed try left nothing behind");
    let catalog = consumer.json(&["catalog", &provider.did]).to_string();
    assert!(!catalog.contains("s3cret") && !catalog.contains(&url), "{catalog}");

    let found = consumer.json(&["negotiate", &provider.did, "urn:up", "--purpose", PURPOSE]);
    let agreement = found["contractAgreementId"].as_str().unwrap().to_owned();
    let started = consumer.json(&["transfers", "start", &agreement]);
    let transfer = started["@id"].as_str().unwrap();
    let address = consumer.get(&format!("/v4/edrs/{}/dataaddress", trust::did::segment(transfer))).await;
    let (endpoint, token) =
        (address["endpoint"].as_str().unwrap(), address["authorization"].as_str().unwrap());
    let ask =
        |token: &str| consumer.client.get(endpoint).bearer_auth(token.to_owned()).header("cookie", "mine=1");
    let answer = ask(token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-encoding"], "br", "compression passes through");
    assert_eq!(answer.headers()["etag"], "\"v1\"");
    for hidden in ["set-cookie", "x-internal", "x-upstream-key"] {
        assert!(answer.headers().get(hidden).is_none(), "{hidden}");
    }
    assert_eq!(answer.text().await.unwrap(), "abcde");
    let part = ask(token).header("range", "bytes=0-1").send().await.unwrap();
    assert_eq!(
        (part.status(), part.headers()["content-range"].to_str().unwrap()),
        (StatusCode::PARTIAL_CONTENT, "bytes 0-1/5")
    );
    {
        let seen = seen.lock().unwrap();
        let last = seen.last().unwrap();
        assert_eq!(last["x-upstream-key"], "s3cret");
        assert!(
            last.get("authorization").is_none() && last.get("cookie").is_none(),
            "the reader's own stay out"
        );
    }
    for wrong in ["", "x", &token.to_lowercase()] {
        assert_eq!(ask(wrong).send().await.unwrap().status(), 401);
    }
    assert_eq!(consumer.client.put(endpoint).bearer_auth(token).send().await.unwrap().status(), 405);

    // The upstream's own words stay inside.
    std::fs::write(&secret, "wrong").unwrap();
    let failed = ask(token).send().await.unwrap();
    assert_eq!(failed.status(), 502);
    let text = failed.text().await.unwrap();
    assert!(!text.contains("s3cret") && !text.contains("403"), "{text}");
    assert!(provider.events().iter().any(|line| line.contains("the source answered 403")));
    assert!(!provider.log().contains("s3cret"));
}
