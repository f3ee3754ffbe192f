//! What a dataset says of itself, as options and as files: for `publish` and `edit`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use catalog::turtle::{self, Imported};
use catalog::{CatalogError, Description, NamedForm, Text};
use clap::Args;
use policy_engine::area::is_area;
use serde_json::{Map, Value};

/// The options; what is not given stays as it is.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Describe {
    /// What is said of it, from a file: TOML or JSON with the names of these options (`title`, `keywords`, `media-type`, ...),
    /// or Turtle or JSON-LD (`.jsonld`) with a dcat:Dataset. Options take the place of what the file says.
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
    /// The rectangle that it covers: west, south, east, north in degrees; over the antimeridian where the west is greater than
    /// the east, such as `177,-20,-178,-16`.
    #[arg(long, value_name = "W,S,E,N", value_parser = rectangle, allow_hyphen_values = true)]
    pub bbox: Option<[f64; 4]>,
    /// When the period that it covers begins: a day, a month (2020-03), a year (2020) or an instant.
    #[arg(long, value_name = "DATE", value_parser = time)]
    pub from: Option<String>,
    /// When it ends; a year or a month with its last day.
    #[arg(long, value_name = "DATE", value_parser = time)]
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
    /// Its form, where the media type does not tell it, such as `GTFS` or `SHP` in an archive: a code or IRI of the EU's file
    /// types.
    #[arg(long = "file-type", value_name = "CODE")]
    pub format: Option<String>,
    /// What its distribution is called; the dataset's title with the form otherwise.
    #[arg(long, value_name = "TEXT")]
    pub distribution_title: Option<String>,
    /// What its distribution is called in another language; may be repeated.
    #[arg(long = "distribution-title-in", value_name = "LANGUAGE=TEXT", value_parser = tagged)]
    pub distribution_titles: Vec<(String, String)>,
}

/// What a file says.
#[derive(Debug, Clone, Default)]
pub(super) struct Described {
    /// The dataset's id.
    pub id: Option<String>,
    pub description: Description,
    /// What is said of further distributions, whose data must be named before they are published.
    pub further: Vec<NamedForm>,
    /// What could not be read of it, in sentences.
    pub remarks: Vec<String>,
}

