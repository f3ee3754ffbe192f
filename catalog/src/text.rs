//! Texts in several languages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

/// A text: as it is, or in several languages by their tags (BCP 47).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct Text(BTreeMap<String, String>);

/// In files: `"NO2"`, or `{en = "Nitrogen dioxide", nl = "Stikstofdioxide"}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Plain(String),
    Tagged(BTreeMap<String, String>),
}

impl From<Form> for Text {
    fn from(form: Form) -> Self {
        match form {
            Form::Plain(text) => text.into(),
            Form::Tagged(texts) => Self(texts),
        }
    }
}

impl From<Text> for Form {
    fn from(text: Text) -> Self {
        match text.0.len() {
            0 => Self::Plain(String::new()),
            1 if text.0.contains_key("") => Self::Plain(text.plain().unwrap_or_default().to_owned()),
            _ => Self::Tagged(text.0),
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(if text.is_empty() { BTreeMap::new() } else { BTreeMap::from([(String::new(), text)]) })
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Text {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(|text| text.trim().is_empty())
    }

    /// One of the texts: the one without a language, else the English one, else the first.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        let found = self.0.get("").or_else(|| self.0.get("en")).or_else(|| self.0.values().next());
        found.map(String::as_str).filter(|text| !text.trim().is_empty())
    }

    /// All of the texts.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }

    /// All of them with their languages; an empty one where none is said.
    pub fn tagged(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(language, text)| (language.as_str(), text.as_str()))
    }

    /// Takes `text` in `language` as well.
    pub fn set(&mut self, language: &str, text: &str) {
        self.0.insert(language.to_owned(), text.to_owned());
    }

    /// As literals of JSON-LD, one for each language.
    pub(crate) fn to_literals(&self) -> Vec<Json> {
        let one = |(language, text): (&String, &String)| match language.as_str() {
            "" => json!(text),
            language => json!({"@value": text, "@language": language}),
        };
        self.0.iter().map(one).collect()
    }

    /// As a property's value in JSON-LD.
    pub(crate) fn to_json(&self) -> Json {
        let mut all = self.to_literals();
        if all.len() == 1 { all.pop().unwrap_or_default() } else { Json::Array(all) }
    }

    /// From a property's value; what is no text is left out.
    pub(crate) fn from_json(value: &Json) -> Self {
        let all = match value {
            Json::Array(all) => all.as_slice(),
            one => std::slice::from_ref(one),
        };
        let member = |map: &Map<String, Json>, name: &str| map.get(name)?.as_str().map(str::to_owned);
        let read = |one: &Json| match one {
            Json::String(text) => Some((String::new(), text.clone())),
            Json::Object(map) => Some((member(map, "@language").unwrap_or_default(), member(map, "@value")?)),
            _ => None,
        };
        // Of several texts in one language the first counts.
        let mut texts = BTreeMap::new();
        for (language, text) in all.iter().filter_map(read).filter(|(_, text)| !text.is_empty()) {
            texts.entry(language).or_insert(text);
        }
        Self(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_json_and_files() {
        let mut text = Text::from("NO2");
        assert_eq!((text.to_json(), text.plain()), (json!("NO2"), Some("NO2")));
        assert_eq!(serde_json::to_value(&text).unwrap(), json!("NO2"));
        text.set("nl", "Stikstof");
        for form in [text.to_json(), json!([{"@value": "x", "@language": "de"}])] {
            assert_eq!(
                Text::from_json(&form).to_json().as_array().map_or(1, Vec::len),
                Text::from_json(&form).all().count()
            );
        }
        assert_eq!(Text::from_json(&text.to_json()), text);
        let again: Text = serde_json::from_value(serde_json::to_value(&text).unwrap()).unwrap();
        assert_eq!(again, text);
        assert!(
            Text::default().is_empty() && Text::from(" ").is_empty() && Text::from(" ").plain().is_none()
        );
        let german = Text::from_json(&json!([{"@value": "x", "@language": "de"}, 5]));
        assert_eq!(german.plain(), Some("x"));
    }
}
