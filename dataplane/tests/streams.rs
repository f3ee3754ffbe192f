//! Sources under a grant: ranges, validators, cuts, metering, constant memory by back-pressure.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stderr, reason = "a test says what it measured")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use dataplane::{
    Clock, DataRequest, DataResponse, FileSource, Grant, Judge, Metered, Obligations, Opening, PseudonymKey,
    Signal, Source, StreamError, serve,
};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use policy_engine::{Decision, Hierarchy, Policy, Record, Request, World, evaluate, transforms};
use serde_json::json;
use tokio::sync::watch;

#[derive(Debug)]
struct Wall;

impl Clock for Wall {
    #[expect(clippy::disallowed_methods, reason = "the test's own clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A policy in a world where only the time is known, and duties that a test records.
#[derive(Debug)]
struct Terms {
    policy: Policy,
    record: Mutex<Record>,
}

impl Judge for Terms {
    fn judge(&self, now: Timestamp) -> Decision {
        let known = Hierarchy::default();
        let record = self.record.lock().unwrap();
        let request = Request { action: "use", party: "c", target: Some("urn:d") };
        evaluate(&self.policy, &request, &World { record: &record, ..World::at(now, &known) })
    }

    fn obligations(&self, decision: &Decision) -> Obligations {
        Obligations::new(transforms(&self.policy, decision), PseudonymKey::new(vec![1; 32]))
    }
}

fn terms(constraints: serde_json::Value) -> Arc<Terms> {
    let policy = json!({"@id": "urn:a", "@type": "Agreement", "target": "urn:d", "assigner": "p", "assignee": "c",
        "permission": [{"action": "use", "constraint": constraints}], "obligation": [{"action": "inform"}]});
    Arc::new(Terms { policy: Policy::parse(&policy).unwrap(), record: Mutex::default() })
}

fn grant() -> Grant {
    Grant::decide(terms(json!([])), Wall.now()).unwrap()
}

fn running() -> (watch::Sender<Signal>, watch::Receiver<Signal>) {
    watch::channel(Signal::Run)
}

fn file(folder: &Path, content: &[u8]) -> FileSource {
    let path = folder.join("data.csv");
    std::fs::write(&path, content).unwrap();
    FileSource::new(path, "text/csv".to_owned(), dataplane::Places::new(|_, _| true))
}

fn request(method: Method, headers: &[(&str, &str)]) -> DataRequest {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    DataRequest { method, headers: map, ..DataRequest::default() }
}

async fn ask(source: &dyn Source, request: DataRequest) -> DataResponse {
    let (_keep, cut) = running();
    let response = serve(grant(), source, request, cut, Arc::new(Wall), |_| {}).await.unwrap();
    std::mem::forget(_keep);
    response
}

async fn text(response: DataResponse) -> String {
    String::from_utf8(response.body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn ranges_are_honoured_as_rfc_9110_says() {
    let folder = tempfile::tempdir().unwrap();
    let source = file(folder.path(), b"0123456789");
    for (range, status, expected, content_range) in [
        ("bytes=0-3", 206, "0123", Some("bytes 0-3/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-2", 206, "89", Some("bytes 8-9/10")),
        ("bytes=5-99", 206, "56789", Some("bytes 5-9/10")),
        ("bytes=-99", 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=10-", 416, "", Some("bytes */10")),
        ("bytes=99-100", 416, "", Some("bytes */10")),
        ("bytes=3-1", 200, "0123456789", None),
        ("bytes=0-1,3-4", 200, "0123456789", None),
        ("lines=1-2", 200, "0123456789", None),
        ("bytes=x", 200, "0123456789", None),
    ] {
        let response = ask(&source, request(Method::GET, &[("range", range)])).await;
        assert_eq!(response.status.as_u16(), status, "{range}");
        let got = response.headers.get("content-range").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(got.as_deref(), content_range, "{range}");
        assert_eq!(text(response).await, expected, "{range}");
    }
}

#[tokio::test]
async fn head_and_validators() {
    let folder = tempfile::tempdir().unwrap();
    let source = file(folder.path(), b"0123456789");
    let head = ask(&source, request(Method::HEAD, &[("range", "bytes=0-1")])).await;
    assert_eq!((head.status, head.headers["content-length"].to_str().unwrap()), (StatusCode::OK, "10"));
    assert_eq!(head.headers["content-type"], "text/csv");
    let etag = head.headers["etag"].to_str().unwrap().to_owned();
    let date = head.headers["last-modified"].to_str().unwrap().to_owned();
    assert_eq!(text(head).await, "");
    for fresh in
        [("if-none-match", etag.as_str()), ("if-modified-since", date.as_str()), ("if-none-match", "*")]
    {
        assert_eq!(ask(&source, request(Method::GET, &[fresh])).await.status, StatusCode::NOT_MODIFIED);
    }
    let changed =
        ask(&source, request(Method::GET, &[("range", "bytes=0-1"), ("if-range", "\"other\"")])).await;
    assert_eq!(changed.status, StatusCode::OK, "a changed file is sent whole");
    let same = ask(&source, request(Method::GET, &[("range", "bytes=0-1"), ("if-range", &etag)])).await;
    assert_eq!(same.status, StatusCode::PARTIAL_CONTENT);
    let (_keep, cut) = running();
    assert!(serve(grant(), &source, request(Method::PUT, &[]), cut, Arc::new(Wall), |_| {}).await.is_err());
}

/// Serves 64 MiB and reads one chunk; returns what is needed to go on.
async fn half_read(
    folder: &Path,
    grant: Grant,
) -> (DataResponse, watch::Sender<Signal>, Arc<Mutex<Option<Metered>>>) {
    let source = file(folder, &vec![b'x'; 64 * 1024 * 1024]);
    let (cut, cut_seen) = running();
    let metered = Arc::new(Mutex::new(None));
    let sink = Arc::clone(&metered);
    let mut response = serve(grant, &source, request(Method::GET, &[]), cut_seen, Arc::new(Wall), move |m| {
        *sink.lock().unwrap() = Some(m);
    })
    .await
    .unwrap();
    response.body.frame().await.unwrap().unwrap();
    (response, cut, metered)
}

async fn read_on(mut response: DataResponse) -> Option<StreamError> {
    while let Some(frame) = response.body.frame().await {
        if let Err(error) = frame {
            return Some(error);
        }
    }
    None
}

#[tokio::test]
async fn a_cut_ends_the_stream_with_its_reason_and_is_metered() {
    let folder = tempfile::tempdir().unwrap();
    let (response, cut, metered) = half_read(folder.path(), grant()).await;
    cut.send(Signal::Cut("the provider ended the agreement".to_owned())).unwrap();
    let error = read_on(response).await.expect("cut");
    assert_eq!(error.to_string(), "the stream was cut: the provider ended the agreement");
    let metered = metered.lock().unwrap().take().unwrap();
    assert!(metered.bytes > 0 && metered.bytes < 64 * 1024 * 1024 && !metered.complete);
    assert_eq!(metered.cut.as_deref(), Some("the provider ended the agreement"));
}

#[tokio::test]
async fn a_time_limit_cuts_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let until = Wall.now() + SignedDuration::from_millis(300);
    let limited =
        terms(json!([{"leftOperand": "dateTime", "operator": "lteq", "rightOperand": until.to_string()}]));
    let (response, _cut, _) = half_read(folder.path(), Grant::decide(limited, Wall.now()).unwrap()).await;
    // The reader waits; the guard is what ends it.
    let mut body = response.body;
    let error = loop {
        if Wall.now() < until {
            let waited =
                tokio::time::timeout(std::time::Duration::from_millis(20), std::future::pending::<()>());
            assert!(waited.await.is_err());
            continue;
        }
        match body.frame().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("the whole file came through"),
        }
    };
    assert!(error.to_string().contains("the time must not be after"), "{error}");
}

#[tokio::test]
async fn a_denied_request_gets_no_grant() {
    let late =
        terms(json!([{"leftOperand": "dateTime", "operator": "lt", "rightOperand": "2001-01-01T00:00:00Z"}]));
    let denied = Grant::decide(late, Wall.now()).unwrap_err();
    assert!(denied.to_string().contains("the time must be before 2001-01-01T00:00:00Z"), "{denied}");
}

#[tokio::test]
async fn a_complete_read_is_metered_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let (response, _cut, metered) = half_read(folder.path(), grant()).await;
    assert!(read_on(response).await.is_none());
    let metered = metered.lock().unwrap().take().unwrap();
    assert!(metered.first_byte.is_some());
    let told = Metered { first_byte: None, ..metered };
    assert_eq!(told, Metered { bytes: 64 * 1024 * 1024, complete: true, ..Metered::default() });
}

/// Endless: it gives a chunk whenever it is asked, and waits in between.
#[derive(Debug)]
struct Endless;

impl Source for Endless {
    fn open(&self, _: DataRequest) -> Opening<'_> {
        let chunks = futures_util::stream::unfold(0_u64, |n| async move {
            // After the first chunk nothing comes: only the guard can end it.
            if n > 0 {
                std::future::pending::<()>().await;
            }
            Some((Ok(http_body::Frame::data(bytes::Bytes::from_static(b"x"))), n + 1))
        });
        let body = http_body_util::StreamBody::new(chunks).boxed_unsync();
        Box::pin(std::future::ready(Ok(DataResponse {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body,
        })))
    }
}

/// Opens 1,000 streams under one agreement, lets `turn` change what decides, and returns how long after `turned` the
/// last of them was cut.
async fn slowest_cut(
    terms: Arc<Terms>,
    turn: impl Future<Output = ()>,
    signal: &watch::Sender<Signal>,
    turned: impl Fn() -> Timestamp,
) -> SignedDuration {
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let grant = Grant::decide(Arc::<Terms>::clone(&terms), Wall.now()).unwrap();
        let request = request(Method::GET, &[]);
        let mut response =
            serve(grant, &Endless, request, signal.subscribe(), Arc::new(Wall), |_| {}).await.unwrap();
        response.body.frame().await.unwrap().unwrap();
        readers.spawn(async move {
            assert!(read_on(response).await.is_some(), "cut");
            Wall.now()
        });
    }
    turn.await;
    let mut last = Timestamp::MIN;
    while let Some(at) = readers.join_next().await {
        last = last.max(at.unwrap());
    }
    last.duration_since(turned())
}

