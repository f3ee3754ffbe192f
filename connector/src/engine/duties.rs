//! The duties of agreements: who says that they were done, by when they must be, and what follows where they were not.
//!
//! Both parties keep a ledger for each agreement. Its evidence are statements: the operator's own, and those that the
//! other party sent ([`DutyReport`]). Deadlines wake this node; nothing polls.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use policy_engine::{
    DutyState, Performed, Policy, Record, Request, Rule, RuleKind, World, due, duty_state, explain,
};
use protocol::{Failure, MessageId, Outgoing, RefusalKind, Role};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Batch, Store, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Engine, EngineError, message_id};
use crate::clock::{self, SystemClock};
use crate::tables::{
    self, AgreementRecord, Claim, DutyLedger, Event, Evidence, OutboxEntry, ProcessKind, Told, prefix,
};

/// Longest statement, in bytes.
const MAX_STATEMENT: usize = 2000;
/// A deadline is looked at this long after it, so that it is past by every reading.
const GRACE: SignedDuration = SignedDuration::from_millis(1);
/// `@type` of a report.
const REPORT: &str = "urn:concordat:DutyReport";

/// A duty, or a prohibition that was infringed, with where it stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Duty {
    /// The agreement.
    pub agreement: String,
    /// The other party of it.
    pub peer: String,
    /// Whether this node is the one who must do it.
    pub ours: bool,
    /// JSON pointer in the agreement.
    pub rule: String,
    /// In words.
    pub text: String,
    /// `fulfilled`, `pending`, `unset`, `violated`, or `infringed`.
    pub state: &'static str,
    /// By when.
    pub due: Option<Timestamp>,
    /// When it was recorded as violated or infringed.
    pub violated_at: Option<Timestamp>,
    /// What was stated about it.
    pub evidence: Vec<Evidence>,
}

/// What an operator states.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    /// JSON pointer of the duty or prohibition in the agreement.
    pub rule: String,
    /// Done, or infringed.
    pub claim: Claim,
    /// When; now otherwise.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// In words.
    pub statement: String,
}

/// A statement as one party sends it to the other: `POST {base}/agreements/{id}/duties`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DutyReport {
    /// The same on every attempt.
    #[serde(rename = "@id")]
    id: String,
    #[serde(rename = "@type")]
    kind: String,
    rule: String,
    claim: Claim,
    at: Timestamp,
    statement: String,
}

/// What has a deadline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A duty of an agreement, by its path.
    Duty(String, String),
    /// A person's request.
    Request(String),
    /// The end of a period of an agreement's service levels.
    Period(String, u64),
    /// What the other party measured in a period.
    Answer(String, u64),
}

/// What must be done when, the nearest first.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    ahead: Mutex<BTreeSet<(Timestamp, Due)>>,
    changed: Notify,
}

impl Deadlines {
    /// Looks at `due` a little after `at`, so that it is past by every reading.
    pub(super) fn expect(&self, at: Timestamp, due: Due) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.insert((at.checked_add(GRACE).unwrap_or(at), due));
        self.changed.notify_one();
    }

    fn nearest(&self) -> Option<Timestamp> {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.first().map(|(at, ..)| *at)
    }

    fn passed(&self, now: Timestamp) -> Option<Due> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if ahead.first()?.0 > now {
            return None;
        }
        ahead.pop_first().map(|(_, due)| due)
    }
}

/// What the ledger of `agreement` says as the policy engine reads it.
pub(super) fn record(store: &Store, id: &str, agreement: &AgreementRecord) -> Result<Record, StoreError> {
    let ledger = tables::load::<DutyLedger>(store, &tables::key(prefix::DUTY, id))?;
    Ok(ledger.map(|(ledger, _)| of_ledger(&ledger, agreement)).unwrap_or_default())
}

/// That something was paid is for the one who is paid to say; whoever owes it is heard, but not believed.
fn of_ledger(ledger: &DutyLedger, record: &AgreementRecord) -> Record {
    let duties = record.agreement.policy().duties();
    let payments: Vec<_> = duties.into_iter().filter(|duty| duty.action == "compensate").collect();
    let counts = |one: &&Evidence| {
        one.claim == Claim::Fulfilled
            && (record.provider() == one.by || !payments.iter().any(|duty| duty.path == one.rule))
    };
    Record {
        performed: ledger
            .evidence
            .iter()
            .filter(counts)
            .map(|one| Performed { rule: one.rule.clone(), at: Some(one.at) })
            .collect(),
        violated: ledger.violated.keys().cloned().collect(),
    }
}

