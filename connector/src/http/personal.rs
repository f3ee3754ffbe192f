//! What personal data operators call on behalf of citizens: consents, withdrawals, requests. Each call is one statement that
//! the operator signed; its answer is for that operator.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use dataplane::{DataRequest, Grant, Judge, Obligations, Reading};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use maud::html;
use policy_engine::{Decision, Outcome, Reason};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use trust::statement;

use super::pages::{self, STYLE};
use super::problem::{Problem, json_answer};
use super::sessions::hand_over;
use super::{Faces, MAX_MESSAGE, PERSONAL_PATH, read_body};
use crate::clock::{self, SystemClock};
use crate::engine::{EngineError, Insight};

type Shared = State<Arc<Faces>>;

/// Largest answer about one dataset, in bytes.
const MAX_HELD: usize = 8 * 1024 * 1024;
/// The session's cookie.
const COOKIE: &str = "concordat-operator";
/// Longest time that reading one dataset for a person may take.
const LONGEST: Duration = Duration::from_secs(60);

pub(super) fn routes() -> Router<Arc<Faces>> {
    Router::new()
        .route("/consents", post(consents))
        .route("/withdrawals", post(withdrawals))
        .route("/requests", post(requests))
        .route("/sessions", post(session))
        .route("/page", get(page))
        .route("/style.css", get(async || ([(header::CONTENT_TYPE, "text/css")], STYLE)))
        .layer(map_response(pages::secure))
}

/// The statement in a body, as text.
async fn compact(body: Body) -> Result<String, Problem> {
    let bytes = read_body(body, MAX_MESSAGE).await?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Problem::unauthenticated("its body is no signed statement".to_owned()))?;
    Ok(text.trim().to_owned())
}

/// The answer, or what strangers may know of the problem; the operator of this node learns the rest.
async fn close(faces: &Faces, what: &str, sent: Option<&str>, result: Result<Response, Problem>) -> Response {
    match result {
        Ok(response) => response,
        Err(problem) => {
            let by = sent.and_then(statement::author);
            faces.audit(&problem, what, by.as_deref(), None).await;
            problem.plain()
        }
    }
}

async fn consents(State(faces): Shared, body: Body) -> Response {
    let mut sent = None;
    let result = async {
        let compact = sent.insert(compact(body).await?).as_str();
        let receipts = faces.engine.give_consents(compact).await?;
        Ok(json_answer(StatusCode::CREATED, &json!({"receipts": receipts})))
    };
    let result = result.await;
    close(&faces, "a consent", sent.as_deref(), result).await
}

async fn withdrawals(State(faces): Shared, body: Body) -> Response {
    let mut sent = None;
    let result = async {
        let compact = sent.insert(compact(body).await?).as_str();
        let receipts = faces.engine.withdraw_consents(compact).await?;
        Ok(json_answer(StatusCode::OK, &json!({"receipts": receipts})))
    };
    let result = result.await;
    close(&faces, "a withdrawal of consent", sent.as_deref(), result).await
}

async fn requests(State(faces): Shared, body: Body) -> Response {
    let mut sent = None;
    let result = async {
        let compact = sent.insert(compact(body).await?).as_str();
        let answer = faces.engine.take_subject_request(compact).await?;
        let record = answer.record;
        let mut told = json!({
            "request": record.id, "kind": record.kind, "receivedAt": record.received_at, "due": record.due,
            "answer": record.answer,
        });
        if let (Some(insight), Some(map)) = (answer.insight, told.as_object_mut()) {
            let held = held(&faces, &insight).await;
            map.insert("held".to_owned(), json!(held));
            map.insert(
                "consents".to_owned(),
                json!(insight.consents.iter().map(|one| &one.consent).collect::<Vec<_>>()),
            );
            map.insert("recipients".to_owned(), json!(insight.recipients));
        }
        Ok(json_answer(StatusCode::CREATED, &told))
    };
    let result = result.await;
    close(&faces, "a person's request", sent.as_deref(), result).await
}

/// A page for the operator: its address is good once, and opens a session of half a day.
async fn session(State(faces): Shared, body: Body) -> Response {
    let mut sent = None;
    let result = async {
        let compact = sent.insert(compact(body).await?).as_str();
        let operator = faces.engine.operator_at_its_page(compact).await?;
        let token = faces.operators.begin(operator);
        let token = token.map_err(|error| EngineError::Vault(format!("{error:#}")))?;
        let address = format!("{}{PERSONAL_PATH}/page?session={token}", faces.engine.public_address());
        Ok(json_answer(StatusCode::CREATED, &json!({"address": address})))
    };
    let result = result.await;
    close(&faces, "an operator's look at its page", sent.as_deref(), result).await
}

#[derive(Deserialize)]
struct Session {
    session: Option<String>,
}

