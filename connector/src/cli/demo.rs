//! `concordat demo`: three cities' nodes publish, agree, sign and stream real data, and say no where they must.

mod mobility;

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWrite;
use tokio::sync::watch;
use trust::Dossier;

use super::api::{is_over, segment};
use super::describe::Describe;
use super::negotiations::{Negotiate, begin};
use super::output::{Output, bytes, milliseconds, table, text};
use super::pull::{How, pull};
use super::target::TargetNode;
use super::terms::{Terms, TermsOfUse};
use super::testbed::{TestNode, Testbed};
use super::uses::{self, Use};
use super::{Exit, agreements, catalog, publish, transfers};

const PURPOSE: &str = "urn:concordat:purpose:environmental-monitoring";
const OTHER_PURPOSE: &str = "urn:concordat:purpose:advertising";
/// The data space.
const SPACE: &str = "https://air.example";
const LICENSE: &str = "https://creativecommons.org/licenses/by/4.0/";
/// Size of the long stream that is cut.
const ARCHIVE: usize = 64 * 1024 * 1024;
/// Rate at which it is read.
const ARCHIVE_RATE: u64 = 8 * 1024 * 1024;
/// How much of it is read before its agreement ends.
const READ_BEFORE_END: u64 = 1024 * 1024;
/// Longest wait for any step.
const STEP: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// Which story.
    #[arg(long, value_enum, default_value = "air")]
    scenario: Scenario,
    /// Leave the nodes running at the end, until Ctrl-C; as it is done where a person watches.
    #[arg(long)]
    keep: bool,
    /// Stop the nodes at the end, also where a person watches.
    #[arg(long, conflicts_with = "keep")]
    no_keep: bool,
}

/// What is played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Three cities share real air-quality data.
    #[default]
    Air,
    /// A transport authority, a car-share operator and a research institute share trips of riders who consent.
    Mobility,
}

struct City {
    name: &'static str,
    country: &'static str,
    publisher: &'static str,
    station: &'static str,
    rows: &'static [u8],
    from: &'static str,
    until: &'static str,
}

const CITIES: [City; 3] = [
    City {
        name: "Antwerp",
        country: "BE",
        publisher: "Flanders Environment Agency (VMM)",
        station: "BETR801",
        rows: include_bytes!("../../../examples/three_agencies/antwerp.csv"),
        from: "2019-05-07",
        until: "2019-06-17",
    },
    City {
        name: "London",
        country: "GB",
        publisher: "London Air Quality Network",
        station: "London Westminster",
        rows: include_bytes!("../../../examples/three_agencies/london.csv"),
        from: "2019-05-07",
        until: "2019-06-17",
    },
    City {
        name: "Paris",
        country: "FR",
        publisher: "Airparif",
        station: "FR04014",
        rows: include_bytes!("../../../examples/three_agencies/paris.csv"),
        from: "2019-05-07",
        until: "2019-06-21",
    },
];

/// One line of the closing table.
struct Shared {
    dataset: String,
    provider: String,
    consumer: String,
    agreement: String,
    bytes: u64,
    agreed_in: Duration,
}

pub(super) async fn run(arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    use std::io::IsTerminal as _;
    let watched = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !arguments.no_keep;
    let kept = arguments.keep || watched;
    let testbed = Testbed::new("demo", false)?;
    match arguments.scenario {
        Scenario::Air => stage(&testbed, kept, output, play, report, keep).await,
        Scenario::Mobility => {
            stage(&testbed, kept, output, mobility::play, mobility::report, mobility::keep).await
        }
    }
}

