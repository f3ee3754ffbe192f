//! What views at the gateway take: a table of the size that is asked for, in each form, from its first request to its last
//! byte, and in memory.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use dataplane::rows::View;
use futures_util::StreamExt as _;
use serde_json::json;

use super::super::output::{Output, text};
use super::super::testbed::Testbed;
use super::{Figure, memory, negotiate, offer, reset_peak, template};

/// Longest a view may take for each 100 MiB of the table, in seconds, and how much of memory; aims for a release build.
const SECONDS: f64 = 10.0;
const MEBIBYTES: f64 = 192.0;

/// Times and memory of each view of a table of `mib` MiB.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "figures for people")]
pub(super) async fn figures(mib: u64, output: &Output) -> anyhow::Result<Vec<Figure>> {
    let testbed = Testbed::new("bench", false)?;
    output.say("starting two nodes");
    let provider = testbed.node("Provider").await?;
    let consumer = testbed.node("Consumer").await?;
    let pid = consumer.process_id().context("the consumer ended")?;
    let file = testbed.folder().join("table.csv");
    let rows = fill(&file, mib)?;
    offer(&provider, &file, "urn:bench:table").await?;
    let request = template(&consumer, &provider, "urn:bench:table").await?;
    let mut events = consumer.api.events(None).await?;
    let (found, _) = negotiate(&consumer.api, &mut events, &request).await?;
    let body = json!({"agreement": text(&found, "contractAgreementId")});
    consumer.api.put("/v4/uses/bench", body).await?;
    let mut figures = Vec::new();
    for (at, view) in View::ALL.into_iter().enumerate() {
        let ending = view.ending();
        output.say(&format!("{mib} MiB as .{ending}"));
        reset_peak(pid);
        let (before, began) = (memory(pid, "VmRSS:"), Instant::now());
        // With another limit it is another table: each is read anew, as for its first reader.
        let path = format!("/d/bench.{ending}?limit={}", 1_000_000_000 + at);
        let mut chunks = consumer.api.gateway(&path).await?.bytes_stream();
        let (mut bytes, mut first) = (0_u64, None);
        while let Some(chunk) = chunks.next().await {
            first.get_or_insert_with(|| began.elapsed());
            bytes += u64::try_from(chunk?.len())?;
        }
        let took = began.elapsed().as_secs_f64();
        let growth = (memory(pid, "VmHWM:") - before).max(0.0);
        ensure!(bytes > rows, ".{ending} is not whole");
        let first = first.unwrap_or_default().as_secs_f64();
        figures.push(Figure::plain(format!(".{ending}: size"), bytes as f64 / 1024.0 / 1024.0, "MiB"));
        figures.push(Figure::plain(format!(".{ending}: until the first byte"), first, "s"));
        figures.push(Figure::at_most(
            format!(".{ending}: until the last"),
            took,
            "s",
            SECONDS * (mib as f64 / 100.0).max(1.0),
        ));
        figures.push(Figure::at_most(format!(".{ending}: growth of memory"), growth, "MiB", MEBIBYTES));
    }
    provider.stop().await?;
    consumer.stop().await?;
    Ok(figures)
}

/// Writes a table as a city has it; gives its rows.
fn fill(file: &Path, mib: u64) -> anyhow::Result<u64> {
    let out = std::fs::File::create(file).with_context(|| format!("creating {}", file.display()))?;
    let mut out = std::io::BufWriter::new(out);
    let (mut rows, mut written) = (0_u64, 0_u64);
    let head = "id,station,at,no2,pm10,lat,lon,valid,remark\n";
    out.write_all(head.as_bytes()).context("writing the table")?;
    while written < mib * 1024 * 1024 {
        let hour = rows % 24;
        let line = format!(
            "{rows},DEBE{:03},2026-0{}-{:02}T{hour:02}:00:00Z,{}.{:02},{}.{},52.{:06},13.{:06},{},\"measured, checked {rows}\"\n",
            rows % 400,
            rows % 9 + 1,
            rows % 28 + 1,
            rows % 80,
            rows % 97,
            rows % 60,
            rows % 10,
            rows.wrapping_mul(7919) % 1_000_000,
            rows.wrapping_mul(104_729) % 1_000_000,
            rows % 3 != 0,
        );
        out.write_all(line.as_bytes()).context("writing the table")?;
        written += u64::try_from(line.len())?;
        rows += 1;
    }
    out.flush().context("writing the table")?;
    Ok(rows)
}
