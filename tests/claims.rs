//! Claims beyond the paths that two nodes take (DCP 1.0.1, sections 5.4 and 6): what issuers send, what holders show of what was taken
//! back, whom issuers answer.

mod foreign;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::response::IntoResponse as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use trust::credential::{self, Statement};
use trust::jose::{Algorithm, PrivateKey};
use trust::{DidDocument, Profile};

use crate::membership::{authority, join};
use crate::support::{Node, Peer, Stranger, World, answer};

const SPACE: &str = "https://space.example";
const CONTEXT: &str = "https://w3id.org/dspace-dcp/v1.0/dcp.jsonld";

/// A message that a played participant was sent: path, claims of its token, body.
type Told = (String, Value, Value);

/// A participant that the test plays: holder and issuer.
struct Played {
    speaker: Stranger,
    /// What it answers to GET, by path.
    served: Arc<Mutex<BTreeMap<String, String>>>,
    told: UnboundedReceiver<Told>,
}

impl Played {
    fn new(world: &World) -> Self {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let served = Arc::new(Mutex::new(BTreeMap::new()));
        let (tell, told) = unbounded_channel();
        let answers = Arc::clone(&served);
        let take = move |request: Request| {
            let (answers, tell) = (Arc::clone(&answers), tell.clone());
            async move {
                let path = request.uri().path().to_owned();
                if request.method() == http::Method::GET {
                    let found = answers.lock().unwrap().get(&path).cloned();
                    return found
                        .map_or_else(|| http::StatusCode::NOT_FOUND.into_response(), String::into_response);
                }
                let token = request.headers()["authorization"].to_str().unwrap().replace("Bearer ", "");
                let claims = serde_json::from_slice(&trust::jose::peek(&token).unwrap().1).unwrap();
                let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
                // The test may know enough.
                let _ = tell.send((path.clone(), claims, serde_json::from_slice(&body).unwrap_or_default()));
                if path.ends_with("/presentations/query") {
                    let nothing = json!({"@context": [CONTEXT], "type": "PresentationResponseMessage", "presentation": []});
                    return axum::Json(nothing).into_response();
                }
                (http::StatusCode::CREATED, [("location", "/issuer/requests/of-issuer")]).into_response()
            }
        };
        let peer = Peer::serving(world, |_| axum::Router::new().fallback(take));
        let did = trust::did::web(peer.address.strip_prefix("https://").unwrap());
        let services = [
            ("issuer", "IssuerService", format!("{}/issuer", peer.address)),
            ("holder", "CredentialService", format!("{}/holder", peer.address)),
        ];
        let kid = format!("{did}#k");
        let document = DidDocument::of_node(&did, &kid, key.public_jwk(), &services);
        let object = json!({"id": "object-1", "type": "CredentialObject", "credentialType": "AuditorCredential",
            "profile": "vc20-bssl/jwt"});
        let metadata = json!({"@context": [CONTEXT], "type": "IssuerMetadata", "issuer": did, "credentialsSupported": [object]});
        let speaker = Stranger { did, kid, ..Stranger::of(key, world) };
        let played = Self { speaker, served, told };
        played.serve("/.well-known/did.json", &document.json().to_string());
        played.serve("/issuer/metadata", &metadata.to_string());
        played
    }

    fn serve(&self, path: &str, text: &str) {
        self.served.lock().unwrap().insert(path.to_owned(), text.to_owned());
    }

    async fn next(&mut self) -> Told {
        tokio::time::timeout(std::time::Duration::from_secs(20), self.told.recv()).await.unwrap().unwrap()
    }

    /// Sends a message of DCP to a node, with `access` in its token.
    async fn send(&self, node: &Node, path: &str, access: Option<&str>, body: &Value) -> (u16, Value) {
        let mut message = json!({"@context": [CONTEXT]});
        message.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let token = self.speaker.odd_token(&node.did, |claims| {
            if let Some(access) = access {
                claims["token"] = json!(access);
            }
        });
        let url = format!("{}/dcp/{path}", node.address);
        answer(self.speaker.client.post(url).bearer_auth(token).json(&message).send().await.unwrap()).await
    }

