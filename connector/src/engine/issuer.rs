//! The issuer service: this node as the data space's authority (DCP 1.0.1, section 6).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use protocol::{Failure, Outgoing, RefusalKind};
use serde_json::{Map, Value as Json, json};
use store::Batch;
use trust::StatusEntry;
use trust::credential::{Profile, Statement};
use trust::dcp::{
    self, CredentialContainer, CredentialMessage, CredentialObject, CredentialOfferMessage,
    CredentialRequestMessage, CredentialStatus, IssuerMetadata, Outcome,
};

use super::revocation::issued_key;
use super::{Engine, EngineError, message_id};
use crate::config::{Authority, Dialect, PeerProfile};
use crate::tables::{self, Event, Invitation, Issuance, IssuedCredential, OutboxEntry, ProcessKind, prefix};
use crate::{clock, ids};

/// Most requests that wait for a decision.
const MAX_WAITING: usize = 10_000;
/// Most of them by one holder.
const MAX_OF_HOLDER: usize = 8;

impl Engine {
    pub(super) fn authority(&self) -> Result<&Authority, EngineError> {
        let none = || EngineError::NotFound { kind: "issuer service at", id: self.did().to_owned() };
        self.authority.as_ref().ok_or_else(none)
    }

    pub(super) fn issuer_address(&self) -> String {
        format!("{}{}", self.public_address, crate::http::ISSUER_PATH)
    }

    /// Where it stands what types and claims of its credentials mean.
    pub(super) fn context_address(&self) -> String {
        format!("{}/context", self.issuer_address())
    }

    /// The JSON-LD context of the credentials that this node issues: its types and claims, whatever these are called, and the older
    /// status list, which the data model 1.1 does not know (VC 1.1, section 4.3; VC 2.0, section 4.5).
    ///
    /// # Errors
    /// It is no authority.
    pub fn credential_context(&self) -> Result<Json, EngineError> {
        let own = format!("{}#", self.context_address());
        let types = self.authority()?.types.iter().map(|kind| (kind.clone(), json!(format!("{own}{kind}"))));
        let mut terms: Map<String, Json> = types.collect();
        for name in ["memberOf", "role"] {
            terms.insert(name.to_owned(), json!(format!("{own}{name}")));
        }
        let list = "https://w3id.org/vc/status-list#";
        for name in [
            "StatusList2021",
            "StatusList2021Credential",
            "StatusList2021Entry",
            "encodedList",
            "statusListIndex",
            "statusPurpose",
        ] {
            terms.insert(name.to_owned(), json!(format!("{list}{name}")));
        }
        terms.insert(
            "statusListCredential".to_owned(),
            json!({"@id": format!("{list}statusListCredential"), "@type": "@id"}),
        );
        terms.insert("@vocab".to_owned(), json!(own));
        Ok(json!({"@context": terms}))
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
                binding_methods: Some(vec!["did:web".to_owned(), "did:key".to_owned()]),
                profile: Some(profile.name().to_owned()),
                // Nothing: an invitation or a person decides.
                issuance_policy: Some(
                    json!({"id": format!("{}:policy", object_id(kind, profile)), "input_descriptors": []}),
                ),
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
        access: Option<&str>,
        message: CredentialRequestMessage,
    ) -> Result<Issuance, EngineError> {
        let supported = self.issuer_metadata()?.credentials_supported;
        let authority = self.authority()?;
        let kinds: Vec<_> =
            message.credentials.iter().filter_map(|one| object_of(&one.id, authority)).collect();
        // Who asks for more than it was invited to waits for a person.
        let invited = self.invitation(holder)?;
        let invited = invited.filter(|one| kinds.iter().all(|(kind, _)| one.types.contains(kind)));
        let automatic = authority.automatic || invited.is_some();
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
        if let Err(error) = self.credential_service(holder).await {
            let reason = format!("what is issued could not be delivered: {error}");
            return Err(EngineError::refused(RefusalKind::Disagreement, reason));
        }
        let _lock = self.locks.lock(&index).await;
        if let Some((id, _)) = tables::load::<String>(&self.store, &index)?
            && let Some((issuance, _)) =
                tables::load::<Issuance>(&self.store, &tables::key(prefix::ISSUANCE, &id))?
            && issuance.status == "RECEIVED"
        {
            // The same request again.
            return Ok(issuance);
        }
        self.room_for(holder)?;
        let now = clock::now();
        let id = ids::urn();
        let sealed = access.map(|access| self.vault.seal(&tables::key(prefix::ISSUANCE, &id), access));
        let issuance = Issuance {
            id,
            access: sealed.transpose()?,
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
            let claims = invited.map(|invited| invited.claims).unwrap_or_default();
            // What cannot be granted at once waits for a person.
            if let Err(error) = self.grant_issuance(&issuance.id, &claims).await {
                let text = format!("a request was not granted at once: {error}");
                self.record(Event::new("issuance", clock::now(), text).about(&issuance.id).with(holder))
                    .await;
            }
        }
        Ok(issuance)
    }

