//! Which records exist, under which keys. The byte form and its version are in `store`.

pub mod aside;
mod federation;
pub mod form;
mod governance;
mod personal;
mod usage;

use std::collections::BTreeMap;

use catalog::Automation;
use jiff::Timestamp;
use protocol::negotiation::Negotiation;
use protocol::transfer::Transfer;
use protocol::wire::{Agreement, Offer, Parts};
use protocol::{Outgoing, Role};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use store::{Batch, CommitError, Store, StoreError, Versioned};

pub use self::federation::{
    AnswerKind, Crawl, DataRequest, DataRequestRecord, Membership, PageMark, RequestAnswer, Watcher,
};
pub use self::governance::{
    Accepted, Account, Attestation, Breach, MeasuredRecord, PeriodRecord, PeriodState, Remark, RulebookRecord,
};
pub use self::personal::{
    AccessOutcome, AccessRecord, Answered, ConsentRecord, Handed, HandedRecord, PersonRecord, ReleasedHead,
    ReleasedRecord, RequestRecord, StatementRecord, UnsureRecord, UntoldRecord,
};
pub use self::usage::{OpenUse, Running, Usage, Used};
use crate::acting::Actor;
use crate::http::management::Scope;

/// Keys of a kind begin with its prefix.
pub mod prefix {
    /// [`super::AccessRecord`], by operator, in the order in which they were asked for.
    pub const ACCESS: &str = "access/";
    /// [`super::Accepted`], by version and member; at the authority.
    pub const ACCEPTANCE: &str = "acceptance/";
    /// [`super::AgreementRecord`].
    pub const AGREEMENT: &str = "agreement/";
    /// [`super::ApiKey`].
    pub const API_KEY: &str = "api-key/";
    /// [`super::Attestation`], by requirement.
    pub const ATTESTATION: &str = "attestation/";
    /// The seals of the audit log (compact JWS), by the number of entries.
    pub const AUDIT_SEAL: &str = "audit-seal/";
    /// `catalog::Asset`.
    pub const ASSET: &str = "asset/";
    /// When the files that assets name were looked through for `[sources]`; one record.
    pub const ASSETS_ALLOWED: &str = "assets-allowed";
    /// When what is managed last changed; one record.
    pub const CATALOG_CHANGED: &str = "catalog-changed";
    /// [`super::HeldCredential`], by issuer and type.
    pub const CREDENTIAL: &str = "credential/";
    /// [`super::CredentialOffer`], by issuer.
    pub const CREDENTIAL_OFFER: &str = "credential-offer/";
    /// [`super::CredentialRequest`], by our id.
    pub const CREDENTIAL_REQUEST: &str = "credential-request/";
    /// [`super::ConsentRecord`], by its id.
    pub const CONSENT: &str = "consent/";
    /// This connector's UUID (MIM4 2021, 5.8); one record.
    pub const CONNECTOR_UUID: &str = "connector-uuid";
    /// `catalog::ContractDefinition`.
    pub const CONTRACT_DEFINITION: &str = "contract-definition/";
    /// [`super::Crawl`], by participant; this node's own datasets in the search index under its own DID.
    pub const CRAWL: &str = "crawl/";
    /// [`super::DataRequestRecord`], by id.
    pub const DATA_REQUEST: &str = "data-request/";
    /// [`super::DutyLedger`], by agreement.
    pub const DUTY: &str = "duty/";
    /// [`super::Event`], in commit order, chained.
    pub const EVENT: &str = "event/";
    /// [`super::HandedRecord`], by agreement, in the order in which they were written.
    pub const HANDED: &str = "handed/";
    /// [`super::Running`], by agreement and read, until it is written who was among the rows; what is left after a kill
    /// becomes [`UNSURE`].
    pub const HANDING: &str = "handing/";
    /// [`super::Invitation`], by holder.
    pub const INVITATION: &str = "invitation/";
    /// [`super::Issuance`], by our id.
    pub const ISSUANCE: &str = "issuance/";
    /// Our id of a holder's request, by holder and its id.
    pub const ISSUANCE_OF: &str = "issuance-of/";
    /// [`super::IssuedCredential`], by its place in the status list.
    pub const ISSUED: &str = "issued/";
    /// [`super::MeasuredRecord`], by agreement and period, in the order in which they were written.
    pub const MEASURED: &str = "measured/";
    /// [`super::Membership`], by authority.
    pub const MEMBERSHIP: &str = "membership/";
    /// `trust::MessageEvidence`, by our pid of the negotiation, in commit order.
    pub const MESSAGE: &str = "message/";
    /// [`super::NegotiationRecord`].
    pub const NEGOTIATION: &str = "negotiation/";
    /// [`super::OpenUse`], by dataset.
    pub const OPEN_USE: &str = "open-use/";
    /// [`super::OutboxEntry`].
    pub const OUTBOX: &str = "outbox/";
    /// [`super::Peer`].
    pub const PEER: &str = "peer/";
    /// Our pid for a peer's first message: makes those idempotent.
    pub const PEER_PROCESS: &str = "peer-process/";
    /// `config::PeerProfile`: as what a participant that this node knows was recognised, by its DID.
    pub const PEER_PROFILE: &str = "peer-profile/";
    /// [`super::PeriodRecord`], by agreement and number.
    pub const PERIOD: &str = "period/";
    /// [`super::PersonRecord`], by the name in the ledger.
    pub const PERSON: &str = "person/";
    /// `catalog::PolicyDefinition`.
    pub const POLICY_DEFINITION: &str = "policy-definition/";
    /// [`super::form::FormRecord`]; one record.
    pub const FORM: &str = "store-form";
    /// [`super::ProvenRecord`], by participant.
    pub const PROVEN: &str = "proven/";
    /// [`super::Running`], by agreement and read; what is left after a kill is settled at the next start.
    pub const READ: &str = "read/";
    /// `engine::broker::Remote`, by participant and dataset.
    pub const REMOTE: &str = "remote/";
    /// When a used token is too old anyway (seconds), by the digest of sender and `jti`.
    pub const REPLAY: &str = "replay/";
    /// [`super::ReleasedRecord`], by a hash of recipient, dataset and terms, then by the beginning of the group's interval.
    pub const RELEASED: &str = "released/";
    /// [`super::ReleasedHead`], by the same hash.
    pub const RELEASED_OF: &str = "released-of/";
    /// [`super::RulebookRecord`], by authority and version.
    pub const RULEBOOK: &str = "rulebook/";
    /// [`super::SecretRecord`], by its name.
    pub const SECRET: &str = "secret/";
    /// [`super::StatementRecord`], by agreement and id.
    pub const STATEMENT: &str = "statement/";
    /// `engine::Stated`, by agreement.
    pub const STATEMENTS: &str = "statements/";
    /// [`super::RequestRecord`], by its id.
    pub const SUBJECT_REQUEST: &str = "subject-request/";
    /// [`super::Trusted`], by DID.
    pub const TRUSTED: &str = "trusted/";
    /// [`super::TransferRecord`].
    pub const TRANSFER: &str = "transfer/";
    /// That a transfer begins as soon as it can, by our pid of the negotiation.
    pub const TRANSFER_WANTED: &str = "transfer-wanted/";
    /// The transfers of an agreement.
    pub const TRANSFER_OF: &str = "transfer-of/";
    /// That transfers of an agreement which were over are not kept any more.
    pub const TRANSFERS_DROPPED: &str = "transfers-dropped/";
    /// [`super::UndeliveredRecord`], by participant and message.
    pub const UNDELIVERED: &str = "undelivered/";
    /// [`super::UnsureRecord`], by agreement.
    pub const UNSURE: &str = "unsure/";
    /// [`super::UntoldRecord`], by the name in the ledger.
    pub const UNTOLD: &str = "untold/";
    /// [`super::Usage`].
    pub const USAGE: &str = "usage/";
    /// [`super::Used`], by its name on this node.
    pub const USED: &str = "used/";
    /// [`super::Usage`] of what is used, as this node metered it, by its name.
    pub const USED_USAGE: &str = "used-usage/";
    /// [`super::Watcher`], by participant.
    pub const WATCHER: &str = "watcher/";
}

