//! `concordat store`: look after the store; while the node does not run, but for the records that it has set aside.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use store::StoreError;

use super::api::Api;
use super::output::{Output, fields, plain, table, text};
use super::target::TargetNode;
use super::{Exit, Failed};
use crate::config::Config;
use crate::identity::Identity;
use crate::node;
use crate::tables::prefix;

/// Characters of a record that its row shows; `--json` has more.
const SHOWN: usize = 60;

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
    /// Fold the journal into one signed checkpoint.
    Checkpoint,
    /// Show the records that a running node cannot read and has set aside, or remove one.
    ///
    /// Nothing happens on account of such a record: it is neither offered nor negotiated, and nothing flows for it.
    Aside {
        /// Remove the record with this key.
        #[arg(long, value_name = "KEY")]
        remove: Option<String>,
    },
}

pub(super) async fn run(dir: &Path, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let config = Config::load(dir)?;
    match &arguments.command {
        Command::Aside { remove } => aside(dir, remove.as_deref(), output).await?,
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

async fn aside(dir: &Path, remove: Option<&str>, output: &Output) -> anyhow::Result<()> {
    let api = Api::open(&TargetNode::here(dir))?;
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
