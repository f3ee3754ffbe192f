//! Probes: where an agreement's service levels say so, and nothing was read for a while, its consumer asks for the headers
//! of the data, so that an outage in quiet hours is noticed. A probe costs one HEAD request, and no byte of data.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::reading::{self, Wanted};

/// Probes until `stop`.
pub async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    let mut begun: HashMap<String, Instant> = HashMap::new();
    loop {
        let now = Instant::now();
        let wanted = engine.probed();
        begun.retain(|agreement, _| wanted.iter().any(|(one, _)| one == agreement));
        let mut nearest: Option<Instant> = None;
        let mut due = Vec::new();
        for (agreement, after) in wanted {
            // What was read counts as much as a probe.
            let begun_at = *begun.entry(agreement.clone()).or_insert(now);
            let last = engine.last_measured(&agreement).map_or(begun_at, |read| read.max(begun_at));
            let at = last + after.max(Duration::from_secs(1));
            if at <= now {
                begun.insert(agreement.clone(), now);
                due.push(agreement);
                nearest = Some(nearest.map_or(now + after, |nearest| nearest.min(now + after)));
            } else {
                nearest = Some(nearest.map_or(at, |nearest| nearest.min(at)));
            }
        }
        for agreement in due {
            engine.tasks().until_stop(probe(Arc::clone(&engine), agreement));
        }
        let reached = async {
            match nearest {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = engine.probes_changed() => {}
            () = reached => {}
        }
    }
}

async fn probe(engine: Arc<Engine>, agreement: String) {
    let transfer = match engine.readable_transfer(&agreement) {
        Ok(Some(transfer)) => transfer,
        Ok(None) => return,
        Err(error) => return tracing::error!(%error, agreement, "nothing is probed"),
    };
    let wanted = Wanted { method: Method::HEAD, is_probe: true, ..Wanted::default() };
    // What came out is measured.
    let _ = reading::read(&engine, &transfer, wanted).await;
}
