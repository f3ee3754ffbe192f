//! Whether terms are of use to somebody with a purpose, before anything is asked for.

use serde_json::json;

use crate::compare::{Containment, within};
use crate::compatible::{Compatibility, compatible};
use crate::error::PolicyError;
use crate::hierarchy::Hierarchy;
use crate::model::{Constraint, Logical, Policy};

/// Use for a purpose, as somebody would ask for it.
#[derive(Debug, Clone)]
pub struct Purpose(Policy);

impl Purpose {
    /// Use for `purpose`, an IRI or a code.
    ///
    /// # Errors
    /// Too long.
    pub fn new(purpose: &str) -> Result<Self, PolicyError> {
        let constraint = json!([{"leftOperand": "purpose", "operator": "eq", "rightOperand": purpose}]);
        Policy::parse(&json!({"@type": "Set", "permission": [{"action": "use", "constraint": constraint}]}))
            .map(Self)
    }

    /// Whether `terms` permit use for it, as far as purposes go: what else they ask for is for the negotiation.
    #[must_use]
    pub fn is_served_by(&self, terms: &Policy, known: &Hierarchy) -> bool {
        let mut purposes = Policy { prohibitions: Vec::new(), obligations: Vec::new(), ..terms.clone() };
        for permission in &mut purposes.permissions {
            permission.constraints = permission.constraints.iter().filter_map(of_purposes).collect();
            permission.refinements = permission.refinements.iter().filter_map(of_purposes).collect();
            permission.duties.clear();
            (permission.assignee, permission.target) = (None, None);
        }
        within(&self.0, &purposes, known) == Containment::Within
            && !matches!(compatible(terms, &self.0, known), Compatibility::Conflict(_))
    }
}

/// What a constraint says of purposes alone; `None` where it may hold for any.
fn of_purposes(constraint: &Constraint) -> Option<Constraint> {
    if constraint.atoms().iter().all(|atom| atom.left == "purpose") {
        return Some(constraint.clone());
    }
    let Constraint::Logical { logical, parts } = constraint else { return None };
    let said: Vec<_> = parts.iter().map(of_purposes).collect();
    let parts: Vec<_> = match logical {
        Logical::And | Logical::AndSequence => said.into_iter().flatten().collect(),
        // A way that says nothing of purposes is open to all.
        Logical::Or | Logical::Xone => said.into_iter().collect::<Option<_>>()?,
    };
    let logical = if *logical == Logical::Xone { Logical::Or } else { *logical };
    (!parts.is_empty()).then_some(Constraint::Logical { logical, parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_is_served_where_it_lies_within_what_is_permitted_and_not_forbidden() {
        let known = Hierarchy::shipped();
        let dpv = |name: &str| format!("https://w3id.org/dpv#{name}");
        let purpose = |operator: &str, name: &str| json!({"leftOperand": "purpose", "operator": operator, "rightOperand": dpv(name)});
        let until = json!({"leftOperand": "dateTime", "operator": "lteq", "rightOperand": {"@value": "2030-01-01T00:00:00Z", "@type": "xsd:dateTime"}});
        let serves = |policy: serde_json::Value, name: &str| {
            let terms = Policy::parse(&policy).unwrap();
            Purpose::new(&dpv(name)).unwrap().is_served_by(&terms, &known)
        };
        let research = || {
            json!({"@type": "Set", "permission": [
            {"action": "use", "constraint": [purpose("isA", "ResearchAndDevelopment"), until.clone()]}]})
        };
        assert!(serves(research(), "AcademicResearch") && serves(research(), "ResearchAndDevelopment"));
        assert!(!serves(research(), "Marketing"), "nothing says that it lies within");
        assert!(serves(
            json!({"@type": "Set", "permission": [{"action": "use", "constraint": [until.clone()]}]}),
            "Marketing"
        ));
        let nested = |logical: &str| {
            let both = json!({logical: [purpose("isA", "ResearchAndDevelopment"), until.clone()]});
            json!({"@type": "Set", "permission": [{"action": "use", "constraint": [both]}]})
        };
        assert!(serves(nested("and"), "AcademicResearch") && !serves(nested("and"), "Marketing"));
        assert!(serves(nested("or"), "Marketing"), "the other way is open to it");
        let but = json!({"@type": "Set", "permission": [{"action": "use"}],
            "prohibition": [{"action": "use", "constraint": [purpose("isA", "ResearchAndDevelopment")]}]});
        assert!(!serves(but.clone(), "AcademicResearch") && serves(but, "Marketing"));
    }
}
