//! Request and state of the world in, decision with reasons out.

use jiff::Timestamp;

use crate::explain;
use crate::hierarchy::Hierarchy;
use crate::model::{ANY_ACTION, Atomic, Constraint, Logical, Operator, Policy, Rule, RuleKind, Value};
use crate::operand::{Fact, fact};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The ODRL action, for example `read`.
    pub action: &'a str,
    /// Who asks, as an authenticated participant id.
    pub party: &'a str,
    /// On which asset; `None` when the policy is already known to be about it.
    pub target: Option<&'a str>,
}

/// What is true when the question is asked.
#[derive(Debug, Clone)]
pub struct World<'a> {
    /// The time of the question.
    pub now: Timestamp,
    /// How often the permission will have been exercised, this time included, so that `count lteq 5` serves five;
    /// `None` where nobody counts.
    pub count: Option<u64>,
    /// For what the data is used, as declared or as bound by signature; every one must be allowed.
    pub purposes: Vec<String>,
    /// Where it is used; every place must be allowed.
    pub places: Vec<String>,
    /// Paths of the duties ([`Rule::path`]) known to be fulfilled.
    pub fulfilled: Vec<String>,
    /// Paths of the duties recorded as violated.
    pub violated: Vec<String>,
    /// What is known of terms.
    pub hierarchy: &'a Hierarchy,
}

impl<'a> World<'a> {
    /// A world in which only the time is known.
    #[must_use]
    pub const fn at(now: Timestamp, hierarchy: &'a Hierarchy) -> Self {
        Self {
            now,
            count: None,
            purposes: Vec::new(),
            places: Vec::new(),
            fulfilled: Vec::new(),
            violated: Vec::new(),
            hierarchy,
        }
    }
}

/// Permit or deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Not allowed, or not known to be allowed.
    Deny,
    /// Allowed now.
    Permit,
}

/// Why: a rule and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// [`Rule::path`], or empty when no rule speaks of the request at all.
    pub rule: String,
    /// One sentence for the person who must act.
    pub text: String,
}

/// The state of a duty (ODRL Formal Semantics: deontic state).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DutyState {
    /// Done.
    Fulfilled,
    /// Still to do.
    Pending,
    /// Its deadline passed without it.
    Violated,
}

/// A duty and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DutyReport {
    /// [`Rule::path`].
    pub rule: String,
    /// What must be done, in words.
    pub text: String,
    /// Where it stands.
    pub state: DutyState,
}

/// The answer to a request.
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Permit or deny.
    pub outcome: Outcome,
    /// The rules that decided; never empty.
    pub reasons: Vec<Reason>,
    /// Obligations of the policy and their state.
    pub duties: Vec<DutyReport>,
    /// The next instant at which time alone may change this answer.
    pub ask_again: Option<Timestamp>,
}

impl Decision {
    /// Whether the request is permitted.
    #[must_use]
    pub fn is_permit(&self) -> bool {
        self.outcome == Outcome::Permit
    }