    /// Whether another request of `holder` can wait.
    fn room_for(&self, holder: &str) -> Result<(), EngineError> {
        let too_much = |reason: String| Err(EngineError::refused(RefusalKind::Busy, reason));
        let all = self.issuances()?;
        let waiting = || all.iter().filter(|one| one.status == "RECEIVED");
        if waiting().filter(|one| one.holder == holder).count() >= MAX_OF_HOLDER {
            return too_much(format!("{MAX_OF_HOLDER} requests of yours wait for an answer already"));
        }
        if waiting().count() >= MAX_WAITING {
            return too_much(format!("{MAX_WAITING} requests wait for an answer already; try again later"));
        }
        Ok(())
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

    /// Every request, the oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub fn issuances(&self) -> Result<Vec<Issuance>, EngineError> {
        let mut all = tables::all::<Issuance>(&self.store, prefix::ISSUANCE)?;
        all.sort_by_key(|one| one.at);
        Ok(all)
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
        let address = self.credential_service(&self.open_issuance(id)?.0.holder).await?;
        let _lock = self.locks.lock(prefix::ISSUED).await;
        let (issuance, version) = self.open_issuance(id)?;
        let now = clock::now();
        let until = now
            .checked_add(SignedDuration::from_hours(24 * i64::from(authority.valid_days)))
            .map_err(|error| EngineError::refused(RefusalKind::Malformed, error.to_string()))?;
        let mut claims = claims.clone();
        claims.insert("memberOf".to_owned(), json!(authority.space));
        let mut batch = Batch::new();
        batch.delete(invitation_key(&issuance.holder));
        let mut credentials = Vec::new();
        let context = self.context_address();
        // One credential of each type, in each data model that is wanted: under one id, and taken back at once.
        let mut made: BTreeMap<String, (String, usize)> = BTreeMap::new();
        for object in &issuance.wanted {
            let Some((kind, profile)) = object_of(object, &authority) else { continue };
            let (credential_id, index) = match made.get(&kind) {
                Some(made) => made.clone(),
                None => {
                    let taken: Vec<_> = made.values().map(|(_, index)| *index).collect();
                    let fresh = (ids::urn(), self.free_index(&taken)?);
                    made.insert(kind.clone(), fresh.clone());
                    self.keep_issued(&issuance, (&kind, &fresh), &claims, (now, until), &mut batch)?;
                    fresh
                }
            };
            let list = self.status_list_address(profile);
            let status = StatusEntry::new(list, index, "revocation", profile);
            let statement = Statement {
                context: Some(&context),
                id: &credential_id,
                kind: &kind,
                subject: &issuance.holder,
                claims: &claims,
                from: now,
                until,
                status: Some(&status),
            };
            let payload = self.identity.issue(&statement, profile)?;
            // EDC knows the formats by the names of the drafts.
            let by_profile =
                self.dialect == Dialect::One && self.rules.profile(&issuance.holder) == PeerProfile::Dsp;
            let format = match profile {
                _ if by_profile => profile.name(),
                Profile::V1 => "VC1_0_JWT",
                Profile::V2 => "VC2_0_JOSE",
            };
            credentials.push(CredentialContainer {
                credential_type: kind,
                payload,
                format: format.to_owned(),
            });
        }
        let message = CredentialMessage {
            issuer_pid: issuance.id.clone(),
            holder_pid: Some(issuance.holder_pid.clone()),
            status: Outcome::Issued,
            rejection_reason: None,
            credentials,
        };
        self.answer_issuance((issuance, version), address, "ISSUED", &message, batch).await
    }

