//! Records as the management API shows them (schemas of EDC's v4), and its queries.

use catalog::Criterion;
use jiff::Timestamp;
use protocol::Role;
use protocol::progress::{Act, Progress};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::malformed;
use crate::clock;
use crate::engine::{Engine, EngineError, Managed, Standing};
use crate::tables::{self, NegotiationRecord, Page, TransferRecord};

/// The context of every document of this API.
pub(super) const CONTEXT: &str = "https://w3id.org/edc/connector/management/v2";
/// `protocol` of every process.
pub(super) const PROTOCOL: &str = "dataspace-protocol-http:2025-1";
/// `profile` of every process.
const PROFILE: &str = "dsp-2025-1";
/// Characters of a text by which it is sorted.
const MAX_SORTED: usize = 256;
/// Most records one query returns.
const MAX_LIMIT: usize = 1000;

fn document(kind: &str, id: &str, mut rest: Map<String, Value>) -> Value {
    rest.insert("@context".to_owned(), json!([CONTEXT]));
    rest.insert("@type".to_owned(), json!(kind));
    rest.insert("@id".to_owned(), json!(id));
    Value::Object(rest)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

pub(super) fn id_response(id: &str) -> Value {
    document("IdResponse", id, object(json!({"createdAt": millis(clock::now())})))
}

pub(super) fn managed<T: Managed>(resource: &T) -> Value {
    // Managed resources are structs of JSON values, so they always serialise to an object.
    document(T::TYPE, resource.id(), object(serde_json::to_value(resource).unwrap_or_default()))
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Consumer => "CONSUMER",
        Role::Provider => "PROVIDER",
    }
}

fn progress<A: Act>(progress: &Progress<A>) -> Map<String, Value> {
    let history: Vec<_> =
        progress.history.iter().map(|entry| json!({"at": entry.at, "text": entry.text})).collect();
    object(json!({
        "state": progress.state_name(),
        "stateTimestamp": millis(progress.updated),
        "createdAt": millis(progress.created),
        "errorDetail": progress.problem,
        "urn:concordat:pending": progress.pending.as_ref().map(|pending| pending.act.to_string()),
        "urn:concordat:history": history,
    }))
}

pub(super) fn negotiation(record: &NegotiationRecord) -> Value {
    let ours = &record.negotiation;
    let mut map = progress(&ours.progress);
    map.extend(object(json!({
        "type": role(ours.role),
        "protocol": PROTOCOL,
        "profile": PROFILE,
        "counterPartyId": ours.peer,
        "counterPartyAddress": ours.peer_address,
        "correlationId": ours.peer_pid(),
        "assetId": ours.dataset,
        "contractAgreementId": ours.agreement.as_ref().map(|agreement| agreement.id()),
        "callbackAddresses": [],
        "urn:concordat:offer": ours.offer,
        "urn:concordat:terms": policy_engine::explain::policy(ours.offer.policy()),
        "urn:concordat:offerBy": role(ours.offer_by),
    })));
    if let Some(request) = &record.data_request {
        map.insert("urn:concordat:dataRequest".to_owned(), json!(request));
    }
    document("ContractNegotiation", ours.pid(), map)
}

pub(super) fn transfer(record: &TransferRecord) -> Value {
    let ours = &record.transfer;
    let mut map = progress(&ours.progress);
    map.extend(object(json!({
        "type": role(ours.role),
        "protocol": PROTOCOL,
        "profile": PROFILE,
        "counterPartyId": ours.peer,
        "counterPartyAddress": ours.peer_address,
        "correlationId": ours.peer_pid(),
        "assetId": ours.dataset,
        "contractId": ours.agreement,
        "transferType": ours.format,
        "callbackAddresses": [],
    })));
    document("TransferProcess", ours.pid(), map)
}

