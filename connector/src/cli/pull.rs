//! `concordat pull`: read data under an agreement.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::api::{Api, Events, segment};
use super::output::{Output, bytes as human_bytes, text};
use super::target::TargetNode;
use super::{Exit, Failed, transfers};

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// An agreement, or a transfer that was started.
    pub id: String,
    /// The file to write; standard output otherwise.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Go on where the file ends; the whole is then held against the provider's checksum.
    #[arg(long, requires = "output")]
    pub resume: bool,
    /// Hold what was read against the provider's checksum, for which the provider reads its source once more.
    #[arg(long, requires = "output")]
    pub verify: bool,
    /// The form of the data to read, where it has several: the name of the distribution.
    #[arg(long, value_name = "NAME")]
    pub distribution: Option<String>,
    /// Read at most so many bytes a second.
    #[arg(long, value_name = "BYTES")]
    pub limit_rate: Option<u64>,
}

/// How data is read.
#[derive(Debug, Clone, Default)]
pub(super) struct How {
    /// Bytes that are there already.
    pub from: u64,
    /// Of which state of the data they are.
    pub etag: Option<String>,
    /// Most bytes a second.
    pub limit_rate: Option<u64>,
    /// The form of the data, where it has several.
    pub distribution: Option<String>,
}

/// What was read.
#[derive(Debug, Clone)]
pub(super) struct Pulled {
    pub transfer: String,
    pub bytes: u64,
    pub sha256: String,
    pub took: Duration,
    /// Which state of the data it was.
    pub etag: Option<String>,
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    // Under an agreement the transfer is this command's own, and is completed when all was read.
    let is_agreement = api.get(&format!("/v4/contractagreements/{}", segment(&arguments.id))).await.is_ok();
    let transfer = if is_agreement {
        text(&transfers::start(&api, &arguments.id).await?, "@id")
    } else {
        arguments.id.clone()
    };
    let (mut sink, from): (Box<dyn AsyncWrite + Unpin + Send>, u64) = match &arguments.output {
        None => (Box::new(tokio::io::stdout()), 0),
        Some(path) => {
            let mut options = tokio::fs::OpenOptions::new();
            options.create(true).write(true).append(arguments.resume).truncate(!arguments.resume);
            let file = options.open(path).await.with_context(|| format!("opening {}", path.display()))?;
            let length = if arguments.resume { file.metadata().await?.len() } else { 0 };
            (Box::new(file), length)
        }
    };
    // Of which state of the data an unfinished file is, stands beside it.
    let state = arguments.output.as_ref().map(|path| with_ending(path, ".etag"));
    let etag = match &state {
        Some(state) if from > 0 => std::fs::read_to_string(state).ok(),
        _ => None,
    };
    let distribution = arguments.distribution.clone();
    let how = How { from, etag, limit_rate: arguments.limit_rate, distribution };
    let noted = |etag: &str| match &state {
        Some(state) => std::fs::write(state, etag).with_context(|| format!("writing {}", state.display())),
        None => Ok(()),
    };
    let pulled = pull_noting(&api, &transfer, &how, sink.as_mut(), *output, &noted).await?;
    let mut checked = false;
    if let Some(path) = arguments.output.as_ref().filter(|_| arguments.verify || from > 0) {
        checked = verify(&api, &transfer, &how, &pulled, path).await?;
    }
    if let Some(state) = state.filter(|state| state.exists()) {
        std::fs::remove_file(&state).with_context(|| format!("removing {}", state.display()))?;
    }
    if is_agreement {
        api.post(&format!("/v4/transferprocesses/{}/complete", segment(&transfer)), json!({})).await?;
    }
    let machine = json!({
        "transfer": pulled.transfer, "bytes": pulled.bytes, "sha256": pulled.sha256, "checked": checked,
    });
    // Standard output may carry the data itself.
    if arguments.output.is_some() {
        output.result(&machine, || {
            let seconds = pulled.took.as_secs_f64().max(1e-9);
            let as_told = if checked { ", the whole as the provider has it" } else { "" };
            format!("{} in {seconds:.2} s, SHA-256 {}{as_told}", human_bytes(pulled.bytes), pulled.sha256)
        });
    }
    Ok(Exit::Success)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Whether the whole file is what the provider has, by length and checksum (RFC 9530); false where it tells none.
async fn verify(api: &Api, transfer: &str, how: &How, pulled: &Pulled, path: &Path) -> anyhow::Result<bool> {
    let mut headers = HeaderMap::new();
    headers.insert(dataplane::WANT_REPR_DIGEST, HeaderValue::from_static("sha-256=1"));
    let head = api.data(Method::HEAD, transfer, how.distribution.as_deref(), headers).await?;
    let told = |name: header::HeaderName| head.headers().get(name).and_then(|value| value.to_str().ok());
    let Some(digest) = told(dataplane::REPR_DIGEST).and_then(|value| value.strip_prefix("sha-256=:")) else {
        return Ok(false);
    };
    let mut file = std::fs::File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let mut own = Sha256::new();
    let length = std::io::copy(&mut file, &mut own).with_context(|| format!("reading {}", path.display()))?;
    let changed = pulled.etag.is_some() && told(header::ETAG).map(str::to_owned) != pulled.etag;
    let same_length = told(header::CONTENT_LENGTH).is_none_or(|told| told == length.to_string());
    if changed {
        bail!(Failed::new(
            Exit::Invalid,
            "the data changed at its provider meanwhile; read it anew, without --resume"
        ));
    }
    if !same_length || digest.trim_end_matches(':') != STANDARD.encode(own.finalize()) {
        bail!(Failed::new(
            Exit::Invalid,
            format!("{} is not what the provider has; read it anew, without --resume", path.display())
        ));
    }
    Ok(true)
}

/// Reads a started transfer into `sink`. A stream that is cut is an error with the provider's reason.
pub(super) async fn pull(
    api: &Api,
    transfer: &str,
    how: &How,
    sink: &mut (dyn AsyncWrite + Unpin + Send),
    output: Output,
) -> anyhow::Result<Pulled> {
    pull_noting(api, transfer, how, sink, output, &|_| Ok(())).await
}

/// As [`pull`]; `noted` is told of which state of the data it is, before the first byte.
async fn pull_noting(
    api: &Api,
    transfer: &str,
    How { from, etag, limit_rate, distribution }: &How,
    sink: &mut (dyn AsyncWrite + Unpin + Send),
    output: Output,
    noted: &(dyn Fn(&str) -> anyhow::Result<()> + Sync),
) -> anyhow::Result<Pulled> {
    let (from, limit_rate) = (*from, *limit_rate);
    let mut headers = HeaderMap::new();
    if from > 0 {
        headers.insert(header::RANGE, HeaderValue::try_from(format!("bytes={from}-"))?);
        if let Some(etag) = etag {
            headers.insert(header::IF_RANGE, HeaderValue::try_from(etag.trim())?);
        }
    }
    let mut events = api.events(None).await?;
    let started = Instant::now();
    let response = match api.data(Method::GET, transfer, distribution.as_deref(), headers).await {
        Ok(response) => response,
        // The file has everything already.
        Err(error) if from > 0 && error.to_string().contains("416") => {
            return Ok(Pulled {
                transfer: transfer.to_owned(),
                bytes: 0,
                sha256: String::new(),
                took: started.elapsed(),
                etag: etag.clone(),
            });
        }
        Err(error) => return Err(error),
    };
    if from > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
        bail!("the source cannot go on where the file ends, or has changed; read it anew, without --resume");
    }
    let etag = response.headers().get(header::ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if let Some(etag) = etag.as_deref().filter(|etag| !etag.starts_with("W/")) {
        noted(etag)?;
    }
    let total = response.content_length();
    let bar = output.bytes_bar(total, "pull");
    let mut digest = Sha256::new();
    let mut count: u64 = 0;
    let mut chunks = response.bytes_stream();
    loop {
        // What ends the transfer is heard at once, also while bytes that came before it wait to be read.
        let chunk = tokio::select! {
            biased;
            () = ended(&mut events, transfer) => None,
            chunk = paced(&mut chunks, started, count, limit_rate) => match chunk {
                None => break,
                Some(chunk) => chunk.ok(),
            },
        };
        let Some(chunk) = chunk else {
            bar.abandon();
            bail!(cut(api, transfer, count).await);
        };
        digest.update(&chunk);
        sink.write_all(&chunk).await.context("writing the data")?;
        count += u64::try_from(chunk.len()).unwrap_or_default();
        bar.set_position(count);
    }
    sink.flush().await.context("writing the data")?;
    bar.finish_and_clear();
    if total.is_some_and(|total| total != count) {
        bail!(cut(api, transfer, count).await);
    }
    let sha256 = crate::ids::hex(&digest.finalize());
    Ok(Pulled { transfer: transfer.to_owned(), bytes: count, sha256, took: started.elapsed(), etag })
}

/// The next chunk, not sooner than the rate allows.
async fn paced(
    chunks: &mut (impl futures_util::Stream<Item = reqwest::Result<Bytes>> + Unpin),
    started: Instant,
    count: u64,
    limit_rate: Option<u64>,
) -> Option<reqwest::Result<Bytes>> {
    if let Some(rate) = limit_rate.filter(|rate| *rate > 0) {
        #[expect(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            reason = "a rate needs no more precision"
        )]
        let due = Duration::from_secs_f64(count as f64 / rate as f64);
        tokio::time::sleep_until((started + due).into()).await;
    }
    chunks.next().await
}

/// Ends when the transfer does not run any more. Without the event stream the data itself tells, later.
async fn ended(events: &mut Events, transfer: &str) {
    loop {
        match events.next().await {
            Ok(event) if text(&event, "subject") == transfer => {
                if ["SUSPENDED", "TERMINATED", "COMPLETED"].contains(&text(&event, "state").as_str()) {
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => std::future::pending().await,
        }
    }
}

/// Why a stream broke off, as the transfer tells.
async fn cut(api: &Api, transfer: &str, count: u64) -> Failed {
    let found: Value =
        api.get(&format!("/v4/transferprocesses/{}", segment(transfer))).await.unwrap_or_default();
    let last =
        found.get("urn:concordat:history").and_then(Value::as_array).and_then(|history| history.last());
    let mut reason = text(&found, "errorDetail");
    if reason.is_empty() {
        reason = last.map(|entry| text(entry, "text")).unwrap_or_default();
    }
    let state = text(&found, "state");
    Failed::new(
        Exit::Refused,
        format!("the stream was cut after {} (transfer {state}): {reason}", human_bytes(count)),
    )
}
