//! Records that this program cannot read: they are set aside, which means that nothing happens on their account, can be looked
//! at, and can be removed.

use catalog::{Asset, ContractDefinition, PolicyDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use store::{Store, StoreError};

use super::{
    Accepted, AccessRecord, AgreementRecord, ApiKey, Attestation, ConsentRecord, Crawl, CredentialOffer,
    CredentialRequest, DataRequestRecord, DutyLedger, HandedRecord, HeldCredential, Invitation, Issuance,
    IssuedCredential, MeasuredRecord, Membership, NegotiationRecord, OpenUse, OutboxEntry, Peer,
    PeriodRecord, PersonRecord, ProvenRecord, ReleasedHead, ReleasedRecord, RequestRecord, RulebookRecord,
    Running, SecretRecord, StatementRecord, TransferRecord, Trusted, UndeliveredRecord, UnsureRecord,
    UntoldRecord, Usage, Used, Watcher, decode, form, prefix,
};

/// Records read from the store at once.
const PAGE: usize = 500;
/// Most records that are named.
const MOST: usize = 1000;
/// Most of a record that is shown, in bytes.
const SHOWN: usize = 64 * 1024;

/// A record that this program cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Aside {
    /// Its key.
    pub key: String,
    /// Why it cannot be read.
    pub reason: String,
    /// Its length in bytes.
    pub bytes: usize,
    /// Its beginning, as text.
    pub text: String,
}

/// Whether bytes under a key are a record of a kind.
type Reads = fn(&str, &[u8]) -> Result<(), StoreError>;

fn reads<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<(), StoreError> {
    decode::<T>(key, bytes).map(|_| ())
}

/// Every kind of records with more than one of it, but for the audit log, which is a chain, and its seals.
const KINDS: [(&str, Reads); 54] = [
    (prefix::ACCEPTANCE, reads::<Accepted>),
    (prefix::ACCESS, reads::<AccessRecord>),
    (prefix::AGREEMENT, reads::<AgreementRecord>),
    (prefix::API_KEY, reads::<ApiKey>),
    (prefix::ASSET, reads::<Asset>),
    (prefix::ATTESTATION, reads::<Attestation>),
    (prefix::CONSENT, reads::<ConsentRecord>),
    (prefix::CONTRACT_DEFINITION, reads::<ContractDefinition>),
    (prefix::CRAWL, reads::<Crawl>),
    (prefix::CREDENTIAL, reads::<HeldCredential>),
    (prefix::CREDENTIAL_OFFER, reads::<CredentialOffer>),
    (prefix::CREDENTIAL_REQUEST, reads::<CredentialRequest>),
    (prefix::DATA_REQUEST, reads::<DataRequestRecord>),
    (prefix::DUTY, reads::<DutyLedger>),
    (prefix::HANDED, reads::<HandedRecord>),
    (prefix::HANDING, reads::<Running>),
    (prefix::INVITATION, reads::<Invitation>),
    (prefix::ISSUANCE, reads::<Issuance>),
    (prefix::ISSUANCE_OF, reads::<String>),
    (prefix::ISSUED, reads::<IssuedCredential>),
    (prefix::MEASURED, reads::<MeasuredRecord>),
    (prefix::MEMBERSHIP, reads::<Membership>),
    (prefix::MESSAGE, reads::<trust::MessageEvidence>),
    (prefix::NEGOTIATION, reads::<NegotiationRecord>),
    (prefix::OPEN_USE, reads::<OpenUse>),
    (prefix::OUTBOX, reads::<OutboxEntry>),
    (prefix::PEER, reads::<Peer>),
    (prefix::PEER_PROCESS, reads::<String>),
    (prefix::PEER_PROFILE, reads::<crate::config::PeerProfile>),
    (prefix::PERIOD, reads::<PeriodRecord>),
    (prefix::PERSON, reads::<PersonRecord>),
    (prefix::POLICY_DEFINITION, reads::<PolicyDefinition>),
    (prefix::PROVEN, reads::<ProvenRecord>),
    (prefix::READ, reads::<Running>),
    (prefix::RELEASED, reads::<ReleasedRecord>),
    (prefix::RELEASED_OF, reads::<ReleasedHead>),
    (prefix::REMOTE, reads::<crate::engine::Remote>),
    (prefix::REPLAY, reads::<crate::engine::UsedToken>),
    (prefix::RULEBOOK, reads::<RulebookRecord>),
    (prefix::SECRET, reads::<SecretRecord>),
    (prefix::STATEMENT, reads::<StatementRecord>),
    (prefix::STATEMENTS, reads::<crate::engine::Stated>),
    (prefix::SUBJECT_REQUEST, reads::<RequestRecord>),
    (prefix::TRANSFER, reads::<TransferRecord>),
    (prefix::TRANSFER_OF, reads::<Json>),
    (prefix::TRANSFERS_DROPPED, reads::<()>),
    (prefix::TRUSTED, reads::<Trusted>),
    (prefix::UNDELIVERED, reads::<UndeliveredRecord>),
    (prefix::UNSURE, reads::<UnsureRecord>),
    (prefix::UNTOLD, reads::<UntoldRecord>),
    (prefix::USAGE, reads::<Usage>),
    (prefix::USED, reads::<Used>),
    (prefix::USED_USAGE, reads::<Usage>),
    (prefix::WATCHER, reads::<Watcher>),
];

/// The records that cannot be read, in the order of kinds and keys; the first thousand of them. It reads the whole store.
///
/// # Errors
/// The store failed.
pub fn all(store: &Store) -> Result<Vec<Aside>, StoreError> {
    let mut found = Vec::new();
    for (prefix, reads) in KINDS {
        let mut after: Option<String> = None;
        loop {
            let page = store.scan(prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, record) in page {
                found.extend(looked_at(&key, &record.value, reads));
                if found.len() == MOST {
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

/// The record under `key`, if it is there and cannot be read; with its version.
///
/// # Errors
/// The store failed.
pub fn one(store: &Store, key: &str) -> Result<Option<(Aside, u64)>, StoreError> {
    let Some((_, reads)) = KINDS.iter().find(|(prefix, _)| key.starts_with(prefix)) else { return Ok(None) };
    let Some(record) = store.get(key)? else { return Ok(None) };
    Ok(looked_at(key, &record.value, *reads).map(|aside| (aside, record.version)))
}

fn looked_at(key: &str, bytes: &[u8], reads: Reads) -> Option<Aside> {
    let error = reads(key, bytes).err().filter(|_| key != form::FENCE)?;
    let reason = match error {
        StoreError::Record { reason, .. } => reason,
        other => other.to_string(),
    };
    let beginning = bytes.get(..SHOWN).unwrap_or(bytes);
    let text = String::from_utf8_lossy(beginning).into_owned();
    Some(Aside { key: key.to_owned(), reason, bytes: bytes.len(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_is_taken_for_another() {
        for (at, (one, _)) in KINDS.iter().enumerate() {
            assert!(one.ends_with('/'), "{one}");
            assert!(
                KINDS
                    .iter()
                    .skip(at + 1)
                    .all(|(other, _)| !other.starts_with(one) && !one.starts_with(other))
            );
        }
    }
}
