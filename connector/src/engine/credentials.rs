//! The credential service: this node as a holder (DCP 1.0.1, sections 5 and 6).

use std::collections::{BTreeMap, BTreeSet};

use protocol::RefusalKind;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use store::Batch;
use trust::credential::Claimed;
use trust::dcp::{
    self, CredentialMessage, CredentialOfferMessage, CredentialRequestMessage, IssuerMetadata, Outcome,
    PresentationQueryMessage, PresentationResponseMessage, Reference, Selector, scope_of,
};
use trust::{Credential, Profile};

use super::own_credentials::CredentialStanding;
use super::{Engine, EngineError};
use crate::config::{Dialect, PeerProfile};
use crate::network::{answer_text, bounded_body, describe};
use crate::tables::{self, CredentialOffer, CredentialRequest, Event, HeldCredential, prefix};
use crate::{clock, ids};

/// Most credentials that this node keeps.
const MAX_HELD: usize = 256;
/// Most offers and requests that are kept; the oldest make way.
const MAX_KEPT: usize = 200;
/// The type of every credential.
const ANY_CREDENTIAL: &str = "VerifiableCredential";
/// Longest id of a credential that is part of a key as it is, in bytes.
const MAX_ID: usize = 256;
/// Longest name of a type in an issuer's metadata, in bytes.
const MAX_TYPE: usize = 256;
/// Longest answer of an issuer, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// A credential of this node, opened.
#[derive(Debug, Clone)]
pub struct Held {
    /// The key of its record.
    pub key: String,
    /// Its record.
    pub record: HeldCredential,
    /// The compact JWT.
    pub compact: String,
    /// The same in the data model 1.1, where `compact` is of 2.0.
    pub compact_v1: Option<String>,
}

