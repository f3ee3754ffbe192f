//! The rulebooks of the data spaces that this node is in: published by their authorities, accepted with a signature, held
//! against every offer and agreement.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use governance::rulebook::{
    ACCEPTANCE, Acceptance, Conflict, MAX_RULEBOOK, PROPERTY, RULEBOOK, Reference, Rulebook,
};
use jiff::Timestamp;
use protocol::{Failure, RefusalKind};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use store::{Batch, StoreError};
use trust::Statement;
use trust::statement::Claimed;

use super::claims::missing;
use super::{Engine, EngineError, StatementMessage};
use crate::tables::{
    self, Accepted, AgreementRecord, Event, OutboxEntry, ProcessKind, RulebookRecord, Told, prefix,
};
use crate::{clock, ids};

/// Path of the rulebook below an issuer service. Ours, beside the protocol.
pub(crate) const RULEBOOK_PATH: &str = "rulebook";
/// Path of the notice that there is a new one, below a holder's credential service. Ours, beside the protocol.
pub(crate) const RULEBOOK_NOTICE: &str = "rulebook-changed";

/// Accepted versions, by data space and version: what is in force follows from the time.
#[derive(Debug, Default)]
pub(super) struct InForce {
    accepted: RwLock<BTreeMap<(String, u32), Arc<Rulebook>>>,
    /// Why not all of them could be read; nothing is agreed to without them.
    unread: RwLock<Option<String>>,
}

impl InForce {
    /// The newest version of each data space that is in force at `now`.
    fn at(&self, now: Timestamp) -> Vec<Arc<Rulebook>> {
        let accepted = self.accepted.read().unwrap_or_else(PoisonError::into_inner);
        let mut newest: BTreeMap<&str, &Arc<Rulebook>> = BTreeMap::new();
        for ((space, _), book) in accepted.iter().filter(|(_, book)| book.in_force <= now) {
            // In the order of versions.
            newest.insert(space, book);
        }
        newest.into_values().cloned().collect()
    }

    fn enter(&self, book: &Rulebook) {
        let key = (book.space.clone(), book.version);
        self.accepted.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(book.clone()));
    }
}

/// A version as it stands here.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RulebookStanding {
    /// The version.
    pub record: RulebookRecord,
    /// `in force`, `accepted`, `announced`, or `replaced`.
    pub state: &'static str,
    /// SHA-256 of its canonical form, hex.
    pub sha256: String,
    /// What it changes of the version in force; empty where there is none.
    pub changes: Vec<String>,
}

fn key(authority: &str, version: u32) -> String {
    format!("{}{version:010}", tables::within(prefix::RULEBOOK, authority))
}

fn refuse(kind: RefusalKind, reason: impl Into<String>) -> EngineError {
    EngineError::refused(kind, reason)
}

impl Engine {
    /// Reads the accepted rulebooks. Where one cannot be read, nothing fits until it is removed or can be.
    pub(super) fn load_rulebooks(&self) -> Result<(), EngineError> {
        let read = tables::whole::<RulebookRecord>(&self.store, prefix::RULEBOOK);
        let (records, unread) = match read {
            Ok(records) => (records, None),
            Err(error @ StoreError::Record { .. }) => {
                tracing::error!(%error, "nothing is offered or agreed to until this rulebook can be read, or is removed");
                let records = tables::all::<RulebookRecord>(&self.store, prefix::RULEBOOK)?;
                (records, Some(error.to_string()))
            }
            Err(error) => return Err(error.into()),
        };
        *self.in_force.unread.write().unwrap_or_else(PoisonError::into_inner) = unread;
        for record in records {
            if record.accepted.is_some() {
                self.put_in_force(&record.book);
            }
        }
        Ok(())
    }

    fn put_in_force(&self, book: &Rulebook) {
        self.claims.expect_kinds(book.credentials().map(|(_, kind)| kind));
        self.in_force.enter(book);
    }