    fn credential(&self, subject: &str, id: &str) -> String {
        credential_of(&self.speaker.key, &self.speaker.did, subject, ("AuditorCredential", id), hours(24))
    }

    /// What it delivers for the request `holder_pid`.
    async fn deliver(
        &self,
        node: &Node,
        holder_pid: Option<&str>,
        status: &str,
        payloads: &[(&str, &str)],
    ) -> (u16, Value) {
        let container = |(kind, payload): &(&str, &str)| json!({"credentialType": kind, "payload": payload, "format": "vc20-bssl/jwt"});
        let mut message = json!({"type": "CredentialMessage", "issuerPid": "of-issuer", "status": status,
            "credentials": payloads.iter().map(container).collect::<Vec<_>>()});
        if let Some(holder_pid) = holder_pid {
            message["holderPid"] = json!(holder_pid);
        }
        self.send(node, "holder/credentials", None, &message).await
    }
}

fn hours(count: i64) -> Timestamp {
    connector::clock::now().checked_add(SignedDuration::from_hours(count)).unwrap()
}

fn credential_of(
    key: &PrivateKey,
    issuer: &str,
    subject: &str,
    (kind, id): (&str, &str),
    until: Timestamp,
) -> String {
    let statement = Statement {
        id,
        kind,
        subject,
        claims: &serde_json::Map::new(),
        from: hours(-48),
        until,
        status: None,
        context: None,
    };
    credential::issue(key, &format!("{issuer}#k"), issuer, &statement, Profile::V2).unwrap()
}

/// The credentials of a node: id of the type, and how it stands.
fn held(node: &Node) -> Vec<(String, String)> {
    let list = node.json(&["credentials", "list"]);
    let row = |one: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&one["type"]), text(&one["standing"]["state"]))
    };
    list["credentials"].as_array().unwrap().iter().map(row).collect()
}

/// DCP 1.0.1, sections 6.5 and 6.6: only what its issuer signed, about this holder, for what it was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuer_sends_counts_only_as_it_may() {
    let world = World::new();
    let node = world.local_node("node");
    let (mut issuer, other) = (Played::new(&world), Played::new(&world));
    let did = issuer.speaker.did.clone();
    let ask =
        || node.json(&["credentials", "request", &did, "--no-wait"])["@id"].as_str().unwrap().to_owned();
    let request = ask();
    let (path, _, body) = issuer.next().await;
    assert_eq!((path.as_str(), &body["holderPid"]), ("/issuer/credentials", &json!(request)));
    assert_eq!(body["credentials"], json!([{"id": "object-1"}]));

    let good = issuer.credential(&node.did, "urn:c:1");
    let mut altered = good.clone();
    altered.replace_range(altered.len() - 4.., "AAAA");
    let kind = "AuditorCredential";
    for (what, kind, payload, said) in [
        ("signed by another", kind, other.credential(&node.did, "urn:c:1"), "not by you"),
        (
            "about another",
            kind,
            issuer.credential("did:web:other.example", "urn:c:1"),
            "is of `did:web:other.example`",
        ),
        (
            "of another type",
            "RoleCredential",
            good.clone(),
            "what it calls a `RoleCredential` is a `AuditorCredential`",
        ),
        ("altered", kind, altered, "signature"),
    ] {
        let (status, refused) = issuer.deliver(&node, Some(&request), "ISSUED", &[(kind, &payload)]).await;
        assert_eq!(status, 400, "{what}: {refused}");
        assert!(node.events().iter().any(|line| line.contains(said)), "{what}: {:?}", node.events());
    }
    let (status, _) = issuer.deliver(&node, Some("urn:none"), "ISSUED", &[(kind, &good)]).await;
    assert_eq!(status, 400, "nobody asked for it, and the issuer's word counts for nothing here");
    assert_eq!(held(&node), []);

    // What is rejected brings nothing along.
    let (status, said) = issuer.deliver(&node, Some(&request), "REJECTED", &[(kind, &good)]).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(held(&node), []);
    let list = node.json(&["credentials", "requests"]);
    assert_eq!(list[0]["status"], "REJECTED", "{list}");

    // An issuer may leave the holder's id out: then its own tells.
    ask();
    issuer.next().await;
    let more = issuer.credential(&node.did, "urn:c:2");
    let (status, said) = issuer.deliver(&node, None, "ISSUED", &[(kind, &good), (kind, &more)]).await;
    assert_eq!(status, 200, "{said}");
    let valid = || ("AuditorCredential".to_owned(), "valid".to_owned());
    node.until("/v4/credentials", |all| {
        all.as_array()
            .is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["standing"]["state"] == "valid"))
    })
    .await;
    assert_eq!(held(&node), [valid(), valid()], "two of one type, by their ids");

    // An offer is its issuer's own; what it names by ids alone its metadata tells more of.
    let offer = |of: &Played| json!({"type": "CredentialOfferMessage", "issuer": of.speaker.did, "credentials": [{"id": "object-1"}]});
    let (status, refused) = other.send(&node, "holder/offers", None, &offer(&issuer)).await;
    assert_eq!(status, 400, "{refused}");
    let (status, said) = issuer.send(&node, "holder/offers", None, &offer(&issuer)).await;
    assert_eq!(status, 200, "{said}");
    let offers = node.json(&["credentials", "list"])["offers"].clone();
    assert_eq!(offers[0]["types"], json!(["AuditorCredential"]), "{offers}");
}

