//! The issuer service: this node as the data space's authority (DCP 1.0.1, section 6).

use jiff::{SignedDuration, Timestamp};
use protocol::{Failure, MessageId, Outgoing, RefusalKind};
use serde_json::{Map, Value as Json, json};
use store::Batch;
use trust::credential::{Profile, Statement};
use trust::dcp::{
    self, CredentialContainer, CredentialMessage, CredentialObject, CredentialRequestMessage,
    CredentialStatus, IssuerMetadata, Outcome,
};
use trust::status::MIN_BITS;
use trust::{StatusEntry, StatusList};

use std::sync::Arc;

use super::{Engine, EngineError, message_id};
use crate::config::Authority;
use crate::tables::{self, Event, Issuance, IssuedCredential, OutboxEntry, ProcessKind, prefix};
use crate::{clock, ids};

/// Most requests that wait for a decision.
const MAX_WAITING: usize = 10_000;
/// How long a status list may be kept by others.
const LIST_TTL: SignedDuration = SignedDuration::from_secs(300);

impl Engine {
    fn authority(&self) -> Result<&Authority, EngineError> {
        self.authority
            .as_ref()
            .ok_or(EngineError::NotFound { kind: "issuer service at", id: self.did().to_owned() })
    }

    fn issuer_address(&self) -> String {
        format!("{}{}", self.public_address, crate::http::ISSUER_PATH)
    }

    /// What this node issues.
    ///
    /// # Errors
    /// It is no authority.
    pub fn issuer_metadata(&self) -> Result<IssuerMetadata, EngineError> {
        let authority = self.authority()?;
        let objects = authority.types.iter().flat_map(|kind| {
            Profile::ALL.map(|profile| CredentialObject {
                id: object_id(kind, profile),
                kind: Some("CredentialObject".to_owned()),
                credential_type: Some(kind.clone()),
                credential_schema: Some(format!("{}/schemas/{kind}", self.issuer_address())),
                offer_reason: Some("issuance".to_owned()),
                binding_methods: Some(vec!["did:web".to_owned()]),
                profile: Some(profile.name().to_owned()),
            })
        });
        Ok(IssuerMetadata { issuer: self.did().to_owned(), credentials_supported: objects.collect() })
    }