    /// All reasons as one line.
    #[must_use]
    pub fn reason(&self) -> String {
        self.reasons.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// Decides `request` under `policy` in `world`.
///
/// Permit needs a permission whose action covers the request, all of whose constraints hold and whose duties are
/// fulfilled; no prohibition that applies or might apply; no obligation violated. Anything unknown denies.
pub fn evaluate(policy: &Policy, request: &Request<'_>, world: &World<'_>) -> Decision {
    let duties: Vec<_> = policy.obligations.iter().map(|duty| duty_report(duty, request, world)).collect();
    let ask_again = next_instant(policy, world.now);
    let decide = |outcome, reasons| Decision { outcome, reasons, duties: duties.clone(), ask_again };

    if let Some(reason) = wrong_subject(policy, request) {
        return decide(Outcome::Deny, vec![reason]);
    }
    let mut denials = Vec::new();
    for rule in policy.prohibitions.iter().filter(|rule| speaks_of(rule, request, world)) {
        match all(&rule.constraints, request, world) {
            Truth::False(_) => {}
            Truth::True => denials.push(Reason {
                rule: rule.path.clone(),
                text: format!("{} forbids it: {}", name(rule), explain::rule(rule)),
            }),
            Truth::Unknown(why) => denials.push(Reason {
                rule: rule.path.clone(),
                text: format!("{} may forbid it ({}): {why}", name(rule), explain::rule(rule)),
            }),
        }
    }
    for duty in duties.iter().filter(|duty| duty.state == DutyState::Violated) {
        denials.push(Reason {
            rule: duty.rule.clone(),
            text: format!("the obligation {} was not met in time: {}", pointer_words(&duty.rule), duty.text),
        });
    }
    if !denials.is_empty() {
        return decide(Outcome::Deny, denials);
    }
    let mut applicable = policy.permissions.iter().filter(|rule| speaks_of(rule, request, world)).peekable();
    if applicable.peek().is_none() {
        let of_others = policy.permissions.iter().any(|rule| covers(&rule.action, request.action));
        let text = if of_others {
            format!("the permissions that cover `{}` are for another party or another asset", request.action)
        } else {
            format!("no permission of the policy covers the action `{}`", request.action)
        };
        return decide(Outcome::Deny, vec![Reason { rule: String::new(), text }]);
    }
    for rule in applicable {
        match permission(rule, request, world) {
            None => {
                let text = format!("{} allows it: {}", name(rule), explain::rule(rule));
                return decide(Outcome::Permit, vec![Reason { rule: rule.path.clone(), text }]);
            }
            Some(why) => {
                denials.push(Reason { rule: rule.path.clone(), text: format!("{}: {why}", name(rule)) })
            }
        }
    }
    decide(Outcome::Deny, denials)
}

/// Why a permission does not allow the request, `None` if it does.
fn permission(rule: &Rule, request: &Request<'_>, world: &World<'_>) -> Option<String> {
    match all(&rule.constraints, request, world) {
        Truth::False(why) | Truth::Unknown(why) => return Some(why),
        Truth::True => {}
    }
    rule.duties
        .iter()
        .find(|duty| !world.fulfilled.contains(&duty.path))
        .map(|duty| format!("its duty is not fulfilled yet: {}", explain::rule(duty)))
}

fn wrong_subject(policy: &Policy, request: &Request<'_>) -> Option<Reason> {
    let deny = |text| Some(Reason { rule: String::new(), text });
    if let Some(assignee) = &policy.assignee
        && assignee != request.party
    {
        return deny(format!("the policy is for `{assignee}`, not for `{}`", request.party));
    }
    match (&policy.target, request.target) {
        (Some(target), Some(asked)) if target != asked => {
            deny(format!("the policy is about `{target}`, not about `{asked}`"))
        }
        _ => None,
    }
}

/// Whether a rule is about this action, party and asset. Where the asset asked for is not known, a prohibition of
/// one asset may be meant, a permission is not.
fn speaks_of(rule: &Rule, request: &Request<'_>, world: &World<'_>) -> bool {
    covers(&rule.action, request.action)
        && rule.assignee.as_deref().is_none_or(|one| world.hierarchy.is_within(request.party, one))
        && rule.target.as_deref().is_none_or(|one| match request.target {
            Some(asked) => world.hierarchy.is_within(asked, one),
            None => rule.kind == RuleKind::Prohibition,
        })
}

pub(crate) fn duty_report(duty: &Rule, request: &Request<'_>, world: &World<'_>) -> DutyReport {
    let state = if world.fulfilled.contains(&duty.path) {
        DutyState::Fulfilled
    } else if world.violated.contains(&duty.path)
        || duty.constraints.iter().any(|constraint| deadline_passed(constraint, request, world))
    {
        DutyState::Violated
    } else {
        DutyState::Pending
    };
    DutyReport { rule: duty.path.clone(), text: explain::rule(duty), state }
}

/// A duty is violated when an upper bound on time has passed: no later moment can fulfil it.
fn deadline_passed(constraint: &Constraint, request: &Request<'_>, world: &World<'_>) -> bool {
    match constraint {
        Constraint::Atomic(atomic) => {
            atomic.left == "dateTime"
                && matches!(atomic.operator, Operator::Lt | Operator::Lteq)
                && matches!(decide_atomic(atomic, request, world), Truth::False(_))
        }
        Constraint::Logical { logical: Logical::And | Logical::AndSequence, parts } => {
            parts.iter().any(|part| deadline_passed(part, request, world))
        }
        Constraint::Logical { logical: Logical::Or | Logical::Xone, parts } => {
            parts.iter().all(|part| deadline_passed(part, request, world))
        }
    }
}

/// Whether a rule about `rule` speaks of `action` (ODRL Vocabulary 2.2: `includedIn`).
pub(crate) fn covers(rule: &str, action: &str) -> bool {
    rule == ANY_ACTION || rule == action || included_in(action).is_some_and(|broader| covers(rule, broader))
}

fn included_in(action: &str) -> Option<&'static str> {
    Some(match action {
        "use" | "transfer" => return None,
        "give" | "sell" => "transfer",
        "copy" => "reproduce",
        "derive" | "extract" => "reproduce",
        "present" | "play" => "use",
        "display" | "print" => "play",
        "modify" | "translate" | "summarize" | "transform" => "use",
        "aggregate" | "annotate" | "anonymize" | "archive" | "attribute" | "delete" | "digitize"
        | "distribute" | "execute" | "grantUse" | "index" | "inform" | "install" | "move" | "read"
        | "reproduce" | "stream" | "textToSpeech" | "uninstall" | "watermark" | "write" => "use",
        _ => return None,
    })
}

/// What a constraint says: three-valued, with the reason where it is not true.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Truth {
    True,
    False(String),
    Unknown(String),
}

