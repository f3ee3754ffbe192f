//! The OpenAPI document of this API: the operations of [`super::operations`], with bodies described by the types that the
//! handlers read and answers by EDC's schemas, all of it in the document itself.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use schemars::transform::RestrictFormats;
use serde_json::{Map, Value, json};

use super::operations::{OPERATIONS, Operation, Output};

const JSON: &str = "application/json";
/// Where EDC's schemas say that they are.
const EDC_SCHEMAS: &str = "https://w3id.org/edc/connector/management/schema/v4/";
/// Where those of the Dataspace Protocol say so.
const DSP_SCHEMAS: &str = "https://w3id.org/dspace/2025/1/";

macro_rules! schemas {
    ($base:expr, $folder:literal: $($name:literal),* $(,)?) => {
        [$((concat!($base, $name, "-schema.json"), include_str!(concat!($folder, $name, "-schema.json")))),*]
    };
}

/// Documents of answers, by their addresses.
const ANSWERS: [(&str, &str); 15] = schemas![
    "https://w3id.org/edc/connector/management/schema/v4/", "../../../schemas/management-v4/":
    "api-error", "asset", "callback-address", "context", "contract-agreement", "contract-definition",
    "contract-negotiation", "dataplane-metadata", "id-response", "policy-definition",
    "policy-evaluation-plan", "query-spec", "transfer-process", "policy-validation-result", "secret",
];
/// What they name of the Dataspace Protocol.
const NAMED: [(&str, &str); 1] = schemas![
    "https://w3id.org/dspace/2025/1/negotiation/", "../../../../protocol/schemas/negotiation/": "contract",
];
/// The OpenAPI 3.1 document.
pub(super) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    // Lengths of Rust's numbers are nobody's formats.
    let settings = settings.with_transform(RestrictFormats::default());
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let versions: &[&str] = if operation.in_v3 { &["/v4", "/v3"] } else { &["/v4"] };
        for version in versions {
            let path = format!("{version}{}", operation.path);
            let entry = paths.entry(path).or_insert_with(|| json!({}));
            if let Some(map) = entry.as_object_mut() {
                let method = operation.method.as_str().to_lowercase();
                map.insert(method, describe(operation, version, &mut generator));
            }
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Concordat management API", "version": env!("CARGO_PKG_VERSION"),
            "description": "After EDC's Management API v4; /v3 takes any JSON-LD form and answers as EDC does there. /v2, \
                            /v1alpha (as /v3) and /v4alpha, /v4beta (as /v4) are other names of the same, for older and newer clients.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "the address of the management API (management.listen)"}],
        "security": [{"key": []}],
        "tags": tags().map(|(name, description)| json!({"name": name, "description": description})),
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
            "schemas": components(),
        },
    });
    choices(&mut document);
    document
}

const fn tags() -> [(&'static str, &'static str); 3] {
    [
        ("v4", "documents as EDC's Management API v4 has them"),
        ("v3", "the same with JSON-LD of any form"),
        ("concordat", "what EDC has not"),
    ]
}

fn describe(operation: &Operation, version: &str, generator: &mut SchemaGenerator) -> Value {
    let names = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = names.map(|name| {
        json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}})
    });
    let in_query = operation.parameters.iter().map(|(name, kind)| {
        let mut schema = json!({"type": kind});
        if let Some(map) = schema.as_object_mut().filter(|_| *kind == "integer") {
            map.insert("minimum".to_owned(), json!(0));
        }
        json!({"name": name, "in": "query", "required": false, "schema": schema})
    });
    let parameters: Vec<_> = in_path.chain(in_query).collect();
    let content = |schema: Value| json!({JSON: {"schema": schema}});
    let (status, answer) = match operation.output {
        Output::Nothing => ("204", json!({"description": "done"})),
        // v3 documents have prefixes, which the schemas of v4 do not know.
        Output::One(_) if version == "/v3" => {
            ("200", json!({"description": "JSON-LD", "content": content(json!({"type": "object"}))}))
        }
        Output::List(_) if version == "/v3" => {
            let list = json!({"type": "array", "items": {"type": "object"}});
            ("200", json!({"description": "JSON-LD", "content": content(list)}))
        }
        Output::One(name) => {
            ("200", json!({"description": "the document", "content": content(reference(name))}))
        }
        Output::List(name) => {
            let list = json!({"type": "array", "items": reference(name)});
            ("200", json!({"description": "the documents", "content": content(list)}))
        }
        Output::Other(media_type) => {
            ("200", json!({"description": "the answer", "content": {media_type: {"schema": {}}}}))
        }
    };
    let errors = content(json!({"type": "array", "items": reference("api-error")}));
    let id = format!(
        "{}{}_{}",
        operation.method.as_str().to_lowercase(),
        operation.path,
        version.trim_start_matches('/')
    );
    let mut described = json!({
        "summary": operation.summary,
        "operationId": id.replace(['/', '{', '}', '-'], "_").replace("__", "_"),
        "tags": [if operation.in_v3 { version.trim_start_matches('/') } else { "concordat" }],
        "x-scope": operation.scope,
        "parameters": parameters,
        "responses": {
            status: answer,
            "4XX": {"description": "refused, with the reason", "content": errors},
            "5XX": {"description": "another participant or this node failed, with the reason", "content": errors},
        },
    });
    if let (Some(body), Some(map)) = (operation.input, described.as_object_mut()) {
        let mut schema = body(generator).to_value();
        complete(&mut schema, operation);
        if version == "/v3" {
            schema = json!({"anyOf": [schema, {"type": "object", "description": "the same in any other form of JSON-LD"}]});
        }
        let required = schema.get("required").is_some();
        map.insert("requestBody".to_owned(), json!({"required": required, "content": content(schema)}));
    }
    described
}

