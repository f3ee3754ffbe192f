//! Live data and data that is pushed: what is promised holds over restarts, cuts and slow readers.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::gateway::{read, reading_key};
use crate::origins::socket;
use crate::support::{Node, PURPOSE, Peer, World, number};

/// Server-sent events as they come.
pub struct Followed {
    response: reqwest::Response,
    buffer: Vec<u8>,
    ready: VecDeque<(String, String, String)>,
}

impl Followed {
    pub async fn open(node: &Node, key: &str, path: &str) -> Self {
        let response = read(node, key, path).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: Vec::new(), ready: VecDeque::new() }
    }

    /// Kind, id and data of the next event; an error where the stream breaks off.
    pub async fn next(&mut self) -> Result<(String, String, String), String> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.response.chunk()).await;
            match chunk.map_err(|_| "nothing came for a minute")? {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return Err("over".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
            while let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let block = String::from_utf8(block).unwrap();
                let field = |name: &str| {
                    let lines = block.lines().filter_map(|line| line.strip_prefix(&format!("{name}: ")));
                    lines.collect::<Vec<_>>().join("\n")
                };
                if !field("data").is_empty() {
                    self.ready.push_back((field("event"), field("id"), field("data")));
                }
            }
        }
    }
}

/// Writes numbered lines into a file until it is dropped.
pub struct Writer {
    stop: Arc<AtomicBool>,
    pub written: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    pub fn start(file: PathBuf, pause: Duration) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
            while !stopped.load(Ordering::SeqCst) {
                let n = count.fetch_add(1, Ordering::SeqCst) + 1;
                writeln!(
                    file,
                    "{}",
                    json!({"n": n, "at": connector::clock::now().to_string(), "no2": n % 50})
                )
                .unwrap();
                // The pace of the world outside, not a wait for anything of ours.
                std::thread::sleep(pause);
            }
        });
        Self { stop, written, thread: Some(thread) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn share_tail(provider: &Node, terms: &[&str]) -> PathBuf {
    let folder = provider.data().join("events");
    std::fs::create_dir_all(&folder).unwrap();
    let usual = [
        "publish",
        folder.to_str().unwrap(),
        "--tail",
        "--files",
        "*.ndjson",
        "--id",
        "urn:live",
        "--title",
        "Live",
        "--purpose",
        PURPOSE,
    ];
    provider.json(&[&usual[..], terms].concat());
    folder
}

fn take(consumer: &Node, provider: &Node) {
    consumer.json(&["use", "urn:live", "--from", &provider.did, "--as", "live", "--purpose", PURPOSE]);
}

/// `CONCORDAT_LIVE_SECONDS` sets the length; the provider is killed and started again in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_loses_and_doubles_nothing_over_a_kill_of_its_provider() {
    let seconds = number("CONCORDAT_LIVE_SECONDS").unwrap_or(4);
    eprintln!("{seconds} s");
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let folder = share_tail(&provider, &[]);
    take(&consumer, &provider);
    let key = reading_key(&consumer);
    let mut events = Followed::open(&consumer, &key, "/d/live/live").await;
    let writer = Writer::start(folder.join("a.ndjson"), Duration::from_millis(10));
    let end = std::time::Instant::now() + Duration::from_secs(seconds);
    let mut killed = false;
    let mut expected = 1;
    while std::time::Instant::now() < end || expected <= writer.written.load(Ordering::SeqCst) {
        if !killed
            && end.saturating_duration_since(std::time::Instant::now()) < Duration::from_secs(seconds) / 2
        {
            killed = true;
            provider.kill();
            provider.start();
        }
        let (kind, id, data) = events.next().await.unwrap();
        assert_eq!(kind, "", "nothing was lost");
        assert!(id.starts_with("a.ndjson:"), "{id}");
        let data: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(data["n"], expected, "in order, each once");
        expected += 1;
        if std::time::Instant::now() > end {
            // What is written from here on is not waited for.
            writer.stop.store(true, Ordering::SeqCst);
        }
    }
    assert!(killed && expected > 100, "{expected}");
    eprintln!("{} events", expected - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_data_comes_in_every_framing_and_is_cut_at_once() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let folder = share_tail(&provider, &["--keep", "n,no2", "--round", "no2=10"]);
    take(&consumer, &provider);
    let key = reading_key(&consumer);
    let mut events = Followed::open(&consumer, &key, "/d/live/live").await;
    let mut lines = read(&consumer, &key, "/d/live/live?live=lines").await;
    assert_eq!(lines.headers()["content-type"], "application/x-ndjson");
    assert!(lines.headers()["concordat-applied"].to_str().unwrap().contains("multiples of 10"));
    let _writer = Writer::start(folder.join("a.ndjson"), Duration::from_millis(5));
    let (_, first, data) = events.next().await.unwrap();
    let data: Value = serde_json::from_str(&data).unwrap();
    assert_eq!(data.as_object().unwrap().len(), 2, "{data}");
    assert_eq!(data["no2"].as_f64().unwrap() % 10.0, 0.0);
    let mut text = String::new();
    while !text.contains("\"n\":3") {
        text.push_str(std::str::from_utf8(&lines.chunk().await.unwrap().unwrap()).unwrap());
    }

    // From where another reader stopped.
    let url = format!("{}/d/live/live", consumer.management);
    let again = consumer.client.get(&url).header("x-api-key", &key).header("last-event-id", &first);
    let mut again =
        Followed { response: again.send().await.unwrap(), buffer: Vec::new(), ready: VecDeque::new() };
    let (_, _, data) = again.next().await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&data).unwrap()["n"], 2, "the one after it");
    let wrong = consumer.client.get(&url).header("x-api-key", &key).header("last-event-id", "../x:1");
    assert_eq!(wrong.send().await.unwrap().status(), 400);

    // Over a web socket.
    let socket = web_socket(&consumer, &key, "/d/live/live").await;
    assert_eq!(socket.get("n").and_then(Value::as_u64).map(|n| n > 0), Some(true), "{socket}");
    // As a whole it is not to be had.
    let whole = consumer.client.head(format!("{}/d/live", consumer.management)).header("x-api-key", &key);
    assert_eq!(whole.send().await.unwrap().status(), StatusCode::NOT_ACCEPTABLE);

    // The provider suspends: every reader knows at once, and nobody gets in by another door.
    let transfer = consumer.get("/v4/uses/live").await["transfer"].as_str().unwrap().to_owned();
    let found = consumer.get(&format!("/v4/transferprocesses/{}", trust::did::segment(&transfer))).await;
    let theirs = found["correlationId"].as_str().unwrap();
    provider.json(&["transfers", "suspend", theirs, "--reason", "maintenance"]);
    while events.next().await.is_ok() {}
    let path = format!("/v4/transferprocesses/{}", trust::did::segment(&transfer));
    consumer.until(&path, |one| one["state"] == "SUSPENDED").await;
    let refused = read(&consumer, &key, "/d/live/live").await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(refused.text().await.unwrap().contains("maintenance"));
    provider.json(&["transfers", "resume", theirs]);
    consumer.until(&path, |one| one["state"] == "STARTED").await;
    let mut resumed = Followed::open(&consumer, &key, "/d/live/live").await;
    resumed.next().await.unwrap();
}

