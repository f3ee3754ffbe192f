//! Service levels between two nodes: measured by both, computed by both, missed, disputed, waived, exported.

use std::time::Duration;

use serde_json::{Value, json};

use crate::personal::statement;
use crate::streams::door;
use crate::support::{Node, Stranger, World};
use crate::usage::{agree_with, permission};

/// A provider and a consumer with service levels in their agreement.
struct Promise {
    world: World,
    provider: Node,
    consumer: Node,
    agreement: String,
}

impl Promise {
    fn new(levels: &Value) -> Self {
        let world = World::new();
        let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
        let file = world.folder.path().join("rows.csv");
        std::fs::write(&file, "row\n1\n2\n").unwrap();
        let promised = world.folder.path().join("levels.json");
        std::fs::write(&promised, levels.to_string()).unwrap();
        let further = ["--service-levels", promised.to_str().unwrap()];
        let agreement =
            agree_with(&world, &provider, &consumer, file.to_str().unwrap(), &permission(&[]), &further);
        Self { world, provider, consumer, agreement }
    }

    fn path(&self) -> String {
        format!("/v4/contractagreements/{}/levels", trust::did::segment(&self.agreement))
    }

    /// Reads through the consumer's node, which measures.
    async fn read(&self, transfer: &str) -> u16 {
        let path = format!("/v4/transferprocesses/{}/data", trust::did::segment(transfer));
        let url = format!("{}{path}", self.consumer.management);
        let answer =
            self.consumer.client.get(url).header("x-api-key", &self.consumer.key).send().await.unwrap();
        let status = answer.status().as_u16();
        let _ = answer.text().await;
        status
    }

    fn start(&self) -> String {
        self.consumer.json(&["transfers", "start", &self.agreement])["@id"].as_str().unwrap().to_owned()
    }

    /// Since when the periods are counted, and the part of keys that names the agreement.
    fn counted(&self) -> (jiff::Timestamp, String) {
        let dossier = self.consumer.json(&["agreements", "export", &self.agreement]);
        let since = dossier["agreement"]["timestamp"].as_str().unwrap().parse().unwrap();
        (since, trust::did::segment(&self.agreement))
    }

    /// Both nodes' periods, once `done` is true of both.
    async fn both(&self, done: impl Fn(&Value) -> bool + Copy) -> (Value, Value) {
        (self.provider.until(&self.path(), done).await, self.consumer.until(&self.path(), done).await)
    }
}

/// The first period with a breach that both have agreed on.
fn agreed_breach(found: &Value) -> Option<&Value> {
    let missed = |one: &&Value| {
        one["state"] == "agreed" && one["breaches"].as_array().is_some_and(|all| !all.is_empty())
    };
    found["periods"].as_array()?.iter().find(missed)
}

#[tokio::test]
async fn a_missed_level_is_found_by_both_and_its_penalty_is_recorded() {
    let promise = Promise::new(
        &json!({"period": "PT2S", "currency": "EUR", "remedies": ["notice", "credit"], "levels": [
        {"id": "rows", "measure": "completeness", "target": 100, "penalty": {"cents": 1250}},
        {"id": "up", "measure": "availability", "target": 100, "interval": 1}]}),
    );
    let transfer = promise.start();
    assert_eq!(promise.read(&transfer).await, 200);
    let (provider, consumer) = promise.both(|found| agreed_breach(found).is_some()).await;
    let (theirs, ours) = (agreed_breach(&provider).unwrap(), agreed_breach(&consumer).unwrap());
    assert_eq!(theirs["sha256"], ours["sha256"]);
    assert_eq!(ours["breaches"], theirs["breaches"]);
    let breach = &ours["breaches"][0];
    assert_eq!(
        (&breach["level"], &breach["remedy"], &breach["cents"]),
        (&json!("rows"), &json!("notice"), &json!(1250))
    );
    assert_eq!(ours["attainment"]["reads"], 1, "one read, though both measured it");
    for node in [&promise.provider, &promise.consumer] {
        let events = node.events().join("\n");
        assert!(events.contains("missed the level `rows`") && events.contains("12.50 EUR"), "{events}");
        let shown = node.text(&["levels", "show", &promise.agreement]);
        assert!(shown.contains("rows: 0.000 % of 100.000 %") && shown.contains("12.50 EUR"), "{shown}");
    }
    // The amounts, for bookkeeping.
    let csv = promise.consumer.text(&["levels", "export", &promise.agreement]);
    assert!(csv.starts_with("agreement,period,") && csv.contains("12.50"), "{csv}");
    let invoice = promise.consumer.text(&["levels", "export", &promise.agreement, "--form", "ubl"]);
    assert!(invoice.contains("<cbc:PayableAmount currencyID=\"EUR\">12.50</cbc:PayableAmount>"), "{invoice}");
    assert!(invoice.contains(&promise.provider.did), "{invoice}");
    // Whoever is owed waives; the other one cannot.
    let number = ours["period"].to_string();
    let refused =
        promise.provider.run(&["levels", "waive", &promise.agreement, &number, "rows", "--reason", "no"]);
    assert_eq!(refused.status.code(), Some(3));
    promise.consumer.text(&[
        "levels",
        "waive",
        &promise.agreement,
        &number,
        "rows",
        "--reason",
        "a known fault",
    ]);
    let waived = |found: &Value| {
        found["periods"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["breaches"][0]["waived"]["reason"] == "a known fault")
    };
    promise.both(waived).await;
    let nothing = promise.consumer.run(&["levels", "export", &promise.agreement, "--form", "ubl"]);
    assert_eq!(nothing.status.code(), Some(3));
}

