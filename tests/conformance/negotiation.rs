//! Contract Negotiation Protocol and its HTTPS binding.

use serde_json::json;

use super::peer::{DATASET, PEER, Peer, message};

/// The node as provider: each move of it is its operator's. After the scenarios of the protocol's conformance suite
/// (CN), by their ids.
const AS_PROVIDER: &[(&str, &str)] = &[
    ("CN:01-01", "@move/offer; <offer; =OFFERED; >termination; =TERMINATED"),
    ("CN:01-02", "@move/offer; <offer; >request; =REQUESTED; @terminate; <termination; =TERMINATED"),
    (
        "CN:01-03",
        "@move/offer; <offer; >accept; =ACCEPTED; @move/agree; <agreement; =AGREED; >verification; =VERIFIED; @move/finalize; <event:FINALIZED; =FINALIZED",
    ),
    ("CN:01-04", "@move/agree; <agreement; >verification; @move/finalize; <event:FINALIZED; =FINALIZED"),
    ("CN:02-01", "@terminate; <termination; =TERMINATED"),
    ("CN:02-02", ">termination; =TERMINATED"),
    ("CN:02-03", "@move/agree; <agreement; >termination; =TERMINATED"),
    ("CN:02-04", "@move/offer; <offer; >termination; =TERMINATED"),
    ("CN:02-05", "@move/offer; <offer; @terminate; <termination; =TERMINATED"),
    ("CN:02-06", "@move/offer; <offer; >accept; @terminate; <termination; =TERMINATED"),
    ("CN:02-07", "@move/agree; <agreement; >verification; @terminate; <termination; =TERMINATED"),
    (
        "CN:03-01",
        "@move/agree; <agreement; >verification; @move/finalize; <event:FINALIZED; =FINALIZED; !termination; =FINALIZED",
    ),
    ("CN:03-02", "@move/offer; <offer; !verification; =OFFERED"),
    ("CN:03-03", "@move/offer; <offer; >accept; !verification; =ACCEPTED"),
    ("CN:03-04", "@move/offer; <offer; >request; !request; =REQUESTED"),
    ("an acceptance of one's own request", "!accept; =REQUESTED"),
    ("a consumer that finalizes", "@move/agree; <agreement; >verification; !finalize; =VERIFIED"),
    ("nothing after the end", ">termination; !request; !accept; !verification; !termination; =TERMINATED"),
];

/// The node as consumer (CN_C).
const AS_CONSUMER: &[(&str, &str)] = &[
    (
        "CN_C:01-01",
        ">offer; =OFFERED; @move/accept; <accept; =ACCEPTED; >agreement; =AGREED; @move/verify; <verification; =VERIFIED; >finalize; =FINALIZED",
    ),
    ("CN_C:01-02", ">offer; @move/request; <request; =REQUESTED; >termination; =TERMINATED"),
    ("CN_C:01-03", ">offer; @terminate; <termination; =TERMINATED"),
    ("CN_C:01-04", ">agreement; @move/verify; <verification; >finalize; =FINALIZED"),
    ("CN_C:02-01", ">termination; =TERMINATED"),
    ("CN_C:02-02", "@terminate; <termination; =TERMINATED"),
    ("CN_C:02-03", ">agreement; @terminate; <termination; =TERMINATED"),
    ("CN_C:02-04", ">offer; =OFFERED; >termination; =TERMINATED"),
    ("CN_C:02-05", ">offer; @move/accept; <accept; >termination; =TERMINATED"),
    ("CN_C:02-06", ">agreement; @move/verify; <verification; >termination; =TERMINATED"),
    ("CN_C:03-01", "!finalize; =REQUESTED"),
    ("CN_C:03-02", ">offer; !agreement; =OFFERED"),
    ("CN_C:03-03", ">offer; !finalize; =OFFERED"),
    ("CN_C:03-04", ">offer; @move/accept; <accept; !finalize; =ACCEPTED"),
    ("CN_C:03-05", ">offer; @move/accept; <accept; !offer; =ACCEPTED"),
    ("CN_C:03-06", ">offer; @move/accept; <accept; >agreement; !finalize; =AGREED"),
    ("an offer after an agreement", ">agreement; !offer; !agreement; =AGREED"),
];

