//! For a denial, the smallest change that would permit.

use std::fmt;

use jiff::Timestamp;

use crate::action::covers;
use crate::alternatives::{Literal, all, negated_all, product};
use crate::compatible::by_fact;
use crate::duty::{self, DutyState};
use crate::evaluate::{Outcome, atomic_truth, decide, is_asset, is_party, speaks_of};
use crate::explain;
use crate::lowered::lowered;
use crate::model::{ANY_ACTION, About, Conflict, Constraint, Policy, Rule, Value};
use crate::operand::Change;
use crate::satisfy::witness;
use crate::world::{Facts, Performed, Record, Request, World};

/// Most instants that are tried for a time at which all holds.
const MAX_INSTANTS: usize = 256;

/// What would make a denied request a permitted one.
#[derive(Debug, Clone, PartialEq)]
pub enum Advice {
    /// All of these, and no fewer.
    Do(Vec<Step>),
    /// Nothing within the policy's terms.
    Nothing,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Ask for another action.
    Action(String),
    /// Ask for another asset.
    Asset(String),
    /// Do a duty: its path, and what it is.
    Fulfil(String, String),
    /// Only this party may ask.
    Party(String),
    /// Show a credential with the claim.
    Present(String, Value),
    /// State another value of a left operand.
    State(String, Value),
    /// Ask then.
    Wait(Timestamp),
}

impl Step {
    /// What somebody cannot easily change counts more.
    const fn weight(&self) -> usize {
        match self {
            Self::Fulfil(..) | Self::Present(..) | Self::State(..) | Self::Wait(_) => 1,
            Self::Action(_) => 2,
            Self::Asset(_) | Self::Party(_) => 4,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(action) => write!(f, "ask for the action {}", explain::quoted(action)),
            Self::Asset(asset) => write!(f, "ask for {}", explain::quoted(asset)),
            Self::Fulfil(_, duty) => write!(f, "do this: {duty}"),
            Self::Party(party) => write!(f, "be {}", explain::quoted(party)),
            Self::Present(left, value) => {
                write!(f, "show a credential with {} {}", explain::operand(left), explain::value(value))
            }
            Self::State(left, value) => {
                write!(f, "state {} {}", explain::operand(left), explain::value(value))
            }
            Self::Wait(until) => write!(f, "wait until {until}"),
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Do(steps) => {
                let steps: Vec<_> = steps.iter().map(ToString::to_string).collect();
                write!(f, "to be permitted: {}", steps.join("; and "))
            }
            Self::Nothing => {
                write!(f, "nothing within these terms would permit it; other terms must be negotiated")
            }
        }
    }
}

/// The smallest change that would permit the request; `None` where it is permitted. Every change but one that takes a
/// credential has been tried: with it, [`decide`] permits.
#[must_use]
pub fn advise(policy: &Policy, request: &Request<'_>, world: &World<'_>) -> Option<Advice> {
    if decide(policy, request, world).outcome == Outcome::Permit {
        return None;
    }
    let mut best: Option<(usize, Vec<Step>)> = None;
    for rule in &policy.permissions {
        for steps in ways(policy, rule, request, world) {
            let weight = steps.iter().map(Step::weight).sum();
            let better = best.as_ref().is_none_or(|(least, _)| weight < *least);
            if better && permits(policy, request, world, &steps) {
                best = Some((weight, steps));
            }
        }
    }
    Some(best.map_or(Advice::Nothing, |(_, steps)| Advice::Do(steps)))
}

/// The ways in which `rule` could permit.
fn ways(policy: &Policy, rule: &Rule, request: &Request<'_>, world: &World<'_>) -> Vec<Vec<Step>> {
    let Some((asked, general)) = speak(policy, rule, request, world) else { return Vec::new() };
    let of =
        |rule: &Rule| rule.conditions().map(|one| lowered(one, world.hierarchy)).collect::<Vec<Constraint>>();
    let conditions = of(rule);
    let forbidding: Vec<_> = if policy.conflict == Conflict::Perm {
        Vec::new()
    } else {
        policy.prohibitions.iter().filter(|one| speaks_of(one, &asked, world)).map(of).collect()
    };
    let alternatives =
        forbidding.iter().fold(all(&conditions), |so_far, one| product(&so_far?, &negated_all(one)?));
    let ways = alternatives.unwrap_or_default();
    ways.iter()
        .filter_map(|alternative| Some([general.clone(), meet(alternative, &asked, world)?].concat()))
        .collect()
}

