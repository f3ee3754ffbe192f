//! The node examines itself by the cities' mechanisms: what is found changes with the node, and nothing is met because it
//! could be.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::membership;
use crate::support::{Node, PROGRAM, Peer, World, free_port};

fn rows(found: &Value) -> &[Value] {
    found["rows"].as_array().unwrap()
}

pub fn row<'a>(found: &'a Value, edition: &str, id: &str) -> &'a Value {
    rows(found).iter().find(|row| row["edition"] == edition && row["id"] == id).unwrap()
}

const NOW: &str = "MIMs Plus 9.0";
pub const SPECIFICATION: &str = "MIM4 technical specification 2021";
pub const CAPABILITIES: &str = "MIM4 capabilities 2022/23";

fn met<'a>(found: &'a Value, id: &str) -> &'a str {
    row(found, NOW, id)["met"].as_str().unwrap()
}

/// Every row has a value, a level that fits, evidence with its hash; one that is met says where that was seen.
pub fn every_row_is_told(found: &Value) {
    assert_eq!(rows(found).len(), 79);
    for row in rows(found) {
        let level = match row["met"].as_str().unwrap() {
            "M" | "E" => "Full",
            "able, not exercised" | "attested" => "Partial",
            "N" | "not assessed" | "unreachable" => "Initial",
            other => panic!("{other} is no value: {row}"),
        };
        assert_eq!(row["level"], level, "{row}");
        let is_met = level == "Full";
        let seen = row["exercised"].as_str().unwrap_or_default();
        assert_eq!(["a probe by this check", "records of this node"].contains(&seen), is_met, "{row}");
        assert_eq!(row["gap"].as_str().unwrap().is_empty(), is_met, "{row}");
        let evidence = row["evidence"].to_string();
        assert!(!evidence.contains("there is no check") && !evidence.contains("could not be made"), "{row}");
        assert!(!row["evidence"].is_null() && row["sha256"].as_str().unwrap().len() == 64, "{row}");
        if is_met && seen == "records of this node" {
            assert!(counts_something(&row["evidence"]), "records of nothing: {row}");
        }
    }
    let counted: u64 = found["counts"].as_object().unwrap().values().map(|one| one.as_u64().unwrap()).sum();
    assert_eq!(counted, 79);
}

/// Whether evidence names or counts anything at all.
fn counts_something(evidence: &Value) -> bool {
    match evidence {
        Value::Number(count) => count.as_u64() != Some(0),
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => all.values().any(counts_something),
        _ => false,
    }
}

