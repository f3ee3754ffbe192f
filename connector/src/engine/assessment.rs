//! The node examines itself: for each requirement of the MIMs, a check of what is really there, with what it found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::catalog::lint::{Weight, lint};
use ::catalog::{Asset, ContractDefinition, Description, PolicyDefinition};
use governance::mims::{Finding, Met, requirements};
use governance::personal::Personal;
use http::Method;
use policy_engine::{Policy, explain, media};
use protocol::{RefusalKind, Role};
use serde_json::{Value as Json, json};
use store::Batch;
use store::chain::{Head, unchain};
use trust::SignerRole;

use super::{Engine, EngineError};
use crate::clock;
use crate::http::management::serves;
use crate::search::Question;
use crate::tables::{self, AccessRecord, Attestation, Event, Membership, Peer, prefix};

/// Largest document that is looked at, in bytes.
const MAX_LOOK: usize = 4 * 1024 * 1024;
/// Longest statement of an attestation, in bytes.
const MAX_STATEMENT: usize = 2000;

fn none(evidence: &str) -> Finding {
    Finding::of(false, json!(evidence))
}

/// A finding about some: met where there are some and none of them fails.
fn every<T: serde::Serialize>(all: usize, failing: Vec<T>) -> Finding {
    Finding::of(all > 0 && failing.is_empty(), json!({"looked at": all, "failing": failing}))
}

impl Engine {
    /// The self-assessment: every requirement with what was found here and now.
    ///
    /// # Errors
    /// The store failed.
    pub async fn assess(self: &Arc<Self>) -> Result<Json, EngineError> {
        let mut found: BTreeMap<String, Finding> = BTreeMap::new();
        let attestations: BTreeMap<String, Attestation> =
            tables::all::<Attestation>(&self.store, prefix::ATTESTATION)?
                .into_iter()
                .map(|one| (one.id.clone(), one))
                .collect();
        let mut rows = Vec::new();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for requirement in requirements() {
            if !found.contains_key(&requirement.check) {
                let finding = match self.check(&requirement.check).await {
                    Ok(finding) => finding,
                    Err(error) => none(&format!("the check failed: {error}")),
                };
                found.insert(requirement.check.clone(), finding);
            }
            let Some(finding) = found.get(&requirement.check) else { continue };
            let name = format!("{} {} {}", requirement.edition, requirement.mim, requirement.id);
            let attested = attestations.get(&name);
            let met = match (requirement.organisational, attested, finding.met) {
                (true, None, _) => Met::NotAssessed,
                (_, _, Met::Meets) if requirement.equivalent => Met::Equivalent,
                (_, _, met) => met,
            };
            *counts.entry(met.letter()).or_default() += 1;
            rows.push(json!({
                "name": name, "edition": requirement.edition, "mim": requirement.mim, "id": requirement.id,
                "keyword": requirement.keyword, "requirement": requirement.requirement, "mechanism": requirement.mechanism,
                "met": met, "check": requirement.check, "evidence": finding.evidence, "sha256": finding.digest(),
                "attested": attested, "gap": if met == Met::Meets || met == Met::Equivalent { "" } else { requirement.gap.as_str() },
            }));
        }
        Ok(json!({
            "node": self.did(), "organisation": self.name, "at": clock::now(), "product": concat!("concordat ", env!("CARGO_PKG_VERSION")),
            "counts": counts, "rows": rows,
            "note": "a self-assessment: M meets, E equivalent, N does not meet; nothing here certifies",
        }))
    }

    /// That a named role answers for a requirement.
    ///
    /// # Errors
    /// No such requirement, or something is empty or too long.
    pub async fn attest(&self, id: &str, role: &str, statement: &str) -> Result<Attestation, EngineError> {
        let known =
            requirements().into_iter().any(|one| format!("{} {} {}", one.edition, one.mim, one.id) == id);
        if !known {
            return Err(EngineError::NotFound { kind: "requirement", id: id.to_owned() });
        }
        if role.is_empty() || role.len() > 200 || statement.is_empty() || statement.len() > MAX_STATEMENT {
            let reason = format!("role: 1 to 200 bytes, statement: 1 to {MAX_STATEMENT} bytes");
            return Err(EngineError::refused(RefusalKind::Malformed, reason));
        }
        let made = Attestation {
            id: id.to_owned(),
            role: role.to_owned(),
            statement: statement.to_owned(),
            at: clock::now(),
        };
        let mut batch = Batch::new();
        tables::put(&mut batch, tables::key(prefix::ATTESTATION, &trust::did::segment(id)), &made)?;
        tables::append_event(&mut batch, &Event::new("mim", made.at, format!("{role} attests {id}")))?;
        self.commit(batch).await?;
        Ok(made)
    }

