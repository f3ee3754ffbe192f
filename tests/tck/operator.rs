//! The operator that the DSP TCK's scenarios script: a program of its own that listens to a node's events and acts
//! through its management API, as a customer's automation would. It also serves the two addresses at which the suite
//! asks for a negotiation or a transfer to be begun.
//!
//! `tck-operator FOLDER LISTEN`: FOLDER is the node's; LISTEN the address for the suite.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test program"
)]

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

/// What the operator does when a process about `what` reaches a state for the `nth` time.
struct Rule {
    what: &'static str,
    role: &'static str,
    state: &'static str,
    nth: usize,
    act: &'static str,
}

const fn rule(
    what: &'static str,
    role: &'static str,
    state: &'static str,
    nth: usize,
    act: &'static str,
) -> Rule {
    Rule { what, role, state, nth, act }
}

const PROVIDER: &str = "PROVIDER";
const CONSUMER: &str = "CONSUMER";

/// Negotiations by dataset: whatever is not listed waits.
const NEGOTIATIONS: &[Rule] = &[
    rule("ACN0101", PROVIDER, "REQUESTED", 1, "move/offer"),
    rule("ACN0102", PROVIDER, "REQUESTED", 1, "move/offer"),
    rule("ACN0102", PROVIDER, "REQUESTED", 2, "terminate"),
    rule("ACN0103", PROVIDER, "REQUESTED", 1, "move/offer"),
    rule("ACN0103", PROVIDER, "ACCEPTED", 1, "move/agree"),
    rule("ACN0103", PROVIDER, "VERIFIED", 1, "move/finalize"),
    rule("ACN0104", PROVIDER, "REQUESTED", 1, "move/agree"),
    rule("ACN0104", PROVIDER, "VERIFIED", 1, "move/finalize"),
    rule("ACN0201", PROVIDER, "REQUESTED", 1, "terminate"),
    rule("ACN0203", PROVIDER, "REQUESTED", 1, "move/agree"),
    rule("ACN0204", PROVIDER, "REQUESTED", 1, "move/offer"),
    rule("ACN0205", PROVIDER, "REQUESTED", 1, "move/offer"),
    rule("ACN0205", PROVIDER, "OFFERED", 1, "terminate"),
    rule("ACN0206", PROVIDER, "REQUESTED", 1, "move/offer"),
    rule("ACN0206", PROVIDER, "ACCEPTED", 1, "terminate"),
    rule("ACN0207", PROVIDER, "REQUESTED", 1, "move/agree"),
    rule("ACN0207", PROVIDER, "VERIFIED", 1, "terminate"),
    rule("ACN0301", PROVIDER, "REQUESTED", 1, "move/agree"),
    rule("ACN0301", PROVIDER, "VERIFIED", 1, "move/finalize"),
    rule("ACN0302", PROVIDER, "REQUESTED", 1, "move/offer"),
    rule("ACN0303", PROVIDER, "REQUESTED", 1, "move/offer"),
    rule("ACN0304", PROVIDER, "REQUESTED", 1, "move/offer"),
    rule("ACNC0101", CONSUMER, "OFFERED", 1, "move/accept"),
    rule("ACNC0101", CONSUMER, "AGREED", 1, "move/verify"),
    rule("ACNC0102", CONSUMER, "OFFERED", 1, "move/request"),
    rule("ACNC0103", CONSUMER, "OFFERED", 1, "terminate"),
    rule("ACNC0104", CONSUMER, "AGREED", 1, "move/verify"),
    rule("ACNC0202", CONSUMER, "REQUESTED", 1, "terminate"),
    rule("ACNC0203", CONSUMER, "AGREED", 1, "terminate"),
    rule("ACNC0205", CONSUMER, "OFFERED", 1, "move/accept"),
    rule("ACNC0206", CONSUMER, "AGREED", 1, "move/verify"),
    rule("ACNC0304", CONSUMER, "OFFERED", 1, "move/accept"),
    rule("ACNC0305", CONSUMER, "OFFERED", 1, "move/accept"),
    rule("ACNC0306", CONSUMER, "OFFERED", 1, "move/accept"),
];

