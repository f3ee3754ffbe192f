//! What a dataset says of the persons it is about, in the terms of the W3C Data Privacy Vocabulary (DPV 2), attribute by
//! attribute. It is public: it stands in the catalog, under [`PROPERTY`].

use std::collections::BTreeMap;

use policy_engine::{Hierarchy, Operator, Policy, Value};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::{Malformed, bounded, text};
use crate::identifier::{expect_iri, expect_iris};

/// The dataset's property.
pub const PROPERTY: &str = "urn:concordat:personal";
/// The legal basis of a person's own permission.
pub const CONSENT: &str = "https://w3id.org/dpv#Consent";
/// Every purpose there is.
pub const ANY_PURPOSE: &str = "https://w3id.org/dpv#Purpose";

/// The other legal bases that DPV names (GDPR, article 6(1)).
const BASES: [&str; 6] = [
    CONSENT,
    "https://w3id.org/dpv#Contract",
    "https://w3id.org/dpv#LegalObligation",
    "https://w3id.org/dpv#LegitimateInterest",
    "https://w3id.org/dpv#PublicInterest",
    "https://w3id.org/dpv#VitalInterest",
];
/// Most attributes that are described.
const MAX_ATTRIBUTES: usize = 256;
/// Longest name or IRI, in bytes.
const MAX_TEXT: usize = 500;

/// The persons of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Personal {
    /// The column that says whom a row is about.
    pub subject: String,
    /// Why rows may be handed on at all: an IRI of DPV; consent where nothing is said.
    #[serde(default = "consent")]
    pub basis: String,
    /// For what rows may be processed on another basis than consent: purposes, as IRIs of DPV or others that are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<String>,
    /// How they are processed: IRIs of DPV, such as `https://w3id.org/dpv#Share`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processing: Vec<String>,
    /// What of a row is about the person, by column. What is not named here goes wherever its row goes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Attribute>,
    /// As which type of identifier the connector interface of MIM4 (2021) tells the persons of the subject column; such
    /// data is read with a request ticket only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier_type: Option<String>,
}

/// A personal attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attribute {
    /// Which personal data it is: an IRI, such as `https://w3id.org/dpv/pd#Location`.
    pub category: String,
    /// Why it may be handed on, where that differs from the row's basis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
    /// For what it may be processed at all, whoever permits it; for everything that its row may be, where it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<String>,
    /// How it is processed, where that differs from the rest of the row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processing: Vec<String>,
}

fn consent() -> String {
    CONSENT.to_owned()
}

impl Personal {
    /// What a dataset's properties say; `None` where it is about nobody.
    ///
    /// # Errors
    /// It cannot be read: then nothing of the dataset may be handed on.
    pub fn of(properties: &serde_json::Map<String, Json>) -> Result<Option<Self>, Malformed> {
        properties.get(PROPERTY).map(|json| Self::parse(json.clone())).transpose()
    }

    /// Reads the value of the property.
    ///
    /// # Errors
    /// Names the place and the reason.
    pub fn parse(json: Json) -> Result<Self, Malformed> {
        let personal: Self = serde_json::from_value(json)
            .map_err(|error| Malformed::new(format!("/{PROPERTY}"), error.to_string()))?;
        text("/subject", &personal.subject, MAX_TEXT)?;
        bounded("/purposes", &personal.purposes, 64, MAX_TEXT)?;
        bounded("/processing", &personal.processing, 64, MAX_TEXT)?;
        if personal.attributes.len() > MAX_ATTRIBUTES {
            return Err(Malformed::new("/attributes", format!("has more than {MAX_ATTRIBUTES} entries")));
        }
        if let Some(kind) = &personal.identifier_type {
            text("/identifierType", kind, 100)?;
            // MIM4 (2021), 5.5: a national number is never the base identifier.
            if ["nin", "ssn", "hetu", "personnummer", "bsn"].contains(&kind.to_lowercase().as_str()) {
                return Err(Malformed::new(
                    "/identifierType",
                    "a national number is never the base identifier (MIM4 2021, 5.5)",
                ));
            }
        }
        check_basis("/basis", &personal.basis)?;
        if personal.basis != CONSENT && personal.purposes.is_empty() {
            return Err(Malformed::new("/purposes", "is needed where the basis is not consent"));
        }
        for (name, attribute) in &personal.attributes {
            let path = format!("/attributes/{name}");
            text(&path, name, MAX_TEXT)?;
            text(&format!("{path}/category"), &attribute.category, MAX_TEXT)?;
            bounded(&format!("{path}/purposes"), &attribute.purposes, 64, MAX_TEXT)?;
            bounded(&format!("{path}/processing"), &attribute.processing, 64, MAX_TEXT)?;
            if let Some(basis) = &attribute.basis {
                check_basis(&format!("{path}/basis"), basis)?;
            }
        }
        Ok(personal)
    }

