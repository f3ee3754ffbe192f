//! What others wrote and this program ships: their licences, and what is known against their versions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::semver::{Version, VersionReq};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use serde_json::Value;

/// Licences under which crates may come in, by SPDX.
const LICENCES: [&str; 16] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "LLVM-exception",
    "MPL-2.0",
];

/// Advisories that do not reach this program, and why.
const ACCEPTED: [(&str, &str); 0] = [];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn metadata() -> Metadata {
    let options = ["--offline", "--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned);
    MetadataCommand::new().current_dir(root()).other_options(options).exec().unwrap()
}

/// Name, version and licence of every crate in the shipped program.
fn shipped(metadata: &Metadata) -> BTreeSet<(String, String, String)> {
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let program = metadata.packages.iter().find(|one| one.name.as_str() == "connector").unwrap();
    let (mut reached, mut waiting) = (BTreeSet::new(), vec![&program.id]);
    while let Some(id) = waiting.pop() {
        if reached.insert(id) {
            let needed = nodes[id]
                .deps
                .iter()
                .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development));
            waiting.extend(needed.map(|dep| &dep.pkg));
        }
    }
    let others = metadata.packages.iter().filter(|one| reached.contains(&one.id) && one.source.is_some());
    others
        .map(|one| (one.name.to_string(), one.version.to_string(), one.license.clone().unwrap_or_default()))
        .collect()
}

#[test]
fn every_crate_in_the_program_is_in_the_notices_under_a_licence_that_permits_it() {
    let notices = std::fs::read_to_string(root().join("THIRD-PARTY-NOTICES.md")).unwrap();
    let shipped = shipped(&metadata());
    assert!(shipped.len() > 100);
    for (name, version, licence) in &shipped {
        assert!(
            notices.contains(&format!("\n| {name} | {version} | ")),
            "{name} {version} is missing: run packaging/notices.py"
        );
        let known = |one: &str| LICENCES.contains(&one.trim_matches(['(', ')']));
        // One of several is enough where it says OR.
        let fine = licence
            .replace('/', " OR ")
            .split(" OR ")
            .any(|one| one.split_whitespace().all(|word| ["AND", "WITH"].contains(&word) || known(word)));
        assert!(fine, "{name} {version} comes under `{licence}`");
    }
    let rows = notices.lines().filter(|line| line.starts_with("| ")).count() - 2;
    assert_eq!(
        rows,
        shipped.len(),
        "a crate that is not shipped stands in the notices: run packaging/notices.py"
    );
}

#[test]
fn no_crate_has_a_version_that_an_advisory_names() {
    let stored = std::fs::read_to_string(root().join("packaging/advisories.json")).unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    let locked = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
        line.map(|text| text.trim_end_matches('"').to_owned())
    };
    let packages: Vec<(String, Version)> = locked
        .split("[[package]]")
        .filter_map(|block| Some((field(block, "name")?, field(block, "version")?.parse().ok()?)))
        .collect();
    assert!(packages.len() > 200);
    let mut open = Vec::new();
    for advisory in stored["advisories"].as_array().unwrap() {
        // Crates that nobody maintains are weighed when they are chosen.
        if advisory["informational"].is_string() {
            continue;
        }
        let matches = |list: &str, version: &Version| {
            advisory[list]
                .as_array()
                .unwrap()
                .iter()
                .any(|one| one.as_str().unwrap().parse::<VersionReq>().unwrap().matches(version))
        };
        for (name, version) in packages.iter().filter(|(name, _)| advisory["crate"] == name.as_str()) {
            let id = advisory["id"].as_str().unwrap();
            let accepted = ACCEPTED.iter().any(|(accepted, _)| *accepted == id);
            if !matches("patched", version) && !matches("unaffected", version) && !accepted {
                open.push(format!("{id}: {name} {version}"));
            }
        }
    }
    assert!(open.is_empty(), "advisories known on {}: {open:#?}", stored["date"]);
}
