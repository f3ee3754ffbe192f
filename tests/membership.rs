//! Who belongs to a data space: joining it, what membership opens, and how it ends.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::streams::{broke_off, door, endless, open};
use crate::support::{Node, Stranger, World, answer};

pub const SPACE: &str = "https://space.example";
const DATASET: &str = "urn:test:members";

/// An authority that runs.
pub fn authority(world: &World) -> Node {
    let mut authority = world.local_node("authority");
    let made = authority.text(&["authority", "init", "--space", SPACE]);
    assert!(made.contains("issues MembershipCredential, RoleCredential from its next start on"), "{made}");
    authority.stop();
    authority.start();
    authority
}

/// Two commands, one at each side.
pub fn join(authority: &Node, member: &Node) {
    authority.text(&["authority", "invite", &member.did, "--claim", "role=air-quality-agency"]);
    let joined = member.text(&["credentials", "request", &authority.did, "--trust"]);
    assert!(joined.contains("issued MembershipCredential, RoleCredential"), "{joined}");
}

/// Lets the authority's word count at `node`.
fn trust(node: &Node, authority: &Node) {
    let types = ["--type", "MembershipCredential", "--type", "RoleCredential"];
    node.text(&[&["trust", "add", &authority.did][..], &types].concat());
}

/// A provider that believes the authority, with a dataset that members only see and may use.
fn provider(world: &World, authority: &Node, source: &str) -> Node {
    let provider = world.local_node("provider");
    trust(&provider, authority);
    provider.json(&[
        "publish",
        source,
        "--id",
        DATASET,
        "--title",
        "For members",
        "--only-for-members-of",
        SPACE,
        "--members-of",
        SPACE,
        "--role",
        "air-quality-agency",
    ]);
    provider
}

fn sees(node: &Node, provider: &Node) -> bool {
    let catalog = node.json(&["catalog", &provider.did]);
    catalog["dataset"].as_array().is_some_and(|all| all.iter().any(|one| one["@id"] == DATASET))
}

fn agree(member: &Node, provider: &Node) -> String {
    let found = member.json(&["negotiate", &provider.did, DATASET]);
    assert_eq!(found["state"], "FINALIZED", "{found}");
    found["contractAgreementId"].as_str().unwrap().to_owned()
}

