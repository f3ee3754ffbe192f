//! What a dataset says of itself (DCAT 3, DCAT-AP 3), as properties under absolute IRIs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::text::Text;
use crate::vocabulary as iri;

/// The properties of a dataset that `publish` asks for and `catalog` shows; all optional but the title.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Description {
    /// `dct:title`.
    pub title: Text,
    /// `dct:description`.
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub description: Text,
    /// `dcat:keyword`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// `dct:publisher`, a name or IRI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    /// `dct:spatial`: place name or IRI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// `dcat:bbox` of the place: west, south, east, north in degrees (WGS 84).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bbox: Option<[f64; 4]>,
    /// `dct:temporal` start, an xsd:date or xsd:dateTime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `dct:temporal` end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// `dcat:theme`, IRIs of the EU's data themes or others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub themes: Vec<String>,
    /// `dcat:contactPoint`, a mail address or IRI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// `dct:accrualPeriodicity`, an IRI of the EU's frequencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency: Option<String>,
    /// `dct:conformsTo`, IRIs of standards or Smart Data Models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conforms_to: Vec<String>,
    /// `dct:language`, IRIs of the EU's languages or others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// `dct:provenance`: where the data comes from, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<String>,
    /// `dqv:hasQualityAnnotation`: how good it is, in words, or the IRI of a statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<String>,
    /// `dcatap:hvdCategory`: IRIs of the EU's categories of high-value datasets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hvd_categories: Vec<String>,
    /// `dcatap:applicableLegislation`: IRIs (ELI) of the laws that make it be published.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub legislation: Vec<String>,
    /// `dcat:inSeries`: ids of the dataset series that it is part of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<String>,
    /// `dcat:version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `adms:versionNotes`: what is different in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_notes: Option<String>,
    /// `foaf:page`: the IRI of a document about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// What it says of its distribution.
    #[serde(flatten)]
    pub form: Form,
    /// `dcat:distribution`: further forms of the same data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub distributions: Vec<NamedForm>,
}

/// What a dataset says of one form of its data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Form {
    /// `dct:license`, an IRI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// `dct:rights`, in words or an IRI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rights: Option<String>,
    /// `dcat:mediaType`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// `dcat:byteSize`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte_size: Option<u64>,
    /// `spdx:checksum`: SHA-256, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// `csvw:column`: the names of its columns, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// One more form of a dataset's data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NamedForm {
    /// Its name, under which it is read.
    pub name: String,
    /// What is said of it.
    #[serde(flatten)]
    pub form: Form,
}

impl Description {
    /// The names of all members in files.
    pub const KEYS: [&str; 28] = [
        "title",
        "description",
        "keywords",
        "publisher",
        "place",
        "bbox",
        "from",
        "until",
        "themes",
        "contact",
        "frequency",
        "conforms-to",
        "languages",
        "provenance",
        "quality",
        "hvd-categories",
        "legislation",
        "series",
        "version",
        "version-notes",
        "documentation",
        "license",
        "rights",
        "media-type",
        "byte-size",
        "sha256",
        "columns",
        "distributions",
    ];

