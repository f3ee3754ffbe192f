//! Policy cases that others wrote: compatibility and containment. The folder is `../../shared/policy-cases`, or what
//! `POLICY_CASES` names.
#![expect(clippy::unwrap_used, clippy::print_stderr, clippy::indexing_slicing, reason = "tests")]

use std::path::PathBuf;

use policy_engine::{Compatibility, Hierarchy, Policy, compatible, contained};
use serde_json::Value as Json;

fn folder() -> Option<PathBuf> {
    let named = std::env::var("POLICY_CASES").map(PathBuf::from);
    let folder =
        named.unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/policy-cases").into());
    if folder.exists() {
        return Some(folder);
    }
    eprintln!("left out: there are no policy cases at {}", folder.display());
    None
}

fn cases(family: &str) -> Vec<Json> {
    let Some(folder) = folder() else { return Vec::new() };
    let mut paths: Vec<_> =
        std::fs::read_dir(folder.join(family)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
}

fn knowledge() -> Hierarchy {
    let mut known = Hierarchy::default();
    if let Some(folder) = folder() {
        let json: Json =
            serde_json::from_slice(&std::fs::read(folder.join("knowledge.json")).unwrap()).unwrap();
        for pair in json["broader"].as_array().unwrap() {
            known.add(pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
        }
        for pair in json["disjoint"].as_array().unwrap() {
            known.add_disjoint(pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
        }
    }
    known
}

#[test]
fn compatibility_as_others_see_it() {
    let known = knowledge();
    let mut wrong = Vec::new();
    let all = cases("compatibility");
    for case in &all {
        let (a, b) = (Policy::parse(&case["a"]).unwrap(), Policy::parse(&case["b"]).unwrap());
        for (a, b) in [(&a, &b), (&b, &a)] {
            let verdict = match compatible(a, b, &known) {
                Compatibility::Compatible => "Compatible",
                Compatibility::Conflict(_) => "Conflict",
                Compatibility::Unknown(_) => "Unknown",
            };
            if verdict != case["verdict"] {
                wrong.push(format!(
                    "{}: {verdict}, expected {} ({})",
                    case["id"], case["verdict"], case["about"]
                ));
            }
        }
    }
    eprintln!("compatibility: {} cases, {} wrong", all.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn containment_as_others_see_it() {
    let known = knowledge();
    let mut wrong = Vec::new();
    let all = cases("containment");
    for case in &all {
        let (a, b) = (Policy::parse(&case["a"]).unwrap(), Policy::parse(&case["b"]).unwrap());
        let answer = contained(&a, &b, &known);
        if answer != case["a_within_b"].as_bool() {
            wrong.push(format!(
                "{}: {answer:?}, expected {} ({})",
                case["id"], case["a_within_b"], case["about"]
            ));
        }
    }
    eprintln!("containment: {} cases, {} wrong", all.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
