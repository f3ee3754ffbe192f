//! The public catalogue (DCAT-AP 3.0): what portals harvest and people find. Only datasets that their owner listed stand
//! in it, with what they say of themselves; offers, terms and where the data is do not.

use std::io;

use oxjsonld::JsonLdSerializer;
pub use oxrdf::Triple;
use oxrdf::vocab::{rdf, rdfs, xsd};
use oxrdf::{BlankNode, GraphName, Literal, NamedNode, NamedOrBlankNode, Term};
use oxrdfxml::RdfXmlSerializer;
use oxttl::TurtleSerializer;
use serde_json::Value as Json;

use crate::description::Description;
use crate::model::Asset;
use crate::view::Snapshot;
use crate::{OPEN, VISIBILITY};

/// Datasets on a page.
pub const PAGE: usize = 100;

const DCAT: &str = "http://www.w3.org/ns/dcat#";
const DCT: &str = "http://purl.org/dc/terms/";
const FOAF: &str = "http://xmlns.com/foaf/0.1/";
const VCARD: &str = "http://www.w3.org/2006/vcard/ns#";
const SKOS: &str = "http://www.w3.org/2004/02/skos/core#";
const HYDRA: &str = "http://www.w3.org/ns/hydra/core#";
const LOCN: &str = "http://www.w3.org/ns/locn#";
/// Data that everybody gets (EU vocabulary of access rights).
const PUBLIC: &str = "http://publications.europa.eu/resource/authority/access-right/PUBLIC";
/// Data that not everybody gets.
const RESTRICTED: &str = "http://publications.europa.eu/resource/authority/access-right/RESTRICTED";
const MEDIA_TYPES: &str = "https://www.iana.org/assignments/media-types/";

/// In which form the catalogue is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// JSON-LD 1.1.
    JsonLd,
    /// RDF 1.1 XML.
    RdfXml,
    /// RDF 1.1 Turtle.
    Turtle,
}

impl Syntax {
    /// All of them, the preferred one first.
    pub const ALL: [Self; 3] = [Self::Turtle, Self::JsonLd, Self::RdfXml];

    /// The media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::JsonLd => "application/ld+json",
            Self::RdfXml => "application/rdf+xml",
            Self::Turtle => "text/turtle",
        }
    }

    /// The end of a file's name.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::JsonLd => "jsonld",
            Self::RdfXml => "rdf",
            Self::Turtle => "ttl",
        }
    }
}

/// What the catalogue says of itself.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Address below which it stands, without a slash at the end.
    pub address: &'a str,
    /// Who publishes it: a name.
    pub publisher: &'a str,
    /// And its DID.
    pub did: &'a str,
}

impl About<'_> {
    fn catalog(&self) -> String {
        format!("{}/catalog", self.address)
    }

    /// The address of a page, counted from 1.
    #[must_use]
    pub fn page(&self, number: usize) -> String {
        format!("{}?page={number}", self.catalog())
    }

    /// The address of a dataset; `segment` is its id as one segment of a path.
    #[must_use]
    pub fn dataset(&self, segment: &str) -> String {
        format!("{}/datasets/{segment}", self.address)
    }
}

/// How many pages `snapshot` has; one at least.
#[must_use]
pub fn pages(snapshot: &Snapshot) -> usize {
    snapshot.listed().len().div_ceil(PAGE).max(1)
}

