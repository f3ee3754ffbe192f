//! Request and state of the world in, decision with reasons out.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use jiff::Timestamp;

use crate::action::covers;
use crate::duty::{self, DutyState};
use crate::explain::{self, quoted};
use crate::hierarchy::Hierarchy;
use crate::model::{
    ANY_ACTION, Atomic, Conflict, Constraint, Kind, Logical, Operator, Policy, Rule, RuleKind, Scope, Value,
};
use crate::operand::{Change, Fact, Operand, Since, fact, is_issuer, is_set};
use crate::operators::holds;
use crate::world::{Request, World};

/// Most uses that one request may be, as several purposes, places and so on make it.
const MAX_USES: usize = 1024;

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

/// A duty and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DutyReport {
    /// [`Rule::path`].
    pub rule: String,
    /// What must be done, in words.
    pub text: String,
    /// Where it stands.
    pub state: DutyState,
    /// By when it must be done.
    pub due: Option<Timestamp>,
}

/// The answer to a request, in words.
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
    /// What else may change this answer, in order.
    pub depends_on: Vec<Change>,
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

/// What decided; words are made of it only when somebody wants to read them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause<'p> {
    /// The policy names another party.
    Assignee(&'p str),
    /// A duty before the use is not done.
    DutyOpen(&'p Rule, &'p Rule),
    /// A duty was not done in time, and not made good.
    DutyViolated(&'p Rule),
    /// A prohibition applies.
    Forbids(&'p Rule),
    /// A prohibition was infringed, and that was not made good.
    Infringed(&'p Rule),
    /// The policy is of a class that this node does not decide under.
    Kind(Kind),
    /// A prohibition applies unless this constraint, which nothing is known of, does not hold.
    MayForbid(&'p Rule, &'p Constraint),
    /// The permission names no action, so it permits nothing.
    NoAction(&'p Rule),
    /// No permission covers the action.
    NoPermission,
    /// The permissions that cover the action are for others or about something else.
    OfOthers,
    /// A permission applies.
    Permits(&'p Rule),
    /// The policy uses a profile that is not known.
    Profile(&'p str),
    /// The policy is about another asset.
    Target(&'p str),
    /// The request is more uses than are looked at.
    TooManyUses,
    /// A permission would apply if this constraint held.
    Unmet(&'p Rule, &'p Constraint),
    /// A permission and a prohibition of the same action apply, and the policy does not say which holds: it is void.
    Void(&'p Rule, &'p Rule),
}

/// The bare answer: outcome and the first cause.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict<'p> {
    /// Permit or deny.
    pub outcome: Outcome,
    /// What decided.
    pub cause: Cause<'p>,
}

/// Decides `request` under `policy` in `world`, in well under a microsecond for common policies: no words are made.
///
/// Permit needs a permission whose action covers the request, all of whose conditions hold and whose duties do not stand in
/// the way; no obligation violated; and no prohibition that applies or might apply, unless the policy says that
/// permissions hold in a conflict. A request for several purposes or places is as many uses, and each must be permitted.
/// Anything unknown denies.
pub fn decide<'p>(policy: &'p Policy, request: &Request<'_>, world: &World<'_>) -> Verdict<'p> {
    let mut first = None;
    let outcome = walk(policy, request, world, &mut |cause| {
        first.get_or_insert(cause);
        ControlFlow::Break(())
    });
    Verdict { outcome, cause: first.unwrap_or(Cause::NoPermission) }
}

/// As [`decide`], with every reason in words, the duties' states, and when to ask again.
pub fn evaluate(policy: &Policy, request: &Request<'_>, world: &World<'_>) -> Decision {
    let mut causes = Vec::new();
    let outcome = walk(policy, request, world, &mut |cause| {
        causes.push(cause);
        ControlFlow::Continue(())
    });
    let reasons = causes.iter().map(|cause| reason(cause, request, world)).collect();
    let duties = policy.obligations.iter().map(|duty| duty_report(duty, request, world)).collect();
    let (ask_again, depends_on) = dependence(policy, world);
    Decision { outcome, reasons, duties, ask_again, depends_on }
}

/// Tells `found` of every cause, the deciding first, until it breaks.
fn walk<'p>(
    policy: &'p Policy,
    request: &Request<'_>,
    world: &World<'_>,
    found: &mut dyn FnMut(Cause<'p>) -> ControlFlow<()>,
) -> Outcome {
    if !world.stated.are_several() {
        return judge(policy, request, world, found);
    }
    let Some(uses) = world.stated.apart(MAX_USES) else {
        let _ = found(Cause::TooManyUses);
        return Outcome::Deny;
    };
    let mut permitted = Vec::new();
    for stated in &uses {
        let mut causes = Vec::new();
        let one = World { stated, together: Some(world.stated), ..world.clone() };
        let outcome = judge(policy, request, &one, &mut |cause| {
            causes.push(cause);
            ControlFlow::Continue(())
        });
        if outcome == Outcome::Deny {
            let _ = causes.into_iter().try_for_each(found);
            return Outcome::Deny;
        }
        for cause in causes {
            if !permitted.contains(&cause) {
                permitted.push(cause);
            }
        }
    }
    let _ = permitted.into_iter().try_for_each(found);
    Outcome::Permit
}

/// As [`walk`], for a use with one value of each operand.
fn judge<'p>(
    policy: &'p Policy,
    request: &Request<'_>,
    world: &World<'_>,
    found: &mut dyn FnMut(Cause<'p>) -> ControlFlow<()>,
) -> Outcome {
    if let Some(cause) = not_for_this(policy, request, world) {
        let _ = found(cause);
        return Outcome::Deny;
    }
    let mut denied = false;
    for duty in &policy.obligations {
        if duty::state(duty, request, world) == DutyState::Violated {
            denied = true;
            if found(Cause::DutyViolated(duty)).is_break() {
                return Outcome::Deny;
            }
        }
    }
    for rule in policy.prohibitions.iter().filter(|rule| duty::is_infringed(rule, request, world)) {
        denied = true;
        if found(Cause::Infringed(rule)).is_break() {
            return Outcome::Deny;
        }
    }
    // Where permissions hold in a conflict, one that applies needs no look at the prohibitions.
    let permission_first = policy.conflict == Conflict::Perm && !denied;
    if permission_first && let Some(rule) = permitting(policy, request, world) {
        let _ = found(Cause::Permits(rule));
        return Outcome::Permit;
    }
    for rule in policy.prohibitions.iter().filter(|rule| speaks_of(rule, request, world)) {
        let cause = match all(rule.conditions(), request, world) {
            Truth::False(_) => continue,
            Truth::True => Cause::Forbids(rule),
            Truth::Unknown(why) => Cause::MayForbid(rule, why),
        };
        denied = true;
        if found(cause).is_break() {
            return Outcome::Deny;
        }
    }
    if !denied && let Some(cause) = void(policy, request, world) {
        denied = true;
        let _ = found(cause);
    }
    if denied {
        return Outcome::Deny;
    }
    if !permission_first && let Some(rule) = permitting(policy, request, world) {
        let _ = found(Cause::Permits(rule));
        return Outcome::Permit;
    }
    let mut speaks = false;
    for rule in policy.permissions.iter().filter(|rule| speaks_of(rule, request, world)) {
        speaks = true;
        if found(unmet(rule, request, world)).is_break() {
            return Outcome::Deny;
        }
    }
    if !speaks {
        let of_others =
            policy.permissions.iter().any(|rule| covers(&rule.action, request.action, world.hierarchy));
        let _ = found(if of_others { Cause::OfOthers } else { Cause::NoPermission });
    }
    Outcome::Deny
}

/// Whether a permission and a prohibition of all that it permits may both apply to this party: ODRL's `invalid` voids the
/// whole policy then (ODRL 2.2, section 2.10). A prohibition of a part is an exception, and no conflict.
fn void<'p>(policy: &'p Policy, request: &Request<'_>, world: &World<'_>) -> Option<Cause<'p>> {
    if policy.conflict != Conflict::Invalid || policy.permissions.len() < 2 {
        return None;
    }
    let applies = |rule: &Rule| {
        is_about(rule, request, world) && !matches!(all(rule.conditions(), request, world), Truth::False(_))
    };
    conflicts(policy, world.hierarchy).find_map(|(permission, prohibition)| {
        (applies(permission) && applies(prohibition)).then_some(Cause::Void(permission, prohibition))
    })
}

/// The permissions of a policy whose action a prohibition of it covers wholly.
pub(crate) fn conflicts<'p>(
    policy: &'p Policy,
    known: &Hierarchy,
) -> impl Iterator<Item = (&'p Rule, &'p Rule)> {
    let pairs =
        policy.permissions.iter().flat_map(|one| policy.prohibitions.iter().map(move |other| (one, other)));
    pairs.filter(|(permission, prohibition)| {
        permission.action != ANY_ACTION && covers(&prohibition.action, &permission.action, known)
    })
}

fn permitting<'p>(policy: &'p Policy, request: &Request<'_>, world: &World<'_>) -> Option<&'p Rule> {
    policy.permissions.iter().find(|rule| {
        speaks_of(rule, request, world)
            && matches!(all(rule.conditions(), request, world), Truth::True)
            && open_duty(rule, request, world).is_none()
            && rule.action != ANY_ACTION
    })
}

