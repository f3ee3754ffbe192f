//! Conversations with nodes of earlier releases: recorded between two of them, replayed against the node of today, which plays
//! either part. What it says must have the form that the earlier node sent; what the earlier node said must be taken.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use trust::agreement::SignerRole;

use super::{ROWS, freezing, released, text};
use crate::support::{Node, PURPOSE, Peer, Ports, Stranger, World, free_port, settled};

/// Longest wait for a message of the node under test.
const PATIENCE: Duration = Duration::from_secs(60);
const DATASET: &str = "urn:test:rows";
/// What the node of today says beyond what the releases before it said.
const ADDED: [&str; 1] = ["urn:concordat:signatureVersions"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Consumer,
    Provider,
}

/// A clerk does something, and the nodes talk.
#[derive(Debug, Serialize, Deserialize)]
struct Scene {
    by: Part,
    command: Vec<String>,
    /// What the command answered.
    result: Value,
    exchanges: Vec<Exchange>,
}

/// A message and its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Exchange {
    from: Part,
    method: String,
    path: String,
    /// Kept for reads of data alone; in all others it is a token that ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authorization: Option<String>,
    body: Value,
    status: u16,
    answer: Value,
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(bytes)))
}

/// Stands between two nodes and writes down what passes.
struct Recorder {
    address: String,
}

impl Recorder {
    fn start(world: &World, from: Part, target: u16, log: &Arc<Mutex<Vec<Exchange>>>) -> Self {
        let (client, log) = (world.client(), Arc::clone(log));
        let peer = Peer::serving(world, |_| {
            axum::Router::new().fallback(move |request: Request| record(client, log, from, target, request))
        });
        Self { address: peer.address }
    }

    fn ports(&self, public: u16) -> Ports {
        let reached = self.address.rsplit(':').next().unwrap().parse().unwrap();
        Ports { public, management: free_port(), reached }
    }
}

async fn record(
    client: reqwest::Client,
    log: Arc<Mutex<Vec<Exchange>>>,
    from: Part,
    target: u16,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let path = parts.uri.path_and_query().unwrap().to_string();
    let mut sent = client.request(parts.method.clone(), format!("https://localhost:{target}{path}"));
    for name in ["authorization", "content-type", "accept", "concordat-read"] {
        if let Some(value) = parts.headers.get(name) {
            sent = sent.header(name, value);
        }
    }
    let answer = sent.body(body.clone()).send().await.unwrap();
    let status = answer.status();
    let media_type = answer.headers().get("content-type").cloned();
    let bytes = answer.bytes().await.unwrap();
    if path.starts_with("/dsp/") || path.starts_with("/data/") {
        let authorization = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
        let authorization = authorization.filter(|_| path.starts_with("/data/")).map(str::to_owned);
        let method = parts.method.to_string();
        let (body, answer) = (parsed(&body), parsed(&bytes));
        let one = Exchange { from, method, path, authorization, body, status: status.as_u16(), answer };
        log.lock().unwrap().push(one);
    }
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    if let Some(media_type) = media_type {
        response.headers_mut().insert("content-type", media_type);
    }
    response
}

