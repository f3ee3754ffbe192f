//! Agreements: in force, ended, exported.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::Automation;
use governance::notice::{self, AgreementEnd};
use jiff::{SignedDuration, Timestamp};
use policy_engine::{Atomic, Operator, Policy, Value};
use protocol::negotiation::Negotiation;
use protocol::wire::{Agreement, Parts};
use protocol::{RefusalKind, Role};
use serde_json::{Value as Json, json};
use store::{Batch, CommitError, StoreError};
use trust::{DidDocument, SignerRole, Statement};

use super::negotiations::named_in;
use super::statements::Made;
use super::{Engine, EngineError};
use crate::clock;
use crate::tables::{self, AgreementRecord, Ended, Event, StatementRecord, Usage, prefix};

/// How far the clocks of two parties may be apart.
const SKEW: SignedDuration = SignedDuration::from_secs(trust::token::SKEW);

/// An agreement with what was used of it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The agreement.
    pub record: AgreementRecord,
    /// What was read under it here.
    pub usage: Usage,
    /// How many reads run now.
    pub reads: usize,
}

impl Standing {
    /// Whether use may be permitted at `now`: neither side ended it, and its time is not over.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        is_in_force(&self.record, now)
    }

    /// Until when use is permitted, where the terms say so.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        last_end(self.record.agreement.policy())
    }
}

/// Whether use may be permitted under an agreement at `now`: neither side ended it, and its time is not over.
pub(in crate::engine) fn is_in_force(record: &AgreementRecord, now: Timestamp) -> bool {
    record.end().is_none() && last_end(record.agreement.policy()).is_none_or(|end| end > now)
}

/// The latest end of the ways in which `policy` permits use; each ends with the first of its bounds.
pub(super) fn last_end(policy: &Policy) -> Option<Timestamp> {
    let bound = |atomic: &&Atomic| match atomic.right.first() {
        Some(Value::Instant(at)) if matches!(atomic.operator, Operator::Lt | Operator::Lteq) => Some(*at),
        Some(Value::Day(day)) if atomic.operator == Operator::Lt => Some(day.start()),
        Some(Value::Day(day)) if atomic.operator == Operator::Lteq => Some(day.end()),
        _ => None,
    };
    let mut last = None;
    for permission in &policy.permissions {
        for way in policy_engine::ways(&permission.constraints)? {
            // One without an end has none.
            let end = way.iter().filter(|atomic| atomic.left == "dateTime").filter_map(bound).min()?;
            last = last.max(Some(end));
        }
    }
    last
}

/// An agreement made elsewhere.
#[derive(Debug, Clone)]
pub struct Import {
    /// As both know it.
    pub agreement: Agreement,
    /// What stands beside it and is agreed with it.
    pub parts: Parts,
    /// Base address of the other party's endpoints.
    pub peer_address: String,
    /// The provider's signature, if there is one.
    pub provider_signature: Option<String>,
    /// The consumer's signature, if there is one.
    pub consumer_signature: Option<String>,
    /// DID documents that the signatures are checked against, by DID.
    pub did_documents: BTreeMap<String, Json>,
    /// Provider: who starts transfers under it.
    pub automation: Automation,
}

