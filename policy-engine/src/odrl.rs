//! ODRL in JSON, parsed into the model; errors carry the JSON pointer.
//!
//! Prefixed terms (`odrl:use`) and full ODRL IRIs are read as the compact term. Bounds: see the constants.

use serde_json::{Map, Value as Json};

use crate::error::PolicyError;
use crate::literal::{self, MAX_TEXT};
use crate::model::{
    ANY_ACTION, About, Atomic, Conflict, Constraint, Kind, Logical, Operator, Policy, Rule, RuleKind, Scope,
    Value,
};
use crate::operand::{self, OperandKind};

/// Deepest nesting of logical constraints, of duties in duties, and of policies that inherit.
const MAX_DEPTH: usize = 8;
/// Most rules in one policy, duties included: from a peer, and in a file.
const MAX_RULES: (usize, usize) = (256, 1024);
/// Most constraints in one policy, logical ones and refinements included: from a peer, and in a file.
const MAX_CONSTRAINTS: (usize, usize) = (1024, 4096);
/// Most values in one right operand.
const MAX_VALUES: usize = 1024;

const ODRL: &str = "http://www.w3.org/ns/odrl/2/";
/// A rule's own refinement of its action, where the Dataspace Protocol's schema wants the action itself to be a string.
pub(crate) const REFINEMENT: &str = "http://www.w3.org/ns/odrl/2/refinement";

impl Policy {
    /// Reads a policy in the compact JSON form (contract-schema.json of the Dataspace Protocol 2025-1). What the
    /// schema does not have but allows beside it is read too: `conflict`, `consequence`, `remedy`, and a rule's action
    /// refined under the absolute key `http://www.w3.org/ns/odrl/2/refinement`.
    ///
    /// # Errors
    /// Names the JSON pointer and the reason: a missing or mistyped property, an unknown operator, a right operand
    /// that does not fit its left operand, no permission and no prohibition, rules from elsewhere (`inheritFrom`), or
    /// a bound exceeded.
    pub fn parse(json: &Json) -> Result<Self, PolicyError> {
        Parser::new(false, &[]).policy(json)
    }

    /// Reads what ODRL allows beyond the Dataspace Protocol's profile: rules with a party or an asset of their own,
    /// each an IRI or a collection with refinements (ODRL 2.2, sections 2.2.1 and 2.3.1), refined actions, rules
    /// without an action, which speak of every action, and compact rules: several actions, assets or parties in one
    /// rule, and an action that stands at the policy (section 2.7.1). For files and tests; what peers send is read by
    /// [`Self::parse`].
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_odrl(json: &Json) -> Result<Self, PolicyError> {
        Parser::new(true, &[]).policy(json)
    }

    /// As [`Self::parse_odrl`]; the rules of the policies that it names in `inheritFrom` (ODRL 2.2, section 2.9) are
    /// taken from `parents`, by `@id` or `uid`, and stand after its own.
    ///
    /// # Errors
    /// As [`Self::parse`]; a parent is not there, or a policy inherits from itself.
    pub fn parse_inheriting(json: &Json, parents: &[Json]) -> Result<Self, PolicyError> {
        Parser::new(true, parents).policy(json)
    }
}

struct Parser<'a> {
    /// Whether more than the Dataspace Protocol's profile is read.
    scoped: bool,
    /// Where `inheritFrom` finds its policies; `None` inside the profile.
    parents: &'a [Json],
    /// The policies that are being read, each the parent of the one before.
    inheriting: Vec<String>,
    rules: usize,
    constraints: usize,
}

/// What stands at the policy for all its rules.
#[derive(Default)]
struct Common {
    action: Option<Json>,
}

impl<'a> Parser<'a> {
    const fn new(scoped: bool, parents: &'a [Json]) -> Self {
        Self { scoped, parents, inheriting: Vec::new(), rules: 0, constraints: 0 }
    }

    /// The bound for a peer, or for a file.
    const fn most(&self, (peer, file): (usize, usize)) -> usize {
        if self.scoped { file } else { peer }
    }

