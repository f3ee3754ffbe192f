//! What names purposes, datasets and parties: IRIs and DIDs, held to their syntax where a document comes in. A word such as
//! `research` would be written down and signed, and never be the same as anything that an agreement names.

use policy_engine::identifier::{is_did, is_iri};

use crate::error::Malformed;

/// Refuses what is not an absolute IRI (RFC 3987); `example` is one that would do.
///
/// # Errors
/// Names the place, what stands there, and the example.
pub fn expect_iri(path: &str, text: &str, example: &str) -> Result<(), Malformed> {
    if is_iri(text) {
        return Ok(());
    }
    Err(Malformed::new(path, format!("`{text}` is not an IRI; give one such as `{example}`")))
}

/// Refuses a list with an entry that is not an absolute IRI.
///
/// # Errors
/// As [`expect_iri`].
pub fn expect_iris(path: &str, list: &[String], example: &str) -> Result<(), Malformed> {
    list.iter().enumerate().try_for_each(|(at, one)| expect_iri(&format!("{path}/{at}"), one, example))
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
        assert_eq!(
            expect_dids("/r", &["did:web:a".to_owned(), "roads".to_owned()]).unwrap_err().path,
            "/r/1"
        );
    }
}
