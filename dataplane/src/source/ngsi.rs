//! A context broker that speaks NGSI-LD (ETSI GS CIM 009): entities, their history, and changes as live data.
//!
//! Entities are read page by page and handed on as one array. For live data a subscription of this node's own asks the
//! broker to notify it; it is renewed while somebody follows, and runs out by itself. Notifications carry no position:
//! they come at most once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{ACCEPT, CONTENT_TYPE, LINK};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

use super::{DataRequest, DataResponse, Opening, Source, Subscribing, nothing, refused, streamed};
use crate::error::{SourceError, StreamError};
use crate::live::{Event, Hubs, MAX_EVENT, Ring, back_off};

/// Entities asked for at once.
const PAGE: usize = 200;
/// Largest page, in bytes.
const MAX_PAGE: usize = 16 * 1024 * 1024;
/// How long a subscription holds unless it is renewed.
const HOLDS: SignedDuration = SignedDuration::from_mins(10);
/// When it is renewed.
const RENEW: Duration = Duration::from_secs(300);

/// What is asked of the broker.
#[derive(Debug, Clone)]
pub struct NgsiQuery {
    /// The broker's address, to which `/ngsi-ld/v1/…` is added.
    pub broker: url::Url,
    /// Type of the entities, short or an IRI.
    pub entity_type: String,
    /// `q`: which of them.
    pub q: Option<String>,
    /// Attributes that are asked for; all where there are none.
    pub attributes: Vec<String>,
    /// Address of the JSON-LD context, for short names.
    pub context: Option<String>,
    /// NGSILD-Tenant.
    pub tenant: Option<String>,
    /// Whether the history is read (`/temporal/entities`).
    pub temporal: bool,
    /// Parameters that readers may add, for example `timerel` and `timeAt`.
    pub parameters: Vec<String>,
    /// Where the broker reaches this node's notifications; no trailing slash.
    pub notify_at: String,
}

impl NgsiQuery {
    /// Whether the source itself says what the parameter `name` is: by a member of its own, or in the broker's address.
    fn fixes(&self, name: &str) -> bool {
        // Each of these says which attributes are told.
        let selecting = ["attrs", "pick", "omit"];
        let in_address =
            |name: &str| self.broker.query_pairs().any(|(fixed, _)| fixed.eq_ignore_ascii_case(name));
        match name {
            "type" | "limit" | "offset" => true,
            "q" => self.q.is_some() || in_address(name),
            name if selecting.contains(&name) => {
                !self.attributes.is_empty() || selecting.into_iter().any(in_address)
            }
            name => in_address(name),
        }
    }
}

/// Entities of a broker.
#[derive(Debug)]
pub struct NgsiSource {
    client: reqwest::Client,
    query: NgsiQuery,
    credentials: Option<(HeaderName, HeaderValue)>,
    hubs: Hubs,
    notifications: Notifications,
}

impl NgsiSource {
    /// What `query` asks for, with credentials of this node's own.
    #[must_use]
    pub fn new(
        client: reqwest::Client,
        query: NgsiQuery,
        credentials: Option<(HeaderName, HeaderValue)>,
        hubs: Hubs,
        notifications: Notifications,
    ) -> Self {
        let credentials = credentials.map(|(name, mut value)| {
            value.set_sensitive(true);
            (name, value)
        });
        Self { client, query, credentials, hubs, notifications }
    }

    fn broker(&self) -> Broker {
        Broker {
            client: self.client.clone(),
            query: self.query.clone(),
            credentials: self.credentials.clone(),
        }
    }
}

/// The broker, as it is asked.
#[derive(Debug, Clone)]
struct Broker {
    client: reqwest::Client,
    query: NgsiQuery,
    credentials: Option<(HeaderName, HeaderValue)>,
}

