//! A dataset's description from Turtle and JSON-LD, as other tools and portals write it.

use std::collections::{BTreeSet, HashMap};

use oxjsonld::JsonLdParser;
use oxrdf::{NamedOrBlankNode, Term, Triple};
use oxttl::TurtleParser;
use policy_engine::media;
use serde_json::{Map, Value as Json, json};

use crate::CatalogError;
use crate::description::{Description, Form, NamedForm, literal};
use crate::text::Text;
use crate::vocabulary as iri;

/// Most triples of a file.
const MAX_TRIPLES: usize = 10_000;
/// Deepest nesting of things without names that is followed.
const MAX_DEPTH: usize = 5;

type Said = HashMap<NamedOrBlankNode, Vec<(String, Term)>>;

/// What a file says of a dataset.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imported {
    /// The dataset's IRI, if it has one.
    pub id: Option<String>,
    /// What is said of the dataset as such.
    pub description: Description,
    /// What is said of each of its distributions, in the order of the file.
    pub forms: Vec<NamedForm>,
    /// What could not be read, and what there is no place for, in sentences.
    pub remarks: Vec<String>,
}

impl Imported {
    /// The description of the dataset as it is had in `media_type`: with what is said of the distribution of that type, else
    /// of the first one. Also those of the other distributions.
    #[must_use]
    pub fn as_had_in(mut self, media_type: Option<&str>) -> (Description, Vec<NamedForm>) {
        let wanted = media_type.map(media::canonical);
        let fits = |one: &NamedForm| {
            wanted.is_some() && one.form.media_type.as_deref().map(media::canonical) == wanted
        };
        let at = self.forms.iter().position(fits).unwrap_or_default();
        if at < self.forms.len() {
            let NamedForm { title, form, .. } = self.forms.remove(at);
            self.description.distribution_title = title;
            let own = std::mem::take(&mut self.description.form);
            self.description.form =
                Form { license: own.license.or(form.license), rights: own.rights.or(form.rights), ..form };
        }
        (self.description, self.forms)
    }
}

/// What Turtle says of the only `dcat:Dataset` in it.
///
/// # Errors
/// No Turtle, too long, or not exactly one dataset.
pub fn read(text: &str) -> Result<Imported, CatalogError> {
    let triples = TurtleParser::new().for_slice(text);
    import(text, triples.map(|triple| triple.map_err(|error| error.to_string())))
}

/// What JSON-LD says of the only `dcat:Dataset` in it. A context that stands elsewhere is not fetched.
///
/// # Errors
/// No JSON-LD, a context that stands elsewhere, too long, or not exactly one dataset.
pub fn read_json_ld(text: &str) -> Result<Imported, CatalogError> {
    let quads = JsonLdParser::new().for_slice(text);
    let triple = |quad: oxrdf::Quad| Triple::new(quad.subject, quad.predicate, quad.object);
    import(text, quads.map(|quad| quad.map(triple).map_err(|error| error.to_string())))
}

