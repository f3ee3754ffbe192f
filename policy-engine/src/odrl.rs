//! ODRL as the Dataspace Protocol's schema has it, parsed into the model; errors carry the JSON pointer.
//!
//! Prefixed terms (`odrl:use`) and full ODRL IRIs are read as the compact term. Bounds: see the constants.

use serde_json::{Map, Value as Json};

use crate::error::PolicyError;
use crate::model::{ANY_ACTION, Atomic, Constraint, Kind, Logical, Operator, Policy, Rule, RuleKind, Value};
use crate::operand::{OperandKind, known, parse_instant};

/// Deepest nesting of logical constraints.
const MAX_DEPTH: usize = 8;
/// Most rules in one policy, duties included.
const MAX_RULES: usize = 256;
/// Most constraints in one policy, logical ones included.
const MAX_CONSTRAINTS: usize = 1024;
/// Most values in one right operand.
const MAX_VALUES: usize = 1024;
/// Longest string anywhere, in bytes.
const MAX_TEXT: usize = 4096;

const ODRL: &str = "http://www.w3.org/ns/odrl/2/";

impl Policy {
    /// Reads a policy in the compact JSON form (contract-schema.json of the Dataspace Protocol 2025-1).
    ///
    /// # Errors
    /// Names the JSON pointer and the reason: a missing or mistyped property, an unknown operator, a right operand
    /// that does not fit its left operand, no permission and no prohibition, or a bound exceeded.
    pub fn parse(json: &Json) -> Result<Self, PolicyError> {
        Parser::default().policy(json)
    }

    /// Reads what ODRL allows beyond the Dataspace Protocol's profile: rules with a party or an asset of their own,
    /// each an IRI or a collection (ODRL 2.2, sections 2.2.1 and 2.3.1), and rules without an action, which speak of
    /// every action. For files and tests; what peers send is read by [`Self::parse`].
    ///
    /// # Errors
    /// As [`Self::parse`]; and a collection with a refinement, which this engine does not decide.
    pub fn parse_odrl(json: &Json) -> Result<Self, PolicyError> {
        Parser { scoped: true, ..Parser::default() }.policy(json)
    }
}

#[derive(Default)]
struct Parser {
    /// Whether rules may have a party and an asset of their own, and lack an action.
    scoped: bool,
    rules: usize,
    constraints: usize,
}

impl Parser {
    fn policy(&mut self, json: &Json) -> Result<Policy, PolicyError> {
        let map = object(json, "")?;
        let kind = match map.get("@type").and_then(Json::as_str).map(term) {
            Some("Offer") | None => Kind::Offer,
            Some("Agreement") => Kind::Agreement,
            Some("Set") => Kind::Set,
            Some(other) => {
                return Err(PolicyError::new("/@type", format!("`{other}` is not Offer, Agreement or Set")));
            }
        };
        let policy = Policy {
            id: optional_text(map, "@id", "")?.unwrap_or_default(),
            kind,
            target: optional_text(map, "target", "")?,
            assigner: optional_text(map, "assigner", "")?,
            assignee: optional_text(map, "assignee", "")?,
            permissions: self.rules(map, "permission", "", RuleKind::Permission)?,
            prohibitions: self.rules(map, "prohibition", "", RuleKind::Prohibition)?,
            obligations: self.rules(map, "obligation", "", RuleKind::Duty)?,
        };
        if policy.permissions.is_empty() && policy.prohibitions.is_empty() {
            return Err(PolicyError::new("", "a policy needs at least one permission or prohibition"));
        }
        if kind == Kind::Agreement {
            for (name, value) in
                [("target", &policy.target), ("assigner", &policy.assigner), ("assignee", &policy.assignee)]
            {
                if value.is_none() {
                    return Err(PolicyError::new(format!("/{name}"), "an agreement must have it"));
                }
            }
        }
        Ok(policy)
    }

    fn rules(
        &mut self,
        map: &Map<String, Json>,
        key: &str,
        path: &str,
        kind: RuleKind,
    ) -> Result<Vec<Rule>, PolicyError> {
        let path = format!("{path}/{key}");
        let Some(json) = map.get(key) else { return Ok(Vec::new()) };
        array(json, &path)?
            .iter()
            .enumerate()
            .map(|(index, rule)| self.rule(rule, format!("{path}/{index}"), kind))
            .collect()
    }