/// A page of the catalogue, counted from 1; `None` beyond the last. `segment` makes an id one segment of a path.
#[must_use]
pub fn page(
    snapshot: &Snapshot,
    about: About<'_>,
    number: usize,
    segment: impl Fn(&str) -> String,
) -> Option<Vec<Triple>> {
    let last = pages(snapshot);
    if number == 0 || number > last {
        return None;
    }
    let mut graph = Graph::default();
    let catalog = named(&about.catalog());
    graph.is_a(&catalog, DCAT, "Catalog");
    graph.text(&catalog, DCT, "title", &format!("Data of {}", about.publisher));
    let says =
        "Datasets that can be asked for; their data is shared under agreements of the Dataspace Protocol.";
    graph.text(&catalog, DCT, "description", says);
    graph.agent(&catalog, None, about);
    let view = named(&about.page(number));
    graph.is_a(&view, HYDRA, "PartialCollectionView");
    let total = Literal::new_typed_literal(snapshot.listed().len().to_string(), xsd::INTEGER);
    graph.add(&view, HYDRA, "totalItems", total);
    let links = [
        ("first", Some(1)),
        ("previous", number.checked_sub(1).filter(|number| *number > 0)),
        ("next", Some(number + 1).filter(|number| *number <= last)),
        ("last", Some(last)),
    ];
    for (name, number) in links {
        if let Some(number) = number {
            graph.add(&view, HYDRA, name, named(&about.page(number)));
        }
    }
    let on_page = snapshot.listed().iter().skip((number - 1) * PAGE).take(PAGE);
    for asset in on_page.filter_map(|id| snapshot.asset(id)) {
        let dataset = named(&about.dataset(&segment(&asset.id)));
        graph.add(&catalog, DCAT, "dataset", dataset.clone());
        graph.dataset(&dataset, asset, about);
    }
    Some(graph.triples)
}

/// One listed dataset; `None` where there is none, or where it is not listed.
#[must_use]
pub fn dataset(
    snapshot: &Snapshot,
    about: About<'_>,
    id: &str,
    segment: impl Fn(&str) -> String,
) -> Option<Vec<Triple>> {
    let asset = snapshot.listed_asset(id)?;
    let mut graph = Graph::default();
    graph.dataset(&named(&about.dataset(&segment(id))), asset, about);
    Some(graph.triples)
}

/// The triples in `syntax`.
///
/// # Errors
/// None in practice: it writes to memory.
pub fn write(triples: &[Triple], syntax: Syntax) -> io::Result<Vec<u8>> {
    let prefixes =
        [("dcat", DCAT), ("dct", DCT), ("foaf", FOAF), ("vcard", VCARD), ("skos", SKOS), ("hydra", HYDRA)];
    let wrong = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    match syntax {
        Syntax::JsonLd => {
            let mut serializer = JsonLdSerializer::new();
            for (name, iri) in prefixes {
                serializer = serializer.with_prefix(name, iri).map_err(|error| wrong(&error))?;
            }
            let mut writer = serializer.for_writer(Vec::new());
            for triple in triples {
                writer.serialize_quad(&triple.clone().in_graph(GraphName::DefaultGraph))?;
            }
            writer.finish()
        }
        Syntax::RdfXml => {
            let mut serializer = RdfXmlSerializer::new();
            for (name, iri) in prefixes {
                serializer = serializer.with_prefix(name, iri).map_err(|error| wrong(&error))?;
            }
            let mut writer = serializer.for_writer(Vec::new());
            triples.iter().try_for_each(|triple| writer.serialize_triple(triple))?;
            writer.finish()
        }
        Syntax::Turtle => {
            let mut serializer = TurtleSerializer::new();
            for (name, iri) in prefixes {
                serializer = serializer.with_prefix(name, iri).map_err(|error| wrong(&error))?;
            }
            let mut writer = serializer.for_writer(Vec::new());
            triples.iter().try_for_each(|triple| writer.serialize_triple(triple))?;
            writer.finish()
        }
    }
}

#[derive(Default)]
struct Graph {
    triples: Vec<Triple>,
    blanks: usize,
}

impl Graph {
    fn add(&mut self, subject: &NamedOrBlankNode, vocabulary: &str, name: &str, object: impl Into<Term>) {
        let predicate = NamedNode::new_unchecked(format!("{vocabulary}{name}"));
        self.triples.push(Triple::new(subject.clone(), predicate, object));
    }

    fn is_a(&mut self, subject: &NamedOrBlankNode, vocabulary: &str, class: &str) {
        let class = NamedNode::new_unchecked(format!("{vocabulary}{class}"));
        self.triples.push(Triple::new(subject.clone(), rdf::TYPE, class));
    }

