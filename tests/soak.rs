//! Two nodes with a bad network between them: messages are delayed, repeated, reordered and lost, answers too, while
//! operators on both sides do what they please. When the network heals, both sides agree on everything.
//!
//! `CONCORDAT_SOAK_SECONDS` sets the length (`./test soak` runs ninety seconds), `CONCORDAT_SOAK_SEED` repeats the choices.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};

use crate::support::{Chance, Node, World, free_port, number, settled};

const DATASET: &str = "urn:test:rows";
/// Processes that run at once.
const AT_ONCE: usize = 12;

/// Stands before a node.
struct Wire {
    client: reqwest::Client,
    target: String,
    chance: Mutex<Chance>,
    healed: Arc<AtomicBool>,
    mischief: Arc<AtomicU64>,
}

impl Wire {
    fn below(&self, bound: u64) -> u64 {
        self.chance.lock().unwrap().below(bound)
    }

    async fn forward(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response {
        let url = format!("{}{uri}", self.target);
        let mut request = self.client.request(method.clone(), url).body(body.clone());
        for name in ["authorization", "content-type"] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        match request.send().await {
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
            Ok(answer) => {
                let status = answer.status();
                let body = answer.bytes().await.unwrap_or_default();
                (status, [("content-type", "application/json")], body).into_response()
            }
        }
    }
}

async fn pass(
    State(wire): State<Arc<Wire>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if wire.healed.load(Ordering::Relaxed) {
        return wire.forward(&method, &uri, &headers, &body).await;
    }
    let choice = wire.below(10);
    if choice >= 4 {
        wire.mischief.fetch_add(1, Ordering::Relaxed);
    }
    match choice {
        // As it should be.
        0..=3 => wire.forward(&method, &uri, &headers, &body).await,
        // Late, so that others overtake it.
        4 | 5 => {
            tokio::time::sleep_until((Instant::now() + Duration::from_millis(wire.below(150))).into()).await;
            wire.forward(&method, &uri, &headers, &body).await
        }
        // Lost.
        6 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        // Arrived, but the answer is lost.
        7 => {
            wire.forward(&method, &uri, &headers, &body).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        // Twice, one after the other.
        8 => {
            wire.forward(&method, &uri, &headers, &body).await;
            wire.forward(&method, &uri, &headers, &body).await
        }
        // Twice at once.
        _ => {
            let (first, _) = tokio::join!(
                wire.forward(&method, &uri, &headers, &body),
                wire.forward(&method, &uri, &headers, &body)
            );
            first
        }
    }
}

/// A node that others reach only through a bad wire. Returns the address they use.
async fn behind_a_wire(
    node: &mut Node,
    header: &str,
    other: (&str, &str),
    seed: u64,
    shared: (&Arc<AtomicBool>, &Arc<AtomicU64>),
) -> String {
    let plain = free_port();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    node.close_network(plain, &address, header, &[other]);
    let wire = Wire {
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        target: format!("http://localhost:{plain}"),
        chance: Mutex::new(Chance(seed)),
        healed: Arc::clone(shared.0),
        mischief: Arc::clone(shared.1),
    };
    let router = Router::new().fallback(pass).with_state(Arc::new(wire));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("{address}/dsp/2025-1")
}

/// One thing that somebody does; what is not possible now is refused, which is fine.
async fn act(node: &Node, chance: &mut Chance) {
    let transfers = chance.below(2) == 0;
    let resource = if transfers { "transferprocesses" } else { "contractnegotiations" };
    let newest = json!({"limit": AT_ONCE, "sortOrder": "DESC"});
    let Ok((_, found)) = node.ask("POST", &format!("/v4/{resource}/request"), Some(newest)).await else {
        return;
    };
    let Some(list) = found.as_array().filter(|list| !list.is_empty()) else { return };
    let one = &list[usize::try_from(chance.below(list.len() as u64)).unwrap()];
    let moves: &[&str] = if transfers {
        &["suspend", "suspend", "resume", "resume", "complete", "terminate"]
    } else {
        &[
            "move/accept",
            "move/agree",
            "move/agree",
            "move/finalize",
            "move/offer",
            "move/request",
            "move/verify",
            "approve",
            "terminate",
        ]
    };
    let name = moves[usize::try_from(chance.below(moves.len() as u64)).unwrap()];
    let path = format!("/v4/{resource}/{}/{name}", trust::did::segment(one["@id"].as_str().unwrap()));
    let (status, answer) = node.ask("POST", &path, Some(json!({}))).await.unwrap();
    assert!(status < 500, "{path}: {status} {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_network_heals_both_sides_agree() {
    let seconds = number("CONCORDAT_SOAK_SECONDS").unwrap_or(5);
    let seed = Chance::seed("CONCORDAT_SOAK_SEED");
    eprintln!("{seconds} s, CONCORDAT_SOAK_SEED={seed}");
    let mut chance = Chance(seed);
    let world = World::new();
    let (mut provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let (healed, mischief) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (provider_did, consumer_did) = (provider.did.clone(), consumer.did.clone());
    let shared = (&healed, &mischief);
    let address =
        behind_a_wire(&mut provider, "provider", (&consumer_did, "consumer"), seed ^ 1, shared).await;
    behind_a_wire(&mut consumer, "consumer", (&provider_did, "provider"), seed ^ 2, shared).await;
    provider.publish(DATASET, b"a,b\n1,2\n", &["--automation", "manual"]);
    provider.publish("urn:test:auto", b"a,b\n1,2\n", &[]);
    let offers = provider.post("/v4/contractdefinitions/request", json!({})).await;
    assert_eq!(offers.as_array().unwrap().len(), 2);

    let mut policies = Vec::new();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for dataset in [DATASET, "urn:test:auto"] {
        // The wire may lose this as well.
        let policy = loop {
            let url = format!("{address}/catalog/datasets/{}", trust::did::segment(dataset));
            let answer = client.get(url).header("authorization", "consumer").send().await.unwrap();
            if answer.status().is_success() {
                let found: Value = answer.json().await.unwrap();
                break found["hasPolicy"][0].clone();
            }
        };
        let mut policy = policy;
        policy["assigner"] = json!(provider_did);
        policy["target"] = json!(dataset);
        policies.push(policy);
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut begun = 0;
    while Instant::now() < end {
        match chance.below(8) {
            0 => {
                let policy = &policies[usize::try_from(chance.below(2)).unwrap()];
                let automation = ["auto", "manual"][usize::try_from(chance.below(2)).unwrap()];
                let ask = json!({"policy": policy, "counterPartyAddress": address, "urn:concordat:automation": automation});
                consumer.post("/v4/contractnegotiations", ask).await;
                begun += 1;
            }
            1 => {
                let found = consumer
                    .post("/v4/contractagreements/request", json!({"limit": 20, "sortOrder": "DESC"}))
                    .await;
                if let Some(one) = found.as_array().unwrap().first() {
                    let ask = json!({"contractId": one["@id"], "transferType": "HttpData-PULL"});
                    consumer.post("/v4/transferprocesses", ask).await;
                }
            }
            2..=4 => act(&consumer, &mut chance).await,
            _ => act(&provider, &mut chance).await,
        }
    }
    healed.store(true, Ordering::Relaxed);
    let mut ends = std::collections::BTreeMap::new();
    for kind in ["contractnegotiations", "transferprocesses"] {
        let ours = settled(&consumer, kind).await;
        for (pid, (correlation, _)) in &ours {
            if correlation.is_empty() {
                // It ended before it reached the peer.
                continue;
            }
            let path = |pid: &str| format!("/v4/{kind}/{}", trust::did::segment(pid));
            let theirs =
                provider.until(&path(correlation), |one| one.get("urn:concordat:pending").is_none()).await;
            let ours = consumer
                .until(&path(pid), |one| {
                    one["state"] == theirs["state"] && one.get("urn:concordat:pending").is_none()
                })
                .await;
            assert_eq!(theirs["correlationId"], **pid);
            *ends.entry(format!("{kind} {}", ours["state"].as_str().unwrap())).or_insert(0) += 1;
        }
    }
    eprintln!(
        "{begun} negotiations begun, {} messages mistreated, ends: {ends:?}",
        mischief.load(Ordering::Relaxed)
    );
    assert!(mischief.load(Ordering::Relaxed) > 10 && ends.len() > 1, "{ends:?}");
    for node in [&provider, &consumer] {
        assert!(!node.log().contains("panicked") && !node.log().contains("ERROR"), "{}", node.log());
    }
}