    fn rule(&mut self, json: &Json, path: String, kind: RuleKind) -> Result<Rule, PolicyError> {
        self.rules += 1;
        if self.rules > MAX_RULES {
            return Err(PolicyError::new(path, format!("more than {MAX_RULES} rules")));
        }
        let map = object(json, &path)?;
        let action = match optional_text(map, "action", &path)? {
            Some(action) => action,
            None if self.scoped => ANY_ACTION.to_owned(),
            None => return Err(PolicyError::new(format!("{path}/action"), "every rule needs an action")),
        };
        for key in ["target", "assigner", "assignee"] {
            if map.contains_key(key) && !self.scoped {
                return Err(PolicyError::new(
                    format!("{path}/{key}"),
                    "stands at the policy, not at a rule (Dataspace Protocol, ODRL profile)",
                ));
            }
        }
        let constraints = match map.get("constraint") {
            None => Vec::new(),
            Some(list) => self.constraints(list, &format!("{path}/constraint"), 0)?,
        };
        let duties = if kind == RuleKind::Permission {
            self.rules(map, "duty", &path, RuleKind::Duty)?
        } else {
            Vec::new()
        };
        let assignee = scope(map, "assignee", &path)?;
        let target = scope(map, "target", &path)?;
        Ok(Rule { kind, path, action: term(&action).to_owned(), assignee, target, constraints, duties })
    }

    fn constraints(&mut self, json: &Json, path: &str, depth: usize) -> Result<Vec<Constraint>, PolicyError> {
        unlisted(array(json, path)?)
            .iter()
            .enumerate()
            .map(|(index, one)| self.constraint(one, format!("{path}/{index}"), depth))
            .collect()
    }

    fn constraint(&mut self, json: &Json, path: String, depth: usize) -> Result<Constraint, PolicyError> {
        self.constraints += 1;
        if self.constraints > MAX_CONSTRAINTS {
            return Err(PolicyError::new(path, format!("more than {MAX_CONSTRAINTS} constraints")));
        }
        if depth > MAX_DEPTH {
            return Err(PolicyError::new(path, format!("constraints nested deeper than {MAX_DEPTH}")));
        }
        let map = object(json, &path)?;
        let mut logical = None;
        for (key, value) in map {
            let found = match term(key) {
                "and" => Logical::And,
                "andSequence" => Logical::AndSequence,
                "or" => Logical::Or,
                "xone" => Logical::Xone,
                _ => continue,
            };
            if logical.replace((found, key, value)).is_some() {
                return Err(PolicyError::new(
                    path,
                    "a logical constraint has exactly one of and, andSequence, or, xone",
                ));
            }
        }
        let Some((logical, key, value)) = logical else {
            return self.atomic(map, path).map(Constraint::Atomic);
        };
        if map.contains_key("leftOperand") {
            return Err(PolicyError::new(path, "a constraint is either logical or atomic, not both"));
        }
        let parts = self.constraints(value, &format!("{path}/{key}"), depth + 1)?;
        if parts.is_empty() {
            return Err(PolicyError::new(format!("{path}/{key}"), "must not be empty"));
        }
        Ok(Constraint::Logical { logical, parts })
    }

