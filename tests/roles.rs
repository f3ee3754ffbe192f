//! A day of each of the four people who use a node, as they see it: what they type, and what they are told.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Node, PURPOSE, World};

const ADVERTISING: &str = "urn:concordat:purpose:advertising";
const ROWS: &[u8] = b"station,at,no2\nA1,2026-01-01T00:00:00Z,21.5\nA2,2026-01-01T01:00:00Z,7\n";

/// A person at the command line of a node.
struct Person<'a> {
    node: &'a Node,
}

impl Person<'_> {
    fn typed(&self, arguments: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = self.node.run(arguments);
        (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    /// Types a command that ends with `code`, and is told all of `told`; what was told.
    fn is_told(&self, arguments: &[&str], code: i32, told: &[&str]) -> String {
        let (ended, said) = self.typed(arguments);
        assert_eq!(ended, code, "{arguments:?}: {said}");
        for part in told {
            assert!(said.contains(part), "{arguments:?}: `{part}` is not told: {said}");
        }
        said
    }
}

#[tokio::test]
async fn an_administrator() {
    let world = World::new();
    let mut node = world.local_node("city");
    node.publish("urn:test:no2", ROWS, &[]);
    {
        let admin = Person { node: &node };
        admin.is_told(&["init"], 1, &["there is a node in", "already"]);
        admin.is_told(&["identity"], 0, &[&node.did]);
        let (code, said) = admin.typed(&["doctor"]);
        assert!([0, 5].contains(&code) && said.contains("certificate") && said.contains("store"), "{said}");
        let made = admin.is_told(&["keys", "create", "desk", "--scope", "operate"], 0, &["ck_"]);
        let key = node.dir.join("desk.key");
        connector::secrets::create(&key, made.lines().next().unwrap()).unwrap();
        let key = key.to_str().unwrap();
        let desk = ["--node", &node.management, "--key", key];
        let offers = admin.is_told(&[&desk[..], &["offers"]].concat(), 0, &["urn:test:no2"]);
        assert!(!offers.contains("ck_"));
        admin.is_told(
            &[&desk[..], &["keys", "create", "other", "--scope", "admin"]].concat(),
            3,
            &["needs `admin`"],
        );
        admin.is_told(&[&desk[..], &["unpublish", "urn:test:no2"]].concat(), 3, &["needs `admin`"]);
        admin.is_told(&["unpublish", "urn:test:no2"], 0, &["withdrawn urn:test:no2"]);
        admin.is_told(&["events"], 0, &["[the node's own key from 127.0.0.1]"]);
        admin.is_told(&["audit", "verify"], 0, &["Every entry follows from the one before"]);
    }
    let health = node.client.get(format!("{}/health", node.address)).send().await.unwrap();
    assert_eq!(health.status(), 200);

    // A copy while it runs, and a node that goes on from it.
    node.publish("urn:test:kept", ROWS, &[]);
    let copy = world.folder.path().join("copy");
    node.text(&["store", "backup", copy.to_str().unwrap()]);
    node.publish("urn:test:lost", ROWS, &[]);
    node.kill();
    let store = node.dir.join("store");
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::create_dir(&store).unwrap();
    std::fs::rename(copy.join("journal"), store.join("journal")).unwrap();
    node.start();
    node.client = world.client();
    let admin = Person { node: &node };
    let offers = admin.is_told(&["offers"], 0, &["urn:test:kept"]);
    assert!(!offers.contains("urn:test:lost"), "{offers}");
    node.stop();
    let admin = Person { node: &node };
    admin.is_told(&["store", "verify"], 0, &[]);
    admin.is_told(&["offers"], 4, &["no node answers at", "concordat serve"]);
}

#[tokio::test]
async fn a_clerk() {
    let world = World::new();
    let (paris, antwerp) = (world.local_node("paris"), world.local_node("antwerp"));
    paris.publish("urn:paris:no2", ROWS, &[]);
    let clerk = Person { node: &antwerp };
    clerk.is_told(&["catalog", &paris.did], 0, &["urn:paris:no2", "environmental monitoring"]);
    let said = clerk.is_told(
        &["negotiate", &paris.did, "urn:paris:no2", "--purpose", ADVERTISING],
        3,
        &["the request says the purpose must be", "advertising", "/permission/0", "no terms lie within both"],
    );
    assert!(!said.contains("Within both would be"), "an empty set is no counter-offer: {said}");
    // Words that look alike are not the same.
    let look_alike = "https://evil.example/environmental-monitoring";
    clerk.is_told(&["negotiate", &paris.did, "urn:paris:no2", "--purpose", look_alike], 3, &[look_alike]);
    let agreed = clerk.is_told(
        &["negotiate", &paris.did, "urn:paris:no2", "--purpose", PURPOSE],
        0,
        &["agreement urn:", "next:"],
    );
    let agreement = agreed.lines().find_map(|line| line.strip_prefix("agreement ")).unwrap();
    clerk.is_told(&["agreements", "show", agreement], 0, &["signed", "in force", "environmental monitoring"]);
    let file = antwerp.data().join("no2.csv");
    clerk.is_told(&["pull", agreement, "-o", file.to_str().unwrap()], 0, &["SHA-256"]);
    assert_eq!(std::fs::read(&file).unwrap(), ROWS);
    let path = format!("/v4/contractagreements/{}", trust::did::segment(agreement));
    antwerp
        .until(&path, |one| one["urn:concordat:requests"] == 1 || !one["urn:concordat:bytes"].is_null())
        .await;
    let dossier = antwerp.data().join("agreement.json");
    clerk.is_told(
        &["agreements", "export", agreement, "-o", dossier.to_str().unwrap()],
        0,
        &["agreements verify"],
    );
    clerk.is_told(&["agreements", "verify", dossier.to_str().unwrap()], 0, &["holds"]);

    paris.text(&["agreements", "end", agreement, "--reason", "the station moves"]);
    antwerp.until(&path, |one| one["urn:concordat:endedThere"].is_object()).await;
    clerk.is_told(&["agreements", "show", agreement], 0, &["ended by the other party", "the station moves"]);
    clerk.is_told(&["pull", agreement], 3, &["the station moves"]);
    clerk.is_told(&["audit", "match", agreement], 0, &["the logs do not differ"]);
}

#[tokio::test]
async fn an_analyst() {
    let world = World::new();
    let (paris, antwerp) = (world.local_node("paris"), world.local_node("antwerp"));
    paris.publish("urn:paris:no2", ROWS, &[]);
    paris.publish("urn:paris:ragged", b"a,b\n1,2\n3\n", &[]);
    let analyst = Person { node: &antwerp };
    for (dataset, name) in [("urn:paris:no2", "no2"), ("urn:paris:ragged", "ragged")] {
        analyst.is_told(
            &["use", dataset, "--as", name, "--from", &paris.did, "--purpose", PURPOSE],
            0,
            &["read it at http://127.0.0.1", "concordat keys create"],
        );
    }
    let made = analyst.is_told(&["keys", "create", "notebook", "--scope", "consume"], 0, &["ck_"]);
    let key = made.lines().next().unwrap();
    let read = async |path: &str| {
        let url = format!("{}{path}", antwerp.management);
        let answer = antwerp.client.get(url).header("x-api-key", key).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap())
    };
    let (status, rows) = read("/d/no2.json").await;
    let rows: Value = serde_json::from_str(&rows).unwrap();
    assert_eq!(
        (status, &rows[0]),
        (200, &json!({"station": "A1", "at": "2026-01-01T00:00:00Z", "no2": 21.5}))
    );
    let (status, said) = read("/d/ragged.json").await;
    assert!(
        status == 422 && said.contains("record 3 has 1 cells, but there are 2 columns"),
        "{status} {said}"
    );
    let (status, said) = read("/d/no2.xls").await;
    assert!(status == 404 && said.contains("parquet"), "{status} {said}");
    let (status, _) = read("/v4/assets/request").await;
    assert!(status >= 400, "a key for reading shared data does nothing else");
    analyst.is_told(&["uses"], 0, &["no2", "until 2100-01-01"]);
    let agreement = antwerp.json(&["uses"])[0]["agreement"].as_str().unwrap().to_owned();
    let of_no2 =
        antwerp.json(&["uses"]).as_array().unwrap().iter().find(|one| one["name"] == "no2").cloned().unwrap();
    let ended = of_no2["agreement"].as_str().unwrap_or(&agreement);
    paris.text(&["agreements", "end", ended, "--reason", "the station moves"]);
    let path = format!("/v4/contractagreements/{}", trust::did::segment(ended));
    antwerp.until(&path, |one| one["urn:concordat:endedThere"].is_object()).await;
    let (status, said) = read("/d/no2.csv").await;
    assert!(
        status >= 400 && said.contains("no agreement") && said.contains("concordat use"),
        "{status} {said}"
    );
}

