//! Every parser of others' bytes under mutations of what it takes, and a node under mutations of others' messages, which starts
//! again after each lot.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::hostile::{offer, request};
use crate::support::{Chance, Node, PURPOSE, Stranger, World, number};

#[path = "../fuzz/bodies.rs"]
mod bodies;

const DATASET: &str = "urn:test:rows";
/// Longest time for one input.
const LONGEST: Duration = Duration::from_secs(10);
/// What an input is made of beside itself.
const SCRAPS: [&str; 34] = [
    "null",
    "true",
    "-1",
    "0",
    "1e308",
    "1e999",
    "99999999999999999999999999999999",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "0.00000000000000000000000000001",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud83d\\ude00\"",
    "\"\u{202e}x\"",
    "\"P19998Y11M\"",
    "\"P999999999999Y\"",
    "\"-P1Y\"",
    "\"PT9223372036854775807S\"",
    "\"9999-12-31T24:00:00Z\"",
    "\"-9999-01-01T00:00:00+14:00\"",
    "\"2026-02-30T25:61:61Z\"",
    "\"24:00:00\"",
    "\"urn:x/y\"",
    "\"../..\"",
    "\"http://[::1]:0/?#\"",
    "\"did:web:a%2Fb\"",
    "[]",
    "{}",
    "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]",
    "{\"@id\":{\"@id\":{\"@id\":\"x\"}}}",
    "{\"@value\":\"1\",\"@type\":\"xsd:duration\"}",
    "{\"@list\":[1,[2,[3]]]}",
    "[\"a\",\"a\",\"a\"]",
];

fn seconds() -> u64 {
    number("CONCORDAT_FUZZ_SECONDS").unwrap_or(2)
}

/// The input changed in one to four places.
fn mutated(chance: &mut Chance, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    if bytes.is_empty() {
        bytes = (0..2 + chance.below(64)).map(|_| u8::try_from(chance.below(256)).unwrap()).collect();
    }
    let index =
        |chance: &mut Chance, bound: usize| usize::try_from(chance.below(bound.max(1) as u64)).unwrap();
    for _ in 0..=chance.below(4) {
        if let Ok(mut json) = serde_json::from_slice::<Value>(&bytes)
            && chance.below(4) > 0
        {
            change(chance, &mut json);
            bytes = json.to_string().into_bytes();
            continue;
        }
        let at = index(chance, bytes.len() + 1);
        let end = (at + 1 + index(chance, 16)).min(bytes.len());
        match chance.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 => drop(bytes.drain(at.min(end)..end)),
            2 => {
                let copied = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, copied);
            }
            3 => drop(bytes.splice(at..at, (0..chance.below(200)).map(|_| b'['))),
            4 => bytes.truncate(at),
            _ => drop(bytes.splice(at..at, SCRAPS[index(chance, SCRAPS.len())].bytes())),
        }
    }
    bytes
}

/// Another value, another place, or another name, somewhere in a document.
fn change(chance: &mut Chance, json: &mut Value) {
    let mut places = vec![String::new()];
    pointers(json, "", &mut places);
    let place = &places[usize::try_from(chance.below(places.len() as u64)).unwrap()];
    let other = &places[usize::try_from(chance.below(places.len() as u64)).unwrap()];
    let copied = json.pointer(other).cloned().unwrap_or_default();
    let scrap = SCRAPS[usize::try_from(chance.below(SCRAPS.len() as u64)).unwrap()];
    let scrap: Value = serde_json::from_str(scrap).unwrap_or_else(|_| json!(scrap));
    let Some(spot) = json.pointer_mut(place) else { return };
    match (chance.below(6), spot) {
        (0, spot) => *spot = copied,
        (1, Value::Array(list)) => {
            let again = list.first().cloned().unwrap_or(scrap);
            list.extend(std::iter::repeat_n(again, 300));
        }
        (2, Value::Object(map)) => drop(map.insert("@id".to_owned(), scrap)),
        (3, Value::String(text)) => *text = text.repeat(50),
        (4, spot) => {
            for _ in 0..chance.below(80) {
                *spot = json!([spot.take()]);
            }
        }
        (_, spot) => *spot = scrap,
    }
}

fn pointers(json: &Value, path: &str, found: &mut Vec<String>) {
    let mut visit = |key: &str, value: &Value| {
        let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
        found.push(path.clone());
        pointers(value, &path, found);
    };
    match json {
        Value::Object(map) => map.iter().for_each(|(key, value)| visit(key, value)),
        Value::Array(list) => list.iter().enumerate().for_each(|(at, value)| visit(&at.to_string(), value)),
        _ => {}
    }
}

