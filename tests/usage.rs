//! The terms while data flows: what is counted, what is metered, what must be done, and how fast a stream ends when the
//! answer turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::streams::{broke_off, door, endless, open};
use crate::support::{Node, PURPOSE, Stranger, World, answer};

pub const DATASET: &str = "urn:test:usage";

/// Publishes `source` under `terms` (an ODRL Set) and has `consumer` agree; the agreement's id.
fn agree(world: &World, provider: &Node, consumer: &Node, source: &str, terms: &Value) -> String {
    agree_with(world, provider, consumer, source, terms, &[])
}

/// As [`agree`], with further arguments of `publish`.
pub fn agree_with(
    world: &World,
    provider: &Node,
    consumer: &Node,
    source: &str,
    terms: &Value,
    further: &[&str],
) -> String {
    let file = world.folder.path().join("terms.json");
    std::fs::write(&file, terms.to_string()).unwrap();
    let terms = file.to_str().unwrap();
    let usual = ["publish", source, "--id", DATASET, "--title", "Usage", "--policy", terms];
    provider.json(&[&usual, further].concat());
    let found = consumer.json(&["negotiate", &provider.did, DATASET]);
    assert_eq!(found["state"], "FINALIZED", "{found}");
    found["contractAgreementId"].as_str().unwrap().to_owned()
}

pub fn c(left: &str, operator: &str, right: &str) -> Value {
    json!({"leftOperand": left, "operator": operator, "rightOperand": right})
}

pub fn permission(constraints: &[Value]) -> Value {
    json!({"@type": "Set", "permission": [{"action": "use", "constraint": constraints}]})
}

fn agreement_path(agreement: &str) -> String {
    format!("/v4/contractagreements/{}", trust::did::segment(agreement))
}

async fn duties_until(node: &Node, agreement: &str, done: impl Fn(&Value) -> bool) -> Value {
    node.until(&format!("{}/duties", agreement_path(agreement)), done).await
}

#[tokio::test]
async fn parallel_reads_get_exactly_as_many_as_the_terms_allow() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let file = world.folder.path().join("rows.csv");
    std::fs::write(&file, "row\n").unwrap();
    let terms = permission(&[c("count", "lteq", "7")]);
    let agreement = agree(&world, &provider, &consumer, file.to_str().unwrap(), &terms);
    let door = door(&consumer, &agreement).await;
    let ask = || consumer.client.get(&door.0).bearer_auth(&door.1).send();

    // What cannot be read does not count.
    std::fs::remove_file(&file).unwrap();
    for _ in 0..10 {
        assert_eq!(ask().await.unwrap().status(), 502);
    }
    std::fs::write(&file, "row\n").unwrap();
    let answers = futures_util::future::join_all((0..30).map(|_| ask())).await;
    let served = answers.iter().filter(|one| one.as_ref().is_ok_and(|one| one.status() == 200)).count();
    let refused = answers.iter().filter(|one| one.as_ref().is_ok_and(|one| one.status() == 403)).count();
    assert_eq!((served, refused), (7, 23));
    let (_, said) = answer(ask().await.unwrap()).await;
    let said = said["reason"][0].as_str().unwrap();
    assert!(said.contains("must be at most 7") && said.contains("other terms must be negotiated"), "{said}");
}

