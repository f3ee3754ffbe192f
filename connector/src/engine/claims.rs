//! The verifier: which claims about a participant are proven, and by whom (DCP 1.0.1, section 5.4.3).
//!
//! A caller's token carries an access token; with it this node asks the caller's credential service once, checks what
//! it shows ([`super::credential_check`]), and believes that until it must be looked at again. Before that moment this
//! node looks by itself: validity, revocation, whether the issuer still counts. What was proven outlives a restart,
//! sealed by the vault. The policy engine reads the claims as left operands.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use policy_engine::{Hierarchy, Policy};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use store::Batch;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use trust::CredentialEvidence;
use trust::credential::Claimed;
use trust::dcp::{self, PresentationQueryMessage, PresentationResponseMessage, edc_scope_of, scope_of};

use super::credential_check::{BELIEVED, Checked, Doubt, RECENT};
use super::{Engine, EngineError};
use crate::clock::{self, SystemClock};
use crate::config::ScopeAlias;
use crate::tables::{self, Event, ProvenRecord, prefix};

/// Most participants whose claims are remembered.
const MAX_KNOWN: usize = 4096;
/// Most presentations that are read of one answer.
const MAX_PRESENTATIONS: usize = 8;
/// How long before claims run out they are looked at again, so that a running stream does not notice.
const AHEAD: SignedDuration = SignedDuration::from_secs(10);
/// Claims are not looked at more often than this, however short what they rest on is good.
const NOT_BEFORE: SignedDuration = SignedDuration::from_secs(5);
/// Participants whose claims are looked at again at once: one whose issuer is slow does not hold up the others.
const AT_ONCE: usize = 16;
/// How long until what could not be looked at is tried again.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// How long the claims of a participant that nobody asks about are kept up.
const UNUSED: SignedDuration = SignedDuration::from_hours(1);
/// What is asked for where a policy takes any credential: these, and whatever the trust list names.
const USUAL: [&str; 2] = ["MembershipCredential", "RoleCredential"];

/// What is proven about a participant.
#[derive(Debug)]
struct Proven {
    /// With which access token it was asked for; `None` after a restart.
    access: Option<String>,
    checked: Vec<Checked>,
    /// What could not be looked at for now.
    doubtful: Vec<String>,
    /// The credentials, as policies read them.
    json: Arc<Vec<Json>>,
    at: Timestamp,
    until: Timestamp,
    /// When somebody last asked.
    used: Timestamp,
}

impl Proven {
    fn new(access: Option<String>, checked: Vec<Checked>, now: Timestamp) -> Self {
        let believed = now.checked_add(BELIEVED).unwrap_or(now);
        let until = checked.iter().map(|one| one.until).fold(believed, Timestamp::min);
        let json = Arc::new(checked.iter().map(|one| one.credential.json().clone()).collect());
        Self { access, checked, doubtful: Vec::new(), json, at: now, until, used: now }
    }

    /// What was shown, as it came.
    fn compacts(&self) -> Vec<String> {
        let checked = self.checked.iter().map(|one| one.credential.compact().to_owned());
        checked.chain(self.doubtful.iter().cloned()).collect()
    }

    /// When it is to be looked at again.
    fn due(&self) -> Timestamp {
        let early = self.until.checked_sub(AHEAD).unwrap_or(self.until);
        let soonest = self.at.checked_add(NOT_BEFORE).unwrap_or(self.until);
        if early > self.at { early } else { self.until }.max(soonest)
    }
}

/// What is proven about participants.
#[derive(Debug, Default)]
pub(super) struct Claims {
    proven: Mutex<HashMap<String, Proven>>,
    /// What the policies of agreements in force ask for; an empty name stands for any credential.
    agreed: RwLock<BTreeSet<String>>,
    changed: Notify,
}

impl Claims {
    /// The credentials of `did` that are proven at `now`, and until when.
    pub(super) fn of(&self, did: &str, now: Timestamp) -> (Arc<Vec<Json>>, Option<Timestamp>) {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        match proven.get_mut(did).filter(|one| one.until > now) {
            Some(one) => {
                one.used = now;
                (Arc::clone(&one.json), Some(one.until))
            }
            None => (Arc::default(), None),
        }
    }

    /// What was shown, as it came, with what its revocation was checked with.
    pub(super) fn evidence(&self, did: &str) -> Vec<CredentialEvidence> {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(one) = proven.get(did) else { return Vec::new() };
        let evidence = |checked: &Checked| CredentialEvidence {
            credential: checked.credential.compact().to_owned(),
            status_lists: checked.lists.iter().map(|list| list.compact.clone()).collect(),
            checked_at: one.at,
        };
        one.checked.iter().map(evidence).collect()
    }

