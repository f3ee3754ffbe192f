//! The connector interface of MIM4 (2021): a request ticket of an operator that this node trusts, introspected before every
//! read of data that is guarded so; only the identifiers that the operator names are used. Both logs are kept: this node's,
//! and the operator's, which is told how the access ended.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dataplane::{Metered, Permitted, Persons};
use governance::ticket::{
    ConnectorMetadata, Introspection, KEEP_GROUP, MAX_LIFETIME, OperatorDescription, OperatorMetadata, SKEW,
    Ticket, TrustGroup,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};
use store::Batch;
use trust::statement::Claimed;
use trust::{PublicKey, Statement};

use super::gate::Denial;
use super::{Engine, EngineError, TokenUse};
use crate::network::{bounded_body, describe};
use crate::tables::{self, AccessOutcome, AccessRecord, AgreementRecord, Event, Page, Told, prefix};
use crate::{clock, ids};

/// Longest time an operator may take to answer an introspection.
const INTROSPECTION: Duration = Duration::from_secs(5);
/// Largest answer of an operator or a registry, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// How long an operator's metadata is kept.
const KEEP_METADATA: SignedDuration = SignedDuration::from_secs(3600);
/// First and longest pause between attempts to tell an operator, and how long it is tried.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const TRIED_FOR: SignedDuration = SignedDuration::from_hours(24);
/// Most accesses that wait for one operator to be told of them.
const MAX_UNTOLD: usize = 10_000;
/// `typ` of a contract token.
const CONTRACT: &str = "concordat-contract+jwt";
/// Largest compact JWS that is read, in bytes.
const MAX_TICKET: usize = 16 * 1024;

/// What is known of operators, for a while.
#[derive(Debug, Default)]
pub(super) struct Operators {
    groups: Mutex<HashMap<String, (Timestamp, TrustGroup)>>,
    metadata: Mutex<HashMap<String, (Timestamp, OperatorMetadata)>>,
    /// Keys of the accesses that each operator is still to be told of, the oldest first.
    untold: Mutex<HashMap<String, VecDeque<String>>>,
}

/// A read that an operator permits.
#[derive(Debug, Clone)]
pub(super) struct Ticketed {
    /// Whose rows.
    subjects: HashSet<String>,
    /// This node's log entry.
    pub(super) access: String,
}

/// Persons whom the operator named, as far as they do not object.
#[derive(Debug)]
struct OfTicket {
    subjects: HashSet<String>,
    inner: Arc<dyn Persons>,
}

impl Persons for OfTicket {
    fn permits(&self, subject: &str) -> Option<Permitted> {
        // The operator's answer is the person's permission.
        self.subjects.contains(subject).then(|| self.inner.permitted_elsewhere(subject))?
    }

    fn permitted_elsewhere(&self, subject: &str) -> Option<Permitted> {
        self.inner.permitted_elsewhere(subject)
    }

    fn handed_on(&self, permitted: &Permitted) {
        self.inner.handed_on(permitted);
    }
}

impl Ticketed {
    /// Only the rows of those whom the operator named.
    pub(super) fn only(&self, inner: Arc<dyn Persons>) -> Arc<dyn Persons> {
        Arc::new(OfTicket { subjects: self.subjects.clone(), inner })
    }
}

impl Engine {
    /// Where requests go: the audience of tickets.
    fn connector_address(&self) -> String {
        format!("{}{}", self.public_address, crate::http::DATA_PATH)
    }

    /// This connector's UUID: the configured one, or one that was made once and is kept.
    async fn connector_uuid(&self) -> Result<String, EngineError> {
        if let Some(uuid) = &self.mim4.connector_uuid {
            return Ok(uuid.clone());
        }
        let _lock = self.locks.lock(prefix::CONNECTOR_UUID).await;
        if let Some((uuid, _)) = tables::load::<String>(&self.store, prefix::CONNECTOR_UUID)? {
            return Ok(uuid);
        }
        let uuid = ids::uuid();
        let mut batch = Batch::new();
        tables::put(&mut batch, prefix::CONNECTOR_UUID, &uuid)?;
        self.commit(batch).await?;
        Ok(uuid)
    }