fn import(
    text: &str,
    triples: impl Iterator<Item = Result<Triple, String>>,
) -> Result<Imported, CatalogError> {
    let wrong = |reason: String| CatalogError::new("/", reason);
    let mut said = Said::new();
    for (count, triple) in triples.enumerate() {
        let triple = triple.map_err(wrong)?;
        if count >= MAX_TRIPLES {
            return Err(wrong(format!("has more than {MAX_TRIPLES} statements")));
        }
        said.entry(triple.subject).or_default().push((triple.predicate.into_string(), triple.object));
    }
    let is_dataset = |facts: &&Vec<(String, Term)>| {
        facts.iter().any(|(name, object)| {
            let class = matches!(object, Term::NamedNode(class) if class.as_str() == iri::DATASET);
            name == iri::TYPE && class
        })
    };
    let datasets: Vec<_> =
        said.iter().filter(|(_, facts)| is_dataset(facts)).map(|(subject, _)| subject).collect();
    let [dataset] = datasets.as_slice() else {
        return Err(wrong(format!("has {} things of class dcat:Dataset, not one", datasets.len())));
    };
    let Json::Object(mut properties) = value(dataset, &said, MAX_DEPTH) else {
        return Err(wrong("the dataset says nothing of itself".to_owned()));
    };
    let distributions = match properties.remove(iri::DISTRIBUTION) {
        Some(Json::Array(all)) => all,
        one => one.into_iter().collect(),
    };
    let id = match dataset {
        NamedOrBlankNode::NamedNode(node) => Some(node.as_str().to_owned()),
        NamedOrBlankNode::BlankNode(_) => None,
    };
    let mut taken = BTreeSet::new();
    let forms = distributions.iter().filter_map(Json::as_object).map(|one| form(one, &mut taken)).collect();
    let called = id.as_deref().unwrap_or("the dataset");
    let unread = Description::unread(&properties);
    let mut remarks: Vec<_> = unread
        .into_iter()
        .map(|one| format!("{called}: {one}; it was left out{}", place(text, &one)))
        .collect();
    let strange: Vec<_> = properties.keys().filter(|name| !TAKEN.contains(&name.as_str())).cloned().collect();
    if !strange.is_empty() {
        remarks.push(format!("{called}: there is no place here for {}", strange.join(", ")));
    }
    let mut description = Description::from_properties(&properties);
    for at in [&mut description.from, &mut description.until] {
        if at.as_deref().is_some_and(|at| crate::period::start(at).is_none()) {
            *at = None;
        }
    }
    description.settle();
    Ok(Imported { id, description, forms, remarks })
}

/// What is taken of a dataset, or follows from what is.
const TAKEN: [&str; 28] = [
    "@id",
    iri::CONFORMS_TO,
    iri::CONTACT,
    iri::DESCRIPTION,
    iri::DISTRIBUTION,
    iri::FREQUENCY,
    iri::HVD_CATEGORY,
    iri::IN_SERIES,
    iri::KEYWORD,
    iri::LANGUAGE,
    iri::LEGISLATION,
    iri::LICENSE,
    iri::PAGE,
    iri::PROVENANCE,
    iri::PUBLISHER,
    iri::QUALITY,
    iri::RIGHTS,
    iri::SPATIAL,
    iri::TEMPORAL,
    iri::THEME,
    iri::TITLE,
    iri::TYPE,
    iri::VERSION,
    iri::VERSION_INFO,
    iri::VERSION_NOTES,
    // The node says these itself.
    "http://purl.org/dc/terms/accessRights",
    "http://purl.org/dc/terms/identifier",
    "http://www.w3.org/ns/dcat#landingPage",
];

/// What is said of a distribution. Its name is the end of its IRI, else what its form is called.
fn form(properties: &Map<String, Json>, taken: &mut BTreeSet<String>) -> NamedForm {
    let mut form = Form::from_properties(properties);
    let said = properties.get(iri::DCT_FORMAT).and_then(literal);
    if let Some(written) = form.media_type.take().or_else(|| said.clone()) {
        match media::meant(&written) {
            Some(known) => form.media_type = Some(known.name().to_owned()),
            // A media type that is in no table, or something that is none.
            None if written.contains('/') && !written.contains(':') => form.media_type = Some(written),
            None => {}
        }
    }
    // What goes with the media type anyway need not be said.
    let said = said.map(|format| media::meant(&format).and_then(media::Media::file_type).unwrap_or(format));
    form.format = said.filter(|format| form.file_type().as_ref() != Some(format));
    let own = properties.get("@id").and_then(Json::as_str).and_then(|iri| iri.rsplit(['/', '#', ':']).next());
    let own = own.map(|name| name.strip_prefix("distribution-").unwrap_or(name));
    let is_name = |name: &&str| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let ending = || {
        let known = form.format.as_deref().and_then(media::meant);
        let known = known.or_else(|| media::by_name(form.media_type.as_deref()?))?;
        known.endings.first().copied()
    };
    let base = own.filter(is_name).or_else(ending).unwrap_or("distribution").to_owned();
    let numbered =
        (1_u32..).map(|number| if number == 1 { base.clone() } else { format!("{base}-{number}") });
    let name = numbered.into_iter().find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(name.clone());
    NamedForm { name, title: properties.get(iri::TITLE).map(Text::from_json).unwrap_or_default(), form }
}

