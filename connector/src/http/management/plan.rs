//! How a policy is evaluated, as EDC's clients ask it (PolicyEvaluationPlan): a step for each rule and each constraint, with
//! what of it this node does not understand and would therefore never find satisfied.

use serde_json::{Value, json};

use super::views;

/// Scopes that EDC's clients name: a policy means the same in each of them here.
const SCOPES: [&str; 9] = [
    "catalog",
    "catalog.request",
    "contract.negotiation",
    "contract.negotiation.request",
    "policy.monitor",
    "request.catalog",
    "request.contract.negotiation",
    "request.transfer.process",
    "transfer.process",
];
/// Deepest nesting of constraints.
const MAX_DEPTH: usize = 16;

/// The plan of `policy`, of which `doubts` are not understood (each begins with its place).
///
/// # Errors
/// The scope is none.
pub(super) fn of(policy: &Value, scope: &str, doubts: &[String]) -> Result<Value, String> {
    if !SCOPES.contains(&scope) {
        return Err(format!("policyScope: `{scope}` is none; {} are", SCOPES.join(", ")));
    }
    let policy = policy_engine::unrestricted(policy.clone());
    let steps = |kind: &str, step: &str| -> Vec<Value> {
        list(policy.get(kind))
            .into_iter()
            .enumerate()
            .map(|(index, rule)| rule_step(rule, step, &format!("/{kind}/{index}"), doubts))
            .collect()
    };
    Ok(json!({
        "@context": [views::CONTEXT], "@type": "PolicyEvaluationPlan",
        "preValidators": [], "postValidators": [],
        "permissionSteps": steps("permission", "PermissionStep"),
        "prohibitionSteps": steps("prohibition", "ProhibitionStep"),
        "dutySteps": steps("obligation", "DutyStep"),
    }))
}

fn rule_step(rule: &Value, kind: &str, path: &str, doubts: &[String]) -> Value {
    let constraints = list(rule.get("constraint")).into_iter().enumerate();
    let constraints: Vec<_> = constraints
        .map(|(index, one)| constraint_step(one, &format!("{path}/constraint/{index}"), doubts, 0))
        .collect();
    // What is said of the rule itself, not of its constraints.
    let reasons: Vec<_> = about(doubts, path).filter(|doubt| !doubt.contains("/constraint/")).collect();
    let mut step = json!({
        "@type": kind, "isFiltered": !reasons.is_empty(), "filteringReasons": reasons, "constraintSteps": constraints,
        "ruleFunctions": [],
    });
    if kind == "PermissionStep"
        && let Some(map) = step.as_object_mut()
    {
        let duties = list(rule.get("duty")).into_iter().enumerate();
        let duties =
            duties.map(|(index, one)| rule_step(one, "DutyStep", &format!("{path}/duty/{index}"), doubts));
        map.insert("dutySteps".to_owned(), duties.collect());
    }
    step
}

fn constraint_step(constraint: &Value, path: &str, doubts: &[String], depth: usize) -> Value {
    let several = [("and", "And"), ("or", "Or"), ("xone", "Xone"), ("andSequence", "And")];
    if depth < MAX_DEPTH
        && let Some((name, kind)) = several.into_iter().find(|(name, _)| constraint.get(*name).is_some())
    {
        let inner = list(constraint.get(name)).into_iter().enumerate();
        let inner = inner
            .map(|(index, one)| constraint_step(one, &format!("{path}/{name}/{index}"), doubts, depth + 1));
        return json!({"@type": format!("{kind}ConstraintStep"), "constraintSteps": inner.collect::<Vec<_>>()});
    }
    let reasons: Vec<_> = about(doubts, path).collect();
    let text = |name: &str| match constraint.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(map)) => {
            let value = map.get("@id").or_else(|| map.get("@value"));
            value.map_or_else(
                || json!(map).to_string(),
                |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            )
        }
        Some(other) => other.to_string(),
        None => String::new(),
    };
    json!({
        "@type": "AtomicConstraintStep", "isFiltered": !reasons.is_empty(), "filteringReasons": reasons,
        "functionName": text("leftOperand"),
        "functionParams": [text("leftOperand"), text("operator"), text("rightOperand")],
    })
}

fn about<'a>(doubts: &'a [String], path: &'a str) -> impl Iterator<Item = &'a String> {
    doubts
        .iter()
        .filter(move |doubt| doubt.strip_prefix(path).is_some_and(|rest| rest.starts_with(['/', ':', ' '])))
}

/// The values of a list, or the one value.
fn list(value: Option<&Value>) -> Vec<&Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
    }
}
