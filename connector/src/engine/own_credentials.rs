//! How this node's own credentials stand: what was revoked is not shown, what ends is asked for anew, and requests that were not
//! answered are asked about (DCP 1.0.1, sections 5.4.2 and 6.8).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use store::Batch;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use trust::dcp::{self, CredentialStatus};

use super::credential_check::{BELIEVED, Doubt};
use super::{Engine, EngineError};
use crate::clock::{self, SystemClock};
use crate::tables::{self, CredentialRequest, Event, prefix};

/// How long until what could not be looked at is tried again.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// The longest time before its end at which a credential is asked for anew; a quarter of its time where that is less.
const AHEAD: SignedDuration = SignedDuration::from_hours(24 * 7);
/// The longest time until a renewal that led to nothing is tried again; a quarter of what is left at first where that is less.
const RENEWED_AGAIN: SignedDuration = SignedDuration::from_hours(24);
/// When an unanswered request is first asked about; then after twice the time each.
const FIRST_LOOK: SignedDuration = SignedDuration::from_secs(30);
/// The longest time between two looks at it.
const LAST_LOOK: SignedDuration = SignedDuration::from_hours(6);
/// How long it is asked about.
const GIVEN_UP: SignedDuration = SignedDuration::from_hours(24 * 30);

/// How a credential of this node stands, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum CredentialStanding {
    /// It holds, and its issuer has not taken it back.
    Valid,
    /// It counts for nobody: it has ended, or was revoked or suspended. It is not shown.
    Void {
        /// Why.
        reason: String,
    },
    /// It could not be looked at; it is shown, for a verifier may know more.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// What is known of this node's own credentials and requests.
#[derive(Debug, Default)]
pub(super) struct OwnCredentials {
    inner: Mutex<Known>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// By the keys of their records, with when they are to be looked at again.
    standings: HashMap<String, (CredentialStanding, Timestamp)>,
    /// When a renewal was last tried and led to no request, by issuer and type.
    renewed: HashMap<(String, String), Timestamp>,
    /// When requests are asked about next, and how long after the look before.
    asked: HashMap<String, (Timestamp, SignedDuration)>,
}

impl OwnCredentials {
    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything is looked at again at once.
    pub(super) fn look_again(&self) {
        self.with(|known| known.standings.values_mut().for_each(|(_, due)| *due = Timestamp::MIN));
        self.changed.notify_one();
    }

    /// How the credential under `key` stands.
    pub(super) fn standing(&self, key: &str) -> CredentialStanding {
        let unknown = || CredentialStanding::Unknown { reason: "it was not looked at yet".to_owned() };
        self.with(|known| known.standings.get(key).map_or_else(unknown, |(standing, _)| standing.clone()))
    }
}