/// Why a permission that speaks of the request does not allow it.
fn unmet<'p>(rule: &'p Rule, request: &Request<'_>, world: &World<'_>) -> Cause<'p> {
    match (all(rule.conditions(), request, world), open_duty(rule, request, world)) {
        (Truth::False(why) | Truth::Unknown(why), _) => Cause::Unmet(rule, why),
        (Truth::True, Some(duty)) => Cause::DutyOpen(rule, duty),
        (Truth::True, None) => Cause::NoAction(rule),
    }
}

fn open_duty<'p>(rule: &'p Rule, request: &Request<'_>, world: &World<'_>) -> Option<&'p Rule> {
    rule.duties.iter().find(|duty| duty::blocks(duty, request, world))
}

/// Why the policy does not speak of this request at all.
fn not_for_this<'p>(policy: &'p Policy, request: &Request<'_>, world: &World<'_>) -> Option<Cause<'p>> {
    if !policy.kind.is_decided() {
        return Some(Cause::Kind(policy.kind));
    }
    if let Some(profile) = policy.profiles.iter().find(|one| !world.hierarchy.knows_profile(one)) {
        return Some(Cause::Profile(profile));
    }
    match (&policy.assignee, &policy.target, request.target) {
        (Some(assignee), ..) if !is_party(request.party, assignee, world) => Some(Cause::Assignee(assignee)),
        (_, Some(target), Some(asked)) if !is_asset(asked, target, world) => Some(Cause::Target(target)),
        _ => None,
    }
}