    /// As the data space's authority: publishes the next version, signed, and announces it to every member.
    ///
    /// # Errors
    /// This node is no authority, the document cannot be read, is of another data space, breaks its own clauses with a template,
    /// or is not the next version.
    pub async fn publish_rulebook(self: &Arc<Self>, document: Json) -> Result<RulebookStanding, EngineError> {
        let space = self.authority()?.space.clone();
        let book =
            Rulebook::parse(document).map_err(|error| refuse(RefusalKind::Malformed, error.to_string()))?;
        if book.space != space {
            let reason = format!("/space: is `{}`; this node is the authority of `{space}`", book.space);
            return Err(refuse(RefusalKind::Malformed, reason));
        }
        // Members would take terms that none of them may agree on.
        let broken: Vec<_> = book
            .broken_templates(&self.known)
            .iter()
            .map(|(name, conflict)| {
                let Conflict { clause, text, reason, .. } = conflict;
                format!("the template `{name}` breaks clause {clause} (\"{text}\"): {reason}")
            })
            .collect();
        if !broken.is_empty() {
            let reason = format!("/templates: {}; change the template or the clause", broken.join("; "));
            return Err(refuse(RefusalKind::Malformed, reason));
        }
        let did = self.did().to_owned();
        let _lock = self.locks.lock(prefix::RULEBOOK).await;
        let latest = self.rulebooks_of(&did)?.last().map_or(0, |record| record.book.version);
        if book.version != latest + 1 {
            let reason = format!("/version: is {}; the next one is {}", book.version, latest + 1);
            return Err(refuse(RefusalKind::IllegalTransition, reason));
        }
        let now = clock::now();
        let statement =
            Statement { by: did.clone(), to: space, id: ids::urn(), at: now, stated: json!(book) };
        let compact = self.identity.sign_statement(&statement, RULEBOOK)?;
        // The authority is bound by what it publishes.
        let accepted = self.acceptance(&book, &did, now)?;
        let accepted = Accepted { told: Told::Yes, ..accepted };
        let record = RulebookRecord {
            authority: did.clone(),
            book,
            compact,
            received_at: now,
            accepted: Some(accepted),
        };
        let mut batch = Batch::new();
        tables::put(&mut batch, key(&did, record.book.version), &record)?;
        let text =
            format!("version {} of the rulebook of {} was published", record.book.version, record.book.space);
        tables::append_event(&mut batch, &Event::new("rulebook", now, text))?;
        self.commit(batch).await?;
        self.put_in_force(&record.book);
        let engine = Arc::clone(self);
        let body = json!({"space": record.book.space, "version": record.book.version});
        self.tasks.until_stop(async move { engine.tell_members(RULEBOOK_NOTICE, body).await });
        Ok(self.standing_of(record, now))
    }

    fn acceptance(&self, book: &Rulebook, authority: &str, now: Timestamp) -> Result<Accepted, EngineError> {
        let statement = Statement {
            by: self.did().to_owned(),
            to: authority.to_owned(),
            id: ids::urn(),
            at: now,
            stated: json!(Acceptance { rulebook: book.reference() }),
        };
        let compact = self.identity.sign_statement(&statement, ACCEPTANCE)?;
        Ok(Accepted {
            member: self.did().to_owned(),
            version: book.version,
            at: now,
            compact,
            told: Told::Pending,
        })
    }

    /// The newest version of this authority's rulebook, as signed.
    ///
    /// # Errors
    /// This node is no authority, or has published none.
    pub fn published_rulebook(&self) -> Result<String, EngineError> {
        self.authority()?;
        let newest = self.rulebooks_of(self.did())?.pop();
        let none = || EngineError::NotFound { kind: "rulebook of", id: self.did().to_owned() };
        Ok(newest.ok_or_else(none)?.compact)
    }

    fn rulebooks_of(&self, authority: &str) -> Result<Vec<RulebookRecord>, EngineError> {
        let prefix = tables::within(prefix::RULEBOOK, authority);
        Ok(tables::whole(&self.store, &prefix)?)
    }

    /// An authority says that it has a new rulebook; it is fetched.
    ///
    /// # Errors
    /// This node does not trust the caller.
    pub fn take_rulebook_notice(self: &Arc<Self>, caller: &str) -> Result<(), EngineError> {
        if !self.authorities()?.contains(caller) {
            return Err(refuse(
                RefusalKind::NotFound,
                format!("`{caller}` is no authority that this node trusts"),
            ));
        }
        let (engine, authority) = (Arc::clone(self), caller.to_owned());
        self.tasks.until_stop(async move {
            if let Err(error) = engine.fetch_rulebook(&authority).await {
                tracing::warn!(%error, authority, "the new rulebook was not fetched");
            }
        });
        Ok(())
    }

