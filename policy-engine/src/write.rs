//! The model written as ODRL in JSON, so that [`crate::Policy::parse`] reads it back.

use serde_json::{Map, Value as Json, json};

use crate::literal;
use crate::model::{ANY_ACTION, Conflict, Constraint, Logical, Policy, Rule, Scope, Value};
use crate::odrl::REFINEMENT;

impl Policy {
    /// The policy in the form that [`Self::parse`] reads, where its rules have no party or asset of their own, else
    /// that of [`Self::parse_odrl`].
    #[must_use]
    pub fn write(&self) -> Json {
        let mut map = Map::new();
        map.insert("@type".to_owned(), json!(self.kind.term()));
        if !self.id.is_empty() {
            map.insert("@id".to_owned(), json!(self.id));
        }
        let conflict = match self.conflict {
            Conflict::Invalid => None,
            Conflict::Perm => Some("perm"),
            Conflict::Prohibit => Some("prohibit"),
        };
        for (key, value) in [
            ("conflict", conflict),
            ("target", self.target.as_deref()),
            ("assigner", self.assigner.as_deref()),
            ("assignee", self.assignee.as_deref()),
        ] {
            map.extend(value.map(|value| (key.to_owned(), json!(value))));
        }
        match self.profiles.iter().collect::<Vec<_>>().as_slice() {
            [] => {}
            [one] => drop(map.insert("profile".to_owned(), json!(one))),
            several => drop(map.insert("profile".to_owned(), json!(several))),
        }
        for (key, rules) in [
            ("permission", &self.permissions),
            ("prohibition", &self.prohibitions),
            ("obligation", &self.obligations),
        ] {
            insert_rules(&mut map, key, rules);
        }
        Json::Object(map)
    }
}

fn insert_rules(map: &mut Map<String, Json>, key: &str, rules: &[Rule]) {
    if !rules.is_empty() {
        map.insert(key.to_owned(), rules.iter().map(write_rule).collect());
    }
}

fn write_rule(rule: &Rule) -> Json {
    let mut map = Map::new();
    if rule.action != ANY_ACTION {
        map.insert("action".to_owned(), json!(rule.action));
    }
    if !rule.refinements.is_empty() {
        map.insert(REFINEMENT.to_owned(), rule.refinements.iter().map(write_constraint).collect());
    }
    let own = [("assigner", &rule.assigner), ("assignee", &rule.assignee), ("target", &rule.target)];
    for (key, scope) in own {
        map.extend(scope.as_ref().map(|scope| (key.to_owned(), write_scope(scope))));
    }
    for (function, party) in &rule.functions {
        match map.get_mut(function) {
            None => drop(map.insert(function.clone(), write_scope(party))),
            Some(Json::Array(several)) => several.push(write_scope(party)),
            Some(one) => *one = json!([one.take(), write_scope(party)]),
        }
    }
    if !rule.constraints.is_empty() {
        map.insert("constraint".to_owned(), rule.constraints.iter().map(write_constraint).collect());
    }
    insert_rules(&mut map, "duty", &rule.duties);
    insert_rules(&mut map, "consequence", &rule.consequences);
    insert_rules(&mut map, "remedy", &rule.remedies);
    Json::Object(map)
}

fn write_scope(scope: &Scope) -> Json {
    match &scope.id {
        Some(id) if scope.refinements.is_empty() => json!(id),
        id => {
            let refinements: Vec<_> = scope.refinements.iter().map(write_constraint).collect();
            let mut collection = json!({"refinement": refinements});
            if let (Some(id), Some(map)) = (id, collection.as_object_mut()) {
                map.insert("source".to_owned(), json!(id));
            }
            collection
        }
    }
}

fn write_constraint(constraint: &Constraint) -> Json {
    match constraint {
        Constraint::Logical { logical, parts } => {
            let key = match logical {
                Logical::And => "and",
                Logical::AndSequence => "andSequence",
                Logical::Or => "or",
                Logical::Xone => "xone",
            };
            json!({key: parts.iter().map(write_constraint).collect::<Vec<_>>()})
        }
        Constraint::Atomic(atomic) => {
            let right = match atomic.right.as_slice() {
                [one] => literal::write(one),
                several => several.iter().map(literal::write).collect(),
            };
            let mut written = json!({"leftOperand": atomic.left, "operator": atomic.operator.term(), "rightOperand": right});
            if let (Some(unit), Some(map)) = (&atomic.unit, written.as_object_mut()) {
                map.insert("unit".to_owned(), json!(unit));
            }
            if let (Some(status), Some(map)) = (&atomic.status, written.as_object_mut()) {
                map.insert("status".to_owned(), literal::write(&Value::Number(status.clone())));
            }
            written
        }
    }
}