/// Whether a party is the one named, or one of the collection or of everybody that the name stands for.
pub(crate) fn is_party(party: &str, named: &str, world: &World<'_>) -> bool {
    party == named || world.hierarchy.is_everyone(named) || world.hierarchy.is_within(party, named)
}

/// As [`is_party`], for assets.
pub(crate) fn is_asset(asset: &str, named: &str, world: &World<'_>) -> bool {
    asset == named || world.hierarchy.is_everything(named) || world.hierarchy.is_within(asset, named)
}

/// Whether a rule is about this action, party and asset; refinements aside. Where the asset asked for is not known, a
/// prohibition of one asset may be meant, a permission is not.
pub(crate) fn speaks_of(rule: &Rule, request: &Request<'_>, world: &World<'_>) -> bool {
    covers(&rule.action, request.action, world.hierarchy) && is_about(rule, request, world)
}

/// As [`speaks_of`], whatever the action.
fn is_about(rule: &Rule, request: &Request<'_>, world: &World<'_>) -> bool {
    named(&rule.assignee).is_none_or(|one| is_party(request.party, one, world))
        && named(&rule.target).is_none_or(|one| match request.target {
            Some(asked) => is_asset(asked, one, world),
            None => rule.kind == RuleKind::Prohibition || world.hierarchy.is_everything(one),
        })
}

fn named(scope: &Option<Scope>) -> Option<&str> {
    scope.as_ref()?.id.as_deref()
}

pub(crate) fn duty_report(duty: &Rule, request: &Request<'_>, world: &World<'_>) -> DutyReport {
    DutyReport {
        rule: duty.path.clone(),
        text: explain::rule(duty),
        state: duty::state(duty, request, world),
        due: world.since.or(Some(world.now)).and_then(|since| duty::due(duty, since)),
    }
}

/// When time alone may next change the answer, and what else may.
fn dependence(policy: &Policy, world: &World<'_>) -> (Option<Timestamp>, Vec<Change>) {
    let mut next: Option<Timestamp> = None;
    let mut changes = Vec::new();
    let mut visit = |constraint: &Constraint, world: &World<'_>| {
        for atomic in constraint.atoms() {
            let meaning = world.hierarchy.meaning(atomic);
            for atomic in meaning.as_ref().map_or_else(|| vec![atomic], Constraint::atoms) {
                let Some(operand) = atomic.operand else { continue };
                changes.push(operand.changes);
                next = [next, (operand.next)(atomic, world)].into_iter().flatten().min();
            }
        }
    };
    for rule in policy.permissions.iter().chain(&policy.prohibitions) {
        rule.conditions().for_each(|constraint| visit(constraint, world));
    }
    let duties = policy.duties();
    let of_duties = duty::world_of(world);
    for duty in &duties {
        duty.constraints.iter().for_each(|constraint| visit(constraint, &of_duties));
    }
    if !duties.is_empty() {
        changes.push(Change::Duty);
    }
    changes.sort_unstable();
    changes.dedup();
    (next, changes)
}

/// What a constraint says: three-valued, with the part that is not true.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Truth<'p> {
    True,
    False(&'p Constraint),
    Unknown(&'p Constraint),
}

/// Whether all constraints hold. Where some of them ask who issued a credential, the others are about credentials of that
/// issuer: a membership that anybody attests is none of the one who is trusted.
pub(crate) fn all<'p>(
    constraints: impl Iterator<Item = &'p Constraint> + Clone,
    request: &Request<'_>,
    world: &World<'_>,
) -> Truth<'p> {
    let mut issuers = Vec::new();
    if world.credentials.len() > 1 {
        constraints.clone().for_each(|one| issuers_of(one, &mut issuers));
    }
    if issuers.is_empty() {
        return each(constraints, request, world);
    }
    let by_them = |credential: &&serde_json::Value| {
        let alone = World { credentials: std::slice::from_ref(*credential), ..world.clone() };
        issuers.iter().all(|one| matches!(truth(one, request, &alone), Truth::True))
    };
    let credentials: Vec<_> = world.credentials.iter().filter(by_them).cloned().collect();
    if !credentials.is_empty() {
        return each(constraints, request, &World { credentials: &credentials, ..world.clone() });
    }
    // No credential is by all of the issuers asked for.
    match (each(constraints, request, world), issuers.first()) {
        (Truth::True, Some(issuer)) => Truth::Unknown(issuer),
        (said, _) => said,
    }
}

