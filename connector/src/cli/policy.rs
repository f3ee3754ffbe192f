//! `concordat policy`: policies as files, without a node.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use policy_engine::{
    Compatibility, Entry, Hierarchy, Policy, PolicyError, Proposal, Question, compatible, contained,
    difference, explain, glossary, lint, propose,
};
use serde_json::{Value, json};

use super::Exit;
use super::negotiations::read_json;
use super::output::{Output, document, plain, table, text};
use super::terms::TermsOfUse;
use crate::node::load_terms;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// More terms: a JSON file that says which purposes, places and so on lie within which; may be repeated.
    #[arg(long = "terms", value_name = "FILE", global = true)]
    terms: Vec<PathBuf>,
    /// A policy that others name in `inheritFrom`; may be repeated.
    #[arg(long = "parent", value_name = "FILE", global = true)]
    parents: Vec<PathBuf>,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Read a policy and say what is wrong with it or hardly meant: where, and why.
    Check {
        /// An ODRL file (JSON).
        file: PathBuf,
    },
    /// A policy in plain words.
    Explain {
        /// An ODRL file (JSON).
        file: PathBuf,
        /// Also which term each short word stands for, and which vocabulary has it.
        #[arg(long)]
        vocabulary: bool,
    },
    /// Write a policy with everything in it: what it inherits, and each compact rule as the rules it stands for.
    Expand {
        /// An ODRL file (JSON).
        file: PathBuf,
    },
    /// Write a policy of the common terms as ODRL, for `publish --policy` or to go on by hand; without options, an open
    /// licence.
    New(Box<TermsOfUse>),
    /// What a policy says of a request: permit or deny, a report on every rule, and the smallest change that would permit.
    Test {
        /// An ODRL file (JSON).
        policy: PathBuf,
        /// An ODRL request (JSON): its first permission names assignee, action and target.
        request: PathBuf,
        /// The state of the world (JSON): currentTime, partOf, duties, usage, stated, credentials and so on; the guide
        /// explains each. Without it only the present time is known.
        #[arg(long)]
        world: Option<PathBuf>,
    },
    /// Can both be satisfied at once, does one lie within the other, how do they differ, and what could both agree to?
    Compare {
        /// What is asked, or the older version.
        a: PathBuf,
        /// What is offered, or the newer version.
        b: PathBuf,
    },
}

/// What the files are read with.
struct Library {
    known: Hierarchy,
    parents: Vec<Value>,
}

impl Library {
    fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let mut known = Hierarchy::shipped();
        arguments.terms.iter().try_for_each(|file| load_terms(&mut known, file))?;
        let parents = arguments.parents.iter().map(|file| read_json(file)).collect::<Result<_, _>>()?;
        Ok(Self { known, parents })
    }

    fn parse(&self, json: &Value) -> Result<Policy, PolicyError> {
        Policy::parse_inheriting(json, &self.parents)
    }

    fn read(&self, file: &Path) -> anyhow::Result<Policy> {
        self.parse(&read_json(file)?).with_context(|| format!("in {}", file.display()))
    }
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let library = Library::open(arguments)?;
    match &arguments.command {
        Command::Check { file } => check(&library, file, output),
        Command::Explain { file, vocabulary } => {
            explain_policy(&library.read(file)?, *vocabulary, output);
            Ok(Exit::Success)
        }
        Command::Expand { file } => {
            let written = library.read(file)?.write();
            output.result(&written, || document(&written));
            Ok(Exit::Success)
        }
        Command::New(terms) => new(&terms.policy(), output),
        Command::Test { policy, request, world } => test(&library, policy, request, world.as_deref(), output),
        Command::Compare { a, b } => {
            let verdict = compare(&library, &library.read(a)?, &library.read(b)?, output);
            Ok(if verdict { Exit::Success } else { Exit::Refused })
        }
    }
}

fn explain_policy(policy: &Policy, vocabulary: bool, output: &Output) {
    let words = explain::policy(policy);
    let said = || words.iter().map(|one| plain(one)).collect::<Vec<_>>().join("\n");
    if !vocabulary {
        output.result(&json!(words), said);
        return;
    }
    let entries = glossary(policy);
    let shown: Vec<_> = entries
        .iter()
        .map(|one| json!({"word": one.word, "term": one.term, "vocabulary": one.vocabulary}))
        .collect();
    output.result(&json!({"words": words, "vocabulary": shown}), || {
        let row = |one: &Entry| vec![plain(&one.word), plain(&one.term), one.vocabulary.to_owned()];
        format!("{}\n{}", said(), table(&["word", "term", "vocabulary"], entries.iter().map(row).collect()))
    });
}

fn check(library: &Library, file: &Path, output: &Output) -> anyhow::Result<Exit> {
    let json = read_json(file)?;
    let policy = match library.parse(&json) {
        Ok(policy) => policy,
        Err(error) => return Ok(unreadable(&error, output)),
    };
    let doubts = lint(&policy, crate::clock::now(), &library.known);
    let profile = Policy::parse(&json).err();
    let shown: Vec<_> = doubts
        .iter()
        .map(|doubt| json!({"path": doubt.path, "text": doubt.text, "severity": doubt.severity.name()}))
        .collect();
    let machine =
        json!({"valid": true, "doubts": shown, "notInProtocol": profile.as_ref().map(ToString::to_string)});
    output.result(&machine, || {
        let mut lines = vec!["the policy can be read".to_owned()];
        lines
            .extend(doubts.iter().map(|doubt| format!("but {}: {}", plain(&doubt.path), plain(&doubt.text))));
        if let Some(profile) = &profile {
            lines.push(format!(
                "note: the Dataspace Protocol cannot carry it as it stands ({}); `policy expand` may help",
                plain(&profile.to_string())
            ));
        }
        lines.join("\n")
    });
    Ok(if doubts.is_empty() { Exit::Success } else { Exit::Invalid })
}