/// What stands in documents beside the members that handlers read, and what they fill in themselves.
fn complete(schema: &mut Value, operation: &Operation) {
    let Some(map) = schema.as_object_mut() else { return };
    map.remove("$schema");
    if !operation.in_v3 {
        return;
    }
    if let Some(required) = map.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "@id");
        if required.is_empty() {
            map.remove("required");
        }
    }
    if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
        properties.entry("@context").or_insert_with(|| json!({"description": "the JSON-LD context"}));
        properties.entry("@type").or_insert_with(|| json!({"type": "string"}));
        // What the node notes itself.
        for own in ["createdAt", "urn:concordat:issued", "urn:concordat:modified"] {
            properties.remove(own);
        }
    }
}

fn reference(name: &str) -> Value {
    let address = format!("{EDC_SCHEMAS}{name}-schema.json");
    json!({"$ref": format!("#/components/schemas/{}", component(&address, ""))})
}

/// The name in this document of the definition `name` in the schema at `address`; of the schema as a whole where that is empty.
fn component(address: &str, name: &str) -> String {
    let file =
        address.strip_prefix(EDC_SCHEMAS).or_else(|| address.strip_prefix(DSP_SCHEMAS)).unwrap_or(address);
    let file = file.trim_end_matches("-schema.json").replace('/', "-");
    let dsp = if address.starts_with(DSP_SCHEMAS) { "dsp-" } else { "" };
    let parts = [dsp, file.as_str(), if name.is_empty() { "" } else { "-" }, name].concat();
    // As names of types.
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters
            .next()
            .map(|first| first.to_uppercase().chain(letters).collect::<String>())
            .unwrap_or_default()
    };
    parts.split('-').map(capital).collect()
}

/// Writes what may be of several types as a choice: programs that make code of the document know no lists of types with objects
/// or lists among them. What may be left out needs no default of nothing.
fn choices(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            map.values_mut().for_each(choices);
            // As EDC's schema of contexts has it.
            if map.get("type").is_some_and(|kind| kind == "string") {
                map.remove("items");
            }
            let kinds = map.get("type").and_then(Value::as_array).cloned().unwrap_or_default();
            if !kinds.iter().any(|kind| kind == "object" || kind == "array") {
                return;
            }
            let described = map.remove("description");
            let inner = std::mem::take(map);
            let choice = |kind: &Value| {
                let mut one = if matches!(kind.as_str(), Some("object" | "array")) {
                    inner.clone()
                } else {
                    Map::new()
                };
                one.insert("type".to_owned(), kind.clone());
                let foreign: &[&str] = match kind.as_str() {
                    Some("object") => &["items"],
                    _ => &["properties", "additionalProperties", "required"],
                };
                one.retain(|key, _| !foreign.contains(&key.as_str()));
                Value::Object(one)
            };
            map.insert("anyOf".to_owned(), kinds.iter().map(choice).collect());
            map.extend(described.map(|text| ("description".to_owned(), text)));
        }
        Value::Array(list) => list.iter_mut().for_each(choices),
        _ => {}
    }
}

/// EDC's schemas and what they name, each definition as a component.
fn components() -> Map<String, Value> {
    let mut components = Map::new();
    for (address, text) in ANSWERS.iter().chain(&NAMED) {
        let Ok(Value::Object(mut schema)) = serde_json::from_str::<Value>(text) else { continue };
        let definitions = schema.remove("definitions");
        for key in ["$schema", "$id", "title"] {
            schema.remove(key);
        }
        let mut whole = Value::Object(schema);
        rewrite(&mut whole, address);
        components.insert(component(address, ""), whole);
        for (name, mut definition) in
            definitions.as_ref().and_then(Value::as_object).cloned().unwrap_or_default()
        {
            rewrite(&mut definition, address);
            components.insert(component(address, &name), definition);
        }
    }
    components
}

/// Lets references lead to components.
fn rewrite(schema: &mut Value, address: &str) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match (key.as_str(), value) {
                    ("$ref", Value::String(reference)) => {
                        let (file, place) = reference.split_once('#').unwrap_or((reference, ""));
                        let file = if file.is_empty() { address } else { file };
                        let name = place.trim_start_matches('/').trim_start_matches("definitions/");
                        *reference = format!("#/components/schemas/{}", component(file, name));
                    }
                    (_, value) => rewrite(value, address),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|one| rewrite(one, address)),
        _ => {}
    }
}
