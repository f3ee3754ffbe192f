//! What a policy can be read as, but hardly means.

use jiff::Timestamp;

use crate::action::is_odrl;
use crate::alternatives::{all, meet};
use crate::compare::same_rule;
use crate::compatible::{clause, clauses, decide};
use crate::duty;
use crate::explain;
use crate::hierarchy::Hierarchy;
use crate::identifier::{is_did, is_iri};
use crate::model::{ANY_ACTION, About, Atomic, Constraint, Operator, Policy, Rule, Value};
use crate::operand::{self, OperandKind};
use crate::satisfy::Possible;
use crate::transform;

/// How much a doubt matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is good to know, and often meant.
    Note,
    /// It is most likely a mistake.
    Warning,
}

impl Severity {
    /// As in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
        }
    }
}

/// Something that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// How much it matters.
    pub severity: Severity,
    /// JSON pointer of the rule or constraint.
    pub path: String,
    /// One sentence.
    pub text: String,
}

impl Doubt {
    fn note(path: &str, text: impl Into<String>) -> Self {
        Self { severity: Severity::Note, path: path.to_owned(), text: text.into() }
    }

    fn warning(path: &str, text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, path: path.to_owned(), text: text.into() }
    }
}

/// Least likeness (Jaro-Winkler) of a name that may have been meant.
const ALIKE: f64 = 0.85;

/// Looks for permissions that nothing satisfies, that a prohibition always takes back or that are over at `now`;
/// prohibitions that never apply; duties that are late already or have no deadline; operands, actions and terms that
/// are not known; parties that are no participants; and rules that stand twice.
#[must_use]
pub fn lint(policy: &Policy, now: Timestamp, known: &Hierarchy) -> Vec<Doubt> {
    let mut doubts = strangeness(policy, known);
    doubts.extend(parties(policy, known));
    for rule in policy.permissions.iter().chain(&policy.prohibitions) {
        doubts.extend(unsatisfiable(policy, rule, now, known).map(|text| Doubt::warning(&rule.path, text)));
    }
    for duty in policy.duties() {
        match duty::due(duty, now) {
            Some(due) if due < now => {
                let text = format!("its deadline {due} is past, so it is violated from the start");
                doubts.push(Doubt::warning(&duty.path, text));
            }
            None if policy.obligations.contains(duty) && !known_deadline(duty, known) => {
                let text = "it has no deadline, so nobody can say that it was not met";
                doubts.push(Doubt::note(&duty.path, text));
            }
            _ => {}
        }
    }
    for rules in [&policy.permissions, &policy.prohibitions, &policy.obligations] {
        for (place, rule) in rules.iter().enumerate() {
            if let Some(twin) = rules.iter().take(place).find(|other| same_rule(other, rule)) {
                doubts.push(Doubt::warning(&rule.path, format!("says the same as `{}`", twin.path)));
            }
        }
    }
    for rule in policy.rules().chain(policy.duties()) {
        if rule.action == ANY_ACTION {
            let text = "names no action; ODRL demands one, so a permission permits nothing, and a prohibition forbids everything";
            doubts.push(Doubt::warning(&rule.path, text));
        }
        if rule.action != ANY_ACTION && !is_odrl(&rule.action) && !known.knows(&rule.action) {
            let text = format!(
                "{} is not an action that this node knows, so only exactly that is meant",
                explain::quoted(&rule.action)
            );
            doubts.push(Doubt::warning(&format!("{}/action", rule.path), text));
        }
        doubts.extend(rule.conditions().flat_map(Constraint::atoms).flat_map(|atom| unknown(atom, known)));
    }
    let mut seen = Vec::new();
    doubts.retain(|doubt| {
        let new = !seen.contains(doubt);
        seen.push(doubt.clone());
        new
    });
    doubts
}

/// Why nothing is ever permitted under a policy from `now` on, although it has permissions: each of them names no action, cannot be
/// satisfied, is over, or is always taken back by a prohibition. What is not known for certain is no reason.
#[must_use]
pub fn permits_nothing(policy: &Policy, now: Timestamp, known: &Hierarchy) -> Option<Doubt> {
    let mut first = None;
    for rule in &policy.permissions {
        let text = if rule.action == ANY_ACTION {
            "it names no action, and a permission permits only what it names".to_owned()
        } else {
            unsatisfiable(policy, rule, now, known)?
        };
        first.get_or_insert_with(|| Doubt::warning(&rule.path, text));
    }
    first
}

