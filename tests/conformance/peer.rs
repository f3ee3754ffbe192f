//! A peer that the test plays against a node in a closed test network, driven by short scripts.
//!
//! A script is steps separated by `;`: `>x` the peer sends x and it is taken; `!x` it is refused with 400 and the
//! protocol's error; `&x` it is sent without an id, twice, and taken as one; `<x` the node sends x; `@x` the node's operator makes the move x; `=S` both GET and the node's own
//! record say state S.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

use crate::support::{CONTEXT, Node, World, free_port};

pub const PEER: &str = "urn:test:peer";
pub const HEADER: &str = "peer-header";
/// A third participant.
const OTHER: &str = "urn:test:other-peer";
pub const OTHERS_HEADER: &str = "other-peer-header";
pub const DATASET: &str = "urn:test:rows";
const ROWS: &[u8] = b"a,b\n1,2\n";
const WAIT: std::time::Duration = std::time::Duration::from_secs(20);

/// What the node sent: path and body.
type Sent = (String, Value);

pub struct Peer {
    pub node: Node,
    /// The node's plain address.
    pub base: String,
    pub address: String,
    pub client: reqwest::Client,
    /// So many of the node's messages are refused with a status before one is taken.
    pub refusing: Arc<Mutex<(usize, http::StatusCode)>>,
    sent: Mutex<mpsc::UnboundedReceiver<Sent>>,
    _world: World,
}

/// One process as both know it.
#[derive(Debug, Clone)]
pub struct Process {
    pub kind: &'static str,
    pub provider_pid: String,
    pub consumer_pid: String,
    /// The node's own pid.
    pub own: String,
    pub is_provider: bool,
}

#[derive(Debug, Clone)]
struct Ear {
    sent: mpsc::UnboundedSender<Sent>,
    refusing: Arc<Mutex<(usize, http::StatusCode)>>,
}

async fn take(State(ear): State<Ear>, uri: Uri, Json(body): Json<Value>) -> Response {
    let mut refusing = ear.refusing.lock().await;
    if refusing.0 > 0 {
        refusing.0 -= 1;
        return refusing.1.into_response();
    }
    let pid = json!(connector::ids::urn());
    let answer = match body["@type"].as_str().unwrap() {
        "ContractRequestMessage" if body.get("providerPid").is_none() => json!({"@context": [CONTEXT],
            "@type": "ContractNegotiation", "consumerPid": body["consumerPid"], "providerPid": pid, "state": "REQUESTED"}),
        "ContractOfferMessage" if body.get("consumerPid").is_none() => json!({"@context": [CONTEXT],
            "@type": "ContractNegotiation", "providerPid": body["providerPid"], "consumerPid": pid, "state": "OFFERED"}),
        "TransferRequestMessage" => json!({"@context": [CONTEXT], "@type": "TransferProcess",
            "consumerPid": body["consumerPid"], "providerPid": pid, "state": "REQUESTED"}),
        _ => Value::Null,
    };
    let mut told = body;
    told["urn:test:answered"] = answer.clone();
    ear.sent.send((uri.path().to_owned(), told)).unwrap();
    if answer.is_null() { http::StatusCode::OK.into_response() } else { Json(answer).into_response() }
}

