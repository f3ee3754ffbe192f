//! The management API: documents after EDC's schemas, the OpenAPI document held against the running node, keys and
//! their scopes.

use std::collections::BTreeMap;

use jsonschema::{Registry, Validator};
use serde_json::{Value, json};

use crate::support::{Node, PURPOSE, World};

const DATASET: &str = "urn:test:rows";
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const BASE: &str = "https://w3id.org/edc/connector/management/schema/v4/";

struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    fn load() -> Self {
        let folders = [
            "connector/schemas/management-v4",
            "protocol/schemas/negotiation",
            "protocol/schemas/common",
            "protocol/schemas/catalog",
        ];
        let mut all = BTreeMap::new();
        for folder in folders {
            for entry in std::fs::read_dir(format!("{ROOT}/{folder}")).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|ending| ending == "json") {
                    let text = std::fs::read_to_string(path)
                        .unwrap()
                        .replace(".json#definitions/", ".json#/definitions/");
                    let schema: Value = serde_json::from_str(&text).unwrap();
                    all.insert(schema["$id"].as_str().unwrap().to_owned(), schema);
                }
            }
        }
        Self(all)
    }

    fn valid(&self, name: &str, document: &Value) {
        let registry = Registry::new()
            .extend(self.0.iter().map(|(id, schema)| (id.clone(), schema)))
            .unwrap()
            .prepare()
            .unwrap();
        let schema = &self.0[&format!("{BASE}{name}-schema.json")];
        let validator: Validator = jsonschema::options().with_registry(&registry).build(schema).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?}\n{document:#}");
    }
}

fn v4(kind: &str, rest: Value) -> Value {
    let mut document = json!({"@context": ["https://w3id.org/edc/connector/management/v2"], "@type": kind});
    document.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    document
}

#[tokio::test]
async fn every_document_is_valid_by_edcs_schemas() {
    let schemas = Schemas::load();
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let file = world.folder.path().join("rows.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    let id = v4(
        "Asset",
        json!({"@id": DATASET, "properties": {"conformsTo": "https://x.example"}, "dataAddress": {"type": "File", "path": file}}),
    );
    schemas.valid("asset", &id);
    schemas.valid("id-response", &provider.post("/v4/assets", id).await);
    let policy = v4(
        "PolicyDefinition",
        json!({"@id": "terms", "policy": {"@type": "Set", "permission": [{"action": "use"}]}}),
    );
    schemas.valid("policy-definition", &policy);
    provider.post("/v4/policydefinitions", policy).await;
    let definition = v4(
        "ContractDefinition",
        json!({"@id": "all", "accessPolicyId": "terms", "contractPolicyId": "terms",
        "assetsSelector": [{"@type": "Criterion", "operandLeft": "id", "operator": "=", "operandRight": DATASET}]}),
    );
    schemas.valid("contract-definition", &definition);
    provider.post("/v4/contractdefinitions", definition).await;
    let segment = trust::did::segment;
    schemas.valid("asset", &provider.get(&format!("/v4/assets/{}", segment(DATASET))).await);
    schemas.valid("policy-definition", &provider.get("/v4/policydefinitions/terms").await);
    schemas.valid("contract-definition", &provider.get("/v4/contractdefinitions/all").await);

    let address = format!("{}/dsp/2025-1", provider.address);
    let ask = v4(
        "CatalogRequest",
        json!({"protocol": "dataspace-protocol-http:2025-1", "counterPartyAddress": address, "counterPartyId": provider.did}),
    );
    schemas.valid("catalog-request", &ask);
    let catalog = consumer.post("/v4/catalog/request", ask).await;
    let mut offer = catalog["dataset"][0]["hasPolicy"][0].clone();
    offer["assigner"] = json!(provider.did);
    offer["target"] = json!(DATASET);
    let request = v4(
        "ContractRequest",
        json!({"protocol": "dataspace-protocol-http:2025-1", "counterPartyAddress": address, "policy": offer}),
    );
    schemas.valid("contract-request", &request);
    let begun = consumer.post("/v4/contractnegotiations", request).await;
    let path = format!("/v4/contractnegotiations/{}", segment(begun["@id"].as_str().unwrap()));
    let agreed = consumer.until(&path, |one| one["state"] == "FINALIZED").await;
    schemas.valid("contract-negotiation", &agreed);
    let agreement = consumer.get(&format!("{path}/agreement")).await;
    schemas.valid("contract-agreement", &agreement);
    let request = v4(
        "TransferRequest",
        json!({"protocol": "dataspace-protocol-http:2025-1", "counterPartyAddress": address,
        "contractId": agreement["@id"], "transferType": "HttpData-PULL"}),
    );
    schemas.valid("transfer-request", &request);
    let begun = consumer.post("/v4/transferprocesses", request).await;
    let path = format!("/v4/transferprocesses/{}", segment(begun["@id"].as_str().unwrap()));
    schemas.valid("transfer-process", &consumer.until(&path, |one| one["state"] == "STARTED").await);
    let query = v4(
        "QuerySpec",
        json!({"offset": 0, "limit": 5, "sortField": "createdAt", "sortOrder": "DESC", "filterExpression": [
        {"@type": "Criterion", "operandLeft": "state", "operator": "=", "operandRight": "FINALIZED"}]}),
    );
    schemas.valid("query-spec", &query);
    for one in provider.post("/v4/contractnegotiations/request", query).await.as_array().unwrap() {
        schemas.valid("contract-negotiation", one);
    }
    let (status, errors) = provider.ask("GET", "/v4/assets/none", None).await.unwrap();
    assert_eq!(status, 404);
    schemas.valid("api-error", &errors[0]);
}

