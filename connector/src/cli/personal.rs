//! `concordat personal`: what persons permit and ask, and what others want deleted here.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Exit;
use super::api::{Api, segment};
use super::output::{Output, fields, plain, table, text};
use super::target::TargetNode;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Consents in the ledger; persons are under the names that the ledger has for them.
    Consents,
    /// What persons ask through their operators, with the deadlines.
    Requests,
    /// One request: what the person wrote, and how the data names them.
    Request {
        /// Its id.
        id: String,
    },
    /// Answer a request for correction or erasure. An erasure that is done destroys what this node recorded of the person.
    Answer {
        /// Its id.
        id: String,
        /// It was done.
        #[arg(long, conflicts_with = "refuse", required_unless_present = "refuse")]
        done: bool,
        /// It is not done.
        #[arg(long)]
        refuse: bool,
        /// What was done, or why it was not: the person is told.
        #[arg(long, short)]
        reason: String,
    },
    /// Take three months instead of one.
    Prolong {
        /// Its id.
        id: String,
        /// Why: the person is told.
        #[arg(long, short)]
        reason: String,
    },
    /// Accesses through personal data operators (MIM4): of one operator, for one service, or all.
    Accesses {
        /// The operator's UUID.
        #[arg(long, value_name = "UUID")]
        operator: Option<String>,
        /// The organisation of the data-using service.
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
    },
    /// What must be deleted because a person permits it no more: here, and at others.
    Deletions,
    /// State that what a notice asked for was deleted; the provider is told.
    Deleted {
        /// The notice's id, as `deletions` shows it.
        notice: String,
        /// What was deleted, where.
        #[arg(long, short)]
        statement: String,
    },
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let of = |id: &str, what: &str| format!("/v4/personal/requests/{}{what}", segment(id));
    match &arguments.command {
        Command::Consents => {
            let found = api.get("/v4/personal/consents").await?;
            output.result(&found, || consents(&found));
        }
        Command::Requests => {
            let found = api.get("/v4/personal/requests").await?;
            output.result(&found, || requests(&found));
        }
        Command::Request { id } => {
            let found = api.get(&of(id, "")).await?;
            output.result(&found, || request(&found));
        }
        Command::Answer { id, done, reason, .. } => {
            let answered = api.post(&of(id, "/answer"), json!({"done": done, "reason": reason})).await?;
            output.result(&answered, || "answered; the operator sees it".to_owned());
        }
        Command::Prolong { id, reason } => {
            let prolonged = api.post(&of(id, "/prolong"), json!({"reason": reason})).await?;
            output.result(&prolonged, || format!("to be answered by {}", text(&prolonged, "due")));
        }
        Command::Accesses { operator, service } => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            for (name, value) in [("operator", operator), ("service", service)] {
                if let Some(value) = value {
                    query.append_pair(name, value);
                }
            }
            let found = api.all(&format!("/v4/personal/accesses?{}", query.finish())).await?;
            output.result(&found, || accesses(&found));
        }
        Command::Deletions => {
            let found = api.all("/v4/personal/deletions").await?;
            output.result(&found, || deletions(&found));
        }
        Command::Deleted { notice, statement } => {
            let all = api.all("/v4/personal/deletions").await?;
            let found = rows(&all).iter().find(|one| text(one, "notice") == *notice);
            let agreement = found.map(|one| text(one, "agreement")).unwrap_or_default();
            let path = format!("/v4/contractagreements/{}/deletions", segment(&agreement));
            let done = api.post(&path, json!({"notice": notice, "statement": statement})).await?;
            output.result(&done, || "confirmed; the provider is being told".to_owned());
        }
    }
    Ok(Exit::Success)
}

fn rows(found: &Value) -> &[Value] {
    found.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn list(document: &Value, pointer: &str) -> String {
    let all = document.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join("\n")
}

fn consents(found: &Value) -> String {
    let row = |one: &Value| {
        let consent = one.get("consent").cloned().unwrap_or_default();
        vec![
            text(one, "person"),
            text(one, "state"),
            list(&consent, "/extent/purposes"),
            list(&consent, "/extent/recipients"),
            list(&consent, "/extent/attributes"),
            text(&consent, "givenAt"),
            text(&consent, "operator"),
        ]
    };
    let header = ["person", "state", "purposes", "recipients", "attributes", "given", "operator"];
    table(&header, rows(found).iter().map(row).collect())
}

fn requests(found: &Value) -> String {
    let row = |one: &Value| {
        let state = match (one.get("answer"), one.get("late")) {
            (Some(answer), _) if answer.get("done") == Some(&json!(true)) => "done",
            (Some(_), _) => "refused",
            (None, Some(_)) => "LATE",
            (None, None) => "open",
        };
        vec![
            text(one, "id"),
            text(one, "kind"),
            text(one, "receivedAt"),
            text(one, "due"),
            state.to_owned(),
            text(one, "operator"),
        ]
    };
    table(&["request", "kind", "received", "due", "state", "operator"], rows(found).iter().map(row).collect())
}

fn request(found: &Value) -> String {
    let record = found.get("request").cloned().unwrap_or_default();
    fields(&[
        ("request", text(&record, "id")),
        ("kind", text(&record, "kind")),
        ("person in the data", text(found, "subject")),
        ("note", text(found, "note")),
        ("received", text(&record, "receivedAt")),
        ("due", text(&record, "due")),
        ("prolonged", text(&record, "prolonged")),
        ("answer", record.get("answer").map(|answer| text(answer, "reason")).unwrap_or_default()),
    ])
}

fn accesses(found: &Value) -> String {
    let row = |one: &Value| {
        let outcome = one.get("outcome").cloned().unwrap_or_default();
        let told = if one.get("told") == Some(&json!("yes")) { "told" } else { "being told" };
        vec![
            text(one, "at"),
            text(one, "operator"),
            text(one, "service"),
            text(one, "agreement"),
            text(&outcome, "source"),
            text(&outcome, "response"),
            told.to_owned(),
        ]
    };
    let header = ["at", "operator", "service", "agreement", "source", "response", "operator's log"];
    table(&header, rows(found).iter().map(row).collect())
}

fn deletions(found: &Value) -> String {
    let row = |one: &Value| {
        let about = one.get("about").cloned().unwrap_or_default();
        let what = match text(&about, "column") {
            column if column.is_empty() => String::new(),
            column => {
                let attributes = match list(&about, "/attributes") {
                    all if all.is_empty() => String::new(),
                    some => format!("{} of ", some.replace('\n', ", ")),
                };
                let (dataset, values) = (text(&about, "dataset"), list(&about, "/values"));
                format!("{dataset}: {attributes}rows with {column} = {values}")
            }
        };
        let who = if one.get("ours") == Some(&json!(true)) { "this node" } else { "the consumer" };
        vec![
            text(one, "notice"),
            who.to_owned(),
            what,
            text(one, "due"),
            text(one, "confirmed"),
            text(one, "agreement"),
        ]
    };
    table(
        &["notice", "who deletes", "what", "due", "confirmed", "agreement"],
        rows(found).iter().map(row).collect(),
    )
}