    async fn check(self: &Arc<Self>, name: &str) -> Result<Finding, EngineError> {
        Ok(match name {
            "rulebook-in-force"
            | "rulebook-known"
            | "rulebook-words"
            | "orchestrator-can-check"
            | "offers-fit-rulebook" => self.check_rulebooks(name)?,
            "offers-have-terms" | "offers-in-words" | "offers-are-odrl" => self.check_offers(name)?,
            "descriptions-complete"
            | "formats-machine-readable"
            | "models-named"
            | "provenance"
            | "geo-encodings"
            | "ids-unique"
            | "ids-persistent"
            | "lookup"
            | "open-data" => self.check_datasets(name)?,
            "compliance-as-provider" => self.check_compliance(Role::Provider)?,
            "compliance-as-consumer" => self.check_compliance(Role::Consumer)?,
            "search-works" => {
                let found = self.search(Question { limit: Some(1), ..Question::default() }).await?;
                Finding::of(true, json!({"datasets found": found.total}))
            }
            "catalogue-formats" => self.check_catalogue().await,
            "directory" | "memberships-known" => self.check_directory(name)?,
            "strangers-refused" => self.check_strangers().await,
            "own-document" => self.check_document().await,
            "signing-works" => self.check_signing()?,
            "can-end" => served(&[
                (Method::POST, "/contractagreements/{id}/end"),
                (Method::POST, "/transferprocesses/{id}/terminate"),
            ]),
            "can-negotiate" => served(&[
                (Method::POST, "/contractnegotiations"),
                (Method::POST, "/contractnegotiations/{id}/move/{name}"),
            ]),
            "can-request" => served(&[(Method::POST, "/datarequests"), (Method::GET, "/datarequests")]),
            "can-answer" => {
                served(&[(Method::GET, "/datarequests"), (Method::POST, "/contractnegotiations/offer")])
            }
            "can-notify" => served(&[(Method::GET, "/events"), (Method::GET, "/uses")]),
            "can-consume" => served(&[(Method::PUT, "/uses/{name}"), (Method::POST, "/apikeys")]),
            "rights-listed" => served(&[
                (Method::GET, "/apikeys"),
                (Method::POST, "/contractagreements/request"),
                (Method::GET, "/credentials"),
            ]),
            "access-log" => {
                let (mut count, mut untold, mut operators) = (0_u64, 0_u64, BTreeSet::new());
                tables::each(&self.store, prefix::ACCESS, |_, one: AccessRecord| {
                    count += 1;
                    untold += u64::from(matches!(one.told, tables::Told::Not(_)));
                    operators.insert(one.operator);
                    Ok::<_, EngineError>(())
                })?;
                Finding::of(
                    untold == 0,
                    json!({"accesses": count, "operators": operators, "not told": untold}),
                )
            }
            "openapi" => {
                let document = crate::http::management::openapi();
                let paths = document.get("paths").and_then(Json::as_object).map_or(0, serde_json::Map::len);
                Finding::of(paths > 0, json!({"openapi": document.get("openapi"), "paths": paths}))
            }
            "audit-chain" => self.check_audit()?,
            "security" => {
                let key = self.identity.key_id()?;
                let closed = self.identity.is_fixed();
                Finding::of(
                    !closed,
                    json!({"signs with": key, "closed test network": closed, "sealed": "AES-256-GCM"}),
                )
            }
            "terms" => {
                let known = self.known.terms().count();
                Finding::of(known > 0, json!({"terms known": known}))
            }
            "geo-service" => {
                none("no OGC API Features service is built in; GeoJSON is served through the gateway")
            }
            "connector-config" => {
                let metadata = self.connector_metadata().await?;
                let whole = metadata.connector_key.is_some() && !metadata.api_guide.is_empty();
                Finding::of(whole, json!(metadata))
            }
            _ => self.check_personal(name)?,
        })
    }

