//! Data about persons: consents through operators, row by row; withdrawal, deletion, requests; and whoever lies about them.

use std::path::PathBuf;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use trust::Statement;

use crate::mim::{CAPABILITIES, SPECIFICATION, expect, row};
use crate::streams::door;
use crate::support::{Node, Stranger, World, answer};
use crate::usage::{DATASET, agree_with, c, permission};

const RESEARCH: &str = "https://w3id.org/dpv#ScientificResearch";
const GIVEN: &str = "concordat-consent+jwt";
const WITHDRAWN: &str = "concordat-consent-withdrawal+jwt";
const ASKED: &str = "concordat-subject-request+jwt";

/// A statement of an operator for `to`, with an id of its own.
pub fn statement(operator: &Stranger, to: &str, kind: &str, stated: Value) -> String {
    let made = Statement {
        by: operator.did.clone(),
        to: to.to_owned(),
        id: connector::ids::urn(),
        at: connector::clock::now(),
        stated,
    };
    made.sign(&operator.key, &operator.kid, kind).unwrap()
}

/// Posts a statement to what operators call.
pub async fn post(node: &Node, path: &str, statement: &str) -> (u16, Value) {
    let url = format!("{}/personal/{path}", node.address);
    answer(node.client.post(url).body(statement.to_owned()).send().await.unwrap()).await
}

/// A holder of trips, a researcher with an agreement about them, and an operator on the holder's list.
struct Trips {
    world: World,
    holder: Node,
    researcher: Node,
    operator: Stranger,
    agreement: String,
}

const ROWS: &str =
    "rider,start,minutes,bike\nanna,Plaza,12,b1\nben,Dock,7,b2\nanna,Mill,30,b3\ncleo,Gate,5,b4\n";

fn described(world: &World) -> PathBuf {
    let file = world.folder.path().join("personal.json");
    let said = json!({"subject": "rider", "processing": ["https://w3id.org/dpv#Share"], "attributes": {
        "rider": {"category": "https://w3id.org/dpv/pd#Identifier"},
        "start": {"category": "https://w3id.org/dpv/pd#Location"},
        "minutes": {"category": "https://w3id.org/dpv/pd#TravelHistory"}}});
    std::fs::write(&file, said.to_string()).unwrap();
    file
}

impl Trips {
    fn new(terms: &Value) -> Self {
        Self::described(terms, described, "trips.csv", ROWS, &[])
    }

    /// With a description of persons, and the source below the world's folder with `content`; for a folder of files, the name
    /// of one in it.
    fn described(
        terms: &Value,
        personal: impl FnOnce(&World) -> PathBuf,
        source: &str,
        content: &str,
        further: &[&str],
    ) -> Self {
        let world = World::new();
        let (mut holder, researcher) = (world.local_node("holder"), world.local_node("researcher"));
        let operator = Stranger::new(&world);
        holder.configure("operators = []", &format!("operators = [\"{}\"]", operator.did));
        let file = world.folder.path().join(source);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, content).unwrap();
        let shared = if further.contains(&"--tail") { file.parent().unwrap() } else { &file };
        let personal = personal(&world);
        let further = [&["--personal", personal.to_str().unwrap()], further].concat();
        let agreement = agree_with(&world, &holder, &researcher, shared.to_str().unwrap(), terms, &further);
        Self { world, holder, researcher, operator, agreement }
    }

    fn of_research() -> Self {
        Self::new(&permission(&[c("purpose", "eq", RESEARCH)]))
    }

    async fn give(&self, subject: &str, attributes: &[&str]) -> (u16, Value) {
        let consent = json!({"subject": subject, "purposes": [RESEARCH], "recipients": [self.researcher.did],
            "attributes": attributes, "notice": "https://operator.example/notice"});
        let made = statement(&self.operator, &self.holder.did, GIVEN, json!({"consents": [consent]}));
        post(&self.holder, "consents", &made).await
    }

    async fn withdraw(&self, stated: Value) -> (u16, Value) {
        post(&self.holder, "withdrawals", &statement(&self.operator, &self.holder.did, WITHDRAWN, stated))
            .await
    }

    async fn ask(&self, kind: &str, subject: &str) -> (u16, Value) {
        let stated = json!({"kind": kind, "subject": subject, "note": "please"});
        post(&self.holder, "requests", &statement(&self.operator, &self.holder.did, ASKED, stated)).await
    }

    async fn rows(&self) -> String {
        let (url, token) = door(&self.researcher, &self.agreement).await;
        let answer = self.researcher.client.get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    }
}

const HEADER: &str = "rider,start,minutes,bike\n";

