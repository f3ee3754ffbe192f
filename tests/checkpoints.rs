//! Checkpoints and backups of a node that runs, under load and over kill -9.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Chance, Node, World, number};

/// Programs that write at the same time.
const WRITERS: usize = 4;

fn has(node: &Node, ending: &str) -> bool {
    let files = std::fs::read_dir(node.dir.join("store/journal")).unwrap();
    files.flatten().any(|file| file.file_name().to_string_lossy().ends_with(ending))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_checkpoint_loses_nothing_that_was_answered() {
    let rounds = number("CONCORDAT_FAULT_ROUNDS").unwrap_or(6).min(20);
    let seed = Chance::seed("CONCORDAT_FAULT_SEED");
    eprintln!("{rounds} rounds, CONCORDAT_FAULT_SEED={seed}");
    let mut chance = Chance(seed);
    let world = World::new();
    let mut node = world.local_node("node");
    let (mut answered, mut folded, mut caught) = (Vec::new(), 0, 0);
    for round in 0..5 * rounds {
        if round >= rounds && caught > 0 {
            break;
        }
        let mut writing = tokio::task::JoinSet::new();
        for place in 0..WRITERS {
            let (client, key, management) = (node.client.clone(), node.key.clone(), node.management.clone());
            writing.spawn(async move {
                let mut made = Vec::new();
                loop {
                    let id = format!("urn:test:{round}:{place}:{}", made.len());
                    let body = json!({
                        "@id": id, "properties": {"note": "x".repeat(50_000)},
                        "dataAddress": {"type": "HttpData", "baseUrl": "https://source.example/"},
                    });
                    let sent =
                        client.post(format!("{management}/v4/assets")).header("x-api-key", &key).json(&body);
                    match sent.send().await {
                        Ok(answer) => assert!(answer.status().is_success(), "{:?}", answer.text().await),
                        Err(_) => return made,
                    }
                    made.push(id);
                }
            });
        }
        let (client, key, management) = (node.client.clone(), node.key.clone(), node.management.clone());
        let folding = tokio::spawn(async move {
            let mut folded = 0;
            loop {
                let asked =
                    client.post(format!("{management}/v4/store/checkpoint")).header("x-api-key", &key);
                match asked.send().await {
                    Ok(answer) => assert!(answer.status().is_success(), "{:?}", answer.text().await),
                    Err(_) => return folded,
                }
                folded += 1;
            }
        });
        let until = Instant::now() + Duration::from_millis(100 + chance.below(700));
        tokio::time::sleep_until(until.into()).await;
        node.kill();
        caught += usize::from(has(&node, ".tmp"));
        while let Some(made) = writing.join_next().await {
            answered.extend(made.unwrap());
        }
        folded += folding.await.unwrap();
        node.start();
        assert!(!has(&node, ".tmp"), "what was not finished is removed at the start");
    }
    eprintln!(
        "{} writes answered, {folded} checkpoints, {caught} kills in the middle of one",
        answered.len()
    );
    assert!(folded > 0 && caught > 0 && answered.len() > WRITERS);
    for id in &answered {
        node.get(&format!("/v4/assets/{}", trust::did::segment(id))).await;
    }
    assert!(!node.log().contains("panicked") && has(&node, ".checkpoint"), "{}", node.log());
    node.stop();
    node.text(&["store", "verify"]);
    node.text(&["store", "rebuild"]);
}

#[tokio::test]
async fn a_backup_made_while_the_node_runs_brings_it_back() {
    let world = World::new();
    let mut node = world.local_node("node");
    node.publish("urn:test:before", b"a\n1\n", &[]);
    let folded = node.json(&["store", "checkpoint"]);
    assert!(folded["commit"].as_u64().unwrap() > 0, "while it runs: {folded}");
    assert!(node.events().iter().any(|line| line.contains("was folded into a checkpoint")));
    assert_eq!(node.get("/v4/store/checkpoint").await["running"], false);
    let backup = world.folder.path().join("backup");
    let made = node.json(&["store", "backup", backup.to_str().unwrap()]);
    assert!(made["commit"].as_u64() >= folded["commit"].as_u64(), "{made}");
    let again = node.run(&["store", "backup", backup.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1), "what is there stays: {again:?}");
    node.publish("urn:test:after", b"a\n1\n", &[]);

    // As `concordat help backup` says.
    node.stop();
    let store = node.dir.join("store");
    std::fs::remove_dir_all(store.join("journal")).unwrap();
    std::fs::remove_dir_all(store.join("sled")).unwrap();
    copy(&backup.join("journal"), &store.join("journal"));
    node.start();
    let offers = node.text(&["offers"]);
    assert!(offers.contains("urn:test:before") && !offers.contains("urn:test:after"), "{offers}");
    node.text(&["audit", "verify"]);
    node.stop();
    node.text(&["store", "verify"]);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