/// Plays a story with nodes that are stopped at its end, or at Ctrl-C; where they are `kept`, they run on until then.
async fn stage<T>(
    testbed: &Testbed,
    kept: bool,
    output: &Output,
    play: impl AsyncFnOnce(&Testbed, &mut Vec<TestNode>, &Output) -> anyhow::Result<T>,
    report: impl FnOnce(&T, &Output),
    keep: impl FnOnce(&[TestNode], &T, &Output),
) -> anyhow::Result<Exit> {
    let mut nodes = Vec::new();
    let played = tokio::select! {
        played = play(testbed, &mut nodes, output) => played,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("waiting for Ctrl-C")?;
            Err(anyhow::anyhow!("interrupted"))
        }
    };
    let mut report = Some(report);
    if let (Ok(played), true) = (&played, kept) {
        if let Some(report) = report.take() {
            report(played, output);
        }
        keep(&nodes, played, output);
        tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")?;
    }
    let mut stopped = Ok(());
    for node in nodes {
        stopped = stopped.and(node.stop().await);
    }
    let played = played?;
    stopped?;
    if let Some(report) = report {
        report(&played, output);
    }
    Ok(Exit::Success)
}

/// What was shown.
struct Played {
    shared: Vec<Shared>,
    /// The page of the observatory, with a key that opens it.
    page: String,
}

async fn play(testbed: &Testbed, nodes: &mut Vec<TestNode>, output: &Output) -> anyhow::Result<Played> {
    output.say("1. Five nodes start, each with its own folder, keys, DID, certificate and store");
    for city in &CITIES {
        let node = testbed.node(city.name).await?;
        output.say(&format!("   {:8} {} at {}", city.name, node.did, node.address));
        nodes.push(node);
    }
    let council = testbed.authority("Council", SPACE).await?;
    output.say(&format!("   Council  {}, who says who belongs to {SPACE}", council.did));
    nodes.push(council);
    let observatory = testbed.viewer("Observatory").await?;
    output.say(&format!("   Observatory {}, which only reads", observatory.did));
    nodes.push(observatory);
    let nodes: &[TestNode] = nodes;
    let [antwerp, london, paris, council, observatory] = nodes else { bail!("five nodes were started") };
    for city in [antwerp, london, paris, observatory] {
        join(council, city, output).await?;
    }

    output.say("\n2. Each publishes its own station's hourly NO2, under terms");
    let until = in_a_year()?;
    for (city, node) in CITIES.iter().zip(nodes) {
        let file = node.data("no2.csv")?;
        std::fs::write(&file, rows(city)?).context("writing a city's rows")?;
        let offer = offer(city, &file, &dataset_id(city), &format!("Hourly NO2 in {}", city.name), &until);
        publish::publish(&TargetNode::here(&node.dir), &offer, &quiet()).await?;
        output.say(&format!("   {:8} {} ({} rows)", city.name, dataset_id(city), row_count(city.rows)));
    }

    output.say("\n3. Each reads the others' catalogs, negotiates, and streams the rows");
    let mut shared = Vec::new();
    for (consumer_city, consumer) in CITIES.iter().zip(nodes) {
        for (city, provider) in CITIES.iter().zip(nodes) {
            if city.name != consumer_city.name {
                shared.push(share(city, provider, consumer, output).await?);
            }
        }
    }

    output.say("\n4. An observatory uses all three: addresses for programs, and a page for people");
    let page = observe(observatory, nodes.get(..CITIES.len()).unwrap_or_default(), output).await?;

    output.say("\n5. What makes it a data space: the answers that are no");
    let paris_city = CITIES.last().context("three cities")?;
    refuse_purpose(london, paris, paris_city, output).await?;
    cut_stream(antwerp, paris, paris_city, &until, output).await?;
    refuse_without_agreement(testbed, paris, output).await?;
    let first = shared.first().context("something was shared")?;
    verify_offline(testbed, antwerp, &first.agreement, output).await?;
    revoke(council, london, paris, paris_city, output).await?;
    Ok(Played { shared, page })
}

