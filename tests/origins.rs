//! What others made is never a page of this node, pages keep to themselves, and what a key opened ends with it.

use http::{HeaderMap, Method, StatusCode};
use reqwest::{Client, Response, redirect};
use serde_json::json;

use crate::gateway::reading_key;
use crate::live::Writer;
use crate::support::{Node, PURPOSE, World};

const LICENSE: &str = "http://publications.europa.eu/resource/authority/licence/CC0";
const SCRIPT: &str = "<html><script>fetch('/officer')</script></html>";

fn is_a_file(what: &str, headers: &HeaderMap) {
    let told = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let policy = told("content-security-policy");
    assert!(policy.starts_with("sandbox;") && policy.contains("default-src 'none'"), "{what}: {headers:?}");
    assert!(!policy.contains("allow-"), "{what}: {policy}");
    assert_eq!(told("x-content-type-options"), "nosniff", "{what}");
    assert!(told("content-disposition").starts_with("attachment"), "{what}: {headers:?}");
}

fn is_a_page(what: &str, headers: &HeaderMap) {
    let told = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let policy = told("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{what}: {headers:?}"
    );
    assert!(!policy.contains("unsafe"), "{what}: {policy}");
    assert_eq!(told("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(told("cross-origin-opener-policy"), "same-origin", "{what}");
}

#[tokio::test]
async fn whatever_others_made_is_a_file_and_no_page_on_every_face() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let page = provider.data().join("evil.html");
    std::fs::write(&page, SCRIPT).unwrap();
    for (id, media_type) in
        [("urn:html", "text/html"), ("urn:svg", "image/svg+xml"), ("urn:xml", "application/xhtml+xml")]
    {
        let usual =
            ["publish", page.to_str().unwrap(), "--id", id, "--title", "T", "--media-type", media_type];
        provider.json(&[&usual[..], &["--open", "--license", LICENSE]].concat());
        for method in [Method::GET, Method::HEAD] {
            let url = format!("{}/open/data/{id}", provider.address);
            let answer = provider.client.request(method.clone(), url).send().await.unwrap();
            assert_eq!(
                (answer.status(), &answer.headers()["content-type"]),
                (StatusCode::OK, &media_type.parse().unwrap())
            );
            is_a_file(&format!("{method} {id}"), answer.headers());
        }
    }
    for path in [
        "/open/data/urn:none",
        "/open/data/urn:html/below",
        "/open/data/urn:html/%ff",
        "/data/none",
        "/data/none/%ff",
    ] {
        let answer = provider.client.get(format!("{}{path}", provider.address)).send().await.unwrap();
        assert!(answer.status().is_client_error());
        is_a_file(path, answer.headers());
    }
    // Under an agreement: at the provider's door, at the gateway, as a view, and out of the management API.
    let agreed = provider.data().join("rows.csv");
    std::fs::write(&agreed, "a\n<script>alert(1)</script>\n").unwrap();
    provider.json(&[
        "publish",
        agreed.to_str().unwrap(),
        "--id",
        "urn:rows",
        "--title",
        "T",
        "--purpose",
        PURPOSE,
        "--media-type",
        "text/csv",
    ]);
    provider.json(&[
        "publish",
        page.to_str().unwrap(),
        "--id",
        "urn:page",
        "--title",
        "T",
        "--purpose",
        PURPOSE,
        "--media-type",
        "text/html",
    ]);
    for (id, name) in [("urn:rows", "rows"), ("urn:page", "page")] {
        consumer.json(&["use", id, "--from", &provider.did, "--as", name, "--purpose", PURPOSE]);
    }
    let key = reading_key(&consumer);
    for (path, status) in [
        ("/d/page", 200),
        ("/d/page.csv", 406),
        ("/d/page/none", 404),
        ("/d/rows.json", 200),
        ("/d/rows.none", 404),
        ("/d/none", 404),
        ("/d", 200),
        ("/d/page/%ff", 400),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let url = format!("{}{path}", consumer.management);
            let answer =
                consumer.client.request(method.clone(), url).header("x-api-key", &key).send().await.unwrap();
            assert_eq!(answer.status(), status, "{method} {path}");
            is_a_file(&format!("{method} {path}"), answer.headers());
        }
    }
    let refused = consumer.client.get(format!("{}/d/page", consumer.management)).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    is_a_file("without a key", refused.headers());
    let transfer = consumer.get("/v4/uses/page").await["transfer"].as_str().unwrap().to_owned();
    let url = format!("{}/v4/transferprocesses/{}/data", consumer.management, trust::did::segment(&transfer));
    let answer = consumer.client.get(url).header("x-api-key", &consumer.key).send().await.unwrap();
    is_a_file("pull", answer.headers());
    assert_eq!(answer.text().await.unwrap(), SCRIPT);
}