/// How long it takes to wake a thousand readers of a plain channel on this machine now, from the word to the last of them.
async fn plainly_woken() -> SignedDuration {
    let (word, _keep) = watch::channel(());
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let mut heard = word.subscribe();
        readers.spawn(async move {
            heard.changed().await.unwrap();
            Wall.now()
        });
    }
    let said = Wall.now();
    word.send_replace(());
    let mut last = Timestamp::MIN;
    while let Some(at) = readers.join_next().await {
        last = last.max(at.unwrap());
    }
    last.duration_since(said)
}

/// Streams are cut about as fast as tasks can be woken at all: each asks its policy beside, which takes its time too.
async fn is_near_to_plainly_woken(took: SignedDuration) -> bool {
    let plain = plainly_woken().await.max(SignedDuration::from_millis(1));
    eprintln!("1,000 streams were cut after {took:#}, 1,000 plain readers were woken after {plain:#}");
    took < plain * FACTOR
}

/// Asking a policy costs more than waking; going through the streams one after the other, or on the next tick of
/// something, costs more than this.
const FACTOR: i32 = 150;

/// The best of some rounds: others share the machine.
const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_are_cut_at_the_time_limit_about_as_fast_as_readers_are_woken() {
    for _ in 0..ROUNDS {
        if is_near_to_plainly_woken(cut_at_the_time_limit().await).await {
            return;
        }
    }
    panic!("much slower than a plain channel in each of {ROUNDS} rounds");
}

