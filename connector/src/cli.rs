//! The command line: a clerk's tool. Every command but `init`, `authority init`, `serve`, `doctor`, `store`, `demo`,
//! `bench` and `agreements verify` talks to the running node over its management API.

mod agreements;
mod api;
mod audit;
mod authority;
mod bench;
mod catalog;
mod certificates;
mod compliance;
mod credentials;
mod deliveries;
mod demo;
mod describe;
mod doctor;
mod duties;
mod edit;
mod identity;
mod init;
mod keys;
mod levels;
mod mim;
mod negotiations;
mod output;
mod peers;
mod personal;
mod policy;
mod publish;
mod pull;
mod requests;
mod rulebook;
mod search;
mod serve;
mod store;
mod terms;
mod testbed;
mod transfers;
mod trusted;
mod uses;
mod warnings;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::output::Output;
pub(crate) use self::output::bytes as human_bytes;

/// Exit codes, as `--help` tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// Not done; the message says why.
    Failure = 1,
    /// The arguments are wrong.
    Usage = 2,
    /// The other side, or a policy, said no.
    Refused = 3,
    /// The node is not running.
    NotRunning = 4,
    /// Something that was checked does not hold.
    Invalid = 5,
}

impl From<Exit> for ExitCode {
    #[expect(clippy::as_conversions, reason = "the discriminant is the exit code")]
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure with an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failed {
    exit: Exit,
    message: String,
}

impl Failed {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

#[derive(Debug, Parser)]
#[command(
    name = "concordat",
    version,
    about = "Share data with other organisations under agreements that both have signed.",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 refused by the other side or by a policy, \
                  4 the node is not running, 5 something that was checked does not hold."
)]
struct Arguments {
    /// The node's folder.
    #[arg(
        long,
        short = 'd',
        global = true,
        env = "CONCORDAT_DIR",
        default_value = ".",
        value_name = "FOLDER"
    )]
    dir: PathBuf,
    /// Print JSON for machines instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a node: a folder with configuration, keys and a certificate.
    Init(init::Arguments),
    /// Run the node until Ctrl-C.
    Serve(serve::Arguments),
    /// Offer a dataset: a file or an HTTP address, with a description and terms.
    Publish(Box<publish::Publish>),
    /// Change what is said of a dataset, who finds it, or its terms; agreements made before stay as they are.
    Edit(Box<edit::Edit>),
    /// Withdraw a dataset; agreements made before stay in force.
    Unpublish(publish::Unpublish),
    /// What this node offers, with its terms in words.
    Offers,
    /// What another participant offers to this node.
    Catalog(catalog::Arguments),
    /// Ask another participant for a dataset and wait for the agreement.
    Negotiate(Box<negotiations::Negotiate>),
    /// Negotiations: list, show, approve, reject.
    #[command(visible_alias = "negotiation")]
    Negotiations(negotiations::Arguments),
    /// Agreements: list, show, export, verify, end.
    #[command(visible_alias = "agreement")]
    Agreements(agreements::Arguments),
    /// Transfers: list, show, start, suspend, resume, complete, stop.
    #[command(visible_alias = "transfer")]
    Transfers(transfers::Arguments),
    /// Messages that others do not have: list, send again, drop.
    Deliveries(deliveries::Arguments),
    /// Read data under an agreement, to a file or to standard output.
    Pull(pull::Arguments),
    /// Use a shared dataset under a name: finds or negotiates the agreement, and gives an address that stays.
    Use(Box<uses::Use>),
    /// What this node uses, at which addresses, and how much was read: list, end.
    Uses(uses::Arguments),
    /// What others say of this node: list, show, request, remove its credentials.
    #[command(visible_alias = "credential")]
    Credentials(credentials::Arguments),
    /// As the data space's authority: invite, approve, reject, revoke.
    Authority(authority::Arguments),
    /// Whose word counts for which credentials: list, add, remove.
    Trust(trusted::Arguments),
    /// Who is there: members of the data spaces and others, their roles, what they offer, whether they can be reached.
    Peers(peers::Peers),
    /// Search all catalogs that this node knows: its own and those of others.
    Search(search::Arguments),
    /// Data that nobody offers yet: ask for it, answer who asks.
    Requests(requests::Arguments),
    /// Who this node is; its keys: show, rotate.
    Identity(identity::Arguments),
    /// What happened: the audit log.
    Events(peers::Events),
    /// The audit log as a chain: verify it, export it.
    Audit(audit::Arguments),
    /// Policies as files, without a node: check, explain, compare.
    Policy(policy::Arguments),
    /// Keys of the management API for other programs: list, create, revoke.
    Keys(keys::Arguments),
    /// Check configuration, ports, clock, certificate and DID as others see them.
    Doctor,
    /// What agreements demand of whom, by when; state that it was done.
    Duties(duties::Arguments),
    /// Examine this node by the cities' Minimal Interoperability Mechanisms; what was found, as a report.
    Mim(mim::Arguments),
    /// Look at another party's endpoint from outside, by the same mechanisms, as far as that can be seen.
    Probe(mim::Probe),
    /// Whether agreements are kept, with the evidence.
    Compliance(compliance::Arguments),
    /// Service levels: what was promised, attained and missed; dispute, waive, export amounts.
    Levels(levels::Arguments),
    /// What the data space demands: show, diff, accept, check; as its authority: publish.
    Rulebook(rulebook::Arguments),
    /// Data about persons: what they permit and ask, what must be deleted.
    Personal(personal::Arguments),
    /// Look after the node's store while it does not run.
    Store(store::Arguments),
    /// Three cities share real air-quality data, on this machine, in one command.
    Demo(demo::Arguments),
    /// How fast is this machine as a node?
    Bench(bench::Arguments),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(arguments.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.error(&format!("the runtime did not start: {error}"));
            return Exit::Failure.into();
        }
    };
    let result = runtime.block_on(run(arguments, &output));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            output.error(&format!("{error:#}"));
            error.downcast_ref::<Failed>().map_or(Exit::Failure, |failed| failed.exit).into()
        }
    }
}

