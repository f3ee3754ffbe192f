//! ODRL as others write it in JSON-LD, brought into the compact form that the parser reads: prefixed and full terms,
//! `uid` and `type`, prefixes that an inline context declares, a policy inside `@graph`, and nodes that stand elsewhere
//! in the document. Contexts are never fetched. What is compact comes out as it went in.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::error::PolicyError;
use crate::model::Kind;
use crate::odrl::{OWN, term};

/// Deepest nesting that is looked into.
const MAX_DEPTH: usize = 64;
/// Most nodes of a document that others may refer to.
const MAX_NODES: usize = 10_000;
/// Keys whose value is a list, also where one member stands without.
const LISTS: [&str; 12] = [
    "and",
    "andSequence",
    "consequence",
    "constraint",
    "duty",
    "obligation",
    "or",
    "permission",
    "prohibition",
    "refinement",
    "remedy",
    "xone",
];
/// Keys whose value is taken as it is.
const OPAQUE: [&str; 2] = ["@context", "@value"];
/// Keys whose texts name something, so that a declared prefix stands for its namespace there.
const NAMING: [&str; 22] = [
    "@id",
    "@type",
    "action",
    "assignee",
    "assigner",
    "attributedParty",
    "attributingParty",
    "compensatedParty",
    "compensatingParty",
    "consentedParty",
    "consentingParty",
    "contractedParty",
    "contractingParty",
    "inheritFrom",
    "informedParty",
    "informingParty",
    "leftOperand",
    "operator",
    "profile",
    "rightOperand",
    "source",
    "target",
];

/// A document in compact form.
pub(crate) struct Compact {
    /// The policy.
    pub policy: Json,
    /// What else stands in the document, by `@id`: duties, constraints, parties and assets that are referred to.
    pub nodes: BTreeMap<String, Json>,
}

/// Brings a document into compact form.
///
/// # Errors
/// Names the place: it is nested too deeply, a term stands twice under two names, or `@graph` has no or several
/// policies.
pub(crate) fn compact(json: &Json) -> Result<Compact, PolicyError> {
    // An expanded document is a list of one.
    let json = match json {
        Json::Array(list) if list.len() == 1 => list.first().unwrap_or(json),
        other => other,
    };
    let prefixes = json.get("@context").map(prefixes).unwrap_or_default();
    let context = Context { prefixes };
    let root = context.value("", json, "", 0)?;
    let mut nodes = BTreeMap::new();
    index(&root, &mut nodes);
    let graph = root.get("@graph").cloned();
    let policy = match graph {
        None => root,
        Some(graph) => {
            let members = match graph {
                Json::Array(list) => list,
                one => vec![one],
            };
            let mut policies = members.into_iter().filter(is_policy);
            match (policies.next(), policies.next()) {
                (Some(policy), None) => policy,
                (None, _) => return Err(PolicyError::new("/@graph", "holds no policy")),
                (Some(_), Some(_)) => {
                    return Err(PolicyError::new("/@graph", "holds several policies; state them one by one"));
                }
            }
        }
    };
    Ok(Compact { policy, nodes })
}

fn is_policy(json: &Json) -> bool {
    let kind = match json.get("@type") {
        Some(Json::Array(list)) => list.first().and_then(Json::as_str),
        other => other.and_then(Json::as_str),
    };
    kind.is_some_and(|kind| kind == "Policy" || Kind::ALL.iter().any(|known| known.term() == kind))
        || ["permission", "prohibition", "obligation"].iter().any(|key| json.get(key).is_some())
}

/// Every node that says more than its name.
fn index(json: &Json, nodes: &mut BTreeMap<String, Json>) {
    match json {
        Json::Object(map) => {
            if let Some(Json::String(id)) = map.get("@id")
                && map.len() > 1
                && nodes.len() < MAX_NODES
            {
                nodes.entry(id.clone()).or_insert_with(|| json.clone());
            }
            map.iter()
                .filter(|(key, _)| !OPAQUE.contains(&key.as_str()))
                .for_each(|(_, one)| index(one, nodes));
        }
        Json::Array(list) => list.iter().for_each(|one| index(one, nodes)),
        _ => {}
    }
}

/// The prefixes that an inline context declares.
fn prefixes(context: &Json) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let parts = context.as_array().map_or_else(|| std::slice::from_ref(context), Vec::as_slice);
    for (name, meaning) in parts.iter().filter_map(Json::as_object).flatten() {
        let iri = match meaning {
            Json::String(iri) => Some(iri),
            Json::Object(map) => match map.get("@id") {
                Some(Json::String(iri)) => Some(iri),
                _ => None,
            },
            _ => None,
        };
        if let Some(iri) = iri.filter(|iri| iri.ends_with(['/', '#', ':']) && !name.starts_with('@')) {
            found.insert(name.clone(), iri.clone());
        }
    }
    found
}

struct Context {
    prefixes: BTreeMap<String, String>,
}

impl Context {
    /// A name with the prefix that it has written out.
    fn expand(&self, name: &str) -> String {
        match name.split_once(':') {
            Some((prefix, rest)) if !rest.starts_with("//") => match self.prefixes.get(prefix) {
                Some(namespace) => format!("{namespace}{rest}"),
                None => name.to_owned(),
            },
            _ => name.to_owned(),
        }
    }

