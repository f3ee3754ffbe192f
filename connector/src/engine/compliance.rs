//! Whether an agreement is kept, with the evidence: what was permitted and used, duties and deadlines, levels, deletions, the
//! rulebook. The other party is shown what concerns it; and two nodes' logs of one agreement are held against each other.

use std::collections::BTreeMap;

use governance::rulebook::PROPERTY as RULEBOOK;
use policy_engine::{Request, World, explain};
use protocol::Role;
use serde::Serialize;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::{Engine, EngineError, duties};
use crate::clock;
use crate::ids::hex;
use crate::tables::{self, AgreementRecord, DutyLedger, PeriodState, prefix};

/// Largest answer of a peer, in bytes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// In the log of an agreement: transfers that were over are not kept any more.
const DROPPED: &str = "transfers dropped";
/// Deletions that are looked at together.
const DELETIONS: usize = 1000;

/// How strongly a line of the report is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Known {
    /// This node saw it itself.
    Observed,
    /// The other party states it, signed; whether it is so is beyond this node.
    Stated,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    /// What: `signatures`, `use`, `duty`, `level`, `deletion`, `rulebook`.
    what: &'static str,
    /// Whether it is kept; `None` where it is open.
    kept: Option<bool>,
    /// In words.
    text: String,
    known: Known,
    /// Ids of what shows it: rules, statements, periods.
    evidence: Vec<String>,
}

/// How two logs differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// By what both know it.
    id: String,
    /// What this node has.
    here: Option<Json>,
    /// What the other node has.
    there: Option<Json>,
}

