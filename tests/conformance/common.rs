//! Common functionality: versions, authorization, media types, DID services.

use serde_json::{Value, json};

use super::peer::{HEADER, Peer, message};

/// MET:01-01: the version metadata is unversioned, unauthenticated, plain JSON.
#[tokio::test]
async fn versions_are_at_the_root_for_everybody() {
    let peer = Peer::new("auto").await;
    let root = peer.base.trim_end_matches("/dsp/2025-1");
    let found = peer.client.get(format!("{root}/.well-known/dspace-version")).send().await.unwrap();
    assert_eq!(found.headers()["content-type"], "application/json");
    let found: Value = found.json().await.unwrap();
    let version = &found["protocolVersions"][0];
    assert_eq!(
        (&version["version"], &version["path"], &version["binding"]),
        (&json!("2025-1"), &json!("/dsp/2025-1"), &json!("HTTPS"))
    );
    assert!(found.get("@context").is_none());
    let schema =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/specs/dsp/common/protocol-version-schema.json");
    let schema = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&found), "{found}");
    assert!(!validator.is_valid(&json!({"protocolVersions": [{"version": 1}]})));
}

/// An unauthorised client gets 404 for processes, whether they exist or not.
#[tokio::test]
async fn strangers_get_404() {
    let peer = Peer::new("manual").await;
    let process = peer.ask().await;
    for path in [
        format!("/negotiations/{}", process.own),
        "/negotiations/none".to_owned(),
        "/transfers/none".to_owned(),
    ] {
        for header in [None, Some("wrong")] {
            let mut request = peer.client.get(format!("{}{path}", peer.base));
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            let (status, body) = crate::support::answer(request.send().await.unwrap()).await;
            assert_eq!(status, 404, "{path}: {body}");
        }
    }
}

/// Requests and answers are application/json; parameters of the media type do not matter.
#[tokio::test]
async fn answers_are_application_json() {
    let peer = Peer::new("auto").await;
    let body = message("CatalogRequestMessage", json!({})).to_string();
    for media_type in ["application/json", "application/json; charset=utf-8", "application/ld+json"] {
        let request =
            peer.client.post(format!("{}/catalog/request", peer.base)).header("authorization", HEADER);
        let answer = request.header("content-type", media_type).body(body.clone()).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()),
            (200, "application/json")
        );
    }
}

/// A closed test network is said loudly, and what it is for never reaches a public address.
#[tokio::test]
async fn a_closed_test_network_is_loud_and_refused_with_a_public_address() {
    let mut peer = Peer::new("auto").await;
    assert!(peer.node.log().contains("CLOSED TEST NETWORK"));
    peer.node.stop();
    let file = peer.node.dir.join("concordat.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, after) = text.split_once("listen = \"127.0.0.1").unwrap();
    std::fs::write(&file, format!("{before}listen = \"0.0.0.0{after}")).unwrap();
    let refused = peer.node.run(&["serve"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("must both be loopback addresses"),
        "{refused:?}"
    );
}

/// DID services: DataService is the version metadata, CatalogService ends in /catalog.
#[tokio::test]
async fn the_did_document_names_both_services() {
    let peer = Peer::new("auto").await;
    let document = &peer.node.get("/v4/identity").await["document"];
    let service = |kind: &str| {
        let services = document["service"].as_array().unwrap();
        let found = services.iter().find(|one| one["type"] == kind).unwrap();
        found["serviceEndpoint"].as_str().unwrap().to_owned()
    };
    assert!(service("DataService").ends_with("/.well-known/dspace-version"));
    assert!(service("CatalogService").ends_with("/catalog"));
}
