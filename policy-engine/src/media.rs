//! The one table of media types: how the IANA, the EU's list of file types and the endings of names call the same form.
//! Crates that know of forms ask it here, since all of them may use this one.

/// Before the codes of the EU's list of file types.
pub const FILE_TYPES: &str = "http://publications.europa.eu/resource/authority/file-type/";
/// Before the names of the IANA's list of media types.
pub const MEDIA_TYPES: &str = "https://www.iana.org/assignments/media-types/";
/// What nothing more is known of.
pub const UNKNOWN: &str = "application/octet-stream";

/// Arrow's file format.
pub const ARROW_FILE: &str = "application/vnd.apache.arrow.file";
/// Arrow's streaming format.
pub const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";
/// RFC 4180.
pub const CSV: &str = "text/csv";
/// RFC 7946.
pub const GEO_JSON: &str = "application/geo+json";
/// RFC 8259.
pub const JSON: &str = "application/json";
/// JSON-LD 1.1.
pub const JSON_LD: &str = "application/ld+json";
/// One JSON value a line.
pub const JSON_LINES: &str = "application/x-ndjson";
/// Apache Parquet.
pub const PARQUET: &str = "application/vnd.apache.parquet";
/// RDF 1.1 XML.
pub const RDF_XML: &str = "application/rdf+xml";
/// Tables with tabs between the cells.
pub const TSV: &str = "text/tab-separated-values";
/// RDF 1.1 Turtle.
pub const TURTLE: &str = "text/turtle";
/// An archive.
pub const ZIP: &str = "application/zip";

/// A form of data.
#[derive(Debug, PartialEq, Eq)]
pub struct Media {
    /// What people call it.
    pub label: &'static str,
    /// Its media type, and others under which it goes.
    pub names: &'static [&'static str],
    /// The endings of names, the usual one first.
    pub endings: &'static [&'static str],
    /// Its code in the EU's list of file types, where it has one.
    pub code: Option<&'static str>,
}

impl Media {
    /// Its media type.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or(UNKNOWN)
    }

    /// Its IRI in the EU's list of file types.
    #[must_use]
    pub fn file_type(&self) -> Option<String> {
        Some(format!("{FILE_TYPES}{}", self.code?))
    }
}

const fn media(
    label: &'static str,
    names: &'static [&'static str],
    endings: &'static [&'static str],
    code: Option<&'static str>,
) -> Media {
    Media { label, names, endings, code }
}

