//! A period: each party states what it measured, both compute what was attained, and either may speak about it.

use std::collections::HashMap;
use std::sync::Arc;

use governance::levels::{Measure, Measured, Side, attain};
use governance::notice::{self, AboutPeriod, AttainedStatement, IN_ONE_PART, MAX_PARTS, MeasuredPart};
use jiff::{SignedDuration, Timestamp};
use protocol::{RefusalKind, Role};
use serde_json::{Value as Json, json};
use store::Batch;
use trust::Statement;

use super::{SETTLE, side};
use crate::clock;
use crate::engine::duties::Due;
use crate::engine::statements::Made;
use crate::engine::{Engine, EngineError};
use crate::tables::{
    self, AgreementRecord, Event, PeriodRecord, PeriodState, Remark, StatementRecord, prefix,
};

/// How long the other party has to state what it measured: a tenth of the period, within these bounds.
const ANSWER: (SignedDuration, SignedDuration) =
    (SignedDuration::from_secs(10), SignedDuration::from_hours(24));
/// Most parts that are recorded in one commit: each has up to a megabyte there.
const IN_ONE_COMMIT: usize = 12;
/// The longest reason, in bytes.
const MAX_REASON: usize = 2000;

fn period_key(agreement: &str, number: u64) -> String {
    format!("{}{number:012}", tables::within(prefix::PERIOD, agreement))
}

fn malformed(reason: impl Into<String>) -> EngineError {
    EngineError::refused(RefusalKind::Malformed, reason)
}

/// The parts of a period's measurements that a party has stated.
#[derive(Debug, Default)]
struct Parts {
    expected: Option<u32>,
    parts: HashMap<u32, Vec<Measured>>,
}

impl Parts {
    fn add(&mut self, part: MeasuredPart) {
        self.expected = Some(part.parts);
        self.parts.entry(part.part).or_insert(part.measured);
    }

    /// All of them; `None` where some are missing.
    fn whole(self) -> Option<Vec<Measured>> {
        let have = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        self.expected.filter(|expected| have >= *expected)?;
        Some(self.parts.into_values().flatten().collect())
    }
}

impl Engine {
    /// A period is over: what was measured is stated.
    pub(in crate::engine) async fn period_is_over(
        self: &Arc<Self>,
        agreement: &str,
        number: u64,
    ) -> Result<(), EngineError> {
        let (record, _) = self.load_agreement(agreement)?;
        let Some(promise) = self.promised.of(agreement) else { return Ok(()) };
        // The next one is expected first: whatever is wrong with this one does not stop it.
        if let Some((_, end)) = promise.levels.bounds(promise.since, number + 1)
            && record.end().is_none_or(|ended| end <= ended.at)
        {
            let at = end.checked_add(SETTLE).unwrap_or(end);
            self.deadlines.expect(at, Due::Period(agreement.to_owned(), number + 1));
        }
        // What has ended is among what is stated.
        self.write_meters(agreement).await;
        self.state_measured(&record, number, false).await
    }

    /// States what was measured in a period, once. A period in which nothing was measured, and nothing had to be done, is
    /// passed over unless the other party has stated something.
    async fn state_measured(
        self: &Arc<Self>,
        record: &AgreementRecord,
        number: u64,
        asked: bool,
    ) -> Result<(), EngineError> {
        let agreement = record.agreement.id().to_string();
        let Some(promise) = self.promised.of(&agreement) else { return Ok(()) };
        let key = period_key(&agreement, number);
        let _lock = self.locks.lock(&key).await;
        if self.store.get(&key)?.is_some() {
            return Ok(());
        }
        let (from, until) = promise.levels.bounds(promise.since, number).unwrap_or_default();
        let mut measured = self.own_measured(record, number)?;
        let within = |at: i64| (from.as_millisecond()..until.as_millisecond()).contains(&at);
        measured.retain(|one| match one {
            Measured::Read { .. } => true,
            Measured::Deletion { due, .. } => within(*due),
            Measured::Attribution { at, .. } => within(*at),
        });
        let demands = promise.levels.levels.iter().any(|level| level.measure == Measure::Attribution);
        if measured.is_empty() && !demands && !asked {
            return Ok(());
        }
        let fresh = PeriodRecord {
            agreement: agreement.clone(),
            period: number,
            state: PeriodState::Waiting,
            attainment: None,
            sha256: None,
            theirs: None,
            disputes: Vec::new(),
            breaches: Vec::new(),
        };
        let most = IN_ONE_PART * usize::try_from(MAX_PARTS).unwrap_or(1);
        if measured.len() > most {
            tracing::error!(
                agreement,
                number,
                most,
                "more was measured in a period than is stated; the rest is left out"
            );
            measured.truncate(most);
        }
        let mut parts: Vec<&[Measured]> = measured.chunks(IN_ONE_PART).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let count = u32::try_from(parts.len()).unwrap_or(MAX_PARTS);
        let mut all = Vec::new();
        for (part, measured) in (0..).zip(parts) {
            let stated = MeasuredPart { period: number, part, parts: count, measured: measured.to_vec() };
            let made = Made {
                kind: notice::MEASURED,
                text: format!("states {} measurements of period {number}", stated.measured.len()),
                stated: json!(stated),
                answers: None,
                due: None,
            };
            all.push(made);
        }
        // In one commit, or, where that would be too large, with the period's record in the last one: a period is stated as a
        // whole, or not yet, and then all of it is stated again.
        while all.len() > IN_ONE_COMMIT {
            let rest = all.split_off(IN_ONE_COMMIT);
            self.state_all(record, std::mem::replace(&mut all, rest), Batch::new()).await?;
        }
        let mut batch = Batch::new();
        batch.expect(key.clone(), None);
        tables::put(&mut batch, key, &fresh)?;
        self.state_all(record, all, batch).await?;
        let tenth = promise.levels.period.checked_div(10).unwrap_or(ANSWER.0).clamp(ANSWER.0, ANSWER.1);
        let wait = clock::now().checked_add(tenth).unwrap_or(Timestamp::MAX);
        self.deadlines.expect(wait, Due::Answer(agreement.clone(), number));
        drop(_lock);
        self.compute(record, number, false).await
    }

