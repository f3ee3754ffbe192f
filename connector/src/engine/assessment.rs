//! The node examines itself: for each requirement of the MIMs, a check of what worked here, with what it found. A mechanism
//! counts as met where a check tries it with success, or the node's records show that it was used; that it could be used is
//! another value.

mod agreements;
mod offers;
mod persons;
mod probes;
mod space;

use std::collections::BTreeMap;
use std::sync::Arc;

use ::catalog::Asset;
use governance::mims::{Finding, Level, Met, Requirement, requirements};
use governance::personal::Personal;
use protocol::RefusalKind;
use serde_json::{Value as Json, json};
use store::Batch;

use self::agreements::Agreements;
use self::persons::Persons;
use self::probes::Look;
use super::{Engine, EngineError, Holder};
use crate::clock;
use crate::tables::{self, Account, Attestation, Event, prefix};

/// Longest statement of an attestation, in bytes.
const MAX_STATEMENT: usize = 2000;
/// Most ids that evidence names of one kind; it tells how many there are.
const NAMED: usize = 10;

/// Ids of one kind: how many, and the first of them.
#[derive(Debug, Default)]
struct Ids {
    count: usize,
    first: Vec<String>,
}

impl Ids {
    fn note(&mut self, id: impl Into<String>) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(id.into());
        }
    }

    const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn json(&self) -> Json {
        match self.count {
            0 => json!(0),
            count if count == self.first.len() => json!(self.first),
            count => json!({"count": count, "the first": self.first}),
        }
    }
}

impl<T: Into<String>> FromIterator<T> for Ids {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut ids = Self::default();
        all.into_iter().for_each(|id| ids.note(id));
        ids
    }
}

/// What several checks look at, looked at once.
struct Assessment<'a> {
    engine: &'a Arc<Engine>,
    agreements: Agreements,
    persons: Persons,
    assets: Vec<Asset>,
    /// What datasets say of the persons they are about, by id.
    personal: BTreeMap<String, Personal>,
    /// Reads of open data, by dataset.
    open_reads: BTreeMap<String, u64>,
    /// The answer of this node's own public address for its DID document.
    document: Look,
}

impl Engine {
    /// The self-assessment: every requirement with what was found here and now.
    ///
    /// # Errors
    /// The store failed.
    pub async fn assess(self: &Arc<Self>) -> Result<Json, EngineError> {
        let assessment = Assessment::begin(self).await?;
        let attestations: BTreeMap<String, Attestation> =
            tables::all::<Attestation>(&self.store, prefix::ATTESTATION)?
                .into_iter()
                .map(|one| (one.id.clone(), one))
                .collect();
        let mut found: BTreeMap<String, Finding> = BTreeMap::new();
        let mut rows = Vec::new();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut assessed: Vec<(Requirement, Met)> = Vec::new();
        for requirement in requirements() {
            if !found.contains_key(&requirement.check) {
                let finding = assessment.check(&requirement.check).await.unwrap_or_else(|error| {
                    Finding::not_assessed(json!(format!("the check could not be made: {error}")))
                });
                found.insert(requirement.check.clone(), finding);
            }
            let Some(finding) = found.get(&requirement.check) else { continue };
            let attested = attestations.get(&requirement.name());
            let account = attested.and_then(|one| one.account.as_ref());
            let is_held = match account {
                Some(Account { id, name }) => {
                    self.scope_now(&Holder::Key { id: id.clone(), name: name.clone() }).is_some()
                }
                None => false,
            };
            let met = requirement.met(finding.met, is_held);
            *counts.entry(met.name()).or_default() += 1;
            rows.push(json!({
                "name": requirement.name(), "edition": requirement.edition, "mim": requirement.mim, "id": requirement.id,
                "keyword": requirement.keyword, "requirement": requirement.requirement, "mechanism": requirement.mechanism,
                "met": met, "level": met.level(), "check": requirement.check,
                "exercised": finding.ground.filter(|_| met.is_met()),
                "evidence": finding.evidence, "sha256": finding.digest(),
                "attested": attested.map(|one| shown(one, is_held)),
                "gap": if met.is_met() { "" } else { requirement.gap.as_str() },
            }));
            assessed.push((requirement, met));
        }
        Ok(json!({
            "node": self.did(), "organisation": self.name, "at": clock::now(), "product": concat!("concordat ", env!("CARGO_PKG_VERSION")),
            "counts": counts, "mechanisms": mechanisms(&assessed), "rows": rows,
            "note": "A self-assessment: nothing here certifies",
        }))
    }