/// The constraints on the issuer that stand beside others, through every `and`.
fn issuers_of<'p>(constraint: &'p Constraint, found: &mut Vec<&'p Constraint>) {
    match constraint {
        Constraint::Atomic(atomic) if is_issuer(atomic.operand) => found.push(constraint),
        Constraint::Logical { logical: Logical::And | Logical::AndSequence, parts } => {
            parts.iter().for_each(|part| issuers_of(part, found));
        }
        Constraint::Atomic(_) | Constraint::Logical { .. } => {}
    }
}

fn each<'p>(
    constraints: impl Iterator<Item = &'p Constraint>,
    request: &Request<'_>,
    world: &World<'_>,
) -> Truth<'p> {
    let mut unknown = None;
    for constraint in constraints {
        match truth(constraint, request, world) {
            Truth::True => {}
            Truth::False(why) => return Truth::False(why),
            Truth::Unknown(why) => unknown = unknown.or(Some(why)),
        }
    }
    unknown.map_or(Truth::True, Truth::Unknown)
}

pub(crate) fn truth<'p>(constraint: &'p Constraint, request: &Request<'_>, world: &World<'_>) -> Truth<'p> {
    let (logical, parts) = match constraint {
        Constraint::Atomic(atomic) => {
            let said = match world.hierarchy.meaning(atomic) {
                None => atomic_truth(atomic, request, world),
                Some(meaning) => match truth(&meaning, request, world) {
                    Truth::True => Some(true),
                    Truth::False(_) => Some(false),
                    Truth::Unknown(_) => None,
                },
            };
            return match said {
                Some(true) => Truth::True,
                Some(false) => Truth::False(constraint),
                None => Truth::Unknown(constraint),
            };
        }
        Constraint::Logical { logical: Logical::And | Logical::AndSequence, parts } => {
            return all(parts.iter(), request, world);
        }
        Constraint::Logical { logical, parts } => (logical, parts),
    };
    let (mut held, mut unknown) = (0, false);
    for part in parts {
        match truth(part, request, world) {
            Truth::True => held += 1,
            Truth::False(_) => {}
            Truth::Unknown(_) => unknown = true,
        }
    }
    match (logical, held, unknown) {
        (Logical::Or, 1.., _) | (_, 1, false) => Truth::True,
        (Logical::Xone, 2.., _) | (_, 0, false) => Truth::False(constraint),
        _ => Truth::Unknown(constraint),
    }
}

/// Whether a comparison holds; `None` where that is not known.
pub(crate) fn atomic_truth(atomic: &Atomic, request: &Request<'_>, world: &World<'_>) -> Option<bool> {
    if let Some(since) = atomic.operand.and_then(|operand| operand.since) {
        return lasted(atomic, since(world), world.now);
    }
    let whole;
    let world = match (atomic.operator, world.together) {
        (Operator::IsAllOf, Some(stated)) => {
            whole = World { stated, ..world.clone() };
            &whole
        }
        _ => world,
    };
    let fact = fact(atomic, request, world);
    if fact == Fact::Applied {
        return Some(true);
    }
    let values = fact.values()?;
    let Some(status) = &atomic.status else {
        return holds(atomic.operator, values, &atomic.right, is_set(atomic), world.hierarchy);
    };
    let added = values.iter().map(|value| match value {
        Value::Number(number) => number.plus(status).map(Value::Number),
        _ => None,
    });
    let added = added.collect::<Option<Vec<_>>>()?;
    holds(atomic.operator, &added, &atomic.right, is_set(atomic), world.hierarchy)
}

/// Compares a length of time with durations, by the calendar.
fn lasted(atomic: &Atomic, since: Since, now: Timestamp) -> Option<bool> {
    let compare = |test: fn(Ordering) -> bool| -> Option<bool> {
        let mut any = false;
        for duration in &atomic.right {
            any |= match since {
                Since::At(at) => test(now.cmp(&crate::operand::end(at, duration)?)),
                Since::Never => test(Ordering::Greater),
                Since::Unknown => return None,
            };
        }
        Some(any)
    };
    match atomic.operator {
        Operator::Eq | Operator::IsAnyOf => compare(Ordering::is_eq),
        Operator::Neq | Operator::IsNoneOf => compare(Ordering::is_eq).map(|equal| !equal),
        Operator::Gt => compare(Ordering::is_gt),
        Operator::Gteq => compare(Ordering::is_ge),
        Operator::Lt => compare(Ordering::is_lt),
        Operator::Lteq => compare(Ordering::is_le),
        Operator::HasPart | Operator::IsA | Operator::IsAllOf | Operator::IsPartOf => None,
    }
}