#[tokio::test]
async fn a_metered_time_is_shared_by_all_reads_and_survives_a_kill() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let (url, _upstream) = endless(Arc::default()).await;
    let terms = permission(&[c("meteredTime", "lteq", "PT4S")]);
    let agreement = agree(&world, &provider, &consumer, &url, &terms);
    let first_door = door(&consumer, &agreement).await;
    let path = agreement_path(&agreement);

    // Two reads for a second each: two are used up.
    let two = [open(&consumer.client, &first_door).await, open(&consumer.client, &first_door).await];
    let pause = tokio::time::timeout(std::time::Duration::from_secs(1), std::future::pending::<()>());
    assert!(pause.await.is_err());
    drop(two);
    provider.until(&path, |one| one["urn:concordat:reads"] == 0).await;

    // The node dies while the third runs; what it had recorded by then counts, and what it has not is not invented.
    let third = open(&consumer.client, &first_door).await;
    provider.kill();
    drop(third);
    provider.start();
    let used = provider.until(&path, |_| true).await;
    let seconds = used["urn:concordat:meteredSeconds"].as_f64().unwrap();
    assert!((2.0..3.5).contains(&seconds), "{seconds}");

    // The rest ends by itself, on two reads at once, in half the time.
    let rest = [open(&consumer.client, &first_door).await, open(&consumer.client, &first_door).await];
    for read in rest {
        broke_off(read).await;
    }
    provider.until(&path, |one| one["urn:concordat:reads"] == 0).await;
    let used = provider.get(&path).await["urn:concordat:meteredSeconds"].as_f64().unwrap();
    assert!((4.0..4.3).contains(&used), "{used}");
    let refused = consumer.client.get(&first_door.0).bearer_auth(&first_door.1).send().await.unwrap();
    let (status, said) = answer(refused).await;
    assert_eq!(status, 403);
    assert!(said.to_string().contains("the time of use must be at most 4 seconds"), "{said}");
}

#[tokio::test]
async fn a_duty_before_the_use_is_fulfilled_by_a_statement_that_both_keep() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, b"row\n", &["--pay", "5 EUR", "--delete-after", "P30D"]);
    let found = consumer.json(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
    let agreement = found["contractAgreementId"].as_str().unwrap().to_owned();
    let refused = consumer.run(&["pull", &agreement]);
    assert_eq!(refused.status.code(), Some(3));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("to be permitted: do this: compensate"), "{said}");

    let listed = consumer.text(&["duties", "list"]);
    assert!(listed.contains("/permission/0/duty/0") && listed.contains("/obligation/0"), "{listed}");
    let wrong = provider.run(&["duties", "fulfil", &agreement, "/obligation/7", "-s", "x"]);
    assert!(
        String::from_utf8_lossy(&wrong.stderr).contains("its duties are `/permission/0/duty/0`"),
        "{wrong:?}"
    );
    let early = ["--at", "2001-01-01T00:00:00Z"];
    let wrong =
        provider.run(&[&["duties", "fulfil", &agreement, "/obligation/0", "-s", "x"], &early[..]].concat());
    assert!(
        String::from_utf8_lossy(&wrong.stderr).contains("is not between the agreement and now"),
        "{wrong:?}"
    );
    let theirs = consumer.run(&["duties", "infringed", &agreement, "/prohibition/0", "-s", "x"]);
    assert!(String::from_utf8_lossy(&theirs.stderr).contains("is for the provider to state"), "{theirs:?}");

    // Whoever owes the money is heard, but not believed.
    consumer.json(&[
        "duties",
        "fulfil",
        &agreement,
        "/permission/0/duty/0",
        "-s",
        "the cheque is in the post",
    ]);
    let heard = |all: &Value| all[0]["evidence"][0]["statement"] == "the cheque is in the post";
    assert_eq!(duties_until(&provider, &agreement, heard).await[0]["state"], "pending");
    assert_eq!(consumer.run(&["pull", &agreement]).status.code(), Some(3));

    provider.json(&["duties", "fulfil", &agreement, "/permission/0/duty/0", "-s", "received on account 7"]);
    for node in [&provider, &consumer] {
        let duties = duties_until(node, &agreement, |all| all[0]["state"] == "fulfilled").await;
        assert_eq!(duties[0]["evidence"][1]["by"], provider.did);
        assert_eq!(duties[0]["evidence"][1]["statement"], "received on account 7");
        assert_eq!(duties[1]["state"], "pending");
        let due: Timestamp = duties[1]["due"].as_str().unwrap().parse().unwrap();
        assert!(due > "2026-01-01T00:00:00Z".parse().unwrap());
    }
    duties_until(&provider, &agreement, |all| all[0]["evidence"][1]["told"] == "yes").await;
    assert_eq!(consumer.run(&["pull", &agreement]).stdout, b"row\n");

    // A prohibition that was infringed stops the data; this one names nothing that makes it good.
    provider.json(&["duties", "infringed", &agreement, "/prohibition/0", "-s", "found on a public server"]);
    duties_until(&consumer, &agreement, |all| all[2]["state"] == "infringed").await;
    let refused = consumer.run(&["pull", &agreement]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("was infringed: distribute"), "{refused:?}");
}