impl Engine {
    /// The duties of one agreement, and its prohibitions that were infringed.
    ///
    /// # Errors
    /// Not there.
    pub fn duties(&self, agreement: &str) -> Result<Vec<Duty>, EngineError> {
        let (record, _) = self.load_agreement(agreement)?;
        let (ledger, _) = self.ledger(agreement)?;
        Ok(self.standing_duties(&record, &ledger))
    }

    /// The duties of every agreement in force.
    ///
    /// # Errors
    /// The store failed.
    pub fn all_duties(&self) -> Result<Vec<Duty>, EngineError> {
        let mut all = Vec::new();
        self.each_in_force(|record| {
            let (ledger, _) = self.ledger(record.agreement.id().as_str())?;
            all.extend(self.standing_duties(record, &ledger));
            Ok(())
        })?;
        Ok(all)
    }

    fn standing_duties(&self, record: &AgreementRecord, ledger: &DutyLedger) -> Vec<Duty> {
        let policy = record.agreement.policy();
        let agreement = record.agreement.id().to_string();
        let show = |rule: &Rule, state: &'static str| Duty {
            agreement: agreement.clone(),
            peer: record.peer.clone(),
            ours: record.role == Role::Consumer,
            rule: rule.path.clone(),
            text: explain::rule(rule),
            state,
            due: due(rule, record.concluded_at),
            violated_at: ledger.violated.get(&rule.path).copied(),
            evidence: ledger.evidence.iter().filter(|one| one.rule == rule.path).cloned().collect(),
        };
        let states = policy.duties().into_iter().map(|duty| {
            let state = match self.state_of(record, &of_ledger(ledger, record), duty) {
                DutyState::Fulfilled => "fulfilled",
                DutyState::Pending => "pending",
                DutyState::Unset => "unset",
                DutyState::Violated => "violated",
            };
            show(duty, state)
        });
        let infringed = policy.prohibitions.iter().filter(|rule| ledger.violated.contains_key(&rule.path));
        states.chain(infringed.map(|rule| show(rule, "infringed"))).collect()
    }

    fn state_of(&self, record: &AgreementRecord, done: &Record, duty: &Rule) -> DutyState {
        let target = record.agreement.target();
        let request = Request { action: "read", party: record.consumer(), target: Some(target.as_str()) };
        let world =
            World { since: Some(record.concluded_at), record: done, ..World::at(clock::now(), &self.known) };
        duty_state(duty, &request, &world)
    }

    /// Records the operator's statement about a duty and tells the other party.
    ///
    /// # Errors
    /// No such agreement or rule; a time that cannot be; a statement too long; an infringement that the consumer states.
    pub async fn state_duty(
        self: &Arc<Self>,
        agreement: &str,
        statement: Statement,
    ) -> Result<Vec<Duty>, EngineError> {
        let _lock = self.locks.lock(&tables::key(prefix::DUTY, agreement)).await;
        let (record, _) = self.load_agreement(agreement)?;
        let now = clock::now();
        let report = DutyReport {
            id: message_id().to_string(),
            kind: REPORT.to_owned(),
            rule: statement.rule,
            claim: statement.claim,
            at: statement.at.unwrap_or(now),
            statement: statement.statement,
        };
        let own = record.role;
        check(&record, own, &report, now)?;
        let message = Outgoing {
            id: MessageId::new(report.id.clone()),
            path: format!("agreements/{}/duties", trust::did::segment(agreement)),
            body: json!(report),
        };
        let entry = OutboxEntry {
            kind: ProcessKind::Agreement,
            pid: agreement.to_owned(),
            peer: record.peer.clone(),
            address: record.peer_address.clone(),
            message,
            since: now,
        };
        let evidence = evidence(report, self.did(), now, Told::Pending);
        let mut batch = Batch::new();
        tables::put(&mut batch, tables::outbox(entry.message.id.as_str()), &entry)?;
        let ledger = self.put_evidence(&record, evidence, &mut batch)?;
        self.commit(batch).await?;
        self.reconsider(agreement)?;
        self.outbox.deliver(self, entry);
        Ok(self.standing_duties(&record, &ledger))
    }

    /// Takes the other party's statement about a duty.
    ///
    /// # Errors
    /// No such agreement with this caller, or a report that does not fit it.
    pub async fn take_duty_report(
        &self,
        caller: &str,
        agreement: &str,
        report: DutyReport,
    ) -> Result<(), EngineError> {
        let _lock = self.locks.lock(&tables::key(prefix::DUTY, agreement)).await;
        let unknown = || EngineError::NotFound { kind: "agreement", id: agreement.to_owned() };
        let (record, _) = self.load_agreement(agreement)?;
        if record.peer != caller {
            // A stranger and an unknown agreement get the same answer.
            return Err(unknown());
        }
        let (ledger, _) = self.ledger(agreement)?;
        if ledger.evidence.iter().any(|one| one.id == report.id) {
            return Ok(());
        }
        let now = clock::now();
        let theirs = match record.role {
            Role::Consumer => Role::Provider,
            Role::Provider => Role::Consumer,
        };
        check(&record, theirs, &report, now)?;
        let mut batch = Batch::new();
        self.put_evidence(&record, evidence(report, caller, now, Told::Yes), &mut batch)?;
        self.commit(batch).await?;
        self.reconsider(agreement)
    }

    fn put_evidence(
        &self,
        record: &AgreementRecord,
        evidence: Evidence,
        batch: &mut Batch,
    ) -> Result<DutyLedger, EngineError> {
        let agreement = record.agreement.id().to_string();
        let (mut ledger, version) = self.ledger(&agreement)?;
        // Each party has room of its own: neither can take the other's.
        let most = usize::try_from(self.max_duty_statements).unwrap_or(usize::MAX);
        let of_party = ledger.evidence.iter().filter(|one| one.by == evidence.by).count();
        if of_party >= most {
            let reason = format!(
                "{most} statements of {} about `{agreement}` are kept, and no more are taken (duty_statements)",
                evidence.by
            );
            return Err(EngineError::refused(RefusalKind::TooMuch, reason));
        }
        let what = match evidence.claim {
            Claim::Fulfilled => "was done",
            Claim::Infringed => "was infringed",
        };
        let text = format!("{} states that `{}` {what} on {}", evidence.by, evidence.rule, evidence.at);
        let event = Event::new("duty", evidence.recorded_at, text).about(&agreement).with(&record.peer);
        tables::append_event(batch, &event)?;
        if evidence.claim == Claim::Infringed {
            ledger.violated.entry(evidence.rule.clone()).or_insert(evidence.recorded_at);
        }
        ledger.evidence.push(evidence);
        let key = tables::key(prefix::DUTY, &agreement);
        batch.expect(key.clone(), version);
        tables::put(batch, key, &ledger)?;
        Ok(ledger)
    }

    /// A statement of ours was taken by the other party, or could not be told.
    pub(crate) async fn duty_told(
        &self,
        entry: &OutboxEntry,
        outcome: Result<(), Failure>,
    ) -> Result<(), EngineError> {
        let (agreement, message) = (entry.pid.as_str(), &entry.message.id);
        let key = tables::key(prefix::DUTY, agreement);
        let _lock = self.locks.lock(&key).await;
        let (mut ledger, version) = self.ledger(agreement)?;
        let mut batch = Batch::new();
        batch.delete(tables::outbox(message.as_str()));
        if let Err(failure) = &outcome {
            self.set_down(entry, failure, &mut batch)?;
        }
        if let Some(evidence) = ledger.evidence.iter_mut().find(|one| one.id == message.as_str()) {
            evidence.told = match outcome {
                Ok(()) => Told::Yes,
                Err(failure) => {
                    let text =
                        format!("the statement about `{}` was not taken: {}", evidence.rule, failure.reason);
                    tables::append_event(
                        &mut batch,
                        &Event::new("duty", clock::now(), text).about(agreement),
                    )?;
                    Told::Not(failure.reason)
                }
            };
            batch.expect(key.clone(), version);
            tables::put(&mut batch, key, &ledger)?;
        }
        self.commit(batch).await.map(|_| ())
    }

    fn ledger(&self, agreement: &str) -> Result<(DutyLedger, Option<u64>), EngineError> {
        let found = tables::load(&self.store, &tables::key(prefix::DUTY, agreement))?;
        Ok(found.map_or_else(Default::default, |(ledger, version)| (ledger, Some(version))))
    }

    /// Waits for the deadlines of an agreement that is in force from now on.
    pub(super) fn expect_duties(&self, record: &AgreementRecord) {
        self.is_partner(&record.peer);
        if let Err(error) = self.expect_levels(record) {
            tracing::error!(%error, agreement = %record.agreement.id(), "the periods of an agreement are not known");
        }
        let policy = record.agreement.policy();
        let own = policy.permissions.iter().flat_map(|rule| &rule.duties).chain(&policy.obligations);
        for duty in own {
            if let Some(due) = due(duty, record.concluded_at) {
                let agreement = record.agreement.id().to_string();
                self.deadlines.expect(due, Due::Duty(agreement, duty.path.clone()));
            }
        }
    }

    /// Waits for the deadlines of every agreement in force.
    pub(super) fn expect_all_duties(&self) -> Result<(), EngineError> {
        self.each_in_force(|record| {
            self.expect_duties(record);
            Ok(())
        })
    }

    fn each_in_force(
        &self,
        mut visit: impl FnMut(&AgreementRecord) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.each_agreement(|record| if record.ended.is_none() { visit(record) } else { Ok(()) })
    }

    /// Records whatever is not done by its deadline, until `stop`.
    pub async fn watch_deadlines(self: Arc<Self>, stop: CancellationToken) {
        loop {
            while let Some(due) = self.deadlines.passed(clock::now()) {
                let noticed = match &due {
                    Due::Duty(agreement, rule) => self.deadline_passed(agreement, rule).await,
                    Due::Request(id) => self.request_is_due(id).await,
                    Due::Period(agreement, number) => self.period_is_over(agreement, *number).await,
                    Due::Answer(agreement, number) => self.answer_is_over(agreement, *number).await,
                };
                if let Err(error) = noticed {
                    tracing::error!(%error, ?due, "a missed deadline was not recorded");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.deadlines.changed.notified() => {}
                () = dataplane::guard::reached(self.deadlines.nearest(), &SystemClock) => {}
            }
        }
    }

    async fn deadline_passed(&self, agreement: &str, rule: &str) -> Result<(), EngineError> {
        let key = tables::key(prefix::DUTY, agreement);
        let _lock = self.locks.lock(&key).await;
        let (record, _) = self.load_agreement(agreement)?;
        let (mut ledger, version) = self.ledger(agreement)?;
        let duties = record.agreement.policy().duties();
        let Some(duty) = duties.into_iter().find(|duty| duty.path == rule) else { return Ok(()) };
        let missed = self.state_of(&record, &of_ledger(&ledger, &record), duty) == DutyState::Violated;
        // What the other party says ends none of its duties.
        if record.ended.is_some() || !missed || ledger.violated.contains_key(rule) {
            return Ok(());
        }
        let now = clock::now();
        ledger.violated.insert(rule.to_owned(), now);
        let text = format!("the duty `{rule}` was not done in time: {}", explain::rule(duty));
        let mut batch = Batch::new();
        tables::append_event(&mut batch, &Event::new("duty", now, text).about(agreement).with(&record.peer))?;
        batch.expect(key.clone(), version);
        tables::put(&mut batch, key, &ledger)?;
        self.commit(batch).await?;
        self.reconsider(agreement)
    }
}

