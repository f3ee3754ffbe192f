//! What a dataset says of itself, as options and as files: for `publish` and `edit`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use catalog::{Description, Text};
use clap::Args;
use serde_json::{Map, Value};

/// The options; what is not given stays as it is.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Describe {
    /// What is said of it, from a file: TOML or JSON with the names of these options (`title`, `keywords`, `media-type`, ...),
    /// or Turtle with a dcat:Dataset. Options take the place of what the file says.
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,
    /// What it is called.
    #[arg(long)]
    pub title: Option<String>,
    /// What it is called in another language, such as `nl=Luchtkwaliteit`; may be repeated.
    #[arg(long = "title-in", value_name = "LANGUAGE=TEXT", value_parser = tagged)]
    pub titles: Vec<(String, String)>,
    /// What it holds.
    #[arg(long)]
    pub description: Option<String>,
    /// What it holds, in another language; may be repeated.
    #[arg(long = "description-in", value_name = "LANGUAGE=TEXT", value_parser = tagged)]
    pub descriptions: Vec<(String, String)>,
    /// A keyword; may be repeated.
    #[arg(long = "keyword", value_name = "KEYWORD")]
    pub keywords: Vec<String>,
    /// Who publishes it.
    #[arg(long)]
    pub publisher: Option<String>,
    /// Which place it covers: a code or an IRI.
    #[arg(long)]
    pub place: Option<String>,
    /// The rectangle that it covers: west, south, east, north in degrees.
    #[arg(long, value_name = "W,S,E,N", value_parser = rectangle, allow_hyphen_values = true)]
    pub bbox: Option<[f64; 4]>,
    /// First day it covers.
    #[arg(long, value_name = "DATE")]
    pub from: Option<String>,
    /// Last day it covers.
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
    /// Its licence, an IRI.
    #[arg(long, value_name = "IRI")]
    pub license: Option<String>,
    /// Rights that the licence does not tell, in words or an IRI.
    #[arg(long)]
    pub rights: Option<String>,
    /// A theme, an IRI such as http://publications.europa.eu/resource/authority/data-theme/ENVI; may be repeated.
    #[arg(long = "theme", value_name = "IRI")]
    pub themes: Vec<String>,
    /// Whom to ask about it: a mail address or an IRI.
    #[arg(long)]
    pub contact: Option<String>,
    /// How often it changes, an IRI such as http://publications.europa.eu/resource/authority/frequency/HOURLY.
    #[arg(long, value_name = "IRI")]
    pub frequency: Option<String>,
    /// A standard or Smart Data Model that it follows, an IRI; may be repeated.
    #[arg(long = "conforms-to", value_name = "IRI")]
    pub conforms_to: Vec<String>,
    /// A language of the data, an IRI such as http://publications.europa.eu/resource/authority/language/NLD; may be repeated.
    #[arg(long = "language", value_name = "IRI")]
    pub languages: Vec<String>,
    /// Where it comes from, in words.
    #[arg(long)]
    pub provenance: Option<String>,
    /// How good it is, in words or the IRI of a statement.
    #[arg(long)]
    pub quality: Option<String>,
    /// Its category of high-value datasets, an IRI such as http://data.europa.eu/bna/c_dd313021; may be repeated.
    #[arg(long = "hvd-category", value_name = "IRI")]
    pub hvd_categories: Vec<String>,
    /// A law that makes it be published, an IRI (ELI); may be repeated.
    #[arg(long = "legislation", value_name = "IRI")]
    pub legislation: Vec<String>,
    /// The id of a dataset series that it is part of; may be repeated.
    #[arg(long = "in-series", value_name = "ID")]
    pub in_series: Vec<String>,
    /// Its version.
    #[arg(long, value_name = "VERSION")]
    pub dataset_version: Option<String>,
    /// What is different in this version.
    #[arg(long, value_name = "TEXT")]
    pub version_notes: Option<String>,
    /// A document about it, an IRI.
    #[arg(long, value_name = "IRI")]
    pub documentation: Option<String>,
    /// Its media type; guessed from the file's name otherwise.
    #[arg(long)]
    pub media_type: Option<String>,
}

/// What a file says.
#[derive(Debug, Clone, Default)]
pub(super) struct Described {
    /// The dataset's id.
    pub id: Option<String>,
    pub description: Description,
}

impl Describe {
    /// What the file says, if one is named.
    pub(super) fn read(&self) -> anyhow::Result<Described> {
        self.from_file.as_deref().map_or_else(|| Ok(Described::default()), read)
    }

    /// Puts what the options say in the place of what `description` says.
    pub(super) fn apply(&self, description: &mut Description) {
        let tag = |texts: &mut Text, plain: &Option<String>, tagged: &[(String, String)]| {
            if let Some(plain) = plain {
                *texts = plain.as_str().into();
            }
            tagged.iter().for_each(|(language, text)| texts.set(language, text));
        };
        tag(&mut description.title, &self.title, &self.titles);
        tag(&mut description.description, &self.description, &self.descriptions);
        for (given, said) in [
            (&self.publisher, &mut description.publisher),
            (&self.place, &mut description.place),
            (&self.from, &mut description.from),
            (&self.until, &mut description.until),
            (&self.license, &mut description.form.license),
            (&self.rights, &mut description.form.rights),
            (&self.contact, &mut description.contact),
            (&self.frequency, &mut description.frequency),
            (&self.provenance, &mut description.provenance),
            (&self.quality, &mut description.quality),
            (&self.dataset_version, &mut description.version),
            (&self.version_notes, &mut description.version_notes),
            (&self.documentation, &mut description.documentation),
            (&self.media_type, &mut description.form.media_type),
        ] {
            if given.is_some() {
                said.clone_from(given);
            }
        }
        for (given, said) in [
            (&self.keywords, &mut description.keywords),
            (&self.themes, &mut description.themes),
            (&self.conforms_to, &mut description.conforms_to),
            (&self.languages, &mut description.languages),
            (&self.hvd_categories, &mut description.hvd_categories),
            (&self.legislation, &mut description.legislation),
            (&self.in_series, &mut description.series),
        ] {
            if !given.is_empty() {
                said.clone_from(given);
            }
        }
        description.bbox = self.bbox.or(description.bbox);
    }
}

