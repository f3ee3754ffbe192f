//! What was told of groups about persons: kept before it is told, so that no two answers differ by one person, over a restart
//! as well. Whoever is in a group stands in the records as a keyed hash, and the records are sealed.

use std::sync::Arc;

use dataplane::released::{Group, Released, Releases};
use hmac::Mac as _;
use jiff::Timestamp;
use serde_json::Value as Json;
use store::Batch;

use super::Ledger;
use crate::clock;
use crate::config::PersonalData;
use crate::engine::{Engine, EngineError};
use crate::tables::{self, AgreementRecord, ReleasedHead, ReleasedRecord, prefix};

/// Sealed bytes that are written at once.
const TOGETHER: usize = 2 * 1024 * 1024;
/// Records that are forgotten at once.
const FORGOTTEN: usize = 500;

/// The bounds, by the configuration.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Releasing {
    window_seconds: i64,
    most_groups: u64,
    most_members: usize,
    most_answers: usize,
    /// Largest record of a group, in bytes.
    largest_group: usize,
}

impl Releasing {
    pub(in crate::engine) fn of(config: &PersonalData) -> Self {
        Self {
            window_seconds: i64::from(config.release_window_minutes.max(1)) * 60,
            most_groups: config.most_groups,
            most_members: config.most_members,
            most_answers: config.most_answers,
            largest_group: config.largest_group_kilobytes * 1024,
        }
    }

    /// The window that a time lies in, counted from 1970.
    fn window(&self, now: Timestamp) -> i64 {
        now.as_second().div_euclid(self.window_seconds)
    }
}

/// Keeps what was told to one recipient of one dataset, under terms that demand the same of its data.
#[derive(Debug)]
struct Keeper {
    engine: Arc<Engine>,
    /// A hash of these three.
    name: String,
    salt: [u8; 32],
}

