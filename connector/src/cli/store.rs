//! `concordat store`: look after the store. What only reads files works while the node runs, as do checkpoints and what
//! concerns records that it has set aside.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use store::StoreError;

use super::api::Api;
use super::output::{Output, bytes, fields, plain, table, text};
use super::target::TargetNode;
use super::{Exit, Failed};
use crate::config::Config;
use crate::identity::Identity;
use crate::node;
use crate::tables::prefix;

/// Characters of a record that its row shows; `--json` has more.
const SHOWN: usize = 60;
/// Longest wait for a checkpoint of a running node.
const LONGEST_CHECKPOINT: Duration = Duration::from_secs(3600);
/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Read the whole journal, check checksums and chain, and that it ends no sooner than the index and the seals of the
    /// audit log know; changes no record.
    Verify,
    /// Set the index aside and build it anew from the journal.
    Rebuild,
    /// Fold the journal into one signed checkpoint, also while the node runs, which goes on meanwhile.
    Checkpoint,
    /// Copy the journal to a new folder, also while the node runs, and read the copy from end to end; `concordat help backup`
    /// tells what else to copy and how to go back.
    Backup {
        /// The folder; made where it is missing.
        folder: PathBuf,
    },
    /// Show the records that a running node cannot read and has set aside, or remove one.
    ///
    /// Nothing happens on account of such a record: it is neither offered nor negotiated, and nothing flows for it.
    Aside {
        /// Remove the record with this key.
        #[arg(long, value_name = "KEY")]
        remove: Option<String>,
    },
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let config = Config::load(node.folder()?)?;
    match &arguments.command {
        Command::Aside { remove } => aside(node, remove.as_deref(), output).await?,
        Command::Verify => {
            let folder = config.path(&config.store.folder);
            let bar = output.count_bar("files");
            let mut told = |read, files| show_progress(&bar, read, files);
            let engine = config.store.engine.into();
            let verified = store::verify(&folder, engine, prefix::EVENT, prefix::AUDIT_SEAL, &mut told);
            bar.finish_and_clear();
            let report = verified.map_err(|error| match error {
                StoreError::Behind { .. } | StoreError::Damaged { .. } | StoreError::Sealed { .. } => {
                    anyhow::Error::from(Failed::new(Exit::Invalid, error.to_string()))
                }
                StoreError::Locked(_) => anyhow::anyhow!(
                    "the node runs and has its store open: stop it first, or copy the journal and have the copy checked with \
                     `concordat store backup FOLDER`"
                ),
                error => anyhow::Error::from(error),
            })?;
            let checkpoint = report
                .checkpoint
                .as_ref()
                .map(|(at, signature)| json!({"commit": at, "signature": signature}));
            let shown = json!({
                "commit": report.sequence, "groups": report.groups, "head": report.head, "torn": report.torn,
                "checkpoint": checkpoint,
            });
            output.result(&shown, || {
                fields(&[
                    ("last commit", report.sequence.to_string()),
                    ("head of chain", report.head.clone()),
                    (
                        "checkpoint",
                        report.checkpoint.map(|(at, _)| format!("at commit {at}")).unwrap_or_default(),
                    ),
                    ("torn bytes", report.torn.to_string()),
                ])
            });
        }
        Command::Rebuild => {
            let identity = Arc::new(Identity::load(&config)?);
            let (_, recovery) = node::open_store(&config, &identity, true).await?;
            let shown = json!({"commit": recovery.sequence, "replayed": recovery.replayed});
            output.result(&shown, || format!("the index was built anew up to commit {}", recovery.sequence));
        }
        Command::Checkpoint => {
            let commit = match checkpoint_running(node, output).await {
                Err(error) if is_not_running(&error) => {
                    let identity = Arc::new(Identity::load(&config)?);
                    let (store, _) = node::open_store(&config, &identity, false).await?;
                    store.checkpoint().await?
                }
                made => made?,
            };
            output.result(&json!({"commit": commit}), || {
                format!("the journal up to commit {commit} is one signed checkpoint now")
            });
        }
        Command::Backup { folder } => {
            let bar = output.count_bar("files");
            let mut told = |done, files| show_progress(&bar, done, files);
            let copied = store::back_up(&config.path(&config.store.folder), folder, &mut told);
            bar.finish_and_clear();
            let report = copied.map_err(|error| anyhow::anyhow!("{}", error.with_cause()))?;
            let shown = json!({"folder": folder, "commit": report.sequence, "head": report.head});
            output.result(&shown, || {
                format!(
                    "{} has the journal up to commit {}, and was read from end to end; `concordat help backup` tells what else \
                     to copy",
                    folder.display(),
                    report.sequence
                )
            });
        }
    }
    Ok(Exit::Success)
}

fn show_progress(bar: &ProgressBar, done: usize, of: usize) {
    bar.set_length(u64::try_from(of).unwrap_or(u64::MAX));
    bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
}

fn is_not_running(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failed>().is_some_and(|failed| failed.exit == Exit::NotRunning)
}

/// Has the running node make a checkpoint, and shows how far it is.
async fn checkpoint_running(node: &TargetNode, output: &Output) -> anyhow::Result<u64> {
    let api = Api::open(node)?;
    let bar = output.count_bar("files");
    let making = api.post_within("/v4/store/checkpoint", json!({}), LONGEST_CHECKPOINT);
    tokio::pin!(making);
    let mut looks = tokio::time::interval(LOOK);
    let made = loop {
        tokio::select! {
            made = &mut making => break made,
            _ = looks.tick() => {
                // Without an answer the bar stays as it is.
                let Ok(now) = api.get("/v4/store/checkpoint").await else { continue };
                let number = |name: &str| now.get(name).and_then(Value::as_u64).unwrap_or_default();
                bar.set_length(number("files"));
                bar.set_position(number("read"));
                if number("written") > 0 {
                    bar.set_message(format!("{} written, files read", bytes(number("written"))));
                }
            }
        }
    };
    bar.finish_and_clear();
    made?.get("commit").and_then(Value::as_u64).context("the node's answer names no commit")
}

async fn aside(node: &TargetNode, remove: Option<&str>, output: &Output) -> anyhow::Result<()> {
    let api = Api::open(node)?;
    if let Some(key) = remove {
        api.post("/v4/store/aside/remove", json!({"key": key})).await?;
        output.result(&json!({"removed": key}), || format!("removed {}", plain(key)));
        return Ok(());
    }
    let found = api.get("/v4/store/aside").await?;
    output.result(&found, || {
        let all = found.as_array().map_or(&[][..], Vec::as_slice);
        if all.is_empty() {
            return "every record can be read".to_owned();
        }
        let row = |one: &Value| {
            let told = ["key", "reason", "text"].map(|name| plain(&text(one, name)));
            let [key, reason, shown] = told;
            vec![key, reason, shown.chars().take(SHOWN).collect()]
        };
        let rows = table(&["key", "why it cannot be read", "how it begins"], all.iter().map(row).collect());
        format!("{rows}\nremove one with `concordat store aside --remove KEY`; until then nothing happens on its account")
    });
    Ok(())
}
