//! Negotiations, agreements and transfers: looked at, begun, decided.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use catalog::Automation;
use http::StatusCode;
use protocol::RefusalKind;
use protocol::wire::{Agreement, Offer, Parts};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::operations::Scope;
use super::views::{self, Query};
use super::{Management, Shared, malformed, read, respond};
use crate::engine::{Engine, EngineError, Import, Move};
use crate::http::problem::json_answer;
use crate::outbox::Attempts;
use crate::pushing;
use crate::tables::{AgreementRecord, Attached, CallbackAddress, NegotiationRecord, TransferRecord, prefix};

/// Longest reason an operator gives, in bytes.
pub(super) const MAX_REASON: usize = 1000;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/contractnegotiations", post(negotiate))
        .route("/contractnegotiations/request", post(negotiations))
        .route("/contractnegotiations/{id}", get(negotiation).delete(remove_negotiation))
        .route("/contractnegotiations/{id}/state", get(negotiation_state))
        .route("/contractnegotiations/{id}/agreement", get(negotiation_agreement))
        .route("/contractnegotiations/{id}/approve", post(approve))
        .route("/contractnegotiations/offer", post(propose))
        .route("/contractnegotiations/{id}/move/{name}", post(make_move))
        .route("/contractnegotiations/{id}/terminate", post(terminate_negotiation))
        .route("/contractagreements/import", post(import))
        .route("/contractagreements/request", post(agreements))
        .route("/contractagreements/{id}", get(agreement))
        .route("/contractagreements/{id}/negotiation", get(agreement_negotiation))
        .route("/contractagreements/{id}/dossier", get(dossier))
        .route("/contractagreements/{id}/end", post(end_agreement))
        .route("/contractagreements/{id}/duties", get(duties).post(state_duty))
        .route("/duties", get(all_duties))
        .route("/transferprocesses", post(start))
        .route("/transferprocesses/request", post(transfers))
        .route("/transferprocesses/{id}", get(transfer))
        .route("/transferprocesses/{id}/state", get(transfer_state))
        .route("/transferprocesses/{id}/suspend", post(suspend))
        .route("/transferprocesses/{id}/resume", post(resume))
        .route("/transferprocesses/{id}/complete", post(complete))
        .route("/transferprocesses/{id}/terminate", post(terminate_transfer))
        .route("/transferprocesses/{id}/deprovision", post(deprovision))
}

fn ok(body: &Value) -> Response {
    json_answer(StatusCode::OK, body)
}

/// What a client asks to negotiate (EDC's ContractRequest).
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContractRequest {
    counter_party_address: Option<String>,
    #[serde(default)]
    counter_party_id: Option<String>,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    profile: Option<String>,
    #[schemars(with = "Map<String, Value>")]
    policy: Value,
    #[serde(default, deserialize_with = "listed")]
    callback_addresses: Vec<CallbackAddress>,
    #[serde(default)]
    private_properties: Map<String, Value>,
    /// Where the catalog says that one negotiates, for who gives no address.
    #[serde(rename = "urn:concordat:endpointURL", default)]
    endpoint_url: Option<String>,
    #[serde(rename = "urn:concordat:automation", default)]
    automation: Automation,
}

impl ContractRequest {
    /// Begins the negotiation; with `transfer_type` a transfer follows as soon as the agreement is in force.
    pub(super) async fn begin(
        self,
        engine: &Arc<Engine>,
        scope: Scope,
        transfer_type: Option<&str>,
    ) -> Result<NegotiationRecord, EngineError> {
        may_name_secrets(scope, &self.callback_addresses)?;
        check_protocol(self.protocol.as_deref(), self.profile.as_deref())?;
        let mut policy = self.policy;
        // Parties and things may be written as nodes.
        if ["assigner", "target"].iter().any(|name| policy.get(*name).is_some_and(Value::is_object)) {
            policy = policy_engine::compacted(&policy)
                .map_err(|error| malformed(format!("policy{}: {}", error.path(), error.reason())))?;
        }
        let assigner =
            policy.get("assigner").and_then(Value::as_str).map(str::to_owned).or(self.counter_party_id);
        let assigner = assigner
            .ok_or_else(|| malformed("policy.assigner: is missing; it is the provider's DID or id"))?;
        let peer = engine.did_of(&assigner).to_owned();
        if let Some(map) = policy.as_object_mut() {
            map.entry("assigner").or_insert_with(|| json!(assigner));
            engine.fill_open_terms(&peer, map);
        }
        let offer = Offer::parse(policy).map_err(|reason| malformed(format!("policy{reason}")))?;
        let address = match (self.counter_party_address, self.endpoint_url) {
            (None, Some(service)) => engine.service_address(&service).await,
            (given, _) => given,
        };
        let attached = Attached {
            callback_addresses: self.callback_addresses,
            private_properties: self.private_properties,
            transfer_type: transfer_type.map(str::to_owned),
            ..Attached::default()
        };
        engine.negotiate(&peer, address.as_deref(), offer, self.automation, attached).await
    }
}