fn unsatisfiable(policy: &Policy, rule: &Rule, now: Timestamp, known: &Hierarchy) -> Option<String> {
    let own = clause(policy, rule, known);
    let never = |conditions: &[Constraint]| match all(conditions).map(|found| decide(&found, known)) {
        Some((Possible::No, why)) => Some(why.join("; ")),
        _ => None,
    };
    if let Some(why) = never(&own.conditions) {
        return Some(format!("nothing satisfies it: {why}"));
    }
    let mut later = own.conditions.clone();
    later.push(Constraint::Atomic(Atomic {
        path: "now".to_owned(),
        about: About::Use,
        left: "dateTime".to_owned(),
        operand: operand::find("dateTime"),
        unit: None,
        status: None,
        assumed_utc: false,
        operator: Operator::Gteq,
        right: vec![Value::Instant(now)],
    }));
    if never(&later).is_some() {
        let times = own.written.iter().flat_map(Constraint::atoms).filter(|atom| atom.left == "dateTime");
        let times: Vec<_> = times.map(explain::atomic).collect();
        return Some(format!("its time is past: {}", times.join(" and ")));
    }
    if policy.prohibitions.contains(rule) {
        return None;
    }
    let (_, prohibitions) = clauses(policy, known);
    let forbidding: Vec<_> = prohibitions
        .iter()
        .filter(|other| crate::action::covers(other.action, own.action, known))
        .map(|other| other.conditions.as_slice())
        .collect();
    if forbidding.is_empty() {
        return None;
    }
    let free = meet(&own.conditions, &[], forbidding.into_iter())?;
    (decide(&free, known).0 == Possible::No)
        .then(|| "a prohibition of the policy always takes it back".to_owned())
}

/// What of a policy never permits and always may forbid, since this engine does not know it: left operands, the profile, the
/// class.
#[must_use]
pub fn not_understood(policy: &Policy, known: &Hierarchy) -> Vec<Doubt> {
    let mut doubts = strangeness(policy, known);
    let rules = policy.rules().chain(policy.duties());
    for atom in rules.flat_map(Rule::conditions).flat_map(Constraint::atoms) {
        let strange = atom.operand.is_none() && known.meaning(atom).is_none() && atom.about == About::Use;
        let doubt = strange.then(|| never_permits(atom));
        doubts.extend(doubt.filter(|doubt| !doubts.contains(doubt)));
    }
    doubts
}

fn never_permits(atomic: &Atomic) -> Doubt {
    let text = format!(
        "{} is not an operand this node understands, so it never permits",
        explain::quoted(&atomic.left)
    );
    Doubt::warning(&atomic.path, text)
}

/// What keeps anything from being decided under a policy.
fn strangeness(policy: &Policy, known: &Hierarchy) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    if !policy.kind.is_decided() {
        let text =
            format!("a {} can be explained, but is neither offered nor decided under", policy.kind.term());
        doubts.push(Doubt::warning("/@type", text));
    }
    for profile in policy.profiles.iter().filter(|one| !known.knows_profile(one)) {
        let text = format!(
            "the profile {} is not known here, so nothing is decided under the policy",
            explain::quoted(profile)
        );
        doubts.push(Doubt::warning("/profile", text));
    }
    doubts
}

/// Whether an operand of a data space says by when a duty must be done.
fn known_deadline(duty: &Rule, known: &Hierarchy) -> bool {
    let meanings = duty.constraints.iter().flat_map(Constraint::atoms).filter_map(|atom| known.meaning(atom));
    meanings
        .into_iter()
        .any(|meaning| meaning.atoms().iter().any(|atom| crate::evaluate::is_time(atom.operand)))
}

