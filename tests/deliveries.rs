//! Messages to others who do not take them: in order, given up, and sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use trust::did::segment;

use crate::hostile::{offer, request};
use crate::support::{PURPOSE, Peer, Stranger, World};

const DATASET: &str = "urn:test:rows";

/// How many messages there are in a state.
fn count(found: &Value, state: &str) -> usize {
    found.as_array().unwrap().iter().filter(|one| one["state"] == state).count()
}

#[tokio::test]
async fn what_is_given_up_is_shown_and_can_be_sent_again() {
    let world = World::new();
    let (mut provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, b"a,b\n1,2\n", &[]);
    provider.configure("give_up_after_seconds = 600", "give_up_after_seconds = 6");
    provider.client = world.client();
    let found = consumer.json(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
    let agreement = found["contractAgreementId"].as_str().unwrap();
    let started = [(); 3].map(|()| consumer.json(&["transfers", "start", agreement]));
    let theirs =
        started.map(|one| format!("/v4/transferprocesses/{}", segment(one["@id"].as_str().unwrap())));
    consumer.kill();
    for one in provider.json(&["transfers", "list"]).as_array().unwrap() {
        provider.run(&["transfers", "stop", one["@id"].as_str().unwrap(), "--reason", "enough"]);
    }
    let found = provider.until("/v4/deliveries", |found| count(found, "WAITING") == 3).await;
    assert_eq!(found[0]["peer"], consumer.did.as_str(), "{found}");
    assert!(found[0]["address"].as_str().unwrap().ends_with("/termination"), "{found}");
    let found = provider.until("/v4/deliveries", |found| count(found, "GIVEN_UP") == 3).await;
    assert!(found[0]["reason"].as_str().unwrap().starts_with("gave up after 6 s: "), "{found}");
    let id = found[0]["@id"].as_str().unwrap().to_owned();

    // They are there after a restart; each can be found, forgotten and sent again.
    provider.kill();
    provider.start();
    provider.client = world.client();
    let shown = provider.text(&["deliveries", "list"]);
    assert!(shown.contains("GIVEN_UP") && shown.contains(&consumer.did), "{shown}");
    let checked = provider.run(&["doctor"]);
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.contains("3 messages were given up or refused, among them one to did:"), "{checked}");
    let page = provider.get("/v4/deliveries?limit=2").await;
    let last = page[1]["@id"].as_str().unwrap();
    let rest = provider.get(&format!("/v4/deliveries?limit=2&after={}", segment(last))).await;
    assert_eq!((count(&page, "GIVEN_UP"), count(&rest, "GIVEN_UP")), (2, 1), "{page} {rest}");
    assert!(!provider.run(&["deliveries", "again", "urn:none"]).status.success());
    // Nobody is there yet: it is given up once more.
    provider.run(&["deliveries", "again", &id]);
    provider.until("/v4/deliveries", |found| count(found, "WAITING") == 1).await;
    provider.until("/v4/deliveries", |found| count(found, "GIVEN_UP") == 3).await;

    consumer.start();
    consumer.client = world.client();
    for path in &theirs {
        assert_eq!(consumer.get(path).await["state"], "STARTED");
    }
    let sent = provider.json(&["deliveries", "again", "--peer", &consumer.did]);
    assert_eq!(sent["messages"], 3);
    for path in &theirs {
        consumer
            .until(path, |one| {
                one["state"] == "TERMINATED"
                    && one["errorDetail"].as_str().unwrap().ends_with("ended it: enough")
            })
            .await;
    }
    provider.until("/v4/deliveries", |found| found == &json!([])).await;
    assert_eq!(provider.json(&["deliveries", "again", "--peer", &consumer.did])["messages"], 0);
}

