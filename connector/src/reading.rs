//! The consumer's side of the data plane: data is read from the provider and handed on as it comes. What breaks off on the
//! way is taken up again where it stopped; what is cut ends at once, with the reason.

mod counting;
mod events;
mod measuring;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataplane::Signal;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use protocol::Role;
use protocol::transfer::{State, Transfer};
use tokio::sync::watch;

use self::counting::Counting;
pub use self::events::follow;
use self::measuring::Measuring;
pub use self::measuring::READ;
use crate::config::PeerProfile;
use crate::engine::{Engine, EngineError};
use crate::network::{self, bounded_body, describe};

/// Handed to the provider. Data comes as it is, so that what breaks off is taken up where it stopped; it is packed for the
/// local caller.
const ASKED: [HeaderName; 8] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::ACCEPT,
    header::CONTENT_TYPE,
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("request-ticket"),
];
/// Handed to the local caller.
const ANSWERED: [HeaderName; 10] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_ENCODING,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
    header::CACHE_CONTROL,
    dataplane::APPLIED,
    dataplane::REPR_DIGEST,
];
/// Longest time until the provider answers, or sends the next bytes.
const SILENCE: Duration = Duration::from_secs(60);
/// Largest error body of the provider.
const MAX_ERROR: usize = 64 * 1024;
/// How long a stream that broke off waits for the provider's reason.
const REASON: Duration = Duration::from_secs(3);
/// How often a stream that breaks off is taken up again without a byte in between, and how long it waits before.
const ATTEMPTS: u32 = 8;

/// How a token that does not count is answered.
const REFUSING: [StatusCode; 2] = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
/// How long a start that a provider owes is waited for.
const RENEWED_WITHIN: Duration = Duration::from_secs(10);

/// What is read.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// GET, HEAD or POST.
    pub method: Method,
    /// What below the data's address; percent-encoded as it was sent, without a leading slash.
    pub path: String,
    /// Parameters for the provider.
    pub query: Vec<(String, String)>,
    /// Those that mean something for data go to the provider.
    pub headers: HeaderMap,
    /// Of a POST.
    pub body: Bytes,
    /// Only to see whether a read would go.
    pub is_probe: bool,
}

/// What the provider gives.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Headers about the data.
    pub headers: HeaderMap,
    /// The data, guarded.
    pub body: Chunks,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Data as it comes.
pub type Chunks = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// Why nothing is read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// A fault of this node, or no such transfer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The transfer does not run.
    #[error("{0}")]
    Conflict(String),
    /// The provider refused, or could not answer.
    #[error("the provider {} ({status}): {reason}", if status.is_server_error() { "did not give the data" } else { "refused" })]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its reason.
        reason: String,
        /// When it may be asked again.
        retry_after: Option<HeaderValue>,
    },
}

/// Reads the data of a started transfer.
///
/// # Errors
/// See [`Unread`].
pub async fn read(engine: &Arc<Engine>, transfer: &str, wanted: Wanted) -> Result<Answer, Unread> {
    // An address would lose such steps silently, and name something else.
    if wanted.path.split('/').any(|step| step == "." || step == "..") {
        let reason = format!("there is nothing at `{}`", wanted.path);
        return Err(Unread::Refused { status: StatusCode::NOT_FOUND, reason, retry_after: None });
    }
    let cut = engine.streams().watch(transfer);
    let agreement = engine.transfer(transfer)?.transfer.agreement.to_string();
    let mut measuring = Measuring::of(engine, &agreement, &wanted);
    let name = measuring.as_ref().map(|measuring| measuring.id.clone());
    let answer = match ask(engine, transfer, &wanted, name.as_deref()).await {
        Ok(answer) => answer,
        Err(unread) => {
            if let Some(measuring) = &mut measuring {
                measuring.failed(&unread);
            }
            return Err(unread);
        }
    };
    let status = answer.status();
    if let Some(measuring) = &mut measuring {
        measuring.answered(status, answer.headers());
    }
    let mut headers = HeaderMap::new();
    for name in ANSWERED {
        if let Some(value) = answer.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let reader = Reader {
        again: Again::of(&wanted, status, &headers),
        chunks: Box::pin(answer.bytes_stream()),
        cut,
        engine: Arc::clone(engine),
        transfer: transfer.to_owned(),
        measuring,
        counting: Counting::of(engine, &agreement, &wanted, status),
    };
    let body = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await? {
            Ok(chunk) => Some((Ok(chunk), Some(reader))),
            Err(reason) => {
                tracing::info!(transfer = reader.transfer, reason, "a stream that this node reads was cut");
                Some((Err(std::io::Error::other(reason)), None))
            }
        }
    });
    // Whoever packs it asks once more at its end.
    Ok(Answer { status, headers, body: Box::pin(body.fuse()) })
}

