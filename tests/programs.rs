//! What programs of EDC's management API rely on beyond the forms of documents: addresses and secrets of upstreams, events that
//! are called back, a reference in one call, queries, and what they mean by an empty policy.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::sync::watch;
use trust::did::segment;

use crate::support::{Node, World};

/// A request that a program of the test was sent.
#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A program at an address of its own, which keeps what it is asked and answers with what it was sent, or with rows.
struct Program {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    count: watch::Receiver<usize>,
    status: Arc<Mutex<StatusCode>>,
}

type Kept = (Arc<Mutex<Vec<Asked>>>, watch::Sender<usize>, Arc<Mutex<StatusCode>>);

impl Program {
    async fn start() -> Self {
        async fn take(
            State((asked, count, status)): State<Kept>,
            method: Method,
            uri: Uri,
            headers: HeaderMap,
            body: Bytes,
        ) -> Response {
            let status = *status.lock().unwrap();
            if status.is_success() {
                asked.lock().unwrap().push(Asked { method, uri, headers, body: body.clone() });
            }
            count.send_modify(|count| *count += 1);
            let answer = if body.is_empty() { Bytes::from_static(b"a,b\n1,2\n") } else { body };
            (status, [("content-type", "text/csv")], answer).into_response()
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (sender, count) = watch::channel(0);
        let (asked, status) = (Arc::default(), Arc::new(Mutex::new(StatusCode::OK)));
        let router = axum::Router::new().fallback(take);
        let router = router.with_state((Arc::clone(&asked), sender, Arc::clone(&status)));
        tokio::spawn(connector::http::listener::serve(
            listener,
            None,
            router,
            connector::config::Bounds::default(),
            tokio_util::sync::CancellationToken::new(),
        ));
        Self { address, asked, count, status }
    }

    fn last(&self) -> Asked {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    /// What it was sent, once there are so many.
    async fn sent(&self, least: usize) -> Vec<Asked> {
        let mut count = self.count.clone();
        let enough = count.wait_for(|_| self.asked.lock().unwrap().len() >= least);
        let came = tokio::time::timeout(std::time::Duration::from_secs(30), enough).await;
        let asked = self.asked.lock().unwrap().clone();
        match came {
            Ok(came) => drop(came.unwrap()),
            Err(_) => panic!("{} of {least} came: {asked:#?}", asked.len()),
        }
        asked
    }
}

const OPEN: &str = "open";

/// Publishes an asset as programs of EDC do, under an empty policy.
async fn offer(node: &Node, asset: Value) {
    let id = asset["@id"].as_str().unwrap().to_owned();
    node.post("/v3/assets", asset).await;
    let policy = json!({"@id": OPEN, "policy": {"@type": "Set", "permission": [], "prohibition": [], "obligation": []}});
    let (status, answer) = node.ask("POST", "/v3/policydefinitions", Some(policy)).await.unwrap();
    assert!([200, 409].contains(&status), "{answer}");
    let definition = json!({"@id": id, "accessPolicyId": OPEN, "contractPolicyId": OPEN, "assetsSelector": {
        "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "=", "operandRight": id}});
    node.post("/v3/contractdefinitions", definition).await;
}

fn at(node: &Node) -> String {
    format!("{}/dsp/2025-1", node.address)
}

/// Asks for a reference to `dataset` in one call, with what else the body says; the id of the negotiation.
async fn ask(consumer: &Node, provider: &Node, dataset: &str, more: Value) -> String {
    let catalog = json!({"counterPartyAddress": at(provider), "counterPartyId": provider.did, "querySpec": {
        "filterExpression": [{"operandLeft": "id", "operator": "=", "operandRight": dataset}]}});
    let catalog = consumer.post("/v3/catalog/request", catalog).await;
    let datasets = catalog["dcat:dataset"].as_array().unwrap();
    assert_eq!(datasets.len(), 1, "{catalog}");
    let offer = &datasets[0]["odrl:hasPolicy"];
    assert_eq!(
        offer["odrl:permission"]["odrl:action"]["@id"], "odrl:use",
        "offered as one permission: {offer}"
    );
    let mut request = json!({"counterPartyAddress": at(provider), "policy": {
        "@id": offer["@id"], "@type": "odrl:Offer", "assigner": provider.did, "target": dataset}});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    consumer.post("/v3/edrs", request).await["@id"].as_str().unwrap().to_owned()
}

/// The transfer that began by itself.
async fn begun(consumer: &Node, negotiation: &str) -> String {
    let path = format!("/v3/contractnegotiations/{}", segment(negotiation));
    let agreed = consumer.until(&path, |one| one["state"] == "FINALIZED").await;
    let query = json!({"filterExpression": [
        {"operandLeft": "agreementId", "operator": "=", "operandRight": agreed["contractAgreementId"]}]});
    let entries = asked(consumer, "/v3/edrs/request", &query, |found| found == 1).await;
    assert_eq!(entries[0]["contractNegotiationId"], negotiation);
    entries[0]["transferProcessId"].as_str().unwrap().to_owned()
}

/// What a query finds, once it finds as many as are wanted.
async fn asked(node: &Node, path: &str, query: &Value, enough: impl Fn(usize) -> bool) -> Vec<Value> {
    let looking = async {
        loop {
            let found = node.post(path, query.clone()).await.as_array().unwrap().clone();
            if enough(found.len()) {
                return found;
            }
        }
    };
    match tokio::time::timeout(std::time::Duration::from_secs(60), looking).await {
        Ok(found) => found,
        Err(_) => panic!("{path} never found them\n{}", node.log()),
    }
}

async fn read(consumer: &Node, transfer: &str, method: Method, below: &str, body: &str) -> (u16, String) {
    let address = consumer.get(&format!("/v3/edrs/{}/dataaddress", segment(transfer))).await;
    let url = format!("{}{below}", address["endpoint"].as_str().unwrap());
    let request =
        consumer.client.request(method, url).bearer_auth(address["authorization"].as_str().unwrap());
    let answer = request.body(body.to_owned()).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_edc_is_read_as_it_says() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let upstream = Program::start().await;
    let mut asset: Value =
        serde_json::from_str(include_str!("../../shared/cases/interop/edc-asset.json")).unwrap();
    asset["dataAddress"]["baseUrl"] = json!(format!("{}/no2?station=7", upstream.address));
    offer(&provider, asset).await;
    // The secret may come after the asset that names it.
    provider.post("/v3/secrets", json!({"@id": "upstream", "value": "hidden"})).await;
    let transfer = begun(&consumer, &ask(&consumer, &provider, "edc1", json!({})).await).await;

    assert_eq!(read(&consumer, &transfer, Method::GET, "", "").await, (200, "a,b\n1,2\n".to_owned()));
    let asked = upstream.last();
    assert_eq!((asked.header("x-api-key"), asked.header("x-tenant")), (Some("hidden"), Some("city")));
    assert_eq!(asked.uri.to_string(), "/no2?station=7");
    let (status, _) = read(&consumer, &transfer, Method::GET, "/2026/11?hour=5", "").await;
    assert_eq!((status, upstream.last().uri.to_string()), (200, "/no2/2026/11?station=7&hour=5".to_owned()));
    // What is fixed stays, nothing leads elsewhere, and neither method nor body are the reader's here.
    assert_eq!(read(&consumer, &transfer, Method::GET, "?station=8", "").await.0, 400);
    assert_eq!(read(&consumer, &transfer, Method::GET, "/a%2f..%2f..%2fadmin", "").await.0, 404);
    assert_eq!(read(&consumer, &transfer, Method::POST, "", "x").await.0, 405);
    // Name, description, media type and version of the asset are told, found and compared.
    let found = consumer.post("/v4/search", json!({"text": "hourly"})).await;
    assert_eq!(found["total"], 0, "not crawled");
    let catalog = json!({"counterPartyAddress": at(&provider), "counterPartyId": provider.did, "querySpec": {
        "filterExpression": [{"operandLeft": "contenttype", "operator": "like", "operandRight": "text/%"}]}});
    let shown = consumer.post("/v3/catalog/request", catalog).await["dcat:dataset"][0].clone();
    for (name, value) in [
        ("name", "Air quality"),
        ("description", "Hourly NO2"),
        ("contenttype", "text/csv"),
        ("version", "1.0"),
        ("id", "edc1"),
    ] {
        assert_eq!(shown[name], value, "{shown}");
    }
    assert_eq!(provider.post("/v4/search", json!({"text": "hourly"})).await["total"], 1);

    provider.ask("DELETE", "/v3/secrets/upstream", None).await.unwrap();
    assert_eq!(read(&consumer, &transfer, Method::GET, "", "").await.0, 502);
    assert!(provider.log().contains("there is no secret `upstream`"), "{}", provider.log());

    // Whoever chooses the method sends what is theirs; a fixed method and body are sent whatever the reader does.
    let chosen =
        json!({"type": "HttpData", "baseUrl": upstream.address, "proxyMethod": "true", "proxyBody": true});
    offer(&provider, json!({"@id": "chosen", "properties": {}, "dataAddress": chosen})).await;
    let transfer = begun(&consumer, &ask(&consumer, &provider, "chosen", json!({})).await).await;
    assert_eq!(read(&consumer, &transfer, Method::PUT, "", "mine").await, (200, "mine".to_owned()));
    assert_eq!(upstream.last().method, Method::PUT);
    // Who may choose how, and not what, sends nothing.
    let bare = json!({"type": "HttpData", "baseUrl": upstream.address, "proxyMethod": true});
    offer(&provider, json!({"@id": "bare", "properties": {}, "dataAddress": bare})).await;
    let transfer = begun(&consumer, &ask(&consumer, &provider, "bare", json!({})).await).await;
    assert_eq!(read(&consumer, &transfer, Method::POST, "", "theirs").await.0, 200);
    assert_eq!((upstream.last().method, upstream.last().body.len()), (Method::POST, 0));
    let fixed = json!({"type": "HttpData", "baseUrl": upstream.address, "path": "/ask", "queryParams": "a=1", "method": "post",
        "body": "question", "contentType": "text/plain", "name": "a name"});
    offer(&provider, json!({"@id": "fixed", "properties": {}, "dataAddress": fixed})).await;
    let transfer = begun(&consumer, &ask(&consumer, &provider, "fixed", json!({})).await).await;
    assert_eq!(read(&consumer, &transfer, Method::GET, "", "").await, (200, "question".to_owned()));
    let asked = upstream.last();
    assert_eq!((asked.method.clone(), asked.uri.to_string()), (Method::POST, "/ask?a=1".to_owned()));
    assert_eq!((asked.header("content-type"), &asked.body[..]), (Some("text/plain"), b"question".as_slice()));
}

#[tokio::test]
async fn what_an_address_cannot_be_is_refused_by_name() {
    let world = World::new();
    let node = world.local_node("node");
    for (more, expected) in [
        (json!({"header:Host": "x"}), "header:Host"),
        (json!({"header:a b": "x"}), "header:a b"),
        (json!({"proxyPath": "perhaps"}), "expected `true` or `false`"),
        (json!({"method": "DELETE"}), "dataAddress.method"),
        (json!({"body": "x"}), "dataAddress.body"),
        (json!({"method": "POST", "body": "x", "proxyBody": "true"}), "dataAddress.proxyBody"),
        (json!({"authKey": "x-key"}), "goes together"),
        (json!({"authKey": "Content-Length", "authCode": "a"}), "set by the request itself"),
        (json!({"header:X-Token": "sealed:AAAA"}), "not one that this node sealed"),
        (json!({"authKey": "x-key", "authCode": "a", "secretName": "b"}), "use one of them"),
        (json!({"authKey": "x-key", "authCode": "sealed:AAAA"}), "not one that this node sealed"),
        (json!({"oauth2:tokenUrl": "https://x.example"}), "oauth2:tokenUrl"),
        (json!({"path": "../admin"}), "admin"),
        (json!({"colour": "red"}), "unknown field `colour`"),
    ] {
        let mut address = json!({"type": "HttpData", "baseUrl": "https://upstream.example/x"});
        address.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, answer) = node
            .ask("POST", "/v4/assets", Some(json!({"properties": {}, "dataAddress": address})))
            .await
            .unwrap();
        assert_eq!(status, 400, "{more}: {answer}");
        assert!(answer[0]["message"].as_str().unwrap().contains(expected), "{more}: {answer}");
    }
    let (status, answer) = node
        .ask("POST", "/v4/connectordiscovery/dspversionparams", Some(json!({"counterPartyId": "BPNL1"})))
        .await
        .unwrap();
    assert_eq!(status, 400, "{answer}");
    assert!(answer[0]["message"].as_str().unwrap().contains("not a DID"), "{answer}");
    // What nests too deep is refused before anything walks through it.
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let deep = json!({"properties": {"deep": deep}, "dataAddress": {"type": "HttpData", "baseUrl": "https://x.example"}});
    let (status, answer) = node.ask("POST", "/v4/assets", Some(deep)).await.unwrap();
    assert_eq!(status, 400);
    assert!(answer[0]["message"].as_str().unwrap().contains("nests"), "{answer}");
}

#[tokio::test]
async fn secrets_and_codes_are_sealed_and_shown_to_nobody_who_may_only_look() {
    const SECRET: &str = "correct-horse-battery";
    let world = World::new();
    let (mut node, consumer) = (world.local_node("node"), world.local_node("consumer"));
    node.post("/v4/secrets", json!({"@id": "a/b", "value": SECRET})).await;
    let upstream = Program::start().await;
    let address = json!({"type": "HttpData", "baseUrl": upstream.address, "authKey": "x-key", "authCode": SECRET,
        "header:Authorization": format!("Bearer {SECRET}"), "header:x-tenant": "city"});
    offer(&node, json!({"@id": "coded", "properties": {}, "dataAddress": address})).await;
    assert_eq!(node.get("/v4/secrets/a%2Fb").await["value"], SECRET);
    let shown = node.get("/v4/assets/coded").await;
    let code = shown["dataAddress"]["authCode"].as_str().unwrap().to_owned();
    assert_eq!(shown["dataAddress"]["header:x-tenant"], "city");
    assert!(code.starts_with("sealed:") && !shown.to_string().contains(SECRET), "{shown}");
    // What was read is written back as it is.
    assert_eq!(node.ask("PUT", "/v4/assets", Some(shown)).await.unwrap().0, 204);
    assert_eq!(node.get("/v4/assets/coded").await["dataAddress"]["authCode"], code);
    let transfer = begun(&consumer, &ask(&consumer, &node, "coded", json!({})).await).await;
    assert_eq!(read(&consumer, &transfer, Method::GET, "", "").await.0, 200);
    let header = |name: &str| upstream.last().header(name).map(str::to_owned);
    assert_eq!(header("authorization"), Some(format!("Bearer {SECRET}")));
    assert_eq!((header("x-key").as_deref(), header("x-tenant").as_deref()), (Some(SECRET), Some("city")));

    let made = node.json(&["keys", "create", "reader", "--scope", "operate"]);
    let key = made["key"].as_str().unwrap();
    // A secret that a program would be sent is one that whoever asks may see.
    let named =
        json!([{"uri": "https://hooks.example/x", "events": [], "authKey": "x-hook", "authCodeId": "a/b"}]);
    for (path, body) in [
        ("/v3/edrs", json!({"policy": {}})),
        ("/v4/contractnegotiations", json!({"policy": {}})),
        ("/v4/transferprocesses", json!({"contractId": "urn:none", "transferType": "HttpData-PULL"})),
    ] {
        let mut body = body;
        body["callbackAddresses"] = named.clone();
        let request = node.client.post(format!("{}{path}", node.management)).header("x-api-key", key);
        let answer = request.json(&body).send().await.unwrap().text().await.unwrap();
        assert!(answer.contains("scope `admin`"), "{path}: {answer}");
    }
    for (method, path) in
        [("GET", "/v4/secrets/a%2Fb"), ("GET", "/v3/secrets/a%2Fb"), ("DELETE", "/v2/secrets/a%2Fb")]
    {
        let request = node.client.request(method.parse().unwrap(), format!("{}{path}", node.management));
        assert_eq!(request.header("x-api-key", key).send().await.unwrap().status(), 403, "{method} {path}");
    }
    for (method, path, body, status) in [
        ("POST", "/v4/secrets", Some(json!({"@id": "a/b", "value": "x"})), 409),
        ("POST", "/v4/secrets", Some(json!({"@id": "c", "value": ""})), 400),
        ("POST", "/v4/secrets", Some(json!({"@id": "c", "value": "x".repeat(65 * 1024)})), 400),
        ("PUT", "/v4/secrets", Some(json!({"@id": "none", "value": "x"})), 404),
        ("GET", "/v4/secrets/none", None, 404),
        ("DELETE", "/v4/secrets/none", None, 404),
    ] {
        assert_eq!(node.ask(method, path, body).await.unwrap().0, status, "{method} {path}");
    }
    let events = node.events().join("\n");
    assert!(events.contains("a secret was kept") && events.contains("a secret was shown"), "{events}");
    // Neither in the log nor in the store, and there after a restart.
    assert!(!node.log().contains(SECRET) && !events.contains(SECRET));
    node.stop();
    for (_, record) in node.records("secret/").into_iter().chain(node.records("asset/")) {
        assert!(!String::from_utf8_lossy(&record.value).contains(SECRET));
    }
    node.start();
    node.client = world.client();
    assert_eq!(node.get("/v4/secrets/a%2Fb").await["value"], SECRET);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_called_back_until_they_are_taken() {
    let world = World::new();
    let (provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let upstream = Program::start().await;
    let address = json!({"type": "HttpData", "baseUrl": upstream.address});
    offer(&provider, json!({"@id": "rows", "properties": {}, "dataAddress": address})).await;
    let program = Program::start().await;
    let uri = format!("{}/hooks/edr", program.address);
    let callback = |events: Value| {
        json!({"callbackAddresses": [{"uri": uri, "events": events, "transactional": false, "authKey": "x-hook",
            "authCodeId": "hook"}]})
    };
    let all = callback(json!(["contract.negotiation", "transfer.process.started"]));
    // A private network takes a line, whoever asks.
    let mut refused = all.clone();
    refused["counterPartyAddress"] = json!(at(&provider));
    refused["policy"] = json!({"@id": "x", "@type": "Offer", "assigner": provider.did, "target": "rows"});
    let (status, answer) = consumer.ask("POST", "/v4/contractnegotiations", Some(refused)).await.unwrap();
    assert_eq!(status, 400);
    assert!(answer[0]["message"].as_str().unwrap().contains("management.callbacks"), "{answer}");

    consumer.configure("[management]", &format!("[management]\ncallbacks = [\"{}/hooks\"]", program.address));
    consumer.client = world.client();
    consumer.post("/v4/secrets", json!({"@id": "hook", "value": "knock"})).await;
    // The program is away at first; nothing is lost over a kill.
    *program.status.lock().unwrap() = StatusCode::SERVICE_UNAVAILABLE;
    let negotiation = ask(&consumer, &provider, "rows", all.clone()).await;
    let transfer = begun(&consumer, &negotiation).await;
    consumer.kill();
    *program.status.lock().unwrap() = StatusCode::OK;
    consumer.start();
    consumer.client = world.client();
    let sent = program.sent(6).await;
    let mut seen: Vec<(String, Value)> = Vec::new();
    for one in &sent {
        assert_eq!((one.header("x-hook"), one.uri.path()), (Some("knock"), "/hooks/edr"));
        let event: Value = serde_json::from_slice(&one.body).unwrap();
        assert!(event["at"].is_u64() && event["id"].is_string(), "{event}");
        let told = event["payload"]["callbackAddresses"].as_array().unwrap();
        assert!(told.iter().all(|one| one["uri"] == uri), "no other program's: {event}");
        let kind = event["type"].as_str().unwrap().to_owned();
        if !seen.iter().any(|(known, _)| *known == kind) {
            seen.push((kind, event["payload"].clone()));
        }
    }
    let kinds: Vec<_> = seen.iter().map(|(kind, _)| kind.as_str()).collect();
    for kind in [
        "ContractNegotiationInitiated",
        "ContractNegotiationRequested",
        "ContractNegotiationAgreed",
        "ContractNegotiationVerified",
        "ContractNegotiationFinalized",
        "TransferProcessStarted",
    ] {
        assert!(kinds.contains(&kind), "{kind} is missing: {kinds:?}");
    }
    let payload = |kind: &str| seen.iter().find(|(known, _)| known == kind).unwrap().1.clone();
    let finalized = payload("ContractNegotiationFinalized");
    assert_eq!(finalized["contractNegotiationId"], negotiation);
    assert_eq!(finalized["contractAgreement"]["assetId"], "rows");
    let started = payload("TransferProcessStarted");
    assert_eq!(started["transferProcessId"], transfer);
    let properties = &started["dataAddress"]["properties"];
    let endpoint = properties["https://w3id.org/edc/v0.0.1/ns/endpoint"].as_str().unwrap();
    let token = properties["https://w3id.org/edc/v0.0.1/ns/authorization"].as_str().unwrap();
    let rows = consumer.client.get(endpoint).bearer_auth(token).send().await.unwrap();
    assert_eq!(rows.text().await.unwrap(), "a,b\n1,2\n");
    // What came last is taken when this node has written that down.
    let taken = async { while consumer.get("/v4/deliveries").await != json!([]) {} };
    tokio::time::timeout(std::time::Duration::from_secs(30), taken).await.expect("all are taken");

    for (wrong, expected) in [
        (json!([{"uri": "nonsense", "events": []}]), "is not a URL"),
        (json!([{"uri": format!("{}/elsewhere", program.address), "events": []}]), "management.callbacks"),
        (json!([{"uri": "https://169.254.169.254/x", "events": []}]), "management.callbacks"),
        (json!([{"uri": uri, "events": [], "authKey": "a b", "authCodeId": "x"}]), "authKey"),
        (json!([{"uri": uri, "events": [], "authKey": "a"}]), "authCodeId"),
        (json!(vec![json!({"uri": uri, "events": []}); 17]), "more than 16"),
        (json!([{"uri": format!("{uri}/..%2f..%2fadmin"), "events": []}]), "management.callbacks"),
        (json!([{"uri": uri.replace("http://", "http://user:pass@"), "events": []}]), "credentials"),
        (json!([{"uri": format!("{uri}/{}", "x".repeat(2100)), "events": []}]), "2048"),
    ] {
        let body =
            json!({"contractId": "urn:none", "transferType": "HttpData-PULL", "callbackAddresses": wrong});
        let (status, answer) = consumer.ask("POST", "/v4/transferprocesses", Some(body)).await.unwrap();
        assert_eq!(status, 400);
        assert!(answer[0]["message"].as_str().unwrap().contains(expected), "{expected}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_asked_for_with_its_contract_begins_once_also_over_a_kill() {
    let world = World::new();
    let (mut provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let upstream = Program::start().await;
    let address = json!({"type": "HttpData", "baseUrl": upstream.address});
    offer(&provider, json!({"@id": "rows", "properties": {}, "dataAddress": address})).await;
    let private = json!({"privateProperties": {"owner": "roads"}});
    let negotiation = ask(&consumer, &provider, "rows", private).await;
    let transfer = begun(&consumer, &negotiation).await;
    let shown = consumer.get(&format!("/v4/transferprocesses/{}", segment(&transfer))).await;
    assert_eq!(shown["privateProperties"]["owner"], "roads");

    // As after a kill between the agreement and the transfer.
    consumer.stop();
    consumer.put(&format!("transfer-wanted/{negotiation}"), &json!(null)).await;
    for (key, _) in consumer.records("transfer-of/") {
        consumer.forget(&key).await;
    }
    consumer.start();
    consumer.client = world.client();
    let all =
        json!({"filterExpression": [{"operandLeft": "type", "operator": "=", "operandRight": "CONSUMER"}]});
    asked(&consumer, "/v4/transferprocesses/request", &all, |found| found == 2).await;
    // A record that was left behind makes no second one.
    consumer.stop();
    consumer.put(&format!("transfer-wanted/{negotiation}"), &json!(null)).await;
    consumer.start();
    consumer.client = world.client();
    assert_eq!(
        consumer.post("/v4/transferprocesses/request", all.clone()).await.as_array().unwrap().len(),
        2
    );

    // The reference goes, the transfer stays.
    let path = format!("/v4/edrs/{}", segment(&transfer));
    assert_eq!(consumer.ask("DELETE", &path, None).await.unwrap().0, 204);
    assert_eq!(consumer.ask("DELETE", &path, None).await.unwrap().0, 404);
    assert_eq!(consumer.ask("GET", &format!("{path}/dataaddress"), None).await.unwrap().0, 404);
    let shown = consumer.get(&format!("/v4/transferprocesses/{}", segment(&transfer))).await;
    assert_eq!(shown["state"], "STARTED");

    // An asset under an agreement goes only by force, and what is begun with a dead peer can be ended.
    assert_eq!(provider.ask("DELETE", "/v4/assets/rows", None).await.unwrap().0, 409);
    assert_eq!(provider.ask("DELETE", "/v4/assets/rows?force=true", None).await.unwrap().0, 204);
    provider.stop();
    let request = json!({"counterPartyAddress": at(&provider), "counterPartyId": provider.did, "policy": {
        "@id": "x", "@type": "Offer", "target": "rows"}});
    let dead = consumer.post("/v4/contractnegotiations", request).await["@id"].as_str().unwrap().to_owned();
    let path = format!("/v4/contractnegotiations/{}", segment(&dead));
    consumer.until("/v4/deliveries", |all| all[0]["attempts"].as_u64().is_some_and(|count| count > 0)).await;
    assert_eq!(consumer.ask("DELETE", &path, None).await.unwrap().0, 409, "it goes on");
    let end = json!({"reason": "enough"});
    assert_eq!(consumer.ask("POST", &format!("{path}/terminate"), Some(end)).await.unwrap().0, 204);
    assert_eq!(consumer.get(&path).await["state"], "TERMINATED");
    assert_eq!(consumer.ask("DELETE", &path, None).await.unwrap().0, 204);
    assert_eq!(consumer.ask("GET", &path, None).await.unwrap().0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_find_what_they_say_and_tell_others_nothing_private() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let upstream = Program::start().await;
    for (id, rank, owner) in [("a", 1, "roads"), ("b", 3, "water"), ("c", 2, "roads")] {
        let address = json!({"type": "HttpData", "baseUrl": upstream.address});
        let asset = json!({"@id": id, "properties": {"name": format!("Rows {id}"), "rank": rank, "format": "csv"},
            "privateProperties": {"owner": owner}, "dataAddress": address});
        offer(&provider, asset).await;
    }
    let ask = async |query: Value| {
        let body =
            json!({"counterPartyAddress": at(&provider), "counterPartyId": provider.did, "querySpec": query});
        consumer.ask("POST", "/v4/catalog/request", Some(body)).await.unwrap()
    };
    let ids = async |query: Value| {
        let (status, catalog) = ask(query).await;
        assert_eq!(status, 200, "{catalog}");
        let all = catalog["dataset"].as_array().cloned().unwrap_or_default();
        all.iter().map(|one| one["@id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let by = |left: &str, operator: &str, right: Value| json!({"filterExpression": [{"operandLeft": left, "operator": operator, "operandRight": right}]});
    assert_eq!(ids(by("https://w3id.org/edc/v0.0.1/ns/id", "=", json!("b"))).await, ["b"]);
    assert_eq!(ids(by("rank", ">=", json!(2))).await, ["b", "c"]);
    assert_eq!(ids(by("name", "ilike", json!("rows %"))).await, ["a", "b", "c"]);
    assert_eq!(ids(by("'https://w3id.org/edc/v0.0.1/ns/format'", "=", json!("csv"))).await.len(), 3);
    assert_eq!(ids(json!({"sortField": "rank", "sortOrder": "DESC", "limit": 2})).await, ["b", "c"]);
    assert_eq!(ids(json!({"sortField": "rank", "offset": 2, "limit": 2})).await, ["b"]);
    assert_eq!(ids(json!({"offset": 1, "limit": 1})).await, ["b"]);
    // What is private is nobody's to compare.
    for left in ["owner", "privateProperties.owner", "dataAddress.type", "dataAddress.baseUrl"] {
        assert_eq!(ids(by(left, "like", json!("%"))).await, Vec::<String>::new(), "{left}");
        assert_eq!(ids(by(left, "!=", json!("roads"))).await.len(), 3, "{left}");
    }
    for (query, expected) in [
        (by("rank", "near", json!(2)), "`near` is not understood"),
        (by("a..b", "=", json!(2)), "a name is empty"),
        (by("rank", "in", json!(2)), "operandRight"),
        (json!({"limit": 0}), "limit"),
        (json!({"sortOrder": "UP", "sortField": "rank"}), "sortOrder"),
        (json!({"colour": "red"}), "colour"),
    ] {
        let (status, answer) = ask(query).await;
        assert_eq!(status, 400, "{expected}: {answer}");
        assert!(answer[0]["message"].as_str().unwrap().contains(expected), "{expected}: {answer}");
    }
    // The operator's own queries: a name that there is not is a mistake, not an empty list.
    let own = provider.post("/v4/assets/request", by("owner", "=", json!("roads"))).await;
    assert_eq!(own.as_array().unwrap().len(), 2);
    for table in [
        "policydefinitions",
        "contractdefinitions",
        "contractnegotiations",
        "contractagreements",
        "transferprocesses",
        "edrs",
    ] {
        let path = format!("/v4/{table}/request");
        for query in [by("colour", "=", json!("red")), json!({"sortField": "colour"})] {
            let (status, answer) = provider.ask("POST", &path, Some(query)).await.unwrap();
            assert_eq!(status, 400, "{table}: {answer}");
            assert!(answer[0]["message"].as_str().unwrap().contains("`colour` is not known"), "{answer}");
        }
        for query in [by("id", "=", json!("none")), json!({"sortField": "createdAt", "sortOrder": "DESC"})] {
            assert_eq!(provider.ask("POST", &path, Some(query)).await.unwrap().0, 200, "{table}");
        }
    }
    // Whoever looks after a node asks without a key, and learns nothing else.
    let check = provider.client.get(format!("{}/check/health", provider.management)).send().await.unwrap();
    let health: Value = check.json().await.unwrap();
    assert_eq!((&health["isSystemHealthy"], health.as_object().unwrap().len()), (&json!(true), 2));
}
