//! Whether agreements are kept, as each party sees it, and where their logs differ.

use serde_json::{Value, json};

use crate::support::{Stranger, World};
use crate::usage::{agree_with, c};

#[tokio::test]
async fn compliance_tells_what_is_kept_with_the_evidence_and_the_other_party_sees_it() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let file = world.folder.path().join("rows.csv");
    std::fs::write(&file, "row\n1\n").unwrap();
    let levels = world.folder.path().join("levels.json");
    let promised = json!({"period": "PT2S", "currency": "EUR", "remedies": ["notice"], "levels": [
        {"id": "rows", "measure": "completeness", "target": 100, "penalty": {"cents": 100}}]});
    std::fs::write(&levels, promised.to_string()).unwrap();
    let terms = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [c("count", "lteq", "3")]}],
        "obligation": [{"action": "attribute"}]});
    let further = ["--service-levels", levels.to_str().unwrap()];
    let agreement = agree_with(&world, &provider, &consumer, file.to_str().unwrap(), &terms, &further);
    let fresh = provider.json(&["compliance", &agreement]);
    assert_eq!(
        (fresh["kept"].as_bool(), fresh["broken"].as_u64(), fresh["open"].as_u64()),
        (Some(true), Some(0), Some(1))
    );
    let transfer = consumer.json(&["transfers", "start", &agreement])["@id"].as_str().unwrap().to_owned();
    let out = world.folder.path().join("out.csv");
    consumer.json(&["pull", &transfer, "--output", out.to_str().unwrap()]);
    consumer.text(&["duties", "fulfil", &agreement, "/obligation/0", "--statement", "named on the page"]);
    let path = format!("/v4/contractagreements/{}/compliance", trust::did::segment(&agreement));
    let missed = |found: &Value| found["broken"] == 1;
    let found = provider.until(&path, missed).await;
    let look = |what: &str| {
        found["looks"].as_array().unwrap().iter().find(|one| one["what"] == what).cloned().unwrap_or_default()
    };
    assert!(
        look("use")["text"].as_str().unwrap().contains("1 reads")
            && look("use")["text"].as_str().unwrap().contains("more is permitted")
    );
    assert_eq!(
        (look("duty")["kept"].as_bool(), look("duty")["known"].as_str()),
        (Some(true), Some("stated"))
    );
    assert_eq!(
        (look("level")["kept"].as_bool(), look("level")["known"].as_str()),
        (Some(false), Some("observed"))
    );
    assert!(!look("level")["evidence"].as_array().unwrap().is_empty());
    assert!(found["beyond"].as_str().unwrap().contains("not seen here"));
    let table = provider.run(&["compliance"]);
    assert_eq!(table.status.code(), Some(5), "something is broken");
    // The other party asks this node.
    consumer.until(&path, missed).await;
    let theirs = consumer.json_with(&["compliance", &agreement, "--peer"], 5);
    assert_eq!((theirs["role"].as_str(), theirs["broken"].as_u64()), (Some("PROVIDER"), Some(1)));
    // Nobody else does.
    let stranger = Stranger::new(&world);
    for what in ["compliance", "log"] {
        let path = format!("/agreements/{}/{what}", trust::did::segment(&agreement));
        let (status, _) = stranger
            .send_with(&provider, "GET", &path, String::new(), Some(stranger.token(&provider.did)))
            .await;
        assert_eq!(status, 404, "{what}");
    }

    // The logs are the same, until one of the nodes loses something.
    let matching = |node: &crate::support::Node| node.run(&["--json", "audit", "match", &agreement]);
    let read = |output: &std::process::Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    provider
        .until(&format!("/v4/contractagreements/{}/match", trust::did::segment(&agreement)), |found| {
            found["differences"] == json!([])
        })
        .await;
    let same = matching(&consumer);
    assert_eq!(same.status.code(), Some(0), "{}", read(&same));
    assert!(read(&same)["same"].as_u64().unwrap() >= 7, "{}", read(&same));
    let mut consumer = consumer;
    let statements =
        consumer.get(&format!("/v4/contractagreements/{}/statements", trust::did::segment(&agreement))).await;
    let lost = statements[0]["record"]["id"].as_str().unwrap().to_owned();
    consumer.stop();
    consumer.forget(&format!("statement/{}/{lost}", trust::did::segment(&agreement))).await;
    consumer.start();
    let differs = matching(&provider);
    assert_eq!(differs.status.code(), Some(5));
    let differences = read(&differs)["differences"].clone();
    assert_eq!(differences[0]["id"], format!("statement {lost}"), "{differences}");
    assert!(differences[0]["there"].is_null() && !differences[0]["here"].is_null());

    // The statements are in the dossier, and are checked with it.
    let dossier = world.folder.path().join("dossier.json");
    provider.text(&["agreements", "export", &agreement, "--output", dossier.to_str().unwrap()]);
    let exported: Value = serde_json::from_str(&std::fs::read_to_string(&dossier).unwrap()).unwrap();
    assert_eq!(exported["periods"][0]["breaches"][0]["level"], "rows", "the breach is in the dossier");
    let verified = provider.text(&["agreements", "verify", dossier.to_str().unwrap()]);
    assert!(
        verified.contains("concordat-measured+jwt") && verified.contains("concordat-attained+jwt"),
        "{verified}"
    );
}
