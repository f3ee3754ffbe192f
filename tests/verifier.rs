//! Credentials, presentations, status lists and DID documents that must open nothing: played by a participant that
//! serves whatever a test wants.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use trust::credential::{self, Statement};
use trust::{Algorithm, DidDocument, PrivateKey, Profile, StatusEntry, StatusList};

use crate::support::{Node, Peer, World, answer};

const SPACE: &str = "https://space.example";
const DATASET: &str = "urn:test:members";
const HUNDRED_MB: usize = 100 * 1024 * 1024;

/// Answers of the played participant, by path.
type Served = Arc<Mutex<std::collections::BTreeMap<String, String>>>;

/// A participant and an issuer on one server.
pub struct Played {
    address: String,
    pub did: String,
    pub issuer: String,
    pub key: PrivateKey,
    pub issuer_key: PrivateKey,
    served: Served,
}

async fn serve(State(served): State<Served>, Path(path): Path<String>) -> Response {
    match path.as_str() {
        "redirect/did.json" | "list/redirect" => {
            (http::StatusCode::FOUND, [("location", "http://169.254.169.254/latest/meta-data")])
                .into_response()
        }
        "huge/did.json" | "list/huge" => {
            let chunk = Bytes::from(vec![b' '; 1024 * 1024]);
            let chunks = (0..HUNDRED_MB / chunk.len()).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
            Body::from_stream(futures_util::stream::iter(chunks)).into_response()
        }
        path => match served.lock().unwrap().get(path) {
            Some(text) => text.clone().into_response(),
            None => http::StatusCode::NOT_FOUND.into_response(),
        },
    }
}

impl Played {
    fn start(world: &World, algorithm: Algorithm) -> Self {
        let served = Served::default();
        let state = Arc::clone(&served);
        let peer = Peer::serving(world, |_| {
            Router::new()
                .route(
                    "/cs/presentations/query",
                    post(async |state, _: Bytes| serve(state, Path("shown".to_owned())).await),
                )
                .route("/{*path}", get(serve))
                .with_state(state)
        });
        let port = peer.address.rsplit(':').next().unwrap();
        let (did, issuer) =
            (format!("did:web:localhost%3A{port}"), format!("did:web:localhost%3A{port}:issuer"));
        let key = PrivateKey::generate(algorithm).unwrap();
        let issuer_key = PrivateKey::generate(Algorithm::P256).unwrap();
        let played = Self { address: peer.address, did, issuer, key, issuer_key, served };
        let service = [("cs", "CredentialService", format!("{}/cs", played.address))];
        let own = DidDocument::of_node(
            &played.did,
            &format!("{}#k", played.did),
            played.key.public_jwk(),
            &service,
        );
        played.put(".well-known/did.json", &own.json().to_string());
        let kid = format!("{}#k", played.issuer);
        let of_issuer = DidDocument::of_node(&played.issuer, &kid, played.issuer_key.public_jwk(), &[]);
        played.put("issuer/did.json", &of_issuer.json().to_string());
        played
    }

    fn put(&self, path: &str, text: &str) {
        self.served.lock().unwrap().insert(path.to_owned(), text.to_owned());
    }

    fn list(&self, name: &str) -> StatusEntry {
        StatusEntry::new(format!("{}/list/{name}", self.address), 9, "revocation", Profile::V2)
    }

    /// Serves a status list `name` in which place 9 is `set`, changed and signed as wanted.
    fn put_list(
        &self,
        name: &str,
        set: bool,
        signer: (&PrivateKey, &str),
        change: impl FnOnce(&mut Map<String, Value>),
    ) {
        self.put_list_until(name, hours(1), set, signer, change);
    }