/// The first message of a web socket, read by hand (RFC 6455).
async fn web_socket(node: &Node, key: &str, path: &str) -> Value {
    use tokio::io::AsyncReadExt as _;
    let (mut stream, mut got) = socket(node, key, path).await;
    let head = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    loop {
        let frame = &got[head..];
        if frame.len() > 2 && frame.len() >= 2 + usize::from(frame[1]) {
            assert_eq!((frame[0], frame[1] & 0x80), (0x81, 0), "a text message");
            return serde_json::from_slice(&frame[2..2 + usize::from(frame[1])]).unwrap();
        }
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&chunk[..read]);
    }
}

#[derive(Clone, Default)]
struct Taken {
    /// How often it says no first.
    busy: Arc<AtomicU64>,
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

async fn take_pushed(State(taken): State<Taken>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if headers.get("x-drop-key").is_none_or(|key| key != "s3cret") {
        return StatusCode::FORBIDDEN;
    }
    if taken.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    taken.got.lock().unwrap().push((headers, body));
    StatusCode::CREATED
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_pushed_until_it_is_taken_or_refused() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let taken = Taken::default();
    let state = taken.clone();
    let drop_box = Peer::serving(&world, |_| axum::Router::new().fallback(take_pushed).with_state(state));
    provider.publish("urn:x", b"a,b\n1,2\n", &["--leave-out", "b"]);
    let found = consumer.json(&["negotiate", &provider.did, "urn:x", "--purpose", PURPOSE]);
    let agreement = found["contractAgreementId"].as_str().unwrap();
    let options = world.folder.path().join("options.json");
    std::fs::write(&options, json!({"authKey": "x-drop-key", "authCode": "s3cret"}).to_string()).unwrap();
    let to = format!("{}/box", drop_box.address);
    let push = |options: Option<&str>| {
        let mut arguments = vec!["transfers", "start", agreement, "--push-to", &to];
        arguments.extend(options.iter().flat_map(|file| ["--push-options", file]));
        consumer.json(&arguments)["@id"].as_str().unwrap().to_owned()
    };
    let path = |id: &str| format!("/v4/transferprocesses/{}", trust::did::segment(id));

    taken.busy.store(2, Ordering::SeqCst);
    let id = push(options.to_str());
    consumer.until(&path(&id), |one| one["state"] == "COMPLETED").await;
    {
        let got = taken.got.lock().unwrap();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].1, "a\n1\n", "what the agreement demands is done here too");
        assert!(
            got[0].0.contains_key("idempotency-key")
                && got[0].0["content-type"].to_str().unwrap().starts_with("text/csv")
        );
    }
    // Who says no for good ends it, with the reason.
    let id = push(None);
    let ended = consumer.until(&path(&id), |one| one["state"] == "TERMINATED").await;
    assert!(ended.to_string().contains("403"), "{ended}");
    assert_eq!(read(&consumer, &reading_key(&consumer), "/d/none").await.status(), 404);

    // A node that is killed while its consumer's endpoint is away goes on when it is back.
    taken.busy.store(u64::MAX, Ordering::SeqCst);
    let id = push(options.to_str());
    consumer.until(&path(&id), |one| one["state"] == "STARTED").await;
    provider.kill();
    taken.busy.store(0, Ordering::SeqCst);
    provider.start();
    consumer.until(&path(&id), |one| one["state"] == "COMPLETED").await;
    assert_eq!(taken.got.lock().unwrap().len(), 2);
    let logs = format!("{}{}", provider.log(), consumer.log());
    assert!(!logs.contains("s3cret"), "credentials do not stand in logs");

    // Suspended while the endpoint is away, and resumed: it begins anew.
    taken.busy.store(u64::MAX, Ordering::SeqCst);
    let id = push(options.to_str());
    let started = consumer.until(&path(&id), |one| one["state"] == "STARTED").await;
    let theirs = started["correlationId"].as_str().unwrap();
    provider.json(&["transfers", "suspend", theirs, "--reason", "later"]);
    consumer.until(&path(&id), |one| one["state"] == "SUSPENDED").await;
    taken.busy.store(0, Ordering::SeqCst);
    assert_eq!(taken.got.lock().unwrap().len(), 2, "nothing is sent while it is suspended");
    provider.json(&["transfers", "resume", theirs]);
    consumer.until(&path(&id), |one| one["state"] == "COMPLETED").await;
    assert_eq!(taken.got.lock().unwrap().len(), 3);

    // What cannot be part of an address or a header would end the client of a store.
    let odd = world.folder.path().join("odd.json");
    for (to, options) in [
        ("s3://bucket/key", json!({"accessKeyId": "a\nb", "secretAccessKey": "s", "region": "eu"})),
        ("s3://bucket/key", json!({"accessKeyId": "a", "secretAccessKey": "s", "region": "eu west"})),
        ("s3://bucket/key", json!({"accessKeyId": "a", "secretAccessKey": "s", "sessionToken": "x\ny"})),
        ("gs://bucket/key", json!({"bearerToken": "a\nb"})),
    ] {
        std::fs::write(&odd, options.to_string()).unwrap();
        let more = ["--push-to", to, "--push-options", odd.to_str().unwrap()];
        let answer = consumer.json(&[&["transfers", "start", agreement], &more[..]].concat());
        let ended =
            consumer.until(&path(answer["@id"].as_str().unwrap()), |one| one["state"] == "TERMINATED").await;
        assert!(ended.to_string().contains("endpointProperties"), "{to}: {ended}");
    }

    // Addresses that a node must not reach.
    let forbidden = ["http://127.0.0.1:1/x", "https://169.254.169.254/latest", "ftp://localhost/x"];
    for to in forbidden {
        let answer = consumer.json(&["transfers", "start", agreement, "--push-to", to]);
        let id = answer["@id"].as_str().unwrap();
        let ended = consumer.until(&path(id), |one| one["state"] == "TERMINATED").await;
        assert!(ended.to_string().contains("dataAddress"), "{to}: {ended}");
    }
}

