//! What the documents say is what the program does.

use std::process::Command;

use crate::support::PROGRAM;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{name}")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_command_is_in_the_guide() {
    let help = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("Exit codes: 0 done"), "{help}");
    let guide = read("docs/guide.md");
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let mut seen = 0;
    for command in commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
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
