//! What names purposes, datasets and parties: IRIs and DIDs, held to their syntax where a document comes in. A word such as
//! `research` would be written down and signed, and never be the same as anything that an agreement names.

use crate::error::Malformed;

/// Refuses what is not an absolute IRI (RFC 3987); `example` is one that would do.
///
/// # Errors
/// Names the place, what stands there, and the example.
pub fn expect_iri(path: &str, text: &str, example: &str) -> Result<(), Malformed> {
    match oxiri::Iri::parse(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(Malformed::new(path, format!("`{text}` is not an IRI; give one such as `{example}`"))),
    }
}

/// Refuses a list with an entry that is not an absolute IRI.
///
/// # Errors
/// As [`expect_iri`].
pub fn expect_iris(path: &str, list: &[String], example: &str) -> Result<(), Malformed> {
    list.iter().enumerate().try_for_each(|(at, one)| expect_iri(&format!("{path}/{at}"), one, example))
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

/// Refuses what is not a DID.
///
/// # Errors
/// Names the place, what stands there, and an example.
pub fn expect_did(path: &str, text: &str) -> Result<(), Malformed> {
    if is_did(text) {
        return Ok(());
    }
    Err(Malformed::new(path, format!("`{text}` is not a DID; give one such as `did:web:roads.city.example`")))
}

/// Refuses a list with an entry that is not a DID.
///
/// # Errors
/// As [`expect_did`].
pub fn expect_dids(path: &str, list: &[String]) -> Result<(), Malformed> {
    list.iter().enumerate().try_for_each(|(at, one)| expect_did(&format!("{path}/{at}"), one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_neither_an_iri_nor_a_did() {
        for fine in ["https://w3id.org/dpv#ScientificResearch", "urn:concordat:purpose:research", "urn:ö"] {
            assert_eq!(expect_iri("/p", fine, "urn:x"), Ok(()), "{fine}");
        }
        for wrong in ["research", "", "my purpose:x", "urn:a b", "/dpv#Research", "#Research"] {
            let refused = expect_iri("/p", wrong, "urn:concordat:x").unwrap_err();
            assert!(refused.reason.contains("urn:concordat:x"), "{refused}");
        }
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
        assert_eq!(
            expect_dids("/r", &["did:web:a".to_owned(), "roads".to_owned()]).unwrap_err().path,
            "/r/1"
        );
    }
}