/// Consents, withdrawals and requests that an operator brought, and what is shared with whom.
async fn page(State(faces): Shared, Query(asked): Query<Session>, headers: HeaderMap) -> Response {
    if let Some(token) = asked.session {
        // Out of the address at once; the address is good no more.
        let mut response = Redirect::to(&format!("{PERSONAL_PATH}/page")).into_response();
        if let Ok(Some(token)) = faces.operators.renew(&token) {
            hand_over(&mut response, COOKIE, &token, PERSONAL_PATH);
        }
        return response;
    }
    let Some(operator) = faces.operators.of(COOKIE, &headers) else {
        let text =
            "this page is for personal data operators: POST a signed statement to /personal/sessions\n";
        return (StatusCode::UNAUTHORIZED, text).into_response();
    };
    let made = || {
        let engine = &faces.engine;
        let mut consents = engine.consents(None)?;
        consents.retain(|one| one.consent.operator == operator);
        let mut requests = engine.subject_requests()?;
        requests.retain(|one| one.operator == operator);
        let recipients: Vec<_> = consents.iter().flat_map(|one| &one.consent.extent.recipients).collect();
        let mut shares = engine.shares()?;
        shares.retain(|share| recipients.contains(&&share.recipient));
        Ok::<_, EngineError>(html! {
            p { "For " (operator) }
            (pages::requests(&requests))
            (pages::shares(&shares))
            (pages::consents(&consents))
        })
    };
    match made() {
        Ok(body) => {
            let title = format!("Data about persons at {}", faces.engine.name());
            pages::about_persons(&title, "/personal/style.css", &body).into_response()
        }
        Err(error) => Problem::from(error).plain(),
    }
}

/// A person reads what is about them, and nothing else.
#[derive(Debug)]
struct OfOnePerson {
    column: String,
    subject: String,
}

impl Judge for OfOnePerson {
    fn obligations(&self, _decision: &Decision) -> Obligations {
        Obligations::about(self.column.clone(), self.subject.clone())
    }

    fn judge(&self, _: Timestamp) -> Decision {
        let text = "a person may see what is held about them (GDPR, articles 15 and 20)".to_owned();
        let reasons = vec![Reason { rule: String::new(), text }];
        Decision {
            outcome: Outcome::Permit,
            reasons,
            duties: Vec::new(),
            ask_again: None,
            depends_on: Vec::new(),
        }
    }
}

/// The rows about a person in each dataset, in the dataset's own form.
async fn held(faces: &Faces, insight: &Insight) -> Vec<Json> {
    let mut all = Vec::new();
    for (asset, column) in &insight.datasets {
        let description = ::catalog::Description::from_properties(&asset.properties);
        let title = description.title.plain().map(str::to_owned);
        let media_type = description.media_type_of(None);
        let read = read_of(faces, &asset.data_address, media_type.as_deref(), column, &insight.subject);
        let outcome = match tokio::time::timeout(LONGEST, read).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("reading it took longer than {} s", LONGEST.as_secs())),
        };
        all.push(match outcome {
            Ok((media_type, data)) => {
                json!({"dataset": asset.id, "title": title, "column": column, "mediaType": media_type, "data": data})
            }
            Err(reason) => {
                tracing::error!(dataset = asset.id, reason, "a person's rows could not be read");
                let said = "the rows could not be read now; ask the holder's data protection officer";
                json!({"dataset": asset.id, "title": title, "column": column, "problem": said})
            }
        });
    }
    all
}

async fn read_of(
    faces: &Faces,
    address: &serde_json::Map<String, Json>,
    media_type: Option<&str>,
    column: &str,
    subject: &str,
) -> Result<(String, String), String> {
    let judge = OfOnePerson { column: column.to_owned(), subject: subject.to_owned() };
    let grant = Grant::decide(Arc::new(judge), clock::now()).map_err(|denied| denied.to_string())?;
    let source = faces.sources.open(address, media_type).map_err(|error| format!("{error:#}"))?;
    if source.is_live() && !source.is_whole() {
        return Err("it is live data, of which nothing is held".to_owned());
    }
    let request = DataRequest { method: Method::GET, ..DataRequest::default() };
    let (_running, signal) = tokio::sync::watch::channel(dataplane::Signal::Run);
    let served = dataplane::serve(
        grant,
        source.as_ref(),
        Reading::from(request),
        signal,
        Arc::new(SystemClock),
        |_| {},
    );
    let response = served.await.map_err(|error| error.to_string())?;
    let media_type = response.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().to_owned();
    let body = Limited::new(response.body, MAX_HELD).collect().await.map_err(|error| error.to_string())?;
    let text = String::from_utf8(body.to_bytes().to_vec()).map_err(|error| error.to_string())?;
    Ok((media_type, text))
}
