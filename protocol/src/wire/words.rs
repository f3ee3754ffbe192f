//! The terms in plain words, bound to the ODRL: an agreement comes with both and a digest of both, so that what the parties
//! sign is what their clerks read.
//!
//! Two parts beside the agreement, which a peer that does not know them ignores; release 0.1.0 put them inside:
//! `urn:concordat:words`, the sentences, and `urn:concordat:words-digest`, `TEMPLATES:sha-256:HEX` over the canonical
//! JSON (RFC 8785) of sentences and rules. `TEMPLATES` names the templates the sentences were made with.

use policy_engine::{SERVICE_LEVELS, explain, terms_of};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::{Agreement, Parts};

const WORDS: &str = "urn:concordat:words";
const DIGEST: &str = "urn:concordat:words-digest";

/// The words of an agreement, and the digest of both.
pub(super) fn of(agreement: &Agreement) -> Map<String, Json> {
    let words = json!(explain::policy(agreement.policy()));
    let mut parts = Map::new();
    if let Some(digest) = digest(agreement.json(), &words) {
        parts.insert(DIGEST.to_owned(), json!(format!("{}:sha-256:{digest}", explain::VERSION)));
        parts.insert(WORDS.to_owned(), words);
    }
    parts
}

/// Whether the words that come with an agreement are those of its rules. An agreement without words is its rules alone. Words of
/// other templates than this engine's are only held against the digest: the rules are what counts.
///
/// # Errors
/// One sentence: the words were altered, or say something else than the rules.
pub(super) fn check(parts: &Parts, agreement: &Agreement) -> Result<(), String> {
    let (words, bound) = (parts.find(agreement, WORDS), parts.find(agreement, DIGEST));
    if words.is_none() && bound.is_none() {
        return Ok(());
    }
    let words = words.cloned().unwrap_or_default();
    let (templates, stated) = bound
        .and_then(Json::as_str)
        .and_then(|bound| bound.split_once(":sha-256:"))
        .ok_or_else(|| format!("/{DIGEST}: is not `TEMPLATES:sha-256:HEX`"))?;
    if digest(agreement.json(), &words).as_deref() != Some(stated) {
        return Err(format!("/{DIGEST}: is not that of the words and rules, so one of them was altered"));
    }
    if templates == explain::VERSION && words != json!(explain::policy(agreement.policy())) {
        return Err(format!("/{WORDS}: do not say what the rules say"));
    }
    Ok(())
}

fn digest(agreement: &Json, words: &Json) -> Option<String> {
    let all = terms_of(agreement).into_iter();
    let rules: Map<String, Json> = all.filter(|(key, _)| key != SERVICE_LEVELS).collect();
    let text = serde_json_canonicalizer::to_vec(&json!({"rules": rules, "words": words})).ok()?;
    Some(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed() -> (Agreement, Parts) {
        let agreement = Agreement::parse(json!({"@id": "urn:a", "@type": "Agreement", "target": "urn:d",
            "assigner": "urn:p", "assignee": "urn:c", "timestamp": "2026-01-01T00:00:00Z",
            "permission": [{"action": "use"}], "prohibition": [{"action": "distribute"}]}))
        .unwrap();
        let parts = Parts::of(of(&agreement));
        (agreement, parts)
    }

    fn altered(parts: &Parts, name: &str, part: Json) -> Parts {
        let mut map: Map<String, Json> = parts.as_map().clone().into_iter().collect();
        map.insert(name.to_owned(), part);
        Parts::of(map)
    }

    #[test]
    fn words_and_rules_are_bound() {
        let (agreement, parts) = agreed();
        assert_eq!(
            parts.as_map()[WORDS],
            json!([
                "allowed: use",
                "forbidden: distribute",
                "where the same action is both allowed and forbidden, nothing in these terms is allowed",
                "about: `urn:d`",
                "granted by: `urn:p`",
                "granted to: `urn:c`",
            ])
        );
        assert_eq!(check(&parts, &agreement), Ok(()));
        let reworded = altered(&parts, WORDS, json!(["allowed: everything"]));
        assert!(check(&reworded, &agreement).unwrap_err().contains("was altered"));
        let mut other = agreement.json().clone();
        other["prohibition"] = json!([{"action": "sell"}]);
        assert!(check(&parts, &Agreement::parse(other).unwrap()).unwrap_err().contains("was altered"));
        let mut cut = parts.as_map().clone();
        cut.remove(WORDS);
        assert!(check(&Parts::of(cut.into_iter().collect()), &agreement).is_err());
    }

    /// Release 0.1.0 put them inside.
    #[test]
    fn words_inside_an_agreement_are_held_as_those_beside_it() {
        let (agreement, parts) = agreed();
        let mut inside = parts.with(&agreement);
        assert_eq!(check(&Parts::default(), &Agreement::parse(inside.clone()).unwrap()), Ok(()));
        inside[WORDS][0] = json!("allowed: everything");
        let inside = Agreement::parse(inside).unwrap();
        assert!(check(&Parts::default(), &inside).unwrap_err().contains("was altered"));
        assert!(parts.check(&inside, None).unwrap_err().contains("inside the agreement and beside it"));
    }

    #[test]
    fn words_that_say_something_else_are_found_though_the_digest_is_right() {
        let (agreement, parts) = agreed();
        let words = json!(["allowed: everything"]);
        let digest = digest(agreement.json(), &words).unwrap();
        let lying = altered(&parts, WORDS, words);
        let lying = altered(&lying, DIGEST, json!(format!("{}:sha-256:{digest}", explain::VERSION)));
        assert_eq!(check(&lying, &agreement), Err(format!("/{WORDS}: do not say what the rules say")));
        // Another product's words: the rules are what counts.
        let foreign = altered(&lying, DIGEST, json!(format!("other-fr-3:sha-256:{digest}")));
        assert_eq!(check(&foreign, &agreement), Ok(()));
    }

    #[test]
    fn an_agreement_without_words_is_its_rules_and_levels_are_those_of_the_offer() {
        let (agreement, _) = agreed();
        assert_eq!(check(&Parts::default(), &agreement), Ok(()));
        let levels = json!({"period": "PT1H"});
        let parts = Parts::of(Map::from_iter([(SERVICE_LEVELS.to_owned(), levels.clone())]));
        assert_eq!(parts.check(&agreement, Some(&levels)), Ok(()));
        assert!(parts.check(&agreement, None).unwrap_err().contains("not those of the offer"));
        assert!(Parts::default().check(&agreement, Some(&levels)).is_err());
    }
}
