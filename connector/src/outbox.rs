//! Delivers messages: at once, again with backoff, until taken, refused, or given up.
//!
//! An entry stands in the store from the commit that made it to the commit of its outcome, so a restart takes it up
//! again. Each has a task of its own. How many talk at once is bounded, in total, for each participant and for each origin
//! that they talk to: one that does not answer holds up its own messages only. A part of the total is kept for whoever
//! this node knows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::wire::{
    ContractNegotiation, ContractNegotiationError, TransferError, TransferProcess, reason_text,
};
use protocol::{Failure, MessageId};
use reqwest::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Bounds, Delivery};
use crate::engine::{Engine, EngineError};
use crate::network::{bounded_body, describe};
use crate::shares::{Shares, one_of_each, places};
use crate::tables::{OutboxEntry, ProcessKind};
use crate::{clock, ids};

/// Largest answer of a peer, in bytes.
const MAX_ANSWER: usize = 256 * 1024;
/// First pause before a repeat.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before a repeat.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a peer's "not found", "conflict" and "unauthorised" are taken for a passing state: it may be restarting, may
/// not have digested our answer to its request before this message came, or may not have seen our DID document yet.
const SETTLING: Duration = Duration::from_secs(5);

/// What delivers. Clones share it.
#[derive(Debug, Clone)]
pub struct Outbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    all: Arc<Semaphore>,
    /// What of them those may take who are not known.
    strangers: Arc<Semaphore>,
    /// Of each participant and each origin.
    shares: Shares<String>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// What is being delivered.
    running: Mutex<HashMap<MessageId, Delivering>>,
    settings: Delivery,
}

/// A message that is being delivered.
#[derive(Debug, Default)]
struct Delivering {
    /// The token of the last attempt.
    token: Option<String>,
    /// Set when it is not to be tried again.
    withdrawn: CancellationToken,
}

enum Outcome {
    Failed(Failure),
    /// With the body of the answer, and the token of the attempt that was taken if that is known.
    Taken(Vec<u8>, Option<String>),
}

enum Attempt {
    /// Taken, with the body of the answer and the token that was sent.
    Taken(Vec<u8>, Option<String>),
    /// Refused for good, with the status.
    Refused(StatusCode, String),
    /// Worth another try; the peer may have taken it all the same.
    Later(String),
}

