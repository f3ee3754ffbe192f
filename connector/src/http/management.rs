//! The operator's API: resources named and shaped after EDC's Management API v4, and what EDC has not beside them.
//!
//! On loopback, behind one key. Errors are a list of `{message, type}` as there.

mod authority;
mod catalogs;
mod checks;
mod compliance;
mod credentials;
mod dataplanes;
mod deliveries;
mod discovery;
mod edrs;
mod events;
mod federation;
mod identity;
mod keys;
mod levels;
mod mim;
mod officer;
mod openapi;
mod operations;
mod paging;
mod personal;
mod plan;
mod processes;
mod pull;
mod resources;
mod retirements;
mod rulebook;
mod secrets;
mod store;
mod trusted;
mod uses;
mod v3;
mod views;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use protocol::RefusalKind;
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

pub(crate) use self::keys::digest;
pub use self::operations::Scope;
pub(super) use self::pull::refused;
use super::common::{formed, guarded};
use super::gateway::{self, Previews, Views};
use super::listener::PeerAddress;
use super::problem::json_answer;
use super::sessions::Sessions;
use super::{Faces, held, read_body, to_the_end};
use crate::config::{Config, Gateway};
use crate::engine::{EngineError, Holder};
use crate::tls;

/// Largest body of a caller, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// Deepest nesting of objects and lists in it: what is made of it is read by others, who have a bound of their own.
const MAX_DEPTH: usize = 40;

/// What the management face knows beside the engine.
#[derive(Debug)]
pub struct Management {
    pub(super) faces: Arc<Faces>,
    certificates: Arc<tls::Live>,
    /// Who may read the gateway, and how.
    pub(super) gateway: Gateway,
    pub(super) sessions: Sessions<Holder>,
    /// Data officers who look at their page.
    officers: Sessions<Holder>,
    pub(super) previews: Previews,
    pub(super) views: Views,
    /// SHA-256 of the key: comparing digests takes the same time whatever differs.
    key: [u8; 32],
}

type Shared = State<Arc<Management>>;

impl Management {
    /// A face that asks for `key`.
    #[must_use]
    pub fn new(faces: Arc<Faces>, certificates: Arc<tls::Live>, config: &Config, key: &str) -> Arc<Self> {
        let gateway = config.gateway.clone();
        let views = Views::new(config.path(&config.store.folder), config.limits.views_megabytes);
        Arc::new(Self {
            faces,
            certificates,
            gateway,
            sessions: Sessions::default(),
            officers: Sessions::default(),
            previews: Previews::default(),
            views,
            key: Sha256::digest(key.trim()).into(),
        })
    }

    /// Whose a key is, if it allows `needed`.
    pub(super) fn holder_of(&self, key: &str, needed: Scope) -> Option<Holder> {
        self.whose(key).filter(|(_, scope)| *scope >= needed).map(|(holder, _)| holder)
    }

    /// Whose a key is, and what it allows; `None` for one that this node does not know.
    fn whose(&self, key: &str) -> Option<(Holder, Scope)> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let own = bool::from(digest.ct_eq(&self.key));
        if own { Some((Holder::Node, Scope::Admin)) } else { self.faces.engine.holder_of(key) }
    }

    /// Whose session a request shows, if the key that opened it still allows `needed`.
    pub(super) fn seated(
        &self,
        sessions: &Sessions<Holder>,
        cookie: &str,
        headers: &HeaderMap,
        needed: Scope,
    ) -> Option<Holder> {
        sessions.of(cookie, headers).filter(|holder| self.faces.engine.scope_now(holder) >= Some(needed))
    }
}

/// The OpenAPI document.
pub(crate) fn openapi() -> serde_json::Value {
    openapi::document()
}

/// Everything the operator reaches.
pub fn routes(management: &Arc<Management>) -> Router {
    let shared = || {
        Router::new()
            .merge(resources::routes())
            .merge(processes::routes())
            .merge(edrs::routes())
            .merge(secrets::routes())
            .merge(dataplanes::routes())
            .merge(catalogs::routes())
            .merge(retirements::routes())
            .merge(discovery::routes())
    };
    let of_v3 = || shared().layer(middleware::from_fn(v3::translate));
    let ours = Router::new()
        .merge(identity::routes())
        .merge(events::routes())
        .merge(federation::routes())
        .merge(pull::routes());
    let ours = ours
        .merge(keys::routes())
        .merge(credentials::routes())
        .merge(store::routes())
        .merge(deliveries::routes());
    let ours = ours.merge(authority::routes()).merge(trusted::routes()).merge(uses::routes());
    let ours = ours
        .merge(personal::routes())
        .merge(rulebook::routes())
        .merge(levels::routes())
        .merge(compliance::routes())
        .merge(mim::routes());
    let all = Router::new()
        .nest("/v4", shared().merge(ours))
        // Names under which clients of other versions ask for the same.
        .nest("/v4alpha", shared())
        .nest("/v4beta", shared())
        .nest("/v3", of_v3())
        .nest("/v2", of_v3())
        .nest("/v1alpha", of_v3())
        .route("/openapi.json", get(async || Json(openapi::document())))
        // What is not there is told to nobody without a key.
        .fallback(async || error(StatusCode::NOT_FOUND, "ObjectNotFound", "there is nothing at this address"))
        .layer(middleware::from_fn(to_the_end))
        .layer(middleware::map_response(edcs_form))
        .layer(middleware::from_fn_with_state(Arc::clone(management), authorise))
        .merge(gateway::routes(management))
        .merge(officer::routes())
        .merge(checks::routes())
        .layer(middleware::map_response(guarded))
        .with_state(Arc::clone(management));
    Router::new().fallback_service(all).layer(middleware::map_request(without_second_slash))
}

