//! What this node issued as an authority, and what it took back: the status lists that it publishes
//! (W3C Bitstring Status List 1.0; StatusList2021), and the word to members that one has changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use protocol::RefusalKind;
use serde_json::{Map, Value as Json, json};
use store::Batch;
use trust::credential::Statement;
use trust::status::MIN_BITS;
use trust::{Profile, StatusList};

use super::{Engine, EngineError};
use crate::clock;
use crate::tables::{self, Event, IssuedCredential, OutboxEntry, ProcessKind, prefix};

/// How long a signed list is valid: longer than others may keep it, so that a short outage of ours harms nobody.
const VALID: SignedDuration = SignedDuration::from_secs(600);
/// Members that are told at once.
const AT_ONCE: usize = 16;
/// Path of the notice that a list has changed, below a holder's credential service. Ours, beside the protocol: whoever
/// does not know it answers "not found" and learns from the list itself.
pub(crate) const NOTICE_PATH: &str = "status-changed";

/// The lists as they were last signed.
#[derive(Debug, Default)]
pub(super) struct Published {
    signed: Mutex<HashMap<&'static str, (String, Timestamp)>>,
}

impl Published {
    /// Signs anew at the next question.
    pub(super) fn clear(&self) {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Engine {
    /// Every credential that this node issued.
    ///
    /// # Errors
    /// The store failed.
    pub fn issued(&self) -> Result<Vec<IssuedCredential>, EngineError> {
        Ok(tables::whole(&self.store, prefix::ISSUED)?)
    }

    /// Revokes an issued credential, by its id. The status list says so at once, and every member is told.
    ///
    /// # Errors
    /// Not issued here, or revoked before.
    pub async fn revoke_credential(
        self: &Arc<Self>,
        id: &str,
        reason: &str,
    ) -> Result<IssuedCredential, EngineError> {
        let record = {
            let _lock = self.locks.lock(prefix::ISSUED).await;
            let found = self.issued()?.into_iter().find(|one| one.id == id);
            let found = found
                .ok_or_else(|| EngineError::NotFound { kind: "issued credential", id: id.to_owned() })?;
            if let Some(at) = found.revoked_at {
                let reason = format!("the credential was revoked on {at} already");
                return Err(EngineError::refused(RefusalKind::IllegalTransition, reason));
            }
            let now = clock::now();
            let record = IssuedCredential { revoked_at: Some(now), reason: Some(reason.to_owned()), ..found };
            let mut batch = Batch::new();
            tables::put(&mut batch, issued_key(record.index), &record)?;
            let event = Event::new("issuance", now, format!("the {} was revoked: {reason}", record.kind));
            tables::append_event(&mut batch, &event.about(id).with(&record.holder))?;
            self.commit(batch).await?;
            self.published.clear();
            record
        };
        self.statuses_changed(self.did()).await;
        let engine = Arc::clone(self);
        let body = json!({"statusListCredential": Profile::ALL.map(|one| self.status_list_address(one))});
        self.tasks.until_stop(async move { engine.tell_members(NOTICE_PATH, body).await });
        Ok(record)
    }

    /// Tells everybody who holds a valid credential that something has changed.
    pub(super) async fn tell_members(self: &Arc<Self>, path: &str, body: Json) {
        let now = clock::now();
        let members = match self.issued() {
            Ok(issued) => issued,
            Err(error) => return tracing::error!(%error, "members were not told of a change"),
        };
        let valid = members.into_iter().filter(|one| one.revoked_at.is_none() && one.until > now);
        let members: BTreeSet<_> =
            valid.map(|one| one.holder).filter(|holder| holder != self.did()).collect();
        // At once: one that cannot be found does not hold up the others.
        let each = futures_util::stream::iter(members);
        each.for_each_concurrent(AT_ONCE, async |member| {
            if let Err(error) = self.tell_member(&member, path, body.clone()).await {
                tracing::warn!(%error, member, path, "a member is not told of a change; it learns when it asks");
            }
        })
        .await;
    }

    async fn tell_member(self: &Arc<Self>, member: &str, path: &str, body: Json) -> Result<(), EngineError> {
        let address = self.credential_service(member).await?;
        let entry = super::issuer::to_holder(member, address, member, (path, body));
        let entry = OutboxEntry { kind: ProcessKind::Notice, ..entry };
        let mut batch = Batch::new();
        tables::put(&mut batch, tables::outbox(entry.message.id.as_str()), &entry)?;
        self.commit(batch).await?;
        self.outbox.deliver(self, entry);
        Ok(())
    }

    /// The status list in a data model, as a signed credential.
    ///
    /// # Errors
    /// This node is no authority.
    pub async fn status_list(&self, profile: Profile) -> Result<String, EngineError> {
        let ttl = self.status_list_ttl()?;
        // One at a time: a revocation between reading and signing must not be lost.
        let _lock = self.locks.lock(prefix::ISSUED).await;
        let now = clock::now();
        {
            let signed = self.published.signed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((list, at)) = signed.get(profile.name())
                && now.duration_since(*at) < ttl
            {
                return Ok(list.clone());
            }
        }
        let mut list = StatusList::default();
        for one in self.issued()?.iter().filter(|one| one.revoked_at.is_some()) {
            list.set(one.index, true);
        }
        let address = self.status_list_address(profile);
        let mut claims = match list.subject(&address, profile, ttl)? {
            Json::Object(map) => map,
            _ => Map::new(),
        };
        let context = self.context_address();
        let subject = claims.remove("id").and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default();
        let statement = Statement {
            context: Some(context.as_str()).filter(|_| profile == Profile::V1),
            id: &address,
            kind: match profile {
                Profile::V1 => "StatusList2021Credential",
                Profile::V2 => "BitstringStatusListCredential",
            },
            subject: &subject,
            claims: &claims,
            from: now,
            until: now.checked_add(VALID).unwrap_or(Timestamp::MAX),
            status: None,
        };
        let list = self.identity.issue(&statement, profile)?;
        let mut signed = self.published.signed.lock().unwrap_or_else(PoisonError::into_inner);
        signed.insert(profile.name(), (list.clone(), now));
        Ok(list)
    }

    /// How long a status list may be believed without asking again.
    ///
    /// # Errors
    /// This node is no authority.
    pub fn status_list_ttl(&self) -> Result<SignedDuration, EngineError> {
        Ok(SignedDuration::from_secs(self.authority()?.status_list_seconds.into()))
    }

    pub(super) fn status_list_address(&self, profile: Profile) -> String {
        let name = match profile {
            Profile::V1 => "2021",
            Profile::V2 => "bitstring",
        };
        format!("{}/status/{name}", self.issuer_address())
    }

    /// A place that no credential has, at random, so that it tells nothing of who joined when.
    pub(super) fn free_index(&self, taken: &[usize]) -> Result<usize, EngineError> {
        for _ in 0..10_000 {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).map_err(|error| EngineError::Vault(error.to_string()))?;
            let index = usize::try_from(u64::from_le_bytes(bytes) >> 1).unwrap_or_default() % MIN_BITS;
            if !taken.contains(&index) && self.store.get(&issued_key(index))?.is_none() {
                return Ok(index);
            }
        }
        Err(EngineError::refused(RefusalKind::TooMuch, "the status list is full"))
    }
}

/// The key of the credential at a place in the status list.
pub(super) fn issued_key(index: usize) -> String {
    format!("{}{index:09}", prefix::ISSUED)
}