    /// Authorities whose word counts here.
    pub(super) fn authorities(&self) -> Result<std::collections::BTreeSet<String>, EngineError> {
        let (configured, added) = self.trusted()?;
        Ok(configured.into_iter().map(|one| one.did).chain(added.into_iter().map(|one| one.did)).collect())
    }

    /// Fetches the rulebook of an authority; a version that is new here waits to be accepted.
    ///
    /// # Errors
    /// The authority is not trusted or cannot be reached, the rulebook is not its own, or says something else than the
    /// same version said before.
    pub async fn fetch_rulebook(&self, authority: &str) -> Result<Option<RulebookStanding>, EngineError> {
        if !self.authorities()?.contains(authority) {
            let reason = format!("`{authority}` is no authority that this node trusts (concordat trust add)");
            return Err(refuse(RefusalKind::NotFound, reason));
        }
        if authority == self.did() {
            return Ok(None);
        }
        let document = self.resolver.refreshed(authority).await.map_err(EngineError::Peer)?;
        let service = document.service("IssuerService").ok_or_else(|| {
            EngineError::Peer(format!("the DID document of `{authority}` names no IssuerService"))
        })?;
        let url = format!("{}/{RULEBOOK_PATH}", service.trim_end_matches('/'));
        self.guard.check_url(&url).map_err(|error| EngineError::Peer(error.to_string()))?;
        let body = self.get(&url, None, MAX_RULEBOOK).await?;
        let compact =
            String::from_utf8(body).map_err(|_| EngineError::Peer(format!("{url} is no rulebook")))?;
        self.take_rulebook(authority, &compact, &document).await
    }

    async fn take_rulebook(
        &self,
        authority: &str,
        compact: &str,
        document: &trust::DidDocument,
    ) -> Result<Option<RulebookStanding>, EngineError> {
        let claimed = Claimed::read(compact, RULEBOOK, MAX_RULEBOOK)?;
        let book = Rulebook::parse(claimed.stated()?).map_err(|error| {
            refuse(RefusalKind::Malformed, format!("the rulebook of `{authority}`: {error}"))
        })?;
        // Its addressee is the data space.
        claimed.verify(document, &book.space)?;
        let _lock = self.locks.lock(prefix::RULEBOOK).await;
        let known = self.rulebooks_of(authority)?;
        if let Some(same) = known.iter().find(|record| record.book.version == book.version) {
            if same.book.digest() == book.digest() {
                return Ok(None);
            }
            let text = format!(
                "{authority} gives out a version {} of its rulebook that says something else than before; the one from before stays",
                book.version
            );
            self.record(Event::new("rulebook", clock::now(), text.clone()).with(authority)).await;
            return Err(refuse(RefusalKind::Disagreement, text));
        }
        if known
            .last()
            .is_some_and(|record| record.book.version > book.version || record.book.space != book.space)
        {
            let reason = format!(
                "version {} of `{}` is older than what is known, or of another data space",
                book.version, book.space
            );
            return Err(refuse(RefusalKind::Disagreement, reason));
        }
        let now = clock::now();
        let record = RulebookRecord {
            authority: authority.to_owned(),
            book,
            compact: compact.to_owned(),
            received_at: now,
            accepted: None,
        };
        let mut batch = Batch::new();
        tables::put(&mut batch, key(authority, record.book.version), &record)?;
        let by = record.book.accept_by.map_or_else(String::new, |by| format!(" by {by}"));
        let text = format!(
            "version {} of the rulebook of {} waits to be accepted{by}: concordat rulebook diff",
            record.book.version, record.book.space
        );
        tables::append_event(&mut batch, &Event::new("rulebook", now, text).with(authority))?;
        self.commit(batch).await?;
        Ok(Some(self.standing_of(record, now)))
    }