    /// The JSON Schema of the credentials of a type.
    ///
    /// # Errors
    /// This node does not issue them.
    pub fn credential_schema(&self, kind: &str) -> Result<Json, EngineError> {
        if !self.authority()?.types.iter().any(|known| known == kind) {
            return Err(EngineError::NotFound { kind: "credential schema", id: kind.to_owned() });
        }
        Ok(json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": format!("{}/schemas/{kind}", self.issuer_address()),
            "title": kind, "type": "object", "required": ["type", "issuer", "credentialSubject"],
            "properties": {
                "type": {"type": "array", "contains": {"const": kind}},
                "credentialSubject": {
                    "type": "object", "required": ["id", "memberOf"],
                    "properties": {
                        "id": {"type": "string", "pattern": "^did:"}, "memberOf": {"type": "string"},
                        "role": {"type": "string"},
                    },
                },
            },
        }))
    }

    /// Takes a holder's request; answered at once where that is configured, else by a person.
    ///
    /// # Errors
    /// It asks for what this node does not issue, or too many wait.
    pub async fn take_issuance_request(
        self: &Arc<Self>,
        holder: &str,
        message: CredentialRequestMessage,
    ) -> Result<Issuance, EngineError> {
        let supported = self.issuer_metadata()?.credentials_supported;
        let automatic = self.authority()?.automatic;
        for (index, wanted) in message.credentials.iter().enumerate() {
            if !supported.iter().any(|object| object.id == wanted.id) {
                let reason = format!("/credentials/{index}/id: `{}` is not issued here", wanted.id);
                return Err(EngineError::refused(RefusalKind::Malformed, reason));
            }
        }
        let index = format!(
            "{}{}/{}",
            prefix::ISSUANCE_OF,
            trust::did::segment(holder),
            trust::did::segment(&message.holder_pid)
        );
        let _lock = self.locks.lock(&index).await;
        if let Some((id, _)) = tables::load::<String>(&self.store, &index)?
            && let Some((issuance, _)) =
                tables::load::<Issuance>(&self.store, &tables::key(prefix::ISSUANCE, &id))?
            && issuance.status == "RECEIVED"
        {
            // The same request again.
            return Ok(issuance);
        }
        let waiting = self.issuances()?.into_iter().filter(|one| one.status == "RECEIVED").count();
        if waiting >= MAX_WAITING {
            return Err(EngineError::refused(RefusalKind::TooMuch, format!("{MAX_WAITING} requests wait")));
        }
        let now = clock::now();
        let issuance = Issuance {
            id: ids::urn(),
            holder: holder.to_owned(),
            holder_pid: message.holder_pid,
            wanted: message.credentials.into_iter().map(|one| one.id).collect(),
            status: "RECEIVED".to_owned(),
            at: now,
        };
        let mut batch = Batch::new();
        tables::put(&mut batch, tables::key(prefix::ISSUANCE, &issuance.id), &issuance)?;
        tables::put(&mut batch, index, &issuance.id)?;
        let event =
            Event::new("issuance", now, "credentials were requested").about(&issuance.id).with(holder);
        tables::append_event(&mut batch, &event)?;
        self.commit(batch).await?;
        if automatic {
            self.grant_issuance(&issuance.id, &Map::new()).await?;
        }
        Ok(issuance)
    }

    /// Where a holder's request stands.
    ///
    /// # Errors
    /// No such request of this holder.
    pub fn issuance_status(&self, holder: &str, id: &str) -> Result<CredentialStatus, EngineError> {
        let (issuance, _) = self.load_issuance(id)?;
        if issuance.holder != holder {
            return Err(EngineError::NotFound { kind: "request", id: id.to_owned() });
        }
        Ok(CredentialStatus {
            issuer_pid: issuance.id,
            holder_pid: issuance.holder_pid,
            status: issuance.status,
        })
    }

    /// Every request, in the order of ids.
    ///
    /// # Errors
    /// The store failed.
    pub fn issuances(&self) -> Result<Vec<Issuance>, EngineError> {
        let page = tables::list::<Issuance>(&self.store, prefix::ISSUANCE, None, MAX_WAITING)?;
        Ok(page.into_iter().map(|(_, one)| one).collect())
    }

    /// Every credential that this node issued.
    ///
    /// # Errors
    /// The store failed.
    pub fn issued(&self) -> Result<Vec<IssuedCredential>, EngineError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = tables::list::<IssuedCredential>(&self.store, prefix::ISSUED, after.as_deref(), 1000)?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(last.clone());
            all.extend(page.into_iter().map(|(_, one)| one));
        }
    }

    /// Issues what a request asks for, with further `claims` about the holder.
    ///
    /// # Errors
    /// No such request, or it was answered.
    pub async fn grant_issuance(
        self: &Arc<Self>,
        id: &str,
        claims: &Map<String, Json>,
    ) -> Result<Issuance, EngineError> {
        let authority = self.authority()?.clone();
        let _lock = self.locks.lock("issuer").await;
        let (issuance, version) = self.open_issuance(id)?;
        let now = clock::now();
        let until = now
            .checked_add(SignedDuration::from_hours(24 * i64::from(authority.valid_days)))
            .map_err(|error| EngineError::refused(RefusalKind::Malformed, error.to_string()))?;
        let mut claims = claims.clone();
        claims.insert("memberOf".to_owned(), json!(authority.space));
        let mut batch = Batch::new();
        let mut credentials = Vec::new();
        let mut taken = Vec::new();
        for object in &issuance.wanted {
            let Some((kind, profile)) = object_of(object, &authority) else { continue };
            let index = self.free_index(&taken)?;
            taken.push(index);
            let credential_id = ids::urn();
            let status = StatusEntry {
                list: self.status_list_address(profile),
                index,
                purpose: "revocation".to_owned(),
            };
            let statement = Statement {
                id: &credential_id,
                kind: &kind,
                subject: &issuance.holder,
                claims: &claims,
                from: now,
                until,
                status: Some(&status),
            };
            let payload = self.identity.issue(&statement, profile)?;
            let record = IssuedCredential {
                id: credential_id,
                kind: kind.clone(),
                holder: issuance.holder.clone(),
                index,
                at: now,
                until,
                revoked_at: None,
                reason: None,
            };
            tables::put(&mut batch, issued_key(index), &record)?;
            let event = Event::new("issuance", now, format!("a {kind} was issued until {until}"));
            tables::append_event(&mut batch, &event.about(&record.id).with(&issuance.holder))?;
            credentials.push(CredentialContainer {
                credential_type: kind,
                payload,
                format: profile.name().to_owned(),
            });
        }
        let message = CredentialMessage {
            issuer_pid: issuance.id.clone(),
            holder_pid: issuance.holder_pid.clone(),
            status: Outcome::Issued,
            rejection_reason: None,
            credentials,
        };
        self.answer_issuance(issuance, version, "ISSUED", &message, batch).await
    }

    /// Refuses a request.
    ///
    /// # Errors
    /// No such request, or it was answered.
    pub async fn reject_issuance(self: &Arc<Self>, id: &str, reason: &str) -> Result<Issuance, EngineError> {
        let _lock = self.locks.lock("issuer").await;
        let (issuance, version) = self.open_issuance(id)?;
        let mut batch = Batch::new();
        let event = Event::new("issuance", clock::now(), format!("a request was rejected: {reason}"));
        tables::append_event(&mut batch, &event.about(id).with(&issuance.holder))?;
        let message = CredentialMessage {
            issuer_pid: issuance.id.clone(),
            holder_pid: issuance.holder_pid.clone(),
            status: Outcome::Rejected,
            rejection_reason: Some(reason.to_owned()),
            credentials: Vec::new(),
        };
        self.answer_issuance(issuance, version, "REJECTED", &message, batch).await
    }

    async fn answer_issuance(
        self: &Arc<Self>,
        issuance: Issuance,
        version: u64,
        status: &str,
        message: &CredentialMessage,
        mut batch: Batch,
    ) -> Result<Issuance, EngineError> {
        let document = self.resolver.document(&issuance.holder).await.map_err(EngineError::Peer)?;
        let address = document.service("CredentialService").ok_or_else(|| {
            EngineError::Peer(format!("the DID document of `{}` names no CredentialService", issuance.holder))
        })?;
        let entry = OutboxEntry {
            kind: ProcessKind::Issuance,
            pid: issuance.id.clone(),
            peer: issuance.holder.clone(),
            address: address.trim_end_matches('/').to_owned(),
            message: Outgoing { id: message_id(), path: "credentials".to_owned(), body: dcp::write(message) },
            since: clock::now(),
        };
        let key = tables::key(prefix::ISSUANCE, &issuance.id);
        let issuance = Issuance { status: status.to_owned(), ..issuance };
        batch.expect(key.clone(), Some(version));
        tables::put(&mut batch, key, &issuance)?;
        tables::put(&mut batch, tables::outbox(entry.message.id.as_str()), &entry)?;
        self.commit(batch).await?;
        self.outbox.deliver(self, entry);
        Ok(issuance)
    }

    /// A message of an issuance was taken, or could not be delivered.
    pub(crate) async fn issuance_told(
        &self,
        id: &str,
        message: &MessageId,
        outcome: Result<(), Failure>,
    ) -> Result<(), EngineError> {
        let mut batch = Batch::new();
        batch.delete(tables::outbox(message.as_str()));
        let text = match outcome {
            Ok(()) => "the holder has the answer".to_owned(),
            Err(failure) => format!("the holder did not take the answer: {}", failure.reason),
        };
        tables::append_event(&mut batch, &Event::new("issuance", clock::now(), text).about(id))?;
        self.commit(batch).await.map(|_| ())
    }

    /// Revokes an issued credential, by its id; the status list says so at once.
    ///
    /// # Errors
    /// Not issued here, or revoked before.
    pub async fn revoke_credential(&self, id: &str, reason: &str) -> Result<IssuedCredential, EngineError> {
        let _lock = self.locks.lock("issuer").await;
        let found = self.issued()?.into_iter().find(|one| one.id == id);
        let found =
            found.ok_or_else(|| EngineError::NotFound { kind: "issued credential", id: id.to_owned() })?;
        if let Some(at) = found.revoked_at {
            let reason = format!("it was revoked on {at} already");
            return Err(EngineError::refused(RefusalKind::IllegalTransition, reason));
        }
        let now = clock::now();
        let record = IssuedCredential { revoked_at: Some(now), reason: Some(reason.to_owned()), ..found };
        let mut batch = Batch::new();
        tables::put(&mut batch, issued_key(record.index), &record)?;
        let event = Event::new("issuance", now, format!("the {} was revoked: {reason}", record.kind));
        tables::append_event(&mut batch, &event.about(id).with(&record.holder))?;
        self.commit(batch).await?;
        Ok(record)
    }

    /// The status list in a data model, as a signed credential.
    ///
    /// # Errors
    /// This node is no authority.
    pub fn status_list(&self, profile: Profile) -> Result<String, EngineError> {
        self.authority()?;
        let mut list = StatusList::default();
        for one in self.issued()?.iter().filter(|one| one.revoked_at.is_some()) {
            list.set(one.index, true);
        }
        let address = self.status_list_address(profile);
        let now = clock::now();
        let mut claims = match list.subject(&address, profile)? {
            Json::Object(map) => map,
            _ => Map::new(),
        };
        let subject = claims.remove("id").and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default();
        let statement = Statement {
            id: &address,
            kind: match profile {
                Profile::V1 => "StatusList2021Credential",
                Profile::V2 => "BitstringStatusListCredential",
            },
            subject: &subject,
            claims: &claims,
            from: now,
            until: now.checked_add(LIST_TTL).unwrap_or(Timestamp::MAX),
            status: None,
        };
        Ok(self.identity.issue(&statement, profile)?)
    }

    fn status_list_address(&self, profile: Profile) -> String {
        let name = match profile {
            Profile::V1 => "2021",
            Profile::V2 => "bitstring",
        };
        format!("{}/status/{name}", self.issuer_address())
    }

    /// A place that no credential has, at random, so that it tells nothing of who joined when.
    fn free_index(&self, taken: &[usize]) -> Result<usize, EngineError> {
        for _ in 0..10_000 {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).map_err(|error| EngineError::Vault(error.to_string()))?;
            let index = usize::try_from(u64::from_le_bytes(bytes) % 131_072).unwrap_or_default() % MIN_BITS;
            if !taken.contains(&index) && self.store.get(&issued_key(index))?.is_none() {
                return Ok(index);
            }
        }
        Err(EngineError::refused(RefusalKind::TooMuch, "the status list is full"))
    }

    fn load_issuance(&self, id: &str) -> Result<(Issuance, u64), EngineError> {
        let found = tables::load(&self.store, &tables::key(prefix::ISSUANCE, id))?;
        found.ok_or_else(|| EngineError::NotFound { kind: "request", id: id.to_owned() })
    }

    fn open_issuance(&self, id: &str) -> Result<(Issuance, u64), EngineError> {
        let (issuance, version) = self.load_issuance(id)?;
        if issuance.status == "RECEIVED" {
            return Ok((issuance, version));
        }
        let reason = format!("the request `{id}` was answered already ({})", issuance.status);
        Err(EngineError::refused(RefusalKind::IllegalTransition, reason))
    }
}

fn issued_key(index: usize) -> String {
    format!("{}{index:09}", prefix::ISSUED)
}

fn object_id(kind: &str, profile: Profile) -> String {
    format!("urn:concordat:credential-object:{}:{}", trust::did::segment(kind), profile.name())
}

fn object_of(id: &str, authority: &Authority) -> Option<(String, Profile)> {
    let all = authority.types.iter().flat_map(|kind| Profile::ALL.map(|profile| (kind.clone(), profile)));
    all.into_iter().find(|(kind, profile)| object_id(kind, *profile) == id)
}