/// Up to when used tokens had expired that are forgotten (seconds); one record.
pub const REPLAY_FORGOTTEN: &str = "replay-forgotten";

/// A negotiation, and what this node's side of it wants.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NegotiationRecord {
    /// The machine's state.
    pub negotiation: Negotiation,
    /// Provider: who answers.
    pub automation: Automation,
    /// Consumer: the terms asked for; an offer that permits all of them is accepted.
    pub wanted: Option<Offer>,
    /// The consumer's request for data that it answers, if it does.
    #[serde(default)]
    pub data_request: Option<String>,
    /// What the operator's program said with it.
    #[serde(default, skip_serializing_if = "Attached::is_empty")]
    pub attached: Attached,
}

/// What the operator's program said with a process for itself; never told to others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attached {
    /// Where events of the process go.
    pub callback_addresses: Vec<CallbackAddress>,
    /// As given.
    pub private_properties: serde_json::Map<String, serde_json::Value>,
    /// Where data was asked to go, as given; of a pushed transfer the machine has its own form.
    pub data_destination: serde_json::Map<String, serde_json::Value>,
    /// Consumer: in which format data is asked for as soon as the agreement is in force.
    pub transfer_type: Option<String>,
    /// The reference to the data was removed.
    pub forgotten: bool,
}