#[tokio::test]
async fn reports_are_taken_from_the_other_party_only_and_once() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, b"row\n", &["--attribution"]);
    let found = consumer.json(&["negotiate", &provider.did, DATASET, "--purpose", PURPOSE]);
    let agreement = found["contractAgreementId"].as_str().unwrap().to_owned();
    let stranger = Stranger::new(&world);
    let path = format!("/agreements/{}/duties", trust::did::segment(&agreement));
    let now = connector::clock::now().to_string();
    let report = json!({"@id": "urn:r:1", "@type": "urn:concordat:DutyReport", "rule": "/obligation/0",
        "claim": "fulfilled", "at": now, "statement": "done"});
    let (status, said) = stranger.send(&provider, "POST", &path, &report).await;
    assert_eq!(status, 404, "a stranger learns nothing: {said}");
    let (status, _) = stranger.send(&provider, "POST", "/agreements/urn%3Anone/duties", &report).await;
    assert_eq!(status, 404);
    let (status, _) = stranger.send_with(&provider, "POST", &path, report.to_string(), None).await;
    assert!(status == 401 || status == 404, "{status}");

    // The consumer itself, twice with the same id.
    let body = json!({"rule": "/obligation/0", "claim": "fulfilled", "statement": "named on the page"});
    consumer.post(&format!("{}/duties", agreement_path(&agreement)), body).await;
    let told = duties_until(&consumer, &agreement, |all| all[0]["evidence"][0]["told"] == "yes").await;
    let at_provider = duties_until(&provider, &agreement, |all| all[0]["state"] == "fulfilled").await;
    assert_eq!(at_provider[0]["evidence"].as_array().unwrap().len(), 1);
    assert_eq!(at_provider[0]["evidence"][0]["id"], told[0]["evidence"][0]["id"]);
    assert!(provider.events().iter().any(|line| line.contains("states that `/obligation/0` was done")));

    for (change, place) in [
        (json!({"rule": "/obligation/9"}), "/rule"),
        (json!({"claim": "perhaps"}), "claim"),
        (json!({"at": "soon"}), "at"),
        (json!({"statement": "x".repeat(3000)}), "/statement"),
    ] {
        let mut body = json!({"rule": "/obligation/0", "claim": "fulfilled", "statement": "x"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let path = format!("{}/duties", agreement_path(&agreement));
        let (status, said) = consumer.ask("POST", &path, Some(body)).await.unwrap();
        assert!(status == 400 && said.to_string().contains(place), "{status} {said}");
    }
}

#[tokio::test]
async fn a_deadline_that_passes_is_recorded_and_cuts_unless_the_duty_was_done() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let (url, _upstream) = endless(Arc::default()).await;
    let due = |seconds| (connector::clock::now() + SignedDuration::from_secs(seconds)).to_string();
    let owed = |seconds: i64| {
        let mut terms = permission(&[]);
        terms["obligation"] =
            json!([{"action": "inform", "constraint": [c("dateTime", "lteq", &due(seconds))]}]);
        terms
    };
    // Done in time: the stream outlives the deadline.
    let kept = agree(&world, &provider, &consumer, &url, &owed(4));
    let kept_door = door(&consumer, &kept).await;
    consumer.json(&["duties", "fulfil", &kept, "/obligation/0", "-s", "informed by letter"]);
    duties_until(&provider, &kept, |all| all[0]["state"] == "fulfilled").await;
    let outlives = open(&consumer.client, &kept_door).await;
    provider.json(&["unpublish", DATASET]);

    let missed = agree(&world, &provider, &consumer, &url, &owed(4));
    let missed_door = door(&consumer, &missed).await;
    let read = open(&consumer.client, &missed_door).await;
    let cut_at = broke_off(read).await;
    let duties = duties_until(&provider, &missed, |all| all[0]["violatedAt"].is_string()).await;
    let due_at: Timestamp = duties[0]["due"].as_str().unwrap().parse().unwrap();
    assert!(cut_at >= due_at, "{cut_at} {due_at}");
    duties_until(&consumer, &missed, |all| all[0]["state"] == "violated" && all[0]["violatedAt"].is_string())
        .await;
    for node in [&provider, &consumer] {
        assert!(
            node.events()
                .iter()
                .any(|line| line.contains("the duty `/obligation/0` was not done in time: inform"))
        );
    }
    let still = provider.get(&agreement_path(&kept)).await;
    assert_eq!(still["urn:concordat:reads"], 1, "the other one runs: {still}");
    drop(outlives);

    // A deadline that passes while the node is down is recorded when it is up again.
    provider.json(&["unpublish", DATASET]);
    let asleep = agree(&world, &provider, &consumer, &url, &owed(1));
    provider.kill();
    duties_until(&consumer, &asleep, |all| all[0]["state"] == "violated").await;
    provider.start();
    duties_until(&provider, &asleep, |all| all[0]["violatedAt"].is_string()).await;
}

