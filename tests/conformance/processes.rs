//! What holds for negotiations and transfers alike.

use serde_json::{Value, json};

use super::peer::{HEADER, OTHERS_HEADER, Peer, Process, message};

const NEGOTIATION: [(&str, &str); 6] = [
    ("ContractRequestMessage", "request"),
    ("ContractOfferMessage", "offers"),
    ("ContractAgreementMessage", "agreement"),
    ("ContractAgreementVerificationMessage", "agreement/verification"),
    ("ContractNegotiationEventMessage", "events"),
    ("ContractNegotiationTerminationMessage", "termination"),
];
const TRANSFER: [(&str, &str); 4] = [
    ("TransferStartMessage", "start"),
    ("TransferSuspensionMessage", "suspension"),
    ("TransferCompletionMessage", "completion"),
    ("TransferTerminationMessage", "termination"),
];

fn path(process: &Process, leaf: &str) -> String {
    format!("/{}/{}/{leaf}", process.kind, process.own)
}

async fn every_process(peer: &Peer) -> [Process; 4] {
    [peer.ask().await, peer.be_asked().await, peer.ask_transfer().await, peer.be_asked_transfer().await]
}

/// What belongs to two participants, a third one neither reads nor moves on, and it learns nothing of it: 404.
#[tokio::test]
async fn another_participant_reads_and_moves_nothing() {
    let peer = Peer::new("manual").await;
    for process in every_process(&peer).await {
        let pids = json!({"providerPid": process.provider_pid, "consumerPid": process.consumer_pid});
        let messages = if process.kind == "transfers" { &TRANSFER[..] } else { &NEGOTIATION };
        let look = format!("/{}/{}", process.kind, process.own);
        let seen = peer.send("GET", &look, None).await;
        assert_eq!(seen.0, 200);
        let unknown = format!("/{}/urn:uuid:unknown", process.kind);
        for (path, expected) in [(&look, 404), (&unknown, 404)] {
            assert_eq!(peer.send_as(OTHERS_HEADER, "GET", path, None).await.status(), expected, "{path}");
        }
        for (kind, leaf) in messages {
            let mut body = message(kind, pids.clone());
            let offer = json!({"@id": "urn:test:x", "@type": "Offer", "target": "urn:test:rows", "permission": [{"action": "use"}]});
            match *leaf {
                "request" | "offers" => body["offer"] = offer,
                "agreement" => {
                    body["agreement"] = json!({"@id": "urn:test:a", "@type": "Agreement", "target": "urn:test:rows",
                        "assigner": "urn:a", "assignee": "urn:b", "timestamp": "2026-01-01T00:00:00Z", "permission": [{"action": "use"}]});
                }
                "events" => body["eventType"] = json!("ACCEPTED"),
                _ => {}
            }
            let answer = peer.send_as(OTHERS_HEADER, "POST", &path(&process, leaf), Some(&body)).await;
            assert_eq!(answer.status(), 404, "{kind} for {process:?}");
        }
        assert_eq!(peer.send("GET", &look, None).await, seen, "nothing has changed");
    }
}

/// An agreement between two gives a third nothing.
#[tokio::test]
async fn an_agreement_of_others_gives_no_transfer() {
    let peer = Peer::new("auto").await;
    let agreement = peer.import(true).await;
    let ask = |id: &str| {
        let body = json!({"consumerPid": connector::ids::urn(), "agreementId": id, "format": "HttpData-PULL",
            "callbackAddress": peer.address});
        message("TransferRequestMessage", body)
    };
    let mut reasons = Vec::new();
    for id in [agreement.as_str(), "urn:uuid:unknown"] {
        let answer = peer.send_as(OTHERS_HEADER, "POST", "/transfers/request", Some(&ask(id))).await;
        assert_eq!(answer.status(), 400, "{id}");
        let answer: Value = answer.json().await.unwrap();
        reasons.push(answer["reason"][0].as_str().unwrap().replace(id, "ID"));
    }
    assert_eq!(reasons[0], reasons[1], "who has it is not told");
    let answer = peer.send("POST", "/transfers/request", Some(&ask(&agreement))).await;
    assert_eq!(answer.0, 201, "its consumer gets it: {}", answer.1);
}