/// A list, of which clients may write the only entry by itself.
pub(super) fn listed<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let list = match Value::deserialize(deserializer)? {
        Value::Array(list) => Value::Array(list),
        Value::Null => Value::Array(Vec::new()),
        one => Value::Array(vec![one]),
    };
    serde_json::from_value(list).map_err(D::Error::custom)
}

/// A secret that a program is shown is one that whoever asks may see.
fn may_name_secrets(scope: Scope, callbacks: &[CallbackAddress]) -> Result<(), EngineError> {
    if scope == Scope::Admin || callbacks.iter().all(|one| one.auth_code_id.is_none()) {
        return Ok(());
    }
    Err(malformed("callbackAddresses: authCodeId names a secret, which takes a key of the scope `admin`"))
}

async fn negotiate(State(management): Shared, Extension(scope): Extension<Scope>, body: Body) -> Response {
    let result = async {
        let request: ContractRequest = read(body).await?;
        let record = request.begin(&management.faces.engine, scope, None).await?;
        Ok(ok(&views::id_response(record.negotiation.pid())))
    };
    respond(result.await)
}

pub(super) fn check_protocol(protocol: Option<&str>, profile: Option<&str>) -> Result<(), EngineError> {
    if let Some(other) = profile.filter(|profile| *profile != views::PROFILE) {
        return Err(malformed(format!("profile: `{other}` is not spoken here; `{}` is", views::PROFILE)));
    }
    match protocol {
        None | Some(views::PROTOCOL | "dataspace-protocol-http") => Ok(()),
        Some(other) => {
            Err(malformed(format!("protocol: `{other}` is not spoken here; `{}` is", views::PROTOCOL)))
        }
    }
}

/// Removes a negotiation that came to nothing.
async fn remove_negotiation(State(management): Shared, Path(id): Path<String>) -> Response {
    let result = management.faces.engine.remove_negotiation(&id).await;
    respond(result.map(|()| StatusCode::NO_CONTENT.into_response()))
}

/// Nothing was provisioned for a transfer, so nothing is left to be removed once it is over.
async fn deprovision(State(management): Shared, Path(id): Path<String>) -> Response {
    let found = management.faces.engine.transfer(&id).and_then(|record| {
        if record.transfer.progress.is_terminal() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let reason = format!("the transfer process `{id}` is not over; complete or terminate it first");
        Err(EngineError::refused(RefusalKind::IllegalTransition, reason))
    });
    respond(found)
}

async fn negotiations(State(management): Shared, body: Body) -> Response {
    let result = async {
        let query: Query = read(body).await?;
        let show = |record: &NegotiationRecord| Some(views::negotiation(record));
        let found = query.run(&management.faces.engine, prefix::NEGOTIATION, show)?;
        Ok(ok(&Value::Array(found)))
    };
    respond(result.await)
}

async fn negotiation(State(management): Shared, Path(id): Path<String>) -> Response {
    let engine = &management.faces.engine;
    respond(engine.negotiation(&id).map(|record| {
        let mut shown = views::negotiation(&record);
        if let Some(map) = shown.as_object_mut() {
            map.insert("urn:concordat:differences".to_owned(), json!(engine.differences(&record)));
            map.extend(
                engine.own_offer(&record).map(|own| ("urn:concordat:ownOffer".to_owned(), json!(own))),
            );
        }
        add_delivery(&mut shown, engine.failing_delivery(&record.negotiation.progress));
        ok(&shown)
    }))
}

/// Says why the other side has not got the message that the process waits for.
fn add_delivery(shown: &mut Value, failing: Option<Attempts>) {
    if let (Some(map), Some(attempts)) = (shown.as_object_mut(), failing) {
        let told = json!({"attempts": attempts.failed, "reason": attempts.reason});
        map.insert("urn:concordat:delivery".to_owned(), told);
    }
}

async fn negotiation_state(State(management): Shared, Path(id): Path<String>) -> Response {
    respond(management.faces.engine.negotiation(&id).map(|record| {
        let state = record.negotiation.progress.state_name();
        ok(&json!({"@context": [views::CONTEXT], "@type": "NegotiationState", "state": state}))
    }))
}

async fn negotiation_agreement(State(management): Shared, Path(id): Path<String>) -> Response {
    let engine = &management.faces.engine;
    let found = engine.negotiation(&id).and_then(|record| match record.negotiation.agreement {
        Some(agreement) => engine.agreement(agreement.id().as_str()),
        None => Err(EngineError::NotFound { kind: "agreement of negotiation", id }),
    });
    respond(found.map(|standing| ok(&views::agreement(&standing))))
}

