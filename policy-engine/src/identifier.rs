//! The syntax of what names terms and parties: IRIs and DIDs.

/// Whether a text is an absolute IRI (RFC 3987).
#[must_use]
pub fn is_iri(text: &str) -> bool {
    oxiri::Iri::parse(text).is_ok()
}

/// Whether a text has the syntax of a DID (Decentralized Identifiers 1.0, 3.1), without path, query and fragment.
#[must_use]
pub fn is_did(text: &str) -> bool {
    let Some((method, id)) = text.strip_prefix("did:").and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    let is_method = |one: u8| one.is_ascii_lowercase() || one.is_ascii_digit();
    !method.is_empty() && method.bytes().all(is_method) && !id.ends_with(':') && is_specific(id)
}

/// Letters, digits, `.`, `-`, `_`, `:` and whole percent-encodings, one at least.
fn is_specific(id: &str) -> bool {
    let mut bytes = id.bytes();
    while let Some(one) = bytes.next() {
        let fine = match one {
            b'%' => [bytes.next(), bytes.next()]
                .iter()
                .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())),
            b'.' | b'-' | b'_' | b':' => true,
            _ => one.is_ascii_alphanumeric(),
        };
        if !fine {
            return false;
        }
    }
    !id.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_did_has_a_method_and_an_id_of_it() {
        for fine in ["did:web:roads.city.example", "did:web:localhost%3A8443:roads", "did:key:z6Mk"] {
            assert!(is_did(fine), "{fine}");
        }
        for wrong in [
            "roads",
            "did:",
            "did:web",
            "did:web:",
            "did:WEB:a",
            "did::a",
            "did:web:a:",
            "did:web:a/b",
            "did:web:a#key",
            "did:web:a%3",
            "did:web:a%zz",
            "did:web:ä.example",
            " did:web:a",
        ] {
            assert!(!is_did(wrong), "{wrong}");
        }
    }
}
