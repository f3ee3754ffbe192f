//! An HTTP source with credentials of its own, which never leave the node.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};

use crate::gateway::{read, reading_key};
use crate::support::{PURPOSE, World, free_port};

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
    tokio::spawn(connector::http::listener::serve(
        listener,
        None,
        router,
        connector::config::Bounds::default(),
        stop,
    ));

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

/// Serves a router on a port of its own.
async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(connector::http::listener::serve(
        listener,
        None,
        router,
        connector::config::Bounds::default(),
        tokio_util::sync::CancellationToken::new(),
    ));
    url
}

async fn echo(method: http::Method, uri: http::Uri, body: Bytes) -> String {
    format!("{method} {uri} {}", String::from_utf8_lossy(&body))
}

#[tokio::test]
async fn of_an_upstream_only_what_is_listed_can_be_asked() {
    let url = serve(axum::Router::new().fallback(echo)).await;
    let world = World::new();
    let (provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let address = world.folder.path().join("address.json");
    let said = serde_json::json!({"type": "HttpData", "baseUrl": format!("{url}/api"), "paths": ["stations/*", "search", "files/**"],
        "queryParameters": ["from"], "methods": ["GET", "POST"]});
    std::fs::write(&address, said.to_string()).unwrap();
    let file = world.folder.path().join("second.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    provider.json(&[
        "publish",
        "--data-address",
        address.to_str().unwrap(),
        "--id",
        "urn:api",
        "--title",
        "A",
        "--purpose",
        PURPOSE,
        "--distribution",
        &format!("table={}", file.display()),
    ]);
    let take = |name: &str, more: &[&str]| {
        let usual = ["use", "urn:api", "--from", &provider.did, "--as", name, "--purpose", PURPOSE];
        consumer.json(&[&usual[..], more].concat());
    };
    take("api", &[]);
    take("table", &["--distribution", "table"]);
    let key = reading_key(&consumer);
    let got = read(&consumer, &key, "/d/api/stations/7?from=2026").await.text().await.unwrap();
    assert_eq!(got, "GET /api/stations/7?from=2026 ");
    let post =
        consumer.client.post(format!("{}/d/api/search", consumer.management)).header("x-api-key", &key);
    assert_eq!(
        post.body("{\"near\":1}").send().await.unwrap().text().await.unwrap(),
        "POST /api/search {\"near\":1}"
    );
    for (wrong, status) in [
        ("/d/api/secret", 404),
        ("/d/api/stations/7/owner", 404),
        ("/d/api/stations/..%2f..%2fsecret", 404),
        ("/d/api/stations/.%0a.", 404),
        ("/d/api/stations/.%09.", 404),
        ("/d/api/stations/.%0d./secret", 404),
        ("/d/api/stations/..%5csecret", 404),
        ("/d/api/files//secret", 404),
        ("/d/api/stations/7?owner=anna", 400),
        ("/d/api/stations/7?from%0a=anna", 400),
    ] {
        assert_eq!(read(&consumer, &key, wrong).await.status(), status, "{wrong}");
    }
    let got = read(&consumer, &key, "/d/api/files/a%2Fb%20c").await.text().await.unwrap();
    assert_eq!(got, "GET /api/files/a%2Fb%20c ", "an encoded slash stays one on the whole way");
    // The same without this node's gateway in between, and for everybody.
    let open: &[&str] =
        &["--open", "--license", "http://publications.europa.eu/resource/authority/licence/CC0"];
    provider.json(
        &[&["publish", &url, "--id", "urn:open", "--title", "O", "--path", "stations/*"], open].concat(),
    );
    let ask =
        |path: &str| provider.client.get(format!("{}/open/data/urn:open/{path}", provider.address)).send();
    assert_eq!(ask("stations/7").await.unwrap().text().await.unwrap(), "GET /stations/7 ");
    for wrong in [
        "stations/.%0a.",
        "stations/.%09./secret",
        "stations/.%0d.",
        "stations/a%2fb",
        "stations/%2e%2e%2fsecret",
    ] {
        assert_eq!(ask(wrong).await.unwrap().status(), 404, "{wrong}");
    }
    let put = consumer.client.put(format!("{}/d/api/search", consumer.management)).header("x-api-key", &key);
    assert_eq!(put.send().await.unwrap().status(), 405);
    let plain = read(&consumer, &key, "/d/table").await.text().await.unwrap();
    assert_eq!(plain, "a\n1\n", "another form of the same dataset");

    // A listener for the gateway alone.
    let port = free_port();
    consumer.configure("[gateway]", &format!("[gateway]\nlisten = \"127.0.0.1:{port}\""));
    let client = world.client();
    let there =
        |path: &str| client.get(format!("http://127.0.0.1:{port}{path}")).header("x-api-key", &key).send();
    assert_eq!(there("/d/table").await.unwrap().text().await.unwrap(), "a\n1\n");
    assert_eq!(there("/v4/uses").await.unwrap().status(), 404, "only the gateway is there");
    assert_eq!(client.get(format!("http://127.0.0.1:{port}/d/table")).send().await.unwrap().status(), 401);
}

/// Answers with the status that is asked for; `broken` breaks off before its first byte.
async fn as_asked(uri: http::Uri) -> Response {
    let asked = uri.query().unwrap_or_default();
    if asked.contains("broken") {
        let chunks = futures_util::stream::once(async {
            // The head goes out while nothing is there yet.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            Err::<Bytes, _>(std::io::Error::other("gone"))
        });
        return ([("content-length", "5")], Body::from_stream(chunks)).into_response();
    }
    let status = asked.rsplit('=').next().and_then(|status| status.parse().ok()).unwrap_or(200_u16);
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("retry-after", "7")], "row\n").into_response()
}

