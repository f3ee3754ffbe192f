//! `concordat mim` and `concordat probe`: what cities demand, held against this node, and against another from outside.

mod probing;
mod report;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

pub(super) use self::probing::{Probe, probe};
use super::Exit;
use super::api::Api;
use super::output::{Output, table, text};
use super::target::TargetNode;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Write the report to a file: .html (printed to PDF by any browser) or .json.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The answers that a bidder gives in a procurement table, as CSV: one row for each requirement.
    #[arg(long)]
    tender: bool,
    /// Only of this mechanism, such as MIM3.
    #[arg(long, value_name = "MIM")]
    only: Option<String>,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// A named role answers for what the node itself cannot examine.
    Attest {
        /// Edition, mechanism and id, as the report names them: "MIMs Plus 9.0 MIM3 RC1.3".
        requirement: String,
        /// Who answers: a role, such as "data protection officer".
        #[arg(long)]
        role: String,
        /// What they say.
        #[arg(long, short)]
        statement: String,
    },
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    if let Some(Command::Attest { requirement, role, statement }) = &arguments.command {
        let body = json!({"id": requirement, "role": role, "statement": statement});
        let made = api.put("/v4/mim/attestations", body).await?;
        output.result(&made, || format!("{role} attests {requirement}"));
        return Ok(Exit::Success);
    }
    let mut found = api.get("/v4/mim").await?;
    if let (Some(only), Some(rows)) = (&arguments.only, found.get_mut("rows").and_then(Value::as_array_mut)) {
        rows.retain(|row| text(row, "mim").eq_ignore_ascii_case(only));
    }
    if arguments.tender {
        let written = report::tender(&found)?;
        output.result(&found, || written.trim_end().to_owned());
        return Ok(Exit::Success);
    }
    if let Some(file) = &arguments.report {
        let is_html = file.extension().is_some_and(|ending| ending == "html");
        let written = if is_html { report::html(&found) } else { format!("{found:#}\n") };
        std::fs::write(file, written).with_context(|| format!("writing {}", file.display()))?;
    }
    output.result(&found, || show(&found));
    Ok(Exit::Success)
}

fn rows(found: &Value) -> Vec<Value> {
    found.get("rows").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// `M`, `E`, `N`, or `-` for what nobody has answered for.
fn met(row: &Value) -> String {
    match text(row, "met").as_str() {
        "not assessed" => "-".to_owned(),
        met => met.to_owned(),
    }
}

fn show(found: &Value) -> String {
    let row = |row: &Value| {
        vec![
            text(row, "edition"),
            text(row, "mim"),
            text(row, "id"),
            text(row, "keyword"),
            met(row),
            text(row, "requirement"),
            text(row, "gap"),
        ]
    };
    let shown = table(
        &["edition", "MIM", "id", "keyword", "", "requirement", "how to close it"],
        rows(found).iter().map(row).collect(),
    );
    let counts = found.get("counts").and_then(Value::as_object).into_iter().flatten();
    let counts = counts.map(|(letter, count)| format!("{letter} {count}")).collect::<Vec<_>>().join(", ");
    format!("{shown}\n{counts}\n{}", text(found, "note"))
}
