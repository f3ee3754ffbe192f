//! The compliance report: per rule whether it is active, per premise whether it is satisfied (after the compliance
//! report model of the ODRL evaluation cases).

use crate::evaluate::{DutyState, Request, Truth, World, covers, decide, duty_report};
use crate::explain;
use crate::model::{ANY_ACTION, Policy, Rule, RuleKind};

/// Whether a premise of a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Satisfaction {
    /// It holds.
    Satisfied,
    /// What is known does not decide.
    Unknown,
    /// It does not hold.
    Unsatisfied,
}

/// What a premise is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PremiseKind {
    /// The action asked for is the rule's, or included in it.
    Action,
    /// A constraint of the rule, logical ones as a whole.
    Constraint,
    /// The party who asks is the rule's assignee, or part of it.
    Party,
    /// The asset asked for is the rule's target, or part of it.
    Target,
}

/// One premise of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Premise {
    /// What it is about.
    pub kind: PremiseKind,
    /// JSON pointer of what states it, inside the policy.
    pub path: String,
    /// Whether it holds.
    pub satisfaction: Satisfaction,
    /// Why it does not hold, or why that is not known.
    pub reason: Option<String>,
}

/// Whether a rule is in force for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// In force: a permission permits, a prohibition forbids, an obligation binds.
    Active,
    /// Not in force.
    Inactive,
}

/// What a rule says of the request.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleReport {
    /// Permission, prohibition or duty.
    pub kind: RuleKind,
    /// JSON pointer of the rule inside the policy.
    pub rule: String,
    /// Whether it is in force.
    pub activation: Activation,
    /// Its premises: constraints, action, party, target, as far as the rule has them.
    pub premises: Vec<Premise>,
    /// The rule's own state if it is an obligation.
    pub state: Option<DutyState>,
    /// The state of the duties a permission depends on, with their JSON pointers.
    pub duties: Vec<(String, DutyState)>,
}

/// Reports on every rule of `policy` for `request` in `world`.
///
/// A permission is active when all its premises hold and none of its duties is violated; a duty still to do does not
/// make it inactive, for the use may be what makes it due. (The gate is stricter: [`crate::evaluate`] waits for the
/// duty.) What is unknown leaves a permission inactive, and a prohibition or an obligation active.
#[must_use]
pub fn report(policy: &Policy, request: &Request<'_>, world: &World<'_>) -> Vec<RuleReport> {
    policy.rules().map(|rule| rule_report(policy, rule, request, world)).collect()
}

fn rule_report(policy: &Policy, rule: &Rule, request: &Request<'_>, world: &World<'_>) -> RuleReport {
    let premises = premises(policy, rule, request, world);
    let duties: Vec<_> =
        rule.duties.iter().map(|duty| (duty.path.clone(), duty_report(duty, request, world).state)).collect();
    let every = |wanted: &dyn Fn(Satisfaction) -> bool| premises.iter().all(|one| wanted(one.satisfaction));
    let active = match rule.kind {
        RuleKind::Permission => {
            every(&|one| one == Satisfaction::Satisfied)
                && duties.iter().all(|(_, state)| *state != DutyState::Violated)
        }
        RuleKind::Prohibition | RuleKind::Duty => every(&|one| one != Satisfaction::Unsatisfied),
    };
    let state = (rule.kind == RuleKind::Duty).then(|| duty_report(rule, request, world).state);
    let activation = if active { Activation::Active } else { Activation::Inactive };
    RuleReport { kind: rule.kind, rule: rule.path.clone(), activation, premises, state, duties }
}

fn premises(policy: &Policy, rule: &Rule, request: &Request<'_>, world: &World<'_>) -> Vec<Premise> {
    let mut premises: Vec<_> = rule
        .constraints
        .iter()
        .enumerate()
        .map(|(index, constraint)| {
            let path = format!("{}/constraint/{index}", rule.path);
            premise(PremiseKind::Constraint, path, decide(constraint, request, world))
        })
        .collect();
    // What an obligation demands is not what the request asks for.
    if rule.kind != RuleKind::Duty && rule.action != ANY_ACTION {
        let truth = if covers(&rule.action, request.action) {
            Truth::True
        } else {
            let (own, asked) = (explain::label(&rule.action), request.action);
            Truth::False(format!("the rule is about `{own}`, not about `{asked}`"))
        };
        premises.push(premise(PremiseKind::Action, format!("{}/action", rule.path), truth));
    }
    let of = |own: &Option<String>, whole: &Option<String>, key: &str| match (own, whole) {
        (Some(own), _) => Some((own.clone(), format!("{}/{key}", rule.path))),
        (None, Some(whole)) => Some((whole.clone(), format!("/{key}"))),
        (None, None) => None,
    };
    if let Some((party, path)) = of(&rule.assignee, &policy.assignee, "assignee") {
        let truth = belongs(Some(request.party), &party, world);
        premises.push(premise(PremiseKind::Party, path, truth));
    }
    if let Some((asset, path)) = of(&rule.target, &policy.target, "target") {
        premises.push(premise(PremiseKind::Target, path, belongs(request.target, &asset, world)));
    }
    premises
}

/// Whether `asked` is `whole` or part of it.
fn belongs(asked: Option<&str>, whole: &str, world: &World<'_>) -> Truth {
    match asked {
        None => Truth::Unknown(format!("the rule is for `{whole}`, and nothing is asked for by name")),
        Some(asked) if world.hierarchy.is_within(asked, whole) => Truth::True,
        Some(asked) => {
            Truth::False(format!("the rule is for `{whole}`, and `{asked}` is not known to be part of it"))
        }
    }
}