/// Of two reads that the terms allow none is used up by what the reader asks wrongly, nor by a source that fails.
#[tokio::test]
async fn a_mistake_of_the_reader_is_its_own_and_what_gives_nothing_uses_nothing() {
    let url = serve(axum::Router::new().fallback(as_asked)).await;
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.json(&[
        "publish",
        &url,
        "--parameter",
        "say",
        "--id",
        "urn:asked",
        "--title",
        "A",
        "--purpose",
        PURPOSE,
        "--at-most",
        "2",
    ]);
    consumer.json(&["use", "urn:asked", "--from", &provider.did, "--as", "asked", "--purpose", PURPOSE]);
    let key = reading_key(&consumer);
    for (said, expected) in [
        ("400", 400),
        ("422", 400),
        ("415", 400),
        ("404", 404),
        ("410", 404),
        ("416", 416),
        ("429", 429),
        ("503", 503),
        ("500", 502),
        ("401", 502),
    ] {
        let answer = read(&consumer, &key, &format!("/d/asked?say={said}")).await;
        assert_eq!(answer.status(), expected, "{said}");
        if [429, 503].contains(&expected) {
            assert_eq!(answer.headers()["retry-after"], "7", "{said}");
        }
    }
    // The head was sent, and not a byte after it.
    for _ in 0..3 {
        let broken = read(&consumer, &key, "/d/asked?say=broken").await;
        assert!(!broken.status().is_success() || broken.bytes().await.is_err());
    }
    let events = |text: &str| provider.events().iter().filter(|line| line.contains(text)).count();
    provider.until("/v4/identity", |_| events("failed before its first byte") > 0).await;
    let agreement = consumer.get("/v4/uses/asked").await["agreement"].as_str().unwrap().to_owned();
    let path = format!("/v4/contractagreements/{}", trust::did::segment(&agreement));
    provider.until(&path, |one| one["urn:concordat:requests"] == 0 && one["urn:concordat:reads"] == 0).await;
    for _ in 0..2 {
        assert_eq!(read(&consumer, &key, "/d/asked").await.text().await.unwrap(), "row\n");
    }
    assert_eq!(read(&consumer, &key, "/d/asked").await.status(), 403, "twice, no more");
}

/// What is not there any more is not there for the reader either; that it should be is the provider's affair.
#[tokio::test]
async fn what_is_gone_at_its_source_is_gone() {
    let url = serve(axum::Router::new().fallback(as_asked)).await;
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let publish = |say: &str| {
        let id = format!("urn:says:{say}");
        let url = format!("{url}/?say={say}");
        provider.json(&["publish", &url, "--id", &id, "--title", "A", "--purpose", PURPOSE]);
        consumer.json(&[
            "use",
            &id,
            "--from",
            &provider.did,
            "--as",
            &format!("s{say}"),
            "--purpose",
            PURPOSE,
        ]);
    };
    publish("404");
    publish("429");
    let key = reading_key(&consumer);
    let answer = read(&consumer, &key, "/d/s404").await;
    assert_eq!(answer.status(), 404);
    let said = answer.text().await.unwrap();
    assert!(said.contains("the source has nothing where the provider reads"), "{said}");
    assert!(provider.events().iter().any(|line| line.contains("could not be read") && line.contains("404")));
    for path in ["/d/s429", "/d/s429.json"] {
        let answer = read(&consumer, &key, path).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (429, &"7".parse().unwrap()),
            "{path}"
        );
    }
}

/// Gives a megabyte, and hangs up after a third of whatever it is asked for, so often.
async fn fragile(State(left): State<Arc<AtomicU64>>, headers: HeaderMap) -> Response {
    let whole: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let range = headers.get("range").and_then(|range| range.to_str().ok());
    let from =
        range.and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok()).unwrap_or(0);
    let rest = whole[from..].to_vec();
    let breaks = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    let length = rest.len();
    let given = if breaks { rest[..length / 3].to_vec() } else { rest };
    let chunks = futures_util::stream::iter(
        [Ok(Bytes::from(given))].into_iter().chain(breaks.then(|| Err(std::io::Error::other("gone")))),
    );
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert("content-length", length.into());
    headers.insert("accept-ranges", "bytes".parse().unwrap());
    headers.insert("etag", "\"v1\"".parse().unwrap());
    if from > 0 {
        headers.insert(
            "content-range",
            format!("bytes {from}-{}/{}", whole.len() - 1, whole.len()).parse().unwrap(),
        );
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_on_the_way_is_taken_up_where_it_stopped() {
    let left = Arc::new(AtomicU64::new(4));
    let url = serve(axum::Router::new().fallback(fragile).with_state(Arc::clone(&left))).await;
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.json(&["publish", &url, "--id", "urn:fragile", "--title", "F", "--purpose", PURPOSE]);
    consumer.json(&["use", "urn:fragile", "--from", &provider.did, "--as", "fragile", "--purpose", PURPOSE]);
    let key = reading_key(&consumer);
    let got = read(&consumer, &key, "/d/fragile").await.bytes().await.unwrap();
    assert_eq!(left.load(Ordering::SeqCst), 0, "it broke off four times");
    assert!(got.len() == 1_000_000 && got.iter().zip(0_u32..).all(|(byte, n)| u32::from(*byte) == n % 251));
    assert!(consumer.log().contains("a stream was taken up again"));
}
