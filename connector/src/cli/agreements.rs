//! `concordat agreements`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use policy_engine::same_terms;
use protocol::wire::{Agreement, Offer, Parts};
use serde_json::{Value, json};
use trust::{Dossier, Finding};

use super::api::{Api, newest, segment, set};
use super::negotiations::read_json;
use super::output::{Output, bytes, document, fields, plain, table, text, time_of_seconds};
use super::target::TargetNode;
use super::{Exit, catalog, publish};

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// The newest agreements.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// One agreement: parties, terms, signatures, use.
    Show {
        /// Its id.
        id: String,
    },
    /// Proof of an agreement, for the `contract_token` of request tickets (MIM4 2021, 5.3).
    ContractToken {
        /// Its id.
        id: String,
    },
    /// Write everything that proves an agreement to one file.
    Export {
        /// Its id.
        id: String,
        /// The file; standard output otherwise.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Check an exported agreement offline, line by line: signatures, messages, keys, credentials.
    Verify {
        /// The exported file.
        file: PathBuf,
    },
    /// Take over an agreement made elsewhere: an exported file, or an ODRL agreement alone.
    Import {
        /// The file.
        file: PathBuf,
        /// Base address of the other party's endpoints.
        #[arg(long, value_name = "URL")]
        address: String,
        /// As the provider: who starts transfers under it.
        #[arg(long, value_enum, default_value = "auto")]
        automation: publish::Automation,
    },
    /// End an agreement: data stops at once.
    End {
        /// Its id.
        id: String,
        /// Why, for the other side.
        #[arg(long, default_value = "ended by the operator")]
        reason: String,
    },
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    match &arguments.command {
        Command::Verify { file } => return verify(file, output),
        Command::ContractToken { id } => {
            let path = format!("/v4/contractagreements/{}/contract-token", segment(id));
            let found = Api::open(node)?.get(&path).await?;
            output.result(&found, || text(&found, "contract_token"));
        }
        Command::List { limit } => {
            let found = Api::open(node)?.post("/v4/contractagreements/request", newest(*limit)).await?;
            output.result(&found, || {
                let row = |one: &Value| {
                    let other = if text(one, "urn:concordat:role") == "PROVIDER" {
                        "consumerId"
                    } else {
                        "providerId"
                    };
                    vec![
                        text(one, "@id"),
                        text(one, "urn:concordat:role").to_lowercase(),
                        text(one, other),
                        text(one, "assetId"),
                        time_of_seconds(one, "contractSigningDate"),
                        standing(one),
                        text(one, "urn:concordat:requests"),
                        read_bytes(one),
                    ]
                };
                let rows = found.as_array().into_iter().flatten().map(row).collect();
                table(&["agreement", "role", "with", "dataset", "since", "standing", "reads", "bytes"], rows)
            });
        }
        Command::Show { id } => {
            let found = Api::open(node)?.get(&format!("/v4/contractagreements/{}", segment(id))).await?;
            output.result(&found, || show(&found));
        }
        Command::Export { id, output: file } => {
            let found =
                Api::open(node)?.get(&format!("/v4/contractagreements/{}/dossier", segment(id))).await?;
            match file {
                None => output.result(&found, || document(&found)),
                Some(file) => {
                    std::fs::write(file, format!("{found:#}\n"))
                        .with_context(|| format!("writing {}", file.display()))?;
                    output.result(&json!({"file": file}), || {
                        format!(
                            "written; check it anywhere with `concordat agreements verify {}`",
                            file.display()
                        )
                    });
                }
            }
        }
        Command::Import { file, address, automation } => {
            let content = read_json(file)?;
            // An exported file has the agreement inside; anything else is the agreement itself.
            let mut import = if content.get("format").is_some() {
                let needed = ["agreement", "providerSignature", "consumerSignature", "didDocuments"];
                let member = |name: &str| (name.to_owned(), content.get(name).cloned().unwrap_or_default());
                Value::Object(needed.map(member).into_iter().collect())
            } else {
                json!({"agreement": content})
            };
            set(&mut import, "counterPartyAddress", json!(address));
            set(&mut import, "urn:concordat:automation", json!(automation.term()));
            let found = Api::open(node)?.post("/v4/contractagreements/import", import).await?;
            output.result(&found, || show(&found));
        }
        Command::End { id, reason } => {
            let path = format!("/v4/contractagreements/{}/end", segment(id));
            let found = Api::open(node)?.post(&path, json!({"reason": reason})).await?;
            output.result(&found, || format!("ended: {}", standing(&found)));
        }
    }
    Ok(Exit::Success)
}