    /// As [`Self::put_list`], good until then.
    fn put_list_until(
        &self,
        name: &str,
        until: Timestamp,
        set: bool,
        signer: (&PrivateKey, &str),
        change: impl FnOnce(&mut Map<String, Value>),
    ) {
        let entry = self.list(name);
        let mut list = StatusList::default();
        list.set(entry.index, set);
        let mut claims = list
            .subject(&entry.list, Profile::V2, SignedDuration::from_secs(60))
            .unwrap()
            .as_object()
            .unwrap()
            .clone();
        change(&mut claims);
        let statement = Statement {
            context: None,
            id: &entry.list,
            kind: "BitstringStatusListCredential",
            subject: &entry.list,
            claims: &claims,
            from: hours(-2),
            until,
            status: None,
        };
        let (key, did) = signer;
        self.put(
            &format!("list/{name}"),
            &credential::issue(key, &format!("{did}#k"), did, &statement, Profile::V2).unwrap(),
        );
    }

    fn credential(
        &self,
        subject: &str,
        from: Timestamp,
        until: Timestamp,
        status: Option<&StatusEntry>,
    ) -> String {
        let mut claims = Map::new();
        claims.insert("memberOf".to_owned(), json!(SPACE));
        let statement = Statement {
            context: None,
            id: "urn:c",
            kind: "MembershipCredential",
            subject,
            claims: &claims,
            from,
            until,
            status,
        };
        let kid = format!("{}#k", self.issuer);
        credential::issue(&self.issuer_key, &kid, &self.issuer, &statement, Profile::V1).unwrap()
    }

    /// A good credential, changed before it is signed.
    fn changed(&self, change: impl FnOnce(&mut Value)) -> String {
        let (_, payload) = trust::jose::peek(&self.good(None)).unwrap();
        let mut claims: Value = serde_json::from_slice(&payload).unwrap();
        change(&mut claims["vc"]);
        self.issuer_key.sign(&format!("{}#k", self.issuer), "JWT", claims.to_string().as_bytes()).unwrap()
    }

    fn good(&self, status: Option<&StatusEntry>) -> String {
        self.credential(&self.did, hours(-1), hours(1), status)
    }

    /// Shows `credentials` from now on, in a presentation for `verifier` by `holder`.
    fn show(&self, node: &Node, credentials: &[String]) {
        self.show_as(&self.key, &self.did, &node.did, credentials);
    }

    fn show_as(&self, key: &PrivateKey, holder: &str, verifier: &str, credentials: &[String]) {
        let kid = format!("{}#k", self.did);
        let to = trust::presentation::Audience { holder, verifier, jti: "j" };
        let now = connector::clock::now();
        let made = trust::presentation::make(key, &kid, &to, credentials, Profile::V2, now);
        self.show_presentation(&json!(made.unwrap()));
    }

    /// Shows this presentation from now on; none for an empty list.
    pub fn show_presentation(&self, presentation: &Value) {
        let all = if presentation.is_array() { presentation.clone() } else { json!([presentation]) };
        let message = json!({"@context": ["https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"],
            "type": "PresentationResponseMessage", "presentation": all});
        self.put("shown", &message.to_string());
    }

    /// Asks for the dataset for members; with a new access token each time, so that the node asks back.
    pub async fn visit(&self, world: &World, node: &Node) -> u16 {
        self.visit_as(world, node, &self.did).await
    }

    async fn visit_as(&self, world: &World, node: &Node, did: &str) -> u16 {
        let (now, jti) = (connector::clock::now(), connector::ids::urn());
        let token =
            trust::token::issue(&self.key, &format!("{did}#k"), did, &node.did, &jti, Some(&jti), now)
                .unwrap();
        let url = format!("{}/dsp/2025-1/catalog/datasets/{}", node.address, trust::did::segment(DATASET));
        answer(world.client().get(url).bearer_auth(token).send().await.unwrap()).await.0
    }
}

fn hours(count: i64) -> Timestamp {
    connector::clock::now().checked_add(SignedDuration::from_hours(count)).unwrap()
}

