//! A personal data operator and the registry of a trust group, as small programs of their own, for tests: `operator` serves
//! its metadata (5.7), introspection (5.4) and its log (5.6), and makes tickets for who asks on `/tickets`; `registry` serves
//! a signed trust group (5.1). Both print their address and key on standard output, and live until standard input closes.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program for tests"
)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Form, Path as Segment, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use trust::{Algorithm, PrivateKey};

struct Operator {
    uuid: String,
    address: String,
    key: PrivateKey,
    /// What introspection answers next, by the ticket's `jti`.
    answers: Mutex<std::collections::HashMap<String, Value>>,
    log: Mutex<Vec<Value>>,
}

fn claims(compact: &str) -> Value {
    let payload = compact.split('.').nth(1).unwrap_or_default();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap_or_default()).unwrap_or_default()
}

/// Makes a ticket: what is asked for are its claims, and under `answer` what introspection shall say of it.
async fn tickets(State(operator): State<Arc<Operator>>, Json(asked): Json<Value>) -> Json<Value> {
    let mut ticket = asked["claims"].clone();
    ticket["iss"] = json!(operator.uuid);
    let jti = ticket["jti"].as_str().unwrap_or_default().to_owned();
    operator.answers.lock().unwrap().insert(jti, asked["answer"].clone());
    Json(json!({"ticket": operator.key.sign("operator-key", "JWT", ticket.to_string().as_bytes()).unwrap()}))
}

async fn introspect(
    State(operator): State<Arc<Operator>>,
    Form(form): Form<std::collections::HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let jti = claims(&form["token"])["jti"].as_str().unwrap_or_default().to_owned();
    let answer = operator.answers.lock().unwrap().get(&jti).cloned();
    let answer = answer.unwrap_or_else(|| json!({"active": false, "reason": "unknown ticket"}));
    match answer["mode"].as_str() {
        Some("slow") => {
            let _ = tokio::time::timeout(Duration::from_secs(60), std::future::pending::<()>()).await;
            (StatusCode::OK, Json(json!({})))
        }
        Some("down") => (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({}))),
        _ => (StatusCode::OK, Json(answer)),
    }
}

async fn log_entry(
    State(operator): State<Arc<Operator>>,
    Segment(id): Segment<String>,
    Json(body): Json<Value>,
) -> StatusCode {
    operator.log.lock().unwrap().push(json!({"item": id, "body": body}));
    StatusCode::NO_CONTENT
}

async fn log(State(operator): State<Arc<Operator>>) -> Json<Value> {
    Json(json!(*operator.log.lock().unwrap()))
}

async fn metadata(State(operator): State<Arc<Operator>>) -> Json<Value> {
    let mut key = operator.key.public_jwk().clone();
    key["kid"] = json!("operator-key");
    Json(json!({
        "operator_uuid": operator.uuid, "operator_key": key, "name": "Operator for tests", "vendor": "tests",
        "operator_base_url": operator.address, "introspection_url": "/introspection", "api_guide": operator.address,
    }))
}

fn group(key: &PrivateKey, members: &[(String, String)]) -> Value {
    let members: Vec<_> = members
        .iter()
        .map(|(uuid, address)| json!({"operatorDescription": {"operator_uuid": uuid, "name": "O", "operator_base_url": address}}))
        .collect();
    let payload = json!({"trust_group": {"trust_group_uuid": connector::ids::uuid(), "members": members}});
    let compact = key.sign("registry-key", "JWT", payload.to_string().as_bytes()).unwrap();
    let parts: Vec<_> = compact.split('.').collect();
    json!({"payload": parts[1], "signatures": [{"protected": parts[0], "signature": parts[2]}]})
}

/// Arguments: `operator UUID CERTIFICATE KEY`, or `registry CERTIFICATE KEY [UUID=ADDRESS ...]`.
#[tokio::main]
async fn main() {
    connector::tls::install_provider();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let public = key.public_jwk().clone();
    let is_operator = arguments[0] == "operator";
    let (router, files) = if is_operator {
        let operator = Arc::new(Operator {
            uuid: arguments[1].clone(),
            address: address.clone(),
            key,
            answers: Mutex::default(),
            log: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/mydataoperator-config", get(metadata))
            .route("/introspection", post(introspect))
            .route("/access-items/{id}", put(log_entry))
            .route("/log", get(log))
            .route("/tickets", post(tickets))
            .with_state(operator);
        (router, (&arguments[2], &arguments[3]))
    } else {
        let pairs = arguments[3..].iter().filter_map(|one| one.split_once('='));
        let members: Vec<_> = pairs.map(|(uuid, address)| (uuid.to_owned(), address.to_owned())).collect();
        let signed = group(&key, &members);
        let router = Router::new().route("/trustlist-api/groups", get(async move || Json(signed.clone())));
        (router, (&arguments[1], &arguments[2]))
    };
    let chain = connector::tls::certificates(Path::new(files.0)).unwrap();
    let private = std::fs::read(files.1).unwrap();
    let private =
        <rustls::pki_types::PrivateKeyDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(&private)
            .unwrap();
    let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private).unwrap();
    println!("{}", json!({"address": address, "key": public}));
    let stop = CancellationToken::new();
    let tls = Some(tokio::sync::watch::channel(Arc::new(tls)).1);
    let serving = tokio::spawn(connector::http::listener::serve(
        listener,
        tls,
        router,
        connector::config::Bounds::default(),
        stop.clone(),
    ));
    let mut rest = String::new();
    let _ = tokio::io::AsyncReadExt::read_to_string(&mut tokio::io::stdin(), &mut rest).await;
    stop.cancel();
    let _ = serving.await;
}