async fn approve(State(management): Shared, Path(id): Path<String>) -> Response {
    respond(management.faces.engine.approve(&id).await.map(|record| ok(&views::negotiation(&record))))
}

/// An offer to a participant that did not ask.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Proposal {
    counter_party_id: String,
    counter_party_address: Option<String>,
    offer_id: String,
}

async fn propose(State(management): Shared, body: Body) -> Response {
    let result = async {
        let proposal: Proposal = read(body).await?;
        let address = proposal.counter_party_address.as_deref();
        let engine = &management.faces.engine;
        let record = engine
            .propose(engine.did_of(&proposal.counter_party_id), address, &proposal.offer_id, None)
            .await?;
        Ok(ok(&views::id_response(record.negotiation.pid())))
    };
    respond(result.await)
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct Terms {
    #[serde(default)]
    policy: Option<Value>,
}

async fn make_move(
    State(management): Shared,
    Path((id, name)): Path<(String, String)>,
    body: Body,
) -> Response {
    let result = async {
        let terms: Terms = read(body).await?;
        let engine = &management.faces.engine;
        let policy = terms.policy.map(|policy| engine.as_offer_of(&id, policy)).transpose()?;
        let offer =
            policy.map(Offer::parse).transpose().map_err(|reason| malformed(format!("policy{reason}")))?;
        let wanted = match name.as_str() {
            "accept" => Move::Accept,
            "agree" => Move::Agree,
            "finalize" => Move::Finalize,
            "meet" => Move::Meet,
            "offer" => Move::Offer(offer),
            "request" => Move::Request(offer),
            "verify" => Move::Verify,
            _ => return Err(EngineError::NotFound { kind: "move", id: name.clone() }),
        };
        let record = engine.make_move(&id, wanted).await?;
        Ok(ok(&views::negotiation(&record)))
    };
    respond(result.await)
}

/// A dossier, or as much of one as there is.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImportRequest {
    #[schemars(with = "Map<String, Value>")]
    agreement: Agreement,
    #[serde(default)]
    #[schemars(with = "Map<String, Value>")]
    parts: Parts,
    counter_party_address: String,
    #[serde(default)]
    provider_signature: Option<String>,
    #[serde(default)]
    consumer_signature: Option<String>,
    #[serde(default)]
    did_documents: BTreeMap<String, Value>,
    #[serde(rename = "urn:concordat:automation", default)]
    automation: Automation,
}

async fn import(State(management): Shared, body: Body) -> Response {
    let result = async {
        let request: ImportRequest = read(body).await?;
        let import = Import {
            agreement: request.agreement,
            parts: request.parts,
            peer_address: request.counter_party_address,
            provider_signature: request.provider_signature,
            consumer_signature: request.consumer_signature,
            did_documents: request.did_documents,
            automation: request.automation,
        };
        let standing = management.faces.engine.import_agreement(import).await?;
        Ok(ok(&views::agreement(&standing)))
    };
    respond(result.await)
}

async fn duties(State(management): Shared, Path(id): Path<String>) -> Response {
    respond(management.faces.engine.duties(&id).map(|found| ok(&json!(found))))
}

async fn all_duties(State(management): Shared) -> Response {
    respond(management.faces.engine.all_duties().map(|found| ok(&json!(found))))
}