/// A city's rows, each with where its station stands.
fn rows(city: &City) -> anyhow::Result<Vec<u8>> {
    let stations = include_str!("../../../examples/three_agencies/stations.csv");
    let place = stations.lines().find_map(|line| {
        let cells: Vec<_> = line.split(',').collect();
        match cells.as_slice() {
            [station, _, _, latitude, longitude] if *station == city.station => {
                Some(format!("{latitude},{longitude}"))
            }
            _ => None,
        }
    });
    let place = place.with_context(|| format!("stations.csv does not know {}", city.station))?;
    let mut text = String::new();
    for (at, line) in std::str::from_utf8(city.rows)?.lines().enumerate() {
        let more = if at == 0 { "latitude,longitude" } else { &place };
        text.push_str(line);
        text.push(',');
        text.push_str(more);
        text.push('\n');
    }
    Ok(text.into_bytes())
}

/// Takes the three datasets into use and reads them as a program and as a person would; the page's address.
async fn observe(observatory: &TestNode, cities: &[TestNode], output: &Output) -> anyhow::Result<String> {
    let api = &observatory.api;
    let key = text(&api.post("/v4/apikeys", json!({"name": "demo", "scope": "consume"})).await?, "key");
    let client = reqwest::Client::builder().no_proxy().build()?;
    for (city, provider) in CITIES.iter().zip(cities) {
        let name = city.name.to_lowercase();
        let started = Instant::now();
        uses::take(
            api,
            &Use {
                dataset: dataset_id(city),
                name: name.clone(),
                provider: Some(provider.did.clone()),
                distribution: None,
                offer: None,
                purpose: Some(PURPOSE.to_owned()),
                used_in: None,
                address: None,
                anew: false,
                timeout: STEP.as_secs(),
            },
        )
        .await?;
        let address = format!("{}/d/{name}.json", api.address());
        let answer = client.get(&address).header("x-api-key", &key).send().await?;
        let read: Vec<Value> = answer.json().await.with_context(|| format!("reading {address}"))?;
        ensure!(read.len() == row_count(city.rows), "{address} has {} rows", read.len());
        output.say(&format!(
            "   {:8} agreed, started and read within {}: {} rows as JSON at {address}",
            city.name,
            milliseconds(started.elapsed()),
            read.len(),
        ));
    }
    let page = format!("{}/dashboard?key={key}", api.address());
    // As a browser: the key is taken out of the address, and a session remembers it.
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    let entered = client.get(&page).send().await?;
    let cookie = entered.headers().get(http::header::SET_COOKIE).and_then(|value| value.to_str().ok());
    let cookie =
        cookie.and_then(|value| value.split(';').next()).context("the page lets nobody in")?.to_owned();
    let shown = client
        .get(format!("{}/dashboard", api.address()))
        .header("cookie", cookie)
        .send()
        .await?
        .text()
        .await?;
    let together = shown.split("<section").find(|part| part.contains("id=\"together\"")).unwrap_or_default();
    let (lines, points) = (together.matches("<polyline").count(), together.matches("<circle").count());
    ensure!(
        lines >= CITIES.len() && points == CITIES.len(),
        "the page shows {lines} lines and {points} places"
    );
    output.say("   their NO2 stands on one chart and one map, at the page named below");
    Ok(page)
}

/// A city joins the data space: one command at each side.
async fn join(council: &TestNode, city: &TestNode, output: &Output) -> anyhow::Result<()> {
    let started = Instant::now();
    council.api.post("/v4/authority/invitations", json!({"holder": city.did})).await?;
    let mut events = city.api.events(None).await?;
    let made = city.api.post("/v4/credentialrequests", json!({"issuer": council.did})).await?;
    let trust = json!({"did": council.did, "types": made.get("types")});
    city.api.post("/v4/trustedissuers", trust).await?;
    let path = format!("/v4/credentialrequests/{}", segment(&text(&made, "@id")));
    let issued = |one: &Value| text(one, "status") == "ISSUED";
    city.api.wait(&mut events, &path, STEP, issued).await?;
    output.say(&format!(
        "   {:8} is a member after {} (authority invite, credentials request)",
        city.name,
        milliseconds(started.elapsed())
    ));
    Ok(())
}

