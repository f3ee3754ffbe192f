//! `concordat requests`: data that nobody offers yet.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use governance::identifier::{expect_dids, expect_iri};
use serde_json::{Value, json};

use super::Exit;
use super::api::{Api, segment, set};
use super::output::{Output, table, text};
use super::publish::access;
use super::target::TargetNode;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// This node's requests with the answers, and those of others.
    List,
    /// Ask for data: everybody who reads this node's catalog and may see it finds the request.
    Publish(Box<Publish>),
    /// Take a request back.
    Withdraw {
        /// Its id.
        id: String,
    },
    /// Answer somebody's request with an offer; a negotiation begins.
    Offer {
        /// Whose request, a DID.
        participant: String,
        /// The request's id.
        request: String,
        /// The dataset that answers it.
        dataset: String,
    },
    /// Answer somebody's request with no.
    Refuse {
        /// Whose request, a DID.
        participant: String,
        /// The request's id.
        request: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Clone, Args)]
struct Publish {
    /// What is wanted, in one line, such as "hourly noise levels, district 3".
    title: String,
    /// The request's id.
    #[arg(long)]
    id: Option<String>,
    /// In more words.
    #[arg(long)]
    description: Option<String>,
    /// A keyword; may be repeated.
    #[arg(long = "keyword", value_name = "KEYWORD")]
    keywords: Vec<String>,
    /// Which place it should cover: a code or an IRI.
    #[arg(long)]
    place: Option<String>,
    /// First day it should cover.
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Last day it should cover.
    #[arg(long, value_name = "DATE")]
    until: Option<String>,
    /// How often it should change, an IRI.
    #[arg(long, value_name = "IRI")]
    frequency: Option<String>,
    /// Which media type would do.
    #[arg(long, value_name = "MEDIA_TYPE")]
    format: Option<String>,
    /// Which standard or Smart Data Model it should follow, an IRI.
    #[arg(long, value_name = "IRI")]
    conforms_to: Option<String>,
    /// For what it would be used, an IRI.
    #[arg(long, value_name = "IRI")]
    purpose: Option<String>,
    /// Who may see the request: a DID; may be repeated. Everybody otherwise.
    #[arg(long = "only-for", value_name = "DID")]
    only_for: Vec<String>,
    /// Only members of this data space may see the request, an IRI.
    #[arg(long, value_name = "SPACE")]
    only_for_members_of: Option<String>,
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    match arguments.command.clone().unwrap_or(Command::List) {
        Command::List => {
            let found = api.get("/v4/datarequests").await?;
            output.result(&found, || {
                let rows = found.as_array().into_iter().flatten().map(row).collect();
                table(&["request", "what is wanted", "by", "for", "answers"], rows)
            });
        }
        Command::Publish(wanted) => {
            let found = publish(&api, &wanted).await?;
            let id = text(found.get("request").unwrap_or(&Value::Null), "@id");
            output.result(&found, || format!("published the request {id}"));
        }
        Command::Withdraw { id } => {
            api.delete(&format!("/v4/datarequests/{}", segment(&id))).await?;
            output.result(&json!({"withdrawn": id}), || format!("withdrew the request {id}"));
        }
        Command::Offer { participant, request, dataset } => {
            let offer = offer_of(&api, &participant, &dataset).await?;
            let body = json!({"participant": participant, "request": request, "offerId": offer});
            let found = api.post("/v4/datarequests/offer", body).await?;
            let negotiation = text(&found, "negotiation");
            output.result(&found, || format!("offered {dataset}; the negotiation is {negotiation}"));
        }
        Command::Refuse { participant, request, reason } => {
            let body = json!({"participant": participant, "request": request, "reason": reason});
            api.post("/v4/datarequests/refuse", body).await?;
            output.result(&json!({"refused": request}), || {
                format!("refused {request}; {participant} knows it")
            });
        }
    }
    Ok(Exit::Success)
}

async fn publish(api: &Api, wanted: &Publish) -> anyhow::Result<Value> {
    let mut request = json!({"title": wanted.title});
    let texts = [
        ("@id", &wanted.id),
        ("description", &wanted.description),
        ("place", &wanted.place),
        ("from", &wanted.from),
        ("until", &wanted.until),
        ("frequency", &wanted.frequency),
        ("format", &wanted.format),
        ("conformsTo", &wanted.conforms_to),
        ("purpose", &wanted.purpose),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            set(&mut request, name, json!(value));
        }
    }
    if !wanted.keywords.is_empty() {
        set(&mut request, "keywords", json!(wanted.keywords));
    }
    expect_dids("--only-for", &wanted.only_for)?;
    if let Some(space) = &wanted.only_for_members_of {
        expect_iri("--only-for-members-of", space, "https://city.example/space")?;
    }
    let access = access(&wanted.only_for, wanted.only_for_members_of.as_deref());
    api.post("/v4/datarequests", json!({"request": request, "access": access})).await
}

/// The offer for `dataset` that `participant` may see.
async fn offer_of(api: &Api, participant: &str, dataset: &str) -> anyhow::Result<String> {
    let body = json!({"participant": participant, "dataset": dataset});
    let offers = api.post("/v4/offers", body).await?;
    let first = offers.as_array().and_then(|all| all.first()).map(|one| text(one, "@id"));
    first.with_context(|| format!("{dataset} is not offered to {participant}; see `concordat offers`"))
}

fn row(one: &Value) -> Vec<String> {
    let request = one.get("request").cloned().unwrap_or_default();
    let wanted = ["title", "place", "frequency"].map(|name| text(&request, name));
    let wanted: Vec<_> = wanted.into_iter().filter(|part| !part.is_empty()).collect();
    let answer = |one: &Value| match text(one, "answer").as_str() {
        "offered" => format!("{} offers {} ({})", text(one, "by"), text(one, "dataset"), text(one, "state")),
        _ => format!("{} refused: {}", text(one, "by"), text(one, "reason")),
    };
    let mut answers: Vec<_> =
        one.get("answers").and_then(Value::as_array).into_iter().flatten().map(answer).collect();
    if !text(one, "withdrawnAt").is_empty() {
        answers.push("withdrawn".to_owned());
    }
    vec![
        text(&request, "@id"),
        wanted.join(", "),
        text(one, "participant"),
        text(&request, "purpose"),
        answers.join("\n"),
    ]
}