#[tokio::test]
async fn rows_go_as_far_as_persons_permit() {
    let trips = Trips::of_research();
    assert_eq!(trips.rows().await, HEADER, "nobody has permitted anything");
    let (status, given) = trips.give("anna", &[]).await;
    assert_eq!(status, 201, "{given}");
    trips.give("ben", &["rider", "minutes"]).await;
    assert_eq!(
        trips.rows().await,
        format!("{HEADER}anna,Plaza,12,b1\nben,,7,b2\nanna,Mill,30,b3\n"),
        "all of anna, of ben not where, nothing of cleo"
    );
    // Counts are written when a read has ended.
    trips.holder.until("/v4/mim", |found| row(found, CAPABILITIES, "7")["met"] == "M").await;
    let found = trips.holder.json(&["mim"]);
    expect(&found, "M", &[(CAPABILITIES, &["6", "7", "10"]), (SPECIFICATION, &["A.III", "A.VI"])]);
    expect(&found, "able, not exercised", &[(CAPABILITIES, &["4", "5", "9"])]);
    expect(&found, "N", &[(SPECIFICATION, &["A.VII", "4.1"])]);
    // The receipt holds, is the holder's, and names nobody.
    let receipt = given["receipts"][0]["receipt"].as_str().unwrap();
    let claimed = trust::statement::Claimed::read(receipt, "concordat-consent-receipt+jwt", 16_384).unwrap();
    assert_eq!(claimed.by(), trips.holder.did);
    let receipt = claimed.stated().unwrap();
    assert_eq!(receipt["schema_version"], "ISO/IEC TS 27560:2023");
    assert_eq!(receipt["pii_processing"]["purposes"][0]["purpose"], RESEARCH);
    assert!(!receipt.to_string().contains("anna"));
    // The consumer sees that it happens.
    let (url, token) = door(&trips.researcher, &trips.agreement).await;
    let answer = trips.researcher.client.get(url).bearer_auth(token).send().await.unwrap();
    let applied = answer.headers()["concordat-applied"].to_str().unwrap().to_owned();
    assert!(applied.contains("rider") && applied.contains("permits"), "{applied}");
    assert!(trips.holder.text(&["personal", "consents"]).contains("given"));
    let ledger = trips.holder.json(&["personal", "consents"]).to_string();
    assert!(ledger.contains(RESEARCH) && !ledger.contains("anna"), "{ledger}");
}

#[tokio::test]
async fn a_withdrawal_counts_at_once_and_the_recipient_confirms_that_it_deleted() {
    let mut trips = Trips::of_research();
    trips.give("anna", &[]).await;
    trips.give("ben", &[]).await;
    trips.rows().await;
    let stranger = Stranger::new(&trips.world);
    let forged = statement(&stranger, &trips.holder.did, WITHDRAWN, json!({"subject": "anna"}));
    assert_eq!(post(&trips.holder, "withdrawals", &forged).await.0, 401, "an operator off the list");
    // A kill forgets nobody, whether or not it was written yet who was among the rows.
    trips.holder.kill();
    trips.holder.start();
    trips.holder.client = trips.world.client();
    let (status, withdrawn) = trips.withdraw(json!({"subject": "anna"})).await;
    assert_eq!((status, withdrawn["receipts"][0]["state"].as_str()), (200, Some("withdrawn")), "{withdrawn}");
    assert_eq!(trips.rows().await, format!("{HEADER}ben,Dock,7,b2\n"));
    let again = trips.withdraw(json!({"subject": "anna"})).await;
    assert_eq!((again.0, again.1["receipts"].as_array().unwrap().len()), (200, 0), "there is nothing left");
    // The agreement stands.
    let standing = trips.holder.json(&["agreements", "show", &trips.agreement]);
    assert!(standing.get("urn:concordat:ended").is_none_or(Value::is_null), "{standing}");

    let due =
        trips.researcher.until("/v4/personal/deletions", |all| !all.as_array().unwrap().is_empty()).await;
    assert_eq!(due[0]["about"]["values"], json!(["anna"]), "{due}");
    assert_eq!(due.as_array().unwrap().len(), 1, "told once");
    let table = trips.researcher.text(&["personal", "deletions"]);
    assert!(table.contains("this node") && table.contains("anna"), "{table}");
    let notice = due[0]["notice"].as_str().unwrap();
    trips.researcher.text(&["personal", "deleted", notice, "--statement", "removed from the warehouse"]);
    let refused = trips.researcher.run(&["personal", "deleted", notice, "--statement", "again"]);
    assert_eq!(refused.status.code(), Some(3), "twice");
    let confirmed = trips.holder.until("/v4/personal/deletions", |all| !all[0]["confirmed"].is_null()).await;
    assert_eq!(confirmed[0]["ours"], false);
    // Persons are in no log.
    for node in [&trips.holder, &trips.researcher] {
        let log = format!("{}{}", node.log(), node.events().join("\n"));
        assert!(log.contains("withdrawn") || log.contains("permits no more"), "{log}");
        assert!(!log.contains("anna") && !log.contains("ben"), "{log}");
    }
    // Nor is the name in what the holder keeps, other than in the data itself.
    trips.holder.stop();
    for folder in ["store", "keys"] {
        for file in walk(&trips.holder.dir.join(folder)) {
            let bytes = std::fs::read(&file).unwrap();
            assert!(!bytes.windows(4).any(|four| four == b"anna"), "{}", file.display());
        }
    }
    trips.holder.start();
}