#[tokio::test]
async fn as_provider_every_scenario_goes_as_the_state_machine_says() {
    let peer = Peer::new("manual").await;
    for (name, script) in AS_PROVIDER {
        eprintln!("{name}");
        let process = peer.ask().await;
        peer.play(&process, script).await;
    }
}

#[tokio::test]
async fn as_consumer_every_scenario_goes_as_the_state_machine_says() {
    let peer = Peer::new("manual").await;
    for (name, script) in AS_CONSUMER {
        eprintln!("{name}");
        let process = peer.be_asked().await;
        peer.play(&process, script).await;
    }
}

/// A peer that has not digested our answer to its request yet refuses what overtakes it; that is tried again. What it
/// refuses as wrong is not.
#[tokio::test]
async fn a_message_that_overtakes_an_answer_is_sent_again() {
    let peer = Peer::new("manual").await;
    for status in [http::StatusCode::CONFLICT, http::StatusCode::NOT_FOUND] {
        let process = peer.ask().await;
        *peer.refusing.lock().await = (2, status);
        peer.play(&process, "@move/agree; <agreement; =AGREED").await;
    }
    let process = peer.ask().await;
    *peer.refusing.lock().await = (1, http::StatusCode::BAD_REQUEST);
    peer.play(&process, "@move/agree; <termination; =TERMINATED").await;
}

/// Section 2.2: a provider may begin with an offer of its own.
#[tokio::test]
async fn a_provider_may_begin_with_an_offer() {
    let peer = Peer::new("manual").await;
    let offer = peer.offer().await;
    let proposal =
        json!({"counterPartyId": PEER, "counterPartyAddress": peer.address, "offerId": offer["@id"]});
    peer.node.post("/v4/contractnegotiations/offer", proposal).await;
    let (path, body) = peer.next().await;
    assert_eq!(path, "/negotiations/offers");
    assert_eq!(body["offer"]["target"], DATASET);
    assert!(body["callbackAddress"].is_string() && body.get("consumerPid").is_none());
    let process = peer.known("negotiations", &body, true).await;
    peer.play(&process, "=OFFERED; >accept; @move/agree; <agreement; >verification; @move/finalize; <event:FINALIZED; =FINALIZED").await;
}

/// And a consumer takes one, under its own pid, and waits for its operator.
#[tokio::test]
async fn a_consumer_takes_a_first_offer() {
    let peer = Peer::new("manual").await;
    let body = message(
        "ContractOfferMessage",
        json!({"providerPid": "urn:test:p1", "callbackAddress": peer.address,
        "offer": {"@id": "urn:test:offer", "@type": "Offer", "target": "urn:test:theirs", "permission": [{"action": "use"}]}}),
    );
    let (status, answer) = peer.send("POST", "/negotiations/offers", Some(&body)).await;
    assert_eq!((status, answer["state"].as_str()), (201, Some("OFFERED")), "{answer}");
    let process = super::peer::Process {
        kind: "negotiations",
        provider_pid: "urn:test:p1".to_owned(),
        consumer_pid: answer["consumerPid"].as_str().unwrap().to_owned(),
        own: answer["consumerPid"].as_str().unwrap().to_owned(),
        is_provider: false,
    };
    peer.play(&process, "=OFFERED; @approve; <accept; >agreement; <verification; >finalize; =FINALIZED")
        .await;
    let again = peer.send("POST", "/negotiations/offers", Some(&body)).await;
    assert_eq!((again.0, again.1["consumerPid"].as_str()), (201, Some(process.consumer_pid.as_str())));
}

/// Per-offer automation: the node answers with its offer and carries the rest through.
#[tokio::test]
async fn offer_first_answers_every_request_with_the_offer_as_published() {
    let peer = Peer::new("offer-first").await;
    let process = peer.ask().await;
    peer.play(&process, "<offer; >accept; <agreement; >verification; <event:FINALIZED; =FINALIZED").await;
}

/// Section 2.3: an approval by a person covers what follows from it.
#[tokio::test]
async fn an_approval_carries_the_rest_through() {
    let peer = Peer::new("manual").await;
    let process = peer.ask().await;
    peer.play(&process, "=REQUESTED; @approve; <agreement; >verification; <event:FINALIZED; =FINALIZED")
        .await;
    let ended = peer.node.get(&process.resource()).await;
    assert!(ended["contractAgreementId"].is_string());
}

