//! The Decentralized Claims Protocol's endpoints (1.0.1): the credential service of a holder, the issuer service of an
//! authority.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use protocol::{Refusal, RefusalKind};
use trust::Profile;
use trust::credential::Claimed;
use trust::dcp::{self, DcpMessage};

use super::authenticate::{Visitor, authenticate};
use super::problem::{Problem, json_answer};
use super::{Faces, ISSUER_PATH, MAX_MESSAGE, read_body};
use crate::engine::{MEMBERS_PATH, NOTICE_PATH, RULEBOOK_NOTICE, RULEBOOK_PATH};

type Shared = State<Arc<Faces>>;

/// What a holder answers.
pub(super) fn holder() -> Router<Arc<Faces>> {
    Router::new()
        .route("/presentations/query", post(query))
        .route("/credentials", post(deliver))
        .route("/offers", post(offer))
        .route(&format!("/{NOTICE_PATH}"), post(status_changed))
        .route(&format!("/{RULEBOOK_NOTICE}"), post(rulebook_changed))
}

/// What an authority answers; every other node says that there is nothing.
pub(super) fn issuer() -> Router<Arc<Faces>> {
    Router::new()
        .route("/metadata", get(metadata))
        .route("/credentials", post(request))
        .route("/requests/{id}", get(status))
        .route("/schemas/{kind}", get(schema))
        .route("/context", get(context))
        .route("/status/{name}", get(status_list))
        .route(&format!("/{MEMBERS_PATH}"), get(members))
        .route(&format!("/{RULEBOOK_PATH}"), get(rulebook))
        .route(&format!("/{RULEBOOK_PATH}/acceptances"), post(acceptance))
}

/// Who calls, by a bearer token only.
async fn caller(faces: &Faces, headers: &HeaderMap) -> Result<Visitor, Problem> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer ")));
    if !bearer {
        return Err(Problem::unauthenticated("its Authorization header is not a bearer token".to_owned()));
    }
    authenticate(faces, headers).await
}

async fn read<T: DcpMessage>(body: Body) -> Result<T, Problem> {
    let bytes = read_body(body, MAX_MESSAGE).await?;
    Ok(dcp::parse(protocol::wire::json(&bytes)?)
        .map_err(|error| Refusal::new(RefusalKind::Malformed, error.to_string()))?)
}

/// The answer, or what strangers may know of the problem; the operator learns the rest.
async fn close(faces: &Faces, what: &str, who: Option<&str>, result: Result<Response, Problem>) -> Response {
    match result {
        Ok(response) => response,
        Err(problem) => {
            faces.audit(&problem, what, who, None).await;
            problem.plain()
        }
    }
}

async fn query(State(faces): Shared, headers: HeaderMap, body: Body) -> Response {
    let mut who = None;
    let result = async {
        let visitor = caller(&faces, &headers).await?;
        let did = who.insert(visitor.did).as_str();
        let message = read(body).await?;
        let answer = faces.engine.present(did, visitor.access.as_deref(), &message)?;
        Ok(json_answer(StatusCode::OK, &dcp::write(&answer)))
    };
    let result = result.await;
    close(&faces, "a presentation query", who.as_deref(), result).await
}

async fn deliver(State(faces): Shared, headers: HeaderMap, body: Body) -> Response {
    let mut who = None;
    let result = async {
        let did = who.insert(caller(&faces, &headers).await?.did).as_str();
        let message = read(body).await?;
        faces.engine.take_credentials(did, message).await?;
        Ok(StatusCode::OK.into_response())
    };
    let result = result.await;
    close(&faces, "a delivery of credentials", who.as_deref(), result).await
}

async fn offer(State(faces): Shared, headers: HeaderMap, body: Body) -> Response {
    let mut who = None;
    let result = async {
        let did = who.insert(caller(&faces, &headers).await?.did).as_str();
        let message = read(body).await?;
        faces.engine.take_credential_offer(did, message).await?;
        Ok(StatusCode::OK.into_response())
    };
    let result = result.await;
    close(&faces, "an offer of credentials", who.as_deref(), result).await
}

/// Ours, beside the protocol: an issuer says that one of its status lists has changed.
async fn status_changed(State(faces): Shared, headers: HeaderMap) -> Response {
    let mut who = None;
    let result = async {
        let did = who.insert(caller(&faces, &headers).await?.did).as_str();
        faces.engine.take_status_notice(did).await?;
        Ok(StatusCode::OK.into_response())
    };
    let result = result.await;
    close(&faces, "a notice of a changed status list", who.as_deref(), result).await
}

/// Ours, beside the protocol: an authority says that it has a new rulebook.
async fn rulebook_changed(State(faces): Shared, headers: HeaderMap) -> Response {
    let mut who = None;
    let result = async {
        let did = who.insert(caller(&faces, &headers).await?.did).as_str();
        faces.engine.take_rulebook_notice(did)?;
        Ok(StatusCode::OK.into_response())
    };
    let result = result.await;
    close(&faces, "a notice of a new rulebook", who.as_deref(), result).await
}

/// Ours, beside the protocol: the rulebook, for everybody who may want to join.
async fn rulebook(State(faces): Shared) -> Response {
    let result = faces.engine.published_rulebook();
    let result = result.map(|book| ([(header::CONTENT_TYPE, "application/jwt")], book).into_response());
    close(&faces, "a look at the rulebook", None, result.map_err(Problem::from)).await
}

