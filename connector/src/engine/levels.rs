//! Service levels: reads are measured at both nodes, measurements are exchanged after each period, and what follows from
//! them is computed at both.

mod periods;
mod remedies;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use governance::levels::{Measured, Remedy, ServiceLevels, Side};
use governance::notice;
use jiff::{SignedDuration, Timestamp};
use protocol::Role;
use serde_json::{Value as Json, json};
use store::Batch;
use tokio::time::Instant;

use super::duties::Due;
use super::{Engine, EngineError};
use crate::tables::{self, AgreementRecord, Breach, Claim, DutyLedger, MeasuredRecord, PeriodState, prefix};
use crate::{clock, ids};

/// How long after the end of a period what was measured is stated: reads that have ended are written by then.
const SETTLE: SignedDuration = SignedDuration::from_secs(1);
/// Most periods that are made up for after a time in which this node did not run.
const BACKLOG: u64 = 1000;
/// Most records of measurements of one period.
const MAX_RECORDS: usize = 100_000;

/// The agreements with service levels.
#[derive(Debug, Default)]
pub(super) struct Promised {
    agreements: RwLock<HashMap<String, Arc<Promise>>>,
}

/// What an agreement promises.
#[derive(Debug)]
pub(super) struct Promise {
    pub(super) levels: ServiceLevels,
    pub(super) since: Timestamp,
    /// When something was measured last, since this node runs.
    last: Mutex<Option<Instant>>,
}

impl Promised {
    pub(super) fn of(&self, agreement: &str) -> Option<Arc<Promise>> {
        self.agreements.read().unwrap_or_else(PoisonError::into_inner).get(agreement).cloned()
    }
}

fn measured_prefix(agreement: &str, number: u64) -> String {
    format!("{}{number:012}/", tables::within(prefix::MEASURED, agreement))
}

/// Since when the periods of an agreement are counted: both parties know the time that stands in it.
fn counted_since(record: &AgreementRecord) -> Timestamp {
    let stated = record.agreement.json().get("timestamp").and_then(Json::as_str);
    stated.and_then(|at| at.parse().ok()).unwrap_or(record.concluded_at)
}

const fn side(role: Role) -> Side {
    match role {
        Role::Consumer => Side::Consumer,
        Role::Provider => Side::Provider,
    }
}

