//! The command line: a clerk's tool. Every command but `init`, `up`, `authority init`, `serve`, `doctor`, `store`, `demo`,
//! `bench`, `help`, `completions`, `man` and `agreements verify` talks to the running node over its management API.

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
mod help;
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
mod target;
mod terms;
mod testbed;
mod transfers;
mod trial;
mod trusted;
mod up;
mod uses;
mod warnings;

use std::process::ExitCode;

use clap::{FromArgMatches as _, Parser, Subcommand};

use self::output::Output;
pub(crate) use self::output::bytes as human_bytes;
use self::target::TargetNode;

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
                  4 the node is not running, 5 something that was checked does not hold.",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(flatten)]
    node: TargetNode,
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
    /// Make a trial node where the folder has none, run it, and tell what to try next.
    Up(up::Up),
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
    /// Look after the node's store: verify, rebuild, checkpoint, back up.
    Store(store::Arguments),
    /// Three cities share real air-quality data, on this machine, in one command.
    Demo(demo::Arguments),
    /// How fast is this machine as a node?
    Bench(bench::Arguments),
    /// Help on a command, or on a topic such as `terms`, `keys` or `backup`.
    Help(help::Arguments),
    /// Completions of this command line, for a shell to read.
    Completions(help::Completions),
    /// Write the pages of the manual to a folder.
    Man(help::Man),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::from_arg_matches(&help::command().get_matches());
    let arguments = arguments.unwrap_or_else(|error| error.exit());
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
    let node = &arguments.node;
    // Every command may speak TLS or read certificates.
    crate::tls::install_provider();
    match arguments.command {
        Command::Init(arguments) => init::run(node.folder()?, &arguments, output),
        Command::Serve(arguments) => serve::run(node.folder()?, &arguments, output).await,
        Command::Up(arguments) => up::run(node.folder()?, &arguments, output).await,
        Command::Publish(arguments) => publish::publish(node, &arguments, output).await,
        Command::Edit(arguments) => edit::run(node, &arguments, output).await,
        Command::Unpublish(arguments) => publish::unpublish(node, &arguments, output).await,
        Command::Offers => publish::offers(node, output).await,
        Command::Catalog(arguments) => catalog::run(node, &arguments, output).await,
        Command::Negotiate(arguments) => negotiations::negotiate(node, &arguments, output).await,
        Command::Negotiations(arguments) => negotiations::run(node, &arguments, output).await,
        Command::Agreements(arguments) => agreements::run(node, &arguments, output).await,
        Command::Transfers(arguments) => transfers::run(node, &arguments, output).await,
        Command::Pull(arguments) => pull::run(node, &arguments, output).await,
        Command::Use(arguments) => uses::begin_use(node, &arguments, output).await,
        Command::Uses(arguments) => uses::run(node, &arguments, output).await,
        Command::Credentials(arguments) => credentials::run(node, &arguments, output).await,
        Command::Authority(arguments) => authority::run(node, &arguments, output).await,
        Command::Trust(arguments) => trusted::run(node, &arguments, output).await,
        Command::Peers(arguments) => peers::peers(node, &arguments, output).await,
        Command::Search(arguments) => search::run(node, &arguments, output).await,
        Command::Requests(arguments) => requests::run(node, &arguments, output).await,
        Command::Identity(arguments) => identity::run(node, &arguments, output).await,
        Command::Events(arguments) => peers::events(node, &arguments, output).await,
        Command::Audit(arguments) => audit::run(node, &arguments, output).await,
        Command::Policy(arguments) => policy::run(&arguments, output),
        Command::Keys(arguments) => keys::run(node, &arguments, output).await,
        Command::Doctor => doctor::run(node, output).await,
        Command::Deliveries(arguments) => deliveries::run(node, &arguments, output).await,
        Command::Duties(arguments) => duties::run(node, &arguments, output).await,
        Command::Mim(arguments) => mim::run(node, &arguments, output).await,
        Command::Probe(arguments) => mim::probe(node, &arguments, output).await,
        Command::Compliance(arguments) => compliance::run(node, &arguments, output).await,
        Command::Levels(arguments) => levels::run(node, &arguments, output).await,
        Command::Rulebook(arguments) => rulebook::run(node, &arguments, output).await,
        Command::Personal(arguments) => personal::run(node, &arguments, output).await,
        Command::Store(arguments) => store::run(node, &arguments, output).await,
        Command::Demo(arguments) => demo::run(&arguments, output).await,
        Command::Bench(arguments) => bench::run(&arguments, output).await,
        Command::Help(arguments) => help::run(&arguments, output),
        Command::Completions(arguments) => Ok(help::completions(&arguments, output)),
        Command::Man(arguments) => help::man(&arguments, output),
    }
}