    fn atomic(&self, map: &Map<String, Json>, path: String) -> Result<Atomic, PolicyError> {
        let need = |key: &str| {
            optional_text(map, key, &path)?
                .ok_or_else(|| PolicyError::new(format!("{path}/{key}"), "is missing"))
        };
        let left = term(&need("leftOperand")?).to_owned();
        let written = need("operator")?;
        let operator =
            Operator::ALL.into_iter().find(|known| known.term() == term(&written)).ok_or_else(|| {
                PolicyError::new(format!("{path}/operator"), format!("unknown operator `{written}`"))
            })?;
        let right_path = format!("{path}/rightOperand");
        let raw = map.get("rightOperand").ok_or_else(|| PolicyError::new(&right_path, "is missing"))?;
        let kind = known(&left);
        let right = match raw.get("@list").unwrap_or(raw) {
            Json::Array(list) if list.len() > MAX_VALUES => {
                return Err(PolicyError::new(right_path, format!("more than {MAX_VALUES} values")));
            }
            Json::Array(list) => {
                list.iter().map(|one| value(one, kind, &right_path)).collect::<Result<Vec<_>, _>>()?
            }
            one => vec![value(one, kind, &right_path)?],
        };
        if right.is_empty() {
            return Err(PolicyError::new(right_path, "must not be empty"));
        }
        if operator.is_ordering() && kind == Some(OperandKind::Term) {
            return Err(PolicyError::new(
                format!("{path}/operator"),
                format!("`{left}` has no order, so `{}` cannot compare it", operator.term()),
            ));
        }
        let one_only = operator.is_ordering() || matches!(operator, Operator::Eq | Operator::Neq);
        if one_only && right.len() > 1 {
            return Err(PolicyError::new(
                right_path,
                format!("`{}` compares with one value, not {}", operator.term(), right.len()),
            ));
        }
        Ok(Atomic { path, left, operator, right })
    }
}

/// The party or asset at `key`: an IRI, or the `@id` of a collection.
fn scope(map: &Map<String, Json>, key: &str, path: &str) -> Result<Option<String>, PolicyError> {
    let Some(Json::Object(collection)) = map.get(key) else { return optional_text(map, key, path) };
    let path = format!("{path}/{key}");
    if collection.contains_key("refinement") {
        return Err(PolicyError::new(format!("{path}/refinement"), "a refined collection cannot be decided"));
    }
    let id = optional_text(collection, "@id", &path)?;
    id.map(Some).ok_or_else(|| PolicyError::new(format!("{path}/@id"), "is missing"))
}

/// The kind of a typed literal.
fn literal_kind(json: &Json) -> Option<OperandKind> {
    let datatype = json.get("@type")?.as_str()?;
    match datatype
        .strip_prefix("xsd:")
        .or_else(|| datatype.strip_prefix("http://www.w3.org/2001/XMLSchema#"))?
    {
        "decimal" | "double" | "float" | "int" | "integer" | "long" | "nonNegativeInteger"
        | "positiveInteger" => Some(OperandKind::Number),
        "date" | "dateTime" | "dateTimeStamp" => Some(OperandKind::Instant),
        _ => None,
    }
}

fn value(json: &Json, kind: Option<OperandKind>, path: &str) -> Result<Value, PolicyError> {
    let text = match json {
        Json::String(text) => text.clone(),
        Json::Object(map) => match map.get("@value").or_else(|| map.get("@id")) {
            Some(Json::String(text)) => text.clone(),
            Some(Json::Number(number)) => number.to_string(),
            _ => return Err(PolicyError::new(path, "an object here needs `@value` or `@id`")),
        },
        _ => {
            return Err(PolicyError::new(
                path,
                "must be a string, an object or an array of these (contract-schema.json)",
            ));
        }
    };
    if text.len() > MAX_TEXT {
        return Err(PolicyError::new(path, format!("longer than {MAX_TEXT} bytes")));
    }
    // An operand this engine does not know has the type that its literal says.
    let kind = kind.or_else(|| literal_kind(json));
    match kind {
        None | Some(OperandKind::Term) => Ok(Value::Term(text)),
        Some(OperandKind::Instant) => parse_instant(&text).map(Value::Instant).ok_or_else(|| {
            PolicyError::new(path, format!("`{text}` is not an xsd:dateTime such as 2027-01-01T00:00:00Z"))
        }),
        Some(OperandKind::Number) => text
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .map(Value::Number)
            .ok_or_else(|| PolicyError::new(path, format!("`{text}` is not a number"))),
    }
}

/// The members of a JSON-LD list, which stands as `[{"@list": [...]}]` where contexts are not applied.
fn unlisted(list: &[Json]) -> &[Json] {
    match list {
        [one] => one.get("@list").and_then(Json::as_array).map_or(list, Vec::as_slice),
        _ => list,
    }
}

/// ODRL's own terms without prefix or namespace, anything else as written.
pub(crate) fn term(text: &str) -> &str {
    text.strip_prefix("odrl:").or_else(|| text.strip_prefix(ODRL)).unwrap_or(text)
}

