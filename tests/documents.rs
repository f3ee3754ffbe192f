//! What the documents say is what the program does.

use std::process::Command;

use crate::support::PROGRAM;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

pub fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{name}")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_command_is_in_the_guide() {
    let help = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("Exit codes: 0 done"), "{help}");
    let guide = read("docs/guide.md");
    let groups = help.lines().skip_while(|line| *line != "Begin:").take_while(|line| *line != "Options:");
    let commands = groups.filter(|line| line.starts_with("  "));
    let mut seen = 0;
    for command in commands.filter_map(|line| line.split_whitespace().next()) {
        assert!(
            guide.contains(&format!("concordat {command}")),
            "docs/guide.md does not tell of `concordat {command}`"
        );
        seen += 1;
    }
    assert!(seen > 15, "{help}");
}

#[test]
fn every_key_of_the_configuration_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let made =
        Command::new(PROGRAM).arg("--dir").arg(folder.path().join("node")).arg("init").output().unwrap();
    assert!(made.status.success());
    let written = std::fs::read_to_string(folder.path().join("node/concordat.toml")).unwrap();
    let table: toml::Table = toml::from_str(&written).unwrap();
    let documented = read("docs/configuration.md");
    for (section, keys) in &table {
        assert!(documented.contains(&format!("[{section}]")), "[{section}]");
        for key in keys.as_table().unwrap().keys() {
            assert!(documented.contains(&format!("`{key}`")), "{section}.{key}");
        }
    }
}

#[test]
fn the_readme_names_the_two_commands_and_the_files_that_exist() {
    let readme = read("README.md");
    assert!(readme.contains("\n./demo ") && readme.contains("\n./test "));
    for command in ["demo", "test"] {
        assert!(read(command).starts_with("#!/usr/bin/env bash"), "./{command}");
    }
    for file in [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "LICENSE",
        "docs/guide.md",
        "docs/configuration.md",
    ] {
        assert!(!read(file).is_empty());
        assert!(readme.contains(file), "README.md does not lead to {file}");
    }
}

#[test]
fn the_parts_of_the_tests_have_ceilings_that_leave_ci_room() {
    let listed = Command::new(format!("{ROOT}/test")).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let together = listed.lines().find_map(|line| line.strip_prefix("ceilings together: ")).unwrap();
    let minutes: u32 = together.split(' ').next().unwrap().parse().unwrap();
    assert!((30..=70).contains(&minutes), "{listed}");
    for part in ["lint", "unit", "releases", "bare", "dsp-tck"] {
        assert!(listed.lines().any(|line| line.starts_with(part)), "{listed}");
    }
}

/// The tables of the protocols' statements: all of them, each with tests that exist, or with the reason why none does.
#[test]
fn every_statement_of_the_protocols_names_a_test_or_says_why_none() {
    assert_eq!(statements_of("docs/dsp.md"), 176, "statements of the Dataspace Protocol 2025-1");
    assert_eq!(statements_of("docs/dcp.md"), 251, "statements of DCP 1.0.1 and of what it rests on");
}

/// How many statements a table has, each of which is as it should be.
fn statements_of(table: &str) -> usize {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let table = std::fs::read_to_string(root.join(table)).unwrap();
    let mut sources = std::collections::HashMap::new();
    let mut number = 0;
    for line in table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| # ") && !line.starts_with("| ---"))
    {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [count, .., tests] = cells.as_slice() else { panic!("{line}") };
        number += 1;
        assert_eq!(*count, number.to_string(), "{line}");
        assert_eq!(cells.len(), 5, "{line}");
        if let Some(reason) = tests.strip_prefix("none: ") {
            assert!(reason.len() > 20, "{line}");
            continue;
        }
        for test in tests.split(", ") {
            let (file, name) = test.trim_matches('`').split_once("::").unwrap_or_else(|| panic!("{line}"));
            let source = sources.entry(file.to_owned()).or_insert_with(|| {
                std::fs::read_to_string(root.join(file)).unwrap_or_else(|_| panic!("no {file}: {line}"))
            });
            let (before, after) = source
                .split_once(&format!("fn {name}("))
                .unwrap_or_else(|| panic!("{file} has no `{name}`: {line}"));
            let before = before.trim_end().trim_end_matches("async").trim_end();
            let mut attributes = before.lines().rev().take_while(|line| line.trim_start().starts_with("#["));
            // The tests of proptest take their input.
            let is_property = after.lines().next().unwrap().contains(" in ");
            assert!(
                is_property || attributes.any(|line| line.contains("test")),
                "`{name}` is no test: {line}"
            );
        }
    }
    number
}

/// The JSON document of the guide that follows these words in a block of its own.
fn example(before: &str) -> serde_json::Value {
    let guide = read("docs/guide.md");
    let (_, rest) = guide.split_once(before).unwrap_or_else(|| panic!("the guide says `{before}`"));
    let block = rest.split("```json").nth(1).and_then(|block| block.split("```").next()).unwrap();
    serde_json::from_str(block).unwrap()
}

#[test]
fn the_guides_rulebook_and_service_levels_are_taken() {
    let book = governance::rulebook::Rulebook::parse(example("An authority publishes a rulebook")).unwrap();
    assert_eq!(book.broken_templates(&policy_engine::Hierarchy::shipped()), []);
    let levels =
        governance::levels::ServiceLevels::parse(example("--service-levels FILE` promises")).unwrap();
    assert_eq!(levels.cure, Some(jiff::SignedDuration::from_hours(7 * 24)));
}
