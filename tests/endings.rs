//! The end of an agreement, as each side tells it, and what was read before.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Node, PURPOSE, World};

fn agreed(consumer: &Node, provider: &Node, id: &str) -> String {
    let found = consumer.json(&["negotiate", &provider.did, id, "--purpose", PURPOSE]);
    found["contractAgreementId"].as_str().unwrap().to_owned()
}

async fn shown(node: &Node, agreement: &str) -> Value {
    node.get(&format!("/v4/contractagreements/{}", trust::did::segment(agreement))).await
}

#[tokio::test]
async fn each_side_knows_when_and_why_the_other_ended_an_agreement() {
    let world = World::new();
    let (provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish("urn:test:rows", b"a\n1\n", &[]);
    let agreement = agreed(&consumer, &provider, "urn:test:rows");
    let path = format!("/v4/contractagreements/{}", trust::did::segment(&agreement));
    assert!(consumer.text(&["agreements", "list"]).contains("in force"));

    // A kill of the other side loses nothing of it.
    consumer.kill();
    provider.text(&["agreements", "end", &agreement, "--reason", "the sensors were sold"]);
    consumer.start();
    consumer.client = world.client();
    let told = consumer.until(&path, |one| one["urn:concordat:endedThere"].is_object()).await;
    assert_eq!(told["urn:concordat:endedThere"]["reason"], "the sensors were sold", "{told}");
    assert_eq!(told["urn:concordat:inForce"], false, "{told}");
    let list = consumer.text(&["agreements", "list"]);
    assert!(list.contains("ended by the") && !list.contains("in force"), "{list}");
    let refused = consumer.run(&["transfers", "start", &agreement]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("the sensors were sold"), "{said}");

    // Its own end, with its own reason, stands beside.
    consumer.text(&["agreements", "end", &agreement, "--reason", "the project is over"]);
    let both =
        |one: &Value| one["urn:concordat:ended"].is_object() && one["urn:concordat:endedThere"].is_object();
    let here = provider.until(&path, both).await;
    assert_eq!(here["urn:concordat:ended"]["reason"], "the sensors were sold", "{here}");
    assert_eq!(here["urn:concordat:endedThere"]["reason"], "the project is over", "{here}");
    let there = shown(&consumer, &agreement).await;
    for (own, others) in [(&there, &here), (&here, &there)] {
        for member in ["at", "reason"] {
            assert_eq!(own["urn:concordat:ended"][member], others["urn:concordat:endedThere"][member]);
        }
    }
    let text = provider.text(&["audit", "match", &agreement]);
    for part in
        ["both parties ended the agreement, each for itself", "the sensors were sold", "the project is over"]
    {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.contains("the logs do not differ"), "{text}");
    let again = consumer.run(&["agreements", "end", &agreement]);
    assert!(!again.status.success(), "it was ended by this side already");
}

/// Statements have bounds; an end has none.
#[tokio::test]
async fn an_agreement_ends_also_where_nothing_more_can_be_stated() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish("urn:test:rows", b"a\n1\n", &[]);
    let agreement = agreed(&consumer, &provider, "urn:test:rows");
    provider.stop();
    provider.put(&format!("statements/{agreement}"), &json!({"count": 1, "bytes": 1_u64 << 50})).await;
    provider.start();
    provider.client = world.client();
    provider.text(&["agreements", "end", &agreement, "--reason", "enough"]);
    let ended = shown(&provider, &agreement).await;
    assert_eq!(ended["urn:concordat:ended"]["reason"], "enough", "{ended}");
    assert!(provider.log().contains("is not told of the end of an agreement"), "{}", provider.log());
}

#[tokio::test]
async fn an_agreement_whose_time_is_over_is_not_in_force() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let file = provider.data().join("rows.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    let end = (connector::clock::now() + Duration::from_secs(5)).to_string();
    let publish = ["publish", file.to_str().unwrap(), "--id", "urn:test:short", "--title", "Rows"];
    provider.json(&[&publish[..], &["--valid-until", &end]].concat());
    let found = consumer.json(&["negotiate", &provider.did, "urn:test:short"]);
    let agreement = found["contractAgreementId"].as_str().unwrap();
    for node in [&provider, &consumer] {
        let began = Instant::now();
        while shown(node, agreement).await["urn:concordat:inForce"] == true {
            assert!(began.elapsed() < Duration::from_secs(60));
            tokio::task::yield_now().await;
        }
        let list = node.text(&["agreements", "list"]);
        assert!(list.contains("over: its terms") && !list.contains("in force"), "{list}");
    }
}

#[tokio::test]
async fn both_sides_count_the_same_reads() {
    let world = World::new();
    let (provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish("urn:test:rows", b"a\n1\n2\n", &[]);
    let agreement = agreed(&consumer, &provider, "urn:test:rows");
    let file = consumer.data().join("rows.csv");
    for _ in 0..3 {
        consumer.text(&["pull", &agreement, "-o", file.to_str().unwrap()]);
    }
    let counted = async |node: &Node| {
        let began = Instant::now();
        loop {
            let found = shown(node, &agreement).await;
            let counted = (found["urn:concordat:requests"].clone(), found["urn:concordat:bytes"].clone());
            if counted == (json!(3), json!(18)) || began.elapsed() > Duration::from_secs(20) {
                return counted;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(counted(&provider).await, (json!(3), json!(18)));
    assert_eq!(counted(&consumer).await, (json!(3), json!(18)));
    consumer.stop();
    consumer.start();
    consumer.client = world.client();
    assert_eq!(counted(&consumer).await, (json!(3), json!(18)), "and remembers them");
}
