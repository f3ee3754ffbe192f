//! The paths and documents of EDC's Management API v3, for clients in the field: the same handlers, with JSON-LD of any
//! form taken in. Answers have the names and prefixes that EDC writes there, and an inline context that a reader expands
//! without a network; it has no terms but prefixes, so that no property of an asset is taken for another's.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use catalog::EDC;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};

use super::{MAX_BODY, error};
use crate::http::read_body;
use crate::search::describe;

/// Members whose values are policies.
const POLICIES: [&str; 2] = ["policy", "urn:concordat:offer"];
/// Terms of ODRL whose values are rules, constraints or parts of them.
const NESTED: [&str; 15] = [
    "permission",
    "prohibition",
    "obligation",
    "duty",
    "remedy",
    "consequence",
    "constraint",
    "refinement",
    "and",
    "or",
    "xone",
    "andSequence",
    "rightOperand",
    "hasPolicy",
    "rightOperandReference",
];
/// Terms of ODRL whose values name something: a term of ODRL, or anything else.
const NAMED: [&str; 3] = ["action", "leftOperand", "operator"];
/// Terms of ODRL whose values are parties and things.
const REFERRED: [&str; 3] = ["assigner", "assignee", "target"];
/// The kinds of rules of a policy.
const RULES: [&str; 3] = ["permission", "prohibition", "obligation"];
/// Deepest member that is looked at.
const MAX_DEPTH: usize = 64;

/// What prefixes mean; everything else is in EDC's own namespace.
fn context() -> Value {
    json!({
        "@vocab": EDC,
        "edc": EDC,
        "odrl": "http://www.w3.org/ns/odrl/2/",
        "dcat": "http://www.w3.org/ns/dcat#",
        "dct": "http://purl.org/dc/terms/",
        "dspace": "https://w3id.org/dspace/v0.8/",
    })
}

