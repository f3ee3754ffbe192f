//! What bad input gets: each a clear error with the right status, an audit event, no change of state, no panic.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{CONTEXT, Node, PURPOSE, Peer, Stranger, World, free_port};

const DATASET: &str = "urn:test:rows";

/// The terms that the offer has, narrowed to a purpose.
pub async fn offer(stranger: &Stranger, node: &Node) -> Value {
    let (status, dataset) = stranger
        .send(node, "GET", &format!("/catalog/datasets/{}", trust::did::segment(DATASET)), &json!(null))
        .await;
    assert_eq!(status, 200, "{dataset}");
    dataset["hasPolicy"][0].clone()
}

pub fn request(offer: &Value, callback: &str) -> Value {
    let mut offer = offer.clone();
    offer["target"] = json!(DATASET);
    json!({"@context": [CONTEXT], "@type": "ContractRequestMessage", "@id": connector::ids::urn(),
        "consumerPid": connector::ids::urn(), "callbackAddress": callback, "offer": offer})
}

fn with(mut message: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut message);
    message
}

struct Case {
    name: &'static str,
    method: &'static str,
    path: String,
    body: String,
    token: Option<String>,
    status: u16,
    reason: &'static str,
    kind: &'static str,
}

/// After an outage of this node, longer than it tries to deliver, a message still gets that time.
#[tokio::test]
async fn an_outage_of_its_own_is_no_silence_of_the_peer() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    let world = World::new();
    let mut node = world.local_node("provider");
    node.publish(DATASET, b"a,b\n1,2\n", &[]);
    node.configure("give_up_after_seconds = 600", "give_up_after_seconds = 8");
    node.client = world.client();
    let stranger = Stranger::new(&world);
    // Refusals for now until so many are left; then it takes everything.
    let left = Arc::new(AtomicU32::new(u32::MAX));
    let (asked, mut asks) = tokio::sync::mpsc::unbounded_channel();
    let answer = Arc::clone(&left);
    let peer = Peer::serving(&world, |_| {
        axum::Router::new().fallback(move || {
            let (left, asked) = (Arc::clone(&answer), asked.clone());
            async move {
                let refuse =
                    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                let status = if refuse.is_ok() { 503 } else { 200 };
                let _ = asked.send(status);
                http::StatusCode::from_u16(status).unwrap()
            }
        })
    });
    let terms = offer(&stranger, &node).await;
    let (status, answer) =
        stranger.send(&node, "POST", "/negotiations/request", &request(&terms, &peer.address)).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(asks.recv().await, Some(503));
    node.kill();
    let outage = tokio::time::timeout(Duration::from_secs(9), std::future::pending::<()>());
    assert!(outage.await.is_err());
    while asks.try_recv().is_ok() {}
    left.store(1, Ordering::SeqCst);
    node.start();
    assert_eq!(asks.recv().await, Some(503), "a failure that passes");
    assert_eq!(asks.recv().await, Some(200), "it is tried again");
}

