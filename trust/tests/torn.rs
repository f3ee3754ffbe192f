//! Tokens, credentials, presentations, DID documents, status lists and dossiers torn at random: whatever comes of it is
//! read or refused, never a panic, and nothing that was changed is believed. `CONCORDAT_FUZZ_SECONDS` says how long (1
//! without it).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "tests")]

use std::cell::Cell;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value as Json, json};
use trust::credential::{self, Statement};
use trust::{
    Algorithm, DidDocument, Dossier, PrivateKey, Profile, Relationship, StatusEntry, StatusList, access, dcp,
    did, presentation, token,
};

const DID: &str = "did:web:a.example";
const KID: &str = "did:web:a.example#k";
const PEER: &str = "did:web:b.example";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

struct Seeds {
    document: DidDocument,
    token: String,
    access: String,
    credentials: Vec<String>,
    list: String,
    presentation: String,
}

fn seeds(algorithm: Algorithm) -> Seeds {
    let key = PrivateKey::generate(algorithm).unwrap();
    let claims: Map<String, Json> = [("memberOf".to_owned(), json!("urn:space"))].into_iter().collect();
    let status = StatusEntry::new("https://a.example/s".to_owned(), 3, "revocation", Profile::V2);
    let statement = Statement {
        context: None,
        id: "urn:c",
        kind: "MembershipCredential",
        subject: DID,
        claims: &claims,
        from: now(),
        until: now().checked_add(jiff::SignedDuration::from_hours(1)).unwrap(),
        status: Some(&status),
    };
    let credentials: Vec<_> =
        Profile::ALL.iter().map(|one| credential::issue(&key, KID, DID, &statement, *one).unwrap()).collect();
    let list = StatusList::default()
        .subject("https://a.example/s", Profile::V2, jiff::SignedDuration::from_secs(60))
        .unwrap();
    let kind = "BitstringStatusListCredential";
    let of_list = Statement {
        kind,
        claims: list.as_object().unwrap(),
        subject: "https://a.example/s",
        ..statement.clone()
    };
    let to = presentation::Audience { holder: DID, verifier: PEER, jti: "j" };
    let scopes = [dcp::scope_of("MembershipCredential")];
    Seeds {
        document: DidDocument::of_node(
            DID,
            KID,
            key.public_jwk(),
            &[("cs", "CredentialService", "https://a.example".to_owned())],
        ),
        token: token::issue(&key, KID, DID, PEER, "j", Some("t"), now()).unwrap(),
        access: access::issue(&key, KID, DID, PEER, &scopes, now()).unwrap(),
        list: credential::issue(&key, KID, DID, &of_list, Profile::V2).unwrap(),
        presentation: presentation::make(&key, KID, &to, &credentials, Profile::V1, now()).unwrap(),
        credentials,
    }
}

/// How a text is torn: a byte changed, cut out, doubled, or another text put in.
#[derive(Debug, Clone)]
struct Tear {
    place: Index,
    how: u8,
    length: usize,
    scrap: String,
}

fn tears() -> impl Strategy<Value = Vec<Tear>> {
    let scrap = prop_oneof![
        ".{0,8}",
        Just("\"alg\":\"none\"".to_owned()),
        Just("null".to_owned()),
        Just("[[[[[[".to_owned()),
        Just("{\"a\":".to_owned()),
        Just("-1e999".to_owned()),
        Just("#".to_owned()),
        Just(".".to_owned()),
    ];
    let tear = (any::<Index>(), 0..4_u8, 1..12_usize, scrap).prop_map(|(place, how, length, scrap)| Tear {
        place,
        how,
        length,
        scrap,
    });
    prop::collection::vec(tear, 1..4)
}

