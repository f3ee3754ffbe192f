//! Every example of the specification parses and round-trips; everything the types produce is schema-valid.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use jsonschema::{Registry, Validator};
use protocol::wire::*;
use protocol::*;
use serde_json::{Value as Json, json};

const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
const BASE: &str = "https://w3id.org/dspace/2025/1/";

fn read(path: &Path) -> Json {
    // The published transfer schemas point to `...json#definitions/...`; RFC 6901 wants the slash.
    let text = std::fs::read_to_string(path).unwrap().replace(".json#definitions/", ".json#/definitions/");
    serde_json::from_str(&text).unwrap()
}

/// All schemas by their path below the base, for example `negotiation/contract-schema.json`.
fn schemas() -> BTreeMap<String, Json> {
    ["catalog", "common", "negotiation", "transfer"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(format!("{SCHEMAS}/{folder}")).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "json"))
        .map(|path| (path.strip_prefix(SCHEMAS).unwrap().display().to_string(), read(&path)))
        .collect()
}

fn validator(name: &str) -> Validator {
    let schemas = schemas();
    let others = schemas.iter().map(|(path, schema)| (format!("{BASE}{path}"), schema));
    let registry = Registry::new().extend(others).unwrap().prepare().unwrap();
    jsonschema::options().with_registry(&registry).build(&schemas[name]).unwrap()
}

fn valid(name: &str, document: &Json) {
    let validator = validator(name);
    let errors: Vec<_> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:?}\n{document:#}");
}

fn round_trip<T: DspMessage>(folder: &str, example: &str, schema: &str) {
    let original = read(Path::new(&format!("{SCHEMAS}/{folder}/example/{example}.json")));
    let received: Received<T> =
        from_json(original.clone()).unwrap_or_else(|refusal| panic!("{example}: {refusal}"));
    let id = received.id.as_ref().filter(|id| !id.is_of_content());
    let written = to_json(&received.message, id);
    assert_eq!(written, original, "{example}");
    valid(&format!("{folder}/{schema}-schema.json"), &written);
}

#[test]
fn negotiation_examples_round_trip() {
    let folder = "negotiation";
    for example in ["contract-request-message", "contract-request-message_initial"] {
        round_trip::<ContractRequestMessage>(folder, example, "contract-request-message");
    }
    for example in ["contract-offer-message", "contract-offer-message_initial"] {
        round_trip::<ContractOfferMessage>(folder, example, "contract-offer-message");
    }
    for example in ["contract-agreement-message", "contract-agreement-message-full"] {
        round_trip::<ContractAgreementMessage>(folder, example, "contract-agreement-message");
    }
    round_trip::<ContractAgreementVerificationMessage>(
        folder,
        "contract-agreement-verification-message",
        "contract-agreement-verification-message",
    );
    round_trip::<ContractNegotiationEventMessage>(
        folder,
        "contract-negotiation-event-message",
        "contract-negotiation-event-message",
    );
    round_trip::<ContractNegotiationTerminationMessage>(
        folder,
        "contract-negotiation-termination-message",
        "contract-negotiation-termination-message",
    );
    round_trip::<ContractNegotiation>(folder, "contract-negotiation", "contract-negotiation");
    round_trip::<ContractNegotiationError>(
        folder,
        "contract-negotiation-error",
        "contract-negotiation-error",
    );
}

#[test]
fn transfer_examples_round_trip() {
    let folder = "transfer";
    round_trip::<TransferRequestMessage>(folder, "transfer-request-message", "transfer-request-message");
    round_trip::<TransferStartMessage>(folder, "transfer-start-message", "transfer-start-message");
    round_trip::<TransferCompletionMessage>(
        folder,
        "transfer-completion-message",
        "transfer-completion-message",
    );
    round_trip::<TransferSuspensionMessage>(
        folder,
        "transfer-suspension-message",
        "transfer-suspension-message",
    );
    round_trip::<TransferTerminationMessage>(
        folder,
        "transfer-termination-message",
        "transfer-termination-message",
    );
    round_trip::<TransferProcess>(folder, "transfer-process", "transfer-process");
    round_trip::<TransferError>(folder, "transfer-error", "transfer-error");
}

#[test]
fn catalog_examples_round_trip() {
    let folder = "catalog";
    round_trip::<CatalogRequestMessage>(folder, "catalog-request-message", "catalog-request-message");
    round_trip::<DatasetRequestMessage>(folder, "dataset-request-message", "dataset-request-message");
    round_trip::<CatalogError>(folder, "catalog-error", "catalog-error");
    round_trip::<Dataset>(folder, "dataset", "dataset");
    for example in ["catalog", "nested-catalog"] {
        round_trip::<Catalog>(folder, example, "catalog");
    }
}