#[tokio::test]
async fn every_answer_is_guarded_and_every_refusal_has_the_form_of_its_face() {
    let world = World::new();
    let node = world.local_node("provider");
    let ask = async |address: String| {
        let asked = node.client.get(&address).header("x-api-key", &node.key).send().await.unwrap();
        let (status, headers) = (asked.status().as_u16(), asked.headers().clone());
        let told = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(told("x-content-type-options"), "nosniff", "{address}");
        let policy = told("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{address}: {policy}"
        );
        let kind = told("content-type").to_owned();
        (status, kind, asked.bytes().await.unwrap())
    };
    for path in ["/v4/identity", "/v4/events/log", "/openapi.json"] {
        assert_eq!(ask(format!("{}{path}", node.management)).await.0, 200, "{path}");
    }
    for path in ["/.well-known/did.json", "/.well-known/dspace-version", "/health", "/open/catalog"] {
        assert_eq!(ask(format!("{}{path}", node.address)).await.0, 200, "{path}");
    }
    let refused = async |address: String, expected: u16| {
        let (status, kind, body) = ask(address.clone()).await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        assert!(status == expected && kind == "application/json", "{address}: {status} {kind} {body}");
        body
    };
    for (path, status) in [
        ("/v4/events/log?limit=x", 400),
        ("/v4/events/log?limit=1&limit=2", 400),
        ("/v4/audit/entries?limit=-1", 400),
        ("/v4/assets/%ff", 400),
        ("/v4/contractagreements/%ff/dossier", 400),
        ("/v3/assets/%ff", 400),
        ("/v4/assets", 405),
        ("/v4/none", 404),
        ("/none", 404),
    ] {
        let body = refused(format!("{}{path}", node.management), status).await;
        assert!(body[0]["message"].is_string() && body[0]["type"].is_string(), "{path}: {body}");
    }
    for (path, status, kind) in [
        ("/dsp/2025-1/negotiations/%ff", 400, "ContractNegotiationError"),
        ("/dsp/2025-1/agreements/%ff/log", 400, "ContractNegotiationError"),
        ("/dsp/2025-1/transfers/%ff", 400, "TransferError"),
        ("/dsp/2025-1/catalog/datasets/%ff", 400, "CatalogError"),
        ("/dsp/2025-1/catalog/request?continuationToken=1&continuationToken=2", 400, "CatalogError"),
        ("/dsp/2025-1/transfers/request/none/none", 404, "TransferError"),
        ("/dsp/2025-1/negotiations/offers/none", 405, "ContractNegotiationError"),
        ("/dsp/2025-1/none", 404, "CatalogError"),
    ] {
        let body = refused(format!("{}{path}", node.address), status).await;
        assert_eq!(body["@type"], kind, "{path}: {body}");
        assert!(body["code"].is_string() && body["reason"][0].is_string(), "{path}: {body}");
    }
    for (path, status) in [
        ("/data/%ff", 400),
        ("/open/data/%ff", 400),
        ("/ngsi-ld/notify/%ff", 405),
        ("/open/datasets/%ff", 400),
        ("/open/sitemap.xml?page=x", 400),
        ("/dcp/issuer/requests/%ff", 400),
        ("/dcp/holder/none", 404),
        ("/personal/consents", 405),
        ("/none", 404),
    ] {
        let body = refused(format!("{}{path}", node.address), status).await;
        assert!(body["code"].is_string() && !body["reason"].is_null(), "{path}: {body}");
    }
    for path in ["/d/%ff", "/d/none/%ff"] {
        let body = refused(format!("{}{path}", node.management), 400).await;
        assert!(body["code"].is_string() || body[0]["message"].is_string(), "{path}: {body}");
    }
}

/// As a browser would, without following anywhere.
fn visitor() -> Client {
    Client::builder().no_proxy().redirect(redirect::Policy::none()).build().unwrap()
}

async fn sign_in(node: &Node, page: &str, key: &str) -> Response {
    visitor()
        .post(format!("{}/{page}/login", node.management))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("key={key}"))
        .send()
        .await
        .unwrap()
}