fn unknown(atomic: &Atomic, known: &Hierarchy) -> Vec<Doubt> {
    let doubt = |text: String| Doubt::warning(&atomic.path, text);
    if let Some(meaning) = known.meaning(atomic) {
        return meaning.atoms().iter().flat_map(|one| unknown(one, known)).collect();
    }
    if atomic.assumed_utc {
        let text = "a date or time without zone is read as UTC; write its zone, such as Z or +02:00";
        return vec![Doubt::note(&atomic.path, text)];
    }
    let exact =
        matches!(atomic.operator, Operator::Eq | Operator::Neq | Operator::IsAnyOf | Operator::IsNoneOf);
    let broad = |value: &Value| matches!(value, Value::Term(term) if known.has_parts(term));
    if exact && atomic.operand.is_some() && atomic.right.iter().any(broad) {
        let text = format!(
            "`{}` is about exactly this term: what lies within it is another; `isA` or `isPartOf` would be about all of it",
            atomic.operator.term()
        );
        return vec![doubt(text)];
    }
    let Some(operand) = atomic.operand else {
        let is_event = atomic.left == "event" && atomic.about == About::Duty;
        if is_event || !matches!(atomic.about, About::Duty | About::Use) {
            return Vec::new();
        }
        return vec![never_permits(atomic)];
    };
    let terms = atomic.right.iter().filter_map(|value| match value {
        Value::Term(term) => Some(term.as_str()),
        _ => None,
    });
    if operand::is_party(operand) {
        return terms.filter_map(|term| no_participant(term, known)).map(doubt).collect();
    }
    if operand::is_membership(operand) {
        let strange = terms.filter(|term| !is_iri(term));
        let text = |term: &str| {
            format!(
                "{} is not an IRI, and memberships name their data space by one, such as https://city.example/space",
                explain::quoted(term)
            )
        };
        return strange.map(text).map(doubt).collect();
    }
    if !matches!(operand.kind, OperandKind::Place) && operand.name != "purpose" {
        return Vec::new();
    }
    terms
        .filter(|term| !known.knows(term))
        .map(|term| {
            let meant = meant(term, known).map(|meant| format!("; did you mean {}?", explain::quoted(meant)));
            doubt(format!(
                "{} ({}) is not a term this node knows, so nothing narrower is known to lie within it{}",
                explain::quoted(term),
                explain::operand(&atomic.left),
                meant.unwrap_or_default()
            ))
        })
        .collect()
}

/// Whom a policy names as parties that nobody can be.
fn parties(policy: &Policy, known: &Hierarchy) -> Vec<Doubt> {
    let whole = [("/assigner", &policy.assigner), ("/assignee", &policy.assignee)];
    let whole = whole.into_iter().filter_map(|(path, id)| Some((path.to_owned(), id.as_deref()?)));
    let own = policy.rules().flat_map(|rule| {
        let scopes = [("assigner", &rule.assigner), ("assignee", &rule.assignee)];
        scopes.into_iter().filter_map(|(name, scope)| {
            Some((format!("{}/{name}", rule.path), scope.as_ref()?.id.as_deref()?))
        })
    });
    let named = whole.chain(own);
    named.filter_map(|(path, id)| Some(Doubt::warning(&path, no_participant(id, known)?))).collect()
}

/// Why nobody can be the participant `id`.
fn no_participant(id: &str, known: &Hierarchy) -> Option<String> {
    let is_known =
        known.is_everyone(id) || known.has_parts(id) || known.knows(id) || known.canonical(id) != id;
    (!is_did(id) && !is_known).then(|| {
        format!(
            "{} is not a DID such as did:web:city.example, and no participant is known by that name",
            explain::quoted(id)
        )
    })
}

/// The known term that was most likely meant: one whose name or last part is much like it.
fn meant<'k>(term: &str, known: &'k Hierarchy) -> Option<&'k str> {
    let last = |term: &str| {
        let last = term.rsplit(['/', '#', ':']).next().unwrap_or(term);
        last.to_lowercase().replace([' ', '_'], "-")
    };
    let own = last(term);
    let likeness = |one: &str| strsim::jaro_winkler(&last(one), &own);
    nearest(known.terms().filter(|one| last(one).len() > 3), likeness)
}

fn nearest<'n>(names: impl Iterator<Item = &'n str>, likeness: impl Fn(&str) -> f64) -> Option<&'n str> {
    let likely = names.map(|name| (likeness(name), name)).filter(|(likeness, _)| *likeness >= ALIKE);
    likely.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// Columns that a policy names and the data does not have. A name with dots leads into what is nested.
