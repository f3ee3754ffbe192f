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

/// Ids of parties may differ from their DIDs (DSP 2025-1, ContractAgreementMessage): business partner numbers, by configuration. Keys
/// stay those of the DIDs.
#[tokio::test]
async fn participants_stand_under_ids_that_are_no_dids() {
    const DATASET: &str = "urn:test:rows";
    const WRONG: &str = "BPNL00000009WRNG";
    let (ours, theirs) = ("BPNL00000001PROV", "BPNL00000002CONS");
    let world = World::new();
    let (mut provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let other = world.local_node("other");
    provider.publish(DATASET, b"a\n1\n", &[]);
    let id = |id: &str, peer: &str, of_peer: &str| {
        format!("id = \"{id}\"\n\n[peers.\"{peer}\"]\nid = \"{of_peer}\"\n\n[public]")
    };
    provider.configure("\n[public]", &id(ours, &consumer.did, theirs));
    consumer.configure("\n[public]", &id(theirs, &provider.did, WRONG));
    let refused = consumer.run(&["catalog", &provider.did]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains(&format!("the catalog of `{ours}`")), "{said}");
    consumer.configure(WRONG, ours);

    assert_eq!(consumer.json(&["catalog", ours])["participantId"], ours);
    assert_eq!(
        other.json(&["catalog", &provider.did])["participantId"],
        provider.did,
        "without a line, the DID"
    );
    let shown = consumer.json(&["peers", "show", ours]);
    assert_eq!((&shown["did"], &shown["id"]), (&json!(provider.did), &json!(ours)), "{shown}");
    let agreed = consumer.json(&["negotiate", ours, DATASET]);
    assert_eq!((&agreed["state"], &agreed["counterPartyId"]), (&json!("FINALIZED"), &json!(provider.did)));
    let agreement = agreed["contractAgreementId"].as_str().unwrap();
    for node in [&provider, &consumer] {
        let shown = node.json(&["agreements", "show", agreement]);
        let parties = (&shown["policy"]["assigner"], &shown["policy"]["assignee"]);
        assert_eq!(parties, (&json!(ours), &json!(theirs)), "{shown}");
        assert!(
            shown["urn:concordat:signedByProvider"] == true
                && shown["urn:concordat:signedByConsumer"] == true
        );
        let file = node.data().join("agreement.json");
        let file = file.to_str().unwrap();
        node.text(&["agreements", "export", agreement, "-o", file]);
        let proof = node.text(&["agreements", "verify", file]);
        assert!(proof.contains("Everything holds"), "{proof}");
        assert!(proof.contains(&format!("stands for {}", provider.did)), "{proof}");
        let forged = std::fs::read_to_string(file).unwrap().replace(theirs, "BPNL00000003EVIL");
        std::fs::write(file, forged).unwrap();
        assert_eq!(node.run(&["agreements", "verify", file]).status.code(), Some(5));
    }
    let pulled = consumer.run(&["pull", agreement]);
    assert_eq!(pulled.stdout, b"a\n1\n", "{}", String::from_utf8_lossy(&pulled.stderr));
    // Terms may name a participant either way.
    provider.publish("urn:test:named", b"b\n", &["--only-for", theirs]);
    assert_eq!(consumer.json(&["negotiate", ours, "urn:test:named"])["state"], "FINALIZED");
    let started = other.json(&["negotiate", &provider.did, DATASET]);
    let with_other = provider.json(&["agreements", "show", started["contractAgreementId"].as_str().unwrap()]);
    assert_eq!(with_other["policy"]["assigner"], provider.did);
}

/// The catalog says where one negotiates (DSP 2025-1, DataService `endpointURL`); what cannot be reached from here (EDC behind a proxy
/// that rewrites nothing) is passed over for the base that the DID document leads to.
#[tokio::test(flavor = "multi_thread")]
async fn a_negotiation_goes_where_the_catalog_says() {
    for (endpoint, expected) in [
        ("/elsewhere", "/elsewhere/negotiations/request"),
        ("http://edc-controlplane:8282/protocol", "/dsp/2025-1/negotiations/request"),
    ] {
        let world = World::new();
        let node = world.local_node("node");
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let did = somebody(&world, ("DataService", "/.well-known/dspace-version"), |did| {
            let base = format!("https://{}", did.trim_start_matches("did:web:").replace("%3A", ":"));
            let endpoint =
                if endpoint.starts_with('/') { format!("{base}{endpoint}") } else { endpoint.to_owned() };
            let service = json!({"@id": "urn:s", "@type": "DataService", "endpointURL": endpoint});
            let dataset = json!({"@context": [crate::support::CONTEXT], "@id": "urn:d", "@type": "Dataset",
                "hasPolicy": [{"@id": "urn:o", "@type": "Offer", "permission": [{"action": "use"}]}],
                "distribution": [{"@type": "Distribution", "format": "HttpData-PULL", "accessService": service}]});
            let answer = move || async move { axum::Json(dataset) };
            axum::Router::new()
                .route("/dsp/2025-1/catalog/datasets/{id}", axum::routing::get(answer))
                .fallback(move |uri: http::Uri| {
                    tell.send(uri.path().to_owned()).unwrap();
                    async { http::StatusCode::NOT_FOUND }
                })
        });
        node.text(&["negotiate", &did, "urn:d", "--no-wait"]);
        let asked =
            tokio::time::timeout(std::time::Duration::from_secs(20), told.recv()).await.unwrap().unwrap();
        assert_eq!(asked, expected);
    }
}

/// Transfer requests go to the provider's base (DSP 2025-1, transfer over HTTPS), also after a negotiation that the provider began from
/// another address of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_after_an_offer_first_goes_to_the_providers_base() {
    let world = World::new();
    let mut node = world.local_node("node");
    node.configure("signatures = \"required\"", "signatures = \"accept-peer-token\"");
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (mut did, mut address) = (String::new(), String::new());
    let _peer = Peer::serving(&world, |own| {
        address = own.to_owned();
        did = trust::did::web(own.strip_prefix("https://").unwrap());
        let services = [("dsp", "DataService", format!("{own}/.well-known/dspace-version"))];
        let document =
            trust::DidDocument::of_node(&did, &format!("{did}#key-1"), key.public_jwk(), &services);
        let (document, versions) = (document.json().to_string(), case("versions-two-profiles.json"));
        axum::Router::new()
            .route("/.well-known/did.json", axum::routing::get(|| async { document }))
            .route("/.well-known/dspace-version", axum::routing::get(|| async { versions }))
            .fallback(move |uri: http::Uri| {
                tell.send(uri.path().to_owned()).unwrap();
                async { http::StatusCode::OK }
            })
    });
    let provider = Stranger { kid: format!("{did}#key-1"), did: did.clone(), ..Stranger::of(key, &world) };
    let mut next = async || {
        tokio::time::timeout(std::time::Duration::from_secs(20), told.recv()).await.unwrap().unwrap()
    };
    let terms =
        json!({"@id": "urn:o", "@type": "Offer", "target": "urn:d", "permission": [{"action": "use"}]});
    let message = |kind: &str, rest: Value| {
        let mut message =
            json!({"@context": [crate::support::CONTEXT], "@type": kind, "providerPid": "urn:p"});
        message.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        message
    };
    let callback = format!("{address}/callbacks/7");
    let offer = message("ContractOfferMessage", json!({"offer": terms, "callbackAddress": callback}));
    let (status, answer) = provider.send(&node, "POST", "/negotiations/offers", &offer).await;
    assert_eq!(status, 201, "{answer}");
    let ours = answer["consumerPid"].as_str().unwrap();
    node.text(&["negotiations", "approve", ours]);
    assert_eq!(next().await, "/callbacks/7/negotiations/urn:p/events");
    let agreement = json!({"@id": "urn:a", "@type": "Agreement", "target": "urn:d", "assigner": did, "assignee": node.did,
        "timestamp": "2026-01-01T00:00:00Z", "permission": [{"action": "use"}]});
    let agreed = message("ContractAgreementMessage", json!({"consumerPid": ours, "agreement": agreement}));
    let path = format!("/negotiations/{}", segment(ours));
    let (status, answer) = provider.send(&node, "POST", &format!("{path}/agreement"), &agreed).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(next().await, "/callbacks/7/negotiations/urn:p/agreement/verification");
    let event =
        message("ContractNegotiationEventMessage", json!({"consumerPid": ours, "eventType": "FINALIZED"}));
    let (status, answer) = provider.send(&node, "POST", &format!("{path}/events"), &event).await;
    assert_eq!(status, 200, "{answer}");
    let request = json!({"contractId": "urn:a", "transferType": "HttpData-PULL"});
    node.post("/v4/transferprocesses", request).await;
    assert_eq!(next().await, "/dsp/2025-1/transfers/request");
}

