//! The form of a store: which keys and records it has. A store of any released form is brought to today's before anything
//! else reads it, step by step, each step page by page; a kill between two pages loses nothing, and the next start goes on
//! where this one stopped. Before the first page the journal is kept as it was.
//!
//! | form | release | what changed |
//! | --- | --- | --- |
//! | 1 | 0.1.0 | |
//! | 2 | 0.2.0 | the store names its form; agreements are escaped in the keys of their transfers |

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use store::{Batch, Store, StoreError};

use super::{TransferRecord, key, load, prefix, put, transfers_of};

/// The form that this program reads and writes.
pub const FORM: u32 = 2;

/// Releases that know nothing of forms read all records beside this one at their start, and end with an error that names it.
/// Its version is one that no kind has.
pub const FENCE: &str =
    "replay/! this store was brought to a newer form; run a newer release of Concordat, or restore the copy";
const FENCE_VERSION: u8 = u8::MAX;

/// Records that one commit changes.
const PAGE: usize = 500;

/// What a store says of its form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormRecord {
    /// The form of all records, but for what is under way.
    pub form: u32,
    /// The release of this program that wrote it.
    pub release: String,
    /// The step that is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<UnderWay>,
}

/// How far a step has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// The last key that was looked at.
    pub after: Option<String>,
    /// Name of the folder, beside the journal, with the journal as it was.
    pub copy: String,
}

/// Adds to a batch what a page of records becomes; returns the last key of the page, nothing after the last page.
type Page = fn(&Store, Option<&str>, usize, &mut Batch) -> Result<Option<String>, StoreError>;

/// `STEPS[n]` brings a store of form `n + 1` to the next one. A page may be made twice.
const STEPS: [Page; FORM as usize - 1] = [escape_transfers_of];

/// Brings the store in `folder` to today's form. Returns where the journal is kept as it was, if anything had to be changed.
///
/// # Errors
/// The store is of a newer form, or a file operation failed; what was done stays, and the next call goes on.
pub async fn bring_up(store: &Store, folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    bring_up_by(store, folder, PAGE, usize::MAX).await
}

/// As [`bring_up`], stopped after so many commits, as a kill would.
async fn bring_up_by(
    store: &Store,
    folder: &Path,
    page: usize,
    mut commits: usize,
) -> anyhow::Result<Option<PathBuf>> {
    let found = load::<FormRecord>(store, prefix::FORM).context("reading the form of the store")?;
    let mut record = match found {
        Some((record, _)) => record,
        None if is_empty(store)? => {
            let mut batch = Batch::new();
            put(&mut batch, prefix::FORM, &FormRecord::done(FORM))?;
            batch.put(FENCE, vec![FENCE_VERSION]);
            store.commit(batch).await.context("writing the form of the store")?;
            return Ok(None);
        }
        None => FormRecord::done(1),
    };
    if record.form > FORM {
        bail!(
            "the store in {} is of form {}, written by Concordat {}; this program ({}) knows forms up to {FORM}, so run the newer \
             release",
            folder.display(),
            record.form,
            record.release,
            env!("CARGO_PKG_VERSION")
        );
    }
    let mut kept = None;
    while let Some(step) = step_from(record.form) {
        let mut under_way = match record.under_way.take() {
            Some(under_way) => under_way,
            None => {
                let name = format!("before-form-{}", record.form + 1);
                let copied = store::copy_journal(folder, &name);
                copied.context("keeping a copy of the journal before its records are changed")?;
                UnderWay { after: None, copy: name }
            }
        };
        kept.get_or_insert_with(|| folder.join(&under_way.copy));
        loop {
            if commits == 0 {
                bail!("stopped");
            }
            commits -= 1;
            let mut batch = Batch::new();
            let last = step(store, under_way.after.as_deref(), page, &mut batch)?;
            record = match &last {
                Some(last) => {
                    under_way.after = Some(last.clone());
                    FormRecord { under_way: Some(under_way.clone()), ..FormRecord::done(record.form) }
                }
                None => FormRecord::done(record.form + 1),
            };
            put(&mut batch, prefix::FORM, &record)?;
            batch.put(FENCE, vec![FENCE_VERSION]);
            store.commit(batch).await.context("bringing the store to this release's form")?;
            if last.is_none() {
                break;
            }
        }
    }
    Ok(kept)
}

impl FormRecord {
    fn done(form: u32) -> Self {
        Self { form, release: env!("CARGO_PKG_VERSION").to_owned(), under_way: None }
    }
}

fn step_from(form: u32) -> Option<Page> {
    STEPS.get(usize::try_from(form).ok()?.checked_sub(1)?).copied()
}

fn is_empty(store: &Store) -> Result<bool, StoreError> {
    Ok(store.scan("", None, 1)?.is_empty())
}