    fn check_rulebooks(&self, name: &str) -> Result<Finding, EngineError> {
        let all = self.rulebooks()?;
        let in_force: Vec<_> = all.iter().filter(|one| one.state == "in force").collect();
        let references: Vec<_> = in_force.iter().map(|one| one.record.book.reference()).collect();
        Ok(match name {
            "rulebook-known" => {
                Finding::of(!all.is_empty(), json!({"versions known": all.len(), "in force": references}))
            }
            "rulebook-words" => {
                let clauses: usize = in_force.iter().map(|one| one.record.book.clauses.len()).sum();
                Finding::of(clauses > 0, json!({"clauses in words": clauses}))
            }
            "orchestrator-can-check" => {
                let told = in_force.iter().filter(|one| {
                    one.record.accepted.as_ref().is_some_and(|accepted| accepted.told == tables::Told::Yes)
                });
                let told = told.count();
                Finding::of(told > 0, json!({"acceptances that authorities have": told}))
            }
            "offers-fit-rulebook" => {
                let check = self.check_rulebook()?;
                let fits = check.get("offers").and_then(Json::as_array).is_some_and(Vec::is_empty);
                Finding::of(
                    fits && !in_force.is_empty(),
                    json!({"in force": references, "conflicting offers": check.get("offers")}),
                )
            }
            _ => Finding::of(!in_force.is_empty(), json!({"in force": references})),
        })
    }

    fn check_offers(&self, name: &str) -> Result<Finding, EngineError> {
        let mut failing = Vec::new();
        let definitions = tables::all::<ContractDefinition>(&self.store, prefix::CONTRACT_DEFINITION)?;
        for definition in &definitions {
            let key = tables::key(prefix::POLICY_DEFINITION, &definition.contract_policy_id);
            let policy =
                tables::load::<PolicyDefinition>(&self.store, &key)?.map(|(policy, _)| policy.policy);
            let parsed = policy.as_ref().map(Policy::parse);
            let fine = match (&parsed, name) {
                (Some(Ok(policy)), "offers-in-words") => !explain::policy(policy).is_empty(),
                (Some(Ok(_)), _) => true,
                _ => false,
            };
            if !fine {
                failing.push(definition.id.clone());
            }
        }
        Ok(every(definitions.len(), failing))
    }

    fn check_datasets(&self, name: &str) -> Result<Finding, EngineError> {
        let assets: Vec<Asset> = tables::all(&self.store, prefix::ASSET)?;
        if name == "open-data" {
            let open = assets
                .iter()
                .filter(|asset| asset.properties.get(::catalog::VISIBILITY) == Some(&json!(::catalog::OPEN)));
            let open: Vec<_> = open.map(|asset| asset.id.clone()).collect();
            return Ok(Finding::of(!open.is_empty(), json!({"open datasets": open})));
        }
        let host = self.public_address.split("://").nth(1).unwrap_or_default();
        let fine = |asset: &Asset| {
            let description = Description::from_properties(&asset.properties);
            let media_type = description.clone().media_type_of(None).unwrap_or_default();
            match name {
                "descriptions-complete" => {
                    !lint(&description).iter().any(|remark| remark.weight == Weight::Mandatory)
                }
                "formats-machine-readable" => !media_type.is_empty() && media_type != media::UNKNOWN,
                "models-named" => !description.conforms_to.is_empty(),
                "provenance" => description.provenance.is_some(),
                "geo-encodings" => media::canonical(&media_type) == media::GEO_JSON,
                "ids-persistent" => asset.id.contains(':') && !asset.id.contains(host),
                _ => true,
            }
        };
        if name == "geo-encodings" {
            let spatial: Vec<_> = assets.iter().filter(|one| fine(one)).map(|one| one.id.clone()).collect();
            return Ok(Finding::of(!spatial.is_empty(), json!({"GeoJSON datasets": spatial})));
        }
        let failing = assets.iter().filter(|asset| !fine(asset)).map(|asset| asset.id.clone()).collect();
        Ok(every(assets.len(), failing))
    }

