//! What a description lacks of what DCAT-AP 3.0 demands or recommends, and what of it portals cannot read.

use serde_json::{Map, Value as Json};

use crate::description::Description;
use crate::feed::{date, is_iri};

/// Commission Implementing Regulation (EU) 2023/138: which datasets are of high value.
const HVD_LAW: &str = "http://data.europa.eu/eli/reg_impl/2023/138/oj";

/// How much a remark matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// DCAT-AP demands it.
    Mandatory,
    /// It is there, and portals cannot read it.
    Unreadable,
    /// DCAT-AP recommends it.
    Recommended,
}

/// Something to do about a description.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Remark {
    /// How much it matters.
    pub weight: Weight,
    /// The property, as `publish` names it.
    pub property: &'static str,
    /// What to do.
    pub text: String,
}

/// What to do about `description`, what matters most first.
#[must_use]
pub fn lint(description: &Description) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut remark =
        |weight, property, text: &str| remarks.push(Remark { weight, property, text: text.to_owned() });
    if description.title.is_empty() {
        remark(Weight::Mandatory, "title", "is missing; portals show the id in its place");
    }
    if description.description.is_empty() {
        remark(Weight::Mandatory, "description", "is missing; portals show the title in its place");
    }
    let recommended = [
        ("contact", description.contact.is_none()),
        ("keyword", description.keywords.is_empty()),
        ("place", description.place.is_none()),
        ("publisher", description.publisher.is_none()),
        ("theme", description.themes.is_empty()),
        ("from and until", description.from.is_none() && description.until.is_none()),
        ("license", description.form.license.is_none()),
        ("media-type", description.form.media_type.is_none()),
    ];
    for (property, _) in recommended.into_iter().filter(|(_, missing)| *missing) {
        remark(Weight::Recommended, property, "is missing");
    }
    for (property, value) in [("from", &description.from), ("until", &description.until)] {
        if let Some(value) = value.as_deref().filter(|value| date(value).is_none()) {
            let text = format!(
                "`{value}` is no year (2026), month (2026-11), day (2026-11-25) or instant (2026-11-25T12:00:00Z)"
            );
            remark(Weight::Unreadable, property, &text);
        }
    }
    let terms = [
        ("theme", &description.themes),
        ("conforms-to", &description.conforms_to),
        ("language", &description.languages),
        ("hvd-category", &description.hvd_categories),
        ("legislation", &description.legislation),
    ];
    let terms =
        terms.into_iter().flat_map(|(property, values)| values.iter().map(move |value| (property, value)));
    let single = [
        ("license", &description.form.license),
        ("frequency", &description.frequency),
        ("documentation", &description.documentation),
    ];
    let single = single.into_iter().filter_map(|(property, value)| Some((property, value.as_ref()?)));
    for (property, value) in terms.chain(single).filter(|(_, value)| !is_iri(value)) {
        remark(
            Weight::Unreadable,
            property,
            &format!("`{value}` is no IRI, so portals cannot tell what it is"),
        );
    }
    if !description.hvd_categories.is_empty() && !description.legislation.iter().any(|law| law == HVD_LAW) {
        let text = format!("high-value datasets name the law that makes them so: {HVD_LAW}");
        remarks.push(Remark { weight: Weight::Mandatory, property: "legislation", text });
    }
    remarks.sort_by_key(|one| one.weight);
    remarks
}

/// The same about the properties of a dataset as they are kept, where geometries can be such as nobody can read.
#[must_use]
pub fn lint_properties(properties: &Map<String, Json>) -> Vec<Remark> {
    let unread = Description::unread_places(properties).into_iter();
    let mut remarks = lint(&Description::from_properties(properties));
    remarks.extend(unread.map(|text| Remark { weight: Weight::Unreadable, property: "bbox", text }));
    remarks.sort_by_key(|one| one.weight);
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::Form;
    use crate::description::tests::full;

    #[test]
    fn what_is_missing_or_cannot_be_read_is_named() {
        let remarks = lint(&Description::default());
        assert_eq!(remarks.iter().filter(|one| one.weight == Weight::Mandatory).count(), 2);
        assert_eq!(remarks.len(), 10);
        assert!(lint(&full()).is_empty());
        let mut properties = full().to_properties();
        assert!(lint_properties(&properties).is_empty());
        let lambert = "<http://www.opengis.net/def/crs/EPSG/0/31370> POINT(150000 170000)";
        let place = serde_json::json!({"@id": "urn:be", crate::vocabulary::BBOX: lambert});
        properties.insert(crate::vocabulary::SPATIAL.to_owned(), place);
        let remarks = lint_properties(&properties);
        assert!(remarks.len() == 1 && remarks[0].text.contains("EPSG:31370"), "{remarks:?}");
        let full = Description {
            until: Some("soon".to_owned()),
            form: Form { license: Some("ask us".to_owned()), ..full().form },
            legislation: Vec::new(),
            ..full()
        };
        let named: Vec<_> = lint(&full).into_iter().map(|one| (one.weight, one.property)).collect();
        assert_eq!(
            named,
            [
                (Weight::Mandatory, "legislation"),
                (Weight::Unreadable, "until"),
                (Weight::Unreadable, "license")
            ]
        );
    }
}