/// Records every scene between two nodes of `program`.
async fn record_all(program: &str, target: &Path) {
    use Part::{Consumer, Provider};
    let world = World::of(program);
    let _scratch = world.local_node("scratch");
    let log = Arc::default();
    let (at_consumer, at_provider) = (free_port(), free_port());
    let local = ["--allow-network", "127.0.0.0/8", "--allow-network", "::1/128"];
    let consumers = Recorder::start(&world, Provider, at_consumer, &log);
    let providers = Recorder::start(&world, Consumer, at_provider, &log);
    let consumer = world.node_at("consumer", &consumers.ports(at_consumer), &local);
    let provider = world.node_at("provider", &providers.ports(at_provider), &local);
    provider.publish(DATASET, ROWS.as_bytes(), &["--attribution"]);
    let mut scenes: Vec<Scene> = Vec::new();
    let of = |node: &Node| (node.did.clone(), node.address.clone());
    let ((c_did, c_address), (p_did, p_address)) = (of(&consumer), of(&provider));
    let (c_endpoints, p_endpoints) = (format!("{c_address}/dsp/2025-1"), format!("{p_address}/dsp/2025-1"));
    let mut play = async |by: Part, command: &[&str]| -> Value {
        let node = if by == Consumer { &consumer } else { &provider };
        let result = if command[0] == "pull" { json!(node.text(command)) } else { node.json(command) };
        for node in [&consumer, &provider] {
            for kind in ["contractnegotiations", "transferprocesses"] {
                settled(node, kind).await;
            }
        }
        let exchanges = std::mem::take(&mut *log.lock().unwrap());
        let command = command.iter().map(|one| (*one).to_owned()).collect();
        scenes.push(Scene { by, command, result: result.clone(), exchanges });
        result
    };
    let catalog = play(Consumer, &["catalog", &p_did, "--address", &p_endpoints]).await;
    let offer = text(&catalog["dataset"][0]["hasPolicy"][0]["@id"]);
    let agreed = ["negotiate", &p_did, DATASET, "--purpose", PURPOSE, "--address", &p_endpoints];
    let agreement = text(&play(Consumer, &agreed).await["contractAgreementId"]);
    let transfer = text(&play(Consumer, &["transfers", "start", &agreement]).await["@id"]);
    assert_eq!(play(Consumer, &["pull", &transfer]).await, json!(ROWS));
    play(Consumer, &["transfers", "suspend", &transfer, "--reason", "lunch"]).await;
    play(Consumer, &["transfers", "resume", &transfer]).await;
    play(Consumer, &["pull", &transfer]).await;
    play(Consumer, &["transfers", "complete", &transfer]).await;
    play(Provider, &["negotiations", "propose", &c_did, &offer, "--address", &c_endpoints]).await;
    let offered = consumer.json(&["negotiations", "list"]);
    let offered = offered.as_array().unwrap().iter().find(|one| one["state"] == "OFFERED").unwrap().clone();
    play(Consumer, &["negotiations", "approve", &text(&offered["@id"])]).await;
    let second = text(&play(Consumer, &["transfers", "start", &agreement]).await["@id"]);
    let at_provider = text(&consumer.json(&["transfers", "show", &second])["correlationId"]);
    play(Provider, &["transfers", "stop", &at_provider, "--reason", "the sensors were sold"]).await;
    let refused = play(
        Consumer,
        &["negotiate", &p_did, DATASET, "--purpose", PURPOSE, "--address", &p_endpoints, "--no-wait"],
    )
    .await;
    assert!(refused["negotiation"].is_string());
    std::fs::create_dir_all(target).unwrap();
    std::fs::write(
        target.join("conversations.json"),
        format!(
            "{}\n",
            serde_json::to_string_pretty(&json!({
        "consumer": {"did": c_did, "address": c_address}, "provider": {"did": p_did, "address": p_address},
        "scenes": scenes}))
            .unwrap()
        ),
    )
    .unwrap();
}

