//! JSON-LD as peers in the field send it, brought into the compact form: prefixed and full terms, single objects
//! where lists are meant, lists of one where single values are, `@value` and `@id` objects, other contexts.
//!
//! A small normaliser over the vocabularies that the protocol uses; contexts are never fetched. A message in the
//! compact form comes out as it went in, so that what was signed stays what was sent.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use policy_engine::in_protocol_context;

use crate::CONTEXT;

/// ODRL, whose terms keep its prefix where the protocol's context does not define them by their bare names.
const ODRL: [&str; 2] = ["http://www.w3.org/ns/odrl/2/", "odrl:"];
/// Namespaces whose terms are known by their local name.
const NAMESPACES: [&str; 3] =
    ["https://w3id.org/dspace/2025/1/", "https://w3id.org/dspace/v0.8/", "https://w3id.org/edc/v0.0.1/ns/"];
/// Prefixes that usually stand for them.
const PREFIXES: [&str; 2] = ["dspace:", "edc:"];
/// DCAT, of which the protocol has taken some terms.
const DCAT: [&str; 2] = ["http://www.w3.org/ns/dcat#", "dcat:"];
/// These.
const DCAT_TERMS: [&str; 12] = [
    "Catalog",
    "DataService",
    "Dataset",
    "Distribution",
    "accessService",
    "catalog",
    "dataset",
    "distribution",
    "endpointDescription",
    "endpointURL",
    "servesDataset",
    "service",
];
/// Single terms of other vocabularies.
const TERMS: [(&str, &str); 2] = [("dct:format", "format"), ("http://purl.org/dc/terms/format", "format")];

/// Terms whose value is a list (`@container: @set` in the context, and the logical constraints).
const LISTS: [&str; 18] = [
    "and",
    "andSequence",
    "assetsSelector",
    "catalog",
    "constraint",
    "dataset",
    "distribution",
    "duty",
    "endpointProperties",
    "filter",
    "filterExpression",
    "hasPolicy",
    "obligation",
    "or",
    "permission",
    "prohibition",
    "service",
    "xone",
];
/// Terms whose value is a name of a vocabulary.
const NAMES: [&str; 7] =
    ["action", "eventType", "format", "leftOperand", "operator", "state", "endpointType"];
/// Terms whose value is taken as it is.
const OPAQUE: [&str; 1] = ["@context"];

/// Members that are policies.
const POLICIES: [&str; 3] = ["agreement", "offer", "policy"];

/// Deepest nesting that is looked into; what is deeper stays as it is and is refused where it is read.
const MAX_DEPTH: usize = 64;

/// The compact form of `json`. What is not understood stays as it is.
#[must_use]
pub fn normalise(json: Json) -> Json {
    let root = match json {
        // An expanded document is a list of one.
        Json::Array(mut list) if list.len() == 1 => list.pop().unwrap_or_default(),
        other => other,
    };
    let Json::Object(map) = root else { return root };
    let expanded = !map.contains_key("@context");
    let inline = map.get("@context").filter(|context| declares_prefixes(context)).cloned();
    let mut out = object(map, 0);
    if let Some(inline) = inline {
        POLICIES.iter().for_each(|part| spell_out(&mut out, part, &inline));
    }
    let speaks = match out.get("@context") {
        Some(Json::Array(list)) => list.iter().any(|one| one.as_str() == Some(CONTEXT)),
        _ => false,
    };
    if !speaks {
        let context = match out.remove("@context") {
            None if expanded => Vec::new(),
            // An inline context only names the prefixes that were resolved here.
            Some(Json::Object(_)) | None => Vec::new(),
            Some(Json::String(one)) => vec![Json::String(one)],
            Some(Json::Array(list)) => list.into_iter().filter(Json::is_string).collect(),
            Some(other) => vec![other],
        };
        out.insert("@context".to_owned(), Json::Array(context));
    }
    Json::Object(out)
}

/// Whether a context declares prefixes of its own.
fn declares_prefixes(context: &Json) -> bool {
    match context {
        Json::Object(map) => !map.is_empty(),
        Json::Array(list) => list.iter().any(Json::is_object),
        _ => false,
    }
}

