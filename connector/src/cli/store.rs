//! `concordat store`: look after the store while the node does not run.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;
use store::StoreError;

use super::output::{Output, fields};
use super::{Exit, Failed};
use crate::config::Config;
use crate::identity::Identity;
use crate::node;
use crate::tables::prefix;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Read the whole journal, check checksums and chain, and that it ends no sooner than the index and the seals of the
    /// audit log know; changes no record.
    Verify,
    /// Set the index aside and build it anew from the journal.
    Rebuild,
    /// Fold the journal into one signed checkpoint.
    Checkpoint,
}

pub(super) async fn run(dir: &Path, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let config = Config::load(dir)?;
    match arguments.command {
        Command::Verify => {
            let folder = config.path(&config.store.folder);
            let verified =
                store::verify(&folder, config.store.engine.into(), prefix::EVENT, prefix::AUDIT_SEAL);
            let report = verified.map_err(|error| match error {
                StoreError::Behind { .. } | StoreError::Damaged { .. } | StoreError::Sealed { .. } => {
                    anyhow::Error::from(Failed::new(Exit::Invalid, error.to_string()))
                }
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
            let identity = Arc::new(Identity::load(&config)?);
            let (store, recovery) = node::open_store(&config, &identity, false).await?;
            store.checkpoint().await?;
            output.result(&json!({"commit": recovery.sequence}), || {
                format!("the journal up to commit {} is one signed checkpoint now", recovery.sequence)
            });
        }
    }
    Ok(Exit::Success)
}
