//! The public catalogue (DCAT-AP 3.0): what portals harvest and people find. Only datasets that their owner listed stand
//! in it, with what they say of themselves; offers, terms and where the data is do not.

use std::io;

use oxjsonld::JsonLdSerializer;
pub use oxrdf::Triple;
use oxrdf::vocab::{rdf, rdfs, xsd};
use oxrdf::{BlankNode, GraphName, Literal, NamedNode, NamedOrBlankNode, Term};
use oxttl::TurtleSerializer;
use policy_engine::media::{self, MEDIA_TYPES};
use serde_json::Value as Json;

use crate::description::{Description, Form};
use crate::extent;
use crate::labelled::Labelled;
use crate::model::Asset;
use crate::period::Time;
use crate::text::Text;
use crate::vocabulary as iri;
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
const R5R: &str = "http://data.europa.eu/r5r/";
const ELI: &str = "http://data.europa.eu/eli/ontology#";
const RDFS: &str = "http://www.w3.org/2000/01/rdf-schema#";
const ADMS: &str = "http://www.w3.org/ns/adms#";
const DQV: &str = "http://www.w3.org/ns/dqv#";
const OA: &str = "http://www.w3.org/ns/oa#";
const SPDX: &str = "http://spdx.org/rdf/terms#";
const CSVW: &str = "http://www.w3.org/ns/csvw#";
/// Data that everybody gets (EU vocabulary of access rights).
const PUBLIC: &str = "http://publications.europa.eu/resource/authority/access-right/PUBLIC";
/// Data that not everybody gets.
const RESTRICTED: &str = "http://publications.europa.eu/resource/authority/access-right/RESTRICTED";

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
            Self::JsonLd => media::JSON_LD,
            Self::RdfXml => media::RDF_XML,
            Self::Turtle => media::TURTLE,
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
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// Address below which it stands, without a slash at the end.
    pub address: &'a str,
    /// Who publishes it: a name.
    pub publisher: &'a str,
    /// And its DID.
    pub did: &'a str,
    /// The endpoint of the Dataspace Protocol.
    pub endpoint: &'a str,
    /// Makes an id one segment of a path.
    pub segment: fn(&str) -> String,
    /// Whether the catalogue shows the dataset with an id.
    pub shows: &'a dyn Fn(&str) -> bool,
}

impl std::fmt::Debug for About<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("About").field("address", &self.address).finish_non_exhaustive()
    }
}

impl About<'_> {
    /// The address of a dataset.
    #[must_use]
    pub fn dataset(&self, id: &str) -> String {
        format!("{}/datasets/{}", self.address, (self.segment)(id))
    }

    /// Where everybody reads the data of an open dataset.
    #[must_use]
    pub fn data(&self, id: &str) -> String {
        format!("{}/data/{}", self.address, (self.segment)(id))
    }
}

/// Which page it is, and which others there are.
#[derive(Debug, Clone, Copy)]
pub struct Paging<'a> {
    /// The address of the catalogue as it was asked for, without a query.
    pub asked: &'a str,
    /// What else was asked for, as the beginning of a query: nothing, or with `&` at its end.
    pub kept: &'a str,
    /// The page, counted from 1.
    pub number: usize,
    /// How many there are.
    pub last: usize,
    /// How many datasets are on all of them.
    pub total: usize,
    /// Whether more follow.
    pub more: bool,
}

impl Paging<'_> {
    fn page(&self, number: usize) -> String {
        format!("{}?{}page={number}", self.asked, self.kept)
    }
}

