//! What a person permits: to whom, for what, which attributes, from when until when; and the receipt for it, shaped after
//! ISO/IEC TS 27560:2023 with the terms of DPV.

use jiff::Timestamp;
use policy_engine::Hierarchy;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::error::{Malformed, bounded, text};
use crate::identifier::{expect_dids, expect_iri, expect_iris};
use crate::personal::{CONSENT, all_within};

/// `typ` of the statement with which an operator gives a consent.
pub const GIVEN: &str = "concordat-consent+jwt";
/// `typ` of the statement with which an operator withdraws one.
pub const WITHDRAWN: &str = "concordat-consent-withdrawal+jwt";
/// `typ` of a receipt.
pub const RECEIPT: &str = "concordat-consent-receipt+jwt";
/// Longest identifier of a person, in bytes.
pub const MAX_SUBJECT: usize = 256;
/// Most entries of a list.
const MAX_LIST: usize = 64;
/// Longest entry, in bytes.
const MAX_TEXT: usize = 500;

/// How far a consent goes. Lists that may be empty mean everything when they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extent {
    /// For what: IRIs of DPV, or others that are known. Never empty.
    pub purposes: Vec<String>,
    /// To whom: DIDs. Never empty.
    pub recipients: Vec<String>,
    /// Which datasets; all of the holder where it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<String>,
    /// Which personal attributes; all of them where it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
}

/// What an operator states on behalf of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Given {
    /// The person, as the holder's data names them.
    pub subject: String,
    /// For what.
    pub purposes: Vec<String>,
    /// To whom.
    pub recipients: Vec<String>,
    /// Which datasets.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// Which attributes.
    #[serde(default)]
    pub attributes: Vec<String>,
    /// From when; at once otherwise.
    #[serde(default)]
    pub from: Option<Timestamp>,
    /// Until when; until it is withdrawn otherwise.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Where the notice stands that the person was shown.
    #[serde(default)]
    pub notice: Option<String>,
}

impl Given {
    /// Reads what was stated.
    ///
    /// # Errors
    /// Names the place and the reason.
    pub fn parse(json: Json) -> Result<Self, Malformed> {
        let given: Self =
            serde_json::from_value(json).map_err(|error| Malformed::new("", error.to_string()))?;
        text("/subject", &given.subject, MAX_SUBJECT)?;
        for (path, list, needed) in [
            ("/purposes", &given.purposes, true),
            ("/recipients", &given.recipients, true),
            ("/datasets", &given.datasets, false),
            ("/attributes", &given.attributes, false),
        ] {
            bounded(path, list, MAX_LIST, MAX_TEXT)?;
            if needed && list.is_empty() {
                return Err(Malformed::new(path, "is empty: a consent names for what and to whom"));
            }
        }
        check_purposes(&given.purposes)?;
        expect_dids("/recipients", &given.recipients)?;
        if let Some(notice) = &given.notice {
            text("/notice", notice, MAX_TEXT)?;
            expect_iri("/notice", notice, "https://operator.example/notice")?;
        }
        if given.until.is_some_and(|until| given.from.is_some_and(|from| until <= from)) {
            return Err(Malformed::new("/until", "is not after `from`"));
        }
        Ok(given)
    }

    /// How far it goes, in an order that makes equal extents equal.
    #[must_use]
    pub fn extent(&self) -> Extent {
        let sorted = |list: &Vec<String>| {
            let mut list = list.clone();
            list.sort();
            list.dedup();
            list
        };
        Extent {
            purposes: sorted(&self.purposes),
            recipients: sorted(&self.recipients),
            datasets: sorted(&self.datasets),
            attributes: sorted(&self.attributes),
        }
    }
}

/// Refuses purposes that no agreement could name.
///
/// # Errors
/// Names the place, what stands there, and an example.
pub fn check_purposes(purposes: &[String]) -> Result<(), Malformed> {
    expect_iris("/purposes", purposes, "https://w3id.org/dpv#ScientificResearch")
}

/// What an agreement wants of a person's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Who gets it.
    pub recipient: String,
    /// Every purpose that the agreement permits.
    pub purposes: Vec<String>,
    /// The dataset.
    pub dataset: String,
}

impl Extent {
    /// Whether it reaches as far as an agreement does: to its recipient, for every purpose that it permits.
    #[must_use]
    pub fn covers(&self, asked: &Asked, known: &Hierarchy) -> bool {
        self.recipients.contains(&asked.recipient)
            && (self.datasets.is_empty() || self.datasets.contains(&asked.dataset))
            && all_within(&asked.purposes, &self.purposes, known)
    }

