//! What this node's agreements show: that they were negotiated, signed, read under, held against their terms, and ended.

use std::collections::{BTreeMap, BTreeSet};

use governance::mims::Finding;
use governance::personal::Personal;
use governance::rulebook::PROPERTY as RULEBOOK;
use policy_engine::{Transform, transforms_of_each};
use protocol::Role;
use serde_json::{Value as Json, json};
use trust::SignerRole;

use super::{Assessment, Ids};
use crate::clock;
use crate::engine::agreements::is_in_force;
use crate::engine::{Engine, EngineError};
use crate::tables::{self, AgreementRecord, PeriodRecord, Usage, prefix};

/// All agreements, counted.
#[derive(Debug, Default)]
pub(super) struct Agreements {
    /// How many there are, imported ones included.
    all: usize,
    /// Concluded by negotiation here.
    negotiated: Ids,
    /// Signed by both, with signatures that hold.
    signed: Ids,
    /// With a signature that does not hold, or is missing against the configuration.
    unsound: Ids,
    ended: Ids,
    /// Of which this node is the provider, and under which something was read.
    read: Ids,
    /// Of which this node is the consumer.
    consumed: BTreeSet<String>,
    /// In force, and made under a version of a rulebook that this node has accepted.
    under_rulebook: Ids,
    /// Of those, the ones whose terms a clause does not let pass.
    against_rulebook: Ids,
    /// Under which rows about persons went out under pseudonyms.
    pub(super) pseudonymised: Ids,
    /// How often each dataset of this node was read.
    pub(super) reads: BTreeMap<String, u64>,
}

impl Agreements {
    /// Visits every agreement.
    pub(super) fn count(engine: &Engine, personal: &BTreeMap<String, Personal>) -> Result<Self, EngineError> {
        let mut all = Self::default();
        let accepted: BTreeSet<String> = engine
            .rulebooks()?
            .into_iter()
            .filter(|one| one.record.accepted.is_some())
            .map(|one| one.sha256)
            .collect();
        engine.each_agreement(|record| all.note(engine, record, personal, &accepted))?;
        Ok(all)
    }

    fn note(
        &mut self,
        engine: &Engine,
        record: &AgreementRecord,
        personal: &BTreeMap<String, Personal>,
        accepted: &BTreeSet<String>,
    ) -> Result<(), EngineError> {
        let (id, dataset) = (record.agreement.id().to_string(), record.agreement.target().to_string());
        self.all += 1;
        if !record.imported {
            self.negotiated.note(id.as_str());
        }
        match engine.is_signed(record) {
            Err(reason) => self.unsound.note(format!("{id}: {reason}")),
            Ok(()) if record.provider_signature.is_some() && record.consumer_signature.is_some() => {
                self.signed.note(id.as_str());
            }
            // The configuration takes less from this participant.
            Ok(()) => {}
        }
        match is_in_force(record, clock::now()) {
            false => self.ended.note(id.as_str()),
            true => self.note_rulebook(engine, record, &id, accepted),
        }
        if record.role == Role::Consumer {
            self.consumed.insert(id);
            return Ok(());
        }
        let usage = tables::load::<Usage>(&engine.store, &tables::key(prefix::USAGE, &id))?;
        let usage = usage.map(|(usage, _)| usage).unwrap_or_default();
        if usage.requests > 0 {
            let hides =
                |one: &Vec<Transform>| one.iter().any(|one| matches!(one, Transform::Pseudonymise(_)));
            if personal.contains_key(&dataset)
                && usage.rows > 0
                && transforms_of_each(record.agreement.policy()).iter().any(hides)
            {
                self.pseudonymised.note(id.as_str());
            }
            let reads = self.reads.entry(dataset).or_default();
            *reads = reads.saturating_add(usage.requests);
            self.read.note(id);
        }
        Ok(())
    }

    /// Whether an agreement in force was made under a rulebook, and fits the ones in force.
    fn note_rulebook(
        &mut self,
        engine: &Engine,
        record: &AgreementRecord,
        id: &str,
        accepted: &BTreeSet<String>,
    ) {
        let named = record.part(RULEBOOK).and_then(Json::as_array).into_iter().flatten();
        let mut digests = named.filter_map(|one| one.get("sha256").and_then(Json::as_str));
        if !digests.any(|digest| accepted.contains(digest)) {
            return;
        }
        self.under_rulebook.note(id);
        let mut conflicts = engine.agreement_conflicts(record, clock::now()).into_iter();
        if let Some((_, conflict)) = conflicts.find(|(is_named, _)| *is_named) {
            self.against_rulebook.note(format!("{id}: {conflict}"));
        }
    }
}

