//! Records as the management API shows them (schemas of EDC's v4), and its queries.

use std::time::{Duration, Instant};

use catalog::{Criterion, Path};
use jiff::Timestamp;
use protocol::progress::{Act, Progress};
use protocol::{RefusalKind, Role};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::malformed;
use crate::clock;
use crate::engine::{Engine, EngineError, Managed, Standing};
use crate::tables::{self, NegotiationRecord, Page, TransferRecord, prefix};

/// The context of every document of this API.
pub(super) const CONTEXT: &str = "https://w3id.org/edc/connector/management/v2";
/// `protocol` of every process.
pub(super) const PROTOCOL: &str = "dataspace-protocol-http:2025-1";
/// `profile` of every process.
pub(super) const PROFILE: &str = "dsp-2025-1";
/// Characters of a text by which it is sorted.
const MAX_SORTED: usize = 256;
/// Most records one query returns.
const MAX_LIMIT: usize = 10_000;
/// Most comparisons of one query.
const MAX_CRITERIA: usize = 16;
/// Longest time that they may take: others wait meanwhile.
const COMPARED_WITHIN: Duration = Duration::from_secs(5);

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
    id_response_at(id, None)
}

/// As [`id_response`], with when it was made, in milliseconds; now where nothing is said.
pub(super) fn id_response_at(id: &str, made: Option<i64>) -> Value {
    document("IdResponse", id, object(json!({"createdAt": made.unwrap_or_else(|| millis(clock::now()))})))
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
        "callbackAddresses": record.attached.callback_addresses,
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
        "callbackAddresses": record.attached.callback_addresses,
        "privateProperties": record.attached.private_properties,
    })));
    if !record.attached.data_destination.is_empty() {
        map.insert("dataDestination".to_owned(), json!(record.attached.data_destination));
    }
    document("TransferProcess", ours.pid(), map)
}

