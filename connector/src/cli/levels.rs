//! `concordat levels`: what an agreement promises, what was attained, what is owed.

mod export;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Exit;
use super::api::{Api, segment};
use super::output::{Output, plain, table, text};
use super::target::TargetNode;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// What is promised, and what was attained in each period.
    Show {
        /// The agreement's id.
        agreement: String,
    },
    /// Say that you do not agree with what came out of a period; the other party is told, and nothing follows from it.
    Dispute {
        /// The agreement's id.
        agreement: String,
        /// Number of the period.
        period: u64,
        /// Why.
        #[arg(long, short)]
        reason: String,
    },
    /// Waive what you are owed for a level that was missed; the other party is told.
    Waive {
        /// The agreement's id.
        agreement: String,
        /// Number of the period.
        period: u64,
        /// The level.
        level: String,
        /// Why.
        #[arg(long, short)]
        reason: String,
    },
    /// The amounts that are owed, for bookkeeping: no money moves here.
    Export {
        /// The agreement's id.
        agreement: String,
        /// In which form.
        #[arg(long, value_enum, default_value = "csv")]
        form: Form,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One line for each level that was missed.
    Csv,
    /// An invoice of the party that is owed more (UBL 2.1, EN 16931 without tax), of what is neither waived nor disputed.
    Ubl,
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let of =
        |agreement: &str, what: &str| format!("/v4/contractagreements/{}/levels{what}", segment(agreement));
    match &arguments.command {
        Command::Show { agreement } => {
            let found = api.get(&of(agreement, "")).await?;
            output.result(&found, || show(&found));
        }
        Command::Dispute { agreement, period, reason } => {
            let body = json!({"reason": reason});
            let done = api.post(&of(agreement, &format!("/{period}/dispute")), body).await?;
            output.result(&done, || "disputed; the other party is told".to_owned());
        }
        Command::Waive { agreement, period, level, reason } => {
            let body = json!({"level": level, "reason": reason});
            let done = api.post(&of(agreement, &format!("/{period}/waive")), body).await?;
            output.result(&done, || "waived; the other party is told".to_owned());
        }
        Command::Export { agreement, form } => {
            let found = api.get(&of(agreement, "")).await?;
            let owed = export::owed(&found);
            let written = match form {
                Form::Csv => export::csv(&owed)?,
                Form::Ubl => export::ubl(&found, &owed)?,
            };
            output.result(&json!(owed), || written.trim_end().to_owned());
        }
    }
    Ok(Exit::Success)
}

fn show(found: &Value) -> String {
    let words = found.get("words").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut lines: Vec<String> = words.map(plain).collect();
    if lines.is_empty() {
        return "the agreement promises no service levels".to_owned();
    }
    let mut rows = Vec::new();
    for period in found.get("periods").and_then(Value::as_array).into_iter().flatten() {
        let attainment = period.get("attainment").cloned().unwrap_or_default();
        let levels = attainment.get("levels").and_then(Value::as_array).into_iter().flatten();
        let levels: Vec<String> = levels.map(|level| attained(found, level)).collect();
        let breaches = period.get("breaches").and_then(Value::as_array).into_iter().flatten();
        let breaches: Vec<String> = breaches
            .map(|one| {
                let waived = if one.get("waived").is_some() { ", waived" } else { "" };
                format!(
                    "{} ({}, {}{waived})",
                    text(one, "level"),
                    text(one, "remedy"),
                    export::amount(found, one)
                )
            })
            .collect();
        rows.push(vec![
            text(period, "period"),
            text(&attainment, "from"),
            text(period, "state"),
            levels.join("\n"),
            breaches.join("\n"),
        ]);
    }
    lines.push(table(&["period", "from", "state", "attained", "missed"], rows));
    lines.join("\n")
}

/// What was attained of a level, in the unit of its measure.
fn attained(found: &Value, level: &Value) -> String {
    let id = text(level, "id");
    let measures = found.pointer("/levels/levels").and_then(Value::as_array).into_iter().flatten();
    let measure = measures
        .filter(|one| text(one, "id") == id)
        .map(|one| text(one, "measure"))
        .next()
        .unwrap_or_default();
    let is_count = ["requests", "attribution"].contains(&measure.as_str());
    let number = |name: &str| match level.get(name).and_then(Value::as_u64) {
        None => "not measured".to_owned(),
        Some(number) if is_count => number.to_string(),
        Some(number) => format!("{}.{:03} %", number / 1000, number % 1000),
    };
    format!("{id}: {} of {} ({} samples)", number("attained"), number("promised"), text(level, "samples"))
}