impl Attached {
    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where events of a process go (EDC's CallbackAddress).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallbackAddress {
    #[serde(rename = "@type", default = "callback_type")]
    kind: String,
    /// Whether it is part of a step. Events go out after the commit of their step, until they are taken, either way.
    #[serde(default)]
    pub transactional: bool,
    /// The address.
    pub uri: String,
    /// Which events: names, or what names begin with.
    pub events: Vec<String>,
    /// Name of the header with the credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_key: Option<String>,
    /// Name of the secret that is its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_code_id: Option<String>,
}

fn callback_type() -> String {
    "CallbackAddress".to_owned()
}

/// A transfer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TransferRecord {
    /// The machine's state.
    pub transfer: Transfer,
    /// Provider: the newest start message, for a consumer that lost it.
    pub last_start: Option<Outgoing>,
    /// What the operator's program said with it.
    #[serde(default, skip_serializing_if = "Attached::is_empty")]
    pub attached: Attached,
}

/// An agreement in force or ended, with the evidence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgreementRecord {
    /// As sent.
    pub agreement: Agreement,
    /// What stood beside it in its message and is agreed with it.
    #[serde(default, skip_serializing_if = "Parts::is_empty")]
    pub parts: Parts,
    /// The DIDs of parties that the agreement names otherwise, by that name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
    /// Our side.
    pub role: Role,
    /// The other party.
    pub peer: String,
    /// Its base address when the agreement was made.
    pub peer_address: String,
    /// The negotiation it came from.
    pub negotiation: String,
    /// The provider's signature.
    pub provider_signature: Option<String>,
    /// The consumer's signature.
    pub consumer_signature: Option<String>,
    /// Both parties' DID documents when the agreement was made, by DID.
    pub did_documents: BTreeMap<String, Json>,
    /// What the other party had shown then (a list of `trust::CredentialEvidence`), sealed by the vault under
    /// [`shown`].
    #[serde(default)]
    pub shown: Option<String>,
    /// Provider: who starts transfers under it.
    pub automation: Automation,
    /// It was made elsewhere and taken over.
    pub imported: bool,
    /// When it came into force here.
    pub concluded_at: Timestamp,
    /// Set when this side ended it.
    pub ended: Option<Ended>,
    /// Set when the other side says that it ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_there: Option<Ended>,
}