    fn check_compliance(&self, role: Role) -> Result<Finding, EngineError> {
        let mut looked = Vec::new();
        let mut ids = Vec::new();
        self.each_agreement(|record| {
            if record.role == role && record.ended.is_none() {
                ids.push(record.agreement.id().to_string());
            }
            Ok(())
        })?;
        for id in &ids {
            let compliance = self.compliance(id)?;
            looked.push(json!({"agreement": id, "kept": compliance.get("kept"), "broken": compliance.get("broken"), "open": compliance.get("open")}));
        }
        Ok(Finding::of(!looked.is_empty(), json!({"agreements": looked})))
    }

    async fn look(&self, url: &str) -> Result<usize, String> {
        self.get(url, None, MAX_LOOK).await.map(|body| body.len()).map_err(|error| error.to_string())
    }

    async fn check_catalogue(&self) -> Finding {
        let mut seen = serde_json::Map::new();
        let mut holds = true;
        for form in ["catalog.ttl", "catalog.jsonld", "catalog.xml"] {
            let looked = self.look(&format!("{}/{form}", self.open_address)).await;
            holds &= looked.is_ok();
            seen.insert(
                form.to_owned(),
                looked.map_or_else(|error| json!(error), |bytes| json!({"bytes": bytes})),
            );
        }
        Finding::of(holds, Json::Object(seen))
    }

    fn check_directory(&self, name: &str) -> Result<Finding, EngineError> {
        let members = tables::all::<Membership>(&self.store, prefix::MEMBERSHIP)?;
        let lists: Vec<_> = members
            .iter()
            .map(|one| json!({"space": one.list.space, "members": one.list.members.len()}))
            .collect();
        if name == "memberships-known" {
            let known = members
                .iter()
                .any(|one| one.list.members.iter().any(|member| !member.credentials.is_empty()));
            return Ok(Finding::of(known, json!({"lists of authorities": lists})));
        }
        let peers = tables::all::<Peer>(&self.store, prefix::PEER)?.len();
        Ok(Finding::of(
            !members.is_empty() || peers > 0,
            json!({"lists of authorities": lists, "peers known": peers}),
        ))
    }

    /// A stranger asks for the catalog, and for data.
    async fn check_strangers(&self) -> Finding {
        let mut seen = serde_json::Map::new();
        let mut holds = !self.identity.is_fixed();
        for path in ["/dsp/2025-1/catalog/request", "/data/none"] {
            let answer = self.client.get(format!("{}{path}", self.public_address)).send().await;
            let status = answer.map(|answer| answer.status().as_u16());
            holds &= status.as_ref().is_ok_and(|status| *status == 401);
            seen.insert(
                path.to_owned(),
                status.map_or_else(|error| json!(crate::network::describe(&error)), |status| json!(status)),
            );
        }
        Finding::of(
            holds,
            json!({"answers to a stranger": seen, "closed test network": self.identity.is_fixed()}),
        )
    }

    async fn check_document(&self) -> Finding {
        let url = format!("{}/.well-known/did.json", self.public_address);
        match self.get(&url, None, MAX_LOOK).await {
            Ok(body) => {
                let document: Json = serde_json::from_slice(&body).unwrap_or_default();
                let same = document.get("id").and_then(Json::as_str) == Some(self.did());
                Finding::of(same, json!({"address": url, "id": document.get("id")}))
            }
            Err(error) => none(&format!("{url}: {error}")),
        }
    }

    /// Signs something as an agreement is signed, and verifies it.
    fn check_signing(&self) -> Result<Finding, EngineError> {
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
        let (mut signed, mut all) = (0, 0);
        self.each_agreement(|record| {
            all += 1;
            signed += usize::from(self.is_signed(record).is_ok());
            Ok(())
        })?;
        let held = held.map(|signature| signature.key_id).map_err(|error| error.to_string());
        Ok(Finding::of(
            held.is_ok() && signed == all,
            json!({"sample": held, "agreements": all, "whose signatures hold": signed}),
        ))
    }