impl Peer {
    /// A node in a closed test network, with one dataset offered under `automation`.
    pub async fn new(automation: &str) -> Self {
        let world = World::new();
        let mut node = world.local_node("node");
        let plain = free_port();
        node.close_network(
            plain,
            &format!("http://localhost:{plain}"),
            "node-header",
            &[(PEER, HEADER), (OTHER, OTHERS_HEADER)],
        );
        node.publish(DATASET, ROWS, &["--automation", automation]);
        let (sender, sent) = mpsc::unbounded_channel();
        let refusing = Arc::new(Mutex::new((0, http::StatusCode::CONFLICT)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let router =
            Router::new().fallback(take).with_state(Ear { sent: sender, refusing: Arc::clone(&refusing) });
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = format!("http://localhost:{plain}/dsp/2025-1");
        Self { node, base, address, client, refusing, sent: Mutex::new(sent), _world: world }
    }

    pub async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        crate::support::answer(self.send_as(HEADER, method, path, body).await).await
    }

    /// As the participant with this header.
    pub async fn send_as(
        &self,
        header: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> reqwest::Response {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request =
            self.client.request(method, format!("{}{path}", self.base)).header("authorization", header);
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.unwrap()
    }

    /// The next message of the node.
    pub async fn next(&self) -> Sent {
        let next = tokio::time::timeout(WAIT, async { self.sent.lock().await.recv().await }).await;
        next.unwrap_or_else(|_| panic!("the node sends nothing\n{}", self.node.log())).unwrap()
    }

    pub async fn offer(&self) -> Value {
        let (status, dataset) =
            self.send("GET", &format!("/catalog/datasets/{}", trust::did::segment(DATASET)), None).await;
        assert_eq!(status, 200, "{dataset}");
        let mut offer = dataset["hasPolicy"][0].clone();
        offer["target"] = json!(DATASET);
        offer
    }

    /// The peer asks the node as its provider.
    pub async fn ask(&self) -> Process {
        let consumer_pid = connector::ids::urn();
        let body = message(
            "ContractRequestMessage",
            json!({"consumerPid": consumer_pid, "callbackAddress": self.address,
            "offer": self.offer().await}),
        );
        let (status, answer) = self.send("POST", "/negotiations/request", Some(&body)).await;
        assert_eq!((status, answer["state"].as_str()), (201, Some("REQUESTED")), "{answer}");
        let provider_pid = answer["providerPid"].as_str().unwrap().to_owned();
        Process {
            kind: "negotiations",
            own: provider_pid.clone(),
            provider_pid,
            consumer_pid,
            is_provider: true,
        }
    }

    /// The node asks the peer as its provider, every move by its operator.
    pub async fn be_asked(&self) -> Process {
        let policy = json!({"@id": "urn:test:offer", "@type": "Offer", "assigner": PEER, "target": "urn:test:theirs",
            "permission": [{"action": "use"}]});
        let request = json!({"counterPartyAddress": self.address, "policy": policy, "urn:concordat:automation": "manual"});
        self.node.post("/v4/contractnegotiations", request).await;
        let (path, body) = self.next().await;
        assert_eq!(path, "/negotiations/request");
        assert_eq!(body["offer"]["@id"], "urn:test:offer", "the offer's id as given");
        assert_eq!(body["offer"]["target"], "urn:test:theirs");
        self.known("negotiations", &body, false).await
    }

    /// An agreement made elsewhere.
    pub async fn import(&self, node_provides: bool) -> String {
        let id = connector::ids::urn();
        let did = self.node.did.as_str();
        let (assigner, assignee) = if node_provides { (did, PEER) } else { (PEER, did) };
        let agreement = json!({"@id": id, "@type": "Agreement", "target": DATASET, "assigner": assigner,
            "assignee": assignee, "timestamp": "2026-01-01T00:00:00Z", "permission": [{"action": "use"}]});
        let import = json!({"agreement": agreement, "counterPartyAddress": self.address, "urn:concordat:automation": "manual"});
        self.node.post("/v4/contractagreements/import", import).await;
        id
    }

    /// The peer asks the node for a transfer.
    pub async fn ask_transfer(&self) -> Process {
        let consumer_pid = connector::ids::urn();
        let body = message(
            "TransferRequestMessage",
            json!({"consumerPid": consumer_pid, "agreementId": self.import(true).await,
            "format": "HttpData-PULL", "callbackAddress": self.address}),
        );
        let (status, answer) = self.send("POST", "/transfers/request", Some(&body)).await;
        assert_eq!((status, answer["state"].as_str()), (201, Some("REQUESTED")), "{answer}");
        let provider_pid = answer["providerPid"].as_str().unwrap().to_owned();
        Process {
            kind: "transfers",
            own: provider_pid.clone(),
            provider_pid,
            consumer_pid,
            is_provider: true,
        }
    }

    /// The node asks the peer for a transfer.
    pub async fn be_asked_transfer(&self) -> Process {
        let request = json!({"contractId": self.import(false).await, "transferType": "HttpData-PULL"});
        self.node.post("/v4/transferprocesses", request).await;
        let (path, body) = self.next().await;
        assert_eq!(path, "/transfers/request");
        assert_eq!(body.get("dataAddress"), None, "where to pull from is for the provider to say");
        self.known("transfers", &body, false).await
    }

    /// Waits until the node knows the pid that the peer answered with.
    pub async fn known(&self, kind: &'static str, body: &Value, is_provider: bool) -> Process {
        let text = |name: &str| body["urn:test:answered"][name].as_str().unwrap().to_owned();
        let (provider_pid, consumer_pid) = (text("providerPid"), text("consumerPid"));
        let own = if is_provider { provider_pid.clone() } else { consumer_pid.clone() };
        let process = Process { kind, provider_pid, consumer_pid, own, is_provider };
        self.node.until(&process.resource(), |one| one.get("urn:concordat:pending").is_none()).await;
        process
    }

    pub async fn play(&self, process: &Process, script: &str) {
        for step in script.split(';').map(str::trim).filter(|step| !step.is_empty()) {
            let (what, name) = step.split_at(1);
            match what {
                ">" => {
                    let (status, answer) = self.say(process, name).await;
                    assert_eq!(status, 200, "{step} of `{script}`: {answer}");
                }
                "&" => {
                    let (path, mut body) = self.saying(process, name).await;
                    body.as_object_mut().unwrap().remove("@id");
                    for time in ["first", "second"] {
                        let (status, answer) = self.send("POST", &path, Some(&body)).await;
                        assert_eq!(status, 200, "the {time} {step} of `{script}`: {answer}");
                    }
                }
                "!" => {
                    let (status, answer) = self.say(process, name).await;
                    assert_eq!(status, 400, "{step} of `{script}`: {answer}");
                    let kind = if process.kind == "transfers" {
                        "TransferError"
                    } else {
                        "ContractNegotiationError"
                    };
                    assert_eq!(answer["@type"], kind, "{answer}");
                    assert_eq!(answer["providerPid"], process.provider_pid.as_str(), "{answer}");
                    assert_eq!(answer["consumerPid"], process.consumer_pid.as_str(), "{answer}");
                    assert!(answer["reason"].as_array().is_some_and(|list| !list.is_empty()), "{answer}");
                }
                "<" => {
                    let (path, body) = self.next().await;
                    let theirs =
                        if process.is_provider { &process.consumer_pid } else { &process.provider_pid };
                    assert_eq!(
                        path,
                        format!("/{}/{theirs}/{}", process.kind, leaf(name)),
                        "{step} of `{script}`"
                    );
                    if let Some(event) = name.strip_prefix("event:") {
                        assert_eq!(body["eventType"], event);
                    }
                    // What the node sent is acknowledged before its next move.
                    self.node
                        .until(&process.resource(), |one| one.get("urn:concordat:pending").is_none())
                        .await;
                }
                "@" => {
                    self.node.post(&format!("{}/{name}", process.resource()), json!({})).await;
                }
                "=" => {
                    let (status, answer) =
                        self.send("GET", &format!("/{}/{}", process.kind, process.own), None).await;
                    assert_eq!(
                        (status, answer["state"].as_str()),
                        (200, Some(name)),
                        "{step} of `{script}`: {answer}"
                    );
                    let ours = self.node.get(&process.resource()).await;
                    assert_eq!(ours["state"], name, "{step} of `{script}`: {ours}");
                }
                _ => panic!("`{step}` is no step"),
            }
        }
    }

    async fn say(&self, process: &Process, name: &str) -> (u16, Value) {
        let (path, body) = self.saying(process, name).await;
        self.send("POST", &path, Some(&body)).await
    }

    /// A message of the peer, and where it goes.
    async fn saying(&self, process: &Process, name: &str) -> (String, Value) {
        let pids = json!({"providerPid": process.provider_pid, "consumerPid": process.consumer_pid});
        let (kind, rest) = match name {
            "accept" => ("ContractNegotiationEventMessage", json!({"eventType": "ACCEPTED"})),
            "agreement" => (
                "ContractAgreementMessage",
                json!({"agreement": {"@id": connector::ids::urn(), "@type": "Agreement",
                "target": "urn:test:theirs", "assigner": PEER, "assignee": self.node.did, "timestamp": "2026-01-01T00:00:00Z",
                "permission": [{"action": "use"}]}}),
            ),
            "completion" => ("TransferCompletionMessage", json!({})),
            "finalize" => ("ContractNegotiationEventMessage", json!({"eventType": "FINALIZED"})),
            "offer" => (
                "ContractOfferMessage",
                json!({"offer": {"@id": "urn:test:other", "@type": "Offer",
                "target": "urn:test:theirs", "permission": [{"action": "use"}]}}),
            ),
            "request" => ("ContractRequestMessage", json!({"offer": self.offer().await})),
            "start" => (
                "TransferStartMessage",
                json!({"dataAddress": {"@type": "DataAddress",
                "endpointType": "https://w3id.org/idsa/v4.1/HTTP", "endpoint": "http://example.com"}}),
            ),
            "resume" => ("TransferStartMessage", json!({})),
            "suspension" => ("TransferSuspensionMessage", json!({"reason": ["pause"]})),
            "termination" if process.kind == "transfers" => {
                ("TransferTerminationMessage", json!({"code": "1"}))
            }
            "termination" => ("ContractNegotiationTerminationMessage", json!({"code": "1"})),
            "verification" => ("ContractAgreementVerificationMessage", json!({})),
            other => panic!("`{other}` is no message"),
        };
        let mut body = message(kind, pids);
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        (format!("/{}/{}/{}", process.kind, process.own, leaf(name)), body)
    }
}

impl Process {
    pub fn resource(&self) -> String {
        let kind = if self.kind == "transfers" { "transferprocesses" } else { "contractnegotiations" };
        format!("/v4/{kind}/{}", trust::did::segment(&self.own))
    }
}

/// Where a message goes below its process.
fn leaf(name: &str) -> &str {
    match name {
        "accept" | "finalize" => "events",
        "offer" => "offers",
        "resume" => "start",
        "verification" => "agreement/verification",
        name if name.starts_with("event:") => "events",
        name => name,
    }
}

pub fn message(kind: &str, rest: Value) -> Value {
    let mut message = json!({"@context": [CONTEXT], "@type": kind, "@id": connector::ids::urn()});
    message.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    message
}
