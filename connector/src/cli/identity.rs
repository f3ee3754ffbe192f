//! `concordat identity`: who this node is, and its keys.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Exit;
use super::api::Api;
use super::init::KeyType;
use super::output::{Output, document, fields, text};
use super::target::TargetNode;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// DID, key and document.
    Show,
    /// Read certificates and trusted authorities anew, without a restart; SIGHUP does the same.
    ReloadCertificates,
    /// Let a new key take the place of the others; what they have signed stays verifiable.
    Rotate(Rotate),
}

#[derive(Debug, Clone, Args)]
struct Rotate {
    /// Kind of the new key.
    #[arg(long, value_enum, default_value = "ed25519")]
    key_type: KeyType,
    /// Minutes that the new key is published before it signs: longer than others keep this node's DID document.
    #[arg(long, default_value_t = 10, value_name = "MINUTES")]
    lead: u32,
    /// Hours that the old keys are still believed after that.
    #[arg(long, default_value_t = 24, value_name = "HOURS")]
    overlap: u32,
    /// The old keys are in wrong hands: the new one signs at once, and what the old ones signed since then does not count.
    #[arg(long, conflicts_with_all = ["lead", "overlap"])]
    compromised: bool,
    /// Since when the old keys are in wrong hands, such as 2026-01-31T00:00:00Z; since now where this is not said.
    #[arg(long, requires = "compromised", value_name = "TIME")]
    since: Option<jiff::Timestamp>,
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    match &arguments.command {
        None | Some(Command::Show) => {
            let found = api.get("/v4/identity").await?;
            output.result(&found, || show(&found));
        }
        Some(Command::ReloadCertificates) => {
            api.post("/v4/certificates/reload", json!({})).await?;
            output
                .result(&json!({"reloaded": true}), || "new connections use the new certificates".to_owned());
        }
        Some(Command::Rotate(rotate)) => {
            let key_type = match rotate.key_type {
                KeyType::Ed25519 => "ed25519",
                KeyType::P256 => "p256",
            };
            let body = json!({
                "keyType": key_type, "leadSeconds": rotate.lead.saturating_mul(60),
                "overlapSeconds": rotate.overlap.saturating_mul(3600), "compromised": rotate.compromised,
                "since": rotate.since,
            });
            let found = api.post("/v4/identity/rotate", body).await?;
            output.result(&found, || {
                let when = if rotate.compromised {
                    "The new key signs from now on. Peers that have kept the DID document believe the old one for up to \
                     five minutes more. The files of the old keys were destroyed. Agreements that were concluded since the \
                     old ones are in wrong hands do not count; `concordat agreements list` shows them."
                        .to_owned()
                } else {
                    format!(
                        "The new key is published and signs in {} min; the old ones are believed for {} h more, then their \
                         files in keys/ are destroyed.",
                        rotate.lead, rotate.overlap
                    )
                };
                format!("{}\n{when}", show(&found))
            });
        }
    }
    Ok(Exit::Success)
}

fn show(found: &Value) -> String {
    fields(&[
        ("DID", text(found, "did")),
        ("key that signs", text(found, "keyId")),
        ("streams running", text(found, "runningStreams")),
        ("document", found.get("document").map(document).unwrap_or_default()),
    ])
}
