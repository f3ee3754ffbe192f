//! How ODRL's terms are written in documents of the Dataspace Protocol: its context (`odrl-profile.jsonld`) defines some of them
//! by their bare names, and the prefix `odrl:` for all others. A bare name that it does not define means nothing to a JSON-LD
//! processor, so that two policies would differ for it that say the same.

use serde_json::{Map, Value as Json};

use crate::action::{ACCESS, is_odrl};
use crate::document::TERMS;
use crate::odrl::term;

/// The keys and values of a policy that the context defines by their bare names.
const IN_CONTEXT: [&str; 47] = [
    "Action",
    "Agreement",
    "Assertion",
    "Asset",
    "Constraint",
    "Duty",
    "LeftOperand",
    "Offer",
    "Operator",
    "Permission",
    "Policy",
    "Prohibition",
    "RightOperand",
    "Rule",
    "Set",
    "action",
    "and",
    "andSequence",
    "assignee",
    "assigner",
    "constraint",
    "duty",
    "eq",
    "gt",
    "gteq",
    "hasPart",
    "hasPolicy",
    "isA",
    "isAllOf",
    "isAnyOf",
    "isNoneOf",
    "isPartOf",
    "leftOperand",
    "lt",
    "lteq",
    "neq",
    "obligation",
    "operator",
    "or",
    "permission",
    "profile",
    "prohibit",
    "prohibition",
    "rightOperand",
    "target",
    "use",
    "xone",
];
/// ODRL's other keys.
const KEYS: [&str; 22] = [
    "attributedParty",
    "attributingParty",
    "compensatedParty",
    "compensatingParty",
    "conflict",
    "consentedParty",
    "consentingParty",
    "consequence",
    "contractedParty",
    "contractingParty",
    "dataType",
    "informedParty",
    "informingParty",
    "inheritFrom",
    "refinement",
    "remedy",
    "rightOperandReference",
    "source",
    "status",
    "trackedParty",
    "trackingParty",
    "unit",
];
/// ODRL's left operands (ODRL Vocabulary 2.2, section 4.6).
const OPERANDS: [&str; 34] = [
    "absolutePosition",
    "absoluteSize",
    "absoluteSpatialPosition",
    "absoluteTemporalPosition",
    "count",
    "dateTime",
    "delayPeriod",
    "deliveryChannel",
    "device",
    "elapsedTime",
    "event",
    "fileFormat",
    "industry",
    "language",
    "media",
    "meteredTime",
    "payAmount",
    "percentage",
    "product",
    "purpose",
    "recipient",
    "relativePosition",
    "relativeSize",
    "relativeSpatialPosition",
    "relativeTemporalPosition",
    "resolution",
    "spatial",
    "spatialCoordinates",
    "system",
    "systemDevice",
    "timeInterval",
    "unitOfCount",
    "version",
    "virtualLocation",
];

/// Whether the context of the Dataspace Protocol defines a term of ODRL by its bare name.
#[must_use]
pub fn in_protocol_context(name: &str) -> bool {
    IN_CONTEXT.contains(&name)
}

/// Whether a bare name is a term of ODRL 2.2: a key, an operand, an operator or an action.
#[must_use]
pub fn is_odrl_term(name: &str) -> bool {
    in_protocol_context(name) || KEYS.contains(&name) || OPERANDS.contains(&name) || is_action(name)
}

/// A policy with every term of ODRL as the context of the Dataspace Protocol has it. What is no term of ODRL, and what this
/// product puts beside the rules, stays as it is.
#[must_use]
pub fn spelled(policy: &Json) -> Json {
    match policy {
        Json::Object(map) => Json::Object(object(map)),
        Json::Array(all) => all.iter().map(spelled).collect(),
        other => other.clone(),
    }
}

