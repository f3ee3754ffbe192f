//! What every parser of others' bytes is put through: `./test fuzz` runs these with seeds and mutations of its own
//! (`tests/fuzz.rs`), the targets beside this file with libFuzzer. Nothing may panic, take long, or read something else from
//! what it has written itself.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::{Asset, ContractDefinition, Filter, PolicyDefinition};
use dataplane::live::{EventStream, Framing};
use dataplane::rows::{Form, read_all};
use governance::consent::Given;
use governance::levels::ServiceLevels;
use governance::personal::Personal;
use governance::rulebook::Rulebook;
use governance::ticket::{Introspection, Ticket, TrustGroup};
use http::header::LINK as LINK_HEADER;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use policy_engine::{Hierarchy, Policy, compacted, explain, lint, same_terms};
use protocol::wire;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use store::Store;
use store::disk::{Disk, DiskFile};
use trust::{
    Algorithm, DidDocument, Dossier, PrivateKey, Profile, Relationship, StatusList, credential, dcp,
    presentation, statement, token,
};

/// A body: it takes any bytes.
pub type Body = fn(&[u8]);

/// Every body by its name, with a seed that it takes.
pub const ALL: [(&str, Body, &str); 21] = [
    ("agreement", agreement, AGREEMENT),
    ("catalog", catalog_answer, CATALOG),
    ("configuration", configuration, CONFIGURATION),
    ("consent", consent, CONSENT),
    ("credential", jwt_credential, JWT),
    ("dataset", managed, ASSET),
    ("dcp", dcp_message, DCP),
    ("did_document", did_document, DOCUMENT),
    ("dossier", dossier, DOSSIER),
    ("events", events, EVENTS),
    ("filter", filter, FILTER),
    ("journal", journal, ""),
    ("link", link, LINK),
    ("message", message, MESSAGE),
    ("policy", policy, POLICY),
    ("presentation", jwt_presentation, JWT),
    ("rows", rows, ROWS),
    ("rulebook", rulebook, RULEBOOK),
    ("signed_credential", signed_credential, SUBJECT),
    ("token", jwt_token, JWT),
    ("turtle", turtle, TURTLE),
];

const AGREEMENT: &str = include_str!("seeds/agreement.json");
const ASSET: &str = include_str!("seeds/asset.json");
const CATALOG: &str = include_str!("seeds/catalog.json");
const CONFIGURATION: &str = include_str!("seeds/configuration.toml");
const CONSENT: &str = include_str!("seeds/consent.json");
const DCP: &str = include_str!("seeds/dcp.json");
const DOCUMENT: &str = include_str!("seeds/document.json");
const DOSSIER: &str = include_str!("seeds/dossier.json");
const EVENTS: &str = include_str!("seeds/events.txt");
const FILTER: &str = include_str!("seeds/filter.json");
const JWT: &str = include_str!("seeds/jwt.txt");
const LINK: &str = include_str!("seeds/link.txt");
const MESSAGE: &str = include_str!("seeds/message.json");
const POLICY: &str = include_str!("seeds/policy.json");
const ROWS: &str = include_str!("seeds/rows.txt");
const RULEBOOK: &str = include_str!("seeds/rulebook.json");
const SUBJECT: &str = include_str!("seeds/subject.json");
const TURTLE: &str = include_str!("seeds/turtle.ttl");

fn json(data: &[u8]) -> Option<Json> {
    wire::json(data).ok()
}

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

fn terms() -> &'static Hierarchy {
    static TERMS: OnceLock<Hierarchy> = OnceLock::new();
    TERMS.get_or_init(Hierarchy::shipped)
}

fn document() -> &'static DidDocument {
    static OWN: OnceLock<DidDocument> = OnceLock::new();
    OWN.get_or_init(|| {
        let json = serde_json::from_str(DOCUMENT).unwrap_or_default();
        DidDocument::parse(json, "did:web:a.example").unwrap()
    })
}

/// Terms: what is read can be told, written, and read again as the same.
pub fn policy(data: &[u8]) {
    let Some(json) = json(data) else { return };
    let _ = (compacted(&json), Policy::parse_odrl(&json), policy_engine::instant(&text(data)));
    let Ok(read) = Policy::parse(&json) else { return };
    let _ = (explain::policy(&read), lint(&read, Timestamp::UNIX_EPOCH, terms()));
    let written = Policy::parse(&read.write()).unwrap();
    assert!(same_terms(&read, &written), "{json}");
}

