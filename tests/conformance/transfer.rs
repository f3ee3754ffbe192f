//! Transfer Process Protocol and its HTTPS binding.

use serde_json::json;

use super::peer::{Peer, message};

/// The node as provider (TP); the last two are what the suite leaves out.
const AS_PROVIDER: &[(&str, &str)] = &[
    ("TP:01-01", "@resume; <start; =STARTED; @terminate; <termination; =TERMINATED"),
    ("TP:01-02", "@resume; <start; @complete; <completion; =COMPLETED"),
    ("TP:01-03", "@resume; <start; @suspend; <suspension; =SUSPENDED; @terminate; <termination; =TERMINATED"),
    (
        "TP:01-04",
        "@resume; <start; @suspend; <suspension; @resume; <start; =STARTED; @complete; <completion; =COMPLETED",
    ),
    ("TP:01-05", "@terminate; <termination; =TERMINATED"),
    ("TP:02-01", "@resume; <start; >termination; =TERMINATED"),
    ("TP:02-02", "@resume; <start; >completion; =COMPLETED"),
    ("TP:02-03", "@resume; <start; >suspension; =SUSPENDED; >termination; =TERMINATED"),
    ("TP:02-04", "@resume; <start; >suspension; =SUSPENDED; >resume; =STARTED; >completion; =COMPLETED"),
    ("TP:02-05", "=REQUESTED; >termination; =TERMINATED"),
    ("TP:03-01", "!completion; =REQUESTED"),
    ("TP:03-02", "!suspension; =REQUESTED"),
    ("TP:03-03", "@resume; <start; >suspension; !completion; =SUSPENDED"),
    ("TP:03-04", "@resume; <start; >termination; !resume; =TERMINATED"),
    ("TP:03-05", "@resume; <start; >termination; !suspension; =TERMINATED"),
    ("TP:03-06", "@resume; <start; >termination; !completion; =TERMINATED"),
    ("a consumer cannot start", "!resume; =REQUESTED"),
    ("a start while it runs", "@resume; <start; !resume; =STARTED"),
];

/// The node as consumer (TP_C).
const AS_CONSUMER: &[(&str, &str)] = &[
    ("TP_C:01-01", ">start; =STARTED; >termination; =TERMINATED"),
    ("TP_C:01-02", ">start; >completion; =COMPLETED"),
    ("TP_C:01-03", ">start; >suspension; =SUSPENDED; >termination; =TERMINATED"),
    ("TP_C:01-04", ">start; >suspension; >start; =STARTED; >completion; =COMPLETED"),
    ("TP_C:01-05", ">termination; =TERMINATED"),
    ("TP_C:02-01", ">start; @terminate; <termination; =TERMINATED"),
    ("TP_C:02-02", ">start; @complete; <completion; =COMPLETED"),
    ("TP_C:02-03", ">start; @suspend; <suspension; =SUSPENDED; @terminate; <termination; =TERMINATED"),
    (
        "TP_C:02-04",
        ">start; @suspend; <suspension; @resume; <start; =STARTED; @complete; <completion; =COMPLETED",
    ),
    ("TP_C:02-05", "@terminate; <termination; =TERMINATED"),
    ("TP_C:03-01", "!completion; =REQUESTED"),
    ("TP_C:03-02", "!suspension; =REQUESTED"),
    ("TP_C:03-03", ">start; >suspension; !completion; =SUSPENDED"),
    ("TP_C:03-04", ">start; >termination; !start; =TERMINATED"),
    ("TP_C:03-05", ">start; >termination; !suspension; =TERMINATED"),
    ("TP_C:03-06", ">start; >termination; !completion; =TERMINATED"),
];

#[tokio::test]
async fn as_provider_every_scenario_goes_as_the_state_machine_says() {
    let peer = Peer::new("manual").await;
    for (name, script) in AS_PROVIDER {
        eprintln!("{name}");
        let process = peer.ask_transfer().await;
        peer.play(&process, script).await;
    }
}

