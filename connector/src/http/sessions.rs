//! Who is looking at a page: a token in a cookie for whoever showed who they are, for half a day.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// How long a session lasts.
const LASTS: Duration = Duration::from_secs(12 * 3600);
/// Most sessions; the oldest make room.
const MOST: usize = 256;

/// Sessions of those who are a `T`, by the digest of their token.
#[derive(Debug)]
pub(crate) struct Sessions<T>(Mutex<HashMap<[u8; 32], (Instant, T)>>);

impl<T> Default for Sessions<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Sessions<T> {
    /// A new session's token, of `who`.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub(super) fn begin(&self, who: T) -> anyhow::Result<String> {
        let token = crate::ids::secret(32)?;
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, (begun, _)| begun.elapsed() < LASTS);
        if sessions.len() >= MOST
            && let Some(oldest) =
                sessions.iter().min_by_key(|(_, (begun, _))| *begun).map(|(digest, _)| *digest)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(Sha256::digest(&token).into(), (Instant::now(), who));
        drop(sessions);
        Ok(token)
    }

    /// Whose session a token is of. Digests are looked up, so that time tells nothing of tokens.
    pub(super) fn who(&self, token: &str) -> Option<T> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(&digest).filter(|(begun, _)| begun.elapsed() < LASTS).map(|(_, who)| who.clone())
    }

    /// A new token in the place of one that was seen by others, such as in an address; that one is good no more.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub(super) fn renew(&self, token: &str) -> anyhow::Result<Option<String>> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let Some(who) = self.who(token) else { return Ok(None) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        self.begin(who).map(Some)
    }

    /// Whose session the cookie `name` of a request is of.
    pub(super) fn of(&self, name: &str, headers: &HeaderMap) -> Option<T> {
        let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        self.who(pairs.find(|(one, _)| *one == name)?.1)
    }
}

/// Answers with a session: a cookie `name` for what lies at `path` and below, that no script sees and no other site sends.
pub(super) fn hand_over(response: &mut Response, name: &str, token: &str, path: &str) {
    let cookie = format!("{name}={token}; Path={path}; HttpOnly; SameSite=Strict");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// What came over TLS never goes in clear: every cookie says so. It lies over each listener with a certificate.
pub(super) async fn over_tls(mut response: Response) -> Response {
    if let header::Entry::Occupied(mut cookies) = response.headers_mut().entry(header::SET_COOKIE) {
        for cookie in cookies.iter_mut() {
            let secured = [cookie.as_bytes(), b"; Secure"].concat();
            if let Ok(secured) = HeaderValue::from_bytes(&secured) {
                *cookie = secured;
            }
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_and_there_are_not_too_many() {
        let sessions = Sessions::default();
        let first = sessions.begin("anna").unwrap();
        assert!(sessions.who(&first) == Some("anna") && sessions.who("guessed").is_none());
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..MOST {
            sessions.begin("ben").unwrap();
        }
        assert!(sessions.who(&first).is_none(), "the oldest made room");
        let last = sessions.begin("cleo").unwrap();
        tokio::time::advance(LASTS).await;
        assert!(sessions.who(&last).is_none());
    }
}
