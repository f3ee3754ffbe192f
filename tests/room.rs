//! A disk without room for a while: nothing is written, the node says so, and goes on by itself once there is room.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Node, World};

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
