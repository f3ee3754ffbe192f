//! Triples as RDF 1.1 XML. Written only: nothing here reads XML.

use std::borrow::Cow;
use std::io;

use oxrdf::{NamedNode, NamedOrBlankNode, Term, Triple};
use quick_xml::Writer;
use quick_xml::escape::escape;
use quick_xml::events::BytesText;

const RDF: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
const STRING: &str = "http://www.w3.org/2001/XMLSchema#string";

/// Writes `triples`; neighbours about one subject share an element.
///
/// # Errors
/// A property whose IRI ends in no name that XML allows (RDF 1.1 XML Syntax, section 6.1.2), or of a writer that fails.
pub(crate) fn write(triples: &[Triple], prefixes: &[(&str, &str)]) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 1);
    writer.get_mut().extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let mut root = writer.create_element("rdf:RDF").with_attribute(("xmlns:rdf", RDF));
    for (name, iri) in prefixes {
        root = root.with_attribute((format!("xmlns:{name}").as_str(), *iri));
    }
    root.write_inner_content(|writer| {
        triples.chunk_by(|one, next| one.subject == next.subject).try_for_each(|about| {
            let Some(first) = about.first() else { return Ok(()) };
            let description = writer.create_element("rdf:Description");
            let description = match &first.subject {
                NamedOrBlankNode::NamedNode(node) => description.with_attribute(("rdf:about", node.as_str())),
                NamedOrBlankNode::BlankNode(node) => {
                    description.with_attribute(("rdf:nodeID", node.as_str()))
                }
            };
            description.write_inner_content(|writer| {
                about.iter().try_for_each(|triple| property(writer, triple, prefixes))
            })?;
            Ok(())
        })
    })?;
    Ok(writer.into_inner())
}

fn property(writer: &mut Writer<Vec<u8>>, triple: &Triple, prefixes: &[(&str, &str)]) -> io::Result<()> {
    let (space, name) = split(&triple.predicate)?;
    let known = prefixes.iter().find(|(_, iri)| *iri == space).map(|(prefix, _)| *prefix);
    let known = known.or_else(|| (space == RDF).then_some("rdf"));
    let tag = format!("{}:{name}", known.unwrap_or("ns"));
    let mut element = writer.create_element(tag.as_str());
    if known.is_none() {
        element = element.with_attribute(("xmlns:ns", space));
    }
    let literal = match &triple.object {
        Term::NamedNode(node) => {
            element.with_attribute(("rdf:resource", node.as_str())).write_empty()?;
            return Ok(());
        }
        Term::BlankNode(node) => {
            element.with_attribute(("rdf:nodeID", node.as_str())).write_empty()?;
            return Ok(());
        }
        Term::Literal(literal) => literal,
    };
    element = match literal.language() {
        Some(language) => element.with_attribute(("xml:lang", language)),
        None if literal.datatype().as_str() == STRING => element,
        None => element.with_attribute(("rdf:datatype", literal.datatype().as_str())),
    };
    let escaped = escape(literal.value());
    // A reader would make a line feed of a carriage return that is written as it is.
    let escaped = if escaped.contains('\r') { Cow::from(escaped.replace('\r', "&#xD;")) } else { escaped };
    element.write_text_content(BytesText::from_escaped(escaped))?;
    Ok(())
}

/// The namespace of a property, and its name within it: the longest end that XML takes for a name.
fn split(property: &NamedNode) -> io::Result<(&str, &str)> {
    let iri = property.as_str();
    let is_inside = |one: char| one.is_alphanumeric() || matches!(one, '-' | '_' | '.');
    let is_first = |one: char| one.is_alphabetic() || one == '_';
    let inside = iri.rfind(|one| !is_inside(one)).map_or(iri, |at| iri.get(at..).unwrap_or_default());
    let first =
        inside.char_indices().find(|(_, one)| is_first(*one)).map(|(at, _)| iri.len() - inside.len() + at);
    match first.and_then(|at| iri.split_at_checked(at)) {
        Some(parts) => Ok(parts),
        None => Err(io::Error::other(format!("the property `{iri}` ends in no name that XML allows"))),
    }
}

#[cfg(test)]
mod tests {
    use oxrdf::{BlankNode, Literal};

    use super::*;

    #[test]
    fn every_kind_of_term_is_written_and_escaped() {
        let node = |iri: &str| NamedNode::new_unchecked(iri);
        let about =
            |predicate: &str, object: Term| Triple::new(node("https://x/?a=1&b=2"), node(predicate), object);
        let triples = [
            about("http://p/#title", Literal::new_simple_literal("a < b & c\r\n\"d\"").into()),
            about("http://p/#title", Literal::new_language_tagged_literal_unchecked("Luft", "de").into()),
            about(
                "urn:other:1name",
                Literal::new_typed_literal("1", node("http://www.w3.org/2001/XMLSchema#integer")).into(),
            ),
            about("http://p/#link", node("https://y/&").into()),
            Triple::new(BlankNode::new_unchecked("b0"), node(&format!("{RDF}type")), node("http://p/#Thing")),
        ];
        let written = String::from_utf8(write(&triples, &[("p", "http://p/#")]).unwrap()).unwrap();
        for part in [
            r#"<rdf:Description rdf:about="https://x/?a=1&amp;b=2">"#,
            "<p:title>a &lt; b &amp; c&#xD;\n&quot;d&quot;</p:title>",
            r#"<p:title xml:lang="de">Luft</p:title>"#,
            r#"<ns:name xmlns:ns="urn:other:1" rdf:datatype="http://www.w3.org/2001/XMLSchema#integer">1</ns:name>"#,
            r#"<p:link rdf:resource="https://y/&amp;"/>"#,
            r#"<rdf:Description rdf:nodeID="b0">"#,
            r#"<rdf:type rdf:resource="http://p/#Thing"/>"#,
        ] {
            assert!(written.contains(part), "{part}\n{written}");
        }
        assert_eq!(written.matches("<rdf:Description").count(), 2, "{written}");
        let odd = [Triple::new(node("urn:s"), node("urn:p:123"), node("urn:o"))];
        assert!(write(&odd, &[]).is_err());
    }
}