/// Writes the prefixes out that a document declares, in the policy that it carries: without the document they mean nothing.
fn spell_out(document: &mut Map<String, Json>, part: &str, context: &Json) {
    let Some(Json::Object(policy)) = document.get_mut(part) else { return };
    if policy.contains_key("@context") {
        return;
    }
    let mut with = policy.clone();
    with.insert("@context".to_owned(), context.clone());
    // What cannot be spelled out is refused where it is read.
    if let Ok(Json::Object(spelled)) = policy_engine::compacted(&Json::Object(with)) {
        *policy = spelled;
    }
}

/// As [`normalise`], and the document counts as one of the protocol: for messages whose terms were spelled out, so
/// that their context is not needed.
#[must_use]
pub fn normalise_message(json: Json) -> Json {
    let spelled_out = uses_known_terms(&json);
    let mut out = normalise(json);
    if spelled_out
        && let Some(list) = out.get_mut("@context").and_then(Json::as_array_mut)
        && !list.iter().any(|one| one.as_str() == Some(CONTEXT))
    {
        list.insert(0, Json::String(CONTEXT.to_owned()));
    }
    // Reasons are a list in messages, and a single text elsewhere.
    if let Some(reason) = out.get_mut("reason") {
        *reason = match reason.take() {
            Json::Array(list) => Json::Array(list.into_iter().map(plain).collect()),
            one => Json::Array(vec![plain(one)]),
        };
    }
    out
}

/// Whether the document's type or keys carry a known prefix or namespace.
fn uses_known_terms(json: &Json) -> bool {
    let map = match json {
        Json::Array(list) => list.first().and_then(Json::as_object),
        other => other.as_object(),
    };
    let Some(map) = map else { return false };
    let of_kind = match map.get("@type") {
        Some(Json::Array(list)) => list.first().and_then(Json::as_str),
        Some(one) => one.as_str(),
        None => None,
    };
    map.keys().map(String::as_str).chain(of_kind).any(|name| local(name) != name)
}

/// The local name of a known term; anything else as written: what peers say in DCAT beyond the protocol's own terms
/// (keywords, media types) keeps its full name, and ODRL's other terms keep its prefix.
fn local(name: &str) -> Cow<'_, str> {
    if let Some((_, term)) = TERMS.iter().find(|(long, _)| *long == name) {
        return Cow::Borrowed(term);
    }
    if let Some(term) = DCAT.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        return Cow::Borrowed(if DCAT_TERMS.contains(&term) { term } else { name });
    }
    let is_plain = |rest: &&str| !rest.is_empty() && !rest.contains(['/', '#']);
    if let Some(term) = ODRL.iter().find_map(|prefix| name.strip_prefix(prefix)).filter(is_plain) {
        return if in_protocol_context(term) {
            Cow::Borrowed(term)
        } else {
            Cow::Owned(format!("odrl:{term}"))
        };
    }
    let known = NAMESPACES.iter().chain(PREFIXES.iter()).find_map(|prefix| name.strip_prefix(prefix));
    Cow::Borrowed(known.filter(is_plain).unwrap_or(name))
}

fn object(map: Map<String, Json>, depth: usize) -> Map<String, Json> {
    let mut out = Map::new();
    for (key, value) in map {
        let name = local(&key).into_owned();
        if OPAQUE.contains(&name.as_str()) {
            out.insert(name, value);
            continue;
        }
        let value = match name.as_str() {
            "@type" => kind(value),
            "@id" => value,
            // Of other vocabularies: kept as it is.
            _ if name.contains(':') && !name.starts_with("odrl:") => value,
            _ => member(&name, value, depth + 1),
        };
        out.insert(name, value);
    }
    out
}

/// `@type` is one short name.
fn kind(value: Json) -> Json {
    let one = match value {
        Json::Array(mut list) if list.len() == 1 => list.pop().unwrap_or_default(),
        other => other,
    };
    match one {
        Json::String(text) => Json::String(local(&text).into_owned()),
        other => other,
    }
}

