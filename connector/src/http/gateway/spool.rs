//! Views for programs that ask for the length and then for parts (DuckDB and others do): a view is made once and kept in
//! memory for a minute, as long as it is small. Whoever reads a view from its beginning gets it as it is made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dataplane::{DataResponse, WantedRange, wanted_range};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::time::Instant;

use super::{Refused, Request};
use crate::http::management::Management;
use crate::reading::Unread;

/// Largest view that is kept, in bytes.
const LARGEST: usize = 32 * 1024 * 1024;
/// Most views that are kept.
const MOST: usize = 8;
/// For how long.
const KEPT: Duration = Duration::from_secs(60);

/// Views that were made.
#[derive(Debug, Default)]
pub(crate) struct Spool(Mutex<HashMap<String, (Instant, HeaderMap, Bytes)>>);

impl Spool {
    fn get(&self, key: &str) -> Option<(HeaderMap, Bytes)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get(key).filter(|(at, ..)| at.elapsed() < KEPT);
        found.map(|(_, headers, bytes)| (headers.clone(), bytes.clone()))
    }

    fn put(&self, key: String, headers: HeaderMap, bytes: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (at, ..)| at.elapsed() < KEPT);
        if kept.len() >= MOST
            && let Some(oldest) = kept.iter().min_by_key(|(_, (at, ..))| *at).map(|(key, _)| key.clone())
        {
            kept.remove(&oldest);
        }
        kept.insert(key, (Instant::now(), headers, bytes));
    }
}

/// As [`super::read`]; the length and parts of views come out of memory.
pub(super) async fn read(management: &Arc<Management>, request: Request) -> Result<DataResponse, Refused> {
    let head = request.wanted.method == Method::HEAD;
    let range = request.wanted.headers.get(header::RANGE).cloned();
    if request.view.is_none() || !(head || range.is_some()) {
        return super::read(management, request).await;
    }
    // What is kept is shown only while the transfer that it was read under runs.
    let engine = &management.faces.engine;
    let (_, transfer) = engine.transfer_for_use(&request.name).await.map_err(Unread::from)?;
    let asked = &request.wanted;
    let key = format!(
        "{transfer} {} {} {:?} {:?} {} {:?}",
        request.name, request.path, request.view, asked.query, request.as_text, request.limit
    );
    let condition = asked.headers.get(header::IF_RANGE).cloned();
    let (mut headers, bytes) = match management.spool.get(&key) {
        Some(found) => found,
        None => {
            let mut whole = request;
            whole.wanted.method = Method::GET;
            whole.wanted.headers = HeaderMap::new();
            let made = super::read(management, whole).await?;
            if made.status != StatusCode::OK {
                return Ok(made);
            }
            match Limited::new(made.body, LARGEST).collect().await {
                Ok(body) => {
                    let bytes = body.to_bytes();
                    management.spool.put(key, made.headers.clone(), bytes.clone());
                    (made.headers, bytes)
                }
                Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                    return Err(Refused::View(format!(
                        "this view is larger than {LARGEST} bytes, so that neither its length nor parts of it can be \
                         asked for; read it from its beginning"
                    )));
                }
                Err(error) => return Err(Refused::View(error.to_string())),
            }
        }
    };
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let etag = headers.get(header::ETAG).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut wanted = HeaderMap::new();
    wanted.extend(range.map(|range| (header::RANGE, range)));
    wanted.extend(condition.map(|condition| (header::IF_RANGE, condition)));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let part = wanted_range(&wanted, &etag, std::time::SystemTime::UNIX_EPOCH, length);
    let (status, bytes) = match part {
        WantedRange::Whole => (StatusCode::OK, bytes),
        WantedRange::Part(from, to) => {
            if let Ok(value) = HeaderValue::try_from(format!("bytes {from}-{to}/{length}")) {
                headers.insert(header::CONTENT_RANGE, value);
            }
            let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
            (StatusCode::PARTIAL_CONTENT, bytes.slice(at(from)..at(to.saturating_add(1))))
        }
        WantedRange::Unsatisfiable => {
            if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
                headers.insert(header::CONTENT_RANGE, value);
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new())
        }
    };
    headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    let body = if head { Bytes::new() } else { bytes };
    let body =
        Full::new(body).map_err(|impossible: std::convert::Infallible| match impossible {}).boxed_unsync();
    Ok(DataResponse { status, headers, body })
}
