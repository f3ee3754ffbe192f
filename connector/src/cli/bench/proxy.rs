//! The data plane beside nginx: both take TLS off the same upstream, in the same run, for the same reader.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::Path as Below;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::HeaderValue;
use serde_json::json;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Figure, endpoint, mb_per_second, memory, negotiate, per_second, quantile, reset_peak, template};
use crate::cli::api::set;
use crate::cli::output::{Output, text};
use crate::cli::testbed::{TestNode, Testbed, free_port};
use crate::cli::transfers;

/// Sizes of a body, how many are read, how many at once.
const LOADS: [(&str, u64, usize, usize); 4] = [
    ("1 KiB", 1024, 8000, 16),
    ("64 KiB", 64 * 1024, 4000, 16),
    ("16 MiB", 16 * 1024 * 1024, 48, 4),
    ("1 GiB", 1024 * 1024 * 1024, 1, 1),
];
/// Rounds of each, one after the other in turn; the median counts.
const ROUNDS: usize = 3;
/// Readers that follow the same live data.
const READERS: usize = 1000;
/// Live readers that connect at once.
const OPENING: usize = 64;
/// Longest wait for any step.
const STEP: Duration = Duration::from_secs(120);

/// nginx as a TLS reverse proxy; it ends when it is dropped.
struct Nginx {
    child: tokio::process::Child,
    address: String,
}

impl Nginx {
    async fn start(folder: &Path, tls: &Path, upstream: u16) -> anyhow::Result<Self> {
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
        let program = program.into_iter().map(PathBuf::from).find(|path| path.exists());
        let program = program.context("nginx is not on this machine (apt-get install nginx-light)")?;
        let port = free_port()?.port();
        let settings = format!(
            "worker_processes auto; daemon off; pid {0}/nginx.pid; error_log stderr warn;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;\n\
             fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
             upstream data {{ server 127.0.0.1:{upstream}; keepalive 64; }}\n\
             server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {1}/certificate.pem; ssl_certificate_key {1}/key.pem;\n\
             keepalive_requests 1000000; location / {{ proxy_pass http://data; proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\"; proxy_max_temp_file_size 0; }} }} }}\n",
            folder.display(),
            tls.display()
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, settings).context("writing nginx's settings")?;
        let child = Command::new(program)
            .arg("-c")
            .arg(&file)
            .arg("-p")
            .arg(folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting nginx")?;
        Ok(Self { child, address: format!("https://localhost:{port}") })
    }

    /// Master and workers.
    fn processes(&self) -> Vec<u32> {
        let Some(master) = self.child.id() else { return Vec::new() };
        let mut all = vec![master];
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if stat(pid, 1) == Some(u64::from(master)) {
                all.push(pid);
            }
        }
        all
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(master) = self.child.id() {
            Command::new("kill").args(["-QUIT", &master.to_string()]).status().await?;
        }
        tokio::time::timeout(STEP, self.child.wait()).await.context("nginx does not stop")??;
        Ok(())
    }
}

/// The `at`-th number behind the name in /proc/PID/stat (proc(5)); 1 is the parent, 11 and 12 are the ticks used.
fn stat(pid: u32, at: usize) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(at)?.parse().ok()
}

/// Seconds of processor time that processes have used; a tick is a hundredth of a second on Linux.
fn cpu(pids: &[u32]) -> f64 {
    let ticks: u64 = pids.iter().filter_map(|pid| Some(stat(*pid, 11)? + stat(*pid, 12)?)).sum();
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "ticks of a bench")]
    let ticks = ticks as f64;
    ticks / 100.0
}