#[tokio::test]
async fn after_an_outage_messages_come_in_the_order_in_which_they_were_written() {
    let world = World::new();
    let mut node = world.local_node("provider");
    node.publish(DATASET, b"a,b\n1,2\n", &[]);
    node.configure("deliveries_per_peer = 16", "deliveries_per_peer = 1");
    node.client = world.client();
    let stranger = Stranger::new(&world);
    let is_back = Arc::new(AtomicBool::new(false));
    let (took, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let back = Arc::clone(&is_back);
    let peer = Peer::serving(&world, |_| {
        axum::Router::new().fallback(move |body: axum::body::Bytes| {
            let (back, took) = (back.load(Ordering::SeqCst), took.clone());
            async move {
                let message: Value = serde_json::from_slice(&body).unwrap();
                took.send((back, message["consumerPid"].as_str().unwrap().to_owned())).unwrap();
                http::StatusCode::from_u16(if back { 200 } else { 503 }).unwrap()
            }
        })
    });
    let terms = offer(&stranger, &node).await;
    let mut asked = Vec::new();
    for _ in 0..12 {
        let request = request(&terms, &peer.address);
        asked.push(request["consumerPid"].as_str().unwrap().to_owned());
        let (status, answer) = stranger.send(&node, "POST", "/negotiations/request", &request).await;
        assert_eq!(status, 201, "{answer}");
    }
    assert_eq!(taken.recv().await.unwrap(), (false, asked[0].clone()));
    // While it is away, the oldest alone asks whether it is back, and not more often than the pauses allow.
    let waiting = |found: &Value| count(found, "WAITING") == 12;
    node.until("/v4/deliveries", waiting).await;
    let mut probes = 1;
    while probes < 3 {
        assert_eq!(taken.recv().await.unwrap(), (false, asked[0].clone()));
        probes += 1;
    }
    // By the third attempt it is known how the first one ended.
    let found = node.get("/v4/deliveries").await;
    let first = found.as_array().unwrap().iter().find(|one| one["attempts"].as_u64() >= Some(1)).unwrap();
    assert!(first["reason"].as_str().unwrap().contains("503"), "{found}");
    is_back.store(true, Ordering::SeqCst);
    let mut came = Vec::new();
    while came.len() < asked.len() {
        match taken.recv().await.unwrap() {
            (true, pid) => came.push(pid),
            (false, pid) => assert_eq!(pid, asked[0]),
        }
    }
    assert_eq!(came, asked);
}

#[tokio::test]
async fn what_its_operator_ended_waits_for_nobody_who_is_silent() {
    let world = World::new();
    let (provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, b"a,b\n1,2\n", &[]);
    consumer.configure("deliveries_per_peer = 16", "deliveries_per_peer = 1");
    consumer.client = world.client();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}/dsp/2025-1", silent.local_addr().unwrap().port());
    let begin = || async {
        let request = json!({"counterPartyAddress": address, "counterPartyId": provider.did, "policy": {
            "@id": "urn:offer:none", "@type": "Offer", "target": DATASET}});
        let begun = consumer.post("/v4/contractnegotiations", request).await;
        format!("/v4/contractnegotiations/{}", segment(begun["@id"].as_str().unwrap()))
    };
    let end = |path: String| {
        let node = &consumer;
        async move { node.ask("POST", &format!("{path}/terminate"), Some(json!({"reason": "enough"}))).await }
    };
    let first = begin().await;
    let (connection, _) = silent.accept().await.unwrap();
    // The second waits behind the first, which is on its way: nothing need be told of it.
    let second = begin().await;
    assert_eq!(end(second.clone()).await.unwrap().0, 204);
    let shown = consumer.get(&second).await;
    assert_eq!(
        (&shown["state"], &shown["errorDetail"]),
        (&json!("TERMINATED"), &json!("you ended it: enough")),
        "{shown}"
    );

    // What is on its way may arrive; it is over as soon as that attempt is.
    assert_eq!(end(first.clone()).await.unwrap().0, 204);
    assert_eq!(consumer.get(&first).await["state"], "INITIAL");
    drop(connection);
    drop(silent);
    consumer
        .until(&first, |shown| {
            shown["state"] == "TERMINATED" && shown["errorDetail"] == "you ended it: enough"
        })
        .await;
    consumer.until("/v4/deliveries", |found| found == &json!([])).await;
}
