//! What a description lacks of what DCAT-AP 3.0 demands or recommends, and what of it portals cannot read.

use crate::description::Description;
use crate::feed::{date, is_iri};

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
    if description.title.trim().is_empty() {
        remark(Weight::Mandatory, "title", "is missing; portals show the id in its place");
    }
    if description.description.is_none() {
        remark(Weight::Mandatory, "description", "is missing; portals show the title in its place");
    }
    let recommended = [
        ("contact", description.contact.is_none()),
        ("keyword", description.keywords.is_empty()),
        ("place", description.place.is_none()),
        ("publisher", description.publisher.is_none()),
        ("theme", description.themes.is_empty()),
        ("from and until", description.from.is_none() && description.until.is_none()),
        ("license", description.license.is_none()),
        ("media-type", description.media_type.is_none()),
    ];
    for (property, _) in recommended.into_iter().filter(|(_, missing)| *missing) {
        remark(Weight::Recommended, property, "is missing");
    }
    for (property, value) in [("from", &description.from), ("until", &description.until)] {
        if let Some(value) = value.as_deref().filter(|value| date(value).is_none()) {
            let text =
                format!("`{value}` is neither a day (2026-11-25) nor an instant (2026-11-25T12:00:00Z)");
            remark(Weight::Unreadable, property, &text);
        }
    }
    let terms = [("theme", &description.themes), ("conforms-to", &description.conforms_to)];
    let terms =
        terms.into_iter().flat_map(|(property, values)| values.iter().map(move |value| (property, value)));
    let single = [("license", &description.license), ("frequency", &description.frequency)];
    let single = single.into_iter().filter_map(|(property, value)| Some((property, value.as_ref()?)));
    for (property, value) in terms.chain(single).filter(|(_, value)| !is_iri(value)) {
        remark(
            Weight::Unreadable,
            property,
            &format!("`{value}` is no IRI, so portals cannot tell what it is"),
        );
    }
    remarks.sort_by_key(|one| one.weight);
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_cannot_be_read_is_named() {
        let remarks = lint(&Description::default());
        assert_eq!(remarks.iter().filter(|one| one.weight == Weight::Mandatory).count(), 2);
        assert_eq!(remarks.len(), 10);
        let full = Description {
            title: "t".to_owned(),
            description: Some("d".to_owned()),
            keywords: vec!["k".to_owned()],
            publisher: Some("p".to_owned()),
            place: Some("BE".to_owned()),
            from: Some("2019-05-07".to_owned()),
            until: Some("soon".to_owned()),
            license: Some("ask us".to_owned()),
            themes: vec!["https://themes.example/air".to_owned()],
            contact: Some("a@b.example".to_owned()),
            frequency: None,
            conforms_to: Vec::new(),
            media_type: Some("text/csv".to_owned()),
        };
        let named: Vec<_> = lint(&full).into_iter().map(|one| (one.weight, one.property)).collect();
        assert_eq!(named, [(Weight::Unreadable, "until"), (Weight::Unreadable, "license")]);
    }
}
