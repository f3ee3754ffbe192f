//! Delivers messages: at once, again with backoff, until taken, refused, or given up.
//!
//! An entry stands in the store from the commit that made it to the commit of its outcome, so a restart takes it up
//! again. What goes to one participant at one origin is a [`line`] with a task of its own, in the order in which it was
//! written. How many talk at once is bounded, in total, for each participant and for each origin: one that does not answer
//! holds up its own messages only. A part of the total is kept for whoever this node knows.

mod line;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use protocol::wire::{ContractNegotiation, TransferProcess};
use protocol::{Failure, MessageId};
use reqwest::StatusCode;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::line::{Line, Trip, Trouble, Turn};
use crate::config::{Bounds, Delivery};
use crate::engine::{Engine, EngineError};
use crate::network::{Unsent, answer_text, bounded_body, describe};
use crate::shares::{Shares, one_of_each, places};
use crate::tables::{OutboxEntry, ProcessKind};
use crate::{clock, ids};

pub use self::line::Attempts;

/// Largest answer of a peer, in bytes.
const MAX_ANSWER: usize = 256 * 1024;
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
    /// Most attempts of a line at once.
    at_once: usize,
    /// Most messages that wait for a participant before no further process is begun or moved with it.
    waiting_per_peer: usize,
    tasks: TaskTracker,
    stop: CancellationToken,
    deliveries: Mutex<Deliveries>,
    settings: Delivery,
}

/// To whom, and where: one line each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Direction {
    peer: String,
    /// What is no address has a line of its own, and is refused there.
    origin: String,
}

impl Direction {
    fn of(entry: &OutboxEntry) -> Self {
        let origin = url::Url::parse(&entry.address).map(|address| address.origin().ascii_serialization());
        Self { peer: entry.peer.clone(), origin: origin.unwrap_or_else(|_| entry.address.clone()) }
    }
}

/// What is being delivered.
#[derive(Debug, Default)]
struct Deliveries {
    lines: HashMap<Direction, (Line, Arc<Notify>)>,
    messages: HashMap<MessageId, Delivering>,
    /// Of each participant, over all its lines.
    waiting: HashMap<String, usize>,
    /// How many were handed over.
    handed_over: u64,
}

/// A message that is being delivered.
#[derive(Debug)]
struct Delivering {
    direction: Direction,
    turn: Turn,
    /// The token of the last attempt.
    token: Option<String>,
    /// Set when it is not to be tried again.
    withdrawn: CancellationToken,
    /// Why it could not be delivered so far.
    trouble: watch::Sender<Option<String>>,
}

impl Deliveries {
    /// Takes a message out, as far as it is there.
    fn remove(&mut self, message: &MessageId) -> Option<Delivering> {
        let delivering = self.messages.remove(message)?;
        if let Entry::Occupied(mut waiting) = self.waiting.entry(delivering.direction.peer.clone()) {
            *waiting.get_mut() -= 1;
            if *waiting.get() == 0 {
                waiting.remove();
            }
        }
        Some(delivering)
    }
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
    Later(Trouble, String),
}

/// What came of an attempt, for the line.
enum Ended {
    /// The message is over; whether the origin answered.
    Over(bool),
    /// It has been tried since then, and is to be tried again for this reason.
    Again(Instant, Trouble, String),
}

