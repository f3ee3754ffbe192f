//! The newest events of one connection, for all who follow it: so many, and so many bytes, at most.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Event;

/// Events that wait for a slow reader; older ones are lost to it.
pub const WAITING: usize = 1024;
/// Bytes of events that wait for a slow reader, but for a single larger one.
pub const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// Where events come in, for all who follow. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Ring(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    kept: Mutex<Kept>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    bytes: usize,
    /// The number of the first one of them.
    first: u64,
}

impl Kept {
    fn next(&self) -> u64 {
        self.first + u64::try_from(self.events.len()).unwrap_or(u64::MAX)
    }
}

fn weight(event: &Event) -> usize {
    match event {
        Event::Data { id, payload } => payload.len() + id.as_ref().map_or(0, String::len),
        Event::Lost { .. } => 0,
    }
}

impl Ring {
    /// Hands an event to all who follow now.
    pub fn send(&self, event: Event) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += weight(&event);
        kept.events.push_back(event);
        while kept.events.len() > WAITING || kept.bytes > WAITING_BYTES && kept.events.len() > 1 {
            if let Some(oldest) = kept.events.pop_front() {
                kept.bytes -= weight(&oldest);
                kept.first += 1;
            }
        }
        drop(kept);
        self.0.more.notify_waiters();
    }

    /// Follows what comes from now on.
    #[must_use]
    pub fn follow(&self) -> Follower {
        let next = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).next();
        Follower { ring: self.clone(), next }
    }
}

/// One that follows, at its own pace.
#[derive(Debug)]
pub struct Follower {
    ring: Ring,
    next: u64,
}

impl Follower {
    /// The next event; where some were lost to this follower, how many.
    pub async fn next(&mut self) -> Event {
        let shared = Arc::clone(&self.ring.0);
        loop {
            // Before it is looked: what comes after that is not missed.
            let more = shared.more.notified();
            if let Some(event) = self.take(&shared) {
                return event;
            }
            more.await;
        }
    }

    fn take(&mut self, shared: &Shared) -> Option<Event> {
        let kept = shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = kept.first.checked_sub(self.next).filter(|count| *count > 0) {
            self.next = kept.first;
            return Some(Event::Lost { count: Some(count) });
        }
        let event = kept.events.get(usize::try_from(self.next - kept.first).ok()?)?.clone();
        self.next += 1;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::MAX_EVENT;
    use super::*;

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes_too() {
        let ring = Ring::default();
        let mut slow = ring.follow();
        let payload = Bytes::from(vec![b'x'; MAX_EVENT]);
        let most = WAITING_BYTES / MAX_EVENT;
        for _ in 0..100 {
            ring.send(Event::Data { id: None, payload: payload.clone() });
        }
        assert!(ring.0.kept.lock().unwrap().bytes <= WAITING_BYTES);
        assert_eq!(slow.next().await, Event::Lost { count: Some(100 - most as u64) });
        for _ in 0..most {
            assert!(matches!(slow.next().await, Event::Data { .. }));
        }
        let mut late = ring.follow();
        ring.send(Event::Lost { count: None });
        assert_eq!(late.next().await, Event::Lost { count: None }, "only what comes after it");
        assert_eq!(slow.next().await, Event::Lost { count: None });
    }
}