/// Agreements, offers and their service levels.
pub fn agreement(data: &[u8]) {
    let Some(json) = json(data) else { return };
    let _ = (wire::Agreement::parse(json.clone()), wire::Offer::parse(json.clone()));
    let _ = ServiceLevels::parse(json);
}

/// Messages of the protocol, compact, expanded or odd.
pub fn message(data: &[u8]) {
    let Some(json) = json(data) else { return };
    let normal = wire::normalise_message(json);
    read::<wire::CatalogRequestMessage>(&normal);
    read::<wire::ContractAgreementMessage>(&normal);
    read::<wire::ContractAgreementVerificationMessage>(&normal);
    read::<wire::ContractNegotiation>(&normal);
    read::<wire::ContractNegotiationError>(&normal);
    read::<wire::ContractNegotiationEventMessage>(&normal);
    read::<wire::ContractNegotiationTerminationMessage>(&normal);
    read::<wire::ContractOfferMessage>(&normal);
    read::<wire::ContractRequestMessage>(&normal);
    read::<wire::TransferCompletionMessage>(&normal);
    read::<wire::TransferError>(&normal);
    read::<wire::TransferProcess>(&normal);
    read::<wire::TransferRequestMessage>(&normal);
    read::<wire::TransferStartMessage>(&normal);
    read::<wire::TransferSuspensionMessage>(&normal);
    read::<wire::TransferTerminationMessage>(&normal);
    if let Ok(address) = serde_json::from_value::<wire::DataAddress>(normal) {
        let _ = (address.property("authorization"), serde_json::to_value(&address));
    }
}

fn read<T: wire::DspMessage>(json: &Json) {
    if let Ok(received) = wire::from_json::<T>(json.clone()) {
        let written = wire::to_json(&received.message, received.id.as_ref());
        assert!(wire::from_json::<T>(written).is_ok(), "what was written can be read: {json}");
    }
}

/// Catalogs and datasets of others.
pub fn catalog_answer(data: &[u8]) {
    let _ = wire::parse::<wire::Catalog>(data);
    let _ = wire::parse::<wire::Dataset>(data);
}

/// Resources of the management API.
pub fn managed(data: &[u8]) {
    let Some(json) = json(data) else { return };
    fn of<T: DeserializeOwned>(json: &Json) -> Option<T> {
        serde_json::from_value(json.clone()).ok()
    }
    let _ = (of::<ContractDefinition>(&json), of::<PolicyDefinition>(&json));
    if let Some(asset) = of::<Asset>(&json) {
        let description = catalog::Description::from_properties(&asset.properties);
        let _ = (catalog::lint::lint(&description), Personal::parse(json));
    }
}

/// Live data of a provider, in whatever pieces it comes.
pub fn events(data: &[u8]) {
    let (mut whole, mut in_pieces) = (VecDeque::new(), VecDeque::new());
    let mut stream = EventStream::default();
    if stream.push(data, &mut whole).is_err() {
        return;
    }
    let mut stream = EventStream::default();
    for piece in data.chunks(7) {
        stream.push(piece, &mut in_pieces).unwrap();
    }
    assert_eq!(whole, in_pieces);
    let written: Vec<u8> = whole.iter().flat_map(|event| Framing::EventStream.write(event)).collect();
    let mut again = VecDeque::new();
    EventStream::default().push(&written, &mut again).unwrap();
    assert_eq!(whole, again, "what is handed on is what came");
}

/// Where a peer says that the next page of its catalog is.
pub fn link(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(LINK_HEADER, value);
        }
    }
    let asked = "https://peer.example:8443/dsp/catalog/request";
    if let Ok(Some(next)) = connector::engine::next_page(&headers, asked) {
        assert!(next.starts_with("https://peer.example:8443/"), "nobody else is asked: {next}");
    }
}

/// Filters of a catalog, EDC's among them.
pub fn filter(data: &[u8]) {
    if let Some(Json::Array(filter)) = json(data) {
        let _ = Filter::parse(&filter);
    }
}

