//! `concordat transfers`.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{Api, is_over, newest, segment};
use super::negotiations::history;
use super::output::{Output, fields, table, text, time};
use super::target::TargetNode;
use super::{Exit, Failed};

/// Longest wait for the provider's start.
const START: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// The newest transfers.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// One transfer with its history.
    Show {
        /// Its id.
        id: String,
    },
    /// Ask the provider to start a transfer; read it with `concordat pull`.
    Start {
        /// The agreement.
        agreement: String,
        /// Have the provider push the data to this address: https, s3, az or gs; otherwise it is pulled.
        #[arg(long, value_name = "URL")]
        push_to: Option<String>,
        /// What the provider needs to write there, a JSON file: authKey and authCode, or accessKeyId, secretAccessKey,
        /// region, endpointOverride and so on. It goes to the provider.
        #[arg(long, value_name = "FILE", requires = "push_to")]
        push_options: Option<std::path::PathBuf>,
    },
    /// Stop the data for now.
    Suspend {
        /// Its id.
        id: String,
        /// Why, for the other side.
        #[arg(long, default_value = "suspended by the operator")]
        reason: String,
    },
    /// Let a suspended transfer go on.
    Resume {
        /// Its id.
        id: String,
    },
    /// All data was transferred.
    Complete {
        /// Its id.
        id: String,
    },
    /// End a transfer.
    Stop {
        /// Its id.
        id: String,
        /// Why, for the other side.
        #[arg(long, default_value = "ended by the operator")]
        reason: String,
    },
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let path = |id: &str, leaf: &str| format!("/v4/transferprocesses/{}{leaf}", segment(id));
    let (id, done) = match &arguments.command {
        Command::List { limit } => {
            let found = api.post("/v4/transferprocesses/request", newest(*limit)).await?;
            output.result(&found, || {
                let row = |one: &Value| {
                    vec![
                        text(one, "@id"),
                        text(one, "type").to_lowercase(),
                        text(one, "counterPartyId"),
                        text(one, "assetId"),
                        text(one, "state"),
                        time(one, "stateTimestamp"),
                        text(one, "errorDetail"),
                    ]
                };
                let rows = found.as_array().into_iter().flatten().map(row).collect();
                table(&["transfer", "role", "with", "dataset", "state", "since", "note"], rows)
            });
            return Ok(Exit::Success);
        }
        Command::Show { id } => {
            let found = api.get(&path(id, "")).await?;
            output.result(&found, || show(&found));
            return Ok(Exit::Success);
        }
        Command::Start { agreement, push_to: Some(to), push_options } => {
            let mut destination = match push_options {
                Some(file) => super::negotiations::read_json(file)?,
                None => json!({}),
            };
            super::api::set(&mut destination, "type", json!("HttpData"));
            super::api::set(&mut destination, "baseUrl", json!(to));
            // The same data twice is the same; programs of EDC, which say nothing, mean POST.
            if to.starts_with("http") && destination.get("method").is_none() {
                super::api::set(&mut destination, "method", json!("PUT"));
            }
            let request = json!({
                "contractId": agreement, "transferType": ::catalog::HTTP_PUSH, "dataDestination": destination,
                "protocol": "dataspace-protocol-http:2025-1",
            });
            let answer = api.post("/v4/transferprocesses", request).await?;
            let id = text(&answer, "@id");
            output.result(&answer, || {
                format!("asked {id}: the provider pushes; see `concordat transfers show {id}`")
            });
            return Ok(Exit::Success);
        }
        Command::Start { agreement, push_to: None, .. } => {
            let found = start(&api, agreement).await?;
            let id = text(&found, "@id");
            output.result(&found, || format!("started {id}\nnext: concordat pull {id}"));
            return Ok(Exit::Success);
        }
        Command::Suspend { id, reason } => {
            api.post(&path(id, "/suspend"), json!({"reason": reason})).await?;
            (id, "suspended")
        }
        Command::Resume { id } => {
            api.post(&path(id, "/resume"), json!({})).await?;
            (id, "resumed")
        }
        Command::Complete { id } => {
            api.post(&path(id, "/complete"), json!({})).await?;
            (id, "completed")
        }
        Command::Stop { id, reason } => {
            api.post(&path(id, "/terminate"), json!({"reason": reason})).await?;
            (id, "ended")
        }
    };
    output.result(&json!({"transfer": id}), || format!("{done}; the other side is told"));
    Ok(Exit::Success)
}

/// Starts a transfer under `agreement` and waits until data may be read.
pub(super) async fn start(api: &Api, agreement: &str) -> anyhow::Result<Value> {
    let mut events = api.events(None).await?;
    let request = json!({
        "contractId": agreement, "transferType": ::catalog::HTTP_PULL, "protocol": "dataspace-protocol-http:2025-1",
    });
    let answer = api.post("/v4/transferprocesses", request).await?;
    let path = format!("/v4/transferprocesses/{}", segment(&text(&answer, "@id")));
    let ready = |one: &Value| is_over(one) || text(one, "state") == "STARTED";
    let found = api.wait(&mut events, &path, START, ready).await?;
    if text(&found, "state") != "STARTED" {
        bail!(Failed::new(
            Exit::Refused,
            format!("the transfer did not start: {}", text(&found, "errorDetail"))
        ));
    }
    Ok(found)
}

fn show(found: &Value) -> String {
    let head = fields(&[
        ("transfer", text(found, "@id")),
        ("their id", text(found, "correlationId")),
        ("role", text(found, "type").to_lowercase()),
        ("with", text(found, "counterPartyId")),
        ("dataset", text(found, "assetId")),
        ("agreement", text(found, "contractId")),
        ("format", text(found, "transferType")),
        ("state", text(found, "state")),
        ("on its way", text(found, "urn:concordat:pending")),
        ("problem", text(found, "errorDetail")),
    ]);
    format!("{head}\n{}", history(found))
}
