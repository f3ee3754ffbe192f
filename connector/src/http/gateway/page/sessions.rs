//! Who is looking at the page: a token in a cookie for whoever showed a key, for half a day.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// How long a session lasts.
const LASTS: Duration = Duration::from_secs(12 * 3600);
/// Most sessions; the oldest make room.
const MOST: usize = 256;

/// Sessions, by the digest of their token.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<[u8; 32], Instant>>);

impl Sessions {
    /// A new session's token.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub(super) fn begin(&self) -> anyhow::Result<String> {
        let token = crate::ids::secret(32)?;
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, begun| begun.elapsed() < LASTS);
        if sessions.len() >= MOST
            && let Some(oldest) = sessions.iter().min_by_key(|(_, begun)| **begun).map(|(digest, _)| *digest)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(Sha256::digest(&token).into(), Instant::now());
        drop(sessions);
        Ok(token)
    }

    /// Whether the token is that of a session. Digests are looked up, so that time tells nothing of tokens.
    pub(super) fn knows(&self, token: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(&digest).is_some_and(|begun| begun.elapsed() < LASTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_and_there_are_not_too_many() {
        let sessions = Sessions::default();
        let first = sessions.begin().unwrap();
        assert!(sessions.knows(&first) && !sessions.knows("guessed"));
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..MOST {
            sessions.begin().unwrap();
        }
        assert!(!sessions.knows(&first), "the oldest made room");
        let last = sessions.begin().unwrap();
        tokio::time::advance(LASTS).await;
        assert!(!sessions.knows(&last));
    }
}