/// No parser panics, hangs, or reads something else from what it wrote.
#[test]
fn no_bytes_break_a_parser() {
    let seed = Chance::seed("CONCORDAT_FUZZ_SEED");
    eprintln!("CONCORDAT_FUZZ_SEED={seed}");
    let each = Duration::from_secs(seconds()) / u32::try_from(bodies::ALL.len()).unwrap();
    for (name, body, first) in bodies::ALL {
        let mut chance = Chance(seed);
        let (until, mut inputs) = (Instant::now() + each, 0_u64);
        let mut input = first.as_bytes().to_vec();
        while Instant::now() < until || inputs < 50 {
            let began = Instant::now();
            let done = catch_unwind(AssertUnwindSafe(|| body(&input)));
            let shown = String::from_utf8_lossy(&input);
            assert!(done.is_ok(), "{name}, input {inputs} of seed {seed}: {shown}");
            assert!(began.elapsed() < LONGEST, "{name}: {:?} for {shown}", began.elapsed());
            inputs += 1;
            // Now and then further from the seed, as long as that stays small.
            let is_from_here = chance.below(4) == 0 && input.len() < 64 * 1024 && !first.is_empty();
            input = mutated(&mut chance, if is_from_here { &input } else { first.as_bytes() });
        }
        eprintln!("{name}: {inputs} inputs");
    }
}

#[test]
fn libfuzzer_has_every_body() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz");
    let mut targets: Vec<_> = std::fs::read_dir(format!("{folder}/fuzz_targets"))
        .unwrap()
        .map(|one| one.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    targets.sort();
    assert_eq!(targets, bodies::ALL.map(|(name, ..)| name));
    let manifest = std::fs::read_to_string(format!("{folder}/Cargo.toml")).unwrap();
    for name in targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}