async fn state_duty(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    let result = async {
        let statement = read(body).await?;
        Ok(ok(&json!(management.faces.engine.state_duty(&id, statement).await?)))
    };
    respond(result.await)
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct Why {
    #[serde(default)]
    reason: Option<String>,
}

async fn reason(body: Body) -> Result<String, EngineError> {
    let why: Why = read(body).await?;
    match why.reason {
        None => Ok("by the operator".to_owned()),
        Some(reason) if reason.len() <= MAX_REASON => Ok(reason),
        Some(_) => Err(malformed(format!("reason: longer than {MAX_REASON} bytes"))),
    }
}

async fn terminate_negotiation(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    let result = async {
        let reason = reason(body).await?;
        management.faces.engine.terminate_negotiation(&id, &reason).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    respond(result.await)
}

async fn agreements(State(management): Shared, body: Body) -> Response {
    let result = async {
        let query: Query = read(body).await?;
        let engine = &management.faces.engine;
        let show = |record: &AgreementRecord| {
            let id = record.agreement.id();
            // The usage stands in a record of its own; without one nothing was read yet.
            Some(views::agreement(&engine.agreement(id.as_str()).ok()?))
        };
        Ok(ok(&Value::Array(query.run(engine, prefix::AGREEMENT, show)?)))
    };
    respond(result.await)
}

async fn agreement(State(management): Shared, Path(id): Path<String>) -> Response {
    respond(management.faces.engine.agreement(&id).map(|standing| ok(&views::agreement(&standing))))
}

async fn agreement_negotiation(State(management): Shared, Path(id): Path<String>) -> Response {
    let engine = &management.faces.engine;
    let found = engine.agreement(&id).and_then(|standing| engine.negotiation(&standing.record.negotiation));
    respond(found.map(|record| ok(&views::negotiation(&record))))
}

async fn dossier(State(management): Shared, Path(id): Path<String>) -> Response {
    let found = management.faces.engine.dossier(&id);
    respond(found.map(|dossier| ok(&serde_json::to_value(dossier).unwrap_or_default())))
}

async fn end_agreement(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    let result = async {
        let reason = reason(body).await?;
        let standing = management.faces.engine.end_agreement(&id, &reason).await?;
        Ok(ok(&views::agreement(&standing)))
    };
    respond(result.await)
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransferRequest {
    contract_id: String,
    transfer_type: String,
    counter_party_address: Option<String>,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    profile: Option<String>,
    /// Where to push to, for push formats.
    #[serde(default)]
    data_destination: Option<Map<String, Value>>,
    #[serde(default)]
    private_properties: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "listed")]
    callback_addresses: Vec<CallbackAddress>,
}

/// What of a destination is shown again: no credentials, which go to the provider alone.
const SHOWN: [&str; 11] = [
    "@type",
    "type",
    "baseUrl",
    "endpoint",
    "url",
    "path",
    "method",
    "contentType",
    "name",
    "region",
    "endpointOverride",
];

async fn start(State(management): Shared, Extension(scope): Extension<Scope>, body: Body) -> Response {
    let result = async {
        let request: TransferRequest = read(body).await?;
        may_name_secrets(scope, &request.callback_addresses)?;
        check_protocol(request.protocol.as_deref(), request.profile.as_deref())?;
        let engine = &management.faces.engine;
        let address = request.counter_party_address.as_deref();
        let pushed = request.transfer_type == catalog::HTTP_PUSH;
        let given = request.data_destination.unwrap_or_default();
        let destination = pushed.then(|| pushing::destination(&given)).transpose()?;
        let (agreement, format) = (&request.contract_id, &request.transfer_type);
        let attached = Attached {
            callback_addresses: request.callback_addresses,
            private_properties: request.private_properties.unwrap_or_default(),
            data_destination: given.into_iter().filter(|(name, _)| SHOWN.contains(&name.as_str())).collect(),
            ..Attached::default()
        };
        let record = engine.request_transfer(agreement, format, address, destination, attached).await;
        let record = record.map_err(|error| match error {
            // What the address names is there; what the body names is not.
            EngineError::NotFound { .. } => malformed(format!("contractId: {error}")),
            error => error,
        })?;
        Ok(ok(&views::id_response(record.transfer.pid())))
    };
    respond(result.await)
}

async fn transfers(State(management): Shared, body: Body) -> Response {
    let result = async {
        let query: Query = read(body).await?;
        let show = |record: &TransferRecord| Some(views::transfer(record));
        let found = query.run(&management.faces.engine, prefix::TRANSFER, show)?;
        Ok(ok(&Value::Array(found)))
    };
    respond(result.await)
}

async fn transfer(State(management): Shared, Path(id): Path<String>) -> Response {
    let engine = &management.faces.engine;
    respond(engine.transfer(&id).map(|record| {
        let mut shown = views::transfer(&record);
        add_delivery(&mut shown, engine.failing_delivery(&record.transfer.progress));
        ok(&shown)
    }))
}

async fn transfer_state(State(management): Shared, Path(id): Path<String>) -> Response {
    respond(management.faces.engine.transfer(&id).map(|record| {
        let state = record.transfer.progress.state_name();
        ok(&json!({"@context": [views::CONTEXT], "@type": "TransferState", "state": state}))
    }))
}

async fn suspend(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    let result = async {
        let reason = reason(body).await?;
        management.faces.engine.suspend_transfer(&id, &reason).await
    };
    respond(result.await.map(|_| StatusCode::NO_CONTENT.into_response()))
}

async fn resume(State(management): Shared, Path(id): Path<String>) -> Response {
    respond(
        management.faces.engine.resume_transfer(&id).await.map(|_| StatusCode::NO_CONTENT.into_response()),
    )
}

async fn complete(State(management): Shared, Path(id): Path<String>) -> Response {
    respond(
        management.faces.engine.complete_transfer(&id).await.map(|_| StatusCode::NO_CONTENT.into_response()),
    )
}

async fn terminate_transfer(State(management): Shared, Path(id): Path<String>, body: Body) -> Response {
    let result = async {
        let reason = reason(body).await?;
        management.faces.engine.terminate_transfer(&id, &reason).await
    };
    respond(result.await.map(|_| StatusCode::NO_CONTENT.into_response()))
}