#[tokio::test]
async fn as_consumer_every_scenario_goes_as_the_state_machine_says() {
    let peer = Peer::new("manual").await;
    for (name, script) in AS_CONSUMER {
        eprintln!("{name}");
        let process = peer.be_asked_transfer().await;
        peer.play(&process, script).await;
    }
}

/// Transfer Request Message: the provider SHOULD be idempotent by consumerPid.
#[tokio::test]
async fn a_repeated_request_is_the_same_process() {
    let peer = Peer::new("manual").await;
    let agreement = peer.import(true).await;
    let ask = |id: &str| {
        message(
            "TransferRequestMessage",
            json!({"consumerPid": "urn:test:same", "agreementId": agreement,
            "format": "HttpData-PULL", "callbackAddress": peer.address, "@id": id}),
        )
    };
    let (_, first) = peer.send("POST", "/transfers/request", Some(&ask("urn:1"))).await;
    let (status, again) = peer.send("POST", "/transfers/request", Some(&ask("urn:2"))).await;
    assert_eq!((status, again), (201, first));
    assert_eq!(peer.node.post("/v4/transferprocesses/request", json!({})).await.as_array().unwrap().len(), 1);
}

/// The start of a pull carries a data address with credentials, and fresh ones when it is resumed.
#[tokio::test]
async fn a_start_carries_fresh_credentials() {
    let peer = Peer::new("manual").await;
    let process = peer.ask_transfer().await;
    let token = async || {
        peer.node.post(&format!("{}/resume", process.resource()), json!({})).await;
        let (_, body) = peer.next().await;
        peer.node.until(&process.resource(), |one| one.get("urn:concordat:pending").is_none()).await;
        let address = body["dataAddress"].clone();
        assert_eq!(
            (&address["@type"], &address["endpointProperties"][1]["value"]),
            (&json!("DataAddress"), &json!("bearer"))
        );
        (
            address["endpoint"].as_str().unwrap().to_owned(),
            address["endpointProperties"][0]["value"].as_str().unwrap().to_owned(),
        )
    };
    let read = async |token: &(String, String)| {
        peer.client.get(&token.0).bearer_auth(&token.1).send().await.unwrap().status().as_u16()
    };
    let first = token().await;
    assert_eq!(read(&first).await, 200);
    peer.play(&process, "@suspend; <suspension; =SUSPENDED").await;
    assert_eq!(read(&first).await, 403);
    let second = token().await;
    assert_eq!((read(&first).await, read(&second).await), (401, 200), "the token of the first start is void");
    peer.play(&process, "@complete; <completion; =COMPLETED").await;
    assert_eq!(read(&second).await, 403);
}

/// agreementId must be an agreement between the two; format one that is offered.
#[tokio::test]
async fn a_request_must_fit_its_agreement() {
    let peer = Peer::new("manual").await;
    let agreement = peer.import(true).await;
    let reversed = peer.import(false).await;
    for (agreement, format, callback, expected) in [
        ("urn:none", "HttpData-PULL", peer.address.as_str(), "/agreementId"),
        (&reversed, "HttpData-PULL", &peer.address, "/agreementId"),
        (&agreement, "AmazonS3-PUSH", &peer.address, "/format"),
        (&agreement, "HttpData-PULL", "ftp://x", "/callbackAddress"),
    ] {
        let body = message(
            "TransferRequestMessage",
            json!({"consumerPid": connector::ids::urn(), "agreementId": agreement,
            "format": format, "callbackAddress": callback}),
        );
        let (status, answer) = peer.send("POST", "/transfers/request", Some(&body)).await;
        assert_eq!((status, &answer["@type"]), (400, &json!("TransferError")), "{answer}");
        assert!(answer["reason"][0].as_str().unwrap().contains(expected), "{answer}");
    }
}

