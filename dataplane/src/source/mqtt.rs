//! Topics of an MQTT 3.1.1 broker as live data.
//!
//! One connection serves all who follow the same topics. The broker is asked for quality 1; what is handed on comes at
//! most once: messages while this node is not connected, and those that a reader is too slow for, are lost, and told so.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Subscribe, SubscribeReasonCode,
};
use rumqttc::mqttbytes::{Error as PacketError, QoS};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Source, Subscribing};
use crate::error::SourceError;
use crate::live::{Event, Hubs, MAX_EVENT, Ring, back_off};

/// Silence after which the broker is asked for a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// Where the broker is and how one gets in.
#[derive(Clone)]
pub struct MqttBroker {
    /// Host and port.
    pub address: (String, u16),
    /// Set where it speaks TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Name and password.
    pub login: Option<(String, String)>,
}

impl std::fmt::Debug for MqttBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MqttBroker").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Topics of a broker.
#[derive(Debug)]
pub struct MqttSource {
    broker: MqttBroker,
    topic: String,
    /// Whether events tell the topic: `{"topic": …, "payload": …}`.
    with_topic: bool,
    hubs: Hubs,
}

impl MqttSource {
    /// What is published under `topic`, a filter with `+` and `#`.
    ///
    /// # Errors
    /// It is no filter of topics.
    pub fn new(broker: MqttBroker, topic: &str, with_topic: bool, hubs: Hubs) -> Result<Self, SourceError> {
        if !rumqttc::mqttbytes::valid_filter(topic) || topic.chars().any(char::is_control) {
            return Err(SourceError::Address(format!("`{topic}` is no filter of MQTT topics")));
        }
        Ok(Self { broker, topic: topic.to_owned(), with_topic, hubs })
    }
}

impl Source for MqttSource {
    fn is_whole(&self) -> bool {
        false
    }

    fn is_live(&self) -> bool {
        true
    }

    fn subscribe(&self, _after: Option<String>) -> Subscribing<'_> {
        Box::pin(async move {
            let (host, port) = &self.broker.address;
            let user = self.broker.login.as_ref().map_or("", |(user, _)| user);
            let key = format!("mqtt {host} {port} {user} {} {}", self.with_topic, self.topic);
            let (broker, topic, with_topic) = (self.broker.clone(), self.topic.clone(), self.with_topic);
            Ok(self.hubs.follow(&key, move |events| stay_connected(broker, topic, with_topic, events)))
        })
    }
}

async fn stay_connected(broker: MqttBroker, topic: String, with_topic: bool, events: Ring) {
    let mut attempt = 0;
    loop {
        let mut heard = false;
        let outcome = follow(&broker, &topic, with_topic, &events, &mut heard).await;
        if let Err(error) = outcome {
            tracing::warn!(%error, broker = ?broker.address, "the MQTT broker is not heard; it is tried again");
        }
        // Nobody needs to hear it where there is no follower any more.
        events.send(Event::Lost { count: None });
        attempt = if heard { 0 } else { attempt + 1 };
        back_off(attempt).await;
    }
}

#[derive(Debug, thiserror::Error)]
enum MqttError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("what it says is not MQTT: {0:?}")]
    Packet(PacketError),
    #[error("it does not let this node in: {0:?}")]
    Refused(ConnectReturnCode),
    #[error("it does not let this node follow `{0}`")]
    Topic(String),
    #[error("it does not answer")]
    Silent,
    #[error("it hung up")]
    Closed,
}

async fn follow(
    broker: &MqttBroker,
    topic: &str,
    with_topic: bool,
    events: &Ring,
    heard: &mut bool,
) -> Result<(), MqttError> {
    let (host, port) = &broker.address;
    let connecting = async {
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Duplex> = match &broker.tls {
            None => Box::new(stream),
            Some(config) => {
                let name =
                    rustls::pki_types::ServerName::try_from(host.clone()).map_err(std::io::Error::other)?;
                Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
            }
        };
        let mut link = Link { stream, read: BytesMut::new() };
        let mut connect = Connect::new(format!("concordat-{}", super::fresh_name()));
        connect.keep_alive = u16::try_from(KEEP_ALIVE.as_secs() * 2).unwrap_or(60);
        connect.clean_session = true;
        if let Some((user, password)) = &broker.login {
            connect.set_login(user.clone(), password.clone());
        }
        link.send(&Packet::Connect(connect)).await?;
        match link.packet().await? {
            Packet::ConnAck(ConnAck { code: ConnectReturnCode::Success, .. }) => {}
            Packet::ConnAck(ConnAck { code, .. }) => return Err(MqttError::Refused(code)),
            _ => return Err(MqttError::Silent),
        }
        let mut subscribe = Subscribe::new(topic, QoS::AtLeastOnce);
        subscribe.pkid = 1;
        link.send(&Packet::Subscribe(subscribe)).await?;
        Ok(link)
    };
    let mut link = tokio::time::timeout(CONNECT, connecting).await.map_err(|_| MqttError::Silent)??;
    let mut asked = false;
    loop {
        let packet = match tokio::time::timeout(KEEP_ALIVE, link.packet()).await {
            Ok(packet) => packet?,
            Err(_) if asked => return Err(MqttError::Silent),
            Err(_) => {
                link.send(&Packet::PingReq).await?;
                asked = true;
                continue;
            }
        };
        asked = false;
        match packet {
            Packet::SubAck(ack) if ack.return_codes.contains(&SubscribeReasonCode::Failure) => {
                return Err(MqttError::Topic(topic.to_owned()));
            }
            Packet::SubAck(_) => *heard = true,
            Packet::Publish(publish) => {
                if publish.qos == QoS::AtLeastOnce {
                    link.send(&Packet::PubAck(PubAck::new(publish.pkid))).await?;
                }
                let payload = if with_topic {
                    told_with_topic(&publish.topic, &publish.payload)
                } else {
                    publish.payload
                };
                // Without a follower this connection is about to end.
                events.send(Event::Data { id: None, payload });
            }
            Packet::PingReq => link.send(&Packet::PingResp).await?,
            Packet::Disconnect => return Err(MqttError::Closed),
            _ => {}
        }
    }
}

/// The payload as JSON where it is, as text otherwise.
fn told_with_topic(topic: &str, payload: &[u8]) -> Bytes {
    let payload = serde_json::from_slice(payload)
        .unwrap_or_else(|_| serde_json::Value::String(String::from_utf8_lossy(payload).into_owned()));
    serde_json::to_vec(&json!({"topic": topic, "payload": payload})).unwrap_or_default().into()
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

struct Link {
    stream: Box<dyn Duplex>,
    read: BytesMut,
}

impl Link {
    async fn send(&mut self, packet: &Packet) -> Result<(), MqttError> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, MAX_EVENT).map_err(MqttError::Packet)?;
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await?;
        Ok(())
    }

    async fn packet(&mut self) -> Result<Packet, MqttError> {
        loop {
            match Packet::read(&mut self.read, MAX_EVENT + 65_536) {
                Ok(packet) => return Ok(packet),
                Err(PacketError::InsufficientBytes(_)) => {}
                Err(error) => return Err(MqttError::Packet(error)),
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(MqttError::Closed);
            }
        }
    }
}
