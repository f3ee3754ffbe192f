//! The filter of a catalog request (Dataspace Protocol, section 5.3.1: implementation-specific). Ours is a list of objects;
//! a dataset must fit every member of each.

use policy_engine::Hierarchy;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::description::Description;
use crate::model::Asset;

/// Most objects in one filter.
const MAX_TERMS: usize = 16;
/// Longest value, in bytes.
const MAX_TEXT: usize = 500;

/// What datasets must fit; nothing, by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<Terms>,
}

/// The members of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Terms {
    /// Words, each of which stands in title, description, keywords, publisher or id.
    text: Option<String>,
    keyword: Option<String>,
    theme: Option<String>,
    /// A place that the dataset's lies within.
    place: Option<String>,
    /// The dataset's period ends no earlier.
    from: Option<String>,
    /// The dataset's period begins no later.
    until: Option<String>,
    /// Its media type.
    format: Option<String>,
    license: Option<String>,
    publisher: Option<String>,
    #[serde(rename = "conformsTo")]
    conforms_to: Option<String>,
}

/// What of a dataset filters ask about, made once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Searchable {
    text: String,
    description: Description,
}

impl Searchable {
    pub(crate) fn of(asset: &Asset) -> Self {
        let description = Description::from_properties(&asset.properties);
        let mut text = format!("{}\n{}\n", asset.id, description.title);
        for part in [&description.description, &description.publisher].into_iter().flatten() {
            text.push_str(part);
            text.push('\n');
        }
        text.push_str(&description.keywords.join("\n"));
        Self { text: text.to_lowercase(), description }
    }
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// A member that this node does not know, a value that is no text, or too much; names the place.
    pub fn parse(filter: &[Json]) -> Result<Self, String> {
        if filter.len() > MAX_TERMS {
            return Err(format!("/filter: has {} entries, more than {MAX_TERMS}", filter.len()));
        }
        let mut terms = Vec::new();
        for (index, one) in filter.iter().enumerate() {
            let place = |error: &dyn std::fmt::Display| format!("/filter/{index}: {error}");
            if !one.is_object() {
                return Err(place(
                    &"must be an object, for example {\"text\": \"noise\", \"place\": \"BE\"}",
                ));
            }
            let read: Terms = serde_json::from_value(one.clone()).map_err(|error| place(&error))?;
            let values = [
                &read.text,
                &read.keyword,
                &read.theme,
                &read.place,
                &read.from,
                &read.until,
                &read.format,
                &read.license,
                &read.publisher,
                &read.conforms_to,
            ];
            if values.into_iter().flatten().any(|text| text.is_empty() || text.len() > MAX_TEXT) {
                return Err(place(&format!("a value is empty or longer than {MAX_TEXT} bytes")));
            }
            terms.push(read);
        }
        Ok(Self { terms })
    }

    /// Whether everything fits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    pub(crate) fn fits(&self, dataset: &Searchable, known: &Hierarchy) -> bool {
        self.terms.iter().all(|terms| terms.fits(dataset, known))
    }
}

impl Terms {
    fn fits(&self, dataset: &Searchable, known: &Hierarchy) -> bool {
        let described = &dataset.description;
        let same = |wanted: &Option<String>, given: Option<&String>| {
            wanted.as_ref().is_none_or(|wanted| given.is_some_and(|given| given.eq_ignore_ascii_case(wanted)))
        };
        let one_of = |wanted: &Option<String>, given: &[String]| {
            wanted
                .as_ref()
                .is_none_or(|wanted| given.iter().any(|given| given.to_lowercase() == wanted.to_lowercase()))
        };
        let text = self.text.as_ref().is_none_or(|wanted| {
            wanted.to_lowercase().split_whitespace().all(|word| dataset.text.contains(word))
        });
        let place = self.place.as_ref().is_none_or(|wanted| {
            described.place.as_ref().is_some_and(|given| given == wanted || known.is_within(given, wanted))
        });
        // As texts, days and instants of XML Schema are in the order of time, up to the day; a dataset that does not say
        // is not excluded.
        let day = |text: &str| text.get(..10).unwrap_or(text).to_owned();
        let from = self
            .from
            .as_ref()
            .is_none_or(|from| described.until.as_ref().is_none_or(|until| day(until) >= day(from)));
        let until = self
            .until
            .as_ref()
            .is_none_or(|until| described.from.as_ref().is_none_or(|from| day(from) <= day(until)));
        text && place
            && from
            && until
            && same(&self.format, described.media_type.as_ref())
            && same(&self.license, described.license.as_ref())
            && same(&self.publisher, described.publisher.as_ref())
            && one_of(&self.keyword, &described.keywords)
            && one_of(&self.theme, &described.themes)
            && one_of(&self.conforms_to, &described.conforms_to)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_member_must_fit() {
        let description = Description {
            title: "Hourly NO2 in Antwerp".to_owned(),
            keywords: vec!["air quality".to_owned()],
            place: Some("BE".to_owned()),
            from: Some("2019-05-07".to_owned()),
            until: Some("2019-06-17T12:00:00Z".to_owned()),
            media_type: Some("text/csv".to_owned()),
            ..Description::default()
        };
        let properties = description.to_properties();
        let asset = serde_json::from_value(json!({"@id": "urn:no2", "properties": properties})).unwrap();
        let dataset = Searchable::of(&asset);
        let known = Hierarchy::shipped();
        let fits = |filter: Json| Filter::parse(&[filter]).unwrap().fits(&dataset, &known);
        for yes in [
            json!({}),
            json!({"text": "no2 HOURLY"}),
            json!({"keyword": "Air Quality", "format": "text/csv"}),
            json!({"place": "BE"}),
            json!({"from": "2019-06-01", "until": "2019-06-02"}),
            json!({"until": "2019-05-07"}),
        ] {
            assert!(fits(yes.clone()), "{yes}");
        }
        for no in [
            json!({"text": "no2 daily"}),
            json!({"keyword": "noise"}),
            json!({"place": "FR"}),
            json!({"from": "2019-06-18"}),
            json!({"until": "2019-05-06"}),
            json!({"format": "application/json"}),
            json!({"license": "https://x.example"}),
        ] {
            assert!(!fits(no.clone()), "{no}");
        }
        assert!(
            !Filter::parse(&[json!({"text": "no2"}), json!({"place": "FR"})]).unwrap().fits(&dataset, &known)
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let refused = |filter: Json| Filter::parse(&[json!({}), filter]).unwrap_err();
        assert!(refused(json!({"colour": "red"})).starts_with("/filter/1: unknown field `colour`"));
        assert!(refused(json!("x")).contains("must be an object"));
        assert!(refused(json!({"text": 5})).contains("/filter/1"));
        assert!(refused(json!({"text": "x".repeat(501)})).contains("longer than"));
        assert!(Filter::parse(&vec![json!({}); 17]).is_err());
    }
}
