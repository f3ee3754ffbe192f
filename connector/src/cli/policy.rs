//! `concordat policy`: policies as files, without a node.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use policy_engine::{
    Compatibility, Hierarchy, Policy, PolicyError, Question, compatible, contained, explain,
};
use serde_json::{Value, json};

use super::Exit;
use super::negotiations::read_json;
use super::output::{Output, text};
use super::terms::Terms;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Read a policy and say what is wrong with it: where, and why.
    Check {
        /// An ODRL file (JSON).
        file: PathBuf,
    },
    /// A policy in plain words.
    Explain {
        /// An ODRL file (JSON).
        file: PathBuf,
    },
    /// Write a policy of the common terms as ODRL, for `publish --policy` or to go on by hand; without options, an open
    /// licence.
    New(Terms),
    /// What a policy says of a request: permit or deny, and a report on every rule.
    Test {
        /// An ODRL file (JSON).
        policy: PathBuf,
        /// An ODRL request (JSON): its first permission names assignee, action and target.
        request: PathBuf,
        /// The state of the world (JSON): currentTime, partOf, duties, purposes, places, count; the guide explains
        /// each. Without it only the present time is known.
        #[arg(long)]
        world: Option<PathBuf>,
    },
    /// Can both be satisfied at once, and does one lie within the other?
    Compare {
        /// What is asked, for example.
        a: PathBuf,
        /// What is offered.
        b: PathBuf,
    },
}

fn read(file: &Path) -> anyhow::Result<Policy> {
    Policy::parse(&read_json(file)?).with_context(|| format!("in {}", file.display()))
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    match &arguments.command {
        Command::Check { file } => {
            let json = read_json(file)?;
            match Policy::parse(&json) {
                Ok(policy) => {
                    let doubts = doubts(&policy);
                    output.result(&json!({"valid": true, "doubts": doubts}), || {
                        let mut lines = vec!["the policy can be read".to_owned()];
                        lines.extend(doubts.iter().map(|doubt| format!("but: {doubt}")));
                        lines.join("\n")
                    });
                    Ok(if doubts.is_empty() { Exit::Success } else { Exit::Invalid })
                }
                Err(error) => Ok(unreadable(&error, output)),
            }
        }
        Command::Explain { file } => {
            let words = explain::policy(&read(file)?);
            output.result(&json!(words), || words.join("\n"));
            Ok(Exit::Success)
        }
        Command::New(terms) => new(&terms.policy(), output),
        Command::Test { policy, request, world } => test(policy, request, world.as_deref(), output),
        Command::Compare { a, b } => {
            let (a, b) = (read(a)?, read(b)?);
            let known = Hierarchy::shipped();
            let (verdict, why) = match compatible(&a, &b, &known) {
                Compatibility::Compatible => ("Compatible", Vec::new()),
                Compatibility::Conflict(why) => ("Conflict", why),
                Compatibility::Unknown(why) => ("Unknown", why),
            };
            let within = [contained(&a, &b, &known), contained(&b, &a, &known)];
            let shown = json!({"verdict": verdict, "because": why, "firstWithinSecond": within[0], "secondWithinFirst": within[1]});
            output.result(&shown, || {
                let mut lines = vec![verdict.to_owned()];
                lines.extend(why.iter().map(|one| format!("  {one}")));
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
                lines.join("\n")
            });
            Ok(if verdict == "Compatible" { Exit::Success } else { Exit::Refused })
        }
    }
}

fn unreadable(error: &PolicyError, output: &Output) -> Exit {
    let shown = json!({"valid": false, "path": error.path(), "reason": error.reason()});
    output.result(&shown, || error.to_string());
    Exit::Invalid
}

fn new(written: &Value, output: &Output) -> anyhow::Result<Exit> {
    if let Err(error) = Policy::parse(written) {
        return Ok(unreadable(&error, output));
    }
    output.result(written, || format!("{written:#}"));
    Ok(Exit::Success)
}

fn test(policy: &Path, request: &Path, world: Option<&Path>, output: &Output) -> anyhow::Result<Exit> {
    let files = (read_json(policy)?, read_json(request)?);
    let world = world.map_or_else(|| Ok(json!({})), read_json)?;
    let now = crate::clock::now();
    let question = match Question::parse(&files.0, &files.1, &world, now, Hierarchy::shipped()) {
        Ok(question) => question,
        Err(error) => return Ok(unreadable(&error, output)),
    };
    let decision = question.decide();
    let word = if decision.is_permit() { "permit" } else { "deny" };
    let report = question.report_json();
    output.result(&json!({"decision": word, "because": decision.reason(), "report": report}), || {
        let mut lines = vec![format!("{word}: {}", decision.reason())];
        for rule in report.as_array().into_iter().flatten() {
            lines.push(format!("{} {}", text(rule, "rule"), text(rule, "activation").to_lowercase()));
            for premise in rule.get("premises").and_then(Value::as_array).into_iter().flatten() {
                let about = text(premise, "report").trim_end_matches("Report").to_lowercase();
                let why = premise.get("reason").and_then(Value::as_str).map(|why| format!(": {why}"));
                let held = text(premise, "satisfaction").to_lowercase();
                lines.push(format!("  {about} {held}{}", why.unwrap_or_default()));
            }
        }
        lines.join("\n")
    });
    Ok(if decision.is_permit() { Exit::Success } else { Exit::Refused })
}

/// What a policy can be read as, but hardly means.
fn doubts(policy: &Policy) -> Vec<String> {
    let known = Hierarchy::shipped();
    let mut doubts = Vec::new();
    if let Compatibility::Conflict(why) = compatible(policy, policy, &known) {
        doubts.push(format!("nothing satisfies it: {}", why.join("; ")));
    }
    let now: Result<Policy, _> = Policy::parse(
        &json!({"@type": "Set", "permission": [{"action": "use", "constraint": [
        {"leftOperand": "dateTime", "operator": "gteq", "rightOperand": crate::clock::now().to_string()}]}]}),
    );
    if let Ok(now) = now
        && doubts.is_empty()
        && matches!(compatible(policy, &now, &known), Compatibility::Conflict(_))
    {
        doubts.push("every date in it is past, so it permits nothing any more".to_owned());
    }
    for name in unknown_operands(policy) {
        doubts.push(format!("`{name}` is not an operand this node understands, so it never permits"));
    }
    doubts
}

fn unknown_operands(policy: &Policy) -> Vec<String> {
    use policy_engine::{Constraint, known_operand};
    fn visit(constraint: &Constraint, found: &mut Vec<String>) {
        match constraint {
            Constraint::Atomic(atomic) if known_operand(&atomic.left).is_none() => {
                found.push(atomic.left.clone())
            }
            Constraint::Atomic(_) => {}
            Constraint::Logical { parts, .. } => parts.iter().for_each(|part| visit(part, found)),
        }
    }
    let mut found = Vec::new();
    for rule in policy.rules() {
        rule.constraints.iter().for_each(|constraint| visit(constraint, &mut found));
    }
    found.sort();
    found.dedup();
    found
}