/// What it takes that the rule speaks of the request and its duties are done, and the request after that.
fn speak<'a>(
    policy: &'a Policy,
    rule: &'a Rule,
    request: &Request<'a>,
    world: &World<'_>,
) -> Option<(Request<'a>, Vec<Step>)> {
    if rule.action == ANY_ACTION {
        return None;
    }
    let mut asked = *request;
    let mut steps = Vec::new();
    if !covers(&rule.action, request.action, world.hierarchy) {
        asked.action = &rule.action;
        steps.push(Step::Action(rule.action.clone()));
    }
    let party = policy.assignee.as_deref().filter(|one| !is_party(request.party, one, world)).or_else(|| {
        let own = rule.assignee.as_ref()?.id.as_deref()?;
        (!is_party(request.party, own, world)).then_some(own)
    });
    if let Some(party) = party {
        asked.party = party;
        steps.push(Step::Party(party.to_owned()));
    }
    let asset = policy
        .target
        .as_deref()
        .filter(|one| request.target.is_some_and(|asked| !is_asset(asked, one, world)))
        .or_else(|| {
            let own = rule.target.as_ref()?.id.as_deref()?;
            (!request.target.is_some_and(|asked| is_asset(asked, own, world))).then_some(own)
        });
    if let Some(asset) = asset {
        asked.target = Some(asset);
        steps.push(Step::Asset(asset.to_owned()));
    }
    let fulfil = |duty: &Rule| Step::Fulfil(duty.path.clone(), explain::rule(duty));
    for duty in rule.duties.iter().filter(|duty| duty::blocks(duty, &asked, world)) {
        match duty::state(duty, &asked, world) {
            DutyState::Fulfilled => {}
            DutyState::Violated if duty.consequences.is_empty() => return None,
            DutyState::Violated => {
                steps.push(fulfil(duty));
                steps.extend(duty.consequences.iter().map(fulfil));
            }
            DutyState::Pending | DutyState::Unset => steps.push(fulfil(duty)),
        }
    }
    for duty in &policy.obligations {
        if duty::state(duty, &asked, world) == DutyState::Violated {
            if duty.consequences.is_empty() {
                return None;
            }
            steps.push(fulfil(duty));
            steps.extend(duty.consequences.iter().map(fulfil));
        }
    }
    for prohibition in policy.prohibitions.iter().filter(|one| duty::is_infringed(one, &asked, world)) {
        if prohibition.remedies.is_empty() {
            return None;
        }
        let open =
            prohibition.remedies.iter().filter(|one| duty::state(one, &asked, world) != DutyState::Fulfilled);
        steps.extend(open.map(fulfil));
    }
    Some((asked, steps))
}