fn reason(cause: &Cause<'_>, request: &Request<'_>, world: &World<'_>) -> Reason {
    let at = |rule: &Rule, text: String| Reason { rule: rule.path.clone(), text };
    let general = |text: String| Reason { rule: String::new(), text };
    match cause {
        Cause::Assignee(assignee) => {
            general(format!("the policy is for {}, not for {}", quoted(assignee), quoted(request.party)))
        }
        Cause::Target(target) => general(format!(
            "the policy is about {}, not about {}",
            quoted(target),
            quoted(request.target.unwrap_or_default())
        )),
        Cause::DutyOpen(rule, duty) => {
            at(rule, format!("{}: its duty is not fulfilled yet: {}", name(rule), explain::rule(duty)))
        }
        Cause::DutyViolated(duty) => {
            at(duty, format!("the obligation `{}` was not met in time: {}", duty.path, explain::rule(duty)))
        }
        Cause::Forbids(rule) => at(rule, format!("{} forbids it: {}", name(rule), explain::rule(rule))),
        Cause::Infringed(rule) => at(rule, format!("{} was infringed: {}", name(rule), explain::rule(rule))),
        Cause::MayForbid(rule, why) => {
            let why = explain::why(why, request, world);
            at(rule, format!("{} may forbid it ({}): {why}", name(rule), explain::rule(rule)))
        }
        Cause::Kind(kind) => general(format!(
            "the policy is of the class `{}`, under which this node neither offers nor decides anything",
            kind.term()
        )),
        Cause::NoAction(rule) => {
            at(rule, format!("{} names no action, so it permits nothing (ODRL 2.2, section 2.6)", name(rule)))
        }
        Cause::NoPermission => {
            general(format!("no permission of the policy covers the action {}", quoted(request.action)))
        }
        Cause::OfOthers => general(format!(
            "the permissions that cover {} are for another party or another asset",
            quoted(request.action)
        )),
        Cause::Permits(rule) => at(rule, format!("{} allows it: {}", name(rule), explain::rule(rule))),
        Cause::Profile(profile) => general(format!(
            "the policy uses the profile {}, which this node does not know, so it is not processed",
            quoted(profile)
        )),
        Cause::TooManyUses => general(format!(
            "the purposes, places and so on that are stated make more than {MAX_USES} uses; ask for fewer at a time"
        )),
        Cause::Unmet(rule, why) => at(rule, format!("{}: {}", name(rule), explain::why(why, request, world))),
        Cause::Void(permission, prohibition) => at(
            prohibition,
            format!(
                "{} and {} both apply to {}, and the policy does not say which holds, so it is void",
                name(permission),
                name(prohibition),
                quoted(&permission.action)
            ),
        ),
    }
}

fn name(rule: &Rule) -> String {
    let kind = match rule.kind {
        RuleKind::Duty => "duty",
        RuleKind::Permission => "permission",
        RuleKind::Prohibition => "prohibition",
    };
    format!("{kind} `{}`", rule.path)
}

/// Why a fact is not known, for [`explain::why`].
pub(crate) fn is_understood(atomic: &Atomic, request: &Request<'_>, world: &World<'_>) -> bool {
    world.hierarchy.meaning(atomic).is_some() || fact(atomic, request, world) != Fact::Unsupported
}