fn member(name: &str, value: Json, depth: usize) -> Json {
    if depth > MAX_DEPTH {
        return value;
    }
    if LISTS.contains(&name) {
        let list = match value {
            Json::Array(list) => list,
            Json::Object(mut map) if map.len() == 1 && map.contains_key("@list") => {
                return member(name, map.remove("@list").unwrap_or_default(), depth + 1);
            }
            one => vec![one],
        };
        return Json::Array(list.into_iter().map(|one| nested(one, depth)).collect());
    }
    if name == "rightOperand" {
        return match value {
            // A list of one value, as expansion makes it; lists of strings are meant as lists.
            Json::Array(mut list) if list.len() == 1 && list.first().is_some_and(Json::is_object) => {
                plain(list.pop().unwrap_or_default())
            }
            Json::Array(list) => Json::Array(list.into_iter().map(plain).collect()),
            other => other,
        };
    }
    let single = match value {
        Json::Array(mut list) if list.len() == 1 && list.first().is_some_and(Json::is_object) => {
            list.pop().unwrap_or_default()
        }
        other => other,
    };
    if NAMES.contains(&name) {
        return match plain(single) {
            Json::String(text) => Json::String(local(&text).into_owned()),
            // ODRL's `{"type": "use"}` form of an action.
            Json::Object(map) if name == "action" => match map.get("type").or_else(|| map.get("odrl:type")) {
                Some(Json::String(text)) if map.len() == 1 => Json::String(local(text).into_owned()),
                _ => Json::Object(map),
            },
            other => other,
        };
    }
    nested(plain(single), depth)
}

/// A value object or a reference as the string it stands for.
fn plain(value: Json) -> Json {
    match value {
        Json::Object(map) if map.contains_key("@value") => {
            map.get("@value").filter(|one| one.is_string()).cloned().unwrap_or(Json::Object(map))
        }
        Json::Object(map) if map.len() == 1 && map.contains_key("@id") => {
            map.get("@id").cloned().unwrap_or_default()
        }
        other => other,
    }
}