    /// As properties of an asset.
    #[must_use]
    pub fn to_properties(&self) -> Map<String, Json> {
        let mut map = Map::new();
        let mut put = |iri: &str, value: Json| drop(map.insert(iri.to_owned(), value));
        put(iri::TITLE, self.title.to_json());
        if !self.description.is_empty() {
            put(iri::DESCRIPTION, self.description.to_json());
        }
        for (iri, value) in [
            (iri::PUBLISHER, &self.publisher),
            (iri::CONTACT, &self.contact),
            (iri::FREQUENCY, &self.frequency),
            (iri::PROVENANCE, &self.provenance),
            (iri::QUALITY, &self.quality),
            (iri::VERSION, &self.version),
            (iri::VERSION_NOTES, &self.version_notes),
            (iri::PAGE, &self.documentation),
        ] {
            if let Some(value) = value {
                put(iri, json!(value));
            }
        }
        for (iri, values) in [
            (iri::KEYWORD, &self.keywords),
            (iri::THEME, &self.themes),
            (iri::CONFORMS_TO, &self.conforms_to),
            (iri::LANGUAGE, &self.languages),
            (iri::HVD_CATEGORY, &self.hvd_categories),
            (iri::LEGISLATION, &self.legislation),
            (iri::IN_SERIES, &self.series),
        ] {
            if !values.is_empty() {
                put(iri, json!(values));
            }
        }
        match (&self.place, self.bbox) {
            (Some(place), None) => put(iri::SPATIAL, json!(place)),
            (place, Some(bbox)) => {
                let area = json!({"@type": iri::WKT, "@value": polygon(bbox)});
                let mut location = Map::from_iter([(iri::BBOX.to_owned(), area)]);
                if let Some(place) = place {
                    let name = if crate::feed::is_iri(place) { "@id" } else { iri::GEOGRAPHIC_NAME };
                    location.insert(name.to_owned(), json!(place));
                }
                put(iri::SPATIAL, Json::Object(location));
            }
            (None, None) => {}
        }
        let mut period = Map::new();
        for (iri, value) in [(iri::START, &self.from), (iri::END, &self.until)] {
            if let Some(value) = value {
                period.insert(iri.to_owned(), json!(value));
            }
        }
        if !period.is_empty() {
            put(iri::TEMPORAL, Json::Object(period));
        }
        if !self.distributions.is_empty() {
            let forms = self.distributions.iter().map(|one| {
                let mut map = one.form.to_properties();
                map.insert("@id".to_owned(), json!(one.name));
                Json::Object(map)
            });
            put(iri::DISTRIBUTION, forms.collect());
        }
        map.extend(self.form.to_properties());
        map
    }

    /// From properties as published by us or by a peer; what is missing stays empty.
    #[must_use]
    pub fn from_properties(properties: &Map<String, Json>) -> Self {
        let text = |names: &[&str]| find(properties, names).and_then(literal);
        let tagged = |names: &[&str]| find(properties, names).map(Text::from_json).unwrap_or_default();
        let texts = |names: &[&str]| match find(properties, names) {
            Some(Json::Array(list)) => list.iter().filter_map(literal).collect(),
            Some(one) => literal(one).into_iter().collect(),
            None => Vec::new(),
        };
        let period =
            |name: &str| properties.get(iri::TEMPORAL).and_then(|period| period.get(name)).and_then(literal);
        let forms = match properties.get(iri::DISTRIBUTION) {
            Some(Json::Array(all)) => all.as_slice(),
            _ => &[],
        };
        let form = |map: &Map<String, Json>| {
            Some(NamedForm { name: literal(map.get("@id")?)?, form: Form::from_properties(map) })
        };
        Self {
            title: tagged(&[iri::TITLE, "title", "name"]),
            description: tagged(&[iri::DESCRIPTION, "description"]),
            keywords: texts(&[iri::KEYWORD, "keyword"]),
            themes: texts(&[iri::THEME, "theme"]),
            contact: text(&[iri::CONTACT]),
            frequency: text(&[iri::FREQUENCY]),
            conforms_to: texts(&[iri::CONFORMS_TO]),
            languages: texts(&[iri::LANGUAGE]),
            provenance: text(&[iri::PROVENANCE]),
            quality: text(&[iri::QUALITY]),
            hvd_categories: texts(&[iri::HVD_CATEGORY]),
            legislation: texts(&[iri::LEGISLATION]),
            series: texts(&[iri::IN_SERIES]),
            version: text(&[iri::VERSION, "version"]),
            version_notes: text(&[iri::VERSION_NOTES]),
            documentation: text(&[iri::PAGE]),
            publisher: text(&[iri::PUBLISHER, "publisher"]),
            place: text(&[iri::SPATIAL, "spatial"]),
            bbox: properties
                .get(iri::SPATIAL)
                .and_then(|place| literal(place.get(iri::BBOX)?))
                .and_then(|text| corners(&text)),
            from: period(iri::START),
            until: period(iri::END),
            form: Form::from_properties(properties),
            distributions: forms.iter().filter_map(Json::as_object).filter_map(form).collect(),
        }
    }

    /// The media type of the form `distribution`, or of the one that the data is usually had in.
    #[must_use]
    pub fn media_type_of(self, distribution: Option<&str>) -> Option<String> {
        match distribution {
            None => self.form.media_type,
            Some(name) => self.distributions.into_iter().find(|one| one.name == name)?.form.media_type,
        }
    }

