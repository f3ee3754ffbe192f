//! Keys that change, tokens that were used, documents that cannot be trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Node, PURPOSE, Peer, Stranger, World, answer};

const DATASET: &str = "urn:test:keys";

fn negotiate(consumer: &Node, provider: &Node) -> String {
    let found = consumer.json(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
    assert_eq!(found["state"], "FINALIZED");
    found["contractAgreementId"].as_str().unwrap().to_owned()
}

/// As soon as the provider looks at the consumer's document again: it does so every few seconds at most.
fn negotiate_soon(consumer: &Node, provider: &Node) -> String {
    let began = Instant::now();
    while !consumer.run(&["catalog", &provider.did]).status.success() {
        assert!(began.elapsed() < Duration::from_secs(120), "{:?}", provider.events());
    }
    negotiate(consumer, provider)
}

fn ids(document: &Value, relationship: &str) -> usize {
    document[relationship].as_array().unwrap().len()
}

#[test]
fn keys_rotate_with_overlap_and_old_signatures_stay_verifiable() {
    let world = World::new();
    let (provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, b"a\n1\n", &[]);
    let before = negotiate(&consumer, &provider);

    // Published first: it does not sign yet.
    let shown = consumer.json(&["identity", "rotate", "--key-type", "p256"]);
    assert_eq!(shown["keyId"], format!("{}#key-1", consumer.did));
    assert_eq!(
        (ids(&shown["document"], "assertionMethod"), ids(&shown["document"], "authentication")),
        (2, 2)
    );
    // And at once.
    let shown = consumer.json(&["identity", "rotate", "--lead", "0", "--overlap", "0"]);
    assert_eq!(shown["keyId"], format!("{}#key-3", consumer.did));
    assert_eq!(
        (ids(&shown["document"], "assertionMethod"), ids(&shown["document"], "authentication")),
        (3, 1)
    );
    // A peer that had kept the old document looks again.
    let after = negotiate_soon(&consumer, &provider);
    let check = |agreement: &str, node: &Node| {
        let file = world.folder.path().join("dossier.json");
        node.text(&["agreements", "export", agreement, "-o", file.to_str().unwrap()]);
        node.text(&["agreements", "verify", file.to_str().unwrap()])
    };
    for node in [&consumer, &provider] {
        assert!(check(&before, node).contains(&format!("signed by {}#key-1", consumer.did)));
        assert!(check(&after, node).contains(&format!("signed by {}#key-3", consumer.did)));
    }
    // What was agreed before is still in force, and what the log said is still sealed.
    assert_eq!(consumer.run(&["pull", &before]).stdout, b"a\n1\n");
    consumer.stop();
    consumer.start();
    assert_eq!(consumer.json(&["identity"])["keyId"], format!("{}#key-3", consumer.did));
    consumer.text(&["audit", "verify"]);

    let shown = consumer.json(&["identity", "rotate", "--compromised"]);
    assert_eq!(shown["keyId"], format!("{}#key-4", consumer.did));
    assert_eq!(
        (ids(&shown["document"], "assertionMethod"), ids(&shown["document"], "verificationMethod")),
        (1, 1)
    );
    negotiate_soon(&consumer, &provider);
    assert!(consumer.events().iter().any(|line| line.contains("are in wrong hands")));
    // The new key has sealed what the old ones had.
    consumer.text(&["audit", "verify"]);
    // What was recorded before stands, and it is said.
    assert!(check(&after, &consumer).contains("is in wrong hands since"));
    assert_eq!(consumer.run(&["pull", &after]).stdout, b"a\n1\n");
}

/// A key in wrong hands: its file is destroyed, and what was concluded since then does not count.
#[test]
fn agreements_made_with_a_key_in_wrong_hands_do_not_count_and_verify_names_it() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, b"a\n1\n", &[]);
    let early = negotiate(&consumer, &provider);
    let between = connector::clock::now();
    let late = negotiate(&consumer, &provider);
    for agreement in [&early, &late] {
        assert_eq!(consumer.run(&["pull", agreement]).stdout, b"a\n1\n");
    }
    let wrong = ["identity", "rotate", "--since", "2020-01-01T00:00:00Z"];
    assert!(!provider.run(&wrong).status.success(), "since when goes with what");
    provider.json(&["identity", "rotate", "--compromised", "--since", &between.to_string()]);
    assert!(!provider.dir.join("keys/participant.jwk").exists(), "its private key is destroyed");
    assert_eq!(consumer.run(&["pull", &early]).stdout, b"a\n1\n", "it was recorded before");
    let refused = consumer.run(&["pull", &late]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is in wrong hands since"), "{refused:?}");
    let verify = |agreement: &str| {
        let file = world.folder.path().join("dossier.json");
        provider.text(&["agreements", "export", agreement, "-o", file.to_str().unwrap()]);
        provider.run(&["agreements", "verify", file.to_str().unwrap()])
    };
    let (held, refused) = (verify(&early), verify(&late));
    assert!(held.status.success(), "{held:?}");
    assert!(String::from_utf8_lossy(&held.stdout).contains("shows that it was signed before"), "{held:?}");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(said.contains("nothing but its own word"), "{said}");
}

