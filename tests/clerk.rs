//! A clerk's day at the command line: two agencies, by hand.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{CONTEXT, Node, PROGRAM, PURPOSE, Peer, Stranger, World};

const DATASET: &str = "urn:test:rows";
const ROWS: &[u8] = b"time,no2\n2019-05-07T01:00:00Z,22.5\n2019-05-07T02:00:00Z,23.1\n";

fn id(value: &Value) -> &str {
    value["@id"].as_str().unwrap()
}

fn negotiate(consumer: &Node, provider: &Node) -> String {
    let found = consumer.json(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
    assert_eq!(found["state"], "FINALIZED");
    found["contractAgreementId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn from_offer_to_rows_and_back_to_no() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(
        DATASET,
        ROWS,
        &["--keyword", "air", "--place", "BE", "--license", "https://x.example/l"],
    );
    assert!(provider.text(&["offers"]).contains("the purpose must be a kind of environmental monitoring"));

    let catalog = consumer.json(&["catalog", &provider.did]);
    assert_eq!(catalog["participantId"], provider.did);
    let dataset = &catalog["dataset"][0];
    assert_eq!(dataset["http://purl.org/dc/terms/title"], "Test rows");
    assert_eq!(dataset["distribution"][0]["http://www.w3.org/ns/dcat#mediaType"], "text/csv");
    assert!(consumer.text(&["catalog", &provider.did]).contains("forbidden: distribute"));
    let found = |more: &[&str]| {
        let catalog = consumer.json(&[&["catalog", provider.did.as_str()], more].concat());
        catalog["dataset"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(
        found(&["--text", "TEST rows", "--keyword", "air", "--place", "BE", "--format", "text/csv"]),
        1
    );
    assert_eq!(found(&["--text", "test columns"]), 0);
    assert_eq!(found(&["--place", "FR"]), 0);
    assert!(consumer.text(&["peers"]).contains(&provider.did));
    assert!(consumer.text(&["identity"]).contains(&consumer.did));

    assert!(consumer.text(&["doctor"]).contains("within 1 s of 1 peers' clocks"));
    let agreement = negotiate(&consumer, &provider);
    for node in [&provider, &consumer] {
        let shown = node.json(&["agreements", "show", &agreement]);
        assert_eq!(shown["urn:concordat:signedByProvider"], true);
        assert_eq!(shown["urn:concordat:signedByConsumer"], true);
        assert!(node.text(&["agreements", "list"]).contains("in force"));
        assert!(node.text(&["negotiations", "list"]).contains("FINALIZED"));
    }
    let file = world.folder.path().join("out.csv");
    let pulled = consumer.json(&["pull", &agreement, "-o", file.to_str().unwrap()]);
    assert_eq!(pulled["bytes"], ROWS.len());
    assert_eq!(std::fs::read(&file).unwrap(), ROWS);
    assert_eq!(consumer.run(&["pull", &agreement]).stdout, ROWS, "to standard output");
    assert!(consumer.text(&["transfers", "list"]).contains("COMPLETED"));
    let path = format!("/v4/contractagreements/{}", trust::did::segment(&agreement));
    let metered = provider.until(&path, |one| one["urn:concordat:bytes"] == 2 * ROWS.len()).await;
    assert_eq!(metered["urn:concordat:requests"], 2);

    // Resume where the file ends.
    std::fs::write(&file, &ROWS[..10]).unwrap();
    consumer.json(&["pull", &agreement, "-o", file.to_str().unwrap(), "--resume"]);
    assert_eq!(std::fs::read(&file).unwrap(), ROWS);

    // Offline proof.
    let dossier = world.folder.path().join("agreement.json");
    provider.text(&["agreements", "export", &agreement, "-o", dossier.to_str().unwrap()]);
    let verified =
        Command::new(PROGRAM).args(["agreement", "verify", dossier.to_str().unwrap()]).output().unwrap();
    let text = String::from_utf8(verified.stdout).unwrap();
    assert!(
        verified.status.success()
            && text.contains("Everything holds: both parties signed exactly these terms."),
        "{text}"
    );
    assert!(text.contains(&format!("signed by {}#key-1", provider.did)), "{text}");
    for kind in ["ContractRequestMessage", "ContractAgreementMessage", "ContractAgreementVerificationMessage"]
    {
        assert!(text.contains(&format!("{kind} of did:web:")), "{text}");
    }
    assert!(text.contains("with its token") && !text.contains("without a token"), "{text}");
    // What is printed for people is the same document.
    let printed = world.folder.path().join("printed.json");
    std::fs::write(&printed, provider.run(&["agreements", "export", &agreement]).stdout).unwrap();
    let verified =
        Command::new(PROGRAM).args(["agreement", "verify", printed.to_str().unwrap()]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let altered = std::fs::read_to_string(&dossier).unwrap().replace("odrl:distribute", "odrl:sell");
    std::fs::write(&dossier, altered).unwrap();
    let verified =
        Command::new(PROGRAM).args(["agreement", "verify", dossier.to_str().unwrap()]).output().unwrap();
    assert_eq!(verified.status.code(), Some(5));
    assert!(String::from_utf8(verified.stdout).unwrap().contains("altered after it was signed"));

    // The end of an agreement is the end of its data.
    consumer.text(&["agreements", "end", &agreement, "--reason", "project over"]);
    let again = consumer.run(&["pull", &agreement]);
    assert_eq!(again.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&again.stderr).contains("was ended on"), "{again:?}");
    provider.text(&["unpublish", DATASET]);
    assert_eq!(consumer.run(&["negotiate", &provider.did, DATASET]).status.code(), Some(1));
}

/// The peer's next message may come before its acknowledgement of ours: what we said is proven by then, and kept.
#[tokio::test]
async fn what_a_message_overtook_is_in_the_dossier() {
    let world = World::new();
    let provider = world.local_node("provider");
    provider.publish(DATASET, ROWS, &[]);
    let consumer = Stranger::new(&world);
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    // It takes the agreement and never acknowledges it.
    let take = move |request: axum::extract::Request| {
        let heard = heard.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
            if path.ends_with("/agreement") {
                heard.send(serde_json::from_slice::<Value>(&body).unwrap()).unwrap();
                std::future::pending::<()>().await;
            }
            http::StatusCode::OK
        }
    };
    let peer = Peer::serving(&world, |_| axum::Router::new().fallback(take));
    let terms = crate::hostile::offer(&consumer, &provider).await;
    let asked = crate::hostile::request(&terms, &peer.address);
    let (status, answer) = consumer.send(&provider, "POST", "/negotiations/request", &asked).await;
    assert_eq!(status, 201, "{answer}");
    let said = hears.recv().await.unwrap();
    let agreement = &said["agreement"];
    let role = trust::SignerRole::Consumer;
    let bound = trust::Bound {
        agreement,
        parts: &std::collections::BTreeMap::new(),
        names: &trust::agreement::NO_NAMES,
    };
    let signature =
        trust::agreement::sign(&consumer.key, &consumer.kid, role, bound, 1, connector::clock::now());
    let verification = json!({"@context": [CONTEXT], "@type": "ContractAgreementVerificationMessage",
        "@id": connector::ids::urn(), "providerPid": said["providerPid"], "consumerPid": said["consumerPid"],
        "urn:concordat:signature": signature.unwrap()});
    let path = format!("/negotiations/{}/agreement/verification", answer["providerPid"].as_str().unwrap());
    let (status, answer) = consumer.send(&provider, "POST", &path, &verification).await;
    assert_eq!(status, 200, "{answer}");
    let dossier = provider.json(&["agreements", "export", id(agreement)]);
    let kinds = dossier["messages"].as_array().unwrap().iter().map(|one| {
        assert!(one["token"].is_string(), "{one}");
        one["body"]["@type"].as_str().unwrap().to_owned()
    });
    let kinds: Vec<_> = kinds.collect();
    assert_eq!(
        kinds[..3],
        ["ContractRequestMessage", "ContractAgreementMessage", "ContractAgreementVerificationMessage"]
    );
}

#[tokio::test]
async fn a_person_approves_or_rejects() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, ROWS, &["--automation", "manual"]);
    let ask = |purpose: &str| {
        let found = consumer.json(&["negotiate", &provider.did, DATASET, "--purpose", purpose, "--no-wait"]);
        found["negotiation"].as_str().unwrap().to_owned()
    };
    let path = |pid: &str| format!("/v4/contractnegotiations/{}", trust::did::segment(pid));
    let waiting = async |ours: &str| {
        let theirs = consumer.until(&path(ours), |one| one["state"] == "REQUESTED").await;
        theirs["correlationId"].as_str().unwrap().to_owned()
    };
    let first = ask(PURPOSE);
    let at_provider = waiting(&first).await;
    assert!(provider.text(&["negotiations", "show", &at_provider]).contains("it waits for your approval"));
    provider.text(&["negotiations", "approve", &at_provider]);
    let agreed = consumer.until(&path(&first), |one| one["state"] == "FINALIZED").await;
    assert!(agreed["contractAgreementId"].is_string());

    // Terms that are not offered wait for a person too, with the clause.
    let second = ask("urn:concordat:purpose:advertising");
    let at_provider = waiting(&second).await;
    assert!(
        provider
            .text(&["negotiations", "show", &at_provider])
            .contains("the terms asked for are not those offered")
    );
    provider.text(&["negotiations", "reject", &at_provider, "--reason", "not for advertising"]);
    let over = consumer.until(&path(&second), |one| one["state"] == "TERMINATED").await;
    assert!(over["errorDetail"].as_str().unwrap().contains("not for advertising"), "{over}");
    let twice = provider.run(&["negotiations", "approve", &at_provider]);
    assert_eq!(twice.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("is not allowed in state TERMINATED"));
}

