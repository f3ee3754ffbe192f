//! Requests for data that nobody offers (MIM3, requirement C7): published with the catalog to whom they may concern, and
//! answered with an offer, from which a negotiation follows, or with a refusal. Ours, beside the protocol: a peer that does
//! not know of them is not disturbed.

use governance::Malformed;
use governance::identifier::expect_iri;
use http::header::AUTHORIZATION;
use policy_engine::{Outcome, Policy, World, decide};
use protocol::RefusalKind;
use protocol::wire::Catalog;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use store::Batch;

use super::peers::ASK;
use super::{Engine, EngineError};
use crate::clock;
use crate::network::{bounded_body, describe};
use crate::tables::{self, AnswerKind, DataRequest, DataRequestRecord, Event, RequestAnswer, prefix};

/// The property of a catalog with its participant's requests, and of an offer with the request that it answers.
pub(crate) const REQUESTS: &str = "urn:concordat:dataRequests";
/// The property of a first offer that names the request which it answers.
pub(crate) const REQUEST: &str = "urn:concordat:dataRequest";
/// Most open requests of one participant.
const MAX_REQUESTS: usize = 1000;
/// Most answers to one request.
const MAX_ANSWERS: usize = 1000;
/// Longest text in a request, in bytes.
const MAX_TEXT: usize = 4096;
/// Largest answer to a refusal that is read for its reason, in bytes.
const MAX_ERROR: usize = 64 * 1024;

impl DataRequest {
    fn check(&self) -> Result<(), String> {
        if self.id.is_empty() || self.id.len() > 512 || self.id.chars().any(char::is_control) {
            return Err("@id: must be a text of 1 to 512 bytes without control characters".to_owned());
        }
        if self.title.trim().is_empty() {
            return Err("title: says what is wanted".to_owned());
        }
        let texts = [
            &self.description,
            &self.place,
            &self.from,
            &self.until,
            &self.frequency,
            &self.format,
            &self.conforms_to,
            &self.purpose,
        ];
        let mut all = texts.into_iter().flatten().chain(&self.keywords).chain([&self.title]);
        if self.keywords.len() > 100 || all.any(|text| text.len() > MAX_TEXT) {
            return Err(format!(
                "a text is longer than {MAX_TEXT} bytes, or there are more than 100 keywords"
            ));
        }
        Ok(())
    }

    /// Whether what is named is named by IRIs; asked of one's own requests, for those of others are shown as they are.
    fn check_terms(&self) -> Result<(), Malformed> {
        for (name, value, example) in [
            ("purpose", &self.purpose, "https://w3id.org/dpv#ScientificResearch"),
            (
                "conformsTo",
                &self.conforms_to,
                "https://smartdatamodels.org/dataModel.Environment/AirQualityObserved",
            ),
            (
                "frequency",
                &self.frequency,
                "http://publications.europa.eu/resource/authority/frequency/DAILY",
            ),
        ] {
            if let Some(value) = value {
                expect_iri(name, value, example)?;
            }
        }
        Ok(())
    }
}

/// What the operator publishes: the request, and who may see it.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wish {
    /// The request; an id is made where there is none.
    pub request: DataRequest,
    /// An ODRL Set that permits its use to those who may see it.
    #[schemars(with = "serde_json::Map<String, Json>")]
    pub access: Json,
}

/// The requests that a catalog tells of; what is malformed is left out.
pub(super) fn told(catalog: &Catalog) -> Vec<DataRequest> {
    let all = catalog.properties.get(REQUESTS).and_then(Json::as_array);
    let read = |one: &Json| serde_json::from_value::<DataRequest>(one.clone()).ok();
    let fine = |one: &DataRequest| one.check().is_ok();
    all.into_iter().flatten().filter_map(read).filter(fine).take(MAX_REQUESTS).collect()
}