    /// Remembers that policies of agreements ask for what `policy` asks for.
    pub(super) fn expect(&self, policy: &Policy, known: &Hierarchy) {
        self.expect_kinds(policy.credential_kinds(known).iter().map(String::as_str));
    }

    /// Remembers that credentials of these types are asked for.
    pub(super) fn expect_kinds<'a>(&self, kinds: impl IntoIterator<Item = &'a str>) {
        self.agreed
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(kinds.into_iter().map(str::to_owned));
    }

    /// Lets every caller be asked again at its next message.
    pub(super) fn forget_answers(&self) {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.values_mut().for_each(|one| one.access = None);
    }

    fn put(&self, did: &str, one: Proven) {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        if proven.len() >= MAX_KNOWN && !proven.contains_key(did) {
            let oldest = proven.iter().min_by_key(|(_, one)| one.used).map(|(did, _)| did.clone());
            oldest.map(|oldest| proven.remove(&oldest));
        }
        proven.insert(did.to_owned(), one);
        drop(proven);
        self.changed.notify_one();
    }

    /// Whether the answer to `access` is known and good.
    fn answered(&self, did: &str, access: &str, now: Timestamp) -> Option<Arc<Vec<Json>>> {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        let one = proven.get_mut(did)?;
        one.used = now;
        (one.access.as_deref() == Some(access) && one.until > now).then(|| Arc::clone(&one.json))
    }

    /// Lets what is proven of `did` stand as the answer to `access`; false where nothing is.
    fn stand(&self, did: &str, access: &str, now: Timestamp) -> bool {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(one) = proven.get_mut(did).filter(|one| one.until > now) else { return false };
        one.access = Some(access.to_owned());
        true
    }

    fn nearest(&self) -> Option<Timestamp> {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.values().map(Proven::due).min()
    }

    /// Whose claims are to be looked at again; those that nobody asked about for long are let go.
    fn due(&self, now: Timestamp) -> Vec<String> {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.retain(|_, one| one.due() > now || now.duration_since(one.used) < UNUSED);
        proven.iter().filter(|(_, one)| one.due() <= now).map(|(did, _)| did.clone()).collect()
    }

    fn everybody(&self) -> Vec<String> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

/// What the vault seals of a participant's claims.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    credentials: Vec<String>,
}

impl Engine {
    /// Learns what this node needs to know of a caller, with the access token that it gave along.
    ///
    /// # Errors
    /// Something is required of every caller, and it was not proven; the reason is for the operator.
    pub async fn learn(self: &Arc<Self>, did: &str, access: Option<&str>) -> Result<(), String> {
        let kinds = self.kinds_asked().map_err(|error| error.to_string())?;
        if kinds.is_empty() {
            return Ok(());
        }
        let Some(access) = access else {
            if self.required.is_empty() {
                return Ok(());
            }
            return Err(format!(
                "its token carries no access token (`token`), so it cannot be asked for its {}",
                self.required.join(", ")
            ));
        };
        if let Some(known) = self.claims.answered(did, access, clock::now()) {
            return self.missing(&known).map_or(Ok(()), Err);
        }
        let _lock = self.locks.lock(&format!("claims/{did}")).await;
        let now = clock::now();
        if let Some(known) = self.claims.answered(did, access, now) {
            return self.missing(&known).map_or(Ok(()), Err);
        }
        match self.prove(did, access, &kinds, now).await {
            Ok(checked) => {
                let proven = Proven::new(Some(access.to_owned()), checked, now);
                self.keep_proven(did, proven.compacts(), &[]).await.map_err(|error| error.to_string())?;
                let missing = self.missing(&proven.json);
                self.claims.put(did, proven);
                missing.map_or(Ok(()), Err)
            }
            // Where nothing is required of everybody, a caller that proves nothing simply has no claims.
            Err(doubt) if self.required.is_empty() => {
                let text = format!("its credentials do not count: {doubt}");
                self.record_refusal(
                    "its credentials do not count",
                    Event::new("refusal", now, text).with(did),
                )
                .await;
                // An outage of its credential service takes nothing away from what it has shown before.
                let stands = matches!(doubt, Doubt::Passing(_)) && self.claims.stand(did, access, now);
                if !stands {
                    let mut none = Proven::new(Some(access.to_owned()), Vec::new(), now);
                    none.until = now.checked_add(AGAIN).unwrap_or(now);
                    self.claims.put(did, none);
                }
                Ok(())
            }
            Err(doubt) => Err(doubt.to_string()),
        }
    }

