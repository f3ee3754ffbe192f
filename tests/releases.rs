//! Releases that exist: their stores are opened, carried on and verified, and their nodes are peers like any other.
//!
//! `tests/releases/NUMBER` holds a small data space as that release left it after kill -9 (`store.json` and a folder for each
//! node) and conversations of its nodes (`conversations.json`). Both are made by the release itself:
//! `CONCORDAT_PROGRAM=path/to/concordat CONCORDAT_FREEZE=tests/releases/NUMBER cargo test --test nodes -- releases::`.

mod conversations;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use trust::PrivateKey;

use crate::membership;
use crate::personal::{post, statement};
use crate::support::{Node, PROGRAM, PURPOSE, Ports, Stranger, World};

/// Where the nodes of the fixtures listen: below the ports that other tests and the operating system take.
const FIRST_PORT: u16 = 9470;
/// Where the fixtures' sources are, by the data addresses of their assets.
const DATA: &str = "/tmp/concordat-release-fixture";
const SPACE: &str = "https://space.example";
const RESEARCH: &str = "https://w3id.org/dpv#ScientificResearch";
const ROWS: &str = "row\n1\n2\n3\n";
const TRIPS: &str = "rider,start,minutes\nanna,Plaza,12\nben,Dock,7\ncleo,Gate,5\n";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/releases")
}

fn released() -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("store.json").exists())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no release is kept in {}", folder().display());
    found
}

/// Where a release is to be frozen, and its program.
fn freezing() -> Option<(PathBuf, String)> {
    let target = std::env::var("CONCORDAT_FREEZE").ok()?;
    let program =
        std::env::var("CONCORDAT_PROGRAM").unwrap_or_else(|_| panic!("CONCORDAT_PROGRAM names its program"));
    Some((Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(target), program))
}

/// A small data space in which everything that a store can hold is under way.
struct Town {
    world: World,
    authority: Node,
    provider: Node,
    consumer: Node,
    operator: Stranger,
    /// What is where: ids of agreements, transfers, negotiations.
    facts: Value,
}

const NAMES: [&str; 3] = ["authority", "provider", "consumer"];

