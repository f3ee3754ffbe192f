//! What is known of an open connection: whether it asked for anything yet, how many answers are on their way, and which of
//! these wait for a peer that does not take them.
//!
//! The server polls a body only while the peer takes bytes. A body that gave some and is not polled again has a peer that
//! takes nothing; one that has nothing to give is waited for as long as it likes.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, Sleep};

/// How long a connection is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the accept to the first complete head of a request.
    pub first_request: Duration,
    /// Without a request, after the first.
    pub idle: Duration,
    /// While bytes wait that the peer does not take.
    pub stalled: Duration,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Open {
    patience: Patience,
    state: Mutex<State>,
    /// Told when something is due sooner than what is waited for.
    sooner: Notify,
}

#[derive(Debug)]
struct State {
    /// When it must have asked for something; unset while an answer is on its way.
    ask_by: Option<Instant>,
    has_asked: bool,
    /// Requests whose answers have not ended.
    running: usize,
    /// Bodies that are being handed on.
    bodies: HashMap<u64, Handed>,
    next: u64,
    /// Until when the watch sleeps; unset while it waits to be told.
    sleeps_until: Option<Instant>,
}

#[derive(Debug)]
struct Handed {
    /// When the peer must have taken what waits for it; unset while nothing does.
    take_by: Option<Instant>,
    /// It was cut, and is not among those that run.
    is_cut: bool,
    body: Slot,
}

/// Where a body is, unless it was cut.
type Slot = Arc<Mutex<Option<Body>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Open {
    /// A connection that was accepted at `since`.
    pub(super) fn new(patience: Patience, since: Instant) -> Arc<Self> {
        let state = State {
            ask_by: Some(since + patience.first_request),
            has_asked: false,
            running: 0,
            bodies: HashMap::new(),
            next: 0,
            sleeps_until: None,
        };
        Arc::new(Self { patience, state: Mutex::new(state), sooner: Notify::new() })
    }

    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        let mut state = lock(&self.state);
        state.running += 1;
        state.ask_by = None;
        state.has_asked = true;
        Running { open: Arc::clone(self), body: None }
    }

    /// Ends when the peer has asked for nothing for too long, with whether it ever did; cuts answers that it does not take
    /// meanwhile.
    pub(super) async fn given_up(&self) -> bool {
        loop {
            let now = Instant::now();
            let mut cut = Vec::new();
            let next = {
                let mut state = lock(&self.state);
                if state.ask_by.is_some_and(|at| at <= now) {
                    return state.has_asked;
                }
                for handed in state.bodies.values_mut() {
                    if handed.take_by.is_some_and(|at| at <= now) {
                        handed.take_by = None;
                        handed.is_cut = true;
                        cut.push(Arc::clone(&handed.body));
                    }
                }
                for _ in &cut {
                    // What is cut runs no more, although the server may hold it until the connection ends.
                    self.less(&mut state, now);
                }
                let takes = state.bodies.values().filter_map(|handed| handed.take_by);
                state.sleeps_until = takes.chain(state.ask_by).min();
                state.sleeps_until
            };
            for body in cut {
                tracing::info!(
                    seconds = self.patience.stalled.as_secs(),
                    "an answer was cut: its reader took nothing of it"
                );
                drop(lock(&body).take());
            }
            let sooner = self.sooner.notified();
            match next {
                None => sooner.await,
                Some(at) => {
                    // Either way, what is due now is looked for.
                    let _ = tokio::time::timeout_at(at, sooner).await;
                }
            }
        }
    }

    fn less(&self, state: &mut State, now: Instant) {
        state.running = state.running.saturating_sub(1);
        if state.running == 0 {
            state.ask_by = Some(now + self.patience.idle);
        }
    }

    /// Wakes the watch if it would sleep beyond `at`.
    fn due(&self, state: &State, at: Instant) {
        if state.sleeps_until.is_none_or(|until| at < until) {
            self.sooner.notify_one();
        }
    }

    /// Notes whether the body waits for the peer from now on.
    fn waits(&self, id: u64, waits: bool) {
        let mut state = lock(&self.state);
        let take_by = waits.then(|| Instant::now() + self.patience.stalled);
        if let Some(handed) = state.bodies.get_mut(&id) {
            handed.take_by = take_by;
        }
        if let Some(at) = take_by {
            self.due(&state, at);
        }
    }
}

/// A request whose answer has not ended.
#[derive(Debug)]
pub(super) struct Running {
    open: Arc<Open>,
    /// The number of its body, once there is one.
    body: Option<u64>,
}

