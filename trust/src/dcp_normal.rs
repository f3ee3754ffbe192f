//! Messages of the Decentralized Claims Protocol as peers in the field write them in JSON-LD, brought into the compact form of the
//! schemas: full and prefixed terms, `@type`, lists of one where single values are meant, `@value`, `@json` and `@id`
//! objects. Contexts are never fetched; what is compact comes out as it went in.

use serde_json::{Map, Value as Json};

use crate::dcp::CONTEXT;

/// Namespaces and prefixes whose terms are known by their local names.
const NAMESPACES: [&str; 4] =
    ["https://w3id.org/dspace-dcp/v1.0/", "https://www.w3.org/2018/credentials#", "dcp:", "cred:"];
/// Terms whose value is a list.
const LISTS: [&str; 5] = ["bindingMethods", "credentials", "credentialsSupported", "presentation", "scope"];

/// The compact form of a message. What is not understood stays as it is.
pub(crate) fn normalise(json: Json) -> Json {
    let root = match json {
        // An expanded document is a list of one.
        Json::Array(mut list) if list.len() == 1 => list.pop().unwrap_or_default(),
        other => other,
    };
    let Json::Object(map) = root else { return root };
    // Terms that are spelled out need no context to be known.
    let spelled_out = map.keys().any(|key| key == "@type" || local(key) != key);
    let mut out = object(map);
    if spelled_out && !out.contains_key("@context") {
        out.insert("@context".to_owned(), Json::Array(vec![Json::String(CONTEXT.to_owned())]));
    }
    Json::Object(out)
}

fn local(name: &str) -> &str {
    let known = NAMESPACES.iter().find_map(|namespace| name.strip_prefix(namespace));
    known.filter(|rest| !rest.is_empty() && !rest.contains(['/', '#'])).unwrap_or(name)
}

fn object(map: Map<String, Json>) -> Map<String, Json> {
    let mut out = Map::new();
    for (key, value) in map {
        let name = match key.as_str() {
            "@type" => "type",
            "@id" => "id",
            other => local(other),
        };
        let value = match name {
            // Others' documents, which have contexts and types of their own.
            "@context" | "payload" | "presentationDefinition" | "presentationSubmission" => value,
            "type" => match single(value) {
                Json::String(text) => Json::String(local(&text).to_owned()),
                other => other,
            },
            "presentation" => list(value),
            _ if LISTS.contains(&name) => match list(value) {
                Json::Array(all) => all.into_iter().map(entry).collect(),
                other => other,
            },
            _ => single(value),
        };
        out.insert(name.to_owned(), value);
    }
    out
}

/// One of a list.
fn entry(value: Json) -> Json {
    match plain(value) {
        Json::Object(map) => Json::Object(object(map)),
        other => other,
    }
}

fn list(value: Json) -> Json {
    match value {
        // A whole list as one JSON literal.
        Json::Array(mut all) if all.len() == 1 && all.first().is_some_and(is_literal) => {
            list(all.pop().map(plain).unwrap_or_default())
        }
        Json::Array(all) => Json::Array(all),
        Json::Object(mut map) if map.len() == 1 && map.contains_key("@list") => {
            list(map.remove("@list").unwrap_or_default())
        }
        one if is_literal(&one) => list(plain(one)),
        Json::Null => Json::Null,
        one => Json::Array(vec![one]),
    }
}

fn is_literal(json: &Json) -> bool {
    json.get("@type").and_then(Json::as_str) == Some("@json") && json.get("@value").is_some()
}

fn single(value: Json) -> Json {
    match value {
        Json::Array(mut all) if all.len() == 1 => all.pop().map(plain).unwrap_or_default(),
        other => plain(other),
    }
}

/// A value object or a reference as what it stands for.
fn plain(value: Json) -> Json {
    match value {
        Json::Object(mut map) if map.contains_key("@value") => map.remove("@value").unwrap_or_default(),
        Json::Object(mut map) if map.len() == 1 && map.contains_key("@id") => {
            map.remove("@id").unwrap_or_default()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dcp::{
        self, CredentialOfferMessage, CredentialRequestMessage, PresentationQueryMessage, Reference,
    };

    const NS: &str = "https://w3id.org/dspace-dcp/v1.0/";

    /// `cases/edc/credential-request.json`: EDC's IdentityHub writes no context.
    #[test]
    fn an_expanded_request_is_read() {
        let request = json!({"@type": format!("{NS}CredentialRequestMessage"),
            format!("{NS}credentials"): [{"@type": "@json", "@value": [{"id": "a"}, {"id": "b"}]}],
            format!("{NS}holderPid"): {"@id": "request-1"}});
        let expected = CredentialRequestMessage {
            holder_pid: "request-1".to_owned(),
            credentials: ["a", "b"].map(|id| Reference { id: id.to_owned() }).to_vec(),
        };
        for form in [request.clone(), json!([request])] {
            assert_eq!(dcp::parse::<CredentialRequestMessage>(form).unwrap(), expected);
        }
        // What it makes by itself after an offer names nothing.
        let mut nothing = request;
        nothing[format!("{NS}credentials")] = json!([{"@type": "@json", "@value": [{"id": null}]}]);
        let refused = dcp::parse::<CredentialRequestMessage>(nothing).unwrap_err().to_string();
        assert!(refused.contains("/credentials"), "{refused}");
    }

    #[test]
    fn other_messages_are_read_in_other_forms() {
        let query = json!({"@context": [CONTEXT], "@type": "PresentationQueryMessage", "scope": "org.eclipse.edc.vc.type:X:read"});
        assert_eq!(dcp::parse::<PresentationQueryMessage>(query).unwrap().selectors().unwrap().len(), 1);
        let offer = json!({"@type": [format!("{NS}CredentialOfferMessage")],
            "https://www.w3.org/2018/credentials#issuer": [{"@id": "did:web:i"}],
            format!("{NS}credentials"): [{"@id": "c", format!("{NS}credentialType"): [{"@value": "X"}]}]});
        let offer = dcp::parse::<CredentialOfferMessage>(offer).unwrap();
        assert_eq!((offer.issuer.as_str(), offer.credentials[0].id.as_str()), ("did:web:i", "c"));
        assert_eq!(offer.credentials[0].credential_type.as_deref(), Some("X"));
    }

    #[test]
    fn the_compact_form_stays_as_it_is() {
        let message = json!({"@context": ["urn:other", CONTEXT], "type": "CredentialMessage", "issuerPid": "i", "holderPid": "h",
            "status": "ISSUED", "credentials": [{"credentialType": "X", "payload": "a.b.c", "format": "jwt"}]});
        assert_eq!(normalise(message.clone()), message);
        // A foreign message gains no context by its form alone.
        assert_eq!(normalise(json!({"type": "X"})), json!({"type": "X"}));
    }
}
