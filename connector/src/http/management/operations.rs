//! Every operation of the API, once: what it is for, who may call it, which documents go in and out. The scopes are
//! enforced from this table, and the OpenAPI document ([`super::openapi`]) is made of it.

use catalog::{Asset, ContractDefinition, PolicyDefinition};
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

use super::discovery::Whom;
use super::processes::{self, ContractRequest, TransferRequest};
use super::resources::{Ask, PlanRequest};
use super::secrets::Secret;
use super::views::Query;
use super::{
    authority, credentials, deliveries, federation, identity, keys, levels, mim, personal, retirements,
    rulebook, store, trusted, uses,
};
use crate::engine::{Statement, Wish};
use crate::search::Question;

/// What a key allows; each includes the ones before it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read the data that this node uses, through the gateway.
    Consume,
    /// Look.
    Read,
    /// Negotiate, transfer, read data.
    Operate,
    /// Offer and withdraw, import agreements, manage keys.
    Admin,
}

/// One operation below `/v4` (and `/v3`, where `in_v3`).
#[derive(Debug)]
pub(super) struct Operation {
    pub method: Method,
    pub path: &'static str,
    pub scope: Scope,
    pub summary: &'static str,
    /// The schema of the body: that of the type which the handler reads.
    pub input: Option<Body>,
    /// Parameters of the address, by their types in JSON Schema.
    pub parameters: &'static [(&'static str, &'static str)],
    /// Schema of the answer.
    pub output: Output,
    pub in_v3: bool,
}

