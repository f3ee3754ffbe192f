//! What a dataset says of itself (DCAT 3, DCAT-AP 3), as properties under absolute IRIs.

use policy_engine::area::Area;
use policy_engine::media;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::extent::{self, Extent, Unread};
use crate::labelled::Labelled;
use crate::period::{self, Time};
use crate::text::Text;
use crate::vocabulary as iri;

/// Most sentences about what nobody can read.
const MOST_UNREAD: usize = 5;
/// Longest one, in characters.
const LONGEST_UNREAD: usize = 300;

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
    pub keywords: Vec<Text>,
    /// `dct:publisher`, a name or IRI, or both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher: Option<Labelled>,
    /// `dct:spatial`: place name or IRI, or both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Labelled>,
    /// `dcat:bbox` of the place: west, south, east, north in degrees (WGS 84); over the antimeridian where the west is greater
    /// than the east.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bbox: Option<Area>,
    /// `dcat:centroid` of the place: longitude and latitude.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub centroid: Option<[f64; 2]>,
    /// `dct:temporal` start: a year, a month, an xsd:date or xsd:dateTime.
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
    pub provenance: Option<Labelled>,
    /// `dqv:hasQualityAnnotation`: how good it is, in words, or the IRI of a statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Labelled>,
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
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub version_notes: Text,
    /// `foaf:page`: the IRI of a document about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// `dct:title` of its distribution, where it is not that of the dataset with its form.
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub distribution_title: Text,
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
    pub rights: Option<Labelled>,
    /// `dcat:mediaType`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// `dct:format`, where it is not the one that goes with the media type: an IRI or code of the EU's file types, such as
    /// `GTFS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
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
    /// `dct:title`, where it is not that of the dataset with its form.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub title: Text,
    /// What is said of it.
    #[serde(flatten)]
    pub form: Form,
}