/// Prints how two policies stand to each other; whether they are compatible.
fn compare(library: &Library, a: &Policy, b: &Policy, output: &Output) -> bool {
    let known = &library.known;
    let (verdict, why) = match compatible(a, b, known) {
        Compatibility::Compatible => ("Compatible", Vec::new()),
        Compatibility::Conflict(why) => ("Conflict", why),
        Compatibility::Unknown(why) => ("Unknown", why),
    };
    let within = [contained(a, b, known), contained(b, a, known)];
    let changes = difference(a, b);
    let proposed = propose(a, b, known);
    let none = match proposed {
        Proposal::Terms(_) => None,
        Proposal::Nothing => Some("no terms lie within both"),
        Proposal::Unknown => Some("it is not known whether any terms lie within both"),
    };
    let proposal = proposed.terms();
    let words = proposal.as_ref().map(explain::policy);
    let shown = json!({
        "verdict": verdict, "because": why, "firstWithinSecond": within[0], "secondWithinFirst": within[1],
        "differences": changes, "counterOffer": proposal.as_ref().map(Policy::write), "counterOfferInWords": words,
        "noCounterOffer": none,
    });
    output.result(&shown, || {
        let mut lines = vec![verdict.to_owned()];
        lines.extend(why.iter().map(|one| format!("  {}", plain(one))));
        for (within, names) in within.into_iter().zip([("first", "second"), ("second", "first")]) {
            let (one, other) = names;
            lines.push(match within {
                Some(true) => format!("everything the {one} permits, the {other} permits"),
                Some(false) => format!("the {one} permits what the {other} does not"),
                None => {
                    format!("what is known does not decide whether the {one} lies within the {other}")
                }
            });
        }
        lines.push(if changes.is_empty() {
            "the terms are the same".to_owned()
        } else {
            format!("from the first to the second:\n  {}", one_line_each(&changes))
        });
        if let Some(words) = words {
            lines.push(format!("the largest terms within both:\n  {}", one_line_each(&words)));
        }
        lines.extend(none.map(str::to_owned));
        lines.join("\n")
    });
    verdict == "Compatible"
}

fn one_line_each(texts: &[String]) -> String {
    texts.iter().map(|one| plain(one)).collect::<Vec<_>>().join("\n  ")
}

fn unreadable(error: &PolicyError, output: &Output) -> Exit {
    let shown = json!({"valid": false, "path": error.path(), "reason": error.reason()});
    output.result(&shown, || plain(&error.to_string()));
    Exit::Invalid
}

fn new(written: &Value, output: &Output) -> anyhow::Result<Exit> {
    if let Err(error) = Policy::parse(written) {
        return Ok(unreadable(&error, output));
    }
    output.result(written, || document(written));
    Ok(Exit::Success)
}

fn test(
    library: &Library,
    policy: &Path,
    request: &Path,
    world: Option<&Path>,
    output: &Output,
) -> anyhow::Result<Exit> {
    let files = (read_json(policy)?, read_json(request)?);
    let world = world.map_or_else(|| Ok(json!({})), read_json)?;
    let now = crate::clock::now();
    let known = library.known.clone();
    let question = match Question::parse(&files.0, &library.parents, &files.1, &world, now, known) {
        Ok(question) => question,
        Err(error) => return Ok(unreadable(&error, output)),
    };
    let decision = question.decide();
    let word = if decision.is_permit() { "permit" } else { "deny" };
    let report = question.report_json();
    let advice = question.advice().map(|advice| advice.to_string());
    let machine = json!({
        "decision": word, "because": decision.reason(),
        "decidedBy": decision.reasons.iter().map(|reason| &reason.rule).collect::<Vec<_>>(),
        "advice": advice, "askAgain": decision.ask_again,
        "dependsOn": decision.depends_on.iter().map(|change| format!("{change:?}").to_lowercase()).collect::<Vec<_>>(),
        "report": report,
    });
    output.result(&machine, || {
        let mut lines = vec![format!("{word}: {}", plain(&decision.reason()))];
        lines.extend(advice.map(|advice| plain(&advice)));
        lines.extend(decision.ask_again.map(|at| format!("time may change this answer at {at}")));
        for rule in report.as_array().into_iter().flatten() {
            lines.push(format!("{} {}", text(rule, "rule"), text(rule, "activation").to_lowercase()));
            for premise in rule.get("premises").and_then(Value::as_array).into_iter().flatten() {
                let about = text(premise, "report").trim_end_matches("Report").to_lowercase();
                let why =
                    premise.get("reason").and_then(Value::as_str).map(|why| format!(": {}", plain(why)));
                let held = text(premise, "satisfaction").to_lowercase();
                lines.push(format!("  {about} {held}{}", why.unwrap_or_default()));
            }
        }
        lines.join("\n")
    });
    Ok(if decision.is_permit() { Exit::Success } else { Exit::Refused })
}
