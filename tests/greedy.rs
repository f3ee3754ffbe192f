//! Nobody slow or greedy stops the others: each attack runs beside an honest member, whose times hardly change.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_rustls::client::TlsStream;
use trust::DidDocument;
use trust::did::segment;
use trust::jose::{Algorithm, PrivateKey};

use crate::hostile;
use crate::streams::door;
use crate::support::{CONTEXT, Node, PROGRAM, PURPOSE, Peer, Stranger, World};
use crate::usage::{agree_with, c, permission};

const DATASET: &str = "urn:test:rows";
const LARGE: &str = "urn:test:large";
/// Where attackers come from, who are strangers to the address of the honest.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
/// How often the honest member does each thing for its 95th percentile.
const TIMES: usize = 20;
/// Connections without requests are closed soon.
const IDLE: (&str, &str) = ("idle_seconds = 60", "idle_seconds = 5");

/// A provider, and an honest member that uses it.
struct Honest {
    provider: Node,
    member: Node,
    ask: Value,
    door: (String, String),
}

/// 95th percentiles.
#[derive(Debug)]
struct Times {
    negotiation: Duration,
    read: Duration,
}

fn p95(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() * 95 / 100 - 1]
}

impl Honest {
    /// `limits` are changes of the provider's `[limits]`: what stands there, and what shall.
    async fn new(world: &World, limits: &[(&str, &str)]) -> Self {
        let mut provider = world.local_node("provider");
        for (before, after) in limits {
            provider.configure(before, after);
        }
        let member = world.local_node("member");
        provider.publish(DATASET, b"a,b\n1,2\n", &[]);
        let found = member.json(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
        let agreement = found["contractAgreementId"].as_str().unwrap();
        let door = door(&member, agreement).await;
        let address = format!("{}/dsp/2025-1", provider.address);
        let catalog = json!({"counterPartyAddress": address, "counterPartyId": provider.did});
        let catalog = member.post("/v4/catalog/request", catalog).await;
        let mut policy = catalog["dataset"][0]["hasPolicy"][0].clone();
        policy["assigner"] = json!(provider.did);
        policy["target"] = json!(DATASET);
        let ask = json!({"policy": policy, "counterPartyAddress": address});
        Self { provider, member, ask, door }
    }

    async fn times(&self) -> Times {
        let (mut negotiations, mut reads) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            let since = Instant::now();
            let begun = self.member.post("/v4/contractnegotiations", self.ask.clone()).await;
            let path = format!("/v4/contractnegotiations/{}", segment(begun["@id"].as_str().unwrap()));
            self.member.until(&path, |one| one["state"] == "FINALIZED").await;
            negotiations.push(since.elapsed());
            let since = Instant::now();
            let (endpoint, token) = &self.door;
            let answer = self.member.client.get(endpoint).bearer_auth(token).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "a,b\n1,2\n");
            reads.push(since.elapsed());
        }
        Times { negotiation: p95(negotiations), read: p95(reads) }
    }

    /// Measures again during an attack.
    async fn is_as_well_off_as(&self, usual: &Times, attack: &str) {
        let now = self.times().await;
        eprintln!("{attack}: usual {usual:.0?}, beside the attack {now:.0?}");
        let bound = |usual: Duration, least: u64| (2 * usual).max(Duration::from_millis(least));
        assert!(now.negotiation <= bound(usual.negotiation, 250), "{attack}: {usual:?}, {now:?}");
        assert!(now.read <= bound(usual.read, 50), "{attack}: {usual:?}, {now:?}");
    }

    fn port(&self) -> u16 {
        self.provider.address.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// A connection to the provider's port from elsewhere.
    async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(ELSEWHERE, 0)).unwrap();
        socket.connect(SocketAddr::from(([127, 0, 0, 1], self.port()))).await.unwrap()
    }

    /// The same with TLS, for HTTP/2; none where the provider closes it.
    async fn connect_over_tls(&self, world: &World) -> Option<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        let authority = world.folder.path().join("authority/authority.pem");
        for certificate in connector::tls::certificates(&authority).unwrap() {
            roots.add(certificate).unwrap();
        }
        let mut tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
        connector.connect("localhost".try_into().unwrap(), self.connect().await).await.ok()
    }

    /// A connection of HTTP/2 whose streams stall at once, and which pings as long as it stands; the task ends with it.
    async fn http2(&self, world: &World) -> (SendRequest<Empty<Bytes>>, tokio::task::JoinHandle<()>) {
        let stream = self.connect_over_tls(world).await.unwrap();
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(1024)
            .keep_alive_interval(Duration::from_secs(1))
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let standing = tokio::spawn(async move {
            // How it ends is the provider's affair.
            let _ = connection.await;
        });
        (sender, standing)
    }
}

