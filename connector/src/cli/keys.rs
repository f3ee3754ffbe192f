//! `concordat keys`: keys of the management API for other programs.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Exit;
use super::api::{Api, segment};
use super::output::{Output, table, text};
use super::target::TargetNode;
use crate::http::management::Scope;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// All keys.
    List,
    /// Make a key; it is shown once and kept as a digest.
    Create {
        /// For whom or what.
        name: String,
        /// What it allows; each includes the ones before it.
        #[arg(long, value_enum, default_value = "read")]
        scope: Scope,
    },
    /// Make a key worthless.
    Revoke {
        /// Its id.
        id: String,
    },
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    match &arguments.command {
        Command::List => {
            let found = api.get("/v4/apikeys").await?;
            output.result(&found, || {
                let row = |one: &_| {
                    vec![text(one, "@id"), text(one, "name"), text(one, "scope"), text(one, "createdAt")]
                };
                table(
                    &["key", "name", "scope", "since"],
                    found.as_array().into_iter().flatten().map(row).collect(),
                )
            });
        }
        Command::Create { name, scope } => {
            let made = api.post("/v4/apikeys", json!({"name": name, "scope": scope})).await?;
            output.result(&made, || format!("{}\nIt is not shown again.", text(&made, "key")));
        }
        Command::Revoke { id } => {
            api.delete(&format!("/v4/apikeys/{}", segment(id))).await?;
            output.result(&json!({"@id": id}), || "revoked".to_owned());
        }
    }
    Ok(Exit::Success)
}