impl Engine {
    /// Takes what an issuer delivers, or its refusal.
    ///
    /// # Errors
    /// It answers no request of ours and its word does not count; or a credential in it does not hold.
    pub async fn take_credentials(
        &self,
        issuer: &str,
        message: CredentialMessage,
    ) -> Result<(), EngineError> {
        let refuse = |reason: String| EngineError::refused(RefusalKind::Disagreement, reason);
        // The status is that of all of it: a message that rejects brings nothing.
        let issued = match message.status {
            Outcome::Issued => message.credentials.as_slice(),
            Outcome::Rejected => &[],
        };
        let document = match issued.is_empty() {
            true => None,
            false => Some(self.resolver.document(issuer).await.map_err(EngineError::Peer)?),
        };
        let holder_pid = match &message.holder_pid {
            Some(id) => id.clone(),
            None => self.request_named(issuer, &message.issuer_pid)?.ok_or_else(|| {
                let pid = &message.issuer_pid;
                refuse(format!(
                    "/holderPid: is missing, and no request of this node to you is known as `{pid}`"
                ))
            })?,
        };
        let request_key = tables::key(prefix::CREDENTIAL_REQUEST, &holder_pid);
        let _lock = self.locks.lock(&request_key).await;
        let request = tables::load::<CredentialRequest>(&self.store, &request_key)?;
        let request = request.filter(|(request, _)| request.issuer == issuer);
        let now = clock::now();
        let mut batch = Batch::new();
        if let Some((request, version)) = &request {
            let status = match message.status {
                Outcome::Issued => "ISSUED",
                Outcome::Rejected => "REJECTED",
            };
            let changed = CredentialRequest {
                status: status.to_owned(),
                reason: message.rejection_reason.clone(),
                ..request.clone()
            };
            batch.expect(request_key.clone(), Some(*version));
            tables::put(&mut batch, request_key, &changed)?;
        }
        // By type and id: one that is issued in both data models is one.
        let mut came: BTreeMap<(String, String), BTreeMap<Profile, Credential>> = BTreeMap::new();
        let with_document = issued.iter().zip(document.iter().cycle());
        for (container, document) in with_document {
            let named = &container.credential_type;
            let claimed = Claimed::read(&container.payload).map_err(|error| refuse(error.to_string()))?;
            if claimed.issuer() != issuer {
                return Err(refuse(format!(
                    "a `{named}` in it was issued by `{}`, not by you",
                    claimed.issuer()
                )));
            }
            let credential = claimed.verify(document, now).map_err(|error| refuse(error.to_string()))?;
            if credential.subject() != self.did() {
                return Err(refuse(format!("a `{named}` in it is of `{}`", credential.subject())));
            }
            if !credential.types().contains(named) {
                return Err(refuse(format!("what it calls a `{named}` is a `{}`", credential.kind())));
            }
            // Some issuers name what every credential is; it is filed by what it says that it is.
            let kind = if named == ANY_CREDENTIAL { credential.kind() } else { named }.to_owned();
            if request.is_none() && !self.counts(issuer, &kind)? {
                return Err(refuse(format!("nobody here asked `{issuer}` for a `{kind}`")));
            }
            let (profile, id) = claimed.described();
            came.entry((kind, id.unwrap_or_default())).or_default().insert(profile, credential);
        }
        let mut held = self.store.scan(prefix::CREDENTIAL, None, MAX_HELD + 1)?.len();
        // What has ended makes room for what takes its place.
        for one in self.held()? {
            let is_replaced =
                one.record.issuer == issuer && came.keys().any(|(kind, _)| *kind == one.record.kind);
            if is_replaced && one.record.until.is_some_and(|until| until <= now) {
                batch.delete(one.key);
                held = held.saturating_sub(1);
            }
        }
        for ((kind, id), mut forms) in came {
            let key = held_key(issuer, &kind, &id);
            if held >= MAX_HELD && self.store.get(&key)?.is_none() {
                return Err(EngineError::refused(
                    RefusalKind::TooMuch,
                    format!("{MAX_HELD} credentials are kept"),
                ));
            }
            // The newest data model first.
            let Some((_, credential)) = forms.pop_last() else { continue };
            let seal = |credential: &Credential| self.vault.seal(&key, credential.compact());
            let record = HeldCredential {
                kind: kind.clone(),
                types: credential.types().to_vec(),
                issuer: issuer.to_owned(),
                until: credential.until(),
                received_at: now,
                sealed: seal(&credential)?,
                sealed_v1: forms.get(&Profile::V1).map(seal).transpose()?,
            };
            tables::put(&mut batch, key, &record)?;
            let event = Event::new("credential", now, format!("a {kind} came")).with(issuer);
            tables::append_event(&mut batch, &event.about(holder_pid.as_str()))?;
        }
        if message.status == Outcome::Rejected {
            let reason = message.rejection_reason.unwrap_or_default();
            let event =
                Event::new("credential", now, format!("a request was rejected: {reason}")).with(issuer);
            tables::append_event(&mut batch, &event.about(holder_pid.as_str()))?;
        }
        if request.is_none() && issued.is_empty() {
            return Err(refuse(format!("there is no request `{holder_pid}` of this node to you")));
        }
        self.commit(batch).await?;
        self.own_credentials.look_again();
        self.refresh_scopes()
    }

    /// The request of this node that `issuer` knows under `issuer_pid`: what it named as its place when it was asked.
    fn request_named(&self, issuer: &str, issuer_pid: &str) -> Result<Option<String>, EngineError> {
        let names = |location: &String| location.rsplit('/').next() == Some(issuer_pid);
        let known = self.credential_requests()?.into_iter().filter(|one| one.issuer == issuer);
        Ok(known.filter(|one| one.location.as_ref().is_some_and(names)).map(|one| one.id).next_back())
    }