    fn key(&self, key: &str) -> String {
        let full = self.expand(key);
        match term(&full) {
            "uid" | "id" => "@id".to_owned(),
            "type" => "@type".to_owned(),
            term => term.to_owned(),
        }
    }

    fn value(&self, key: &str, json: &Json, path: &str, depth: usize) -> Result<Json, PolicyError> {
        if depth > MAX_DEPTH {
            return Err(PolicyError::new(path, format!("nested deeper than {MAX_DEPTH}")));
        }
        match json {
            Json::Object(map) => self.object(key, map, path, depth).map(Json::Object),
            Json::Array(list) => {
                let members = list.iter().enumerate();
                let members =
                    members.map(|(index, one)| self.value(key, one, &format!("{path}/{index}"), depth + 1));
                members.collect::<Result<Vec<_>, _>>().map(Json::Array)
            }
            Json::String(text) if key == "@type" => Ok(Json::String(term(&self.expand(text)).to_owned())),
            Json::String(text) if NAMING.contains(&key) => Ok(Json::String(self.expand(text))),
            other => Ok(other.clone()),
        }
    }

    fn object(
        &self,
        of: &str,
        map: &Map<String, Json>,
        path: &str,
        depth: usize,
    ) -> Result<Map<String, Json>, PolicyError> {
        let mut out = Map::new();
        let literal = map.contains_key("@value");
        for (key, value) in map {
            let place = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
            // The type of a literal is its datatype.
            let name = if literal { key.clone() } else { self.key(key) };
            let value = if literal || OPAQUE.contains(&name.as_str()) || name.starts_with(OWN) {
                value.clone()
            } else {
                // Inside a list the members are what the list is of.
                let of = if name == "@list" { of } else { &name };
                self.value(of, value, &place, depth + 1)?
            };
            let value = if LISTS.contains(&name.as_str()) { listed(value) } else { value };
            let repeats = out.get(&name).is_some_and(|before| *before == value);
            if out.insert(name.clone(), value).is_some() && !repeats {
                return Err(PolicyError::new(
                    place,
                    format!("`{name}` stands twice, under two names of the same term"),
                ));
            }
        }
        Ok(out)
    }
}

/// A list, however JSON-LD writes it: `@list`, a list of that, or one member alone.
fn listed(value: Json) -> Json {
    let is_list =
        |json: &Json| json.as_object().is_some_and(|map| map.len() == 1 && map.contains_key("@list"));
    match value {
        Json::Array(mut list) if list.len() == 1 && list.first().is_some_and(is_list) => {
            list.pop().map_or(Json::Null, listed)
        }
        Json::Array(list) => Json::Array(list),
        Json::Object(mut map) if map.len() == 1 && map.contains_key("@list") => {
            listed(map.remove("@list").unwrap_or_default())
        }
        one @ Json::Object(_) => Json::Array(vec![one]),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_compact_stays_as_it_is() {
        let policy = json!({"@context": ["https://w3id.org/dspace/2025/1/context.jsonld"], "@id": "urn:o", "@type": "Offer",
            "permission": [{"action": "use", "constraint": [{"leftOperand": "purpose", "operator": "eq",
                "rightOperand": {"@value": "urn:a", "@type": "xsd:string"}}]}], "urn:concordat:note": [1, {"a": null}]});
        assert_eq!(compact(&policy).unwrap().policy, policy);
    }

    #[test]
    fn prefixes_terms_and_names() {
        let policy = json!({"@context": [{"o": "http://www.w3.org/ns/odrl/2/", "dpv": "https://w3id.org/dpv#"}],
            "uid": "urn:x", "type": "odrl:Set", "o:permission": {"odrl:action": {"@id": "o:use"}, "constraint": {
                "odrl:leftOperand": {"@id": "odrl:purpose"}, "operator": "eq", "rightOperand": {"@id": "dpv:Marketing"}}}});
        let found = compact(&policy).unwrap().policy;
        assert_eq!(found["@id"], "urn:x");
        assert_eq!(found["@type"], "Set");
        let found = &found["permission"][0];
        assert_eq!(found["action"]["@id"], "http://www.w3.org/ns/odrl/2/use");
        assert_eq!(found["constraint"][0]["rightOperand"]["@id"], "https://w3id.org/dpv#Marketing");
    }

    #[test]
    fn a_graph_has_one_policy_and_its_nodes() {
        let graph = json!({"@graph": [{"@id": "urn:c", "leftOperand": "count", "operator": "lt", "rightOperand": "5"},
            {"@type": "odrl:Set", "permission": [{"action": "use", "constraint": [{"@id": "urn:c"}]}]}]});
        let found = compact(&graph).unwrap();
        assert_eq!(found.policy["@type"], "Set");
        assert!(found.nodes.contains_key("urn:c"));
        let refused = |json: Json| compact(&json).err().unwrap().to_string();
        assert_eq!(refused(json!({"@graph": []})), "/@graph: holds no policy");
        assert!(refused(json!({"@graph": [{"@type": "Set"}, {"@type": "Offer"}]})).contains("several"));
        assert!(
            refused(json!({"permission": [], "odrl:permission": [{}]}))
                .ends_with("permission: `permission` stands twice, under two names of the same term")
        );
    }
}