/// Answers with as many bytes as the path says.
async fn upstream(tracker: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<u16> {
    async fn bytes_of(Below(size): Below<u64>) -> Response {
        static BLOCK: [u8; 64 * 1024] = [b'x'; 64 * 1024];
        let blocks = stream::unfold(size, |left| async move {
            let take = left.min(64 * 1024);
            let block = BLOCK.get(..usize::try_from(take).ok()?).filter(|block| !block.is_empty())?;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(block)), left - take))
        });
        let mut response = Response::new(Body::from_stream(blocks));
        response.headers_mut().insert(http::header::CONTENT_LENGTH, size.into());
        response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let router = Router::new().route("/{size}", get(bytes_of));
    tracker.spawn(crate::http::listener::serve(
        listener,
        None,
        router,
        crate::config::Bounds::default(),
        stop.clone(),
    ));
    Ok(port)
}

/// One side of the comparison.
struct Side {
    address: String,
    token: Option<String>,
    pids: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Round {
    rate: f64,
    throughput: f64,
    p99: f64,
    cpu_per_gb: f64,
}

async fn round(
    client: &reqwest::Client,
    side: &Side,
    size: u64,
    count: usize,
    at_once: usize,
) -> anyhow::Result<Round> {
    let before = cpu(&side.pids);
    let started = Instant::now();
    let url = format!("{}/{size}", side.address);
    let reads = stream::iter(0..count).map(|_| {
        let mut request = client.get(&url);
        if let Some(token) = &side.token {
            request = request.bearer_auth(token);
        }
        async move {
            let began = Instant::now();
            let mut chunks = request.send().await?.error_for_status()?.bytes_stream();
            let mut got: u64 = 0;
            while let Some(chunk) = chunks.next().await {
                got += u64::try_from(chunk?.len())?;
            }
            ensure!(got == size, "a body has {got} bytes in place of {size}");
            Ok::<_, anyhow::Error>(began.elapsed().as_secs_f64() * 1000.0)
        }
    });
    let mut times: Vec<f64> = Vec::with_capacity(count);
    let mut running = reads.buffer_unordered(at_once);
    while let Some(time) = running.next().await {
        times.push(time?);
    }
    let took = started.elapsed();
    times.sort_by(f64::total_cmp);
    let bytes = size * u64::try_from(count)?;
    let throughput = mb_per_second(bytes, took);
    let gigabytes = throughput * took.as_secs_f64() / 1000.0;
    Ok(Round {
        rate: per_second(count, took),
        throughput,
        p99: quantile(&times, 99),
        cpu_per_gb: (cpu(&side.pids) - before) / gigabytes.max(1e-9),
    })
}

/// Where the processor time of one more round goes, by `perf`.
async fn profile(
    client: &reqwest::Client,
    side: &Side,
    size: u64,
    count: usize,
    at_once: usize,
    output: &Output,
) -> anyhow::Result<()> {
    let pids = side.pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let data = std::env::temp_dir().join(format!("concordat-bench-{}.perf", std::process::id()));
    let recording = Command::new("perf")
        .args(["record", "-F", "400", "-o"])
        .arg(&data)
        .args(["-p", &pids])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut recording) = recording else {
        output.say("   the aim is missed; there is no `perf` on this machine, so there is no profile");
        return Ok(());
    };
    round(client, side, size, count, at_once).await?;
    if let Some(pid) = recording.id() {
        Command::new("kill").args(["-INT", &pid.to_string()]).status().await?;
    }
    recording.wait().await?;
    let report = Command::new("perf")
        .args(["report", "--no-children", "--percent-limit", "1", "--sort", "comm,dso,symbol", "-i"])
        .arg(&data)
        .stderr(Stdio::null())
        .output()
        .await?;
    // What is left behind in a temporary folder harms nobody.
    let _ = std::fs::remove_file(&data);
    let text = String::from_utf8_lossy(&report.stdout);
    let lines: Vec<_> =
        text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).take(12).collect();
    output.say(&format!("   the aim is missed; where the node's processor time goes:\n{}", lines.join("\n")));
    Ok(())
}

fn median(mut rounds: Vec<Round>) -> anyhow::Result<Round> {
    rounds.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    rounds.get(rounds.len() / 2).copied().context("no round was run")
}

