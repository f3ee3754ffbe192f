//! The client of a node's management API, as the command line uses it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::{Exit, Failed};
use crate::config::Config;
use crate::engine::next_page;
use crate::network::describe;
use crate::secrets;

/// Longest wait for an answer that involves no waiting of its own.
const ANSWER: Duration = Duration::from_secs(60);

/// A node that runs on this machine.
#[derive(Debug, Clone)]
pub(super) struct Api {
    client: reqwest::Client,
    base: String,
    key: String,
}

impl Api {
    /// The node in `folder`.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let config = Config::load(folder)?;
        let key = secrets::read(&config.path(&config.management.key))?.trim().to_owned();
        let mut client = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
        if let (Some(tls), Some(named)) = (crate::tls::operator(&config)?, &config.management.tls) {
            let listen = config.management.listen;
            let here = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
            client = client.tls_backend_preconfigured(tls);
            client = client.resolve(&named.name, SocketAddr::new(here, listen.port()));
        }
        Ok(Self { client: client.build()?, base: config.management_address(), key })
    }

    /// The same node, with the key in a file instead of the node's own.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn with_key(&self, file: &Path) -> anyhow::Result<Self> {
        Ok(Self { key: secrets::read(file)?.trim().to_owned(), ..self.clone() })
    }

    /// The node's address, as programs on this machine reach it.
    pub(super) fn address(&self) -> &str {
        &self.base
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None, ANSWER).await
    }

    /// All of a list that comes in pages.
    pub(super) async fn all(&self, path: &str) -> anyhow::Result<Value> {
        let (mut all, mut page) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = page.take() {
            let response = self.send(self.request(Method::GET, &path).timeout(ANSWER)).await?;
            let asked = format!("{}{path}", self.base);
            let next = next_page(response.headers(), &asked).map_err(anyhow::Error::msg)?;
            page = next.as_deref().and_then(|next| Some(next.strip_prefix(&self.base)?.to_owned()));
            let items: Vec<Value> = response.json().await.context("reading the node's answer")?;
            all.extend(items);
        }
        Ok(Value::Array(all))
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body), ANSWER).await
    }

    /// As [`Self::post`], for what takes longer.
    pub(super) async fn post_within(
        &self,
        path: &str,
        body: Value,
        longest: Duration,
    ) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body), longest).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::PUT, path, Some(body), ANSWER).await
    }

    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::DELETE, path, None, ANSWER).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        longest: Duration,
    ) -> anyhow::Result<Value> {
        let mut request = self.request(method, path).timeout(longest);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = self.send(request).await?;
        let bytes = response.bytes().await.context("reading the node's answer")?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).context("reading the node's answer")
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).header("x-api-key", &self.key)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                let text =
                    format!("the node does not run at {} (start it with `concordat serve`)", self.base);
                bail!(Failed::new(Exit::NotRunning, text));
            }
            Err(error) => bail!("asking the node: {}", describe(&error)),
        };
        let status = response.status();
        if status.is_success() || status == http::StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let body: Value = response.json().await.unwrap_or_default();
        let message = body.pointer("/0/message").and_then(Value::as_str);
        let message = message.map_or_else(|| format!("the node answered {status}"), str::to_owned);
        let exit = if status.is_client_error() { Exit::Refused } else { Exit::Failure };
        bail!(Failed::new(exit, message))
    }

    /// The data of a transfer, as a stream.
    pub(super) async fn data(
        &self,
        method: Method,
        transfer: &str,
        distribution: Option<&str>,
        headers: HeaderMap,
    ) -> anyhow::Result<reqwest::Response> {
        let mut path = format!("/v4/transferprocesses/{}/data", segment(transfer));
        if let Some(name) = distribution {
            path.push_str(&format!("?distribution={}", segment(name)));
        }
        self.send(self.request(method, &path).headers(headers)).await
    }

    /// What the gateway gives, as a stream.
    pub(super) async fn gateway(&self, path: &str) -> anyhow::Result<reqwest::Response> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Events from now on, or after the event `after`.
    pub(super) async fn events(&self, after: Option<&str>) -> anyhow::Result<Events> {
        let mut request = self.request(Method::GET, "/v4/events");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = self.send(request).await?;
        Ok(Events { chunks: Box::pin(response.bytes_stream()), buffer: Vec::new() })
    }

    /// Waits until the document at `path` satisfies `done`, looking again whenever an event is about it.
    pub(super) async fn wait(
        &self,
        events: &mut Events,
        path: &str,
        deadline: Duration,
        done: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let subject = path.rsplit('/').next().map(unsegment).unwrap_or_default();
        let about = |event: &Value| event.get("subject").and_then(Value::as_str) == Some(&subject);
        match tokio::time::timeout(deadline, self.look(events, path, about, done)).await {
            Ok(found) => found,
            Err(_) => {
                bail!("`{subject}` did not get there within {} s; it goes on by itself", deadline.as_secs())
            }
        }
    }

    /// As [`Api::wait`], for a document that is about many things: looks again whenever anything happens.
    pub(super) async fn until(
        &self,
        path: &str,
        deadline: Duration,
        done: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        // Watching before looking: what happens between the two is not missed.
        let mut events = self.events(None).await?;
        match tokio::time::timeout(deadline, self.look(&mut events, path, |_| true, done)).await {
            Ok(found) => found,
            Err(_) => {
                bail!("{path} did not get there within {} s: {}", deadline.as_secs(), self.get(path).await?)
            }
        }
    }

    async fn look(
        &self,
        events: &mut Events,
        path: &str,
        about: impl Fn(&Value) -> bool,
        done: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        loop {
            let document = self.get(path).await?;
            if done(&document) {
                return Ok(document);
            }
            while !about(&events.next().await?) {}
        }
    }
}

/// Sets a member of an object; what is no object stays as it is, and the node will say what is wrong with it.
pub(super) fn set(document: &mut Value, name: &str, value: Value) {
    if let Some(map) = document.as_object_mut() {
        map.insert(name.to_owned(), value);
    }
}

/// One segment of a path.
pub(super) fn segment(id: &str) -> String {
    trust::did::segment(id)
}

fn unsegment(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A query for up to `limit` documents, newest first.
pub(super) fn newest(limit: usize) -> Value {
    json!({"@type": "QuerySpec", "limit": limit, "sortOrder": "DESC"})
}

/// Whether a process is over.
pub(super) fn is_over(document: &Value) -> bool {
    let state = document.get("state").and_then(Value::as_str).unwrap_or_default();
    ["FINALIZED", "TERMINATED", "COMPLETED"].contains(&state)
}

/// A stream of server-sent events.
pub(super) struct Events {
    chunks: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    buffer: Vec<u8>,
}

impl Events {
    /// The next event's data.
    pub(super) async fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let message: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = read_event(&String::from_utf8_lossy(&message)) {
                    return Ok(event);
                }
                continue;
            }
            match self.chunks.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => bail!("the event stream broke off: {}", describe(&error)),
                None => bail!("the node ended the event stream"),
            }
        }
    }
}

/// One message: its data with the id put in. Comments, which keep the connection alive, are none.
fn read_event(message: &str) -> Option<Value> {
    let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mut event: Value = serde_json::from_str(field("data:")?).ok()?;
    if let (Some(map), Some(id)) = (event.as_object_mut(), field("id:")) {
        map.insert("id".to_owned(), json!(id));
    }
    Some(event)
}
