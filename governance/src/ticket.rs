//! The connector interface of the MIM4 technical specification (2021): request tickets, trust groups, operators' metadata and
//! introspection. Section numbers are those of that specification.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::{Malformed, text};

/// Longest time that a ticket may be good, in seconds; it bounds how long a `jti` must be remembered.
pub const MAX_LIFETIME: i64 = 3600;
/// Clock skew that is allowed, in seconds.
pub const SKEW: i64 = 30;
/// Most members of a trust group.
const MAX_MEMBERS: usize = 10_000;
/// Most identifiers in an introspection.
const MAX_IDENTIFIERS: usize = 64;
/// How long a trust group may be kept, in seconds (4.2.4).
pub const KEEP_GROUP: i64 = 24 * 3600;

/// What a connector says of itself: `/.well-known/connector-config` (5.8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectorMetadata {
    /// A UUID, version 4.
    pub connector_uuid: String,
    /// A public JWK with a `kid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector_key: Option<Json>,
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Where it is documented how sources are reached through it.
    pub api_guide: String,
    /// Where requests go: the audience of tickets.
    pub connector_base_url: String,
}

/// An operator in a trust group (5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorDescription {
    /// A UUID, version 4.
    pub operator_uuid: String,
    /// What it is called.
    pub name: String,
    /// Where its metadata is found.
    pub operator_base_url: String,
}

/// The operators of a trust group (5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustGroup {
    /// Its UUID.
    pub uuid: String,
    /// In the order of the registry.
    pub operators: Vec<OperatorDescription>,
}

impl TrustGroup {
    /// Reads the payload of a registry's answer.
    ///
    /// # Errors
    /// It is no trust group.
    pub fn parse(payload: &Json) -> Result<Self, Malformed> {
        let group = payload.get("trust_group").ok_or_else(|| Malformed::new("/trust_group", "is missing"))?;
        let uuid = group.get("trust_group_uuid").and_then(Json::as_str);
        let uuid =
            uuid.ok_or_else(|| Malformed::new("/trust_group/trust_group_uuid", "is missing"))?.to_owned();
        let members = group.get("members").and_then(Json::as_array);
        let members = members.ok_or_else(|| Malformed::new("/trust_group/members", "is missing"))?;
        if members.len() > MAX_MEMBERS {
            return Err(Malformed::new(
                "/trust_group/members",
                format!("has more than {MAX_MEMBERS} entries"),
            ));
        }
        let operators = members.iter().enumerate().map(|(at, member)| {
            let path = format!("/trust_group/members/{at}/operatorDescription");
            let description = member.get("operatorDescription").cloned().unwrap_or_default();
            serde_json::from_value(description).map_err(|error| Malformed::new(path, error.to_string()))
        });
        Ok(Self { uuid, operators: operators.collect::<Result<_, _>>()? })
    }
}

/// What an operator says of itself: `/.well-known/mydataoperator-config` (5.7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorMetadata {
    /// A UUID, version 4.
    pub operator_uuid: String,
    /// A public JWK with a `kid`: signs its tickets.
    pub operator_key: Json,
    /// What it is called.
    pub name: String,
    /// Its base address.
    pub operator_base_url: String,
    /// Where tickets are introspected: absolute, or relative to the base address.
    pub introspection_url: String,
    /// Connectors that may be used by all; nothing is said where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_connectors: Option<Json>,
    /// Connectors that may be used by some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restricted_connectors: Option<Json>,
}

impl OperatorMetadata {
    /// The address of introspection.
    #[must_use]
    pub fn introspection(&self) -> String {
        if self.introspection_url.contains("://") {
            return self.introspection_url.clone();
        }
        let base = self.operator_base_url.trim_end_matches('/');
        format!("{base}/{}", self.introspection_url.trim_start_matches('/'))
    }
}

