//! The paths and documents of EDC's Management API v3, for clients in the field: the same handlers, with JSON-LD of any
//! form taken in, and inline contexts given out that expand without a network.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::{MAX_BODY, error};
use crate::http::read_body;

/// What terms mean in a v3 document; everything else is in EDC's own namespace.
fn context() -> Value {
    json!({
        "@vocab": "https://w3id.org/edc/v0.0.1/ns/",
        "edc": "https://w3id.org/edc/v0.0.1/ns/",
        "odrl": "http://www.w3.org/ns/odrl/2/",
        "dcat": "http://www.w3.org/ns/dcat#",
        "dct": "http://purl.org/dc/terms/",
        "dspace": "https://w3id.org/dspace/v0.8/",
        "Catalog": "dcat:Catalog",
        "Dataset": "dcat:Dataset",
        "Distribution": "dcat:Distribution",
        "DataService": "dcat:DataService",
        "catalog": {"@id": "dcat:catalog", "@container": "@set"},
        "dataset": {"@id": "dcat:dataset", "@container": "@set"},
        "distribution": {"@id": "dcat:distribution", "@container": "@set"},
        "service": {"@id": "dcat:service", "@container": "@set"},
        "accessService": "dcat:accessService",
        "endpointURL": "dcat:endpointURL",
        "endpointDescription": "dcat:endpointDescription",
        "format": "dct:format",
        "participantId": "dspace:participantId",
        "Set": "odrl:Set",
        "Offer": "odrl:Offer",
        "Agreement": "odrl:Agreement",
        "hasPolicy": {"@id": "odrl:hasPolicy", "@container": "@set"},
        "permission": {"@id": "odrl:permission", "@container": "@set"},
        "prohibition": {"@id": "odrl:prohibition", "@container": "@set"},
        "obligation": {"@id": "odrl:obligation", "@container": "@set"},
        "duty": {"@id": "odrl:duty", "@container": "@set"},
        "constraint": {"@id": "odrl:constraint", "@container": "@set"},
        "and": {"@id": "odrl:and", "@container": "@set"},
        "or": {"@id": "odrl:or", "@container": "@set"},
        "xone": {"@id": "odrl:xone", "@container": "@set"},
        "andSequence": {"@id": "odrl:andSequence", "@container": "@set"},
        "action": "odrl:action",
        "leftOperand": "odrl:leftOperand",
        "operator": "odrl:operator",
        "rightOperand": "odrl:rightOperand",
        "assigner": "odrl:assigner",
        "assignee": "odrl:assignee",
        "target": "odrl:target"
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

/// Deepest member that is looked at.
const MAX_DEPTH: usize = 64;

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

/// Gives JSON answers an inline context; errors and streams stay as they are.
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
    let Ok(mut answer) = serde_json::from_slice::<Value>(&bytes) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    match &mut answer {
        Value::Array(list) => list.iter_mut().for_each(set_context),
        one => set_context(one),
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(answer.to_string()))
}

fn set_context(document: &mut Value) {
    if let Some(map) = document.as_object_mut() {
        map.insert("@context".to_owned(), context());
    }
}