impl Engine {
    /// Takes over an agreement made elsewhere. Whether it opens the gate is for the node's signature mode.
    ///
    /// # Errors
    /// This node is no party of it, a signature does not hold, or it is there already.
    pub async fn import_agreement(&self, import: Import) -> Result<Standing, EngineError> {
        let refuse = |reason: String| EngineError::refused(RefusalKind::Disagreement, reason);
        let agreement = &import.agreement;
        // Who stands behind another id than a DID, this node's own configuration says.
        let names = self.rules.all_names(self.did());
        let names = named_in(agreement, names.as_map());
        let bound = trust::Bound { agreement: agreement.json(), parts: import.parts.as_map(), names: &names };
        let party = |role| bound.party(role).unwrap_or_default();
        let (assigner, assignee) = (party(SignerRole::Provider), party(SignerRole::Consumer));
        let (role, peer) = if assigner == self.did() {
            (Role::Provider, assignee.to_owned())
        } else if assignee == self.did() {
            (Role::Consumer, assigner.to_owned())
        } else {
            return Err(refuse(format!(
                "this node is `{}`, which is no party of that agreement",
                self.did()
            )));
        };
        import.parts.check_words(agreement).map_err(|reason| refuse(format!("agreement{reason}")))?;
        self.guard
            .check_url(&import.peer_address)
            .map_err(|error| refuse(format!("counterPartyAddress: {error}")))?;
        for (role, signature, party) in [
            (SignerRole::Provider, &import.provider_signature, assigner),
            (SignerRole::Consumer, &import.consumer_signature, assignee),
        ] {
            let Some(signature) = signature else { continue };
            let document = import.did_documents.get(party).cloned().unwrap_or_default();
            DidDocument::parse(document, party)
                .and_then(|document| trust::agreement::verify(signature, role, bound, &document))
                .map_err(|error| refuse(error.to_string()))?;
        }
        let id = agreement.id().to_string();
        let key = tables::key(prefix::AGREEMENT, &id);
        if self.store.get(&key)?.is_some() {
            return Err(refuse(format!("the agreement `{id}` is here already")));
        }
        let now = clock::now();
        let record = AgreementRecord {
            agreement: import.agreement,
            parts: import.parts,
            names,
            role,
            peer: peer.clone(),
            peer_address: import.peer_address.trim_end_matches('/').to_owned(),
            negotiation: String::new(),
            provider_signature: import.provider_signature,
            consumer_signature: import.consumer_signature,
            did_documents: import.did_documents,
            shown: None,
            automation: import.automation,
            imported: true,
            concluded_at: now,
            ended: None,
            ended_there: None,
        };
        let mut batch = Batch::new();
        batch.expect(key.clone(), None);
        tables::put(&mut batch, key, &record)?;
        let event =
            Event::new("agreement", now, "an agreement made elsewhere was imported").about(&id).with(&peer);
        tables::append_event(&mut batch, &event)?;
        self.commit(batch).await?;
        self.claims.expect(record.agreement.policy(), &self.known);
        self.expect_duties(&record);
        self.retention.agreed(&record.peer);
        self.agreement(&id)
    }

    /// One agreement.
    ///
    /// # Errors
    /// Not there.
    pub fn agreement(&self, id: &str) -> Result<Standing, EngineError> {
        let (record, _) = self.load_agreement(id)?;
        // In this order: once no read is open, the store has all of them.
        let reads = self.meters.unsettled(id);
        let usage = tables::load(&self.store, &tables::key(prefix::USAGE, id))?
            .map_or_else(Usage::default, |(usage, _)| usage);
        Ok(Standing { record, usage, reads })
    }

    pub(super) fn load_agreement(&self, id: &str) -> Result<(AgreementRecord, u64), EngineError> {
        let found = tables::load(&self.store, &tables::key(prefix::AGREEMENT, id))?;
        found.ok_or_else(|| EngineError::NotFound { kind: "agreement", id: id.to_owned() })
    }

    /// Ends an agreement from this side: no data flows under it from this moment, running streams are cut, and the
    /// peer is told by the termination of each transfer.
    ///
    /// # Errors
    /// Not there, or ended before.
    pub async fn end_agreement(self: &Arc<Self>, id: &str, reason: &str) -> Result<Standing, EngineError> {
        {
            let _lock = self.locks.lock(id).await;
            let (record, version) = self.load_agreement(id)?;
            if let Some(ended) = &record.ended {
                let text = format!("the agreement was ended on {} already: {}", ended.at, ended.reason);
                return Err(EngineError::refused(RefusalKind::IllegalTransition, text));
            }
            let now = clock::now();
            let ending = || {
                let mut batch = Batch::new();
                batch.expect(tables::key(prefix::AGREEMENT, id), Some(version));
                put_end(&mut batch, record.clone(), reason, now)?;
                Ok::<_, EngineError>(batch)
            };
            // A party that signs agreements as this node does understands what is stated about them.
            let is_told = record.provider_signature.is_some() && record.consumer_signature.is_some();
            let told = if is_told {
                let stated = json!(AgreementEnd { at: now, reason: reason.to_owned() });
                let text = format!("states that it ended the agreement: {reason}");
                let made = Made { kind: notice::ENDED, stated, answers: None, due: None, text };
                self.state(&record, made, ending()?).await.map(|()| true)
            } else {
                Ok(false)
            };
            match told {
                Ok(true) => {}
                Err(EngineError::Store(error)) => return Err(error.into()),
                // It ends in any case: the other side hears of it from its transfers.
                untold => {
                    if let Err(error) = untold {
                        tracing::warn!(%error, agreement = id, "the other party is not told of the end of an agreement");
                    }
                    self.commit(ending()?).await?;
                }
            }
        }
        self.end_transfers(id).await?;
        self.agreement(id)
    }

