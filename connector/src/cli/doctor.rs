//! `concordat doctor`: would others be able to work with this node?

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::api::Api;
use super::output::{Output, plain, table, text};
use super::target::TargetNode;
use super::{Exit, Failed};
use crate::certificate::{self, Certificate, Life};
use crate::config::{Config, Loosen, PeerProfile};
use crate::identity::Identity;
use crate::network::{Guard, PeerClient, bounded_body, describe};
use crate::tables::prefix;
use crate::{clock, config, ports, tls};

/// Longest wait for this node's own public address.
const LOOK: Duration = Duration::from_secs(10);
/// Peers whose clocks are looked at.
const PEERS_ASKED: usize = 3;
/// Clock difference that peers accept.
const MAX_SKEW: i64 = trust::token::SKEW;

/// Most bytes of the reason why a node is unwell.
const MAX_REASON: usize = 4096;

enum Verdict {
    Fine(String),
    Warning(String),
    Wrong(String),
}

impl From<anyhow::Result<String>> for Verdict {
    fn from(result: anyhow::Result<String>) -> Self {
        match result {
            Ok(text) => Self::Fine(text),
            Err(error) => Self::Wrong(format!("{error:#}")),
        }
    }
}

pub(super) async fn run(node: &TargetNode, output: &Output) -> anyhow::Result<Exit> {
    let config = Config::load(node.folder()?)?;
    let running = Api::open(node).ok();
    let running = match &running {
        Some(api) => api.get("/v4/identity").await.is_ok(),
        None => false,
    };
    let mut checks: Vec<(&str, Verdict)> = vec![("configuration", Verdict::Fine("read".to_owned()))];
    checks.push((
        "keys",
        Identity::load(&config).and_then(|identity| Ok(format!("{} signs", identity.key_id()?))).into(),
    ));
    if config.participant.trial {
        let text = "a trial node: for this machine only, with a certificate that only your trial nodes trust; to serve others, \
                    make a node with `concordat init --address https://...`";
        checks.push(("trial", Verdict::Warning(text.to_owned())));
    }
    checks.push(("certificate", certificate(&config)));
    if let Some(tls) = &config.management.tls {
        checks.push(("management certificate", examined(&config.path(&tls.certificate), &tls.name)));
    }
    checks.push(("ports", ports(&config, running).await.into()));
    checks.push(("store", store(&config, running)));
    if running {
        checks.push(("records", records(node).await));
        checks.push(("deliveries", deliveries(node).await));
        checks.push(("credentials", credentials(node, &config).await));
    }
    match seen_from_outside(&config).await {
        Ok(seen) => checks.extend(seen),
        Err(error) if running => checks.push(("public address", Verdict::Wrong(format!("{error:#}")))),
        Err(_) => checks.push((
            "public address",
            Verdict::Warning(
                "not looked at: the node does not run (start it with `concordat serve`)".to_owned(),
            ),
        )),
    }
    let wrong = checks.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Wrong(_))).count();
    let shown: Vec<_> = checks
        .iter()
        .map(|(name, verdict)| {
            let (word, text) = match verdict {
                Verdict::Fine(text) => ("ok", text),
                Verdict::Warning(text) => ("warning", text),
                Verdict::Wrong(text) => ("WRONG", text),
            };
            (*name, word, text.clone())
        })
        .collect();
    let machine: Vec<_> = shown
        .iter()
        .map(|(name, word, text)| json!({"check": name, "verdict": word, "text": text}))
        .collect();
    output.result(&Value::Array(machine), || {
        let rows =
            shown.iter().map(|(name, word, text)| vec![(*name).to_owned(), (*word).to_owned(), plain(text)]);
        table(&["check", "verdict", "what was found"], rows.collect())
    });
    if wrong > 0 {
        bail!(Failed::new(Exit::Invalid, format!("{wrong} of {} checks failed", shown.len())));
    }
    Ok(Exit::Success)
}

fn certificate(config: &Config) -> Verdict {
    let host = match tls::public(config).and_then(|_| config::host_of(&config.public.address)) {
        Ok(host) => host,
        Err(error) => return Verdict::Wrong(format!("{error:#}")),
    };
    examined(&config.path(&config.tls.certificate), &host)
}