    /// Takes note of what an issuer would issue.
    ///
    /// # Errors
    /// Sent by another than the issuer it names.
    pub async fn take_credential_offer(
        &self,
        caller: &str,
        offer: CredentialOfferMessage,
    ) -> Result<(), EngineError> {
        if offer.issuer != caller {
            let reason = format!("/issuer: `{}` is not you", offer.issuer);
            return Err(EngineError::refused(RefusalKind::Disagreement, reason));
        }
        let key = tables::key(prefix::CREDENTIAL_OFFER, &trust::did::segment(caller));
        let known = self.credential_offers()?;
        let mut batch = Batch::new();
        if known.len() >= MAX_KEPT && !known.iter().any(|one| one.issuer == caller) {
            // Strangers may offer what they like; those whose word counts are not pushed out by them.
            let mut oldest: Option<&CredentialOffer> = None;
            for one in &known {
                if !self.is_trusted(&one.issuer)?
                    && oldest.is_none_or(|oldest| one.received_at < oldest.received_at)
                {
                    oldest = Some(one);
                }
            }
            let Some(oldest) = oldest else {
                let reason = format!("offers of {MAX_KEPT} issuers are kept; no more are taken");
                return Err(EngineError::refused(RefusalKind::TooMuch, reason));
            };
            batch.delete(tables::key(prefix::CREDENTIAL_OFFER, &trust::did::segment(&oldest.issuer)));
        }
        // What it names by ids alone, its metadata tells more of (DCP 1.0.1, section 6.6.1).
        let is_sparse = offer.credentials.iter().any(|one| one.credential_type.is_none());
        let metadata = match is_sparse.then(|| self.metadata_of(caller)) {
            None => None,
            Some(metadata) => metadata
                .await
                .inspect_err(|error| tracing::info!(%error, issuer = caller, "an offer names ids alone"))
                .ok(),
        };
        let told = |id: &str| {
            let objects = metadata.iter().flat_map(|(_, metadata)| &metadata.credentials_supported);
            let mut kinds =
                objects.filter(|object| object.id == id).filter_map(|object| object.credential_type.as_ref());
            kinds.find(|kind| kind.len() <= MAX_TYPE).cloned()
        };
        // One in both data models is one.
        let names = offer
            .credentials
            .into_iter()
            .map(|one| one.credential_type.or_else(|| told(&one.id)).unwrap_or(one.id));
        let names: Vec<_> = names.collect::<BTreeSet<_>>().into_iter().collect();
        let now = clock::now();
        let event =
            Event::new("credential", now, format!("{} can be requested", names.join(", "))).with(caller);
        let record = CredentialOffer { issuer: caller.to_owned(), credentials: names, received_at: now };
        tables::put(&mut batch, key, &record)?;
        tables::append_event(&mut batch, &event)?;
        self.commit(batch).await.map(|_| ())
    }

    /// Shows credentials to a verifier that this node gave an access token.
    ///
    /// # Errors
    /// No access token, or one that was given to another or has expired.
    pub fn present(
        &self,
        verifier: &str,
        access: Option<&str>,
        query: &PresentationQueryMessage,
    ) -> Result<PresentationResponseMessage, EngineError> {
        let unauthenticated = |reason: String| EngineError::refused(RefusalKind::Unauthenticated, reason);
        let access = access
            .ok_or_else(|| unauthenticated("the token carries no access token (`token`)".to_owned()))?;
        let now = clock::now();
        let allowed = trust::access::check(access, &self.identity.document()?, verifier, now)
            .map_err(|error| unauthenticated(error.to_string()))?;
        let unanswered = |reason| EngineError::refused(RefusalKind::NotSupported, reason);
        let asked = query.selectors().map_err(unanswered)?;
        if self.dialect == Dialect::Draft
            && let Some(beyond) = asked.iter().find(|one| !allowed.contains(one))
        {
            return Err(unauthenticated(format!("the access token does not allow to ask for {beyond:?}")));
        }
        // EDC takes presentations of the data model 2.0 in a form of its own alone.
        let prefers_v1 = self.rules.profile(verifier) == PeerProfile::Edc;
        let mut shown = Vec::new();
        for held in self.held()? {
            let standing = self.own_credentials.standing(&held.key);
            let compact = held.compact_v1.filter(|_| prefers_v1).unwrap_or(held.compact);
            let claimed = Claimed::read(&compact)?;
            let ((profile, id), types) = (claimed.described(), claimed.types());
            let admits = |one: &Selector| one.admits(&types, id.as_deref());
            let place = asked.iter().position(admits);
            if let Some(place) = place
                && allowed.iter().any(admits)
                && held.record.until.is_none_or(|until| until > now)
                && !matches!(standing, CredentialStanding::Void { .. })
            {
                shown.push(Shown { place, profile, compact });
            }
        }
        let mut presentation = Vec::new();
        let mut places = Vec::new();
        for profile in Profile::ALL {
            let of_profile: Vec<_> = shown.iter().filter(|one| one.profile == profile).collect();
            // One presentation at least, be it empty.
            if of_profile.is_empty() && !(shown.is_empty() && profile == Profile::V1) {
                continue;
            }
            // As many as a verifier reads of one.
            let most = trust::presentation::MAX_CREDENTIALS;
            let none = of_profile.is_empty().then_some(&[][..]);
            for some in of_profile.chunks(most).chain(none) {
                let credentials: Vec<_> = some.iter().map(|one| one.compact.clone()).collect();
                let at = |(index, one): (usize, &&Shown)| (one.place, profile, presentation.len(), index);
                places.extend(some.iter().enumerate().map(at));
                presentation.push(json!(self.identity.present(verifier, &credentials, profile, now)?));
            }
        }
        let submission =
            query.presentation_definition.as_ref().map(|definition| submission(definition, &places));
        Ok(PresentationResponseMessage { presentation, presentation_submission: submission })
    }