    /// Every version that is known here, the oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub fn rulebooks(&self) -> Result<Vec<RulebookStanding>, EngineError> {
        let now = clock::now();
        let all: Vec<RulebookRecord> = tables::all(&self.store, prefix::RULEBOOK)?;
        Ok(all.into_iter().map(|record| self.standing_of(record, now)).collect())
    }

    fn standing_of(&self, record: RulebookRecord, now: Timestamp) -> RulebookStanding {
        let in_force = self.in_force.at(now);
        let current = in_force.iter().find(|book| book.space == record.book.space);
        let state = match (current, &record.accepted) {
            (Some(current), _) if current.version == record.book.version => "in force",
            (Some(current), _) if current.version > record.book.version => "replaced",
            (_, Some(_)) => "accepted",
            (_, None) => "announced",
        };
        let newer = current.filter(|current| current.version < record.book.version);
        let changes = newer.map(|current| current.difference(&record.book)).unwrap_or_default();
        RulebookStanding { sha256: record.book.digest(), state, changes, record }
    }

    fn rulebook_of(&self, space: &str, version: u32) -> Result<RulebookRecord, EngineError> {
        let all: Vec<RulebookRecord> = tables::all(&self.store, prefix::RULEBOOK)?;
        let found = all.into_iter().find(|one| one.book.space == space && one.book.version == version);
        found.ok_or_else(|| EngineError::NotFound {
            kind: "rulebook",
            id: format!("{space}, version {version}"),
        })
    }

    /// Accepts a version with this node's signature; its authority is told.
    ///
    /// # Errors
    /// No such version, accepted before, or its authority cannot be found.
    pub async fn accept_rulebook(
        self: &Arc<Self>,
        space: &str,
        version: u32,
    ) -> Result<RulebookStanding, EngineError> {
        // Its authority may have to be asked where it is, and nobody waits for that.
        let authority = self.rulebook_of(space, version)?.authority;
        let document = self.resolver.document(&authority).await.map_err(EngineError::Peer)?;
        let service = document.service("IssuerService").ok_or_else(|| {
            EngineError::Peer(format!("the DID document of `{authority}` names no IssuerService"))
        })?;
        let _lock = self.locks.lock(prefix::RULEBOOK).await;
        let mut record = self.rulebook_of(space, version)?;
        if let Some(accepted) = &record.accepted {
            let reason = format!("it was accepted on {} already", accepted.at);
            return Err(refuse(RefusalKind::IllegalTransition, reason));
        }
        let now = clock::now();
        let accepted = self.acceptance(&record.book, &record.authority, now)?;
        let entry = OutboxEntry {
            kind: ProcessKind::Acceptance,
            pid: key(&record.authority, version),
            peer: record.authority.clone(),
            address: service.trim_end_matches('/').to_owned(),
            message: protocol::Outgoing {
                id: super::message_id(),
                path: format!("{RULEBOOK_PATH}/acceptances"),
                body: json!(StatementMessage { statement: accepted.compact.clone() }),
            },
            since: now,
        };
        record.accepted = Some(accepted);
        let mut batch = Batch::new();
        tables::put(&mut batch, entry.pid.clone(), &record)?;
        tables::put(&mut batch, tables::outbox(entry.message.id.as_str()), &entry)?;
        let text = format!("version {version} of the rulebook of {space} was accepted");
        tables::append_event(&mut batch, &Event::new("rulebook", now, text).with(&record.authority))?;
        self.commit(batch).await?;
        self.outbox.deliver(self, entry);
        self.put_in_force(&record.book);
        Ok(self.standing_of(record, now))
    }

    /// The authority has an acceptance of ours, or could not be told.
    pub(crate) async fn acceptance_told(
        &self,
        entry: &OutboxEntry,
        outcome: Result<(), Failure>,
    ) -> Result<(), EngineError> {
        let _lock = self.locks.lock(prefix::RULEBOOK).await;
        let mut batch = Batch::new();
        batch.delete(tables::outbox(entry.message.id.as_str()));
        if let Err(failure) = &outcome {
            self.set_down(entry, failure, &mut batch)?;
        }
        if let Some((mut record, version)) = tables::load::<RulebookRecord>(&self.store, &entry.pid)?
            && let Some(accepted) = &mut record.accepted
        {
            accepted.told = match outcome {
                Ok(()) => Told::Yes,
                Err(failure) => {
                    let text = format!(
                        "{} did not take the acceptance of its rulebook: {}",
                        entry.peer, failure.reason
                    );
                    tables::append_event(
                        &mut batch,
                        &Event::new("rulebook", clock::now(), text).with(&entry.peer),
                    )?;
                    Told::Not(failure.reason)
                }
            };
            batch.expect(entry.pid.clone(), Some(version));
            tables::put(&mut batch, entry.pid.clone(), &record)?;
        }
        self.commit(batch).await.map(|_| ())
    }

    /// As the authority: takes a member's acceptance.
    ///
    /// # Errors
    /// This node is no authority, the caller no member, or the acceptance is not of what was published.
    pub async fn take_acceptance(&self, caller: &str, message: &StatementMessage) -> Result<(), EngineError> {
        self.authority()?;
        let now = clock::now();
        let is_member = self
            .issued()?
            .iter()
            .any(|one| one.holder == caller && one.revoked_at.is_none() && one.until > now);
        if !is_member {
            return Err(refuse(RefusalKind::NotFound, "acceptances are for members"));
        }
        let malformed = |reason: String| refuse(RefusalKind::Malformed, format!("/statement: {reason}"));
        let claimed = Claimed::read(&message.statement, ACCEPTANCE, trust::jose::MAX_JWS)
            .map_err(|error| malformed(error.to_string()))?;
        if claimed.by() != caller {
            return Err(malformed("is of another than its sender".to_owned()));
        }
        let statement = self.hold(&claimed).await.map_err(malformed)?;
        let acceptance: Acceptance =
            serde_json::from_value(statement.stated).map_err(|error| malformed(error.to_string()))?;
        let reference = acceptance.rulebook;
        let known = self.rulebooks_of(self.did())?;
        if !known.iter().any(|record| record.book.reference() == reference) {
            return Err(malformed(format!(
                "version {} of `{}` was not published like that",
                reference.version, reference.space
            )));
        }
        let accepted = Accepted {
            member: caller.to_owned(),
            version: reference.version,
            at: statement.at,
            compact: message.statement.clone(),
            told: Told::Yes,
        };
        let mut batch = Batch::new();
        let key = format!("{}{:010}/{}", prefix::ACCEPTANCE, reference.version, trust::did::segment(caller));
        let _lock = self.locks.lock(&key).await;
        if self.store.get(&key)?.is_some() {
            return Ok(());
        }
        batch.expect(key.clone(), None);
        tables::put(&mut batch, key.clone(), &accepted)?;
        let text = format!("{caller} accepted version {} of the rulebook", reference.version);
        tables::append_event(&mut batch, &Event::new("rulebook", now, text).with(caller))?;
        self.commit(batch).await.map(|_| ())
    }

    /// As the authority: who accepted which version, and which members have not accepted the newest.
    ///
    /// # Errors
    /// This node is no authority.
    pub fn acceptances(&self) -> Result<Json, EngineError> {
        self.authority()?;
        let all: Vec<Accepted> = tables::all(&self.store, prefix::ACCEPTANCE)?;
        let newest = self.rulebooks_of(self.did())?.pop();
        let version = newest.as_ref().map_or(0, |record| record.book.version);
        let accept_by = newest.and_then(|record| record.book.accept_by);
        let now = clock::now();
        let mut missing: Vec<String> = self
            .issued()?
            .into_iter()
            .filter(|one| one.revoked_at.is_none() && one.until > now && one.holder != self.did())
            .map(|one| one.holder)
            .filter(|holder| !all.iter().any(|one| one.member == *holder && one.version == version))
            .collect();
        missing.sort();
        missing.dedup();
        let overdue = accept_by.is_some_and(|by| by < now) && !missing.is_empty();
        Ok(
            json!({"version": version, "acceptances": all, "missing": missing, "acceptBy": accept_by, "overdue": overdue}),
        )
    }

    /// Why `terms` do not fit the rulebooks in force; with `peer`, also what that party has not shown.
    pub(super) fn rulebook_conflicts(
        &self,
        terms: &Json,
        peer: Option<&str>,
        now: Timestamp,
    ) -> Vec<Conflict> {
        let mut all = Vec::new();
        for book in self.in_force.at(now) {
            all.extend(book.conflicts(terms, &self.known));
            let Some(peer) = peer else { continue };
            let (credentials, _) = self.claims.of(peer, now);
            for (clause, kind) in book.credentials() {
                if let Some(reason) = missing(&[kind.to_owned()], &credentials) {
                    all.push(book.conflict(Some(clause), reason));
                }
            }
        }
        all
    }

    /// The same for an agreement, and of each conflict whether it is with a rulebook that the agreement names: it was made under
    /// that one. Others came later, or were accepted later.
    pub(super) fn agreement_conflicts(
        &self,
        record: &AgreementRecord,
        now: Timestamp,
    ) -> Vec<(bool, Conflict)> {
        let named: Vec<Reference> = record
            .part(PROPERTY)
            .and_then(|named| serde_json::from_value(named.clone()).ok())
            .unwrap_or_default();
        let is_named = |conflict: &Conflict| {
            named.iter().any(|one| one.space == conflict.space && one.version == conflict.version)
        };
        // What the peer has shown was looked at when it was concluded; it counts again where it is known now.
        let is_known = self.claims.of(&record.peer, now).1.is_some();
        let peer = is_known.then_some(record.peer.as_str());
        let conflicts = self.rulebook_conflicts(&record.whole(), peer, now);
        conflicts.into_iter().map(|conflict| (is_named(&conflict), conflict)).collect()
    }

    /// Refuses terms that do not fit the rulebooks in force, naming the first clause.
    ///
    /// # Errors
    /// They do not fit.
    pub(super) fn fits_rulebook(
        &self,
        terms: &Json,
        peer: Option<&str>,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        if let Some(unread) = &*self.in_force.unread.read().unwrap_or_else(PoisonError::into_inner) {
            let reason =
                format!("a rulebook of this node cannot be read now, so that nothing is agreed to: {unread}");
            return Err(refuse(RefusalKind::TermsNotOffered, reason));
        }
        match self.rulebook_conflicts(terms, peer, now).first() {
            None => Ok(()),
            Some(conflict) => Err(refuse(RefusalKind::TermsNotOffered, conflict.to_string())),
        }
    }

    /// What an agreement that is made now names: the rulebooks in force.
    pub(super) fn named_rulebooks(&self, now: Timestamp) -> Map<String, Json> {
        let references: Vec<_> = self.in_force.at(now).iter().map(|book| book.reference()).collect();
        let mut map = Map::new();
        if !references.is_empty() {
            map.insert(PROPERTY.to_owned(), json!(references));
        }
        map
    }

    /// Every offer of this node and every agreement in force that does not fit the rulebooks in force.
    ///
    /// # Errors
    /// The store failed.
    pub fn check_rulebook(&self) -> Result<Json, EngineError> {
        let now = clock::now();
        let mut offers = Vec::new();
        for definition in
            tables::all::<::catalog::ContractDefinition>(&self.store, prefix::CONTRACT_DEFINITION)?
        {
            let key = tables::key(prefix::POLICY_DEFINITION, &definition.contract_policy_id);
            let policy = tables::load::<::catalog::PolicyDefinition>(&self.store, &key)?;
            let conflicts = policy
                .map(|(policy, _)| self.rulebook_conflicts(&policy.policy, None, now))
                .unwrap_or_default();
            if !conflicts.is_empty() {
                offers.push(json!({"contractDefinition": definition.id, "conflicts": conflicts}));
            }
        }
        let mut agreements = Vec::new();
        self.each_agreement(|record| {
            if record.end().is_none() {
                let conflicts = self.rulebook_conflicts(&record.whole(), Some(&record.peer), now);
                if !conflicts.is_empty() {
                    let named = record.part(PROPERTY);
                    agreements.push(json!({"agreement": record.agreement.id(), "madeUnder": named, "conflicts": conflicts}));
                }
            }
            Ok(())
        })?;
        let in_force: Vec<_> = self.in_force.at(now).iter().map(|book| book.reference()).collect();
        Ok(json!({"inForce": in_force, "offers": offers, "agreements": agreements}))
    }
}
