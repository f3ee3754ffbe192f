//! Eclipse EDC itself, in both roles, with real DCP: nothing stands between it and a node but TLS, and an authority that is a node
//! issues the credentials of both.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use trust::did::segment;

use super::runtime::{Hub, Participant, Witness, folder, resident};
use crate::membership::authority;
use crate::support::{Node, PURPOSE, Peer, World};

const SPACE: &str = "https://space.example";
const ROWS: &str = "a,b\n1,2\n";
const OPEN: &str = "urn:test:open";
const BOUND: &str = "urn:test:bound";
const LEVELS: &str = "urn:test:levels";
const MEMBERS: &str = "urn:test:members";
const ODRL: &str = "http://www.w3.org/ns/odrl.jsonld";
const UNTIL: &str = "2100-01-01T00:00:00Z";

/// Where data is taken that is pushed, and where EDC's own data come from.
struct Shelf {
    address: String,
    pushed: UnboundedReceiver<(Method, String)>,
}

impl Shelf {
    fn open(world: &World) -> Self {
        let (tell, pushed) = unbounded_channel();
        let take = move |method: Method, body: String| {
            let told = tell.send((method, body));
            async move { if told.is_ok() { http::StatusCode::OK } else { http::StatusCode::GONE } }
        };
        let router = axum::Router::new()
            .route("/rows", axum::routing::get(|| async { ROWS }))
            .route("/pushed", axum::routing::any(take));
        Self { address: Peer::serving(world, |_| router).address, pushed }
    }

    async fn takes(&mut self) -> (Method, String) {
        tokio::time::timeout(Duration::from_secs(60), self.pushed.recv()).await.unwrap().unwrap()
    }
}

/// The data space: an authority, a node that is a member, and two members with EDC.
struct Space {
    _witnesses: [Witness; 2],
    world: World,
    authority: Node,
    node: Node,
    hub: Hub,
    edc: Participant,
    other: Participant,
    shelf: Shelf,
}

impl Space {
    async fn open(folder: &std::path::Path) -> Self {
        let world = World::new();
        let mut authority = authority(&world);
        let mut node = world.local_node("node");
        let _witnesses = [Witness::of(&authority), Witness::of(&node)];
        let hub = Hub::start(&world, folder);
        let edc = Participant::start(&world, &hub, "edc", &authority.did).await;
        let other = Participant::start(&world, &hub, "other", &authority.did).await;
        // What EDC's own documents and messages lack is allowed by these lines, and by nothing else.
        authority.configure("[limits]", &about(&[&edc, &other], "undeclared_keys = true"));
        let lines = "undeclared_keys = true\nsignatures = \"accept-peer-token\"";
        node.configure("[limits]", &about(&[&edc, &other], lines));
        node.client = world.client();
        authority.client = world.client();
        for participant in [&edc, &other] {
            participant.join(&hub, &authority).await;
        }
        crate::membership::join(&authority, &node);
        let shelf = Shelf::open(&world);
        let space = Self { world, authority, node, hub, edc, other, shelf, _witnesses };
        space.publish();
        space.offer_at(&space.edc).await;
        space.offer_at(&space.other).await;
        space
    }

    /// What the node offers.
    fn publish(&self) {
        let file = self.node.data().join("rows.csv");
        std::fs::write(&file, ROWS).unwrap();
        let file = file.to_str().unwrap();
        let publish = |id: &str, terms: &[&str]| {
            self.node.json(&[&["publish", file, "--id", id, "--title", "Test rows"][..], terms].concat());
        };
        publish(OPEN, &["--policy", self.terms("open", &json!([{"action": "use"}]), &json!([])).as_str()]);
        // EDC compares them expanded.
        let (permission, prohibition) = bound_rules();
        let bound = self.terms("bound", &json!([permission]), &json!([prohibition]));
        publish(BOUND, &["--policy", &bound]);
        publish(MEMBERS, &["--only-for-members-of", SPACE, "--members-of", SPACE]);
    }