/// Section 6.8: whoever got no answer asks; section 5.4.2: what ends is asked for anew before it does.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_answered_is_asked_about_and_what_ends_is_renewed() {
    let world = World::new();
    let mut node = world.local_node("node");
    let mut issuer = Played::new(&world);
    let asked = node.json(&["credentials", "request", &issuer.speaker.did, "--no-wait"]);
    issuer.next().await;
    let id = asked["@id"].as_str().unwrap();
    let status = json!({"@context": [CONTEXT], "type": "CredentialStatus", "issuerPid": "of-issuer", "holderPid": id, "status": "REJECTED"});
    issuer.serve("/issuer/requests/of-issuer", &status.to_string());
    // It is long since.
    node.stop();
    let key = |records: Vec<(String, store::Versioned)>| records.into_iter().next().unwrap().0;
    node.alter(&key(node.records("credential-request/")), |one| one["at"] = json!(hours(-1))).await;
    node.start();
    node.until("/v4/credentialrequests", |all| all[0]["status"] == "REJECTED").await;

    let again = node.json(&["credentials", "request", &issuer.speaker.did, "--no-wait"]);
    issuer.next().await;
    let until = hours(24);
    let compact = credential_of(
        &issuer.speaker.key,
        &issuer.speaker.did,
        &node.did,
        ("AuditorCredential", "urn:c"),
        until,
    );
    let (status, said) =
        issuer.deliver(&node, again["@id"].as_str(), "ISSUED", &[("AuditorCredential", &compact)]).await;
    assert_eq!(status, 200, "{said}");
    assert!(issuer.told.try_recv().is_err(), "a day is left of it");
    node.stop();
    for (request, _) in node.records("credential-request/") {
        node.alter(&request, |one| one["at"] = json!(hours(-24 * 30))).await;
    }
    node.alter(&key(node.records("credential/")), |one| one["received_at"] = json!(hours(-24 * 30))).await;
    node.start();
    let (path, _, body) = issuer.next().await;
    assert_eq!(
        (path.as_str(), body["type"].as_str()),
        ("/issuer/credentials", Some("CredentialRequestMessage"))
    );
    node.until_text(&["events"], "asked for AuditorCredential anew, before it ends").await;
}

