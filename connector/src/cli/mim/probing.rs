//! What can be seen of another party's node from outside, without a token.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::super::Exit;
use super::super::output::{Output, table, text};
use crate::network::{Guard, PeerClient, bounded_body, describe};
use crate::tls;

/// Longest wait for an answer.
const LOOK: Duration = Duration::from_secs(10);
/// Largest answer that is looked at.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Probe {
    /// The public address, such as https://city.example.
    url: String,
    /// A PEM file of a further authority whose certificates are trusted.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// A special network in which it may be.
    #[arg(long, value_name = "NETWORK")]
    allow_network: Vec<IpNet>,
}

/// Where to look, what for, and which status is right.
struct Look {
    edition: &'static str,
    mim: &'static str,
    id: &'static str,
    what: &'static str,
    post: bool,
    path: &'static str,
    right: &'static [u16],
    /// A member that the answer must have.
    member: Option<&'static str>,
}

const fn look(
    edition: &'static str,
    mim: &'static str,
    id: &'static str,
    what: &'static str,
    path: &'static str,
    member: Option<&'static str>,
) -> Look {
    Look { edition, mim, id, what, post: false, path, right: &[200], member }
}

const NOW: &str = "MIMs Plus 9.0";
const LOOKS: [Look; 9] = [
    look(NOW, "MIM3", "RC5.4", "it says who it is: a DID document", "/.well-known/did.json", Some("id")),
    look(
        NOW,
        "MIM3",
        "RC6.1",
        "it negotiates: Dataspace Protocol versions",
        "/.well-known/dspace-version",
        Some("protocolVersions"),
    ),
    Look {
        edition: NOW,
        mim: "MIM3",
        id: "RC5.3",
        what: "it asks who wants its catalog",
        post: true,
        path: "/dsp/2025-1/catalog/request",
        right: &[401, 403, 404],
        member: None,
    },
    look(NOW, "MIM3", "RC4.3", "a public catalogue in Turtle", "/open/catalog.ttl", None),
    look(NOW, "MIM3", "RC4.3", "a public catalogue in JSON-LD", "/open/catalog.jsonld", None),
    look(NOW, "MIM3", "RC4.1", "a public catalogue, in the form that is asked for", "/open/catalog", None),
    look(NOW, "MIM3", "RC1.1", "a rulebook, as an authority", "/dcp/issuer/rulebook", None),
    look(
        "MIM4 technical specification 2021",
        "MIM4",
        "5.8",
        "the connector's metadata",
        "/.well-known/connector-config",
        Some("connector_uuid"),
    ),
    look(NOW, "MIM0", "R1.2", "health over HTTPS", "/health", None),
];

pub(in crate::cli) async fn probe(arguments: &Probe, output: &Output) -> anyhow::Result<Exit> {
    let guard = Guard::new(&arguments.allow_network);
    let base = arguments.url.trim_end_matches('/');
    guard.check_url(base).with_context(|| format!("`{base}` cannot be looked at"))?;
    let client = PeerClient::new(&guard, tls::looking(arguments.root.as_deref())?)?;
    let mut rows = Vec::new();
    for look in &LOOKS {
        rows.push(seen(&client, base, look).await);
    }
    let answered = rows.iter().any(|row| row.get("status").is_some_and(Value::is_number));
    let found = json!({"url": base, "rows": rows, "note": "seen from outside without a token; what is not seen may be there all the same"});
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
        let rows = table(&["edition", "MIM", "id", "what", "", "seen"], rows.iter().map(row).collect());
        format!("{rows}\n{}", text(&found, "note"))
    });
    Ok(if answered { Exit::Success } else { Exit::Failure })
}

async fn seen(client: &PeerClient, base: &str, look: &Look) -> Value {
    let url = format!("{base}{}", look.path);
    let request = if look.post { client.post(&url).json(&json!({})) } else { client.get(&url) };
    let (met, status, seen) = match request.timeout(LOOK).send().await {
        Err(error) => ("N", Value::Null, describe(&error)),
        Ok(answer) => {
            let status = answer.status().as_u16();
            let kind = answer.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let kind = kind.unwrap_or_default().to_owned();
            let body = bounded_body(answer, MAX_ANSWER).await.unwrap_or_default();
            let has = look.member.is_none_or(|member| {
                serde_json::from_slice::<Value>(&body).is_ok_and(|json| json.get(member).is_some())
            });
            let holds = look.right.contains(&status) && has;
            let told = format!("{} answered {status}, {kind}, {} bytes", look.path, body.len());
            // What is not seen from outside may be there all the same.
            (if holds { "M" } else { "not seen" }, json!(status), told)
        }
    };
    json!({"edition": look.edition, "mim": look.mim, "id": look.id, "what": look.what, "met": met, "status": status, "seen": seen})
}