/// The ids of the credentials that the authority issued to `holder`.
fn issued(authority: &Node, holder: &Node) -> Vec<String> {
    let issued = authority.json(&["authority", "issued"]);
    let of_holder = issued.as_array().unwrap().iter().filter(|one| one["holder"] == holder.did.as_str());
    of_holder.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn two_commands_make_a_member_and_membership_opens_what_is_for_members() {
    let world = World::new();
    let mut authority = authority(&world);
    // Longer than this test waits: what is found out in it was told.
    authority.configure("status_list_seconds = 60", "status_list_seconds = 300");
    let (upstream, _stop) = endless(Arc::default()).await;
    let mut provider = provider(&world, &authority, &upstream);
    let (mut member, outsider) = (world.local_node("member"), world.local_node("outsider"));
    assert!(!sees(&member, &provider), "nobody is a member yet");
    join(&authority, &member);
    assert!(sees(&member, &provider));
    assert!(!sees(&outsider, &provider));
    let refused = outsider.run(&["negotiate", &provider.did, DATASET]);
    assert_eq!(refused.status.code(), Some(1), "an outsider knows of no such dataset");

    // What everybody sees and members only may use is refused where it is negotiated, and not at the first read.
    provider.publish("urn:test:seen", b"a\n1\n", &["--members-of", SPACE]);
    let refused =
        outsider.run(&["negotiate", &provider.did, "urn:test:seen", "--purpose", crate::support::PURPOSE]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("you have shown no credential"), "{said}");
    let agreed =
        member.json(&["negotiate", &provider.did, "urn:test:seen", "--purpose", crate::support::PURPOSE]);
    assert_eq!(agreed["state"], "FINALIZED", "{agreed}");
    // Of several ways to read, one that demands nothing of the kind is enough.
    let only = |operand: &str, value: &str| json!({"action": "use", "constraint": [{"leftOperand": operand, "operator": "eq", "rightOperand": value}]});
    let members = || only("urn:concordat:membership", SPACE);
    let role = only("urn:concordat:role", "air-quality-agency");
    for (id, ways, opens) in [
        ("urn:test:two-closed", [members(), role], false),
        ("urn:test:one-open", [members(), json!({"action": "use"})], true),
    ] {
        let terms = provider.data().join("terms.json");
        std::fs::write(&terms, json!({"@type": "Set", "permission": ways}).to_string()).unwrap();
        let rows = provider.data().join("seen.csv");
        std::fs::write(&rows, "a\n1\n").unwrap();
        let (rows, terms) = (rows.to_str().unwrap(), terms.to_str().unwrap());
        provider.json(&["publish", rows, "--id", id, "--title", "Rows", "--policy", terms]);
        let asked = outsider.run(&["negotiate", &provider.did, id]);
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert_eq!(asked.status.success(), opens, "{id}: {said}");
        assert_eq!(said.contains("you have shown no credential"), !opens, "{id}: {said}");
    }

    let held = member.json(&["credentials", "list"]);
    assert_eq!(held["credentials"].as_array().unwrap().len(), 2);
    let shown = member.json(&["credentials", "show", &authority.did, "RoleCredential"]);
    assert_eq!(shown["credential"]["credentialSubject"]["role"], "air-quality-agency");
    assert_eq!(shown["credential"]["credentialSubject"]["id"], member.did);
    // In both data models, of which a verifier gets the one that it takes; at the authority it is one.
    assert_eq!(shown["profiles"], json!(["vc20-bssl/jwt", "vc11-sl2021/jwt"]));
    assert_eq!(issued(&authority, &member).len(), 2);
    // The list of its status is signed, and plain JSON for who takes nothing else.
    let list = shown["credential"]["credentialStatus"]["statusListCredential"].as_str().unwrap();
    let fetch = async |accept: &str| {
        let answer = world.client().get(list).header("accept", accept).send().await.unwrap();
        answer.text().await.unwrap()
    };
    assert!(fetch("*/*").await.starts_with("eyJ"));
    let plain: Value = serde_json::from_str(&fetch("application/json").await).unwrap();
    assert_eq!(plain["issuer"], authority.did);
    assert!(plain["credentialSubject"]["encodedList"].is_string() && plain.get("iat").is_none(), "{plain}");

    let agreement = agree(&member, &provider);
    let door = door(&member, &agreement).await;
    drop(open(&member.client, &door).await);

    // What was proven outlives kill -9 on both sides: the door needs no new message of the protocol.
    provider.kill();
    member.kill();
    provider.start();
    member.start();
    drop(open(&member.client, &door).await);
    let held = member.json(&["credentials", "list"]);
    assert_eq!(held["credentials"].as_array().unwrap().len(), 2);

    // The agreement can be proven with what the member had shown, offline, and no byte of that can be changed.
    let file = world.folder.path().join("dossier.json");
    provider.text(&["agreements", "export", &agreement, "-o", file.to_str().unwrap()]);
    let proven = outsider.text(&["agreements", "verify", file.to_str().unwrap()]);
    assert!(proven.contains("RoleCredential by") && proven.contains("not revoked on"), "{proven}");
    let text = std::fs::read_to_string(&file).unwrap();
    let place = text.find("checkedAt").unwrap() + 14;
    let mut altered = text.into_bytes();
    altered[place] ^= 1;
    std::fs::write(&file, altered).unwrap();
    let refused = outsider.run(&["agreements", "verify", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(5));
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(said.contains(&format!("WRONG credentials/{}/0", member.did)), "{said}");

    // The store tells nothing of it without the vault's key.
    let compact = shown["compact"].as_str().unwrap();
    for node in [&member, &provider] {
        assert!(!holds(&node.dir.join("store"), compact.as_bytes()), "sealed");
    }
    // Nor with another key; and with the right one from the environment it tells all.
    let right = std::fs::read_to_string(member.dir.join("keys/vault.key")).unwrap();
    std::fs::remove_file(member.dir.join("keys/vault.key")).unwrap();
    member.stop();
    member.start_with(&[("CONCORDAT_VAULT_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")]);
    let refused = member.run(&["credentials", "list"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("sealed with another key"), "{refused:?}");
    member.stop();
    member.start_with(&[("CONCORDAT_VAULT_KEY", &right)]);
    assert!(!member.dir.join("keys/vault.key").exists(), "the environment is enough");
    member.text(&["credentials", "remove", &authority.did, "RoleCredential"]);
    assert!(member.json(&["credentials", "list"])["credentials"].as_array().unwrap().len() == 1);
}

/// What a verifier gets of a member: by type, by id, by definition; only with the member's own word, and only what that
/// word allows.
#[tokio::test]
async fn a_member_shows_what_it_allowed_to_whom_it_allowed() {
    let world = World::new();
    let authority = authority(&world);
    let member = world.local_node("member");
    join(&authority, &member);
    let document = authority.json(&["identity"])["document"].clone();
    let kinds: Vec<_> =
        document["service"].as_array().unwrap().iter().map(|one| one["type"].clone()).collect();
    assert_eq!(kinds, ["DataService", "CatalogService", "CredentialService", "IssuerService"]);

    let (verifier, other) = (Stranger::new(&world), Stranger::new(&world));
    let allowed = async |types: &[&str]| {
        let wish = json!({"audience": verifier.did, "types": types});
        let token = member.post("/v4/tokens", wish).await;
        let (_, payload) = trust::jose::peek(token["access_token"].as_str().unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        claims["token"].as_str().unwrap().to_owned()
    };
    let ask = async |who: &Stranger, access: Option<&str>, more: Value| {
        let mut query = json!({"@context": ["https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"], "type": "PresentationQueryMessage"});
        query.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let token = who.odd_token(&member.did, |claims| {
            if let Some(access) = access {
                claims["token"] = json!(access);
            }
        });
        let url = format!("{}/dcp/holder/presentations/query", member.address);
        answer(who.client.post(url).bearer_auth(token).json(&query).send().await.unwrap()).await
    };
    let own = trust::DidDocument::parse(member.json(&["identity"])["document"].clone(), &member.did).unwrap();
    let types = |message: &Value| -> Vec<String> {
        let shown = message["presentation"].as_array().unwrap().iter();
        let opened = shown.flat_map(|one| {
            trust::presentation::open(one, &own, &verifier.did, connector::clock::now()).unwrap()
        });
        let kind = |compact: String| {
            let (_, payload) = trust::jose::peek(&compact).unwrap();
            let credential: Value = serde_json::from_slice(&payload).unwrap();
            credential["type"][1].as_str().unwrap().to_owned()
        };
        opened.map(kind).collect()
    };
    let scope = |kind: &str| format!("org.eclipse.dspace.dcp.vc.type:{kind}:read");
    let both = json!({"scope": [scope("MembershipCredential"), scope("RoleCredential")]});

    let all = allowed(&["MembershipCredential", "RoleCredential"]).await;
    let (status, shown) = ask(&verifier, Some(&all), both.clone()).await;
    assert_eq!((status, types(&shown).len()), (200, 2), "{shown}");
    let one = allowed(&["MembershipCredential"]).await;
    let (status, shown) = ask(&verifier, Some(&one), both.clone()).await;
    assert_eq!(
        (status, types(&shown)),
        (200, vec!["MembershipCredential".to_owned()]),
        "less than was asked for"
    );

    let role = member.json(&["credentials", "show", &authority.did, "RoleCredential"]);
    let id = format!("org.eclipse.dspace.dcp.vc.id:{}", role["credential"]["id"].as_str().unwrap());
    let (_, shown) = ask(&verifier, Some(&all), json!({"scope": [id]})).await;
    assert_eq!(types(&shown), ["RoleCredential"]);
    let descriptor = |id: &str, kind: &str| json!({"id": id, "constraints": {"fields": [{"path": ["$.type"], "filter": {"type": "string", "pattern": kind}}]}});
    let definition = json!({"presentationDefinition": {"id": "d", "input_descriptors": [
        descriptor("role", "RoleCredential"), descriptor("nothing", "DriverCredential")]}});
    let (status, shown) = ask(&verifier, Some(&all), definition).await;
    assert_eq!((status, types(&shown)), (200, vec!["RoleCredential".to_owned()]));
    let map = &shown["presentationSubmission"]["descriptor_map"];
    assert_eq!(
        (&map[0]["id"], &map[0]["path"], map.as_array().unwrap().len()),
        (&json!("role"), &json!("$.presentation[0]"), 1)
    );
    assert_eq!(map[0]["path_nested"]["path"], "$.verifiableCredential[0]");

    // Without the member's word, with one for another, with one that is none.
    for (who, access) in [(&verifier, None), (&other, Some(all.as_str())), (&verifier, Some("a.b.c"))] {
        let (status, said) = ask(who, access, both.clone()).await;
        assert_eq!(status, 401, "{said}");
        assert!(!said.to_string().contains("another verifier"), "{said}");
    }
    assert!(member.events().iter().any(|line| line.contains("was given to another verifier")));
    // What it does not answer it says by name, and it answers nothing else in its place.
    let mut disclosing = json!({"presentationDefinition": {"id": "d", "input_descriptors": [descriptor("role", "RoleCredential")]}});
    disclosing["presentationDefinition"]["input_descriptors"][0]["constraints"]["limit_disclosure"] =
        json!("required");
    let (status, said) = ask(&verifier, Some(&all), disclosing).await;
    assert_eq!(status, 501, "{said}");
    assert!(said.to_string().contains("limit_disclosure"), "{said}");
    let (status, _) =
        ask(&verifier, Some(&all), json!({"scope": [scope("X")], "presentationDefinition": {}})).await;
    assert_eq!(status, 400, "one or the other");
}

/// Whether a file below `folder` has `needle` in it.
fn holds(folder: &std::path::Path, needle: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        std::fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle)
    })
}

#[tokio::test]
async fn a_revocation_cuts_the_running_stream_at_once() {
    let world = World::new();
    let mut authority = authority(&world);
    // Longer than this test waits: what is found out in it was told.
    authority.configure("status_list_seconds = 60", "status_list_seconds = 300");
    let (upstream, _stop) = endless(Arc::default()).await;
    let provider = provider(&world, &authority, &upstream);
    // Members are told of revocations, and the provider is one.
    join(&authority, &provider);
    let member = world.local_node("member");
    join(&authority, &member);
    let agreement = agree(&member, &provider);
    let door = door(&member, &agreement).await;
    let stream = open(&member.client, &door).await;

    for id in issued(&authority, &member) {
        authority.text(&["authority", "revoke", &id, "--reason", "left the data space"]);
    }
    broke_off(stream).await;
    let denied = member.client.get(&door.0).bearer_auth(&door.1).send().await.unwrap();
    assert_eq!(denied.status(), 403);
    assert!(!sees(&member, &provider));
    let why = provider.events().join("\n");
    assert!(why.contains("a credential of it counts no more") && why.contains("under revocation"), "{why}");

    for id in [issued(&authority, &member)[0].as_str(), "urn:none"] {
        let refused = authority.run(&["authority", "revoke", id, "--reason", "x"]);
        assert_eq!(refused.status.code(), Some(3), "revoked already, or never issued");
    }
}

/// Nobody is told here, and the status lists that are kept say nothing yet: whoever agrees looks again.
#[tokio::test]
async fn nobody_agrees_with_who_was_just_revoked() {
    let world = World::new();
    let authority = authority(&world);
    let mut provider = world.local_node("provider");
    trust(&provider, &authority);
    let member = world.local_node("member");
    join(&authority, &member);
    let usual = ["--members-of", SPACE];
    provider.publish("urn:test:auto", b"a\n1\n", &usual);
    provider.publish("urn:test:later", b"a\n1\n", &[&usual[..], &["--automation", "manual"]].concat());
    provider.publish("urn:test:manual", b"a\n1\n", &[&usual[..], &["--automation", "manual"]].concat());
    let did = provider.did.clone();
    let ask = |id: &str, more: &[&str]| {
        let asked = ["negotiate", &did, id, "--purpose", crate::support::PURPOSE];
        member.run(&[&asked[..], more].concat())
    };
    assert!(ask("urn:test:auto", &[]).status.success());
    assert!(ask("urn:test:manual", &["--no-wait"]).status.success());
    // A member in good standing is one after a restart too, whenever a person approves.
    assert!(ask("urn:test:later", &["--no-wait"]).status.success());
    let later = provider.until_text(&["negotiations", "list"], "urn:test:later").await;
    let line = later.lines().find(|line| line.contains("urn:test:later")).unwrap();
    let later = line.split_whitespace().find(|word| word.starts_with("urn:uuid:")).unwrap().to_owned();
    provider.stop();
    provider.start();
    provider.client = world.client();
    provider.text(&["negotiations", "approve", &later]);
    provider.until_text(&["negotiations", "list"], "urn:test:manual").await;

    for id in issued(&authority, &member) {
        authority.text(&["authority", "revoke", &id, "--reason", "left the data space"]);
    }
    let held = member.json(&["credentials", "list"]);
    let is_void = |one: &Value| one["standing"]["state"] == "void";
    assert!(held["credentials"].as_array().unwrap().iter().all(is_void), "{held}");
    let refused = ask("urn:test:auto", &[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("you have shown no credential"), "{said}");

    let all = provider.json(&["negotiations", "list"]);
    let manual = all.as_array().unwrap().iter().find(|one| one["assetId"] == "urn:test:manual").unwrap();
    let id = manual["@id"].as_str().unwrap();
    let refused = provider.run(&["negotiations", "approve", id]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("it could read nothing"), "{said}");
    let agreed = provider.json(&["agreements", "list"]);
    assert!(!agreed.to_string().contains("urn:test:manual"), "{agreed}");
}

#[tokio::test]
async fn what_is_told_of_a_revocation_is_so() {
    let world = World::new();
    let authority = authority(&world);
    let (upstream, _stop) = endless(Arc::default()).await;
    let mut provider = provider(&world, &authority, &upstream);
    join(&authority, &provider);
    let member = world.local_node("member");
    join(&authority, &member);
    agree(&member, &provider);

    let issued = authority.json(&["authority", "issued"]);
    let mut all = issued.as_array().unwrap().iter();
    let role = all.find(|one| one["holder"] == member.did.as_str() && one["kind"] == "RoleCredential");
    authority.text(&[
        "authority",
        "revoke",
        role.unwrap()["id"].as_str().unwrap(),
        "--reason",
        "another role",
    ]);
    let told = "its `RoleCredential` is under revocation";
    provider.until_text(&["events"], told).await;
    // Whoever reads of it may ask at once: the word and what it speaks of are one commit.
    provider.stop();
    let (_, proven) = provider.records("proven/").pop().unwrap();
    let events = provider.records("event/");
    let mut texts = events.iter().map(|(_, one)| (one.version, String::from_utf8_lossy(&one.value)));
    let (at, _) = texts.find(|(_, text)| text.contains(told)).unwrap();
    assert_eq!(at, proven.version);
}

#[tokio::test]
async fn an_issuer_that_is_not_trusted_any_more_opens_nothing() {
    let world = World::new();
    let mut authority = authority(&world);
    // Longer than this test waits: what is found out in it was told.
    authority.configure("status_list_seconds = 60", "status_list_seconds = 300");
    let (upstream, _stop) = endless(Arc::default()).await;
    let provider = provider(&world, &authority, &upstream);
    let member = world.local_node("member");
    join(&authority, &member);
    let agreement = agree(&member, &provider);
    let door = door(&member, &agreement).await;
    let stream = open(&member.client, &door).await;
    provider.text(&["trust", "remove", &authority.did]);
    broke_off(stream).await;
    assert!(!sees(&member, &provider));
    assert!(provider.text(&["trust", "list"]).contains("nobody's word counts"));
    assert!(provider.events().iter().any(|line| line.contains("its word counts no more")));
    let missing = provider.run(&["trust", "remove", &authority.did]);
    assert_eq!(missing.status.code(), Some(3));
    trust(&provider, &authority);
    assert!(sees(&member, &provider), "asked again at its next message");
}

#[tokio::test]
async fn requests_wait_for_a_person_and_can_be_refused() {
    let world = World::new();
    let authority = authority(&world);
    let member = world.local_node("member");
    let asked = member.json(&[
        "credentials",
        "request",
        &authority.did,
        "--type",
        "MembershipCredential",
        "--no-wait",
    ]);
    assert_eq!(asked["status"], "RECEIVED");
    let waiting = authority.json(&["authority", "requests"]);
    let id = waiting[0]["id"].as_str().unwrap();
    assert_eq!((&waiting[0]["holder"], &waiting[0]["status"]), (&json!(member.did), &json!("RECEIVED")));
    authority.text(&["authority", "reject", id, "--reason", "not a public body"]);
    let path = format!("/v4/credentialrequests/{}", trust::did::segment(asked["@id"].as_str().unwrap()));
    let found = member.until(&path, |one| one["status"] == "REJECTED").await;
    assert_eq!(found["reason"], "not a public body");
    let twice = authority.run(&["authority", "approve", id]);
    assert_eq!(twice.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("answered already (REJECTED)"));

    member.json(&["credentials", "request", &authority.did, "--type", "MembershipCredential", "--no-wait"]);
    let waiting = authority.json(&["authority", "requests"]);
    let open = waiting.as_array().unwrap().iter().find(|one| one["status"] == "RECEIVED").unwrap();
    authority.text(&["authority", "approve", open["id"].as_str().unwrap()]);
    let held = member.until("/v4/credentials", |all| all.as_array().is_some_and(|all| !all.is_empty())).await;
    assert_eq!(held[0]["type"], "MembershipCredential");

    let unknown = member.run(&["credentials", "request", &authority.did, "--type", "DriverCredential"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("does not issue a `DriverCredential`"));
    let none = world.local_node("plain").run(&["credentials", "request", &member.did]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("names no IssuerService"));
}

#[tokio::test]
async fn an_invitation_is_for_what_it_says() {
    let world = World::new();
    let authority = authority(&world);
    let member = world.local_node("member");
    authority.text(&["authority", "invite", &member.did, "--type", "MembershipCredential"]);
    let offered = member.until_text(&["credentials", "list"], "offers MembershipCredential").await;
    assert!(!offered.contains("RoleCredential"), "{offered}");
    // More than that waits for a person.
    let more = member.json(&["credentials", "request", &authority.did, "--no-wait"]);
    assert_eq!(more["status"], "RECEIVED");
    assert_eq!(authority.json(&["authority", "invitations"]).as_array().unwrap().len(), 1);
    let joined = member.text(&["credentials", "request", &authority.did, "--type", "MembershipCredential"]);
    assert!(joined.contains("issued MembershipCredential"), "{joined}");
    assert!(authority.json(&["authority", "invitations"]).as_array().unwrap().is_empty(), "used up");
    // A holder cannot fill the queue.
    let mut last = String::new();
    for _ in 0..9 {
        let asked = member.run(&["credentials", "request", &authority.did, "--no-wait"]);
        last = String::from_utf8_lossy(&asked.stderr).into_owned();
    }
    assert!(last.contains("requests of yours wait for an answer already"), "{last}");
    // Nor can somebody to whom nothing could be delivered.
    let stranger = Stranger::new(&world);
    let body = json!({"@context": ["https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"], "type": "CredentialRequestMessage",
        "holderPid": "x", "credentials": [{"id": object(&authority).await}]});
    let url = format!("{}/dcp/issuer/credentials", authority.address);
    let token = stranger.token(&authority.did);
    let answer = stranger.client.post(url).bearer_auth(token).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 400);
}

/// The id of something that the authority issues.
async fn object(authority: &Node) -> String {
    let url = format!("{}/dcp/issuer/metadata", authority.address);
    let metadata: Value = authority.client.get(url).send().await.unwrap().json().await.unwrap();
    metadata["credentialsSupported"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_must_show_a_credential_and_has_none_is_shut_out_and_learns_no_more() {
    let world = World::new();
    let authority = authority(&world);
    let mut provider = world.local_node("provider");
    provider.stop();
    let file = provider.dir.join("concordat.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("required = []", "required = [\"MembershipCredential\"]");
    let issuers =
        format!("issuers = [{{ did = \"{}\", types = [\"MembershipCredential\"] }}]", authority.did);
    std::fs::write(&file, text.replace("issuers = []", &issuers)).unwrap();
    provider.start();
    let (member, outsider) = (world.local_node("member"), world.local_node("outsider"));
    join(&authority, &member);
    member.json(&["catalog", &provider.did]);
    let refused = outsider.run(&["catalog", &provider.did]);
    assert_ne!(refused.status.code(), Some(0));
    let said = String::from_utf8_lossy(&refused.stderr).to_string();
    assert!(!said.contains("MembershipCredential"), "a stranger learns no more than that: {said}");
    assert!(provider.events().iter().any(|line| line.contains("MembershipCredential")), "the operator does");

    // A token that was meant for another, and one of a stranger with nothing to show.
    let stranger = Stranger::new(&world);
    let (status, _): (u16, Value) =
        stranger.send(&provider, "GET", "/catalog/datasets/urn:x", &json!(null)).await;
    assert_eq!(status, 401);
}