/// An agreement imported without signatures opens nothing where both are required.
#[tokio::test]
async fn an_import_without_signatures_opens_the_gate_only_where_the_mode_allows_it() {
    let world = crate::support::World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(super::peer::DATASET, b"a,b\n1,2\n", &[]);
    let agreement = json!({"@id": "urn:test:imported", "@type": "Agreement", "target": super::peer::DATASET,
        "assigner": provider.did, "assignee": consumer.did, "timestamp": "2026-01-01T00:00:00Z", "permission": [{"action": "use"}]});
    let file = world.folder.path().join("agreement.json");
    std::fs::write(&file, agreement.to_string()).unwrap();
    for (node, other) in [(&provider, &consumer), (&consumer, &provider)] {
        let address = format!("{}/dsp/2025-1", other.address);
        node.text(&["agreements", "import", file.to_str().unwrap(), "--address", &address]);
    }
    let refused = consumer.run(&["pull", "urn:test:imported"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("the agreement is not signed by both"),
        "{refused:?}"
    );
    let twice =
        provider.run(&["agreements", "import", file.to_str().unwrap(), "--address", &consumer.address]);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("is here already"));

    // A signed one moves from node to node with its evidence, and a forged one does not.
    provider.publish("urn:test:second", b"x\n1\n", &[]);
    let made =
        consumer.json(&["negotiate", &provider.did, "urn:test:second", "--purpose", crate::support::PURPOSE]);
    let dossier = world.folder.path().join("dossier.json");
    consumer.text(&[
        "agreements",
        "export",
        made["contractAgreementId"].as_str().unwrap(),
        "-o",
        dossier.to_str().unwrap(),
    ]);
    let stranger = world.local_node("stranger");
    let refused =
        stranger.run(&["agreements", "import", dossier.to_str().unwrap(), "--address", &consumer.address]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("is no party of that agreement"),
        "{refused:?}"
    );
}

/// Every later message MUST contain both pids, and they are those of the process.
#[tokio::test]
async fn every_message_names_both_pids() {
    let peer = Peer::new("manual").await;
    let process = peer.ask_transfer().await;
    for (kind, leaf) in [
        ("TransferStartMessage", "start"),
        ("TransferSuspensionMessage", "suspension"),
        ("TransferCompletionMessage", "completion"),
        ("TransferTerminationMessage", "termination"),
    ] {
        for pids in [
            json!({"providerPid": process.provider_pid}),
            json!({"consumerPid": process.consumer_pid}),
            json!({"providerPid": process.provider_pid, "consumerPid": "urn:test:other"}),
        ] {
            let path = format!("/transfers/{}/{leaf}", process.own);
            let (status, answer) = peer.send("POST", &path, Some(&message(kind, pids))).await;
            assert_eq!((status, &answer["@type"]), (400, &json!("TransferError")), "{kind}: {answer}");
        }
    }
    peer.play(&process, "=REQUESTED").await;
}

/// A repeated request for a transfer that runs SHOULD be answered with a start message again.
#[tokio::test]
async fn a_repeated_request_of_a_running_transfer_gets_its_start_again() {
    let peer = Peer::new("manual").await;
    let ask = message(
        "TransferRequestMessage",
        json!({"consumerPid": "urn:test:again", "agreementId": peer.import(true).await,
        "format": "HttpData-PULL", "callbackAddress": peer.address}),
    );
    let (_, answer) = peer.send("POST", "/transfers/request", Some(&ask)).await;
    let own = answer["providerPid"].as_str().unwrap();
    let resource = format!("/v4/transferprocesses/{}", trust::did::segment(own));
    peer.node.post(&format!("{resource}/resume"), json!({})).await;
    let (_, first) = peer.next().await;
    peer.node
        .until(&resource, |one| one["state"] == "STARTED" && one.get("urn:concordat:pending").is_none())
        .await;
    let (status, again) = peer.send("POST", "/transfers/request", Some(&ask)).await;
    assert_eq!((status, &again["state"]), (201, &json!("STARTED")));
    let (path, second) = peer.next().await;
    assert_eq!(
        (path.as_str(), &second["dataAddress"]),
        ("/transfers/urn:test:again/start", &first["dataAddress"])
    );
    assert_eq!(peer.node.get(&resource).await["state"], "STARTED", "no change of state");
}