#[tokio::test]
async fn only_those_whom_the_access_policy_admits_see_an_offer() {
    let world = World::new();
    let (provider, friend, stranger) =
        (world.local_node("provider"), world.local_node("friend"), world.local_node("stranger"));
    provider.publish(DATASET, ROWS, &["--only-for", &friend.did]);
    assert_eq!(friend.json(&["catalog", &provider.did])["dataset"].as_array().unwrap().len(), 1);
    assert!(stranger.json(&["catalog", &provider.did]).get("dataset").is_none());
    let refused = stranger.run(&["negotiate", &provider.did, DATASET]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no dataset"), "{refused:?}");
}

#[tokio::test]
async fn transfers_are_suspended_resumed_and_stopped_by_either_side() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, ROWS, &[]);
    let agreement = negotiate(&consumer, &provider);
    let started = consumer.json(&["transfers", "start", &agreement]);
    let ours = id(&started).to_owned();
    let at = |pid: &str| format!("/v4/transferprocesses/{}", trust::did::segment(pid));
    let theirs = started["correlationId"].as_str().unwrap().to_owned();
    provider.until(&at(&theirs), |one| one["state"] == "STARTED").await;
    assert_eq!(consumer.run(&["pull", &ours]).stdout, ROWS);

    provider.text(&["transfers", "suspend", &theirs, "--reason", "maintenance"]);
    consumer.until(&at(&ours), |one| one["state"] == "SUSPENDED").await;
    let refused = consumer.run(&["pull", &ours]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("does not run now (SUSPENDED)"), "{refused:?}");
    let acknowledged = |state: &'static str| {
        move |one: &Value| one["state"] == state && one.get("urn:concordat:pending").is_none()
    };
    provider.until(&at(&theirs), acknowledged("SUSPENDED")).await;
    // Either side may let it go on, whoever suspended it.
    consumer.text(&["transfers", "resume", &ours]);
    provider.until(&at(&theirs), |one| one["state"] == "STARTED").await;
    consumer.until(&at(&ours), acknowledged("STARTED")).await;
    assert_eq!(consumer.run(&["pull", &ours]).stdout, ROWS);
    provider.text(&["transfers", "suspend", &theirs, "--reason", "maintenance"]);
    consumer.until(&at(&ours), |one| one["state"] == "SUSPENDED").await;
    provider.until(&at(&theirs), acknowledged("SUSPENDED")).await;
    provider.text(&["transfers", "resume", &theirs]);
    consumer.until(&at(&ours), |one| one["state"] == "STARTED").await;
    assert_eq!(consumer.run(&["pull", &ours]).stdout, ROWS, "with the token of the new start");
    provider.until(&at(&theirs), acknowledged("STARTED")).await;

    consumer.text(&["transfers", "suspend", &ours]);
    provider.until(&at(&theirs), |one| one["state"] == "SUSPENDED").await;
    consumer.until(&at(&ours), |one| one["state"] == "SUSPENDED").await;
    consumer.text(&["transfers", "resume", &ours]);
    provider.until(&at(&theirs), |one| one["state"] == "STARTED").await;
    consumer.until(&at(&ours), |one| one["state"] == "STARTED").await;
    consumer.text(&["transfers", "stop", &ours, "--reason", "enough"]);
    let over = provider.until(&at(&theirs), |one| one["state"] == "TERMINATED").await;
    assert!(over["errorDetail"].as_str().unwrap().contains("enough"));
    assert!(provider.text(&["transfers", "show", &theirs]).contains("ended it: enough"));
}

