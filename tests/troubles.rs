//! What commands say when something is wrong: on which side, why, and what to do next, within seconds.

use std::process::Command;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _};
use serde_json::{Value, json};

use crate::support::{Node, PURPOSE, Peer, World};

/// What a command that fails says, which takes a few seconds at most.
fn failing(node: &Node, arguments: &[&str], code: i32) -> String {
    let began = Instant::now();
    let output = node.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(began.elapsed() < Duration::from_secs(30), "{arguments:?} took {:?}: {said}", began.elapsed());
    said
}

fn standing<'a>(peers: &'a Value, did: &str) -> &'a Value {
    peers.as_array().unwrap().iter().find(|one| one["did"] == did).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_provider_is_named_and_so_is_a_proxy_in_front_of_it() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish("urn:test:rows", b"a\n1\n", &[]);
    let agreed = consumer.json(&["negotiate", &provider.did, "urn:test:rows", "--purpose", PURPOSE]);
    let agreement = agreed["contractAgreementId"].as_str().unwrap().to_owned();
    let running = consumer.json(&["transfers", "start", &agreement]);
    let running = running["@id"].as_str().unwrap();
    let peers = consumer.json(&["peers"]);
    assert_eq!(standing(&peers, &provider.did)["reachable"], true, "{peers}");

    provider.kill();
    let said = failing(&consumer, &["pull", &agreement], 1);
    for part in
        [&provider.did, "has not taken the message of this node", "cannot connect", "concordat deliveries"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let peers = consumer.json(&["peers"]);
    let told = standing(&peers, &provider.did);
    assert_eq!(told["reachable"], false, "{peers}");
    assert!(told["failure"].as_str().unwrap().contains("cannot connect"), "{told}");
    let events = consumer.events().join("\n");
    assert!(
        events.contains("delivery") && events.contains("has not taken a message of this node"),
        "{events}"
    );
    let said = failing(&consumer, &["negotiate", &provider.did, "urn:test:rows", "--purpose", PURPOSE], 1);
    assert!(said.contains("cannot connect"), "{said}");

    let away = || async { (StatusCode::BAD_GATEWAY, Html("<h1>502 Bad Gateway</h1>")).into_response() };
    let port = provider.address.rsplit(':').next().unwrap().parse().unwrap();
    Peer::serving_at(&world, port, |_| axum::Router::new().fallback(away));
    let said = failing(&consumer, &["pull", running], 1);
    assert!(said.contains("502") && said.contains("a proxy in front of the connector"), "{said}");
    assert!(!said.contains("refused"), "{said}");
    let said = failing(&consumer, &["catalog", &provider.did], 1);
    assert!(said.contains("a proxy in front of the connector"), "{said}");
}

/// A participant that nobody has talked to of late is not said to be there.
#[tokio::test]
async fn who_answers_now_is_asked_now() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    consumer.json(&["catalog", &provider.did]);
    let peers = consumer.json(&["peers", "--check"]);
    assert_eq!(standing(&peers, &provider.did)["reachable"], true, "{peers}");
    provider.kill();
    let peers = consumer.json(&["peers", "--check"]);
    assert_eq!(standing(&peers, &provider.did)["reachable"], false, "{peers}");
    let text = consumer.text(&["peers"]);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("failed 20") && words.contains("refused"), "{text}");
}

