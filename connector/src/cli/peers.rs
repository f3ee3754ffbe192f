//! `concordat peers`, `events`.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::api::Api;
use super::output::{Output, plain, table, text};

#[derive(Debug, Clone, Args)]
pub(super) struct Events {
    /// Stay and print what comes.
    #[arg(long, short)]
    follow: bool,
    /// Begin after this event.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

/// Longest reading of all catalogs.
const REFRESH: Duration = Duration::from_secs(600);

/// `concordat peers`
#[derive(Debug, Clone, Args)]
pub(super) struct Peers {
    /// First ask the authorities who the members are, and read the catalogs of all.
    #[arg(long)]
    refresh: bool,
}

pub(super) async fn peers(dir: &Path, arguments: &Peers, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(dir)?;
    if arguments.refresh {
        api.post_within("/v4/peers/refresh", json!({}), REFRESH).await?;
    }
    let found = api.get("/v4/peers").await?;
    output.result(&found, || {
        let row = |one: &Value| {
            let list = |name: &str, member: &str| {
                let all = one.get(name).and_then(Value::as_array).into_iter().flatten();
                let texts = all.map(|one| one.as_str().map_or_else(|| text(one, member), plain));
                texts.collect::<Vec<_>>().join("\n")
            };
            let reachable = match one.get("reachable").and_then(Value::as_bool) {
                Some(true) => "yes".to_owned(),
                Some(false) => format!("no: {}", text(one, "failure")),
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
            &["participant", "name", "roles", "member of", "offers", "requests", "reachable", "last seen"],
            found.as_array().into_iter().flatten().map(row).collect(),
        )
    });
    Ok(Exit::Success)
}

pub(super) async fn events(dir: &Path, arguments: &Events, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(dir)?;
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
            "{} {}{state} {} {}",
            text(event, "at"),
            text(event, "kind"),
            text(event, "subject"),
            text(event, "text")
        )
    });
}