#[tokio::test]
async fn a_count_in_the_terms_serves_exactly_that_many_reads_across_a_kill() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let member = ["--member", &consumer.did, "--attribution", "--delete-by", "2100-01-01T00:00:00Z"];
    provider.publish(DATASET, ROWS, &[&["--at-most", "3"], &member[..]].concat());
    assert!(provider.text(&["offers"]).contains("required: attribute"));
    let agreement = negotiate(&consumer, &provider);
    let transfer = id(&consumer.json(&["transfers", "start", &agreement])).to_owned();
    for _ in 0..2 {
        assert_eq!(consumer.run(&["pull", &transfer]).stdout, ROWS);
    }
    provider.kill();
    provider.start();
    assert_eq!(consumer.run(&["pull", &transfer]).stdout, ROWS);
    for _ in 0..2 {
        let refused = consumer.run(&["pull", &transfer]);
        assert_eq!(refused.status.code(), Some(3));
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(text.contains("the number of uses must be at most 3"), "{text}");
    }
}

#[tokio::test]
async fn a_dead_peer_is_named_and_the_message_waits_for_it() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, ROWS, &[]);
    let offer = consumer.json(&["catalog", &provider.did])["dataset"][0]["hasPolicy"][0].clone();
    provider.stop();
    let failed = consumer.run(&["catalog", &provider.did]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("cannot connect"), "{failed:?}");
    let mut policy = offer;
    policy["assigner"] = json!(provider.did);
    policy["target"] = json!(DATASET);
    let address = format!("{}/dsp/2025-1", provider.address);
    let asked = consumer
        .post("/v4/contractnegotiations", json!({"policy": policy, "counterPartyAddress": address}))
        .await;
    let path = format!("/v4/contractnegotiations/{}", trust::did::segment(id(&asked)));
    assert_eq!(consumer.get(&path).await["urn:concordat:pending"], "a request");
    provider.start();
    consumer.until(&path, |one| one["state"] == "FINALIZED").await;
}

