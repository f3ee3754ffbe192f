//! Reasons that peers give, in words: of the protocol's errors, of those of Eclipse EDC's other interfaces, and of documents that
//! others pack into a text.

use serde_json::Value as Json;

/// Longest text that is made of a peer's reasons, in characters.
const MAX_TEXT: usize = 2000;
/// Deepest that reasons stand in reasons.
const MAX_DEPTH: usize = 4;
/// Members in which peers give a reason, by what they say.
const MEMBERS: [&str; 7] =
    ["reason", "dspace:reason", "message", "error_description", "detail", "title", "error"];

/// All reasons of a peer as one line, cut to a bounded length.
#[must_use]
pub fn reason_text(code: Option<&str>, reason: &[Json]) -> String {
    let mut said = Vec::new();
    reason.iter().for_each(|one| collect(one, 1, &mut said));
    let text = said.join("; ");
    if text.is_empty() {
        return code.map_or_else(|| "no reason given".to_owned(), |code| format!("code {code}"));
    }
    text.chars().take(MAX_TEXT).collect()
}

/// What a peer says in the body of a refusal, as one line; empty where it says nothing that can be read.
#[must_use]
pub fn refusal_text(body: &[u8]) -> String {
    let mut said = Vec::new();
    match serde_json::from_slice::<Json>(body) {
        Ok(json) => {
            collect(&json, 0, &mut said);
            let code = json.get("code").and_then(Json::as_str);
            said.extend(code.filter(|_| said.is_empty()).map(|code| format!("code {code}")));
        }
        // Pages of proxies are for browsers.
        Err(_) if body.trim_ascii_start().starts_with(b"<") => {}
        Err(_) => said.push(String::from_utf8_lossy(body).trim().to_owned()),
    }
    let text: String = said.join("; ").chars().filter(|c| !c.is_control()).collect();
    text.chars().take(MAX_TEXT).collect()
}

fn collect(json: &Json, depth: usize, said: &mut Vec<String>) {
    if depth > MAX_DEPTH {
        return;
    }
    match json {
        Json::String(text) => said.extend(unpacked(text, depth)),
        Json::Array(all) => all.iter().for_each(|one| collect(one, depth + 1, said)),
        Json::Object(map) => {
            if let Some(value) = map.get("@value") {
                return collect(value, depth + 1, said);
            }
            let full = |name: &&str| {
                map.get(*name).or_else(|| map.get(&format!("https://w3id.org/dspace/2025/1/{name}")))
            };
            match MEMBERS.iter().find_map(full).filter(|found| !found.is_null()) {
                Some(found) => collect(found, depth + 1, said),
                // Its words are not known, so it is shown as it is.
                None if depth > 0 && !map.is_empty() => said.push(json.to_string()),
                None => {}
            }
        }
        _ => {}
    }
}

/// A text, with a document in it as what that says: EDC packs the answers that it got into its reasons.
fn unpacked(text: &str, depth: usize) -> Option<String> {
    let text = text.trim();
    let inner = text.match_indices("{\"").chain(text.match_indices("[{\"")).find_map(|(place, _)| {
        let (before, rest) = text.split_at(place);
        let mut documents = serde_json::Deserializer::from_str(rest).into_iter::<Json>();
        let document = documents.next()?.ok().filter(|one| one.is_object() || one.is_array())?;
        let mut said = Vec::new();
        collect(&document, depth + 1, &mut said);
        if said.is_empty() {
            return None;
        }
        let before = before.trim().trim_end_matches("Body:").trim_end();
        let said = said.join("; ");
        Some(if before.is_empty() { said } else { format!("{before} {said}") })
    });
    inner.or_else(|| (!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_are_told_in_words() {
        let of = |json: Json| refusal_text(json.to_string().as_bytes());
        assert_eq!(
            of(json!({"@type": "TransferError", "code": "400", "reason": ["a", {"@value": "b"}]})),
            "a; b"
        );
        assert_eq!(
            of(json!([{"message": "Invalid format", "type": "InvalidRequest", "path": null}])),
            "Invalid format"
        );
        assert_eq!(of(json!({"code": "malformed", "reason": "/x: is missing"})), "/x: is missing");
        assert_eq!(of(json!({"@type": "CatalogError", "code": "401"})), "code 401");
        assert_eq!(refusal_text(b"no such page\n"), "no such page");
        for nothing in [&b"<html><body>502</body></html>"[..], b"", b"{}", b"[]", b"null"] {
            assert_eq!(refusal_text(nothing), "");
        }
    }

    /// `cases/edc/transfer-termination-nested-reason.json` and `negotiation-termination.json`.
    #[test]
    fn a_document_in_a_reason_is_told_in_its_words() {
        let inner = json!({"@type": "TransferError", "code": "illegal-transition", "reason": ["a start is not allowed"]});
        assert_eq!(reason_text(None, &[json!(inner.to_string())]), "a start is not allowed");
        let around = format!("Failed: Counter Party responded with Response{{code=400}}. Body: {inner}.");
        assert_eq!(
            reason_text(None, &[json!(around)]),
            "Failed: Counter Party responded with Response{code=400}. a start is not allowed"
        );
        assert_eq!(reason_text(None, &[json!("set {a} of {\"b")]), "set {a} of {\"b");
        assert_eq!(reason_text(Some("7"), &[]), "code 7");
        assert_eq!(reason_text(None, &[json!({"a": 1})]), "{\"a\":1}");
        let deep = (0..8).fold(json!("x"), |inner, _| json!({"reason": inner.to_string()}));
        assert!(reason_text(None, &[deep]).len() <= MAX_TEXT);
    }
}