/// Transfers by agreement.
const TRANSFERS: &[Rule] = &[
    rule("ATP0101", PROVIDER, "REQUESTED", 1, "resume"),
    rule("ATP0101", PROVIDER, "STARTED", 1, "terminate"),
    rule("ATP0102", PROVIDER, "REQUESTED", 1, "resume"),
    rule("ATP0102", PROVIDER, "STARTED", 1, "complete"),
    rule("ATP0103", PROVIDER, "REQUESTED", 1, "resume"),
    rule("ATP0103", PROVIDER, "STARTED", 1, "suspend"),
    rule("ATP0103", PROVIDER, "SUSPENDED", 1, "terminate"),
    rule("ATP0104", PROVIDER, "REQUESTED", 1, "resume"),
    rule("ATP0104", PROVIDER, "STARTED", 1, "suspend"),
    rule("ATP0104", PROVIDER, "SUSPENDED", 1, "resume"),
    rule("ATP0104", PROVIDER, "STARTED", 2, "complete"),
    rule("ATP0105", PROVIDER, "REQUESTED", 1, "terminate"),
    rule("ATP0201", PROVIDER, "REQUESTED", 1, "resume"),
    rule("ATP0202", PROVIDER, "REQUESTED", 1, "resume"),
    rule("ATP0203", PROVIDER, "REQUESTED", 1, "resume"),
    rule("ATP0204", PROVIDER, "REQUESTED", 1, "resume"),
    rule("ATP0303", PROVIDER, "REQUESTED", 1, "resume"),
    rule("ATP0304", PROVIDER, "REQUESTED", 1, "resume"),
    rule("ATP0305", PROVIDER, "REQUESTED", 1, "resume"),
    rule("ATP0306", PROVIDER, "REQUESTED", 1, "resume"),
    rule("ATPC0201", CONSUMER, "STARTED", 1, "terminate"),
    rule("ATPC0202", CONSUMER, "STARTED", 1, "complete"),
    rule("ATPC0203", CONSUMER, "STARTED", 1, "suspend"),
    rule("ATPC0203", CONSUMER, "SUSPENDED", 1, "terminate"),
    rule("ATPC0204", CONSUMER, "STARTED", 1, "suspend"),
    rule("ATPC0204", CONSUMER, "SUSPENDED", 1, "resume"),
    rule("ATPC0204", CONSUMER, "STARTED", 2, "complete"),
    rule("ATPC0205", CONSUMER, "REQUESTED", 1, "terminate"),
];

/// How long the operator thinks before it acts. The suite stumbles over a message that reaches it before it has digested
/// the answer to its own: it answers 409 and listens no more, or takes a termination first and then fails because its own
/// start cannot follow it. No event tells when it has (EDC's own run waits too).
const REACTION: Duration = Duration::from_millis(250);

/// The participant that the suite plays.
const SUITE: &str = "TCK_PARTICIPANT";

struct Node {
    client: reqwest::Client,
    base: String,
    key: String,
    did: String,
}