    /// How a credential of this node stands.
    #[must_use]
    pub fn credential_standing(&self, held: &Held) -> CredentialStanding {
        self.own_credentials.standing(&held.key)
    }

    /// This node's credentials.
    ///
    /// # Errors
    /// The store failed, or the vault's key is another.
    pub fn held(&self) -> Result<Vec<Held>, EngineError> {
        let records = tables::list::<HeldCredential>(&self.store, prefix::CREDENTIAL, None, MAX_HELD)?;
        records
            .into_iter()
            .map(|(key, record)| {
                let compact = self.vault.open_sealed(&key, &record.sealed)?;
                let v1 = record.sealed_v1.as_ref().map(|sealed| self.vault.open_sealed(&key, sealed));
                let compact_v1 = v1.transpose()?;
                Ok(Held { key, record, compact, compact_v1 })
            })
            .collect()
    }

    /// What issuers said that this node can ask for.
    ///
    /// # Errors
    /// The store failed.
    pub fn credential_offers(&self) -> Result<Vec<CredentialOffer>, EngineError> {
        let found = tables::list::<CredentialOffer>(&self.store, prefix::CREDENTIAL_OFFER, None, MAX_KEPT)?;
        Ok(found.into_iter().map(|(_, one)| one).collect())
    }

    /// This node's requests, the oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub fn credential_requests(&self) -> Result<Vec<CredentialRequest>, EngineError> {
        let found =
            tables::list::<CredentialRequest>(&self.store, prefix::CREDENTIAL_REQUEST, None, MAX_KEPT)?;
        let mut found: Vec<_> = found.into_iter().map(|(_, one)| one).collect();
        found.sort_by_key(|one| one.at);
        Ok(found)
    }

    /// One request.
    ///
    /// # Errors
    /// Not there.
    pub fn credential_request(&self, id: &str) -> Result<CredentialRequest, EngineError> {
        let found = tables::load(&self.store, &tables::key(prefix::CREDENTIAL_REQUEST, id))?;
        let found = found.map(|(one, _)| one);
        found.ok_or_else(|| EngineError::NotFound { kind: "request for credentials", id: id.to_owned() })
    }

    /// A self-issued ID token for `audience`, with which it may ask for credentials of `kinds`: for programs that speak
    /// for this node.
    ///
    /// # Errors
    /// The key could not sign.
    pub fn self_issued_token(&self, audience: &str, kinds: &[String]) -> Result<String, EngineError> {
        let scopes: Vec<_> = kinds.iter().map(|kind| scope_of(kind)).collect();
        Ok(self.identity.token_for(audience, &scopes, clock::now())?)
    }

    /// Asks `issuer` for credentials of `kinds`; all that it issues where none is named.
    ///
    /// # Errors
    /// The issuer cannot be reached, does not issue them, or refuses.
    pub async fn request_credentials(
        &self,
        issuer: &str,
        kinds: &[String],
    ) -> Result<CredentialRequest, EngineError> {
        super::peers::expect_did(issuer)?;
        let (base, metadata) = self.metadata_of(issuer).await?;
        // One of each type, in both data models where they are offered: verifiers differ in what they take.
        let mut chosen: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for object in metadata.credentials_supported {
            let (Some(kind), profile) = (object.credential_type, object.profile.unwrap_or_default()) else {
                continue;
            };
            if kinds.is_empty() || kinds.contains(&kind) {
                chosen.entry(kind).or_default().entry(profile).or_insert(object.id);
            }
        }
        let known = |profile: &String| Profile::ALL.iter().any(|known| known.name() == profile);
        for profiles in chosen.values_mut() {
            if profiles.keys().any(known) {
                profiles.retain(|profile, _| known(profile));
            } else if let Some(newest) = profiles.pop_last() {
                *profiles = BTreeMap::from([newest]);
            }
        }
        if let Some(missing) = kinds.iter().find(|kind| !chosen.contains_key(*kind)) {
            return Err(EngineError::Peer(format!("`{issuer}` does not issue a `{missing}`")));
        }
        if chosen.is_empty() {
            return Err(EngineError::Peer(format!("`{issuer}` issues nothing")));
        }
        let id = ids::urn();
        let request = CredentialRequest {
            id: id.clone(),
            issuer: issuer.to_owned(),
            types: chosen.keys().cloned().collect(),
            status: "REQUESTED".to_owned(),
            location: None,
            reason: None,
            at: clock::now(),
        };
        // Written first: the issuer may deliver before it has answered.
        let key = tables::key(prefix::CREDENTIAL_REQUEST, &id);
        let mut batch = Batch::new();
        let known = self.credential_requests()?;
        if let Some(oldest) = known.first().filter(|_| known.len() >= MAX_KEPT) {
            batch.delete(tables::key(prefix::CREDENTIAL_REQUEST, &oldest.id));
        }
        tables::put(&mut batch, key.clone(), &request)?;
        let text = format!("asked for {}", request.types.join(", "));
        tables::append_event(
            &mut batch,
            &Event::new("credential", request.at, text).about(&id).with(issuer),
        )?;
        self.commit(batch).await?;
        let references = chosen.into_values().flat_map(BTreeMap::into_values);
        let references = references.map(|id| Reference { id }).collect();
        let message = CredentialRequestMessage { holder_pid: id, credentials: references };
        let answered =
            self.ask_peer(issuer, &format!("{base}/credentials"), Some(dcp::write(&message)), None).await;
        let _lock = self.locks.lock(&key).await;
        let Some((now_known, version)) = tables::load::<CredentialRequest>(&self.store, &key)? else {
            return Ok(request);
        };
        let changed = match &answered {
            Ok((_, location)) if now_known.status == "REQUESTED" => {
                CredentialRequest { status: "RECEIVED".to_owned(), location: location.clone(), ..now_known }
            }
            Ok((_, location)) => CredentialRequest { location: location.clone(), ..now_known },
            Err(error) => CredentialRequest {
                status: "REJECTED".to_owned(),
                reason: Some(error.to_string()),
                ..now_known
            },
        };
        let mut batch = Batch::new();
        batch.expect(key.clone(), Some(version));
        tables::put(&mut batch, key, &changed)?;
        self.commit(batch).await?;
        self.own_credentials.look_again();
        answered.map(|_| changed)
    }

    /// The base address of an issuer's service.
    pub(super) async fn issuer_service(&self, issuer: &str) -> Result<String, EngineError> {
        let document = self.resolver.document(issuer).await.map_err(EngineError::Peer)?;
        let service = document.service("IssuerService").ok_or_else(|| {
            EngineError::Peer(format!("the DID document of `{issuer}` names no IssuerService"))
        })?;
        Ok(service.trim_end_matches('/').to_owned())
    }

    /// The base address of an issuer's service, and what it says that it issues.
    async fn metadata_of(&self, issuer: &str) -> Result<(String, IssuerMetadata), EngineError> {
        let base = self.issuer_service(issuer).await?;
        let metadata = self.ask_peer(issuer, &format!("{base}/metadata"), None, None).await?.0;
        let metadata =
            dcp::parse(metadata).map_err(|error| EngineError::Peer(format!("{base}/metadata: {error}")))?;
        Ok((base, metadata))
    }

    /// Forgets the credentials of a type by an issuer.
    ///
    /// # Errors
    /// There is none.
    pub async fn remove_credential(&self, issuer: &str, kind: &str) -> Result<(), EngineError> {
        let mut batch = Batch::new();
        for one in
            self.held()?.into_iter().filter(|one| one.record.issuer == issuer && one.record.kind == kind)
        {
            batch.delete(one.key);
        }
        if batch.is_empty() {
            return Err(EngineError::NotFound { kind: "credential", id: format!("{kind} of {issuer}") });
        }
        let event = Event::new("credential", clock::now(), format!("the {kind} was removed")).with(issuer);
        tables::append_event(&mut batch, &event)?;
        self.commit(batch).await?;
        self.refresh_scopes()
    }

    /// Tells the identity for what others may ask from now on.
    pub(super) fn refresh_scopes(&self) -> Result<(), EngineError> {
        let shown = |kind: &String| self.shown.as_ref().is_none_or(|shown| shown.contains(kind));
        // A verifier may know one by any of its types.
        let records = tables::list::<HeldCredential>(&self.store, prefix::CREDENTIAL, None, MAX_HELD)?;
        let types = records.into_iter().flat_map(|(_, one)| one.types.into_iter().chain([one.kind]));
        let types = types.filter(|kind| kind != ANY_CREDENTIAL && !kind.contains(':'));
        let mut scopes: Vec<_> = types.filter(shown).map(|kind| scope_of(&kind)).collect();
        scopes.sort();
        scopes.dedup();
        self.identity.show(scopes);
        Ok(())
    }

    /// A request of the Decentralized Claims Protocol to a peer: the answer and its `Location`.
    pub(super) async fn ask_peer(
        &self,
        peer: &str,
        url: &str,
        body: Option<Json>,
        access: Option<&str>,
    ) -> Result<(Json, Option<String>), EngineError> {
        let failed = |reason: String| EngineError::Peer(format!("{url}: {reason}"));
        self.guard.check_url(url).map_err(|error| failed(error.to_string()))?;
        let authorization = self.identity.authorization_with(peer, access, clock::now())?;
        let request = match &body {
            Some(body) => self.client.post(url).json(body),
            None => self.client.get(url),
        };
        let request =
            request.header(http::header::AUTHORIZATION, authorization).timeout(self.credentials_within);
        let response = request.send().await.map_err(|error| failed(describe(&error)))?;
        let status = response.status();
        let location = response.headers().get(http::header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.filter(|text| text.len() <= 2048).map(str::to_owned);
        let body = bounded_body(response, MAX_ANSWER).await.map_err(&failed)?;
        if !status.is_success() {
            let said = answer_text(status, &body);
            return Err(failed(format!("the answer is {status} {said}").trim_end().to_owned()));
        }
        if body.is_empty() {
            return Ok((Json::Null, location));
        }
        let json = serde_json::from_slice(&body)
            .map_err(|error| failed(format!("the answer is not JSON: {error}")))?;
        Ok((json, location))
    }
}