pub(crate) fn all(constraints: &[Constraint], request: &Request<'_>, world: &World<'_>) -> Truth {
    conjunction(constraints.iter().map(|constraint| decide(constraint, request, world)))
}

pub(crate) fn decide(constraint: &Constraint, request: &Request<'_>, world: &World<'_>) -> Truth {
    let (logical, parts) = match constraint {
        Constraint::Atomic(atomic) => return decide_atomic(atomic, request, world),
        Constraint::Logical { logical, parts } => (logical, parts),
    };
    let answers = parts.iter().map(|part| decide(part, request, world));
    match logical {
        Logical::And | Logical::AndSequence => conjunction(answers),
        Logical::Or => disjunction(answers.collect()),
        Logical::Xone => exactly_one(answers.collect()),
    }
}

fn conjunction(answers: impl Iterator<Item = Truth>) -> Truth {
    let mut unknown = None;
    for answer in answers {
        match answer {
            Truth::True => {}
            Truth::False(why) => return Truth::False(why),
            Truth::Unknown(why) => unknown = unknown.or(Some(why)),
        }
    }
    unknown.map_or(Truth::True, Truth::Unknown)
}

fn disjunction(answers: Vec<Truth>) -> Truth {
    if answers.contains(&Truth::True) {
        return Truth::True;
    }
    let why = |answers: &[Truth]| {
        let texts: Vec<_> = answers
            .iter()
            .filter_map(|answer| match answer {
                Truth::True => None,
                Truth::False(why) | Truth::Unknown(why) => Some(why.as_str()),
            })
            .collect();
        texts.join(", and ")
    };
    let text = why(&answers);
    if answers.iter().any(|answer| matches!(answer, Truth::Unknown(_))) {
        Truth::Unknown(text)
    } else {
        Truth::False(text)
    }
}

fn exactly_one(answers: Vec<Truth>) -> Truth {
    let held = answers.iter().filter(|answer| **answer == Truth::True).count();
    let unknown = answers.iter().find_map(|answer| match answer {
        Truth::Unknown(why) => Some(why.clone()),
        _ => None,
    });
    match (held, unknown) {
        (2.., _) => {
            Truth::False(format!("exactly one of {} alternatives must hold, {held} do", answers.len()))
        }
        (_, Some(why)) => Truth::Unknown(why),
        (1, None) => Truth::True,
        (0, None) => disjunction(answers),
    }
}