impl Engine {
    /// The compliance of one agreement, as this node sees it.
    ///
    /// # Errors
    /// No such agreement, or the store failed.
    pub fn compliance(&self, agreement: &str) -> Result<Json, EngineError> {
        let standing = self.agreement(agreement)?;
        let record = &standing.record;
        let mut looks = vec![self.signatures_look(record)?, self.use_look(record, &standing.usage)?];
        looks.extend(self.duties(agreement)?.into_iter().map(|duty| Look {
            what: "duty",
            kept: match duty.state {
                "fulfilled" => Some(true),
                "violated" | "infringed" => Some(false),
                _ => None,
            },
            text: format!(
                "{}: {}{}",
                duty.text,
                duty.state,
                duty.due.map_or_else(String::new, |due| format!(", due {due}"))
            ),
            known: Known::Stated,
            evidence: std::iter::once(duty.rule).chain(duty.evidence.into_iter().map(|one| one.id)).collect(),
        }));
        for period in self.periods(agreement)? {
            let Some(attainment) = &period.attainment else { continue };
            for level in attainment.levels.iter().filter(|level| level.samples > 0 || !level.met) {
                let breach = period.breaches.iter().find(|one| one.level == level.id);
                let waived = breach.is_some_and(|one| one.waived.is_some());
                let disputed = period.state == PeriodState::Disputed;
                looks.push(Look {
                    what: "level",
                    kept: if disputed { None } else { Some(level.met || waived) },
                    text: format!(
                        "`{}` in period {} ({} to {}): {}{}{}",
                        level.id,
                        period.period,
                        attainment.from,
                        attainment.until,
                        if level.met { "kept" } else { "missed" },
                        breach.map_or_else(String::new, |one| format!(", {}", one.remedy.name())),
                        if waived {
                            ", waived"
                        } else if disputed {
                            ", disputed"
                        } else {
                            ""
                        },
                    ),
                    known: Known::Observed,
                    evidence: period.sha256.iter().cloned().collect(),
                });
            }
        }
        let (mut deletions, mut after) = (Vec::new(), None);
        loop {
            let page = self.deletions(Some(agreement), after.as_deref(), DELETIONS)?;
            deletions.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for one in &deletions {
            let confirmed = !one["confirmed"].is_null();
            let late = one["due"]
                .as_str()
                .and_then(|due| due.parse().ok())
                .is_some_and(|due: jiff::Timestamp| due < clock::now());
            looks.push(Look {
                what: "deletion",
                kept: if confirmed { Some(true) } else { late.then_some(false) },
                text: format!(
                    "what a person permits no more, due {}: {}",
                    one["due"].as_str().unwrap_or_default(),
                    if confirmed {
                        "the consumer states that it was deleted"
                    } else if late {
                        "not confirmed in time"
                    } else {
                        "open"
                    }
                ),
                known: Known::Stated,
                evidence: one["notice"].as_str().into_iter().map(str::to_owned).collect(),
            });
        }
        // An agreement is held to the rulebooks that it was made under; what came later asks for a new one.
        let conflicts = self.agreement_conflicts(record, clock::now());
        looks.extend(conflicts.into_iter().map(|(is_named, conflict)| Look {
            what: "rulebook",
            kept: is_named.then_some(false),
            text: match is_named {
                true => conflict.to_string(),
                false => format!(
                    "agreed before this rulebook; an agreement that is made now would not fit it: {conflict}"
                ),
            },
            known: Known::Observed,
            evidence: vec![conflict.clause],
        }));
        let broken = looks.iter().filter(|look| look.kept == Some(false)).count();
        let open = looks.iter().filter(|look| look.kept.is_none()).count();
        Ok(json!({
            "agreement": agreement, "provider": record.provider(), "consumer": record.consumer(),
            "dataset": record.agreement.target(), "role": record.role, "ended": record.end(),
            "madeUnder": record.part(RULEBOOK), "at": clock::now(), "broken": broken, "open": open,
            "kept": broken == 0, "looks": looks,
            "beyond": "what happens beyond the other party's node is not seen here; `stated` lines are its signed word",
        }))
    }

    fn signatures_look(&self, record: &AgreementRecord) -> Result<Look, EngineError> {
        let signed = self.is_signed(record);
        Ok(Look {
            what: "signatures",
            kept: Some(signed.is_ok()),
            text: match signed {
                Ok(()) => "both signatures hold over the agreement as kept".to_owned(),
                Err(reason) => reason,
            },
            known: Known::Observed,
            evidence: vec![trust::agreement::digest(record.agreement.json())?],
        })
    }

    /// What was used, against what is permitted now.
    fn use_look(&self, record: &AgreementRecord, usage: &tables::Usage) -> Result<Look, EngineError> {
        let policy = record.agreement.policy();
        let id = record.agreement.id().to_string();
        let used = format!(
            "{} reads, {} bytes, {} rows ({} left out), streamed for {:#}",
            usage.requests, usage.bytes, usage.rows, usage.left_out, usage.metered
        );
        let terms = explain::policy(policy).join("; ");
        if record.role == Role::Consumer {
            let text = format!("this node is the consumer; its provider meters. Terms: {terms}");
            return Ok(Look { what: "use", kept: None, text, known: Known::Stated, evidence: vec![id] });
        }
        let now = clock::now();
        let ledger = duties::record(&self.store, &id, record)?;
        let (credentials, _) = self.claims.of(&record.peer, now);
        let target = record.agreement.target();
        let request = Request { action: "read", party: record.consumer(), target: Some(target.as_str()) };
        let promised = policy_engine::promised(policy, request.action, &self.known);
        let world = World {
            usage: policy_engine::Usage {
                count: Some(usage.requests.max(1)),
                first: usage.first,
                last: usage.last,
                metered: Some(usage.metered),
                at_once: 0,
            },
            since: Some(record.concluded_at),
            credentials: &credentials,
            record: &ledger,
            ..World::at(now, &self.known)
        };
        let decision = policy_engine::evaluate_promised(policy, &request, &world, &promised);
        // Nothing is read that the terms do not permit: what was used was permitted when it was.
        let now = if decision.is_permit() {
            "more is permitted now".to_owned()
        } else {
            format!("nothing more is permitted now: {}", decision.reason())
        };
        let text = format!("{used}; {now}. Terms: {terms}");
        let evidence = decision.reasons.into_iter().map(|reason| reason.rule).collect();
        Ok(Look { what: "use", kept: Some(true), text, known: Known::Observed, evidence })
    }

    /// The compliance of every agreement that is not ended, in short.
    ///
    /// # Errors
    /// The store failed.
    pub fn all_compliance(&self) -> Result<Vec<Json>, EngineError> {
        let mut ids = Vec::new();
        self.each_agreement(|record| {
            if record.ended.is_none() {
                ids.push(record.agreement.id().to_string());
            }
            Ok(())
        })?;
        ids.iter().map(|id| self.compliance(id)).collect()
    }

    /// An agreement whose other party is `caller`: a stranger and an unknown agreement get the same answer.
    fn of_party(&self, caller: &str, agreement: &str) -> Result<AgreementRecord, EngineError> {
        match self.load_agreement(agreement) {
            Ok((record, _)) if record.peer == caller => Ok(record),
            Ok(_) => Err(EngineError::NotFound { kind: "agreement", id: agreement.to_owned() }),
            Err(error) => Err(error),
        }
    }

    /// The compliance of an agreement, for its other party.
    ///
    /// # Errors
    /// No such agreement with this caller.
    pub fn compliance_for(&self, caller: &str, agreement: &str) -> Result<Json, EngineError> {
        self.of_party(caller, agreement)?;
        self.compliance(agreement)
    }

    /// What the other party says of the compliance of an agreement.
    ///
    /// # Errors
    /// No such agreement, or the other party does not answer.
    pub async fn peer_compliance(&self, agreement: &str) -> Result<Json, EngineError> {
        self.ask_party(agreement, "compliance").await
    }

    async fn ask_party(&self, agreement: &str, what: &str) -> Result<Json, EngineError> {
        let (record, _) = self.load_agreement(agreement)?;
        let url = format!("{}/agreements/{}/{what}", record.peer_address, trust::did::segment(agreement));
        self.guard.check_url(&url).map_err(|error| EngineError::Peer(error.to_string()))?;
        let body = self.get(&url, Some(&record.peer), MAX_ANSWER).await?;
        serde_json::from_slice(&body)
            .map_err(|error| EngineError::Peer(format!("{url} cannot be read: {error}")))
    }

    /// What this node recorded of an agreement, by ids that both parties know.
    fn log_of(&self, record: &AgreementRecord) -> Result<BTreeMap<String, Json>, EngineError> {
        let agreement = record.agreement.id().to_string();
        let mut log = BTreeMap::new();
        let signature =
            |signature: &Option<String>| signature.as_ref().map(|text| hex(&Sha256::digest(text)));
        log.insert(
            format!("agreement {agreement}"),
            json!({
                "sha256": trust::agreement::digest(record.agreement.json())?,
                "providerSignature": signature(&record.provider_signature),
                "consumerSignature": signature(&record.consumer_signature),
            }),
        );
        let (provider, consumer) = match record.role {
            Role::Provider => (&record.ended, &record.ended_there),
            Role::Consumer => (&record.ended_there, &record.ended),
        };
        for (side, ended) in [("provider", provider), ("consumer", consumer)] {
            if let Some(ended) = ended {
                log.insert(format!("end by the {side}"), json!({"at": ended.at, "reason": ended.reason}));
            }
        }
        for pid in self.transfers_of(&agreement)? {
            let transfer = self.transfer(&pid)?.transfer;
            let provider = transfer.provider_pid.as_ref().map(ToString::to_string).unwrap_or_default();
            let state = transfer.progress.state.map(|state| state.to_string());
            log.insert(
                format!("transfer {} {provider}", transfer.consumer_pid),
                json!({"state": state, "format": transfer.format}),
            );
        }
        if self.store.get(&tables::key(prefix::TRANSFERS_DROPPED, &agreement))?.is_some() {
            log.insert(DROPPED.to_owned(), Json::Bool(true));
        }
        self.each_statement(&agreement, |one| {
            let sha256 = hex(&Sha256::digest(self.statement_text(&one)?));
            let shown = json!({"kind": one.kind, "by": one.by, "sha256": sha256});
            log.insert(format!("statement {}", one.id), shown);
            Ok(())
        })?;
        if let Some((ledger, _)) =
            tables::load::<DutyLedger>(&self.store, &tables::key(prefix::DUTY, &agreement))?
        {
            for one in ledger.evidence {
                let told = json!({"rule": one.rule, "claim": one.claim, "at": one.at, "by": one.by, "statement": one.statement});
                log.insert(format!("duty {}", one.id), told);
            }
        }
        for period in self.periods(&agreement)? {
            log.insert(format!("period {:012}", period.period), json!({"sha256": period.sha256}));
        }
        Ok(log)
    }

    /// The log of an agreement, for its other party.
    ///
    /// # Errors
    /// No such agreement with this caller.
    pub fn log_for(&self, caller: &str, agreement: &str) -> Result<Json, EngineError> {
        let record = self.of_party(caller, agreement)?;
        Ok(json!(self.log_of(&record)?))
    }

    /// Holds this node's log of an agreement against the other node's.
    ///
    /// # Errors
    /// No such agreement, or the other node does not answer.
    pub async fn match_logs(&self, agreement: &str) -> Result<Json, EngineError> {
        let theirs = self.ask_party(agreement, "log").await?;
        let theirs: BTreeMap<String, Json> = serde_json::from_value(theirs)
            .map_err(|error| EngineError::Peer(format!("the other node's log cannot be read: {error}")))?;
        let (record, _) = self.load_agreement(agreement)?;
        let ours = self.log_of(&record)?;
        let ids: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).cloned().collect();
        let dropped = |of: &BTreeMap<String, Json>, id: &str| {
            of.contains_key(DROPPED) && id.starts_with("transfer ") && !of.contains_key(id)
        };
        let is_over = |of: &BTreeMap<String, Json>, id: &str| {
            let state = of.get(id).and_then(|one| one["state"].as_str());
            state.is_some_and(|state| ["COMPLETED", "TERMINATED"].contains(&state))
        };
        let same = |id: &String| {
            ours.get(id) == theirs.get(id)
                || id == DROPPED
                || dropped(&ours, id) && is_over(&theirs, id)
                || dropped(&theirs, id) && is_over(&ours, id)
        };
        let differences: Vec<_> = ids
            .iter()
            .filter(|id| !same(id))
            .map(|id| Difference {
                id: id.clone(),
                here: ours.get(id).cloned(),
                there: theirs.get(id).cloned(),
            })
            .collect();
        Ok(json!({
            "agreement": agreement, "here": self.did(), "there": record.peer, "at": clock::now(),
            "same": ids.len() - differences.len(), "differences": differences,
            "ended": {"here": record.ended, "there": record.ended_there},
        }))
    }
}
