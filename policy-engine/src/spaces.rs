//! What data spaces write that ODRL does not have: operands of their own, as operands of this engine; profiles; names that
//! stand for everybody or everything. Read from data files, so that another data space is a file and no code.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::error::PolicyError;
use crate::literal;
use crate::model::{About, Atomic, Constraint, Logical, Operator, Value};
use crate::operand::{self, CLAIM_PREFIX, OperandKind};

/// What is known of data spaces, by the names they use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spaces {
    operands: BTreeMap<String, Meaning>,
    /// Profiles that are understood.
    pub profiles: BTreeSet<String>,
    /// Names that stand for every party.
    pub everyone: BTreeSet<String>,
    /// Names that stand for every asset.
    pub everything: BTreeSet<String>,
}

/// What an operand of a data space is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    /// Always true where it is compared with this.
    Always(String),
    /// The party holds a credential of a type; the operand is compared with a word that says so.
    Credential { kind: String, value: String },
    /// The party holds the credential of a framework: `NAME:VERSION` is the claim at `path` in a `NAMECredential`.
    Framework { path: String },
    /// Another operand.
    Is {
        operand: String,
        /// What stands for the operator `eq`.
        equal: Option<Operator>,
        /// The unit of a bare number, as an xsd:duration.
        per: Option<String>,
        /// A right operand that begins with this is a time after the agreement, for the operand named second.
        since: Option<(String, String)>,
    },
}

impl Spaces {
    /// Adds what a file says of one data space.
    ///
    /// # Errors
    /// Names the place and the reason.
    pub fn load(&mut self, json: &Json) -> Result<(), PolicyError> {
        let texts = |key: &str| -> Result<Vec<String>, PolicyError> {
            let list = json.get(key).map_or(Some(Vec::new()), |list| {
                list.as_array()?.iter().map(|one| one.as_str().map(str::to_owned)).collect()
            });
            list.ok_or_else(|| PolicyError::new(format!("/{key}"), "must be an array of strings"))
        };
        let mut prefixes = texts("prefixes")?;
        if prefixes.is_empty() {
            prefixes.push(String::new());
        }
        self.profiles.extend(texts("profiles")?);
        self.everyone.extend(texts("everyone")?);
        self.everything.extend(texts("everything")?);
        for (name, meaning) in json.get("operands").and_then(Json::as_object).into_iter().flatten() {
            let meaning = read(meaning).map_err(|reason| {
                PolicyError::new(format!("/operands/{}", name.replace('/', "~1")), reason)
            })?;
            for prefix in &prefixes {
                self.operands.insert(format!("{prefix}{name}"), meaning.clone());
            }
        }
        Ok(())
    }

    /// What a comparison means; `None` where its operand is none of a data space.
    pub fn meaning(&self, atomic: &Atomic) -> Option<Constraint> {
        if atomic.operand.is_some() || matches!(atomic.about, About::Asset | About::Party) {
            return None;
        }
        match self.operands.get(&atomic.left)? {
            Meaning::Always(value) => {
                let always = matches!(atomic.operator, Operator::Eq)
                    && atomic
                        .right
                        .iter()
                        .all(|one| text_of(one).is_some_and(|text| text.eq_ignore_ascii_case(value)));
                always.then_some(Constraint::Logical { logical: Logical::And, parts: Vec::new() })
            }
            Meaning::Credential { kind, value } => {
                let positive = matches!(atomic.operator, Operator::Eq | Operator::IsAnyOf);
                let said = atomic.right.iter().all(|one| text_of(one).is_some_and(|text| text == *value));
                (positive && said).then(|| {
                    comparison(
                        atomic,
                        &format!("{CLAIM_PREFIX}{kind}:$.type"),
                        Operator::Eq,
                        vec![Value::Term(kind.clone())],
                    )
                })?
            }
            Meaning::Framework { path } => {
                if !matches!(atomic.operator, Operator::Eq | Operator::IsAnyOf) {
                    return None;
                }
                let parts = atomic.right.iter().map(|one| {
                    let text = text_of(one)?;
                    let (name, version) = text.split_once(':')?;
                    let left = format!("{CLAIM_PREFIX}{name}Credential:{path}");
                    comparison(atomic, &left, Operator::Eq, vec![Value::Term(version.to_owned())])
                });
                let mut parts = parts.collect::<Option<Vec<_>>>()?;
                if parts.len() == 1 {
                    parts.pop()
                } else {
                    Some(Constraint::Logical { logical: Logical::Or, parts })
                }
            }
            Meaning::Is { operand, equal, per, since } => {
                is(atomic, operand, *equal, per.as_deref(), since.as_ref())
            }
        }
    }
}