/// "A policy without action or an offer past its end is refused with the reason": where it is published, and where it is asked for.
#[tokio::test]
async fn terms_under_which_nothing_could_be_read_are_refused() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let refused = |node: &crate::support::Node, arguments: &[&str], said: &str| {
        let output = node.run(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(said), "{arguments:?}: {told}");
    };
    let (rows, terms) = (provider.data().join("rows.csv"), provider.data().join("terms.json"));
    std::fs::write(&rows, "a\n1\n").unwrap();
    let (rows, terms) = (rows.to_str().unwrap(), terms.to_str().unwrap());
    let publish = ["publish", rows, "--id", "urn:d", "--title", "Rows"];
    let with = |more: &[&'static str]| [&publish[..], more].concat();
    refused(&provider, &with(&["--valid-until", "2020-01-01"]), "/permission/0: its time is past");
    std::fs::write(terms, json!({"@type": "Set", "permission": [{"constraint": []}]}).to_string()).unwrap();
    refused(&provider, &[&publish[..], &["--policy", terms]].concat(), "/permission/0");
    // What runs out while it is on offer.
    provider.json(&with(&["--valid-until", "2100-01-01"]));
    provider.stop();
    let (key, ..) =
        provider.records("policy-definition/").into_iter().find(|(key, _)| key.contains("terms")).unwrap();
    provider
        .alter(&key, |definition| {
            let text = definition.to_string().replace("2100", "2020");
            *definition = serde_json::from_str(&text).unwrap();
        })
        .await;
    provider.start();
    refused(
        &consumer,
        &["negotiate", &provider.did, "urn:d"],
        "nothing could ever be read under these terms",
    );
}