impl Outbox {
    /// An outbox whose tasks end with `stop`.
    #[must_use]
    pub fn new(settings: Delivery, bounds: Bounds, stop: CancellationToken) -> Self {
        let inner = Inner {
            all: places(bounds.deliveries),
            strangers: places(bounds.deliveries - bounds.deliveries / 4),
            shares: Shares::new(bounds.deliveries_per_peer),
            at_once: usize::try_from(bounds.deliveries_per_peer).unwrap_or(usize::MAX),
            waiting_per_peer: usize::try_from(bounds.waiting_per_peer).unwrap_or(usize::MAX),
            tasks: TaskTracker::new(),
            stop,
            deliveries: Mutex::default(),
            settings,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Delivers `entry`, which the store already has. A second call for the same message does nothing: at start, a
    /// message may be found in the store just as the step that made it hands it over.
    pub(crate) fn deliver(&self, engine: &Arc<Engine>, entry: OutboxEntry) {
        let mut guard = self.deliveries();
        let deliveries = &mut *guard;
        let Entry::Vacant(place) = deliveries.messages.entry(entry.message.id.clone()) else { return };
        let direction = Direction::of(&entry);
        deliveries.handed_over += 1;
        let turn = (entry.since, deliveries.handed_over);
        place.insert(Delivering {
            direction: direction.clone(),
            turn,
            token: None,
            withdrawn: CancellationToken::new(),
            trouble: watch::channel(deliveries.lines.get(&direction).and_then(|(line, _)| line.trouble())).0,
        });
        *deliveries.waiting.entry(entry.peer.clone()).or_default() += 1;
        match deliveries.lines.entry(direction.clone()) {
            Entry::Occupied(mut found) => {
                let (line, changed) = found.get_mut();
                line.add(turn, Arc::new(entry), Instant::now());
                changed.notify_one();
            }
            Entry::Vacant(place) => {
                let (line, changed) = place.insert((Line::default(), Arc::default()));
                line.add(turn, Arc::new(entry), Instant::now());
                let (outbox, engine, changed) = (self.clone(), Arc::clone(engine), Arc::clone(changed));
                self.inner.tasks.spawn(async move { outbox.carry(&engine, &direction, &changed).await });
            }
        }
    }

    /// Does not try again to deliver `message`; an attempt on the way comes to its end.
    pub(crate) fn withdraw(&self, message: &MessageId) {
        let mut deliveries = self.deliveries();
        let Some(delivering) = deliveries.remove(message) else { return };
        delivering.withdrawn.cancel();
        if let Some((line, changed)) = deliveries.lines.get_mut(&delivering.direction) {
            line.remove(delivering.turn);
            changed.notify_one();
        }
    }

    /// The token that went with the last attempt to deliver `message`; `None` before the first one, and for what is not
    /// being delivered.
    pub(crate) fn token_sent(&self, message: &MessageId) -> Option<String> {
        self.deliveries().messages.get(message)?.token.clone()
    }

    /// Whether an attempt to deliver `message` is under way.
    pub(crate) fn is_on_its_way(&self, message: &MessageId) -> bool {
        let deliveries = self.deliveries();
        let delivering = deliveries.messages.get(message);
        let line = |delivering: &Delivering| {
            let (line, _) = deliveries.lines.get(&delivering.direction)?;
            Some(line.is_on_its_way(delivering.turn))
        };
        delivering.and_then(line).unwrap_or_default()
    }

    /// How the delivery of `message` stands; `None` for what is not being delivered.
    pub(crate) fn attempts(&self, message: &MessageId) -> Option<Attempts> {
        let deliveries = self.deliveries();
        let delivering = deliveries.messages.get(message)?;
        deliveries.lines.get(&delivering.direction)?.0.attempts(delivering.turn)
    }

    /// Why `message` could not be delivered so far, as that changes; `None` for what is not being delivered.
    pub(crate) fn trouble(&self, message: &MessageId) -> Option<watch::Receiver<Option<String>>> {
        Some(self.deliveries().messages.get(message)?.trouble.subscribe())
    }

    /// Whether as many messages wait for `peer` as may.
    pub(crate) fn is_full_for(&self, peer: &str) -> bool {
        self.deliveries().waiting.get(peer).is_some_and(|waiting| *waiting >= self.inner.waiting_per_peer)
    }

    /// Waits until all tasks have ended; call it after the stop.
    pub async fn drained(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn deliveries(&self) -> std::sync::MutexGuard<'_, Deliveries> {
        self.inner.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries the messages of a line until there are none.
    async fn carry(&self, engine: &Arc<Engine>, direction: &Direction, changed: &Notify) {
        let mut attempts = JoinSet::new();
        loop {
            let room = self.inner.at_once.saturating_sub(attempts.len());
            let at_most = Duration::from_secs(self.inner.settings.give_up_after_seconds.into());
            let next = {
                let mut deliveries = self.deliveries();
                let Some((line, _)) = deliveries.lines.get_mut(direction) else { return };
                if line.is_empty() && attempts.is_empty() {
                    deliveries.lines.remove(direction);
                    return;
                }
                line.next(Instant::now(), room, at_most)
            };
            for trip in next.trips {
                let (outbox, engine) = (self.clone(), Arc::clone(engine));
                attempts.spawn(async move { outbox.make(&engine, trip).await });
            }
            for (turn, entry, reason) in next.given_up {
                let (outbox, engine) = (self.clone(), Arc::clone(engine));
                attempts.spawn(async move {
                    let reported = outbox.report(&engine, &entry, given_up(at_most, &reason)).await;
                    (turn, entry.message.id.clone(), over(Instant::now(), reported, false))
                });
            }
            let look_again = next.look_again;
            tokio::select! {
                biased;
                () = self.inner.stop.cancelled() => return attempts.shutdown().await,
                Some(ended) = attempts.join_next() => {
                    if let Some(entry) = self.ended(direction, ended) {
                        let engine = Arc::clone(engine);
                        self.inner.tasks.spawn(async move { engine.not_answered(&entry).await });
                    }
                }
                () = changed.notified() => {}
                () = async { tokio::time::sleep_until(look_again.unwrap_or_else(Instant::now)).await },
                    if look_again.is_some() => {}
            }
        }
    }

    /// Takes the end of an attempt; gives the message that is to be tried again.
    fn ended(
        &self,
        direction: &Direction,
        ended: Result<(Turn, MessageId, Ended), tokio::task::JoinError>,
    ) -> Option<Arc<OutboxEntry>> {
        // What panics is caught in the attempt, and nobody aborts one before the stop.
        let (turn, message, ended) = ended.ok()?;
        let mut deliveries = self.deliveries();
        if matches!(ended, Ended::Over(_)) {
            // One that was withdrawn and handed over anew has another turn.
            if deliveries.messages.get(&message).is_some_and(|delivering| delivering.turn == turn) {
                deliveries.remove(&message);
            }
        }
        let Deliveries { lines, messages, .. } = &mut *deliveries;
        let (line, _) = lines.get_mut(direction)?;
        match ended {
            Ended::Over(answered) => {
                line.over(turn, answered);
                None
            }
            Ended::Again(since, trouble, reason) => {
                // What passes within seconds stops nobody who waits.
                if let Some(delivering) = messages.get(&message).filter(|_| trouble != Trouble::Refused) {
                    delivering.trouble.send_replace(Some(reason.clone()));
                }
                line.again(turn, since, Instant::now(), (trouble, reason), ids::fraction())
            }
        }
    }

    /// Makes an attempt, and reports what came of it where the message is over.
    async fn make(&self, engine: &Arc<Engine>, trip: Trip) -> (Turn, MessageId, Ended) {
        let (turn, id) = (trip.turn, trip.entry.message.id.clone());
        let made = AssertUnwindSafe(self.try_once(engine, &trip)).catch_unwind().await;
        let ended = made.unwrap_or_else(|_| {
            tracing::error!(pid = trip.entry.pid, message = %id, "delivering a message failed; it is tried again at the next start");
            Ended::Over(false)
        });
        (turn, id, ended)
    }

    async fn try_once(&self, engine: &Arc<Engine>, trip: &Trip) -> Ended {
        let entry = &*trip.entry;
        let withdrawn = {
            let deliveries = self.deliveries();
            let delivering = deliveries.messages.get(&entry.message.id);
            let Some(delivering) = delivering else { return Ended::Over(false) };
            delivering.withdrawn.clone()
        };
        let Some(places) = withdrawn.run_until_cancelled(self.places_for(engine, entry)).await else {
            return Ended::Over(false);
        };
        // Since when this node tries: an outage of its own is nobody's silence.
        let since = trip.tried_since.unwrap_or_else(Instant::now);
        let attempt = self.attempt(engine, entry).await;
        drop(places);
        if entry.kind != ProcessKind::Callback {
            match &attempt {
                Attempt::Taken(..) | Attempt::Refused(..) => engine.note_contact(&entry.peer, Ok(())),
                Attempt::Later(Trouble::Away | Trouble::Silent, reason) => {
                    engine.note_contact(&entry.peer, Err(reason.clone()));
                }
                Attempt::Later(..) => {}
            }
        }
        let (trouble, reason) = match attempt {
            Attempt::Taken(body, token) => {
                let reported = self.report(engine, entry, Outcome::Taken(body, token)).await;
                return over(since, reported, true);
            }
            Attempt::Refused(status, reason) => {
                let passing =
                    matches!(status, StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::UNAUTHORIZED)
                        && since.elapsed() < SETTLING;
                if !passing {
                    let outcome = if trip.may_be_taken && self.was_taken(engine, entry).await {
                        Outcome::Taken(Vec::new(), None)
                    } else {
                        Outcome::Failed(Failure { reason, refused: true })
                    };
                    return over(since, self.report(engine, entry, outcome).await, true);
                }
                (Trouble::Refused, reason)
            }
            Attempt::Later(trouble, reason) => (trouble, reason),
        };
        let at_most = Duration::from_secs(self.inner.settings.give_up_after_seconds.into());
        if since.elapsed() >= at_most {
            let reported = self.report(engine, entry, given_up(since.elapsed(), &reason)).await;
            return over(since, reported, matches!(trouble, Trouble::Message | Trouble::Refused));
        }
        tracing::debug!(pid = entry.pid, %reason, "a message is tried again");
        Ended::Again(since, trouble, reason)
    }

    /// Writes down what came of a message; the error is that of a store that did not take it.
    async fn report(
        &self,
        engine: &Arc<Engine>,
        entry: &OutboxEntry,
        outcome: Outcome,
    ) -> Result<(), String> {
        let (pid, id) = (entry.pid.as_str(), entry.message.id.clone());
        let reported = match (entry.kind, outcome) {
            (ProcessKind::Acceptance, Outcome::Taken(..)) => engine.acceptance_told(entry, Ok(())).await,
            (ProcessKind::Acceptance, Outcome::Failed(failure)) => {
                engine.acceptance_told(entry, Err(failure)).await
            }
            (ProcessKind::Agreement, Outcome::Taken(..)) => engine.duty_told(entry, Ok(())).await,
            (ProcessKind::Agreement, Outcome::Failed(failure)) => engine.duty_told(entry, Err(failure)).await,
            (ProcessKind::Callback, Outcome::Taken(..)) => engine.callback_told(entry, Ok(())).await,
            (ProcessKind::Callback, Outcome::Failed(failure)) => {
                engine.callback_told(entry, Err(failure)).await
            }
            (ProcessKind::Issuance | ProcessKind::Notice, Outcome::Taken(..)) => {
                engine.holder_told(entry, Ok(())).await
            }
            (ProcessKind::Issuance | ProcessKind::Notice, Outcome::Failed(failure)) => {
                engine.holder_told(entry, Err(failure)).await
            }
            (ProcessKind::Negotiation, Outcome::Taken(body, token)) => {
                let reply =
                    protocol::wire::parse::<ContractNegotiation>(&body).ok().map(|reply| reply.message);
                engine.negotiation_acknowledged(pid, id, reply, engine.said(entry, token)).await
            }
            (ProcessKind::Negotiation, Outcome::Failed(failure)) => {
                engine.negotiation_failed(entry, failure).await
            }
            (ProcessKind::Statement, Outcome::Taken(..)) => engine.statement_told(entry, Ok(())).await,
            (ProcessKind::Statement, Outcome::Failed(failure)) => {
                engine.statement_told(entry, Err(failure)).await
            }
            (ProcessKind::Transfer, Outcome::Taken(body, _)) => {
                let reply = protocol::wire::parse::<TransferProcess>(&body).ok().map(|reply| reply.message);
                engine.transfer_acknowledged(pid, id, reply).await
            }
            (ProcessKind::Transfer, Outcome::Failed(failure)) => engine.transfer_failed(entry, failure).await,
        };
        let Err(error) = reported else { return Ok(()) };
        tracing::error!(%error, pid, message = %entry.message.id, "the outcome of a delivery was not written");
        if matches!(error, EngineError::Store(_)) { Err(error.to_string()) } else { Ok(()) }
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
        let deadline = Duration::from_secs(self.inner.settings.attempt_seconds.into());
        if entry.kind == ProcessKind::Callback {
            return match engine.call_back(entry, deadline).await {
                Ok(sent) => came_of(sent, None, false).await,
                Err(reason) => Attempt::Refused(StatusCode::BAD_REQUEST, reason),
            };
        }
        let authorization = match engine.authorization_of(entry) {
            Ok(authorization) => authorization,
            Err(error) => return Attempt::Later(Trouble::Message, error.to_string()),
        };
        // A fixed header of a closed test network is no token.
        let token = authorization.strip_prefix("Bearer ").map(str::to_owned);
        let url = format!("{}/{}", entry.address, entry.message.path);
        if let Err(error) = engine.guard().check_url(&url) {
            return Attempt::Refused(StatusCode::FORBIDDEN, error.to_string());
        }
        if let Some(sent) = self.deliveries().messages.get_mut(&entry.message.id) {
            sent.token.clone_from(&token);
        }
        let sent = engine
            .client()
            .post(&url)
            .header(http::header::AUTHORIZATION, authorization)
            .json(&entry.message.body)
            .timeout(deadline)
            .send()
            .await;
        came_of(sent, token, true).await
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

/// What an attempt comes to, by the answer; `is_peer` if what that says is for this node's operator.
async fn came_of(sent: Result<reqwest::Response, Unsent>, token: Option<String>, is_peer: bool) -> Attempt {
    let response = match sent {
        Ok(response) => response,
        Err(error) => {
            let trouble = if error.is_timeout() { Trouble::Silent } else { Trouble::Away };
            return Attempt::Later(trouble, describe(&error));
        }
    };
    let status = response.status();
    let body = bounded_body(response, MAX_ANSWER).await;
    if status.is_success() {
        return match body {
            Ok(body) => Attempt::Taken(body, token),
            Err(reason) => Attempt::Later(Trouble::Message, reason),
        };
    }
    let said = if is_peer { answer_text(status, &body.unwrap_or_default()) } else { String::new() };
    let reason = match (said.is_empty(), status.is_server_error()) {
        (true, _) => format!("the answer was {status}"),
        (false, true) => format!("{status}: {said}"),
        (false, false) => said,
    };
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Attempt::Later(Trouble::Away, reason)
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY => {
            Attempt::Later(Trouble::Message, reason)
        }
        status if status.is_server_error() => Attempt::Later(Trouble::Message, reason),
        status => Attempt::Refused(status, reason),
    }
}

/// What came of a message that is over, if that could be written.
fn over(since: Instant, reported: Result<(), String>, answered: bool) -> Ended {
    match reported {
        Ok(()) => Ended::Over(answered),
        Err(reason) => Ended::Again(since, Trouble::Unwritten, reason),
    }
}

fn given_up(after: Duration, reason: &str) -> Outcome {
    Outcome::Failed(Failure {
        reason: format!("gave up after {} s: {reason}", after.as_secs()),
        refused: false,
    })
}

/// Whether a message goes to somebody whom this node knows: a party of an agreement, a member, or one that has shown
/// credentials that count.
fn is_known(engine: &Engine, entry: &OutboxEntry) -> bool {
    entry.kind != ProcessKind::Negotiation || engine.is_known(&entry.peer)
}

/// The state our pending message leads to.
fn expected_state(engine: &Engine, entry: &OutboxEntry) -> Result<Option<String>, EngineError> {
    use protocol::progress::Act as _;
    Ok(match entry.kind {
        // A repeated report is simply taken again.
        ProcessKind::Acceptance
        | ProcessKind::Agreement
        | ProcessKind::Callback
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