/// Sends a GET and gives the answer, of which nothing is taken.
async fn ask(
    sender: &mut SendRequest<Empty<Bytes>>,
    url: &str,
    token: Option<&str>,
) -> http::Response<Incoming> {
    let mut request = http::Request::get(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    sender.ready().await.unwrap();
    sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap()
}

/// Large enough that no buffer on the way holds all of it.
fn publish_large(provider: &Node, arguments: &[&str]) {
    let file = provider.data().join("large.bin");
    std::fs::File::create(&file).unwrap().set_len(16 * 1024 * 1024).unwrap();
    let usual = ["publish", file.to_str().unwrap(), "--id", LARGE, "--title", "Large"];
    provider.json(&[&usual, arguments].concat());
}

/// Waits until a stalled answer is cut.
async fn is_cut(answer: http::Response<Incoming>) {
    let mut body = answer.into_body();
    let cut = async {
        loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return,
                None => panic!("it was handed on to its end"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), cut).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_reads_of_a_member_stop_nobody_and_are_cut() {
    let world = World::new();
    let honest = Honest::new(&world, &[("stalled_seconds = 60", "stalled_seconds = 10"), IDLE]).await;
    let greedy = world.local_node("greedy");
    publish_large(&honest.provider, &["--purpose", PURPOSE]);
    let found = greedy.json(&["negotiate", &honest.provider.did, LARGE, "--purpose", PURPOSE]);
    let (endpoint, token) = door(&greedy, found["contractAgreementId"].as_str().unwrap()).await;
    let usual = honest.times().await;
    let (mut stalled, mut standing) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (mut sender, connection) = honest.http2(&world).await;
        for _ in 0..200 {
            let answer = ask(&mut sender, &endpoint, Some(&token)).await;
            assert_eq!(answer.status(), 200);
            stalled.push(answer);
        }
        standing.push((sender, connection));
    }
    honest.is_as_well_off_as(&usual, "600 stalled reads").await;
    // The connections go with their last answers, although they ping.
    for (_sender, connection) in standing {
        tokio::time::timeout(Duration::from_secs(45), connection).await.unwrap().unwrap();
    }
    for answer in stalled.into_iter().take(3) {
        is_cut(answer).await;
    }
    assert!(honest.provider.log().contains("its reader took nothing of it"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_readers_of_open_data_stop_nobody() {
    let world = World::new();
    let honest = Honest::new(&world, &[]).await;
    publish_large(&honest.provider, &["--open", "--license", "https://creativecommons.org/licenses/by/4.0/"]);
    let url = format!("{}/open/data/{}", honest.provider.address, segment(LARGE));
    let usual = honest.times().await;
    let (mut sender, _standing) = honest.http2(&world).await;
    let mut stalled = Vec::new();
    for number in 0..64 {
        let answer = ask(&mut sender, &url, None).await;
        assert_eq!(answer.status(), if number < 32 { 200 } else { 429 }, "{number}");
        stalled.push(answer);
    }
    honest.is_as_well_off_as(&usual, "64 stalled readers of open data").await;
    let read = honest.member.client.get(&url).send().await.unwrap();
    assert_eq!(read.status(), 200);
    assert_eq!(read.bytes().await.unwrap().len(), 16 * 1024 * 1024);
}

/// A peer that takes what it is sent and never answers; tells of each message.
fn silent(world: &World) -> (Peer, UnboundedReceiver<()>) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let take = move || {
        // The test may know enough.
        let _ = tell.send(());
        std::future::pending::<http::StatusCode>()
    };
    (Peer::serving(world, |_| axum::Router::new().fallback(take)), told)
}

#[tokio::test(flavor = "multi_thread")]
async fn push_addresses_that_never_answer_stop_nobody() {
    let world = World::new();
    let honest = Honest::new(&world, &[("stalled_seconds = 60", "stalled_seconds = 5")]).await;
    let greedy = world.local_node("greedy");
    let ((deaf, mut heard), taking) = (silent(&world), Peer::start(&world));
    let usual = honest.times().await;
    let push = async |node: &Node, to: &Peer| {
        let found = node.json(&["negotiate", &honest.provider.did, DATASET, "--purpose", PURPOSE]);
        let agreement = found["contractAgreementId"].as_str().unwrap().to_owned();
        let to = json!({"type": "HttpData", "baseUrl": format!("{}/box", to.address)});
        json!({"contractId": agreement, "transferType": "HttpData-PUSH", "dataDestination": to})
    };
    let unanswered = push(&greedy, &deaf).await;
    let begun = futures_util::future::join_all(
        (0..40).map(|_| greedy.post("/v4/transferprocesses", unanswered.clone())),
    );
    for one in begun.await {
        let path = format!("/v4/transferprocesses/{}", segment(one["@id"].as_str().unwrap()));
        greedy.until(&path, |one| one["state"] == "STARTED").await;
    }
    honest.is_as_well_off_as(&usual, "40 pushes that nobody answers").await;
    let since = Instant::now();
    let begun = honest.member.post("/v4/transferprocesses", push(&honest.member, &taking).await).await;
    let path = format!("/v4/transferprocesses/{}", segment(begun["@id"].as_str().unwrap()));
    honest.member.until(&path, |one| one["state"] == "COMPLETED").await;
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    // Attempts that are not answered make room for the others.
    let others = async {
        for _ in 0..9 {
            heard.recv().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), others).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_a_callback_that_never_answers_stop_nobody() {
    const REQUESTS: usize = 1500;
    let world = World::new();
    // As many as it likes: the places are what holds it.
    let fast = ("messages_per_minute = 1200", "messages_per_minute = 1000000");
    let honest = Honest::new(&world, &[fast]).await;
    let stranger = Stranger::new(&world);
    let (deaf, _heard) = silent(&world);
    let offer = hostile::offer(&stranger, &honest.provider).await;
    let usual = honest.times().await;
    let sent = futures_util::stream::iter(0..REQUESTS).map(|_| async {
        let request = hostile::request(&offer, &deaf.address);
        stranger.send(&honest.provider, "POST", "/negotiations/request", &request).await.0
    });
    let answers: Vec<u16> = sent.buffer_unordered(16).collect().await;
    assert!(answers.iter().all(|status| *status == 201), "{answers:?}");
    honest.is_as_well_off_as(&usual, "1,500 requests of a stranger").await;
    // Of its own so many are open; the oldest were given up for the newest.
    let asked = json!({"limit": 1000, "filterExpression": [
        {"operandLeft": "counterPartyId", "operator": "=", "operandRight": stranger.did},
        {"operandLeft": "state", "operator": "=", "operandRight": "TERMINATED"}]});
    let ended = honest.provider.post("/v4/contractnegotiations/request", asked).await;
    let ended = ended.as_array().unwrap().len();
    assert!((REQUESTS - 1000 - 16..=REQUESTS - 1000).contains(&ended), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_ask_for_nothing_stop_nobody_and_are_closed() {
    let world = World::new();
    let honest = Honest::new(&world, &[IDLE]).await;
    let usual = honest.times().await;
    // Beyond those of one address a connection is closed at once.
    let mut silent = Vec::new();
    for _ in 0..2500 {
        silent.push(honest.connect().await);
    }
    honest.is_as_well_off_as(&usual, "2,500 silent connections").await;
    let closed = async {
        for mut stream in silent {
            // Closed or reset.
            assert!(stream.read_u8().await.is_err());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed).await.unwrap();

    let mut silent = Vec::new();
    for sent in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"].iter().cycle().take(150) {
        let mut stream = honest.connect_over_tls(&world).await.unwrap();
        stream.write_all(sent).await.unwrap();
        silent.push(stream);
    }
    honest.is_as_well_off_as(&usual, "150 connections that are silent after TLS").await;
    let closed = async {
        for mut stream in silent {
            // What the provider says of itself in HTTP/2, and then the end.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed).await.unwrap();

    // Pings are no requests.
    let (mut sender, standing) = honest.http2(&world).await;
    let url = format!("{}/.well-known/did.json", honest.provider.address);
    let answer = ask(&mut sender, &url, None).await;
    answer.into_body().collect().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), standing).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_descriptors_says_so_once_and_goes_on_when_there_are_some() {
    let world = World::new();
    let mut honest = Honest::new(&world, &[]).await;
    let few = world.folder.path().join("few.sh");
    std::fs::write(&few, format!("#!/bin/sh\nulimit -n 256\nexec '{PROGRAM}' \"$@\"\n")).unwrap();
    std::fs::set_permissions(&few, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    honest.provider.stop();
    honest.provider.program = few.to_str().unwrap().to_owned();
    honest.provider.start();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(honest.connect().await);
    }
    let none = tokio::time::timeout(Duration::from_secs(2), honest.connect_over_tls(&world)).await;
    assert!(none.is_err(), "there is no descriptor for it");
    let told = |what: &str| honest.provider.log().matches(what).count();
    assert_eq!(told("connections cannot be accepted"), 1);
    drop(silent);
    let times = honest.times().await;
    eprintln!("after the descriptors came back: {times:.0?}");
    assert_eq!(told("connections are accepted again"), 1);
    assert!(told("accepted") < 10);
}

#[tokio::test]
async fn who_is_nowhere_takes_no_place_among_those_who_are_told() {
    let world = World::new();
    let mut node = world.local_node("provider");
    let watch =
        json!({"@context": [CONTEXT], "@type": "CatalogRequestMessage", "urn:concordat:notify": true});
    for _ in 0..3 {
        let (status, answer) = Stranger::new(&world).send(&node, "POST", "/catalog/request", &watch).await;
        assert_eq!(status, 200, "{answer}");
    }
    node.stop();
    assert_eq!(node.records("watcher/").len(), 0);
}

/// A participant that says where it is.
fn with_a_place(world: &World) -> (Peer, Stranger) {
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let mut did = String::new();
    let peer = Peer::serving(world, |address| {
        did = trust::did::web(address.strip_prefix("https://").unwrap());
        let services = [("ds", "DataService", format!("{address}/.well-known/dspace-version"))];
        let document = DidDocument::of_node(&did, &format!("{did}#key"), key.public_jwk(), &services);
        let document = document.json().to_string();
        axum::Router::new().route("/.well-known/did.json", axum::routing::get(|| async { document }))
    });
    let kid = format!("{did}#key");
    (peer, Stranger { key, did, kid, client: world.client() })
}

#[tokio::test]
async fn strangers_take_the_places_of_no_member_among_those_who_are_told() {
    let world = World::new();
    let mut node = world.local_node("provider");
    node.configure("watchers = 1000", "watchers = 8");
    node.client = world.client();
    let watch =
        json!({"@context": [CONTEXT], "@type": "CatalogRequestMessage", "urn:concordat:notify": true});
    let watched = async |node: &Node, who: &Stranger| {
        let (status, answer) = who.send(node, "POST", "/catalog/request", &watch).await;
        assert_eq!(status, 200, "{answer}");
    };
    let strangers: Vec<_> = (0..5).map(|_| with_a_place(&world)).collect();
    for (_, stranger) in &strangers {
        watched(&node, stranger).await;
    }
    let (_peer, member) = with_a_place(&world);
    let agreement = json!({"@id": "urn:test:made-elsewhere", "@type": "Agreement", "target": DATASET,
        "assigner": node.did, "assignee": member.did, "timestamp": "2026-01-01T00:00:00Z",
        "permission": [{"action": "use"}]});
    let import = json!({"agreement": agreement, "counterPartyAddress": "https://localhost:1"});
    node.post("/v4/contractagreements/import", import).await;
    watched(&node, &member).await;
    node.stop();
    let of = |did: &str| node.records(&format!("watcher/{}", segment(did))).len();
    assert_eq!(strangers.iter().map(|(_, one)| of(&one.did)).collect::<Vec<_>>(), [1, 1, 0, 0, 0]);
    assert_eq!(of(&member.did), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_tokens_stop_nobody() {
    const OF_ONE: usize = 3000 / 50;
    const OF_ALL: usize = 3000 * 2 / 5;
    let world = World::new();
    let few = ("used_tokens = 1000000", "used_tokens = 3000");
    let mut honest = Honest::new(&world, &[few]).await;
    let usual = honest.times().await;
    let ask = json!({"@context": [CONTEXT], "@type": "CatalogRequestMessage"});
    let provider = &honest.provider;
    let flood = async |stranger: &Stranger, tokens: usize| {
        let sent = futures_util::stream::iter(0..tokens);
        let sent = sent.map(|_| async {
            // As long as it may be good for: it stays remembered.
            let token = stranger.odd_token(&provider.did, |claims| {
                claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 590);
            });
            stranger.send_with(provider, "POST", "/catalog/request", ask.to_string(), Some(token)).await.0
        });
        let answers: Vec<u16> = sent.buffer_unordered(16).collect().await;
        let taken = answers.iter().filter(|status| **status == 200).count();
        assert!(answers.iter().all(|status| [200, 429].contains(status)), "{answers:?}");
        taken
    };
    let first = Stranger::new(&world);
    assert_eq!(flood(&first, OF_ONE + 50).await, OF_ONE, "one has its share");
    let mut taken = OF_ONE;
    while taken < OF_ALL {
        taken += flood(&Stranger::new(&world), OF_ONE + 10).await;
    }
    assert_eq!(taken, OF_ALL, "all have theirs");
    assert_eq!(flood(&Stranger::new(&world), 5).await, 0);
    honest.is_as_well_off_as(&usual, "1,200 tokens of strangers").await;
    // They are remembered over a restart, and so is who is known.
    honest.provider.stop();
    honest.provider.start();
    honest.provider.client = world.client();
    let (status, refusal) =
        Stranger::new(&world).send(&honest.provider, "POST", "/catalog/request", &ask).await;
    assert_eq!((status, &refusal["code"]), (429, &json!("busy")), "{refusal}");
    honest.is_as_well_off_as(&usual, "the same after a restart").await;
}

/// The entries of the audit log about refusals, all pages of it.
async fn refusals(node: &Node) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = node.get(&format!("/v4/events/log?limit=1000&after={after}")).await;
        let Some(last) = page.as_array().unwrap().last() else { return found };
        after = last["id"].as_str().unwrap().to_owned();
        let texts = page.as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap().to_owned());
        found.extend(texts.filter(|text| text.contains("refused") || text.contains("denied")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_refusals_stop_nobody_and_fill_no_log() {
    let world = World::new();
    let mut honest = Honest::new(&world, &[]).await;
    let usual = honest.times().await;
    let address = format!("{}/dsp/2025-1/catalog/request", honest.provider.address);
    let flood = async |of: usize| {
        let asked = (0..of).map(|number| {
            let long = format!("Bearer {number}{}", "x".repeat(2000));
            honest.member.client.post(&address).header("authorization", long).send()
        });
        for answer in futures_util::future::join_all(asked).await {
            assert!(answer.unwrap().status().is_client_error());
        }
    };
    // Strangers without a token that could be one, and a member whose reads are denied.
    let file = world.folder.path().join("once.csv");
    std::fs::write(&file, "row\n").unwrap();
    let once = permission(&[c("count", "lteq", "1")]);
    let once = agree_with(&world, &honest.provider, &honest.member, file.to_str().unwrap(), &once, &[]);
    let (endpoint, token) = door(&honest.member, &once).await;
    assert_eq!(honest.member.client.get(&endpoint).bearer_auth(&token).send().await.unwrap().status(), 200);
    for _ in 0..10 {
        flood(100).await;
        let reads = (0..100).map(|_| honest.member.client.get(&endpoint).bearer_auth(&token).send());
        for answer in futures_util::future::join_all(reads).await {
            assert!(answer.unwrap().status().is_client_error());
        }
    }
    honest.is_as_well_off_as(&usual, "2,000 refusals").await;
    let entries = refusals(&honest.provider).await;
    assert!((50..=310).contains(&entries.len()), "{} entries", entries.len());
    assert!(entries.iter().all(|text| text.chars().count() <= 500));
    // None is lost: what was only counted is written when the node stops.
    honest.provider.stop();
    honest.provider.start();
    honest.provider.client = world.client();
    let entries = refusals(&honest.provider).await;
    let more =
        |text: &String| text.split_once(" more times since").and_then(|(count, _)| count.parse::<u64>().ok());
    let counted: u64 = entries.iter().map(|text| more(text).unwrap_or(1)).sum();
    assert_eq!(counted, 2000, "{:?}", entries.iter().filter(|text| more(text).is_some()).collect::<Vec<_>>());
    honest.provider.text(&["audit", "verify"]);
}