impl Engine {
    /// Looks at this node's own credentials and requests when it is time, until `stop`.
    pub async fn watch_own_credentials(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let next = tokio::select! {
                () = stop.cancelled() => return,
                next = self.look_at_own() => next,
            };
            let next = next.unwrap_or_else(|error| {
                tracing::error!(%error, "this node's own credentials were not looked at");
                clock::now().checked_add(AGAIN).ok()
            });
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.own_credentials.changed.notified() => {}
                () = dataplane::guard::reached(next, &SystemClock) => {}
            }
        }
    }

    /// Looks at what is due; when something is next.
    async fn look_at_own(&self) -> Result<Option<Timestamp>, EngineError> {
        let looked = self.look_at_standings(None).await?;
        let renewed = self.renew().await?;
        let asked = self.ask_about_requests().await?;
        Ok([looked, renewed, asked].into_iter().flatten().min())
    }

    /// Looks now at how all of this node's credentials stand, for a person who asks.
    ///
    /// # Errors
    /// The store failed.
    pub async fn look_at_own_credentials(&self) -> Result<(), EngineError> {
        self.look_at_standings(Some(clock::now())).await.map(|_| ())
    }

    /// Looks at what is due, or at everything with status lists that this node has tried to fetch since `since`; when something
    /// is due next.
    async fn look_at_standings(&self, since: Option<Timestamp>) -> Result<Option<Timestamp>, EngineError> {
        let _lock = self.locks.lock("own-credentials").await;
        let held = self.held()?;
        let keys: BTreeSet<_> = held.iter().map(|one| one.key.clone()).collect();
        self.own_credentials.with(|known| known.standings.retain(|key, _| keys.contains(key)));
        for one in held {
            let now = clock::now();
            let before = self.own_credentials.with(|known| known.standings.get(&one.key).cloned());
            if since.is_none() && before.as_ref().is_some_and(|(_, due)| *due > now) {
                continue;
            }
            let lists = (now, since.unwrap_or(Timestamp::MIN));
            let after = |wait| now.checked_add(wait).unwrap_or(now);
            let found = match self.check_credential(self.did(), &one.compact, now, lists).await {
                Ok(checked) => (CredentialStanding::Valid, checked.until.max(after(AGAIN))),
                Err(Doubt::Passing(reason)) => (CredentialStanding::Unknown { reason }, after(AGAIN)),
                // A suspension may end.
                Err(Doubt::Wrong(reason)) => (CredentialStanding::Void { reason }, after(BELIEVED)),
            };
            let was_void = matches!(before, Some((CredentialStanding::Void { .. }, _)));
            let (kind, issuer) = (&one.record.kind, &one.record.issuer);
            let told = match &found.0 {
                CredentialStanding::Void { reason } if !was_void => {
                    Some(format!("this node's {kind} counts for nobody and is not shown: {reason}"))
                }
                CredentialStanding::Valid if was_void => Some(format!("this node's {kind} counts again")),
                _ => None,
            };
            self.own_credentials.with(|known| known.standings.insert(one.key, found));
            if let Some(text) = told {
                self.record(Event::new("credential", now, text).with(issuer)).await;
            }
        }
        Ok(self.own_credentials.with(|known| known.standings.values().map(|(_, due)| *due).min()))
    }

    /// Asks for credentials anew that end soon; when the next ends soon.
    async fn renew(&self) -> Result<Option<Timestamp>, EngineError> {
        if !self.renews_credentials {
            return Ok(None);
        }
        let now = clock::now();
        // The one of an issuer and type that ends last.
        let mut last: BTreeMap<(String, String), (Timestamp, Timestamp)> = BTreeMap::new();
        for one in self.held()? {
            // What was taken back is for people to ask about.
            let is_void = matches!(self.own_credentials.standing(&one.key), CredentialStanding::Void { .. });
            let Some(until) = one.record.until.filter(|until| !is_void && *until > now) else { continue };
            let known =
                last.entry((one.record.issuer, one.record.kind)).or_insert((until, one.record.received_at));
            if until > known.0 {
                *known = (until, one.record.received_at);
            }
        }
        let requests = self.credential_requests()?;
        let mut next: Option<Timestamp> = None;
        let mut note = |at: Timestamp| next = Some(next.map_or(at, |next| next.min(at)));
        let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((issuer, kind), (until, since)) in last {
            let ahead = (until.duration_since(since) / 4).min(AHEAD);
            let spacing = (ahead / 4).clamp(AGAIN, RENEWED_AGAIN);
            // What was asked for is known over a restart, what could not even be asked for is not.
            let asked = requests.iter().filter(|one| one.issuer == issuer && one.types.contains(&kind));
            let tried = self
                .own_credentials
                .with(|known| known.renewed.get(&(issuer.clone(), kind.clone())).copied());
            let tried = asked.map(|one| one.at).chain(tried).max();
            let again = tried.and_then(|tried| tried.checked_add(spacing).ok());
            let due = until.checked_sub(ahead).unwrap_or(until).max(again.unwrap_or(Timestamp::MIN));
            if due > now {
                note(due);
                continue;
            }
            note(now.checked_add(spacing).unwrap_or(now));
            wanted.entry(issuer).or_default().push(kind);
        }
        for (issuer, kinds) in wanted {
            self.own_credentials.with(|known| {
                let tries = kinds.iter().map(|kind| ((issuer.clone(), kind.clone()), now));
                known.renewed.extend(tries);
            });
            let what = kinds.join(", ");
            let text = match self.request_credentials(&issuer, &kinds).await {
                Ok(_) => format!("asked for {what} anew, before it ends"),
                Err(error) => format!("{what} ends soon and could not be asked for anew: {error}"),
            };
            self.record(Event::new("credential", clock::now(), text).with(&issuer)).await;
        }
        Ok(next)
    }

    /// Asks issuers how requests stand that they have not answered; when the next is asked about.
    async fn ask_about_requests(&self) -> Result<Option<Timestamp>, EngineError> {
        let now = clock::now();
        let open: Vec<_> = self
            .credential_requests()?
            .into_iter()
            .filter(|one| one.status == "RECEIVED" && now.duration_since(one.at) < GIVEN_UP)
            .collect();
        let ids: BTreeSet<_> = open.iter().map(|one| one.id.clone()).collect();
        let mut due = Vec::new();
        self.own_credentials.with(|known| {
            known.asked.retain(|id, _| ids.contains(id));
            for one in open.into_iter().filter(|one| one.location.is_some()) {
                let first = (one.at.checked_add(FIRST_LOOK).unwrap_or(one.at), FIRST_LOOK);
                let (at, wait) = *known.asked.entry(one.id.clone()).or_insert(first);
                if at <= now {
                    let wait = (wait * 2).min(LAST_LOOK);
                    known.asked.insert(one.id.clone(), (now.checked_add(wait).unwrap_or(now), wait));
                    due.push(one);
                }
            }
        });
        for request in due {
            if let Err(error) = self.ask_about(&request).await {
                tracing::info!(%error, request = request.id, "an issuer does not tell how a request stands");
            }
        }
        Ok(self.own_credentials.with(|known| known.asked.values().map(|(at, _)| *at).min()))
    }

    async fn ask_about(&self, request: &CredentialRequest) -> Result<(), EngineError> {
        let base = self.issuer_service(&request.issuer).await?;
        let url = status_address(&base, request.location.as_deref().unwrap_or_default())
            .map_err(EngineError::Peer)?;
        let (answer, _) = self.ask_peer(&request.issuer, &url, None, None).await?;
        let status: CredentialStatus =
            dcp::parse(answer).map_err(|error| EngineError::Peer(format!("{url}: {error}")))?;
        let reason = match status.status.as_str() {
            "REJECTED" => "the issuer says that it is rejected",
            "ISSUED" => "the issuer says that it has issued, and nothing has come; ask again",
            _ => return Ok(()),
        };
        let key = tables::key(prefix::CREDENTIAL_REQUEST, &request.id);
        let _lock = self.locks.lock(&key).await;
        let Some((known, version)) = tables::load::<CredentialRequest>(&self.store, &key)? else {
            return Ok(());
        };
        // What came meanwhile counts.
        if known.status != "RECEIVED" || known.reason.as_deref() == Some(reason) {
            return Ok(());
        }
        let changed = CredentialRequest {
            status: if status.status == "REJECTED" { status.status } else { known.status.clone() },
            reason: Some(reason.to_owned()),
            ..known
        };
        let mut batch = Batch::new();
        batch.expect(key.clone(), Some(version));
        tables::put(&mut batch, key, &changed)?;
        let event = Event::new("credential", clock::now(), reason).about(&request.id).with(&request.issuer);
        tables::append_event(&mut batch, &event)?;
        self.commit(batch).await.map(|_| ())
    }
}