impl AgreementRecord {
    /// What was signed.
    #[must_use]
    pub const fn bound(&self) -> trust::Bound<'_> {
        trust::Bound { agreement: self.agreement.json(), parts: self.parts.as_map(), names: &self.names }
    }

    /// The DID of the party that signs in `role`.
    #[must_use]
    pub fn party(&self, role: trust::SignerRole) -> &str {
        self.bound().party(role).unwrap_or_default()
    }

    /// The consumer's DID.
    #[must_use]
    pub fn consumer(&self) -> &str {
        self.party(trust::SignerRole::Consumer)
    }

    /// The provider's DID.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.party(trust::SignerRole::Provider)
    }

    /// Its end, by whichever side was first; `None` where neither ended it.
    #[must_use]
    pub fn end(&self) -> Option<&Ended> {
        self.ended.iter().chain(&self.ended_there).min_by_key(|ended| ended.heard_at.unwrap_or(ended.at))
    }

    /// The agreement with all that stands beside it.
    #[must_use]
    pub fn whole(&self) -> Json {
        self.parts.with(&self.agreement)
    }

    /// What is agreed to by this name, inside the agreement or beside it.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&Json> {
        self.parts.find(&self.agreement, name)
    }
}

/// The end of an agreement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// When this node heard of it, where the other side ended it.
    #[serde(rename = "heardAt", default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Timestamp>,
}

/// What is recorded of the duties and prohibitions of an agreement.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DutyLedger {
    /// In the order in which it came.
    pub evidence: Vec<Evidence>,
    /// Duties that were not met in time and prohibitions that were infringed, by path, with when that was recorded.
    pub violated: BTreeMap<String, Timestamp>,
}

/// That something was done, or infringed: who says so, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The message's id, the same at both parties.
    pub id: String,
    /// JSON pointer of the duty or prohibition in the agreement.
    pub rule: String,
    /// Done, or infringed.
    pub claim: Claim,
    /// When, as stated.
    pub at: Timestamp,
    /// The participant who states it.
    pub by: String,
    /// In its own words.
    pub statement: String,
    /// When it was recorded here.
    pub recorded_at: Timestamp,
    /// For one's own statements: whether the other party has it.
    pub told: Told,
}

/// What a statement says of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Claim {
    /// A duty was done.
    Fulfilled,
    /// A prohibition was infringed.
    Infringed,
}

/// Whether the other party has a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Told {
    /// It could not be told; why.
    Not(String),
    /// It is being told.
    Pending,
    /// It has it.
    Yes,
}

/// A key of the management API.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiKey {
    /// Part of the key, and its name in paths.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// SHA-256 of the key, hex.
    pub digest: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A credential of this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldCredential {
    /// The type that says what it is.
    pub kind: String,
    /// All its types.
    #[serde(default)]
    pub types: Vec<String>,
    /// Who issued it.
    pub issuer: String,
    /// Until when it is valid.
    pub until: Option<Timestamp>,
    /// When it came.
    pub received_at: Timestamp,
    /// The compact JWT, sealed by the vault under the record's key.
    pub sealed: String,
    /// The same in the data model 1.1, where `sealed` is of 2.0 and the issuer gave both: verifiers differ in what they take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_v1: Option<String>,
}

/// What an issuer said that it would issue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CredentialOffer {
    /// Who.
    pub issuer: String,
    /// Types, or ids where it named only these.
    pub credentials: Vec<String>,
    /// When.
    pub received_at: Timestamp,
}

/// A request of this node for credentials.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CredentialRequest {
    /// Our id (`holderPid`).
    pub id: String,
    /// Whom it asked.
    pub issuer: String,
    /// For what.
    pub types: Vec<String>,
    /// `REQUESTED`, `RECEIVED`, `ISSUED` or `REJECTED`.
    pub status: String,
    /// Where the issuer tells how it stands.
    pub location: Option<String>,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// When it was made.
    pub at: Timestamp,
}

/// What another participant showed and this node checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProvenRecord {
    /// The credentials, sealed by the vault under the record's key.
    pub sealed: String,
}

/// Who may have credentials as soon as it asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    /// Who.
    pub holder: String,
    /// Of these types.
    pub types: Vec<String>,
    /// With these claims about it.
    pub claims: serde_json::Map<String, Json>,
    /// Since when.
    pub at: Timestamp,
}