fn torn(text: &str, tears: &[Tear]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for tear in tears {
        if bytes.is_empty() {
            break;
        }
        let at = tear.place.index(bytes.len());
        let end = (at + tear.length).min(bytes.len());
        match tear.how {
            0 => bytes[at] = bytes[at].wrapping_add(u8::try_from(tear.length).unwrap()),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copied = bytes[at..end].to_vec();
                bytes.splice(at..at, copied);
            }
            _ => drop(bytes.splice(at..end, tear.scrap.bytes())),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The text itself torn, and its payload torn under the old signature.
fn torn_jwt(compact: &str, tears: &[Tear]) -> [String; 2] {
    let mut parts: Vec<_> = compact.split('.').map(str::to_owned).collect();
    let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(&parts[1]).unwrap()).unwrap();
    parts[1] = URL_SAFE_NO_PAD.encode(torn(&payload, tears));
    [torn(compact, tears), parts.join(".")]
}

fn believed_token(text: &str, document: &DidDocument) -> bool {
    token::Claimed::read(text)
        .is_ok_and(|claimed| claimed.verify(document, PEER, now(), token::MAX_LIFETIME).is_ok())
}

fn believed_credential(text: &str, document: &DidDocument) -> bool {
    let lists = credential::Claimed::read_list(text).and_then(|claimed| claimed.verify(document, now()));
    if let Ok(list) = lists {
        let _ = StatusList::of_credential(&list).and_then(|bits| bits.is_set(5));
    }
    let read = credential::Claimed::read(text).and_then(|claimed| claimed.verify(document, now()));
    read.is_ok_and(|credential| {
        credential.status().is_ok() && credential.schemas().is_ok_and(|schemas| schemas.is_empty())
    })
}

#[test]
fn what_is_torn_is_refused_and_never_believed() {
    let seconds =
        std::env::var("CONCORDAT_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let until = Instant::now() + Duration::from_secs(seconds);
    let all = [seeds(Algorithm::Ed25519), seeds(Algorithm::P256)];
    let count = Cell::new(0_u64);
    while Instant::now() < until {
        let mut runner =
            TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
        let ran = runner.run(&(tears(), 0..2_usize), |(tears, which)| {
            let seeds = &all[which];
            count.set(count.get() + 1);
            for text in torn_jwt(&seeds.token, &tears).iter().filter(|text| **text != seeds.token) {
                prop_assert!(!believed_token(text, &seeds.document), "token {text}");
            }
            for text in torn_jwt(&seeds.access, &tears).iter().filter(|text| **text != seeds.access) {
                prop_assert!(access::check(text, &seeds.document, PEER, now()).is_err(), "access {text}");
            }
            for whole in seeds.credentials.iter().chain([&seeds.list]) {
                for text in torn_jwt(whole, &tears).iter().filter(|text| *text != whole) {
                    prop_assert!(!believed_credential(text, &seeds.document), "credential {text}");
                }
            }
            for text in
                torn_jwt(&seeds.presentation, &tears).iter().filter(|text| **text != seeds.presentation)
            {
                prop_assert!(
                    presentation::open(&serde_json::json!(text), &seeds.document, PEER, now()).is_err(),
                    "presentation {text}"
                );
            }
            // A torn document may still say the same; it must not give a key to another DID.
            let text = torn(&seeds.document.json().to_string(), &tears);
            if let Ok(json) = serde_json::from_str::<Json>(&text)
                && let Ok(document) = DidDocument::parse(json, DID)
            {
                let _ = document.service("CredentialService");
                let _ = document.thumbprints();
                prop_assert_eq!(document.id(), DID);
                for relationship in [Relationship::AssertionMethod, Relationship::CapabilityInvocation] {
                    prop_assert!(document.key(Some("did:web:b.example#k"), relationship).is_err());
                    let _ = document.key(None, relationship);
                }
            }
            for text in
                [torn(DID, &tears), torn("did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp", &tears)]
            {
                if let Ok(Some(url)) = did::document_url(&text) {
                    prop_assert!(url.starts_with("https://") && url.ends_with("did.json"), "{url}");
                }
                let _ = did::key_document(&text);
            }
            let _ = Dossier::parse(text.as_bytes());
            Ok(())
        });
        ran.unwrap();
    }
    eprintln!("{} torn sets of documents were refused", count.get());
    assert!(count.get() > 10);
}