/// The council takes London's membership back: Paris offers it nothing any more.
async fn revoke(
    council: &TestNode,
    london: &TestNode,
    paris: &TestNode,
    city: &City,
    output: &Output,
) -> anyhow::Result<()> {
    let mut events = paris.api.events(None).await?;
    let issued = council.api.get("/v4/authority/issued").await?;
    let of_london = issued.as_array().into_iter().flatten().filter(|one| text(one, "holder") == london.did);
    for one in of_london {
        let path = format!("/v4/authority/issued/{}/revoke", segment(&text(one, "id")));
        council.api.post(&path, json!({"reason": "London leaves"})).await?;
    }
    let told = async {
        loop {
            let event = events.next().await?;
            if text(&event, "kind") == "trust"
                && text(&event, "text").contains("its `MembershipCredential` is under revocation")
            {
                return Ok::<_, anyhow::Error>(text(&event, "text"));
            }
        }
    };
    let why = tokio::time::timeout(STEP, told).await.context("Paris was not told")??;
    let seen = catalog::fetch(&london.api, &paris.did, None, None).await?;
    let datasets = seen.get("dataset").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    ensure!(
        !datasets.iter().any(|one| text(one, "@id") == dataset_id(city)),
        "a former member still sees it"
    );
    output.say(&format!(
        "   The council revokes London's membership; Paris knows and offers it nothing:\n      {why}"
    ));
    Ok(())
}

/// Output of the parts of the program that the demo calls is the demo's own to write.
const fn quiet() -> Output {
    Output::silent()
}

fn dataset_id(city: &City) -> String {
    format!("urn:concordat:example:no2:{}", city.name.to_lowercase())
}

fn in_a_year() -> anyhow::Result<String> {
    let then = crate::clock::now().checked_add(jiff::SignedDuration::from_hours(24 * 365))?;
    Ok(then.strftime("%Y-%m-%dT00:00:00Z").to_string())
}

fn row_count(csv: &[u8]) -> usize {
    csv.iter().filter(|byte| **byte == b'\n').count().saturating_sub(1)
}

fn offer(city: &City, file: &std::path::Path, id: &str, title: &str, until: &str) -> publish::Publish {
    publish::Publish {
        source: Some(file.display().to_string()),
        id: Some(id.to_owned()),
        describe: Describe {
            title: Some(title.to_owned()),
            description: Some(format!(
                "Hourly nitrogen dioxide at station {}, microgram per cubic metre",
                city.station
            )),
            keywords: vec!["air quality".to_owned(), "NO2".to_owned(), "hourly".to_owned()],
            publisher: Some(city.publisher.to_owned()),
            place: Some(city.country.to_owned()),
            from: Some(city.from.to_owned()),
            until: Some(city.until.to_owned()),
            license: Some(LICENSE.to_owned()),
            themes: vec!["http://publications.europa.eu/resource/authority/data-theme/ENVI".to_owned()],
            frequency: Some("http://publications.europa.eu/resource/authority/frequency/HOURLY".to_owned()),
            ..Describe::default()
        },
        distributions: Vec::new(),
        series: false,
        personal: None,
        template: None,
        service_levels: None,
        ask: false,
        no_guess: false,
        listed: true,
        open: false,
        terms: TermsOfUse {
            terms: Terms {
                purpose: Some(PURPOSE.to_owned()),
                valid_until: Some(until.to_owned()),
                no_distribution: true,
                members_of: Some(SPACE.to_owned()),
                ..Terms::default()
            },
            ..TermsOfUse::default()
        },
        policy: None,
        only_for: Vec::new(),
        only_for_members_of: Some(SPACE.to_owned()),
        automation: publish::Automation::Auto,
        auth_header: None,
        strictness: super::warnings::Strictness::default(),
        secret_file: None,
        data_address: None,
        files: None,
        tail: false,
        topic: None,
        stream: None,
        paths: Vec::new(),
        parameters: Vec::new(),
    }
}