#[tokio::test]
async fn an_outage_that_only_the_consumer_sees_counts_and_probes_find_it() {
    let mut promise =
        Promise::new(&json!({"period": "PT3S", "probe": "PT1S", "remedies": ["notice"], "levels": [
        {"id": "up", "measure": "availability", "target": 90, "interval": 1}]}));
    let transfer = promise.start();
    assert_eq!(promise.read(&transfer).await, 200);
    promise.provider.kill();
    // Nobody reads; the probes go on.
    let pause = tokio::time::timeout(Duration::from_secs(4), std::future::pending::<()>());
    assert!(pause.await.is_err());
    promise.provider.start();
    let down = |found: &Value| {
        found["periods"].as_array().is_some_and(|all| {
            all.iter().any(|one| one["state"] == "agreed" && one["breaches"][0]["level"] == "up")
        })
    };
    let found = promise.consumer.until(&promise.path(), down).await;
    let sha = |found: &Value| {
        let all = found["periods"].as_array().unwrap();
        all.iter().find(|one| one["breaches"][0]["level"] == "up").map(|one| one["sha256"].clone())
    };
    promise.provider.client = promise.world.client();
    let theirs = promise.provider.until(&promise.path(), down).await;
    assert_eq!(sha(&found), sha(&theirs));
    assert!(promise.consumer.text(&["levels", "show", &promise.agreement]).contains("agreed"));
}

/// A period is stated as a whole, or not yet: a kill between its parts leaves nothing half said.
#[tokio::test]
async fn all_that_was_measured_in_a_period_is_one_commit() {
    let mut promise = Promise::new(&json!({"period": "PT2S", "remedies": ["notice"], "levels": [
        {"id": "up", "measure": "availability", "target": 90, "interval": 1}]}));
    let (since, folder) = promise.counted();
    promise.consumer.stop();
    // Nobody is told, so that the records stay as that commit made them.
    promise.provider.kill();
    let period = connector::clock::now().duration_since(since).as_secs() / 2 + 2;
    let at = since.as_millisecond() + period * 2000;
    let reads: Vec<_> = (0..3100)
        .map(|number| json!({"what": "read", "id": number.to_string(), "by": "consumer", "at": at, "ok": true}))
        .collect();
    let key = format!("measured/{folder}/{period:012}/many");
    promise.consumer.put(&key, &json!({"measured": reads})).await;
    promise.consumer.start();
    promise.consumer.client = promise.world.client();
    let stated = |found: &Value| {
        found["periods"].as_array().unwrap().iter().any(|one| one["period"].as_i64() == Some(period))
    };
    promise.consumer.until(&promise.path(), stated).await;
    promise.consumer.stop();
    let mut commits = std::collections::BTreeMap::<u64, usize>::new();
    for (_, record) in promise.consumer.records(&format!("statement/{folder}/")) {
        *commits.entry(record.version).or_default() += 1;
    }
    assert_eq!(commits.values().max(), Some(&3), "three parts: {commits:?}");
}

/// What cannot be read of one period is that period's fault alone.
#[tokio::test]
async fn a_period_that_fails_does_not_stop_those_after_it() {
    let mut promise =
        Promise::new(&json!({"period": "PT2S", "probe": "PT1S", "remedies": ["notice"], "levels": [
        {"id": "up", "measure": "availability", "target": 90, "interval": 1}]}));
    let transfer = promise.start();
    assert_eq!(promise.read(&transfer).await, 200);
    let (since, folder) = promise.counted();
    promise.consumer.stop();
    // The period that is next when the node is back.
    let spoilt = connector::clock::now().duration_since(since).as_secs() / 2 + 2;
    promise.consumer.spoil(&format!("measured/{folder}/{spoilt:012}/one")).await;
    promise.consumer.start();
    promise.consumer.client = promise.world.client();
    let later = |found: &Value| {
        let all = found["periods"].as_array().unwrap();
        all.iter().any(|one| one["period"].as_i64() > Some(spoilt) && !one["attainment"].is_null())
    };
    let found = promise.consumer.until(&promise.path(), later).await;
    let all = found["periods"].as_array().unwrap();
    assert!(all.iter().all(|one| one["period"] != spoilt), "the spoilt one was computed: {found}");
}

