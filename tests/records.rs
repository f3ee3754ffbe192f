//! Records that cannot be read, and messages that would make some: neither keeps a node from starting, nor the rest from going on.

use serde_json::{Value, json};

use crate::hostile::{offer, request};
use crate::support::{Node, PURPOSE, Peer, Stranger, World};

const DATASET: &str = "urn:test:rows";

fn aside(node: &Node) -> Vec<String> {
    let found = node.json(&["store", "aside"]);
    found.as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap().to_owned()).collect()
}

fn negotiated(consumer: &Node, provider: &Node) -> bool {
    consumer.run(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]).status.success()
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_set_aside_named_and_removed_and_stops_nothing_else() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, b"row\n1\n", &[]);
    let agreed = consumer.json(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
    let agreement = agreed["contractAgreementId"].as_str().unwrap().to_owned();
    let other = consumer.json(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
    let other = other["contractAgreementId"].as_str().unwrap().to_owned();
    let closed = consumer.json(&["transfers", "start", &other])["@id"].as_str().unwrap().to_owned();
    provider.stop();
    // One of every kind that others' messages fill, and that is looked at when a node starts.
    let kinds = [
        "access/x/y",
        "acceptance/0000000001/x",
        "agreement/urn:x",
        "api-key/x",
        "attestation/x",
        "consent/x",
        "crawl/x",
        "credential/x/y",
        "credential-offer/x",
        "credential-request/x",
        "data-request/x",
        "duty/urn:x",
        "handed/x/y",
        "handing/x/y",
        "invitation/x",
        "issuance/x",
        "measured/x/000000000001/y",
        "membership/x",
        "message/x/1",
        "negotiation/urn:x",
        "open-use/x",
        "outbox/x",
        "peer/x",
        "period/x/000000000001",
        "person/x",
        "proven/x",
        "read/x/y",
        "released/x/y",
        "remote/x/y",
        "replay/x",
        "statement/x/y",
        "subject-request/x",
        "transfer/urn:x",
        "trusted/x",
        "unsure/x/y",
        "untold/x",
        "usage/urn:x",
        "used/x",
        "watcher/x",
    ];
    // And one that is in use.
    let in_use = format!("agreement/{other}");
    let spoilt = [&kinds[..], &[in_use.as_str()]].concat();
    provider.spoil_all(&spoilt).await;
    provider.start();
    provider.client = world.client();
    let mut expected: Vec<_> = spoilt.iter().map(|key| (*key).to_owned()).collect();
    let mut found = aside(&provider);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    for listing in [["negotiations", "list"], ["transfers", "list"], ["agreements", "list"]] {
        provider.text(&listing);
    }
    // What it is about is closed; everything else goes on.
    assert!(!consumer.run(&["pull", &closed]).status.success());
    assert_eq!(consumer.run(&["pull", &agreement]).stdout, b"row\n1\n");
    assert!(negotiated(&consumer, &provider));
    let doctor = provider.run(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains(&format!("{} records cannot be read", expected.len())), "{said}");
    assert!(provider.log().contains("is set aside"), "{}", provider.log());
    // Only what cannot be read is removed so.
    let kept = format!("agreement/{agreement}");
    assert!(!provider.run(&["store", "aside", "--remove", &kept]).status.success());
    for key in &expected {
        provider.text(&["store", "aside", "--remove", key]);
    }
    assert!(aside(&provider).is_empty());
    assert!(provider.text(&["doctor"]).contains("every record can be read"));
}

/// A rulebook forbids; what would be open without it stays closed.
#[tokio::test]
async fn a_rulebook_that_cannot_be_read_closes_what_it_may_forbid() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, b"row\n1\n", &[]);
    provider.stop();
    provider.spoil("rulebook/x/0000000001").await;
    provider.start();
    provider.client = world.client();
    let refused = consumer.run(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
    assert!(!refused.status.success(), "{refused:?}");
    provider.text(&["store", "aside", "--remove", "rulebook/x/0000000001"]);
    assert!(negotiated(&consumer, &provider));
}

/// A dataset that cannot be read makes the catalog incomplete, and its removal whole again.
#[tokio::test]
async fn a_dataset_that_cannot_be_read_is_removed_without_a_restart() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, b"row\n1\n", &[]);
    provider.stop();
    provider.spoil("asset/urn:test:spoilt").await;
    provider.start();
    provider.client = world.client();
    let shown = consumer.run(&["catalog", &provider.did]);
    assert!(
        !shown.status.success() && String::from_utf8_lossy(&shown.stderr).contains("incomplete"),
        "{shown:?}"
    );
    provider.text(&["store", "aside", "--remove", "asset/urn:test:spoilt"]);
    assert!(negotiated(&consumer, &provider));
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!("x"), |inner, _| json!([inner]))
}