/// What of a policy's JSON is its terms, as it stands there, in whatever way the keys are written.
#[must_use]
pub fn terms_of(policy: &Json) -> Map<String, Json> {
    // In one order, so that the same terms have the same text.
    let written = |name: &str| policy.as_object()?.iter().find(|(key, _)| term(key) == name);
    TERMS.into_iter().filter_map(written).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn object(map: &Map<String, Json>) -> Map<String, Json> {
    if map.contains_key("@value") {
        return map.clone();
    }
    let mut out = Map::new();
    for (key, value) in map {
        let name = term(key);
        let value = match name {
            _ if name.contains(':') || name == "@context" => value.clone(),
            "action" => named(value, is_action),
            "leftOperand" => named(value, |name| OPERANDS.contains(&name)),
            "operator" => named(value, in_protocol_context),
            _ => spelled(value),
        };
        let known = in_protocol_context(name) || !KEYS.contains(&name);
        out.insert(if known { name.to_owned() } else { format!("odrl:{name}") }, value);
    }
    out
}

/// A value that names a term: bare where the context types it so, else as an IRI.
fn named(value: &Json, is_term: impl Fn(&str) -> bool + Copy) -> Json {
    match value {
        Json::String(text) => match term(text) {
            name if in_protocol_context(name) => Json::String(name.to_owned()),
            name if is_term(name) => Json::String(format!("odrl:{name}")),
            _ => value.clone(),
        },
        Json::Array(all) => all.iter().map(|one| named(one, is_term)).collect(),
        Json::Object(map) => {
            // Names of nodes are IRIs, never bare terms.
            let node = |key: &str, value: &Json| match value {
                Json::String(text) if ["@id", "rdf:value", "value"].contains(&key) => match term(text) {
                    name if is_term(name) || in_protocol_context(name) => {
                        Json::String(format!("odrl:{name}"))
                    }
                    _ => value.clone(),
                },
                Json::Object(_) if ["rdf:value", "value"].contains(&key) => named(value, is_term),
                _ => value.clone(),
            };
            let written = object(map);
            written.into_iter().map(|(key, value)| (key.clone(), node(&key, &value))).collect()
        }
        other => other.clone(),
    }
}

/// Whether this is an action of ODRL's own vocabulary.
fn is_action(name: &str) -> bool {
    name != ACCESS && !name.contains(':') && is_odrl(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::model::Policy;

    #[test]
    fn what_the_context_does_not_define_is_prefixed() {
        let policy = json!({"@id": "urn:o", "@type": "Offer", "conflict": "perm", "permission": [{"action": "use",
            "constraint": [
                {"leftOperand": "purpose", "operator": "isA", "rightOperand": "purpose"},
                {"or": [{"leftOperand": "odrl:dateTime", "operator": "odrl:lteq", "rightOperand":
                    {"@value": "2030-01-01", "@type": "xsd:date"}},
                    {"leftOperand": "urn:concordat:membership", "operator": "eq", "rightOperand": "urn:s"}]},
                {"leftOperand": "inForceDate", "operator": "lteq", "rightOperand": "x", "unit": "EUR"}],
            "duty": [{"action": {"@id": "delete", "refinement": [{"leftOperand": "delayPeriod", "operator": "lteq",
                "rightOperand": "P30D"}]}}]}],
            "http://www.w3.org/ns/odrl/2/prohibition": [{"action": "http://www.w3.org/ns/odrl/2/distribute",
                "remedy": [{"action": "cc:Attribution"}]}],
            "urn:concordat:serviceLevels": {"period": "PT1H", "unit": "x"}});
        let expected = json!({"@id": "urn:o", "@type": "Offer", "odrl:conflict": "perm", "permission": [{"action": "use",
            "constraint": [
                {"leftOperand": "odrl:purpose", "operator": "isA", "rightOperand": "purpose"},
                {"or": [{"leftOperand": "odrl:dateTime", "operator": "lteq", "rightOperand":
                    {"@value": "2030-01-01", "@type": "xsd:date"}},
                    {"leftOperand": "urn:concordat:membership", "operator": "eq", "rightOperand": "urn:s"}]},
                {"leftOperand": "inForceDate", "operator": "lteq", "rightOperand": "x", "odrl:unit": "EUR"}],
            "duty": [{"action": {"@id": "odrl:delete", "odrl:refinement": [{"leftOperand": "odrl:delayPeriod",
                "operator": "lteq", "rightOperand": "P30D"}]}}]}],
            "prohibition": [{"action": "odrl:distribute", "odrl:remedy": [{"action": "cc:Attribution"}]}],
            "urn:concordat:serviceLevels": {"period": "PT1H", "unit": "x"}});
        assert_eq!(spelled(&policy), expected);
        assert_eq!(spelled(&expected), expected, "twice is once");
        assert_eq!(
            terms_of(&policy).keys().map(String::as_str).collect::<BTreeSet<_>>(),
            [
                "conflict",
                "http://www.w3.org/ns/odrl/2/prohibition",
                "permission",
                "urn:concordat:serviceLevels"
            ]
            .into()
        );
    }

    #[test]
    fn a_policy_says_the_same_before_and_after() {
        let policy = json!({"@id": "urn:o", "@type": "Offer", "conflict": "prohibit", "permission": [{"action": "display",
            "constraint": [{"leftOperand": "count", "operator": "lteq", "rightOperand": "5", "unit": "urn:u"}],
            "duty": [{"action": "attribute", "consequence": [{"action": "compensate", "compensatedParty": "urn:p"}]}]}]});
        assert_eq!(Policy::parse(&spelled(&policy)).unwrap(), Policy::parse(&policy).unwrap());
    }
}
