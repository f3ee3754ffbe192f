//! A dossier altered anywhere is found out, and the part that was altered is named.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, json};
use trust::credential::{self, Statement};
use trust::{
    Algorithm, Bound, CredentialEvidence, DidDocument, Dossier, MessageEvidence, PrivateKey, Profile,
    SignerRole, StatusEntry, StatusList, agreement, token,
};

const PROVIDER: &str = "did:web:provider.example";
const CONSUMER: &str = "did:web:consumer.example";
const ISSUER: &str = "did:web:authority.example";
const WORDS: &str = "urn:concordat:words";
const LIST: &str = "https://authority.example/status";

struct Party {
    did: &'static str,
    kid: String,
    key: PrivateKey,
    document: DidDocument,
}

fn party(did: &'static str) -> Party {
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let kid = format!("{did}#key-1");
    let document = DidDocument::of_node(did, &kid, key.public_jwk(), &[]);
    Party { did, kid, key, document }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn issue(issuer: &Party, statement: &Statement<'_>) -> String {
    credential::issue(&issuer.key, &issuer.kid, issuer.did, statement, Profile::V2).unwrap()
}

fn credential(issuer: &Party, revoked: bool) -> CredentialEvidence {
    let mut claims = Map::new();
    claims.insert("memberOf".to_owned(), json!("https://space.example"));
    let entry = StatusEntry::new(LIST.to_owned(), 7, "revocation", Profile::V2);
    let statement = Statement {
        context: None,
        id: "urn:uuid:1",
        kind: "MembershipCredential",
        subject: CONSUMER,
        claims: &claims,
        from: at(0),
        until: at(1_000_000),
        status: Some(&entry),
    };
    let mut list = StatusList::default();
    list.set(7, revoked);
    let list = list
        .subject(LIST, Profile::V2, jiff::SignedDuration::from_secs(60))
        .unwrap()
        .as_object()
        .unwrap()
        .clone();
    let kind = "BitstringStatusListCredential";
    let of_list =
        Statement { id: LIST, kind, subject: LIST, claims: &list, status: None, ..statement.clone() };
    CredentialEvidence {
        credential: issue(issuer, &statement),
        status_lists: vec![issue(issuer, &of_list)],
        checked_at: at(10),
    }
}

fn message(from: &Party, to: &str, seconds: i64, body: serde_json::Value) -> MessageEvidence {
    let token = token::issue(&from.key, &from.kid, from.did, to, "jti", None, at(seconds)).unwrap();
    MessageEvidence {
        at: at(seconds),
        from: from.did.to_owned(),
        to: to.to_owned(),
        token: Some(token),
        body,
    }
}

fn dossier(provider: &Party, revoked: bool) -> Dossier {
    let (consumer, issuer) = (party(CONSUMER), party(ISSUER));
    let rules = json!([{"action": "use"}]);
    let agreement = json!({"@id": "urn:a", "@type": "Agreement", "target": "urn:d", "assigner": PROVIDER,
        "assignee": CONSUMER, "timestamp": "2027-01-15T08:00:00Z", "permission": rules});
    let parts = BTreeMap::from([(WORDS.to_owned(), json!(["allowed: use"]))]);
    let bound = Bound { agreement: &agreement, parts: &parts, names: &agreement::NO_NAMES };
    let sign = |party: &Party, role| agreement::sign(&party.key, &party.kid, role, bound, 2, at(20)).unwrap();
    let (by_provider, by_consumer) =
        (sign(provider, SignerRole::Provider), sign(&consumer, SignerRole::Consumer));
    let messages = vec![
        message(&consumer, PROVIDER, 11, json!({"@type": "ContractRequestMessage"})),
        message(
            provider,
            CONSUMER,
            20,
            json!({"@type": "ContractAgreementMessage", "agreement": agreement,
            WORDS: parts.get(WORDS), "urn:concordat:signature": by_provider}),
        ),
        message(
            &consumer,
            PROVIDER,
            21,
            json!({"@type": "ContractAgreementVerificationMessage",
            "urn:concordat:signature": by_consumer}),
        ),
    ];
    let documents =
        [provider, &consumer, &issuer].map(|one| (one.did.to_owned(), one.document.json().clone()));
    let dossier = Dossier {
        names: agreement::NO_NAMES.clone(),
        statements: Vec::new(),
        periods: Vec::new(),
        format: Dossier::FORMAT.to_owned(),
        provider_signature: Some(by_provider),
        consumer_signature: Some(by_consumer),
        offer: Some(json!({"@id": "urn:o", "permission": rules})),
        messages,
        did_documents: documents.into_iter().collect(),
        credentials: BTreeMap::from([(CONSUMER.to_owned(), vec![credential(&issuer, revoked)])]),
        compromised_keys: Vec::new(),
        undeclared_keys: false,
        concluded_at: at(22),
        exported_at: at(100),
        exported_by: PROVIDER.to_owned(),
        exporter_document: provider.document.json().clone(),
        seal: None,
        agreement,
        parts,
    };
    dossier.sealed(&provider.key, &provider.kid).unwrap()
}

fn wrong(dossier: &Dossier, file: &[u8]) -> Vec<(String, String)> {
    let findings = dossier.check(file);
    findings.into_iter().filter(|one| !one.holds).map(|one| (one.part, one.text)).collect()
}

#[test]
fn what_was_not_altered_holds_and_is_explained() {
    let dossier = dossier(&party(PROVIDER), false);
    let text = dossier.write();
    let read = Dossier::parse(text.as_bytes()).unwrap();
    assert_eq!(read, dossier);
    assert_eq!(wrong(&read, text.as_bytes()), []);
    let all = read.check(text.as_bytes()).into_iter().map(|one| one.text).collect::<Vec<_>>().join("\n");
    for said in [
        "every byte is as it was exported",
        "signed by did:web:provider.example#key-1",
        "ContractRequestMessage of did:web:consumer.example",
        "with its token",
        "MembershipCredential by did:web:authority.example; not revoked",
        "by thumbprint",
    ] {
        assert!(all.contains(said), "{said}: {all}");
    }
}

/// What acts on terminals may stand in the file as JSON escapes it, as `agreements export` writes it to standard output.
#[test]
fn a_file_with_escaped_characters_is_as_it_was_exported() {
    let provider = party(PROVIDER);
    let mut dossier = dossier(&provider, false);
    dossier.periods.push(json!("a\u{202e}b\u{e0041}\u{7f}c"));
    let text = dossier.sealed(&provider.key, &provider.kid).unwrap().write();
    let escaped = text.replace("\u{202e}", "\\u202e").replace('\u{7f}', "\\u007f");
    let escaped = escaped.replace('\u{e0041}', "\\udb40\\udc41");
    assert_ne!(escaped, text);
    let read = Dossier::parse(escaped.as_bytes()).unwrap();
    assert_eq!(read.write(), text);
    for file in [&text, &escaped] {
        assert_eq!(wrong(&read, file.as_bytes()), []);
    }
    for changed in [escaped.replace("\\u202e", "\\u202E"), escaped.replace("\"urn:a\"", "\"\\u0075rn:a\"")] {
        assert!(wrong(&read, changed.as_bytes()).iter().any(|(part, _)| part == "file"));
    }
}

/// Every byte of the file is changed in turn: each change is found, and the finding names the part in which it lies.
#[test]
fn every_altered_byte_is_found_and_its_part_is_named() {
    let text = dossier(&party(PROVIDER), false).write();
    let bytes = text.as_bytes();
    // In the written form, a member of the outermost object begins a line with two blanks.
    let mut part = String::new();
    let mut parts = Vec::new();
    for line in text.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix("  \"") {
            part = rest.split('"').next().unwrap().to_owned();
        }
        parts.extend(std::iter::repeat_n(part.clone(), line.len()));
    }
    let mut found = BTreeMap::<&str, usize>::new();
    for (place, name) in parts.iter().enumerate() {
        let mut altered = bytes.to_vec();
        altered[place] ^= 1;
        // A file that cannot be read any more is found out as well.
        let Ok(read) = Dossier::parse(&altered) else { continue };
        let wrong = wrong(&read, &altered);
        // Blanks between values alter the file and nothing in it.
        let same = read.write() == text;
        let name_it = if same { "file" } else { name };
        let named = wrong.iter().any(|(part, _)| part == name_it || part.starts_with(&format!("{name_it}/")));
        assert!(named, "byte {place} in {name}: {wrong:?}");
        *found.entry(name).or_default() += usize::from(!same);
    }
    for name in [
        "agreement",
        "providerSignature",
        "offer",
        "messages",
        "didDocuments",
        "credentials",
        "seal",
        "exportedAt",
    ] {
        assert!(found.get(name).is_some_and(|count| *count > 5), "{name}: {found:?}");
    }
}

