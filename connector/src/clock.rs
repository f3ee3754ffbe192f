//! The only place that reads the time.

use jiff::Timestamp;

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl dataplane::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        now()
    }
}

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}
