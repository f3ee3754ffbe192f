//! Assets, policy definitions, contract definitions, and other participants' catalogs.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use catalog::{Asset, ContractDefinition, PolicyDefinition};
use http::StatusCode;
use policy_engine::compacted;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::views::{self, Query};
use super::{Management, Shared, answer, malformed, read, respond};
use crate::engine::{Engine, EngineError, Managed, Write};
use crate::http::problem::json_answer;
use crate::ids;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .merge(resource::<Asset>("/assets"))
        .merge(resource::<PolicyDefinition>("/policydefinitions"))
        .merge(resource::<ContractDefinition>("/contractdefinitions"))
        .route("/catalog/request", post(catalog))
        .route("/catalog/dataset/request", post(dataset))
        .route("/opendata", get(open_uses))
}

/// How often open datasets were read.
async fn open_uses(State(management): Shared) -> Response {
    answer(management.faces.engine.open_uses())
}

fn resource<T: Managed>(path: &str) -> Router<Arc<Management>> {
    Router::new()
        .route(path, post(create::<T>).put(replace::<T>))
        .route(&format!("{path}/request"), post(query::<T>))
        .route(&format!("{path}/{{id}}"), get(one::<T>).delete(remove::<T>))
}

async fn create<T: Managed>(State(management): Shared, body: Body) -> Response {
    respond(write::<T>(&management, body, Write::Create).await)
}

async fn replace<T: Managed>(State(management): Shared, body: Body) -> Response {
    respond(write::<T>(&management, body, Write::Replace).await)
}

async fn write<T: Managed>(
    management: &Management,
    body: Body,
    write: Write,
) -> Result<Response, EngineError> {
    let mut json: Value = read(body).await?;
    if let Some(map) = json.as_object_mut()
        && write == Write::Create
    {
        map.entry("@id").or_insert_with(|| json!(ids::urn()));
    }
    compact_policy(&mut json).map_err(malformed)?;
    match json.get("@type").and_then(Value::as_str) {
        None => {}
        Some(kind) if kind == T::TYPE => {}
        Some(kind) => return Err(malformed(format!("/@type: expected `{}`, got `{kind}`", T::TYPE))),
    }
    let resource: T = serde_path_to_error::deserialize(&json)
        .map_err(|error| malformed(format!("{}: {}", error.path(), error.inner())))?;
    let further = json.get("urn:concordat:distributions").and_then(Value::as_object);
    let addresses = json.get("dataAddress").into_iter().chain(further.into_iter().flat_map(Map::values));
    for address in addresses.filter_map(Value::as_object) {
        management.faces.sources.check(address).map_err(|error| malformed(format!("{error:#}")))?;
    }
    let id = resource.id().to_owned();
    management.faces.engine.put_resource(resource, write).await?;
    Ok(match write {
        Write::Create => json_answer(StatusCode::OK, &views::id_response(&id)),
        Write::Replace => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Brings the policy of a definition into the compact form, in which it is offered: prefixes that the document declares
/// would mean nothing to others.
fn compact_policy(json: &mut Value) -> Result<(), String> {
    let context = json.get("@context").cloned();
    let Some(policy) = json.get_mut("policy").filter(|policy| policy.is_object()) else { return Ok(()) };
    if let (Some(context), Some(map)) = (context, policy.as_object_mut()) {
        map.entry("@context").or_insert(context);
    }
    *policy = compacted(policy)
        .map_err(|error| format!("/policy{}: {}", error.path().trim_end_matches('/'), error.reason()))?;
    Ok(())
}

async fn one<T: Managed>(State(management): Shared, Path(id): Path<String>) -> Response {
    let found = management.faces.engine.resource::<T>(&id);
    respond(found.map(|resource| json_answer(StatusCode::OK, &views::managed(&resource))))
}

async fn remove<T: Managed>(State(management): Shared, Path(id): Path<String>) -> Response {
    respond(
        management
            .faces
            .engine
            .delete_resource::<T>(&id)
            .await
            .map(|()| StatusCode::NO_CONTENT.into_response()),
    )
}

async fn query<T: Managed>(State(management): Shared, body: Body) -> Response {
    let result = async {
        let query: Query = read(body).await?;
        let show = |record: &T| Some(views::managed(record));
        let found = query.run(&management.faces.engine, T::PREFIX, show)?;
        Ok(json_answer(StatusCode::OK, &Value::Array(found)))
    };
    respond(result.await)
}

/// Whom to ask, and where: the address may be left out, then the DID tells it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ask {
    #[serde(rename = "@id")]
    id: Option<String>,
    counter_party_id: Option<String>,
    counter_party_address: Option<String>,
    #[serde(default)]
    filter: Option<Vec<Value>>,
}

impl Ask {
    fn peer(&self, engine: &Engine) -> Result<String, EngineError> {
        match (&self.counter_party_id, &self.counter_party_address) {
            (Some(id), _) => Ok(engine.did_of(id).to_owned()),
            (None, Some(address)) => engine.participant_at(address),
            (None, None) => Err(malformed("counterPartyId: is missing")),
        }
    }
}

async fn catalog(State(management): Shared, body: Body) -> Response {
    let result = async {
        let ask: Ask = read(body).await?;
        let peer = ask.peer(&management.faces.engine)?;
        let address = ask.counter_party_address.as_deref();
        let found = management.faces.engine.ask_catalog(&peer, address, ask.filter).await?;
        Ok(json_answer(StatusCode::OK, &protocol::wire::to_json(&found, None)))
    };
    respond(result.await)
}

async fn dataset(State(management): Shared, body: Body) -> Response {
    let result = async {
        let ask: Ask = read(body).await?;
        let peer = ask.peer(&management.faces.engine)?;
        let id = ask.id.ok_or_else(|| malformed("@id: is missing"))?;
        let address = ask.counter_party_address.as_deref();
        let found = management.faces.engine.ask_dataset(&peer, address, &id).await?;
        Ok(json_answer(StatusCode::OK, &protocol::wire::to_json(&found, None)))
    };
    respond(result.await)
}