    fn check_audit(&self) -> Result<Finding, EngineError> {
        let mut head = Head::default();
        let mut broken = None;
        let mut after: Option<String> = None;
        loop {
            let page = self.store.scan(prefix::EVENT, after.as_deref(), 1000)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, found) in page {
                let Some((link, value)) = unchain(&found.value) else {
                    broken.get_or_insert(key);
                    continue;
                };
                head = head.next(&key, value);
                if head.link != *link {
                    broken.get_or_insert(key);
                }
            }
        }
        let seals = self.audit_seals(0, 1_000_000)?.len();
        let link = crate::ids::hex(&head.link);
        let evidence =
            json!({"entries": head.count, "last link": link, "first broken": broken, "seals": seals});
        Ok(Finding::of(head.count > 0 && broken.is_none(), evidence))
    }

    fn check_personal(&self, name: &str) -> Result<Finding, EngineError> {
        let assets: Vec<Asset> = tables::all(&self.store, prefix::ASSET)?;
        let mut personal = Vec::new();
        for asset in &assets {
            if let Ok(Some(said)) = Personal::of(&asset.properties) {
                personal.push((asset.id.clone(), said));
            }
        }
        let ids: Vec<_> = personal.iter().map(|(id, _)| id.clone()).collect();
        let operators = self.operators.len() + self.mim4.operators.len() + self.mim4.trust_groups.len();
        let in_dpv = |said: &Personal| {
            said.attributes.values().all(|one| one.category.starts_with("https://w3id.org/dpv"))
        };
        Ok(match name {
            "sources-guarded" => {
                Finding::of(!assets.is_empty(), json!({"datasets": assets.len(), "about persons": ids}))
            }
            "personal-guarded" => Finding::of(!ids.is_empty(), json!({"about persons": ids})),
            "personal-in-dpv" => {
                let failing: Vec<_> =
                    personal.iter().filter(|(_, said)| !in_dpv(said)).map(|(id, _)| id.clone()).collect();
                every(personal.len(), failing)
            }
            "operators-connected" => Finding::of(
                operators > 0,
                json!({
                    "personal.operators": self.operators, "mim4.operators": self.mim4.operators,
                    "trust groups": self.mim4.trust_groups.iter().map(|one| one.address.clone()).collect::<Vec<_>>(),
                }),
            ),
            "trust-groups" => {
                let groups: Vec<_> = self.mim4.trust_groups.iter().map(|one| one.address.clone()).collect();
                Finding::of(!groups.is_empty(), json!({"trust groups": groups}))
            }
            "tickets-checked" => {
                let ticketed: Vec<_> = personal
                    .iter()
                    .filter(|(_, said)| said.identifier_type.is_some())
                    .map(|(id, _)| id.clone())
                    .collect();
                Finding::of(!ticketed.is_empty(), json!({"read with tickets only": ticketed}))
            }
            "personal-api" => Finding::of(
                operators > 0,
                json!({
                    "operators": operators, "consents": self.consents(None)?.len(), "requests": self.subject_requests()?.len(),
                }),
            ),
            "requests-in-time" => {
                let requests = self.subject_requests()?;
                let late: Vec<_> = requests
                    .iter()
                    .filter(|one| one.late.is_some() && one.answer.is_none())
                    .map(|one| one.id.clone())
                    .collect();
                Finding::of(late.is_empty(), json!({"requests": requests.len(), "late": late}))
            }
            "pseudonyms" => {
                let (one, other) = (self.pseudonym_key("urn:a")?, self.pseudonym_key("urn:b")?);
                let hide = policy_engine::Transform::Pseudonymise(vec!["who".to_owned()]);
                let of = |key| dataplane::delivered(std::slice::from_ref(&hide), "who", "sample", key);
                let differ = of(&one) != of(&other) && of(&one).is_some();
                Finding::of(differ, json!({"pseudonyms of two agreements differ": differ}))
            }
            "secrets-stay" => {
                let shown = assets
                    .iter()
                    .filter(|asset| asset.properties.keys().any(|key| key.contains("secret")))
                    .count();
                Finding::of(
                    shown == 0,
                    json!({"datasets": assets.len(), "whose public properties name a secret": shown}),
                )
            }
            _ => none(&format!("there is no check `{name}`")),
        })
    }
}

/// Whether the management API serves all of these.
fn served(wanted: &[(Method, &str)]) -> Finding {
    let missing: Vec<_> = wanted
        .iter()
        .filter(|(method, path)| !serves(method, path))
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    let all: Vec<_> = wanted.iter().map(|(method, path)| format!("{method} /v4{path}")).collect();
    Finding::of(missing.is_empty(), json!({"served": all, "missing": missing}))
}
