//! Bounds of the configuration: what goes beyond them is refused, and what is silent is given up.

use std::time::{Duration, Instant};

use axum::routing::get;
use serde_json::{Value, json};
use trust::DidDocument;
use trust::did::segment;
use trust::jose::{Algorithm, PrivateKey};

use crate::hostile::{offer, request};
use crate::support::{CONTEXT, Node, PURPOSE, Peer, Stranger, World, free_port};

const DATASET: &str = "urn:test:rows";

/// Asks for a catalog with `token`; the status, and how long it took.
async fn ask(stranger: &Stranger, node: &Node, token: String) -> (u16, Duration) {
    let message = json!({"@context": [CONTEXT], "@type": "CatalogRequestMessage"}).to_string();
    let began = Instant::now();
    let (status, _) = stranger.send_with(node, "POST", "/catalog/request", message, Some(token)).await;
    (status, began.elapsed())
}

#[tokio::test]
async fn a_token_that_is_good_for_too_long_is_refused() {
    let world = World::new();
    let mut node = world.local_node("provider");
    let stranger = Stranger::new(&world);
    let good_for = |node: &Node, seconds: i64| {
        stranger
            .odd_token(&node.did, |claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() + seconds))
    };
    assert_eq!(ask(&stranger, &node, good_for(&node, 600)).await.0, 200);
    assert_eq!(ask(&stranger, &node, good_for(&node, 601)).await.0, 401);
    node.configure("token_seconds = 600", "token_seconds = 60");
    let stranger = Stranger::new(&world);
    let token =
        stranger.odd_token(&node.did, |claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 61));
    assert_eq!(ask(&stranger, &node, token).await.0, 401);
    assert_eq!(ask(&stranger, &node, stranger.token(&node.did)).await.0, 200);
    let text = std::fs::read_to_string(node.dir.join("concordat.toml")).unwrap();
    let text = text.replace("token_seconds = 60", "token_seconds = 3601");
    assert!(connector::config::Config::parse(&text).is_err(), "an hour at most");
}

/// A participant whose DID document says where its credential service is, which never answers; nor does the document's place
/// where it is `hidden`.
fn silent(world: &World, hidden: bool) -> (Peer, Stranger) {
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let mut did = String::new();
    let peer = Peer::serving(world, |address| {
        did = trust::did::web(address.strip_prefix("https://").unwrap());
        let services = [("cs", "CredentialService", format!("{address}/credentials"))];
        let document = DidDocument::of_node(&did, &format!("{did}#key"), key.public_jwk(), &services);
        let document = document.json().to_string();
        let router = match hidden {
            true => axum::Router::new(),
            false => axum::Router::new().route("/.well-known/did.json", get(|| async { document })),
        };
        router.fallback(std::future::pending::<http::StatusCode>)
    });
    let kid = format!("{did}#key");
    let stranger = Stranger { key, did, kid, client: world.client() };
    (peer, stranger)
}

#[tokio::test]
async fn a_silent_place_of_a_did_document_is_given_up() {
    let world = World::new();
    let mut node = world.local_node("provider");
    node.configure("resolver_seconds = 10", "resolver_seconds = 1");
    let (_peer, stranger) = silent(&world, true);
    let (status, took) = ask(&stranger, &node, stranger.token(&node.did)).await;
    assert_eq!(status, 401);
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_silent_credential_service_is_given_up_and_who_shows_nothing_leaves_nothing() {
    let world = World::new();
    let mut node = world.local_node("provider");
    node.configure("credentials_seconds = 10", "credentials_seconds = 1");
    node.configure("required = []", "required = [\"MembershipCredential\"]");
    let (_peer, stranger) = silent(&world, false);
    let now = connector::clock::now();
    let token = trust::token::issue(
        &stranger.key,
        &stranger.kid,
        &stranger.did,
        &node.did,
        &connector::ids::urn(),
        Some("access"),
        now,
    );
    let (status, took) = ask(&stranger, &node, token.unwrap()).await;
    assert_eq!(status, 401);
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&took), "{took:?}");
    node.stop();
    let used = node.records("replay/").into_iter().filter(|(key, _)| !key.starts_with("replay/! ")).count();
    assert_eq!(used, 0, "its token is not remembered");
}