/// HTTPS binding: callback addresses with and without a trailing slash.
#[tokio::test]
async fn a_trailing_slash_of_the_callback_address_does_not_matter() {
    let peer = Peer::new("auto").await;
    let body = message(
        "ContractRequestMessage",
        json!({"consumerPid": "urn:test:slash", "offer": peer.offer().await,
        "callbackAddress": format!("{}/some/path/", peer.address)}),
    );
    assert_eq!(peer.send("POST", "/negotiations/request", Some(&body)).await.0, 201);
    assert_eq!(peer.next().await.0, "/some/path/negotiations/urn:test:slash/agreement");
}

/// Messages and JSON-LD: unknown properties and further contexts are kept and ignored.
#[tokio::test]
async fn unknown_properties_and_contexts_do_not_disturb() {
    let peer = Peer::new("manual").await;
    let mut body = message(
        "ContractRequestMessage",
        json!({"consumerPid": "urn:test:extra", "offer": peer.offer().await,
        "callbackAddress": peer.address, "urn:other:hint": {"a": [1]}, "note": 5}),
    );
    body["@context"].as_array_mut().unwrap().push(json!("https://other.example/context.jsonld"));
    body["offer"]["urn:other:price"] = json!({"@value": 3});
    body["offer"]["assigner"] = json!("somebody");
    let (status, answer) = peer.send("POST", "/negotiations/request", Some(&body)).await;
    assert_eq!(status, 201, "{answer}");
    let shown = peer
        .node
        .get(&format!(
            "/v4/contractnegotiations/{}",
            trust::did::segment(answer["providerPid"].as_str().unwrap())
        ))
        .await;
    assert_eq!(shown["urn:concordat:offer"]["urn:other:price"], json!({"@value": 3}), "kept");
}

/// Logical constraints of all four kinds travel and are kept in the agreement.
#[tokio::test]
async fn and_sequence_and_xone_travel() {
    let peer = Peer::new("manual").await;
    let leaf =
        |left: &str, right: &str| json!({"leftOperand": left, "operator": "eq", "rightOperand": right});
    for logical in ["and", "andSequence", "or", "xone"] {
        let mut offer = peer.offer().await;
        offer["permission"][0]["constraint"]
            .as_array_mut()
            .unwrap()
            .push(json!({logical: [leaf("spatial", "BE"), leaf("language", "fr")]}));
        let body = message(
            "ContractRequestMessage",
            json!({"consumerPid": connector::ids::urn(), "offer": offer,
            "callbackAddress": peer.address}),
        );
        let (status, answer) = peer.send("POST", "/negotiations/request", Some(&body)).await;
        assert_eq!(status, 201, "{logical}: {answer}");
        let path = format!(
            "/v4/contractnegotiations/{}/move/agree",
            trust::did::segment(answer["providerPid"].as_str().unwrap())
        );
        peer.node.post(&path, json!({})).await;
        let (_, agreement) = peer.next().await;
        let constraints = agreement["agreement"]["permission"][0]["constraint"].as_array().unwrap();
        assert!(constraints.iter().any(|one| one.get(logical).is_some()), "{agreement}");
    }
}

/// Contract Agreement Message: `timestamp`, `assigner`, `assignee`, `target` and the terms agreed on, or an error.
#[tokio::test]
async fn an_agreement_that_is_incorrect_is_answered_with_an_error() {
    let peer = Peer::new("manual").await;
    let process = peer.be_asked().await;
    let good = json!({"@id": "urn:test:agreement", "@type": "Agreement", "target": "urn:test:theirs", "assigner": PEER,
        "assignee": peer.node.did, "timestamp": "2026-01-01T00:00:00Z", "permission": [{"action": "use"}]});
    let path = format!("/negotiations/{}/agreement", process.own);
    for (property, value, expected) in [
        ("timestamp", json!(null), "/timestamp"),
        ("timestamp", json!("yesterday"), "is not an xsd:dateTime"),
        ("assigner", json!("urn:test:other"), "/agreement/assigner"),
        ("assignee", json!("urn:test:other"), "/agreement/assignee"),
        ("target", json!("urn:test:other"), "/agreement/target"),
        ("permission", json!([{"action": "use"}, {"action": "distribute"}]), "its rules are not those"),
        ("prohibition", json!([{"action": "read"}]), "its rules are not those"),
        ("permission", json!([{"action": "use", "target": "urn:test:theirs"}]), "/permission/0/target"),
        ("@id", json!(null), "/@id"),
        ("@type", json!("Offer"), "/@type"),
    ] {
        let mut agreement = good.clone();
        let map = agreement.as_object_mut().unwrap();
        if value.is_null() {
            map.remove(property)
        } else {
            map.insert(property.to_owned(), value)
        };
        let body = message(
            "ContractAgreementMessage",
            json!({"providerPid": process.provider_pid,
            "consumerPid": process.consumer_pid, "agreement": agreement}),
        );
        let (status, answer) = peer.send("POST", &path, Some(&body)).await;
        assert_eq!(
            (status, &answer["@type"]),
            (400, &json!("ContractNegotiationError")),
            "{property}: {answer}"
        );
        assert!(answer["reason"][0].as_str().unwrap().contains(expected), "{property}: {answer}");
    }
    peer.play(&process, "=REQUESTED; >agreement; =AGREED").await;
}

