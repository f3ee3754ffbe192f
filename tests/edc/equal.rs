//! Terms as a JSON-LD processor sees them.

use std::process::Command;

use serde_json::json;

use super::runtime::folder;
use crate::support::World;

const DATASET: &str = "urn:test:bound";

/// EDC compares terms after it has expanded them: offer, request and agreement must come to the same rules with the contexts of
/// either side. pyld, which is no part of either, is the judge; `run.sh` beside this file brings it.
#[tokio::test]
async fn terms_stay_equal_for_a_json_ld_processor() {
    let Some(edc) = folder() else { return };
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let (permission, prohibition) = super::live::bound_rules();
    let file = |name: &str| world.folder.path().join(name).to_str().unwrap().to_owned();
    let (rows, terms) = (file("rows.csv"), file("terms.json"));
    std::fs::write(&rows, "a\n1\n").unwrap();
    let policy = json!({"@type": "Set", "permission": [permission], "prohibition": [prohibition]});
    std::fs::write(&terms, policy.to_string()).unwrap();
    provider.json(&["publish", &rows, "--id", DATASET, "--title", "Rows", "--policy", &terms]);
    let (catalog, dossier) = (file("catalog.json"), file("agreement.json"));
    std::fs::write(&catalog, consumer.json(&["catalog", &provider.did]).to_string()).unwrap();
    let agreed = consumer.json(&["negotiate", &provider.did, DATASET]);
    provider.text(&["agreements", "export", agreed["contractAgreementId"].as_str().unwrap(), "-o", &dossier]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/edc/equal.py");
    let (python, libraries) = (edc.join("../venv/bin/python"), edc.join("connector"));
    let judged = Command::new(python).arg(script).arg(libraries).args([&dossier, &catalog]).output().unwrap();
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success(), "{said}\n{}", String::from_utf8_lossy(&judged.stderr));
    assert_eq!(said.lines().filter(|line| line.starts_with("terms 0: ")).count(), 9, "{said}");
}