/// The claims of a ticket (5.3).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Ticket {
    /// The operator.
    pub iss: String,
    /// The organisation of the data-using service.
    pub sub: String,
    /// The connector.
    pub aud: Json,
    /// Until when it is good, in seconds since 1970.
    pub exp: i64,
    /// Since when.
    pub iat: i64,
    /// Its id: a second use is a replay.
    pub jti: String,
    /// Proof of a data-sharing agreement, where the service has one.
    #[serde(default)]
    pub contract_token: Option<String>,
}

impl Ticket {
    /// Reads claims; they are not to be believed before their signature held.
    ///
    /// # Errors
    /// A claim is missing or of another shape.
    pub fn parse(claims: Json) -> Result<Self, Malformed> {
        let ticket: Self =
            serde_json::from_value(claims).map_err(|error| Malformed::new("ticket", error.to_string()))?;
        for (name, value) in [("iss", &ticket.iss), ("sub", &ticket.sub), ("jti", &ticket.jti)] {
            text(&format!("ticket/{name}"), value, 500)?;
        }
        Ok(ticket)
    }

    /// Whether it is meant for a connector with one of these addresses, and good at `now` (seconds since 1970).
    ///
    /// # Errors
    /// For another audience, expired, not good yet, or good for too long.
    pub fn check(&self, audiences: &[&str], now: i64) -> Result<(), Malformed> {
        let ours = |audience: &str| {
            audiences.iter().any(|one| one.trim_end_matches('/') == audience.trim_end_matches('/'))
        };
        let meant = match &self.aud {
            Json::String(audience) => ours(audience),
            Json::Array(all) => matches!(all.as_slice(), [Json::String(only)] if ours(only)),
            _ => false,
        };
        if !meant {
            return Err(Malformed::new("ticket/aud", "is another connector"));
        }
        if now >= self.exp.saturating_add(SKEW) {
            return Err(Malformed::new("ticket/exp", "it has expired"));
        }
        if self.iat > now.saturating_add(SKEW) {
            return Err(Malformed::new("ticket/iat", "it was issued in the future; is a clock wrong?"));
        }
        if self.exp.saturating_sub(self.iat) > MAX_LIFETIME {
            return Err(Malformed::new(
                "ticket/exp",
                format!("it is good for longer than {MAX_LIFETIME} seconds"),
            ));
        }
        Ok(())
    }
}

/// What an operator answers to an introspection (5.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introspection {
    /// Whether the person permits it now.
    pub active: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The operator's name of this access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_item_uuid: Option<String>,
    /// Whose data is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<Identifier>,
}

/// An identifier of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifier {
    /// The identifier.
    pub id: String,
    /// Of which type.
    pub id_type: String,
    /// Of which country, where it is one of a country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Whether the operator has checked that it is the person's.
    #[serde(default)]
    pub verified: bool,
}