fn ask(provider: &TestNode, dataset: &str, purpose: &str) -> Negotiate {
    Negotiate {
        peer: provider.did.clone(),
        dataset: dataset.to_owned(),
        offer: None,
        file: None,
        terms: TermsOfUse {
            terms: Terms { purpose: Some(purpose.to_owned()), ..Terms::default() },
            ..TermsOfUse::default()
        },
        address: None,
        automation: publish::Automation::Auto,
        no_wait: false,
        timeout: STEP.as_secs(),
    }
}

/// Negotiates and waits; returns the negotiation as the consumer shows it, and how long it took.
async fn agree(
    consumer: &TestNode,
    provider: &TestNode,
    dataset: &str,
    purpose: &str,
) -> anyhow::Result<(Value, Duration)> {
    let mut events = consumer.api.events(None).await?;
    let started = Instant::now();
    let id = begin(&consumer.api, &ask(provider, dataset, purpose)).await?.id;
    let path = format!("/v4/contractnegotiations/{}", segment(&id));
    let found = consumer.api.wait(&mut events, &path, STEP, is_over).await?;
    let took = started.elapsed();
    let problem = text(&found, "errorDetail");
    ensure!(text(&found, "state") == "FINALIZED", "no agreement about {dataset}: {problem}");
    Ok((found, took))
}

async fn share(
    city: &City,
    provider: &TestNode,
    consumer: &TestNode,
    output: &Output,
) -> anyhow::Result<Shared> {
    let seen = catalog::fetch(&consumer.api, &provider.did, None, None).await?;
    let datasets = seen.get("dataset").and_then(Value::as_array).cloned().unwrap_or_default();
    let dataset = datasets.iter().find(|one| text(one, "@id") == dataset_id(city));
    let dataset =
        dataset.with_context(|| format!("{} does not see the rows of {}", consumer.name, city.name))?;
    ensure!(
        crate::search::describe(dataset).form.license.as_deref() == Some(LICENSE),
        "the description lost its licence"
    );

    let (negotiation, agreed_in) = agree(consumer, provider, &dataset_id(city), PURPOSE).await?;
    let agreement = text(&negotiation, "contractAgreementId");
    let transfer = text(&transfers::start(&consumer.api, &agreement).await?, "@id");
    let path = consumer.dir.join(format!("no2-from-{}.csv", city.name.to_lowercase()));
    let mut file = tokio::fs::File::create(&path).await.context("creating the output")?;
    let pulled = pull(&consumer.api, &transfer, &How::default(), &mut file, *output).await?;
    consumer.api.post(&format!("/v4/transferprocesses/{}/complete", segment(&transfer)), json!({})).await?;

    let received = std::fs::read(&path).context("reading the output")?;
    let expected = crate::ids::hex(&Sha256::digest(rows(city)?));
    ensure!(pulled.sha256 == expected, "the checksum of {} differs from the source", path.display());
    ensure!(row_count(&received) == row_count(city.rows), "rows were lost");
    let seconds = pulled.took.as_secs_f64().max(1e-9);
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = pulled.bytes as f64 / seconds / 1e6;
    output.say(&format!(
        "   {:8} <- {:8} agreed in {:>8}; {} rows, {} at {rate:.1} MB/s, SHA-256 {}... as at the source",
        consumer.name,
        provider.name,
        milliseconds(agreed_in),
        row_count(&received),
        bytes(pulled.bytes),
        expected.chars().take(16).collect::<String>(),
    ));
    Ok(Shared {
        dataset: dataset_id(city),
        provider: provider.name.clone(),
        consumer: consumer.name.clone(),
        agreement,
        bytes: pulled.bytes,
        agreed_in,
    })
}

