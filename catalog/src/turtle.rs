//! A dataset's description from Turtle, as other tools and portals write it.

use std::collections::HashMap;

use oxrdf::{NamedOrBlankNode, Term};
use oxttl::TurtleParser;
use serde_json::{Map, Value as Json, json};

use crate::CatalogError;
use crate::description::{Description, Form};
use crate::vocabulary as iri;

/// Most triples of a file.
const MAX_TRIPLES: usize = 10_000;
/// Deepest nesting of things without names that is followed.
const MAX_DEPTH: usize = 4;

type Said = HashMap<NamedOrBlankNode, Vec<(String, Term)>>;

/// The id and the description of the only `dcat:Dataset` in `text`; its first distribution tells media type, size and so on.
///
/// # Errors
/// No Turtle, too long, or not exactly one dataset.
pub fn read(text: &str) -> Result<(Option<String>, Description), CatalogError> {
    let wrong = |reason: String| CatalogError::new("/", reason);
    let mut said = Said::new();
    for (count, triple) in TurtleParser::new().for_slice(text).enumerate() {
        let triple = triple.map_err(|error| wrong(error.to_string()))?;
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
    let distribution = match properties.remove(iri::DISTRIBUTION) {
        Some(Json::Array(all)) => all.into_iter().next(),
        one => one,
    };
    if let Some(Json::Object(distribution)) = distribution {
        for name in Form::PROPERTIES.into_iter().chain([iri::LICENSE]) {
            if let Some(value) = distribution.get(name) {
                properties.entry(name).or_insert_with(|| value.clone());
            }
        }
    }
    let id = match dataset {
        NamedOrBlankNode::NamedNode(node) => Some(node.as_str().to_owned()),
        NamedOrBlankNode::BlankNode(_) => None,
    };
    Ok((id, Description::from_properties(&properties)))
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
        let (id, read) = read(&text).unwrap();
        assert_eq!(id.as_deref(), Some("https://a.example/open/datasets/urn:d"));
        let expected = Description {
            distributions: Vec::new(),
            quality: None,
            form: Form { columns: Vec::new(), byte_size: None, ..full.form.clone() },
            ..full.clone()
        };
        let read =
            Description { form: Form { columns: Vec::new(), ..read.form.clone() }, quality: None, ..read };
        assert_eq!(read, expected, "{text}");
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
        assert_eq!(read(round).unwrap().1.themes, ["urn:a"]);
        let long = "<urn:a> <urn:b> <urn:c> .\n".repeat(MAX_TRIPLES + 1);
        assert!(read(&long).unwrap_err().to_string().contains("more than"));
    }
}
