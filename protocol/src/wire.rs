//! Every message and answer of the protocol as it travels (JSON Schemas of 2025-1).
//!
//! Strict in what is sent: [`to_json`] always writes `@context` as an array, `@type`, and `@id` where given.
//! On receipt [`parse`] brings other JSON-LD forms into the compact one, checks type and context first, then names the JSON pointer of what is wrong. Unknown
//! properties are ignored, as the specification asks.

mod catalog;
mod negotiation;
mod normal;
mod parts;
mod policy;
mod reasons;
mod transfer;
mod version;
mod words;

pub use catalog::{
    AccessService, Catalog, CatalogError, CatalogRequestMessage, DataService, Dataset, DatasetRequestMessage,
    Distribution, UNREADABLE, read_catalog,
};
pub use negotiation::{
    ContractAgreementMessage, ContractAgreementVerificationMessage, ContractNegotiation,
    ContractNegotiationError, ContractNegotiationEventMessage, ContractNegotiationTerminationMessage,
    ContractOfferMessage, ContractRequestMessage, EventType, SignatureVersions,
};
pub use normal::{normalise, normalise_message};
pub use parts::Parts;
pub use policy::{Agreement, Offer};
pub use reasons::{reason_text, refusal_text};
pub use transfer::{
    DataAddress, EndpointProperty, TransferCompletionMessage, TransferError, TransferProcess,
    TransferRequestMessage, TransferStartMessage, TransferSuspensionMessage, TransferTerminationMessage,
};
pub use version::{Auth, ProtocolVersion, VersionResponse};

use policy_engine::Policy;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::CONTEXT;
use crate::ids::MessageId;
use crate::refusal::{Refusal, RefusalKind};

/// A message or answer with a `@type` of its own.
pub trait DspMessage: Serialize + DeserializeOwned {
    /// The value of `@type`.
    const TYPE: &'static str;

    /// What the schema demands beyond single properties.
    ///
    /// # Errors
    /// One sentence saying which properties do not go together.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A message with its root `@id`, if it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Received<T> {
    /// Root `@id`, or what stands for it: the same when the sender repeats the message.
    pub id: Option<MessageId>,
    /// The message.
    pub message: T,
}

/// Deepest nesting of objects and lists in what others say. Terms nest far less; a record that holds a message nests a little
/// more, and must be readable again.
pub const MAX_NESTING: usize = 64;

/// Reads JSON that somebody else wrote.
///
/// # Errors
/// It is none, or nests deeper than [`MAX_NESTING`].
pub fn json(text: &[u8]) -> Result<Json, Refusal> {
    let malformed = |reason: String| Refusal::new(RefusalKind::Malformed, reason);
    let json = serde_json::from_slice(text).map_err(|error| malformed(format!("not JSON: {error}")))?;
    if nests_within(&json, MAX_NESTING) {
        Ok(json)
    } else {
        Err(malformed(format!("it nests objects and lists deeper than {MAX_NESTING}")))
    }
}

fn nests_within(json: &Json, left: usize) -> bool {
    let mut inner: Box<dyn Iterator<Item = &Json> + '_> = match json {
        Json::Array(all) => Box::new(all.iter()),
        Json::Object(all) => Box::new(all.values()),
        _ => return true,
    };
    left > 0 && inner.all(|one| nests_within(one, left - 1))
}

/// Reads a message of type `T`.
///
/// # Errors
/// Malformed JSON, a wrong or missing `@type`, a `@context` without the protocol's, or a property that is missing
/// or mistyped: named by its path.
pub fn parse<T: DspMessage>(body: &[u8]) -> Result<Received<T>, Refusal> {
    from_json(normalise_message(json(body)?))
}

/// As [`parse`], from a JSON value.
///
/// # Errors
/// As [`parse`].
pub fn from_json<T: DspMessage>(json: Json) -> Result<Received<T>, Refusal> {
    let malformed = |reason: String| Refusal::new(RefusalKind::Malformed, reason);
    let Json::Object(map) = &json else {
        return Err(malformed(format!("expected a JSON object of type {}", T::TYPE)));
    };
    match map.get("@type") {
        Some(Json::String(kind)) if kind == T::TYPE => {}
        Some(Json::String(kind)) => {
            return Err(malformed(format!("/@type: expected `{}`, got `{kind}`", T::TYPE)));
        }
        Some(_) => return Err(malformed(format!("/@type: must be the string `{}`", T::TYPE))),
        None => return Err(malformed(format!("/@type: is missing, expected `{}`", T::TYPE))),
    }
    let speaks = match map.get("@context") {
        Some(Json::Array(list)) => list.iter().any(|one| one.as_str() == Some(CONTEXT)),
        Some(Json::String(one)) => one == CONTEXT,
        _ => false,
    };
    if !speaks {
        let others = map.get("@context").and_then(Json::as_array).into_iter().flatten();
        let others: Vec<_> = others.filter_map(Json::as_str).map(|one| format!("`{one}`")).take(8).collect();
        let not_fetched = match others.is_empty() {
            true => String::new(),
            false => format!("; {} is not known here, and no context is fetched", others.join(", ")),
        };
        return Err(malformed(format!("/@context: must be an array that contains `{CONTEXT}`{not_fetched}")));
    }
    let id = match map.get("@id") {
        None => MessageId::of_content(&json),
        Some(Json::String(id)) if id.len() <= 512 => Some(MessageId::new(id.clone())),
        Some(_) => return Err(malformed("/@id: must be a string of at most 512 bytes".to_owned())),
    };
    // What a peer sends must be understood whole; this node's own records are read with more patience.
    for part in ["offer", "agreement"] {
        if let Some(policy) = json.get(part).filter(|policy| policy.is_object())
            && let Err(error) = Policy::parse(policy)
        {
            let path = error.path().trim_end_matches('/');
            return Err(malformed(format!("/{part}{path}: {}", error.reason())));
        }
    }
    let message: T = serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path.replace(['.', '['], "/").replace(']', "") };
        malformed(format!("/{path}: {}", error.into_inner()))
    })?;
    message.check().map_err(malformed)?;
    Ok(Received { id, message })
}

/// Writes a message in the compact form, schema-valid.
#[must_use]
pub fn to_json<T: DspMessage>(message: &T, id: Option<&MessageId>) -> Json {
    let mut map = Map::new();
    map.insert("@context".to_owned(), Json::Array(vec![Json::String(CONTEXT.to_owned())]));
    map.insert("@type".to_owned(), Json::String(T::TYPE.to_owned()));
    if let Some(id) = id {
        map.insert("@id".to_owned(), Json::String(id.to_string()));
    }
    // Messages are structs of strings and JSON values, so they always serialise to an object.
    if let Ok(Json::Object(properties)) = serde_json::to_value(message) {
        map.extend(properties);
    }
    Json::Object(map)
}

/// Writes a document that says its own `@type`, at once as text: catalogs are large.
#[must_use]
pub fn to_text<T: DspMessage>(document: &T) -> Vec<u8> {
    #[derive(Serialize)]
    struct Root<'a, T> {
        #[serde(rename = "@context")]
        context: [&'static str; 1],
        #[serde(flatten)]
        document: &'a T,
    }
    // As above.
    serde_json::to_vec(&Root { context: [CONTEXT], document }).unwrap_or_default()
}

/// `reason` is omitted rather than empty.
pub(crate) fn reasons(reasons: &[String]) -> Vec<Json> {
    reasons.iter().cloned().map(Json::String).collect()
}