fn walk(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test]
async fn a_pseudonym_is_asked_back_as_the_recipient_knows_it() {
    let hidden = json!({"@type": "Set", "permission": [{"action": "use", "refinement": [
        {"leftOperand": "urn:concordat:data:pseudonymise", "operator": "eq", "rightOperand": "rider"}],
        "constraint": [c("purpose", "eq", RESEARCH)]}]});
    let trips = Trips::new(&hidden);
    trips.give("anna", &[]).await;
    let rows = trips.rows().await;
    let pseudonym = rows.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert!(pseudonym.len() == 32, "{rows}");
    trips.withdraw(json!({"subject": "anna"})).await;
    let due =
        trips.researcher.until("/v4/personal/deletions", |all| !all.as_array().unwrap().is_empty()).await;
    assert_eq!(due[0]["about"]["values"], json!([pseudonym]));
}

const BY_HOUR: &str = "rider,start,minutes,at\nanna,Plaza,10,2026-01-01T00:05:00Z\nben,Dock,20,2026-01-01T00:10:00Z\n\
    cleo,Gate,30,2026-01-01T00:15:00Z\ndora,Mill,60,2026-01-01T00:20:00Z\nemil,Mill,600,2026-01-01T00:25:00Z\n\
    anna,Plaza,1,2026-01-01T01:05:00Z\nben,Dock,2,2026-01-01T01:10:00Z\ncleo,Gate,3,2026-01-01T01:15:00Z\n";
const GROUPS: &str = "at,minutes.mean,rows\n";

/// Trips by hour, of at least three riders.
fn by_hour() -> Trips {
    let refine = |what: &str, right: &str| json!({"leftOperand": format!("urn:concordat:data:{what}"), "operator": "eq", "rightOperand": right});
    let terms = json!({"@type": "Set", "permission": [{"action": "use",
        "refinement": [refine("aggregate:at", "PT1H"), refine("mean", "minutes"), refine("minimum-group", "3")],
        "constraint": [c("purpose", "eq", RESEARCH)]}]});
    Trips::described(&terms, described, "trips.csv", BY_HOUR, &[])
}

#[tokio::test]
async fn a_group_does_not_tell_who_came_or_withdrew() {
    let mut trips = by_hour();
    for rider in ["anna", "ben"] {
        trips.give(rider, &[]).await;
    }
    assert_eq!(trips.rows().await, GROUPS, "two are too few");
    trips.give("cleo", &["rider"]).await;
    trips.give("dora", &[]).await;
    let first = format!("{GROUPS}2026-01-01T00:00:00Z,30.0,4\n2026-01-01T01:00:00Z,,3\n");
    assert_eq!(trips.rows().await, first, "cleo's minutes are nobody's: in the second hour too few are left");
    trips.give("emil", &[]).await;
    assert_eq!(trips.rows().await, first, "who came is not told");
    trips.holder.kill();
    trips.holder.start();
    trips.holder.client = trips.world.client();
    assert_eq!(trips.rows().await, first, "nor after a kill");
    trips.withdraw(json!({"subject": "dora"})).await;
    let second = format!("{GROUPS}2026-01-01T01:00:00Z,,3\n");
    assert_eq!(trips.rows().await, second, "nor who withdrew: the group is not told at all");
    let left = agree_again(&trips);
    let (url, token) = door(&trips.researcher, &left).await;
    let again = trips.researcher.client.get(url).bearer_auth(token).send().await.unwrap();
    assert_eq!(again.text().await.unwrap(), second, "nor under another agreement with the same terms");
    // Nothing that is kept names anybody.
    trips.holder.stop();
    for file in walk(&trips.holder.dir.join("store")) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(4).any(|four| four == b"dora"), "{}", file.display());
    }
    trips.holder.start();
}