/// The transfer with the address and the token of its newest start.
fn started(engine: &Engine, id: &str) -> Result<(Transfer, String, String), Unread> {
    let transfer = engine.transfer(id)?.transfer;
    if transfer.role != Role::Consumer {
        return Err(Unread::Conflict(
            "this node provides the data of that transfer; its consumer reads it".to_owned(),
        ));
    }
    if transfer.progress.state != Some(State::Started) || !transfer.is_open() {
        let problem = transfer.progress.problem.clone().unwrap_or_default();
        let state = transfer.progress.state.map_or_else(|| "INITIAL".to_owned(), |state| state.to_string());
        let text = format!("the transfer does not run now ({state}) {problem}");
        return Err(Unread::Conflict(text.trim_end().to_owned()));
    }
    if transfer.format == catalog::HTTP_PUSH {
        let text = "the data of that transfer is pushed to where it was asked for; nothing is read here";
        return Err(Unread::Conflict(text.to_owned()));
    }
    let found = transfer.data_address.as_ref().and_then(|address| {
        Some((address.address()?.to_owned(), address.property("authorization")?.to_owned()))
    });
    let Some((endpoint, token)) = found else {
        return Err(Unread::Conflict(
            "the provider's start message names no endpoint with a token".to_owned(),
        ));
    };
    Ok((transfer, endpoint, token))
}

/// How the token of a data address is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenForm {
    Bare,
    Bearer,
}

/// Asks the provider; where it answers a resumption with a start of its own, as Eclipse EDC does, and refuses the token from
/// before, once more with the token of that start.
async fn ask(
    engine: &Engine,
    id: &str,
    wanted: &Wanted,
    name: Option<&str>,
) -> Result<reqwest::Response, Unread> {
    let mut commits = engine.commits();
    let (before, ..) = started(engine, id)?;
    let first = ask_once(engine, id, wanted, name).await;
    let refused = matches!(&first, Err(Unread::Refused { status, .. }) if REFUSING.contains(status));
    let is_edc = engine.rules().profile(before.peer.as_str()) == PeerProfile::Edc;
    if !(refused && is_edc && before.awaits_start) {
        return first;
    }
    let renewed = async {
        while engine.transfer(id).is_ok_and(|record| record.transfer.generation == before.generation) {
            commits.changed().await.ok()?;
        }
        Some(())
    };
    match tokio::time::timeout(RENEWED_WITHIN, renewed).await {
        Ok(Some(())) => ask_once(engine, id, wanted, name).await,
        Ok(None) | Err(_) => first,
    }
}