/// What it takes that all literals hold; `None` where nothing would do.
fn meet(alternative: &[Literal<'_>], request: &Request<'_>, world: &World<'_>) -> Option<Vec<Step>> {
    let holds = |literals: &[Literal<'_>], world: &World<'_>| {
        literals.iter().all(|one| atomic_truth(one.atomic, request, world) == Some(one.wanted))
    };
    let mut steps = Vec::new();
    let mut timed = Vec::new();
    for ((about, left, unit), literals) in by_fact(alternative) {
        let change =
            literals.iter().find_map(|literal| literal.atomic.operand).map(|operand| operand.changes);
        if change == Some(Change::Time) && about == About::Use {
            timed.extend(literals);
            continue;
        }
        if holds(&literals, world) {
            continue;
        }
        let value = witness(&literals, world.hierarchy)?;
        let name = unit.map_or_else(|| left.to_owned(), |unit| format!("{left} {unit}"));
        steps.push(match (change, about, value) {
            (Some(Change::Request), _, Value::Term(id)) if left == "target" => Step::Asset(id),
            (Some(Change::Request), _, Value::Term(id)) => Step::Party(id),
            (Some(Change::Credential), _, value) => Step::Present(name, value),
            (Some(Change::Statement), About::Use, value) => Step::State(name, value),
            // Nobody who asks can change how often it was used, or what the asset is.
            _ => return None,
        });
    }
    // All times move together: the first instant at which all hold.
    let mut at = world.now;
    for _ in 0..MAX_INSTANTS {
        let then = World { now: at, ..world.clone() };
        if holds(&timed, &then) {
            if at != world.now {
                steps.push(Step::Wait(at));
            }
            return Some(steps);
        }
        let next = timed.iter().filter_map(|one| (one.atomic.operand?.next)(one.atomic, &then));
        at = next.min()?;
    }
    None
}

/// Whether the request is permitted once the steps are taken.
fn permits(policy: &Policy, request: &Request<'_>, world: &World<'_>, steps: &[Step]) -> bool {
    let mut asked = *request;
    let mut facts: Facts = world.stated.clone();
    let mut record: Record = world.record.clone();
    let mut now = world.now;
    for step in steps {
        match step {
            Step::Action(action) => asked.action = action,
            Step::Asset(asset) => asked.target = Some(asset),
            Step::Fulfil(rule, _) => {
                let late = record.violated.contains(rule)
                    || policy.obligations.iter().any(|duty| {
                        duty.path == *rule && duty::state(duty, request, world) == DutyState::Violated
                    });
                let at = late.then_some(world.now);
                record.performed.push(Performed { rule: rule.clone(), at });
            }
            Step::Party(party) => asked.party = party,
            // What a credential must hold to say so is for its issuer.
            Step::Present(..) => return true,
            Step::State(left, value) => {
                let (left, unit) =
                    left.split_once(' ').map_or((left.as_str(), None), |(left, unit)| (left, Some(unit)));
                facts.restate(left, unit, value.clone());
            }
            Step::Wait(until) => now = *until,
        }
    }
    let then = World { now, stated: &facts, record: &record, ..world.clone() };
    decide(policy, &asked, &then).outcome == Outcome::Permit
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use crate::Question;
    use crate::hierarchy::Hierarchy;

    fn advice(policy: Json, action: &str, world: Json) -> String {
        let request = json!({"permission": [{"assignee": "urn:alice", "action": action, "target": "urn:x"}]});
        let now = "2026-06-01T12:00:00Z".parse().unwrap();
        let question = Question::parse(&policy, &[], &request, &world, now, Hierarchy::shipped()).unwrap();
        question.advice().map_or_else(String::new, |advice| advice.to_string())
    }

    fn c(left: &str, operator: &str, right: impl Into<Json>) -> Json {
        json!({"leftOperand": left, "operator": operator, "rightOperand": right.into()})
    }

    fn with(constraints: Json) -> Json {
        json!({"permission": [{"action": "use", "constraint": constraints}]})
    }

    #[test]
    fn the_smallest_change_is_named() {
        let terms = with(json!([{"or": [
            {"and": [c("spatial", "eq", "BE"), c("purpose", "eq", "urn:p:a")]},
            {"and": [c("purpose", "isAnyOf", json!(["urn:p:b", "urn:p:c"])), c("dateTime", "lt", "2027-01-01")]}]}]));
        assert_eq!(
            advice(terms.clone(), "read", json!({"places": ["FR"]})),
            "to be permitted: state the purpose `urn:p:b`"
        );
        assert_eq!(
            advice(terms.clone(), "read", json!({"places": ["BE"], "currentTime": "2027-06-01T00:00:00Z"})),
            "to be permitted: state the purpose `urn:p:a`"
        );
        assert_eq!(advice(terms, "read", json!({"purposes": ["urn:p:c"]})), "");
    }

    #[test]
    fn time_can_be_waited_for_but_not_turned_back() {
        let between = with(json!([c("dateTime", "gt", "2026-07-01"), c("dateTime", "lt", "2026-08-01")]));
        assert_eq!(
            advice(between.clone(), "read", json!({})),
            "to be permitted: wait until 2026-07-02T00:00:00Z"
        );
        let after = json!({"currentTime": "2026-09-01T00:00:00Z"});
        assert!(advice(between, "read", after).starts_with("nothing within these terms"));
        let hours = with(json!([
            c("dateTime", "gteq", json!({"@value": "18:00:00Z", "@type": "xsd:time"})),
            c("delayPeriod", "gteq", "P2D")
        ]));
        assert_eq!(
            advice(hours, "read", json!({"since": "2026-06-01T00:00:00Z"})),
            "to be permitted: wait until 2026-06-03T18:00:00Z"
        );
        let spent = with(json!([c("count", "lteq", "3")]));
        assert!(advice(spent, "read", json!({"count": 4})).starts_with("nothing within these terms"));
    }

    #[test]
    fn prohibitions_duties_parties_and_actions() {
        let mut policy = with(json!([]));
        policy["prohibition"] = json!([{"action": "use", "constraint": [c("spatial", "isAnyOf", json!(["GB"])), c("purpose", "eq", "urn:p:a")]}]);
        let here = json!({"places": ["GB"], "purposes": ["urn:p:a"]});
        assert!(advice(policy, "read", here).starts_with("to be permitted: state the place of use "));
        let mut policy = with(json!([]));
        policy["permission"][0]["duty"] = json!([{"action": "compensate"}]);
        assert_eq!(advice(policy, "read", json!({})), "to be permitted: do this: compensate");
        assert_eq!(advice(with(json!([])), "sell", json!({})), "to be permitted: ask for the action `use`");
        let of_bob = json!({"permission": [{"action": "use", "assignee": "urn:bob", "target": "urn:y"}]});
        assert_eq!(advice(of_bob, "read", json!({})), "to be permitted: be `urn:bob`; and ask for `urn:y`");
        let role = with(json!([c("urn:concordat:role", "eq", "auditor")]));
        assert_eq!(
            advice(role, "read", json!({})),
            "to be permitted: show a credential with a role `auditor`"
        );
        let mut late = with(json!([]));
        late["obligation"] = json!([{"action": "delete", "constraint": [c("dateTime", "lt", "2026-01-01")],
            "consequence": [{"action": "compensate"}]}]);
        assert_eq!(
            advice(late, "read", json!({})),
            "to be permitted: do this: delete, provided that the time must be before 2026-01-01 (UTC); if that is not \
             met in time, also: [compensate]; and do this: compensate"
        );
    }
}
