//! Shared datasets that this node uses, each under a name of its own: which agreement is in force, and a transfer that
//! runs under it.

use std::sync::Arc;
use std::time::Duration;

use catalog::HTTP_PULL;
use dataplane::Metered;
use jiff::Timestamp;
use protocol::transfer::State;
use protocol::{RefusalKind, Role};
use store::Batch;

use super::agreements::{is_in_force, last_end};
use super::transfers::is_over;
use super::{Engine, EngineError};
use crate::clock;
use crate::tables::{self, AgreementRecord, Attached, Event, Usage, Used, prefix};

/// Longest wait for the provider's start.
const START: Duration = Duration::from_secs(20);
/// Longest name.
const MAX_NAME: usize = 64;
/// Agreements under which a transfer is asked for, where the provider refuses.
const TRIED: usize = 3;
/// Agreements looked at together.
const PAGE: usize = 500;

/// A dataset in use, with what is known of it.
#[derive(Debug, Clone)]
pub struct InUse {
    /// The record.
    pub used: Used,
    /// What was read.
    pub usage: Usage,
    /// The agreement it is read under now; `None` where none is in force.
    pub agreement: Option<AgreementRecord>,
}

impl InUse {
    /// Until when use is permitted, where the terms say so.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.agreement.as_ref().and_then(until)
    }
}

/// The latest end of the ways in which use is permitted; each ends with the first of its bounds.
fn until(record: &AgreementRecord) -> Option<Timestamp> {
    last_end(record.agreement.policy())
}

/// Whether this node may read under it, as far as it knows; the provider may know more.
fn may_be_read(record: &AgreementRecord) -> bool {
    record.role == Role::Consumer && is_in_force(record, clock::now())
}