fn held_key(issuer: &str, kind: &str, id: &str) -> String {
    let kind = trust::did::segment(kind);
    // What an issuer takes for an id is its own affair; the key of a record is short.
    let id = if id.len() <= MAX_ID { trust::did::segment(id) } else { ids::hex(&Sha256::digest(id)) };
    format!("{}{kind}/{id}", tables::within(prefix::CREDENTIAL, issuer))
}

/// A credential that is shown.
struct Shown {
    /// Which of the things asked for it is.
    place: usize,
    profile: Profile,
    compact: String,
}

/// Where each credential stands, for a presentation definition (DIF Presentation Exchange 2): for each, the input
/// descriptor, the data model, the presentation and the place in it.
fn submission(definition: &Json, places: &[(usize, Profile, usize, usize)]) -> Json {
    let entry = |(place, profile, presentation, index): &(usize, Profile, usize, usize)| {
        let id = definition.pointer(&format!("/input_descriptors/{place}/id")).cloned().unwrap_or_default();
        let (format, nested, path) = match profile {
            Profile::V1 => ("jwt_vp", "jwt_vc", format!("$.vp.verifiableCredential[{index}]")),
            Profile::V2 => ("vp+jwt", "vc+jwt", format!("$.verifiableCredential[{index}]")),
        };
        json!({
            "id": id, "format": format, "path": format!("$.presentation[{presentation}]"),
            "path_nested": {"id": id, "format": nested, "path": path},
        })
    };
    let map: Vec<_> = places.iter().map(entry).collect();
    json!({"id": ids::urn(), "definition_id": definition.get("id"), "descriptor_map": map})
}