/// Ours, beside the protocol: a member accepts the rulebook.
async fn acceptance(State(faces): Shared, headers: HeaderMap, body: Body) -> Response {
    let mut who = None;
    let result = async {
        let did = who.insert(caller(&faces, &headers).await?.did).as_str();
        let bytes = read_body(body, MAX_MESSAGE).await?;
        let message = serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::new(RefusalKind::Malformed, error.to_string()))?;
        faces.engine.take_acceptance(did, &message).await?;
        Ok(StatusCode::OK.into_response())
    };
    let result = result.await;
    close(&faces, "the acceptance of a rulebook", who.as_deref(), result).await
}

async fn metadata(State(faces): Shared) -> Response {
    let result =
        faces.engine.issuer_metadata().map(|metadata| json_answer(StatusCode::OK, &dcp::write(&metadata)));
    close(&faces, "a look at the issuer's metadata", None, result.map_err(Problem::from)).await
}

async fn request(State(faces): Shared, headers: HeaderMap, body: Body) -> Response {
    let mut who = None;
    let result = async {
        let visitor = caller(&faces, &headers).await?;
        let did = who.insert(visitor.did).as_str();
        let message = read(body).await?;
        let issuance = faces.engine.take_issuance_request(did, visitor.access.as_deref(), message).await?;
        let mut answer = StatusCode::CREATED.into_response();
        let location = format!("{ISSUER_PATH}/requests/{}", issuance.id);
        if let Ok(location) = HeaderValue::try_from(location) {
            answer.headers_mut().insert(header::LOCATION, location);
        }
        Ok(answer)
    };
    let result = result.await;
    close(&faces, "a request for credentials", who.as_deref(), result).await
}

async fn status(State(faces): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut who = None;
    let result = async {
        let did = who.insert(caller(&faces, &headers).await?.did).as_str();
        Ok(json_answer(StatusCode::OK, &dcp::write(&faces.engine.issuance_status(did, &id)?)))
    };
    let result = result.await;
    close(&faces, "a look at a request for credentials", who.as_deref(), result).await
}

/// Ours, beside the protocol: who belongs to the data space, for those who do.
async fn members(State(faces): Shared, headers: HeaderMap) -> Response {
    let mut who = None;
    let result = async {
        let did = who.insert(caller(&faces, &headers).await?.did).as_str();
        let list = faces.engine.member_list(did)?;
        Ok(([(header::CONTENT_TYPE, "application/jwt")], list).into_response())
    };
    let result = result.await;
    close(&faces, "a look at the members", who.as_deref(), result).await
}

async fn schema(State(faces): Shared, Path(kind): Path<String>) -> Response {
    let result = faces.engine.credential_schema(&kind).map(|schema| json_answer(StatusCode::OK, &schema));
    close(&faces, "a look at a credential's schema", None, result.map_err(Problem::from)).await
}

async fn context(State(faces): Shared) -> Response {
    let result = faces.engine.credential_context().map(|context| {
        let headers = [
            (header::CONTENT_TYPE, "application/ld+json"),
            (header::CACHE_CONTROL, "max-age=3600"),
            // Holders' and verifiers' pages read it as well.
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        ];
        (headers, context.to_string()).into_response()
    });
    close(&faces, "a look at the context of credentials", None, result.map_err(Problem::from)).await
}

/// Signed, as a JWT; as plain JSON for who asks for that alone, as Eclipse EDC does, which takes the word of TLS for it.
async fn status_list(State(faces): Shared, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let profile = if name == "2021" { Profile::V1 } else { Profile::V2 };
    let result = faces.engine.status_list(profile).await.and_then(|list| {
        let kind = if profile == Profile::V1 { "application/jwt" } else { "application/vc+jwt" };
        let (kind, body) = if prefers_json(&headers) {
            ("application/json", Claimed::read_list(&list)?.document().1.to_string())
        } else {
            (kind, list)
        };
        // As long as its `ttl` (Bitstring Status List 1.0, section 2.2).
        let kept = format!("max-age={}", faces.engine.status_list_ttl()?.as_secs());
        let headers =
            [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, kept.as_str()), (header::VARY, "Accept")];
        Ok((headers, body).into_response())
    });
    close(&faces, "a look at the status list", None, result.map_err(Problem::from)).await
}

/// Whether JSON is accepted, and rather than anything else (RFC 9110, section 12.5.1).
fn prefers_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (mut json, mut other) = (0.0_f32, 0.0_f32);
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|one| one.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0_f32);
        match kind.as_str() {
            "application/json" | "application/ld+json" | "application/vc" | "application/vc+ld+json" => {
                json = json.max(weight);
            }
            _ => other = other.max(weight),
        }
    }
    json > other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_for_who_asks_for_it() {
        for (accept, expected) in [
            ("application/json", true),
            ("application/ld+json;q=0.9, application/jwt;q=0.5", true),
            ("application/json;q=0.5, */*", false),
            ("application/vc+jwt, application/json", false),
            ("*/*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(prefers_json(&headers), expected, "{accept}");
        }
        assert!(!prefers_json(&HeaderMap::new()));
    }
}