/// Section 5.4.2: revoked credentials are not shown, and one of them takes nothing from those beside it.
#[tokio::test]
async fn a_credential_that_was_taken_back_is_not_shown() {
    let world = World::new();
    let authority = authority(&world);
    let member = world.local_node("member");
    join(&authority, &member);
    let verifier = Stranger::new(&world);
    let shown = async || {
        let wish = json!({"audience": verifier.did, "types": ["MembershipCredential", "RoleCredential"]});
        let token = member.post("/v4/tokens", wish).await;
        let (_, payload) = trust::jose::peek(token["access_token"].as_str().unwrap()).unwrap();
        let access = serde_json::from_slice::<Value>(&payload).unwrap()["token"].clone();
        let scope = |kind: &str| format!("org.eclipse.dspace.dcp.vc.type:{kind}:read");
        let query = json!({"@context": [CONTEXT], "type": "PresentationQueryMessage",
            "scope": [scope("MembershipCredential"), scope("RoleCredential")]});
        let token = verifier.odd_token(&member.did, |claims| claims["token"] = access);
        let url = format!("{}/dcp/holder/presentations/query", member.address);
        let (status, found) =
            answer(verifier.client.post(url).bearer_auth(token).json(&query).send().await.unwrap()).await;
        assert_eq!(status, 200, "{found}");
        let own = DidDocument::parse(member.json(&["identity"])["document"].clone(), &member.did).unwrap();
        let presentations = found["presentation"].as_array().unwrap().clone();
        let open = |one: &Value| {
            trust::presentation::open(one, &own, &verifier.did, connector::clock::now()).unwrap()
        };
        presentations.iter().flat_map(open).count()
    };
    member
        .until("/v4/credentials", |all| {
            all.as_array().unwrap().iter().all(|one| one["standing"]["state"] == "valid")
        })
        .await;
    assert_eq!(shown().await, 2);
    let issued = authority.json(&["authority", "issued"]);
    let all = issued.as_array().unwrap();
    let role = all.iter().find(|one| one["kind"] == "RoleCredential").unwrap();
    // Places are drawn by lot (Bitstring Status List 1.0, section 2.1): that both fall into the first hundred is one in a million.
    assert!(all.iter().any(|one| one["index"].as_u64().unwrap() >= 100), "{issued}");
    authority.text(&["authority", "revoke", role["id"].as_str().unwrap(), "--reason", "by the test"]);
    let void = |all: &Value| all.as_array().unwrap().iter().any(|one| one["standing"]["state"] == "void");
    member.until("/v4/credentials", void).await;
    assert_eq!(shown().await, 1, "the one that was not");
    let list = member.text(&["credentials", "list"]);
    assert!(list.contains("not shown: ") && list.contains("under revocation"), "{list}");
    assert!(member.events().iter().any(|line| line.contains("this node's RoleCredential counts for nobody")));
}

