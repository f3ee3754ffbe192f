//! `concordat use` and `uses`: a shared dataset under a name of this node's own, at an address that stays.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{Api, is_over, segment};
use super::negotiations::{Negotiate, begin};
use super::output::{Output, bytes, table, text};
use super::target::TargetNode;
use super::terms::{Terms, TermsOfUse};
use super::{Exit, Failed, publish};

#[derive(Debug, Clone, Args)]
pub(super) struct Use {
    /// The dataset's id, as `concordat search` and `concordat catalog` show it.
    pub dataset: String,
    /// Its name on this node: small letters, digits, `-` and `_`.
    #[arg(long = "as", value_name = "NAME")]
    pub name: String,
    /// The provider's DID, where the search does not know the dataset, or knows several providers.
    #[arg(long = "from", value_name = "DID")]
    pub provider: Option<String>,
    /// Which form of the data, where it has several.
    #[arg(long, value_name = "NAME")]
    pub distribution: Option<String>,
    /// Which offer, where there are several.
    #[arg(long, value_name = "ID")]
    pub offer: Option<String>,
    /// For what the data will be used, an IRI; must lie within what is offered.
    #[arg(long, value_name = "IRI")]
    pub purpose: Option<String>,
    /// Where it will be used, a place code; must lie within what is offered.
    #[arg(long, value_name = "PLACE")]
    pub used_in: Option<String>,
    /// Base address of the provider's endpoints, where its DID document does not tell.
    #[arg(long, value_name = "URL")]
    pub address: Option<String>,
    /// Negotiate although an agreement about it stands.
    #[arg(long)]
    pub anew: bool,
    /// Longest wait, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub timeout: u64,
}

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// What is used, and how much of it was read.
    List,
    /// Use it no more; its agreement stays.
    End {
        /// Its name.
        name: String,
    },
}

pub(super) async fn begin_use(node: &TargetNode, arguments: &Use, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let used = take(&api, arguments).await?;
    let address = format!("{}{}", api.address(), text(&used, "address"));
    let reused = used.get("reused").and_then(Value::as_bool) == Some(true);
    let mut machine = used.clone();
    super::api::set(&mut machine, "url", json!(address));
    output.result(&machine, || {
        let how = if reused { "an agreement that stands" } else { "a new agreement" };
        format!(
            "{} is used as {} under {how}, {}\nread it at {address} (or {address}.csv, .json, .ndjson, .geojson, \
             .parquet, .arrow, .arrows, /live) with a key of this node; make one: concordat keys create NAME --scope consume\n\
             look at it: {}/dashboard",
            text(&used, "dataset"),
            text(&used, "name"),
            text(&used, "agreement"),
            api.address(),
        )
    });
    Ok(Exit::Success)
}

/// Finds or negotiates an agreement and takes the dataset into use.
pub(super) async fn take(api: &Api, arguments: &Use) -> anyhow::Result<Value> {
    let standing = if arguments.anew { None } else { standing(api, arguments).await? };
    let reused = standing.is_some();
    let agreement = match standing {
        Some(agreement) => agreement,
        None => negotiated(api, arguments).await?,
    };
    let body = json!({"agreement": agreement, "distribution": arguments.distribution});
    let mut used = api.put(&format!("/v4/uses/{}", segment(&arguments.name)), body).await?;
    super::api::set(&mut used, "reused", json!(reused));
    Ok(used)
}

/// An agreement about the dataset that this node has as its consumer, the newest in force.
async fn standing(api: &Api, arguments: &Use) -> anyhow::Result<Option<String>> {
    let query = json!({
        "@type": "QuerySpec", "limit": 1000,
        "filterExpression": [{"@type": "Criterion", "operandLeft": "assetId", "operator": "=", "operandRight": arguments.dataset}],
    });
    let found = api.post("/v4/contractagreements/request", query).await?;
    let fits = |one: &&Value| {
        let ours = text(one, "urn:concordat:role").eq_ignore_ascii_case("consumer");
        let from = arguments.provider.as_ref().is_none_or(|provider| text(one, "providerId") == *provider);
        ours && from && one.get("urn:concordat:ended").is_none_or(Value::is_null) && serves(one, arguments)
    };
    let newest = found
        .as_array()
        .into_iter()
        .flatten()
        .filter(fits)
        .max_by_key(|one| one.get("contractSigningDate").and_then(Value::as_i64).unwrap_or_default());
    Ok(newest.map(|one| text(one, "@id")))
}

