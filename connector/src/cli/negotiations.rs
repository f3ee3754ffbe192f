//! `concordat negotiate` and `negotiations`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{Api, is_over, newest, segment, set};
use super::output::{Output, fields, plain, table, text, time};
use super::target::TargetNode;
use super::terms::{Side, TermsOfUse, not_understood};
use super::{Exit, Failed, publish};

#[derive(Debug, Clone, Args)]
pub(super) struct Negotiate {
    /// The provider's DID.
    pub peer: String,
    /// The dataset's id.
    pub dataset: String,
    /// Which offer, where there are several.
    #[arg(long, value_name = "ID")]
    pub offer: Option<String>,
    /// Terms that this side asks for in place of those offered (an ODRL file, as `policy new` writes one); the offer's id, the
    /// dataset and the provider are filled in. The options for terms change single conditions of the offer instead; what is asked
    /// must lie within what is offered, or be agreed to by the provider's operator.
    #[arg(long = "terms", value_name = "FILE", conflicts_with_all = ["Terms", "OnTheWay"])]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub terms: TermsOfUse,
    /// Base address of the provider's endpoints, where its DID document does not tell.
    #[arg(long, value_name = "URL")]
    pub address: Option<String>,
    /// Who makes this side's moves.
    #[arg(long, value_enum, default_value = "auto")]
    pub automation: publish::Automation,
    /// Do not wait for the agreement.
    #[arg(long)]
    pub no_wait: bool,
    /// Longest wait, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub timeout: u64,
}

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// The newest negotiations.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// One negotiation with its history.
    Show {
        /// Its id.
        id: String,
    },
    /// Say yes: agree to a request as the provider, accept an offer as the consumer.
    Approve {
        /// Its id.
        id: String,
    },
    /// Make exactly one move, where nothing is automatic: offer, agree, finalize (provider); request, accept, verify
    /// (consumer); meet, a counter-offer of the largest terms within both what this side wants and what is on the table.
    ///
    /// An offer starts from the terms published, a request from those on the table; the options for terms change single
    /// conditions of them.
    Move(Box<Move>),
    /// Offer a dataset to a participant that did not ask.
    Propose {
        /// The participant's DID.
        peer: String,
        /// The offer's id, as `concordat catalog` shows it with --json.
        offer: String,
        /// Base address of its endpoints, where its DID document does not tell.
        #[arg(long, value_name = "URL")]
        address: Option<String>,
    },
    /// Say no: end it.
    Reject {
        /// Its id.
        id: String,
        /// Why, for the other side.
        #[arg(long, default_value = "rejected by the operator")]
        reason: String,
    },
}

#[derive(Debug, Clone, Args)]
struct Move {
    /// The negotiation's id.
    id: String,
    /// Which move.
    #[arg(value_parser = ["accept", "agree", "finalize", "meet", "offer", "request", "verify"])]
    name: String,
    /// The terms of an offer or request (an ODRL file, as `policy new` writes one); id, dataset and provider are filled in
    /// where the file does not name them.
    #[arg(long, visible_alias = "terms", value_name = "FILE", conflicts_with_all = ["Terms", "OnTheWay"])]
    policy: Option<PathBuf>,
    #[command(flatten)]
    terms: TermsOfUse,
}

impl Move {
    /// The terms that it takes; nothing where it takes those that are there.
    async fn policy(&self, api: &Api) -> anyhow::Result<Option<Value>> {
        if self.policy.is_none() && self.terms == TermsOfUse::default() {
            return Ok(None);
        }
        let (side, base) = match self.name.as_str() {
            "offer" => (Side::Provider, "urn:concordat:ownOffer"),
            "request" => (Side::Consumer, "urn:concordat:offer"),
            other => bail!(Failed::new(
                Exit::Usage,
                format!("terms are for `offer` and `request`; `{other}` takes what is on the table")
            )),
        };
        if let Some(file) = &self.policy {
            return read_json(file).map(Some);
        }
        let found = api.get(&format!("/v4/contractnegotiations/{}", segment(&self.id))).await?;
        let offer = found.get(base).or_else(|| found.get("urn:concordat:offer")).cloned();
        let mut offer = offer.with_context(|| format!("`{}` has no terms to start from", self.id))?;
        self.terms.narrow(&mut offer, side);
        Ok(Some(offer))
    }
}

