//! Inputs from the field with their right answers: `../../shared/cases/interop`, each of a kind. What is not here has its test where
//! its kind is at home.

use serde_json::{Value, json};
use trust::did::segment;
use trust::jose::{Algorithm, PrivateKey};

use crate::support::{Peer, Stranger, World};

fn case(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/cases/interop");
    std::fs::read_to_string(format!("{folder}/{name}")).unwrap()
}

fn json_of(name: &str) -> Value {
    serde_json::from_str(&case(name)).unwrap()
}

/// `policy-remedy.json`: a list of one is a list, at every member.
#[tokio::test]
async fn a_remedy_alone_or_in_a_list_is_negotiated() {
    let world = World::new();
    let (node, consumer) = (world.local_node("node"), world.local_node("consumer"));
    let mut alone = json_of("policy-remedy.json");
    let remedy = alone["prohibition"][0]["remedy"][0].take();
    alone["prohibition"][0]["remedy"] = remedy;
    for (id, policy) in [("urn:test:listed", json_of("policy-remedy.json")), ("urn:test:alone", alone)] {
        let terms = world.folder.path().join("terms.json");
        std::fs::write(&terms, policy.to_string()).unwrap();
        let rows = node.data().join("rows.csv");
        std::fs::write(&rows, "a\n1\n").unwrap();
        let (rows, terms) = (rows.to_str().unwrap(), terms.to_str().unwrap());
        node.json(&["publish", rows, "--id", id, "--title", "Rows", "--policy", terms]);
        let agreed = consumer.json(&["negotiate", &node.did, id]);
        assert_eq!(agreed["state"], "FINALIZED", "{agreed}");
        let shown = consumer.json(&["agreements", "show", agreed["contractAgreementId"].as_str().unwrap()]);
        assert_eq!(
            shown["policy"]["prohibition"][0]["odrl:remedy"].as_array().map_or(1, Vec::len),
            1,
            "{shown}"
        );
    }
}

/// Somebody whose DID document names `service`, and who answers as `answers`; its DID.
fn somebody(world: &World, service: (&str, &str), answers: impl FnOnce(&str) -> axum::Router) -> String {
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let mut did = String::new();
    let _peer = Peer::serving(world, |address| {
        did = trust::did::web(address.strip_prefix("https://").unwrap());
        let services = [("dsp", service.0, format!("{address}{}", service.1))];
        let document = trust::DidDocument::of_node(&did, &format!("{did}#k"), key.public_jwk(), &services);
        let (document, versions) = (document.json().to_string(), case("versions-two-profiles.json"));
        answers(&did)
            .route("/.well-known/did.json", axum::routing::get(|| async { document }))
            .route("/.well-known/dspace-version", axum::routing::get(|| async { versions }))
    });
    did
}

/// The first path below a participant's address at which a node asks for its catalog; its document names `service`.
async fn asked_at(service: (&str, &str)) -> String {
    let world = World::new();
    let node = world.local_node("node");
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let did = somebody(&world, service, |_| {
        axum::Router::new().fallback(move |uri: http::Uri| {
            tell.send(uri.path().to_owned()).unwrap();
            async { http::StatusCode::NOT_FOUND }
        })
    });
    assert!(!node.run(&["catalog", &did]).status.success());
    tokio::time::timeout(std::time::Duration::from_secs(20), told.recv()).await.unwrap().unwrap()
}

/// A peer may compress what it answers (DSP 2025-1, catalog over HTTPS); what would unpack to more than a catalog may have is
/// given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_packed_catalog_is_read_within_its_bounds() {
    let pack = |text: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packer, text).unwrap();
        packer.finish().unwrap()
    };
    let world = World::new();
    let node = world.local_node("node");
    let read = |encoding: &'static str, body: &dyn Fn(&str) -> Vec<u8>| {
        let did = somebody(&world, ("CatalogService", "/catalog"), |did| {
            let body = body(did);
            let answer = move || async move {
                ([("content-encoding", encoding), ("content-type", "application/json")], body)
            };
            axum::Router::new().route("/catalog/request", axum::routing::post(answer))
        });
        let output = node.run(&["--json", "catalog", &did]);
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let catalog = |did: &str| {
        let titles: Vec<_> = (0..2000)
            .map(|number| {
                json!({"@id": format!("urn:d:{number}"), "@type": "Dataset",
            "hasPolicy": [{"@id": "urn:o", "@type": "Offer", "permission": [{"action": "use"}]}],
            "distribution": [{"@type": "Distribution", "format": "HttpData-PULL", "accessService": "urn:s"}]})
            })
            .collect();
        json!({"@context": [crate::support::CONTEXT], "@id": "urn:c", "@type": "Catalog", "participantId": did,
            "service": [{"@id": "urn:s", "@type": "DataService", "endpointURL": "https://p.example"}], "dataset": titles})
        .to_string()
        .into_bytes()
    };
    let (read_it, said) = read("gzip", &|did| pack(&catalog(did)));
    let (as_it_is, _) = read("utf-8", &|did| catalog(did));
    assert!(as_it_is, "what names no packer is not packed");
    assert!(read_it && said.contains("urn:d:1999"), "{}", said.chars().take(500).collect::<String>());
    for (encoding, body, reason) in [
        ("gzip", pack(&vec![b' '; 80 << 20]), "unpacks to more than"),
        ("gzip", b"not packed".to_vec(), "not the gzip"),
        ("br", b"x".to_vec(), "packed with `br`"),
    ] {
        let (read_it, said) = read(encoding, &|_| body.clone());
        assert!(!read_it && said.contains(reason), "{reason}: {said}");
    }
}