impl Engine {
    /// Takes a dataset into use under `name`.
    ///
    /// # Errors
    /// The name cannot be used, or there is no such agreement in force as the consumer.
    pub async fn use_as(
        &self,
        name: &str,
        agreement: &str,
        distribution: Option<String>,
    ) -> Result<InUse, EngineError> {
        let plain = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-' || one == '_';
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
            return Err(EngineError::refused(
                RefusalKind::Malformed,
                format!("a name has 1 to {MAX_NAME} small letters, digits, `-` and `_`, unlike `{name}`"),
            ));
        }
        let (record, _) = self.load_agreement(agreement)?;
        if record.role != Role::Consumer || record.end().is_some() {
            return Err(EngineError::refused(
                RefusalKind::Disagreement,
                format!("`{agreement}` is no agreement in force under which this node reads"),
            ));
        }
        let key = tables::key(prefix::USED, name);
        let _lock = self.locks.lock(&key).await;
        let before = tables::load::<Used>(&self.store, &key)?;
        let used = Used {
            name: name.to_owned(),
            provider: record.peer.clone(),
            dataset: record.agreement.target().to_string(),
            distribution,
            agreement: agreement.to_owned(),
            transfer: None,
            since: before.as_ref().map_or_else(clock::now, |(used, _)| used.since),
        };
        let mut batch = Batch::new();
        batch.expect(key.clone(), before.as_ref().map(|(_, version)| *version));
        tables::put(&mut batch, key, &used)?;
        let text = format!("{} is used as `{name}` under {agreement}", used.dataset);
        tables::append_event(&mut batch, &Event::new("use", clock::now(), text).with(&used.provider))?;
        self.commit(batch).await?;
        self.in_use(name)
    }

    /// Takes a name out of use; the agreement stays.
    ///
    /// # Errors
    /// No such name.
    pub async fn use_no_more(self: &Arc<Self>, name: &str) -> Result<(), EngineError> {
        let key = tables::key(prefix::USED, name);
        let _lock = self.locks.lock(&key).await;
        let used = self.in_use(name)?.used;
        let mut batch = Batch::new();
        batch.delete(key);
        batch.delete(tables::key(prefix::USED_USAGE, name));
        let text = format!("{} is not used as `{name}` any more", used.dataset);
        tables::append_event(&mut batch, &Event::new("use", clock::now(), text).with(&used.provider))?;
        self.commit(batch).await?;
        if let Some(transfer) = used.transfer
            && let Ok(record) = self.transfer(&transfer)
            && !is_over(&record.transfer)
        {
            self.complete_transfer(&transfer).await.map(|_| ())?;
        }
        Ok(())
    }

    /// A dataset in use.
    ///
    /// # Errors
    /// No such name.
    pub fn in_use(&self, name: &str) -> Result<InUse, EngineError> {
        let found = tables::load::<Used>(&self.store, &tables::key(prefix::USED, name))?;
        let (used, _) = found.ok_or_else(|| EngineError::NotFound {
            kind: "dataset in use with the name",
            id: name.to_owned(),
        })?;
        self.with_usage(used)
    }

    /// All datasets in use, by name.
    ///
    /// # Errors
    /// The store failed.
    pub fn all_in_use(&self) -> Result<Vec<InUse>, EngineError> {
        tables::all::<Used>(&self.store, prefix::USED)?
            .into_iter()
            .map(|used| self.with_usage(used))
            .collect()
    }

    fn with_usage(&self, used: Used) -> Result<InUse, EngineError> {
        let usage = tables::load(&self.store, &tables::key(prefix::USED_USAGE, &used.name))?;
        let agreement = self.agreement_for(&used)?;
        Ok(InUse { usage: usage.map(|(usage, _)| usage).unwrap_or_default(), agreement, used })
    }

    /// The agreement it is read under: the first of [`Self::agreements_for`].
    fn agreement_for(&self, used: &Used) -> Result<Option<AgreementRecord>, EngineError> {
        match self.load_agreement(&used.agreement) {
            Ok((record, _)) if may_be_read(&record) => return Ok(Some(record)),
            Ok(_) | Err(EngineError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(self.agreements_for(used)?.into_iter().next())
    }

    /// Agreements about the same dataset that may be in force: the one it is read under, then the others, newest first.
    fn agreements_for(&self, used: &Used) -> Result<Vec<AgreementRecord>, EngineError> {
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page =
                tables::list::<AgreementRecord>(&self.store, prefix::AGREEMENT, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            found.extend(page.into_iter().map(|(_, record)| record).filter(|record| {
                may_be_read(record)
                    && record.peer == used.provider
                    && record.agreement.target().as_str() == used.dataset
            }));
        }
        let is_other = |record: &AgreementRecord| record.agreement.id().as_str() != used.agreement;
        found.sort_by_key(|record| (is_other(record), std::cmp::Reverse(record.concluded_at)));
        Ok(found)
    }

    /// A started transfer for what is used as `name`: the one that runs, or a new one. Whoever reads meanwhile waits for the
    /// same one.
    ///
    /// # Errors
    /// No such name, no agreement in force, the provider suspended the transfer, cannot be reached, or does not start one in
    /// time.
    pub async fn transfer_for_use(self: &Arc<Self>, name: &str) -> Result<(Used, String), EngineError> {
        let mut refused: Vec<(String, String)> = Vec::new();
        loop {
            let (used, transfer) = self.transfer_asked_for(name, &refused).await?;
            match self.until_started(&transfer).await {
                Ok(()) => return Ok((used, transfer)),
                // The provider ended that one, perhaps; there may be another.
                Err(EngineError::Refused(refusal)) => refused.push((used.agreement, refusal.reason)),
                Err(error) => return Err(error),
            }
        }
    }

    /// The transfer that is used as `name` while it is not over, else one that is asked for now, under another agreement than
    /// those `refused` (with the reasons).
    async fn transfer_asked_for(
        self: &Arc<Self>,
        name: &str,
        refused: &[(String, String)],
    ) -> Result<(Used, String), EngineError> {
        let _lock = self.locks.lock(&format!("{}{name}/transfer", prefix::USED)).await;
        let key = tables::key(prefix::USED, name);
        let found = tables::load::<Used>(&self.store, &key)?;
        let (mut used, version) = found.ok_or_else(|| EngineError::NotFound {
            kind: "dataset in use with the name",
            id: name.to_owned(),
        })?;
        let disagreement = |text: String| EngineError::refused(RefusalKind::Disagreement, text);
        if let Some(transfer) = used.transfer.clone()
            && let Ok(record) = self.transfer(&transfer)
            && !is_over(&record.transfer)
            && self.load_agreement(&used.agreement).is_ok_and(|(agreement, _)| may_be_read(&agreement))
        {
            if record.transfer.progress.state == Some(State::Suspended) {
                let last = record.transfer.progress.history.last().map_or("", |entry| entry.text.as_str());
                return Err(disagreement(format!(
                    "the transfer {transfer} does not run now: {last} (concordat transfers resume {transfer})"
                )));
            }
            return Ok((used, transfer));
        }
        let was_refused = |id: &str| refused.iter().any(|(one, _)| one == id);
        let mut left = self.agreements_for(&used)?.into_iter().take(TRIED);
        let Some(agreement) = left.find(|one| !was_refused(one.agreement.id().as_str())) else {
            let why = refused.last().map(|(_, reason)| format!(": {reason}")).unwrap_or_default();
            return Err(disagreement(format!(
                "no agreement about `{}` with {} is in force any more{why}; negotiate one: concordat use {0} --from {1} --as {name}",
                used.dataset, used.provider
            )));
        };
        let id = agreement.agreement.id().to_string();
        let requested = self.request_transfer(&id, HTTP_PULL, None, None, Attached::default()).await?;
        let transfer = requested.transfer.pid().to_owned();
        // At once: who reads while the provider is away waits for this one, and asks for no other.
        (used.agreement, used.transfer) = (id, Some(transfer.clone()));
        let mut batch = Batch::new();
        batch.expect(key.clone(), Some(version));
        tables::put(&mut batch, key, &used)?;
        self.commit(batch).await?;
        Ok((used, transfer))
    }

    /// Waits for the provider's start: each commit is looked at, nothing is polled. Where the request cannot be delivered,
    /// nobody waits: it goes on being tried.
    async fn until_started(&self, transfer: &str) -> Result<(), EngineError> {
        let mut commits = self.commits();
        let waiting = async {
            loop {
                commits.borrow_and_update();
                let transfer = self.transfer(transfer)?.transfer;
                let pending = transfer.progress.pending.as_ref().map(|pending| &pending.message);
                let undelivered = pending.and_then(|message| self.outbox.trouble(message));
                if is_over(&transfer) {
                    let problem = transfer.progress.problem.unwrap_or_default();
                    let text = format!("the provider does not start the transfer: {problem}");
                    return Err(EngineError::refused(RefusalKind::Disagreement, text));
                }
                if transfer.progress.state == Some(State::Started) && transfer.is_open() {
                    return Ok(());
                }
                let troubled = async {
                    let Some(mut trouble) = undelivered else { return std::future::pending().await };
                    let reason = trouble.wait_for(Option::is_some).await.map(|reason| reason.clone());
                    match reason.ok().flatten() {
                        Some(reason) => reason,
                        // It was taken, or given up; that is a commit.
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = commits.changed() => if changed.is_err() {
                        return Err(EngineError::Peer("this node is stopping".to_owned()));
                    },
                    reason = troubled => {
                        let text = format!(
                            "the provider does not take the request for the data now, which is tried again: {reason}"
                        );
                        return Err(EngineError::Peer(text));
                    }
                }
            }
        };
        let waited = tokio::time::timeout(START, waiting).await;
        waited.unwrap_or_else(|_| {
            let text = format!("the provider did not start the transfer within {} s", START.as_secs());
            Err(EngineError::Peer(text))
        })
    }

    /// Counts a read of what is used as `name`.
    pub async fn count_use(&self, name: &str, at: Timestamp, metered: Metered) {
        let key = tables::key(prefix::USED_USAGE, name);
        let _lock = self.locks.lock(&key).await;
        let counted = async {
            let found = tables::load::<Usage>(&self.store, &key)?;
            let (mut usage, version) =
                found.map_or_else(|| (Usage::default(), None), |(usage, version)| (usage, Some(version)));
            usage.requests += 1;
            usage.first.get_or_insert(at);
            usage.last = Some(at);
            let lasted = clock::now().duration_since(at).max(jiff::SignedDuration::ZERO);
            usage.metered = usage.metered.saturating_add(lasted);
            usage.count(&metered);
            let mut batch = Batch::new();
            batch.expect(key.clone(), version);
            tables::put(&mut batch, key.clone(), &usage)?;
            self.commit(batch).await.map(|_| ())
        };
        if let Err(error) = counted.await {
            tracing::error!(%error, name, "a read was not counted");
        }
    }
}