/// A party that states more than is kept of it takes no room of the other's.
#[tokio::test]
async fn neither_party_fills_the_ledger_of_duties_for_the_other() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.configure("duty_statements = 1000", "duty_statements = 3");
    let file = world.folder.path().join("rows.csv");
    std::fs::write(&file, "row\n").unwrap();
    let terms =
        json!({"@type": "Set", "permission": [{"action": "use"}], "obligation": [{"action": "inform"}]});
    let agreement = agree(&world, &provider, &consumer, file.to_str().unwrap(), &terms);
    let state = |node: &Node| node.run(&["duties", "fulfil", &agreement, "/obligation/0", "-s", "by letter"]);
    for _ in 0..5 {
        assert!(state(&consumer).status.success());
    }
    let told = duties_until(&consumer, &agreement, |all| {
        let evidence = all[0]["evidence"].as_array().unwrap();
        evidence.len() == 5 && evidence.iter().all(|one| one["told"] != "pending")
    });
    let refused =
        told.await[0]["evidence"].as_array().unwrap().iter().filter(|one| one["told"] != "yes").count();
    assert_eq!(refused, 2);
    assert!(state(&provider).status.success(), "there is room for its own");
    let kept =
        duties_until(&provider, &agreement, |all| all[0]["evidence"].as_array().unwrap().len() == 4).await;
    let by =
        |did: &str| kept[0]["evidence"].as_array().unwrap().iter().filter(|one| one["by"] == did).count();
    assert_eq!((by(&consumer.did), by(&provider.did)), (3, 1));
}

#[tokio::test]
async fn the_gate_asks_for_what_is_done() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let file = world.folder.path().join("rows.csv");
    std::fs::write(&file, "row\n").unwrap();
    let source = file.to_str().unwrap();
    let rules = |permission: &str, prohibition: &str| {
        let forbidden = if prohibition.is_empty() { json!([]) } else { json!([{"action": prohibition}]) };
        json!({"@type": "Set", "permission": [{"action": permission}], "prohibition": forbidden})
    };
    for (number, (terms, status)) in [
        (rules("use", ""), 200),
        (rules("read", ""), 200),
        (rules("use", "stream"), 200),
        (rules("use", "read"), 403),
        (rules("stream", ""), 403),
        (rules("distribute", ""), 403),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("{DATASET}:{number}");
        let terms_file = world.folder.path().join("terms.json");
        std::fs::write(&terms_file, terms.to_string()).unwrap();
        let path = terms_file.to_str().unwrap();
        provider.json(&["publish", source, "--id", &id, "--title", "Usage", "--policy", path]);
        let agreed = consumer.json(&["negotiate", &provider.did, &id]);
        let agreement = agreed["contractAgreementId"].as_str().unwrap();
        let door = door(&consumer, agreement).await;
        let read = consumer.client.get(&door.0).bearer_auth(&door.1).send().await.unwrap();
        let (found, said) = answer(read).await;
        assert_eq!(found, status, "{terms}: {said}");
        // Following is another thing than reading.
        let follow = consumer.client.get(&door.0).bearer_auth(&door.1).header("accept", "text/event-stream");
        let (found, said) = answer(follow.send().await.unwrap()).await;
        if ["read", "distribute"].contains(&terms["permission"][0]["action"].as_str().unwrap())
            || terms["prohibition"][0]["action"] == "stream"
        {
            assert_eq!(found, 403, "{terms}: {said}");
            assert!(said["reason"][0].as_str().unwrap().contains("stream"), "{said}");
        }
    }
}