/// A request to this node, as an issuer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issuance {
    /// Our id (`issuerPid`).
    pub id: String,
    /// Who asks.
    pub holder: String,
    /// Its id of the request.
    pub holder_pid: String,
    /// Ids of what it wants.
    pub wanted: Vec<String>,
    /// `RECEIVED`, `ISSUED` or `REJECTED`.
    pub status: String,
    /// When it came.
    pub at: Timestamp,
    /// The access token that came with it, which goes back with the answer; sealed by the vault under the record's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

/// A credential that this node issued.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedCredential {
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Of whom.
    pub holder: String,
    /// The role that it states, if it states one.
    #[serde(default)]
    pub role: Option<String>,
    /// Its place in the status list.
    pub index: usize,
    /// When it was issued.
    pub at: Timestamp,
    /// Until when it is valid.
    pub until: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
}

/// An issuer whose word counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trusted {
    /// Its DID.
    pub did: String,
    /// For credentials of these types.
    pub types: Vec<String>,
    /// Since when.
    pub since: Timestamp,
}

/// Another participant this node talked to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Peer {
    /// Its DID.
    pub did: String,
    /// Base address of its endpoints, as last found.
    pub address: String,
    /// When it last answered or asked.
    pub last_seen: Timestamp,
}

/// Which kind of process something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessKind {
    /// That a rulebook was accepted.
    Acceptance,
    /// An agreement, whose duties are reported.
    Agreement,
    /// An event for a program of the operator.
    Callback,
    /// The issuance of credentials.
    Issuance,
    /// Contract negotiation.
    Negotiation,
    /// The word that a status list has changed.
    Notice,
    /// A signed statement about an agreement.
    Statement,
    /// Transfer process.
    Transfer,
}

impl ProcessKind {
    /// As in keys, paths and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acceptance => "acceptance",
            Self::Agreement => "agreement",
            Self::Callback => "callback",
            Self::Issuance => "issuance",
            Self::Negotiation => "negotiation",
            Self::Notice => "notice",
            Self::Statement => "statement",
            Self::Transfer => "transfer",
        }
    }
}

/// A secret, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretRecord {
    /// By the vault, under its own key in the store.
    pub sealed: String,
    /// When it was last written.
    pub at: Timestamp,
}

/// A message that is to be delivered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Whose message it is.
    pub kind: ProcessKind,
    /// Our pid of the process.
    pub pid: String,
    /// To whom: the audience of the token.
    pub peer: String,
    /// The peer's base address.
    pub address: String,
    /// The message.
    pub message: Outgoing,
    /// When it was put here.
    pub since: Timestamp,
}

/// A message that was not delivered, and is kept so that it can be sent again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UndeliveredRecord {
    /// The message.
    pub entry: OutboxEntry,
    /// Why it was not delivered.
    pub reason: String,
    /// Whether the other side refused it; otherwise it was tried for too long.
    pub refused: bool,
    /// When.
    pub given_up_at: Timestamp,
}

/// A line of the audit log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What kind of event, for example `negotiation`, `transfer`, `agreement`, `refusal`, `stream`.
    pub kind: String,
    /// What it is about: our pid, an agreement or dataset id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The other participant, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// The state reached, for processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// In plain words.
    pub text: String,
    /// Who asked for it; `None` where this node acted by itself, or because a participant asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}

impl Event {
    /// An event of `kind`, by whoever the current task works for.
    #[must_use]
    pub fn new(kind: &str, at: Timestamp, text: impl Into<String>) -> Self {
        Self {
            at,
            kind: kind.to_owned(),
            subject: None,
            participant: None,
            state: None,
            text: text.into(),
            by: Actor::current(),
        }
    }

    /// About `subject`.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// With `participant`.
    #[must_use]
    pub fn with(mut self, participant: impl Into<String>) -> Self {
        self.participant = Some(participant.into());
        self
    }

    /// Having reached `state`.
    #[must_use]
    pub fn reached(mut self, state: impl Into<String>) -> Self {
        self.state = Some(state.into());
        self
    }
}

/// What the keys of everything of `of` under `prefix` begin with. An id may be any text, so it is escaped: `urn:x` and
/// `urn:x/y` have nothing in common.
#[must_use]
pub fn within(prefix: &str, of: &str) -> String {
    format!("{prefix}{}/", trust::did::segment(of))
}