/// A page of the catalogue with `assets` on it. Its link to the next page names the last dataset of this one, so that what
/// is withdrawn while somebody harvests makes it miss nothing.
#[must_use]
pub fn page(assets: &[Asset], about: About<'_>, paging: Paging<'_>) -> Vec<Triple> {
    let mut graph = Graph::default();
    let catalog = named(&format!("{}/catalog", about.address));
    graph.is_a(&catalog, DCAT, "Catalog");
    graph.text(&catalog, DCT, "title", &format!("Data of {}", about.publisher));
    let says =
        "Datasets that can be asked for; their data is shared under agreements of the Dataspace Protocol.";
    graph.text(&catalog, DCT, "description", says);
    graph.agent(&catalog, None, about);
    let service = graph.service(about);
    graph.add(&catalog, DCAT, "service", service.clone());
    let view = named(&paging.page(paging.number));
    graph.is_a(&view, HYDRA, "PartialCollectionView");
    let total = Literal::new_typed_literal(paging.total.to_string(), xsd::INTEGER);
    graph.add(&view, HYDRA, "totalItems", total);
    graph.add(&view, HYDRA, "first", named(&paging.page(1)));
    if paging.number > 1 {
        graph.add(&view, HYDRA, "previous", named(&paging.page(paging.number - 1)));
    }
    if let (true, Some(last)) = (paging.more, assets.last()) {
        let after = (about.segment)(&last.id);
        let next = format!("{}&after={after}", paging.page(paging.number.saturating_add(1)));
        graph.add(&view, HYDRA, "next", named(&next));
    }
    graph.add(&view, HYDRA, "last", named(&paging.page(paging.last)));
    for asset in assets {
        let dataset = named(&about.dataset(&asset.id));
        graph.add(&catalog, DCAT, "dataset", dataset.clone());
        graph.add(&service, DCAT, "servesDataset", dataset.clone());
        graph.dataset(&dataset, asset, about);
    }
    graph.triples
}

