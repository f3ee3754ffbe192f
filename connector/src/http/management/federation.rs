//! Beyond this node's own catalog: search, participants, requests for data.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Management, Shared, answer, malformed, read, respond};
use crate::engine::{Contact, Engine, EngineError, Participant, Wish};
use crate::search::Question;
use crate::tables::{AnswerKind, Crawl, DataRequestRecord};
use crate::{clock, ids};

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/search", post(search))
        .route("/peers", get(peers))
        .route("/peers/refresh", post(refresh))
        .route("/peers/check", post(check))
        .route("/peers/{did}", get(peer))
        .route("/offers", post(offers))
        .route("/datarequests", get(requests).post(publish))
        .route("/datarequests/{id}", delete(withdraw))
        .route("/datarequests/offer", post(offer))
        .route("/datarequests/refuse", post(refuse))
}

async fn search(State(management): Shared, body: Body) -> Response {
    let result = async {
        let question: Question = read(body).await?;
        let engine = &management.faces.engine;
        let found = engine.search(question).await?;
        let crawls = engine.crawls()?;
        let now = clock::now();
        let hits: Vec<_> = found
            .hits
            .iter()
            .map(|hit| {
                let source = crawls.iter().find(|crawl| crawl.peer == hit.source);
                let seen = source.and_then(|crawl| crawl.seen);
                json!({
                    "participant": hit.participant,
                    "source": hit.source,
                    "dataset": hit.dataset,
                    "seenAt": seen,
                    "ageSeconds": seen.map(|seen| now.duration_since(seen).as_secs()),
                })
            })
            .collect();
        // What cannot be reached now is told, and what was known of it is shown all the same.
        let failing = crawls.iter().filter(|crawl| crawl.failure.is_some());
        let failing: Vec<_> =
            failing.map(|crawl| json!({"source": crawl.peer, "failure": crawl.failure})).collect();
        Ok(json!({"total": found.total, "hits": hits, "facets": found.facets, "failing": failing}))
    };
    answer(result.await)
}

async fn peers(State(management): Shared) -> Response {
    let engine: &Engine = &management.faces.engine;
    answer(
        engine
            .participants()
            .map(|all| all.iter().map(|(did, one)| participant(engine, did, one)).collect::<Vec<_>>()),
    )
}

/// Asks everybody now whether they answer, and lists them as [`peers`] does.
async fn check(State(management): Shared) -> Response {
    let engine: &Engine = &management.faces.engine;
    match engine.participants() {
        Ok(all) => engine.check_contacts(all.into_keys().collect()).await,
        Err(error) => return respond(Err(error)),
    }
    peers(State(management)).await
}

/// What is known of one participant, and what it speaks.
async fn peer(State(management): Shared, Path(id): Path<String>) -> Response {
    let (engine, rules) = (&management.faces.engine, management.faces.engine.rules());
    let did = rules.did_of(&id).to_owned();
    let found = engine.participants().and_then(|all| {
        let (known, unknown) = (all.get(&did), Participant::default());
        if known.is_none() && rules.recognised(&did).is_none() && !rules.is_listed(&did) {
            return Err(EngineError::NotFound { kind: "participant", id: did.clone() });
        }
        let mut shown = participant(engine, &did, known.map_or(&unknown, |known| known));
        if let Some(map) = shown.as_object_mut() {
            map.insert("id".to_owned(), json!(rules.id_of(&did)));
            map.insert("profile".to_owned(), json!(rules.profile(&did)));
            map.insert("recognisedAs".to_owned(), json!(rules.recognised(&did)));
            map.insert("pinned".to_owned(), json!(rules.is_pinned(&did)));
            map.insert("signatures".to_owned(), json!(rules.signatures(&did)));
            map.insert("undeclaredKeys".to_owned(), json!(rules.undeclared_keys(&did)));
        }
        Ok(shown)
    });
    answer(found)
}

fn participant(engine: &Engine, did: &str, one: &Participant) -> Value {
    let mut roles: Vec<_> = one.memberships.iter().flat_map(|(_, member)| &member.roles).collect();
    roles.sort();
    roles.dedup();
    let crawl = one.crawl.as_ref();
    // What was tried last tells whether it is there.
    let read = crawl.map(|crawl| Contact { at: crawl.tried, failure: crawl.failure.clone() });
    let contact = read.into_iter().chain(engine.last_contact(did)).max_by_key(|contact| contact.at);
    let address = crawl.and_then(|crawl| crawl.address.clone()).or_else(|| one.address.clone());
    let memberships: Vec<_> = one.memberships.iter().map(|(space, member)| {
        json!({"space": space, "since": member.since, "credentials": member.credentials, "roles": member.roles})
    }).collect();
    json!({
        "did": did,
        "name": crawl.and_then(|crawl| crawl.name.clone()),
        "address": address,
        "lastSeen": crawl.and_then(|crawl| crawl.seen).or(one.met),
        "memberOf": memberships,
        "roles": roles,
        "datasets": crawl.filter(|crawl| crawl.seen.is_some()).map(|crawl| crawl.datasets),
        "requests": crawl.map(|crawl| crawl.requests.len()),
        "reachable": contact.as_ref().map(|contact| contact.failure.is_none()),
        "failure": contact.as_ref().and_then(|contact| contact.failure.clone()),
        "triedAt": contact.as_ref().map(|contact| contact.at),
        "changedAt": crawl.and_then(|crawl| crawl.changed),
    })
}

