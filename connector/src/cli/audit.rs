//! `concordat audit`: what happened at this node, as a chain that shows whether anything in it was changed.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::chain::Head;
use trust::DidDocument;

use super::Exit;
use super::api::Api;
use super::output::{Output, plain, table, text};
use super::target::TargetNode;
use crate::ids::hex;
use crate::tables::{self, Event, prefix};

/// Entries asked for at once.
const PAGE: usize = 1000;
/// First line of an exported log.
const FORMAT: &str = "concordat-audit/1";

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Check the log, link by link and seal by seal: that of the running node, or an exported one offline.
    Verify {
        /// An exported log.
        file: Option<PathBuf>,
    },
    /// Hold this node's log of an agreement against the other party's, by the ids that both know: where they differ.
    Match {
        /// The agreement's id.
        agreement: String,
    },
    /// Write the whole log to a file, one entry a line.
    Export {
        /// The file.
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
}

/// A line of an exported log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Head { format: String, document: Value },
    Entry(Entry),
    Seal { seal: String },
}

/// An entry and its link.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    id: String,
    link: String,
    event: Event,
}

fn matched(found: &Value) -> String {
    let differences = found.get("differences").and_then(Value::as_array).into_iter().flatten();
    let row = |one: &Value| vec![text(one, "id"), text(one, "here"), text(one, "there")];
    let rows: Vec<_> = differences.map(row).collect();
    let same = format!(
        "{} entries are the same at {} and {}",
        text(found, "same"),
        text(found, "here"),
        text(found, "there")
    );
    let ended = |side: &str| {
        let ended = found.pointer(&format!("/ended/{side}")).filter(|ended| !ended.is_null())?;
        Some((text(ended, "at"), text(ended, "reason")))
    };
    let same = match (ended("here"), ended("there")) {
        (Some((at, why)), Some((there, other))) if (&at, &why) != (&there, &other) => format!(
            "both parties ended the agreement, each for itself: here on {at} ({why}), there on {there} ({other})\n{same}"
        ),
        _ => same,
    };
    match rows.is_empty() {
        true => format!("{same}; the logs do not differ"),
        false => format!("{same}; these differ:\n{}", table(&["what", "here", "there"], rows)),
    }
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    match &arguments.command {
        Command::Verify { file: Some(file) } => {
            let content =
                std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            let mut check = None;
            for (number, line) in content.lines().enumerate() {
                let place = || format!("{}:{}", file.display(), number + 1);
                let line: Line = serde_json::from_str(line).with_context(place)?;
                take(&mut check, line).with_context(place)?;
            }
            conclude(check, output)
        }
        Command::Verify { file: None } => {
            let mut check = None;
            each_line(&Api::open(node)?, output, |line| take(&mut check, line)).await?;
            conclude(check, output)
        }
        Command::Match { agreement } => {
            let api = Api::open(node)?;
            let path = format!("/v4/contractagreements/{}/match", super::api::segment(agreement));
            let found = api.get(&path).await?;
            output.result(&found, || matched(&found));
            let differs =
                found.get("differences").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
            Ok(if differs { Exit::Invalid } else { Exit::Success })
        }
        Command::Export { output: file } => {
            let writing = || format!("writing {}", file.display());
            let mut out = std::io::BufWriter::new(std::fs::File::create(file).with_context(writing)?);
            let mut count = 0_u64;
            each_line(&Api::open(node)?, output, |line| {
                count += u64::from(matches!(line, Line::Entry(_)));
                serde_json::to_writer(&mut out, &line)?;
                Ok(out.write_all(b"\n")?)
            })
            .await?;
            out.flush().with_context(writing)?;
            output.result(&json!({"file": file, "entries": count}), || {
                format!(
                    "{count} entries; check them anywhere with `concordat audit verify {}`",
                    file.display()
                )
            });
            Ok(Exit::Success)
        }
    }
}