    /// Computes a period once both have stated what they measured; or from what this node has, where the other party's
    /// time is `over`.
    async fn compute(
        self: &Arc<Self>,
        record: &AgreementRecord,
        number: u64,
        over: bool,
    ) -> Result<(), EngineError> {
        let agreement = record.agreement.id().to_string();
        let Some(promise) = self.promised.of(&agreement) else { return Ok(()) };
        let key = period_key(&agreement, number);
        let _lock = self.locks.lock(&key).await;
        let Some((mut period, version)) = tables::load::<PeriodRecord>(&self.store, &key)? else {
            return Ok(());
        };
        if !matches!(period.state, PeriodState::Waiting | PeriodState::OneSided) {
            return Ok(());
        }
        let (_, end) = promise.levels.bounds(promise.since, number).unwrap_or_default();
        let skew = SignedDuration::from_secs(promise.levels.clock_skew);
        let not_before = end.checked_sub(skew).unwrap_or(Timestamp::MIN);
        let (mut ours, mut theirs) = (Parts::default(), Parts::default());
        self.each_statement(&agreement, |one| {
            // Nothing is stated before the period is over: what came earlier need not be opened.
            if one.kind == notice::MEASURED && one.recorded_at >= not_before {
                let parts = if one.by == self.did() { &mut ours } else { &mut theirs };
                if let Ok(part) = serde_json::from_value::<MeasuredPart>(self.stated(&one)?)
                    && part.period == number
                {
                    parts.add(part);
                }
            }
            Ok(())
        })?;
        let ours = ours.whole().unwrap_or_default();
        let theirs = theirs.whole();
        let alone = theirs.is_none();
        if alone && (!over || period.state == PeriodState::OneSided) {
            return Ok(());
        }
        let all: Vec<_> = ours.into_iter().chain(theirs.unwrap_or_default()).collect();
        let Some(attainment) = attain(&promise.levels, promise.since, number, &all) else { return Ok(()) };
        let sha256 = attainment.digest();
        period.breaches = self.breaches(&promise, &agreement, &attainment)?;
        period.state = match &period.theirs {
            _ if alone => PeriodState::OneSided,
            None => PeriodState::Computed,
            Some(theirs) if *theirs == sha256 => PeriodState::Agreed,
            Some(_) => PeriodState::Disputed,
        };
        period.sha256 = Some(sha256.clone());
        period.attainment = Some(attainment);
        let mut batch = Batch::new();
        batch.expect(key.clone(), Some(version));
        tables::put(&mut batch, key, &period)?;
        let now = clock::now();
        for breach in &period.breaches {
            let who = match breach.owed_by {
                Side::Consumer => record.consumer(),
                Side::Provider => record.provider(),
            };
            let owed = if breach.cents > 0 {
                format!(", {}", promise.levels.amount(breach.cents))
            } else {
                String::new()
            };
            let text = format!(
                "{who} missed the level `{}` in period {number} (breach {}): {}{owed}",
                breach.level,
                breach.count,
                breach.remedy.name()
            );
            tables::append_event(
                &mut batch,
                &Event::new("breach", now, text).about(&agreement).with(&record.peer),
            )?;
        }
        if alone {
            self.commit(batch).await?;
        } else {
            let stated = AttainedStatement { period: number, sha256: sha256.clone() };
            let made = Made {
                kind: notice::ATTAINED,
                text: format!("computed period {number}: {sha256}"),
                stated: json!(stated),
                answers: None,
                due: None,
            };
            self.state(record, made, batch).await?;
        }
        drop(_lock);
        if matches!(period.state, PeriodState::Agreed | PeriodState::OneSided) {
            self.remedy(record, &period).await?;
        }
        Ok(())
    }