fn evidence(report: DutyReport, by: &str, now: Timestamp, told: Told) -> Evidence {
    Evidence {
        id: report.id,
        rule: report.rule,
        claim: report.claim,
        at: report.at,
        by: by.to_owned(),
        statement: report.statement,
        recorded_at: now,
        told,
    }
}

/// A statement must be about a rule of the agreement, from when it was in force, by whoever may say so.
fn check(record: &AgreementRecord, by: Role, report: &DutyReport, now: Timestamp) -> Result<(), EngineError> {
    let refuse = |reason: String| EngineError::refused(RefusalKind::Malformed, reason);
    let policy: &Policy = record.agreement.policy();
    if report.kind != REPORT {
        return Err(refuse(format!("/@type: must be `{REPORT}`")));
    }
    if report.id.is_empty() || report.id.len() > 200 {
        return Err(refuse("/@id: must have 1 to 200 bytes".to_owned()));
    }
    if report.statement.len() > MAX_STATEMENT {
        return Err(refuse(format!("/statement: longer than {MAX_STATEMENT} bytes")));
    }
    let found = match report.claim {
        Claim::Fulfilled => policy.duties().into_iter().find(|duty| duty.path == report.rule),
        Claim::Infringed => policy.prohibitions.iter().find(|rule| rule.path == report.rule),
    };
    let Some(rule) = found else {
        let wanted = if report.claim == Claim::Fulfilled { "duty" } else { "prohibition" };
        let all: Vec<_> = policy.duties().iter().map(|duty| format!("`{}`", duty.path)).collect();
        let known = if all.is_empty() {
            "it has no duties".to_owned()
        } else {
            format!("its duties are {}", all.join(", "))
        };
        return Err(refuse(format!("/rule: `{}` is not a {wanted} of the agreement; {known}", report.rule)));
    };
    if rule.kind == RuleKind::Prohibition && by == Role::Consumer {
        return Err(refuse(
            "/claim: that a prohibition was infringed is for the provider to state".to_owned(),
        ));
    }
    // Clocks differ by a little.
    let slack = SignedDuration::from_secs(60);
    if report.at.duration_since(now) > slack || record.concluded_at.duration_since(report.at) > slack {
        return Err(refuse(format!("/at: {} is not between the agreement and now", report.at)));
    }
    Ok(())
}
