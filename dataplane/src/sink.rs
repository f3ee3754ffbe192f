//! Where data is pushed to: an HTTPS address of the consumer, or an object of its store. One attempt each; whoever pushes
//! tries again, and everything is sent anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use object_store::WriteMultipart;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::StreamError;
use crate::requests::{Requests, Unsent};
use crate::source::{DataResponse, ObjectSource};

/// Bytes of a part of an object.
const PART: usize = 8 * 1024 * 1024;
/// Parts on their way at once.
const AT_ONCE: usize = 2;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// What permitted it does no more: there is no use in trying again.
    #[error("{0}")]
    Cut(String),
    /// The endpoint refuses for good: another attempt would be the same.
    #[error("the endpoint refuses: {0}")]
    Refused(StatusCode),
    /// It may go well another time.
    #[error("{0}")]
    Failed(String),
}

/// Where data goes.
#[derive(Debug)]
pub enum Sink {
    /// An HTTPS address, which takes the whole as the body of one request.
    Http {
        /// Reaches only what the operator allows.
        client: Arc<dyn Requests>,
        /// PUT or POST.
        method: Method,
        /// The address.
        url: url::Url,
        /// Credentials that the consumer gave for it.
        credentials: Option<(HeaderName, HeaderValue)>,
        /// The same for each attempt.
        idempotency_key: String,
    },
    /// An object, which is there once all of it is.
    Object(ObjectSource),
}

impl Sink {
    /// Sends all of `data`. An endpoint that takes nothing of what waits for it, or does not answer, for as long as `stalled`
    /// fails; a source that has nothing to give is waited for.
    ///
    /// # Errors
    /// See [`PushError`].
    pub async fn push(&self, data: DataResponse, stalled: Duration) -> Result<(), PushError> {
        match self {
            Self::Http { client, method, url, credentials, idempotency_key } => {
                let mut headers = HeaderMap::new();
                for name in
                    [http::header::CONTENT_TYPE, http::header::CONTENT_LENGTH, http::header::CONTENT_ENCODING]
                {
                    if let Some(value) = data.headers.get(&name) {
                        headers.insert(name, value.clone());
                    }
                }
                if let Ok(key) = HeaderValue::try_from(idempotency_key) {
                    headers.insert("idempotency-key", key);
                }
                if let Some((name, value)) = credentials {
                    headers.insert(name, value.clone());
                }
                // What cuts the body is lost on the way through the client; it is kept here.
                let cut = Arc::new(Mutex::new(None));
                let seen = Arc::clone(&cut);
                let (waits, waiting) = watch::channel(Some(Instant::now()));
                let mut data = data.body.into_data_stream();
                let chunks = stream::poll_fn(move |cx| {
                    let polled = data.poll_next_unpin(cx);
                    if let Poll::Ready(Some(Err(StreamError::Cut(reason)))) = &polled {
                        *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
                    }
                    waits.send_replace(polled.is_ready().then(Instant::now));
                    polled
                });
                let body = reqwest::Body::wrap_stream(chunks);
                let mut request = reqwest::Request::new(method.clone(), url.clone());
                *request.headers_mut() = headers;
                *request.body_mut() = Some(body);
                let sent = tokio::select! {
                    sent = client.send(request) => sent,
                    () = taken_no_more(waiting, stalled) => return Err(has_stalled(stalled)),
                };
                if let Some(reason) = cut.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    return Err(PushError::Cut(reason));
                }
                let status = match sent {
                    Ok(answer) => answer.status(),
                    Err(Unsent::Forbidden(reason)) => return Err(PushError::Failed(reason)),
                    Err(Unsent::Failed(error)) => {
                        return Err(PushError::Failed(error.without_url().to_string()));
                    }
                };
                let again = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
                match status {
                    status if status.is_success() => Ok(()),
                    status if status.is_client_error() && !again => Err(PushError::Refused(status)),
                    status => Err(PushError::Failed(format!("the endpoint answered {status}"))),
                }
            }
            Self::Object(object) => {
                let (store, path) = object.store();
                let failed =
                    |error: object_store::Error| PushError::Failed(format!("the object store: {error}"));
                let upload = store.put_multipart_opts(path, object_store::PutMultipartOptions::default());
                let upload = in_time(stalled, upload).await?.map_err(failed)?;
                let mut writer = WriteMultipart::new_with_chunk_size(upload, PART);
                let mut chunks = data.body.into_data_stream();
                while let Some(chunk) = chunks.next().await {
                    let bytes: Bytes = match chunk {
                        Ok(bytes) => bytes,
                        Err(error) => {
                            // Half an object is never seen; that it is cleaned up at once is a courtesy.
                            let _ = writer.abort().await;
                            return Err(match error {
                                StreamError::Cut(reason) => PushError::Cut(reason),
                                StreamError::Source(error) => PushError::Failed(error.to_string()),
                            });
                        }
                    };
                    in_time(stalled, writer.wait_for_capacity(AT_ONCE)).await?.map_err(failed)?;
                    writer.put(bytes);
                }
                in_time(stalled, writer.finish()).await?.map(|_| ()).map_err(failed)
            }
        }
    }
}

fn has_stalled(stalled: Duration) -> PushError {
    PushError::Failed(format!("the endpoint took nothing for {} s", stalled.as_secs()))
}

/// Ends when what waits for the endpoint has waited for as long as `stalled`; `waiting` says since when something does.
async fn taken_no_more(mut waiting: watch::Receiver<Option<Instant>>, stalled: Duration) {
    loop {
        let since = *waiting.borrow_and_update();
        let changed = match since {
            None => waiting.changed().await,
            Some(since) => match tokio::time::timeout_at(since + stalled, waiting.changed()).await {
                Ok(changed) => changed,
                Err(_) => return,
            },
        };
        if changed.is_err() {
            // All of it is taken: what remains is the answer.
            tokio::time::sleep_until(Instant::now() + stalled).await;
            return;
        }
    }
}

/// A step of an upload, which may take as long as `stalled`.
async fn in_time<T>(stalled: Duration, step: impl Future<Output = T>) -> Result<T, PushError> {
    tokio::time::timeout(stalled, step).await.map_err(|_| has_stalled(stalled))
}