/// Sections 6.1 (7), 6.4.1, 6.7 and 6.8: the client's own access token goes back with what is delivered; an id that is not issued is
/// refused; a request's status is its client's to see; types and claims stand in a context that is served.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_answers_the_client_that_asked() {
    let world = World::new();
    let authority = authority(&world);
    let (mut holder, other) = (Played::new(&world), Played::new(&world));
    let get = async |who: &Stranger, path: &str| {
        let url = format!("{}{path}", authority.address);
        answer(who.client.get(url).bearer_auth(who.token(&authority.did)).send().await.unwrap()).await
    };
    let (_, metadata) = get(&holder.speaker, "/dcp/issuer/metadata").await;
    for object in metadata["credentialsSupported"].as_array().unwrap() {
        for property in [
            "credentialType",
            "credentialSchema",
            "offerReason",
            "bindingMethods",
            "profile",
            "issuancePolicy",
        ] {
            assert!(!object[property].is_null(), "{property}: {object}");
        }
    }
    let object = metadata["credentialsSupported"][0]["id"].clone();
    let request = |id: &Value| json!({"type": "CredentialRequestMessage", "holderPid": "of-holder", "credentials": [{"id": id}]});
    let (status, refused) =
        holder.send(&authority, "issuer/credentials", None, &request(&json!("object-1"))).await;
    assert_eq!(status, 400, "{refused}");
    let asked = |access: &str| {
        let mut message = json!({"@context": [CONTEXT]});
        message.as_object_mut().unwrap().extend(request(&object).as_object().unwrap().clone());
        let token = holder.speaker.odd_token(&authority.did, |claims| claims["token"] = json!(access));
        let url = format!("{}/dcp/issuer/credentials", authority.address);
        holder.speaker.client.post(url).bearer_auth(token).json(&message).send()
    };
    let taken = asked("of-the-client").await.unwrap();
    assert_eq!(taken.status(), 201);
    let path = taken.headers()["location"].to_str().unwrap().to_owned();
    let waiting = authority.json(&["authority", "requests"]);
    let id = waiting[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(path, format!("/dcp/issuer/requests/{id}"));
    // A repeated request is the same one.
    let again = asked("of-the-client").await.unwrap();
    assert_eq!((again.status().as_u16(), &again.headers()["location"]), (201, &taken.headers()["location"]));
    let without = holder.speaker.client.get(format!("{}{path}", authority.address)).send().await.unwrap();
    assert_eq!(without.status(), 401, "by a bearer token");
    let (status, own) = get(&holder.speaker, &path).await;
    assert_eq!((status, &own["status"]), (200, &json!("RECEIVED")), "{own}");
    let (status, _) = get(&other.speaker, &path).await;
    assert_eq!(status, 404, "nobody else learns of it");

    authority.text(&["authority", "approve", &id, "--claim", "role=auditor", "--claim", "district=3"]);
    let (path, claims, body) = holder.next().await;
    assert_eq!(
        (path.as_str(), &claims["token"]),
        ("/holder/credentials", &json!("of-the-client")),
        "{claims}"
    );
    let payload = trust::jose::peek(body["credentials"][0]["payload"].as_str().unwrap()).unwrap().1;
    let credential: Value = serde_json::from_slice(&payload).unwrap();
    let credential = credential.get("vc").unwrap_or(&credential);
    let address = credential["@context"][1].as_str().unwrap();
    let context: Value = world.client().get(address).send().await.unwrap().json().await.unwrap();
    let terms = &context["@context"];
    let named = |name: &str| terms[name].as_str().map_or_else(|| terms["@vocab"].as_str(), Some);
    for name in [credential["type"][1].as_str().unwrap(), "memberOf", "role", "district"] {
        assert!(named(name).is_some_and(|iri| iri.starts_with("https://")), "{name}: {context}");
    }
    // The older list is what its standard says, and so is what a place of one's own in it says: none knows who else is there.
    let fetch = async |name: &str| {
        let url = format!("{}/dcp/issuer/status/{name}", authority.address);
        let answer = world.client().get(url).send().await.unwrap();
        let kept = answer.headers()["cache-control"].to_str().unwrap().to_owned();
        let claims: Value = serde_json::from_slice(
            &trust::jose::peek_within(&answer.text().await.unwrap(), 1 << 20).unwrap().1,
        )
        .unwrap();
        (kept, claims.get("vc").cloned().unwrap_or(claims))
    };
    for (name, kind, of_list) in [
        ("2021", "StatusList2021Credential", "StatusList2021"),
        ("bitstring", "BitstringStatusListCredential", "BitstringStatusList"),
    ] {
        let (kept, list) = fetch(name).await;
        assert_eq!((kept.as_str(), &list["type"][1]), ("max-age=60", &json!(kind)), "{list}");
        assert_eq!(
            (&list["credentialSubject"]["type"], &list["credentialSubject"]["statusPurpose"]),
            (&json!(of_list), &json!("revocation"))
        );
        let ttl = &list["credentialSubject"]["ttl"];
        assert!(ttl.is_null() == (name == "2021") && (ttl.is_null() || *ttl == json!(60_000)), "{list}");
    }
    let document =
        world.client().get(format!("{}/.well-known/did.json", authority.address)).send().await.unwrap();
    assert_eq!(document.headers()["access-control-allow-origin"], "*");
    // What was sealed is told to nobody, and is not lost.
    let told = authority.json(&["authority", "requests"]);
    assert!(told[0].get("access").is_none() && !told.to_string().contains("of-the-client"), "{told}");
}

/// Section 5.4.1: a query has up to 64 scopes; who must be asked for more is asked in several.
#[tokio::test(flavor = "multi_thread")]
async fn more_types_than_a_query_may_have_are_asked_for_in_several() {
    let world = World::new();
    let mut node = world.local_node("node");
    let types: Vec<_> = (0..70).map(|number| format!("\"Type{number}Credential\"")).collect();
    node.configure("required = []", &format!("required = [{}]", types.join(", ")));
    let mut caller = Played::new(&world);
    let token = caller.speaker.odd_token(&node.did, |claims| claims["token"] = json!("opaque"));
    let url = format!("{}/dsp/2025-1/catalog/datasets/x", node.address);
    let status = world.client().get(url).bearer_auth(token).send().await.unwrap().status();
    assert_eq!(status, 401, "it has shown none of them");
    let mut asked = std::collections::BTreeSet::new();
    for most in [64, 6] {
        let (path, claims, body) = caller.next().await;
        assert_eq!((path.as_str(), &claims["token"]), ("/holder/presentations/query", &json!("opaque")));
        let scopes = body["scope"].as_array().unwrap();
        assert_eq!(scopes.len(), most);
        asked.extend(scopes.iter().map(|one| one.as_str().unwrap().to_owned()));
    }
    assert_eq!(asked.len(), 70);
}

