//! The common terms as options, for `publish` and `policy new`.

use clap::Args;
use serde_json::{Value, json};

use super::api::set;

/// Terms of use; none of them is an open licence.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Terms {
    /// Terms: for what it may be used, an IRI.
    #[arg(long, value_name = "IRI")]
    pub purpose: Option<String>,
    /// Terms: until when, such as 2030-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub valid_until: Option<String>,
    /// Terms: where it may be used, a place code.
    #[arg(long, value_name = "PLACE")]
    pub used_in: Option<String>,
    /// Terms: how often it may be read.
    #[arg(long, value_name = "COUNT")]
    pub at_most: Option<u64>,
    /// Terms: who may use it, a DID; may be repeated.
    #[arg(long = "member", value_name = "DID")]
    pub members: Vec<String>,
    /// Terms: it must not be passed on.
    #[arg(long)]
    pub no_distribution: bool,
    /// Terms: whoever uses it names the source.
    #[arg(long)]
    pub attribution: bool,
    /// Terms: it must be deleted by then; nothing is read after that.
    #[arg(long, value_name = "TIME")]
    pub delete_by: Option<String>,
}

impl Terms {
    /// The policy that says so, a Set.
    pub(super) fn policy(&self) -> Value {
        let constraint = |left: &str, operator: &str, right: Value| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
        let members = (!self.members.is_empty()).then(|| json!(self.members));
        let constraints: Vec<_> = [
            ("purpose", "isA", self.purpose.as_ref().map(|one| json!(one))),
            ("dateTime", "lteq", self.valid_until.as_ref().map(|one| json!(one))),
            ("spatial", "isPartOf", self.used_in.as_ref().map(|one| json!(one))),
            ("count", "lteq", self.at_most.map(|count| json!(count.to_string()))),
            ("assignee", "isAnyOf", members),
        ]
        .into_iter()
        .filter_map(|(left, operator, right)| Some(constraint(left, operator, right?)))
        .collect();
        let mut permission = json!({"action": "use"});
        if !constraints.is_empty() {
            set(&mut permission, "constraint", Value::Array(constraints));
        }
        let mut terms = json!({"@type": "Set", "permission": [permission]});
        if self.no_distribution {
            set(&mut terms, "prohibition", json!([{"action": "distribute"}]));
        }
        let mut obligations = Vec::new();
        if self.attribution {
            obligations.push(json!({"action": "attribute"}));
        }
        if let Some(time) = &self.delete_by {
            let by = constraint("dateTime", "lteq", json!(time));
            obligations.push(json!({"action": "delete", "constraint": [by]}));
        }
        if !obligations.is_empty() {
            set(&mut terms, "obligation", Value::Array(obligations));
        }
        terms
    }
}