impl Outbox {
    /// An outbox whose tasks end with `stop`.
    #[must_use]
    pub fn new(settings: Delivery, bounds: Bounds, stop: CancellationToken) -> Self {
        let inner = Inner {
            all: places(bounds.deliveries),
            strangers: places(bounds.deliveries - bounds.deliveries / 4),
            shares: Shares::new(bounds.deliveries_per_peer),
            tasks: TaskTracker::new(),
            stop,
            running: Mutex::default(),
            settings,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Delivers `entry`, which the store already has. A second call for the same message does nothing: at start, a
    /// message may be found in the store just as the step that made it hands it over.
    pub(crate) fn deliver(&self, engine: &Arc<Engine>, entry: OutboxEntry) {
        let withdrawn = match self.running().entry(entry.message.id.clone()) {
            Entry::Occupied(_) => return,
            Entry::Vacant(place) => place.insert(Delivering::default()).withdrawn.clone(),
        };
        let (outbox, engine) = (self.clone(), Arc::clone(engine));
        self.inner.tasks.spawn(async move {
            let id = entry.message.id.clone();
            tokio::select! {
                () = outbox.inner.stop.cancelled() => {}
                () = outbox.run(&engine, entry, &withdrawn) => {}
            }
            outbox.running().remove(&id);
        });
    }

    /// Does not try again to deliver `message`; an attempt on the way comes to its end.
    pub(crate) fn withdraw(&self, message: &MessageId) {
        if let Some(delivering) = self.running().remove(message) {
            delivering.withdrawn.cancel();
        }
    }

    /// The token that went with the last attempt to deliver `message`; `None` before the first one, and for what is not
    /// being delivered.
    pub(crate) fn token_sent(&self, message: &MessageId) -> Option<String> {
        self.running().get(message)?.token.clone()
    }

    /// Waits until all tasks have ended; call it after the stop.
    pub async fn drained(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<MessageId, Delivering>> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, engine: &Arc<Engine>, entry: OutboxEntry, withdrawn: &CancellationToken) {
        let outcome = self.until_outcome(engine, &entry, withdrawn).await;
        let Some(outcome) = outcome else { return };
        let (pid, id) = (entry.pid.as_str(), entry.message.id.clone());
        let reported = match (entry.kind, outcome) {
            (ProcessKind::Acceptance, Outcome::Taken(..)) => engine.acceptance_told(&entry, Ok(())).await,
            (ProcessKind::Acceptance, Outcome::Failed(failure)) => {
                engine.acceptance_told(&entry, Err(failure)).await
            }
            (ProcessKind::Agreement, Outcome::Taken(..)) => engine.duty_told(pid, &id, Ok(())).await,
            (ProcessKind::Agreement, Outcome::Failed(failure)) => {
                engine.duty_told(pid, &id, Err(failure)).await
            }
            (ProcessKind::Issuance | ProcessKind::Notice, Outcome::Taken(..)) => {
                engine.holder_told(&entry, Ok(())).await
            }
            (ProcessKind::Issuance | ProcessKind::Notice, Outcome::Failed(failure)) => {
                engine.holder_told(&entry, Err(failure)).await
            }
            (ProcessKind::Negotiation, Outcome::Taken(body, token)) => {
                let reply =
                    protocol::wire::parse::<ContractNegotiation>(&body).ok().map(|reply| reply.message);
                engine.negotiation_acknowledged(pid, id, reply, engine.said(&entry, token)).await
            }
            (ProcessKind::Negotiation, Outcome::Failed(failure)) => {
                engine.negotiation_failed(pid, id, failure).await
            }
            (ProcessKind::Statement, Outcome::Taken(..)) => engine.statement_told(&entry, Ok(())).await,
            (ProcessKind::Statement, Outcome::Failed(failure)) => {
                engine.statement_told(&entry, Err(failure)).await
            }
            (ProcessKind::Transfer, Outcome::Taken(body, _)) => {
                let reply = protocol::wire::parse::<TransferProcess>(&body).ok().map(|reply| reply.message);
                engine.transfer_acknowledged(pid, id, reply).await
            }
            (ProcessKind::Transfer, Outcome::Failed(failure)) => {
                engine.transfer_failed(pid, id, failure).await
            }
        };
        if let Err(error) = reported {
            tracing::error!(%error, pid, message = %entry.message.id, "the outcome of a delivery was not written");
        }
    }

    /// Tries until there is an outcome; `None` when the message was withdrawn meanwhile.
    async fn until_outcome(
        &self,
        engine: &Arc<Engine>,
        entry: &OutboxEntry,
        withdrawn: &CancellationToken,
    ) -> Option<Outcome> {
        let mut pause = FIRST_PAUSE;
        let mut uncertain = false;
        // Since when this node tries: an outage of its own is nobody's silence.
        let mut first = None;
        loop {
            let places = withdrawn.run_until_cancelled(self.places_for(engine, entry)).await?;
            let began = *first.get_or_insert_with(Instant::now);
            let attempt = self.attempt(engine, entry).await;
            drop(places);
            let reason = match attempt {
                Attempt::Taken(body, token) => return Some(Outcome::Taken(body, token)),
                Attempt::Refused(status, reason) => {
                    let passing = matches!(
                        status,
                        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::UNAUTHORIZED
                    ) && began.elapsed() < SETTLING;
                    if !passing {
                        if uncertain && self.was_taken(engine, entry).await {
                            return Some(Outcome::Taken(Vec::new(), None));
                        }
                        return Some(Outcome::Failed(Failure { reason, refused: true }));
                    }
                    reason
                }
                Attempt::Later(reason) => {
                    uncertain = true;
                    reason
                }
            };
            let age = began.elapsed();
            if age >= Duration::from_secs(self.inner.settings.give_up_after_seconds.into()) {
                let reason = format!("gave up after {} s: {reason}", age.as_secs());
                return Some(Outcome::Failed(Failure { reason, refused: false }));
            }
            tracing::debug!(pid = entry.pid, %reason, "a message is tried again");
            let nap = pause.mul_f64(0.5 + ids::fraction());
            withdrawn.run_until_cancelled(tokio::time::sleep_until(Instant::now() + nap)).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits for places for an attempt.
    async fn places_for(&self, engine: &Engine, entry: &OutboxEntry) -> Vec<OwnedSemaphorePermit> {
        let inner = &self.inner;
        let origin = url::Url::parse(&entry.address).ok();
        let origin = origin.map(|address| inner.shares.of(address.origin().ascii_serialization()));
        let stranger = (!is_known(engine, entry)).then(|| Arc::clone(&inner.strangers));
        let wanted =
            [Some(inner.shares.of(entry.peer.clone())), origin, stranger, Some(Arc::clone(&inner.all))];
        one_of_each(wanted.into_iter().flatten()).await
    }

    async fn attempt(&self, engine: &Engine, entry: &OutboxEntry) -> Attempt {
        let authorization = match engine.identity().authorization(&entry.peer, clock::now()) {
            Ok(authorization) => authorization,
            Err(error) => return Attempt::Later(error.to_string()),
        };
        // A fixed header of a closed test network is no token.
        let token = authorization.strip_prefix("Bearer ").map(str::to_owned);
        let url = format!("{}/{}", entry.address, entry.message.path);
        if let Err(error) = engine.guard().check_url(&url) {
            return Attempt::Refused(StatusCode::FORBIDDEN, error.to_string());
        }
        if let Some(sent) = self.running().get_mut(&entry.message.id) {
            sent.token.clone_from(&token);
        }
        let deadline = Duration::from_secs(self.inner.settings.attempt_seconds.into());
        let sent = engine
            .client()
            .post(&url)
            .header(http::header::AUTHORIZATION, authorization)
            .json(&entry.message.body)
            .timeout(deadline)
            .send()
            .await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Attempt::Later(describe(&error)),
        };
        let status = response.status();
        let body = bounded_body(response, MAX_ANSWER).await;
        if status.is_success() {
            return match body {
                Ok(body) => Attempt::Taken(body, token),
                Err(reason) => Attempt::Later(reason),
            };
        }
        let said = said(&body.unwrap_or_default());
        let reason = if said.is_empty() { format!("the answer was {status}") } else { said };
        let retry = status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY
            );
        if retry { Attempt::Later(reason) } else { Attempt::Refused(status, reason) }
    }

    /// A refusal after a lost answer may only mean that the peer took the message then: its state tells.
    async fn was_taken(&self, engine: &Engine, entry: &OutboxEntry) -> bool {
        let Some((path, _)) = entry.message.path.rsplit_once('/') else { return false };
        let path = path.strip_suffix("/agreement").unwrap_or(path);
        let Ok(authorization) = engine.identity().authorization(&entry.peer, clock::now()) else {
            return false;
        };
        let url = format!("{}/{path}", entry.address);
        let deadline = Duration::from_secs(self.inner.settings.attempt_seconds.into());
        let Ok(response) = engine
            .client()
            .get(&url)
            .header(http::header::AUTHORIZATION, authorization)
            .timeout(deadline)
            .send()
            .await
        else {
            return false;
        };
        if !response.status().is_success() {
            return false;
        }
        let Ok(body) = bounded_body(response, MAX_ANSWER).await else { return false };
        let Ok(answer) = serde_json::from_slice::<serde_json::Value>(&body) else { return false };
        let theirs = answer.get("state").and_then(serde_json::Value::as_str).unwrap_or_default();
        expected_state(engine, entry).is_ok_and(|expected| expected.as_deref() == Some(theirs))
    }
}

/// Whether a message goes to somebody whom this node knows: a party of an agreement, a member, or one that has shown
/// credentials that count.
fn is_known(engine: &Engine, entry: &OutboxEntry) -> bool {
    entry.kind != ProcessKind::Negotiation || engine.has_proven(&entry.peer)
}

/// The state our pending message leads to.
fn expected_state(engine: &Engine, entry: &OutboxEntry) -> Result<Option<String>, EngineError> {
    use protocol::progress::Act as _;
    Ok(match entry.kind {
        // A repeated report is simply taken again.
        ProcessKind::Acceptance
        | ProcessKind::Agreement
        | ProcessKind::Issuance
        | ProcessKind::Notice
        | ProcessKind::Statement => None,
        ProcessKind::Negotiation => {
            let ours = engine.negotiation(&entry.pid)?.negotiation;
            let pending = ours.progress.pending.filter(|pending| pending.message == entry.message.id);
            pending
                .and_then(|pending| pending.act.transition(ours.progress.state, ours.role))
                .map(|state| state.to_string())
        }
        ProcessKind::Transfer => {
            let ours = engine.transfer(&entry.pid)?.transfer;
            let pending = ours.progress.pending.filter(|pending| pending.message == entry.message.id);
            pending
                .and_then(|pending| pending.act.transition(ours.progress.state, ours.role))
                .map(|state| state.to_string())
        }
    })
}

/// What an error body of either protocol says.
fn said(body: &[u8]) -> String {
    let negotiation = protocol::wire::parse::<ContractNegotiationError>(body)
        .map(|error| reason_text(error.message.code.as_deref(), &error.message.reason));
    negotiation
        .or_else(|_| {
            protocol::wire::parse::<TransferError>(body)
                .map(|error| reason_text(error.message.code.as_deref(), &error.message.reason))
        })
        .unwrap_or_default()
}