    /// The properties of a dataset, those of its distribution, and those of further ones, by their names.
    #[must_use]
    pub fn split(mut properties: Map<String, Json>) -> Split {
        let form = Form::PROPERTIES.iter().filter_map(|name| properties.remove_entry(*name)).collect();
        let further = match properties.remove(iri::DISTRIBUTION) {
            Some(Json::Array(all)) => all,
            _ => Vec::new(),
        };
        let named = |one: Json| match one {
            Json::Object(mut map) => Some((literal(&map.remove("@id")?)?, map)),
            _ => None,
        };
        Split { dataset: properties, form, further: further.into_iter().filter_map(named).collect() }
    }
}

/// See [`Description::split`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Split {
    /// Of the dataset as such.
    pub dataset: Map<String, Json>,
    /// Of its distribution.
    pub form: Map<String, Json>,
    /// Of further distributions, by their names.
    pub further: Vec<(String, Map<String, Json>)>,
}

impl Form {
    pub(crate) const PROPERTIES: [&str; 5] =
        [iri::RIGHTS, iri::MEDIA_TYPE, iri::BYTE_SIZE, iri::CHECKSUM, iri::TABLE_SCHEMA];

    fn to_properties(&self) -> Map<String, Json> {
        let mut map = Map::new();
        let texts =
            [(iri::LICENSE, &self.license), (iri::RIGHTS, &self.rights), (iri::MEDIA_TYPE, &self.media_type)];
        for (iri, value) in texts {
            if let Some(value) = value {
                map.insert(iri.to_owned(), json!(value));
            }
        }
        if let Some(size) = self.byte_size {
            map.insert(iri::BYTE_SIZE.to_owned(), json!(size));
        }
        if let Some(digest) = &self.sha256 {
            let checksum = json!({iri::ALGORITHM: iri::SHA256, iri::CHECKSUM_VALUE: digest});
            map.insert(iri::CHECKSUM.to_owned(), checksum);
        }
        if !self.columns.is_empty() {
            let columns: Vec<_> = self.columns.iter().map(|name| json!({iri::COLUMN_NAME: name})).collect();
            map.insert(iri::TABLE_SCHEMA.to_owned(), json!({iri::COLUMN: {"@list": columns}}));
        }
        map
    }

    fn from_properties(properties: &Map<String, Json>) -> Self {
        let text = |names: &[&str]| find(properties, names).and_then(literal);
        let checksum = properties.get(iri::CHECKSUM).filter(|one| {
            one.get(iri::ALGORITHM).and_then(literal).is_some_and(|algorithm| algorithm.ends_with("sha256"))
        });
        let columns = properties.get(iri::TABLE_SCHEMA).and_then(|schema| schema.get(iri::COLUMN));
        let columns = columns.and_then(|list| list.get("@list").unwrap_or(list).as_array());
        Self {
            license: text(&[iri::LICENSE, "license"]),
            rights: text(&[iri::RIGHTS]),
            media_type: text(&[iri::MEDIA_TYPE, "contenttype"]),
            byte_size: properties.get(iri::BYTE_SIZE).and_then(|size| match size {
                Json::Number(number) => number.as_u64(),
                other => literal(other)?.parse().ok(),
            }),
            sha256: checksum.and_then(|one| one.get(iri::CHECKSUM_VALUE)).and_then(literal),
            columns: columns
                .into_iter()
                .flatten()
                .filter_map(|column| column.get(iri::COLUMN_NAME).and_then(literal))
                .collect(),
        }
    }
}

fn find<'a>(properties: &'a Map<String, Json>, names: &[&str]) -> Option<&'a Json> {
    names.iter().find_map(|name| properties.get(*name))
}

/// The text of a value: itself, or what the thing is called. A media type of the IANA's list is its bare name.
fn literal(value: &Json) -> Option<String> {
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Object(map) => {
            let names =
                ["@value", "@id", iri::GEOGRAPHIC_NAME, iri::LABEL, iri::NAME, iri::EMAIL, iri::FULL_NAME];
            names.into_iter().find_map(|name| literal(map.get(name)?))?
        }
        Json::Array(all) => literal(all.first()?)?,
        _ => return None,
    };
    let bare = text.strip_prefix(iri::MEDIA_TYPES).or_else(|| text.strip_prefix("mailto:"));
    Some(bare.map_or_else(|| text.clone(), str::to_owned))
}

