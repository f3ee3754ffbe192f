//! `concordat authority`: the data space's governance body issues and takes back credentials.

use std::path::Path;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Exit;
use super::api::{Api, segment};
use super::credentials::names;
use super::output::{Output, plain, table, text};
use super::target::TargetNode;
use crate::config::{Authority, Config, FILE};

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Make this node an authority: it issues credentials from its next start on.
    Init(Init),
    /// Requests for credentials that wait for you, and those answered.
    Requests,
    /// Issue what was asked for; the holder gets it at once.
    Approve {
        /// The request's id.
        id: String,
        #[command(flatten)]
        claims: Claims,
    },
    /// Refuse a request; the holder is told.
    Reject {
        /// The request's id.
        id: String,
        /// Why, for the holder.
        #[arg(long)]
        reason: String,
    },
    /// Let a participant have credentials as soon as it asks, and tell it so.
    Invite {
        /// Its DID.
        holder: String,
        /// A type; all that this authority issues otherwise. May be repeated.
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
        #[command(flatten)]
        claims: Claims,
    },
    /// Who was invited and has not asked yet.
    Invitations,
    /// Every credential issued here.
    Issued,
    /// Take a credential back: the status list says so at once, and every member is told.
    Revoke {
        /// The credential's id.
        id: String,
        /// Why, for your own records.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Clone, Args)]
pub(super) struct Init {
    /// The data space, an IRI: `memberOf` in every credential.
    #[arg(long, value_name = "IRI")]
    space: String,
    /// A type of credential that it issues; may be repeated.
    #[arg(long = "type", value_name = "TYPE", default_values = ["MembershipCredential", "RoleCredential"])]
    types: Vec<String>,
    /// Days that a credential is valid.
    #[arg(long, default_value_t = 365)]
    valid_days: u16,
}

impl Init {
    /// An authority of `space` as it is without further options.
    pub(super) fn of(space: &str) -> Self {
        let types = ["MembershipCredential", "RoleCredential"].map(str::to_owned).to_vec();
        Self { space: space.to_owned(), types, valid_days: 365 }
    }
}

#[derive(Debug, Clone, Args)]
struct Claims {
    /// What the credential says of the holder beside its membership, for example role=air-quality-agency; may be
    /// repeated.
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, String)>,
}

fn claim(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    match name {
        "" => Err("expected NAME=VALUE".to_owned()),
        "id" | "memberOf" => {
            Err(format!("`{name}` is not yours to choose: it follows from holder and data space"))
        }
        _ => Ok((name.to_owned(), value.to_owned())),
    }
}

impl Claims {
    fn json(&self) -> Map<String, Value> {
        self.claims.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
    }
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    if let Command::Init(wanted) = &arguments.command {
        let config = init(node.folder()?, wanted)?;
        let (did, types) = (&config.participant.did, &wanted.types);
        output.result(&json!({"did": did, "types": types, "space": wanted.space}), || {
            format!(
                "{did} issues {} from its next start on.\nTo invite a member: concordat authority invite DID\n\
                 The member then joins with: concordat credentials request {did} --trust",
                types.join(", ")
            )
        });
        return Ok(Exit::Success);
    }
    let api = Api::open(node)?;
    let of_request = |id: &str, what: &str| format!("/v4/authority/requests/{}/{what}", segment(id));
    match &arguments.command {
        Command::Init(_) => {}
        Command::Requests => {
            let found = api.get("/v4/authority/requests").await?;
            output.result(&found, || {
                let row = |one: &Value| {
                    vec![
                        text(one, "id"),
                        text(one, "holder"),
                        wanted(one),
                        text(one, "status"),
                        text(one, "at"),
                    ]
                };
                let rows = found.as_array().into_iter().flatten().map(row).collect();
                table(&["request", "holder", "wants", "status", "since"], rows)
            });
        }
        Command::Approve { id, claims } => {
            let found = api.post(&of_request(id, "approve"), json!({"claims": claims.json()})).await?;
            output.result(&found, || format!("issued; {} gets it now", text(&found, "holder")));
        }
        Command::Reject { id, reason } => {
            let found = api.post(&of_request(id, "reject"), json!({"reason": reason})).await?;
            output.result(&found, || format!("refused; {} is told", text(&found, "holder")));
        }
        Command::Invite { holder, types, claims } => {
            let body = json!({"holder": holder, "types": types, "claims": claims.json()});
            let found = api.post("/v4/authority/invitations", body).await?;
            output.result(&found, || format!("{holder} gets {} as soon as it asks", names(&found)));
        }
        Command::Invitations => {
            let found = api.get("/v4/authority/invitations").await?;
            output.result(&found, || {
                let row = |one: &Value| vec![text(one, "holder"), names(one), text(one, "at")];
                let rows = found.as_array().into_iter().flatten().map(row).collect();
                table(&["holder", "types", "since"], rows)
            });
        }
        Command::Issued => {
            let found = api.get("/v4/authority/issued").await?;
            output.result(&found, || {
                let row = |one: &Value| {
                    let revoked = match text(one, "revokedAt") {
                        at if at.is_empty() => "valid".to_owned(),
                        at => format!("revoked {at}: {}", text(one, "reason")),
                    };
                    vec![text(one, "id"), text(one, "kind"), text(one, "holder"), text(one, "until"), revoked]
                };
                let rows = found.as_array().into_iter().flatten().map(row).collect();
                table(&["credential", "type", "holder", "valid until", "standing"], rows)
            });
        }
        Command::Revoke { id, reason } => {
            let path = format!("/v4/authority/issued/{}/revoke", segment(id));
            let found = api.post(&path, json!({"reason": reason})).await?;
            output.result(&found, || {
                format!("revoked; the {} of {} counts no more", text(&found, "kind"), text(&found, "holder"))
            });
        }
    }
    Ok(Exit::Success)
}

/// The types that a request asks for, from the ids of credential objects.
fn wanted(request: &Value) -> String {
    let wanted = request.get("wanted").and_then(Value::as_array).into_iter().flatten();
    let last = |id: &str| plain(id.split(':').nth(3).unwrap_or(id));
    wanted.filter_map(Value::as_str).map(last).collect::<Vec<_>>().join(", ")
}

/// Adds the section to the configuration in `dir`.
pub(super) fn init(dir: &Path, wanted: &Init) -> anyhow::Result<Config> {
    let config = Config::load(dir)?;
    if config.authority.is_some() {
        bail!("the node in {} is an authority already (see [authority] in {FILE})", dir.display());
    }
    if config.participant.did.starts_with("did:key:") {
        bail!("an authority needs a did:web: a did:key names no services, so nobody would find it");
    }
    let authority = Authority {
        types: wanted.types.clone(),
        space: wanted.space.clone(),
        automatic: false,
        status_list_seconds: 60,
        valid_days: wanted.valid_days,
    };
    let section = toml::to_string_pretty(&json!({"authority": authority})).context("writing the section")?;
    let path = dir.join(FILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let text = format!("{}\n\n{section}", text.trim_end());
    // What would not load is not written.
    Config::parse(&text)?;
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::for_people;

    #[test]
    fn what_an_applicant_wants_is_of_one_line() {
        let found = json!({"wanted": ["urn:concordat:credential:Role\nforged\u{1b}[2J", "other\nforged"]});
        assert_eq!(for_people(|| wanted(&found)), "Role\\nforged\\u{1b}[2J, other\\nforged");
    }
}
