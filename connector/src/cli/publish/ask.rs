//! Asks a person for what portals demand and recommend, and whether all is right.

use std::io::{BufRead, Write};

use anyhow::{Context as _, bail};
use catalog::lint::{Remark, Weight, lint};
use catalog::{Description, Text};
use serde_json::Value;

use crate::cli::output::{fields, for_people, plain, text};
use crate::cli::{Exit, Failed};

/// Goes through what is missing, shows everything, and asks whether to go on. An empty answer leaves a thing out.
///
/// # Errors
/// Nothing more comes, or the person does not want to go on.
pub(super) fn complete(
    description: &mut Description,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> anyhow::Result<()> {
    let missing = lint(description).into_iter().filter(|remark| remark.weight != Weight::Unreadable);
    for remark in missing.collect::<Vec<_>>() {
        let how_much = if remark.weight == Weight::Mandatory { "mandatory" } else { "recommended" };
        for property in remark.property.split(" and ") {
            loop {
                let answer = ask(&format!("{property} ({how_much}){}: ", hint(property)), input, output)?;
                if !answer.is_empty() {
                    set(description, property, &answer);
                } else if property == "title" {
                    continue;
                }
                break;
            }
        }
    }
    let said = serde_json::to_value(&*description)?;
    writeln!(output, "{}", for_people(|| shown(&said, &lint(description))))?;
    let answer = ask("publish this? [Y/n] ", input, output)?;
    if answer.is_empty() || answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    bail!(Failed::new(Exit::Failure, "nothing was published"))
}

/// What a description says, and what of it nobody can read. Descriptions come from other people's files.
fn shown(said: &Value, remarks: &[Remark]) -> String {
    let members = said.as_object().into_iter().flatten();
    let pairs: Vec<_> = members.map(|(name, _)| (name.as_str(), text(said, name))).collect();
    let unreadable = remarks.iter().filter(|remark| remark.weight == Weight::Unreadable);
    let unreadable = unreadable.map(|remark| format!("\n{}: {}", remark.property, plain(&remark.text)));
    fields(&pairs) + &unreadable.collect::<String>()
}

fn ask(question: &str, input: &mut dyn BufRead, output: &mut dyn Write) -> anyhow::Result<String> {
    write!(output, "{question}").and_then(|()| output.flush()).context("asking")?;
    let mut line = String::new();
    if input.read_line(&mut line).context("reading the answer")? == 0 {
        bail!(Failed::new(Exit::Failure, "no answer came, so nothing was published"));
    }
    Ok(line.trim().to_owned())
}

fn hint(property: &str) -> &'static str {
    match property {
        "keyword" => ", with commas between",
        "theme" => ", such as http://publications.europa.eu/resource/authority/data-theme/ENVI",
        "from" | "until" => ", a day such as 2026-11-25, a month or a year",
        "license" => ", such as https://creativecommons.org/licenses/by/4.0/",
        "contact" => ", a mail address",
        "place" => ", a code or an IRI",
        _ => "",
    }
}

fn set(description: &mut Description, property: &str, answer: &str) {
    let parts = || answer.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty());
    let list = || parts().collect();
    let one = || Some(answer.to_owned());
    match property {
        "title" => description.title = answer.into(),
        "description" => description.description = answer.into(),
        "keyword" => description.keywords = parts().map(Text::from).collect(),
        "theme" => description.themes = list(),
        "legislation" => description.legislation = list(),
        "publisher" => description.publisher = Some(answer.into()),
        "place" => description.place = Some(answer.into()),
        "from" => description.from = one(),
        "until" => description.until = one(),
        "contact" => description.contact = one(),
        "license" => description.form.license = one(),
        "media-type" => description.form.media_type = one(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(lines: &str, description: &mut Description) -> (anyhow::Result<()>, String) {
        let mut asked = Vec::new();
        let result = complete(description, &mut lines.as_bytes(), &mut asked);
        (result, String::from_utf8(asked).unwrap())
    }

    #[test]
    fn a_person_is_asked_for_what_is_missing_and_confirms() {
        let mut said = Description { publisher: Some("City".into()), ..Description::default() };
        let lines = "\nAir\nhourly\na@b.example\nair, no2\nBE\n\n2019-01-01\n\n\ntext/csv\ny\n";
        let (result, asked) = answer(lines, &mut said);
        assert!(result.is_ok(), "{asked}");
        assert_eq!(asked.matches("title (mandatory)").count(), 2, "a title must be given: {asked}");
        assert_eq!((said.title.plain(), said.keywords.len()), (Some("Air"), 2));
        assert_eq!((said.from.as_deref(), said.until.as_deref()), (Some("2019-01-01"), None));
        assert!(!asked.contains("publisher (") && asked.contains("publish this?"), "{asked}");
        let full = said.clone();
        let (result, asked) = answer("\n\nn\n", &mut said);
        assert!(result.unwrap_err().to_string().contains("nothing was published"), "{asked}");
        assert_eq!(said, full);
        assert!(answer("", &mut said).0.is_err(), "the input ends");
        // Every property that can be missing can be answered.
        for remark in lint(&Description::default()) {
            for property in remark.property.split(" and ") {
                let mut said = Description::default();
                set(&mut said, property, "x");
                assert_ne!(said, Description::default(), "{property}");
            }
        }
    }
}