    fn text(&mut self, subject: &NamedOrBlankNode, vocabulary: &str, name: &str, text: &str) {
        self.add(subject, vocabulary, name, Literal::new_simple_literal(readable(text)));
    }

    fn label(&mut self, subject: NamedOrBlankNode, text: &str) {
        self.triples.push(Triple::new(subject, rdfs::LABEL, Literal::new_simple_literal(readable(text))));
    }

    /// A node without a name; the same one each time the same graph is made.
    fn blank(&mut self) -> NamedOrBlankNode {
        self.blanks += 1;
        // An NCName, so that RDF/XML can carry it.
        BlankNode::new_unchecked(format!("n{}", self.blanks)).into()
    }

    /// `subject` has as `name` a thing of `class` that is called `text`: by its IRI where it is one, else by a label.
    fn thing(
        &mut self,
        subject: &NamedOrBlankNode,
        (vocabulary, name): (&str, &str),
        (class_vocabulary, class): (&str, &str),
        text: &str,
    ) -> NamedOrBlankNode {
        let node = if is_iri(text) { named(text) } else { self.blank() };
        self.add(subject, vocabulary, name, node.clone());
        self.is_a(&node, class_vocabulary, class);
        node
    }

    /// `subject` is published by `name`, or by this node.
    fn agent(&mut self, subject: &NamedOrBlankNode, name: Option<&str>, about: About<'_>) {
        let (identity, name) = match name.filter(|name| *name != about.publisher) {
            Some(name) => (name, name),
            None => (about.did, about.publisher),
        };
        let agent = self.thing(subject, (DCT, "publisher"), (FOAF, "Agent"), identity);
        self.text(&agent, FOAF, "name", name);
    }

    fn dataset(&mut self, dataset: &NamedOrBlankNode, asset: &Asset, about: About<'_>) {
        let described = Description::from_properties(&asset.properties);
        self.is_a(dataset, DCAT, "Dataset");
        self.text(dataset, DCT, "identifier", &asset.id);
        let title = if described.title.is_empty() { &asset.id } else { &described.title };
        self.texts(dataset, "title", asset, title);
        let description = described.description.as_ref().unwrap_or(title);
        self.texts(dataset, "description", asset, description);
        self.agent(dataset, described.publisher.as_deref(), about);
        for keyword in &described.keywords {
            self.text(dataset, DCAT, "keyword", keyword);
        }
        for theme in described.themes.iter().filter(|theme| is_iri(theme)) {
            let concept = self.thing(dataset, (DCAT, "theme"), (SKOS, "Concept"), theme);
            self.text(&concept, SKOS, "prefLabel", theme.rsplit('/').next().unwrap_or(theme));
        }
        if let Some(place) = &described.place {
            let location = self.thing(dataset, (DCT, "spatial"), (DCT, "Location"), place);
            if !is_iri(place) {
                self.text(&location, LOCN, "geographicName", place);
            }
        }
        if described.from.is_some() || described.until.is_some() {
            let period = self.blank();
            self.add(dataset, DCT, "temporal", period.clone());
            self.is_a(&period, DCT, "PeriodOfTime");
            for (name, at) in [("startDate", &described.from), ("endDate", &described.until)] {
                if let Some(date) = at.as_deref().and_then(date) {
                    self.add(&period, DCAT, name, date);
                }
            }
        }
        if let Some(contact) = &described.contact {
            let kind = self.blank();
            self.add(dataset, DCAT, "contactPoint", kind.clone());
            self.is_a(&kind, VCARD, "Kind");
            let mail = format!("mailto:{}", contact.trim());
            match contact.contains('@') && !is_iri(contact) {
                true if is_iri(&mail) => self.add(&kind, VCARD, "hasEmail", named(&mail)),
                _ if is_iri(contact) => self.add(&kind, VCARD, "hasURL", named(contact)),
                _ => self.text(&kind, VCARD, "fn", contact),
            }
        }
        if let Some(frequency) = described.frequency.as_deref().filter(|one| is_iri(one)) {
            self.thing(dataset, (DCT, "accrualPeriodicity"), (DCT, "Frequency"), frequency);
        }
        for standard in &described.conforms_to {
            let node = self.thing(dataset, (DCT, "conformsTo"), (DCT, "Standard"), standard);
            if !is_iri(standard) {
                self.label(node, standard);
            }
        }
        let open = asset.properties.get(VISIBILITY).and_then(Json::as_str) == Some(OPEN);
        let rights = if open { PUBLIC } else { RESTRICTED };
        self.thing(dataset, (DCT, "accessRights"), (DCT, "RightsStatement"), rights);
        self.thing(dataset, (DCAT, "landingPage"), (FOAF, "Document"), &page_of(dataset));
        let data = open.then(|| iri_of(dataset).replacen("/datasets/", "/data/", 1));
        self.distribution(dataset, &described, data.as_deref());
    }