impl Engine {
    /// Measures from now on what an agreement promises, if it promises anything.
    pub(super) fn expect_levels(&self, record: &AgreementRecord) -> Result<(), EngineError> {
        let levels = match ServiceLevels::of(&record.whole()) {
            Ok(Some(levels)) => levels,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::error!(%error, agreement = %record.agreement.id(), "service levels cannot be read; nothing is measured");
                return Ok(());
            }
        };
        let (agreement, since) = (record.agreement.id().to_string(), counted_since(record));
        let last = self.periods(&agreement)?;
        let throttled = last.last().is_some_and(|one| {
            let ours = |breach: &&Breach| breach.owed_by != side(record.role) && breach.waived.is_none();
            one.breaches.iter().filter(ours).any(|breach| breach.remedy == Remedy::Throttle)
        });
        if throttled && record.role == Role::Provider {
            self.fairness.throttle(&agreement);
        }
        let now = clock::now();
        let current = levels.period_of(since, now).map_or(0, |(number, ..)| number);
        let next = last.last().map_or(0, |one| one.period + 1).max(current.saturating_sub(BACKLOG));
        for waiting in last.iter().filter(|one| one.state == PeriodState::Waiting) {
            self.deadlines.expect(now, Due::Answer(agreement.clone(), waiting.period));
        }
        if let Some((_, end)) = levels.bounds(since, next)
            && record.end().is_none_or(|ended| end <= ended.at)
        {
            self.deadlines
                .expect(end.checked_add(SETTLE).unwrap_or(end), Due::Period(agreement.clone(), next));
        }
        if record.role == Role::Consumer && record.end().is_none() && levels.probe.is_some() {
            self.probes.notify_one();
        }
        let mut agreements = self.promised.agreements.write().unwrap_or_else(PoisonError::into_inner);
        agreements.insert(agreement, Arc::new(Promise { levels, since, last: Mutex::default() }));
        Ok(())
    }

    /// As [`Self::expect_levels`], for every agreement.
    pub(super) fn expect_all_levels(&self) -> Result<(), EngineError> {
        self.each_agreement(|record| self.expect_levels(record))
    }

    /// Whether reads under an agreement are measured.
    pub(crate) fn is_measured(&self, agreement: &str) -> bool {
        self.promised.of(agreement).is_some()
    }

    /// Agreements that this node probes as their consumer, with how long nothing may be read before it does.
    pub(crate) fn probed(&self) -> Vec<(String, std::time::Duration)> {
        let agreements = self.promised.agreements.read().unwrap_or_else(PoisonError::into_inner);
        let after = |promise: &Promise| promise.levels.probe.and_then(|after| after.try_into().ok());
        let all: Vec<_> = agreements
            .iter()
            .filter_map(|(agreement, promise)| Some((agreement.clone(), after(promise)?)))
            .collect();
        drop(agreements);
        let ours = |agreement: &str| {
            self.load_agreement(agreement)
                .is_ok_and(|(record, _)| record.role == Role::Consumer && record.end().is_none())
        };
        all.into_iter().filter(|(agreement, _)| ours(agreement)).collect()
    }

    /// Waits until there may be more to probe.
    pub(crate) async fn probes_changed(&self) {
        self.probes.notified().await;
    }

    /// When something was measured last under an agreement, since this node runs.
    pub(crate) fn last_measured(&self, agreement: &str) -> Option<Instant> {
        *self.promised.of(agreement)?.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transfer of an agreement that could be read now.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn readable_transfer(&self, agreement: &str) -> Result<Option<String>, EngineError> {
        for pid in self.transfers_of(agreement)? {
            let transfer = self.transfer(&pid)?.transfer;
            let started = transfer.progress.state == Some(protocol::transfer::State::Started);
            if started && transfer.is_open() && transfer.data_address.is_some() {
                return Ok(Some(pid));
            }
        }
        Ok(None)
    }

    /// Puts measurements into a batch.
    pub(super) fn put_measured(
        &self,
        agreement: &str,
        measured: Vec<Measured>,
        batch: &mut Batch,
    ) -> Result<(), store::StoreError> {
        let Some(promise) = self.promised.of(agreement) else { return Ok(()) };
        if !measured.is_empty() {
            *promise.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        let mut by_period: HashMap<u64, Vec<Measured>> = HashMap::new();
        for one in measured {
            let Measured::Read { at, .. } = one else { continue };
            let Ok(at) = Timestamp::from_millisecond(at) else { continue };
            if let Some((number, ..)) = promise.levels.period_of(promise.since, at) {
                by_period.entry(number).or_default().push(one);
            }
        }
        for (number, measured) in by_period {
            let key = format!("{}{}", measured_prefix(agreement, number), ids::urn());
            tables::put(batch, key, &MeasuredRecord { measured })?;
        }
        Ok(())
    }

    /// What this node measured in a period, with what both know from statements.
    fn own_measured(&self, record: &AgreementRecord, number: u64) -> Result<Vec<Measured>, EngineError> {
        let agreement = record.agreement.id().to_string();
        let found =
            tables::first::<MeasuredRecord>(&self.store, &measured_prefix(&agreement, number), MAX_RECORDS)?;
        let mut all: Vec<_> = found.into_iter().flat_map(|one| one.measured).collect();
        all.extend(self.stated_facts(record)?);
        Ok(all)
    }

    /// Deletions and attributions: both parties have the statements.
    fn stated_facts(&self, record: &AgreementRecord) -> Result<Vec<Measured>, EngineError> {
        let agreement = record.agreement.id().to_string();
        let (mut confirmed, mut notices) = (HashMap::new(), Vec::new());
        self.each_statement(&agreement, |one| {
            confirmed.extend(one.answers.map(|notice| (notice, one.at.as_millisecond())));
            if one.kind == notice::WITHDRAWAL {
                notices.extend(one.due.map(|due| (one.id, due.as_millisecond())));
            }
            Ok(())
        })?;
        let deletions = notices.into_iter().map(|(id, due)| {
            let done = confirmed.get(&id).copied();
            Measured::Deletion { id, due, done }
        });
        let mut all: Vec<_> = deletions.collect();
        let duties = tables::load::<DutyLedger>(&self.store, &tables::key(prefix::DUTY, &agreement))?;
        let attributions: Vec<_> = record
            .agreement
            .policy()
            .duties()
            .into_iter()
            .filter(|duty| duty.action == "attribute")
            .map(|duty| duty.path.clone())
            .collect();
        let stated = duties.into_iter().flat_map(|(ledger, _)| ledger.evidence);
        let stated = stated.filter(|one| one.claim == Claim::Fulfilled && attributions.contains(&one.rule));
        all.extend(stated.map(|one| Measured::Attribution { id: one.id, at: one.at.as_millisecond() }));
        Ok(all)
    }

    /// What an agreement promises, in words and as it stands; with its periods.
    ///
    /// # Errors
    /// No such agreement.
    pub fn levels_of(&self, agreement: &str) -> Result<Json, EngineError> {
        let (record, _) = self.load_agreement(agreement)?;
        let Some(promise) = self.promised.of(agreement) else {
            return Ok(json!({"agreement": agreement, "levels": null, "words": [], "periods": []}));
        };
        Ok(json!({
            "agreement": agreement, "provider": record.provider(), "consumer": record.consumer(),
            "since": promise.since, "levels": promise.levels, "words": promise.levels.words(),
            "periods": self.periods(agreement)?,
        }))
    }
}