    /// A negotiation that is terminated after this side had finalized it takes its agreement with it. Adds that to
    /// `batch` and returns the agreement's id.
    pub(super) fn end_concluded(
        &self,
        negotiation: &Negotiation,
        batch: &mut Batch,
    ) -> Result<Option<String>, EngineError> {
        let Some(agreement) = &negotiation.agreement else { return Ok(None) };
        let id = agreement.id().to_string();
        let key = tables::key(prefix::AGREEMENT, &id);
        match tables::load::<AgreementRecord>(&self.store, &key)? {
            Some((record, version)) if record.ended.is_none() => {
                batch.expect(key, Some(version));
                put_end(batch, record, "its negotiation was terminated", clock::now())?;
                Ok(Some(id))
            }
            _ => Ok(None),
        }
    }

    /// What the other side says of the end of an agreement: added to `batch`, beside what this side says.
    pub(super) fn understand_end(
        &self,
        kept: StatementRecord,
        statement: &Statement,
        batch: &mut Batch,
    ) -> Result<(StatementRecord, String), EngineError> {
        let malformed =
            |reason: String| EngineError::refused(RefusalKind::Malformed, format!("/statement: {reason}"));
        let end: AgreementEnd =
            serde_json::from_value(statement.stated.clone()).map_err(|error| malformed(error.to_string()))?;
        if end.reason.len() > notice::MAX_WORDS {
            return Err(malformed(format!("the reason is longer than {} bytes", notice::MAX_WORDS)));
        }
        let (record, version) = self.load_agreement(&kept.agreement)?;
        if end.at > statement.at.checked_add(SKEW).unwrap_or(end.at)
            || end.at < record.concluded_at.checked_sub(SKEW).unwrap_or(end.at)
        {
            return Err(malformed(format!(
                "an agreement ends after it was made, and is ended when that is stated, not on {}; is a clock wrong?",
                end.at
            )));
        }
        if let Some(before) = &record.ended_there {
            return Err(malformed(format!("its sender ended the agreement on {} already", before.at)));
        }
        let key = tables::key(prefix::AGREEMENT, &kept.agreement);
        batch.expect(key.clone(), Some(version));
        let text = format!("ended the agreement: {}", end.reason);
        let ended_there = Some(Ended { at: end.at, reason: end.reason, heard_at: Some(clock::now()) });
        tables::put(batch, key, &AgreementRecord { ended_there, ..record })?;
        Ok((kept, text))
    }

