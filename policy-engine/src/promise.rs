//! What the assignee of an agreement bound itself to by signing it.

use crate::alternatives::{all, negated_all, product};
use crate::compatible::{by_fact, clauses};
use crate::hierarchy::Hierarchy;
use crate::model::{About, Policy};
use crate::operand::Change;
use crate::satisfy::witness;
use crate::world::Facts;

/// A use within the terms: for each left operand that only the user can state (purpose, place, industry and so on) a
/// value that the first permission allows and no prohibition excludes. Whoever signed the terms promised to stay within
/// them, so such a value stands for the use; what the user states otherwise takes its place.
#[must_use]
pub fn promised(policy: &Policy, known: &Hierarchy) -> Facts {
    let (permissions, prohibitions) = clauses(policy);
    let Some(permission) = permissions.first() else { return Facts::default() };
    let wanted = all(&permission.conditions).unwrap_or_default();
    // What is only promised against prohibitions comes second: it may be impossible to name.
    let against = prohibitions
        .iter()
        .filter(|rule| crate::action::covers(&rule.action, &permission.action, known))
        .try_fold(wanted.clone(), |so_far, rule| product(&so_far, &negated_all(&rule.conditions)?));
    against
        .into_iter()
        .flatten()
        .chain(wanted)
        .find_map(|alternative| {
            let mut facts = Facts::default();
            for ((about, left, unit), literals) in by_fact(&alternative) {
                let stated = literals.iter().any(|literal| {
                    literal.atomic.operand.is_some_and(|operand| operand.changes == Change::Statement)
                });
                if stated && about == About::Use {
                    facts.restate(left, unit, witness(&literals, known)?);
                }
            }
            Some(facts)
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{Outcome, Request, World, decide};

    fn permitted(policy: Json) -> bool {
        let policy = Policy::parse(&policy).unwrap();
        let known = Hierarchy::shipped();
        let facts = promised(&policy, &known);
        let world = World { stated: &facts, ..World::at(jiff::Timestamp::UNIX_EPOCH, &known) };
        let request = Request { action: "use", party: "urn:a", target: None };
        decide(&policy, &request, &world).outcome == Outcome::Permit
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