impl Assessment<'_> {
    pub(super) fn check_agreements(&self, name: &str) -> Result<Option<Finding>, EngineError> {
        let all = &self.agreements;
        Ok(Some(match name {
            "agreements-signed" => self.check_signed()?,
            "agreements-negotiated" => Finding::recorded(
                all.negotiated.count,
                json!({"agreements concluded by negotiation": all.negotiated.json()}),
            ),
            "agreements-ended" => {
                Finding::recorded(all.ended.count, json!({"agreements that were ended": all.ended.json()}))
            }
            "members-follow" => {
                let evidence = json!({
                    "agreements in force under an accepted rulebook": all.under_rulebook.json(),
                    "of these, against a clause": all.against_rulebook.json(),
                });
                match (self.has_rulebook()?, all.against_rulebook.is_empty()) {
                    (false, _) => Finding::not(json!("no rulebook is in force here")),
                    (true, false) => Finding::not(evidence),
                    (true, true) => Finding::recorded(all.under_rulebook.count, evidence),
                }
            }
            "use-is-metered" => self.check_use()?,
            "supply-is-measured" => self.check_supply()?,
            "terms-asked" => match self.check_audit()? {
                chain if !chain.is_met() => chain,
                chain => Finding::recorded(
                    all.read.count,
                    json!({"agreements under which data was read": all.read.json(), "audit log": chain.evidence}),
                ),
            },
            "data-stays" => match self.assets.len() {
                0 => Finding::not(json!("no dataset is published here")),
                published => Finding::recorded(
                    all.read.count,
                    json!({"datasets": published, "agreements under which one was streamed from its source": all.read.json()}),
                ),
            },
            _ => return Ok(None),
        }))
    }

    fn check_signed(&self) -> Result<Finding, EngineError> {
        let all = &self.agreements;
        let sample = self.engine.sign_sample()?;
        let evidence = json!({
            "agreements": all.all, "signed by both, with signatures that hold": all.signed.json(),
            "whose signatures do not hold": all.unsound.json(), "a sample signed and verified now": in_words(&sample),
        });
        Ok(match sample.is_ok() && all.unsound.is_empty() {
            false => Finding::not(evidence),
            true => Finding::recorded(all.signed.count, evidence),
        })
    }

    /// Use under this node's agreements, held against their terms.
    fn check_use(&self) -> Result<Finding, EngineError> {
        let mut looked = Vec::new();
        for id in &self.agreements.read.first {
            let compliance = self.engine.compliance(id)?;
            let looks = compliance.get("looks").and_then(Json::as_array);
            let used = looks.and_then(|all| all.iter().find(|one| one["what"] == "use"));
            looked.push(json!({
                "agreement": id, "kept": compliance.get("kept"), "use": used.and_then(|used| used.get("text")),
            }));
        }
        let evidence =
            json!({"agreements under which data was read": self.agreements.read.count, "looked at": looked});
        Ok(Finding::recorded(self.agreements.read.count, evidence))
    }

    /// Supply under agreements in which this node is the consumer, measured against promised levels.
    fn check_supply(&self) -> Result<Finding, EngineError> {
        let consumed = &self.agreements.consumed;
        let mut measured = Ids::default();
        tables::each(&self.engine.store, prefix::PERIOD, |_, one: PeriodRecord| {
            let was_measured =
                one.attainment.iter().flat_map(|one| &one.levels).any(|level| level.samples > 0);
            if was_measured && consumed.contains(&one.agreement) {
                measured.note(format!("period {} of {}", one.period, one.agreement));
            }
            Ok::<_, EngineError>(())
        })?;
        let evidence = json!({
            "agreements as a consumer": consumed.len(), "periods whose levels were measured": measured.json(),
        });
        Ok(Finding::recorded(measured.count, evidence))
    }
}

/// Whether a sample's signature held.
pub(super) fn in_words(sample: &Result<String, String>) -> String {
    match sample {
        Ok(key) => format!("it holds, with the key {key}"),
        Err(reason) => format!("it does not hold: {reason}"),
    }
}

impl Engine {
    /// Signs something as an agreement is signed, and verifies it: the key's id, or why it does not hold.
    pub(super) fn sign_sample(&self) -> Result<Result<String, String>, EngineError> {
        let sample = json!({"@id": "urn:concordat:sample", "@type": "Agreement", "assigner": self.did(), "assignee": self.did()});
        let parts = BTreeMap::from([("urn:concordat:sample".to_owned(), json!("beside it"))]);
        let sample = trust::Bound { agreement: &sample, parts: &parts, names: &trust::agreement::NO_NAMES };
        let signature = self.identity.sign_agreement(
            SignerRole::Provider,
            sample,
            trust::agreement::NEWEST,
            clock::now(),
        )?;
        let document = self.identity.document()?;
        let held = trust::agreement::verify(&signature, SignerRole::Provider, sample, &document);
        Ok(held.map(|signature| signature.key_id).map_err(|error| error.to_string()))
    }
}