    /// Whether every caller must show credentials.
    pub(crate) fn demands_credentials(&self) -> bool {
        !self.required.is_empty()
    }

    /// Which types of credentials matter here at all.
    fn kinds_asked(&self) -> Result<BTreeSet<String>, EngineError> {
        let mut kinds = self.claims.agreed.read().unwrap_or_else(PoisonError::into_inner).clone();
        kinds.extend(self.offered.read().credential_kinds().iter().cloned());
        kinds.extend(self.required.iter().cloned());
        let any = kinds.remove("");
        if any {
            kinds.extend(USUAL.map(str::to_owned));
            kinds.extend(self.trusted_types()?);
        }
        Ok(kinds)
    }

    /// Why `credentials` are not what every participant must show here.
    pub(super) fn missing(&self, credentials: &[Json]) -> Option<String> {
        missing(&self.required, credentials)
    }

    /// Asks `did` for credentials of `kinds` and checks every one that it shows. Passing is only that it cannot be asked.
    async fn prove(
        self: &Arc<Self>,
        did: &str,
        access: &str,
        kinds: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<Vec<Checked>, Doubt> {
        let wrong = |reason: String| Doubt::Wrong(reason);
        let document = self.resolver.document(did).await.map_err(Doubt::Passing)?;
        let service = document
            .service("CredentialService")
            .ok_or_else(|| wrong(format!("the DID document of `{did}` names no CredentialService")))?;
        let url = format!("{}/presentations/query", service.trim_end_matches('/'));
        let mut presentations = Vec::new();
        let kinds: Vec<_> = kinds.iter().collect();
        for kinds in kinds.chunks(dcp::MAX_ENTRIES) {
            let answer = self.query(did, &url, access, kinds).await;
            let answer = answer.map_err(|error| Doubt::Passing(error.to_string()))?;
            let answer: PresentationResponseMessage =
                dcp::parse(answer).map_err(|error| wrong(format!("its presentation: {error}")))?;
            presentations.extend(answer.presentation.into_iter().take(MAX_PRESENTATIONS));
        }
        // One that is odd, expired or another's does not spoil those beside it.
        let (mut counted, mut doubts) = (Vec::new(), Vec::new());
        for presentation in &presentations {
            let shown = match trust::presentation::open(presentation, &document, self.did(), now) {
                Ok(shown) => shown,
                Err(error) => {
                    doubts.push(Doubt::from(error));
                    continue;
                }
            };
            for compact in shown {
                match self.take_shown(did, &compact, now).await {
                    Ok(checked) => counted.extend(checked),
                    Err(doubt) => doubts.push(doubt),
                }
            }
        }
        let first = doubts.iter().map(ToString::to_string).next();
        let Some(first) = first else { return Ok(counted) };
        if counted.is_empty() {
            return Err(wrong(first));
        }
        let kind = "a credential that it shows does not count";
        self.record_refusal(kind, Event::new("refusal", now, format!("{kind}: {first}")).with(did)).await;
        Ok(counted)
    }

    /// What a credential that `did` shows is worth here; `None` where it is nothing, before anything is fetched for it.
    async fn take_shown(&self, did: &str, compact: &str, now: Timestamp) -> Result<Option<Checked>, Doubt> {
        let stored = |error: EngineError| Doubt::Wrong(error.to_string());
        if !self.is_trusted(Claimed::read(compact)?.issuer()).map_err(stored)? {
            return Ok(None);
        }
        let checked = self.check_credential(did, compact, now, (now, Timestamp::MIN)).await?;
        Ok(self.counts_as(&checked.credential).map_err(stored)?.then_some(checked))
    }

    /// Asks the credential service of `did` for credentials of `kinds`: in the words of its access token, for Eclipse EDC up to
    /// 0.15 knows the scopes of the protocol under another name, and refuses what it does not know.
    async fn query(
        &self,
        did: &str,
        url: &str,
        access: &str,
        kinds: &[&String],
    ) -> Result<Json, EngineError> {
        let in_token =
            || if trust::access::is_in_edc_scopes(access) { ScopeAlias::Edc } else { ScopeAlias::Dcp };
        let scope_of = match self.rules.scopes(did).unwrap_or_else(in_token) {
            ScopeAlias::Dcp => scope_of,
            ScopeAlias::Edc => edc_scope_of,
        };
        let query = PresentationQueryMessage {
            scope: Some(kinds.iter().map(|kind| scope_of(kind)).collect()),
            presentation_definition: None,
        };
        Ok(self.ask_peer(did, url, Some(dcp::write(&query)), Some(access)).await?.0)
    }

    /// Whether `did` has shown credentials that count now.
    pub(crate) fn has_proven(&self, did: &str) -> bool {
        !self.credentials_of(did).is_empty()
    }

    /// The proven credentials of `did`.
    pub(super) fn credentials_of(&self, did: &str) -> Arc<Vec<Json>> {
        self.claims.of(did, clock::now()).0
    }

    /// Makes sure that what is known of `did` is good now: read from the store after a restart, looked at again where
    /// it has run out.
    pub(super) async fn refresh_claims(&self, did: &str) -> Result<(), EngineError> {
        if self.claims.of(did, clock::now()).1.is_some() || self.kinds_asked()?.is_empty() {
            return Ok(());
        }
        self.recheck(did, Timestamp::MIN).await
    }

    /// Looks again at what `did` has shown before this node agrees to something with it: with status lists that are a moment old
    /// at most, so that nobody gets an agreement on the strength of what was just revoked.
    pub(super) async fn look_again_at(&self, did: &str) -> Result<(), EngineError> {
        // What it has shown may stand in the store alone: after a restart, or when nobody has asked about it for long.
        let has_shown = self.shown(did).is_some_and(|(_, _, shown)| !shown.is_empty());
        if !has_shown && self.kept_proven(did)?.is_empty() {
            return Ok(());
        }
        let now = clock::now();
        self.recheck(did, now.checked_sub(RECENT).unwrap_or(now)).await
    }

    /// Looks again at what `did` has shown, with status lists that this node has tried to fetch since `since`. What counts no
    /// more is let go, and the streams that rest on it are cut.
    async fn recheck(&self, did: &str, since: Timestamp) -> Result<(), EngineError> {
        let _lock = self.locks.lock(&format!("claims/{did}")).await;
        let now = clock::now();
        let (access, used, compacts) = match self.shown(did) {
            Some(shown) => shown,
            None => (None, now, self.kept_proven(did)?),
        };
        let (mut checked, mut doubtful) = (Vec::new(), Vec::new());
        let mut events = Vec::new();
        let beyond = now.checked_add(AHEAD).unwrap_or(now);
        for compact in &compacts {
            let result = match self.check_credential(did, compact, now, (beyond, since)).await {
                Ok(one) if self.counts_as(&one.credential)? => Ok(one),
                Ok(one) => {
                    let (issuer, kind) = (one.credential.issuer(), one.credential.kind());
                    Err(Doubt::Wrong(format!(
                        "the word of `{issuer}` does not count for a `{kind}` any more"
                    )))
                }
                Err(doubt) => Err(doubt),
            };
            let doubt = match result {
                Ok(one) => {
                    checked.push(one);
                    continue;
                }
                Err(doubt) => doubt,
            };
            let text = match &doubt {
                Doubt::Passing(reason) => {
                    doubtful.push(compact.clone());
                    format!("a credential of it cannot be looked at for now and does not count: {reason}")
                }
                Doubt::Wrong(reason) => format!("a credential of it counts no more: {reason}"),
            };
            events.push(Event::new("trust", now, text).with(did));
        }
        let lost = !events.is_empty();
        // Whoever lost one may show another at its next message.
        let access = access.filter(|_| !lost);
        let mut proven = Proven { used, doubtful, ..Proven::new(access, checked, now) };
        if !proven.doubtful.is_empty() {
            proven.until = proven.until.min(now.checked_add(AGAIN).unwrap_or(now));
        }
        let compacts = proven.compacts();
        self.claims.put(did, proven);
        if lost {
            self.streams.reconsider_all();
            // Told when it is so, not before: whoever reads of it may ask at once.
            self.keep_proven(did, compacts, &events).await?;
        }
        Ok(())
    }

    fn shown(&self, did: &str) -> Option<(Option<String>, Timestamp, Vec<String>)> {
        let proven = self.claims.proven.lock().unwrap_or_else(PoisonError::into_inner);
        let one = proven.get(did)?;
        Some((one.access.clone(), one.used, one.compacts()))
    }

    /// Looks again at everything that anybody has shown.
    pub(super) async fn recheck_all(&self) {
        self.recheck_each(self.claims.everybody()).await;
    }

    async fn recheck_each(&self, dids: Vec<String>) {
        let each = futures_util::stream::iter(dids);
        each.for_each_concurrent(AT_ONCE, async |did| self.recheck_one(&did).await).await;
    }

    /// As [`Self::recheck`]; where it cannot be done, nothing is believed of `did` until it is asked for.
    async fn recheck_one(&self, did: &str) {
        if let Err(error) = self.recheck(did, Timestamp::MIN).await {
            tracing::error!(%error, did, "claims were not looked at again");
            self.claims.proven.lock().unwrap_or_else(PoisonError::into_inner).remove(did);
            self.streams.reconsider_all();
        }
    }

    /// An issuer says that its status lists have changed: they are fetched anew at once.
    ///
    /// # Errors
    /// Its word counts for nothing here.
    pub async fn take_status_notice(&self, issuer: &str) -> Result<(), EngineError> {
        if !self.is_trusted(issuer)? {
            let reason = format!("the word of `{issuer}` counts for nothing here");
            return Err(EngineError::refused(protocol::RefusalKind::NotFound, reason));
        }
        self.record(Event::new("trust", clock::now(), "its status lists have changed").with(issuer)).await;
        self.statuses_changed(issuer).await;
        self.federation.members_changed();
        Ok(())
    }

    /// Looks again at everything, without what was kept of the lists of `issuer`.
    pub(super) async fn statuses_changed(&self, issuer: &str) {
        self.fetched.forget_lists(issuer);
        self.own_credentials.look_again();
        self.recheck_all().await;
    }

    /// Looks again at claims before they run out, until `stop`.
    pub async fn watch_claims(self: Arc<Self>, stop: CancellationToken) {
        loop {
            self.recheck_each(self.claims.due(clock::now())).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.claims.changed.notified() => {}
                () = dataplane::guard::reached(self.claims.nearest(), &SystemClock) => {}
            }
        }
    }

