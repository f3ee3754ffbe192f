//! `concordat bench`: how fast is this machine as a node? Two nodes as processes, over TLS, durable, signed.

mod catalog;
mod consent;
mod proxy;
mod views;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use trust::{Algorithm, DidDocument, PrivateKey};

use super::api::{Api, Events, segment, set};
use super::output::{Output, table, text};
use super::testbed::{TestNode, Testbed, spawn};
use super::{Exit, transfers};
use crate::engine::UsedTokens;

/// Longest wait for one negotiation.
const STEP: Duration = Duration::from_secs(60);
/// Negotiations before measuring: connections are open, caches are filled.
const WARM_UP: usize = 20;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// Negotiations, one after the other, for the latency.
    #[arg(long, default_value_t = 300)]
    negotiations: usize,
    /// Negotiations for the rate.
    #[arg(long, default_value_t = 2000)]
    together: usize,
    /// How many of them at once.
    #[arg(long, default_value_t = 32)]
    at_once: usize,
    /// Size of the streamed source, in MiB.
    #[arg(long, default_value_t = 1024)]
    stream_mib: u64,
    /// Starts of a node.
    #[arg(long, default_value_t = 7)]
    starts: usize,
    /// Instead of all that: the catalog of a node with so many datasets; may be repeated.
    #[arg(long, value_name = "DATASETS")]
    catalog: Vec<usize>,
    /// Instead of all that: the data plane beside nginx, as TLS in front of the same upstream, and a thousand live readers.
    #[arg(long, conflicts_with = "catalog")]
    against_nginx: bool,
    /// Instead of all that: what it costs to ask so many persons row by row.
    #[arg(long, value_name = "PERSONS", conflicts_with_all = ["catalog", "against_nginx"])]
    consent: Option<usize>,
    /// Instead of all that: a table of so many MiB through each view of the gateway, in time and memory.
    #[arg(long, value_name = "MIB", conflicts_with_all = ["catalog", "against_nginx", "consent"])]
    views: Option<u64>,
    /// Beside nginx, a twentieth of the load: whether it works, not how fast it is.
    #[arg(long, requires = "against_nginx")]
    brief: bool,
}

struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    aim: String,
    met: bool,
}

impl Figure {
    fn at_most(name: impl Into<String>, value: f64, unit: &'static str, aim: f64) -> Self {
        Self { name: name.into(), value, unit, aim: format!("at most {aim}"), met: value <= aim }
    }

    fn at_least(name: impl Into<String>, value: f64, unit: &'static str, aim: f64) -> Self {
        Self { name: name.into(), value, unit, aim: format!("at least {aim}"), met: value >= aim }
    }

    fn plain(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, aim: String::new(), met: true }
    }
}

pub(super) async fn run(arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let mut figures = Vec::new();
    for count in arguments.catalog.iter().filter(|count| **count > 0) {
        figures.extend(catalog::figures(*count, output).await?);
    }
    if let Some(persons) = arguments.consent {
        figures = consent::figures(persons.max(2)).await?;
    } else if let Some(mib) = arguments.views {
        figures = views::figures(mib.max(1), output).await?;
    } else if arguments.against_nginx {
        figures = proxy::figures(arguments.brief, output).await?;
    } else if arguments.catalog.is_empty() {
        figures = exchange(arguments, output).await?;
    }
    show(&figures, output);
    Ok(Exit::Success)
}

/// Negotiations, streams, tokens, starts.
async fn exchange(arguments: &Arguments, output: &Output) -> anyhow::Result<Vec<Figure>> {
    let testbed = Testbed::new("bench", false)?;
    output.say("starting two nodes");
    let provider = testbed.node("Provider").await?;
    let consumer = testbed.node("Consumer").await?;
    let small = testbed.folder().join("small.csv");
    std::fs::write(&small, "time,value\n").context("writing a source")?;
    offer(&provider, &small, "urn:bench:small").await?;
    let template = template(&consumer, &provider, "urn:bench:small").await?;

    output.say(&format!("{} negotiations, one after the other", arguments.negotiations));
    let mut figures = latency(&consumer, &template, arguments.negotiations, output).await?;
    output.say(&format!("{} negotiations, {} at once", arguments.together, arguments.at_once));
    figures.push(rate(&consumer, &template, (arguments.together, arguments.at_once), output).await?);
    output.say(&format!("a stream of {} MiB", arguments.stream_mib));
    figures.extend(stream(&testbed, &provider, &consumer, arguments.stream_mib).await?);
    provider.stop().await?;
    consumer.stop().await?;
    output.say("checking tokens");
    figures.extend(tokens(&testbed).await?);
    output.say(&format!("{} starts", arguments.starts));
    figures.push(start(&testbed, arguments.starts, output).await?);
    Ok(figures)
}