#[tokio::test]
async fn a_data_officer() {
    let world = World::new();
    let city = world.local_node("city");
    let officer = Person { node: &city };
    let trips = city.data().join("trips.csv");
    std::fs::write(&trips, "rider,start\nanna,Plaza\n").unwrap();
    let personal = city.data().join("personal.json");
    let about = json!({"subject": "rider", "processing": ["https://w3id.org/dpv#Share"]});
    std::fs::write(&personal, about.to_string()).unwrap();
    let publish = [
        "publish",
        trips.to_str().unwrap(),
        "--id",
        "urn:city:trips",
        "--title",
        "Trips",
        "--purpose",
        PURPOSE,
    ];
    city.json(&[&publish[..], &["--personal", personal.to_str().unwrap()]].concat());
    let (code, said) =
        officer.typed(&[&publish[..], &["--personal", personal.to_str().unwrap(), "--open"]].concat());
    assert!(code != 0, "data about persons is never open: {said}");

    // What is not exercised is not called met, and a statement is one of an account.
    let found = city.json(&["mim"]);
    let rows = found["rows"].as_array().unwrap();
    for row in rows.iter().filter(|row| row["met"] == "M") {
        assert!(!row["exercised"].is_null(), "{row}");
    }
    assert!(rows.iter().any(|row| row["met"] == "able, not exercised"), "{found}");
    let open = rows.iter().find(|row| row["met"] == "not assessed").unwrap()["name"].as_str().unwrap();
    let attest =
        ["mim", "attest", open, "--role", "data protection officer", "--statement", "looked at yearly"];
    officer.is_told(&attest, 3, &["the node's own key belongs to nobody", "concordat keys create"]);
    let made = officer.is_told(&["keys", "create", "dora", "--scope", "admin"], 0, &["ck_"]);
    let key = city.dir.join("dora.key");
    connector::secrets::create(&key, made.lines().next().unwrap()).unwrap();
    officer.is_told(&[&["--key", key.to_str().unwrap()][..], &attest].concat(), 0, &["dora"]);
    let report = city.data().join("report.html");
    officer.is_told(&["mim", "--report", report.to_str().unwrap()], 0, &[]);
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(page.contains("data protection officer") && page.contains("@media print"), "{page}");
    officer.is_told(&["events"], 0, &["attests", "[dora (key "]);
    officer.is_told(&["compliance"], 0, &[]);
}