pub(super) async fn negotiate(
    node: &TargetNode,
    arguments: &Negotiate,
    output: &Output,
) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let mut events = api.events(None).await?;
    let begun = begin(&api, arguments).await?;
    // Said before the answer comes: what is not understood here would deny the first read there.
    let strange = if node.is_here() { not_understood(&node.known()?, &begun.terms) } else { Vec::new() };
    for one in &strange {
        output.say(&format!("note: these terms may never permit a read: {one}"));
    }
    let id = begun.id;
    let path = format!("/v4/contractnegotiations/{}", segment(&id));
    if arguments.no_wait {
        output
            .result(&json!({"negotiation": id}), || format!("asked; see `concordat negotiations show {id}`"));
        return Ok(Exit::Success);
    }
    let deadline = Duration::from_secs(arguments.timeout);
    let found = api.wait(&mut events, &path, deadline, is_over).await?;
    if text(&found, "state") != "FINALIZED" {
        bail!(Failed::new(Exit::Refused, format!("no agreement: {}", text(&found, "errorDetail"))));
    }
    output.result(&found, || {
        format!("agreement {}\nnext: concordat pull {0}", text(&found, "contractAgreementId"))
    });
    Ok(Exit::Success)
}

/// A negotiation that was begun.
pub(super) struct Begun {
    /// This node's id of it.
    pub(super) id: String,
    /// What was asked for.
    terms: Value,
}