impl Describe {
    /// What the file says, if one is named, of a dataset that is had in `media_type`.
    pub(super) fn read(&self, media_type: Option<&str>) -> anyhow::Result<Described> {
        let media_type = self.media_type.as_deref().or(media_type);
        self.from_file.as_deref().map_or_else(|| Ok(Described::default()), |path| read(path, media_type))
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
        tag(&mut description.distribution_title, &self.distribution_title, &self.distribution_titles);
        if let Some(notes) = &self.version_notes {
            description.version_notes = notes.as_str().into();
        }
        if !self.keywords.is_empty() {
            description.keywords = self.keywords.iter().map(|one| one.as_str().into()).collect();
        }
        for (given, said) in [
            (&self.publisher, &mut description.publisher),
            (&self.place, &mut description.place),
            (&self.rights, &mut description.form.rights),
            (&self.provenance, &mut description.provenance),
            (&self.quality, &mut description.quality),
        ] {
            if let Some(given) = given {
                *said = Some(given.as_str().into());
            }
        }
        for (given, said) in [
            (&self.from, &mut description.from),
            (&self.until, &mut description.until),
            (&self.license, &mut description.form.license),
            (&self.contact, &mut description.contact),
            (&self.frequency, &mut description.frequency),
            (&self.dataset_version, &mut description.version),
            (&self.documentation, &mut description.documentation),
            (&self.media_type, &mut description.form.media_type),
            (&self.format, &mut description.form.format),
        ] {
            if given.is_some() {
                said.clone_from(given);
            }
        }
        for (given, said) in [
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
        description.settle();
    }
}

fn read(path: &Path, media_type: Option<&str>) -> anyhow::Result<Described> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow::anyhow!("{}: line {line} is not UTF-8; save the file in that encoding", path.display())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let imported = |imported: Result<Imported, CatalogError>| {
        let mut imported = imported?;
        let (id, remarks) = (imported.id.take(), std::mem::take(&mut imported.remarks));
        let (description, further) = imported.as_had_in(media_type);
        Ok(Described { id, description, further, remarks })
    };
    let described = match ending {
        "toml" => toml::from_str(text).map_err(anyhow::Error::from).and_then(of_map),
        "json" => serde_json::from_str(text).map_err(anyhow::Error::from).and_then(of_map),
        "jsonld" => imported(turtle::read_json_ld(text)),
        "ttl" => imported(turtle::read(text)),
        _ => bail!("{}: the name must end in .toml, .json, .jsonld or .ttl", path.display()),
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
    let mut description: Description = serde_path_to_error::deserialize(Value::Object(map))?;
    if let Some(bbox) = description.bbox.filter(|bbox| !is_area(*bbox)) {
        bail!("bbox: {bbox:?} is not west, south, east, north in degrees");
    }
    for (name, at) in [("from", &description.from), ("until", &description.until)] {
        if let Some(at) = at {
            time(at).map_err(|reason| anyhow::anyhow!("{name}: {reason}"))?;
        }
    }
    description.settle();
    Ok(Described { id, description, ..Described::default() })
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
    if is_area(numbers) { Ok(numbers) } else { Err(wrong()) }
}

fn time(text: &str) -> Result<String, String> {
    let fine = catalog::start_of_period(text).is_some();
    let wrong = || {
        let why = policy_engine::no_such_day(text).map(|why| format!(": {why}")).unwrap_or_default();
        format!(
            "`{text}` is no year (2020), month (2020-03), day (2020-03-04) or instant (2020-03-04T05:06:07Z){why}"
        )
    };
    fine.then(|| text.to_owned()).ok_or_else(wrong)
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
        let found = read(&toml, None).unwrap();
        assert_eq!((found.id.as_deref(), found.description.title.plain()), (Some("urn:a"), Some("Air")));
        assert_eq!(found.description.form.media_type.as_deref(), Some("text/csv"));
        let same = json!({"id": "urn:a", "title": {"en": "Air", "nl": "Lucht"}, "keywords": ["air"], "media-type": "text/csv"});
        assert_eq!(read(&write("a.json", &same.to_string()), None).unwrap().description, found.description);
        let turtle = write(
            "a.ttl",
            "@prefix dct: <http://purl.org/dc/terms/> . @prefix dcat: <http://www.w3.org/ns/dcat#> .
             <urn:a> a dcat:Dataset ; dct:title \"Air\"@en, \"Lucht\"@nl ; dcat:keyword \"air\" ;
             dcat:distribution [ dcat:mediaType <https://www.iana.org/assignments/media-types/text/csv> ] .",
        );
        let of_turtle = read(&turtle, None).unwrap();
        assert_eq!((of_turtle.id, of_turtle.description), (found.id, found.description));
        let refused = |name: &str, text: &str| format!("{:#}", read(&write(name, text), None).unwrap_err());
        assert!(refused("b.toml", "keyword = [\"a\"]").contains("did you mean `keywords`"));
        assert!(refused("b.toml", "title = 5").contains("title"));
        assert!(refused("b.xml", "").contains(".toml, .json, .jsonld or .ttl"));
        assert!(refused("b.ttl", "<urn:a> a").contains("b.ttl"));
        assert!(refused("b.ttl", "\n\n<urn:a> a <urn:b>\n <urn:c>").contains("line 4"));
        assert!(refused("b.toml", "title = \"a\"\nfrom = \"soon\"").contains("from: `soon`"));
        assert!(refused("b.toml", "title = \"a\"\nbbox = [0, 0, 200, 0]").contains("bbox"));
        let latin = folder.path().join("latin.ttl");
        std::fs::write(&latin, b"<urn:a> a <urn:b> .\n<urn:a> <urn:c> \"M\xfcnchen\" .").unwrap();
        assert!(format!("{:#}", read(&latin, None).unwrap_err()).contains("line 2 is not UTF-8"));
        let years = write(
            "y.toml",
            "title = \"a\"\nfrom = \"2018\"\nuntil = \"2020-02\"\nbbox = [177, -20, -178, -16]\nkeywords = [\"air\", {de = \"Luft\"}]",
        );
        let years = read(&years, None).unwrap().description;
        assert_eq!((years.from.as_deref(), years.until.as_deref()), (Some("2018-01-01"), Some("2020-02-29")));
        assert_eq!((years.bbox, years.keywords.len()), (Some([177.0, -20.0, -178.0, -16.0]), 2));
    }

    #[test]
    fn options_take_the_place_of_what_was_said() {
        let mut said =
            Description { title: "old".into(), keywords: vec!["a".into()], ..Description::default() };
        let options = Describe {
            titles: vec![("nl".to_owned(), "nieuw".to_owned())],
            place: Some("BE".to_owned()),
            from: Some("2020".to_owned()),
            until: Some("2020-02".to_owned()),
            ..Describe::default()
        };
        options.apply(&mut said);
        assert_eq!(said.title.all().collect::<Vec<_>>(), ["old", "nieuw"]);
        assert_eq!((said.keywords.len(), said.place.unwrap().plain()), (1, Some("BE")));
        assert_eq!((said.from.as_deref(), said.until.as_deref()), (Some("2020-01-01"), Some("2020-02-29")));
        assert!(time("2020").is_ok() && time("soon").is_err());
        assert!(rectangle("4.2,51.1,4.5,51.4").is_ok() && rectangle("-10,-5,10,5").is_ok());
        assert_eq!(rectangle("177,-20,-178,-16"), Ok([177.0, -20.0, -178.0, -16.0]));
        for wrong in ["1,2,3", "1,2,3,x", "0,5,0,-5", "200,0,0,0", "0,-91,0,0", "NaN,0,0,0"] {
            assert!(rectangle(wrong).is_err(), "{wrong}");
        }
        assert!(tagged("nl=x").is_ok() && tagged("x").is_err() && tagged("n l=x").is_err());
    }
}