async fn publish(provider: &TestNode, id: &str, address: serde_json::Value) -> anyhow::Result<()> {
    let mut address = address;
    set(&mut address, "@type", json!("DataAddress"));
    let policy = json!({"@type": "Set", "permission": [{"action": "use"}]});
    let selector = json!([{"@type": "Criterion", "operandLeft": "id", "operator": "=", "operandRight": id}]);
    let policy_id = format!("{id}#terms");
    let asset = json!({"@id": id, "properties": {"name": id}, "dataAddress": address});
    provider.api.post("/v4/assets", asset).await?;
    provider.api.post("/v4/policydefinitions", json!({"@id": policy_id, "policy": policy})).await?;
    let definition = json!({
        "@id": id, "accessPolicyId": policy_id, "contractPolicyId": policy_id, "assetsSelector": selector,
    });
    provider.api.post("/v4/contractdefinitions", definition).await.map(|_| ())
}

/// Address and token of the data, under a new agreement.
async fn door(consumer: &TestNode, provider: &TestNode, id: &str) -> anyhow::Result<(String, String)> {
    let request = template(consumer, provider, id).await?;
    let mut events = consumer.api.events(None).await?;
    let (found, _) = negotiate(&consumer.api, &mut events, &request).await?;
    let started = transfers::start(&consumer.api, &text(&found, "contractAgreementId")).await?;
    endpoint(consumer, &text(&started, "@id")).await
}

pub(super) async fn figures(brief: bool, output: &Output) -> anyhow::Result<Vec<Figure>> {
    let testbed = Testbed::new("bench", false)?;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let port = upstream(&tracker, &stop).await?;
    output.say("starting two nodes and nginx");
    let provider = testbed.node("Provider").await?;
    let consumer = testbed.node("Consumer").await?;
    let nginx = Nginx::start(testbed.folder(), &provider.dir.join("tls"), port).await?;
    let address = json!({"type": "HttpData", "baseUrl": format!("http://127.0.0.1:{port}"), "paths": ["*"]});
    publish(&provider, "urn:bench:upstream", address).await?;
    let (endpoint, token) = door(&consumer, &provider, "urn:bench:upstream").await?;
    let pid = provider.process_id().context("the provider ended")?;
    let ours = Side { address: endpoint, token: Some(token), pids: vec![pid] };
    let client = testbed.stranger()?;
    // It listens once it answers.
    let listens = async {
        while client.get(format!("{}/1", nginx.address)).send().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(STEP, listens).await.context("nginx does not listen")?;
    let theirs = Side { address: nginx.address.clone(), token: None, pids: nginx.processes() };

    let mut figures = Vec::new();
    for (name, size, count, at_once) in LOADS {
        let (size, count) = if brief { (size.min(64 << 20), count.div_ceil(20)) } else { (size, count) };
        output.say(&format!("{count} bodies of {name}, {at_once} at once, {ROUNDS} rounds each in turn"));
        for side in [&ours, &theirs] {
            round(&client, side, size.min(1024 * 1024), 64, at_once).await?;
        }
        let (mut mine, mut nginx) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            mine.push(round(&client, &ours, size, count, at_once).await?);
            nginx.push(round(&client, &theirs, size, count, at_once).await?);
        }
        let (mine, nginx) = (median(mine)?, median(nginx)?);
        let aim = if size < 64 * 1024 { 0.9 } else { 1.0 };
        figures.push(Figure::at_least(
            format!("{name}: rate, as a share of nginx's"),
            mine.rate / nginx.rate,
            "x",
            aim,
        ));
        if mine.rate / nginx.rate < aim && !brief {
            profile(&client, &ours, size, count, at_once, output).await?;
        }
        figures.push(Figure::plain(
            format!("{name}: requests a second (nginx {:.1})", nginx.rate),
            mine.rate,
            "/s",
        ));
        let of_nginx = format!("{name}: throughput (nginx {:.1})", nginx.throughput);
        figures.push(Figure::plain(of_nginx, mine.throughput, "MB/s"));
        figures.push(Figure::plain(format!("{name}: p99 (nginx {:.1})", nginx.p99), mine.p99, "ms"));
        let of_nginx = format!("{name}: processor time a GB (nginx {:.2})", nginx.cpu_per_gb);
        figures.push(Figure::plain(of_nginx, mine.cpu_per_gb, "s"));
    }
    nginx.stop().await?;
    output.say(&format!("{READERS} readers of live data"));
    figures.extend(readers(&testbed, &provider, &consumer, pid).await?);
    provider.stop().await?;
    consumer.stop().await?;
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(figures)
}