#[test]
fn a_catalog_we_write_is_schema_valid() {
    let mut catalog = Catalog::new("urn:c".to_owned(), "did:web:p".to_owned());
    valid("catalog/catalog-schema.json", &to_json(&catalog, None));
    let title = serde_json::Map::from_iter([("http://purl.org/dc/terms/title".to_owned(), json!("NO2"))]);
    let distribution = Distribution::new("HttpData-PULL".to_owned(), "urn:s".to_owned(), title.clone());
    let dataset = Dataset::new("urn:d".to_owned(), vec![offer().json().clone()], vec![distribution], title);
    valid("catalog/dataset-schema.json", &to_json(&dataset, None));
    catalog.dataset.push(dataset);
    catalog.service.push(DataService::new("urn:s".to_owned(), "https://p/dsp".to_owned()));
    valid("catalog/catalog-schema.json", &to_json(&catalog, None));
    valid("catalog/catalog-error-schema.json", &to_json(&CatalogError::default(), None));
}

#[test]
fn the_version_example_round_trips() {
    let original = read(Path::new(&format!("{SCHEMAS}/common/example/protocol-version.json")));
    let versions: VersionResponse = serde_json::from_value(original.clone()).unwrap();
    assert_eq!(serde_json::to_value(&versions).unwrap(), original);
    valid("common/protocol-version-schema.json", &original);
    assert_eq!(versions.choose().unwrap().path, "/some/path/2025-1");
    let older = VersionResponse {
        protocol_versions: versions
            .protocol_versions
            .into_iter()
            .filter(|one| one.version == "2024-1")
            .collect(),
    };
    assert_eq!(older.choose().unwrap_err(), "the peer speaks 2024-1, this node speaks 2025-1");
}

fn offer() -> Offer {
    Offer::parse(json!({"@id": "urn:o", "@type": "Offer", "permission": [{"action": "use", "constraint": [
        {"leftOperand": "purpose", "operator": "eq", "rightOperand": "p"}]}], "prohibition": [{"action": "distribute"}],
        "obligation": [{"action": "attribute"}]}))
    .unwrap()
}

/// Plays every decision of both machines and validates each message that is sent, optional parts present and absent.
#[test]
fn everything_sent_is_schema_valid() {
    let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
    let dataset = DatasetId::new("urn:d");
    let mut sent = Vec::new();
    for role in Role::ALL {
        for (state, decision) in negotiation_decisions(role, now) {
            let parties = negotiation::Parties {
                own: ParticipantId::new(format!("did:web:{role}")),
                own_address: "https://own".to_owned(),
                peer: ParticipantId::new(format!("did:web:{}", role.other())),
                peer_address: "https://peer".to_owned(),
                names: Names::default(),
                dataset: dataset.clone(),
            };
            let begun = negotiation::begin(
                role,
                "urn:own".to_owned(),
                parties,
                offer().with_target(&dataset),
                MessageId::new("urn:m1"),
                now,
            );
            let mut process = begun.next;
            sent.extend(begun.effects);
            process.consumer_pid.get_or_insert_with(|| ConsumerPid::new("urn:c"));
            process.provider_pid.get_or_insert_with(|| ProviderPid::new("urn:p"));
            process.progress.pending = None;
            process.progress.state = Some(state);
            let input = negotiation::Input::Decided { decision, message: MessageId::new("urn:m2") };
            sent.extend(negotiation::step(process, input, now).unwrap().effects);
        }
        for (state, decision) in transfer_decisions(role) {
            let parties = transfer::Parties {
                own: ParticipantId::new("did:web:own"),
                own_address: "https://own".to_owned(),
                peer: ParticipantId::new("did:web:peer"),
                peer_address: "https://peer".to_owned(),
                agreement: AgreementId::new("urn:a"),
                dataset: dataset.clone(),
                format: "HttpData-PULL".to_owned(),
            };
            let begun =
                transfer::begin(ConsumerPid::new("urn:c"), parties, None, MessageId::new("urn:m1"), now);
            let mut process = begun.next;
            sent.extend(begun.effects);
            process.role = role;
            process.provider_pid = Some(ProviderPid::new("urn:p"));
            process.progress.pending = None;
            process.progress.state = Some(state);
            let input = transfer::Input::Decided { decision, message: MessageId::new("urn:m2") };
            sent.extend(transfer::step(process, input, now).unwrap().effects);
        }
    }
    let mut kinds = std::collections::BTreeSet::new();
    for effect in sent {
        let Effect::Send(outgoing) = effect else { continue };
        let kind = outgoing.body["@type"].as_str().unwrap().to_owned();
        valid(schema_of(&kind), &outgoing.body);
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 11, "{kinds:?}");
    for error in [None, Some("illegal-transition".to_owned())] {
        let reason = error.iter().map(|_| json!("why")).collect::<Vec<_>>();
        let (provider_pid, consumer_pid) = (ProviderPid::new("urn:p"), ConsumerPid::new("urn:c"));
        let negotiation = ContractNegotiationError {
            provider_pid: provider_pid.clone(),
            consumer_pid: consumer_pid.clone(),
            code: error.clone(),
            reason: reason.clone(),
        };
        valid("negotiation/contract-negotiation-error-schema.json", &to_json(&negotiation, None));
        let transfer = TransferError { provider_pid, consumer_pid, code: error, reason };
        valid("transfer/transfer-error-schema.json", &to_json(&transfer, None));
    }
}