async fn refuse_purpose(
    london: &TestNode,
    paris: &TestNode,
    city: &City,
    output: &Output,
) -> anyhow::Result<()> {
    let mut events = london.api.events(None).await?;
    let id = begin(&london.api, &ask(paris, &dataset_id(city), OTHER_PURPOSE)).await?.id;
    let path = format!("/v4/contractnegotiations/{}", segment(&id));
    let found = london.api.wait(&mut events, &path, STEP, is_over).await?;
    let reason = text(&found, "errorDetail");
    ensure!(text(&found, "state") == "TERMINATED", "Paris agreed to a purpose that it does not offer");
    ensure!(
        reason.contains("/permission/0/constraint/0") && reason.contains("purpose"),
        "no clause in: {reason}"
    );
    output.say(&format!("   London asks Paris for advertising, and is refused:\n      {reason}"));
    Ok(())
}

async fn cut_stream(
    antwerp: &TestNode,
    paris: &TestNode,
    city: &City,
    until: &str,
    output: &Output,
) -> anyhow::Result<()> {
    // The same real rows over and over: a stream long enough to be cut.
    let archive = paris.data("archive.csv")?;
    let mut content = Vec::with_capacity(ARCHIVE + city.rows.len());
    while content.len() < ARCHIVE {
        content.extend_from_slice(city.rows);
    }
    std::fs::write(&archive, &content).context("writing the archive")?;
    let id = format!("{}:archive", dataset_id(city));
    let offered = offer(city, &archive, &id, "The same rows repeated, as a long stream", until);
    publish::publish(&TargetNode::here(&paris.dir), &offered, &quiet()).await?;

    let (negotiation, _) = agree(antwerp, paris, &id, PURPOSE).await?;
    let agreement = text(&negotiation, "contractAgreementId");
    let transfer = text(&transfers::start(&antwerp.api, &agreement).await?, "@id");
    let (count, mut counted) = watch::channel(0);
    let api = antwerp.api.clone();
    let reading = transfer.clone();
    let reader = tokio::spawn(async move {
        let mut sink = Counting { count };
        let how = How { limit_rate: Some(ARCHIVE_RATE), ..How::default() };
        let result = pull(&api, &reading, &how, &mut sink, quiet()).await;
        (result, Instant::now())
    });
    tokio::time::timeout(STEP, counted.wait_for(|read| *read >= READ_BEFORE_END))
        .await
        .context("the long stream did not run")?
        .context("the long stream ended early")?;
    let ended = Instant::now();
    let path = format!("/v4/contractagreements/{}/end", segment(&agreement));
    paris.api.post(&path, json!({"reason": "the station is being recalibrated"})).await?;
    let (result, noticed) = tokio::time::timeout(STEP, reader).await.context("the stream was not cut")??;
    let Err(error) = result else { bail!("the stream ran to its end although its agreement was ended") };
    let text = error.to_string();
    ensure!(text.contains("the station is being recalibrated"), "the receiver does not know why: {text}");
    output.say(&format!(
        "   Paris ends its agreement while Antwerp is streaming; Antwerp knows after {}:\n      {text}",
        milliseconds(noticed.saturating_duration_since(ended)),
    ));
    Ok(())
}

async fn refuse_without_agreement(
    testbed: &Testbed,
    paris: &TestNode,
    output: &Output,
) -> anyhow::Result<()> {
    let url = format!("{}{}/{}", paris.address, crate::http::DATA_PATH, crate::ids::urn());
    let answer = testbed.stranger()?.get(&url).bearer_auth("guessed").send().await?;
    let status = answer.status();
    let body: Value = answer.json().await.context("reading a refusal")?;
    ensure!(
        status == http::StatusCode::UNAUTHORIZED,
        "a stranger got {status} for data without an agreement"
    );
    let reason = body.pointer("/reason/0").and_then(Value::as_str).unwrap_or_default();
    output.say(&format!(
        "   A request for data without an agreement is refused ({}):\n      {reason}",
        status.as_u16()
    ));
    Ok(())
}

