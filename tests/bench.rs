//! The operator's benchmark runs and tells machines the same facts.

use std::process::Command;

use crate::support::PROGRAM;

#[test]
fn a_small_catalog_gives_every_figure() {
    let output = Command::new(PROGRAM).args(["bench", "--json", "--catalog", "20"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = figures.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    for what in [
        "a page of 100, 99 %",
        "one dataset, median",
        "whole catalog read",
        "text search",
        "memory of the reader",
    ] {
        assert!(names.iter().any(|name| name.contains(what)), "{what}: {names:?}");
    }
}

#[test]
fn a_small_run_gives_every_figure() {
    let small =
        ["bench", "--json", "--negotiations", "5", "--together", "40", "--stream-mib", "8", "--starts", "1"];
    let output = Command::new(PROGRAM).args(small).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = figures.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 10, "{names:?}");
    assert!(figures.as_array().unwrap().iter().all(|one| one["value"].as_f64().unwrap() >= 0.0));
}

#[test]
fn the_cost_of_consent_is_told() {
    let output = Command::new(PROGRAM).args(["bench", "--json", "--consent", "1000"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let cost = figures.as_array().unwrap().iter().find(|one| one["name"] == "cost of consent a row").unwrap();
    assert!(cost["unit"] == "ns" && cost["value"].as_f64().unwrap() < 100_000.0, "{figures}");
}