impl Node {
    async fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let mut request =
            self.client.request(method, format!("{}{path}", self.base)).header("x-api-key", &self.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if status.is_success() { Ok(body) } else { Err(format!("{path}: {status} {body}")) }
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        self.call(reqwest::Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.call(reqwest::Method::POST, path, Some(body)).await
    }

    /// Datasets with their offers, and agreements made elsewhere.
    async fn seed(&self, folder: &Path, suite_address: &str) -> Result<(), String> {
        let file = folder.join("data/tck.csv");
        std::fs::write(&file, "a,b\n1,2\n").unwrap();
        let everything = json!({"@type": "Set", "permission": [{"action": "use"}]});
        self.post("/v4/policydefinitions", json!({"@id": "P123", "policy": everything})).await?;
        let datasets: HashSet<&str> = NEGOTIATIONS
            .iter()
            .filter(|rule| rule.role == PROVIDER)
            .map(|rule| rule.what)
            .chain(["ACN0202", "CAT0101", "CAT0102", "ATP0101"])
            .collect();
        for dataset in datasets {
            let address = json!({"@type": "DataAddress", "type": "File", "path": file});
            self.post("/v4/assets", json!({"@id": dataset, "properties": {}, "dataAddress": address}))
                .await?;
        }
        let definition = json!({"@id": "CD123", "accessPolicyId": "P123", "contractPolicyId": "P123",
            "urn:concordat:automation": "manual"});
        self.post("/v4/contractdefinitions", definition).await?;
        for (prefix, provider, consumer) in
            [("ATP", self.did.as_str(), SUITE), ("ATPC", SUITE, self.did.as_str())]
        {
            for group in [1..=5, 201..=205, 301..=306] {
                for number in group {
                    let number = if number < 100 { 100 + number } else { number };
                    let id = format!("{prefix}{number:04}");
                    let agreement = json!({"@id": id, "@type": "Agreement", "target": "ATP0101", "assigner": provider,
                        "assignee": consumer, "timestamp": "2026-01-01T00:00:00Z", "permission": [{"action": "use"}]});
                    let import = json!({"agreement": agreement, "counterPartyAddress": suite_address,
                        "urn:concordat:automation": "manual"});
                    self.post("/v4/contractagreements/import", import).await?;
                }
            }
        }
        Ok(())
    }

    /// Acts on events for ever.
    async fn operate(self: Arc<Self>) {
        let mut last: Option<String> = None;
        let mut acted: HashSet<(String, String, usize)> = HashSet::new();
        loop {
            let mut request =
                self.client.get(format!("{}/v4/events", self.base)).header("x-api-key", &self.key);
            if let Some(last) = &last {
                request = request.header("last-event-id", last);
            }
            let Ok(mut stream) = request.send().await else { panic!("the node is gone") };
            let mut buffer = String::new();
            while let Ok(Some(chunk)) = stream.chunk().await {
                buffer.push_str(&String::from_utf8_lossy(&chunk));
                while let Some((message, rest)) = buffer.split_once("\n\n") {
                    let field =
                        |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                    if let (Some(id), Some(data)) = (field("id:"), field("data:")) {
                        last = Some(id.to_owned());
                        let event: Value = serde_json::from_str(data).unwrap();
                        self.look(&event, &mut acted).await;
                    }
                    buffer = rest.to_owned();
                }
            }
        }
    }

    /// Looks at the process of an event and makes the move that is due, once.
    #[expect(clippy::disallowed_methods, reason = "see REACTION: the suite gives no event to wait for")]
    async fn look(&self, event: &Value, acted: &mut HashSet<(String, String, usize)>) {
        let (rules, resource, about) = match event["kind"].as_str() {
            Some("negotiation") => (NEGOTIATIONS, "contractnegotiations", "assetId"),
            Some("transfer") => (TRANSFERS, "transferprocesses", "contractId"),
            _ => return,
        };
        let pid = event["subject"].as_str().unwrap_or_default().to_owned();
        let path = format!("/v4/{resource}/{pid}");
        let Ok(found) = self.get(&path).await else { return };
        if found.get("urn:concordat:pending").is_some() {
            return;
        }
        let text = |name: &str| found[name].as_str().unwrap_or_default();
        let state = text("state").to_owned();
        // How often the state was reached: each earlier time was acted upon.
        let nth = 1 + (1..4).filter(|nth| acted.contains(&(pid.clone(), state.clone(), *nth))).count();
        let due = rules.iter().find(|rule| {
            rule.what == text(about) && rule.role == text("type") && rule.state == state && rule.nth == nth
        });
        if let Some(rule) = due {
            acted.insert((pid, state, nth));
            tokio::time::sleep(REACTION).await;
            let outcome = self.post(&format!("{path}/{}", rule.act), json!({})).await;
            println!(
                "{} {} {}: {}",
                rule.what,
                rule.state,
                rule.act,
                outcome.map_or_else(|error| error, |_| "done".to_owned())
            );
        }
    }

    /// The suite wants a negotiation.
    async fn begin_negotiation(&self, wish: &Value) -> Result<Value, String> {
        let offer = json!({"@id": wish["offerId"], "@type": "Offer", "assigner": wish["providerId"],
            "target": wish["datasetId"], "permission": [{"action": "use"}]});
        let request = json!({"counterPartyAddress": wish["connectorAddress"], "policy": offer,
            "urn:concordat:automation": "manual"});
        self.post("/v4/contractnegotiations", request).await
    }

    /// The suite wants a transfer.
    async fn begin_transfer(&self, wish: &Value) -> Result<Value, String> {
        let request = json!({"contractId": wish["agreementId"], "transferType": wish["format"],
            "counterPartyAddress": wish["connectorAddress"]});
        self.post("/v4/transferprocesses", request).await
    }
}

#[tokio::main]
async fn main() {
    connector::tls::install_provider();
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(listen)) = (arguments.next(), arguments.next()) else {
        panic!("usage: tck-operator FOLDER LISTEN")
    };
    let folder = Path::new(&folder);
    let config = connector::config::Config::load(folder).unwrap();
    let node = Arc::new(Node {
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        base: format!("http://{}", config.management.listen),
        key: std::fs::read_to_string(config.path(&config.management.key)).unwrap(),
        did: config.participant.did,
    });
    let suite = std::env::var("TCK_ADDRESS").unwrap_or_else(|_| "http://localhost:8083".to_owned());
    node.seed(folder, &suite).await.unwrap();
    let routes = Router::new()
        .route(
            "/negotiations",
            post(async |State(node): State<Arc<Node>>, Json(wish): Json<Value>| {
                node.begin_negotiation(&wish)
                    .await
                    .map(Json)
                    .map_err(|error| (http::StatusCode::BAD_REQUEST, error))
            }),
        )
        .route(
            "/transfers",
            post(async |State(node): State<Arc<Node>>, Json(wish): Json<Value>| {
                node.begin_transfer(&wish)
                    .await
                    .map(Json)
                    .map_err(|error| (http::StatusCode::BAD_REQUEST, error))
            }),
        )
        .with_state(Arc::clone(&node));
    let listener = tokio::net::TcpListener::bind(&listen).await.unwrap();
    println!("ready");
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
    tokio::select! {
        _ = serving => {}
        () = node.operate() => {}
    }
}