/// `versions-two-profiles.json`: of two entries of one version, the one by an authentication that this node speaks.
#[tokio::test(flavor = "multi_thread")]
async fn the_entry_of_a_version_that_this_node_can_speak_is_taken() {
    let asked = asked_at(("DataService", "/.well-known/dspace-version")).await;
    assert_eq!(asked, "/dsp/2025-1/catalog/request");
}

/// A participant may name its catalog alone (DSP 2025-1, DID service entries).
#[tokio::test(flavor = "multi_thread")]
async fn a_participant_is_found_by_its_catalog_alone() {
    assert_eq!(asked_at(("CatalogService", "/connector/catalog")).await, "/connector/catalog/request");
}

/// `catalog-request-edc.json`: everything, whatever limit it names.
#[tokio::test]
async fn edcs_request_for_everything_gets_everything() {
    let world = World::new();
    let node = world.local_node("node");
    for number in 1..=3 {
        node.publish(&format!("urn:test:{number}"), b"a\n1\n", &[]);
    }
    let stranger = Stranger::new(&world);
    let (status, catalog) =
        stranger.send(&node, "POST", "/catalog/request", &json_of("catalog-request-edc.json")).await;
    assert_eq!((status, catalog["dataset"].as_array().map(Vec::len)), (200, Some(3)), "{catalog}");
}

/// `agreement-timestamps.txt`: what the contract schema's pattern allows.
#[test]
fn timestamps_of_agreements_are_read_as_the_schema_has_them() {
    let of = |timestamp: &str| {
        protocol::wire::Agreement::parse(json!({"@id": "urn:a", "@type": "Agreement", "target": "urn:d",
            "assigner": "did:web:p", "assignee": "did:web:c", "timestamp": timestamp, "permission": [{"action": "use"}]}))
    };
    for line in case("agreement-timestamps.txt").lines() {
        let timestamp = line.split_whitespace().next().unwrap();
        assert!(of(timestamp).is_ok(), "{line}: {:?}", of(timestamp).err());
    }
    assert!(of("2026-11-25").is_err() && of("tomorrow").is_err());
}

/// `odrl-agreement-rule-targets.json`: target and parties at the rule.
#[tokio::test]
async fn an_agreement_with_target_and_parties_at_its_rule_is_read_explained_and_decided() {
    let world = World::new();
    let node = world.local_node("node");
    let file = world.folder.path().join("rule.json");
    std::fs::write(&file, case("odrl-agreement-rule-targets.json")).unwrap();
    let explained = node.text(&["policy", "explain", file.to_str().unwrap()]);
    for text in ["play", "http://example.com/m", "http://example.com/a", "http://example.com/b"] {
        assert!(explained.contains(text), "{explained}");
    }
    let ask = |assignee: &str| {
        let path = world.folder.path().join("request.json");
        std::fs::write(
            &path,
            json!({"@type": "Request", "permission": [{"action": "play", "target": "http://example.com/m",
            "assignee": assignee}]})
            .to_string(),
        )
        .unwrap();
        node.run(&["policy", "test", file.to_str().unwrap(), path.to_str().unwrap()])
    };
    let answer = ask("http://example.com/b");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    assert!(!ask("http://example.com/c").status.success());
}

/// `process-ids.txt`: whatever a peer calls a process is one segment of the path of our answers.
#[test]
fn process_ids_are_one_segment_of_a_path() {
    let listed = case("process-ids.txt");
    let ids = listed.lines().skip(1).filter_map(|line| line.split("  ").next()).map(str::trim);
    for id in ids.filter(|id| *id != "..") {
        let path = segment(id);
        assert!(!path.contains(['/', '?', '#', ' ']), "{id}: {path}");
        assert_eq!(percent_encoding::percent_decode_str(&path).decode_utf8().unwrap(), id);
    }
    assert_eq!(segment("a%20b"), "a%2520b");
}
