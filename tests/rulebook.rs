//! The rulebook of a data space: published, announced, compared, accepted, and held against offers and agreements.

use serde_json::{Value, json};

use crate::membership;
use crate::support::{Node, Peer, Stranger, World};

const SPACE: &str = "https://space.example";
const BENEFIT: &str = "https://w3id.org/dpv#PublicBenefit";

/// A data space with an authority and two members.
struct Space {
    world: World,
    authority: Node,
    provider: Node,
    consumer: Node,
}

impl Space {
    fn new() -> Self {
        let world = World::new();
        let authority = membership::authority(&world);
        let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
        for member in [&provider, &consumer] {
            membership::join(&authority, member);
        }
        Self { world, authority, provider, consumer }
    }

    fn publish(&self, book: &Value) -> std::process::Output {
        let file = self.world.folder.path().join("rulebook.json");
        std::fs::write(&file, book.to_string()).unwrap();
        self.authority.run(&["rulebook", "publish", file.to_str().unwrap()])
    }

    fn offer(&self, id: &str, further: &[&str]) -> std::process::Output {
        let file = self.world.folder.path().join("rows.csv");
        std::fs::write(&file, "row\n").unwrap();
        let usual = ["publish", file.to_str().unwrap(), "--id", id, "--title", "Rows"];
        self.provider.run(&[&usual, further].concat())
    }
}

fn book(version: u32, clauses: &[Value]) -> Value {
    json!({"space": SPACE, "version": version, "title": "City data", "inForce": "2026-01-01T00:00:00Z", "clauses": clauses,
        "templates": {"benefit": {"title": "For the public benefit", "policy": {"@type": "Set", "permission": [{"action": "use",
            "constraint": [{"leftOperand": "purpose", "operator": "isA", "rightOperand": BENEFIT}]}]}}}})
}