#[tokio::test]
async fn queries_page_sort_and_filter() {
    let world = World::new();
    let node = world.local_node("node");
    for name in ["c", "a", "b"] {
        node.post(
            "/v4/assets",
            json!({"@id": name, "properties": {"rank": name, "kind": if name == "b" { "x" } else { "y" }}}),
        )
        .await;
    }
    let ids = async |query: Value| {
        let found = node.post("/v4/assets/request", query).await;
        found
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["@id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(json!({})).await, ["a", "b", "c"]);
    assert_eq!(ids(json!({"offset": 1, "limit": 1})).await, ["b"]);
    assert_eq!(ids(json!({"sortField": "rank", "sortOrder": "DESC"})).await, ["c", "b", "a"]);
    let filter = |operator: &str, right: Value| json!({"filterExpression": [{"operandLeft": "kind", "operator": operator, "operandRight": right}]});
    assert_eq!(ids(filter("=", json!("y"))).await, ["a", "c"]);
    assert_eq!(ids(filter("in", json!(["x"]))).await, ["b"]);
}

/// Walks the document against the running node: every operation it names is there.
#[tokio::test]
async fn the_openapi_document_is_true() {
    let world = World::new();
    let node = world.local_node("node");
    let document = node.get("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut walked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let real = path.replace("{id}", "none").replace("{name}", "accept");
        for (method, operation) in operations.as_object().unwrap() {
            let body = matches!(method.as_str(), "post" | "put").then(|| json!({}));
            // The event stream answers and stays open; its head is enough.
            let request = node.client.request(
                reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
                format!("{}{real}", node.management),
            );
            let request = request.header("x-api-key", &node.key);
            let answer = match body {
                Some(body) => request.json(&body).send().await.unwrap(),
                None => request.send().await.unwrap(),
            };
            let status = answer.status().as_u16();
            assert!(status < 500 && status != 405 && status != 401, "{method} {path}: {status}");
            if status == 404 {
                let errors: Value = answer.json().await.unwrap_or_default();
                assert_eq!(errors[0]["type"], "ObjectNotFound", "{method} {path} is not routed");
            } else if status >= 400 {
                let errors: Value = answer.json().await.unwrap_or_default();
                assert!(errors[0]["message"].is_string(), "{method} {path}: {errors}");
            } else {
                assert!(
                    operation["responses"].get(status.to_string()).is_some(),
                    "{method} {path} answers {status}"
                );
            }
            walked += 1;
        }
    }
    assert!(walked > 80, "{walked}");
    // Nothing else is there.
    assert_eq!(node.ask("GET", "/v4/nothing", None).await.unwrap().0, 404);
}

async fn with(node: &Node, key: &str, method: &str, path: &str) -> u16 {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = node.client.request(method, format!("{}{path}", node.management)).header("x-api-key", key);
    let body = if path.ends_with("/assets") { json!({"properties": {}}) } else { json!({}) };
    request.json(&body).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn keys_have_scopes_and_are_kept_as_digests() {
    let world = World::new();
    let mut node = world.local_node("node");
    let make = |scope: &str| node.json(&["keys", "create", scope, "--scope", scope]);
    let (read, operate, admin) = (make("read"), make("operate"), make("admin"));
    let key = |made: &Value| made["key"].as_str().unwrap().to_owned();
    let (read_key, operate_key, admin_key) = (key(&read), key(&operate), key(&admin));
    for (method, path, expected) in [
        ("GET", "/v4/identity", [200, 200, 200]),
        ("GET", "/openapi.json", [200, 200, 200]),
        ("POST", "/v4/assets/request", [200, 200, 200]),
        ("POST", "/v3/assets/request", [200, 200, 200]),
        ("POST", "/v4/contractnegotiations", [403, 400, 400]),
        ("GET", "/v4/transferprocesses/none/data", [403, 404, 404]),
        ("POST", "/v4/assets", [403, 403, 200]),
        ("POST", "/v3/assets", [403, 403, 200]),
        ("DELETE", "/v4/assets/none", [403, 403, 404]),
        ("GET", "/v4/apikeys", [403, 403, 200]),
        ("GET", "/v4/nothing", [403, 403, 404]),
    ] {
        for (key, expected) in [&read_key, &operate_key, &admin_key].into_iter().zip(expected) {
            assert_eq!(with(&node, key, method, path).await, expected, "{method} {path}");
        }
    }
    for wrong in ["", "ck_", "ck_x_y", &format!("{read_key}x"), &read_key.replace("ck_", "ck_0")] {
        assert_eq!(with(&node, wrong, "GET", "/v4/identity").await, 401, "{wrong}");
    }
    let list = node.text(&["keys", "list"]);
    assert!(list.contains("operate") && !list.contains(&read_key));
    node.text(&["keys", "revoke", read["@id"].as_str().unwrap()]);
    assert_eq!(with(&node, &read_key, "GET", "/v4/identity").await, 401);
    node.stop();
    let mut folders = vec![node.dir.join("store")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = std::fs::read(&path).unwrap();
                let found = content.windows(operate_key.len()).any(|part| part == operate_key.as_bytes());
                assert!(!found, "{path:?} holds a key");
            }
        }
    }
}

/// The v3 paths take other JSON-LD forms, and answer with contexts that expand without a network.
#[tokio::test]
async fn v3_takes_any_form_and_answers_with_inline_contexts() {
    let world = World::new();
    let node = world.local_node("node");
    const EDC: &str = "https://w3id.org/edc/v0.0.1/ns/";
    const ODRL: &str = "http://www.w3.org/ns/odrl/2/";
    let expanded = json!([{"@id": "p", "@type": [format!("{EDC}PolicyDefinition")], format!("{EDC}policy"): [{
        "@type": [format!("{ODRL}Set")], format!("{ODRL}permission"): [{format!("{ODRL}action"): [{"@id": format!("{ODRL}use")}],
        format!("{ODRL}constraint"): [{format!("{ODRL}leftOperand"): [{"@id": format!("{ODRL}purpose")}],
            format!("{ODRL}operator"): [{"@id": format!("{ODRL}eq")}], format!("{ODRL}rightOperand"): [{"@value": PURPOSE}]}]}]}]}]);
    node.post("/v3/policydefinitions", expanded).await;
    let stored = node.get("/v4/policydefinitions/p").await;
    assert_eq!(
        stored["policy"]["permission"],
        json!([{"action": "use", "constraint": [
        {"leftOperand": "odrl:purpose", "operator": "eq", "rightOperand": PURPOSE}]}])
    );
    let shown = node.get("/v3/policydefinitions/p").await;
    assert_eq!(shown["@context"]["@vocab"], EDC);
}