/// Takes a `/v3` request through the v4 handlers.
pub(super) async fn translate(request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let bytes = match read_body(body, MAX_BODY).await {
        Ok(bytes) => bytes,
        Err(problem) => return error(StatusCode::BAD_REQUEST, "InvalidRequest", &problem.to_string()),
    };
    let body = match serde_json::from_slice::<Value>(&bytes) {
        // What is no JSON is refused by the handler, in its own words.
        Err(_) => Body::from(bytes),
        Ok(json) => {
            let mut json = protocol::wire::normalise(json);
            drop_inner_contexts(&mut json, 0);
            Body::from(json.to_string())
        }
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    outward(next.run(Request::from_parts(parts, body)).await).await
}

/// A policy of these clients brings a context of its own, which says nothing new and would be fetched by readers.
fn drop_inner_contexts(json: &mut Value, depth: usize) {
    let members: Vec<&mut Value> = match json {
        Value::Object(map) => {
            if depth > 0 {
                map.remove("@context");
            }
            map.values_mut().collect()
        }
        Value::Array(list) => list.iter_mut().collect(),
        _ => return,
    };
    if depth < MAX_DEPTH {
        members.into_iter().for_each(|member| drop_inner_contexts(member, depth + 1));
    }
}

/// Gives JSON answers EDC's form; errors and streams stay as they are.
async fn outward(response: Response) -> Response {
    let json = HeaderValue::from_static("application/json");
    if !response.status().is_success() || response.headers().get(header::CONTENT_TYPE) != Some(&json) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Answers of this node to its own operator; their size is bounded by what was asked.
    let Ok(collected) = body.collect().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let bytes = collected.to_bytes();
    let Ok(answer) = serde_json::from_slice::<Value>(&bytes) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    let answer = match answer {
        Value::Array(list) => Value::Array(list.into_iter().map(document).collect()),
        one => document(one),
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(answer.to_string()))
}

/// A document as EDC writes it.
fn document(document: Value) -> Value {
    let Value::Object(mut map) = document else { return document };
    map.remove("@context");
    let mut map = match map.get("@type").and_then(Value::as_str) {
        Some("Catalog") => catalog(map),
        Some("Dataset") => dataset(map),
        _ => {
            for name in POLICIES {
                if let Some(one) = map.get_mut(name) {
                    *one = policy(one.take());
                }
            }
            if let Some(address) = map.get_mut("dataAddress").and_then(Value::as_object_mut) {
                address.entry("@type").or_insert_with(|| json!("DataAddress"));
            }
            if map.get("@type").and_then(Value::as_str) == Some("Asset")
                && let (Some(id), Some(properties)) =
                    (map.get("@id").cloned(), map.get_mut("properties").and_then(Value::as_object_mut))
            {
                properties.entry("id").or_insert(id);
            }
            map
        }
    };
    // Answers that are an id or a state: typed clients want a list of texts for a context, and others expand. Both read this.
    let short = match map.get("@type").and_then(Value::as_str) {
        Some("IdResponse") => Some("createdAt"),
        Some("NegotiationState" | "TransferState") => Some("state"),
        _ => None,
    };
    if let Some(name) = short {
        let value = map.get(name).cloned().unwrap_or_default();
        map.insert(format!("{EDC}{name}"), value);
    }
    map.insert("@context".to_owned(), if short.is_some() { json!([]) } else { context() });
    Value::Object(map)
}

fn catalog(map: Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::new();
    // Clients read what lists them whether there is anything or not.
    out.insert("dcat:dataset".to_owned(), json!([]));
    for (name, value) in map {
        match name.as_str() {
            "@type" => drop(out.insert(name, json!("dcat:Catalog"))),
            "dataset" => drop(out.insert("dcat:dataset".to_owned(), each(value, dataset))),
            "catalog" => drop(out.insert("dcat:catalog".to_owned(), each(value, catalog))),
            "service" => drop(out.insert("dcat:service".to_owned(), each(value, service))),
            "distribution" => drop(out.insert("dcat:distribution".to_owned(), each(value, distribution))),
            "participantId" => {
                // Each version of the commonest client reads another name.
                out.insert("dspace:participantId".to_owned(), value.clone());
                out.insert("https://w3id.org/dspace/2025/1/participantId".to_owned(), json!({"@id": value}));
                out.insert(name, value);
            }
            "@context" => {}
            _ => drop(out.insert(name, value)),
        }
    }
    out
}

fn dataset(map: Map<String, Value>) -> Map<String, Value> {
    let shown = Value::Object(map);
    let said = describe(&shown);
    let Value::Object(map) = shown else { return Map::new() };
    let mut out = Map::new();
    out.insert("odrl:hasPolicy".to_owned(), json!([]));
    for (name, value) in map {
        match name.as_str() {
            "@type" => drop(out.insert(name, json!("dcat:Dataset"))),
            "hasPolicy" => drop(out.insert("odrl:hasPolicy".to_owned(), single(nested(value, 0)))),
            "distribution" => drop(out.insert("dcat:distribution".to_owned(), each(value, distribution))),
            "@context" => {}
            _ => {
                let bare = name.strip_prefix(EDC).unwrap_or(&name).to_owned();
                out.insert(bare, value);
            }
        }
    }
    if let Some(id) = out.get("@id").cloned() {
        out.entry("id").or_insert(id);
    }
    let texts = [
        ("name", said.title.all().next().map(str::to_owned)),
        ("description", said.description.all().next().map(str::to_owned)),
        ("contenttype", said.form.media_type),
        ("version", said.version),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            out.entry(name).or_insert(Value::String(text));
        }
    }
    out
}

fn distribution(map: Map<String, Value>) -> Map<String, Value> {
    renamed(map, "dcat:Distribution", |name, value| match name {
        "format" => Some(("dct:format", referred(value))),
        "accessService" => match value {
            Value::Object(one) => Some(("dcat:accessService", Value::Object(service(one)))),
            other => Some(("dcat:accessService", referred(other))),
        },
        "hasPolicy" => Some(("odrl:hasPolicy", single(nested(value, 0)))),
        _ => None,
    })
}