/// Form 1 had agreements in the keys of their transfers as they are, so that those of `urn:x` were also found under those of
/// `urn:x/y`.
fn escape_transfers_of(
    store: &Store,
    after: Option<&str>,
    page: usize,
    batch: &mut Batch,
) -> Result<Option<String>, StoreError> {
    let transfers = super::list::<TransferRecord>(store, prefix::TRANSFER, after, page)?;
    for (_, record) in &transfers {
        let (agreement, pid) = (record.transfer.agreement.as_str(), record.transfer.pid());
        batch.delete(key(prefix::TRANSFER_OF, &format!("{agreement}/{pid}")));
        put(batch, format!("{}{pid}", transfers_of(agreement)), &())?;
    }
    Ok(transfers.last().map(|(key, _)| key.clone()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::transfer::Transfer;
    use serde_json::json;

    use super::super::{TransferRecord, decode};
    use super::*;

    fn transfer(agreement: &str, pid: &str) -> TransferRecord {
        let progress = json!({"state": "STARTED", "pending": null, "ending": null, "seen": [], "history": [],
            "problem": null, "created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:00Z"});
        let transfer: Transfer = serde_json::from_value(json!({"role": "PROVIDER", "consumer_pid": "urn:c",
            "provider_pid": pid, "own": "did:web:a.example", "own_address": "https://a.example",
            "peer": "did:web:b.example", "peer_address": "https://b.example", "agreement": agreement,
            "dataset": "urn:d", "format": "HttpData-PULL", "data_address": null, "generation": 1,
            "progress": progress}))
        .unwrap();
        TransferRecord { transfer, last_start: None, attached: crate::tables::Attached::default() }
    }

    /// As release 0.1.0 wrote them: all records of version 1, agreements not escaped.
    async fn of_form_1(folder: &Path) -> Store {
        let (store, _) = Store::open(folder, &store::Options::default()).unwrap();
        let mut batch = Batch::new();
        for number in 0..7 {
            let (agreement, pid) = (["urn:x", "urn:x/y"][number % 2], format!("urn:t{number}"));
            put(&mut batch, key(prefix::TRANSFER, &pid), &transfer(agreement, &pid)).unwrap();
            let index = format!("{}{agreement}/{pid}", prefix::TRANSFER_OF);
            batch.put(index.clone(), store::encode(&index, 1, &()).unwrap());
        }
        store.commit(batch).await.unwrap();
        store
    }

    fn everything(store: &Store) -> BTreeMap<String, Vec<u8>> {
        store.scan("", None, usize::MAX).unwrap().into_iter().map(|(key, found)| (key, found.value)).collect()
    }

    #[tokio::test]
    async fn a_store_of_form_1_is_brought_up_although_it_is_stopped_after_any_commit() {
        let whole = tempfile::tempdir().unwrap();
        let store = of_form_1(whole.path()).await;
        let before = everything(&store);
        let copy = bring_up(&store, whole.path()).await.unwrap().unwrap();
        let brought_up = everything(&store);
        for (agreement, count) in [("urn:x", 4), ("urn:x/y", 3)] {
            let found = store.scan(&transfers_of(agreement), None, 100).unwrap();
            assert_eq!(found.len(), count, "{agreement}");
            for (key, value) in found {
                decode::<()>(&key, &value.value).unwrap();
            }
        }
        assert!(brought_up.keys().all(|key| !key.starts_with("transfer-of/urn:")), "no old key is left");
        // A second time there is nothing to do.
        assert_eq!(bring_up(&store, whole.path()).await.unwrap(), None);
        drop(store);
        // The copy is what was there, and is brought up likewise.
        let (copied, _) = Store::open(&copy, &store::Options::default()).unwrap();
        assert_eq!(everything(&copied), before);
        drop(copied);

        for commits in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let store = of_form_1(folder.path()).await;
            let ended = bring_up_by(&store, folder.path(), 2, commits).await.is_ok();
            drop(store);
            let (store, _) = Store::open(folder.path(), &store::Options::default()).unwrap();
            bring_up_by(&store, folder.path(), 3, usize::MAX).await.unwrap();
            assert_eq!(everything(&store), brought_up, "stopped after {commits} commits");
            drop(store);
            let (copied, _) =
                Store::open(&folder.path().join("before-form-2"), &store::Options::default()).unwrap();
            assert_eq!(everything(&copied), before, "stopped after {commits} commits");
            if ended {
                assert!(commits > 3, "it was stopped at several places");
                return;
            }
        }
    }

    #[tokio::test]
    async fn a_store_of_a_newer_form_is_refused_in_one_sentence_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), &store::Options::default()).unwrap();
        let mut batch = Batch::new();
        let newer = FormRecord { form: FORM + 1, release: "9.0.0".to_owned(), under_way: None };
        put(&mut batch, prefix::FORM, &newer).unwrap();
        store.commit(batch).await.unwrap();
        let before = everything(&store);
        let error = bring_up(&store, folder.path()).await.unwrap_err().to_string();
        assert!(
            error.contains("of form 3, written by Concordat 9.0.0")
                && error.contains("run the newer release"),
            "{error}"
        );
        assert_eq!(everything(&store), before);
    }

    #[tokio::test]
    async fn a_release_without_forms_stops_at_the_fence_and_this_one_passes_it() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), &store::Options::default()).unwrap();
        assert_eq!(bring_up(&store, folder.path()).await.unwrap(), None, "a new store needs no copy");
        let fence = store.get(FENCE).unwrap().unwrap();
        // What release 0.1.0 does with every record under this prefix at its start.
        let error = store::decode::<i64>(FENCE, 1, &fence.value).unwrap_err().to_string();
        assert!(error.contains("run a newer release") && error.contains("this program knows 1"), "{error}");
        assert!(super::super::list::<i64>(&store, prefix::REPLAY, None, 10).unwrap().is_empty());
    }
}
