//! Which crate may use which, held over `cargo metadata` (ARCHITECTURE.md, style of the house).

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Crates of ours and what they may use of ours.
const ALLOWED: &[(&str, &[&str])] = &[
    ("policy-engine", &[]),
    ("trust", &[]),
    ("store", &[]),
    ("catalog", &["policy-engine"]),
    ("protocol", &["policy-engine"]),
    ("dataplane", &["policy-engine"]),
    ("governance", &["policy-engine"]),
    ("connector", &["catalog", "dataplane", "governance", "policy-engine", "protocol", "store", "trust"]),
];

/// What a pure crate never imports.
const IMPURE: &[&str] =
    &["tokio", "hyper", "reqwest", "axum", "rustls", "sled", "redb", "rand", "getrandom", "uuid"];

/// Crates that do no input or output and know no clock.
const PURE: &[&str] = &["policy-engine", "catalog", "protocol", "trust", "governance"];

fn dependencies(package: &Package) -> BTreeSet<String> {
    package
        .dependencies
        .iter()
        .filter(|one| one.kind == DependencyKind::Normal)
        .map(|one| one.name.clone())
        .collect()
}

#[test]
fn the_arrows_go_one_way() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let packages = metadata.workspace_packages();
    assert_eq!(packages.len(), ALLOWED.len());
    for package in packages {
        let name = package.name.as_str();
        let (_, allowed) = ALLOWED.iter().find(|(known, _)| *known == name).expect("a crate without a rule");
        let used = dependencies(package);
        for (ours, _) in ALLOWED.iter().filter(|(ours, _)| used.contains(*ours)) {
            assert!(allowed.contains(ours), "{name} must not use {ours}");
        }
        if PURE.contains(&name) {
            for impure in IMPURE {
                assert!(!used.contains(*impure), "{name} is pure and must not use {impure}");
            }
        }
    }
}

#[test]
fn only_the_engine_steps_and_only_one_file_names_josekit() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let sources = |folder: &str| {
        let mut found = Vec::new();
        let mut folders = vec![std::path::PathBuf::from(format!("{root}/{folder}/src"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found
    };
    for path in sources("connector") {
        let text = std::fs::read_to_string(&path).unwrap();
        if !path.components().any(|part| part.as_os_str() == "engine") {
            assert!(
                !text.contains("negotiation::step(") && !text.contains("transfer::step("),
                "{path:?} steps"
            );
        }
    }
    for path in sources("trust") {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(path.ends_with("jose.rs") || !text.contains("josekit::"), "{path:?} names josekit");
    }
}