impl Running {
    /// Watches how the answer is taken.
    pub(super) fn hand_on(mut self, body: Body) -> Watched {
        let body = Arc::new(Mutex::new(Some(body)));
        let mut state = lock(&self.open.state);
        let id = state.next;
        state.next = state.next.wrapping_add(1);
        let take_by = Instant::now() + self.open.patience.stalled;
        let handed = Handed { take_by: Some(take_by), is_cut: false, body: Arc::clone(&body) };
        state.bodies.insert(id, handed);
        self.open.due(&state, take_by);
        drop(state);
        self.body = Some(id);
        Watched { body, running: self }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = lock(&self.open.state);
        let handed = self.body.and_then(|id| state.bodies.remove(&id));
        if !handed.as_ref().is_some_and(|handed| handed.is_cut) {
            self.open.less(&mut state, Instant::now());
            if let Some(at) = state.ask_by {
                self.open.due(&state, at);
            }
        }
        drop(state);
        // The body may go with it, and what that causes needs no lock here.
        drop(handed);
    }
}

/// A body on its way to a peer.
#[derive(Debug)]
pub(super) struct Watched {
    body: Slot,
    running: Running,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = match lock(&self.body).as_mut() {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => {
                let reason = io::Error::new(io::ErrorKind::TimedOut, "the reader took nothing for too long");
                return Poll::Ready(Some(Err(axum::Error::new(reason))));
            }
        };
        if let Some(id) = self.running.body {
            self.running.open.waits(id, matches!(polled, Poll::Ready(Some(Ok(_)))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.body).as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.body).as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// A connection's bytes, with its places; an error where bytes wait and the peer takes none for too long.
#[derive(Debug)]
pub(super) struct Bytewise<I> {
    inner: I,
    stalled: Duration,
    /// When the peer must have taken something, while it does not.
    take_by: Option<Pin<Box<Sleep>>>,
    _places: (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit),
}

impl<I> Bytewise<I> {
    /// `inner`, which holds `places` as long as it is open.
    pub(super) const fn new(
        inner: I,
        stalled: Duration,
        places: (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit),
    ) -> Self {
        Self { inner, stalled, take_by: None, _places: places }
    }

    fn within_time<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.take_by = None;
            return polled;
        }
        let stalled = self.stalled;
        let take_by =
            self.take_by.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + stalled)));
        std::task::ready!(take_by.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer took nothing for too long")))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Bytewise<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Bytewise<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.within_time(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.within_time(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const PATIENCE: Patience = Patience {
        first_request: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        stalled: Duration::from_secs(30),
    };

    fn endless() -> Body {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(b"row")));
        Body::from_stream(chunks)
    }

    async fn until_given_up(open: &Open) -> (bool, u64) {
        let since = Instant::now();
        let has_asked = open.given_up().await;
        (has_asked, since.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_is_given_up() {
        let open = Open::new(PATIENCE, Instant::now());
        assert_eq!(until_given_up(&open).await, (false, 10));
        let open = Open::new(PATIENCE, Instant::now());
        drop(open.begin());
        assert_eq!(until_given_up(&open).await, (true, 60));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_cut_and_its_connection_given_up() {
        let open = Open::new(PATIENCE, Instant::now());
        let mut taken = open.begin().hand_on(endless());
        assert!(taken.frame().await.unwrap().is_ok());
        assert_eq!(until_given_up(&open).await, (true, 30 + 60));
        assert!(taken.frame().await.unwrap().is_err(), "it was cut");
        let _other = open.begin();
        drop(taken);
        assert_eq!(lock(&open.state).running, 1, "what was cut is not taken off twice");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_has_nothing_to_give_is_waited_for() {
        let open = Open::new(PATIENCE, Instant::now());
        let mut quiet = open
            .begin()
            .hand_on(Body::from_stream(futures_util::stream::pending::<Result<Bytes, io::Error>>()));
        assert!(tokio::time::timeout(Duration::ZERO, quiet.frame()).await.is_err());
        let hour = tokio::time::timeout(Duration::from_secs(3600), open.given_up()).await;
        assert!(hour.is_err(), "nothing waits for the reader");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_are_not_taken_are_an_error() {
        let (ours, _theirs) = tokio::io::duplex(8);
        let places = crate::shares::places(2);
        let place = || Arc::clone(&places).try_acquire_owned().unwrap();
        let mut bytes = Bytewise::new(ours, Duration::from_secs(30), (Some(place()), place()));
        let since = Instant::now();
        let written = tokio::io::AsyncWriteExt::write_all(&mut bytes, &[0; 9]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(since.elapsed().as_secs(), 30);
        drop(bytes);
        assert_eq!(places.available_permits(), 2);
    }
}
