//! The mobility scenario: trips of riders who consent, demand in groups, a missed service level, a withdrawal, and the
//! self-assessment.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use governance::mims::Met;
use serde_json::{Value, json};
use trust::{Algorithm, PrivateKey, Statement};

use super::super::api::segment;
use super::super::output::{Output, milliseconds, text};
use super::super::target::TargetNode;
use super::super::testbed::{TestNode, Testbed};
use super::super::{publish, transfers};
use super::{STEP, agree, join, quiet};
use crate::clock;

/// The data space.
const SPACE: &str = "https://mobility.example";
const RESEARCH: &str = "https://w3id.org/dpv#ScientificResearch";
const PLANNING: &str = "https://w3id.org/dpv#ImproveTransportMobility";
const TRIPS: &str = "urn:concordat:example:trips";
const DEMAND: &str = "urn:concordat:example:demand";
/// Places of the real sample; riders and minutes are generated.
const SAMPLE: &str = include_str!("../../../../examples/mobility/carshare.csv");
const RIDERS: usize = 120;
const PER_PLACE: usize = 6;
/// Riders who consent.
const CONSENTING: usize = 80;

/// The citizens' operator: a key and its DID.
struct Operator {
    key: PrivateKey,
    did: String,
    kid: String,
}

impl Operator {
    fn new() -> anyhow::Result<Self> {
        let key = PrivateKey::generate(Algorithm::Ed25519)?;
        let did = trust::did::key_of(key.public_jwk())?;
        let kid = format!("{did}#{}", did.trim_start_matches("did:key:"));
        Ok(Self { key, did, kid })
    }

    /// Signs a statement for `holder` and posts it.
    async fn state(
        &self,
        testbed: &Testbed,
        holder: &TestNode,
        path: &str,
        kind: &str,
        stated: Value,
    ) -> anyhow::Result<Value> {
        let statement = Statement {
            by: self.did.clone(),
            to: holder.did.clone(),
            id: crate::ids::urn(),
            at: clock::now(),
            stated,
        };
        let compact = statement.sign(&self.key, &self.kid, kind)?;
        let url = format!("{}{}/{path}", holder.address, crate::http::PERSONAL_PATH);
        let answer = testbed.stranger()?.post(url).body(compact).send().await?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        ensure!(status.is_success(), "{path}: {status} {body}");
        Ok(body)
    }
}

/// The closing words.
pub(super) fn report(found: &Value, output: &Output) {
    output.result(found, || "\nEverything went as told.".to_owned());
}

/// What to try while the nodes run.
pub(super) fn keep(nodes: &[TestNode], _found: &Value, output: &Output) {
    output.say("\nThe nodes keep running until Ctrl-C. To try next, in another terminal:");
    for node in nodes {
        output.say(&format!("  concordat --dir {} compliance", node.dir.display()));
    }
}

/// `publish` as its arguments.
#[derive(Debug, Parser)]
struct Offer {
    #[command(flatten)]
    publish: publish::Publish,
}

async fn offer(node: &TestNode, arguments: &[&str]) -> anyhow::Result<()> {
    let parsed = Offer::try_parse_from(std::iter::once("publish").chain(arguments.iter().copied()))?;
    publish::publish(&TargetNode::here(&node.dir), &parsed.publish, &quiet()).await.map(|_| ())
}

/// Generated trips: where and in which hour they begin is the sample's, who rode how long is made up by a fixed rule.
fn trips() -> String {
    let mut table = "rider,started,latitude,longitude,minutes\n".to_owned();
    let mut chance: u64 = 7;
    let mut next = |below: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % below
    };
    for line in SAMPLE.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [latitude, longitude, _, peak] = cells.as_slice() else { continue };
        for _ in 0..PER_PLACE {
            let rider = next(u64::try_from(RIDERS).unwrap_or(1));
            let (minute, minutes) = (next(60), 4 + next(40));
            let hour: u64 = peak.trim().parse().unwrap_or_default();
            table.push_str(&format!(
                "r-{rider:03},2026-10-01T{:02}:{minute:02}:00Z,{latitude},{longitude},{minutes}\n",
                hour % 24
            ));
        }
    }
    table
}