/// Every later message MUST contain both pids, and they are those of the process.
#[tokio::test]
async fn every_message_names_both_pids() {
    let peer = Peer::new("manual").await;
    let process = peer.ask().await;
    let (provider_pid, consumer_pid) = (json!(process.provider_pid), json!(process.consumer_pid));
    let offer = peer.offer().await;
    for (kind, leaf, rest) in [
        ("ContractRequestMessage", "request", json!({"offer": offer})),
        ("ContractNegotiationEventMessage", "events", json!({"eventType": "ACCEPTED"})),
        ("ContractAgreementVerificationMessage", "agreement/verification", json!({})),
        ("ContractNegotiationTerminationMessage", "termination", json!({})),
    ] {
        for (provider, consumer) in [
            (None, Some(&consumer_pid)),
            (Some(&provider_pid), None),
            (Some(&provider_pid), Some(&json!("urn:test:other"))),
            (Some(&json!("urn:test:other")), Some(&consumer_pid)),
        ] {
            let mut body = message(kind, rest.clone());
            for (name, value) in [("providerPid", provider), ("consumerPid", consumer)] {
                if let Some(value) = value {
                    body[name] = value.clone();
                }
            }
            let (status, answer) =
                peer.send("POST", &format!("/negotiations/{}/{leaf}", process.own), Some(&body)).await;
            assert_eq!(
                (status, &answer["@type"]),
                (400, &json!("ContractNegotiationError")),
                "{kind}: {answer}"
            );
        }
    }
    peer.play(&process, "=REQUESTED").await;
}

/// Contract Offer Message: the offer MUST have a target; rules MUST NOT.
#[tokio::test]
async fn offers_in_messages_have_a_target_and_their_rules_do_not() {
    let peer = Peer::new("manual").await;
    let process = peer.be_asked().await;
    let path = format!("/negotiations/{}/offers", process.own);
    for (offer, expected) in [
        (
            json!({"@id": "urn:o", "@type": "Offer", "permission": [{"action": "use"}]}),
            "/offer/target: is missing",
        ),
        (
            json!({"@id": "urn:o", "@type": "Offer", "target": "urn:test:theirs", "permission": [{"action": "use", "target": "urn:x"}]}),
            "/permission/0/target",
        ),
        (
            json!({"@id": "urn:o", "@type": "Offer", "target": "urn:other", "permission": [{"action": "use"}]}),
            "/offer/target",
        ),
        (json!({"@type": "Offer", "target": "urn:test:theirs", "permission": [{"action": "use"}]}), "/@id"),
        (
            json!({"@id": "urn:o", "@type": "Offer", "target": "urn:test:theirs"}),
            "at least one permission or prohibition",
        ),
    ] {
        let body = message(
            "ContractOfferMessage",
            json!({"providerPid": process.provider_pid,
            "consumerPid": process.consumer_pid, "offer": offer}),
        );
        let (status, answer) = peer.send("POST", &path, Some(&body)).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["reason"][0].as_str().unwrap().contains(expected), "{answer}");
    }
    // What the node offers itself follows the same rules.
    let asked = peer.ask().await;
    peer.play(&asked, "@move/offer").await;
    let (_, sent) = peer.next().await;
    assert_eq!(sent["offer"]["target"], DATASET);
    assert!(sent["offer"]["permission"].as_array().unwrap().iter().all(|rule| rule.get("target").is_none()));
    assert!(sent.get("callbackAddress").is_none(), "only a first offer has one");
}