async fn verify_offline(
    testbed: &Testbed,
    node: &TestNode,
    agreement: &str,
    output: &Output,
) -> anyhow::Result<()> {
    let exported = node.api.get(&format!("/v4/contractagreements/{}/dossier", segment(agreement))).await?;
    let file = testbed.folder().join("agreement.json");
    let content = format!("{exported:#}\n");
    std::fs::write(&file, &content).context("writing the agreement")?;
    let dossier = Dossier::parse(content.as_bytes())?;
    let findings = agreements::checked(&dossier, content.as_bytes());
    if let Some(wrong) = findings.iter().find(|one| !one.holds) {
        bail!("{} does not hold: {}", wrong.part, wrong.text);
    }
    output.say(&format!("   An agreement is exported and verified offline ({}):", file.display()));
    for one in findings.iter().filter(|one| one.part.ends_with("Signature")) {
        output.say(&format!("      {}", one.text));
    }
    output.say(&format!("      {} checks in all, messages and keys among them", findings.len()));
    let altered = content.replacen("\"use\"", "\"sell\"", 1);
    let dossier = Dossier::parse(altered.as_bytes())?;
    let wrong: Vec<_> =
        agreements::checked(&dossier, altered.as_bytes()).into_iter().filter(|one| !one.holds).collect();
    ensure!(wrong.iter().any(|one| one.part == "agreement"), "an altered agreement passed");
    output.say("      altered by one word, it does not verify any more");
    Ok(())
}

fn report(played: &Played, output: &Output) {
    let shared = &played.shared;
    let machine: Vec<_> = shared
        .iter()
        .map(|one| {
            json!({
                "dataset": one.dataset, "provider": one.provider, "consumer": one.consumer,
                "agreement": one.agreement, "bytes": one.bytes, "agreedInMs": one.agreed_in.as_secs_f64() * 1000.0,
            })
        })
        .collect();
    output.result(&json!({"shared": machine, "page": played.page}), || {
        let rows = shared.iter().map(|one| {
            vec![
                one.dataset.clone(),
                format!("{} -> {}", one.provider, one.consumer),
                one.agreement.clone(),
                bytes(one.bytes),
                milliseconds(one.agreed_in),
            ]
        });
        let header = ["dataset", "parties", "agreement", "bytes", "request to FINALIZED"];
        format!(
            "\n{}\nEverything went as told.\n\nThree cities' NO2 on one chart and map, while the nodes run (--keep): {}",
            table(&header, rows.collect()),
            played.page
        )
    });
}

fn keep(nodes: &[TestNode], played: &Played, output: &Output) {
    let program =
        std::env::current_exe().map_or_else(|_| "concordat".to_owned(), |path| path.display().to_string());
    output.say("\nThe nodes keep running until Ctrl-C. To try next, in another terminal:");
    for node in nodes {
        output.say(&format!("  {program} --dir {} offers", node.dir.display()));
    }
    output.say(&format!("  in a browser: {}", played.page));
    if let [antwerp, london, paris, ..] = nodes {
        let dir = antwerp.dir.display();
        output.say(&format!("  {program} --dir {dir} catalog {}", paris.did));
        output.say(&format!(
            "  {program} --dir {dir} negotiate {} urn:concordat:example:no2:london --purpose {PURPOSE}",
            london.did
        ));
        output.say(&format!("  {program} --dir {dir} agreements list"));
        output.say(&format!("  {program} --dir {dir} events"));
    }
    for node in nodes {
        output.say(&format!("  {}/.well-known/did.json", node.address));
    }
}

/// Throws bytes away and tells how many came.
struct Counting {
    count: watch::Sender<u64>,
}

impl AsyncWrite for Counting {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.count.send_modify(|count| *count += u64::try_from(bytes.len()).unwrap_or_default());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