/// Asks the provider once, or twice where it does not take the token in its first form; an answer that is no data is an error.
async fn ask_once(
    engine: &Engine,
    id: &str,
    wanted: &Wanted,
    name: Option<&str>,
) -> Result<reqwest::Response, Unread> {
    let (transfer, endpoint, token) = started(engine, id)?;
    let mut url =
        engine.guard().check_url(&endpoint).map_err(|problem| Unread::Conflict(problem.to_string()))?;
    if !wanted.path.is_empty() {
        url = dataplane::extended(&url, &wanted.path).map_err(|error| {
            let refusal = protocol::Refusal::new(protocol::RefusalKind::NotFound, error.to_string());
            EngineError::Refused(refusal)
        })?;
    }
    if !wanted.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&wanted.query);
    }
    let request = |form: TokenForm| {
        let authorization = match form {
            TokenForm::Bearer => format!("Bearer {token}"),
            TokenForm::Bare => token.clone(),
        };
        let mut request = engine.client().request(wanted.method.clone(), url.clone());
        request = request.header(header::AUTHORIZATION, authorization);
        for name in ASKED.iter().chain([&dataplane::WANT_REPR_DIGEST]) {
            if let Some(value) = wanted.headers.get(name) {
                request = request.header(name, value.clone());
            }
        }
        if let Some(name) = name {
            request = request.header(READ, name);
        }
        if wanted.method == Method::POST {
            request = request.body(wanted.body.clone());
        }
        request
    };
    // What changes something is for the reader to ask again.
    let send = async |form: TokenForm| {
        let sent = async {
            match wanted.method {
                Method::GET | Method::HEAD => network::send_again(|| request(form)).await,
                _ => request(form).send().await,
            }
        };
        match tokio::time::timeout(SILENCE, sent).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(problem)) => Err(EngineError::Peer(format!("{endpoint}: {}", describe(&problem)))),
            Err(_) => Err(EngineError::Peer(format!("{endpoint}: no answer within {} s", SILENCE.as_secs()))),
        }
    };
    let (usual, other) = match engine.rules().wants_bare_tokens(url.origin().ascii_serialization().as_str()) {
        true => (TokenForm::Bare, TokenForm::Bearer),
        false => (TokenForm::Bearer, TokenForm::Bare),
    };
    let mut answer = send(usual).await?;
    let is_edc = engine.rules().profile(transfer.peer.as_str()) == PeerProfile::Edc;
    if is_edc && REFUSING.contains(&answer.status()) {
        // The data plane of Eclipse EDC says that the token is a bearer's, and takes it bare.
        let again = send(other).await?;
        if !again.status().is_client_error() {
            engine.rules().note_tokens(url.origin().ascii_serialization(), other == TokenForm::Bare);
            answer = again;
        }
    }
    let status = answer.status();
    if status.is_success() || [StatusCode::NOT_MODIFIED, StatusCode::RANGE_NOT_SATISFIABLE].contains(&status)
    {
        return Ok(answer);
    }
    let retry_after = answer.headers().get(header::RETRY_AFTER).cloned();
    let body = bounded_body(answer, MAX_ERROR).await.unwrap_or_default();
    let said = network::answer_text(status, &body);
    let reason = if said.is_empty() { "no reason given".to_owned() } else { said };
    Err(Unread::Refused { status, reason, retry_after })
}

/// How what breaks off is taken up again: only what has a length and a strong validator can be.
#[derive(Debug)]
struct Again {
    wanted: Wanted,
    etag: HeaderValue,
    /// The next byte of the whole, and the first that is not wanted any more.
    next: u64,
    end: u64,
    attempt: u32,
}

