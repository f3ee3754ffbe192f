//! What proves an agreement: the messages with their tokens as they came and went, and the dossier made of everything.

use std::collections::BTreeMap;

use protocol::Effect;
use protocol::negotiation::Negotiation;
use serde_json::{Value as Json, json};
use store::Batch;
use trust::{CredentialEvidence, Dossier, MessageEvidence};

use super::{Engine, EngineError};
use crate::clock;
use crate::config::Dialect;
use crate::tables::{self, NegotiationRecord, OutboxEntry, prefix};

/// Most messages of one negotiation that a dossier shows.
const MAX_MESSAGES: usize = 1000;

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The authenticated sender.
    pub from: String,
    /// Its token, if it is one.
    pub token: Option<String>,
    /// The message.
    pub body: Json,
}

impl Engine {
    /// The evidence of a message that came.
    pub(super) fn heard(&self, heard: &Heard) -> MessageEvidence {
        MessageEvidence {
            at: clock::now(),
            from: heard.from.clone(),
            to: self.did().to_owned(),
            token: heard.token.clone(),
            body: heard.body.clone(),
        }
    }

    /// The evidence of a message that the peer took, with the token of the attempt that it took.
    pub(crate) fn said(&self, entry: &OutboxEntry, token: Option<String>) -> MessageEvidence {
        MessageEvidence {
            at: entry.since,
            from: self.did().to_owned(),
            to: entry.peer.clone(),
            token,
            body: entry.message.body.clone(),
        }
    }

    /// The evidence of our messages that a message of the peer proves to have arrived: `effects` take them out of the outbox.
    pub(super) fn overtaken(&self, effects: &[Effect]) -> Result<Vec<MessageEvidence>, EngineError> {
        let mut said = Vec::new();
        for effect in effects {
            if let Effect::Withdraw(message) = effect
                && let Some((entry, _)) =
                    tables::load::<OutboxEntry>(&self.store, &tables::outbox(message.as_str()))?
            {
                said.push(self.said(&entry, self.outbox.token_sent(message)));
            }
        }
        Ok(said)
    }

    /// Adds a message of the negotiation `pid` to what is kept.
    pub(super) fn keep_message(
        &self,
        pid: &str,
        message: &MessageEvidence,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        let key = messages_of(pid);
        let bytes = tables::encode(&key, message)?;
        batch.append(key, bytes);
        Ok(())
    }

    /// What the other party has shown, sealed; the documents of those who issued it are added to `documents`.
    pub(super) async fn shown_by(
        &self,
        negotiation: &Negotiation,
        agreement: &str,
        documents: &mut BTreeMap<String, Json>,
    ) -> Result<Option<String>, EngineError> {
        let evidence = self.claims.evidence(negotiation.peer.as_str());
        if evidence.is_empty() {
            return Ok(None);
        }
        for one in &evidence {
            let issuer = trust::credential::Claimed::read(&one.credential)?.issuer().to_owned();
            if !documents.contains_key(&issuer)
                && let Ok(document) = self.resolver.document(&issuer).await
            {
                documents.insert(issuer, document.json().clone());
            }
        }
        let text = serde_json::to_string(&evidence).map_err(|error| EngineError::Vault(error.to_string()))?;
        Ok(Some(self.vault.seal(&tables::shown(agreement), &text)?))
    }

    /// Everything needed to check the agreement offline, sealed.
    ///
    /// # Errors
    /// Not there, or the key could not sign.
    pub fn dossier(&self, id: &str) -> Result<Dossier, EngineError> {
        let (record, _) = self.load_agreement(id)?;
        let negotiation = tables::key(prefix::NEGOTIATION, &record.negotiation);
        let negotiation = tables::load::<NegotiationRecord>(&self.store, &negotiation)?;
        let offer = negotiation.map(|(one, _)| one.negotiation.offer.json().clone());
        let messages = tables::list::<MessageEvidence>(
            &self.store,
            &messages_of(&record.negotiation),
            None,
            MAX_MESSAGES,
        )?;
        let mut messages: Vec<_> = messages.into_iter().map(|(_, one)| one).collect();
        messages.sort_by_key(|one| one.at);
        let shown: Vec<CredentialEvidence> = match &record.shown {
            Some(sealed) => {
                let text = self.vault.open_sealed(&tables::shown(id), sealed)?;
                serde_json::from_str(&text).map_err(|error| EngineError::Vault(error.to_string()))?
            }
            None => Vec::new(),
        };
        let mut statements = Vec::new();
        self.each_statement(id, |one| {
            if one.kind != governance::notice::WITHDRAWAL {
                statements.push(self.statement_text(&one)?);
            }
            Ok(())
        })?;
        let undeclared_keys = self.dialect == Dialect::Draft || self.rules.undeclared_keys(&record.peer);
        let credentials = [(record.peer, shown)].into_iter().filter(|(_, shown)| !shown.is_empty()).collect();
        let dossier = Dossier {
            format: Dossier::FORMAT.to_owned(),
            agreement: record.agreement.json().clone(),
            parts: record.parts.as_map().clone(),
            names: record.names,
            provider_signature: record.provider_signature,
            consumer_signature: record.consumer_signature,
            offer,
            messages,
            did_documents: record.did_documents,
            credentials,
            statements,
            periods: self.periods(id)?.iter().map(|period| json!(period)).collect(),
            compromised_keys: self.identity.compromised_keys(),
            undeclared_keys,
            concluded_at: record.concluded_at,
            exported_at: clock::now(),
            exported_by: self.did().to_owned(),
            exporter_document: self.identity.document()?.json().clone(),
            seal: None,
        };
        Ok(self.identity.seal(dossier)?)
    }
}

fn messages_of(pid: &str) -> String {
    tables::within(prefix::MESSAGE, pid)
}