fn show(figures: &[Figure], output: &Output) {
    let machine: Vec<_> = figures
        .iter()
        .map(|one| json!({"name": one.name, "value": one.value, "unit": one.unit, "aim": one.aim, "met": one.met}))
        .collect();
    output.result(&Value::Array(machine), || {
        let rows = figures.iter().map(|one| {
            let verdict = match (one.aim.is_empty(), one.met) {
                (true, _) => "",
                (false, true) => "met",
                (false, false) => "MISSED",
            };
            vec![
                one.name.clone(),
                format!("{:.1} {}", one.value, one.unit),
                one.aim.clone(),
                verdict.to_owned(),
            ]
        });
        table(&["figure", "measured", "aim", ""], rows.collect())
    });
}

/// How fast tokens are checked against a document at hand, and what it costs a message to be authenticated: its token
/// checked, and its use remembered durably.
async fn tokens(testbed: &Testbed) -> anyhow::Result<Vec<Figure>> {
    const TOKENS: usize = 4000;
    let (did, audience) = ("did:web:bench.example", "did:web:verifier.example");
    let kid = format!("{did}#key-1");
    let mut figures = Vec::new();
    for (algorithm, name) in [
        (Algorithm::Ed25519, "tokens checked a second on one core, EdDSA"),
        (Algorithm::P256, "tokens checked a second on one core, ES256"),
    ] {
        let key = PrivateKey::generate(algorithm)?;
        let document = DidDocument::of_node(did, &kid, key.public_jwk(), &[]);
        let now = crate::clock::now();
        let issue = |_| trust::token::issue(&key, &kid, did, audience, &crate::ids::urn(), None, now);
        let tokens = (0..TOKENS).map(issue).collect::<Result<Vec<_>, _>>()?;
        let check = |token: &String| {
            let claimed = trust::token::Claimed::read(token)?;
            claimed.verify(&document, audience, now, trust::token::MAX_LIFETIME)
        };
        let began = Instant::now();
        let callers = tokens.iter().map(check).collect::<Result<Vec<_>, _>>()?;
        let rate = per_second(TOKENS, began.elapsed());
        figures.push(Figure::at_least(name, rate, "a second", 5000.0));
        if algorithm == Algorithm::Ed25519 {
            let folder = testbed.folder().join("tokens");
            let (store, _) = store::Store::open(&folder, &store::Options::default())?;
            let memory =
                UsedTokens::load(&store, usize::try_from(crate::config::Bounds::default().used_tokens)?)?;
            let few = callers.get(..300).unwrap_or(&callers);
            let began = Instant::now();
            for (caller, token) in few.iter().zip(&tokens) {
                check(token)?;
                let used =
                    memory.first_use(&store, (caller.did(), true), caller.jti(), caller.expires()).await?;
                ensure!(used == crate::engine::TokenUse::First, "a token was used twice");
            }
            let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(few.len())?);
            figures.push(Figure::plain("authentication of one message", each, "us"));
        }
    }
    Ok(figures)
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

async fn offer(provider: &TestNode, file: &Path, id: &str) -> anyhow::Result<()> {
    let source = json!({"@type": "DataAddress", "type": "File", "path": file});
    let terms = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [
        {"leftOperand": "purpose", "operator": "isA", "rightOperand": "urn:concordat:purpose:public-interest"},
        {"leftOperand": "dateTime", "operator": "lteq", "rightOperand": "2100-01-01T00:00:00Z"}]}],
        "prohibition": [{"action": "distribute"}]});
    let api = &provider.api;
    api.post("/v4/assets", json!({"@id": id, "properties": {}, "dataAddress": source})).await?;
    api.post("/v4/policydefinitions", json!({"@id": id, "policy": terms})).await?;
    let open = format!("{id}:open");
    let everybody = json!({"@type": "Set", "permission": [{"action": "use"}]});
    api.post("/v4/policydefinitions", json!({"@id": open, "policy": everybody})).await?;
    let definition = json!({"@id": id, "accessPolicyId": open, "contractPolicyId": id, "assetsSelector": [
        {"@type": "Criterion", "operandLeft": "id", "operator": "=", "operandRight": id}]});
    api.post("/v4/contractdefinitions", definition).await?;
    Ok(())
}

