//! The audit log as a chain: it survives kills, and whatever is changed in it is found.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::{Node, World};

/// A node with some events, sealed by a stop in good order.
fn node(world: &World) -> Node {
    let mut node = world.local_node("node");
    for number in 0..5 {
        node.json(&["keys", "create", &format!("program {number}")]);
    }
    node.stop();
    node.start();
    node
}

fn export(node: &Node, file: &Path) -> Vec<String> {
    node.text(&["audit", "export", "-o", file.to_str().unwrap()]);
    std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

/// What `audit verify` says of the lines; it must find fault with them.
fn wrong(node: &Node, file: &Path, lines: &[String]) -> String {
    std::fs::write(file, lines.join("\n")).unwrap();
    let checked = node.run(&["audit", "verify", file.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(5), "{}", String::from_utf8_lossy(&checked.stderr));
    String::from_utf8(checked.stdout).unwrap()
}

/// Nobody stops the node: a hundred entries are enough for a seal.
#[tokio::test]
async fn a_running_node_seals_its_log_as_it_grows() {
    let world = World::new();
    let node = world.local_node("node");
    for number in 0..101 {
        node.post("/v4/apikeys", json!({"name": format!("program {number}"), "scope": "read"})).await;
    }
    let seals = async {
        // The seal is a commit of its own, a moment after the hundredth entry.
        while node.get("/v4/audit/seals").await.as_array().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), seals).await.unwrap();
    let said = node.json(&["audit", "verify"]);
    assert!(said["valid"] == true && said["sealed"].as_u64().unwrap() >= 100, "{said}");
}

#[test]
fn the_chain_goes_on_after_a_kill_and_every_change_is_found() {
    let world = World::new();
    let mut node = node(&world);
    node.kill();
    node.start();
    let key = node.json(&["keys", "create", "one more"]);
    assert!(key["key"].is_string());
    let said = node.text(&["audit", "verify"]);
    assert!(said.contains("Every entry follows from the one before, and every seal holds."), "{said}");
    assert!(said.contains("sealed up to entry 5") && said.contains("1 came since"), "{said}");

    let file = world.folder.path().join("log.jsonl");
    let lines = export(&node, &file);
    let entries = lines.iter().filter(|line| line.contains("\"link\"")).count();
    assert_eq!(entries, 6);
    assert!(node.text(&["audit", "verify", file.to_str().unwrap()]).contains("6 entries"));

    let of = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
    // Altered.
    let place = of("program 2");
    let mut altered = lines.clone();
    altered[place] = altered[place].replace("program 2", "program 7");
    let said = wrong(&node, &file, &altered);
    assert!(said.contains("it was altered") && said.contains("This log was changed."), "{said}");
    assert_eq!(said.matches("it was altered").count(), 1, "only what was touched is named: {said}");
    // Removed from the middle, from the end, and from both: the seal remembers.
    let mut removed = lines.clone();
    removed.remove(place);
    let said = wrong(&node, &file, &removed);
    assert!(said.contains("what stood before it was removed"), "{said}");
    let cut = lines[..of("program 4")].to_vec();
    let said = wrong(&node, &file, &cut);
    assert!(
        said.contains("the log had 5 entries when it was sealed on") && said.contains("has 4 now"),
        "{said}"
    );
    // Exchanged.
    let mut swapped = lines.clone();
    swapped.swap(place, place + 1);
    assert!(wrong(&node, &file, &swapped).contains("it was altered"));
    // Another node's seal.
    let mut seal = lines.clone();
    let at = of("\"seal\"");
    seal[at] = seal[at].replacen("eyJ", "eyK", 1);
    assert!(wrong(&node, &file, &seal).contains("a seal does not hold"));

    // The links cannot simply be made anew: the seal is over the old ones.
    let other = world.local_node("other");
    for number in 0..6 {
        other.json(&["keys", "create", &format!("program {number}")]);
    }
    let theirs = export(&other, &world.folder.path().join("other.jsonl"));
    let rest = theirs.iter().filter(|line| line.contains("\"link\""));
    let forged: Vec<_> =
        lines.iter().filter(|line| !line.contains("\"link\"")).chain(rest).cloned().collect();
    assert!(wrong(&node, &file, &forged).contains("the log had another entry here when it was sealed"));

    let nonsense = node.run(&["audit", "verify", node.dir.join("concordat.toml").to_str().unwrap()]);
    assert_eq!(nonsense.status.code(), Some(1));
}