    /// Terminates every open transfer of an ended agreement.
    pub(super) async fn end_transfers(self: &Arc<Self>, agreement: &str) -> Result<(), EngineError> {
        let (record, _) = self.load_agreement(agreement)?;
        let Some(ended) = record.ended else { return Ok(()) };
        let side = match record.role {
            Role::Consumer => "consumer",
            Role::Provider => "provider",
        };
        let reason = format!("the {side} ended the agreement {agreement}: {}", ended.reason);
        for pid in self.transfers_of(agreement)? {
            // The streams stop first; the messages may take longer.
            self.streams.cut(&pid, &reason);
            match self.terminate_transfer(&pid, &reason).await {
                // A transfer that is over needs no end, and one that cannot be read is closed.
                Ok(_)
                | Err(
                    EngineError::Refused(_)
                    | EngineError::Store(CommitError::Store(StoreError::Record { .. })),
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Carries out the ends of agreements that a stop of the node interrupted.
    pub(super) async fn finish_ending(self: &Arc<Self>) -> Result<(), EngineError> {
        let mut ended = Vec::new();
        self.each_agreement(|record| {
            ended.extend(record.ended.as_ref().map(|_| record.agreement.id().to_string()));
            Ok(())
        })?;
        for agreement in ended {
            if let Err(error) = self.end_transfers(&agreement).await {
                tracing::error!(%error, agreement, "the transfers of an agreement that was ended were not ended");
            }
        }
        Ok(())
    }

    /// Refuses to go on where this node provides `dataset` under an agreement in force.
    ///
    /// # Errors
    /// There is such an agreement, or the store failed.
    pub fn expect_no_agreement_about(&self, dataset: &str) -> Result<(), EngineError> {
        let mut found = None;
        let now = clock::now();
        self.each_agreement(|record| {
            let about = is_in_force(record, now)
                && record.role == Role::Provider
                && record.agreement.target().as_str() == dataset;
            if about {
                found.get_or_insert_with(|| record.agreement.id().to_string());
            }
            Ok(())
        })?;
        let Some(agreement) = found else { return Ok(()) };
        let reason = format!(
            "the agreement `{agreement}` about `{dataset}` is in force; end it first, or remove the asset with ?force=true"
        );
        Err(EngineError::refused(RefusalKind::Disagreement, reason))
    }

    /// Visits every agreement, in the order of ids. What is wrong with one of them stops none of the others.
    pub(super) fn each_agreement(
        &self,
        mut visit: impl FnMut(&AgreementRecord) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut after: Option<String> = None;
        loop {
            let page =
                tables::list::<AgreementRecord>(&self.store, prefix::AGREEMENT, after.as_deref(), 500)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (_, record) in &page {
                if let Err(error) = visit(record) {
                    let agreement = record.agreement.id();
                    tracing::error!(%error, %agreement, "an agreement is passed over");
                }
            }
        }
    }
}

fn put_end(
    batch: &mut Batch,
    record: AgreementRecord,
    reason: &str,
    now: Timestamp,
) -> Result<(), EngineError> {
    let id = record.agreement.id().to_string();
    let event = Event::new("agreement", now, format!("the agreement was ended: {reason}"))
        .about(&id)
        .with(&record.peer);
    tables::append_event(batch, &event)?;
    let ended = Ended { at: now, reason: reason.to_owned(), heard_at: None };
    let record = AgreementRecord { ended: Some(ended), ..record };
    Ok(tables::put(batch, tables::key(prefix::AGREEMENT, &id), &record)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn use_ends_with_the_last_of_the_ways_that_permit_it() {
        let until = |day: u8| json!({"leftOperand": "dateTime", "operator": "lt", "rightOperand": format!("2030-01-0{day}T00:00:00Z")});
        let purpose = json!({"leftOperand": "purpose", "operator": "eq", "rightOperand": "urn:p"});
        let end = |permissions: serde_json::Value| {
            let policy = Policy::parse(&json!({"@type": "Set", "permission": permissions})).unwrap();
            last_end(&policy).map(|at| at.to_string())
        };
        let of = |constraint: serde_json::Value| json!({"action": "use", "constraint": [constraint]});
        let day = |day: u8| Some(format!("2030-01-0{day}T00:00:00Z"));
        assert_eq!(end(json!([of(until(1)), of(until(3))])), day(3), "the second permission goes on");
        assert_eq!(end(json!([of(json!({"and": [until(1), until(3)]}))])), day(1));
        assert_eq!(end(json!([of(json!({"or": [until(1), until(2)]}))])), day(2));
        assert_eq!(end(json!([of(json!({"or": [until(1), purpose]}))])), None, "one way has no end");
    }
}
