//! `concordat help`, `completions`, `man`: the commands in groups by what one wants, and short texts on topics.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use serde_json::json;

use super::Exit;
use super::output::{Output, fields};

/// What one wants, and the commands for it. Every command stands in one group.
const GROUPS: [(&str, &[&str]); 7] = [
    ("Begin", &["init", "up", "serve", "demo"]),
    ("Offer data", &["publish", "edit", "unpublish", "offers"]),
    (
        "Find and use data",
        &["search", "catalog", "requests", "negotiate", "pull", "use", "uses", "transfers"],
    ),
    ("Decide", &["policy", "negotiations", "agreements"]),
    ("Belong to a data space", &["peers", "credentials", "trust", "rulebook", "authority"]),
    ("Keep to the terms, and show it", &["duties", "levels", "personal", "compliance", "mim", "probe"]),
    (
        "Look after the node",
        &[
            "doctor",
            "events",
            "audit",
            "deliveries",
            "store",
            "keys",
            "identity",
            "bench",
            "help",
            "completions",
            "man",
        ],
    ),
];

/// Texts on what no single command tells.
const TOPICS: [(&str, &str, &str); 9] = [
    ("trial", "several nodes on one machine, in a minute", include_str!("topics/trial.txt")),
    ("terms", "what is demanded of whoever reads", include_str!("topics/terms.txt")),
    ("peers", "who the others are, and how they are reached", include_str!("topics/peers.txt")),
    ("views", "reading in the form that a program takes", include_str!("topics/views.txt")),
    ("keys", "which keys there are, and who may have them", include_str!("topics/keys.txt")),
    ("backup", "what to copy, and how to go back to it", include_str!("topics/backup.txt")),
    ("settings", "what takes effect at once, and what after a restart", include_str!("topics/settings.txt")),
    ("logs", "what is written to standard error", include_str!("topics/logs.txt")),
    ("exit-codes", "what a script learns from the end of a command", include_str!("topics/exit-codes.txt")),
];

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// A command, such as `agreements verify`, or a topic.
    #[arg(value_name = "COMMAND OR TOPIC")]
    about: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

#[derive(Debug, Clone, Args)]
pub(super) struct Man {
    /// Where the pages are written; made where it is missing.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// The command line, with its commands in groups.
pub(super) fn command() -> clap::Command {
    let command = super::Arguments::command();
    let groups: Vec<_> = GROUPS.iter().map(|(title, names)| group(&command, title, names)).collect();
    let topics = fields(&TOPICS.map(|(name, about, _)| (name, about.to_owned())));
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}\n\nOptions:\n{{options}}\n\n\
         Topics, told by `concordat help TOPIC`:\n  {}{{after-help}}",
        groups.join("\n\n"),
        topics.replace('\n', "\n  ")
    ))
}

fn group(command: &clap::Command, title: &str, names: &[&str]) -> String {
    let width = command.get_subcommands().map(|one| one.get_name().len()).max().unwrap_or_default();
    let line = |name: &&str| {
        let about = command.find_subcommand(name).and_then(clap::Command::get_about);
        format!("  {name:width$}  {}", about.map(ToString::to_string).unwrap_or_default())
    };
    format!("{title}:\n{}", names.iter().map(line).collect::<Vec<_>>().join("\n"))
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let text = match arguments.about.as_slice() {
        [] => command().render_help().to_string(),
        about => about_command(about).or_else(|| topic(about)).with_context(|| {
            let topics: Vec<_> = TOPICS.iter().map(|(name, ..)| *name).collect();
            format!(
                "there is no command or topic `{}`: `concordat help` lists the commands; the topics are {}",
                about.join(" "),
                topics.join(", ")
            )
        })?,
    };
    output.result(&json!({"about": arguments.about, "text": text}), || text.trim_end().to_owned());
    Ok(Exit::Success)
}

fn topic(about: &[String]) -> Option<String> {
    let [name] = about else { return None };
    TOPICS.iter().find(|(topic, ..)| topic == name).map(|(.., text)| (*text).to_owned())
}

/// What `--help` says of a command; a topic that is called as the command follows.
fn about_command(about: &[String]) -> Option<String> {
    let command = command();
    about.iter().try_fold(&command, |found, name| found.find_subcommand(name))?;
    let asked = ["concordat"].into_iter().chain(about.iter().map(String::as_str)).chain(["--help"]);
    let text = command.clone().try_get_matches_from(asked).err()?.render().to_string();
    Some(match topic(about) {
        None => text,
        Some(topic) => format!("{}\n\n{topic}", text.trim_end()),
    })
}

pub(super) fn completions(arguments: &Completions, output: &Output) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "concordat", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    output.result(&json!({"shell": arguments.shell.to_string(), "script": script}), || {
        script.trim_end().to_owned()
    });
    Exit::Success
}

pub(super) fn man(arguments: &Man, output: &Output) -> anyhow::Result<Exit> {
    let folder = &arguments.folder;
    let writing = || format!("writing pages of manual to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(writing)?;
    clap_mangen::generate_to(super::Arguments::command(), folder).with_context(writing)?;
    output.result(&json!({"folder": folder}), || {
        format!("the pages are in {0}; read one: man {0}/concordat.1", folder.display())
    });
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_in_one_group_with_what_it_does() {
        let mut grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        grouped.sort_unstable();
        let known = super::super::Arguments::command();
        let mut commands: Vec<_> = known.get_subcommands().map(clap::Command::get_name).collect();
        commands.sort_unstable();
        assert_eq!(grouped, commands);
        let help = command().render_help().to_string();
        for one in known.get_subcommands() {
            let about = one.get_about().unwrap().to_string();
            assert!(help.contains(&about), "{}: {help}", one.get_name());
        }
        command().debug_assert();
    }

    #[test]
    fn what_topics_name_is_there() {
        let mut known = super::super::Arguments::command();
        known.build();
        let operate = ("operate.md", include_str!("../../../docs/operate.md"));
        for (name, text) in TOPICS.map(|(name, _, text)| (name, text)).into_iter().chain([operate]) {
            let is_topic = name != operate.0;
            assert!(text.len() > 200 && text.lines().all(|line| !is_topic || line.len() <= 100), "{name}");
            // Every command that stands in a text, on a line of its own or between backticks.
            let quoted = text.split('`').skip(1).step_by(2);
            let lines = text.lines().map(str::trim);
            for line in quoted.chain(lines).filter_map(|one| one.strip_prefix("concordat ")) {
                // What it does stands behind it, apart.
                let line = line.split("  ").next().unwrap();
                let mut words: Vec<_> = line.split_whitespace().collect();
                if let ["--dir", _, rest @ ..] = words.as_slice() {
                    words = rest.to_vec();
                }
                let mut found = &known;
                for word in words.iter().take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
                {
                    match found.find_subcommand(word) {
                        Some(one) => found = one,
                        None => {
                            assert!(!found.has_subcommands(), "{name}: `concordat {line}`: {word}");
                            break;
                        }
                    }
                }
                assert_ne!(found.get_name(), "concordat", "{name}: `concordat {line}`");
                for option in words.iter().filter_map(|word| word.strip_prefix("--")) {
                    let has =
                        |one: &clap::Command| one.get_arguments().any(|arg| arg.get_long() == Some(option));
                    assert!(has(found), "{name}: `concordat {line}` has no --{option}");
                }
            }
        }
    }
}
