//! Claims of the party's verified credentials: membership, role, issuer, and any claim by JSON path.
//!
//! `urn:concordat:credential:TYPE:PATH` is what the JSONPath `PATH` (RFC 9535) selects in each credential of the type
//! `TYPE` (`*`: of any), for example `urn:concordat:credential:MembershipCredential:$.credentialSubject.level`. Several claims are a
//! set: one of them must fit.

use std::borrow::Cow;

use serde_json::Value as Json;
use serde_json_path::JsonPath;

use super::{Change, Fact, Operand, OperandKind};
use crate::decimal::Decimal;
use crate::model::Value;
use crate::world::World;

/// What begins the name of a claim.
pub(crate) const CLAIM_PREFIX: &str = "urn:concordat:credential:";

/// Credentials of any type.
const ANY_KIND: &str = "*";

const BASE: Operand =
    Operand { is_set: true, changes: Change::Credential, ..Operand::stated("", OperandKind::Identifier, "") };

pub(super) static CLAIM: Operand = Operand {
    name: CLAIM_PREFIX,
    noun: "the credential's claim",
    kind: OperandKind::Any,
    reads: |left| split(left).is_some_and(|(_, path)| JsonPath::parse(path).is_ok()),
    fact: |atomic, _, world| match split(&atomic.left) {
        Some((kind, path)) => claims(world, Some(kind).filter(|kind| *kind != ANY_KIND), path),
        None => Fact::Unsupported,
    },
    ..BASE
};

pub(super) static ISSUER: Operand = Operand {
    name: "urn:concordat:credential-issuer",
    noun: "an issuer of the party's credentials",
    fact: |_, _, world| claims(world, None, "$.issuer"),
    ..BASE
};

pub(super) static MEMBERSHIP: Operand = Operand {
    name: "urn:concordat:membership",
    noun: "a membership",
    fact: |_, _, world| claims(world, Some("MembershipCredential"), "$.credentialSubject.memberOf"),
    ..BASE
};

pub(super) static ROLE: Operand = Operand {
    name: "urn:concordat:role",
    noun: "a role",
    kind: OperandKind::Term,
    fact: |_, _, world| claims(world, None, "$.credentialSubject['role','roles']"),
    ..BASE
};

/// Under which number a data space knows the party: what its credentials say, and the id under which it is authenticated, for
/// connectors of Eclipse EDC take that for the number.
pub(super) static BUSINESS_PARTNER: Operand = Operand {
    name: "urn:concordat:business-partner",
    noun: "a number of the business partner",
    fact: |_, request, world| {
        let said = claims(world, None, "$.credentialSubject['bpn','holderIdentifier']");
        let mut known = match said {
            Fact::Known(values) => values.into_owned(),
            _ => Vec::new(),
        };
        known.push(Value::Term(request.party.to_owned()));
        Fact::Known(Cow::Owned(known))
    },
    ..BASE
};

/// The credential type that a left operand needs; `None` where it needs none, an empty name where any will do.
pub(crate) fn kind(left: &str) -> Option<&str> {
    match left {
        left if left == MEMBERSHIP.name => Some("MembershipCredential"),
        left if [ROLE.name, ISSUER.name, BUSINESS_PARTNER.name].contains(&left) => Some(""),
        left => split(left).map(|(kind, _)| if kind == ANY_KIND { "" } else { kind }),
    }
}

/// Whether the operand is who issued the credentials that the conditions beside it are about.
pub(crate) fn is_issuer(operand: Option<&'static Operand>) -> bool {
    operand.is_some_and(|operand| operand.name == ISSUER.name)
}

/// Type and path; the type of a credential may itself have a colon.
pub(crate) fn split(left: &str) -> Option<(&str, &str)> {
    let rest = left.strip_prefix(CLAIM_PREFIX)?;
    let at = rest.find(":$")?;
    Some((rest.get(..at)?, rest.get(at + 1..)?))
}

/// Without credentials at hand nothing is known; a credential without the claim does not say so either.
fn claims<'w>(world: &'w World<'_>, kind: Option<&str>, path: &str) -> Fact<'w> {
    let Ok(path) = JsonPath::parse(path) else { return Fact::Unsupported };
    let of_kind = |credential: &&Json| {
        kind.is_none_or(|kind| match credential.get("type") {
            Some(Json::String(one)) => one == kind,
            Some(Json::Array(all)) => all.iter().any(|one| one.as_str() == Some(kind)),
            _ => false,
        })
    };
    let mut found = Vec::new();
    for credential in world.credentials.iter().filter(of_kind) {
        path.query(credential).all().into_iter().for_each(|node| collect(node, &mut found));
    }
    if found.is_empty() { Fact::Missing } else { Fact::Known(Cow::Owned(found)) }
}

/// A text is one although it looks like a number: what a claim of the other type means is not known.
fn collect(node: &Json, found: &mut Vec<Value>) {
    match node {
        Json::String(text) => found.push(Value::Term(text.clone())),
        Json::Number(number) => found.extend(Decimal::parse(&number.to_string()).map(Value::Number)),
        Json::Bool(flag) => found.push(Value::Term(flag.to_string())),
        Json::Array(all) => all.iter().for_each(|one| collect(one, found)),
        Json::Object(map) => {
            found.extend(map.get("id").and_then(Json::as_str).map(|id| Value::Term(id.to_owned())))
        }
        Json::Null => {}
    }
}
