//! Which action is part of which (ODRL Vocabulary 2.2, `includedIn`).

use crate::hierarchy::Hierarchy;
use crate::model::ANY_ACTION;

/// Bytes that are pushed to the consumer: a way of reading, so that who permits reading permits it.
pub const PUSH: &str = "urn:concordat:action:push";

/// That an offer is seen, which access policies decide: who may use may see. Catena-X has the term.
pub const ACCESS: &str = "access";
/// Other names of it.
const ACCESS_NAMES: [&str; 3] = [
    "cx-policy:access",
    "https://w3id.org/catenax/2025/9/policy/access",
    "https://w3id.org/catenax/policy/access",
];

/// Namespace and prefix of Creative Commons, some of whose terms are actions of ODRL.
const CREATIVE_COMMONS: [&str; 2] = ["http://creativecommons.org/ns#", "cc:"];

/// Whether a rule about `rule` speaks of `action`: the same, or included in it, by ODRL or by what is loaded. A rule
/// without an action speaks of every action.
pub(crate) fn covers(rule: &str, action: &str, known: &Hierarchy) -> bool {
    rule == ANY_ACTION
        || rule == action
        || included_in(action).is_some_and(|broader| covers(rule, broader, known))
        || !is_odrl(action) && known.is_within(action, rule)
        || !is_odrl(action)
            && known.broader_of(action).any(|broader| is_odrl(broader) && covers(rule, broader, known))
}

/// Whether the action is one of the Vocabulary's, or of this product's own.
pub(crate) fn is_odrl(action: &str) -> bool {
    action == "use" || action == "transfer" || included_in(action).is_some()
}

/// Whether a duty to do this is due with or after the use, and cannot be asked for before it: nobody deletes, attributes
/// or shares alike what was not used yet.
pub(crate) fn follows_use(action: &str) -> bool {
    matches!(action, "attribute" | "delete" | "uninstall")
        || creative_commons(action)
            .is_some_and(|term| matches!(term, "Attribution" | "Notice" | "ShareAlike" | "SourceCode"))
}

/// The one name of an action that has several.
pub(crate) fn named(action: &str) -> &str {
    if ACCESS_NAMES.contains(&action) { ACCESS } else { action }
}

fn creative_commons(action: &str) -> Option<&str> {
    CREATIVE_COMMONS.iter().find_map(|prefix| action.strip_prefix(prefix))
}

fn included_in(action: &str) -> Option<&'static str> {
    if let Some(term) = creative_commons(action) {
        return match term {
            // `CommericalUse` is how the Vocabulary spells it.
            "Attribution" | "CommercialUse" | "CommericalUse" | "DerivativeWorks" | "Distribution"
            | "Notice" | "Reproduction" | "ShareAlike" | "Sharing" | "SourceCode" => Some("use"),
            _ => None,
        };
    }
    Some(match action {
        ACCESS => "use",
        PUSH => "read",
        "give" | "sell" => "transfer",
        // `copy` is deprecated in favour of `reproduce`.
        "copy" | "extract" => "reproduce",
        "display" => "play",
        "acceptTracking" | "aggregate" | "annotate" | "anonymize" | "archive" | "attribute"
        | "compensate" | "concurrentUse" | "delete" | "derive" | "digitize" | "distribute"
        | "ensureExclusivity" | "execute" | "grantUse" | "include" | "index" | "inform" | "install"
        | "modify" | "move" | "nextPolicy" | "obtainConsent" | "play" | "present" | "print" | "read"
        | "reproduce" | "reviewPolicy" | "share" | "stream" | "summarize" | "synchronize"
        | "textToSpeech" | "transform" | "translate" | "uninstall" | "watermark" | "write" => "use",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_the_vocabularys() {
        let known = Hierarchy::default();
        for action in
            ["print", "derive", "synchronize", "cc:Distribution", "http://creativecommons.org/ns#Sharing"]
        {
            assert!(covers("use", action, &known), "{action}");
            for other in ["play", "reproduce", "transfer"] {
                assert!(!covers(other, action, &known), "{action} is no part of {other}");
            }
        }
        assert!(covers("reproduce", "extract", &known) && covers("play", "display", &known));
        assert!(covers("transfer", "sell", &known) && !covers("use", "sell", &known));
        assert!(covers("read", PUSH, &known) && !covers("stream", PUSH, &known));
        assert!(!covers("use", "cc:Moon", &known));
    }
}