#[must_use]
pub fn misnamed_columns(policy: &Policy, columns: &[String]) -> Vec<Doubt> {
    let has = |name: &str| {
        columns.iter().any(|column| {
            name == column
                || name.starts_with(column.as_str()) && {
                    name.get(column.len()..).is_some_and(|rest| rest.starts_with('.'))
                }
        })
    };
    let mut doubts: Vec<Doubt> = Vec::new();
    for (path, name) in transform::columns(policy) {
        if has(&name) {
            continue;
        }
        let near = nearest(columns.iter().map(String::as_str), |column| {
            strsim::jaro_winkler(&column.to_lowercase(), &name.to_lowercase())
        });
        let name = explain::quoted(&name);
        let text = match near {
            Some(near) => format!("the data has no column {name}; did you mean {}?", explain::quoted(near)),
            None => format!("the data has no column {name}; it has {}", listed(columns)),
        };
        doubts.push(Doubt::warning(path, text));
    }
    doubts
}

/// The first of many names.
fn listed(names: &[String]) -> String {
    let first: Vec<_> = names.iter().take(20).map(|name| explain::quoted(name)).collect();
    let more = if names.len() > first.len() { ", ..." } else { "" };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn doubts(policy: Json) -> Vec<String> {
        let policy = Policy::parse_odrl(&policy).unwrap();
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        lint(&policy, now, &Hierarchy::shipped())
            .into_iter()
            .map(|one| format!("{}: {}", one.path, one.text))
            .collect()
    }

    #[test]
    fn what_permits_nothing_is_told_from_what_permits_a_little() {
        let past = json!({"action": "use", "constraint": [{"leftOperand": "dateTime", "operator": "lt", "rightOperand": "2026-01-01Z"}]});
        let open = json!({"action": "use"});
        let never = |permissions: Json, prohibitions: Json| {
            let policy = json!({"permission": permissions, "prohibition": prohibitions});
            let now = "2026-06-01T00:00:00Z".parse().unwrap();
            permits_nothing(&Policy::parse_odrl(&policy).unwrap(), now, &Hierarchy::shipped())
                .map(|one| one.path)
        };
        assert_eq!(never(json!([past]), json!([])).as_deref(), Some("/permission/0"));
        assert_eq!(
            never(json!([{"target": "urn:d"}]), json!([])).as_deref(),
            Some("/permission/0"),
            "no action"
        );
        assert_eq!(never(json!([open]), json!([{"action": "use"}])).as_deref(), Some("/permission/0"));
        assert_eq!(never(json!([past, open]), json!([])), None);
        assert_eq!(never(json!([open]), json!([{"action": "distribute"}])), None);
        assert_eq!(never(json!([]), json!([{"action": "distribute"}])), None, "nothing was to be permitted");
    }

    #[test]
    fn names_that_nobody_can_have_are_doubted_and_what_was_meant_is_said() {
        let c = |left: &str, right: &str| json!([{"leftOperand": left, "operator": "isAnyOf", "rightOperand": right}]);
        let with = |constraints: Json| json!({"permission": [{"action": "use", "constraint": constraints}]});
        let said = |policy: Json| doubts(policy).join("\n");
        for (left, right) in [
            ("assignee", "did:web:city.example%3A8443:air"),
            ("urn:concordat:membership", "https://city.example/space"),
            ("urn:concordat:credential-issuer", "did:key:z6Mk"),
            ("purpose", "urn:concordat:purpose:environmental-monitoring"),
            ("spatial", "BE"),
        ] {
            let told = said(with(c(left, right)));
            assert!(!told.contains("DID") && !told.contains("IRI") && !told.contains("knows"), "{told}");
        }
        for (left, right, wanted) in [
            ("assignee", "city.example", "`city.example` is not a DID"),
            ("assignee", "did:web:city example", "is not a DID"),
            ("urn:concordat:credential-issuer", "the authority", "is not a DID"),
            ("urn:concordat:membership", "space", "`space` is not an IRI"),
            (
                "purpose",
                "environmental monitoring",
                "did you mean `urn:concordat:purpose:environmental-monitoring`?",
            ),
            (
                "purpose",
                "https://w3id.org/dpv#PublicBenefits",
                "did you mean `https://w3id.org/dpv#PublicBenefit`?",
            ),
        ] {
            let told = said(with(c(left, right)));
            assert!(
                told.starts_with("/permission/0/constraint/0: ") && told.contains(wanted),
                "{wanted}: {told}"
            );
        }
        let mut named = with(json!([]));
        named["assignee"] = json!("the city");
        assert!(said(named).starts_with("/assignee: `the city` is not a DID"));
        let told = said(json!({"permission": [{"target": "urn:d"}]}));
        assert!(told.contains("names no action"), "{told}");
    }

    #[test]
    fn columns_that_the_data_does_not_have_are_doubted() {
        let d = |left: &str, right: Json| json!({"leftOperand": format!("urn:concordat:data:{left}"), "operator": "eq", "rightOperand": right});
        let policy = |refinements: Json| {
            let policy = json!({"permission": [{"action": "use", "refinement": refinements}]});
            Policy::parse_odrl(&policy).unwrap()
        };
        let columns = ["car_hours".to_owned(), "at".to_owned(), "payload".to_owned()];
        let told = |refinements: Json| {
            let doubts = misnamed_columns(&policy(refinements), &columns);
            doubts.into_iter().map(|one| format!("{}: {}", one.path, one.text)).collect::<Vec<_>>()
        };
        assert_eq!(
            told(json!([d("keep", json!("car_hourz,at")), d("round:speed", json!("5"))])),
            [
                "/permission/0/refinement/0: the data has no column `car_hourz`; did you mean `car_hours`?",
                "/permission/0/refinement/1: the data has no column `speed`; it has `car_hours`, `at`, `payload`",
            ]
        );
        let groups = json!([
            d("aggregate:at", json!("PT1H")),
            d("mean", json!("car_hours")),
            d("keep", json!("at,rows,car_hours.mean,payload.no2")),
        ]);
        assert_eq!(told(groups), Vec::<String>::new(), "what is told of groups, and what is nested");
        assert_eq!(told(json!([d("keep", json!("rows"))])).len(), 1, "there are no groups");
    }

    #[test]
    fn what_is_hardly_meant_is_doubted() {
        let c = |left: &str, operator: &str, right: &str| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
        let with = |constraints: Json| json!({"permission": [{"action": "use", "constraint": constraints}]});
        assert!(
            doubts(with(json!([
                c("dateTime", "lt", "2027-01-01Z"),
                c("purpose", "isA", "https://w3id.org/dpv#Marketing")
            ])))
            .is_empty()
        );
        assert_eq!(
            doubts(with(json!([c("dateTime", "lt", "2026-01-01Z")]))),
            ["/permission/0: its time is past: the time must be before 2026-01-01 (UTC)"]
        );
        assert!(
            doubts(with(json!([c("count", "lt", "2"), c("count", "gt", "2")])))[0]
                .starts_with("/permission/0: nothing satisfies it")
        );
        assert_eq!(doubts(with(json!([c("moonPhase", "eq", "full")]))).len(), 1);
        assert_eq!(doubts(with(json!([c("purpose", "eq", "urn:x:unheard-of")]))).len(), 1);
        let mut taken = with(json!([c("count", "lt", "5")]));
        taken["prohibition"] = json!([{"action": "use"}, {"action": "use"}]);
        assert_eq!(
            doubts(taken),
            [
                "/permission/0: a prohibition of the policy always takes it back",
                "/prohibition/1: says the same as `/prohibition/0`"
            ]
        );
        let mut owed = with(json!([]));
        owed["obligation"] = json!([{"action": "attribute"}, {"action": "delete", "constraint": [c("dateTime", "lt", "2026-01-01Z")]},
            {"action": "urn:x:dance", "constraint": [c("dateTime", "lt", "2027-01-01Z")]}]);
        assert_eq!(
            doubts(owed),
            [
                "/obligation/0: it has no deadline, so nobody can say that it was not met",
                "/obligation/1: its deadline 2026-01-01T00:00:00Z is past, so it is violated from the start",
                "/obligation/2/action: `urn:x:dance` is not an action that this node knows, so only exactly that is meant",
            ]
        );
    }
}