    /// Expects of participants what the agreements in force ask for.
    pub(super) fn expect_agreed_claims(&self) -> Result<(), EngineError> {
        for wanted in self.own_requests()?.into_iter().filter(|one| one.withdrawn_at.is_none()) {
            if let Ok(access) = Policy::parse(&wanted.access) {
                self.claims.expect(&access, &self.known);
            }
        }
        self.each_agreement(|record| {
            if record.end().is_none() {
                self.claims.expect(record.agreement.policy(), &self.known);
            }
            Ok(())
        })
    }

    /// Keeps what `did` has shown, and writes `events` about it in the same commit.
    async fn keep_proven(
        &self,
        did: &str,
        credentials: Vec<String>,
        events: &[Event],
    ) -> Result<(), EngineError> {
        let key = proven_key(did);
        let mut batch = Batch::new();
        for event in events {
            tables::append_event(&mut batch, event)?;
        }
        if credentials.is_empty() {
            if self.store.get(&key)?.is_some() {
                batch.delete(key);
            }
        } else if self.kept_proven(did)? != credentials {
            let text = serde_json::to_string(&Sealed { credentials })
                .map_err(|error| EngineError::Vault(error.to_string()))?;
            let sealed = self.vault.seal(&key, &text)?;
            tables::put(&mut batch, key, &ProvenRecord { sealed })?;
        }
        if batch.is_empty() { Ok(()) } else { self.commit(batch).await.map(|_| ()) }
    }

    fn kept_proven(&self, did: &str) -> Result<Vec<String>, EngineError> {
        let key = proven_key(did);
        let Some((record, _)) = tables::load::<ProvenRecord>(&self.store, &key)? else {
            return Ok(Vec::new());
        };
        let text = self.vault.open_sealed(&key, &record.sealed)?;
        let sealed: Sealed =
            serde_json::from_str(&text).map_err(|error| EngineError::Vault(error.to_string()))?;
        Ok(sealed.credentials)
    }
}

/// Why `credentials` are not all of the types in `required`.
pub(super) fn missing(required: &[String], credentials: &[Json]) -> Option<String> {
    let has = |kind: &String| {
        credentials.iter().any(|one| match one.get("type") {
            Some(Json::String(one)) => one == kind,
            Some(Json::Array(all)) => all.iter().any(|one| one.as_str() == Some(kind)),
            _ => false,
        })
    };
    let kind = required.iter().find(|kind| !has(kind))?;
    Some(format!("it has shown no `{kind}` that counts here"))
}

fn proven_key(did: &str) -> String {
    tables::key(prefix::PROVEN, &trust::did::segment(did))
}