impl Description {
    /// The names of all members in files.
    pub const KEYS: [&str; 31] = [
        "title",
        "description",
        "keywords",
        "publisher",
        "place",
        "bbox",
        "centroid",
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
        "distribution-title",
        "format",
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
        for (iri, called, value) in [
            (iri::PUBLISHER, iri::NAME, &self.publisher),
            (iri::PROVENANCE, iri::LABEL, &self.provenance),
            (iri::QUALITY, iri::BODY_VALUE, &self.quality),
        ] {
            if let Some(value) = value {
                put(iri, value.to_json(called));
            }
        }
        for (iri, value) in [
            (iri::CONTACT, &self.contact),
            (iri::FREQUENCY, &self.frequency),
            (iri::VERSION, &self.version),
            (iri::PAGE, &self.documentation),
        ] {
            if let Some(value) = value {
                put(iri, json!(value));
            }
        }
        for (iri, text) in
            [(iri::VERSION_NOTES, &self.version_notes), (iri::DISTRIBUTION_TITLE, &self.distribution_title)]
        {
            if !text.is_empty() {
                put(iri, text.to_json());
            }
        }
        let keywords: Vec<Json> = self.keywords.iter().flat_map(Text::to_literals).collect();
        if !keywords.is_empty() {
            put(iri::KEYWORD, Json::Array(keywords));
        }
        for (iri, values) in [
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
        let wkt = |text: String| json!({"@type": iri::WKT, "@value": text});
        let mut shapes = Map::new();
        shapes.extend(self.bbox.map(|bbox| (iri::BBOX.to_owned(), wkt(extent::to_wkt(bbox)))));
        shapes.extend(self.centroid.map(|[x, y]| (iri::CENTROID.to_owned(), wkt(format!("POINT({x} {y})")))));
        match (&self.place, shapes.is_empty()) {
            (Some(place), true) => put(iri::SPATIAL, place.to_json(iri::GEOGRAPHIC_NAME)),
            (Some(place), false) => {
                shapes.extend(place.iri.as_ref().map(|iri| ("@id".to_owned(), json!(iri))));
                if !place.name.is_empty() {
                    shapes.insert(iri::GEOGRAPHIC_NAME.to_owned(), place.name.to_json());
                }
                put(iri::SPATIAL, Json::Object(shapes));
            }
            (None, false) => put(iri::SPATIAL, Json::Object(shapes)),
            (None, true) => {}
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
                if !one.title.is_empty() {
                    map.insert(iri::TITLE.to_owned(), one.title.to_json());
                }
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
        let thing = |names: &[&str]| find(properties, names).and_then(Labelled::from_json);
        let Period { from, until } = properties.get(iri::TEMPORAL).map(period_of).unwrap_or_default();
        let spatial = find(properties, &[iri::SPATIAL, "spatial"]).map(Spatial::of).unwrap_or_default();
        let forms = match properties.get(iri::DISTRIBUTION) {
            Some(Json::Array(all)) => all.as_slice(),
            _ => &[],
        };
        let form = |map: &Map<String, Json>| {
            let title = map.get(iri::TITLE).map(Text::from_json).unwrap_or_default();
            Some(NamedForm { name: literal(map.get("@id")?)?, title, form: Form::from_properties(map) })
        };
        Self {
            title: tagged(&[iri::TITLE, "title", "name"]),
            description: tagged(&[iri::DESCRIPTION, "description"]),
            keywords: match find(properties, &[iri::KEYWORD, "keyword"]) {
                Some(Json::Array(all)) => {
                    all.iter().map(Text::from_json).filter(|one| !one.is_empty()).collect()
                }
                Some(one) => Some(Text::from_json(one)).filter(|one| !one.is_empty()).into_iter().collect(),
                None => Vec::new(),
            },
            themes: texts(&[iri::THEME, "theme"]),
            contact: properties.get(iri::CONTACT).and_then(contact),
            frequency: text(&[iri::FREQUENCY]),
            conforms_to: texts(&[iri::CONFORMS_TO]),
            languages: texts(&[iri::LANGUAGE]),
            provenance: thing(&[iri::PROVENANCE]),
            quality: thing(&[iri::QUALITY]),
            hvd_categories: texts(&[iri::HVD_CATEGORY]),
            legislation: texts(&[iri::LEGISLATION]),
            series: texts(&[iri::IN_SERIES]),
            version: text(&[iri::VERSION, iri::VERSION_INFO, "version"]),
            version_notes: tagged(&[iri::VERSION_NOTES]),
            documentation: text(&[iri::PAGE]),
            publisher: thing(&[iri::PUBLISHER, "publisher"]),
            place: spatial.place,
            bbox: spatial.bbox,
            centroid: spatial.centroid,
            from,
            until,
            distribution_title: tagged(&[iri::DISTRIBUTION_TITLE]),
            form: Form::from_properties(properties),
            distributions: forms.iter().filter_map(Json::as_object).filter_map(form).collect(),
        }
    }

    /// Years and months of its period become days: a period begins with the first day of a year and ends with its last.
    pub fn settle(&mut self) {
        let days =
            [(&mut self.from, period::start as fn(&str) -> Option<String>), (&mut self.until, period::end)];
        for (at, settled) in days {
            if let Some(said) = at.as_deref().and_then(settled) {
                *at = Some(said);
            }
        }
    }

    /// What of these properties nobody can read, in sentences: geometries in systems that are not degrees, times that are none.
    #[must_use]
    pub fn unread(properties: &Map<String, Json>) -> Vec<String> {
        let Period { from, until } = properties.get(iri::TEMPORAL).map(period_of).unwrap_or_default();
        let times = [("beginning", from), ("end", until)];
        let times = times.into_iter().filter_map(|(name, at)| Some((name, at?)));
        let times = times.filter(|(_, at)| Time::parse(at).is_none());
        let times = times.map(|(name, at)| format!("the {name} of its period, `{at}`, is no time"));
        let all = Self::unread_places(properties).into_iter().chain(times).take(MOST_UNREAD);
        all.map(|text| text.chars().take(LONGEST_UNREAD).collect()).collect()
    }

    /// The geometries among them.
    pub(crate) fn unread_places(properties: &Map<String, Json>) -> Vec<String> {
        let spatial = find(properties, &[iri::SPATIAL, "spatial"]).map(Spatial::of).unwrap_or_default();
        spatial.unread.into_iter().map(|(name, unread)| format!("its {name} {}", unread.words())).collect()
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
        let mut form: Map<_, _> =
            Form::PROPERTIES.iter().filter_map(|name| properties.remove_entry(*name)).collect();
        if let Some(title) = properties.remove(iri::DISTRIBUTION_TITLE) {
            form.insert(iri::TITLE.to_owned(), title);
        }
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
    pub(crate) const PROPERTIES: [&str; 6] =
        [iri::RIGHTS, iri::MEDIA_TYPE, iri::FORMAT, iri::BYTE_SIZE, iri::CHECKSUM, iri::TABLE_SCHEMA];

    /// The `dct:format`: the one that is said, else the EU's file type that goes with the media type.
    #[must_use]
    pub fn file_type(&self) -> Option<String> {
        match &self.format {
            Some(format) => {
                media::meant(format).and_then(media::Media::file_type).or_else(|| Some(format.clone()))
            }
            None => media::by_name(self.media_type.as_deref()?)?.file_type(),
        }
    }

    /// What people call it, such as `CSV`.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        let said = |text: &str| media::meant(text).map(|one| one.label);
        match &self.format {
            Some(format) => said(format).or_else(|| format.rsplit('/').next()),
            None => said(self.media_type.as_deref()?).or(self.media_type.as_deref()),
        }
    }

    fn to_properties(&self) -> Map<String, Json> {
        let mut map = Map::new();
        let texts =
            [(iri::LICENSE, &self.license), (iri::MEDIA_TYPE, &self.media_type), (iri::FORMAT, &self.format)];
        if let Some(rights) = &self.rights {
            map.insert(iri::RIGHTS.to_owned(), rights.to_json(iri::LABEL));
        }
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

    pub(crate) fn from_properties(properties: &Map<String, Json>) -> Self {
        let text = |names: &[&str]| find(properties, names).and_then(literal);
        let checksum = properties.get(iri::CHECKSUM).filter(|one| {
            one.get(iri::ALGORITHM).and_then(literal).is_some_and(|algorithm| algorithm.ends_with("sha256"))
        });
        let columns = properties.get(iri::TABLE_SCHEMA).and_then(|schema| schema.get(iri::COLUMN));
        let columns = columns.and_then(|list| list.get("@list").unwrap_or(list).as_array());
        Self {
            license: text(&[iri::LICENSE, "license"]),
            rights: find(properties, &[iri::RIGHTS]).and_then(Labelled::from_json),
            media_type: text(&[iri::MEDIA_TYPE, "contenttype"]),
            format: text(&[iri::FORMAT]),
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
pub(crate) fn literal(value: &Json) -> Option<String> {
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Object(map) => {
            let names = [
                "@value",
                "@id",
                iri::GEOGRAPHIC_NAME,
                iri::LABEL,
                iri::PREFERRED,
                iri::NAME,
                iri::EMAIL,
                iri::FULL_NAME,
            ];
            names.into_iter().find_map(|name| literal(map.get(name)?))?
        }
        Json::Array(all) => literal(all.first()?)?,
        _ => return None,
    };
    let bare = media::iana(&text).or_else(|| text.strip_prefix("mailto:"));
    Some(bare.map_or_else(|| text.clone(), str::to_owned))
}

/// Whom to ask: an address of mail or on the web if there is one, else who it is.
fn contact(value: &Json) -> Option<String> {
    let all = match value {
        Json::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    let address = |one: &Json, name: &str| {
        let found = one.get(name)?;
        literal(found).or_else(|| literal(found.get(iri::VALUE)?))
    };
    let by = |name| all.iter().find_map(|one| address(one, name));
    by(iri::EMAIL).or_else(|| by(iri::URL)).or_else(|| literal(value))
}

#[derive(Debug, Clone, Default)]
struct Period {
    from: Option<String>,
    until: Option<String>,
}

/// When something begins and ends, in each way in which portals write it; of several periods what encloses them.
fn period_of(value: &Json) -> Period {
    let all = match value {
        Json::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    let periods: Vec<_> = all.iter().map(one_period).collect();
    let key = |text: &String| Time::parse(text).map(|time| (time.first_day(), time.last_day()));
    // One that does not say when it begins or ends is open, and so is the whole.
    let open = |side: fn(&Period) -> &Option<String>| {
        periods.iter().any(|one| side(one).is_none() && (one.from.is_some() || one.until.is_some()))
    };
    let begins = periods.iter().filter_map(|one| one.from.clone());
    let from = begins.min_by_key(|text| key(text).map(|(first, _)| first)).filter(|_| !open(|one| &one.from));
    let ends = periods.iter().filter_map(|one| one.until.clone());
    let until = ends.max_by_key(|text| key(text).map(|(_, last)| last)).filter(|_| !open(|one| &one.until));
    Period { from, until }
}

fn one_period(value: &Json) -> Period {
    const TIMES: [&str; 5] =
        [iri::TIME_STAMP, iri::TIME_DATE_TIME, iri::TIME_DATE, iri::TIME_MONTH, iri::TIME_YEAR];
    let side = |names: [&str; 2], instant: &str| {
        let plain = names.into_iter().find_map(|name| literal(value.get(name)?));
        plain.or_else(|| TIMES.into_iter().find_map(|name| literal(value.get(instant)?.get(name)?)))
    };
    let found = Period {
        from: side([iri::START, iri::SCHEMA_START], iri::HAS_BEGINNING),
        until: side([iri::END, iri::SCHEMA_END], iri::HAS_END),
    };
    let text = value.as_str().or_else(|| value.get("@value")?.as_str()).map(str::trim);
    match text {
        None => found,
        // ISO 8601, as CKAN and schema.org have it.
        Some(text) => match text.split_once('/') {
            Some((from, until)) => {
                let said = |text: &str| {
                    Some(text.trim()).filter(|text| !["", ".."].contains(text)).map(str::to_owned)
                };
                Period { from: said(from), until: said(until) }
            }
            None if Time::parse(text).is_some() => {
                Period { from: Some(text.to_owned()), until: Some(text.to_owned()) }
            }
            None => Period::default(),
        },
    }
}

/// What is said of where.
#[derive(Debug, Clone, Default)]
struct Spatial {
    place: Option<Labelled>,
    bbox: Option<Area>,
    centroid: Option<[f64; 2]>,
    /// What was not read, and why.
    unread: Vec<(&'static str, Unread)>,
}

impl Spatial {
    /// Of several places the first that has a name, and what encloses them all.
    fn of(value: &Json) -> Self {
        let all = match value {
            Json::Array(all) => all.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut found = Self::default();
        let mut around = Extent::default();
        for one in all {
            let mut shape = |names: &[(&'static str, &str)]| {
                let mut wrong = Vec::new();
                for (name, iri) in names {
                    let texts = match one.get(*iri) {
                        Some(Json::Array(all)) => all.as_slice(),
                        Some(one) => std::slice::from_ref(one),
                        None => &[],
                    };
                    for text in texts.iter().filter_map(literal) {
                        match extent::read(&text) {
                            Ok(area) => return Some(area),
                            Err(unread) => wrong.push((*name, unread)),
                        }
                    }
                }
                // The same shape may be written in several ways: one that is read is enough.
                wrong.dedup();
                found.unread.extend(wrong);
                None
            };
            if let Some(area) = shape(&[("extent", iri::BBOX), ("geometry", iri::GEOMETRY)]) {
                around.add_area(area);
            }
            let point = shape(&[("centre", iri::CENTROID)]);
            found.centroid = found.centroid.or_else(|| point.map(|[west, south, ..]| [west, south]));
        }
        found.bbox = around.bounds();
        found.place = match value {
            Json::Array(all) => all.iter().find_map(Labelled::from_json),
            one => Labelled::from_json(one),
        };
        found
    }
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
            keywords: vec!["air".into(), "no2".into()],
            publisher: Some("Antwerp".into()),
            place: Some("BE".into()),
            bbox: Some([4.2, 51.1, 4.5, 51.4]),
            centroid: Some([4.3, 51.2]),
            from: Some("2019-05-01".to_owned()),
            until: Some("2019-06-30".to_owned()),
            themes: vec!["http://publications.europa.eu/resource/authority/data-theme/ENVI".to_owned()],
            contact: Some("air@antwerp.example".to_owned()),
            frequency: Some("http://publications.europa.eu/resource/authority/frequency/HOURLY".to_owned()),
            conforms_to: vec![
                "https://smartdatamodels.org/dataModel.Environment/AirQualityObserved".to_owned(),
            ],
            languages: vec!["http://publications.europa.eu/resource/authority/language/NLD".to_owned()],
            provenance: Some("Measured by reference stations.".into()),
            quality: Some("Validated, 2 % missing.".into()),
            hvd_categories: vec!["http://data.europa.eu/bna/c_dd313021".to_owned()],
            legislation: vec!["http://data.europa.eu/eli/reg_impl/2023/138/oj".to_owned()],
            series: vec!["urn:series:air".to_owned()],
            version: Some("1.2".to_owned()),
            version_notes: "June added".into(),
            documentation: Some("https://antwerp.example/air".to_owned()),
            distribution_title: "NO2, all stations".into(),
            form: Form {
                license: Some("https://creativecommons.org/licenses/by/4.0/".to_owned()),
                rights: Some("Name the city.".into()),
                media_type: Some("text/csv".to_owned()),
                format: Some("http://publications.europa.eu/resource/authority/file-type/TXT".to_owned()),
                byte_size: Some(120),
                sha256: Some("ab".repeat(32)),
                columns: vec!["time".to_owned(), "value".to_owned()],
            },
            distributions: vec![NamedForm {
                name: "json".to_owned(),
                title: "NO2 for programs".into(),
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
        assert_eq!((split.form.len(), split.further.len()), (7, 1));
        assert_eq!(split.form[iri::TITLE], "NO2, all stations", "of the distribution");
        assert_eq!(split.dataset[iri::TITLE].as_array().map(Vec::len), Some(2), "of the dataset");
        assert!(split.dataset.contains_key(iri::LICENSE), "also of the dataset, for those who look there");
    }

    fn with(property: &str, value: Json) -> Map<String, Json> {
        Map::from_iter([(property.to_owned(), value)])
    }

    fn of(property: &str, value: Json) -> Description {
        Description::from_properties(&with(property, value))
    }

    #[test]
    fn places_are_read_in_degrees_or_named() {
        let epsg = "<http://www.opengis.net/def/crs/EPSG/0/4326> POLYGON((50 3,51 3,51 4,50 4,50 3))";
        let lambert = "<http://www.opengis.net/def/crs/EPSG/0/31370> POINT(150000 170000)";
        let found = of(iri::SPATIAL, json!({iri::BBOX: epsg, iri::CENTROID: lambert}));
        assert_eq!((found.bbox, found.centroid), (Some([3.0, 50.0, 4.0, 51.0]), None));
        let said = Description::unread(&with(iri::SPATIAL, json!({iri::BBOX: epsg, iri::CENTROID: lambert})));
        assert!(said.len() == 1 && said[0].contains("centre") && said[0].contains("EPSG:31370"), "{said:?}");
        let found =
            of(iri::SPATIAL, json!({iri::GEOMETRY: [lambert, "POINT(4 51)"], iri::CENTROID: "POINT(4 51)"}));
        assert_eq!(
            (found.bbox, found.centroid),
            (Some([4.0, 51.0, 4.0, 51.0]), Some([4.0, 51.0])),
            "one that is read"
        );
        // Several places: what encloses them, over the antimeridian.
        let found = of(
            iri::SPATIAL,
            json!([{"@id": "urn:fiji"}, {iri::BBOX: "POINT(178 -18)"}, {iri::BBOX: {"@value": "POINT(-179 -17)"}}]),
        );
        assert_eq!(found.bbox, Some([178.0, -18.0, -179.0, -17.0]));
        assert_eq!(found.place.unwrap().iri.as_deref(), Some("urn:fiji"));
        let over = Description { bbox: Some([170.0, -20.0, -170.0, 10.0]), ..full() };
        assert_eq!(Description::from_properties(&over.to_properties()), over);
    }

    #[test]
    fn periods_are_read_in_every_way_to_write_them() {
        let period = |value: Json| {
            let mut found = of(iri::TEMPORAL, value);
            found.settle();
            (found.from.unwrap_or_default(), found.until.unwrap_or_default())
        };
        let days = ("2018-01-01".to_owned(), "2020-12-31".to_owned());
        let year = |text: &str| json!({"@value": text, "@type": "http://www.w3.org/2001/XMLSchema#gYear"});
        assert_eq!(period(json!({iri::START: year("2018"), iri::END: year("2020")})), days);
        assert_eq!(period(json!({iri::SCHEMA_START: "2018-01", iri::SCHEMA_END: "2020-12"})), days);
        let beginning = json!({iri::TIME_YEAR: "2018"});
        assert_eq!(
            period(json!({iri::HAS_BEGINNING: beginning, iri::HAS_END: {iri::TIME_MONTH: "2020-12"}})),
            days
        );
        assert_eq!(period(json!("2018/2020")), days);
        assert_eq!(
            period(json!([{iri::START: "2019", iri::END: "2020"}, {iri::START: "2018", iri::END: "2019"}])),
            days
        );
        assert_eq!(period(json!("2018/..")), ("2018-01-01".to_owned(), String::new()));
        assert_eq!(
            period(json!([{iri::START: "2019"}, {iri::START: "2018", iri::END: "2019"}])).1,
            "",
            "one is open"
        );
        assert_eq!(period(json!("sometimes")), (String::new(), String::new()));
        let said = Description::unread(&with(iri::TEMPORAL, json!({iri::START: "2018", iri::END: "soon"})));
        assert!(said.len() == 1 && said[0].contains("`soon`"), "{said:?}");
    }

    #[test]
    fn a_mail_address_is_whom_to_ask() {
        let desk = json!({"@id": "https://city.example/desk", iri::FULL_NAME: "Desk", iri::EMAIL: {"@id": "mailto:a@city.example"}});
        assert_eq!(of(iri::CONTACT, desk).contact.as_deref(), Some("a@city.example"));
        assert_eq!(of(iri::CONTACT, json!({iri::FULL_NAME: "Desk"})).contact.as_deref(), Some("Desk"));
    }
}