/// Descriptions in Turtle.
pub fn turtle(data: &[u8]) {
    let _ = catalog::turtle::read(&text(data));
    let _ = catalog::turtle::read_json_ld(&text(data));
    let _ = catalog::extent::read(&text(data));
}

/// DID documents, and DIDs.
pub fn did_document(data: &[u8]) {
    let did = text(data);
    let _ = (trust::did::document_url(&did), trust::did::key_document(&did), trust::did::web(&did));
    let Some(json) = json(data) else { return };
    if let Ok(document) = DidDocument::parse(json, "did:web:a.example") {
        let _ = (document.service("DataService"), document.thumbprints());
        for relationship in [Relationship::AssertionMethod, Relationship::CapabilityInvocation] {
            let _ = document.key(None, relationship);
            assert!(document.key(Some("did:web:b.example#k"), relationship).is_err(), "another's key");
        }
    }
}

/// Self-issued tokens and signed statements.
pub fn jwt_token(data: &[u8]) {
    let compact = text(data);
    if let Ok(claimed) = token::Claimed::read(&compact) {
        let held = claimed.verify(document(), "did:web:b", Timestamp::UNIX_EPOCH, token::MAX_LIFETIME);
        assert!(held.is_err(), "nobody has signed it");
    }
    let _ = (statement::author(&compact), statement::Claimed::read(&compact, "x+jwt", 64 * 1024));
    let _ = (
        trust::audit::open(&compact, document()),
        trust::members::open(&compact, document(), Timestamp::UNIX_EPOCH),
    );
}

/// Credentials of both models, and status lists.
pub fn jwt_credential(data: &[u8]) {
    let compact = text(data);
    let read = [credential::Claimed::read(&compact), credential::Claimed::read_list(&compact)];
    for claimed in read.into_iter().flatten() {
        assert!(claimed.verify(document(), Timestamp::UNIX_EPOCH).is_err(), "nobody has signed it");
    }
}

/// Who signs where only what is signed is looked at.
fn signer() -> &'static (PrivateKey, DidDocument) {
    static SIGNER: OnceLock<(PrivateKey, DidDocument)> = OnceLock::new();
    SIGNER.get_or_init(|| {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let document = DidDocument::of_node(DID, KID, key.public_jwk(), &[]);
        (key, document)
    })
}

const DID: &str = "did:web:a.example";
const KID: &str = "did:web:a.example#k";

/// What a signed credential or status list says; its bits come packed and may unpack to anything.
pub fn signed_credential(data: &[u8]) {
    let claims = match json(data) {
        Some(Json::Object(claims)) => claims,
        _ => {
            let list = format!("u{}", URL_SAFE_NO_PAD.encode(data));
            [("encodedList".to_owned(), Json::String(list))].into_iter().collect()
        }
    };
    let (key, document) = signer();
    let now = Timestamp::UNIX_EPOCH;
    for kind in ["MembershipCredential", "BitstringStatusListCredential", "StatusList2021Credential"] {
        for profile in Profile::ALL {
            let until = now.checked_add(jiff::SignedDuration::from_hours(1)).unwrap_or(now);
            let statement = credential::Statement {
                context: None,
                id: "urn:c",
                kind,
                subject: DID,
                claims: &claims,
                from: now,
                until,
                status: None,
            };
            let Ok(compact) = credential::issue(key, KID, DID, &statement, profile) else { continue };
            for read in [credential::Claimed::read(&compact), credential::Claimed::read_list(&compact)] {
                let Ok(credential) = read.and_then(|claimed| claimed.verify(document, now)) else { continue };
                let _ = (credential.status(), credential.schemas(), trust::status::ttl(&credential));
                if let Ok(list) = StatusList::of_credential(&credential) {
                    for entry in credential.status().unwrap_or_default() {
                        let _ = list.says(&entry);
                    }
                    let _ = (list.is_set(0), list.is_set(usize::MAX));
                }
            }
        }
    }
}