#[test]
fn a_node_that_does_not_run_and_one_that_is_not_there() {
    let world = World::new();
    let mut node = world.local_node("node");
    assert!(node.text(&["doctor"]).contains("resolves at"));
    node.stop();
    let output = node.run(&["offers"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("start it with `concordat serve`"));
    assert!(node.text(&["doctor"]).contains("journal whole up to commit"));
    assert!(node.text(&["store", "verify"]).contains("head of chain"));
    assert!(node.text(&["store", "checkpoint"]).contains("signed checkpoint"));
    assert!(node.text(&["store", "rebuild"]).contains("built anew"));
    let nowhere = Command::new(PROGRAM).args(["--dir", "/nonexistent", "offers"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("make one with `concordat init`"));
    let again = node.run(&["init"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is a node in"));

    // What is wrong with a configuration is said before anything starts.
    let file = node.dir.join("concordat.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("signatures =", "signature =")).unwrap();
    let output = node.run(&["serve"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `signatures`?"), "{output:?}");
    std::fs::write(&file, text).unwrap();
    let key = node.dir.join("keys/participant.jwk");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let output = node.run(&["doctor"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stdout).contains("chmod 600"), "{output:?}");
}

#[tokio::test]
async fn p256_keys_and_redb_do_the_same() {
    let world = World::new();
    let local = ["--allow-network", "127.0.0.0/8", "--allow-network", "::1/128"];
    let provider = world.node("provider", &[&local[..], &["--key-type", "p256", "--store", "redb"]].concat());
    let consumer = world.local_node("consumer");
    provider.publish(DATASET, ROWS, &[]);
    let agreement = negotiate(&consumer, &provider);
    assert_eq!(consumer.run(&["pull", &agreement]).stdout, ROWS);
    assert!(provider.dir.join("store/redb").exists());
}

#[tokio::test]
async fn every_move_can_be_made_by_hand() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, ROWS, &["--automation", "manual"]);
    let path = |pid: &str| format!("/v4/contractnegotiations/{}", trust::did::segment(pid));
    let begun = consumer.json(&["negotiate", &provider.did, DATASET, "--automation", "manual", "--no-wait"]);
    let ours = begun["negotiation"].as_str().unwrap().to_owned();
    let reached = async |node: &Node, pid: &str, state: &str| {
        node.until(&path(pid), |one| one["state"] == state && one.get("urn:concordat:pending").is_none())
            .await
    };
    let theirs = reached(&consumer, &ours, "REQUESTED").await["correlationId"].as_str().unwrap().to_owned();
    for (node, pid, name, state) in [
        (&provider, &theirs, "offer", "OFFERED"),
        (&consumer, &ours, "request", "REQUESTED"),
        (&provider, &theirs, "offer", "OFFERED"),
        (&consumer, &ours, "accept", "ACCEPTED"),
        (&provider, &theirs, "agree", "AGREED"),
        (&consumer, &ours, "verify", "VERIFIED"),
        (&provider, &theirs, "finalize", "FINALIZED"),
    ] {
        node.text(&["negotiations", "move", pid, name]);
        reached(&consumer, &ours, state).await;
        reached(&provider, &theirs, state).await;
    }
    // A transfer under a manual offer waits for its start.
    let agreement = consumer.get(&path(&ours)).await["contractAgreementId"].as_str().unwrap().to_owned();
    let asked = consumer
        .post("/v4/transferprocesses", json!({"contractId": agreement, "transferType": "HttpData-PULL"}))
        .await;
    let transfer = format!("/v4/transferprocesses/{}", trust::did::segment(id(&asked)));
    let waiting = consumer.until(&transfer, |one| one["state"] == "REQUESTED").await;
    provider.text(&["transfers", "resume", waiting["correlationId"].as_str().unwrap()]);
    consumer.until(&transfer, |one| one["state"] == "STARTED").await;
    assert_eq!(consumer.run(&["pull", id(&asked)]).stdout, ROWS);

    // And an offer to somebody who did not ask.
    let offer = consumer.json(&["catalog", &provider.did])["dataset"][0]["hasPolicy"][0]["@id"]
        .as_str()
        .unwrap()
        .to_owned();
    let proposed = provider.json(&["negotiations", "propose", &consumer.did, &offer]);
    let answered = reached(&provider, id(&proposed), "OFFERED").await;
    let at_consumer = answered["correlationId"].as_str().unwrap().to_owned();
    assert!(
        consumer
            .text(&["negotiations", "show", &at_consumer])
            .contains("it waits for you to accept or reject it")
    );
    consumer.text(&["negotiations", "approve", &at_consumer]);
    reached(&provider, id(&proposed), "ACCEPTED").await;
    provider.text(&["negotiations", "approve", id(&proposed)]);
    reached(&consumer, &at_consumer, "FINALIZED").await;
}

#[tokio::test]
async fn events_are_a_stream_that_resumes_where_it_was_left() {
    let world = World::new();
    let mut node = world.local_node("node");
    node.publish(DATASET, ROWS, &[]);
    let log = node.get("/v4/events/log").await;
    let log = log.as_array().unwrap();
    assert_eq!(log.len(), 4, "{log:?}");
    let read = async |node: &Node, after: &str, count: usize| {
        let request =
            node.client.get(format!("{}/v4/events", node.management)).header("x-api-key", &node.key);
        let mut stream = request.header("last-event-id", after).send().await.unwrap();
        let mut text = String::new();
        while text.matches("\n\n").count() < count {
            text.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
        }
        let ids = text.lines().filter_map(|line| line.strip_prefix("id:")).map(|id| id.trim().to_owned());
        ids.collect::<Vec<_>>()
    };
    let ids: Vec<_> = log.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(read(&node, &ids[0], 3).await, ids[1..]);
    node.kill();
    node.start();
    assert_eq!(read(&node, &ids[1], 2).await, ids[2..], "also after a restart");
    assert_eq!(node.ask("GET", "/v4/events/log?after=x", None).await.unwrap().0, 400);
}

#[test]
fn policies_are_checked_explained_tested_and_compared_without_a_node() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, constraints: Value| {
        let path = folder.path().join(name);
        let policy = json!({"@type": "Set", "permission": [{"action": "use", "constraint": constraints}]});
        std::fs::write(&path, policy.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).arg("policy").args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let count =
        |operator: &str, n: &str| json!({"leftOperand": "count", "operator": operator, "rightOperand": n});
    let (few, many, both) = (
        write("few", json!([count("lteq", "5")])),
        write("many", json!([count("lteq", "9")])),
        write("both", json!([count("gt", "5"), count("lt", "3")])),
    );
    assert_eq!(
        run(&["explain", &few]),
        (0, "allowed: use, provided that the number of uses must be at most 5\n".to_owned())
    );
    let (code, text) = run(&["compare", &few, &many]);
    assert_eq!(code, 0);
    assert!(
        text.contains(
            "Compatible\neverything the first permits, the second permits\nthe second permits what"
        ),
        "{text}"
    );
    let (code, text) = run(&["compare", &few, &write("more", json!([count("gt", "5")]))]);
    assert!(code == 3 && text.contains("at most 5 (`/permission/0/constraint/0`), but"), "{text}");
    assert!(text.ends_with("no terms lie within both\n") && !text.contains("largest"), "{text}");
    let purpose = |name: &str, operator: &str, right: &str| {
        write(name, json!([{"leftOperand": "purpose", "operator": operator, "rightOperand": right}]))
    };
    let monitoring = purpose("monitoring", "isA", PURPOSE);
    for (asked, wanted) in
        [("urn:concordat:purpose:advertising", "Conflict"), ("https://x.example/unheard-of", "Unknown")]
    {
        let (_, text) = run(&["compare", &purpose("asked", "eq", asked), &monitoring]);
        let last = if wanted == "Conflict" { "no terms" } else { "it is not known whether any terms" };
        assert!(
            text.starts_with(wanted) && text.ends_with(&format!("{last} lie within both\n")),
            "an empty set is no counter-offer: {text}"
        );
    }
    let (_, text) = run(&["explain", &monitoring, "--vocabulary"]);
    for told in
        ["the purpose must be a kind of environmental monitoring", PURPOSE, "terms of Concordat", "ODRL 2.2"]
    {
        assert!(text.contains(told), "{told}: {text}");
    }
    let (code, text) = run(&["check", &both]);
    assert!(code == 5 && text.contains("nothing satisfies it"), "{text}");
    let past = write(
        "past",
        json!([{"leftOperand": "dateTime", "operator": "lt", "rightOperand": "2001-01-01T00:00:00Z"}]),
    );
    assert!(run(&["check", &past]).1.contains("/permission/0: its time is past"));
    let odd = write("odd", json!([{"leftOperand": "mood", "operator": "eq", "rightOperand": "good"}]));
    assert!(run(&["check", &odd]).1.contains("`mood` is not an operand this node understands"));
    let (code, text) = run(&["check", &write("bad", json!([count("about", "5")]))]);
    assert_eq!((code, text.trim()), (5, "/permission/0/constraint/0/operator: unknown operator `about`"));
    assert_eq!(run(&["check", &few]).0, 0);

    let written = |arguments: &[&str]| {
        let (code, text) = run(&[&["new"], arguments].concat());
        assert_eq!(code, 0, "{text}");
        let path = folder.path().join("new");
        std::fs::write(&path, text).unwrap();
        run(&["explain", path.to_str().unwrap()]).1
    };
    assert_eq!(written(&[]), "allowed: use\n");
    let terms = "--at-most 5 --member did:web:a --member did:web:b --no-distribution --attribution --delete-by \
        2100-01-01T00:00:00Z";
    let words = written(&terms.split_whitespace().collect::<Vec<_>>());
    for line in [
        "allowed: use, provided that the number of uses must be at most 5 and",
        "did:web:b",
        "forbidden: distribute",
        "required: attribute",
        "required: delete, provided that",
    ] {
        assert!(words.contains(line), "{words}");
    }
    assert_eq!(run(&["new", "--valid-until", "soon"]).0, 5);

    let file = |name: &str, content: Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let request = file("request", json!({"permission": [{"assignee": "did:web:alice", "action": "read"}]}));
    let world = |n: u64| file("world", json!({"count": n}));
    let (code, text) = run(&["test", &few, &request, "--world", &world(5)]);
    assert!(code == 0 && text.starts_with("permit: ") && text.contains("constraint satisfied"), "{text}");
    let (code, text) = run(&["test", &few, &request, "--world", &world(6)]);
    assert!(
        code == 3 && text.contains("constraint unsatisfied: the number of uses must be at most 5"),
        "{text}"
    );
    let (code, text) = run(&["test", &few, &request]);
    assert!(code == 3 && text.contains("constraint unknown"), "{text}");
    let (code, text) = run(&["test", &few, &file("empty", json!({}))]);
    assert!(code == 5 && text.starts_with("request: /permission/0/action"), "{text}");
}

#[test]
fn policies_inherit_are_expanded_advised_on_and_met_halfway() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).arg("policy").args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout.clone()).unwrap(), output)
    };
    let c = |left: &str, operator: &str, right: &str| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
    let rules =
        file("rules", json!({"uid": "urn:rules", "prohibition": [{"action": ["sell", "distribute"]}]}));
    let heir = file(
        "heir",
        json!({"inheritFrom": "urn:rules", "action": "use", "permission": [{"constraint": [
            c("spatial", "isPartOf", "https://city.example/ghent"), c("dateTime", "gteq", "2100-01-01T00:00:00Z")]}]}),
    );
    let (code, _, output) = run(&["explain", &heir]);
    assert_eq!(code, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("`urn:rules` is not at hand"), "{output:?}");
    let (code, text, _) = run(&["explain", &heir, "--parent", &rules]);
    assert_eq!(
        (code, text.lines().skip(1).collect::<Vec<_>>()),
        (
            0,
            vec![
                "forbidden: sell",
                "forbidden: distribute",
                "where the same action is both allowed and forbidden, nothing in these terms is allowed"
            ]
        )
    );
    let (_, text, _) = run(&["check", &heir, "--parent", &rules]);
    assert!(
        text.contains("is not a term this node knows") && text.contains("cannot carry it as it stands"),
        "{text}"
    );
    let terms = file(
        "terms",
        json!({"broader": [["https://city.example/ghent/north", "https://city.example/ghent"]]}),
    );
    let (code, text, _) = run(&["check", &heir, "--parent", &rules, "--terms", &terms]);
    assert_eq!(code, 0, "{text}");
    let (_, expanded, _) = run(&["expand", &heir, "--parent", &rules]);
    let flat = folder.path().join("flat");
    std::fs::write(&flat, expanded).unwrap();
    let flat = flat.to_str().unwrap();
    let (code, text, _) = run(&["check", flat, "--terms", &terms]);
    assert_eq!((code, text.as_str()), (0, "the policy can be read\n"));

    let request = file("request", json!({"permission": [{"assignee": "did:web:a", "action": "read"}]}));
    let world = file("world", json!({"places": ["https://city.example/ghent/north"]}));
    let (code, text, _) = run(&["test", flat, &request, "--world", &world, "--terms", &terms]);
    assert_eq!(code, 3);
    assert!(text.contains("\nto be permitted: wait until 2100-01-01T00:00:00Z\n"), "{text}");
    let (_, text, _) = run(&["test", flat, &request, "--world", &world]);
    assert!(text.contains("state the place of use `https://city.example/ghent`; and wait until"), "{text}");

    let wide =
        file("wide", json!({"permission": [{"action": "use", "constraint": [c("count", "lteq", "9")]}]}));
    let short =
        file("short", json!({"permission": [{"action": "read"}], "obligation": [{"action": "attribute"}]}));
    let (code, text, _) = run(&["compare", &wide, &short]);
    assert_eq!(code, 0);
    for line in [
        "no longer allowed: use, provided that the number of uses must be at most 9",
        "newly required: attribute",
        "the largest terms within both:\n  allowed: read, provided that the number of uses must be at most 9",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let words = |arguments: &[&str]| {
        let (code, text, output) = run(&[&["new"], arguments].concat());
        assert_eq!(code, 0, "{output:?}");
        run(&["explain", &file("new", serde_json::from_str(&text).unwrap())]).1
    };
    assert_eq!(
        words(&["--pay", "5 EUR", "--delete-after", "P30D"]),
        "allowed: use, after having done: [compensate, provided that the amount paid must be 5 in EUR]\nrequired: delete, \
         provided that the time since the agreement must be at most 30 days\n"
    );
    assert_eq!(run(&["new", "--pay", "much"]).0, 2);
}

#[tokio::test]
async fn two_sides_meet_at_the_largest_terms_within_both() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, ROWS, &["--at-most", "10", "--automation", "manual"]);
    let path = |pid: &str| format!("/v4/contractnegotiations/{}", trust::did::segment(pid));
    let begun = consumer.json(&["negotiate", &provider.did, DATASET, "--automation", "manual", "--no-wait"]);
    let ours = begun["negotiation"].as_str().unwrap().to_owned();
    let reached = async |node: &Node, pid: &str, state: &str| {
        node.until(&path(pid), |one| one["state"] == state && one.get("urn:concordat:pending").is_none())
            .await
    };
    let first = reached(&consumer, &ours, "REQUESTED").await;
    let theirs = first["correlationId"].as_str().unwrap().to_owned();
    provider.text(&["negotiations", "move", &theirs, "offer"]);
    reached(&consumer, &ours, "OFFERED").await;
    // The consumer wants fewer reads, but for a wider purpose; the provider meets it.
    let offer = consumer.get(&path(&ours)).await["urn:concordat:offer"].clone();
    let mut wanted = offer.clone();
    wanted["permission"] = json!([{"action": "use", "constraint": [
        {"leftOperand": "count", "operator": "lteq", "rightOperand": "3"}]}]);
    let file = world.folder.path().join("wanted.json");
    std::fs::write(&file, wanted.to_string()).unwrap();
    consumer.text(&["negotiations", "move", &ours, "request", "--policy", file.to_str().unwrap()]);
    reached(&provider, &theirs, "REQUESTED").await;
    let shown = provider.text(&["negotiations", "show", &theirs]);
    assert!(
        shown.contains("the number of uses must be at most 3; before: the number of uses must be at most 10"),
        "{shown}"
    );
    provider.text(&["negotiations", "move", &theirs, "meet"]);
    reached(&consumer, &ours, "OFFERED").await;
    let met = consumer.get(&path(&ours)).await["urn:concordat:terms"].to_string();
    assert!(
        met.contains("at most 3") && met.contains("environmental monitoring") && !met.contains("at most 10"),
        "{met}"
    );
    for (node, pid, name) in [
        (&consumer, &ours, "accept"),
        (&provider, &theirs, "agree"),
        (&consumer, &ours, "verify"),
        (&provider, &theirs, "finalize"),
    ] {
        node.text(&["negotiations", "move", pid, name]);
        let state = match name {
            "accept" => "ACCEPTED",
            "agree" => "AGREED",
            "verify" => "VERIFIED",
            _ => "FINALIZED",
        };
        reached(&consumer, &ours, state).await;
        reached(&provider, &theirs, state).await;
    }
    // What both signed carries its own words.
    let agreement = consumer.get(&path(&ours)).await["contractAgreementId"].as_str().unwrap().to_owned();
    let file = world.folder.path().join("dossier.json");
    consumer.text(&["agreements", "export", &agreement, "-o", file.to_str().unwrap()]);
    let mut dossier: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(dossier["parts"]["urn:concordat:words"][0].as_str().unwrap().contains("at most 3"));
    dossier["parts"]["urn:concordat:words"][0] = json!("allowed: everything");
    std::fs::write(&file, dossier.to_string()).unwrap();
    let checked = consumer.run(&["agreements", "verify", file.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(5));
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("one of them was altered"), "{said}");
}

