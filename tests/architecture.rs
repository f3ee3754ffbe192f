//! Which crate may use which, held over `cargo metadata` (ARCHITECTURE.md, style of the house).

use std::collections::BTreeSet;
use std::path::PathBuf;

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

/// The source files of a crate.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(format!("{}/../{folder}/src", env!("CARGO_MANIFEST_DIR")))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

/// What opens connections by itself, and who may name it: the one way out, sources and tools that go where the operator says.
#[test]
fn nothing_dials_strangers_but_through_the_guarded_client() {
    // None of these is handed an address that a stranger chose.
    const MAY: &[&str] = &[
        "connector/src/network.rs",
        "connector/src/sources.rs",
        "connector/src/cli/",
        "dataplane/src/requests.rs",
        "dataplane/src/source/http.rs",
        "dataplane/src/source/ngsi.rs",
        "dataplane/src/source/mqtt.rs",
        "dataplane/src/source/nats.rs",
        "dataplane/src/source/postgres.rs",
    ];
    const DIALS: &[&str] = &[
        "reqwest::Client",
        "reqwest::get",
        "reqwest::RequestBuilder",
        "TcpStream::connect",
        "UdpSocket",
        "lookup_host",
        "upstream_client",
        "hyper_util::client",
        "async_nats",
        "tokio_postgres",
    ];
    for folder in
        ["connector", "dataplane", "trust", "protocol", "catalog", "governance", "policy-engine", "store"]
    {
        for path in sources(folder) {
            let name = path.to_str().unwrap().rsplit_once("/../").unwrap().1.to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let dials: Vec<_> = DIALS.iter().filter(|one| text.contains(**one)).collect();
            // The node only hands the operator's client to its sources.
            let hands_on = name == "connector/src/node.rs" && dials == [&"upstream_client"];
            let may = hands_on || MAY.iter().any(|may| name.starts_with(may));
            assert!(dials.is_empty() || may, "{name} dials by itself: {dials:?}; use network::PeerClient");
        }
    }
}

/// A task that nobody tracks outlives its node, and what it was to write down is lost at the stop.
#[test]
fn what_goes_on_beside_a_node_is_tracked() {
    // One is waited for where it is spawned, the other is a test's.
    const MAY: &[&str] = &["connector/src/http.rs", "connector/src/network.rs", "connector/src/cli/"];
    for path in sources("connector") {
        let name = path.to_str().unwrap().rsplit_once("/../").unwrap().1.to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let may = MAY.iter().any(|may| name.starts_with(may));
        assert!(may || !text.contains("tokio::spawn("), "{name} spawns a task; use tasks::Tasks");
    }
}

#[test]
fn only_the_engine_steps_and_only_one_file_names_josekit() {
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