    /// What this connector says of itself (5.8).
    ///
    /// # Errors
    /// The store failed, or the DID document cannot be made.
    pub async fn connector_metadata(&self) -> Result<ConnectorMetadata, EngineError> {
        let document = self.identity.document()?;
        let newest =
            document.json().get("verificationMethod").and_then(Json::as_array).and_then(|all| all.last());
        let key = newest.and_then(|method| {
            let mut key = method.get("publicKeyJwk")?.clone();
            key.as_object_mut()?.insert("kid".to_owned(), method.get("id")?.clone());
            Some(key)
        });
        Ok(ConnectorMetadata {
            connector_uuid: self.connector_uuid().await?,
            connector_key: key,
            name: self.name.clone(),
            description: self.mim4.description.clone(),
            api_guide: self
                .mim4
                .api_guide
                .clone()
                .unwrap_or_else(|| format!("{}{}", self.public_address, crate::http::OPEN_PATH)),
            connector_base_url: self.connector_address(),
        })
    }

    pub(super) async fn fetch_json(&self, url: &str) -> Result<Json, String> {
        self.guard.check_url(url).map_err(|error| error.to_string())?;
        let body = self.get(url, None, MAX_ANSWER).await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&body).map_err(|error| format!("{url} cannot be read: {error}"))
    }

    /// The operators of a trust group: its registry's answer, signed (5.1), kept for a day at most (4.2.4).
    pub(super) async fn group(
        &self,
        group: &crate::config::TrustGroupSettings,
    ) -> Result<TrustGroup, String> {
        let now = clock::now();
        let kept = {
            let groups = self.known_operators.groups.lock().unwrap_or_else(PoisonError::into_inner);
            groups
                .get(&group.address)
                .filter(|(at, _)| now.duration_since(*at).as_secs() < KEEP_GROUP)
                .map(|(_, one)| one.clone())
        };
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let url = format!("{}/trustlist-api/groups", group.address.trim_end_matches('/'));
        let answer = self.fetch_json(&url).await?;
        let payload = signed_payload(&answer, &group.key).map_err(|reason| format!("{url}: {reason}"))?;
        let read = TrustGroup::parse(&payload).map_err(|error| format!("{url}: {error}"))?;
        let mut groups = self.known_operators.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.insert(group.address.clone(), (now, read.clone()));
        Ok(read)
    }

    /// The metadata of an operator that is in a trusted group, or contracted directly.
    pub(super) async fn operator(&self, uuid: &str, fresh: bool) -> Result<OperatorMetadata, Denial> {
        let now = clock::now();
        if !fresh {
            let known = self.known_operators.metadata.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, metadata)) = known.get(uuid)
                && now.duration_since(*at) < KEEP_METADATA
            {
                return Ok(metadata.clone());
            }
        }
        let mut problems = Vec::new();
        let mut addresses: Vec<(String, Option<OperatorDescription>)> =
            self.mim4.operators.iter().map(|address| (address.clone(), None)).collect();
        for group in &self.mim4.trust_groups {
            match self.group(group).await {
                Ok(group) => {
                    let found = group.operators.into_iter().filter(|one| one.operator_uuid == uuid);
                    addresses.extend(found.map(|one| (one.operator_base_url.clone(), Some(one))));
                }
                Err(reason) => problems.push(reason),
            }
        }
        for (address, listed) in addresses {
            let url = format!("{}/.well-known/mydataoperator-config", address.trim_end_matches('/'));
            let metadata = match self.fetch_json(&url).await {
                Ok(json) => serde_json::from_value::<OperatorMetadata>(json)
                    .map_err(|error| format!("{url}: {error}")),
                Err(reason) => Err(reason),
            };
            match metadata {
                Ok(metadata) if metadata.operator_uuid == uuid => {
                    let mut known =
                        self.known_operators.metadata.lock().unwrap_or_else(PoisonError::into_inner);
                    known.insert(uuid.to_owned(), (now, metadata.clone()));
                    return Ok(metadata);
                }
                Ok(_) if listed.is_some() => problems.push(format!("{url} is of another operator")),
                Ok(_) => {}
                Err(reason) => problems.push(reason),
            }
        }
        if problems.is_empty() {
            // 5.3.2
            return Err(Denial::Ticket(format!("`{uuid}` is no operator that this connector trusts")));
        }
        tracing::warn!(uuid, ?problems, "an operator cannot be looked up");
        Err(Denial::Operator(
            "the operator's trust group or metadata cannot be read now; try again later".to_owned(),
        ))
    }

    /// Checks a ticket and asks its operator (5.3, 5.4), for a read under an agreement.
    ///
    /// # Errors
    /// No ticket, one that does not hold, or an operator that does not permit it or does not answer.
    pub(super) async fn ticketed(
        &self,
        compact: Option<&str>,
        record: &AgreementRecord,
        transfer: &str,
        identifier_type: &str,
    ) -> Result<Ticketed, Denial> {
        let refuse = |reason: String| Denial::Ticket(reason);
        let compact = compact.ok_or_else(|| {
            refuse("this data is read with a request ticket of a personal data operator; send it as Request-Ticket".to_owned())
        })?;
        let (_, payload) =
            trust::jose::peek_within(compact, MAX_TICKET).map_err(|error| refuse(error.to_string()))?;
        let claims = serde_json::from_slice(&payload)
            .map_err(|_| refuse("the ticket's payload is not JSON".to_owned()))?;
        let unproven = Ticket::parse(claims).map_err(|error| refuse(error.to_string()))?;
        let mut operator = self.operator(&unproven.iss, false).await?;
        if verified(compact, &operator.operator_key).is_err() {
            // Its key may have been changed.
            operator = self.operator(&unproven.iss, true).await?;
            verified(compact, &operator.operator_key).map_err(refuse)?;
        }
        let ticket = unproven;
        let now = clock::now();
        let connector = self.connector_address();
        let data = format!("{connector}/{transfer}");
        ticket.check(&[&connector, &data], now.as_second()).map_err(|error| refuse(error.to_string()))?;
        self.check_contract(&ticket, record).await.map_err(refuse)?;
        let expires =
            ticket.exp.saturating_add(SKEW).min(now.as_second().saturating_add(MAX_LIFETIME + SKEW));
        let first = self.first_use_of_operator(&ticket.iss, &ticket.jti, expires).await;
        match first.map_err(Denial::Failed)? {
            TokenUse::First => {}
            TokenUse::Again => return Err(refuse(format!("the ticket `{}` was used before", ticket.jti))),
            TokenUse::TooMany(seconds) => {
                let reason = format!("too many tickets came from its operator; send it again in {seconds} s");
                return Err(refuse(reason));
            }
        }
        let answer = self.introspect(&operator, compact).await?;
        let permitted = answer.identifiers(identifier_type);
        let kept = AccessRecord {
            id: ids::urn(),
            operator: ticket.iss,
            operator_address: operator.operator_base_url,
            service: ticket.sub,
            agreement: record.agreement.id().to_string(),
            transfer: transfer.to_owned(),
            at: now,
            access_item: answer.access_item_uuid.clone(),
            introspection: String::new(),
            outcome: None,
            told: Told::Pending,
        };
        let key = tables::access(&kept.operator, &kept.id);
        let sealed = self.vault.seal(&key, &json!(answer).to_string());
        let mut kept =
            AccessRecord { introspection: sealed.map_err(|error| Denial::Failed(error.into()))?, ..kept };
        if let Err(reason) = &permitted {
            kept.outcome = Some(AccessOutcome {
                at: now,
                source: "not asked".to_owned(),
                response: reason.clone(),
                bytes: 0,
                rows: 0,
            });
            kept.told = Told::Yes;
        }
        let mut batch = Batch::new();
        let put = tables::put(&mut batch, key, &kept);
        put.map_err(|error| Denial::Failed(error.into()))?;
        self.commit(batch).await.map_err(Denial::Failed)?;
        let (subjects, _) = permitted.map_err(Denial::Denied)?;
        Ok(Ticketed {
            subjects: subjects.into_iter().collect(),
            access: tables::access(&kept.operator, &kept.id),
        })
    }

    /// The service is the agreement's consumer: it says so itself, or shows the contract token of the agreement.
    async fn check_contract(&self, ticket: &Ticket, record: &AgreementRecord) -> Result<(), String> {
        let Some(token) = &ticket.contract_token else {
            if ticket.sub == record.peer {
                return Ok(());
            }
            return Err(format!(
                "ticket/sub: `{}` is not the consumer of the agreement, and it has no contract_token",
                ticket.sub
            ));
        };
        let claimed = Claimed::read(token, CONTRACT, MAX_TICKET)
            .map_err(|error| format!("ticket/contract_token: {error}"))?;
        if ![self.did(), record.peer.as_str()].contains(&claimed.by()) {
            return Err("ticket/contract_token: is of no party of the agreement".to_owned());
        }
        let document = if claimed.by() == self.did() {
            Arc::new(self.identity.document().map_err(|error| error.to_string())?)
        } else {
            self.resolver.document(claimed.by()).await?
        };
        let statement = claimed
            .verify(&document, record.agreement.id().as_str())
            .map_err(|error| format!("ticket/contract_token: {error}"))?;
        let sha256 = trust::agreement::digest(record.agreement.json()).map_err(|error| error.to_string())?;
        if statement.stated.get("sha-256").and_then(Json::as_str) != Some(&sha256) {
            return Err("ticket/contract_token: is of another agreement".to_owned());
        }
        Ok(())
    }

    /// Proof of an agreement for the `contract_token` of tickets: signed by this node, about the agreement as both signed it.
    ///
    /// # Errors
    /// No such agreement, or it was ended.
    pub fn contract_token(&self, agreement: &str) -> Result<String, EngineError> {
        let (record, _) = self.load_agreement(agreement)?;
        if let Some(ended) = record.end() {
            let reason = format!("the agreement was ended on {}", ended.at);
            return Err(EngineError::refused(protocol::RefusalKind::IllegalTransition, reason));
        }
        let statement = Statement {
            by: self.did().to_owned(),
            to: agreement.to_owned(),
            id: ids::urn(),
            at: clock::now(),
            stated: json!({
                "agreement": agreement, "sha-256": trust::agreement::digest(record.agreement.json())?,
                "provider": record.provider(), "consumer": record.consumer(),
                "dataset": record.agreement.target(),
            }),
        };
        Ok(self.identity.sign_statement(&statement, CONTRACT)?)
    }

    async fn introspect(&self, operator: &OperatorMetadata, compact: &str) -> Result<Introspection, Denial> {
        let down = |reason: String| {
            tracing::warn!(
                operator = operator.operator_uuid,
                reason,
                "an operator did not answer an introspection"
            );
            Denial::Operator(
                "the operator did not answer whether the person permits it; try again later".to_owned(),
            )
        };
        let url = operator.introspection();
        self.guard.check_url(&url).map_err(|error| down(error.to_string()))?;
        let form: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("token", compact).finish();
        let asked = async {
            let request = self
                .client
                .post(&url)
                .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            let answer =
                request.body(form).timeout(INTROSPECTION).send().await.map_err(|error| describe(&error))?;
            if !answer.status().is_success() {
                return Err(format!("{url} answered {}", answer.status()));
            }
            let body = bounded_body(answer, MAX_ANSWER).await?;
            serde_json::from_slice::<Introspection>(&body).map_err(|error| format!("{url}: {error}"))
        };
        match tokio::time::timeout(INTROSPECTION, asked).await {
            Ok(answer) => answer.map_err(down),
            Err(_) => Err(down(format!("{url}: no answer within {} s", INTROSPECTION.as_secs()))),
        }
    }

    /// How an access ended: this node's log says so, and the operator is told (5.6).
    pub async fn access_ended(self: &Arc<Self>, key: &str, outcome: Result<&Metered, &str>) {
        let now = clock::now();
        let outcome = match outcome {
            Ok(metered) => AccessOutcome {
                at: now,
                source: metered.failed.as_ref().map_or("answered", |_| "failed").to_owned(),
                response: match (&metered.cut, metered.complete) {
                    (Some(reason), _) => format!("cut: {reason}"),
                    (None, true) => "complete".to_owned(),
                    (None, false) => "the reader left".to_owned(),
                },
                bytes: metered.bytes,
                rows: metered.rows,
            },
            Err(reason) => AccessOutcome {
                at: now,
                source: "failed".to_owned(),
                response: reason.to_owned(),
                bytes: 0,
                rows: 0,
            },
        };
        match self.put_outcome(key, outcome).await {
            Ok(Some(record)) => self.tell_operator(key.to_owned(), record).await,
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "how an access ended was not written"),
        }
    }

    async fn put_outcome(
        &self,
        key: &str,
        outcome: AccessOutcome,
    ) -> Result<Option<AccessRecord>, EngineError> {
        let _lock = self.locks.lock(key).await;
        let Some((record, version)) = tables::load::<AccessRecord>(&self.store, key)? else {
            return Ok(None);
        };
        if record.outcome.is_some() {
            return Ok(None);
        }
        let record = AccessRecord { outcome: Some(outcome), ..record };
        let mut batch = Batch::new();
        batch.expect(key, Some(version));
        tables::put(&mut batch, key, &record)?;
        self.commit(batch).await?;
        Ok(Some(record))
    }

    /// Tells an operator how an access ended, after what it is being told already, until it has heard it.
    async fn tell_operator(self: &Arc<Self>, key: String, record: AccessRecord) {
        let begins = {
            let mut untold = self.known_operators.untold.lock().unwrap_or_else(PoisonError::into_inner);
            let begins = !untold.contains_key(&record.operator);
            let waiting = untold.entry(record.operator.clone()).or_default();
            let is_full = waiting.len() >= MAX_UNTOLD;
            if !is_full {
                waiting.push_back(key.clone());
            }
            (!is_full).then_some(begins)
        };
        match begins {
            Some(false) => {}
            Some(true) => {
                let (engine, operator) = (Arc::clone(self), record.operator);
                self.tasks.until_stop(async move { engine.tell_all(&operator).await });
            }
            None => {
                let reason = format!("{MAX_UNTOLD} accesses wait for this operator already");
                self.write_told(&key, Told::Not(reason)).await;
            }
        }
    }

    /// Tells an operator what waits for it, the oldest first.
    async fn tell_all(self: &Arc<Self>, operator: &str) {
        let mut pause = FIRST_PAUSE;
        loop {
            let next = {
                let mut untold = self.known_operators.untold.lock().unwrap_or_else(PoisonError::into_inner);
                let next = untold.get(operator).and_then(|waiting| waiting.front().cloned());
                if next.is_none() {
                    untold.remove(operator);
                }
                next
            };
            let Some(key) = next else { return };
            let told = match tables::load::<AccessRecord>(&self.store, &key) {
                Ok(Some((record, _))) => match self.tell_operator_once(&record).await {
                    Ok(()) => Some(Told::Yes),
                    Err(reason) if clock::now().duration_since(record.at) > TRIED_FOR => {
                        Some(Told::Not(reason))
                    }
                    Err(reason) => {
                        tracing::debug!(reason, operator, "an operator is told again");
                        None
                    }
                },
                // It is not there any more, or cannot be read, which is told where such records are.
                Ok(None) | Err(_) => Some(Told::Pending),
            };
            let Some(told) = told else {
                tokio::time::sleep_until(tokio::time::Instant::now() + pause.mul_f64(0.5 + ids::fraction()))
                    .await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            };
            pause = FIRST_PAUSE;
            if told != Told::Pending {
                self.write_told(&key, told).await;
            }
            let mut untold = self.known_operators.untold.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(waiting) = untold.get_mut(operator) {
                waiting.pop_front();
            }
        }
    }

    async fn write_told(&self, key: &str, told: Told) {
        if let Err(error) = self.put_told(key, told).await {
            tracing::error!(%error, "whether an operator was told was not written");
        }
    }

    async fn tell_operator_once(&self, record: &AccessRecord) -> Result<(), String> {
        let (Some(item), Some(outcome)) = (&record.access_item, &record.outcome) else { return Ok(()) };
        let base = record.operator_address.trim_end_matches('/');
        let url = format!("{base}/access-items/{}", trust::did::segment(item));
        self.guard.check_url(&url).map_err(|error| error.to_string())?;
        let token =
            self.identity.authorization(&record.operator, clock::now()).map_err(|error| error.to_string())?;
        let uuid = self.connector_uuid().await.map_err(|error| error.to_string())?;
        let body = json!({
            "access_item_uuid": item, "connector_uuid": uuid, "source_status": outcome.source,
            "response_status": outcome.response, "bytes": outcome.bytes, "rows": outcome.rows, "at": outcome.at,
        });
        let request = self.client.put(&url).header(http::header::AUTHORIZATION, token).json(&body);
        let answer = request.timeout(INTROSPECTION).send().await.map_err(|error| describe(&error))?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("{url} answered {}", answer.status())) }
    }

    async fn put_told(&self, key: &str, told: Told) -> Result<(), EngineError> {
        let _lock = self.locks.lock(key).await;
        let Some((record, version)) = tables::load::<AccessRecord>(&self.store, key)? else { return Ok(()) };
        let mut batch = Batch::new();
        let text = match &told {
            Told::Not(reason) => {
                format!("the operator {} was not told how an access ended: {reason}", record.operator)
            }
            Told::Pending | Told::Yes => {
                format!("the operator {} was told how an access ended", record.operator)
            }
        };
        tables::append_event(&mut batch, &Event::new("access", clock::now(), text).about(&record.agreement))?;
        batch.expect(key, Some(version));
        tables::put(&mut batch, key, &AccessRecord { told, ..record })?;
        self.commit(batch).await.map(|_| ())
    }

    /// Takes up what operators were not told when the node stopped; what ran then was not seen to its end.
    pub(super) async fn take_up_accesses(self: &Arc<Self>) -> Result<(), EngineError> {
        let mut after: Option<String> = None;
        loop {
            let page = tables::list::<AccessRecord>(&self.store, prefix::ACCESS, after.as_deref(), 500)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, record) in page.into_iter().filter(|(_, record)| record.told == Told::Pending) {
                if record.outcome.is_some() {
                    self.tell_operator(key, record).await;
                } else {
                    self.access_ended(&key, Err("the node stopped before it ended")).await;
                }
            }
        }
    }

    /// This node's log of accesses, of every operator ever used or of one, for every service or for one.
    ///
    /// # Errors
    /// The store failed.
    pub fn accesses(
        &self,
        operator: Option<&str>,
        service: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<AccessRecord>, EngineError> {
        let under = operator.map_or_else(|| prefix::ACCESS.to_owned(), |one| tables::access(one, ""));
        Page::of(&self.store, (prefix::ACCESS, &under), after, limit, |one: AccessRecord| {
            Ok(Some(one).filter(|one| service.is_none_or(|service| one.service == service)))
        })
    }
}