/// Negotiates and starts a transfer; returns the agreement and the transfer.
async fn open(
    consumer: &TestNode,
    provider: &TestNode,
    dataset: &str,
    purpose: &str,
) -> anyhow::Result<(String, String)> {
    let (negotiation, _) = agree(consumer, provider, dataset, purpose).await?;
    let agreement = text(&negotiation, "contractAgreementId");
    let transfer = text(&transfers::start(&consumer.api, &agreement).await?, "@id");
    Ok((agreement, transfer))
}

async fn read(consumer: &TestNode, transfer: &str) -> anyhow::Result<Vec<String>> {
    let answer = consumer.api.data(http::Method::GET, transfer, None, http::HeaderMap::new()).await?;
    Ok(answer.text().await?.lines().skip(1).map(str::to_owned).collect())
}

fn consent(riders: std::ops::Range<usize>, recipients: &[&str], purposes: &[&str]) -> Value {
    let one =
        |rider| json!({"subject": format!("r-{rider:03}"), "purposes": purposes, "recipients": recipients});
    json!({"consents": riders.map(one).collect::<Vec<_>>()})
}

pub(super) async fn play(
    testbed: &Testbed,
    nodes: &mut Vec<TestNode>,
    output: &Output,
) -> anyhow::Result<Value> {
    let citizens = Operator::new()?;
    output.say("1. A transport authority, a car-share operator, a research institute; and an operator that citizens chose");
    nodes.push(testbed.authority("Authority", SPACE).await?);
    nodes.push(testbed.holder("Carshare", &citizens.did).await?);
    nodes.push(testbed.node("Institute").await?);
    let [authority, carshare, institute] = nodes.as_slice() else { bail!("three nodes were started") };
    // The authority uses data as well, and is a member like the others.
    for member in [authority, carshare, institute] {
        join(authority, member, output).await?;
    }
    rulebook(authority, &[carshare, institute], output).await?;

    output.say(
        "\n2. The car-share operator offers trips of persons, and demand in groups of five riders or more",
    );
    publish_both(carshare, authority, institute).await?;
    let table = trips();
    let all = table.lines().count() - 1;
    output.say(&format!(
        "   {all} trips: places and hours of a real sample, {RIDERS} riders and their minutes generated"
    ));

    output.say("\n3. Nobody has consented: an agreement alone opens nothing");
    let (agreement, transfer) = open(institute, carshare, TRIPS, RESEARCH).await?;
    let rows = read(institute, &transfer).await?;
    ensure!(rows.is_empty(), "{} rows came without a consent", rows.len());
    output.say("   The institute reads 0 rows under a signed agreement");
    let recipients = [institute.did.as_str(), authority.did.as_str()];
    let given = consent(0..CONSENTING, &recipients, &[RESEARCH, PLANNING]);
    citizens.state(testbed, carshare, "consents", "concordat-consent+jwt", given).await?;
    let rows = read(institute, &transfer).await?;
    let permitted = table.lines().skip(1).filter(|line| rider(line) < CONSENTING).count();
    ensure!(rows.len() == permitted, "{} rows came, {permitted} are permitted", rows.len());
    ensure!(!rows.iter().any(|row| row.starts_with("r-")), "riders are not hidden");
    output.say(&format!(
        "   {CONSENTING} riders consent through their operator: {} rows, under pseudonyms of this agreement",
        rows.len()
    ));

    output.say("\n4. The authority gets demand by hour, and no rider");
    let (_, demand) = open(authority, carshare, DEMAND, PLANNING).await?;
    let groups = read(authority, &demand).await?;
    ensure!(
        !groups.is_empty() && groups.iter().all(|row| !row.contains("r-")),
        "no groups, or riders in them"
    );
    output.say(&format!(
        "   {} hours, such as: {}",
        groups.len(),
        groups.first().cloned().unwrap_or_default()
    ));

    output.say("\n5. A service level is missed on purpose");
    let breach = missed(carshare, institute, &agreement, output).await?;

    output.say("\n6. Consents are withdrawn, and the stream empties");
    let began = Instant::now();
    for rider in 0..CONSENTING {
        let stated = json!({"subject": format!("r-{rider:03}")});
        citizens.state(testbed, carshare, "withdrawals", "concordat-consent-withdrawal+jwt", stated).await?;
    }
    let left = read(institute, &transfer).await?;
    ensure!(left.is_empty(), "{} rows came after the withdrawals", left.len());
    output.say(&format!(
        "   {CONSENTING} withdrawals in {}; the next read has 0 rows, and the agreement stands",
        milliseconds(began.elapsed())
    ));
    deleted(institute, output).await?;

    output.say("\n7. The car-share operator examines itself by the cities' mechanisms");
    let report = carshare.api.get("/v4/mim").await?;
    let counts = report.get("counts").cloned().unwrap_or_default();
    let counted = Met::ALL.into_iter().filter_map(|met| {
        let count = counts.get(met.name()).and_then(Value::as_u64)?;
        Some(format!("{} {count}", met.name()))
    });
    output.say(&format!("   {} (concordat mim --report mim.html)", counted.collect::<Vec<_>>().join("; ")));
    let rows = report.get("rows").cloned().unwrap_or_default();
    let unseen = rows.as_array().into_iter().flatten().find(|row| {
        let met = Met::named(&text(row, "met"));
        met.is_some_and(Met::is_met) && row.get("exercised").is_none_or(Value::is_null)
    });
    ensure!(unseen.is_none(), "{unseen:?} is met, and nothing shows it");
    Ok(
        json!({"trips": all, "permitted": permitted, "groups": groups.len(), "breach": breach, "mim": {"counts": counts, "rows": rows}}),
    )
}