#[tokio::test]
async fn a_consumer_that_asks_too_often_is_slowed_down_then_suspended() {
    let promise = Promise::new(&json!({"period": "PT2S", "remedies": ["throttle", "suspend"], "levels": [
        {"id": "calls", "measure": "requests", "target": 2}]}));
    let transfer = promise.start();
    for _ in 0..5 {
        assert_eq!(promise.read(&transfer).await, 200);
    }
    promise.both(|found| agreed_breach(found).is_some()).await;
    let mut slowed = 0;
    for _ in 0..12 {
        slowed += u32::from(promise.read(&transfer).await == 429);
    }
    assert!(slowed >= 4, "{slowed}");
    let suspended = |found: &Value| found["state"] == "SUSPENDED";
    let path = format!("/v4/transferprocesses/{}", trust::did::segment(&transfer));
    promise.consumer.until(&path, suspended).await;
}

#[tokio::test]
async fn what_is_disputed_or_made_up_leads_to_nothing() {
    let promise =
        Promise::new(&json!({"period": "PT2S", "currency": "EUR", "remedies": ["terminate"], "levels": [
        {"id": "rows", "measure": "completeness", "target": 100, "penalty": {"cents": 100}}]}));
    // A statement about what is not over, and one that speaks for the other party, are not taken.
    let (url, token) = door(&promise.consumer, &promise.agreement).await;
    assert!(!url.is_empty() && !token.is_empty());
    let transfer = promise.start();
    assert_eq!(promise.read(&transfer).await, 200);
    let waiting = |found: &Value| found["periods"].as_array().is_some_and(|all| !all.is_empty());
    let found = promise.consumer.until(&promise.path(), waiting).await;
    let number = found["periods"][0]["period"].to_string();
    let long = promise.consumer.run(&["levels", "dispute", &promise.agreement, &number, "--reason", ""]);
    assert_eq!(long.status.code(), Some(3));
    promise.provider.until(&promise.path(), |found| agreed_breach(found).is_some()).await;
    // The breach ends the agreement by the ladder.
    let path = format!("/v4/contractagreements/{}", trust::did::segment(&promise.agreement));
    promise.consumer.until(&path, |found| !found["urn:concordat:ended"].is_null()).await;
    promise.provider.text(&[
        "levels",
        "dispute",
        &promise.agreement,
        &number,
        "--reason",
        "the file was right",
    ]);
    let disputed = |found: &Value| found["periods"][0]["state"] == "disputed";
    promise.both(disputed).await;
    let nothing = promise.consumer.run(&["levels", "export", &promise.agreement, "--form", "ubl"]);
    assert_eq!(nothing.status.code(), Some(3), "a disputed amount is on no invoice");
}

#[tokio::test]
async fn levels_that_cannot_be_measured_are_refused_when_they_are_offered() {
    let world = World::new();
    let provider = world.local_node("provider");
    let file = world.folder.path().join("rows.csv");
    std::fs::write(&file, "row\n").unwrap();
    let levels = world.folder.path().join("levels.json");
    for (wrong, path) in [
        (
            json!({"period": "PT0S", "levels": [{"id": "a", "measure": "availability", "target": 99}]}),
            "/period",
        ),
        (json!({"period": "PT1H", "levels": []}), "/levels"),
        (
            json!({"period": "PT1H", "levels": [{"id": "a", "measure": "availability", "target": 101}]}),
            "percents",
        ),
        (
            json!({"period": "PT1H", "levels": [{"id": "a", "measure": "availability", "target": 9, "penalty": {"cents": 1}}]}),
            "/currency",
        ),
    ] {
        std::fs::write(&levels, wrong.to_string()).unwrap();
        let refused = provider.run(&[
            "publish",
            file.to_str().unwrap(),
            "--id",
            "urn:test:x",
            "--title",
            "x",
            "--service-levels",
            levels.to_str().unwrap(),
        ]);
        assert!(!refused.status.success());
        assert!(
            String::from_utf8_lossy(&refused.stderr).contains(path),
            "{}",
            String::from_utf8_lossy(&refused.stderr)
        );
    }
}

/// A party that says what it likes: an agreement made elsewhere, with the test as its consumer.
struct Liar {
    provider: Node,
    consumer: Stranger,
    agreement: String,
    _world: World,
}