/// All that are known. Of several forms under one media type (archives, services) the first is the one that the media type
/// alone stands for.
pub static ALL: &[Media] = &[
    media("Arrow", &[ARROW_STREAM], &["arrows"], None),
    media("Arrow (file)", &[ARROW_FILE], &["arrow", "feather"], None),
    media(
        "CSV",
        &[CSV, "application/csv", "text/x-csv", "text/comma-separated-values"],
        &["csv"],
        Some("CSV"),
    ),
    media("TSV", &[TSV, "text/tsv"], &["tsv", "tab"], Some("TSV")),
    media("JSON", &[JSON, "text/json"], &["json"], Some("JSON")),
    media(
        "JSON lines",
        &[
            JSON_LINES,
            "application/jsonl",
            "application/x-jsonlines",
            "application/json-seq",
            "application/ndjson",
        ],
        &["ndjson", "jsonl"],
        None,
    ),
    media("GeoJSON", &[GEO_JSON, "application/vnd.geo+json"], &["geojson"], Some("GEOJSON")),
    media("JSON-LD", &[JSON_LD], &["jsonld"], Some("JSON_LD")),
    media("XML", &["application/xml", "text/xml"], &["xml"], Some("XML")),
    media("RDF/XML", &[RDF_XML], &["rdf"], Some("RDF_XML")),
    media("Turtle", &[TURTLE, "application/x-turtle"], &["ttl"], Some("RDF_TURTLE")),
    media("N-Triples", &["application/n-triples"], &["nt"], Some("RDF_N_TRIPLES")),
    media("N-Quads", &["application/n-quads"], &["nq"], Some("RDF_N_QUADS")),
    media("TriG", &["application/trig"], &["trig"], Some("RDF_TRIG")),
    media("N3", &["text/n3"], &["n3"], Some("N3")),
    media(
        "Parquet",
        &[PARQUET, "application/parquet", "application/x-parquet"],
        &["parquet"],
        Some("PARQUET"),
    ),
    media(
        "GeoPackage",
        &["application/geopackage+sqlite3", "application/x-gpkg", "application/geopackage+vnd.sqlite3"],
        &["gpkg"],
        Some("GPKG"),
    ),
    media("ZIP", &[ZIP, "application/x-zip-compressed"], &["zip"], Some("ZIP")),
    media("GTFS", &[ZIP], &["gtfs"], Some("GTFS")),
    media(
        "Shapefile",
        &["application/vnd.shp", "application/x-esri-shape", "application/x-shapefile", "x-gis/x-shapefile"],
        &["shp"],
        Some("SHP"),
    ),
    media("gzip", &["application/gzip", "application/x-gzip"], &["gz"], Some("GZIP")),
    media(
        "XLSX",
        &["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"],
        &["xlsx"],
        Some("XLSX"),
    ),
    media("XLS", &["application/vnd.ms-excel", "application/msexcel"], &["xls"], Some("XLS")),
    media("ODS", &["application/vnd.oasis.opendocument.spreadsheet"], &["ods"], Some("ODS")),
    media(
        "DOCX",
        &["application/vnd.openxmlformats-officedocument.wordprocessingml.document"],
        &["docx"],
        Some("DOCX"),
    ),
    media("ODT", &["application/vnd.oasis.opendocument.text"], &["odt"], Some("ODT")),
    media("PDF", &["application/pdf"], &["pdf"], Some("PDF")),
    media("PNG", &["image/png"], &["png"], Some("PNG")),
    media("JPEG", &["image/jpeg", "image/jpg"], &["jpeg", "jpg"], Some("JPEG")),
    media("GIF", &["image/gif"], &["gif"], Some("GIF")),
    media("SVG", &["image/svg+xml"], &["svg"], Some("SVG")),
    media("TIFF", &["image/tiff"], &["tiff", "tif"], Some("TIFF")),
    media("GeoTIFF", &["image/tiff; application=geotiff"], &["geotiff", "gtiff"], Some("GEOTIFF")),
    media("HTML", &["text/html"], &["html", "htm"], Some("HTML")),
    media("text", &["text/plain"], &["txt", "text"], Some("TXT")),
    media("Markdown", &["text/markdown"], &["md"], None),
    media("YAML", &["application/yaml", "application/x-yaml", "text/yaml"], &["yaml", "yml"], Some("YAML")),
    media("iCalendar", &["text/calendar"], &["ics"], Some("ICS")),
    media(
        "NetCDF",
        &["application/x-netcdf", "application/netcdf"],
        &["nc", "netcdf", "nc4"],
        Some("NETCDF"),
    ),
    media("HDF", &["application/x-hdf5", "application/x-hdf"], &["h5", "hdf5", "hdf"], Some("HDF")),
    media("KML", &["application/vnd.google-earth.kml+xml"], &["kml"], Some("KML")),
    media("KMZ", &["application/vnd.google-earth.kmz"], &["kmz"], Some("KMZ")),
    media("GML", &["application/gml+xml", "text/gml"], &["gml"], Some("GML")),
    media("GPX", &["application/gpx+xml"], &["gpx"], None),
    media("WMS", &["application/vnd.ogc.wms_xml"], &["wms"], Some("WMS_SRVC")),
    media("WFS", &["application/vnd.ogc.wfs_xml"], &["wfs"], Some("WFS_SRVC")),
    media("WMTS", &["application/vnd.ogc.wmts_xml"], &["wmts"], Some("WMTS_SRVC")),
    media("SQLite", &["application/vnd.sqlite3"], &["sqlite", "sqlite3"], None),
    media("Protocol Buffers", &["application/x-protobuf", "application/protobuf"], &["pb"], None),
];

/// The form with this media type, whatever its parameters are.
#[must_use]
pub fn by_name(media_type: &str) -> Option<&'static Media> {
    let whole = media_type.trim().to_ascii_lowercase();
    let essence = whole.split(';').next().unwrap_or_default().trim();
    let named = |name: &str| ALL.iter().find(|one| one.names.contains(&name));
    // GeoTIFF is told from TIFF by a parameter alone.
    let spaced = whole.split(';').map(str::trim).collect::<Vec<_>>().join("; ");
    named(&spaced).or_else(|| named(essence))
}