fn read_bytes(one: &Value) -> String {
    bytes(one.get("urn:concordat:bytes").and_then(Value::as_u64).unwrap_or_default())
}

fn standing(one: &Value) -> String {
    let by = |side: &str, member: &str| {
        let ended = one.get(member).filter(|ended| !ended.is_null())?;
        Some(format!("ended by {side} {}: {}", text(ended, "at"), text(ended, "reason")))
    };
    let ends = [by("this node", "urn:concordat:ended"), by("the other party", "urn:concordat:endedThere")];
    let ends: Vec<_> = ends.into_iter().flatten().collect();
    match (ends.is_empty(), text(one, "urn:concordat:until")) {
        (false, _) => ends.join("\n"),
        (true, until) if one.get("urn:concordat:inForce") == Some(&json!(false)) => {
            format!("over: its terms permit nothing since {until}")
        }
        (true, until) if until.is_empty() => "in force".to_owned(),
        (true, until) => format!("in force until {until}"),
    }
}

fn show(found: &Value) -> String {
    let terms = found.get("policy").map(catalog::words).unwrap_or_default();
    let signed = |name: &str| if found.get(name) == Some(&json!(true)) { "signed" } else { "not signed" };
    fields(&[
        ("agreement", text(found, "@id")),
        ("dataset", text(found, "assetId")),
        ("provider", format!("{} ({})", text(found, "providerId"), signed("urn:concordat:signedByProvider"))),
        ("consumer", format!("{} ({})", text(found, "consumerId"), signed("urn:concordat:signedByConsumer"))),
        ("since", time_of_seconds(found, "contractSigningDate")),
        ("standing", standing(found)),
        ("terms", terms.replace('\n', "\n           ")),
        ("reads", reads(found)),
        ("negotiation", text(found, "urn:concordat:negotiation")),
    ])
}

/// What was read, and how soon it began.
fn reads(found: &Value) -> String {
    let count = |name: &str| found.get(name).and_then(Value::as_u64).unwrap_or_default();
    let mut told = format!("{}, {}", text(found, "urn:concordat:requests"), read_bytes(found));
    match (count("urn:concordat:rows"), count("urn:concordat:leftOut")) {
        (0, 0) => {}
        (rows, 0) => told.push_str(&format!(", {rows} rows")),
        (rows, left_out) => {
            told.push_str(&format!(", {rows} rows ({left_out} left out or brought together)"))
        }
    }
    let seconds = |name: &str| found.get(name).and_then(Value::as_f64);
    if let (Some(mean), Some(worst)) =
        (seconds("urn:concordat:meanFirstByteSeconds"), seconds("urn:concordat:worstFirstByteSeconds"))
    {
        told.push_str(&format!(", first byte after {:.1} ms (at worst {:.1} ms)", mean * 1e3, worst * 1e3));
    }
    told
}

fn verify(file: &Path, output: &Output) -> anyhow::Result<Exit> {
    let content = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let dossier = Dossier::parse(&content)?;
    let findings = checked(&dossier, &content);
    let holds = findings.iter().all(|one| one.holds);
    let machine = json!({
        "agreement": dossier.agreement.get("@id"),
        "valid": holds,
        "findings": findings,
    });
    output.result(&machine, || report(&dossier, &findings, holds));
    Ok(if holds { Exit::Success } else { Exit::Invalid })
}

