//! The terms in plain words, bound to the ODRL: an agreement carries both and a digest of both, so that what the parties
//! sign is what their clerks read.
//!
//! Two properties with absolute keys, which a peer that does not know them keeps or ignores:
//! `urn:concordat:words`, the sentences, and `urn:concordat:words-digest`, `TEMPLATES:sha-256:HEX` over the canonical
//! JSON (RFC 8785) of sentences and rules. `TEMPLATES` names the templates the sentences were made with.

use policy_engine::{Policy, explain};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};

const WORDS: &str = "urn:concordat:words";
const DIGEST: &str = "urn:concordat:words-digest";
/// What the digest covers beside the words.
const RULES: [&str; 5] = ["profile", "conflict", "permission", "prohibition", "obligation"];

/// Adds the words of `policy`, which is the one in `agreement`, and the digest of both.
pub(super) fn bind(agreement: &mut Map<String, Json>, policy: &Policy) {
    let words = json!(explain::policy(policy));
    if let Some(digest) = digest(agreement, &words) {
        agreement.insert(DIGEST.to_owned(), json!(format!("{}:sha-256:{digest}", explain::VERSION)));
        agreement.insert(WORDS.to_owned(), words);
    }
}

/// Whether the words in an agreement are those of its rules. An agreement without words is its rules alone. Words of
/// other templates than this engine's are only held against the digest: the rules are what counts.
///
/// # Errors
/// One sentence: the words were altered, or say something else than the rules.
pub(super) fn check(agreement: &Json, policy: &Policy) -> Result<(), String> {
    let map = agreement.as_object();
    let Some(map) = map.filter(|map| map.contains_key(WORDS) || map.contains_key(DIGEST)) else {
        return Ok(());
    };
    let (words, bound) =
        (map.get(WORDS).cloned().unwrap_or_default(), map.get(DIGEST).and_then(Json::as_str));
    let (templates, stated) = bound
        .and_then(|bound| bound.split_once(":sha-256:"))
        .ok_or_else(|| format!("/{DIGEST}: is not `TEMPLATES:sha-256:HEX`"))?;
    if digest(map, &words).as_deref() != Some(stated) {
        return Err(format!("/{DIGEST}: is not that of the words and rules, so one of them was altered"));
    }
    if templates == explain::VERSION && words != json!(explain::policy(policy)) {
        return Err(format!("/{WORDS}: do not say what the rules say"));
    }
    Ok(())
}

fn digest(agreement: &Map<String, Json>, words: &Json) -> Option<String> {
    let rules: Map<String, Json> =
        RULES.iter().filter_map(|key| Some(((*key).to_owned(), agreement.get(*key)?.clone()))).collect();
    let text = serde_json_canonicalizer::to_vec(&json!({"rules": rules, "words": words})).ok()?;
    Some(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> (Json, Policy) {
        let mut agreement = json!({"@id": "urn:a", "@type": "Agreement", "target": "urn:d", "assigner": "urn:p",
            "assignee": "urn:c", "permission": [{"action": "use"}], "prohibition": [{"action": "distribute"}]});
        let policy = Policy::parse(&agreement).unwrap();
        bind(agreement.as_object_mut().unwrap(), &policy);
        (agreement, policy)
    }

    #[test]
    fn words_and_rules_are_bound() {
        let (agreement, policy) = bound();
        assert_eq!(
            agreement[WORDS],
            json!([
                "allowed: use",
                "forbidden: distribute",
                "where the same action is both allowed and forbidden, nothing in these terms is allowed",
                "about: `urn:d`",
                "granted by: `urn:p`",
                "granted to: `urn:c`",
            ])
        );
        assert_eq!(check(&agreement, &policy), Ok(()));
        let mut reworded = agreement.clone();
        reworded[WORDS][0] = json!("allowed: everything");
        assert!(check(&reworded, &policy).unwrap_err().contains("was altered"));
        let mut other_rules = agreement.clone();
        other_rules["prohibition"] = json!([{"action": "sell"}]);
        let other = Policy::parse(&other_rules).unwrap();
        assert!(check(&other_rules, &other).unwrap_err().contains("was altered"));
        let mut cut = agreement;
        cut.as_object_mut().unwrap().remove(WORDS);
        assert!(check(&cut, &policy).is_err());
    }

    #[test]
    fn words_that_say_something_else_are_found_though_the_digest_is_right() {
        let (mut agreement, policy) = bound();
        let words = json!(["allowed: everything"]);
        let map = agreement.as_object_mut().unwrap();
        let digest = digest(map, &words).unwrap();
        map.insert(DIGEST.to_owned(), json!(format!("{}:sha-256:{digest}", explain::VERSION)));
        map.insert(WORDS.to_owned(), words);
        assert_eq!(check(&agreement, &policy), Err(format!("/{WORDS}: do not say what the rules say")));
        // Another product's words: the rules are what counts.
        agreement[DIGEST] = json!(format!("other-fr-3:sha-256:{digest}"));
        assert_eq!(check(&agreement, &policy), Ok(()));
    }

    #[test]
    fn an_agreement_without_words_is_its_rules() {
        let (mut agreement, policy) = bound();
        agreement.as_object_mut().unwrap().retain(|key, _| !key.starts_with("urn:"));
        assert_eq!(check(&agreement, &policy), Ok(()));
    }
}
