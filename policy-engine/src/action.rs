//! Which action is part of which (ODRL Vocabulary 2.2, `includedIn`).

use crate::hierarchy::Hierarchy;
use crate::model::ANY_ACTION;

/// Whether a rule about `rule` speaks of `action`: the same, or included in it, by ODRL or by what is loaded.
pub(crate) fn covers(rule: &str, action: &str, known: &Hierarchy) -> bool {
    rule == ANY_ACTION
        || rule == action
        || included_in(action).is_some_and(|broader| covers(rule, broader, known))
        || !is_odrl(action) && known.is_within(action, rule)
        || !is_odrl(action)
            && known.broader_of(action).any(|broader| is_odrl(broader) && covers(rule, broader, known))
}

/// Whether the action is one of ODRL's.
pub(crate) fn is_odrl(action: &str) -> bool {
    action == "use" || action == "transfer" || included_in(action).is_some() || DUTIES.contains(&action)
}

/// Actions that only duties have, and actions included in none.
const DUTIES: [&str; 8] = [
    "acceptTracking",
    "compensate",
    "ensureExclusivity",
    "include",
    "nextPolicy",
    "obtainConsent",
    "reviewPolicy",
    "uninstall",
];

fn included_in(action: &str) -> Option<&'static str> {
    Some(match action {
        "give" | "sell" => "transfer",
        "copy" => "reproduce",
        "derive" | "extract" => "reproduce",
        "present" | "play" => "use",
        "display" | "print" => "play",
        "modify" | "translate" | "summarize" | "transform" => "use",
        "aggregate" | "annotate" | "anonymize" | "archive" | "attribute" | "concurrentUse" | "delete"
        | "digitize" | "distribute" | "execute" | "grantUse" | "index" | "inform" | "install" | "move"
        | "read" | "reproduce" | "share" | "stream" | "textToSpeech" | "uninstall" | "watermark"
        | "write" => "use",
        _ => return None,
    })
}