/// The names of the rows that are met.
pub fn all_met(found: &Value) -> BTreeSet<String> {
    let is_met = |row: &&Value| row["met"] == "M" || row["met"] == "E";
    rows(found).iter().filter(is_met).map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

/// Asserts that rows of MIM4, by edition and id, have a value.
pub fn expect(found: &Value, met: &str, wanted: &[(&str, &[&str])]) {
    for (edition, ids) in wanted {
        for id in *ids {
            let row = row(found, edition, id);
            assert_eq!(row["met"], met, "{row}");
        }
    }
}

/// A key of the node's API in a file, as somebody holds it.
fn account(world: &World, node: &Node, name: &str) -> (PathBuf, String) {
    let made = node.json(&["keys", "create", name, "--scope", "admin"]);
    let file = world.folder.path().join(format!("{name}.key"));
    std::fs::write(&file, made["key"].as_str().unwrap()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    (file, made["@id"].as_str().unwrap().to_owned())
}

fn attest(node: &Node, requirement: &str, account: &std::path::Path) -> Option<i32> {
    let words = ["--role", "head of data", "--statement", "read to all members", "--key"];
    let arguments = [&["mim", "attest", requirement][..], &words, &[account.to_str().unwrap()]].concat();
    node.run(&arguments).status.code()
}

#[tokio::test]
async fn nothing_is_met_on_an_empty_node_that_nothing_exercised() {
    let world = World::new();
    let node = world.local_node("node");
    let found = node.json(&["mim"]);
    every_row_is_told(&found);
    // What a probe of the check itself tries with success on a node that nobody has used: its document and its refusal of
    // strangers, its keys, its log, its interfaces. Nothing else.
    let tried = [
        "MIM4 technical specification 2021 MIM4 5.8",
        "MIM4 capabilities 2022/23 MIM4 12",
        "MIMs Plus 9.0 MIM0 R1.3",
        "MIMs Plus 9.0 MIM3 RC5.3",
        "MIMs Plus 9.0 MIM3 RC5.4",
        "MIMs Plus 9.0 MIM6 authentication",
        "MIMs Plus 9.0 MIM6 cryptography",
        "MIMs Plus 9.0 MIM6 logging",
    ];
    assert_eq!(all_met(&found), tried.map(str::to_owned).into(), "{:#}", found["counts"]);
    for row in rows(&found).iter().filter(|row| row["met"] == "M") {
        assert_eq!(row["exercised"], "a probe by this check", "{row}");
    }
    // The tender says yes to these and to nothing else; of the SHALLs, to the metadata that it fetched.
    let tender = node.text(&["mim", "--tender"]);
    let mut reader = csv::Reader::from_reader(tender.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|one| one == name).unwrap();
    let (id, keyword, answer) = (column("id"), column("keyword"), column("answer"));
    let all: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(all.iter().filter(|one| one[answer].starts_with("yes")).count(), tried.len());
    let shall: Vec<_> = all.iter().filter(|one| &one[keyword] == "SHALL").collect();
    assert_eq!(shall.len(), 19);
    for one in shall {
        assert_eq!(one[answer].starts_with("yes"), &one[id] == "5.8", "{one:?}");
    }
    let values: BTreeSet<_> = all.iter().map(|one| one[answer].to_owned()).collect();
    for value in ["yes", "no", "able, not exercised"] {
        assert!(values.contains(value), "{values:?}");
    }
    assert_eq!(row(&found, SPECIFICATION, "A.VII")["met"], "N", "several operators are two at least");
    let levels = found["mechanisms"].as_array().unwrap();
    assert!(levels.iter().all(|one| one["level"] != "Full"), "{levels:?}");
    assert_eq!(levels.iter().find(|one| one["mim"] == "MIM2").unwrap()["level"], "Initial");
}

#[tokio::test]
async fn what_cannot_be_reached_is_neither_met_nor_unmet() {
    let world = World::new();
    let mut node = world.local_node("node");
    let listen = |port: &str| format!("listen = \"127.0.0.1:{port}\"");
    let port = node.address.rsplit(':').next().unwrap().to_owned();
    node.configure(&listen(&port), &listen(&free_port().to_string()));
    let found = node.json(&["mim"]);
    every_row_is_told(&found);
    for id in ["RC5.3", "RC5.4", "RC4.3"] {
        assert_eq!(met(&found, id), "unreachable", "{}", row(&found, NOW, id));
    }
    let tender = node.text(&["mim", "--tender", "--only", "MIM3"]);
    assert!(tender.contains(",unreachable,") && !tender.contains("MIM4"), "{tender}");
}

#[tokio::test]
async fn a_rulebook_that_nobody_else_accepted_and_a_word_of_nobody_count_for_nothing() {
    let world = World::new();
    let mut authority = membership::authority(&world);
    let book = book(&world);
    authority.text(&["rulebook", "publish", book.to_str().unwrap()]);
    let found = authority.json(&["mim"]);
    every_row_is_told(&found);
    for id in ["RC1.1", "RC1.2"] {
        assert_eq!(met(&found, id), "able, not exercised", "{}", row(&found, NOW, id));
    }
    assert_eq!(met(&found, "RC3.1"), "able, not exercised", "no agreement was made under it");
    let name = "MIMs Plus 9.0 MIM3 RC1.3";
    assert_eq!(met(&found, "RC1.3"), "not assessed");

    // The node's own key is nobody's, and a key that the node does not know is none.
    let own = authority.dir.join("keys/management.key");
    let refused = authority.run(&[
        "mim",
        "attest",
        name,
        "--role",
        "auditor",
        "--statement",
        "fine",
        "--key",
        own.to_str().unwrap(),
    ]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(3) && said.contains("belongs to nobody"), "{said}");
    let (dora, id) = account(&world, &authority, "dora");
    let unknown = world.folder.path().join("auditor.key");
    std::fs::copy(&dora, &unknown).unwrap();
    std::fs::write(&unknown, format!("ck_auditor_{}", "x".repeat(43))).unwrap();
    assert_ne!(attest(&authority, name, &unknown), Some(0));
    assert_eq!(met(&authority.json(&["mim"]), "RC1.3"), "not assessed");

    // A word counts as long as its account is there, and for nothing that fails.
    assert_eq!(attest(&authority, name, &dora), Some(0));
    assert_eq!(attest(&authority, "MIMs Plus 9.0 MIM7 R1.1", &dora), Some(0));
    let found = authority.json(&["mim"]);
    let attested = row(&found, NOW, "RC1.3");
    assert_eq!((&attested["met"], &attested["level"]), (&json!("attested"), &json!("Partial")));
    assert_eq!(attested["attested"]["account"], json!({"id": id, "name": "dora"}));
    let geo = rows(&found).iter().find(|one| one["mim"] == "MIM7" && one["id"] == "R1.1").unwrap();
    assert_eq!(geo["met"], "N", "nobody's word takes the place of what is not there");
    let tender = authority.text(&["mim", "--tender"]);
    assert!(tender.contains("attested by head of data (account dora)"), "{tender}");
    assert!(authority.events().iter().any(|text| text.contains("head of data (the account `dora`) attests")));
    authority.text(&["keys", "revoke", &id]);
    let found = authority.json(&["mim"]);
    assert_eq!(met(&found, "RC1.3"), "not assessed");
    let problem = row(&found, NOW, "RC1.3")["attested"]["problem"].as_str().unwrap();
    assert!(problem.contains("was revoked"), "{problem}");
    // What was attested before accounts were asked for.
    let key = "attestation/MIMs%20Plus%209.0%20MIM3%20RC1.3";
    let old = json!({"id": name, "role": "auditor", "statement": "fine", "at": "2026-01-01T00:00:00Z"});
    authority.stop();
    authority.put(key, &old).await;
    authority.start();
    let found = authority.json(&["mim"]);
    assert_eq!(met(&found, "RC1.3"), "not assessed");
    assert_eq!(row(&found, NOW, "RC1.3")["attested"]["role"], "auditor");
}

fn book(world: &World) -> PathBuf {
    let book = world.folder.path().join("book.json");
    let said = json!({"space": "https://space.example", "version": 1, "title": "x",
        "inForce": "2026-01-01T00:00:00Z", "clauses": [{"id": "1", "text": "Be kind."}]});
    std::fs::write(&book, said.to_string()).unwrap();
    book
}

#[tokio::test]
async fn what_the_node_finds_changes_with_the_node() {
    let world = World::new();
    let authority = membership::authority(&world);
    let mut node = world.local_node("node");
    let before = node.json(&["mim"]);
    every_row_is_told(&before);
    for (id, expected) in [
        ("RC1.1", "N"),
        ("RC1.3", "not assessed"),
        ("RC2.1", "N"),
        ("RC5.3", "M"),
        ("RC5.4", "M"),
        ("RC6.1", "able, not exercised"),
        ("RC4.3", "able, not exercised"),
    ] {
        assert_eq!(met(&before, id), expected, "{id}: {}", row(&before, NOW, id)["evidence"]);
    }
    assert!(row(&before, NOW, "RC1.1")["gap"].as_str().unwrap().contains("rulebook accept"));
    assert_eq!(row(&before, SPECIFICATION, "5.8")["met"], "M");

    let other = world.local_node("other");
    for member in [&other, &node] {
        membership::join(&authority, member);
    }
    authority.text(&["rulebook", "publish", book(&world).to_str().unwrap()]);
    node.until("/v4/rulebooks", |all| all[0]["state"] == "announced").await;
    node.text(&["rulebook", "accept"]);
    node.publish("urn:test:one", b"a,b\n1,2\n", &["--description", "Two columns"]);
    node.until("/v4/rulebooks", |all| all[0]["record"]["accepted"]["told"] == "yes").await;
    node.text(&["peers", "--refresh"]);
    let (dora, _) = account(&world, &node, "dora");
    assert_eq!(attest(&node, "MIMs Plus 9.0 MIM3 RC1.3", &dora), Some(0));
    assert_eq!(attest(&node, "MIM3 RC1.3", &dora), Some(3), "without an edition");
    let after = node.json(&["mim"]);
    every_row_is_told(&after);
    assert_eq!(met(&after, "RC1.3"), "attested");
    for id in ["RC1.1", "RC1.2", "RC2.1", "RC2.2", "RC2.4", "RC5.1", "RC5.2"] {
        assert_eq!(met(&after, id), "M", "{id}: {}", row(&after, NOW, id)["evidence"]);
    }
    assert_eq!(row(&after, NOW, "RC1.3")["attested"]["role"], "head of data");
    assert_ne!(
        row(&before, NOW, "RC2.1")["sha256"],
        row(&after, NOW, "RC2.1")["sha256"],
        "the evidence is another"
    );
    assert!(after["counts"]["M"].as_u64() > before["counts"]["M"].as_u64());

    let page = world.folder.path().join("report.html");
    let table = node.text(&["mim", "--only", "MIM3", "--report", page.to_str().unwrap()]);
    assert!(table.contains("RC1.1") && !table.contains("MIM7"), "{table}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("MIM self-assessment")
            && page.contains("@media print")
            && page.contains("head of data")
    );
    assert!(!page.contains("<script") && !page.contains("http://"), "nothing from elsewhere");
    // For a buyer: no form of machines, whole hashes where they are asked for, on a phone and on paper.
    assert!(!page.contains("{&quot;") && !page.contains("[&quot;") && !page.contains("{}"), "raw JSON");
    let hash = row(&after, NOW, "RC2.1")["sha256"].as_str().unwrap();
    assert!(
        page.contains(&format!("<details><summary>SHA-256 of the evidence</summary><code>{hash}</code>"))
    );
    assert!(page.contains("name=\"viewport\"") && page.contains("max-width:50em"));
    assert!(page.contains("attested by head of data (account dora)"));
    assert!(page.contains("Seen in a probe by this check:") && page.contains("MIM3, MIMs Plus 9.0: Partial"));
    let nothing = node.run(&["mim", "--only", "MIM99"]);
    assert!(!nothing.status.success(), "no such mechanism");
    let tender = node.text(&["mim", "--tender"]);
    assert!(tender.starts_with("edition,mechanism,id,") && tender.lines().count() >= 80, "{tender}");
    assert!(tender.contains("attested by head of data (account dora)"));

    // From outside, by somebody with no part in it: a folder without a node allows no special network.
    let root = world.folder.path().join("authority/authority.pem");
    let nowhere = world.folder.path().join("nowhere");
    std::fs::create_dir(&nowhere).unwrap();
    let looked = |dir: &std::path::Path, address: &str, further: &[&str]| {
        let usual = ["--json", "--dir", dir.to_str().unwrap(), "probe", address];
        let trusted = ["--root", root.to_str().unwrap()];
        Command::new(PROGRAM).args([&usual[..], &trusted, further].concat()).output().unwrap()
    };
    let local = ["--allow-network", "127.0.0.0/8", "--allow-network", "::1/128"];
    let seen: Value = serde_json::from_slice(&looked(&nowhere, &authority.address, &local).stdout).unwrap();
    let all_seen = rows(&seen).iter().all(|row| row["met"] == "M");
    assert!(all_seen && seen["unreachable"] == 0, "{seen}");
    // One with a node goes as far as the node does (network.allow), and trusts whom it trusts.
    let seen = authority.json(&["probe", &authority.address]);
    assert!(rows(&seen).iter().all(|row| row["met"] == "M"), "{seen}");
    // What cannot be reached is not assessed, whether that is forbidden or nobody is there.
    node.stop();
    let by_number = node.address.replace("localhost", "127.0.0.1");
    let refused = looked(&nowhere, &by_number, &[]);
    assert!(!refused.status.success(), "a special network is not looked at unasked");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("network.allow"));
    for further in [&[][..], &local] {
        let gone = looked(&nowhere, &node.address, further);
        assert_eq!(gone.status.code(), Some(1));
        let gone: Value = serde_json::from_slice(&gone.stdout).unwrap();
        for row in rows(&gone) {
            assert_eq!(row["met"], "unreachable", "{row}");
            assert!(row["seen"].as_str().unwrap().starts_with("not assessed: "), "{row}");
        }
    }
    // A server that answers everything alike shows nothing.
    let alike = || async { axum::response::Html("<p>welcome</p>") };
    let alike = Peer::serving(&world, |_| axum::Router::new().fallback(alike)).address;
    let (dir, root) = (authority.dir.clone(), root.clone());
    let looked = tokio::task::spawn_blocking(move || {
        let arguments =
            ["--json", "--dir", dir.to_str().unwrap(), "probe", &alike, "--root", root.to_str().unwrap()];
        Command::new(PROGRAM).args(arguments).output().unwrap()
    });
    let seen: Value = serde_json::from_slice(&looked.await.unwrap().stdout).unwrap();
    assert!(rows(&seen).iter().all(|row| row["met"] == "not seen"), "{seen}");
    node.start();
}
