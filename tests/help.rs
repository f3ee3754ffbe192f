//! What the program tells of itself: help in groups, topics, completions, pages of manual.

use std::process::{Command, Output};

use crate::support::PROGRAM;

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn said(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_is_in_groups_and_leads_to_commands_and_topics() {
    let help = said(&["--help"]);
    let mut last = 0;
    for title in [
        "Begin:",
        "Offer data:",
        "Find and use data:",
        "Decide:",
        "Belong to a data space:",
        "Look after the node:",
    ] {
        let at = help.find(&format!("\n{title}\n")).unwrap_or_else(|| panic!("{title}: {help}"));
        assert!(at > last, "{title}");
        last = at;
    }
    assert_eq!(said(&["help"]).trim_end(), help.trim_end());
    assert_eq!(
        said(&["help", "agreements", "verify"]).trim_end(),
        said(&["agreements", "verify", "--help"]).trim_end()
    );
    let topics = help
        .split("Topics, told by")
        .nth(1)
        .unwrap()
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("  "));
    let mut seen = 0;
    for topic in topics.filter_map(|line| line.split_whitespace().next()) {
        assert!(said(&["help", topic]).lines().count() > 8, "{topic}");
        seen += 1;
    }
    assert!(seen >= 6, "{help}");
    // A name that is both: the command's own help, then the topic.
    let keys = said(&["help", "keys"]);
    assert!(keys.contains("Usage: concordat keys") && keys.contains("keys/participant.jwk"), "{keys}");
    let unknown = run(&["help", "nonsense"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("the topics are trial, terms"), "{unknown:?}");
}

#[test]
fn shells_complete_commands_and_options() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&["completions", shell]);
        assert!(script.contains("negotiations") && script.contains("until-stdin-closes"), "{shell}");
        std::fs::write(folder.path().join(shell), script).unwrap();
    }
    // Asked as bash asks when somebody presses the tab key.
    let asked = format!(
        ". {}; COMP_WORDS=(concordat agreements ver); COMP_CWORD=2; _concordat concordat ver agreements; echo \"${{COMPREPLY[@]}}\"",
        folder.path().join("bash").display()
    );
    let completed = Command::new("bash").args(["-c", &asked]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "verify", "{completed:?}");
}

#[test]
fn every_command_has_a_page_of_the_manual() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    said(&["man", pages.to_str().unwrap()]);
    let help = said(&["--help"]);
    let groups = help.lines().skip_while(|line| *line != "Begin:").take_while(|line| *line != "Options:");
    for command in
        groups.filter(|line| line.starts_with("  ")).filter_map(|line| line.split_whitespace().next())
    {
        let page = std::fs::read_to_string(pages.join(format!("concordat-{command}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains(".SH SYNOPSIS"), "{command}");
    }
    assert!(pages.join("concordat.1").exists() && pages.join("concordat-agreements-verify.1").exists());
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(run(&["man", file.to_str().unwrap()]).status.code(), Some(1));
}