/// Waits until all readers are counted.
async fn until(count: &AtomicUsize, changed: &tokio::sync::Notify) {
    while count.load(Ordering::SeqCst) < READERS {
        changed.notified().await;
    }
}

/// What so many readers of the same live data cost, and how long until all have an event.
async fn readers(
    testbed: &Testbed,
    provider: &TestNode,
    consumer: &TestNode,
    pid: u32,
) -> anyhow::Result<Vec<Figure>> {
    use std::io::Write as _;
    let folder = testbed.folder().join("live");
    std::fs::create_dir_all(&folder)?;
    let mut file = std::fs::File::create(folder.join("a.ndjson"))?;
    publish(provider, "urn:bench:live", json!({"type": "Tail", "path": folder})).await?;
    let (endpoint, token) = door(consumer, provider, "urn:bench:live").await?;
    reset_peak(pid);
    let before = memory(pid, "VmRSS:");
    let client = testbed.stranger()?;
    let (open, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let changed = Arc::new(tokio::sync::Notify::new());
    let mut tasks = tokio::task::JoinSet::new();
    // What is measured is what they cost once they are there: a machine that is busy lets in only so many at a time.
    let opening = Arc::new(tokio::sync::Semaphore::new(OPENING));
    for _ in 0..READERS {
        let opening = Arc::clone(&opening);
        let (client, endpoint, token) = (client.clone(), endpoint.clone(), token.clone());
        let (open, told, changed) = (Arc::clone(&open), Arc::clone(&told), Arc::clone(&changed));
        tasks.spawn(async move {
            let place = opening.acquire().await?;
            let sent =
                client.get(&endpoint).bearer_auth(&token).header("accept", "text/event-stream").send().await;
            drop(place);
            let mut chunks = sent?.error_for_status()?.bytes_stream();
            open.fetch_add(1, Ordering::SeqCst);
            changed.notify_one();
            while let Some(chunk) = chunks.next().await {
                if chunk?.windows(5).any(|five| five == b"data:") {
                    told.fetch_add(1, Ordering::SeqCst);
                    changed.notify_one();
                    return Ok::<_, anyhow::Error>(chunks);
                }
            }
            anyhow::bail!("a live stream ended")
        });
    }
    tokio::select! {
        () = until(&open, &changed) => {}
        Some(ended) = tasks.join_next() => anyhow::bail!("a reader ended early: {:?}", ended?.err()),
        () = tokio::time::sleep_until((Instant::now() + STEP).into()) => anyhow::bail!("not all readers were let in"),
    }
    let grown = memory(pid, "VmRSS:") - before;
    let written = Instant::now();
    writeln!(file, "{{\"n\": 1}}")?;
    tokio::time::timeout(STEP, until(&told, &changed)).await.context("not all readers were told")?;
    let took = written.elapsed();
    tasks.shutdown().await;
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a count of readers")]
    let each = grown * 1024.0 / READERS as f64;
    Ok(vec![
        Figure::plain(format!("growth of the provider with {READERS} live readers"), grown, "MiB"),
        Figure::plain("of that, for each reader", each, "KiB"),
        Figure::plain("until all of them have an event", took.as_secs_f64() * 1000.0, "ms"),
    ])
}
