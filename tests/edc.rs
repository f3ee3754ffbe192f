//! Peers that run Eclipse EDC: what it sends, as it was seen on the wire, and what is loosened for it.

mod equal;
mod live;
mod runtime;

use axum::extract::Request;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use trust::DidDocument;
use trust::did::segment;
use trust::jose::{Algorithm, PrivateKey};

use crate::support::{CONTEXT, Node, Peer, Stranger, World};
use crate::usage::permission;

/// Among the contexts of every message of EDC.
const EDC: &str = "https://w3id.org/edc/dspace/v0.0.1";
const NS: &str = "https://w3id.org/edc/v0.0.1/ns/";

/// A peer that speaks as EDC does, and what it is sent.
struct Edc {
    peer: Peer,
    speaker: Stranger,
    told: UnboundedReceiver<(String, Value)>,
}

impl Edc {
    fn new(world: &World) -> Self {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let (tell, told) = unbounded_channel();
        let mut did = String::new();
        let peer = Peer::serving(world, |address| {
            did = trust::did::web(address.strip_prefix("https://").unwrap());
            let document = json!({
                "@context": ["https://www.w3.org/ns/did/v1"], "id": did, "authentication": [],
                "service": [
                    {"id": format!("{did}#dsp"), "type": "DataService",
                     "serviceEndpoint": format!("{address}/api/dsp/.well-known/dspace-version")},
                    {"id": format!("{did}#cs"), "type": "CredentialService",
                     "serviceEndpoint": format!("{address}/api/credentials/v1/participants/YQ==")}],
                "verificationMethod": [{"id": format!("{did}#key-1"), "type": "JsonWebKey2020", "controller": did,
                    "publicKeyMultibase": null, "publicKeyJwk": key.public_jwk()}],
            });
            let served = document.to_string();
            let take = move |request: Request| {
                let tell = tell.clone();
                async move {
                    let path = request.uri().path().to_owned();
                    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
                    // The test may know enough.
                    let _ = tell.send((path, serde_json::from_slice(&body).unwrap_or_default()));
                    http::StatusCode::OK.into_response()
                }
            };
            axum::Router::new()
                .route("/.well-known/did.json", axum::routing::get(|| async { served }))
                .fallback(take)
        });
        let kid = format!("{did}#key-1");
        Self { peer, speaker: Stranger { key, did, kid, client: world.client() }, told }
    }

    async fn says(&self, node: &Node, path: &str, kind: &str, more: Value) -> (u16, Value) {
        let mut message = json!({"@id": connector::ids::urn(), "@type": kind, "@context": [CONTEXT, EDC]});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.speaker.send(node, "POST", path, &message).await
    }

    async fn catalog(&self, node: &Node, limit: u32, offset: u32) -> (u16, Value) {
        let query = json!({"@type": "QuerySpec", "limit": limit, "offset": offset, "sortOrder": "ASC", "filterExpression": []});
        self.says(node, "/catalog/request", "CatalogRequestMessage", json!({"filter": [query]})).await
    }

