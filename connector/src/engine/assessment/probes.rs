//! What the node tries on itself: its public address as a stranger would, its keys, its log.

use std::time::Duration;

use governance::mims::Finding;
use serde_json::{Value as Json, json};
use store::chain::{Head, unchain};
use trust::DidDocument;

use super::Assessment;
use super::agreements::in_words;
use crate::engine::{Engine, EngineError};
use crate::network::{PeerRequest, bounded_body, describe};
use crate::tables::prefix;

/// Longest wait for an answer.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// Largest answer that is looked at, in bytes.
const MAX_LOOK: usize = 4 * 1024 * 1024;

/// What somebody answered.
#[derive(Debug, Clone)]
pub(super) enum Look {
    /// Nothing: why.
    Lost(String),
    /// This.
    Came {
        /// The status.
        status: u16,
        /// The type of its content.
        kind: String,
        /// The content.
        body: Vec<u8>,
    },
}

impl Look {
    fn json(&self) -> Option<Json> {
        match self {
            Self::Came { status: 200, body, .. } => serde_json::from_slice(body).ok(),
            _ => None,
        }
    }

    /// In words.
    fn text(&self) -> String {
        match self {
            Self::Lost(reason) => format!("no answer: {reason}"),
            Self::Came { status, kind, body } => format!("{status}, {kind}, {} bytes", body.len()),
        }
    }

    const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

impl Engine {
    async fn look(&self, request: PeerRequest) -> Look {
        let answer = match request.timeout(LOOK).send().await {
            Ok(answer) => answer,
            Err(error) => return Look::Lost(describe(&error)),
        };
        let status = answer.status().as_u16();
        let kind = answer.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or("no content type").to_owned();
        match bounded_body(answer, MAX_LOOK).await {
            Ok(body) => Look::Came { status, kind, body },
            Err(reason) => Look::Lost(reason),
        }
    }

    fn document_address(&self) -> String {
        format!("{}/.well-known/did.json", self.public_address)
    }

    pub(super) async fn look_at_document(&self) -> Look {
        self.look(self.client.get(self.document_address())).await
    }
}

impl Assessment<'_> {
    /// What the public address answers; nobody waits again for one that did not answer before.
    async fn ask_self(&self, request: PeerRequest) -> Look {
        match &self.document {
            lost @ Look::Lost(_) => lost.clone(),
            Look::Came { .. } => self.engine.look(request).await,
        }
    }

    pub(super) async fn check_probes(&self, name: &str) -> Result<Option<Finding>, EngineError> {
        Ok(Some(match name {
            "catalogue-formats" => self.check_catalogue().await,
            "strangers-refused" => self.check_strangers().await,
            "own-document" => self.check_document(),
            "served-over-https" => self.check_https(),
            "connector-config" => self.check_config().await?,
            "sources-documented" => self.check_sources().await?,
            "openapi" => check_openapi(),
            "audit-chain" => self.check_audit()?,
            "security" => self.check_security()?,
            "rights-listed" => Finding::able(json!({"keys of the API": self.engine.api_keys()?.len()})),
            "geo-service" => Finding::not(json!(
                "no OGC API Features service is built in; GeoJSON is served through the gateway"
            )),
            _ => return Ok(None),
        }))
    }

    /// Reads the public catalogue in each of its forms. Forms of an empty catalogue show nothing.
    async fn check_catalogue(&self) -> Finding {
        let listed = self.engine.offered.read().listed().len();
        let mut seen = serde_json::Map::new();
        seen.insert("datasets listed".to_owned(), json!(listed));
        let (mut holds, mut lost) = (true, false);
        for (form, wanted) in [
            ("catalog.ttl", "text/turtle"),
            ("catalog.jsonld", "application/ld+json"),
            ("catalog.xml", "application/rdf+xml"),
        ] {
            let url = format!("{}/{form}", self.engine.open_address);
            let look = self.ask_self(self.engine.client.get(url)).await;
            lost |= look.is_lost();
            holds &= matches!(&look, Look::Came { status: 200, kind, .. } if kind.starts_with(wanted));
            seen.insert(form.to_owned(), json!(look.text()));
        }
        match (lost, holds, listed) {
            (true, ..) => Finding::unreachable(Json::Object(seen)),
            (false, false, _) => Finding::not(Json::Object(seen)),
            (false, true, 0) => Finding::able(Json::Object(seen)),
            (false, true, _) => Finding::probed(true, Json::Object(seen)),
        }
    }

    /// A stranger asks for the catalog, and for data.
    async fn check_strangers(&self) -> Finding {
        let (engine, base) = (self.engine, &self.engine.public_address);
        if engine.identity.is_fixed() {
            return Finding::not(json!(
                "this node is in a closed test network, where nobody proves who they are"
            ));
        }
        let mut seen = serde_json::Map::new();
        let (mut holds, mut lost) = (true, false);
        for (what, request) in [
            (
                "asks for the catalog",
                engine.client.post(format!("{base}/dsp/2025-1/catalog/request")).json(&json!({})),
            ),
            ("asks for data", engine.client.get(format!("{base}/data/none"))),
        ] {
            let look = self.ask_self(request).await;
            lost |= look.is_lost();
            holds &= matches!(look, Look::Came { status: 401, .. });
            seen.insert(what.to_owned(), json!(look.text()));
        }
        let evidence = json!({"a stranger": seen});
        if lost { Finding::unreachable(evidence) } else { Finding::probed(holds, evidence) }
    }