/// An id is an IRI, and another one each time.
#[tokio::test]
async fn ids_of_processes_are_iris() {
    let peer = Peer::new("manual").await;
    let mut ids: Vec<_> = every_process(&peer).await.into_iter().map(|process| process.own).collect();
    assert!(ids.iter().all(|id| id.starts_with("urn:uuid:") && id.len() == 45), "{ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

/// As the consumer the node refuses messages without both pids too.
#[tokio::test]
async fn messages_to_a_consumer_name_both_pids() {
    let peer = Peer::new("manual").await;
    for process in [peer.be_asked().await, peer.be_asked_transfer().await] {
        let messages = if process.kind == "transfers" { &TRANSFER[..] } else { &NEGOTIATION[1..] };
        for (kind, leaf) in messages.iter().filter(|(kind, _)| !kind.contains("Verification")) {
            for pids in [
                json!({"providerPid": process.provider_pid}),
                json!({"consumerPid": process.consumer_pid}),
                json!({"providerPid": "urn:test:another", "consumerPid": process.consumer_pid}),
            ] {
                let mut body = message(kind, pids);
                body["eventType"] = json!("FINALIZED");
                body["offer"] = json!({"@id": "urn:test:x", "@type": "Offer", "target": "urn:test:theirs", "permission": [{"action": "use"}]});
                body["agreement"] = json!({"@id": "urn:test:a", "@type": "Agreement", "target": "urn:test:theirs",
                    "assigner": super::peer::PEER, "assignee": peer.node.did, "timestamp": "2026-01-01T00:00:00Z",
                    "permission": [{"action": "use"}]});
                let (status, answer) = peer.send("POST", &path(&process, leaf), Some(&body)).await;
                // A first offer or request without the other's id would begin another process, at another path.
                assert_eq!(status, 400, "{kind} {body}: {answer}");
            }
        }
        peer.play(&process, "=REQUESTED").await;
    }
}

/// A first offer without an address for the answers, or with one that cannot be used, begins nothing.
#[tokio::test]
async fn a_first_offer_says_where_answers_go() {
    let peer = Peer::new("manual").await;
    let offer = json!({"@id": "urn:test:x", "@type": "Offer", "target": "urn:test:theirs", "permission": [{"action": "use"}]});
    for address in
        [None, Some("not an address"), Some("ftp://peer.example"), Some("http://localhost:1/?query")]
    {
        let mut body =
            message("ContractOfferMessage", json!({"providerPid": connector::ids::urn(), "offer": offer}));
        if let Some(address) = address {
            body["callbackAddress"] = json!(address);
        }
        let (status, answer) = peer.send("POST", "/negotiations/offers", Some(&body)).await;
        assert_eq!(
            (status, &answer["@type"]),
            (400, &json!("ContractNegotiationError")),
            "{address:?}: {answer}"
        );
        assert!(answer["reason"][0].as_str().unwrap().contains("callbackAddress"), "{answer}");
    }
    assert_eq!(peer.node.post("/v4/contractnegotiations/request", json!({})).await, json!([]));
}

/// Whatever the other side answers to an end, it is the end.
#[tokio::test]
async fn an_end_stands_whatever_the_other_side_answers() {
    let peer = Peer::new("manual").await;
    for process in every_process(&peer).await {
        *peer.refusing.lock().await = (1, http::StatusCode::BAD_REQUEST);
        let end = format!("{}/terminate", process.resource());
        assert!(peer.node.ask("POST", &end, Some(json!({"reason": "enough"}))).await.unwrap().0 < 300);
        let ended = peer.node.until(&process.resource(), |one| one["state"] == "TERMINATED").await;
        assert_eq!(ended.get("urn:concordat:pending"), None);
    }
}

/// Every answer with a body is JSON, refusals too.
#[tokio::test]
async fn answers_of_processes_are_json() {
    let peer = Peer::new("manual").await;
    for process in [peer.ask().await, peer.ask_transfer().await] {
        let look = format!("/{}/{}", process.kind, process.own);
        let wrong = path(&process, "termination");
        for (method, path) in [("GET", &look), ("POST", &wrong), ("PATCH", &look)] {
            let answer = peer.send_as(HEADER, method, path, None).await;
            let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
            assert!(kind.starts_with("application/json"), "{method} {path}: {kind}");
            let body: Value = answer.json().await.unwrap();
            assert!(body["@type"].is_string(), "{body}");
        }
    }
}

/// A slash at the end of an address for answers is none of its path.
#[tokio::test]
async fn a_slash_at_the_end_of_an_address_does_not_matter() {
    let peer = Peer::new("manual").await;
    let address = format!("{}/", peer.address);
    let body = json!({"consumerPid": "urn:test:slash", "agreementId": peer.import(true).await,
        "format": "HttpData-PULL", "callbackAddress": address});
    let (status, begun) =
        peer.send("POST", "/transfers/request", Some(&message("TransferRequestMessage", body))).await;
    assert_eq!(status, 201, "{begun}");
    let resource =
        format!("/v4/transferprocesses/{}", trust::did::segment(begun["providerPid"].as_str().unwrap()));
    peer.node.post(&format!("{resource}/resume"), json!({})).await;
    assert_eq!(peer.next().await.0, "/transfers/urn:test:slash/start");
    let offer = json!({"@id": "urn:test:x", "@type": "Offer", "target": "urn:test:theirs", "permission": [{"action": "use"}]});
    let body = json!({"providerPid": "urn:test:slash", "offer": offer, "callbackAddress": address});
    let (status, begun) =
        peer.send("POST", "/negotiations/offers", Some(&message("ContractOfferMessage", body))).await;
    assert_eq!(status, 201, "{begun}");
    let resource =
        format!("/v4/contractnegotiations/{}", trust::did::segment(begun["consumerPid"].as_str().unwrap()));
    peer.node.post(&format!("{resource}/move/accept"), json!({})).await;
    assert_eq!(peer.next().await.0, "/negotiations/urn:test:slash/events");
}

/// A message without an id that says the same is the same message, but where it is a new move.
#[tokio::test]
async fn what_is_repeated_without_an_id_gets_the_first_answer_again() {
    let peer = Peer::new("manual").await;
    let asked = peer.ask().await;
    peer.play(&asked, "@move/agree;<agreement;&verification;=VERIFIED;@move/finalize;<event:FINALIZED;&verification;=FINALIZED").await;
    let asking = peer.be_asked().await;
    peer.play(
        &asking,
        "&agreement;=AGREED;@move/verify;<verification;&finalize;=FINALIZED;&finalize;=FINALIZED",
    )
    .await;
    let transfer = peer.ask_transfer().await;
    let moves = "@resume;<start;&suspension;=SUSPENDED;&resume;=STARTED;&suspension;=SUSPENDED;&resume;=STARTED;&completion;=COMPLETED";
    peer.play(&transfer, moves).await;
}
