//! Assets, policy definitions, contract definitions, and other participants' catalogs.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query as UriQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use catalog::{Asset, ContractDefinition, PolicyDefinition};
use http::StatusCode;
use policy_engine::compacted;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::plan;
use super::processes::check_protocol;
use super::views::{self, Query};
use super::{Management, Shared, answer, malformed, read, respond};
use crate::engine::{Engine, EngineError, Managed, Write};
use crate::http::problem::json_answer;
use crate::ids;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .merge(resource::<Asset>("/assets"))
        .merge(resource::<PolicyDefinition>("/policydefinitions"))
        .route("/policydefinitions/{id}/validate", post(validate))
        .route("/policydefinitions/{id}/evaluationplan", post(evaluation_plan))
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
        .route(&format!("{path}/{{id}}"), get(one::<T>).put(replace_one::<T>).delete(remove::<T>))
}

async fn create<T: Managed>(State(management): Shared, body: Body) -> Response {
    respond(write::<T>(&management, body, None, Write::Create).await)
}

async fn replace<T: Managed>(State(management): Shared, body: Body) -> Response {
    respond(write::<T>(&management, body, None, Write::Replace).await)
}

async fn replace_one<T: Managed>(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    respond(write::<T>(&management, body, Some(&id), Write::Replace).await)
}

async fn write<T: Managed>(
    management: &Management,
    body: Body,
    id: Option<&str>,
    write: Write,
) -> Result<Response, EngineError> {
    let mut json: Value = read(body).await?;
    if let (Some(id), Some(map)) = (id, json.as_object_mut()) {
        let said = map.entry("@id").or_insert_with(|| json!(id));
        if said.as_str() != Some(id) {
            return Err(malformed(format!("/@id: is {said}, and the address is that of `{id}`")));
        }
    }
    if let Some(map) = json.as_object_mut()
        && write == Write::Create
    {
        map.entry("@id").or_insert_with(|| json!(ids::urn()));
    }
    compact_policy(&mut json).map_err(malformed)?;
    if let Some(map) = json.as_object_mut() {
        if T::TYPE == Asset::TYPE {
            check_properties(map).map_err(malformed)?;
            // Clients of EDC find the id among the properties, and send it back.
            let id = map.get("@id").cloned();
            if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
                for name in ["id", "https://w3id.org/edc/v0.0.1/ns/id"] {
                    if id.is_some() && properties.get(name) == id.as_ref() {
                        properties.remove(name);
                    }
                }
            }
        }
        in_lists(map, "assetsSelector");
        seal_credentials(&management.faces.engine, map)?;
    }
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
    let engine = &management.faces.engine;
    let made = engine.put_resource(resource, write).await?;
    Ok(match write {
        Write::Create => {
            let mut shown = views::id_response_at(&id, made);
            // What a policy hardly means; clients of EDC take no notice of it.
            let warnings = json.get("policy").map(|policy| engine.warnings(policy)).unwrap_or_default();
            if let (false, Some(map)) = (warnings.is_empty(), shown.as_object_mut()) {
                map.insert("urn:concordat:warnings".to_owned(), json!(warnings));
            }
            json_answer(StatusCode::OK, &shown)
        }
        Write::Replace => StatusCode::NO_CONTENT.into_response(),
    })
}

/// A property of an asset is one that others see, or one that they do not.
fn check_properties(asset: &Map<String, Value>) -> Result<(), &'static str> {
    let of = |name: &str| asset.get(name).and_then(Value::as_object);
    if !asset.contains_key("properties") {
        return Err(
            "/properties: is missing; an asset says something of itself, if only {\"name\": \"...\"}",
        );
    }
    let public = of("properties");
    let mut private = of("privateProperties").into_iter().flat_map(Map::keys);
    match private.any(|name| public.is_some_and(|public| public.contains_key(name))) {
        true => Err("/privateProperties: a property is either public or private, and one is both"),
        false => Ok(()),
    }
}

/// A list, of which clients may write the only entry by itself.
fn in_lists(map: &mut Map<String, Value>, name: &str) {
    if let Some(one) = map.get_mut(name).filter(|one| one.is_object()) {
        *one = json!([one.take()]);
    }
}

/// Whether a member of a data address is a header whose value is most likely a credential.
fn is_credential_header(member: &str) -> bool {
    let words = ["auth", "cookie", "credential", "key", "password", "secret", "signature", "token"];
    let name = member.strip_prefix("header:").map(str::to_ascii_lowercase);
    name.is_some_and(|name| words.iter().any(|word| name.contains(word)))
}