/// The body of a contract request for `dataset`.
async fn template(consumer: &TestNode, provider: &TestNode, dataset: &str) -> anyhow::Result<Value> {
    let ask = json!({"@id": dataset, "counterPartyId": provider.did});
    let found = consumer.api.post("/v4/catalog/dataset/request", ask).await?;
    let mut offer = found.pointer("/hasPolicy/0").cloned().context("no offer")?;
    set(&mut offer, "assigner", json!(provider.did));
    set(&mut offer, "target", json!(dataset));
    let address = format!("{}{}", provider.address, crate::http::DSP_PATH);
    Ok(json!({"counterPartyAddress": address, "policy": offer}))
}

async fn negotiate(api: &Api, events: &mut Events, template: &Value) -> anyhow::Result<(Value, Duration)> {
    let started = Instant::now();
    let answer = api.post("/v4/contractnegotiations", template.clone()).await?;
    let id = text(&answer, "@id");
    let is_end = |event: &Value| {
        text(event, "subject") == id && ["FINALIZED", "TERMINATED"].contains(&text(event, "state").as_str())
    };
    loop {
        let event =
            tokio::time::timeout(STEP, events.next()).await.context("a negotiation did not end")??;
        if is_end(&event) {
            break;
        }
    }
    let took = started.elapsed();
    let found = api.get(&format!("/v4/contractnegotiations/{}", segment(&id))).await?;
    ensure!(text(&found, "state") == "FINALIZED", "no agreement: {}", text(&found, "errorDetail"));
    Ok((found, took))
}

async fn latency(
    consumer: &TestNode,
    template: &Value,
    count: usize,
    output: &Output,
) -> anyhow::Result<Vec<Figure>> {
    let bar = output.count_bar("negotiations");
    bar.set_length((WARM_UP + count).try_into()?);
    let mut events = consumer.api.events(None).await?;
    let mut took = Vec::new();
    for turn in bar.wrap_iter(0..WARM_UP + count) {
        let (_, one) = negotiate(&consumer.api, &mut events, template).await?;
        if turn >= WARM_UP {
            took.push(one.as_secs_f64() * 1000.0);
        }
    }
    bar.finish_and_clear();
    took.sort_by(f64::total_cmp);
    Ok(vec![
        Figure::at_most("request to FINALIZED, p50", quantile(&took, 50), "ms", 10.0),
        Figure::plain("request to FINALIZED, p99", quantile(&took, 99), "ms"),
    ])
}

fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default()
}

async fn rate(
    consumer: &TestNode,
    template: &Value,
    (count, at_once): (usize, usize),
    output: &Output,
) -> anyhow::Result<Figure> {
    let bar = output.count_bar("negotiations");
    bar.set_length(count.try_into()?);
    let mut events = consumer.api.events(None).await?;
    let (permits, mut free) = mpsc::channel(at_once.max(1));
    for _ in 0..at_once {
        permits.send(()).await?;
    }
    let started = Instant::now();
    let api = consumer.api.clone();
    let template = Arc::new(template.clone());
    let asking = tokio::spawn(async move {
        for _ in 0..count {
            free.recv().await.context("asking ended early")?;
            let (api, template) = (api.clone(), Arc::clone(&template));
            tokio::spawn(
                async move { api.post("/v4/contractnegotiations", template.as_ref().clone()).await },
            );
        }
        Ok::<_, anyhow::Error>(())
    });
    let mut finished = 0;
    while finished < count {
        let event = tokio::time::timeout(STEP, events.next()).await.context("negotiations do not end")??;
        match (text(&event, "kind").as_str(), text(&event, "state").as_str()) {
            ("negotiation", "FINALIZED") => {
                finished += 1;
                bar.inc(1);
                // The last permits find nobody waiting.
                let _ = permits.try_send(());
            }
            ("negotiation", "TERMINATED") => anyhow::bail!("a negotiation failed: {}", text(&event, "text")),
            _ => {}
        }
    }
    let took = started.elapsed().as_secs_f64();
    bar.finish_and_clear();
    asking.await??;
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a rate for people")]
    Ok(Figure::at_least("negotiations a second, many at once", count as f64 / took, "/s", 300.0))
}

