//! What this node's records show of data about persons: who permitted and asked what, through which operators, and what was
//! handed on.

use std::collections::{BTreeSet, HashMap};

use governance::consent::{Asked, Extent};
use governance::mims::Finding;
use governance::request::Kind;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::{Assessment, Ids};
use crate::clock;
use crate::engine::gate::Denial;
use crate::engine::{Engine, EngineError, Share};
use crate::tables::{self, AccessRecord, ConsentRecord, Told, prefix};

/// Where the terms of DPV stand.
const DPV: &str = "https://w3id.org/dpv";
/// What stands in an address in place of the secret itself, and what must not be seen of it.
const SECRETS: [&str; 3] = ["secretName", "secretFile", "authCode"];
/// The source of an access that was refused before it was opened.
const NOT_ASKED: &str = "not asked";

/// Consents, requests, accesses and shares, counted.
#[derive(Debug, Default)]
pub(super) struct Persons {
    /// Operators that brought something which this node took, by their DIDs.
    operators: BTreeSet<String>,
    consents: usize,
    withdrawn: usize,
    standing: usize,
    in_dpv: usize,
    /// How far consents that name attributes go, and since when the first of each.
    of_attributes: HashMap<Extent, Timestamp>,
    accesses: Accesses,
    shares: Vec<Share>,
}

/// Reads with request tickets.
#[derive(Debug, Default)]
struct Accesses {
    all: usize,
    operators: BTreeSet<String>,
    /// In which rows went out.
    with_rows: usize,
    /// Of whose outcome the operator was told, is not told yet, and could not be told.
    told: usize,
    pending: usize,
    untold: usize,
}

impl Accesses {
    fn note(&mut self, one: AccessRecord) {
        self.all += 1;
        self.operators.insert(one.operator);
        let opened = one.outcome.as_ref().filter(|outcome| outcome.source != NOT_ASKED);
        self.with_rows += usize::from(opened.is_some_and(|outcome| outcome.rows > 0));
        match one.told {
            Told::Yes => self.told += usize::from(opened.is_some()),
            Told::Pending => self.pending += 1,
            Told::Not(_) => self.untold += 1,
        }
    }

    fn json(&self) -> Json {
        json!({
            "reads with request tickets": self.all, "through operators": self.operators, "with rows": self.with_rows,
            "told to the operator": self.told, "being told": self.pending, "could not be told": self.untold,
        })
    }
}

impl Persons {
    pub(super) fn count(engine: &Engine) -> Result<Self, EngineError> {
        let mut all = Self { shares: engine.shares()?, ..Self::default() };
        let now = clock::now();
        tables::each(&engine.store, prefix::CONSENT, |_, ConsentRecord { consent, .. }| {
            all.consents += 1;
            all.withdrawn += usize::from(consent.withdrawn.is_some());
            all.standing += usize::from(consent.holds(now));
            all.in_dpv += usize::from(consent.extent.purposes.iter().all(|purpose| purpose.starts_with(DPV)));
            all.operators.insert(consent.operator);
            if !consent.extent.attributes.is_empty() {
                let since = all.of_attributes.entry(consent.extent).or_insert(consent.given_at);
                *since = consent.given_at.min(*since);
            }
            Ok::<_, EngineError>(())
        })?;
        for request in engine.subject_requests()? {
            all.operators.insert(request.operator);
        }
        tables::each(&engine.store, prefix::ACCESS, |_, one: AccessRecord| {
            all.accesses.note(one);
            Ok::<_, EngineError>(())
        })?;
        Ok(all)
    }

    /// Agreements under which rows about persons were looked at, and handed on or left out.
    fn guarded(&self) -> impl Iterator<Item = &Share> {
        self.shares.iter().filter(|share| share.rows > 0 || share.left_out > 0)
    }

    fn guarded_json(&self) -> Json {
        let (rows, left_out) = self.guarded().fold((0_u64, 0_u64), |sum, one| {
            (sum.0.saturating_add(one.rows), sum.1.saturating_add(one.left_out))
        });
        let agreements: Ids = self.guarded().map(|share| share.agreement.as_str()).collect();
        json!({"agreements": agreements.json(), "rows handed on": rows, "rows left out": left_out})
    }

