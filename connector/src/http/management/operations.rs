//! Every operation of the API, once: what it is for, who may call it, which documents go in and out. The scopes are
//! enforced from this table, and the OpenAPI document is made of it.

use http::Method;
use serde_json::{Map, Value, json};

/// What a key allows; each includes the ones before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, clap::ValueEnum,
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
    /// Schema of the body, a file of `schemas/management-v4` without `-schema.json`.
    pub input: Option<&'static str>,
    /// Schema of the answer.
    pub output: Output,
    pub in_v3: bool,
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
    input: Option<&'static str>,
    output: Output,
) -> Operation {
    Operation { method, path, scope, summary, input, output, in_v3: true }
}

const fn ours(
    method: Method,
    path: &'static str,
    scope: Scope,
    summary: &'static str,
    media_type: &'static str,
) -> Operation {
    Operation { method, path, scope, summary, input: None, output: Other(media_type), in_v3: false }
}

/// As [`ours`], with nothing to answer.
const fn done(method: Method, path: &'static str, scope: Scope, summary: &'static str) -> Operation {
    Operation { method, path, scope, summary, input: None, output: Nothing, in_v3: false }
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const DELETE: Method = Method::DELETE;
const JSON: &str = "application/json";

use Output::{List, Nothing, One, Other};
use Scope::{Admin, Operate, Read};

/// All of them.
pub(super) const OPERATIONS: &[Operation] = &[
    op(POST, "/assets", Admin, "Make an asset", Some("asset"), One("id-response")),
    op(PUT, "/assets", Admin, "Replace an asset", Some("asset"), Nothing),
    op(POST, "/assets/request", Read, "Query assets", Some("query-spec"), List("asset")),
    op(PUT, "/assets/{id}", Admin, "Replace it", Some("asset"), Nothing),
    op(GET, "/assets/{id}", Read, "One asset", None, One("asset")),
    op(DELETE, "/assets/{id}", Admin, "Remove an asset", None, Nothing),
    op(
        POST,
        "/policydefinitions",
        Admin,
        "Make a policy definition",
        Some("policy-definition"),
        One("id-response"),
    ),
    op(PUT, "/policydefinitions", Admin, "Replace a policy definition", Some("policy-definition"), Nothing),
    op(
        POST,
        "/policydefinitions/request",
        Read,
        "Query policy definitions",
        Some("query-spec"),
        List("policy-definition"),
    ),
    op(GET, "/policydefinitions/{id}", Read, "One policy definition", None, One("policy-definition")),
    op(PUT, "/policydefinitions/{id}", Admin, "Replace it", Some("policy-definition"), Nothing),
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
        Some("policy-evaluation-plan-request"),
        One("policy-evaluation-plan"),
    ),
    op(DELETE, "/policydefinitions/{id}", Admin, "Remove a policy definition", None, Nothing),
    op(
        POST,
        "/contractdefinitions",
        Admin,
        "Make a contract definition",
        Some("contract-definition"),
        One("id-response"),
    ),
    op(
        PUT,
        "/contractdefinitions",
        Admin,
        "Replace a contract definition",
        Some("contract-definition"),
        Nothing,
    ),
    op(
        POST,
        "/contractdefinitions/request",
        Read,
        "Query contract definitions",
        Some("query-spec"),
        List("contract-definition"),
    ),
    op(GET, "/contractdefinitions/{id}", Read, "One contract definition", None, One("contract-definition")),
    op(PUT, "/contractdefinitions/{id}", Admin, "Replace it", Some("contract-definition"), Nothing),
    op(DELETE, "/contractdefinitions/{id}", Admin, "Remove a contract definition", None, Nothing),
    op(POST, "/catalog/request", Read, "Another participant's catalog", Some("catalog-request"), Other(JSON)),
    op(
        POST,
        "/catalog/dataset/request",
        Read,
        "Another participant's dataset",
        Some("dataset-request"),
        Other(JSON),
    ),
    op(
        POST,
        "/contractnegotiations",
        Operate,
        "Ask for a contract",
        Some("contract-request"),
        One("id-response"),
    ),
    op(
        POST,
        "/contractnegotiations/request",
        Read,
        "Query negotiations",
        Some("query-spec"),
        List("contract-negotiation"),
    ),
    op(GET, "/contractnegotiations/{id}", Read, "One negotiation", None, One("contract-negotiation")),
    op(DELETE, "/contractnegotiations/{id}", Operate, "Remove one that came to nothing", None, Nothing),
    op(GET, "/contractnegotiations/{id}/state", Read, "Its state", None, Other(JSON)),
    op(GET, "/contractnegotiations/{id}/agreement", Read, "Its agreement", None, One("contract-agreement")),
    op(POST, "/contractnegotiations/{id}/terminate", Operate, "End it", Some("contract-terminate"), Nothing),
    op(
        POST,
        "/contractnegotiations/offer",
        Operate,
        "Offer to a participant that did not ask",
        None,
        One("id-response"),
    ),
    op(
        POST,
        "/contractnegotiations/{id}/approve",
        Operate,
        "Say yes to what waits",
        None,
        One("contract-negotiation"),
    ),
    op(
        POST,
        "/contractnegotiations/{id}/move/{name}",
        Operate,
        "Make one move",
        None,
        One("contract-negotiation"),
    ),
    op(
        POST,
        "/contractagreements/request",
        Read,
        "Query agreements",
        Some("query-spec"),
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
    op(
        POST,
        "/contractagreements/{id}/duties",
        Operate,
        "State that a duty was done or a prohibition infringed",
        None,
        Other(JSON),
    ),
    op(GET, "/duties", Read, "The duties of every agreement in force", None, Other(JSON)),
    op(
        POST,
        "/contractagreements/{id}/end",
        Operate,
        "End it: data stops at once",
        None,
        One("contract-agreement"),
    ),
    op(
        POST,
        "/contractagreements/import",
        Admin,
        "Take over one made elsewhere",
        None,
        One("contract-agreement"),
    ),
    op(POST, "/transferprocesses", Operate, "Ask for data", Some("transfer-request"), One("id-response")),
    op(
        POST,
        "/transferprocesses/request",
        Read,
        "Query transfers",
        Some("query-spec"),
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
    op(POST, "/transferprocesses/{id}/suspend", Operate, "Pause it", Some("transfer-suspend"), Nothing),
    op(POST, "/transferprocesses/{id}/resume", Operate, "Let it run", None, Nothing),
    op(POST, "/transferprocesses/{id}/complete", Operate, "All was transferred", None, Nothing),
    op(POST, "/transferprocesses/{id}/terminate", Operate, "End it", Some("transfer-terminate"), Nothing),
    op(
        POST,
        "/edrs",
        Operate,
        "Ask for a contract; the transfer begins with it",
        Some("contract-request"),
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
    op(POST, "/edrs/request", Read, "Transfers that are read now", Some("query-spec"), Other(JSON)),
    op(GET, "/edrs/{id}/dataaddress", Operate, "Where to read, with the token", None, Other(JSON)),
    op(POST, "/secrets", Admin, "Keep a secret for an upstream", Some("secret"), One("id-response")),
    op(PUT, "/secrets", Admin, "Change a secret", Some("secret"), Nothing),
    op(GET, "/secrets/{id}", Admin, "A secret", None, One("secret")),
    op(DELETE, "/secrets/{id}", Admin, "Forget a secret", None, Nothing),
    op(GET, "/dataplanes", Read, "The data plane of this node", None, List("dataplane-instance")),
    op(POST, "/dataplanes", Admin, "Refused: this node reads data itself", None, Other(JSON)),
    op(DELETE, "/dataplanes/{id}", Admin, "Refused: this node reads data itself", None, Nothing),
    op(
        POST,
        "/catalogs/request",
        Read,
        "The catalogs that this node has read",
        Some("query-spec"),
        Other(JSON),
    ),
    op(POST, "/catalog/query", Read, "The catalogs that this node has read", Some("query-spec"), Other(JSON)),
    op(POST, "/contractagreements/retirements", Operate, "End an agreement", None, Nothing),
    op(
        POST,
        "/contractagreements/retirements/request",
        Read,
        "Query the agreements that are ended",
        Some("query-spec"),
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
    ours(POST, "/peers/refresh", Operate, "Ask who the members are, and read catalogs now", JSON),
    ours(POST, "/offers", Read, "The offers for a dataset that a participant sees", JSON),
    ours(POST, "/search", Read, "Search all catalogs that this node knows", JSON),
    ours(GET, "/datarequests", Read, "Requests for data: this node's, and those of others", JSON),
    ours(POST, "/datarequests", Admin, "Ask all who may see it for data that nobody offers", JSON),
    done(DELETE, "/datarequests/{id}", Admin, "Take a request back"),
    ours(POST, "/datarequests/offer", Operate, "Answer somebody's request with an offer", JSON),
    done(POST, "/datarequests/refuse", Operate, "Answer somebody's request with no"),
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
    ours(POST, "/contractagreements/{id}/levels/{period}/dispute", Operate, "Dispute a period", JSON),
    ours(
        POST,
        "/contractagreements/{id}/levels/{period}/waive",
        Operate,
        "Waive a level that was missed",
        JSON,
    ),
    ours(GET, "/mim", Read, "The node examines itself by the cities' mechanisms", JSON),
    ours(PUT, "/mim/attestations", Admin, "A named role answers for a requirement", JSON),
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
    ours(POST, "/rulebooks", Admin, "As the authority: publish the next version", JSON),
    ours(POST, "/rulebooks/fetch", Operate, "Ask an authority for its rulebook", JSON),
    ours(POST, "/rulebooks/accept", Admin, "Accept a version", JSON),
    ours(GET, "/rulebooks/check", Read, "Offers and agreements that do not fit", JSON),
    ours(GET, "/rulebooks/acceptances", Read, "As the authority: who accepted what", JSON),
    ours(GET, "/personal/consents", Admin, "Consents in the ledger", JSON),
    ours(GET, "/personal/requests", Admin, "What persons ask, with the deadlines", JSON),
    ours(GET, "/personal/requests/{id}", Admin, "One request, with the person's own words", JSON),
    ours(POST, "/personal/requests/{id}/answer", Admin, "Answer a person's request", JSON),
    ours(POST, "/personal/requests/{id}/prolong", Admin, "Take three months for a person's request", JSON),
    ours(GET, "/personal/accesses", Admin, "Accesses through personal data operators", JSON),
    ours(
        GET,
        "/contractagreements/{id}/contract-token",
        Operate,
        "Proof of an agreement for request tickets",
        JSON,
    ),
    ours(GET, "/personal/deletions", Operate, "What must be deleted, here and at others", JSON),
    ours(GET, "/contractagreements/{id}/statements", Operate, "Signed statements about an agreement", JSON),
    done(POST, "/contractagreements/{id}/deletions", Operate, "State that something was deleted"),
    ours(GET, "/uses", Read, "Shared datasets that this node uses", JSON),
    ours(GET, "/uses/{name}", Read, "One of them", JSON),
    ours(PUT, "/uses/{name}", Operate, "Use a dataset under a name", JSON),
    done(DELETE, "/uses/{name}", Operate, "Use it no more"),
    ours(GET, "/identity", Read, "Who this node is", JSON),
    ours(POST, "/identity/rotate", Admin, "Let a new key take the place of the others", JSON),
    ours(
        GET,
        "/events",
        Read,
        "Every audit event as it happens, resumable by Last-Event-ID",
        "text/event-stream",
    ),
    ours(GET, "/events/log", Read, "The audit log", JSON),
    done(POST, "/certificates/reload", Admin, "Read certificates and authorities anew"),
    ours(GET, "/audit/entries", Read, "The audit log with the links of its chain", JSON),
    ours(GET, "/audit/seals", Read, "This node's seals of the audit log", JSON),
    ours(GET, "/store/aside", Admin, "Records that cannot be read and are set aside", JSON),
    done(POST, "/store/aside/remove", Admin, "Remove a record that is set aside"),
    ours(GET, "/peers/{did}", Read, "One participant, what it speaks, and what is loosened for it", JSON),
    ours(GET, "/deliveries", Read, "Messages that others do not have: waiting, given up or refused", JSON),
    ours(
        POST,
        "/deliveries/again",
        Operate,
        "Send again everything that was given up for a participant",
        JSON,
    ),
    done(POST, "/deliveries/{id}/again", Operate, "Send again a message that was given up"),
    done(DELETE, "/deliveries/{id}", Operate, "Forget a message that was given up"),
    ours(GET, "/apikeys", Admin, "The keys of this API", JSON),
    ours(POST, "/apikeys", Admin, "Make a key; it is shown once", JSON),
    done(DELETE, "/apikeys/{id}", Admin, "Revoke a key"),
    ours(GET, "/credentials", Read, "This node's credentials", JSON),
    ours(GET, "/credentials/{issuer}/{type}", Read, "One credential, as its issuer signed it", JSON),
    done(DELETE, "/credentials/{issuer}/{type}", Admin, "Forget a credential"),
    ours(GET, "/credentialoffers", Read, "What issuers said that this node can ask for", JSON),
    ours(GET, "/credentialrequests", Read, "This node's requests for credentials", JSON),
    ours(POST, "/credentialrequests", Admin, "Ask an issuer for credentials", JSON),
    ours(GET, "/credentialrequests/{id}", Read, "One request", JSON),
    ours(
        POST,
        "/tokens",
        Admin,
        "A self-issued ID token for an audience, which may ask for the credential types named",
        JSON,
    ),
    ours(GET, "/authority/requests", Read, "Requests for credentials of this authority", JSON),
    ours(POST, "/authority/requests/{id}/approve", Admin, "Issue what was asked for", JSON),
    ours(POST, "/authority/requests/{id}/reject", Admin, "Refuse it", JSON),
    ours(GET, "/authority/invitations", Read, "Who gets credentials as soon as it asks", JSON),
    ours(POST, "/authority/invitations", Admin, "Let somebody have credentials, and tell it so", JSON),
    ours(GET, "/authority/issued", Read, "Credentials that this authority issued", JSON),
    ours(POST, "/authority/issued/{id}/revoke", Admin, "Take one back", JSON),
    ours(GET, "/trustedissuers", Read, "Whose word counts for which credentials", JSON),
    ours(POST, "/trustedissuers", Admin, "Let an issuer's word count", JSON),
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

const BASE: &str = "https://w3id.org/edc/connector/management/schema/v4/";

macro_rules! schemas {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../schemas/management-v4/", $name, "-schema.json")))),*]
    };
}

const SCHEMAS: [(&str, &str); 25] = schemas![
    "api-error",
    "asset",
    "callback-address",
    "catalog-request",
    "context",
    "contract-agreement",
    "contract-definition",
    "contract-negotiation",
    "contract-offer",
    "contract-request",
    "contract-terminate",
    "dataplane-instance",
    "dataplane-metadata",
    "dataset-request",
    "id-response",
    "policy-definition",
    "policy-evaluation-plan",
    "policy-evaluation-plan-request",
    "policy-validation-result",
    "query-spec",
    "transfer-process",
    "transfer-request",
    "transfer-suspend",
    "transfer-terminate",
    "secret",
];

fn reference(name: &str) -> Value {
    json!({"$ref": format!("{BASE}{name}-schema.json")})
}

/// The OpenAPI 3.1 document of this API.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let versions: &[&str] = if operation.in_v3 { &["/v4", "/v3"] } else { &["/v4"] };
        for version in versions {
            let path = format!("{version}{}", operation.path);
            let entry = paths.entry(path).or_insert_with(|| json!({}));
            if let Some(map) = entry.as_object_mut() {
                map.insert(operation.method.as_str().to_lowercase(), describe(operation, version));
            }
        }
    }
    let schemas: Map<String, Value> = SCHEMAS
        .iter()
        .map(|(name, text)| ((*name).to_owned(), serde_json::from_str(text).unwrap_or_default()))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Concordat management API", "version": env!("CARGO_PKG_VERSION"),
            "description": "After EDC's Management API v4; /v3 takes any JSON-LD form and answers with inline contexts.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
            "schemas": schemas,
        },
    })
}

