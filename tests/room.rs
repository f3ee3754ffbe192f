//! A disk without room for a while: nothing is written, the node says so, and goes on by itself once there is room.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trust::did::segment;

use crate::streams::door;
use crate::support::{Node, PURPOSE, World, answer};
use crate::usage::{agree_with, c, permission};

/// Lets the files of a running node grow to `bytes` at most.
fn limit(node: &Node, bytes: &str) {
    let process = node.process_id().to_string();
    let done = Command::new("prlimit")
        .args(["--pid", &process, &format!("--fsize={bytes}:unlimited")])
        .status()
        .unwrap();
    assert!(done.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_room_says_so_goes_on_with_room_and_stops_without() {
    let world = World::new();
    let mut node = world.local_node("provider");
    let health = async || {
        let answer = node.client.get(format!("{}/health", node.address)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let write = async |id: &str| {
        let body = json!({"@id": id, "properties": {}, "dataAddress": {"type": "HttpData", "baseUrl": "https://a.example"}});
        node.ask("POST", "/v4/assets", Some(body)).await.unwrap().0
    };
    assert_eq!(health().await, (200, "ok\n".to_owned()));
    assert_eq!(write("urn:test:before").await, 200);
    limit(&node, "1");
    assert_eq!(write("urn:test:refused").await, 500);
    assert_eq!(
        health().await,
        (503, "the store cannot be written: there is no room left for it\n".to_owned())
    );
    let doctor = node.run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(5));
    let found = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(found.contains("there is no room left"), "{found}");
    limit(&node, "unlimited");
    assert_eq!(write("urn:test:after").await, 200, "{}", node.log());
    assert_eq!(health().await.0, 200);
    limit(&node, "1");
    assert_eq!(write("urn:test:refused").await, 500);
    let started = Instant::now();
    node.stop();
    assert!(started.elapsed() < Duration::from_secs(20), "it stops without room too");
    node.start();
    for (id, status) in [("urn:test:before", 200), ("urn:test:refused", 404), ("urn:test:after", 200)] {
        assert_eq!(node.ask("GET", &format!("/v4/assets/{id}"), None).await.unwrap().0, status, "{id}");
    }
    node.stop();
    node.text(&["store", "verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_nothing_flows_that_must_be_counted_and_what_flows_is_metered_later() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let file = world.folder.path().join("rows.csv");
    std::fs::write(&file, "row\n1\n").unwrap();
    let counted = permission(&[c("count", "lteq", "7")]);
    let counted = agree_with(&world, &provider, &consumer, file.to_str().unwrap(), &counted, &[]);
    provider.publish("urn:test:open", b"row\n1\n", &[]);
    let open = consumer.json(&["negotiate", &provider.did, "urn:test:open", "--purpose", PURPOSE]);
    let open = open["contractAgreementId"].as_str().unwrap().to_owned();
    let doors = [door(&consumer, &counted).await, door(&consumer, &open).await];
    let read = async |number: usize| {
        let (endpoint, token) = &doors[number];
        answer(consumer.client.get(endpoint).bearer_auth(token).send().await.unwrap()).await
    };
    let path = |agreement: &str| format!("/v4/contractagreements/{}", segment(agreement));
    let is_read = |requests: u64| move |one: &Value| one["urn:concordat:requests"].as_u64() == Some(requests);
    assert_eq!((read(0).await.0, read(1).await.0), (200, 200));
    provider.until(&path(&open), is_read(1)).await;
    limit(&provider, "1");
    let (status, said) = read(0).await;
    assert_eq!(status, 503, "{said}");
    assert!(said.to_string().contains("what must be counted: there is no room left"), "{said}");
    for _ in 0..3 {
        assert_eq!(read(1).await.0, 200, "nobody counts these");
    }
    limit(&provider, "unlimited");
    let found = provider.until(&path(&open), is_read(4)).await;
    assert_eq!(found["urn:concordat:bytes"], 4 * "row\n1\n".len(), "{found}");
    assert_eq!(read(0).await.0, 200);
    provider.until(&path(&counted), is_read(2)).await;
    // What was kept in memory is written at the stop as well, once there is room.
    limit(&provider, "1");
    assert_eq!(read(1).await.0, 200);
    limit(&provider, "unlimited");
    provider.stop();
    provider.start();
    provider.client = world.client();
    provider.until(&path(&open), is_read(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_the_count_of_a_read_that_failed_is_given_back_later() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    // It is asked, and then fails when the test says so.
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (fail, fails) = tokio::sync::watch::channel(false);
    let source = move || {
        let mut fails = fails.clone();
        tell.send(()).unwrap();
        async move {
            fails.wait_for(|fails| *fails).await.unwrap();
            http::StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rows", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(source)).into_future());
    let agreement =
        agree_with(&world, &provider, &consumer, &url, &permission(&[c("count", "lteq", "7")]), &[]);
    let (endpoint, token) = door(&consumer, &agreement).await;
    let client = consumer.client.clone();
    let reading = tokio::spawn(async move { client.get(endpoint).bearer_auth(token).send().await });
    told.recv().await.unwrap();
    let path = format!("/v4/contractagreements/{}", segment(&agreement));
    let requests = |one: &Value| one["urn:concordat:requests"].as_u64();
    provider.until(&path, |one| requests(one) == Some(1)).await;
    limit(&provider, "1");
    fail.send_replace(true);
    assert_eq!(reading.await.unwrap().unwrap().status(), 502);
    assert_eq!(requests(&provider.get(&path).await), Some(1), "there is no room to write that it failed");
    limit(&provider, "unlimited");
    provider.until(&path, |one| requests(one) == Some(0)).await;
}

#[tokio::test]
async fn a_journal_that_lost_its_end_or_is_damaged_is_told_by_the_exit_code() {
    let world = World::new();
    let mut node = world.local_node("provider");
    node.publish("urn:test:rows", b"row\n1\n", &[]);
    node.stop();
    node.text(&["store", "verify"]);
    let journal = node.dir.join("store/journal");
    let mut segments: Vec<_> = std::fs::read_dir(&journal).unwrap().map(|one| one.unwrap().path()).collect();
    segments.sort();
    let segment = segments.pop().unwrap();
    let whole = std::fs::read(&segment).unwrap();
    let verdict = |bytes: &[u8]| {
        std::fs::write(&segment, bytes).unwrap();
        let done = node.run(&["store", "verify"]);
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    // A torn last write is cut off silently at a start, for it was never answered; here the index knows better.
    let (code, said) = verdict(&whole[..whole.len() - 1]);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("index"), "{said}");
    let (code, said) = verdict(&whole[..whole.len() / 2]);
    assert_eq!(code, Some(5), "{said}");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    let (code, said) = verdict(&damaged);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("damaged"), "{said}");
    let (code, said) = verdict(&whole);
    assert_eq!(code, Some(0), "{said}");
}