pub(crate) fn decide_atomic(atomic: &Atomic, request: &Request<'_>, world: &World<'_>) -> Truth {
    let clause = explain::atomic(atomic);
    let facts = match fact(&atomic.left, request, world) {
        Fact::Known(facts) => facts,
        Fact::Missing => {
            return Truth::Unknown(format!(
                "{clause}, but nothing is stated about {}",
                explain::operand(&atomic.left)
            ));
        }
        Fact::Unsupported => {
            return Truth::Unknown(format!(
                "`{}` is not an operand this node understands ({clause})",
                atomic.left
            ));
        }
    };
    if holds(atomic.operator, &facts, &atomic.right, world.hierarchy) {
        Truth::True
    } else {
        let stated = facts.iter().map(explain::value).collect::<Vec<_>>().join(", ");
        Truth::False(format!("{clause}, but it is {stated}"))
    }
}

/// The operators over facts: with several facts, each must satisfy the comparison (so a use for two purposes needs
/// both allowed), except `isAllOf`, which wants every right operand among the facts.
pub(crate) fn holds(operator: Operator, facts: &[Value], right: &[Value], known: &Hierarchy) -> bool {
    let each = |test: &dyn Fn(&Value) -> bool| !facts.is_empty() && facts.iter().all(test);
    let any_right = |test: &dyn Fn(&Value) -> bool| right.iter().any(test);
    match operator {
        Operator::Eq => each(&|fact| any_right(&|r| fact == r)),
        Operator::Neq | Operator::IsNoneOf => each(&|fact| !any_right(&|r| fact == r)),
        Operator::IsAnyOf => each(&|fact| any_right(&|r| fact == r)),
        Operator::IsAllOf => right.iter().all(|r| facts.contains(r)),
        Operator::IsA | Operator::IsPartOf => each(&|fact| any_right(&|r| lies_within(fact, r, known))),
        Operator::HasPart => each(&|fact| right.iter().all(|r| lies_within(r, fact, known))),
        Operator::Gt => each(&|fact| any_right(&|r| order(fact, r).is_some_and(std::cmp::Ordering::is_gt))),
        Operator::Gteq => each(&|fact| any_right(&|r| order(fact, r).is_some_and(std::cmp::Ordering::is_ge))),
        Operator::Lt => each(&|fact| any_right(&|r| order(fact, r).is_some_and(std::cmp::Ordering::is_lt))),
        Operator::Lteq => each(&|fact| any_right(&|r| order(fact, r).is_some_and(std::cmp::Ordering::is_le))),
    }
}

fn lies_within(part: &Value, whole: &Value, known: &Hierarchy) -> bool {
    match (part, whole) {
        (Value::Term(part), Value::Term(whole)) => known.is_within(part, whole),
        _ => part == whole,
    }
}

pub(crate) fn order(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::Instant(a), Value::Instant(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
        _ => None,
    }
}

/// The earliest instant after `now` that a constraint on dateTime names; one nanosecond later where the bound
/// itself still belongs to the interval.
fn next_instant(policy: &Policy, now: Timestamp) -> Option<Timestamp> {
    fn visit(constraint: &Constraint, now: Timestamp, next: &mut Option<Timestamp>) {
        match constraint {
            Constraint::Logical { parts, .. } => parts.iter().for_each(|part| visit(part, now, next)),
            Constraint::Atomic(atomic) if atomic.left == "dateTime" => {
                for value in &atomic.right {
                    let Value::Instant(bound) = value else { continue };
                    let after = bound.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(*bound);
                    for candidate in [*bound, after] {
                        if candidate > now && next.is_none_or(|best| candidate < best) {
                            *next = Some(candidate);
                        }
                    }
                }
            }
            Constraint::Atomic(_) => {}
        }
    }
    let mut next = None;
    for constraint in policy.rules().flat_map(|rule| &rule.constraints) {
        visit(constraint, now, &mut next);
    }
    next
}

fn name(rule: &Rule) -> String {
    let kind = match rule.kind {
        RuleKind::Duty => "duty",
        RuleKind::Permission => "permission",
        RuleKind::Prohibition => "prohibition",
    };
    format!("{kind} {}", pointer_words(&rule.path))
}