/// Another agreement of the same two about the same dataset.
fn agree_again(trips: &Trips) -> String {
    let found = trips.researcher.json(&["negotiate", &trips.holder.did, DATASET]);
    assert_eq!(found["state"], "FINALIZED", "{found}");
    found["contractAgreementId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn groups_of_which_it_is_forgotten_what_was_told_are_told_no_more() {
    let mut trips = by_hour();
    trips.holder.configure("most_groups = 100000", "most_groups = 1");
    trips.holder.client = trips.world.client();
    for rider in ["anna", "ben", "cleo"] {
        trips.give(rider, &[]).await;
    }
    let hours = ["2026-01-01T00:00:00Z,20.0,3\n", "2026-01-01T01:00:00Z,2.0,3\n"];
    assert_eq!(trips.rows().await, format!("{GROUPS}{}{}", hours[0], hours[1]));
    assert_eq!(trips.rows().await, format!("{GROUPS}{}", hours[1]), "the older one was forgotten");
}

#[tokio::test]
async fn statements_that_are_forged_old_foreign_or_repeated_change_nothing() {
    let trips = Trips::of_research();
    let consent = json!({"consents": [{"subject": "anna", "purposes": [RESEARCH], "recipients": [trips.researcher.did]}]});
    let stranger = Stranger::new(&trips.world);
    let off_the_list = statement(&stranger, &trips.holder.did, GIVEN, consent.clone());
    let elsewhere = statement(&trips.operator, &trips.researcher.did, GIVEN, consent.clone());
    let another_kind = statement(&trips.operator, &trips.holder.did, ASKED, consent.clone());
    let mut torn = statement(&trips.operator, &trips.holder.did, GIVEN, consent.clone());
    torn.replace_range(torn.len() - 6.., "AAAAAA");
    let signed_by_another = {
        let made = Statement {
            by: trips.operator.did.clone(),
            to: trips.holder.did.clone(),
            id: connector::ids::urn(),
            at: connector::clock::now(),
            stated: consent.clone(),
        };
        made.sign(&stranger.key, &trips.operator.kid, GIVEN).unwrap()
    };
    let old = |seconds: i64| {
        let at = jiff::Timestamp::from_second(connector::clock::now().as_second() - seconds).unwrap();
        let made = Statement {
            by: trips.operator.did.clone(),
            to: trips.holder.did.clone(),
            id: connector::ids::urn(),
            at,
            stated: consent.clone(),
        };
        made.sign(&trips.operator.key, &trips.operator.kid, GIVEN).unwrap()
    };
    for (what, made) in [
        ("an operator off the list", off_the_list),
        ("for another holder", elsewhere),
        ("another kind of statement", another_kind),
        ("torn", torn),
        ("signed by another", signed_by_another),
        ("old", old(3700)),
        ("from the future", old(-120)),
        ("no statement", "hello".to_owned()),
    ] {
        let (status, said) = post(&trips.holder, "consents", &made).await;
        assert_eq!(status, 401, "{what}: {said}");
    }
    let nobody = json!({"consents": [{"subject": "anna", "purposes": [], "recipients": ["did:web:x"]}]});
    let (status, said) =
        post(&trips.holder, "consents", &statement(&trips.operator, &trips.holder.did, GIVEN, nobody)).await;
    assert_eq!(status, 400);
    assert!(said["reason"].as_str().unwrap().contains("/consents/0/purposes"), "{said}");
    // Words that no agreement could name get no receipt, and one of them is enough for none of the statement.
    let fine = json!({"subject": "anna", "purposes": [RESEARCH], "recipients": [trips.researcher.did]});
    for (field, word, would_do) in [
        ("purposes", "research", "`research` is not an IRI; give one such as `https://w3id.org/dpv#"),
        ("recipients", "roads", "`roads` is not a DID; give one such as `did:web:"),
        ("datasets", "trips", "`trips` is neither an IRI nor the id of a dataset of this node"),
    ] {
        let mut wrong = fine.clone();
        wrong[field] = json!([word]);
        let stated = json!({"consents": [fine, wrong]});
        let made = statement(&trips.operator, &trips.holder.did, GIVEN, stated);
        let (status, said) = post(&trips.holder, "consents", &made).await;
        let reason = said["reason"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{said}");
        assert!(reason.contains(&format!("/consents/1/{field}/0")) && reason.contains(would_do), "{said}");
        if field != "datasets" {
            let (status, said) = trips.withdraw(json!({"subject": "anna", field: [word]})).await;
            assert!(status == 400 && said["reason"].as_str().unwrap().contains(would_do), "{said}");
        }
    }
    assert_eq!(trips.rows().await, HEADER);
    assert_eq!(trips.holder.get("/v4/personal/consents").await, json!([]));

    // A repeated consent is one consent; repeated after the withdrawal, it brings nothing back.
    let made = statement(&trips.operator, &trips.holder.did, GIVEN, consent);
    let first = post(&trips.holder, "consents", &made).await;
    let second = post(&trips.holder, "consents", &made).await;
    assert_eq!((first.0, second.0), (201, 201));
    assert_eq!(first.1["receipts"][0]["consent"], second.1["receipts"][0]["consent"]);
    let id = first.1["receipts"][0]["consent"].clone();
    let other = Stranger::new(&trips.world);
    assert_eq!(
        post(
            &trips.holder,
            "withdrawals",
            &statement(&other, &trips.holder.did, WITHDRAWN, json!({"consent": id}))
        )
        .await
        .0,
        401
    );
    assert_eq!(trips.withdraw(json!({"consent": id})).await.0, 200);
    let (_, replayed) = post(&trips.holder, "consents", &made).await;
    assert_eq!(replayed["receipts"][0]["state"], "withdrawn");
    assert_eq!(trips.rows().await, HEADER);
    assert_eq!(trips.withdraw(json!({"consent": "urn:concordat:consent:none"})).await.0, 404);
}

#[tokio::test]
async fn persons_see_what_is_held_object_and_are_forgotten() {
    let trips = Trips::of_research();
    trips.give("anna", &["start"]).await;
    assert_eq!(trips.rows().await, format!("{HEADER},Plaza,,b1\n,Mill,,b3\n"));
    let (status, told) = trips.ask("insight", "anna").await;
    assert_eq!(status, 201, "{told}");
    assert_eq!(told["held"][0]["data"], format!("{HEADER}anna,Plaza,12,b1\nanna,Mill,30,b3\n"), "{told}");
    let received = &told["recipients"][0];
    assert_eq!(
        (received["recipient"].as_str(), received["rows"].as_u64()),
        (Some(&*trips.researcher.did), Some(2))
    );
    assert_eq!(received["purposes"], json!([RESEARCH]));
    assert_eq!(received["leftOut"], json!(["minutes", "rider"]));
    assert_eq!(told["consents"].as_array().unwrap().len(), 1);
    let (_, other) = trips.ask("insight", "cleo").await;
    assert_eq!(
        (
            other["recipients"].as_array().unwrap().len(),
            other["held"][0]["data"].as_str().unwrap().lines().count()
        ),
        (0, 2)
    );

    let (status, erasure) = trips.ask("erasure", "anna").await;
    assert_eq!((status, erasure["answer"].is_null()), (201, true), "{erasure}");
    let due: jiff::Timestamp = erasure["due"].as_str().unwrap().parse().unwrap();
    let days = due.duration_since(connector::clock::now()).as_hours() / 24;
    assert!((27..=31).contains(&days), "{due}");
    assert_eq!(trips.rows().await, HEADER, "at once");
    assert_eq!(
        trips.researcher.get("/v4/personal/deletions").await,
        json!([]),
        "who never got the name is not told it now"
    );
    assert!(trips.holder.events().join("\n").contains("does not tell who it is about"));
    let id = erasure["request"].as_str().unwrap();
    let shown = trips.holder.text(&["personal", "request", id]);
    assert!(shown.contains("anna") && shown.contains("please"), "{shown}");
    assert!(trips.holder.text(&["personal", "requests"]).contains("open"));
    let prolonged = trips.holder.json(&["personal", "prolong", id, "--reason", "many systems"]);
    assert_eq!(prolonged["prolonged"], "many systems");
    assert_eq!(
        trips.holder.run(&["personal", "prolong", id, "--reason", "more"]).status.code(),
        Some(3),
        "once"
    );
    trips.holder.text(&["personal", "answer", id, "--done", "--reason", "removed from trips"]);
    assert_eq!(
        trips.holder.run(&["personal", "answer", id, "--refuse", "--reason", "no"]).status.code(),
        Some(3)
    );
    let shown = trips.holder.text(&["personal", "request", id]);
    assert!(!shown.contains("anna"), "the key is gone: {shown}");
    assert_eq!(trips.holder.get("/v4/personal/consents").await, json!([]));
    let (_, told) = trips.ask("insight", "anna").await;
    assert_eq!(told["recipients"], json!([]), "what was recorded cannot be read by anybody");
}

#[tokio::test]
async fn whoever_may_have_been_among_rows_that_a_kill_left_uncounted_is_told() {
    let terms = permission(&[c("purpose", "eq", RESEARCH)]);
    let mut trips = Trips::described(&terms, described, "events/trips.jsonl", "", &["--tail"]);
    trips.give("anna", &["rider", "minutes"]).await;
    let (url, token) = door(&trips.researcher, &trips.agreement).await;
    let request = trips.researcher.client.get(format!("{url}?live=lines")).bearer_auth(&token);
    let mut stream = request.send().await.unwrap().bytes_stream();
    let row = "{\"rider\":\"anna\",\"start\":\"Plaza\",\"minutes\":12}\n";
    std::fs::write(trips.world.folder.path().join("events/trips.jsonl"), row).unwrap();
    while !String::from_utf8_lossy(&stream.next().await.unwrap().unwrap()).contains("anna") {}
    trips.holder.kill();
    trips.holder.start();
    trips.holder.client = trips.world.client();
    assert!(trips.holder.events().join("\n").contains("who was among them since"));
    let (_, told) = trips.ask("insight", "anna").await;
    let received = &told["recipients"][0];
    assert_eq!(
        (&received["recipient"], &received["unsure"], &received["rows"], &received["leftOut"]),
        (&json!(trips.researcher.did), &json!(true), &json!(0), &json!(["start"])),
        "{told}"
    );
    // Who did not permit it then was not among them.
    trips.give("ben", &[]).await;
    let (_, told) = trips.ask("insight", "ben").await;
    assert_eq!(told["recipients"], json!([]));
    trips.withdraw(json!({"subject": "ben"})).await;
    trips.withdraw(json!({"subject": "anna"})).await;
    let due =
        trips.researcher.until("/v4/personal/deletions", |all| !all.as_array().unwrap().is_empty()).await;
    assert_eq!((due.as_array().unwrap().len(), &due[0]["about"]["values"]), (1, &json!(["anna"])), "{due}");
}

#[tokio::test]
async fn what_another_consent_permits_still_is_not_asked_back() {
    let trips = Trips::of_research();
    let mut ids = Vec::new();
    for attributes in [&["rider"][..], &[], &["rider", "start"]] {
        let (_, given) = trips.give("anna", attributes).await;
        ids.push(given["receipts"][0]["consent"].clone());
    }
    assert!(trips.rows().await.contains("anna,Plaza,12,b1\n"));
    trips.withdraw(json!({"consent": ids[0]})).await;
    assert_eq!(trips.holder.get("/v4/personal/deletions").await, json!([]), "the others permit more");
    trips.withdraw(json!({"consent": ids[1]})).await;
    assert!(trips.rows().await.contains("anna,Plaza,,b1\n"));
    let due =
        trips.researcher.until("/v4/personal/deletions", |all| !all.as_array().unwrap().is_empty()).await;
    assert_eq!(due[0]["about"]["attributes"], json!(["minutes"]), "{due}");
    let table = trips.researcher.text(&["personal", "deletions"]);
    assert!(table.contains("minutes of rows"), "{table}");
    trips.withdraw(json!({"consent": ids[2]})).await;
    let due =
        trips.researcher.until("/v4/personal/deletions", |all| all.as_array().unwrap().len() == 2).await;
    let whole = due.as_array().unwrap().iter().filter(|one| one["about"].get("attributes").is_none()).count();
    assert_eq!(whole, 1, "nothing permits any of it: {due}");
}

#[tokio::test]
async fn who_must_be_told_is_told_although_the_node_stopped() {
    use connector::tables::{self, ConsentRecord, PersonRecord, UntoldRecord, prefix};
    use governance::consent::Withdrawn;
    let mut trips = Trips::of_research();
    let (_, given) = trips.give("anna", &[]).await;
    trips.rows().await;
    trips.ask("insight", "anna").await;
    // As a kill leaves it: the withdrawal is written, and nobody was told.
    trips.holder.stop();
    {
        let options = store::Options { engine: store::Engine::Sled, ..store::Options::default() };
        let (store, _) = store::Store::open(&trips.holder.dir.join("store"), &options).unwrap();
        let (key, _) = tables::list::<PersonRecord>(&store, prefix::PERSON, None, 1).unwrap().remove(0);
        let person = key.strip_prefix(prefix::PERSON).unwrap();
        let id = given["receipts"][0]["consent"].as_str().unwrap().to_owned();
        let at = connector::clock::now();
        let mut batch = store::Batch::new();
        let key = tables::key(prefix::CONSENT, &id);
        let (mut record, _) = tables::load::<ConsentRecord>(&store, &key).unwrap().unwrap();
        record.consent.withdrawn = Some(Withdrawn { at, operator: trips.operator.did.clone() });
        tables::put(&mut batch, key, &record).unwrap();
        let untold = UntoldRecord { consents: vec![id], everything: false, at };
        tables::put(&mut batch, tables::key(prefix::UNTOLD, person), &untold).unwrap();
        store.commit(batch).await.unwrap();
    }
    trips.holder.start();
    let due =
        trips.researcher.until("/v4/personal/deletions", |all| !all.as_array().unwrap().is_empty()).await;
    assert_eq!(due[0]["about"]["values"], json!(["anna"]));
}

#[tokio::test]
async fn a_request_that_is_not_answered_in_time_is_told() {
    use connector::tables::{self, RequestRecord, prefix};
    let mut trips = Trips::of_research();
    let (_, asked) = trips.ask("correction", "anna").await;
    let id = asked["request"].as_str().unwrap().to_owned();
    assert!(asked["answer"].is_null() && asked["held"].is_null());
    // A month passes.
    trips.holder.stop();
    {
        let options = store::Options { engine: store::Engine::Sled, ..store::Options::default() };
        let (store, _) = store::Store::open(&trips.holder.dir.join("store"), &options).unwrap();
        let key = tables::key(prefix::SUBJECT_REQUEST, &id);
        let (mut record, _) = tables::load::<RequestRecord>(&store, &key).unwrap().unwrap();
        record.due = connector::clock::now();
        let mut batch = store::Batch::new();
        tables::put(&mut batch, key, &record).unwrap();
        store.commit(batch).await.unwrap();
    }
    trips.holder.start();
    trips.holder.until("/v4/personal/requests", |all| !all[0]["late"].is_null()).await;
    assert!(trips.holder.text(&["personal", "requests"]).contains("LATE"));
    assert!(trips.holder.events().join("\n").contains("is late"));
    let assessed = trips.holder.json(&["mim"]);
    let late =
        assessed["rows"].as_array().unwrap().iter().find(|row| row["check"] == "requests-in-time").unwrap();
    assert_eq!(late["met"], "N");
    trips.holder.text(&["personal", "answer", &id, "--refuse", "--reason", "the data is right"]);
}

#[tokio::test]
async fn another_basis_than_consent_holds_until_the_person_objects() {
    let personal = |world: &World| {
        let file = world.folder.path().join("personal.json");
        let said = json!({"subject": "rider", "basis": "https://w3id.org/dpv#PublicInterest", "purposes": [RESEARCH],
            "attributes": {"start": {"category": "https://w3id.org/dpv/pd#Location", "basis": "https://w3id.org/dpv#Consent"},
                "bike": {"category": "https://w3id.org/dpv/pd#Identifier", "purposes": ["https://w3id.org/dpv#Marketing"]}}});
        std::fs::write(&file, said.to_string()).unwrap();
        file
    };
    let trips =
        Trips::described(&permission(&[c("purpose", "eq", RESEARCH)]), personal, "trips.csv", ROWS, &[]);
    let all = format!("{HEADER}anna,,12,\nben,,7,\nanna,,30,\ncleo,,5,\n");
    assert_eq!(
        trips.rows().await,
        all,
        "in the public interest, but not where, nor which bike: that is for something else"
    );
    assert_eq!(trips.ask("objection", "anna").await.0, 201);
    assert_eq!(trips.rows().await, format!("{HEADER}ben,,7,\ncleo,,5,\n"));
    trips.give("anna", &["start"]).await;
    assert!(trips.rows().await.contains("anna,Plaza,12,\n"), "a consent counts all the same");
}

#[tokio::test]
async fn the_data_officer_and_the_operator_have_pages() {
    let trips = Trips::of_research();
    trips.give("anna", &["start"]).await;
    trips.rows().await;
    let (_, erasure) = trips.ask("erasure", "ben").await;
    // The operator's: opened by its own statement, once.
    let asked = statement(&trips.operator, &trips.holder.did, "concordat-operator-session+jwt", json!({}));
    let (status, opened) = post(&trips.holder, "sessions", &asked).await;
    assert_eq!(status, 201, "{opened}");
    assert_eq!(post(&trips.holder, "sessions", &asked).await.0, 401, "a repeated statement");
    let stranger = Stranger::new(&trips.world);
    let foreign = statement(&stranger, &trips.holder.did, "concordat-operator-session+jwt", json!({}));
    assert_eq!(post(&trips.holder, "sessions", &foreign).await.0, 401);
    let page = format!("{}/personal/page", trips.holder.address);
    assert_eq!(trips.world.client().get(&page).send().await.unwrap().status(), 401);
    let client = trips.world.client_that_stays();
    let entered = client.get(opened["address"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(entered.status(), 303);
    let cookie = entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let again = client.get(opened["address"].as_str().unwrap()).send().await.unwrap();
    assert!(again.headers().get("set-cookie").is_none(), "the address is good once");
    let shown = client.get(&page).header("cookie", cookie).send().await.unwrap();
    assert!(shown.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let shown = shown.text().await.unwrap();
    for part in [
        "Consents and withdrawals (1)",
        RESEARCH,
        &trips.researcher.did,
        "erasure",
        "What is shared with whom (1)",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // The officer's: with an admin key, on the management listener.
    let officer = format!("{}/officer", trips.holder.management);
    let away = client.get(&officer).send().await.unwrap();
    assert_eq!(
        (away.status().as_u16(), away.headers()["location"].to_str().unwrap()),
        (303, "/officer/login")
    );
    let reader = trips.holder.json(&["keys", "create", "reader", "--scope", "operate"])["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let enter = |key: String| {
        let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("key", &key).finish();
        let request = client
            .post(format!("{officer}/login"))
            .header("content-type", "application/x-www-form-urlencoded");
        request.body(form).send()
    };
    assert_eq!(enter(reader).await.unwrap().status(), 401, "not with less than admin");
    let entered = enter(trips.holder.key.clone()).await.unwrap();
    let cookie = entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let shown = client.get(&officer).header("cookie", cookie).send().await.unwrap().text().await.unwrap();
    for part in [
        "Requests and deadlines (1)",
        "open",
        erasure["request"].as_str().unwrap(),
        "Deletions",
        "Accesses through operators",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("anna") && !shown.contains("ben,"), "no page names a person");
}

#[tokio::test]
async fn what_a_dataset_says_of_persons_is_checked_and_binds_streams_that_run() {
    let trips = Trips::of_research();
    let wrong = trips.world.folder.path().join("wrong.json");
    std::fs::write(&wrong, json!({"subject": "rider", "basis": "because"}).to_string()).unwrap();
    let file = trips.world.folder.path().join("trips.csv");
    let refused = trips.holder.run(&[
        "publish",
        file.to_str().unwrap(),
        "--id",
        "urn:test:wrong",
        "--title",
        "x",
        "--personal",
        wrong.to_str().unwrap(),
    ]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("/basis"));
    // A column that was renamed does not slip through.
    trips.give("anna", &[]).await;
    std::fs::write(&file, ROWS.replace("start", "origin")).unwrap();
    let (url, token) = door(&trips.researcher, &trips.agreement).await;
    if let Ok(answer) = trips.researcher.client.get(url).bearer_auth(token).send().await {
        assert!(!answer.text().await.unwrap_or_default().contains("Plaza"));
    }
    let asset = trips.holder.get(&format!("/v4/assets/{}", trust::did::segment(DATASET))).await;
    assert_eq!(asset["properties"]["urn:concordat:personal"]["subject"], "rider");
}

#[tokio::test]
async fn a_withdrawal_among_a_hundred_thousand_empties_fifty_streams_within_a_second() {
    const PERSONS: usize = 100_000;
    let terms = permission(&[c("purpose", "eq", RESEARCH)]);
    let trips = Trips::described(&terms, described, "events/trips.jsonl", "", &["--tail"]);
    let log = trips.world.folder.path().join("events/trips.jsonl");
    for part in 0..PERSONS / 1000 {
        let consents: Vec<_> = (0..1000)
            .map(|one| json!({"subject": format!("p{}", part * 1000 + one), "purposes": [RESEARCH], "recipients": [trips.researcher.did]}))
            .collect();
        let made = statement(&trips.operator, &trips.holder.did, GIVEN, json!({"consents": consents}));
        assert_eq!(post(&trips.holder, "consents", &made).await.0, 201);
    }
    let (url, token) = door(&trips.researcher, &trips.agreement).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let request = trips.researcher.client.get(format!("{url}?live=lines")).bearer_auth(&token);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        streams.push(answer.bytes_stream());
    }
    // Rows of the one who will withdraw, of others, and of somebody who never permitted anything, all the time.
    let stop = tokio_util::sync::CancellationToken::new();
    let writing = tokio::spawn({
        let stop = stop.clone();
        async move {
            use std::io::Write as _;
            let mut log = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
            let mut at: u64 = 0;
            while !stop.is_cancelled() {
                at += 1;
                let other = at * 7919 % 100_000;
                writeln!(log, "{{\"rider\":\"p4711\",\"minutes\":{at}}}").unwrap();
                writeln!(
                    log,
                    "{{\"rider\":\"p{other}\",\"minutes\":{at}}}\n{{\"rider\":\"nobody\",\"minutes\":{at}}}"
                )
                .unwrap();
                let pause = tokio::time::timeout(std::time::Duration::from_millis(20), stop.cancelled());
                let _ = pause.await;
            }
        }
    });
    let reading: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let (mut last, mut rows, mut foreign) = (None, 0_u64, 0_u64);
                while let Some(Ok(chunk)) =
                    tokio::select! { chunk = stream.next() => chunk, () = stop.cancelled() => None }
                {
                    let text = String::from_utf8_lossy(&chunk);
                    rows += u64::try_from(text.matches("rider").count()).unwrap();
                    foreign += u64::try_from(text.matches("nobody").count()).unwrap();
                    if text.contains("\"p4711\"") {
                        last = Some(tokio::time::Instant::now());
                    }
                }
                (last, rows, foreign)
            })
        })
        .collect();
    let pause =
        |millis| tokio::time::timeout(std::time::Duration::from_millis(millis), std::future::pending::<()>());
    assert!(pause(3000).await.is_err());
    let (status, said) = trips.withdraw(json!({"subject": "p4711"})).await;
    let acknowledged = tokio::time::Instant::now();
    assert_eq!((status, said["receipts"].as_array().unwrap().len()), (200, 1), "{said}");
    assert!(pause(3000).await.is_err());
    stop.cancel();
    writing.await.unwrap();
    let mut latest = std::time::Duration::ZERO;
    for stream in reading {
        let (last, rows, foreign) = stream.await.unwrap();
        assert!(rows > 100 && foreign == 0, "{rows} rows, {foreign} of nobody");
        let last = last.expect("it was there before");
        latest = latest.max(last.saturating_duration_since(acknowledged));
    }
    eprintln!(
        "{PERSONS} persons, 50 streams: the last row came {latest:?} after the withdrawal was acknowledged"
    );
    assert!(latest < std::time::Duration::from_secs(1), "{latest:?}");
}