fn describe(operation: &Operation, version: &str) -> Value {
    let parameters: Vec<_> = operation
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    let content = |schema: Value| json!({JSON: {"schema": schema}});
    let (status, answer) = match operation.output {
        Nothing => ("204", json!({"description": "done"})),
        // v3 documents carry an inline context, which the schemas of v4 do not know.
        One(_) | List(_) if version == "/v3" => {
            ("200", json!({"description": "JSON-LD", "content": content(json!({}))}))
        }
        One(name) => ("200", json!({"description": "the document", "content": content(reference(name))})),
        List(name) => {
            let list = json!({"type": "array", "items": reference(name)});
            ("200", json!({"description": "the documents", "content": content(list)}))
        }
        Other(media_type) => {
            ("200", json!({"description": "the answer", "content": {media_type: {"schema": {}}}}))
        }
    };
    let errors = content(json!({"type": "array", "items": reference("api-error")}));
    let mut described = json!({
        "summary": operation.summary,
        "operationId": format!("{}{}", operation.method.as_str().to_lowercase(), operation.path.replace(['/', '{', '}'], "_") + version.trim_start_matches('/')),
        "x-scope": operation.scope,
        "parameters": parameters,
        "responses": {status: answer, "4XX": {"description": "refused, with the reason", "content": errors}},
    });
    if let (Some(name), Some(map)) = (operation.input, described.as_object_mut()) {
        map.insert("requestBody".to_owned(), json!({"content": content(reference(name))}));
    }
    described
}