    /// How the data is had; `data` is its address, where everybody may read it.
    fn distribution(&mut self, dataset: &NamedOrBlankNode, described: &Description, data: Option<&str>) {
        let distribution = named(&format!("{}#distribution", iri_of(dataset)));
        self.add(dataset, DCAT, "distribution", distribution.clone());
        self.is_a(&distribution, DCAT, "Distribution");
        // There, people and programs learn how to ask for the data.
        self.thing(&distribution, (DCAT, "accessURL"), (rdfs::RESOURCE.as_str(), ""), &page_of(dataset));
        if let Some(data) = data {
            self.thing(&distribution, (DCAT, "downloadURL"), (rdfs::RESOURCE.as_str(), ""), data);
        }
        if let Some(license) = &described.license {
            let node = self.thing(&distribution, (DCT, "license"), (DCT, "LicenseDocument"), license);
            if !is_iri(license) {
                self.label(node, license);
            }
        }
        if let Some(media_type) = described.media_type.as_deref().map(bare_media_type) {
            let media_type = format!("{MEDIA_TYPES}{media_type}");
            if is_iri(&media_type) {
                self.thing(&distribution, (DCAT, "mediaType"), (DCT, "MediaType"), &media_type);
            }
        }
    }

    /// A text in as many languages as its owner gave; `otherwise` where it is a plain one.
    fn texts(&mut self, dataset: &NamedOrBlankNode, name: &str, asset: &Asset, otherwise: &str) {
        let given = asset.properties.get(&format!("{DCT}{name}"));
        let given = match given {
            Some(Json::Array(all)) => all.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        let tagged = |one: &Json| {
            let (text, language) = (one.get("@value")?.as_str()?, one.get("@language")?.as_str()?);
            Literal::new_language_tagged_literal(readable(text), language).ok()
        };
        let tagged: Vec<_> = given.iter().filter_map(tagged).collect();
        if tagged.is_empty() {
            return self.text(dataset, DCT, name, otherwise);
        }
        for literal in tagged {
            self.add(dataset, DCT, name, literal);
        }
    }
}

fn named(iri: &str) -> NamedOrBlankNode {
    NamedNode::new_unchecked(iri).into()
}

fn iri_of(node: &NamedOrBlankNode) -> String {
    match node {
        NamedOrBlankNode::NamedNode(node) => node.as_str().to_owned(),
        NamedOrBlankNode::BlankNode(_) => String::new(),
    }
}

/// A text that every syntax can carry as it is: XML 1.0 has no control characters, and makes a line feed of a carriage
/// return.
fn readable(text: &str) -> String {
    let fine =
        |c: &char| matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.replace("\r\n", "\n").replace('\r', "\n").chars().filter(fine).collect()
}

/// The page about a dataset for people.
fn page_of(dataset: &NamedOrBlankNode) -> String {
    format!("{}.html", iri_of(dataset))
}

/// An absolute IRI that every syntax can carry.
pub(crate) fn is_iri(text: &str) -> bool {
    text.contains(':') && NamedNode::new(text).is_ok()
}

/// A day or an instant, as XML Schema has them.
pub(crate) fn date(text: &str) -> Option<Literal> {
    let day = text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
    let instant = || text.parse::<jiff::Timestamp>().is_ok();
    match (day, day || instant()) {
        (true, _) => Some(Literal::new_typed_literal(text, xsd::DATE)),
        (false, true) => Some(Literal::new_typed_literal(text, xsd::DATE_TIME)),
        (false, false) => None,
    }
}

/// A media type without its parameters.
fn bare_media_type(text: &str) -> &str {
    text.split(';').next().unwrap_or(text).trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LISTED;
    use serde_json::json;

    const ABOUT: About<'_> =
        About { address: "https://a.example/open", publisher: "City", did: "did:web:a.example" };

    fn snapshot(count: usize) -> Snapshot {
        let asset = |number: usize| {
            // Every third is hidden.
            let visibility = if number.is_multiple_of(3) { "hidden" } else { LISTED };
            serde_json::from_value::<Asset>(json!({"@id": format!("urn:d:{number:03}"), "properties": {
                VISIBILITY: visibility, "http://purl.org/dc/terms/title": format!("Secret {number}")},
                "dataAddress": {"path": "/secret"}}))
            .unwrap()
        };
        Snapshot::new((0..count).map(asset), Vec::new(), Vec::new()).0
    }

    fn text(triples: &[Triple], syntax: Syntax) -> String {
        String::from_utf8(write(triples, syntax).unwrap()).unwrap()
    }

    #[test]
    fn pages_hold_what_is_listed_and_nothing_else() {
        let all = snapshot(301);
        assert_eq!((all.listed().len(), pages(&all)), (200, 2));
        let mut seen = 0;
        for number in 1..=2 {
            let triples = page(&all, ABOUT, number, str::to_owned).unwrap();
            for syntax in Syntax::ALL {
                let text = text(&triples, syntax);
                assert!(!text.contains("/secret"), "where the data is");
                for hidden in ["urn:d:000", "urn:d:003", "urn:d:300"] {
                    assert!(!text.contains(hidden), "{hidden}");
                }
            }
            seen += text(&triples, Syntax::Turtle).matches("a dcat:Dataset").count();
        }
        assert_eq!(seen, 200);
        assert!(
            page(&all, ABOUT, 3, str::to_owned).is_none() && page(&all, ABOUT, 0, str::to_owned).is_none()
        );
        assert!(dataset(&all, ABOUT, "urn:d:001", str::to_owned).is_some());
        assert!(dataset(&all, ABOUT, "urn:d:003", str::to_owned).is_none());
        assert_eq!(pages(&snapshot(0)), 1, "an empty catalogue is one page");
    }

    #[test]
    fn what_one_dataset_says_breaks_no_page() {
        let asset = serde_json::from_value::<Asset>(json!({"@id": "urn:\u{1}odd", "properties": {
            VISIBILITY: OPEN, "http://purl.org/dc/terms/title": "a\u{0}\u{8}b\r\nc\u{ffff}",
            "http://purl.org/dc/terms/description": {"@value": "d\u{b}", "@language": "en"},
            "http://www.w3.org/ns/dcat#contactPoint": "the desk <x>@ y",
            "http://www.w3.org/ns/dcat#mediaType": "text/ csv>",
            "http://purl.org/dc/terms/license": "https://a b"}}));
        let made = Snapshot::new([asset.unwrap()], Vec::new(), Vec::new()).0;
        let triples = page(&made, ABOUT, 1, |_| "odd".to_owned()).unwrap();
        for syntax in Syntax::ALL {
            let text = text(&triples, syntax);
            assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{text}");
            assert!(!text.contains("mailto:") && !text.contains("<https://a b>"), "{text}");
        }
        assert_eq!(readable("a\u{0}b\r\nc\rd\u{1f600}"), "ab\nc\nd\u{1f600}");
    }

    #[test]
    fn dates_and_iris_are_told_from_texts() {
        assert!(
            date("2019-05-07").is_some() && date("2019-05-07T00:00:00Z").is_some() && date("May").is_none()
        );
        assert!(is_iri("urn:a") && is_iri("https://a.example/b") && !is_iri("a b:c") && !is_iri("Antwerp"));
        assert_eq!(bare_media_type("text/csv; charset=utf-8"), "text/csv");
    }
}