fn read(path: &Path) -> anyhow::Result<Described> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let described = match ending {
        "toml" => toml::from_str(&text).map_err(anyhow::Error::from).and_then(of_map),
        "json" => serde_json::from_str(&text).map_err(anyhow::Error::from).and_then(of_map),
        "ttl" => catalog::turtle::read(&text)
            .map(|(id, description)| Described { id, description })
            .map_err(anyhow::Error::from),
        _ => bail!("{}: the name must end in .toml, .json or .ttl", path.display()),
    };
    described.with_context(|| format!("reading {}", path.display()))
}

fn of_map(mut map: Map<String, Value>) -> anyhow::Result<Described> {
    let id = match map.remove("id") {
        None => None,
        Some(Value::String(id)) => Some(id),
        Some(other) => bail!("id: must be a text, not {other}"),
    };
    if let Some(key) = map.keys().find(|key| !Description::KEYS.contains(&key.as_str())) {
        let near = Description::KEYS
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
        bail!("`{key}` is not known; did you mean `{}`?", near.unwrap_or(&"title"));
    }
    let description: Description = serde_path_to_error::deserialize(Value::Object(map))?;
    Ok(Described { id, description })
}

fn tagged(text: &str) -> Result<(String, String), String> {
    let wrong = || format!("`{text}` is not a language and a text such as `nl=Luchtkwaliteit`");
    let (language, text) = text.split_once('=').ok_or_else(wrong)?;
    let is_tag = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if language.len() < 2 || language.len() > 35 || !language.chars().all(is_tag) {
        return Err(wrong());
    }
    Ok((language.to_owned(), text.to_owned()))
}

fn rectangle(text: &str) -> Result<[f64; 4], String> {
    let wrong =
        || format!("`{text}` is not a rectangle such as `4.2,51.1,4.5,51.4` (west, south, east, north)");
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|one| one.trim().parse()).collect();
    let numbers = numbers.ok().and_then(|numbers| <[f64; 4]>::try_from(numbers).ok()).ok_or_else(wrong)?;
    let [west, south, east, north] = numbers;
    let fine = (-180.0..=180.0).contains(&west)
        && (-180.0..=180.0).contains(&east)
        && (-90.0..=north).contains(&south)
        && (south..=90.0).contains(&north);
    if fine { Ok(numbers) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_read_and_unknown_names_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let toml = write(
            "a.toml",
            "id = \"urn:a\"\ntitle = {en = \"Air\", nl = \"Lucht\"}\nkeywords = [\"air\"]\nmedia-type = \"text/csv\"\n",
        );
        let found = read(&toml).unwrap();
        assert_eq!((found.id.as_deref(), found.description.title.plain()), (Some("urn:a"), Some("Air")));
        assert_eq!(found.description.form.media_type.as_deref(), Some("text/csv"));
        let same = json!({"id": "urn:a", "title": {"en": "Air", "nl": "Lucht"}, "keywords": ["air"], "media-type": "text/csv"});
        assert_eq!(read(&write("a.json", &same.to_string())).unwrap().description, found.description);
        let turtle = write(
            "a.ttl",
            "@prefix dct: <http://purl.org/dc/terms/> . @prefix dcat: <http://www.w3.org/ns/dcat#> .
             <urn:a> a dcat:Dataset ; dct:title \"Air\"@en, \"Lucht\"@nl ; dcat:keyword \"air\" ;
             dcat:distribution [ dcat:mediaType <https://www.iana.org/assignments/media-types/text/csv> ] .",
        );
        let of_turtle = read(&turtle).unwrap();
        assert_eq!((of_turtle.id, of_turtle.description), (found.id, found.description));
        let refused = |name: &str, text: &str| format!("{:#}", read(&write(name, text)).unwrap_err());
        assert!(refused("b.toml", "keyword = [\"a\"]").contains("did you mean `keywords`"));
        assert!(refused("b.toml", "title = 5").contains("title"));
        assert!(refused("b.xml", "").contains(".toml, .json or .ttl"));
        assert!(refused("b.ttl", "<urn:a> a").contains("b.ttl"));
    }

    #[test]
    fn options_take_the_place_of_what_was_said() {
        let mut said =
            Description { title: "old".into(), keywords: vec!["a".to_owned()], ..Description::default() };
        let options = Describe {
            titles: vec![("nl".to_owned(), "nieuw".to_owned())],
            place: Some("BE".to_owned()),
            ..Describe::default()
        };
        options.apply(&mut said);
        assert_eq!(said.title.all().collect::<Vec<_>>(), ["old", "nieuw"]);
        assert_eq!((said.keywords.len(), said.place.as_deref()), (1, Some("BE")));
        assert!(rectangle("4.2,51.1,4.5,51.4").is_ok() && rectangle("-10,-5,10,5").is_ok());
        for wrong in ["1,2,3", "1,2,3,x", "0,5,0,-5", "200,0,0,0", "0,-91,0,0", "NaN,0,0,0"] {
            assert!(rectangle(wrong).is_err(), "{wrong}");
        }
        assert!(tagged("nl=x").is_ok() && tagged("x").is_err() && tagged("n l=x").is_err());
    }
}