/// The command line of no node in particular.
fn concordat(node: &Node, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(&node.program).args(arguments).current_dir(&node.dir).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_reached_from_elsewhere_with_a_key_and_the_log_names_the_key() {
    let world = World::new();
    let (node, other) = (world.local_node("node"), world.local_node("other"));
    let key = |name: &str, scope: &str| {
        let made = node.json(&["keys", "create", name, "--scope", scope]);
        let file = node.data().join(format!("{name}.key"));
        connector::secrets::create(&file, made["key"].as_str().unwrap()).unwrap();
        (made["@id"].as_str().unwrap().to_owned(), file.to_str().unwrap().to_owned())
    };
    let (id, clerk) = key("desk", "admin");
    let (_, reader) = key("reader", "read");
    let at = |key: &str, arguments: &[&str]| {
        concordat(&node, &[&["--node", &node.management, "--key", key][..], arguments].concat())
    };

    let upstream = "https://data.example/rows";
    let publish = ["publish", upstream, "--id", "urn:test:rows", "--title", "Rows", "--no-guess", "--yes"];
    let (code, said) = at(&clerk, &publish);
    assert_eq!(code, 0, "{said}");
    let (code, said) = at(&reader, &["unpublish", "urn:test:rows"]);
    assert!(code == 3 && said.contains("this key is for `read`, the call needs `admin`"), "{code} {said}");
    assert!(at(&reader, &["offers"]).1.contains("urn:test:rows"));
    node.text(&["edit", "urn:test:rows", "--title", "Other rows"]);

    let log = node.get("/v4/events/log").await;
    let changes: Vec<_> =
        log.as_array().unwrap().iter().filter(|one| one["subject"] == "urn:test:rows").collect();
    let (made, edited) = (changes.first().unwrap(), changes.last().unwrap());
    assert_eq!(made["by"], json!({"key": id, "name": "desk", "address": "127.0.0.1"}), "{made}");
    assert_eq!(edited["by"], json!({"name": "the node's own key", "address": "127.0.0.1"}), "{edited}");
    assert!(!log.to_string().contains(&std::fs::read_to_string(&clerk).unwrap()), "no key is in the log");
    let said = node.events().join("\n");
    assert!(said.contains(&format!("[desk (key {id}) from 127.0.0.1]")), "{said}");

    // What is wrong is said with what to do.
    let (code, said) = concordat(&other, &["--node", &node.management, "offers"]);
    assert!(
        code == 2 && said.contains("--key FILE") && said.contains("concordat keys create"),
        "{code} {said}"
    );
    let foreign = other.dir.join("keys/management.key");
    let (code, said) =
        concordat(&other, &["--node", &node.management, "--key", foreign.to_str().unwrap(), "offers"]);
    assert!(code == 3 && said.contains(&node.did) && said.contains("that of another node"), "{code} {said}");
    let (code, said) = at(&clerk, &["store", "verify"]);
    assert!(code == 2 && said.contains("on the machine of the node"), "{code} {said}");
    let file = node.data().join("rows.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    let (code, said) = at(&clerk, &["publish", file.to_str().unwrap(), "--title", "Rows", "--yes"]);
    assert!(code == 2 && said.contains("needs the files of the node"), "{code} {said}");
    for (address, why) in [
        ("http://data.example:8444", "in clear text"),
        ("ftp://localhost", "neither https:// nor http://"),
        ("http://127.0.0.1:1/v4", "scheme, name and port alone"),
        ("http://127.0.0.1:1/#here", "scheme, name and port alone"),
        ("http://:secret@127.0.0.1:1", "no name or password"),
    ] {
        let (code, said) = concordat(&node, &["--node", address, "--key", &clerk, "offers"]);
        assert!(code == 2 && said.contains(why) && !said.contains("secret"), "{address}: {code} {said}");
    }
    // A key goes to the address that was named and to no other.
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = format!("http://{}", elsewhere.local_addr().unwrap());
    let moved = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", moved.local_addr().unwrap());
    let redirect = move || async move { axum::response::Redirect::temporary(&there) };
    tokio::spawn(axum::serve(moved, axum::Router::new().fallback(redirect)).into_future());
    let (key, dir, program) = (clerk.clone(), node.dir.clone(), node.program.clone());
    let asked = tokio::task::spawn_blocking(move || {
        Command::new(program).args(["--node", &address, "--key", &key, "offers"]).current_dir(dir).output()
    });
    let ended = asked.await.unwrap().unwrap();
    assert!(!ended.status.success(), "a redirection is not followed");
    let came = tokio::time::timeout(Duration::from_millis(200), elsewhere.accept()).await;
    assert!(came.is_err(), "nobody asks there");
    let (code, said) = concordat(&node, &["--node", "http://127.0.0.1:1", "--key", &clerk, "offers"]);
    assert!(code == 4 && said.contains("no node answers at http://127.0.0.1:1"), "{code} {said}");
}