/// Whether an agreement is about the purpose and the place that are asked for now.
fn serves(agreement: &Value, arguments: &Use) -> bool {
    let policy = agreement.get("policy").map(Value::to_string).unwrap_or_default();
    [&arguments.purpose, &arguments.used_in]
        .into_iter()
        .flatten()
        .all(|wanted| policy.contains(&format!("\"{wanted}\"")))
}

async fn negotiated(api: &Api, arguments: &Use) -> anyhow::Result<String> {
    let provider = match &arguments.provider {
        Some(provider) => provider.clone(),
        None => provider_of(api, &arguments.dataset).await?,
    };
    let negotiate = Negotiate {
        peer: provider,
        dataset: arguments.dataset.clone(),
        offer: arguments.offer.clone(),
        file: None,
        terms: TermsOfUse {
            terms: Terms {
                purpose: arguments.purpose.clone(),
                used_in: arguments.used_in.clone(),
                ..Terms::default()
            },
            ..TermsOfUse::default()
        },
        address: arguments.address.clone(),
        automation: publish::Automation::Auto,
        no_wait: false,
        timeout: arguments.timeout,
    };
    let mut events = api.events(None).await?;
    let id = begin(api, &negotiate).await?.id;
    let path = format!("/v4/contractnegotiations/{}", segment(&id));
    let found = api.wait(&mut events, &path, Duration::from_secs(arguments.timeout), is_over).await?;
    if text(&found, "state") != "FINALIZED" {
        bail!(Failed::new(Exit::Refused, format!("no agreement: {}", text(&found, "errorDetail"))));
    }
    Ok(text(&found, "contractAgreementId"))
}

/// Who offers the dataset, as far as this node's search knows.
async fn provider_of(api: &Api, dataset: &str) -> anyhow::Result<String> {
    let found = api.post("/v4/search", json!({"dataset": dataset})).await?;
    let hits = found.get("hits").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut providers: Vec<_> = hits.iter().map(|hit| text(hit, "participant")).collect();
    providers.sort();
    providers.dedup();
    match providers.as_slice() {
        [one] => Ok(one.clone()),
        [] => bail!(Failed::new(
            Exit::Usage,
            format!("no catalog that this node has read offers `{dataset}`; say who does: --from DID")
        )),
        several => bail!(Failed::new(
            Exit::Usage,
            format!("`{dataset}` is offered by {}; choose one: --from DID", several.join(", "))
        )),
    }
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    match arguments.command.as_ref().unwrap_or(&Command::List) {
        Command::List => {
            let found = api.get("/v4/uses").await?;
            output.result(&found, || {
                let count = |one: &Value, key: &str| one.get(key).and_then(Value::as_u64).unwrap_or_default();
                let row = |one: &Value| {
                    let force = if one.get("inForce").and_then(Value::as_bool) == Some(true) {
                        match text(one, "until") {
                            until if until.is_empty() => "in force".to_owned(),
                            until => format!("until {until}"),
                        }
                    } else {
                        "none in force".to_owned()
                    };
                    vec![
                        text(one, "name"),
                        text(one, "dataset"),
                        text(one, "provider"),
                        force,
                        count(one, "requests").to_string(),
                        bytes(count(one, "bytes")),
                        format!("{}{}", api.address(), text(one, "address")),
                    ]
                };
                let rows = found.as_array().into_iter().flatten().map(row).collect();
                table(&["name", "dataset", "provider", "agreement", "reads", "bytes", "address"], rows)
            });
        }
        Command::End { name } => {
            api.delete(&format!("/v4/uses/{}", segment(name))).await?;
            output.result(&json!({"name": name}), || {
                format!("{name} is not used any more; its agreement stays")
            });
        }
    }
    Ok(Exit::Success)
}
