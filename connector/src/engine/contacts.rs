//! Whether other participants answered when this node last tried: in memory, and only of late.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use http::StatusCode;
use jiff::Timestamp;

use super::Engine;
use crate::clock;
use crate::network::{answer_text, bounded_body, describe};

/// Most participants of whom it is remembered; of further ones the oldest are forgotten.
const MOST: usize = 4096;
/// Most participants that one check asks.
const MOST_CHECKED: usize = 1000;
/// How many are asked at once.
const AT_ONCE: usize = 32;
/// How long an answer is waited for.
const WITHIN: Duration = Duration::from_secs(3);
/// Services of a DID document at which a connector answers.
const SERVICES: [&str; 3] = ["DataService", "CatalogService", "ProtocolEndpoint"];
/// Largest answer that is looked at, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// What came of trying to reach a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// When.
    pub at: Timestamp,
    /// Why it was not reached; `None` if it answered.
    pub failure: Option<String>,
}

/// The last contact with each participant.
#[derive(Debug, Default)]
pub(super) struct Contacts(Mutex<HashMap<String, Contact>>);

impl Contacts {
    fn note(&self, did: &str, contact: Contact) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(did) {
            let oldest = all.iter().min_by_key(|(_, contact)| contact.at).map(|(did, _)| did.clone());
            oldest.map(|oldest| all.remove(&oldest));
        }
        all.insert(did.to_owned(), contact);
    }
}

impl Engine {
    /// Notes whether a participant answered just now; the error is why it did not.
    pub(crate) fn note_contact(&self, did: &str, reached: Result<(), String>) {
        self.contacts.note(did, Contact { at: clock::now(), failure: reached.err() });
    }

    /// What came of the last attempt to reach a participant since this node started.
    #[must_use]
    pub fn last_contact(&self, did: &str) -> Option<Contact> {
        self.contacts.0.lock().unwrap_or_else(PoisonError::into_inner).get(did).cloned()
    }

    /// Asks at the address that each of `dids` names in its DID document, and notes who answers within three seconds, whatever
    /// the answer is.
    pub async fn check_contacts(&self, dids: Vec<String>) {
        let each = futures_util::stream::iter(dids.into_iter().take(MOST_CHECKED));
        each.for_each_concurrent(AT_ONCE, async |did| {
            let reached = match tokio::time::timeout(WITHIN, self.knock(&did)).await {
                Ok(reached) => reached,
                Err(_) => Err(format!("no answer within {} s", WITHIN.as_secs())),
            };
            self.note_contact(&did, reached);
        })
        .await;
    }

    async fn knock(&self, did: &str) -> Result<(), String> {
        let document = self.resolver.document(did).await?;
        let url = SERVICES.iter().find_map(|kind| document.service(kind));
        let url = url.ok_or_else(|| format!("its DID document names none of {}", SERVICES.join(", ")))?;
        self.guard.check_url(url).map_err(|error| error.to_string())?;
        let sent = self.client.get(url).timeout(WITHIN).send().await;
        let answer = sent.map_err(|error| format!("{url}: {}", describe(&error)))?;
        let status = answer.status();
        let body = bounded_body(answer, MAX_ANSWER).await.unwrap_or_default();
        // A proxy that does not reach it answers in its place.
        match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Err(format!("{url} answered {status}: {}", answer_text(status, &body)))
            }
            _ => Ok(()),
        }
    }
}