    /// Whether purposes, kinds of processing and categories are IRIs: asked where it is published, so that what was
    /// published before stays readable.
    ///
    /// # Errors
    /// Names the place, what stands there, and an example.
    pub fn check_terms(&self) -> Result<(), Malformed> {
        const PURPOSE: &str = "https://w3id.org/dpv#ScientificResearch";
        const PROCESSING: &str = "https://w3id.org/dpv#Share";
        expect_iris("/purposes", &self.purposes, PURPOSE)?;
        expect_iris("/processing", &self.processing, PROCESSING)?;
        self.attributes.iter().try_for_each(|(name, attribute)| {
            let path = format!("/attributes/{name}");
            let category = format!("{path}/category");
            expect_iri(&category, &attribute.category, "https://w3id.org/dpv/pd#Location")?;
            expect_iris(&format!("{path}/purposes"), &attribute.purposes, PURPOSE)?;
            expect_iris(&format!("{path}/processing"), &attribute.processing, PROCESSING)
        })
    }

    /// Whether an attribute needs the person's permission, beyond that of the row.
    #[must_use]
    pub fn needs_consent(&self, attribute: &str) -> bool {
        let named = self.attributes.get(attribute);
        named.is_some_and(|one| one.basis.as_deref().unwrap_or(&self.basis) == CONSENT)
    }

    /// Whether an attribute may not be handed on for all of `purposes`, whoever permits it.
    #[must_use]
    pub fn bars(&self, attribute: &str, purposes: &[String], known: &Hierarchy) -> bool {
        let allowed = self.attributes.get(attribute).map(|one| one.purposes.as_slice()).unwrap_or_default();
        !allowed.is_empty() && !all_within(purposes, allowed, known)
    }

    /// Attributes that are left out of a row for `purposes`, of which the person permits those that `permitted` is true of.
    #[must_use]
    pub fn left_out(
        &self,
        purposes: &[String],
        known: &Hierarchy,
        permitted: impl Fn(&str) -> bool,
    ) -> Vec<&str> {
        let names = self.attributes.keys().map(String::as_str);
        names
            .filter(|name| (self.needs_consent(name) && !permitted(name)) || self.bars(name, purposes, known))
            .collect()
    }

    /// Whether rows may be handed on for all of `purposes` without the person's permission.
    #[must_use]
    pub fn permits_without_consent(&self, purposes: &[String], known: &Hierarchy) -> bool {
        self.basis != CONSENT && all_within(purposes, &self.purposes, known)
    }
}

fn check_basis(path: &str, basis: &str) -> Result<(), Malformed> {
    if BASES.contains(&basis) {
        return Ok(());
    }
    Err(Malformed::new(path, format!("`{basis}` is no legal basis; those of DPV are {}", BASES.join(", "))))
}

/// Whether each of `purposes` lies within one of `allowed`.
pub(crate) fn all_within(purposes: &[String], allowed: &[String], known: &Hierarchy) -> bool {
    let within = |purpose: &String| {
        allowed.iter().any(|whole| whole == ANY_PURPOSE || known.is_within(purpose, whole))
    };
    purposes.iter().all(within)
}