/// The number of a row's rider.
fn rider(line: &str) -> usize {
    line.get(2..5).and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

async fn rulebook(authority: &TestNode, members: &[&TestNode], output: &Output) -> anyhow::Result<()> {
    let book = json!({
        "space": SPACE, "version": 1, "title": "Mobility data space", "inForce": "2026-01-01T00:00:00Z",
        "clauses": [
            {"id": "1", "text": "Trips belong to who rode them."},
            {"id": "2", "text": "Data is used for research or for better transport, nothing else.", "rule": {"purposes": [RESEARCH, PLANNING]}},
            {"id": "3", "text": "Members only.", "rule": {"credentials": ["MembershipCredential"]}},
        ],
    });
    authority.api.post("/v4/rulebooks", book).await?;
    for member in members {
        let is_known = |all: &Value| all.as_array().is_some_and(|all| !all.is_empty());
        member.api.until("/v4/rulebooks", STEP, is_known).await?;
        member.api.post("/v4/rulebooks/accept", json!({"space": SPACE, "version": 1})).await?;
    }
    output
        .say("   The authority publishes a rulebook of three clauses; both accept it with their signatures");
    Ok(())
}

async fn publish_both(carshare: &TestNode, authority: &TestNode, institute: &TestNode) -> anyhow::Result<()> {
    let write = |name: &str, content: String| {
        let path = carshare.data(name)?;
        std::fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        anyhow::Ok(path.display().to_string())
    };
    let file = write("trips.csv", trips())?;
    let category = |one: &str| json!({"category": format!("https://w3id.org/dpv/pd#{one}")});
    let personal = json!({
        "subject": "rider", "processing": ["https://w3id.org/dpv#Share"],
        "attributes": {"rider": category("Identifier"), "started": category("TravelHistory"),
            "latitude": category("Location"), "longitude": category("Location"), "minutes": category("TravelHistory")},
    });
    let personal = write("personal.json", personal.to_string())?;
    let levels = json!({
        "period": "PT3S", "currency": "EUR", "remedies": ["credit"],
        "levels": [{"id": "whole", "measure": "completeness", "target": 100_000, "penalty": {"cents": 25_000}}],
    });
    let levels = write("levels.json", levels.to_string())?;
    let about = [
        "--description",
        "Places and hours of a real sample; riders and minutes are generated",
        "--publisher",
        "Carshare",
        "--place",
        "CA",
    ];
    let usual = |id: &'static str, title: &'static str, purpose: &'static str| {
        vec![
            "--id",
            id,
            "--title",
            title,
            "--purpose",
            purpose,
            "--members-of",
            SPACE,
            "--only-for-members-of",
            SPACE,
        ]
    };
    let trips = [
        &[file.as_str()][..],
        &usual(TRIPS, "Trips (generated riders)", RESEARCH),
        &about,
        &[
            "--personal",
            &personal,
            "--service-levels",
            &levels,
            "--pseudonymise",
            "rider",
            "--only-for",
            &institute.did,
        ],
    ];
    offer(carshare, &trips.concat()).await?;
    let demand = [
        &[file.as_str()][..],
        &usual(DEMAND, "Demand by hour (generated riders)", PLANNING),
        &about,
        &[
            "--personal",
            &personal,
            "--aggregate",
            "started=PT1H",
            "--tell",
            "mean:minutes",
            "--minimum-group",
            "5",
            "--only-for",
            &authority.did,
        ],
    ];
    offer(carshare, &demand.concat()).await
}