/// Which dataset, as whom.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct As {
    participant: String,
    dataset: String,
}

async fn offers(State(management): Shared, body: Body) -> Response {
    let result = async {
        let As { participant, dataset } = read(body).await?;
        management.faces.engine.offers_seen_by(&participant, &dataset)
    };
    answer(result.await)
}

/// Whom to read now.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refresh {
    #[serde(default)]
    participant: Option<String>,
}

async fn refresh(State(management): Shared, body: Body) -> Response {
    let result = async {
        let Refresh { participant } = read(body).await?;
        management.faces.engine.refresh(participant.as_deref()).await
    };
    answer(result.await.map(|crawls| crawls.iter().map(outcome).collect::<Vec<_>>()))
}

fn outcome(crawl: &Crawl) -> Value {
    json!({
        "participant": crawl.peer, "datasets": crawl.datasets, "seenAt": crawl.seen, "changedAt": crawl.changed,
        "failure": crawl.failure,
    })
}

async fn requests(State(management): Shared) -> Response {
    let engine = &management.faces.engine;
    let result =
        engine.own_requests().and_then(|own| {
            let mut all: Vec<_> = own.iter().map(|one| own_request(engine, one)).collect();
            for crawl in engine.crawls()?.into_iter().filter(|crawl| crawl.peer != engine.did()) {
                all.extend(crawl.requests.iter().map(
                    |request| json!({"participant": crawl.peer, "request": request, "seenAt": crawl.seen}),
                ));
            }
            Ok(all)
        });
    answer(result)
}

/// A request of this node, with how the negotiations that followed stand.
fn own_request(engine: &Engine, record: &DataRequestRecord) -> Value {
    let answers = record.answers.iter().map(|one| {
        let mut shown = json!(one);
        if let (AnswerKind::Offered { negotiation, .. }, Some(map)) = (&one.kind, shown.as_object_mut()) {
            let state = engine.negotiation(negotiation).map(|found| found.negotiation.progress.state_name());
            map.insert("state".to_owned(), json!(state.ok()));
        }
        shown
    });
    json!({
        "participant": engine.did(), "request": record.request, "withdrawnAt": record.withdrawn_at,
        "answers": answers.collect::<Vec<_>>(),
    })
}

async fn publish(State(management): Shared, body: Body) -> Response {
    let result = async {
        let mut json: Value = read(body).await?;
        if let Some(request) = json.get_mut("request").and_then(Value::as_object_mut) {
            request.entry("@id").or_insert_with(|| json!(ids::urn()));
        }
        let wish: Wish = serde_path_to_error::deserialize(&json)
            .map_err(|error| malformed(format!("{}: {}", error.path(), error.inner())))?;
        management.faces.engine.publish_request(wish).await
    };
    answer(result.await)
}

async fn withdraw(State(management): Shared, Path(id): Path<String>) -> Response {
    let done = management.faces.engine.withdraw_request(&id).await;
    respond(done.map(|()| StatusCode::NO_CONTENT.into_response()))
}

/// An answer to somebody's request.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    participant: String,
    request: String,
    #[serde(default)]
    offer_id: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

async fn offer(State(management): Shared, body: Body) -> Response {
    let result = async {
        let Answer { participant, request, offer_id, .. } = read(body).await?;
        let offer = offer_id.ok_or_else(|| malformed("offerId: is missing"))?;
        let record = management.faces.engine.answer_request(&participant, &request, &offer).await?;
        Ok::<_, EngineError>(json!({"negotiation": record.negotiation.pid()}))
    };
    answer(result.await)
}

async fn refuse(State(management): Shared, body: Body) -> Response {
    let result = async {
        let Answer { participant, request, reason, .. } = read(body).await?;
        let reason = reason.ok_or_else(|| malformed("reason: is missing"))?;
        management.faces.engine.refuse_request(&participant, &request, &reason).await
    };
    respond(result.await.map(|()| StatusCode::NO_CONTENT.into_response()))
}
