//! The compliance report: per rule whether it is active, per premise whether it is satisfied (after the compliance
//! report model of the ODRL evaluation cases).

use crate::action::covers;
use crate::duty::{self, DutyState};
use crate::evaluate::{Truth, all, is_asset, is_party, truth};
use crate::explain::{self, quoted};
use crate::model::{ANY_ACTION, Constraint, Policy, Rule, RuleKind, Scope};
use crate::world::{Request, World};

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
        rule.duties.iter().map(|duty| (duty.path.clone(), duty::state(duty, request, world))).collect();
    let every = |wanted: &dyn Fn(Satisfaction) -> bool| premises.iter().all(|one| wanted(one.satisfaction));
    let active = match rule.kind {
        RuleKind::Permission => {
            every(&|one| one == Satisfaction::Satisfied)
                && duties.iter().all(|(_, state)| *state != DutyState::Violated)
        }
        RuleKind::Prohibition | RuleKind::Duty => every(&|one| one != Satisfaction::Unsatisfied),
    };
    let state = (rule.kind == RuleKind::Duty).then(|| duty::state(rule, request, world));
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
            premise(PremiseKind::Constraint, path, said(truth(constraint, request, world), request, world))
        })
        .collect();
    let mut add = |kind, path: String, own: Said, refinements: &[Constraint]| {
        let said = own.and_then(|| said(all(refinements.iter(), request, world), request, world));
        premises.push(premise(kind, path, said));
    };
    // What an obligation demands is not what the request asks for.
    if rule.kind != RuleKind::Duty && rule.action != ANY_ACTION {
        let own = if covers(&rule.action, request.action, world.hierarchy) {
            Said::Holds
        } else {
            let (own, asked) = (quoted(&rule.action), quoted(request.action));
            Said::Fails(format!("the rule is about {own}, not about {asked}"))
        };
        add(PremiseKind::Action, format!("{}/action", rule.path), own, &rule.refinements);
    }
    for (kind, key, own, whole, asked) in [
        (PremiseKind::Party, "assignee", &rule.assignee, &policy.assignee, Some(request.party)),
        (PremiseKind::Target, "target", &rule.target, &policy.target, request.target),
    ] {
        let (scope, path) = match (own, whole) {
            (Some(own), _) => (own.clone(), format!("{}/{key}", rule.path)),
            (None, Some(whole)) => {
                (Scope { id: Some(whole.clone()), refinements: Vec::new() }, format!("/{key}"))
            }
            (None, None) => continue,
        };
        let member = scope.id.as_deref().map_or(Said::Holds, |whole| belongs(asked, whole, world));
        add(kind, path, member, &scope.refinements);
    }
    premises
}

/// What a premise says, with the reason where it does not hold.
enum Said {
    Fails(String),
    Holds,
    Unknown(String),
}

impl Said {
    fn and_then(self, other: impl FnOnce() -> Self) -> Self {
        match (self, other) {
            (Self::Holds, other) => other(),
            (Self::Unknown(why), other) => match other() {
                fails @ Self::Fails(_) => fails,
                Self::Holds | Self::Unknown(_) => Self::Unknown(why),
            },
            (fails, _) => fails,
        }
    }
}

fn said(truth: Truth<'_>, request: &Request<'_>, world: &World<'_>) -> Said {
    match truth {
        Truth::True => Said::Holds,
        Truth::False(why) => Said::Fails(explain::why(why, request, world)),
        Truth::Unknown(why) => Said::Unknown(explain::why(why, request, world)),
    }
}

/// Whether `asked` is `whole` or part of it.
fn belongs(asked: Option<&str>, whole: &str, world: &World<'_>) -> Said {
    match asked {
        None => Said::Unknown(format!("the rule is for {}, and nothing is asked for by name", quoted(whole))),
        Some(asked) if is_party(asked, whole, world) || is_asset(asked, whole, world) => Said::Holds,
        Some(asked) => {
            let (whole, asked) = (quoted(whole), quoted(asked));
            Said::Fails(format!("the rule is for {whole}, and {asked} is not known to be part of it"))
        }
    }
}

fn premise(kind: PremiseKind, path: String, said: Said) -> Premise {
    let (satisfaction, reason) = match said {
        Said::Holds => (Satisfaction::Satisfied, None),
        Said::Unknown(why) => (Satisfaction::Unknown, Some(why)),
        Said::Fails(why) => (Satisfaction::Unsatisfied, Some(why)),
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
        Question::parse(&policy, &[], &request, &world, now, Hierarchy::default()).unwrap()
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
    fn rules_of_their_own_party_are_compared_by_it() {
        let of = |party: &str| json!({"permission": [{"action": "use", "assignee": party}]});
        assert!(Policy::parse(&of("urn:bob")).is_err(), "not in the protocol's profile");
        let (bob, alice) =
            (Policy::parse_odrl(&of("urn:bob")).unwrap(), Policy::parse_odrl(&of("urn:alice")).unwrap());
        let open = Policy::parse(&json!({"permission": [{"action": "use"}]})).unwrap();
        let known = Hierarchy::default();
        assert_eq!(compatible(&bob, &open, &known), Compatibility::Compatible);
        assert!(
            matches!(compatible(&bob, &alice, &known), Compatibility::Unknown(_)),
            "both may be one's members"
        );
        assert_eq!(contained(&bob, &open, &known), Some(true));
        assert_eq!(contained(&open, &bob, &known), Some(false));
        assert!(within(&open, &bob, &known).reason().is_some());
        let mut apart = Hierarchy::default();
        apart.add_disjoint("urn:bob", "urn:alice");
        assert!(matches!(compatible(&bob, &alice, &apart), Compatibility::Conflict(_)));
    }

    #[test]
    fn a_bad_question_names_the_place() {
        let policy = json!({"permission": [{"action": "use"}]});
        let request = json!({"permission": [{"assignee": "urn:alice", "action": "read"}]});
        let refused = |policy: &Json, request: &Json, world: Json| {
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            Question::parse(policy, &[], request, &world, now, Hierarchy::default()).unwrap_err().to_string()
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
        let refined = json!({"permission": [{"action": "use", "assignee": {"refinement": "x"}}]});
        assert!(refused(&refined, &request, json!({})).starts_with("/permission/0/assignee/refinement"));
        assert!(
            refused(&policy, &request, json!({"stated": {"percentage": "many"}}))
                .starts_with("world: /stated")
        );
    }
}