/// A rectangle in Well-Known Text.
pub(crate) fn polygon([west, south, east, north]: [f64; 4]) -> String {
    format!("POLYGON(({west} {south},{east} {south},{east} {north},{west} {north},{west} {south}))")
}

/// The rectangle that encloses a text in Well-Known Text.
fn corners(text: &str) -> Option<[f64; 4]> {
    let number = |c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E' | ' '));
    let points = text.rsplit('>').next()?.split(number).filter_map(|pair| {
        let mut numbers = pair.split_whitespace().filter_map(|one| one.parse::<f64>().ok());
        Some((numbers.next()?, numbers.next()?))
    });
    let around = points.fold(None, |so_far: Option<[f64; 4]>, (x, y)| {
        let [west, south, east, north] = so_far.unwrap_or([x, y, x, y]);
        Some([west.min(x), south.min(y), east.max(x), north.max(y)])
    });
    around.filter(|all| all.iter().all(|one| one.is_finite()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn full() -> Description {
        let mut title = Text::from("NO2");
        title.set("nl", "Stikstofdioxide");
        Description {
            title,
            description: "hourly".into(),
            keywords: vec!["air".to_owned(), "no2".to_owned()],
            publisher: Some("Antwerp".to_owned()),
            place: Some("BE".to_owned()),
            bbox: Some([4.2, 51.1, 4.5, 51.4]),
            from: Some("2019-05-01".to_owned()),
            until: Some("2019-06-30".to_owned()),
            themes: vec!["http://publications.europa.eu/resource/authority/data-theme/ENVI".to_owned()],
            contact: Some("air@antwerp.example".to_owned()),
            frequency: Some("http://publications.europa.eu/resource/authority/frequency/HOURLY".to_owned()),
            conforms_to: vec![
                "https://smartdatamodels.org/dataModel.Environment/AirQualityObserved".to_owned(),
            ],
            languages: vec!["http://publications.europa.eu/resource/authority/language/NLD".to_owned()],
            provenance: Some("Measured by reference stations.".to_owned()),
            quality: Some("Validated, 2 % missing.".to_owned()),
            hvd_categories: vec!["http://data.europa.eu/bna/c_dd313021".to_owned()],
            legislation: vec!["http://data.europa.eu/eli/reg_impl/2023/138/oj".to_owned()],
            series: vec!["urn:series:air".to_owned()],
            version: Some("1.2".to_owned()),
            version_notes: Some("June added".to_owned()),
            documentation: Some("https://antwerp.example/air".to_owned()),
            form: Form {
                license: Some("https://creativecommons.org/licenses/by/4.0/".to_owned()),
                rights: Some("Name the city.".to_owned()),
                media_type: Some("text/csv".to_owned()),
                byte_size: Some(120),
                sha256: Some("ab".repeat(32)),
                columns: vec!["time".to_owned(), "value".to_owned()],
            },
            distributions: vec![NamedForm {
                name: "json".to_owned(),
                form: Form { media_type: Some("application/json".to_owned()), ..Form::default() },
            }],
        }
    }

    #[test]
    fn a_description_survives_its_properties_and_files() {
        let full = full();
        assert_eq!(Description::from_properties(&full.to_properties()), full);
        assert_eq!(Description::from_properties(&Map::new()), Description::default());
        let file = serde_json::to_value(&full).unwrap();
        let keys: std::collections::BTreeSet<_> =
            file.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, Description::KEYS.into_iter().collect());
        assert_eq!(serde_json::from_value::<Description>(file).unwrap(), full);
        let split = Description::split(full.to_properties());
        assert_eq!((split.form.len(), split.further.len()), (5, 1));
        assert!(split.dataset.contains_key(iri::LICENSE), "also of the dataset, for those who look there");
    }

    #[test]
    fn a_rectangle_encloses_a_shape() {
        assert_eq!(corners(&polygon([1.0, 2.0, 3.5, 4.0])), Some([1.0, 2.0, 3.5, 4.0]));
        let crs = "<http://www.opengis.net/def/crs/OGC/1.3/CRS84> POINT(4.4 51.2)";
        assert_eq!(corners(crs), Some([4.4, 51.2, 4.4, 51.2]));
        assert_eq!(corners("POLYGON(x)"), None);
    }
}