/// Sends the request.
pub(super) async fn begin(api: &Api, arguments: &Negotiate) -> anyhow::Result<Begun> {
    let mut ask = json!({"@id": arguments.dataset, "counterPartyId": arguments.peer});
    if let Some(address) = &arguments.address {
        set(&mut ask, "counterPartyAddress", json!(address));
    }
    let dataset = api.post("/v4/catalog/dataset/request", ask).await?;
    let offers = dataset.get("hasPolicy").and_then(Value::as_array).cloned().unwrap_or_default();
    let offer = match &arguments.offer {
        Some(id) => offers.into_iter().find(|offer| text(offer, "@id") == *id),
        None => offers.into_iter().next(),
    };
    let mut offer = offer.with_context(|| format!("no such offer of `{}`", arguments.dataset))?;
    match &arguments.file {
        None => arguments.terms.narrow(&mut offer, Side::Consumer),
        Some(file) => {
            let id = text(&offer, "@id");
            offer = read_json(file)?;
            set(&mut offer, "@id", json!(id));
            set(&mut offer, "@type", json!("Offer"));
        }
    }
    set(&mut offer, "assigner", json!(arguments.peer));
    set(&mut offer, "target", json!(arguments.dataset));
    let mut request = json!({"protocol": "dataspace-protocol-http:2025-1", "policy": offer.clone()});
    set(&mut request, "urn:concordat:automation", json!(arguments.automation.term()));
    let service = dataset.pointer("/distribution/0/accessService/endpointURL").filter(|url| url.is_string());
    match (&arguments.address, service) {
        (Some(address), _) => set(&mut request, "counterPartyAddress", json!(address)),
        (None, Some(url)) => set(&mut request, "urn:concordat:endpointURL", url.clone()),
        (None, None) => {}
    }
    let answer = api.post("/v4/contractnegotiations", request).await?;
    Ok(Begun { id: text(&answer, "@id"), terms: offer })
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    match &arguments.command {
        Command::List { limit } => {
            let found = api.post("/v4/contractnegotiations/request", newest(*limit)).await?;
            output.result(&found, || {
                let row = |one: &Value| {
                    let note = match (text(one, "errorDetail"), text(one, "urn:concordat:pending")) {
                        (problem, pending) if problem.is_empty() && !pending.is_empty() => {
                            format!("{pending} is on its way")
                        }
                        (problem, _) => problem,
                    };
                    vec![
                        text(one, "@id"),
                        text(one, "type").to_lowercase(),
                        text(one, "counterPartyId"),
                        text(one, "assetId"),
                        text(one, "state"),
                        time(one, "stateTimestamp"),
                        note,
                    ]
                };
                let rows = found.as_array().into_iter().flatten().map(row).collect();
                table(&["negotiation", "role", "with", "dataset", "state", "since", "note"], rows)
            });
        }
        Command::Show { id } => {
            let found = api.get(&format!("/v4/contractnegotiations/{}", segment(id))).await?;
            output.result(&found, || show(&found));
        }
        Command::Approve { id } => {
            let found =
                api.post(&format!("/v4/contractnegotiations/{}/approve", segment(id)), json!({})).await?;
            output.result(&found, || format!("approved; {} is told", text(&found, "counterPartyId")));
        }
        Command::Move(one) => {
            let policy = one.policy(&api).await?;
            let path = format!("/v4/contractnegotiations/{}/move/{}", segment(&one.id), one.name);
            let said = policy.is_some();
            let found = api.post(&path, json!({"policy": policy})).await?;
            output.result(&found, || {
                let mut lines = vec![format!("{}: {} is told", one.name, text(&found, "counterPartyId"))];
                let terms = found.get("urn:concordat:terms").and_then(Value::as_array).into_iter().flatten();
                let terms = terms.filter_map(Value::as_str).filter(|_| said);
                lines.extend(terms.map(|line| format!("  {}", plain(line))));
                lines.join("\n")
            });
        }
        Command::Propose { peer, offer, address } => {
            let mut proposal = json!({"counterPartyId": peer, "offerId": offer});
            if let Some(address) = address {
                set(&mut proposal, "counterPartyAddress", json!(address));
            }
            let found = api.post("/v4/contractnegotiations/offer", proposal).await?;
            output.result(&found, || {
                format!("offered; see `concordat negotiations show {}`", text(&found, "@id"))
            });
        }
        Command::Reject { id, reason } => {
            api.post(
                &format!("/v4/contractnegotiations/{}/terminate", segment(id)),
                json!({"reason": reason}),
            )
            .await?;
            output.result(&json!({"negotiation": id}), || "ended; the other side is told".to_owned());
        }
    }
    Ok(Exit::Success)
}

/// A JSON file.
pub(super) fn read_json(file: &Path) -> anyhow::Result<Value> {
    let content = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_slice(&content).with_context(|| format!("reading {}", file.display()))
}

fn show(found: &Value) -> String {
    let terms = found.get("urn:concordat:terms").and_then(Value::as_array).into_iter().flatten();
    let terms = terms.filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join("; ");
    let differs = found.get("urn:concordat:differences").and_then(Value::as_array).into_iter().flatten();
    let differs = differs.filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join("; ");
    let head = fields(&[
        ("negotiation", text(found, "@id")),
        ("their id", text(found, "correlationId")),
        ("role", text(found, "type").to_lowercase()),
        ("with", text(found, "counterPartyId")),
        ("dataset", text(found, "assetId")),
        ("state", text(found, "state")),
        ("on its way", text(found, "urn:concordat:pending")),
        ("agreement", text(found, "contractAgreementId")),
        ("terms", terms),
        ("other than ours", differs),
        ("problem", text(found, "errorDetail")),
    ]);
    format!("{head}\n{}", history(found))
}

/// The history in plain words.
pub(super) fn history(found: &Value) -> String {
    let entries = found.get("urn:concordat:history").and_then(Value::as_array).into_iter().flatten();
    entries
        .map(|entry| format!("  {}  {}", text(entry, "at"), text(entry, "text")))
        .collect::<Vec<_>>()
        .join("\n")
}
