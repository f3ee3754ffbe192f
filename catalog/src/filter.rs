//! The filter of a catalog request (Dataspace Protocol, section 5.3.1: implementation-specific). Ours is a list of objects;
//! a dataset must fit every member of each.

use policy_engine::Purpose;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::criterion::{Criterion, Path};
use crate::period::Time;

/// Most datasets of a page in another order than that of their ids.
const MAX_SORTED: u32 = 1000;
/// Most objects in one filter.
const MAX_TERMS: usize = 16;
/// Longest value, in bytes.
const MAX_TEXT: usize = 500;

/// What datasets must fit; nothing, by default.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    terms: Vec<Terms>,
    criteria: Vec<Criterion>,
    order: Option<Order>,
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

/// By what datasets are sorted, where somebody asks for another order than that of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The property.
    pub field: Path,
    /// The largest first.
    pub descending: bool,
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
    #[serde(default)]
    sort_order: Option<String>,
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
    fn window(&self) -> Result<Window, String> {
        if self.limit == 0 {
            return Err("limit: must be at least 1".to_owned());
        }
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Window { offset: size(self.offset), limit: size(self.limit) })
    }

    fn order(&self) -> Result<Option<Order>, String> {
        let descending = match self.sort_order.as_deref() {
            None | Some("ASC") => false,
            Some("DESC") => true,
            Some(other) => return Err(format!("sortOrder: `{other}` is not ASC or DESC")),
        };
        if self.sort_field.is_some() && self.limit > MAX_SORTED {
            return Err(format!("limit: at most {MAX_SORTED} are sorted at once; page by offset"));
        }
        let field = match &self.sort_field {
            Some(field) => Path::parse(field).map_err(|reason| format!("sortField: {reason}"))?,
            // Without a field to sort by, it means nothing.
            None => return Ok(None),
        };
        Ok(Some(Order { field, descending }))
    }

    fn criteria(self) -> Result<Vec<Criterion>, String> {
        if self.filter_expression.len() > MAX_TERMS {
            return Err(format!("filterExpression: has more than {MAX_TERMS} entries"));
        }
        let read = |(index, one): (usize, Json)| {
            let criterion: Criterion =
                serde_json::from_value(one).map_err(|error| format!("filterExpression/{index}: {error}"))?;
            let checked = criterion.check();
            checked.map_err(|(member, reason)| format!("filterExpression/{index}/{member}: {reason}"))?;
            Ok(criterion)
        };
        self.filter_expression.into_iter().enumerate().map(read).collect()
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
        let mut whole = Self::default();
        for (index, one) in filter.iter().enumerate() {
            let place = |error: &dyn std::fmt::Display| format!("/filter/{index}: {error}");
            if !one.is_object() {
                return Err(place(
                    &"must be an object, for example {\"text\": \"noise\", \"place\": \"BE\"}",
                ));
            }
            if one.get("@type").and_then(Json::as_str) == Some(QUERY_SPEC) {
                let query: QuerySpec = serde_json::from_value(one.clone()).map_err(|error| place(&error))?;
                whole.window = Some(query.window().map_err(|reason| place(&reason))?);
                whole.order = query.order().map_err(|reason| place(&reason))?;
                whole.criteria.extend(query.criteria().map_err(|reason| place(&reason))?);
                if whole.criteria.len() > MAX_TERMS {
                    return Err(place(&format!("filterExpression: more than {MAX_TERMS} entries in all")));
                }
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
            for (name, time) in [("from", &read.from), ("until", &read.until)] {
                if let Some(time) = time.as_deref().filter(|time| Time::parse(time).is_none()) {
                    return Err(place(&format!("{name}: `{time}` is no year, month, day or instant")));
                }
            }
            if let Some(purpose) = &read.purpose {
                let read = Purpose::new(purpose).map_err(|error| place(&error))?;
                whole.purposes.push((purpose.clone(), read));
            }
            whole.terms.push(read);
        }
        Ok(whole)
    }

    /// Which of those that fit are wanted, if anything is said of it.
    #[must_use]
    pub const fn window(&self) -> Option<Window> {
        self.window
    }

    /// Whether everything fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.criteria.is_empty() && self.terms.iter().all(|terms| *terms == Terms::default())
    }

    /// What a dataset must satisfy beside the terms, by what is told of it.
    #[must_use]
    pub fn criteria(&self) -> &[Criterion] {
        &self.criteria
    }

    /// In which order they are wanted, where not in that of their ids.
    #[must_use]
    pub const fn order(&self) -> Option<&Order> {
        self.order.as_ref()
    }

    /// The ids of the only datasets that can satisfy the criteria; `None` where they say nothing of ids.
    #[must_use]
    pub fn ids(&self) -> Option<Vec<&str>> {
        crate::criterion::ids(&self.criteria)
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
        assert!(refused(json!({"from": "soon"})).starts_with("/filter/1: from: `soon`"));
        assert!(refused(json!({"text": 5})).contains("/filter/1"));
        assert!(refused(json!({"text": "x".repeat(501)})).contains("longer than"));
        assert!(Filter::parse(&vec![json!({}); 17]).is_err());
        let query = |more: Json| {
            let mut query = json!({"@type": "QuerySpec"});
            query.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            query
        };
        assert!(refused(query(json!({"sortField": "'name"}))).starts_with("/filter/1: sortField"));
        let near = json!({"operandLeft": "name", "operator": "near", "operandRight": 1});
        let near = refused(query(json!({"filterExpression": [near]})));
        assert!(
            near.starts_with("/filter/1: filterExpression/0/operator: `near` is not understood"),
            "{near}"
        );
        assert!(refused(query(json!({"filterExpression": [{}]}))).contains("filterExpression"));
        assert!(refused(query(json!({"limit": 0}))).contains("limit"));
        assert!(refused(query(json!({"limit": -1}))).starts_with("/filter/1"));
        assert!(refused(query(json!({"colour": "red"}))).contains("unknown field `colour`"));
        let filter =
            Filter::parse(&[query(json!({"offset": 7, "sortOrder": "DESC"})), json!({"text": "x"})]).unwrap();
        assert_eq!(filter.window(), Some(Window { offset: 7, limit: 50 }));
        assert_eq!(filter.terms().len(), 1);
        assert_eq!(filter.order(), None, "without a field");
        let sorted = Filter::parse(&[query(json!({"sortField": "name", "sortOrder": "DESC"}))]).unwrap();
        assert_eq!(sorted.order(), Some(&Order { field: Path::parse("name").unwrap(), descending: true }));
        let by_id =
            json!({"operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "=", "operandRight": "x"});
        let filter = Filter::parse(&[query(json!({"filterExpression": [by_id]}))]).unwrap();
        assert_eq!(filter.ids(), Some(vec!["x"]));
        assert!(!filter.is_empty());
    }
}
