//! How another participant is talked to, as Tractus-X's clients ask before they ask for anything else.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::views;
use super::{Management, Shared, malformed, read, respond};
use crate::engine::{Engine, EngineError};
use crate::http::problem::json_answer;

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/connectordiscovery/dspversionparams", post(parameters))
        .route("/protocol-versions/request", post(versions))
}

/// A participant by its id, by its address, or by both.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Whom {
    /// The id; a DID, or one that the configuration maps to a DID.
    #[serde(alias = "tx:bpnl", alias = "bpnl", alias = "https://w3id.org/tractusx/v0.0.1/ns/bpnl", default)]
    counter_party_id: Option<String>,
    #[serde(
        alias = "edc:counterPartyAddress",
        alias = "https://w3id.org/edc/v0.0.1/ns/counterPartyAddress",
        default
    )]
    counter_party_address: Option<String>,
}

impl Whom {
    fn did(&self, engine: &Engine) -> Result<String, EngineError> {
        match (&self.counter_party_id, &self.counter_party_address) {
            (Some(id), _) => match engine.did_of(id) {
                did if did.starts_with("did:") => Ok(did.to_owned()),
                _ => Err(malformed(
                    "counterPartyId: it is not a DID, and no line of the configuration maps it to one",
                )),
            },
            (None, Some(address)) => engine.participant_at(address),
            (None, None) => Err(malformed("counterPartyId: is missing")),
        }
    }
}

/// Whom to name, at which address, in which protocol.
async fn parameters(State(management): Shared, body: Body) -> Response {
    let result = async {
        let whom: Whom = read(body).await?;
        let engine = &management.faces.engine;
        let did = whom.did(engine)?;
        let address = engine.peer_address(&did, None).await?;
        Ok(json_answer(
            StatusCode::OK,
            &json!({
                "@context": {"@vocab": catalog::EDC}, "counterPartyId": did, "counterPartyAddress": address,
                "protocol": views::PROTOCOL,
            }),
        ))
    };
    respond(result.await)
}

/// The versions that a participant speaks.
async fn versions(State(management): Shared, body: Body) -> Response {
    let result = async {
        let whom: Whom = read(body).await?;
        let engine = &management.faces.engine;
        let found = engine.versions_of(&whom.did(engine)?).await?;
        Ok(json_answer(StatusCode::OK, &json!(found)))
    };
    respond(result.await)
}