fn premise(kind: PremiseKind, path: String, truth: Truth) -> Premise {
    let (satisfaction, reason) = match truth {
        Truth::True => (Satisfaction::Satisfied, None),
        Truth::Unknown(why) => (Satisfaction::Unknown, Some(why)),
        Truth::False(why) => (Satisfaction::Unsatisfied, Some(why)),
    };
    Premise { kind, path, satisfaction, reason }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use crate::{Compatibility, Hierarchy, Policy, Question, compatible, contained, within};

    fn ask(policy: Json, world: Json) -> Question {
        let request = json!({"permission": [{"assignee": "urn:alice", "action": "read", "target": "urn:x"}]});
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Question::parse(&policy, &request, &world, now, Hierarchy::default()).unwrap()
    }

    fn activations(question: &Question) -> Vec<Json> {
        let report = question.report_json();
        report.as_array().unwrap().iter().map(|rule| rule.get("activation").unwrap().clone()).collect()
    }

    #[test]
    fn a_rule_of_its_own_party_speaks_of_that_party_only() {
        let policy = json!({"@type": "Set", "permission": [{"action": "use"}],
            "prohibition": [{"action": "use", "assignee": "urn:guests"}]});
        let stranger = ask(policy.clone(), json!({}));
        assert!(stranger.decide().is_permit());
        assert_eq!(activations(&stranger), ["Active", "Inactive"]);
        let guest = ask(policy, json!({"partOf": [["urn:alice", "urn:guests"]]}));
        assert!(!guest.decide().is_permit());
        assert_eq!(activations(&guest), ["Active", "Active"]);
        let bob = ask(json!({"permission": [{"action": "use", "assignee": "urn:bob"}]}), json!({}));
        assert_eq!(
            bob.decide().reason(),
            "the permissions that cover `read` are for another party or another asset"
        );
    }

    #[test]
    fn the_unknown_neither_permits_nor_frees() {
        let constraint = json!([{"leftOperand": "purpose", "operator": "eq", "rightOperand": "urn:p"}]);
        let question = ask(
            json!({"permission": [{"action": "use", "constraint": constraint}],
                "prohibition": [{"action": "use", "constraint": constraint}]}),
            json!({}),
        );
        assert_eq!(activations(&question), ["Inactive", "Active"]);
        let report = question.report_json();
        assert_eq!(report.pointer("/0/premises/0/satisfaction"), Some(&json!("Unknown")));
        assert!(!question.decide().is_permit());
    }

    #[test]
    fn obligations_and_violated_duties_are_reported() {
        let policy = json!({"permission": [{"action": "use", "duty": [{"@id": "urn:d", "action": "inform"}]}],
            "obligation": [{"@id": "urn:o", "action": "delete"}]});
        let pending = ask(policy.clone(), json!({}));
        assert_eq!(activations(&pending), ["Active", "Active"]);
        assert!(!pending.decide().is_permit(), "the gate waits for the duty");
        let duty = |rule: &str, deontic: &str| json!({"duties": [{"rule": rule, "deontic": deontic}]});
        assert!(ask(policy.clone(), duty("urn:d", "Fulfilled")).decide().is_permit());
        assert_eq!(
            activations(&ask(policy.clone(), duty("/permission/0/duty/0", "Violated"))),
            ["Inactive", "Active"]
        );
        let late = ask(policy, duty("urn:o", "Violated"));
        assert_eq!(late.report_json().pointer("/1/deontic"), Some(&json!("Violated")));
        assert!(!late.decide().is_permit());
    }

    #[test]
    fn rules_of_their_own_party_are_not_compared() {
        let scoped = json!({"permission": [{"action": "use", "assignee": "urn:bob"}]});
        assert!(Policy::parse(&scoped).is_err(), "not in the protocol's profile");
        let scoped = Policy::parse_odrl(&scoped).unwrap();
        let open = Policy::parse(&json!({"permission": [{"action": "use"}]})).unwrap();
        let known = Hierarchy::default();
        assert!(matches!(compatible(&scoped, &open, &known), Compatibility::Unknown(_)));
        assert_eq!(contained(&open, &scoped, &known), None);
        assert!(within(&open, &scoped, &known).reason().is_some());
    }

    #[test]
    fn a_bad_question_names_the_place() {
        let policy = json!({"permission": [{"action": "use"}]});
        let request = json!({"permission": [{"assignee": "urn:alice", "action": "read"}]});
        let refused = |policy: &Json, request: &Json, world: Json| {
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            Question::parse(policy, request, &world, now, Hierarchy::default()).unwrap_err().to_string()
        };
        assert_eq!(
            refused(&policy, &json!({}), json!({})),
            "request: /permission/0/action: is missing, or is not a string"
        );
        assert_eq!(
            refused(&policy, &request, json!({"partOf": [["urn:a"]]})),
            "world: /partOf/0: must be a pair of strings"
        );
        assert!(refused(&policy, &request, json!({"currentTime": "now"})).starts_with("world: /currentTime"));
        assert_eq!(refused(&policy, &request, json!({"count": -1})), "world: /count: is not a whole number");
        let refined =
            json!({"permission": [{"action": "use", "assignee": {"@id": "urn:c", "refinement": []}}]});
        assert!(refused(&refined, &request, json!({})).starts_with("/permission/0/assignee/refinement"));
    }
}