/// Where in the file something stands that a sentence quotes.
fn place(text: &str, sentence: &str) -> String {
    let quoted = sentence.split('`').nth(1);
    let code =
        sentence.split("EPSG:").nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let needle = quoted.or(code).filter(|needle| !needle.is_empty());
    let line = needle.and_then(|needle| text.lines().position(|line| line.contains(needle)));
    line.map_or_else(String::new, |line| format!(" (line {})", line + 1))
}

/// What is said of `node`, as properties.
fn value(node: &NamedOrBlankNode, said: &Said, depth: usize) -> Json {
    let mut map = Map::new();
    if let NamedOrBlankNode::NamedNode(node) = node {
        map.insert("@id".to_owned(), json!(node.as_str()));
    }
    let facts = if depth == 0 { None } else { said.get(node) };
    for (name, object) in facts.into_iter().flatten() {
        let object = match object {
            Term::NamedNode(node) => value(&node.clone().into(), said, depth - 1),
            Term::BlankNode(node) => value(&node.clone().into(), said, depth - 1),
            Term::Literal(literal) => match literal.language() {
                Some(language) => json!({"@value": literal.value(), "@language": language}),
                None => json!(literal.value()),
            },
        };
        match map.get_mut(name) {
            None => drop(map.insert(name.clone(), object)),
            Some(Json::Array(all)) => all.push(object),
            Some(one) => *one = Json::Array(vec![one.take(), object]),
        }
    }
    Json::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{About, Syntax, dataset, write};

    /// What this node writes it can read, but for what only it can know.
    #[test]
    fn our_own_feed_is_read_back() {
        let full = crate::description::tests::full();
        let asset =
            serde_json::from_value(json!({"@id": "urn:d", "properties": full.to_properties()})).unwrap();
        let about = About {
            address: "https://a.example/open",
            publisher: "City",
            did: "did:web:a.example",
            endpoint: "https://a.example/dsp",
            segment: str::to_owned,
            shows: &|_| false,
        };
        let text = String::from_utf8(write(&dataset(&asset, about), Syntax::Turtle).unwrap()).unwrap();
        let imported = read(&text).unwrap();
        assert_eq!(imported.id.as_deref(), Some("https://a.example/open/datasets/urn:d"));
        assert_eq!(imported.remarks, Vec::<String>::new());
        let names: Vec<_> = imported.forms.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["distribution", "json"]);
        let (read, further) = imported.as_had_in(Some("text/csv"));
        let mut expected = Description {
            distributions: Vec::new(),
            form: Form { columns: Vec::new(), byte_size: None, ..full.form.clone() },
            ..full.clone()
        };
        let read = Description { form: Form { columns: Vec::new(), ..read.form.clone() }, ..read };
        assert_eq!(read, expected, "{text}");
        assert_eq!((further.len(), &further[0].title), (1, &"NO2 for programs".into()));
        // The other way round.
        let again = super::read(&text).unwrap().as_had_in(Some("application/json"));
        expected.form.media_type = Some("application/json".to_owned());
        assert_eq!(again.0.form.media_type, expected.form.media_type);
        assert_eq!(
            (again.0.distribution_title, again.1[0].name.as_str()),
            ("NO2 for programs".into(), "distribution")
        );
        let json = String::from_utf8(write(&dataset(&asset, about), Syntax::JsonLd).unwrap()).unwrap();
        assert_eq!(read_json_ld(&json).unwrap().as_had_in(Some("text/csv")).0.form.rights, read.form.rights);
        assert_eq!(read_json_ld(&json).unwrap().description, super::read(&text).unwrap().description);
    }

    const PREFIXES: &str = "@prefix dcat: <http://www.w3.org/ns/dcat#> . @prefix dct: <http://purl.org/dc/terms/> .
        @prefix xsd: <http://www.w3.org/2001/XMLSchema#> . @prefix gsp: <http://www.opengis.net/ont/geosparql#> .
        @prefix foaf: <http://xmlns.com/foaf/0.1/> . @prefix adms: <http://www.w3.org/ns/adms#> .
        @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> . @prefix locn: <http://www.w3.org/ns/locn#> .\n";

    fn of(text: &str) -> Imported {
        read(&format!("{PREFIXES}{text}")).unwrap()
    }

    fn tagged(all: &[(&str, &str)]) -> Text {
        let mut text = Text::default();
        all.iter().for_each(|(language, one)| text.set(language, one));
        text
    }

    /// The case from the field, as its list has it right.
    #[test]
    fn years_axis_order_and_languages_survive_the_import() {
        let found = of(
            r#"<urn:x> a dcat:Dataset ; dct:title "T"@en ; dct:description "D"@en ; dcat:keyword "Luft"@de, "air"@en ;
            dct:temporal [ a dct:PeriodOfTime ; dcat:startDate "2018"^^xsd:gYear ; dcat:endDate "2020"^^xsd:gYear ] ;
            dct:spatial [ a dct:Location ; dcat:bbox "<http://www.opengis.net/def/crs/EPSG/0/4326> POLYGON((50 3,51 3,51 4,50 4,50 3))"^^gsp:wktLiteral ] ;
            dct:publisher <https://city.example/org> .
            <https://city.example/org> a foaf:Agent ; foaf:name "Stadt"@de, "City"@en ."#,
        );
        let described = &found.description;
        assert_eq!(
            (described.title.clone(), described.description.clone()),
            (tagged(&[("en", "T")]), tagged(&[("en", "D")]))
        );
        assert_eq!(described.keywords, [tagged(&[("de", "Luft")]), tagged(&[("en", "air")])]);
        assert_eq!(
            (described.from.as_deref(), described.until.as_deref()),
            (Some("2018-01-01"), Some("2020-12-31"))
        );
        assert_eq!(described.bbox, Some([3.0, 50.0, 4.0, 51.0]));
        let publisher = described.publisher.clone().unwrap();
        assert_eq!(publisher.iri.as_deref(), Some("https://city.example/org"));
        assert_eq!(publisher.name, tagged(&[("de", "Stadt"), ("en", "City")]));
        assert_eq!(found.remarks, Vec::<String>::new());
        assert_eq!(
            Description::from_properties(&described.to_properties()),
            *described,
            "nothing is lost on the way"
        );
    }

    #[test]
    fn what_is_said_of_distributions_and_in_several_languages_is_kept() {
        let found = of(r#"<urn:x> a dcat:Dataset ; dct:title "T" ;
            dct:provenance [ rdfs:label "Gemessen"@de, "Measured"@en ] ; adms:versionNotes "Neu"@de, "New"@en ;
            dct:spatial <https://sws.geonames.org/2803138/> . <https://sws.geonames.org/2803138/> locn:geographicName "Antwerpen"@nl, "Anvers"@fr .
            <urn:x> dcat:distribution <https://city.example/x#csv>, [ dcat:mediaType "application/zip" ;
                dct:format <http://publications.europa.eu/resource/authority/file-type/GTFS> ; dct:title "Fahrplan"@de ], [ dct:format "JSON" ], [ dct:format "JSON" ] .
            <https://city.example/x#csv> dct:title "Table"@en, "Tabelle"@de ; dct:license <https://creativecommons.org/licenses/by/4.0/> ;
                dct:rights [ rdfs:label "Nennen"@de ] ;
                dcat:mediaType <http://www.iana.org/assignments/media-types/text/csv> ; dct:format <http://publications.europa.eu/resource/authority/file-type/CSV> ."#);
        let described = &found.description;
        assert_eq!(
            described.provenance.as_ref().unwrap().name,
            tagged(&[("de", "Gemessen"), ("en", "Measured")])
        );
        assert_eq!(described.version_notes, tagged(&[("de", "Neu"), ("en", "New")]));
        let place = described.place.as_ref().unwrap();
        assert_eq!(
            (place.iri.as_deref(), place.name.all().count()),
            (Some("https://sws.geonames.org/2803138/"), 2)
        );
        let names: Vec<_> = found.forms.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["csv", "gtfs", "json", "json-2"]);
        assert_eq!(found.forms[0].title, tagged(&[("de", "Tabelle"), ("en", "Table")]));
        let form =
            |at: usize| (found.forms[at].form.media_type.as_deref(), found.forms[at].form.format.as_deref());
        assert_eq!(form(0), (Some("text/csv"), None), "the format goes with the media type");
        assert_eq!(
            form(1),
            (
                Some("application/zip"),
                Some("http://publications.europa.eu/resource/authority/file-type/GTFS")
            )
        );
        assert_eq!(form(2), (Some("application/json"), None));
        let (had, further) = found.clone().as_had_in(Some("text/csv"));
        assert_eq!(had.form.license.as_deref(), Some("https://creativecommons.org/licenses/by/4.0/"));
        assert_eq!(had.form.rights.as_ref().unwrap().name, tagged(&[("de", "Nennen")]));
        assert_eq!((had.distribution_title.all().count(), further.len()), (2, 3));
        assert_eq!(found.as_had_in(None).0.form, had.form, "the first one");
    }

    #[test]
    fn what_is_not_read_is_named_with_its_line() {
        let found = of("<urn:x> a dcat:Dataset ; dct:title \"T\" ;\n
            dct:temporal [ dcat:startDate \"soon\" ; dcat:endDate \"2020-03\"^^xsd:gYearMonth ] ;\n
            dct:creator <urn:y> ;\n dct:spatial [ dcat:bbox \"<http://www.opengis.net/def/crs/EPSG/0/31370> POINT(1 2)\" ] .");
        assert_eq!((found.description.bbox, found.description.from.as_deref()), (None, None));
        assert_eq!(found.description.until.as_deref(), Some("2020-03-31"));
        let remarks = found.remarks.join("\n");
        for part in ["urn:x: its extent", "EPSG:31370", "(line 10)", "`soon`", "(line 7)", "dc/terms/creator"]
        {
            assert!(remarks.contains(part), "{part} is not in {remarks}");
        }
        for (dirty, line) in [
            ("<urn:x> a dcat:Dataset ;\n dct:title \"T .", "line"),
            ("\n\n<urn:x> <urn y> 5 .", "line 7"),
            ("ex:a a ex:b .", "line 5"),
        ] {
            let error = read(&format!("{PREFIXES}{dirty}")).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
        let context = r#"{"@context": "https://elsewhere.example/context.jsonld", "@type": "Dataset"}"#;
        assert!(read_json_ld(context).is_err() && read_json_ld("{").is_err());
    }

    #[test]
    fn not_one_dataset_is_refused() {
        for wrong in [
            "",
            "<urn:a> <urn:b> <urn:c> .",
            "@prefix d: <http://www.w3.org/ns/dcat#> . <urn:a> a d:Dataset . <urn:b> a d:Dataset .",
        ] {
            assert!(read(wrong).unwrap_err().to_string().contains("not one"), "{wrong}");
        }
        let round = "@prefix d: <http://www.w3.org/ns/dcat#> . <urn:a> a d:Dataset ; d:theme <urn:a> .";
        assert_eq!(read(round).unwrap().description.themes, ["urn:a"]);
        let long = "<urn:a> <urn:b> <urn:c> .\n".repeat(MAX_TRIPLES + 1);
        assert!(read(&long).unwrap_err().to_string().contains("more than"));
    }
}