fn pointer_words(path: &str) -> String {
    format!("`{path}`")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    const NOW: &str = "2026-06-01T12:00:00Z";

    fn ask(policy: Json, change: impl FnOnce(&mut World<'_>)) -> Decision {
        let hierarchy = Hierarchy::shipped();
        let mut world = World::at(NOW.parse().unwrap(), &hierarchy);
        change(&mut world);
        evaluate(
            &Policy::parse(&policy).unwrap(),
            &Request { action: "read", party: "did:web:a", target: None },
            &world,
        )
    }

    fn offer(constraints: Json) -> Json {
        json!({"@id": "urn:o", "@type": "Offer", "permission": [{"action": "use", "constraint": constraints}]})
    }

    fn one(left: &str, operator: &str, right: Json) -> Json {
        offer(json!([{"leftOperand": left, "operator": operator, "rightOperand": right}]))
    }

    #[test]
    fn every_operator_on_a_known_operand() {
        let purposes = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        let cases: &[(&str, &str, Json, bool)] = &[
            ("dateTime", "eq", json!(NOW), true),
            ("dateTime", "neq", json!(NOW), false),
            ("dateTime", "lt", json!("2026-06-01T12:00:01Z"), true),
            ("dateTime", "lt", json!(NOW), false),
            ("dateTime", "lteq", json!(NOW), true),
            ("dateTime", "gt", json!(NOW), false),
            ("dateTime", "gteq", json!("2026-06-01T14:00:00+02:00"), true),
            ("dateTime", "lteq", json!("2026-05-31"), false),
            ("count", "lt", json!("3"), true),
            ("count", "lt", json!("2"), false),
            ("count", "isAnyOf", json!(["1", "2"]), true),
            ("purpose", "eq", json!("p"), true),
            ("purpose", "eq", json!("q"), false),
            ("purpose", "neq", json!("q"), true),
            ("purpose", "isAnyOf", json!(["q", "p"]), true),
            ("purpose", "isNoneOf", json!(["q"]), true),
            ("purpose", "isNoneOf", json!(["p"]), false),
            ("purpose", "isAllOf", json!(["p"]), true),
            ("purpose", "isAllOf", json!(["p", "q"]), false),
            ("spatial", "isPartOf", json!("EU"), true),
            ("spatial", "isA", json!("Europe"), true),
            ("spatial", "isPartOf", json!("GB"), false),
            ("spatial", "hasPart", json!("BE"), true),
            ("spatial", "hasPart", json!("EU"), false),
            ("assignee", "eq", json!("did:web:a"), true),
            ("participant", "isAnyOf", json!(["did:web:b"]), false),
            ("recipient", "isNoneOf", json!(["did:web:b"]), true),
        ];
        for (left, operator, right, expected) in cases {
            let decision = ask(one(left, operator, right.clone()), |world| {
                world.count = Some(2);
                world.purposes = purposes(&["p"]);
                world.places = purposes(&["BE"]);
            });
            assert_eq!(decision.is_permit(), *expected, "{left} {operator} {right}: {}", decision.reason());
            assert!(
                decision
                    .reasons
                    .iter()
                    .all(|reason| reason.rule == "/permission/0" && !reason.text.is_empty())
            );
        }
    }

    #[test]
    fn two_purposes_need_both_allowed() {
        let decision = ask(one("purpose", "isAnyOf", json!(["p"])), |world| {
            world.purposes = vec!["p".to_owned(), "q".to_owned()];
        });
        assert_eq!(decision.outcome, Outcome::Deny);
    }

    #[test]
    fn unknown_operands_and_missing_facts_deny_with_the_reason() {
        let decision = ask(one("moonPhase", "eq", json!("full")), |_| ());
        assert_eq!(decision.outcome, Outcome::Deny);
        assert!(
            decision.reason().contains("`moonPhase` is not an operand this node understands"),
            "{}",
            decision.reason()
        );
        let decision = ask(one("purpose", "eq", json!("p")), |_| ());
        assert!(decision.reason().contains("nothing is stated about the purpose"), "{}", decision.reason());
        let decision = ask(one("count", "lt", json!("9")), |_| ());
        assert_eq!(decision.outcome, Outcome::Deny);
    }

    #[test]
    fn a_prohibition_that_may_apply_denies() {
        let mut policy = offer(json!([]));
        policy["prohibition"] = json!([{"action": "distribute"}]);
        assert!(ask(policy.clone(), |_| ()).is_permit(), "reading is not distributing");
        policy["prohibition"] = json!([{"action": "use", "constraint": [{"leftOperand": "spatial", "operator": "eq", "rightOperand": "GB"}]}]);
        let unknown_place = ask(policy.clone(), |_| ());
        assert_eq!(unknown_place.outcome, Outcome::Deny);
        assert_eq!(unknown_place.reasons[0].rule, "/prohibition/0");
        assert!(ask(policy.clone(), |world| world.places = vec!["BE".to_owned()]).is_permit());
        assert!(!ask(policy, |world| world.places = vec!["GB".to_owned()]).is_permit());
    }

    #[test]
    fn logical_constraints() {
        let c = |n: &str| json!({"leftOperand": "count", "operator": "eq", "rightOperand": n});
        let with = |logical: Json| ask(offer(json!([logical])), |world| world.count = Some(1)).is_permit();
        assert!(with(json!({"or": [c("1"), c("2")]})));
        assert!(!with(json!({"and": [c("1"), c("2")]})));
        assert!(with(json!({"andSequence": [c("1"), c("1")]})));
        assert!(with(json!({"xone": [c("1"), c("2")]})));
        assert!(!with(json!({"xone": [c("1"), c("1")]})));
        let unknown = json!({"leftOperand": "moonPhase", "operator": "eq", "rightOperand": "full"});
        assert!(with(json!({"or": [c("1"), unknown]})));
        assert!(!with(json!({"or": [c("2"), unknown]})));
        assert!(!with(json!({"xone": [c("1"), unknown]})));
    }

    #[test]
    fn duties_block_until_fulfilled_and_deadlines_bind() {
        let mut policy = offer(json!([]));
        policy["permission"][0]["duty"] = json!([{"action": "attribute"}]);
        let decision = ask(policy.clone(), |_| ());
        assert_eq!(decision.reason(), "permission `/permission/0`: its duty is not fulfilled yet: attribute");
        assert!(ask(policy, |world| world.fulfilled.push("/permission/0/duty/0".to_owned())).is_permit());

        let mut policy = offer(json!([]));
        let due = |at: &str| json!([{"action": "delete", "constraint": [{"leftOperand": "dateTime", "operator": "lteq", "rightOperand": at}]}]);
        policy["obligation"] = due("2026-07-01T00:00:00Z");
        let decision = ask(policy.clone(), |_| ());
        assert!(decision.is_permit());
        assert_eq!(decision.duties[0].state, DutyState::Pending);
        policy["obligation"] = due("2026-05-01T00:00:00Z");
        let decision = ask(policy.clone(), |_| ());
        assert_eq!(decision.duties[0].state, DutyState::Violated);
        assert_eq!(decision.reasons[0].rule, "/obligation/0");
        assert!(ask(policy, |world| world.fulfilled.push("/obligation/0".to_owned())).is_permit());
    }

    #[test]
    fn the_agreement_is_for_its_assignee_and_target_only() {
        let policy = Policy::parse(&json!({
            "@id": "urn:a", "@type": "Agreement", "target": "urn:t", "assigner": "did:web:p", "assignee": "did:web:a",
            "permission": [{"action": "use"}]
        }))
        .unwrap();
        let hierarchy = Hierarchy::default();
        let world = World::at(NOW.parse().unwrap(), &hierarchy);
        let ask =
            |party, target| evaluate(&policy, &Request { action: "read", party, target }, &world).is_permit();
        assert!(ask("did:web:a", Some("urn:t")));
        assert!(!ask("did:web:b", Some("urn:t")));
        assert!(!ask("did:web:a", Some("urn:other")));
    }

    #[test]
    fn the_answer_says_when_time_may_change_it() {
        let decision = ask(one("dateTime", "lteq", json!("2026-06-02T00:00:00Z")), |_| ());
        assert_eq!(decision.ask_again, Some("2026-06-02T00:00:00Z".parse().unwrap()));
        assert_eq!(ask(offer(json!([])), |_| ()).ask_again, None);
    }
}