#[test]
fn what_is_removed_added_or_exchanged_is_named() {
    let provider = party(PROVIDER);
    let good = dossier(&provider, false);
    let names = |change: &dyn Fn(&mut Dossier)| {
        let mut altered = good.clone();
        change(&mut altered);
        wrong(&altered, altered.write().as_bytes())
    };
    let has = |found: &[(String, String)], part: &str, text: &str| {
        assert!(
            found.iter().any(|(one, said)| one == part && said.contains(text)),
            "{part} {text}: {found:?}"
        );
    };
    has(&names(&|one| drop(one.messages.pop())), "messages/2", "removed");
    has(&names(&|one| one.messages.push(one.messages[0].clone())), "messages/3", "added");
    has(&names(&|one| one.messages.swap(0, 1)), "messages/0", "altered");
    has(&names(&|one| drop(one.did_documents.remove(ISSUER))), &format!("didDocuments/{ISSUER}"), "removed");
    has(&names(&|one| one.credentials.clear()), &format!("credentials/{CONSUMER}/0"), "removed");
    has(&names(&|one| one.seal = None), "seal", "it has no seal");
    has(&names(&|one| one.exported_by = ISSUER.to_owned()), "seal", "no party of the agreement");
    // A signature that was taken away is missed in its message.
    has(&names(&|one| one.consumer_signature = None), "messages/2", "carries another signature");
    has(
        &names(&|one| std::mem::swap(&mut one.provider_signature, &mut one.consumer_signature)),
        "providerSignature",
        "does not hold",
    );
    has(
        &names(&|one| one.agreement["permission"] = json!([])),
        "providerSignature",
        "altered after it was signed",
    );
    let reworded = names(&|one| drop(one.parts.insert(WORDS.to_owned(), json!(["allowed: everything"]))));
    has(
        &reworded,
        "providerSignature",
        "`urn:concordat:words` beside the agreement was altered after it was signed",
    );
    has(&reworded, "messages/1", "carries another `urn:concordat:words`");

    // Whoever has the exporter's key can seal a lie, but not sign for the others.
    let mut lie = good.clone();
    lie.agreement["permission"] = json!([]);
    lie.offer = Some(json!({"permission": []}));
    let lie = lie.sealed(&provider.key, &provider.kid).unwrap();
    let found = wrong(&lie, lie.write().as_bytes());
    has(&found, "consumerSignature", "altered after it was signed");
    has(&found, "messages/1", "carries another agreement");

    let revoked = dossier(&provider, true);
    let found = wrong(&revoked, revoked.write().as_bytes());
    has(&found, &format!("credentials/{CONSUMER}/0"), "was under revocation then");
}

