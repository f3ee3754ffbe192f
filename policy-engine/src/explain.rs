//! Policies in words for a clerk: short, exact, one template per construct.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use crate::action::is_odrl;
use crate::duty::is_due_later;
use crate::evaluate::{atomic_truth, is_understood};
use crate::hierarchy::Hierarchy;
use crate::literal::LANGUAGE;
use crate::model::{
    ANY_ACTION, About, Atomic, Conflict, Constraint, Logical, NOT_UNDERSTOOD, Operator, Policy, Rule, Scope,
    Value,
};
use crate::operand::{self, OperandKind};
use crate::transform::Transform;
use crate::world::{Request, World};

/// ODRL's operand for the moment of an event, which constraints of duties use (Vocabulary 2.2, section 4.6.12).
const EVENT: &str = "event";

/// What begins the IRI of a currency.
pub(crate) const CURRENCY: &str = "urn:iso:std:iso:4217:";

/// Which templates these are: texts of the same version can be compared word by word.
pub const VERSION: &str = "concordat-en-3";

/// A whole policy, one sentence a line: its rules, how a clash of them is resolved, and what it is about. Policies that
/// differ do not read the same.
#[must_use]
pub fn policy(policy: &Policy) -> Vec<String> {
    let list = |prefix: &'static str, rules: &'_ [Rule]| {
        rules.iter().map(move |one| format!("{prefix} {}", rule(one))).collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    if !policy.kind.is_decided() {
        lines.push(format!(
            "this is a policy of the class {}: it can be read, but is neither offered nor decided under",
            policy.kind.term()
        ));
    }
    lines.extend(list("allowed:", &policy.permissions));
    lines.extend(list("forbidden:", &policy.prohibitions));
    lines.extend(list("required:", &policy.obligations));
    match policy.conflict {
        Conflict::Perm => lines.push("where both are said, what is allowed counts".to_owned()),
        Conflict::Prohibit => lines.push("where both are said, what is forbidden counts".to_owned()),
        Conflict::Invalid if policy.permissions.is_empty() || policy.prohibitions.is_empty() => {}
        Conflict::Invalid => lines.push(
            "where the same action is both allowed and forbidden, nothing in these terms is allowed"
                .to_owned(),
        ),
    }
    for (word, one) in
        [("about:", &policy.target), ("granted by:", &policy.assigner), ("granted to:", &policy.assignee)]
    {
        lines.extend(one.as_ref().map(|id| format!("{word} {}", name(id))));
    }
    lines.extend(policy.profiles.iter().map(|profile| format!("profile: {}", quoted(profile))));
    lines
}

/// One rule: its action, then its conditions.
#[must_use]
pub fn rule(rule: &Rule) -> String {
    let mut text =
        if rule.action == ANY_ACTION { "(no action is named)".to_owned() } else { label(&rule.action) };
    if !rule.refinements.is_empty() {
        let _ = write!(text, " in such a way that {}", joined(&rule.refinements));
    }
    if let Some(assigner) = &rule.assigner {
        let _ = write!(text, " granted by {}", scope(assigner, "anyone"));
    }
    if let Some(assignee) = &rule.assignee {
        let _ = write!(text, " by {}", scope(assignee, "anyone"));
    }
    if let Some(target) = &rule.target {
        let _ = write!(text, " on {}", scope(target, "anything"));
    }
    for (function, party) in &rule.functions {
        let _ = write!(text, " ({}: {})", spaced(function), scope(party, "anyone"));
    }
    if !rule.constraints.is_empty() {
        let _ = write!(text, ", provided that {}", joined(&rule.constraints));
    }
    let (later, before): (Vec<&Rule>, Vec<&Rule>) = rule.duties.iter().partition(|duty| is_due_later(duty));
    for (lead, duties) in [
        (", after having done: ", before),
        ("; with this to be done by its time or after the use: ", later),
        ("; if that is not met in time, also: ", rule.consequences.iter().collect()),
        ("; an infringement is made good by: ", rule.remedies.iter().collect()),
    ] {
        match duties.as_slice() {
            [] => {}
            [one] => {
                let _ = write!(text, "{lead}[{}]", self::rule(one));
            }
            several => {
                let numbered = several.iter().enumerate();
                let numbered = numbered.map(|(place, one)| format!("[{}. {}]", place + 1, self::rule(one)));
                let _ = write!(text, "{lead}{}", numbered.collect::<Vec<_>>().join(" "));
            }
        }
    }
    text
}

/// `informedParty` as `informed party`.
fn spaced(name: &str) -> String {
    let letters = name.chars().flat_map(|letter| {
        let space = letter.is_ascii_uppercase().then_some(' ');
        space.into_iter().chain(std::iter::once(letter.to_ascii_lowercase()))
    });
    letters.collect()
}

fn joined(constraints: &[Constraint]) -> String {
    constraints.iter().map(constraint).collect::<Vec<_>>().join(" and ")
}

fn scope(scope: &Scope, anything: &str) -> String {
    let mut text = scope.id.as_ref().map_or_else(|| anything.to_owned(), |id| name(id));
    if !scope.refinements.is_empty() {
        let _ = write!(text, " of whom or which holds: ({})", joined(&scope.refinements));
    }
    text
}

/// One constraint.
#[must_use]
pub fn constraint(constraint: &Constraint) -> String {
    match constraint {
        Constraint::Atomic(one) => atomic(one),
        Constraint::Logical { logical, parts } => {
            let (lead, joint) = match logical {
                Logical::And if parts.len() < 2 => ("all of: ", " and "),
                Logical::And => ("", " and "),
                Logical::AndSequence => ("in this order: ", ", then "),
                Logical::Or if parts.len() < 2 => ("any of: ", " or "),
                Logical::Or => ("", " or "),
                Logical::Xone => ("exactly one of: ", " or "),
            };
            format!("({lead}{})", parts.iter().map(self::constraint).collect::<Vec<_>>().join(joint))
        }
    }
}

/// One comparison, for example `the purpose must be environmental monitoring`.
#[must_use]
pub fn atomic(atomic: &Atomic) -> String {
    // What is done to the data has neither unit nor status; where they stand there all the same, they are said.
    if let (Ok(Some(transform)), None, None) = (Transform::of(atomic), &atomic.unit, &atomic.status) {
        return transform.to_string();
    }
    if let Some(reason) = atomic.left.strip_prefix(NOT_UNDERSTOOD) {
        return format!("what this node does not understand is kept ({})", quoted(reason));
    }
    let time =
        atomic.left == EVENT || atomic.operand.is_some_and(|operand| operand.kind == OperandKind::Instant);
    let verb = match atomic.operator {
        Operator::Eq => "must be",
        Operator::Neq => "must not be",
        Operator::Gt if time => "must be after",
        Operator::Gt => "must be more than",
        Operator::Gteq if time => "must not be before",
        Operator::Gteq => "must be at least",
        Operator::Lt if time => "must be before",
        Operator::Lt => "must be less than",
        Operator::Lteq if time => "must not be after",
        Operator::Lteq => "must be at most",
        Operator::IsA => "must be a kind of",
        Operator::IsPartOf => "must lie within",
        Operator::HasPart => "must include",
        Operator::IsAllOf => "must be all of",
        Operator::IsAnyOf => "must be one of",
        Operator::IsNoneOf => "must be none of",
    };
    let right = atomic.right.iter().map(value).collect::<Vec<_>>().join(", ");
    let unit = atomic.unit.as_deref().map(|unit| format!(" in {}", name(unit))).unwrap_or_default();
    let before =
        atomic.status.as_ref().map(|status| format!(" with {status} from before")).unwrap_or_default();
    let of = match atomic.about {
        About::Asset => " of the asset",
        About::Party => " of the party",
        About::Action | About::Duty | About::Use => "",
    };
    let noun = match (atomic.about, atomic.left.as_str()) {
        (About::Duty, "elapsedTime") => "the time since the agreement".to_owned(),
        (_, left) => operand(left),
    };
    format!("{noun}{of}{before} {verb} {right}{unit}")
}

/// Why a constraint does not hold, or is not known to.
pub(crate) fn why(unmet: &Constraint, request: &Request<'_>, world: &World<'_>) -> String {
    match unmet {
        Constraint::Atomic(one) => why_atomic(one, request, world),
        Constraint::Logical { logical, parts } => {
            let said: Vec<_> =
                parts.iter().map(|part| crate::evaluate::truth(part, request, world)).collect();
            let held = said.iter().filter(|one| **one == crate::evaluate::Truth::True).count();
            if *logical == Logical::Xone && held > 1 {
                return format!("exactly one of {} alternatives must hold, {held} do", parts.len());
            }
            let open = parts.iter().zip(&said).filter(|(_, said)| **said != crate::evaluate::Truth::True);
            open.map(|(part, _)| why(part, request, world)).collect::<Vec<_>>().join(", and ")
        }
    }
}

fn why_atomic(atomic: &Atomic, request: &Request<'_>, world: &World<'_>) -> String {
    let clause = self::atomic(atomic);
    if !is_understood(atomic, request, world) {
        return format!("{} is not an operand this node understands ({clause})", quoted(&atomic.left));
    }
    let fact = operand::fact(atomic, request, world);
    let Some(values) = fact.values() else {
        return format!("{clause}, but nothing is stated about {}", operand(&atomic.left));
    };
    let stated = values.iter().map(value).collect::<Vec<_>>().join(", ");
    match atomic_truth(atomic, request, world) {
        None => format!("{clause}, and how {stated} stands to that is not known"),
        Some(_) => format!("{clause}, but it is {stated}"),
    }
}

/// A left operand as a noun.
#[must_use]
pub fn operand(left: &str) -> String {
    if let Some((kind, path)) = operand::claim(left) {
        let of =
            if kind == "*" { "any credential".to_owned() } else { format!("a credential {}", quoted(kind)) };
        return format!("the claim {} of {of}", quoted(path));
    }
    match operand::find(left) {
        // One fact has several names, and the words say which was written.
        Some(known) if known.name == left => known.noun.to_owned(),
        Some(_) if left == "recipient" => "the recipient".to_owned(),
        Some(known) => format!("{} ({})", known.noun, quoted(left)),
        None if left == EVENT => "the event".to_owned(),
        None => quoted(left),
    }
}

/// A value as a person reads it: a term of the shipped vocabulary by its short name, anything else in full.
#[must_use]
pub fn value(value: &Value) -> String {
    match value {
        Value::Area([west, south, east, north]) if (west, south) == (east, north) => {
            format!("the point {south}° N {west}° E")
        }
        Value::Area([west, south, east, north]) => {
            let over = if west > east { ", over the antimeridian" } else { "" };
            format!("the rectangle from {south}° N {west}° E to {north}° N {east}° E{over}")
        }
        Value::Day(day) => {
            let iso = day.iso();
            let date = iso.split_at_checked(iso.len().saturating_sub(1)).filter(|_| iso.ends_with('Z'));
            date.map_or_else(|| iso.clone(), |(date, _)| format!("{date} (UTC)"))
        }
        Value::Duration { months, nanoseconds } => duration(*months, *nanoseconds),
        Value::Instant(instant) => instant.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Term(term) => term
            .strip_prefix(LANGUAGE)
            .filter(|tag| {
                tag.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-') && !tag.is_empty()
            })
            .map_or_else(|| name(term), |tag| format!("the language {tag}")),
        Value::TimeOfDay(time) => {
            let iso = time.iso();
            match iso.strip_suffix('Z') {
                Some(time) => format!("{time} UTC"),
                None => iso
                    .find(['+', '-'])
                    .and_then(|at| iso.split_at_checked(at))
                    .map_or_else(|| iso.clone(), |(time, zone)| format!("{time} UTC{zone}")),
            }
        }
    }
}

/// `1 month 3 days`.
fn duration(months: i64, nanoseconds: i128) -> String {
    let sign = if months < 0 || nanoseconds < 0 { "minus " } else { "" };
    let (months, nanoseconds) = (months.unsigned_abs(), nanoseconds.unsigned_abs());
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let parts = [
        (u128::from(months / 12), "year"),
        (u128::from(months % 12), "month"),
        (seconds / 86_400, "day"),
        (seconds / 3_600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
    ];
    let mut some: Vec<_> = parts
        .iter()
        .filter(|(amount, _)| *amount != 0)
        .map(|(amount, unit)| format!("{amount} {unit}{}", if *amount == 1 { "" } else { "s" }))
        .collect();
    match (seconds % 60, rest) {
        (0, 0) => {}
        (1, 0) => some.push("1 second".to_owned()),
        (seconds, 0) => some.push(format!("{seconds} seconds")),
        (seconds, rest) => {
            some.push(format!("{} seconds", format!("{seconds}.{rest:09}").trim_end_matches('0')));
        }
    }
    if some.is_empty() { "no time".to_owned() } else { format!("{sign}{}", some.join(" ")) }
}

/// An action: ODRL's own as the Vocabulary has it, another in full.
pub(crate) fn label(action: &str) -> String {
    if is_odrl(action) && !action.contains(':') { action.to_owned() } else { name(action) }
}

/// The short names of the shipped vocabulary; only terms whose name no other has, in whatever letters and with whatever
/// between its words.
static SHORT: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let known = Hierarchy::shipped();
    let mut names: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for term in known.vocabulary() {
        let is_iri = term.contains("://") || term.starts_with("urn:");
        let last = if is_iri { term.rsplit(['/', '#', ':']).next().unwrap_or(term) } else { term };
        let name = last.replace('-', " ");
        let alike = name.chars().filter(|letter| *letter != ' ').flat_map(char::to_lowercase).collect();
        let all = names.entry(alike).or_default();
        if !all.iter().any(|(one, _)| one == term) {
            all.push((term.to_owned(), name));
        }
    }
    let short = names.into_values().filter_map(|mut terms| {
        // A code is its own name, whatever else ends with it.
        let own = terms.iter().position(|(term, name)| term == name);
        (own.is_some() || terms.len() == 1).then(|| terms.swap_remove(own.unwrap_or(0)))
    });
    short.collect()
});