/// The payload of a JWS in JSON serialisation, flattened or general (RFC 7515, 7.2), one of whose signatures is of `key`.
fn signed_payload(answer: &Json, key: &Json) -> Result<Json, String> {
    let text = |json: &Json, name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
    let payload = text(answer, "payload").ok_or("it is no JWS in JSON serialisation")?;
    let signatures = answer.get("signatures").and_then(Json::as_array).map(Vec::as_slice);
    let signatures = signatures.unwrap_or_else(|| std::slice::from_ref(answer));
    let key = PublicKey::from_jwk(key).map_err(|error| error.to_string())?;
    let held = signatures.iter().take(16).any(|one| {
        let parts = (text(one, "protected"), text(one, "signature"));
        let (Some(protected), Some(signature)) = parts else { return false };
        key.verify_within(&format!("{protected}.{payload}.{signature}"), MAX_ANSWER).is_ok()
    });
    if !held {
        return Err("it is not signed with the key of the trust group".to_owned());
    }
    let bytes = URL_SAFE_NO_PAD.decode(payload).map_err(|_| "its payload is not base64url")?;
    serde_json::from_slice(&bytes).map_err(|_| "its payload is not JSON".to_owned())
}

fn verified(compact: &str, key: &Json) -> Result<(), String> {
    let key = PublicKey::from_jwk(key).map_err(|error| format!("the operator's key: {error}"))?;
    key.verify_within(compact, MAX_TICKET)
        .map(|_| ())
        .map_err(|error| format!("the ticket's signature does not hold: {error}"))
}