/// Waits until both have agreed on a period with a breach; says what is owed.
async fn missed(
    carshare: &TestNode,
    institute: &TestNode,
    agreement: &str,
    output: &Output,
) -> anyhow::Result<Value> {
    let path = format!("/v4/contractagreements/{}/levels", segment(agreement));
    let is_missed = |one: &&Value| text(one, "state") == "agreed" && one.pointer("/breaches/0").is_some();
    let missed = |found: &Value| {
        found.get("periods").and_then(Value::as_array).and_then(|all| all.iter().find(is_missed)).cloned()
    };
    let mut seen = Vec::new();
    for node in [carshare, institute] {
        let found = node.api.until(&path, STEP, |found| missed(found).is_some()).await?;
        seen.extend(missed(&found));
    }
    let [theirs, ours] = seen.as_slice() else { bail!("both nodes were asked") };
    let sha256 = text(ours, "sha256");
    ensure!(sha256 == text(theirs, "sha256"), "the nodes computed different things");
    let breach = ours.pointer("/breaches/0").cloned().unwrap_or_default();
    let cents = breach.get("cents").and_then(Value::as_u64).unwrap_or_default();
    ensure!(cents == 25_000, "{cents} cents are owed");
    output.say(&format!(
        "   100,000 rows were promised in a read: missed in period {}, credit 250.00 EUR; both nodes computed {}...",
        text(ours, "period"),
        sha256.get(..16).unwrap_or_default()
    ));
    Ok(breach)
}

/// The institute deletes what it was told to, and says so.
async fn deleted(institute: &TestNode, output: &Output) -> anyhow::Result<()> {
    let are_told = |all: &Value| all.as_array().is_some_and(|all| all.len() >= CONSENTING - 5);
    let all = institute.api.until("/v4/personal/deletions", Duration::from_secs(120), are_told).await?;
    let all = all.as_array().context("deletions are a list")?;
    let first = all.first().context("something must be deleted")?;
    let path = format!("/v4/contractagreements/{}/deletions", segment(&text(first, "agreement")));
    institute
        .api
        .post(&path, json!({"notice": text(first, "notice"), "statement": "removed from the study"}))
        .await?;
    output.say(&format!("   The institute got {} signed notices, each with the pseudonym whose rows it must delete; it confirms the first", all.len()));
    Ok(())
}