impl Introspection {
    /// The identifiers of type `wanted` that may be used towards the source, with the operator's name of the access (5.5).
    ///
    /// # Errors
    /// It is not active, names no access, nobody, too many, or somebody whom the operator has not verified.
    pub fn identifiers(&self, wanted: &str) -> Result<(Vec<String>, String), String> {
        if !self.active {
            let reason = self.reason.as_deref().unwrap_or("no reason given");
            return Err(format!("the person does not permit it: {reason}"));
        }
        let access = self.access_item_uuid.clone().filter(|one| !one.is_empty() && one.len() <= 100);
        let access = access.ok_or("the operator names no access item")?;
        if self.identifiers.len() > MAX_IDENTIFIERS {
            return Err(format!("the operator names more than {MAX_IDENTIFIERS} identifiers"));
        }
        let of_type: Vec<_> = self.identifiers.iter().filter(|one| one.id_type == wanted).collect();
        if of_type.is_empty() {
            return Err(format!("the operator names no identifier of the type `{wanted}`"));
        }
        if let Some(one) = of_type
            .iter()
            .find(|one| !one.verified || one.id.is_empty() || one.id.len() > crate::consent::MAX_SUBJECT)
        {
            return Err(format!(
                "the operator names an identifier of the type `{}` that it has not verified, or that is none",
                one.id_type
            ));
        }
        Ok((of_type.into_iter().map(|one| one.id.clone()).collect(), access))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_ticket_is_for_one_connector_and_a_short_time() {
        let ticket = |change: fn(&mut Json)| {
            let mut claims = json!({"iss": "o", "sub": "s", "aud": "https://c/data", "exp": 1600, "iat": 1000, "jti": "1"});
            change(&mut claims);
            Ticket::parse(claims)
                .and_then(|ticket| ticket.check(&["https://c/data"], 1200))
                .map_err(|error| error.path)
        };
        assert_eq!(ticket(|_| {}), Ok(()));
        assert_eq!(ticket(|claims| claims["aud"] = json!(["https://c/data/"])), Ok(()));
        let refused = |change| ticket(change).unwrap_err();
        assert_eq!(refused(|claims| claims["aud"] = json!("https://d/data")), "ticket/aud");
        assert_eq!(
            refused(|claims| claims["aud"] = json!(["https://c/data", "https://d/data"])),
            "ticket/aud"
        );
        assert_eq!(refused(|claims| claims["exp"] = json!(1170)), "ticket/exp");
        assert_eq!(refused(|claims| claims["exp"] = json!(4601)), "ticket/exp");
        assert_eq!(refused(|claims| claims["iat"] = json!(1231)), "ticket/iat");
        assert_eq!(refused(|claims| claims["jti"] = json!("")), "ticket/jti");
        assert_eq!(refused(|claims| claims["sub"] = json!(5)), "ticket");
    }

    #[test]
    fn only_verified_identifiers_of_the_wanted_type_are_used() {
        let answer = |identifiers: Json| -> Introspection {
            serde_json::from_value(
                json!({"active": true, "access_item_uuid": "a", "identifiers": identifiers}),
            )
            .unwrap()
        };
        let two = answer(
            json!([{"id": "anna", "id_type": "rider", "verified": true}, {"id": "12-34", "id_type": "nin", "country": "FI", "verified": true}]),
        );
        assert_eq!(two.identifiers("rider"), Ok((vec!["anna".to_owned()], "a".to_owned())));
        assert!(two.identifiers("passport").is_err());
        assert!(
            answer(json!([{"id": "anna", "id_type": "rider"}]))
                .identifiers("rider")
                .unwrap_err()
                .contains("verified")
        );
        let many: Vec<_> =
            (0..65).map(|one| json!({"id": one.to_string(), "id_type": "rider", "verified": true})).collect();
        assert!(answer(json!(many)).identifiers("rider").is_err());
        let inactive: Introspection =
            serde_json::from_value(json!({"active": false, "reason": "withdrawn"})).unwrap();
        assert!(inactive.identifiers("rider").unwrap_err().contains("withdrawn"));
        let nameless: Introspection = serde_json::from_value(json!({"active": true})).unwrap();
        assert!(nameless.identifiers("rider").unwrap_err().contains("access item"));
    }

    #[test]
    fn a_trust_group_and_metadata_are_read() {
        let group = json!({"trust_group": {"trust_group_uuid": "g", "members": [{"operatorDescription":
            {"operator_uuid": "o", "name": "O", "operator_base_url": "https://o"}}]}});
        assert_eq!(TrustGroup::parse(&group).unwrap().operators[0].operator_base_url, "https://o");
        assert!(TrustGroup::parse(&json!({"trust_group": {"trust_group_uuid": "g"}})).is_err());
        let metadata = |url: &str| OperatorMetadata {
            operator_uuid: "o".to_owned(),
            operator_key: json!({}),
            name: "O".to_owned(),
            operator_base_url: "https://o/base/".to_owned(),
            introspection_url: url.to_owned(),
            shared_connectors: None,
            restricted_connectors: None,
        };
        assert_eq!(metadata("/introspect").introspection(), "https://o/base/introspect");
        assert_eq!(metadata("https://x/i").introspection(), "https://x/i");
    }
}