#[tokio::test]
async fn a_participant_has_so_many_transfers_open() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, b"a,b\n1,2\n", &[]);
    provider.configure("open_transfers = 1000", "open_transfers = 2");
    provider.client = world.client();
    let found = consumer.json(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
    let agreement = found["contractAgreementId"].as_str().unwrap();
    let asked = json!({"contractId": agreement, "transferType": "HttpData-PULL"});
    let path = |one: &Value| format!("/v4/transferprocesses/{}", segment(one["@id"].as_str().unwrap()));
    let mut begun = Vec::new();
    for _ in 0..2 {
        let one = consumer.post("/v4/transferprocesses", asked.clone()).await;
        consumer.until(&path(&one), |one| one["state"] == "STARTED").await;
        begun.push(one);
    }
    // Over a restart as well.
    provider.kill();
    provider.start();
    provider.client = world.client();
    let third = consumer.post("/v4/transferprocesses", asked).await;
    let is_refused = |one: &Value| one["text"].as_str().unwrap().contains("refused with 429");
    let refused = |found: &Value| found.as_array().unwrap().iter().any(is_refused);
    provider.until("/v4/events/log?limit=1000", refused).await;
    // It is asked again, until one has ended.
    let id = begun[0]["@id"].as_str().unwrap();
    consumer.text(&["transfers", "stop", id, "--reason", "enough"]);
    consumer.until(&path(&third), |one| one["state"] == "STARTED").await;
    assert_eq!(provider.json(&["transfers", "list"]).as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn no_negotiation_in_flight_passes_the_bound_of_those_that_are_open() {
    let world = World::new();
    let mut node = world.local_node("provider");
    node.publish(DATASET, b"a,b\n1,2\n", &["--automation", "manual"]);
    node.configure("open_negotiations = 1000", "open_negotiations = 3");
    node.client = world.client();
    let stranger = Stranger::new(&world);
    let terms = offer(&stranger, &node).await;
    let nowhere = format!("https://localhost:{}", free_port());
    let asked = (0..12).map(|_| {
        let request = request(&terms, &nowhere);
        let (stranger, node) = (&stranger, &node);
        async move { stranger.send(node, "POST", "/negotiations/request", &request).await.0 }
    });
    let mut answers = futures_util::future::join_all(asked).await;
    answers.sort_unstable();
    assert_eq!(answers, [[201; 3].as_slice(), &[429; 9]].concat(), "{answers:?}");
    // What is refused for another reason gives its place back.
    let ended = node.post("/v4/contractnegotiations/request", json!({})).await;
    let id = ended[0]["@id"].as_str().unwrap();
    node.text(&["negotiations", "reject", id]);
    let mut wrong = request(&terms, &nowhere);
    wrong["offer"]["@id"] = json!("urn:test:unknown");
    for _ in 0..3 {
        assert_eq!(stranger.send(&node, "POST", "/negotiations/request", &wrong).await.0, 400);
    }
    let right = request(&terms, &nowhere);
    assert_eq!(stranger.send(&node, "POST", "/negotiations/request", &right).await.0, 201);
}

#[tokio::test]
async fn who_sends_more_than_it_may_waits_and_others_do_not() {
    let world = World::new();
    let (mut provider, member) = (world.local_node("provider"), world.local_node("member"));
    provider.publish(DATASET, b"a,b\n1,2\n", &[]);
    provider.configure("messages_per_minute = 1200", "messages_per_minute = 50");
    provider.client = world.client();
    // A member by its agreement.
    member.json(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
    let stranger = Stranger::new(&world);
    let peer = Peer::start(&world);
    let offer = offer(&stranger, &provider).await;
    let mut answers = Vec::new();
    for _ in 0..12 {
        let asked = request(&offer, &peer.address);
        answers.push(stranger.send(&provider, "POST", "/negotiations/request", &asked).await);
    }
    let taken = answers.iter().take_while(|(status, _)| *status == 201).count();
    // A fifth, and what a few seconds allow.
    assert!((10..12).contains(&taken), "{answers:?}");
    let (status, refusal) = &answers[11];
    assert_eq!((*status, &refusal["code"]), (429, &json!("busy")), "{refusal}");
    assert!(refusal["reason"][0].as_str().unwrap().contains("messages_per_minute"), "{refusal}");
    let (status, _) = stranger
        .send(
            &provider,
            "POST",
            "/catalog/request",
            &json!({"@context": [CONTEXT], "@type": "CatalogRequestMessage"}),
        )
        .await;
    assert_eq!(status, 200, "it may look as often as it likes");
    member.json(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
}

#[tokio::test]
async fn of_what_is_over_the_newest_are_kept() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, b"a,b\n1,2\n", &[]);
    provider.configure("ended_per_peer = 10000", "ended_per_peer = 3");
    provider.client = world.client();
    let mut stranger = Stranger::new(&world);
    let peer = Peer::start(&world);
    let offer = offer(&stranger, &provider).await;
    let begin_and_end = async |stranger: &Stranger, provider: &Node| {
        let asked = request(&offer, &peer.address);
        let (status, begun) = stranger.send(provider, "POST", "/negotiations/request", &asked).await;
        assert_eq!(status, 201, "{begun}");
        let ended = json!({"@context": [CONTEXT], "@type": "ContractNegotiationTerminationMessage",
            "consumerPid": begun["consumerPid"], "providerPid": begun["providerPid"]});
        let pid = begun["providerPid"].as_str().unwrap().to_owned();
        let path = format!("/negotiations/{}/termination", segment(&pid));
        assert_eq!(stranger.send(provider, "POST", &path, &ended).await.0, 200);
        (pid, asked)
    };
    let mut ended = Vec::new();
    for _ in 0..5 {
        ended.push(begin_and_end(&stranger, &provider).await);
    }
    // What is over counts after a restart too.
    provider.stop();
    provider.start();
    provider.client = world.client();
    stranger.client = world.client();
    ended.push(begin_and_end(&stranger, &provider).await);
    let state = async |pid: &str| {
        stranger.send(&provider, "GET", &format!("/negotiations/{}", segment(pid)), &Value::Null).await.0
    };
    for (number, (pid, _)) in ended.iter().enumerate() {
        assert_eq!(state(pid).await, if number < 3 { 404 } else { 200 }, "{number}");
    }
    // Nothing of it is left but the audit log.
    let (gone, _) = &ended[0];
    assert!(provider.events().iter().any(|line| line.contains(gone)), "the audit log");
    // An agreement stays whatever ends, and transfers are dropped in their turn; both nodes agree about what is left.
    let found = consumer.json(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
    let agreement = found["contractAgreementId"].as_str().unwrap();
    let mut transfers = Vec::new();
    for _ in 0..5 {
        let asked = json!({"contractId": agreement, "transferType": "HttpData-PULL"});
        let begun = consumer.post("/v4/transferprocesses", asked).await;
        let path = format!("/v4/transferprocesses/{}", segment(begun["@id"].as_str().unwrap()));
        let started = consumer.until(&path, |one| one["state"] == "STARTED").await;
        let theirs = format!("/v4/transferprocesses/{}", segment(started["correlationId"].as_str().unwrap()));
        let (status, _) = consumer
            .ask("POST", &format!("{path}/terminate"), Some(json!({"reason": "enough"})))
            .await
            .unwrap();
        assert_eq!(status, 204);
        provider.until(&theirs, |one| one["state"] == "TERMINATED").await;
        transfers.push(theirs);
    }
    assert_eq!(provider.ask("GET", &transfers[0], None).await.unwrap().0, 404);
    assert_eq!(provider.ask("GET", &transfers[4], None).await.unwrap().0, 200);
    let matched = consumer.json(&["audit", "match", agreement]);
    assert_eq!(matched["differences"], json!([]), "{matched}");
    provider.stop();
    assert_eq!(provider.records("peer-process/").len(), 3 + 1 + 3, "open ones are none");
    let of_it = |key: &str| key.contains(segment(gone).as_ref() as &str);
    assert!(!provider.records("message/").iter().any(|(key, _)| of_it(key)));
}

#[tokio::test]
async fn who_reads_too_much_open_data_is_told_which_bound_and_when_to_ask_again() {
    let world = World::new();
    let mut node = world.local_node("node");
    let file = node.data().join("open.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    let licence = "https://creativecommons.org/publicdomain/zero/1.0/";
    let named = ["--id", "urn:test:open", "--title", "Open rows", "--open", "--license", licence];
    node.text(&[&["publish", file.to_str().unwrap()], &named[..]].concat());
    let url = |node: &Node| format!("{}/open/data/{}", node.address, segment("urn:test:open"));
    for (bound, said) in [
        ("\nopen_reads_per_minute = ", "as one address may"),
        ("all_open_reads_per_minute = ", "more reads of open data began in this minute than this node takes"),
    ] {
        let text = std::fs::read_to_string(node.dir.join("concordat.toml")).unwrap();
        let now = text.split(bound).nth(1).unwrap().lines().next().unwrap();
        node.configure(&format!("{bound}{now}"), &format!("{bound}2"));
        // Over the end of a minute, four may begin.
        let mut refused = None;
        for _ in 0..5 {
            let answer = world.client().get(url(&node)).send().await.unwrap();
            if answer.status() == 429 {
                refused = Some(answer);
                break;
            }
            assert_eq!(answer.status(), 200);
        }
        let refused = refused.unwrap_or_else(|| panic!("{bound}"));
        let after: u32 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&after), "{after}");
        let text = refused.text().await.unwrap();
        assert!(text.contains(said), "{text}");
        node.configure(&format!("{bound}2"), &format!("{bound}600"));
    }
}