    /// Puts a credential that is issued into `batch`.
    fn keep_issued(
        &self,
        issuance: &Issuance,
        (kind, (id, index)): (&str, &(String, usize)),
        claims: &Map<String, Json>,
        (now, until): (Timestamp, Timestamp),
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        let record = IssuedCredential {
            id: id.clone(),
            kind: kind.to_owned(),
            holder: issuance.holder.clone(),
            role: claims.get("role").and_then(Json::as_str).map(str::to_owned),
            index: *index,
            at: now,
            until,
            revoked_at: None,
            reason: None,
        };
        tables::put(batch, issued_key(*index), &record)?;
        let event = Event::new("issuance", now, format!("a {kind} was issued until {until}"));
        Ok(tables::append_event(batch, &event.about(&record.id).with(&issuance.holder))?)
    }

    /// Refuses a request.
    ///
    /// # Errors
    /// No such request, or it was answered.
    pub async fn reject_issuance(self: &Arc<Self>, id: &str, reason: &str) -> Result<Issuance, EngineError> {
        let address = self.credential_service(&self.open_issuance(id)?.0.holder).await?;
        let _lock = self.locks.lock(prefix::ISSUED).await;
        let (issuance, version) = self.open_issuance(id)?;
        let mut batch = Batch::new();
        let event = Event::new("issuance", clock::now(), format!("a request was rejected: {reason}"));
        tables::append_event(&mut batch, &event.about(id).with(&issuance.holder))?;
        let message = CredentialMessage {
            issuer_pid: issuance.id.clone(),
            holder_pid: Some(issuance.holder_pid.clone()),
            status: Outcome::Rejected,
            rejection_reason: Some(reason.to_owned()),
            credentials: Vec::new(),
        };
        self.answer_issuance((issuance, version), address, "REJECTED", &message, batch).await
    }

    async fn answer_issuance(
        self: &Arc<Self>,
        (issuance, version): (Issuance, u64),
        address: String,
        status: &str,
        message: &CredentialMessage,
        mut batch: Batch,
    ) -> Result<Issuance, EngineError> {
        let entry = to_holder(&issuance.holder, address, &issuance.id, ("credentials", dcp::write(message)));
        let key = tables::key(prefix::ISSUANCE, &issuance.id);
        let issuance = Issuance { status: status.to_owned(), ..issuance };
        batch.expect(key.clone(), Some(version));
        tables::put(&mut batch, key, &issuance)?;
        tables::put(&mut batch, tables::outbox(entry.message.id.as_str()), &entry)?;
        self.commit(batch).await?;
        self.outbox.deliver(self, entry);
        Ok(issuance)
    }

    /// The address of the credential service of `holder`, as its DID document names it. It may have to be fetched, so nobody
    /// holds a lock meanwhile.
    pub(super) async fn credential_service(&self, holder: &str) -> Result<String, EngineError> {
        let document = self.resolver.document(holder).await.map_err(EngineError::Peer)?;
        let address = document.service("CredentialService").ok_or_else(|| {
            EngineError::Peer(format!("the DID document of `{holder}` names no CredentialService"))
        })?;
        Ok(address.trim_end_matches('/').to_owned())
    }

    /// Lets `holder` have credentials of `kinds` with `claims` as soon as it asks, and tells it so
    /// (DCP 1.0.1, section 6.6).
    ///
    /// # Errors
    /// This node does not issue them, or the holder's DID document cannot be had.
    pub async fn invite(
        self: &Arc<Self>,
        holder: &str,
        kinds: &[String],
        claims: Map<String, Json>,
    ) -> Result<Invitation, EngineError> {
        let metadata = self.issuer_metadata()?;
        let is_of = |kind: &str| {
            let kind = kind.to_owned();
            move |object: &&CredentialObject| object.credential_type.as_deref() == Some(kind.as_str())
        };
        let kinds = if kinds.is_empty() { self.authority()?.types.clone() } else { kinds.to_vec() };
        if let Some(unknown) =
            kinds.iter().find(|kind| !metadata.credentials_supported.iter().any(|one| is_of(kind)(&one)))
        {
            let reason = format!("types: `{unknown}` is not issued here; add it to authority.types");
            return Err(EngineError::refused(RefusalKind::Malformed, reason));
        }
        let offered = metadata
            .credentials_supported
            .into_iter()
            .filter(|object| object.credential_type.as_ref().is_some_and(|kind| kinds.contains(kind)));
        let offer = CredentialOfferMessage { issuer: self.did().to_owned(), credentials: offered.collect() };
        let address = self.credential_service(holder).await?;
        let entry = to_holder(holder, address, holder, ("offers", dcp::write(&offer)));
        let now = clock::now();
        let invitation = Invitation { holder: holder.to_owned(), types: kinds, claims, at: now };
        let mut batch = Batch::new();
        tables::put(&mut batch, invitation_key(holder), &invitation)?;
        tables::put(&mut batch, tables::outbox(entry.message.id.as_str()), &entry)?;
        let text = format!("may have {} when it asks", invitation.types.join(", "));
        tables::append_event(&mut batch, &Event::new("issuance", now, text).with(holder))?;
        self.commit(batch).await?;
        self.outbox.deliver(self, entry);
        Ok(invitation)
    }