/// Messages at and beyond every bound: each is answered, and the node starts again.
#[tokio::test]
async fn after_whatever_a_stranger_says_the_node_starts_again() {
    let world = World::new();
    let mut node = world.local_node("provider");
    node.publish(DATASET, b"row\n1\n", &["--automation", "manual"]);
    let (stranger, peer) = (Stranger::new(&world), Peer::start(&world));
    let terms = offer(&stranger, &node).await;
    let good = request(&terms, &peer.address);
    let duty = |left: &str, right: Value| json!([{"action": "delete", "constraint": [{"leftOperand": left, "operator": "lteq", "rightOperand": right}]}]);
    let typed = |value: &str, kind: &str| json!({"@value": value, "@type": format!("http://www.w3.org/2001/XMLSchema#{kind}")});
    let mut messages = Vec::new();
    for depth in [1, 60, 61, 62, 63, 64, 65, 100, 120, 123, 126] {
        let mut deep = good.clone();
        deep["urn:x:unknown"] = nested(depth);
        messages.push((format!("unknown, {depth} deep"), deep));
        let mut deep = good.clone();
        deep["offer"]["urn:x:unknown"] = nested(depth);
        messages.push((format!("in the offer, {depth} deep"), deep));
    }
    for duration in [
        "P19998Y11M",
        "P19998Y",
        "P239976M",
        "P239977M",
        "P9223372036854775807Y",
        "PT9223372036854775807S",
        "P99999999999D",
        "-P19999Y",
        "P1Y2M3DT4H5M6.123456789123S",
        "P",
        "PT",
        "P1.5Y",
    ] {
        for left in ["elapsedTime", "delayPeriod", "meteredTime", "timeInterval", "dateTime", "inForceDate"] {
            let mut long = good.clone();
            long["offer"]["obligation"] = duty(left, typed(duration, "duration"));
            messages.push((format!("{left} {duration}"), long));
        }
    }
    for date in [
        "-999999999-01-01T00:00:00Z",
        "999999999-12-31T23:59:59Z",
        "0000-00-00",
        "2026-02-30",
        "9999-12-31T24:00:00Z",
        "2026-01-01T00:00:00+99:99",
    ] {
        let mut far = good.clone();
        far["offer"]["obligation"] = duty("dateTime", typed(date, "dateTime"));
        messages.push((format!("date {date}"), far));
    }
    for number in [
        json!(1e308),
        json!(-1e308),
        json!("1e999999999"),
        json!("9".repeat(4000)),
        json!(u64::MAX),
        json!(i64::MIN),
    ] {
        let mut large = good.clone();
        large["offer"]["obligation"] = duty("count", number.clone());
        messages.push((format!("number {number}"), large));
    }
    for id in
        ["urn:x", "urn:x/y", "urn:x/y/", "/", "..", "urn:x\u{0}y", "urn:\u{202e}x", &"x".repeat(100_000)]
    {
        let mut odd = good.clone();
        odd["consumerPid"] = json!(id);
        messages.push((format!("pid {}", id.chars().take(20).collect::<String>()), odd));
    }
    for (name, mut message) in messages {
        if !name.starts_with("pid") {
            message["consumerPid"] = json!(connector::ids::urn());
        }
        message["@id"] = json!(connector::ids::urn());
        let (status, answer) = stranger.send(&node, "POST", "/negotiations/request", &message).await;
        assert!([201, 400, 413].contains(&status), "{name}: {status} {answer}");
        let is_deep = ["65 deep", "100 deep", "120 deep", "123 deep"].iter().any(|deep| name.ends_with(deep));
        assert!(!is_deep || answer.to_string().contains("deeper than 64"), "{name}: {status} {answer}");
    }
    let listed = node.json(&["negotiations", "list", "--limit", "1000"]);
    assert!(listed.as_array().unwrap().len() > 10, "some were taken");
    for one in listed.as_array().unwrap() {
        let shown = node.json(&["negotiations", "show", one["@id"].as_str().unwrap()]);
        // The operator says yes to what can be agreed to.
        if shown["state"] == "REQUESTED" {
            node.run(&["negotiations", "approve", one["@id"].as_str().unwrap()]);
        }
    }
    node.stop();
    node.start();
    node.client = world.client();
    assert_eq!(
        node.json(&["negotiations", "list", "--limit", "1000"]).as_array().map(Vec::len),
        listed.as_array().map(Vec::len)
    );
    assert!(aside(&node).is_empty());
    assert!(!node.log().contains("panicked"), "{}", node.log());
}