/// Seals what data addresses hold of credentials: whoever may look at an asset does not see them.
fn seal_credentials(engine: &Engine, asset: &mut Map<String, Value>) -> Result<(), EngineError> {
    let mut addresses: Vec<&mut Value> = Vec::new();
    for (name, value) in asset.iter_mut() {
        match (name.as_str(), value) {
            ("dataAddress", address) => addresses.push(address),
            ("urn:concordat:distributions", Value::Object(all)) => addresses.extend(all.values_mut()),
            _ => {}
        }
    }
    for address in addresses {
        let members = address.as_object_mut().into_iter().flatten();
        for (name, value) in members.filter(|(name, _)| *name == "authCode" || is_credential_header(name)) {
            let Some(text) = value.as_str() else {
                return Err(malformed(format!("/dataAddress/{name}: must be a text")));
            };
            *value = json!(engine.seal_credential(text)?);
        }
    }
    Ok(())
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
    // EDC's way to say that nothing is restricted; what has no type is a mistake.
    if let Some(map) = policy.as_object_mut()
        && map.get("@type").and_then(Value::as_str) == Some("Set")
        && !["permission", "prohibition", "obligation"].iter().any(|name| map.contains_key(*name))
    {
        map.insert("permission".to_owned(), json!([]));
    }
    Ok(())
}

/// Whether every part of a policy is understood here.
async fn validate(State(management): Shared, Path(id): Path<String>) -> Response {
    let engine = &management.faces.engine;
    let found = engine.resource::<PolicyDefinition>(&id).map(|definition| engine.doubts(&definition.policy));
    respond(found.map(|errors| {
        let shown = json!({
            "@context": [views::CONTEXT], "@type": "PolicyValidationResult", "isValid": errors.is_empty(), "errors": errors,
        });
        json_answer(StatusCode::OK, &shown)
    }))
}

/// For what a plan is asked.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanRequest {
    policy_scope: String,
}

/// How a policy is evaluated: step by step, with what of it is passed over and why.
async fn evaluation_plan(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    let result = async {
        let request: PlanRequest = read(body).await?;
        let engine = &management.faces.engine;
        let definition = engine.resource::<PolicyDefinition>(&id)?;
        let plan = plan::of(&definition.policy, &request.policy_scope, &engine.doubts(&definition.policy));
        Ok(json_answer(StatusCode::OK, &plan.map_err(malformed)?))
    };
    respond(result.await)
}

async fn one<T: Managed>(State(management): Shared, Path(id): Path<String>) -> Response {
    let found = management.faces.engine.resource::<T>(&id);
    respond(found.map(|resource| json_answer(StatusCode::OK, &views::managed(&resource))))
}

/// Whether an asset goes although an agreement about it is in force.
#[derive(Debug, Default, Deserialize)]
struct Removal {
    #[serde(default)]
    force: bool,
}

async fn remove<T: Managed>(
    State(management): Shared,
    Path(id): Path<String>,
    UriQuery(removal): UriQuery<Removal>,
) -> Response {
    let engine = &management.faces.engine;
    let result = async {
        if T::TYPE == Asset::TYPE && !removal.force {
            engine.expect_no_agreement_about(&id)?;
        }
        engine.delete_resource::<T>(&id).await
    };
    respond(result.await.map(|()| StatusCode::NO_CONTENT.into_response()))
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
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ask {
    #[serde(rename = "@id")]
    id: Option<String>,
    counter_party_id: Option<String>,
    counter_party_address: Option<String>,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    profile: Option<String>,
    #[serde(default)]
    filter: Option<Vec<Value>>,
    /// Which datasets, as EDC's clients say it; the provider is asked so.
    #[serde(default)]
    query_spec: Option<Value>,
    #[serde(rename = "additionalScopes", default)]
    _additional_scopes: Option<Value>,
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
        check_protocol(ask.protocol.as_deref(), ask.profile.as_deref())?;
        let window = ask.query_spec.as_ref().map(query_window).transpose()?;
        let query = ask.query_spec.map(as_query_spec);
        let filter: Vec<Value> = ask.filter.into_iter().flatten().chain(query).collect();
        let filter = Some(filter).filter(|filter| !filter.is_empty());
        let mut found = management.faces.engine.ask_catalog(&peer, address, filter, window).await?;
        if let Some(most) = window {
            found.dataset.truncate(most);
        }
        Ok(json_answer(StatusCode::OK, &protocol::wire::to_json(&found, None)))
    };
    respond(result.await)
}

/// A QuerySpec as providers understand it: clients need not name its type.
fn as_query_spec(mut query: Value) -> Value {
    if let Some(map) = query.as_object_mut() {
        map.insert("@type".to_owned(), json!("QuerySpec"));
        in_lists(map, "filterExpression");
        for criterion in map.get_mut("filterExpression").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(criterion) = criterion.as_object_mut() {
                criterion.insert("@type".to_owned(), json!("Criterion"));
            }
        }
    }
    query
}

/// How many datasets a QuerySpec asks for, once all of it is understood.
fn query_window(query: &Value) -> Result<usize, EngineError> {
    let filter = catalog::Filter::parse(&[as_query_spec(query.clone())])
        .map_err(|reason| malformed(format!("querySpec: {reason}")))?;
    Ok(filter.window().map_or(usize::MAX, |window| window.limit))
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