impl Engine {
    /// Publishes a request.
    ///
    /// # Errors
    /// It is malformed, there is one with this id, or there are too many.
    pub async fn publish_request(&self, wish: Wish) -> Result<DataRequestRecord, EngineError> {
        let refuse = |reason: String| EngineError::refused(RefusalKind::Malformed, reason);
        let Wish { mut request, access } = wish;
        request.check().map_err(refuse)?;
        request.check_terms().map_err(|error| refuse(error.to_string()))?;
        let policy = Policy::parse(&access).map_err(|error| refuse(format!("access: {error}")))?;
        let _lock = self.locks.lock(prefix::DATA_REQUEST).await;
        let key = request_key(&request.id);
        if self.store.get(&key)?.is_some() {
            let reason = format!("there is a request `{}` already", request.id);
            return Err(EngineError::refused(RefusalKind::Disagreement, reason));
        }
        let open = self.own_requests()?.iter().filter(|one| one.withdrawn_at.is_none()).count();
        if open >= MAX_REQUESTS {
            let reason = format!("{MAX_REQUESTS} requests are open; withdraw one first");
            return Err(EngineError::refused(RefusalKind::TooMuch, reason));
        }
        let now = clock::now();
        request.issued = Some(now);
        let record = DataRequestRecord { request, access, withdrawn_at: None, answers: Vec::new() };
        let event = Event::new("data-request", now, format!("asked for: {}", record.request.title));
        self.save_request(&record, event).await?;
        // Whoever comes is asked for what shows that it may see the request.
        self.claims.expect(&policy, &self.known);
        self.claims.forget_answers();
        Ok(record)
    }

    /// Takes a request back; answers to it stay.
    ///
    /// # Errors
    /// There is none with this id, or it was taken back.
    pub async fn withdraw_request(&self, id: &str) -> Result<(), EngineError> {
        let _lock = self.locks.lock(prefix::DATA_REQUEST).await;
        let record = self.own_request(id)?;
        if let Some(at) = record.withdrawn_at {
            let reason = format!("the request was withdrawn on {at} already");
            return Err(EngineError::refused(RefusalKind::IllegalTransition, reason));
        }
        let now = clock::now();
        let record = DataRequestRecord { withdrawn_at: Some(now), ..record };
        self.save_request(&record, Event::new("data-request", now, "the request was withdrawn")).await
    }

    /// This node's own requests, the newest last.
    ///
    /// # Errors
    /// The store failed.
    pub fn own_requests(&self) -> Result<Vec<DataRequestRecord>, EngineError> {
        let mut all = tables::all::<DataRequestRecord>(&self.store, prefix::DATA_REQUEST)?;
        all.sort_by_key(|one| one.request.issued);
        Ok(all)
    }

    fn own_request(&self, id: &str) -> Result<DataRequestRecord, EngineError> {
        let found = tables::load(&self.store, &request_key(id))?;
        found
            .map(|(one, _)| one)
            .ok_or_else(|| EngineError::NotFound { kind: "data request", id: id.to_owned() })
    }

    async fn save_request(&self, record: &DataRequestRecord, event: Event) -> Result<(), EngineError> {
        let mut batch = Batch::new();
        tables::put(&mut batch, request_key(&record.request.id), record)?;
        tables::append_event(&mut batch, &event.about(&record.request.id))?;
        self.commit(batch).await?;
        self.federation.has_news();
        Ok(())
    }

    /// The open requests that `asker` may see, as its copy of this node's catalog tells them.
    pub(super) fn requests_for(&self, asker: ::catalog::Asker<'_>) -> Result<Option<Json>, EngineError> {
        let now = clock::now();
        let admits = |access: &Json| {
            let request =
                policy_engine::Request { action: policy_engine::ACCESS, party: asker.did, target: None };
            let world = World { credentials: asker.credentials, ..World::at(now, &self.known) };
            Policy::parse(access)
                .is_ok_and(|access| decide(&access, &request, &world).outcome == Outcome::Permit)
        };
        let open = self.own_requests()?.into_iter().filter(|one| one.withdrawn_at.is_none());
        let shown: Vec<_> = open.filter(|one| admits(&one.access)).map(|one| json!(one.request)).collect();
        Ok((!shown.is_empty()).then_some(Json::Array(shown)))
    }

    /// The request `id` of `peer`, as its catalog told of it.
    fn request_of(&self, peer: &str, id: &str) -> Result<DataRequest, EngineError> {
        let found = self.crawls()?.into_iter().find(|crawl| crawl.peer == peer);
        let found = found.and_then(|crawl| crawl.requests.into_iter().find(|one| one.id == id));
        found.ok_or_else(|| EngineError::NotFound {
            kind: "open data request of that participant",
            id: id.to_owned(),
        })
    }

    /// Answers the request `id` of `peer` with the offer `offer`: a negotiation begins, which names the request.
    ///
    /// # Errors
    /// No such request or offer, or the participant cannot be reached.
    pub async fn answer_request(
        self: &std::sync::Arc<Self>,
        peer: &str,
        id: &str,
        offer: &str,
    ) -> Result<tables::NegotiationRecord, EngineError> {
        self.request_of(peer, id)?;
        let record = self.propose(peer, None, offer, Some(id)).await?;
        let text = format!("the request `{id}` is answered with the offer {offer}");
        self.record(Event::new("data-request", clock::now(), text).about(id).with(peer)).await;
        Ok(record)
    }