impl Broker {
    fn url(&self, path: &[&str]) -> Result<url::Url, SourceError> {
        let mut url = self.query.broker.clone();
        url.path_segments_mut()
            .map_err(|()| SourceError::Address("the broker's address has no path to go on from".to_owned()))?
            .pop_if_empty()
            .extend(["ngsi-ld", "v1"].iter().chain(path));
        Ok(url)
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = &self.credentials {
            headers.insert(name, value.clone());
        }
        if let Some(Ok(tenant)) = self.query.tenant.as_ref().map(HeaderValue::try_from) {
            headers.insert("ngsild-tenant", tenant);
        }
        if let Some(context) = &self.query.context {
            let link = format!(
                "<{context}>; rel=\"http://www.w3.org/ns/json-ld#context\"; type=\"application/ld+json\""
            );
            if let Ok(link) = HeaderValue::try_from(link) {
                headers.insert(LINK, link);
            }
        }
        headers
    }

    /// The entities from `offset` on, without the brackets of their array, and whether there may be more.
    async fn page(&self, offset: usize, asked: &[(String, String)]) -> Result<(Bytes, bool), SourceError> {
        let mut url =
            self.url(if self.query.temporal { &["temporal", "entities"] } else { &["entities"] })?;
        {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("type", &self.query.entity_type);
            if let Some(q) = &self.query.q {
                pairs.append_pair("q", q);
            }
            if !self.query.attributes.is_empty() {
                pairs.append_pair("attrs", &self.query.attributes.join(","));
            }
            pairs.extend_pairs(asked);
            pairs.append_pair("limit", &PAGE.to_string()).append_pair("offset", &offset.to_string());
        }
        let sent =
            self.client.get(url).headers(self.headers()).header(ACCEPT, "application/json").send().await;
        let answer = sent.map_err(|error| SourceError::Unreachable(error.without_url()))?;
        if !answer.status().is_success() {
            let what =
                asked.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
            return Err(refused(answer.status(), answer.headers(), !asked.is_empty(), what));
        }
        let body = bounded(answer).await?;
        let text = body.trim_ascii();
        let inner = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).map(<[u8]>::trim_ascii);
        let Some(inner) = inner else {
            return Err(SourceError::Failed("the broker's answer is not an array of entities".to_owned()));
        };
        let count = serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(&body).map(|all| all.len());
        let count = count
            .map_err(|error| SourceError::Failed(format!("the broker's answer is not JSON: {error}")))?;
        Ok((Bytes::copy_from_slice(inner), count >= PAGE))
    }

    /// Makes a subscription, or lets it hold longer; its address.
    async fn subscribe(&self, known: Option<url::Url>, endpoint: &str) -> Result<url::Url, SourceError> {
        let until = Timestamp::from_second(now_second() + HOLDS.as_secs()).unwrap_or(Timestamp::MAX);
        let mut headers = self.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let unreachable = |error: reqwest::Error| SourceError::Unreachable(error.without_url());
        if let Some(url) = known {
            let patch = json!({"expiresAt": until.to_string()});
            let sent = self.client.patch(url.clone()).headers(headers.clone()).json(&patch).send().await;
            let status = sent.map_err(unreachable)?.status();
            if status.is_success() {
                return Ok(url);
            }
            if status != StatusCode::NOT_FOUND {
                return Err(SourceError::Upstream(status));
            }
        }
        let mut subscription = json!({
            "type": "Subscription", "description": "concordat: live data under agreements",
            "entities": [{"type": self.query.entity_type}], "expiresAt": until.to_string(),
            "notification": {"endpoint": {"uri": endpoint, "accept": "application/json"}},
        });
        if let Json::Object(map) = &mut subscription {
            if let Some(q) = &self.query.q {
                map.insert("q".to_owned(), json!(q));
            }
            if !self.query.attributes.is_empty() {
                map.insert("watchedAttributes".to_owned(), json!(self.query.attributes));
                if let Some(notification) = map.get_mut("notification").and_then(Json::as_object_mut) {
                    notification.insert("attributes".to_owned(), json!(self.query.attributes));
                }
            }
        }
        let url = self.url(&["subscriptions"])?;
        let sent = self.client.post(url.clone()).headers(headers).json(&subscription).send().await;
        let answer = sent.map_err(unreachable)?;
        if answer.status() != StatusCode::CREATED {
            return Err(SourceError::Upstream(answer.status()));
        }
        let location = answer.headers().get(http::header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.and_then(|location| url.join(location).ok());
        // The credentials go to the broker alone.
        match location {
            Some(location) if location.origin() == url.origin() => Ok(location),
            _ => Err(SourceError::Failed("the broker does not say where the subscription is".to_owned())),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a subscription's end is told by the clock of the wall")]
fn now_second() -> i64 {
    Timestamp::now().as_second()
}

async fn bounded(answer: reqwest::Response) -> Result<Bytes, SourceError> {
    let mut body = Vec::new();
    let mut chunks = answer.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| SourceError::Unreachable(error.without_url()))?;
        if body.len() + chunk.len() > MAX_PAGE {
            return Err(SourceError::Failed(format!("a page of entities is larger than {MAX_PAGE} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// What is left to read.
struct Pages {
    broker: Broker,
    asked: Vec<(String, String)>,
    ready: VecDeque<Bytes>,
    offset: usize,
    more: bool,
    any: bool,
    done: bool,
}

impl Pages {
    fn take(&mut self, (page, more): (Bytes, bool)) {
        if !page.is_empty() {
            if self.any {
                self.ready.push_back(Bytes::from_static(b","));
            }
            self.any = true;
            self.ready.push_back(page);
        }
        self.offset += PAGE;
        self.more = more;
        if !more && !self.done {
            self.done = true;
            self.ready.push_back(Bytes::from_static(b"]"));
        }
    }

    async fn next(&mut self) -> Option<Result<Bytes, StreamError>> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(Ok(ready));
            }
            if !self.more {
                return None;
            }
            match self.broker.page(self.offset, &self.asked).await {
                Ok(page) => self.take(page),
                Err(error) => {
                    self.more = false;
                    return Some(Err(StreamError::Source(Box::new(error))));
                }
            }
        }
    }
}

impl Source for NgsiSource {
    fn open(&self, request: DataRequest) -> Opening<'_> {
        Box::pin(async move {
            request.expect_read()?;
            if !request.path.is_empty() {
                return Err(SourceError::NotFound(request.path));
            }
            let known: Vec<_> = self.query.parameters.iter().map(String::as_str).collect();
            request.expect_query(&known)?;
            // Brokers differ in which of two values counts: what this source asks for itself stays the only one.
            if let Some((name, _)) = request.query.iter().find(|(name, _)| self.query.fixes(name)) {
                return Err(SourceError::Asked(format!("the parameter `{name}` is fixed by the provider")));
            }
            let broker = self.broker();
            // The first page tells whether there is anything to hand on.
            let first = broker.page(0, &request.query).await?;
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if request.method == http::Method::HEAD {
                return Ok(DataResponse { status: StatusCode::OK, headers, body: nothing() });
            }
            let mut pages = Pages {
                broker,
                asked: request.query,
                ready: VecDeque::from([Bytes::from_static(b"[")]),
                offset: 0,
                more: true,
                any: false,
                done: false,
            };
            pages.take(first);
            let chunks = stream::unfold(pages, |mut pages| async move { Some((pages.next().await?, pages)) });
            Ok(DataResponse { status: StatusCode::OK, headers, body: streamed(chunks) })
        })
    }

    fn is_live(&self) -> bool {
        !self.query.temporal
    }

    fn subscribe(&self, _after: Option<String>) -> Subscribing<'_> {
        Box::pin(async move {
            if self.query.temporal {
                return Err(SourceError::NotLive);
            }
            let query = &self.query;
            let key = format!(
                "ngsi-ld {} {:?} {} {:?} {:?}",
                query.broker, query.tenant, query.entity_type, query.q, query.attributes
            );
            let (broker, notifications) = (self.broker(), self.notifications.clone());
            Ok(self.hubs.follow(&key, move |events| stay_subscribed(broker, notifications, events)))
        })
    }
}

async fn stay_subscribed(broker: Broker, notifications: Notifications, events: Ring) {
    let awaited = notifications.expect(events.clone());
    let endpoint = format!("{}/{}", broker.query.notify_at, awaited.secret);
    let mut known = None;
    let mut attempt = 0;
    loop {
        match broker.subscribe(known.clone(), &endpoint).await {
            Ok(url) => {
                let anew =
                    known.as_ref().is_some_and(|known| *known != url) || (known.is_none() && attempt > 0);
                if anew {
                    // Nobody needs to hear it where there is no follower any more.
                    events.send(Event::Lost { count: None });
                }
                known = Some(url);
                attempt = 0;
                tokio::time::sleep_until(tokio::time::Instant::now() + RENEW).await;
            }
            Err(error) => {
                tracing::warn!(error = %error, "the context broker takes no subscription; it is tried again");
                attempt += 1;
                back_off(attempt).await;
            }
        }
    }
}

/// The notifications that are awaited, by the secret in their address.
#[derive(Debug, Clone, Default)]
pub struct Notifications(Arc<Mutex<HashMap<String, Ring>>>);

/// Ends the wait when it is dropped.
struct Awaited {
    secret: String,
    notifications: Notifications,
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.notifications.all().remove(&self.secret);
    }
}

impl Notifications {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Ring>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, events: Ring) -> Awaited {
        let secret = super::fresh_name();
        self.all().insert(secret.clone(), events);
        Awaited { secret, notifications: self.clone() }
    }

    /// Whether the address with `secret` is awaited.
    #[must_use]
    pub fn awaits(&self, secret: &str) -> bool {
        self.all().contains_key(secret)
    }

    /// Takes what the broker posted to the address with `secret`; false where nobody awaits it. Each changed entity is an
    /// event.
    ///
    /// # Errors
    /// It is no notification.
    pub fn take(&self, secret: &str, body: &[u8]) -> Result<bool, SourceError> {
        let Some(events) = self.all().get(secret).cloned() else { return Ok(false) };
        let wrong = |what: String| SourceError::Asked(format!("this is no notification of NGSI-LD: {what}"));
        let notification: Json = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
        let Some(Json::Array(data)) = notification.get("data") else {
            return Err(wrong("it has no data".to_owned()));
        };
        for entity in data {
            let payload = serde_json::to_vec(entity).map_err(|error| wrong(error.to_string()))?;
            let event = if payload.len() > MAX_EVENT {
                Event::Lost { count: Some(1) }
            } else {
                Event::Data { id: None, payload: payload.into() }
            };
            // Without a follower the subscription is about to end.
            events.send(event);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(broker: &str, q: Option<&str>, attributes: &[&str]) -> NgsiSource {
        // Another test may have done so already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listed = ["q", "attrs", "pick", "omit", "type", "limit", "offset", "timerel"];
        let query = NgsiQuery {
            broker: broker.parse().unwrap(),
            entity_type: "Station".to_owned(),
            q: q.map(str::to_owned),
            attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
            context: None,
            tenant: None,
            temporal: false,
            parameters: listed.map(str::to_owned).to_vec(),
            notify_at: String::new(),
        };
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        NgsiSource::new(client, query, None, Hubs::default(), Notifications::default())
    }

    #[tokio::test]
    async fn what_the_source_asks_for_stays_the_only_one_of_its_name_wherever_it_is_written() {
        // Nobody listens there: what is refused is refused before.
        let broker = "http://127.0.0.1:1/";
        for (address, q, attributes, fixed, free) in [
            ("", None, &[][..], &["type", "limit", "offset"][..], &["q", "attrs", "pick", "timerel"][..]),
            ("", Some("no2>1"), &["no2"], &["q", "attrs", "pick", "omit"], &["timerel"]),
            ("?q=public==true", None, &[], &["q"], &["attrs", "timerel"]),
            ("?attrs=no2", None, &[], &["attrs", "pick", "omit"], &["q"]),
            ("?omit=owner", None, &[], &["attrs", "pick", "omit"], &["q"]),
            ("?type=Station&timerel=after", None, &[], &["type", "timerel"], &["q"]),
        ] {
            let source = source(&format!("{broker}{address}"), q, attributes);
            let asked = async |name: &str| {
                let query = vec![(name.to_owned(), "x".to_owned())];
                source.open(DataRequest { query, ..DataRequest::default() }).await.err().unwrap()
            };
            for name in fixed {
                let error = asked(name).await;
                assert!(
                    matches!(&error, SourceError::Asked(said) if said.contains("is fixed")),
                    "{address} {name}"
                );
            }
            for name in free {
                assert!(matches!(asked(name).await, SourceError::Unreachable(_)), "{address} {name}");
            }
        }
    }
}
