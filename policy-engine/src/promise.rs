//! What the assignee of an agreement bound itself to by signing it.

use crate::action::covers;
use crate::alternatives::{Alternative, all, negated_all, product};
use crate::compatible::{by_fact, clauses};
use crate::evaluate::{Decision, evaluate};
use crate::hierarchy::Hierarchy;
use crate::model::{About, Policy};
use crate::operand::Change;
use crate::satisfy::witness;
use crate::world::{Facts, Request, World};

/// Uses `action` within the terms: for each left operand that only the user can state (purpose, place, industry and so on) a
/// value that a permission allows and no prohibition excludes. There is one for each permission that covers the action, and
/// for each of the ways in which it may be kept. Whoever signed the terms promised to stay within them, so such values
/// stand for the use; what the user states otherwise takes their place.
#[must_use]
pub fn promised(policy: &Policy, action: &str, known: &Hierarchy) -> Vec<Facts> {
    let (permissions, prohibitions) = clauses(policy, known);
    let mut uses: Vec<Facts> = Vec::new();
    for permission in permissions.iter().filter(|rule| covers(rule.action, action, known)) {
        let wanted = all(&permission.conditions).unwrap_or_default();
        // What is only promised against prohibitions comes second: it may be impossible to name.
        let against = prohibitions
            .iter()
            .filter(|rule| covers(rule.action, action, known))
            .try_fold(wanted.clone(), |so_far, rule| product(&so_far, &negated_all(&rule.conditions)?));
        for way in against.into_iter().flatten().chain(wanted) {
            if let Some(facts) = within(&way, known)
                && !uses.contains(&facts)
            {
                uses.push(facts);
            }
        }
    }
    uses
}

/// What a user states who keeps to one way; `None` where that cannot be named.
fn within(way: &Alternative<'_>, known: &Hierarchy) -> Option<Facts> {
    let mut facts = Facts::default();
    for ((about, left, unit), literals) in by_fact(way) {
        let stated = literals.iter().any(|literal| {
            literal.atomic.operand.is_some_and(|operand| operand.changes == Change::Statement)
        });
        if stated && about == About::Use {
            facts.restate(left, unit, witness(&literals, known)?);
        }
    }
    Some(facts)
}

/// Decides a request of somebody who promised one of several uses: the first that is permitted, or else the first.
pub fn evaluate_promised(
    policy: &Policy,
    request: &Request<'_>,
    world: &World<'_>,
    promised: &[Facts],
) -> Decision {
    let mut first = None;
    for stated in promised {
        let decision = evaluate(policy, request, &World { stated, ..world.clone() });
        if decision.is_permit() {
            return decision;
        }
        first = first.or(Some(decision));
    }
    first.unwrap_or_else(|| evaluate(policy, request, world))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn permitted(policy: Json) -> bool {
        permitted_at(policy, "1970-01-01T00:00:00Z")
    }

    fn permitted_at(policy: Json, now: &str) -> bool {
        let policy = Policy::parse(&policy).unwrap();
        let known = Hierarchy::shipped();
        let world = World::at(now.parse().unwrap(), &known);
        let request = Request { action: "use", party: "urn:a", target: None };
        evaluate_promised(&policy, &request, &world, &promised(&policy, "use", &known)).is_permit()
    }

    #[test]
    fn terms_are_judged_by_the_permission_that_applies() {
        let c = |left: &str, operator: &str, right: &str| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
        let until = |when: &str| c("dateTime", "lt", when);
        // The first is about another action.
        assert!(permitted(json!({"permission": [
            {"action": "distribute", "constraint": [c("spatial", "eq", "BE")]},
            {"action": "use", "constraint": [c("purpose", "eq", "urn:p")]}]})));
        // The first is over, the second is for another purpose.
        let two = json!({"permission": [
            {"action": "use", "constraint": [c("purpose", "eq", "urn:p"), until("2026-01-01")]},
            {"action": "use", "constraint": [c("purpose", "eq", "urn:q"), until("2027-01-01")]}]});
        assert!(permitted_at(two.clone(), "2025-06-01T00:00:00Z"));
        assert!(permitted_at(two.clone(), "2026-06-01T00:00:00Z"));
        assert!(!permitted_at(two, "2027-06-01T00:00:00Z"));
        // So are the ways of one permission.
        let ways = json!({"permission": [{"action": "use", "constraint": [{"xone": [
            {"and": [c("purpose", "eq", "urn:p"), until("2026-01-01")]},
            {"and": [c("spatial", "eq", "BE"), until("2027-01-01")]}]}]}]});
        assert!(permitted_at(ways.clone(), "2025-06-01T00:00:00Z"));
        assert!(permitted_at(ways, "2026-06-01T00:00:00Z"));
        // A prohibition still holds against all of them.
        let none = json!({"permission": [{"action": "use"}, {"action": "use", "constraint": [c("purpose", "eq", "urn:p")]}],
            "prohibition": [{"action": "use"}]});
        assert!(!permitted(none));
    }

    #[test]
    fn whoever_signed_stays_within_the_terms() {
        let c = |left: &str, operator: &str, right: &str| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
        let with = |constraints: Json| json!({"permission": [{"action": "use", "constraint": constraints}]});
        assert!(permitted(with(json!([
            c("purpose", "isA", "urn:p"),
            c("spatial", "isPartOf", "EU"),
            c("spatial", "neq", "BE")
        ]))));
        assert!(permitted(with(
            json!([c("percentage", "lteq", "50"), {"or": [c("industry", "eq", "urn:i"), c("language", "eq", "de")]}])
        )));
        let mut not_there = with(json!([c("purpose", "eq", "urn:p")]));
        not_there["prohibition"] = json!([{"action": "use", "constraint": [c("spatial", "isPartOf", "GB")]}]);
        assert!(permitted(not_there));
        assert!(
            !permitted(with(json!([c("dateTime", "gt", "2030-01-01")]))),
            "time is not for the user to state"
        );
        assert!(!permitted(with(json!([c("urn:concordat:role", "eq", "auditor")]))), "nor are credentials");
    }
}