/// The data plane of Eclipse EDC says that its token is a bearer's, and takes it bare; nobody else is asked twice.
#[tokio::test]
async fn a_data_plane_of_edc_gets_its_token_bare() {
    let peer = Peer::new("manual").await;
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&asked);
    let serve = move |headers: http::HeaderMap| async move {
        let shown = headers["authorization"].to_str().unwrap().to_owned();
        seen.lock().unwrap().push(shown.clone());
        match shown.as_str() {
            "TOKEN" => (http::StatusCode::OK, "a,b\n1,2\n"),
            _ => (http::StatusCode::FORBIDDEN, "not like this"),
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://localhost:{}/public", listener.local_addr().unwrap().port());
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(serve)).into_future());
    let start = |context: serde_json::Value, process: &super::peer::Process| {
        let property = |name: &str, value: &str| {
            let name = format!("https://w3id.org/edc/v0.0.1/ns/{name}");
            json!({"@type": "EndpointProperty", "name": name, "value": value})
        };
        let mut body = message(
            "TransferStartMessage",
            json!({"providerPid": process.provider_pid, "consumerPid": process.consumer_pid,
            "dataAddress": {"@type": "DataAddress", "endpointType": "https://w3id.org/idsa/v4.1/HTTP",
            "endpointProperties": [property("endpoint", &endpoint), property("authorization", "TOKEN")]}}),
        );
        body["@context"] = context;
        body
    };
    let read = async |context: serde_json::Value| {
        let process = peer.be_asked_transfer().await;
        let path = format!("/transfers/{}/start", process.own);
        let (status, answer) = peer.send("POST", &path, Some(&start(context, &process))).await;
        assert_eq!(status, 200, "{answer}");
        let url = format!("{}{}/data", peer.node.management, process.resource());
        let request = peer.client.get(url).header("x-api-key", &peer.node.key);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status.as_u16(), text, std::mem::take(&mut *asked.lock().unwrap()))
    };
    let (status, text, shown) = read(json!([crate::support::CONTEXT])).await;
    assert_eq!(shown, ["Bearer TOKEN"], "{status} {text}");
    assert!(status >= 400 && text.contains("not like this"), "{status} {text}");
    let edcs = json!([crate::support::CONTEXT, "https://w3id.org/edc/dspace/v0.0.1"]);
    let (status, text, shown) = read(edcs.clone()).await;
    assert_eq!(
        (status, text.as_str(), shown),
        (200, "a,b\n1,2\n", vec!["Bearer TOKEN".to_owned(), "TOKEN".to_owned()])
    );
    assert_eq!(read(edcs).await.2, ["TOKEN"], "the form that was taken is remembered");
}

/// Transfer Request Message: the format is one of the dataset's distributions.
#[tokio::test]
async fn a_format_is_one_of_the_datasets_own() {
    let peer = Peer::new("auto").await;
    let agreement = peer.import(true).await;
    let ask = async |format: &str| {
        let body = message(
            "TransferRequestMessage",
            json!({"consumerPid": connector::ids::urn(), "agreementId": agreement, "format": format,
            "callbackAddress": peer.address}),
        );
        peer.send("POST", "/transfers/request", Some(&body)).await
    };
    // What stands behind an asset without an address is nothing that could be pushed.
    let asset = json!({"@id": super::peer::DATASET, "properties": {}});
    peer.node.ask("PUT", "/v4/assets", Some(asset)).await.unwrap();
    for format in ["HttpData-PUSH", "AmazonS3-PULL"] {
        let (status, refused) = ask(format).await;
        assert_eq!((status, &refused["@type"]), (400, &json!("TransferError")), "{refused}");
        let reason = refused["reason"][0].as_str().unwrap();
        assert!(
            reason.contains(&format!("`{format}` is not offered of `{}`", super::peer::DATASET)),
            "{reason}"
        );
    }
    assert_eq!(ask("HttpData-PULL").await.0, 201);
}