    /// The other party's time to state what it measured is over.
    pub(in crate::engine) async fn answer_is_over(
        self: &Arc<Self>,
        agreement: &str,
        number: u64,
    ) -> Result<(), EngineError> {
        let (record, _) = self.load_agreement(agreement)?;
        self.compute(&record, number, true).await
    }

    /// What the other party stated about a period: checked before it is recorded.
    pub(in crate::engine) fn understand_period(
        &self,
        record: &AgreementRecord,
        kept: StatementRecord,
        statement: &Statement,
    ) -> Result<(StatementRecord, String), EngineError> {
        let wrong = |error: String| malformed(format!("/statement: {error}"));
        let agreement = record.agreement.id().to_string();
        let promise = self
            .promised
            .of(&agreement)
            .ok_or_else(|| wrong("the agreement promises no service levels".to_owned()))?;
        let period = statement.stated.get("period").and_then(Json::as_u64).unwrap_or_default();
        let (_, end) =
            promise.levels.bounds(promise.since, period).ok_or_else(|| wrong("no such period".to_owned()))?;
        let now = clock::now();
        let skew = SignedDuration::from_secs(promise.levels.clock_skew);
        if now < end.checked_sub(skew).unwrap_or(end) {
            return Err(wrong(format!("period {period} is not over; is a clock wrong?")));
        }
        let text = match kept.kind.as_str() {
            notice::MEASURED => {
                let part: MeasuredPart = serde_json::from_value(statement.stated.clone())
                    .map_err(|error| wrong(error.to_string()))?;
                if part.parts == 0
                    || part.parts > MAX_PARTS
                    || part.part >= part.parts
                    || part.measured.len() > IN_ONE_PART
                {
                    return Err(wrong(format!(
                        "a part has {IN_ONE_PART} measurements at most, and there are {MAX_PARTS} parts at most"
                    )));
                }
                let theirs = if record.role == Role::Consumer { Side::Provider } else { Side::Consumer };
                let own = |one: &Measured| !matches!(one, Measured::Read { by, .. } if *by != theirs);
                if !part.measured.iter().all(own) {
                    return Err(wrong("a party states what it measured itself, nothing else".to_owned()));
                }
                format!("states {} measurements of period {period}", part.measured.len())
            }
            notice::ATTAINED => {
                let stated: AttainedStatement = serde_json::from_value(statement.stated.clone())
                    .map_err(|error| wrong(error.to_string()))?;
                format!("computed period {period}: {}", stated.sha256)
            }
            _ => {
                let stated: AboutPeriod = serde_json::from_value(statement.stated.clone())
                    .map_err(|error| wrong(error.to_string()))?;
                if stated.reason.is_empty() || stated.reason.len() > MAX_REASON {
                    return Err(wrong(format!("a reason has 1 to {MAX_REASON} bytes")));
                }
                if kept.kind == notice::WAIVED {
                    let level = stated.level.as_deref().unwrap_or_default();
                    let owed_by = promise
                        .levels
                        .levels
                        .iter()
                        .find(|one| one.id == level)
                        .map(|one| one.measure.owed_by());
                    // What is owed to this node is not for the other party to waive.
                    if owed_by != Some(side(record.role)) {
                        return Err(wrong(format!("`{level}` is no level that is owed to you")));
                    }
                    format!("waives `{level}` in period {period}: {}", stated.reason)
                } else {
                    format!("disputes period {period}: {}", stated.reason)
                }
            }
        };
        Ok((kept, text))
    }

