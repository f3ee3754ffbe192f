//! `concordat peers`, `events`.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Exit;
use super::api::{Api, segment};
use super::output::{Output, fields, plain, table, text};
use super::target::TargetNode;

#[derive(Debug, Clone, Args)]
pub(super) struct Events {
    /// Stay and print what comes.
    #[arg(long, short)]
    follow: bool,
    /// Begin after this event.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

/// Longest check of everybody.
const CHECK: Duration = Duration::from_secs(180);
/// Longest reading of all catalogs.
const REFRESH: Duration = Duration::from_secs(600);

/// `concordat peers`
#[derive(Debug, Clone, Args)]
pub(super) struct Peers {
    /// First ask the authorities who the members are, and read the catalogs of all.
    #[arg(long)]
    refresh: bool,
    /// First ask everybody whether they answer now; three seconds at most for each.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// One participant: what it speaks, and which checks are loosened for it.
    Show {
        /// Its DID.
        did: String,
    },
}

pub(super) async fn peers(node: &TargetNode, arguments: &Peers, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    if arguments.refresh {
        let bar = output.wait_bar("reading catalogs");
        let read = api.post_within("/v4/peers/refresh", json!({}), REFRESH).await;
        bar.finish_and_clear();
        read?;
    }
    if let Some(Command::Show { did }) = &arguments.command {
        let found = api.get(&format!("/v4/peers/{}", segment(did))).await?;
        output.result(&found, || shown(&found));
        return Ok(Exit::Success);
    }
    let found = if arguments.check {
        api.post_within("/v4/peers/check", json!({}), CHECK).await?
    } else {
        api.get("/v4/peers").await?
    };
    output.result(&found, || {
        let row = |one: &Value| {
            let list = |name: &str, member: &str| {
                let all = one.get(name).and_then(Value::as_array).into_iter().flatten();
                let texts = all.map(|one| one.as_str().map_or_else(|| text(one, member), plain));
                texts.collect::<Vec<_>>().join("\n")
            };
            let reachable = match one.get("reachable").and_then(Value::as_bool) {
                Some(true) => format!("answered {}", text(one, "triedAt")),
                Some(false) => format!("failed {}: {}", text(one, "triedAt"), text(one, "failure")),
                None => "not tried".to_owned(),
            };
            vec![
                text(one, "did"),
                text(one, "name"),
                list("roles", ""),
                list("memberOf", "space"),
                text(one, "datasets"),
                text(one, "requests"),
                reachable,
                text(one, "lastSeen"),
            ]
        };
        table(
            &["participant", "name", "roles", "member of", "offers", "requests", "last tried", "last seen"],
            found.as_array().into_iter().flatten().map(row).collect(),
        )
    });
    Ok(Exit::Success)
}

fn shown(found: &Value) -> String {
    let is = |name: &str| found.get(name) == Some(&json!(true));
    let profile = match (is("pinned"), text(found, "recognisedAs")) {
        (true, _) => "as the configuration says",
        (false, recognised) if recognised.is_empty() => "nothing special was recognised",
        (false, _) => "recognised by what it sent",
    };
    let keys = match is("undeclaredKeys") {
        true => "count although its DID document does not say what they are for",
        false => "count for what its DID document says",
    };
    let signatures = match text(found, "signatures").as_str() {
        "required" => "both parties must sign".to_owned(),
        "accept-peer-token" => "its authenticated message is enough".to_owned(),
        other => other.to_owned(),
    };
    fields(&[
        ("participant", text(found, "did")),
        ("stands under", text(found, "id")),
        ("address", text(found, "address")),
        ("last seen", text(found, "lastSeen")),
        ("speaks", format!("{} ({profile})", text(found, "profile"))),
        ("agreements", signatures),
        ("keys", keys.to_owned()),
    ])
}

pub(super) async fn events(node: &TargetNode, arguments: &Events, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let mut after = arguments.after.clone().unwrap_or_default();
    loop {
        let page = api.get(&format!("/v4/events/log?after={after}")).await?;
        let Some(last) = page.as_array().and_then(|page| page.last()) else { break };
        after = text(last, "id");
        for event in page.as_array().into_iter().flatten() {
            print(event, output);
        }
    }
    if arguments.follow {
        let mut events =
            api.events(Some(&after).filter(|after| !after.is_empty()).map(String::as_str)).await?;
        loop {
            print(&events.next().await?, output);
        }
    }
    Ok(Exit::Success)
}

fn print(event: &Value, output: &Output) {
    output.result(event, || {
        let state = text(event, "state");
        let state = if state.is_empty() { String::new() } else { format!(" {state}") };
        format!(
            "{} {}{state} {} {}{}",
            text(event, "at"),
            text(event, "kind"),
            text(event, "subject"),
            text(event, "text"),
            event.get("by").map(by).unwrap_or_default()
        )
    });
}

/// Who asked for it.
fn by(actor: &Value) -> String {
    let key = match text(actor, "key") {
        key if key.is_empty() => String::new(),
        key => format!(" (key {key})"),
    };
    let from = match text(actor, "address") {
        address if address.is_empty() => String::new(),
        address => format!(" from {address}"),
    };
    format!(" [{}{key}{from}]", text(actor, "name"))
}