fn object<'a>(json: &'a Json, path: &str) -> Result<&'a Map<String, Json>, PolicyError> {
    json.as_object().ok_or_else(|| PolicyError::new(path, "must be an object"))
}

fn array<'a>(json: &'a Json, path: &str) -> Result<&'a Vec<Json>, PolicyError> {
    json.as_array().ok_or_else(|| PolicyError::new(path, "must be an array"))
}

fn optional_text(map: &Map<String, Json>, key: &str, path: &str) -> Result<Option<String>, PolicyError> {
    match map.get(key) {
        None => Ok(None),
        Some(Json::String(text)) if text.len() <= MAX_TEXT => Ok(Some(text.clone())),
        Some(Json::String(_)) => {
            Err(PolicyError::new(format!("{path}/{key}"), format!("longer than {MAX_TEXT} bytes")))
        }
        Some(_) => Err(PolicyError::new(format!("{path}/{key}"), "must be a string")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(policy: Json) -> String {
        Policy::parse(&policy).unwrap_err().to_string()
    }

    fn with_constraint(constraint: Json) -> Json {
        json!({"@id": "urn:x", "@type": "Offer", "permission": [{"action": "use", "constraint": [constraint]}]})
    }

    #[test]
    fn errors_name_path_and_reason() {
        assert_eq!(refused(json!([])), "/: must be an object");
        assert_eq!(
            refused(json!({"@type": "Offer"})),
            "/: a policy needs at least one permission or prohibition"
        );
        assert_eq!(refused(json!({"@type": "Ticket"})), "/@type: `Ticket` is not Offer, Agreement or Set");
        assert_eq!(
            refused(json!({"permission": [{"action": "use"}, {"target": "x", "action": "use"}]})),
            "/permission/1/target: stands at the policy, not at a rule (Dataspace Protocol, ODRL profile)"
        );
        assert_eq!(
            refused(with_constraint(
                json!({"leftOperand": "dateTime", "operator": "before", "rightOperand": "x"})
            )),
            "/permission/0/constraint/0/operator: unknown operator `before`"
        );
        assert_eq!(
            refused(with_constraint(
                json!({"leftOperand": "dateTime", "operator": "lt", "rightOperand": "soon"})
            )),
            "/permission/0/constraint/0/rightOperand: `soon` is not an xsd:dateTime such as 2027-01-01T00:00:00Z"
        );
        assert_eq!(
            refused(with_constraint(
                json!({"leftOperand": "purpose", "operator": "lt", "rightOperand": "x"})
            )),
            "/permission/0/constraint/0/operator: `purpose` has no order, so `lt` cannot compare it"
        );
        assert_eq!(
            refused(with_constraint(json!({"leftOperand": "count", "operator": "lt", "rightOperand": 5}))),
            "/permission/0/constraint/0/rightOperand: must be a string, an object or an array of these (contract-schema.json)"
        );
    }

    #[test]
    fn depth_is_bounded() {
        let mut nested = json!({"leftOperand": "count", "operator": "lt", "rightOperand": "5"});
        for _ in 0..=MAX_DEPTH {
            nested = json!({"and": [nested]});
        }
        assert!(refused(with_constraint(nested)).ends_with("constraints nested deeper than 8"));
    }

    #[test]
    fn prefixed_and_full_terms_are_the_compact_ones() {
        let policy = Policy::parse(&json!({
            "@id": "urn:x", "@type": "odrl:Offer",
            "permission": [{"action": "odrl:use", "constraint": [{
                "leftOperand": "http://www.w3.org/ns/odrl/2/dateTime", "operator": "odrl:lteq",
                "rightOperand": {"@value": "2023-12-31T06:00Z", "@type": "xsd:dateTime"}}]}]
        }))
        .unwrap();
        let rule = policy.permissions.first().unwrap();
        assert_eq!(rule.action, "use");
        let Some(Constraint::Atomic(atomic)) = rule.constraints.first() else { panic!("atomic expected") };
        assert_eq!((atomic.left.as_str(), atomic.operator), ("dateTime", Operator::Lteq));
        assert_eq!(atomic.right, vec![Value::Instant("2023-12-31T06:00:00Z".parse().unwrap())]);
    }
}