#[test]
fn operands_that_are_not_understood_are_named_when_they_are_published() {
    let world = World::new();
    let node = world.local_node("provider");
    let file = world.folder.path().join("rows.csv");
    std::fs::write(&file, "row\n").unwrap();
    let terms = world.folder.path().join("terms.json");
    let publish = |id: &str, constraints: &[Value]| {
        std::fs::write(&terms, permission(constraints).to_string()).unwrap();
        let said = [
            "publish",
            file.to_str().unwrap(),
            "--id",
            id,
            "--title",
            "x",
            "--policy",
            terms.to_str().unwrap(),
        ];
        node.json(&said)["notUnderstood"].clone()
    };
    let strange = publish("urn:test:strange", &[c("moonPhase", "eq", "full")]);
    assert!(strange[0].as_str().unwrap().contains("`moonPhase` is not an operand"), "{strange}");
    assert_eq!(
        publish("urn:test:catena", &[c("Membership", "eq", "active"), c("UsagePurpose", "eq", "x")]),
        json!([])
    );
}

/// Which data spaces' operands are understood is the operator's to say.
#[tokio::test]
async fn the_operands_of_a_data_space_are_switched_by_its_name() {
    let world = World::new();
    let mut node = world.local_node("provider");
    let strange = |node: &Node, id: &str, operand: &str| {
        let terms = world.folder.path().join("terms.json");
        std::fs::write(&terms, permission(&[c(operand, "eq", "active")]).to_string()).unwrap();
        let file = node.data().join("rows.csv");
        std::fs::write(&file, "row\n").unwrap();
        let said = ["publish", file.to_str().unwrap(), "--id", id, "--title", "x", "--policy"];
        node.json(&[&said[..], &[terms.to_str().unwrap()]].concat())["notUnderstood"].to_string()
    };
    assert_eq!(strange(&node, "urn:test:1", "Membership"), "[]");
    node.configure("[policy]\n", "[policy]\nspaces = [\"edc\"]\n");
    assert!(strange(&node, "urn:test:2", "Membership").contains("`Membership` is not an operand"));
    node.stop();
    let file = node.dir.join("concordat.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("[\"edc\"]", "[\"edc2\"]");
    std::fs::write(&file, text).unwrap();
    let refused = node.run(&["serve"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("`edc2` is none of the shipped ones: catena-x, "),
        "{said}"
    );
}

/// Programs that publish and negotiate learn it from the node: in its log of events and in the negotiation's history.
#[tokio::test]
async fn operands_that_are_not_understood_are_named_to_programs() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let terms = permission(&[c("moonPhase", "eq", "full")]);
    let policy = json!({"@id": "urn:test:moon", "policy": terms});
    let (status, said) = provider.ask("POST", "/v4/policydefinitions", Some(policy)).await.unwrap();
    assert_eq!(status, 200, "{said}");
    let named = |text: &str| {
        text.contains("may never permit a read") && text.contains("`moonPhase` is not an operand")
    };
    assert!(provider.events().iter().any(|line| named(line)), "{:?}", provider.events());
    let file = provider.data().join("rows.csv");
    std::fs::write(&file, "row\n").unwrap();
    let asset =
        json!({"@id": "urn:test:rows", "properties": {}, "dataAddress": {"type": "File", "path": file}});
    provider.post("/v4/assets", asset).await;
    let offer = json!({"@id": "urn:test:offer", "accessPolicyId": "urn:test:moon", "contractPolicyId": "urn:test:moon",
        "assetsSelector": []});
    let everybody =
        json!({"@id": "urn:test:all", "policy": {"@type": "Set", "permission": [{"action": "access"}]}});
    provider.post("/v4/policydefinitions", everybody).await;
    let mut offer = offer;
    offer["accessPolicyId"] = json!("urn:test:all");
    provider.post("/v4/contractdefinitions", offer).await;
    let catalog = consumer.json(&["catalog", &provider.did]);
    let mut asked = catalog["dataset"][0]["hasPolicy"][0].clone();
    asked["target"] = json!("urn:test:rows");
    asked["assigner"] = json!(provider.did);
    let request = json!({"@type": "ContractRequest", "counterPartyId": provider.did,
        "counterPartyAddress": format!("{}/dsp/2025-1", provider.address),
        "protocol": "dataspace-protocol-http:2025-1", "policy": asked});
    let begun = consumer.post("/v4/contractnegotiations", request).await;
    let path = format!("/v4/contractnegotiations/{}", trust::did::segment(begun["@id"].as_str().unwrap()));
    let shown = consumer.get(&path).await;
    assert!(named(&shown.to_string()), "{shown}");
}

/// Requests that arrive while the agreement ends: whichever is first, nothing of it runs on.
#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_that_ends_gets_no_transfer_that_outlives_it() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let file = world.folder.path().join("rows.csv");
    std::fs::write(&file, "row\n").unwrap();
    let agreement = agree(&world, &provider, &consumer, file.to_str().unwrap(), &permission(&[]));
    let start = json!({"@type": "TransferRequest", "contractId": agreement, "transferType": "HttpData-PULL"});
    let asked = futures_util::future::join_all(
        (0..40).map(|_| consumer.ask("POST", "/v4/transferprocesses", Some(start.clone()))),
    );
    let path = format!("{}/end", agreement_path(&agreement));
    let end = provider.ask("POST", &path, Some(json!({"reason": "enough"})));
    let (asked, ended) = tokio::join!(asked, end);
    assert_eq!(ended.unwrap().0, 200);
    assert!(asked.iter().any(|one| one.as_ref().is_ok_and(|(status, _)| *status == 200)), "{asked:?}");
    for node in [&provider, &consumer] {
        let over = |one: &Value| one["state"] == "TERMINATED";
        node.until("/v4/identity", |_| {
            let listed = node.json(&["transfers", "list", "--limit", "200"]);
            listed.as_array().unwrap().iter().all(over)
        })
        .await;
    }
}

