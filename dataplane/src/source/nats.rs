//! Subjects of NATS as live data.
//!
//! From a JetStream, the id of an event is its sequence in the stream: a reader goes on exactly after it, and nothing is
//! lost or doubled while the stream keeps it. A plain subject is at most once: one subscription serves all who follow it.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::jetstream;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::{Client, ConnectOptions, Event as Told};
use futures_util::{StreamExt as _, stream};
use tokio::sync::Mutex;

use super::{Source, Subscribing};
use crate::error::{SourceError, StreamError};
use crate::live::{Event, Hubs, MAX_EVENT, Ring, back_off};

/// Where NATS is and how one gets in.
#[derive(Clone)]
pub struct NatsServer {
    /// `nats://host:port` or `tls://host:port`.
    pub url: String,
    /// What certificates are held against.
    pub tls: rustls::ClientConfig,
    /// A token, or name and password as `name:password`.
    pub login: Option<String>,
}

impl std::fmt::Debug for NatsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsServer").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Messages of a subscription that wait until they are passed on: no fewer than a stream sends in one batch, for what finds no
/// room is dropped.
const FROM_SERVER: usize = 1024;

/// One connection to each server for all who follow something there.
#[derive(Debug, Clone, Default)]
pub struct NatsConnections(Arc<Mutex<HashMap<String, Client>>>);

impl NatsConnections {
    async fn to(&self, server: &NatsServer) -> Result<Client, SourceError> {
        let mut connections = self.0.lock().await;
        let key = format!("{} {}", server.url, server.login.as_deref().unwrap_or_default());
        if let Some(client) = connections.get(&key) {
            return Ok(client.clone());
        }
        let options = match server.login.as_deref().map(|login| login.split_once(':').ok_or(login)) {
            None => ConnectOptions::new(),
            Some(Ok((user, password))) => {
                ConnectOptions::new().user_and_password(user.to_owned(), password.to_owned())
            }
            Some(Err(token)) => ConnectOptions::with_token(token.to_owned()),
        };
        let url = server.url.clone();
        let client = options
            .name("concordat")
            .require_tls(server.url.starts_with("tls:"))
            .tls_client_config(server.tls.clone())
            .subscription_capacity(FROM_SERVER)
            .event_callback(move |told| {
                if !matches!(told, Told::Connected) {
                    tracing::warn!(url, event = %told, "NATS");
                }
                std::future::ready(())
            })
            .connect(&server.url)
            .await
            .map_err(|error| SourceError::Failed(format!("NATS at {}: {error}", server.url)))?;
        connections.insert(key, client.clone());
        Ok(client)
    }
}

/// Whether a text is one word of the protocol, whose lines are made of words (a blank or the end of a line would begin
/// another), with a name between all dots.
fn is_subject(text: &str) -> bool {
    !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && text.split('.').all(|token| !token.is_empty())
}

/// A subject, plain or of a JetStream.
#[derive(Debug)]
pub struct NatsSource {
    server: NatsServer,
    subject: String,
    jetstream: Option<String>,
    from_start: bool,
    connections: NatsConnections,
    hubs: Hubs,
}

impl NatsSource {
    /// What is published under `subject`; where `jetstream` is named, out of that stream, and who begins to follow gets
    /// what it holds already if `from_start`.
    ///
    /// # Errors
    /// The subject or the name of the stream is none.
    pub fn new(
        server: NatsServer,
        subject: String,
        jetstream: Option<String>,
        from_start: bool,
        connections: NatsConnections,
        hubs: Hubs,
    ) -> Result<Self, SourceError> {
        if !is_subject(&subject) {
            return Err(SourceError::Address(format!("{subject:?} is no subject of NATS")));
        }
        if let Some(name) =
            jetstream.as_ref().filter(|name| !is_subject(name) || name.contains(['.', '*', '>']))
        {
            return Err(SourceError::Address(format!("{name:?} is no name of a JetStream")));
        }
        Ok(Self { server, subject, jetstream, from_start, connections, hubs })
    }

    async fn stream(&self, name: &str, after: Option<String>) -> Result<crate::live::Events, SourceError> {
        let deliver_policy = match after {
            Some(id) => {
                let seen: u64 =
                    id.parse().map_err(|_| SourceError::Asked(format!("`{id}` is no id of an event")))?;
                DeliverPolicy::ByStartSequence { start_sequence: seen.saturating_add(1) }
            }
            None if self.from_start => DeliverPolicy::All,
            None => DeliverPolicy::New,
        };
        let failed = |error: String| SourceError::Failed(format!("JetStream `{name}`: {error}"));
        let context = jetstream::new(self.connections.to(&self.server).await?);
        let stream = context.get_stream(name).await.map_err(|error| failed(error.to_string()))?;
        let config = OrderedConfig {
            deliver_policy,
            filter_subject: self.subject.clone(),
            ..OrderedConfig::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| failed(error.to_string()))?;
        let messages = consumer.messages().await.map_err(|error| failed(error.to_string()))?;
        let events = stream::unfold(Some(messages), |messages| async move {
            let mut messages = messages?;
            let failed = |error: String| StreamError::Source(error.into());
            let event = match messages.next().await? {
                Err(error) => Err(failed(error.to_string())),
                Ok(message) if message.payload.len() > MAX_EVENT => {
                    Err(failed(format!("an event is larger than {MAX_EVENT} bytes")))
                }
                Ok(message) => {
                    message.info().map_err(|error| failed(error.to_string())).map(|info| Event::Data {
                        id: Some(info.stream_sequence.to_string()),
                        payload: message.payload.clone(),
                    })
                }
            };
            let goes_on = event.is_ok().then_some(messages);
            Some((event, goes_on))
        });
        Ok(Box::pin(events))
    }
}

impl Source for NatsSource {
    fn is_whole(&self) -> bool {
        false
    }

    fn is_live(&self) -> bool {
        true
    }

    fn subscribe(&self, after: Option<String>) -> Subscribing<'_> {
        Box::pin(async move {
            if let Some(name) = &self.jetstream {
                return self.stream(name, after).await;
            }
            let client = self.connections.to(&self.server).await?;
            let key = format!("nats {} {}", self.server.url, self.subject);
            let subject = self.subject.clone();
            Ok(self.hubs.follow(&key, move |events| listen(client, subject, events)))
        })
    }
}

/// The client connects anew by itself, and takes its subscriptions along.
async fn listen(client: Client, subject: String, events: Ring) {
    let mut attempt = 0;
    loop {
        match client.subscribe(subject.clone()).await {
            Err(error) => tracing::warn!(%error, subject, "the subject is not heard; it is tried again"),
            Ok(mut messages) => {
                attempt = 0;
                while let Some(message) = messages.next().await {
                    let event = if message.payload.len() > MAX_EVENT {
                        Event::Lost { count: Some(1) }
                    } else {
                        Event::Data { id: None, payload: message.payload }
                    };
                    // Without a follower this subscription is about to end.
                    events.send(event);
                }
            }
        }
        attempt += 1;
        back_off(attempt).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_word_of_the_protocol() {
        for subject in ["air", "air.*.no2", "air.>", "städte.luft"] {
            assert!(is_subject(subject), "{subject}");
        }
        for subject in ["", "air 1", "air\r\nPUB x 1", "air\n", "air\t", "a..b", ".a", "air\0"] {
            assert!(!is_subject(subject), "{subject:?}");
        }
    }
}
