//! What others write is text: in terminals, in the log, in tables; and as they wrote it for programs.

use crate::support::{PURPOSE, World};

/// Clears a screen, begins lines, turns the direction.
const EVIL: &str = "moved\u{1b}[2J\u{9b}31m\n2026-01-01T00:00:00Z  INFO forged\r\u{202e}dne\u{2066}";

fn is_harmless(what: &str, text: &str) {
    let acts = |c: char| c != '\n' && c.is_control() || "\u{202e}\u{2066}\u{200f}".contains(c);
    assert!(!text.contains(acts), "{what}: {text:?}");
    assert!(
        !text.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z  INFO forged")),
        "{what}: {text}"
    );
}

#[tokio::test]
async fn what_others_write_is_text_in_every_human_output_and_log_line_and_untouched_for_programs() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let file = provider.data().join("rows.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    let publish = [
        "publish",
        file.to_str().unwrap(),
        "--id",
        "urn:rows",
        "--title",
        EVIL,
        "--description",
        EVIL,
        "--keyword",
        EVIL,
        "--purpose",
        PURPOSE,
    ];
    let said = provider.run(&publish);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    is_harmless("publish", &String::from_utf8_lossy(&said.stdout));
    // The catalog of a stranger.
    let shown = consumer.text(&["catalog", &provider.did]);
    assert!(shown.contains("moved"), "{shown}");
    is_harmless("catalog", &shown);
    assert!(
        consumer.json(&["catalog", &provider.did]).to_string().contains("\\u001b[2J"),
        "as it was written"
    );
    // Reasons in messages of strangers: events, negotiations, agreements, errors.
    let found = consumer.json(&["negotiate", &provider.did, "urn:rows", "--purpose", PURPOSE]);
    let agreement = found["contractAgreementId"].as_str().unwrap();
    consumer.json(&["transfers", "start", agreement]);
    provider.json(&["agreements", "end", agreement, "--reason", EVIL]);
    consumer.until("/v4/events/log?limit=1000", |log| log.to_string().contains("forged")).await;
    for arguments in [
        &["events"][..],
        &["negotiations"],
        &["agreements"],
        &["agreements", "show", agreement],
        &["transfers"],
        &["offers"],
        &["peers"],
        &["search", "moved"],
    ] {
        for node in [&provider, &consumer] {
            let output = node.run(arguments);
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            is_harmless(&format!("{arguments:?}"), &text);
        }
    }
    let events = consumer.text(&["events"]);
    assert!(events.contains("forged"), "it is shown, within a line: {events}");
    assert!(consumer.json(&["catalog", &provider.did]).to_string().contains("\\r\u{202e}dne"));
    // An error that repeats what somebody wrote.
    let refused = consumer.run(&["negotiate", EVIL, "urn:rows", "--purpose", PURPOSE]);
    assert!(!refused.status.success());
    is_harmless("an error", &String::from_utf8_lossy(&refused.stderr));
    let refused = consumer.run(&["pull", agreement]);
    is_harmless("an error with a stranger's reason", &String::from_utf8_lossy(&refused.stderr));
    for node in [&provider, &consumer] {
        is_harmless(
            "the log",
            &node
                .log()
                .replace("\u{1b}[2m", "")
                .replace("\u{1b}[0m", "")
                .replace("\u{1b}[32m", "")
                .replace("\u{1b}[33m", "")
                .replace("\u{1b}[31m", "")
                .replace("\u{1b}[3m", ""),
        );
    }
}