/// Appendix A.1: what a holder has of both data models it shows in two presentations, each of one.
#[tokio::test(flavor = "multi_thread")]
async fn a_presentation_is_of_one_data_model() {
    let world = World::new();
    let node = world.local_node("node");
    let mut issuer = Played::new(&world);
    let asked = node.json(&["credentials", "request", &issuer.speaker.did, "--no-wait"]);
    issuer.next().await;
    let of_v1 = |kind: &str| {
        let (claims, did) = (serde_json::Map::new(), issuer.speaker.did.as_str());
        let statement = Statement {
            id: "urn:c:old",
            kind,
            subject: &node.did,
            claims: &claims,
            from: hours(-1),
            until: hours(1),
            status: None,
            context: None,
        };
        credential::issue(&issuer.speaker.key, &issuer.speaker.kid, did, &statement, Profile::V1).unwrap()
    };
    let kind = "AuditorCredential";
    let (newer, older) = (issuer.credential(&node.did, "urn:c:new"), of_v1(kind));
    let delivered =
        issuer.deliver(&node, asked["@id"].as_str(), "ISSUED", &[(kind, &newer), (kind, &older)]).await;
    assert_eq!(delivered.0, 200, "{}", delivered.1);
    let verifier = Stranger::new(&world);
    let shown = async || {
        let token = node.post("/v4/tokens", json!({"audience": verifier.did, "types": [kind]})).await;
        let claims = trust::jose::peek(token["access_token"].as_str().unwrap()).unwrap().1;
        let access = serde_json::from_slice::<Value>(&claims).unwrap()["token"].clone();
        let query = json!({"@context": [CONTEXT], "type": "PresentationQueryMessage",
            "scope": [format!("org.eclipse.dspace.dcp.vc.type:{kind}:read")]});
        let token = verifier.odd_token(&node.did, |claims| claims["token"] = access);
        let url = format!("{}/dcp/holder/presentations/query", node.address);
        let request = verifier.client.post(url).bearer_auth(token).json(&query);
        let (status, found) = answer(request.send().await.unwrap()).await;
        assert_eq!((status, &found["type"]), (200, &json!("PresentationResponseMessage")), "{found}");
        found["presentation"].as_array().unwrap().clone()
    };
    let claims = |one: &Value| {
        let payload = trust::jose::peek_within(one.as_str().unwrap(), 1 << 20).unwrap().1;
        serde_json::from_slice::<Value>(&payload).unwrap()
    };
    let all: Vec<_> = shown().await.iter().map(claims).collect();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["vp"]["verifiableCredential"], json!([older]), "1.1");
    let inner = all[1]["verifiableCredential"][0]["id"].as_str().unwrap();
    assert_eq!(inner, format!("data:application/vc+jwt,{newer}"), "2.0");

    // No presentation has more than a verifier reads of one.
    let asked = node.json(&["credentials", "request", &issuer.speaker.did, "--no-wait"]);
    issuer.next().await;
    let many: Vec<_> =
        (0..40).map(|number| issuer.credential(&node.did, &format!("urn:c:{number}"))).collect();
    let many: Vec<_> = many.iter().map(|one| (kind, one.as_str())).collect();
    let delivered = issuer.deliver(&node, asked["@id"].as_str(), "ISSUED", &many).await;
    assert_eq!(delivered.0, 200, "{}", delivered.1);
    let own = DidDocument::parse(node.json(&["identity"])["document"].clone(), &node.did).unwrap();
    let now = connector::clock::now();
    let counts: Vec<_> = shown()
        .await
        .iter()
        .map(|one| trust::presentation::open(one, &own, &verifier.did, now).unwrap().len())
        .collect();
    assert_eq!(counts, [1, 32, 9]);
}