    /// The next message whose path ends so.
    async fn hears(&mut self, end: &str) -> Value {
        let heard = async {
            loop {
                let (path, body) = self.told.recv().await.unwrap();
                if path.ends_with(end) {
                    return body;
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), heard).await.unwrap()
    }

    fn callback(&self) -> String {
        format!("{}/api/dsp/2025-1", self.peer.address)
    }
}

/// A provider whose configuration has `lines` about `edc`.
fn provider(world: &World) -> Node {
    let node = world.local_node("provider");
    let terms = world.folder.path().join("terms.json");
    std::fs::write(&terms, permission(&[]).to_string()).unwrap();
    for number in 1..=3 {
        let (file, id) = (node.data().join(format!("{number}.csv")), format!("urn:test:{number}"));
        std::fs::write(&file, "a,b\n1,2\n").unwrap();
        let (file, terms) = (file.to_str().unwrap(), terms.to_str().unwrap());
        node.json(&["publish", file, "--id", &id, "--title", "Test rows", "--policy", terms]);
    }
    node
}

fn about(edc: &Edc, lines: &str) -> String {
    format!("[peers.\"{}\"]\n{lines}\n[limits]", edc.speaker.did)
}

#[tokio::test]
async fn an_edc_gets_its_data_with_two_lines_and_nothing_without() {
    let world = World::new();
    let mut node = provider(&world);
    let mut edc = Edc::new(&world);
    // Its document says of no key what it is for: whoever reads the refusal knows the line.
    let (status, refused) = edc.catalog(&node, 50, 0).await;
    assert_eq!(status, 401, "{refused}");
    let line = format!("the line `undeclared_keys = true` under [peers.\"{}\"]", edc.speaker.did);
    assert!(node.events().iter().any(|event| event.contains(&line)), "{:?}", node.events());

    node.configure("[limits]", &about(&edc, "undeclared_keys = true"));
    edc.speaker.client = world.client();
    node.client = world.client();
    let (status, catalog) = edc.catalog(&node, 50, 0).await;
    assert_eq!((status, catalog["dataset"].as_array().unwrap().len()), (200, 3), "{catalog}");
    for (limit, offset, expected) in
        [(2, 0, vec!["urn:test:1", "urn:test:2"]), (2, 2, vec!["urn:test:3"]), (2, 4, vec![])]
    {
        let (_, page) = edc.catalog(&node, limit, offset).await;
        let ids: Vec<_> =
            page["dataset"].as_array().into_iter().flatten().map(|one| one["@id"].clone()).collect();
        assert_eq!(ids, expected);
    }
    let (status, refused) = edc
        .says(
            &node,
            "/catalog/request",
            "CatalogRequestMessage",
            json!({"filter": [{"@type": "QuerySpec", "filterExpression": [
                {"@type": "Criterion", "operandLeft": "name", "operator": "near", "operandRight": "x"}]}]}),
        )
        .await;
    assert_eq!(status, 400);
    assert!(refused["reason"][0].as_str().unwrap().contains("`near` is not understood"), "{refused}");

    // An agreement without its signature: refused with the line, until it is there.
    let mut offer = catalog["dataset"][0]["hasPolicy"][0].clone();
    offer["assigner"] = json!(node.did);
    offer["target"] = json!("urn:test:1");
    let (agreement, status, refused) = edc.agrees(&node, &offer).await;
    assert_eq!(status, 400, "{refused}");
    let reason = refused["reason"][0].as_str().unwrap();
    assert!(reason.contains("`signatures = \"accept-peer-token\"` under [peers."), "{reason}");
    assert_eq!(
        node.ask("GET", &format!("/v4/contractagreements/{}", segment(&agreement)), None).await.unwrap().0,
        404
    );
    node.configure("undeclared_keys = true", "undeclared_keys = true\nsignatures = \"accept-peer-token\"");
    edc.speaker.client = world.client();
    node.client = world.client();
    let (agreement, status, answer) = edc.agrees(&node, &offer).await;
    assert_eq!(status, 200, "{answer}");
    edc.hears("/events").await;

    // It is known for what it is, also after a restart.
    let shown = node.json(&["peers", "show", &edc.speaker.did]);
    assert_eq!(
        (&shown["profile"], &shown["recognisedAs"], &shown["pinned"]),
        (&json!("edc"), &json!("edc"), &json!(false))
    );
    assert_eq!((&shown["signatures"], &shown["undeclaredKeys"]), (&json!("accept-peer-token"), &json!(true)));

    // It finds endpoint and token under its own names, and is given a start of the provider's own when it resumes.
    let pid = connector::ids::urn();
    let request = json!({"agreementId": agreement, "format": "HttpData-PULL", "callbackAddress": edc.callback(), "consumerPid": pid});
    let (status, begun) = edc.says(&node, "/transfers/request", "TransferRequestMessage", request).await;
    assert_eq!(status, 201, "{begun}");
    let start = edc.hears("/start").await;
    let property = |start: &Value, name: &str| {
        let all = start["dataAddress"]["endpointProperties"].as_array().unwrap().clone();
        let found = all.into_iter().find(|one| one["name"] == format!("{NS}{name}"));
        found.unwrap_or_default()["value"].as_str().unwrap_or_default().to_owned()
    };
    let read = async |start: &Value| {
        let (endpoint, token) = (property(start, "endpoint"), property(start, "authorization"));
        let answer = world.client().get(endpoint).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(read(&start).await, (200, "a,b\n1,2\n".to_owned()));
    let ids = json!({"providerPid": begun["providerPid"], "consumerPid": pid});
    let path = |leaf: &str| format!("/transfers/{}/{leaf}", segment(begun["providerPid"].as_str().unwrap()));
    let (status, answer) =
        edc.says(&node, &path("suspension"), "TransferSuspensionMessage", ids.clone()).await;
    assert_eq!(status, 200, "{answer}");
    assert_ne!(read(&start).await.0, 200);
    let (status, answer) = edc.says(&node, &path("start"), "TransferStartMessage", ids).await;
    assert_eq!(status, 200, "{answer}");
    let again = edc.hears("/start").await;
    assert_ne!(again["@id"], start["@id"], "a message of its own");
    assert_eq!(read(&again).await, (200, "a,b\n1,2\n".to_owned()));

    // What is forbidden for all stays forbidden.
    node.configure("loosen = \"listed\"", "loosen = \"never\"");
    edc.speaker.client = world.client();
    assert_eq!(edc.catalog(&node, 50, 0).await.0, 401);
    assert_eq!(read(&again).await.0, 403, "an agreement without both signatures opens nothing");
}

impl Edc {
    /// Negotiates as EDC does, up to its verification, which has no signature.
    async fn agrees(&mut self, node: &Node, offer: &Value) -> (String, u16, Value) {
        let pid = connector::ids::urn();
        let request = json!({"consumerPid": pid, "callbackAddress": self.callback(), "offer": offer});
        let (status, begun) =
            self.says(node, "/negotiations/request", "ContractRequestMessage", request).await;
        assert_eq!(status, 201, "{begun}");
        let agreement = self.hears("/agreement").await;
        let ids = json!({"consumerPid": pid, "providerPid": begun["providerPid"]});
        let path = format!(
            "/negotiations/{}/agreement/verification",
            segment(begun["providerPid"].as_str().unwrap())
        );
        let (status, answer) = self.says(node, &path, "ContractAgreementVerificationMessage", ids).await;
        (agreement["agreement"]["@id"].as_str().unwrap().to_owned(), status, answer)
    }
}

#[tokio::test]
async fn whoever_is_recognised_needs_no_line_where_the_operator_says_so() {
    let world = World::new();
    let mut node = provider(&world);
    let edc = Edc::new(&world);
    node.configure("loosen = \"listed\"", "loosen = \"recognised\"");
    let (status, catalog) = edc.catalog(&node, 50, 0).await;
    assert_eq!(status, 200, "{catalog}");
    // It cannot accept an offer that answers its request, so it is agreed with at once.
    node.publish("urn:test:first", b"a\n1\n", &["--automation", "offer-first"]);
    let mut edc = edc;
    let (_, catalog) = edc.catalog(&node, 50, 0).await;
    let first =
        catalog["dataset"].as_array().unwrap().iter().find(|one| one["@id"] == "urn:test:first").unwrap();
    let mut offer = first["hasPolicy"][0].clone();
    offer["target"] = json!("urn:test:first");
    assert_eq!(edc.agrees(&node, &offer).await.1, 200);
    // A document that only lacks the uses of its keys is no EDC's.
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let mut did = String::new();
    let _peer = Peer::serving(&world, |address| {
        did = trust::did::web(address.strip_prefix("https://").unwrap());
        let document = DidDocument::of_node(&did, &format!("{did}#key"), key.public_jwk(), &[]);
        let mut document = document.json().clone();
        document
            .as_object_mut()
            .unwrap()
            .retain(|name, _| ["@context", "id", "verificationMethod"].contains(&name.as_str()));
        let document = document.to_string();
        axum::Router::new().route("/.well-known/did.json", axum::routing::get(|| async { document }))
    });
    let other = Stranger { kid: format!("{did}#key"), key, did, client: world.client() };
    let message = json!({"@context": [CONTEXT], "@type": "CatalogRequestMessage"});
    assert_eq!(other.send(&node, "POST", "/catalog/request", &message).await.0, 401);
}