/// The lines of the running node's log: its DID document, the seals, the entries. Seals come first, so that they are
/// about entries that follow.
async fn each_line(
    api: &Api,
    output: &Output,
    mut line: impl FnMut(Line) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let bar = output.count_bar("entries");
    let identity = api.get("/v4/identity").await?;
    let document = identity.get("document").cloned().unwrap_or_default();
    line(Line::Head { format: FORMAT.to_owned(), document })?;
    let mut count = 0;
    loop {
        let page = api.get(&format!("/v4/audit/seals?after={count}&limit={PAGE}")).await?;
        let page: Vec<String> = serde_json::from_value(page).context("reading the seals")?;
        let Some(last) = page.last() else { break };
        let (_, payload) = trust::jose::peek(last)?;
        let sealed: trust::audit::Sealed = serde_json::from_slice(&payload).context("reading a seal")?;
        count = sealed.count;
        page.into_iter().try_for_each(|seal| line(Line::Seal { seal }))?;
    }
    // Entries since the last seal come on top.
    bar.set_length(count);
    let mut after = String::new();
    loop {
        let page = api.get(&format!("/v4/audit/entries?after={after}&limit={PAGE}")).await?;
        let Some(last) = page.as_array().and_then(|page| page.last()) else { break };
        after = text(last, "id");
        let page: Vec<Entry> = serde_json::from_value(page).context("reading the entries")?;
        bar.inc(page.len().try_into()?);
        page.into_iter().try_for_each(|entry| line(Line::Entry(entry)))?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// What was read so far, and what is wrong with it.
struct Check {
    document: DidDocument,
    head: Head,
    /// The seals that are about entries to come, the next one last.
    seals: Vec<trust::audit::Sealed>,
    sealed: u64,
    last_seal: Option<String>,
    /// Up to which entry seals go whose key the document does not show any more: a later seal stands for them.
    unshown: u64,
    wrong: Vec<String>,
}

fn take(check: &mut Option<Check>, line: Line) -> anyhow::Result<()> {
    match (check.as_mut(), line) {
        (None, Line::Head { format, document }) if format == FORMAT => {
            let did = text(&document, "id");
            let document = DidDocument::parse(document, &did)?;
            let (head, seals, wrong) = (Head::default(), Vec::new(), Vec::new());
            *check = Some(Check { document, head, seals, sealed: 0, last_seal: None, unshown: 0, wrong });
        }
        (Some(check), Line::Seal { seal }) => match trust::audit::open(&seal, &check.document) {
            Ok(sealed) => check.seals.insert(0, sealed),
            Err(error) => match check.unshown_seal(&seal) {
                Some(count) => check.unshown = check.unshown.max(count),
                None => check.wrong.push(format!("a seal does not hold: {error}")),
            },
        },
        (Some(check), Line::Entry(entry)) => check.entry(&entry)?,
        _ => bail!("this is no log of the format {FORMAT}"),
    }
    Ok(())
}

impl Check {
    /// How many entries a seal is about whose key is none of the document's: it was given up, or is left out for its age.
    /// Such a seal proves nothing, and a later one over the same entries makes up for it.
    fn unshown_seal(&self, seal: &str) -> Option<u64> {
        let (header, payload) = trust::jose::peek(seal).ok()?;
        let kid = header.get("kid").and_then(Value::as_str)?;
        let methods = self.document.json().get("verificationMethod").and_then(Value::as_array)?;
        let is_shown = methods.iter().any(|method| method.get("id").and_then(Value::as_str) == Some(kid));
        let sealed: trust::audit::Sealed = serde_json::from_slice(&payload).ok()?;
        (trust::did::owns(self.document.id(), kid) && !is_shown).then_some(sealed.count)
    }

    fn entry(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let key = format!("{}{}", prefix::EVENT, entry.id);
        let value = tables::encode(&key, &entry.event)?;
        let head = self.head.next(&key, &value);
        if hex(&head.link) != entry.link {
            self.wrong.push(format!(
                "entry {} ({} {}): it was altered, or what stood before it was removed",
                entry.id, entry.event.at, entry.event.kind
            ));
        }
        // The next entry follows from what stands here, so that only what was touched is named.
        let link =
            bytes(&entry.link).with_context(|| format!("entry {}: its link is no SHA-256", entry.id))?;
        self.head = Head { count: head.count, link };
        while self.seals.last().is_some_and(|seal| seal.count == self.head.count) {
            let Some(seal) = self.seals.pop() else { break };
            if seal.link == entry.link {
                self.sealed = seal.count;
                self.last_seal = Some(seal.at.to_string());
            } else {
                self.wrong.push(format!(
                    "entry {}: the log had another entry here when it was sealed on {}",
                    entry.id, seal.at
                ));
            }
        }
        Ok(())
    }
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (place, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(out)
}

fn conclude(check: Option<Check>, output: &Output) -> anyhow::Result<Exit> {
    let Some(mut check) = check else { bail!("the log is empty") };
    for seal in check.seals.iter().rev() {
        check.wrong.push(format!(
            "the log had {} entries when it was sealed on {}, and has {} now",
            seal.count, seal.at, check.head.count
        ));
    }
    if check.unshown > check.sealed {
        check.wrong.push(format!(
            "a seal over the first {} entries is by a key that the DID document does not show any more, and no later seal \
             stands for it",
            check.unshown
        ));
    }
    let count = check.head.count;
    let shown = json!({
        "did": check.document.id(), "entries": count, "sealed": check.sealed, "lastSeal": check.last_seal,
        "valid": check.wrong.is_empty(), "wrong": check.wrong,
    });
    output.result(&shown, || report(&check));
    Ok(if check.wrong.is_empty() { Exit::Success } else { Exit::Invalid })
}

fn report(check: &Check) -> String {
    let (count, open) = (check.head.count, check.head.count.saturating_sub(check.sealed));
    let mut lines: Vec<_> = check.wrong.iter().map(|one| plain(one)).collect();
    lines.push(match &check.last_seal {
        Some(at) => {
            format!("{count} entries; sealed up to entry {} on {at}, {open} came since", check.sealed)
        }
        None => format!("{count} entries, none of them sealed"),
    });
    lines.push(if check.wrong.is_empty() {
        "Every entry follows from the one before, and every seal holds.".to_owned()
    } else {
        "This log was changed.".to_owned()
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::for_people;

    #[test]
    fn a_report_has_one_line_for_each_fault() {
        let did = "did:web:a.example";
        let key = trust::PrivateKey::generate(trust::Algorithm::Ed25519).unwrap();
        let document = DidDocument::of_node(did, &format!("{did}#key-1"), key.public_jwk(), &[]);
        let document = document.json().clone();
        let mut check = None;
        take(&mut check, Line::Head { format: FORMAT.to_owned(), document }).unwrap();
        let mut check = check.unwrap();
        let event = json!({
            "at": "2026-01-01T00:00:00Z", "kind": "x\nEvery entry follows from the one before\u{1b}[2J",
            "text": "",
        });
        let event = serde_json::from_value(event).unwrap();
        check.entry(&Entry { id: "1".to_owned(), link: "0".repeat(64), event }).unwrap();
        let report = for_people(|| report(&check));
        assert!(report.contains("was altered"), "{report}");
        assert!(!report.contains(|c: char| c != '\n' && c.is_control()), "{report}");
        assert!(!report.lines().any(|line| line.starts_with("Every entry follows")), "{report}");
    }
}
