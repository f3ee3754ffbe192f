//! The node examines itself by the cities' mechanisms: what is found changes with the node.

use serde_json::Value;

use crate::membership;
use crate::support::World;

fn row<'a>(found: &'a Value, edition: &str, id: &str) -> &'a Value {
    let rows = found["rows"].as_array().unwrap();
    rows.iter().find(|row| row["edition"] == edition && row["id"] == id).unwrap()
}

const NOW: &str = "MIMs Plus 9.0";

#[tokio::test]
async fn what_the_node_finds_changes_with_the_node() {
    let world = World::new();
    let authority = membership::authority(&world);
    let mut node = world.local_node("node");
    let before = node.json(&["mim"]);
    assert_eq!(before["rows"].as_array().unwrap().len(), 79);
    let met = |found: &Value, id: &str| row(found, NOW, id)["met"].as_str().unwrap().to_owned();
    for (id, expected) in [
        ("RC1.1", "N"),
        ("RC1.3", "not assessed"),
        ("RC2.1", "N"),
        ("RC5.3", "M"),
        ("RC5.4", "M"),
        ("RC6.1", "M"),
        ("RC4.3", "M"),
    ] {
        assert_eq!(met(&before, id), expected, "{id}: {}", row(&before, NOW, id)["evidence"]);
    }
    assert!(row(&before, NOW, "RC1.1")["gap"].as_str().unwrap().contains("rulebook accept"));
    assert_eq!(row(&before, "MIM4 technical specification 2021", "5.8")["met"], "M");

    membership::join(&authority, &node);
    let book = world.folder.path().join("book.json");
    std::fs::write(
        &book,
        serde_json::json!({"space": "https://space.example", "version": 1, "title": "x",
        "inForce": "2026-01-01T00:00:00Z", "clauses": [{"id": "1", "text": "Be kind."}]})
        .to_string(),
    )
    .unwrap();
    authority.text(&["rulebook", "publish", book.to_str().unwrap()]);
    node.until("/v4/rulebooks", |all| all[0]["state"] == "announced").await;
    node.text(&["rulebook", "accept"]);
    node.publish("urn:test:one", b"a,b\n1,2\n", &["--description", "Two columns"]);
    node.text(&[
        "mim",
        "attest",
        "MIMs Plus 9.0 MIM3 RC1.3",
        "--role",
        "head of data",
        "--statement",
        "read to all members",
    ]);
    assert_eq!(
        node.run(&["mim", "attest", "MIM3 RC1.3", "--role", "x", "--statement", "x"]).status.code(),
        Some(3),
        "without an edition"
    );
    let after = node.json(&["mim"]);
    for id in ["RC1.1", "RC1.2", "RC1.3", "RC2.1", "RC2.2", "RC2.4", "RC5.1", "RC5.2"] {
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
    let tender = node.text(&["mim", "--tender"]);
    assert!(tender.starts_with("edition,mechanism,id,") && tender.lines().count() >= 80, "{tender}");
    assert!(tender.contains("attested by head of data"));

    // From outside, by somebody with no part in it.
    let root = world.folder.path().join("authority/authority.pem");
    let looked = |address: &str, further: &[&str]| {
        let usual = ["--json", "probe", address, "--root", root.to_str().unwrap()];
        authority.run(&[&usual, further].concat())
    };
    let local = ["--allow-network", "127.0.0.0/8", "--allow-network", "::1/128"];
    let seen: Value = serde_json::from_slice(&looked(&authority.address, &local).stdout).unwrap();
    let all_seen = seen["rows"].as_array().unwrap().iter().all(|row| row["met"] == "M");
    assert!(all_seen, "{seen}");
    let refused = looked(&authority.address, &[]);
    assert!(!refused.status.success(), "a special network is not looked at unasked");
    node.stop();
    let gone = looked(&node.address, &local);
    assert_eq!(gone.status.code(), Some(1));
    node.start();
}