/// Every purpose for which `policy` permits some use; [`ANY_PURPOSE`] where one of the ways in which it does so, through
/// `or` and `xone`, names none.
#[must_use]
pub fn purposes_of(policy: &Policy) -> Vec<String> {
    let mut purposes = Vec::new();
    for permission in &policy.permissions {
        let Some(ways) = policy_engine::ways(&permission.constraints) else {
            // More than can be looked at.
            purposes.push(ANY_PURPOSE.to_owned());
            continue;
        };
        for way in ways {
            let before = purposes.len();
            for atom in way {
                let names = matches!(
                    atom.operator,
                    Operator::Eq | Operator::IsA | Operator::IsAnyOf | Operator::IsPartOf
                );
                if atom.left == "purpose" && names {
                    purposes.extend(atom.right.iter().filter_map(|value| match value {
                        Value::Term(term) => Some(term.clone()),
                        _ => None,
                    }));
                }
            }
            if purposes.len() == before {
                purposes.push(ANY_PURPOSE.to_owned());
            }
        }
    }
    purposes.sort();
    purposes.dedup();
    purposes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_description_is_read_and_bounded() {
        let good = json!({"subject": "user", "attributes": {"lat": {"category": "https://w3id.org/dpv/pd#Location"},
            "plan": {"category": "https://w3id.org/dpv/pd#Service", "basis": "https://w3id.org/dpv#Contract"}}});
        let personal = Personal::parse(good).unwrap();
        assert!(personal.needs_consent("lat") && !personal.needs_consent("plan"));
        assert!(!personal.needs_consent("colour"), "not about the person");
        let known = Hierarchy::shipped();
        let barred = Personal::parse(
            json!({"subject": "user", "attributes": {"lat": {"category": "https://w3id.org/dpv/pd#Location",
            "purposes": ["https://w3id.org/dpv#ResearchAndDevelopment"]}}}),
        )
        .unwrap();
        assert!(!barred.bars("lat", &["https://w3id.org/dpv#AcademicResearch".to_owned()], &known));
        let marketing = ["https://w3id.org/dpv#Marketing".to_owned()];
        assert!(barred.bars("lat", &marketing, &known));
        assert_eq!(barred.left_out(&marketing, &known, |_| true), ["lat"], "whoever permits it");
        assert_eq!(personal.left_out(&marketing, &known, |_| false), ["lat"], "the plan needs no permission");
        assert!(personal.left_out(&marketing, &known, |name| name == "lat").is_empty());
        let refused = |json: Json| Personal::parse(json).unwrap_err().to_string();
        assert!(refused(json!({"subject": ""})).starts_with("/subject"));
        assert!(refused(json!({"subject": "a", "basis": "because"})).starts_with("/basis"));
        let public = "https://w3id.org/dpv#PublicInterest";
        assert!(refused(json!({"subject": "a", "basis": public})).starts_with("/purposes"));
        assert!(refused(json!({"subject": "a", "colour": 1})).contains("colour"));
    }

    #[test]
    fn words_in_place_of_terms_are_refused_where_it_is_published() {
        let wrong = |attribute: Json, more: Json| {
            let mut json = json!({"subject": "user", "attributes": {"lat": attribute}});
            json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Personal::parse(json).unwrap().check_terms().unwrap_err().to_string()
        };
        let fine = json!({"category": "https://w3id.org/dpv/pd#Location"});
        assert!(
            wrong(json!({"category": "location"}), json!({}))
                .starts_with("/attributes/lat/category: `location`")
        );
        assert!(wrong(fine.clone(), json!({"processing": ["share"]})).contains("https://w3id.org/dpv#Share"));
        assert!(wrong(fine.clone(), json!({"purposes": ["research"]})).starts_with("/purposes/0"));
        let barred = json!({"category": "https://w3id.org/dpv/pd#Location", "purposes": ["research"]});
        assert!(wrong(barred, json!({})).starts_with("/attributes/lat/purposes/0"));
        let good = json!({"subject": "user", "attributes": {"lat": fine}});
        assert_eq!(Personal::parse(good).unwrap().check_terms(), Ok(()));
    }

    #[test]
    fn a_way_that_names_no_purpose_is_a_way_for_any() {
        let purpose = |iri: &str| json!({"leftOperand": "purpose", "operator": "isA", "rightOperand": iri});
        let time =
            json!({"leftOperand": "dateTime", "operator": "lt", "rightOperand": "2030-01-01T00:00:00Z"});
        let of = |constraint: Json| {
            let json = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [constraint]}]});
            purposes_of(&Policy::parse(&json).unwrap())
        };
        for logical in ["or", "xone"] {
            assert_eq!(of(json!({logical: [purpose("urn:a"), time]})), [ANY_PURPOSE, "urn:a"], "{logical}");
            assert_eq!(of(json!({logical: [purpose("urn:a"), purpose("urn:b")]})), ["urn:a", "urn:b"]);
            let nested = json!({"and": [{logical: [time, {"and": [purpose("urn:a"), time]}]}]});
            assert_eq!(of(nested), [ANY_PURPOSE, "urn:a"]);
        }
        for logical in ["and", "andSequence"] {
            assert_eq!(of(json!({logical: [purpose("urn:a"), time]})), ["urn:a"], "{logical}");
            let either = json!({logical: [purpose("urn:a"), {"or": [time, time]}]});
            assert_eq!(of(either), ["urn:a"], "every way is for it");
        }
        let two = json!({"or": [time, time]});
        let many = json!({"and": [purpose("urn:a"), two, two, two, two, two, two, two, two, two, two, two, two, two]});
        assert_eq!(of(many), [ANY_PURPOSE], "more ways than are looked at");
        // What a consent for research covers is therefore not the way without a purpose.
        let known = Hierarchy::shipped();
        let research = "https://w3id.org/dpv#ResearchAndDevelopment";
        let allowed = [research.to_owned()];
        assert!(!all_within(&of(json!({"or": [purpose(research), time]})), &allowed, &known));
        assert!(all_within(&of(json!({"and": [purpose(research), time]})), &allowed, &known));
    }

    #[test]
    fn purposes_are_all_that_a_policy_permits() {
        let policy = |json: Json| Policy::parse(&json).unwrap();
        let two = policy(json!({"@type": "Set", "permission": [
            {"action": "use", "constraint": [{"leftOperand": "purpose", "operator": "isAnyOf", "rightOperand": ["urn:b", "urn:a"]}]}]}));
        assert_eq!(purposes_of(&two), ["urn:a", "urn:b"]);
        let open = policy(json!({"@type": "Set", "permission": [{"action": "use"}]}));
        assert_eq!(purposes_of(&open), [ANY_PURPOSE]);
        let known = Hierarchy::shipped();
        let research = "https://w3id.org/dpv#ResearchAndDevelopment".to_owned();
        let academic = "https://w3id.org/dpv#AcademicResearch".to_owned();
        assert!(all_within(std::slice::from_ref(&academic), std::slice::from_ref(&research), &known));
        assert!(!all_within(&[research], &[academic], &known), "more than was permitted");
    }
}