async fn cut_at_the_time_limit() -> SignedDuration {
    // Far enough for a thousand streams to be opened before it on a slow machine.
    let until = Wall.now() + SignedDuration::from_secs(5);
    let limited =
        terms(json!([{"leftOperand": "dateTime", "operator": "lteq", "rightOperand": until.to_string()}]));
    let (signal, _keep) = running();
    slowest_cut(limited, std::future::ready(()), &signal, || until).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_are_cut_by_an_event_about_as_fast_as_readers_are_woken() {
    for _ in 0..ROUNDS {
        if is_near_to_plainly_woken(cut_by_an_event().await).await {
            return;
        }
    }
    panic!("much slower than a plain channel in each of {ROUNDS} rounds");
}

async fn cut_by_an_event() -> SignedDuration {
    let terms = terms(json!([]));
    let (signal, _keep) = running();
    let at = Mutex::new(Timestamp::MIN);
    let turn = async {
        // What does not matter cuts nothing; a duty recorded as violated does.
        signal.send_replace(Signal::Run);
        terms.record.lock().unwrap().violated.push("/obligation/0".to_owned());
        *at.lock().unwrap() = Wall.now();
        signal.send_replace(Signal::Run);
    };
    slowest_cut(Arc::clone(&terms), turn, &signal, || *at.lock().unwrap()).await
}
