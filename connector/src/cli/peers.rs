//! `concordat peers`, `events`.

use std::path::Path;

use clap::Args;
use serde_json::Value;

use super::Exit;
use super::api::Api;
use super::output::{Output, table, text};

#[derive(Debug, Clone, Args)]
pub(super) struct Events {
    /// Stay and print what comes.
    #[arg(long, short)]
    follow: bool,
    /// Begin after this event.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

pub(super) async fn peers(dir: &Path, output: &Output) -> anyhow::Result<Exit> {
    let found = Api::open(dir)?.get("/v4/peers").await?;
    output.result(&found, || {
        let row = |one: &Value| vec![text(one, "did"), text(one, "address"), text(one, "lastSeen")];
        table(
            &["participant", "address", "first seen there"],
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