async fn stream(
    testbed: &Testbed,
    provider: &TestNode,
    consumer: &TestNode,
    mib: u64,
) -> anyhow::Result<Vec<Figure>> {
    let file = testbed.folder().join("large.bin");
    fill(&file, mib)?;
    offer(provider, &file, "urn:bench:large").await?;
    let request = template(consumer, provider, "urn:bench:large").await?;
    let mut events = consumer.api.events(None).await?;
    let (found, _) = negotiate(&consumer.api, &mut events, &request).await?;
    let started = transfers::start(&consumer.api, &text(&found, "contractAgreementId")).await?;
    let transfer = text(&started, "@id");
    let pid = provider.process_id().context("the provider ended")?;
    reset_peak(pid);
    let before = memory(pid, "VmRSS:");
    let (bytes, took) = read_through(&consumer.api, &transfer).await?;
    let through_both = mb_per_second(bytes, took);
    let growth = (memory(pid, "VmHWM:") - before).max(0.0);
    // From the provider alone, read by this process over TLS as a consumer's node would.
    let (endpoint, token) = endpoint(consumer, &transfer).await?;
    let client = testbed.stranger()?;
    let started = Instant::now();
    let mut chunks =
        client.get(&endpoint).bearer_auth(&token).send().await?.error_for_status()?.bytes_stream();
    let mut direct: u64 = 0;
    while let Some(chunk) = chunks.next().await {
        direct += u64::try_from(chunk?.len())?;
    }
    let directly = mb_per_second(direct, started.elapsed());
    ensure!(bytes == mib * 1024 * 1024 && direct == bytes, "the stream was not whole");
    Ok(vec![
        Figure::at_least("stream over TLS from one node", directly, "MB/s", 500.0),
        Figure::plain("stream through both nodes to a local reader", through_both, "MB/s"),
        Figure::at_most("growth of the provider's memory meanwhile", growth, "MiB", 16.0),
    ])
}

/// Where the provider said that the data is, with the token.
async fn endpoint(consumer: &TestNode, transfer: &str) -> anyhow::Result<(String, String)> {
    let address = consumer.api.get(&format!("/v4/edrs/{}/dataaddress", segment(transfer))).await?;
    Ok((text(&address, "endpoint"), text(&address, "authorization")))
}

fn fill(file: &Path, mib: u64) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::fs::File::create(file).with_context(|| format!("creating {}", file.display()))?;
    let block: Vec<u8> = (0..1024 * 1024_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes().first().copied().unwrap_or_default())
        .collect();
    for _ in 0..mib {
        out.write_all(&block).context("writing the large source")?;
    }
    Ok(())
}

async fn read_through(api: &Api, transfer: &str) -> anyhow::Result<(u64, Duration)> {
    let started = Instant::now();
    let mut chunks =
        api.data(http::Method::GET, transfer, None, http::HeaderMap::new()).await?.bytes_stream();
    let mut bytes: u64 = 0;
    while let Some(chunk) = chunks.next().await {
        bytes += u64::try_from(chunk.context("the stream broke off")?.len())?;
    }
    Ok((bytes, started.elapsed()))
}

fn mb_per_second(bytes: u64, took: Duration) -> f64 {
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a rate for people")]
    let bytes = bytes as f64;
    bytes / took.as_secs_f64().max(1e-9) / 1e6
}

/// A figure of a process's memory in MiB, from /proc.
fn memory(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

/// Forgets the peak so far (Linux: proc(5), clear_refs).
fn reset_peak(pid: u32) {
    // Where the kernel does not do it, the figure is only larger.
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

async fn start(testbed: &Testbed, count: usize, output: &Output) -> anyhow::Result<Figure> {
    let bar = output.count_bar("starts");
    bar.set_length(count.try_into()?);
    let first = testbed.node("Starter").await?;
    let (dir, health) = (first.dir.clone(), format!("{}/health", first.address));
    first.stop().await?;
    let mut took = Vec::new();
    for _ in bar.wrap_iter(0..count) {
        // A client of its own: its connection must not be warm.
        let client = testbed.stranger()?;
        let started = Instant::now();
        let mut child = spawn(&dir).await?;
        client.get(&health).send().await?.error_for_status()?;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
        drop(child.stdin.take());
        child.wait().await.context("ending a node")?;
    }
    bar.finish_and_clear();
    took.sort_by(f64::total_cmp);
    Ok(Figure::at_most("start to first answer, median", quantile(&took, 50), "ms", 100.0))
}
