//! JSON-LD as peers in the field send it, brought into the compact form: prefixed and full terms, single objects
//! where lists are meant, lists of one where single values are, `@value` and `@id` objects, other contexts.
//!
//! A small normaliser over the vocabularies that the protocol uses; contexts are never fetched. A message in the
//! compact form comes out as it went in, so that what was signed stays what was sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

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
const TERMS: [(&str, &str); 3] =
    [("dct:format", "format"), ("dcterms:format", "format"), ("http://purl.org/dc/terms/format", "format")];
/// Prefixes that descriptions of data have beyond what is known by local names, with what they stand for: those of the
/// protocol's context, and the usual other one of its terms.
const WRITTEN_OUT: [(&str, &str); 3] = [
    ("dcat", "http://www.w3.org/ns/dcat#"),
    ("dct", "http://purl.org/dc/terms/"),
    ("dcterms", "http://purl.org/dc/terms/"),
];
/// Most names that an inline context declares for us.
const MAX_NAMES: usize = 256;

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
    let names = inline.as_ref().map(Declared::of).unwrap_or_default();
    let mut out = names.object(map, false, 0);
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

/// What an inline context declares: names by what they stand for, prefixes among them.
#[derive(Default)]
struct Declared(BTreeMap<String, String>);

impl Declared {
    fn of(context: &Json) -> Self {
        let parts = context.as_array().map_or_else(|| std::slice::from_ref(context), Vec::as_slice);
        let mut found = BTreeMap::new();
        for (name, meaning) in parts.iter().filter_map(Json::as_object).flatten() {
            let iri = match meaning {
                Json::String(iri) => Some(iri.as_str()),
                other => other.get("@id").and_then(Json::as_str),
            };
            let is_name = !name.starts_with('@') || name == "@vocab";
            if let Some(iri) = iri.filter(|_| is_name && found.len() < MAX_NAMES) {
                found.insert(name.clone(), iri.to_owned());
            }
        }
        Self(found)
    }

    /// A name as the document means it.
    fn meant(&self, name: &str) -> Option<String> {
        if let Some(iri) = self.0.get(name) {
            // What a name stands for may be written with a prefix itself.
            return Some(self.with_prefix(iri).unwrap_or_else(|| iri.clone()));
        }
        self.with_prefix(name).or_else(|| {
            let bare = !name.contains(':') && !name.starts_with('@') && !name.is_empty();
            self.0.get("@vocab").filter(|_| bare).map(|vocabulary| format!("{vocabulary}{name}"))
        })
    }

    /// Whether a bare name is one of the protocol's by the document's own context.
    fn knows(&self, name: &str) -> bool {
        self.meant(name).is_some_and(|meant| local(&meant) == name)
    }

    fn with_prefix(&self, name: &str) -> Option<String> {
        let (prefix, rest) = name.split_once(':').filter(|(_, rest)| !rest.starts_with("//"))?;
        self.0.get(prefix).map(|namespace| format!("{namespace}{rest}"))
    }