#[tokio::test]
async fn counter_offers_are_made_from_options() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, ROWS, &["--at-most", "10", "--automation", "manual"]);
    let path = |pid: &str| format!("/v4/contractnegotiations/{}", trust::did::segment(pid));
    let reached = async |node: &Node, pid: &str, state: &str| {
        node.until(&path(pid), |one| one["state"] == state && one.get("urn:concordat:pending").is_none())
            .await
    };
    // What `policy new` writes is asked for as it is: no id, no dataset, no provider, and not of the class Offer.
    let file = world.folder.path().join("wanted.json");
    let written = consumer.run(&["policy", "new", "--at-most", "20", "--purpose", PURPOSE]).stdout;
    std::fs::write(&file, written).unwrap();
    let asked = ["negotiate", &provider.did, DATASET, "--terms", file.to_str().unwrap()];
    let begun = consumer.json(&[&asked[..], &["--automation", "manual", "--no-wait"]].concat());
    let ours = begun["negotiation"].as_str().unwrap().to_owned();
    let first = reached(&consumer, &ours, "REQUESTED").await;
    let theirs = first["correlationId"].as_str().unwrap().to_owned();
    reached(&provider, &theirs, "REQUESTED").await;
    assert!(provider.text(&["negotiations", "show", &theirs]).contains("at most 20"));
    // The provider starts from what it published.
    let said = provider.text(&[
        "negotiations",
        "move",
        &theirs,
        "offer",
        "--at-most",
        "5",
        "--valid-until",
        "2099-12-31Z",
    ]);
    for told in ["at most 5", "2099-12-31", "environmental monitoring", "forbidden: distribute"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert!(!said.contains("at most 10") && !said.contains("at most 20"), "{said}");
    // The consumer starts from what is on the table.
    reached(&consumer, &ours, "OFFERED").await;
    let said = consumer.text(&["negotiations", "move", &ours, "request", "--at-most", "2"]);
    assert!(said.contains("at most 2 ") || said.contains("at most 2\n"), "{said}");
    assert!(said.contains("2099-12-31") && said.contains("forbidden: distribute"), "{said}");
    reached(&provider, &theirs, "REQUESTED").await;
    // A file without id and class is an offer of this negotiation.
    provider.text(&["negotiations", "move", &theirs, "offer", "--terms", file.to_str().unwrap()]);
    let offered = reached(&consumer, &ours, "OFFERED").await;
    let offer = &offered["urn:concordat:offer"];
    assert_eq!((&offer["target"], &offer["assigner"]), (&json!(DATASET), &json!(provider.did)), "{offer}");
    assert!(offered["urn:concordat:terms"].to_string().contains("at most 20"), "{offered}");
    let wrong = consumer.run(&["negotiations", "move", &ours, "accept", "--at-most", "2"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", String::from_utf8_lossy(&wrong.stderr));
    for (node, pid, name) in [
        (&consumer, &ours, "accept"),
        (&provider, &theirs, "agree"),
        (&consumer, &ours, "verify"),
        (&provider, &theirs, "finalize"),
    ] {
        node.text(&["negotiations", "move", pid, name]);
        let state = match name {
            "accept" => "ACCEPTED",
            "agree" => "AGREED",
            "verify" => "VERIFIED",
            _ => "FINALIZED",
        };
        reached(&consumer, &ours, state).await;
        reached(&provider, &theirs, state).await;
    }
}

#[tokio::test]
async fn what_is_hardly_meant_is_warned_of_before_it_is_offered() {
    let world = World::new();
    let node = world.local_node("provider");
    let file = node.data().join("trips.csv");
    std::fs::write(&file, "station,car_hours\nA,5\n").unwrap();
    let publish = |more: &[&str]| {
        let usual = ["publish", file.to_str().unwrap(), "--id", "urn:trips", "--title", "Trips"];
        node.run(&[&usual[..], more].concat())
    };
    for (options, wanted) in [
        (&["--keep", "car_hourz"][..], "the data has no column `car_hourz`; did you mean `car_hours`?"),
        (&["--valid-until", "2001-01-01Z"], "its time is past"),
        (
            &["--purpose", "environmental-monitoring"],
            "did you mean `urn:concordat:purpose:environmental-monitoring`?",
        ),
        (&["--used-in", "Atlantis"], "`Atlantis` (the place of use) is not a term this node knows"),
        (&["--member", "paris.example"], "`paris.example` is not a DID"),
        (&["--only-for", "paris.example"], "`paris.example` is not a DID"),
        (&["--members-of", "space"], "`space` is not an IRI"),
        (&["--license", "CC BY"], "`CC BY` is no IRI"),
    ] {
        let refused = publish(&[options, &["--strict"]].concat());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(5), "{options:?}: {said}");
        assert!(said.contains("nothing was published") && said.contains(wanted), "{options:?}: {said}");
        assert_eq!(node.json(&["offers"]), json!([]), "{options:?}");
    }
    let impossible = publish(&["--valid-until", "2030-02-31"]);
    let said = String::from_utf8_lossy(&impossible.stderr);
    assert!(!impossible.status.success() && said.contains("February 2030 has 28 days"), "{said}");
    // Nobody sits at a terminal: it is told, and done.
    let done = publish(&["--keep", "car_hourz"]);
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("warning: the data has no column `car_hourz`"), "{said}");
    let edited = node.json(&["edit", "urn:trips", "--used-in", "Atlantis"]);
    assert_eq!(edited["warnings"][0]["severity"], "warning", "{edited}");
    let refused = node.run(&["edit", "urn:trips", "--keep", "speed", "--strict"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(5) && said.contains("it has `station`, `car_hours`"), "{said}");
    assert!(node.text(&["offers"]).contains("Atlantis"), "nothing was changed");
    // The same through the management API.
    let policy = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [
        {"leftOperand": "purpose", "operator": "isA", "rightOperand": "environmental-monitoring"}]}]});
    let made = node.post("/v4/policydefinitions", json!({"@id": "urn:p", "policy": policy})).await;
    assert!(made["urn:concordat:warnings"][0].as_str().unwrap().contains("did you mean"), "{made}");
    let open = json!({"@type": "Set", "permission": [{"action": "use"}]});
    let made = node.post("/v4/policydefinitions", json!({"@id": "urn:q", "policy": open})).await;
    assert!(made.get("urn:concordat:warnings").is_none(), "{made}");
}