    fn invitation(&self, holder: &str) -> Result<Option<Invitation>, EngineError> {
        Ok(tables::load::<Invitation>(&self.store, &invitation_key(holder))?.map(|(one, _)| one))
    }

    /// Who may have credentials as soon as it asks.
    ///
    /// # Errors
    /// The store failed.
    pub fn invitations(&self) -> Result<Vec<Invitation>, EngineError> {
        Ok(tables::all(&self.store, prefix::INVITATION)?)
    }

    /// A holder took a message, an answer or a notice, or could not be reached.
    pub(crate) async fn holder_told(
        &self,
        entry: &OutboxEntry,
        outcome: Result<(), Failure>,
    ) -> Result<(), EngineError> {
        let mut batch = Batch::new();
        batch.delete(tables::outbox(entry.message.id.as_str()));
        if let Err(failure) = &outcome {
            self.set_down(entry, failure, &mut batch)?;
        }
        // What it gave for the answer has done its work.
        let key = tables::key(prefix::ISSUANCE, &entry.pid);
        if outcome.is_ok()
            && let Some((issuance, version)) = tables::load::<Issuance>(&self.store, &key)?
            && issuance.access.is_some()
        {
            batch.expect(key.clone(), Some(version));
            tables::put(&mut batch, key, &Issuance { access: None, ..issuance })?;
        }
        let path = &entry.message.path;
        let text = match outcome {
            Ok(()) => format!("the holder took the message to `{path}`"),
            Err(failure) => format!("the holder did not take the message to `{path}`: {}", failure.reason),
        };
        let event = Event::new("issuance", clock::now(), text).about(&entry.pid).with(&entry.peer);
        tables::append_event(&mut batch, &event)?;
        self.commit(batch).await.map(|_| ())
    }

    /// The authorization of a message of `entry`: with the access token that a holder gave along with its request, when that is
    /// answered (DCP 1.0.1, sections 6.1 and 6.4), else with this node's own.
    pub(crate) fn authorization_of(&self, entry: &OutboxEntry) -> Result<String, EngineError> {
        let now = clock::now();
        let key = tables::key(prefix::ISSUANCE, &entry.pid);
        let issuance = match entry.kind {
            ProcessKind::Issuance => tables::load::<Issuance>(&self.store, &key)?,
            _ => None,
        };
        let Some((Issuance { access: Some(sealed), .. }, _)) = issuance else {
            return Ok(self.identity.authorization(&entry.peer, now)?);
        };
        let access = self.vault.open_sealed(&key, &sealed)?;
        Ok(self.identity.authorization_with(&entry.peer, Some(&access), now)?)
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

/// A message to the credential service of `holder`, which is at `address`.
pub(super) fn to_holder(holder: &str, address: String, pid: &str, (path, body): (&str, Json)) -> OutboxEntry {
    OutboxEntry {
        kind: ProcessKind::Issuance,
        pid: pid.to_owned(),
        peer: holder.to_owned(),
        address,
        message: Outgoing { id: message_id(), path: path.to_owned(), body },
        since: clock::now(),
    }
}

fn invitation_key(holder: &str) -> String {
    tables::key(prefix::INVITATION, &trust::did::segment(holder))
}

fn object_id(kind: &str, profile: Profile) -> String {
    format!("urn:concordat:credential-object:{}:{}", trust::did::segment(kind), profile.name())
}

fn object_of(id: &str, authority: &Authority) -> Option<(String, Profile)> {
    let all = authority.types.iter().flat_map(|kind| Profile::ALL.map(|profile| (kind.clone(), profile)));
    all.into_iter().find(|(kind, profile)| object_id(kind, *profile) == id)
}