/// The short name of a term of a vocabulary that this engine ships: its own, or the currencies of ISO 4217.
pub(crate) fn short(term: &str) -> Option<&str> {
    let currency = || {
        let code = term.strip_prefix(CURRENCY)?;
        (code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase())).then_some(code)
    };
    SHORT.get(term).map(String::as_str).or_else(currency)
}

/// A name or IRI: short where the shipped vocabulary has it, else in full.
pub(crate) fn name(term: &str) -> String {
    if let Some(short) = short(term) {
        return short.to_owned();
    }
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-._~:/%#".contains(letter);
    if term.starts_with("did:") && term.chars().all(plain) { term.to_owned() } else { quoted(term) }
}

/// Somebody else's text between marks that it cannot close, on one line, with what would not be seen, or would be taken for a
/// Latin letter among others, written out.
pub(crate) fn quoted(text: &str) -> String {
    let latin = text.contains(|letter: char| letter.is_ascii_alphabetic());
    let mut quoted = String::from("`");
    for letter in text.chars() {
        match letter {
            '\\' | '`' => quoted.extend(['\\', letter]),
            letter if is_unseen(letter) || latin && is_like_latin(letter) => {
                quoted.extend(letter.escape_unicode())
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('`');
    quoted
}

/// Whether a character is of a script or form whose letters are taken for those of ASCII: marks that combine, letters of
/// phonetics, Greek, Cyrillic, Armenian, Cherokee, Lisu, small capitals, signs like letters, full width, mathematics.
fn is_like_latin(letter: char) -> bool {
    matches!(letter, '\u{250}'..='\u{2af}' | '\u{300}'..='\u{52f}' | '\u{530}'..='\u{58f}' | '\u{13a0}'..='\u{13ff}'
        | '\u{1d00}'..='\u{1dff}' | '\u{1f00}'..='\u{1fff}' | '\u{20d0}'..='\u{20ff}' | '\u{2100}'..='\u{218f}'
        | '\u{a4d0}'..='\u{a4ff}' | '\u{ab30}'..='\u{abbf}' | '\u{ff00}'..='\u{ff5e}' | '\u{1d400}'..='\u{1d7ff}')
}

/// Whether a character controls how others are shown, or is not seen itself: controls, spaces but the usual one, and what
/// Unicode calls ignorable by default or a format.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || letter.is_whitespace() && letter != ' '
        || matches!(letter, '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_in_words() {
        let parsed = Policy::parse(&json!({
            "@id": "urn:o", "@type": "Offer",
            "permission": [{"action": "use", "constraint": [
                {"leftOperand": "purpose", "operator": "eq", "rightOperand": "urn:concordat:purpose:environmental-monitoring"},
                {"leftOperand": "dateTime", "operator": "lteq", "rightOperand": "2030-01-01T00:00:00Z"},
                {"or": [{"leftOperand": "spatial", "operator": "isPartOf", "rightOperand": "EU"},
                        {"leftOperand": "recipient", "operator": "eq", "rightOperand": "did:web:london.example"}]}]}],
            "prohibition": [{"action": "distribute"}],
            "obligation": [{"action": "attribute"}]
        }))
        .unwrap();
        assert_eq!(
            policy(&parsed),
            [
                "allowed: use, provided that the purpose must be environmental monitoring and the time must not be \
                 after 2030-01-01T00:00:00Z and (the place of use must lie within EU or the recipient must be \
                 did:web:london.example)",
                "forbidden: distribute",
                "required: attribute",
                "where the same action is both allowed and forbidden, nothing in these terms is allowed",
            ]
        );
    }

    #[test]
    fn letters_that_look_like_latin_ones_are_written_out_among_these_only() {
        assert_eq!(quoted("https://\u{441}ity.example"), "`https://\\u{441}ity.example`");
        assert_eq!(quoted("caf\u{65}\u{301}"), "`cafe\\u{301}`");
        for plain in ["София", "Länge in m", "caf\u{e9}", "東京"] {
            assert_eq!(quoted(plain), format!("`{plain}`"));
        }
    }

    #[test]
    fn what_others_wrote_stays_on_its_line_and_between_its_marks() {
        let evil = "did:web:x.example\nallowed: any action";
        let parsed =
            Policy::parse(&json!({"@id": "urn:o", "@type": "Offer", "target": "urn:t\u{202e}`, or more",
            "permission": [{"action": "urn:a\n", "constraint": [
                {"leftOperand": "recipient", "operator": "isNoneOf", "rightOperand": [evil]},
                {"leftOperand": "moon\u{1b}[2J", "operator": "eq", "rightOperand": "x"}]}]}))
            .unwrap();
        let lines = policy(&parsed);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| !line.chars().any(is_unseen)), "{lines:?}");
        assert!(lines[0].contains("`did:web:x.example\\u{a}allowed: any action`"), "{lines:?}");
        assert_eq!(lines[1], "about: `urn:t\\u{202e}\\`, or more`");
    }
}