    /// Whether the published document is this node's, and has the key with which it signs.
    fn published(&self) -> Result<(), String> {
        let json = self.document.json().ok_or("no DID document is published there")?;
        let document = DidDocument::parse(json, self.engine.did()).map_err(|error| error.to_string())?;
        let kid = self.engine.identity.key_id().map_err(|error| error.to_string())?;
        let key = document.key(Some(&kid), trust::did::Relationship::AssertionMethod);
        key.map(|_| ()).map_err(|error| error.to_string())
    }

    fn check_document(&self) -> Finding {
        let published = self.published();
        let evidence = json!({
            "address": self.engine.document_address(), "answer": self.document.text(),
            "names this node and the key with which it signs": published.is_ok(), "problem": published.as_ref().err(),
        });
        if self.document.is_lost() {
            Finding::unreachable(evidence)
        } else {
            Finding::probed(published.is_ok(), evidence)
        }
    }

    /// Data that was read from here went out by HTTPS, if that is all that this node is reached by.
    fn check_https(&self) -> Finding {
        let address = &self.engine.public_address;
        let reads = [&self.agreements.reads, &self.open_reads];
        let reads =
            reads.iter().flat_map(|reads| reads.values()).fold(0_u64, |sum, one| sum.saturating_add(*one));
        let evidence = json!({"reached at": address, "reads of data": reads});
        match address.starts_with("https://") {
            true => Finding::recorded(usize::try_from(reads).unwrap_or(usize::MAX), evidence),
            false => Finding::not(evidence),
        }
    }

    async fn check_config(&self) -> Result<Finding, EngineError> {
        let url = format!("{}/.well-known/connector-config", self.engine.public_address);
        let look = self.ask_self(self.engine.client.get(&url)).await;
        let wanted = json!(self.engine.connector_metadata().await?);
        let served = look.json();
        let holds = served.as_ref() == Some(&wanted) && wanted.get("connector_key").is_some();
        let evidence = json!({
            "address": url, "answer": look.text(), "connector": wanted.get("connector_uuid"),
            "it is what this node says of itself, with a key": holds,
        });
        Ok(if look.is_lost() { Finding::unreachable(evidence) } else { Finding::probed(holds, evidence) })
    }

    /// The interface is told, sources are described, and operators come in groups.
    async fn check_sources(&self) -> Result<Finding, EngineError> {
        let (config, groups) = (self.check_config().await?, self.check_groups().await);
        if self.assets.is_empty() {
            return Ok(Finding::not(json!("no dataset is published here")));
        }
        let failing = [config.clone(), groups.clone()].into_iter().find(|one| !one.is_met());
        Ok(failing.unwrap_or_else(|| {
            let evidence = json!({
                "connector": config.evidence, "trust groups": groups.evidence, "datasets described": self.assets.len(),
            });
            Finding::probed(true, evidence)
        }))
    }

    /// Signs and verifies, seals and opens, and asks whether others could verify it.
    fn check_security(&self) -> Result<Finding, EngineError> {
        const PLACE: &str = "self-assessment";
        let engine = self.engine;
        if engine.identity.is_fixed() {
            return Ok(Finding::not(json!(
                "this node is in a closed test network, where nobody proves who they are"
            )));
        }
        let sample = engine.sign_sample()?;
        let secret = crate::ids::urn();
        let sealed =
            engine.vault.seal(PLACE, &secret).map_err(|error| EngineError::Vault(error.to_string()))?;
        let opens = !sealed.contains(&secret)
            && engine.vault.open_sealed(PLACE, &sealed).is_ok_and(|opened| opened == secret)
            && engine.vault.open_sealed("another place", &sealed).is_err();
        let published = self.published();
        let is_https = engine.public_address.starts_with("https://");
        let evidence = json!({
            "a sample signed and verified now": in_words(&sample), "a sample sealed and opened now": opens,
            "others find the key": published.is_ok(), "problem": published.as_ref().err(), "reached by HTTPS": is_https,
        });
        Ok(match self.document.is_lost() {
            true => Finding::unreachable(evidence),
            false => Finding::probed(sample.is_ok() && opens && published.is_ok() && is_https, evidence),
        })
    }

    /// The audit log's chain, from its first entry to its last.
    pub(super) fn check_audit(&self) -> Result<Finding, EngineError> {
        let mut head = Head::default();
        let mut broken = None;
        let mut after: Option<String> = None;
        loop {
            let page = self.engine.store.scan(prefix::EVENT, after.as_deref(), 1000)?;
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
        let seals = self.engine.audit_seals(0, 1_000_000)?.len();
        let link = crate::ids::hex(&head.link);
        let evidence =
            json!({"entries": head.count, "last link": link, "first broken entry": broken, "seals": seals});
        Ok(match (head.count, broken.is_none()) {
            (0, _) => Finding::able(evidence),
            (_, holds) => Finding::probed(holds, evidence),
        })
    }
}

/// Reads the description of the management API, and looks for operations that it does not describe.
fn check_openapi() -> Finding {
    let document = crate::http::management::openapi();
    let version = document.get("openapi").and_then(Json::as_str).unwrap_or_default();
    let paths = document.get("paths").and_then(Json::as_object).into_iter().flatten();
    let (mut described, mut bare) = (0_usize, super::Ids::default());
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let is_told = operation.get("summary").is_some_and(Json::is_string)
                && operation.get("responses").is_some_and(Json::is_object);
            if is_told {
                described += 1;
            } else if method != "parameters" {
                bare.note(format!("{method} {path}"));
            }
        }
    }
    let holds = version.starts_with("3.1.") && described > 0 && bare.is_empty();
    Finding::probed(
        holds,
        json!({"OpenAPI": version, "operations described": described, "not described": bare.json()}),
    )
}
