//! The connector interface of MIM4 (2021): operators and a registry as programs of their own, tickets, introspection, logs;
//! and whoever lies.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::mim::{CAPABILITIES, SPECIFICATION, every_row_is_told, expect};
use crate::streams::door;
use crate::support::{Node, World, answer};
use crate::usage::{agree_with, c, permission};

const RESEARCH: &str = "https://w3id.org/dpv#ScientificResearch";
const ROWS: &str = "rider,start,minutes\nanna,Plaza,12\nben,Dock,7\nanna,Mill,30\n";

/// A program of `tests/mim4`, that lives as long as this.
struct Program {
    child: Child,
    address: String,
    key: Value,
}

impl Program {
    /// Starts the program; its certificate is that of a node of this world, which is for `localhost`.
    fn start(node: &Node, kind: &[&str], further: &[String]) -> Self {
        // Examples are built beside the binary.
        let program: PathBuf =
            PathBuf::from(crate::support::PROGRAM).with_file_name("examples").join("mim4-operator");
        let tls = node.dir.join("tls");
        let mut child = Command::new(program)
            .args(kind)
            .args([tls.join("certificate.pem"), tls.join("key.pem")])
            .args(further)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Self { child, address: said["address"].as_str().unwrap().to_owned(), key: said["key"].clone() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct City {
    world: World,
    holder: Node,
    service: Node,
    /// In the trust group.
    operator: Program,
    uuid: String,
    registry: Program,
    /// Contracted directly.
    contracted: Program,
    agreement: String,
    door: (String, String),
}

impl City {
    async fn new() -> Self {
        Self::with(&permission(&[c("purpose", "eq", RESEARCH)])).await
    }

    async fn with(terms: &Value) -> Self {
        let world = World::new();
        let (mut holder, service) = (world.local_node("holder"), world.local_node("service"));
        let uuid = connector::ids::uuid();
        let operator = Program::start(&holder, &["operator", &uuid], &[]);
        let registry = Program::start(&holder, &["registry"], &[format!("{uuid}={}", operator.address)]);
        let group = format!(
            "trust_groups = [{{ address = \"{}\", key = {} }}]",
            registry.address,
            toml_of(&registry.key)
        );
        // Another one is contracted directly.
        let contracted = Program::start(&holder, &["operator", &connector::ids::uuid()], &[]);
        let both = format!("operators = [\"{}\"]\n{group}", contracted.address);
        holder.configure("operators = []\ntrust_groups = []", &both);
        holder.client = world.client();
        let file = world.folder.path().join("trips.csv");
        std::fs::write(&file, ROWS).unwrap();
        let personal = world.folder.path().join("personal.json");
        let said = json!({"subject": "rider", "identifierType": "rider", "attributes": {
            "rider": {"category": "https://w3id.org/dpv/pd#Identifier"}, "start": {"category": "https://w3id.org/dpv/pd#Location"}}});
        std::fs::write(&personal, said.to_string()).unwrap();
        let further = ["--personal", personal.to_str().unwrap()];
        let agreement = agree_with(&world, &holder, &service, file.to_str().unwrap(), terms, &further);
        let door = door(&service, &agreement).await;
        Self { world, holder, service, operator, uuid, registry, contracted, agreement, door }
    }

    /// A ticket of an operator, with what it will answer.
    async fn ticket(&self, operator: &Program, answer: Value, change: impl FnOnce(&mut Value)) -> String {
        let now = connector::clock::now().as_second();
        let mut claims = json!({"sub": self.service.did, "aud": format!("{}/data", self.holder.address), "iat": now,
            "exp": now + 300, "jti": connector::ids::urn()});
        change(&mut claims);
        let body = json!({"claims": claims, "answer": answer});
        let made = self
            .world
            .client()
            .post(format!("{}/tickets", operator.address))
            .json(&body)
            .send()
            .await
            .unwrap();
        made.json::<Value>().await.unwrap()["ticket"].as_str().unwrap().to_owned()
    }

    async fn read(&self, ticket: Option<&str>) -> (u16, String) {
        let mut request = self.world.client().get(&self.door.0).bearer_auth(&self.door.1);
        if let Some(ticket) = ticket {
            request = request.header("request-ticket", ticket);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn operators_log(&self) -> Value {
        let url = format!("{}/log", self.operator.address);
        self.world.client().get(url).send().await.unwrap().json().await.unwrap()
    }
}

/// A JWK as an inline table.
fn toml_of(key: &Value) -> String {
    let pairs = key.as_object().unwrap().iter().map(|(name, value)| format!("{name} = {value}"));
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

fn permits(ids: &[&str]) -> Value {
    let identifiers: Vec<_> =
        ids.iter().map(|id| json!({"id": id, "id_type": "rider", "verified": true})).collect();
    json!({"active": true, "access_item_uuid": connector::ids::uuid(), "identifiers": identifiers})
}

#[tokio::test]
async fn data_goes_with_a_ticket_and_only_of_whom_the_operator_names() {
    let city = City::new().await;
    let config = city
        .world
        .client()
        .get(format!("{}/.well-known/connector-config", city.holder.address))
        .send()
        .await
        .unwrap();
    let (status, config) = answer(config).await;
    assert_eq!(
        (status, config["connector_base_url"].as_str()),
        (200, Some(&*format!("{}/data", city.holder.address)))
    );
    let uuid = config["connector_uuid"].as_str().unwrap().to_owned();
    assert_eq!(uuid.as_bytes()[14], b'4', "version 4: {uuid}");
    assert!(config["connector_key"]["kid"].is_string() && config["api_guide"].is_string());

    // Set up, and nobody has used it: the registry's list is read by the check itself, and a made-up operator refused.
    let tickets = ["4.2.1", "5.3", "5.4", "5.5", "5.6", "5.7", "A.VI", "A.VII", "4.1"];
    let found = city.holder.json(&["mim"]);
    expect(&found, "able, not exercised", &[(SPECIFICATION, &tickets), (CAPABILITIES, &["1"])]);
    expect(&found, "M", &[(SPECIFICATION, &["4.2.4", "5.1", "5.3.2"])]);
    let (status, said) = city.read(None).await;
    assert_eq!(status, 401);
    assert!(said.contains("Request-Ticket"), "{said}");
    let says = permits(&["anna"]);
    let item = says["access_item_uuid"].clone();
    let ticket = city.ticket(&city.operator, says, |_| {}).await;
    let (status, rows) = city.read(Some(&ticket)).await;
    assert_eq!((status, rows.as_str()), (200, "rider,start,minutes\nanna,Plaza,12\nanna,Mill,30\n"));
    assert_eq!(city.read(Some(&ticket)).await.0, 401, "a ticket is used once");
    let other = city.ticket(&city.contracted, permits(&["ben"]), |_| {}).await;
    assert_eq!(
        city.read(Some(&other)).await.1,
        "rider,start,minutes\nben,Dock,7\n",
        "several operators at once"
    );
    // Both logs.
    let told = |all: &Value| {
        let all = all.as_array().unwrap();
        all.len() == 2 && all.iter().all(|one| one["told"] == "yes")
    };
    city.holder.until("/v4/personal/accesses", told).await;
    let found = city.holder.json(&["mim"]);
    every_row_is_told(&found);
    let met: Vec<_> = tickets.into_iter().filter(|id| *id != "5.6").collect();
    expect(
        &found,
        "M",
        &[(SPECIFICATION, &met), (SPECIFICATION, &["4.2.4", "5.1", "5.3.2"]), (CAPABILITIES, &["1", "11"])],
    );
    expect(&found, "E", &[(SPECIFICATION, &["5.6"])]);
    let log = city.holder.json(&["personal", "accesses", "--operator", &city.uuid]);
    assert_eq!(
        (log.as_array().unwrap().len(), log[0]["service"].as_str()),
        (1, Some(&*city.service.did)),
        "by operator"
    );
    assert_eq!(
        (log[0]["outcome"]["source"].as_str(), log[0]["outcome"]["response"].as_str()),
        (Some("answered"), Some("complete"))
    );
    let theirs = city.operators_log().await;
    assert_eq!((&theirs[0]["item"], &theirs[0]["body"]["connector_uuid"]), (&item, &json!(uuid)));
    let of_nobody = city.holder.json(&["personal", "accesses", "--service", "did:web:nobody"]);
    assert_eq!(of_nobody, json!([]));
    assert!(!city.holder.log().contains("anna") && !log.to_string().contains("anna"));
    // The service passes it through its own node.
    city.service.json(&["use", crate::usage::DATASET, "--from", &city.holder.did, "--as", "trips"]);
    let ticket = city.ticket(&city.operator, permits(&["ben"]), |_| {}).await;
    let request = city
        .service
        .client
        .get(format!("{}/d/trips", city.service.management))
        .header("x-api-key", &city.service.key);
    let through = request.header("request-ticket", ticket).send().await.unwrap();
    assert_eq!(through.text().await.unwrap(), "rider,start,minutes\nben,Dock,7\n");
    // A registry that does not answer says nothing for or against.
    drop(city.registry);
    let found = city.holder.json(&["mim"]);
    expect(&found, "unreachable", &[(SPECIFICATION, &["4.2.4", "5.1"]), (CAPABILITIES, &["11"])]);
}

#[tokio::test]
async fn a_contract_token_stands_for_the_agreement() {
    let city = City::new().await;
    let token = city.service.text(&["agreements", "contract-token", &city.agreement]).trim().to_owned();
    let with = |token: String| {
        move |claims: &mut Value| {
            claims["sub"] = json!("Research Institute");
            claims["contract_token"] = json!(token);
        }
    };
    let nameless = city
        .ticket(&city.operator, permits(&["anna"]), |claims| claims["sub"] = json!("Research Institute"))
        .await;
    let (status, said) = city.read(Some(&nameless)).await;
    assert!(status == 401 && said.contains("ticket/sub"), "{said}");
    let ticket = city.ticket(&city.operator, permits(&["anna"]), with(token.clone())).await;
    assert_eq!(city.read(Some(&ticket)).await.0, 200);
    let mut torn = token.clone();
    torn.replace_range(torn.len() - 4.., "AAAA");
    let forged = city.ticket(&city.operator, permits(&["anna"]), with(torn)).await;
    assert_eq!(city.read(Some(&forged)).await.0, 401);
    // That of another agreement.
    let again = city.service.json(&["negotiate", &city.holder.did, crate::usage::DATASET]);
    let other =
        city.service.text(&["agreements", "contract-token", again["contractAgreementId"].as_str().unwrap()]);
    let foreign = city.ticket(&city.operator, permits(&["anna"]), with(other.trim().to_owned())).await;
    assert_eq!(city.read(Some(&foreign)).await.0, 401);
}

#[tokio::test]
async fn the_terms_must_permit_what_the_operator_permits() {
    let city = City::with(&permission(&[c("purpose", "eq", RESEARCH), c("count", "lteq", "1")])).await;
    for (expected, outcome) in [(200, "complete"), (403, "the agreement does not permit it now")] {
        let ticket = city.ticket(&city.operator, permits(&["anna"]), |_| {}).await;
        assert_eq!(city.read(Some(&ticket)).await.0, expected);
        let ended = |all: &Value| {
            all.as_array()
                .unwrap()
                .iter()
                .any(|one| one["outcome"]["response"] == outcome && one["told"] == "yes")
        };
        city.holder.until("/v4/personal/accesses", ended).await;
    }
}

#[tokio::test]
async fn tickets_and_operators_that_lie_or_fail_give_nothing() {
    let city = City::new().await;
    let now = connector::clock::now().as_second();
    type Change = fn(&mut Value, i64);
    let refused: [(&str, Change); 4] = [
        ("for another connector", |claims, _| claims["aud"] = json!("https://elsewhere.example/data")),
        ("expired", |claims, now| claims["exp"] = json!(now - 60)),
        ("of the future", |claims, now| claims["iat"] = json!(now + 120)),
        ("good for a day", |claims, now| claims["exp"] = json!(now + 86_400)),
    ];
    for (what, change) in refused {
        let ticket = city.ticket(&city.operator, permits(&["anna"]), |claims| change(claims, now)).await;
        assert_eq!(city.read(Some(&ticket)).await.0, 401, "{what}");
    }
    let unknown = Program::start(&city.holder, &["operator", &connector::ids::uuid()], &[]);
    let ticket = city.ticket(&unknown, permits(&["anna"]), |_| {}).await;
    let (status, said) = city.read(Some(&ticket)).await;
    assert!(status == 401 && said.contains("no operator that this connector trusts"), "{said}");
    // Another program that says it is the operator.
    let impostor = Program::start(&city.holder, &["operator", &city.uuid], &[]);
    let ticket = city.ticket(&impostor, permits(&["anna"]), |_| {}).await;
    assert_eq!(city.read(Some(&ticket)).await.0, 401);
    for (what, says, status) in [
        ("not permitted", json!({"active": false, "reason": "withdrawn"}), 403),
        ("nobody", json!({"active": true, "access_item_uuid": "a"}), 403),
        (
            "of another type",
            json!({"active": true, "access_item_uuid": "a", "identifiers": [{"id": "anna", "id_type": "nin", "verified": true}]}),
            403,
        ),
        (
            "not verified",
            json!({"active": true, "access_item_uuid": "a", "identifiers": [{"id": "anna", "id_type": "rider"}]}),
            403,
        ),
        ("down", json!({"mode": "down"}), 502),
        ("slow", json!({"mode": "slow"}), 502),
    ] {
        let ticket = city.ticket(&city.operator, says, |_| {}).await;
        let answered =
            tokio::time::timeout(std::time::Duration::from_secs(60), city.read(Some(&ticket))).await;
        let (found, said) = answered.expect("an answer, however slow the operator is");
        assert_eq!(found, status, "{what}: {said}");
        assert!(!said.contains("Plaza"));
    }
    // Without the agreement, a ticket opens nothing.
    let ticket = city.ticket(&city.operator, permits(&["anna"]), |_| {}).await;
    let stolen = city
        .world
        .client()
        .get(&city.door.0)
        .bearer_auth("other")
        .header("request-ticket", &ticket)
        .send()
        .await;
    assert_eq!(stolen.unwrap().status(), 401);
    city.holder.text(&["agreements", "end", &city.agreement]);
    let ticket = city.ticket(&city.operator, permits(&["anna"]), |_| {}).await;
    assert_eq!(city.read(Some(&ticket)).await.0, 403, "the policy must permit as well");
    assert!(
        city.holder
            .get("/v4/personal/accesses")
            .await
            .as_array()
            .unwrap()
            .iter()
            .all(|one| !one["outcome"].is_null())
    );
}