/// Whether `operand` waits for nothing but time.
pub(crate) fn is_time(operand: Option<&'static Operand>) -> bool {
    operand.is_some_and(|operand| operand.changes == Change::Time)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::world::{Facts, Performed, Record, Usage};

    const NOW: &str = "2026-06-01T12:00:00Z";

    /// What is known besides the time.
    #[derive(Default)]
    struct Known {
        facts: Facts,
        usage: Usage,
        record: Record,
        credentials: Vec<Json>,
    }

    impl Known {
        fn state(&mut self, left: &str, values: &[&str]) {
            values.iter().for_each(|value| self.facts.state(left, &json!(value)).unwrap());
        }

        fn perform(&mut self, rule: &str, at: Option<&str>) {
            let at = at.map(|at| at.parse().unwrap());
            self.record.performed.push(Performed { rule: rule.to_owned(), at });
        }
    }

    fn ask(policy: Json, change: impl FnOnce(&mut Known)) -> Decision {
        let hierarchy = Hierarchy::shipped();
        let mut known = Known::default();
        change(&mut known);
        let world = World {
            stated: &known.facts,
            usage: known.usage,
            record: &known.record,
            credentials: &known.credentials,
            since: Some("2026-05-01T00:00:00Z".parse().unwrap()),
            ..World::at(NOW.parse().unwrap(), &hierarchy)
        };
        let policy = Policy::parse_odrl(&policy).unwrap();
        let request = Request { action: "read", party: "did:web:a", target: None };
        let decision = evaluate(&policy, &request, &world);
        let verdict = decide(&policy, &request, &world);
        assert_eq!(verdict.outcome, decision.outcome, "both ways of asking agree");
        assert_eq!(decision.reasons.first(), Some(&reason(&verdict.cause, &request, &world)));
        decision
    }

    fn offer(constraints: Json) -> Json {
        json!({"@id": "urn:o", "@type": "Offer", "permission": [{"action": "use", "constraint": constraints}]})
    }

    fn one(left: &str, operator: &str, right: Json) -> Json {
        offer(json!([{"leftOperand": left, "operator": operator, "rightOperand": right}]))
    }

    #[test]
    fn every_operator_on_a_known_operand() {
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
            let decision = ask(one(left, operator, right.clone()), |known| {
                known.usage.count = Some(2);
                known.state("purpose", &["p"]);
                known.state("spatial", &["BE"]);
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
        let decision =
            ask(one("purpose", "isAnyOf", json!(["p"])), |known| known.state("purpose", &["p", "q"]));
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
        assert!(ask(policy.clone(), |known| known.state("spatial", &["BE"])).is_permit());
        assert!(!ask(policy, |known| known.state("spatial", &["GB"])).is_permit());
    }

    #[test]
    fn logical_constraints() {
        let c = |n: &str| json!({"leftOperand": "count", "operator": "eq", "rightOperand": n});
        let with =
            |logical: Json| ask(offer(json!([logical])), |known| known.usage.count = Some(1)).is_permit();
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
        policy["permission"][0]["duty"] = json!([{"action": "compensate"}]);
        let decision = ask(policy.clone(), |_| ());
        assert_eq!(
            decision.reason(),
            "permission `/permission/0`: its duty is not fulfilled yet: compensate"
        );
        assert!(ask(policy, |known| known.perform("/permission/0/duty/0", None)).is_permit());

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
        assert!(ask(policy, |known| known.perform("/obligation/0", None)).is_permit());
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

    #[test]
    fn lengths_of_time() {
        let at = |text: &str| Some(text.parse().unwrap());
        let held = |left: &str, operator: &str, right: &str, usage: Usage| {
            ask(one(left, operator, json!(right)), |known| known.usage = usage).is_permit()
        };
        let fresh = Usage { count: Some(1), ..Usage::default() };
        // The agreement is a month and twelve hours old.
        assert!(held("delayPeriod", "gteq", "P1M", fresh));
        assert!(held("delayPeriod", "eq", "P31D", fresh), "ODRL's eq: the period has passed");
        assert!(!held("delayPeriod", "gteq", "P32D", fresh));
        let used = Usage { first: at("2026-05-30T12:00:00Z"), last: at("2026-06-01T11:00:00Z"), ..fresh };
        assert!(held("elapsedTime", "lteq", "P2D", used) && held("elapsedTime", "eq", "P2D", used));
        assert!(!held("elapsedTime", "lteq", "PT47H", used));
        assert!(held("elapsedTime", "lteq", "PT0S", fresh), "nothing has passed at the first use");
        assert!(held("timeInterval", "eq", "PT1H", used) && held("timeInterval", "gteq", "P1D", fresh));
        assert!(!held("timeInterval", "eq", "PT1H1S", used));
        let metered = |seconds| Usage { metered: Some(jiff::SignedDuration::from_secs(seconds)), ..fresh };
        assert!(held("meteredTime", "lteq", "PT1M", metered(60)));
        assert!(!held("meteredTime", "lteq", "PT1M", metered(61)));
        assert!(!held("elapsedTime", "lteq", "P1D", Usage::default()), "nobody counts: not known");
        let decision = ask(one("elapsedTime", "lteq", json!("P3D")), |known| known.usage = used);
        assert_eq!(decision.ask_again, at("2026-06-02T12:00:00Z"));
        let several = |left: &str, right: &str| {
            let usage = Usage { at_once: 4, ..metered(20) };
            ask(one(left, "lteq", json!(right)), |known| known.usage = usage).ask_again
        };
        assert_eq!(several("meteredTime", "PT1M"), at("2026-06-01T12:00:10Z"), "40 s for four at once");
        assert_eq!(
            several("dateTime", "2026-06-02T00:00:00Z"),
            at("2026-06-02T00:00:00Z"),
            "a date is for all"
        );
        let late = ask(one("elapsedTime", "lteq", json!("P1D")), |known| known.usage = used);
        assert_eq!(
            late.reason(),
            "permission `/permission/0`: the time since the first use must be at most 1 day, but it is 2 days"
        );
    }

    #[test]
    fn hours_of_the_day() {
        let time = |operator: &str, text: &str| {
            ask(one("dateTime", operator, json!({"@value": text, "@type": "xsd:time"})), |_| ())
        };
        assert!(time("gteq", "08:00:00Z").is_permit());
        assert!(!time("lt", "13:59:00+02:00").is_permit(), "it is 14:00 there");
        assert!(time("lt", "14:01:00+02:00").is_permit());
        let midnight = Some("2026-06-02T00:00:00Z".parse().unwrap());
        assert_eq!(time("lteq", "11:00:00Z").ask_again, midnight, "a new day begins at its midnight");
        // It is 22:00 at +10:00: hours there have no midnight in between.
        assert!(time("gteq", "08:00:00+10:00").is_permit() && !time("lt", "18:00:00+10:00").is_permit());
    }

    #[test]
    fn what_the_user_states() {
        let area = json!({"@value": "ENVELOPE(0, 10, 55, 45)", "@type": "geo:wktLiteral"});
        let cases: &[(&str, &str, Json, Json, bool)] = &[
            ("language", "isPartOf", json!("de"), json!("de-AT"), true),
            ("language", "eq", json!("de"), json!("de-AT"), false),
            ("industry", "isAnyOf", json!(["urn:nace:D", "urn:nace:E"]), json!("urn:nace:E"), true),
            ("fileFormat", "eq", json!("text/csv"), json!("application/json"), false),
            ("systemDevice", "neq", json!("urn:phone"), json!("urn:server"), true),
            ("percentage", "lteq", json!("50"), json!("40"), true),
            ("absoluteSize", "lt", json!("1000"), json!("1000"), false),
            (
                "spatial",
                "isPartOf",
                area.clone(),
                json!({"@value": "POINT(5 50)", "@type": "geo:wktLiteral"}),
                true,
            ),
            ("spatial", "isPartOf", area, json!({"@value": "POINT(5 60)", "@type": "geo:wktLiteral"}), false),
        ];
        for (left, operator, right, fact, expected) in cases {
            let decision =
                ask(one(left, operator, right.clone()), |known| known.facts.state(left, fact).unwrap());
            assert_eq!(decision.is_permit(), *expected, "{left} {operator} {right}: {}", decision.reason());
            assert!(!ask(one(left, operator, right.clone()), |_| ()).is_permit(), "{left} is not stated");
        }
        let mut paid = one("payAmount", "gteq", json!("5"));
        paid["permission"][0]["constraint"][0]["unit"] = json!("urn:eur");
        assert!(ask(paid.clone(), |known| known.state("payAmount urn:eur", &["5"])).outcome == Outcome::Deny);
        let five = |known: &mut Known, unit: &str| {
            known.facts.put(&format!("payAmount {unit}"), Value::Number(crate::Decimal::whole(5)))
        };
        assert!(ask(paid.clone(), |known| five(known, "urn:eur")).is_permit());
        assert!(!ask(paid, |known| five(known, "urn:usd")).is_permit(), "another currency says nothing");
    }

    #[test]
    fn credentials_are_operands() {
        let credential = json!({"type": ["VerifiableCredential", "MembershipCredential"], "issuer": {"id": "did:web:city"},
            "credentialSubject": {"memberOf": "urn:space", "roles": ["provider", "auditor"], "level": 3}});
        let held = |left: &str, operator: &str, right: Json| {
            ask(one(left, operator, right), |known| known.credentials.push(credential.clone())).is_permit()
        };
        let level = "urn:concordat:credential:MembershipCredential:$.credentialSubject.level";
        let number = |n: &str| json!({"@value": n, "@type": "xsd:integer"});
        // A text that looks like the number may mean it: it is not known to differ.
        for operator in ["eq", "neq", "isNoneOf", "lt"] {
            assert!(!held(level, operator, json!("3")), "{operator}");
        }
        assert!(held(level, "eq", json!({"@value": 3})) && !held(level, "neq", json!({"@value": 3.0})));
        let mut forbidden = offer(json!([]));
        for right in [json!("3"), number("3"), number("3.00")] {
            forbidden["prohibition"] = json!([{"action": "use", "constraint": [
                {"leftOperand": level, "operator": "eq", "rightOperand": right.clone()}]}]);
            let outcome = ask(forbidden.clone(), |known| known.credentials.push(credential.clone())).outcome;
            assert_eq!(outcome, Outcome::Deny, "{right}");
        }
        let long = |right: &str| {
            ask(one(level, "lt", number(right)), |known| {
                let mut large = credential.clone();
                large["credentialSubject"]["level"] = json!(9_007_199_254_740_992_u64);
                known.credentials.push(large);
            })
            .is_permit()
        };
        assert!(long("9007199254740993") && !long("9007199254740992"), "digit by digit");
        assert!(held("urn:concordat:membership", "eq", json!("urn:space")));
        assert!(held("urn:concordat:role", "eq", json!("auditor")), "one of the roles is enough");
        assert!(!held("urn:concordat:role", "neq", json!("auditor")));
        assert!(held("urn:concordat:role", "isAllOf", json!(["auditor", "provider"])));
        assert!(held("urn:concordat:credential-issuer", "isAnyOf", json!(["did:web:city"])));
        assert!(held(level, "gteq", number("3")) && !held(level, "gt", number("3")));
        assert!(!held("urn:concordat:credential:Other:$.credentialSubject.level", "gteq", number("1")));
        assert!(
            !ask(one("urn:concordat:role", "neq", json!("x")), |_| ()).is_permit(),
            "none at hand: not known"
        );
    }

    #[test]
    fn refinements_of_action_party_and_asset() {
        let c = |left: &str, operator: &str, right: &str| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
        let policy = json!({"@type": "Set", "permission": [{
            "action": {"rdf:value": {"@id": "odrl:use"}, "refinement": [c("percentage", "lteq", "50")]},
            "assignee": {"@id": "urn:everybody", "refinement": [c("urn:concordat:role", "eq", "researcher")]}}]});
        let hierarchy = {
            let mut known = Hierarchy::default();
            known.add("did:web:a", "urn:everybody");
            known
        };
        let policy = Policy::parse_odrl(&policy).unwrap();
        let credentials = [json!({"type": "X", "credentialSubject": {"role": "researcher"}})];
        let mut facts = Facts::default();
        facts.state("percentage", &json!("50")).unwrap();
        let world = World {
            stated: &facts,
            credentials: &credentials,
            ..World::at(NOW.parse().unwrap(), &hierarchy)
        };
        let request = Request { action: "read", party: "did:web:a", target: None };
        assert!(evaluate(&policy, &request, &world).is_permit());
        let stranger = Request { party: "did:web:b", ..request };
        assert!(!evaluate(&policy, &stranger, &world).is_permit());
        assert!(!evaluate(&policy, &request, &World { credentials: &[], ..world.clone() }).is_permit());
        assert!(!evaluate(&policy, &request, &World { stated: &Facts::default(), ..world }).is_permit());
    }

    #[test]
    fn conflicts_are_resolved_as_the_policy_says() {
        let policy = |conflict: Option<&str>| {
            let mut policy = offer(json!([]));
            policy["prohibition"] = json!([{"action": "read"}]);
            if let Some(conflict) = conflict {
                policy["conflict"] = json!(conflict);
            }
            ask(policy, |_| ()).is_permit()
        };
        assert!(policy(Some("perm")));
        assert!(!policy(Some("odrl:prohibit")) && !policy(Some("invalid")) && !policy(None));
    }

    #[test]
    fn consequences_and_remedies_make_good() {
        let mut policy = offer(json!([]));
        policy["obligation"] = json!([{"action": "delete",
            "constraint": [{"leftOperand": "dateTime", "operator": "lteq", "rightOperand": "2026-05-15T00:00:00Z"}],
            "consequence": [{"action": "compensate"}]}]);
        let late = |known: &mut Known| known.perform("/obligation/0", Some("2026-05-20T00:00:00Z"));
        assert!(!ask(policy.clone(), |_| ()).is_permit());
        let denied = ask(policy.clone(), late);
        assert!(
            denied.reason().ends_with("if that is not met in time, also: [compensate]"),
            "{}",
            denied.reason()
        );
        assert!(
            ask(policy.clone(), |known| {
                late(known);
                known.perform("/obligation/0/consequence/0", None);
            })
            .is_permit()
        );
        assert!(
            ask(policy.clone(), |known| known.perform("/obligation/0", Some("2026-05-14T00:00:00Z")))
                .is_permit(),
            "in time"
        );
        policy["obligation"] = json!([{"action": "inform",
            "constraint": [{"leftOperand": "elapsedTime", "operator": "lteq", "rightOperand": "P40D"}]}]);
        let pending = ask(policy.clone(), |_| ());
        assert_eq!(
            pending.duties[0].due,
            Some("2026-06-10T00:00:00Z".parse().unwrap()),
            "from the agreement"
        );
        assert_eq!(pending.ask_again, pending.duties[0].due);
        policy["obligation"] = json!([{"action": "inform",
            "constraint": [{"leftOperand": "delayPeriod", "operator": "gteq", "rightOperand": "P1Y"}]}]);
        assert_eq!(ask(policy.clone(), |_| ()).duties[0].state, DutyState::Unset);

        let mut policy = offer(json!([]));
        policy["prohibition"] = json!([{"action": "distribute", "remedy": [{"action": "delete"}]}]);
        let infringed = |known: &mut Known| known.record.violated.push("/prohibition/0".to_owned());
        assert!(ask(policy.clone(), |_| ()).is_permit());
        assert!(
            ask(policy.clone(), infringed)
                .reason()
                .contains("was infringed: distribute; an infringement is made good by: [delete]")
        );
        assert!(
            ask(policy, |known| {
                infringed(known);
                known.perform("/prohibition/0/remedy/0", None);
            })
            .is_permit()
        );
    }
}
