//! Faces: they authenticate, parse a message into its type, and call the engine. They decide nothing.

mod authenticate;
mod common;
mod data;
mod dcp;
mod dsp;
mod gateway;
mod held;
pub mod listener;
pub mod management;
mod notify;
mod open;
mod open_data;
mod packing;
mod pages;
mod personal;
mod problem;
mod sessions;
mod validators;
mod well_known;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use tracing::Instrument as _;

pub use self::authenticate::Authentication;
use crate::acting::Actor;
use crate::engine::Engine;
use crate::sources::{NOTIFY_PATH, Sources};

/// Path of the Dataspace Protocol's endpoints below the public address.
pub const DSP_PATH: &str = "/dsp/2025-1";
/// Path of the data plane below the public address.
pub const DATA_PATH: &str = "/data";
/// Path of the credential service's endpoints below the public address.
pub const HOLDER_PATH: &str = "/dcp/holder";
/// Path of the issuer service's endpoints below the public address.
pub const ISSUER_PATH: &str = "/dcp/issuer";

/// Path of what personal data operators call, below the public address.
pub const PERSONAL_PATH: &str = "/personal";
/// Path of the public catalogue below the public address.
pub const OPEN_PATH: &str = "/open";

/// Largest protocol message, in bytes.
const MAX_MESSAGE: usize = 1024 * 1024;
/// Longest time a message may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(15);

/// What the faces share.
#[derive(Debug)]
pub struct Faces {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Where data is.
    pub sources: Sources,
    authentication: Authentication,
    /// Personal data operators who look at their page.
    operators: sessions::Sessions<String>,
}

impl Faces {
    /// Faces of `engine`.
    #[must_use]
    pub fn new(engine: Arc<Engine>, sources: Sources, authentication: Authentication) -> Arc<Self> {
        Arc::new(Self { engine, sources, authentication, operators: sessions::Sessions::default() })
    }
}

/// Everything other participants reach.
pub fn public(faces: &Arc<Faces>) -> Router {
    Router::new()
        .merge(well_known::routes())
        .nest(DSP_PATH, dsp::routes())
        .nest(DATA_PATH, data::routes())
        .nest(NOTIFY_PATH, notify::routes())
        .nest(PERSONAL_PATH, personal::routes())
        .nest(HOLDER_PATH, dcp::holder())
        .nest(ISSUER_PATH, dcp::issuer())
        .nest(OPEN_PATH, open::routes().merge(open_data::routes()))
        .merge(open::as_ckan())
        .merge(open::for_robots())
        .layer(middleware::from_fn(to_the_end))
        .layer(middleware::from_fn(common::public_form))
        .layer(middleware::map_response(common::guarded))
        .with_state(Arc::clone(faces))
}

/// Carries a request through although its caller hangs up: between a commit and the effects that follow from it
/// nothing may be dropped.
async fn to_the_end(request: Request, next: Next) -> Response {
    let actor = request.extensions().get::<Actor>().cloned();
    let answered = async {
        match actor {
            Some(actor) => actor.act(next.run(request)).await,
            None => next.run(request).await,
        }
    };
    match tokio::spawn(answered.in_current_span()).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a request was not carried through");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What of an address lies below its first `names` names, as it was sent: decoded, an encoded slash would be any other.
fn below(uri: &Uri, names: usize) -> String {
    uri.path().splitn(names + 2, '/').nth(names + 1).unwrap_or_default().to_owned()
}

/// A whole body within bounds of size and time.
async fn read_body(body: Body, limit: usize) -> Result<Vec<u8>, BodyError> {
    let collected = tokio::time::timeout(ARRIVAL, Limited::new(body, limit).collect()).await;
    match collected {
        Err(_) => Err(BodyError::Slow),
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(BodyError::TooLarge(limit)),
        Ok(Err(_)) => Err(BodyError::Broken),
    }
}

/// A body that did not arrive.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("the body broke off")]
    Broken,
    #[error("the body did not arrive within {} seconds", ARRIVAL.as_secs())]
    Slow,
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
}