fn ports(number: u16) -> Ports {
    let public = FIRST_PORT + 2 * number;
    Ports { public, management: public + 1, reached: public }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// A folder of sources at the place that the fixtures' assets name.
fn write_sources() {
    std::fs::create_dir_all(DATA).unwrap();
    std::fs::write(Path::new(DATA).join("rows.csv"), ROWS).unwrap();
    std::fs::write(Path::new(DATA).join("trips.csv"), TRIPS).unwrap();
}

impl Town {
    /// Made by `program`, up to the moment in which everything is killed.
    async fn make(program: &str) -> Self {
        write_sources();
        let world = World::of(program);
        let local = ["--allow-network", "127.0.0.0/8", "--allow-network", "::1/128"];
        let mut nodes = (0..3).map(|n| world.node_at(NAMES[usize::from(n)], &ports(n), &local));
        let (mut authority, mut provider, mut consumer) =
            (nodes.next().unwrap(), nodes.next().unwrap(), nodes.next().unwrap());
        let operator = Stranger::new(&world);
        // Messages wait until the fixture is opened, and credentials hold until then.
        provider.configure("operators = []", &format!("operators = [\"{}\"]", operator.did));
        for node in [&mut authority, &mut provider, &mut consumer] {
            node.configure("give_up_after_seconds = 600", "give_up_after_seconds = 3000000000");
        }
        authority.text(&["authority", "init", "--space", SPACE]);
        authority.configure("valid_days = 365", "valid_days = 36500");
        for member in [&provider, &consumer] {
            membership::join(&authority, member);
        }
        let mut town = Self { world, authority, provider, consumer, operator, facts: json!({}) };
        town.fill().await;
        town
    }

    async fn fill(&mut self) {
        let (rows, trips) = (format!("{DATA}/rows.csv"), format!("{DATA}/trips.csv"));
        let plain =
            self.agree("plain", &rows, &["--purpose", PURPOSE, "--valid-until", "2100-01-01T00:00:00Z"]);
        let members = ["--members-of", SPACE, "--only-for-members-of", SPACE];
        let for_members = self.agree("for-members", &rows, &members);
        let duties = self.agree(
            "duties",
            &rows,
            &["--pay", "5 EUR", "--delete-by", "2100-01-01T00:00:00Z", "--attribution"],
        );
        let stated = ["duties", "fulfil", &duties, "/permission/0/duty/0", "-s", "received on account 7"];
        self.provider.json(&stated);
        let path = format!("/v4/contractagreements/{}/duties", trust::did::segment(&duties));
        self.consumer.until(&path, |all| all[0]["state"] == "fulfilled").await;
        let ended = self.agree("ended", &rows, &["--purpose", PURPOSE]);
        self.provider.json(&["agreements", "end", &ended, "--reason", "the sensors were sold"]);

        // A period that both have agreed on, missed; and one that runs.
        let short = self.with_levels("levels-short", "PT2S", &rows);
        let transfer = text(&self.consumer.json(&["transfers", "start", &short])["@id"]);
        self.consumer.text(&["pull", &transfer, "-o", self.world.folder.path().join("x").to_str().unwrap()]);
        let path = format!("/v4/contractagreements/{}/levels", trust::did::segment(&short));
        let agreed = |found: &Value| {
            let missed = |one: &Value| one["state"] == "agreed" && one["breaches"][0]["level"] == "rows";
            found["periods"].as_array().is_some_and(|all| all.iter().any(missed))
        };
        for node in [&self.provider, &self.consumer] {
            node.until(&path, agreed).await;
        }
        self.provider.json(&["agreements", "end", &short, "--reason", "enough was measured"]);
        let long = self.with_levels("levels-long", "PT8760H", &rows);

        // Persons: two have consented, and were among rows that were read.
        let about = self.world.folder.path().join("personal.json");
        let said = json!({"subject": "rider", "processing": ["https://w3id.org/dpv#Share"], "attributes": {
            "rider": {"category": "https://w3id.org/dpv/pd#Identifier"},
            "start": {"category": "https://w3id.org/dpv/pd#Location"},
            "minutes": {"category": "https://w3id.org/dpv/pd#TravelHistory"}}});
        std::fs::write(&about, said.to_string()).unwrap();
        let persons =
            self.agree("trips", &trips, &["--purpose", RESEARCH, "--personal", about.to_str().unwrap()]);
        for subject in ["anna", "ben"] {
            let consent = json!({"subject": subject, "purposes": [RESEARCH], "recipients": [self.consumer.did],
                "attributes": [], "notice": "https://operator.example/notice"});
            let made = statement(
                &self.operator,
                &self.provider.did,
                "concordat-consent+jwt",
                json!({"consents": [consent]}),
            );
            assert_eq!(post(&self.provider, "consents", &made).await.0, 201);
        }
        let trips_of = text(&self.consumer.json(&["transfers", "start", &persons])["@id"]);
        assert_eq!(self.pull(&trips_of), "rider,start,minutes\nanna,Plaza,12\nben,Dock,7\n");

        // What is used under a name, with a key; a request for data; a rulebook; a credential that was taken back.
        self.consumer.json(&[
            "use",
            "urn:test:plain",
            "--as",
            "rows",
            "--from",
            &self.provider.did,
            "--purpose",
            PURPOSE,
        ]);
        let key = self.consumer.json(&["keys", "create", "dashboard", "--scope", "consume"]);
        self.consumer.json(&["requests", "publish", "hourly noise levels", "--id", "urn:test:noise"]);
        let book = json!({"space": SPACE, "version": 1, "title": "City data", "inForce": "2026-01-01T00:00:00Z",
            "clauses": [{"id": "2", "text": "No advertising.", "rule": {"purposes": [PURPOSE, RESEARCH]}}]});
        let file = self.world.folder.path().join("rulebook.json");
        std::fs::write(&file, book.to_string()).unwrap();
        self.authority.text(&["rulebook", "publish", file.to_str().unwrap()]);
        for member in [&self.provider, &self.consumer] {
            member.until("/v4/rulebooks", |all| all[0]["state"] == "announced").await;
            member.json(&["rulebook", "accept"]);
        }
        let two = |all: &Value| all["acceptances"].as_array().is_some_and(|all| all.len() == 2);
        self.authority.until("/v4/rulebooks/acceptances", two).await;
        let issued = self.authority.json(&["authority", "issued"]);
        let role =
            |one: &&Value| one["kind"] == "RoleCredential" && one["holder"] == self.provider.did.as_str();
        let role =
            text(&issued.as_array().unwrap().iter().find(role).unwrap_or_else(|| panic!("{issued}"))["id"]);
        self.authority.text(&["authority", "revoke", &role, "--reason", "no longer in charge of air"]);

        // Open negotiations: one that waits for the provider's clerk, one that waits for the consumer's.
        self.publish("by-hand", &rows, &["--purpose", PURPOSE, "--automation", "manual"]);
        let asked = ["negotiate", &self.provider.did, "urn:test:by-hand", "--purpose", PURPOSE, "--no-wait"];
        let asked = text(&self.consumer.json(&asked)["negotiation"]);
        let path = format!("/v4/contractnegotiations/{}", trust::did::segment(&asked));
        let asked = self.consumer.until(&path, |one| one["correlationId"].is_string()).await;

        // Running transfers, and last words that the other side has not heard when everything is killed.
        let running = text(&self.consumer.json(&["transfers", "start", &plain])["@id"]);
        let running_members = text(&self.consumer.json(&["transfers", "start", &for_members])["@id"]);
        assert_eq!(self.pull(&running), ROWS);
        assert_eq!(self.pull(&running_members), ROWS);
        let at_provider = self.consumer.json(&["transfers", "show", &running]);
        let at_provider = text(&at_provider["correlationId"]);
        let dossier = self.world.folder.path().join("dossier.json");
        self.provider.text(&["agreements", "export", &plain, "-o", dossier.to_str().unwrap()]);
        self.consumer.kill();
        self.provider.json(&["transfers", "suspend", &at_provider, "--reason", "maintenance"]);
        let late = ["duties", "fulfil", &duties, "/obligation/0", "-s", "nothing is kept here"];
        let late = self.provider.run(&late);
        assert!(late.status.success(), "{late:?}");
        self.provider.kill();
        self.authority.kill();
        self.facts = json!({"operator": self.operator.key.private_jwk(), "plain": plain, "forMembers": for_members,
            "duties": duties, "ended": ended, "levelsShort": short, "levelsLong": long, "persons": persons,
            "transferOfTrips": trips_of, "running": running, "runningAtProvider": at_provider,
            "runningForMembers": running_members, "negotiation": asked["@id"],
            "negotiationAtProvider": asked["correlationId"], "key": key["key"], "revoked": role});
    }

    fn publish(&self, name: &str, source: &str, terms: &[&str]) {
        let usual = ["publish", source, "--id", &format!("urn:test:{name}"), "--title", name];
        self.provider.json(&[&usual, terms].concat());
    }

    fn agree(&self, name: &str, source: &str, terms: &[&str]) -> String {
        self.publish(name, source, terms);
        let dataset = format!("urn:test:{name}");
        let purpose = terms.iter().position(|one| *one == "--purpose").map(|at| terms[at + 1]);
        let mut asked = vec!["negotiate", &self.provider.did, &dataset];
        asked.extend(purpose.iter().flat_map(|purpose| ["--purpose", *purpose]));
        let found = self.consumer.json(&asked);
        assert_eq!(found["state"], "FINALIZED", "{found}");
        text(&found["contractAgreementId"])
    }

    fn with_levels(&self, name: &str, period: &str, source: &str) -> String {
        let levels = json!({"period": period, "currency": "EUR", "remedies": ["notice", "credit"], "levels": [
            {"id": "rows", "measure": "completeness", "target": 100, "penalty": {"cents": 1250}}]});
        let file = self.world.folder.path().join(format!("{name}.json"));
        std::fs::write(&file, levels.to_string()).unwrap();
        self.agree(name, source, &["--purpose", PURPOSE, "--service-levels", file.to_str().unwrap()])
    }

    fn pull(&self, transfer: &str) -> String {
        self.consumer.text(&["pull", transfer])
    }

    /// Keeps the stores, keys and configurations in `target`.
    fn freeze(&self, target: &Path) {
        for name in NAMES {
            let (from, to) = (self.world.folder.path().join(name), target.join(name));
            let _ = std::fs::remove_dir_all(&to);
            for part in ["keys", "store/journal"] {
                copy_folder(&from.join(part), &to.join(part));
            }
            std::fs::copy(from.join("concordat.toml"), to.join("concordat.toml")).unwrap();
        }
        std::fs::copy(self.world.folder.path().join("dossier.json"), target.join("dossier.json")).unwrap();
        std::fs::write(target.join("store.json"), format!("{:#}\n", self.facts)).unwrap();
    }

    /// What a release left in `source`, for the program of today. Nothing runs yet.
    fn thaw(source: &Path) -> Self {
        write_sources();
        let world = World::new();
        // Certificates end; these are of today.
        let scratch = world.local_node("scratch");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let root = world.folder.path().join("authority-of-certificates.pem");
        std::fs::copy(world.folder.path().join("authority/authority.pem"), &root).unwrap();
        let nodes = (0..3).map(|number| {
            let name = NAMES[usize::from(number)];
            let (from, to) = (source.join(name), world.folder.path().join(format!("town-{name}")));
            copy_folder(&from, &to);
            copy_folder(&scratch.dir.join("tls"), &to.join("tls"));
            for file in std::fs::read_dir(to.join("keys")).unwrap() {
                // git keeps no modes.
                let path = file.unwrap().path();
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
            let settings = to.join("concordat.toml");
            let line = |line: &str| match line.starts_with("roots = ") {
                true => format!("roots = [{:?}]", root.display().to_string()),
                false => line.to_owned(),
            };
            let text: Vec<_> = read(&settings).lines().map(line).collect();
            std::fs::write(&settings, text.join("\n")).unwrap();
            world.node_in(to, &ports(number))
        });
        let nodes: Vec<_> = nodes.collect();
        let [authority, provider, consumer] = <[Node; 3]>::try_from(nodes).ok().unwrap();
        let facts: Value = serde_json::from_str(&read(&source.join("store.json"))).unwrap();
        let key = PrivateKey::from_jwk(&facts["operator"]).unwrap();
        let operator = Stranger::of(key, &world);
        Self { world, authority, provider, consumer, operator, facts }
    }

    fn fact(&self, name: &str) -> String {
        text(&self.facts[name])
    }

    /// Starts everything and goes on with all that was under way.
    async fn carry_on(&mut self) {
        for node in [&mut self.authority, &mut self.consumer, &mut self.provider] {
            assert!(node.text(&["store", "verify"]).contains("last commit"));
            node.start();
        }
        // Undelivered messages arrive: the suspension, and that a duty was done.
        let running = self.fact("running");
        let path = format!("/v4/transferprocesses/{}", trust::did::segment(&running));
        self.consumer.until(&path, |one| one["state"] == "SUSPENDED").await;
        let refused = self.consumer.run(&["pull", &running]);
        assert!(!refused.status.success());
        self.provider.json(&["transfers", "resume", &self.fact("runningAtProvider")]);
        self.consumer.until(&path, |one| one["state"] == "STARTED").await;
        assert_eq!(self.pull(&running), ROWS);
        assert_eq!(self.pull(&self.fact("runningForMembers")), ROWS);
        assert_eq!(self.pull(&self.fact("duties")), ROWS, "what was paid stays paid");
        self.negotiate().await;
        self.verify();
        self.levels();
        self.persons().await;
        self.membership().await;
        // Under its name, with its key.
        let url = format!("{}/d/rows.csv", self.consumer.management);
        let read = self.consumer.client.get(url).bearer_auth(self.fact("key")).send().await.unwrap();
        assert_eq!((read.status().as_u16(), read.text().await.unwrap()), (200, ROWS.to_owned()));
        assert!(self.consumer.text(&["requests", "list"]).contains("hourly noise levels"));
        // A further kill, and the chains hold.
        for node in [&mut self.authority, &mut self.provider, &mut self.consumer] {
            node.kill();
            assert!(node.text(&["store", "verify"]).contains("last commit"));
            node.start();
            let log = node.dir.join("audit.jsonl");
            node.text(&["audit", "export", "-o", log.to_str().unwrap()]);
            node.text(&["audit", "verify", log.to_str().unwrap()]);
        }
        self.consumer.client = self.world.client();
        assert_eq!(self.pull(&running), ROWS);
    }

    /// The negotiation that waited is answered, and a new one is concluded.
    async fn negotiate(&self) {
        self.provider.json(&["negotiations", "approve", &self.fact("negotiationAtProvider")]);
        let path = format!("/v4/contractnegotiations/{}", trust::did::segment(&self.fact("negotiation")));
        let found = self.consumer.until(&path, |one| one["state"] == "FINALIZED").await;
        let agreement = text(&found["contractAgreementId"]);
        assert_eq!(self.pull(&agreement), ROWS);
        let fresh = self.agree("fresh", &format!("{DATA}/rows.csv"), &["--purpose", PURPOSE]);
        assert_eq!(self.pull(&fresh), ROWS);
    }

    /// Every agreement is shown, exported and holds; the ended ones open nothing.
    fn verify(&self) {
        for name in ["plain", "forMembers", "duties", "ended", "levelsShort", "levelsLong", "persons"] {
            let agreement = self.fact(name);
            for node in [&self.provider, &self.consumer] {
                let file = self.world.folder.path().join("dossier.json");
                node.text(&["agreements", "export", &agreement, "-o", file.to_str().unwrap()]);
                let proven = node.text(&["agreements", "verify", file.to_str().unwrap()]);
                assert!(proven.contains("holds"), "{name}: {proven}");
            }
        }
        for name in ["ended", "levelsShort"] {
            let refused = self.consumer.run(&["pull", &self.fact(name)]);
            assert!(!refused.status.success(), "{name}");
        }
    }

    /// What both had computed stays as it was; what runs goes on.
    fn levels(&self) {
        let show = |node: &Node, name: &str| node.json(&["levels", "show", &self.fact(name)]);
        let missed = |found: &Value| {
            let missed = |one: &&Value| one["state"] == "agreed" && one["breaches"][0]["level"] == "rows";
            found["periods"]
                .as_array()
                .unwrap()
                .iter()
                .find(missed)
                .unwrap_or_else(|| panic!("{found}"))
                .clone()
        };
        let (theirs, ours) =
            (missed(&show(&self.provider, "levelsShort")), missed(&show(&self.consumer, "levelsShort")));
        assert_eq!((&theirs["sha256"], &theirs["breaches"]), (&ours["sha256"], &ours["breaches"]));
        assert_eq!(theirs["breaches"][0]["cents"], 1250);
        assert!(show(&self.consumer, "levelsLong")["periods"].is_array());
    }

    /// Consents count as before, and a withdrawal reaches whoever had the rows.
    async fn persons(&self) {
        let trips = self.fact("transferOfTrips");
        assert_eq!(self.pull(&trips), "rider,start,minutes\nanna,Plaza,12\nben,Dock,7\n");
        let withdrawn = statement(
            &self.operator,
            &self.provider.did,
            "concordat-consent-withdrawal+jwt",
            json!({"subject": "anna"}),
        );
        assert_eq!(post(&self.provider, "withdrawals", &withdrawn).await.0, 200);
        assert_eq!(self.pull(&trips), "rider,start,minutes\nben,Dock,7\n");
        let due =
            self.consumer.until("/v4/personal/deletions", |all| !all.as_array().unwrap().is_empty()).await;
        assert_eq!(due[0]["about"]["values"], json!(["anna"]), "{due}");
    }

    /// The authority's list, its rulebook, and what was revoked.
    async fn membership(&self) {
        let issued = self.authority.json(&["authority", "issued"]);
        let revoked = |one: &&Value| one["id"] == self.facts["revoked"];
        let revoked = issued.as_array().unwrap().iter().find(revoked).unwrap();
        assert!(revoked["revokedAt"].is_string(), "{revoked}");
        for member in [&self.provider, &self.consumer] {
            assert_eq!(member.get("/v4/rulebooks").await[0]["state"], "in force");
        }
        let file = self.world.folder.path().join("ads.csv");
        std::fs::write(&file, ROWS).unwrap();
        let offer = [
            "publish",
            file.to_str().unwrap(),
            "--id",
            "urn:test:ads",
            "--title",
            "Ads",
            "--purpose",
            "urn:ads",
        ];
        let refused = self.provider.run(&offer);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("clause 2"), "{refused:?}");
        let member = |one: &&Value| {
            one["kind"] == "MembershipCredential" && one["holder"] == self.consumer.did.as_str()
        };
        let id = text(&issued.as_array().unwrap().iter().find(member).unwrap()["id"]);
        self.authority.text(&["authority", "revoke", &id, "--reason", "left the data space"]);
        let members_only = self.fact("runningForMembers");
        let refused = |_: &Value| !self.consumer.run(&["pull", &members_only]).status.success();
        self.provider.until("/v4/identity", refused).await;
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy_folder(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

#[tokio::test]
async fn stores_of_all_releases_and_of_this_one_are_opened_carried_on_and_verified() {
    if let Some((target, program)) = freezing() {
        Town::make(&program).await.freeze(&target);
        return;
    }
    for release in released() {
        let mut town = Town::thaw(&release);
        for node in [&town.authority, &town.provider, &town.consumer] {
            assert!(!node.dir.join("store/sled").exists(), "the index is built anew");
        }
        town.carry_on().await;
        // The journal as it was is kept beside the one of today.
        assert!(town.provider.dir.join("store/before-form-2/journal").exists());
        // A dossier of that release holds.
        let proven =
            town.provider.text(&["agreements", "verify", release.join("dossier.json").to_str().unwrap()]);
        assert!(proven.contains("holds"), "{proven}");
        drop(town);
    }
    // The same with a store of this program, so that the next release has something to go on from.
    let mut town = Town::make(PROGRAM).await;
    town.carry_on().await;
}
