//! `concordat trust`: whose word counts for which credentials.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Exit;
use super::api::{Api, segment};
use super::credentials::names;
use super::output::{Output, table, text};
use super::target::TargetNode;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// The trust list.
    List,
    /// Let an issuer's word count for types of credentials.
    Add {
        /// Its DID.
        did: String,
        /// A type; may be repeated.
        #[arg(long = "type", value_name = "TYPE", default_values = ["MembershipCredential"])]
        types: Vec<String>,
    },
    /// Let it count no more; streams that rest on it are cut.
    Remove {
        /// Its DID.
        did: String,
    },
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    match &arguments.command {
        Command::List => {
            let found = api.get("/v4/trustedissuers").await?;
            output.result(&found, || {
                let row =
                    |one: &Value| vec![text(one, "did"), names(one), text(one, "origin"), text(one, "since")];
                let rows: Vec<_> = found.as_array().into_iter().flatten().map(row).collect();
                if rows.is_empty() {
                    return "nobody's word counts: no credential opens anything here".to_owned();
                }
                table(&["issuer", "types", "from", "since"], rows)
            });
        }
        Command::Add { did, types } => {
            let found = api.post("/v4/trustedissuers", json!({"did": did, "types": types})).await?;
            output.result(&found, || format!("the word of {did} counts for {}", names(&found)));
        }
        Command::Remove { did } => {
            api.delete(&format!("/v4/trustedissuers/{}", segment(did))).await?;
            output.result(&json!({"removed": did}), || format!("the word of {did} counts no more"));
        }
    }
    Ok(Exit::Success)
}
