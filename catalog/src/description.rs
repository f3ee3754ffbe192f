//! What a dataset says of itself (DCAT 3, DCAT-AP 3), as properties under absolute IRIs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

const TITLE: &str = "http://purl.org/dc/terms/title";
const DESCRIPTION: &str = "http://purl.org/dc/terms/description";
const KEYWORD: &str = "http://www.w3.org/ns/dcat#keyword";
const PUBLISHER: &str = "http://purl.org/dc/terms/publisher";
const SPATIAL: &str = "http://purl.org/dc/terms/spatial";
const TEMPORAL: &str = "http://purl.org/dc/terms/temporal";
const START: &str = "http://www.w3.org/ns/dcat#startDate";
const END: &str = "http://www.w3.org/ns/dcat#endDate";
const LICENSE: &str = "http://purl.org/dc/terms/license";
const THEME: &str = "http://www.w3.org/ns/dcat#theme";
const CONTACT: &str = "http://www.w3.org/ns/dcat#contactPoint";
const FREQUENCY: &str = "http://purl.org/dc/terms/accrualPeriodicity";
const CONFORMS_TO: &str = "http://purl.org/dc/terms/conformsTo";
const MEDIA_TYPE: &str = "http://www.w3.org/ns/dcat#mediaType";

/// The properties of a dataset that `publish` asks for and `catalog` shows; all optional but the title.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Description {
    /// `dct:title`.
    pub title: String,
    /// `dct:description`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `dcat:keyword`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// `dct:publisher`, a name or IRI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    /// `dct:spatial`: place name or IRI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// `dct:temporal` start, an xsd:date or xsd:dateTime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `dct:temporal` end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// `dct:license`, an IRI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// `dcat:theme`, IRIs of the EU's data themes or others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub themes: Vec<String>,
    /// `dcat:contactPoint`, a mail address or IRI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// `dct:accrualPeriodicity`, an IRI of the EU's frequencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency: Option<String>,
    /// `dct:conformsTo`, IRIs of standards or Smart Data Models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conforms_to: Vec<String>,
    /// `dcat:mediaType` of the distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

impl Description {
    /// As properties of an asset.
    #[must_use]
    pub fn to_properties(&self) -> Map<String, Json> {
        let mut map = Map::new();
        let mut text = |iri: &str, value: Option<&String>| {
            if let Some(value) = value {
                map.insert(iri.to_owned(), json!(value));
            }
        };
        text(TITLE, Some(&self.title));
        text(DESCRIPTION, self.description.as_ref());
        text(PUBLISHER, self.publisher.as_ref());
        text(SPATIAL, self.place.as_ref());
        text(LICENSE, self.license.as_ref());
        text(MEDIA_TYPE, self.media_type.as_ref());
        text(CONTACT, self.contact.as_ref());
        text(FREQUENCY, self.frequency.as_ref());
        for (iri, values) in
            [(KEYWORD, &self.keywords), (THEME, &self.themes), (CONFORMS_TO, &self.conforms_to)]
        {
            if !values.is_empty() {
                map.insert(iri.to_owned(), json!(values));
            }
        }
        let mut period = Map::new();
        for (iri, value) in [(START, &self.from), (END, &self.until)] {
            if let Some(value) = value {
                period.insert(iri.to_owned(), json!(value));
            }
        }
        if !period.is_empty() {
            map.insert(TEMPORAL.to_owned(), Json::Object(period));
        }
        map
    }

    /// From properties as published by us or by a peer; what is missing stays empty.
    #[must_use]
    pub fn from_properties(properties: &Map<String, Json>) -> Self {
        let text = |names: &[&str]| names.iter().find_map(|name| properties.get(*name)).and_then(literal);
        let period =
            |iri: &str| properties.get(TEMPORAL).and_then(|period| period.get(iri)).and_then(literal);
        let texts = |names: &[&str]| match names.iter().find_map(|name| properties.get(*name)) {
            Some(Json::Array(list)) => list.iter().filter_map(literal).collect(),
            Some(one) => literal(one).into_iter().collect(),
            None => Vec::new(),
        };
        Self {
            title: text(&[TITLE, "title", "name"]).unwrap_or_default(),
            description: text(&[DESCRIPTION, "description"]),
            keywords: texts(&[KEYWORD, "keyword"]),
            themes: texts(&[THEME, "theme"]),
            contact: text(&[CONTACT]),
            frequency: text(&[FREQUENCY]),
            conforms_to: texts(&[CONFORMS_TO]),
            publisher: text(&[PUBLISHER, "publisher"]),
            place: text(&[SPATIAL, "spatial"]),
            from: period(START),
            until: period(END),
            license: text(&[LICENSE, "license"]),
            media_type: text(&[MEDIA_TYPE, "contenttype"]),
        }
    }

    /// The property that belongs to the distribution.
    #[must_use]
    pub fn split_distribution(mut properties: Map<String, Json>) -> (Map<String, Json>, Map<String, Json>) {
        let moved = properties.remove_entry(MEDIA_TYPE);
        (properties, moved.into_iter().collect())
    }
}

fn literal(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Object(map) => {
            map.get("@value").or_else(|| map.get("@id")).and_then(Json::as_str).map(str::to_owned)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_survives_its_properties() {
        let full = Description {
            title: "NO2".to_owned(),
            description: Some("hourly".to_owned()),
            keywords: vec!["air".to_owned(), "no2".to_owned()],
            publisher: Some("Antwerp".to_owned()),
            place: Some("BE".to_owned()),
            from: Some("2019-05-01".to_owned()),
            until: Some("2019-06-30".to_owned()),
            license: Some("https://creativecommons.org/licenses/by/4.0/".to_owned()),
            themes: vec!["http://publications.europa.eu/resource/authority/data-theme/ENVI".to_owned()],
            contact: Some("air@antwerp.example".to_owned()),
            frequency: Some("http://publications.europa.eu/resource/authority/frequency/HOURLY".to_owned()),
            conforms_to: vec![
                "https://smartdatamodels.org/dataModel.Environment/AirQualityObserved".to_owned(),
            ],
            media_type: Some("text/csv".to_owned()),
        };
        assert_eq!(Description::from_properties(&full.to_properties()), full);
        assert_eq!(Description::from_properties(&Map::new()), Description::default());
        let (dataset, distribution) = Description::split_distribution(full.to_properties());
        assert_eq!((dataset.len(), distribution.len()), (11, 1));
    }
}