#[tokio::test]
async fn terms_of_the_configuration_count_at_negotiation_and_bad_ones_are_named() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let purpose = |name: &str| format!("https://city.example/purpose/{name}");
    provider.json(&[
        "publish",
        "/dev/null",
        "--id",
        DATASET,
        "--title",
        "Usage",
        "--purpose",
        &purpose("safety"),
    ]);
    let ask = || consumer.run(&["negotiate", &provider.did, DATASET, "--purpose", &purpose("flood-warning")]);
    let refused = ask();
    assert_eq!(refused.status.code(), Some(3), "nothing says that it is a kind of safety: {refused:?}");
    provider.stop();
    let config = provider.dir.join("concordat.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[policy]\nterms = []", "[policy]\nterms = [\"terms.json\"]"))
        .unwrap();
    let terms = provider.dir.join("terms.json");
    std::fs::write(&terms, json!({"broader": [[purpose("flood-warning")]]}).to_string()).unwrap();
    let failed = provider.run(&["serve"]);
    assert!(
        String::from_utf8_lossy(&failed.stderr).contains("/broader/0: must be a pair of strings"),
        "{failed:?}"
    );
    std::fs::write(&terms, json!({"broader": [[purpose("flood-warning"), purpose("safety")]]}).to_string())
        .unwrap();
    provider.start();
    let agreed = consumer.run(&["negotiate", &provider.did, DATASET, "--purpose", &purpose("flood-warning")]);
    assert_eq!(agreed.status.code(), Some(0), "{agreed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_of_a_node_end_about_as_fast_as_plain_connections_are_told() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    // Others share the machine: the best of five rounds counts.
    for _ in 0..5 {
        let took = end_a_thousand().await;
        let plain = tell_a_thousand().await.max(SignedDuration::from_millis(1));
        eprintln!(
            "1,000 streams ended {took:#} after the agreement, 1,000 plain connections were told in {plain:#}"
        );
        // A node decides, writes down and encrypts beside; going through the streams on some tick would cost more.
        if took < plain * 100 {
            return;
        }
    }
    panic!("much slower than plain connections in each of five rounds");
}