/// The schema of a type.
pub(super) type Body = fn(&mut SchemaGenerator) -> Schema;

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Output {
    /// A list of documents.
    List(&'static str),
    /// Nothing (204).
    Nothing,
    /// One document.
    One(&'static str),
    /// JSON that EDC has no schema for, or a stream.
    Other(&'static str),
}

const fn op(
    method: Method,
    path: &'static str,
    scope: Scope,
    summary: &'static str,
    input: Option<Body>,
    output: Output,
) -> Operation {
    Operation { method, path, scope, summary, input, parameters: &[], output, in_v3: true }
}

const fn ours(
    method: Method,
    path: &'static str,
    scope: Scope,
    summary: &'static str,
    media_type: &'static str,
) -> Operation {
    Operation {
        method,
        path,
        scope,
        summary,
        input: None,
        parameters: &[],
        output: Other(media_type),
        in_v3: false,
    }
}

/// As [`ours`], with nothing to answer.
const fn done(method: Method, path: &'static str, scope: Scope, summary: &'static str) -> Operation {
    Operation { method, path, scope, summary, input: None, parameters: &[], output: Nothing, in_v3: false }
}

/// The operation with a body.
const fn taking(mut operation: Operation, body: Body) -> Operation {
    operation.input = Some(body);
    operation
}

/// The operation with parameters of its address.
const fn asking(mut operation: Operation, parameters: &'static [(&'static str, &'static str)]) -> Operation {
    operation.parameters = parameters;
    operation
}

/// Any object.
type Object = Map<String, Value>;

/// A page of a list.
const PAGES: &[(&str, &str)] = &[("after", "string"), ("limit", "integer")];

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const DELETE: Method = Method::DELETE;
const JSON: &str = "application/json";

use Output::{List, Nothing, One, Other};
use Scope::{Admin, Operate, Read};

/// All of them.
pub(super) const OPERATIONS: &[Operation] = &[
    op(POST, "/assets", Admin, "Make an asset", Some(of::<Asset>), One("id-response")),
    op(PUT, "/assets", Admin, "Replace an asset", Some(of::<Asset>), Nothing),
    op(POST, "/assets/request", Read, "Query assets", Some(of::<Query>), List("asset")),
    op(PUT, "/assets/{id}", Admin, "Replace it", Some(of::<Asset>), Nothing),
    op(GET, "/assets/{id}", Read, "One asset", None, One("asset")),
    op(DELETE, "/assets/{id}", Admin, "Remove an asset", None, Nothing),
    op(
        POST,
        "/policydefinitions",
        Admin,
        "Make a policy definition",
        Some(of::<PolicyDefinition>),
        One("id-response"),
    ),
    op(
        PUT,
        "/policydefinitions",
        Admin,
        "Replace a policy definition",
        Some(of::<PolicyDefinition>),
        Nothing,
    ),
    op(
        POST,
        "/policydefinitions/request",
        Read,
        "Query policy definitions",
        Some(of::<Query>),
        List("policy-definition"),
    ),
    op(GET, "/policydefinitions/{id}", Read, "One policy definition", None, One("policy-definition")),
    op(PUT, "/policydefinitions/{id}", Admin, "Replace it", Some(of::<PolicyDefinition>), Nothing),
    op(
        POST,
        "/policydefinitions/{id}/validate",
        Read,
        "Whether all of it is understood",
        None,
        One("policy-validation-result"),
    ),
    op(
        POST,
        "/policydefinitions/{id}/evaluationplan",
        Read,
        "How it is evaluated",
        Some(of::<PlanRequest>),
        One("policy-evaluation-plan"),
    ),
    op(DELETE, "/policydefinitions/{id}", Admin, "Remove a policy definition", None, Nothing),
    op(
        POST,
        "/contractdefinitions",
        Admin,
        "Make a contract definition",
        Some(of::<ContractDefinition>),
        One("id-response"),
    ),
    op(
        PUT,
        "/contractdefinitions",
        Admin,
        "Replace a contract definition",
        Some(of::<ContractDefinition>),
        Nothing,
    ),
    op(
        POST,
        "/contractdefinitions/request",
        Read,
        "Query contract definitions",
        Some(of::<Query>),
        List("contract-definition"),
    ),
    op(GET, "/contractdefinitions/{id}", Read, "One contract definition", None, One("contract-definition")),
    op(PUT, "/contractdefinitions/{id}", Admin, "Replace it", Some(of::<ContractDefinition>), Nothing),
    op(DELETE, "/contractdefinitions/{id}", Admin, "Remove a contract definition", None, Nothing),
    op(POST, "/catalog/request", Read, "Another participant's catalog", Some(of::<Ask>), Other(JSON)),
    op(POST, "/catalog/dataset/request", Read, "Another participant's dataset", Some(of::<Ask>), Other(JSON)),
    op(
        POST,
        "/contractnegotiations",
        Operate,
        "Ask for a contract",
        Some(of::<ContractRequest>),
        One("id-response"),
    ),
    op(
        POST,
        "/contractnegotiations/request",
        Read,
        "Query negotiations",
        Some(of::<Query>),
        List("contract-negotiation"),
    ),
    op(GET, "/contractnegotiations/{id}", Read, "One negotiation", None, One("contract-negotiation")),
    op(DELETE, "/contractnegotiations/{id}", Operate, "Remove one that came to nothing", None, Nothing),
    op(GET, "/contractnegotiations/{id}/state", Read, "Its state", None, Other(JSON)),
    op(GET, "/contractnegotiations/{id}/agreement", Read, "Its agreement", None, One("contract-agreement")),
    op(POST, "/contractnegotiations/{id}/terminate", Operate, "End it", Some(of::<processes::Why>), Nothing),
    taking(
        op(
            POST,
            "/contractnegotiations/offer",
            Operate,
            "Offer to a participant that did not ask",
            None,
            One("id-response"),
        ),
        of::<processes::Proposal>,
    ),
    op(
        POST,
        "/contractnegotiations/{id}/approve",
        Operate,
        "Say yes to what waits",
        None,
        One("contract-negotiation"),
    ),
    taking(
        op(
            POST,
            "/contractnegotiations/{id}/move/{name}",
            Operate,
            "Make one move",
            None,
            One("contract-negotiation"),
        ),
        of::<processes::Terms>,
    ),
    op(
        POST,
        "/contractagreements/request",
        Read,
        "Query agreements",
        Some(of::<Query>),
        List("contract-agreement"),
    ),
    op(GET, "/contractagreements/{id}", Read, "One agreement", None, One("contract-agreement")),
    op(
        GET,
        "/contractagreements/{id}/negotiation",
        Read,
        "Its negotiation",
        None,
        One("contract-negotiation"),
    ),
    op(GET, "/contractagreements/{id}/dossier", Read, "Everything that proves it", None, Other(JSON)),
    op(GET, "/contractagreements/{id}/duties", Read, "Its duties: due, done, violated", None, Other(JSON)),
    taking(
        op(
            POST,
            "/contractagreements/{id}/duties",
            Operate,
            "State that a duty was done or a prohibition infringed",
            None,
            Other(JSON),
        ),
        of::<Statement>,
    ),
    op(GET, "/duties", Read, "The duties of every agreement in force", None, Other(JSON)),
    taking(
        op(
            POST,
            "/contractagreements/{id}/end",
            Operate,
            "End it: data stops at once",
            None,
            One("contract-agreement"),
        ),
        of::<processes::Why>,
    ),
    taking(
        op(
            POST,
            "/contractagreements/import",
            Admin,
            "Take over one made elsewhere",
            None,
            One("contract-agreement"),
        ),
        of::<processes::ImportRequest>,
    ),
    op(POST, "/transferprocesses", Operate, "Ask for data", Some(of::<TransferRequest>), One("id-response")),
    op(
        POST,
        "/transferprocesses/request",
        Read,
        "Query transfers",
        Some(of::<Query>),
        List("transfer-process"),
    ),
    op(GET, "/transferprocesses/{id}", Read, "One transfer", None, One("transfer-process")),
    op(GET, "/transferprocesses/{id}/state", Read, "Its state", None, Other(JSON)),
    op(
        POST,
        "/transferprocesses/{id}/deprovision",
        Operate,
        "Remove what was made ready for it",
        None,
        Nothing,
    ),
    op(POST, "/transferprocesses/{id}/suspend", Operate, "Pause it", Some(of::<processes::Why>), Nothing),
    op(POST, "/transferprocesses/{id}/resume", Operate, "Let it run", None, Nothing),
    op(POST, "/transferprocesses/{id}/complete", Operate, "All was transferred", None, Nothing),
    op(POST, "/transferprocesses/{id}/terminate", Operate, "End it", Some(of::<processes::Why>), Nothing),
    op(
        POST,
        "/edrs",
        Operate,
        "Ask for a contract; the transfer begins with it",
        Some(of::<ContractRequest>),
        One("id-response"),
    ),
    op(DELETE, "/edrs/{id}", Operate, "Forget where to read", None, Nothing),
    op(
        POST,
        "/edrs/{id}/refresh",
        Operate,
        "Where to read, with the token that counts now",
        None,
        Other(JSON),
    ),
    op(POST, "/edrs/request", Read, "Transfers that are read now", Some(of::<Query>), Other(JSON)),
    op(GET, "/edrs/{id}/dataaddress", Operate, "Where to read, with the token", None, Other(JSON)),
    op(POST, "/secrets", Admin, "Keep a secret for an upstream", Some(of::<Secret>), One("id-response")),
    op(PUT, "/secrets", Admin, "Change a secret", Some(of::<Secret>), Nothing),
    op(GET, "/secrets/{id}", Admin, "A secret", None, One("secret")),
    op(DELETE, "/secrets/{id}", Admin, "Forget a secret", None, Nothing),
    op(
        POST,
        "/connectordiscovery/dspversionparams",
        Read,
        "How a participant is talked to",
        Some(of::<Whom>),
        Other(JSON),
    ),
    op(
        POST,
        "/protocol-versions/request",
        Read,
        "The versions that a participant speaks",
        Some(of::<Whom>),
        Other(JSON),
    ),
    op(GET, "/dataplanes", Read, "The data plane of this node", None, Other(JSON)),
    taking(
        op(POST, "/dataplanes", Admin, "Refused: this node reads data itself", None, Other(JSON)),
        of::<Object>,
    ),
    op(DELETE, "/dataplanes/{id}", Admin, "Refused: this node reads data itself", None, Nothing),
    op(
        POST,
        "/catalogs/request",
        Read,
        "The catalogs that this node has read",
        Some(of::<Query>),
        Other(JSON),
    ),
    op(POST, "/catalog/query", Read, "The catalogs that this node has read", Some(of::<Query>), Other(JSON)),
    taking(
        op(POST, "/contractagreements/retirements", Operate, "End an agreement", None, Nothing),
        of::<retirements::Retirement>,
    ),
    op(
        POST,
        "/contractagreements/retirements/request",
        Read,
        "Query the agreements that are ended",
        Some(of::<Query>),
        Other(JSON),
    ),
    op(
        DELETE,
        "/contractagreements/retirements/{id}",
        Operate,
        "Refused: what is over stays so",
        None,
        Nothing,
    ),
    ours(GET, "/peers", Read, "Participants: members of the data spaces, and others this node knows", JSON),
    ours(POST, "/peers/check", Operate, "Ask everybody now whether they answer", JSON),
    taking(
        ours(POST, "/peers/refresh", Operate, "Ask who the members are, and read catalogs now", JSON),
        of::<federation::Refresh>,
    ),
    taking(
        ours(POST, "/offers", Read, "The offers for a dataset that a participant sees", JSON),
        of::<federation::As>,
    ),
    taking(ours(POST, "/search", Read, "Search all catalogs that this node knows", JSON), of::<Question>),
    ours(GET, "/datarequests", Read, "Requests for data: this node's, and those of others", JSON),
    taking(
        ours(POST, "/datarequests", Admin, "Ask all who may see it for data that nobody offers", JSON),
        of::<Wish>,
    ),
    done(DELETE, "/datarequests/{id}", Admin, "Take a request back"),
    taking(
        ours(POST, "/datarequests/offer", Operate, "Answer somebody's request with an offer", JSON),
        of::<federation::Answer>,
    ),
    taking(
        done(POST, "/datarequests/refuse", Operate, "Answer somebody's request with no"),
        of::<federation::Answer>,
    ),
    op(GET, "/opendata", Read, "How often open datasets were read", None, Other(JSON)),
    ours(GET, "/transferprocesses/{id}/data", Operate, "The data itself", "application/octet-stream"),
    ours(
        GET,
        "/transferprocesses/{id}/data/{path}",
        Operate,
        "What is below the data's address",
        "application/octet-stream",
    ),
    ours(
        GET,
        "/contractagreements/{id}/levels",
        Read,
        "What an agreement promises, and what was attained",
        JSON,
    ),
    taking(
        ours(POST, "/contractagreements/{id}/levels/{period}/dispute", Operate, "Dispute a period", JSON),
        of::<levels::Dispute>,
    ),
    taking(
        ours(
            POST,
            "/contractagreements/{id}/levels/{period}/waive",
            Operate,
            "Waive a level that was missed",
            JSON,
        ),
        of::<levels::Waiver>,
    ),
    ours(GET, "/mim", Read, "The node examines itself by the cities' mechanisms", JSON),
    taking(
        ours(
            PUT,
            "/mim/attestations",
            Admin,
            "Whoever holds the key answers for a requirement in a role",
            JSON,
        ),
        of::<mim::Attesting>,
    ),
    ours(GET, "/compliance", Read, "Whether agreements in force are kept", JSON),
    ours(
        GET,
        "/contractagreements/{id}/compliance",
        Read,
        "Whether an agreement is kept, with the evidence",
        JSON,
    ),
    ours(GET, "/contractagreements/{id}/compliance/peer", Read, "What the other party says of that", JSON),
    ours(
        GET,
        "/contractagreements/{id}/match",
        Read,
        "This node's log of an agreement against the other node's",
        JSON,
    ),
    ours(GET, "/rulebooks", Read, "The rulebooks that this node knows", JSON),
    taking(ours(POST, "/rulebooks", Admin, "As the authority: publish the next version", JSON), of::<Object>),
    taking(
        ours(POST, "/rulebooks/fetch", Operate, "Ask an authority for its rulebook", JSON),
        of::<rulebook::Of>,
    ),
    taking(ours(POST, "/rulebooks/accept", Admin, "Accept a version", JSON), of::<rulebook::Which>),
    ours(GET, "/rulebooks/check", Read, "Offers and agreements that do not fit", JSON),
    ours(GET, "/rulebooks/acceptances", Read, "As the authority: who accepted what", JSON),
    ours(GET, "/personal/consents", Admin, "Consents in the ledger", JSON),
    ours(GET, "/personal/requests", Admin, "What persons ask, with the deadlines", JSON),
    ours(GET, "/personal/requests/{id}", Admin, "One request, with the person's own words", JSON),
    taking(
        ours(POST, "/personal/requests/{id}/answer", Admin, "Answer a person's request", JSON),
        of::<personal::HowAnswered>,
    ),
    taking(
        ours(
            POST,
            "/personal/requests/{id}/prolong",
            Admin,
            "Take three months for a person's request",
            JSON,
        ),
        of::<personal::Why>,
    ),
    asking(
        ours(GET, "/personal/accesses", Admin, "Accesses through personal data operators", JSON),
        &[("operator", "string"), ("service", "string"), ("after", "string"), ("limit", "integer")],
    ),
    ours(
        GET,
        "/contractagreements/{id}/contract-token",
        Operate,
        "Proof of an agreement for request tickets",
        JSON,
    ),
    asking(
        ours(GET, "/personal/deletions", Operate, "What must be deleted, here and at others", JSON),
        PAGES,
    ),
    asking(
        ours(
            GET,
            "/contractagreements/{id}/statements",
            Operate,
            "Signed statements about an agreement",
            JSON,
        ),
        PAGES,
    ),
    taking(
        done(POST, "/contractagreements/{id}/deletions", Operate, "State that something was deleted"),
        of::<personal::Confirmation>,
    ),
    ours(GET, "/uses", Read, "Shared datasets that this node uses", JSON),
    ours(GET, "/uses/{name}", Read, "One of them", JSON),
    taking(ours(PUT, "/uses/{name}", Operate, "Use a dataset under a name", JSON), of::<uses::Begin>),
    done(DELETE, "/uses/{name}", Operate, "Use it no more"),
    ours(GET, "/identity", Read, "Who this node is", JSON),
    taking(
        ours(POST, "/identity/rotate", Admin, "Let a new key take the place of the others", JSON),
        of::<identity::Wish>,
    ),
    asking(
        ours(
            GET,
            "/events",
            Read,
            "Every audit event as it happens, resumable by Last-Event-ID",
            "text/event-stream",
        ),
        PAGES,
    ),
    asking(ours(GET, "/events/log", Read, "The audit log", JSON), PAGES),
    done(POST, "/certificates/reload", Admin, "Read certificates and authorities anew"),
    asking(ours(GET, "/audit/entries", Read, "The audit log with the links of its chain", JSON), PAGES),
    asking(
        ours(GET, "/audit/seals", Read, "This node's seals of the audit log", JSON),
        &[("after", "integer"), ("limit", "integer")],
    ),
    ours(GET, "/store/checkpoint", Read, "How far the checkpoint of the journal is that is being made", JSON),
    ours(POST, "/store/checkpoint", Admin, "Fold the journal into a signed checkpoint", JSON),
    ours(GET, "/store/aside", Admin, "Records that cannot be read and are set aside", JSON),
    taking(done(POST, "/store/aside/remove", Admin, "Remove a record that is set aside"), of::<store::Wish>),
    ours(GET, "/peers/{did}", Read, "One participant, what it speaks, and what is loosened for it", JSON),
    asking(
        ours(
            GET,
            "/deliveries",
            Read,
            "Messages that others do not have: waiting, given up or refused",
            JSON,
        ),
        &[("peer", "string"), ("after", "string"), ("limit", "integer")],
    ),
    taking(
        ours(
            POST,
            "/deliveries/again",
            Operate,
            "Send again everything that was given up for a participant",
            JSON,
        ),
        of::<deliveries::Peer>,
    ),
    done(POST, "/deliveries/{id}/again", Operate, "Send again a message that was given up"),
    done(DELETE, "/deliveries/{id}", Operate, "Forget a message that was given up"),
    ours(GET, "/apikeys", Admin, "The keys of this API", JSON),
    taking(ours(POST, "/apikeys", Admin, "Make a key; it is shown once", JSON), of::<keys::Wish>),
    done(DELETE, "/apikeys/{id}", Admin, "Revoke a key"),
    ours(GET, "/credentials", Read, "This node's credentials", JSON),
    ours(GET, "/credentials/{issuer}/{type}", Read, "One credential, as its issuer signed it", JSON),
    done(DELETE, "/credentials/{issuer}/{type}", Admin, "Forget a credential"),
    ours(GET, "/credentialoffers", Read, "What issuers said that this node can ask for", JSON),
    ours(GET, "/credentialrequests", Read, "This node's requests for credentials", JSON),
    taking(
        ours(POST, "/credentialrequests", Admin, "Ask an issuer for credentials", JSON),
        of::<credentials::Wish>,
    ),
    ours(GET, "/credentialrequests/{id}", Read, "One request", JSON),
    taking(
        ours(
            POST,
            "/tokens",
            Admin,
            "A self-issued ID token for an audience, which may ask for the credential types named",
            JSON,
        ),
        of::<credentials::TokenWish>,
    ),
    ours(GET, "/authority/requests", Read, "Requests for credentials of this authority", JSON),
    taking(
        ours(POST, "/authority/requests/{id}/approve", Admin, "Issue what was asked for", JSON),
        of::<authority::Claims>,
    ),
    taking(ours(POST, "/authority/requests/{id}/reject", Admin, "Refuse it", JSON), of::<authority::Why>),
    ours(GET, "/authority/invitations", Read, "Who gets credentials as soon as it asks", JSON),
    taking(
        ours(POST, "/authority/invitations", Admin, "Let somebody have credentials, and tell it so", JSON),
        of::<authority::Invited>,
    ),
    ours(GET, "/authority/issued", Read, "Credentials that this authority issued", JSON),
    taking(ours(POST, "/authority/issued/{id}/revoke", Admin, "Take one back", JSON), of::<authority::Why>),
    ours(GET, "/trustedissuers", Read, "Whose word counts for which credentials", JSON),
    taking(ours(POST, "/trustedissuers", Admin, "Let an issuer's word count", JSON), of::<trusted::Wish>),
    done(DELETE, "/trustedissuers/{did}", Admin, "Let it count no more"),
];

/// The scope that a call needs, by the path that matched, with its version. What is not in the table needs most.
pub(super) fn needed(method: &Method, matched: &str) -> Scope {
    let versions = ["/v4alpha", "/v4beta", "/v4", "/v3", "/v2", "/v1alpha"];
    let path = versions.iter().find_map(|version| matched.strip_prefix(version)).unwrap_or(matched);
    // HEAD reads what GET reads.
    let method = if *method == Method::HEAD { &GET } else { method };
    OPERATIONS.iter().find(|one| one.method == *method && one.path == path).map_or(Admin, |one| one.scope)
}
