//! `concordat credentials`: what others say of this node, and how it gets it.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{Api, segment};
use super::output::{Output, document, fields, plain, table, text};
use super::target::TargetNode;
use super::{Exit, Failed};

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// The credentials that this node has, and what it could ask for.
    List,
    /// One credential, as its issuer signed it.
    Show(Which),
    /// Ask an authority for credentials and wait for them; `--trust` to join its data space.
    Request(Request),
    /// Requests for credentials, and where they stand.
    Requests,
    /// Forget a credential.
    Remove(Which),
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// The issuer's DID.
    issuer: String,
    /// The credential's type.
    #[arg(value_name = "TYPE")]
    kind: String,
}

#[derive(Debug, Clone, Args)]
struct Request {
    /// The authority's DID.
    issuer: String,
    /// A type to ask for; all that it issues otherwise. May be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Let the authority's word count here too, for the types asked for.
    #[arg(long)]
    trust: bool,
    /// Do not wait: the authority may take days.
    #[arg(long)]
    no_wait: bool,
    /// Seconds to wait.
    #[arg(long, default_value_t = 60)]
    timeout: u64,
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    match &arguments.command {
        Command::List => {
            let held = api.get("/v4/credentials").await?;
            let offers = api.get("/v4/credentialoffers").await?;
            output.result(&json!({"credentials": held, "offers": offers}), || list(&held, &offers));
        }
        Command::Show(which) => {
            let found = api.get(&path(which)).await?;
            output.result(&found, || {
                let credential = found.get("credential").map(document);
                fields(&[
                    ("type", text(&found, "type")),
                    ("issuer", text(&found, "issuer")),
                    ("valid until", text(&found, "validUntil")),
                    ("in the forms", names_of(&found, "profiles")),
                    ("received", text(&found, "receivedAt")),
                    ("standing", standing(&found)),
                    ("credential", credential.unwrap_or_default()),
                ])
            });
        }
        Command::Request(request) => return ask(&api, request, output).await,
        Command::Requests => {
            let found = api.get("/v4/credentialrequests").await?;
            output.result(&found, || {
                let row = |one: &Value| {
                    vec![
                        text(one, "@id"),
                        text(one, "issuer"),
                        names(one),
                        text(one, "status"),
                        text(one, "at"),
                        text(one, "reason"),
                    ]
                };
                let rows = found.as_array().into_iter().flatten().map(row).collect();
                table(&["request", "issuer", "types", "status", "since", "reason"], rows)
            });
        }
        Command::Remove(which) => {
            api.delete(&path(which)).await?;
            output.result(&json!({"removed": which.kind}), || {
                "removed; nobody is shown it any more".to_owned()
            });
        }
    }
    Ok(Exit::Success)
}

async fn ask(api: &Api, request: &Request, output: &Output) -> anyhow::Result<Exit> {
    let mut events = api.events(None).await?;
    let body = json!({"issuer": request.issuer, "types": request.types});
    let made = api.post("/v4/credentialrequests", body).await?;
    if request.trust {
        let body = json!({"did": request.issuer, "types": made.get("types")});
        api.post("/v4/trustedissuers", body).await?;
    }
    if request.no_wait {
        output.result(&made, || format!("asked for {}; see `concordat credentials requests`", names(&made)));
        return Ok(Exit::Success);
    }
    let path = format!("/v4/credentialrequests/{}", segment(&text(&made, "@id")));
    let over = |one: &Value| ["ISSUED", "REJECTED"].contains(&text(one, "status").as_str());
    let found = api.wait(&mut events, &path, Duration::from_secs(request.timeout), over).await?;
    if text(&found, "status") == "REJECTED" {
        bail!(Failed::new(Exit::Refused, format!("{} refused: {}", request.issuer, text(&found, "reason"))));
    }
    output.result(&found, || format!("{} issued {}", request.issuer, names(&found)));
    Ok(Exit::Success)
}

fn path(which: &Which) -> String {
    format!("/v4/credentials/{}/{}", segment(&which.issuer), segment(&which.kind))
}

/// The types of a document, in one line.
pub(super) fn names(document: &Value) -> String {
    names_of(document, "types")
}

fn names_of(document: &Value, member: &str) -> String {
    let all = document.get(member).and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join(", ")
}

/// Whether it counts, as far as this node knows; one that does not is shown to nobody.
fn standing(one: &Value) -> String {
    let found = one.get("standing").cloned().unwrap_or_default();
    match text(&found, "state").as_str() {
        "valid" => "holds".to_owned(),
        "void" => format!("not shown: {}", text(&found, "reason")),
        _ => format!("not known: {}", text(&found, "reason")),
    }
}

fn list(held: &Value, offers: &Value) -> String {
    let row = |one: &Value| {
        vec![
            text(one, "type"),
            text(one, "issuer"),
            text(one, "validUntil"),
            text(one, "receivedAt"),
            standing(one),
        ]
    };
    let rows: Vec<_> = held.as_array().into_iter().flatten().map(row).collect();
    let mut lines = if rows.is_empty() {
        "no credentials".to_owned()
    } else {
        table(&["credential", "issuer", "valid until", "received", "standing"], rows)
    };
    for one in offers.as_array().into_iter().flatten() {
        let (issuer, types) = (text(one, "issuer"), names(one));
        lines.push_str(&format!("\n{issuer} offers {types}: `concordat credentials request {issuer}`"));
    }
    lines
}
