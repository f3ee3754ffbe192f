//! What it costs to ask persons row by row: the same table through the same pipe, with and without.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use dataplane::rows::{Counted, Form, Pipe, Shape, pipe};
use dataplane::{Obligations, PseudonymKey};
use http_body_util::BodyExt as _;
use policy_engine::Transform;

use super::Figure;
use crate::engine::sample_persons;

/// Rows of the table.
const ROWS: usize = 500_000;
/// Pieces in which the table comes, in bytes.
const PIECE: usize = 64 * 1024;

/// Nanoseconds a row through a table of `persons` persons, of whom every second permits it.
pub(super) async fn figures(persons: usize) -> anyhow::Result<Vec<Figure>> {
    let mut table = "rider,start,minutes\n".to_owned();
    for row in 0..ROWS {
        table.push_str(&format!("p{},Plaza,{}\n", row.wrapping_mul(7919) % persons, row % 60));
    }
    let folder = tempfile_of("consent")?;
    let of_persons = sample_persons(&folder, persons)?;
    let keep = Transform::Keep(vec!["rider".to_owned(), "start".to_owned(), "minutes".to_owned()]);
    let plain = Obligations::new(vec![keep], PseudonymKey::default());
    let asked = plain.clone().with_persons(of_persons);
    let mut best = [f64::INFINITY; 2];
    for _ in 0..3 {
        for (best, obligations) in best.iter_mut().zip([&plain, &asked]) {
            *best = best.min(run(&table, obligations).await?);
        }
    }
    let [without, with] = best;
    std::fs::remove_dir_all(&folder).context("removing the bench's folder")?;
    Ok(vec![
        Figure::plain("a row of CSV through the pipe, columns kept", without, "ns"),
        Figure::plain(format!("the same with {persons} persons asked, every second permits"), with, "ns"),
        Figure::at_most("cost of consent a row", (with - without).max(0.0), "ns", 1500.0),
    ])
}

fn tempfile_of(purpose: &str) -> anyhow::Result<std::path::PathBuf> {
    let folder = std::env::temp_dir().join(format!("concordat-bench-{purpose}-{}", crate::ids::secret(6)?));
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a figure for people")]
async fn run(table: &str, obligations: &Obligations) -> anyhow::Result<f64> {
    let stage = obligations.stage(Form::Csv).map_err(|error| anyhow::anyhow!("{error}"))?;
    let pieces: Vec<_> = table.as_bytes().chunks(PIECE).map(Bytes::copy_from_slice).collect();
    let frames =
        pieces.into_iter().map(|piece| Ok::<_, dataplane::StreamError>(http_body::Frame::data(piece)));
    let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let laid = Pipe { from: Shape::plain(Form::Csv), to: Form::Csv, stage: Some(stage) };
    let began = Instant::now();
    let mut out = pipe(body, laid, Arc::new(Counted::default()));
    while let Some(frame) = out.frame().await {
        frame.map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    Ok(began.elapsed().as_nanos() as f64 / ROWS as f64)
}
