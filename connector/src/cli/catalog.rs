//! `concordat catalog`: what another participant offers to this node, and what this node's own descriptions lack.

use catalog::lint::{Weight, lint_properties};
use catalog::{LISTED, Labelled, OPEN, VISIBILITY};
use clap::{Args, Subcommand};
use policy_engine::{Policy, explain};
use serde_json::{Map, Value, json};

use super::Exit;
use super::api::{Api, set};
use super::output::{Output, plain, table, text};
use super::target::TargetNode;
use crate::search::describe;

#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The participant's DID.
    #[arg(required = true)]
    peer: Option<String>,
    /// Base address of its endpoints, where its DID document does not tell.
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    #[command(flatten)]
    filter: Filter,
}

/// What the datasets must fit; the other side answers with 400 where it does not know such filters.
#[derive(Debug, Clone, Args)]
struct Filter {
    /// Only datasets that say all of these words somewhere.
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
    /// Only datasets with this keyword.
    #[arg(long)]
    keyword: Option<String>,
    /// Only datasets with this theme, an IRI.
    #[arg(long, value_name = "IRI")]
    theme: Option<String>,
    /// Only datasets about a place within this one.
    #[arg(long)]
    place: Option<String>,
    /// Only datasets that reach to this day or beyond.
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Only datasets that begin no later.
    #[arg(long, value_name = "DATE")]
    until: Option<String>,
    /// Only datasets of this media type.
    #[arg(long, value_name = "MEDIA_TYPE")]
    format: Option<String>,
    /// Only datasets under this licence, an IRI.
    #[arg(long, value_name = "IRI")]
    license: Option<String>,
    /// Only datasets with an offer that permits use for this purpose, an IRI.
    #[arg(long, value_name = "IRI")]
    purpose: Option<String>,
}

impl Filter {
    /// As the message has it; nothing where nothing is asked for.
    fn json(&self) -> Option<Value> {
        let members = [
            ("text", &self.text),
            ("keyword", &self.keyword),
            ("theme", &self.theme),
            ("place", &self.place),
            ("from", &self.from),
            ("until", &self.until),
            ("format", &self.format),
            ("license", &self.license),
            ("purpose", &self.purpose),
        ];
        let members: Map<String, Value> = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))))
            .collect();
        (!members.is_empty()).then(|| json!([members]))
    }
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// What this node's datasets lack of what portals demand and recommend (DCAT-AP 3), and what they cannot read.
    Lint,
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let Some(peer) = &arguments.peer else { return lint(&api, output).await };
    let found = fetch(&api, peer, arguments.address.as_deref(), arguments.filter.json()).await?;
    output.result(&found, || {
        let own = rows(&found);
        // A broker's catalog has those of others in it.
        let within = found.get("catalog").and_then(Value::as_array).into_iter().flatten();
        let others: Vec<_> = within.filter(|one| !rows(one).is_empty()).collect();
        let mut shown = Vec::new();
        if !own.is_empty() || others.is_empty() {
            shown.push(table(&HEADER, own));
        }
        for one in others {
            shown.push(format!("offered by {} {}", text(one, "participantId"), text(one, catalog::TITLE)));
            shown.push(table(&HEADER, rows(one)));
        }
        let unreadable =
            found.get(protocol::wire::UNREADABLE).and_then(Value::as_array).into_iter().flatten();
        let unreadable: Vec<_> = unreadable.filter_map(Value::as_str).map(plain).collect();
        if !unreadable.is_empty() {
            shown.push(format!(
                "left out, for the provider does not describe them as the protocol asks:\n  {}",
                unreadable.join("\n  ")
            ));
        }
        shown.join("\n")
    });
    Ok(Exit::Success)
}

const HEADER: [&str; 5] = ["dataset", "title", "publisher", "period", "terms"];