    fn policy(&mut self, json: &Json) -> Result<Policy, PolicyError> {
        let policy = self.rules_of(json, "")?;
        if policy.permissions.is_empty() && policy.prohibitions.is_empty() {
            return Err(PolicyError::new("", "a policy needs at least one permission or prohibition"));
        }
        if policy.kind == Kind::Agreement {
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

    fn rules_of(&mut self, json: &Json, path: &str) -> Result<Policy, PolicyError> {
        let map = object(json, path)?;
        let kind = match map.get("@type").and_then(Json::as_str).map(term) {
            Some("Offer") | None => Kind::Offer,
            Some("Agreement") => Kind::Agreement,
            Some("Set" | "Policy") => Kind::Set,
            Some(other) => {
                return Err(PolicyError::new(
                    format!("{path}/@type"),
                    format!("`{other}` is not Offer, Agreement or Set"),
                ));
            }
        };
        let conflict = match optional_text(map, "conflict", path)?.as_deref().map(term) {
            None | Some("invalid") => Conflict::Invalid,
            Some("perm") => Conflict::Perm,
            Some("prohibit") => Conflict::Prohibit,
            Some(other) => {
                return Err(PolicyError::new(
                    format!("{path}/conflict"),
                    format!("`{other}` is not perm, prohibit or invalid"),
                ));
            }
        };
        let common = Common { action: map.get("action").filter(|_| self.scoped).cloned() };
        let mut policy = Policy {
            id: optional_text(map, "@id", path)?.unwrap_or_default(),
            kind,
            conflict,
            target: optional_text(map, "target", path)?,
            assigner: optional_text(map, "assigner", path)?,
            assignee: optional_text(map, "assignee", path)?,
            permissions: self.rules(map, "permission", path, RuleKind::Permission, &common, 0)?,
            prohibitions: self.rules(map, "prohibition", path, RuleKind::Prohibition, &common, 0)?,
            obligations: self.rules(map, "obligation", path, RuleKind::Duty, &common, 0)?,
        };
        if let Some(parents) = map.get("inheritFrom") {
            self.inherit(&mut policy, parents, &format!("{path}/inheritFrom"))?;
        }
        Ok(policy)
    }

    /// Adds the rules of the policies that `json` names (ODRL 2.2, section 2.9).
    fn inherit(&mut self, policy: &mut Policy, json: &Json, path: &str) -> Result<(), PolicyError> {
        if !self.scoped {
            return Err(PolicyError::new(path, "a policy of the protocol carries all its rules itself"));
        }
        for (index, parent) in one_or_many(json).iter().enumerate() {
            let path = if json.is_array() { format!("{path}/{index}") } else { path.to_owned() };
            let id = identifier(parent, &path)?;
            self.inheriting.push(policy.id.clone());
            if self.inheriting.contains(&id) {
                return Err(PolicyError::new(path, format!("`{id}` inherits from itself")));
            }
            if self.inheriting.len() > MAX_DEPTH {
                return Err(PolicyError::new(path, format!("policies inherit deeper than {MAX_DEPTH}")));
            }
            let named = |json: &&Json| {
                ["@id", "uid"].iter().any(|key| json.get(key).and_then(Json::as_str) == Some(id.as_str()))
            };
            let parents = self.parents;
            let found = parents.iter().find(named).ok_or_else(|| {
                PolicyError::new(
                    path.clone(),
                    format!("the policy `{id}` is not at hand, so its rules are not known"),
                )
            })?;
            let parent = self.rules_of(found, &path)?;
            self.inheriting.pop();
            // What the parent says for all its rules stays with them.
            let keep = |rules: Vec<Rule>| {
                let (assignee, target) = (parent.assignee.clone(), parent.target.clone());
                rules.into_iter().map(move |rule| Rule {
                    assignee: rule.assignee.or_else(|| assignee.clone().map(Scope::named)),
                    target: rule.target.or_else(|| target.clone().map(Scope::named)),
                    ..rule
                })
            };
            policy.permissions.extend(keep(parent.permissions));
            policy.prohibitions.extend(keep(parent.prohibitions));
            policy.obligations.extend(keep(parent.obligations));
        }
        Ok(())
    }

    fn rules(
        &mut self,
        map: &Map<String, Json>,
        key: &str,
        path: &str,
        kind: RuleKind,
        common: &Common,
        depth: usize,
    ) -> Result<Vec<Rule>, PolicyError> {
        let path = format!("{path}/{key}");
        let Some(json) = map.get(key) else { return Ok(Vec::new()) };
        if depth > MAX_DEPTH {
            return Err(PolicyError::new(path, format!("duties nested deeper than {MAX_DEPTH}")));
        }
        let mut found = Vec::new();
        for (index, rule) in array(json, &path)?.iter().enumerate() {
            found.extend(self.rule(rule, format!("{path}/{index}"), kind, common, depth)?);
        }
        Ok(found)
    }

    /// One rule, or several where it is compact.
    fn rule(
        &mut self,
        json: &Json,
        path: String,
        kind: RuleKind,
        common: &Common,
        depth: usize,
    ) -> Result<Vec<Rule>, PolicyError> {
        let map = object(json, &path)?;
        for key in ["target", "assigner", "assignee"] {
            if map.contains_key(key) && !self.scoped {
                return Err(PolicyError::new(
                    format!("{path}/{key}"),
                    "stands at the policy, not at a rule (Dataspace Protocol, ODRL profile)",
                ));
            }
        }
        let actions = self.actions(map, &path, common)?;
        let constraints = self.list_of(
            map,
            "constraint",
            &path,
            if kind == RuleKind::Duty { About::Duty } else { About::Use },
        )?;
        let nothing = Common::default();
        let mut duties = |key: &str, of: RuleKind| match kind == of {
            true => self.rules(map, key, &path, RuleKind::Duty, &nothing, depth + 1),
            false => Ok(Vec::new()),
        };
        let own = duties("duty", RuleKind::Permission)?;
        let consequences = duties("consequence", RuleKind::Duty)?;
        let remedies = duties("remedy", RuleKind::Prohibition)?;
        let assignees = self.scopes(map, "assignee", &path, About::Party)?;
        let targets = self.scopes(map, "target", &path, About::Asset)?;
        let mut found = Vec::new();
        for (action, refinements) in &actions {
            for assignee in &assignees {
                for target in &targets {
                    self.rules += 1;
                    let most = self.most(MAX_RULES);
                    if self.rules > most {
                        return Err(PolicyError::new(path, format!("more than {most} rules")));
                    }
                    found.push(Rule {
                        kind,
                        path: path.clone(),
                        action: action.clone(),
                        refinements: refinements.clone(),
                        assignee: assignee.clone(),
                        target: target.clone(),
                        constraints: constraints.clone(),
                        duties: own.clone(),
                        consequences: consequences.clone(),
                        remedies: remedies.clone(),
                    });
                }
            }
        }
        Ok(found)
    }

    /// The actions of a rule with their refinements.
    fn actions(
        &mut self,
        map: &Map<String, Json>,
        path: &str,
        common: &Common,
    ) -> Result<Vec<(String, Vec<Constraint>)>, PolicyError> {
        let mut own = self.list_of(map, REFINEMENT, path, About::Action)?;
        // A normaliser writes the same property by its short name, and one constraint without a list.
        if let Some(json) = map.get("refinement") {
            let path = format!("{path}/refinement");
            for (index, one) in unlisted(one_or_many(json)).iter().enumerate() {
                own.push(self.constraint(one, format!("{path}/{index}"), About::Action, 0)?);
            }
        }
        let path = format!("{path}/action");
        let Some(json) = map.get("action").or(common.action.as_ref()) else {
            return if self.scoped {
                Ok(vec![(ANY_ACTION.to_owned(), own)])
            } else {
                Err(PolicyError::new(path, "every rule needs an action"))
            };
        };
        if !self.scoped && !json.is_string() {
            return Err(PolicyError::new(path, "must be a string"));
        }
        let many = one_or_many(json);
        bounded(many, &path)?;
        let mut found = Vec::new();
        for (index, one) in many.iter().enumerate() {
            let path = if json.is_array() { format!("{path}/{index}") } else { path.clone() };
            let value = one.get("rdf:value").or_else(|| one.get("value")).unwrap_or(one);
            let action = term(&identifier(value, &path)?).to_owned();
            let mut refinements = own.clone();
            if let Json::Object(refined) = one {
                refinements.extend(self.list_of(refined, "refinement", &path, About::Action)?);
            }
            found.push((action, refinements));
        }
        if found.is_empty() {
            return Err(PolicyError::new(path, "must not be empty"));
        }
        Ok(found)
    }

    /// The parties or assets at `key`: IRIs, or collections with refinements; one `None` where nothing is said.
    fn scopes(
        &mut self,
        map: &Map<String, Json>,
        key: &str,
        path: &str,
        about: About,
    ) -> Result<Vec<Option<Scope>>, PolicyError> {
        let Some(json) = map.get(key) else { return Ok(vec![None]) };
        let path = format!("{path}/{key}");
        let many = one_or_many(json);
        bounded(many, &path)?;
        let mut found = Vec::new();
        for (index, one) in many.iter().enumerate() {
            let path = if json.is_array() { format!("{path}/{index}") } else { path.clone() };
            let Json::Object(collection) = one else {
                found.push(Some(Scope::named(identifier(one, &path)?)));
                continue;
            };
            let refinements = self.list_of(collection, "refinement", &path, about)?;
            let id =
                if collection.contains_key("@id") || collection.contains_key("uid") || refinements.is_empty()
                {
                    Some(identifier(one, &path)?)
                } else {
                    None
                };
            found.push(Some(Scope { id, refinements }));
        }
        if found.is_empty() {
            return Err(PolicyError::new(path, "must not be empty"));
        }
        Ok(found)
    }

    fn list_of(
        &mut self,
        map: &Map<String, Json>,
        key: &str,
        path: &str,
        about: About,
    ) -> Result<Vec<Constraint>, PolicyError> {
        map.get(key).map_or(Ok(Vec::new()), |list| self.constraints(list, &format!("{path}/{key}"), about, 0))
    }

    fn constraints(
        &mut self,
        json: &Json,
        path: &str,
        about: About,
        depth: usize,
    ) -> Result<Vec<Constraint>, PolicyError> {
        unlisted(array(json, path)?)
            .iter()
            .enumerate()
            .map(|(index, one)| self.constraint(one, format!("{path}/{index}"), about, depth))
            .collect()
    }

    fn constraint(
        &mut self,
        json: &Json,
        path: String,
        about: About,
        depth: usize,
    ) -> Result<Constraint, PolicyError> {
        self.constraints += 1;
        let most = self.most(MAX_CONSTRAINTS);
        if self.constraints > most {
            return Err(PolicyError::new(path, format!("more than {most} constraints")));
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
            return atomic(map, path, about).map(Constraint::Atomic);
        };
        if map.contains_key("leftOperand") {
            return Err(PolicyError::new(path, "a constraint is either logical or atomic, not both"));
        }
        let parts = self.constraints(value, &format!("{path}/{key}"), about, depth + 1)?;
        if parts.is_empty() {
            return Err(PolicyError::new(format!("{path}/{key}"), "must not be empty"));
        }
        Ok(Constraint::Logical { logical, parts })
    }
}

impl Scope {
    const fn named(id: String) -> Self {
        Self { id: Some(id), refinements: Vec::new() }
    }
}

fn atomic(map: &Map<String, Json>, path: String, about: About) -> Result<Atomic, PolicyError> {
    let need = |key: &str| {
        optional_text(map, key, &path)?.ok_or_else(|| PolicyError::new(format!("{path}/{key}"), "is missing"))
    };
    let left = term(&need("leftOperand")?).to_owned();
    let written = need("operator")?;
    let operator =
        Operator::ALL.into_iter().find(|known| known.term() == term(&written)).ok_or_else(|| {
            PolicyError::new(format!("{path}/operator"), format!("unknown operator `{written}`"))
        })?;
    let operand = operand::find(&left);
    let right = right(map, &path, operand.map(|operand| operand.kind))?;
    let unordered = match operand.map(|operand| operand.kind) {
        Some(OperandKind::Identifier | OperandKind::Language | OperandKind::Place | OperandKind::Term) => {
            true
        }
        _ => right.iter().any(|value| matches!(value, Value::Area(_))),
    };
    if operator.is_ordering() && unordered {
        return Err(PolicyError::new(
            format!("{path}/operator"),
            format!("`{left}` has no order, so `{}` cannot compare it", operator.term()),
        ));
    }
    let one_only = operator.is_ordering() || matches!(operator, Operator::Eq | Operator::Neq);
    if one_only && right.len() > 1 {
        return Err(PolicyError::new(
            format!("{path}/rightOperand"),
            format!("`{}` compares with one value, not {}", operator.term(), right.len()),
        ));
    }
    let operator = match (operator, operand) {
        (Operator::Eq, Some(operand)) => operand.equal,
        (operator, _) => operator,
    };
    let unit = map.get("unit").map(|unit| identifier(unit, &format!("{path}/unit"))).transpose()?;
    Ok(Atomic { path, about, left, operand, unit, operator, right })
}

fn right(map: &Map<String, Json>, path: &str, kind: Option<OperandKind>) -> Result<Vec<Value>, PolicyError> {
    if map.contains_key("rightOperandReference") {
        return Err(PolicyError::new(
            format!("{path}/rightOperandReference"),
            "this node reads no right operand from elsewhere; state it in the policy",
        ));
    }
    let path = format!("{path}/rightOperand");
    let raw = map.get("rightOperand").ok_or_else(|| PolicyError::new(&path, "is missing"))?;
    let values = match raw.get("@list").unwrap_or(raw) {
        Json::Array(list) => {
            bounded(list, &path)?;
            list.iter().map(|one| literal::read(one, kind, &path)).collect::<Result<Vec<_>, _>>()?
        }
        one => vec![literal::read(one, kind, &path)?],
    };
    let daily = values.iter().filter(|value| matches!(value, Value::TimeOfDay(_))).count();
    if values.is_empty() {
        return Err(PolicyError::new(path, "must not be empty"));
    }
    if daily != 0 && daily != values.len() {
        return Err(PolicyError::new(path, "times of day and dates do not stand in one list"));
    }
    Ok(values)
}

fn bounded(list: &[Json], path: &str) -> Result<(), PolicyError> {
    if list.len() > MAX_VALUES {
        return Err(PolicyError::new(path, format!("more than {MAX_VALUES} values")));
    }
    Ok(())
}

/// A JSON array's members, or the one value that stands without an array.
fn one_or_many(json: &Json) -> &[Json] {
    json.as_array().map_or_else(|| std::slice::from_ref(json), Vec::as_slice)
}

/// An IRI, or the `@id` (`uid`) of an object.
fn identifier(json: &Json, path: &str) -> Result<String, PolicyError> {
    let (text, path) = match json {
        Json::Object(map) => (map.get("@id").or_else(|| map.get("uid")), format!("{path}/@id")),
        one => (Some(one), path.to_owned()),
    };
    match text {
        None => Err(PolicyError::new(path, "is missing")),
        Some(Json::String(text)) if text.len() <= MAX_TEXT => Ok(text.clone()),
        Some(Json::String(_)) => Err(PolicyError::new(path, format!("longer than {MAX_TEXT} bytes"))),
        Some(_) => Err(PolicyError::new(path, "must be a string")),
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
        Some(text @ Json::String(_)) => identifier(text, &format!("{path}/{key}")).map(Some),
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
    fn a_peer_may_send_less_than_a_file_may_hold() {
        let rules = |count: usize| json!({"permission": vec![json!({"action": "use"}); count]});
        assert!(Policy::parse(&rules(256)).is_ok());
        assert_eq!(refused(rules(257)), "/permission/256: more than 256 rules");
        assert!(Policy::parse_odrl(&rules(1024)).is_ok() && Policy::parse_odrl(&rules(1025)).is_err());
        let leaf = json!({"leftOperand": "count", "operator": "lt", "rightOperand": "5"});
        let constraints = |count: usize| json!({"permission": [{"action": "use", "constraint": vec![leaf.clone(); count]}]});
        assert!(Policy::parse(&constraints(1024)).is_ok());
        assert!(refused(constraints(1025)).ends_with("more than 1024 constraints"));
        assert!(Policy::parse_odrl(&constraints(1025)).is_ok());
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
