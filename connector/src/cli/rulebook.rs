//! `concordat rulebook`: what the data space demands.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::Api;
use super::output::{Output, plain, text};
use super::target::TargetNode;
use super::{Exit, Failed};

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// The versions that this node knows, and what the newest says.
    Show {
        /// The data space, where this node is in several.
        #[arg(long, value_name = "IRI")]
        space: Option<String>,
        /// Another version than the newest.
        #[arg(long, value_name = "NUMBER")]
        version: Option<u64>,
    },
    /// What the version that waits to be accepted changes, in plain words.
    Diff {
        /// The data space, where this node is in several.
        #[arg(long, value_name = "IRI")]
        space: Option<String>,
    },
    /// Accept the newest version with this node's signature; its authority is told.
    Accept {
        /// The data space, where this node is in several.
        #[arg(long, value_name = "IRI")]
        space: Option<String>,
    },
    /// Which offers and agreements of this node do not fit the rulebook in force, by clause.
    Check,
    /// Ask an authority for its rulebook; nodes also do that by themselves.
    Fetch {
        /// The authority's DID.
        authority: String,
    },
    /// As the authority: publish the next version from a JSON file, signed; every member is told.
    Publish {
        /// The file; the guide tells its members.
        file: PathBuf,
    },
    /// As the authority: who accepted which version, and who has not accepted the newest.
    Acceptances,
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let command = arguments.command.clone().unwrap_or(Command::Show { space: None, version: None });
    match command {
        Command::Show { space, version } => {
            let all = api.get("/v4/rulebooks").await?;
            let of_space = versions(&all, space.as_deref())?;
            let wanted = |one: &&Value| version.is_none_or(|version| version_of(one) == Some(version));
            let shown = of_space.iter().rev().copied().find(wanted).cloned();
            let Some(shown) = shown else {
                output.result(&Value::Null, || {
                    "no rulebook is known; `concordat rulebook fetch DID` asks an authority".to_owned()
                });
                return Ok(Exit::Success);
            };
            output.result(&shown, || show(&shown));
        }
        Command::Diff { space } => {
            let all = api.get("/v4/rulebooks").await?;
            let waiting =
                versions(&all, space.as_deref())?.into_iter().rfind(|one| text(one, "state") == "announced");
            let waiting = waiting.cloned().unwrap_or_default();
            output.result(&waiting, || diff(&waiting));
        }
        Command::Accept { space } => {
            let all = api.get("/v4/rulebooks").await?;
            let waiting =
                versions(&all, space.as_deref())?.into_iter().rfind(|one| text(one, "state") == "announced");
            let Some(waiting) = waiting else {
                bail!(Failed::new(Exit::Refused, "no version waits to be accepted"));
            };
            let book = waiting.pointer("/record/book").cloned().unwrap_or_default();
            let body = json!({"space": text(&book, "space"), "version": book.get("version")});
            let accepted = api.post("/v4/rulebooks/accept", body).await?;
            output.result(&accepted, || {
                format!(
                    "accepted version {} of {}: {}",
                    text(&book, "version"),
                    text(&book, "space"),
                    text(&accepted, "state")
                )
            });
        }
        Command::Check => {
            let found = api.get("/v4/rulebooks/check").await?;
            output.result(&found, || check(&found));
            let is_empty = |name: &str| found.get(name).and_then(Value::as_array).is_none_or(Vec::is_empty);
            if !is_empty("offers") || !is_empty("agreements") {
                return Ok(Exit::Invalid);
            }
        }
        Command::Fetch { authority } => {
            let found = api.post("/v4/rulebooks/fetch", json!({"authority": authority})).await?;
            output.result(&found, || match found.is_null() {
                true => "nothing new".to_owned(),
                false => show(&found),
            });
        }
        Command::Publish { file } => {
            let read = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            let document: Value =
                serde_json::from_slice(&read).with_context(|| format!("reading {}", file.display()))?;
            let published = api.post("/v4/rulebooks", document).await?;
            output.result(&published, || format!("published; every member is told\n{}", show(&published)));
        }
        Command::Acceptances => {
            let found = api.get("/v4/rulebooks/acceptances").await?;
            output.result(&found, || acceptances(&found));
        }
    }
    Ok(Exit::Success)
}

fn version_of(one: &Value) -> Option<u64> {
    one.pointer("/record/book/version").and_then(Value::as_u64)
}