/// The terms allow one read; what cannot be pushed at all does not use it up.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_refused_for_its_method_is_given_back() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let taken = Taken::default();
    let state = taken.clone();
    let drop_box = Peer::serving(&world, |_| axum::Router::new().fallback(take_pushed).with_state(state));
    provider.publish("urn:x", b"a\n1\n", &["--at-most", "1"]);
    let found = consumer.json(&["negotiate", &provider.did, "urn:x", "--purpose", PURPOSE]);
    let agreement = found["contractAgreementId"].as_str().unwrap();
    let to = format!("{}/box", drop_box.address);
    let options = world.folder.path().join("options.json");
    for (method, state) in [("DELETE", "TERMINATED"), ("PATCH", "TERMINATED"), ("POST", "COMPLETED")] {
        let said = json!({"authKey": "x-drop-key", "authCode": "s3cret", "method": method});
        std::fs::write(&options, said.to_string()).unwrap();
        let more = ["--push-to", &to, "--push-options", options.to_str().unwrap()];
        let started = consumer.json(&[&["transfers", "start", agreement], &more[..]].concat());
        let path = format!("/v4/transferprocesses/{}", trust::did::segment(started["@id"].as_str().unwrap()));
        let ended = ["TERMINATED", "COMPLETED"];
        let one = consumer.until(&path, |one| ended.iter().any(|state| one["state"] == *state)).await;
        assert_eq!(one["state"], state, "{method}: {one}");
    }
    assert_eq!(taken.got.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_file_goes_on_where_it_stopped_and_is_checked() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let rows: String = (0..200_000).map(|n| format!("{n},x\n")).collect();
    provider.publish("urn:x", rows.as_bytes(), &[]);
    let found = consumer.json(&["negotiate", &provider.did, "urn:x", "--purpose", PURPOSE]);
    let agreement = found["contractAgreementId"].as_str().unwrap();
    let started = consumer.json(&["transfers", "start", agreement]);
    let transfer = started["@id"].as_str().unwrap();
    let file = world.folder.path().join("x.csv");
    let path = file.to_str().unwrap();
    let whole = consumer.json(&["pull", transfer, "--output", path, "--verify"]);
    assert_eq!(whole["checked"], true);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), rows);
    // As a kill of the reader leaves it.
    std::fs::write(&file, &rows.as_bytes()[..100_001]).unwrap();
    let rest = consumer.json(&["pull", transfer, "--output", path, "--resume"]);
    assert_eq!(
        (rest["bytes"].as_u64().unwrap(), &rest["checked"]),
        (rows.len() as u64 - 100_001, &json!(true))
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), rows);
    // A file that began otherwise is found out.
    std::fs::write(&file, "y".repeat(500)).unwrap();
    let wrong = consumer.run(&["pull", transfer, "--output", path, "--resume"]);
    assert_eq!(wrong.status.code(), Some(5), "{wrong:?}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("not what the provider has"));
    // Data that changed meanwhile is not mixed with what was read before.
    std::fs::write(&file, &rows.as_bytes()[..100]).unwrap();
    std::fs::write(file.with_extension("csv.etag"), "\"of-before\"").unwrap();
    let changed = consumer.run(&["pull", transfer, "--output", path, "--resume"]);
    assert!(String::from_utf8_lossy(&changed.stderr).contains("has changed"), "{changed:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 100, "nothing was added");
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_hold_and_one_reader_does_not_take_what_others_need() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.configure(
        "[limits.agreement]",
        "[limits.agreement]\nstreams = 2\nrequests_per_minute = 12\nbytes_per_second = 4000000",
    );
    provider.publish("urn:x", "x\n".repeat(8 * 1024 * 1024).as_bytes(), &[]);
    provider.publish("urn:y", b"a\n1\n", &[]);
    for name in ["x", "y"] {
        consumer.json(&[
            "use",
            &format!("urn:{name}"),
            "--from",
            &provider.did,
            "--as",
            name,
            "--purpose",
            PURPOSE,
        ]);
    }
    let key = reading_key(&consumer);
    // Two who do not read on hold the two places of their agreement; others are served all the same.
    let (first, second) = (read(&consumer, &key, "/d/x").await, read(&consumer, &key, "/d/x").await);
    let third = read(&consumer, &key, "/d/x").await;
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(third.headers().contains_key("retry-after"));
    assert!(third.text().await.unwrap().contains("2 streams of the agreement"));
    assert_eq!(read(&consumer, &key, "/d/y").await.text().await.unwrap(), "a\n1\n");
    drop((first, second));
    let began = std::time::Instant::now();
    let mut paced = loop {
        // A place is free once the provider has seen that its reader left.
        let answer = read(&consumer, &key, "/d/x").await;
        if answer.status() == 200 {
            break answer;
        }
        assert!(began.elapsed() < Duration::from_secs(120));
        tokio::task::yield_now().await;
    };
    let began = std::time::Instant::now();
    let mut got = 0;
    while let Some(chunk) = paced.chunk().await.unwrap() {
        got += chunk.len();
    }
    assert_eq!(got, 16 * 1024 * 1024);
    assert!(
        began.elapsed() > Duration::from_millis(1500),
        "four megabytes a second, after a second's worth at once"
    );
    let mut refused = 0;
    for _ in 0..20 {
        refused += u32::from(read(&consumer, &key, "/d/y").await.status() == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused >= 8, "{refused} of 20 were one too many in a minute");
}
