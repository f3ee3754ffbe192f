//! `concordat compliance`: whether agreements are kept, with the evidence.

use clap::Args;
use serde_json::Value;

use super::Exit;
use super::api::{Api, segment};
use super::output::{Output, plain, table, text};
use super::target::TargetNode;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// The agreement's id; every agreement in force otherwise.
    agreement: Option<String>,
    /// What the other party's node says of it.
    #[arg(long, requires = "agreement")]
    peer: bool,
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let found = match &arguments.agreement {
        None => api.get("/v4/compliance").await?,
        Some(id) => {
            let of = if arguments.peer { "compliance/peer" } else { "compliance" };
            api.get(&format!("/v4/contractagreements/{}/{of}", segment(id))).await?
        }
    };
    let all: Vec<&Value> = found.as_array().map_or_else(|| vec![&found], |all| all.iter().collect());
    output.result(&found, || match arguments.agreement {
        None => overview(&all),
        Some(_) => all.iter().map(|one| show(one)).collect(),
    });
    let broken = all.iter().any(|one| one.get("kept") == Some(&Value::Bool(false)));
    Ok(if broken { Exit::Invalid } else { Exit::Success })
}

fn kept(one: &Value) -> &'static str {
    match one.get("kept").and_then(Value::as_bool) {
        Some(true) => "kept",
        Some(false) => "BROKEN",
        None => "open",
    }
}

fn overview(all: &[&Value]) -> String {
    let row = |one: &&Value| {
        vec![
            text(one, "agreement"),
            text(one, "dataset"),
            kept(one).to_owned(),
            text(one, "broken"),
            text(one, "open"),
        ]
    };
    table(&["agreement", "dataset", "", "broken", "open"], all.iter().map(row).collect())
}

fn show(one: &Value) -> String {
    let looks = one.get("looks").and_then(Value::as_array).into_iter().flatten();
    let row = |look: &Value| {
        let evidence = look.get("evidence").and_then(Value::as_array).into_iter().flatten();
        let evidence = evidence.filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join("\n");
        vec![text(look, "what"), kept(look).to_owned(), text(look, "text"), text(look, "known"), evidence]
    };
    let rows = table(&["what", "", "found", "known", "evidence"], looks.map(row).collect());
    format!(
        "{} about {}: {}\n{rows}\n{}",
        text(one, "agreement"),
        text(one, "dataset"),
        kept(one),
        text(one, "beyond")
    )
}