    /// An agreement under which rows went out after a consent that names attributes and reaches as far.
    fn attributes_applied(&self, engine: &Engine) -> Ids {
        let applies = |share: &&Share| {
            let asked = Asked {
                recipient: share.recipient.clone(),
                purposes: share.purposes.clone(),
                dataset: share.dataset.clone(),
            };
            share.rows > 0
                && self.of_attributes.iter().any(|(extent, since)| {
                    share.last.is_some_and(|last| last >= *since) && extent.covers(&asked, &engine.known)
                })
        };
        self.shares.iter().filter(applies).map(|share| share.agreement.as_str()).collect()
    }
}

impl Assessment<'_> {
    /// What is configured of operators and their registries.
    fn operators_configured(&self) -> usize {
        let mim4 = &self.engine.mim4;
        self.engine.operators.len() + mim4.operators.len() + mim4.trust_groups.len()
    }

    /// Met where `times` is one at least; what needs an operator is not set up where none is configured.
    fn through_operators(&self, times: usize, evidence: Json) -> Finding {
        match (self.operators_configured(), times) {
            (0, 0) => Finding::not(json!("no operator is configured here")),
            _ => Finding::recorded(times, evidence),
        }
    }

    /// The same for what needs a dataset about persons.
    fn about_persons(&self, times: usize, evidence: Json) -> Finding {
        match (self.personal.len(), times) {
            (0, 0) => Finding::not(json!("no dataset about persons is published here")),
            _ => Finding::recorded(times, evidence),
        }
    }

    /// The same for what needs tickets.
    fn with_tickets(&self, times: usize) -> Finding {
        let ticketed: Ids = self
            .personal
            .iter()
            .filter(|(_, said)| said.identifier_type.is_some())
            .map(|(id, _)| id.as_str())
            .collect();
        let evidence = json!({"datasets read with tickets only": ticketed.json(), "accesses": self.persons.accesses.json()});
        match (ticketed.count, times) {
            (0, 0) => Finding::not(json!("no dataset is read with request tickets here")),
            _ => Finding::recorded(times, evidence),
        }
    }

    pub(super) async fn check_persons(&self, name: &str) -> Result<Option<Finding>, EngineError> {
        let (all, accesses) = (&self.persons, &self.persons.accesses);
        Ok(Some(match name {
            "persons-read" => {
                let read: Ids = all
                    .shares
                    .iter()
                    .filter(|share| share.last.is_some())
                    .map(|share| share.agreement.as_str())
                    .collect();
                let datasets: Ids = self.personal.keys().map(String::as_str).collect();
                let evidence = json!({"datasets about persons": datasets.json(), "agreements under which they were read": read.json()});
                self.about_persons(read.count, evidence)
            }
            "persons-guarded" => self.about_persons(all.guarded().count(), all.guarded_json()),
            "personal-reads-logged" => match self.check_audit()? {
                chain if !chain.is_met() => chain,
                chain => self.about_persons(
                    all.guarded().count(),
                    json!({"reads": all.guarded_json(), "audit log": chain.evidence}),
                ),
            },
            "attributes-permitted" => {
                let applied = all.attributes_applied(self.engine);
                let evidence = json!({
                    "consents that name attributes, by their extent": all.of_attributes.len(),
                    "agreements under which rows went out after one that covers them": applied.json(),
                });
                self.about_persons(applied.count, evidence)
            }
            "pseudonyms" => {
                let applied = &self.agreements.pseudonymised;
                let evidence =
                    json!({"agreements under which rows went out under pseudonyms": applied.json()});
                self.about_persons(applied.count, evidence)
            }
            "permissions-in-dpv" => self.check_dpv(),
            "operator-connected" => self
                .through_operators(all.operators.len().max(accesses.operators.len()), self.operators_json()),
            "operators-several" => self.check_several(),
            "personal-api" => match self.operators_configured() {
                0 => Finding::not(json!("no operator is configured here")),
                _ => Finding::able(self.operators_json()),
            },
            "insight-given" | "requests-in-time" => self.check_requests(name)?,
            "consents-standing" => self.through_operators(
                all.standing,
                json!({"consents": all.consents, "that hold now": all.standing}),
            ),
            "consents-withdrawn" => self.through_operators(
                all.withdrawn,
                json!({"consents": all.consents, "withdrawn": all.withdrawn}),
            ),
            "access-log" => self.with_tickets(accesses.all),
            "tickets-checked" | "tickets-introspected" => self.with_tickets(accesses.all),
            "identifiers-used" => self.with_tickets(accesses.with_rows),
            "unknown-issuers-refused" => self.check_unknown_issuer().await,
            "operators-told" => match accesses.untold {
                0 => self.with_tickets(accesses.told),
                _ => Finding::not(accesses.json()),
            },
            "operator-metadata" => {
                match (self.engine.mim4.operators.len() + self.engine.mim4.trust_groups.len(), accesses.all) {
                    (0, 0) => Finding::not(json!("neither an operator nor a registry is named under [mim4]")),
                    _ => Finding::recorded(accesses.all, accesses.json()),
                }
            }
            "trust-groups" => self.check_groups().await,
            "secrets-stay" => self.check_secrets(),
            _ => return Ok(None),
        }))
    }

    fn operators_json(&self) -> Json {
        let mim4 = &self.engine.mim4;
        json!({
            "personal.operators": self.engine.operators, "mim4.operators": mim4.operators,
            "mim4.trust_groups": mim4.trust_groups.iter().map(|one| one.address.as_str()).collect::<Vec<_>>(),
            "operators that sent something which was taken": self.persons.operators,
            "operators whose tickets were taken": self.persons.accesses.operators,
        })
    }

    /// Several are two at least.
    fn check_several(&self) -> Finding {
        // Consents come by a DID, tickets by a UUID: nothing tells which of them are the same operator's.
        let used = self.persons.operators.len().max(self.persons.accesses.operators.len());
        let configured = self.engine.operators.len().max(self.engine.mim4.operators.len());
        match (used, configured) {
            (2.., _) => Finding::recorded(used, self.operators_json()),
            (_, 2..) => Finding::able(self.operators_json()),
            // A group may have any number of them.
            _ if !self.engine.mim4.trust_groups.is_empty() => Finding::able(self.operators_json()),
            _ => Finding::not(json!({"fewer than two operators": self.operators_json()})),
        }
    }

    fn check_dpv(&self) -> Finding {
        let strange: Ids = self
            .personal
            .iter()
            .filter(|(_, said)| !said.attributes.values().all(|one| one.category.starts_with(DPV)))
            .map(|(id, _)| id.as_str())
            .collect();
        let evidence = json!({
            "datasets about persons": self.personal.len(), "with categories that are not of DPV": strange.json(),
            "consents": self.persons.consents, "with purposes of DPV alone": self.persons.in_dpv,
        });
        match strange.is_empty() {
            true => self.about_persons(self.persons.in_dpv.min(self.personal.len()), evidence),
            false => Finding::not(evidence),
        }
    }

    fn check_requests(&self, name: &str) -> Result<Finding, EngineError> {
        let requests = self.engine.subject_requests()?;
        if name == "insight-given" {
            let given: Ids = requests
                .iter()
                .filter(|one| matches!(one.kind, Kind::Insight | Kind::Portability) && one.answer.is_some())
                .map(|one| one.id.as_str())
                .collect();
            return Ok(
                self.through_operators(given.count, json!({"answered requests for insight": given.json()}))
            );
        }
        let of_people = requests.iter().filter(|one| matches!(one.kind, Kind::Correction | Kind::Erasure));
        let (mut in_time, mut late, mut open) = (Ids::default(), Ids::default(), 0_usize);
        for one in of_people {
            match &one.answer {
                Some(answer) if answer.at <= one.due => in_time.note(one.id.as_str()),
                None if one.late.is_none() && one.due > clock::now() => open += 1,
                _ => late.note(one.id.as_str()),
            }
        }
        let evidence = json!({
            "requests for correction or erasure answered in time": in_time.json(), "late": late.json(), "open": open,
        });
        Ok(match late.is_empty() {
            true => self.through_operators(in_time.count, evidence),
            false => Finding::not(evidence),
        })
    }

    /// A ticket of an operator that nobody knows is refused before anything of it is believed: tried with a UUID made now.
    async fn check_unknown_issuer(&self) -> Finding {
        let set_up = self.with_tickets(self.persons.accesses.all);
        let mim4 = &self.engine.mim4;
        if set_up.met == governance::mims::Met::Not
            || (mim4.operators.is_empty() && mim4.trust_groups.is_empty())
        {
            return Finding::not(set_up.evidence);
        }
        let uuid = crate::ids::uuid();
        let asked = tokio::time::timeout(super::probes::LOOK, self.engine.operator(&uuid, false)).await;
        let tried = format!("a ticket of the operator {uuid}, made up now");
        match asked {
            Ok(Err(Denial::Ticket(reason))) => {
                Finding::probed(true, json!({"tried": tried, "refused": reason}))
            }
            Ok(Ok(_)) => Finding::probed(false, json!({"tried": tried, "refused": false})),
            Ok(Err(_)) | Err(_) => Finding::unreachable(
                json!({"tried": tried, "reason": "an operator or a registry under [mim4] does not answer"}),
            ),
        }
    }

    /// Reads the list of every trust group.
    pub(super) async fn check_groups(&self) -> Finding {
        let mut read = Vec::new();
        for settings in &self.engine.mim4.trust_groups {
            let address = &settings.address;
            let url = format!("{}/trustlist-api/groups", address.trim_end_matches('/'));
            let lost = |reason: String| Finding::unreachable(json!({"registry": address, "reason": reason}));
            match tokio::time::timeout(super::probes::LOOK, self.engine.fetch_json(&url)).await {
                Err(_) => return lost(format!("no answer within {} s", super::probes::LOOK.as_secs())),
                Ok(Err(reason)) => return lost(reason),
                Ok(Ok(_)) => {}
            }
            match self.engine.group(settings).await {
                Ok(group) => {
                    read.push(
                        json!({"registry": address, "group": group.uuid, "operators": group.operators.len()}),
                    );
                }
                Err(reason) => return Finding::not(json!({"registry": address, "reason": reason})),
            }
        }
        match read.is_empty() {
            true => Finding::not(json!("no registry is named under mim4.trust_groups")),
            false => Finding::probed(true, json!({"lists read, with signatures that hold": read})),
        }
    }

    /// Looks for what stands for a secret, in what the catalog shows of each dataset whose source takes one.
    fn check_secrets(&self) -> Finding {
        let (mut kept, mut shown) = (Ids::default(), Ids::default());
        for asset in &self.assets {
            let addresses = std::iter::once(&asset.data_address).chain(asset.distributions.values());
            let secrets: Vec<&str> = addresses
                .flat_map(|address| SECRETS.iter().filter_map(|name| address.get(*name)?.as_str()))
                .collect();
            if secrets.is_empty() {
                continue;
            }
            let document = self.engine.document(asset.clone(), Vec::new());
            let document = protocol::wire::to_json(&document, None).to_string();
            match secrets.iter().any(|secret| document.contains(&json!(secret).to_string())) {
                true => shown.note(asset.id.as_str()),
                false => kept.note(asset.id.as_str()),
            }
        }
        let evidence = json!({
            "datasets whose source takes a secret": kept.count + shown.count,
            "in whose catalog entry nothing of it stands": kept.json(), "in whose entry it does": shown.json(),
        });
        match (kept.is_empty(), shown.is_empty()) {
            (_, false) => Finding::not(evidence),
            (true, true) => Finding::able(evidence),
            (false, true) => Finding::probed(true, evidence),
        }
    }
}
