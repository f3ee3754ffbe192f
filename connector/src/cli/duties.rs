//! `concordat duties`: what agreements demand, by when, and who says that it was done.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Exit;
use super::api::{Api, segment};
use super::output::{Output, table, text};
use super::target::TargetNode;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// The duties of every agreement in force, or of one agreement.
    List {
        /// Its id.
        agreement: Option<String>,
    },
    /// State that a duty was done; the other party is told.
    Fulfil(Statement),
    /// As the provider: state that a prohibition was infringed; the other party is told, and data stops until it is made
    /// good as the agreement says.
    Infringed(Statement),
}

#[derive(Debug, Clone, Args)]
struct Statement {
    /// The agreement's id.
    agreement: String,
    /// The duty or prohibition, as `duties list` and the agreement's terms name it, for example `/obligation/0`.
    rule: String,
    /// What was done, in your own words.
    #[arg(long, short)]
    statement: String,
    /// When, such as 2027-01-01T12:00:00Z; now otherwise.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let found = match &arguments.command {
        Command::List { agreement: None } => api.get("/v4/duties").await?,
        Command::List { agreement: Some(id) } => api.get(&of(id)).await?,
        Command::Fulfil(statement) => state(&api, statement, "fulfilled").await?,
        Command::Infringed(statement) => state(&api, statement, "infringed").await?,
    };
    output.result(&found, || show(&found));
    Ok(Exit::Success)
}

fn of(agreement: &str) -> String {
    format!("/v4/contractagreements/{}/duties", segment(agreement))
}

async fn state(api: &Api, statement: &Statement, claim: &str) -> anyhow::Result<Value> {
    let mut body = json!({"rule": statement.rule, "claim": claim, "statement": statement.statement});
    if let Some(at) = &statement.at {
        super::api::set(&mut body, "at", json!(at));
    }
    api.post(&of(&statement.agreement), body).await
}

fn show(found: &Value) -> String {
    let duties = found.as_array().map(Vec::as_slice).unwrap_or_default();
    if duties.is_empty() {
        return "no duties".to_owned();
    }
    let row = |duty: &Value| {
        let evidence = duty.get("evidence").and_then(Value::as_array).into_iter().flatten();
        let evidence: Vec<_> = evidence
            .map(|one| {
                let told = match one.get("told") {
                    Some(Value::Object(not)) => {
                        format!(" (not told: {})", text(&Value::Object(not.clone()), "not"))
                    }
                    Some(Value::String(told)) if told == "pending" => " (being told)".to_owned(),
                    _ => String::new(),
                };
                format!("{} {}: {}{told}", text(one, "at"), text(one, "by"), text(one, "statement"))
            })
            .collect();
        let who = if duty.get("ours") == Some(&json!(true)) { "this node" } else { "the other party" };
        vec![
            text(duty, "agreement"),
            text(duty, "rule"),
            text(duty, "text"),
            who.to_owned(),
            text(duty, "due"),
            text(duty, "state"),
            evidence.join("\n"),
        ]
    };
    table(&["agreement", "rule", "what", "who", "due", "state", "evidence"], duties.iter().map(row).collect())
}