    /// What this node does once the other party has stated something about a period.
    pub(in crate::engine) async fn follow_period(
        self: &Arc<Self>,
        record: &AgreementRecord,
        statement: &Statement,
        kind: &str,
    ) -> Result<(), EngineError> {
        let number = statement.stated.get("period").and_then(Json::as_u64).unwrap_or_default();
        match kind {
            notice::MEASURED => {
                self.state_measured(record, number, true).await?;
                self.compute(record, number, false).await
            }
            notice::ATTAINED => {
                let theirs =
                    statement.stated.get("sha256").and_then(Json::as_str).unwrap_or_default().to_owned();
                let changed = self
                    .change_period(record, number, |period| {
                        period.state = match &period.sha256 {
                            None => period.state,
                            Some(_) if period.state == PeriodState::OneSided => period.state,
                            Some(ours) if *ours == theirs && period.disputes.is_empty() => {
                                PeriodState::Agreed
                            }
                            Some(_) => PeriodState::Disputed,
                        };
                        period.theirs = Some(theirs);
                        Ok(())
                    })
                    .await?;
                if changed.state == PeriodState::Agreed {
                    self.remedy(record, &changed).await?;
                }
                Ok(())
            }
            notice::DISPUTED | notice::WAIVED => {
                let about: AboutPeriod = serde_json::from_value(statement.stated.clone())
                    .map_err(|error| malformed(error.to_string()))?;
                let remark =
                    Remark { by: statement.by.clone(), at: statement.at, reason: about.reason.clone() };
                self.change_period(record, number, |period| apply(period, &about, remark)).await.map(|_| ())
            }
            _ => Ok(()),
        }
    }

    async fn change_period(
        &self,
        record: &AgreementRecord,
        number: u64,
        change: impl FnOnce(&mut PeriodRecord) -> Result<(), EngineError>,
    ) -> Result<PeriodRecord, EngineError> {
        let key = period_key(record.agreement.id().as_str(), number);
        let _lock = self.locks.lock(&key).await;
        let found = tables::load::<PeriodRecord>(&self.store, &key)?;
        let none = || EngineError::NotFound { kind: "period", id: number.to_string() };
        let (before, version) = found.ok_or_else(none)?;
        let mut period = before.clone();
        change(&mut period)?;
        if period == before {
            return Ok(period);
        }
        let waived =
            |period: &PeriodRecord| period.breaches.iter().filter(|one| one.waived.is_some()).count();
        let text = if waived(&period) > waived(&before) {
            format!("a level that was missed in period {number} was waived")
        } else {
            format!("period {number} of the service levels is {}", period.state.name())
        };
        let mut batch = Batch::new();
        let event = Event::new("levels", clock::now(), text).about(record.agreement.id().as_str());
        tables::append_event(&mut batch, &event.with(&record.peer))?;
        batch.expect(key.clone(), Some(version));
        tables::put(&mut batch, key, &period)?;
        self.commit(batch).await?;
        Ok(period)
    }

    /// Disputes a period, or waives a level that was missed in it; the other party is told.
    ///
    /// # Errors
    /// No such period or breach, something that is not this party's to waive, or no reason.
    pub async fn speak_of_period(
        self: &Arc<Self>,
        agreement: &str,
        number: u64,
        level: Option<&str>,
        reason: &str,
    ) -> Result<PeriodRecord, EngineError> {
        if reason.is_empty() || reason.len() > MAX_REASON {
            return Err(malformed(format!("reason: must have 1 to {MAX_REASON} bytes")));
        }
        let (record, _) = self.load_agreement(agreement)?;
        let about =
            AboutPeriod { period: number, level: level.map(str::to_owned), reason: reason.to_owned() };
        let remark = Remark { by: self.did().to_owned(), at: clock::now(), reason: reason.to_owned() };
        let ours = side(record.role);
        let changed = self
            .change_period(&record, number, |period| {
                let owed =
                    |name: &str| period.breaches.iter().any(|one| one.level == name && one.owed_by != ours);
                if level.is_some_and(|name| !owed(name)) {
                    return Err(malformed("only a breach of what is owed to this node can be waived"));
                }
                apply(period, &about, remark)
            })
            .await?;
        let (kind, what) = match level {
            Some(level) => (notice::WAIVED, format!("waives `{level}` in period {number}: {reason}")),
            None => (notice::DISPUTED, format!("disputes period {number}: {reason}")),
        };
        let made = Made { kind, stated: json!(about), answers: None, due: None, text: what };
        self.state(&record, made, Batch::new()).await?;
        if level.is_some() {
            self.fairness.unthrottle(agreement);
        }
        Ok(changed)
    }

    /// The periods of an agreement, the oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub fn periods(&self, agreement: &str) -> Result<Vec<PeriodRecord>, EngineError> {
        let prefix = tables::within(prefix::PERIOD, agreement);
        Ok(tables::all(&self.store, &prefix)?)
    }
}

/// What a dispute or a waiver changes.
fn apply(period: &mut PeriodRecord, about: &AboutPeriod, remark: Remark) -> Result<(), EngineError> {
    match &about.level {
        None => {
            period.disputes.push(remark);
            if period.disputes.len() > 100 {
                return Err(EngineError::refused(RefusalKind::TooMuch, "a period has 100 disputes at most"));
            }
            period.state = PeriodState::Disputed;
        }
        Some(level) => {
            if let Some(breach) = period.breaches.iter_mut().find(|one| one.level == *level) {
                breach.waived.get_or_insert(remark);
            }
        }
    }
    Ok(())
}