/// The comparison with another operand in place of the data space's.
fn is(
    atomic: &Atomic,
    operand: &str,
    equal: Option<Operator>,
    per: Option<&str>,
    since: Option<&(String, String)>,
) -> Option<Constraint> {
    let mut left = operand;
    let mut right = Vec::new();
    for value in &atomic.right {
        let text = text_of(value);
        let after = since
            .zip(text.as_deref())
            .and_then(|((word, elapsed), text)| Some((elapsed, period(text.strip_prefix(word.as_str())?)?)));
        let json = match (after, per) {
            (Some((elapsed, period)), _) => {
                left = elapsed;
                json!(period)
            }
            (None, Some(unit)) => json!(times(&text?, unit)?),
            (None, None) => match text {
                Some(text) => json!(text),
                None => literal::write(value),
            },
        };
        let kind = operand::find(left)?.kind;
        right.push(literal::read(&json, Some(kind), true, "").ok()?.value);
    }
    let operator = match (atomic.operator, equal) {
        (Operator::Eq, Some(equal)) => equal,
        (operator, _) => operator,
    };
    comparison(atomic, left, operator, right)
}

/// A comparison with an operand of this engine that stands where `atomic` does; `None` where it means nothing.
fn comparison(atomic: &Atomic, left: &str, operator: Operator, right: Vec<Value>) -> Option<Constraint> {
    let operand = operand::find(left)?;
    let amount = matches!(operand.kind, OperandKind::Duration | OperandKind::Instant | OperandKind::Number);
    let of_terms =
        matches!(operator, Operator::HasPart | Operator::IsA | Operator::IsAllOf | Operator::IsPartOf);
    let fits = if amount { !of_terms } else { !operator.is_ordering() || operand.kind == OperandKind::Any };
    fits.then(|| {
        let equal = if operator == Operator::Eq { operand.equal } else { operator };
        Constraint::Atomic(Atomic {
            left: left.to_owned(),
            operand: Some(operand),
            operator: equal,
            right,
            ..atomic.clone()
        })
    })
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::Term(text) => Some(text.clone()),
        _ => None,
    }
}

/// `+30d` of EDC as an xsd:duration: seconds, minutes, hours or days.
fn period(text: &str) -> Option<String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+')?),
    };
    let (number, unit) = rest.split_at_checked(rest.len().checked_sub(1)?)?;
    let is_number =
        !number.is_empty() && number.len() <= 9 && number.bytes().all(|byte| byte.is_ascii_digit());
    let unit = match unit {
        "s" => 'S',
        "m" => 'M',
        "h" => 'H',
        "d" => 'D',
        _ => return None,
    };
    is_number
        .then(|| if unit == 'D' { format!("{sign}P{number}D") } else { format!("{sign}PT{number}{unit}") })
}

/// A whole number of a unit such as `P1D`.
fn times(number: &str, unit: &str) -> Option<String> {
    let is_number =
        !number.is_empty() && number.len() <= 9 && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| unit.replacen('1', number, 1))
}