/// From a word to the last of a thousand readers at plain connections, written to by a task each that waits for the word.
#[expect(clippy::disallowed_methods, reason = "the test's own clock")]
async fn tell_a_thousand() -> SignedDuration {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (word, _keep) = tokio::sync::watch::channel(());
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let (reader, accepted) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        let (mut reader, (mut writer, _)) = (reader.unwrap(), accepted.unwrap());
        let mut heard = word.subscribe();
        tokio::spawn(async move {
            heard.changed().await.unwrap();
            writer.write_all(b"x").await.unwrap();
        });
        readers.spawn(async move {
            reader.read_u8().await.unwrap();
            Timestamp::now()
        });
    }
    let said = Timestamp::now();
    word.send_replace(());
    let mut last = said;
    while let Some(at) = readers.join_next().await {
        last = last.max(at.unwrap());
    }
    last.duration_since(said)
}

/// Opens `each` reads at each of `doors`, over connections that carry 200 of them; HTTP/2 takes no more on one.
async fn open_at(world: &World, doors: &[(String, String)], each: usize) -> Vec<reqwest::Response> {
    let mut wanted = doors.iter().flat_map(|door| std::iter::repeat_n(door, each)).peekable();
    let mut reads = Vec::new();
    while wanted.peek().is_some() {
        let client = world.client();
        // The first one makes the connection.
        reads.push(open(&client, wanted.next().unwrap()).await);
        let others = wanted.by_ref().take(199).map(|door| open(&client, door));
        reads.extend(futures_util::future::join_all(others.collect::<Vec<_>>()).await);
    }
    reads
}

/// From `turned` to the end of the last of `reads`.
async fn last_of(mut reads: tokio::task::JoinSet<Timestamp>, turned: Timestamp) -> SignedDuration {
    let mut last = turned;
    while let Some(at) = reads.join_next().await {
        last = last.max(at.unwrap());
    }
    last.duration_since(turned)
}

fn watched(reads: Vec<reqwest::Response>) -> tokio::task::JoinSet<Timestamp> {
    reads.into_iter().map(broke_off).collect()
}

async fn end_a_thousand() -> SignedDuration {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let readers = Arc::new(AtomicUsize::new(0));
    let (url, _upstream) = endless(Arc::clone(&readers)).await;
    let agreement = agree(&world, &provider, &consumer, &url, &permission(&[]));
    let door = door(&consumer, &agreement).await;
    let reads = watched(open_at(&world, &[door], 1000).await);
    assert_eq!(readers.load(Ordering::SeqCst), 1000);
    let ended =
        provider.post(&format!("{}/end", agreement_path(&agreement)), json!({"reason": "enough"})).await;
    let turned: Timestamp = ended["urn:concordat:ended"]["at"].as_str().unwrap().parse().unwrap();
    last_of(reads, turned).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_under_fifty_agreements_that_end_in_one_instant_are_cut_together() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    // Long enough to open them all before, which takes longer on a slow machine.
    let mut lead = SignedDuration::from_secs(8);
    let mut rounds = 0;
    while rounds < 5 {
        let Some((took, heard)) = cut_fifty_agreements(lead).await else {
            assert!(lead < SignedDuration::from_secs(120), "the streams are not open in {lead:#}");
            lead *= 2;
            continue;
        };
        rounds += 1;
        let plain = tell_a_thousand().await;
        eprintln!(
            "1,000 streams under 50 agreements were cut {took:#} after their end, which their readers heard after {heard:#}; \
             1,000 plain connections: {plain:#}"
        );
        // Others share the machine: the best of the rounds counts.
        // An unoptimised build takes a multiple of what a release does, which must keep to the promise itself.
        let slow =
            if std::env::var("CONCORDAT_UNDER_TEST").is_ok() { SignedDuration::ZERO } else { plain * 10 };
        if took <= SignedDuration::from_millis(100).max(slow) {
            return;
        }
    }
    panic!("not within 100 ms in each of {rounds} rounds");
}

/// When each of the provider's streams was cut, as its audit log says.
async fn cuts(provider: &Node) -> Vec<Timestamp> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = provider.get(&format!("/v4/events/log?limit=1000&after={after}")).await;
        let Some(last) = page.as_array().unwrap().last() else { return found };
        after = last["id"].as_str().unwrap().to_owned();
        let all = page.as_array().unwrap().iter();
        let cut = all.filter(|one| one["text"].as_str().unwrap().contains("then it was cut"));
        found.extend(cut.map(|one| one["at"].as_str().unwrap().parse::<Timestamp>().unwrap()));
    }
}