/// What the node agrees to: a unique URI, exactly one target, both parties, a time, and the offer's rules.
#[tokio::test]
async fn an_agreement_of_this_node_has_everything_it_must() {
    let peer = Peer::new("auto").await;
    let offer = peer.offer().await;
    peer.ask().await;
    let (_, sent) = peer.next().await;
    let agreement = &sent["agreement"];
    assert!(agreement["@id"].as_str().unwrap().starts_with("urn:uuid:"));
    assert_eq!((&agreement["@type"], &agreement["target"]), (&json!("Agreement"), &json!(DATASET)));
    assert_eq!((&agreement["assigner"], &agreement["assignee"]), (&json!(peer.node.did), &json!(PEER)));
    assert!(agreement["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert_eq!(
        (&agreement["permission"], &agreement["prohibition"]),
        (&offer["permission"], &offer["prohibition"])
    );
    assert!(sent["urn:concordat:signature"].is_string(), "an addition under an absolute IRI");
}

/// Contract Agreement Message: `timestamp` is any xsd:dateTime.
#[tokio::test]
async fn an_agreement_has_any_date_and_time_that_its_schema_allows() {
    let peer = Peer::new("manual").await;
    for timestamp in [
        "2026-11-25T23:00:00",
        "2026-11-24T24:00:00Z",
        "2026-11-25T23:00:00.123456789123Z",
        "2026-11-25T23:00:00.1+01:00",
    ] {
        let process = peer.be_asked().await;
        let (status, answer) = agree(&peer, &process, &connector::ids::urn(), timestamp).await;
        assert_eq!(status, 200, "{timestamp}: {answer}");
        peer.play(&process, "=AGREED; @move/verify; <verification; >finalize; =FINALIZED").await;
    }
}

async fn agree(
    peer: &Peer,
    process: &super::peer::Process,
    id: &str,
    timestamp: &str,
) -> (u16, serde_json::Value) {
    let agreement = json!({"@id": id, "@type": "Agreement", "target": "urn:test:theirs", "assigner": PEER,
        "assignee": peer.node.did, "timestamp": timestamp, "permission": [{"action": "use"}]});
    let body = message(
        "ContractAgreementMessage",
        json!({"providerPid": process.provider_pid, "consumerPid": process.consumer_pid, "agreement": agreement}),
    );
    peer.send("POST", &format!("/negotiations/{}/agreement", process.own), Some(&body)).await
}

/// An agreement's id stands for one agreement: a second one is refused where it comes.
#[tokio::test]
async fn an_agreement_id_in_use_is_refused() {
    let peer = Peer::new("manual").await;
    let first = peer.be_asked().await;
    let (status, answer) = agree(&peer, &first, "urn:test:once", "2026-11-25T23:00:00Z").await;
    assert_eq!(status, 200, "{answer}");
    peer.play(&first, "@move/verify; <verification; >finalize; =FINALIZED").await;
    let second = peer.be_asked().await;
    let (status, answer) = agree(&peer, &second, "urn:test:once", "2026-11-25T23:00:00Z").await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer["reason"][0].as_str().unwrap().contains("is that of another agreement"), "{answer}");
    peer.play(&second, "=REQUESTED").await;
}

/// A process id is not used again; the same message once more is no second use.
#[tokio::test]
async fn the_id_of_a_process_that_is_over_begins_no_other() {
    let peer = Peer::new("manual").await;
    let first = message(
        "ContractRequestMessage",
        json!({"consumerPid": "urn:test:once", "callbackAddress": peer.address, "offer": peer.offer().await}),
    );
    let (status, answer) = peer.send("POST", "/negotiations/request", Some(&first)).await;
    assert_eq!(status, 201, "{answer}");
    let end = message(
        "ContractNegotiationTerminationMessage",
        json!({"providerPid": answer["providerPid"], "consumerPid": "urn:test:once"}),
    );
    let path = format!("/negotiations/{}/termination", answer["providerPid"].as_str().unwrap());
    assert_eq!(peer.send("POST", &path, Some(&end)).await.0, 200);
    let (status, same) = peer.send("POST", "/negotiations/request", Some(&first)).await;
    assert_eq!((status, &same["providerPid"]), (201, &answer["providerPid"]), "{same}");
    let mut another = first.clone();
    another["@id"] = json!(connector::ids::urn());
    let (status, answer) = peer.send("POST", "/negotiations/request", Some(&another)).await;
    assert_eq!((status, &answer["@type"]), (400, &json!("ContractNegotiationError")), "{answer}");
    assert!(answer["reason"][0].as_str().unwrap().contains("begin a new one under a new id"), "{answer}");
}

