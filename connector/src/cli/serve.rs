//! `concordat serve`: run the node.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::output::Output;
use super::{Exit, trial};
use crate::config::Config;
use crate::node::Node;
use crate::telemetry;

/// SIGXFSZ.
const FILE_TOO_LARGE: i32 = 25;

/// Longest time that stopping may take.
const STOP: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Default, Args)]
pub(super) struct Arguments {
    /// Stop when standard input ends: for programs that start nodes of their own.
    #[arg(long)]
    pub until_stdin_closes: bool,
}

pub(super) async fn run(dir: &Path, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let config = Config::load(dir)?;
    telemetry::start(&config.log);
    match serve(dir, &config, arguments, output).await {
        Ok(()) => Ok(Exit::Success),
        Err(error) => {
            let text = format!("the node does not run: {error:#}");
            // Whoever collects the log finds it there, in the form of all its lines; a log that is switched off tells nobody.
            match tracing::enabled!(tracing::Level::ERROR) {
                true => tracing::error!("{text}"),
                false => output.error(&text),
            }
            Ok(Exit::Failure)
        }
    }
}

async fn serve(dir: &Path, config: &Config, arguments: &Arguments, output: &Output) -> anyhow::Result<()> {
    if config.participant.trial {
        trial::renew(config)?;
        tracing::warn!(
            "TRIAL NODE: for this machine only; to serve others, make a node with `concordat init --address https://...`"
        );
    }
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
    let mut terminate = signal(SignalKind::terminate())?;
    // Caught, so that a write beyond the limit of files fails like one to a full disk, and does not end the node.
    let _file_too_large = signal(SignalKind::from_raw(FILE_TOO_LARGE))?;
    let node = Node::start(config).await?;
    let recovery = node.recovery();
    if let Some(reason) = &recovery.rebuilt {
        tracing::warn!(reason, "the index was set aside and built anew from the journal");
    }
    if recovery.torn > 0 {
        tracing::warn!(bytes = recovery.torn, "a torn last write was cut off; it was never answered");
    }
    if node.resumed() > 0 {
        tracing::info!(messages = node.resumed(), "undelivered messages were taken up again");
    }
    let management = config.management_address();
    let shown = json!({
        "ready": true, "did": config.participant.did, "address": config.public.address, "management": management,
        "commit": recovery.sequence, "trial": config.participant.trial,
    });
    output.result(&shown, || {
        let ready = format!(
            "ready: {} ({}) at {}, management at {management}",
            config.participant.name, config.participant.did, config.public.address
        );
        match config.participant.trial {
            true => format!(
                "{ready}\nThis is a trial node, for this machine only. Try next, in another terminal:\n  {}",
                trial::next(dir, config).join("\n  ")
            ),
            false => ready,
        }
    });
    let mut hangup = signal(SignalKind::hangup())?;
    let closed = stdin_closed(arguments.until_stdin_closes);
    tokio::pin!(closed);
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = terminate.recv() => break,
            () = &mut closed => break,
            _ = hangup.recv() => node.reload_certificates().await,
        }
    }
    tracing::info!("stopping");
    let stopped = end_at_latest();
    node.stop().await;
    drop(stopped);
    Ok(())
}

/// Ends the program if what this returns is still there when the time to stop is over. Nothing is lost by that: what was
/// answered is on the disk.
fn end_at_latest() -> mpsc::Sender<()> {
    let (sender, stopped) = mpsc::channel();
    std::thread::spawn(move || {
        if stopped.recv_timeout(STOP) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::error!("stopping took more than {} s; what was still open is left", STOP.as_secs());
            std::process::exit(1);
        }
    });
    sender
}

/// A thread of its own: a read from a terminal cannot be interrupted, and must not hold up the end.
async fn stdin_closed(wanted: bool) {
    if !wanted {
        return std::future::pending().await;
    }
    let (sender, closed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // An error ends it as the end of input does.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = sender.send(());
    });
    let _ = closed.await;
}
