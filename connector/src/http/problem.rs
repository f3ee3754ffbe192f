//! Refusals and faults as answers: every status code of the protocol faces is decided here.
//!
//! 400 for what cannot be read, does not fit or is not allowed now; 404 for unknown and for others' processes, and for
//! callers that are not authorised (Dataspace Protocol, HTTPS bindings), who are not told which; 413 and 408 for
//! bodies out of bounds; 500 for faults of this node, without details.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use protocol::wire::{CatalogError, ContractNegotiationError, DspMessage, TransferError, to_json};
use protocol::{ConsumerPid, ProviderPid, Refusal, RefusalKind};
use serde_json::{Value as Json, json};

use super::{BodyError, Faces};
use crate::clock;
use crate::engine::EngineError;
use crate::tables::Event;

/// Which protocol an error body speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Catalog,
    Negotiation,
    Transfer,
}

/// What went wrong, with what the body echoes.
#[derive(Debug)]
pub(super) struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    /// For the peer.
    pub reason: String,
    /// For the operator, where it is more than the peer is told.
    pub detail: Option<String>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        if refusal.kind == RefusalKind::Unauthenticated {
            return Self::unauthenticated(refusal.reason);
        }
        let status = match refusal.kind {
            RefusalKind::NotFound | RefusalKind::Unauthenticated => StatusCode::NOT_FOUND,
            RefusalKind::Busy => StatusCode::TOO_MANY_REQUESTS,
            RefusalKind::NotSupported => StatusCode::NOT_IMPLEMENTED,
            RefusalKind::Disagreement
            | RefusalKind::IllegalTransition
            | RefusalKind::Malformed
            | RefusalKind::TermsNotOffered
            | RefusalKind::TooMuch => StatusCode::BAD_REQUEST,
        };
        Self { status, code: refusal.kind.code(), reason: refusal.reason, detail: None }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(refusal) => refusal.into(),
            EngineError::NotFound { .. } => Refusal::new(RefusalKind::NotFound, error.to_string()).into(),
            // What this node needed of the sender (its DID document) could not be had.
            EngineError::Peer(reason) => {
                Self { status: StatusCode::BAD_GATEWAY, code: "peer-unreachable", reason, detail: None }
            }
            EngineError::Incomplete(detail) => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: "incomplete",
                reason: "the catalog is incomplete now; take nothing for withdrawn, and try again later"
                    .to_owned(),
                detail: Some(detail),
            },
            EngineError::Search(_)
            | EngineError::Store(_)
            | EngineError::Trust(_)
            | EngineError::Vault(_) => Self {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                code: "internal",
                reason: "this node has a fault; try again later".to_owned(),
                detail: Some(crate::telemetry::chain(&error)),
            },
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::Broken => StatusCode::BAD_REQUEST,
            BodyError::Slow => StatusCode::REQUEST_TIMEOUT,
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        };
        Self { status, code: RefusalKind::TooMuch.code(), reason: error.to_string(), detail: None }
    }
}

impl Problem {
    /// A caller whose token does not hold: it learns only that.
    pub(super) fn unauthenticated(detail: String) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: RefusalKind::Unauthenticated.code(),
            reason: "the request carries no token that this node accepts".to_owned(),
            detail: Some(detail),
        }
    }

    /// Whether the same may be asked again later.
    pub(super) fn is_busy(&self) -> bool {
        self.code == RefusalKind::Busy.code()
    }

    fn is_unauthenticated(&self) -> bool {
        self.code == RefusalKind::Unauthenticated.code()
    }

    /// As an answer of the Decentralized Claims Protocol, which has no form of its own for errors.
    pub(super) fn plain(&self) -> Response {
        let unauthenticated = self.is_unauthenticated();
        let status = if unauthenticated { StatusCode::UNAUTHORIZED } else { self.status };
        let mut response = json_answer(status, &json!({"code": self.code, "reason": self.reason}));
        if unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    /// As an answer in the protocol's own form. `message` is what was sent, for its pids; `pid` what the path named.
    pub(super) fn answer(&self, protocol: Protocol, message: &Json, pid: Option<&str>) -> Response {
        let echoed = |name: &str| {
            let sent = message.get(name).and_then(Json::as_str).filter(|text| text.len() <= 512);
            sent.or(pid).map_or_else(|| "urn:concordat:unknown".to_owned(), str::to_owned)
        };
        let (provider_pid, consumer_pid) =
            (ProviderPid::new(echoed("providerPid")), ConsumerPid::new(echoed("consumerPid")));
        let code = Some(self.code.to_owned());
        let reason = vec![json!(self.reason)];
        let body = match protocol {
            Protocol::Catalog => to_json(&CatalogError { code, reason }, None),
            Protocol::Negotiation => {
                to_json(&ContractNegotiationError { provider_pid, consumer_pid, code, reason }, None)
            }
            Protocol::Transfer => to_json(&TransferError { provider_pid, consumer_pid, code, reason }, None),
        };
        // A catalog tells a caller without a token to bring one; processes do not exist for it.
        let status = if protocol == Protocol::Catalog && self.is_unauthenticated() {
            StatusCode::UNAUTHORIZED
        } else {
            self.status
        };
        let mut response = json_answer(status, &body);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A message of ours as an answer.
pub(super) fn message_answer<T: DspMessage>(status: StatusCode, message: &T) -> Response {
    json_answer(status, &to_json(message, None))
}

/// JSON as an answer.
pub(super) fn json_answer(status: StatusCode, body: &Json) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

impl Faces {
    /// Writes a refusal to the audit log.
    pub(super) async fn audit(
        &self,
        problem: &Problem,
        what: &str,
        participant: Option<&str>,
        pid: Option<&str>,
    ) {
        let why = problem.detail.as_deref().unwrap_or(&problem.reason);
        let kind = if problem.is_unauthenticated() {
            format!("{what} was refused, its sender is not known for sure")
        } else {
            format!("{what} was refused with {}", problem.status.as_u16())
        };
        let text = format!("{kind}: {why}");
        let mut event = Event::new("refusal", clock::now(), text);
        event.participant = participant.map(str::to_owned);
        event.subject = pid.filter(|pid| pid.len() <= 512).map(str::to_owned);
        self.engine.record_refusal(&kind, event).await;
    }
}
