//! The filter of a catalog request (Dataspace Protocol, section 5.3.1: implementation-specific). Ours is a list of objects;
//! a dataset must fit every member of each.

use policy_engine::Purpose;
use serde::Deserialize;
use serde_json::Value as Json;

/// Most objects in one filter.
const MAX_TERMS: usize = 16;
/// Longest value, in bytes.
const MAX_TEXT: usize = 500;

/// What datasets must fit; nothing, by default.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    terms: Vec<Terms>,
    purposes: Vec<(String, Purpose)>,
    window: Option<Window>,
}

/// Which of the datasets that fit are wanted, as Eclipse EDC asks in every catalog request (its QuerySpec).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// So many are passed over.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// EDC's QuerySpec; what it sends where nobody wishes anything, and what can be honoured of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct QuerySpec {
    #[serde(rename = "@type")]
    _kind: String,
    #[serde(rename = "@id", default)]
    _id: Option<String>,
    #[serde(default)]
    offset: u32,
    #[serde(default = "usual_limit")]
    limit: u32,
    // Without a field to sort by, it means nothing.
    #[serde(rename = "sortOrder", default)]
    _sort_order: Option<String>,
    #[serde(default)]
    sort_field: Option<String>,
    #[serde(default)]
    filter_expression: Vec<Json>,
}

const fn usual_limit() -> u32 {
    50
}

/// The type of a QuerySpec.
const QUERY_SPEC: &str = "QuerySpec";

impl QuerySpec {
    fn window(self) -> Result<Window, String> {
        if let Some(field) = self.sort_field {
            return Err(format!(
                "sortField: this node gives its datasets in the order of their ids, not of `{field}`"
            ));
        }
        if !self.filter_expression.is_empty() {
            let other = "this node is asked with terms of its own, for example {\"text\": \"noise\"}";
            return Err(format!("filterExpression: no criterion of a QuerySpec is understood; {other}"));
        }
        if self.limit == 0 {
            return Err("limit: must be at least 1".to_owned());
        }
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Window { offset: size(self.offset), limit: size(self.limit) })
    }
}

/// The members of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Terms {
    /// Words, each of which stands in title, description, keywords, publisher or id, or begins a word there.
    pub(crate) text: Option<String>,
    pub(crate) keyword: Option<String>,
    pub(crate) theme: Option<String>,
    /// A place that the dataset's lies within.
    pub(crate) place: Option<String>,
    /// The dataset's period ends no earlier.
    pub(crate) from: Option<String>,
    /// The dataset's period begins no later.
    pub(crate) until: Option<String>,
    /// Its media type.
    pub(crate) format: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) publisher: Option<String>,
    #[serde(rename = "conformsTo")]
    pub(crate) conforms_to: Option<String>,
    /// A purpose for which some offer permits use.
    purpose: Option<String>,
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
        let (mut terms, mut purposes, mut window) = (Vec::new(), Vec::new(), None);
        for (index, one) in filter.iter().enumerate() {
            let place = |error: &dyn std::fmt::Display| format!("/filter/{index}: {error}");
            if !one.is_object() {
                return Err(place(
                    &"must be an object, for example {\"text\": \"noise\", \"place\": \"BE\"}",
                ));
            }
            if one.get("@type").and_then(Json::as_str) == Some(QUERY_SPEC) {
                let query: QuerySpec = serde_json::from_value(one.clone()).map_err(|error| place(&error))?;
                window = Some(query.window().map_err(|reason| place(&reason))?);
                continue;
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
                &read.purpose,
            ];
            if values.into_iter().flatten().any(|text| text.is_empty() || text.len() > MAX_TEXT) {
                return Err(place(&format!("a value is empty or longer than {MAX_TEXT} bytes")));
            }
            if let Some(purpose) = &read.purpose {
                let read = Purpose::new(purpose).map_err(|error| place(&error))?;
                purposes.push((purpose.clone(), read));
            }
            terms.push(read);
        }
        Ok(Self { terms, purposes, window })
    }

    /// Which of those that fit are wanted, if anything is said of it.
    #[must_use]
    pub const fn window(&self) -> Option<Window> {
        self.window
    }

    /// Whether everything fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.iter().all(|terms| *terms == Terms::default())
    }

    /// The purposes for which offers must permit use, as written and as read.
    pub(crate) fn purposes(&self) -> &[(String, Purpose)] {
        &self.purposes
    }

    /// The objects of the filter.
    pub(crate) fn terms(&self) -> &[Terms] {
        &self.terms
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let refused = |filter: Json| Filter::parse(&[json!({}), filter]).unwrap_err();
        assert!(refused(json!({"colour": "red"})).starts_with("/filter/1: unknown field `colour`"));
        assert!(refused(json!("x")).contains("must be an object"));
        assert!(refused(json!({"text": 5})).contains("/filter/1"));
        assert!(refused(json!({"text": "x".repeat(501)})).contains("longer than"));
        assert!(Filter::parse(&vec![json!({}); 17]).is_err());
        let query = |more: Json| {
            let mut query = json!({"@type": "QuerySpec"});
            query.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            query
        };
        assert!(refused(query(json!({"sortField": "name"}))).starts_with("/filter/1: sortField"));
        assert!(refused(query(json!({"filterExpression": [{}]}))).contains("filterExpression"));
        assert!(refused(query(json!({"limit": 0}))).contains("limit"));
        assert!(refused(query(json!({"limit": -1}))).starts_with("/filter/1"));
        assert!(refused(query(json!({"colour": "red"}))).contains("unknown field `colour`"));
        let filter =
            Filter::parse(&[query(json!({"offset": 7, "sortOrder": "DESC"})), json!({"text": "x"})]).unwrap();
        assert_eq!(filter.window(), Some(Window { offset: 7, limit: 50 }));
        assert_eq!(filter.terms().len(), 1);
    }
}