/// Where an issuer tells how a request stands: its `Location`, which may be relative and leads nowhere but to the issuer.
///
/// # Errors
/// It is no address, or that of somebody else.
fn status_address(base: &str, location: &str) -> Result<String, String> {
    let issuer = url::Url::parse(base).map_err(|error| format!("{base}: {error}"))?;
    // Eclipse EDC and others name the request alone.
    let within = url::Url::parse(&format!("{}/requests/", base.trim_end_matches('/')));
    let joined = if location.contains('/') {
        issuer.join(location)
    } else {
        within.and_then(|base| base.join(location))
    };
    let url = joined.map_err(|error| format!("the issuer tells of the request at `{location}`: {error}"))?;
    if url.origin() != issuer.origin() {
        return Err(format!("the issuer tells of the request at `{url}`, which is not its own"));
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_asked_about_at_its_issuer_alone() {
        let base = "https://city.example/issuer";
        for (location, expected) in [
            ("/issuer/requests/urn:uuid:1", "https://city.example/issuer/requests/urn:uuid:1"),
            ("https://city.example/x/1", "https://city.example/x/1"),
            ("7b1c", "https://city.example/issuer/requests/7b1c"),
        ] {
            assert_eq!(status_address(base, location).unwrap(), expected, "{location}");
        }
        for location in [
            "https://elsewhere.example/1",
            "//elsewhere.example/1",
            "http://city.example/1",
            "https://city.example:8443/1",
        ] {
            assert!(status_address(base, location).is_err(), "{location}");
        }
    }
}
