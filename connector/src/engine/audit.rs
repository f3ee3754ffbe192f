//! The audit log as a chain: seals over its head, so that whoever reads it later knows what stood in it when.

use std::sync::Arc;
use std::time::Duration;

use store::Batch;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trust::audit::Sealed;

use super::{Engine, EngineError};
use crate::clock;
use crate::ids::hex;
use crate::tables::{self, prefix};

/// So many entries are sealed at once.
const ENTRIES: u64 = 100;
/// After so long an entry is sealed, however few there are.
const AT_LATEST: Duration = Duration::from_secs(60);

impl Engine {
    /// The seals of the audit log, the oldest first, from the one after `count` entries on.
    ///
    /// # Errors
    /// The store failed.
    pub fn audit_seals(&self, count: u64, limit: usize) -> Result<Vec<String>, EngineError> {
        let after = format!("{}{count:020}", prefix::AUDIT_SEAL);
        let seals = tables::list::<String>(&self.store, prefix::AUDIT_SEAL, Some(&after), limit)?;
        Ok(seals.into_iter().map(|(_, seal)| seal).collect())
    }

    /// Seals what is not sealed yet.
    ///
    /// # Errors
    /// The store failed, or the key could not sign.
    pub async fn seal_audit_log(&self) -> Result<(), EngineError> {
        let head = self.store.head(prefix::EVENT)?;
        let key = format!("{}{:020}", prefix::AUDIT_SEAL, head.count);
        if head.count == 0 || self.store.get(&key)?.is_some() {
            return Ok(());
        }
        let sealed = Sealed { count: head.count, link: hex(&head.link), at: clock::now() };
        let mut batch = Batch::new();
        tables::put(&mut batch, key, &self.identity.seal_audit(&sealed)?)?;
        self.commit(batch).await.map(|_| ())
    }

    /// Seals the audit log as it grows, until `stop`, and once more then.
    pub async fn watch_audit_log(self: Arc<Self>, stop: CancellationToken) {
        let mut commits = self.commits();
        let mut sealed = 0;
        while !stop.is_cancelled() {
            let grown = async {
                self.grown(&mut commits, sealed + 1).await;
                // It is sealed when there is enough of it, or when it has waited long enough.
                tokio::time::timeout(AT_LATEST, self.grown(&mut commits, sealed + ENTRIES)).await
            };
            tokio::select! {
                () = stop.cancelled() => {}
                _ = grown => {}
            }
            if let Err(error) = self.seal_audit_log().await {
                tracing::error!(%error, "the audit log was not sealed");
            }
            sealed = self.entries();
        }
    }

    /// Waits until the log has `count` entries.
    async fn grown(&self, commits: &mut watch::Receiver<u64>, count: u64) {
        while self.entries() < count && commits.changed().await.is_ok() {}
    }

    fn entries(&self) -> u64 {
        self.store.head(prefix::EVENT).map_or(0, |head| head.count)
    }
}