/// One dataset.
#[must_use]
pub fn dataset(asset: &Asset, about: About<'_>) -> Vec<Triple> {
    let mut graph = Graph::default();
    graph.service(about);
    graph.dataset(&named(&about.dataset(&asset.id)), asset, about);
    graph.triples
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
        Syntax::RdfXml => crate::rdf_xml::write(triples, &prefixes),
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
    fn agent(&mut self, subject: &NamedOrBlankNode, publisher: Option<&Labelled>, about: About<'_>) {
        let own = |one: &Labelled| one.iri.is_none() && one.plain() == Some(about.publisher);
        let Some(publisher) = publisher.filter(|one| !own(one)) else {
            let agent = self.thing(subject, (DCT, "publisher"), (FOAF, "Agent"), about.did);
            return self.text(&agent, FOAF, "name", about.publisher);
        };
        let iri = publisher.iri.as_deref().unwrap_or_default();
        let agent = self.thing(subject, (DCT, "publisher"), (FOAF, "Agent"), iri);
        match publisher.name.is_empty() {
            true => self.text(&agent, FOAF, "name", iri),
            false => self.texts(&agent, (FOAF, "name"), &publisher.name),
        }
    }

    /// The endpoint through which all is shared.
    fn service(&mut self, about: About<'_>) -> NamedOrBlankNode {
        let service = named(&service_of(about));
        self.is_a(&service, DCAT, "DataService");
        self.text(&service, DCT, "title", &format!("Dataspace Protocol endpoint of {}", about.publisher));
        self.thing(&service, (DCAT, "endpointURL"), (rdfs::RESOURCE.as_str(), ""), about.endpoint);
        service
    }

    fn dataset(&mut self, dataset: &NamedOrBlankNode, asset: &Asset, about: About<'_>) {
        let described = Description::from_properties(&asset.properties);
        let is_series = asset.is_series();
        self.is_a(dataset, DCAT, "Dataset");
        if is_series {
            self.is_a(dataset, DCAT, "DatasetSeries");
        }
        self.text(dataset, DCT, "identifier", &asset.id);
        let title =
            if described.title.is_empty() { Text::from(asset.id.as_str()) } else { described.title.clone() };
        self.texts(dataset, (DCT, "title"), &title);
        let description = if described.description.is_empty() { &title } else { &described.description };
        self.texts(dataset, (DCT, "description"), description);
        self.agent(dataset, described.publisher.as_ref(), about);
        self.about_content(dataset, &described);
        self.about_place_and_time(dataset, &described);
        self.about_care(dataset, &described);
        for (name, at) in [("issued", asset.issued), ("modified", asset.modified)] {
            if let Some(at) = at {
                let at = Literal::new_typed_literal(at.to_string(), xsd::DATE_TIME);
                self.add(dataset, DCT, name, at);
            }
        }
        for series in &described.series {
            let series = if (about.shows)(series) { about.dataset(series) } else { series.clone() };
            if is_iri(&series) {
                self.add(dataset, DCAT, "inSeries", named(&series));
            }
        }
        self.thing(dataset, (DCAT, "landingPage"), (FOAF, "Document"), &page_of(dataset));
        if is_series {
            return;
        }
        let open = asset.properties.get(VISIBILITY).and_then(Json::as_str) == Some(OPEN);
        let rights = if open { PUBLIC } else { RESTRICTED };
        self.thing(dataset, (DCT, "accessRights"), (DCT, "RightsStatement"), rights);
        let data = open.then(|| about.data(&asset.id));
        let own = titled(&title, &described.distribution_title, "", &described.form);
        self.distribution(
            dataset,
            ("distribution", &own),
            (&described.form, &described),
            data.as_deref(),
            about,
        );
        for further in &described.distributions {
            let name = format!("distribution-{}", (about.segment)(&further.name));
            let data =
                data.as_ref().map(|data| format!("{data}?distribution={}", (about.segment)(&further.name)));
            let own = titled(&title, &further.title, &further.name, &further.form);
            self.distribution(dataset, (&name, &own), (&further.form, &described), data.as_deref(), about);
        }
    }

    /// What it is about.
    fn about_content(&mut self, dataset: &NamedOrBlankNode, described: &Description) {
        for keyword in &described.keywords {
            self.texts(dataset, (DCAT, "keyword"), keyword);
        }
        for (property, concepts) in
            [((DCAT, "theme"), &described.themes), ((R5R, "hvdCategory"), &described.hvd_categories)]
        {
            for concept in concepts.iter().filter(|concept| is_iri(concept)) {
                let node = self.thing(dataset, property, (SKOS, "Concept"), concept);
                self.text(&node, SKOS, "prefLabel", concept.rsplit('/').next().unwrap_or(concept));
            }
        }
        for standard in &described.conforms_to {
            self.labelled(dataset, "conformsTo", "Standard", &standard.as_str().into());
        }
        for language in described.languages.iter().filter(|one| is_iri(one)) {
            self.thing(dataset, (DCT, "language"), (DCT, "LinguisticSystem"), language);
        }
        for law in described.legislation.iter().filter(|one| is_iri(one)) {
            self.thing(dataset, (R5R, "applicableLegislation"), (ELI, "LegalResource"), law);
        }
    }

    fn about_place_and_time(&mut self, dataset: &NamedOrBlankNode, described: &Description) {
        if let Some(place) = &described.place
            && let Some(iri) = &place.iri
        {
            let location = self.thing(dataset, (DCT, "spatial"), (DCT, "Location"), iri);
            self.texts(&location, (LOCN, "geographicName"), &place.name);
        }
        // The extent is the dataset's own: other datasets may say of the same place how much of it they cover.
        let unknown = described.place.as_ref().filter(|place| place.iri.is_none());
        if unknown.is_some() || described.bbox.is_some() || described.centroid.is_some() {
            let location = self.thing(dataset, (DCT, "spatial"), (DCT, "Location"), "");
            if let Some(place) = unknown {
                self.texts(&location, (LOCN, "geographicName"), &place.name);
            }
            let wkt = |text: String| Literal::new_typed_literal(text, NamedNode::new_unchecked(iri::WKT));
            if let Some(bbox) = described.bbox {
                self.add(&location, DCAT, "bbox", wkt(extent::to_wkt(bbox)));
            }
            if let Some([x, y]) = described.centroid {
                self.add(&location, DCAT, "centroid", wkt(format!("POINT({x} {y})")));
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
        if let Some(frequency) = described.frequency.as_deref().filter(|one| is_iri(one)) {
            self.thing(dataset, (DCT, "accrualPeriodicity"), (DCT, "Frequency"), frequency);
        }
    }

    /// Who looks after it, where it comes from, how good it is, which version it is.
    fn about_care(&mut self, dataset: &NamedOrBlankNode, described: &Description) {
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
        if let Some(provenance) = &described.provenance {
            self.labelled(dataset, "provenance", "ProvenanceStatement", provenance);
        }
        if let Some(quality) = &described.quality {
            let iri = quality.iri.as_deref().unwrap_or_default();
            let note = self.thing(dataset, (DQV, "hasQualityAnnotation"), (DQV, "QualityAnnotation"), iri);
            self.texts(&note, (OA, "bodyValue"), &quality.name);
        }
        if let Some(page) = described.documentation.as_deref().filter(|page| is_iri(page)) {
            self.thing(dataset, (FOAF, "page"), (FOAF, "Document"), page);
        }
        if let Some(version) = &described.version {
            self.text(dataset, DCAT, "version", version);
        }
        self.texts(dataset, (ADMS, "versionNotes"), &described.version_notes);
    }

    /// How the data is had; `data` is its address, where everybody may read it.
    fn distribution(
        &mut self,
        dataset: &NamedOrBlankNode,
        (name, title): (&str, &Text),
        (form, described): (&Form, &Description),
        data: Option<&str>,
        about: About<'_>,
    ) {
        let distribution = named(&format!("{}#{name}", iri_of(dataset)));
        self.add(dataset, DCAT, "distribution", distribution.clone());
        self.is_a(&distribution, DCAT, "Distribution");
        self.texts(&distribution, (DCT, "title"), title);
        // There, people and programs learn how to ask for the data.
        self.thing(&distribution, (DCAT, "accessURL"), (rdfs::RESOURCE.as_str(), ""), &page_of(dataset));
        match data {
            Some(data) => {
                self.thing(&distribution, (DCAT, "downloadURL"), (rdfs::RESOURCE.as_str(), ""), data);
            }
            None => self.add(&distribution, DCAT, "accessService", named(&service_of(about))),
        }
        if let Some(license) = form.license.as_ref().or(described.form.license.as_ref()) {
            self.labelled(&distribution, "license", "LicenseDocument", &license.as_str().into());
        }
        if let Some(rights) = form.rights.as_ref().or(described.form.rights.as_ref()) {
            self.labelled(&distribution, "rights", "RightsStatement", rights);
        }
        if let Some(media_type) = form.media_type.as_deref().map(media::canonical) {
            let media_type = format!("{MEDIA_TYPES}{media_type}");
            if is_iri(&media_type) {
                self.thing(&distribution, (DCAT, "mediaType"), (DCT, "MediaType"), &media_type);
            }
        }
        if let Some(format) = form.file_type() {
            self.labelled(&distribution, "format", "MediaTypeOrExtent", &format.into());
        }
        for law in described.legislation.iter().filter(|one| is_iri(one)) {
            self.thing(&distribution, (R5R, "applicableLegislation"), (ELI, "LegalResource"), law);
        }
        // The byte size is left out: of the official shapes of 3.0.0, `shapes.ttl` wants a decimal and `dcat-ap-SHACL.ttl`
        // a non-negative integer, and a harvester may hold the catalogue against either.
        if let Some(digest) = form.sha256.as_ref().filter(|digest| is_hex(digest)) {
            let checksum = self.blank();
            self.add(&distribution, SPDX, "checksum", checksum.clone());
            self.is_a(&checksum, SPDX, "Checksum");
            self.thing(&checksum, (SPDX, "algorithm"), (SPDX, "ChecksumAlgorithm"), iri::SHA256);
            let value = Literal::new_typed_literal(digest, NamedNode::from(xsd::HEX_BINARY));
            self.add(&checksum, SPDX, "checksumValue", value);
        }
        self.columns(&distribution, &form.columns);
    }

    /// The columns of a table, in order (W3C CSV on the Web).
    fn columns(&mut self, distribution: &NamedOrBlankNode, columns: &[String]) {
        if columns.is_empty() {
            return;
        }
        let schema = self.blank();
        self.add(distribution, CSVW, "tableSchema", schema.clone());
        self.is_a(&schema, CSVW, "Schema");
        let mut before = (schema, NamedNode::new_unchecked(format!("{CSVW}column")));
        for name in columns {
            let (cell, column) = (self.blank(), self.blank());
            self.triples.push(Triple::new(before.0, before.1, cell.clone()));
            self.triples.push(Triple::new(cell.clone(), rdf::FIRST, column.clone()));
            self.is_a(&column, CSVW, "Column");
            self.text(&column, CSVW, "name", name);
            before = (cell, rdf::REST.into_owned());
        }
        self.triples.push(Triple::new(before.0, before.1, rdf::NIL.into_owned()));
    }

    /// `subject` has as the term `name` a thing that is known by its IRI, by what it is called, or both.
    fn labelled(&mut self, subject: &NamedOrBlankNode, name: &str, class: &str, thing: &Labelled) {
        let node = self.thing(subject, (DCT, name), (DCT, class), thing.iri.as_deref().unwrap_or_default());
        self.texts(&node, (RDFS, "label"), &thing.name);
    }

    /// A text in all its languages.
    fn texts(&mut self, subject: &NamedOrBlankNode, (vocabulary, name): (&str, &str), texts: &Text) {
        for (language, text) in texts.tagged().filter(|(_, text)| !text.trim().is_empty()) {
            match Literal::new_language_tagged_literal(readable(text), language) {
                Ok(literal) if !language.is_empty() => self.add(subject, vocabulary, name, literal),
                _ => self.text(subject, vocabulary, name, text),
            }
        }
    }
}

/// The title of a distribution: what is said, else that of the dataset with its form, in the dataset's languages.
fn titled(dataset: &Text, said: &Text, name: &str, form: &Form) -> Text {
    if !said.is_empty() {
        return said.clone();
    }
    let label = form.label().unwrap_or_default();
    let shown = match (name, label) {
        ("", label) => label.to_owned(),
        (name, "") => name.to_owned(),
        (name, label) if name.eq_ignore_ascii_case(label) => label.to_owned(),
        (name, label) => format!("{name}, {label}"),
    };
    let mut titles = Text::default();
    for (language, title) in dataset.tagged() {
        let title = if shown.is_empty() { title.to_owned() } else { format!("{title} ({shown})") };
        titles.set(language, &title);
    }
    titles
}

fn service_of(about: About<'_>) -> String {
    format!("{}#dsp", about.did)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
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

/// A year, a month, a day or an instant, as XML Schema has them.
pub(crate) fn date(text: &str) -> Option<Literal> {
    let typed = |text: String, kind| Some(Literal::new_typed_literal(text, kind));
    match Time::parse(text)? {
        Time::Year(year) => typed(format!("{year:04}"), xsd::G_YEAR),
        Time::Month(year, month) => typed(format!("{year:04}-{month:02}"), xsd::G_YEAR_MONTH),
        Time::Day(day) => typed(day.to_string(), xsd::DATE),
        Time::Local(_) | Time::Instant(_) => typed(crate::period::start(text)?, xsd::DATE_TIME),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn about(shows: &dyn Fn(&str) -> bool) -> About<'_> {
        let (address, did) = ("https://a.example/open", "did:web:a.example");
        let (endpoint, segment) = ("https://a.example/dsp", |id: &str| id.replace('\u{1}', ""));
        About { address, publisher: "City", did, endpoint, segment, shows }
    }

    fn asset(id: &str, properties: Json) -> Asset {
        serde_json::from_value(
            json!({"@id": id, "properties": properties, "dataAddress": {"path": "/secret"}}),
        )
        .unwrap()
    }

    fn text(triples: &[Triple], syntax: Syntax) -> String {
        String::from_utf8(write(triples, syntax).unwrap()).unwrap()
    }

    #[test]
    fn a_page_leads_to_those_around_it_and_tells_no_addresses() {
        let assets = [asset("urn:d:1", json!({})), asset("urn:d:2", json!({}))];
        let paging = Paging {
            asked: "https://a.example/catalog.ttl",
            kept: "",
            number: 2,
            last: 3,
            total: 6,
            more: true,
        };
        let triples = page(&assets, about(&|_| true), paging);
        for syntax in Syntax::ALL {
            let text = text(&triples, syntax);
            assert!(!text.contains("/secret"), "where the data is");
            assert!(
                text.contains("catalog.ttl?page=3&after=urn:d:2")
                    || text.contains("catalog.ttl?page=3&amp;after=urn:d:2"),
                "{text}"
            );
        }
        let text = text(&triples, Syntax::Turtle);
        assert!(
            text.contains("hydra:totalItems 6")
                && text.contains("hydra:previous <https://a.example/catalog.ttl?page=1>")
        );
        let last = page(&assets, about(&|_| true), Paging { number: 1, more: false, ..paging });
        let last = String::from_utf8(write(&last, Syntax::Turtle).unwrap()).unwrap();
        assert!(!last.contains("hydra:next") && !last.contains("hydra:previous"), "{last}");
    }

    #[test]
    fn everything_that_is_described_is_said() {
        let mut properties = crate::description::tests::full().to_properties();
        properties.insert(VISIBILITY.to_owned(), json!(OPEN));
        let found = text(
            &dataset(&asset("urn:d", Json::Object(properties)), about(&|id| id == "urn:series:air")),
            Syntax::Turtle,
        );
        for said in [
            "Stikstofdioxide\"@nl",
            "inSeries <https://a.example/open/datasets/urn:series:air>",
            "data.europa.eu/bna/c_dd313021",
            "eli/reg_impl/2023/138/oj",
            "POLYGON((4.2 51.1",
            "Measured by reference stations.",
            "bodyValue> \"Validated",
            "language/NLD",
            "versionNotes> \"June added",
            "checksumAlgorithm_sha256",
            "Name the city.",
            "https://antwerp.example/air",
            "open/data/urn:d?distribution=json>",
            "media-types/application/json",
        ] {
            assert!(found.contains(said), "{said} is not in {found}");
        }
        assert_eq!(found.matches("csvw#name").count(), 2, "{found}");
        let series = asset("urn:series:air", json!({iri::TYPE: iri::DATASET_SERIES}));
        let found = text(&dataset(&series, about(&|_| true)), Syntax::Turtle);
        assert!(found.contains("dcat:DatasetSeries") && !found.contains("dcat:distribution"), "{found}");
    }

    #[test]
    fn two_datasets_cover_two_parts_of_one_place() {
        let place = |bbox: &str| json!({iri::SPATIAL: {"@id": "urn:be", iri::BBOX: bbox}});
        let paging = Paging {
            asked: "https://a.example/catalog",
            kept: "",
            number: 1,
            last: 1,
            total: 2,
            more: false,
        };
        let assets = [asset("urn:d:1", place("POINT(4 51)")), asset("urn:d:2", place("POINT(5 50)"))];
        let triples = page(&assets, about(&|_| true), paging);
        let boxes = triples.iter().filter(|one| one.predicate.as_str() == iri::BBOX);
        let of: std::collections::BTreeSet<_> = boxes.map(|one| one.subject.to_string()).collect();
        assert_eq!(of.len(), 2, "each on a node of its own");
        let described = crate::turtle::read(&text(&dataset(&assets[0], about(&|_| true)), Syntax::Turtle))
            .unwrap()
            .description;
        assert_eq!((described.bbox, described.place), (Some([4.0, 51.0, 4.0, 51.0]), Some("urn:be".into())));
    }

    #[test]
    fn what_one_dataset_says_breaks_no_page() {
        let odd = asset(
            "urn:\u{1}odd",
            json!({
            VISIBILITY: OPEN, iri::TITLE: "a\u{0}\u{8}b\r\nc\u{ffff}",
            iri::DESCRIPTION: [{"@value": "d\u{b}", "@language": "en"}, {"@value": "e", "@language": "no tag"}],
            iri::CONTACT: "the desk <x>@ y",
            iri::MEDIA_TYPE: "text/ csv>",
            iri::LICENSE: "https://a b",
            iri::IN_SERIES: "not an iri",
            iri::CHECKSUM: {iri::ALGORITHM: iri::SHA256, iri::CHECKSUM_VALUE: "xyz"},
            iri::SPATIAL: {iri::BBOX: "POLYGON((1e999 2))"}}),
        );
        let paging = Paging {
            asked: "https://a.example/open/catalog",
            kept: "",
            number: 1,
            last: 1,
            total: 1,
            more: false,
        };
        let triples = page(&[odd], about(&|_| false), paging);
        for syntax in Syntax::ALL {
            let text = text(&triples, syntax);
            assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{text}");
            assert!(!text.contains("mailto:") && !text.contains("<https://a b>"), "{text}");
            assert!(!text.contains("xyz") && !text.contains("POLYGON"), "{text}");
        }
        assert_eq!(readable("a\u{0}b\r\nc\rd\u{1f600}"), "ab\nc\nd\u{1f600}");
    }

    #[test]
    fn dates_and_iris_are_told_from_texts() {
        assert!(
            date("2019-05-07").is_some() && date("2019-05-07T00:00:00Z").is_some() && date("May").is_none()
        );
        assert!(is_iri("urn:a") && is_iri("https://a.example/b") && !is_iri("a b:c") && !is_iri("Antwerp"));
        let typed = |text: &str| date(text).map(|one| one.to_string()).unwrap_or_default();
        assert!(typed("2020").ends_with("#gYear>") && typed("2020-03").ends_with("#gYearMonth>"));
        assert!(typed("2020-03-04T05:06:07").ends_with("#dateTime>"), "without a zone");
    }
}