/// The key of `id` under `prefix`, for kinds that nothing lies within.
#[must_use]
pub fn key(prefix: &str, id: &str) -> String {
    format!("{prefix}{id}")
}

/// The key of our pid for `peer`'s pid `theirs`.
#[must_use]
pub fn peer_process(kind: ProcessKind, peer: &str, theirs: &str) -> String {
    format!("{}{theirs}", within(&format!("{}{}/", prefix::PEER_PROCESS, kind.name()), peer))
}

/// Under which name the vault seals what the other party of an agreement had shown.
#[must_use]
pub fn shown(agreement: &str) -> String {
    format!("{}{agreement}#shown", prefix::AGREEMENT)
}

/// The key of a running read under an agreement.
#[must_use]
pub fn read(agreement: &str, id: &str) -> String {
    format!("{}{id}", within(prefix::READ, agreement))
}

/// The key of a running read of rows about persons.
#[must_use]
pub fn handing(agreement: &str, id: &str) -> String {
    format!("{}{id}", within(prefix::HANDING, agreement))
}

/// The key of what was told of a group: in the order of the beginnings of intervals, in seconds.
#[must_use]
pub fn released(name: &str, begin: i64, by: &str) -> String {
    // So that those before 1970 stand before the others.
    let place = begin.cast_unsigned() ^ (1 << 63);
    format!("{}{name}/{place:016x}/{by}", prefix::RELEASED)
}

/// When the interval of a group begins, by its key.
#[must_use]
pub fn released_at(prefix: &str, key: &str) -> Option<i64> {
    let place = u64::from_str_radix(key.strip_prefix(prefix)?.get(..16)?, 16).ok()?;
    Some((place ^ (1 << 63)).cast_signed())
}

/// The key of an access through an operator; with an empty id, what all keys of the operator begin with.
#[must_use]
pub fn access(operator: &str, id: &str) -> String {
    format!("{}{id}", within(prefix::ACCESS, operator))
}

/// The key of a statement about an agreement.
#[must_use]
pub fn statement(agreement: &str, id: &str) -> String {
    format!("{}{id}", within(prefix::STATEMENT, agreement))
}

/// What the keys of all transfers of an agreement begin with.
#[must_use]
pub fn transfers_of(agreement: &str) -> String {
    within(prefix::TRANSFER_OF, agreement)
}

/// The key of an outbox entry.
#[must_use]
pub fn outbox(message: &str) -> String {
    key(prefix::OUTBOX, message)
}

/// The key of a message that was given up.
#[must_use]
pub fn undelivered(entry: &OutboxEntry) -> String {
    format!("{}{}", within(prefix::UNDELIVERED, &entry.peer), entry.message.id)
}

/// The version in which records of a kind are written, where it is another than 1. A new version comes with a step in
/// [`form`] that brings the records of the one before to it.
const VERSIONS: [(&str, u8); 1] = [(prefix::TRANSFER_OF, 2)];

fn version_of(key: &str) -> u8 {
    VERSIONS.iter().find(|(prefix, _)| key.starts_with(prefix)).map_or(1, |(_, version)| *version)
}

/// A record as bytes, in its kind's version.
///
/// # Errors
/// The value has no JSON form.
pub fn encode<T: Serialize>(key: &str, value: &T) -> Result<Vec<u8>, StoreError> {
    store::encode(key, version_of(key), value)
}

/// Reads a record.
///
/// # Errors
/// Not in its kind's version, or not of this type.
pub fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, StoreError> {
    store::decode(key, version_of(key), bytes)
}

/// Reads a record with its version.
///
/// # Errors
/// The store failed or the record cannot be read.
pub fn load<T: DeserializeOwned>(store: &Store, key: &str) -> Result<Option<(T, u64)>, StoreError> {
    match store.get(key)? {
        Some(found) => Ok(Some((decode(key, &found.value)?, found.version))),
        None => Ok(None),
    }
}

/// Records that are in memory at once while all are looked at: some have half a megabyte.
const AT_ONCE: usize = 64;