/// The datasets of a catalog.
fn rows(catalog: &Value) -> Vec<Vec<String>> {
    let datasets = catalog.get("dataset").and_then(Value::as_array).into_iter().flatten();
    let row = |dataset: &Value| {
        let description = describe(dataset);
        let period =
            [description.from, description.until].into_iter().flatten().collect::<Vec<_>>().join(" to ");
        let offers = dataset.get("hasPolicy").and_then(Value::as_array).into_iter().flatten();
        let terms = offers.map(words).collect::<Vec<_>>().join("\nor\n");
        vec![
            text(dataset, "@id"),
            plain(description.title.plain().unwrap_or_default()),
            plain(description.publisher.as_ref().and_then(Labelled::plain).unwrap_or_default()),
            plain(&period),
            terms,
        ]
    };
    datasets.map(row).collect()
}

/// Looks at every dataset of this node; exits with 5 where portals would miss what they demand, or cannot read something.
async fn lint(api: &Api, output: &Output) -> anyhow::Result<Exit> {
    const PAGE: usize = 500;
    let mut remarks = Vec::new();
    let mut seen = 0;
    loop {
        let query = json!({"@type": "QuerySpec", "limit": PAGE, "offset": seen});
        let page = api.post("/v4/assets/request", query).await?;
        let page = page.as_array().cloned().unwrap_or_default();
        if page.is_empty() {
            break;
        }
        seen += page.len();
        for asset in &page {
            let properties = asset.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
            let listed = matches!(properties.get(VISIBILITY).and_then(Value::as_str), Some(LISTED | OPEN));
            let found = lint_properties(&properties);
            remarks.extend(found.into_iter().map(|one| (text(asset, "@id"), listed, one)));
        }
    }
    let wrong = remarks.iter().any(|(_, listed, one)| *listed && one.weight < Weight::Recommended);
    let shown: Vec<_> = remarks
        .iter()
        .map(|(id, listed, one)| {
            json!({
                "dataset": id, "listed": listed, "weight": one.weight, "property": one.property, "text": one.text,
            })
        })
        .collect();
    output.result(&Value::Array(shown.clone()), || {
        if shown.is_empty() {
            return format!("{seen} datasets say of themselves everything that portals like to know");
        }
        let row = |one: &Value| {
            vec![text(one, "dataset"), text(one, "weight"), text(one, "property"), text(one, "text")]
        };
        table(&["dataset", "weight", "property", ""], shown.iter().map(row).collect())
    });
    Ok(if wrong { Exit::Invalid } else { Exit::Success })
}

/// Asks for the catalog through this node.
pub(super) async fn fetch(
    api: &Api,
    peer: &str,
    address: Option<&str>,
    filter: Option<Value>,
) -> anyhow::Result<Value> {
    let mut ask = json!({"counterPartyId": peer, "protocol": "dataspace-protocol-http:2025-1"});
    if let Some(address) = address {
        set(&mut ask, "counterPartyAddress", json!(address));
    }
    if let Some(filter) = filter {
        set(&mut ask, "filter", filter);
    }
    api.post("/v4/catalog/request", ask).await
}

/// An offer's terms, one sentence a line.
pub(super) fn words(offer: &Value) -> String {
    match Policy::parse(offer) {
        Ok(policy) => explain::policy(&policy).join("\n"),
        Err(error) => format!("terms that this node cannot read: {}", plain(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::for_people;

    #[test]
    fn texts_of_a_strangers_datasets_are_of_one_line() {
        let evil = "A\nurn:forged\u{1b}[2J";
        let said = || Some(evil.to_owned());
        let described = catalog::Description {
            publisher: said().map(Labelled::from),
            from: said(),
            until: said(),
            ..Default::default()
        };
        let mut properties = described.to_properties();
        properties.insert(catalog::TITLE.to_owned(), json!(evil));
        properties.insert("@id".to_owned(), json!(evil));
        properties.insert("hasPolicy".to_owned(), json!([{"@type": evil, evil: evil}]));
        let of_catalog = for_people(|| rows(&json!({"dataset": [properties]})));
        let cells = of_catalog.iter().flatten();
        assert!(cells.clone().any(|cell| cell.contains("forged")), "{of_catalog:?}");
        assert!(cells.clone().all(|cell| !cell.contains(char::is_control)), "{of_catalog:?}");
    }
}