/// Presentations.
pub fn jwt_presentation(data: &[u8]) {
    let held =
        presentation::open(&serde_json::json!(text(data)), document(), "did:web:b", Timestamp::UNIX_EPOCH);
    assert!(held.is_err(), "nobody has signed it");
    // One that is signed, with anything in it.
    let (key, document) = signer();
    let to = presentation::Audience { holder: DID, verifier: "did:web:b", jti: "j" };
    for profile in Profile::ALL {
        let shown = [text(data)];
        if let Ok(compact) = presentation::make(key, KID, &to, &shown, profile, Timestamp::UNIX_EPOCH) {
            let _ =
                presentation::open(&serde_json::json!(compact), document, "did:web:b", Timestamp::UNIX_EPOCH);
        }
    }
}

/// Messages of the claims protocol.
pub fn dcp_message(data: &[u8]) {
    let Some(json) = json(data) else { return };
    let _ = dcp::parse::<dcp::CredentialMessage>(json.clone());
    let _ = dcp::parse::<dcp::CredentialOfferMessage>(json.clone());
    let _ = dcp::parse::<dcp::CredentialRequestMessage>(json.clone());
    let _ = dcp::parse::<dcp::PresentationQueryMessage>(json.clone());
    let _ = dcp::parse::<dcp::PresentationResponseMessage>(json);
}

/// Dossiers that others exported.
pub fn dossier(data: &[u8]) {
    let _ = Dossier::parse(data);
}

/// Rulebooks of authorities.
pub fn rulebook(data: &[u8]) {
    let Some(json) = json(data) else { return };
    if let Ok(read) = Rulebook::parse(json) {
        let _ = (read.digest(), read.credentials().count());
    }
}

/// Consents, tickets and trust groups of operators of personal data.
pub fn consent(data: &[u8]) {
    let Some(json) = json(data) else { return };
    let _ = (Given::parse(json.clone()), TrustGroup::parse(&json));
    if let Ok(answer) = serde_json::from_value::<Introspection>(json.clone()) {
        let _ = answer.identifiers("email");
    }
    if let Ok(ticket) = Ticket::parse(json) {
        let _ = ticket.check(&["https://a.example"], 0);
    }
}

/// Rows of data, whatever their form.
pub fn rows(data: &[u8]) {
    for form in [Form::Csv, Form::Json, Form::JsonLines, Form::GeoJson] {
        if let Ok(rows) = read_all(form, data, 100) {
            assert!(rows.len() <= 100);
            for row in &rows {
                let _ = dataplane::rows::geometry(row);
            }
        }
    }
}

/// The configuration of a node.
pub fn configuration(data: &[u8]) {
    let _ = connector::config::Config::parse(&text(data));
}

/// A journal as it is found at a start: torn, damaged or of another program.
pub fn journal(data: &[u8]) {
    let disk = Memory::default();
    let written = tokio::runtime::Builder::new_current_thread().build().and_then(|runtime| {
        runtime.block_on(async {
            let (store, _) = Store::on_disk(Box::new(disk.clone())).map_err(io::Error::other)?;
            let mut batch = store::Batch::new();
            batch.put("a", b"1".to_vec());
            store.commit(batch).await.map(|_| ()).map_err(io::Error::other)
        })
    });
    written.unwrap();
    disk.with(|files| {
        for file in files.values_mut() {
            // The first bytes say where and how; the others come in their place.
            let (at, rest) = data
                .split_first_chunk::<2>()
                .map_or((0, data), |(at, rest)| (usize::from(u16::from_be_bytes(*at)), rest));
            let at = at % (file.len() + 1);
            let end = (at + rest.len()).min(file.len());
            file.splice(at..end, rest.iter().copied());
        }
    });
    if let Ok((store, _)) = Store::on_disk(Box::new(disk)) {
        let _ = (store.get("a"), store.scan("", None, 10));
    }
}

/// A disk in memory.
#[derive(Debug, Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Memory {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
struct MemoryFile(Memory, String);

impl DiskFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.with(|files| files.entry(self.1.clone()).or_default().extend(bytes));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.with(|files| files.keys().cloned().collect()))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.with(|files| files.get(name).cloned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn append_to(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.with(|files| {
            files.entry(name.to_owned()).or_default();
        });
        Ok(Box::new(MemoryFile(self.clone(), name.to_owned())))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.with(|files| files.entry(name.to_owned()).or_default().truncate(length));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|files| {
            let content = files.remove(from).unwrap_or_default();
            files.insert(to.to_owned(), content);
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|files| files.remove(name));
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
}