/// What becomes of a record that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unreadable {
    /// It is set aside: the log names it, `concordat store aside` shows it, and the rest goes on.
    SetAside,
    /// It stops whoever reads.
    Stops,
}

/// Reads up to `limit` records under `prefix`, after the key `after`. Those that cannot be read are set aside: nothing
/// happens on their account. For what would be open without one of them there is [`whole`].
///
/// # Errors
/// The store failed.
pub fn list<T: DeserializeOwned>(
    store: &Store,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, T)>, StoreError> {
    page(after, limit, Unreadable::SetAside, |after, limit| store.scan(prefix, after, limit))
}

/// As [`list`], before the key `before` or from the end, the last key first.
///
/// # Errors
/// The store failed.
pub fn list_back<T: DeserializeOwned>(
    store: &Store,
    prefix: &str,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, T)>, StoreError> {
    page(before, limit, Unreadable::SetAside, |before, limit| store.scan_back(prefix, before, limit))
}

/// Records that `scan` finds beyond the key `after`, up to `limit` of them.
fn page<T: DeserializeOwned>(
    after: Option<&str>,
    limit: usize,
    unreadable: Unreadable,
    scan: impl Fn(Option<&str>, usize) -> Result<Vec<(String, Versioned)>, StoreError>,
) -> Result<Vec<(String, T)>, StoreError> {
    let mut after = after.map(str::to_owned);
    let mut records = Vec::new();
    // Until the page is full: one that is short is taken for the last.
    while records.len() < limit {
        let wanted = limit - records.len();
        let pairs = scan(after.as_deref(), wanted)?;
        let is_last = pairs.len() < wanted;
        let Some((last, _)) = pairs.last() else { break };
        after = Some(last.clone());
        for (key, found) in pairs.into_iter().filter(|(key, _)| key != form::FENCE) {
            match decode(&key, &found.value) {
                Ok(record) => records.push((key, record)),
                Err(error) if unreadable == Unreadable::Stops => return Err(error),
                Err(error) => tracing::error!(
                    key,
                    %error,
                    "a record cannot be read and is set aside; `concordat store aside` shows it"
                ),
            }
        }
        if is_last {
            break;
        }
    }
    Ok(records)
}

/// Reads every record under `prefix`, in the order of keys; as [`list`] does.
///
/// # Errors
/// The store failed.
pub fn all<T: DeserializeOwned>(store: &Store, prefix: &str) -> Result<Vec<T>, StoreError> {
    every(store, prefix, Unreadable::SetAside)
}

/// Up to `most` records under `prefix`, where one that cannot be read must not be passed over.
///
/// # Errors
/// The store failed or a record cannot be read.
pub fn first<T: DeserializeOwned>(store: &Store, prefix: &str, most: usize) -> Result<Vec<T>, StoreError> {
    let page = page(None, most, Unreadable::Stops, |after, limit| store.scan(prefix, after, limit))?;
    Ok(page.into_iter().map(|(_, one)| one).collect())
}

/// As [`all`], where one record that cannot be read must not be passed over.
///
/// # Errors
/// The store failed or a record cannot be read.
pub fn whole<T: DeserializeOwned>(store: &Store, prefix: &str) -> Result<Vec<T>, StoreError> {
    every(store, prefix, Unreadable::Stops)
}

fn every<T: DeserializeOwned>(
    store: &Store,
    prefix: &str,
    unreadable: Unreadable,
) -> Result<Vec<T>, StoreError> {
    let mut all = Vec::new();
    visit(store, prefix, unreadable, |_, one| {
        all.push(one);
        Ok::<_, StoreError>(())
    })?;
    Ok(all)
}