/// A node with a dataset for members, and a participant that could be one.
fn setup(world: &World) -> (Node, Played) {
    setup_with(world, Algorithm::Ed25519)
}

/// As [`setup`], with a participant whose key is of `algorithm`.
pub fn setup_with(world: &World, algorithm: Algorithm) -> (Node, Played) {
    let node = world.local_node("provider");
    let played = Played::start(world, algorithm);
    node.publish(DATASET, b"a\n", &["--only-for-members-of", SPACE]);
    node.text(&["trust", "add", &played.issuer]);
    (node, played)
}

#[tokio::test]
async fn credentials_that_do_not_hold_open_nothing_and_the_operator_learns_why() {
    let world = World::new();
    let (node, played) = setup(&world);
    played.show(&node, &[played.good(None)]);
    assert_eq!(played.visit(&world, &node).await, 200);

    let stranger = PrivateKey::generate(Algorithm::P256).unwrap();
    let own_issuer = (&played.issuer_key, played.issuer.as_str());
    played.put_list("good", false, own_issuer, |_| {});
    played.put_list("revoked", true, own_issuer, |_| {});
    played.put_list("forged", false, (&stranger, &played.issuer), |_| {});
    played.put_list("foreign", false, (&played.key, &played.did), |_| {});
    played.put_list("suspension", false, own_issuer, |list| {
        list.insert("statusPurpose".to_owned(), json!("suspension"));
    });
    played.put_list("bomb", false, own_issuer, |list| {
        list.insert("encodedList".to_owned(), json!(bomb()));
    });
    played.put_list("no-purpose", false, own_issuer, |list| {
        list.remove("statusPurpose");
    });
    played.put_list("other-type", false, own_issuer, |list| {
        list.insert("type".to_owned(), json!("StatusList2021"));
    });
    played.put_list("short", false, own_issuer, |list| {
        list.insert("encodedList".to_owned(), json!(packed(&[0; 1024])));
    });
    played.put_list("suspended", true, own_issuer, |list| {
        list.insert("statusPurpose".to_owned(), json!("suspension"));
    });
    // Places of two bits: place 9 is the bits 18 and 19, and no single bit 9.
    played.put_list("wide", false, own_issuer, |list| {
        let mut bits = [0_u8; 32 * 1024];
        bits[2] = 0b0001_0000;
        list.insert("encodedList".to_owned(), json!(packed(&bits)));
    });
    played.put_list_until("ended", hours(-1), false, own_issuer, |_| {});
    played.put("list/unsigned", &json!({"credentialSubject": {"encodedList": "u"}}).to_string());
    let with = |name: &str| played.good(Some(&played.list(name)));
    let entry = |name: &str| {
        json!({"type": "BitstringStatusListEntry", "statusPurpose": "revocation", "statusListIndex": "9",
            "statusListCredential": played.list(name).list})
    };
    let changed_entry = |name: &str, property: &str, value: Value| {
        let mut entry = entry(name);
        entry[property] = value;
        played.changed(|vc| vc["credentialStatus"] = entry)
    };
    let mut nine = vec![entry("good"); 8];
    nine.push(entry("revoked"));
    let (own, other) = (played.did.clone(), "did:web:other.example");
    let mut altered = played.good(None);
    altered.replace_range(altered.len() - 4.., "AAAA");
    // One that is odd spoils nothing beside it, and is told.
    played.show(&node, &[altered.clone(), played.good(None)]);
    assert_eq!(played.visit(&world, &node).await, 200);
    let told = "a credential that it shows does not count";
    assert!(node.events().iter().any(|event| event.contains(told)), "{:?}", node.events());
    let cases = [
        (
            "of another holder",
            played.credential(other, hours(-1), hours(1), None),
            "is of `did:web:other.example`",
        ),
        ("expired", played.credential(&own, hours(-2), hours(-1), None), "expired"),
        ("not valid yet", played.credential(&own, hours(1), hours(2), None), "not valid yet"),
        ("altered", altered, "signature does not hold"),
        ("no credential", "a.b.c".to_owned(), "not base64url"),
        ("revoked", with("revoked"), "under revocation"),
        ("a list that is missing", with("none"), "404"),
        ("a list with another's signature", with("forged"), "signature does not hold"),
        ("a list of another issuer", with("foreign"), "not of the credential's issuer"),
        ("a list about something else", with("suspension"), "not about `revocation`"),
        ("a list without a purpose", with("no-purpose"), "does not say what it is about"),
        ("a list that says it is another", with("other-type"), "is not `BitstringStatusList`"),
        ("a list that is too short", with("short"), "a list has 131072 at least"),
        ("a list past its end", with("ended"), "expired"),
        (
            "the ninth entry of nine",
            played.changed(|vc| vc["credentialStatus"] = json!(nine)),
            "under revocation",
        ),
        (
            "an entry without a purpose",
            changed_entry("good", "statusPurpose", json!(null)),
            "does not say what it is about",
        ),
        ("a wide place", changed_entry("wide", "statusSize", json!(2)), "under revocation"),
        (
            "a suspension",
            changed_entry("suspended", "statusPurpose", json!("suspension")),
            "under suspension",
        ),
        (
            "an entry of the older standard",
            changed_entry("good", "type", json!("StatusList2021Entry")),
            "another standard",
        ),
        ("a list that is not signed", with("unsigned"), "three parts"),
        ("a list that unpacks to gigabytes", with("bomb"), "more than a mebibyte"),
        ("a list of 100 MB", with("huge"), "larger than"),
        ("a list elsewhere", with("redirect"), "302"),
    ];
    let began = Instant::now();
    for (name, compact, why) in cases {
        played.show(&node, &[compact]);
        let before = node.events().len();
        assert_eq!(played.visit(&world, &node).await, 404, "{name}");
        let told = node.events().split_off(before);
        assert!(told.iter().any(|line| line.contains(why)), "{name}: {told:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(60));
    played.show(&node, &[with("good")]);
    assert_eq!(played.visit(&world, &node).await, 200, "it still believes what holds");
    played.served.lock().unwrap().remove("list/good");
    assert_eq!(played.visit(&world, &node).await, 200, "a list is not fetched anew before its time");

    // A credential service that is down takes nothing away from what was shown before; a lie does.
    played.show(&node, &[played.good(None)]);
    assert_eq!(played.visit(&world, &node).await, 200);
    played.served.lock().unwrap().remove("shown");
    assert_eq!(played.visit(&world, &node).await, 200, "an outage");
    played.show(&node, &[played.credential(other, hours(-1), hours(1), None)]);
    assert_eq!(played.visit(&world, &node).await, 404, "a lie");

    // An issuer that counts for memberships brings no role along, and one that does not count nothing at all.
    let both = played
        .changed(|vc| vc["type"] = json!(["VerifiableCredential", "MembershipCredential", "RoleCredential"]));
    played.show(&node, &[both]);
    assert_eq!(played.visit(&world, &node).await, 404, "of two types, one of which it may not state");
    node.text(&["trust", "add", &played.issuer, "--type", "RoleCredential"]);
    assert_eq!(played.visit(&world, &node).await, 200);
    let trap = played.list("trap");
    let unknown = credential::issue(
        &stranger,
        "did:web:nobody.example#k",
        "did:web:nobody.example",
        &Statement {
            context: None,
            id: "urn:c",
            kind: "MembershipCredential",
            subject: &own,
            claims: &Map::new(),
            from: hours(-1),
            until: hours(1),
            status: Some(&trap),
        },
        Profile::V1,
    );
    let before = node.events().len();
    played.show(&node, &[unknown.unwrap()]);
    assert_eq!(played.visit(&world, &node).await, 404);
    let told = node.events().split_off(before).join("\n");
    assert!(!told.contains("trap") && !told.contains("nobody.example"), "nothing is fetched for it: {told}");

    // Presentations: of another, for another, not a JWT.
    let good = [played.good(None)];
    played.show_as(&stranger, &played.did, &node.did, &good);
    assert_eq!(played.visit(&world, &node).await, 404, "signed by another");
    played.show_as(&played.key, other, &node.did, &good);
    assert_eq!(played.visit(&world, &node).await, 404, "of another holder");
    played.show_as(&played.key, &played.did, other, &good);
    assert_eq!(played.visit(&world, &node).await, 404, "for another verifier");
    for text in ["", "{}", "[[[[", "null"] {
        played.put("shown", text);
        assert_eq!(played.visit(&world, &node).await, 404, "{text}");
    }
    played.show(&node, &[]);
    assert_eq!(played.visit(&world, &node).await, 404, "nothing shown");
}

/// Nobody tells this node of the revocation, and nobody asks it for anything: it looks by itself.
#[tokio::test]
async fn what_is_revoked_meanwhile_is_found_out_without_being_told() {
    let world = World::new();
    let (node, played) = setup(&world);
    let issuer = (&played.issuer_key, played.issuer.as_str());
    let short = |list: &mut Map<String, Value>| drop(list.insert("ttl".to_owned(), json!(1000)));
    played.put_list("short", false, issuer, short);
    played.show(&node, &[played.good(Some(&played.list("short")))]);
    assert_eq!(played.visit(&world, &node).await, 200);
    played.put_list("short", true, issuer, short);
    let told = |log: &Value| log.to_string().contains("a credential of it counts no more");
    node.until("/v4/events/log?limit=1000", told).await;
}

/// A gigabyte of zeros, packed; unpacking stops long before.
/// An `encodedList` of these bits.
fn packed(bits: &[u8]) -> String {
    use base64::Engine as _;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bits).unwrap();
    format!("u{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(packer.finish().unwrap()))
}

fn bomb() -> String {
    use base64::Engine as _;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    (0..1024).for_each(|_| packer.write_all(&zeros).unwrap());
    format!("u{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(packer.finish().unwrap()))
}

#[tokio::test]
async fn documents_that_lead_elsewhere_or_never_end_are_given_up_on() {
    let world = World::new();
    let (node, played) = setup(&world);
    let wrong = DidDocument::of_node(
        "did:web:other.example",
        "did:web:other.example#k",
        played.key.public_jwk(),
        &[],
    );
    played.put("wrong/did.json", &wrong.json().to_string());
    let mut many = wrong.json().clone();
    many["id"] = json!(format!("{}:many", played.did));
    many["verificationMethod"] = Value::Array(vec![many["verificationMethod"][0].clone(); 100]);
    played.put("many/did.json", &many.to_string());
    played.put("deep/did.json", &format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)));
    let cases = [
        ("redirect", "302"),
        ("huge", "larger than"),
        ("missing", "404"),
        ("wrong", "its `id` is `did:web:other.example`"),
        ("many", "verification methods"),
        ("deep", "not JSON"),
    ];
    for (name, why) in cases {
        let began = Instant::now();
        let did = format!("{}:{name}", played.did);
        assert_eq!(played.visit_as(&world, &node, &did).await, 401, "{name}");
        assert!(began.elapsed() < Duration::from_secs(60), "{name}");
        assert!(
            node.events().iter().any(|line| line.contains(why) && line.contains(&did)),
            "{name}: {:?}",
            node.events()
        );
    }
    for did in ["did:web:10.0.0.1", "did:web:169.254.169.254", "did:example:x"] {
        assert_eq!(played.visit_as(&world, &node, did).await, 401, "{did}");
    }
    // Nothing of that was kept beyond its bound.
    let memory = std::fs::read_to_string(format!("/proc/{}/status", node.process_id())).unwrap();
    let resident = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: usize = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 400_000, "{resident}");
}