impl Again {
    fn of(wanted: &Wanted, status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let etag = headers.get(header::ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/"))?;
        let length: u64 = text(header::CONTENT_LENGTH)?.parse().ok()?;
        let next = match status {
            StatusCode::OK if text(header::ACCEPT_RANGES) == Some("bytes") => 0,
            StatusCode::PARTIAL_CONTENT => {
                text(header::CONTENT_RANGE)?.strip_prefix("bytes ")?.split('-').next()?.parse().ok()?
            }
            _ => return None,
        };
        if wanted.method != Method::GET || headers.contains_key(header::CONTENT_ENCODING) {
            return None;
        }
        let end = length.checked_add(next)?;
        Some(Self { wanted: wanted.clone(), etag: etag.clone(), next, end, attempt: 0 })
    }

    /// The request for what is left.
    fn wanted(&self) -> Wanted {
        let mut wanted = self.wanted.clone();
        if let Ok(range) = HeaderValue::try_from(format!("bytes={}-{}", self.next, self.end - 1)) {
            wanted.headers.insert(header::RANGE, range);
        }
        wanted.headers.remove(header::IF_NONE_MATCH);
        wanted.headers.remove(header::IF_MODIFIED_SINCE);
        wanted.headers.insert(header::IF_RANGE, self.etag.clone());
        wanted
    }
}

struct Reader {
    chunks: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    cut: watch::Receiver<Signal>,
    again: Option<Again>,
    engine: Arc<Engine>,
    transfer: String,
    measuring: Option<Measuring>,
    counting: Option<Counting>,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            let broken = tokio::select! {
                biased;
                reason = was_cut(&mut self.cut) => {
                    if let Some(measuring) = &mut self.measuring {
                        measuring.was_ended();
                    }
                    return Some(Err(reason));
                }
                next = tokio::time::timeout(SILENCE, self.chunks.next()) => match next {
                    Ok(None) => match &self.again {
                        Some(again) if again.next < again.end => "the provider hung up".to_owned(),
                        _ => return None,
                    },
                    Ok(Some(Ok(chunk))) => {
                        if let Some(measuring) = &mut self.measuring {
                            measuring.came(chunk.len());
                        }
                        if let Some(counting) = &mut self.counting {
                            counting.came(chunk.len());
                        }
                        if let Some(again) = &mut self.again {
                            again.next += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                            again.attempt = 0;
                        }
                        return Some(Ok(chunk));
                    }
                    Ok(Some(Err(problem))) => describe(&problem),
                    Err(_) => format!("the provider sent nothing for {} s", SILENCE.as_secs()),
                },
            };
            // The provider's message with the reason is on its way, or the provider is gone for a while.
            if let Err(reason) = self.take_up(broken).await {
                if let Some(measuring) = &mut self.measuring {
                    measuring.broke();
                }
                // Its provider takes back a read of which no byte came.
                if let Some(counting) = self.counting.take_if(|counting| counting.is_empty()) {
                    counting.forget();
                }
                return Some(Err(reason));
            }
        }
    }

    /// Goes on where it broke off.
    async fn take_up(&mut self, broken: String) -> Result<(), String> {
        let Some(again) = &mut self.again else {
            let told = tokio::time::timeout(REASON, was_cut(&mut self.cut)).await;
            return Err(told.unwrap_or(broken));
        };
        loop {
            if again.attempt >= ATTEMPTS {
                return Err(broken);
            }
            let pause = Duration::from_millis(100).saturating_mul(1 << again.attempt.min(6));
            again.attempt += 1;
            if let Ok(reason) = tokio::time::timeout(pause, was_cut(&mut self.cut)).await {
                return Err(reason);
            }
            match ask(&self.engine, &self.transfer, &again.wanted(), None).await {
                Ok(answer) if answer.status() == StatusCode::PARTIAL_CONTENT => {
                    tracing::info!(transfer = self.transfer, at = again.next, "a stream was taken up again");
                    self.chunks = Box::pin(answer.bytes_stream());
                    return Ok(());
                }
                Ok(_) => return Err("the data changed while it was read; read it anew".to_owned()),
                Err(Unread::Engine(EngineError::Peer(_))) => {}
                Err(Unread::Refused { status, .. }) if status.is_server_error() => {}
                Err(other) => return Err(other.to_string()),
            }
        }
    }
}

async fn was_cut(cut: &mut watch::Receiver<Signal>) -> String {
    loop {
        if let Signal::Cut(reason) = cut.borrow_and_update().clone() {
            return reason;
        }
        if cut.changed().await.is_err() {
            // A switch without a sender was replaced by a later one; what it guarded goes on.
            std::future::pending::<()>().await;
        }
    }
}