pub(super) fn agreement(standing: &Standing) -> Value {
    let record = &standing.record;
    let mut map = object(json!({
        "assetId": record.agreement.target(),
        "providerId": record.agreement.assigner(),
        "consumerId": record.agreement.assignee(),
        "contractSigningDate": record.concluded_at.as_second(),
        "policy": record.agreement,
        "urn:concordat:role": role(record.role),
        "urn:concordat:negotiation": record.negotiation,
        "urn:concordat:terms": policy_engine::explain::policy(record.agreement.policy()),
        "urn:concordat:signedByProvider": record.provider_signature.is_some(),
        "urn:concordat:signedByConsumer": record.consumer_signature.is_some(),
        "urn:concordat:ended": record.ended,
        "urn:concordat:requests": standing.usage.requests,
        "urn:concordat:bytes": standing.usage.bytes,
        "urn:concordat:reads": standing.reads,
        "urn:concordat:rows": standing.usage.rows,
        "urn:concordat:leftOut": standing.usage.left_out,
        "urn:concordat:meanFirstByteSeconds": crate::http::gateway::mean_latency(&standing.usage),
        "urn:concordat:worstFirstByteSeconds": standing.usage.worst_latency.as_secs_f64(),
        "urn:concordat:meteredSeconds": standing.usage.metered.as_secs_f64(),
    }));
    map.extend(record.parts.as_map().clone());
    document("ContractAgreement", record.agreement.id().as_str(), map)
}

/// EDC's QuerySpec.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Query {
    #[serde(default)]
    offset: usize,
    #[serde(default = "default_limit")]
    limit: usize,
    #[serde(default)]
    sort_field: Option<String>,
    #[serde(default)]
    sort_order: Order,
    #[serde(default)]
    filter_expression: Vec<Criterion>,
}

const fn default_limit() -> usize {
    50
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Order {
    #[default]
    Asc,
    Desc,
}

impl Query {
    /// The records under `prefix` that match, as shown by `view`, sorted and cut to the page; those for which it has nothing to
    /// show are none. However many there are, only their keys and what they are sorted by are in memory together.
    pub(super) fn run<T: DeserializeOwned>(
        &self,
        engine: &Engine,
        prefix: &str,
        view: impl Fn(&T) -> Option<Value>,
    ) -> Result<Vec<Value>, EngineError> {
        if self.limit == 0 || self.limit > MAX_LIMIT {
            return Err(malformed(format!("limit: must be 1 to {MAX_LIMIT}")));
        }
        let shown = |record: &T| view(record).filter(|shown| self.matches(shown));
        let store = engine.store();
        if self.sort_field.is_none() && self.sort_order == Order::Asc {
            let mut passed = 0;
            let page = Page::of(store, (prefix, prefix), None, self.limit, |record: T| {
                let shown = shown(&record);
                passed += usize::from(shown.is_some());
                Ok::<_, EngineError>(shown.filter(|_| passed > self.offset))
            })?;
            return Ok(page.items);
        }
        let mut found: Vec<(Option<Value>, String)> = Vec::new();
        tables::each(store, prefix, |key, record: T| {
            found.extend(shown(&record).map(|shown| (self.sorted_by(&shown), key)));
            Ok::<_, EngineError>(())
        })?;
        found.sort_by(|(a, _), (b, _)| compare(a.as_ref(), b.as_ref()));
        if self.sort_order == Order::Desc {
            found.reverse();
        }
        let page = found.into_iter().skip(self.offset).take(self.limit);
        // What has gone meanwhile is left out.
        let read = |key: String| Ok(tables::load::<T>(store, &key)?.and_then(|(record, _)| view(&record)));
        page.filter_map(|(_, key)| read(key).transpose()).collect()
    }

    fn sorted_by(&self, shown: &Value) -> Option<Value> {
        Some(match look_up(shown, self.sort_field.as_deref()?)? {
            Value::String(text) => Value::String(text.chars().take(MAX_SORTED).collect()),
            other => other,
        })
    }

    fn matches(&self, shown: &Value) -> bool {
        self.filter_expression.iter().all(|criterion| criterion.holds(|operand| look_up(shown, operand)))
    }
}

/// A member by its name, `id` for `@id`, dots for members of members.
fn look_up(shown: &Value, operand: &str) -> Option<Value> {
    if operand == "id" {
        return shown.get("@id").cloned();
    }
    if let Some(direct) =
        shown.get(operand).or_else(|| shown.get("properties").and_then(|map| map.get(operand)))
    {
        return Some(direct.clone());
    }
    operand.split('.').try_fold(shown, |value, name| value.get(name)).cloned()
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> std::cmp::Ordering {
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            let exact = |number: &serde_json::Number| policy_engine::Decimal::parse(&number.to_string());
            exact(a).cmp(&exact(b))
        }
        (a, b) => a.map(Value::to_string).cmp(&b.map(Value::to_string)),
    }
}