/// Everything that can be checked in a dossier, the words of the agreement among it.
pub(super) fn checked(dossier: &Dossier, file: &[u8]) -> Vec<Finding> {
    let mut findings = dossier.check(file);
    let agreement = Agreement::parse(dossier.agreement.clone());
    let offer =
        agreement.as_ref().map_err(Clone::clone).and_then(|agreement| check_offer(dossier, agreement));
    let parts = Parts::of(dossier.parts.clone().into_iter().collect());
    let words = agreement.and_then(|agreement| parts.check_words(&agreement));
    let words = words.map(|()| "the words that go with it say what its rules say".to_owned());
    findings.extend([offer, words].map(|found| Finding {
        part: "agreement".to_owned(),
        holds: found.is_ok(),
        absent: false,
        text: found.unwrap_or_else(|wrong| wrong),
    }));
    findings
}

/// Whether the terms agreed to are those of the offer, however either is written.
fn check_offer(dossier: &Dossier, agreement: &Agreement) -> Result<String, String> {
    let Some(offer) = &dossier.offer else {
        return Ok("it was made elsewhere; there is no offer to compare with".to_owned());
    };
    let offer = Offer::parse(offer.clone()).map_err(|error| format!("the offer cannot be read: {error}"))?;
    if same_terms(agreement.policy(), offer.policy()) {
        Ok("its terms are those of the offer".to_owned())
    } else {
        Err("its terms are not those of the offer".to_owned())
    }
}

fn report(dossier: &Dossier, findings: &[Finding], holds: bool) -> String {
    let agreement = &dossier.agreement;
    let mut lines = vec![
        format!("agreement  {}", text(agreement, "@id")),
        format!("dataset    {}", text(agreement, "target")),
        format!("provider   {}", text(agreement, "assigner")),
        format!("consumer   {}", text(agreement, "assignee")),
        format!("terms      {}", catalog::words(agreement).replace('\n', "\n           ")),
        String::new(),
    ];
    let line = |one: &Finding| {
        let word = match one {
            Finding { holds: false, .. } => "WRONG",
            Finding { absent: true, .. } => "absent",
            Finding { .. } => "holds",
        };
        format!("{word} {:24} {}", plain(&one.part), plain(&one.text))
    };
    lines.extend(findings.iter().map(line));
    let wrong = findings.iter().filter(|one| !one.holds).count();
    let absent = findings.iter().filter(|one| one.absent).count();
    lines.push(if holds && absent > 0 {
        "\nEverything in this file holds, but not both parties signed the agreement: for who did not, its message stands with the \
         token that it was sent with, and the word of who exported the file that this message came with it."
            .to_owned()
    } else if holds {
        "\nEverything holds: both parties signed exactly these terms. Compare the thumbprints of their keys with what you \
         know of them from elsewhere."
            .to_owned()
    } else {
        format!("\nThis file does not prove an agreement of both parties: {wrong} of {} checks fail.", findings.len())
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::for_people;

    #[test]
    fn a_report_has_one_line_for_each_finding() {
        let evil = "x\nholds seal\u{1b}[2J";
        let dossier: Dossier = serde_json::from_value(json!({
            "format": evil, "exportedAt": "2026-01-01T00:00:00Z", "exportedBy": evil, "exporterDocument": {},
            "agreement": {"@id": evil}, "offer": {}, "messages": [], "undeclaredKeys": false,
            "concludedAt": "2026-01-01T00:00:00Z", "providerSignature": null, "consumerSignature": null, "seal": null,
            "statements": [], "didDocuments": {evil: {}}, "credentials": {},
        }))
        .unwrap();
        let findings = checked(&dossier, b"");
        assert!(findings.iter().any(|one| one.part.contains(evil)));
        let report = for_people(|| report(&dossier, &findings, false));
        assert!(!report.contains(|c: char| c != '\n' && c.is_control()), "{report}");
        assert!(!report.lines().any(|line| line.starts_with("holds seal")), "{report}");
    }
}