/// A peer that signs no agreements: its message with its token stands for the signature, and is said to.
#[test]
fn a_signature_that_was_never_made_is_absent_and_the_message_stands_for_it() {
    let provider = party(PROVIDER);
    let mut unsigned = dossier(&provider, false);
    unsigned.consumer_signature = None;
    unsigned.messages[2].body = json!({"@type": "ContractAgreementVerificationMessage"});
    let unsigned = unsigned.sealed(&provider.key, &provider.kid).unwrap();
    let found = unsigned.check(unsigned.write().as_bytes());
    assert!(found.iter().all(|one| one.holds), "{found:?}");
    let absent: Vec<_> = found.iter().filter(|one| one.absent).collect();
    assert_eq!(absent.iter().map(|one| one.part.as_str()).collect::<Vec<_>>(), ["consumerSignature"]);
    assert!(
        absent[0]
            .text
            .contains("absent; what stands for it: ContractAgreementVerificationMessage of did:web:consumer")
    );
    // Without its token it stands for nothing.
    let mut bare = unsigned;
    bare.messages[2].token = None;
    let bare = bare.sealed(&provider.key, &provider.kid).unwrap();
    let found = wrong(&bare, bare.write().as_bytes());
    assert_eq!(found.len(), 1);
    assert!(
        found[0].1.contains("did not sign, and no ContractAgreementVerificationMessage of it with a token")
    );
}

#[test]
fn what_is_no_dossier_is_refused() {
    for bad in ["", "{}", "[]", "null", r#"{"format": "concordat-dossier/1"}"#] {
        assert!(Dossier::parse(bad.as_bytes()).is_err());
    }
}