fn read(json: &Json) -> Result<Meaning, String> {
    let text = |key: &str| json.get(key).and_then(Json::as_str).map(str::to_owned);
    let known = |name: &str| match operand::find(name) {
        Some(_) => Ok(()),
        None => Err(format!("`{name}` is not an operand of this engine")),
    };
    if let Some(value) = text("always") {
        return Ok(Meaning::Always(value));
    }
    if let Some(kind) = text("credential") {
        return Ok(Meaning::Credential { kind, value: text("value").unwrap_or_else(|| "active".to_owned()) });
    }
    if let Some(path) = text("framework") {
        return Ok(Meaning::Framework { path });
    }
    let Some(operand) = text("is") else {
        return Err("needs `is`, `credential`, `framework` or `always`".to_owned());
    };
    known(&operand)?;
    let equal = match text("eq") {
        None => None,
        Some(name) => {
            let found = Operator::ALL.into_iter().find(|one| one.term() == name);
            Some(found.ok_or_else(|| format!("`{name}` is not an operator"))?)
        }
    };
    let since = match (text("since"), text("elapsed")) {
        (None, None) => None,
        (Some(since), Some(elapsed)) => {
            known(&elapsed)?;
            Some((since, elapsed))
        }
        _ => return Err("needs `since` and `elapsed` together".to_owned()),
    };
    Ok(Meaning::Is { operand, equal, per: text("per"), since })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use crate::{Hierarchy, Outcome, Policy, Request, World, decide};

    fn permitted(constraints: Json, now: &str) -> bool {
        let policy =
            Policy::parse_odrl(&json!({"permission": [{"action": "use", "constraint": constraints}]}))
                .unwrap();
        let known = Hierarchy::shipped();
        let credentials = [
            json!({"type": ["VerifiableCredential", "MembershipCredential"], "issuer": "did:web:i",
                "credentialSubject": {"holderIdentifier": "BPNL1", "memberOf": "Catena-X"}}),
            json!({"type": ["VerifiableCredential", "DataExchangeGovernanceCredential"], "issuer": "did:web:i",
                "credentialSubject": {"contractVersion": "1.0"}}),
        ];
        let since = Some("2026-11-01T00:00:00Z".parse().unwrap());
        let world = World { since, credentials: &credentials, ..World::at(now.parse().unwrap(), &known) };
        decide(&policy, &Request { action: "use", party: "did:web:p", target: None }, &world).outcome
            == Outcome::Permit
    }

    #[test]
    fn operands_of_data_spaces_are_those_of_the_engine() {
        let c = |left: &str, operator: &str, right: Json| json!([{"leftOperand": left, "operator": operator, "rightOperand": right}]);
        let now = "2026-11-26T10:30:00Z";
        for (constraint, expected) in [
            (c("Membership", "eq", json!("active")), true),
            (c("cx-policy:Membership", "eq", json!("active")), true),
            (c("Membership", "eq", json!("suspended")), false),
            (c("Membership", "neq", json!("active")), false),
            (c("FrameworkAgreement", "eq", json!("DataExchangeGovernance:1.0")), true),
            (c("FrameworkAgreement", "eq", json!("DataExchangeGovernance:2.0")), false),
            (c("FrameworkAgreement", "eq", json!("Traceability:1.0")), false),
            (c("BusinessPartnerNumber", "isAnyOf", json!(["BPNL1", "BPNL2"])), true),
            (c("BusinessPartnerNumber", "eq", json!("BPNL2")), false),
            (c("DataUsageEndDurationDays", "eq", json!("30")), true),
            (c("DataUsageEndDurationDays", "eq", json!("20")), false),
            (c("inForceDate", "lteq", json!("contractAgreement+30d")), true),
            (c("inForceDate", "lteq", json!("contractAgreement+24h")), false),
            (c("inForceDate", "gteq", json!("2026-01-01T00:00:00Z")), true),
            (c("inForceDate", "lteq", json!("contractAgreement+1w")), false),
            (c("POLICY_EVALUATION_TIME", "gt", json!("2026-04-10T11:32:31+02:00")), true),
            (c("REFERRING_CONNECTOR", "isAnyOf", json!(["did:web:p"])), true),
            (c("REFERRING_CONNECTOR", "eq", json!("did:web:q")), false),
            (c("ALWAYS_TRUE", "eq", json!("true")), true),
            (c("ALWAYS_TRUE", "eq", json!("false")), false),
            (c("dayOfWeek", "lteq", json!(3)), true),
            (c("dayOfWeek", "lteq", json!(2)), false),
            (c("hourOfDay", "eq", json!(10)), true),
        ] {
            assert_eq!(permitted(constraint.clone(), now), expected, "{constraint}");
        }
    }
}