/// Whether a certificate is one that clients take that dial `host`, and for how long.
fn examined(file: &Path, host: &str) -> Verdict {
    let now = clock::now();
    let certificate = match Certificate::read(file) {
        Ok(certificate) => certificate,
        Err(error) => return Verdict::Wrong(format!("{error:#}")),
    };
    if let Err(error) = certificate.check(host, now) {
        return Verdict::Wrong(format!("{error:#} ({})", file.display()));
    }
    let until = certificate::day(certificate.until);
    match certificate.life(now) {
        Life::Days(days) if days < certificate::WARNING_DAYS => Verdict::Warning(format!(
            "for `{host}`, expires on {until}, in {days} days: put a new one in the place of {} and run \
             `concordat identity reload-certificates`",
            file.display()
        )),
        _ => Verdict::Fine(format!("for `{host}`, good until {until}")),
    }
}

async fn ports(config: &Config, running: bool) -> anyhow::Result<String> {
    let (public, management) = (config.public.listen, config.management.listen);
    if running {
        return Ok(format!("the node listens on {public} and {management}"));
    }
    ports::listen(public, "public.listen").await?;
    ports::listen(management, "management.listen").await?;
    Ok(format!("{public} and {management} are free"))
}

fn store(config: &Config, running: bool) -> Verdict {
    let folder = config.path(&config.store.folder);
    if running {
        return Verdict::Fine("in use by the running node".to_owned());
    }
    if !folder.join("journal").exists() {
        return Verdict::Fine("not made yet".to_owned());
    }
    let read =
        store::verify(&folder, config.store.engine.into(), prefix::EVENT, prefix::AUDIT_SEAL, &mut |_, _| {});
    read.map_err(anyhow::Error::from)
        .map(|report| format!("journal whole up to commit {}", report.sequence))
        .into()
}

/// What the running node cannot read of its store.
async fn records(node: &TargetNode) -> Verdict {
    let found = async { Api::open(node)?.get("/v4/store/aside").await };
    match found.await {
        Err(error) => Verdict::Wrong(format!("{error:#}")),
        Ok(found) => match found.as_array().map_or(&[][..], Vec::as_slice) {
            [] => Verdict::Fine("every record can be read".to_owned()),
            [one, rest @ ..] => Verdict::Wrong(format!(
                "{} records cannot be read and are set aside, among them {}: {} (see `concordat store aside`)",
                rest.len() + 1,
                text(one, "key"),
                text(one, "reason")
            )),
        },
    }
}

/// What this node can show of itself. Who has nothing sends no access token, which the protocol allows and Eclipse EDC refuses.
async fn credentials(node: &TargetNode, config: &Config) -> Verdict {
    let held = async { anyhow::Ok(Api::open(node)?.get("/v4/credentials").await?) }.await;
    let held = match held {
        Ok(held) => held.as_array().map_or(0, Vec::len),
        Err(error) => return Verdict::Wrong(format!("{error:#}")),
    };
    let talks_to_edc = config.interoperability.loosen == Loosen::Recognised
        || config.peers.values().any(|peer| peer.profile == Some(PeerProfile::Edc) || peer.undeclared_keys);
    match held {
        0 if talks_to_edc => Verdict::Warning(
            "none are held: Eclipse EDC answers 401 to whoever shows none (\"The 'token' claim is mandatory\"); \
             ask an authority that it believes for one: concordat credentials request DID"
                .to_owned(),
        ),
        0 => Verdict::Fine("none are held; participants that ask for some, and every Eclipse EDC, will refuse".to_owned()),
        held => Verdict::Fine(format!("{held} held")),
    }
}

/// What others have not taken.
async fn deliveries(node: &TargetNode) -> Verdict {
    let found = async { super::deliveries::all(&Api::open(node)?, None).await };
    let found = match found.await {
        Err(error) => return Verdict::Wrong(format!("{error:#}")),
        Ok(found) => found,
    };
    let (waiting, given_up): (Vec<_>, Vec<_>) = found.iter().partition(|one| text(one, "state") == "WAITING");
    if let Some(one) = given_up.first() {
        return Verdict::Warning(format!(
            "{} messages were given up or refused, among them one to {}: {} (see `concordat deliveries list`)",
            given_up.len(),
            text(one, "peer"),
            text(one, "reason")
        ));
    }
    match waiting.iter().find(|one| !text(one, "reason").is_empty()) {
        Some(one) => Verdict::Warning(format!(
            "{} messages wait, among them one to {}: {} (see `concordat deliveries list`)",
            waiting.len(),
            text(one, "peer"),
            text(one, "reason")
        )),
        None => Verdict::Fine("no message waits for a repeat, and none was given up".to_owned()),
    }
}

