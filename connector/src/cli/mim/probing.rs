//! What can be seen of another party's node from outside, without a token.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use governance::mims::Met;
use http::header;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::super::Exit;
use super::super::output::{Output, table, text};
use super::super::target::TargetNode;
use crate::config::{self, Config};
use crate::network::{Guard, PeerClient, bounded_body, describe};
use crate::tls;

/// Longest wait for an answer.
const LOOK: Duration = Duration::from_secs(10);
/// Largest answer that is looked at.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Answers of what stands before a node: they say nothing of it.
const OF_OTHERS: [u16; 4] = [429, 502, 503, 504];

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Probe {
    /// The public address, such as https://city.example.
    url: String,
    /// A PEM file of a further authority whose certificates are trusted.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// A special network in which it may be, beside those of network.allow of the node in the folder, if there is one.
    #[arg(long, value_name = "NETWORK")]
    allow_network: Vec<IpNet>,
}

/// Where to look, what for, and which answer shows it.
struct Look {
    edition: &'static str,
    mim: &'static str,
    id: &'static str,
    what: &'static str,
    post: bool,
    path: &'static str,
    /// The form that is asked for.
    accept: Option<&'static str>,
    right: &'static [u16],
    /// Types of content that it may have, by their beginnings.
    kinds: &'static [&'static str],
    /// A member that the answer must have.
    member: Option<&'static str>,
}

const fn look(
    (edition, mim, id): (&'static str, &'static str, &'static str),
    what: &'static str,
    path: &'static str,
    kinds: &'static [&'static str],
    member: Option<&'static str>,
) -> Look {
    Look { edition, mim, id, what, post: false, path, accept: None, right: &[200], kinds, member }
}

const NOW: &str = "MIMs Plus 9.0";
const TURTLE: &str = "text/turtle";
const LOOKS: [Look; 9] = [
    look(
        (NOW, "MIM3", "RC5.4"),
        "it says who it is: a DID document",
        "/.well-known/did.json",
        &["application/"],
        Some("verificationMethod"),
    ),
    look(
        (NOW, "MIM3", "RC6.1"),
        "it negotiates: Dataspace Protocol versions",
        "/.well-known/dspace-version",
        &["application/"],
        Some("protocolVersions"),
    ),
    Look {
        post: true,
        right: &[401, 403],
        ..look(
            (NOW, "MIM3", "RC5.3"),
            "it asks who wants its catalog",
            "/dsp/2025-1/catalog/request",
            &["application/"],
            None,
        )
    },
    look((NOW, "MIM3", "RC4.3"), "a public catalogue in Turtle", "/open/catalog.ttl", &[TURTLE], None),
    look(
        (NOW, "MIM3", "RC4.3"),
        "a public catalogue in JSON-LD",
        "/open/catalog.jsonld",
        &["application/ld+json"],
        None,
    ),
    Look {
        accept: Some(TURTLE),
        ..look(
            (NOW, "MIM3", "RC4.1"),
            "a public catalogue, in the form that is asked for",
            "/open/catalog",
            &[TURTLE],
            None,
        )
    },
    look(
        (NOW, "MIM3", "RC1.1"),
        "a rulebook, as an authority",
        "/dcp/issuer/rulebook",
        &["application/jwt"],
        None,
    ),
    look(
        ("MIM4 technical specification 2021", "MIM4", "5.8"),
        "the connector's metadata",
        "/.well-known/connector-config",
        &["application/json"],
        Some("connector_uuid"),
    ),
    look(
        (NOW, "MIM0", "R1.2"),
        "health over HTTPS",
        "/health",
        &["text/plain", "application/json", "application/health+json"],
        None,
    ),
];

pub(in crate::cli) async fn probe(
    node: &TargetNode,
    arguments: &Probe,
    output: &Output,
) -> anyhow::Result<Exit> {
    // The command needs no node; where there is one, it goes as far as that one does.
    let folder = node.folder().ok().filter(|folder| folder.join(config::FILE).exists());
    let config = folder.map(Config::load).transpose()?;
    let allowed = config.iter().flat_map(|config| &config.network.allow).chain(&arguments.allow_network);
    let guard = Guard::new(&allowed.copied().collect::<Vec<_>>());
    let base = arguments.url.trim_end_matches('/');
    guard.check_url(base).with_context(|| format!("`{base}` cannot be looked at"))?;
    let client = PeerClient::new(&guard, tls::looking(config.as_ref(), arguments.root.as_deref())?)?;
    let mut rows = Vec::new();
    for look in &LOOKS {
        rows.push(seen(&client, base, look).await);
    }
    let lost = rows.iter().filter(|row| text(row, "met") == Met::Unreachable.name()).count();
    let found = json!({"url": base, "rows": rows, "unreachable": lost,
        "note": "seen from outside without a token. What is not seen may be there all the same; what is unreachable was not assessed"});
    output.result(&found, || {
        let row = |row: &Value| {
            vec![
                text(row, "edition"),
                text(row, "mim"),
                text(row, "id"),
                text(row, "what"),
                text(row, "met"),
                text(row, "seen"),
            ]
        };
        let rows = table(&["edition", "MIM", "id", "what", "met", "seen"], rows.iter().map(row).collect());
        format!("{rows}\n{}", text(&found, "note"))
    });
    Ok(if lost < LOOKS.len() { Exit::Success } else { Exit::Failure })
}

async fn seen(client: &PeerClient, base: &str, look: &Look) -> Value {
    let url = format!("{base}{}", look.path);
    let request = if look.post { client.post(&url).json(&json!({})) } else { client.get(&url) };
    let request = match look.accept {
        Some(accept) => request.header(header::ACCEPT, accept),
        None => request,
    };
    let lost = |reason: String| (Met::Unreachable.name(), Value::Null, format!("not assessed: {reason}"));
    let (met, status, seen) = match request.timeout(LOOK).send().await {
        Err(error) => lost(describe(&error)),
        Ok(answer) if OF_OTHERS.contains(&answer.status().as_u16()) => {
            lost(format!("{} answered {}: no word of the node itself", look.path, answer.status().as_u16()))
        }
        Ok(answer) => {
            let status = answer.status().as_u16();
            let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let kind = kind.unwrap_or_default().to_owned();
            match bounded_body(answer, MAX_ANSWER).await {
                Err(reason) => lost(format!("{}: {reason}", look.path)),
                Ok(body) => {
                    let has = look.member.is_none_or(|member| {
                        serde_json::from_slice::<Value>(&body).is_ok_and(|json| json.get(member).is_some())
                    });
                    let fits = look.kinds.iter().any(|one| kind.starts_with(one));
                    let told = format!("{} answered {status}, {kind}, {} bytes", look.path, body.len());
                    let holds = look.right.contains(&status) && fits && has;
                    (if holds { Met::Meets.name() } else { "not seen" }, json!(status), told)
                }
            }
        }
    };
    json!({"edition": look.edition, "mim": look.mim, "id": look.id, "what": look.what, "met": met, "status": status, "seen": seen})
}