/// Some clients put a second slash behind the version.
async fn without_second_slash(mut request: Request) -> Request {
    let path = request.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let rest = path.strip_prefix("/v").and_then(|rest| rest.split_once("//"));
    if let Some((version, rest)) =
        rest.filter(|(version, _)| version.bytes().all(|one| one.is_ascii_alphanumeric()))
        && let Ok(uri) = format!("/v{version}/{rest}").parse()
    {
        *request.uri_mut() = uri;
    }
    request
}

/// The gateway alone, for a listener of its own.
pub fn gateway_routes(management: &Arc<Management>) -> Router {
    gateway::routes(management).layer(middleware::map_response(guarded)).with_state(Arc::clone(management))
}

async fn authorise(State(management): Shared, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let bearer = || {
        let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        text.split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim())
    };
    let key =
        headers.get("x-api-key").and_then(|value| value.to_str().ok()).or_else(bearer).unwrap_or_default();
    let Some((holder, scope)) = management.whose(key) else {
        let message = if key.is_empty() {
            "send a key of this node's management API as X-Api-Key".to_owned()
        } else {
            let did = management.faces.engine.did();
            format!("the key is none of the node {did}: it was revoked, or is that of another node")
        };
        return error(StatusCode::UNAUTHORIZED, "AuthenticationFailed", &message);
    };
    // What anybody with a key may read.
    let matched = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let needed =
        if matched == "/openapi.json" { Scope::Read } else { operations::needed(request.method(), matched) };
    if scope < needed {
        let message = format!("this key is for `{scope:?}`, the call needs `{needed:?}`").to_lowercase();
        return error(StatusCode::FORBIDDEN, "NotAuthorized", &message);
    }
    request.extensions_mut().insert(scope);
    let actor = holder.acting(PeerAddress::of(&request));
    request.extensions_mut().insert(actor);
    request.extensions_mut().insert(holder.clone());
    let response = next.run(request).await;
    held::answer(&management.faces.engine, &holder, response)
}

/// What fits no handler, in EDC's form.
async fn edcs_form(response: Response) -> Response {
    formed(response, |status, reason| {
        let kind = if status == StatusCode::NOT_FOUND { "ObjectNotFound" } else { "InvalidRequest" };
        error(status, kind, &reason)
    })
    .await
}

/// An error in EDC's form.
fn error(status: StatusCode, kind: &str, message: &str) -> Response {
    json_answer(status, &json!([{"message": message, "type": kind}]))
}

/// An answer, or the error in EDC's form.
pub(super) fn respond(result: Result<Response, EngineError>) -> Response {
    match result {
        Ok(response) => response,
        Err(problem) => refusing(&problem),
    }
}

/// The answer that says why not.
fn refusing(problem: &EngineError) -> Response {
    match problem {
        EngineError::NotFound { .. } => error(StatusCode::NOT_FOUND, "ObjectNotFound", &problem.to_string()),
        EngineError::Incomplete(_) => {
            error(StatusCode::SERVICE_UNAVAILABLE, "ServiceError", &problem.to_string())
        }
        EngineError::Peer(reason) => error(StatusCode::BAD_GATEWAY, "BadGateway", reason),
        EngineError::Refused(refusal) => {
            let (status, kind) = match refusal.kind {
                RefusalKind::Busy => (StatusCode::TOO_MANY_REQUESTS, "InvalidRequest"),
                RefusalKind::NotFound => (StatusCode::NOT_FOUND, "ObjectNotFound"),
                RefusalKind::IllegalTransition | RefusalKind::Disagreement => {
                    (StatusCode::CONFLICT, "ObjectConflict")
                }
                RefusalKind::NotSupported => (StatusCode::NOT_IMPLEMENTED, "InvalidRequest"),
                RefusalKind::Malformed
                | RefusalKind::TermsNotOffered
                | RefusalKind::TooMuch
                | RefusalKind::Unauthenticated => (StatusCode::BAD_REQUEST, "InvalidRequest"),
            };
            error(status, kind, &refusal.reason)
        }
        EngineError::Search(_) | EngineError::Store(_) | EngineError::Trust(_) | EngineError::Vault(_) => {
            let chain = crate::telemetry::chain(&problem);
            tracing::error!(error = chain, "a management request failed");
            error(StatusCode::INTERNAL_SERVER_ERROR, "ServiceError", &chain)
        }
    }
}

/// As [`respond`], for what has a JSON form.
fn answer<T: serde::Serialize>(result: Result<T, EngineError>) -> Response {
    respond(result.map(|found| json_answer(StatusCode::OK, &json!(found))))
}

/// How deep JSON nests objects and lists.
fn depth(json: &[u8]) -> usize {
    let (mut deepest, mut now, mut in_text, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn malformed(reason: impl Into<String>) -> EngineError {
    EngineError::Refused(protocol::Refusal::new(RefusalKind::Malformed, reason))
}

/// A body of type `T`; the error names the path. An empty body is read as `{}`.
async fn read<T: DeserializeOwned>(body: Body) -> Result<T, EngineError> {
    let bytes = read_body(body, MAX_BODY).await.map_err(|error| malformed(error.to_string()))?;
    let text = if bytes.is_empty() { b"{}".as_slice() } else { &bytes };
    if depth(&bytes) > MAX_DEPTH {
        return Err(malformed(format!("the body nests objects and lists deeper than {MAX_DEPTH}")));
    }
    // A list would be taken for the members of a type in their order.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(malformed("the body must be an object, not a list"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        malformed(if path == "." { inner.to_string() } else { format!("{path}: {inner}") })
    })
}