/// How long after the end of fifty agreements the last of a thousand streams is cut, and its reader hears it; `None` where `lead` is too short to open
/// them all before.
#[expect(clippy::disallowed_methods, reason = "the test's own clock")]
async fn cut_fifty_agreements(lead: SignedDuration) -> Option<(SignedDuration, SignedDuration)> {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let readers = Arc::new(AtomicUsize::new(0));
    let (url, _upstream) = endless(Arc::clone(&readers)).await;
    let end = Timestamp::now() + lead;
    agree(&world, &provider, &consumer, &url, &permission(&[c("dateTime", "lteq", &end.to_string())]));
    let address = format!("{}/dsp/2025-1", provider.address);
    let asked = json!({"counterPartyAddress": address, "counterPartyId": provider.did});
    let catalog = consumer.post("/v4/catalog/request", asked).await;
    let mut policy = catalog["dataset"][0]["hasPolicy"][0].clone();
    policy["assigner"] = json!(provider.did);
    policy["target"] = json!(DATASET);
    let ask = json!({"policy": policy, "counterPartyAddress": address});
    let id = |one: &Value| trust::did::segment(one["@id"].as_str().unwrap());
    let begun = (0..50).map(|_| consumer.post("/v4/contractnegotiations", ask.clone()));
    let (mut started, mut agreements) = (Vec::new(), Vec::new());
    for one in futures_util::future::join_all(begun).await {
        let path = format!("/v4/contractnegotiations/{}", id(&one));
        let agreed = consumer.until(&path, |one| one["state"] == "FINALIZED").await;
        let transfer = json!({"contractId": agreed["contractAgreementId"], "transferType": "HttpData-PULL"});
        agreements.push(agreed["contractAgreementId"].as_str().unwrap().to_owned());
        started.push(consumer.post("/v4/transferprocesses", transfer).await);
    }
    let mut doors = Vec::new();
    for one in &started {
        consumer.until(&format!("/v4/transferprocesses/{}", id(one)), |one| one["state"] == "STARTED").await;
        let address = consumer.get(&format!("/v4/edrs/{}/dataaddress", id(one))).await;
        doors.push(
            ["endpoint", "authorization"].map(|name| address[name].as_str().unwrap().to_owned()).into(),
        );
    }
    let enough = end - SignedDuration::from_secs(3);
    if Timestamp::now() > enough {
        return None;
    }
    let reads = tokio::time::timeout(
        std::time::Duration::try_from(end.duration_since(Timestamp::now())).unwrap(),
        open_at(&world, &doors, 20),
    );
    let reads = reads.await.ok()?;
    assert_eq!(readers.load(Ordering::SeqCst), 1000);
    // Readers and source have machines of their own elsewhere; here they wait for the node, where that is allowed.
    let pid = provider.process_id().to_string();
    let _ = std::process::Command::new("renice").args(["-n", "-10", "-p", &pid]).output();
    let heard = last_of(watched(reads), end).await;
    // The node's own record of each.
    for agreement in &agreements {
        provider.until(&agreement_path(agreement), |one| one["urn:concordat:requests"] == 20).await;
    }
    let cut = cuts(&provider).await;
    assert_eq!(cut.len(), 1000);
    let last = cut.into_iter().max().unwrap().duration_since(end);
    Some((last, heard))
}

#[tokio::test]
async fn what_is_read_when_a_node_stops_is_metered_to_the_last_byte() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let readers = Arc::new(AtomicUsize::new(0));
    let (url, _upstream) = endless(Arc::clone(&readers)).await;
    let agreement = agree(&world, &provider, &consumer, &url, &permission(&[c("count", "lteq", "50")]));
    let door = door(&consumer, &agreement).await;
    let reads = watched(open_at(&world, &[door], 20).await);
    provider.stop();
    last_of(reads, Timestamp::UNIX_EPOCH).await;
    provider.start();
    provider.client = world.client();
    let found = provider.get(&agreement_path(&agreement)).await;
    assert_eq!(found["urn:concordat:requests"], 20, "{found}");
    assert_eq!(found["urn:concordat:bytes"], 20 * "row\n".len(), "{found}");
}