#[test]
fn a_did_key_is_its_key_for_ever() {
    let world = World::new();
    let mut node = world.local_node("node");
    node.stop();
    let jwk: Value =
        serde_json::from_str(&std::fs::read_to_string(node.dir.join("keys/participant.jwk")).unwrap())
            .unwrap();
    let did = trust::did::key_of(&jwk).unwrap();
    let file = node.dir.join("concordat.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace(&node.did, &did);
    std::fs::write(&file, text).unwrap();
    node.start();
    assert_eq!(node.json(&["identity"])["did"], did.as_str());
    let refused = node.run(&["identity", "rotate"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot get another"), "{refused:?}");
    assert!(!node.dir.join("keys/keyring.json").exists());
}

/// Many tokens of one participant at once: its document is fetched once.
#[tokio::test]
async fn a_document_is_fetched_once_for_many_who_wait() {
    let world = World::new();
    let node = world.local_node("node");
    let key = trust::PrivateKey::generate(trust::Algorithm::Ed25519).unwrap();
    let fetched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&fetched);
    let jwk = key.public_jwk().clone();
    let peer = Peer::serving(&world, |address| {
        let did = format!("did:web:localhost%3A{}", address.rsplit(':').next().unwrap());
        let document = trust::DidDocument::of_node(&did, &format!("{did}#k"), &jwk, &[]).json().to_string();
        axum::Router::new().fallback(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::ready(document.clone())
        })
    });
    let did = format!("did:web:localhost%3A{}", peer.address.rsplit(':').next().unwrap());
    let ask = || async {
        let (now, jti) = (connector::clock::now(), connector::ids::urn());
        let token = trust::token::issue(&key, &format!("{did}#k"), &did, &node.did, &jti, None, now).unwrap();
        let url = format!("{}/dsp/2025-1/catalog/datasets/none", node.address);
        node.client.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let answers = futures_util::future::join_all((0..50).map(|_| ask())).await;
    assert!(answers.iter().all(|status| *status == 404), "known, and there is no such dataset: {answers:?}");
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_token_is_used_once_also_across_a_kill() {
    let world = World::new();
    let mut node = world.local_node("node");
    let stranger = Stranger::new(&world);
    let token = stranger.token(&node.did);
    let ask = async |node: &Node, token: &str| {
        let path = "/catalog/datasets/urn:none";
        // A client of its own: a kept connection does not survive the node.
        let url = format!("{}/dsp/2025-1{path}", node.address);
        answer(world.client().get(url).bearer_auth(token).send().await.unwrap()).await
    };
    assert_eq!(ask(&node, &token).await.0, 404);
    let (status, said) = ask(&node, &token).await;
    assert_eq!(status, 401, "{said}");
    node.kill();
    node.start();
    let (status, said) = ask(&node, &token).await;
    assert_eq!(status, 401, "{said}");
    assert!(!said.to_string().contains("used before"), "a stranger learns no more than that");
    let told = node.events().iter().filter(|line| line.contains("was used before")).count();
    assert_eq!(told, 2, "the operator learns why");
    assert_eq!(ask(&node, &stranger.token(&node.did)).await.0, 404);

    // Many at once: one is the first.
    let token = stranger.token(&node.did);
    let answers = futures_util::future::join_all((0..20).map(|_| ask(&node, &token))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 404).count(), 1);
}

/// Tokens that would be believed if the verifier were careless.
#[tokio::test]
async fn careless_verifiers_would_believe_these_and_this_node_does_not() {
    let world = World::new();
    let node = world.local_node("node");
    let (stranger, other) = (Stranger::new(&world), Stranger::new(&world));
    let encode = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    };
    let good = stranger.token(&node.did);
    let parts: Vec<_> = good.split('.').collect();
    let header = |alg: &str, kid: &str| encode(&json!({"alg": alg, "kid": kid, "typ": "JWT"}).to_string());
    let deep = format!("{}{}", "[".repeat(4000), "]".repeat(4000));
    let cases = [
        ("none", format!("{}.{}.", header("none", &stranger.kid), parts[1])),
        ("HMAC with the public key", format!("{}.{}.{}", header("HS256", &stranger.kid), parts[1], parts[2])),
        ("another algorithm", format!("{}.{}.{}", header("ES256", &stranger.kid), parts[1], parts[2])),
        ("another's kid", format!("{}.{}.{}", header("EdDSA", &other.kid), parts[1], parts[2])),
        ("another's key", other.key.sign(&stranger.kid, "JWT", &claims(&stranger, &node)).unwrap()),
        ("oversized", format!("{good}{}", "A".repeat(60_000))),
        ("nested", format!("{}.{}.{}", parts[0], encode(&deep), parts[2])),
        ("three parts of nothing", "..".to_owned()),
    ];
    for (name, token) in cases {
        let answer =
            stranger.send_with(&node, "GET", "/catalog/datasets/x", "null".to_owned(), Some(token)).await;
        assert_eq!(answer.0, 401, "{name}: {}", answer.1);
    }
    assert_eq!(
        stranger.send(&node, "GET", "/catalog/datasets/x", &json!(null)).await.0,
        404,
        "it still answers"
    );
}

fn claims(stranger: &Stranger, node: &Node) -> Vec<u8> {
    let now = connector::clock::now().as_second();
    json!({"iss": stranger.did, "sub": stranger.did, "aud": node.did, "jti": "x", "iat": now, "exp": now + 60})
        .to_string()
        .into_bytes()
}
