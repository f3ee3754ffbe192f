//! `concordat mim` and `concordat probe`: what cities demand, held against this node, and against another from outside.

mod probing;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use governance::mims::Met;
use serde_json::{Value, json};

pub(super) use self::probing::{Probe, probe};
use super::Exit;
use super::api::Api;
use super::output::{Output, plain, table, text};
use super::target::TargetNode;
use crate::shown;

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
    /// Somebody answers, in a role and with a key of their own, for what the node itself cannot examine.
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
        output.result(&made, || {
            let name = made.pointer("/account/name").and_then(Value::as_str).map(plain).unwrap_or_default();
            format!("{role} (the account {name}) attests {requirement}")
        });
        return Ok(Exit::Success);
    }
    let mut found = api.get("/v4/mim").await?;
    if let Some(only) = &arguments.only {
        let known = rows(&found).iter().any(|row| text(row, "mim").eq_ignore_ascii_case(only));
        anyhow::ensure!(
            known,
            "no mechanism is called `{only}`; those of the report are MIM0 to MIM4 and MIM6 to MIM8"
        );
        for list in ["rows", "mechanisms"] {
            if let Some(all) = found.get_mut(list).and_then(Value::as_array_mut) {
                all.retain(|one| text(one, "mim").eq_ignore_ascii_case(only));
            }
        }
        recount(&mut found);
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

/// Counts again what a part of the report says.
fn recount(found: &mut Value) {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    rows(found).iter().for_each(|row| *counts.entry(met(row).name()).or_default() += 1);
    if let Some(report) = found.as_object_mut() {
        report.insert("counts".to_owned(), json!(counts));
    }
}

fn rows(found: &Value) -> Vec<Value> {
    found.get("rows").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// How a requirement is met, as its row in the report says; what cannot be read says nothing.
fn met(row: &Value) -> Met {
    Met::named(&text(row, "met")).unwrap_or(Met::NotAssessed)
}

/// The same in words, with who answers for it.
fn answer(row: &Value) -> String {
    match (met(row), row.get("attested").filter(|one| !one.is_null())) {
        (Met::Attested, Some(attested)) => format!("attested by {}", who(attested)),
        (met, _) => met.name().to_owned(),
    }
}

/// Who answers: the role, and the account in brackets.
fn who(attested: &Value) -> String {
    let role = text(attested, "role");
    match attested.pointer("/account/name").and_then(Value::as_str) {
        Some(name) => format!("{role} (account {})", shown::line(name)),
        None => role,
    }
}

fn show(found: &Value) -> String {
    let row = |row: &Value| {
        vec![
            text(row, "edition"),
            text(row, "mim"),
            text(row, "id"),
            text(row, "keyword"),
            answer(row),
            text(row, "level"),
            text(row, "requirement"),
            text(row, "exercised"),
            text(row, "gap"),
        ]
    };
    let header =
        ["edition", "MIM", "id", "keyword", "met", "level", "requirement", "seen in", "how to close it"];
    let shown = table(&header, rows(found).iter().map(row).collect());
    let mechanisms = mechanisms(found);
    let level = |one: &Value| vec![text(one, "mim"), text(one, "edition"), text(one, "level"), counts(one)];
    let levels = table(&["MIM", "edition", "level", "requirements"], mechanisms.iter().map(level).collect());
    format!("{shown}\n\n{levels}\n\n{}{}", legend(), text(found, "note"))
}

/// What the values and levels say.
const LEGEND: [(&str, &str); 8] = [
    ("M", "it worked on this node, by a probe of the check or by the node's records"),
    ("E", "the same, in another way than the requirement's words say"),
    ("able, not exercised", "it is there, and nothing on this node shows that it worked"),
    ("attested", "an account of this node answers for it, in a role"),
    ("N", "what is needed is not set up here, or what was looked at fails"),
    ("not assessed", "nobody answers for it, or the check could not be made"),
    ("unreachable", "what had to be asked did not answer, which says nothing for or against"),
    (
        "levels",
        "of a requirement: Full is M or E, Partial is able or attested, Initial is the rest; of a mechanism: Full when all of its \
         requirements are met but those that only may be, Initial when none is seen at all, Partial between",
    ),
];

/// The legend as lines.
fn legend() -> String {
    LEGEND.iter().map(|(value, says)| format!("{value}: {says}\n")).collect()
}

/// How many requirements of a report, or of a mechanism, are met how.
fn counts(of: &Value) -> String {
    let count = |met: Met| {
        let count = of.pointer(&format!("/counts/{}", met.name())).and_then(Value::as_u64)?;
        Some(format!("{} {count}", met.name()))
    };
    Met::ALL.into_iter().filter_map(count).collect::<Vec<_>>().join("; ")
}

fn mechanisms(found: &Value) -> Vec<Value> {
    found.get("mechanisms").and_then(Value::as_array).cloned().unwrap_or_default()
}