fn purposes() -> Value {
    json!({"id": "2", "text": "Only for the public benefit.", "rule": {"purposes": [BENEFIT]}})
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_rulebook_is_announced_accepted_and_held_against_offers_and_agreements() {
    let space = Space::new();
    // Agreed on before there was a rulebook.
    assert!(space.offer("urn:test:ads", &["--purpose", "urn:ads"]).status.success());
    let old = space.consumer.json(&["negotiate", &space.provider.did, "urn:test:ads"]);
    let published = space.publish(&book(1, &[purposes()]));
    assert!(published.status.success(), "{}", said(&published));
    for member in [&space.provider, &space.consumer] {
        member.until("/v4/rulebooks", |all| all[0]["state"] == "announced").await;
        assert!(member.text(&["rulebook", "diff"]).contains("Only for the public benefit."));
    }
    assert!(
        space
            .authority
            .text(&["rulebook", "acceptances"])
            .contains(&format!("{} has not accepted", space.provider.did))
    );
    // Announced is not accepted.
    assert!(space.offer("urn:test:more-ads", &["--purpose", "urn:ads"]).status.success());
    for member in [&space.provider, &space.consumer] {
        assert_eq!(member.json(&["rulebook", "accept"])["state"], "in force");
    }
    let two = |all: &Value| all["acceptances"].as_array().is_some_and(|all| all.len() == 2);
    let accepted = space.authority.until("/v4/rulebooks/acceptances", two).await;
    assert_eq!(accepted["missing"], json!([]));

    let refused = space.offer("urn:test:still-ads", &["--purpose", "urn:ads"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(said(&refused).contains("clause 2") && said(&refused).contains("urn:ads"), "{}", said(&refused));
    assert!(space.offer("urn:test:benefit", &["--template", "benefit"]).status.success());
    let no_template = space.offer("urn:test:x", &["--template", "other"]);
    assert!(said(&no_template).contains("there are: benefit"), "{}", said(&no_template));
    // What was offered before is refused when it is asked for; what was agreed before is found.
    let late = space.consumer.run(&["negotiate", &space.provider.did, "urn:test:more-ads"]);
    assert!(!late.status.success());
    let told = format!("{}{}", said(&late), String::from_utf8_lossy(&late.stdout));
    assert!(told.contains("clause 2"), "{told}");
    let check = space.provider.run(&["--json", "rulebook", "check"]);
    assert_eq!(check.status.code(), Some(5));
    let check: Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(check["agreements"][0]["agreement"], old["contractAgreementId"], "{check}");
    assert_eq!(check["offers"].as_array().unwrap().len(), 2, "{check}");
    // It is not broken: it was made before.
    let kept = space.provider.json(&["compliance", old["contractAgreementId"].as_str().unwrap()]);
    assert_eq!(kept["broken"], 0, "{kept}");
    assert!(kept.to_string().contains("agreed before this rulebook"), "{kept}");
    // An agreement names what it was made under.
    let made = space.consumer.json(&["negotiate", &space.provider.did, "urn:test:benefit"]);
    let agreement =
        space.consumer.json(&["agreements", "show", made["contractAgreementId"].as_str().unwrap()]);
    let named = agreement.to_string();
    assert!(named.contains("urn:concordat:rulebook") && named.contains(SPACE), "{named}");

    // The next version, in words; only the next one.
    assert_eq!(space.publish(&book(3, &[purposes()])).status.code(), Some(3), "a version was left out");
    let mut two = book(
        2,
        &[purposes(), json!({"id": "3", "text": "Nobody sells it.", "rule": {"forbidden": ["sell"]}})],
    );
    two["acceptBy"] = json!("2026-02-01T00:00:00Z");
    // A template that the rulebook itself does not let pass.
    let broken = space.publish(&two);
    assert_eq!(broken.status.code(), Some(3), "{}", said(&broken));
    for part in ["the template `benefit`", "clause 3", "Nobody sells it.", "the terms do not forbid `sell`"] {
        assert!(said(&broken).contains(part), "{part}: {}", said(&broken));
    }
    two["templates"]["benefit"]["policy"]["prohibition"] = json!([{"action": "sell"}]);
    assert!(space.publish(&two).status.success());
    space.consumer.until("/v4/rulebooks", |all| all.as_array().unwrap().len() == 2).await;
    let diff = space.consumer.text(&["rulebook", "diff"]);
    assert!(diff.contains("new clause 3: Nobody sells it.") && !diff.contains("clause 2"), "{diff}");
    let overdue = space.authority.get("/v4/rulebooks/acceptances").await;
    assert_eq!((overdue["overdue"].as_bool(), overdue["missing"].as_array().unwrap().len()), (Some(true), 2));
    space.consumer.text(&["rulebook", "accept"]);
    let show = space.consumer.text(&["rulebook", "show"]);
    assert!(show.contains("version 2 (in force)") && show.contains("agreements forbid sell"), "{show}");
    // The consumer's newer version holds against the provider's agreement, which is older.
    let stricter = space.consumer.run(&["negotiate", &space.provider.did, "urn:test:benefit"]);
    let told = format!("{}{}", said(&stricter), String::from_utf8_lossy(&stricter.stdout));
    assert!(!stricter.status.success() && told.contains("clause 3"), "{told}");
}

#[tokio::test]
async fn credentials_that_the_rulebook_demands_are_asked_for() {
    let space = Space::new();
    let clause =
        json!({"id": "4", "text": "Members only.", "rule": {"credentials": ["MembershipCredential"]}});
    assert!(space.publish(&book(1, &[clause])).status.success());
    space.provider.until("/v4/rulebooks", |all| all[0]["state"] == "announced").await;
    space.provider.text(&["rulebook", "accept"]);
    assert!(space.offer("urn:test:rows", &[]).status.success());
    let outsider = space.world.local_node("outsider");
    let refused = outsider.run(&["negotiate", &space.provider.did, "urn:test:rows"]);
    let told = format!("{}{}", said(&refused), String::from_utf8_lossy(&refused.stdout));
    assert!(!refused.status.success() && told.contains("clause 4"), "{told}");
    let made = space.consumer.json(&["negotiate", &space.provider.did, "urn:test:rows"]);
    assert_eq!(made["state"], "FINALIZED");
}

#[tokio::test]
async fn a_rulebook_of_another_is_none() {
    let space = Space::new();
    let other = json!({"space": "https://other.example", "version": 1, "title": "x", "inForce": "2026-01-01T00:00:00Z",
        "clauses": [{"id": "1", "text": "x"}]});
    let refused = space.publish(&other);
    assert!(said(&refused).contains("/space"), "{}", said(&refused));
    let file = space.world.folder.path().join("book.json");
    std::fs::write(&file, book(1, &[purposes()]).to_string()).unwrap();
    let refused = space.provider.run(&["rulebook", "publish", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(3), "no authority");
    // Somebody who is no authority here says that there is a new one, or accepts one.
    let stranger = Stranger::new(&space.world);
    for (node, path, body) in [
        (&space.provider, "/dcp/holder/rulebook-changed", json!({})),
        (&space.authority, "/dcp/issuer/rulebook/acceptances", json!({"statement": "x.y.z"})),
    ] {
        let url = format!("{}{path}", node.address);
        let token = stranger.token(&node.did);
        let answer = stranger.client.post(url).bearer_auth(token).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    let fetched = space.provider.run(&["rulebook", "fetch", &space.consumer.did]);
    assert_eq!(fetched.status.code(), Some(3));
    assert!(said(&fetched).contains("no authority that this node trusts"));
    assert_eq!(space.provider.get("/v4/rulebooks").await, json!([]));
}

/// Somebody who holds an authority's address signs a rulebook with a key of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_rulebook_that_another_key_signed_is_not_taken() {
    use trust::{Algorithm, DidDocument, PrivateKey, Statement};
    let world = World::new();
    let node = world.local_node("node");
    for (whose, taken) in [("the authority's", true), ("another's", false)] {
        let did_of =
            |address: &str| format!("did:web:{}", address.trim_start_matches("https://").replace(':', "%3A"));
        let authority = Peer::serving(&world, |address| {
            let did = did_of(address);
            let key = || PrivateKey::generate(Algorithm::Ed25519).unwrap();
            let (own, other) = (key(), key());
            let kid = format!("{did}#k");
            let services = [("issuer", "IssuerService", format!("{address}/dcp/issuer"))];
            let document = DidDocument::of_node(&did, &kid, own.public_jwk(), &services).json().clone();
            let made = Statement {
                by: did,
                to: SPACE.to_owned(),
                id: connector::ids::urn(),
                at: connector::clock::now(),
                stated: book(1, &[purposes()]),
            };
            let signed =
                made.sign(if taken { &own } else { &other }, &kid, "concordat-rulebook+jwt").unwrap();
            axum::Router::new()
                .route(
                    "/.well-known/did.json",
                    axum::routing::get(async move || axum::Json(document.clone())),
                )
                .route("/dcp/issuer/rulebook", axum::routing::get(async move || signed.clone()))
        });
        let did = did_of(&authority.address);
        node.text(&["trust", "add", &did, "--type", "MembershipCredential"]);
        let fetched = node.run(&["rulebook", "fetch", &did]);
        // Nodes also fetch by themselves.
        let all = node.get("/v4/rulebooks").await;
        let known = all.as_array().unwrap().iter().any(|one| one["record"]["authority"] == did.as_str());
        assert_eq!(known, taken, "{whose}: {}", said(&fetched));
        assert!(taken || !fetched.status.success(), "{whose}");
    }
}