/// The versions of one data space, the oldest first.
fn versions<'a>(all: &'a Value, space: Option<&str>) -> anyhow::Result<Vec<&'a Value>> {
    let all: Vec<&Value> = all.as_array().into_iter().flatten().collect();
    let of = |one: &Value| {
        one.pointer("/record/book/space").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let spaces: std::collections::BTreeSet<String> = all.iter().map(|one| of(one)).collect();
    let chosen = match (space, spaces.len()) {
        (Some(space), _) => space.to_owned(),
        (None, 0 | 1) => spaces.into_iter().next().unwrap_or_default(),
        (None, _) => {
            let names = spaces.into_iter().collect::<Vec<_>>().join(", ");
            bail!(Failed::new(
                Exit::Usage,
                format!("this node is in several data spaces; choose with --space: {names}")
            ));
        }
    };
    let mut found: Vec<_> = all.into_iter().filter(|one| of(one) == chosen).collect();
    found.sort_by_key(|one| version_of(one));
    Ok(found)
}

fn show(standing: &Value) -> String {
    let book = standing.pointer("/record/book").cloned().unwrap_or_default();
    let mut lines = vec![
        format!("{}, version {} ({})", text(&book, "title"), text(&book, "version"), text(standing, "state")),
        format!(
            "{}; in force from {}; sha-256 {}",
            text(&book, "space"),
            text(&book, "inForce"),
            text(standing, "sha256")
        ),
        String::new(),
    ];
    for clause in book.get("clauses").and_then(Value::as_array).into_iter().flatten() {
        lines.push(format!("{}  {}", text(clause, "id"), text(clause, "text")));
        if let Ok(rule) = serde_json::from_value::<governance::rulebook::ClauseRule>(
            clause.get("rule").cloned().unwrap_or_default(),
        ) {
            lines.push(format!("     checked: {}", plain(&rule.words())));
        }
    }
    for (name, template) in book.get("templates").and_then(Value::as_object).into_iter().flatten() {
        lines.push(format!(
            "template `{name}`: {} (concordat publish --template {name})",
            text(template, "title"),
            name = plain(name)
        ));
    }
    lines.join("\n")
}

fn diff(waiting: &Value) -> String {
    if waiting.is_null() {
        return "no version waits to be accepted".to_owned();
    }
    let changes = waiting.get("changes").and_then(Value::as_array).into_iter().flatten();
    let changes: Vec<_> =
        changes.filter_map(Value::as_str).map(|line| format!("- {}", plain(line))).collect();
    let book = waiting.pointer("/record/book").cloned().unwrap_or_default();
    let title =
        format!("version {} of {} waits to be accepted", text(&book, "version"), text(&book, "space"));
    match changes.is_empty() {
        true => format!("{title}; nothing was in force before\n\n{}", show(waiting)),
        false => format!("{title}; it changes:\n{}", changes.join("\n")),
    }
}

fn check(found: &Value) -> String {
    let mut lines = Vec::new();
    for (name, id) in [("offers", "contractDefinition"), ("agreements", "agreement")] {
        for one in found.get(name).and_then(Value::as_array).into_iter().flatten() {
            lines.push(text(one, id));
            for conflict in one.get("conflicts").and_then(Value::as_array).into_iter().flatten() {
                lines.push(format!(
                    "  clause {}: {} (\"{}\")",
                    text(conflict, "clause"),
                    text(conflict, "reason"),
                    text(conflict, "text")
                ));
            }
        }
    }
    let count = found.get("inForce").and_then(Value::as_array).map_or(0, Vec::len);
    match (lines.is_empty(), count) {
        (_, 0) => "no rulebook is in force here".to_owned(),
        (true, _) => "every offer and every agreement in force fits".to_owned(),
        (false, _) => lines.join("\n"),
    }
}

fn acceptances(found: &Value) -> String {
    let mut lines = vec![format!("newest version: {}", text(found, "version"))];
    for one in found.get("acceptances").and_then(Value::as_array).into_iter().flatten() {
        lines.push(format!(
            "{} accepted version {} on {}",
            text(one, "member"),
            text(one, "version"),
            text(one, "at")
        ));
    }
    for member in
        found.get("missing").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        let late = if found.get("overdue") == Some(&json!(true)) { "; it is overdue" } else { "" };
        lines.push(format!("{} has not accepted it{late}", plain(member)));
    }
    lines.join("\n")
}