/// What stood in the record, and what stands for it now.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn set(&mut self, recorded: &str, now: &str) {
        self.0.insert(recorded.to_owned(), now.to_owned());
    }

    /// Learns from two documents of one form which text stands for which.
    fn learn(&mut self, recorded: &Value, now: &Value) {
        match (recorded, now) {
            // The same term of ODRL; the earlier node reads either and says it as before.
            (Value::String(recorded), Value::String(now)) if now.strip_prefix("odrl:") == Some(recorded) => {}
            (Value::String(recorded), Value::String(now)) if recorded.len() > 7 && recorded != now => {
                self.0.entry(recorded.clone()).or_insert_with(|| now.clone());
            }
            (Value::Array(recorded), Value::Array(now)) => {
                recorded.iter().zip(now).for_each(|(recorded, now)| self.learn(recorded, now));
            }
            (Value::Object(recorded), Value::Object(now)) => {
                for (name, recorded) in recorded {
                    self.learn(recorded, now.get(name).unwrap_or(&Value::Null));
                }
            }
            _ => {}
        }
    }

    /// A text of the record as it reads now: longer names first, so that none is taken for a part of another.
    fn text(&self, recorded: &str) -> String {
        if let Some(now) = self.0.get(recorded) {
            return now.clone();
        }
        let mut known: Vec<_> = self.0.iter().collect();
        known.sort_by_key(|(recorded, _)| std::cmp::Reverse(recorded.len()));
        let mut out = recorded.to_owned();
        for (recorded, now) in known {
            out = out.replace(recorded.as_str(), now);
            out = out.replace(&trust::did::segment(recorded), &trust::did::segment(now));
        }
        out
    }

    fn apply(&self, recorded: &Value) -> Value {
        match recorded {
            Value::String(text) => json!(self.text(text)),
            Value::Array(all) => all.iter().map(|one| self.apply(one)).collect(),
            Value::Object(all) => {
                all.iter().map(|(name, one)| (name.clone(), self.apply(one))).collect::<Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }
}

/// The terms in plain words, a list of sentences.
const WORDS: &str = "/urn:concordat:words";

/// What an agreement of release 0.1.0 has in itself and one of today beside it, which that release does not ask for.
const MOVED: [&str; 3] = ["urn:concordat:rulebook", "urn:concordat:words", "urn:concordat:words-digest"];

/// What was said, with what stands beside an agreement today.
fn as_today(mut recorded: Value) -> Value {
    let Some(agreement) = recorded.get_mut("agreement").and_then(Value::as_object_mut) else {
        return recorded;
    };
    let moved: Vec<_> = MOVED.iter().filter_map(|name| agreement.remove_entry(*name)).collect();
    if let Value::Object(message) = &mut recorded {
        message.extend(moved);
    }
    recorded
}

/// Members that both have are of one form; the node of today may say only what is [`ADDED`] beyond that, and leaves nothing out.
fn same_form(recorded: &Value, now: &Value, place: &str) {
    match (recorded, now) {
        (Value::Object(recorded), Value::Object(now)) => {
            for name in now.keys().filter(|name| !ADDED.contains(&name.as_str())) {
                assert!(recorded.contains_key(name), "{place}: the earlier node said nothing like `{name}`");
            }
            for (name, recorded) in recorded {
                let found =
                    now.get(name).unwrap_or_else(|| panic!("{place}: `{name}` is missing in {now:?}"));
                same_form(recorded, found, &format!("{place}/{name}"));
            }
        }
        // Plain words have a version of their own; an earlier node holds them against their digest alone.
        (Value::Array(recorded), Value::Array(now)) if place.ends_with(WORDS) => {
            assert!(recorded.iter().chain(now).all(Value::is_string), "{place}: {now:?}");
        }
        // In a lone dataset the service is told in full, for nothing around it says what it is; earlier nodes read both.
        (Value::String(_), Value::Object(now)) if place.ends_with("/accessService") => {
            assert_eq!(now["@type"], "DataService", "{place}: {now:?}");
        }
        (Value::Array(recorded), Value::Array(now)) => {
            assert_eq!(recorded.len(), now.len(), "{place}: {now:?}");
            for (number, (recorded, now)) in recorded.iter().zip(now).enumerate() {
                same_form(recorded, now, &format!("{place}/{number}"));
            }
        }
        (recorded, now) => assert_eq!(
            std::mem::discriminant(recorded),
            std::mem::discriminant(now),
            "{place}: {recorded} was said, now {now}"
        ),
    }
}

type Arrived = (String, String, Value, oneshot::Sender<(u16, Value)>);

/// The earlier node: says what it said, and answers what it answered.
struct Earlier {
    part: Part,
    stranger: Stranger,
    address: String,
    arrived: mpsc::UnboundedReceiver<Arrived>,
    names: Names,
    /// The newest agreement, which is signed anew: its parties have other keys now.
    agreement: Value,
}

impl Earlier {
    fn start(world: &World, part: Part) -> Self {
        let (sender, arrived) = mpsc::unbounded_channel::<Arrived>();
        let peer = Peer::serving(world, |_| {
            axum::Router::new().fallback(move |request: Request| async move {
                let (parts, body) = request.into_parts();
                let body = parsed(&to_bytes(body, usize::MAX).await.unwrap());
                let (reply, replied) = oneshot::channel();
                let path = parts.uri.path_and_query().unwrap().to_string();
                let _ = sender.send((parts.method.to_string(), path, body, reply));
                let (status, answer) = replied.await.unwrap();
                let mut response = Response::new(Body::from(match &answer {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                }));
                *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
                response
                    .headers_mut()
                    .insert("content-type", http::HeaderValue::from_static("application/json"));
                response
            })
        });
        let stranger = Stranger::new(world);
        Self {
            part,
            stranger,
            address: peer.address,
            arrived,
            names: Names::default(),
            agreement: Value::Null,
        }
    }

    fn sign(&mut self, body: &mut Value) {
        if body["agreement"].is_object() {
            self.agreement = body["agreement"].clone();
        }
        if body.get("urn:concordat:signature").is_none() {
            return;
        }
        let role = if self.part == Part::Provider { SignerRole::Provider } else { SignerRole::Consumer };
        let (key, now) = (&self.stranger.key, connector::clock::now());
        let bound = trust::Bound {
            agreement: &self.agreement,
            parts: &BTreeMap::new(),
            names: &trust::agreement::NO_NAMES,
        };
        let made = trust::agreement::sign(key, &self.stranger.kid, role, bound, 1, now).unwrap();
        body["urn:concordat:signature"] = json!(made);
    }

    /// Says what the record has, to the node of today, which must answer as the earlier one did.
    async fn say(&mut self, node: &Node, exchange: &Exchange) {
        let mut body = self.names.apply(&exchange.body);
        self.sign(&mut body);
        let path = self.names.text(&exchange.path);
        let method = reqwest::Method::from_bytes(exchange.method.as_bytes()).unwrap();
        let mut request = self.stranger.client.request(method, format!("{}{path}", node.address));
        request = match &exchange.authorization {
            Some(token) => request.header("authorization", self.names.text(token)),
            None => request.bearer_auth(self.stranger.token(&node.did)),
        };
        if !body.is_string() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let answer = parsed(&answer.bytes().await.unwrap());
        assert_eq!(status, exchange.status, "{path}: {body} got {answer}");
        same_form(&exchange.answer, &answer, &path);
        self.names.learn(&exchange.answer, &answer);
    }

    /// Hears what the record has from the node of today, and answers as the earlier one did.
    async fn hear(&mut self, exchange: &Exchange) {
        let arrived = tokio::time::timeout(PATIENCE, self.arrived.recv()).await;
        let Ok(Some((method, path, body, reply))) = arrived else {
            panic!("the node never said {} {}", exchange.method, exchange.path)
        };
        same_form(&as_today(exchange.body.clone()), &body, &path);
        self.names.learn(&exchange.body, &body);
        let expected = self.names.text(&exchange.path);
        assert_eq!((method.as_str(), path.as_str()), (exchange.method.as_str(), expected.as_str()), "{body}");
        if body["agreement"].is_object() {
            self.agreement = body["agreement"].clone();
        }
        if let Some(signature) = body["urn:concordat:signature"].as_str() {
            assert_eq!(trust::agreement::version_of(signature), 1, "the earlier node knows no other");
        }
        let _ = reply.send((exchange.status, self.names.apply(&exchange.answer)));
    }
}

/// Plays all scenes, the node of today in one part, the record in the other.
async fn replay(record: &Value, part: Part) {
    let world = World::new();
    let node = world.local_node("today");
    node.publish(DATASET, ROWS.as_bytes(), &["--attribution"]);
    let mut earlier = Earlier::start(&world, part);
    let (mine, its) = match part {
        Part::Consumer => ("consumer", "provider"),
        Part::Provider => ("provider", "consumer"),
    };
    for (recorded, did, address) in
        [(mine, &earlier.stranger.did, &earlier.address), (its, &node.did, &node.address)]
    {
        earlier.names.set(&text(&record[recorded]["did"]), did);
        earlier.names.set(&text(&record[recorded]["address"]), address);
    }
    let scenes: Vec<Scene> = serde_json::from_value(record["scenes"].clone()).unwrap();
    assert!(scenes.len() > 8 && scenes.iter().any(|scene| !scene.exchanges.is_empty()));
    for scene in scenes {
        let command: Vec<_> = scene.command.iter().map(|one| earlier.names.text(one)).collect();
        let (dir, program) = (node.dir.clone(), node.program.clone());
        let acting = (scene.by != part).then(|| {
            tokio::task::spawn_blocking(move || {
                std::process::Command::new(program)
                    .args(["--json", "--dir"])
                    .arg(dir)
                    .args(command)
                    .output()
                    .unwrap()
            })
        });
        for exchange in &scene.exchanges {
            if exchange.from == part {
                earlier.say(&node, exchange).await;
            } else {
                earlier.hear(exchange).await;
            }
        }
        if let Some(acting) = acting {
            let output = tokio::time::timeout(PATIENCE, acting).await.unwrap().unwrap();
            assert!(
                output.status.success(),
                "{:?}: {}",
                scene.command,
                String::from_utf8_lossy(&output.stderr)
            );
            earlier.names.learn(&scene.result, &parsed(&output.stdout));
            if scene.command[0] == "pull" {
                assert_eq!(parsed(&output.stdout), scene.result);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_of_all_releases_are_replayed_in_both_parts() {
    if let Some((target, program)) = freezing() {
        record_all(&program, &target).await;
        return;
    }
    for release in released() {
        let record = std::fs::read_to_string(release.join("conversations.json")).unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        for part in [Part::Consumer, Part::Provider] {
            replay(&record, part).await;
        }
    }
}