fn cookie(answer: &Response) -> String {
    answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn every_page_and_redirect_keeps_to_itself_and_none_takes_a_key_from_its_address_unasked() {
    let world = World::new();
    let mut node = world.local_node("consumer");
    let key = reading_key(&node);
    let visitor = visitor();
    let at = |path: &str| format!("{}{path}", node.management);
    for (path, status) in [
        ("/dashboard", 303),
        ("/dashboard/login", 200),
        ("/dashboard/none/live", 401),
        ("/dashboard/style.css", 200),
        ("/officer", 303),
        ("/officer/login", 200),
        ("/officer/style.css", 200),
        ("/dashboard?key=guessed", 303),
        (&format!("/dashboard?key={key}"), 303),
    ] {
        let answer = visitor.get(at(path)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        is_a_page(path, answer.headers());
        assert!(!answer.headers().contains_key("set-cookie"), "{path} lets somebody in");
    }
    for path in ["/dashboard/login", "/officer/login"] {
        for (body, status) in [("key=guessed", 401), ("", 422), ("other=1", 422)] {
            let answer = visitor
                .post(at(path))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body)
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), status, "{path} {body}");
            is_a_page(path, answer.headers());
        }
    }
    for path in [
        "/personal/page",
        "/personal/page?session=x",
        "/personal/style.css",
        "/open/catalog.html",
        "/open/catalog.none",
    ] {
        let answer = world.client_that_stays().get(format!("{}{path}", node.address)).send().await.unwrap();
        is_a_page(path, answer.headers());
    }
    // One cookie for each page, for its paths alone; nothing but pages takes any.
    let (dashboard, officer) =
        (sign_in(&node, "dashboard", &key).await, sign_in(&node, "officer", &node.key).await);
    for (page, answer) in [("/dashboard", &dashboard), ("/officer", &officer)] {
        assert_eq!(answer.status(), 303);
        is_a_page(page, answer.headers());
        let told = answer.headers()["set-cookie"].to_str().unwrap();
        for said in [format!("Path={page}"), "HttpOnly".to_owned(), "SameSite=Strict".to_owned()] {
            assert!(told.split("; ").any(|one| one == said), "{told}");
        }
    }
    let both = format!("{}; {}", cookie(&dashboard), cookie(&officer));
    assert_ne!(cookie(&dashboard).split('=').next(), cookie(&officer).split('=').next());
    for path in ["/v4/identity", "/v4/apikeys", "/d", "/openapi.json"] {
        let answer = visitor.get(at(path)).header("cookie", &both).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
    }
    for (path, other) in [("/dashboard", &officer), ("/officer", &dashboard)] {
        assert_eq!(
            visitor.get(at(path)).header("cookie", cookie(other)).send().await.unwrap().status(),
            303,
            "{path}"
        );
        assert_eq!(
            visitor.get(at(path)).header("cookie", &both).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
    // Where the operator allows it, the address opens the page, and the key is taken out of it.
    node.configure("key_in_address = false", "key_in_address = true");
    // No connection to the node as it was.
    let visitor = self::visitor();
    let at = |path: &str| format!("{}{path}", node.management);
    let entered = visitor.get(at(&format!("/dashboard?key={key}"))).send().await.unwrap();
    assert_eq!(
        (entered.status().as_u16(), entered.headers()["location"].to_str().unwrap()),
        (303, "/dashboard")
    );
    let shown = visitor.get(at("/dashboard")).header("cookie", cookie(&entered)).send().await.unwrap();
    assert_eq!(shown.status(), 200);
    is_a_page("the page", shown.headers());
}

/// Reads on until it ends.
async fn ends(mut stream: Response) {
    let whole = async { while let Ok(Some(_)) = stream.chunk().await {} };
    tokio::time::timeout(std::time::Duration::from_secs(60), whole).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_opened_ends_when_it_is_revoked() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let folder = provider.data().join("events");
    std::fs::create_dir(&folder).unwrap();
    let usual = [
        "publish",
        folder.to_str().unwrap(),
        "--tail",
        "--id",
        "urn:live",
        "--title",
        "L",
        "--purpose",
        PURPOSE,
    ];
    provider.json(&usual);
    consumer.json(&["use", "urn:live", "--from", &provider.did, "--as", "live", "--purpose", PURPOSE]);
    let _writer = Writer::start(folder.join("a.ndjson"), std::time::Duration::from_millis(20));
    let make = |scope: &str| {
        let made = consumer.json(&["keys", "create", scope, "--scope", scope]);
        (made["@id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
    };
    let (reads, consumes, admin, stays) = (make("read"), make("consume"), make("admin"), make("admin"));
    let open = async |path: &str, name: &str, value: &str| {
        let mut sent =
            visitor().get(format!("{}{path}", consumer.management)).header(name, value).send().await.unwrap();
        assert_eq!(sent.status(), 200, "{path}");
        if path != "/v4/events" {
            sent.chunk().await.unwrap().unwrap();
        }
        sent
    };
    let dashboard = cookie(&sign_in(&consumer, "dashboard", &consumes.1).await);
    let (officer, other) = (
        cookie(&sign_in(&consumer, "officer", &admin.1).await),
        cookie(&sign_in(&consumer, "officer", &stays.1).await),
    );
    let streams = [
        open("/v4/events", "x-api-key", &reads.1).await,
        open("/d/live/live", "x-api-key", &consumes.1).await,
        open("/d/live/live?live=lines", "authorization", &format!("Bearer {}", consumes.1)).await,
        open("/dashboard/live/live", "cookie", &dashboard).await,
        open("/v4/events", "x-api-key", &admin.1).await,
    ];
    let mut goes_on = open("/d/live/live", "x-api-key", &stays.1).await;
    let (mut socket, _) = socket(&consumer, &consumes.1, "/d/live/live").await;
    let page = async |path: &str, cookie: &str| {
        visitor()
            .get(format!("{}{path}", consumer.management))
            .header("cookie", cookie)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!((page("/dashboard", &dashboard).await, page("/officer", &officer).await), (200, 200));
    for (id, _) in [&reads, &consumes, &admin] {
        consumer.json(&["keys", "revoke", id]);
    }
    for stream in streams {
        ends(stream).await;
    }
    let told = async {
        use tokio::io::AsyncReadExt as _;
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        rest
    };
    let told =
        tokio::time::timeout(std::time::Duration::from_secs(60), told).await.expect("the socket goes on");
    assert!(told.windows(15).any(|part| part == b"key was revoked"), "the close frame tells the reason");
    assert_eq!((page("/dashboard", &dashboard).await, page("/officer", &officer).await), (303, 303));
    assert_eq!(page("/dashboard/live/live", &dashboard).await, 401);
    // Who else looks goes on.
    assert_eq!(page("/officer", &other).await, 200);
    for _ in 0..3 {
        goes_on.chunk().await.unwrap().unwrap();
    }
}

/// A web socket after its handshake, with what was read of it: the head of the answer, and whatever came with it.
pub async fn socket(node: &Node, key: &str, path: &str) -> (tokio::net::TcpStream, Vec<u8>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = node.management.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0);
        got.extend_from_slice(&chunk[..read]);
    }
    assert!(got.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&got));
    (stream, got)
}

#[tokio::test]
async fn the_checksum_of_data_is_a_read_of_it() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish("urn:twice", b"a\n1\n", &["--at-most", "2"]);
    provider.publish("urn:rounded", b"a\n1\n", &["--at-most", "1", "--round", "a=5"]);
    let start = |id: &str| {
        let found = consumer.json(&["negotiate", &provider.did, id, "--purpose", PURPOSE]);
        let agreement = found["contractAgreementId"].as_str().unwrap().to_owned();
        let made = consumer.json(&["transfers", "start", &agreement]);
        made["@id"].as_str().unwrap().to_owned()
    };
    let ask = async |method: Method, transfer: &str, digest: bool| {
        let url =
            format!("{}/v4/transferprocesses/{}/data", consumer.management, trust::did::segment(transfer));
        let mut request = consumer.client.request(method, url).header("x-api-key", &consumer.key);
        if digest {
            request = request.header("want-repr-digest", "sha-256=1");
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.headers().contains_key("repr-digest"))
    };
    let transfer = start("urn:twice");
    assert_eq!(ask(Method::HEAD, &transfer, false).await, (200, false), "the head alone is no read");
    assert_eq!(ask(Method::HEAD, &transfer, true).await, (200, true), "the first read");
    assert_eq!(ask(Method::GET, &transfer, false).await, (200, false), "the second");
    assert_eq!(ask(Method::HEAD, &transfer, true).await, (403, false), "the count is spent");
    assert_eq!(ask(Method::GET, &transfer, false).await, (403, false));
    // Both were metered.
    let events = provider.events();
    let told = json!(events).to_string();
    assert!(told.contains("4 bytes were read"), "{told}");
    // Of what is changed on the way there is no checksum, so that asking costs nothing.
    let transfer = start("urn:rounded");
    assert_eq!(ask(Method::HEAD, &transfer, true).await, (200, false));
    assert_eq!(ask(Method::GET, &transfer, false).await, (200, false));
    assert_eq!(ask(Method::GET, &transfer, false).await, (403, false));
}