async fn run(arguments: Arguments, output: &Output) -> anyhow::Result<Exit> {
    let dir = arguments.dir.as_path();
    // Every command may speak TLS or read certificates.
    crate::tls::install_provider();
    match arguments.command {
        Command::Init(arguments) => init::run(dir, &arguments, output),
        Command::Serve(arguments) => serve::run(dir, &arguments, output).await,
        Command::Publish(arguments) => publish::publish(dir, &arguments, output).await,
        Command::Edit(arguments) => edit::run(dir, &arguments, output).await,
        Command::Unpublish(arguments) => publish::unpublish(dir, &arguments, output).await,
        Command::Offers => publish::offers(dir, output).await,
        Command::Catalog(arguments) => catalog::run(dir, &arguments, output).await,
        Command::Negotiate(arguments) => negotiations::negotiate(dir, &arguments, output).await,
        Command::Negotiations(arguments) => negotiations::run(dir, &arguments, output).await,
        Command::Agreements(arguments) => agreements::run(dir, &arguments, output).await,
        Command::Transfers(arguments) => transfers::run(dir, &arguments, output).await,
        Command::Pull(arguments) => pull::run(dir, &arguments, output).await,
        Command::Use(arguments) => uses::begin_use(dir, &arguments, output).await,
        Command::Uses(arguments) => uses::run(dir, &arguments, output).await,
        Command::Credentials(arguments) => credentials::run(dir, &arguments, output).await,
        Command::Authority(arguments) => authority::run(dir, &arguments, output).await,
        Command::Trust(arguments) => trusted::run(dir, &arguments, output).await,
        Command::Peers(arguments) => peers::peers(dir, &arguments, output).await,
        Command::Search(arguments) => search::run(dir, &arguments, output).await,
        Command::Requests(arguments) => requests::run(dir, &arguments, output).await,
        Command::Identity(arguments) => identity::run(dir, &arguments, output).await,
        Command::Events(arguments) => peers::events(dir, &arguments, output).await,
        Command::Audit(arguments) => audit::run(dir, &arguments, output).await,
        Command::Policy(arguments) => policy::run(&arguments, output),
        Command::Keys(arguments) => keys::run(dir, &arguments, output).await,
        Command::Doctor => doctor::run(dir, output).await,
        Command::Deliveries(arguments) => deliveries::run(dir, &arguments, output).await,
        Command::Duties(arguments) => duties::run(dir, &arguments, output).await,
        Command::Mim(arguments) => mim::run(dir, &arguments, output).await,
        Command::Probe(arguments) => mim::probe(&arguments, output).await,
        Command::Compliance(arguments) => compliance::run(dir, &arguments, output).await,
        Command::Levels(arguments) => levels::run(dir, &arguments, output).await,
        Command::Rulebook(arguments) => rulebook::run(dir, &arguments, output).await,
        Command::Personal(arguments) => personal::run(dir, &arguments, output).await,
        Command::Store(arguments) => store::run(dir, &arguments, output).await,
        Command::Demo(arguments) => demo::run(&arguments, output).await,
        Command::Bench(arguments) => bench::run(&arguments, output).await,
    }
}