fn negotiation_decisions(role: Role, now: Timestamp) -> Vec<(negotiation::State, negotiation::Decision)> {
    use negotiation::{Decision, State};
    let (provider, consumer) =
        (ParticipantId::new("did:web:provider"), ParticipantId::new("did:web:consumer"));
    let (agreement, parts) = offer()
        .agreement(
            &AgreementId::new("urn:a"),
            &DatasetId::new("urn:d"),
            (&provider, &consumer),
            now,
            serde_json::Map::new(),
            2,
        )
        .unwrap();
    let end = Decision::Terminate("enough".to_owned());
    match role {
        Role::Consumer => vec![
            (State::Offered, Decision::Request(offer())),
            (State::Offered, Decision::Accept),
            (State::Agreed, Decision::Verify { signature: None }),
            (State::Agreed, Decision::Verify { signature: Some("jws".to_owned()) }),
            (State::Requested, end),
        ],
        Role::Provider => vec![
            (State::Requested, Decision::Offer(offer())),
            (
                State::Requested,
                Decision::Agree { agreement: agreement.clone(), parts: parts.clone(), signature: None },
            ),
            (State::Accepted, Decision::Agree { agreement, parts, signature: Some("jws".to_owned()) }),
            (State::Verified, Decision::Finalize),
            (State::Offered, end),
        ],
    }
}

fn transfer_decisions(role: Role) -> Vec<(transfer::State, transfer::Decision)> {
    use transfer::{Decision, State};
    let address = DataAddress {
        endpoint_type: "https://w3id.org/idsa/v4.1/HTTP".to_owned(),
        endpoint: Some("https://own/data".to_owned()),
        endpoint_properties: vec![EndpointProperty {
            name: "authType".to_owned(),
            value: "bearer".to_owned(),
        }],
    };
    let mut all = vec![
        (State::Suspended, Decision::Start(None)),
        (State::Started, Decision::Suspend("pause".to_owned())),
        (State::Started, Decision::Complete),
        (State::Started, Decision::Terminate("enough".to_owned())),
    ];
    if role == Role::Provider {
        all.push((State::Requested, Decision::Start(Some(address))));
    }
    all
}

fn schema_of(kind: &str) -> &'static str {
    match kind {
        "ContractRequestMessage" => "negotiation/contract-request-message-schema.json",
        "ContractOfferMessage" => "negotiation/contract-offer-message-schema.json",
        "ContractAgreementMessage" => "negotiation/contract-agreement-message-schema.json",
        "ContractAgreementVerificationMessage" => {
            "negotiation/contract-agreement-verification-message-schema.json"
        }
        "ContractNegotiationEventMessage" => "negotiation/contract-negotiation-event-message-schema.json",
        "ContractNegotiationTerminationMessage" => {
            "negotiation/contract-negotiation-termination-message-schema.json"
        }
        "TransferRequestMessage" => "transfer/transfer-request-message-schema.json",
        "TransferStartMessage" => "transfer/transfer-start-message-schema.json",
        "TransferSuspensionMessage" => "transfer/transfer-suspension-message-schema.json",
        "TransferCompletionMessage" => "transfer/transfer-completion-message-schema.json",
        "TransferTerminationMessage" => "transfer/transfer-termination-message-schema.json",
        other => panic!("no schema for {other}"),
    }
}