    /// Refuses the request `id` of `peer`, and tells it so.
    ///
    /// # Errors
    /// No such request, or the participant does not take the refusal.
    pub async fn refuse_request(&self, peer: &str, id: &str, reason: &str) -> Result<(), EngineError> {
        self.request_of(peer, id)?;
        if reason.trim().is_empty() || reason.len() > MAX_TEXT {
            let text = format!("reason: 1 to {MAX_TEXT} bytes");
            return Err(EngineError::refused(RefusalKind::Malformed, text));
        }
        let base = self.peer_address(peer, None).await?;
        let url = format!("{base}/catalog/data-requests/{}/refusal", trust::did::segment(id));
        let authorization = self.identity.authorization(peer, clock::now())?;
        let request = self.client.post(&url).header(AUTHORIZATION, authorization);
        let sent = request.json(&json!({"reason": reason})).timeout(ASK).send().await;
        let answer = sent.map_err(|error| EngineError::Peer(format!("{url}: {}", describe(&error))))?;
        let status = answer.status();
        if !status.is_success() {
            let body = bounded_body(answer, MAX_ERROR).await.unwrap_or_default();
            return Err(super::peers::problem(&url, status, &body));
        }
        let text = format!("the request `{id}` was refused: {reason}");
        self.record(Event::new("data-request", clock::now(), text).about(id).with(peer)).await;
        Ok(())
    }

    /// Takes the answer of `peer` to one of this node's requests.
    ///
    /// # Errors
    /// No such request that `peer` may see, or too many answers.
    pub(crate) async fn take_request_answer(
        &self,
        peer: &str,
        id: &str,
        kind: AnswerKind,
    ) -> Result<(), EngineError> {
        let _lock = self.locks.lock(prefix::DATA_REQUEST).await;
        let unknown = || EngineError::refused(RefusalKind::NotFound, format!("no data request `{id}` here"));
        let mut record = self.own_request(id).map_err(|_| unknown())?;
        let credentials = self.credentials_of(peer);
        let shown = self.requests_for(::catalog::Asker { did: peer, credentials: &credentials })?;
        let sees = |all: &Json| all.as_array().is_some_and(|all| all.iter().any(|one| one["@id"] == id));
        if !shown.as_ref().is_some_and(sees) {
            return Err(unknown());
        }
        if let AnswerKind::Refused { reason } = &kind
            && (reason.trim().is_empty() || reason.len() > MAX_TEXT)
        {
            let text = format!("/reason: 1 to {MAX_TEXT} bytes");
            return Err(EngineError::refused(RefusalKind::Malformed, text));
        }
        // A later refusal of the same participant takes the place of the one before; offers stay.
        let refused = |one: &RequestAnswer| one.by == peer && matches!(one.kind, AnswerKind::Refused { .. });
        if matches!(kind, AnswerKind::Refused { .. }) {
            record.answers.retain(|one| !refused(one));
        }
        if record.answers.len() >= MAX_ANSWERS {
            return Err(EngineError::refused(RefusalKind::TooMuch, "this request has too many answers"));
        }
        let now = clock::now();
        let text = match &kind {
            AnswerKind::Offered { dataset, .. } => format!("{dataset} is offered for it"),
            AnswerKind::Refused { reason } => format!("it was refused: {reason}"),
        };
        record.answers.push(RequestAnswer { by: peer.to_owned(), at: now, kind });
        let mut batch = Batch::new();
        tables::put(&mut batch, request_key(id), &record)?;
        tables::append_event(&mut batch, &Event::new("data-request", now, text).about(id).with(peer))?;
        self.commit(batch).await.map(|_| ())
    }
}

fn request_key(id: &str) -> String {
    tables::key(prefix::DATA_REQUEST, &trust::did::segment(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_tells_is_taken_within_bounds() {
        let mut catalog = Catalog::new("c".to_owned(), "did:web:a".to_owned());
        let long = "x".repeat(MAX_TEXT + 1);
        catalog.properties.insert(
            REQUESTS.to_owned(),
            json!([{"@id": "urn:r", "title": "Noise"}, {"@id": "urn:s", "title": long}, {"title": "no id"}, 5,
                {"@id": "urn:t", "title": " "}, {"@id": "urn:u", "title": "x", "colour": "red"}]),
        );
        assert_eq!(told(&catalog).into_iter().map(|one| one.id).collect::<Vec<_>>(), ["urn:r"]);
        catalog.properties.insert(REQUESTS.to_owned(), json!("none"));
        assert!(told(&catalog).is_empty());
    }
}