/// Some of the records under a prefix.
#[derive(Debug)]
pub struct Page<T> {
    /// In the order of keys.
    pub items: Vec<T>,
    /// Where the next page begins, if there may be one: the last key without the prefix of its kind.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Up to `limit` of what `pick` makes of the records of `kind` under `prefix`, after the key `kind` + `after`.
    ///
    /// # Errors
    /// The store failed, or `pick` did.
    pub fn of<R: DeserializeOwned, E: From<StoreError>>(
        store: &Store,
        (kind, prefix): (&str, &str),
        after: Option<&str>,
        limit: usize,
        mut pick: impl FnMut(R) -> Result<Option<T>, E>,
    ) -> Result<Self, E> {
        let mut after = after.map(|after| key(kind, after));
        let mut items = Vec::new();
        loop {
            let page = list::<R>(store, prefix, after.as_deref(), AT_ONCE)?;
            if page.is_empty() {
                return Ok(Self { items, next: None });
            }
            for (key, record) in page {
                items.extend(pick(record)?);
                if items.len() >= limit {
                    let next = key.strip_prefix(kind).map(str::to_owned);
                    return Ok(Self { items, next });
                }
                after = Some(key);
            }
        }
    }
}

/// Shows `see` every record under `prefix` with its key, in the order of keys, a few in memory at a time; as [`list`] does.
///
/// # Errors
/// The store failed, or `see` did.
pub fn each<T: DeserializeOwned, E: From<StoreError>>(
    store: &Store,
    prefix: &str,
    see: impl FnMut(String, T) -> Result<(), E>,
) -> Result<(), E> {
    visit(store, prefix, Unreadable::SetAside, see)
}

/// As [`each`], where one record that cannot be read must not be passed over.
///
/// # Errors
/// As there, or a record cannot be read.
pub fn each_of_whole<T: DeserializeOwned, E: From<StoreError>>(
    store: &Store,
    prefix: &str,
    see: impl FnMut(String, T) -> Result<(), E>,
) -> Result<(), E> {
    visit(store, prefix, Unreadable::Stops, see)
}

fn visit<T: DeserializeOwned, E: From<StoreError>>(
    store: &Store,
    prefix: &str,
    unreadable: Unreadable,
    mut see: impl FnMut(String, T) -> Result<(), E>,
) -> Result<(), E> {
    let mut after: Option<String> = None;
    loop {
        let page = page::<T>(after.as_deref(), AT_ONCE, unreadable, |after, limit| {
            store.scan(prefix, after, limit)
        })?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, one) in page {
            see(key, one)?;
        }
    }
}

/// Every catalog is read anew: what was kept of them is gone.
///
/// # Errors
/// The store failed.
pub async fn forget_crawls(store: &Store) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    for crawl in all::<Crawl>(store, prefix::CRAWL)? {
        let key = key(prefix::CRAWL, &trust::did::segment(&crawl.peer));
        let anew = Crawl { pages: Vec::new(), seen: None, tried: Timestamp::UNIX_EPOCH, ..crawl };
        put(&mut batch, key, &anew)?;
    }
    store.commit(batch).await.map(|_| ())
}

/// Adds a write of `record` to `batch`.
///
/// # Errors
/// The record has no JSON form.
pub fn put<T: Serialize>(batch: &mut Batch, key: impl Into<String>, record: &T) -> Result<(), StoreError> {
    let key = key.into();
    let bytes = encode(&key, record)?;
    batch.put(key, bytes);
    Ok(())
}

/// Adds an audit event to `batch`.
///
/// # Errors
/// The event has no JSON form.
pub fn append_event(batch: &mut Batch, event: &Event) -> Result<(), StoreError> {
    batch.chain(prefix::EVENT, encode(prefix::EVENT, event)?);
    Ok(())
}

/// An entry of the audit log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its key in the store.
    pub key: String,
    /// The link of the chain.
    pub link: store::chain::Link,
    /// What happened.
    pub event: Event,
}

/// Up to `limit` entries of the audit log, after the key `after`.
///
/// # Errors
/// The store failed or an entry cannot be read.
pub fn events(store: &Store, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, StoreError> {
    let pairs = store.scan(prefix::EVENT, after, limit)?;
    let entry = |(key, found): (String, Versioned)| {
        let (link, value) = store::chain::unchain(&found.value)
            .ok_or_else(|| StoreError::Record { key: key.clone(), reason: "it has no link".to_owned() })?;
        Ok(Entry { link: *link, event: decode(&key, value)?, key })
    };
    pairs.into_iter().map(entry).collect()
}