fn nested(value: Json, depth: usize) -> Json {
    match value {
        Json::Object(map) => Json::Object(object(map, depth)),
        Json::Array(list) => Json::Array(list.into_iter().map(|one| nested(one, depth + 1)).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compact() -> Json {
        json!({"@context": [CONTEXT], "@type": "ContractRequestMessage", "@id": "urn:m", "consumerPid": "urn:c",
            "callbackAddress": "https://c.example", "urn:concordat:note": {"a": [1, {"@value": "x"}]},
            "offer": {"@id": "urn:o", "@type": "Offer", "target": "urn:d", "permission": [{"action": "use",
                "constraint": [{"leftOperand": "purpose", "operator": "isAnyOf", "rightOperand": ["a", "b"]},
                    {"or": [{"leftOperand": "spatial", "operator": "eq", "rightOperand": {"@value": "BE", "@type": "xsd:string"}}]}]}]}})
    }

    #[test]
    fn the_compact_form_stays_as_it_is() {
        assert_eq!(normalise(compact()), compact());
        assert_eq!(normalise_message(compact()), compact());
    }

    #[test]
    fn prefixed_terms_single_objects_and_value_objects() {
        let peer = json!({
            "@context": {"dspace": "https://w3id.org/dspace/2025/1/", "odrl": "http://www.w3.org/ns/odrl/2/"},
            "@type": "dspace:ContractRequestMessage", "@id": "urn:m",
            "dspace:consumerPid": {"@id": "urn:c"}, "dspace:callbackAddress": {"@value": "https://c.example"},
            "dspace:offer": {"@id": "urn:o", "@type": "odrl:Offer", "odrl:target": {"@id": "urn:d"},
                "odrl:permission": {"odrl:action": {"@id": "odrl:use"}, "odrl:constraint": {
                    "odrl:leftOperand": {"@id": "odrl:purpose"}, "odrl:operator": {"@id": "odrl:eq"},
                    "odrl:rightOperand": {"@value": "p", "@type": "xsd:string"}}}}
        });
        assert_eq!(
            normalise_message(peer),
            json!({"@context": [CONTEXT], "@type": "ContractRequestMessage", "@id": "urn:m", "consumerPid": "urn:c",
                "callbackAddress": "https://c.example", "offer": {"@id": "urn:o", "@type": "Offer", "target": "urn:d",
                    "permission": [{"action": "use", "constraint": [{"leftOperand": "http://www.w3.org/ns/odrl/2/purpose", "operator": "eq",
                        "rightOperand": {"@value": "p", "@type": "xsd:string"}}]}]}})
        );
    }

    #[test]
    fn reasons_are_a_list_in_messages() {
        let message = json!({"@context": [CONTEXT], "@type": "TransferError", "reason": "why"});
        assert_eq!(normalise_message(message.clone())["reason"], json!(["why"]));
        assert_eq!(normalise(message)["reason"], json!("why"));
    }

    #[test]
    fn an_expanded_document() {
        let expanded = json!([{
            "@type": ["https://w3id.org/dspace/2025/1/TransferRequestMessage"],
            "https://w3id.org/dspace/2025/1/agreementId": [{"@id": "urn:a"}],
            "https://w3id.org/dspace/2025/1/consumerPid": [{"@id": "urn:c"}],
            "http://purl.org/dc/terms/format": [{"@id": "HttpData-PULL"}],
            "https://w3id.org/dspace/2025/1/callbackAddress": [{"@value": "https://c.example"}],
        }]);
        assert_eq!(
            normalise_message(expanded),
            json!({"@context": [CONTEXT], "@type": "TransferRequestMessage", "agreementId": "urn:a", "consumerPid": "urn:c",
                "format": "HttpData-PULL", "callbackAddress": "https://c.example"})
        );
    }

    #[test]
    fn an_expanded_offer_as_clients_pass_it_on() {
        const ODRL: &str = "http://www.w3.org/ns/odrl/2/";
        let offer = json!({"@id": "urn:o", "@type": [format!("{ODRL}Offer")], format!("{ODRL}permission"): [{
            format!("{ODRL}action"): [{"@value": "use"}], format!("{ODRL}constraint"): [{
                format!("{ODRL}leftOperand"): [{"@value": "count"}], format!("{ODRL}operator"): [{"@value": "lteq"}],
                format!("{ODRL}rightOperand"): [{"@value": "5"}]}]}], "assigner": "did:web:p", "target": "urn:d"});
        let mut out = normalise(offer);
        out.as_object_mut().unwrap().remove("@context");
        assert_eq!(
            out,
            json!({"@id": "urn:o", "@type": "Offer", "permission": [{"action": "use", "constraint": [{"leftOperand": "count",
                "operator": "lteq", "rightOperand": "5"}]}], "assigner": "did:web:p", "target": "urn:d"})
        );
    }

    #[test]
    fn what_dcat_says_beyond_the_protocol_keeps_its_name() {
        let catalog = json!({"@context": [CONTEXT], "@type": "dcat:Catalog", "dcat:dataset": {"@id": "urn:d",
            "http://www.w3.org/ns/dcat#keyword": ["a"], "dcat:distribution": {"dct:format": {"@id": "HttpData-PULL"},
                "http://www.w3.org/ns/dcat#mediaType": "text/csv"}}});
        let out = normalise_message(catalog);
        assert_eq!(out["dataset"][0]["http://www.w3.org/ns/dcat#keyword"], json!(["a"]));
        let distribution = &out["dataset"][0]["distribution"][0];
        assert_eq!(distribution["format"], "HttpData-PULL");
        assert_eq!(distribution["http://www.w3.org/ns/dcat#mediaType"], "text/csv");
    }

    #[test]
    fn a_foreign_context_alone_makes_no_message_of_the_protocol() {
        let foreign =
            json!({"@context": ["https://other.example/context"], "@type": "ContractRequestMessage"});
        assert_eq!(normalise_message(foreign.clone()), foreign);
        assert_eq!(normalise_message(json!(5)), json!(5));
    }
}
