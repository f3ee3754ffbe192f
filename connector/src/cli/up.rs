//! `concordat up`: a trial node, made where there is none, and served.

use std::path::Path;

use anyhow::bail;
use clap::Args;

use super::output::Output;
use super::{Exit, init, serve, trial};

#[derive(Debug, Clone, Args)]
pub(super) struct Up {
    /// The organisation, for people, where a node is made; "(trial)" is added.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    serve: serve::Arguments,
}

pub(super) async fn run(dir: &Path, arguments: &Up, output: &Output) -> anyhow::Result<Exit> {
    if !trial::is_there(dir) {
        if !trial::is_free(dir)? {
            bail!(
                "there is no node in {0}, but something else is: name a folder of its own, such as `concordat --dir {1} up`",
                dir.display(),
                dir.join("node").display()
            );
        }
        let config = trial::create(dir, arguments.name.as_deref(), &init::Arguments::default())?;
        output.say(&format!("made the trial node \"{}\" in {}", config.participant.name, dir.display()));
    }
    serve::run(dir, &arguments.serve, output).await
}
