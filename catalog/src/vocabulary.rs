//! The names of DCAT-AP 3.0 and of the vocabularies that it uses.

macro_rules! names {
    ($($name:ident = $iri:literal;)*) => {
        $(pub(crate) const $name: &str = $iri;)*
    };
}

names! {
    ALGORITHM = "http://spdx.org/rdf/terms#algorithm";
    BBOX = "http://www.w3.org/ns/dcat#bbox";
    BODY_VALUE = "http://www.w3.org/ns/oa#bodyValue";
    BYTE_SIZE = "http://www.w3.org/ns/dcat#byteSize";
    CENTROID = "http://www.w3.org/ns/dcat#centroid";
    CHECKSUM = "http://spdx.org/rdf/terms#checksum";
    CHECKSUM_VALUE = "http://spdx.org/rdf/terms#checksumValue";
    COLUMN = "http://www.w3.org/ns/csvw#column";
    COLUMN_NAME = "http://www.w3.org/ns/csvw#name";
    CONFORMS_TO = "http://purl.org/dc/terms/conformsTo";
    CONTACT = "http://www.w3.org/ns/dcat#contactPoint";
    DATASET = "http://www.w3.org/ns/dcat#Dataset";
    DATASET_SERIES = "http://www.w3.org/ns/dcat#DatasetSeries";
    DCT_FORMAT = "http://purl.org/dc/terms/format";
    DESCRIPTION = "http://purl.org/dc/terms/description";
    DISTRIBUTION = "http://www.w3.org/ns/dcat#distribution";
    DISTRIBUTION_TITLE = "urn:concordat:distributionTitle";
    EMAIL = "http://www.w3.org/2006/vcard/ns#hasEmail";
    END = "http://www.w3.org/ns/dcat#endDate";
    FORMAT = "urn:concordat:format";
    FREQUENCY = "http://purl.org/dc/terms/accrualPeriodicity";
    FULL_NAME = "http://www.w3.org/2006/vcard/ns#fn";
    GEOGRAPHIC_NAME = "http://www.w3.org/ns/locn#geographicName";
    GEOMETRY = "http://www.w3.org/ns/locn#geometry";
    HAS_BEGINNING = "http://www.w3.org/2006/time#hasBeginning";
    HAS_END = "http://www.w3.org/2006/time#hasEnd";
    HVD_CATEGORY = "http://data.europa.eu/r5r/hvdCategory";
    IN_SERIES = "http://www.w3.org/ns/dcat#inSeries";
    KEYWORD = "http://www.w3.org/ns/dcat#keyword";
    LABEL = "http://www.w3.org/2000/01/rdf-schema#label";
    LANGUAGE = "http://purl.org/dc/terms/language";
    LEGISLATION = "http://data.europa.eu/r5r/applicableLegislation";
    LICENSE = "http://purl.org/dc/terms/license";
    MEDIA_TYPE = "http://www.w3.org/ns/dcat#mediaType";
    NAME = "http://xmlns.com/foaf/0.1/name";
    PAGE = "http://xmlns.com/foaf/0.1/page";
    PREFERRED = "http://www.w3.org/2004/02/skos/core#prefLabel";
    PROVENANCE = "http://purl.org/dc/terms/provenance";
    PUBLISHER = "http://purl.org/dc/terms/publisher";
    QUALITY = "http://www.w3.org/ns/dqv#hasQualityAnnotation";
    RIGHTS = "http://purl.org/dc/terms/rights";
    SCHEMA_END = "http://schema.org/endDate";
    SCHEMA_START = "http://schema.org/startDate";
    SHA256 = "http://spdx.org/rdf/terms#checksumAlgorithm_sha256";
    SPATIAL = "http://purl.org/dc/terms/spatial";
    START = "http://www.w3.org/ns/dcat#startDate";
    TABLE_SCHEMA = "http://www.w3.org/ns/csvw#tableSchema";
    TEMPORAL = "http://purl.org/dc/terms/temporal";
    THEME = "http://www.w3.org/ns/dcat#theme";
    TIME_DATE = "http://www.w3.org/2006/time#inXSDDate";
    TIME_DATE_TIME = "http://www.w3.org/2006/time#inXSDDateTime";
    TIME_MONTH = "http://www.w3.org/2006/time#inXSDgYearMonth";
    TIME_STAMP = "http://www.w3.org/2006/time#inXSDDateTimeStamp";
    TIME_YEAR = "http://www.w3.org/2006/time#inXSDgYear";
    TITLE = "http://purl.org/dc/terms/title";
    TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type";
    URL = "http://www.w3.org/2006/vcard/ns#hasURL";
    VALUE = "http://www.w3.org/2006/vcard/ns#value";
    VERSION = "http://www.w3.org/ns/dcat#version";
    VERSION_INFO = "http://www.w3.org/2002/07/owl#versionInfo";
    VERSION_NOTES = "http://www.w3.org/ns/adms#versionNotes";
    WKT = "http://www.opengis.net/ont/geosparql#wktLiteral";
}