/// A peer's process id is text of its own choice, and one segment of the paths below its callback address.
#[tokio::test]
async fn a_process_id_is_one_segment_of_a_path() {
    let peer = Peer::new("auto").await;
    for (pid, segment) in [
        ("a#b", "a%23b"),
        ("a?b", "a%3Fb"),
        ("a/b", "a%2Fb"),
        ("a%20b", "a%2520b"),
        ("https://p.example/n/1?x", "https:%2F%2Fp.example%2Fn%2F1%3Fx"),
        ("urn:uuid:1-2", "urn:uuid:1-2"),
    ] {
        let request = message(
            "ContractRequestMessage",
            json!({"consumerPid": pid, "callbackAddress": peer.address, "offer": peer.offer().await}),
        );
        let (status, answer) = peer.send("POST", "/negotiations/request", Some(&request)).await;
        assert_eq!(status, 201, "{answer}");
        let (path, body) = peer.next().await;
        assert_eq!(path, format!("/negotiations/{segment}/agreement"));
        assert_eq!(body["consumerPid"], pid);
    }
    for pid in [".", ".."] {
        let request = message(
            "ContractRequestMessage",
            json!({"consumerPid": pid, "callbackAddress": peer.address, "offer": peer.offer().await}),
        );
        let (status, answer) = peer.send("POST", "/negotiations/request", Some(&request)).await;
        assert_eq!((status, &answer["@type"]), (400, &json!("ContractNegotiationError")), "{answer}");
        assert!(answer["reason"][0].as_str().unwrap().contains("/consumerPid"), "{answer}");
    }
}

/// What this node offers is named by a URI, also where its operator writes it.
#[tokio::test]
async fn an_offer_of_the_operator_is_named_by_a_uri() {
    let peer = Peer::new("manual").await;
    let process = peer.ask().await;
    let offer = |id: &str| json!({"policy": {"@id": id, "@type": "Offer", "target": DATASET, "permission": [{"action": "use"}]}});
    let path = format!("{}/move/offer", process.resource());
    let (status, answer) = peer.node.ask("POST", &path, Some(offer("special price"))).await.unwrap();
    assert!(status == 400 && answer.to_string().contains("is not a URI"), "{status} {answer}");
    let (status, answer) = peer.node.ask("POST", &path, Some(offer("urn:test:special"))).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    peer.play(&process, "<offer;=OFFERED").await;
}

/// Contract Request Message: the offer of a counter-request is one of this node for the dataset, or has a name of its consumer's.
#[tokio::test]
async fn a_counter_request_names_no_offer_that_is_not_there() {
    let peer = Peer::new("manual").await;
    peer.node.publish("urn:test:others", b"a\n", &[]);
    let process = peer.ask().await;
    peer.play(&process, "@move/offer; <offer").await;
    let (_, other) = peer.send("GET", "/catalog/datasets/urn%3Atest%3Aothers", None).await;
    let ours = peer.offer().await;
    let id = ours["@id"].as_str().unwrap();
    let gone = format!("{}:0000000000000000", id.rsplit_once(':').unwrap().0);
    let counter = async |name: &str| {
        let mut offer = ours.clone();
        offer["@id"] = json!(name);
        let body = message(
            "ContractRequestMessage",
            json!({"providerPid": process.provider_pid, "consumerPid": process.consumer_pid, "offer": offer}),
        );
        peer.send("POST", &format!("/negotiations/{}/request", process.own), Some(&body)).await
    };
    let of_other = other["hasPolicy"][0]["@id"].as_str().unwrap();
    for (name, said) in
        [(gone.as_str(), "is not an offer of this participant"), (of_other, "is not about `urn:test:rows`")]
    {
        let (status, refused) = counter(name).await;
        assert_eq!((status, &refused["@type"]), (400, &json!("ContractNegotiationError")), "{refused}");
        assert!(refused["reason"][0].as_str().unwrap().contains(said), "{refused}");
        peer.play(&process, "=OFFERED").await;
    }
    assert_eq!(counter("urn:test:mine").await.0, 200, "a name of the consumer's own");
    peer.play(&process, "=REQUESTED; @move/agree; <agreement").await;
}