/// Whatever a participant says, the node answers, starts again, and deals with an honest one.
#[tokio::test]
async fn no_message_of_a_peer_keeps_a_node_from_starting() {
    let seed = Chance::seed("CONCORDAT_FUZZ_SEED");
    eprintln!("CONCORDAT_FUZZ_SEED={seed}");
    let mut chance = Chance(seed);
    let world = World::new();
    let (mut node, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    node.configure("messages_per_minute = 1200", "messages_per_minute = 1000000");
    node.publish(DATASET, b"a,b\n1,2\n", &["--automation", "manual"]);
    node.publish("urn:test:auto", b"a,b\n1,2\n", &[]);
    let peer = crate::support::Peer::serving(&world, |_| axum::Router::new().fallback(|| async { "{}" }));
    let until = Instant::now() + Duration::from_secs(seconds());
    let (mut sent, mut taken, mut lots) = (0, 0, 0);
    while lots == 0 || Instant::now() < until {
        // Its connections ended with the node's last run.
        let stranger = Stranger::new(&world);
        let terms = offer(&stranger, &node).await;
        let good = request(&terms, &peer.address);
        let (status, begun) = stranger.send(&node, "POST", "/negotiations/request", &good).await;
        assert_eq!(status, 201, "{begun}");
        let path = |leaf: &str| format!("/negotiations/{}/{leaf}", begun["providerPid"].as_str().unwrap());
        let of_it = |kind: &str, more: Value| {
            let mut message = json!({"@context": good["@context"], "@type": kind, "@id": connector::ids::urn(),
                "providerPid": begun["providerPid"], "consumerPid": begun["consumerPid"]});
            message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            message
        };
        let first_offer = json!({"@context": good["@context"], "@type": "ContractOfferMessage", "@id": connector::ids::urn(),
            "providerPid": connector::ids::urn(), "callbackAddress": peer.address, "offer": good["offer"]});
        let offered = first_offer.clone();
        let (status, asked) = stranger.send(&node, "POST", "/negotiations/offers", &offered).await;
        assert_eq!(status, 201, "{asked}");
        let to_consumer =
            |leaf: &str| format!("/negotiations/{}/{leaf}", asked["consumerPid"].as_str().unwrap());
        let as_provider = |kind: &str, more: Value| {
            let mut message = json!({"@context": good["@context"], "@type": kind, "@id": connector::ids::urn(),
                "providerPid": asked["providerPid"], "consumerPid": asked["consumerPid"]});
            message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            message
        };
        let mut agreement = good["offer"].clone();
        for (name, value) in [
            ("@type", "Agreement"),
            ("@id", "urn:test:fuzzed"),
            ("assigner", &stranger.did),
            ("assignee", &node.did),
            ("timestamp", "2026-01-01T00:00:00Z"),
        ] {
            agreement[name] = json!(value);
        }
        let transfer = json!({"@context": good["@context"], "@type": "TransferRequestMessage", "@id": connector::ids::urn(),
            "consumerPid": connector::ids::urn(), "agreementId": "urn:a", "format": "HttpData-PULL", "callbackAddress": peer.address});
        let credentials = json!({"@context": ["https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"], "type": "CredentialOfferMessage",
            "issuer": "did:web:a", "credentials": [{"id": "c", "credentialType": "MembershipCredential"}]});
        let kinds: Vec<(String, Value)> = vec![
            ("/negotiations/request".to_owned(), good.clone()),
            ("/negotiations/offers".to_owned(), first_offer),
            (path("request"), of_it("ContractRequestMessage", json!({"offer": good["offer"]}))),
            (path("events"), of_it("ContractNegotiationEventMessage", json!({"eventType": "ACCEPTED"}))),
            (path("agreement/verification"), of_it("ContractAgreementVerificationMessage", json!({}))),
            (
                path("termination"),
                of_it("ContractNegotiationTerminationMessage", json!({"code": "1", "reason": ["x"]})),
            ),
            (
                to_consumer("agreement"),
                as_provider("ContractAgreementMessage", json!({"agreement": agreement})),
            ),
            (to_consumer("offers"), as_provider("ContractOfferMessage", json!({"offer": good["offer"]}))),
            (
                to_consumer("events"),
                as_provider("ContractNegotiationEventMessage", json!({"eventType": "FINALIZED"})),
            ),
            (
                "/transfers/urn:none/start".to_owned(),
                as_provider(
                    "TransferStartMessage",
                    json!({"dataAddress": {
                "@type": "DataAddress", "endpointType": "https://w3id.org/idsa/v4.1/HTTP", "endpoint": "https://b.example"}}),
                ),
            ),
            (
                "/transfers/urn:none/suspension".to_owned(),
                as_provider("TransferSuspensionMessage", json!({"reason": ["x"]})),
            ),
            ("/transfers/request".to_owned(), transfer),
            (
                "/catalog/request".to_owned(),
                json!({"@context": good["@context"], "@type": "CatalogRequestMessage",
                "filter": [{"text": "rows"}]}),
            ),
        ];
        for _ in 0..60 {
            let (path, message) = &kinds[usize::try_from(chance.below(kinds.len() as u64)).unwrap()];
            let mut message = message.clone();
            if path.ends_with("/request") || path.ends_with("/offers") {
                for name in ["consumerPid", "providerPid", "@id"] {
                    if message.get(name).is_some() && path.starts_with("/negotiations/request") {
                        message[name] = json!(connector::ids::urn());
                    }
                }
            }
            for _ in 0..=chance.below(3) {
                change(&mut chance, &mut message);
            }
            let (status, answer) = stranger.send(&node, "POST", path, &message).await;
            assert_ne!(status, 500, "seed {seed}: {path} {message}: {answer}");
            sent += 1;
            taken += u32::from(status < 300);
        }
        let _ = stranger.send(&node, "POST", "/credentials/offers", &credentials).await;
        if chance.below(2) == 0 {
            node.kill()
        } else {
            node.stop()
        }
        node.start();
        node.client = world.client();
        answers(&node);
        let agreed = consumer.run(&["negotiate", &node.did, "urn:test:auto", "--purpose", PURPOSE]);
        assert!(agreed.status.success(), "seed {seed}: {agreed:?}");
        lots += 1;
    }
    eprintln!("{sent} messages in {lots} lots, {taken} of them taken");
    assert!(taken > 0);
    node.stop();
    node.text(&["store", "verify"]);
}

/// Every list answers, and no record is set aside.
fn answers(node: &Node) {
    for command in
        [["negotiations", "list"], ["agreements", "list"], ["transfers", "list"], ["deliveries", "list"]]
    {
        node.json(&command);
    }
    node.json(&["offers"]);
    assert_eq!(node.json(&["store", "aside"]), json!([]));
    // What it warns of is another matter.
    let doctor = node.run(&["doctor"]);
    assert!(matches!(doctor.status.code(), Some(0 | 5)), "{doctor:?}");
    node.text(&["audit", "verify"]);
}