    fn terms(&self, name: &str, permissions: &Value, prohibitions: &Value) -> String {
        let file = self.world.folder.path().join(format!("{name}.json"));
        let policy = json!({"@type": "Set", "permission": permissions, "prohibition": prohibitions});
        std::fs::write(&file, policy.to_string()).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// What a participant with EDC offers, as a client of its management API says it.
    async fn offer_at(&self, edc: &Participant) {
        let member = json!({"leftOperand": {"@id": "urn:concordat:membership"}, "operator": {"@id": "odrl:eq"},
            "rightOperand": SPACE});
        let bound = json!([
            {"leftOperand": {"@id": "odrl:purpose"}, "operator": {"@id": "odrl:eq"}, "rightOperand": PURPOSE},
            {"leftOperand": {"@id": "odrl:dateTime"}, "operator": {"@id": "odrl:lteq"}, "rightOperand": UNTIL}]);
        for (id, constraints) in [(OPEN, json!([])), (BOUND, bound), (MEMBERS, json!([member]))] {
            let (asset, terms) = (id.to_owned(), format!("{id}:terms"));
            edc.post("/assets", json!({"@id": asset, "@type": "Asset", "properties": {"name": "Test rows"},
                "dataAddress": {"@type": "DataAddress", "type": "HttpData", "baseUrl": format!("{}/rows", self.shelf.address)}}))
                .await;
            let mut permission = json!({"action": {"@id": "odrl:use"}});
            if constraints != json!([]) {
                permission["constraint"] = constraints;
            }
            edc.post("/policydefinitions", json!({"@id": terms, "@type": "PolicyDefinition", "policy": {
                "@context": ODRL, "@type": "Set", "permission": [permission], "prohibition": [], "obligation": []}}))
                .await;
            let access = if id == MEMBERS { &terms } else { "urn:test:open:terms" };
            edc.post("/contractdefinitions", json!({"@id": format!("{id}:definition"), "@type": "ContractDefinition",
                "accessPolicyId": access, "contractPolicyId": terms, "assetsSelector": [{"@type": "Criterion",
                    "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "=", "operandRight": id}]}))
                .await;
        }
    }
}

fn about(participants: &[&Participant], lines: &str) -> String {
    let each = participants.iter().map(|one| format!("[peers.\"{}\"]\n{lines}\n", one.did));
    each.chain(["[limits]".to_owned()]).collect()
}

/// How EDC reaches a provider.
struct Provider<'a> {
    did: &'a str,
    endpoint: String,
}

impl<'a> Provider<'a> {
    fn node(node: &'a Node) -> Self {
        Self { did: &node.did, endpoint: format!("{}/dsp/2025-1", node.address) }
    }

    fn edc(edc: &'a Participant) -> Self {
        Self { did: &edc.did, endpoint: format!("{}/api/dsp/2025-1", edc.address) }
    }

    fn to(&self, kind: &str) -> Value {
        json!({"@type": kind, "counterPartyAddress": self.endpoint, "counterPartyId": self.did,
            "protocol": "dataspace-protocol-http:2025-1"})
    }
}

fn with(mut message: Value, more: Value) -> Value {
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message
}

impl Participant {
    async fn catalog(&self, of: &Provider<'_>) -> Vec<Value> {
        let found = self.post("/catalog/request", of.to("CatalogRequest")).await;
        found["dataset"].as_array().cloned().unwrap_or_default()
    }

    async fn sees(&self, of: &Provider<'_>, dataset: &str) -> bool {
        self.catalog(of).await.iter().any(|one| one["@id"] == dataset)
    }

    /// Negotiates what a dataset is offered for; the id of the agreement, as EDC has it.
    async fn negotiate(&self, of: &Provider<'_>, dataset: &str) -> (String, Value) {
        let id = self.request(of, dataset).await;
        let done = self.reached("contractnegotiations", &id, "FINALIZED").await;
        (done["contractAgreementId"].as_str().unwrap().to_owned(), done)
    }

    /// Asks for what a dataset is offered for; the id of the negotiation, as EDC has it.
    async fn request(&self, of: &Provider<'_>, dataset: &str) -> String {
        let catalog = self.catalog(of).await;
        let found = catalog.iter().find(|one| one["@id"] == dataset).unwrap_or_else(|| panic!("{catalog:?}"));
        let mut offer = found["hasPolicy"][0].clone();
        offer["assigner"] = json!({"@id": of.did});
        offer["target"] = json!({"@id": dataset});
        offer["@context"] = json!(ODRL);
        let begun = self
            .post("/contractnegotiations", with(of.to("ContractRequest"), json!({"policy": offer})))
            .await;
        begun["@id"].as_str().unwrap().to_owned()
    }

    async fn transfer(&self, of: &Provider<'_>, agreement: &str, push_to: Option<&str>) -> String {
        let mut request =
            with(of.to("TransferRequest"), json!({"contractId": agreement, "transferType": "HttpData-PULL"}));
        if let Some(address) = push_to {
            request["transferType"] = json!("HttpData-PUSH");
            request["dataDestination"] =
                json!({"@type": "DataAddress", "type": "HttpData", "baseUrl": address});
        }
        self.post("/transferprocesses", request).await["@id"].as_str().unwrap().to_owned()
    }

    /// Reads what it pulls, as a client of EDC does.
    async fn read(&self, space: &Space, transfer: &str) -> (u16, String) {
        let (_, door) = self.ask(Method::GET, &format!("/edrs/{transfer}"), None).await;
        let of = |name: &str| {
            let found = &door[format!("https://w3id.org/edc/v0.0.1/ns/{name}")];
            found.as_str().unwrap_or_else(|| panic!("{door}")).to_owned()
        };
        let (endpoint, token) = (of("endpoint"), of("authorization"));
        let answer = space.world.client().get(endpoint).header("authorization", token).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn moves(&self, transfer: &str, act: &str) {
        let reason = json!({"@type": "Act", "reason": "by the test"});
        let (status, answer) =
            self.ask(Method::POST, &format!("/transferprocesses/{transfer}/{act}"), Some(reason)).await;
        assert!((200..300).contains(&status), "{act}: {status} {answer}");
    }
}

/// A permission and a prohibition with terms that the protocol's context has, and with terms that it lacks.
pub(super) fn bound_rules() -> (Value, Value) {
    let c = |left: &str, operator: &str, right: &str| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
    let permission = json!({"action": "use", "constraint": [c("purpose", "isA", PURPOSE),
        {"or": [c("dateTime", "lteq", UNTIL), c("count", "lteq", "1000000")]}],
        "duty": [{"action": "attribute"}]});
    (permission, json!({"action": "distribute", "remedy": [{"action": "delete"}]}))
}

/// The provider's id of a transfer of EDC.
async fn told(edc: &Participant, transfer: &str) -> String {
    let (_, found) = edc.ask(Method::GET, &format!("/transferprocesses/{transfer}"), None).await;
    found["correlationId"].as_str().unwrap().to_owned()
}

/// EDC as the consumer, a node as the provider.
async fn edc_consumes(space: &mut Space) {
    let (edc, node) = (&space.edc, &space.node);
    let provider = Provider::node(node);
    let catalog = edc.catalog(&provider).await;
    assert_eq!(catalog.len(), 3, "{catalog:?}");

    let (open, _) = edc.negotiate(&provider, OPEN).await;
    let (bound, _) = edc.negotiate(&provider, BOUND).await;
    let (members, _) = edc.negotiate(&provider, MEMBERS).await;
    for agreement in [&open, &bound, &members] {
        let transfer = edc.transfer(&provider, agreement, None).await;
        edc.reached("transferprocesses", &transfer, "STARTED").await;
        assert_eq!(edc.read(space, &transfer).await, (200, ROWS.to_owned()));
    }
    // What EDC reads is counted, and the agreement says so.
    for one in node.json(&["agreements", "list"]).as_array().unwrap() {
        let path = format!("/v4/contractagreements/{}", segment(one["@id"].as_str().unwrap()));
        node.until(&path, |one| one["urn:concordat:requests"] == 1).await;
    }

    let transfer = edc.transfer(&provider, &open, None).await;
    edc.reached("transferprocesses", &transfer, "STARTED").await;
    edc.moves(&transfer, "suspend").await;
    edc.reached("transferprocesses", &transfer, "SUSPENDED").await;
    edc.moves(&transfer, "resume").await;
    edc.reached("transferprocesses", &transfer, "STARTED").await;
    assert_eq!(edc.read(space, &transfer).await, (200, ROWS.to_owned()));
    // The other side suspends, and resumes.
    let ours = told(edc, &transfer).await;
    node.json(&["transfers", "suspend", &ours, "--reason", "by the test"]);
    edc.reached("transferprocesses", &transfer, "SUSPENDED").await;
    node.json(&["transfers", "resume", &ours]);
    edc.reached("transferprocesses", &transfer, "STARTED").await;
    assert_eq!(edc.read(space, &transfer).await, (200, ROWS.to_owned()));
    edc.moves(&transfer, "terminate").await;
    node.until(&format!("/v4/transferprocesses/{}", segment(&ours)), |one| one["state"] == "TERMINATED")
        .await;

    let pushed = edc.transfer(&provider, &open, Some(&format!("{}/pushed", space.shelf.address))).await;
    // As EDC's own data plane does, and below as ours does.
    assert_eq!(space.shelf.takes().await, (Method::POST, ROWS.to_owned()));
    edc.reached("transferprocesses", &pushed, "COMPLETED").await;

    // An end of the agreement is the end of what runs under it.
    let transfer = edc.transfer(&provider, &bound, None).await;
    edc.reached("transferprocesses", &transfer, "STARTED").await;
    let ours = node.json(&["agreements", "list"]);
    let of_bound = ours.as_array().unwrap().iter().find(|one| one["assetId"] == BOUND).unwrap();
    node.json(&["agreements", "end", of_bound["@id"].as_str().unwrap(), "--reason", "by the test"]);
    edc.reached("transferprocesses", &transfer, "TERMINATED").await;

    // EDC keeps nothing of an offer but its rules, so it cannot agree to service levels: that is refused at once, and why.
    let levels = space.world.folder.path().join("levels.json");
    let promise = json!({"period": "PT24H", "levels": [{"id": "up", "measure": "availability", "target": 99.5, "interval": 300}]});
    std::fs::write(&levels, promise.to_string()).unwrap();
    let (rows, levels) = (node.data().join("rows.csv"), levels.to_str().unwrap());
    node.json(&[
        "publish",
        rows.to_str().unwrap(),
        "--id",
        LEVELS,
        "--title",
        "Test rows",
        "--service-levels",
        levels,
    ]);
    let asked = edc.request(&provider, LEVELS).await;
    let ended = edc.reached("contractnegotiations", &asked, "TERMINATED").await;
    let reason = ended["errorDetail"].as_str().unwrap_or_default();
    assert!(reason.contains("the service levels asked for are not those offered"), "{ended}");
    node.json(&["unpublish", LEVELS]);
}

/// A node as the consumer, EDC as the provider.
async fn node_consumes(space: &mut Space) {
    let (edc, node) = (&space.edc, &space.node);
    let catalog = node.json(&["catalog", &edc.did]);
    assert_eq!(catalog["dataset"].as_array().map(Vec::len), Some(3), "{catalog}");
    let mut agreements = Vec::new();
    for dataset in [OPEN, BOUND, MEMBERS] {
        let done = node.json(&["negotiate", &edc.did, dataset]);
        assert_eq!(done["state"], "FINALIZED", "{done}");
        let agreement = done["contractAgreementId"].as_str().unwrap().to_owned();
        let transfer = node.json(&["transfers", "start", &agreement]);
        assert_eq!(node.text(&["pull", transfer["@id"].as_str().unwrap()]), ROWS);
        agreements.push(agreement);
    }
    let transfer = node.json(&["transfers", "start", &agreements[0]]);
    let id = transfer["@id"].as_str().unwrap();
    let path = format!("/v4/transferprocesses/{}", segment(id));
    let state = async |state: &str| drop(node.until(&path, |one| one["state"] == state).await);
    node.json(&["transfers", "suspend", id, "--reason", "by the test"]);
    state("SUSPENDED").await;
    node.json(&["transfers", "resume", id]);
    state("STARTED").await;
    assert_eq!(node.text(&["pull", id]), ROWS);
    node.json(&["transfers", "stop", id, "--reason", "by the test"]);
    state("TERMINATED").await;
    let to = format!("{}/pushed", space.shelf.address);
    node.json(&["transfers", "start", &agreements[0], "--push-to", &to]);
    assert_eq!(space.shelf.takes().await, (Method::PUT, ROWS.to_owned()));

    // What was agreed is provable without signatures of ours on EDC's side, and says so.
    let file = space.world.folder.path().join("with-edc.json");
    node.text(&["agreements", "export", &agreements[1], "-o", file.to_str().unwrap()]);
    let proven = node.text(&["agreements", "verify", file.to_str().unwrap()]);
    assert!(proven.contains("absent providerSignature"), "{proven}");
    node.json(&["agreements", "end", &agreements[1], "--reason", "by the test"]);
    let refused = node.run(&["transfers", "start", &agreements[1]]);
    assert!(!refused.status.success());
}

/// Whose membership is taken back gets nothing for members any more, whoever the provider is.
async fn membership_ends(space: &Space) {
    let (edc, node) = (&space.edc, &space.node);
    let issued = space.authority.json(&["authority", "issued"]);
    for holder in [&edc.did, &node.did] {
        for one in issued.as_array().unwrap().iter().filter(|one| one["holder"] == holder.as_str()) {
            space.authority.text(&[
                "authority",
                "revoke",
                one["id"].as_str().unwrap(),
                "--reason",
                "by the test",
            ]);
        }
    }
    assert!(!edc.sees(&Provider::node(node), MEMBERS).await);
    // EDC talks to nobody whose credentials do not hold, and says no more than that.
    let refused = node.run(&["catalog", &edc.did]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("answered 401"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn edc_and_a_node_share_data_in_both_roles() {
    let Some(folder) = folder() else { return };
    let began = Instant::now();
    let mut space = Space::open(&folder).await;
    eprintln!("ready after {:.1} s", began.elapsed().as_secs_f64());
    edc_consumes(&mut space).await;
    node_consumes(&mut space).await;
    times(&space).await;
    participants_have_business_numbers(&mut space).await;
    membership_ends(&space).await;
}

/// An EDC that stands under a business partner number: catalogs and agreements name that, tokens and keys its DID.
async fn participants_have_business_numbers(space: &mut Space) {
    const NUMBER: &str = "BPNL00000003AYRE";
    let authority = space.authority.did.clone();
    let numbered =
        Participant::start_as(&space.world, &space.hub, "numbered", &authority, Some(NUMBER)).await;
    let lines = "undeclared_keys = true\n";
    space.authority.configure("[limits]", &about(&[&numbered], lines));
    space.authority.client = space.world.client();
    let lines = format!("id = \"{NUMBER}\"\n{lines}signatures = \"accept-peer-token\"\n");
    space.node.configure("[limits]", &about(&[&numbered], &lines));
    space.node.client = space.world.client();
    numbered.join(&space.hub, &space.authority).await;
    space.offer_at(&numbered).await;
    let node = &space.node;
    assert_eq!(node.json(&["catalog", NUMBER])["participantId"], NUMBER);
    let done = node.json(&["negotiate", NUMBER, OPEN]);
    assert_eq!((&done["state"], &done["counterPartyId"]), (&json!("FINALIZED"), &json!(numbered.did)));
    let agreement = done["contractAgreementId"].as_str().unwrap();
    assert_eq!(node.text(&["pull", agreement]), ROWS);
    let provider = Provider::node(node);
    let (agreement, _) = numbered.negotiate(&provider, OPEN).await;
    let transfer = numbered.transfer(&provider, &agreement, None).await;
    numbered.reached("transferprocesses", &transfer, "STARTED").await;
    assert_eq!(numbered.read(space, &transfer).await, (200, ROWS.to_owned()));
    let ours = node.json(&["agreements", "list"]);
    let parties: std::collections::BTreeSet<_> = ours
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["providerId"].as_str().unwrap(), one["consumerId"].as_str().unwrap()))
        .collect();
    for expected in [(NUMBER, node.did.as_str()), (node.did.as_str(), NUMBER)] {
        assert!(parties.contains(&expected), "{parties:?}");
    }
    let by_it = ours.as_array().unwrap().iter().find(|one| one["consumerId"] == NUMBER).unwrap();
    let path = format!("/v4/contractagreements/{}", segment(by_it["@id"].as_str().unwrap()));
    node.until(&path, |one| one["urn:concordat:requests"] == 1).await;
}

/// Seconds from a request to FINALIZED, the shortest of three, and memory.
async fn times(space: &Space) {
    let (edc, other, node) = (&space.edc, &space.other, &space.node);
    let second = space.world.local_node("second");
    let shortest = |all: [f64; 3]| all.into_iter().fold(f64::MAX, f64::min);
    let timed = async |consumer: &Participant, provider: Provider<'_>| {
        let mut all = [0.0; 3];
        for one in &mut all {
            let began = Instant::now();
            consumer.negotiate(&provider, OPEN).await;
            *one = began.elapsed().as_secs_f64();
        }
        shortest(all)
    };
    let ours = |consumer: &Node, provider: &str| {
        shortest(std::array::from_fn(|_| {
            let began = Instant::now();
            consumer.json(&["negotiate", provider, OPEN]);
            began.elapsed().as_secs_f64()
        }))
    };
    let rows = [
        ("EDC", "EDC", timed(edc, Provider::edc(other)).await),
        ("EDC", "Concordat", timed(edc, Provider::node(node)).await),
        ("Concordat", "EDC", ours(node, &edc.did)),
        ("Concordat", "Concordat", ours(&second, &node.did)),
    ];
    eprintln!("{:10} {:10} {:>10}", "consumer", "provider", "seconds");
    for (consumer, provider, seconds) in rows {
        eprintln!("{consumer:10} {provider:10} {seconds:10.3}");
    }
    eprintln!("{:26} {:>8} {:>9}", "process", "MB", "start (s)");
    let line = |name: &str, megabytes: u64, took: Duration| {
        eprintln!("{name:26} {megabytes:8} {:9.1}", took.as_secs_f64());
    };
    line("EDC control and data plane", edc.resident(), edc.started_in());
    line("IdentityHub", space.hub.resident(), space.hub.started_in());
    eprintln!("{:26} {:8}", "Concordat", resident(node.process_id()));
}
