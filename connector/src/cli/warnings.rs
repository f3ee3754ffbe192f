//! What `publish` and `edit` are told and is hardly meant: said before it is done, so that a person can think again.

use std::io::{BufRead, IsTerminal as _, Write};

use anyhow::{Context as _, bail};
use catalog::Description;
use catalog::lint::Weight;
use clap::Args;
use policy_engine::{Hierarchy, Policy, Severity};
use serde_json::{Value, json};

use super::output::{Output, plain};
use super::{Exit, Failed};
use crate::{clock, shown};

/// What becomes of warnings.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct Strictness {
    /// Refuse whatever is warned of.
    #[arg(long, conflicts_with = "yes")]
    pub strict: bool,
    /// Go on in spite of warnings. Without this a person at a terminal is asked; where there is none, warnings are told and it
    /// is done.
    #[arg(long)]
    pub yes: bool,
}

/// One thing to think about again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Warning {
    severity: Severity,
    /// Where: a place in the terms, or a property of the description.
    place: String,
    text: String,
}

/// Everything to think about again.
#[derive(Debug, Clone, Default)]
pub(super) struct Warnings(Vec<Warning>);

impl Warnings {
    /// Adds what is doubted of terms; with the columns of the data, where these are known.
    ///
    /// # Errors
    /// The terms cannot be read.
    pub(super) fn add_terms(
        &mut self,
        terms: &Value,
        columns: &[String],
        known: &Hierarchy,
    ) -> anyhow::Result<()> {
        let policy = Policy::parse_odrl(terms).context("the terms")?;
        let mut doubts = policy_engine::lint(&policy, clock::now(), known);
        if !columns.is_empty() {
            doubts.extend(policy_engine::misnamed_columns(&policy, columns));
        }
        self.0.extend(doubts.into_iter().map(|doubt| Warning {
            severity: doubt.severity,
            place: doubt.path,
            text: doubt.text,
        }));
        Ok(())
    }

    /// Adds what a description says that nobody can read, and did not say `before`.
    pub(super) fn add_description(&mut self, description: &Description, before: &Description) {
        let before = catalog::lint::lint(before);
        let unreadable = catalog::lint::lint(description)
            .into_iter()
            .filter(|remark| remark.weight == Weight::Unreadable && !before.contains(remark));
        self.0.extend(unreadable.map(|remark| Warning {
            severity: Severity::Warning,
            place: format!("--{}", remark.property),
            text: remark.text,
        }));
    }

    /// Decides whether it is done all the same: `what` is done, such as `published`.
    ///
    /// # Errors
    /// It is not: warnings are refused, or a person does not want it.
    pub(super) fn settle(&self, strictness: Strictness, output: &Output, what: &str) -> anyhow::Result<()> {
        let watched = std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && !output.is_json();
        self.decide(
            strictness,
            watched.then_some((&mut std::io::stdin().lock(), &mut std::io::stderr().lock())),
            what,
        )
    }

    fn decide(
        &self,
        strictness: Strictness,
        person: Option<(&mut dyn BufRead, &mut dyn Write)>,
        what: &str,
    ) -> anyhow::Result<()> {
        let serious = self.lines(Severity::Warning);
        if serious.is_empty() || strictness.yes {
            return Ok(());
        }
        if strictness.strict {
            let reason =
                format!("nothing was {what}, since --strict refuses warnings:\n{}", serious.join("\n"));
            bail!(Failed::new(Exit::Invalid, reason));
        }
        let Some((input, out)) = person else { return Ok(()) };
        for line in &serious {
            writeln!(out, "{}", shown::line(line)).context("asking")?;
        }
        write!(out, "go on all the same? [y/N] ").and_then(|()| out.flush()).context("asking")?;
        let mut answer = String::new();
        input.read_line(&mut answer).context("reading the answer")?;
        if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
            return Ok(());
        }
        bail!(Failed::new(Exit::Failure, format!("nothing was {what}")))
    }

    fn lines(&self, least: Severity) -> Vec<String> {
        let line = |one: &Warning| format!("{}: {} ({})", one.severity.name(), one.text, one.place);
        self.0.iter().filter(|one| one.severity >= least).map(line).collect()
    }

    /// For people, one line each.
    pub(super) fn told(&self) -> Vec<String> {
        self.lines(Severity::Note).iter().map(|line| plain(line)).collect()
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let one =
            |one: &Warning| json!({"severity": one.severity.name(), "place": one.place, "text": one.text});
        self.0.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubtful() -> Warnings {
        let mut warnings = Warnings::default();
        let terms = json!({"permission": [{"action": "use", "constraint": [
            {"leftOperand": "purpose", "operator": "isA", "rightOperand": "environmental-monitoring"}]}]});
        warnings.add_terms(&terms, &[], &Hierarchy::shipped()).unwrap();
        warnings
    }

    #[test]
    fn a_person_is_asked_a_script_goes_on_and_strictness_refuses() {
        let warnings = doubtful();
        let (strict, yes) = (
            Strictness { strict: true, ..Strictness::default() },
            Strictness { yes: true, ..Strictness::default() },
        );
        let refused = warnings.decide(strict, None, "published").unwrap_err().to_string();
        assert!(
            refused.contains("nothing was published")
                && refused.contains("did you mean `urn:concordat:purpose:environmental-monitoring`?"),
            "{refused}"
        );
        assert!(warnings.decide(Strictness::default(), None, "published").is_ok(), "nobody is there");
        let answered = |strictness, answer: &str| {
            let mut asked = Vec::new();
            let person: (&mut dyn BufRead, &mut dyn Write) = (&mut answer.as_bytes(), &mut asked);
            let done = warnings.decide(strictness, Some(person), "changed").is_ok();
            (done, String::from_utf8(asked).unwrap())
        };
        let (done, asked) = answered(Strictness::default(), "\n");
        assert!(!done && asked.contains("did you mean") && asked.ends_with("[y/N] "), "{asked}");
        assert!(!answered(Strictness::default(), "").0, "no answer is no");
        assert!(answered(Strictness::default(), "Y\n").0);
        assert_eq!(answered(yes, ""), (true, String::new()), "nobody is asked");
    }

    #[test]
    fn notes_are_told_and_never_refused() {
        let mut warnings = Warnings::default();
        let terms = json!({"permission": [{"action": "use", "constraint": [
            {"leftOperand": "dateTime", "operator": "lteq", "rightOperand": "2099-12-31"}]}]});
        warnings.add_terms(&terms, &[], &Hierarchy::shipped()).unwrap();
        assert!(warnings.told()[0].starts_with("note: "), "{:?}", warnings.told());
        assert!(warnings.decide(Strictness { strict: true, yes: false }, None, "published").is_ok());
    }

    #[test]
    fn only_what_is_new_in_a_description_is_doubted() {
        let licensed = |license: &str| {
            let mut description = Description::default();
            description.form.license = Some(license.to_owned());
            description
        };
        let told = |now: &str, before: &str| {
            let mut warnings = Warnings::default();
            warnings.add_description(&licensed(now), &licensed(before));
            warnings.told().join("\n")
        };
        assert!(told("CC BY", "").contains("`CC BY` is no IRI"));
        assert_eq!(told("CC BY", "CC BY"), "");
        assert_eq!(told("https://creativecommons.org/licenses/by/4.0/", ""), "");
    }
}
