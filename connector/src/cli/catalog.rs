//! `concordat catalog PEER`: what another participant offers to this node.

use std::path::Path;

use catalog::Description;
use clap::Args;
use policy_engine::{Policy, explain};
use serde_json::{Value, json};

use super::Exit;
use super::api::{Api, set};
use super::output::{Output, table, text};

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// The participant's DID.
    pub peer: String,
    /// Base address of its endpoints, where its DID document does not tell.
    #[arg(long, value_name = "URL")]
    pub address: Option<String>,
}

pub(super) async fn run(dir: &Path, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(dir)?;
    let found = fetch(&api, &arguments.peer, arguments.address.as_deref()).await?;
    output.result(&found, || {
        let rows = found.get("dataset").and_then(Value::as_array).into_iter().flatten().map(|dataset| {
            let description = describe(dataset);
            let period =
                [description.from, description.until].into_iter().flatten().collect::<Vec<_>>().join(" to ");
            let offers = dataset.get("hasPolicy").and_then(Value::as_array).into_iter().flatten();
            let terms = offers.map(words).collect::<Vec<_>>().join("\nor\n");
            vec![
                text(dataset, "@id"),
                description.title,
                description.publisher.unwrap_or_default(),
                period,
                terms,
            ]
        });
        table(&["dataset", "title", "publisher", "period", "terms"], rows.collect())
    });
    Ok(Exit::Success)
}

/// Asks for the catalog through this node.
pub(super) async fn fetch(api: &Api, peer: &str, address: Option<&str>) -> anyhow::Result<Value> {
    let mut ask = json!({"counterPartyId": peer, "protocol": "dataspace-protocol-http:2025-1"});
    if let Some(address) = address {
        set(&mut ask, "counterPartyAddress", json!(address));
    }
    api.post("/v4/catalog/request", ask).await
}

pub(super) fn describe(dataset: &Value) -> Description {
    let mut properties = dataset.as_object().cloned().unwrap_or_default();
    if let Some(distribution) = dataset.pointer("/distribution/0").and_then(Value::as_object) {
        properties.extend(distribution.clone());
    }
    Description::from_properties(&properties)
}

/// An offer's terms, one sentence a line.
pub(super) fn words(offer: &Value) -> String {
    match Policy::parse(offer) {
        Ok(policy) => explain::policy(&policy).join("\n"),
        Err(error) => format!("terms that this node cannot read: {error}"),
    }
}