    /// The local name of a term that is known; what the document's own context says and nobody here knows stays as written.
    fn local(&self, name: &str) -> String {
        match self.meant(name) {
            Some(meant) => match local(&meant) {
                Cow::Borrowed(same) if same == meant && !name.contains(':') => name.to_owned(),
                known => known.into_owned(),
            },
            None => local(name).into_owned(),
        }
    }
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

/// Whether the document's type or keys carry a known prefix or namespace, or one that the document declares.
fn uses_known_terms(json: &Json) -> bool {
    let map = match json {
        Json::Array(list) => list.first().and_then(Json::as_object),
        other => other.as_object(),
    };
    let Some(map) = map else { return false };
    let names = map.get("@context").map(Declared::of).unwrap_or_default();
    let of_kind = match map.get("@type") {
        Some(Json::Array(list)) => list.first().and_then(Json::as_str),
        Some(one) => one.as_str(),
        None => None,
    };
    map.keys().map(String::as_str).chain(of_kind).any(|name| names.local(name) != name || names.knows(name))
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

impl Declared {
    /// `in_dcat`: it stands in a description of data, in which prefixes that the protocol's context has are written out.
    fn object(&self, map: Map<String, Json>, in_dcat: bool, depth: usize) -> Map<String, Json> {
        let kind = map.get("@type").cloned().map(|kind| self.kind(kind));
        let in_dcat =
            in_dcat || kind.as_ref().and_then(Json::as_str).is_some_and(|kind| DCAT_TERMS.contains(&kind));
        let mut out = Map::new();
        for (key, value) in map {
            let mut name = self.local(&key);
            if OPAQUE.contains(&name.as_str()) {
                out.insert(name, value);
                continue;
            }
            if in_dcat
                && let Some((prefix, rest)) = name.split_once(':')
                && let Some((_, namespace)) = WRITTEN_OUT.iter().find(|(known, _)| *known == prefix)
            {
                name = format!("{namespace}{rest}");
            }
            let value = match name.as_str() {
                "@type" => self.kind(value),
                "@id" => value,
                // Of other vocabularies: kept as it is.
                _ if name.contains(':') && !name.starts_with("odrl:") => value,
                _ => {
                    let in_dcat = in_dcat && name != "hasPolicy";
                    self.member(&name, value, in_dcat, depth + 1)
                }
            };
            out.insert(name, value);
        }
        out
    }

    /// `@type` is one short name: of several the first that is known.
    fn kind(&self, value: Json) -> Json {
        let one = match value {
            Json::Array(list) if list.len() > 1 => {
                let is_known = |one: &&Json| one.as_str().is_some_and(|text| !self.local(text).contains(':'));
                match list.iter().find(is_known).cloned() {
                    Some(known) => known,
                    None => Json::Array(list),
                }
            }
            Json::Array(mut list) if list.len() == 1 => list.pop().unwrap_or_default(),
            other => other,
        };
        match one {
            Json::String(text) => Json::String(self.local(&text)),
            other => other,
        }
    }

    fn member(&self, name: &str, value: Json, in_dcat: bool, depth: usize) -> Json {
        if depth > MAX_DEPTH {
            return value;
        }
        if LISTS.contains(&name) {
            let list = match value {
                Json::Array(list) => list,
                Json::Object(mut map) if map.len() == 1 && map.contains_key("@list") => {
                    return self.member(name, map.remove("@list").unwrap_or_default(), in_dcat, depth + 1);
                }
                one => vec![one],
            };
            return Json::Array(list.into_iter().map(|one| self.nested(one, in_dcat, depth)).collect());
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
                Json::String(text) => Json::String(self.local(&text)),
                // ODRL's `{"type": "use"}` form of an action.
                Json::Object(map) if name == "action" => {
                    match map.get("type").or_else(|| map.get("odrl:type")) {
                        Some(Json::String(text)) if map.len() == 1 => Json::String(self.local(text)),
                        _ => Json::Object(map),
                    }
                }
                other => other,
            };
        }
        self.nested(plain(single), in_dcat, depth)
    }

    fn nested(&self, value: Json, in_dcat: bool, depth: usize) -> Json {
        match value {
            Json::Object(map) => Json::Object(self.object(map, in_dcat, depth)),
            Json::Array(list) => {
                Json::Array(list.into_iter().map(|one| self.nested(one, in_dcat, depth + 1)).collect())
            }
            other => other,
        }
    }
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

    /// Prefixes and terms of the document's own; a vocabulary for all that is bare; several types.
    #[test]
    fn what_an_inline_context_declares_is_understood() {
        const DSPACE: &str = "https://w3id.org/dspace/2025/1/";
        let expected = json!({"@context": [CONTEXT], "@type": "TransferRequestMessage", "agreementId": "urn:a",
            "consumerPid": "urn:c", "format": "HttpData-PULL", "callbackAddress": "https://c.example"});
        for peer in [
            json!({"@context": {"ds": DSPACE, "terms": "http://purl.org/dc/terms/"}, "@type": ["ds:TransferRequestMessage"],
                "ds:agreementId": {"@id": "urn:a"}, "ds:consumerPid": "urn:c", "terms:format": "HttpData-PULL",
                "ds:callbackAddress": "https://c.example"}),
            json!({"@context": {"@vocab": DSPACE, "how": {"@id": "dcterms:format"}, "dcterms": "http://purl.org/dc/terms/"},
                "@type": ["https://other.example/Message", "TransferRequestMessage"], "agreementId": "urn:a", "consumerPid": "urn:c",
                "how": "HttpData-PULL", "callbackAddress": "https://c.example"}),
            json!({"@context": [CONTEXT, {"ds": DSPACE}], "@type": "TransferRequestMessage", "ds:agreementId": "urn:a",
                "consumerPid": "urn:c", "dcterms:format": "HttpData-PULL", "callbackAddress": "https://c.example"}),
        ] {
            let mut out = normalise_message(peer);
            out["@context"] = json!([CONTEXT]);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn descriptions_have_their_prefixes_written_out_and_policies_stay() {
        let policy =
            json!({"@id": "urn:o", "@type": "Offer", "dct:title": "T", "permission": [{"action": "use"}]});
        let catalog = json!({"@context": [CONTEXT], "@type": "Catalog", "dct:title": "C", "dataset": [{"@id": "urn:d",
            "@type": "Dataset", "dcterms:title": "D", "dcat:keyword": ["k"], "hasPolicy": [policy]}]});
        let out = normalise_message(catalog);
        assert_eq!(out["http://purl.org/dc/terms/title"], "C");
        assert_eq!(out["dataset"][0]["http://purl.org/dc/terms/title"], "D");
        assert_eq!(out["dataset"][0]["http://www.w3.org/ns/dcat#keyword"], json!(["k"]));
        assert_eq!(
            out["dataset"][0]["hasPolicy"][0], policy,
            "what may be agreed to stays as it was written"
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