    /// Whether it names an attribute, or all of them.
    #[must_use]
    pub fn names(&self, attribute: &str) -> bool {
        self.attributes.is_empty() || self.attributes.iter().any(|one| one == attribute)
    }
}

/// What the holder recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consent {
    /// Its id in the ledger.
    pub id: String,
    /// How far it goes.
    pub extent: Extent,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Which operator gave it, on behalf of the person.
    pub operator: String,
    /// When it was recorded.
    pub given_at: Timestamp,
    /// SHA-256 of the operator's statement, base64url: what was signed.
    pub statement: String,
    /// Where the notice stands that the person was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// When it was withdrawn, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawn>,
}

/// The end of a consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Withdrawn {
    /// When.
    pub at: Timestamp,
    /// By which operator.
    pub operator: String,
}

impl Consent {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.withdrawn.is_none() && self.from <= now && self.until.is_none_or(|until| now < until)
    }

    /// `given`, `withdrawn`, `expired` or `pending`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> &'static str {
        match (&self.withdrawn, self.until) {
            (Some(_), _) => "withdrawn",
            (None, Some(until)) if until <= now => "expired",
            (None, _) if now < self.from => "pending",
            (None, _) => "given",
        }
    }

    /// The receipt (ISO/IEC TS 27560:2023, 6.4) of the holder `controller` for `principal`, the person's name in the ledger.
    #[must_use]
    pub fn receipt(&self, controller: &str, name: &str, principal: &str, withdrawal: &str) -> Json {
        let mut events = vec![json!({
            "event_time": self.given_at,
            "validity_duration": self.until.map_or_else(|| "until withdrawn".to_owned(), |until| until.to_string()),
            "event_type": "https://w3id.org/dpv#ExplicitlyExpressedConsent",
            "event_state": "https://w3id.org/dpv#ConsentGiven",
            "entity_id": self.operator,
        })];
        if let Some(withdrawn) = &self.withdrawn {
            events.push(json!({
                "event_time": withdrawn.at,
                "event_type": "https://w3id.org/dpv#ExplicitlyExpressedConsent",
                "event_state": "https://w3id.org/dpv#ConsentWithdrawn",
                "entity_id": withdrawn.operator,
            }));
        }
        let information = match self.extent.attributes.as_slice() {
            [] => vec![json!({"pii_attribute_id": "*", "pii_type": "https://w3id.org/dpv#PersonalData"})],
            named => named
                .iter()
                .map(|one| json!({"pii_attribute_id": one, "pii_type": "https://w3id.org/dpv#PersonalData"}))
                .collect(),
        };
        let purposes: Vec<_> = self
            .extent
            .purposes
            .iter()
            .map(|purpose| {
                json!({
                    "purpose": purpose,
                    "lawful_basis": CONSENT,
                    "pii_information": information,
                    "pii_controllers": [controller],
                    "processing_method": ["https://w3id.org/dpv#Filter", "https://w3id.org/dpv#Share"],
                    "services": self.extent.datasets,
                    "recipient_third_parties": self.extent.recipients,
                    "withdrawal_method": withdrawal,
                    "privacy_rights": ["https://w3id.org/dpv/legal/eu/gdpr#A15", "https://w3id.org/dpv/legal/eu/gdpr#A16",
                        "https://w3id.org/dpv/legal/eu/gdpr#A17", "https://w3id.org/dpv/legal/eu/gdpr#A20",
                        "https://w3id.org/dpv/legal/eu/gdpr#A21"],
                })
            })
            .collect();
        json!({
            "schema_version": "ISO/IEC TS 27560:2023",
            "record_id": self.id,
            "pii_principal_id": principal,
            "pii_processing": {"privacy_notice": self.notice, "purposes": purposes},
            "party_identification": [
                {"party_id": controller, "party_name": name, "party_role": "https://w3id.org/dpv#DataController"},
                {"party_id": self.operator, "party_role": "https://w3id.org/dpv#Representative"},
            ],
            "consent_events": events,
            "operator_statement": {"sha-256": self.statement},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Given {
        Given::parse(json!({"subject": "p-1", "purposes": ["https://w3id.org/dpv#ResearchAndDevelopment"],
            "recipients": ["did:web:r"], "attributes": ["lat"]}))
        .unwrap()
    }

    fn asked(recipient: &str, purpose: &str, dataset: &str) -> Asked {
        Asked {
            recipient: recipient.to_owned(),
            purposes: vec![purpose.to_owned()],
            dataset: dataset.to_owned(),
        }
    }

    #[test]
    fn a_consent_reaches_no_farther_than_it_says() {
        let (extent, known) = (given().extent(), Hierarchy::shipped());
        let research = "https://w3id.org/dpv#AcademicResearch";
        assert!(extent.covers(&asked("did:web:r", research, "urn:any"), &known));
        assert!(!extent.covers(&asked("did:web:x", research, "urn:any"), &known), "another recipient");
        assert!(!extent.covers(&asked("did:web:r", "https://w3id.org/dpv#Marketing", "urn:any"), &known));
        assert!(
            !extent.covers(&asked("did:web:r", "https://w3id.org/dpv#Purpose", "urn:any"), &known),
            "any use"
        );
        let one = Extent { datasets: vec!["urn:d".to_owned()], ..extent.clone() };
        assert!(one.covers(&asked("did:web:r", research, "urn:d"), &known));
        assert!(!one.covers(&asked("did:web:r", research, "urn:e"), &known), "another dataset");
        assert!(extent.names("lat") && !extent.names("lon"));
        let mut both = asked("did:web:r", research, "urn:d");
        both.purposes.push("https://w3id.org/dpv#Marketing".to_owned());
        assert!(!extent.covers(&both, &known), "one of two purposes is not enough");
    }

    #[test]
    fn it_holds_from_its_beginning_to_its_end() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let consent = Consent {
            id: "c".to_owned(),
            extent: given().extent(),
            from: at(10),
            until: Some(at(20)),
            operator: "did:web:o".to_owned(),
            given_at: at(5),
            statement: "x".to_owned(),
            notice: None,
            withdrawn: None,
        };
        let states: Vec<_> = [9, 10, 19, 20].map(|second| consent.state(at(second))).into();
        assert_eq!(states, ["pending", "given", "given", "expired"]);
        assert!(!consent.holds(at(9)) && consent.holds(at(10)) && !consent.holds(at(20)));
        let ended = Consent {
            withdrawn: Some(Withdrawn { at: at(12), operator: "did:web:o".to_owned() }),
            ..consent
        };
        assert!(!ended.holds(at(15)));
        let receipt = ended.receipt("did:web:h", "Holder", "ab12", "https://h/personal/withdrawals");
        assert_eq!(receipt["consent_events"][1]["event_state"], "https://w3id.org/dpv#ConsentWithdrawn");
        assert_eq!(receipt["pii_processing"]["purposes"][0]["pii_information"][0]["pii_attribute_id"], "lat");
    }

    #[test]
    fn what_names_no_purpose_or_nobody_is_none() {
        let refused = |json: Json| Given::parse(json).unwrap_err().path;
        assert_eq!(
            refused(json!({"subject": "a", "purposes": [], "recipients": ["did:web:r"]})),
            "/purposes"
        );
        assert_eq!(refused(json!({"subject": "a", "purposes": ["urn:p"], "recipients": []})), "/recipients");
        let long = "x".repeat(257);
        let to = json!(["did:web:r"]);
        assert_eq!(refused(json!({"subject": long, "purposes": ["urn:p"], "recipients": to})), "/subject");
        let never = json!({"subject": "a", "purposes": ["urn:p"], "recipients": to,
            "from": "2027-01-02T00:00:00Z", "until": "2027-01-01T00:00:00Z"});
        assert_eq!(refused(never), "/until");
    }

    #[test]
    fn a_word_for_a_purpose_or_a_recipient_is_refused_with_what_would_do() {
        let refused = |field: &str, value: Json| {
            let mut json = json!({"subject": "a", "purposes": ["urn:p"], "recipients": ["did:web:r"]});
            assert!(Given::parse(json.clone()).is_ok());
            json[field] = value;
            Given::parse(json).unwrap_err().to_string()
        };
        let said = refused("purposes", json!(["urn:p", "research"]));
        assert_eq!(
            said,
            "/purposes/1: `research` is not an IRI; give one such as `https://w3id.org/dpv#ScientificResearch`"
        );
        let said = refused("recipients", json!(["roads"]));
        assert_eq!(
            said,
            "/recipients/0: `roads` is not a DID; give one such as `did:web:roads.city.example`"
        );
        assert!(refused("notice", json!("on paper")).starts_with("/notice: `on paper` is not an IRI"));
    }
}