pub(super) fn agreement(standing: &Standing) -> Value {
    let record = &standing.record;
    let mut map = object(json!({
        "assetId": record.agreement.target(),
        "providerId": record.agreement.assigner(),
        "consumerId": record.agreement.assignee(),
        "contractSigningDate": record.concluded_at.as_second(),
        "createdAt": millis(record.concluded_at),
        "policy": record.agreement,
        "urn:concordat:role": role(record.role),
        "urn:concordat:negotiation": record.negotiation,
        "urn:concordat:terms": policy_engine::explain::policy(record.agreement.policy()),
        "urn:concordat:signedByProvider": record.provider_signature.is_some(),
        "urn:concordat:signedByConsumer": record.consumer_signature.is_some(),
        "urn:concordat:ended": record.ended,
        "urn:concordat:endedThere": record.ended_there,
        "urn:concordat:until": standing.until(),
        "urn:concordat:inForce": standing.is_in_force(clock::now()),
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
#[derive(Debug, Deserialize, schemars::JsonSchema)]
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
    #[serde(default, deserialize_with = "super::processes::listed")]
    filter_expression: Vec<Criterion>,
}

const fn default_limit() -> usize {
    50
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Order {
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
        let fields = self.check(Kind::of(prefix))?;
        let began = Instant::now();
        let shown = |record: &T| {
            if began.elapsed() > COMPARED_WITHIN {
                let reason = "filterExpression: to compare all records takes too long; narrow it";
                return Err(EngineError::refused(RefusalKind::TooMuch, reason));
            }
            Ok(view(record).filter(|shown| self.matches(shown)))
        };
        let store = engine.store();
        if self.sort_field.is_none() && self.sort_order == Order::Asc {
            let mut passed = 0;
            let page = Page::of(store, (prefix, prefix), None, self.limit, |record: T| {
                let shown = shown(&record)?;
                passed += usize::from(shown.is_some());
                Ok::<_, EngineError>(shown.filter(|_| passed > self.offset))
            })?;
            return Ok(page.items);
        }
        let mut found: Vec<(Option<Value>, String)> = Vec::new();
        tables::each(store, prefix, |key, record: T| {
            found.extend(shown(&record)?.map(|shown| (sorted_by(&shown, fields.as_ref()), key)));
            Ok::<_, EngineError>(())
        })?;
        found.sort_by(|(a, _), (b, _)| catalog::order(a.as_ref(), b.as_ref()));
        if self.sort_order == Order::Desc {
            found.reverse();
        }
        let page = found.into_iter().skip(self.offset).take(self.limit);
        // What has gone meanwhile is left out.
        let read = |key: String| Ok(tables::load::<T>(store, &key)?.and_then(|(record, _)| view(&record)));
        page.filter_map(|(_, key)| read(key).transpose()).collect()
    }

    /// Which of `catalogs` are wanted, and which datasets of them.
    pub(super) fn among_catalogs(&self, catalogs: Vec<Value>) -> Result<Vec<Value>, EngineError> {
        let field = self.check(Kind::Other)?;
        let about = |one: &&Criterion| {
            one.path().is_ok_and(|path| ["participantId", "@type"].contains(&path.first()))
        };
        let (of_catalogs, of_datasets): (Vec<_>, Vec<_>) =
            self.filter_expression.iter().partition(|one| about(one));
        let mut found: Vec<_> = catalogs
            .into_iter()
            .filter(|one| of_catalogs.iter().all(|criterion| criterion.holds(one)))
            .collect();
        if !of_datasets.is_empty() {
            for catalog in &mut found {
                if let Some(datasets) = catalog.get_mut("dataset").and_then(Value::as_array_mut) {
                    datasets.retain(|one| {
                        let described = crate::search::describe(one).to_properties();
                        let mut asked = one.clone();
                        if let Some(map) = asked.as_object_mut() {
                            map.insert("properties".to_owned(), Value::Object(described));
                        }
                        of_datasets.iter().all(|criterion| criterion.holds(&asked))
                    });
                }
            }
            found.retain(|one| {
                one.get("dataset").and_then(Value::as_array).is_some_and(|all| !all.is_empty())
            });
        }
        if field.is_some() || self.sort_order == Order::Desc {
            let key = |one: &Value| sorted_by(one, field.as_ref());
            found.sort_by(|a, b| catalog::order(key(a).as_ref(), key(b).as_ref()));
            if self.sort_order == Order::Desc {
                found.reverse();
            }
        }
        Ok(found.into_iter().skip(self.offset).take(self.limit).collect())
    }

    /// The field to sort by, if there is one.
    fn check(&self, kind: Kind) -> Result<Option<Path>, EngineError> {
        if self.limit == 0 || self.limit > MAX_LIMIT {
            return Err(malformed(format!("limit: must be 1 to {MAX_LIMIT}")));
        }
        if self.filter_expression.len() > MAX_CRITERIA {
            return Err(malformed(format!("filterExpression: has more than {MAX_CRITERIA} entries")));
        }
        for (index, criterion) in self.filter_expression.iter().enumerate() {
            let place = |member: &str| format!("filterExpression/{index}/{member}");
            let wrong = |(member, reason): (&str, String)| malformed(format!("{}: {reason}", place(member)));
            criterion.check().map_err(wrong)?;
            let path = criterion.path().map_err(malformed)?;
            kind.check(&path).map_err(|reason| malformed(format!("{}: {reason}", place("operandLeft"))))?;
        }
        let Some(field) = &self.sort_field else { return Ok(None) };
        let sorted = Path::parse(field).and_then(|path| kind.check(&path).map(|()| path));
        sorted.map(Some).map_err(|reason| malformed(format!("sortField: {reason}")))
    }

    fn matches(&self, shown: &Value) -> bool {
        if self.filter_expression.is_empty() {
            return true;
        }
        let asked = asked(shown);
        self.filter_expression.iter().all(|criterion| criterion.holds(&asked))
    }
}

/// What is asked about, by the names of their members that EDC's clients may use in queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its properties have any names.
    Asset,
    Agreement,
    ContractDefinition,
    Negotiation,
    Other,
    PolicyDefinition,
    Transfer,
}

impl Kind {
    fn of(table: &str) -> Self {
        match table {
            prefix::ASSET => Self::Asset,
            prefix::AGREEMENT => Self::Agreement,
            prefix::CONTRACT_DEFINITION => Self::ContractDefinition,
            prefix::NEGOTIATION => Self::Negotiation,
            prefix::POLICY_DEFINITION => Self::PolicyDefinition,
            prefix::TRANSFER => Self::Transfer,
            _ => Self::Other,
        }
    }

    /// Whether there is such a thing as `path` leads to: an unknown name would find nothing, and nobody would know why.
    fn check(self, path: &Path) -> Result<(), String> {
        let known: &[&str] = match self {
            Self::Asset | Self::Other => return Ok(()),
            Self::Agreement => &[
                "assetId",
                "providerId",
                "consumerId",
                "contractSigningDate",
                "createdAt",
                "policy",
                "agreementId",
            ],
            Self::ContractDefinition => {
                &["accessPolicyId", "contractPolicyId", "assetsSelector", "privateProperties", "createdAt"]
            }
            Self::PolicyDefinition => &["policy", "privateProperties", "createdAt"],
            Self::Negotiation => &[
                "type",
                "state",
                "stateTimestamp",
                "createdAt",
                "updatedAt",
                "errorDetail",
                "protocol",
                "profile",
                "counterPartyId",
                "counterPartyAddress",
                "correlationId",
                "assetId",
                "contractAgreementId",
                "contractAgreement",
                "contractOffers",
                "callbackAddresses",
            ],
            Self::Transfer => &[
                "type",
                "state",
                "stateTimestamp",
                "createdAt",
                "updatedAt",
                "errorDetail",
                "protocol",
                "profile",
                "counterPartyId",
                "counterPartyAddress",
                "correlationId",
                "assetId",
                "contractId",
                "agreementId",
                "transferType",
                "transferProcessId",
                "contractNegotiationId",
                "providerId",
                "dataDestination",
                "privateProperties",
                "callbackAddresses",
            ],
        };
        let name = path.first();
        if ["id", "@id", "@type"].contains(&name)
            || known.contains(&name)
            || name.starts_with("urn:concordat:")
        {
            return Ok(());
        }
        Err(format!("`{name}` is not known here; {} are", known.join(", ")))
    }
}

/// What comparisons are about: a record as it is shown, with what EDC calls otherwise within.
fn asked(shown: &Value) -> Value {
    let mut asked = shown.clone();
    let Some(map) = asked.as_object_mut() else { return asked };
    let said = |name: &str| shown.get(name).cloned().unwrap_or_default();
    match shown.get("@type").and_then(Value::as_str) {
        Some("ContractNegotiation") => {
            let agreement = json!({"@id": said("contractAgreementId"), "assetId": said("assetId")});
            map.insert("contractAgreement".to_owned(), agreement);
            map.insert("contractOffers".to_owned(), json!([{"assetId": said("assetId")}]));
        }
        Some("TransferProcess") => {
            map.insert("agreementId".to_owned(), said("contractId"));
        }
        Some("ContractAgreement") => {
            map.insert("agreementId".to_owned(), said("@id"));
        }
        _ => return asked,
    }
    if !map.contains_key("updatedAt") {
        map.insert("updatedAt".to_owned(), said("stateTimestamp"));
    }
    // EDC's programs may ask by the number of a state.
    let states = [said("state"), json!(state_number(shown))];
    if !states.iter().any(Value::is_null) {
        map.insert("state".to_owned(), json!(states));
    }
    asked
}

/// EDC's number of the state that a process is in.
fn state_number(process: &Value) -> Option<u32> {
    let transfer = process.get("@type")?.as_str()? == "TransferProcess";
    Some(match (transfer, process.get("state")?.as_str()?) {
        (false, "REQUESTED") => 200,
        (false, "OFFERED") => 400,
        (false, "ACCEPTED") => 800,
        (false, "AGREED") => 850,
        (false, "VERIFIED") => 1100,
        (false, "FINALIZED") => 1200,
        (false, "TERMINATED") => 1400,
        (true, "REQUESTED") => 500,
        (true, "STARTED") => 600,
        (true, "SUSPENDED") => 700,
        (true, "COMPLETED") => 800,
        (true, "TERMINATED") => 850,
        _ => return None,
    })
}

fn sorted_by(shown: &Value, field: Option<&Path>) -> Option<Value> {
    let asked = asked(shown);
    Some(match field?.find(&asked).first()? {
        Value::String(text) => Value::String(text.chars().take(MAX_SORTED).collect()),
        other => (*other).clone(),
    })
}