fn service(map: Map<String, Value>) -> Map<String, Value> {
    renamed(map, "dcat:DataService", |name, value| match name {
        "endpointURL" => Some(("dcat:endpointURL", value)),
        "endpointDescription" => Some(("dcat:endpointDescription", value)),
        _ => None,
    })
}

/// The members under other names, where `name` knows one.
fn renamed(
    map: Map<String, Value>,
    kind: &str,
    name: impl Fn(&str, Value) -> Option<(&'static str, Value)>,
) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in map {
        if key == "@type" {
            out.insert(key, json!(kind));
        } else if let Some((other, value)) = name(&key, value.clone()) {
            out.insert(other.to_owned(), value);
        } else {
            out.insert(key, value);
        }
    }
    out
}

/// A policy with the prefixes that EDC writes; each kind of rule is there, also where there is none.
fn policy(value: Value) -> Value {
    let mut written = nested(value, 0);
    if let Some(map) = written.as_object_mut() {
        for kind in RULES {
            map.entry(format!("odrl:{kind}")).or_insert_with(|| json!([]));
        }
    }
    written
}

fn nested(value: Value, depth: usize) -> Value {
    let map = match value {
        Value::Object(map) if depth < MAX_DEPTH && !map.contains_key("@value") => map,
        Value::Array(list) => return list.into_iter().map(|one| nested(one, depth + 1)).collect(),
        other => return other,
    };
    let is_policy = depth <= 1;
    let mut out = Map::new();
    for (name, value) in map {
        let term = name.strip_prefix("odrl:").unwrap_or(&name);
        let written = || format!("odrl:{term}");
        if name == "@type" {
            out.insert(name, types(value));
        } else if NESTED.contains(&term) {
            out.insert(written(), single(nested(value, depth + 1)));
        } else if NAMED.contains(&term) {
            out.insert(written(), single(term_of(value, depth)));
        } else if REFERRED.contains(&term) {
            out.insert(written(), single(each_value(value, referred)));
        } else if is_policy && term == "profile" {
            out.insert(written(), each_value(value, referred));
        } else {
            out.insert(name, value);
        }
    }
    if is_policy && out.contains_key("@type") {
        for kind in RULES {
            out.entry(format!("odrl:{kind}")).or_insert_with(|| json!([]));
        }
    }
    Value::Object(out)
}

/// What a rule or constraint names: a bare name is one of ODRL.
fn term_of(value: Value, depth: usize) -> Value {
    match value {
        Value::String(name) if name.contains(':') || !policy_engine::is_odrl_term(&name) => {
            json!({"@id": name})
        }
        Value::String(name) => json!({"@id": format!("odrl:{name}")}),
        Value::Array(list) => list.into_iter().map(|one| term_of(one, depth)).collect(),
        other => nested(other, depth + 1),
    }
}

/// The types of a policy or rule.
fn types(value: Value) -> Value {
    match value {
        Value::String(kind) if !kind.contains(':') => json!(format!("odrl:{kind}")),
        Value::Array(list) => list.into_iter().map(types).collect(),
        other => other,
    }
}

fn referred(value: Value) -> Value {
    match value {
        Value::String(id) => json!({"@id": id}),
        other => other,
    }
}

/// A list of one as the one, as EDC writes it; the others as they are.
fn single(value: Value) -> Value {
    match value {
        Value::Array(mut list) if list.len() == 1 => list.pop().unwrap_or_default(),
        other => other,
    }
}

fn each(value: Value, of: fn(Map<String, Value>) -> Map<String, Value>) -> Value {
    let one = |value: Value| match value {
        Value::Object(map) => Value::Object(of(map)),
        other => other,
    };
    match value {
        Value::Array(list) => list.into_iter().map(one).collect(),
        other => json!([one(other)]),
    }
}

fn each_value(value: Value, of: fn(Value) -> Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(of).collect(),
        other => of(other),
    }
}