impl Liar {
    async fn new() -> Self {
        let world = World::new();
        let provider = world.local_node("provider");
        let consumer = Stranger::new(&world);
        let agreement = connector::ids::urn();
        // It began ten seconds ago, so that some of its periods are over.
        let began = jiff::Timestamp::from_second(connector::clock::now().as_second() - 10).unwrap();
        let made = json!({"agreement": {"@id": agreement, "@type": "Agreement", "target": "urn:test:usage", "assigner": provider.did,
            "assignee": consumer.did, "timestamp": began, "permission": [{"action": "use"}], "urn:concordat:serviceLevels": {
                "period": "PT2S", "currency": "EUR", "remedies": ["credit"], "levels": [
                    {"id": "rows", "measure": "completeness", "target": 10, "penalty": {"cents": 100}}]}},
            "counterPartyAddress": "https://localhost:9"});
        provider.post("/v4/contractagreements/import", made).await;
        Self { provider, consumer, agreement, _world: world }
    }

    async fn say(&self, kind: &str, stated: Value) -> u16 {
        self.say_signed(&statement(&self.consumer, &self.provider.did, kind, stated)).await
    }

    async fn say_signed(&self, compact: &str) -> u16 {
        let path = format!("/agreements/{}/statements", trust::did::segment(&self.agreement));
        self.consumer.send(&self.provider, "POST", &path, &json!({"statement": compact})).await.0
    }

    async fn periods(&self) -> Value {
        self.provider
            .get(&format!("/v4/contractagreements/{}/levels", trust::did::segment(&self.agreement)))
            .await
    }
}

fn measured(liar: &Liar, by: &str, period: u64) -> Value {
    let at = connector::clock::now().as_millisecond() - 9_500;
    let read = json!({"what": "read", "id": liar.agreement, "by": by, "at": at, "ok": true, "rows": 1, "bytes": 5, "took": 1});
    json!({"period": period, "part": 0, "parts": 1, "measured": [read]})
}

#[tokio::test]
async fn statements_that_lie_or_disagree_are_refused_or_recorded() {
    let liar = Liar::new().await;
    let own = measured(&liar, "consumer", 0);
    for (what, kind, stated) in [
        ("speaks for the other party", "concordat-measured+jwt", measured(&liar, "provider", 0)),
        ("of a period that is not over", "concordat-measured+jwt", measured(&liar, "consumer", 1000)),
        ("no parts", "concordat-measured+jwt", json!({"period": 0, "part": 0, "parts": 0, "measured": []})),
        (
            "waives what is owed to the other",
            "concordat-waived+jwt",
            json!({"period": 0, "level": "none", "reason": "x"}),
        ),
        (
            "a withdrawal by a consumer",
            "concordat-withdrawal+jwt",
            json!({"dataset": "urn:test:usage", "column": "a", "values": ["x"],
            "withdrawnAt": "2026-01-01T00:00:00Z", "due": "2026-02-01T00:00:00Z"}),
        ),
        (
            "a deletion that nobody asked for",
            "concordat-deletion+jwt",
            json!({"notice": "urn:x", "statement": "x"}),
        ),
        ("another kind", "concordat-other+jwt", json!({"period": 0})),
    ] {
        assert_eq!(liar.say(kind, stated).await, 400, "{what}");
    }
    let ahead = trust::Statement {
        by: liar.consumer.did.clone(),
        to: liar.provider.did.clone(),
        id: connector::ids::urn(),
        at: jiff::Timestamp::from_second(connector::clock::now().as_second() + 600).unwrap(),
        stated: own.clone(),
    };
    let ahead = ahead.sign(&liar.consumer.key, &liar.consumer.kid, "concordat-measured+jwt").unwrap();
    assert_eq!(liar.say_signed(&ahead).await, 400, "a clock that lies");
    assert_eq!(liar.periods().await["periods"], json!([]), "nothing was taken");

    let made = statement(&liar.consumer, &liar.provider.did, "concordat-measured+jwt", own);
    assert_eq!(liar.say_signed(&made).await, 200);
    assert_eq!(liar.say_signed(&made).await, 200, "a repeated one is the same one");
    let found = liar.periods().await;
    assert_eq!(
        (found["periods"][0]["state"].as_str(), found["periods"][0]["attainment"]["reads"].as_u64()),
        (Some("computed"), Some(1))
    );
    // What the other computed is something else.
    assert_eq!(liar.say("concordat-attained+jwt", json!({"period": 0, "sha256": "00"})).await, 200);
    let found = liar.periods().await;
    assert_eq!(found["periods"][0]["state"], "disputed");
    let owed = liar.provider.json(&["levels", "export", &liar.agreement]);
    assert_eq!(owed[0]["state"], "disputed", "{owed}");
    let stranger = Stranger::new(&liar._world);
    let path = format!("/agreements/{}/statements", trust::did::segment(&liar.agreement));
    assert_eq!(
        stranger.send(&liar.provider, "POST", &path, &json!({"statement": made})).await.0,
        404,
        "no party"
    );
}