/// Compares this clock with the dates in the answers of peers that this node talked to.
async fn clock_beside_peers(
    config: &Config,
    get: &impl AsyncFn(String) -> anyhow::Result<(Option<String>, Vec<u8>)>,
) -> Verdict {
    let peers = match Api::open(&TargetNode::here(&config.folder)) {
        Ok(api) => api.get("/v4/peers").await.unwrap_or_default(),
        Err(_) => Value::Null,
    };
    let mut skews = Vec::new();
    for peer in peers.as_array().into_iter().flatten().take(PEERS_ASKED) {
        let Ok(mut url) = url::Url::parse(&text(peer, "address")) else { continue };
        url.set_path("/.well-known/dspace-version");
        let Ok((Some(date), _)) = get(url.to_string()).await else { continue };
        let Ok(date) = httpdate::parse_http_date(&date) else { continue };
        let seconds = date.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        skews.push(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_sub(clock::now().as_second()));
    }
    skews.sort_unstable_by_key(|skew| skew.abs());
    // The nearest clock: a single wrong peer must not make this one look wrong.
    match skews.first() {
        None => Verdict::Warning("no peer answers yet that it could be compared with".to_owned()),
        Some(skew) if skew.abs() <= MAX_SKEW => {
            Verdict::Fine(format!("within {} s of {} peers' clocks", skew.abs().max(1), skews.len()))
        }
        Some(skew) => {
            Verdict::Wrong(format!("{} s off from every peer; they accept {MAX_SKEW} s", skew.abs()))
        }
    }
}

/// Looks at the node as a peer would: over TLS, at its public address, with its own trusted authorities.
async fn seen_from_outside(config: &Config) -> anyhow::Result<Vec<(&'static str, Verdict)>> {
    // A node must be reachable for others, wherever it runs: its own address is always allowed here.
    let guard = Guard::new(&["0.0.0.0/0".parse()?, "::/0".parse()?]);
    let client = PeerClient::new(&guard, tls::client(config)?)?;
    let get = async |url: String| -> anyhow::Result<(Option<String>, Vec<u8>)> {
        let response = client.get(&url).timeout(LOOK).send().await;
        let response = response.map_err(|error| anyhow::anyhow!("{url}: {}", describe(&error)))?;
        let status = response.status();
        if status == http::StatusCode::SERVICE_UNAVAILABLE {
            let why = bounded_body(response, MAX_REASON).await.map_err(anyhow::Error::msg)?;
            bail!("{url} answered {status}: {}", String::from_utf8_lossy(&why).trim());
        }
        if !status.is_success() {
            bail!("{url} answered {status}");
        }
        let date = response.headers().get("date").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok((date, bounded_body(response, trust::did::MAX_DOCUMENT).await.map_err(anyhow::Error::msg)?))
    };
    get(format!("{}/health", config.public.address)).await?;
    let mut checks =
        vec![("public address", Verdict::Fine(format!("{} answers over TLS", config.public.address)))];
    checks.push(("clock", clock_beside_peers(config, &get).await));
    let did = &config.participant.did;
    let resolved = async {
        let Some(url) = trust::did::document_url(did)? else {
            return Ok(format!("{did} carries its own key"));
        };
        let (_, body) = get(url.clone()).await?;
        let document = trust::DidDocument::parse(serde_json::from_slice(&body).context(url.clone())?, did)?;
        let identity = Identity::load(config)?;
        document.key(Some(&identity.key_id()?), trust::Relationship::CapabilityInvocation)?;
        if document.json() != identity.document()?.json() {
            bail!("{url} serves another document than this configuration makes; restart the node");
        }
        Ok(format!("{did} resolves at {url} with this node's key"))
    };
    checks.push(("DID", resolved.await.into()));
    let versions = async {
        let (_, body) = get(format!("{}/.well-known/dspace-version", config.public.address)).await?;
        let versions: protocol::wire::VersionResponse = serde_json::from_slice(&body)?;
        versions.choose().map_err(anyhow::Error::msg)?;
        Ok(format!("Dataspace Protocol {} is offered", protocol::VERSION))
    };
    checks.push(("protocol", versions.await.into()));
    let names_loopback =
        config.public.address.contains("//localhost") || config.public.address.contains("//127.");
    if names_loopback {
        checks.push((
            "reach",
            Verdict::Warning("public.address is this machine only; others cannot reach it".to_owned()),
        ));
    }
    Ok(checks)
}
