//! `concordat deliveries`: messages that others do not have.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Exit;
use super::api::{Api, segment};
use super::output::{Output, plain, table, text, time};
use super::target::TargetNode;

/// Messages that are asked for at once.
const PAGE: usize = 1000;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Messages that wait for the other side, and those that were given up or refused.
    List {
        /// Only those to this participant.
        #[arg(long, value_name = "DID")]
        peer: Option<String>,
    },
    /// Send again what was given up or refused.
    Again {
        /// The message.
        #[arg(required_unless_present = "peer", conflicts_with = "peer")]
        id: Option<String>,
        /// Everything to this participant.
        #[arg(long, value_name = "DID")]
        peer: Option<String>,
    },
    /// Forget a message that was given up or refused.
    Drop {
        /// The message.
        id: String,
    },
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    match &arguments.command {
        Command::List { peer } => {
            let found = all(&api, peer.as_deref()).await?;
            output.result(&json!(found), || {
                if found.is_empty() {
                    return "no message waits, and none was given up".to_owned();
                }
                let row = |one: &Value| {
                    let mut told =
                        ["@id", "state", "kind", "peer"].map(|name| plain(&text(one, name))).to_vec();
                    told.push(time(one, "since"));
                    told.push(plain(&text(one, "reason")));
                    told
                };
                table(&["message", "state", "about", "to", "since", "why"], found.iter().map(row).collect())
            });
        }
        Command::Again { id: Some(id), .. } => {
            api.post(&format!("/v4/deliveries/{}/again", segment(id)), json!({})).await?;
            output.result(&json!({"@id": id}), || format!("{} is being sent again", plain(id)));
        }
        Command::Again { id: None, peer } => {
            let sent = api.post("/v4/deliveries/again", json!({"peer": peer})).await?;
            output.result(&sent, || match sent.get("messages").and_then(Value::as_u64) {
                Some(1) => "one message is being sent again".to_owned(),
                count => format!("{} messages are being sent again", count.unwrap_or_default()),
            });
        }
        Command::Drop { id } => {
            api.delete(&format!("/v4/deliveries/{}", segment(id))).await?;
            output.result(&json!({"@id": id}), || format!("{} is not kept any more", plain(id)));
        }
    }
    Ok(Exit::Success)
}

/// Everything that others do not have, page by page.
pub(super) async fn all(api: &Api, peer: Option<&str>) -> anyhow::Result<Vec<Value>> {
    let mut found: Vec<Value> = Vec::new();
    loop {
        let mut query = vec![format!("limit={PAGE}")];
        query.extend(peer.map(|peer| format!("peer={}", segment(peer))));
        query.extend(found.last().map(|last| format!("after={}", segment(&text(last, "@id")))));
        let page = api.get(&format!("/v4/deliveries?{}", query.join("&"))).await?;
        let Value::Array(page) = page else { return Ok(found) };
        let is_last = page.len() < PAGE;
        found.extend(page);
        if is_last {
            return Ok(found);
        }
    }
}