#[tokio::test]
async fn every_bad_message_gets_a_clear_error_and_changes_nothing() {
    let world = World::new();
    let node = world.local_node("provider");
    node.publish(DATASET, b"a,b\n1,2\n", &["--automation", "manual"]);
    node.publish("urn:test:auto", b"a,b\n1,2\n", &[]);
    let (alice, mallory) = (Stranger::new(&world), Stranger::new(&world));
    let closed = format!("https://localhost:{}", free_port());
    let terms = offer(&alice, &node).await;
    let good = request(&terms, &closed);
    let (status, answer) = alice.send(&node, "POST", "/negotiations/request", &good).await;
    assert_eq!((status, answer["state"].as_str()), (201, Some("REQUESTED")), "{answer}");
    let (provider_pid, consumer_pid) =
        (answer["providerPid"].as_str().unwrap(), answer["consumerPid"].as_str().unwrap());
    let at = |leaf: &str| format!("/negotiations/{provider_pid}{leaf}");
    let said = |kind: &str, rest: Value| {
        let mut message = json!({"@context": [CONTEXT], "@type": kind, "@id": connector::ids::urn(),
            "providerPid": provider_pid, "consumerPid": consumer_pid});
        message.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        message
    };
    let accepted = said("ContractNegotiationEventMessage", json!({"eventType": "ACCEPTED"}));
    let first = "/negotiations/request".to_owned();
    let token = || Some(alice.token(&node.did));
    let case = |name, method, path: &str, body: &Value, status, reason, kind| Case {
        name,
        method,
        path: path.to_owned(),
        body: body.to_string(),
        token: token(),
        status,
        reason,
        kind,
    };
    let fresh = || {
        let mut message = good.clone();
        message["consumerPid"] = json!(connector::ids::urn());
        message["@id"] = json!(connector::ids::urn());
        message
    };
    let negotiation = "ContractNegotiationError";
    let mut deep = json!("x");
    for _ in 0..20 {
        deep = json!({"and": [deep]});
    }
    let mut cases = vec![
        Case {
            body: "{not json".to_owned(),
            ..case("malformed JSON", "POST", &first, &json!(null), 400, "not JSON", negotiation)
        },
        case(
            "wrong @type",
            "POST",
            &first,
            &with(fresh(), |m| m["@type"] = json!("Offer")),
            400,
            "/@type: expected `ContractRequestMessage`, got `Offer`",
            negotiation,
        ),
        case(
            "no context",
            "POST",
            &first,
            &with(fresh(), |m| m["@context"] = json!([])),
            400,
            "/@context: must be an array",
            negotiation,
        ),
        case(
            "a missing field",
            "POST",
            &first,
            &with(fresh(), |m| {
                m.as_object_mut().unwrap().remove("offer");
            }),
            400,
            "missing field `offer`",
            negotiation,
        ),
        case(
            "both of two exclusive fields",
            "POST",
            &first,
            &with(fresh(), |m| m["providerPid"] = json!("urn:x")),
            400,
            "/providerPid: must not stand beside `callbackAddress`",
            negotiation,
        ),
        case(
            "a number where a string is meant",
            "POST",
            &first,
            &with(fresh(), |m| m["consumerPid"] = json!(5)),
            400,
            "/consumerPid",
            negotiation,
        ),
        case(
            "an offer never offered",
            "POST",
            &first,
            &with(fresh(), |m| m["offer"]["@id"] = json!("urn:x")),
            400,
            "`urn:x` is not an offer of this participant to you",
            negotiation,
        ),
        case(
            "an offer of another dataset",
            "POST",
            &first,
            &with(fresh(), |m| m["offer"]["target"] = json!("urn:other")),
            400,
            "is not about `urn:other`",
            negotiation,
        ),
        case(
            "a policy nested too deep",
            "POST",
            &first,
            &with(fresh(), |m| m["offer"]["permission"] = json!([{"action": "use", "constraint": [deep]}])),
            400,
            "nested deeper",
            negotiation,
        ),
        case(
            "an unknown operator",
            "POST",
            &first,
            &with(fresh(), |m| {
                m["offer"]["permission"] = json!([{"action": "use",
            "constraint": [{"leftOperand": "count", "operator": "about", "rightOperand": "5"}]}])
            }),
            400,
            "unknown operator `about`",
            negotiation,
        ),
        case(
            "a callback that is not https",
            "POST",
            &first,
            &with(fresh(), |m| m["callbackAddress"] = json!("http://localhost:1")),
            400,
            "is not an https address",
            negotiation,
        ),
        case(
            "a callback in a forbidden network",
            "POST",
            &first,
            &with(fresh(), |m| m["callbackAddress"] = json!("https://10.0.0.1/x")),
            400,
            "is in a network that this node does not talk to",
            negotiation,
        ),
        case(
            "a callback at the metadata service",
            "POST",
            &first,
            &with(fresh(), |m| m["callbackAddress"] = json!("https://169.254.169.254/latest")),
            400,
            "does not talk to",
            negotiation,
        ),
        case(
            "a callback with credentials",
            "POST",
            &first,
            &with(fresh(), |m| m["callbackAddress"] = json!("https://a:b@localhost:1")),
            400,
            "must not carry credentials",
            negotiation,
        ),
        case(
            "an unknown process",
            "POST",
            "/negotiations/urn:uuid:none/events",
            &accepted,
            404,
            "there is no negotiation",
            negotiation,
        ),
        case(
            "an unknown process looked at",
            "GET",
            "/negotiations/urn:uuid:none",
            &json!(null),
            404,
            "there is no negotiation",
            negotiation,
        ),
        case(
            "an illegal transition",
            "POST",
            &at("/events"),
            &accepted,
            400,
            "an acceptance by the consumer is not allowed in state REQUESTED",
            negotiation,
        ),
        case(
            "a verification before an agreement",
            "POST",
            &at("/agreement/verification"),
            &said("ContractAgreementVerificationMessage", json!({})),
            400,
            "is not allowed in state REQUESTED",
            negotiation,
        ),
        case(
            "a consumer that finalizes",
            "POST",
            &at("/events"),
            &said("ContractNegotiationEventMessage", json!({"eventType": "FINALIZED"})),
            400,
            "is not allowed",
            negotiation,
        ),
        case(
            "an unknown event",
            "POST",
            &at("/events"),
            &said("ContractNegotiationEventMessage", json!({"eventType": "PAID"})),
            400,
            "/eventType",
            negotiation,
        ),
        case(
            "a provider's message to a provider",
            "POST",
            &at("/agreement"),
            &said(
                "ContractAgreementMessage",
                json!({
            "agreement": {"@id": "urn:a", "@type": "Agreement", "target": DATASET, "assigner": "a", "assignee": "b",
            "timestamp": "2026-01-01T00:00:00Z", "permission": [{"action": "use"}]}}),
            ),
            404,
            "there is no negotiation",
            negotiation,
        ),
        case(
            "pids that do not fit",
            "POST",
            &at("/termination"),
            &with(said("ContractNegotiationTerminationMessage", json!({})), |m| {
                m["consumerPid"] = json!("urn:other")
            }),
            400,
            "the message says `urn:other`",
            negotiation,
        ),
        case(
            "a path that does not exist",
            "POST",
            &at("/bribe"),
            &accepted,
            404,
            "no such path",
            negotiation,
        ),
        case(
            "a transfer without an agreement",
            "POST",
            "/transfers/request",
            &json!({"@context": [CONTEXT], "@type": "TransferRequestMessage",
            "consumerPid": "urn:t", "agreementId": "urn:none", "format": "HttpData-PULL", "callbackAddress": closed}),
            400,
            "there is no agreement `urn:none` between this participant and you",
            "TransferError",
        ),
        case(
            "an unknown transfer",
            "POST",
            "/transfers/urn:none/completion",
            &json!({"@context": [CONTEXT],
            "@type": "TransferCompletionMessage", "providerPid": "urn:none", "consumerPid": "urn:c"}),
            404,
            "there is no transfer process",
            "TransferError",
        ),
        case(
            "a filter that is not understood",
            "POST",
            "/catalog/request",
            &json!({"@context": [CONTEXT], "@type": "CatalogRequestMessage", "filter": ["x"]}),
            400,
            "/filter/0: must be an object",
            "CatalogError",
        ),
        case(
            "a dataset that is not there",
            "GET",
            "/catalog/datasets/none",
            &json!(null),
            404,
            "no dataset `none` here",
            "CatalogError",
        ),
        case(
            "a body over the bound",
            "POST",
            &first,
            &json!({"x": "y".repeat(2 * 1024 * 1024)}),
            413,
            "larger than 1048576 bytes",
            negotiation,
        ),
        Case {
            token: Some(mallory.token(&node.did)),
            ..case(
                "another's process",
                "POST",
                &at("/termination"),
                &said("ContractNegotiationTerminationMessage", json!({})),
                404,
                "there is no negotiation",
                negotiation,
            )
        },
        Case {
            token: Some(mallory.token(&node.did)),
            ..case(
                "another's process looked at",
                "GET",
                &at(""),
                &json!(null),
                404,
                "there is no negotiation",
                negotiation,
            )
        },
    ];
    let refused = "carries no token that this node accepts";
    let used = alice.token(&node.did);
    let (status, _) = alice.send_with(&node, "GET", &at(""), String::new(), Some(used.clone())).await;
    assert_eq!(status, 200);
    let now = connector::clock::now().as_second();
    let tokens: Vec<(&'static str, Option<String>)> = vec![
        ("no token", None),
        ("not a token", Some("x.y.z".to_owned())),
        ("a used token", Some(used)),
        (
            "an expired token",
            Some(alice.odd_token(&node.did, |c| {
                c["iat"] = json!(now - 500);
                c["nbf"] = json!(now - 500);
                c["exp"] = json!(now - 400);
            })),
        ),
        ("a token not valid yet", Some(alice.odd_token(&node.did, |c| c["nbf"] = json!(now + 500)))),
        ("a token for another audience", Some(alice.token("did:web:elsewhere.example"))),
        (
            "a token whose subject is another",
            Some(alice.odd_token(&node.did, |c| c["sub"] = json!("did:web:x.example"))),
        ),
        (
            "a token without jti",
            Some(alice.odd_token(&node.did, |c| {
                c.as_object_mut().unwrap().remove("jti");
            })),
        ),
        (
            "a token signed by another key",
            Some({
                let now = connector::clock::now();
                let other =
                    trust::token::issue(&mallory.key, &alice.kid, &alice.did, &node.did, "j", None, now);
                other.unwrap()
            }),
        ),
        (
            "a token of a DID that cannot be resolved",
            Some({
                let now = connector::clock::now();
                let did = "did:web:localhost%3A1";
                trust::token::issue(&mallory.key, &format!("{did}#k"), did, &node.did, "j2", None, now)
                    .unwrap()
            }),
        ),
        (
            "a token of a DID in a forbidden network",
            Some({
                let now = connector::clock::now();
                let did = "did:web:10.0.0.1";
                trust::token::issue(&mallory.key, &format!("{did}#k"), did, &node.did, "j3", None, now)
                    .unwrap()
            }),
        ),
        ("a token ten times too long", Some("x".repeat(30_000))),
    ];
    for (name, token) in tokens {
        let mut made = case(name, "POST", &first, &fresh(), 404, refused, negotiation);
        made.token = token.clone();
        cases.push(made);
        let request = json!({"@context": [CONTEXT], "@type": "CatalogRequestMessage"});
        let mut made = case(name, "POST", "/catalog/request", &request, 401, refused, "CatalogError");
        // A used token stays used; each other one is new to the node.
        made.token = token;
        cases.push(made);
    }

    let before = node.get(&format!("/v4/contractnegotiations/{}", trust::did::segment(provider_pid))).await;
    let count = node.post("/v4/contractnegotiations/request", json!({})).await.as_array().unwrap().len();
    for case in cases {
        let events = node.refusals().await;
        let (status, body) = alice.send_with(&node, case.method, &case.path, case.body, case.token).await;
        assert_eq!(status, case.status, "{}: {body}", case.name);
        assert_eq!(body["@type"], case.kind, "{}: {body}", case.name);
        assert_eq!(body["@context"], json!([CONTEXT]), "{}", case.name);
        let reason = body["reason"][0].as_str().unwrap_or_default();
        assert!(reason.contains(case.reason), "{}: {reason}", case.name);
        let log = node.refusals().await;
        assert!(log > events, "{} left no audit event", case.name);
    }
    let after = node.get(&format!("/v4/contractnegotiations/{}", trust::did::segment(provider_pid))).await;
    assert_eq!(before, after, "nothing changed");
    let still = node.post("/v4/contractnegotiations/request", json!({})).await.as_array().unwrap().len();
    assert_eq!(count, still, "no negotiation was made");
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

impl Node {
    /// How many refusals the audit log has.
    async fn refusals(&self) -> usize {
        let mut after = String::new();
        let mut count = 0;
        loop {
            let page = self.get(&format!("/v4/events/log?limit=1000&after={after}")).await;
            let page = page.as_array().unwrap();
            count += page.iter().filter(|event| event["kind"] == "refusal").count();
            match page.last() {
                Some(last) => after = last["id"].as_str().unwrap().to_owned(),
                None => return count,
            }
        }
    }
}

#[tokio::test]
async fn an_altered_offer_is_refused_with_the_clause() {
    let world = World::new();
    let node = world.local_node("provider");
    node.publish(DATASET, b"a,b\n1,2\n", &[]);
    let alice = Stranger::new(&world);
    let closed = format!("https://localhost:{}", free_port());
    let terms = offer(&alice, &node).await;
    for (alter, expected) in [
        (json!({"prohibition": null}), "the offer's prohibition `/prohibition/0` is not kept: distribute"),
        (json!({"permission": [{"action": "use"}]}), "the request says nothing about it"),
        (json!({"permission": [{"action": "sell"}]}), "the action `sell`"),
    ] {
        let mut message = request(&terms, &closed);
        for (key, value) in alter.as_object().unwrap() {
            if value.is_null() {
                message["offer"].as_object_mut().unwrap().remove(key);
            } else {
                message["offer"][key] = value.clone();
            }
        }
        let (status, body) = alice.send(&node, "POST", "/negotiations/request", &message).await;
        assert_eq!((status, body["code"].as_str()), (400, Some("terms-not-offered")), "{body}");
        assert!(body["reason"][0].as_str().unwrap().contains(expected), "{body}");
    }
    assert!(node.post("/v4/contractnegotiations/request", json!({})).await.as_array().unwrap().is_empty());
    // What only narrows the terms is fine.
    let mut message = request(&terms, &closed);
    message["offer"]["permission"][0]["constraint"]
        .as_array_mut()
        .unwrap()
        .push(json!({"leftOperand": "purpose", "operator": "eq", "rightOperand": PURPOSE}));
    assert_eq!(alice.send(&node, "POST", "/negotiations/request", &message).await.0, 201);
}

#[tokio::test]
async fn repeats_get_the_same_answer_and_make_nothing_twice() {
    let world = World::new();
    let node = world.local_node("provider");
    node.publish(DATASET, b"a,b\n1,2\n", &["--automation", "manual"]);
    let alice = Stranger::new(&world);
    let message = request(&offer(&alice, &node).await, &format!("https://localhost:{}", free_port()));
    let (_, first) = alice.send(&node, "POST", "/negotiations/request", &message).await;
    let (status, again) = alice.send(&node, "POST", "/negotiations/request", &message).await;
    assert_eq!((status, &again), (201, &first));
    let end = json!({"@context": [CONTEXT], "@type": "ContractNegotiationTerminationMessage", "@id": "urn:end",
        "providerPid": first["providerPid"], "consumerPid": first["consumerPid"]});
    let path = format!("/negotiations/{}/termination", first["providerPid"].as_str().unwrap());
    assert_eq!(alice.send(&node, "POST", &path, &end).await.0, 200);
    assert_eq!(
        alice.send(&node, "POST", &path, &end).await.0,
        200,
        "a repeated message gets the same answer"
    );
    let another = with(end, |m| m["@id"] = json!("urn:another"));
    assert_eq!(alice.send(&node, "POST", &path, &another).await.0, 400, "another one after the end does not");
    assert_eq!(node.post("/v4/contractnegotiations/request", json!({})).await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_agreement_without_a_signature_is_refused_where_both_are_required() {
    let world = World::new();
    let node = world.local_node("provider");
    node.publish(DATASET, b"a,b\n1,2\n", &[]);
    let alice = Stranger::new(&world);
    let listener = Peer::start(&world);
    let message = request(&offer(&alice, &node).await, &listener.address);
    let (_, answer) = alice.send(&node, "POST", "/negotiations/request", &message).await;
    let pid = answer["providerPid"].as_str().unwrap().to_owned();
    let show = format!("/v4/contractnegotiations/{}", trust::did::segment(&pid));
    node.until(&show, |one| one["state"] == "AGREED").await;
    let mut verification = json!({"@context": [CONTEXT], "@type": "ContractAgreementVerificationMessage",
        "providerPid": pid, "consumerPid": answer["consumerPid"]});
    let path = format!("/negotiations/{pid}/agreement/verification");
    let (status, body) = alice.send(&node, "POST", &path, &verification).await;
    assert_eq!(status, 400, "{body}");
    assert!(body["reason"][0].as_str().unwrap().contains("only with both signatures"), "{body}");
    verification["urn:concordat:signature"] =
        json!(alice.key.sign(&alice.kid, "concordat-agreement+jws", b"{}").unwrap());
    let (status, body) = alice.send(&node, "POST", &path, &verification).await;
    assert_eq!(status, 400, "{body}");
    assert!(body["reason"][0].as_str().unwrap().contains("signature does not hold"), "{body}");
    assert_eq!(node.get(&show).await["state"], "AGREED");
}

#[tokio::test]
async fn headers_that_never_end_and_half_a_body_are_given_up_on() {
    let world = World::new();
    let node = world.local_node("provider");
    // Plain TCP into the TLS port: the handshake never comes.
    let port = node.address.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let mut silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // The management listener is plain, so a head without end can be written by hand.
    let management = node.management.trim_start_matches("http://").to_owned();
    let mut endless = TcpStream::connect(&management).unwrap();
    endless.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    endless.write_all(b"GET /v4/identity HTTP/1.1\r\nHost: x\r\nX-A: ").unwrap();
    let mut large = TcpStream::connect(&management).unwrap();
    large.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    large.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ").unwrap();
    let chunk = vec![b'a'; 64 * 1024];
    // The node may hang up while this writes.
    let _ = (0..8).try_for_each(|_| large.write_all(&chunk));
    let mut answer = Vec::new();
    let _ = large.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");

    let begun = Instant::now();
    let mut rest = Vec::new();
    let _ = endless.read_to_end(&mut rest);
    let _ = silent.read_to_end(&mut rest);
    assert!(begun.elapsed() < Duration::from_secs(120), "connections that say nothing are closed");
    assert_eq!(node.get("/v4/identity").await["did"], node.did, "and the node goes on");
}

#[tokio::test]
async fn the_management_api_asks_for_its_key() {
    let world = World::new();
    let node = world.local_node("provider");
    for key in ["", "wrong", &node.key.to_lowercase()] {
        let answer = node
            .client
            .get(format!("{}/v4/identity", node.management))
            .header("x-api-key", key)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 401, "{key}");
    }
    let bearer = node
        .client
        .get(format!("{}/v4/identity", node.management))
        .bearer_auth(&node.key)
        .send()
        .await
        .unwrap();
    assert_eq!(bearer.status(), 200);
    for (path, body, expected) in [
        ("/v4/assets", json!({"properties": 5}), "properties"),
        ("/v4/assets", json!({"@type": "Policy", "properties": {}}), "expected `Asset`, got `Policy`"),
        (
            "/v4/assets",
            json!({"properties": {}, "dataAddress": {"type": "File", "path": "relative"}}),
            "is not absolute",
        ),
        (
            "/v4/assets",
            json!({"properties": {}, "dataAddress": {"type": "File", "path": "/none/there"}}),
            "/none/there",
        ),
        (
            "/v4/assets",
            json!({"properties": {}, "dataAddress": {"type": "Gopher"}}),
            "unknown variant `Gopher`",
        ),
        ("/v4/policydefinitions", json!({"policy": {}}), "at least one permission"),
        (
            "/v4/policydefinitions",
            json!({"policy": {"@type": "Set", "obligation": [{"action": "inform"}]}}),
            "at least one permission",
        ),
        (
            "/v4/assets",
            json!({"properties": {"a": 1}, "privateProperties": {"a": 1}}),
            "either public or private",
        ),
        ("/v4/contractnegotiations", json!({"policy": {}}), "policy.assigner: is missing"),
        (
            "/v4/transferprocesses",
            json!({"contractId": "urn:none", "transferType": "HttpData-PULL"}),
            "there is no agreement",
        ),
        ("/v4/assets/request", json!({"limit": 0}), "limit: must be 1 to 10000"),
    ] {
        let (status, answer) = node.ask("POST", path, Some(body)).await.unwrap();
        assert!((400..500).contains(&status), "{path}: {status} {answer}");
        assert!(answer[0]["message"].as_str().unwrap().contains(expected), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_a_common_version_gets_an_error_that_names_both() {
    let world = World::new();
    let node = world.local_node("node");
    let versions = |list: &[(&str, &str)]| {
        let list: Vec<_> = list
            .iter()
            .map(|(version, path)| json!({"version": version, "path": path, "binding": "HTTPS"}))
            .collect();
        json!({"protocolVersions": list})
    };
    let old = versions(&[("2024-1", "/2024")]);
    let both = versions(&[("2024-1", "/2024"), ("2025-1", "/new"), ("v0.8", "/")]);
    for (versions, expected) in
        [(old, "the peer speaks 2024-1, this node speaks 2025-1"), (both, "/new/catalog/request")]
    {
        let peer = Peer::serving(&world, |address| {
            let did = trust::did::web(address.trim_start_matches("https://"));
            let document = json!({"id": did, "service": [{"id": "#dsp", "type": "DataService",
                "serviceEndpoint": format!("{address}/.well-known/dspace-version")}]});
            let give = |body: Value| axum::routing::get(async move || axum::Json(body));
            axum::Router::new()
                .route("/.well-known/did.json", give(document))
                .route("/.well-known/dspace-version", give(versions.clone()))
        });
        let did = trust::did::web(peer.address.trim_start_matches("https://"));
        let failed = node.run(&["catalog", &did]);
        let text = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(text.contains(expected), "{text}");
    }
}
