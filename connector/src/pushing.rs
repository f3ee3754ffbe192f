//! Transfers that this node pushes to where their consumers want the data.
//!
//! Promise: the data goes as a whole, at least once. An attempt that fails is made again, with everything sent anew under
//! the same `Idempotency-Key`, until the endpoint takes it, refuses it for good, or ten minutes have passed; then the
//! transfer is completed, or terminated with the reason. A suspension cuts at once, a resumption begins anew. What runs
//! when the node stops begins anew at the next start.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dataplane::sink::{PushError, Sink};
use dataplane::{DataRequest, ObjectClient, ObjectSource, Reading};
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Method};
use protocol::wire::DataAddress;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, SystemClock};
use crate::config::Bounds;
use crate::engine::{Denial, Engine, EngineError};
use crate::http::Faces;
use crate::network::Guard;
use crate::shares::{Shares, one_of_each, places};
use crate::telemetry;

/// How long an endpoint may be away.
const GIVE_UP: Duration = Duration::from_secs(600);
/// Longest wait between two attempts.
const LONGEST: Duration = Duration::from_secs(30);

/// An object store that data is pushed into: properties of the data address and the store's options that they become, and
/// which of them let one in. Without these the library would look for credentials of this node's own, and write with them
/// what a stranger names.
struct Store {
    scheme: &'static str,
    options: &'static [(&'static str, &'static str)],
    keys: &'static [&'static [&'static str]],
}

const STORES: [Store; 3] = [
    Store {
        scheme: "s3",
        options: &[
            ("accessKeyId", "aws_access_key_id"),
            ("secretAccessKey", "aws_secret_access_key"),
            ("sessionToken", "aws_session_token"),
            ("region", "aws_region"),
            ("endpoint", "aws_endpoint"),
        ],
        keys: &[&["accessKeyId", "secretAccessKey"]],
    },
    Store {
        scheme: "az",
        options: &[
            ("accountName", "azure_storage_account_name"),
            ("accountKey", "azure_storage_account_key"),
            ("sasToken", "azure_storage_sas_token"),
            ("endpoint", "azure_storage_endpoint"),
        ],
        keys: &[&["accountName", "accountKey"], &["accountName", "sasToken"]],
    },
    Store {
        scheme: "gs",
        options: &[("bearerToken", "google_bearer_token"), ("endpoint", "google_base_url")],
        keys: &[&["bearerToken"]],
    },
];

/// Headers that are the connection's own.
const NOT_CREDENTIALS: [&str; 6] =
    ["connection", "content-length", "host", "te", "transfer-encoding", "upgrade"];

/// Checks where a consumer wants data pushed to.
///
/// # Errors
/// It is no address that this node pushes to; says why.
pub fn check(guard: &Guard, destination: Option<&DataAddress>) -> Result<(), String> {
    let destination = destination.ok_or("/dataAddress: data is pushed to an address, and there is none")?;
    let endpoint = destination.address().ok_or("/dataAddress/endpoint: there is none")?;
    let mut url = Some(endpoint);
    if let Some(store) = STORES.iter().find(|store| store.scheme == scheme(endpoint)) {
        let given = |keys: &&[&str]| keys.iter().all(|key| destination.property(key).is_some());
        if !store.keys.iter().any(given) {
            let ways: Vec<_> = store.keys.iter().map(|keys| keys.join(" and ")).collect();
            return Err(format!(
                "/dataAddress/endpointProperties: to write there takes {}",
                ways.join(", or ")
            ));
        }
        // They become parts of addresses and headers: what cannot be one would end the client of the store.
        for (property, _) in store.options.iter().filter(|(property, _)| *property != "endpoint") {
            let fits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            if destination.property(property).is_some_and(|text| !fits(text)) {
                return Err(format!(
                    "/dataAddress/endpointProperties: `{property}` has characters that no credential and no region has"
                ));
            }
        }
        url = destination.property("endpoint");
    }
    let checked = url.map_or(Ok(()), |url| guard.check_url(url).map(|_| ()));
    checked.map_err(|problem| format!("/dataAddress/endpoint: {problem}"))
}

fn scheme(address: &str) -> &str {
    address.split_once("://").map_or("", |(scheme, _)| scheme)
}

/// Where the data of a transfer goes.
fn sink(engine: &Engine, pid: &str, destination: &DataAddress) -> Result<Sink, String> {
    check(engine.guard(), Some(destination))?;
    let endpoint = destination.address().unwrap_or_default();
    let url: url::Url =
        endpoint.parse().map_err(|error| format!("`{endpoint}` is not an address: {error}"))?;
    if let Some(store) = STORES.iter().find(|store| store.scheme == url.scheme()) {
        let options = store.options.iter().filter_map(|(property, option)| {
            destination.property(property).map(|value| ((*option).to_owned(), value.to_owned()))
        });
        // Regions and names of accounts become parts of addresses: the client looks at each when it is one.
        let client = ObjectClient::new(Arc::new(engine.client().clone()));
        let object = ObjectSource::new(&url, options.collect(), client, None);
        return object.map(Sink::Object).map_err(|error| error.to_string());
    }
    // A receiver that is named in EDC's form expects what EDC's own data plane does.
    let usual = if destination.endpoint_type == "HttpData" { "POST" } else { "PUT" };
    let method = match destination.property("method").unwrap_or(usual) {
        "PUT" => Method::PUT,
        "POST" => Method::POST,
        other => return Err(format!("data is pushed with PUT or POST, not with `{other}`")),
    };
    let header = destination.property("authKey").unwrap_or("authorization");
    if NOT_CREDENTIALS.contains(&header.to_ascii_lowercase().as_str()) {
        return Err(format!("`{header}` carries no credentials"));
    }
    let value = destination.property("authCode").or_else(|| destination.property("authorization"));
    let credentials = value
        .map(|value| {
            let name = HeaderName::try_from(header)
                .map_err(|_| format!("`{header}` is not the name of a header"))?;
            let mut value =
                HeaderValue::try_from(value).map_err(|_| "the credentials cannot be a header".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>((name, value))
        })
        .transpose()?;
    let client = Arc::new(engine.client().clone());
    Ok(Sink::Http { client, method, url, credentials, idempotency_key: pid.to_owned() })
}

/// Pushes whatever was started, until `stop`.
pub async fn run(faces: Arc<Faces>, bounds: Bounds, stop: CancellationToken) {
    let engine = Arc::clone(&faces.engine);
    let room = Arc::new(Room {
        all: places(bounds.pushes),
        peers: Shares::new(bounds.pushes_per_peer),
        stalled: Duration::from_secs(bounds.stalled_seconds.into()),
    });
    loop {
        let pid = tokio::select! {
            () = stop.cancelled() => return,
            pid = engine.next_push() => pid,
        };
        let (faces, room) = (Arc::clone(&faces), Arc::clone(&room));
        engine.tasks().until_stop(async move { push(&faces, &room, &pid).await });
    }
}

/// How many attempts go on at once, and how long an endpoint may take nothing.
struct Room {
    all: Arc<Semaphore>,
    peers: Shares<String>,
    stalled: Duration,
}

async fn push(faces: &Arc<Faces>, room: &Room, pid: &str) {
    let engine = &faces.engine;
    let outcome = attempts(faces, room, pid).await;
    let told = match &outcome {
        Ok(()) => engine.complete_transfer(pid).await,
        // Who cut it has told the other side.
        Err(Ended::Cut) => return,
        Err(Ended::Failed(reason)) => engine.terminate_transfer(pid, reason).await,
    };
    if let Err(error) = told {
        tracing::warn!(error = telemetry::chain(&error), pid, "how a push ended was not told");
    }
}

enum Ended {
    Cut,
    Failed(String),
}

async fn attempts(faces: &Arc<Faces>, room: &Room, pid: &str) -> Result<(), Ended> {
    let engine = &faces.engine;
    let mut first = None;
    let mut attempt: u32 = 0;
    loop {
        // Between two attempts no place is held.
        let Ok(record) = engine.transfer(pid) else { return Err(Ended::Cut) };
        let own = room.peers.of(record.transfer.peer.to_string());
        let held = one_of_each([own, Arc::clone(&room.all)]).await;
        let began = *first.get_or_insert_with(Instant::now);
        let outcome = AssertUnwindSafe(once(faces, room.stalled, pid)).catch_unwind().await;
        drop(held);
        // A fault of the program is none that another attempt would mend.
        let outcome = outcome.unwrap_or_else(|_| {
            Err(Attempt::Never("the push failed by a fault of the provider's program".to_owned()))
        });
        let failed = match outcome {
            Ok(()) => return Ok(()),
            Err(Attempt::Over) => return Err(Ended::Cut),
            Err(Attempt::Never(reason)) => return Err(Ended::Failed(reason)),
            Err(Attempt::Again(reason)) => reason,
        };
        tracing::info!(pid, attempt, reason = failed, "a push did not go through");
        if began.elapsed() > GIVE_UP {
            return Err(Ended::Failed(format!("the data could not be delivered: {failed}")));
        }
        let pause = Duration::from_millis(200).saturating_mul(1 << attempt.min(8)).min(LONGEST);
        attempt += 1;
        // A transfer that is suspended or ended meanwhile is not waited for.
        let mut signal = engine.streams().watch(pid);
        let cut = async {
            loop {
                if matches!(*signal.borrow_and_update(), dataplane::Signal::Cut(_)) {
                    return;
                }
                if signal.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(pause, cut).await.is_ok() {
            return Err(Ended::Cut);
        }
    }
}

enum Attempt {
    /// It is over already, or suspended.
    Over,
    Never(String),
    Again(String),
}

async fn once(faces: &Arc<Faces>, stalled: Duration, pid: &str) -> Result<(), Attempt> {
    let engine = &faces.engine;
    let admission = match engine.admit_push(pid).await {
        Ok(admission) => admission,
        Err(Denial::Unknown) => return Err(Attempt::Over),
        Err(Denial::Denied(reason) | Denial::Operator(reason) | Denial::Ticket(reason)) => {
            let runs = engine.transfer(pid).is_ok_and(|record| record.transfer.is_open());
            return Err(if runs { Attempt::Never(reason) } else { Attempt::Over });
        }
        Err(Denial::TooMuch(bound)) => return Err(Attempt::Again(bound.to_string())),
        Err(Denial::Failed(error)) => return Err(Attempt::Again(telemetry::chain(&error))),
    };
    let destination = engine.transfer(pid).ok().and_then(|record| record.transfer.data_address);
    let destination = destination.ok_or_else(|| "there is no address to push to".to_owned());
    let sink = match destination.and_then(|destination| sink(engine, pid, &destination)) {
        Ok(sink) => sink,
        Err(reason) => {
            engine.give_back(&admission.agreement, &admission.read).await;
            return Err(Attempt::Never(reason));
        }
    };
    let (agreement, transfer, read) = (admission.agreement, admission.transfer, admission.read);
    let source = match faces.sources.open(&admission.data_address, admission.media_type.as_deref()) {
        Ok(source) => source,
        Err(error) => {
            engine.source_failed(&agreement, &read).await;
            return Err(Attempt::Again(format!("the provider's source cannot be read: {}", public(&error))));
        }
    };
    if !source.is_whole() {
        engine.give_back(&agreement, &read).await;
        return Err(Attempt::Never("live data is followed, not pushed".to_owned()));
    }
    let held = engine.tasks().hold();
    let (metering, given_back) = (Arc::clone(engine), (agreement.clone(), read.clone()));
    let ended = move |metered: dataplane::Metered| {
        let at = clock::now();
        held.carry_through(async move {
            // What was not delivered at all was not used: there will be another attempt, or an end.
            if metered.bytes == 0 && !metered.complete && metered.failed.is_none() {
                metering.give_back(&agreement, &read).await;
            } else {
                metering.meter(&agreement, &transfer, &read, metered, at).await;
            }
        });
    };
    let request = DataRequest { method: Method::GET, ..DataRequest::default() };
    let reading = Reading { request, follow: None, ticket: Some(admission.ticket) };
    let clock = Arc::new(SystemClock);
    let served =
        dataplane::serve(admission.grant, source.as_ref(), reading, admission.signal, clock, ended).await;
    let data = match served {
        Ok(data) => data,
        Err(error) => {
            match error.is_failure() {
                true => engine.source_failed(&given_back.0, &given_back.1).await,
                false => engine.give_back(&given_back.0, &given_back.1).await,
            }
            tracing::error!(pid, error = telemetry::chain(&error), "a source failed");
            return Err(match error {
                dataplane::SourceError::Obligation(reason) => Attempt::Never(reason),
                _ => Attempt::Again("the provider's source cannot be read now".to_owned()),
            });
        }
    };
    match sink.push(data, stalled).await {
        Ok(()) => Ok(()),
        Err(PushError::Cut(_)) => Err(Attempt::Over),
        Err(error @ PushError::Refused(_)) => Err(Attempt::Never(error.to_string())),
        Err(error) => Err(Attempt::Again(error.to_string())),
    }
}

/// The source's own words stay here: they may name what is behind this node.
fn public(error: &anyhow::Error) -> &'static str {
    tracing::error!(error = format!("{error:#}"), "a source cannot be opened");
    "try again later"
}

/// What the consumer's operator says of where data shall go, as it goes to the provider.
///
/// # Errors
/// A part is missing.
pub fn destination(
    operator: &serde_json::Map<String, serde_json::Value>,
) -> Result<DataAddress, EngineError> {
    let text = |name: &str| operator.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    let base = text("baseUrl").or_else(|| text("endpoint")).or_else(|| text("url"));
    // EDC's programs name what is below by itself.
    let below = text("path").filter(|path| !path.trim_matches('/').is_empty());
    let endpoint = match (base, below) {
        (Some(base), Some(path)) => {
            Some(format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/')))
        }
        (base, _) => base,
    };
    let Some(endpoint) = endpoint else {
        let reason = "dataDestination needs a baseUrl (https), or an url (s3, az, gs)";
        return Err(EngineError::Refused(protocol::Refusal::new(protocol::RefusalKind::Malformed, reason)));
    };
    let names = [
        "authKey",
        "authCode",
        "method",
        "accessKeyId",
        "secretAccessKey",
        "sessionToken",
        "region",
        "accountName",
        "sasToken",
        "accountKey",
        "bearerToken",
    ];
    let store = if scheme(&endpoint).starts_with("http") { None } else { text("endpointOverride") };
    // Where its type is EDC's, so is the method that is meant where none is named.
    let is_edcs =
        operator.get("type").is_some_and(|kind| kind == "HttpData") && operator.contains_key("baseUrl");
    let usual = (is_edcs && !operator.contains_key("method")).then(|| "POST".to_owned());
    let properties = names
        .into_iter()
        .filter_map(|name| text(name).map(|value| (name.to_owned(), value)))
        .chain(store.map(|value| ("endpoint".to_owned(), value)))
        .chain(usual.map(|value| ("method".to_owned(), value)))
        .map(|(name, value)| protocol::wire::EndpointProperty { name, value });
    Ok(DataAddress {
        endpoint_type: "https://w3id.org/idsa/v4.1/HTTP".to_owned(),
        endpoint_properties: properties.collect(),
        endpoint: Some(endpoint),
    })
}

#[cfg(test)]
mod tests {
    use protocol::wire::EndpointProperty;

    use super::*;

    fn address(endpoint: &str, properties: &[(&str, &str)]) -> DataAddress {
        let property = |(name, value): &(&str, &str)| EndpointProperty {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        DataAddress {
            endpoint_type: "https://w3id.org/idsa/v4.1/HTTP".to_owned(),
            endpoint: Some(endpoint.to_owned()),
            endpoint_properties: properties.iter().map(property).collect(),
        }
    }

    #[test]
    fn nothing_is_pushed_with_credentials_of_this_node_or_into_its_networks() {
        let guard = Guard::new(&[]);
        let s3 = [("accessKeyId", "k"), ("secretAccessKey", "s")];
        let az = [("accountName", "a"), ("sasToken", "s")];
        let with = |more: &[(&'static str, &'static str)]| [&s3[..], more].concat();
        for (endpoint, properties) in [
            ("https://box.example/drop", vec![]),
            ("s3://bucket/key", s3.to_vec()),
            ("az://container/key", az.to_vec()),
            ("gs://bucket/key", vec![("bearerToken", "t")]),
        ] {
            assert_eq!(check(&guard, Some(&address(endpoint, &properties))), Ok(()), "{endpoint}");
        }
        for (endpoint, properties) in [
            ("s3://bucket/key", vec![]),
            ("s3://bucket/key", vec![("accessKeyId", "k")]),
            ("az://container/key", vec![("accountName", "a")]),
            ("gs://bucket/key", vec![]),
            ("s3://bucket/key", with(&[("endpoint", "https://169.254.169.254")])),
            ("s3://bucket/key", with(&[("endpoint", "http://store.example")])),
            ("https://10.0.0.1/drop", vec![]),
            ("file:///etc/passwd", vec![]),
        ] {
            assert!(
                check(&guard, Some(&address(endpoint, &properties))).is_err(),
                "{endpoint} {properties:?}"
            );
        }
        assert!(check(&guard, None).is_err());
    }

    #[tokio::test]
    async fn an_address_that_options_make_is_asked_about_too() {
        crate::tls::install_provider();
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let guard = Guard::new(&[]);
        let client = crate::network::PeerClient::new(&guard, tls).unwrap();
        let client = ObjectClient::new(Arc::new(client));
        for store in STORES {
            let value = |property: &str| match property {
                "region" => "x@127.0.0.1/",
                "accountKey" => "a2V5",
                "endpoint" => "https://127.0.0.1",
                _ => "v",
            };
            // Every option is one that the store knows.
            let options =
                store.options.iter().filter(|(property, _)| *property != "endpoint" || store.scheme != "s3");
            let options = options
                .map(|(property, option)| ((*option).to_owned(), value(property).to_owned()))
                .collect();
            let url = format!("{}://bucket/key", store.scheme).parse().unwrap();
            let object = ObjectSource::new(&url, options, client.clone(), None).unwrap();
            let empty = dataplane::DataResponse {
                status: http::StatusCode::OK,
                headers: http::HeaderMap::new(),
                body: http_body_util::BodyExt::boxed_unsync(http_body_util::BodyExt::map_err(
                    http_body_util::Full::new(bytes::Bytes::from_static(b"x")),
                    |impossible: std::convert::Infallible| match impossible {},
                )),
            };
            let error = Sink::Object(object).push(empty, Duration::from_secs(60)).await.unwrap_err();
            assert!(
                error.to_string().contains("network.allow")
                    || error.to_string().contains("must not carry credentials"),
                "{}: {error}",
                store.scheme
            );
        }
    }
}