impl Ledger {
    fn hash(&self, what: &[&str]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        for part in what {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

impl Engine {
    /// What keeps what is told of a dataset's groups under an agreement.
    pub(super) fn keeper(self: &Arc<Self>, record: &AgreementRecord, dataset: &str) -> Arc<dyn Releases> {
        let demanded = policy_engine::transforms_of_each(record.agreement.policy());
        let words: Vec<_> = demanded.iter().flatten().map(ToString::to_string).collect();
        let words = words.join("; ");
        let hash = |what: &str| self.ledger.hash(&[what, &record.peer, dataset, &words]);
        let name = crate::ids::hex(hash("released").get(..16).unwrap_or_default());
        Arc::new(Keeper { engine: Arc::clone(self), name, salt: hash("members") })
    }
}

impl Releases for Keeper {
    fn salt(&self) -> [u8; 32] {
        self.salt
    }

    fn most_members(&self) -> usize {
        self.engine.releasing.most_members
    }

    fn release(&self, groups: Vec<Group>) -> dataplane::released::Releasing {
        let (engine, name) = (Arc::clone(&self.engine), self.name.clone());
        // It is carried through even when the reader hangs up: what is kept and what may be told stay one.
        let tasks = engine.tasks().clone();
        let released = tasks.carry_through(async move { engine.release(&name, groups).await });
        Box::pin(async move {
            let failed =
                "the provider cannot keep what it tells of groups about persons; read it again later";
            match released.await {
                Ok(Ok(told)) => Ok(told),
                Ok(Err(error)) => {
                    tracing::error!(%error, "what is told of groups about persons was not kept");
                    Err(failed.to_owned())
                }
                Err(error) => {
                    tracing::error!(%error, "what is told of groups about persons was not kept");
                    Err(failed.to_owned())
                }
            }
        })
    }
}

impl Engine {
    async fn release(&self, name: &str, groups: Vec<Group>) -> Result<Vec<Option<Vec<Json>>>, EngineError> {
        let head_key = tables::key(prefix::RELEASED_OF, name);
        let _lock = self.locks.lock(&head_key).await;
        let now = clock::now();
        let window = self.releasing.window(now);
        let (mut head, mut version) = match tables::load::<ReleasedHead>(&self.store, &head_key)? {
            Some((head, version)) => (head, Some(version)),
            None => (ReleasedHead::default(), None),
        };
        let mut told = Vec::with_capacity(groups.len());
        let mut batch = Batch::new();
        let mut waiting = 0;
        for group in groups {
            let (begin, by) = &group.name;
            if head.told_from.is_some_and(|from| *begin < from) {
                told.push(None);
                continue;
            }
            let by: Vec<_> = by.iter().map(String::as_str).collect();
            let by = self.ledger.hash(&by);
            let key = tables::released(name, *begin, &crate::ids::hex(by.get(..16).unwrap_or_default()));
            let found = tables::load::<ReleasedRecord>(&self.store, &key)?;
            let mut released = match &found {
                None => Released::default(),
                Some((record, _)) => self.open_released(&key, record)?,
            };
            let (row, is_new) = released.tell(&group, window, self.releasing.most_answers);
            told.push(row);
            if !is_new {
                continue;
            }
            let sealed = self.seal_released(&key, &mut released)?;
            waiting += sealed.len();
            head.groups += u64::from(found.is_none());
            tables::put(&mut batch, key, &ReleasedRecord { at: now, sealed })?;
            if waiting >= TOGETHER {
                version =
                    Some(self.keep_released(std::mem::take(&mut batch), &head_key, &head, version).await?);
                waiting = 0;
            }
        }
        if !batch.is_empty() {
            version = Some(self.keep_released(batch, &head_key, &head, version).await?);
        }
        while let Some(batch) = self.forget_oldest(name, &mut head)? {
            version = Some(self.keep_released(batch, &head_key, &head, version).await?);
        }
        Ok(told)
    }

    async fn keep_released(
        &self,
        mut batch: Batch,
        key: &str,
        head: &ReleasedHead,
        version: Option<u64>,
    ) -> Result<u64, EngineError> {
        batch.expect(key.to_owned(), version);
        tables::put(&mut batch, key.to_owned(), head)?;
        self.commit(batch).await?;
        let found = self.store.get(key)?;
        found.map(|found| found.version).ok_or_else(|| EngineError::Vault("a record is not there".to_owned()))
    }

    /// Forgets what is kept beyond the bound, or a part of it; what is not known any more is told no more. `None` where
    /// nothing is beyond it.
    fn forget_oldest(&self, name: &str, head: &mut ReleasedHead) -> Result<Option<Batch>, EngineError> {
        let excess = head.groups.saturating_sub(self.releasing.most_groups);
        let prefix = format!("{}{name}/", prefix::RELEASED);
        let page =
            self.store.scan(&prefix, None, usize::try_from(excess).unwrap_or(FORGOTTEN).min(FORGOTTEN))?;
        if excess == 0 || page.is_empty() {
            return Ok(None);
        }
        let mut batch = Batch::new();
        for (key, _) in &page {
            head.told_from = tables::released_at(&prefix, key).map(|begin| begin.saturating_add(1));
            batch.delete(key.clone());
        }
        head.groups = head.groups.saturating_sub(u64::try_from(page.len()).unwrap_or(u64::MAX));
        Ok(Some(batch))
    }

    fn open_released(&self, key: &str, record: &ReleasedRecord) -> Result<Released, EngineError> {
        let text = self.vault.open_sealed(key, &record.sealed)?;
        serde_json::from_str(&text)
            .map_err(|error| EngineError::Vault(format!("{key} cannot be read: {error}")))
    }

    fn seal_released(&self, key: &str, released: &mut Released) -> Result<String, EngineError> {
        loop {
            let text =
                serde_json::to_string(released).map_err(|error| EngineError::Vault(error.to_string()))?;
            if text.len() <= self.releasing.largest_group {
                return Ok(self.vault.seal(key, &text)?);
            }
            let Some(at) = released.answers.iter().position(|one| !one.is_last) else {
                return Err(EngineError::Vault(
                    "a group has too many persons to be kept (`[personal] largest_group_kilobytes`)"
                        .to_owned(),
                ));
            };
            released.answers.remove(at);
        }
    }
}
