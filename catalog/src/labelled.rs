//! Things that are known by an IRI, by what they are called, or by both.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::feed::is_iri;
use crate::text::Text;
use crate::vocabulary as iri;

/// A publisher, a place, a statement: an IRI, a text in one or more languages, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct Labelled {
    /// Its IRI.
    pub iri: Option<String>,
    /// What it is called, or says.
    pub name: Text,
}

/// In files: `"City of Antwerp"`, `{en = "...", nl = "..."}`, or `{iri = "https://...", name = ...}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Both { iri: String, name: Text },
    Text(Text),
}

impl From<Form> for Labelled {
    fn from(form: Form) -> Self {
        match form {
            Form::Both { iri, name } => Self { iri: Some(iri), name },
            Form::Text(text) => text.into(),
        }
    }
}

impl From<Labelled> for Form {
    fn from(one: Labelled) -> Self {
        match one.iri {
            Some(iri) if !one.name.is_empty() => Self::Both { iri, name: one.name },
            Some(iri) => Self::Text(iri.into()),
            None => Self::Text(one.name),
        }
    }
}

impl From<Text> for Labelled {
    /// A text without a language that is an IRI stands for one.
    fn from(text: Text) -> Self {
        let one = match text.tagged().collect::<Vec<_>>().as_slice() {
            [("", one)] if is_iri(one) => Some((*one).to_owned()),
            _ => None,
        };
        match one {
            Some(iri) => Self { iri: Some(iri), name: Text::default() },
            None => Self { iri: None, name: text },
        }
    }
}

impl From<String> for Labelled {
    fn from(text: String) -> Self {
        Text::from(text).into()
    }
}

impl From<&str> for Labelled {
    fn from(text: &str) -> Self {
        Text::from(text).into()
    }
}

/// By which properties things are called.
const NAMES: [&str; 8] = [
    iri::GEOGRAPHIC_NAME,
    iri::LABEL,
    iri::NAME,
    iri::PREFERRED,
    iri::TITLE,
    iri::DESCRIPTION,
    iri::BODY_VALUE,
    iri::FULL_NAME,
];

impl Labelled {
    /// In a text: what it is called, else its IRI.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        self.name.plain().or(self.iri.as_deref())
    }

    /// Its IRI and all of its names.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.iri.as_deref().into_iter().chain(self.name.all())
    }

    /// What it is known by: its IRI, else its names.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let names = self.iri.is_none().then(|| self.name.all());
        self.iri.as_deref().into_iter().chain(names.into_iter().flatten())
    }

    /// As a property's value; `called` is the property by which it is called.
    pub(crate) fn to_json(&self, called: &str) -> Json {
        match &self.iri {
            None => self.name.to_json(),
            Some(iri) if self.name.is_empty() => json!(iri),
            Some(iri) => Json::Object(Map::from_iter([
                ("@id".to_owned(), json!(iri)),
                (called.to_owned(), self.name.to_json()),
            ])),
        }
    }

    /// From a property's value: of several things the first, of several texts all.
    pub(crate) fn from_json(value: &Json) -> Option<Self> {
        let all = match value {
            Json::Array(all) => all.as_slice(),
            one => std::slice::from_ref(one),
        };
        let things = all.iter().filter_map(Json::as_object).filter(|map| !map.contains_key("@value"));
        let thing = things.map(|map| Self {
            iri: map.get("@id").and_then(Json::as_str).map(str::to_owned),
            name: NAMES.iter().find_map(|name| map.get(*name)).map(Text::from_json).unwrap_or_default(),
        });
        let found = thing.into_iter().find(|one| one.plain().is_some());
        found.or_else(|| Some(Text::from_json(value).into())).filter(|one: &Self| one.plain().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_survive_json_and_files() {
        let mut name = Text::default();
        name.set("de", "Stadt");
        name.set("en", "City");
        let both = Labelled { iri: Some("https://city.example/org".to_owned()), name: name.clone() };
        assert_eq!((both.plain(), both.all().count(), both.keys().count()), (Some("City"), 3, 1));
        let named = Labelled { iri: None, name };
        for one in [both, named, "https://city.example/org".into(), "BE".into()] {
            assert_eq!(Labelled::from_json(&one.to_json(iri::NAME)).as_ref(), Some(&one));
            let file = serde_json::to_value(&one).unwrap();
            assert_eq!(serde_json::from_value::<Labelled>(file).unwrap(), one);
        }
        assert_eq!(Labelled::from("https://a.example").iri.as_deref(), Some("https://a.example"));
        for nothing in [json!([]), json!(""), json!(null), json!({"@id": 5}), json!({})] {
            assert_eq!(Labelled::from_json(&nothing), None, "{nothing}");
        }
        let second = json!([{"http://x/y": 1}, {"@id": "urn:a"}]);
        assert_eq!(Labelled::from_json(&second).unwrap().iri.as_deref(), Some("urn:a"));
    }
}