    /// That an account of this node answers for a requirement in a role.
    ///
    /// # Errors
    /// No such requirement; the node's own key, which is nobody's; or something is empty or too long.
    pub async fn attest(
        &self,
        holder: &Holder,
        id: &str,
        role: &str,
        statement: &str,
    ) -> Result<Attestation, EngineError> {
        let refuse = |reason: String| EngineError::refused(RefusalKind::Malformed, reason);
        if !requirements().into_iter().any(|one| one.name() == id) {
            return Err(EngineError::NotFound { kind: "requirement", id: id.to_owned() });
        }
        if role.trim().is_empty()
            || role.len() > 200
            || statement.trim().is_empty()
            || statement.len() > MAX_STATEMENT
        {
            return Err(refuse(format!("role: 1 to 200 bytes, statement: 1 to {MAX_STATEMENT} bytes")));
        }
        let Holder::Key { id: key, name } = holder else {
            return Err(refuse(
                "the node's own key belongs to nobody: create a key for the person who answers (concordat keys create NAME --scope admin), and attest with it (--key FILE)".to_owned(),
            ));
        };
        let made = Attestation {
            id: id.to_owned(),
            role: role.to_owned(),
            statement: statement.to_owned(),
            at: clock::now(),
            account: Some(Account { id: key.clone(), name: name.clone() }),
        };
        let mut batch = Batch::new();
        tables::put(&mut batch, tables::key(prefix::ATTESTATION, &trust::did::segment(id)), &made)?;
        let text = format!("{role} (the account `{name}`) attests {id}");
        tables::append_event(&mut batch, &Event::new("mim", made.at, text).about(key))?;
        self.commit(batch).await?;
        Ok(made)
    }
}

/// An attestation in the report; one without an account that the node still has counts for nothing, and says so.
fn shown(one: &Attestation, is_held: bool) -> Json {
    let problem = match (&one.account, is_held) {
        (_, true) => None,
        (Some(_), false) => Some("the key of this account was revoked; have the requirement attested again"),
        (None, false) => Some("it was made without an account; have the requirement attested again"),
    };
    json!({"role": one.role, "statement": one.statement, "at": one.at, "account": one.account, "problem": problem})
}

/// The level of each mechanism, in the order of the report.
fn mechanisms(assessed: &[(Requirement, Met)]) -> Vec<Json> {
    let mut parts: Vec<(&str, &str)> =
        assessed.iter().map(|(one, _)| (one.edition.as_str(), one.mim.as_str())).collect();
    parts.dedup();
    let of = |(edition, mim): (&str, &str)| {
        let all = assessed.iter().filter(|(one, _)| one.edition == edition && one.mim == mim);
        let level = Level::of_all(all.clone().map(|(one, met)| (one, *met)));
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        all.for_each(|(_, met)| *counts.entry(met.name()).or_default() += 1);
        json!({"edition": edition, "mim": mim, "level": level, "counts": counts})
    };
    parts.into_iter().map(of).collect()
}

impl<'a> Assessment<'a> {
    async fn begin(engine: &'a Arc<Engine>) -> Result<Self, EngineError> {
        let assets: Vec<Asset> = tables::all(&engine.store, prefix::ASSET)?;
        let said = |asset: &Asset| Some((asset.id.clone(), Personal::of(&asset.properties).ok()??));
        let personal: BTreeMap<_, _> = assets.iter().filter_map(said).collect();
        let open_reads = engine.open_uses()?.into_iter().map(|one| (one.dataset, one.reads)).collect();
        Ok(Self {
            agreements: Agreements::count(engine, &personal)?,
            persons: Persons::count(engine)?,
            document: engine.look_at_document().await,
            engine,
            assets,
            personal,
            open_reads,
        })
    }

    /// Whether a dataset was read here, under an agreement or as open data.
    fn was_read(&self, dataset: &str) -> bool {
        let reads = [&self.agreements.reads, &self.open_reads];
        reads.iter().any(|reads| reads.get(dataset).is_some_and(|count| *count > 0))
    }

    async fn check(&self, name: &str) -> Result<Finding, EngineError> {
        if let Some(finding) = self.check_agreements(name)? {
            return Ok(finding);
        }
        if let Some(finding) = self.check_persons(name).await? {
            return Ok(finding);
        }
        if let Some(finding) = self.check_offers(name).await? {
            return Ok(finding);
        }
        if let Some(finding) = self.check_space(name).await? {
            return Ok(finding);
        }
        if let Some(finding) = self.check_probes(name).await? {
            return Ok(finding);
        }
        Ok(Finding::not_assessed(json!(format!("there is no check `{name}`"))))
    }
}