/// The form of what has a name with this ending.
#[must_use]
pub fn by_ending(ending: &str) -> Option<&'static Media> {
    let ending = ending.trim_start_matches('.').to_ascii_lowercase();
    ALL.iter().find(|one| one.endings.contains(&ending.as_str()))
}

/// The form that somebody means: by a media type, its IRI at the IANA, its IRI or code in the EU's list of file types, or the
/// ending of a name.
#[must_use]
pub fn meant(text: &str) -> Option<&'static Media> {
    let text = text.trim();
    if let Some(name) = iana(text) {
        return by_name(name);
    }
    let code = file_type(text).unwrap_or(text);
    let coded = || ALL.iter().find(|one| one.code.is_some_and(|own| own.eq_ignore_ascii_case(code)));
    let labelled = || ALL.iter().find(|one| one.label.eq_ignore_ascii_case(code));
    by_name(text).or_else(coded).or_else(|| by_ending(code)).or_else(labelled)
}

/// The name in an IRI of the IANA's list of media types, in each way in which portals write it.
#[must_use]
pub fn iana(iri: &str) -> Option<&str> {
    let rest = iri.strip_prefix("https://").or_else(|| iri.strip_prefix("http://"))?;
    rest.strip_prefix("www.iana.org/assignments/media-types/")
}

/// The code in an IRI of the EU's list of file types.
#[must_use]
pub fn file_type(iri: &str) -> Option<&str> {
    let rest = iri.strip_prefix("https://").or_else(|| iri.strip_prefix("http://"))?;
    rest.strip_prefix("publications.europa.eu/resource/authority/file-type/")
}

/// The media type as the table has it, in lower case and without parameters; as it is where the table has none.
#[must_use]
pub fn canonical(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    by_name(&essence).map_or(essence, |known| known.name().to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_means_one_thing() {
        let (mut endings, mut codes, mut others) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for one in ALL {
            assert!(one.endings.iter().all(|ending| endings.insert(*ending)), "{one:?}");
            assert!(one.code.is_none_or(|code| codes.insert(code)), "{one:?}");
            assert!(one.names.iter().skip(1).all(|name| others.insert(*name)), "{one:?}");
            assert!(one.names.iter().all(|name| name.contains('/') && **name == name.to_ascii_lowercase()));
            for ending in one.endings {
                assert_eq!(by_ending(ending), Some(one));
            }
            if let Some(iri) = one.file_type() {
                assert_eq!(meant(&iri), Some(one), "{iri}");
            }
        }
        assert!(ALL.iter().all(|one| !others.contains(one.name())));
    }

    #[test]
    fn forms_are_found_by_every_way_to_name_them() {
        for csv in [
            "text/csv",
            "TEXT/CSV; charset=utf-8",
            "application/csv",
            "csv",
            ".csv",
            "CSV",
            "http://publications.europa.eu/resource/authority/file-type/CSV",
            "https://www.iana.org/assignments/media-types/text/csv",
            "http://www.iana.org/assignments/media-types/text/csv",
        ] {
            assert_eq!(meant(csv).map(|one| (one.name(), one.code)), Some((CSV, Some("CSV"))), "{csv}");
        }
        let label = |text: &str| meant(text).map(|one| one.label);
        assert_eq!(label("image/tiff;application=geotiff"), Some("GeoTIFF"));
        assert_eq!(label("image/tiff"), Some("TIFF"));
        assert_eq!((label("application/zip"), label("GTFS")), (Some("ZIP"), Some("GTFS")));
        assert_eq!(label("GeoPackage"), Some("GeoPackage"));
        assert_eq!(label("RDF_TURTLE"), Some("Turtle"));
        assert_eq!((label("arrow"), label("arrows")), (Some("Arrow (file)"), Some("Arrow")));
        assert_eq!(label("application/x-unheard-of"), None);
        assert_eq!(canonical("Application/VND.geo+json; charset=utf-8"), GEO_JSON);
        assert_eq!(canonical("application/x-unheard-of;a=b"), "application/x-unheard-of");
    }
}
