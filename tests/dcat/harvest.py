"""Publishes 200 varied datasets at a node, harvests them as a portal does, and judges what came.

FOLDER PUBLIC MANAGEMENT AUTHORITY SHAPES
"""

import json
import random
import ssl
import sys
import urllib.request
from pathlib import Path

from pyshacl import validate
from rdflib import Graph, URIRef
from rdflib.compare import isomorphic
from rdflib.namespace import DCAT, RDF

folder, public, management, authority, shapes = sys.argv[1:]
key = (Path(folder) / "keys/management.key").read_text().strip()
trusted = ssl.create_default_context(cafile=authority)
HYDRA = "http://www.w3.org/ns/hydra/core#"
DCT = "http://purl.org/dc/terms/"
EU = "http://publications.europa.eu/resource/authority/"
FORMS = {"turtle": "text/turtle", "json-ld": "application/ld+json", "xml": "application/rdf+xml"}
passed = failed = 0


def judge(what, holds, detail=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok    ' if holds else 'FAILED'} {what} {'' if holds else detail}")


def post(path, body):
    headers = {"x-api-key": key, "content-type": "application/json"}
    request = urllib.request.Request(management + path, json.dumps(body).encode(), headers)
    urllib.request.urlopen(request).read()


def get(address, form):
    request = urllib.request.Request(address, headers={"accept": form})
    with urllib.request.urlopen(request, context=trusted) as answer:
        return answer.read()


chance = random.Random(7)
rows = Path(folder) / "data/rows.csv"
rows.write_text("a\n1\n")
DCAT_NS = "http://www.w3.org/ns/dcat#"
SPDX = "http://spdx.org/rdf/terms#"
CSVW = "http://www.w3.org/ns/csvw#"
WKT = "POLYGON((4.2 51.1,4.5 51.1,4.5 51.4,4.2 51.4,4.2 51.1))"
BOX = {"@id": "https://sws.geonames.org/2803138/", DCAT_NS + "bbox": {"@type": "http://www.opengis.net/ont/geosparql#wktLiteral", "@value": WKT}}
GEO = "http://www.opengis.net/ont/geosparql#wktLiteral"
PACIFIC = {DCAT_NS + "bbox": {"@type": GEO, "@value": "ENVELOPE(170, -170, 10, -20)"}, DCAT_NS + "centroid": {"@type": GEO, "@value": "POINT(180 -5)"}}
LAMBERT = {DCAT_NS + "bbox": {"@type": GEO, "@value": "<http://www.opengis.net/def/crs/EPSG/0/31370> POINT(150000 170000)"}}
AGENT = {"@id": "https://antwerp.example/org", "http://xmlns.com/foaf/0.1/name": [{"@value": "Antwerpen", "@language": "nl"}, {"@value": "Anvers", "@language": "fr"}]}
THEMES = ["ENVI", "TRAN", "HEAL", "SOCI", "GOVE"]


def varied(number):
    """A dataset that says now this, now that of itself, and sometimes nonsense."""
    some = lambda value: value if chance.random() < 0.5 else None
    title = chance.choice([
        f"Dataset {number}",
        [{"@value": f"Dataset {number}", "@language": "en"}, {"@value": f"Données {number}", "@language": "fr"}],
        f'Quotes " and <tags> & {number}\n\twith\\lines\u0001\r\n',
    ])
    period = {"http://www.w3.org/ns/dcat#startDate": chance.choice(["2019-05-07", "2019", "2019-05", "2019-05-07T12:00:00"]), "http://www.w3.org/ns/dcat#endDate": chance.choice(["2019-06-17", "2019-06-17T12:00:00Z", "soon"])}
    properties = {
        "urn:concordat:visibility": chance.choice(["listed", "open"]),
        DCT + "title": title,
        DCT + "description": some("What it is.\nAnd more."),
        DCT + "publisher": some(chance.choice(["City of Antwerp", "https://antwerp.example/org", AGENT])),
        DCT + "spatial": some(chance.choice([BOX, PACIFIC, LAMBERT, [BOX, PACIFIC], "BE", "https://sws.geonames.org/2803138/", "the harbour"])),
        DCT + "temporal": some(period),
        DCT + "license": some(chance.choice(["https://creativecommons.org/licenses/by/4.0/", "ask us"])),
        DCT + "accrualPeriodicity": some(EU + "frequency/HOURLY"),
        DCT + "conformsTo": some(["https://smartdatamodels.org/dataModel.Environment/AirQualityObserved"]),
        "http://www.w3.org/ns/dcat#keyword": some(["air", {"@value": "niveau d’eau", "@language": "fr"}, "mobilité"]),
        "http://www.w3.org/ns/dcat#theme": some([EU + "data-theme/" + chance.choice(THEMES)]),
        "http://www.w3.org/ns/dcat#contactPoint": some(chance.choice(["air@antwerp.example", "https://antwerp.example/contact", "the desk", "who <is>@ this"])),
        DCT + "language": some([EU + "language/NLD", "nl"]),
        DCT + "provenance": some("Measured by reference stations."),
        DCT + "rights": some(chance.choice(["Name the city.", "https://antwerp.example/rights"])),
        "http://www.w3.org/ns/dqv#hasQualityAnnotation": some(chance.choice(["Validated.", "https://antwerp.example/quality"])),
        "http://data.europa.eu/r5r/hvdCategory": some(["http://data.europa.eu/bna/c_dd313021"]),
        "http://data.europa.eu/r5r/applicableLegislation": some(["http://data.europa.eu/eli/reg_impl/2023/138/oj"]),
        DCAT_NS + "inSeries": some(chance.choice([["urn:city:series"], ["a series elsewhere"]])),
        DCAT_NS + "version": some("1.2"),
        "http://www.w3.org/ns/adms#versionNotes": some("June was added."),
        "http://xmlns.com/foaf/0.1/page": some("https://antwerp.example/air"),
        DCAT_NS + "byteSize": some(120),
        "http://spdx.org/rdf/terms#checksum": some({SPDX + "algorithm": SPDX + "checksumAlgorithm_sha256", SPDX + "checksumValue": chance.choice(["ab" * 32, "no digest"])}),
        CSVW + "tableSchema": some({CSVW + "column": {"@list": [{CSVW + "name": "time"}, {CSVW + "name": "value"}]}}),
        DCAT_NS + "distribution": some([{"@id": "json", DCAT_NS + "mediaType": "application/json"}]),
        "http://www.w3.org/ns/dcat#mediaType": some(chance.choice(["text/csv", "application/geo+json; charset=utf-8", "application/zip", "application/x-unheard-of"])),
        "urn:concordat:format": some(chance.choice(["GTFS", EU + "file-type/SHP", "a format of our own"])),
        "urn:concordat:distributionTitle": some(chance.choice(["All rows", [{"@value": "Toutes", "@language": "fr"}]])),
    }
    return {name: value for name, value in properties.items() if value is not None}


series = {"urn:concordat:visibility": "listed", str(RDF.type): DCAT_NS + "DatasetSeries", DCT + "title": "A series", DCT + "description": "Of datasets."}
post("/v4/assets", {"@id": "urn:city:series", "properties": series})
for number in range(199):
    address = {"type": "File", "path": str(rows)}
    post("/v4/assets", {"@id": f"urn:city:{number}", "properties": varied(number), "dataAddress": address})
hidden = {DCT + "title": "Not for you"}
post("/v4/assets", {"@id": "urn:city:hidden", "properties": hidden, "dataAddress": {"type": "File", "path": str(rows)}})

whole, page, pages = Graph(), public + "/open/catalog", 0
while page:
    forms = {name: Graph().parse(data=get(page, form), format=name) for name, form in FORMS.items()}
    first = forms["turtle"]
    judge(f"page {pages + 1}: equal triples in all three forms ({len(first)})", all(isomorphic(first, one) for one in forms.values()))
    whole += first
    pages += 1
    following = list(first.objects(None, URIRef(HYDRA + "next")))
    page = str(following[0]) if following and pages < 10 else None
    # What a harvester has not seen yet is not missed when what it has seen goes away.
    if pages == 1:
        request = urllib.request.Request(management + "/v4/assets/urn%3Acity%3A0", method="DELETE", headers={"x-api-key": key})
        urllib.request.urlopen(request)
datasets = set(whole.subjects(RDF.type, DCAT.Dataset))
judge("200 datasets on 2 pages", (len(datasets), pages) == (200, 2), f"{len(datasets)} on {pages}")
said = {predicate for predicate in whole.predicates()}
wanted = [DCT + "language", DCT + "provenance", DCAT_NS + "inSeries", DCAT_NS + "bbox", SPDX + "checksum", CSVW + "column", DCT + "issued"]
judge("every kind of property is said somewhere", all(URIRef(one) in said for one in wanted), [one for one in wanted if URIRef(one) not in said])
distributions = set(whole.subjects(RDF.type, DCAT.Distribution))
judge("every distribution has a title", all((one, URIRef(DCT + "title"), None) in whole for one in distributions))
known = [one for one in distributions if any(str(kind).endswith(("/csv", "/json", "/geo+json", "/zip")) for kind in whole.objects(one, DCAT.mediaType))]
judge("every media type of the EU's list has its format beside it", known and all((one, URIRef(DCT + "format"), None) in whole for one in known))
boxes = {str(box) for box in whole.objects(None, DCAT.bbox)}
judge("extents over the antimeridian are in two parts, and none is in another system", any(box.startswith("MULTIPOLYGON(((170 ") for box in boxes) and not any("150000" in box for box in boxes), boxes)
judge("nothing that is hidden, and no place where data is", not any(text in whole.serialize() for text in ["Not for you", str(rows)]))
one = sorted(datasets)[-1]
judge("each dataset at its own address", (URIRef(one), RDF.type, DCAT.Dataset) in Graph().parse(data=get(str(one), "text/turtle"), format="turtle"))

for name in ["shapes.ttl", "range.ttl", "dcat-ap-SHACL.ttl"]:
    conforms, report, text = validate(whole, shacl_graph=str(Path(shapes) / name), inference="none", advanced=True)
    violations = [] if conforms else text.splitlines()
    judge(f"pySHACL finds no violation of {name}", conforms, "\n".join(violations[:60]))
conforms, report, text = validate(whole, shacl_graph=str(Path(shapes) / "shapes_recommended.ttl"), inference="none")
print(f"       {text.count('Constraint Violation') + text.count('Severity')} remarks of shapes_recommended.ttl, which asks for more than is due")
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
