//! Policy cases that others wrote: compatibility, containment and evaluation. The folder is `../../shared/policy-cases`, or what
//! `POLICY_CASES` names.
#![expect(clippy::unwrap_used, clippy::print_stderr, clippy::indexing_slicing, reason = "tests")]

use std::path::PathBuf;

use policy_engine::{Compatibility, Hierarchy, Policy, Question, compatible, contained};
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

/// The conversion merged the constraints of several cases under one identifier, so their operator is a list of all;
/// which one is meant, the case's title says: `(temporal lteq - past)`.
fn restore_operator(case: &mut Json) {
    let title = case["title"].as_str().unwrap_or_default().to_owned();
    let Some((_, after)) = title.split_once("(temporal ") else { return };
    let word: String = after.chars().take_while(char::is_ascii_alphabetic).collect();
    let rules = case["policy"]["permission"].as_array_mut().into_iter().flatten();
    for constraint in rules.filter_map(|rule| rule["constraint"].as_array_mut()).flatten() {
        let merged =
            constraint["operator"].as_array().is_some_and(|all| all.contains(&Json::from(word.as_str())));
        if merged {
            constraint["operator"] = Json::from(word.as_str());
        }
    }
}

/// Whether a report says all that was expected; a premise without content leaves open what it says.
fn agrees(found: &Json, expected: &Json) -> bool {
    let sorted = |report: &Json| {
        let mut premises: Vec<_> = report["premises"].as_array().into_iter().flatten().cloned().collect();
        premises.sort_by_key(|one| one["report"].as_str().unwrap_or("~").to_owned());
        premises
    };
    let (own, wanted) = (sorted(found), sorted(expected));
    let same = |key: &str| found[key] == expected[key];
    let open = wanted.iter().any(|one| one["report"].is_null());
    same("rule")
        && same("report")
        && same("attempt")
        && same("activation")
        && own.len() == wanted.len()
        && wanted.iter().filter(|one| !one["report"].is_null()).all(|one| {
            own.iter()
                .any(|mine| one.as_object().unwrap().iter().all(|(key, value)| mine.get(key) == Some(value)))
        })
        && (open || own.iter().zip(&wanted).all(|(own, wanted)| own["report"] == wanted["report"]))
}

#[test]
fn evaluation_as_others_see_it() {
    let mut wrong = Vec::new();
    let mut all = cases("evaluation");
    for case in &mut all {
        restore_operator(case);
        let now = "1970-01-01T00:00:00Z".parse().unwrap();
        let question = Question::parse(
            &case["policy"],
            &[],
            &case["request"],
            &case["world"],
            now,
            Hierarchy::default(),
        )
        .unwrap();
        let found = question.report_json();
        let (own, expected) = (found.as_array().unwrap(), case["expected"].as_array().unwrap());
        let each = expected.iter().all(|wanted| own.iter().any(|found| agrees(found, wanted)));
        if own.len() != expected.len() || !each {
            wrong.push(format!("{}: {found}, expected {}", case["id"], case["expected"]));
        }
    }
    eprintln!("evaluation: {} cases, {} wrong", all.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
